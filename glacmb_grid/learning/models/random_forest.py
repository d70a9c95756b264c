"""Bagged regression trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.search import Hyper
from glacmb_grid.learning.table import Floats
from glacmb_grid.learning.tabular import DesignModel, Training, grid
from glacmb_grid.learning.trees import constant_arrays, forest_arrays, grow, predict_trees
from glacmb_grid.settings import RandomForest

_ROWS = 5000  # that one tree draws at most


@dataclass(frozen=True)
class Forest(DesignModel):
    """Trees on the balance itself, or on its deviation from the level of the glacier; kept as arrays of nodes."""

    settings_type: ClassVar = RandomForest
    has_level: ClassVar[bool] = True
    random_splits: ClassVar[bool] = False

    def stored(self, rows: int, features: int) -> int:
        """About how many bytes what is learnt in one fold takes: a few numbers for each node of each tree."""
        return 12 * int(self.settings.trees) * rows + super().stored(rows, features)

    def hypers(self) -> list[Hyper]:
        """Sizes of the leaves, and shares of the features."""
        return grid(leaf=self.settings.leaf, share=self.settings.share, trees=[self.settings.trees])

    def learn(self, prepared: Training, hyper: Hyper) -> Arrays:
        """Nodes of all trees."""
        rows = len(prepared.target)
        if prepared.design.shape[1] == 0 or rows < 2:
            return constant_arrays(prepared.target.mean())
        trees = grow(
            prepared.design,
            prepared.target,
            trees=hyper["trees"],
            leaf=hyper["leaf"],
            share=hyper["share"],
            seed=prepared.seed,
            random_splits=self.random_splits,
            draws=min(rows, _ROWS) if not self.random_splits or rows > _ROWS else None,
        )
        return forest_arrays(trees)

    def evaluate(self, learnt: Arrays, design: Floats) -> Floats:
        """Mean of the trees, (row,), m w.e."""
        return predict_trees(learnt, design)
