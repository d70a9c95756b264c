"""Tables of scores with intervals, scores of slices, and paired comparisons of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.checking import Limits, Positive, Share, checking_arguments
from glacmb_grid.learning.rivals import RIVALS
from glacmb_grid.validation.bootstrap import ScoredRows, blocks_of, interval_of, with_groups
from glacmb_grid.validation.metrics import METRICS, TOLERANCE

Codes = npt.NDArray[np.int64]
Draws = Annotated[int, Limits(least=1)]

_ROUNDING = 1e-9  # m w.e.; smaller differences are rounding errors
LEAST_FOR_R2 = 20
"""Slices of fewer rows have no r2."""
SIZES = (0.5, 2.0, 5.0, 10.0, 50.0)
"""km2; bounds of the size classes."""

_KEYS = ["scheme", "protocol", "model"]
SCORE_COLUMNS = [*_KEYS, "slice", "metric", "value", "lower", "upper", "n"]
SLICE_COLUMNS = [*_KEYS, "kind", "slice", "metric", "value", "lower", "upper", "n"]


@checking_arguments
def score(
    predictions: pd.DataFrame,
    *,
    draws: Draws = 2000,
    level: Share = 0.9,
    seed: int = 1,
    tolerance: Positive = TOLERANCE,
) -> pd.DataFrame:
    """Scores of every scheme, protocol and model.

    Parameters
    ----------
    predictions : DataFrame
        PREDICTION_COLUMNS.
    draws : int
        Bootstrap draws, at least 1.
    level : float
        Probability of the central interval, above 0 and below 1.
    seed : int
    tolerance : float
        Largest tolerance of `rec_auc`, m w.e.

    Returns
    -------
    DataFrame
        SCORE_COLUMNS, slice `all`; `lower` and `upper` are NaN with fewer than LEAST_BLOCKS blocks.

    Examples
    --------
    >>> import pandas as pd, glacmb_grid as gg
    >>> table = pd.DataFrame({"glacier": ["a", "a", "b"], "year": [1, 2, 1], "sample": ["a:1", "a:2", "b:1"]})
    >>> table = table.assign(observed=[-1.0, -0.2, 0.5], predicted=[-0.7, -0.2, 0.1])
    >>> table = table.assign(scheme="logo", protocol="nested", model="mine")
    >>> scores = gg.score(table, draws=10).set_index("metric")["value"]
    >>> print(round(scores["rmse"], 3), round(scores["bias"], 3))
    0.289 -0.033
    """
    lines = []
    for (scheme, protocol, model), table in with_groups(predictions).groupby(_KEYS, sort=False):
        rows, blocks = ScoredRows(table, tolerance), blocks_of(table, str(scheme), draws, seed)
        values, drawn = rows.values(list(METRICS)), rows.drawn(list(METRICS), blocks)
        for name in METRICS:
            interval = interval_of(drawn[name], level)
            lines.append((scheme, protocol, model, "all", name, values[name], *interval, len(rows)))
    return pd.DataFrame(lines, columns=SCORE_COLUMNS)


def slices(
    predictions: pd.DataFrame,
    samples: xr.Dataset | None = None,
    *,
    draws: int = 2000,
    level: float = 0.9,
    seed: int = 1,
) -> pd.DataFrame:
    """Scores of subsets of the rows: rmse, mae, bias, and from LEAST_FOR_R2 rows on r2.

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
        SLICE_COLUMNS; `kind` is one of sign, extreme, decade, year, glacier, size, region, time_system. Slices with
        fewer than LEAST_BLOCKS blocks have no interval. In slices by the observed value (positive years, below p10,
        above p90) every imperfect model is biased towards the mean: compare models there, not their bias with 0.
    """
    lines: list[tuple[object, ...]] = []
    metrics = ["rmse", "mae", "bias", "r2"]
    for keys, table in with_groups(predictions).groupby(_KEYS, sort=False):
        table = table.reset_index(drop=True)
        for kind, name, inside in slices_of(table, labels_of(table, samples)):
            part = table.iloc[inside]
            rows, blocks = ScoredRows(part, TOLERANCE), blocks_of(part, str(keys[0]), draws, seed)
            values, drawn = rows.values(metrics), rows.drawn(metrics, blocks)
            shown = metrics if len(rows) >= LEAST_FOR_R2 else metrics[:-1]
            lines += [(*keys, kind, name, m, values[m], *interval_of(drawn[m], level), len(rows)) for m in shown]
    return pd.DataFrame(lines, columns=SLICE_COLUMNS)


def labels_of(table: pd.DataFrame, samples: xr.Dataset | None) -> dict[str, pd.Series]:
    """Labels of further slices from the coordinates of the samples, in the order of the table; missing if blank."""
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


def slices_of(table: pd.DataFrame, extra: Mapping[str, pd.Series]) -> Iterator[tuple[str, str, Codes]]:
    """Kind, name and row numbers of every slice that is not empty."""
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


@checking_arguments
def compare(predictions: pd.DataFrame, *, draws: Draws = 2000, level: Share = 0.9, seed: int = 1) -> pd.DataFrame:
    """Paired differences of RMSE, pooled and averaged over glaciers, between all pairs of models of a scheme.

    Parameters
    ----------
    predictions : DataFrame
        PREDICTION_COLUMNS.
    draws, level, seed
        As in `score`.

    Returns
    -------
    DataFrame
        Columns scheme, protocol, model, baseline, metric (rmse, rmse_glacier_mean), difference (model minus baseline,
        m w.e.), lower, upper, n, verdict: `better` or `worse` only if the interval excludes 0, `undecided` if it
        includes 0, `not judged` with fewer than LEAST_BLOCKS blocks.

    Examples
    --------
    >>> import numpy as np, pandas as pd, glacmb_grid as gg
    >>> glacier = np.repeat(np.arange(10), 3)
    >>> known = {"scheme": "logo", "protocol": "nested", "glacier": glacier, "year": [2001, 2002, 2003] * 10}
    >>> table = pd.DataFrame({**known, "sample": range(30), "observed": 0.1 * glacier - 1})
    >>> good = table.assign(model="good", predicted=table["observed"] + 0.1)
    >>> poor = table.assign(model="poor", predicted=table["observed"] - 0.3)
    >>> pairs = gg.compare(pd.concat([good, poor]), draws=100)
    >>> one = pairs[(pairs["model"] == "good") & (pairs["metric"] == "rmse")].iloc[0]
    >>> print(one["baseline"], round(one["difference"], 2), one["verdict"])
    poor -0.2 better
    """
    lines = []
    metrics = ["rmse", "rmse_glacier_mean"]
    for (scheme, protocol), group in with_groups(predictions).groupby(["scheme", "protocol"], sort=False):
        models = list(dict.fromkeys(group["model"]))
        tables = [group[group["model"] == m].sort_values("sample").reset_index(drop=True) for m in models]
        if not all(t["sample"].equals(tables[0]["sample"]) for t in tables):
            raise ValueError("models can only be compared on the same samples")
        blocks = blocks_of(tables[0], str(scheme), draws, seed)
        rows = [ScoredRows(t, TOLERANCE) for t in tables]
        values, drawn = [r.values(metrics) for r in rows], [r.drawn(metrics, blocks) for r in rows]
        for a, b in [(a, b) for a in range(len(models)) for b in range(len(models)) if a != b]:
            for m in metrics:
                interval = interval_of(drawn[a][m] - drawn[b][m], level)
                found = (models[a], models[b], m, values[a][m] - values[b][m], *interval, len(rows[a]))
                lines.append((scheme, protocol, *found, _verdict(*interval)))
    columns = ["scheme", "protocol", "model", "baseline", "metric", "difference", "lower", "upper", "n", "verdict"]
    return pd.DataFrame(lines, columns=columns)


def unbeaten_rivals(comparisons: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Rivals of all models (`RIVALS`) that a model does not beat, by scheme and model.

    A model that is named here is not called better than any other in that scheme. Rivals are not held against each
    other, and where nothing is judged nobody is named.
    """
    out: dict[tuple[str, str], list[str]] = {}
    lines = comparisons[(comparisons["metric"] == "rmse") & comparisons["baseline"].isin(RIVALS)]
    lines = lines[~lines["model"].isin(RIVALS) & (lines["verdict"] != "not judged")]
    for line in lines[lines["verdict"] != "better"].to_dict("records"):
        out.setdefault((str(line["scheme"]), str(line["model"])), []).append(str(line["baseline"]))
    return out


def called_better(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The lines of `compare` whose model is called better: it beats the baseline, and every rival of all models."""
    unbeaten = unbeaten_rivals(comparisons)
    keys = zip(comparisons["scheme"].astype(str), comparisons["model"].astype(str), strict=True)
    free = np.array([key not in unbeaten for key in keys], bool)
    return comparisons[(comparisons["verdict"] == "better") & free]


def _verdict(lower: float, upper: float) -> str:
    if np.isnan(lower):
        return "not judged"
    return "better" if upper < -_ROUNDING else "worse" if lower > _ROUNDING else "undecided"
