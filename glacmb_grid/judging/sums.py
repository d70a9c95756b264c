"""The stages that sum the product by region and on grids."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from glacmb_grid.errors import InputError, listing
from glacmb_grid.products.gridded import by_year, gridded_product
from glacmb_grid.products.metadata import describe
from glacmb_grid.products.regional import regional_product
from glacmb_grid.products.regions import Regions, one_region, regions_of_polygons, rgi_regions
from glacmb_grid.products.series import SAME_AREA, compare_series
from glacmb_grid.settings import Product
from glacmb_grid.settings import Regions as RegionSettings
from glacmb_grid.stores.formats import write_netcdf
from glacmb_grid.stores.work import Work
from glacmb_grid.uncertainty.correlation import ErrorCorrelation
from glacmb_grid.vocabulary import BAND_LEVEL

_ID_COLUMNS = ("region_id", "id", "name", "NAME", "RGI_CODE", "o1region", "o2region", "first_order", "FULL_NAME")


def regions_of_glaciers(
    ids: npt.NDArray[np.object_],
    outlines: gpd.GeoDataFrame,
    settings: RegionSettings,
    layer: gpd.GeoDataFrame | None,
) -> Regions:
    """The regions that a configuration names: polygons, those of the RGI, or all glaciers where they have no RGI id."""
    here = outlines.loc[ids]
    if layer is None:
        if settings.order == 2:
            return rgi_regions(ids.astype(str), _subregions(here))
        of_rgi = [i for i in ids.astype(str).tolist() if i.startswith("RGI")]
        return rgi_regions(ids.astype(str)) if of_rgi else one_region(len(ids), "all glaciers")
    columns = [str(c) for c in layer.columns if c != layer.geometry.name]
    name = settings.id or next((c for c in _ID_COLUMNS if c in columns), None)
    if name is None or name not in columns:
        raise InputError(
            f"product: regions: {settings.path}",
            expected=f"the column {settings.id!r}" if settings.id else f"one of the columns {', '.join(_ID_COLUMNS)}",
            found=f"columns {listing(columns, 20) or 'none'}",
            remedy="name the column of identifiers with `product.regions.id`",
        )
    return regions_of_polygons(here["longitude"].to_numpy(), here["latitude"].to_numpy(), layer, name=name)


def _subregions(outlines: gpd.GeoDataFrame) -> list[str]:
    """Second-order region of every outline."""
    stated = outlines["subregion"].astype(str).tolist() if "subregion" in outlines else []
    if not any(stated):
        raise InputError(
            "product: regions: order",
            expected="outlines that name second-order regions, in a column O2Region (RGI 5 and 6) or o2region (RGI 7)",
            found="none" if not stated else "a column without any",
            remedy="set `order: 1`, or give regions as polygons with `product.regions.path`",
        )
    return stated


def sum_by_region(
    work: Work,
    *,
    product_of_glaciers: xr.Dataset,
    outlines: gpd.GeoDataFrame,
    correlation: dict[str, str],
    product: Product,
    name: str,
    title: str,
    institution: str,
    metadata: dict[str, str],
    layer: gpd.GeoDataFrame | None = None,
) -> dict[str, Any]:
    """The product by region, with the glaciers of the outlines that it lacks counted."""
    settings = product.regions
    assert settings is not None
    of_glaciers = _without_draws(product_of_glaciers)
    ids = of_glaciers["glacier_id"].values
    regions = regions_of_glaciers(ids, outlines, settings, layer)
    missing = missing_glaciers(outlines, ids, settings, layer, regions)
    made = regional_product(
        of_glaciers,
        regions,
        correlation=ErrorCorrelation.from_attrs(correlation),
        water_density=product.water_density,
        fill_missing=settings.fill_missing,
        missing=missing,
    )
    elsewhere = len(outlines) - len(ids) - (0 if missing is None else int(missing["region"].isin(regions.ids).sum()))
    made.attrs["glaciers_missing_elsewhere"] = str(elsewhere)
    if elsewhere:
        work.say(f"{elsewhere} glaciers that failed lie in no region that has a glacier with a balance")
    made.attrs |= {"configuration": name, **work.provenance}
    about = {
        "source": str(of_glaciers.attrs.get("source", "")),
        "title": f"{title}, by region",
        "institution": institution or "not stated",
        **metadata,
    }
    made = describe(made, kind="region", **about)
    for region in range(made.sizes["region"]):
        work.say(_line(made.isel(region=region)))
    return {"regional": made}


def compare_sums(work: Work, *, regional: xr.Dataset, series: pd.DataFrame) -> dict[str, Any]:
    """The product by region beside series of others, and how far it is off."""
    try:
        rows, scores = compare_series(regional.load(), series)
    except InputError as error:
        work.say(f"note: nothing to compare: {error.found}")
        rows, scores = series.iloc[:0], pd.DataFrame(columns=["region", "unit", "n", "product", "reference"])
    for score in scores.to_dict("records"):
        work.say(score_in_words(score))
    dates = {n: pd.to_datetime(rows[n]).dt.strftime("%Y-%m-%d") for n in ("begin", "end")}
    return {"rows": rows.assign(**dates), "scores": scores}


def score_in_words(score: dict[Hashable, Any]) -> str:
    """One line of scores in words; no judgement of gigatonnes where the areas differ."""
    share = score["area_share"]
    apart = not abs(share - 1) <= SAME_AREA
    text = (
        f"{score['region']}: {score['n']} periods, {score['product']:+.3f} {score['unit']} by the product, "
        f"{score['reference']:+.3f} by the series"
    )
    if apart:
        text += f", by {share:.0%} of its area" if np.isfinite(share) else ", of an area that it does not state"
    return text if apart and score["unit"] == "Gt" else f"{text}: bias {score['bias']:+.3f}, RMSE {score['rmse']:.3f}"


def _line(region: xr.Dataset) -> str:
    """A region's mean change in words, with the band that the page has as well."""
    rate = float(region["mass_change_gt"].mean())
    years = int(region["mass_change_gt"].notnull().sum())
    last = region["cumulative_mass_change_gt_uncertainty"].dropna("year")
    half = float(ndtri(0.5 + BAND_LEVEL / 2)) * float(last[-1]) / years if len(last) else np.nan
    balance = float(region["mass_balance"].mean())
    called = " ".join(dict.fromkeys(str(region[n].item()) for n in ("region_id", "region_name")))
    return (
        f"{called}: {balance:+.3f} m w.e. and {rate:+.3f} "
        f"+- {half:.3f} Gt per year ({BAND_LEVEL:.0%} band) over {years} years, "
        f"{int(region['glaciers_covered'].max())} glaciers"
    )


def missing_glaciers(
    outlines: gpd.GeoDataFrame,
    ids: npt.NDArray[np.object_],
    settings: RegionSettings,
    layer: gpd.GeoDataFrame | None,
    regions: Regions,
) -> pd.DataFrame | None:
    """Region and area of the outlines that the product lacks."""
    lost = outlines[~outlines.index.astype(str).isin(ids.astype(str))]
    if lost.empty:
        return None
    if layer is None and not any(str(i).startswith("RGI") for i in ids):
        return pd.DataFrame({"region": regions.ids[0], "area": lost["area"].to_numpy()})
    try:
        theirs = regions_of_glaciers(lost.index.to_numpy(object), outlines, settings, layer)
    except InputError:  # none of them lies in any region
        return None
    parts = [
        pd.DataFrame({"region": i, "area": lost["area"].to_numpy()[m]})
        for i, m in zip(theirs.ids, theirs.members, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def _without_draws(product: xr.Dataset) -> xr.Dataset:
    return product.drop_vars("mass_balance_realizations", errors="ignore").load()


def sum_on_grids(
    work: Work,
    *,
    product_of_glaciers: xr.Dataset,
    outlines: gpd.GeoDataFrame,
    correlation: dict[str, str],
    product: Product,
    name: str,
    title: str,
    institution: str,
    metadata: dict[str, str],
) -> dict[str, Any]:
    """The product on every grid that the configuration names."""
    settings, errors = product.grids, ErrorCorrelation.from_attrs(correlation)
    assert settings is not None
    of_glaciers = _without_draws(product_of_glaciers)
    made = {}
    for resolution in settings.resolutions:
        grid = gridded_product(
            of_glaciers,
            outlines,
            resolution=resolution,
            split=settings.split,
            correlation=lambda km: errors.at(km, 0),
            flux=settings.flux,
            water_density=product.water_density,
        )
        about = {"source": str(of_glaciers.attrs.get("source", ""))}
        about |= {"title": f"{title}, on a grid of {resolution:g} degrees", "institution": institution or "not stated"}
        grid = describe(grid, kind="grid", **about, **metadata)
        kept = {k: v for k, v in of_glaciers.attrs.items() if k.startswith("area_change")}
        density = {"water_density": f"{product.water_density:g} kg m-3"}
        grid.attrs |= {**kept, **density, "configuration": name, **correlation, **work.provenance}
        if settings.by_year:
            for year, one in by_year(grid):
                write_netcdf(one, work.folder / f"gridded_annual_{resolution:g}_{year}.nc")
        cells = int((grid["n_glaciers"].max("time") > 0).sum())
        work.say(f"{resolution:g} degrees: {cells} cells with glaciers x {grid.sizes['time']} years")
        made[f"{resolution:g}"] = grid
    return {"gridded": made}
