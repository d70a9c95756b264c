"""The stages of the product by themselves: areas, gaps, regions that are named, glaciers that are missing."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.judging import product as stage
from glacmb_grid.judging import sums
from glacmb_grid.settings import Product
from glacmb_grid.settings import Regions as RegionSettings
from glacmb_grid.stores.work import Work

IDS = np.array(["RGI60-13.00001", "RGI60-14.00001", "RGI60-14.00002"], object)


@pytest.fixture
def glaciers():
    return xr.Dataset({"area": ("glacier", [2.0, 1.0, 4.0])}, coords={"glacier": IDS})


@pytest.fixture
def outlines():
    places = [(80.0, 40.0), (76.0, 35.0), (76.5, 35.0)]
    frame = {"area": [2.0, 1.0, 4.0], "longitude": [p[0] for p in places], "latitude": [p[1] for p in places]}
    geometry = [shapely.box(x - 0.1, y - 0.1, x + 0.1, y + 0.1) for x, y in places]
    return gpd.GeoDataFrame(frame, geometry=geometry, index=IDS, crs=4326)


def layer_of(column="basin"):
    boxes = [shapely.box(75, 34, 77, 36), shapely.box(79, 39, 81, 41)]
    return gpd.GeoDataFrame({column: ["Indus", "Tarim"]}, geometry=boxes, crs=4326)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("fixed", [[2.0, 2.0], [1.0, 1.0], [4.0, 4.0]]),
        ("rgi", [[2.0, 2 * (1 - 0.0018 * 10)], [1.0, 1 - 0.0036 * 10], [4.0, 4 * (1 - 0.0036 * 10)]]),
        ({"13": -1.0, "14": 0.0}, [[2.0, 1.8], [1.0, 1.0], [4.0, 4.0]]),
    ],
)
def test_areas_change_as_the_configuration_says(glaciers, change, expected):
    areas, attrs = stage.areas_as_configured(Product(area_change=change), glaciers, np.array([2001, 2011]))
    np.testing.assert_allclose(areas, expected, rtol=1e-12)
    assert attrs["area_change"].startswith("none") == (change == "fixed")


def test_gaps_are_counted_and_a_product_without_a_balance_is_refused():
    said = []
    work = Work(say=said.append)
    stage.require_balances(work, "ridge", xr.Dataset({"mean": (("glacier", "year"), [[1.0, np.nan]])}))
    assert said == ["note: 1 of 2 glacier-years have no balance by ridge, and are NaN"]
    with pytest.raises(InputError, match="model ridge"):
        stage.require_balances(work, "ridge", xr.Dataset({"mean": (("glacier", "year"), [[np.nan]])}))


def test_years_of_a_product_lie_within_those_of_the_climate():
    predictors = xr.Dataset(coords={"year": [2001, 2002, 2003]})
    assert stage.within_years(predictors, (2002, 2003))["year"].values.tolist() == [2002, 2003]
    with pytest.raises(InputError, match=r"2001\.\.2003"):
        stage.within_years(predictors, (2000, 2002))


def test_regions_are_those_of_the_rgi_or_of_polygons(outlines):
    found = sums.regions_of_glaciers(IDS, outlines, RegionSettings(), None)
    assert found.ids == ("13", "14")
    found = sums.regions_of_glaciers(IDS, outlines, RegionSettings(path="x.gpkg", id="basin"), layer_of())
    assert {n: m.tolist() for n, m in zip(found.ids, found.members, strict=True)} == {"Indus": [1, 2], "Tarim": [0]}
    assert sums.regions_of_glaciers(IDS, outlines, RegionSettings(path="x.gpkg"), layer_of("NAME")).ids == found.ids
    own = outlines.set_axis(["a", "b", "c"])
    assert sums.regions_of_glaciers(np.array(["a", "b"], object), own, RegionSettings(), None).names == (
        "all glaciers",
    )
    with pytest.raises(InputError, match="one of the columns"):
        sums.regions_of_glaciers(IDS, outlines, RegionSettings(path="x.gpkg"), layer_of("basin"))
    with pytest.raises(InputError, match="the column 'other'"):
        sums.regions_of_glaciers(IDS, outlines, RegionSettings(path="x.gpkg", id="other"), layer_of())


def test_glaciers_that_failed_are_missing_from_their_own_region(outlines):
    here = IDS[:2]
    regions = sums.regions_of_glaciers(here, outlines, RegionSettings(), None)
    missing = sums.missing_glaciers(outlines, here, RegionSettings(), None, regions)
    assert missing.to_dict("records") == [{"region": "14", "area": 4.0}]
    assert sums.missing_glaciers(outlines, IDS, RegionSettings(), None, regions) is None
    polygons = layer_of().iloc[1:]
    settings = RegionSettings(path="x.gpkg", id="basin")
    found = sums.regions_of_glaciers(IDS[:1], outlines, settings, polygons)
    assert sums.missing_glaciers(outlines, IDS[:1], settings, polygons, found) is None  # the others lie in no region
    own = outlines.set_axis(["a", "b", "c"])
    ids = np.array(["a"], object)
    whole = sums.regions_of_glaciers(ids, own, RegionSettings(), None)
    assert sums.missing_glaciers(own, ids, RegionSettings(), None, whole)["area"].tolist() == [1.0, 4.0]


@pytest.mark.parametrize(
    ("share", "unit", "told"),
    [(1.1, "Gt", "bias"), (0.04, "Gt", "4% of its area"), (np.nan, "Gt", "does not state"), (0.04, "m w.e.", "bias")],
)
def test_gigatonnes_of_other_areas_are_not_judged(share, unit, told):
    score = {"region": "13", "unit": unit, "n": 2, "product": -1.0, "reference": -1.5, "bias": 0.5, "rmse": 0.6}
    line = sums.score_in_words({**score, "area_share": share})
    assert told in line
    assert ("bias +0.500" in line) == (unit != "Gt" or share == 1.1)
