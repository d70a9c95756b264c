"""Departures from a normal, which no attribute says: temperatures about 0 without a yearly cycle, percent of normal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.horizontal import plane_of
from glacmb_grid.vocabulary import MELTING_POINT, OROGRAPHY

Values = npt.NDArray[np.float64]

_YEAR = 12
_YEARS, _FEWEST = 10, 3  # that are read where one year is suspect; below, nothing can be decided
_CELLS = 20  # in each direction
_MONTHS_APART = 5
_ABOUT_ZERO = 3.0  # K, mean of a cell over the years
_SMALL_RANGE = 15.0  # K, of the area's mean within one year: beyond it lies a yearly cycle
_NO_CYCLE = 5.0  # F ratio of the mean yearly cycle; 1 without any, tens in temperate and maritime climates
_TROPICS = 25.0  # degrees, within which a yearly cycle can be too small to be told from chance
_LAPSE = 5e-3  # K m-1, a low one
_HILLS = 150.0  # m, standard deviation of heights that temperatures have to follow
_FOLLOWS = 0.3  # of the spread that the heights make
_MANY, _ALIKE = 20, 0.4  # cells, and K: so many, and so alike, are on no mountain
_NEGATIVE = 0.2  # share of precipitation values
_NORMAL, _AROUND, _EVEN = 0.1, 0.1, 0.07  # m a month, as which 100 % are read; share it may be off, and cells differ by
_REMEDY = "add the normals that they are departures from, month by month, and give the sums; or take absolute values"


def doubt_of(cube: xr.Dataset, year: xr.Dataset, where: str) -> str:
    """Raise if temperatures are anomalies or precipitation is in percent of normal; a line if it cannot be decided.

    Parameters
    ----------
    cube : xr.Dataset, (time, ...)
        From `open_climate`; of some cells up to ten years are read, where the year is suspect.
    year : xr.Dataset, (time, ...)
        Twelve months of some cells, in memory.
    where : str
        Where the values come from, if the cube does not say it.

    Raises
    ------
    InputError
    """
    doubt = ""
    if "t2m" in year and _is_suspect(_degrees(_flat(year["t2m"]))):
        doubt = _doubtful_temperature(cube, source_of(cube["t2m"], where))
    if "tp" in year and _is_even(_flat(year["tp"])):
        _refuse_percent(cube, source_of(cube["tp"], where))
    return doubt


def source_of(field: xr.DataArray, otherwise: str) -> str:
    """The files of a variable of a cube, as far as `open_climate` noted them, and its name."""
    return f"{field.encoding.get('source', otherwise)}: {field.name}"


def require_no_anomalies(low: float, negative: int, count: int, where: str) -> None:
    """Raise if so many values of precipitation are negative that they are departures from a normal.

    Parameters
    ----------
    low : float
        The lowest, m a day.
    negative, count : int
        Negative values, and all.
    where : str
    """
    if count and negative > _NEGATIVE * count:
        raise InputError(
            where,
            expected="amounts of precipitation",
            found=f"{negative} of {count} values are negative, down to {low:.3g} m a day: anomalies, as departures "
            "from a normal are called",
            remedy=_REMEDY,
        )


def require_amounts(field: xr.DataArray, where: str) -> None:
    """Raise if some months of some cells of precipitation, (time, ...), not clipped, are anomalies."""
    months = np.unique(np.linspace(0, field.sizes["time"] - 1, _MONTHS_APART).astype(int))
    thin = {d: slice(None, None, -(-field.sizes[d] // _CELLS)) for d in plane_of(field)}
    values = field.isel({"time": months, **thin}).values
    known = values[np.isfinite(values)]
    require_no_anomalies(float(known.min(initial=0)) / 30, int((known < 0).sum()), len(known), source_of(field, where))


def _flat(field: xr.DataArray) -> Values:
    """Values of the cells that have one in every step, (time, cell)."""
    values = field.transpose("time", ...).values.reshape(field.sizes["time"], -1).astype(np.float64)
    return np.asarray(values[:, np.isfinite(values).all(axis=0)])


def _degrees(values: Values) -> Values:
    """Temperatures, degC; values that are about 0 already are taken as they are, whatever their unit says."""
    return values if values.size and abs(np.median(values)) < MELTING_POINT / 4 else values - MELTING_POINT


def _is_suspect(values: Values) -> bool:
    """Whether a year of temperatures, (time, cell) in degC, may be one of anomalies."""
    if len(values) < _YEAR or not values.shape[1]:
        return False
    level = values.mean(axis=1)
    near = np.mean(np.abs(values.mean(axis=0)) < 2 * _ABOUT_ZERO) > 0.9
    both = values.min() < 0 < values.max()
    return bool(near and both and 0 < np.ptp(level) < _SMALL_RANGE)


def _some_years(cube: xr.Dataset, name: str) -> tuple[xr.DataArray, int]:
    """Up to ten whole years over the record of some cells of a variable, (time, ...), and how many."""
    count = cube.sizes["time"] // _YEAR
    chosen = np.unique(np.linspace(0, count - 1, min(_YEARS, count)).astype(int))
    steps = (chosen[:, None] * _YEAR + np.arange(_YEAR)).ravel()
    thin = {d: slice(None, None, -(-cube.sizes[d] // _CELLS)) for d in plane_of(cube)}
    return cube[name].isel({"time": steps, **thin}), len(chosen)


def _cycle(values: Values, years: int) -> float:
    """F ratio of the mean yearly cycle of values, (time, cell): its median over the cells; infinite without scatter."""
    by_year = values.reshape(years, _YEAR, -1)
    mean = by_year.mean(axis=0)
    scatter = ((by_year - mean) ** 2).sum(axis=(0, 1)) / ((years - 1) * _YEAR)
    cycle = years * mean.var(axis=0, ddof=1)
    ratio = np.divide(cycle, scatter, out=np.full(len(cycle), np.inf), where=scatter > 0)
    return float(np.median(ratio))


def _doubtful_temperature(cube: xr.Dataset, where: str) -> str:
    """Raise if several years have no yearly cycle about a mean of 0 in all cells, however high these lie."""
    field, years = _some_years(cube, "t2m")
    values = _degrees(_flat(field))
    if not values.size:
        return ""
    mean = values.mean(axis=0)
    if years < _FEWEST:
        if np.quantile(np.abs(mean), 0.95) > _ABOUT_ZERO:
            return ""
        return (
            f"{where}: temperatures scatter about 0 by {values.std():.2g} K in {years} year(s); make sure that they "
            "are no anomalies"
        )
    ratio = _cycle(values, years)
    if np.quantile(np.abs(mean), 0.95) > _ABOUT_ZERO or ratio > _NO_CYCLE:
        return ""
    told = f"means of {mean.min():.2g}..{mean.max():.2g} in {values.shape[1]} cells over {years} years, scatter "
    told += f"{values.std():.2g} K, no yearly cycle"
    if not _is_certain(field, cube, mean):
        return f"{where}: {told}; make sure that these are temperatures near the equator, no anomalies"
    raise InputError(
        where,
        expected="temperatures",
        found=f"{told}: anomalies, as departures from a normal are called",
        remedy=_REMEDY,
    )


def _is_certain(field: xr.DataArray, cube: xr.Dataset, mean: Values) -> bool:
    """Whether values about 0 without a yearly cycle can be no temperatures of that place."""
    if np.median(np.abs(field["latitude"].values)) > _TROPICS:
        return True
    if OROGRAPHY in cube:
        places = plane_of(cube)
        heights = cube[OROGRAPHY].isel({d: slice(None, None, -(-cube.sizes[d] // _CELLS)) for d in places})
        hills = float(heights.std())
        if hills > _HILLS:
            return bool(mean.std() < _FOLLOWS * _LAPSE * hills)
    return bool(len(mean) >= _MANY and mean.std() < _ALIKE)


def _is_even(values: Values) -> bool:
    """Whether a year of precipitation, (time, cell) in m a month, may be one in percent of normal."""
    if len(values) < _YEAR or values.shape[1] < _MANY:
        return False
    mean = values.mean(axis=0)
    return bool(abs(mean.mean() / _NORMAL - 1) < 0.5 and mean.std() < 0.3 * mean.mean() and np.ptp(values) > 0)


def _refuse_percent(cube: xr.Dataset, where: str) -> None:
    """Raise if precipitation is 100 a month in all cells alike, without a yearly cycle."""
    field, years = _some_years(cube, "tp")
    values = _flat(field)
    if years < _FEWEST or values.shape[1] < _MANY:
        return
    mean = values.mean(axis=0)
    even = mean.std() < _EVEN * mean.mean() and abs(mean.mean() / _NORMAL - 1) < _AROUND
    if even and _cycle(values, years) < _NO_CYCLE / 2:
        raise InputError(
            where,
            expected="amounts of precipitation",
            found=f"{1e3 * mean.mean():.4g} mm a month, as good as the same in {values.shape[1]} cells over {years} "
            "years and without a yearly cycle: percent of normal",
            remedy="multiply by the normals, month by month, and divide by 100; or take amounts",
        )
