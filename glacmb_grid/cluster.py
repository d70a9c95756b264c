"""The only room that knows dask.distributed."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager

import dask

from glacmb_grid.errors import InputError
from glacmb_grid.settings import Compute


@contextmanager
def scheduler(compute: Compute) -> Iterator[str]:
    """Run dask as configured.

    Parameters
    ----------
    compute : Compute
        `threads` (default), `processes`, `synchronous`, or `distributed`: a local cluster of worker processes, or the
        cluster at `address`.

    Yields
    ------
    str
        What works, for the log.
    """
    workers = compute.workers or os.cpu_count() or 1
    if compute.scheduler == "processes":  # one pool for all that is computed: a new one would import everything again
        with (
            ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
            dask.config.set(scheduler="processes", pool=pool, num_workers=workers),
        ):
            yield f"{workers} processes"
        return
    if compute.scheduler != "distributed":
        with dask.config.set(scheduler=compute.scheduler, num_workers=workers):
            yield f"{workers} {compute.scheduler}"
        return
    from distributed import Client, LocalCluster

    if compute.address:
        try:
            client = Client(compute.address, timeout=20)  # type: ignore[no-untyped-call]
        except (OSError, TimeoutError, ValueError) as error:
            raise InputError(
                "compute.address",
                expected="a running dask scheduler",
                found=f"{compute.address}: {error}",
                remedy="start it, correct the address, or leave it out for a local cluster",
            ) from error
        with client:
            yield f"the cluster at {compute.address}"
        return
    cluster = LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, Client(cluster):  # type: ignore[no-untyped-call]
        yield f"{workers} local worker processes"
