"""Ensembles of networks: chosen on inner splits, trained in every fold.

Every configuration is tried on the inner splits of every block of folds, then an ensemble of the chosen one is trained
in every fold. Blocks and folds have their numbers in the whole scheme, and nets the shape that serves the whole scheme,
also where only a part of it is fitted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.folds.constraints import Allowed, allowed_constraints
from glacmb_grid.learning.contract import Task
from glacmb_grid.learning.degree_days import FURTHER, PARAMETERS
from glacmb_grid.learning.features import Features
from glacmb_grid.learning.level import among, kinds_of_level, shares_years
from glacmb_grid.learning.nets.configurations import chosen_with_epochs, configurations, parameter_count
from glacmb_grid.learning.nets.held import Held, held_for
from glacmb_grid.learning.nets.index_fits import IndexFits
from glacmb_grid.learning.nets.predict import balance, forward
from glacmb_grid.learning.nets.pretraining import Pretraining
from glacmb_grid.learning.nets.problem import Shape
from glacmb_grid.learning.nets.sums import Sums, sums_of
from glacmb_grid.learning.nets.train import Trained, train
from glacmb_grid.learning.nets.training_sets import (
    Net,
    TrainingSet,
    drawn_groups,
    problem_of,
    training_set,
    whole_shape,
)
from glacmb_grid.learning.ragged import pack
from glacmb_grid.learning.recipes import most_features, recipes_of, without_limits
from glacmb_grid.learning.search import (
    Candidate,
    InnerMean,
    Tuned,
    inner_masks,
    search_record,
)
from glacmb_grid.learning.table import Bools, Floats, Integers, Table, table_of
from glacmb_grid.learning.tabular import features_of
from glacmb_grid.progress import counting
from glacmb_grid.settings import FeedForward, Hybrid, Network, Recipe

_MATRIX_BYTES = 400e6  # of predictor matrices in memory at a time
Masks = tuple[Bools, Bools]  # fitted, scored or stopped on


def fit_ensembles(settings: Network, task: Task) -> xr.Dataset:
    """Choose a configuration in every block and train an ensemble in every fold: see the model's `fit`."""
    table, shape = table_of(task.samples), (len(task.own), settings.members)
    sums, allowed = _constraints(settings, task)
    recipes = recipes_of(table, settings)
    if sums is not None or "transfer" in getattr(settings, "pretrain", ()):
        recipes = without_limits(recipes)  # other glaciers are learnt from, too, and may be far from those of the table
    years = shares_years(table) and not isinstance(settings, Hybrid)  # the index simulates every row
    kinds = among(kinds_of_level(task.folds, task.samples, years=years), settings.levels)
    candidates = configurations(settings, len(recipes), kinds, task.seed, held=sums is not None)
    if task.checkpoints is not None:
        task.checkpoints.mkdir(parents=True, exist_ok=True)
    levels = tuple(dict.fromkeys(str(c.hyper["level"]) for c in candidates))
    pretraining = Pretraining(task, settings, recipes, levels) if isinstance(settings, FeedForward) else None
    plan = Plan(table, task, settings, recipes, candidates, pretraining, sums, allowed)
    tuned, epochs, inner_loss = _search(plan)
    trained, sets = _ensembles(plan, tuned.choice, epochs)
    record = search_record(recipes, candidates, tuned, [s.features for s in sets], task.own)
    outputs = trained[0].layout.outputs if plan.index is not None else 1
    chosen = [candidates[c].hyper for c in tuned.choice]
    sizes = [parameter_count(len(s.features.kept), h, outputs) for s, h in zip(sets, chosen, strict=True)]
    if plan.index is not None:
        fitted = [s.base.fitted for s in sets if s.base is not None]
        record = record.assign(index=(("fold", "coefficient"), np.array([f.value for f in fitted])))
        record = record.assign_coords(coefficient=[*PARAMETERS, *FURTHER])
    longest = max(t.loss.shape[1] for t in trained)
    loss = [np.pad(t.loss, ((0, 0), (0, longest - t.loss.shape[1]), (0, 0)), constant_values=np.nan) for t in trained]
    if task.constraints is not None:
        record = record.assign(_held(plan, tuned.choice))
    return (
        record.merge(pack([s.state() for s in sets]))
        .merge(xr.Dataset() if pretraining is None else pretraining.record())
        .assign(
            parameters=(
                ("fold", "member", "parameter"),
                np.concatenate([t.parameters for t in trained]).reshape(*shape, -1),
            ),
            loss=(("fold", "member", "epoch", "part"), np.concatenate(loss).reshape(*shape, -1, 2)),
            inner_loss=(("fold", "inner", "inner_epoch", "part"), inner_loss),
            best_epoch=(("fold", "member"), np.concatenate([t.best_epoch for t in trained]).reshape(shape)),
            target_centre=("fold", [s.centre for s in sets]),
            target_scale=("fold", [s.scale for s in sets]),
            parameter_count=("fold", sizes),
        )
        .assign_coords(part=["fit", "stop"])
        .assign_attrs({**record.attrs, "layout": json.dumps(trained[0].layout.described())})
    )


def _constraints(settings: Network, task: Task) -> tuple[Sums | None, Allowed]:
    """The constraints to learn from, if there are any, and which of them each fold and inner split may look at."""
    if task.constraints is None or not isinstance(settings, FeedForward) or not any(settings.geodetic_weight):
        nothing = np.zeros((len(task.folds), task.folds.inner, 0), bool)
        return None, Allowed(nothing[:, 0], nothing)
    return sums_of(task.constraints), allowed_constraints(task.folds, task.samples, task.constraints)


def _held(plan: Plan, choice: Integers) -> dict[str, Any]:
    """The constraints that the nets of every fold are held to, (fold, constraint)."""
    assert plan.task.constraints is not None
    held = np.zeros((len(choice), plan.task.constraints.sizes["constraint"]), bool)
    for mine, fold, chosen in zip(held, plan.own, choice, strict=True):
        if plan.candidates[chosen].hyper.get("geodetic_weight"):
            mine[:] = plan.allowed.fit[fold]
    return {"rates_fitted": (("fold", "constraint"), held), "constraint": plan.task.constraints["constraint"].values}


@dataclass(frozen=True)
class Plan:
    """The data and settings of a fit."""

    table: Table
    task: Task
    settings: Network
    recipes: Sequence[Recipe]
    candidates: Sequence[Candidate]
    pretraining: Pretraining | None
    sums: Sums | None
    allowed: Allowed

    @cached_property
    def index(self) -> IndexFits | None:
        """Fits of the temperature index that nets change, if they do."""
        return IndexFits(self.settings, self.table, self.task) if isinstance(self.settings, Hybrid) else None

    def training_set(
        self,
        features: Features,
        hyper: dict[str, Any],
        block: int,
        masks: Masks,
        seen: Bools | None = None,
        *,
        asked: Bools | None = None,
        **how: Any,
    ) -> TrainingSet:
        """A training set, with the index of a block fitted on `seen`, by default all that is fitted on."""
        base = None
        if self.index is not None:
            wanted = masks[0] | masks[1] if asked is None else masks[0] | masks[1] | asked
            base = self.index.of(block, masks[0] if seen is None else seen, wanted)
        return training_set(self.table, features, hyper, *masks, base=base, asked=asked, **how)

    @cached_property
    def own(self) -> Integers:
        """Numbers of the folds to fit."""
        return np.arange(len(self.task.folds))[slice(None) if self.task.part is None else list(self.task.part)]

    @cached_property
    def blocks(self) -> tuple[Integers, Integers]:
        """Numbers of the blocks to search in, and for every fold to fit the place of its block among them."""
        folds = self.task.folds
        return np.unique(folds.by_fold(np.arange(len(folds.first)))[self.own], return_inverse=True)

    @cached_property
    def splits(self) -> list[tuple[int, int, Masks]]:
        """Block, number and masks of all inner splits of the scheme."""
        folds = self.task.folds
        return [(b, i, m) for b, f in enumerate(folds.first) for i, m in enumerate(inner_masks(folds, f))]

    def own_splits(self) -> Iterator[tuple[int, int, int, Masks, Bools, Bools]]:
        """Of inner splits to search on: block, its place among those to search in, number, masks, what to select on.

        Last the constraints that nets may be held to, (constraint,).
        """
        folds = self.task.folds
        place = {int(b): k for k, b in enumerate(self.blocks[0])}
        for b, i, masks in self.splits:
            if b in place:
                first = folds.first[b]
                yield b, place[b], i, masks, folds.selected(first, masks[0]), self.held_in(first, masks)

    def held_in(self, fold: int, masks: Masks) -> Bools:
        """The constraints that an inner split with these masks may look at, (constraint,)."""
        folds = self.task.folds
        pairs = zip(folds.inner_fit[fold], folds.inner_score[fold], strict=True)
        same = [all(np.array_equal(a, b) for a, b in zip(masks, pair, strict=True)) for pair in pairs]
        return np.asarray(self.allowed.inner[fold, same.index(True)])

    def chunks(self, items: Sequence[Any], recipes: int = 1) -> Iterator[Sequence[Any]]:
        """Chunks of splits or folds whose matrices, `recipes` for each, fit into memory."""
        step = self.step(recipes)
        for start in range(0, len(items), step):
            yield items[start : start + step]

    def step(self, recipes: int) -> int:
        """How many splits or folds make a chunk."""
        size = 4 * len(self.table.rows.year) * 3 * len(self.table.rows.names) * recipes
        if self.sums is not None:
            size += 4 * len(self.sums.rows.year) * most_features(self.table.rows, self.recipes) * recipes
        return max(1, int(_MATRIX_BYTES / max(size, 1)))

    def shape(self, members: int, masks: Sequence[Masks], splits: int, recipes: int = 1) -> Shape:
        """The shape for so many nets on each of these masks of the whole scheme.

        Trained are nets on so many splits or folds in chunks, with `recipes` matrices for each.
        """
        fit, stop = zip(*masks, strict=True)
        trended = any(c.hyper["level"] == "year" for c in self.candidates)
        held = Held()
        if self.sums is not None:
            held = held_for(self.sums.row.shape, min(self.step(recipes), splits) * recipes)
        count = members * len(masks)
        return whole_shape(self.table, count, fit, stop, self.recipes, self.settings, held, self.index, trended=trended)

    def train(self, nets: Sequence[Net], shape: Shape, name: str) -> tuple[Trained, Callable[[], list[Floats]]]:
        """Train nets: the result, and a function that gives the balance of all rows by each net, (row,), m w.e."""
        forcing = None if self.index is None else self.index.forcing
        problem, many = problem_of(self.table, self.sums, nets, shape, forcing)
        checkpoint = None if self.task.checkpoints is None else self.task.checkpoints / name
        how: dict[str, Any] = {"patience": self.settings.patience, "shape": shape, "checkpoint": checkpoint}
        if self.pretraining is not None:
            how["start"] = self.pretraining.start(nets, many, shape, self.task.checkpoints, name)
        with counting("net", len(nets)) as count:
            done = train(problem, many, **how, progress=lambda finished, epochs: count.reach(finished))

        def predicted() -> list[Floats]:
            physics = (problem.forcing, problem.local, many.index, many.base)
            out = forward(done.layout, done.parameters, many.columns, many.widths, problem.rows, many.matrix, *physics)
            glacier = self.table.rows.glacier
            return [
                balance(v, n.on.centre, n.on.scale, n.on.levels, glacier) for n, v in zip(nets, out[:, 0], strict=True)
            ]

        return done, predicted

    def seed_of(self, *place: int) -> int:
        """A seed from the run's seed and the place of a net."""
        return int(np.random.SeedSequence([self.task.seed, *place]).generate_state(1)[0])


def _search(plan: Plan) -> tuple[Tuned, Integers, npt.NDArray[np.float32]]:
    """Try every configuration on the inner splits: what each block chose, for how many epochs, and the losses."""
    table, settings, candidates, (blocks, block) = plan.table, plan.settings, plan.candidates, plan.blocks
    recipes = len({(c.recipe, c.hyper["level"] == "year") for c in candidates})  # each has a matrix of its own
    shape = plan.shape(len(candidates), [m for *_, m in plan.splits], len(plan.splits), recipes)
    inner = InnerMean(len(blocks), len(candidates), len(table.target))
    best = np.zeros((len(blocks), len(candidates), plan.task.folds.inner), np.int64)
    curves = np.full((*best.shape, settings.epochs, 2), np.nan, np.float32)
    scale, count = np.zeros((2, *best.shape))  # of the target, and the number of scored observations
    for chunk in plan.chunks(list(plan.own_splits()), recipes):
        nets, jobs = [], []
        for b, k, i, (fit, score), select, rates in chunk:
            features: dict[int, Any] = {}
            sets: dict[tuple[Any, ...], TrainingSet] = {}
            for n, c in enumerate(candidates):
                kind = (c.recipe, c.hyper["level"], c.hyper["weighting"])
                if c.recipe not in features:
                    features[c.recipe] = features_of(table, select, plan.recipes[c.recipe], plan.task.seed)
                if kind not in sets:
                    sets[kind] = plan.training_set(features[c.recipe], c.hyper, k, (fit, score), rates=rates)
                nets.append(Net(sets[kind], c.hyper, plan.seed_of(b, i, n), settings.epochs, fit, k))
                jobs.append((k, i, n, score))
        trained, predicted = plan.train(nets, shape, f"search-{chunk[0][0]}-{chunk[0][2]}")
        for (k, i, n, score), values, epoch, loss in zip(
            jobs, predicted(), trained.best_epoch, trained.loss, strict=True
        ):
            inner.add(k, n, score, table.observed(values, score))
            best[k, n, i], curves[k, n, i] = epoch + 1, loss
        for (k, i, n, score), net in zip(jobs, nets, strict=True):
            scale[k, n, i], count[k, n, i] = net.on.scale, score.sum()
    choice, error, _ = inner.choose(table.target)
    at = np.arange(len(blocks))
    epochs = np.array([max(int(np.median(row[row > 0])), 1) for row in best[at, choice]])
    if plan.index is not None:
        choice, error, epochs = chosen_with_epochs(curves[..., 1].astype(np.float64), scale, count)
    tuned = Tuned(choice[block], error[block], _inner_ensembles(plan, choice, epochs)[block])
    return tuned, epochs[block], curves[at, choice][block]


def _inner_ensembles(plan: Plan, choice: Integers, epochs: Integers) -> Floats:
    """Predictions of inner splits by ensembles of the chosen configuration, (block, sample), m w.e., else NaN.

    They are trained for the median number of epochs of the block's splits: unlike the nets of the search, they do not
    stop where the loss on the scored rows of their own split is lowest.
    """
    table, members, nothing = plan.table, plan.settings.members, np.zeros(len(plan.table.target), bool)
    shape = plan.shape(members, [(fit, nothing) for *_, (fit, _) in plan.splits], len(plan.splits))
    inner = InnerMean(len(choice), 1, len(table.target))
    for chunk in plan.chunks(list(plan.own_splits())):
        nets = []
        for b, k, i, (fit, score), select, rates in chunk:
            recipe, hyper = plan.candidates[int(choice[k])].recipe, plan.candidates[int(choice[k])].hyper
            features = features_of(table, select, plan.recipes[recipe], plan.task.seed)
            one = plan.training_set(features, hyper, k, (fit, nothing), asked=score, rates=rates)
            nets += [Net(one, hyper, plan.seed_of(3, b, i, m), int(epochs[k]), fit, k) for m in range(members)]
        _, predicted = plan.train(nets, shape, f"inner-{chunk[0][0]}-{chunk[0][2]}")
        values = np.reshape(predicted(), (len(chunk), members, -1)).mean(axis=1)
        for (_, k, _, (_, score), *_), mean in zip(chunk, values, strict=True):
            inner.add(k, 0, score, table.observed(mean, score))
    return inner.mean[:, 0]


def _ensembles(plan: Plan, choice: Integers, epochs: Integers) -> tuple[list[Trained], list[TrainingSet]]:
    """Train the members of every fold: all nets in order of folds, and the training set of each first member."""
    folds = plan.task.folds
    masks = [m for fold in range(len(folds)) for m in _member_masks(plan, fold)]
    shape = plan.shape(1, masks, len(folds))
    trained, firsts = [], []
    every = zip(plan.own.tolist(), plan.blocks[1].tolist(), choice.tolist(), epochs.tolist(), strict=True)
    for chunk in plan.chunks(list(every)):
        members = [_members(plan, f, block, plan.candidates[chosen], limit) for f, block, chosen, limit in chunk]
        firsts += [nets[0].on for nets in members]
        trained.append(plan.train([net for nets in members for net in nets], shape, f"ensembles-{chunk[0][0]}")[0])
    return trained, firsts


def _member_masks(plan: Plan, fold: int) -> list[Masks]:
    """What each member of a fold fits and stops on."""
    folds, members = plan.task.folds, plan.settings.members
    fit, stop = folds.fit[fold], folds.stop[fold]
    if stop.any():
        return [(fit, stop)] * members
    if plan.settings.finish == "early_stopping":
        splits = list(inner_masks(folds, fold))
        return [splits[m % len(splits)] for m in range(members)]
    return [(fit, stop)] * members


def _members(plan: Plan, fold: int, block: int, candidate: Candidate, epochs: int) -> list[Net]:
    """The nets of one fold: the first trains on all its rows, the others on groups drawn with replacement."""
    table, settings, hyper = plan.table, plan.settings, candidate.hyper
    fit, inner = plan.task.folds.fit[fold], not plan.task.folds.stop[fold].any()
    features = features_of(table, plan.task.folds.select[fold], plan.recipes[candidate.recipe], plan.task.seed)
    nets: list[Net] = []
    for member, (seen, stop) in enumerate(_member_masks(plan, fold)):
        drawn = drawn_groups(table, fit, settings, plan.seed_of(2, fold, member)) if member else None
        rates = plan.held_in(fold, (seen, stop)) if inner and stop.any() else plan.allowed.fit[fold]
        one = plan.training_set(features, hyper, block, (fit, stop), seen, drawn=drawn, rates=rates)
        if stop.any() and (one.fit * seen).sum() > 0:
            one = replace(one, fit=one.fit * seen / (one.fit * seen).sum())
        limit = settings.epochs if stop.any() else epochs
        nets.append(Net(one, hyper, plan.seed_of(1, fold, member), limit, fit, block))
    return nets
