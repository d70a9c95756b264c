"""Linear model with an L2 penalty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.search import Hyper
from glacmb_grid.learning.table import Floats
from glacmb_grid.learning.tabular import DesignModel, Training, grid
from glacmb_grid.settings import Learner, Ridge


class Factors(NamedTuple):
    """One factorisation for all penalties."""

    along: Floats  # (feature,) mean of the features over the years
    level: float  # of the target, m w.e. a year
    values: Floats  # eigenvalues
    into: Floats  # (eigenvalue,) target in the eigenvectors
    back: Floats  # (feature, eigenvalue) coefficients of the eigenvectors


@dataclass(frozen=True)
class RidgeRegression(DesignModel):
    """``min |A (X c + k) - y|^2 + penalty |c|^2``, A the observation operator."""

    settings_type: ClassVar[type[Learner]] = Ridge
    annual_only: ClassVar[bool] = False

    def hypers(self) -> list[Hyper]:
        """One for each penalty."""
        return grid(penalty=self.settings.penalties)

    def prepare(self, training: Training) -> Factors:
        """Take the constant out, and factorise the smaller of the two products of the features."""
        years = training.years
        share = years / (years @ years)
        along, level = share @ training.design, float(share @ training.target)
        free, aim = training.design - years[:, None] * along, training.target - years * level
        if free.shape[1] <= free.shape[0]:
            values, vectors = np.linalg.eigh(free.T @ free)
            return Factors(along, level, values, vectors.T @ (free.T @ aim), vectors)
        values, vectors = np.linalg.eigh(free @ free.T)
        return Factors(along, level, values, vectors.T @ aim, free.T @ vectors)

    def learn(self, prepared: Factors, hyper: Hyper) -> Arrays:
        """`coefficient` (feature,) and `constant`, m w.e."""
        coefficient = prepared.back @ (prepared.into / (np.maximum(prepared.values, 0) + hyper["penalty"]))
        constant = prepared.level - prepared.along @ coefficient
        return {"coefficient": np.asarray(coefficient), "constant": np.asarray(constant)}

    def evaluate(self, learnt: Arrays, design: Floats) -> Floats:
        """Linear, (row,), m w.e."""
        return np.asarray(design @ learnt["coefficient"] + learnt["constant"])
