"""Elevation models and albedo rasters, written with rasterio as they are delivered."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from rasterio.transform import Affine

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.albedo import open_albedo, summer_albedo
from glacmb_grid.inputs.elevation import open_elevation
from glacmb_grid.sampling.terrain import terrain, without_elevation
from glacmb_grid.sampling.zonal import overlap_weights, sample

WEST, NORTH, STEP = 10.7, 46.9, 0.01


def tiff(path, values, *, west=WEST, north=NORTH, crs="EPSG:4326", nodata=None, transform=None, **more):
    values = np.asarray(values)
    values = values[None] if values.ndim == 2 else values
    transform = transform if transform is not None else Affine(STEP, 0, west, 0, -STEP, north)
    options = {"count": values.shape[0], "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    with rasterio.open(
        path, "w", driver="GTiff", crs=crs, nodata=nodata, transform=transform, **options, **more
    ) as file:
        file.write(values)
    return path


def plane(height=6, width=8, dtype="int16"):
    """Heights that tell their own place: 3000 + 10 x row + column."""
    return (3000 + np.add.outer(10 * np.arange(height), np.arange(width))).astype(dtype)


def outlines(**boxes):
    frame = gpd.GeoDataFrame(
        {"name": ""}, index=list(boxes), geometry=[shapely.box(*b) for b in boxes.values()], crs=4326
    )
    frame.index.name = "glacier"
    return frame


def message(raised) -> str:
    text = str(raised.value)
    for part in ("expected:", "found:", "remedy:"):
        assert part in text
    return text


# --- elevation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "float32", "float64"])
def test_heights_are_read_as_they_are(tmp_path, dtype):
    dem = open_elevation(tiff(tmp_path / "dem.tif", plane(dtype=dtype)))
    assert dem.dims == ("y", "x")
    assert dem.dtype == np.float32
    np.testing.assert_array_equal(dem, plane())
    np.testing.assert_allclose(dem["x"], WEST + STEP * (np.arange(8) + 0.5))


@pytest.mark.parametrize(("void", "nodata"), [(-9999, -9999), (0, 0), (-32768, None), (32767, None), (-9999, None)])
def test_voids_are_missing_whether_declared_or_not(tmp_path, void, nodata):
    values = plane()
    values[2, 3] = void
    dem = open_elevation(tiff(tmp_path / "dem.tif", values, nodata=nodata))
    expected = values.astype("float32")
    expected[2, 3] = np.nan
    np.testing.assert_array_equal(dem, expected)


def test_void_pixels_lower_the_coverage_and_too_many_fail_the_glacier(tmp_path):
    values = plane(10, 11)
    values[2, 2:6] = -32768  # of "a" a quarter, of "b" nothing
    values[6:10, 6:9] = -32768  # of "c" three quarters
    dem = open_elevation(tiff(tmp_path / "dem.tif", values))
    cells = {"a": (2, 2), "b": (6, 2), "c": (6, 6)}
    boxes = {
        n: (WEST + c * STEP, NORTH - (r + 4) * STEP, WEST + (c + 4) * STEP, NORTH - r * STEP)
        for n, (r, c) in cells.items()
    }
    found = terrain(dem, outlines(**boxes))
    np.testing.assert_allclose(found["elevation_coverage"], [0.75, 1.0, 0.25], atol=1e-3)
    assert float(found["elevation_mean"].sel(glacier="b")) == pytest.approx(plane(10, 11)[6:10, 2:6].mean(), abs=0.05)
    assert without_elevation(found, 0.2) == []
    assert [f.glacier for f in without_elevation(found, 0.5)] == ["c"]
    with pytest.raises(InputError, match=r"c \(25%\)") as raised:
        without_elevation(found.sel(glacier=["c"]), 0.5)
    message(raised)


@pytest.mark.parametrize("nodata", [None, -32768])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_tiles_are_merged_and_gaps_between_them_are_missing(tmp_path, dtype, nodata):
    values = plane(6, 9, dtype)
    tiff(tmp_path / "a.tif", values[:, :3], nodata=nodata)
    tiff(tmp_path / "c.tif", values[:, 6:], west=WEST + 6 * STEP, nodata=nodata)
    dem = open_elevation(tmp_path / "*.tif")
    expected = values.astype("float32")
    expected[:, 3:6] = np.nan
    np.testing.assert_array_equal(dem, expected)
    tiff(tmp_path / "b.tif", values[:, 3:6], west=WEST + 3 * STEP, nodata=nodata)
    np.testing.assert_array_equal(open_elevation(tmp_path / "*.tif"), values)


def test_voids_of_one_tile_are_filled_by_another(tmp_path):
    holed = plane()
    holed[1, 1] = -32768
    tiff(tmp_path / "a.tif", holed)
    tiff(tmp_path / "b.tif", plane())
    np.testing.assert_array_equal(open_elevation(tmp_path / "*.tif"), plane())


def test_only_the_tiles_under_a_window_are_read(tmp_path):
    values = plane(6, 9)
    for k in range(3):
        tiff(tmp_path / f"{k}.tif", values[:, 3 * k : 3 * k + 3], west=WEST + 3 * k * STEP)
    dem = open_elevation(tmp_path / "*.tif")
    (tmp_path / "1.tif").unlink()
    np.testing.assert_array_equal(dem.isel(x=slice(0, 3)), values[:, :3])
    np.testing.assert_array_equal(dem.isel(x=slice(6, 9), y=slice(2, 4)), values[2:4, 6:])
    np.testing.assert_array_equal(dem.isel(x=-1), values[:, -1])
    np.testing.assert_array_equal(dem.isel(x=[8, 0, 6, 2]).isel(x=[0, 2]), values[:, [8, 6]])
    with pytest.raises(InputError, match=r"1\.tif"):
        dem.isel(x=slice(0, 4)).load()
    np.testing.assert_array_equal(dem.chunk({"x": 3, "y": 2})[:, 6:].compute(), values[:, 6:])


def test_any_selection_is_that_of_the_whole(tmp_path):
    values = plane(7, 9)
    tiff(tmp_path / "a.tif", values[:, :5])
    tiff(tmp_path / "b.tif", values[:, 4:], west=WEST + 4 * STEP)  # overlaps by a column
    upside_down = Affine(STEP, 0, WEST, 0, STEP, NORTH - 12 * STEP)
    tiff(tmp_path / "c.tif", values[::-1][:5] + 100, transform=upside_down)
    dem = open_elevation(tmp_path / "*.tif")
    whole = np.concatenate([values, values[::-1][:5][::-1] + 100])
    np.testing.assert_array_equal(dem, whole)
    rng = np.random.default_rng(0)
    for _ in range(30):
        r, c = (slice(*sorted(rng.choice(n + 1, 2, replace=False)), int(rng.choice([1, 2, 3]))) for n in whole.shape)
        np.testing.assert_array_equal(dem[r, c], whole[r, c])
        np.testing.assert_array_equal(dem[::-1][r, c], whole[::-1][r, c])


def test_a_glacier_across_tiles_is_as_on_one_raster(tmp_path):
    rng = np.random.default_rng(2)
    values = rng.integers(2500, 3500, (40, 40)).astype("int16")
    tiff(tmp_path / "whole.tif", values)
    for r in range(2):
        for c in range(2):
            part = values[20 * r : 20 * r + 20, 20 * c : 20 * c + 20]
            tiff(tmp_path / f"tile_{r}{c}.tif", part, west=WEST + 20 * c * STEP, north=NORTH - 20 * r * STEP)
    middle = (WEST + 20 * STEP, NORTH - 20 * STEP)
    glaciers = outlines(a=(middle[0] - 0.07, middle[1] - 0.03, middle[0] + 0.02, middle[1] + 0.055))
    one, four = (terrain(open_elevation(tmp_path / n), glaciers) for n in ("whole.tif", "tile_*.tif"))
    xr.testing.assert_allclose(one, four, rtol=1e-12)
    assert float(four["elevation_coverage"][0]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"transform": Affine(2 * STEP, 0, WEST, 0, -STEP, NORTH)}, "0.02 x 0.01"),
        ({"west": WEST + 0.3 * STEP}, "an offset of 0.3 cells in x"),
        ({"crs": "EPSG:4258"}, "EPSG:4258"),
    ],
)
def test_tiles_that_do_not_fit_are_named_with_the_remedy(tmp_path, options, says):
    tiff(tmp_path / "a.tif", plane())
    tiff(tmp_path / "b.tif", plane(), **options)
    with pytest.raises(InputError, match=says) as raised:
        open_elevation(tmp_path / "*.tif")
    assert "b.tif" in raised.value.where
    assert "a.tif" in raised.value.expected
    assert "gdal" in raised.value.remedy


@pytest.mark.parametrize("west", [(178.0, 179.0, -180.0, -179.0), (178.0, 179.0, 180.0, 181.0)])
def test_tiles_on_both_sides_of_the_antimeridian_are_neighbours(tmp_path, west):
    values = plane(4, 16)
    for k, w in enumerate(west):
        tiff(tmp_path / f"{k}.tif", values[:, 4 * k : 4 * k + 4], transform=Affine(0.25, 0, w, 0, -0.25, 66.0))
    dem = open_elevation(tmp_path / "*.tif")
    np.testing.assert_array_equal(dem, values)
    glaciers = outlines(a=(179.6, 65.3, 180.4, 65.6), b=(-180.4, 65.3, -179.6, 65.6), c=(-179.9, 65.3, -179.6, 65.6))
    found = terrain(dem, glaciers)
    np.testing.assert_allclose(found["elevation_coverage"], 1)
    np.testing.assert_allclose(found["elevation_mean"][:2], found["elevation_mean"][0])
    assert float(found["elevation_mean"][2]) > float(found["elevation_mean"][0])
    ways = [
        shapely.box(179.6, 65.3, 180.4, 65.6),
        shapely.MultiPolygon([shapely.box(179.6, 65.3, 180, 65.6), shapely.box(-180, 65.3, -179.6, 65.6)]),
        shapely.Polygon([(179.6, 65.3), (-179.6, 65.3), (-179.6, 65.6), (179.6, 65.6)]),
    ]
    for way in ways:  # however it is drawn
        one = terrain(dem, gpd.GeoDataFrame(geometry=[way], index=["a"], crs=4326))
        for name in ("elevation_mean", "elevation_min", "elevation_max", "slope", "elevation_coverage"):
            assert float(one[name][0]) == pytest.approx(float(found[name][0]), rel=1e-9)


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        (plane(), {"crs": None}, "coordinate reference system"),
        (np.stack([plane()] * 3), {}, "3 bands"),
        (plane(), {"transform": Affine(STEP, 0, WEST, 0, -STEP, NORTH) @ Affine.rotation(30)}, "rotated"),
    ],
)
def test_unusable_elevation_models(tmp_path, values, options, says):
    with pytest.raises(InputError) as raised:
        open_elevation(tiff(tmp_path / "dem.tif", values, **options))
    assert says in message(raised)
    assert "dem.tif" in str(raised.value)


def test_a_raster_without_any_georeference(tmp_path):
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        path = tiff(tmp_path / "dem.tif", plane(), crs=None, transform=Affine.identity())
    with pytest.raises(InputError, match="coordinate reference system"):
        open_elevation(path)


def test_scaled_values_are_refused(tmp_path):
    path = tiff(tmp_path / "dem.tif", plane())
    with rasterio.open(path, "r+") as file:
        file.scales = (0.1,)
    with pytest.raises(InputError, match=r"scale of 0\.1"):
        open_elevation(path)


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.02, 0])
def test_truncated_rasters_are_refused(tmp_path, kept):
    rng = np.random.default_rng(1)
    path = tiff(tmp_path / "dem.tif", rng.integers(1000, 4000, (300, 300)).astype("int16"), compress="deflate")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError) as raised:
        open_elevation(path)
    assert "dem.tif" in message(raised)


def test_all_broken_tiles_are_named(tmp_path):
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_text("no raster")
    with pytest.raises(InputErrors) as raised:
        open_elevation(tmp_path / "*.tif")
    assert "a.tif" in str(raised.value)
    assert "b.tif" in str(raised.value)


# --- albedo ----------------------------------------------------------------------------------------------------------

NAME = "MOD10A1.061_Snow_Albedo_Daily_Tile_doy{}000000_aid0001.tif"


def day(tmp_path, when, values, **options):
    values = np.asarray(values)
    if values.dtype == np.int64:
        values = values.astype("uint8")
    return tiff(tmp_path / NAME.format(when), values, nodata=options.pop("nodata", 255), **options)


def test_percent_become_shares_and_codes_are_masked(tmp_path):
    codes = [[0, 50, 100], [101, 111, 125], [137, 139, 150], [151, 250, 255]]
    ds = open_albedo(day(tmp_path, "2010152", codes))
    assert ds["time"].values.astype("datetime64[D]").tolist() == [np.datetime64("2010-06-01").item()]
    np.testing.assert_allclose(ds["albedo"][0, 0], [0.0, 0.5, 1.0])
    assert ds["albedo"][0, 1:].isnull().all()
    np.testing.assert_array_equal(ds["land"][0], np.array(codes) == 125)
    np.testing.assert_array_equal(ds["cloud"][0], np.array(codes) == 150)
    assert ds.rio.crs.to_epsg() == 4326


def test_shares_of_land_and_cloud_over_an_outline(tmp_path):
    codes = np.full((4, 4), 60)
    codes[0], codes[1, :2] = 125, 150
    ds = open_albedo(day(tmp_path, "2010152", codes))
    box = outlines(g=(WEST, NORTH - 4 * STEP, WEST + 4 * STEP, NORTH))
    found = sample(ds, overlap_weights(box, ds))
    assert float(found["land"].squeeze()) == pytest.approx(4 / 16, abs=1e-4)
    assert float(found["cloud"].squeeze()) == pytest.approx(2 / 16, abs=1e-4)
    assert float(found["albedo_coverage"].squeeze()) == pytest.approx(10 / 16, abs=1e-4)
    assert float(found["albedo"].squeeze()) == pytest.approx(0.6, rel=1e-6)


def test_days_are_sorted_whatever_the_names(tmp_path):
    (tmp_path / "z").mkdir()
    day(tmp_path, "2011001", [[20, 20], [20, 20]])
    day(tmp_path / "z", "2010365", [[10, 10], [10, 10]])
    day(tmp_path, "2012366", [[30, 30], [30, 30]])
    ds = open_albedo([tmp_path / "*.tif", tmp_path / "z" / "*.tif"])
    assert [str(t)[:10] for t in ds["time"].values] == ["2010-12-31", "2011-01-01", "2012-12-31"]
    np.testing.assert_allclose(ds["albedo"][:, 0, 0], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("name", ["2010366", "2010000", "2010400"])
def test_days_that_the_year_does_not_have(tmp_path, name):
    with pytest.raises(InputError, match=f"doy{name}"):
        open_albedo(day(tmp_path, name, [[1, 1], [1, 1]]))


def test_a_day_given_twice(tmp_path):
    (tmp_path / "b").mkdir()
    for folder in (tmp_path, tmp_path / "b"):
        day(folder, "2010152", [[1, 1], [1, 1]])
    with pytest.raises(InputError, match="with several") as raised:
        open_albedo([tmp_path / "*.tif", tmp_path / "b" / "*.tif"])
    assert "doy2010152" in message(raised)


def test_a_name_without_a_date(tmp_path):
    with pytest.raises(InputError, match="doyYYYYDDD"):
        open_albedo(tiff(tmp_path / "albedo.tif", np.ones((2, 2), "uint8")))


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        (np.ones((2, 2, 2), "uint8"), {}, "2 bands"),
        (np.ones((2, 2), "uint8"), {"crs": None}, "coordinate reference system"),
    ],
)
def test_unusable_albedo_rasters(tmp_path, values, options, says):
    with pytest.raises(InputError) as raised:
        open_albedo(day(tmp_path, "2010152", values, **options))
    assert says in message(raised)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (np.ones((3, 2), "uint8"), {}),
        (np.ones((2, 2), "uint8"), {"west": WEST + STEP}),
        (np.ones((2, 2), "uint8"), {"crs": "EPSG:32632"}),
        (np.ones((2, 2), "uint16"), {}),
        (np.ones((2, 2, 2), "uint8"), {}),
    ],
)
def test_days_on_another_grid_are_refused_when_they_are_read(tmp_path, values, options):
    day(tmp_path, "2010152", np.ones((2, 2), "uint8"))
    day(tmp_path, "2010153", values, **options)
    with pytest.raises(InputError, match="doy2010153") as raised:
        open_albedo(tmp_path / "*.tif").load()
    message(raised)


def test_a_broken_day_is_named_when_it_is_read(tmp_path):
    day(tmp_path, "2010152", np.ones((2, 2), "uint8"))
    day(tmp_path, "2010153", np.ones((2, 2), "uint8")).write_text("no raster")
    with pytest.raises(InputError, match="doy2010153"):
        open_albedo(tmp_path / "*.tif").load()
    (tmp_path / NAME.format("2010152")).write_text("no raster")
    with pytest.raises(InputError, match="doy2010152"):
        open_albedo(tmp_path / "*.tif")


# --- statistics of a season ------------------------------------------------------------------------------------------


def sampled(albedo, coverage=None, start="2010-05-31"):
    """One glacier, days in a row."""
    albedo = np.atleast_2d(np.asarray(albedo, np.float32))
    coverage = np.where(np.isnan(albedo), 0.0, 1.0) if coverage is None else np.atleast_2d(coverage)
    time = np.datetime64(start) + np.arange(albedo.shape[1]).astype("timedelta64[D]")
    fields = {"albedo": albedo, "albedo_coverage": coverage, "land": albedo * 0 + 0.1, "cloud": 1 - coverage}
    return xr.Dataset(
        {n: (("glacier", "time"), np.asarray(v, np.float32)) for n, v in fields.items()},
        coords={"glacier": [f"g{i}" for i in range(len(albedo))], "time": time.astype("datetime64[ns]")},
    )


def test_mean_and_minimum_by_hand(tmp_path):
    # 31 May is no summer; 3 June shows too little of the glacier
    ds = sampled([0.1, 0.8, 0.6, 0.2, 0.7], [1.0, 1.0, 0.5, 0.1, 1.0])
    found = summer_albedo(ds).squeeze()
    assert int(found["year"]) == 2010
    assert float(found["albedo_mean"]) == pytest.approx(0.7)
    assert float(found["albedo_min"]) == pytest.approx(0.6)
    assert int(found["albedo_days"]) == 3
    assert float(found["cloud_share"]) == pytest.approx((0 + 0.5 + 0.9 + 0) / 4)
    assert float(found["land_share"]) == pytest.approx(0.1)


def test_too_few_days_leave_a_gap(tmp_path):
    nan = np.nan
    ds = sampled([[0.5, 0.8, 0.6, nan, nan], [0.5, nan, nan, nan, nan], [0.5, 0.8, 0.6, 0.7, nan]])
    found = summer_albedo(ds, min_days=3)
    np.testing.assert_allclose(found["albedo_mean"].squeeze(), [nan, nan, 0.7], rtol=1e-6)
    np.testing.assert_allclose(found["albedo_min"].squeeze(), [nan, nan, 0.6], rtol=1e-6)
    assert found["albedo_days"].squeeze().values.tolist() == [2, 0, 3]


def test_years_are_kept_apart():
    time = np.array(["2010-07-01", "2010-07-02", "2011-07-01", "2011-07-02", "2012-01-01"], "datetime64[ns]")
    found = summer_albedo(sampled([0.5, 0.7, 0.3, 0.1, 0.9]).assign_coords(time=time), min_days=2)
    assert found["year"].values.tolist() == [2010, 2011]
    np.testing.assert_allclose(found["albedo_mean"].squeeze(), [0.6, 0.2], rtol=1e-6)


def test_a_season_without_days():
    with pytest.raises(InputError, match=r"albedo\.months"):
        summer_albedo(sampled([0.5] * 5), months=[1, 2])


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_the_real_elevation_model_of_the_oetztal_alps(real_data):
    dem = open_elevation(real_data / "oetztal" / "srtm_oetztal.tif")
    assert sorted(dem.shape) == [444, 582]
    assert 300 < float(dem.min()) < float(dem.max()) < 3800
