"""Trains many small networks at once: one compiled function for all, whatever their hyper-parameters.

What differs between nets (predictor subset, widths, depth, learning rate, noise, L1, weights of the samples, limits) is
data: columns are gathered and padded to the most that any net uses, layers to the widest, rows to the most that any
net looks at. Nets train in slots; a net that stops makes room for one that waits.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
import warnings
import zipfile
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from glacmb_grid.disk import put_aside
from glacmb_grid.errors import InputError

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]

_SEGMENT = 10  # epochs between two looks at which nets have stopped
_BANK = 1 << 20  # draws of noise; every epoch, predictor and net reads a window of its own
_CACHE_BYTES = 3 << 20  # what the slots of one lane should fit into on a CPU
_ACCELERATOR_BYTES = 8 << 30
_BETA = 0.5  # exponent of the variance in beta-NLL
_WIDEST = 6.0  # bound of the logarithm of the variance (standardised target)
_MEMORY = 0.9  # of the moving average of a sample's residual
_FORMAT = 1  # of checkpoints
_barrier: Callable[[jax.Array], jax.Array] = jax.lax.optimization_barrier
_partition: Callable[..., jax.sharding.PartitionSpec] = jax.sharding.PartitionSpec
_EXACT = jax.lax.Precision.HIGHEST  # accelerators would otherwise round the factors of products


@dataclass(frozen=True, eq=False)
class Problem:
    """What nets share.

    Attributes
    ----------
    rows : float32 array, (matrix, row, predictor)
        Standardised predictors; rows and columns that no net uses may hold anything.
    target : float32 array, (target, sample)
        Standardised balances, less what the operator makes of their mean.
    fit : float32 array, (split, sample)
        Weights that sum to one; zero = never looked at. Counts of a bootstrap and weights by uncertainty come in here.
    stop : float32 array, (split, sample)
        Weights of the early stopping that sum to one, or all zero: no early stopping, the last epoch is kept.
    operator : tuple of arrays, (entry,), optional
        Sample number, row number and weight of a sparse observation operator; None: sample i is row i.
    """

    rows: Floats
    target: Floats
    fit: Floats
    stop: Floats
    operator: tuple[Integers, Integers, Floats] | None = None

    def __post_init__(self) -> None:
        if self.rows.ndim != 3 or any(a.ndim != 2 for a in (self.target, self.fit, self.stop)):
            raise ValueError("rows must be (matrix, row, predictor), target, fit and stop (number, sample)")
        samples = {a.shape[1] for a in (self.target, self.fit, self.stop)}
        if self.operator is None:
            samples.add(self.rows.shape[1])
        if len(samples) > 1 or self.fit.shape != self.stop.shape:
            raise ValueError("target, fit and stop (and rows, without an operator) must have the same samples")
        if not (self.fit >= 0).all() or not (self.stop >= 0).all() or not self.fit.any(axis=1).all():
            raise ValueError("weights must not be negative, and every split must fit something")


@dataclass(frozen=True, eq=False)
class Nets:
    """What differs between nets; the leading axis of every array is the net.

    Attributes
    ----------
    matrix, target, split : int arrays, (net,)
        Which matrix, target and split of the problem.
    columns : bool array, (net, predictor)
        The predictors used.
    widths : int array, (net, layer)
        Units of the hidden layers; 0 = no such layer (only at the end). A net without any is linear.
    learning_rate, noise, l1, gamma : float32 arrays, (net,)
        Of Adam; standard deviation of the noise on the predictors; factor of the sum of absolute kernels; exponent of
        the dynamic weighting of samples, 0 = none.
    heteroscedastic : bool array, (net,)
        Whether a second output learns the logarithm of the variance.
    epochs : int array, (net,)
        Limits.
    seed : int array, (net,)
        A net's result depends on its seed and its own data, not on other nets nor its place among them.
    """

    matrix: Integers
    target: Integers
    split: Integers
    columns: npt.NDArray[np.bool_]
    widths: Integers
    learning_rate: Floats
    noise: Floats
    l1: Floats
    gamma: Floats
    heteroscedastic: npt.NDArray[np.bool_]
    epochs: Integers
    seed: Integers

    def __post_init__(self) -> None:
        if len({len(getattr(self, f.name)) for f in fields(self)}) > 1:
            raise ValueError("all arrays must have one entry for each net")
        present = self.widths > 0
        if (present[:, 1:] & ~present[:, :-1]).any():
            raise ValueError("a layer of width 0 must not be followed by another layer")
        if not self.columns.any(axis=1).all():
            raise ValueError("every net needs a predictor")

    def __len__(self) -> int:
        return len(self.seed)

    def __getitem__(self, which: Any) -> Nets:
        """Some of the nets."""
        return Nets(*(getattr(self, f.name)[which] for f in fields(self)))


class Layout(NamedTuple):
    """How the parameters of a net lie in a row: kernels (unit, input) of all layers, then biases."""

    predictors: int
    widths: tuple[int, ...]
    outputs: int

    @property
    def layers(self) -> tuple[tuple[int, int], ...]:
        """Units and inputs of every layer, the output last."""
        sizes = (self.predictors, *self.widths, self.outputs)
        return tuple(zip(sizes[1:], sizes[:-1], strict=True))

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(units * (inputs + 1) for units, inputs in self.layers)


class Shape(NamedTuple):
    """All that the compiled function depends on; calls with the same shape share it.

    Attributes
    ----------
    block : int
        Slots that train side by side.
    fit, stop : tuples of int
        Padded numbers of samples, rows and entries of the operator (0: identity) that a net fits and stops on.
    dynamic : bool
        Whether any net weights its samples dynamically.
    """

    block: int
    layout: Layout
    fit: tuple[int, int, int]
    stop: tuple[int, int, int]
    dynamic: bool


@dataclass(frozen=True, eq=False)
class Trained:
    """What is kept of trained nets.

    Attributes
    ----------
    parameters : float32 array, (net, parameter)
        Of the best epoch, as `layout` has them.
    loss : float32 array, (net, epoch, part)
        Weighted squared error (heteroscedastic nets: negative log-likelihood) on fitted samples, under noise and before
        the step, and on stopping samples after it; NaN after the end.
    best_epoch, epochs : int arrays, (net,)
        The epoch kept, and how many were run.
    layout : Layout
    """

    parameters: Floats
    loss: Floats
    best_epoch: npt.NDArray[np.int32]
    epochs: npt.NDArray[np.int32]
    layout: Layout


class Look(NamedTuple):
    """The samples that a net looks at, padded; leaves are NumPy's or JAX's arrays, the leading axis is the slot."""

    rows: Any  # (slot, predictor, row)
    target: Any  # (slot, sample)
    weight: Any  # (slot, sample)
    operator: tuple[Any, Any, Any] | None  # (slot, entry): sample, row, weight


class Slots(NamedTuple):
    """What the nets in the slots are; leaves as in Look."""

    fit: Look
    stop: Look | None
    keep_last: Any  # without early stopping
    decay: Any  # (slot, parameter): factor of L1; -1 = frozen
    linear: Any  # (slot, layer): 1 = the layer hands on what it gets
    noise: Any  # (slot, predictor)
    rate: Any
    gamma: Any
    heteroscedastic: Any  # 0 or 1
    epochs: Any
    seed: Any  # uint32


class State(NamedTuple):
    """Where the nets in the slots stand; the leading axis of every leaf is the slot."""

    parameters: jax.Array
    mean: jax.Array  # of the gradient
    square: jax.Array
    best: jax.Array
    best_loss: jax.Array
    best_epoch: jax.Array
    epoch: jax.Array
    residual: jax.Array  # (slot, sample), moving average of its absolute value; (slot, 0) unless the shape is dynamic


def enable_compilation_cache(folder: Path | None = None) -> Path | None:
    """Keep compiled functions between processes, where there is a place for them.

    Parameters
    ----------
    folder : Path, optional
        By default a folder in the user's cache directory.

    Returns
    -------
    Path or None
        The folder; None where it cannot be written: then every process compiles again.
    """
    try:
        if folder is None:
            folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glacmb_grid" / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # read-only, full, or no home at all
        return None
    update: Callable[[str, Any], None] = jax.config.update
    update("jax_compilation_cache_dir", str(folder))
    update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return folder


def shape_of(problem: Problem, nets: Nets, block: int | None = None) -> Shape:
    """The smallest shape for these nets.

    Parameters
    ----------
    problem : Problem
    nets : Nets
    block : int, optional
        Slots of a lane; by default what fits into a core's cache, or on an accelerator into a part of its memory.

    Returns
    -------
    Shape
    """
    outputs = 2 if nets.heteroscedastic.any() else 1
    depth = (nets.widths > 0).sum(axis=1)
    widths = nets.widths[:, : depth.max()].max(axis=0)
    if (depth < len(widths)).any():
        widths = np.maximum(widths, outputs)  # room to hand the outputs on
    layout = Layout(int(nets.columns.sum(axis=1).max()), tuple(int(w) for w in widths), outputs)
    splits = np.unique(nets.split)
    fit, stop = (
        tuple(
            max(_rounded(c) for c in column) for column in zip(*(_counts(problem, w[s]) for s in splits), strict=True)
        )
        for w in (problem.fit, problem.stop)
    )
    if block is None:
        units = sum(layout.widths)
        size = 4 * (fit[1] * (3 * units + 2 * layout.predictors) + stop[1] * (units + layout.predictors))
        size += 24 * layout.size
        on_cpu = jax.default_backend() == "cpu"
        room = max((_CACHE_BYTES if on_cpu else _ACCELERATOR_BYTES) // size, 4)
        few = _power(-(-len(nets) // (2 if on_cpu else jax.local_device_count())))  # whatever the number of cores
        block = min(_power(min(room, 64 if on_cpu else 1 << 14) + 1) // 2, few)
    return Shape(block, layout, _triple(fit), _triple(stop), bool((nets.gamma != 0).any()))


def largest(*shapes: Shape) -> Shape:
    """A shape that serves the nets of all the given ones, so that they share one compiled function."""
    layers = max(len(s.layout.widths) for s in shapes)
    outputs = max(s.layout.outputs for s in shapes)
    padded = [s.layout.widths + (0,) * (layers - len(s.layout.widths)) for s in shapes]
    widths = tuple(max(*column, outputs) for column in zip(*padded, strict=True))
    return Shape(
        max(s.block for s in shapes),
        Layout(max(s.layout.predictors for s in shapes), widths, outputs),
        _triple(tuple(map(max, zip(*(s.fit for s in shapes), strict=True)))),
        _triple(tuple(map(max, zip(*(s.stop for s in shapes), strict=True)))),
        any(s.dynamic for s in shapes),
    )


def train(
    problem: Problem,
    nets: Nets,
    *,
    patience: int,
    shape: Shape | None = None,
    start: Floats | None = None,
    checkpoint: Path | None = None,
    every: float = 60.0,
    progress: Progress | None = None,
) -> Trained:
    """Train all nets.

    Parameters
    ----------
    problem : Problem
    nets : Nets
    patience : int
        A net stops when its best epoch lies more than so many epochs back.
    shape : Shape, optional
        By default that of `shape_of`. Nets are bit-identical among calls of the same shape.
    start : float32 array, (net, parameter), optional
        Initial parameters in the layout of `shape`; by default kernels are normal with variance 1 / inputs.
    checkpoint : Path, optional
        A file to keep the state in. Where it exists, training goes on from there; a damaged file, or one of another
        training, is put aside with a warning.
    every : float
        Seconds between two checkpoints.
    progress : callable, optional
        Called after every segment with the number of trained nets and of epochs run since the start, of all nets
        together; what it raises ends the training.

    Returns
    -------
    Trained

    Notes
    -----
    Adam on full batches. Loss: weighted squared error, fresh Gaussian noise on the standardised predictors in every
    epoch, plus L1 of the kernels; beta-NLL (beta 0.5, times two) where heteroscedastic. Dynamic weighting multiplies
    the weight of sample i by ``clip((e_i / mean(e)) ** gamma, 1/4, 4)``, renormalised to mean one, with e_i an
    exponential moving average (0.9 of the past) of its absolute residual.
    """
    shape = shape or shape_of(problem, nets)
    _check(problem, nets)
    run = _Run(problem, nets, shape, patience, start, progress)
    if checkpoint is not None:
        run.resume(checkpoint, every)
    lanes = _lanes()
    with ThreadPoolExecutor(lanes) as pool:
        for lane in [pool.submit(run.lane, number) for number in range(lanes)]:
            lane.result()
    if checkpoint is not None:
        run.save()
    return run.out


def forward(
    layout: Layout,
    parameters: Floats,
    columns: npt.NDArray[np.bool_],
    widths: Integers,
    rows: Floats,
    matrix: Integers | None = None,
) -> tuple[Floats, Floats]:
    """Standardised balance of rows by trained nets.

    Parameters
    ----------
    layout : Layout
    parameters : float32 array, (net, parameter)
    columns : bool array, (net, predictor)
    widths : int array, (net, layer)
    rows : float32 array, (matrix, row, predictor)
        Standardised; NaN in a used column gives NaN.
    matrix : int array, (net,), optional
        Which matrix a net uses; by default the first.

    Returns
    -------
    mean : float32 array, (net, row)
    variance : float32 array, (net, row)
        Of a single row; (net, 0) where the layout has no such output.
    """
    count = rows.shape[1]
    padded = np.zeros((rows.shape[0], rows.shape[2], _rounded(count)), np.float32)
    padded[..., :count] = np.moveaxis(rows, 1, 2)
    order, used = _gathered(columns, layout.predictors)
    matrix = np.zeros(len(parameters), np.int64) if matrix is None else matrix
    linear = _linear(widths, layout)
    args = (jnp.asarray(parameters), jnp.asarray(order), jnp.asarray(used), jnp.asarray(linear), jnp.asarray(matrix))
    out = np.asarray(_forward(args, jnp.asarray(padded), layout))[..., :count]
    return out[:, 0], out[:, 1] if layout.outputs > 1 else out[:, 0, :0]


def initial(nets: Nets, layout: Layout) -> Floats:
    """Parameters that nets start from, (net, parameter); they depend on a net's seed and its own widths only."""
    out = np.zeros((len(nets), layout.size), np.float32)
    for net in range(len(nets)):
        used, depth = int(nets.columns[net].sum()), int((nets.widths[net] > 0).sum())
        own = Layout(used, tuple(int(w) for w in nets.widths[net, :depth]), 1)
        draws = np.random.Generator(np.random.Philox(key=int(nets.seed[net]) % (1 << 64)))
        kernels, _ = split(out[net], layout)
        for layer, (units, inputs) in enumerate(own.layers):
            values = draws.standard_normal((units, inputs), np.float32) / np.sqrt(np.float32(inputs))
            kernels[layer][:units, :inputs] = values
        for kernel in kernels[depth + 1 :]:
            np.fill_diagonal(kernel[: layout.outputs, : layout.outputs], 1)
    return out


def split(parameters: Any, layout: Layout) -> tuple[list[Any], list[Any]]:
    """Kernels (..., unit, input) and biases (..., unit) of parameters (..., parameter)."""
    lead, layers, at = parameters.shape[:-1], layout.layers, 0
    kernels, biases = [], []
    for units, inputs in layers:
        kernels.append(parameters[..., at : at + units * inputs].reshape(*lead, units, inputs))
        at += units * inputs
    for units, _ in layers:
        biases.append(parameters[..., at : at + units])
        at += units
    return kernels, biases


def _check(problem: Problem, nets: Nets) -> None:
    where = "the rows that nets look at"
    for s in np.unique(nets.split):
        seen, touched, _ = _seen(problem, (problem.fit[s] > 0) | (problem.stop[s] > 0))
        mine = nets.split == s
        values = problem.rows[np.unique(nets.matrix[mine])][:, touched][..., nets.columns[mine].any(axis=0)]
        if (
            not np.isfinite(values).all()
            or not np.isfinite(problem.target[np.unique(nets.target[mine])][:, seen]).all()
        ):
            raise InputError(
                where,
                expected="finite predictors and targets",
                found=f"missing or infinite values in split {s}",
                remedy="fill gaps before training",
            )


def _lanes() -> int:
    """Conveyors side by side: XLA leaves cores idle on nets as small as these. Results do not depend on it."""
    if jax.default_backend() != "cpu" or jax.local_device_count() > 1:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _rounded(count: int) -> int:
    """Padded number of rows: a multiple of the vector length, in steps of about an eighth."""
    step = max(16, 1 << max(count.bit_length() - 4, 0))
    return -(-count // step) * step


def _power(number: int) -> int:
    return 1 << max(number - 1, 0).bit_length()


def _triple(values: tuple[int, ...]) -> tuple[int, int, int]:
    samples, rows, entries = values
    return samples, rows, entries


Seen = tuple[Integers, Integers, "tuple[Integers, Integers, Floats] | None"]


def _seen(problem: Problem, mask: npt.NDArray[np.bool_]) -> Seen:
    """Samples looked at, the rows that they take, and the operator between the two."""
    samples = np.flatnonzero(mask)
    if problem.operator is None:
        return samples, samples, None
    sample, row, weight = problem.operator
    mine = mask[sample]
    rows, local = np.unique(row[mine], return_inverse=True)
    return samples, rows, (np.searchsorted(samples, sample[mine]), local.reshape(-1), weight[mine])


def _counts(problem: Problem, weights: Floats) -> tuple[int, int, int]:
    samples, rows, operator = _seen(problem, weights > 0)
    return len(samples), len(rows), 0 if operator is None else len(operator[0])


def _gathered(columns: npt.NDArray[np.bool_], width: int) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Numbers of the used columns, (net, width), and which of them are no padding."""
    order = np.argsort(~columns, axis=1, kind="stable")[:, :width]
    order = np.pad(order, ((0, 0), (0, width - order.shape[1])))
    return order, np.arange(width) < columns.sum(axis=1)[:, None]


def _linear(widths: Integers, layout: Layout) -> Floats:
    """Layers that hand on what they get, (net, layer): a net of fewer layers has its outputs in the first of them."""
    depth = (widths > 0).sum(axis=1)
    out: Floats = (np.arange(len(layout.widths)) >= depth[:, None]).astype(np.float32)
    return out


def _decay(depth: int, layout: Layout) -> Floats:
    """1 for kernels, 0 for biases, -1 for what only hands on, (parameter,)."""
    out = np.zeros(layout.size, np.float32)
    kernels, biases = split(out, layout)
    for layer, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
        kernel[...] = 1 if layer <= depth else -1
        bias[...] = 0 if layer <= depth else -1
    return out


class _Run:
    """A call of `train`: the queue of nets, what each lane holds, and the results."""

    def __init__(
        self,
        problem: Problem,
        nets: Nets,
        shape: Shape,
        patience: int,
        start: Floats | None,
        progress: Progress | None,
    ) -> None:
        self.problem, self.nets, self.shape, self.patience, self.progress = problem, nets, shape, patience, progress
        self.start = initial(nets, shape.layout) if start is None else start
        self.depth = (nets.widths > 0).sum(axis=1)
        self.order, self.used = _gathered(nets.columns, shape.layout.predictors)
        self.decays = np.array([_decay(d, shape.layout) for d in range(nets.widths.shape[1] + 1)])
        self.linear = _linear(nets.widths, shape.layout)
        count, epochs = len(nets), int(nets.epochs.max(initial=1))
        self.out = Trained(
            np.zeros((count, shape.layout.size), np.float32),
            np.full((count, epochs, 2), np.nan, np.float32),
            np.zeros(count, np.int32),
            np.zeros(count, np.int32),
            shape.layout,
        )
        self.finished = np.zeros(count, bool)
        self.waiting = deque(range(count))
        self.held: dict[int, tuple[Integers, list[npt.NDArray[Any]]]] = {}
        self.seen = lru_cache(maxsize=256)(lambda s, part: _seen(problem, getattr(problem, part)[s] > 0))
        self.slots = shape.block * jax.local_device_count()
        self.lock, self.failed = threading.Lock(), threading.Event()
        self.file: Path | None = None
        self.every, self.ran = 0.0, 0
        count_devices = jax.local_device_count()
        mesh = jax.sharding.Mesh(np.array(jax.local_devices()), ("slot",)) if count_devices > 1 else None
        self.sharding = mesh and jax.sharding.NamedSharding(mesh, _partition("slot"))
        bank = _bank(max(_BANK, _power(16 * shape.fit[1])) + shape.fit[1])
        self.bank = (
            jnp.asarray(bank) if mesh is None else jax.device_put(bank, jax.sharding.NamedSharding(mesh, _partition()))
        )

    def put(self, tree: Any) -> Any:
        return jax.device_put(tree, self.sharding)

    def empty(self) -> Slots:
        """Slots without nets."""
        n, layout = self.slots, self.shape.layout

        def look(size: tuple[int, int, int]) -> Look:
            samples, rows, entries = size
            integers = np.zeros((2, n, entries), np.int32)
            operator = (integers[0], integers[1], np.zeros((n, entries), np.float32)) if entries else None
            padded = np.zeros((2, n, samples), np.float32)
            return Look(np.zeros((n, layout.predictors, rows), np.float32), padded[0], padded[1], operator)

        single = [np.zeros(n, t) for t in (np.float32, np.float32, np.float32, np.float32, np.int32, np.uint32)]
        wide = [np.zeros((n, w), np.float32) for w in (layout.size, len(layout.widths), layout.predictors)]
        return Slots(
            look(self.shape.fit),
            look(self.shape.stop) if self.shape.stop[0] else None,
            single[0],
            *wide,
            *single[1:],
        )

    def fill(self, slots: Slots, slot: int, net: int) -> None:
        """Write a net's data into its slot."""
        nets, s = self.nets, int(self.nets.split[net])
        columns = self.order[net][self.used[net]]
        for look, part in ((slots.fit, "fit"), (slots.stop, "stop")):
            if look is None:
                continue
            for field in jax.tree.leaves(look):
                field[slot] = 0
            samples, rows, operator = self.seen(s, part)
            look.rows[slot, : len(columns), : len(rows)] = self.problem.rows[nets.matrix[net]][rows[:, None], columns].T
            look.target[slot, : len(samples)] = self.problem.target[nets.target[net], samples]
            look.weight[slot, : len(samples)] = getattr(self.problem, part)[s, samples]
            if operator is not None and look.operator is not None:
                parts: list[npt.NDArray[Any]] = list(operator)
                for place, entries in enumerate(parts):
                    look.operator[place][slot, : len(entries)] = entries
        decay = self.decays[self.depth[net]]
        values = {
            "keep_last": not self.problem.stop[s].any(),
            "decay": np.where(decay > 0, nets.l1[net], decay),
            "linear": self.linear[net],
            "noise": nets.noise[net] * self.used[net],
            "rate": nets.learning_rate[net],
            "gamma": nets.gamma[net],
            "heteroscedastic": nets.heteroscedastic[net],
            "epochs": nets.epochs[net],
            "seed": int(nets.seed[net]) * 0x9E3779B1 % (1 << 32),
        }
        for name, value in values.items():
            getattr(slots, name)[slot] = value

    def begin(self) -> State:
        """The state of empty slots."""
        n = self.slots
        wide, none = np.zeros((n, self.shape.layout.size), np.float32), np.zeros(n, np.int32)
        residual = np.zeros((n, self.shape.fit[0] if self.shape.dynamic else 0), np.float32)
        return State(*self.put([wide, wide, wide, wide, np.zeros(n, np.float32), none, none, residual]))

    def lane(self, number: int) -> None:
        """Train nets from the queue until none waits."""
        try:
            self.conveyor(number)
        except BaseException:
            self.failed.set()
            raise

    def conveyor(self, number: int) -> None:
        held = self.held.get(number)
        if held is None and not self.waiting:
            return
        where = np.full(self.slots, -1) if held is None else held[0]
        host = self.empty()
        for slot in np.flatnonzero(where >= 0):
            self.fill(host, int(slot), int(where[slot]))
        state = self.begin() if held is None else State(*self.put(held[1]))
        slots, saved = self.put(host), time.monotonic()
        while not self.failed.is_set():
            fresh = np.zeros(self.slots, bool)
            for slot in np.flatnonzero(where < 0):
                try:
                    where[slot] = self.waiting.popleft()
                except IndexError:
                    break
                fresh[slot] = True
                self.fill(host, int(slot), int(where[slot]))
            if not (where >= 0).any():
                break
            if fresh.any():
                slots = self.put(jax.tree.map(np.array, host))  # a copy: JAX may use the memory of what it is given
                state = _refill(state, *self.put([self.start[where], fresh]))
            before = np.asarray(state.epoch)
            state, losses = _segment(
                slots, state, self.bank, self.patience, layout=self.shape.layout, dynamic=self.shape.dynamic
            )
            self.harvest(state, np.asarray(losses), before, where)
            if self.file is not None and time.monotonic() - saved >= self.every:
                self.held[number] = (where.copy(), [np.array(leaf) for leaf in state])
                self.save()
                saved = time.monotonic()
            if self.progress is not None:
                with self.lock:
                    self.progress(int(self.finished.sum()), self.ran)
        self.held.pop(number, None)

    def harvest(self, state: State, losses: Floats, before: Integers, where: Integers) -> None:
        """Store the losses of a segment, keep the nets that stopped and free their slots."""
        epoch, best = np.asarray(state.epoch), np.asarray(state.best_epoch)
        parameters: Floats | None = None
        ran = 0
        for slot in np.flatnonzero(where >= 0):
            net = int(where[slot])
            limit = int(self.nets.epochs[net])
            first, last = int(before[slot]), min(int(before[slot]) + len(losses), limit)
            self.out.loss[net, first:last] = losses[: last - first, :, slot]
            end = min(int(best[slot]) + self.patience + 1, limit)
            ran += min(int(epoch[slot]), end) - first
            if epoch[slot] >= end:
                parameters = np.asarray(state.best) if parameters is None else parameters
                self.out.parameters[net], self.out.best_epoch[net] = parameters[slot], best[slot]
                self.out.epochs[net] = end
                self.finished[net] = True
                where[slot] = -1
        with self.lock:
            self.ran += ran

    def digest(self) -> str:
        """Of all that decides what comes out."""
        total = hashlib.sha256(repr((_FORMAT, self.shape, self.slots, self.patience, _SEGMENT)).encode())
        operator = self.problem.operator or ()
        shared = (self.problem.rows, self.problem.target, self.problem.fit, self.problem.stop, *operator)
        own = (getattr(self.nets, f.name) for f in fields(self.nets))
        for array in (*shared, *own, self.start):
            total.update(repr((array.shape, array.dtype.str)).encode())
            total.update(np.ascontiguousarray(array).tobytes())
        return total.hexdigest()

    def resume(self, file: Path, every: float) -> None:
        """Go on from a checkpoint where there is one, and keep writing it."""
        self.file, self.every, self.mine = file, every, self.digest()
        if not file.exists():
            return
        kept = _kept(file, self.mine)
        if isinstance(kept, str):
            aside = put_aside(file, "unusable").name
            warnings.warn(f"{file} is {kept}: put aside as {aside}, training begins anew", stacklevel=2)
            return
        for name in ("parameters", "loss", "best_epoch", "epochs"):
            getattr(self.out, name)[...] = kept[name]
        self.finished[...] = kept["finished"]
        for number in range(min(_lanes(), int(kept["lanes"]))):
            if f"where{number}" not in kept:
                continue
            where = kept[f"where{number}"]
            where[(where >= 0) & self.finished[where]] = -1
            self.held[number] = where, [kept[f"{name}{number}"] for name in State._fields]
        inside = {int(net) for where, _ in self.held.values() for net in where}
        self.waiting = deque(net for net in np.flatnonzero(~self.finished).tolist() if net not in inside)

    def save(self) -> None:
        """Write the checkpoint aside, then rename it."""
        assert self.file is not None
        with self.lock:
            arrays: dict[str, Any] = {"digest": self.mine, "finished": self.finished, "lanes": _lanes()}
            arrays |= {n: getattr(self.out, n) for n in ("parameters", "loss", "best_epoch", "epochs")}
            for number, (where, state) in list(self.held.items()):
                arrays |= {f"where{number}": where}
                arrays |= {f"{name}{number}": leaf for name, leaf in zip(State._fields, state, strict=True)}
            self.file.parent.mkdir(parents=True, exist_ok=True)
            aside = self.file.with_name(f".{self.file.name}.{os.getpid()}")
            with aside.open("wb") as stream:
                np.savez(stream, **arrays)
            aside.replace(self.file)


def _kept(file: Path, digest: str) -> dict[str, npt.NDArray[Any]] | str:
    """What a checkpoint holds, all of it read; or why it cannot be used."""
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            kept = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        return f"damaged ({type(error).__name__})"
    if str(kept.get("digest", "")) != digest:
        return "a checkpoint of another training: other data, nets, block or number of devices"
    return kept


@lru_cache(maxsize=1)
def _bank(size: int) -> Floats:
    """Standard normal draws, (draw,); the first ones do not depend on the number."""
    return np.random.Generator(np.random.Philox(key=20)).standard_normal(size, np.float32)


@jax.jit
def _refill(state: State, start: jax.Array, fresh: jax.Array) -> State:
    """Put new nets into the free slots, with their initial parameters, (slot, parameter)."""
    new = State(start, 0.0, 0.0, start, jnp.inf, 0, 0, 0.0)  # type: ignore[arg-type]
    merged: State = jax.tree.map(lambda a, b: jnp.where(fresh.reshape(-1, *[1] * (b.ndim - 1)), a, b), new, state)
    return merged


@partial(jax.jit, static_argnames="layout")
def _forward(nets: tuple[jax.Array, ...], rows: jax.Array, layout: Layout) -> jax.Array:
    def one(net: tuple[jax.Array, ...]) -> jax.Array:
        parameters, order, used, linear, matrix = net
        inputs = jnp.where(used[:, None], rows[matrix][order], 0.0)
        out = _outputs(parameters[None], inputs[None], linear[None], layout)[0][0]
        return out if layout.outputs == 1 else jnp.stack([out[0], jnp.exp(_bounded(out[1]))])

    out: jax.Array = jax.lax.map(one, nets)
    return out


def _bounded(value: jax.Array) -> jax.Array:
    """Logarithm of a variance."""
    return _WIDEST * jnp.tanh(value / _WIDEST)


def _outputs(
    parameters: jax.Array, inputs: jax.Array, linear: jax.Array, layout: Layout
) -> tuple[jax.Array, list[jax.Array], list[jax.Array], list[jax.Array]]:
    """Outputs (slot, output, row), kernels, inputs of every layer, and the gates h / z of the hidden ones.

    The gate is the logistic function (silu; by the tanh, which is faster), or 1 in a layer that hands on what it gets;
    in both cases the derivative of h = z gate(z) is ``gate + h (1 - gate)``.
    """
    kernels, biases = split(parameters, layout)
    layers, gates = [inputs], []
    for layer in range(len(layout.widths)):
        sums = jnp.einsum("npq,nqr->npr", kernels[layer], layers[-1], precision=_EXACT) + biases[layer][:, :, None]
        gates.append(jnp.maximum(0.5 + 0.5 * jnp.tanh(0.5 * sums), linear[:, layer, None, None]))
        layers.append(sums * gates[-1])
    out = jnp.einsum("npq,nqr->npr", kernels[-1], layers[-1], precision=_EXACT) + biases[-1][:, :, None]
    return out, kernels, layers, gates


def _observed(values: jax.Array, look: Look, power: int = 1) -> jax.Array:
    """What the operator makes of rows, (slot, sample) of (slot, row); its weights to a power."""
    if look.operator is None:
        return values
    samples = look.target.shape[1]

    def one(value: jax.Array, sample: jax.Array, row: jax.Array, weight: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(value[row] * weight**power, sample, samples)

    seen: jax.Array = jax.vmap(one)(values, *look.operator)
    return seen


def _spread_back(slope: jax.Array, look: Look, power: int = 1) -> jax.Array:
    """Transpose of `_observed`, (slot, row) of (slot, sample)."""
    if look.operator is None:
        return slope
    rows = look.rows.shape[2]

    def one(value: jax.Array, sample: jax.Array, row: jax.Array, weight: jax.Array) -> jax.Array:
        return jax.ops.segment_sum(value[sample] * weight**power, row, rows)

    back: jax.Array = jax.vmap(one)(slope, *look.operator)
    return back


def _residual(out: jax.Array, look: Look) -> tuple[jax.Array, jax.Array | None]:
    """Residuals and, where the nets have it, variances of samples, (slot, sample)."""
    error = _observed(out[:, 0], look) - look.target
    if out.shape[1] == 1:
        return error, None
    variance = _observed(jnp.exp(_bounded(out[:, 1])), look, 2)
    return error, jnp.where(look.weight > 0, variance, 1.0)  # padding has no rows, hence no variance


def _judged(error: jax.Array, variance: jax.Array | None, weight: jax.Array, kind: jax.Array) -> jax.Array:
    """Loss without L1, (slot,)."""
    loss = error**2
    if variance is not None:
        loss = jnp.where(kind[:, None] > 0, jnp.log(variance) + error**2 / variance, loss)
    return jnp.sum(weight * loss, axis=1)


def gradient(
    parameters: jax.Array, slots: Slots, inputs: jax.Array, residual: jax.Array, first: jax.Array, layout: Layout
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradient of the loss without L1, by hand.

    Parameters
    ----------
    parameters : (slot, parameter)
    slots : Slots
    inputs : (slot, predictor, row)
        Predictors of the fitted rows with their noise.
    residual : (slot, sample)
        Moving average of absolute residuals; (slot, 0) without dynamic weighting.
    first : bool, (slot,)
        Whether the average begins here.
    layout : Layout

    Returns
    -------
    gradient : (slot, parameter)
    loss : (slot,)
    residual : (slot, sample)
    """
    look = slots.fit
    out, kernels, layers, gates = _outputs(parameters, inputs, slots.linear, layout)
    error, variance = _residual(out, look)
    loss = _judged(error, variance, look.weight, slots.heteroscedastic)
    weight = look.weight
    if residual.shape[1]:
        size = jnp.abs(error)
        residual = jnp.where(first[:, None], size, _MEMORY * residual + (1 - _MEMORY) * size)
        weight = dynamic_weight(weight, residual, slots.gamma)
    slope = 2 * weight * error
    if variance is None:
        slopes = _spread_back(slope, look)[:, None]
    else:
        kind = slots.heteroscedastic[:, None] > 0
        power = variance**_BETA
        slope = jnp.where(kind, slope * power / variance, slope)
        by_variance = jnp.where(kind, weight * power * (1 - error**2 / variance) / variance, 0.0)
        bounded = _bounded(out[:, 1])
        by_log = _spread_back(by_variance, look, 2) * jnp.exp(bounded) * (1 - (bounded / _WIDEST) ** 2)
        slopes = jnp.stack([_spread_back(slope, look), by_log], axis=1)
    by_kernel, by_bias = [], []
    ones = jnp.ones((inputs.shape[0], inputs.shape[2]))  # one product a slot: in a single one places would matter
    for layer in reversed(range(len(kernels))):
        by_kernel.append(jnp.einsum("npr,nqr->npq", slopes, layers[layer], precision=_EXACT))
        by_bias.append(jnp.einsum("npr,nr->np", slopes, ones, precision=_EXACT))
        if layer:
            gate = gates[layer - 1]
            if slopes.shape[1] == 1:
                back = kernels[layer][:, 0, :, None] * slopes
            else:  # products of a transposed kernel are slow, and XLA would merge the two
                turned = _barrier(jnp.swapaxes(kernels[layer], 1, 2))
                back = jnp.einsum("nqp,npr->nqr", turned, slopes, precision=_EXACT)
            slopes = back * (gate + layers[layer] * (1 - gate))
    parts = [g.reshape(g.shape[0], -1) for g in by_kernel[::-1]] + by_bias[::-1]
    return jnp.concatenate(parts, axis=1), loss, residual


def dynamic_weight(weight: jax.Array, residual: jax.Array, gamma: jax.Array) -> jax.Array:
    """Weights (slot, sample) times ``clip((e / mean e) ** gamma, 1/4, 4)`` renormalised to mean one."""
    mean = jnp.sum(weight * residual, axis=1, keepdims=True)
    relative = jnp.maximum(residual, 1e-12) / jnp.maximum(mean, 1e-12)
    factor = jnp.clip(relative ** gamma[:, None], 0.25, 4.0)
    changed = weight * factor
    return jnp.where(gamma[:, None] != 0, changed / jnp.sum(changed, axis=1, keepdims=True), weight)


def _noise(bank: jax.Array, slots: Slots, epoch: jax.Array) -> jax.Array:
    """Windows of the bank at places scrambled from seed, epoch and predictor, (slot, predictor, row)."""
    _, predictors, rows = slots.fit.rows.shape
    place = (epoch.astype(jnp.uint32) * jnp.uint32(0x85EBCA6B) + slots.seed)[:, None]
    place = place ^ (jnp.arange(predictors, dtype=jnp.uint32) * jnp.uint32(0xC2B2AE35))
    for factor in (0x7FEB352D, 0x846CA68B):
        place = (place ^ (place >> 16)) * jnp.uint32(factor)
    place = ((place ^ (place >> 16)) % jnp.uint32(bank.shape[0] - rows)).astype(jnp.int32)
    place = _barrier(place)  # else it is worked out anew for every row
    drawn = bank.at[place[:, :, None] + jnp.arange(rows)].get(mode="promise_in_bounds")
    scaled: jax.Array = slots.noise[:, :, None] * drawn
    return scaled


@partial(jax.jit, static_argnames=("layout", "dynamic"))
def _segment(
    slots: Slots, state: State, bank: jax.Array, patience: int, layout: Layout, dynamic: bool
) -> tuple[State, jax.Array]:
    """Some epochs of every slot, and the losses on fitted and stopping samples, (epoch, part, slot)."""
    assert dynamic == bool(state.residual.shape[1])

    def step(state: State, _: None) -> tuple[State, jax.Array]:
        inputs = slots.fit.rows + _noise(bank, slots, state.epoch)
        slope, fitted, residual = gradient(state.parameters, slots, inputs, state.residual, state.epoch == 0, layout)
        slope = _barrier(slope)
        slope = jnp.where(slots.decay < 0, 0.0, slope + slots.decay * jnp.sign(state.parameters))
        mean = 0.9 * state.mean + 0.1 * slope
        square = 0.999 * state.square + 0.001 * slope**2
        times = (state.epoch + 1).astype(jnp.float32)
        rate, unbiased = slots.rate / (1 - 0.9**times), 1 / (1 - 0.999**times)
        update = rate[:, None] * mean / (jnp.sqrt(square * unbiased[:, None]) + 1e-8)
        parameters = state.parameters - update
        going = (state.epoch - state.best_epoch <= patience) & (state.epoch < slots.epochs)
        if slots.stop is None:
            stopping, better = jnp.full_like(fitted, jnp.nan), going
        else:
            out = _outputs(parameters, slots.stop.rows, slots.linear, layout)[0]
            stopping = _judged(*_residual(out, slots.stop), slots.stop.weight, slots.heteroscedastic)
            better = going & ((stopping < state.best_loss) | (slots.keep_last > 0))
            stopping = jnp.where(slots.keep_last > 0, jnp.nan, stopping)
        after = State(
            parameters,
            mean,
            square,
            jnp.where(better[:, None], parameters, state.best),
            jnp.where(better, stopping, state.best_loss),
            jnp.where(better, state.epoch, state.best_epoch),
            state.epoch + 1,
            residual,
        )
        return after, jnp.where(going, jnp.stack([fitted, stopping]), jnp.nan)

    return jax.lax.scan(step, state, None, length=_SEGMENT)
