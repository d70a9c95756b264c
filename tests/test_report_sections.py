"""What sections of the page say, and that it is what a run prints: verdicts, truth, choices, intervals, distances."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd
import pytest
from bokeh.document import Document
from scipy.special import ndtri

from glacmb_grid.judging.sums import _line
from glacmb_grid.plot import importance_bars, regional_series
from glacmb_grid.plot.studies import importance_means
from glacmb_grid.report.figures import figures_of
from glacmb_grid.report.page.glaciers import glaciers_of
from glacmb_grid.report.page.judged import distance_chart
from glacmb_grid.report.page.sections import sections
from glacmb_grid.report.page.sentences import sentences
from glacmb_grid.report.page.tables import choices_table, region_table, search_table, size_table
from glacmb_grid.report.page.words import explained, in_words, recipe_in_words
from glacmb_grid.report.results import Results
from glacmb_grid.report.scores import truth_lines, verdict_lines, what_beat_what
from glacmb_grid.report.study import changes_nothing, study_text
from glacmb_grid.settings import Recipe

BAD = float("nan")
METRICS = ("rmse", "r2", "mae", "bias", "rmse_glacier_mean", "rec_auc", "sign_auc")
RECIPES = [Recipe(take="table").model_dump(mode="json"), Recipe(keep=9, exclude=["x"]).model_dump(mode="json")]


def scores(*judged):
    """Scores of (model, scheme) pairs."""
    lines = [(s, "nested", m, "all", metric, 0.5, 0.4, 0.6, 9) for m, s in judged for metric in METRICS]
    names = ["scheme", "protocol", "model", "slice", "metric", "value", "lower", "upper", "n"]
    return pd.DataFrame(lines, columns=names)


def verdicts(*lines):
    """Comparisons in `logo`: model, baseline, verdict."""
    table = pd.DataFrame(lines, columns=["model", "baseline", "verdict"])
    return table.assign(scheme="logo", protocol="nested", metric="rmse", difference=-0.1, lower=-0.2, upper=0.1, n=9)


def choices(*fitted):
    """Choices of (model, scheme) pairs in two folds: one takes a predictor more than the other."""
    lines = [
        (s, m, fold, 100 * k, '{"recipe": 1, "level": "year"}', 0.4, 2, names, 41.0)
        for m, s in fitted
        for k, (fold, names) in enumerate((("a", "rain"), ("b", "rain; heat")), start=1)
    ]
    columns = ["scheme", "model", "fold", "rows", "chosen", "inner_rmse", "features", "feature_names", "parameters"]
    return pd.DataFrame(lines, columns=columns)


@pytest.fixture
def judged():
    """A run that judged a network and both rivals, as far as the schemes let them."""
    pairs = [("mean", "logo"), ("net", "logo"), ("year_mean", "logo"), ("net", "loyo"), ("year_level", "loyo")]
    fitted = choices(("net", "logo"), ("net", "loyo"), ("year_level", "logo"), ("year_level", "loyo"))
    search = {"net": {"candidates": [{"recipe": 0, "level": "none"}, {"recipe": 1, "level": "year"}]}}
    search["net"]["recipes"] = RECIPES
    tables = {"scores": scores(*pairs), "choices": fitted, "search": search}
    return Results(name="toy", model="net", evaluation=tables)


def made_of(results):
    return {s.key: s for s in sections(results, glaciers_of(results), Document())}


# ---- verdicts ----


def test_who_does_not_beat_the_rival_is_not_praised_and_no_rival_is_named_twice(judged, toys):
    samples = toys.table(np.zeros((4, 1)), [0.1, 0.2, 0.3, 0.4], ["a", "b"] * 2, [2001, 2001, 2002, 2002])
    table = verdicts(
        ("net", "mean", "better"),
        ("net", "ridge", "undecided"),
        ("net", "year_mean", "undecided"),
    )
    one = dataclasses.replace(judged, samples=samples, evaluation={**judged.evaluation, "comparisons": table})
    good = sentences(one)[-1]
    assert "better than nothing" not in good
    assert "its RMSE is lower than that of mean, but it is not shown to beat the mean of the glaciers" in good
    assert "so it is not called better than any other model" in good
    assert good.endswith("against ridge nothing is established.")
    assert good.count("year_mean") == 1


def test_what_a_rival_beat_is_said_once():
    table = verdicts(
        ("year_level", "net", "better"),
        ("net", "year_level", "worse"),
        ("ridge", "year_level", "undecided"),
        ("mean", "year_level", "undecided"),
    )
    assert what_beat_what(table) == "year_level beat net; not shown to beat year_level: ridge"
    assert list(verdict_lines(table))[1].endswith(what_beat_what(table))


def test_rivals_are_explained_and_where_they_are_not_judged_is_said(judged):
    mean, level = made_of(judged)["scores"].points
    assert mean.startswith("year_mean, a rival of every model: the mean of the glaciers measured in the same year.")
    assert "Not judged in loyo:" in mean
    assert "Not judged in logo:" in level
    alone = scores(("net", "logo"))
    assert made_of(Results(name="x", evaluation={"scores": alone}))["scores"].points == []


def test_the_truth_has_a_section_with_what_is_printed_and_none_where_it_is_unknown(judged):
    assert "truth" not in made_of(judged)
    lines = [
        (m, s, metric, value)
        for m in ("net", "year_level")
        for s in ("measured", "unmeasured")
        for metric, value in (("rmse", 0.4), ("r2", 0.6), ("bias", -0.1))
    ]
    truth = pd.DataFrame(lines, columns=["model", "slice", "metric", "value"])
    (table,) = made_of(dataclasses.replace(judged, truth=truth))["truth"].tables
    assert table.rows[0] == ("net", "0.500 / 0.50 / +0.500", *["0.400 / 0.60 / -0.100"] * 2)
    assert table.rows[1][1] == "-", "year_level is not judged in logo"
    assert table.strong == 0
    printed = list(truth_lines(truth, judged.evaluation["scores"]))[2:]
    assert [tuple(line.split()) for line in printed] == [tuple(" ".join(row).split()) for row in table.rows]


# ---- sums ----


def test_the_answer_counts_glaciers_and_says_what_is_made_up(toys):
    regional = toys.regional().isel(region=slice(0, 1))
    count = int(regional["glaciers_covered"].isel(region=0, year=-1))
    for synthetic, kind in ((True, "synthetic "), (False, "")):
        (answer,) = sentences(Results(name="x", regional=regional, synthetic=synthetic))
        assert answer.startswith(f"The {count} {kind}glaciers of this run in ")


def test_bands_of_the_table_are_those_of_the_sentence(toys):
    regional = toys.regional()
    last, years = regional.isel(region=0, year=-1), regional.sizes["year"]
    half = ndtri(0.95) * float(last["cumulative_mass_balance_uncertainty"]) / years
    made = region_table(regional)
    assert made.rows[0][3].endswith(f" ± {half:.3f}")
    assert "90%" in made.caption


def test_figures_of_a_made_up_region_say_so(toys):
    regional = toys.regional()
    count = int(regional["glaciers_covered"].isel(region=0).max())
    title = regional_series(regional).get_title()
    assert title.endswith(f", {count} glaciers")
    from matplotlib.figure import Figure

    figure = next(iter(figures_of(Results(name="x", regional=regional, synthetic=True))))
    axes = Figure().add_subplot()
    figure.draw(axes)
    assert axes.get_title() == f"{title}, synthetic"


# ---- choices ----


def test_only_what_was_judged_has_charts_and_tables_of_choices(judged):
    kept = judged.choices
    pairs = list(dict.fromkeys(zip(kept["model"], kept["scheme"], strict=True)))
    assert pairs == [("net", "logo"), ("net", "loyo"), ("year_level", "loyo")]
    section = made_of(judged)["chosen"]
    assert set(section.charts) == {"chosen-net"}
    assert [t.caption for t in section.tables] == ["net, logo"]
    assert "year_level" not in {r[0] for r in size_table(kept[kept["scheme"] == "logo"]).rows}
    assert {f.name for f in figures_of(judged) if f.name.startswith("chosen")} == {"chosen-net"}
    assert Results(name="x").choices is None


def test_all_taken_of_those_that_settings_name_and_of_all_that_there_are(judged, toys):
    same = judged.evaluation["choices"].assign(feature_names="rain; heat")
    one = dataclasses.replace(judged, evaluation={**judged.evaluation, "choices": same})
    for names, words in (
        (["rain", "heat", "wind"], "net took all 2 predictors that `models.net.predictors` names, of 3 made, in"),
        (["rain", "heat"], "net took all 2 predictors that there are, in every fold."),
    ):
        samples = toys.table(np.zeros((4, len(names))), [0.1] * 4, ["a", "b"] * 2, [2001, 2001, 2002, 2002], names)
        (point,) = made_of(dataclasses.replace(one, samples=samples))["chosen"].points
        assert point.startswith(words)


def test_recipes_are_told_by_their_content(judged):
    assert recipe_in_words(RECIPES[1]) == "keep 9"
    assert recipe_in_words(Recipe().model_dump(mode="json")) == "all predictors"
    assert in_words({"recipe": 1, "further": [], "widths": [4, 2]}, RECIPES) == (
        "recipe 1 (keep 9), forms none, widths 4 2"
    )
    assert in_words({"recipe": 7}, RECIPES) == "recipe 7"
    made = choices_table(judged.choices, "logo", "net", RECIPES)
    assert made.rows[0][2] == "recipe 1 (keep 9), level year"
    assert "recipe: 0 (take table), 1 (keep 9)" in search_table(judged.evaluation["search"]).rows[0][2]


def test_words_of_choices_are_explained_under_the_key_that_sets_them():
    search = {
        "temperature_index": {"candidates": [{"further": ["snow_to_ice"], "pooling": "all"}], "recipes": []},
        "ridge": {"candidates": [{"penalty": 1.0, "level": "year", "recipe": 0}], "recipes": RECIPES[:1]},
        "mean": None,
    }
    found = {(word, key): meaning for word, key, meaning in explained(search)}
    assert found["forms", "forms"].startswith("Which further parameters")
    assert ("penalty", "penalties") in found
    assert ("level", "levels") in found
    assert found["take", "recipes: take"]
    assert all(found.values())


def test_parameters_per_row_are_told_for_all_folds(judged):
    assert size_table(judged.choices).rows[0][-1] == "0.2 to 0.4, median 0.3"


# ---- intervals, distances, importance ----


def coverage(*methods):
    lines = [("logo", "net", m, "all", "all", 0.9, 0.9, 0.8, 1.0, 0.9, 2.0, 9, 90, "") for m in methods]
    names = ["scheme", "model", "method", "kind", "slice", "level", "coverage", "lower", "upper", "pooled", "width"]
    return pd.DataFrame(lines, columns=[*names, "glaciers", "n", "note"])


def test_the_reliability_shown_is_that_of_the_products_intervals(judged, toys):
    table = coverage("hierarchical", "calibrated")
    table.loc[1, "coverage"] = 0.7
    told = {**judged.evaluation, "coverage": table}
    one = dataclasses.replace(judged, product=toys.product(glaciers=3), intervals="calibrated", evaluation=told)
    section = made_of(one)["reliability"]
    assert "shows calibrated intervals, those of the product." in section.lead
    assert "Those called hierarchical hold at least what they promise" in section.lead
    sources = [r.data_source.data for r in section.charts["reliability-chart"].renderers]
    (found,) = {float(s["coverage"][0]) for s in sources if "coverage" in s}
    assert found == 0.7
    without = made_of(dataclasses.replace(one, product=None, intervals=""))["reliability"].lead
    assert "shows hierarchical intervals. " in without


def test_classes_of_distance_carry_their_counts():
    table = pd.DataFrame(
        {"scheme": "logo", "model": ["a", "a", "b", "b"], "from_km": [0, 10] * 2, "to_km": [10, np.inf] * 2,
         "n": [51, 7] * 2, "glaciers": [4, 1] * 2, "rmse": 0.5, "lower": BAD, "upper": BAD}
    )  # fmt: skip
    made = distance_chart(table, "logo")
    assert list(made.x_range.factors) == ["0 to 10\nn = 51\n4 glaciers", "over 10\nn = 7\n1 glacier"]


def test_groups_that_no_fold_used_are_left_out_and_counted():
    table = pd.DataFrame(
        {"scheme": "logo", "model": "net", "group": ["rain", "rain", "wind", "wind"], "fold": ["a", "b"] * 2,
         "increase": [0.2, -0.1, 0.0, 0.0]}
    )  # fmt: skip
    assert importance_means(table).index.tolist() == ["rain"]
    assert [t.get_text() for t in importance_bars(table).get_yticklabels()] == ["rain"]
    text = study_text(table, removed(), pd.DataFrame())
    assert "wind" not in text
    assert "1 groups that no fold used are left out" in text


def removed():
    """Ablations of which one changes nothing."""
    return pd.DataFrame(
        {"scheme": "logo", "model": "net", "ablation": ["as it is", "no snow", "no rain"], "rmse": [0.5, 0.6, BAD],
         "difference": [BAD, 0.1, BAD], "lower": [BAD, 0.0, BAD], "upper": [BAD, 0.2, BAD],
         "verdict": [None, "undecided", None], "n": [9, 9, 0]}
    )  # fmt: skip


def test_an_ablation_of_nothing_is_named_and_not_drawn(judged):
    importance = pd.DataFrame({"scheme": "logo", "model": "net", "group": ["a"], "fold": "f", "increase": [0.1]})
    one = dataclasses.replace(judged, study={"importance": importance, "ablations": removed()})
    section = made_of(one)["study"]
    assert list(section.charts["ablations-chart"].y_range.factors) == ["no snow"]
    assert section.points == ["net: not judged, since they change none of its predictors: no rain."]
    assert changes_nothing(removed().iloc[:2]) == []
    text = study_text(importance, removed(), pd.DataFrame())
    assert f"note: {section.points[0]}" in text
    assert "no rain" not in text.split("note:")[0]


def test_a_run_prints_the_band_that_the_page_has(toys):
    one = toys.regional().isel(region=slice(0, 1)).assign_coords(region_id=("region", ["13"]))
    years = one.sizes["year"]
    rate = region_table(one).rows[0][4].split(" ± ")
    printed = _line(one.isel(region=0))
    half = re.search(r"\+- ([0-9.]+) Gt per year \(90% band\)", printed)
    assert float(half[1]) == pytest.approx(float(rate[1]) / years, abs=0.001)
