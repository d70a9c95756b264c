"""The constraints that nets are held to, and the part of them that each may look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from glacmb_grid.learning.nets.losses import Pool, Rates

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_DRAWN_ROWS = 5120  # glacier-years of constraints that a net looks at in an epoch, about
_LEAST_DRAWN = 32


@dataclass(frozen=True, eq=False)
class Constraints:
    """Sums of glacier-years that nets are held to.

    Attributes
    ----------
    rows : float32 array, (matrix, row, predictor)
        Standardised predictors, of the matrices of the problem; rows that no net uses may have any finite value.
    row : int array, (constraint, entry)
        The rows that each is a sum of.
    weight : float32 array, (constraint, entry)
        Their weights, 0 where there is no entry.
    target : float32 array, (target, constraint)
        Standardised changes, of the targets of the problem.
    precision : float32 array, (target, constraint)
        1 / their standardised uncertainties.
    used : bool array, (split, constraint)
        Those that a split may learn from; the others are never used.
    """

    rows: Floats
    row: Integers
    weight: Floats
    target: Floats
    precision: Floats
    used: Bools


class Held(NamedTuple):
    """Padded numbers of what nets are held to; all 0 without constraints.

    Attributes
    ----------
    drawn : int
        Constraints that a net looks at in an epoch.
    matrices : int
        Matrices of the pool.
    """

    drawn: int = 0
    matrices: int = 0


def held_for(shape: tuple[int, ...], matrices: int) -> Held:
    """How many of the constraints, of a shape (constraint, entry), nets look at in an epoch."""
    return Held(min(shape[0], max(_DRAWN_ROWS // max(shape[1], 1), _LEAST_DRAWN)), matrices)


def rates_of(
    constraints: Constraints, place: tuple[int, int, int], columns: npt.NDArray[np.int32], *, seed: int, strength: float
) -> Rates:
    """What one net makes of constraints.

    Parameters
    ----------
    constraints : Constraints
    place : (int, int, int)
        Its matrix, target and split.
    columns : int array, (predictor,)
        The predictors that it uses, then -1.
    seed : int
        Of the order in which it looks at them.
    strength : float
        A net of strength 0 looks at none.
    """
    matrix, target, split = place
    own = constraints.used[split] & (strength > 0)
    used = np.flatnonzero(own)
    order = np.zeros(len(own), np.int32)
    order[: len(used)] = np.random.Generator(np.random.Philox(key=[seed % (1 << 64), 1])).permutation(used)
    return Rates(
        matrix=np.int32(matrix),
        columns=columns,
        order=order,
        count=np.int32(len(used)),
        target=np.where(own, constraints.target[target], 0).astype(np.float32),
        precision=np.where(own, constraints.precision[target], 0).astype(np.float32),
        strength=np.float32(strength),
    )


def pool_of(constraints: Constraints | None, held: Held) -> Pool | None:
    """What all nets share of constraints, with empty matrices up to the padded number; None where none is held."""
    if constraints is None or not held.drawn:
        return None
    given = constraints.rows
    rows = np.zeros((held.matrices, *given.shape[1:]), np.float32)
    rows[: len(given)] = given
    return Pool(rows, constraints.row.astype(np.int32), constraints.weight)
