"""The regional product beside series of others, such as those of GlaMBIE."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.constraints import covered, period_operator
from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.series import region_code
from glacmb_grid.schemas import REGIONAL, check, require_columns

Floats = npt.NDArray[np.float64]

SAME_AREA = 0.2
"""Share by which areas may differ where gigatonnes are compared."""
_OF_UNIT = {"m w.e.": "mass_balance", "Gt": "mass_change_gt"}
_DAY = "datetime64[D]"


def compare_series(regional: xr.Dataset, reference: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Changes of the regional product over the periods of a reference, and how far they are off.

    Parameters
    ----------
    regional : xr.Dataset, (region, year)
        From `regional_product`.
    reference : DataFrame
        From `read_series`, or `region` (as in the product), `begin`, `end` (first day of the period and first day after
        it), `change` over the period, its `unit` ("m w.e." or "Gt") and, optionally, `area` (km2).

    Returns
    -------
    rows : DataFrame
        The rows of the reference that the product covers, with `product`, `difference` (product minus reference) and
        `area_share` (area of the product over that of the reference, NaN if unknown).
    scores : DataFrame
        By `region` and `unit`: `n`, `product`, `reference` (means), `bias`, `rmse`, `area_share` (mean). Gigatonnes of
        regions whose areas differ by more than a fifth are no judgement of the product.

    Raises
    ------
    InputError
        Another Dataset than the regional product; columns missing, other units, no period that the product covers.

    Notes
    -----
    A hydrological year that lies in a period in part adds its change times the share of its days.
    """
    check(regional, REGIONAL)
    require_columns(reference, ("region", "begin", "end", "change", "unit"), name="reference", source="your own table")
    if other := sorted(set(reference["unit"]) - set(_OF_UNIT)):
        raise InputError(
            "reference: unit",
            expected="m w.e. or Gt",
            found=listing(other),
            remedy="convert the changes",
        )
    known = regional["region_id" if "region_id" in regional.variables else "region"].values.astype(str)
    names = reference["region"].astype(str)
    place = pd.Index(known).get_indexer(names)
    coded = pd.Index(known).get_indexer([region_code(n) for n in names])
    place = np.where(place >= 0, place, coded)
    parts = [_compared(regional, reference[place >= 0], place[place >= 0], unit) for unit in _OF_UNIT]
    rows = pd.concat(parts).sort_index()
    if rows.empty:
        raise InputError(
            "reference",
            expected="periods of regions that the product covers",
            found=f"regions {listing(reference['region'].unique(), 5)}, {reference['begin'].min()} to "
            f"{reference['end'].max()}; the product has {listing(known, 5)}",
            remedy="name the regions as the product does, and give periods within its years",
        )
    scores = [_score(key, part) for key, part in rows.groupby(["region", "unit"], sort=True)]
    return rows, pd.DataFrame(scores)


def _compared(regional: xr.Dataset, reference: pd.DataFrame, place: npt.NDArray[np.int64], unit: str) -> pd.DataFrame:
    chosen = (reference["unit"] == unit).to_numpy()
    table, region = reference[chosen], place[chosen]
    shape = (regional.sizes["region"], regional.sizes["year"], 2)
    bounds = np.broadcast_to(regional["time_bnds"].values.astype(_DAY), shape)
    begin, end = (pd.to_datetime(table[n]).to_numpy().astype(_DAY) for n in ("begin", "end"))
    operator = period_operator(begin, end, region, bounds)
    values = regional[_OF_UNIT[unit]].transpose("region", "year").values.astype(np.float64)
    known = covered(operator)
    product = operator.sums(np.asarray(values).reshape(-1))
    area = regional["area"].mean("year").values[region]
    theirs = table["area"].to_numpy(np.float64) if "area" in table else np.nan
    out: pd.DataFrame = table.assign(
        product=product, difference=product - table["change"].to_numpy(np.float64), area_share=area / theirs
    )
    kept: pd.DataFrame = out[known & np.isfinite(out["difference"].to_numpy())]
    return kept


def _score(key: Any, rows: pd.DataFrame) -> dict[str, Any]:
    difference = rows["difference"].to_numpy(np.float64)
    return {
        "region": key[0],
        "unit": key[1],
        "n": len(rows),
        "product": float(rows["product"].mean()),
        "reference": float(rows["change"].mean()),
        "bias": float(difference.mean()),
        "rmse": float((difference**2).mean() ** 0.5),
        "area_share": float(rows["area_share"].mean()),
    }
