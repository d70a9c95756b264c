"""Predictions that were made elsewhere, judged beside the models in the same folds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.own_table.rows import identifiers
from glacmb_grid.inputs.own_table.table import Table, open_table
from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.search import fold_record, inner_prediction, prediction
from glacmb_grid.learning.table import Floats, table_of
from glacmb_grid.settings import Given

_COLUMNS = ("glacier", "year", "value")
_LARGEST = 20.0  # m w.e. a year


@dataclass(frozen=True)
class GivenPredictions(Model):
    """Not fitted here, and nobody knows here what they were calibrated on: no fold can withhold anything from them."""

    settings_type: ClassVar = Given
    informative: ClassVar[bool] = False

    def require(self) -> None:
        """Raise InputError where the file cannot be read or is no such table."""
        self._read()

    def fit(self, task: Task) -> xr.Dataset:
        """The predictions as they are: `given_glacier`, `given_year` and `given_value` (given,), m w.e.

        Raises
        ------
        InputError
            Where an observation has no prediction.
        """
        table, rows = table_of(task.samples), task.samples
        glacier, year = rows["row_glacier"].values.astype(str), rows["row_year"].values
        known = self._read()
        value = _looked_up(known, glacier, year) if known is not None else self._column(rows)
        asked = table.used_rows(np.asarray((task.own.score | task.own.fit).any(axis=0)))
        lacking = asked & ~np.isfinite(value)
        if lacking.any():
            names = [f"{g} {y}" for g, y in zip(glacier[lacking], year[lacking], strict=True)]
            raise InputError(
                f"predictions: {self.name}",
                expected="a prediction for every observed glacier-year",
                found=f"none for {int(lacking.sum())} of {int(asked.sum())}: {listing(names, 3)}",
                remedy="complete the predictions, or leave these observations out",
            )
        filled = np.where(np.isfinite(value), value, 0.0)
        entries = known if known is not None else pd.DataFrame({"glacier": glacier, "year": year, "value": value})
        return (
            fold_record(task.own)
            .assign(
                inner_prediction=inner_prediction(task.own, lambda _: np.asarray(table.operator @ filled)),
                given_glacier=("given", entries["glacier"].to_numpy(object)),
                given_year=("given", entries["year"].to_numpy(np.int64)),
                given_value=("given", entries["value"].to_numpy(np.float64)),
            )
            .assign_attrs(note="not fitted here: predictions from elsewhere; what they were calibrated on is unknown")
        )

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """The same for every fold, (fold, member, row), m w.e.; NaN where there is none."""
        del below
        if self._name in rows:
            value = self._column(rows)
        else:
            columns = {n: parameters[f"given_{n}"].values for n in _COLUMNS}
            known = pd.DataFrame(columns).assign(glacier=lambda t: t["glacier"].astype(str))
            value = _looked_up(known, rows["row_glacier"].values.astype(str), rows["row_year"].values)
        return prediction(np.broadcast_to(value, (parameters.sizes["fold"], 1, len(value))), parameters)

    @property
    def _name(self) -> str:
        return f"given_{self.name}"

    def _column(self, rows: xr.Dataset) -> Floats:
        if self._name not in rows:
            raise ValueError(f"the rows lack the predictions of {self.name}")
        return np.asarray(rows[self._name].values, np.float64)

    def _read(self) -> pd.DataFrame | None:
        path = self.settings.path
        if path is None:
            return None
        where = f"predictions: {self.name}: {path}"
        table = open_table(path, ["glacier"], "glacier")
        lacking = [c for c in _COLUMNS if c not in table.columns]
        if lacking:
            raise InputError(
                where,
                expected="the columns glacier, year and value (m w.e.)",
                found=f"no {', '.join(lacking)} among {listing(table.columns)}",
                remedy="rename the columns",
            )
        glacier = identifiers(table, "glacier")
        table.column("glacier").require_filled(glacier == "")
        years, value = (_numbers(table, name) for name in ("year", "value"))
        far = np.abs(value) > _LARGEST
        if far.any():
            raise InputError(
                f"{where}: value",
                expected=f"values within +-{_LARGEST:g} m w.e.",
                found=f"{listing(value[far], 4)} in {table.place(far)}",
                remedy="correct these lines; values are m w.e.",
            )
        year = table.column("year").whole_years(years)
        found = pd.DataFrame({"glacier": glacier, "year": year, "value": value})
        found = found[np.isfinite(value)]  # a blank value is no prediction
        twice = found[found.duplicated(["glacier", "year"])]
        if len(twice):
            names = listing(f"{g} {y}" for g, y in zip(twice["glacier"], twice["year"], strict=True))
            raise InputError(
                where,
                expected="one value for every glacier and year",
                found=f"several for {names}",
                remedy="keep one of them",
            )
        return found


def _numbers(table: Table, name: str) -> Floats:
    """Cells of a column as numbers, NaN where blank; an InputError names the lines with text."""
    values, broken = table.floats(name)
    if broken.any():
        raise table.column(name).not_numbers(broken)
    return values


def _looked_up(known: pd.DataFrame, glacier: np.ndarray, year: np.ndarray) -> Floats:
    index = pd.MultiIndex.from_arrays([glacier.astype(object), year])
    values = known.drop_duplicates(["glacier", "year"]).set_index(["glacier", "year"])["value"]
    return np.asarray(values.reindex(index).to_numpy(np.float64))
