"""The data that nets share, the settings that differ, and padding of both to one shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from glacmb_grid.errors import InputError
from glacmb_grid.learning.nets.held import Constraints, Held, held_for, rates_of
from glacmb_grid.learning.nets.index import Forcing, Index
from glacmb_grid.learning.nets.losses import Look, Rates, Slot
from glacmb_grid.learning.nets.module import FeedForward, places_of, size_of

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Entries = tuple[Integers, Integers, Floats]  # of a sparse operator: sample, row, weight
Triple = tuple[int, int, int]

_CACHE_BYTES = 3 << 20  # for the slots of one lane, on a CPU
_ACCELERATOR_BYTES = 8 << 30


@dataclass(frozen=True, eq=False)
class Problem:
    """The data that nets share.

    Attributes
    ----------
    rows : float32 array, (matrix, row, predictor)
        Standardised predictors; rows and columns that no net uses may have any value.
    target : float32 array, (target, sample)
        Standardised balances, less the mean as the operator maps it to samples.
    fit : float32 array, (split, sample)
        Weights that sum to one; samples of weight zero are never used. They include the counts of a bootstrap and the
        weighting by uncertainty.
    stop : float32 array, (split, sample)
        Weights for early stopping that sum to one; if all are zero, the last epoch is kept.
    operator : tuple of arrays, (entry,), optional
        Sample number, row number and weight of a sparse observation operator; None: sample i is row i.
    rates : Constraints, optional
    forcing : Forcing, optional
        Of all rows, where nets change a temperature index, and
    local : float32 array, (base, 4, row), optional
        what differs from row to row in each index, see `Index`.
    """

    rows: Floats
    target: Floats
    fit: Floats
    stop: Floats
    operator: Entries | None = None
    rates: Constraints | None = None
    forcing: Forcing | None = None
    local: Floats | None = None


def seen(operator: Entries | None, mask: Bools) -> tuple[Integers, Integers, Entries | None]:
    """Indices of the samples of a mask, of the rows that they use, and the operator between the two."""
    samples = np.flatnonzero(mask)
    if operator is None:
        return samples, samples, None
    sample, row, weight = operator
    mine = mask[sample]
    rows, local = np.unique(row[mine], return_inverse=True)
    return samples, rows, (np.searchsorted(samples, sample[mine]), local.reshape(-1), weight[mine])


@dataclass(frozen=True, eq=False)
class Nets:
    """The settings of each net; the leading axis of every array is the net.

    Attributes
    ----------
    matrix, target, split : int arrays, (net,)
        Indices of its matrix, target and split in the problem.
    columns : bool array, (net, predictor)
        The predictors that it uses.
    widths : int array, (net, layer)
        Units of the hidden layers; 0 = no such layer (only at the end). A net without hidden layers is linear.
    learning_rate, noise, l1, gamma : float32 arrays, (net,)
        Of Adam; standard deviation of the noise on predictors; factor of the L1 norm of kernels; exponent of
        the dynamic weighting of samples, 0 = none.
    heteroscedastic : bool array, (net,)
        Whether a second output learns the logarithm of the variance.
    epochs : int array, (net,)
        Largest number of epochs.
    seed : int array, (net,)
        A net's result depends on its seed and its data, but not on the other nets or its place among them.
    geodetic : float32 array, (net,)
        Factor of the mean square of what constraints are missed by, over their uncertainties; by default 0.
    index : Index, optional
        The temperature index that each net changes, and
    base : int array, (net,), by default 0
        the number of its `local` in the problem.
    frozen : int array, (net,), by default 0
        Number of first layers that keep their initial parameters.
    """

    matrix: Integers
    target: Integers
    split: Integers
    columns: Bools
    widths: Integers
    learning_rate: Floats
    noise: Floats
    l1: Floats
    gamma: Floats
    heteroscedastic: Bools
    epochs: Integers
    seed: Integers
    geodetic: Floats = None  # type: ignore[assignment]  # filled in below
    index: Index | None = None
    base: Any = None
    frozen: Any = None

    def __post_init__(self) -> None:
        for name, kind in (("geodetic", np.float32), ("base", np.int64), ("frozen", np.int64)):
            if getattr(self, name) is None:
                object.__setattr__(self, name, np.zeros(np.shape(self.seed), kind))

    def __len__(self) -> int:
        return len(self.seed)

    def __getitem__(self, which: Any) -> Nets:
        """Some of the nets."""
        return Nets(*(jax.tree.map(lambda a: a[which], getattr(self, f.name)) for f in fields(self)))

    @property
    def depth(self) -> Integers:
        """Number of hidden layers, (net,)."""
        return np.asarray(np.count_nonzero(self.widths, axis=1))


class Shape(NamedTuple):
    """The static arguments of the compiled function; calls with the same shape share it.

    Attributes
    ----------
    block : int
        Slots that train side by side.
    layout : FeedForward
        The network that all nets are padded to.
    fit, stop : tuples of int
        Padded numbers of samples, rows and operator entries (0: identity) that a net fits and stops on.
    dynamic : bool
        Whether any net weights its samples dynamically.
    rates : Held
    bands : int
        Of the hypsometry, where nets change a temperature index, else 0.
    frozen : bool
        Whether any net has frozen layers.
    """

    block: int
    layout: FeedForward
    fit: Triple
    stop: Triple
    dynamic: bool
    rates: Held = Held()
    bands: int = 0
    frozen: bool = False


def shape_of(problem: Problem, nets: Nets, block: int | None = None) -> Shape:
    """The smallest shape for these nets; for `block` see `shape_for`."""
    outputs, used = 2 if nets.heteroscedastic.any() else 1, np.unique(nets.split)
    widths = nets.widths[:, : nets.depth.max()].max(axis=0)
    if (nets.depth < len(widths)).any():
        widths = np.maximum(widths, outputs)  # room to pass the outputs on
    layout = FeedForward(int(nets.columns.sum(axis=1).max()), tuple(map(int, widths)), outputs)
    fit, stop = problem.fit[used] > 0, problem.stop[used] > 0
    dynamic, bands = bool((nets.gamma != 0).any()), 0 if problem.forcing is None else len(problem.forcing.height)
    shape = shape_for(layout, problem.operator, fit, stop, len(nets), dynamic, block, bands)
    shape = shape._replace(frozen=bool(nets.frozen.any()))
    if problem.rates is None or not nets.geodetic.any():
        return shape
    return shape._replace(rates=held_for(problem.rates.row.shape, len(problem.rates.rows)))


def shape_for(
    layout: FeedForward,
    operator: Entries | None,
    fit: Iterable[Bools],
    stop: Iterable[Bools],
    count: int,
    dynamic: bool,
    block: int | None = None,
    bands: int = 0,
) -> Shape:
    """The shape for `count` nets that fit and stop on these masks (sample,), see `Shape`.

    By default, `block` slots fit into a core's cache or an accelerator.
    """
    fitted, stopped = _most(operator, fit), _most(operator, stop)
    if block is None:
        units = sum(layout.widths)
        size = 4 * (fitted[1] * (3 * units + 2 * layout.predictors) + stopped[1] * (units + layout.predictors))
        size += 24 * size_of(layout) + 4 * 12 * (fitted[1] * (3 + 3 * bands) + stopped[1] * (3 + bands)) * (bands > 0)
        on_cpu = jax.default_backend() == "cpu"
        room = max((_CACHE_BYTES if on_cpu else _ACCELERATOR_BYTES) // size, 4)
        few = _power(-(-count // (2 if on_cpu else jax.local_device_count())))  # independent of the number of cores
        block = min(_power(min(room, 64 if on_cpu else 1 << 14) + 1) // 2, few)
    return Shape(block, layout, fitted, stopped, dynamic, bands=bands)


def _most(operator: Entries | None, masks: Iterable[Bools]) -> Triple:
    """Padded numbers of samples, rows and operator entries that are enough for every mask."""
    parts = [seen(operator, mask) for mask in masks]
    counts = [(len(samples), len(rows), len(entries[0]) if entries else 0) for samples, rows, entries in parts]
    samples, rows, entries = (rounded(max(c)) for c in zip((0, 0, 0), *counts, strict=True))
    return samples, rows, entries


def slots_of(problem: Problem, nets: Nets, shape: Shape) -> Callable[[int], Slot]:
    """A function from the number of a net to its padded data."""
    looked = lru_cache(maxsize=256)(lambda part, split: seen(problem.operator, getattr(problem, part)[split] > 0))
    depth, size = nets.depth, nets.columns.sum(axis=1)
    held = _held(problem, nets, shape)

    @lru_cache(maxsize=64)
    def forced(part: str, split: int) -> Forcing:
        assert problem.forcing is not None
        rows, width = looked(part, split)[1], getattr(shape, part)[1]
        share = np.full(len(rows), 1 / max(len(rows), 1))
        temperature, water, days, height = (padded(a[:, rows], (len(a), width)) for a in problem.forcing[:-1])
        return Forcing(temperature, water, days, height, padded(share, (width,)))

    def look(net: int, part: str, sizes: Triple) -> Look:
        split, columns = int(nets.split[net]), np.flatnonzero(nets.columns[net])
        samples, rows, operator = looked(part, split)
        values = problem.rows[nets.matrix[net]][rows[:, None], columns].T
        target, weight = problem.target[nets.target[net], samples], getattr(problem, part)[split, samples]
        entries: Any = tuple(padded(a, sizes[2:]) for a in operator or ()) or None
        padded_rows = padded(values, (shape.layout.predictors, sizes[1]))
        forcing = None if problem.forcing is None else forced(part, split)
        local = None if problem.local is None else problem.local[nets.base[net]][:, rows]
        local = None if local is None else padded(local, (len(local), sizes[1]))
        return Look(padded_rows, padded(target, sizes[:1]), padded(weight, sizes[:1]), entries, forcing, local)

    def slot(net: int) -> Slot:
        used = np.arange(shape.layout.predictors) < size[net]
        return Slot(
            fit=look(net, "fit", shape.fit),
            stop=look(net, "stop", shape.stop) if shape.stop[0] else None,
            keep_last=not problem.stop[nets.split[net]].any(),
            depth=np.int32(depth[net]),
            noise=(nets.noise[net] * used).astype(np.float32),
            rate=np.float32(nets.learning_rate[net]),
            l1=np.float32(nets.l1[net]),
            gamma=np.float32(nets.gamma[net]),
            heteroscedastic=bool(nets.heteroscedastic[net]),
            epochs=np.int32(nets.epochs[net]),
            seed=np.uint32(int(nets.seed[net]) * 0x9E3779B1 % (1 << 32)),
            rates=held(net),
            index=jax.tree.map(lambda a: a[net], nets.index),
            frozen=np.int32(nets.frozen[net]) if shape.frozen else None,
        )

    return slot


def _held(problem: Problem, nets: Nets, shape: Shape) -> Callable[[int], Rates | None]:
    """A function from the number of a net to the constraints that it is held to."""
    rates = problem.rates
    if rates is None or not shape.rates.drawn:
        return lambda net: None
    return lambda net: rates_of(
        rates,
        (int(nets.matrix[net]), int(nets.target[net]), int(nets.split[net])),
        padded(np.flatnonzero(nets.columns[net]) + 1, (shape.layout.predictors,)) - 1,
        seed=int(nets.seed[net]),
        strength=float(nets.geodetic[net]),
    )


def initial(nets: Nets, layout: FeedForward) -> Floats:
    """Initial parameters, (net, parameter); they depend only on a net's seed, inputs and widths."""
    out = np.zeros((len(nets), size_of(layout)), np.float32)
    places = places_of(layout)
    for net, depth in enumerate(nets.depth):
        sizes = [int(nets.columns[net].sum()), *map(int, nets.widths[net, :depth]), 1]
        draws = np.random.Generator(np.random.Philox(key=int(nets.seed[net]) % (1 << 64)))
        if layout.starts_from_nothing:
            sizes = sizes[:-1]
        for place, inputs, units in zip(places, sizes, sizes[1:], strict=False):
            values = draws.standard_normal((units, inputs), np.float32) / np.sqrt(np.float32(inputs))
            out[net, place["kernel"][:units, :inputs]] = values
    return out


def require_finite(problem: Problem, nets: Nets) -> None:
    """Raise if a value that a net uses is missing or infinite."""
    for s in np.unique(nets.split):
        samples, rows, _ = seen(problem.operator, (problem.fit[s] > 0) | (problem.stop[s] > 0))
        mine = nets[nets.split == s]
        values = problem.rows[np.unique(mine.matrix)][:, rows][..., mine.columns.any(axis=0)]
        if not np.isfinite(values).all() or not np.isfinite(problem.target[np.unique(mine.target)][:, samples]).all():
            raise InputError(
                "the rows that nets look at",
                expected="finite predictors and targets",
                found=f"missing or infinite values in split {s}",
                remedy="fill gaps before training",
            )
    if problem.rates is not None and not np.isfinite(problem.rates.rows).all():
        raise InputError(
            "the rows of constraints",
            expected="finite predictors",
            found="missing or infinite values",
            remedy="fill gaps before training",
        )


def padded(array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The array padded with zeros; 64-bit numbers become 32-bit ones."""
    out = np.zeros(shape, np.int32 if array.dtype.kind == "i" else np.float32)
    out[tuple(map(slice, array.shape))] = array
    return out


def rounded(count: int) -> int:
    """Padded number of rows: a multiple of the vector length, in steps of about an eighth."""
    step = max(16, 1 << max(count.bit_length() - 4, 0))
    return -(-count // step) * step


def _power(number: int) -> int:
    """The smallest power of two that is not below a number."""
    return 1 << max(number - 1, 0).bit_length()
