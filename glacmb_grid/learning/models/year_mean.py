"""The mean balance of the glaciers measured in the same year: the rival of every model that may see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.identifiers import first_order_region
from glacmb_grid.learning.contract import Model, Predictions, Task
from glacmb_grid.learning.ragged import Arrays, pack, unpack
from glacmb_grid.learning.rivals import RestsOn
from glacmb_grid.learning.search import fold_record, inner_prediction, prediction
from glacmb_grid.learning.table import Bools, Floats, Integers, Table, Texts, rows_of, table_of
from glacmb_grid.settings import YearMean

_FEW = 3.0  # observations that the mean of all regions in the year counts for in that of one


@dataclass(frozen=True)
class RegionYearMean(Model):
    """Mean of the fitted annual balances of the region in the year; the training mean where the year has none.

    Where samples have no regions (a column `region`, or identifiers of RGI), all glaciers are one.
    """

    settings_type: ClassVar = YearMean
    informative: ClassVar[bool] = False
    rests_on: ClassVar[RestsOn | None] = RestsOn(year=True)

    def fit(self, task: Task) -> xr.Dataset:
        """`state_...`: region, year and mean of the fitted balances of every fold, and `level` (fold,), m w.e."""
        table, folds, known = table_of(task.samples), task.own, _known_regions(task.samples)
        rows = table.rows
        region = regions_of(rows.glacier, known)
        states = [_means(table, region, seen) for seen in folds.fit]

        def balance(seen: Bools) -> Floats:
            return np.asarray(table.operator @ _at(_means(table, region, seen), region, rows.year))

        record = fold_record(folds).assign(inner_prediction=inner_prediction(folds, balance))
        return record.merge(pack([{**s, **known} for s in states]))

    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Mean of the region and year of each row, (fold, member, row), m w.e."""
        del below
        new = rows_of(rows)
        states = [unpack(parameters, fold) for fold in range(parameters.sizes["fold"])]
        values = [_at(s, regions_of(new.glacier, s), new.year) for s in states]
        return prediction(np.array(values)[:, None], parameters)


def regions_of(glacier: Texts, known: Arrays) -> Texts:
    """Region of each glacier: as the samples have it, else that of its RGI identifier, else empty."""
    given = dict(zip(known["region_glaciers"].tolist(), known["region_names"].tolist(), strict=True))
    names = {g: given.get(g) or first_order_region(g) for g in np.unique(glacier).tolist()}
    return np.array([names[g] for g in glacier.tolist()], str)


def _known_regions(samples: xr.Dataset) -> Arrays:
    """Glaciers of the samples, and the regions that the samples give them (empty: none)."""
    if "region" not in samples.coords:
        return {"region_glaciers": np.zeros(0, "<U1"), "region_names": np.zeros(0, "<U1")}
    glacier, first = np.unique(samples["glacier"].values.astype(str), return_index=True)
    region = samples["region"].values.astype(str)[first]
    return {"region_glaciers": glacier, "region_names": np.where(np.isin(region, ("nan", "None")), "", region)}


def _places(region: Texts, year: Integers) -> list[tuple[str, int]]:
    return list(zip(region.tolist(), year.tolist(), strict=True))


def _means(table: Table, region: Texts, seen: Bools) -> Arrays:
    """Mean of the seen annual balances by region and year, and of all regions, drawn to that of all where few."""
    mine = np.flatnonzero(seen & table.annual)
    row = table.row[mine]
    frame = pd.DataFrame({"year": table.rows.year[row], "region": region[row], "balance": table.target[mine]})
    every = frame.groupby("year")["balance"].mean()
    own = frame[frame["region"] != ""].groupby(["region", "year"])["balance"].agg(["sum", "count"])
    around = every.reindex(own.index.get_level_values("year")).to_numpy()
    drawn = (own["sum"].to_numpy() + _FEW * around) / (own["count"].to_numpy() + _FEW)
    years, target = table.years[seen], table.target[seen]
    return {
        "mean_regions": np.array([*[""] * len(every), *own.index.get_level_values("region")], str),
        "mean_years": np.concatenate([every.index, own.index.get_level_values("year")]).astype(np.int64),
        "means": np.concatenate([every.to_numpy(), drawn]),
        "level": np.asarray(years @ target / (years @ years)),
    }


def _at(state: Arrays, region: Texts, year: Integers) -> Floats:
    """Balance of each row: of its region and year, else of all regions in the year, else of all years, m w.e."""
    means = dict(zip(_places(state["mean_regions"], state["mean_years"]), state["means"].tolist(), strict=True))
    level = float(state["level"])
    return np.array([means.get((r, y), means.get(("", y), level)) for r, y in _places(region, year)], np.float64)
