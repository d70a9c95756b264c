"""Geodetic rates as constraints of a fit: changes over several years, with the predictors of all years of their period.

A constraint says what the balances of a glacier's years add up to, ``change = A @ balance``; the weights of A are the
shares of the hydrological years that lie within the period.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.predictors.rows import PLACE, as_rows
from glacmb_grid.schemas import PREDICTORS, arranged, require_columns
from glacmb_grid.weights import Weights, from_entries
from glacmb_grid.years import year_bounds

Integers = npt.NDArray[np.int64]
Days = npt.NDArray[np.datetime64]

BEYOND = "the years of the predictors do not cover its period"
FAILED = "its glacier has no predictors"
UNCERTAIN = "it states no uncertainty"
TWICE = "other rates of its glacier, which no day is counted twice in, cover its days"
_KEPT = ("site", "link", "source")
_FORCING = (
    "temperature",
    "precipitation",
    "days",
    "month",
    "hypsometry",
    "orography",
)  # which no learner of constraints needs
_MEAN_YEAR = 365.25  # days
_DAY = "datetime64[D]"
_BLOCK = 2000  # glaciers whose predictors are read at a time


def period_operator(begin: Days, end: Days, glacier: Integers, bounds: Days) -> Weights:
    """The operator that sums annual balances over periods: the share of each hydrological year within the period.

    Parameters
    ----------
    begin, end : datetime64[D] arrays, (row,)
        First day of each period, and first day after it.
    glacier : int array, (row,)
        Position of the glacier of each row.
    bounds : datetime64[D] array, (glacier, year, 2)
        First day of each hydrological year and of the next, in order.

    Returns
    -------
    Weights
        (row) <- (glacier, year) as a flat index. `total` is the length of the period in years: the sum of a row's
        weights where the years cover all of its days, more where they do not.

    Notes
    -----
    What a year that lies in the period in part adds is its balance times the share of its days: the course of a balance
    within a year is not known.
    """
    number, length = bounds.shape[0], bounds.shape[1]
    first, after = begin.astype(_DAY).astype(np.int64), end.astype(_DAY).astype(np.int64)
    days = bounds.astype(_DAY).astype(np.int64)
    sets, which = np.unique(days.reshape(number, -1), axis=0, return_inverse=True)
    row, column, weight = [], [], []
    covered = np.zeros(len(first), np.int64)
    for k, years in enumerate(sets.reshape(-1, length, 2)):
        mine = np.flatnonzero(which.ravel()[glacier] == k)
        low = np.searchsorted(years[:, 1], first[mine], "right")
        count = np.maximum(np.searchsorted(years[:, 0], after[mine], "left") - low, 0)
        rows = np.repeat(mine, count)
        year = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.repeat(low, count)
        overlap = np.minimum(years[year, 1], after[rows]) - np.maximum(years[year, 0], first[rows])
        covered += np.bincount(rows, overlap, len(first)).astype(np.int64)
        row.append(rows)
        column.append(glacier[rows] * length + year)
        weight.append(overlap / (years[year, 1] - years[year, 0]))
    entries = np.concatenate(row), np.concatenate(column), np.concatenate(weight)
    sums = np.bincount(entries[0], entries[2], len(first))
    total = sums + (after - first - covered) / _MEAN_YEAR
    return from_entries(*entries, rows=np.arange(len(first)), size=number * length, total=total)


def covered(operator: Weights) -> npt.NDArray[np.bool_]:
    """Whether the years cover all days of a period, (row,)."""
    sums = np.bincount(operator.row, operator.weight, len(operator.rows))
    return np.asarray((sums > 0) & (sums == operator.total))


def build_constraints(predictors: xr.Dataset, linked: pd.DataFrame) -> tuple[xr.Dataset, pd.DataFrame]:
    """Join geodetic rates to the predictors of all years of their periods, for networks that learn from both.

    Parameters
    ----------
    predictors : xr.Dataset
        From `build_predictors`; a lazy one is read a few glaciers at a time.
    linked : DataFrame
        `observations` of `link`, of rates from `read_geodetic`.

    Returns
    -------
    constraints : xr.Dataset
        Over `constraint`: `change` and `change_uncertainty` over the period (m w.e.), coordinates `glacier`, `begin`,
        `end` (and `site`, `link`, `source`, `longitude`, `latitude` where known); over `row`: the predictors of the
        years, float32; over `entry`: the operator constraint <- row.
    outside : DataFrame
        Rates that are none, with the `reason`: of glaciers without predictors, of periods that the years do not cover
        whole, without uncertainty, and of days that another rate of the glacier covers.

    Raises
    ------
    InputError
        If the predictors are not what their schema says, or no rate is left.

    Notes
    -----
    Of the rates of a glacier those are taken that overlap in no day and cover most days together; of several such
    choices the one of most rates, so that a fold that withholds a year keeps the others, then the most certain one.
    """
    predictors = arranged(predictors, PREDICTORS)
    require_columns(linked, ("glacier", "rate", "uncertainty", "begin", "end"), name="linked", source="`link`")
    linked = linked.reset_index(drop=True)
    place = pd.Index(predictors["glacier"].values.astype(str)).get_indexer(linked["glacier"].astype(str))
    begin, end = (np.array(linked[n].tolist(), dtype=_DAY) for n in ("begin", "end"))
    operator = period_operator(begin, end, np.maximum(place, 0), _bounds_of(predictors))
    reason = np.full(len(linked), "", dtype=object)
    reason[~np.isfinite(linked["uncertainty"].to_numpy(np.float64))] = UNCERTAIN
    reason[~covered(operator)] = BEYOND
    reason[place < 0] = FAILED
    free = reason == ""
    kept = _apart(linked["glacier"].to_numpy(), begin, end, linked["uncertainty"].to_numpy(np.float64), free)
    reason[free & ~kept] = TWICE
    if not kept.any():
        raise InputError(
            "geodetic rates",
            expected="rates with an uncertainty, of glaciers and periods that the predictors cover",
            found=f"{len(linked)} linked to outlines, none of them such",
            remedy="check the links and the periods, or learn from annual balances alone: "
            "`observations: {geodetic: {learn: false}}`",
        )
    outside = linked[~kept].assign(reason=reason[~kept])
    return _joined(predictors, linked[kept], operator.take(kept)), outside


def _bounds_of(predictors: xr.Dataset) -> Days:
    """First day of each hydrological year of each glacier and of the next, (glacier, year, 2)."""
    count = predictors.sizes["glacier"]
    if "time_bnds" in predictors:
        bounds = predictors["time_bnds"].values.astype(_DAY)
    else:
        bounds = year_bounds(predictors["year"].values, int(predictors.attrs["first_month"]))
    return bounds if bounds.ndim == 3 else np.broadcast_to(bounds, (count, *bounds.shape))


def _apart(glacier: npt.NDArray[Any], begin: Days, end: Days, uncertainty: Any, free: Any) -> npt.NDArray[np.bool_]:
    """The rates that are taken, (row,): of each glacier those that share no day, see `build_constraints`."""
    kept = np.zeros(len(free), bool)
    rows = np.flatnonzero(free)
    codes = np.unique(glacier[rows].astype(str), return_inverse=True)[1].ravel()
    first, after = begin.astype(np.int64), end.astype(np.int64)
    order = rows[np.lexsort((first[rows], after[rows], codes))]
    sizes = np.bincount(codes)
    for mine in np.split(order, np.cumsum(sizes)[:-1]):
        kept[mine if len(mine) == 1 else mine[_best(first[mine], after[mine], uncertainty[mine])]] = True
    return kept


def _best(first: Integers, after: Integers, uncertainty: npt.NDArray[np.float64]) -> Integers:
    """Numbers of the periods that share no day and have most days, then are most, then are most certain.

    Periods are in order of their ends: the best choice among the first of them is known for every number of them.
    """
    found: list[tuple[int, int, float, tuple[int, ...]]] = [(0, 0, 0.0, ())]
    for i in range(len(first)):
        days, count, sigma, taken = found[int(np.searchsorted(after[:i], first[i], "right"))]
        mine = (days + int(after[i] - first[i]), count + 1, sigma - float(uncertainty[i]), (*taken, i))
        found.append(max(found[-1], mine, key=lambda f: f[:3]))
    return np.array(found[-1][3], np.int64)


def _joined(predictors: xr.Dataset, linked: pd.DataFrame, operator: Weights) -> xr.Dataset:
    """Rates with the rows that their operator, over (glacier, year), takes."""
    glacier, year = np.divmod(operator.touched, predictors.sizes["year"])
    rows = _rows_of(predictors, glacier, year)
    begin, end = (np.array(linked[n].tolist(), dtype=_DAY) for n in ("begin", "end"))
    names = [f"{g}:{b}:{e}" for g, b, e in zip(linked["glacier"], begin, end, strict=True)]
    length = operator.total
    units = {"units": "m", "comment": "water equivalent, over the whole period"}
    out = rows.assign(
        change=("constraint", linked["rate"].to_numpy(np.float64) * length, units),
        change_uncertainty=("constraint", linked["uncertainty"].to_numpy(np.float64) * length, units),
        operator_constraint=("entry", operator.row),
        operator_row=("entry", np.searchsorted(operator.touched, operator.column)),
        operator_weight=("entry", operator.weight),
    ).assign_coords(
        constraint=np.array(names, dtype=object),
        glacier=("constraint", linked["glacier"].to_numpy().astype(object)),
        begin=("constraint", begin.astype("datetime64[ns]")),
        end=("constraint", end.astype("datetime64[ns]")),
    )
    out = out.assign_coords({n: ("constraint", linked[n].to_numpy().astype(object)) for n in _KEPT if n in linked})
    first = operator.row.searchsorted(np.arange(len(linked)))
    row = out["operator_row"].values[first]
    place = {n: ("constraint", out[f"row_{n}"].values[row]) for n in PLACE[:2] if f"row_{n}" in out}
    return out.assign_coords(place)


def _rows_of(predictors: xr.Dataset, glacier: Integers, year: Integers) -> xr.Dataset:
    """Glacier-years as rows, their predictors as float32; some glaciers at a time."""
    plain = predictors.drop_vars([n for n in _FORCING if n in predictors])
    edges = np.flatnonzero(np.diff(glacier, prepend=-1))[::_BLOCK]
    parts: Sequence[xr.Dataset] = [
        as_rows(plain, glacier[block], year[block]) for block in np.split(np.arange(len(glacier)), edges[1:])
    ]
    out = xr.concat(parts, dim="row", data_vars="minimal", coords="minimal", compat="override", join="override")
    return out.assign(predictors=out["predictors"].astype(np.float32))
