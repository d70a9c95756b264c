"""Monthly climate of ERA5-Land's layouts (old and new, NetCDF, GRIB or Zarr) in canonical names and units."""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from glacmb_grid.disk import inside_ours, workshop
from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.files import find_file, find_files, open_dataset
from glacmb_grid.inputs.horizontal import (
    cells_of,
    in_order,
    is_curvilinear,
    plane_of,
    require_same_grid,
    with_plane_named,
    with_usual_names,
)
from glacmb_grid.inputs.stamps import STREAM, Expver, on_months, one_a_month
from glacmb_grid.inputs.units import Stream, in_canonical_units
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, STANDARD_GRAVITY, VARIABLES

__all__ = ["Expver", "Stream", "ingest", "is_ingested", "open_climate"]

_GRID = ("latitude", "longitude")
_GEOPOTENTIAL = ("m2 s-2", "m**2 s**-2", "m^2 s^-2", "m2/s2", "J kg-1")
_HEIGHT = ("m", "metres", "gpm")
_MARK, _LAYOUT = "glacmb_grid_climate", 1
_MARKS = (_MARK, "accumulated", "expver")
_CHUNK = 2e6  # bytes of a chunk before compression


@dataclass(frozen=True)
class _Piece:
    """One variable of one file, as it stands there."""

    path: Path
    field: xr.DataArray
    bounds: xr.DataArray | None


def open_climate(
    files: str | Path | Iterable[str | Path],
    *,
    accumulated: Stream,
    invariant: str | Path | None = None,
    variables: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    expver: Expver = "prefer_final",
) -> xr.Dataset:
    """A lazy monthly cube in canonical names and units.

    Parameters
    ----------
    files : paths or patterns
        One variable per file, several, or several years; all on one evenly spaced latitude-longitude grid, or on one
        curvilinear grid with latitude and longitude of two dimensions. Or one store of `ingest`, which was made with
        its own `units` and `expver`.
    accumulated : {"daily_mean", "hourly_mean", "monthly_total"}
        What the accumulated variables hold. ERA5-Land's monthly means hold means of **daily** sums though their unit
        attribute says `m` or `J m-2`: the attribute cannot tell, so it must be said here. A unit that is a rate, such
        as `kg m-2 s-1`, speaks for itself.
    invariant : path, optional
        File with the geopotential `z` and the land-sea mask `lsm`, on the same grid or a larger one.
    variables : sequence of str, optional
        ERA5-Land short names to take; default all known ones that the files hold.
    units : mapping, optional
        Short name (or `z`) -> unit, for files whose attribute is missing or wrong.
    expver : {"prefer_final", "final"}
        What to do where the final (1) and the preliminary stream (5) of a month are both given: they are never added
        or averaged. `final` leaves months that only the preliminary stream has missing.

    Returns
    -------
    xr.Dataset, (time, latitude, longitude)
        Latitude descending, longitude ascending in -180..180 (beyond only in a window across the antimeridian), time
        at the first of the month with `time_bnds`; (time, y, x) on a
        curvilinear grid. Instantaneous variables are means in their canonical unit;
        accumulated ones amounts per month. With an `invariant` file also `orography` (m) and `land_mask` (1),
        (latitude, longitude).

    Raises
    ------
    InputError or InputErrors
        Missing variables, unknown units, months missing or given twice, differing grids, broken files.
    """
    paths = find_files(files, what="climate files")
    declared = dict(units or {})
    _require_known([*(variables or ()), *(n for n in declared if n != "z")])
    ingested = [p for p in paths if is_ingested(p)]
    if ingested and len(paths) > 1:
        raise InputError(
            f"{ingested[0]}",
            expected="a store of `glacmb-grid ingest` alone as `climate.files`",
            found=f"{len(paths) - 1} more: {listing([str(p) for p in paths if p != ingested[0]], 3)}",
            remedy="ingest all files together into one store",
        )
    if ingested:
        ds = _open_ingested(ingested[0], accumulated, variables, declared, expver)
    else:
        ds = _open_raw(paths, accumulated, variables, declared, expver)
    if invariant is not None:
        ds = ds.assign(_of_invariant(invariant, ds, declared))
    return _with_bounds(ds)


def _open_raw(
    paths: Sequence[Path],
    accumulated: Stream,
    variables: Sequence[str] | None,
    units: Mapping[str, str],
    expver: Expver,
) -> xr.Dataset:
    pieces = _pieces(paths)
    wanted = list(dict.fromkeys(variables)) if variables is not None else [n for n in VARIABLES if n in pieces]
    _require_found(wanted, pieces, paths)
    problems = Problems()
    cube = {}
    for name in wanted:
        with problems.collect():
            cube[name] = _variable(name, pieces[name], accumulated, units.get(name), expver)
    problems.raise_if_any()
    return _on_one_grid(cube, {n: pieces[n][0].path for n in wanted})


def _of_invariant(path: str | Path, ds: xr.Dataset, declared: Mapping[str, str]) -> dict[str, xr.DataArray]:
    template = next(v for n, v in ds.data_vars.items() if n in VARIABLES)
    return _invariant(find_file(path, what="invariant file"), template, declared.get("z"))


def ingest(
    cube: xr.Dataset, store: Path, *, accumulated: Stream, expver: Expver = "prefer_final", slab: float = 1e9
) -> None:
    """Write a cube so that series of cells are read fast: the store can then be named as the climate's only file.

    Zarr v3, sharded, compressed and with a CRC-32C checksum of every chunk; chunks hold all months of a small square of
    cells. The store is written beside its place and moved there when it is whole.

    Parameters
    ----------
    cube : xr.Dataset, (time, latitude, longitude)
        From `open_climate`.
    store : Path
        Must not exist.
    accumulated : {"daily_mean", "hourly_mean", "monthly_total"}
    expver : {"prefer_final", "final"}
        What was declared of the source, kept as a record.
    slab : float
        Bytes of a variable that are gathered at a time, some rows of cells at least; peak memory is two to three times
        that. Chunks of the source that span several slabs are read once for each.

    Raises
    ------
    InputError
        Where the store exists, or a folder `.partial-<name>` beside it that is not ours.
    """
    if is_curvilinear(cube):
        raise InputError(
            "climate files",
            expected="a latitude-longitude grid",
            found="a curvilinear one",
            remedy="sample it where it lies, with `regrid: {engine: xesmf, ...}`",
        )
    if store.exists() or store.is_symlink():
        raise InputError(f"{store}", expected="no such file or folder yet", found="one", remedy="name another place")
    if (around := inside_ours(store)) is not None:
        raise InputError(
            f"{store}",
            expected="a place outside the results of a run",
            found=f"{around}, which a run replaces",
            remedy="name another place",
        )
    aside = store.with_name(f".partial-{store.name}")
    marks = {_MARK: _LAYOUT, "accumulated": accumulated, "expver": expver}
    plain = cube.drop_vars("time_bnds", errors="ignore").assign_attrs(marks).drop_encoding()
    with workshop(aside, _MARK):
        _write_slabs(plain, aside / store.name, slab)
        (aside / store.name).rename(store)


def _write_slabs(plain: xr.Dataset, aside: Path, slab: float) -> None:
    """Some rows of cells after the other, every shard once."""
    months = plain.sizes["time"]
    side = int(np.clip(np.sqrt(_CHUNK / (4 * months)), 4, 256))
    shape = {d: plain.sizes[d] for d in ("time", *_GRID)}
    chunks = {"time": months} | {d: min(side, shape[d]) for d in _GRID}
    shards = {"time": months} | {d: chunks[d] * -(-min(4 * side, shape[d]) // chunks[d]) for d in _GRID}
    named = [str(n) for n in plain.data_vars if n in VARIABLES]
    packed = {"compressors": (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=4), Crc32cCodec())}
    sharded = {
        n: {k: tuple(sizes[str(d)] for d in plain[n].dims) for k, sizes in (("chunks", chunks), ("shards", shards))}
        for n in named
    }
    options: dict[str, Any] = {"zarr_format": 3, "consolidated": False, "write_empty_chunks": True}
    lazy = plain.chunk(shards)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        rest = lazy.drop_vars(named)
        rest.to_zarr(aside, mode="w", encoding={str(n): dict(packed) for n in rest.variables}, **options)
        encoding = {n: {**packed, **sharded[n]} for n in named}
        lazy[named].drop_vars(plain.coords).to_zarr(aside, mode="a", compute=False, encoding=encoding, **options)
        rows = shards["latitude"] * max(1, int(slab // (4 * months * shape["longitude"] * shards["latitude"])))
        for name in named:
            for start in range(0, shape["latitude"], rows):
                here = slice(start, min(start + rows, shape["latitude"]))
                part = plain[[name]].isel(latitude=here).drop_vars(plain.coords).transpose("time", *_GRID).chunk(shards)
                region = {"time": slice(0, months), "latitude": here, "longitude": slice(0, shape["longitude"])}
                part.to_zarr(aside, region=region, **options)
        zarr.consolidate_metadata(aside)


def is_ingested(path: Path) -> bool:
    """Whether this is a store of `ingest`."""
    try:
        return path.is_dir() and _MARK in zarr.open_group(path, mode="r").attrs
    except (FileNotFoundError, ValueError, KeyError):
        return False


def _open_ingested(
    path: Path, accumulated: Stream, variables: Sequence[str] | None, units: Mapping[str, str], expver: Expver
) -> xr.Dataset:
    ds = open_dataset(path)
    made, wanted_marks = [ds.attrs.get(k) for k in _MARKS], [_LAYOUT, accumulated, expver]
    if made != wanted_marks or set(units) - {"z"}:
        raise InputError(
            f"{path}",
            expected=f"a store of layout {_LAYOUT} made from files of which `climate.accumulated` is {accumulated} and "
            f"`climate.expver` {expver}, and no other `climate.units` than that of z",
            found=f"layout {made[0]}, {made[1]}, {made[2]}; units of {listing(sorted(units)) or 'none'}",
            remedy="keep the settings of the configuration that it was ingested with, but leave `units` out, or ingest "
            "again",
        )
    there = {str(n): v for n, v in ds.data_vars.items()}
    wanted = list(dict.fromkeys(variables)) if variables is not None else [n for n in VARIABLES if n in there]
    _require_found(wanted, there, [path])
    for name in wanted:
        _require_whole(path, name)
    invariant = [n for n in (OROGRAPHY, LAND_MASK) if n in there]
    chosen = ds[[*wanted, *invariant]]
    attrs = {k: v for k, v in ds.attrs.items() if k not in _MARKS}
    chosen = chosen.assign({n: chosen[n].load() for n in invariant})
    return chosen.drop_attrs(deep=False).assign_attrs(attrs)


def _require_whole(path: Path, name: str) -> None:
    """A shard that is missing would be read as missing values: as sea."""
    array = zarr.open_group(path, mode="r")[name]
    assert isinstance(array, zarr.Array)
    found = sum(1 for f in (path / name / "c").rglob("*") if f.is_file())
    wanted = math.prod(-(-n // c) for n, c in zip(array.shape, array.shards or array.chunks, strict=True))
    if found != wanted:
        raise InputError(
            f"{path}: {name}",
            expected=f"{wanted} files of values",
            found=f"{found}",
            remedy="copy the store again, or ingest again",
        )


def _require_known(names: Sequence[str]) -> None:
    unknown = [n for n in names if n not in VARIABLES]
    if unknown:
        raise InputError(
            "climate: variables",
            expected=f"among {', '.join(VARIABLES)}",
            found=listing(unknown),
            remedy="use ERA5-Land short names",
        )


def _pieces(paths: Sequence[Path]) -> dict[str, list[_Piece]]:
    problems = Problems()
    pieces: dict[str, list[_Piece]] = defaultdict(list)
    for path in paths:
        with problems.collect():
            for name, piece in _known_variables(path).items():
                pieces[name].append(piece)
    problems.raise_if_any()
    return pieces


def _known_variables(path: Path) -> dict[str, _Piece]:
    ds = with_usual_names(open_dataset(path))
    if "time" in ds.coords and "time" not in ds.dims:
        ds = ds.expand_dims("time")
    bounds = ds.variables["time"].attrs.get("bounds") if "time" in ds.variables else None
    known: dict[str, _Piece] = {}
    for given, field in ds.data_vars.items():
        name = _short_name(str(given), field)
        if name not in VARIABLES:
            continue
        if name in known:
            raise InputError(
                f"{path}: {name}",
                expected="one variable of this name",
                found=f"{known[name].field.name} and {given}",
                remedy="leave one of them out of the file",
            )
        field = _with_grid_only(field, f"{path}: {name}")
        known[name] = _Piece(path, field, ds[bounds] if bounds in ds.variables else None)
    if not known:
        raise InputError(
            f"{path}",
            expected="at least one known ERA5-Land variable",
            found=f"variables {listing(ds.data_vars, 30) or 'none'}",
            remedy=f"rename them to ERA5-Land short names ({', '.join(VARIABLES)}) or leave the file out",
        )
    return known


def _short_name(name: str, variable: xr.DataArray) -> str:
    if name in VARIABLES:
        return name
    grib = str(variable.attrs.get("GRIB_shortName") or variable.attrs.get("GRIB_cfVarName") or name)
    return {"2t": "t2m", "2d": "d2m", "10u": "u10", "10v": "v10"}.get(grib, grib)


def _with_grid_only(field: xr.DataArray, where: str) -> xr.DataArray:
    """Without dimensions of length one such as `number`; an error where others than ours remain."""
    if is_curvilinear(field):
        field = with_plane_named(field, where)
    needed = ("time", *plane_of(field))
    field = field.squeeze([d for d in field.dims if d not in (*needed, "expver") and field.sizes[d] == 1], drop=True)
    if set(field.dims) - {"expver"} != set(needed) or any(d not in field.coords for d in ("time", *_GRID)):
        raise InputError(
            where,
            expected="dimensions time, latitude, longitude with their coordinates",
            found=f"dimensions {', '.join(f'{d}: {n}' for d, n in field.sizes.items()) or 'none'}",
            remedy="give monthly fields on a latitude-longitude grid (the invariant file has its own key)",
        )
    if not np.issubdtype(field.dtype, np.number):
        raise InputError(where, expected="numbers", found=f"{field.dtype}", remedy="download the file again")
    return field


def _require_found(wanted: Sequence[str], pieces: Mapping[str, object], paths: Sequence[Path]) -> None:
    missing = [n for n in wanted if n not in pieces]
    if missing or not wanted:
        raise InputError(
            f"climate files in {listing(sorted({str(p.parent) for p in paths}), 3)}: {listing(missing, 30)}",
            expected="every variable of `climate.variables`",
            found=f"only {listing(sorted(pieces), 30)} in {len(paths)} file(s)",
            remedy="add the files that hold them, or take them out of `climate.variables`",
        )


def _variable(name: str, pieces: list[_Piece], stream: Stream, unit: str | None, expver: Expver) -> xr.DataArray:
    """Records of all files as canonical months in one row."""
    parts = [_canonical(name, piece, stream, unit, expver) for piece in pieces]
    for part, piece in zip(parts[1:], pieces[1:], strict=True):
        require_same_grid(parts[0], part, f"{pieces[0].path}", f"{piece.path}: {name}")
    same = [p.assign_coords({d: parts[0].coords[d] for d in _GRID}) for p in parts]
    whole = xr.concat(same, "time", coords=[STREAM], compat="override", combine_attrs="override")
    return one_a_month(whole, f"{listing([str(p.path) for p in pieces], 3)}: {name}")


def _canonical(name: str, piece: _Piece, stream: Stream, unit: str | None, expver: Expver) -> xr.DataArray:
    where = f"{piece.path}: {name}"
    field = on_months(piece.field, piece.bounds, expver, where)
    if is_curvilinear(piece.field):
        field = field.assign_coords({d: piece.field.coords[d] for d in _GRID}).transpose("time", "y", "x")
    else:
        field = in_order(field.transpose("time", *_GRID), where)
    return in_canonical_units(field, name, stream=stream, declared=unit, where=where)


def _on_one_grid(cube: dict[str, xr.DataArray], paths: dict[str, Path]) -> xr.Dataset:
    first_name = next(iter(cube))
    first = cube[first_name]
    problems = Problems()
    for name, variable in cube.items():
        with problems.collect():
            require_same_grid(first, variable, f"{paths[first_name]}", f"{paths[name]}: {name}")
            if not np.array_equal(variable["time"].values, first["time"].values):
                raise InputError(
                    f"{paths[name]}: {name}: time",
                    expected=f"the months of {first_name}: {_period(first)}",
                    found=_period(variable),
                    remedy="download all variables for the same period",
                )
    problems.raise_if_any()
    return xr.Dataset({n: v.assign_coords(first.coords) for n, v in cube.items()})


def _period(variable: xr.DataArray) -> str:
    months = variable["time"].values.astype("datetime64[M]")
    return f"{len(months)} months, {months[0]}..{months[-1]}"


def _invariant(path: Path, template: xr.DataArray, unit: str | None) -> dict[str, xr.DataArray]:
    """Orography (m) and land mask from the invariant file, on the cube's cells."""
    ds = with_usual_names(open_dataset(path))
    if "z" not in ds:
        raise InputError(
            f"{path}: z",
            expected="the geopotential `z` of the model's surface",
            found=f"variables {listing(ds.data_vars)}",
            remedy="download ERA5-Land's invariant `geopotential`",
        )
    factor = _height_factor(unit if unit is not None else ds["z"].attrs.get("units"), path)
    heights = _flat(ds["z"], template, f"{path}: z") * factor
    _require_within(heights, (-500, 9000), f"{path}: z", "heights in m once divided by 9.80665")
    height = {"units": "m", "standard_name": "surface_altitude", "long_name": "height of the model's surface"}
    out = {OROGRAPHY: heights.astype("float32").drop_attrs().assign_attrs(height)}
    if "lsm" in ds:
        mask = _flat(ds["lsm"], template, f"{path}: lsm")
        _require_within(mask, (-0.01, 1.01), f"{path}: lsm", "shares of land")
        out[LAND_MASK] = mask.astype("float32").drop_attrs().assign_attrs(units="1", standard_name="land_binary_mask")
    return out


def _height_factor(unit: object, path: Path) -> float:
    if unit in _GEOPOTENTIAL:
        return 1 / STANDARD_GRAVITY
    if unit in _HEIGHT:
        return 1.0
    raise InputError(
        f"{path}: z",
        expected="unit m2 s-2 (geopotential) or m (height)",
        found="no `units` attribute" if unit is None else f"unit {unit!r}",
        remedy="declare it in the configuration: `climate: {units: {z: m2 s-2}}`",
    )


def _flat(field: xr.DataArray, template: xr.DataArray, where: str) -> xr.DataArray:
    """(latitude, longitude) of a field that may repeat itself along other dimensions."""
    if is_curvilinear(template) and is_curvilinear(field):
        plane = with_plane_named(field, where)
        flat = plane.isel({d: 0 for d in plane.dims if d not in ("y", "x")}, drop=True).transpose("y", "x")
        return cells_of(flat, template, where).compute()
    if not set(_GRID) <= set(field.dims) or any(d not in field.coords for d in _GRID):
        raise InputError(
            where,
            expected="dimensions latitude and longitude with their coordinates",
            found=f"dimensions {listing(field.dims) or 'none'}",
            remedy="download the invariant fields on the grid of the climate files",
        )
    flat = field.isel({d: 0 for d in field.dims if d not in _GRID}, drop=True).transpose(*_GRID)
    flat = flat.drop_vars([c for c in flat.coords if c not in flat.dims])
    return cells_of(in_order(flat, where), template, where).compute()


def _require_within(field: xr.DataArray, bounds: tuple[float, float], where: str, what: str) -> None:
    values = field.values[np.isfinite(field.values)]
    if not len(values) or values.min() < bounds[0] or values.max() > bounds[1]:
        raise InputError(
            where,
            expected=f"{what}, {bounds[0]:g}..{bounds[1]:g}",
            found=f"{values.min():.4g}..{values.max():.4g}" if len(values) else "only missing values",
            remedy="check the variable and its unit; download the invariant file again",
        )


def _with_bounds(ds: xr.Dataset) -> xr.Dataset:
    month = ds["time"].values.astype("datetime64[M]")
    bounds = np.stack([month, month + np.timedelta64(1, "M")], axis=-1).astype("datetime64[ns]")
    ds = ds.assign_coords(time_bnds=(("time", "bnds"), bounds))
    ds["time"].attrs.update(bounds="time_bnds", standard_name="time")
    ds["latitude"].attrs.update(units="degrees_north", standard_name="latitude")
    ds["longitude"].attrs.update(units="degrees_east", standard_name="longitude")
    return ds
