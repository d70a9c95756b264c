"""Conformal intervals: answers by hand, an independent implementation, and who calibrates whom."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glacmb_grid.errors import InputError
from glacmb_grid.uncertainty.conformal import (
    Scores,
    calibrate,
    conformal_half_widths,
    conformal_quantile,
    least_glaciers,
)


def table(residual, glacier, year, scheme="logo", model="ridge"):
    return pd.DataFrame(
        {
            "scheme": scheme,
            "protocol": "nested",
            "model": model,
            "sample": [f"{g}:{y}" for g, y in zip(glacier, year, strict=True)],
            "glacier": np.asarray(glacier).astype(str),
            "year": year,
            "observed": np.asarray(residual, float),
            "predicted": 0.0,
        }
    )


def ten_glaciers(scheme="logo", factor=1.0):
    """Glacier g has one residual, g / 10, with changing sign, in the year 2000."""
    numbers = np.arange(1, 11)
    return table(factor * numbers / 10 * (-1.0) ** numbers, [f"G{n:02d}" for n in numbers], np.full(10, 2000), scheme)


@pytest.mark.parametrize(("level", "least"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (2 / 3, 2)])
def test_glaciers_that_an_interval_needs(level, least):
    assert least_glaciers(level) == least
    score = np.arange(1.0, least + 1)
    assert conformal_quantile(score, score, level) == least  # the largest score is just enough
    assert np.isnan(conformal_quantile(score[1:], score[1:], level))


def test_unequal_series_weigh_alike():
    # A has one row, B four: weights 1/3 and 4 x 1/12, infinity 1/3
    score, glacier = np.array([5.0, 1, 2, 3, 4]), np.array(["A", "B", "B", "B", "B"])
    assert conformal_quantile(score, glacier, 1 / 12) == 1
    assert conformal_quantile(score, glacier, 0.30) == 4
    assert conformal_quantile(score, glacier, 1 / 3) == 4
    assert conformal_quantile(score, glacier, 0.34) == 5
    assert conformal_quantile(score, glacier, 2 / 3) == 5
    assert np.isnan(conformal_quantile(score, glacier, 0.67))


@given(st.integers(1, 60), st.floats(0.05, 0.95), st.integers(0, 9999))
def test_one_row_a_glacier_is_split_conformal(count, level, seed):
    import crepes  # here, as it takes seconds

    residual = np.random.default_rng(seed).normal(size=count)
    ours = conformal_quantile(np.abs(residual), np.arange(count), level)
    theirs = crepes.ConformalRegressor()
    theirs.fit(residual)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has too few
        low, high = theirs.predict_int(np.zeros(1), confidence=level)[0]
    if abs(level * (count + 1) - round(level * (count + 1))) < 1e-6:
        return  # where rounding decides which of two neighbours it is
    assert np.isnan(ours) == np.isinf(high)
    if not np.isnan(ours):
        assert abs(ours - high) <= 1e-12
        assert abs(ours + low) <= 1e-12


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.floats(0.05, 0.95), st.integers(0, 9999))
def test_the_weight_below_is_just_enough(lengths, level, seed):
    rng = np.random.default_rng(seed)
    glacier = np.repeat(np.arange(len(lengths)), lengths)
    score = rng.integers(0, 5, len(glacier)) / 2.0  # with ties
    weight = 1 / ((len(lengths) + 1) * np.array(lengths)[glacier])
    found = conformal_quantile(score, glacier, level)
    if np.isnan(found):
        assert weight.sum() < level + 1e-9
    else:
        assert found in score
        assert weight[score <= found].sum() >= level - 1e-9
        assert weight[score < found].sum() < level + 1e-9


@given(st.lists(st.integers(1, 6), min_size=3, max_size=12), st.floats(0.05, 0.65), st.integers(0, 9999))
@settings(max_examples=20)
def test_the_calibrated_level_covers_withheld_glaciers_as_often_as_asked(lengths, level, seed):
    rng = np.random.default_rng(seed)
    glacier = np.repeat(np.arange(len(lengths)), lengths)
    score = rng.integers(0, 9, len(glacier)) / 2.0 if seed % 2 else rng.random(len(glacier))

    def quantile(rows, share):  # the smallest score with more than this share below or at it
        weight = 1 / np.array(lengths)[glacier[rows]] / len(np.unique(glacier[rows]))
        possible = np.unique(score[rows])
        at = np.array([weight[score[rows] <= s].sum() for s in possible])
        return possible[min((at <= share + 1e-9).sum(), len(possible) - 1)]

    def share_covered(share):
        inside = [(score[glacier == g] <= quantile(glacier != g, share)).mean() for g in range(len(lengths))]
        return np.mean(inside)

    below = [
        np.mean([(score[glacier == h] < score[i]).mean() for h in range(len(lengths)) if h != glacier[i]])
        for i in range(len(score))
    ]
    holds = next(b for b in np.unique(below) if share_covered(b) >= level - 1e-9)
    assert Scores.of(score, glacier).quantiles(np.array([level]), "calibrated")[0] == quantile(glacier >= 0, holds)


def test_a_measured_glacier_does_not_calibrate_itself():
    half = conformal_half_widths(ten_glaciers(), ["G10", "G01", "elsewhere"], [2000], levels=[0.5, 0.9])
    # of ten: 0.5 x 11 = 5.5, the sixth; 0.9 x 11 = 9.9, the tenth. Of nine: the fifth and the ninth of the others
    np.testing.assert_allclose(half.sel(glacier="elsewhere").values, [[0.6, 1.0]])
    np.testing.assert_allclose(half.sel(glacier="G10").values, [[0.5, 0.9]])
    np.testing.assert_allclose(half.sel(glacier="G01").values, [[0.6, 1.0]])
    assert half.dims == ("glacier", "year", "level")


@pytest.mark.parametrize("glacier", ["G01", "G07", "G10"])
def test_no_residual_of_a_glacier_touches_its_own_interval(glacier):
    one = pd.concat([ten_glaciers(), ten_glaciers("both_out", 2.0)])
    other = one.copy()
    other.loc[other["glacier"] == glacier, "observed"] = 1e3
    pair = [conformal_half_widths(t, [glacier, "elsewhere"], [2000, 2001]) for t in (one, other)]
    np.testing.assert_array_equal(pair[0].sel(glacier=glacier), pair[1].sel(glacier=glacier))
    assert (pair[0].sel(glacier="elsewhere", level=0.9) != pair[1].sel(glacier="elsewhere", level=0.9)).all()


def test_years_without_observations_take_both_out():
    predictions = pd.concat([ten_glaciers(), ten_glaciers("both_out", 2.0)])
    half = conformal_half_widths(predictions, ["elsewhere"], [1999, 2000, 2001], levels=[0.9])
    np.testing.assert_allclose(half.values[0, :, 0], [2.0, 1.0, 2.0])
    alone = conformal_half_widths(ten_glaciers(), ["elsewhere"], [1999, 2000], levels=[0.9])
    np.testing.assert_allclose(alone.values[0, :, 0], 1.0)


def test_too_few_glaciers_are_told_and_never_guessed():
    predictions = ten_glaciers()
    nine, eight = predictions[:9], predictions[:8]
    half = conformal_half_widths(nine, ["elsewhere", "G01"], [2000])
    assert half.sel(level=0.9).isnull().values.ravel().tolist() == [False, True]
    assert half.attrs["comment"] == (
        "not available for measured glaciers: a 90 % interval needs residuals of 9 glaciers besides its own, "
        "and there are 8"
    )
    half = conformal_half_widths(eight, ["elsewhere"], [2000])
    assert half.sel(level=0.9).isnull().all()
    assert half.sel(level=0.5).notnull().all()
    assert half.attrs["comment"] == "not available: a 90 % interval needs residuals of 9 glaciers, and there are 8"
    assert "comment" not in conformal_half_widths(predictions, ["elsewhere"], [2000]).attrs


def test_scores_over_an_expected_error_give_widths_that_follow_it():
    predictions = ten_glaciers()
    scale = np.abs(predictions["observed"].to_numpy())  # every score is 1
    found = calibrate(predictions, [0.9], scale=scale)
    half = found.half_widths(["elsewhere"], [2000, 2001], np.array([[0.3, 0.7]]))
    np.testing.assert_allclose(half.values[0, :, 0], [0.3, 0.7])
    with pytest.raises(ValueError, match="scale"):
        found.half_widths(["elsewhere"], [2000])


@pytest.mark.parametrize("wrong", [[], [0.0], [1.0], [90], [np.nan]])
def test_levels_are_probabilities(wrong):
    with pytest.raises(InputError, match="probabilities"):
        conformal_half_widths(ten_glaciers(), ["elsewhere"], [2000], levels=wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        pd.concat([ten_glaciers(), ten_glaciers().assign(model="other")]),
        ten_glaciers("loyo"),
        ten_glaciers()[:0],
    ],
)
def test_predictions_are_of_one_model_by_logo(wrong):
    with pytest.raises(InputError, match="of one model"):
        conformal_half_widths(wrong, ["elsewhere"], [2000])
