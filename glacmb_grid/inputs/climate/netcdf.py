"""NetCDF, of the classic formats and of HDF5."""

from __future__ import annotations

from pathlib import Path

from glacmb_grid.inputs.climate.contract import Format, Opened
from glacmb_grid.inputs.files import open_dataset


def _any_file(path: Path) -> bool:
    return path.is_file()  # the last format that is tried: what is no NetCDF either is an error


def _open(path: Path) -> list[Opened]:
    return [Opened(str(path), open_dataset(path))]


NETCDF = Format("NetCDF", _any_file, _open)
