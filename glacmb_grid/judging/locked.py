"""Locked test glaciers: the record of what was locked, and their scoring."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.disk import read_json, write_json
from glacmb_grid.errors import InputError, listing
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.judging.plan import locked_rows, models_of, skipped
from glacmb_grid.learning.registry import fit_all, predict
from glacmb_grid.settings import Judged, digest
from glacmb_grid.stores.formats import read_zarr
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.validation.holdout import log_look, read_looks, verify_holdout
from glacmb_grid.validation.predictions import out_of_fold

OPEN: dict[str, Any] = {"glaciers": [], "rows_sha256": ""}


def remember_lock(store: RunStore, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Add a state of the lock to this run folder's record; all its states, oldest first. OPEN: nothing was locked.

    Raises
    ------
    InputError
        If the record is missing although glaciers were locked, or is not valid.
    """
    path = store.root / "holdout-locked.json"
    known: list[dict[str, Any]] | None = read_json(path, _is_record)
    folds = store.folder("folds")
    if known is None and (path.exists() or path.is_symlink() or (folds / "holdout.json").exists()):
        raise InputError(
            f"{path}",
            expected="the record of what was locked in this folder, a JSON list",
            found="something else" if path.exists() else "nothing",
            remedy="restore it: without it glaciers that were open before would pass for locked from the start",
        )
    if known is None:
        fitted = (folds, store.folder("learning"), store.folder("evaluation"))
        known = [OPEN] if any(f.exists() for f in fitted) else []  # models were fitted before, with nothing locked
    if [r["rows_sha256"] for r in known[-1:]] != [record["rows_sha256"]]:
        known.append(record)
        write_json(path, known)
    return known


def _is_record(content: Any) -> bool:
    texts = all(isinstance(g, str) for r in content for g in [r["rows_sha256"], *r["glaciers"]])
    return isinstance(content, list) and len(content) > 0 and texts


def judge_locked(config: Judged, store: RunStore, say: Callable[[str], None]) -> pd.DataFrame:
    """Fit on everything that is not locked, score the locked glaciers, and log that it was done.

    Raises
    ------
    InputError
        If no glaciers are locked, or if the rows are not those that were locked before any fit.
    """
    samples = read_zarr(store.folder("samples") / "samples.zarr")
    locked = locked_rows(config, samples)
    record = json.loads((store.folder("folds") / "holdout.json").read_text(encoding="utf-8"))
    verify_holdout(record, samples, locked)
    looks = config.root / "holdout-looks.json"
    read_looks(looks, some=store.mark("holdout") is not None or store.has_damaged_mark("holdout"))
    states = remember_lock(store, record)
    always = set.intersection(*(set(state["glaciers"]) for state in states))
    open_before = sorted(set(record["glaciers"]) - always)
    if open_before:
        say(
            f"not locked from the start: {listing(open_before)} may have been fitted on and judged in this folder "
            "before, so this is no independent test"
        )
    if len(states) > 1:
        changes = f"{len(states) - 1} time{'s' if len(states) > 2 else ''}"
        say(
            f"the locked rows, or their predictors, changed {changes} since they were first locked: holdout-locked.json"
        )
    folds = holdout_fold(samples, locked, config)
    rows = int(folds.fit.sum())
    models = [m for m in models_of(config).values() if not skipped(config, m, samples)]
    fits = fit_all(models, samples, folds, seed=config.seed, say=lambda text: say(f"{text} on {rows} rows"))
    tables = [
        out_of_fold(samples, folds, predict(fit, samples, fits), model=name).assign(protocol="locked")
        for name, fit in fits.items()
    ]
    key = digest(config.models, config.validation, config.protocol, config.seed)
    say(str(log_look(looks, record, key)["message"]))  # logged before any score is shown
    return pd.concat(tables)


def holdout_fold(samples: xr.Dataset, locked: npt.NDArray[np.bool_], config: Judged) -> Folds:
    """One fold that fits on all free rows and scores the locked ones."""
    side = np.where(locked, "locked", "free").astype(object)
    sides = samples.assign_coords(fold_logo=("sample", side))
    folds = make_folds(sides, "logo", inner=config.validation.inner, seed=config.seed)
    return folds.take(folds.score[:, locked].any(axis=1))
