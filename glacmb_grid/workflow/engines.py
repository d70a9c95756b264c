"""Where fits are done: in this process, or as jobs on the workers of a dask cluster.

A job is a model, a scheme and one tuning block of its folds. What a job gives does not depend on where it runs or what
runs beside it, so that every engine gives the same numbers.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import xarray as xr

from glacmb_grid.disk import Say
from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Model, Task, fit_model
from glacmb_grid.learning.ragged import PREFIX, join
from glacmb_grid.learning.search import limited_threads
from glacmb_grid.progress import track

Part = tuple[int, ...]  # positions of folds

_ONE_AT_A_TIME = Lock()  # a fit uses all threads of its worker


def fit(model: Model, task: Task) -> xr.Dataset:
    """Fit a model, with programs compiled by earlier fits where it compiles any."""
    if model.compiles:
        from glacmb_grid.learning.compilation import enable_compilation_cache

        enable_compilation_cache()
    return fit_model(model, task)


@dataclass(frozen=True)
class Engine:
    """Fits in this process, on its threads.

    Attributes
    ----------
    description : str
        Of the workers, for the log.
    """

    description: str

    def fit(self, model: Model, tasks: Mapping[str, Task], say: Say) -> Iterator[tuple[str, xr.Dataset]]:
        """The name of each task and its parameters, as they are ready; `say` takes a line of progress."""
        del say
        for name, task in tasks.items():
            yield name, fit(model, task)


@dataclass(frozen=True)
class OnCluster(Engine):
    """Fits as jobs on the workers of a dask cluster.

    Attributes
    ----------
    client : distributed.Client
    """

    client: Any

    def fit(self, model: Model, tasks: Mapping[str, Task], say: Say) -> Iterator[tuple[str, xr.Dataset]]:
        """Submit a job for every tuning block of every task; tables are sent to each worker once."""
        from distributed import as_completed

        sent: dict[int, tuple[Any, Any]] = {}  # what was sent is kept, so that no other value gets its id

        def send(value: Any) -> Any:
            if value is None:
                return None
            if id(value) not in sent:
                sent[id(value)] = value, self.client.scatter(value, broadcast=True, hash=False)
            return sent[id(value)][1]

        if not self.client.scheduler_info()["workers"]:
            say("waiting for a worker of the cluster")
            self.client.wait_for_workers(1)
        jobs: dict[Any, tuple[str, Part]] = {}
        found: dict[str, dict[Part, xr.Dataset]] = {name: {} for name in tasks}
        parts = {name: [tuple(b.tolist()) for b in task.folds.blocks] for name, task in tasks.items()}
        try:
            for name, task in tasks.items():
                tables = send(task.samples), send(task.folds), send(task.constraints)
                bases = {n: send(without_states(p)) for n, p in task.built_on.items()}
                rest = {n: getattr(task, n) for n in ("seed", "checkpoints", "skipped")}
                rest["unmeasured"] = None if task.unmeasured is None else send(task.unmeasured)
                for part in parts[name]:
                    jobs[self.client.submit(_fit_part, model, *tables, bases, rest, part, pure=False)] = (name, part)
            done = track(as_completed(list(jobs)), "job", len(jobs))  # type: ignore[no-untyped-call]
            for number, job in enumerate(done, 1):
                name, part = jobs[job]
                found[name][part], notes = job.result()
                job.release()
                for note in notes:
                    warnings.warn(note, UserWarning, stacklevel=1)
                say(f"{name}: {len(part)} of {len(tasks[name].folds)} folds fitted, job {number} of {len(jobs)}")
                if len(found[name]) == len(parts[name]):
                    yield name, in_order(found.pop(name))
        finally:
            self.client.cancel([job for job in jobs if not job.done()])


def in_order(found: Mapping[Part, xr.Dataset]) -> xr.Dataset:
    """Parameters of all folds, from those of parts of them."""
    order = [i for part in found for i in part]
    return join(list(found.values()), order)


def without_states(parameters: xr.Dataset) -> xr.Dataset:
    """Parameters without what was learnt, which no fit of another model reads."""
    return parameters.drop_vars([n for n in parameters.variables if str(n).startswith(PREFIX)]).load()


def _fit_part(
    model: Model,
    samples: xr.Dataset,
    folds: Folds,
    constraints: xr.Dataset | None,
    bases: Mapping[str, xr.Dataset],
    rest: Mapping[str, Any],
    part: Part,
) -> tuple[xr.Dataset, list[str]]:
    """Fit some folds of a task, on a worker: the parameters, and what was warned of."""
    from distributed import get_worker

    own = {n: p.isel(fold=list(part)) for n, p in bases.items()}
    task = Task(samples, folds, built_on=own, part=part, constraints=constraints, **rest)
    if task.checkpoints is not None:
        task = replace(task, checkpoints=task.checkpoints / f"folds-{part[0]}")
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as caught, limited_threads(get_worker().state.nthreads):
        warnings.simplefilter("default", UserWarning)
        parameters = fit(model, task)
    return parameters, [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
