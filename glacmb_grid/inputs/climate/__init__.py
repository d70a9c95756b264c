"""Monthly climate (NetCDF, GRIB, Zarr or ZIP; ERA5 of any layout, or another product) in canonical names and units."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import xarray as xr

from glacmb_grid.checking import checking_arguments
from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.climate.anomalies import require_amounts
from glacmb_grid.inputs.climate.contract import Finer, Piece, Reading, Stamp
from glacmb_grid.inputs.climate.finer import monthly, whole_months
from glacmb_grid.inputs.climate.ingest import ingested_variables, is_ingested, open_ingested
from glacmb_grid.inputs.climate.joined import joined, of_years, on_one_grid
from glacmb_grid.inputs.climate.pieces import Found, found_in, require_declared
from glacmb_grid.inputs.climate.stamps import Expver, within
from glacmb_grid.inputs.climate.static import static_fields
from glacmb_grid.inputs.climate.sums import added, require_amounts_only, take_sums
from glacmb_grid.inputs.files import find_file, find_files
from glacmb_grid.inputs.horizontal import GRID, in_order, is_curvilinear
from glacmb_grid.inputs.units import Stream, UndeclaredStreamError, in_canonical_units
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, PDD, VARIABLES

_NOTES = "notes"
_NOT_NEGATIVE = ("tp", "sf")
_NO_RAIN = -1.0  # m a month, below which a value is a fill


@checking_arguments
def open_climate(
    files: str | Path | Iterable[str | Path],
    *,
    accumulated: Stream | None = None,
    invariant: str | Path | None = None,
    variables: Sequence[str] | None = None,
    units: Mapping[str, str] | None = None,
    names: Mapping[str, str | Sequence[str]] | None = None,
    stamp: Stamp | None = None,
    expver: Expver = "prefer_final",
    negative_precipitation: Literal["refuse", "zero"] = "refuse",
    years: tuple[int, int] | None = None,
    finer: Finer | None = None,
) -> xr.Dataset:
    """A lazy monthly cube in canonical names and units.

    Parameters
    ----------
    files : paths or patterns
        Files of one or several variables, years and areas, on one evenly spaced latitude-longitude grid or one
        curvilinear grid (latitude and longitude with two dimensions); also URLs of Zarr stores. Or a single store of
        `ingest`, which has its `units`, `names`, `stamp` and `expver` applied.
    accumulated : {"daily_mean", "hourly_mean", "monthly_total"}, optional
        What the accumulated variables hold. Monthly means of ERA5-Land hold means of **daily** sums although their
        unit says `m` or `J m-2`, so the unit cannot tell, and it has to be said. A rate such as `kg m-2 s-1` says it
        itself, and takes precedence.
    invariant : path, optional
        File with the surface geopotential or height and the land-sea mask, on the same grid or a larger one. Default:
        they are taken from the climate files, if these hold them.
    variables : sequence of str, optional
        ERA5-Land short names to take. Default: all known variables in the files.
    units : mapping, optional
        Short name (or `orography`, `z`) -> unit, for files whose attribute is missing or wrong.
    names : mapping, optional
        Short name (or `orography`, `land_mask`) -> name in the files, where it is not recognised; a list of names is
        a sum. Precipitation that is there as PRECC and PRECL, or as cp and lsp, but not as a total, is their sum.
    stamp : {"start", "within", "end"}, optional
        Whether records without time bounds are stamped at the start of their month, within it, or at its end (the
        first instant of the next). Default: as the files tell; where they do not, a note says what was chosen.
    expver : {"prefer_final", "final"}
        Which record to take if a month has both the final (1) and the preliminary stream (5); they are never added or
        averaged. `final` treats months with a preliminary record only as missing.
    negative_precipitation : {"refuse", "zero"}
        `zero` sets negative precipitation and snowfall to 0; otherwise `check_values` refuses them.
    years : (int, int), optional
        First and last calendar year to take; what lies outside is not looked at. Default: all, and every variable has
        to hold the same months.
    finer : Finer, optional
        The files hold daily or hourly fields, of which months are made when they are read; with `t2m` also its positive
        degree days, `pdd` (K d). `accumulated` then says what daily values are: `daily_mean` the amount of the day,
        `hourly_mean` the mean of its hours; it says nothing of hourly ones.

    Returns
    -------
    xr.Dataset, (time, latitude, longitude)
        On a curvilinear grid (time, y, x). Latitude descending, longitude ascending in -180..180 (beyond only in a
        window across the antimeridian), time at the first of the month with `time_bnds`. Instantaneous variables are
        monthly means, accumulated ones amounts per month; their attribute `stream` is what was declared of them. Where
        the `invariant` file, else the climate files, hold them, also `orography` (m) and `land_mask` (1), (latitude,
        longitude). The attribute `notes` holds what was decided and what was left out, a line each.

    Raises
    ------
    InputError or InputErrors
        Missing variables, unknown units, missing or duplicate months, differing grids, broken files.
    """
    paths = find_files(files, what="climate files")
    require_amounts_only(names or {})
    declared = {("orography" if n == "z" else n): u for n, u in (units or {}).items()}
    _require_known([*(variables or ()), *(n for n in declared if n != OROGRAPHY)])
    ingested = [p for p in paths if is_ingested(p)]
    if ingested and len(paths) > 1:
        raise InputError(
            f"{ingested[0]}",
            expected="a store of `glacmb-grid ingest` alone as `climate.files`",
            found=f"{len(paths) - 1} other files: {listing([str(p) for p in paths if p != ingested[0]], 3)}",
            remedy="ingest all files together into one store",
        )
    reading = Reading(dict(names or {}), stamp, expver, finer)
    if finer is not None:
        _require_finer(finer, ingested, accumulated, stamp)
    found = Found() if ingested else found_in(paths, reading)
    given = None
    if invariant is not None:
        given = found_in([find_file(invariant, what="invariant file")], reading, of_climate=False)
    static = {n: theirs for n, theirs in reading.names.items() if n in (OROGRAPHY, LAND_MASK) and given}
    require_declared(static if ingested else reading.names, [found, *([given] if given else [])])
    take_sums(found, reading.names, variables)
    if ingested:
        store = open_ingested(ingested[0], accumulated, declared, expver, names, stamp)
        ds = ingested_variables(store, ingested[0], _wanted(variables, store.data_vars, ingested))
        ds = ds if years is None else ds.isel(time=within(ds["time"], years, f"{ingested[0]}"))
    else:
        ds = _canonical_cube(found, paths, accumulated, variables, declared, years, finer)
    if given is not None:
        found.static = given.static
        if OROGRAPHY not in given.static:
            raise _without_orography(f"{invariant}", given)
    if found.static:
        template = next(v for n, v in ds.data_vars.items() if n in VARIABLES)
        ds = ds.assign(static_fields(found.static, template, declared.get(OROGRAPHY)))
    if negative_precipitation == "zero":
        ds = ds.assign({n: _not_negative(ds[n]) for n in _NOT_NEGATIVE if n in ds})
    if found.notes:
        ds = ds.assign_attrs({_NOTES: "\n".join(dict.fromkeys(found.notes))})
    return _with_bounds(ds)


def _not_negative(field: xr.DataArray) -> xr.DataArray:
    """Precipitation with 0 for negative values; an InputError if these are so many that they are anomalies."""
    require_amounts(field, "climate files")
    clipped = field.clip(min=0, keep_attrs=True).where(~(field < _NO_RAIN), field)  # a fill stays what it is
    clipped.encoding = field.encoding
    return clipped


def notes_of(cube: xr.Dataset) -> list[str]:
    """What was decided when a cube was opened, and what was left out."""
    return [n for n in str(cube.attrs.get(_NOTES, "")).splitlines() if n]


def _canonical_cube(
    found: Found,
    paths: Sequence[Path],
    accumulated: Stream | None,
    variables: Sequence[str] | None,
    units: Mapping[str, str],
    years: tuple[int, int] | None,
    finer: Finer | None,
) -> xr.Dataset:
    if finer is not None:
        return _made_of_finer(found, paths, accumulated, variables, units, years, finer)
    wanted = _wanted(variables, found.pieces, paths)
    problems = Problems()
    cube = {}
    for name in wanted:
        with problems.collect():
            cube[name] = _variable(name, found.pieces[name], accumulated, units.get(name), None, years)
            cube[name].encoding = {"source": listing(dict.fromkeys(p.where for p in found.pieces[name]), 3)}
    _once_for_all(problems)
    problems.raise_if_any()
    return on_one_grid(cube, {n: [p.where for p in found.pieces[n]] for n in wanted})


def _once_for_all(problems: Problems) -> None:
    """Keep the first of several problems that one key solves."""
    same = [p for p in problems.found if isinstance(p, UndeclaredStreamError)]
    problems.found[:] = [p for p in problems.found if p not in same[1:]]


def _require_finer(finer: Finer, ingested: Sequence[Path], accumulated: Stream | None, stamp: Stamp | None) -> None:
    """Raise for settings that mean nothing, or something else, for daily or hourly fields."""
    if ingested:
        raise InputError(
            f"{ingested[0]}",
            expected=f"{finer.adjective} fields",
            found="a store of `glacmb-grid ingest`, which holds months",
            remedy="leave `--from` out",
        )
    if finer.every == "hour" and stamp is not None:
        raise InputError(
            "climate: stamp",
            expected="none with `--from hourly`",
            found=f"{stamp}",
            remedy="leave it out: `--accumulation` says of which hours a value is",
        )
    if finer.every == "day" and accumulated == "monthly_total":
        raise InputError(
            "climate: accumulated",
            expected="daily_mean (amounts of days) or hourly_mean (means of the amounts of their hours)",
            found="monthly_total",
            remedy="set `climate: {accumulated: daily_mean}` for sums of days",
        )


def _made_of_finer(
    found: Found,
    paths: Sequence[Path],
    accumulated: Stream | None,
    variables: Sequence[str] | None,
    units: Mapping[str, str],
    years: tuple[int, int] | None,
    finer: Finer,
) -> xr.Dataset:
    """The monthly cube of daily or hourly fields."""
    if found.pieces.pop(PDD, None):
        found.left_out[PDD] = None  # it is made of the temperatures
    if variables is not None:
        variables = ["t2m" if n == PDD else n for n in variables]
    wanted = _wanted(variables, found.pieces, paths)
    stream = accumulated
    if finer.every == "hour":
        stream = "daily_mean" if finer.accumulation == "since_midnight" else "hourly_mean"
    problems = Problems()
    cube: dict[str, xr.DataArray] = {}
    sources = {n: [p.where for p in found.pieces[n]] for n in wanted}
    for name in wanted:
        with problems.collect():
            records = _variable(name, found.pieces[name], stream, units.get(name), finer, years)
            cube |= monthly(records, name)
    _once_for_all(problems)
    problems.raise_if_any()
    sources |= {PDD: sources["t2m"]} if PDD in cube else {}
    if finer.incomplete == "leave_out":
        of = [v["time"].values for v in cube.values()]
        shared = [t for t in of[0] if all(t in other for other in of[1:])]
        cube = {n: v.sel(time=shared) for n, v in cube.items()} if shared else cube
    how = {"since_midnight": ", amounts since midnight", "of_the_hour": ", amounts of the hour"}
    made = f"months made of {finer.adjective} fields{how.get(str(finer.accumulation), '')}"
    found.choices[made] = [p.name for p in paths]
    return on_one_grid(cube, sources).assign_attrs(
        made_of=f"{finer.adjective} fields of {listing(p.name for p in paths)}"
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


def _without_orography(path: str, found: Found) -> InputError:
    return InputError(
        f"{path}: z",
        expected="the surface geopotential `z`, or a height",
        found=f"variables {listing([*found.pieces, *found.static, *found.left_out]) or 'none'}",
        remedy="download ERA5-Land's invariant `geopotential`, or name it: `climate: {names: {orography: NAME}}`",
    )


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


def _variable(
    name: str,
    pieces: list[Piece],
    stream: Stream | None,
    unit: str | None,
    finer: Finer | None,
    years: tuple[int, int] | None,
) -> xr.DataArray:
    """Records of all files in canonical units, one per month (day, hour), (time, ...)."""
    if len({p.summand for p in pieces}) > 1:
        return added(pieces, name, lambda parts: _variable(name, parts, stream, unit, finer, years))
    taken = pieces if years is None else of_years(pieces, years, name)
    canonical = [Piece(p.where, _canonical(name, p, stream, unit)) for p in taken]
    if finer is None:
        return joined(canonical, name)
    field = canonical[0].field.attrs
    if finer.accumulation == "since_midnight" and VARIABLES[name].kind == "accumulated" and "stream" not in field:
        raise InputError(
            f"{pieces[0].where}: {name}",
            expected="amounts with `--accumulation since_midnight`",
            found=f"a rate, {pieces[0].field.attrs.get('units')!r}",
            remedy="use `--accumulation of_the_hour`, or take the amounts",
        )
    records = joined(canonical, name, lambda all_of, where: whole_months(all_of, name, finer, where))
    if finer.every == "hour":  # `climate.accumulated` has no say in it
        records.attrs.pop("stream", None)
    return records


def _canonical(name: str, piece: Piece, stream: Stream | None, unit: str | None) -> xr.DataArray:
    where = f"{piece.where}: {piece.summand or name}"
    if is_curvilinear(piece.field):
        field = piece.field.transpose("time", "y", "x")
    else:
        field = in_order(piece.field.transpose("time", *GRID), where)
    return in_canonical_units(field, name, stream=stream, declared=unit, where=where)


def _with_bounds(ds: xr.Dataset) -> xr.Dataset:
    month = ds["time"].values.astype("datetime64[M]")
    bounds = np.stack([month, month + np.timedelta64(1, "M")], axis=-1).astype("datetime64[ns]")
    ds = ds.assign_coords(time_bnds=(("time", "bnds"), bounds))
    ds["time"].attrs.update(bounds="time_bnds", standard_name="time")
    ds["latitude"].attrs.update(units="degrees_north", standard_name="latitude")
    ds["longitude"].attrs.update(units="degrees_east", standard_name="longitude")
    return ds
