"""Run dask with threads, processes or a cluster."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

import dask

from glacmb_grid.errors import InputError
from glacmb_grid.settings import Compute
from glacmb_grid.workflow.engines import Engine, OnCluster

_LOOPBACK = "127.0.0.1"


@contextmanager
def scheduler(compute: Compute, say: Callable[[str], None] = lambda text: None) -> Iterator[Engine]:
    """Run dask as configured; on the active dask `Client`, where there is one and no scheduler is configured.

    Parameters
    ----------
    compute : Compute
        `threads` (default), `processes`, `synchronous`, or `distributed`: a local cluster of worker processes, or the
        cluster at `address`. Schedulers started here accept connections from this machine only.
    say : callable
        Takes a line with the address of the dashboard, if `dashboard` is set, and one on `workers` without effect.

    Yields
    ------
    Engine
        What fits models, with a description of the workers for the log.

    Raises
    ------
    InputError
        No scheduler answers at `address`; a worker process was killed.
    """
    workers = compute.workers or os.cpu_count() or 1
    if not {"scheduler", "address"} & compute.model_fields_set and (client := _active_client()) is not None:
        if compute.workers is not None:
            say("note: the active dask client is used with its own workers; `compute.workers` has no effect, unless "
                "`compute.scheduler` is set")  # fmt: skip
        with _naming_killed_workers():
            yield OnCluster("the active dask client", client)
    elif compute.scheduler == "processes":
        with _process_pool(workers):
            yield Engine(f"{workers} processes")
    elif compute.scheduler != "distributed":
        with dask.config.set(scheduler=compute.scheduler, num_workers=workers):
            yield Engine(f"{workers} {compute.scheduler}")
    elif compute.address:
        with _remote_cluster(compute.address) as client, _naming_killed_workers():
            yield OnCluster("the cluster at compute.address", client)
    else:
        with _local_cluster(workers, compute.dashboard, say) as client, _naming_killed_workers():
            yield OnCluster(f"{workers} local worker processes", client)


def _active_client() -> Any:
    """The dask client that a notebook or script has opened; None if there is none."""
    if "distributed" not in sys.modules:
        return None
    from distributed import Client

    try:
        client = Client.current(allow_global=True)  # type: ignore[no-untyped-call]
    except ValueError:
        return None
    if client.asynchronous:
        raise InputError(
            "the active dask client",
            expected="one that waits for its results",
            found="an asynchronous one",
            remedy="open it without `asynchronous=True`, or name a scheduler: `compute: {scheduler: threads}`",
        )
    return client if client.status == "running" else None


@contextmanager
def _naming_killed_workers() -> Iterator[None]:
    from distributed.scheduler import KilledWorker

    try:
        yield
    except (KilledWorker, CancelledError) as error:  # the latter where what a job needs was on that worker only
        raise _worker_killed("distributed") from error


@contextmanager
def _process_pool(workers: int) -> Iterator[None]:
    """One pool for the whole run: every new pool would import everything again."""
    try:
        with (
            ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
            dask.config.set(scheduler="processes", pool=pool, num_workers=workers),
        ):
            yield
    except BrokenProcessPool as error:
        raise _worker_killed("processes") from error


@contextmanager
def _remote_cluster(address: str) -> Iterator[Any]:
    """A client of the cluster at an address."""
    from distributed import Client

    try:
        client = Client(address, timeout=20)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            "compute.address",
            expected="a running dask scheduler",
            found=f"{address}: {error}",
            remedy="start it, correct the address, or leave it out for a local cluster",
        ) from error
    with client:
        yield client


@contextmanager
def _local_cluster(workers: int, dashboard: bool, say: Callable[[str], None]) -> Iterator[Any]:
    """A client of a cluster on this machine that accepts connections from it only."""
    from distributed import Client, LocalCluster

    cluster = LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host=_LOOPBACK,
        dashboard_address=f"{_LOOPBACK}:{8787 if dashboard else 0}",
        scheduler_kwargs={"dashboard": dashboard},
    )
    with cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        if dashboard:
            say(f"dask dashboard: {cluster.dashboard_link}")
        yield client


def _worker_killed(scheduler: str) -> InputError:
    return InputError(
        f"compute: {{scheduler: {scheduler}}}",
        expected="worker processes that live until the work is done",
        found="one was killed, by hand or by the system for want of memory",
        remedy="set fewer `compute.workers`, or `compute: {scheduler: threads}`, which share their memory; the same "
        "command goes on from the last finished stage",
    )
