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
from glacmb_grid.learning.nets.held import Constraints, Held
from glacmb_grid.learning.nets.index import Forcing, Index, index_arrays
from glacmb_grid.learning.nets.index_fits import Base, IndexFits, factors_of
from glacmb_grid.learning.nets.module import FeedForward as Module
from glacmb_grid.learning.nets.problem import Entries, Nets, Problem, Shape, shape_for
from glacmb_grid.learning.nets.sums import Sums
from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.recipes import most_features
from glacmb_grid.learning.table import Bools, Floats, Integers, Rows, Table
from glacmb_grid.settings import FeedForward, Network, Recipe

_LEAST_GROUPS = 8  # with fewer groups there is no bootstrap: a draw could miss most of them
_GAMMA = 1.0  # exponent of the dynamic weighting
_CLIP = 4.0  # weights lie between 1/4 and 4
_NOISE_SHARE = 0.5  # of the target's spread, added to reported uncertainty in quadrature


@dataclass(frozen=True)
class TrainingSet:
    """Features, weights, and scaling of the target that nets train with."""

    features: Features
    target: Floats  # (sample,) standardised, 0 where it is neither fitted nor stopped on
    fit: Floats  # (sample,) weights that sum to one
    stop: Floats  # (sample,) weights, or all zero
    asked: Bools  # (sample,) other observations to predict
    centre: float
    scale: float
    levels: Levels
    rates: Bools  # (constraint,) that nets may learn from
    base: Base | None = None  # the temperature index that nets change

    def state(self) -> Arrays:
        """What predictions need of it beside the nets, as arrays."""
        base = {} if self.base is None else self.base.fitted.state()
        return {**self.features.state(), **self.levels.state(), **base}

    @property
    def design(self) -> tuple[int, tuple[float, ...]]:
        """A key that training sets with the same features of every row share."""
        return id(self.features), tuple(self.levels.span)

    def features_of(self, rows: Rows) -> npt.NDArray[np.float64]:
        """Features of rows, with the slow trend at year level, (row, feature)."""
        return self.levels.with_trend(self.features.design(rows).values, rows.year)


@dataclass(frozen=True)
class Net:
    """One net to train: its training set, hyper-parameters, seed and largest number of epochs.

    `seen` (sample,) are the observations that its pre-training may know of, and `block` is the place of its block among
    those that the task searches in.
    """

    on: TrainingSet
    hyper: dict[str, Any]
    seed: int
    epochs: int
    seen: Bools | None = None
    block: int = 0


def training_set(
    table: Table,
    features: Features,
    hyper: dict[str, Any],
    fit: Bools,
    stop: Bools,
    *,
    rates: Bools,
    drawn: Floats | None = None,
    asked: Bools | None = None,
    base: Base | None = None,
) -> TrainingSet:
    """Learn the scaling of the target, and weigh the observations.

    Parameters
    ----------
    table : Table
    features : Features
    hyper : dict
        `level`: what glaciers add, see `levels_of`; `weighting` of observations.
    fit, stop : bool arrays, (sample,)
        Observations to fit on and to stop on.
    rates : bool array, (constraint,)
        Constraints to learn from.
    drawn : float64 array, (sample,), optional
        How often each observation was drawn by a bootstrap.
    asked : bool array, (sample,), optional
        Observations to predict beside those fitted on; by default those stopped on.
    base : Base, optional
        The temperature index that nets change. Levels are then those of what it leaves, and the scale is its error.
    """
    simulated = None if base is None else base.balance
    levels, years = levels_of(hyper["level"], table, fit, simulated), table.years
    target = table.target - table.operator @ levels.at(table.rows.glacier)
    part = 0.0 if simulated is None else table.operator @ simulated  # which the nets make themselves
    target = target - part
    votes, whole = np.ones(len(fit)), fit
    if levels.of_years is not None:  # every row is to give the balance of its year, and a year has one vote
        fit = fit & table.annual
        year = table.rows.year[table.row]
        of = np.searchsorted(levels.of_years.years, year[fit])
        target[fit], votes[fit] = levels.of_years.values[of], 1 / np.bincount(of)[of]
    centre = 0.0 if base is not None else float((years[fit] @ target[fit]) / (years[fit] @ years[fit]))
    scale = float(np.sqrt(np.mean((target[fit] - years[fit] * centre) ** 2)))
    scale = scale if scale > 1e-9 else 1.0
    standard = (target - years * centre) / scale
    weights = fit * votes * weighting(standard, table.uncertainty / scale, fit, hyper["weighting"])
    if drawn is not None and (weights * drawn).sum() > 0:
        weights = weights * drawn
    asked = stop if asked is None else asked
    shares = weights / weights.sum(), stop / max(stop.sum(), 1)
    wanted = np.where(whole | stop, standard + part / scale, 0.0)
    return TrainingSet(features, wanted, *shares, asked, centre, scale, levels, rates, base)


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


def drawn_groups(table: Table, fit: Bools, settings: Network, seed: int) -> Floats | None:
    """How often each observation's group was drawn, (sample,); None if there is no bootstrap."""
    names, number = np.unique(table.group[fit], return_inverse=True)
    if not settings.bootstrap or len(names) < _LEAST_GROUPS:
        return None
    rng = np.random.default_rng(seed)
    drawn = np.zeros(len(fit))
    drawn[fit] = rng.multinomial(len(names), np.full(len(names), 1 / len(names)))[number]
    return drawn


def problem_of(
    table: Table, sums: Sums | None, nets: Sequence[Net], shape: Shape, forcing: Forcing | None = None
) -> tuple[Problem, Nets]:
    """The arrays that the engine trains on; nets that share features share a matrix, and all share the forcing."""
    sets = list({id(n.on): n.on for n in nets}.values())
    place = {id(s): i for i, s in enumerate(sets)}
    designs = {s.design: s for s in sets}
    number = {key: i for i, key in enumerate(designs)}
    width, depth = shape.layout.predictors, len(shape.layout.widths)
    rows = np.zeros((len(designs), len(table.rows.year), width), np.float32)
    used = np.zeros(len(designs), np.int64)
    for i, (key, one) in enumerate(designs.items()):
        here = table.used_rows(np.any([(s.fit > 0) | s.asked for s in sets if s.design == key], axis=0))
        values = one.features_of(table.rows.take(here))  # no other row is used
        rows[i, here, : values.shape[1]] = values
        used[i] = max(values.shape[1], 1)
    target = np.zeros((len(sets), len(table.target)), np.float32)
    for standard, s in zip(target, sets, strict=True):
        mine = (s.fit > 0) | (s.stop > 0)
        standard[mine] = s.target[mine]
    fit, stop = (np.array([getattr(s, n) for s in sets], np.float32) for n in ("fit", "stop"))
    on = np.array([place[id(n.on)] for n in nets])
    matrix = np.array([number[n.on.design] for n in nets])

    def each(name: str) -> npt.NDArray[np.float32]:
        return np.array([n.hyper[name] for n in nets], np.float32)

    based = _bases(nets, months=getattr(shape.layout, "months", False))
    many = Nets(
        matrix=matrix,
        target=on,
        split=on,
        columns=np.arange(width) < used[matrix][:, None],
        widths=np.array([deepened(n.hyper["widths"], depth) for n in nets], np.int64),
        learning_rate=each("learning_rate"),
        noise=each("input_noise"),
        l1=each("l1"),
        gamma=np.array([_GAMMA * (n.hyper["weighting"] == "dynamic") for n in nets], np.float32),
        heteroscedastic=np.array([bool(n.hyper.get("heteroscedastic")) for n in nets]),
        epochs=np.array([n.epochs for n in nets], np.int64),
        seed=np.array([n.seed for n in nets], np.int64),
        geodetic=np.array([n.hyper.get("geodetic_weight", 0.0) for n in nets], np.float32),
        index=None if based is None else based[0],
        base=None if based is None else based[1],
        frozen=np.array([n.hyper.get("frozen", 0) for n in nets], np.int64),
    )
    rates = None if sums is None else _constraints(sums, nets, sets, list(designs.values()), width)
    local = None if based is None else based[2]
    return Problem(rows, target, fit, stop, _entries(table.operator), rates, forcing, local), many


def _constraints(
    sums: Sums, nets: Sequence[Net], sets: Sequence[TrainingSet], designs: Sequence[TrainingSet], width: int
) -> Constraints:
    """The constraints of all sets; predictors of those alone that some net is held to."""
    held = {id(n.on) for n in nets if n.hyper["geodetic_weight"]}
    rows = np.zeros((len(designs), len(sums.rows.year), width), np.float32)
    for one, matrix in zip(designs, rows, strict=True):
        if mine := [s.rates for s in sets if s.design == one.design and id(s) in held]:
            sums.fill(matrix, one.features, np.any(mine, axis=0))
    scaled = [sums.standardised(s.centre, s.scale, s.levels) for s in sets]
    target, precision = (np.array(a, np.float32) for a in zip(*scaled, strict=True))
    return Constraints(rows, sums.row, sums.weight, target, precision, np.array([s.rates for s in sets]))


def _bases(nets: Sequence[Net], *, months: bool) -> tuple[Index, Integers, npt.NDArray[np.float32]] | None:
    """The temperature indices that nets change, and the number of each in what differs from row to row, the last."""
    bases = [n.on.base for n in nets if n.on.base is not None]
    if not bases:
        return None
    place = {key: i for i, key in enumerate({id(b): b for b in bases})}
    local = np.array([b.local for b in {id(b): b for b in bases}.values()], np.float32)
    hypers, scales = [n.hyper for n in nets], [n.on.scale for n in nets]
    factors = [factors_of(b.fitted) for b in bases]
    given = (factors, [h["bounds"] for h in hypers], scales, [h["penalty"] for h in hypers])
    index = index_arrays(*given, [h["months"] for h in hypers] if months else None)
    return index, np.array([place[id(b)] for b in bases], np.int64), local


def whole_shape(
    table: Table,
    count: int,
    fit: Sequence[Bools],
    stop: Sequence[Bools],
    recipes: Sequence[Recipe],
    settings: Network,
    held: Held,
    index: IndexFits | None = None,
    *,
    trended: bool = False,
) -> Shape:
    """A shape from the settings and the masks of a whole scheme: nets are bit-identical within one shape."""
    depth = max(len(w) for w in settings.widths)
    plain = settings if isinstance(settings, FeedForward) else FeedForward()
    outputs = 2 if any(plain.heteroscedastic) else 1
    layers = zip(*(deepened(w, depth) for w in settings.widths), strict=True)
    features = most_features(table.rows, recipes) + (4 if trended else 0)  # a multiple of four as before
    layout = Module(features, tuple(max(*layer, outputs) for layer in layers), outputs)
    dynamic, bands = "dynamic" in settings.weighting, 0
    if index is not None:
        layout, bands = index.layout(layout), len(index.forcing.height)
    shape = shape_for(layout, _entries(table.operator), fit, stop, count, dynamic, settings.block, bands)
    return shape._replace(rates=held, frozen=any(plain.frozen))


def _entries(operator: scipy.sparse.csr_matrix) -> Entries | None:
    """Entries of the observation operator; None if sample i is row i."""
    entries = operator.tocoo()
    square = operator.shape[0] == operator.shape[1] == entries.nnz
    if square and (entries.row == entries.col).all() and (entries.data == 1).all():
        return None
    return entries.row.astype(np.int64), entries.col.astype(np.int64), entries.data.astype(np.float32)


def deepened(widths: Sequence[int], depth: int) -> list[int]:
    """Widths with zeros for the layers that a net does not have."""
    return [*widths, *[0] * (depth - len(widths))]
