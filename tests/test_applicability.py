"""Dissimilarity, its threshold and the density of training rows: by hand, against brute force, without own rows."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.spatial.distance import cdist

import glacmb_grid as gg
from glacmb_grid.errors import InputError
from glacmb_grid.uncertainty.applicability import dissimilarity, predictor_space
from glacmb_grid.uncertainty.importance import predictor_weights
from glacmb_grid.uncertainty.near import nearest_points


def line(toys, places=(0.0, 1.0, 3.0, 6.0), glacier="ABCD", **coords):
    """Glaciers with one row each, on a line."""
    values = np.array(places, float)[:, None]
    return toys.table(values, np.zeros(len(places)), list(glacier), 2000 + np.arange(len(places)), **coords)


def space_of(samples, weights=None, **kwargs):
    return predictor_space(samples, gg.make_folds(samples, "logo"), weights, **kwargs)


def test_on_a_line_by_hand(toys):
    space = space_of(line(toys))
    # pairs: 1, 3, 6, 2, 5, 3: mean 20 / 6; nearest other: 1, 1, 2, 3
    unit = 20 / 6
    np.testing.assert_allclose(space.of_training(), np.array([1, 1, 2, 3]) / unit)
    # quartiles 1 and 2.25, whisker at most 2.25 + 1.875: the largest, 3
    assert space.threshold == pytest.approx(3 / unit)
    found, density = dissimilarity(space, [[3.9], [8.9], [100.0], [np.nan]])
    np.testing.assert_allclose(found, np.array([0.9, 2.9, 94, np.nan]) / unit)
    assert density.tolist() == [3, 1, 0, 0]  # 3.9 is 3 or less from 1, 3 and 6


def test_an_outlier_among_training_rows_is_outside(toys):
    space = space_of(line(toys, [0, 1, 2, 3, 4, 5, 50], "ABCDEFG"))
    own = space.of_training()
    assert own[-1] > space.threshold
    assert space.threshold == pytest.approx(own[0])


@pytest.mark.parametrize("weights", [[1.0, 1.0], [2.0, 0.5], [0.0, 3.0]])
def test_against_brute_force(toys, weights):
    rng = np.random.default_rng(3)
    values = rng.normal(size=(60, 2)) * [1.0, 40.0] + [5.0, -300.0]
    samples = toys.table(values, np.zeros(60), np.repeat(np.arange(12), 5), np.tile(np.arange(2000, 2005), 12))
    space = space_of(samples, weights)
    standard = (values - values.mean(axis=0)) / values.std(axis=0) * weights
    between = cdist(standard, standard)
    unit = between[np.triu_indices(60, 1)].mean()
    glacier = samples["glacier"].values
    np.testing.assert_allclose(
        space.of_training(), np.where(glacier[:, None] != glacier, between, np.inf).min(axis=1) / unit, rtol=1e-9
    )
    year = samples["year"].values
    apart = (glacier[:, None] != glacier) & (year[:, None] != year)
    np.testing.assert_allclose(
        space.of_training(years_out=True), np.where(apart, between, np.inf).min(axis=1) / unit, rtol=1e-9
    )
    new = rng.normal(size=(500, 2)) * [2.0, 80.0] + [5.0, -300.0]
    far = cdist((new - values.mean(axis=0)) / values.std(axis=0) * weights, standard) / unit
    found, density = dissimilarity(space, new)
    np.testing.assert_allclose(found, far.min(axis=1), rtol=1e-4)
    sure = np.abs(far - space.threshold).min(axis=1) > 1e-5
    np.testing.assert_array_equal(density[sure], (far <= space.threshold).sum(axis=1)[sure])


@pytest.mark.parametrize("parts", [4, 60])
def test_rows_of_a_measured_glacier_are_no_training_rows_for_it(toys, parts):
    samples = line(toys, np.arange(12.0) ** 1.5, "ABCDEFGHIJKL", group=list("AACDEFGHIJKK"))
    folds = gg.make_folds(samples, "logo", parts=parts)
    space = predictor_space(samples, folds)
    for number, name in enumerate("ABCDEFGHIJKL"):
        withheld = folds.score[:, number]
        np.testing.assert_array_equal(space.training_of(name), folds.fit[withheld].any(axis=0))
        assert not space.training_of(name)[number]
        found, _ = dissimilarity(space, samples["predictors"].values[[number]], training=space.training_of(name))
        np.testing.assert_allclose(found, space.of_training()[number], rtol=1e-5)
    assert space.training_of("elsewhere").all()


def test_folds_that_leave_no_glacier_out_are_refused(toys):
    samples = line(toys, np.arange(8.0), "AABBCCDD")
    space = predictor_space(samples, gg.make_folds(samples, "loyo"))
    with pytest.raises(ValueError, match="no fold withholds A"):
        space.training_of("A")


def test_locked_rows_are_never_training_rows(toys):
    samples = line(toys, np.arange(8.0), "ABCDEFGH")
    folds = gg.make_folds(samples, "logo", locked=samples["glacier"].values == "H")
    space = predictor_space(samples, folds)
    assert "H" not in space.glacier
    found, _ = dissimilarity(space, [[7.0]])
    assert found > 0


def test_gaps_that_fits_fill_and_gaps_that_they_do_not(toys):
    values = np.column_stack([np.arange(6.0), np.arange(6.0) ** 2, np.full(6, 3.0)])
    values[2, 1] = np.nan
    samples = toys.table(values, np.zeros(6), list("ABCDEF"), np.arange(2000, 2006))
    space = space_of(samples)
    gaps = [[1.0, np.nan, 3.0], [np.nan, 1.0, 3.0], [1.0, 1.0, np.nan]]  # the last does not vary: it counts for nothing
    found, density = dissimilarity(space, gaps)
    assert np.isfinite(found).tolist() == [True, False, True]
    assert density[1] == 0
    mean = np.nanmean(values[:, 1])
    np.testing.assert_allclose(found[0], dissimilarity(space, [[1.0, mean, 3.0]])[0], rtol=1e-6)
    allowed = space_of(samples, may_lack=["x0"])
    assert np.isfinite(dissimilarity(allowed, gaps)[0]).all()


@pytest.mark.parametrize("wrong", [[1.0], [1.0, -1.0], [0.0, 0.0], [np.nan, 1.0]])
def test_wrong_weights_are_told(toys, wrong):
    samples = toys.table(np.random.default_rng(0).normal(size=(6, 2)), np.zeros(6), list("ABCDEF"), np.arange(6))
    with pytest.raises(InputError, match="weights"):
        space_of(samples, wrong)


def test_predictors_that_do_not_differ_are_told(toys):
    samples = toys.table(np.ones((6, 2)), np.zeros(6), list("ABCDEF"), np.arange(6))
    with pytest.raises(InputError, match="differ"):
        space_of(samples)


@pytest.mark.parametrize("points", [1, 3, 1000, 70_000])
def test_blocks_of_any_size_give_the_same(points):
    rng = np.random.default_rng(5)
    rows, training = rng.normal(size=(37, 4)), rng.normal(size=(points, 4))
    found = nearest_points(rows, training, 1.5)
    far = cdist(rows, training)
    np.testing.assert_allclose(found.distance, far.min(axis=1), rtol=1e-4)
    np.testing.assert_array_equal(found.within, (far <= 1.5).sum(axis=1))


def test_what_lies_at_the_very_radius_is_within_whatever_rows_are_beside():
    """A threshold is the distance of two rows: single precision alone would count these or not, by their block."""
    rng = np.random.default_rng(6)
    training = rng.normal(size=(40, 30)) + 3
    far = cdist(training, training)
    for radius in np.unique(far[far > 0])[:60]:
        wanted = (far <= radius * (1 + 1e-12)).sum(axis=1)
        for rows in (np.arange(40), np.arange(7), np.arange(13, 30)):
            found = nearest_points(training[rows], training, radius)
            np.testing.assert_array_equal(found.within, wanted[rows])
            assert not found.distance.any()


def test_the_nearest_of_points_that_single_precision_cannot_tell_apart():
    points = np.full((50, 3), 1000.0)
    points[:, 0] += 1 + 1e-3 * np.arange(50)[::-1]
    found = nearest_points(np.full((1, 3), 1000.0), points, 2.0)
    assert found.distance[0] == pytest.approx(1.0, rel=1e-12)
    assert found.within[0] == 50


def test_no_training_rows():
    found = nearest_points(np.zeros((2, 3)), np.zeros((0, 3)), 1.0)
    assert np.isnan(found.distance).all()
    assert found.within.tolist() == [0, 0]


def known_dependence(toys, seed=0):
    """The first predictor matters three times as much as the second, the third not at all."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(120, 3))
    target = 3 * values[:, 0] + values[:, 1] + rng.normal(0, 0.01, 120)
    return toys.table(values, target, np.repeat(np.arange(20), 6), np.tile(np.arange(2000, 2006), 20))


def test_weights_say_what_a_linear_model_used(toys):
    samples = known_dependence(toys)
    folds = gg.make_folds(samples, "logo")
    parameters = gg.fit("ridge", samples, folds, {"penalties": [1e-6]})
    weight = predictor_weights(parameters, samples, folds).values
    spread = samples["predictors"].values.std(axis=0)
    assert weight[0] / weight[1] == pytest.approx(3 * spread[0] / spread[1], rel=0.2)
    assert weight[2] < 0.02 * weight[0]


def test_weights_come_from_predictions_alone(toys):
    samples = known_dependence(toys)
    folds = gg.make_folds(samples, "logo")
    parameters = gg.fit("ridge", samples, folds, {"penalties": [1.0]})
    other = samples.assign(mass_balance=-samples["mass_balance"])
    pair = [predictor_weights(parameters, s, folds) for s in (samples, other)]
    xr.testing.assert_identical(*pair)


def test_a_model_without_predictors_weighs_all_alike(toys):
    samples = known_dependence(toys)
    folds = gg.make_folds(samples, "logo")
    weight = predictor_weights(gg.fit("mean", samples, folds), samples, folds)
    np.testing.assert_array_equal(weight, 1)
    assert "no prediction depends" in weight.attrs["comment"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("random_forest", {"trees": 20}),
        ("gaussian_process", {}),
        ("temperature_index", {}),
        ("ff_fcnn", {"widths": [(4,)], "members": 1, "epochs": 20, "configurations": 1}),
    ],
)
def test_weights_of_any_model(toys, model, settings):
    predictors = toys.predictors(glaciers=5, years=(2001, 2006))
    samples = toys.samples(predictors)
    folds = gg.make_folds(samples, "logo")
    parameters = gg.fit(model, samples, folds, settings)
    weight = predictor_weights(parameters, samples, folds, rows=20)
    assert weight.dims == ("predictor",)
    assert (weight >= 0).all()
    assert weight.max() > 0
    assert ("comment" in weight.attrs) == (model == "temperature_index")  # it learns from forcing, not from predictors


@pytest.mark.slow
def test_a_model_built_on_others_has_weights(toys):
    samples = known_dependence(toys)
    folds = gg.make_folds(samples, "logo")
    ridge = gg.fit("ridge", samples, folds)
    blend = gg.fit("blend", samples, folds, {"models": ["ridge"]}, built_on={"ridge": ridge})
    weight = predictor_weights(blend, samples, folds, {"ridge": ridge}).values
    assert weight[0] > 1.5 * weight[1] > 0
