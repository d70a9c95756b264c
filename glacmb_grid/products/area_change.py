"""Glacier area by year: fixed, or changing by a rate for each region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from glacmb_grid.errors import InputError, listing
from glacmb_grid.products.regions import Regions

Floats = npt.NDArray[np.float64]

RATES = {"13": -0.18, "14": -0.36, "15": -0.47}
"""Percent of the area of the reference year per year, of first-order regions of RGI."""
SOURCE = "Zemp et al. (2019), https://doi.org/10.1038/s41586-019-1071-0"


@dataclass(frozen=True)
class AreaChange:
    """Linear change of area.

    Attributes
    ----------
    rates : mapping of str to float
        Region to percent per year of the area of the reference year. Without any, areas are fixed.
    reference : int
        Year in which the areas are those of the inventory.
    source : str
        Where the rates are from.

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> shrinking = gg.AreaChange(rates={"11": -1.03}, reference=2003, source="a survey of ours")
    >>> area, _ = gg.area_of_years([10.0], gg.rgi_regions(["RGI60-11.00897"]), [2003, 2013, 2023], shrinking)
    >>> area.round(2).tolist()
    [[10.0, 8.97, 7.94]]
    """

    rates: Mapping[str, float] = field(default_factory=lambda: dict(RATES))
    reference: int = 2001
    source: str = SOURCE

    def __post_init__(self) -> None:
        if wrong := {k: r for k, r in self.rates.items() if not -100 < r < 100}:
            raise InputError(
                "area change: rates",
                expected="percent per year, between -100 and 100",
                found=str(wrong),
                remedy="-0.18 is a loss of 0.18 % of the reference year's area in each year",
            )


FIXED = AreaChange({}, source="areas of the inventory in all years")


def area_of_years(
    area: npt.ArrayLike, regions: Regions, years: npt.ArrayLike, change: AreaChange = FIXED
) -> tuple[Floats, dict[str, str]]:
    """Area of every glacier and year.

    Parameters
    ----------
    area : array, (glacier,), km2
        Of the inventory.
    regions : Regions
        Of these glaciers. A rate is found by the region's identifier, for `13-01` also by `13`; a glacier without one
        keeps its area.
    years : int array, (year,)
    change : AreaChange

    Returns
    -------
    area : float64 array, (glacier, year), km2
        area (1 + rate / 100 (year - reference)), never below 0.
    attrs : dict of str
        What was done, for the attributes of the product.

    Raises
    ------
    InputError
        Areas that are negative or not finite, or of other glaciers; rates of regions that are not there.

    Examples
    --------
    Two glaciers of Central Asia that shrink by half a per cent a year from 2001 on:

    >>> import glacmb_grid as gg
    >>> regions = gg.rgi_regions(["RGI60-13.00001", "RGI60-13.00002"])
    >>> change = gg.AreaChange({"13": -0.5}, reference=2001, source="made up")
    >>> area, _ = gg.area_of_years([10.0, 2.0], regions, [2001, 2011, 2021], change)
    >>> print(area.round(3))
    [[10.   9.5  9. ]
     [ 2.   1.9  1.8]]
    """
    given = np.asarray(area, np.float64)
    if given.shape != (regions.glaciers,) or not np.isfinite(given).all() or (given < 0).any():
        raise InputError(
            "area change: area",
            expected=f"areas of {regions.glaciers} glaciers, km2, none below 0",
            found=f"shape {given.shape}, {int((~(given >= 0)).sum())} negative or not finite",
            remedy="take the areas of the outlines that the regions were made of",
        )
    rate_of = {r: change.rates.get(r, change.rates.get(r.split("-")[0])) for r in regions.ids}
    if change.rates and all(r is None for r in rate_of.values()):
        raise InputError(
            "area change: rates",
            expected=f"rates of some of the regions {listing(regions.ids, 6)}",
            found=f"rates of {listing(change.rates, 6)}",
            remedy="give a rate for each region, or keep the areas fixed: FIXED",
        )
    rate = np.zeros(len(given))
    for region, members in zip(reversed(regions.ids), reversed(regions.members), strict=True):
        rate[members] = rate_of[region] or 0.0
    since = np.asarray(years, np.float64) - change.reference
    changed = np.maximum(given[:, None] * (1 + rate[:, None] / 100 * since[None, :]), 0.0)
    return changed, _attrs(change, rate_of, int((rate == 0).sum()))


def _attrs(change: AreaChange, rate_of: Mapping[str, float | None], without: int) -> dict[str, str]:
    if not change.rates:
        return {"area_change": f"none: {change.source}"}
    rates = ", ".join(f"{k} {r:g}" for k, r in rate_of.items() if r is not None)
    return {
        "area_change": f"percent of the area of {change.reference} per year: {rates}; linear, never below 0",
        "area_change_source": change.source,
        "area_change_glaciers_without_rate": str(without),
    }
