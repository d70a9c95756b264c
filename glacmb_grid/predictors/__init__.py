"""(glacier, time) -> (glacier, year, predictor), and the forcing that physical models need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.physics import SNOW_SPREAD, SNOW_THRESHOLD, positive_temperature, snow_fraction
from glacmb_grid.predictors.months import by_year, season_positions
from glacmb_grid.predictors.rows import PLACE, as_rows, matching, unmeasured_rows
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
    NORTHERN_START,
    calendar_months,
    complete_years,
    first_months,
    year_bounds,
)

__all__ = ["BY_GLACIER", "as_rows", "build_predictors", "by_year", "matching", "season_positions", "unmeasured_rows"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
BY_GLACIER = "by glacier"
"""The attribute `first_month` of predictors whose glaciers have hydrological years of their own."""
Columns = dict[Meaning, Floats]  # (glacier, year)

_TOPOGRAPHY = ("elevation_min", "elevation_max", "elevation_mean", "elevation_median", "slope", "northness", "eastness")


def build_predictors(
    sampled: xr.Dataset,
    terrain: xr.Dataset,
    glaciers: xr.Dataset,
    *,
    albedo: xr.Dataset | None = None,
    first_month: int | npt.ArrayLike | None = None,
    years: Integers | None = None,
    monthly: Sequence[str] | None = None,
    temperature_spread: float = 4.0,
    lapse_rate: float | xr.DataArray = -0.0065,
    reference: tuple[int, int] | None = None,
    coordinates: bool = False,
) -> xr.Dataset:
    """Annual predictors of every glacier and complete hydrological year.

    Months, seasons and years are those of each glacier's own hydrological year; the summer is that of its hemisphere.

    Parameters
    ----------
    sampled : xr.Dataset, (glacier, time)
        Zonal means; with `t2m_corrected` if `t2m` is present.
    terrain : xr.Dataset, (glacier,)
        From `terrain`.
    glaciers : xr.Dataset, (glacier,)
        From `glaciers_dataset`: area, longitude, latitude.
    albedo : xr.Dataset, (glacier, year), optional
        From `summer_albedo`, by the same hydrological years; its gaps stay NaN.
    first_month : int or (glacier,) ints, optional
        Of the hydrological year; default October in the northern, April in the southern hemisphere. Given by glacier,
        or where glaciers lie on both sides of the equator, years, months and days are by glacier in the result.
    years : int array, (year,), optional
        Hydrological years to make; default those that are complete at every glacier.
    monthly : sequence of str, optional
        Variables with twelve monthly values (named by calendar month) and seasonal aggregates; default all available.
    temperature_spread : float
        Scatter of temperature within a month, K, for degree days.
    lapse_rate : float or xr.DataArray, (month,) or (glacier, month)
        K m-1, for degree days and snowfall over the hypsometry; of calendar months.
    reference : (int, int), optional
        First and last year of the reference period, all of it within the climate; adds to every seasonal predictor
        its `_climatology` (mean of the glacier over the period) and `_anomaly`.
    coordinates : bool
        Whether longitude and latitude are predictors.

    Returns
    -------
    xr.Dataset
        `predictors` (glacier, year, predictor) float32; the forcing `temperature` (K, at the model's orography) and
        `precipitation` (m w.e.) (glacier, year, month), `days` (year, month), `orography` (glacier), `hypsometry`
        (glacier, band); coordinates `time_bnds`, `month` (calendar month in the order of the year) and, over
        `predictor`, what each predictor is: the attributes of `vocabulary.Meaning`. Where years are by glacier,
        `days` is (glacier, year, month), `time_bnds` (glacier, year, bnds), `month` the number of the month in the
        glacier's own year, and `first_month` a coordinate over `glacier`.

    Raises
    ------
    InputError
        If a Dataset is not what its schema says, no year is complete, a variable is missing, a month occurs twice, the
        climate does not cover the reference period, values are missing, or the Datasets do not have the same glaciers
        in the same order.
    """
    for given, schema in ((sampled, SAMPLED), (terrain, TERRAIN), (glaciers, GLACIERS), (albedo, ALBEDO)):
        if given is not None:
            check(given, schema)
    _require_same_glaciers(sampled, terrain, glaciers, albedo)
    if "t2m" in sampled and "t2m_corrected" not in sampled:
        raise InputError(
            "sampled climate",
            expected="`t2m_corrected` beside `t2m`: the temperature at the elevation of the glacier",
            found="`t2m` alone",
            remedy="pass what `correct_temperature(sampled, terrain['elevation_mean'])` gives",
        )
    latitude = glaciers["latitude"].values
    by_glacier = first_month is not None and np.ndim(first_month) > 0
    single = None if by_glacier or first_month is None else int(np.asarray(first_month))
    firsts = np.asarray(first_month, np.int64) if by_glacier else first_months(latitude, single)
    by_glacier |= len(np.unique(firsts)) > 1
    if not len(firsts):
        firsts = first_months([90.0], single)
    made = complete_years(sampled["time"].values, firsts) if years is None else np.asarray(years, np.int64)
    if not len(made):
        raise InputError(
            "climate: time",
            expected="at least one complete hydrological year",
            found=f"{sampled.sizes['time']} months from {str(sampled['time'].values[0])[:7]}",
            remedy=f"download from month {firsts[0]} of one year to the month before it of the next",
        )

    def of(rows: Integers | slice, first: int, at_latitude: float) -> xr.Dataset:
        cube = by_year(sampled.isel(glacier=rows), made, first)
        ground, outlines = terrain.isel(glacier=rows), glaciers.isel(glacier=rows)
        seasons = season_positions(first, at_latitude)
        columns: Columns = {}
        for name in _monthly_names(cube, monthly):
            values = cube[name if name != "t2m" else "t2m_corrected"].values
            _add_monthly(columns, name, values, first, seasons, NORTHERN_START if by_glacier else first)
        _add_degree_days(columns, cube, ground, temperature_spread, _in_year(lapse_rate, rows, first), seasons)
        if albedo is not None:
            _add_albedo(columns, albedo.isel(glacier=rows), made)
        if reference is not None:
            _add_climatology(columns, made, reference)
        _add_static(columns, ground, outlines, coordinates)
        ds = _assemble(columns, cube, ground, outlines, made, first)
        return _by_glacier(ds, first) if by_glacier else ds

    kinds = list(zip(firsts.tolist(), (latitude >= 0).tolist(), strict=False))
    if len(set(kinds)) <= 1:
        return of(slice(None), int(firsts[0]), float(latitude[0]) if len(latitude) else 90.0)
    groups = {k: np.flatnonzero([one == k for one in kinds]) for k in dict.fromkeys(kinds)}
    parts = [of(rows, first, 1.0 if north else -1.0) for (first, north), rows in groups.items()]
    shared: Any = {"data_vars": "minimal", "coords": "minimal", "compat": "override", "combine_attrs": "override"}
    joined = xr.concat(parts, "glacier", join="exact", **shared)
    return joined.isel(glacier=np.argsort(np.concatenate(list(groups.values()))))


def _by_glacier(ds: xr.Dataset, first: int) -> xr.Dataset:
    """Predictors of glaciers with one first month in the layout where each glacier has its own."""
    size = ds.sizes["glacier"]
    number = {"long_name": "number of the month within the glacier's own hydrological year"}
    ds = ds.assign_coords(
        month=("month", np.arange(1, 13), number),
        time_bnds=ds["time_bnds"].expand_dims(glacier=size),
        first_month=("glacier", np.full(size, first), {"long_name": "first month of the glacier's hydrological year"}),
    )
    ds = ds.assign(days=ds["days"].expand_dims(glacier=size)) if "days" in ds else ds
    return ds.assign_attrs(first_month=BY_GLACIER)


def _require_same_glaciers(sampled: xr.Dataset, *others: xr.Dataset | None) -> None:
    """Raise if a Dataset has other glaciers than `sampled`, or another order."""
    expected = sampled["glacier"].values.astype(str)
    for other in others:
        if other is None or np.array_equal(given := other["glacier"].values.astype(str), expected):
            continue
        where = f"the Dataset of {listing(other.data_vars, 3)}"
        if sorted(given) == sorted(expected):
            raise InputError(
                where,
                expected="the glaciers of the sampled climate in its order",
                found="the same glaciers in another order",
                remedy="reorder it by name: `.sel(glacier=sampled['glacier'])`",
            )
        lacking = [g for g in expected if g not in set(given)]
        raise InputError(
            where,
            expected="the glaciers of the sampled climate",
            found=f"other glaciers than those sampled: {len(lacking)} of {len(expected)} are missing"
            + (f" ({listing(lacking, 3)})" if lacking else f", {len(given) - len(expected)} too many"),
            remedy="make it from the outlines that were sampled, or select the glaciers that both have",
        )


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


def _add_monthly(
    columns: Columns, name: str, values: Floats, first_month: int, seasons: dict[str, list[int]], listed_from: int
) -> None:
    own = calendar_months(first_month)
    for month in calendar_months(listed_from):
        columns[Meaning(name, "climate", calendar_month=month, part="value")] = values[:, :, own.index(month)]
    summed = VARIABLES[name].kind == "accumulated"
    for season, positions in seasons.items():
        part = values[:, :, positions]
        columns[_of_season(name, season)] = part.sum(axis=2) if summed else part.mean(axis=2)


def _of_season(stem: str, season: str) -> Meaning:
    return Meaning(stem, "climate", season, part="value")


def _in_year(lapse_rate: float | xr.DataArray, rows: Integers | slice, first_month: int) -> float | Floats:
    """Rates of these glaciers in the order of the hydrological year, (glacier or 1, 1, month), or the only one."""
    if not isinstance(lapse_rate, xr.DataArray):
        return lapse_rate
    own = lapse_rate.isel(glacier=rows) if "glacier" in lapse_rate.dims else lapse_rate
    ordered = own.sel(month=calendar_months(first_month)).transpose(..., "month").values
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
            "time_bnds": (("year", "bnds"), year_bounds(years, first_month)),
            **{n: ("glacier", glaciers[n].values) for n in PLACE if n in glaciers},
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
