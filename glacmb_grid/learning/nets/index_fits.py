"""The temperature index that networks start from, fitted on what each of them may see."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from glacmb_grid.learning.contract import Task
from glacmb_grid.learning.degree_day_fit import fit_splits
from glacmb_grid.learning.degree_days import SETTINGS, balance, forcing_of
from glacmb_grid.learning.nets.index import CHANGES, Forcing, IndexNet, forcing_arrays
from glacmb_grid.learning.nets.module import FeedForward
from glacmb_grid.learning.search import inner_masks
from glacmb_grid.learning.table import Bools, Floats, Table
from glacmb_grid.settings import Hybrid


class Base(NamedTuple):
    """An index as fitted: its parameters, (3,), and the balance of all rows by it, (row,), m w.e."""

    parameters: Floats
    balance: Floats


class IndexFits:
    """Fits of the index on the masks of a task: those of its folds and of their inner splits."""

    def __init__(self, settings: Hybrid, table: Table, task: Task) -> None:
        folds, index = task.own, settings.index
        self._forcing = forcing_of(task.samples, "hybrid")
        self._form = settings.form
        self._fixed = {n: float(getattr(index, n)) for n in SETTINGS}
        inner = [seen for fold in folds.first for seen, _ in inner_masks(folds, fold)]
        masks = {m.tobytes(): m for m in [*folds.fit, *inner]}
        found = fit_splits(table, self._forcing, np.array(list(masks.values())), index)
        self._found = dict(zip(masks, found, strict=True))
        self._known: dict[bytes, Base] = {}
        self.forcing: Forcing = forcing_arrays(self._forcing)

    def of(self, seen: Bools) -> Base:
        """The index fitted on the observations of a mask."""
        key = seen.tobytes()
        if key not in self._known:
            value: npt.NDArray[np.float64] = self._found[key]
            self._known[key] = Base(value, balance(self._forcing, value, self._fixed))
        return self._known[key]

    def layout(self, plain: FeedForward) -> IndexNet:
        """The network that nets are padded to, from that of plain ones."""
        outputs = len(CHANGES) if self._form == "multipliers" else 1
        widths = tuple(max(w, outputs) for w in plain.widths)
        fixed = tuple(self._fixed.values())
        return IndexNet(
            plain.predictors, widths, outputs, form=self._form, fixed=fixed, snowfall="snowfall" in self._forcing
        )
