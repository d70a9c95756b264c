"""Checks that climate values are plausible in the stated unit and stream."""

from __future__ import annotations

import dask.base
import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.failures import Failure
from glacmb_grid.inputs.climate.anomalies import doubt_of, require_no_anomalies, source_of
from glacmb_grid.inputs.climate.steadiness import ALWAYS_CHANGING, fault_of, require_changing
from glacmb_grid.inputs.horizontal import plane_of
from glacmb_grid.vocabulary import VARIABLES, Variable
from glacmb_grid.years import days_in_month

_ANNUAL_PRECIPITATION = (0.1, 15.0)  # m per year, mean of the domain
_LARGEST_ANOMALY = 20.0  # K
_YEARS_TO_COMPARE = 5
_FAR_BELOW, _FAR_ABOVE = 4.0, 1e6  # times the plausible range: no other unit explains it, but -999, -32767 and 1e20 do
_DOUBT = "doubt"
_CELLS, _FEW_CELLS = 50, 6  # of a quick look in each direction; few if a chunk holds many months
_SERIES_FROM = 60  # months in a chunk
_MONTHS_APART = 4  # of a quick look at every cell
_AT_ONCE = 4096  # glaciers whose series are read at a time
_FEW = 0.5  # share of glaciers; if more are implausible, the unit is wrong
_ANNUAL_SUNSHINE = (1.2e9, 1.2e10)  # J m-2 per year (40 to 380 W m-2)


def check_values(cube: xr.Dataset, *, source: str, annual_precipitation: tuple[float, float] | None = None) -> None:
    """Raise if values of (a part of) a canonical cube are implausible in their unit.

    Parameters
    ----------
    cube : xr.Dataset, (time, ...)
        From `open_climate`, or sampled from it; read once, chunk by chunk. Annual totals are checked from one year on.
    source : str
        Source of the data, for the message.
    annual_precipitation : (float, float), optional
        Plausible domain means, m per year.

    Raises
    ------
    InputErrors or InputError
        For instance degrees Celsius labelled as kelvin, millimetres as metres, hourly sums declared as daily sums,
        months without values.
    """
    (months,) = dask.base.compute({n: _by_month(cube[n]) for n in _known(cube)})  # type: ignore[no-untyped-call]
    _judge(months, {n: source_of(cube[n], source) for n in months}, annual_precipitation)


def quick_look(cube: xr.Dataset, *, source: str, annual_precipitation: tuple[float, float] | None = None) -> xr.Dataset:
    """Check one year of some cells of a lazy cube in seconds, and give it; raises as `check_values` does."""
    start = max(0, min(cube.sizes["time"] // 2, cube.sizes["time"] - 12))
    series = any(max(v.chunksizes["time"]) > _SERIES_FROM for v in cube.data_vars.values() if "time" in v.chunksizes)
    cells = _FEW_CELLS if series else _CELLS
    strides = {d: slice(None, None, -(-cube.sizes[d] // cells)) for d in plane_of(cube)}
    year = cube.isel({"time": slice(start, start + 12), **strides}).load()
    apart = np.unique(np.linspace(0, cube.sizes["time"] - 1, _MONTHS_APART).astype(int))
    rows = _whole_blocks(cube) if series else {}  # every cell where a month is read at once
    for name in (n for n in ALWAYS_CHANGING if n in cube):
        few = cube[name].isel({"time": apart, **rows}).load()
        require_changing(few.stack(cell=plane_of(few)).transpose("time", "cell"), source_of(cube[name], source))
    doubt = doubt_of(cube, year, source)
    check_values(year, source=source, annual_precipitation=annual_precipitation)
    return year.assign_attrs({_DOUBT: doubt}) if doubt else year


def _whole_blocks(cube: xr.Dataset) -> dict[str, npt.NDArray[np.int64]]:
    """Positions of all cells of some chunks in each direction: a chunk that is read for one cell gives all of them."""
    out = {}
    for dim in plane_of(cube):
        sizes = cube.chunksizes.get(dim, (cube.sizes[dim],))
        starts = np.concatenate([[0], np.cumsum(sizes)])
        chosen = np.unique(np.linspace(0, len(sizes) - 1, _FEW_CELLS).astype(int))
        out[str(dim)] = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in chosen])
    return out


def doubts_of(year: xr.Dataset) -> list[str]:
    """What `quick_look` could not decide, a line each."""
    return [year.attrs[_DOUBT]] if _DOUBT in year.attrs else []


def implausible(
    sampled: xr.Dataset, *, source: str, annual_precipitation: tuple[float, float] | None = None
) -> list[Failure]:
    """Glaciers with implausible values among others with plausible ones.

    Parameters
    ----------
    sampled : xr.Dataset, (glacier, time)
        Read once, chunk by chunk.
    source, annual_precipitation
        As for `check_values`.

    Raises
    ------
    InputErrors or InputError
        Most glaciers are implausible, so the unit must be wrong; or as of `check_values` for the others.
    """
    names = _known(sampled)
    lazy = [({n: _by_month(sampled[n]) for n in names}, {n: _range(sampled[n], "time", VARIABLES[n]) for n in names})]
    ((months, ranges),) = dask.base.compute(*lazy)  # type: ignore[no-untyped-call]
    failures = []
    good = np.ones(sampled.sizes["glacier"], bool)
    for name in names:
        known, low, high = VARIABLES[name], ranges[name]["low"].values, ranges[name]["high"].values
        bad = (low < known.low) | (high > known.high)
        if bad.mean() <= _FEW:
            good &= ~bad
            failures += [
                Failure(
                    str(g),
                    name,
                    f"values of {a:.4g}..{b:.4g}, plausible are {known.low:g}..{known.high:g} {_per(known)}",
                )
                for g, a, b in zip(sampled["glacier"].values[bad], low[bad], high[bad], strict=True)
            ]
    failures += _faults(sampled, names, good, source)
    if not good.all():
        rest = sampled.isel(glacier=good)
        (months,) = dask.base.compute({n: _by_month(rest[n]) for n in names})  # type: ignore[no-untyped-call]
    _judge(months, {n: f"{source}: {n}" for n in months}, annual_precipitation)
    return failures


def _faults(sampled: xr.Dataset, names: list[str], good: npt.NDArray[np.bool_], source: str) -> list[Failure]:
    """Glaciers whose series cannot be true, taken out of `good`; an InputError if most of them are."""
    failures: list[Failure] = []
    months = sampled["time"].values.astype("datetime64[M]")
    for name in (n for n in names if n in (*ALWAYS_CHANGING, "tp")):
        found = {}
        for start in range(0, len(good), _AT_ONCE):
            part = sampled[name].isel(glacier=slice(start, start + _AT_ONCE)).transpose("glacier", "time")
            for row, series in enumerate(part.values, start):
                if good[row] and (fault := fault_of(series, name, months)):
                    found[row] = fault
        if len(found) > _FEW * len(good):
            raise InputError(
                f"{source}: {name}",
                expected="a series of one unit and product without undeclared missing values",
                found=f"at {len(found)} of {len(good)} glaciers: {next(iter(found.values()))}",
                remedy="download these months again, or give each file its own unit and fill value",
            )
        good[list(found)] = False
        failures += [Failure(str(sampled["glacier"].values[row]), name, fault) for row, fault in found.items()]
    return failures


def _known(cube: xr.Dataset) -> list[str]:
    return [str(n) for n in cube.data_vars if n in VARIABLES]


def _judge(
    months: dict[str, xr.Dataset], sources: dict[str, str], annual_precipitation: tuple[float, float] | None
) -> None:
    problems = Problems()
    annual = {"tp": (annual_precipitation or _ANNUAL_PRECIPITATION, "m"), "ssrd": (_ANNUAL_SUNSHINE, "J m-2")}
    for name, found in months.items():
        with problems.collect():
            where = sources[name]
            _check_present(found, where)
            _check_range(found, VARIABLES[name], where)
            if name == "t2m":
                _check_steady(found, where)
            if name in annual:
                _check_annual(found, *annual[name], where)
    problems.raise_if_any()


def _by_month(variable: xr.DataArray) -> xr.Dataset:
    """Number, lowest, highest and mean of the valid values of each month, (time,)."""
    places = [d for d in variable.dims if d != "time"]
    valid = variable.where(np.isfinite(variable))
    found = {"count": valid.notnull().sum(places), "low": valid.min(places), "high": valid.max(places)}
    found["negative"] = (valid < 0).sum(places)
    return xr.Dataset({**found, "mean": valid.mean(places, dtype=np.float64)})


def _range(variable: xr.DataArray, dim: str, known: Variable) -> xr.Dataset:
    """Lowest and highest valid value along a dimension; amounts are divided by the days of the month."""
    if known.kind == "accumulated":
        variable = variable / xr.DataArray(days_in_month(variable["time"].values).astype(np.float32), dims="time")
    valid = variable.where(np.isfinite(variable))
    return xr.Dataset({"low": valid.min(dim), "high": valid.max(dim)})


def _per(known: Variable) -> str:
    return f"{known.units} per day" if known.kind == "accumulated" else known.units


def _check_present(months: xr.Dataset, where: str) -> None:
    empty = months["count"].values == 0
    if empty.all():
        raise InputError(
            where,
            expected="some valid values",
            found="only missing values",
            remedy="download the file again; check that the area holds land",
        )
    if empty.any():
        raise InputError(
            where,
            expected="some valid values in every month",
            found=f"{int(empty.sum())} month(s) without values: {listing(_as_months(months)[empty])}",
            remedy="download these months again, or remove the variable from `climate.variables`",
        )


def _as_months(months: xr.Dataset) -> npt.NDArray[np.datetime64]:
    return np.asarray(months["time"].values.astype("datetime64[M]"))


def _check_range(months: xr.Dataset, known: Variable, where: str) -> None:
    accumulated = known.kind == "accumulated"
    days = days_in_month(months["time"].values) if accumulated else 1
    low = float((months["low"].values.astype(np.float64) / days).min())
    high = float((months["high"].values.astype(np.float64) / days).max())
    beyond = known.high - known.low
    if low < known.low - _FAR_BELOW * beyond or high > known.high + _FAR_ABOVE * beyond:
        raise InputError(
            where,
            expected=f"monthly values within {known.low:g}..{known.high:g} {_per(known)}",
            found=f"{low:.4g}..{high:.4g} after conversion: a fill that is not declared",
            remedy=f"declare it (NetCDF: `ncatted -a _FillValue,{known.name},o,f,VALUE FILE`; Zarr: the attribute "
            "`_FillValue` of the array), or download the file again",
        )
    if known.name in ("tp", "sf") and low < known.low and high <= known.high:
        require_no_anomalies(low, int(months["negative"].sum()), int(months["count"].sum()), where)
        wet = months["negative"].values > 0
        raise InputError(
            where,
            expected="no negative precipitation",
            found=f"{int(months['negative'].sum())} of {int(months['count'].sum())} values are negative, down to "
            f"{low:.3g} m a day, in {int(wet.sum())} month(s): {listing(_as_months(months)[wet])}",
            remedy="see what the product says of them; `climate: {negative_precipitation: zero}` takes them as none",
        )
    if low < known.low or high > known.high:
        raise InputError(
            where,
            expected=f"monthly values within {known.low:g}..{known.high:g} {_per(known)}",
            found=f"{low:.4g}..{high:.4g} after conversion; {_likely(known, low, high)}",
            remedy=f"declare the true unit, `climate: {{units: {{{known.name}: UNIT}}}}`, and check "
            "`climate.accumulated`",
        )


def _likely(known: Variable, low: float, high: float) -> str:
    if known.units == "K" and low > -100 and high < 70:
        return "these look like degrees Celsius (or anomalies, which are no temperatures)"
    if known.units == "m" and known.kind == "accumulated" and high > known.high:
        return "these look like mm (kg m-2), or the stream is not what `climate.accumulated` declares"
    return "the unit attribute and the values disagree"


def _check_steady(months: xr.Dataset, where: str) -> None:
    """Raise if the regional mean of a month is tens of kelvin away from that of the same month in other years."""
    month = _as_months(months).astype(np.int64) % 12
    if len(month) < _YEARS_TO_COMPARE * 12:
        return
    level = months["mean"].values
    usual = np.array([np.median(level[month == m]) for m in range(12)])[month]
    odd = np.abs(level - usual) > _LARGEST_ANOMALY
    if odd.any():
        raise InputError(
            where,
            expected=f"a mean of every month within {_LARGEST_ANOMALY:g} K of the same month in other years",
            found=f"{listing(_as_months(months)[odd])}: up to {np.abs(level - usual).max():.1f} K away",
            remedy="download these months again: they are damaged or hold another variable or unit",
        )
    if np.ptp(level) > 0 and (fault := fault_of(level, "t2m", _as_months(months))):
        raise InputError(
            where,
            expected="a mean of the area without a jump from one year to the next",
            found=fault,
            remedy="look at the file that begins there: it is of another unit, area or product",
        )


def _check_annual(months: xr.Dataset, bounds: tuple[float, float], unit: str, where: str) -> None:
    whole = slice(len(months["time"]) // 12 * 12)
    count = months["count"].values[whole]
    if not len(count):
        return
    per_year = float((months["mean"].values[whole] * count).sum() / count.sum()) * 12
    if not bounds[0] <= per_year <= bounds[1]:
        raise InputError(
            where,
            expected=f"a domain mean of {bounds[0]:g}..{bounds[1]:g} {unit} per year",
            found=f"{per_year:.3g} {unit} per year",
            remedy="check `climate.accumulated` (daily_mean, hourly_mean or monthly_total) and the unit; "
            "for an extreme region set `climate.annual_precipitation`",
        )
