"""The sections of the page: charts, tables and texts where their files exist, a line where they do not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr
from bokeh.document import Document
from bokeh.models import UIElement

from glacmb_grid.plot.fits import chosen_table
from glacmb_grid.plot.studies import AS_IT_IS, NESTED
from glacmb_grid.report.audit import OTHER_SETTINGS
from glacmb_grid.report.page import cards, tables
from glacmb_grid.report.page.atlas import atlas
from glacmb_grid.report.page.glaciers import ONE_SIGMA, Glaciers
from glacmb_grid.report.page.judged import differences_chart
from glacmb_grid.report.page.judgement import EVALUATE, judgement
from glacmb_grid.report.page.learnt import chosen_chart, glaciers_chart, importance_chart, losses_chart
from glacmb_grid.report.page.section import Section
from glacmb_grid.report.page.sentences import correlated_as, why_no_interval
from glacmb_grid.report.page.sums import geodetic_chart, regional_charts
from glacmb_grid.report.results import Results
from glacmb_grid.report.study import changes_nothing
from glacmb_grid.vocabulary import BAND_LEVEL

_RUN = "glacmb-grid run"


def sections(results: Results, glaciers: Glaciers | None, document: Document) -> Iterator[Section]:
    """All sections in their order."""
    placed: dict[str, UIElement] = {} if glaciers is None else atlas(glaciers, document)
    applicability = placed.pop("applicability", None)
    yield _glaciers(glaciers, placed, results)
    yield _regional(results)
    yield _geodetic(results)
    yield _series(results)
    yield from judgement(results)
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
        return Section("glaciers", title, missing=f"No series yet: made by {_RUN}, or {EVALUATE} for a table.")
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
    if glaciers.ringed:
        what += (
            f" Measured glaciers{' (rings)' if 'map' in charts else ''} are predicted by fits that saw none of their "
            "observations; the observations are not in the product, nor in the regional sum."
        )
    if glaciers.band == ONE_SIGMA and results.product is not None:
        what += f" Bands are one standard deviation: {why_no_interval(results.product)}."
    size = " The size of a symbol is the area of the glacier." if "map" in charts and glaciers.sized else ""
    return Section("glaciers", title, f"{where} to see its series.{size}{what}", charts)


def _regional(results: Results) -> Section:
    regional = results.regional
    if regional is None or not regional.sizes["region"]:
        return Section(
            "regional", "Regional series", missing="No regional sums: made by a run with `product: {regions: ...}`."
        )
    lead = (
        f"Blue: {BAND_LEVEL:.0%} bands with errors correlated between glaciers and years {correlated_as(results)}. "
        "Orange: what independent errors would have claimed, for comparison only."
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
    choices, title = results.choices, "Chosen by the inner folds"
    if choices is None or "chosen" not in choices or choices["chosen"].isna().all():
        return Section("chosen", title, missing="No model had anything to choose.")
    models = list(dict.fromkeys(choices.loc[choices["chosen"].notna(), "model"].astype(str)))
    charts = {f"chosen-{m}": chosen_chart(choices, results.scheme, m) for m in models}
    shown: dict[str, UIElement] = {n: c for n, c in charts.items() if c is not None}
    recipes = {m: (results.evaluation.get("search") or {}).get(m, {}).get("recipes", []) for m in models}
    found = [tables.choices_table(choices, results.scheme, m, recipes[m]) for m in models]
    lead = (
        "Predictors and settings are decided inside the training rows of every outer fold. Their words are "
        "explained under “Search space”."
    )
    points = [_all_taken(choices, results, m) for m in models if charts[f"chosen-{m}"] is None]
    return Section("chosen", title, lead, shown, [t for t in found if t.rows], [p for p in points if p])


def _all_taken(choices: pd.DataFrame, results: Results, model: str) -> str:
    """That nothing was left out, and of how many predictors that is all."""
    names = set(chosen_table(choices, scheme=results.scheme, model=model).index)
    if not names:
        return ""
    made = set() if results.samples is None else set(results.samples["predictor"].values.astype(str))
    which = f"that `models.{model}.predictors` names, of {len(made):,} made" if names < made else "that there are"
    return f"{model} took all {len(names):,} predictors {which}, in every fold."


def _study(results: Results) -> Section:
    title = "Importance and ablations"
    importance, ablations = (results.study.get(n) for n in ("importance", "ablations"))
    if importance is None or ablations is None:
        return Section("study", title, missing="Not studied: made by glacmb-grid study.")
    pairs = list(dict.fromkeys(zip(importance["model"].astype(str), importance["scheme"].astype(str), strict=True)))
    charts: dict[str, UIElement] = {f"importance-{m}-{s}": importance_chart(importance, m, s) for m, s in pairs}
    changed = ablations[(ablations["ablation"] != AS_IT_IS) & ablations["rmse"].notna()]
    if len(changed) and "difference" in changed:
        label = "RMSE minus that as it is (m w.e.)"
        charts["ablations-chart"] = differences_chart(changed, "difference", "ablation", label)
    lead = "Importance is of predictors shuffled together, out of fold; what no fold used is left out."
    return Section("study", title, lead, charts, points=changes_nothing(ablations))


def _audit(results: Results) -> Section:
    gaps, title = results.audit.get("gaps"), "What leaks would have promised"
    if gaps is None or gaps.empty:
        return Section("audit", title, missing="Not audited: made by glacmb-grid audit.")
    verdict = results.audit.get("verdict", {}).get("leaks", [])
    said = "The audit found leaks: see below." if verdict else "The audit found no fit that saw a row it was scored on."
    said += f" {OTHER_SETTINGS}"
    shown = gaps[gaps["leak"] != NESTED]
    charts = {"audit-chart": differences_chart(shown, "promised", "leak", "RMSE that the leak hides (m w.e.)")}
    return Section("audit", title, said, charts, [tables.gaps_table(gaps)], list(verdict), wide=True)


def _search(results: Results) -> Section:
    search, choices = results.evaluation.get("search"), results.choices
    title = "Search space, and size against rows"
    found = [tables.search_table(search), tables.words_table(search)] if search else []
    if choices is not None and "parameters" in choices and choices["parameters"].notna().any():
        found.append(tables.size_table(choices))
    if not found:
        return Section("search", title, missing=f"Nothing was searched yet: made by {EVALUATE}.")
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
