"""Regions, areas by year, and the regional product: numbers by hand, and what is refused."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.products.area_change import FIXED, AreaChange, area_of_years
from glacmb_grid.products.regional import regional_product
from glacmb_grid.products.regions import one_region, regions_of_polygons, rgi_regions
from glacmb_grid.products.series import compare_series
from glacmb_grid.uncertainty.correlation import INDEPENDENT, ErrorCorrelation, Structure

TOGETHER = ErrorCorrelation((Structure(1.0, np.inf, 1.0),), 0.0)  # one error for all glaciers and years
YEARS = np.array([2000, 2001, 2002])


def product_of(balance, sigma=0.3, area=None, **more):
    balance = np.asarray(balance, np.float64)
    n, t = balance.shape
    years = YEARS[:t]
    bounds = np.array([[f"{y - 1}-10-01", f"{y}-10-01"] for y in years], "datetime64[ns]")
    area = np.arange(1.0, n + 1) if area is None else np.asarray(area, np.float64)
    return xr.Dataset(
        {
            "mass_balance": (("glacier", "year"), balance, {"units": "m"}),
            "mass_balance_uncertainty": (("glacier", "year"), np.broadcast_to(sigma, balance.shape).copy()),
            "area": ("glacier", area, {"units": "km2"}),
            **more,
        },
        coords={
            "glacier_id": ("glacier", np.array([f"RGI60-13.{k:05d}" for k in range(1, n + 1)], object)),
            "year": ("year", years),
            "longitude": ("glacier", np.linspace(80, 82, n)),
            "latitude": ("glacier", np.linspace(35, 36, n)),
            "time": ("year", bounds[:, 0]),
            "time_bnds": (("year", "bnds"), bounds),
        },
    )


# --- regions ---------------------------------------------------------------------------------------------------------


def test_identifiers_of_all_versions_give_their_region():
    ids = ["RGI50-13.00001", "RGI60-14.12345", "RGI2000-v7.0-G-13-00001", "RGI2000-v7.0-C-02-00001", "my glacier", "5"]
    regions = rgi_regions(ids)
    assert regions.ids == ("02", "13", "14")
    assert regions.names == ("Western Canada and USA", "Central Asia", "South Asia West")
    assert [m.tolist() for m in regions.members] == [[3], [0, 2], [1]]
    assert regions.attrs["glaciers_in_no_region"] == "2"
    assert regions.of_glacier.tolist() == ["13", "14", "13", "02", "", ""]


@pytest.mark.parametrize("second", [["1", "2", "1"], [1, 2, 1], [1.0, 2.0, 1.0], ["13-01", "13-02", "13-01"]])
def test_second_order_regions_are_told_apart_however_they_are_written(second):
    regions = rgi_regions(["RGI60-13.00001", "RGI60-13.00002", "RGI60-13.00003"], second)
    assert regions.ids == ("13-01", "13-02")
    assert [m.tolist() for m in regions.members] == [[0, 2], [1]]


@pytest.mark.parametrize("gap", ["", np.nan, None])
def test_without_a_second_order_region_a_glacier_is_in_none(gap):
    regions = rgi_regions(["RGI60-13.00001", "RGI60-13.00002"], ["1", gap])
    assert regions.ids == ("13-01",)
    assert regions.attrs["glaciers_in_no_region"] == "1"


@pytest.mark.parametrize("ids", [["a", "b"], [], ["G2000-13.00001"], ["RGI60-13.1"]])
def test_without_an_identifier_of_rgi_polygons_are_asked_for(ids):
    with pytest.raises(InputError, match="regions_of_polygons"):
        rgi_regions(ids)


def boxes(*bounds, names=("a", "b", "c"), crs=4326):
    return gpd.GeoDataFrame({"basin": names[: len(bounds)]}, geometry=[shapely.box(*b) for b in bounds], crs=crs)


def test_a_glacier_belongs_to_the_polygon_around_it_and_one_on_a_border_to_the_first():
    layer = boxes((0, 0, 1, 1), (1, 0, 2, 1), (50, 50, 51, 51))
    regions = regions_of_polygons([0.5, 1.0, 1.5, 9.0], [0.5, 0.5, 0.5, 0.5], layer, name="basin")
    assert [m.tolist() for m in regions.members] == [[0, 1], [2]]
    assert regions.attrs["glaciers_in_no_region"] == "1"
    assert regions.attrs["regions_without_glaciers"] == "c"


def test_polygons_in_metres_and_longitudes_beyond_180_are_understood():
    layer = boxes((80, 30, 81, 31)).to_crs(32644)
    assert regions_of_polygons([80.5 + 360], [30.5], layer, name="basin").members[0].tolist() == [0]


def test_rows_of_one_name_are_one_region():
    layer = boxes((0, 0, 1, 1), (5, 0, 6, 1), names=("a", "a"))
    regions = regions_of_polygons([0.5, 5.5], [0.5, 0.5], layer, name="basin")
    assert [m.tolist() for m in regions.members] == [[0, 1]]


def test_overlapping_regions_are_refused_or_kept_and_told():
    layer = boxes((0, 0, 2, 1), (1, 0, 3, 1))
    place = ([0.5, 1.5, 2.5], [0.5, 0.5, 0.5])
    with pytest.raises(InputError, match=r"1 glaciers in several of a, b(.|\n)*overlap='keep'"):
        regions_of_polygons(*place, layer, name="basin")
    kept = regions_of_polygons(*place, layer, name="basin", overlap="keep")
    assert [m.tolist() for m in kept.members] == [[0, 1], [1, 2]]
    assert kept.attrs["glaciers_in_several_regions"] == "1"


@pytest.mark.parametrize(
    ("layer", "name", "message"),
    [
        (boxes((0, 0, 1, 1)), "nothing", "columns basin"),
        (boxes((0, 0, 1, 1), crs=None), "basin", "reference system None"),
        (boxes((20, 20, 21, 21)), "basin", "none of 1 glaciers"),
    ],
)
def test_polygons_that_say_nothing_are_refused(layer, name, message):
    with pytest.raises(InputError, match=message):
        regions_of_polygons([0.5], [0.5], layer, name=name)


# --- areas -----------------------------------------------------------------------------------------------------------


def test_areas_change_by_the_rate_of_their_region_from_2001_on():
    regions = rgi_regions(["RGI60-13.00001", "RGI60-15.00001", "RGI60-11.00001"])
    area, attrs = area_of_years([100.0, 100.0, 100.0], regions, [1991, 2001, 2021], AreaChange())
    np.testing.assert_allclose(area, [[101.8, 100, 96.4], [104.7, 100, 90.6], [100, 100, 100]], rtol=1e-14)
    assert "13 -0.18" in attrs["area_change"]
    assert "Zemp" in attrs["area_change_source"]
    assert attrs["area_change_glaciers_without_rate"] == "1"


def test_areas_are_never_below_zero_and_second_order_regions_take_the_rate_of_the_first():
    regions = rgi_regions(["RGI60-13.00001"], ["2"])
    area, _ = area_of_years([10.0], regions, [2001, 2011, 2031], AreaChange({"13": -5.0}))
    np.testing.assert_allclose(area, [[10, 5, 0]], atol=1e-12)


def test_fixed_areas_are_said_to_be():
    area, attrs = area_of_years([10.0], one_region(1, "all"), [1950, 2050], FIXED)
    assert (area == 10).all()
    assert attrs["area_change"].startswith("none")


@pytest.mark.parametrize("area", [[-1.0, 1.0], [np.nan, 1.0], [1.0], [np.inf, 1.0]])
def test_areas_that_are_none_are_refused(area):
    with pytest.raises(InputError, match="area change: area"):
        area_of_years(area, one_region(2, "all"), [2000])


def test_rates_of_other_regions_are_refused():
    with pytest.raises(InputError, match="rates of 13, 14, 15"):
        area_of_years([1.0], one_region(1, "all"), [2000], AreaChange())
    with pytest.raises(InputError, match="between -100 and 100"):
        AreaChange({"13": -180.0})


# --- the regional product --------------------------------------------------------------------------------------------


def test_means_and_masses_are_those_by_hand():
    product = product_of([[-1.0, 0.5], [0.5, 0.2]])  # areas 1 and 2 km2
    out = regional_product(product, one_region(2, "all"), correlation=INDEPENDENT).isel(region=0)
    np.testing.assert_allclose(out["mass_balance"], [0.0, 0.3], atol=1e-15)
    np.testing.assert_allclose(out["mass_change"], [0.0, 0.3 * 1000 * 3e6], atol=1e-3)
    np.testing.assert_allclose(out["mass_change_gt"], [0.0, 0.9e-3], atol=1e-15)
    np.testing.assert_allclose(out["mass_change_amount"], [0.0, 300.0], atol=1e-12)
    np.testing.assert_allclose(out["cumulative_mass_balance"], [0.0, 0.3], atol=1e-15)
    sigma = 0.3 * np.hypot(1, 2) / 3
    np.testing.assert_allclose(out["mass_balance_uncertainty"], sigma, rtol=1e-6)
    np.testing.assert_allclose(out["mass_balance_uncertainty_independent"], sigma, rtol=1e-12)
    np.testing.assert_allclose(out["cumulative_mass_balance_uncertainty"], sigma * np.sqrt([1, 2]), rtol=1e-6)
    assert out["mass_change_gt"].attrs["units"] == "Gt"


def test_an_error_that_all_share_is_not_averaged_away():
    product = product_of(np.zeros((50, 3)))
    out = regional_product(product, one_region(50, "all"), correlation=TOGETHER).isel(region=0)
    np.testing.assert_allclose(out["mass_balance_uncertainty"], 0.3, rtol=1e-6)
    np.testing.assert_allclose(out["cumulative_mass_balance_uncertainty"], [0.3, 0.6, 0.9], rtol=1e-6)
    assert (out["mass_balance_uncertainty_independent"] < 0.06).all()
    gt = 0.3 * product["area"].values.sum() * 1e-3
    np.testing.assert_allclose(out["mass_change_gt_covariance"].values[np.tril_indices(3)], gt**2, rtol=1e-5)
    assert np.isnan(out["mass_change_gt_covariance"].values[np.triu_indices(3, 1)]).all()


def test_the_error_of_the_measurement_is_no_part_of_the_sums():
    parts = {
        "mass_balance_uncertainty_model": (("glacier", "year"), np.full((2, 2), 0.3)),
        "mass_balance_uncertainty_member": (("glacier", "year"), np.full((2, 2), 0.4)),
    }
    product = product_of(np.zeros((2, 2)), sigma=9.0, **parts)
    out = regional_product(product, one_region(2, "all"), correlation=TOGETHER)
    np.testing.assert_allclose(out["mass_balance_uncertainty"], 0.5, rtol=1e-6)


def test_years_without_a_balance_are_counted_and_filled_only_when_asked():
    product = product_of([[-1.0, np.nan], [0.5, 0.2]])
    regions = one_region(2, "all")
    failed = pd.DataFrame({"region": ["all", "other"], "area": [3.0, 99.0]})
    plain = regional_product(product, regions, correlation=INDEPENDENT, missing=failed).isel(region=0)
    assert plain["glaciers_covered"].values.tolist() == [2, 1]
    assert plain["glaciers_missing"].values.tolist() == [1, 2]
    assert plain["glaciers_filled"].values.tolist() == [0, 0]
    np.testing.assert_allclose(plain["area"], [3, 2])
    np.testing.assert_allclose(plain["area_missing"], [3, 4])
    np.testing.assert_allclose(plain["mass_change_gt"], [0.0, 0.4e-3], atol=1e-15)
    filled = regional_product(product, regions, correlation=INDEPENDENT, missing=failed, fill_missing=True).isel(
        region=0
    )
    np.testing.assert_allclose(filled["mass_balance"], plain["mass_balance"])
    np.testing.assert_allclose(filled["area"], [6, 6])
    np.testing.assert_allclose(filled["mass_change_gt"], [0.0, 1.2e-3], atol=1e-15)
    assert filled["glaciers_filled"].values.tolist() == [1, 2]
    # the mean's error is that of 3 km2 stretched to 6; the filled 3 km2 depart from it with the spread 0.7071
    expected = np.hypot(0.3 * np.hypot(1, 2) * 2, 3 * np.sqrt(0.5)) * 1e-3
    np.testing.assert_allclose(filled["mass_change_gt_uncertainty"][0], expected, rtol=1e-6)


def test_a_region_without_any_balance_in_a_year_has_none_and_its_sum_ends():
    product = product_of([[-1.0, np.nan, 1.0], [0.5, np.nan, 1.0], [1.0, 1.0, 1.0]])
    regions = regions_of_polygons(
        product["longitude"], product["latitude"], boxes((79, 30, 81.5, 40), (81.5, 30, 83, 40)), name="basin"
    )
    out = regional_product(product, regions, correlation=TOGETHER, fill_missing=True)
    assert np.isnan(out["mass_balance"].values).tolist() == [[False, True, False], [False, False, False]]
    assert np.isnan(out["mass_change_gt_uncertainty"].values).tolist() == [[False, True, False], [False] * 3]
    assert np.isnan(out["cumulative_mass_change_gt"].values).tolist() == [[False, True, True], [False] * 3]
    assert np.isnan(out["cumulative_mass_change_gt_uncertainty"].values).tolist() == [[False, True, True], [False] * 3]
    assert out["glaciers_filled"].values[0, 1] == 0


def test_changing_areas_weigh_the_years_and_stretch_what_is_absent():
    area = np.array([[2.0, 1.0], [2.0, 2.0]])
    product = product_of([[1.0, 1.0], [0.0, 0.0]], area=[2.0, 2.0], area_of_year=(("glacier", "year"), area))
    failed = pd.DataFrame({"region": ["all"], "area": [4.0]})
    out = regional_product(product, one_region(2, "all"), correlation=TOGETHER, missing=failed).isel(region=0)
    np.testing.assert_allclose(out["mass_balance"], [0.5, 1 / 3])
    np.testing.assert_allclose(out["area"], [4, 3])
    np.testing.assert_allclose(out["area_missing"], [4, 3])


def test_regions_that_divide_the_glaciers_sum_to_the_whole():
    rng = np.random.default_rng(3)
    product = product_of(rng.normal(-0.3, 0.5, (60, 3)), area=rng.lognormal(0, 1, 60))
    layer = boxes((79, 30, 81, 40), (81, 30, 83, 40))
    parts = regional_product(
        product,
        regions_of_polygons(product["longitude"], product["latitude"], layer, name="basin"),
        correlation=TOGETHER,
    )
    whole = regional_product(product, one_region(60, "all"), correlation=TOGETHER, water_density=997.0)
    np.testing.assert_allclose(parts["mass_change"].sum("region") * 0.997, whole["mass_change"][0], rtol=1e-12)
    assert whole.attrs["water_density"] == "997 kg m-3"


def test_each_region_has_the_bounds_of_its_own_years():
    product = product_of(np.zeros((2, 2))).drop_vars(["time", "time_bnds"])
    north = np.array([["1999-10-01", "2000-10-01"], ["2000-10-01", "2001-10-01"]], "datetime64[ns]")
    south = np.array([["1999-04-01", "2000-04-01"], ["2000-04-01", "2001-04-01"]], "datetime64[ns]")
    both = np.stack([north, south])
    product = product.assign_coords(
        time=(("glacier", "year"), both[..., 0]), time_bnds=(("glacier", "year", "bnds"), both)
    )
    layer = boxes((79, 30, 81, 40), (81, 30, 83, 40))
    regions = regions_of_polygons(product["longitude"], product["latitude"], layer, name="basin")
    out = regional_product(product, regions, correlation=TOGETHER)
    assert out["time_bnds"].dims == ("region", "year", "bnds")
    assert (out["time_bnds"].values == both).all()


@pytest.mark.parametrize(
    ("product", "message"),
    [
        (product_of(np.full((2, 2), np.nan)), "none for 2 glaciers and 2 years"),
        (product_of(np.zeros((2, 2)), area=[0, 0]), "2 glaciers, 0 km2"),
        (product_of(np.zeros((2, 2)), area=[-1, 2]), "2 that are below 0 or missing"),
        (product_of(np.zeros((2, 2)), area=[np.nan, 2]), "2 that are below 0 or missing"),
        (product_of(np.zeros((2, 2)), sigma=np.nan), "4 that are below 0 or missing"),
        (product_of(np.zeros((2, 2)), sigma=-1.0), "4 that are below 0 or missing"),
        (product_of(np.zeros((3, 2))), "3 glaciers, 1 regions"),
        (product_of(np.zeros((2, 2))).drop_vars("time_bnds"), "no time_bnds"),
    ],
)
def test_products_that_cannot_be_summed_are_refused(product, message):
    with pytest.raises(InputError, match=message):
        regional_product(product, one_region(2, "all"), correlation=TOGETHER)


@pytest.mark.parametrize(
    "missing", [pd.DataFrame({"region": ["all"]}), pd.DataFrame({"region": ["all"], "area": [-1.0]})]
)
def test_missing_glaciers_without_an_area_are_refused(missing):
    with pytest.raises(InputError, match=r"missing"):
        regional_product(product_of(np.zeros((2, 2))), one_region(2, "all"), correlation=TOGETHER, missing=missing)


def test_a_density_that_is_none_is_refused():
    with pytest.raises(InputError, match="water_density"):
        regional_product(product_of(np.zeros((2, 2))), one_region(2, "all"), correlation=TOGETHER, water_density=0.0)


# --- beside other series ---------------------------------------------------------------------------------------------


def reference_of(**columns):
    return pd.DataFrame({"region": "all", "unit": "m w.e.", **columns})


def test_calendar_years_take_nine_months_of_one_year_and_three_of_the_next():
    out = regional_product(product_of([[1.0, 2.0, 4.0]]), one_region(1, "all"), correlation=TOGETHER)
    reference = reference_of(
        begin=["1999-10-01", "2000-01-01", "2001-01-01", "2002-01-01"],
        end=["2000-10-01", "2001-01-01", "2002-01-01", "2003-01-01"],
        change=[1.0, 1.0, 3.0, 0.0],
    )
    rows, scores = compare_series(out, reference)
    exact = [1.0, 274 / 366 * 1 + 92 / 365 * 2, 273 / 365 * 2 + 92 / 365 * 4]
    np.testing.assert_allclose(rows["product"], exact)  # the last period is not covered
    off = np.array(exact) - [1, 1, 3]
    assert scores.loc[0, "n"] == 3
    assert scores.loc[0, "bias"] == pytest.approx(off.mean())
    assert scores.loc[0, "rmse"] == pytest.approx(np.sqrt((off**2).mean()))


def test_gigatonnes_are_compared_with_gigatonnes():
    out = regional_product(product_of([[1.0, 2.0]], area=[1000.0]), one_region(1, "all"), correlation=TOGETHER)
    reference = reference_of(begin=["1999-10-01"], end=["2001-10-01"], change=[2.5]).assign(unit="Gt")
    assert compare_series(out, reference)[1].loc[0, "bias"] == pytest.approx(0.5)


@pytest.mark.parametrize("change", [{"unit": "mm"}, {"region": "13"}, {"begin": "1950-01-01"}])
def test_series_that_cannot_be_compared_are_refused(change):
    out = regional_product(product_of([[1.0, 2.0]]), one_region(1, "all"), correlation=TOGETHER)
    reference = reference_of(begin=["1999-10-01"], end=["2000-10-01"], change=[1.0]).assign(**change)
    with pytest.raises(InputError, match="reference"):
        compare_series(out, reference)
