"""The stages that make folds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.errors import Problems
from glacmb_grid.folds.masks import Folds
from glacmb_grid.judging.locked import holdout_fold
from glacmb_grid.judging.plan import folds_of, foreseen, judged_folds
from glacmb_grid.settings import Protocol, Validation
from glacmb_grid.stores.work import Work
from glacmb_grid.validation.holdout import holdout_record
from glacmb_grid.validation.leaks import check_folds
from glacmb_grid.years import complete_years, first_months


def plan_folds(
    work: Work,
    *,
    outlines: gpd.GeoDataFrame,
    climate: dict[str, Any],
    observed: pd.DataFrame,
    first_month: int | None,
    schemes: Sequence[str],
    validation: Validation,
    seed: int,
) -> dict[str, Any]:
    """Folds made from observations alone, so that settings that cannot work fail before hours of sampling."""
    firsts = first_months(outlines["latitude"].to_numpy(), first_month)
    years = complete_years(np.array(climate["months"], "datetime64[M]").astype("datetime64[ns]"), firsts)
    samples = foreseen(outlines, observed, [int(y) for y in years])
    problems = Problems()
    every = folds_of(samples, schemes, validation, seed, problems, outlines)
    problems.raise_if_any()
    lines = [(n, len(f), int(f.score.any(axis=0).sum())) for n, f in every.items()]
    told = ", ".join(f"{n} {count}" for n, count, _ in lines) + "".join(matched(f) for f in every.values())
    work.say(f"{samples.sizes['sample']} observations; folds: {told}")
    return {"folds": pd.DataFrame(lines, columns=["scheme", "folds", "rows"])}


def make_all_folds(
    work: Work,
    *,
    samples: xr.Dataset,
    schemes: Sequence[str],
    validation: Validation,
    protocol: Protocol,
    seed: int,
    targets: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """The folds of every scheme, checked; test glaciers are locked before anything is fitted."""
    every, locked = judged_folds(samples, schemes, validation, protocol, seed, targets)
    found: list[pd.DataFrame] = []
    record = holdout_record(samples, locked, work.key) if locked.any() else None
    work.lock(record)
    if record is not None:
        checked = check_folds(samples, holdout_fold(samples, locked, validation.inner, seed))
        found.append(checked[checked["kind"] != "scored by no fold"].assign(scheme="holdout"))
        glaciers = len(np.unique(samples["glacier"].values[locked].astype(str)))
        work.say(f"{locked.sum()} rows of {glaciers} test glaciers are locked away until `score-holdout`")
    for scheme, folds in every.items():
        found.append(check_folds(samples, folds))
        work.say(f"{scheme}: {len(folds)} folds, tuned in {len(folds.blocks)} blocks{matched(folds)}")
    findings = pd.concat(found, ignore_index=True)
    leaks = findings[(findings["severity"] == "leak") & (findings["scheme"] != "random")]
    if len(leaks):
        work.say(f"leaks: {'; '.join(summary_of(leaks))}; see folds/leaks.csv")
    return {"folds": every, "locked": record, "findings": findings}


def matched(folds: Folds) -> str:
    """How well distances match those of the predicted glaciers, of the scheme `domain`."""
    left = folds.wasserstein_km[0]
    return f"; distances match those of the predicted glaciers to W = {left:.3g} km" if np.isfinite(left) else ""


def summary_of(findings: pd.DataFrame) -> list[str]:
    """A line for each scheme and kind of findings."""
    counts = findings.groupby(["scheme", "kind"], sort=False)["count"].sum().reset_index()
    return [f"{one['scheme']}: {one['kind']} ({one['count']} rows)" for one in counts.to_dict("records")]
