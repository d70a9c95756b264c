"""Days in the names of files and bands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from glacmb_grid.errors import InputError

_OF_YEAR = (re.compile(r"doy(\d{4})(\d{3})"), re.compile(r"(?:^|[._])A(\d{4})(\d{3})(?!\d)"))
_CALENDAR = (
    re.compile(r"(?<!\d)((?:19|20)\d\d)[_-](\d\d)[_-](\d\d)(?!\d)"),
    re.compile(r"(?<!\d)((?:19|20)\d\d)(\d\d)(\d\d)(?!\d)"),
)


def day_in(text: str) -> np.datetime64 | None:
    """The day that a text names, as doyYYYYDDD, AYYYYDDD, YYYY-MM-DD, YYYY_MM_DD or YYYYMMDD.

    Raises
    ------
    ValueError
        A day that its year does not have.
    """
    for pattern in _OF_YEAR:
        if found := pattern.search(text):
            year, day = int(found[1]), int(found[2])
            date: np.datetime64 = np.datetime64(f"{year:04d}-01-01", "D") + np.timedelta64(day - 1, "D")
            if date.astype("datetime64[Y]") != np.datetime64(f"{year:04d}"):
                raise ValueError(found[0])
            return date
    for pattern in _CALENDAR:
        if found := pattern.search(text):
            try:
                return np.datetime64(f"{found[1]}-{found[2]}-{found[3]}", "D")
            except ValueError:
                raise ValueError(found[0]) from None
    return None


def require_day(path: Path, *texts: str) -> np.datetime64:
    """The day that the first of these texts with one names, or the file's name; an InputError if none does."""
    try:
        for text in (*texts, path.name):
            if (day := day_in(text)) is not None:
                return day
    except ValueError as error:
        raise InputError(
            f"{path}", expected="a day that its year has (001..366)", found=f"{error}", remedy="correct the file name"
        ) from None
    raise InputError(
        f"{path}",
        expected="a file name with doyYYYYDDD, AYYYYDDD or YYYY-MM-DD",
        found=path.name,
        remedy="keep the names that AppEEARS or the agency gives, or narrow the pattern",
    )
