"""Regional changes by month, as the second Glacier Mass Balance Intercomparison Exercise (GlaMBIE-2) takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.products.metadata import describe

Floats = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]
Unit = Literal["mwe", "Gt"]

COLUMNS = (
    "region_id",
    "start_date",
    "end_date",
    "glacier_change_observed",
    "glacier_change_uncertainty",
    "unit",
    "glacier_area_reference_start",
    "glacier_area_reference_end",
    "observational_coverage_percentage",
    "remarks",
)
"""Of the template for submissions of observations, in its order."""
DIGITS = 12
_VARIABLES = {"mwe": "mass_balance", "Gt": "mass_change_gt"}
_RGI = r"^(?:RGI[56]\d-|RGI2000-v7\.\d-[GC]-)(\d{2})[.-]"
_REGIONS = range(1, 20)  # first-order regions of GTN-G
_BY_DAYS = "annual value split into months by their days"
_BY_SEASONS = "annual value split into months by their days, with a given seasonal cycle that sums to zero over a year"
_APPROXIMATE = "; an approximation, only sums over whole hydrological years are estimates"
_ERRORS = "; uncertainty split so that the root of the sum of squares of the months is that of the year"


def glambie2_table(
    regional: xr.Dataset,
    *,
    unit: Unit = "mwe",
    season: Sequence[float] | None = None,
    coverage: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Monthly changes of regions.

    Parameters
    ----------
    regional : xr.Dataset, (region, year)
        Regions of first order, `13` or `RGI60-13`; no year missing.
    unit : {"mwe", "Gt"}
        m water equivalent, or gigatonnes.
    season : sequence of 12 float, optional
        Departures of January, ..., December from an even year, in `unit`; their sum over each year is taken out.
        Without it every day of a year has the same change.
    coverage : mapping, optional
        Percentage of the glacier area of a region that was observed, by region (`13`); else it stays empty.

    Returns
    -------
    DataFrame
        `COLUMNS`; dates as DD/MM/YYYY, each `end_date` the next `start_date`; rounded to `DIGITS` digits so that the
        months of a hydrological year sum up to its change within 1e-10.

    Raises
    ------
    InputError
        Regions that are not of first order, values that are missing, years with gaps, regions whose glaciers have
        hydrological years that overlap.
    """
    if unit not in _VARIABLES:
        raise InputError("unit", expected=" or ".join(_VARIABLES), found=f"{unit!r}", remedy="name one of these")
    cycle = _cycle(season)
    ds = describe(regional, kind="region")
    name = _VARIABLES[unit]
    numbers = _numbers(ds)
    bounds = _bounds(ds)
    values = {n: ds[n].transpose("region", "year").values.astype(np.float64) for n in (name, f"{name}_uncertainty")}
    _require_complete(ds, values)
    area = ds["area"].transpose("region", "year").values.astype(np.float64)
    remarks = (_BY_DAYS if season is None else _BY_SEASONS) + _APPROXIMATE + _ERRORS
    parts = []
    for k in np.argsort(numbers, kind="stable").tolist():
        seen = (coverage or {}).get(f"{numbers[k]:02d}")
        for y, (start, end) in enumerate(bounds[k]):
            change, sigma, edges = values[name][k, y], values[f"{name}_uncertainty"][k, y], _months(start, end)
            part = {
                "region_id": numbers[k],
                "start_date": _dates(edges[:-1]),
                "end_date": _dates(edges[1:]),
                "glacier_change_observed": _split(change, edges, cycle),
                "glacier_change_uncertainty": np.round(sigma * np.sqrt(_day_shares(edges)), DIGITS),
                "unit": unit,
                "glacier_area_reference_start": round(area[k, y], 6),
                "glacier_area_reference_end": round(area[k, y], 6),
                "observational_coverage_percentage": "" if seen is None else round(seen, 2),
                "remarks": remarks,
            }
            parts.append(pd.DataFrame(part, columns=list(COLUMNS)))
    return pd.concat(parts, ignore_index=True)


def measured_share(product: xr.Dataset) -> dict[str, float]:
    """Percentage of the glacier area of each first-order region of the RGI, `13`, that has annual observations."""
    found = product["glacier_id"].to_series().astype(str).str.extract(_RGI, expand=False)
    area = pd.DataFrame({"region": found.to_numpy(), "area": product["area"].values})
    area["measured"] = np.where(product["measured"].values != 0, area["area"], 0.0)
    sums = area.groupby("region")[["area", "measured"]].sum()
    return {str(r): 100 * float(m) / float(a) for r, a, m in sums.itertuples() if a > 0}


def _cycle(season: Sequence[float] | None) -> Floats:
    found = np.zeros(12) if season is None else np.asarray(season, np.float64)
    if found.shape != (12,) or not np.isfinite(found).all():
        raise InputError(
            "season", expected="twelve numbers, from January on", found=f"{season}", remedy="give one for each month"
        )
    return found


def _numbers(ds: xr.Dataset) -> list[int]:
    """Numbers of the regions by GTN-G."""
    labels = ds["region_id"].values.astype(str).tolist()
    tails = [label.rsplit("-", 1)[-1] if label.startswith("RGI") else label for label in labels]
    wrong = [x for x, t in zip(labels, tails, strict=True) if not (t.isdigit() and int(t) in _REGIONS)]
    if wrong or len(set(map(int, tails))) != len(tails):
        raise InputError(
            "glambie2: region",
            expected="regions of first order, 1 to 19, each once",
            found=listing(wrong or labels),
            remedy="make the regional product of first-order regions",
        )
    return [int(t) for t in tails]


def _bounds(ds: xr.Dataset) -> Dates:
    """First day of each year and of the next, (region, year, 2), without gaps."""
    bounds = ds["time_bnds"].values.astype("datetime64[D]")
    bounds = np.broadcast_to(bounds, (ds.sizes["region"], *bounds.shape[-2:]))
    apart = bounds[:, :-1, 1] != bounds[:, 1:, 0]
    if apart.any():
        k, y = np.argwhere(apart)[0]
        raise InputError(
            "glambie2: years",
            expected="each year of a region to begin where the year before ends",
            found=f"region {ds['region_id'].values[k]}: {bounds[k, y, 1]}, then {bounds[k, y + 1, 0]}",
            remedy="give all years; regions whose glaciers have several hydrological years cannot be exported by month",
        )
    return np.asarray(bounds)


def _require_complete(ds: xr.Dataset, values: Mapping[str, Floats]) -> None:
    for name, found in values.items():
        if not np.isfinite(found).all():
            k, y = np.argwhere(~np.isfinite(found))[0]
            raise InputError(
                f"glambie2: {name}",
                expected="a value for every region and year",
                found=f"none for region {ds['region_id'].values[k]} in {ds['year'].values[y]}",
                remedy="export years that have values only, or leave the region out",
            )


def _months(start: np.datetime64, end: np.datetime64) -> Dates:
    """First days of the months of a year, and of the one after."""
    months = np.arange(start.astype("datetime64[M]"), end.astype("datetime64[M]") + np.timedelta64(1, "M"))
    return months.astype("datetime64[D]")


def _day_shares(edges: Dates) -> Floats:
    days = np.diff(edges).astype(np.float64)
    return np.asarray(days / days.sum())


def _split(change: float, edges: Dates, cycle: Floats) -> Floats:
    """Changes of the months, rounded; the last takes what rounding left."""
    own = cycle[edges[:-1].astype("datetime64[M]").astype(np.int64) % 12]
    shares = _day_shares(edges)
    months = np.round((change - own.sum()) * shares + own, DIGITS)
    months[-1] = np.round(change - months[:-1].sum(), DIGITS)
    return np.asarray(months)


def _dates(days: Dates) -> list[str]:
    return [f"{d:%d/%m/%Y}" for d in days.astype(object)]
