"""One small world in every format that an input may have, from its files to the product, beside the plain one.

Four glaciers under cells of 0.1 degree; albedo is one number for each glacier and day, so that it is the same on every
grid, and heights are whole metres at the postings of 3 arc-seconds that all elevation models share. What differs
between formats is their precision, and that the product's tolerance says.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import geopandas as gpd
import h5py
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
import yaml

from glacmb_grid.config import load_config
from glacmb_grid.synthetic.files import write_invariant, write_variable
from glacmb_grid.synthetic.observations import BALANCE_COLUMNS, GLACIER_COLUMNS, Fog
from glacmb_grid.synthetic.rasters import write_dem, write_dem_tiles, write_scene
from glacmb_grid.synthetic.reanalysis import Reanalysis
from glacmb_grid.synthetic.release import write_fog, write_release
from glacmb_grid.synthetic.sinusoidal import day_of_year, windows, write_eos, write_tiles
from glacmb_grid.synthetic.terrain import Grid
from glacmb_grid.workflow.runner import run

pytestmark = pytest.mark.slow

POSTING = 3 / 3600
PLACES = [(10.58, 46.62), (10.68, 46.78), (10.78, 46.66), (10.88, 46.84)]
YEARS = range(2001, 2005)
MONTHS = np.arange("2000-10", "2004-10", dtype="datetime64[M]")
CELLS = Grid(10.45, 46.95, 0.1, 5, 6)
POSTINGS = Grid(10.5 - POSTING / 2, 46.9 + POSTING / 2, POSTING, 420, 500)
PIXELS = Grid(10.5, 46.9, 0.005, 70, 90)
DAYS = [np.datetime64(f"{y}-{m}-17") for y in YEARS for m in ("06", "07", "08")]
SNOW, BSA = "Snow_Albedo_Daily_Tile", "Albedo_BSA_shortwave"
EXACT, PACKED = 2e-5, 2e-3  # m w.e.: of single precision (GRIB: 24 bits); of 16 bits over the range of a variable


# --- the world -------------------------------------------------------------------------------------------------------


def fields():
    """Temperature, K, and precipitation, m a day, that differ by month, year and cell."""
    month, year = MONTHS.astype(int) % 12 + 1, MONTHS.astype(int) // 12
    anomaly = np.array([0.9, -0.7, 0.2, 1.1, -0.4, 0.5])[year % 6]
    warm = 270 - 11 * np.cos(2 * np.pi * (month - 1) / 12) + anomaly
    place = 0.6 * np.arange(CELLS.columns) - 0.8 * np.arange(CELLS.rows)[:, None]
    rain = 0.003 + 0.001 * np.cos(month) + 0.0004 * anomaly
    t2m, tp = warm[:, None, None] + place, rain[:, None, None] * (1 + 0.04 * place)
    return {"t2m": t2m.astype(np.float32), "tp": tp.astype(np.float32)}


def heights():
    row, column = np.indices(POSTINGS.shape)
    return np.rint(2900 + 0.8 * row + 120 * np.sin(column / 60) + 60 * np.cos(row / 35)).astype(np.int16)


def percent(day):
    """Albedo of a day, percent, one number for each glacier's band of longitudes, on the pixels."""
    number = np.clip(((PIXELS.longitude - 10.53) // 0.1).astype(int), 0, 3)
    year, month = (int(t) for t in str(day)[:7].split("-"))
    return np.broadcast_to((30 + 5 * number + 3 * (year % 3) - 2 * (month - 6)).astype(np.uint8), PIXELS.shape).copy()


def shapes():
    return [shapely.Point(p).buffer(0.02, quad_segs=3) for p in PLACES]


def fog():
    rng = np.random.default_rng(1)
    keys = [{"POLITICAL_UNIT": "AT", "NAME": f"GLACIER {n}", "WGMS_ID": f"{700 + n:05d}"} for n in range(4)]
    rows = [
        {**dict.fromkeys(BALANCE_COLUMNS, ""), **key, "YEAR": str(year), "LOWER_BOUND": "9999", "UPPER_BOUND": "9999"}
        | {"AREA": "5.0", "ANNUAL_BALANCE": str(round(rng.normal(-700, 400))), "ANNUAL_BALANCE_UNC": "200"}
        for key in keys
        for year in YEARS
    ]
    sites = [
        {**dict.fromkeys(GLACIER_COLUMNS, ""), **key, "LATITUDE": str(y), "LONGITUDE": str(x)}
        for key, (x, y) in zip(keys, PLACES, strict=True)
    ]
    return Fog(np.arange(4), np.full(4, 0.2), pd.DataFrame(rows), pd.DataFrame(sites))


# --- climate ---------------------------------------------------------------------------------------------------------


def new_store(folder):
    cube = Reanalysis(CELLS, MONTHS, fields(), np.full(CELLS.shape, 2600.0))
    write_invariant(folder / "invariant.nc", cube)
    for name in cube.fields:
        write_variable(folder / f"{name}.nc", name, cube)
    return {"files": ["t2m.nc", "tp.nc"]}


def zipped_store(folder):
    new_store(folder)
    with zipfile.ZipFile(folder / "download.nc", "w") as archive:
        for name in ("t2m", "tp"):
            archive.write(folder / f"{name}.nc", f"data_stream-moda_{name}.nc")
            (folder / f"{name}.nc").unlink()
    return {"files": "download.nc"}


def dataset():
    dims, unit = ("time", "latitude", "longitude"), {"t2m": "K", "tp": "m"}
    coords = {
        "time": MONTHS.astype("datetime64[ns]"),
        "latitude": ("latitude", np.round(CELLS.latitude, 4), {"units": "degrees_north"}),
        "longitude": ("longitude", np.round(CELLS.longitude, 4), {"units": "degrees_east"}),
    }
    return xr.Dataset({n: (dims, v, {"units": unit[n]}) for n, v in fields().items()}, coords)


def old_store(folder):
    """Classic NetCDF, 16 bits with scale and offset, hours since 1900, coordinates in single precision."""
    new_store(folder)
    ds = dataset()
    ds = ds.assign_coords({n: ds[n].astype(np.float32) for n in ("latitude", "longitude")})
    packing = {}
    for name, v in ds.data_vars.items():
        low, high = float(v.min()), float(v.max())
        packing[name] = {"dtype": "int16", "scale_factor": (high - low) / 65530, "add_offset": (high + low) / 2}
        packing[name] |= {"_FillValue": np.int16(-32767), "missing_value": np.int16(-32767)}
    time = {"time": {"units": "hours since 1900-01-01 00:00:00.0", "calendar": "gregorian", "dtype": "int32"}}
    ds.to_netcdf(folder / "old.nc", format="NETCDF3_64BIT", engine="netcdf4", encoding=packing | time)
    return {"files": "old.nc"}


def zarr(version):
    def write(folder):
        new_store(folder)
        dataset().to_zarr(folder / f"v{version}.zarr", zarr_format=version, consolidated=version == 2)
        return {"files": f"v{version}.zarr"}

    return write


def grib(edition):
    def write(folder):
        eccodes = pytest.importorskip("eccodes")
        new_store(folder)
        with (folder / "era5.grib").open("wb") as file:
            for name, values in fields().items():
                for month, field in zip(MONTHS.astype("datetime64[D]"), values, strict=True):
                    file.write(_message(eccodes, name, month, field, edition))
        return {"files": "era5.grib"}

    return write


def _message(eccodes, name, day, field, edition):
    """One month; precipitation begins at 18:00 of the day before, and edition 2 has it in kg m-2."""
    accumulated = name == "tp"
    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
    keys = {
        "centre": 98, "setLocalDefinition": 1, "localDefinitionNumber": 1, "class": "ea", "type": "an",
        "stream": "moda", "expver": "0001", "Ni": CELLS.columns, "Nj": CELLS.rows,
        "latitudeOfFirstGridPointInDegrees": round(CELLS.latitude[0], 4),
        "latitudeOfLastGridPointInDegrees": round(CELLS.latitude[-1], 4),
        "longitudeOfFirstGridPointInDegrees": round(CELLS.longitude[0], 4),
        "longitudeOfLastGridPointInDegrees": round(CELLS.longitude[-1], 4),
        "iDirectionIncrementInDegrees": 0.1, "jDirectionIncrementInDegrees": 0.1, "jScansPositively": 0,
        "dataDate": int(str(day - np.timedelta64(int(accumulated), "D")).replace("-", "")),
        "dataTime": 1800 * accumulated, "shortName": "tp" if accumulated else "2t", "bitsPerValue": 24,
    }  # fmt: skip
    for key, value in keys.items():
        eccodes.codes_set(handle, key, value)
    if accumulated:
        eccodes.codes_set(handle, "step", 12)
    eccodes.codes_set_values(handle, field.astype(float).ravel() * (1000 if accumulated and edition == 2 else 1))
    content = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return content


# --- albedo ----------------------------------------------------------------------------------------------------------


def appeears_geotiff(folder):
    for day in DAYS:
        write_scene(folder, day, "MOD10A1", percent(day), PIXELS)
    return {"files": "MOD10A1*.tif"}


def modis_tiles(folder):
    pytest.importorskip("pyhdf.SD")
    for day in DAYS:
        write_tiles(folder, day, "MOD10A1", percent(day), windows(PIXELS))
    return {"files": "MOD10A1*.hdf"}


def brdf_tiles(folder):
    """MCD43A3: thousandths, with their quality beside them."""
    pytest.importorskip("pyhdf.SD")
    (part,) = windows(PIXELS)
    true = json.loads((Path(__file__).parent / "records" / "modis.json").read_text())["MCD43A3"]["layers"]
    attributes = {n: {k: v for k, v in true[n]["attributes"].items() if k != "valid_range"} for n in true}
    for day in DAYS:
        layers = _brdf(part.cut(percent(day)))
        name = f"MCD43A3.A{day_of_year(day)}.h18v04.061.2025032120000.hdf"
        write_eos(folder / name, layers, part.corners, "MCD43A3", "MOD_Grid_BRDF", attributes)
    return {"files": "MCD43A3*.hdf"}


def _brdf(values):
    seen = values != 255
    return {
        "BRDF_Albedo_Band_Mandatory_Quality_shortwave": np.where(seen, 0, 255).astype(np.uint8),
        BSA: np.where(seen, 10 * values.astype(np.int16), 32767).astype(np.int16),
    }


def viirs_tiles(folder):
    """VNP43MA3: HDF-EOS5."""
    (part,) = windows(PIXELS)
    left, top, right, bottom = part.corners
    rows, columns = part.row.shape
    text = (
        f"XDim={columns}\nYDim={rows}\nUpperLeftPointMtrs=({left:.6f},{top:.6f})\n"
        f"LowerRightMtrs=({right:.6f},{bottom:.6f})\nProjection=HE5_GCTP_SNSOID\n"
        "ProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)\n"
    )
    for day in DAYS:
        with h5py.File(folder / f"VNP43MA3.A{day_of_year(day)}.h18v04.002.2025032120000.h5", "w") as file:
            file.attrs["ShortName"] = np.bytes_("VNP43MA3")
            file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(text)
            for name, values in _brdf(part.cut(percent(day))).items():
                data = file.create_dataset(f"HDFEOS/GRIDS/VIIRS_Grid_BRDF/Data Fields/{name}", data=values)
                data.attrs["_FillValue"] = np.array([255 if values.dtype == np.uint8 else 32767], values.dtype)
                if name == BSA:
                    data.attrs["scale_factor"], data.attrs["add_offset"] = np.array([0.001]), np.array([0.0])
    return {"files": "VNP43MA3*.h5"}


def appeears_netcdf(folder):
    days = [(d - np.datetime64("2000-01-01")) / np.timedelta64(1, "D") for d in DAYS]
    time = ("time", np.array(days), {"units": "days since 2000-01-01 00:00:00", "calendar": "julian"})
    values = (("time", "lat", "lon"), np.stack([percent(d) for d in DAYS]), {"grid_mapping": "crs"})
    crs = ((), np.int8(0), {"grid_mapping_name": "latitude_longitude"})
    ds = xr.Dataset({SNOW: values, "crs": crs}, {"time": time, "lat": PIXELS.latitude, "lon": PIXELS.longitude})
    ds.to_netcdf(folder / "MOD10A1.061_500m_aid0001.nc", encoding={SNOW: {"_FillValue": np.uint8(255)}})
    return {"files": "MOD10A1*.nc"}


def earth_engine(folder):
    """One image with a band for each day; pixels that were masked are 0."""
    place = rasterio.Affine(PIXELS.step, 0, PIXELS.west, 0, -PIXELS.step, PIXELS.north)
    about = {"count": len(DAYS), "height": PIXELS.rows, "width": PIXELS.columns, "dtype": "uint8", "crs": "EPSG:4326"}
    with rasterio.open(folder / "albedo.tif", "w", driver="GTiff", transform=place, **about) as file:
        for band, day in enumerate(DAYS, 1):
            values = percent(day)
            values[:, PIXELS.longitude > 10.92] = 0
            file.write(values, band)
            file.set_band_description(band, f"{str(day).replace('-', '_')}_{SNOW}")
    return {"files": "albedo.tif"}


# --- elevations ------------------------------------------------------------------------------------------------------


def one_geotiff(folder):
    write_dem(folder / "dem.tif", heights(), POSTINGS)
    return {"files": "dem.tif"}


def aster_folder(folder):
    (folder / "dem").mkdir()
    write_dem_tiles(folder / "dem", heights(), POSTINGS)
    assert len(list((folder / "dem").glob("*_num.tif"))) == 1
    return {"files": "dem"}


def _tile(void, dtype):
    """The whole tile of a degree, 1201 postings a side."""
    tile = np.full((1201, 1201), void, dtype)
    tile[120:540, 600:1100] = heights()
    return tile


def srtm_zipped(folder):
    with zipfile.ZipFile(folder / "N46E010.hgt.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("N46E010.hgt", _tile(-32768, ">i2").tobytes())
    return {"files": "N46E010.hgt.zip"}


def copernicus_folder(folder):
    """Single precision, no nodata, no shared edge, and masks in AUXFILES."""
    name = "Copernicus_DSM_COG_30_N46_00_E010_00"
    place = rasterio.Affine(POSTING, 0, 10 - POSTING / 2, 0, -POSTING, 47 + POSTING / 2)
    for path, values in (
        (f"dem/{name}_DEM.tif", _tile(2000, np.float32)[:1200, :1200]),
        (f"dem/AUXFILES/{name}_EDM.tif", np.zeros((1200, 1200), np.uint8)),
        (f"dem/AUXFILES/{name}_HEM.tif", np.full((1200, 1200), 0.7, np.float32)),
    ):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        about = {"count": 1, "height": 1200, "width": 1200, "dtype": values.dtype, "crs": "EPSG:4326"}
        with rasterio.open(folder / path, "w", driver="GTiff", transform=place, compress="deflate", **about) as file:
            file.write(values, 1)
    return {"files": "dem"}


# --- outlines and observations ---------------------------------------------------------------------------------------


def rgi7(name, driver=None):
    def write(folder):
        columns = {"rgi_id": [f"RGI2000-v7.0-G-11-{n:05d}" for n in range(4)], "area_km2": [5.0] * 4}
        table = gpd.GeoDataFrame(columns, geometry=shapes(), crs=4326)
        if name.endswith("parquet"):
            table.to_parquet(folder / name)
        else:
            table.to_file(folder / name, driver=driver)
        return {"path": name}

    return write


def rgi6_shapefile(folder):
    columns = {"RGIId": [f"RGI60-11.{n:05d}" for n in range(4)], "Name": ["" for _ in range(4)]}
    gpd.GeoDataFrame(columns, geometry=shapes(), crs=4326).to_file(folder / "rgi60.shp")
    return {"path": "rgi60.shp"}


def tables_of_2022(folder):
    balances, sites = write_fog(folder, fog())
    return {"path": balances.name, "units": "mm w.e.", "links": {"positions": sites.name}}


def release_of_2022(folder):
    with zipfile.ZipFile(folder / "DOI-WGMS-FoG-2022-09.zip", "w") as archive:
        for path, name in zip(write_fog(folder, fog()), ("EE-MASS-BALANCE", "A-GLACIER"), strict=True):
            archive.writestr(f"WGMS-FoG-2022-09-{name}.csv", path.read_text().encode("latin-1"))
            path.unlink()
    return {"path": "DOI-WGMS-FoG-2022-09.zip", "units": "mm w.e."}


def release_of_2025(folder):
    write_release(folder / "DOI-WGMS-FoG-2025-02b.zip", fog(), [""] * 4)
    return {"path": "DOI-WGMS-FoG-2025-02b.zip"}


def own_csv(folder):
    known = fog()
    table = known.balance.merge(known.glaciers, on="WGMS_ID")
    own = {"WGMS_ID": "Gletscher", "YEAR": "Jahr", "ANNUAL_BALANCE": "Ba", "LONGITUDE": "x", "LATITUDE": "y"}
    table = table[list(own)].rename(columns=own).assign(sigma="200")
    table.to_csv(folder / "own.csv", sep=";", index=False)
    roles = {"site": "Gletscher", "year": "Jahr", "mass_balance": "Ba", "longitude": "x", "latitude": "y"}
    return {"path": "own.csv", "units": "mm w.e.", "columns": roles | {"uncertainty": "sigma"}}


# --- from file to product --------------------------------------------------------------------------------------------

FEW = ["degree_days_annual", "snowfall_annual", "tp_annual", "summer_albedo_mean", "elevation_mean"]


def product(folder, climate, albedo, elevation, outlines, observations):
    """The product of a run over these files, (glacier, year), and the predictors that it was made from."""
    config = {
        "glaciers": outlines(folder),
        "climate": {"accumulated": "daily_mean", "invariant": "invariant.nc", **climate(folder)},
        "albedo": albedo(folder),
        "elevation": elevation(folder),
        "observations": observations(folder),
        "models": {"ridge": {"predictors": FEW, "recipes": [{}], "penalties": [1.0]}},
        "validation": {"models": ["ridge"], "schemes": ["logo"], "inner": 2},
        "product": {"model": "ridge"},
        "scores": {"bootstrap": 100},
        "store": {"root": "run"},
    }
    (folder / "world.yaml").write_text(yaml.safe_dump(config))
    run(load_config(folder / "world.yaml"), say=lambda _: None)
    with xr.open_dataset(folder / "run" / "products" / "glacier_annual.nc") as ds:
        assert ds["measured"].values.all()
        return ds["mass_balance"].values


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    found = product(folder, new_store, appeears_geotiff, one_geotiff, rgi7("rgi.gpkg"), tables_of_2022)
    assert np.isfinite(found).all()
    assert found.std() > 0.05
    return found


@pytest.mark.filterwarnings("ignore:elevation model.*counts, masks", "ignore:Dataset has no geotransform")
@pytest.mark.parametrize(
    ("formats", "tolerance"),
    [
        ((old_store, modis_tiles, srtm_zipped, rgi6_shapefile, release_of_2025), PACKED),
        ((grib(1), appeears_netcdf, copernicus_folder, rgi7("rgi.parquet"), release_of_2022), EXACT),
        ((grib(2), earth_engine, aster_folder, rgi7("rgi.shp"), own_csv), EXACT),
        ((zipped_store, viirs_tiles, one_geotiff, rgi7("rgi.gpkg"), release_of_2025), EXACT),
        ((zarr(2), brdf_tiles, srtm_zipped, rgi7("rgi.geojson"), tables_of_2022), EXACT),
        ((zarr(3), modis_tiles, aster_folder, rgi7("rgi.parquet"), release_of_2022), EXACT),
    ],
    ids=["old store and tiles", "GRIB 1", "GRIB 2", "ZIP and VIIRS", "Zarr 2 and MCD43A3", "Zarr 3"],
)
def test_the_same_world_in_other_formats_gives_the_same_product(tmp_path, plain, formats, tolerance):
    np.testing.assert_allclose(product(tmp_path, *formats), plain, atol=tolerance)
