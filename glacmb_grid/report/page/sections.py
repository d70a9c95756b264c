"""The sections of the page: charts, tables and texts where their files exist, a line where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import xarray as xr
from bokeh.document import Document
from bokeh.models import UIElement

from glacmb_grid.plot.fits import chosen_table
from glacmb_grid.plot.studies import AS_IT_IS, NESTED
from glacmb_grid.report.page import cards, tables
from glacmb_grid.report.page.atlas import atlas
from glacmb_grid.report.page.glaciers import ONE_SIGMA, Glaciers
from glacmb_grid.report.page.judged import (
    differences_chart,
    distance_chart,
    predicted_charts,
    reliability_chart,
    score_charts,
)
from glacmb_grid.report.page.learnt import chosen_chart, glaciers_chart, importance_chart, losses_chart
from glacmb_grid.report.page.sentences import correlated_as, why_no_interval
from glacmb_grid.report.page.sums import LEVEL, geodetic_chart, regional_charts
from glacmb_grid.report.page.tables import Table
from glacmb_grid.report.results import Results

_RUN, _EVALUATE = "glacmb-grid run", "glacmb-grid evaluate"


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes
    ----------
    key, title : str
        Its place in the page, and its heading.
    lead : str
        What is shown, in a sentence or two.
    charts : mapping
        By their place in the page.
    tables : list of Table
    points : list of str
        Sentences in a list.
    wide : bool
        Whether charts take the whole width instead of standing side by side.
    missing : str
        Why there is nothing to show; empty otherwise.
    """

    key: str
    title: str
    lead: str = ""
    charts: Mapping[str, UIElement] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    wide: bool = False
    missing: str = ""


def sections(results: Results, glaciers: Glaciers | None, document: Document) -> Iterator[Section]:
    """All sections in their order."""
    placed: dict[str, UIElement] = {} if glaciers is None else atlas(glaciers, document)
    applicability = placed.pop("applicability", None)
    yield _glaciers(glaciers, placed, results)
    yield _regional(results)
    yield _geodetic(results)
    yield _series(results)
    yield _scores(results)
    yield _predicted(results)
    yield _beaten(results)
    yield _reliability(results)
    yield _distance(results)
    yield _groups(results)
    yield _applicability(applicability, results)
    yield _losses(results)
    yield _chosen(results)
    yield _study(results)
    yield _audit(results)
    yield _search(results)
    yield _failed(results)
    yield Section("model", "Model card", tables=[cards.model_card(results)])
    yield Section("data", "Data card", tables=cards.data_card(results))
    yield Section("limits", "Known limits", points=cards.limits(results))


def _glaciers(glaciers: Glaciers | None, charts: dict[str, UIElement], results: Results) -> Section:
    title = "Glaciers"
    if glaciers is None:
        return Section("glaciers", title, missing=f"No series yet: made by {_RUN}, or {_EVALUATE} for a table.")
    where = (
        "Click a glacier on the map"
        if "map" in charts
        else "Positions are not known, so there is no map: find a glacier"
    )
    what = (
        ""
        if glaciers.of_product
        else " Only measured glaciers are shown; lines are predictions of fits that had not seen them."
    )
    if glaciers.band == ONE_SIGMA and results.product is not None:
        what += f" Bands are one standard deviation: {why_no_interval(results.product)}."
    return Section("glaciers", title, f"{where} to see its series.{what}", charts)


def _regional(results: Results) -> Section:
    regional = results.regional
    if regional is None or not regional.sizes["region"]:
        return Section(
            "regional", "Regional series", missing="No regional sums: made by a run with `product: {regions: ...}`."
        )
    lead = (
        f"Blue: {LEVEL:.0%} bands with errors correlated between glaciers and years {correlated_as(results)}. Orange: "
        "what independent errors would have claimed, for comparison only."
    )
    return Section("regional", "Regional series", lead, regional_charts(regional), [tables.region_table(regional)])


def _series(results: Results) -> Section:
    scores = results.series_scores
    if scores is None or scores.empty:
        missing = "No series were given (`product: {regions: {compare: ...}}`), or none of these regions."
        return Section("series", "Beside series of others", missing=missing)
    lead = (
        "Changes over the periods of the series. Gigatonnes are comparable where the areas are: the share is that of "
        "the product's glaciers in the area of the series."
    )
    return Section("series", "Beside series of others", lead, tables=[tables.series_table(scores)])


def _independence(compared: xr.Dataset) -> str:
    """Whether geodetic rates are an independent judgement of the product."""
    independent = compared["independent"].values.astype(bool) if "independent" in compared else np.ones(1, bool)
    if independent.all():
        return "Nothing was learnt from these rates: they are an independent judgement."
    known = f"{int((~independent).sum())} of {len(independent)} rates"
    return f"The product was learnt from {known}, which are no independent judgement of it (slice “learnt from”)."


def _geodetic(results: Results) -> Section:
    if results.geodetic is None or results.geodetic_scores is None:
        missing = "No geodetic rates were given (`observations: {geodetic: ...}`)."
        return Section("geodetic", "Beside geodetic rates", missing=missing)
    lead = f"{_independence(results.geodetic)} Lines: one standard deviation."
    charts = {"geodetic-rates": geodetic_chart(results.geodetic)}
    return Section("geodetic", "Beside geodetic rates", lead, charts, [tables.geodetic_table(results.geodetic_scores)])


def _scores(results: Results) -> Section:
    scores = results.evaluation.get("scores")
    if scores is None or scores.empty:
        return Section("scores", "Scores", missing=f"No scores yet: made by {_EVALUATE}.")
    lead = (
        "Every model predicts only what its fit had not seen, in the same folds: logo leaves one glacier (or group) "
        "out, loyo one year, both_out both; nested: all choices were made inside the folds. RMSE per glacier: each "
        "glacier counts once. REC AUC: the share of errors up to t, averaged over t from 0 to 1 m w.e.; 1 is perfect. "
        "Sign AUC: how often a year of gain is predicted above a year of loss; 0.5 is guessing."
    )
    found = [tables.score_table(scores, s, results.model, results.level) for s in results.schemes]
    if (slices := results.evaluation.get("slices")) is not None:
        found.append(tables.slices_table(slices, results.scheme, results.model))
    if results.holdout is not None and len(results.holdout):
        found.append(_holdout_table(results))
    return Section("scores", "Scores beside every rival", lead, score_charts(scores, results.schemes), found)


def _holdout_table(results: Results) -> Table:
    assert results.holdout is not None
    rmse = results.holdout[results.holdout["metric"] == "rmse"]
    rows = [
        (str(r["model"]), tables.with_interval(r["value"], r["lower"], r["upper"]), str(r["n"]))
        for r in rmse.to_dict("records")
    ]
    return tables.table_of(("model", "RMSE [interval]", "n"), rows, "test glaciers that were locked away; m w.e.")


def _predicted(results: Results) -> Section:
    predictions = results.evaluation.get("predictions")
    if predictions is None or predictions.empty:
        return Section("predicted", "Predicted and observed", missing=f"No predictions yet: made by {_EVALUATE}.")
    charts = predicted_charts(predictions, results.schemes, results.model)
    return Section("predicted", "Predicted and observed", "One point is one glacier-year, left out of the fit.", charts)


def _beaten(results: Results) -> Section:
    comparisons = results.evaluation.get("comparisons")
    title = "What beat what"
    if comparisons is None or comparisons.empty:
        return Section("beaten", title, missing="No comparison: it takes two models that were judged.")
    found = [tables.beaten_table(comparisons, results.schemes)]
    found.append(tables.verdict_table(comparisons, results.schemes, results.model))
    lead = (
        "Paired by glacier, year or both; “beat” only where the interval of the difference excludes 0, and only of "
        "models that also beat year_mean (the glaciers measured in the same year) or year_level, where judged."
    )
    return Section("beaten", title, lead, tables=found)


def _reliability(results: Results) -> Section:
    coverage, title = results.evaluation.get("coverage"), "Reliability of intervals"
    if coverage is None or coverage.empty or coverage["coverage"].isna().all():
        return Section(
            "reliability",
            title,
            missing="No coverage: it takes at least 9 glaciers, and is made by glacmb-grid evaluate.",
        )
    lead = (
        "How often intervals hold observations of glaciers that they were not calibrated on. Above the line they are "
        "wider than promised. With few glaciers the coverage is itself uncertain (lines: its interval)."
    )
    charts = {"reliability-chart": reliability_chart(coverage, results.scheme)}
    return Section(
        "reliability", title, lead, charts, [tables.coverage_table(coverage, results.scheme, results.model)], wide=True
    )


def _distance(results: Results) -> Section:
    distance, title = results.evaluation.get("distance"), "Skill against distance"
    if distance is None or distance.empty or not (distance["scheme"] == results.scheme).any():
        return Section("distance", title, missing="Distances are not known: positions are needed.")
    charts = {"distance-chart": distance_chart(distance, results.scheme)}
    return Section("distance", title, f"Scheme {results.scheme}.", charts, wide=True)


def _groups(results: Results) -> Section:
    curve, title = results.study.get("learning_curve"), "Skill against the number of glaciers"
    if curve is None or curve.empty:
        return Section("groups", title, missing="Not studied: made by glacmb-grid study.")
    return Section(
        "groups", title, "What more measured glaciers would bring.", {"groups-chart": glaciers_chart(curve)}, wide=True
    )


def _applicability(chart: UIElement | None, results: Results) -> Section:
    title = "Where the model applies"
    if chart is None or results.product is None:
        return Section("applicability", title, missing="No applicability: it comes with a product.")
    share = float((results.product["applicable"] == 1).mean())
    threshold = results.product.attrs.get("dissimilarity_threshold", "")
    lead = (
        f"{share:.0%} of the glacier-years are no less like the rows that were learnt from than these are like each "
        f"other{f' (dissimilarity up to {float(threshold):.2f})' if threshold else ''}."
    )
    return Section("applicability", title, lead, {"applicability-map": chart}, wide=True)


def _losses(results: Results) -> Section:
    title = "Learning curves"
    charts = {f"losses-{m}": losses_chart(p) for m, p in results.networks.items()}
    shown: dict[str, UIElement] = {n: c for n, c in charts.items() if c is not None}
    if not shown:
        return Section("losses", title, missing="No network was fitted.")
    lead = f"Scheme {results.scheme}, logarithmic axes; thin lines are folds. Rows that are scored are never looked at."
    return Section("losses", title, lead, shown, wide=True)


def _chosen(results: Results) -> Section:
    choices, title = results.evaluation.get("choices"), "Chosen by the inner folds"
    if choices is None or "chosen" not in choices or choices["chosen"].isna().all():
        return Section("chosen", title, missing="No model had anything to choose.")
    models = list(dict.fromkeys(choices.loc[choices["chosen"].notna(), "model"].astype(str)))
    charts = {f"chosen-{m}": chosen_chart(choices, results.scheme, m) for m in models}
    shown: dict[str, UIElement] = {n: c for n, c in charts.items() if c is not None}
    found = [tables.choices_table(choices, results.scheme, m) for m in models]
    lead = "Predictors and settings are decided inside the training rows of every outer fold."
    points = [_all_taken(choices, results.scheme, m) for m in models if charts[f"chosen-{m}"] is None]
    return Section("chosen", title, lead, shown, [t for t in found if t.rows], [p for p in points if p])


def _all_taken(choices: pd.DataFrame, scheme: str, model: str) -> str:
    count = len(chosen_table(choices, scheme=scheme, model=model))
    return f"{model} took all {count} predictors that it was offered in every fold." if count else ""


def _study(results: Results) -> Section:
    title = "Importance and ablations"
    importance, ablations = (results.study.get(n) for n in ("importance", "ablations"))
    if importance is None or ablations is None:
        return Section("study", title, missing="Not studied: made by glacmb-grid study.")
    pairs = list(dict.fromkeys(zip(importance["model"].astype(str), importance["scheme"].astype(str), strict=True)))
    charts: dict[str, UIElement] = {f"importance-{m}-{s}": importance_chart(importance, m, s) for m, s in pairs}
    changed = ablations[ablations["ablation"] != AS_IT_IS]
    if len(changed) and "difference" in changed:
        label = "RMSE minus that as it is (m w.e.)"
        charts["ablations-chart"] = differences_chart(changed, "difference", "ablation", label)
    return Section("study", title, "Importance is of predictors shuffled together, out of fold.", charts)


def _audit(results: Results) -> Section:
    gaps, title = results.audit.get("gaps"), "What leaks would have promised"
    if gaps is None or gaps.empty:
        return Section("audit", title, missing="Not audited: made by glacmb-grid audit.")
    verdict = results.audit.get("verdict", {}).get("leaks", [])
    said = "The audit found leaks: see below." if verdict else "The audit found no fit that saw a row it was scored on."
    shown = gaps[gaps["leak"] != NESTED]
    charts = {"audit-chart": differences_chart(shown, "promised", "leak", "RMSE that the leak hides (m w.e.)")}
    return Section("audit", title, said, charts, [tables.gaps_table(gaps)], list(verdict), wide=True)


def _search(results: Results) -> Section:
    search, choices = (results.evaluation.get(n) for n in ("search", "choices"))
    title = "Search space, and size against rows"
    found = [tables.search_table(search)] if search else []
    if choices is not None and "parameters" in choices and choices["parameters"].notna().any():
        found.append(tables.size_table(choices))
    if not found:
        return Section("search", title, missing=f"Nothing was searched yet: made by {_EVALUATE}.")
    return Section("search", title, tables=found)


def _failed(results: Results) -> Section:
    title, found = "What failed, and why", []
    if results.failures is not None and len(results.failures):
        found.append(tables.counts_table(results.failures["stage"], "glaciers left out by the stage"))
        found.append(tables.failures_table(results.failures))
    if results.unmatched is not None and len(results.unmatched):
        found.append(tables.counts_table(results.unmatched["reason"], "observations left out, why"))
    if not found:
        return Section("failed", title, missing="Nothing failed: every glacier and every observation was used.")
    return Section("failed", title, tables=found)
