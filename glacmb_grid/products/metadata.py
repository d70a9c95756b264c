"""The products with the attributes of CF-1.11 and ACDD-1.3, and with masses beside water equivalents."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.products.attributes import CONVENTIONS, KINDS, VOCABULARY, Meta, meta_of
from glacmb_grid.products.extents import extents

WATER_DENSITY = 1000.0
"""kg m-3, of 1 m water equivalent."""
LICENSE = "Creative Commons Attribution 4.0 International (CC-BY-4.0), https://creativecommons.org/licenses/by/4.0/"

_TITLES = {
    "glacier": "Annual mass balance of glaciers",
    "region": "Annual mass change of glaciers by region",
    "grid": "Annual mass change of glaciers on a grid",
}
_SUMMARIES = {
    "glacier": "Annual mass balance of every glacier of a region, learnt from the few that are measured, with its "
    "uncertainty, prediction intervals and where the model applies.",
    "region": "Annual mass change of all glaciers of regions, with uncertainties that hold the correlation of errors.",
    "grid": "Annual mass change of all glaciers in the cells of a latitude-longitude grid, with uncertainties.",
}
_SIGN = "Balances and changes are positive where ice is gained and negative where it is lost"
_CORRELATED = (
    "Errors of glaciers and years are correlated (error_correlation: at a distance d and a lag of l years, the sum "
    "over the structures of share x exp(-d / range_km) x persistence^l)"
)
_COMMENTS = {
    "glacier": f"{_SIGN}, over the hydrological year between time_bnds. The uncertainty of a sum or mean is the spread "
    "of that of each of mass_balance_realizations, weighted by area_of_year; without them, see the regional product. "
    "Glaciers are selected by glacier_id. A balance is given where applicable is 0 as well. "
    f"{_CORRELATED}.",
    "region": f"{_SIGN}, over the hydrological year between time_bnds. The uncertainty of other periods than single "
    f"years and those from the first year on follows from mass_change_gt_covariance. {_CORRELATED}.",
    "grid": f"{_SIGN}, over the hydrological year between time_bnds. Cells without glaciers are missing. Errors of "
    "cells and years are correlated, so that a sum of squares is not the uncertainty of a sum.",
}
_DEFAULTS = {
    "summary": "",
    "keywords": "EARTH SCIENCE > CRYOSPHERE > GLACIERS/ICE SHEETS > GLACIER MASS BALANCE/ICE SHEET MASS BALANCE, "
    "EARTH SCIENCE > CRYOSPHERE > GLACIERS/ICE SHEETS > GLACIERS, "
    "EARTH SCIENCE > TERRESTRIAL HYDROSPHERE > GLACIERS/ICE SHEETS",
    "keywords_vocabulary": "NASA/GCMD Earth Science Keywords",
    "license": LICENSE,
    "processing_level": "L4",
    "source": "statistical model of field observations, reanalysis, satellite images and an elevation model",
    "standard_name_vocabulary": VOCABULARY,
}
_GIVEN = (
    *("id", "naming_authority", "title", "institution", "project", "program", "references", "citation", "comment"),
    *("creator_name", "creator_type", "creator_email", "creator_url", "creator_institution"),
    *("publisher_name", "publisher_type", "publisher_email", "publisher_url"),
    *("contributor_name", "contributor_role", "acknowledgment", "product_version", "metadata_link"),
    *("history", "provenance", "date_created", "date_issued", "date_modified", "instrument", "platform"),
)
ABOUT = (*_GIVEN, *_DEFAULTS)
"""Names of the global attributes that a caller may give."""
_OF_THE_DATA = {
    "glacier": {"featureType": "timeSeries", "cdm_data_type": "Station"},
    "region": {"featureType": "timeSeries", "cdm_data_type": "Station"},
    "grid": {"cdm_data_type": "Grid"},
}
_BOUNDS = ("time_bnds", "lat_bnds", "lon_bnds")
_OWN_YEARS = {
    "long_name": "first day of the hydrological year of the glacier, and of the next",
    "coverage_content_type": "coordinate",
}
_SPELLINGS = {"1": "", "1e12 kg": "Gt", "1e24 kg2": "Gt2"}
_DATES = ("date_created", "date_issued", "date_modified")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z?)?")
_MACHINE = re.compile(r"(?<![\w/.])(/(home|root|tmp|Users|scratch|mnt|work|data|var)/|[A-Za-z]:\\)")


def describe(ds: xr.Dataset, *, kind: str, **about: str) -> xr.Dataset:
    """A product with the attributes of CF-1.11 and ACDD-1.3.

    Parameters
    ----------
    ds : xr.Dataset
        A glacier (glacier, year), region (region, year) or gridded (time, latitude, longitude) product.
    kind : {"glacier", "region", "grid"}
    **about : str
        Global attributes, any of `ABOUT`: `title`, `institution`, `license`, `citation`, `creator_name`, `history`, ...
        With an empty text there is none, whatever the default. Dates are written only if given, so that the same input
        gives the same bytes.

    Returns
    -------
    xr.Dataset
        The same values; text that labels a dimension as `<dimension>_id` beside it. Attributes that the tables of
        `attributes` hold are theirs; other variables keep their own, and all keep their comments. Extents in space and
        time come from the data. Attributes of `ds` that are of no convention stay.

    Raises
    ------
    InputError
        An unknown kind or attribute, a date that is none, a path of this machine, units that are not those of the
        tables, or a variable that neither the tables nor its own attributes describe.

    Examples
    --------
    >>> import xarray as xr, glacmb_grid as gg
    >>> values = {"mass_balance": (("glacier", "year"), [[-1.0, 0.5]]), "area": ("glacier", [2.0])}
    >>> product = xr.Dataset(values, {"glacier": ["one"], "year": [2001, 2002]})
    >>> product = gg.describe(product, kind="glacier", title="Ours")
    >>> product.attrs["title"], product["mass_balance"].attrs["units"]
    ('Ours', 'm')
    """
    if kind not in KINDS:
        raise InputError(
            "describe: kind", expected=f"one of {', '.join(KINDS)}", found=f"{kind!r}", remedy="name one of these"
        )
    _require_about(about)
    ds = _with_plain_labels(ds.reset_coords([n for n in _BOUNDS if n in ds.coords]))
    out = ds.copy()
    there = frozenset(map(str, ds.variables))
    for name in map(str, ds.variables):
        if name in _BOUNDS:
            out[name].attrs = {}  # those of what they bound are theirs
        elif "grid_mapping_name" not in ds[name].attrs:
            out[name].attrs = _attributes(ds, name, meta_of(name, kind), there)
    if "time" in out and out["time"].ndim > 1:  # CF has bounds of two values for coordinates of one dimension only
        out["time"].attrs.pop("bounds", None)
        out["time_bnds"].attrs = dict(_OWN_YEARS)
    out.attrs = _global(ds, kind, about)
    return out


def _with_plain_labels(ds: xr.Dataset) -> xr.Dataset:
    """Text that labels a dimension under another name: coordinate variables of CF are numbers."""
    texts = [str(d) for d in ds.dims if d in ds.coords and ds[d].dtype.kind in "OUT"]
    named = {f"{d}_id": (d, ds[d].values, ds[d].attrs) for d in texts}
    return ds.drop_vars(texts).assign_coords(named) if texts else ds


def _attributes(ds: xr.Dataset, name: str, meta: Meta | None, there: frozenset[str]) -> dict[str, object]:
    own = ds[name].attrs
    if meta is None:
        if "long_name" in own and ("units" in own or "flag_meanings" in own or ds[name].dtype.kind in "OUTM"):
            return {**own, "coverage_content_type": own.get("coverage_content_type", "auxiliaryInformation")}
        raise InputError(
            f"product: {name}",
            expected="a variable with `long_name` and `units`",
            found=f"attributes {listing(own) or 'none'}",
            remedy="give it these attributes",
        )
    if _plain(units := own.get("units", meta.units)) != _plain(meta.units):
        raise InputError(
            f"product: {name}", expected=f"units {meta.units!r}", found=f"{units!r}", remedy="convert the values"
        )
    found = meta.attributes(there, ds[name].dtype)
    found |= {n: own[n] for n in ("grid_mapping", "comment") if n in own}
    if "bounds" in found and found["bounds"] not in there:
        del found["bounds"]
    return found


def _plain(units: object) -> object:
    """Units in one spelling: earlier products write some otherwise."""
    return _SPELLINGS.get(str(units), units)


def _require_about(about: Mapping[str, str]) -> None:
    if unknown := sorted(set(about) - set(ABOUT)):
        raise InputError(
            f"describe: {listing(unknown)}",
            expected=f"attributes among {', '.join(sorted(ABOUT))}",
            found=listing(unknown),
            remedy="correct the name",
        )
    for name, text in about.items():
        if name in _DATES and text and not _DATE.fullmatch(text):
            raise InputError(
                f"describe: {name}", expected="a date as 2025-01-31", found=repr(text), remedy="write it so"
            )
        if path := _MACHINE.search(text):
            raise InputError(
                f"describe: {name}",
                expected="a text that says the same on every machine",
                found=f"a path, {text[path.start() : path.start() + 40]!r}",
                remedy="name the file without its folders",
            )


def _global(ds: xr.Dataset, kind: str, about: Mapping[str, str]) -> dict[str, object]:
    """Global attributes: given ones, then defaults, those of the data, and those of `ds` that are of no convention."""
    found: dict[str, object] = {
        "Conventions": CONVENTIONS,
        "title": _TITLES[kind],
        **_DEFAULTS,
        "summary": _SUMMARIES[kind],
        "comment": _COMMENTS[kind],
        "history": "made by glacmb_grid",
        **about,
        **_OF_THE_DATA[kind],
        **extents(ds, grid=kind == "grid"),
    }
    found = {n: v for n, v in found.items() if about.get(n) != ""}
    others = {n: v for n, v in ds.attrs.items() if n not in found and n not in ABOUT}
    kept = {n: v for n, v in ds.attrs.items() if n in ABOUT and n not in about and v}
    return dict(sorted({**others, **found, **kept}.items(), key=lambda item: (item[0] != "Conventions", item[0])))


def with_mass_units(product: xr.Dataset, *, water_density: float = WATER_DENSITY) -> xr.Dataset:
    """A product with its mass balance and the uncertainty of it also in kg m-2 and kg.

    Parameters
    ----------
    product : xr.Dataset, (glacier, year)
        `mass_balance` and, optionally, `mass_balance_uncertainty`, m; `area_of_year` (glacier, year) or else `area`
        (glacier,), km2.
    water_density : float
        kg m-3: what one m of water equivalent weighs.

    Returns
    -------
    xr.Dataset
        Also `mass_change_amount`, float32, kg m-2, and `mass_change`, float64, kg; and both with `_uncertainty`. The
        error of the area is not in it.

    Raises
    ------
    InputError
        A product without balances or areas.

    Examples
    --------
    >>> import xarray as xr, glacmb_grid as gg
    >>> values = {"mass_balance": (("glacier", "year"), [[-1.0, 0.5]]), "area": ("glacier", [2.0])}
    >>> product = gg.with_mass_units(xr.Dataset(values, {"year": [2001, 2002]}))
    >>> product["mass_change"].attrs["units"], product["mass_change"].values.tolist()
    ('kg', [[-2000000000.0, 1000000000.0]])
    """
    if "mass_balance" not in product or not {"area_of_year", "area"} & set(product.variables):
        raise InputError(
            "with_mass_units: product",
            expected="a product with 'mass_balance' and 'area' or 'area_of_year'",
            found=listing(product.variables) or "no variable",
            remedy="pass what `glacier_product` gives",
        )
    area = product["area_of_year"] if "area_of_year" in product else product["area"]
    added = {}
    for suffix in ("", "_uncertainty"):
        if f"mass_balance{suffix}" not in product:
            continue
        amount = product[f"mass_balance{suffix}"].astype(np.float64) * water_density
        dims = amount.dims
        single = amount.astype(np.float32).assign_attrs(units="kg m-2")
        whole = (amount * area * 1e6).transpose(*dims).assign_attrs(units="kg")
        for name, values in (("mass_change_amount", single), ("mass_change", whole)):
            meta = meta_of(f"{name}{suffix}", "glacier")
            assert meta is not None
            added[f"{name}{suffix}"] = values.assign_attrs(long_name=meta.long_name)
    out = product.assign(added)
    out.attrs["water_density"] = f"{water_density:g} kg m-3"
    return out
