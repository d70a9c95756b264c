"""The product: who takes which fold, means and variances by hand, CF attributes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import glacmb_grid
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.registry import fit, model_of, predict
from glacmb_grid.predictors import BY_GLACIER
from glacmb_grid.settings import Recipe
from glacmb_grid.stores.formats import read_zarr
from glacmb_grid.upscaling import products
from glacmb_grid.upscaling.products import build_product, residual_variance, upscale, withheld
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
    monkeypatch.setattr(products, "BLOCK", block)
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


@pytest.mark.parametrize("model", ["ridge", "temperature_index"])
def test_the_product_of_a_measured_glacier_year_is_its_out_of_fold_prediction(model, predictors, samples, folds):
    parameters = fit(model, samples, folds)
    mean = upscale(lambda rows: predict(parameters, rows), predictors, samples, folds)["mean"].values
    table = out_of_fold(samples, folds, predict(parameters, samples), model=model)
    glacier = pd.Index(predictors["glacier"].values).get_indexer(table["glacier"])
    year = pd.Index(predictors["year"].values).get_indexer(table["year"])
    np.testing.assert_allclose(mean[glacier, year], table["predicted"], rtol=1e-6)


@pytest.mark.parametrize("model", ["ridge", "extra_trees", "gaussian_process"])
def test_climatologies_of_a_withheld_glacier_are_those_of_the_rows_that_are_predicted(model, predictors, toys):
    """Where a glacier is observed in all years, its product is its out-of-fold prediction by any recipe."""
    samples = toys.samples(predictors.isel(glacier=slice(0, 5)), keep=1.0)
    folds = make_folds(samples, "logo", inner=2)
    settings = model_of(model).settings_type(recipes=[Recipe(parts=("value", "climatology", "anomaly"))])
    settings = settings.model_copy(update={"trees": 5}) if model == "extra_trees" else settings
    parameters = fit(model, samples, folds, settings)
    mean = upscale(lambda rows: predict(parameters, rows), predictors, samples, folds)["mean"].values
    table = out_of_fold(samples, folds, predict(parameters, samples), model=model)
    glacier = pd.Index(predictors["glacier"].values).get_indexer(table["glacier"])
    year = pd.Index(predictors["year"].values).get_indexer(table["year"])
    np.testing.assert_allclose(mean[glacier, year], table["predicted"], rtol=1e-6, atol=1e-9)


def test_residual_variance_leaves_a_glaciers_own_residuals_out():
    lines = [("logo", "a", 1, 1.0), ("logo", "a", 2, 1.0), ("logo", "b", 1, 3.0)]
    lines += [("both_out", "a", 1, 2.0), ("both_out", "a", 2, 2.0), ("both_out", "b", 1, 4.0)]
    table = pd.DataFrame(lines, columns=["scheme", "glacier", "year", "predicted"]).assign(observed=0.0)
    found = residual_variance(table, np.array(["a", "b", "c"], dtype=object), np.array([1, 2, 3]))
    observed_years = np.array([[9.0], [1.0], [11 / 3]])  # c: (1 + 1 + 9) / 3
    np.testing.assert_allclose(found[:, :2], np.broadcast_to(observed_years, (3, 2)))
    np.testing.assert_allclose(found[:, 2], [16.0, 4.0, 8.0])  # year 3 has no observation: both_out


def make_product(predictors):
    shape = predictors.sizes["glacier"], predictors.sizes["year"]
    ids = predictors["glacier"].values
    glaciers = xr.Dataset(
        {"area": ("glacier", np.ones(shape[0]), {"units": "km2"})},
        coords={
            "glacier": ("glacier", ids, {"cf_role": "timeseries_id"}),
            "longitude": ("glacier", np.zeros(shape[0])),
            "latitude": ("glacier", np.zeros(shape[0])),
        },
    )
    dims = ("glacier", "year")
    balances = {"mean": (dims, np.full(shape, -0.5)), "variance": (dims, np.full(shape, 0.09))}
    upscaled = xr.Dataset(balances, coords={n: predictors[n].values for n in dims})
    measured = np.arange(shape[0]) < 4
    return build_product(
        upscaled, np.full(shape, 0.16), predictors, glaciers, measured, np.array([2003, 2005]), attrs={"title": "t"}
    )


def test_uncertainty_is_members_and_residuals_together_with_cf_attributes(predictors):
    product = make_product(predictors)
    np.testing.assert_allclose(product["mass_balance_uncertainty"], 0.5, rtol=1e-6)
    assert product["mass_balance"].attrs["units"] == "m"
    assert "mass_balance_uncertainty" in product["mass_balance"].attrs["ancillary_variables"]
    assert product["glacier_id"].attrs["cf_role"] == "timeseries_id"
    first, last = product["time_bnds"].values[0]
    assert (str(first)[:10], str(last)[:10]) == ("2000-10-01", "2001-10-01")
    assert product["year"].values[0] == 2001
    assert product["time"].attrs["bounds"] == "time_bnds"
    assert list(product["measured"].values) == [1, 1, 1, 1, 0, 0, 0]
    assert list(product["observed_period"].values) == [0, 0, 1, 1, 1, *([2] * 7)]  # observed 2003 and 2005


def test_a_product_is_written_as_zarr_and_netcdf(predictors, tmp_path):
    product = make_product(predictors)
    glacmb_grid.write_product(product, tmp_path)
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
    glacmb_grid.write_product(product, tmp_path)
    with xr.open_dataset(tmp_path / "glacier_annual.nc") as file:
        np.testing.assert_array_equal(file["time_bnds"].values, product["time_bnds"].values)
