"""Where `glacmb-grid ingest` pays, or is needed, with the command to paste."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, Problems
from glacmb_grid.inputs.climate.ingest import is_ingested, square
from glacmb_grid.inputs.climate.stamps import COMMAND, STORE
from glacmb_grid.inputs.files import find_files
from glacmb_grid.inputs.horizontal import GRID, is_curvilinear
from glacmb_grid.settings import RunConfig

_LARGE = 2e9  # bytes of values that a run decodes
_TIMES = 4  # as many as from a store

Positions = npt.NDArray[np.int64]


def command_of(config: RunConfig) -> str:
    """The command that writes the climate of a configuration as a store beside its file."""
    file = config.file or Path(f"{config.name}.yaml")
    return f"glacmb-grid ingest {shlex.quote(str(file))} {shlex.quote(str(store_of(config)))}"


def store_of(config: RunConfig) -> Path:
    """Where the store of a configuration would lie: beside its file."""
    file = config.file or Path(f"{config.name}.yaml")
    return file.with_name(f"{file.stem}_climate.zarr")


def with_command(problems: Problems, config: RunConfig) -> None:
    """Have problems that `ingest` solves name the command of this configuration."""
    for number, one in enumerate(problems.found):
        if isinstance(one, InputError) and COMMAND in one.remedy:
            remedy = one.remedy.replace(COMMAND, command_of(config)).replace(STORE, str(store_of(config)))
            problems.found[number] = InputError(one.where, expected=one.expected, found=one.found, remedy=remedy)


def describe_reading(config: RunConfig, cube: xr.Dataset, glaciers: gpd.GeoDataFrame) -> list[str]:
    """A line where the chunks under the glaciers are many times what a store of `ingest` would have to decode.

    Parameters
    ----------
    config : RunConfig
    cube : xr.Dataset, (time, latitude, longitude)
        Lazy, with the chunks of the files.
    glaciers : gpd.GeoDataFrame
        With `longitude` and `latitude`.
    """
    if is_curvilinear(cube) or any(map(is_ingested, find_files(config.climate.files, what="climate files"))):
        return []
    fields = [v for v in cube.data_vars.values() if "time" in v.dims]
    cells = _cells(cube, glaciers)
    side = square(cube.sizes["time"])
    now = sum(_decoded(v, [v.chunksizes.get(d, (v.sizes[d],)) for d in GRID], cells) for v in fields)
    then = sum(_decoded(v, [_even(v.sizes[d], side) for d in GRID], cells) for v in fields)
    if now < _LARGE or now < _TIMES * then:
        return []
    then_write = f"`{command_of(config)}`, then `climate: {{files: {store_of(config)}}}`"
    return [
        f"note: ingest: the chunks that hold glaciers are {now / 1e9:.3g} GB, in a store of `ingest` {then / 1e9:.2g} "
        f"GB; where several runs read this climate: {then_write}"
    ]


def _cells(cube: xr.Dataset, glaciers: gpd.GeoDataFrame) -> tuple[Positions, Positions]:
    """Rows and columns of the cells nearest to the glaciers, those of the grid only."""
    middle = float(cube["longitude"].values.mean())
    east = (glaciers["longitude"].to_numpy(np.float64) - middle + 180) % 360 - 180 + middle
    placed = []
    for dim, values in (("latitude", glaciers["latitude"].to_numpy(np.float64)), ("longitude", east)):
        axis = cube[dim].values.astype(np.float64)
        step = (axis[-1] - axis[0]) / max(1, len(axis) - 1) or 1.0
        placed.append(np.rint((values - axis[0]) / step).astype(np.int64))
    inside = (placed[0] >= 0) & (placed[0] < cube.sizes["latitude"])
    inside &= (placed[1] >= 0) & (placed[1] < cube.sizes["longitude"])
    return placed[0][inside], placed[1][inside]


def _even(length: int, side: int) -> list[int]:
    return [min(side, length - start) for start in range(0, length, side)]


def _decoded(field: xr.DataArray, chunks: Sequence[Sequence[int]], cells: tuple[Positions, Positions]) -> float:
    """Bytes of all months of the chunks, (y, x), that hold one of the cells."""
    numbers = [np.searchsorted(np.cumsum(sizes), at, side="right") for sizes, at in zip(chunks, cells, strict=True)]
    touched = np.unique(np.stack(numbers), axis=1)
    size = np.asarray(chunks[0])[touched[0]] * np.asarray(chunks[1])[touched[1]]
    return float(size.sum()) * field.sizes["time"] * field.dtype.itemsize
