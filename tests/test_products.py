"""The product: who takes which fold, means and variances by hand, CF attributes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import glacmb_grid
from glacmb_grid.errors import InputError
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.registry import fit, model_of, predict
from glacmb_grid.predictors import BY_GLACIER
from glacmb_grid.products.glacier import (
    assemble,
    decompose,
    error_of_balance,
    glacier_product,
    observation_error,
    with_realizations,
)
from glacmb_grid.products.metadata import describe
from glacmb_grid.settings import Recipe
from glacmb_grid.stores.formats import read_zarr
from glacmb_grid.uncertainty.correlation import ErrorCorrelation
from glacmb_grid.upscaling import predict as upscaling
from glacmb_grid.upscaling.predict import upscale, withheld
from glacmb_grid.validation.predictions import out_of_fold

pytestmark = pytest.mark.ends


@pytest.fixture(scope="module")
def predictors(toys):
    return toys.predictors(glaciers=7)


@pytest.fixture(scope="module")
def samples(toys, predictors):
    measured = predictors.isel(glacier=slice(0, 4))
    return toys.samples(measured, keep=0.6)


@pytest.fixture(scope="module")
def folds(samples):
    return make_folds(samples, "logo")


def test_measured_glaciers_take_only_the_fold_that_withheld_them(predictors, samples, folds):
    allowed = withheld(predictors["glacier"].values, samples, folds)
    np.testing.assert_array_equal(allowed[:4], np.eye(4, dtype=bool))
    assert allowed[4:].all()


def test_folds_that_leave_no_glacier_out_are_refused(predictors, samples):
    with pytest.raises(ValueError, match="no fold withholds"):
        withheld(predictors["glacier"].values, samples, make_folds(samples, "loyo"))


@pytest.mark.parametrize("block", [1, 3, 2000])
def test_mean_and_variance_over_allowed_folds_and_members(block, predictors, samples, folds, monkeypatch):
    monkeypatch.setattr(upscaling, "BLOCK", block)
    level = np.array([[1.0, 3.0], [10.0, 20.0], [5.0, 5.0], [7.0, 9.0]])  # (fold, member)

    def fake(rows):
        number = xr.DataArray(rows["row_year"].values - 2000.0, dims="row")
        return xr.DataArray(level, dims=("fold", "member")) * number

    found = upscale(fake, predictors, samples, folds)
    assert found["mean"].dims == found["variance"].dims == ("glacier", "year")
    for name in ("glacier", "year"):
        np.testing.assert_array_equal(found[name].values, predictors[name].values)
    assert (found["mean"].attrs["units"], found["variance"].attrs["units"]) == ("m", "m2")
    mean, variance = found["mean"].values, found["variance"].values
    year = predictors["year"].values - 2000.0
    for glacier in range(4):
        np.testing.assert_allclose(mean[glacier], level[glacier].mean() * year)
        np.testing.assert_allclose(variance[glacier], level[glacier].var() * year**2, atol=1e-12)
    for glacier in range(4, 7):
        np.testing.assert_allclose(mean[glacier], level.mean() * year)
        np.testing.assert_allclose(variance[glacier], level.var() * year**2)


@pytest.mark.parametrize(
    ("model", "settings"),
    [("ridge", {"recipes": [{"within_reach": False}]}), ("temperature_index", {"forms": [[]], "within_reach": False})],
)
def test_the_product_of_a_measured_glacier_year_is_its_out_of_fold_prediction(
    model, settings, predictors, samples, folds
):
    """By models that do not look at the mean climate of a glacier, which is that of other years in the two."""
    parameters = fit(model, samples, folds, settings)
    mean = upscale(lambda rows: predict(parameters, rows), predictors, samples, folds)["mean"].values
    table = out_of_fold(samples, folds, predict(parameters, samples), model=model)
    glacier = pd.Index(predictors["glacier"].values).get_indexer(table["glacier"])
    year = pd.Index(predictors["year"].values).get_indexer(table["year"])
    np.testing.assert_allclose(mean[glacier, year], table["predicted"], rtol=1e-6)


@pytest.mark.parametrize("model", ["ridge", "extra_trees", "gaussian_process", "temperature_index"])
def test_climatologies_of_a_withheld_glacier_are_those_of_the_rows_that_are_predicted(model, predictors, toys):
    """Where a glacier is observed in all years, its product is its out-of-fold prediction by any recipe."""
    samples = toys.samples(predictors.isel(glacier=slice(0, 5)), keep=1.0)
    folds = make_folds(samples, "logo", inner=2)
    given = {} if model == "temperature_index" else {"recipes": [Recipe(parts=("value", "climatology", "anomaly"))]}
    settings = model_of(model).settings_type(**given)
    settings = settings.model_copy(update={"trees": 5}) if model == "extra_trees" else settings
    parameters = fit(model, samples, folds, settings)
    mean = upscale(lambda rows: predict(parameters, rows), predictors, samples, folds)["mean"].values
    table = out_of_fold(samples, folds, predict(parameters, samples), model=model)
    glacier = pd.Index(predictors["glacier"].values).get_indexer(table["glacier"])
    year = pd.Index(predictors["year"].values).get_indexer(table["year"])
    np.testing.assert_allclose(mean[glacier, year], table["predicted"], rtol=1e-6, atol=1e-9)


def test_the_parts_of_the_uncertainty_by_hand():
    """0.5 expected, 0.3 of it the observations: 0.4 is left; members that differ by 0.2 leave the model sqrt(0.12)."""
    parts = decompose(np.array([0.5]), np.array([0.04]), 0.3)
    found = {n: float(v[0]) for n, v in parts.items()}
    assert found == pytest.approx({"total": 0.5, "observation": 0.3, "model": 0.12**0.5, "member": 0.2})


@given(expected=st.floats(0, 3), member=st.floats(0, 3), observation=st.floats(0, 1))
def test_members_are_not_counted_twice(expected, member, observation):
    parts = decompose(np.array([expected]), np.array([member**2]), observation)
    total, *others = (float(parts[n][0]) for n in ("total", "observation", "model", "member"))
    assert total**2 == pytest.approx(sum(v**2 for v in others), abs=1e-12)
    assert total >= expected - 1e-12
    if observation**2 + member**2 <= expected**2:
        assert total == pytest.approx(expected)
    else:
        assert others[1] == 0
    assert others[0] <= expected + 1e-12


def make_product(predictors, **about):
    ids = predictors["glacier"].values
    shape = len(ids), predictors.sizes["year"]
    glaciers = xr.Dataset(
        {"area": ("glacier", np.arange(1.0, shape[0] + 1), {"units": "km2"})},
        coords={
            "glacier": ("glacier", ids, {"cf_role": "timeseries_id"}),
            "longitude": ("glacier", np.arange(shape[0]) / 10),
            "latitude": ("glacier", np.zeros(shape[0])),
        },
    )
    dims, coords = ("glacier", "year"), {n: predictors[n].values for n in ("glacier", "year")}
    balances = {"mean": (dims, np.full(shape, -0.5)), "variance": (dims, np.full(shape, 0.04))}
    upscaled = xr.Dataset({**balances, "nets": ("glacier", np.full(shape[0], 6))}, coords=coords)
    values = {"expected_error": 0.5, "half_width_50": 0.3, "half_width_90": 0.8, "dissimilarity": 0.2}
    expected = xr.Dataset(
        {
            **{n: (dims, np.full(shape, v)) for n, v in values.items()},
            "training_density": (dims, np.full(shape, 3)),
            "applicable": (dims, np.ones(shape, np.int8)),
        },
        coords=coords,
    )
    made = assemble(
        upscaled,
        expected,
        predictors,
        glaciers,
        observation=0.3,
        measured=np.arange(shape[0]) < 4,
        observed=np.array([2003, 2005]),
    )
    return describe(made, kind="glacier", **({"title": "t"} | about))


def test_the_values_of_the_product(predictors):
    product = make_product(predictors)
    for name, value in {
        "mass_balance": -0.5,
        "mass_balance_uncertainty": 0.5,
        "mass_balance_uncertainty_observation": 0.3,
        "mass_balance_uncertainty_model": 0.12**0.5,
        "mass_balance_uncertainty_member": 0.2,
        "mass_balance_lower_50": -0.8,
        "mass_balance_upper_90": 0.3,
        "nets": 6,
        "albedo_kind": 0,
        "training_density": 3,
    }.items():
        np.testing.assert_allclose(product[name], value, rtol=1e-6, err_msg=name)
    assert product["mass_balance"].attrs["units"] == "m"
    assert "mass_balance_uncertainty" in product["mass_balance"].attrs["ancillary_variables"]
    assert product["glacier_id"].attrs["cf_role"] == "timeseries_id"
    first, last = product["time_bnds"].values[0]
    assert (str(first)[:10], str(last)[:10]) == ("2000-10-01", "2001-10-01")
    assert product["year"].values[0] == 2001
    assert product["time"].attrs["bounds"] == "time_bnds"
    assert list(product["measured"].values) == [1, 1, 1, 1, 0, 0, 0]
    assert list(product["observed_period"].values) == [0, 0, 1, 1, 1, *([2] * 7)]  # observed 2003 and 2005
    np.testing.assert_allclose(error_of_balance(product), 0.4, rtol=1e-6)  # without that of the observations


def test_what_the_product_reads_off_the_samples(predictors, samples):
    ids = predictors["glacier"].values
    whole = make_product(predictors)
    names = ("expected_error", "dissimilarity", "training_density", "applicable")
    coords = {"glacier": ids, "year": predictors["year"].values}
    expected = xr.Dataset({n: (("glacier", "year"), whole[n].values) for n in names}, coords=coords)
    expected = expected.assign(
        half_width_50=0.3 + 0 * expected.dissimilarity, half_width_90=0.8 + 0 * expected.dissimilarity
    )
    shape = whole["mass_balance"].shape
    upscaled = xr.Dataset(
        {"mean": (("glacier", "year"), np.zeros(shape)), "variance": (("glacier", "year"), np.zeros(shape)),
         "nets": ("glacier", np.ones(shape[0], int))}, coords=coords,
    )  # fmt: skip
    glaciers = whole[["area", "longitude", "latitude"]].assign_coords(glacier=ids)
    made = glacier_product(upscaled, expected, predictors, glaciers, samples)
    assert made["measured"].values.tolist() == [1, 1, 1, 1, 0, 0, 0]
    np.testing.assert_allclose(made["mass_balance_uncertainty_observation"], 0.2, rtol=1e-6)
    years = samples["year"].values
    inside = (made["year"].values >= years.min()) & (made["year"].values <= years.max())
    np.testing.assert_array_equal(made["observed_period"].values == 1, inside)


def test_the_error_of_observations_counts_every_glacier_once():
    sigma = xr.DataArray([0.1, 0.1, 0.1, 0.5], dims="sample", coords={"glacier": ("sample", list("aaab"))})
    found = observation_error(xr.Dataset({"mass_balance_uncertainty": sigma}))
    assert found == pytest.approx(((0.01 + 0.25) / 2) ** 0.5)
    assert observation_error(xr.Dataset(coords=sigma.coords)) == 0


def test_the_nearest_measured_glacier_of_a_measured_one_is_another(predictors):
    """Glaciers stand a tenth of a degree apart on the equator; the first four are measured."""
    tenth = np.pi * 6371.0 / 1800
    distance = make_product(predictors)["nearest_measured_km"].values / tenth
    np.testing.assert_allclose(distance, [1, 1, 1, 1, 1, 2, 3], rtol=2e-3)


def test_glacier_years_without_balance_are_missing_in_all_that_depends_on_it(predictors):
    ids, shape = predictors["glacier"].values, (predictors.sizes["glacier"], predictors.sizes["year"])
    whole = make_product(predictors)
    mean = np.full(shape, -0.5)
    mean[2, 3] = np.nan
    dims, coords = ("glacier", "year"), {n: predictors[n].values for n in ("glacier", "year")}
    upscaled = xr.Dataset(
        {"mean": (dims, mean), "variance": (dims, np.full(shape, 0.04)), "nets": ("glacier", np.ones(len(ids), int))},
        coords=coords,
    )
    names = ("expected_error", "dissimilarity", "training_density", "applicable")
    expected = xr.Dataset({n: (dims, whole[n].values) for n in names}, coords=coords)
    expected = expected.assign(
        half_width_50=0.3 + 0 * expected.dissimilarity, half_width_90=0.8 + 0 * expected.dissimilarity
    )
    glaciers = whole[["area", "longitude", "latitude"]].assign_coords(glacier=ids)
    made = assemble(
        upscaled, expected, predictors, glaciers, observation=0.3, measured=np.arange(7) < 4, observed=np.array([2003])
    )
    for name in made.data_vars:
        if name.startswith("mass_balance") or name in ("dissimilarity", "expected_error"):
            assert np.argwhere(np.isnan(made[name].values)).tolist() == [[2, 3]], name
    assert np.argwhere(made["applicable"].values == 0).tolist() == [[2, 3]]


def test_the_kind_of_albedo_is_told(predictors):
    albedo = predictors.isel(predictor=[0]).assign_coords(
        predictor=["summer_albedo_mean"], stem=("predictor", ["summer_albedo_mean"]), origin=("predictor", ["albedo"]),
        part=("predictor", ["value"]),
    )  # fmt: skip
    values = np.full((7, predictors.sizes["year"], 1), 0.5)
    values[1, 2] = np.nan
    albedo["predictors"] = (albedo["predictors"].dims, values)
    joined = predictors.drop_dims("predictor").assign(
        predictors=xr.concat([predictors["predictors"], albedo["predictors"]], "predictor")
    )
    kind = make_product(joined.assign_attrs(predictors.attrs))["albedo_kind"]
    assert kind.attrs["flag_meanings"].split()[int(kind.values[1, 2])] == "filled"
    assert (np.delete(kind.values.ravel(), np.ravel_multi_index((1, 2), kind.shape)) == 1).all()


def test_a_product_is_written_as_zarr_and_netcdf(predictors, tmp_path):
    product = make_product(predictors)
    glacmb_grid.write_product(product, str(tmp_path))
    assert {p.name for p in tmp_path.iterdir()} == {"glacier_annual.zarr", "glacier_annual.nc"}
    with xr.open_dataset(tmp_path / "glacier_annual.nc") as file:
        read = [read_zarr(tmp_path / "glacier_annual.zarr"), file.load()]
    for found in read:
        assert found.attrs["title"] == "t"
        for name in ("mass_balance", "mass_balance_uncertainty", "area", "measured", "time_bnds"):
            np.testing.assert_array_equal(found[name].values, product[name].values)


def test_years_by_glacier_give_bounds_by_glacier(predictors, tmp_path):
    firsts = np.where(np.arange(predictors.sizes["glacier"]) % 2, 4, 10)
    mixed = predictors.assign_coords(first_month=("glacier", firsts)).assign_attrs(first_month=BY_GLACIER)
    product = make_product(mixed)
    assert product["time_bnds"].dims == ("glacier", "year", "bnds")
    bounds = product["time_bnds"].values.astype("datetime64[D]").astype(str)
    assert bounds[0, 0].tolist() == ["2000-10-01", "2001-10-01"]
    assert bounds[1, 0].tolist() == ["2000-04-01", "2001-04-01"]
    assert str(product["time"].values[1, 0])[:10] == "2000-09-30"
    glacmb_grid.write_product(product, str(tmp_path))
    with xr.open_dataset(tmp_path / "glacier_annual.nc") as file:
        np.testing.assert_array_equal(file["time_bnds"].values, product["time_bnds"].values)


def test_draws_that_whole_millimetres_cannot_hold_are_refused(predictors):
    """As 16-bit numbers 33 m would come back as -32.536 m."""
    product = make_product(predictors)
    high = product.assign(mass_balance=product["mass_balance"] * 0 + 33.0)
    with pytest.raises(InputError, match=r"within 32.7 m w.e.[\s\S]*found:\s+3"):
        with_realizations(high, ErrorCorrelation((), 1.0), 2, 1)


def test_what_explains_flags_and_missing_intervals_is_kept(predictors, samples):
    whole, ids = make_product(predictors), predictors["glacier"].values
    coords = {"glacier": ids, "year": predictors["year"].values}
    names = ("expected_error", "training_density", "applicable")
    expected = xr.Dataset({n: (("glacier", "year"), whole[n].values) for n in names}, coords=coords)
    far = expected["expected_error"] * 0
    expected = expected.assign(
        dissimilarity=far.assign_attrs(threshold=0.85),
        half_width_50=far,
        half_width_90=(far * np.nan).assign_attrs(comment="not available: too few"),
    )
    shape = whole["mass_balance"].shape
    zeros = {n: (("glacier", "year"), np.zeros(shape)) for n in ("mean", "variance")}
    upscaled = xr.Dataset({**zeros, "nets": ("glacier", np.ones(shape[0], int))}, coords=coords)
    glaciers = whole[["area", "longitude", "latitude"]].assign_coords(glacier=ids)
    made = describe(glacier_product(upscaled, expected, predictors, glaciers, samples), kind="glacier")
    assert made.attrs["dissimilarity_threshold"] == 0.85
    assert made.attrs["interval_90"] == "not available: too few"
    assert "interval_50" not in made.attrs
