"""The error curve: by hand, against scikit-learn's isotonic regression, and what no row may change."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from glacmb_grid.errors import InputError
from glacmb_grid.uncertainty.error_curve import ErrorCurve, fit_error_curve


def test_two_steps_by_hand():
    glacier = ["A", "B", "C", "D"]
    curve = fit_error_curve([1.0, -1.0, 3.0, 3.0], [0.1, 0.3, 0.5, 0.7], glacier, least_glaciers=2)
    np.testing.assert_allclose(curve.dissimilarity, [0.2, 0.6])
    np.testing.assert_allclose(curve.mean_square, [1, 9])
    np.testing.assert_allclose(curve.square_at([0.0, 0.2, 0.4, 0.6, 5.0]), [1, 1, 5, 9, 9])
    np.testing.assert_allclose(curve.at([0.0, 5.0]), [1, 3])
    assert np.isnan(curve.at(np.nan))


def test_an_error_that_falls_is_pooled():
    curve = fit_error_curve([3.0, 3, 1, 1], [0.1, 0.3, 0.5, 0.7], ["A", "B", "C", "D"], least_glaciers=2)
    np.testing.assert_allclose(curve.mean_square, [5])
    np.testing.assert_allclose(curve.dissimilarity, [0.4])
    assert np.isnan(curve.at([np.nan])).all()


def test_a_long_series_counts_as_one_glacier():
    glacier, residual = ["A"] * 8 + ["B"], [1.0] * 8 + [3.0]
    curve = fit_error_curve(residual, np.full(9, 0.5), glacier, least_glaciers=2)
    np.testing.assert_allclose(curve.mean_square, [(1 + 9) / 2])


def test_every_step_has_enough_glaciers():
    rng = np.random.default_rng(1)
    glacier = np.repeat(np.arange(23), rng.integers(1, 30, 23))
    far = rng.random(len(glacier))
    curve = fit_error_curve(far * rng.normal(size=len(far)), far, glacier, least_glaciers=5)
    assert (curve.weight >= 5 - 1e-9).all()
    assert len(curve.weight) > 1
    assert curve.weight.sum() == pytest.approx(23)
    few = fit_error_curve([1.0, 3.0], [0.1, 0.9], ["A", "B"], least_glaciers=5)
    np.testing.assert_allclose(few.mean_square, [5])


@given(st.integers(0, 9999), st.integers(2, 40))
def test_isotonic_regression(seed, count):
    rng = np.random.default_rng(seed)
    far, residual = rng.permutation(count) / count, rng.normal(size=count) * 2
    curve = fit_error_curve(residual, far, np.arange(count), least_glaciers=1)
    theirs = IsotonicRegression().fit(far, residual**2).predict(np.sort(far))
    levels = np.unique(theirs)
    assert len(levels) == len(curve.mean_square)
    np.testing.assert_allclose(curve.mean_square, levels)
    assert (np.diff(curve.dissimilarity) > 0).all()


@given(st.integers(0, 9999))
def test_never_falls_and_keeps_the_mean_square(seed):
    rng = np.random.default_rng(seed)
    glacier = rng.integers(0, 12, 80)
    far = np.round(rng.random(80), 1)  # with ties
    residual = rng.normal(size=80)
    curve = fit_error_curve(residual, far, glacier)
    assert (np.diff(curve.at(np.linspace(-1, 3, 101))) >= 0).all()
    weight = 1 / np.bincount(glacier)[glacier]
    total = (weight * residual**2).sum() / weight.sum()
    assert (curve.weight * curve.mean_square).sum() / curve.weight.sum() == pytest.approx(total)


def test_rows_that_tie_are_never_split():
    far, residual = np.array([0.1, 0.1, 0.1, 0.9]), np.array([1.0, 2, 3, 4])
    pair = [
        fit_error_curve(residual[o], far[o], np.arange(4)[o], least_glaciers=1) for o in ([0, 1, 2, 3], [2, 1, 0, 3])
    ]
    np.testing.assert_allclose(pair[0].mean_square, pair[1].mean_square)
    np.testing.assert_allclose(pair[0].mean_square, [14 / 3, 16])


def test_rows_without_dissimilarity_are_left_out():
    curve = fit_error_curve([1.0, np.nan, 9.0], [0.5, 0.5, np.nan], ["A", "B", "C"])
    np.testing.assert_allclose(curve.mean_square, [1])
    with pytest.raises(ValueError, match="needs residuals"):
        fit_error_curve([np.nan], [0.5], ["A"])


def test_there_and_back():
    curve = fit_error_curve([1.0, -1.0, 3.0, 3.0], [0.1, 0.3, 0.5, 0.7], list("ABCD"), least_glaciers=2)
    back = ErrorCurve.from_dataset(curve.to_dataset())
    np.testing.assert_array_equal(back.at([0.3, 0.5]), curve.at([0.3, 0.5]))
    with pytest.raises(InputError, match="mean_square_error"):
        ErrorCurve.from_dataset(curve.to_dataset().drop_vars("mean_square_error"))
