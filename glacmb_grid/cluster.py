"""The only room that knows dask.distributed."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

import dask

from glacmb_grid.errors import InputError
from glacmb_grid.settings import Compute

_LOOPBACK = "127.0.0.1"


@contextmanager
def scheduler(compute: Compute, say: Callable[[str], None] = lambda text: None) -> Iterator[str]:
    """Run dask as configured.

    Parameters
    ----------
    compute : Compute
        `threads` (default), `processes`, `synchronous`, or `distributed`: a local cluster of worker processes, or the
        cluster at `address`. Schedulers of ours listen to this machine only.
    say : callable
        Takes a line on where the dashboard is, with `dashboard`.

    Yields
    ------
    str
        What works, for the log.

    Raises
    ------
    InputError
        Where no scheduler answers at `address`; where a worker process was killed.
    """
    workers = compute.workers or os.cpu_count() or 1
    if compute.scheduler == "processes":
        with _processes(workers):
            yield f"{workers} processes"
    elif compute.scheduler != "distributed":
        with dask.config.set(scheduler=compute.scheduler, num_workers=workers):
            yield f"{workers} {compute.scheduler}"
    elif compute.address:
        with _running(compute.address):
            yield "the cluster at compute.address"
    else:
        with _local(workers, compute.dashboard, say):
            yield f"{workers} local worker processes"


@contextmanager
def _processes(workers: int) -> Iterator[None]:
    """One pool for all that is computed: a new one would import everything again."""
    try:
        with (
            ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
            dask.config.set(scheduler="processes", pool=pool, num_workers=workers),
        ):
            yield
    except BrokenProcessPool as error:
        raise _died("processes") from error


@contextmanager
def _running(address: str) -> Iterator[None]:
    """The cluster at an address."""
    from distributed import Client
    from distributed.scheduler import KilledWorker

    try:
        client = Client(address, timeout=20)  # type: ignore[no-untyped-call]
    except (OSError, TimeoutError, ValueError) as error:
        raise InputError(
            "compute.address",
            expected="a running dask scheduler",
            found=f"{address}: {error}",
            remedy="start it, correct the address, or leave it out for a local cluster",
        ) from error
    try:
        with client:
            yield
    except KilledWorker as error:
        raise _died("distributed") from error


@contextmanager
def _local(workers: int, dashboard: bool, say: Callable[[str], None]) -> Iterator[None]:
    """Worker processes on this machine, which listen to it only."""
    from distributed import Client, LocalCluster
    from distributed.scheduler import KilledWorker

    cluster = LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        host=_LOOPBACK,
        dashboard_address=f"{_LOOPBACK}:{8787 if dashboard else 0}",
        scheduler_kwargs={"dashboard": dashboard},
    )
    try:
        with cluster, Client(cluster):  # type: ignore[no-untyped-call]
            if dashboard:
                say(f"dask dashboard: {cluster.dashboard_link}")
            yield
    except KilledWorker as error:
        raise _died("distributed") from error


def _died(scheduler: str) -> InputError:
    return InputError(
        f"compute: {{scheduler: {scheduler}}}",
        expected="worker processes that live until the work is done",
        found="one was killed, by hand or by the system for want of memory",
        remedy="set fewer `compute.workers`, or `compute: {scheduler: threads}`, which share their memory; the same "
        "command goes on from the last finished stage",
    )
