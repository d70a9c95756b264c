"""Albedo in every layout in which it is delivered, written here as small files whose values are known."""

from __future__ import annotations

import dask
import geopandas as gpd
import h5py
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import xarray as xr
from rasterio.transform import Affine

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.albedo import open_albedo, open_codes
from glacmb_grid.inputs.albedo.codes import require_bright
from glacmb_grid.inputs.albedo.layers import layer_of, product_of
from glacmb_grid.sampling.zonal import overlap_weights, sample
from glacmb_grid.synthetic.sinusoidal import write_eos

SNOW = "Snow_Albedo_Daily_Tile"
BSA, BSA_QUALITY = "Albedo_BSA_shortwave", "BRDF_Albedo_Band_Mandatory_Quality_shortwave"
TILE = 1111950.5196666666
WEST, NORTH, STEP = 10.7, 46.9, 0.01


def tiff(path, *bands, nodata=None, west=WEST, north=NORTH, scale=None, tags=None, descriptions=(), crs="EPSG:4326"):
    values = np.array(bands)
    options = {"count": len(values), "height": values.shape[1], "width": values.shape[2], "dtype": values.dtype}
    where = Affine(STEP, 0, west, 0, -STEP, north)
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=where, nodata=nodata, **options) as file:
        file.write(values)
        if scale is not None:
            file.scales = (scale,) * len(values)
        if tags:
            file.update_tags(**tags)
        for band, text in enumerate(descriptions, 1):
            file.set_band_description(band, text)
    return path


def grid_text(h, v, size):
    left, top = -20015109.354 + h * TILE, 10007554.677 - v * TILE
    return (
        f'GROUP=GRID_1\n\tGridName="MOD_Grid"\n\tXDim={size}\n\tYDim={size}\n'
        f"\tUpperLeftPointMtrs=({left:.6f},{top:.6f})\n\tLowerRightMtrs=({left + TILE:.6f},{top - TILE:.6f})\n"
        "\tProjection=GCTP_SNSOID\n\tProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)\n"
    )


def hdf4(folder, layers, *, product="MOD10A1", day="2010152", h=18, v=4, name=None, attrs=None):
    """A whole tile as the agency writes it, with fewer pixels; layers by name, (y, x)."""
    pytest.importorskip("pyhdf.SD")
    granule = f"{product}.A{day}.h{h:02d}v{v:02d}.061.{day}123456.hdf"
    path, grid = folder / (name or granule), "MOD_Grid_BRDF" if product == "MCD43A3" else "MOD_Grid_Snow_500m"
    left, top = -20015109.354 + h * TILE, 10007554.677 - v * TILE
    write_eos(path, layers, (left, top, left + TILE, top - TILE), product, grid, attrs or {}, granule)
    return path


def square(value, size=4, dtype="uint8"):
    return np.full((size, size), value, dtype)


def seen(found, day=0):
    return found["albedo"].isel(time=day).values


def message(raised) -> str:
    text = str(raised.value)
    for part in ("expected:", "found:", "remedy:"):
        assert part in text
    return text


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "layer", "product"),
    [
        ("MOD10A1.061_Snow_Albedo_Daily_Tile_doy2010152000000_aid0001.tif", SNOW, "MOD10A1"),
        ("MYD10A1.061_NDSI_Snow_Cover_doy2010152_aid0001.tif", "NDSI_Snow_Cover", "MYD10A1"),
        ("MOD10A1.061_NDSI_doy2010152_aid0001.tif", "NDSI", "MOD10A1"),
        ("MOD10A1.061_NDSI_Snow_Cover_Basic_QA_doy2010152_aid0001.tif", "NDSI_Snow_Cover_Basic_QA", "MOD10A1"),
        ("MCD43A3.061_Albedo_BSA_shortwave_doy2010152000000_aid0001.tif", BSA, "MCD43A3"),
        ("MCD43A3.061_Albedo_WSA_Band3_doy2010152000000_aid0001.tif", "Albedo_WSA_Band3", "MCD43A3"),
        (
            "MCD43A3.061_BRDF_Albedo_Band_Mandatory_Quality_shortwave_doy2010152000000_aid0001.tif",
            BSA_QUALITY,
            "MCD43A3",
        ),
        ("2010_06_01_Snow_Albedo_Daily_Tile", SNOW, ""),
        ("VNP10A1.002_NDSI_Snow_Cover_doy2010152.tif", "NDSI_Snow_Cover", "VNP10A1"),
        ("VNP43MA3.A2017199.h18v04.002.h5", "", "VNP43MA3"),
        ("b_doy2019182.tif", "", ""),
    ],
)
def test_layers_and_products_in_names(text, layer, product):
    assert layer_of(text) == layer
    assert product_of(text) == product


@pytest.mark.parametrize(
    "name",
    [
        f"MOD10A1.061_{SNOW}_doy2010152_aid0001.tif",
        f"MOD10A1.061_{SNOW}_doy2010152000000_aid0001.tif",
        f"2010_06_01_{SNOW}.tif",
        "snow_albedo_2010-06-01.tif",
        "MOD10A1_20100601.tif",
        "MOD10A1.A2010152.h18v04.061.2020123456789.tif",
    ],
)
def test_days_in_names(tmp_path, name):
    found = open_albedo(tiff(tmp_path / name, square(60)))
    assert str(found["time"].values[0])[:10] == "2010-06-01"
    assert seen(found).ravel()[0] == np.float32(0.6)


# --- no data, and layers that are no albedo --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nodata", "fill"), [(None, 0), (0, 0), (100, 100), (255, 255), (200, 200), (None, 255), (7, 7)]
)
def test_pixels_without_data_are_no_albedo(tmp_path, nodata, fill):
    values = square(60)
    values[:, :2] = fill
    ds = open_albedo(tiff(tmp_path / f"MOD10A1_{SNOW}_doy2010152.tif", values, nodata=nodata))
    frame = gpd.GeoDataFrame(index=["g"], geometry=[shapely.box(WEST, NORTH - 0.04, WEST + 0.04, NORTH)], crs=4326)
    found = sample(ds, overlap_weights(frame, ds)).compute()
    assert float(found["albedo"].squeeze()) == pytest.approx(0.6)
    assert float(found["albedo_coverage"].squeeze()) == pytest.approx(0.5)


@pytest.mark.parametrize(("dtype", "fill"), [("int16", -9999), ("float32", -9999), ("float32", np.nan), ("int16", 0)])
@pytest.mark.parametrize(("layer", "value"), [(SNOW, 60), (BSA, 600)])
@pytest.mark.filterwarnings("ignore:albedo.*no quality layer")
def test_fills_that_no_file_declares(tmp_path, dtype, fill, layer, value):
    values = square(value, dtype=dtype)
    values[0] = fill
    found = open_albedo(tiff(tmp_path / f"{layer}_doy2010152.tif", values))
    np.testing.assert_allclose(seen(found)[:, 0], [np.nan, 0.6, 0.6, 0.6], rtol=1e-6)


@pytest.mark.parametrize(("nodata", "expected"), [(None, np.nan), (0, np.nan), (255, 0.0)])
def test_a_zero_is_data_only_where_another_value_is_declared_for_no_data(tmp_path, nodata, expected):
    values = square(60)
    values[0, 0] = 0
    found = open_albedo(tiff(tmp_path / f"{SNOW}_doy2010152.tif", values, nodata=nodata))
    np.testing.assert_allclose(seen(found)[0], [expected, 0.6, 0.6, 0.6])


def test_land_and_cloud_stay_known_though_declared_as_nodata(tmp_path):
    values = np.array([[125, 150], [60, 255]], "uint8")
    found = open_albedo(tiff(tmp_path / f"{SNOW}_doy2010152.tif", values, nodata=150))
    assert found["cloud"].values[0].tolist() == [[0, 1], [0, 0]]
    assert found["land"].values[0].tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("name", "descriptions", "says"),
    [
        ("MOD10A1.061_NDSI_Snow_Cover_doy2010152_aid0001.tif", (), "NDSI_Snow_Cover"),
        ("MOD10A1.061_NDSI_doy2010152_aid0001.tif", (), "NDSI"),
        ("MOD10A1.061_NDSI_Snow_Cover_Basic_QA_doy2010152_aid0001.tif", (), "Basic_QA"),
        ("alps_2010-06-01.tif", ("NDSI_Snow_Cover",), "NDSI_Snow_Cover"),
        ("VNP10A1.002_NDSI_Snow_Cover_doy2010152_aid0001.tif", (), "VNP10A1, which holds snow cover only"),
        ("VJ110A1.002_CGF_doy2010152_aid0001.tif", (), "VJ110A1, which holds snow cover only"),
        ("MOD10A2.061_Maximum_Snow_Extent_doy2010152_aid0001.tif", (), "Maximum_Snow_Extent"),
        ("MCD12Q2.061_Greenup_1_doy2010152_aid0001.tif", (), "MCD12Q2"),
        ("MCD43A4.061_Nadir_Reflectance_Band1_doy2010152_aid0001.tif", (), "Nadir_Reflectance_Band1"),
        ("MCD43A3_2010_06_01.tif", (), "MCD43A3, but no layer"),
    ],
)
def test_layers_that_are_no_albedo_are_refused(tmp_path, name, descriptions, says):
    path = tiff(tmp_path / name, square(60), descriptions=descriptions)
    with pytest.raises(InputError) as raised:
        open_albedo(path)
    assert says in message(raised)


def test_snow_cover_under_the_name_of_albedo_is_betrayed_by_its_codes(tmp_path):
    values = square(60)
    values[0, 0] = 237
    with pytest.raises(InputError, match="NDSI_Snow_Cover"):
        open_albedo(tiff(tmp_path / "MOD10A1_2010_06_01.tif", values)).load()
    path = tiff(tmp_path / f"{SNOW}_2010_06_02.tif", square(60), descriptions=["NDSI_Snow_Cover"])
    with pytest.raises(InputError, match="description"):
        open_albedo(path).load()


def test_of_several_layers_in_a_folder_the_albedo_is_read_and_its_quality(tmp_path):
    for layer, values in ((SNOW, square(60)), ("NDSI_Snow_Cover", square(90))):
        tiff(tmp_path / f"MOD10A1.061_{layer}_doy2010152_aid0001.tif", values)
    quality = np.array([[0, 1, 2, 3]] * 4, "uint8")
    tiff(tmp_path / "MOD10A1.061_NDSI_Snow_Cover_Basic_QA_doy2010152_aid0001.tif", quality, nodata=255)
    with pytest.warns(UserWarning, match="NDSI_Snow_Cover are left out"):
        found = open_albedo(tmp_path / "*.tif")
    np.testing.assert_allclose(seen(found)[0], [0.6, 0.6, 0.6, np.nan])
    with pytest.warns(UserWarning, match="left out"):
        found = open_albedo(tmp_path / "*.tif", quality="best")
    np.testing.assert_allclose(seen(found)[0], [0.6, np.nan, np.nan, np.nan])


@pytest.mark.filterwarnings("ignore:albedo.*no quality layer")
def test_several_albedo_layers_are_a_choice(tmp_path):
    for layer, value in ((BSA, 600), ("Albedo_WSA_shortwave", 500), ("Albedo_WSA_vis", 400)):
        tiff(tmp_path / f"MCD43A3.061_{layer}_doy2010152_aid0001.tif", square(value, dtype="int16"), nodata=32767)
    with pytest.warns(UserWarning, match="WSA"):
        assert seen(open_albedo(tmp_path / "*.tif"))[0, 0] == np.float32(0.6)
    with pytest.warns(UserWarning, match="BSA"):
        assert seen(open_albedo(tmp_path / "*.tif", layer="Albedo_WSA_shortwave"))[0, 0] == np.float32(0.5)
    with pytest.raises(InputError, match="Albedo_WSA_vis"):
        open_albedo(tmp_path / "*WSA*.tif")
    with pytest.raises(InputError, match="Albedo_WSA_nir"):
        open_albedo(tmp_path / "*.tif", layer="Albedo_WSA_nir")


# --- scale -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "factor", "scale"),
    [
        ("uint8", 1, None),
        ("uint8", 1, 0.01),
        ("int16", 1, None),
        ("float32", 1, None),
        ("float32", 0.01, None),
        ("float64", 0.01, None),
    ],
)
def test_percent_codes_and_fractions_of_them_mean_the_same(tmp_path, dtype, factor, scale):
    values = (np.array([[60, 125], [150, 255]]) * factor).astype(dtype)
    found = open_albedo(tiff(tmp_path / f"{SNOW}_doy2010152.tif", values, scale=scale))
    np.testing.assert_allclose(seen(found), [[0.6, np.nan], [np.nan, np.nan]])
    assert found["land"].values[0].tolist() == [[0, 1], [0, 0]]
    assert found["cloud"].values[0].tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("values", "options"),
    [
        (square(600, dtype="int16"), {"tags": {"scale_factor": "0.001", "add_offset": "0"}}),
        (square(600, dtype="int16"), {"tags": {"scale_factor": "1.0", "add_offset": "0"}}),
        (square(600, dtype="int16"), {}),
        (square(600, dtype="int16"), {"scale": 0.001}),
        (square(6000, dtype="int16"), {"scale": 0.0001}),
        (square(0.6, dtype="float32"), {}),
        (square(600, dtype="float32"), {}),
    ],
)
def test_the_scale_of_mcd43a3_may_stand_in_the_band_the_tags_or_nowhere(tmp_path, values, options):
    values[0, 0] = 0
    path = tiff(tmp_path / f"MCD43A3.061_{BSA}_doy2010152_aid0001.tif", values, nodata=32767, **options)
    with pytest.warns(UserWarning, match="no quality layer"):
        found = open_albedo(path)
    assert np.isnan(seen(found)[0, 0]), "a masked pixel of an export"
    np.testing.assert_allclose(seen(found)[1:], 0.6, rtol=1e-6)
    assert found["cloud"].isnull().all(), "this product tells no clouds"


@pytest.mark.parametrize(
    ("layer", "values", "options", "says"),
    [
        (SNOW, square(60), {"scale": 0.5}, "a scale of 0.5"),
        (SNOW, square(6000, dtype="int16"), {}, "values up to 6000"),
        (BSA, square(600, dtype="int16"), {"scale": 0.1}, "a scale of 0.1"),
    ],
)
@pytest.mark.filterwarnings("ignore:albedo")
def test_another_scale_is_refused(tmp_path, layer, values, options, says):
    with pytest.raises(InputError) as raised:
        open_albedo(tiff(tmp_path / f"{layer}_doy2010152.tif", values, **options)).load()
    assert says in message(raised)


# --- Earth Engine ----------------------------------------------------------------------------------------------------


def test_bands_whose_descriptions_are_days(tmp_path):
    names = [f"2010_06_0{d}_{SNOW}" for d in (1, 2, 3)]
    path = tiff(tmp_path / "alps.tif", square(40), square(50), square(0), descriptions=names)
    found = open_albedo(path)
    assert [str(t)[:10] for t in found["time"].values] == ["2010-06-01", "2010-06-02", "2010-06-03"]
    np.testing.assert_allclose(found["albedo"].values[:, 0, 0], [0.4, 0.5, np.nan])


def test_bands_whose_descriptions_are_layers(tmp_path):
    names = ["NDSI_Snow_Cover", "NDSI_Snow_Cover_Basic_QA", SNOW]
    path = tiff(tmp_path / "MOD10A1_2010_06_01.tif", square(90), square(0), square(60), descriptions=names)
    np.testing.assert_allclose(seen(open_albedo(path)), 0.6)


def test_an_export_in_parts_is_put_together(tmp_path):
    for column, value in ((0, 40), (1, 80)):
        name = f"MOD10A1_{SNOW}_2010_06_01-0000000000-000000000{4 * column}.tif"
        tiff(tmp_path / name, square(value), west=WEST + column * 4 * STEP)
    found = open_albedo(tmp_path / "*.tif")
    assert found.sizes == {"time": 1, "y": 4, "x": 8}
    np.testing.assert_allclose(seen(found)[0], [0.4] * 4 + [0.8] * 4)


def test_rasters_of_overlapping_areas_are_refused(tmp_path):
    for number in (0, 1):
        tiff(tmp_path / f"{number}_{SNOW}_2010_06_01.tif", square(40), west=WEST + number * STEP)
    with pytest.raises(InputError, match="overlap"):
        open_albedo(tmp_path / "*.tif")


# --- HDF4 tiles ------------------------------------------------------------------------------------------------------


def test_tiles_lie_where_the_sinusoidal_grid_puts_them(tmp_path):
    """Every pixel of two tiles holds its own number; a point in one is found by the projection's own formula."""
    size = 8
    for h, base in ((18, 1), (19, 33)):
        numbers = (base + np.arange(size * size) // 2).reshape(size, size).astype("uint8")
        hdf4(tmp_path, {SNOW: numbers, "NDSI_Snow_Cover": numbers}, h=h)
    ds = open_albedo(tmp_path / "*.hdf")
    assert ds.sizes == {"time": 1, "y": size, "x": 2 * size}
    longitude, latitude = 15.2, 46.9
    x = 6371007.181 * np.radians(longitude) * np.cos(np.radians(latitude))
    y = 6371007.181 * np.radians(latitude)
    column, row = int((x - 0.0) // (TILE / size)), int((10007554.677 - 4 * TILE - y) // (TILE / size))
    assert column >= size, "on the second tile, which begins at 15.2 degrees east of the first here"
    expected = 33 + ((row * size) + column - size) // 2
    box = gpd.GeoDataFrame(index=["g"], geometry=[shapely.Point(longitude, latitude).buffer(0.01)], crs=4326)
    found = sample(ds, overlap_weights(box, ds)).compute()
    assert float(found["albedo"].squeeze()) == pytest.approx(expected / 100)


def test_aqua_fills_what_terra_did_not_see(tmp_path):
    codes = {"MOD10A1": [60, 150, 150, 255], "MYD10A1": [50, 40, 125, 150]}
    for product, row in codes.items():
        hdf4(tmp_path, {SNOW: np.array([row] * 4, "uint8")}, product=product)
    hdf4(tmp_path, {SNOW: square(70)}, product="MYD10A1", day="2010153")
    found = open_albedo(tmp_path / "*.hdf")
    np.testing.assert_allclose(seen(found)[0], [0.6, 0.4, np.nan, np.nan])
    assert found["land"].values[0, 0].tolist() == [0, 0, 1, 0]
    assert found["cloud"].values[0, 0].tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(seen(found, 1), 0.7)


def test_a_tile_missing_on_one_day_is_a_gap_there_only(tmp_path):
    for h, day in ((18, "2010152"), (19, "2010152"), (19, "2010153")):
        hdf4(tmp_path, {SNOW: square(60)}, h=h, day=day)
    found = open_albedo(tmp_path / "*.hdf")
    np.testing.assert_allclose(seen(found)[0], 0.6)
    np.testing.assert_allclose(seen(found, 1)[0], [np.nan] * 4 + [0.6] * 4)
    assert not found["cloud"].any()


def test_the_quality_layer_of_mod10a1(tmp_path):
    quality = np.array([[0, 2, 3, 211]] * 4, "uint8")
    hdf4(tmp_path, {SNOW: square(60), "NDSI_Snow_Cover_Basic_QA": quality, "NDSI": square(9000, dtype="int16")})
    np.testing.assert_allclose(seen(open_albedo(tmp_path / "*.hdf"))[0], [0.6, 0.6, np.nan, np.nan])


@pytest.mark.parametrize(("quality", "expected"), [("usable", [0.6, 0.6, np.nan]), ("best", [0.6, np.nan, np.nan])])
def test_mcd43a3_with_its_mandatory_quality(tmp_path, quality, expected):
    layers = {
        BSA_QUALITY: np.array([[0, 1, 255]] * 3, "uint8"),
        "BRDF_Albedo_Band_Mandatory_Quality_Band1": square(1, 3),
        BSA: square(600, 3, "int16"),
        "Albedo_WSA_shortwave": square(500, 3, "int16"),
    }
    layers[BSA][1] = 32767
    attrs = {BSA: {"_FillValue": 32767, "scale_factor": 0.001, "add_offset": 0.0}, BSA_QUALITY: {"_FillValue": 255}}
    hdf4(tmp_path, layers, product="MCD43A3", attrs=attrs)
    found = open_albedo(tmp_path / "*.hdf", quality=quality)
    np.testing.assert_allclose(seen(found)[0], expected)
    assert np.isnan(seen(found)[1]).all()
    white = open_albedo(tmp_path / "*.hdf", layer="Albedo_WSA_shortwave", quality=quality)
    assert seen(white)[0, 0] == np.float32(0.5)


def test_a_tile_under_another_name_is_known_by_its_content(tmp_path):
    found = open_albedo(hdf4(tmp_path, {SNOW: square(60)}, name="some.nc"))
    assert str(found["time"].values[0])[:10] == "2010-06-01"
    np.testing.assert_allclose(seen(found), 0.6)


def test_parts_of_neighbouring_tiles_lie_side_by_side(tmp_path):
    """As services cut them: the western part begins in the last tenth of its tile, nearer to the next one's corner."""
    size = 4 * TILE / 2400
    for h, first, value in ((18, 2396, 60), (19, 0, 40)):
        left, top = -20015109.354 + h * TILE + first * TILE / 2400, 10007554.677 - 4 * TILE
        path = tmp_path / f"MOD10A1.A2010152.h{h}v04.061.2010152123456.hdf"
        write_eos(
            path, {SNOW: square(value)}, (left, top, left + size, top - size), "MOD10A1", "MOD_Grid_Snow_500m", {}
        )
    np.testing.assert_allclose(seen(open_albedo(tmp_path / "*.hdf"))[0], [0.6] * 4 + [0.4] * 4)


def test_damaged_and_doubled_tiles(tmp_path):
    path = hdf4(tmp_path, {SNOW: square(60)})
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="with several"):
        open_albedo([tmp_path / "*.hdf", tmp_path / "copy" / "*.hdf"])
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match=r"h18v04.*HDF4|HDF4"):
        open_albedo(path)


def test_products_are_not_mixed(tmp_path):
    hdf4(tmp_path, {SNOW: square(60)})
    hdf4(tmp_path, {BSA: square(600, dtype="int16")}, product="MCD43A3")
    with pytest.raises(InputError, match=r"albedo: \{layer"):
        open_albedo(tmp_path / "*.hdf")


# --- NetCDF and HDF-EOS5 ---------------------------------------------------------------------------------------------


def appeears(path, name, values, *, fill, geographic=True, **attrs):
    """As AppEEARS writes it: days since 2000 in the calendar `julian`, a grid mapping `crs`."""
    dims = ("time", "lat", "lon") if geographic else ("time", "ydim", "xdim")
    shape = values.shape
    if geographic:
        y, x = NORTH - STEP * (np.arange(shape[1]) + 0.5), WEST + STEP * (np.arange(shape[2]) + 0.5)
    else:
        y, x = 5.2e6 - 463.3 * np.arange(shape[1]), 8.0e5 + 463.3 * np.arange(shape[2])
    sinusoidal = pyproj.CRS.from_user_input("+proj=sinu +R=6371007.181 +units=m")
    mapping = {"grid_mapping_name": "latitude_longitude"} if geographic else sinusoidal.to_cf()
    time = ("time", np.arange(shape[0]) + 3804, {"units": "days since 2000-01-01 00:00:00", "calendar": "julian"})
    ds = xr.Dataset(
        {name: (dims, values, {"grid_mapping": "crs", **attrs}), "crs": ((), np.int8(0), mapping)},
        coords={"time": time, dims[1]: y, dims[2]: x},
    )
    ds.to_netcdf(path, encoding={name: {"_FillValue": fill}})
    return path


@pytest.mark.parametrize("geographic", [True, False])
def test_netcdf_of_appeears(tmp_path, geographic):
    values = np.stack([square(60), square(255), square(125)])
    path = appeears(tmp_path / "MOD10A1.061_aid0001.nc", SNOW, values, fill=np.uint8(255), geographic=geographic)
    found = open_albedo(path)
    assert [str(t)[:10] for t in found["time"].values] == ["2010-06-01", "2010-06-02", "2010-06-03"]
    np.testing.assert_allclose(found["albedo"].values[:, 1, 1], [0.6, np.nan, np.nan])
    assert found["land"].values[:, 0, 0].tolist() == [0, 0, 1]
    assert bool(found.rio.crs.is_geographic) is geographic
    if geographic:
        np.testing.assert_allclose([found["y"].values[0], found["x"].values[0]], [NORTH - STEP / 2, WEST + STEP / 2])


def test_many_days_of_netcdf_are_read_by_many_threads(tmp_path):
    """The NetCDF library crashes the process where two threads open files."""
    days = np.arange(150)
    values = np.stack([square(1 + d % 100) for d in days])
    path = appeears(tmp_path / "MOD10A1.061_aid0001.nc", SNOW, values, fill=np.uint8(255))
    with dask.config.set(scheduler="threads", num_workers=8):
        found = open_albedo(path)["albedo"].load()
    np.testing.assert_allclose(found.values[:, 1, 1], (1 + days % 100) / 100)


def test_netcdf_of_mcd43a3(tmp_path):
    values = np.stack([square(600, dtype="int16"), square(32767, dtype="int16")])
    options = {"fill": np.int16(32767), "scale_factor": 0.001, "add_offset": 0.0}
    path = appeears(tmp_path / "MCD43A3.061_aid0001.nc", BSA, values, **options)
    with pytest.warns(UserWarning, match="no quality layer"):
        found = open_albedo(path)
    np.testing.assert_allclose(found["albedo"].values[:, 0, 0], [0.6, np.nan])


def test_netcdf_of_snow_cover_is_refused(tmp_path):
    path = appeears(tmp_path / "MOD10A1.061_aid0001.nc", "NDSI_Snow_Cover", square(60)[None], fill=np.uint8(255))
    with pytest.raises(InputError, match="NDSI_Snow_Cover, which is no albedo"):
        open_albedo(path)


def viirs(path, product, layers):
    with h5py.File(path, "w") as file:
        file.attrs["ShortName"] = np.bytes_(product)
        for name, values in layers.items():
            file[f"HDFEOS/GRIDS/VIIRS_Grid/Data Fields/{name}"] = values
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(grid_text(18, 4, 4).replace("GCTP_", "HE5_GCTP_"))
    return path


def test_viirs_albedo_is_read_and_viirs_snow_cover_refused(tmp_path):
    path = viirs(tmp_path / "VNP10A1.A2017199.h18v04.002.h5", "VNP10A1", {"NDSI_Snow_Cover": square(60)})
    with pytest.raises(InputError, match="VNP10A1, which holds snow cover only, no albedo"):
        open_albedo(path)
    layers = {BSA: square(600, dtype="int16"), BSA_QUALITY: square(0)}
    found = open_albedo(viirs(tmp_path / "VNP43MA3.A2017199.h18v04.002.h5", "VNP43MA3", layers))
    np.testing.assert_allclose(seen(found), 0.6)
    assert str(found["time"].values[0])[:10] == "2017-07-18"


# --- both sides of the equator, and real files -----------------------------------------------------------------------


@pytest.mark.parametrize(("north", "side"), [(46.9, "north"), (-33.0, "south"), (0.02, "both")])
def test_the_hemisphere_is_known(tmp_path, north, side):
    path = tiff(tmp_path / f"{SNOW}_doy2010152.tif", square(60), north=north)
    assert open_codes(path).attrs["hemisphere"] == side


@pytest.mark.real
def test_real_tiles(real_data):
    pyhdf = pytest.importorskip("pyhdf.SD")
    folder = real_data / "agency_files"
    with pytest.raises(InputError, match="Maximum_Snow_Extent, which is no albedo"):
        open_albedo(folder / "MOD10A2*.hdf")
    (path,) = folder.glob("MCD43A3*.hdf")
    ds = open_albedo(path)
    assert str(ds["time"].values[0])[:10] == "2017-07-18"
    assert float(ds["x"][0]) == pytest.approx(-3335851.559 + 463.3127165279 / 2)
    file = pyhdf.SD(str(path))
    stored, quality = file.select(BSA)[:], file.select(BSA_QUALITY)[:]
    file.end()
    good = (stored != 32767) & (stored > 0) & (stored <= 1000) & (quality <= 1)
    found = seen(ds)
    np.testing.assert_array_equal(np.isfinite(found), good)
    np.testing.assert_allclose(found[good], stored[good] / 1000, rtol=1e-6)
    assert 0 < good.mean() < 1


def test_glaciers_darker_than_debris_are_a_scale_applied_twice():
    require_bright(np.array([0.12, np.nan, 0.3]), "x")
    require_bright(np.array([np.nan]), "x")
    with pytest.raises(InputError, match="scale was applied twice"):
        require_bright(np.array([0.006, np.nan, 0.004]), "x")
