"""What a format gives, and what is known of the months of its records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import xarray as xr

from glacmb_grid.inputs.climate.stamps import Expver

Stamp = Literal["start", "within", "end"]


@dataclass(frozen=True)
class Opened:
    """One Dataset of a source, lazy, as it is stored.

    Attributes
    ----------
    where : str
        The file, and the member of an archive, for messages.
    ds : xr.Dataset
        Names, units and coordinates of the source; nothing is translated yet.
    """

    where: str
    ds: xr.Dataset


@dataclass(frozen=True)
class Format:
    """A format of climate files.

    Attributes
    ----------
    name : str
    recognises : callable
        Whether a path is of this format, by what it holds and not by its name.
    open : callable
        All Datasets of a path; an InputError if anything in it cannot be read.
    """

    name: str
    recognises: Callable[[Path], bool]
    open: Callable[[Path], list[Opened]]


@dataclass(frozen=True)
class Reading:
    """How records are read where files do not say it themselves.

    Attributes
    ----------
    names : mapping
        Our name -> the name in the files.
    stamp : {"start", "within", "end"}, optional
        Where in its month a record is stamped; None takes it from the files.
    expver : {"prefer_final", "final"}
    """

    names: dict[str, str]
    stamp: Stamp | None
    expver: Expver


@dataclass(frozen=True)
class Piece:
    """One variable of one source.

    Attributes
    ----------
    where : str
    field : xr.DataArray, (time, ...)
        `time` is the first of the month; the coordinate `stream` along it is 1 (final) or 5 (preliminary).
    """

    where: str
    field: xr.DataArray
