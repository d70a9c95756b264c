"""All that is said of every glacier-year: by parts, without a glacier's own residuals, in blocks."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import glacmb_grid as gg
from glacmb_grid.errors import InputError
from glacmb_grid.uncertainty.applicability import dissimilarity, predictor_space
from glacmb_grid.uncertainty.conformal import conformal_half_widths
from glacmb_grid.uncertainty.error_curve import fit_error_curve
from glacmb_grid.uncertainty.every_year import glacier_year_uncertainty, with_dissimilarity

NAMES = ("dissimilarity", "training_density", "applicable", "expected_error", "half_width_50", "half_width_90")


@pytest.fixture(scope="module")
def case(toys):
    """Twelve of twenty glaciers observed in six of ten years; predictions by `logo` and `both_out`."""
    predictors = toys.predictors(glaciers=20, years=(2001, 2010))
    whole = toys.samples(predictors, keep=0.7, noise=0.3)
    inside = np.isin(whole["glacier"], [f"G{i:02d}" for i in range(12)]) & (whole["year"] < 2007)
    samples = picked(whole, inside)
    folds = gg.make_folds(samples, "logo")
    tables = []
    for scheme in ("logo", "both_out"):
        outer = gg.make_folds(samples, scheme)
        tables.append(
            gg.out_of_fold(samples, outer, gg.predict(gg.fit("ridge", samples, outer), samples), model="ridge")
        )
    return samples, folds, pd.concat(tables, ignore_index=True), predictors


def picked(samples, inside):
    """Some annual samples with their rows."""
    from glacmb_grid.samples import with_operator
    from glacmb_grid.weights import identity

    rows = np.flatnonzero(np.asarray(inside))
    some = samples.drop_dims("entry").isel(sample=rows, row=rows)
    return with_operator(some, identity(some["sample"].values))


def test_every_part_is_what_its_own_function_gives(case):
    samples, folds, predictions, predictors = case
    found = glacier_year_uncertainty(samples, folds, predictions, predictors)
    assert tuple(found.data_vars) == NAMES
    space = predictor_space(samples, folds)
    table = with_dissimilarity(predictions, samples, folds, space)
    g, other = 15, found.isel(glacier=15)
    far, density = dissimilarity(space, predictors["predictors"].values[g])
    np.testing.assert_allclose(other["dissimilarity"], far, rtol=1e-6)
    np.testing.assert_array_equal(other["training_density"], density)
    np.testing.assert_array_equal(other["applicable"], far <= space.threshold)
    assert found["dissimilarity"].attrs["threshold"] == space.threshold
    for scheme, years in (("logo", slice(0, 6)), ("both_out", slice(6, 10))):
        part = table[table["scheme"] == scheme]
        curve = fit_error_curve(part["observed"] - part["predicted"], part["dissimilarity"], part["glacier"])
        np.testing.assert_allclose(other["expected_error"].values[years], curve.at(far[years]), rtol=1e-5)
    half = conformal_half_widths(predictions, predictors["glacier"], predictors["year"])
    np.testing.assert_allclose(found["half_width_90"], half.sel(level=0.9), rtol=1e-6)
    np.testing.assert_allclose(found["half_width_50"], half.sel(level=0.5), rtol=1e-6)


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize("glacier", ["G00", "G07", "G11"])
def test_neither_residuals_nor_predictors_of_a_glacier_make_it_look_known(case, glacier, follow):
    samples, folds, predictions, predictors = case
    one = glacier_year_uncertainty(samples, folds, predictions, predictors, follow_error=follow).sel(glacier=glacier)
    other = predictions.copy()
    other.loc[other["glacier"] == glacier, "observed"] += 50.0
    changed = glacier_year_uncertainty(samples, folds, other, predictors, follow_error=follow)
    xr.testing.assert_identical(one.load(), changed.sel(glacier=glacier).load())
    assert (changed["expected_error"].sel(glacier="G15") > 1.5 * changed["expected_error"].sel(glacier=glacier)).any()
    observed = samples["year"].values[samples["glacier"].values == glacier]
    assert (one["dissimilarity"].sel(year=observed) > 1e-3).all()  # not the distance to itself


def test_blocks_change_no_number_and_nothing_is_computed_before_it_is_asked_for(case):
    samples, folds, predictions, predictors = case
    with dask.config.set(scheduler="synchronous"):
        pair = [glacier_year_uncertainty(samples, folds, predictions, p, block=b) for p, b in (
            (predictors, 1000), (predictors, 3), (predictors.chunk({"glacier": 4, "year": 2}), 7)
        )]  # fmt: skip
        assert all(dask.is_dask_collection(v.data) for v in pair[0].data_vars.values())
        assert pair[1]["dissimilarity"].chunks == ((3,) * 6 + (2,), (10,))
        for other in pair[1:]:
            xr.testing.assert_allclose(pair[0].load(), other.load(), rtol=1e-6)


def test_predictors_are_taken_by_name(case):
    samples, folds, predictions, predictors = case
    turned = predictors.isel(predictor=slice(None, None, -1))
    pair = [glacier_year_uncertainty(samples, folds, predictions, p) for p in (predictors, turned)]
    xr.testing.assert_identical(pair[0].load(), pair[1].load())
    with pytest.raises(InputError, match="all predictors of the samples"):
        glacier_year_uncertainty(samples, folds, predictions, predictors.isel(predictor=slice(1, None)))


def test_glacier_years_without_predictors_have_no_numbers(case):
    samples, folds, predictions, predictors = case
    values = predictors["predictors"].values.copy()
    values[15, 3] = np.nan
    found = glacier_year_uncertainty(
        samples, folds, predictions, predictors.assign(predictors=(predictors["predictors"].dims, values))
    )
    here = found.isel(glacier=15, year=3)
    assert all(np.isnan(here[n]) for n in NAMES if n not in ("applicable", "training_density"))
    assert (here["applicable"], here["training_density"]) == (0, 0)
    assert np.isfinite(found["dissimilarity"].isel(glacier=16)).all()


def test_albedo_that_fits_fill_is_no_gap(case):
    samples, folds, predictions, predictors = case
    origin = np.where(np.arange(predictors.sizes["predictor"]) == 0, "albedo", predictors["origin"].values.astype(str))
    as_albedo = {"origin": ("predictor", origin.astype(object))}
    values = predictors["predictors"].values.copy()
    values[:, :4, 0] = np.nan
    before = predictors.assign(predictors=(predictors["predictors"].dims, values)).assign_coords(as_albedo)
    found = glacier_year_uncertainty(samples.assign_coords(as_albedo), folds, predictions, before)
    assert np.isfinite(found["dissimilarity"]).all()


def test_far_from_what_was_learnt_is_outside(case):
    samples, folds, predictions, predictors = case
    values = predictors["predictors"].values.copy()
    values[19] += 30 * values.std(axis=(0, 1))
    away = predictors.assign(predictors=(predictors["predictors"].dims, values))
    found = glacier_year_uncertainty(samples, folds, predictions, away).load()
    assert not found["applicable"].isel(glacier=19).any()
    assert not found["training_density"].isel(glacier=19).any()
    assert found["applicable"].isel(glacier=slice(0, 19)).mean() > 0.5
    unmeasured = found["expected_error"].isel(glacier=slice(12, 20))
    assert (unmeasured[-1] >= unmeasured.max("glacier")).all()


def test_too_few_glaciers_are_told(case):
    samples, folds, predictions, predictors = case
    few = predictions[predictions["glacier"] < "G05"]
    found = glacier_year_uncertainty(samples, folds, few, predictors).load()
    assert found["half_width_90"].isnull().all()
    assert found["half_width_90"].attrs["comment"].startswith("not available: a 90 % interval needs")
    assert "comment" not in found["half_width_50"].attrs
    assert found["half_width_50"].notnull().all()


def test_without_both_out_its_place_is_taken_by_logo(case):
    samples, folds, predictions, predictors = case
    found = glacier_year_uncertainty(samples, folds, predictions[predictions["scheme"] == "logo"], predictors)
    assert found["half_width_50"].isel(glacier=15).load().to_series().nunique() == 1


def test_intervals_that_follow_the_error_are_multiples_of_it(case):
    samples, folds, predictions, predictors = case
    found = glacier_year_uncertainty(samples, folds, predictions, predictors, follow_error=True).load()
    unmeasured = found.isel(glacier=slice(12, 20))
    for years in (slice(0, 6), slice(6, 10)):
        part = unmeasured.isel(year=years)
        ratio = (part["half_width_50"] / part["expected_error"]).values
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-5)
        assert 0.2 < ratio[0, 0] < 2
