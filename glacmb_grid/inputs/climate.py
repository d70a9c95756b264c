"""Monthly ERA5-Land climate (old and new layouts; NetCDF, GRIB or Zarr) in canonical names and units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.files import find_file, find_files, open_dataset
from glacmb_grid.inputs.horizontal import (
    GRID,
    cells_of,
    in_order,
    is_curvilinear,
    plane_of,
    require_same_grid,
    with_plane_named,
    with_usual_names,
)
from glacmb_grid.inputs.ingest import ingested_variables, is_ingested, open_ingested
from glacmb_grid.inputs.stamps import STREAM, Expver, on_months, one_a_month
from glacmb_grid.inputs.units import Stream, height_factor, in_canonical_units
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, VARIABLES


@dataclass(frozen=True)
class _Piece:
    """One variable of one file, as stored."""

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
        Files of one or several variables and years, all on one evenly spaced latitude-longitude grid or one curvilinear
        grid (latitude and longitude with two dimensions). Or a single store of `ingest`, which has its `units` and
        `expver` applied.
    accumulated : {"daily_mean", "hourly_mean", "monthly_total"}
        What the accumulated variables hold. Monthly means of ERA5-Land hold means of **daily** sums although their
        unit says `m` or `J m-2`, so the unit cannot tell. A rate such as `kg m-2 s-1` takes precedence.
    invariant : path, optional
        File with the geopotential `z` and the land-sea mask `lsm`, on the same grid or a larger one.
    variables : sequence of str, optional
        ERA5-Land short names to take. Default: all known variables in the files.
    units : mapping, optional
        Short name (or `z`) -> unit, for files whose attribute is missing or wrong.
    expver : {"prefer_final", "final"}
        Which record to take if a month has both the final (1) and the preliminary stream (5); they are never added or
        averaged. `final` treats months with a preliminary record only as missing.

    Returns
    -------
    xr.Dataset, (time, latitude, longitude)
        On a curvilinear grid (time, y, x). Latitude descending, longitude ascending in -180..180 (beyond only in a
        window across the antimeridian), time at the first of the month with `time_bnds`. Instantaneous variables are
        monthly means, accumulated ones amounts per month. With an `invariant` file also `orography` (m) and
        `land_mask` (1), (latitude, longitude).

    Raises
    ------
    InputError or InputErrors
        Missing variables, unknown units, missing or duplicate months, differing grids, broken files.
    """
    paths = find_files(files, what="climate files")
    declared = dict(units or {})
    _require_known([*(variables or ()), *(n for n in declared if n != "z")])
    ingested = [p for p in paths if is_ingested(p)]
    if ingested and len(paths) > 1:
        raise InputError(
            f"{ingested[0]}",
            expected="a store of `glacmb-grid ingest` alone as `climate.files`",
            found=f"{len(paths) - 1} other files: {listing([str(p) for p in paths if p != ingested[0]], 3)}",
            remedy="ingest all files together into one store",
        )
    if ingested:
        store = open_ingested(ingested[0], accumulated, declared, expver)
        ds = ingested_variables(store, ingested[0], _wanted(variables, store.data_vars, ingested))
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
    wanted = _wanted(variables, pieces, paths)
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
                remedy="remove one of them from the file",
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
    """A field without dimensions of length one such as `number`; an InputError if it has unknown dimensions."""
    if is_curvilinear(field):
        field = with_plane_named(field, where)
    needed = ("time", *plane_of(field))
    field = field.squeeze([d for d in field.dims if d not in (*needed, "expver") and field.sizes[d] == 1], drop=True)
    if set(field.dims) - {"expver"} != set(needed) or any(d not in field.coords for d in ("time", *GRID)):
        raise InputError(
            where,
            expected="dimensions time, latitude, longitude with their coordinates",
            found=f"dimensions {', '.join(f'{d}: {n}' for d, n in field.sizes.items()) or 'none'}",
            remedy="give monthly fields on a latitude-longitude grid (invariant fields belong to `climate.invariant`)",
        )
    if not np.issubdtype(field.dtype, np.number):
        raise InputError(where, expected="numbers", found=f"{field.dtype}", remedy="download the file again")
    return field


def _wanted(variables: Sequence[str] | None, found: Collection[Hashable], paths: Sequence[Path]) -> list[str]:
    """The variables of `climate.variables`, or all known ones; an InputError if some are not in the files."""
    wanted = list(dict.fromkeys(variables)) if variables is not None else [n for n in VARIABLES if n in found]
    missing = [n for n in wanted if n not in found]
    if missing or not wanted:
        raise InputError(
            f"climate files in {listing(sorted({str(p.parent) for p in paths}), 3)}: {listing(missing, 30)}",
            expected="every variable of `climate.variables`",
            found=f"only {listing(sorted(map(str, found)), 30)} in {len(paths)} file(s)",
            remedy="add the files with these variables, or remove them from `climate.variables`",
        )
    return wanted


def _variable(name: str, pieces: list[_Piece], stream: Stream, unit: str | None, expver: Expver) -> xr.DataArray:
    """Records of all files in canonical units, one per month, (time, ...)."""
    parts = [_canonical(name, piece, stream, unit, expver) for piece in pieces]
    for part, piece in zip(parts[1:], pieces[1:], strict=True):
        require_same_grid(parts[0], part, f"{pieces[0].path}", f"{piece.path}: {name}")
    same = [p.assign_coords({d: parts[0].coords[d] for d in GRID}) for p in parts]
    whole = xr.concat(same, "time", coords=[STREAM], compat="override", combine_attrs="override")
    return one_a_month(whole, f"{listing([str(p.path) for p in pieces], 3)}: {name}")


def _canonical(name: str, piece: _Piece, stream: Stream, unit: str | None, expver: Expver) -> xr.DataArray:
    where = f"{piece.path}: {name}"
    field = on_months(piece.field, piece.bounds, expver, where)
    if is_curvilinear(piece.field):
        field = field.assign_coords({d: piece.field.coords[d] for d in GRID}).transpose("time", "y", "x")
    else:
        field = in_order(field.transpose("time", *GRID), where)
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
    """Orography (m) and land mask (1) from the invariant file, on the cells of the cube."""
    ds = with_usual_names(open_dataset(path))
    if "z" not in ds:
        raise InputError(
            f"{path}: z",
            expected="the surface geopotential `z`",
            found=f"variables {listing(ds.data_vars)}",
            remedy="download ERA5-Land's invariant `geopotential`",
        )
    factor = height_factor(unit if unit is not None else ds["z"].attrs.get("units"), f"{path}: z")
    heights = _flat(ds["z"], template, f"{path}: z") * factor
    _require_within(heights, (-500, 9000), f"{path}: z", "heights in m after division by 9.80665")
    height = {"units": "m", "standard_name": "surface_altitude", "long_name": "height of the model's surface"}
    out = {OROGRAPHY: heights.astype("float32").drop_attrs().assign_attrs(height)}
    if "lsm" in ds:
        mask = _flat(ds["lsm"], template, f"{path}: lsm")
        _require_within(mask, (-0.01, 1.01), f"{path}: lsm", "shares of land")
        out[LAND_MASK] = mask.astype("float32").drop_attrs().assign_attrs(units="1", standard_name="land_binary_mask")
    return out


def _flat(field: xr.DataArray, template: xr.DataArray, where: str) -> xr.DataArray:
    """A field on the cells of the template, (latitude, longitude): the first step of its other dimensions."""
    if is_curvilinear(template) and is_curvilinear(field):
        plane = with_plane_named(field, where)
        flat = plane.isel({d: 0 for d in plane.dims if d not in ("y", "x")}, drop=True).transpose("y", "x")
        return cells_of(flat, template, where).compute()
    if not set(GRID) <= set(field.dims) or any(d not in field.coords for d in GRID):
        raise InputError(
            where,
            expected="dimensions latitude and longitude with their coordinates",
            found=f"dimensions {listing(field.dims) or 'none'}",
            remedy="download the invariant fields on the grid of the climate files",
        )
    flat = field.isel({d: 0 for d in field.dims if d not in GRID}, drop=True).transpose(*GRID)
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
