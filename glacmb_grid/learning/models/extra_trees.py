"""Regression trees with random splits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from glacmb_grid.learning.models.random_forest import Forest
from glacmb_grid.settings import ExtraTrees


@dataclass(frozen=True)
class ExtraForest(Forest):
    """A forest whose trees see all rows and split at random."""

    settings_type: ClassVar = ExtraTrees
    random_splits: ClassVar[bool] = True
