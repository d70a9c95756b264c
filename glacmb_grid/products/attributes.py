"""Attributes of the products' variables by CF-1.11 and ACDD-1.3, as tables.

A quantity is described once; uncertainties, intervals and cumulative sums of it follow from its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

CONVENTIONS = "CF-1.11, ACDD-1.3"
VOCABULARY = "CF Standard Name Table v93"


@dataclass(frozen=True)
class Meta:
    """What is said of a variable.

    Attributes
    ----------
    long_name : str
    units : str
        As UDUNITS writes them; empty for flags, text and dates.
    standard_name : str
        Of the CF table, with a modifier where it has one; empty where the table has none.
    cell_methods, cell_measures, comment : str
        Empty where there is nothing to say.
    content : str
        `coverage_content_type` by ISO 19115-1.
    flags : tuple of str
        Meanings of the values 0, 1, ...
    ancillary : tuple of str
        Variables that qualify this one; only those that are there are named.
    more : mapping
        Further attributes, such as the level of an interval.
    """

    long_name: str
    units: str = ""
    standard_name: str = ""
    cell_methods: str = ""
    cell_measures: str = ""
    comment: str = ""
    content: str = "modelResult"
    flags: tuple[str, ...] = ()
    ancillary: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)

    def attributes(self, there: frozenset[str], dtype: np.dtype[Any]) -> dict[str, Any]:
        """The attributes, of variables of a Dataset that holds those of these names; flags have the given dtype."""
        texts = {
            "standard_name": self.standard_name,
            "long_name": self.long_name,
            "units": self.units,
            "cell_methods": self.cell_methods,
            "cell_measures": self.cell_measures if self.cell_measures.split(": ")[-1] in there else "",
            "ancillary_variables": " ".join(n for n in self.ancillary if n in there),
            "coverage_content_type": self.content,
            "comment": self.comment,
        }
        found: dict[str, Any] = {n: t for n, t in texts.items() if t}
        if self.flags:
            whole = dtype if dtype.kind in "iu" else np.dtype(np.int8)
            found |= {"flag_values": np.arange(len(self.flags), dtype=whole), "flag_meanings": " ".join(self.flags)}
        return found | dict(self.more)


_SIGN = "positive where ice is gained, negative where it is lost"
_LWE = "1 m water equivalent is water_density kg m-2; 1000 where nothing else is said"
_GT = "1 Gt is 1e12 kg, or 1 km3 of water"
_QUALITY = "qualityInformation"
_AUXILIARY = "auxiliaryInformation"
_FLAG = "status_flag"

_SPECIFIC = Meta(
    "annual mass balance, water equivalent", "m", cell_methods="time: sum area: mean", comment=f"{_SIGN}; {_LWE}"
)
_AMOUNT = replace(
    _SPECIFIC,
    long_name="annual change in ice amount",
    units="kg m-2",
    standard_name="change_in_land_ice_amount",
    comment=f"{_SIGN}; mass balance times the density of water",
)
_MASS = replace(
    _AMOUNT,
    long_name="annual change in ice mass",
    units="kg",
    standard_name="change_in_land_ice_mass",
    cell_methods="time: sum area: sum",
    comment=f"{_SIGN}; change in ice amount times area",
)
_GIGATONNES = replace(_MASS, units="Gt", comment=f"{_SIGN}; {_GT}")
_QUANTITIES = {
    "mass_balance": _SPECIFIC,
    "mass_change_amount": _AMOUNT,
    "mass_change": _MASS,
    "mass_change_gt": _GIGATONNES,
}
_UNCERTAINTIES = {
    "uncertainty": "one standard deviation of the error of the {}",
    "uncertainty_observation": "one standard deviation of the part of the error that comes from observing, {}",
    "uncertainty_model": "one standard deviation of the part of the error that comes from the model, {}",
    "uncertainty_member": "one standard deviation of the part of the error in which the ensemble's members differ, {}",
    "uncertainty_independent": "one standard deviation of the error of the {} if glaciers erred independently",
}


def _uncertainty(of: Meta, text: str) -> Meta:
    name = f"{of.standard_name} standard_error" if of.standard_name else ""
    return replace(of, long_name=text.format(of.long_name), standard_name=name, content=_QUALITY, comment="")


def _bound(of: Meta, side: str, percent: int) -> Meta:
    quantile = (100 - percent if side == "lower" else 100 + percent) / 200
    return replace(
        of,
        long_name=f"{side} end of the {percent} % prediction interval of the {of.long_name}",
        standard_name="",
        content=_QUALITY,
        comment=_INTERVAL_OF.format(percent),
        more={"interval_level": percent / 100, "quantile": quantile},
    )


_CUMULATIVE = "cumulative_"
_INTERVAL_OF = (
    "for what would be observed of a single glacier in a single year, not for sums or means; if all are missing, "
    "the global attribute interval_{} says why"
)
_DRAWN = (
    "joint draws of the true balance, with no errors of observations: take a sum or mean over glaciers and years "
    "of each realization, and the standard deviation over the realizations is its uncertainty"
)
_INTERVAL = re.compile(r"(?P<of>.+)_(?P<side>lower|upper)_(?P<percent>[1-9][0-9]?)")
_REALIZATIONS = re.compile(r"(?P<of>.+)_realizations")


def quantity(name: str) -> Meta | None:
    """What the name of a quantity says: its unit, and whether it is a sum, an uncertainty or the end of an interval."""
    if name.startswith(_CUMULATIVE):
        of = quantity(name.removeprefix(_CUMULATIVE))
        return of and replace(of, long_name=f"{of.long_name}, summed up since the first year", comment=of.comment)
    if name in _QUANTITIES:
        qualified = (f"{name}_uncertainty", "applicable", "measured", "observed_period", "albedo_kind")
        return replace(_QUANTITIES[name], ancillary=qualified)
    if (interval := _INTERVAL.fullmatch(name)) and (of := quantity(interval["of"])):
        return _bound(replace(of, ancillary=()), interval["side"], int(interval["percent"]))
    if (drawn := _REALIZATIONS.fullmatch(name)) and (of := quantity(drawn["of"])):
        return replace(
            of, long_name=f"realizations of the {of.long_name}", ancillary=(), content=_QUALITY, comment=_DRAWN
        )
    for suffix, text in _UNCERTAINTIES.items():
        if name.endswith(f"_{suffix}") and (of := quantity(name.removesuffix(f"_{suffix}"))):
            return _uncertainty(replace(of, ancillary=()), text)
    return None


# ---- coordinates ----

_YEAR = Meta(
    "hydrological year",
    content="coordinate",
    comment="named by the calendar year in which it ends; time_bnds are its first day and that of the next",
)
_TIME = Meta(
    "middle of the hydrological year",
    standard_name="time",
    content="coordinate",
    more={"bounds": "time_bnds", "units_metadata": "leap_seconds: none"},
)
_LATITUDE = Meta("latitude", "degrees_north", "latitude", content="coordinate")
_LONGITUDE = Meta("longitude", "degrees_east", "longitude", content="coordinate")
_REALIZATION = Meta("number of the realization", "1", "realization", content="coordinate")
_COORDINATES = {
    "year": _YEAR,
    "time": _TIME,
    "latitude": _LATITUDE,
    "longitude": _LONGITUDE,
    "realization": _REALIZATION,
}
_AREA = Meta(
    "area of the glacier in the inventory",
    "km2",
    "cell_area",
    content=_AUXILIARY,
    comment="area inside the outline, on the ellipsoid",
)

# ---- variables of each kind of product, besides quantities ----

_GLACIER = {
    **_COORDINATES,
    "glacier_id": Meta("identifier of the glacier in the inventory", content="", more={"cf_role": "timeseries_id"}),
    "area": _AREA,
    "area_of_year": replace(_AREA, long_name="area of the glacier in the year", comment="used for changes in mass"),
    "dissimilarity": Meta(
        "dissimilarity index of the predictors", "1", content=_QUALITY,
        comment="distance to the nearest training row in weighted predictor space over the mean distance of these rows",
    ),
    "training_density": Meta(
        "local density of training rows in predictor space", "1", content=_QUALITY,
        comment="number of training rows no farther than dissimilarity_threshold",
    ),
    "expected_error": Meta(
        "root-mean-square error to be expected at the dissimilarity", "m", content=_QUALITY, comment=_LWE
    ),
    "applicable": Meta(
        "whether the model applies to the glacier in the year", "", _FLAG, content=_QUALITY,
        flags=("outside_area_of_applicability", "inside_area_of_applicability"),
        comment="inside where dissimilarity is at most the global attribute dissimilarity_threshold; outside, a "
        "balance is an extrapolation, or there is none",
    ),
    "albedo_kind": Meta("origin of the albedo", "", _FLAG, content=_AUXILIARY, flags=("none", "observed", "filled")),
    "measured": Meta(
        "whether annual observations of the glacier were learnt from", "", _FLAG, content=_AUXILIARY,
        flags=("unmeasured", "measured"),
        comment="a measured glacier is predicted out of fold, in all years by fits that had seen none of its "
        "observations; an unmeasured one by the mean of all fits. Observations themselves are not in the product",
    ),
    "observed_period": Meta(
        "whether the year lies within the years that observations were learnt from", "", _FLAG, content=_AUXILIARY,
        flags=("before_first_observation", "within_observations", "after_last_observation"),
    ),
    "nets": Meta("number of fits that the mean is over", "1", content=_AUXILIARY),
    "nearest_measured_km": Meta("distance to the nearest measured glacier", "km", content=_AUXILIARY),
    "nearest_land": Meta(
        "whether the nearest grid cells with values stand in for cells without", "", _FLAG, content=_AUXILIARY,
        flags=("own_cells", "nearest_cells"),
    ),
    "land_distance": Meta(
        "distance to the climate's cells that are used", "km", content=_AUXILIARY,
        comment="missing where these are the glacier's own, see nearest_land",
    ),
}  # fmt: skip

_REGION = {
    **_COORDINATES,
    "region": Meta("identifier of the region", content=""),
    "region_id": Meta("identifier of the region", content="", more={"cf_role": "timeseries_id"}),
    "region_name": Meta("name of the region", content=""),
    "other_year": Meta("hydrological year whose error is compared with that of year", content="coordinate"),
    "area": replace(
        _AREA,
        long_name="glacier area that the mass change is of",
        comment="with filled glaciers, where they are filled",
    ),
    "area_missing": Meta("area of the glaciers without a balance in the year", "km2", content=_AUXILIARY),
    "glaciers_covered": Meta("number of glaciers with a balance", "1", content=_AUXILIARY),
    "glaciers_missing": Meta(
        "number of glaciers without a balance in the year, with those that failed", "1", content=_AUXILIARY
    ),
    "glaciers_filled": Meta("number of glaciers that took the mean of the region", "1", content=_AUXILIARY),
    "mass_change_gt_covariance": Meta(
        "covariance of the errors of the mass changes of two years", "Gt2", content=_QUALITY,
        comment="given where other_year is not after year, missing elsewhere; the variance of a sum over years is "
        "twice the sum of what is given for them, less the sum of it where other_year is year",
    ),
}  # fmt: skip

_GRID = {
    **{n: replace(m, more={"bounds": f"{b}_bnds", "axis": a} | dict(m.more)) for n, b, a, m in (
        ("latitude", "lat", "Y", _LATITUDE), ("longitude", "lon", "X", _LONGITUDE), ("time", "time", "T", _TIME),
    )},
    "year": _YEAR,
    "cell_area": Meta("area of the cell", "m2", "cell_area", content=_AUXILIARY),
    "glacier_area": Meta(
        "glacier area of the cell in the year", "km2", cell_methods="time: mean area: sum", content=_AUXILIARY,
    ),
    "glacier_area_covered": Meta(
        "glacier area of the cell in the year for which there is a balance", "km2",
        cell_methods="time: mean area: sum", content=_AUXILIARY,
        comment="what the changes of the cell are sums over; smaller than the glacier area where balances are missing",
    ),
    "land_ice_area_fraction": Meta(
        "share of the cell that glaciers cover in the year", "1", "land_ice_area_fraction",
        cell_methods="time: mean area: mean", cell_measures="area: cell_area", content=_AUXILIARY,
    ),
    "n_glaciers": Meta("number of glaciers with a balance in the cell", "1", content=_AUXILIARY),
    "n_measured": Meta("number of measured glaciers with a balance in the cell", "1", content=_AUXILIARY),
    "first_month": Meta(
        "first calendar month of the hydrological year in the cell", "1", content=_AUXILIARY,
        comment="that of most of the cell's glacier area; changes are those of the glaciers' own hydrological years",
    ),
    "mass_flux": Meta(
        "mean mass balance of the cell's glaciers over the year", "kg m-2 s-1",
        "land_ice_surface_specific_mass_balance_flux",
        cell_methods="time: mean area: mean where land_ice",
        comment=f"{_SIGN}; per unit area of glacier; times land_ice_area_fraction, per unit area of the cell",
    ),
}  # fmt: skip

_TRUE = "of the difference from the true value: errors of observations are no part of it"
_SIGMAS = {
    "glacier": "of the difference from an observation: its square is the sum of those of the parts; errors of "
    "glaciers and years are correlated, so that a sum of squares is not the uncertainty of a sum",
    "region": f"{_TRUE}; errors of glaciers and years are correlated as error_correlation says",
    "grid": _TRUE,
}
_OF_REGIONS = "sums of balance times area of the year, divided by the area of the glaciers with a balance"
_INDEPENDENT = "for comparison only: it is too small"
_KINDS = {"glacier": _GLACIER, "region": _REGION, "grid": _GRID}
KINDS = tuple(_KINDS)


def meta_of(name: str, kind: str) -> Meta | None:
    """What is said of a variable of a product of this kind; None of a variable that is nothing known."""
    if name in _KINDS[kind]:
        return _KINDS[kind][name]
    found = quantity(name)
    if found is None:
        return None
    if name.endswith("_uncertainty"):
        found = replace(found, comment=_SIGMAS[kind])
    if name.endswith("_independent"):
        found = replace(found, comment=_INDEPENDENT)
    if name == "mass_balance" and kind == "region":
        found = replace(found, comment=f"{_OF_REGIONS}; {found.comment}")
    if kind == "grid":
        where = found.cell_methods.replace("area: mean", "area: mean where land_ice")
        kept = tuple(n for n in found.ancillary if n.endswith("_uncertainty"))
        return replace(found, cell_methods=where, ancillary=kept)
    return replace(found, cell_measures="area: area_of_year" if kind == "glacier" else "area: area")
