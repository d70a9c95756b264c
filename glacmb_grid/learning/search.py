"""Choosing inside a fold: inner splits, blocks of folds that share them, and the record of what was searched.

Folds of one block share their inner splits, which lie inside what all of them may see, so that the search is done once
for each block.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from threadpoolctl import threadpool_limits

from glacmb_grid.errors import InputError
from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.features import Features
from glacmb_grid.learning.table import Bools, Floats, Integers, Table
from glacmb_grid.settings import Recipe

Hyper = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """One way to make features and one set of hyper-parameters."""

    recipe: int
    hyper: Hyper


@dataclass(frozen=True)
class Tuned:
    """What the search found.

    Attributes
    ----------
    choice : int array, (fold,)
    error : float64 array, (fold, candidate)
        Root mean square error over the inner splits, m w.e.; NaN for a candidate that was not tried.
    prediction : float64 array, (fold, sample)
        By the chosen candidate on the inner splits, NaN elsewhere, m w.e.
    """

    choice: Integers
    error: Floats
    prediction: Floats


class InnerMean:
    """Mean of the predictions that several inner splits make of a sample, (block, candidate, sample)."""

    def __init__(self, blocks: int, candidates: int, samples: int) -> None:
        self._total = np.zeros((blocks, candidates, samples))
        self._count = np.zeros((blocks, candidates, samples))

    def add(self, block: int, candidate: int, score: Bools, values: Floats) -> None:
        """Predictions of the samples that one split scores."""
        self._total[block, candidate, score] += values
        self._count[block, candidate, score] += 1

    @property
    def mean(self) -> Floats:
        """NaN where no split scored a sample."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self._total / self._count)

    def choose(self, target: Floats) -> tuple[Integers, Floats, Floats]:
        """The candidate of least error for every block; all errors, (block, candidate); its mean, (block, sample).

        The error of a candidate that was not tried is NaN.
        """
        mean = self.mean
        squares = np.where(np.isfinite(mean), (mean - target) ** 2, 0.0).sum(axis=2)
        with np.errstate(invalid="ignore"):
            error = np.sqrt(squares / np.isfinite(mean).sum(axis=2))
        choice = np.nanargmin(error, axis=1)
        return choice, error, mean[np.arange(len(choice)), choice]


def inner_masks(folds: Folds, fold: int) -> Iterator[tuple[Bools, Bools]]:
    """Masks of the inner splits of a fold; a split that occurs twice is given once."""
    known: set[bytes] = set()
    for fit, score in zip(folds.inner_fit[fold], folds.inner_score[fold], strict=True):
        key = np.packbits(np.concatenate([fit, score])).tobytes()
        if key not in known:
            known.add(key)
            yield fit, score


_THREADS: ContextVar[int | None] = ContextVar("threads", default=None)


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Fit on no more than this many threads inside the block."""
    token = _THREADS.set(count)
    try:
        yield
    finally:
        _THREADS.reset(token)


def workers() -> int:
    """Threads to fit on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _THREADS.get() or cores))


@contextmanager
def side_by_side() -> Iterator[ThreadPoolExecutor]:
    """Threads for fits side by side, each of which then keeps to one core."""
    with threadpool_limits(1), ThreadPoolExecutor(workers()) as pool:
        yield pool


def inner_prediction(folds: Folds, fit: Callable[[Bools], Floats]) -> xr.DataArray:
    """Predictions on the inner splits by a model without alternatives, (fold, sample), m w.e., NaN elsewhere.

    `fit` takes the observations to fit on and gives what it makes of all observations.
    """
    found = InnerMean(len(folds.first), 1, len(folds.sample))
    for b, fold in enumerate(folds.first):
        for inner_fit, inner_score in inner_masks(folds, fold):
            found.add(b, 0, inner_score, fit(inner_fit)[inner_score])
    return xr.DataArray(folds.by_fold(found.mean[:, 0]), dims=("fold", "sample"))


def require_annual(table: Table, folds: Folds, name: str) -> None:
    """Raise where a fold has no annual observation, which is all that trees and kernels can learn from."""
    lacking = ~(folds.fit & table.annual).any(axis=1)
    if lacking.any():
        raise InputError(
            f"models: {name}",
            expected="annual observations to fit on in every fold",
            found=f"none in the fold {folds.name[lacking][0]}",
            remedy=f"give annual balances, or take {name} out of `validation.models`",
        )


def fold_record(folds: Folds) -> xr.Dataset:
    """What the parameters of every model hold: names of the folds and what each of them has looked at."""
    masks = {"seen": (("fold", "sample"), folds.seen), "fitted": (("fold", "sample"), folds.fit)}
    return folds.to_dataset().drop_dims("sample").assign(masks)


def search_record(
    recipes: Sequence[Recipe],
    candidates: Sequence[Candidate],
    tuned: Tuned,
    kept: Sequence[Features],
    folds: Folds,
) -> xr.Dataset:
    """What was searched, what was chosen, and which features were kept, by fold."""
    names = list(dict.fromkeys(n for f in kept for n in f.names[f.kept].tolist()))
    number = {n: i for i, n in enumerate(names)}
    selected = np.zeros((len(kept), len(names)), bool)
    centre, inverse = np.full((2, *selected.shape), np.nan)
    for fold, features in enumerate(kept):
        place = [number[n] for n in features.names[features.kept].tolist()]
        selected[fold, place] = True
        centre[fold, place] = features.centre[features.kept]
        inverse[fold, place] = features.inverse_scale[features.kept]
    words = [json.dumps({"recipe": c.recipe, **c.hyper}, sort_keys=True) for c in candidates]
    found = {
        "choice": ("fold", tuned.choice),
        "inner_error": (("fold", "candidate"), tuned.error),
        "inner_prediction": (("fold", "sample"), tuned.prediction),
        "selected": (("fold", "feature"), selected),
        "centre": (("fold", "feature"), centre),
        "inverse_scale": (("fold", "feature"), inverse),
    }
    coords = {"candidate": np.array(words, dtype=object), "feature": np.array(names, dtype=object)}
    attrs = {"recipes": json.dumps([r.model_dump(mode="json") for r in recipes])}
    return fold_record(folds).assign(found).assign_coords(coords).assign_attrs(attrs)


def prediction(values: Floats, parameters: xr.Dataset) -> xr.DataArray:
    """Balances with the folds they come from, (fold, member, row), m w.e."""
    return xr.DataArray(
        values, dims=("fold", "member", "row"), coords={"fold": parameters["fold"], "scheme": parameters["scheme"]}
    )
