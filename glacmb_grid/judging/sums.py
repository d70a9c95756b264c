"""The stages that sum the product by region and on grids."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import xarray as xr

from glacmb_grid.products.gridded import gridded_product
from glacmb_grid.settings import Product
from glacmb_grid.stores.work import Work
from glacmb_grid.uncertainty.correlation import ErrorCorrelation


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
    of_glaciers = product_of_glaciers.drop_vars("mass_balance_realizations", errors="ignore").load()
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
            title=f"{title}, on a grid of {resolution:g} degrees",
            institution=institution or "not stated",
            **metadata,
        )
        grid.attrs |= {"configuration": name, **correlation, **work.provenance}
        cells = int((grid["n_glaciers"].max("time") > 0).sum())
        work.say(f"{resolution:g} degrees: {cells} cells with glaciers x {grid.sizes['time']} years")
        made[f"{resolution:g}"] = grid
    return {"gridded": made}
