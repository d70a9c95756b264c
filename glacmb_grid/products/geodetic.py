"""The product beside geodetic rates: means of annual balances over the periods between two surveys."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.constraints import covered, period_operator
from glacmb_grid.products.glacier import error_of_balance
from glacmb_grid.schemas import COMPARED, PRODUCT, check, require_columns
from glacmb_grid.uncertainty.correlation import ErrorCorrelation
from glacmb_grid.weights import Weights

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Days = npt.NDArray[np.datetime64]

LEARNT = "learnt from"
"""The slice of the rates that are no independent judgement."""
FAILED = "its glacier failed, see failed.csv"
_A_PERIOD = 10  # rates of one period that are scored apart
_TEXTS = ("glacier", "site", "link", "source")
_OF_WEIGHT = {"units": "1", "long_name": "share of the period's days that no other rate of the glacier covers as well"}
_ENDS = ("begin", "end")
_OF_INDEPENDENT = {
    "long_name": "whether nothing was learnt from rates of the same glacier and days",
    "flag_values": np.array([0, 1], np.int8),
    "flag_meanings": "learnt_from independent",
}
_DAY = "datetime64[D]"


def statement_weights(glacier: npt.NDArray[Any], begin: Days, end: Days) -> Floats:
    """What each of several rates counts, (row,): a day of a glacier that several periods cover is shared by them.

    Parameters
    ----------
    glacier : array, (row,)
    begin, end : datetime64[D] arrays, (row,)

    Notes
    -----
    weight = mean over the days of the period of 1 / number of the glacier's periods that cover the day. A rate alone
    has 1; k of one period have 1/k each; a period of twenty years and its two halves have 1/2 each.
    """
    codes = np.unique(glacier, return_inverse=True)[1].ravel()
    first, after = begin.astype(_DAY).astype(np.int64), end.astype(_DAY).astype(np.int64)
    out = np.ones(len(codes))
    order = np.lexsort((after, first, codes))
    known: dict[bytes, Floats] = {}
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if len(rows) > 1:
            spans = np.stack([first[rows], after[rows]])
            if (key := spans.tobytes()) not in known:
                known[key] = _shares(*spans)
            out[rows] = known[key]
    return out


def _shares(first: Integers, after: Integers) -> Floats:
    edges = np.unique(np.concatenate([first, after]))
    inside = (first[:, None] <= edges[:-1]) & (after[:, None] >= edges[1:])
    days = np.diff(edges) * inside
    return np.asarray((days / np.maximum(inside.sum(axis=0), 1)).sum(axis=1) / days.sum(axis=1))


def compare_geodetic(
    product: xr.Dataset, rates: pd.DataFrame, learnt: pd.DataFrame | None = None
) -> tuple[xr.Dataset, pd.DataFrame]:
    """Mean annual balances of the product over the periods of geodetic rates, beside these.

    Parameters
    ----------
    product : xr.Dataset, (glacier, year)
        From `build_product`.
    rates : DataFrame
        `observations` of `link`, of rates from `read_geodetic`.
    learnt : DataFrame, optional
        `glacier`, `begin`, `end` of rates that the balances of their glacier were learnt from.

    Returns
    -------
    compared : xr.Dataset, (survey,)
        `product_rate`, `product_uncertainty`, `geodetic_rate`, `geodetic_uncertainty`, `difference` (product minus
        geodetic), m w.e. per year; `area` (km2) of the outline, `measured`, and `weight`, from `statement_weights`;
        coordinates `glacier`, `site`, `link`, `begin`, `end`, and `source` where the rates have one. With `learnt` also
        `independent`: whether no rate that shares a day with this one, of the same glacier, was learnt from.
    outside : DataFrame
        Rates of glaciers that the product lacks and of periods that its years do not cover whole, with the `reason`.

    Raises
    ------
    InputError
        A product that is not what its schema says.

    Notes
    -----
    `product_uncertainty` is that of a mean over years whose errors are correlated as the product's attribute
    `error_correlation` says: what persists at a glacier does not average out. Without the attribute the errors of all
    years are taken as the same.
    """
    check(product, PRODUCT)
    require_columns(rates, ("glacier", "rate", "uncertainty", "begin", "end"), name="rates", source="`link`")
    place = pd.Index(product["glacier_id"].values.astype(str)).get_indexer(rates["glacier"])
    known = rates[place >= 0]
    begin, end = (np.array(known[n].tolist(), dtype=_DAY) for n in ("begin", "end"))
    bounds = product["time_bnds"].values.astype(_DAY)
    if bounds.ndim == 2:
        bounds = np.broadcast_to(bounds, (product.sizes["glacier"], *bounds.shape))
    operator = period_operator(begin, end, place[place >= 0], bounds)
    whole = covered(operator)
    span = f"{bounds[..., 0].min()} to {bounds[..., 1].max()}"
    outside = [
        rates[place < 0].assign(reason=FAILED),
        known[~whole].assign(reason=f"the years of the product, within {span}, do not cover its period"),
    ]
    operator, taken, row = operator.take(whole), known[whole], place[place >= 0][whole]

    balance = product["mass_balance"].transpose("glacier", "year").values.astype(np.float64)
    columns = {
        "product_rate": operator.sums(balance.reshape(-1)) / operator.total,
        "product_uncertainty": _error_of_means(operator, product),
        "geodetic_rate": taken["rate"].to_numpy(np.float64),
        "geodetic_uncertainty": taken["uncertainty"].to_numpy(np.float64),
    }
    columns["difference"] = columns["product_rate"] - columns["geodetic_rate"]
    attrs = {"units": "m year-1", "comment": "water equivalent"}
    compared = xr.Dataset({n: ("survey", v, {**attrs, "long_name": _LONG_NAMES[n]}) for n, v in columns.items()})
    compared = compared.assign(
        area=("survey", product["area"].values[row], product["area"].attrs),
        measured=("survey", product["measured"].values[row], product["measured"].attrs),
        weight=("survey", statement_weights(row, begin[whole], end[whole]), _OF_WEIGHT),
    ).assign_coords({n: ("survey", taken[n].to_numpy(object)) for n in _TEXTS if n in taken})
    if learnt is not None:
        shared = _shares_days(taken["glacier"].to_numpy(), begin[whole], end[whole], learnt)
        compared = compared.assign(independent=("survey", (~shared).astype(np.int8), _OF_INDEPENDENT))
    ends = {"begin": begin[whole].astype("datetime64[ns]"), "end": end[whole].astype("datetime64[ns]")}
    return compared.assign_coords({n: ("survey", v) for n, v in ends.items()}), pd.concat(outside)


def _shares_days(glacier: npt.NDArray[Any], begin: Days, end: Days, learnt: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Whether a period shares a day with that of a rate of the same glacier that was learnt from, (row,)."""
    rows = pd.DataFrame({"glacier": glacier.astype(str), "begin": begin, "end": end, "row": np.arange(len(begin))})
    theirs = pd.DataFrame({n: learnt[n].to_numpy() for n in ("glacier", "begin", "end")})
    theirs = theirs.assign(glacier=theirs["glacier"].astype(str), **{n: pd.to_datetime(theirs[n]) for n in _ENDS})
    pairs = rows.merge(theirs, on="glacier", suffixes=("", "_learnt"))
    both = (pairs["begin"] < pairs["end_learnt"]) & (pairs["end"] > pairs["begin_learnt"])
    return np.isin(np.arange(len(begin)), pairs["row"][both])


def _error_of_means(operator: Weights, product: xr.Dataset) -> Floats:
    """One standard deviation of the mean of the product over each period, (row,), m w.e. per year."""
    numbers = product["year"].values.astype(np.float64)
    sigma = error_of_balance(product).reshape(-1)
    loads = np.zeros((len(operator.rows), len(numbers)))
    loads[operator.row, operator.column % len(numbers)] = operator.weight * sigma[operator.column]
    lag = np.abs(numbers[:, None] - numbers)
    if "error_correlation" in product.attrs:
        known = ErrorCorrelation.from_attrs(product.attrs)
        correlation = known.at(0.0, lag) + known.nugget * (lag == 0)
    else:
        correlation = np.ones_like(lag)
    variance = ((loads @ correlation) * loads).sum(axis=1)
    return np.asarray(np.sqrt(variance) / operator.total)


_LONG_NAMES = {
    "product_rate": "mean of the annual mass balances of the product over the period",
    "product_uncertainty": "one standard deviation of it, with errors correlated in time",
    "geodetic_rate": "geodetic mass balance of the period",
    "geodetic_uncertainty": "one standard deviation of the geodetic mass balance",
    "difference": "mean of the product minus geodetic mass balance",
}


def score_geodetic(compared: xr.Dataset) -> pd.DataFrame:
    """Scores of the product against geodetic rates: of all, of measured and unmeasured glaciers, of common periods.

    Parameters
    ----------
    compared : xr.Dataset, (survey,)
        From `compare_geodetic`.

    Returns
    -------
    DataFrame
        Columns `slice`, `metric`, `value`, `n` (rates). Metrics, m w.e. per year: `product` and `geodetic` (means
        weighted by area), `regional_difference` (the same of the differences), `bias` (their mean), `rmse`; shares of
        the rates with an uncertainty whose difference is within `geodetic_coverage` (its 1-sigma) and
        `joint_coverage` (1-sigma of both); `statements`, how many rates they weigh as. In every slice a rate counts
        as `statement_weights` of the rates in it, so that none counts twice. Where some rates were learnt from, those
        and the `independent` ones are slices too.
    """
    check(compared, COMPARED)
    measured = compared["measured"].values.astype(bool)
    periods = _periods(compared)
    slices = {"all": np.ones(len(measured), bool), "measured": measured, "unmeasured": ~measured}
    if "independent" in compared:
        independent = compared["independent"].values.astype(bool)
        slices |= {"independent": independent, LEARNT: ~independent}
    slices |= {p: periods == p for p, n in zip(*np.unique(periods, return_counts=True), strict=True) if n >= _A_PERIOD}
    lines = []
    for name, rows in slices.items():
        for metric, (value, n) in _scores(compared.isel(survey=rows)).items():
            lines.append((name, metric, value, n))
    return pd.DataFrame(lines, columns=["slice", "metric", "value", "n"])


def _periods(compared: xr.Dataset) -> npt.NDArray[np.str_]:
    """The period of every rate as text, (survey,)."""
    begin, end = (compared[n].values.astype(_DAY).astype(str) for n in ("begin", "end"))
    return np.char.add(np.char.add(begin, " to "), end)


def _scores(compared: xr.Dataset) -> dict[str, tuple[float, int]]:
    n = compared.sizes["survey"]
    weight = statement_weights(*(compared[name].values for name in ("glacier", "begin", "end")))
    difference, area = compared["difference"].values, weight * compared["area"].values
    sigma, its = compared["geodetic_uncertainty"].values, compared["product_uncertainty"].values
    given = np.isfinite(sigma)

    def mean(values: Floats, weights: Floats) -> float:
        return float(np.average(values, weights=weights)) if len(values) else float("nan")

    off, own, both = np.abs(difference[given]), sigma[given], np.hypot(sigma, its)[given]
    return {
        "product": (mean(compared["product_rate"].values, area), n),
        "geodetic": (mean(compared["geodetic_rate"].values, area), n),
        "regional_difference": (mean(difference, area), n),
        "bias": (mean(difference, weight), n),
        "rmse": (mean(difference**2, weight) ** 0.5, n),
        "geodetic_coverage": (mean((off <= own).astype(np.float64), weight[given]), int(given.sum())),
        "joint_coverage": (mean((off <= both).astype(np.float64), weight[given]), int(given.sum())),
        "statements": (float(weight.sum()), n),
    }
