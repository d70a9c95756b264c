"""Models that every other has to beat, wherever a scheme leaves them what they need."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.table import Bools

RIVALS = ("year_mean", "year_level")
"""Judged beside whatever a configuration asks for; nothing is called better that does not beat them."""


def mostly(folds: Folds, known: Callable[[Bools, Bools], Bools]) -> bool:
    """Whether what a rival needs is known for most of the scored observations.

    `known` takes the masks of what a fold fits and scores, and tells it for each scored observation.
    """
    found = [known(fit, score) for fit, score in zip(folds.fit, folds.score, strict=True)]
    every = np.concatenate(found) if found else np.zeros(0, bool)
    return bool(len(every) and every.mean() > 0.5)
