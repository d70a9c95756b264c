"""Pre-training: nets learn the balances of a source, with the features of their fold, before its observations.

There is one scale for everything: rows of a source become features by what the fold has learnt of its own rows, and
their balances are standardised by the mean and the spread of its own observations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Task
from glacmb_grid.learning.nets.held import Held
from glacmb_grid.learning.nets.problem import Floats, Nets, Shape, initial
from glacmb_grid.learning.nets.sources import Observed, Simulated, Source
from glacmb_grid.learning.nets.train import train
from glacmb_grid.learning.nets.training_sets import Net, TrainingSet, problem_of, training_set, whole_shape
from glacmb_grid.learning.search import inner_masks
from glacmb_grid.learning.table import Bools
from glacmb_grid.progress import counting
from glacmb_grid.settings import FeedForward, Recipe


@dataclass(frozen=True)
class Pretraining:
    """Where nets start from.

    Attributes
    ----------
    task : Task
    settings : FeedForward
    recipes : sequence of Recipe
    levels : sequence of str
        What glaciers add in any of the candidates, see `levels_of`.
    """

    task: Task
    settings: FeedForward
    recipes: Sequence[Recipe]
    levels: Sequence[str]

    @cached_property
    def sources(self) -> dict[str, Source]:
        """Sources by their names in the settings."""
        found: dict[str, Source] = {}
        if self.settings.simulates:
            found["simulation"] = Simulated(self.task, self.settings.simulation)
        if self.settings.transfer is not None:
            found["transfer"] = Observed(self.task, self.settings.transfer)
        return found

    def start(self, nets: Sequence[Net], many: Nets, shape: Shape, folder: Path | None, name: str) -> Floats | None:
        """Parameters that nets begin with, (net, parameter): learnt from their source, else drawn; None: all drawn.

        They are drawn, too, where a fold withholds all rows of a source.
        `folder` and `name` are those of the checkpoint of the nets.
        """
        named = np.array([n.hyper.get("pretrain", "none") for n in nets])
        if (named == "none").all():
            return None
        out = initial(many, shape.layout)
        for kind in np.unique(named[named != "none"]).tolist():
            source, whole = self.sources[kind], self.shape(kind)
            sets: dict[Any, TrainingSet | None] = {}
            found = {i: self._first(source, nets[i], sets) for i in np.flatnonzero(named == kind).tolist()}
            firsts = {i: net for i, net in found.items() if net is not None}
            if not firsts:
                continue
            mine, first = list(firsts), problem_of(source.table, None, list(firsts.values()), whole)
            how: dict[str, Any] = {"patience": self.settings.patience, "shape": whole}
            how["checkpoint"] = None if folder is None else folder / f"{kind}-{name}"
            with counting("net pre-trained", len(mine)) as count:
                trained = train(*first, **how, progress=lambda finished, epochs: count.reach(finished))
            out[mine] = trained.parameters
        return out

    def _first(self, source: Source, net: Net, sets: dict[Any, TrainingSet | None]) -> Net | None:
        """The net that learns from a source, None where all of it is withheld.

        Nets of one split and one kind of features share a training set.
        """
        assert net.seen is not None
        level, seen = net.hyper["level"], net.seen.tobytes()
        key = id(net.on.features), level, net.block, seen, net.on.centre, net.on.scale
        if key not in sets:
            sets[key] = _training_set(source, net)
        on, hyper = sets[key], {**net.hyper, "weighting": "none", "frozen": 0, "geodetic_weight": 0.0}
        return None if on is None else Net(on, hyper, net.seed, self.settings.epochs)

    def shape(self, name: str) -> Shape:
        """One shape for all that is pre-trained on a source in the whole scheme: nets are bit-identical within it."""
        if name not in self._shapes:
            source = self.sources[name]
            masks = [source.masks(m, level) for m in _fits(self.task.folds) for level in self.levels]
            fit, stop = zip(*masks, strict=True)
            trended = "year" in self.levels
            count = self.settings.members * len(masks)
            whole = whole_shape(source.table, count, fit, stop, self.recipes, self.settings, Held(), trended=trended)
            self._shapes[name] = whole._replace(frozen=False)
        return self._shapes[name]

    @cached_property
    def _shapes(self) -> dict[str, Shape]:
        return {}

    def record(self) -> xr.Dataset:
        """Observed rows of other tables, and which of them each fold may learn from, (fold, pretraining_row)."""
        if self.settings.transfer is None:
            return xr.Dataset()
        source = self.sources["transfer"]
        rows, usable = source.table.rows, np.array([source.usable(m) for m in self.task.own.fit])
        return xr.Dataset(
            {"pretraining_seen": (("fold", "pretraining_row"), usable)},
            coords={
                "pretraining_glacier": ("pretraining_row", rows.glacier.astype(object)),
                "pretraining_year": ("pretraining_row", rows.year),
            },
        )


def _training_set(source: Source, net: Net) -> TrainingSet | None:
    """What a net learns of a source, on the scale of what it learns later, its trend too; None if all is withheld."""
    assert net.seen is not None
    level, later = net.hyper["level"], net.on
    fit, stop = source.masks(net.seen, level)
    if not fit.any():
        return None
    table = replace(source.table, target=source.balances(net.block, net.seen))
    plain = {"level": level, "weighting": "none"}
    found = training_set(table, later.features, plain, fit, stop, rates=np.zeros(0, bool))
    target = (found.centre + found.scale * found.target - later.centre) / later.scale
    levels = replace(found.levels, span=later.levels.span)
    return replace(found, target=target, centre=later.centre, scale=later.scale, levels=levels)


def _fits(folds: Folds) -> list[Bools]:
    """What is fitted on in these folds and their inner splits."""
    inner = [fit for f in folds.first for fit, _ in inner_masks(folds, f)]
    return list({m.tobytes(): m for m in [*folds.fit, *inner]}.values())
