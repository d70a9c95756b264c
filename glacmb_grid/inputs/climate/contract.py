"""What a format gives, and what is known of the months of its records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.climate.stamps import Expver

Stamp = Literal["start", "within", "end"]
Every = Literal["day", "hour"]
Accumulation = Literal["of_the_day", "of_the_hour", "since_midnight"]
Incomplete = Literal["refuse", "leave_out"]


@dataclass(frozen=True)
class Finer:
    """Daily or hourly fields that months are to be made of.

    Attributes
    ----------
    every : {"day", "hour"}
    accumulation : {"of_the_day", "of_the_hour", "since_midnight"}, optional
        What an accumulated variable holds. Daily: the amount of the day of the stamp (`of_the_day`, the default), or
        that of the day which ends at the stamp (`since_midnight`). Hourly: the amount of the hour which ends at the
        stamp (`of_the_hour`, ERA5), or of all hours of the day until then (`since_midnight`, ERA5-Land).
    incomplete : {"refuse", "leave_out"}
        What is done with months at the beginning and the end that lack days or hours.

    Raises
    ------
    InputError
        An accumulation that fields of this step cannot have.
    """

    every: Every
    accumulation: Accumulation | None = None
    incomplete: Incomplete = "refuse"

    def __post_init__(self) -> None:
        if self.accumulation == ("of_the_hour" if self.every == "day" else "of_the_day"):
            raise InputError(
                "--accumulation",
                expected=f"of_the_{self.every} or since_midnight with `--from {self.adjective}`",
                found=f"{self.accumulation}",
                remedy="see `glacmb-grid ingest --help`",
            )

    @property
    def adjective(self) -> str:
        """How such fields are called."""
        return "daily" if self.every == "day" else "hourly"


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
        Our name -> the name in the files, or the names of its summands.
    stamp : {"start", "within", "end"}, optional
        Where in its month a record is stamped; None takes it from the files.
    expver : {"prefer_final", "final"}
    finer : Finer, optional
        Set where records are of days or hours.
    """

    names: dict[str, str | Sequence[str]]
    stamp: Stamp | None
    expver: Expver
    finer: Finer | None = None


@dataclass(frozen=True)
class Piece:
    """One variable of one source.

    Attributes
    ----------
    where : str
    field : xr.DataArray, (time, ...)
        `time` is the first of the month, or the beginning of the day or hour; the
        coordinate `stream` along it is 1 (final) or 5 (preliminary).
    summand : str
        Its name in the files where it is one of the summands of the variable; else empty.
    """

    where: str
    field: xr.DataArray
    summand: str = ""
