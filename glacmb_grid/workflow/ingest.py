"""`ingest`: the climate of a configuration as one store that is sampled fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import netCDF4

from glacmb_grid.disk import Say
from glacmb_grid.inputs.climate import notes_of
from glacmb_grid.inputs.climate.contract import Finer
from glacmb_grid.inputs.climate.ingest import ingest
from glacmb_grid.inputs.files import closing, find_files, naming_damage
from glacmb_grid.settings import RunConfig
from glacmb_grid.workflow.cluster import scheduler
from glacmb_grid.workflow.sources import climate

_MONTHS = 124  # whose values weigh as much as the days of a month that four threads hold

_CACHE = 1_000_000  # bytes


@contextmanager
def _keeping_no_chunks() -> Iterator[None]:
    """Files opened here keep no decoded chunks: by default 64 MB of each, though every chunk is read once."""
    size, slots, preemption = netCDF4.get_chunk_cache()
    netCDF4.set_chunk_cache(_CACHE, slots, preemption)
    try:
        yield
    finally:
        netCDF4.set_chunk_cache(size, slots, preemption)


def ingest_climate(config: RunConfig, store: Path, *, memory: float, say: Say, finer: Finer | None = None) -> None:
    """Write the climate of a configuration as one Zarr store, to be named as `climate.files`.

    Parameters
    ----------
    config : RunConfig
    store : Path
    memory : float
        About how much may be taken, bytes.
    say : callable
        Takes a line of progress.
    finer : Finer, optional
        The files hold daily or hourly fields.
    """
    source, section = climate(config, finer), config.climate
    assert source.open is not None
    files = (p for paths, what in source.files for p in find_files(paths, what=what))
    with (
        closing(),
        _keeping_no_chunks() if finer else nullcontext(),
        scheduler(config.compute) as engine,
        naming_damage(files),
    ):
        cube = source.open()
        for note in notes_of(cube) if finer else ():
            say(f"note: {note}")
        say(f"{len(cube.data_vars)} fields, {cube.nbytes / 1e9:.3g} GB, into {store} by {engine.description}")
        ingest(
            cube,
            store,
            accumulated=section.accumulated,
            expver=section.expver,
            names=dict(section.names),
            stamp=section.stamp,
            slab=memory / 2 if finer is None else memory / 2 * min(1, cube.sizes["time"] / _MONTHS),
        )
    size = sum(p.stat().st_size for p in store.rglob("*") if p.is_file())
    say(f"{size / 1e9:.3g} GB written; name it in the configuration: climate: {{files: {store}}}")
