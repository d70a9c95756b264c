"""Glaciers that are to be predicted, where they are: what the scheme `domain` matches folds of an own table to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.tables import LINE, column, numbers, positions, read_table
from glacmb_grid.inputs.units import square_kilometres

_GLACIER = ("glacier", "rgi_id", "rgiid", "glacier_id")
_LONGITUDE = ("longitude", "lon", "cenlon")
_LATITUDE = ("latitude", "lat", "cenlat")
_AREA = ("area", "area_km2")


def read_targets(path: str | Path) -> pd.DataFrame:
    """Positions of the glaciers that are to be predicted.

    Parameters
    ----------
    path : str or Path
        CSV with longitude and latitude in degrees; optional identifiers, as in the table of samples where a glacier is
        in both, and areas, km2. A table of attributes of the RGI will do.

    Returns
    -------
    DataFrame, by glacier
        `longitude`, `latitude`, degrees; `area`, km2, where there is such a column. Without identifiers the rows are
        numbered.

    Raises
    ------
    InputError
        Without positions, or with glaciers twice.
    """
    file = find_file(path, what="glaciers to be predicted")
    raw = read_table(file, header=(*_GLACIER, *_LONGITUDE, *_LATITUDE))
    table = positions(raw, _LONGITUDE, _LATITUDE, file)
    blank = table["longitude"].isna()
    if blank.any() or table.empty:
        raise InputError(
            f"{file}: longitude, latitude",
            expected="the position of every glacier, degrees",
            found=f"none in line(s) {listing(raw[LINE][blank])}; columns {listing(raw.columns.drop(LINE), 12)}"
            if len(table)
            else "no row",
            remedy="give columns `longitude` and `latitude`, and leave glaciers of unknown position out",
        )
    if any(n in raw for n in _AREA):
        table["area"], _ = square_kilometres(numbers(column(raw, _AREA), raw[LINE], f"{file}: area"))
    ids = column(raw, _GLACIER).to_numpy(str)
    table.index = pd.Index(np.where(ids == "", [f"row {n}" for n in raw[LINE]], ids), name="glacier")
    if (twice := table.index.duplicated()).any():
        raise InputError(
            f"{file}: glacier",
            expected="every glacier once",
            found=f"more than once: {listing(table.index[twice])}",
            remedy="give one row for each glacier",
        )
    return table
