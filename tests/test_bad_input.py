"""`glacmb-grid check` on a whole small region in which one thing after the other is broken."""

from __future__ import annotations

import shutil
import warnings
import zipfile

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
import yaml
from rasterio.transform import Affine

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.workflow.check import check

LATITUDE, LONGITUDE = np.round(46.8 - 0.1 * np.arange(3), 1), np.round(10.6 + 0.1 * np.arange(4), 1)
BOXES = {"RGI60-11.00001": (10.62, 46.68, 10.66, 46.72), "RGI60-11.00002": (10.78, 46.62, 10.84, 46.66)}


def climate(start="2018-10", count=27, longitude=LONGITUDE, warm=270.0):
    time = np.datetime64(start, "M") + np.arange(count).astype("timedelta64[M]")
    shape = (count, len(LATITUDE), len(longitude))
    month = np.broadcast_to(np.arange(count)[:, None, None], shape)
    dims = ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            "t2m": (dims, warm + 8 * np.sin(month / 12 * 2 * np.pi), {"units": "K"}),
            "tp": (dims, 0.003 + 0 * month, {"units": "m"}),
        },
        coords={"time": time.astype("datetime64[ns]"), "latitude": LATITUDE, "longitude": longitude},
    )


def invariant():
    dims = ("time", "latitude", "longitude")
    fields = {"z": (dims, np.full((1, 3, 4), 2500 * 9.80665), {"units": "m**2 s**-2"})}
    return xr.Dataset(fields, climate(count=1).coords)


def outlines(boxes=None, crs=4326):
    boxes = BOXES if boxes is None else boxes
    return gpd.GeoDataFrame({"RGIId": list(boxes)}, geometry=[shapely.box(*b) for b in boxes.values()], crs=crs)


def raster(path, values, step=0.01, west=10.55, north=46.85):
    values = np.asarray(values)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=values.shape[0],
        width=values.shape[1],
        dtype=values.dtype,
        crs="EPSG:4326",
        transform=Affine(step, 0, west, 0, -step, north),
    ) as file:
        file.write(values, 1)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Raw files without a fault."""
    folder = tmp_path_factory.mktemp("sound")
    climate().to_netcdf(folder / "era5.nc")
    invariant().to_netcdf(folder / "invariant.nc")
    outlines().to_file(folder / "outlines.gpkg")
    raster(folder / "dem.tif", (2500 + 10 * np.add.outer(np.arange(30), np.arange(40))).astype("int16"))
    raster(folder / "MOD10A1_doy2019182000000.tif", np.full((30, 40), 60, "uint8"))
    rows = [(i, y, -500 - 10 * i, f"RGI60-11.0000{i}") for i in (1, 2) for y in (2019, 2020, 2021)]
    pd.DataFrame(rows, columns=["WGMS_ID", "YEAR", "ANNUAL_BALANCE", "RGI_ID"]).to_csv(folder / "fog.csv", index=False)
    config = {
        "glaciers": {"path": "outlines.gpkg"},
        "climate": {"files": "era5.nc", "accumulated": "daily_mean", "invariant": "invariant.nc"},
        "elevation": {"files": "dem.tif"},
        "albedo": {"files": "MOD10A1_*.tif"},
        "observations": {"path": "fog.csv", "units": "mm w.e."},
    }
    (folder / "alps.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.fixture
def region(sound, tmp_path):
    """A copy to break."""
    return shutil.copytree(sound, tmp_path / "region")


def checked(region, *overrides):
    return check(load_config(region / "alps.yaml", list(overrides)))


def refused(region, *overrides) -> str:
    with pytest.raises((InputError, InputErrors)) as raised:
        checked(region, *overrides)
    text = str(raised.value)
    for part in ("expected:", "found:", "remedy:"):
        assert part in text
    return text


def test_a_sound_region_is_told_in_words(sound):
    found = "\n".join(checked(sound))
    assert "climate t2m, tp, orography, 2018-10 to 2020-12" in found
    assert "2 glaciers" in found
    assert "6 observations linked to outlines (6 by exact), 0 rows unmatched" in found
    assert "hydrological years 2019..2020" in found
    assert "4 glacier-years to learn from" in found


def test_outlines_of_another_region_or_with_swapped_axes_say_where_they_lie(region):
    moved(region, {"RGI60-08.00001": (18.5, 67.9, 18.6, 68.0)})
    text = refused(region)
    assert "the outlines lie at longitudes 18.50..18.60, latitudes 67.90..68.00" in text
    moved(region, {n: (b[1], b[0], b[3], b[2]) for n, b in BOXES.items()})
    assert "latitude and longitude seem to be swapped" in refused(region)


@pytest.mark.parametrize(
    ("heights", "says"),
    [
        (lambda z: z * 0, "cells of exactly 0 m"),
        (lambda z: z / 1000, "look like kilometres"),
        (lambda z: z + 3000, "they differ by +3"),
        (lambda z: z / 0.3048, "look like feet"),
    ],
)
def test_an_elevation_model_of_other_heights_is_seen_by_check(region, heights, says):
    table = outlines().assign(Zmed=[2600, 2650])
    (region / "outlines.gpkg").unlink()
    table.to_file(region / "outlines.gpkg")
    assert checked(region)
    with rasterio.open(region / "dem.tif") as file:
        values = file.read(1)
    (region / "dem.tif").unlink()
    raster(region / "dem.tif", heights(values.astype("float32")).astype("float32"))
    assert says in refused(region)


def test_sites_without_an_outline_come_with_the_line_that_links_them(region):
    rows = ["9,2019,-300,,10.85,46.64,NEAR", "8,2019,-300,,0,0,FAR", "7,2019,-300,RGI60-11.09999,,,OTHER"]
    header = "WGMS_ID,YEAR,ANNUAL_BALANCE,RGI_ID,LONGITUDE,LATITUDE,NAME"
    known = [f"{i},{y},{-500 - 10 * i},RGI60-11.0000{i},,," for i in (1, 2) for y in (2019, 2020, 2021)]
    (region / "fog.csv").write_text("\n".join([header, *known, *rows]) + "\n")
    found = checked(region)
    (line,) = [t for t in found if t.startswith("site 9 NEAR")]
    assert "`observations: {links: {mapping: {'9': RGI60-11.00002}}}`" in line
    assert "unmatched: 1 site(s): no outline with this identifier" in found
    assert "unmatched: 1 site(s): its position is outside all outlines" in found


def test_a_release_brings_its_own_links(region):
    """Balances without identifiers; those of RGI 6 and 7 stand in the table of glaciers of the same archive."""
    balances = pd.read_csv(region / "fog.csv")
    balances = balances.rename(columns={"WGMS_ID": "glacier_id", "YEAR": "year", "ANNUAL_BALANCE": "annual_balance"})
    balances["annual_balance"] /= 1000
    glaciers = "id,short_name,rgi60_ids,latitude,longitude\n1,ONE,RGI60-11.00001,,\n2,TWO,RGI60-11.00002,,\n"
    with zipfile.ZipFile(region / "DOI-WGMS-FoG.zip", "w") as archive:
        archive.writestr("data/mass_balance.csv", balances.drop(columns="RGI_ID").to_csv(index=False))
        archive.writestr("data/glacier.csv", glaciers)
    found = checked(region, "observations.path=DOI-WGMS-FoG.zip", "observations.units=m w.e.")
    assert any(t.startswith("6 observations linked to outlines (6 by exact)") for t in found), found


def test_an_incomplete_last_year_is_listed(sound):
    assert "incomplete hydrological years left out: 2021" in checked(sound)


def test_outlines_beyond_the_cube_are_named(region):
    far = BOXES | {"RGI60-11.00003": (12.0, 46.6, 12.1, 46.7), "RGI60-11.00004": (10.92, 46.6, 11.12, 46.7)}
    (region / "outlines.gpkg").unlink()
    outlines(far).to_file(region / "outlines.gpkg")
    text = "\n".join(checked(region))
    assert "climate files: the area leaves out 2 of 4 glaciers: RGI60-11.00003 (0%), RGI60-11.00004 (15%)" in text
    assert "elevation model: the area leaves out 2 of 4" in text
    assert "failed.csv" in text
    (region / "outlines.gpkg").unlink()
    outlines({n: far[n] for n in list(far)[2:]}).to_file(region / "outlines.gpkg")
    text = refused(region)
    assert "RGI60-11.00003 (0%), RGI60-11.00004 (15%)" in text
    assert "elevation model" in text


def wide_dem(region, *voids, fill=-32768):
    """An elevation model of both the usual boxes and one at 12 degrees east, with holes over some boxes."""
    values = (2500 + 10 * np.add.outer(np.arange(30), np.arange(170))).astype("int16")
    for x0, y0, x1, y1 in voids:
        rows, columns = (
            slice(round(a), round(b))
            for a, b in (((46.85 - y1) * 100, (46.85 - y0) * 100), ((x0 - 10.55) * 100, (x1 - 10.55) * 100))
        )
        values[rows, columns] = fill
    (region / "dem.tif").unlink()
    raster(region / "dem.tif", values)


def moved(region, boxes):
    (region / "outlines.gpkg").unlink()
    outlines(boxes).to_file(region / "outlines.gpkg")


AWAY = (12.0, 46.6, 12.1, 46.7)


def test_where_each_file_leaves_out_other_glaciers_until_none_is_left(region, capsys):
    first, second = BOXES
    moved(region, {first: AWAY, second: BOXES[second]})
    wide_dem(region, (10.7, 46.6, 10.9, 46.7))
    config = [str(region / "alps.yaml"), "--set", "albedo=null", "--set", f"store.root={region / 'out'}"]
    assert main(["run", *config, "--stage", "terrain"]) == 3
    capsys.readouterr()
    assert main(["run", *config]) == 1
    told = capsys.readouterr().err
    assert "all 2 failed" in told
    for part in ("expected:", "found:", "remedy:", first, second):
        assert part in told


def test_where_voids_and_zeros_leave_no_glacier(region, capsys):
    wide_dem(region, BOXES["RGI60-11.00001"])
    with rasterio.open(region / "dem.tif", "r+") as dem:
        values = dem.read(1)
        row, column = dem.index(10.805, 46.645)
        values[row, column] = 0
        dem.write(values, 1)
    config = [str(region / "alps.yaml"), "--set", "albedo=null", "--set", f"store.root={region / 'out'}"]
    assert main(["run", *config, "--stage", "terrain"]) == 1
    told = capsys.readouterr().err
    assert "all 2 failed" in told
    assert "exactly 0 m" in told
    assert "0% of its area" in told


def test_where_all_measured_glaciers_fail_that_is_the_reason_given(region, capsys):
    first, second = BOXES
    moved(region, {first: AWAY, second: (12.2, 46.6, 12.25, 46.7), "RGI60-11.00003": BOXES[second]})
    wide_dem(region)
    config = [str(region / "alps.yaml"), "--set", "albedo=null", "--set", f"store.root={region / 'out'}"]
    assert "at least two of the climate's hydrological years" in refused(region, "albedo=null")
    assert main(["run", *config]) == 1
    told = capsys.readouterr().err
    assert "6 linked to outlines" in told
    assert "failed.csv" in told


def test_check_sees_that_no_glacier_lies_on_both_grids(region):
    first, second = BOXES
    moved(region, {first: AWAY, second: BOXES[second]})
    values = np.full((30, 100), 2500, "int16")
    (region / "dem.tif").unlink()
    raster(region / "dem.tif", values, west=11.5)
    assert "climate files, elevation model" in refused(region, "albedo=null")


def test_glaciers_beside_the_albedo_rasters_have_gaps_and_do_not_fail(region):
    raster(region / "MOD10A1_doy2019182000000.tif", np.full((30, 15), 60, "uint8"))
    (line,) = [t for t in checked(region) if t.startswith("albedo rasters")]
    assert "1 of 2 glaciers: RGI60-11.00002 (0%)" in line
    assert "gaps" in line
    assert "failed.csv" not in line


@pytest.mark.parametrize("shift", [-11.0, 169.3])
def test_outlines_across_greenwich_and_the_antimeridian_are_found(region, shift):
    """The same region elsewhere: the cube counts longitudes to 360, the outlines from -180 to 180."""
    there = np.round((LONGITUDE + shift) % 360, 1)
    for name, ds in (("era5.nc", climate()), ("invariant.nc", invariant())):
        (region / name).unlink()
        ds.assign_coords(longitude=there).to_netcdf(region / name)
    (region / "outlines.gpkg").unlink()
    turn = {n: -360 if b[0] + shift > 180 else 0 for n, b in BOXES.items()}
    moved = {n: (b[0] + shift + turn[n], b[1], b[2] + shift + turn[n], b[3]) for n, b in BOXES.items()}
    outlines(moved).to_file(region / "outlines.gpkg")
    raster(region / "dem.tif", np.full((30, 40), 2500, "int16"), west=10.55 + shift)
    raster(region / "MOD10A1_doy2019182000000.tif", np.full((30, 40), 60, "uint8"), west=10.55 + shift)
    assert "2 glaciers" in "\n".join(checked(region))


def test_everything_broken_is_told_at_once(region):
    wrong = climate(warm=0.0)
    wrong["tp"] = wrong["tp"] * 1000
    (region / "era5.nc").unlink()
    wrong.to_netcdf(region / "era5.nc")
    (region / "dem.tif").write_text("no raster")
    raster(region / "b_doy2019182.tif", np.full((30, 40), 60, "uint8"))
    (region / "outlines.gpkg").unlink()
    outlines().assign(RGIId="same").to_file(region / "outlines.gpkg")
    (region / "fog.csv").write_text("WGMS_ID,YEAR,ANNUAL_BALANCE\n1,,-500\n2,2019,9999x\n")
    text = refused(
        region,
        "albedo.files=[MOD10A1_*.tif, b_doy*.tif]",
        "climate.invariant=null",
        "observations.links.table=gone.csv",
        "predictors.monthly=[ssrd]",
        "models.ridge.predictors=[no_such_thing]",
        "product.truth=gone.nc",
    )
    for part in (
        "degrees Celsius",  # temperature
        "these look like mm",  # precipitation
        "dem.tif",
        "day(s) with several",  # albedo
        "more than once: same",  # outlines
        "fog.csv: year",
        "fog.csv: mass_balance",
        "gone.csv",
        "gone.nc",
        "climate: invariant",
        "predictors: monthly",
        "no_such_thing",
    ):
        assert part in text, f"{part} in {text}"
    assert int(text.split(" ", 1)[0]) >= 12


def test_the_wrong_stream_is_seen_before_a_run(region):
    ds = climate()
    ds["tp"].values[:] = 0.0009
    ds.to_netcdf(region / "x.nc")
    text = refused(region, "climate.files=x.nc", "climate.accumulated=monthly_total")
    assert "m per year" in text
    assert "climate.accumulated" in text
    assert checked(region, "climate.files=x.nc")
    own = refused(region, "climate.files=x.nc", "climate.annual_precipitation=[0.5, 3]")
    assert "0.5..3 m per year" in own


def test_observations_of_unknown_glaciers_are_counted(region):
    with (region / "fog.csv").open("a") as file:
        file.write("77,2019,-300,RGI60-11.99999\n")
    assert "1 rows unmatched" in "\n".join(checked(region))


def test_too_few_observations_to_learn_from(region):
    (region / "fog.csv").write_text("WGMS_ID,YEAR,ANNUAL_BALANCE,RGI_ID\n1,2019,-500,RGI60-11.00001\n")
    assert "at least two of the climate's hydrological years" in refused(region)


def test_a_reference_period_beyond_the_climate(region):
    assert "within the climate's complete hydrological years 2019..2020" in refused(
        region, "predictors.reference=[2019, 2021]"
    )
    assert checked(region, "predictors.reference=[2019, 2020]")


def test_a_field_that_breaks_off_in_the_middle(region):
    path = region / "era5.nc"
    path.unlink()
    rng = np.random.default_rng(1)
    ds = climate()
    ds["t2m"].values[:] += rng.normal(0, 0.1, ds["t2m"].shape)
    ds.to_netcdf(path, encoding={"t2m": {"zlib": True, "chunksizes": (27, 3, 4)}})
    content = bytearray(path.read_bytes())
    start = content.rfind(b"\x78\x5e") if content.rfind(b"\x78\x5e") > 0 else content.rfind(b"\x78\x01")
    content[start + 2 : start + 60] = bytes(58)
    path.write_bytes(bytes(content))
    text = refused(region)
    assert "download" in text


def shp_without_dbf(region):
    outlines().to_file(region / "outlines.shp")
    (region / "outlines.dbf").unlink()
    return "glaciers.path=outlines.shp"


def bow_tie(region):
    shape = shapely.Polygon([(10.7, 46.7), (10.72, 46.72), (10.72, 46.7), (10.7, 46.72)])
    gpd.GeoDataFrame({"RGIId": ["a"]}, geometry=[shape], crs=4326).to_file(region / "x.gpkg")
    return "glaciers.path=x.gpkg"


def single_cell(region):
    climate().isel(latitude=[0], longitude=[0]).to_netcdf(region / "x.nc")
    return "climate.files=x.nc"


def all_nan(region):
    climate(warm=np.nan).to_netcdf(region / "x.nc")
    return "climate.files=x.nc"


def irregular(region):
    climate().assign_coords(longitude=[10.6, 10.7, 10.9, 11.3]).to_netcdf(region / "x.nc")
    return "climate.files=x.nc"


def text_variable(region):
    ds = climate()
    ds["t2m"] = (ds["t2m"].dims, np.full(ds["t2m"].shape, "warm"), {"units": "K"})
    ds.to_netcdf(region / "x.nc")
    return "climate.files=x.nc"


def empty_time(region):
    climate().isel(time=slice(0)).to_netcdf(region / "x.nc")
    return "climate.files=x.nc"


def eleven_months(region):
    climate(count=11).to_netcdf(region / "x.nc")
    return "climate.files=x.nc"


def no_dem_cells(region):
    raster(region / "x.tif", np.full((1, 1), 2500, "int16"))
    return "elevation.files=x.tif"


def written(name, content, key):
    def act(region):
        (region / name).write_bytes(content)
        return f"{key}={name}"

    act.__name__ = f"{key}: {content[:12]!r}"
    return act


HOSTILE = [
    shp_without_dbf,
    bow_tie,
    single_cell,
    all_nan,
    irregular,
    text_variable,
    empty_time,
    eleven_months,
    no_dem_cells,
    *(
        written("x", content, key)
        for key in ("glaciers.path", "climate.files", "climate.invariant", "elevation.files", "observations.path")
        for content in (
            b"",
            b"\x00" * 300,
            b"CDF\x01",
            b"\x89HDF\r\n\x1a\n" + b"\x00" * 50,
            b"<html></html>",
            b"a,b\n1,2\n",
        )
    ),
    *(written("x.dat", b"PK\x03\x04" + b"\x00" * 99, key) for key in ("climate.files", "elevation.files")),
    *(lambda region, key=key: f"{key}=." for key in ("glaciers.path", "climate.files", "climate.invariant")),
]


@pytest.mark.parametrize("breaks", HOSTILE, ids=lambda f: f.__name__)
def test_the_command_names_the_trouble_and_never_shows_a_traceback(region, capsys, breaks):
    override = breaks(region)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of GDAL; the command line does not show them either
        assert main(["check", str(region / "alps.yaml"), "--set", override]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    for part in ("expected:", "found:", "remedy:"):
        assert part in error
    assert "Traceback" not in error


def test_the_command_on_a_sound_region(sound, capsys):
    assert main(["check", str(sound / "alps.yaml")]) == 0
    assert "ok: 2 glaciers" in capsys.readouterr().out


def test_the_command_notes_mended_outlines(region, capsys):
    spike = [(10.62, 46.68), (10.66, 46.68), (10.66, 46.72), (10.70, 46.72), (10.66, 46.72), (10.62, 46.72)]
    table = outlines()
    table.geometry = [shapely.Polygon(spike), table.geometry[1]]
    table.to_file(region / "x.gpkg")
    assert main(["check", str(region / "alps.yaml"), "--set", "glaciers.path=x.gpkg"]) == 0
    assert "note: " in (out := capsys.readouterr().out)
    assert "repaired invalid rings of RGI60-11.00001" in out
