"""What nets may be pre-trained on: rows with a balance each, simulated or observed elsewhere."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.own_table import samples_of
from glacmb_grid.learning.contract import Task
from glacmb_grid.learning.degree_day_climate import weather_of
from glacmb_grid.learning.degree_day_search import IndexSearch, fits_of
from glacmb_grid.learning.degree_days import forcing_of
from glacmb_grid.learning.nets.withheld import Labelled, Withheld
from glacmb_grid.learning.table import Bools, Floats, Rows, Table, rows_of, table_of
from glacmb_grid.settings import SampleTable, TemperatureIndex

_HELD = 5  # every so many glaciers (or years) are held back to stop on; of fewer none is


class Source(ABC):
    """Rows to pre-train on.

    Attributes
    ----------
    table : Table
        The rows, each with one annual balance; what is simulated has none yet.
    """

    table: Table

    @abstractmethod
    def usable(self, fit: Bools) -> Bools:
        """Rows that nets may learn from where these observations are fitted on, (row,)."""

    @abstractmethod
    def balances(self, block: int, fit: Bools) -> Floats:
        """Balance of every usable row where these observations of a block are fitted on, (row,), m w.e.

        `block` is its place among those that the task searches in.
        """

    def masks(self, fit: Bools, level: str) -> tuple[Bools, Bools]:
        """Rows to learn from, and those held back to stop on: of whole glaciers, or of whole years beside levels."""
        taken, rows = self.usable(fit), self.table.rows
        names, number = np.unique((rows.glacier if level == "none" else rows.year)[taken], return_inverse=True)
        stop = np.zeros(len(taken), bool)
        if len(names) >= _HELD:
            stop[taken] = number % _HELD == _HELD - 1
        return taken & ~stop, stop


class Simulated(Source):
    """The rows that a fold fits on, and glacier-years that nobody measured, by a temperature index of that fold.

    Parameters
    ----------
    task : Task
    settings : TemperatureIndex
    """

    def __init__(self, task: Task, settings: TemperatureIndex) -> None:
        self.samples, self.settings = table_of(task.samples), settings
        self.forcing = [forcing_of(task.samples)]
        rows = [self.samples.rows]
        self.withheld: Withheld | None = None
        if task.unmeasured is not None:
            self.forcing.append(forcing_of(task.unmeasured))
            rows.append(rows_of(task.unmeasured).in_order(rows[0].names))
            own, sample = Labelled.of_samples(task.samples, self.samples)
            self.withheld = Withheld(own, sample, Labelled.of(rows[1]))
        self.table = annual_table(_together(rows), np.zeros(sum(len(r.year) for r in rows)))
        self.parts = [
            (f, weather_of(f, r.glacier, r.year, settings.lapse_rate), r.glacier)
            for f, r in zip(self.forcing, rows, strict=True)
        ]
        self.search = IndexSearch(self.samples, self.forcing[0], settings, task.own, task.folds)
        self.search.prepare(fits_of(task.own))

    def usable(self, fit: Bools) -> Bools:
        """Rows of the fitted observations, and those beside them that are not withheld, (row,)."""
        beside = [] if self.withheld is None else [~self.withheld.rows(fit)]
        return np.concatenate([self.samples.used_rows(fit), *beside])

    def balances(self, block: int, fit: Bools) -> Floats:
        """What the temperature index of the block makes of the usable rows, 0 of others, (row,), m w.e."""
        index, usable, first, found = self.search.fitted(block, fit), self.usable(fit), 0, []
        for forcing, weather, glacier in self.parts:
            mine = usable[first : first + len(glacier)]
            first, out = first + len(glacier), np.zeros(len(glacier))
            part = {n: v[mine] for n, v in forcing.items()}
            out[mine] = index.balance(part, weather.take(mine), glacier[mine], self.settings)
            found.append(out)
        return np.concatenate(found)


class Observed(Source):
    """Annual balances of another table, of which folds withhold what they withhold of the samples."""

    def __init__(self, task: Task, settings: SampleTable) -> None:
        where = f"models: ff_fcnn: transfer: {settings.path}"
        samples, own = samples_of(settings), table_of(task.samples)
        other = table_of(samples)
        if lacking := sorted({*own.rows.names.tolist()} - {*other.rows.names.tolist()}):
            raise InputError(
                where,
                expected="the predictors of the samples",
                found=f"no {listing(lacking)}",
                remedy="give the table the same columns, or name fewer in `samples.predictors`",
            )
        place, sample = Labelled.of_samples(task.samples, own)
        beside, _ = Labelled.of_samples(samples, other)
        self.withheld = Withheld(place, sample, beside, float(task.folds.buffer_km.max(initial=0.0)))
        self.table = annual_table(
            replace(other.rows.in_order(own.rows.names), meanings=own.rows.meanings), other.target
        )

    def usable(self, fit: Bools) -> Bools:
        """Rows that share nothing with what is withheld, (row,)."""
        return ~self.withheld.rows(fit)

    def balances(self, block: int, fit: Bools) -> Floats:
        """The observed balances, (row,), m w.e."""
        del block, fit
        return self.table.target


def annual_table(rows: Rows, target: Floats) -> Table:
    """A table in which every row has one annual balance."""
    count = len(rows.year)
    one, each = np.ones(count), np.arange(count)
    operator = scipy.sparse.csr_matrix(scipy.sparse.identity(count))
    return Table(rows, operator, one > 0, each, target, one, rows.glacier)


def _together(parts: Sequence[Rows]) -> Rows:
    """Rows of several tables with the same predictors."""
    names = ("values", "glacier", "year", "position")
    joined: dict[str, Any] = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names}
    return replace(parts[0], **joined)
