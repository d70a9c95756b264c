"""Forests of scikit-learn's regression trees, grown one after the other.

scikit-learn's own forests hand every tree to joblib and swap the warning filters of the whole process while it grows,
which is not safe where forests grow side by side in threads. These are the same trees from the same random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Forest:
    """Grown trees."""

    trees: list[Any]

    def predict(self, values: Floats) -> Floats:
        """Mean over the trees, (row,)."""
        same = np.ascontiguousarray(values, np.float32)
        return np.asarray(sum(t.predict(same, check_input=False) for t in self.trees) / len(self.trees))

    def importances(self) -> Floats:
        """Share of every feature in what the trees explain of the target, (feature,); 0 where no tree has a branch."""
        grown = [t.feature_importances_ for t in self.trees if t.tree_.node_count > 1]
        if not grown:
            return np.zeros(self.trees[0].n_features_in_)
        mean = np.mean(grown, axis=0)
        return np.asarray(mean / mean.sum())


def grow(
    values: Floats,
    target: Floats,
    *,
    trees: int,
    leaf: int,
    share: float,
    seed: int,
    random_splits: bool = False,
    draws: int | None = None,
) -> Forest:
    """Grow a forest.

    Parameters
    ----------
    values : float64 array, (row, feature)
        Without gaps.
    target : float64 array, (row,)
    trees : int
    leaf : int
        Least number of rows in a leaf.
    share : float
        Share of the features that a split looks at.
    seed : int
    random_splits : bool
        Extra trees instead of a random forest's.
    draws : int, optional
        Rows that each tree draws with replacement; default all rows once.

    Returns
    -------
    Forest
    """
    from sklearn.tree import DecisionTreeRegressor, ExtraTreeRegressor

    rng = np.random.RandomState(seed)
    kind = ExtraTreeRegressor if random_splits else DecisionTreeRegressor
    same, aim = np.ascontiguousarray(values, np.float32), np.ascontiguousarray(target[:, None], np.float64)
    grown = []
    for own in [int(rng.randint(np.iinfo(np.int32).max)) for _ in range(trees)]:
        tree = kind(min_samples_leaf=leaf, max_features=share, random_state=own)
        weight = None
        if draws is not None:
            drawn = np.random.RandomState(own).randint(0, len(aim), draws, dtype=np.int32)
            weight = np.bincount(drawn, minlength=len(aim)).astype(np.float64)
        grown.append(tree.fit(same, aim, sample_weight=weight, check_input=False))
    return Forest(grown)
