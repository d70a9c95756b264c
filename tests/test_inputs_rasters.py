"""Elevation models and albedo rasters, written with rasterio as they are delivered."""

from __future__ import annotations

import shutil
import threading
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from rasterio.transform import Affine

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.albedo import open_albedo, summer_albedo
from glacmb_grid.inputs.elevation import open_elevation, tile_troubles
from glacmb_grid.inputs.quiet import quiet
from glacmb_grid.sampling.terrain import terrain
from glacmb_grid.sampling.terrain_checks import without_elevation
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


@pytest.mark.parametrize(
    ("stored", "how"),
    [
        (lambda z: z * 10, {"scales": (0.1,)}),
        (lambda z: z - 2000, {"offsets": (2000.0,)}),
        (lambda z: z * 10, {"tags": {"scale_factor": "0.1", "add_offset": "0"}}),  # as AppEEARS writes them
        (lambda z: z / 0.3048, {"units": ("ft",)}),
        (lambda z: z / 0.3048, {"units": ("US survey foot",)}),
        (lambda z: z / 1000, {"units": ("km",)}),
        (lambda z: z * 10, {"units": ("decimetre",)}),
        (lambda z: z, {"units": ("metre",)}),
    ],
)
def test_scale_offset_and_unit_that_a_file_states_are_heeded(tmp_path, stored, how):
    path = tiff(tmp_path / "dem.tif", stored(plane(dtype="float64")).astype("float32"))
    with rasterio.open(path, "r+") as file:
        file.update_tags(**how.pop("tags", {}))
        for name, value in how.items():
            setattr(file, name, value)
    np.testing.assert_allclose(open_elevation(path), plane(), atol=0.01)


def test_a_unit_can_be_declared_and_an_unknown_one_is_refused(tmp_path):
    path = tiff(tmp_path / "dem.tif", (plane(dtype="float64") / 0.3048).astype("float32"))
    np.testing.assert_allclose(open_elevation(path, units="ft"), plane(), atol=0.01)
    with rasterio.open(path, "r+") as file:
        file.units = ("K",)
    with pytest.raises(InputError, match=r"elevation: \{units: m\}") as raised:
        open_elevation(path)
    assert "'K'" in message(raised)
    np.testing.assert_allclose(open_elevation(path, units="ft"), plane(), atol=0.01)


def test_the_vertical_unit_of_a_compound_reference_system(tmp_path):
    values = (plane(dtype="float64") / 0.3048).astype("float32")
    path = tiff(tmp_path / "dem.tif", values, crs="EPSG:4326+8228")  # NAVD88 height in feet
    dem = open_elevation(path)
    np.testing.assert_allclose(dem, plane(), atol=0.01)
    assert dem.rio.crs.to_epsg() == 4326


def test_high_feet_without_a_unit_are_no_voids(tmp_path):
    path = tiff(tmp_path / "dem.tif", (plane() / 0.3048).astype("float32"))
    with pytest.raises(InputError, match="look like feet") as raised:
        open_elevation(path).load()
    assert "elevation: {units: ft}" in message(raised)


@pytest.mark.parametrize(
    ("crs", "says"),
    [
        ("EPSG:4807", "grad"),  # NTF (Paris)
        ('GEOGCS["x",DATUM["d",SPHEROID["s",6378137,298.257]],PRIMEM["Paris",2.33722917],'
         'UNIT["degree",0.0174532925199433]]', "Paris"),
        ('LOCAL_CS["site grid",UNIT["metre",1]]', "site grid"),
    ],
)  # fmt: skip
def test_reference_systems_that_cannot_be_used(tmp_path, crs, says):
    with pytest.raises(InputError) as raised:
        open_elevation(tiff(tmp_path / "dem.tif", plane(), crs=crs))
    assert says in message(raised)


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


# --- as it was delivered


def test_counts_and_masks_beside_the_tiles_are_not_read(tmp_path):
    """ASTGTM and Copernicus deliver them in the same or the next folder; their names sort before or after."""
    values = plane()
    values[2, 3] = -9999
    tiff(tmp_path / "ASTGTMV003_N46E010_dem.tif", values, nodata=-9999)
    tiff(tmp_path / "ASTGTMV003_N46E010_num.tif", np.full((6, 8), 12, "int16"))
    with pytest.warns(UserWarning, match=r"1 file.*N46E010_num\.tif"):
        dem = open_elevation(tmp_path / "*.tif")
    assert np.isnan(dem[2, 3])
    assert float(np.nanmin(dem)) == 3000
    with pytest.raises(InputError, match=r"counts, masks or qualities"):
        open_elevation(tmp_path / "*_num.tif")


@pytest.mark.parametrize("pack", [None, "zip", "tar", "tar.gz"])
def test_a_delivery_of_copernicus_as_folder_or_archive(tmp_path, pack):
    name = "Copernicus_DSM_COG_10_N46_00_E010_00"
    top = tmp_path / "in" / name
    for folder in ("AUXFILES", "DEM", "PREVIEW"):
        (top / folder).mkdir(parents=True)
    for part in ("EDM", "FLM", "HEM", "WBM"):
        tiff(top / "AUXFILES" / f"{name}_{part}.tif", np.ones((6, 8), "float32"))
    tiff(top / "DEM" / f"{name}_DEM.tif", plane(dtype="float32"))
    tiff(top / "PREVIEW" / f"{name}_QL.tif", np.ones((6, 8), "float32"))
    (top / "DEM" / "readme.txt").write_text("x")
    given = tmp_path / "in"
    if pack:
        kind = {"zip": "zip", "tar": "tar", "tar.gz": "gztar"}[pack]
        given = shutil.make_archive(str(tmp_path / "delivery"), kind, tmp_path / "in")
    with pytest.warns(UserWarning, match=r"5 file.* and 1 more"):
        dem = open_elevation(given)
    np.testing.assert_array_equal(dem, plane())
    if pack is None:
        with pytest.warns(UserWarning, match="not read"):
            np.testing.assert_array_equal(open_elevation(tmp_path / "in" / "*" / "*" / "*.tif"), plane())


def test_columns_that_get_wider_towards_the_pole(tmp_path):
    """Copernicus: one factor for each band of latitude; pixels are centred on the degrees."""

    def height(lon, lat):
        return (1000 + 500 * (lon - 8) + 300 * (lat - 60)).astype("float32")

    for lat, columns in ((59, 120), (60, 80)):
        for lon in (8, 9):
            dx, dy = 1 / columns, 1 / 120
            transform = Affine(dx, 0, lon - dx / 2, 0, -dy, lat + 1 + dy / 2)
            x, y = lon + dx * np.arange(columns), lat + 1 - dy * np.arange(120)
            name = f"Copernicus_DSM_COG_30_N{lat}_00_E00{lon}_00_DEM.tif"
            tiff(tmp_path / name, height(*np.meshgrid(x, y)), transform=transform)
    dem = open_elevation(tmp_path)
    assert dem.shape == (240, 240)
    found, expected = dem.values, height(*np.meshgrid(dem["x"], dem["y"]))
    missing = np.isnan(found)
    assert missing.sum(axis=1).max() <= 1
    inner = ~missing & (dem["x"].values < 9.98)  # the last half pixel repeats its neighbour
    np.testing.assert_allclose(found[inner], expected[inner], atol=3)
    np.testing.assert_array_equal(dem[10:30, 50:70], found[10:30, 50:70])
    assert tile_troubles(dem, outlines(a=(8.5, 60.9, 8.6, 61.2))) == {
        "a": "the tile Copernicus_DSM_COG_30_N61_00_E008_00_DEM.tif is missing"
    }
    across = terrain(dem, outlines(g=(8.4, 59.8, 8.6, 60.2))).isel(glacier=0)
    assert float(across["elevation_coverage"]) == pytest.approx(1)
    assert float(across["elevation_mean"]) == pytest.approx(1250, abs=2)


def hgt(path, south, west, heights):
    """A tile of SRTM3: 1201 x 1201, big-endian, points on the degrees."""
    path.write_bytes(np.asarray(heights).astype(">i2").tobytes())
    return path


def test_srtm_tiles_plain_zipped_and_with_their_neighbours(tmp_path):
    west = np.add.outer(3 * np.arange(1201), np.arange(1201))
    east = np.add.outer(3 * np.arange(1201), 1200 + np.arange(1201))
    hgt(tmp_path / "N46E010.hgt", 46, 10, west)
    hgt(tmp_path / "n46e011.hgt", 46, 11, east)
    with zipfile.ZipFile(tmp_path / "NASADEM_HGT_n46e011.zip", "w") as file:
        file.write(tmp_path / "n46e011.hgt", "n46e011.hgt")
        file.write(tmp_path / "n46e011.hgt", "n46e011.num")
    with pytest.warns(UserWarning, match=r"n46e011\.num"):
        dem = open_elevation([tmp_path / "N46E010.hgt", tmp_path / "NASADEM_HGT_n46e011.zip"])
    assert dem.shape == (1201, 2401)
    np.testing.assert_array_equal(dem[::100, ::100], np.add.outer(3 * np.arange(1201), np.arange(2401))[::100, ::100])
    glaciers = outlines(here=(10.4, 46.4, 10.5, 46.5), across=(10.9, 46.4, 12.1, 46.5), north=(10.4, 47.1, 10.5, 47.2))
    assert tile_troubles(dem, glaciers) == {
        "across": "the tile N46E012.hgt is missing",
        "north": "the tile N47E010.hgt is missing",
    }


def test_patterns_in_a_folder_with_brackets_and_below_it(tmp_path):
    folder = tmp_path / "\u00d6tztal [2020] \u00e9" / "a" / "b"
    folder.mkdir(parents=True)
    tiff(folder / "x.tif", plane())
    top = folder.parent.parent
    for pattern in (folder / "x*.tif", top / "*" / "*" / "x.tif", top / "**" / "*.tif"):
        np.testing.assert_array_equal(open_elevation(pattern), plane())
    with pytest.raises(InputError, match=r"\[\[\]"):
        open_elevation(folder / "[y.tif")


def test_a_folder_or_archive_without_elevations(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "readme.zip").write_bytes(b"PK")
    for name in ("empty", "readme.zip"):
        with pytest.raises(InputError, match=name) as raised:
            open_elevation(tmp_path / name)
        message(raised)


def test_files_over_each_other_that_hold_different_things(tmp_path):
    """An unknown companion: only the values tell."""
    tiff(tmp_path / "a_uncertainty.tif", np.full((6, 8), 0.7, "float32"))
    tiff(tmp_path / "z.tif", plane(dtype="float32"))
    with pytest.raises(InputError, match=r"median difference of 30\d\d m") as raised:
        open_elevation(tmp_path / "*.tif")
    assert "z.tif" in message(raised)
    tiff(tmp_path / "a_uncertainty.tif", plane(dtype="float32") + 3)  # a model of another year
    assert float(open_elevation(tmp_path / "*.tif")[0, 0]) == 3003


def test_eight_bits_are_no_elevations(tmp_path):
    tiff(tmp_path / "shade.tif", np.full((6, 8), 200, "uint8"))
    with pytest.raises(InputError, match="uint8"):
        open_elevation(tmp_path / "shade.tif")
    tiff(tmp_path / "z.tif", plane())
    with pytest.warns(UserWarning, match=r"8-bit.*shade\.tif"):
        np.testing.assert_array_equal(open_elevation(tmp_path / "*.tif"), plane())


def test_a_damaged_tile_fails_its_glaciers_only(tmp_path):
    step = 1 / 20
    for lon in (10, 11):
        transform = Affine(step, 0, lon, 0, -step, 47)
        tiff(tmp_path / f"ASTGTMV003_N46E0{lon}_dem.tif", plane(20, 20), transform=transform)
    (tmp_path / "ASTGTMV003_N46E011_dem.tif").write_bytes(b"II*\x00 no raster")
    with pytest.warns(UserWarning, match=r"1 of 2 file\(s\) cannot be read.*N46E011"):
        dem = open_elevation(tmp_path / "*.tif")
    glaciers = outlines(a=(10.3, 46.3, 10.5, 46.5), b=(11.3, 46.3, 11.5, 46.5), c=(10.3, 45.3, 10.5, 45.5))
    failures = without_elevation(terrain(dem, glaciers), 0.5, tile_troubles(dem, glaciers))
    reasons = {f.glacier: f.reason for f in failures}
    assert sorted(reasons) == ["b", "c"]
    assert "ASTGTMV003_N46E011_dem.tif cannot be read" in reasons["b"]
    assert "the tile ASTGTMV003_N45E010_dem.tif is missing" in reasons["c"]


def test_a_tile_that_is_lost_while_it_is_read_fails_its_glaciers_only(tmp_path):
    values = plane(6, 16)
    for k in range(2):
        tiff(tmp_path / f"{k}.tif", values[:, 8 * k : 8 * k + 8], west=WEST + 8 * k * STEP)
    dem = open_elevation(tmp_path / "*.tif")
    (tmp_path / "1.tif").write_bytes(b"")
    box = (WEST + 0.012, NORTH - 0.048, WEST + 0.038, NORTH - 0.012)
    glaciers = outlines(a=box, b=(box[0] + 0.1, box[1], box[2] + 0.1, box[3]))
    found = terrain(dem, glaciers)
    (failure,) = without_elevation(found, 0.5)
    assert failure.glacier == "b"
    assert "1.tif" in failure.reason
    with pytest.raises(InputError, match=r"1\.tif"):
        terrain(dem, glaciers.loc[["b"]])


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


def test_warnings_stay_back_until_the_last_thread_leaves_and_then_come_again():
    entered, left = threading.Event(), threading.Event()

    def second():
        with quiet():
            entered.set()
            assert left.wait(5)
            warnings.warn("of a library", stacklevel=1)

    before = list(warnings.filters)
    with ThreadPoolExecutor(1) as pool:
        with quiet():
            running = pool.submit(second)
            assert entered.wait(5)
        left.set()
        running.result()
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)
