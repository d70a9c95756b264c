"""Training of many nets in slots side by side: when a net stops, a waiting one takes its slot."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from glacmb_grid.learning.nets.checkpoints import digest_of, load, save
from glacmb_grid.learning.nets.held import pool_of
from glacmb_grid.learning.nets.module import FeedForward, size_of
from glacmb_grid.learning.nets.problem import (
    Floats,
    Integers,
    Nets,
    Problem,
    Shape,
    initial,
    require_finite,
    shape_of,
    slots_of,
)
from glacmb_grid.learning.nets.step import SEGMENT, State, begun, replaced, segment

Progress = Callable[[int, int], None]

_BANK = 1 << 20  # draws of noise; each epoch, predictor and net reads its own window
_FORMAT = 2  # of checkpoints


@dataclass(frozen=True, eq=False)
class Trained:
    """Trained nets.

    Attributes
    ----------
    parameters : float32 array, (net, parameter)
        Of the best epoch: the flat vector of the parameters of `layout`.
    loss : float32 array, (net, epoch, part)
        Weighted squared error (heteroscedastic nets: negative log-likelihood) on fitted samples, under noise and before
        the step, and on stopping samples after it; NaN after the end.
    best_epoch, epochs : int arrays, (net,)
        The epoch kept, and how many were run.
    layout : FeedForward
        The network that all nets are padded to.
    """

    parameters: Floats
    loss: Floats
    best_epoch: Integers
    epochs: Integers
    layout: FeedForward


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
    """Train all nets: Adam on full batches, with fresh noise on the predictors in every epoch; see also `losses`.

    Parameters
    ----------
    problem : Problem
    nets : Nets
    patience : int
        A net stops when its best epoch lies more than this many epochs back.
    shape : Shape, optional
        By default that of `shape_of`. Nets are bit-identical among calls of the same shape.
    start : float32 array, (net, parameter), optional
        Parameters to begin with; by default those of `initial`.
    checkpoint : Path, optional
        File for the state, to resume from. A damaged file, or one of another training, is renamed with a warning.
    every : float
        Seconds between two checkpoints.
    progress : callable, optional
        Called after every segment with the number of trained nets and of epochs run by all nets since the start; an
        exception that it raises ends the training.

    Raises
    ------
    InputError
        If a net would use missing values.
    """
    require_finite(problem, nets)
    run = _Run(problem, nets, shape or shape_of(problem, nets), patience, progress)
    run.start = run.start if start is None else start
    if checkpoint is not None:
        run.resume(checkpoint, every)
    with ThreadPoolExecutor(_lanes()) as pool:
        list(pool.map(run.lane, range(_lanes())))
    if checkpoint is not None:
        run.save()
    return run.out


class _Run:
    """A call of `train`: the queue of nets, the states in each lane, and the results."""

    def __init__(
        self, problem: Problem, nets: Nets, shape: Shape, patience: int, progress: Progress | None = None
    ) -> None:
        self.problem, self.nets, self.shape, self.patience, self.progress = problem, nets, shape, patience, progress
        self.start, self.slot = initial(nets, shape.layout), slots_of(problem, nets, shape)
        count, epochs = len(nets), int(nets.epochs.max(initial=1))
        self.out = Trained(
            np.zeros((count, size_of(shape.layout)), np.float32),
            np.full((count, epochs, 2), np.nan, np.float32),
            np.zeros(count, np.int64),
            np.zeros(count, np.int64),
            shape.layout,
        )
        self.results: dict[str, Any] = {f.name: getattr(self.out, f.name) for f in fields(self.out)[:4]}
        self.results["finished"] = self.finished = np.zeros(count, bool)
        self.waiting = deque(range(count))
        self.held: dict[int, list[Any]] = {}  # by lane: its nets and the leaves of their states, as last saved
        self.lock, self.failed = threading.Lock(), threading.Event()
        self.file: Path | None = None
        self.digest, self.every, self.ran = "", 0.0, 0
        devices = jax.local_devices()
        self.slots = shape.block * len(devices)
        mesh = jax.sharding.Mesh(np.array(devices), ("slot",))
        split, everywhere = (
            jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axes))  # type: ignore[no-untyped-call]
            for axes in (("slot",), ())
        )
        self.put = partial(jax.device_put, device=split if len(devices) > 1 else None)
        bank = _bank(max(_BANK, 1 << (16 * shape.fit[1] - 1).bit_length()) + shape.fit[1])
        self.bank, self.pool = (
            jax.device_put(held, everywhere if len(devices) > 1 else None)
            for held in (bank, pool_of(problem.rates, shape.rates))
        )

    def lane(self, number: int) -> None:
        """Train nets from the queue until it is empty; on an error, stop the other lanes."""
        try:
            self.conveyor(number)
        except BaseException:
            self.failed.set()
            raise

    def conveyor(self, number: int) -> None:
        """Keep the slots of a lane filled and train them, a segment at a time."""
        where, *leaves = self.held.get(number, [np.full(self.slots, -1)])
        if not leaves and not self.waiting:
            return
        unused = self.slot(0)  # what empty slots hold
        nets = [unused if net < 0 else self.slot(int(net)) for net in where]
        average = self.shape.fit[0] if self.shape.dynamic else 0
        state = self.put(begun(self.start[where], average))
        if leaves:
            state = self.put(jax.tree.unflatten(jax.tree.structure(state), leaves))
        slots, saved = self.put(_stacked(nets)), time.monotonic()
        while not self.failed.is_set():
            fresh = np.zeros(self.slots, bool)
            for slot in np.flatnonzero(where < 0):
                try:
                    where[slot] = self.waiting.popleft()
                except IndexError:
                    break
                fresh[slot], nets[slot] = True, self.slot(int(where[slot]))
            if not (where >= 0).any():
                break
            if fresh.any():
                slots = self.put(_stacked(nets))
                state = replaced(state, self.put(begun(self.start[where], average)), self.put(fresh))
            before = np.asarray(state.epoch)
            held: dict[str, Any] = {"pool": self.pool, "most": self.shape.rates.drawn}
            state, losses = segment(slots, state, self.bank, self.patience, module=self.shape.layout, **held)
            self.harvest(state, np.stack(losses, axis=-1), before, where)
            if self.file is not None and time.monotonic() - saved >= self.every:
                self.held[number] = [where.copy(), *map(np.array, jax.tree.leaves(state))]
                self.save()
                saved = time.monotonic()
            if self.progress is not None:
                with self.lock:
                    self.progress(int(self.finished.sum()), self.ran)
        self.held.pop(number, None)

    def harvest(self, state: State, losses: Floats, before: Integers, where: Integers) -> None:
        """Store the losses of a segment (epoch, slot, part) and the nets that stopped, and free their slots."""
        live = np.flatnonzero(where >= 0)
        nets, first, epoch = where[live], before[live], np.asarray(state.epoch)[live]
        limit, best = self.nets.epochs[nets], np.asarray(state.best_epoch)[live]
        row, step = np.nonzero(first[:, None] + np.arange(len(losses)) < limit[:, None])
        self.out.loss[nets[row], first[row] + step] = losses[step, live[row]]
        end = np.minimum(best + self.patience + 1, limit)
        stopped = epoch >= end
        if stopped.any():
            done = nets[stopped]
            self.out.parameters[done] = np.asarray(state.best)[live[stopped]]
            self.out.best_epoch[done], self.out.epochs[done] = best[stopped], end[stopped]
            self.finished[done] = True
            where[live[stopped]] = -1
        with self.lock:
            self.ran += int((np.minimum(epoch, end) - first).sum())

    def resume(self, file: Path, every: float) -> None:
        """Resume from a checkpoint if there is one, and keep writing it."""
        problem, shape = self.problem, self.shape
        layout = tuple(shape.layout.described().values())
        settings = (_FORMAT, shape._replace(layout=layout), self.slots, self.patience, SEGMENT)  # type: ignore[arg-type]
        shared = jax.tree.leaves([getattr(problem, f.name) for f in fields(problem) if f.name != "rates"])
        shared += [] if problem.rates is None else [getattr(problem.rates, f.name) for f in fields(problem.rates)]
        own = jax.tree.leaves([getattr(self.nets, f.name) for f in fields(self.nets)])
        self.file, self.every, self.digest = file, every, digest_of(settings, (*shared, *own, self.start))
        kept = load(file, self.digest)
        if kept is None:
            return
        for name, result in self.results.items():
            result[...] = kept[name]
        for lane in range(min(_lanes(), int(kept["lanes"]))):
            if f"{lane}.0" in kept:
                where, *leaves = (kept[f"{lane}.{i}"] for i in range(int(kept[f"{lane}.count"])))
                where[(where >= 0) & self.finished[where]] = -1
                self.held[lane] = [where, *leaves]
        inside = {int(net) for where, *_ in self.held.values() for net in where}
        self.waiting = deque(net for net in np.flatnonzero(~self.finished).tolist() if net not in inside)

    def save(self) -> None:
        """Write the checkpoint."""
        assert self.file is not None
        with self.lock:
            finished = self.finished.copy()  # copied first: another lane may finish a net meanwhile
            arrays = {**self.results, "finished": finished, "lanes": _lanes()}
            for lane, held in list(self.held.items()):
                arrays |= {f"{lane}.{i}": array for i, array in enumerate(held)} | {f"{lane}.count": len(held)}
            save(self.file, self.digest, arrays)


def _lanes() -> int:
    """Number of lanes: XLA alone leaves cores idle on nets this small. Results do not depend on it."""
    if jax.default_backend() != "cpu" or jax.local_device_count() > 1:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _bank(size: int) -> Floats:
    """Standard normal draws, (draw,); a smaller bank is the start of a larger one."""
    return np.random.Generator(np.random.Philox(key=20)).standard_normal(size, np.float32)


def _stacked(slots: list[Any]) -> Any:
    """The data of all slots, stacked along a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *slots)
