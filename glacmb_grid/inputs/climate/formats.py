"""The formats of climate files; a new one is a file beside this and a line here."""

from __future__ import annotations

from pathlib import Path

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.climate.contract import Opened
from glacmb_grid.inputs.climate.grib import GRIB
from glacmb_grid.inputs.climate.netcdf import NETCDF
from glacmb_grid.inputs.climate.store import ZARR
from glacmb_grid.inputs.climate.zipped import zipped

_PLAIN = (GRIB, ZARR, NETCDF)
_FORMATS = (zipped(_PLAIN), *_PLAIN)


def opened(path: Path) -> list[Opened]:
    """All Datasets of a file or store, in the first format that recognises it.

    Raises
    ------
    InputError
        A folder that is no store, or a file that cannot be read.
    """
    for one in _FORMATS:
        if one.recognises(path):
            return one.open(path)
    raise _no_store(path)


def _no_store(path: Path) -> InputError:
    names = sorted(p.name for p in path.iterdir())
    endings = sorted({Path(n).suffix for n in names if Path(n).suffix in (".nc", ".nc4", ".grib", ".grb", ".zip")})
    patterns = ", ".join(f"{path}/*{e}" for e in endings)
    return InputError(
        f"{path}",
        expected="files, or a Zarr store",
        found=f"a folder with {len(names)} entries: {listing(names, 4) or 'nothing'}",
        remedy=f"name its files: {patterns}" if patterns else "name the files",
    )
