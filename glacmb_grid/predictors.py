"""(glacier, time) -> (glacier, year, predictor), and the forcing that physical models need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.physics import SNOW_SPREAD, SNOW_THRESHOLD, positive_temperature, snow_fraction
from glacmb_grid.schemas import ALBEDO, GLACIERS, SAMPLED, TERRAIN, check
from glacmb_grid.vocabulary import (
    MELTING_POINT,
    OROGRAPHY,
    VARIABLES,
    Meaning,
    PredictorOrigin,
    meaning_coordinates,
)
from glacmb_grid.years import (
    SEASONS,
    calendar_months,
    complete_years,
    days_in_month,
    hydrological_year,
    start_month,
    year_bounds,
)

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Columns = dict[Meaning, Floats]  # (glacier, year)

_PLACE = ("longitude", "latitude", "area")
_TOPOGRAPHY = ("elevation_min", "elevation_max", "elevation_mean", "elevation_median", "slope", "northness", "eastness")


def build_predictors(
    sampled: xr.Dataset,
    terrain: xr.Dataset,
    glaciers: xr.Dataset,
    *,
    albedo: xr.Dataset | None = None,
    first_month: int = 10,
    monthly: Sequence[str] | None = None,
    temperature_spread: float = 4.0,
    lapse_rate: float | xr.DataArray = -0.0065,
    reference: tuple[int, int] | None = None,
    coordinates: bool = False,
    mean_latitude: float | None = None,
) -> xr.Dataset:
    """Annual predictors of every glacier and complete hydrological year.

    Parameters
    ----------
    sampled : xr.Dataset, (glacier, time)
        Zonal means; with `t2m_corrected` if `t2m` is present.
    terrain : xr.Dataset, (glacier,)
        From `terrain`.
    glaciers : xr.Dataset, (glacier,)
        From `glaciers_dataset`: area, longitude, latitude.
    albedo : xr.Dataset, (glacier, year), optional
        From `summer_albedo`; its gaps stay NaN.
    first_month : int
        Of the hydrological year.
    monthly : sequence of str, optional
        Variables with twelve monthly values and seasonal aggregates; default all available.
    temperature_spread : float
        Scatter of temperature within a month, K, for degree days.
    lapse_rate : float or xr.DataArray, (month,) or (glacier, month)
        K m-1, for degree days and snowfall over the hypsometry; of calendar months.
    reference : (int, int), optional
        First and last year of the reference period, all of it within the climate; adds to every seasonal predictor
        its `_climatology` (mean of the glacier over the period) and `_anomaly`.
    coordinates : bool
        Whether longitude and latitude are predictors.
    mean_latitude : float, optional
        Latitude of the region, whose hemisphere defines the summer; default the mean of these glaciers.

    Returns
    -------
    xr.Dataset
        `predictors` (glacier, year, predictor) float32; the forcing `temperature` (K, at the model's orography) and
        `precipitation` (m w.e.) (glacier, year, month), `days` (year, month), `orography` (glacier), `hypsometry`
        (glacier, band); coordinates `year_bnds`, `month` (calendar month in the order of the year) and, over
        `predictor`, what each predictor is: the attributes of `vocabulary.Meaning`.

    Raises
    ------
    InputError
        If a Dataset is not what its schema says, no year is complete, a variable is missing, a month occurs twice, the
        climate does not cover the reference period, or values are missing.
    ValueError
        Where the Datasets do not have the same glaciers in the same order.
    """
    for given, schema in ((sampled, SAMPLED), (terrain, TERRAIN), (glaciers, GLACIERS), (albedo, ALBEDO)):
        if given is not None:
            check(given, schema)
    _require_same_glaciers(sampled, terrain, glaciers, albedo)
    years = complete_years(sampled["time"].values, first_month)
    if not len(years):
        raise InputError(
            "climate: time",
            expected="at least one complete hydrological year",
            found=f"{sampled.sizes['time']} months from {str(sampled['time'].values[0])[:7]}",
            remedy=f"download from month {first_month} of one year to the month before it of the next",
        )
    cube = by_year(sampled, years, first_month)
    region = float(glaciers["latitude"].mean()) if mean_latitude is None else mean_latitude
    seasons = season_positions(first_month, region)
    columns: Columns = {}
    for name in _monthly_names(cube, monthly):
        _add_monthly(columns, name, cube[name if name != "t2m" else "t2m_corrected"].values, first_month, seasons)
    rate = lapse_rate if isinstance(lapse_rate, (int, float)) else _in_year(lapse_rate, first_month)
    _add_degree_days(columns, cube, terrain, temperature_spread, rate, seasons)
    if albedo is not None:
        _add_albedo(columns, albedo, years)
    if reference is not None:
        _add_climatology(columns, years, reference)
    _add_static(columns, terrain, glaciers, coordinates)
    return _assemble(columns, cube, terrain, glaciers, years, first_month)


def _require_same_glaciers(sampled: xr.Dataset, *others: xr.Dataset | None) -> None:
    """Raise if a Dataset has other glaciers than `sampled`, or another order."""
    expected = sampled["glacier"].values.astype(str)
    for other in others:
        if other is not None and not np.array_equal(other["glacier"].values.astype(str), expected):
            raise ValueError(f"the Dataset of {listing(other.data_vars)} has other glaciers than those sampled")


def season_positions(first_month: int, mean_latitude: float) -> dict[str, list[int]]:
    """Positions in the hydrological year of the months of each season of the hemisphere."""
    shift = start_month(mean_latitude) - first_month
    return {name: sorted((m + shift) % 12 for m in months) for name, months in SEASONS.items()}


def _monthly_names(cube: xr.Dataset, wanted: Sequence[str] | None) -> list[str]:
    available = [n for n in VARIABLES if n in cube]
    missing = [n for n in wanted or () if n not in available]
    if missing:
        raise InputError(
            f"predictors: monthly: {listing(missing)}",
            expected=f"variables of this climate: {listing(available, 30)}",
            found="not available",
            remedy="add them to `climate: {variables: ...}`, or remove them from `predictors: {monthly: ...}`",
        )
    return available if wanted is None else list(wanted)


def by_year(sampled: xr.Dataset, years: Integers, first_month: int) -> xr.Dataset:
    """Monthly variables as (glacier, year, month), month by its position in the hydrological year."""
    year, position = hydrological_year(sampled["time"].values, first_month)
    kept = np.isin(year, years)
    order = np.flatnonzero(kept)[np.lexsort((position[kept], year[kept]))]
    if len(order) != 12 * len(years):
        raise InputError(
            "climate: time",
            expected="one value a month",
            found=f"{len(order)} values in {len(years)} years",
            remedy="average daily or hourly values to months first; remove duplicate months",
        )
    out = xr.Dataset(coords={"glacier": sampled["glacier"], "year": years, "month": calendar_months(first_month)})
    for name in [n for n in (*VARIABLES, "t2m_corrected") if n in sampled]:
        values = sampled[name].transpose("glacier", "time").values[:, order].astype(np.float64)
        out[name] = (("glacier", "year", "month"), values.reshape(len(values), len(years), 12))
    if OROGRAPHY in sampled:
        out[OROGRAPHY] = sampled[OROGRAPHY]
    days = days_in_month(sampled["time"].values[order]).astype(np.float64).reshape(len(years), 12)
    return out.assign(days=(("year", "month"), days))


def _add_monthly(columns: Columns, name: str, values: Floats, first_month: int, seasons: dict[str, list[int]]) -> None:
    for i, month in enumerate(calendar_months(first_month)):
        columns[Meaning(name, "climate", calendar_month=month, part="value")] = values[:, :, i]
    summed = VARIABLES[name].kind == "accumulated"
    for season, positions in seasons.items():
        part = values[:, :, positions]
        columns[_of_season(name, season)] = part.sum(axis=2) if summed else part.mean(axis=2)


def _of_season(stem: str, season: str) -> Meaning:
    return Meaning(stem, "climate", season, part="value")


def _in_year(lapse_rate: xr.DataArray, first_month: int) -> Floats:
    """Rates in the order of the hydrological year, (glacier or 1, 1, month)."""
    ordered = lapse_rate.sel(month=calendar_months(first_month)).transpose(..., "month").values
    return np.asarray(ordered.reshape(-1, 1, 12), np.float64)


def _add_degree_days(
    columns: Columns,
    cube: xr.Dataset,
    terrain: xr.Dataset,
    spread: float,
    lapse_rate: float | Floats,
    seasons: dict[str, list[int]],
) -> None:
    """Positive degree days (K d) and computed snowfall (m w.e.), means over the hypsometry."""
    if "t2m_corrected" not in cube:
        return
    above = terrain["hypsometry"].values - terrain["elevation_mean"].values[:, None]
    celsius = cube["t2m_corrected"].values - MELTING_POINT
    days = cube["days"].values
    melt = np.zeros_like(celsius)
    snow = np.zeros_like(celsius)
    for band in range(above.shape[1]):
        at_band = celsius + lapse_rate * above[:, band, None, None]
        melt += positive_temperature(at_band, spread) * days / above.shape[1]
        if "tp" in cube:
            snow += snow_fraction(at_band, SNOW_THRESHOLD, SNOW_SPREAD) * cube["tp"].values / above.shape[1]
    for season, positions in seasons.items():
        columns[_of_season("degree_days", season)] = melt[:, :, positions].sum(axis=2)
        if "tp" in cube:
            columns[_of_season("snowfall", season)] = snow[:, :, positions].sum(axis=2)


def _add_albedo(columns: Columns, albedo: xr.Dataset, years: Integers) -> None:
    on_years = albedo.reindex(year=years)
    for name in ("albedo_mean", "albedo_min"):
        meaning = Meaning(f"summer_{name}", "albedo", part="value")
        columns[meaning] = on_years[name].transpose("glacier", "year").values.astype(np.float64)


def _add_climatology(columns: Columns, years: Integers, reference: tuple[int, int]) -> None:
    """Means over a period that the climate covers completely, so that later years cannot change them."""
    first, last = reference
    inside = (years >= first) & (years <= last)
    if first > last or inside.sum() != last - first + 1:
        raise InputError(
            "predictors: reference",
            expected=f"a period whose hydrological years are all within {years[0]}..{years[-1]} and complete",
            found=f"{first}..{last}, of which {inside.sum()} covered",
            remedy="choose a period that the climate covers",
        )
    for one in [m for m in columns if m.season]:
        climatology = columns[one][:, inside].mean(axis=1, keepdims=True)
        columns[replace(one, part="climatology")] = np.broadcast_to(climatology, columns[one].shape)
        columns[replace(one, part="anomaly")] = columns[one] - climatology


def _add_static(columns: Columns, terrain: xr.Dataset, glaciers: xr.Dataset, coordinates: bool) -> None:
    shape = next(iter(columns.values())).shape

    def add(name: str, origin: PredictorOrigin, values: Floats) -> None:
        columns[Meaning(name, origin, part="value")] = np.broadcast_to(values.astype(np.float64)[:, None], shape)

    for name in [n for n in _TOPOGRAPHY if n in terrain]:
        add(name, "terrain", terrain[name].values)
    add("log_area", "outline", np.log(glaciers["area"].values))
    for name in ("longitude", "latitude") if coordinates else ():
        add(name, "position", glaciers[name].values)


def _assemble(
    columns: Columns,
    cube: xr.Dataset,
    terrain: xr.Dataset,
    glaciers: xr.Dataset,
    years: Integers,
    first_month: int,
) -> xr.Dataset:
    values = np.stack(list(columns.values()), axis=2).astype(np.float32)
    ds = xr.Dataset(
        {"predictors": (("glacier", "year", "predictor"), values)},
        coords={
            "glacier": cube["glacier"],
            "year": years,
            "predictor": np.array([m.name for m in columns], dtype=object),
            **meaning_coordinates(list(columns)),
            "month": calendar_months(first_month),
            "year_bnds": (("year", "bnds"), year_bounds(years, first_month)),
            **{n: ("glacier", glaciers[n].values) for n in _PLACE if n in glaciers},
        },
        attrs={"first_month": first_month},
    )
    _require_finite(ds)
    if "t2m" in cube and "tp" in cube:
        orography = cube[OROGRAPHY] if OROGRAPHY in cube else terrain["elevation_mean"]
        ds = ds.assign(
            temperature=cube["t2m"],
            precipitation=cube["tp"],
            days=cube["days"],
            orography=("glacier", orography.values.astype(np.float64)),
            hypsometry=terrain["hypsometry"],
        )
    return ds


def _require_finite(ds: xr.Dataset) -> None:
    """Raise if predictors have gaps; only those of the albedo may, as they are filled within each fold."""
    missing = ~np.isfinite(ds["predictors"].values)
    missing[:, :, ds["origin"].values == "albedo"] = False
    if missing.any():
        names = ds["predictor"].values[missing.any(axis=(0, 1))]
        ids = ds["glacier"].values[missing.any(axis=(1, 2))]
        raise InputError(
            "predictors",
            expected="finite values for every glacier and year",
            found=f"missing values in {listing(names)} for {len(ids)} glacier(s): {listing(ids)}",
            remedy="the climate (sea cells, missing months) or the elevation model (voids) has gaps: give files "
            "with valid cells under these glaciers, or leave them out",
        )


def as_rows(predictors: xr.Dataset, glacier: Integers, year: Integers) -> xr.Dataset:
    """Chosen glacier-years as rows.

    Parameters
    ----------
    predictors : xr.Dataset
        From `build_predictors`.
    glacier, year : int arrays, (row,)
        Positions along the two dimensions.

    Returns
    -------
    xr.Dataset, (row, predictor), (row, month), (row, band), (row,)
        With coordinates `row_glacier`, `row_year` and, where known, `row_longitude`, `row_latitude`, `row_area`.
    """
    at = {"glacier": xr.DataArray(glacier, dims="row"), "year": xr.DataArray(year, dims="row")}
    rows = predictors.drop_vars("year_bnds", errors="ignore").isel(at)
    names = {n: f"row_{n}" for n in ("glacier", "year", *_PLACE) if n in rows.coords}
    return rows.reset_coords(list(names)).rename(names).set_coords(list(names.values()))


def matching(names: Iterable[str], patterns: Sequence[str]) -> list[int]:
    """Positions of the names that match any of the shell-style patterns.

    Raises
    ------
    InputError
        If a pattern matches nothing.
    """
    known = [str(n) for n in names]
    for pattern in patterns:
        if not any(fnmatchcase(n, pattern) for n in known):
            raise InputError(
                f"models: predictors: {pattern!r}",
                expected="a pattern that matches some predictor",
                found="no match",
                remedy=f"choose among {listing(known, 40)}",
            )
    return [i for i, n in enumerate(known) if any(fnmatchcase(n, p) for p in patterns)]
