"""The blend: weights by hand, what they are fitted on, and nothing withheld in them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.contract import Task
from glacmb_grid.learning.models.blend import Blended
from glacmb_grid.learning.registry import fit, predict
from glacmb_grid.settings import Blend, ExtraTrees, Recipe, Ridge
from glacmb_grid.validation.predictions import out_of_fold


@pytest.fixture(scope="module")
def samples(toys):
    return toys.known(glaciers=8, years=8, noise=0.2)


@pytest.fixture(scope="module")
def folds(samples):
    return make_folds(samples, "logo", inner=3, parts=4)


def parts_of(folds, samples, *errors):
    """Models that err so on the inner splits."""
    inner = folds.inner_score.any(axis=1)
    told = [np.where(inner, samples["mass_balance"].values + e, np.nan) for e in errors]
    return {f"m{i}": xr.Dataset({"inner_prediction": (("fold", "sample"), t)}) for i, t in enumerate(told)}


def fit_blend(parts, samples, folds):
    return Blended("blend", Blend(), tuple(parts)).fit(Task(samples, folds, built_on=parts))


def noise(samples, size, seed):
    return np.random.default_rng(seed).normal(0, size, samples.sizes["sample"])


def test_weights_are_not_negative_and_sum_to_one(samples, folds):
    for seed in range(5):
        errors = [noise(samples, 0.1 * (i + 1), 10 * seed + i) for i in range(4)]
        weight = fit_blend(parts_of(folds, samples, *errors), samples, folds)["weight"].values
        assert weight.shape == (4, 4)
        assert (weight >= 0).all()
        np.testing.assert_allclose(weight.sum(axis=1), 1.0, rtol=1e-12)


def test_the_better_model_is_picked(samples, folds):
    parts = parts_of(folds, samples, noise(samples, 0.05, 1), noise(samples, 1.0, 2))
    assert (fit_blend(parts, samples, folds)["weight"].values[:, 0] > 0.9).all()


def test_equally_good_models_with_errors_of_their_own_share(samples, folds):
    parts = parts_of(folds, samples, noise(samples, 0.5, 1), noise(samples, 0.5, 2))
    np.testing.assert_allclose(fit_blend(parts, samples, folds)["weight"].values, 0.5, atol=0.15)


@pytest.mark.parametrize("what", ["nothing predicted", "the same model twice", "without error"])
def test_without_information_all_weights_are_equal(what, samples, folds):
    errors = [np.full(samples.sizes["sample"], np.nan)] * 3
    if what == "the same model twice":
        errors = [noise(samples, 0.5, 1)] * 3
    if what == "without error":
        errors = [np.zeros(samples.sizes["sample"])] * 3
    weight = fit_blend(parts_of(folds, samples, *errors), samples, folds)["weight"].values
    np.testing.assert_allclose(weight, 1 / 3, atol=1e-6)


def test_weights_follow_from_what_a_fold_may_see_alone(samples, folds):
    """Targets that a fold withholds, and inner predictions that are not there, are not looked at."""
    errors = [noise(samples, 0.3, 1), noise(samples, 0.4, 2)]
    parts = parts_of(folds, samples, *errors)
    before = fit_blend(parts, samples, folds)["weight"].values
    for fold, mask in enumerate(folds.fit):
        target = np.where(mask, samples["mass_balance"].values, 99.0)
        after = fit_blend(parts, samples.assign(mass_balance=("sample", target)), folds)["weight"].values
        np.testing.assert_array_equal(before[fold], after[fold])


def test_the_blend_of_real_models_is_their_weighted_mean(samples, folds):
    settings = {"ridge": Ridge(recipes=[Recipe()]), "extra_trees": ExtraTrees(recipes=[Recipe()], trees=20)}
    parts = {m: fit(m, samples, folds, s) for m, s in settings.items()}
    weights = fit("blend", samples, folds, built_on=parts)
    tables = {m: out_of_fold(samples, folds, predict(p, samples), model=m) for m, p in parts.items()}
    by_sample: dict[str, pd.Series] = {m: t.set_index("sample")["predicted"] for m, t in tables.items()}
    predicted = predict(weights, samples, parts)
    assert predicted.dims == ("fold", "member", "row")
    fold = folds.score.argmax(axis=0)
    at = np.arange(samples.sizes["sample"])
    names = samples["sample"].values.astype(str)
    found = predicted.values[:, 0]
    own = weights["weight"].values[fold]
    expected = sum(own[:, i] * by_sample[m].reindex(names).to_numpy() for i, m in enumerate(settings))
    np.testing.assert_allclose(found[fold, at], expected, rtol=1e-9)
    inner = sum(
        w[:, None] * parts[m]["inner_prediction"].values for w, m in zip(weights["weight"].values.T, parts, strict=True)
    )
    np.testing.assert_allclose(weights["inner_prediction"], inner, rtol=1e-12)
    target = samples["mass_balance"].values
    error = {m: np.sqrt(np.mean((s.reindex(names) - target) ** 2)) for m, s in by_sample.items()}
    assert np.sqrt(np.mean((found[fold, at] - target) ** 2)) < 1.1 * min(error.values())
