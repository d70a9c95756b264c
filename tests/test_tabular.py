"""Models on a table of predictors: scikit-learn's answers, sums of years, the level of glaciers."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.level import kinds_of_level, levels_of
from glacmb_grid.learning.registry import fit, predict
from glacmb_grid.learning.table import table_of
from glacmb_grid.learning.trees import forest_arrays, grow, importances, predict_trees
from glacmb_grid.samples import operator_of
from glacmb_grid.settings import ExtraTrees, GradientBoosting, Lasso, RandomForest, Recipe, Ridge

PLAIN = {"recipes": [Recipe(within_reach=False)]}


@pytest.fixture(scope="module")
def samples(toys):
    return toys.known(glaciers=8, years=9, noise=0.2)


@pytest.fixture(scope="module")
def folds(samples):
    return make_folds(samples, "logo", inner=2, parts=2)


def standardised(samples, mask):
    values = samples["predictors"].values
    return (values - values[mask].mean(axis=0)) / values[mask].std(axis=0)


def compare_with(oracle, model, settings, samples, folds, rtol):
    predicted = predict(fit(model, samples, folds, settings, seed=3), samples).values[:, 0]
    for fold, mask in enumerate(folds.fit):
        values, target = standardised(samples, mask), samples["mass_balance"].values
        with threadpool_limits(1):
            expected = oracle(values[mask], target[mask]).fit(values[mask], target[mask]).predict(values)
        np.testing.assert_allclose(predicted[fold], expected, rtol=rtol, atol=rtol)


def test_ridge_equals_scikit_learn(samples, folds):
    from sklearn.linear_model import Ridge as Oracle

    compare_with(
        lambda x, y: Oracle(alpha=3.0), "ridge", Ridge(**PLAIN, penalties=[3.0], levels=["none"]), samples, folds, 1e-8
    )


def test_ridge_on_sums_of_years_is_penalised_least_squares(toys):
    sums = toys.sums(toys.known(glaciers=6, years=8, noise=0.2))
    predicted = predict(
        fit("ridge", sums, toys.whole(sums), Ridge(**PLAIN, penalties=[2.0], levels=["none"])), sums
    ).values[0, 0]
    values = standardised(sums, np.ones(sums.sizes["row"], bool))
    operator = operator_of(sums).matrix.toarray()
    count = values.shape[1]
    design = np.block([[operator @ values, operator.sum(axis=1)[:, None]], [np.sqrt(2.0) * np.eye(count, count + 1)]])
    aim = np.concatenate([sums["mass_balance"].values, np.zeros(count)])
    solution = np.linalg.lstsq(design, aim, rcond=None)[0]
    np.testing.assert_allclose(predicted, values @ solution[:-1] + solution[-1], rtol=1e-8, atol=1e-10)


def test_lasso_equals_scikit_learn(samples, folds):
    from sklearn.linear_model import Lasso as Oracle

    def oracle(values, target):
        largest = np.abs(values.T @ (target - target.mean())).max() / len(target)
        return Oracle(alpha=0.1 * largest, max_iter=2000, tol=1e-3)

    compare_with(oracle, "lasso", Lasso(**PLAIN, penalties=[0.1], levels=["none"]), samples, folds, 1e-6)


def test_lasso_with_the_largest_penalty_is_the_mean(samples, folds):
    predicted = predict(fit("lasso", samples, folds, Lasso(**PLAIN, penalties=[1.0], levels=["none"])), samples).values[
        0, 0
    ]
    np.testing.assert_allclose(predicted, samples["mass_balance"].values[folds.fit[0]].mean(), rtol=1e-9)


@pytest.mark.parametrize("model", ["random_forest", "extra_trees"])
def test_forests_equal_scikit_learns(model, samples, folds):
    from sklearn.ensemble import ExtraTreesRegressor, RandomForestRegressor

    kinds = {"random_forest": (RandomForestRegressor, RandomForest), "extra_trees": (ExtraTreesRegressor, ExtraTrees)}
    kind, section = kinds[model]
    options = {"min_samples_leaf": 2, "max_features": 0.5, "random_state": 3}
    settings = section(**PLAIN, trees=20, leaf=[2], share=[0.5])
    compare_with(lambda x, y: kind(20, **options), model, settings, samples, folds, 1e-12)


def test_gradient_boosting_equals_scikit_learn(samples, folds):
    from sklearn.ensemble import HistGradientBoostingRegressor as Oracle

    def oracle(values, target):
        least = max(2, min(20, len(target) // 20))
        options = {"max_leaf_nodes": 4, "learning_rate": 0.06, "min_samples_leaf": least, "early_stopping": False}
        return Oracle(max_iter=30, random_state=3, **options)

    settings = GradientBoosting(**PLAIN, rounds=[30], leaves=[4])
    rounded = samples.assign(predictors=samples["predictors"].astype(np.float32).astype(np.float64))
    compare_with(oracle, "gradient_boosting", settings, rounded, folds, 1e-9)


def test_a_forest_draws_as_many_rows_as_told_and_ranks_features_as_scikit_learn():
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    values, target = rng.normal(size=(60, 9)), rng.normal(size=60)
    options = {"min_samples_leaf": 2, "max_features": 0.33, "random_state": 5, "max_samples": 0.4}
    oracle = RandomForestRegressor(25, **options).fit(values, target)
    ours = grow(values, target, trees=25, leaf=2, share=0.33, seed=5, draws=24)
    np.testing.assert_allclose(predict_trees(forest_arrays(ours), values), oracle.predict(values), rtol=1e-12)
    np.testing.assert_allclose(importances(ours), oracle.feature_importances_, rtol=1e-12)
    stumps = grow(values, np.ones(60), trees=2, leaf=2, share=1.0, seed=5)
    assert importances(stumps).tolist() == [0.0] * 9


@pytest.mark.parametrize("model", ["lasso", "random_forest", "extra_trees"])
def test_fits_side_by_side_leave_the_warning_filters_alone(model, samples):
    """They belong to the whole process, and fits run in threads."""
    settings = {"lasso": Lasso(**PLAIN, penalties=[1e-6, 0.1])}
    settings |= {"random_forest": RandomForest(**PLAIN, trees=40), "extra_trees": ExtraTrees(**PLAIN, trees=40)}
    before = list(warnings.filters)
    fit(model, samples, make_folds(samples, "logo", inner=3), settings[model])
    assert list(warnings.filters) == before


# ---- the level of glaciers ----


def test_level_of_a_glacier_by_hand(toys):
    samples = toys.table(np.zeros((5, 1)), [1.0, 3.0, -2.0, 8.0, 50.0], list("aabcd"), [1, 2, 1, 1, 1])
    table, seen = table_of(samples), np.array([True, True, True, True, False])
    level = levels_of("glacier", table, seen).at(np.array(["a", "b", "c", "d", "x"]))
    mean = 2.5  # of what is seen; the level of each glacier is shrunk as if the mean had been observed once more
    expected = [(1 - mean + 3 - mean) / 3, (-2 - mean) / 2, (8 - mean) / 2, 0.0, 0.0]
    np.testing.assert_allclose(level, expected)
    assert levels_of("glacier", table, np.zeros(5, bool)).at(np.array(["a"])).tolist() == [0.0]


@pytest.mark.parametrize(("scheme", "known"), [("logo", False), ("both_out", False), ("loyo", True), ("random", True)])
def test_the_level_is_an_alternative_only_where_glaciers_are_not_withheld(scheme, known, samples):
    folds = make_folds(samples, scheme, inner=2, parts=3)
    assert kinds_of_level(folds, samples) == (["none", "glacier"] if known else ["none"])
    parameters = fit("extra_trees", samples, folds, ExtraTrees(**PLAIN, trees=2))
    levels = {json.loads(str(c))["level"] for c in parameters["candidate"].values}
    assert levels - {"year"} == ({"none", "glacier"} if known else {"none"})


def test_the_level_is_taken_where_predictors_do_not_tell_it(toys):
    samples = toys.known(glaciers=12, years=10)
    bare = samples.isel(predictor=np.flatnonzero(samples["predictor"].values != "level"))
    folds = make_folds(bare, "loyo", inner=3, parts=5)
    parameters = fit("extra_trees", bare, folds, ExtraTrees(**PLAIN, trees=20, leaf=[5], levels=["none", "glacier"]))
    chosen = [json.loads(str(c))["level"] for c in parameters["candidate"].values[parameters["choice"].values]]
    assert chosen == ["glacier"] * 5
    told = np.array([json.loads(str(c))["level"] == "glacier" for c in parameters["candidate"].values])
    error = parameters["inner_error"].values
    assert (error[:, told].min(axis=1) < 0.9 * error[:, ~told].min(axis=1)).all()
    new = predict(parameters, bare.isel(row=[0]).assign_coords(row_glacier=("row", ["never seen"]))).values
    assert np.isfinite(new).all()


def test_ridge_chooses_a_large_penalty_on_noise_and_a_small_one_on_signal(toys):
    samples = toys.known(glaciers=10, years=10, noise=0.01)
    noise = samples.assign(mass_balance=("sample", np.random.default_rng(0).normal(size=samples.sizes["sample"])))
    chosen = []
    for one in (samples, noise):
        parameters = fit("ridge", one, make_folds(one, "loyo", inner=3), Ridge(**PLAIN, levels=["none"]))
        told = [json.loads(str(c))["penalty"] for c in parameters["candidate"].values[parameters["choice"].values]]
        chosen.append(np.median(told))
    assert chosen[0] < chosen[1]
