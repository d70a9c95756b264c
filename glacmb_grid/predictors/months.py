"""Monthly values in the order of the hydrological year, and the seasons of a hemisphere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.vocabulary import OROGRAPHY, VARIABLES
from glacmb_grid.years import SEASONS, calendar_months, days_in_month, hydrological_year, start_month

Integers = npt.NDArray[np.int64]


def season_positions(first_month: int, latitude: float) -> dict[str, list[int]]:
    """Positions in the hydrological year of the months of each season of the hemisphere."""
    shift = start_month(latitude) - first_month
    return {name: sorted((m + shift) % 12 for m in months) for name, months in SEASONS.items()}


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
            remedy="remove duplicate months; `glacmb-grid ingest CONFIG STORE.zarr --from daily` makes months of days",
        )
    out = xr.Dataset(coords={"glacier": sampled["glacier"], "year": years, "month": calendar_months(first_month)})
    for name in [n for n in (*VARIABLES, "t2m_corrected") if n in sampled]:
        values = sampled[name].transpose("glacier", "time").values[:, order].astype(np.float64)
        out[name] = (("glacier", "year", "month"), values.reshape(len(values), len(years), 12))
    if OROGRAPHY in sampled:
        out[OROGRAPHY] = sampled[OROGRAPHY]
    days = days_in_month(sampled["time"].values[order]).astype(np.float64).reshape(len(years), 12)
    return out.assign(days=(("year", "month"), days))
