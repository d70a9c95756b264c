"""Training sets of nets, from a table and masks: features, weights and a standardised target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from glacmb_grid.learning.features import Features
from glacmb_grid.learning.level import Levels, levels_of
from glacmb_grid.learning.nets.module import FeedForward as Module
from glacmb_grid.learning.nets.problem import Nets, Problem, Shape, block_of, largest_counts
from glacmb_grid.learning.recipes import most_features
from glacmb_grid.learning.table import Bools, Floats, Integers, Table
from glacmb_grid.learning.tabular import features_of
from glacmb_grid.settings import FeedForward, Recipe

_LEAST_GROUPS = 8  # with fewer groups there is no bootstrap: a draw could miss most of them
_GAMMA = 1.0  # exponent of the dynamic weighting
_CLIP = 4.0  # weights lie between 1/4 and 4
_NOISE_SHARE = 0.5  # of the target's spread, added to reported uncertainty in quadrature

Kind = tuple[str, str]  # of the level, of the weighting


@dataclass(frozen=True)
class TrainingSet:
    """Features, weights, and scaling of the target that nets train with."""

    features: Features
    fit: Floats  # (sample,) weights that sum to one
    stop: Floats  # (sample,) weights, or all zero
    asked: Bools  # (sample,) other observations to predict
    centre: float
    scale: float
    levels: Levels

    def balance(self, standard: npt.NDArray[np.float32], glacier: npt.NDArray[np.str_]) -> Floats:
        """Balance of rows from standardised ones, (..., row), m w.e."""
        return np.asarray(self.centre + self.scale * standard.astype(np.float64) + self.levels.at(glacier))


def training_set(
    table: Table,
    fit: Bools,
    stop: Bools,
    select: Bools,
    recipe: Recipe,
    kind: Kind,
    seed: int,
    *,
    drawn: Floats | None = None,
    asked: Bools | None = None,
) -> TrainingSet:
    """Learn features and scaling, and weigh the observations.

    Parameters
    ----------
    table : Table
    fit, stop, select : bool arrays, (sample,)
        Observations to fit on, to stop on, and to learn features on.
    recipe : Recipe
    kind : (str, str)
        Whether the level of the glacier is taken out (`glacier` or `none`), and how observations are weighted.
    seed : int
    drawn : float64 array, (sample,), optional
        How often each observation was drawn by a bootstrap.
    asked : bool array, (sample,), optional
        More observations to predict than those fitted on; by default those stopped on.
    """
    levels = levels_of(kind[0], table, fit)
    target, years = table.target - table.operator @ levels.at(table.rows.glacier), table.years
    centre = float((years[fit] @ target[fit]) / (years[fit] @ years[fit]))
    scale = float(np.sqrt(np.mean((target[fit] - years[fit] * centre) ** 2)))
    scale = scale if scale > 1e-9 else 1.0
    weights = fit * weighting((target - years * centre) / scale, table.uncertainty / scale, fit, kind[1])
    if drawn is not None and (weights * drawn).sum() > 0:
        weights = weights * drawn
    asked = stop if asked is None else asked
    features = features_of(table, select, recipe, seed)
    return TrainingSet(features, weights / weights.sum(), stop / max(stop.sum(), 1), asked, centre, scale, levels)


def weighting(target: Floats, uncertainty: Floats, fit: Bools, kind: str) -> Floats:
    """Weights of samples before training, (sample,); dynamic weighting happens during it."""
    if kind == "uncertainty":
        return np.asarray(1 / (uncertainty**2 + _NOISE_SHARE**2))
    if kind == "density":
        seen = np.sort(target[fit])
        width = max(1.06 * len(seen) ** -0.2, 1e-3)
        inside = np.searchsorted(seen, target + width) - np.searchsorted(seen, target - width)
        rarity = 1 / np.sqrt(np.maximum(inside, 1))
        return np.asarray(np.clip(rarity / rarity[fit].mean(), 1 / _CLIP, _CLIP))
    return np.ones(len(target))


def drawn_groups(table: Table, fit: Bools, settings: FeedForward, seed: int) -> Floats | None:
    """How often each observation's group was drawn, (sample,); None if there is no bootstrap."""
    names, number = np.unique(table.group[fit], return_inverse=True)
    if not settings.bootstrap or len(names) < _LEAST_GROUPS:
        return None
    rng = np.random.default_rng(seed)
    drawn = np.zeros(len(fit))
    drawn[fit] = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[number]
    return drawn


@dataclass(frozen=True)
class Net:
    """One net to train: its training set, hyper-parameters, seed and largest number of epochs."""

    on: TrainingSet
    hyper: dict[str, Any]
    seed: int
    epochs: int


def problem_of(
    table: Table, nets: Sequence[Net], recipes: Sequence[Recipe], settings: FeedForward
) -> tuple[Problem, Nets]:
    """The arrays that the engine trains on; nets that share features share a matrix."""
    sets: list[TrainingSet] = list({id(n.on): n.on for n in nets}.values())
    place = {id(s): i for i, s in enumerate(sets)}
    number = np.array([place[id(n.on)] for n in nets])
    designs = {id(s.features): s.features for s in sets}
    matrix_of = {key: i for i, key in enumerate(designs)}
    width = most_features(table.rows, recipes)
    rows = np.zeros((len(designs), len(table.rows.year), width), np.float32)
    used = np.zeros(len(designs), np.int64)
    for key, features in designs.items():
        here = table.used_rows(np.any([(s.fit > 0) | s.asked for s in sets if id(s.features) == key], axis=0))
        values = features.design(table.rows.take(here)).values  # no other row is used
        rows[matrix_of[key], here, : values.shape[1]] = values
        used[matrix_of[key]] = max(values.shape[1], 1)
    glacier, years = table.rows.glacier, table.years
    targets = [(table.target - table.operator @ s.levels.at(glacier) - years * s.centre) / s.scale for s in sets]
    used_samples = [(s.fit > 0) | (s.stop > 0) for s in sets]
    problem = Problem(
        rows,
        np.array([np.where(m, t, 0.0) for t, m in zip(targets, used_samples, strict=True)], np.float32),
        np.array([s.fit for s in sets], np.float32),
        np.array([s.stop for s in sets], np.float32),
        _operator(table.operator),
    )
    matrix = np.array([matrix_of[id(sets[n].features)] for n in number])
    depth = max(len(w) for w in settings.widths)

    def each(name: str) -> npt.NDArray[np.float32]:
        return np.array([n.hyper[name] for n in nets], np.float32)

    many = Nets(
        matrix=matrix,
        target=number,
        split=number,
        columns=np.arange(width) < used[matrix][:, None],
        widths=np.array([padded(n.hyper["widths"], depth) for n in nets], np.int64),
        learning_rate=each("learning_rate"),
        noise=each("input_noise"),
        l1=each("l1"),
        gamma=np.array([_GAMMA * (n.hyper["weighting"] == "dynamic") for n in nets], np.float32),
        heteroscedastic=np.array([bool(n.hyper["heteroscedastic"]) for n in nets]),
        epochs=np.array([n.epochs for n in nets], np.int64),
        seed=np.array([n.seed for n in nets], np.int64),
    )
    return problem, many


def _operator(operator: scipy.sparse.csr_matrix) -> tuple[Integers, Integers, npt.NDArray[np.float32]] | None:
    """Entries of the observation operator; None if sample i is row i."""
    entries = operator.tocoo()
    square = operator.shape[0] == operator.shape[1] == entries.nnz
    if square and (entries.row == entries.col).all() and (entries.data == 1).all():
        return None
    return entries.row.astype(np.int64), entries.col.astype(np.int64), entries.data.astype(np.float32)


def padded(widths: Sequence[int], depth: int) -> list[int]:
    """Widths padded with zeros to this many layers."""
    return [*widths, *[0] * (depth - len(widths))]


def shape_for(
    table: Table,
    count: int,
    fit: Sequence[Bools],
    stop: Sequence[Bools],
    recipes: Sequence[Recipe],
    settings: FeedForward,
) -> Shape:
    """A shape from the settings and masks, not from the selected features: nets are bit-identical within one shape."""
    depth = max(len(w) for w in settings.widths)
    outputs = 2 if any(settings.heteroscedastic) else 1
    layers = tuple(max(*column, outputs) for column in zip(*(padded(w, depth) for w in settings.widths), strict=True))
    layout = Module(most_features(table.rows, recipes), layers, outputs)
    operator = _operator(table.operator)
    fitted, stopped = largest_counts(operator, fit), largest_counts(operator, stop)
    block = settings.block or block_of(layout, fitted, stopped, count)
    return Shape(block, layout, fitted, stopped, "dynamic" in settings.weighting)
