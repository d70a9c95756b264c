"""Cells under glaciers that hold one value all the time, found while a few months of them are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.inputs.climate.anomalies import source_of
from glacmb_grid.inputs.climate.steadiness import ALWAYS_CHANGING, require_changing
from glacmb_grid.sampling.apply import touched_cells
from glacmb_grid.sampling.grid import Curvilinear, Grid

Cells = npt.NDArray[np.int64]


def changing_under(
    cube: xr.Dataset, few: xr.Dataset, grid: Grid | Curvilinear
) -> Callable[[str, Cells, npt.NDArray[Any]], None]:
    """What `valid_cells` calls as `judge`, for some months of a cube.

    Parameters
    ----------
    cube : xr.Dataset, (time, y, x)
    few : xr.Dataset, (time, y, x)
        The months that are read.
    grid : Grid or Curvilinear
    """

    def judge(name: str, cells: Cells, values: npt.NDArray[Any]) -> None:
        if name not in (*ALWAYS_CHANGING, "tp"):
            return
        field = cube[name]

        def whole(chosen: Cells) -> xr.DataArray:
            data = touched_cells(field.transpose("time", grid.y, grid.x).data, cells[chosen])
            return xr.DataArray(data, {"time": field["time"]}, ("cell", "time"))

        looked_at = xr.DataArray(values.T, {"time": few["time"]}, ("time", "cell"), name)
        require_changing(looked_at, source_of(field, "climate files"), whole)

    return judge
