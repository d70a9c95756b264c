"""Units and descriptions of the variables of the regional product."""

from __future__ import annotations

from typing import Any

_BALANCE = "m", "specific mass balance of the region, water equivalent"
_AMOUNT = "kg m-2", "specific mass balance of the region"
_CHANGE = "kg", "mass change of the region"
_CHANGE_GT = "1e12 kg", "mass change of the region, gigatonnes"
_SUM = "m", "sum of the specific mass balances from the first year on, water equivalent"
_SUM_GT = "1e12 kg", "sum of the mass changes from the first year on, gigatonnes"
_WEIGHTED = "sums of balance times area of the year, divided by the area of the glaciers with a balance"

_QUANTITIES = {
    "mass_balance": _BALANCE,
    "mass_change_amount": _AMOUNT,
    "mass_change": _CHANGE,
    "mass_change_gt": _CHANGE_GT,
    "cumulative_mass_balance": _SUM,
    "cumulative_mass_change_gt": _SUM_GT,
}


def _attrs(units: str, long_name: str, comment: str = "") -> dict[str, Any]:
    return {"units": units, "long_name": long_name} | ({"comment": comment} if comment else {})


def _with_uncertainties(name: str, units: str, long_name: str) -> dict[str, dict[str, Any]]:
    sigma = f"one standard deviation of the {long_name}"
    own = f"{name}_uncertainty"
    return {
        name: {**_attrs(units, long_name, _WEIGHTED), "ancillary_variables": own},
        own: _attrs(units, sigma, "errors of glaciers and years are correlated as error_correlation says"),
        f"{own}_independent": _attrs(
            units, f"{sigma}, if all errors were independent", "for comparison only: it is too small"
        ),
    }


VARIABLES: dict[str, dict[str, Any]] = {
    k: v for n, (units, long) in _QUANTITIES.items() for k, v in _with_uncertainties(n, units, long).items()
} | {
    "area": _attrs("km2", "glacier area that the mass change is of", "with filled glaciers, where they are filled"),
    "area_missing": _attrs("km2", "area of the glaciers without a balance in the year"),
    "glaciers_covered": _attrs("1", "number of glaciers with a balance"),
    "glaciers_missing": _attrs("1", "number of glaciers without a balance in the year, with those that failed"),
    "glaciers_filled": _attrs("1", "number of glaciers that took the mean of the region"),
    "mass_change_gt_covariance": _attrs(
        "1e24 kg2",
        "covariance of the errors of the mass changes of two years",
        "given where other_year is not after year; the variance of a sum over years is the sum over all pairs of years",
    ),
}

COORDINATES: dict[str, dict[str, Any]] = {
    "region": {"long_name": "identifier of the region"},
    "region_name": {"long_name": "name of the region"},
    "other_year": {"long_name": "hydrological year whose error is compared with that of year", "units": "1"},
}
