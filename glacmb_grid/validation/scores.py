"""Scores, their block-bootstrap intervals, slices, and paired comparisons.

A score is a weighted mean of statistics of rows; resampling blocks only changes the weights, so that a score, its
interval and a difference of two models come from one function. Rows whose blocks are drawn together are summed first,
and draws pass in pieces, so that large tables need little memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.samples import operator_of
from glacmb_grid.validation.folds import groups_of

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Metric = Callable[[Floats, Floats, Floats, Floats], Floats]

_ROUNDING = 1e-9  # m w.e., differences below which are noise of the arithmetic
LEAST_BLOCKS = 8
"""Fewer groups (or years, regions) than this give no interval."""
TOLERANCE = 1.0
"""m w.e.; largest tolerance of `rec_auc`."""
LEAST_FOR_R2 = 20
"""Slices of fewer rows have no r2."""
SIZES = (0.5, 2.0, 5.0, 10.0, 50.0)
"""km2; bounds of the size classes."""

SCORE_COLUMNS = ["scheme", "protocol", "model", "slice", "metric", "value", "lower", "upper", "n"]
SLICE_COLUMNS = ["scheme", "protocol", "model", "kind", "slice", "metric", "value", "lower", "upper", "n"]
PREDICTION_COLUMNS = [
    "scheme",
    "protocol",
    "model",
    "sample",
    "glacier",
    "group",
    "region",
    "year",
    "observed",
    "predicted",
    "predicted_uncertainty",
    "fold",
]
_PIECE = 4_000_000  # weights held at a time


# ---- out-of-fold predictions ----


def out_of_fold(samples: xr.Dataset, folds: xr.Dataset, predicted: xr.DataArray, *, model: str) -> pd.DataFrame:
    """Predictions of every scored sample by the fold that withheld it.

    Parameters
    ----------
    samples, folds : xr.Dataset
        Folds of one scheme. Samples that no fold scores (locked, or of unknown region) are left out.
    predicted : xr.DataArray, (fold, member, row), m w.e.
        From `predict` on the samples, the same folds.
    model : str

    Returns
    -------
    DataFrame
        As `tabulate`.
    """
    operator = operator_of(samples)
    shape = (folds.sizes["fold"], samples.sizes["sample"])
    mean, variance = np.empty(shape), np.empty(shape)
    for fold, rows in enumerate(predicted.transpose("fold", "member", "row").values):
        members = operator.sums(rows)
        mean[fold], variance[fold] = members.mean(axis=0), members.var(axis=0)
    return tabulate(samples, folds, mean, variance, model=model)


def tabulate(samples: xr.Dataset, folds: xr.Dataset, mean: Floats, variance: Floats, *, model: str) -> pd.DataFrame:
    """Table of what the folds of one scheme say of the samples that they withheld.

    Parameters
    ----------
    samples, folds : xr.Dataset
    mean, variance : float arrays, (fold, sample), m w.e. and its square
        Over the members of each fold.
    model : str

    Returns
    -------
    DataFrame
        Columns PREDICTION_COLUMNS; `group` is the glacier and `region` empty where unknown. `predicted_uncertainty` is
        sqrt(member variance + residual variance), the latter from the out-of-fold residuals of the samples that the
        fold was fitted on, never of those withheld together. (The fits behind those residuals have seen the row's own
        glacier: a second-order dependence that remains.)
    """
    score = folds["score"].values
    times = score.sum(axis=0)
    if (times > 1).any() or not times.any():
        raise ValueError("every sample must be scored in exactly one fold, or in none")
    rows = np.flatnonzero(times)
    fold = score[:, rows].argmax(axis=0)
    observed = samples["mass_balance"].values.astype(np.float64)
    square = np.full(len(times), np.nan)
    square[rows] = (observed[rows] - mean[fold, rows]) ** 2
    known = [square[fit & (times > 0)] for fit in folds["fit"].values]
    residual = np.array([s.mean() if len(s) else np.nan for s in known])
    region = samples["region"].values.astype(str) if "region" in samples.coords else np.full(len(times), "")
    table = pd.DataFrame(
        {
            "scheme": str(folds["scheme"].values[0]),
            "protocol": "nested",
            "model": model,
            "sample": samples["sample"].values[rows].astype(str),
            "glacier": samples["glacier"].values[rows].astype(str),
            "group": groups_of(samples)[rows],
            "region": np.where(region == "nan", "", region)[rows],
            "year": samples["year"].values[rows],
            "observed": observed[rows],
            "predicted": mean[fold, rows],
            "predicted_uncertainty": np.sqrt(variance[fold, rows] + residual[fold]),
            "fold": folds["fold"].values.astype(str)[fold],
        }
    )
    return table[PREDICTION_COLUMNS]


# ---- metrics: (row weights (draw, row), error (row), observed (row), glacier number (row)) -> (draw,) ----


def _statistics(error: Floats, observed: Floats, tolerance: float) -> Floats:
    """What the simple metrics are weighted means of, (row, statistic)."""
    hinge = np.maximum(1 - np.abs(error) / tolerance, 0)
    return np.stack([error, error**2, np.abs(error), observed, observed**2, hinge], axis=1)


def _r2(means: Floats) -> Floats:
    """1 - squared error / squared deviation of the observations from their own mean."""
    variance = means[:, 4] - means[:, 3] ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(variance > 1e-12, 1 - means[:, 1] / variance, np.nan)


_OF_MEANS: dict[str, Callable[[Floats], Floats]] = {
    "rmse": lambda means: np.sqrt(means[:, 1]),
    "mae": lambda means: means[:, 2],
    "bias": lambda means: means[:, 0],
    "r2": _r2,
    "rec_auc": lambda means: means[:, 5],
}


def _simple(name: str, weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    del glacier
    means = weight @ _statistics(error, observed, TOLERANCE) / weight.sum(axis=1, keepdims=True)
    return _OF_MEANS[name](means)


def _rmse_glacier_mean(weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    """Mean over glaciers of each one's own RMSE; a glacier drawn twice counts twice."""
    del observed
    return _mean_of_glaciers(weight, np.ones(len(error)), error**2, glacier)


def _mean_of_glaciers(weight: Floats, rows: Floats, squares: Floats, glacier: Floats) -> Floats:
    """As `_rmse_glacier_mean`, of numbers of rows and sums of squares whose rows are weighted alike."""
    order = np.argsort(glacier, kind="stable")
    first = np.unique(glacier[order], return_index=True)[1]
    weight = weight[:, order]
    total = np.add.reduceat(weight * rows[order], first, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = np.sqrt(np.add.reduceat(weight * squares[order], first, axis=1) / total)
    drawn = total / np.add.reduceat(rows[order], first)
    return np.asarray((np.where(total > 0, own, 0.0) * drawn).sum(axis=1) / drawn.sum(axis=1))


def _sign_auc(weight: Floats, error: Floats, observed: Floats, glacier: Floats) -> Floats:
    """Probability that a positive year is predicted above one that is not, ties counting half; NaN without both."""
    del glacier
    predicted = np.round(observed + error, 9)  # predictions that were equal before the observation came off and on
    gain, loss = observed > 0, ~(observed > 0)
    order = np.argsort(predicted[loss], kind="stable")
    lost = weight[:, loss][:, order]
    below = np.concatenate([np.zeros((len(weight), 1)), np.cumsum(lost, axis=1)], axis=1)
    ranks = [np.searchsorted(predicted[loss][order], predicted[gain], side=side) for side in ("left", "right")]
    won = (weight[:, gain] * (below[:, ranks[0]] + below[:, ranks[1]]) / 2).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(won / (weight[:, gain].sum(axis=1) * below[:, -1]))


METRICS: dict[str, Metric] = {
    "rmse": partial(_simple, "rmse"),
    "rmse_glacier_mean": _rmse_glacier_mean,
    "mae": partial(_simple, "mae"),
    "bias": partial(_simple, "bias"),
    "r2": partial(_simple, "r2"),
    "rec_auc": partial(_simple, "rec_auc"),
    "sign_auc": _sign_auc,
}
"""rmse, mae, bias: m w.e.

rec_auc: area under the regression error characteristic (the share of rows with an error up to t, t from 0 to TOLERANCE)
divided by TOLERANCE, which is the mean of max(1 - |error| / TOLERANCE, 0); 1 is perfect.

sign_auc: area under the ROC curve of the predicted balance for the sign of the observed one.
"""


# ---- block bootstrap ----


class _Blocks:
    """Blocks of rows and their draws; rows in the same blocks form a cell and are always weighted alike."""

    def __init__(self, labels: Sequence[Codes], draws: int, seed: int) -> None:
        self.sizes = [int(label.max(initial=-1)) + 1 for label in labels]
        numbers = np.ravel_multi_index(tuple(labels), self.sizes)
        cells, self.cell = np.unique(numbers, return_inverse=True)
        self.of_cell = np.unravel_index(cells, self.sizes)  # block numbers of every cell
        self.draws, self.seed = draws, seed

    def pieces(self, width: int) -> Iterator[Floats]:
        """Weights of cells, (draw, cell), so many draws at a time that weights of `width` columns stay small.

        Draws without any row are left out.
        """
        streams = [np.random.default_rng([self.seed, self.draws, axis]) for axis in range(len(self.sizes))]
        step = max(1, _PIECE // max(width, *self.sizes))
        for start in range(0, self.draws, step):
            weight = np.ones((min(step, self.draws - start), len(self.of_cell[0])))
            for rng, size, number in zip(streams, self.sizes, self.of_cell, strict=True):
                counts = rng.multinomial(size, np.full(size, 1 / size), size=len(weight))
                weight *= counts[:, number]
            yield weight[weight.any(axis=1)]


def _columns_of_blocks(table: pd.DataFrame, scheme: str) -> list[str]:
    """What is drawn: years for `loyo`, groups and years for `both_out`, regions where enough, else groups."""
    if scheme == "loyo":
        return ["year"]
    if scheme == "both_out":
        return ["group", "year"]
    return ["region"] if scheme == "leave_region_out" and table["region"].nunique() >= LEAST_BLOCKS else ["group"]


def _blocks(table: pd.DataFrame, scheme: str, draws: int, seed: int) -> _Blocks | None:
    """None below LEAST_BLOCKS blocks."""
    labels = [pd.factorize(table[c], sort=True)[0].astype(np.int64) for c in _columns_of_blocks(table, scheme)]
    if any(label.max(initial=-1) + 1 < LEAST_BLOCKS for label in labels):
        return None
    return _Blocks(labels, draws, seed)


def block_weights(table: pd.DataFrame, scheme: str, draws: int, seed: int) -> Floats | None:
    """Row weights of a block bootstrap, (draw, row); None below LEAST_BLOCKS blocks.

    Years are drawn for `loyo`; groups and years, independently, for `both_out` (a row's weight is the product of the
    two counts); regions for `leave_region_out` where there are LEAST_BLOCKS of them; groups for every other scheme,
    `blocks` and `random` too, so that these compare with `logo`.
    """
    blocks = _blocks(_with_groups(table), scheme, draws, seed)
    return None if blocks is None else np.concatenate([w[:, blocks.cell] for w in blocks.pieces(len(table))])


def _with_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `group` (the glacier where absent or blank) and `region`."""
    group = table["group"].astype(str) if "group" in table else table["glacier"].astype(str)
    group = group.where(~group.isin(["", "nan"]), table["glacier"].astype(str))
    region = table["region"].fillna("").astype(str) if "region" in table else ""
    return table.assign(group=group, region=region)


class _Rows:
    """Rows of one model, ready to be weighted."""

    def __init__(self, table: pd.DataFrame, tolerance: float) -> None:
        self.observed = table["observed"].to_numpy(np.float64)
        self.error = table["predicted"].to_numpy(np.float64) - self.observed
        self.glacier = pd.factorize(table["glacier"], sort=True)[0].astype(np.float64)
        self.statistics = _statistics(self.error, self.observed, tolerance)

    def __len__(self) -> int:
        return len(self.error)

    def values(self, metrics: Sequence[str]) -> dict[str, float]:
        """Scores of the rows as they are."""
        one, means = np.ones((1, len(self))), self.statistics.mean(axis=0)[None]
        simple = {m: _OF_MEANS[m](means) for m in metrics if m in _OF_MEANS}
        rest = [m for m in metrics if m not in _OF_MEANS]
        found = simple | {m: METRICS[m](one, self.error, self.observed, self.glacier) for m in rest}
        return {m: float(found[m][0]) for m in metrics}

    def drawn(self, metrics: Sequence[str], blocks: _Blocks | None) -> dict[str, Floats]:
        """Scores of every draw, (draw,); one NaN without blocks."""
        if blocks is None:
            return {name: np.full(1, np.nan) for name in metrics}
        cells = len(blocks.of_cell[0])
        sums = np.stack([np.bincount(blocks.cell, s, cells) for s in self.statistics.T], axis=1)
        rows = np.bincount(blocks.cell, minlength=cells)
        both, number = np.unique(np.stack([blocks.cell, self.glacier.astype(np.int64)]), axis=1, return_inverse=True)
        count = np.bincount(number).astype(np.float64)
        squares = np.bincount(number, self.error**2).astype(np.float64)
        glacier = both[1].astype(np.float64)
        found = []
        for weight in blocks.pieces(len(self)):
            means = weight @ sums / (weight @ rows)[:, None]
            piece = {m: _OF_MEANS[m](means) for m in metrics if m in _OF_MEANS}
            if "rmse_glacier_mean" in metrics:
                piece["rmse_glacier_mean"] = _mean_of_glaciers(weight[:, both[0]], count, squares, glacier)
            if "sign_auc" in metrics:
                piece["sign_auc"] = _sign_auc(weight[:, blocks.cell], self.error, self.observed, self.glacier)
            found.append(piece)
        return {name: np.concatenate([f[name] for f in found]) for name in metrics}


def _interval(drawn: Floats, level: float) -> tuple[float, float]:
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return float("nan"), float("nan")
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


# ---- tables ----


def score(
    predictions: pd.DataFrame, *, draws: int = 2000, level: float = 0.9, seed: int = 1, tolerance: float = TOLERANCE
) -> pd.DataFrame:
    """Scores of every scheme, protocol and model.

    Parameters
    ----------
    predictions : DataFrame
        PREDICTION_COLUMNS.
    draws : int
        Bootstrap draws.
    level : float
        Of the central interval.
    seed : int
    tolerance : float
        Largest tolerance of `rec_auc`, m w.e.

    Returns
    -------
    DataFrame
        SCORE_COLUMNS, slice `all`; `lower` and `upper` are NaN where there are fewer than LEAST_BLOCKS blocks.
    """
    lines = []
    for (scheme, protocol, model), table in _with_groups(predictions).groupby(_KEYS, sort=False):
        rows, blocks = _Rows(table, tolerance), _blocks(table, str(scheme), draws, seed)
        values, drawn = rows.values(list(METRICS)), rows.drawn(list(METRICS), blocks)
        for name in METRICS:
            interval = _interval(drawn[name], level)
            lines.append((scheme, protocol, model, "all", name, values[name], *interval, len(rows)))
    return pd.DataFrame(lines, columns=SCORE_COLUMNS)


_KEYS = ["scheme", "protocol", "model"]


def slices(
    predictions: pd.DataFrame,
    samples: xr.Dataset | None = None,
    *,
    draws: int = 2000,
    level: float = 0.9,
    seed: int = 1,
) -> pd.DataFrame:
    """Scores of parts of the rows: rmse, mae, bias, and r2 where there are LEAST_FOR_R2 rows.

    Parameters
    ----------
    predictions : DataFrame
        PREDICTION_COLUMNS.
    samples : xr.Dataset, optional
        For slices by `area` (km2), `time_system` and `region`, coordinates over `sample`.
    draws, level, seed
        As in `score`.

    Returns
    -------
    DataFrame
        SLICE_COLUMNS; `kind` is one of sign, extreme, decade, year, glacier, size, region, time_system. Intervals where
        the slice holds LEAST_BLOCKS blocks. Slices by the observed value (positive years, below p10, above p90) are
        biased towards the mean for every model that has error: compare models there, not their bias with 0.
    """
    lines: list[tuple[object, ...]] = []
    metrics = ["rmse", "mae", "bias", "r2"]
    for keys, table in _with_groups(predictions).groupby(_KEYS, sort=False):
        table = table.reset_index(drop=True)
        for kind, name, inside in _slices_of(table, _extra(table, samples)):
            part = table.iloc[inside]
            rows, blocks = _Rows(part, TOLERANCE), _blocks(part, str(keys[0]), draws, seed)
            values, drawn = rows.values(metrics), rows.drawn(metrics, blocks)
            told = metrics if len(rows) >= LEAST_FOR_R2 else metrics[:-1]
            lines += [(*keys, kind, name, m, values[m], *_interval(drawn[m], level), len(rows)) for m in told]
    return pd.DataFrame(lines, columns=SLICE_COLUMNS)


def _extra(table: pd.DataFrame, samples: xr.Dataset | None) -> dict[str, pd.Series]:
    """Coordinates of the samples that name slices, in the order of the table; None where blank."""
    found = {"region": table["region"].where(table["region"] != "")}
    if samples is None:
        return found
    order = pd.Index(samples["sample"].values.astype(str)).get_indexer(table["sample"])
    if (order < 0).any():
        raise ValueError("the predictions hold samples that the samples do not")
    for name in ("area", "time_system", "region"):
        if name in samples.coords:
            found[name] = pd.Series(samples[name].values[order])
    if "area" in found:
        area = pd.to_numeric(found.pop("area"), errors="coerce")
        bounds = [0.0, *SIZES, np.inf]
        names = [f"{low:g} to {high:g} km2" for low, high in pairwise(bounds[:-1])]
        found["size"] = pd.Series(pd.cut(area, bounds, right=False, labels=[*names, f"over {SIZES[-1]:g} km2"]))
    return found


def _slices_of(table: pd.DataFrame, extra: Mapping[str, pd.Series]) -> Iterator[tuple[str, str, Codes]]:
    """Kind, name and row numbers of every slice that holds rows."""
    observed = table["observed"].to_numpy(np.float64)
    low, high = np.quantile(observed, [0.1, 0.9])
    by_value = {"positive years": observed > 0, "below p10": observed < low, "above p90": observed > high}
    for name, inside in by_value.items():
        if inside.any():
            yield "sign" if name == "positive years" else "extreme", name, np.flatnonzero(inside)
    decade = (table["year"] // 10 * 10).astype(str) + "s"
    for kind, label in {"decade": decade, "year": table["year"], "glacier": table["glacier"], **extra}.items():
        text = label.astype(object).where(label.notna(), "").astype(str)
        names = {str(n): np.asarray(rows, np.int64) for n, rows in text.groupby(text).indices.items()}
        yield from ((kind, n, names[n]) for n in sorted(names) if n not in ("", "nan", "None"))


def compare(predictions: pd.DataFrame, *, draws: int = 2000, level: float = 0.9, seed: int = 1) -> pd.DataFrame:
    """Paired differences of RMSE, pooled and averaged over glaciers, between all pairs of models of a scheme.

    Returns
    -------
    DataFrame
        Columns scheme, protocol, model, baseline, metric (rmse, rmse_glacier_mean), difference (model minus baseline,
        m w.e.), lower, upper, n, verdict: `better` or `worse` only where the interval excludes 0, `undecided` where it
        holds 0, `not judged` below LEAST_BLOCKS blocks.
    """
    lines = []
    metrics = ["rmse", "rmse_glacier_mean"]
    for (scheme, protocol), group in _with_groups(predictions).groupby(["scheme", "protocol"], sort=False):
        models = list(dict.fromkeys(group["model"]))
        tables = [group[group["model"] == m].sort_values("sample").reset_index(drop=True) for m in models]
        if not all(t["sample"].equals(tables[0]["sample"]) for t in tables):
            raise ValueError("models can only be compared on the same samples")
        blocks = _blocks(tables[0], str(scheme), draws, seed)
        rows = [_Rows(t, TOLERANCE) for t in tables]
        values, drawn = [r.values(metrics) for r in rows], [r.drawn(metrics, blocks) for r in rows]
        for a, b in [(a, b) for a in range(len(models)) for b in range(len(models)) if a != b]:
            for m in metrics:
                interval = _interval(drawn[a][m] - drawn[b][m], level)
                told = (models[a], models[b], m, values[a][m] - values[b][m], *interval, len(rows[a]))
                lines.append((scheme, protocol, *told, _verdict(*interval)))
    columns = ["scheme", "protocol", "model", "baseline", "metric", "difference", "lower", "upper", "n", "verdict"]
    return pd.DataFrame(lines, columns=columns)


def _verdict(lower: float, upper: float) -> str:
    if np.isnan(lower):
        return "not judged"
    return "better" if upper < -_ROUNDING else "worse" if lower > _ROUNDING else "undecided"
