"""The sections on how good the models are: beside each other, against a known truth, and where there are few data."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from glacmb_grid.learning.rivals import RIVALS
from glacmb_grid.report.page import tables
from glacmb_grid.report.page.judged import distance_chart, predicted_charts, reliability_chart, score_charts
from glacmb_grid.report.page.section import Section
from glacmb_grid.report.page.tables import Table
from glacmb_grid.report.results import Results
from glacmb_grid.report.scores import RIVALS_IN_WORDS
from glacmb_grid.validation.bootstrap import LEAST_BLOCKS

EVALUATE = "glacmb-grid evaluate"
_METHODS = {
    "hierarchical": "hold at least what they promise, whatever the distribution, and more with few glaciers",
    "calibrated": "are narrower, without that promise",
    "gaussian": "are those of a normal distribution with the model's own standard deviation",
}


def judgement(results: Results) -> Iterator[Section]:
    """These sections in their order; that on the truth only where it is known."""
    yield _scores(results)
    if results.truth is not None and len(results.truth):
        yield _truth(results, results.truth)
    yield _predicted(results)
    yield _beaten(results)
    yield _reliability(results)
    yield _distance(results)


def _scores(results: Results) -> Section:
    scores = results.evaluation.get("scores")
    if scores is None or scores.empty:
        return Section("scores", "Scores", missing=f"No scores yet: made by {EVALUATE}.")
    lead = (
        "Every model predicts only what its fit had not seen, in the same folds: logo leaves one glacier (or group) "
        "out, loyo one year, both_out both; nested: all choices were made inside the folds. RMSE per glacier: each "
        "glacier counts once. REC AUC: the share of errors up to t, averaged over t from 0 to 1 m w.e.; 1 is perfect. "
        "Sign AUC: how often a year of gain is predicted above a year of loss; 0.5 is guessing, and mean lies below: "
        "the mean of the others is lower where one's own balance is higher."
    )
    found = [tables.score_table(scores, s, results.model, results.level) for s in results.schemes]
    if (slices := results.evaluation.get("slices")) is not None:
        found.append(tables.slices_table(slices, results.scheme, results.model))
    if results.holdout is not None and len(results.holdout):
        found.append(_holdout_table(results))
    charts = score_charts(scores, results.schemes)
    return Section("scores", "Scores beside every rival", lead, charts, found, list(_rivals(scores, results.schemes)))


def _rivals(scores: pd.DataFrame, schemes: list[str]) -> Iterator[str]:
    """What the rivals are, and where they are not judged."""
    judged = set(zip(scores["model"].astype(str), scores["scheme"].astype(str), strict=True))
    for rival in RIVALS:
        absent = [s for s in schemes if (rival, s) not in judged]
        if len(absent) == len(schemes):
            continue
        where = f" Not judged in {', '.join(absent)}: the scheme withholds what the model rests on." if absent else ""
        yield f"{rival}, a rival of every model: {RIVALS_IN_WORDS[rival]}.{where}"


def _truth(results: Results, truth: pd.DataFrame) -> Section:
    scores = results.evaluation.get("scores")
    known = pd.DataFrame(columns=["scheme", "model", "slice", "metric", "value"]) if scores is None else scores
    lead = (
        "Balances of all glaciers and years against the truth, which only a synthetic region has, beside what "
        "leave-one-glacier-out promised. Measured glaciers are predicted by fits that had not seen them."
    )
    return Section("truth", "Against the known truth", lead, tables=[tables.truth_table(truth, known, results.model)])


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
        return Section("predicted", "Predicted and observed", missing=f"No predictions yet: made by {EVALUATE}.")
    charts = predicted_charts(predictions, results.schemes, results.model)
    return Section("predicted", "Predicted and observed", "One point is one glacier-year, left out of the fit.", charts)


def _beaten(results: Results) -> Section:
    comparisons = results.evaluation.get("comparisons")
    title = "What beat what"
    if comparisons is None or comparisons.empty:
        return Section("beaten", title, missing="No comparison: it takes two models that were judged.")
    found = [tables.beaten_table(comparisons, results.schemes)]
    found.append(tables.verdict_table(comparisons, results.schemes, results.model))
    rivals = " or ".join(f"{name} ({words})" for name, words in RIVALS_IN_WORDS.items())
    lead = (
        "Paired by glacier, year or both; “beat” only where the interval of the difference excludes 0, and only of "
        f"models that also beat {rivals}, where judged. Mean, and what a rival itself beat, are "
        "not listed as not shown to beat it."
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
    methods = list(dict.fromkeys(coverage["method"].astype(str)))
    shown = results.intervals if results.intervals in methods else methods[0]
    whose = ", those of the product" if shown == results.intervals and results.product is not None else ""
    lead = (
        "How often intervals hold observations of glaciers that they were not calibrated on. Above the line they are "
        "wider than promised. With few glaciers the coverage is itself uncertain (lines: its interval). "
        f"The chart shows {shown} intervals{whose}. Shares are means over glaciers, each of which counts once. "
    )
    lead += " ".join(f"Those called {m} {_METHODS[m]}." for m in methods if m in _METHODS)
    charts = {"reliability-chart": reliability_chart(coverage, results.scheme, shown)}
    return Section(
        "reliability", title, lead, charts, [tables.coverage_table(coverage, results.scheme, results.model)], wide=True
    )


def _distance(results: Results) -> Section:
    distance, title = results.evaluation.get("distance"), "Skill against distance"
    if distance is None or distance.empty or not (distance["scheme"] == results.scheme).any():
        return Section("distance", title, missing="Distances are not known: positions are needed.")
    charts = {"distance-chart": distance_chart(distance, results.scheme)}
    lead = f"Scheme {results.scheme}. Below {LEAST_BLOCKS} glaciers a class has no interval, and says little."
    return Section("distance", title, lead, charts, wide=True)
