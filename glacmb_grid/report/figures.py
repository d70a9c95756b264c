"""Which figures a run's results allow, and how each is drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from glacmb_grid import plot
from glacmb_grid.plot.fits import chosen_table
from glacmb_grid.plot.series import QUANTITIES
from glacmb_grid.plot.style import height_of_list, identifiers
from glacmb_grid.report.results import Results

Draw = Callable[[Any], object]
"""Draws into the matplotlib Axes that it is given."""
_SERIES = 6  # glaciers whose series are drawn


@dataclass(frozen=True)
class Figure:
    """A figure: name of its files, height in mm, and what draws it into Axes."""

    name: str
    height: float
    draw: Draw


def figures_of(results: Results) -> Iterator[Figure]:
    """All figures of what a run has made."""
    yield from _of_product(results)
    yield from _of_regions(results)
    yield from _of_scores(results)
    yield from _of_fits(results)
    yield from _of_study(results)
    yield from _of_audit(results)


def _of_product(results: Results) -> Iterator[Figure]:
    product = results.product
    if product is None:
        return
    yield Figure("map", 76, lambda ax: plot.glacier_map(product, ax=ax))
    if "applicable" in product:
        yield Figure("applicability", 76, lambda ax: plot.applicability_map(product, ax=ax))
    observed = _observations(results)
    known = set(identifiers(product, "glacier"))
    counts = observed["glacier"].value_counts()
    for glacier in [g for g in counts.index if g in known][:_SERIES]:
        yield Figure(f"series-{_file_name(glacier)}", 55, _series(results, glacier, observed))
    if results.geodetic is not None:
        compared = results.geodetic
        yield Figure("geodetic", 80, lambda ax: plot.geodetic_rates(compared, ax=ax))


def _series(results: Results, glacier: str, observed: pd.DataFrame) -> Draw:
    assert results.product is not None
    product = results.product
    return lambda ax: plot.glacier_series(product, glacier, observations=observed, ax=ax)


def _observations(results: Results) -> pd.DataFrame:
    samples = results.samples
    if samples is None:
        return pd.DataFrame(columns=["glacier", "year", "mass_balance", "mass_balance_uncertainty"])
    names = ("glacier", "year", "mass_balance", "mass_balance_uncertainty")
    return pd.DataFrame({n: samples[n].values for n in names}).assign(glacier=samples["glacier"].values.astype(str))


def _file_name(text: str) -> str:
    """Letters and digits of a text, fit for the name of a file."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("._") or "glacier"


def _of_regions(results: Results) -> Iterator[Figure]:
    regional = results.regional
    if regional is None:
        return
    for region in identifiers(regional, "region"):
        for quantity in (q for q in QUANTITIES if q in regional):
            name = f"regional-{_file_name(region)}-{quantity.replace('_', '-')}"
            yield Figure(name, 60, _region(results, region, quantity))


def _region(results: Results, region: str, quantity: str) -> Draw:
    regional = results.regional
    assert regional is not None

    def draw(ax: Any) -> None:
        made = plot.regional_series(regional, region, quantity=quantity, ax=ax)  # type: ignore[arg-type]
        if results.synthetic:
            made.set_title(f"{made.get_title()}, synthetic")

    return draw


def _of_scores(results: Results) -> Iterator[Figure]:
    tables = results.evaluation
    scores, predictions = tables.get("scores"), tables.get("predictions")
    if scores is not None and len(scores):
        lines = height_of_list(scores["model"].nunique())
        yield Figure("scores-rmse", lines + 8, lambda ax: plot.score_dots(scores, ax=ax))
    if predictions is not None and len(predictions):
        for scheme in results.schemes:
            yield Figure(f"predicted-observed-{scheme}", 80, _pairs(predictions, scheme, results.model))
    coverage, distance = tables.get("coverage"), tables.get("distance")
    if coverage is not None and len(coverage):
        yield Figure("reliability", 80, _reliability(results, coverage))
    if distance is not None and len(distance):
        yield Figure("distance", 65, lambda ax: plot.skill_by_distance(distance, ax=ax))


def _reliability(results: Results, coverage: pd.DataFrame) -> Draw:
    method = results.intervals if results.intervals in set(coverage["method"]) else None
    return lambda ax: plot.reliability(coverage, scheme=results.scheme, method=method, ax=ax)


def _pairs(predictions: pd.DataFrame, scheme: str, model: str) -> Draw:
    return lambda ax: plot.predicted_observed(predictions, scheme=scheme, model=model, ax=ax)


def _of_fits(results: Results) -> Iterator[Figure]:
    for model, parameters in results.networks.items():
        yield Figure(f"learning-curves-{model}", 65, lambda ax, p=parameters: plot.learning_curves(p, ax=ax))  # type: ignore[misc]
    choices = results.choices
    if choices is None or "feature_names" not in choices:
        return
    for model in dict.fromkeys(choices.loc[choices["feature_names"].notna(), "model"].astype(str)):
        if chosen_table(choices, scheme=results.scheme, model=model).to_numpy().all():
            continue  # every predictor in every fold, or the model is not judged in this scheme: nothing was chosen
        yield Figure(f"chosen-{model}", 130, _chosen(choices, results.scheme, model))


def _chosen(choices: pd.DataFrame, scheme: str, model: str) -> Draw:
    return lambda ax: plot.chosen_predictors(choices, scheme=scheme, model=model, ax=ax)


def _of_study(results: Results) -> Iterator[Figure]:
    importance, ablations, curve = (results.study.get(n) for n in ("importance", "ablations", "learning_curve"))
    if importance is not None and len(importance):
        yield Figure("importance", 100, lambda ax: plot.importance_bars(importance, ax=ax))
    if ablations is not None and len(ablations) > 1:
        lines = height_of_list(ablations["ablation"].nunique())
        yield Figure("ablations", lines, lambda ax: plot.ablation_dots(ablations, ax=ax))
    if curve is not None and len(curve):
        yield Figure("skill-by-glaciers", 60, lambda ax: plot.skill_by_glaciers(curve, ax=ax))


def _of_audit(results: Results) -> Iterator[Figure]:
    gaps = results.audit.get("gaps")
    if gaps is not None and len(gaps):
        yield Figure("audit-gap", height_of_list(gaps["leak"].nunique()), lambda ax: plot.audit_gap(gaps, ax=ax))
