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
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.learning.contract import Task
from glacmb_grid.learning.level import kinds_of_level, shares_years
from glacmb_grid.learning.nets.predict import balance, forward
from glacmb_grid.learning.nets.pretraining import Pretraining
from glacmb_grid.learning.nets.problem import Shape
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
from glacmb_grid.learning.recipes import recipes_of
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
from glacmb_grid.settings import FeedForward, Recipe

_MATRIX_BYTES = 400e6  # of predictor matrices in memory at a time
Masks = tuple[Bools, Bools]  # fitted, scored or stopped on


def fit_ensembles(settings: FeedForward, task: Task) -> xr.Dataset:
    """Choose a configuration in every block and train an ensemble in every fold: see the model's `fit`."""
    table, shape = table_of(task.samples), (len(task.own), settings.members)
    recipes = recipes_of(table, settings)
    kinds = kinds_of_level(task.folds, task.samples, years=shares_years(table))
    candidates = configurations(settings, len(recipes), kinds, task.seed)
    if task.checkpoints is not None:
        task.checkpoints.mkdir(parents=True, exist_ok=True)
    pretraining = Pretraining(task, settings, recipes, tuple(dict.fromkeys(str(c.hyper["level"]) for c in candidates)))
    plan = Plan(table, task, settings, recipes, candidates, pretraining)
    tuned, epochs, inner_loss = _search(plan)
    trained, sets = _ensembles(plan, tuned.choice, epochs)
    record = search_record(recipes, candidates, tuned, [s.features for s in sets], task.own)
    sizes = [[len(s.features.kept), *candidates[c].hyper["widths"], 1] for s, c in zip(sets, tuned.choice, strict=True)]
    longest = max(t.loss.shape[1] for t in trained)
    loss = [np.pad(t.loss, ((0, 0), (0, longest - t.loss.shape[1]), (0, 0)), constant_values=np.nan) for t in trained]
    layout = {n: getattr(trained[0].layout, n) for n in ("predictors", "widths", "outputs")}
    return (
        record.merge(pack([{**s.features.state(), **s.levels.state()} for s in sets]))
        .merge(pretraining.record())
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
            parameter_count=("fold", [sum(a * b + b for a, b in pairwise(s)) for s in sizes]),
        )
        .assign_coords(part=["fit", "stop"])
        .assign_attrs({**record.attrs, "layout": json.dumps(layout)})
    )


def configurations(settings: FeedForward, recipes: int, levels: Sequence[str], seed: int) -> list[Candidate]:
    """The configurations to try: all combinations, or as many of them as the settings allow, drawn at random."""
    names = ("widths", "learning_rate", "input_noise", "l1", "weighting", "heteroscedastic")
    others = product(beginnings(settings), range(recipes), levels, *(getattr(settings, n) for n in names))
    every: list[tuple[Any, ...]] = [c for c in others if c[0].get("frozen", 0) <= len(c[3])]
    if len(every) > settings.configurations:
        drawn = np.random.default_rng(seed).choice(len(every), settings.configurations, replace=False)
        every = [every[i] for i in np.sort(drawn)]
    return [
        Candidate(recipe, {"level": level, "widths": list(widths), **dict(zip(names[1:], rest, strict=True)), **first})
        for first, recipe, level, widths, *rest in every
    ]


def beginnings(settings: FeedForward) -> list[dict[str, Any]]:
    """What nets may start from; nothing is said of it where there is no pre-training."""
    if settings.pretrain == ["none"]:
        return [{}]
    return [{"pretrain": p, "frozen": f} for p in settings.pretrain for f in settings.frozen if p != "none" or not f]


@dataclass(frozen=True)
class Plan:
    """The data and settings of a fit."""

    table: Table
    task: Task
    settings: FeedForward
    recipes: Sequence[Recipe]
    candidates: Sequence[Candidate]
    pretraining: Pretraining

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

    def own_splits(self) -> Iterator[tuple[int, int, int, Masks, Bools]]:
        """Of inner splits to search on: block, its place among those to search in, number, masks, what to select on."""
        folds = self.task.folds
        place = {int(b): k for k, b in enumerate(self.blocks[0])}
        for b, i, masks in self.splits:
            if b in place:
                yield b, place[b], i, masks, folds.selected(folds.first[b], masks[0])

    def chunks(self, items: Sequence[Any], recipes: int = 1) -> Iterator[Sequence[Any]]:
        """Chunks of splits or folds whose matrices, `recipes` for each, fit into memory."""
        size = 4 * len(self.table.rows.year) * 3 * len(self.table.rows.names) * recipes
        step = max(1, int(_MATRIX_BYTES / max(size, 1)))
        for start in range(0, len(items), step):
            yield items[start : start + step]

    def shape(self, members: int, masks: Sequence[Masks]) -> Shape:
        """The shape for so many nets on each of these masks of the whole scheme."""
        fit, stop = zip(*masks, strict=True)
        trended = any(c.hyper["level"] == "year" for c in self.candidates)
        return whole_shape(self.table, members * len(masks), fit, stop, self.recipes, self.settings, trended=trended)

    def train(self, nets: Sequence[Net], shape: Shape, name: str) -> tuple[Trained, Callable[[], list[Floats]]]:
        """Train nets: the result, and a function that gives the balance of all rows by each net, (row,), m w.e."""
        problem, many = problem_of(self.table, nets, shape)
        checkpoint = None if self.task.checkpoints is None else self.task.checkpoints / name
        how: dict[str, Any] = {"patience": self.settings.patience, "shape": shape, "checkpoint": checkpoint}
        how["start"] = self.pretraining.start(nets, many, shape, self.task.checkpoints, name)
        with counting("net", len(nets)) as count:
            done = train(problem, many, **how, progress=lambda finished, epochs: count.reach(finished))

        def predicted() -> list[Floats]:
            out = forward(done.layout, done.parameters, many.columns, many.widths, problem.rows, many.matrix)
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
    shape = plan.shape(len(candidates), [m for *_, m in plan.splits])
    inner = InnerMean(len(blocks), len(candidates), len(table.target))
    best = np.zeros((len(blocks), len(candidates), plan.task.folds.inner), np.int64)
    curves = np.full((*best.shape, settings.epochs, 2), np.nan, np.float32)
    for chunk in plan.chunks(list(plan.own_splits()), len({c.recipe for c in candidates})):
        nets, jobs = [], []
        for b, k, i, (fit, score), select in chunk:
            features: dict[int, Any] = {}
            sets: dict[tuple[Any, ...], TrainingSet] = {}
            for n, c in enumerate(candidates):
                kind = (c.recipe, c.hyper["level"], c.hyper["weighting"])
                if c.recipe not in features:
                    features[c.recipe] = features_of(table, select, plan.recipes[c.recipe], plan.task.seed)
                if kind not in sets:
                    sets[kind] = training_set(table, features[c.recipe], c.hyper, fit, score)
                nets.append(Net(sets[kind], c.hyper, plan.seed_of(b, i, n), settings.epochs, fit))
                jobs.append((k, i, n, score))
        trained, predicted = plan.train(nets, shape, f"search-{chunk[0][0]}-{chunk[0][2]}")
        for (k, i, n, score), values, epoch, loss in zip(
            jobs, predicted(), trained.best_epoch, trained.loss, strict=True
        ):
            inner.add(k, n, score, table.observed(values, score))
            best[k, n, i], curves[k, n, i] = epoch + 1, loss
    choice, error, _ = inner.choose(table.target)
    at = np.arange(len(blocks))
    epochs = np.array([max(int(np.median(row[row > 0])), 1) for row in best[at, choice]])
    tuned = Tuned(choice[block], error[block], _inner_ensembles(plan, choice, epochs)[block])
    return tuned, epochs[block], curves[at, choice][block]


def _inner_ensembles(plan: Plan, choice: Integers, epochs: Integers) -> Floats:
    """Predictions of inner splits by ensembles of the chosen configuration, (block, sample), m w.e., else NaN.

    They are trained for the median number of epochs of the block's splits: unlike the nets of the search, they do not
    stop where the loss on the scored rows of their own split is lowest.
    """
    table, members, nothing = plan.table, plan.settings.members, np.zeros(len(plan.table.target), bool)
    shape = plan.shape(members, [(fit, nothing) for *_, (fit, _) in plan.splits])
    inner = InnerMean(len(choice), 1, len(table.target))
    for chunk in plan.chunks(list(plan.own_splits())):
        nets = []
        for b, k, i, (fit, score), select in chunk:
            recipe, hyper = plan.candidates[int(choice[k])].recipe, plan.candidates[int(choice[k])].hyper
            features = features_of(table, select, plan.recipes[recipe], plan.task.seed)
            one = training_set(table, features, hyper, fit, nothing, asked=score)
            nets += [Net(one, hyper, plan.seed_of(3, b, i, m), int(epochs[k]), fit) for m in range(members)]
        _, predicted = plan.train(nets, shape, f"inner-{chunk[0][0]}-{chunk[0][2]}")
        values = np.reshape(predicted(), (len(chunk), members, -1)).mean(axis=1)
        for (_, k, _, (_, score), _), mean in zip(chunk, values, strict=True):
            inner.add(k, 0, score, table.observed(mean, score))
    return inner.mean[:, 0]


def _ensembles(plan: Plan, choice: Integers, epochs: Integers) -> tuple[list[Trained], list[TrainingSet]]:
    """Train the members of every fold: all nets in order of folds, and the training set of each first member."""
    folds = plan.task.folds
    shape = plan.shape(1, [m for fold in range(len(folds)) for m in _member_masks(plan, fold)])
    trained, firsts = [], []
    for chunk in plan.chunks(list(zip(plan.own.tolist(), choice.tolist(), epochs.tolist(), strict=True))):
        members = [_members(plan, fold, plan.candidates[chosen], limit) for fold, chosen, limit in chunk]
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


def _members(plan: Plan, fold: int, candidate: Candidate, epochs: int) -> list[Net]:
    """The nets of one fold: the first trains on all its rows, the others on groups drawn with replacement."""
    table, settings, hyper = plan.table, plan.settings, candidate.hyper
    fit = plan.task.folds.fit[fold]
    features = features_of(table, plan.task.folds.select[fold], plan.recipes[candidate.recipe], plan.task.seed)
    nets: list[Net] = []
    for member, (seen, stop) in enumerate(_member_masks(plan, fold)):
        drawn = drawn_groups(table, fit, settings, plan.seed_of(2, fold, member)) if member else None
        one = training_set(table, features, hyper, fit, stop, drawn=drawn)
        if stop.any() and (one.fit * seen).sum() > 0:
            one = replace(one, fit=one.fit * seen / (one.fit * seen).sum())
        limit = settings.epochs if stop.any() else epochs
        nets.append(Net(one, hyper, plan.seed_of(1, fold, member), limit, fit))
    return nets
