"""Boosted regression trees on histograms, by scikit-learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.search import Hyper
from glacmb_grid.learning.table import Floats
from glacmb_grid.learning.tabular import DesignModel, Training, grid
from glacmb_grid.learning.trees import boosted_arrays, constant_arrays, predict_trees
from glacmb_grid.settings import GradientBoosting


@dataclass(frozen=True)
class BoostedTrees(DesignModel):
    """Trees on the balance itself, or on its deviation from the level of the glacier; kept as arrays of nodes."""

    settings_type: ClassVar = GradientBoosting
    has_level: ClassVar[bool] = True

    def hypers(self) -> list[Hyper]:
        """Numbers of trees, and of their leaves."""
        chosen = self.settings
        return grid(rounds=chosen.rounds, leaves=chosen.leaves, learning_rate=[chosen.learning_rate])

    def learn(self, prepared: Training, hyper: Hyper) -> Arrays:
        """Nodes of all trees."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        if prepared.design.shape[1] == 0 or len(prepared.target) < 2:
            return constant_arrays(prepared.target.mean())
        model = HistGradientBoostingRegressor(
            max_iter=hyper["rounds"],
            max_leaf_nodes=hyper["leaves"],
            learning_rate=hyper["learning_rate"],
            min_samples_leaf=max(2, min(20, len(prepared.target) // 20)),
            early_stopping=False,
            random_state=prepared.seed,
        )
        rounded = prepared.design.astype(np.float32).astype(np.float64)  # nodes are compared with float32 values
        return boosted_arrays(model.fit(rounded, prepared.target))

    def evaluate(self, learnt: Arrays, design: Floats) -> Floats:
        """Sum of the trees, (row,), m w.e."""
        return predict_trees(learnt, design)
