"""Monthly climate of ERA5-Land's layouts (old and new, NetCDF, GRIB or Zarr) in canonical names and units."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.files import find_files, open_dataset
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, STANDARD_GRAVITY, VARIABLES
from glacmb_grid.years import days_in_month

Stream = Literal["daily_mean", "hourly_mean", "monthly_total"]
Expver = Literal["prefer_final", "final"]

_COORDINATES = {"valid_time": "time", "lat": "latitude", "lon": "longitude", "y": "latitude", "x": "longitude"}
_DROPPED = ("number", "surface", "step", "heightAboveGround", "meanSea")

RATE = "rate"  # per second: turned into amounts whatever the stream says
_UNITS: dict[str, dict[str, tuple[float, float] | str]] = {
    "K": {
        "K": (1, 0),
        "kelvin": (1, 0),
        "degC": (1, 273.15),
        "C": (1, 273.15),
        "°C": (1, 273.15),
        "celsius": (1, 273.15),
        "deg_C": (1, 273.15),
        "degrees_celsius": (1, 273.15),
    },
    "m": {
        "m": (1, 0),
        "m of water equivalent": (1, 0),
        "m w.e.": (1, 0),
        "metres": (1, 0),
        "mm": (1e-3, 0),
        "mm w.e.": (1e-3, 0),
        "kg m-2": (1e-3, 0),
        "kg m-2 s-1": RATE,
        "mm s-1": RATE,
        "m s-1": RATE,
        "mm day-1": (1e-3, 0),
        "mm d-1": (1e-3, 0),
        "m day-1": (1, 0),
        "m d-1": (1, 0),
    },
    "J m-2": {"J m-2": (1, 0), "W m-2": RATE, "J m-2 s-1": RATE},
    "1": {
        "1": (1, 0),
        "(0 - 1)": (1, 0),
        "0-1": (1, 0),
        "0 - 1": (1, 0),
        "": (1, 0),
        "dimensionless": (1, 0),
        "%": (1e-2, 0),
        "percent": (1e-2, 0),
    },
    "%": {"%": (1, 0), "percent": (1, 0), "1": (100, 0), "(0 - 1)": (100, 0)},
    "Pa": {"Pa": (1, 0), "hPa": (100, 0)},
    "kg m-3": {"kg m-3": (1, 0)},
    "m s-1": {"m s-1": (1, 0)},
}
_RATE_FACTOR = {"kg m-2 s-1": 1e-3, "mm s-1": 1e-3, "m s-1": 1.0, "W m-2": 1.0, "J m-2 s-1": 1.0}
_ANNUAL_PRECIPITATION = (0.05, 15.0)  # m per year, mean of the domain
_ANNUAL_SUNSHINE = (1.2e9, 1.2e10)  # J m-2 per year (40 to 380 W m-2)


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
        One variable per file, several, or several years; all on one latitude-longitude grid.
    accumulated : {"daily_mean", "hourly_mean", "monthly_total"}
        What the accumulated variables hold. ERA5-Land's monthly means hold means of **daily** sums though their unit
        attribute says `m` or `J m-2`: the attribute cannot tell, so it must be said here.
    invariant : path, optional
        File with the geopotential `z` and the land-sea mask `lsm`.
    variables : sequence of str, optional
        ERA5-Land short names to take; default all known ones that the files hold.
    units : mapping, optional
        Short name -> unit, for files whose attribute is missing or wrong.
    expver : {"prefer_final", "final"}
        What to do where the final (1) and the preliminary stream (5) of a month are both given: they are never added
        or averaged. `final` leaves months that only the preliminary stream has missing.

    Returns
    -------
    xr.Dataset, (time, latitude, longitude)
        Latitude descending, longitude ascending in -180..180, time at the first of the month with `time_bnds`.
        Instantaneous variables are means in their canonical unit; accumulated ones amounts per month. With an
        `invariant` file also `orography` (m) and `land_mask` (1), (latitude, longitude).

    Raises
    ------
    InputError or InputErrors
        Missing variables, unknown units, months missing or given twice, differing grids, broken files.
    """
    paths = find_files(files, what="climate files")
    problems = Problems()
    pieces: dict[str, list[tuple[Path, xr.DataArray]]] = defaultdict(list)
    for path in paths:
        with problems.collect():
            for name, piece in _known_variables(path).items():
                pieces[name].append((path, piece))
    problems.raise_if_any()
    wanted = list(variables) if variables is not None else [n for n in VARIABLES if n in pieces]
    _require_variables(wanted, pieces, paths)
    cube = {}
    for name in wanted:
        with problems.collect():
            cube[name] = _variable(name, pieces[name], accumulated, (units or {}).get(name), expver)
    problems.raise_if_any()
    ds = _on_one_grid(cube, {n: pieces[n][0][0] for n in wanted})
    if invariant is not None:
        ds = ds.assign(_invariant(find_files(invariant, what="invariant file")[0], ds))
    return _with_bounds(ds)


def _known_variables(path: Path) -> dict[str, xr.DataArray]:
    ds = open_dataset(path)
    renames = {old: new for old, new in _COORDINATES.items() if old in ds.dims or old in ds.coords}
    ds = ds.rename({o: n for o, n in renames.items() if n not in ds.variables})
    ds = ds.drop_vars([n for n in _DROPPED if n in ds.variables and n not in ds.dims])
    found = {_short_name(str(n), v): v for n, v in ds.data_vars.items()}
    known = {n: v for n, v in found.items() if n in VARIABLES}
    if not known:
        raise InputError(
            f"{path}",
            expected="at least one known ERA5-Land variable",
            found=f"variables {listing(ds.data_vars, 30)}",
            remedy=f"rename them to ERA5-Land short names ({', '.join(VARIABLES)}) or leave the file out",
        )
    for name, piece in known.items():
        missing = {"time", "latitude", "longitude"} - set(piece.dims)
        if missing:
            raise InputError(
                f"{path}: {name}",
                expected="dimensions time, latitude, longitude",
                found=f"{piece.dims}",
                remedy="give monthly fields on a latitude-longitude grid (the invariant file has its own key)",
            )
        if not np.issubdtype(piece["time"].dtype, np.datetime64):
            raise InputError(
                f"{path}: time",
                expected="dates of the standard calendar",
                found=f"{piece['time'].dtype}",
                remedy="give time a CF unit such as `hours since 1900-01-01` and a standard calendar",
            )
    return known


def _short_name(name: str, variable: xr.DataArray) -> str:
    if name in VARIABLES:
        return name
    grib = variable.attrs.get("GRIB_shortName") or variable.attrs.get("GRIB_cfVarName")
    return {"2t": "t2m", "2d": "d2m", "10u": "u10", "10v": "v10"}.get(str(grib), str(grib)) if grib else name


def _require_variables(wanted: Sequence[str], pieces: Mapping[str, object], paths: Sequence[Path]) -> None:
    unknown = [n for n in wanted if n not in VARIABLES]
    if unknown:
        raise InputError(
            "climate: variables",
            expected=f"among {', '.join(VARIABLES)}",
            found=listing(unknown),
            remedy="use ERA5-Land short names",
        )
    missing = [n for n in wanted if n not in pieces]
    if missing:
        raise InputError(
            f"climate files in {listing(sorted({str(p.parent) for p in paths}), 3)}: {listing(missing, 30)}",
            expected="every variable of `climate.variables`",
            found=f"only {listing(sorted(pieces), 30)} in {len(paths)} file(s)",
            remedy="add the files that hold them, or take them out of `climate.variables`",
        )


def _variable(
    name: str, pieces: list[tuple[Path, xr.DataArray]], stream: Stream, unit: str | None, expver: Expver
) -> xr.DataArray:
    parts = [_canonical(name, piece, path, unit, expver) for path, piece in pieces]
    whole = parts[0] if len(parts) == 1 else _concat(name, parts, [p for p, _ in pieces])
    where = f"{listing([str(p) for p, _ in pieces], 3)}: {name}"
    whole = _one_stamp_a_month(whole, where, expver)
    return _as_amount(whole, stream).drop_vars("expver", errors="ignore")


def _concat(name: str, parts: list[xr.DataArray], paths: list[Path]) -> xr.DataArray:
    first = parts[0]
    for part, path in zip(parts[1:], paths[1:], strict=True):
        _require_same_grid(first, part, f"{paths[0]}", f"{path}", name)
    same = [p.assign_coords(latitude=first["latitude"], longitude=first["longitude"]) for p in parts]
    return xr.concat(same, "time", coords="minimal", compat="override", combine_attrs="override").sortby("time")


def _canonical(name: str, piece: xr.DataArray, path: Path, unit: str | None, expver: Expver) -> xr.DataArray:
    """One file's variable: stream chosen, unit converted, latitude descending, longitude in -180..180."""
    if "expver" in piece.dims:
        piece = _choose_stream(piece, expver)
    piece = _horizontal(piece.transpose("time", "latitude", "longitude", ...), f"{path}: {name}")
    said = unit if unit is not None else piece.attrs.get("units")
    canonical = VARIABLES[name].units
    known = _UNITS[canonical]
    key = None if said is None else str(said).replace("**", "").strip()
    if key is None or key not in known:
        raise InputError(
            f"{path}: {name}",
            expected=f"a unit among {', '.join(repr(k) for k in known if k)}",
            found="no `units` attribute" if said is None else f"unit {said!r}",
            remedy=f"declare it in the configuration: `climate: {{units: {{{name}: {canonical}}}}}`",
        )
    conversion = known[key]
    if conversion == RATE and VARIABLES[name].kind == "accumulated":
        converted, is_rate = piece * _RATE_FACTOR[key], True
    else:
        factor, offset = conversion if isinstance(conversion, tuple) else (1.0, 0.0)
        converted, is_rate = (piece if (factor, offset) == (1, 0) else piece * factor + offset), False
    return converted.rename(name).assign_attrs(units=canonical, is_rate=int(is_rate))


def _choose_stream(piece: xr.DataArray, expver: Expver) -> xr.DataArray:
    """Of an `expver` dimension the final stream, completed by the preliminary one where wanted."""
    labels = [int(str(v).lstrip("0") or 0) for v in piece["expver"].values]
    final = piece.isel(expver=labels.index(1) if 1 in labels else 0, drop=True)
    if expver == "prefer_final" and 5 in labels:
        final = final.combine_first(piece.isel(expver=labels.index(5), drop=True))
    return final


def _horizontal(piece: xr.DataArray, where: str) -> xr.DataArray:
    longitude = np.round(piece["longitude"].values.astype(np.float64), 5)
    latitude = np.round(piece["latitude"].values.astype(np.float64), 5)
    if np.abs(latitude).max() > 90.001 or longitude.min() < -180.001 or longitude.max() > 360.001:
        raise InputError(
            where,
            expected="latitudes in -90..90, longitudes in -180..180 or 0..360",
            found=f"latitudes {latitude.min():g}..{latitude.max():g}, longitudes "
            f"{longitude.min():g}..{longitude.max():g}",
            remedy="regrid projected fields to latitude and longitude first",
        )
    wrapped = np.where(longitude >= 180, longitude - 360, longitude)
    if np.ptp(wrapped) > 359 - abs(np.median(np.diff(longitude))) and np.ptp(longitude) < 359:
        wrapped = longitude  # a regional window across the antimeridian stays in one piece
    piece = piece.assign_coords(longitude=("longitude", wrapped), latitude=("latitude", latitude))
    if (np.diff(wrapped) < 0).any():
        piece = piece.sortby("longitude")
    return piece if latitude[0] > latitude[-1] else piece.isel(latitude=slice(None, None, -1))


def _one_stamp_a_month(variable: xr.DataArray, where: str, expver: Expver) -> xr.DataArray:
    """Move stamps to the first of their month; every month between the first and the last exactly once."""
    months = variable["time"].values.astype("datetime64[M]")
    if "expver" in variable.coords and len(np.unique(months)) < len(months):
        variable, months = _choose_stamps(variable, months, expver)
    values, counts = np.unique(months, return_counts=True)
    if (counts > 1).any():
        raise InputError(
            f"{where}: time",
            expected="every month once",
            found=f"more than once: {listing(values[counts > 1])}",
            remedy="remove the duplicate files or records (daily and hourly data must be averaged to months first)",
        )
    expected = np.arange(values[0], values[-1] + 1)
    gaps = np.setdiff1d(expected, values)
    if len(gaps):
        raise InputError(
            f"{where}: time",
            expected=f"every month from {values[0]} to {values[-1]}",
            found=f"{len(gaps)} missing: {listing(gaps)}",
            remedy="download the missing months",
        )
    return variable.assign_coords(time=months.astype("datetime64[ns]")).sortby("time")


def _choose_stamps(
    variable: xr.DataArray, months: npt.NDArray[np.datetime64], expver: Expver
) -> tuple[xr.DataArray, npt.NDArray[np.datetime64]]:
    """Where a month comes from two streams keep the final one."""
    labels = np.broadcast_to(variable["expver"].values, months.shape).astype(str)
    final = np.char.lstrip(labels, "0") == "1"
    keep = final | ~np.isin(months, months[final])
    if expver == "final":
        keep = final
    return variable.isel(time=keep), months[keep]


def _as_amount(variable: xr.DataArray, stream: Stream) -> xr.DataArray:
    """Accumulated variables as amounts per month."""
    is_rate = bool(variable.attrs.pop("is_rate"))
    known = VARIABLES[str(variable.name)]
    attrs = {"units": known.units, "long_name": known.long_name, "origin": known.origin}
    if known.standard_name:
        attrs["standard_name"] = known.standard_name
    if known.sign:
        attrs["comment"] = known.sign
    if known.kind == "accumulated":
        attrs |= {"cell_methods": "time: sum", "long_name": f"{known.long_name}, amount per month"}
        days = xr.DataArray(days_in_month(variable["time"].values), dims="time").astype("float32")
        per_day = {"daily_mean": 1.0, "hourly_mean": 24.0}
        if is_rate:
            variable = variable * (days * 86400.0)
        elif stream != "monthly_total":
            variable = variable * (days * per_day[stream])
    else:
        attrs["cell_methods"] = "time: mean"
    return variable.astype("float32").assign_attrs(attrs)


def _require_same_grid(a: xr.DataArray, b: xr.DataArray, where_a: str, where_b: str, name: str) -> None:
    for dim in ("latitude", "longitude"):
        if a.sizes[dim] != b.sizes[dim] or np.abs(a[dim].values - b[dim].values).max() > 1e-4:
            raise InputError(
                f"{where_b}: {name}: {dim}",
                expected=f"the grid of {where_a}: {a.sizes[dim]} values, {a[dim].values[0]:g}..{a[dim].values[-1]:g}",
                found=f"{b.sizes[dim]} values, {b[dim].values[0]:g}..{b[dim].values[-1]:g}",
                remedy="download all variables for the same area, or regrid",
            )


def _on_one_grid(cube: dict[str, xr.DataArray], paths: dict[str, Path]) -> xr.Dataset:
    first_name = next(iter(cube))
    first = cube[first_name]
    problems = Problems()
    for name, variable in cube.items():
        with problems.collect():
            _require_same_grid(first, variable, f"{paths[first_name]}", f"{paths[name]}", name)
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


def _invariant(path: Path, cube: xr.Dataset) -> dict[str, xr.DataArray]:
    """Orography (m) and land mask from the invariant file, on the cube's grid."""
    ds = open_dataset(path)
    ds = ds.rename({o: n for o, n in _COORDINATES.items() if o in ds.dims and n not in ds.variables})
    if "z" not in ds:
        raise InputError(
            f"{path}: z",
            expected="the geopotential `z` of the model's surface",
            found=f"variables {listing(ds.data_vars)}",
            remedy="download ERA5-Land's invariant `geopotential`",
        )
    fields = {OROGRAPHY: (ds["z"], 1 / STANDARD_GRAVITY, "m", "surface_altitude")}
    if "lsm" in ds:
        fields[LAND_MASK] = (ds["lsm"], 1.0, "1", "land_binary_mask")
    template = cube[next(iter(cube.data_vars))]
    out = {}
    for name, (field, factor, units, standard_name) in fields.items():
        extra = [d for d in field.dims if d not in ("latitude", "longitude")]
        flat = field.isel(dict.fromkeys(extra, 0), drop=True).transpose("latitude", "longitude")
        flat = _horizontal(flat.drop_vars([c for c in flat.coords if c not in flat.dims]), f"{path}: {name}")
        _require_same_grid(template, flat, "the climate files", f"{path}", name)
        flat = flat.assign_coords(latitude=template["latitude"], longitude=template["longitude"])
        out[name] = (flat * factor).astype("float32").assign_attrs(units=units, standard_name=standard_name)
    height = out[OROGRAPHY].values
    if not (-500 < np.nanmin(height) and np.nanmax(height) < 9000):
        raise InputError(
            f"{path}: z",
            expected="geopotential in m2 s-2 (heights -500..9000 m once divided by 9.80665)",
            found=f"heights {np.nanmin(height):.0f}..{np.nanmax(height):.0f} m",
            remedy="if the file holds metres already, multiply by 9.80665 first",
        )
    return out


def _with_bounds(ds: xr.Dataset) -> xr.Dataset:
    month = ds["time"].values.astype("datetime64[M]")
    bounds = np.stack([month, month + 1], axis=-1).astype("datetime64[ns]")
    ds = ds.assign_coords(time_bnds=(("time", "bnds"), bounds))
    ds["time"].attrs.update(bounds="time_bnds", standard_name="time")
    ds["latitude"].attrs.update(units="degrees_north", standard_name="latitude")
    ds["longitude"].attrs.update(units="degrees_east", standard_name="longitude")
    return ds


def check_values(cube: xr.Dataset, *, source: str, annual_precipitation: tuple[float, float] | None = None) -> None:
    """Raise where values of (part of) a canonical cube cannot be what their unit says.

    Parameters
    ----------
    cube : xr.Dataset, (time, latitude, longitude)
        From `open_climate`; computed here, so give a few months for a quick look.
    source : str
        Where the data came from, for the message.
    annual_precipitation : (float, float), optional
        Believable domain means, m per year.

    Raises
    ------
    InputErrors or InputError
        Temperature in degrees Celsius under the name of kelvin, precipitation in millimetres under the name of
        metres, sums per hour declared as sums per day, and their like.
    """
    problems = Problems()
    days = days_in_month(cube["time"].values).astype(np.float64)
    for name in (n for n in cube.data_vars if n in VARIABLES):
        with problems.collect():
            _check_range(cube[str(name)], VARIABLES[str(name)].kind == "accumulated", days, source)
    for name, bounds, unit in (
        ("tp", annual_precipitation or _ANNUAL_PRECIPITATION, "m"),
        ("ssrd", _ANNUAL_SUNSHINE, "J m-2"),
    ):
        if name in cube and len(days) >= 12:
            with problems.collect():
                _check_annual(cube[name], bounds, unit, days, source)
    problems.raise_if_any()


def _check_range(variable: xr.DataArray, accumulated: bool, days: npt.NDArray[np.float64], source: str) -> None:
    known = VARIABLES[str(variable.name)]
    values = variable.values / (days[:, None, None] if accumulated else 1.0)
    if not np.isfinite(values).any():
        raise InputError(
            f"{source}: {variable.name}",
            expected="some valid values",
            found="only missing values",
            remedy="download the file again; check that the area holds land",
        )
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low < known.low or high > known.high:
        per = " per day" if accumulated else ""
        raise InputError(
            f"{source}: {variable.name}",
            expected=f"monthly values{per} within {known.low:g}..{known.high:g} {known.units}",
            found=f"{low:.4g}..{high:.4g} after conversion; {_likely(str(variable.name), low, high)}",
            remedy=f"declare the true unit, `climate: {{units: {{{variable.name}: UNIT}}}}`, and check "
            "`climate.accumulated`",
        )


def _likely(name: str, low: float, high: float) -> str:
    if VARIABLES[name].units == "K" and -100 < low and high < 70:
        return "these look like degrees Celsius"
    if VARIABLES[name].units == "m" and VARIABLES[name].kind == "accumulated" and high > 0.2:
        return "these look like mm (kg m-2), or the stream is not what `climate.accumulated` declares"
    return "the unit attribute and the values disagree"


def _check_annual(
    variable: xr.DataArray, bounds: tuple[float, float], unit: str, days: npt.NDArray[np.float64], source: str
) -> None:
    whole = len(days) // 12 * 12
    per_year = float(np.nanmean(variable.values[:whole].reshape(whole, -1))) * 12
    if not bounds[0] <= per_year <= bounds[1]:
        raise InputError(
            f"{source}: {variable.name}",
            expected=f"a domain mean of {bounds[0]:g}..{bounds[1]:g} {unit} per year",
            found=f"{per_year:.3g} {unit} per year",
            remedy="check `climate.accumulated` (daily_mean, hourly_mean or monthly_total) and the unit; "
            "for an extreme region set `climate.annual_precipitation`",
        )
