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
from glacmb_grid.learning.degree_day_fit import fit_splits
from glacmb_grid.learning.degree_days import SETTINGS, balance, forcing_of
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
    def balances(self, fit: Bools) -> Floats:
        """Balance of every row where these observations are fitted on, (row,), m w.e."""

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
    fits : sequence of bool array, (sample,)
        Observations that a temperature index is to be fitted to.
    """

    def __init__(self, task: Task, settings: TemperatureIndex, fits: Sequence[Bools]) -> None:
        self.samples = table_of(task.samples)
        self.fixed = {n: float(getattr(settings, n)) for n in SETTINGS}
        self.forcing = [forcing_of(task.samples)]
        rows = [self.samples.rows]
        self.withheld: Withheld | None = None
        if task.unmeasured is not None:
            self.forcing.append(forcing_of(task.unmeasured))
            rows.append(rows_of(task.unmeasured).in_order(rows[0].names))
            own, sample = Labelled.of_samples(task.samples, self.samples)
            self.withheld = Withheld(own, sample, Labelled.of(rows[1]))
        self.table = annual_table(_together(rows), np.zeros(sum(len(r.year) for r in rows)))
        masks = {m.tobytes(): m for m in fits}
        found = fit_splits(self.samples, self.forcing[0], np.array(list(masks.values())), settings)
        self.value = dict(zip(masks, found, strict=True))

    def usable(self, fit: Bools) -> Bools:
        """Rows of the fitted observations, and those beside them that are not withheld, (row,)."""
        beside = [] if self.withheld is None else [~self.withheld.rows(fit)]
        return np.concatenate([self.samples.used_rows(fit), *beside])

    def balances(self, fit: Bools) -> Floats:
        """What the temperature index makes of all rows, (row,), m w.e."""
        return np.concatenate([balance(f, self.value[fit.tobytes()], self.fixed) for f in self.forcing])


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

    def balances(self, fit: Bools) -> Floats:
        """The observed balances, (row,), m w.e."""
        del fit
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
