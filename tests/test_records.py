"""What we and our tests write, and what the readers assume, against records of how the true products are built.

A record holds names, types, dimensions and attributes of a product, and where they were read; no data. ``real`` tests
compare the records with files of the agencies.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely
import xarray as xr

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.albedo.codes import to_codes
from glacmb_grid.inputs.albedo.contract import Stored
from glacmb_grid.inputs.albedo.eos import grid_of_metadata, tile_of
from glacmb_grid.inputs.albedo.layers import is_albedo, layer_of, quality_of
from glacmb_grid.inputs.balances import fog_new, fog_old
from glacmb_grid.inputs.balances.fog_new import units_in
from glacmb_grid.inputs.elevation.files import degree_of, elevation_files
from glacmb_grid.inputs.outlines import read_outlines
from glacmb_grid.synthetic.albedo import CODES
from glacmb_grid.synthetic.files import write_invariant, write_outlines, write_variable
from glacmb_grid.synthetic.glaciers import Glaciers
from glacmb_grid.synthetic.observations import BALANCE_COLUMNS, GLACIER_COLUMNS, Fog
from glacmb_grid.synthetic.rasters import write_dem_tiles
from glacmb_grid.synthetic.reanalysis import VARIABLES, Reanalysis
from glacmb_grid.synthetic.release import write_fog, write_release
from glacmb_grid.synthetic.sinusoidal import snow_layers, windows, write_eos, write_tiles
from glacmb_grid.synthetic.terrain import Grid

RECORDS = Path(__file__).parent / "records"
AGENCY = "agency_files"


def record(name):
    return json.loads((RECORDS / f"{name}.json").read_text())


def plain(value):
    """Numbers and texts as JSON has them."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


# --- headers of files ------------------------------------------------------------------------------------------------


def of_hdf4(path):
    """Layers of an HDF4 file and the grid of its StructMetadata, but for where the tile lies."""
    pyhdf = pytest.importorskip("pyhdf.SD")
    kinds = {20: "int8", 21: "uint8", 22: "int16"}
    with Path(path).open("rb") as head:
        assert head.read(4) == b"\x0e\x03\x13\x01"
    file = pyhdf.SD(str(path))
    layers = {}
    for name, (dims, shape, kind, _) in file.datasets().items():
        data = file.select(name)
        attributes = {k: plain(v) for k, v in data.attributes().items() if not k.endswith("(km^2)")}
        layers[name] = {"dims": list(dims), "shape": list(shape), "dtype": kinds[kind], "attributes": attributes}
        data.endaccess()
    text = file.attributes()["StructMetadata.0"]
    present = sorted(set(file.attributes()) & {"StructMetadata.0", "CoreMetadata.0", "HDFEOSVersion"})
    file.end()
    return {"grid": of_structure(text), "attributes": present, "layers": layers}


def of_structure(text):
    """What all tiles of a product share in StructMetadata, and the size of a pixel."""
    pair = {k: np.array(re.search(rf"{k}=\(([^)]+)\)", text)[1].split(","), float) for k in CORNERS}
    rows, columns = (int(re.search(rf"{k}=(\d+)", text)[1]) for k in ("YDim", "XDim"))
    size = np.abs(pair["LowerRightMtrs"] - pair["UpperLeftPointMtrs"]) / (columns, rows)
    single = {k: re.search(rf"{k}=(.+)", text)[1].strip().strip('"') for k in ("GridName", "Projection", "ProjParams")}
    return {"pixel_m": [round(s, 5) for s in size.tolist()], **single}


CORNERS = ("UpperLeftPointMtrs", "LowerRightMtrs")


def of_netcdf(path):
    """Dimensions, types and attributes of the variables, without those that tell the area or the range of values."""
    with xr.open_dataset(path, decode_cf=False) as ds:
        return {
            str(n): {
                "dims": list(map(str, v.dims)),
                "dtype": "str" if v.dtype.kind in "OUS" else str(v.dtype),
                "attributes": {
                    k: "any" if k in PACKING else plain(a)
                    for k, a in v.attrs.items()
                    if a == a and not AREA.search(k) and (v.dtype.kind == "i" or k not in PACKING)
                },
            }
            for n, v in ds.variables.items()
        }


AREA = re.compile("Points?$|GRIB_N[xy]|GridPoint|Increment|coordinates|stored_direction|GRIB_missingValue")
PACKING = ("scale_factor", "add_offset")


def of_raster(path):
    with rasterio.open(path) as file:
        nodata = None if file.nodata is None else float(file.nodata)
        epsg = file.crs.to_epsg() if file.crs else None
        step = [round(abs(s) * 3600, 6) for s in file.res]
        west = file.bounds.left / file.res[0] % 1  # where pixels begin, in pixels from a whole degree
        return {
            "dtype": file.dtypes[0], "bands": file.count, "nodata": nodata, "epsg": epsg, "step_arc_seconds": step,
            "shape": list(file.shape), "offset_pixels": round(west, 3) % 1, "scale": file.scales[0],
            "tags": {k: v for k, v in file.tags().items() if k in ("scale_factor", "add_offset", "AREA_OR_POINT")},
        }  # fmt: skip


def of_vector(path):
    about = pyogrio.read_info(path)
    types = {n: str(np.dtype(t).kind) for n, t in zip(about["fields"], about["dtypes"], strict=True)}
    return {"crs": about["crs"], "geometry": about["geometry_type"], "columns": types}


def of_table(path):
    return list(pd.read_csv(path, nrows=0, comment="#"))


def of_grib(path):
    """Keys of one message of each variable."""
    eccodes = pytest.importorskip("eccodes")
    keys = ("edition", "centre", "class", "stream", "stepType", "gridType", "units", "paramId", "packingType")
    found = {}
    with Path(path).open("rb") as file:
        while (handle := eccodes.codes_grib_new_from_file(file)) is not None:
            name = eccodes.codes_get(handle, "shortName")
            if name not in found:
                found[name] = {k: eccodes.codes_get(handle, k) for k in keys}
                found[name]["dataTime"] = eccodes.codes_get(handle, "dataTime")
                found[name]["stepRange"] = eccodes.codes_get(handle, "stepRange")
            eccodes.codes_release(handle)
            if len(found) == 2:
                break
    return found


# --- the records themselves ------------------------------------------------------------------------------------------


def test_every_record_says_where_it_was_read():
    for path in RECORDS.glob("*.json"):
        for name, one in record(path.stem).items():
            assert len(one["source"]) > 20, name
            assert np.datetime64(one["read"]) <= np.datetime64("today"), name


@pytest.mark.real
def test_records_are_the_headers_of_the_agencies_files(real_data):
    folder = real_data / AGENCY

    def same(name, product, found):
        held = {k: v for k, v in record(name)[product].items() if k not in ("source", "read", "units")}
        for key, content in held.items():
            chosen = {k: found[key][k] for k in content} if isinstance(content, dict) else found[key]
            assert content == chosen, f"{product}: {key}"

    same("modis", "MOD10A2", of_hdf4(*folder.glob("MOD10A2*.hdf")))
    same("modis", "MCD43A3", of_hdf4(*folder.glob("MCD43A3*.hdf")))
    same("modis", "AppEEARS GeoTIFF", of_raster(*folder.glob("MCD12Q2*Greenup*.tif")))
    for product, one in record("climate").items():
        path = folder / one["source"].split(" ")[0]
        same("climate", product, {"messages": of_grib(path)} if "GRIB" in product else {"variables": of_netcdf(path)})
    same("elevation", "SRTM GL3", of_raster(f"/vsizip/{folder}/N43E007.hgt.zip/N43E007.hgt"))
    same("elevation", "SRTM GL3, OpenTopography", of_raster(*folder.glob("opentopography*.tif")))
    for product, one in record("outlines").items():
        same("outlines", product, of_vector(folder / one["source"].split(" ")[0]))
    old = {n: of_table(real_data / "observations" / f"fog_{f}_extract.csv") for n, f in FOG_OLD.items()}
    same("observations", "FoG to 2022", {"tables": old})
    same("observations", "FoG 2026, extract", {"tables": {"mass_balance": of_table(*folder.glob("fog2026*.csv"))}})


FOG_OLD = {"EE": "EE_mass_balance", "A": "A_glacier"}


# --- what `synth` writes, and the tests with its writers -------------------------------------------------------------


def require_layers(found, product):
    """Grid, metadata, types, dimensions and every recorded attribute."""
    true = record("modis")[product]
    assert found["grid"] == true["grid"]
    assert found["attributes"] == true["attributes"]
    for name, layer in found["layers"].items():
        held = true["layers"][name]
        assert (layer["dtype"], layer["dims"]) == (held["dtype"], held["dims"]), name
        assert held["attributes"].items() <= layer["attributes"].items(), name
        assert set(layer["attributes"]) - set(held["attributes"]) <= {"units", "valid_range"}, name


def test_tiles_of_mod10a1(tmp_path):
    pytest.importorskip("pyhdf.SD")
    scene = np.zeros((30, 50), np.uint8) + np.arange(50, dtype=np.uint8)
    write_tiles(tmp_path, np.datetime64("2003-06-01"), "MOD10A1", scene, windows(Grid(80.7, 42.0, 0.0045, 30, 50)))
    true = record("modis")["MOD10A1"]
    for path in tmp_path.iterdir():
        found = of_hdf4(path)
        require_layers(found, "MOD10A1")
        assert list(found["layers"]) == list(true["layers"])
        assert re.sub(r"\d", "0", path.name) == re.sub(r"\d", "0", true["name"])
    codes = true["codes"]
    assert set(CODES) <= set(codes["Snow_Albedo_Daily_Tile"])
    cover = snow_layers(np.arange(256, dtype=np.uint8))["NDSI_Snow_Cover"][[*range(101), *CODES]]
    assert set(cover.tolist()) - set(range(101)) <= set(codes["NDSI_Snow_Cover"])


def test_tiles_of_mcd43a3_as_the_tests_write_them(tmp_path):
    pytest.importorskip("pyhdf.SD")
    true = record("modis")["MCD43A3"]["layers"]
    layers = {n: np.zeros((4, 4), about["dtype"]) for n, about in true.items()}
    attributes = {
        n: {k: tuple(a) if isinstance(a, list) else a for k, a in about["attributes"].items()}
        for n, about in true.items()
    }
    size = 4 * 463.3127165279
    write_eos(tmp_path / "x.hdf", layers, (0.0, size, size, 0.0), "MCD43A3", "MOD_Grid_BRDF", attributes)
    require_layers(of_hdf4(tmp_path / "x.hdf"), "MCD43A3")


def test_climate_files(tmp_path):
    grid, months = Grid(79.95, 42.05, 0.1, 2, 3), np.arange("2001-01", "2001-03", dtype="datetime64[M]")
    fields = {n: np.ones((2, 2, 3), np.float32) for n in VARIABLES}
    cube = Reanalysis(grid, months, fields, np.ones((2, 3)))
    records = record("climate")
    kinds = {"t2m": "ERA5, store of 2024, instantaneous", "tp": "ERA5, store of 2024, accumulated"}
    for name, kind in kinds.items():
        write_variable(tmp_path / f"{name}.nc", name, cube)
        found, true = of_netcdf(tmp_path / f"{name}.nc"), records[kind]["variables"]
        assert set(found) == set(true)
        land = records["ERA5-Land, store of 2024"]["variables"][name]
        for one, about in found.items():
            assert (about["dims"], about["dtype"]) == (true[one]["dims"], true[one]["dtype"]), one
            held = {**true[one]["attributes"], **(land["attributes"] if one == name else {})}
            assert about["attributes"].items() <= held.items(), one
    write_invariant(tmp_path / "invariant.nc", cube)
    assert of_netcdf(tmp_path / "invariant.nc")["z"]["dims"] == ["latitude", "longitude"]


def test_elevation_tiles(tmp_path):
    step = 1 / 1200
    write_dem_tiles(tmp_path, np.ones((3, 4), np.int16), Grid(80 - step / 2, 42.4 + step / 2, step, 3, 4))
    true = record("elevation")["ASTGTM v3"]
    (path,) = tmp_path.glob("*_dem.tif")
    found = of_raster(path)
    same = ("dtype", "bands", "nodata", "epsg", "offset_pixels")
    assert {k: found[k] for k in same} == {k: true[k] for k in same}
    assert [n - 1 for n in found["shape"]] == [3600 / s for s in found["step_arc_seconds"]], "neighbours share an edge"
    pattern = re.sub(r"\d", "0", true["name"])
    assert re.sub(r"\d", "0", path.name) == pattern
    beside = [re.sub(r"\d", "0", p.name) for p in tmp_path.iterdir() if p != path]
    assert beside == [re.sub(r"\d", "0", p) for p in true["beside"]]


def test_outlines(tmp_path):
    label = np.full((6, 6), -1)
    label[1:5, 1:5] = 0
    surface = 3000.0 + np.add.outer(np.arange(6.0), np.arange(6.0))
    ice = Glaciers(np.array([shapely.box(80, 42, 80.01, 42.01)]), label, surface)
    write_outlines(tmp_path / "x.gpkg", ice, Grid(80, 42.01, 0.002, 6, 6), ["RGI2000-v7.0-G-13-00001"])
    found, true = of_vector(tmp_path / "x.gpkg"), record("outlines")["RGI 7 G"]
    assert found["columns"] == true["columns"]
    assert list(found["columns"]) == list(true["columns"])
    assert found["crs"] == true["crs"]


def some_fog():
    row = dict.fromkeys(BALANCE_COLUMNS, "") | {"WGMS_ID": "00700", "YEAR": "2001", "AREA": "1.5"}
    rows = [row | {"LOWER_BOUND": low, "UPPER_BOUND": high} for low, high in (("3000", "3100"), ("9999", "9999"))]
    sites = [dict.fromkeys(GLACIER_COLUMNS, "") | {"WGMS_ID": "00700", "LATITUDE": "42.0", "LONGITUDE": "80.0"}]
    return Fog(np.array([0]), np.array([0.2]), pd.DataFrame(rows), pd.DataFrame(sites))


def test_releases_of_observations(tmp_path):
    old, new = (record("observations")[n] for n in ("FoG to 2022", "FoG since 2025"))
    tables = zip(write_fog(tmp_path, some_fog()), ("EE", "A"), strict=True)
    assert {n: of_table(path) for path, n in tables} == old["tables"]
    write_release(tmp_path / "x.zip", some_fog(), ["RGI2000-v7.0-G-13-00001"])
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert sorted(archive.namelist()) == sorted(new["files"])
        found = {n: of_table(archive.open(f"data/{n}.csv")) for n in new["tables"]}
        assert units_in(archive.read("datapackage.json"), "mass_balance.csv", "x") == new["units"]
    assert found == new["tables"]


# --- what the readers assume -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("product", "albedo"), [("MOD10A1", "Snow_Albedo_Daily_Tile"), ("MCD43A3", "Albedo_BSA_shortwave")]
)
def test_the_reader_of_albedo_knows_layers_quality_and_grid(product, albedo):
    true = record("modis")[product]
    layers, grid = true["layers"], true["grid"]
    assert {n for n in layers if is_albedo(layer_of(n) or n) and "WSA" not in n} == {albedo}
    assert quality_of(albedo) in layers
    metres = 2400 * grid["pixel_m"][0]
    text = (
        f"XDim=2400\nYDim=2400\nUpperLeftPointMtrs=(0.0,{metres})\nLowerRightMtrs=({metres},0.0)\n"
        f"Projection={grid['Projection']}\nProjParams={grid['ProjParams']}"
    )
    found = grid_of_metadata("x", text, "uint8")
    assert found.transform[0] == pytest.approx(463.3127165279, abs=1e-5)
    assert tile_of(found) == "h18v08"
    assert "+R=6371007.181" in found.crs
    held = layers[albedo]["attributes"]
    values = np.array([[500 if "scale_factor" in held else 50]], layers[albedo]["dtype"])
    stored = Stored(values, values == held["_FillValue"], held.get("scale_factor", 1.0), 0.0, held["_FillValue"])
    assert to_codes(stored, albedo, "x").tolist() == [[500]]


def test_the_reader_of_elevations_leaves_out_what_lies_beside(tmp_path):
    for product in ("ASTGTM v3", "Copernicus GLO-30"):
        true = record("elevation")[product]
        folder = tmp_path / product
        (folder / "AUXFILES").mkdir(parents=True)
        for name in (true["name"], *true["beside"]):
            (folder / name).touch()
        with pytest.warns(UserWarning, match="not read"):
            assert [p.name for p in elevation_files(folder)] == [true["name"]]
        assert degree_of(true["name"]) is not None


@pytest.mark.parametrize(
    ("product", "says"), [("RGI 6", ""), ("RGI 7 G", ""), ("RGI 7 C", "complex"), ("RGI 7 I", "polygon")]
)
def test_the_reader_of_outlines_knows_the_inventories(tmp_path, product, says):
    columns = record("outlines")[product]["columns"]
    identifier = {"RGI 6": "RGI60-11.00897"}.get(product, f"RGI2000-v7.0-{product[-1]}-11-00001")
    values = {n: ["1" if kind == "O" else 1] for n, kind in columns.items()} | {next(iter(columns)): [identifier]}
    line = shapely.LineString([(10.7, 46.8), (10.8, 46.9)])
    shape = line if record("outlines")[product]["geometry"].startswith("Line") else line.buffer(0.02)
    gpd.GeoDataFrame(values, geometry=[shape], crs=4326).to_file(tmp_path / "x.gpkg")
    if product in ("RGI 6", "RGI 7 G"):
        assert read_outlines(tmp_path / "x.gpkg").index.tolist() == [identifier]
    else:
        with pytest.raises((InputError, InputErrors), match=says):
            read_outlines(tmp_path / "x.gpkg")


def test_the_reader_of_observations_knows_the_tables_and_their_units():
    old, new = (record("observations")[n]["tables"] for n in ("FoG to 2022", "FoG since 2025"))
    assert fog_old.LAYOUT.recognises({n.lower() for n in old["EE"]})
    for layout, columns in ((fog_old.LAYOUT, [n.lower() for n in old["EE"]]), (fog_new.LAYOUT, new["mass_balance"])):
        assert layout.recognises(set(columns))
        for role in ("year", "site", "name", "mass_balance", "uncertainty"):
            assert set(layout.columns[role]) & set(columns), role
    assert not fog_old.LAYOUT.recognises(set(new["mass_balance"]))
