"""Ensembles of networks: chosen on inner splits, trained in every fold.

Every configuration is tried on the inner splits of every block of folds, then an ensemble of the chosen one is trained
in every fold. All nets of a scheme share one compiled function.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.learning.contract import Task
from glacmb_grid.learning.features import Features
from glacmb_grid.learning.level import Levels, kinds_of_level
from glacmb_grid.learning.nets.module import FeedForward as Module
from glacmb_grid.learning.nets.predict import forward
from glacmb_grid.learning.nets.problem import Shape
from glacmb_grid.learning.nets.train import Trained, train
from glacmb_grid.learning.nets.training_sets import (
    Net,
    TrainingSet,
    drawn_groups,
    padded,
    problem_of,
    shape_for,
    training_set,
)
from glacmb_grid.learning.ragged import pack, unpack
from glacmb_grid.learning.recipes import recipes_of
from glacmb_grid.learning.search import (
    Candidate,
    InnerMean,
    Tuned,
    inner_masks,
    prediction,
    search_record,
    selection_masks,
    split_blocks,
)
from glacmb_grid.learning.table import Bools, Floats, Integers, Table, rows_of, table_of
from glacmb_grid.settings import FeedForward, Recipe

_MATRIX_BYTES = 400e6  # of predictor matrices in memory at a time
Place = tuple[int, int, tuple[Bools, Bools]]  # block, inner split, and its masks


def fit_ensembles(settings: FeedForward, task: Task) -> xr.Dataset:
    """Choose a configuration in every block and train an ensemble in every fold: see the model's `fit`."""
    folds, members = task.own, settings.members
    table = table_of(task.samples)
    recipes = recipes_of(table, settings)
    candidates = configurations(settings, len(recipes), kinds_of_level(task.folds, task.samples), task.seed)
    if task.checkpoints is not None:
        task.checkpoints.mkdir(parents=True, exist_ok=True)
    plan = FitPlan(table, task, settings, recipes, candidates)
    tuned, epochs, inner_loss = _search(plan)
    trained, sets = _ensembles(plan, tuned, epochs)
    shape = (folds.sizes["fold"], members)
    record = search_record(recipes, candidates, tuned, [s.features for s in sets], folds)
    widths = [candidates[c].hyper["widths"] for c in tuned.choice]
    counts = [_count_parameters(len(s.features.kept), w) for s, w in zip(sets, widths, strict=True)]
    out = record.merge(pack([{**s.features.state(), **s.levels.state()} for s in sets])).assign(
        parameters=(("fold", "member", "parameter"), trained.parameters.reshape(*shape, -1)),
        loss=(("fold", "member", "epoch", "part"), trained.loss.reshape(*shape, -1, 2)),
        inner_loss=(("fold", "inner", "inner_epoch", "part"), inner_loss),
        best_epoch=(("fold", "member"), trained.best_epoch.reshape(shape)),
        target_centre=("fold", [s.centre for s in sets]),
        target_scale=("fold", [s.scale for s in sets]),
        parameter_count=("fold", np.array(counts)),
    )
    layout = {n: getattr(trained.layout, n) for n in ("predictors", "widths", "outputs")}
    return out.assign_coords(part=["fit", "stop"]).assign_attrs({**record.attrs, "layout": json.dumps(layout)})


def predict_ensembles(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """Balance by every member, (fold, member, row), m w.e."""
    new = rows_of(rows)
    candidates = [json.loads(str(c)) for c in parameters["candidate"].values]
    layout = json.loads(parameters.attrs["layout"])
    shape = Module(layout["predictors"], tuple(layout["widths"]), layout["outputs"])
    members = parameters.sizes["member"]
    out = np.empty((parameters.sizes["fold"], members, len(new.year)))
    for fold in range(len(out)):
        state = unpack(parameters, fold)
        features = Features.from_state(state)
        values = features.design(new).values
        matrix = np.zeros((1, len(new.year), shape.predictors), np.float32)
        matrix[0, :, : values.shape[1]] = values
        columns = np.tile(np.arange(shape.predictors) < max(values.shape[1], 1), (members, 1))
        own = candidates[int(parameters["choice"].values[fold])]["widths"]
        widths = np.tile(padded(own, len(shape.widths)), (members, 1))
        standard = forward(shape, parameters["parameters"].values[fold], columns, widths, matrix)[0]
        centre, scale = (float(parameters[n].values[fold]) for n in ("target_centre", "target_scale"))
        empty = np.zeros(0)
        learnt = TrainingSet(features, empty, empty, empty > 0, centre, scale, Levels.from_state(state))
        out[fold] = learnt.balance(standard, new.glacier)
    return prediction(out, parameters)


@dataclass(frozen=True)
class FitPlan:
    """The data and settings of a fit. Blocks and folds have their numbers in the whole scheme, also in a part of it."""

    table: Table
    task: Task
    settings: FeedForward
    recipes: Sequence[Recipe]
    candidates: Sequence[Candidate]

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.task.seed

    @property
    def folds(self) -> xr.Dataset:
        """All folds of the scheme."""
        return self.task.folds

    @cached_property
    def own(self) -> Integers:
        """Numbers of the folds to fit."""
        return np.arange(self.folds.sizes["fold"]) if self.task.part is None else np.array(self.task.part)

    @cached_property
    def blocks(self) -> tuple[Integers, Integers]:
        """Numbers of the blocks to search in, and for every fold to fit the place of its block among them."""
        return np.unique(split_blocks(self.folds)[1][self.own], return_inverse=True)

    def train(self, nets: Sequence[Net], shape: Shape, name: str) -> tuple[Trained, Any]:
        """Train nets: the result, and the problem and nets that the engine trained."""
        problem, many = problem_of(self.table, nets, self.recipes, self.settings)
        checkpoint = None if self.task.checkpoints is None else self.task.checkpoints / name
        trained = train(problem, many, patience=self.settings.patience, shape=shape, checkpoint=checkpoint)
        return trained, (problem, many)

    def train_and_predict(self, nets: Sequence[Net], shape: Shape, name: str) -> tuple[Trained, Floats]:
        """Train nets: the result, and the balance of all rows by each, (net, row), m w.e."""
        trained, (problem, many) = self.train(nets, shape, name)
        standard = forward(trained.layout, trained.parameters, many.columns, many.widths, problem.rows, many.matrix)[0]
        glacier = self.table.rows.glacier
        return trained, np.array([n.on.balance(v, glacier) for n, v in zip(nets, standard, strict=True)])

    def splits(self) -> list[Place]:
        """All inner splits of the scheme."""
        first, _ = split_blocks(self.folds)
        return [(b, i, m) for b, f in enumerate(first) for i, m in enumerate(inner_masks(self.folds, int(f)))]

    def own_splits(self) -> list[Place]:
        """The inner splits of the blocks to search in."""
        return [place for place in self.splits() if place[0] in self.blocks[0]]

    def parts(self, items: Sequence[Any], kinds: int = 1) -> Iterator[Sequence[Any]]:
        """Chunks of splits or folds whose matrices, `kinds` for each, fit into memory."""
        size = 4 * len(self.table.rows.year) * 3 * len(self.table.rows.names) * kinds
        step = max(1, int(_MATRIX_BYTES / max(size, 1)))
        for start in range(0, len(items), step):
            yield items[start : start + step]

    def selected(self, place: Place) -> Bools:
        """Observations on which the features of an inner split are learnt."""
        if "select" not in self.folds:
            return place[2][0]
        first, _ = split_blocks(self.folds)
        return np.asarray(self.folds["select"].values[first[place[0]]])

    def shape(self, count: int, fit: Sequence[Bools], stop: Sequence[Bools]) -> Shape:
        """Shape for `count` nets that fit and stop on these observations: those of the whole scheme, not of a part."""
        return shape_for(self.table, count, fit, stop, self.recipes, self.settings)


def configurations(settings: FeedForward, recipes: int, levels: Sequence[str], seed: int) -> list[Candidate]:
    """The configurations to try: all combinations, or as many of them as the settings allow, drawn at random."""
    every: list[tuple[Any, ...]] = list(
        product(
            range(recipes),
            levels,
            settings.widths,
            settings.learning_rate,
            settings.input_noise,
            settings.l1,
            settings.weighting,
            settings.heteroscedastic,
        )
    )
    if len(every) > settings.configurations:
        drawn = np.random.default_rng(seed).choice(len(every), settings.configurations, replace=False)
        every = [every[i] for i in np.sort(drawn)]
    names = ("level", "widths", "learning_rate", "input_noise", "l1", "weighting", "heteroscedastic")
    return [Candidate(r, dict(zip(names, (rest[0], list(rest[1]), *rest[2:]), strict=True))) for r, *rest in every]


def _count_parameters(predictors: int, widths: Sequence[int]) -> int:
    sizes = [predictors, *widths, 1]
    return int(sum(a * b + b for a, b in pairwise(sizes)))


def _search(plan: FitPlan) -> tuple[Tuned, Integers, npt.NDArray[np.float32]]:
    """Try every configuration on the inner splits: what each block chose, for how many epochs, and the losses."""
    table, settings, seed, candidates = plan.table, plan.settings, plan.seed, plan.candidates
    blocks, block = plan.blocks
    number = {int(b): i for i, b in enumerate(blocks)}
    splits = plan.splits()
    shape = plan.shape(len(splits) * len(candidates), [m[0] for *_, m in splits], [m[1] for *_, m in splits])
    kinds = list(dict.fromkeys(_kind(c) for c in candidates))
    inner = InnerMean(len(blocks), len(candidates), len(table.target))
    best = np.zeros((len(blocks), len(candidates), plan.folds.sizes["inner"]), np.int64)
    curves = np.full((*best.shape, settings.epochs, 2), np.nan, np.float32)
    for part in plan.parts(plan.own_splits(), len(kinds)):
        nets, jobs = [], []
        for place in part:
            b, i, (inner_fit, inner_score) = place
            sets = {
                k: training_set(table, inner_fit, inner_score, plan.selected(place), plan.recipes[k[0]], k[1:], seed)
                for k in kinds
            }
            for n, c in enumerate(candidates):
                nets.append(Net(sets[_kind(c)], c.hyper, _seed_of(seed, b, i, n), settings.epochs))
                jobs.append((number[b], i, n, inner_score))
        trained, values = plan.train_and_predict(nets, shape, "search-{}-{}".format(*part[0]))
        for (b, i, n, score), balance, epoch, loss in zip(jobs, values, trained.best_epoch, trained.loss, strict=True):
            inner.add(b, n, score, table.observed(balance, score))
            best[b, n, i] = epoch + 1
            curves[b, n, i] = loss
    choice, error, _ = inner.choose(table.target)
    at = np.arange(len(blocks))
    epochs = np.array([max(int(np.median(row[row > 0])), 1) for row in best[at, choice]])
    predicted = _inner_ensembles(plan, choice, epochs)
    return Tuned(choice[block], error[block], predicted[block]), epochs[block], curves[at, choice][block]


def _kind(candidate: Candidate) -> tuple[int, str, str]:
    """Recipe, level and weighting of a candidate, which determine its training set."""
    return candidate.recipe, candidate.hyper["level"], candidate.hyper["weighting"]


def _inner_ensembles(plan: FitPlan, choice: Integers, epochs: Integers) -> Floats:
    """Predictions of inner splits by ensembles of the chosen configuration, (block, sample), m w.e., else NaN.

    They are trained for the median number of epochs of the block's splits: unlike the nets of the search, they do not
    stop where the loss on the scored rows of their own split is lowest.
    """
    table, members = plan.table, plan.settings.members
    number = {int(b): i for i, b in enumerate(plan.blocks[0])}
    splits = plan.splits()
    shape = plan.shape(len(splits) * members, [m[0] for *_, m in splits], [])
    inner = InnerMean(len(number), 1, len(table.target))
    nothing = np.zeros(len(table.target), bool)
    for part in plan.parts(plan.own_splits()):
        nets = []
        for place in part:
            b, i, (inner_fit, inner_score) = place
            candidate, limit = plan.candidates[int(choice[number[b]])], int(epochs[number[b]])
            recipe, *kind = _kind(candidate)
            one = training_set(
                table, inner_fit, nothing, plan.selected(place), plan.recipes[recipe], (kind[0], kind[1]), plan.seed,
                asked=inner_score,
            )  # fmt: skip
            nets += [Net(one, candidate.hyper, _seed_of(plan.seed, 3, b, i, m), limit) for m in range(members)]
        _, values = plan.train_and_predict(nets, shape, "inner-{}-{}".format(*part[0]))
        for (b, _, (_, score)), balance in zip(part, values.reshape(len(part), members, -1).mean(axis=1), strict=True):
            inner.add(number[b], 0, score, table.observed(balance, score))
    return inner.mean[:, 0]


def _ensembles(plan: FitPlan, tuned: Tuned, epochs: Integers) -> tuple[Trained, list[TrainingSet]]:
    """Train the members of every fold: all nets in order of folds, and the training set of each first member."""
    masks = [m for fold in range(plan.folds.sizes["fold"]) for m in _member_masks(plan, fold)]
    shape = plan.shape(len(masks), [m[0] for m in masks], [m[1] for m in masks])
    parts: list[Trained] = []
    firsts: list[TrainingSet] = []
    for part in plan.parts(range(len(plan.own))):
        nets: list[Net] = []
        for number in part:
            candidate, limit = plan.candidates[int(tuned.choice[number])], int(epochs[number])
            members = _members(plan, int(plan.own[number]), candidate, limit)
            firsts.append(members[0].on)
            nets += members
        trained, _ = plan.train(nets, shape, f"ensembles-{plan.own[part[0]]}")
        parts.append(trained)
    longest = max(p.loss.shape[1] for p in parts)
    losses = [np.pad(p.loss, ((0, 0), (0, longest - p.loss.shape[1]), (0, 0)), constant_values=np.nan) for p in parts]
    joined = {n: np.concatenate([getattr(p, n) for p in parts]) for n in ("parameters", "best_epoch", "epochs")}
    return Trained(layout=parts[0].layout, loss=np.concatenate(losses), **joined), firsts


def _member_masks(plan: FitPlan, fold: int) -> list[tuple[Bools, Bools]]:
    """What each member of a fold fits and stops on."""
    fit = plan.folds["fit"].values[fold]
    if "stop" not in plan.folds and plan.settings.finish == "early_stopping":
        splits = list(inner_masks(plan.folds, fold))
        return [splits[m % len(splits)] for m in range(plan.settings.members)]
    stop = plan.folds["stop"].values[fold] if "stop" in plan.folds else np.zeros(len(fit), bool)
    return [(fit, stop)] * plan.settings.members


def _members(plan: FitPlan, fold: int, candidate: Candidate, epochs: int) -> list[Net]:
    """The nets of one fold: the first trains on all its rows, the others on groups drawn with replacement."""
    table, folds, settings, seed = plan.table, plan.folds, plan.settings, plan.seed
    fit, select = folds["fit"].values[fold], selection_masks(folds)[fold]
    recipe, level, weights = _kind(candidate)
    nets: list[Net] = []
    for member, (seen, stop) in enumerate(_member_masks(plan, fold)):
        drawn = drawn_groups(table, fit, settings, _seed_of(seed, 2, fold, member)) if member else None
        one = training_set(table, fit, stop, select, plan.recipes[recipe], (level, weights), seed, drawn=drawn)
        if stop.any() and (one.fit * seen).sum() > 0:
            one = replace(one, fit=one.fit * seen / (one.fit * seen).sum())
        if nets:
            one = replace(one, features=nets[0].on.features)
        limit = settings.epochs if stop.any() else epochs
        nets.append(Net(one, candidate.hyper, _seed_of(seed, 1, fold, member), limit))
    return nets


def _seed_of(seed: int, *place: int) -> int:
    """A seed from the run's seed and the place of a net."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1)[0])
