"""Validation protocols as masks: the nested one, and deliberately leaky ones.

A leak changes masks only. The same code fits and scores, so the difference in the scores is due to the leak.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.rows import Bools
from glacmb_grid.settings import Protocol


def leaky(folds: Folds, protocol: Protocol, locked: Bools | None = None) -> Folds:
    """Add the leaks of a protocol to folds.

    Parameters
    ----------
    folds : Folds
        From `make_folds`.
    protocol : Protocol
        `selection` learns features on all rows. `tuning` makes the scored rows the only inner split. `early_stopping`
        stops on the scored rows.
    locked : bool array, (sample,), optional
        Rows of locked test glaciers, which no protocol may use.

    Returns
    -------
    Folds
        Unchanged if the protocol leaks nothing.
    """
    if protocol.selection:
        free = np.ones(len(folds.sample), bool) if locked is None else ~locked
        folds = replace(folds, select=np.tile(free, (len(folds), 1)))
    if protocol.tuning:
        inner_fit, inner_score = (np.repeat(m[:, None], folds.inner, axis=1) for m in (folds.fit, folds.score))
        folds = replace(folds, inner_fit=inner_fit, inner_score=inner_score, block=np.arange(len(folds)))
    return replace(folds, stop=folds.score) if protocol.early_stopping else folds


def name_of(protocol: Protocol) -> str:
    """`nested`, or the list of leaks."""
    leaks = [n for n in ("selection", "tuning", "early_stopping") if getattr(protocol, n)]
    return "leaked " + ", ".join(leaks).replace("_", " ") if leaks else "nested"
