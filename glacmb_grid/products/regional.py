"""Balances and mass changes of regions, with uncertainties whose errors are correlated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.checking import Positive, checking_arguments
from glacmb_grid.errors import InputError, listing
from glacmb_grid.products.attributes import meta_of
from glacmb_grid.products.glacier import error_of_balance
from glacmb_grid.products.regions import Regions
from glacmb_grid.schemas import require_columns
from glacmb_grid.uncertainty.correlation import ErrorCorrelation, checked_points
from glacmb_grid.uncertainty.propagation import Method, covariance_of_sum, cumulative_sigma

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_PER_KM2 = 1e6  # m2
_GT = 1e12  # kg


@checking_arguments
def regional_product(
    product: xr.Dataset,
    regions: Regions,
    *,
    correlation: ErrorCorrelation,
    water_density: Positive = 1000.0,
    fill_missing: bool = False,
    missing: pd.DataFrame | None = None,
    covariance: bool = True,
    method: Method = "auto",
) -> xr.Dataset:
    """Sums and means of the glaciers of each region and year.

    Parameters
    ----------
    product : xr.Dataset, (glacier, year)
        `mass_balance` (m), `area` (glacier) or `area_of_year` (glacier, year), km2; the uncertainty of the true balance
        is that of `mass_balance_uncertainty_model` and `_member` (m), or else `mass_balance_uncertainty`; `time_bnds`.
    regions : Regions
        Of these glaciers, in their order.
    correlation : ErrorCorrelation
    water_density : float, kg m-3
        That turns m water equivalent into mass.
    fill_missing : bool
        Whether glaciers without a balance, in a year or at all, take the mean of their region in that year.
    missing : DataFrame, optional
        Glaciers that the product lacks, one a row: `region` (an identifier of `regions`) and `area` (km2).
    covariance : bool
        Whether the covariance over years is given, for sums over any period.
    method : "auto", "exact" or "cells"
        See `propagate`.

    Returns
    -------
    xr.Dataset, (region, year)

    Raises
    ------
    InputError
        No glacier with a balance, areas below 0 or a region without any, a balance without uncertainty, arrays that do
        not fit.

    Notes
    -----
    Uncertainties come from the covariance of the errors of all pairs of glaciers and years. Beside each stands, with
    `_independent`, what a root of a sum of squares would claim. The error of a filled glacier is that of the mean, and
    its own departure from it, with the spread of the region's balances, the same in all years, independent of others'.

    Examples
    --------
    >>> import pandas as pd, xarray as xr, glacmb_grid as gg
    >>> from glacmb_grid.uncertainty.correlation import INDEPENDENT
    >>> ends = pd.to_datetime(["2000-10-01", "2001-10-01"]).values
    >>> by_year = {"mass_balance": [[-1.0], [-0.2]], "mass_balance_uncertainty": [[0.3], [0.4]]}
    >>> product = xr.Dataset({name: (("glacier", "year"), v) for name, v in by_year.items()}, {"year": [2001]})
    >>> product = product.assign(area=("glacier", [1.0, 3.0]), time_bnds=(("year", "bnds"), [ends]))
    >>> place = {name: ("glacier", [46.0, 46.1]) for name in ("longitude", "latitude")}
    >>> product = product.assign_coords({**place, "time": ("year", ends[:1])})
    >>> region = gg.regional_product(product, gg.one_region(2, "Alps"), correlation=INDEPENDENT)
    >>> [round(region[name].item(), 2) for name in ("mass_balance", "mass_balance_uncertainty")]
    [-0.4, 0.31]
    """
    data = _Data.of(product, regions)
    absent = _absent(missing, regions)
    lines = []
    for k, members in enumerate(regions.members):
        one = _Region.of(data, members, absent[k], regions.ids[k], fill_missing)
        lines.append(one.variables(correlation, water_density, covariance, method))
    made = {n: np.stack([line[n] for line in lines]) for n in lines[0]}
    dims = {n: ("region", "year", "other_year")[: v.ndim] for n, v in made.items()}
    out = xr.Dataset({n: (dims[n], v) for n, v in made.items()})
    out = out.assign_coords(
        region=("region", np.array(regions.ids, object)),
        region_name=("region", np.array(regions.names, object)),
        year=("year", data.years.astype(np.int32), product["year"].attrs),
        **_times(product, regions),
    )
    if covariance:
        out = out.assign_coords(other_year=("other_year", data.years.astype(np.int32)))
    for name, variable in out.variables.items():
        if meta := meta_of(str(name), "region"):
            variable.attrs = meta.attributes(frozenset(map(str, out.variables)), variable.dtype)
    return out.assign_attrs(_attrs(product, regions, correlation, water_density, fill_missing))


@dataclass(frozen=True)
class _Data:
    """Arrays of the product, (glacier, year)."""

    balance: Floats
    sigma: Floats
    area: Floats
    inventory: Floats
    points: Floats
    years: Integers

    @classmethod
    def of(cls, product: xr.Dataset, regions: Regions) -> _Data:
        _refuse_unfit(product, regions)
        balance = _values(product, "mass_balance")
        area = _values(product, "area_of_year") if "area_of_year" in product else _values(product, "area")
        area = np.broadcast_to(area.reshape(len(balance), -1), balance.shape)
        sigma = error_of_balance(product)
        positions = np.column_stack([_values(product, "longitude"), _values(product, "latitude")])
        known = np.isfinite(balance)
        wrong = {
            "area_of_year, km2": int((~(area >= 0) | np.isinf(area)).sum()),
            "mass_balance_uncertainty, m": int((known & ~(sigma >= 0)).sum()),
        }
        for what, count in wrong.items():
            if count:
                raise InputError(
                    f"product: {what}",
                    expected="numbers of at least 0 for all glaciers with a balance",
                    found=f"{count} that are below 0 or missing",
                    remedy="take the areas of the outlines, and uncertainties as the product has them",
                )
        if not known.any():
            raise InputError(
                "product: mass_balance",
                expected="a balance for some glacier and year",
                found=f"none for {len(balance)} glaciers and {balance.shape[1]} years",
                remedy="look at failed.csv, and for predictors that are missing in all years",
            )
        points = checked_points(positions, len(balance))
        inventory = _values(product, "area") if "area" in product else area[:, 0]
        return cls(balance, sigma, np.asarray(area), inventory, points, product["year"].values.astype(np.int64))


@dataclass(frozen=True)
class _Region:
    """What is summed of one region, (glacier, year); `absent` are the areas of glaciers that the product lacks."""

    balance: Floats
    loads: Floats
    area: Floats
    points: Floats
    years: Integers
    absent: Floats
    filled: bool

    @classmethod
    def of(cls, data: _Data, members: Integers, absent: Floats, name: str, filled: bool) -> _Region:
        balance, area = data.balance[members], data.area[members]
        if not area.sum() > 0:
            raise InputError(
                f"region {name}: area",
                expected="glaciers with an area above 0 km2",
                found=f"{len(members)} glaciers, 0 km2",
                remedy="leave the region out, or check the areas",
            )
        known = np.isfinite(balance)
        loads = np.where(known, area * np.where(known, data.sigma[members], 0), 0.0)
        change = area.sum(axis=0) / max(data.inventory[members].sum(), np.finfo(np.float64).tiny)
        return cls(balance, loads, area, data.points[members], data.years, np.outer(absent, change), filled)

    def variables(
        self, correlation: ErrorCorrelation, density: float, with_covariance: bool, method: Method
    ) -> dict[str, Floats]:
        """All variables of the region, (year,) and (year, year)."""
        known = np.isfinite(self.balance)
        covered = np.where(known, self.area, 0).sum(axis=0)
        lost = self._lost(known)
        sums = np.where(known, self.area * np.nan_to_num(self.balance), 0).sum(axis=0)
        specific = np.divide(sums, covered, out=np.full(len(covered), np.nan), where=covered > 0)
        used = np.where(covered > 0, covered + (lost.sum(axis=0) if self.filled else 0), 0.0)
        mass = np.where(used > 0, np.nan_to_num(specific) * used * density * _PER_KM2, np.nan)
        some = covered > 0
        scale = np.divide(used, covered, out=np.zeros_like(used), where=some) * density * _PER_KM2
        together = covariance_of_sum(correlation, self.loads, self.points, self.years, method=method)
        apart = np.diag((self.loads**2).sum(axis=0))
        own = self._filled_covariance(lost, specific, covered) * (density * _PER_KM2) ** 2
        valid = np.where(some[:, None] & some[None, :], 1.0, np.nan)
        total, alone = (valid * (c * np.outer(scale, scale) + own) for c in (together, apart))
        per_area = np.divide(1.0, used * density * _PER_KM2, out=np.full(len(used), np.nan), where=used > 0)
        out = {
            "mass_balance": specific,
            "mass_change_amount": specific * density,
            "mass_change": mass,
            "mass_change_gt": mass / _GT,
            "cumulative_mass_balance": np.cumsum(specific),
            "cumulative_mass_change_gt": np.cumsum(mass) / _GT,
            "area": used,
            "area_missing": lost.sum(axis=0),
            "glaciers_covered": known.sum(axis=0).astype(np.int32),
            "glaciers_missing": ((~known).sum(axis=0) + len(self.absent)).astype(np.int32),
            "glaciers_filled": (((~known).sum(axis=0) + len(self.absent)) * (self.filled & some)).astype(np.int32),
        }
        for end, matrix in (("", total), ("_independent", alone)):
            sigma, running = np.sqrt(np.diag(matrix)), cumulative_sigma(matrix)
            out |= {
                f"mass_balance_uncertainty{end}": sigma * per_area,
                f"mass_change_amount_uncertainty{end}": sigma * per_area * density,
                f"mass_change_uncertainty{end}": sigma,
                f"mass_change_gt_uncertainty{end}": sigma / _GT,
                f"cumulative_mass_balance_uncertainty{end}": cumulative_sigma(matrix * np.outer(per_area, per_area)),
                f"cumulative_mass_change_gt_uncertainty{end}": running / _GT,
            }
        if with_covariance:
            later = np.arange(len(used))[None, :] > np.arange(len(used))[:, None]
            out["mass_change_gt_covariance"] = np.where(later, np.nan, total / _GT**2)
        return out

    def _lost(self, known: npt.NDArray[np.bool_]) -> Floats:
        """Areas of the glaciers without a balance, (glacier, year), last the absent ones."""
        return np.concatenate([np.where(known, 0, self.area), self.absent])

    def _filled_covariance(self, lost: Floats, specific: Floats, covered: Floats) -> Floats:
        """Of the departures of filled glaciers from the mean, km4 m2, (year, year)."""
        if not self.filled:
            return np.zeros((len(covered), len(covered)))
        away = np.where(np.isfinite(self.balance), (self.balance - specific) ** 2 * self.area, 0).sum(axis=0)
        spread = np.sqrt(np.divide(away, covered, out=np.zeros_like(away), where=covered > 0))
        loads = lost * spread
        return np.asarray(loads.T @ loads)


def _values(product: xr.Dataset, name: str) -> Floats:
    dims = [d for d in ("glacier", "year") if d in product[name].dims]
    return np.asarray(product[name].transpose(*dims).values, np.float64)


def _refuse_unfit(product: xr.Dataset, regions: Regions) -> None:
    needed = ["mass_balance", "longitude", "latitude", "year", "time", "time_bnds"]
    absent = [n for n in needed if n not in product.variables]
    absent += [] if {"area", "area_of_year"} & set(product.variables) else ["area"]
    number = product.sizes.get("glacier", 0)
    if absent or number != regions.glaciers or not len(regions):
        raise InputError(
            "regional_product: product",
            expected=f"a product of the {regions.glaciers} glaciers that at least one region was made of",
            found=f"{number} glaciers, {len(regions)} regions" + (f", no {listing(absent)}" if absent else ""),
            remedy='make the regions of its glaciers: rgi_regions(product["glacier_id"].values)',
        )


def _absent(missing: pd.DataFrame | None, regions: Regions) -> list[Floats]:
    """Areas of the glaciers that the product lacks, of each region."""
    if missing is None:
        return [np.empty(0) for _ in regions.ids]
    require_columns(missing, ("region", "area"), name="missing", source="the table of failed glaciers")
    area = missing["area"].to_numpy(np.float64)
    if not (area >= 0).all():
        raise InputError(
            "missing: area",
            expected="areas of at least 0 km2",
            found=f"{int((~(area >= 0)).sum())} that are below 0 or missing",
            remedy="leave out glaciers whose area is not known",
        )
    region = missing["region"].astype(str).to_numpy()
    return [area[region == r] for r in regions.ids]


def _times(product: xr.Dataset, regions: Regions) -> dict[str, Any]:
    """`time` and `time_bnds`, by region where glaciers have hydrological years of their own."""
    time, bounds = product["time"], product["time_bnds"]
    if "glacier" not in bounds.dims:
        return {"time": time.variable, "time_bnds": bounds.variable}
    values = bounds.transpose("glacier", "year", "bnds").values
    first = np.stack([values[m, :, 0].min(axis=0) for m in regions.members])
    last = np.stack([values[m, :, 1].max(axis=0) for m in regions.members])
    both = np.stack([first, last], axis=-1)
    middle = first + (last - first) // 2
    return {
        "time": (("region", "year"), middle, time.attrs),
        "time_bnds": (("region", "year", "bnds"), both, bounds.attrs),
    }


def _attrs(
    product: xr.Dataset, regions: Regions, correlation: ErrorCorrelation, density: float, filled: bool
) -> Mapping[str, str]:
    kept = {k: v for k, v in product.attrs.items() if k.startswith("area_change")}
    said = "take the mean of their region" if filled else "are left out of the sums, and counted"
    return {
        **kept,
        **regions.attrs,
        **correlation.to_attrs(),
        "water_density": f"{density:g} kg m-3",
        "missing_glaciers": f"glaciers without a balance {said}",
    }
