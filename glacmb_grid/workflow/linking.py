"""The stages that link observations and geodetic rates to outlines."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.constraints import build_constraints
from glacmb_grid.inputs.links import Linked, link
from glacmb_grid.inputs.tables import site_name
from glacmb_grid.report.check import describe_rates
from glacmb_grid.settings import Links
from glacmb_grid.stores.work import Work
from glacmb_grid.workflow.sources import ObservedTables

Made = dict[str, Any]


def linked(tables: ObservedTables, outlines: gpd.GeoDataFrame, links: Links) -> Linked:
    """Observations linked to outlines, as a configuration says."""
    return link(
        tables.observed,
        outlines,
        table=tables.table,
        positions=tables.positions,
        mapping=links.mapping,
        suffix=links.suffix,
        position=links.position,
        max_distance_km=links.max_distance_km,
        versions=tables.versions,
    )


def link_observations(work: Work, *, tables: ObservedTables, outlines: gpd.GeoDataFrame, links: Links) -> Made:
    """Observations linked to outlines, and those without one."""
    found = linked(tables, outlines, links)
    glaciers, lost = found.observations["glacier"].nunique(), len(found.unmatched)
    work.say(f"{len(found.observations)} observations of {glaciers} glaciers, {lost} rows without an outline")
    return {"linked": found.observations, "unmatched": found.unmatched}


def linked_rates(tables: ObservedTables, outlines: gpd.GeoDataFrame, links: Links, mapping: dict[str, str]) -> Linked:
    """Geodetic rates linked to outlines, as a configuration says; `mapping` is their own besides that of `links`."""
    sites = set(tables.observed["site"])
    own = {s: g for s, g in links.mapping.items() if site_name(s) in sites} | mapping
    return linked(tables, outlines, links.model_copy(update={"mapping": own}))


def make_constraints(work: Work, *, rates: pd.DataFrame, unmatched: pd.DataFrame, predictors: xr.Dataset) -> Made:
    """Linked rates that networks can learn from, with the predictors of all their years, and those left out."""
    constraints, outside = build_constraints(predictors, rates)
    glaciers = len(np.unique(constraints["glacier"].values.astype(str)))
    work.say(f"{constraints.sizes['constraint']} geodetic rates of {glaciers} glaciers to learn from")
    for reason, count in outside["reason"].value_counts().items():
        work.say(f"not learnt from: {count} rates: {reason}")
    return {"constraints": constraints, "left_out": pd.concat([unmatched, outside[unmatched.columns]])}


def link_rates(
    work: Work, *, rates: ObservedTables, outlines: gpd.GeoDataFrame, links: Links, mapping: dict[str, str]
) -> Made:
    """Geodetic rates linked to outlines, and those without one."""
    found = linked_rates(rates, outlines, links, mapping)
    for line in describe_rates(found, outlines):
        work.say(line)
    return {"linked": found.observations, "unmatched": found.unmatched}
