"""What `check` looks at of observations linked to outlines."""

from __future__ import annotations

from collections.abc import Collection

import geopandas as gpd
import pandas as pd

from glacmb_grid.errors import InputError, Problems
from glacmb_grid.inputs.links import Linked
from glacmb_grid.judging import plan
from glacmb_grid.judging.folds import matched
from glacmb_grid.report.check import describe_rates, mapping_to_paste, uncovered_rates, unmatched_lines
from glacmb_grid.settings import RunConfig
from glacmb_grid.workflow import linking
from glacmb_grid.workflow.sources import ObservedTables

_BY = {
    "mapping": "by hand",
    "exact": "by identifier",
    "version": "by another version of the inventory",
    "suffix": "by the number that RGI 5 and 6 share",
    "position": "by position",
}


def check_rates(
    config: RunConfig, rates: ObservedTables, glaciers: gpd.GeoDataFrame, years: list[int] | None
) -> list[str]:
    """Link geodetic rates as a run will, and say what it would compare."""
    section = config.observations.geodetic
    assert section is not None
    linked = linking.linked_rates(rates, glaciers, config.observations.links, section.mapping)
    found = describe_rates(linked, glaciers) + uncovered_rates(config, linked, glaciers, years)
    return found + [f"geodetic rates: {line}" for line in unmatched_lines(linked)]


def check_links(
    config: RunConfig,
    linked: Linked,
    left: gpd.GeoDataFrame,
    years: list[int] | None,
    unknown: Collection[str],
    problems: Problems,
) -> list[str]:
    """Check that models can be fitted to the linked observations, without a climate in any year; make their folds."""
    observed = linked.observations
    kinds = ", ".join(f"{n} {_BY[str(k)]}" for k, n in observed.groupby("link").size().items())
    found = [
        f"{len(observed)} observations linked to outlines ({kinds or 'none'}), {len(linked.unmatched)} rows unmatched"
    ]
    found += unmatched_lines(linked)
    if years == []:
        return found
    covered = sorted(set(observed["year"].tolist())) if years is None else years
    usable = observed[observed["year"].isin(covered) & observed["glacier"].isin(left.index)]
    if usable["year"].nunique() < 2:
        raise _too_few("balances of these glaciers in at least two of the climate's hydrological years", usable, linked)
    found.append(f"{len(usable)} glacier-years to learn from")
    if "validation" not in unknown:
        samples, schemes = plan.foreseen(left, observed, covered), plan.schemes_of(config)
        before = len(problems.found)
        folds = plan.folds_of(samples, schemes, config.validation, config.seed, problems, left)
        if len(problems.found) > before and usable["glacier"].nunique() < 2 and len(linked.unmatched):
            with problems.collect():
                raise _too_few("balances of several of these glaciers, for these schemes", usable, linked)
        found += [f"{scheme}: {len(masks)} folds{matched(masks)}" for scheme, masks in folds.items()]
    return found


def _too_few(expected: str, usable: pd.DataFrame, linked: Linked) -> InputError:
    """The error for too few observations, with why others found no outline."""
    return InputError(
        "observations",
        expected=expected,
        found=f"{len(usable)} glacier-years: {usable['glacier'].nunique()} glacier(s), {usable['year'].nunique()} "
        f"year(s); {len(linked.unmatched)} row(s) without an outline"
        + "".join(f"; {line}" for line in unmatched_lines(linked)[:3]),
        remedy=_remedy(linked),
    )


def _remedy(linked: Linked) -> str:
    """What to do for more observations: first for those that found no outline, else for the period."""
    if linked.unmatched.empty:
        return "check the climate's period: observations count in its complete hydrological years only"
    say = "say which outline each site is: in a column, `observations: {columns: {rgi_id: COLUMN}}`, in a table with "
    say += "identifiers or positions, `observations: {links: {table: FILE}}`, or by hand"
    if linked.meant:
        return f"{say}; by their names or places these may be meant: {mapping_to_paste(linked)}"
    site = linked.unmatched["site"].iloc[0]
    return f"{say}, `observations: {{links: {{mapping: {{'{site}': OUTLINE}}}}}}`"
