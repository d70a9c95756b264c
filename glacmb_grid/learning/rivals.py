"""Models that every other has to beat, wherever a scheme leaves them what they need."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.schemes import WITHHELD
from glacmb_grid.learning.table import Table

RIVALS = ("year_mean", "year_level")
"""Judged beside whatever a configuration asks for; nothing is called better that does not beat them."""


@dataclass(frozen=True)
class RestsOn:
    """What a rival needs of the observations that it is to predict.

    Attributes
    ----------
    glacier, year : bool, optional
        True: observations of the same glacier, of the same year, are fitted; False: none is; None: either.
    """

    glacier: bool | None = None
    year: bool | None = None

    def in_scheme(self, scheme: str) -> bool:
        """Whether a scheme leaves it that."""
        withheld = WITHHELD[scheme]
        return self.glacier in (None, "glacier" not in withheld) and self.year in (None, "year" not in withheld)

    def in_folds(self, table: Table, folds: Folds) -> bool:
        """Whether folds leave it that for most of the scored observations; a year that is known is one of its own."""
        glacier, year = (v[table.row] for v in (table.rows.glacier, table.rows.year))
        found = [np.zeros(0, bool)]
        for fit, score in zip(folds.fit, folds.score, strict=True):
            of_year = fit & table.annual if self.year else fit
            known = np.ones(int(score.sum()), bool)
            for wanted, of, fitted in ((self.glacier, glacier, fit), (self.year, year, of_year)):
                known &= wanted is None or np.isin(of[score], of[fitted]) == wanted
            found.append(known)
        every = np.concatenate(found)
        return bool(len(every) and every.mean() > 0.5)
