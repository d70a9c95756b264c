"""How far predictors of a glacier that was not fitted on may lie outside of those that were.

Relations learnt from a few glaciers say nothing of a climate or a topography that none of them has. A straight line
goes on all the same: with four climate cells fitted, balances of -12 and +13 m w.e. a year were predicted elsewhere.
"""

from __future__ import annotations

import numpy as np

from glacmb_grid.learning.table import Floats

_ALIKE = 1e-9  # relative to the largest of the values: those closer to each other count once


def reach_of(values: Floats, limited: bool = True) -> Floats:
    """Lowest and highest value that the values of fitted glaciers leave plausible for another, (2, column).

    The ends of a uniform distribution from which they are drawn, estimated without bias: with n distinct values their
    range and a further 1 / (n - 1) of it on both sides. There are no ends where all are alike.

    Parameters
    ----------
    values : float64 array, (glacier, column)
        Means of glaciers, without gaps.
    limited : bool
        Without, there are no ends.
    """
    if not (limited and len(values)):
        return np.array([[-np.inf], [np.inf]]) * np.ones(values.shape[1])
    ordered = np.sort(values, axis=0)
    lowest, highest = ordered[0], ordered[-1]
    between = (np.diff(ordered, axis=0) > _ALIKE * np.abs(ordered).max(axis=0)).sum(axis=0)
    margin = np.divide(highest - lowest, between, out=np.full(values.shape[1], np.inf), where=between > 0)
    return np.array([lowest - margin, highest + margin])
