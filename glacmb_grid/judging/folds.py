"""The stages that make folds."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from glacmb_grid.disk import write_json
from glacmb_grid.errors import Problems
from glacmb_grid.judging.locked import OPEN, holdout_fold, remember_lock
from glacmb_grid.judging.plan import folds_of, foreseen, judged_folds
from glacmb_grid.stages import Context
from glacmb_grid.stores.formats import read_outlines_store, read_zarr, write_table, write_zarr
from glacmb_grid.validation.holdout import holdout_record
from glacmb_grid.validation.leaks import check_folds
from glacmb_grid.years import complete_years, start_month


def plan_folds(context: Context) -> None:
    """Make folds from observations alone, so that settings that cannot work fail before hours of sampling."""
    config = context.cube
    outlines = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    months = json.loads(context.of("cubes", "climate.json").read_text(encoding="utf-8"))["months"]
    first = config.predictors.first_month or start_month(float(outlines["latitude"].mean()))
    years = complete_years(np.array(months, "datetime64[M]").astype("datetime64[ns]"), first)
    observed = pd.read_parquet(context.of("observations", "linked.parquet"))
    samples = foreseen(outlines, observed, [int(y) for y in years])
    problems = Problems()
    every = folds_of(config, samples, problems)
    problems.raise_if_any()
    lines = [(n, len(f), int(f.score.any(axis=0).sum())) for n, f in every.items()]
    write_table(pd.DataFrame(lines, columns=["scheme", "folds", "rows"]), context.out / "folds.csv")
    context.say(f"{samples.sizes['sample']} observations; folds: " + ", ".join(f"{n} {count}" for n, count, _ in lines))


def make_all_folds(context: Context) -> None:
    """Write and check the folds of every scheme; test glaciers are locked before anything is fitted."""
    config, samples = context.config, read_zarr(context.of("samples", "samples.zarr"))
    every, locked = judged_folds(config, samples)
    found: list[pd.DataFrame] = []
    if locked.any():
        record = holdout_record(samples, locked, context.key)
        write_json(context.out / "holdout.json", record)
        remember_lock(context.store, record)
        checked = check_folds(samples, holdout_fold(samples, locked, config))
        found.append(checked[checked["kind"] != "scored by no fold"].assign(scheme="holdout"))
        glaciers = len(np.unique(samples["glacier"].values[locked].astype(str)))
        context.say(f"{locked.sum()} rows of {glaciers} test glaciers are locked away until `score-holdout`")
    elif (context.store.root / "holdout-locked.json").exists():
        remember_lock(context.store, OPEN)
    for scheme, folds in every.items():
        write_zarr(folds.to_dataset(), context.out / f"{scheme}.zarr")
        found.append(check_folds(samples, folds))
        context.say(f"{scheme}: {len(folds)} folds, tuned in {len(folds.blocks)} blocks")
    findings = pd.concat(found, ignore_index=True)
    write_table(findings, context.out / "leaks.csv")
    leaks = findings[(findings["severity"] == "leak") & (findings["scheme"] != "random")]
    if len(leaks):
        context.say(f"leaks: {'; '.join(summary_of(leaks))}; see folds/leaks.csv")


def summary_of(findings: pd.DataFrame) -> list[str]:
    """A line for each scheme and kind of findings."""
    counts = findings.groupby(["scheme", "kind"], sort=False)["count"].sum().reset_index()
    return [f"{one['scheme']}: {one['kind']} ({one['count']} rows)" for one in counts.to_dict("records")]
