"""Locked test glaciers: the record of what was locked, and `score-holdout`."""

from __future__ import annotations

import pandas as pd

from glacmb_grid.disk import Say
from glacmb_grid.errors import InputError, listing
from glacmb_grid.judging.locked import judge_locked
from glacmb_grid.judging.plan import locked_rows, models_of
from glacmb_grid.learning.contract import lacking
from glacmb_grid.report.scores import holdout_lines
from glacmb_grid.settings import Judged, digest
from glacmb_grid.stores.artefacts import (
    CONSTRAINTS,
    HOLDOUT,
    HOLDOUT_TABLES,
    LOCK_RECORD,
    LOCKED,
    LOOKS,
    SAMPLES,
    read,
    write,
)
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.validation.holdout import log_look, read_looks, verify_holdout
from glacmb_grid.validation.scores import score
from glacmb_grid.workflow.guards import report_full_disk
from glacmb_grid.workflow.lock_record import remember_lock
from glacmb_grid.workflow.runner import run


def score_holdout(config: Judged, *, say: Say = print, tell: Say | None = None) -> None:
    """Score the locked test glaciers: fit on all others, score once, log that it was done.

    Parameters
    ----------
    config : RunConfig or TableConfig
    say : callable
        Takes a line of progress.
    tell : callable, optional
        Takes a line of the answer: what limits the test, and the scores. By default `say`.

    Raises
    ------
    InputError
        If `validation.holdout` is not set, or if the rows are not those that were locked before any fit.
    """
    if config.validation.holdout is None:
        raise InputError(
            "validation: holdout",
            expected="a share or a list of glaciers that were locked away",
            found="nothing",
            remedy="set `validation.holdout` and run `evaluate` first",
        )
    tell = tell or say
    run(config, stage=LOCKED.stage, say=say)
    if config.learns_rates:
        run(config, stage=CONSTRAINTS.stage, say=say)
    store = RunStore(config.root, say)
    with report_full_disk(store), store.locked():
        predictions = _judged(config, store, say, tell)
        scores = score(predictions, draws=config.scores.bootstrap, level=config.scores.level, seed=config.seed)
        with store.writing(HOLDOUT, {"settings": {}, "key": digest(config)}) as folder:
            write(predictions, HOLDOUT_TABLES["predictions"], folder)
            write(scores, HOLDOUT_TABLES["scores"], folder)
    for line in holdout_lines(scores):
        tell(line)


def _judged(config: Judged, store: RunStore, say: Say, tell: Say) -> pd.DataFrame:
    """Out-of-fold predictions of the locked glaciers; that they are scored is logged."""
    samples, record = read(store, SAMPLES), read(store, LOCKED)
    locked = locked_rows(samples, config.validation, config.seed)
    verify_holdout(record, samples, locked)
    looks = store.root / LOOKS
    read_looks(looks, some=store.mark(HOLDOUT) is not None or store.has_damaged_mark(HOLDOUT))
    states = remember_lock(store, record)
    always = set.intersection(*(set(state["glaciers"]) for state in states))
    open_before = sorted(set(record["glaciers"]) - always)
    if open_before:
        tell(
            f"not locked from the start: {listing(open_before)} may have been fitted on and judged in this folder "
            "before, so this is no independent test"
        )
    if len(states) > 1:
        changes = f"{len(states) - 1} time{'s' if len(states) > 2 else ''}"
        tell(f"the locked rows, or their predictors, changed {changes} since they were first locked: {LOCK_RECORD}")
    optional = config.validation.models == "all"
    models = [m for m in models_of(config).values() if not (optional and lacking(m, samples))]
    inner, seed = config.validation.inner, config.seed
    held = read(store, CONSTRAINTS) if config.learns_rates else None
    predictions = judge_locked(samples, locked, models, inner=inner, seed=seed, constraints=held, say=say)
    key = digest(config.models, config.validation, config.protocol, config.seed)
    tell(str(log_look(looks, record, key)["message"]))  # logged before any score is shown
    return predictions
