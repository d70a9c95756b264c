"""What `check` looks at of observations linked to outlines."""

from __future__ import annotations

import geopandas as gpd

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.links import Linked
from glacmb_grid.judging import plan
from glacmb_grid.report.check import describe_rates, uncovered_rates, unmatched_lines
from glacmb_grid.settings import RunConfig
from glacmb_grid.workflow import linking
from glacmb_grid.workflow.sources import ObservedTables


def check_rates(config: RunConfig, rates: ObservedTables, glaciers: gpd.GeoDataFrame, years: list[int]) -> list[str]:
    """Link geodetic rates as a run will, and say what it would compare."""
    section = config.observations.geodetic
    assert section is not None
    linked = linking.linked_rates(rates, glaciers, config.observations.links, section.mapping)
    found = describe_rates(linked, glaciers) + uncovered_rates(config, linked, glaciers, years)
    return found + [f"geodetic rates: {line}" for line in unmatched_lines(linked)]


def check_links(
    config: RunConfig, linked: Linked, left: gpd.GeoDataFrame, years: list[int], problems: Problems
) -> list[str]:
    """Check that models can be fitted to the linked observations, and make their folds."""
    observed = linked.observations
    kinds = ", ".join(f"{n} by {k}" for k, n in observed.groupby("link").size().items())
    found = [
        f"{len(observed)} observations linked to outlines ({kinds or 'none'}), {len(linked.unmatched)} rows unmatched"
    ]
    found += unmatched_lines(linked)
    if not years:
        return found
    usable = observed[observed["year"].isin(years) & observed["glacier"].isin(left.index)]
    before = len(problems.found)
    with problems.collect():
        if usable["year"].nunique() < 2:
            raise InputError(
                "observations",
                expected="balances of these glaciers in at least two of the climate's hydrological years",
                found=f"{len(usable)} of {usable['glacier'].nunique()} glacier(s), {usable['year'].nunique()} year(s); "
                f"{len(linked.unmatched)} row(s) without an outline: {listing(unmatched_lines(linked), 3) or 'none'}",
                remedy="check the climate's period, and name a table with the glaciers' identifiers or positions, "
                "`observations: {links: {table: FILE}}`",
            )
    if len(problems.found) > before:
        return found
    samples, schemes = plan.foreseen(left, observed, years), plan.schemes_of(config)
    folds = plan.folds_of(samples, schemes, config.validation, config.seed, problems)
    counts = [f"{scheme}: {len(masks)} folds" for scheme, masks in folds.items()]
    return [*found, f"{len(usable)} glacier-years to learn from", *counts]
