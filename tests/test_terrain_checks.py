"""Elevation models that are readable and yet wrong: said aloud, or refused."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rioxarray  # noqa: F401 - gives arrays their .rio
import shapely
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.sampling.lapse_rate import tell_far_orography
from glacmb_grid.sampling.terrain import terrain
from glacmb_grid.sampling.terrain_checks import compare_with_inventory, tell_voids, without_elevation


def test_a_void_part_of_a_glacier_is_told_by_name():
    whole = xr.Dataset({"elevation_coverage": ("glacier", [1.0, 0.7])}, coords={"glacier": ["a", "b"]})
    with pytest.warns(UserWarning, match=r"1 glacier\(s\).*b \(70%\)"):
        tell_voids(whole)
    tell_voids(whole.isel(glacier=[0]))  # warnings are errors: nothing is said of a whole one


def test_undeclared_zero_voids_high_above_the_sea_are_refused():
    heights = np.full((20, 20), 3000.0)
    heights[5, 5] = 0.0
    dem = xr.DataArray(
        heights, dims=("y", "x"), coords={"y": 46.9 - 0.001 * np.arange(20), "x": 10.8 + 0.001 * np.arange(20)}
    ).rio.write_crs(4326)
    glaciers = gpd.GeoDataFrame(
        geometry=[shapely.box(10.8025, 46.8855, 10.8145, 46.8975)], index=pd.Index(["g"], name="glacier"), crs=4326
    )
    two = pd.concat([glaciers, glaciers.set_axis(["low"]).translate(0.004, 0.0).to_frame("geometry")])
    failures = without_elevation(terrain(dem, two.set_crs(4326)), 0.5)
    assert [f.glacier for f in failures] == ["g"]
    assert "undeclared voids" in failures[0].reason
    with pytest.raises(InputError, match=r"exactly 0 m inside 1 glacier\(s\) that lie far above: g"):
        without_elevation(terrain(dem, glaciers), 0.5)
    assert float(terrain(dem.where(dem != 0), glaciers)["elevation_mean"].item()) == pytest.approx(3000)


def place(values, step=0.001):
    """An elevation model and one square glacier in its middle."""
    n = len(values)
    y, x = 46.9 - step * np.arange(n), 10.8 + step * np.arange(n)
    dem = xr.DataArray(np.asarray(values, float), dims=("y", "x"), coords={"y": y, "x": x}).rio.write_crs(4326)
    box = shapely.box(x[2] - step / 2, y[-3] - step / 2, x[-3] + step / 2, y[2] + step / 2)
    return dem, gpd.GeoDataFrame(geometry=[box], index=pd.Index(["g"], name="glacier"), crs=4326)


def slope_of(low=2800.0, n=24):
    return low + np.add.outer(20.0 * np.arange(n), 7.0 * np.arange(n))


VOIDS = [1.0, 0.0, -1.0, -99.0, -100.0, 8888.0, 77.0]
WHOLE = [(v, 1.0) for v in VOIDS if v <= 1]  # above that it may be a plain


@pytest.mark.parametrize(("value", "share"), [*((v, s) for v in VOIDS for s in (0.05, 0.5, 0.9)), *WHOLE])
def test_undeclared_voids_of_any_value_and_share_are_refused(value, share):
    heights = slope_of()
    rng = np.random.default_rng(1)
    heights[rng.random(heights.shape) < share] = value
    with pytest.raises(InputError, match=rf"cells of exactly {value:g} m inside 1") as raised:
        without_elevation(terrain(*place(heights)), 0.5)
    assert f"gdal_edit.py -a_nodata {value:g}" in raised.value.remedy


@pytest.mark.parametrize(
    "heights",
    [
        slope_of(0.0),  # ends in the sea
        np.where(slope_of(-150.0) < 0, 0.0, slope_of(-150.0)),  # a wide front in the sea
        np.maximum(slope_of(2500.0), 2700.0),  # on a frozen lake
        np.where(np.arange(24)[:, None] < 12, slope_of() + 250.0, slope_of()),  # an ice fall of 250 m
        np.minimum(slope_of(), 3000.0),  # a level top
        slope_of(-50.0),
    ],
)
def test_true_heights_are_no_voids(heights):
    assert without_elevation(terrain(*place(heights)), 0.5) == []


def inventory(**stated):
    return gpd.GeoDataFrame({n: [v] * 3 for n, v in stated.items()}, index=["a", "b", "c"])


def measured(low, median, high):
    values = {"elevation_min": low, "elevation_median": median, "elevation_max": high}
    return xr.Dataset({n: ("glacier", np.array(v, float)) for n, v in values.items()}, {"glacier": ["a", "b", "c"]})


RGI = {"zmin": 2500.0, "zmed": 3000.0, "zmax": 3400.0}


@pytest.mark.parametrize(
    ("factor", "shift", "says"),
    [
        (0.001, 0, "look like kilometres"),
        (3.2808, 0, "look like feet"),
        (10, 0, "look like decimetres"),
        (0, 0, "0 there: voids"),
        (1, 3000, "+3000 m"),
        (1, -700, "-700 m"),
    ],
)
@pytest.mark.parametrize("stated", [RGI, {"zmed": 3000.0}, {"zmin": 2500.0, "zmax": 3400.0}])
def test_a_model_that_the_inventory_contradicts_is_refused(factor, shift, says, stated):
    heights = [np.full(3, v * factor + shift) for v in (2500.0, 3000.0, 3400.0)]
    with pytest.raises(InputError, match="3 of 3 glaciers farther off") as raised:
        compare_with_inventory(measured(*heights), inventory(**stated))
    assert says in raised.value.found
    assert "elevation: {compare: false}" in raised.value.remedy


def test_one_glacier_that_the_inventory_contradicts_is_told():
    heights = np.array([2480.0, 3010.0, 3450.0])[:, None] + [0, 0, 900]
    with pytest.warns(UserWarning, match=r"1 glacier\(s\).*c \(3910 m, inventory 3000 m\)"):
        compare_with_inventory(measured(*heights), inventory(**RGI))
    compare_with_inventory(measured(*(heights - [0, 0, 900])), inventory(**RGI))
    compare_with_inventory(measured(*heights), inventory(zmed=np.nan))
    compare_with_inventory(measured(*heights), inventory(name="x"))


def test_an_orography_thousands_of_metres_off_is_told():
    glacier = {"glacier": ["a", "b"]}
    elevation = xr.DataArray([3000.0, 3000.0], dims="glacier", coords=glacier)
    with pytest.warns(UserWarning, match=r"1 glacier\(s\): b \(250 m\)"):
        tell_far_orography(xr.DataArray([2400.0, 250.0], dims="glacier", coords=glacier), elevation)
    tell_far_orography(xr.DataArray([2400.0, 3900.0], dims="glacier", coords=glacier), elevation)


@pytest.mark.parametrize(
    "heights", [[3.0, 2.9, 3.1], [0.0, 0.0, 0.0], [6000.0, 5800.0, 3000.0], [9842.0, 9500.0, np.nan]]
)
def test_elevations_that_the_orography_contradicts_are_refused(heights):
    glacier = {"glacier": ["a", "b", "c"]}
    orography = xr.DataArray([2500.0, 2400.0, 2600.0], dims="glacier", coords=glacier)
    with pytest.raises(InputError, match="the orography at") as raised:
        tell_far_orography(orography, xr.DataArray(heights, dims="glacier", coords=glacier))
    assert "elevation: {units: ft}" in raised.value.remedy
