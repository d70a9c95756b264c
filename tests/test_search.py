"""Choosing inside a fold: the least inner error wins, blocks choose together, nothing withheld is looked at."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from sklearn.linear_model import Ridge as Oracle

from glacmb_grid.errors import InputError
from glacmb_grid.folds.protocols import leaky
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.recipes import recipes_of, within
from glacmb_grid.learning.registry import fit, predict
from glacmb_grid.learning.search import inner_masks
from glacmb_grid.learning.table import table_of
from glacmb_grid.learning.tabular import Split
from glacmb_grid.settings import ExtraTrees, Protocol, Recipe, Ridge
from glacmb_grid.validation.audit import scrambled
from glacmb_grid.vocabulary import Meaning

PENALTIES = [0.1, 3.0, 50.0]
FREE = Recipe(within_reach=False)  # scikit-learn is the oracle
RECIPES = [
    FREE,
    FREE.model_copy(update={"predictors": ["useless_*"]}),
    FREE.model_copy(update={"correlation": 0.2, "keep": 2, "ranking": "correlation"}),
]


@pytest.fixture(scope="module")
def samples(toys):
    return toys.known(glaciers=10, years=8, noise=0.3, useless=3)


@pytest.fixture(scope="module")
def folds(samples):
    return make_folds(samples, "logo", inner=3, parts=6, blocks=3)


@pytest.fixture(scope="module")
def fitted(samples, folds):
    return fit("ridge", samples, folds, Ridge(recipes=RECIPES, penalties=PENALTIES, levels=["none"]))


def scaled_to(values, mask):
    return (values - values[mask].mean(axis=0)) / values[mask].std(axis=0)


def told(candidate):
    return json.loads(str(candidate))


def test_the_chosen_candidate_has_the_least_inner_error(samples, folds, fitted):
    """All of it again, with scikit-learn and plain loops."""
    values, target = samples["predictors"].values, samples["mass_balance"].values
    columns = {0: [0, 1, 2, 3, 4], 1: [2, 3, 4]}
    for fold in range(len(folds)):
        for number, candidate in enumerate(map(told, fitted["candidate"].values)):
            if candidate["recipe"] == 2:
                continue
            squares = []
            for inner_fit, inner_score in inner_masks(folds, fold):
                x = scaled_to(values[:, columns[candidate["recipe"]]], inner_fit)
                oracle = Oracle(alpha=candidate["penalty"]).fit(x[inner_fit], target[inner_fit])
                squares.append((oracle.predict(x[inner_score]) - target[inner_score]) ** 2)
            expected = np.sqrt(np.concatenate(squares).mean())
            assert float(fitted["inner_error"][fold, number]) == pytest.approx(expected, rel=1e-8)
    np.testing.assert_array_equal(fitted["choice"], fitted["inner_error"].values.argmin(axis=1))
    assert all(told(fitted["candidate"].values[c])["recipe"] != 1 for c in fitted["choice"].values)


def test_inner_predictions_are_those_of_the_choice(samples, folds, fitted):
    error = (fitted["inner_prediction"].values - samples["mass_balance"].values) ** 2
    least = fitted["inner_error"].values.min(axis=1)
    np.testing.assert_allclose(np.sqrt(np.nanmean(error, axis=1)), least, rtol=1e-10)
    inner = folds.inner_score.any(axis=1)
    np.testing.assert_array_equal(np.isfinite(fitted["inner_prediction"].values), inner)
    assert not (inner & ~folds.fit).any()


def test_folds_of_a_block_choose_together(folds, fitted):
    assert len(folds.blocks) == 3
    for block in folds.blocks:
        same = fitted.isel(fold=block)
        assert same.sizes["fold"] == 2
        for name in ("choice", "inner_error", "inner_prediction"):
            np.testing.assert_array_equal(same[name][0], same[name][1])
    assert not np.array_equal(
        fitted["inner_error"][0], fitted["inner_error"][np.flatnonzero(folds.block != folds.block[0])[0]]
    )


def test_a_block_chooses_on_what_all_its_folds_may_see(samples, folds):
    for fold in range(len(folds)):
        shared = folds.fit[folds.block == folds.block[fold]].all(axis=0)
        for inner_fit, inner_score in inner_masks(folds, fold):
            assert not ((inner_fit | inner_score) & ~shared).any()
            assert not (inner_fit & inner_score).any()


def test_what_was_chosen_is_recorded(samples, fitted):
    assert [r["keep"] for r in json.loads(fitted.attrs["recipes"])] == [None, None, 2]
    assert len(fitted["candidate"]) == len(RECIPES) * len(PENALTIES)
    assert set(fitted["feature"].values.astype(str)) <= {"level", "weather", "useless_a", "useless_b", "useless_c"}
    for fold, choice in enumerate(fitted["choice"].values):
        count = {0: 5, 1: 3, 2: 2}[told(fitted["candidate"].values[choice])["recipe"]]
        assert fitted["selected"].values[fold].sum() == count
    mask = fitted["fitted"].values[0]
    named = dict(zip(samples["predictor"].values, samples["predictors"].values[mask].T, strict=True))
    for feature in np.flatnonzero(fitted["selected"].values[0]):
        name = fitted["feature"].values[feature]
        assert float(fitted["centre"][0, feature]) == pytest.approx(named[name].mean())
        assert 1 / float(fitted["inverse_scale"][0, feature]) == pytest.approx(named[name].std())


def test_an_inner_split_that_is_there_twice_counts_once(samples, folds):
    order = [0, 1, 2, 1, 1]
    twice = replace(folds, inner_fit=folds.inner_fit[:, order], inner_score=folds.inner_score[:, order])
    settings = Ridge(recipes=[Recipe()], penalties=PENALTIES, levels=["none"])
    a, b = (fit("ridge", samples, f, settings) for f in (folds, twice))
    np.testing.assert_array_equal(a["inner_error"], b["inner_error"])


@pytest.mark.parametrize("leak", ["selection", "tuning"])
def test_a_leak_changes_the_result(leak, samples, folds):
    settings = Ridge(recipes=[RECIPES[2]], penalties=PENALTIES, levels=["none"])
    nested, leaked = (fit("ridge", samples, f, settings) for f in (folds, leaky(folds, Protocol(**{leak: True}))))
    assert not np.array_equal(nested["inner_error"], leaked["inner_error"])
    same_scale = np.array_equal(nested["centre"], leaked["centre"], equal_nan=True)
    assert same_scale == (leak == "tuning")
    allowed = folds.fit
    np.testing.assert_array_equal(nested["seen"].values & ~allowed, False)
    assert (leaked["seen"].values & folds.score).any()


def test_what_a_fold_looks_at_includes_its_search_and_its_leaks(folds):
    np.testing.assert_array_equal(folds.seen, folds.fit)
    everything = folds.fit | folds.score
    np.testing.assert_array_equal(leaky(folds, Protocol(tuning=True)).seen, everything)
    np.testing.assert_array_equal(leaky(folds, Protocol(early_stopping=True)).seen, everything)
    assert leaky(folds, Protocol(selection=True)).seen.all()


def test_the_climatology_of_an_inner_glacier_does_not_reach_into_withheld_years(toys):
    """Inner splits withhold whole glaciers: their means are of the rows that the outer fold may see, no other."""
    glacier = np.repeat(list("abcdef"), 3)
    values = np.arange(18.0)[:, None] ** 2
    table = table_of(toys.table(values, np.zeros(18), glacier, np.tile([1, 2, 3], 6)))
    withheld = np.tile([False, False, True], 6)
    inner_fit = ~withheld & (glacier != "b")
    inner_score = ~withheld & (glacier == "b")
    split = Split(table, inner_fit, inner_score, Recipe(parts=("climatology",)), 1, inner_fit)
    b = values[inner_score, 0].mean()
    expected = (b - split.features.centre[0]) * split.features.inverse_scale[0]
    np.testing.assert_allclose(split.design.values[split.rows.glacier == "b", 0], expected)
    np.testing.assert_array_equal(split.used, ~withheld)


# ---- recipes that suit a table ----


def table_with(toys, names, glaciers=10, gaps=False, monthly=False):
    """Columns of a user's table, those of one monthly series if `monthly`."""
    values = np.random.default_rng(0).normal(size=(4 * glaciers, len(names)))
    if gaps:
        values[3, 1] = np.nan
    glacier, year = (a.ravel() for a in np.indices((glaciers, 4)))
    meanings = [Meaning(n, "table", calendar_month=m if monthly else 0) for m, n in enumerate(names, 1)]
    return table_of(toys.table(values, np.zeros(4 * glaciers), glacier, year + 2000, names, meanings))


def test_recipes_suit_the_table(toys):
    few = [f"x{i}" for i in range(5)]
    months = [f"m{m}" for m in range(12)]
    plain = recipes_of(table_with(toys, few), Ridge())
    assert all(r.keep is None and r.gaps == "mean" for r in plain)
    assert any("anomaly" in r.parts for r in plain)
    assert any(r.take == "seasonal" for r in recipes_of(table_with(toys, months, monthly=True), Ridge()))
    assert not any("anomaly" in r.parts for r in recipes_of(table_with(toys, few, glaciers=3), Ridge()))
    many = recipes_of(table_with(toys, [f"x{i}" for i in range(100)]), Ridge())
    assert {r.keep for r in many} >= {None, 27, 9}
    gaps = recipes_of(table_with(toys, few, gaps=True), Ridge())
    assert {r.gaps for r in gaps} == {"mean", "climatology", "regress", "indicator", "drop"}
    own = [Recipe(keep=3)]
    assert recipes_of(table_with(toys, few), Ridge(recipes=own)) == own


def test_recipes_are_counted_by_what_the_model_may_take(toys):
    table = table_with(toys, [*(f"x{i}" for i in range(100)), "y"], gaps=True)
    assert all(r.keep is None and r.gaps == "mean" for r in recipes_of(table, Ridge(predictors=["y", "x5"])))


def test_a_model_takes_no_predictor_that_it_may_not(toys):
    table = table_with(toys, ["a", "b", "c"])
    allowed = within(table, Ridge(predictors=["a", "c"]), [Recipe(), Recipe(exclude=["c"])])
    assert [r.exclude for r in allowed] == [["b"], ["c", "b"]]
    with pytest.raises(InputError, match="nothing_like_it"):
        within(table, Ridge(predictors=["nothing_like_it"]), [Recipe()])


# ---- neighbours ----


def test_neighbours_of_the_same_year_help_where_years_are_not_withheld(toys):
    """A signal of the year that no predictor tells: known in `logo` from other glaciers, unknown in `loyo`."""
    samples = toys.known(glaciers=10, years=10, noise=0.02)
    yearly = np.random.default_rng(5).normal(0, 1, 10)[samples["year"].values - 2000]
    samples = samples.assign(mass_balance=samples["mass_balance"] + yearly)
    settings = Ridge(recipes=[Recipe()], penalties=[1.0])
    gain = {}
    for scheme in ("logo", "loyo"):
        folds = make_folds(samples, scheme, inner=3, parts=5)
        base = fit("ridge", samples, folds, settings)
        below = {"extra_trees": base}
        added = fit("extra_trees_neighbours", samples, folds, built_on=below)
        alone, both = predict(base, samples), predict(added, samples, below)
        score, target = folds.score, samples["mass_balance"].values
        error = [np.sqrt(np.mean((p.values[:, 0] - target)[score] ** 2)) for p in (alone, both)]
        gain[scheme] = error[1] / error[0]
    assert gain["logo"] < 0.6
    assert gain["loyo"] > 0.95


def test_replacing_what_a_fold_withholds_changes_nothing_that_neighbours_tell(toys):
    samples = toys.known(glaciers=8, years=7)
    place = np.random.default_rng(0).uniform(70, 80, (8, 2))[np.repeat(np.arange(8), 7)]
    samples = samples.assign_coords(row_longitude=("row", place[:, 0]), row_latitude=("row", place[:, 1] - 40))
    folds = make_folds(samples, "logo", inner=2, parts=4, blocks=2)
    settings = ExtraTrees(recipes=[Recipe()], trees=5, leaf=[2])
    number = 1
    withheld = ~folds.fit[number]
    other = scrambled(samples, withheld, np.random.default_rng(1))
    found = []
    for one in (samples, other):
        base = fit("extra_trees", one, folds, settings)
        below = {"extra_trees": base}
        added = fit("extra_trees_neighbours", one, folds, built_on=below)
        kept = samples.isel(row=np.flatnonzero(~withheld)).drop_dims(["sample", "entry"])
        told_here = predict(added, kept, below).values[number]
        found.append([added[n].values[number] for n in ("residual", "used", "inner_prediction")] + [told_here])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    assert isinstance(added, xr.Dataset)
