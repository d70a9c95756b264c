"""The synthetic region: its files, its outlines, its climate, its truth."""

from __future__ import annotations

import filecmp
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
import xarray as xr

from glacmb_grid.inputs.albedo import open_codes
from glacmb_grid.inputs.balances import read_observations
from glacmb_grid.synthetic import write_region
from glacmb_grid.synthetic.albedo import CODES
from glacmb_grid.synthetic.climate import Day, Points
from glacmb_grid.synthetic.columns import Columns, Ground
from glacmb_grid.synthetic.observations import BALANCE_COLUMNS, GLACIER_COLUMNS
from glacmb_grid.synthetic.rasters import write_dem_tiles
from glacmb_grid.synthetic.reanalysis import VARIABLES
from glacmb_grid.synthetic.terrain import Grid

SMALL = {"seed": 3, "glaciers": 8, "measured": 4, "years": (2001, 2006)}
KM_PER_DEGREE = 111.32
SCENE = "MOD10A1.061_Snow_Albedo_Daily_Tile"

Region = dict[str, Path]


@pytest.fixture(scope="session")
def synthetic_region(tmp_path_factory) -> Region:
    return write_region(tmp_path_factory.mktemp("region"), plain=True, **SMALL)


@pytest.fixture(scope="session")
def delivered_region(tmp_path_factory) -> Region:
    """The same in the agencies' own formats."""
    pytest.importorskip("pyhdf.SD")
    return write_region(tmp_path_factory.mktemp("delivered"), **SMALL)


@pytest.fixture(scope="session")
def wider_region(tmp_path_factory) -> Region:
    """More glaciers, for what only shows in many."""
    return write_region(
        tmp_path_factory.mktemp("wider"), seed=1, glaciers=40, measured=10, years=(2000, 2010), plain=True
    )


def read_variable(region: Region, name: str) -> xr.DataArray:
    with xr.open_dataset(region["era5_land"] / f"era5_land_monthly_{name}.nc") as file:
        return file[name].load()


def read_truth(region: Region) -> xr.Dataset:
    with xr.open_dataset(region["truth"]) as file:
        return file.load()


def season(field: xr.DataArray, months: list[int]) -> xr.DataArray:
    return field.where(field.valid_time.dt.month.isin(months)).mean("valid_time")


def whole_rows(region: Region) -> pd.DataFrame:
    table = pd.read_csv(region["observations"], dtype={"WGMS_ID": str})
    return table[(table.LOWER_BOUND == 9999) & (table.UPPER_BOUND == 9999)]


def sites(region: Region) -> gpd.GeoDataFrame:
    """Measured glaciers joined with the outlines that hold them."""
    table = pd.read_csv(region["glaciers"], dtype={"WGMS_ID": str})
    points = gpd.points_from_xy(table.LONGITUDE, table.LATITUDE)
    outlines = gpd.read_file(region["outlines"])[["rgi_id", "geometry"]]
    return gpd.GeoDataFrame(table, geometry=points, crs=4326).sjoin(outlines, how="left")


def residuals(region: Region) -> pd.DataFrame:
    truth = read_truth(region)
    ids = sites(region).set_index("WGMS_ID").rgi_id
    rows = whole_rows(region)
    place = [int(np.flatnonzero(truth.glacier_id.values == ids[key])[0]) for key in rows.WGMS_ID]
    known = truth.mass_balance.sel(year=xr.DataArray(rows.YEAR.to_numpy())).isel(glacier=xr.DataArray(place)).values
    return pd.DataFrame({"key": rows.WGMS_ID.to_numpy(), "error": rows.ANNUAL_BALANCE.to_numpy() / 1000 - known})


def test_same_arguments_give_the_same_bytes(delivered_region, tmp_path):
    again = write_region(tmp_path, **SMALL)
    first, second = delivered_region["truth"].parent, again["truth"].parent
    names = sorted(str(path.relative_to(first)) for path in first.rglob("*") if path.is_file())
    assert names == sorted(str(path.relative_to(second)) for path in second.rglob("*") if path.is_file())
    _, different, broken = filecmp.cmpfiles(first, second, names, shallow=False)
    assert (different, broken) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"glaciers": 3, "measured": 4}, "measured"), ({"years": (2005, 2004)}, "years")],
)
def test_bad_arguments_are_refused_before_anything_is_written(tmp_path, arguments, match):
    with pytest.raises(ValueError, match=match):
        write_region(tmp_path / "none", **arguments)
    assert not (tmp_path / "none").exists()


def test_era5_land_has_every_variable_in_the_layout_of_the_data_store(synthetic_region):
    found = sorted(path.name for path in synthetic_region["era5_land"].glob("era5_land_monthly_*.nc"))
    assert found == sorted(f"era5_land_monthly_{name}.nc" for name in VARIABLES)
    assert len(found) == 22
    raw = xr.open_dataset(synthetic_region["era5_land"] / "era5_land_monthly_tp.nc", decode_times=False)
    assert raw.tp.dims == ("valid_time", "latitude", "longitude")
    assert (raw.tp.dtype, raw.valid_time.dtype) == (np.float32, np.int64)
    assert raw.tp.attrs["units"] == "m"
    assert raw.tp.attrs["GRIB_shortName"] == "tp"
    assert raw.valid_time.attrs["units"] == "seconds since 1970-01-01"
    assert set(raw.expver.values) == {"0001"}
    assert raw.expver.dims == ("valid_time",)
    assert raw.number.ndim == 0
    np.testing.assert_allclose(np.diff(raw.latitude), -0.1, atol=1e-9)
    raw.close()


def test_months_run_from_october_to_the_december_of_an_incomplete_year(synthetic_region):
    time = read_variable(synthetic_region, "t2m").valid_time.values
    expected = np.arange("2000-10", "2007-01", dtype="datetime64[M]")
    np.testing.assert_array_equal(time.astype("datetime64[M]"), expected)
    np.testing.assert_array_equal(time, expected.astype("datetime64[ns]"))


def test_what_is_delivered_is_what_is_plain(delivered_region, synthetic_region):
    for name in ("era5_land", "outlines", "truth"):
        pair = delivered_region[name], synthetic_region[name]
        names = [p.name for p in pair[0].iterdir()] if pair[0].is_dir() else [""]
        for one in names:
            assert (pair[0] / one).read_bytes() == (pair[1] / one).read_bytes()


def test_elevation_tiles_hold_the_elevations(delivered_region, synthetic_region):
    with rasterio.open(synthetic_region["dem"]) as file:
        plain = file.read(1)
    (path,) = delivered_region["dem"].glob("*_dem.tif")
    assert path.name == "ASTGTMV003_N42E080_dem.tif"
    with rasterio.open(path) as file, rasterio.open(str(path).replace("_dem", "_num")) as beside:
        tile, scenes = file.read(1), beside.read(1)
    row = round((43 - 42.4) * 1200)  # postings of 3 arc-seconds from 43 N down to the region's first
    np.testing.assert_array_equal(tile[row : row + plain.shape[0], : plain.shape[1]], plain)
    assert (tile != -9999).sum() == (plain != -9999).sum()
    np.testing.assert_array_equal(scenes == 0, tile == -9999)


def test_elevations_are_cut_at_whole_degrees_and_neighbours_share_them(tmp_path):
    step, rows, columns = 0.25, 5, 7
    grid = Grid(80.5 - step / 2, 42.5 + step / 2, step, rows, columns)  # centres 42.5 to 41.5 N, 80.5 to 82.0 E
    surface = np.arange(rows * columns, dtype=np.int16).reshape(rows, columns)
    write_dem_tiles(tmp_path, surface, grid)
    names = sorted(p.name[:18] for p in tmp_path.glob("*_dem.tif"))
    assert names == [f"ASTGTMV003_N{lat}E0{lon}" for lat in (41, 42) for lon in (80, 81)]
    with rasterio.open(tmp_path / "ASTGTMV003_N41E081_dem.tif") as file:
        np.testing.assert_allclose(file.transform[:6], [step, 0, 81 - step / 2, 0, -step, 42 + step / 2])
        found = file.read(1)
    np.testing.assert_array_equal(found[:3], surface[2:5, 2:7])
    assert (found[3:] == -9999).all()
    with rasterio.open(tmp_path / "ASTGTMV003_N42E080_dem.tif") as file:
        np.testing.assert_array_equal(file.read(1)[2:, 2:], surface[:3, :3])


def test_the_release_holds_the_observations(delivered_region, synthetic_region):
    """Of whole glaciers and of bands, in metres, and where the glaciers are."""
    new = read_observations(delivered_region["observations"])
    old = read_observations(synthetic_region["observations"], units="mm w.e.")
    pd.testing.assert_frame_equal(new[["site", "year", "name"]], old[["site", "year", "name"]])
    for name in ("mass_balance", "uncertainty"):
        np.testing.assert_allclose(new[name], old[name], atol=1e-9)
    assert set(new["begin"].str[4:] + new["end"].str[4:]) == {"-10-01-09-30"}
    with zipfile.ZipFile(delivered_region["observations"]) as archive:
        bands = pd.read_csv(archive.open("data/mass_balance_band.csv"))
        places = pd.read_csv(archive.open("data/glacier.csv"))
    before = pd.read_csv(synthetic_region["observations"])
    before = before[before.LOWER_BOUND < 9999]
    np.testing.assert_allclose(bands.annual_balance, before.ANNUAL_BALANCE / 1000)
    np.testing.assert_allclose(bands.area, before.AREA * 1e6, atol=0.5)
    inside = sites(synthetic_region)
    np.testing.assert_allclose(places.latitude, inside.LATITUDE)
    assert places.rgi70_ids.isna().tolist() == [True, False, False, False]
    assert (places.rgi70_ids.fillna(inside.rgi_id) == inside.rgi_id).all()


def test_tiles_of_modis_hold_the_scenes(delivered_region, synthetic_region):
    """Every pixel of a tile, by PROJ's own inverse of its grid, has the value of the scene at that place."""
    from pyhdf.SD import SD

    names = sorted(p.name for p in delivered_region["albedo"].iterdir())
    assert len(names) == 2 * (6 * 12 + 12)  # two tiles, each also of Aqua in the last year
    name = "MOD10A1.A2003169.h23v04.061.2025032120000.hdf"
    assert name in names
    file = SD(str(delivered_region["albedo"] / name))
    found, text = file.select("Snow_Albedo_Daily_Tile")[:], file.attributes()["StructMetadata.0"]
    file.end()
    left, top = map(float, re.search(r"UpperLeftPointMtrs=\(([^,]+),([^)]+)\)", text).groups())
    step = 463.3127165279
    row, column = np.indices(found.shape)
    to_degrees = pyproj.Transformer.from_crs("+proj=sinu +R=6371007.181", "+proj=longlat +R=6371007.181")
    place = to_degrees.transform(left + (column + 0.5) * step, top - (row + 0.5) * step)
    with rasterio.open(synthetic_region["albedo"] / f"{SCENE}_doy2003169_aid0001.tif") as scene:
        expected = np.array([v[0] for v in scene.sample(np.transpose([p.ravel() for p in place]))])
        west, south, east, north = scene.bounds
    inside = (place[0] > west) & (place[0] < east) & (place[1] > south) & (place[1] < north)
    np.testing.assert_array_equal(found[inside], expected.reshape(found.shape)[inside])
    assert (found[~inside] == 255).all()
    assert inside.mean() > 0.5
    assert len(np.unique(found)) > 30


def test_without_pyhdf_both_platforms_are_geotiff_and_that_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pyhdf.SD", None)
    with pytest.warns(UserWarning, match=r"glacmb-grid\[modis\]"):
        region = write_region(tmp_path, seed=3, glaciers=2, measured=1, years=(2003, 2003))
    products = [p.name.split("_doy")[0] for p in region["albedo"].iterdir()]
    assert [products.count(p) for p in (SCENE, SCENE.replace("MOD", "MYD"))] == [12, 12]
    assert open_codes(region["albedo"] / "M?D10A1.*").sizes["time"] == 12


@pytest.mark.parametrize("wheels", [True, False])
def test_the_script_installs_what_writes_hdf4_where_there_are_wheels(wheels, tmp_path):
    setup = Path(__file__).parents[1] / "scripts" / "_setup.sh"
    stub = f'uv() {{ echo "$*"; case "$*" in *"--only-binary pyhdf"*) {str(wheels).lower()} ;; esac; }}'
    code = f"set -euo pipefail; source {setup}; {stub}; install_project run"
    env = {**os.environ, "GLACMB_VENV": str(tmp_path)}  # where no uv lies, which would be taken before the stub
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, check=True, env=env)
    asked = [re.sub(r".*/", "", line).removeprefix(setup.parents[1].name) for line in done.stdout.splitlines()]
    assert asked == (["[modis]"] if wheels else ["[modis]", ""])
    assert ("will be GeoTIFF" in done.stderr) is not wheels


RANGES = {
    "asn": (0.45, 0.9), "d2m": (230, 292), "es": (-0.003, 0.001), "fal": (0.1, 0.9), "rsn": (80, 450),
    "sd": (0, 10.001), "sde": (0, 40), "sf": (0, 0.02), "slhf": (-1.5e7, 2e6), "smlt": (0, 0.05),
    "snowc": (0, 100), "sp": (5e4, 8.5e4), "sshf": (-1.2e7, 1.2e7), "ssr": (0, 3e7), "ssrd": (4e6, 3.4e7),
    "str": (-1.4e7, 1e6), "strd": (1e7, 3.5e7), "t2m": (235, 300), "tp": (0, 0.03), "tsn": (230, 273.17),
    "u10": (-5, 12), "v10": (-6, 6),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_variable_is_complete_and_plausible(synthetic_region, name):
    field = read_variable(synthetic_region, name)
    low, high = RANGES[name]
    assert field.notnull().all()
    assert float(field.min()) >= low
    assert float(field.max()) <= high
    assert field.attrs["units"] == VARIABLES[name].units
    assert float(field.std()) > 0


def test_seasons_are_those_of_a_northern_mountain_range(synthetic_region):
    summer, winter = [6, 7, 8], [12, 1, 2]
    warm = read_variable(synthetic_region, "t2m")
    assert ((season(warm, summer) - season(warm, winter)) > 10).all()
    for name, sign in (("ssrd", 1), ("strd", 1), ("fal", -1), ("sd", -1)):
        field = read_variable(synthetic_region, name)
        field = field.where(read_variable(synthetic_region, "sd").max("valid_time") < 9)
        assert float((sign * (season(field, summer) - season(field, winter))).mean()) > 0


def test_water_and_energy_are_consistent(synthetic_region):
    get = {name: read_variable(synthetic_region, name) for name in VARIABLES}
    assert (get["tp"] >= get["sf"] - 1e-9).all()
    assert (get["d2m"] <= get["t2m"]).all()
    assert (get["ssr"] <= get["ssrd"]).all()
    assert (abs(get["ssr"] / get["ssrd"] - (1 - get["fal"])) < 0.12).all()  # of sums, not of means
    assert float(get["slhf"].mean()) < 0  # upward
    assert float(get["str"].mean()) < 0
    free = get["sd"].max("valid_time") < 9
    gain = (get["sf"] + get["es"] - get["smlt"]).where(free).sum("valid_time") * 30.4
    left = get["sd"].where(free).isel(valid_time=-1)
    assert float(abs(gain - left).max()) < 0.25


def test_annual_precipitation_betrays_that_sums_are_per_day(synthetic_region):
    tp = read_variable(synthetic_region, "tp")
    annual = (tp * tp.valid_time.dt.days_in_month).sum("valid_time") / (tp.sizes["valid_time"] / 12)
    assert 0.3 < float(annual.min()) < float(annual.max()) < 1.6


def test_model_orography_is_smoother_than_the_relief(synthetic_region):
    with xr.open_dataset(synthetic_region["invariant"]) as file:
        height = file.z.values / 9.80665
        assert (file.lsm == 1).all()
    with rasterio.open(synthetic_region["dem"]) as file:
        real = file.read(1, masked=True)
    assert real.min() < height.min() < height.max() < real.max()
    assert height.std() < 0.9 * real.std()


def test_dem_has_the_layout_of_the_mission_and_some_voids(synthetic_region):
    with rasterio.open(synthetic_region["dem"]) as file:
        assert (file.dtypes[0], file.nodata, file.crs.to_epsg()) == ("int16", -9999, 4326)
        assert file.compression.name == "deflate"
        np.testing.assert_allclose(file.res, 3 / 3600)
        band = file.read(1)
    assert 20 < (band == -9999).sum() < 2000
    assert 1800 < band[band != -9999].min() < 3200
    assert 4500 < band.max() < 6500


def test_one_void_lies_inside_a_glacier(synthetic_region):
    outlines = gpd.read_file(synthetic_region["outlines"])
    with rasterio.open(synthetic_region["dem"]) as file:
        row, column = np.nonzero(file.read(1) == -9999)
        points = shapely.points(*rasterio.transform.xy(file.transform, row, column))
    inside = shapely.contains(shapely.union_all(outlines.geometry.values), points)
    assert 0 < inside.sum() < inside.size


@pytest.mark.parametrize("region", ["synthetic_region", "wider_region"])
def test_outlines_are_clean_and_within_the_grids(region, request):
    region = request.getfixturevalue(region)
    outlines = gpd.read_file(region["outlines"])
    assert outlines.crs.to_epsg() == 4326
    assert outlines.is_valid.all()
    assert set(outlines.geom_type) == {"Polygon"}
    assert outlines.rgi_id.is_unique
    assert outlines.rgi_id.str.fullmatch(r"RGI2000-v7\.0-G-13-\d{5}").all()
    assert list(outlines.rgi_id) == list(read_truth(region).glacier_id.values)
    with rasterio.open(region["dem"]) as file:
        assert shapely.box(*file.bounds).contains(shapely.box(*outlines.total_bounds))
    tree = shapely.STRtree(outlines.geometry.values)
    one, two = tree.query(outlines.geometry.values, predicate="intersects")
    shared = shapely.area(shapely.intersection(outlines.geometry.values[one], outlines.geometry.values[two]))
    assert shared[one != two].sum() * KM_PER_DEGREE**2 < 1e-3


def test_outlines_look_like_glaciers_not_discs(wider_region):
    outlines = gpd.read_file(wider_region["outlines"])
    scale = [KM_PER_DEGREE * np.cos(np.deg2rad(42)), KM_PER_DEGREE]
    plane = shapely.transform(outlines.geometry.values, lambda xy: xy * scale)
    quotient = 4 * np.pi * shapely.area(plane) / shapely.length(plane) ** 2
    assert np.median(quotient) < 0.5
    assert np.quantile(shapely.get_num_coordinates(plane), 0.25) >= 45
    np.testing.assert_allclose(shapely.area(plane), outlines.area_km2, rtol=0.02)
    assert 0.1 < outlines.area_km2.min() < 0.6
    assert 0.5 < outlines.area_km2.median() < 2
    assert 5 < outlines.area_km2.max() < 30
    assert (shapely.get_num_interior_rings(plane) > 0).any()
    assert (outlines.zmax_m > outlines.zmin_m).all()
    assert outlines.zmean_m.between(3200, 5500).all()


def test_zones_of_elevation_agree_with_the_dem(synthetic_region):
    outlines = gpd.read_file(synthetic_region["outlines"])
    with rasterio.open(synthetic_region["dem"]) as file:
        labels = rasterio.features.rasterize(
            [(shape, number + 1) for number, shape in enumerate(outlines.geometry)],
            file.shape,
            transform=file.transform,
        )
        height = file.read(1, masked=True)
    mean = [float(height[labels == number + 1].mean()) for number in range(len(outlines))]
    np.testing.assert_allclose(mean, outlines.zmean_m, atol=40)


def test_tables_have_the_columns_of_the_database(synthetic_region):
    assert list(pd.read_csv(synthetic_region["observations"])) == BALANCE_COLUMNS
    assert list(pd.read_csv(synthetic_region["glaciers"])) == GLACIER_COLUMNS
    bands = pd.read_csv(synthetic_region["observations"])
    assert (bands.LOWER_BOUND < 9999).any()
    assert bands.ANNUAL_BALANCE_UNC.notna().mean() > 0.5


def test_each_site_lies_in_one_outline_of_its_own(wider_region):
    joined = sites(wider_region)
    assert len(joined) == 10
    assert joined.rgi_id.notna().all()
    assert joined.rgi_id.is_unique
    truth = read_truth(wider_region)
    assert set(joined.rgi_id) == set(truth.glacier_id.values[truth.measured.values == 1])


def test_every_year_is_observed_and_no_glacier_twice(wider_region):
    rows = whole_rows(wider_region)
    assert set(rows.YEAR) == set(range(2000, 2011))
    assert not rows.duplicated(["WGMS_ID", "YEAR"]).any()
    assert rows.WGMS_ID.nunique() == 10


def test_bands_add_up_to_the_whole(synthetic_region):
    table = pd.read_csv(synthetic_region["observations"], dtype={"WGMS_ID": str})
    bands = table[table.LOWER_BOUND < 9999]
    bands = bands.assign(volume=bands.AREA * bands.ANNUAL_BALANCE).groupby(["WGMS_ID", "YEAR"])
    whole = whole_rows(synthetic_region).set_index(["WGMS_ID", "YEAR"]).ANNUAL_BALANCE
    mean = bands.volume.sum() / bands.AREA.sum()
    np.testing.assert_allclose(mean, whole[mean.index], atol=1.0)


def test_observations_scatter_around_the_truth_by_the_stated_sigma(wider_region):
    error = residuals(wider_region)
    assert 0.1 < error.error.std() < 0.3
    assert abs(error.error.mean()) < 0.08
    by_glacier = error.groupby("key").error.std().dropna()
    assert by_glacier.between(0.01, 0.55).all()


def test_people_measure_small_low_glaciers(wider_region):
    outlines = gpd.read_file(wider_region["outlines"])
    measured = read_truth(wider_region).measured.values == 1
    assert outlines.zmean_m[measured].mean() < outlines.zmean_m[~measured].mean()
    assert outlines.area_km2[measured].mean() < outlines.area_km2[~measured].mean()


def test_truth_is_that_of_a_shrinking_range(wider_region):
    truth = read_truth(wider_region).mass_balance
    assert truth.dims == ("glacier", "year")
    assert truth.notnull().all()
    mean = truth.mean("year")
    assert -0.6 < float(mean.mean()) < -0.2
    assert 0.2 < float(mean.std()) < 0.5
    assert 0 < int((mean > 0).sum()) < truth.sizes["glacier"] / 2
    assert 0.3 < float(truth.std("year").median()) < 0.7


def test_warm_summers_cost_mass(wider_region):
    warm = read_variable(wider_region, "t2m").mean(("latitude", "longitude"))
    summer = warm.where(warm.valid_time.dt.month.isin([6, 7, 8])).groupby("valid_time.year").mean()
    truth = read_truth(wider_region).mass_balance
    summer = summer.sel(year=truth.year)
    single = xr.corr(truth, summer, "year")
    assert -0.97 < float(single.median()) < -0.4


def test_albedo_scenes_hold_valid_codes_and_a_partial_signal(wider_region):
    outlines = gpd.read_file(wider_region["outlines"])
    files = sorted(wider_region["albedo"].glob("MOD10A1.061_Snow_Albedo_Daily_Tile_doy???????_aid0001.tif"))
    assert len(files) == 11 * 12
    valid, cloud, bright = set(range(101)) | set(CODES), [], {}
    with rasterio.open(files[0]) as file:
        assert (file.dtypes[0], file.nodata) == ("uint8", 255)
        ice = rasterio.features.rasterize(outlines.geometry, file.shape, transform=file.transform) == 1
    for path in files:
        with rasterio.open(path) as file:
            scene = file.read(1)
        assert set(np.unique(scene).tolist()) <= valid
        cloud.append(float((scene == 150).mean()))
        bright.setdefault(int(path.name[38:42]), []).append(scene[ice & (scene <= 100)])
    assert 0.15 < np.mean(cloud) < 0.5
    yearly = [np.concatenate(values).mean() for values in bright.values()]
    truth = read_truth(wider_region).mass_balance.mean("glacier")
    assert sorted(bright) == truth.year.values.tolist()
    assert 0.3 < np.corrcoef(yearly, truth)[0, 1] < 0.99


def one_column(albedo: float, *, insulation: float = 0.0) -> Columns:
    one = np.ones(1)
    points = Points(78 * one, 42 * one, 4000 * one, 0 * one, one, one, 0.0)
    return Columns(points, Ground(np.array([True]), albedo * one, insulation * one, np.array([False])))


def summer_day(**changed: float) -> Day:
    values = {
        "temperature_k": 277.0, "dewpoint_k": 270.0, "pressure_pa": 62000.0, "rain": 0.0, "snow": 0.0,
        "shortwave": 280.0, "longwave": 260.0, "wind": 3.0, "east_wind": 3.0, "north_wind": 0.0,
    }  # fmt: skip
    return Day(**{name: np.full(1, value) for name, value in (values | changed).items()})


def test_dark_ice_melts_more_than_bright_ice_and_debris_protects():
    def melt(column: Columns) -> float:
        return float(sum(column.step(summer_day()).melt for _ in range(5))[0])

    assert melt(one_column(0.2)) > melt(one_column(0.5)) > 0
    np.testing.assert_allclose(melt(one_column(0.2, insulation=0.6)), 0.4 * melt(one_column(0.2)))


def test_melt_spends_exactly_the_energy_at_the_melting_point():
    column = one_column(0.3)
    fluxes = column.step(summer_day())
    net = fluxes.shortwave + fluxes.longwave + fluxes.sensible + fluxes.latent
    np.testing.assert_allclose(fluxes.surface_k, 273.15)
    np.testing.assert_allclose(fluxes.melt, net * 86400 / 3.34e5 / 1000)


def test_fresh_snow_brightens_and_sun_without_frost_melts_it():
    column = one_column(0.3)
    white = column.step(summer_day(snow=0.05, temperature_k=268.0, shortwave=50.0))
    assert float(white.albedo[0]) == pytest.approx(0.86)
    assert float(white.melt[0]) == 0
    for _ in range(30):
        last = column.step(summer_day())
    assert float(column.snow[0]) == 0
    assert float(last.albedo[0]) == pytest.approx(0.3)
