"""Regression trees of scikit-learn: grown in forests, kept as arrays of nodes, and made whole again to predict.

scikit-learn's own forests hand every tree to joblib and swap the warning filters of the whole process while it grows,
which is not safe where forests grow side by side in threads. These are the same trees from the same random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.table import Floats

_NODE = {"left_child": np.int32, "right_child": np.int32, "feature": np.int32, "threshold": np.float64}


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
) -> list[Any]:
    """Grow the trees of a forest.

    Parameters
    ----------
    values : float array, (row, feature)
        Without gaps; compared as float32.
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
    list
        Fitted regression trees of scikit-learn; the forest predicts their mean.
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
    return grown


def importances(trees: Sequence[Any]) -> Floats:
    """Share of every feature in what the trees explain of the target, (feature,); 0 where no tree has a branch."""
    grown = [t.feature_importances_ for t in trees if t.tree_.node_count > 1]
    if not grown:
        return np.zeros(trees[0].n_features_in_)
    mean = np.mean(grown, axis=0)
    return np.asarray(mean / mean.sum())


def forest_arrays(trees: Sequence[Any]) -> Arrays:
    """The nodes of a forest whose prediction is the mean of its trees."""
    found = [t.tree_ for t in trees]
    nodes = {
        "left_child": [t.children_left for t in found],
        "right_child": [t.children_right for t in found],
        "feature": [t.feature for t in found],
        "threshold": [t.threshold for t in found],
        "value": [t.value[:, 0, 0] for t in found],
    }
    return _joined(nodes, base=0.0, share=1 / len(found))


def boosted_arrays(model: Any) -> Arrays:
    """The nodes of boosted trees (`HistGradientBoostingRegressor`), whose prediction is a constant and their sum."""
    found = [trees[0].nodes for trees in model._predictors]  # noqa: SLF001 - there is no public way to the nodes
    nodes = {
        "left_child": [np.where(n["is_leaf"], -1, n["left"].astype(np.int64)) for n in found],
        "right_child": [np.where(n["is_leaf"], -1, n["right"].astype(np.int64)) for n in found],
        "feature": [np.where(n["is_leaf"], -2, n["feature_idx"]) for n in found],
        "threshold": [n["num_threshold"] for n in found],
        "value": [n["value"] for n in found],
    }
    return _joined(nodes, base=float(np.ravel(model._baseline_prediction)[0]), share=1.0)  # noqa: SLF001


def constant_arrays(value: float) -> Arrays:
    """No tree: the same prediction everywhere."""
    return _joined({n: [] for n in (*_NODE, "value")}, base=value, share=1.0)


def _joined(nodes: dict[str, list[npt.NDArray[Any]]], *, base: float, share: float) -> Arrays:
    kinds = {**_NODE, "value": np.float64}
    whole = {n: np.concatenate(p).astype(kinds[n]) if p else np.zeros(0, kinds[n]) for n, p in nodes.items()}
    below = whole["threshold"].astype(np.float32)
    above = below > whole["threshold"]
    below[above] = np.nextafter(below[above], np.float32(-np.inf))  # a float32 value is under both or neither
    return {
        **whole,
        **{n: _small(whole[n]) for n in ("left_child", "right_child", "feature")},
        "threshold": below,
        "tree_size": np.array([len(v) for v in nodes["value"]], np.int64),
        "tree_base": np.array(base),
        "tree_share": np.array(share),
    }


def _small(numbers: npt.NDArray[np.int32]) -> npt.NDArray[Any]:
    """The same numbers in two bytes, where they fit: there may be a forest for each of thousands of folds."""
    return numbers.astype(np.int16) if np.abs(numbers).max(initial=0) < 1 << 15 else numbers


def predict_trees(arrays: Arrays, values: Floats) -> Floats:
    """What the trees make of rows, (row,): a constant plus a share of the sum of all trees.

    Parameters
    ----------
    arrays : dict
        From `forest_arrays` or `boosted_arrays`.
    values : float array, (row, feature)
        Without gaps; compared as float32.
    """
    from sklearn.tree._tree import Tree

    same = np.ascontiguousarray(values, np.float32)
    total = np.zeros(len(same))
    for start, size in zip(np.cumsum(arrays["tree_size"]) - arrays["tree_size"], arrays["tree_size"], strict=True):
        mine = slice(int(start), int(start + size))
        nodes = np.zeros(size, node_type())
        for name in _NODE:
            nodes[name] = arrays[name][mine]
        tree = Tree(same.shape[1], np.ones(1, np.intp), 1)
        whole = np.ascontiguousarray(arrays["value"][mine]).reshape(-1, 1, 1)
        tree.__setstate__({"max_depth": 0, "node_count": int(size), "nodes": nodes, "values": whole})
        total += tree.predict(same)[:, 0]
    return np.asarray(float(arrays["tree_base"]) + float(arrays["tree_share"]) * total)


@lru_cache(maxsize=1)
def node_type() -> np.dtype[Any]:
    """What a node consists of in this version of scikit-learn."""
    from sklearn.tree import DecisionTreeRegressor

    nodes: npt.NDArray[Any] = DecisionTreeRegressor().fit([[0.0]], [0.0]).tree_.__getstate__()["nodes"]
    return nodes.dtype
