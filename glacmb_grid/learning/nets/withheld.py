"""Rows beside the samples that a fit must not learn from, by the same rules as folds withhold observations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.folds.rows import BLANK, groups_of
from glacmb_grid.folds.space import nearest_km
from glacmb_grid.learning.table import Bools, Floats, Rows, Table, Texts
from glacmb_grid.sphere import unit_vectors

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows by what folds withhold.

    Attributes
    ----------
    labels : dict of str to str array, (row,)
        `unit` is the glacier-year.
    position : float64 array, (row, 2), degrees
    """

    labels: dict[str, Texts]
    position: Floats

    @classmethod
    def of(cls, rows: Rows, **more: Texts) -> Labelled:
        """Rows by their glacier and year, and by other labels that are known of them."""
        year = rows.year.astype(str)
        unit = np.char.add(np.char.add(rows.glacier, "\n"), year)
        return cls({"glacier": rows.glacier, "year": year, "unit": unit, **more}, rows.position)

    @classmethod
    def of_samples(cls, samples: xr.Dataset, table: Table) -> tuple[Labelled, Integers]:
        """The rows of all observations, and which observation each belongs to."""
        entries = table.operator.tocoo()
        more = {"group": groups_of(samples)} if "glacier" in samples.coords else {}
        more |= {"region": samples["region"].values.astype(str)} if "region" in samples.coords else {}
        found = cls.of(table.rows.take(entries.col), **{n: v[entries.row] for n, v in more.items()})
        return found, np.asarray(entries.row, np.int64)


@dataclass(frozen=True, eq=False)
class Withheld:
    """What the samples withhold from rows beside them.

    Attributes
    ----------
    own : Labelled
        Rows of the observations.
    sample : int array, (row of own,)
        The observation that each of them belongs to.
    beside : Labelled
        Rows beside the samples.
    buffer_km : float
        Distance to a withheld observation within which no row may be learnt from.
    """

    own: Labelled
    sample: Integers
    beside: Labelled
    buffer_km: float = 0.0

    @cached_property
    def _codes(self) -> dict[str, tuple[Integers, Integers]]:
        """Numbers of the labels that both know, of own rows and of those beside; -1 for what own rows do not have."""
        out = {}
        for name in self.own.labels.keys() & self.beside.labels.keys():
            own, names = pd.factorize(self.own.labels[name])
            known = pd.Index(names).get_indexer(pd.Index(self.beside.labels[name]))
            out[name] = own, np.where(np.isin(self.beside.labels[name], BLANK), -1, known)
        return out

    @cached_property
    def _most(self) -> int:
        return max(int(own.max(initial=0)) + 1 for own, _ in self._codes.values())

    def rows(self, fit: Bools) -> Bools:
        """Rows beside the samples that must not be learnt from where these observations are fitted on, (row,).

        A glacier, group, region or year is withheld where observations of it are, and none is fitted on; so is every
        glacier-year of a withheld observation.
        """
        fitted = fit[self.sample]
        out = np.zeros(len(self.beside.position), bool)
        for name, (own, beside) in self._codes.items():
            held, kept = (np.bincount(own[m], minlength=self._most).astype(bool) for m in (~fitted, fitted))
            lost = held if name == "unit" else held & ~kept
            out |= np.append(lost, False)[beside]
        places = self.beside.position, self.own.position[~fitted]
        if self.buffer_km > 0 and all(np.isfinite(p).all() for p in places):
            of, to = (unit_vectors(*p.T) for p in places)
            out |= nearest_km(of, to) <= self.buffer_km
        return out
