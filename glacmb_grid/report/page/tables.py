"""Tables of the page, as plain texts: the template escapes them."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from glacmb_grid.plot.style import identifiers
from glacmb_grid.products.series import SAME_AREA
from glacmb_grid.report.page.words import NAMES, explained, in_words, recipe_in_words
from glacmb_grid.report.scores import TRUTH_HEADS, truth_rows, what_beat_what
from glacmb_grid.validation.scores import unbeaten_rivals
from glacmb_grid.vocabulary import BAND_LEVEL, LEVELS

MOST_ROWS = 200
"""Rows of a table that the page holds at most."""


@dataclass(frozen=True)
class Table:
    """Texts by row and column.

    Attributes
    ----------
    head : tuple of str
    rows : tuple of tuples of str
    caption : str
    strong : int
        Row that is set in bold; -1 for none.
    folded : bool
        Whether it is shown only when asked for.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    strong: int = -1
    folded: bool = False


def table_of(
    head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", *, strong: int = -1, folded: bool = False
) -> Table:
    """A table that is cut, with a word about it, where it is long."""
    every = [tuple(map(str, r)) for r in rows]
    if len(every) > MOST_ROWS:
        caption = f"{caption} ({MOST_ROWS} of {len(every):,} rows)".strip()
    return Table(tuple(head), tuple(every[:MOST_ROWS]), caption, strong, folded)


def number(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """A number, or a dash for none."""
    if math.isnan(value):
        return "–"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def counted(count: int, what: str) -> str:
    """A number of things in words."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def with_interval(value: float, lower: float, upper: float, *, signed: bool = False) -> str:
    """A value with its interval, if it has one."""
    text = number(value, signed=signed)
    return text if math.isnan(lower) else f"{text} [{number(lower, signed=signed)}, {number(upper, signed=signed)}]"


_SCORES = ("rmse", "r2", "mae", "bias", "rmse_glacier_mean", "rec_auc", "sign_auc")
_HEADS = ("model", "RMSE [interval]", "R²", "MAE", "bias", "RMSE per glacier", "REC AUC", "sign AUC")


def score_table(scores: pd.DataFrame, scheme: str, model: str, level: float) -> Table:
    """Scores of all models in a scheme, that of the product in bold."""
    one = scores[(scores["scheme"] == scheme) & (scores["slice"] == "all")]
    rows: list[tuple[str, ...]] = []
    strong = -1
    for name, lines in one.groupby("model", sort=False):
        by = lines.set_index("metric")
        values = by["value"].to_dict()
        rmse = with_interval(values["rmse"], by["lower"]["rmse"], by["upper"]["rmse"])
        rest = [number(values.get(m, np.nan), 2 if m != "mae" else 3, signed=m == "bias") for m in _SCORES[1:]]
        strong = len(rows) if name == model else strong
        rows.append((str(name), rmse, *rest))
    protocols = ", ".join(dict.fromkeys(one["protocol"].astype(str))) if "protocol" in one else ""
    caption = f"{scheme}, {protocols}; m w.e., {level:.0%} block-bootstrap intervals"
    return table_of(_HEADS, rows, caption, strong=strong)


def verdict_table(comparisons: pd.DataFrame, schemes: Sequence[str], model: str) -> Table:
    """The product's model against every rival in every scheme."""
    mine = comparisons[(comparisons["metric"] == "rmse") & (comparisons["model"] == model)]
    unbeaten = unbeaten_rivals(mine)

    def verdict(scheme: str, words: str) -> str:
        rivals = unbeaten.get((scheme, model), [])
        return f"lower, but does not beat {', '.join(rivals)}" if rivals and words == "better" else words

    rows = [
        (
            s,
            str(r["baseline"]),
            verdict(s, str(r["verdict"])),
            with_interval(r["difference"], r["lower"], r["upper"], signed=True),
        )
        for s in schemes
        for r in mine[mine["scheme"] == s].to_dict("records")
    ]
    caption = f"RMSE of {model} minus that of its rival, m w.e.; “better” only where the interval excludes 0"
    return table_of(("scheme", "rival", "verdict", "difference [interval]"), rows, caption)


def beaten_table(comparisons: pd.DataFrame, schemes: Sequence[str]) -> Table:
    """Which model beat which in every scheme."""
    rows = [(scheme, what_beat_what(comparisons[comparisons["scheme"] == scheme])) for scheme in schemes]
    return table_of(("scheme", "what beat what"), rows)


def truth_table(truth: pd.DataFrame, scores: pd.DataFrame, model: str) -> Table:
    """Scores against a known truth beside those in `logo`, those of the product's model in bold."""
    rows = list(truth_rows(truth, scores))
    strong = next((k for k, row in enumerate(rows) if row[0] == model), -1)
    caption = "RMSE in m w.e. / R² / bias; logo score: of observations, the others: of the truth in all years"
    return table_of(("model", *TRUTH_HEADS), rows, caption, strong=strong)


def coverage_table(coverage: pd.DataFrame, scheme: str, model: str, level: float = LEVELS[-1]) -> Table:
    """Coverage of one model's intervals by method and slice."""
    one = coverage[(coverage["scheme"] == scheme) & (coverage["model"] == model) & (coverage["level"] == level)]
    rows = [
        (
            str(r["method"]),
            str(r["slice"]),
            _percent(r["coverage"], r["lower"], r["upper"]),
            number(r["width"], 2),
            str(r["glaciers"]),
            str(r["n"]),
            "" if r["note"] != r["note"] else str(r["note"]),
        )
        for _, group in one.groupby("method", sort=False)
        for r in (group if group["coverage"].notna().any() else group.head(1)).to_dict("records")
    ]  # fmt: skip
    heads = ("method", "slice", f"within {level:.0%} intervals", "mean width (m w.e.)", "glaciers", "n", "")
    return table_of(heads, rows, f"{model}, {scheme}", folded=True)


def _percent(value: float, lower: float, upper: float) -> str:
    if math.isnan(value):
        return "–"
    return f"{value:.0%}" if math.isnan(lower) else f"{value:.0%} [{lower:.0%}, {upper:.0%}]"


def choices_table(choices: pd.DataFrame, scheme: str, model: str, recipes: Sequence[Mapping[str, Any]] = ()) -> Table:
    """What the inner folds chose for every outer fold; recipes are told by their content."""
    one = choices[(choices["scheme"] == scheme) & (choices["model"] == model)]
    rows = [
        (
            str(r["fold"]),
            str(r["rows"]),
            _settings(r["chosen"], recipes),
            number(r.get("inner_rmse", math.nan)),
            number(r.get("features", math.nan), 0),
            number(r.get("parameters", math.nan), 0),
        )
        for r in one.to_dict("records")
    ]
    heads = ("fold", "rows", "chosen", "inner RMSE", "predictors", "parameters")
    return table_of(heads, rows, f"{model}, {scheme}", folded=True)


def _settings(text: Any, recipes: Sequence[Mapping[str, Any]]) -> str:
    """Settings in JSON as words."""
    if not isinstance(text, str):
        return "–"
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return in_words(found, recipes) if isinstance(found, dict) else text


def search_table(search: Mapping[str, Any]) -> Table:
    """How many candidates each model had, and what differed between them."""
    rows = []
    for model, space in search.items():
        candidates = space.get("candidates", []) if isinstance(space, dict) else []
        values: dict[str, list[str]] = {}
        for one in candidates:
            for key, value in one.items():
                values.setdefault(key, []).append(json.dumps(value))
        kinds = {k: list(dict.fromkeys(v)) for k, v in values.items()}
        recipes = space.get("recipes", []) if isinstance(space, dict) else []
        kinds["recipe"] = [f"{k} ({recipe_in_words(r)})" for k, r in enumerate(recipes)]
        said = "; ".join(f"{NAMES.get(k, k)}: {', '.join(v)}" for k, v in kinds.items() if len(v) > 1)
        rows.append((str(model), str(len(candidates)), said or "nothing to choose", str(len(recipes))))
    heads = ("model", "candidates", "what differs", "recipes of predictors")
    return table_of(heads, rows, "decided by the inner folds of every outer fold; whole in evaluation/search.json")


def words_table(search: Mapping[str, Any]) -> Table:
    """What the words of the search spaces and of the choices mean."""
    rows = dict.fromkeys(row for row in explained(search) if row[-1])
    heads = ("word", "key under `models: NAME:`", "what it is")
    return table_of(heads, rows, "what is chosen and searched", folded=True)


def size_table(choices: pd.DataFrame) -> Table:
    """Size of the networks against the rows that they learnt from."""
    some = choices[choices["parameters"].notna()]
    rows = []
    for (model, scheme), one in some.groupby(["model", "scheme"], sort=False):
        parameters, features, count = (one[n].to_numpy(np.float64) for n in ("parameters", "features", "rows"))
        rows.append(
            (
                str(model),
                str(scheme),
                _span(parameters),
                _span(features),
                _span(count),
                f"{_span(parameters / count, 1)}, median {np.nanmedian(parameters / count):,.1f}",
            )
        )
    heads = ("model", "scheme", "parameters", "predictors", "rows learnt from", "parameters per row")
    return table_of(heads, rows, "smallest to largest over the folds; parameters with biases, of one member")


def _span(values: Any, digits: int = 0) -> str:
    ends = dict.fromkeys(f"{float(f(values)):,.{digits}f}" for f in (np.nanmin, np.nanmax))
    return " to ".join(ends)


def slices_table(slices: pd.DataFrame, scheme: str, model: str) -> Table:
    """Scores of the product's model in slices: sign, extremes, decades, sizes."""
    kinds = ("sign", "extreme", "decade", "size", "time_system", "region")
    one = slices[(slices["scheme"] == scheme) & (slices["model"] == model) & slices["kind"].isin(kinds)]
    rows = []
    for (kind, name), lines in one.groupby(["kind", "slice"], sort=False):
        by = lines.set_index("metric")
        rmse = with_interval(by["value"]["rmse"], by["lower"]["rmse"], by["upper"]["rmse"])
        rows.append((str(kind), str(name), rmse, number(by["value"]["bias"], 2, signed=True), str(by["n"]["rmse"])))
    return table_of(("kind", "slice", "RMSE [interval]", "bias", "n"), rows, f"{model}, {scheme}, m w.e.", folded=True)


def gaps_table(gaps: pd.DataFrame) -> Table:
    """What each leak would have promised."""
    rows = [
        (
            str(r["model"]),
            str(r["leak"]),
            number(r["rmse"]),
            number(r["r2"], 2),
            with_interval(r["promised"], r["lower"], r["upper"], signed=True),
        )
        for r in gaps.to_dict("records")
    ]
    return table_of(("model", "protocol", "RMSE", "R²", "RMSE that it hides [interval]"), rows, "m w.e.")


def failures_table(failures: pd.DataFrame) -> Table:
    """Glaciers that were left out, and why."""
    rows = failures[["glacier", "stage", "variable", "reason"]].astype(str).itertuples(index=False)
    return table_of(("glacier", "stage", "variable", "reason"), rows)


def counts_table(reasons: pd.Series, head: str) -> Table:
    """How often each reason was given."""
    counts = reasons.astype(str).value_counts()
    return table_of((head, "count"), [(str(k), f"{n:,}") for k, n in counts.items()])


def geodetic_table(scores: pd.DataFrame) -> Table:
    """Scores of the product against geodetic rates."""
    wide = scores.pivot_table(index="slice", columns="metric", values="value", sort=False)
    counts = scores.groupby("slice", sort=False)["n"].max()
    names = [m for m in ("product", "geodetic", "regional_difference", "bias", "rmse") if m in wide]
    rows = [
        (str(s), str(counts[s]), *(number(wide.loc[s, m], 3, signed=m != "rmse") for m in names)) for s in wide.index
    ]
    return table_of(("slice", "rates", *(n.replace("_", " ") for n in names)), rows, "m w.e. per year")


def _of_other_area(score: Mapping[Hashable, Any]) -> bool:
    """Whether gigatonnes are of an area that is another, or unknown."""
    return bool(score["unit"] == "Gt" and not abs(score["area_share"] - 1) <= SAME_AREA)


def series_table(scores: pd.DataFrame) -> Table:
    """Regional sums beside series of others."""
    head = ("region", "unit", "periods", "product", "series", "bias", "RMSE", "share of area")
    rows = [
        (
            *(str(one[n]) for n in ("region", "unit", "n")),
            *(number(one[n], signed=True) for n in ("product", "reference")),
            *(("–", "–") if _of_other_area(one) else (number(one["bias"], signed=True), number(one["rmse"]))),
            f"{one['area_share']:.0%}" if pd.notna(one["area_share"]) else "–",
        )
        for one in scores.to_dict("records")
    ]
    return table_of(head, rows, "means over the periods")


def region_names(regional: xr.Dataset) -> list[str]:
    """Identifier and name of every region."""
    ids = identifiers(regional, "region")
    names = regional["region_name"].values.astype(str) if "region_name" in regional.variables else ids
    return [i if n == i else f"{i} {n}".strip() for i, n in zip(ids, names, strict=True)]


def region_table(regional: xr.Dataset) -> Table:
    """Every region with its mean and sum."""
    rows = []
    years, half = regional.sizes["year"], float(ndtri(0.5 + BAND_LEVEL / 2))
    names = region_names(regional)
    for k in range(len(names)):
        last = regional.isel(region=k, year=-1)
        parts = []
        for quantity, divisor in (("cumulative_mass_balance", years), ("cumulative_mass_change_gt", 1)):
            value, sigma = float(last[quantity]) / divisor, float(last[f"{quantity}_uncertainty"]) / divisor
            parts.append(f"{number(value, 3, signed=True)} ± {number(half * sigma)}")
        rows.append((names[k], str(int(last["glaciers_covered"])), f"{float(last['area']):,.1f}", *parts))
    heads = ("region", "glaciers", "area (km²)", "mean balance (m w.e. a year)", "mass change (Gt)")
    first, final = (int(regional["year"][k]) for k in (0, -1))
    caption = f"{first} to {final}; ± to the ends of the {BAND_LEVEL:.0%} bands; glaciers and area of {final}"
    return table_of(heads, rows, caption)
