"""`glacmb-grid check` on a whole small region in which one thing after the other is broken or odd."""

from __future__ import annotations

import shutil
import warnings
import zipfile

import cftime
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
import yaml
from rasterio.transform import Affine
from rasterio.warp import Resampling, calculate_default_transform, reproject

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.balances import read_observations
from glacmb_grid.inputs.climate.plausible import check_values
from glacmb_grid.inputs.links import link
from glacmb_grid.sampling.zonal import without_valid
from glacmb_grid.workflow.check import check
from glacmb_grid.workflow.runner import run

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
            "tp": (dims, 0.003 + 0.0003 * np.cos(month / 12 * 2 * np.pi), {"units": "m"}),
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


def raster(path, values, step=0.01, west=10.55, north=46.85, crs="EPSG:4326"):
    values = np.asarray(values)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=1,
        height=values.shape[0],
        width=values.shape[1],
        dtype=values.dtype,
        crs=crs,
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
    assert "6 observations linked to outlines (6 by identifier), 0 rows unmatched" in found
    assert "hydrological years 2019..2020" in found
    assert "4 glacier-years to learn from" in found


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
    assert any(t.startswith("6 observations linked to outlines (6 by identifier)") for t in found), found


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


def test_a_balance_of_the_whole_is_not_given_to_a_piece():
    pieces = gpd.GeoDataFrame(
        geometry=[shapely.box(10.80, 46.85, 10.83, 46.88), shapely.box(10.84, 46.85, 10.85, 46.88)],
        index=pd.Index(["RGI50-11.00719_d01", "RGI50-11.00719_d02"], name="glacier"),
        crs=4326,
    )
    observed = pd.DataFrame(
        {
            "site": ["489"], "name": ["VERNAGT"], "year": [2000], "mass_balance": [-0.5], "uncertainty": [0.2],
            "uncertainty_given": [True], "rgi_id": ["RGI60-11.00719"], "longitude": [10.815], "latitude": [46.865],
            "time_system": [""], "line": [2],
        }
    )  # fmt: skip
    with pytest.raises(InputError, match="merge_pieces: true"):
        link(observed, pieces)
    assert list(link(observed, pieces, mapping={"489": "RGI50-11.00719_d01"}).observations["link"]) == ["mapping"]


def test_one_month_far_from_its_like_is_refused():
    time = np.arange("2000-01", "2006-01", dtype="datetime64[M]").astype("datetime64[ns]")
    season = 270 - 12 * np.cos(2 * np.pi * np.arange(72) / 12)
    values = np.broadcast_to(season[:, None, None], (72, 2, 2)).copy()
    dims = ("time", "latitude", "longitude")
    cube = xr.Dataset({"t2m": (dims, values)}, coords={"time": time})
    check_values(cube, source="file.nc")
    values[30] += 40.0
    with pytest.raises(InputError, match=r"file.nc: t2m[\s\S]*2002-07"):
        check_values(cube.assign(t2m=(dims, values)), source="file.nc")


def test_a_glacier_mostly_over_missing_cells_is_refused():
    coverage = np.array([[1.0, 1.0], [1.0, 0.2]], dtype=np.float32)
    sampled = xr.Dataset(
        {
            "t2m": (("glacier", "time"), np.full((2, 2), 270.0)),
            "t2m_coverage": (("glacier", "time"), np.ones((2, 2))),
            "tp": (("glacier", "time"), np.ones((2, 2))),
            "tp_coverage": (("glacier", "time"), coverage),
            "orography_coverage": ("glacier", np.ones(2)),
        },
        coords={"glacier": ["a", "b"], "time": np.array(["1999-12", "2000-01"], "M8[ns]")},
    )
    failures = without_valid(sampled, 0.5, source="climate files")
    assert failures == [("b", "tp", "20% of its area have values in 2000-01, at least 50% are required")]
    assert without_valid(sampled, 0.2, source="climate files") == []
    with pytest.raises(InputError, match=r"climate files: tp\n[\s\S]*1 of 1 glaciers below that: b \(20%\)"):
        without_valid(sampled.isel(glacier=[1]), 0.5, source="climate files")


# ---- the table: name, how it is made, what is told (refused, unless the text begins with `ok`) ----


def rewritten(region, change, name="era5.nc", **options):
    """The climate, or the file of constant fields, after a change."""
    ds = invariant() if name == "invariant.nc" else climate()
    (region / name).unlink(missing_ok=True)
    changed = change(ds)
    (ds if changed is None else changed).to_netcdf(region / name, **options)


def air(change, *overrides, **options):
    """Another climate."""

    def make(region):
        rewritten(region, change, **options)
        return overrides

    return make


def put(variable, value, **at):
    """Values of a variable replaced, all or some by position."""

    def change(ds):
        index = tuple(at.get(d, slice(None)) for d in ds[variable].dims)
        ds[variable].values[index] = value(ds[variable].values[index]) if callable(value) else value

    return change


def attributes(variable, **attrs):
    def change(ds):
        ds[variable].attrs = attrs

    return change


def halves(ds):
    """Precipitation as CESM has it: rates of convective and large-scale precipitation, m/s."""
    rates = {n: (ds["tp"] * share / 86400).assign_attrs(units="m/s") for n, share in (("PRECC", 0.25), ("PRECL", 0.75))}
    return ds.drop_vars("tp").assign(rates)


def finer_than(ds, a_day):
    """A month of daily or hourly fields."""
    time = np.datetime64("2019-01-01", "ns") + np.arange(31 * a_day) * np.timedelta64(24 // a_day, "h")
    return ds.isel(time=np.zeros(len(time), int)).assign_coords(time=time)


def bounded(ds, length):
    """Records that begin at their stamps and take this long."""
    begin = ds["time"].values
    return ds.assign_coords(time_bnds=(("time", "bnds"), np.stack([begin, begin + length], axis=1)))


def two_files(one, other):
    """The climate in two files."""

    def make(region):
        rewritten(region, one, "a.nc")
        rewritten(region, other, "b.nc")
        return ("climate.files=[a.nc, b.nc]",)

    return make


def calendar(kind):
    def change(ds):
        months = [map(int, str(t).split("-")) for t in ds["time"].values.astype("M8[M]")]
        return ds.assign_coords(time=[cftime.datetime(y, m, 1, calendar=kind) for y, m in months])

    return change


def broken_off(name, kept, *overrides, **options):
    """A file that breaks off."""

    def make(region):
        if name.endswith(".nc"):
            rewritten(region, lambda ds: None, name, **options)
        if name.endswith(".shp"):
            outlines().to_file(region / name)
        content = (region / name).read_bytes()
        (region / name).write_bytes(content[: int(len(content) * kept)])
        return overrides

    return make


def heights(change=None, *overrides, **options):
    """Another elevation model; the inventory says where the glaciers lie."""

    def make(region):
        values = 2500.0 + 10 * np.add.outer(np.arange(30), np.arange(40))
        shapes(lambda table: table.assign(Zmed=[2600, 2650]))(region)
        (region / "dem.tif").unlink()
        changed = values if change is None else change(values)
        raster(region / "dem.tif", changed.astype(options.pop("dtype", "float32")), **options)
        return overrides

    return make


def dug(value, rows=slice(None, None, 2)):
    """Every second row of a model at one value."""

    def change(values):
        values[rows] = value
        return values

    return change


def tiles(*others):
    """Several elevation rasters: (values, options) of each."""

    def make(region):
        for number, (values, options) in enumerate(others):
            raster(region / f"tile{number}.tif", values, **options)
        return ("elevation.files=tile*.tif",)

    return make


def shapes(change, *overrides, name="outlines.gpkg"):
    """Other outlines."""

    def make(region):
        table = change(outlines())
        (region / name).unlink(missing_ok=True)
        table.to_file(region / name)
        return overrides or (f"glaciers.path={name}",)

    return make


def boxes(**others):
    return lambda region: moved(region, others) or ()


def balances(change, *overrides):
    """Another table of balances: a function of the rows, as lists of texts with the header first."""

    def make(region):
        rows = [line.split(",") for line in (region / "fog.csv").read_text().splitlines()]
        (region / "fog.csv").write_text("\n".join(",".join(r) for r in change(rows)) + "\n", encoding="utf-8")
        return overrides

    return make


def cell(row, column, text):
    def change(rows):
        rows[row][column] = text
        return rows

    return change


def columns(**more):
    """More columns: a value each, or a list of values."""

    def change(rows):
        for name, values in more.items():
            every = values if isinstance(values, list) else [values] * (len(rows) - 1)
            rows = [[*r, v] for r, v in zip(rows, [name, *every], strict=True)]
        return rows

    return change


def snow(values=None, name="MOD10A1_doy2019182000000.tif", *more):
    """Albedo of another day, layer or kind."""

    def make(region):
        for old in region.glob("MOD10A1*"):
            old.unlink()
        raster(region / name, np.full((30, 40), 60, "uint8") if values is None else values)
        for other, other_values, options in more:
            raster(region / other, other_values, **options)
        return ("albedo={files: '*doy*.tif'}",)

    return make


def text(name, content, *overrides):
    """A file with this content."""

    def make(region):
        (region / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return overrides

    return make


def said(**sections):
    """Another configuration; a section that is None is missing."""

    def make(region):
        config = yaml.safe_load((region / "alps.yaml").read_text())
        for name, section in sections.items():
            new = {**config.get(name, {}), **section} if isinstance(section, dict) else section
            config[name] = {k: v for k, v in new.items() if v is not None} if isinstance(new, dict) else new
        kept = {n: s for n, s in config.items() if s is not None}
        (region / "alps.yaml").write_text(yaml.safe_dump(kept))

    return make


def lost(name):
    return lambda region: (region / name).unlink() or ()


def both(*makes):
    return lambda region: [override for make in makes for override in make(region) or ()]


def written(change):
    """The table of balances as another text or encoding."""

    def make(region):
        changed = change((region / "fog.csv").read_text())
        (region / "fog.csv").write_bytes(changed if isinstance(changed, bytes) else changed.encode())

    return make


def placed(*order):
    """Balances with positions in place of identifiers: columns of longitude and latitude in this order."""

    def change(rows):
        places = {"1": ("10.64", "46.70"), "2": ("10.81", "46.64")}
        return [
            [*rows[0][:3], "LONGITUDE", "LATITUDE"],
            *([*r[:3], *(places[r[0]][k] for k in order)] for r in rows[1:]),
        ]

    return balances(change)


def numbered(ds):
    """Months as decimal numbers, 201810.0."""
    month = ds["time"].values.astype("M8[M]")
    year = month.astype("M8[Y]").astype(int) + 1970
    return ds.assign_coords(time=(year * 100 + month.astype(int) % 12 + 1).astype(float))


def across_greenwich(region):
    """The region at longitude 0, the climate's longitudes from 0 to 360 with the seam inside."""
    shift = LONGITUDE[2]
    for name, ds in (("era5.nc", climate()), ("invariant.nc", invariant())):
        (region / name).unlink()
        ds.assign_coords(longitude=np.round((LONGITUDE - shift) % 360, 1)).sortby("longitude").to_netcdf(region / name)
    moved(region, {n: (b[0] - shift, b[1], b[2] - shift, b[3]) for n, b in BOXES.items()})
    raster(region / "dem.tif", np.full((30, 40), 2500, "int16"), west=10.55 - shift)
    raster(region / "MOD10A1_doy2019182000000.tif", np.full((30, 40), 60, "uint8"), west=10.55 - shift)


def roughly(ds):
    """Coordinates in single precision, rounded otherwise."""
    return ds.assign_coords({n: ds[n].astype("f4") + np.float32(2e-5) for n in ("latitude", "longitude")})


def packed_heights(region):
    """Heights as whole half metres above 1000 m, with scale and offset of the band."""
    heights(lambda z: (z - 1000) / 0.5, dtype="int16")(region)
    with rasterio.open(region / "dem.tif", "r+") as file:
        file.scales, file.offsets = (0.5,), (1000.0,)


def on_feet(region):
    """The elevation model on a projected grid whose axes count feet; heights stay metres."""
    heights()(region)
    warnings.simplefilter("ignore", PendingDeprecationWarning)  # of rasterio itself
    crs, bounds = "+proj=utm +zone=32 +datum=WGS84 +units=us-ft", {"left": 10.55, "bottom": 46.55, "right": 10.95}
    transform, width, height = calculate_default_transform(
        "EPSG:4326", crs, 40, 30, **bounds, top=46.85, resolution=900
    )
    values = np.full((height, width), -9999, "float32")
    with rasterio.open(region / "dem.tif") as file:
        to = {"dst_transform": transform, "dst_crs": crs, "dst_nodata": -9999, "resampling": Resampling.bilinear}
        reproject(file.read(1), values, src_transform=file.transform, src_crs=file.crs, **to)
    (region / "dem.tif").unlink()
    shape = {"height": height, "width": width, "count": 1, "dtype": "float32"}
    with rasterio.open(
        region / "dem.tif", "w", driver="GTiff", crs=crs, transform=transform, nodata=-9999, **shape
    ) as out:
        out.write(values, 1)


def with_islands(table):
    """Outlines of two parts, one of them with a rock in it."""
    parts = []
    for shape in table.geometry:
        x0, y0, x1, y1 = shape.bounds
        west, east = (shapely.box(a, y0, b, y1) for a, b in ((x0, x0 + 0.4 * (x1 - x0)), (x0 + 0.6 * (x1 - x0), x1)))
        parts.append(shapely.MultiPolygon([west.difference(west.centroid.buffer(0.002)), east]))
    return table.set_geometry(parts, crs=4326)


def another_layer(region):
    outlines().to_file(region / "outlines.gpkg", layer="huts")


OWN = {"path": "own.csv", "glacier": "id", "year": "year", "target": "b", "target_units": "m w.e."}


def own(change=None, judged=("mean", "ridge"), **samples):
    """A table of one's own with useful and useless columns, changed."""

    def make(region):
        rng = np.random.default_rng(0)
        glacier, year = (a.ravel() for a in np.indices((6, 8)))
        level, weather = rng.normal(0, 1, 6)[glacier], rng.normal(0, 1, 48)
        table = pd.DataFrame(
            {"id": [f"G{g}" for g in glacier], "year": 2001 + year, "level": level, "weather": weather}
        )
        table["b"] = (0.3 * level + 0.4 * weather + rng.normal(0, 0.3, 48)).round(3)
        table["cell"] = [f"C{g // 2}" for g in glacier]
        table = table if change is None else change(table)
        table = table if isinstance(table, str) else table.to_csv(index=False)
        (region / "own.csv").write_text(table)
        config = {"samples": {**OWN, **samples}, "validation": {"models": list(judged)}}
        (region / "alps.yaml").write_text(yaml.safe_dump(config))

    return make


JUNK = {
    "nothing": b"",
    "zeros": b"\x00" * 300,
    "half a header of NetCDF": b"CDF\x01",
    "half a header of HDF5": b"\x89HDF\r\n\x1a\n" + b"\x00" * 50,
    "half a header of GRIB": b"GRIB\x00\x01\x00\x01" + b"\x00" * 40,
    "half an archive": b"PK\x03\x04" + b"\x00" * 99,
    "a web page": b"<html></html>",
    "another table": b"a,b\n1,2\n",
}
INPUTS = ("glaciers.path", "climate.files", "climate.invariant", "elevation.files", "observations.path")

TABLE = [
    # truncated and damaged
    (
        "climate: a classic NetCDF that breaks off",
        broken_off("era5.nc", 0.8, format="NETCDF3_64BIT"),
        ["era5.nc", "truncated", "download"],
    ),
    ("climate: an HDF5 file that breaks off", broken_off("era5.nc", 0.7), ["era5.nc", "download"]),
    ("elevation: a raster that breaks off", broken_off("dem.tif", 0.5), ["dem.tif", "download the file again"]),
    (
        "albedo: a raster that breaks off",
        broken_off("MOD10A1_doy2019182000000.tif", 0.5, "albedo={files: '*doy*.tif'}"),
        ["MOD10A1_doy2019182000000.tif", "download the file again"],
    ),
    (
        "outlines: a shapefile that breaks off",
        broken_off("o.shp", 0.8, "glaciers.path=o.shp"),
        ["o.shp", "the file breaks off", "again"],
    ),
    (
        "outlines: a shapefile without its table",
        both(shapes(lambda t: t, name="o.shp"), lost("o.dbf")),
        ["o.shp", "identifier", "glaciers: {id: COLUMN}"],
    ),
    ("observations: a quote that is not closed", balances(cell(2, 2, '"-510')), ["fog.csv: line 3", "quote"]),
    *(
        (f"{key}: {kind}", text("x.dat", content, f"{key}=x.dat"), ["x.dat", "remedy:"])
        for key in INPUTS
        for kind, content in JUNK.items()
    ),
    *(
        (f"{key}: a folder", text("x.dat", b"", f"{key}=."), ["remedy:   name"])
        for key in ("climate.files", "climate.invariant", "observations.path")
    ),
    ("outlines: a folder with one GeoPackage", lambda region: ("glaciers.path=.",), ["ok", "2 glaciers"]),
    (
        "outlines: a folder with two",
        shapes(lambda t: t, "glaciers.path=.", name="other.shp"),
        ["expected: a vector file, or a folder with one", "found:    a folder with other.shp, outlines.gpkg", "name"],
    ),
    (
        "outlines: a folder without any",
        lambda region: (region / "empty").mkdir() or ("glaciers.path=empty",),
        ["empty", "a folder with nothing", "a shapefile, a GeoPackage"],
    ),
    (
        "outlines: areas in m2",
        shapes(lambda t: t.assign(area_km2=[13.6e6, 20.5e6])),
        ["ok", "outlines.gpkg: area_km2: areas are stated in m2"],
    ),
    ("outlines: elevations as depths", shapes(lambda t: t.assign(Zmin=[-2500.0, -999.0])), ["ok", "as depths are"]),
    (
        "observations: identifiers of RGI 6 with outlines of RGI 7",
        shapes(lambda t: t.assign(RGIId=[f"RGI2000-v7.0-G-11-0000{k}" for k in (1, 2)])),
        ["its identifier is of RGI 6, the outlines are of RGI 7", "`observations: {links: {versions: FILE}}`"],
    ),
    (
        "observations: identifiers of RGI 7 with outlines of RGI 6",
        balances(lambda rows: [rows[0], *([*r[:3], f"RGI2000-v7.0-G-11-0000{r[0]}"] for r in rows[1:])]),
        ["its identifier is of RGI 7, the outlines are of RGI 6", "`observations: {links: {versions: FILE}}`"],
    ),
    (
        "own table: areas in m2 are told",
        own(lambda t: t.assign(area=1e6 * (1 + t["year"] % 3)), area="area"),
        ["ok", "own.csv: area: areas are in m2"],
    ),
    (
        "own table: elevations as depths",
        own(lambda t: t.assign(z=-2800.0), elevation="z"),
        ["own.csv: z", "change their sign if they are depths"],
    ),
    # wrong product
    (
        "climate: days",
        air(lambda ds: ds.assign_coords(time=ds["time"].values[0] + np.arange(27).astype("m8[D]"))),
        ["era5.nc", "months"],
    ),
    (
        "climate: days of whole months",
        air(lambda ds: finer_than(ds, 1)),
        ["era5.nc", "`glacmb-grid ingest alps.yaml alps_climate.zarr --from daily`", "files: alps_climate.zarr}"],
    ),
    (
        "climate: hours of whole months",
        air(lambda ds: finer_than(ds, 24)),
        ["era5.nc", "`glacmb-grid ingest alps.yaml alps_climate.zarr --from hourly --accumulation of_the_hour`"],
    ),
    (
        "climate: days with their bounds",
        air(lambda ds: bounded(finer_than(ds, 1), np.timedelta64(1, "D"))),
        ["era5.nc: time_bnds", "1 day(s)", "`glacmb-grid ingest alps.yaml alps_climate.zarr --from daily`"],
    ),
    (
        "climate: single instants",
        air(attributes("t2m", units="K", GRIB_stepType="instant", cell_methods="time: point")),
        ["era5.nc", "single instants", "ncatted"],
    ),
    ("climate: no known variable", air(lambda ds: ds.rename(t2m="x1", tp="x2")), ["era5.nc", "names", "x1"]),
    (
        "climate: text for numbers",
        air(lambda ds: ds.assign(t2m=(ds["t2m"].dims, np.full(ds["t2m"].shape, "warm")))),
        ["era5.nc", "t2m"],
    ),
    (
        "invariant: without a geopotential",
        air(lambda ds: ds.rename(z="slt"), name="invariant.nc"),
        ["invariant.nc", "slt", "climate: {names: {"],
    ),
    ("elevation: bytes", heights(lambda z: z / 20, dtype="uint8"), ["dem.tif", "remedy:"]),
    ("elevation: counts only", text("x_num.tif", b"", "elevation.files=x_num.tif"), ["x_num.tif", "counts"]),
    ("albedo: snow cover", snow(name="MOD10A1_NDSI_Snow_Cover_doy2019182000000.tif"), ["NDSI_Snow_Cover", "albedo"]),
    ("albedo: the product without albedo", snow(name="VNP10A1_doy2019182000000.tif"), ["VNP10A1", "no albedo"]),
    (
        "outlines: complexes of RGI 7",
        shapes(
            lambda t: t.rename(columns={"RGIId": "rgi_id"}).assign(
                rgi_id=["RGI2000-v7.0-C-11-00001", "RGI2000-v7.0-C-11-00002"]
            )
        ),
        ["outlines.gpkg", "complex", "G"],
    ),
    (
        "outlines: points",
        shapes(lambda t: t.set_geometry([shapely.Point(10.64, 46.7), shapely.Point(10.8, 46.64)], crs=4326)),
        ["outlines.gpkg", "polygon"],
    ),
    (
        "observations: a table of elevation bands",
        balances(columns(LOWER_BOUND="2500", UPPER_BOUND="2600")),
        ["fog.csv", "glacier-wide"],
    ),
    (
        "observations: a spreadsheet",
        text("fog.xls", b"\xd0\xcf\x11\xe0" + bytes(99), "observations.path=fog.xls"),
        ["fog.xls", "spreadsheet", "save it as CSV"],
    ),
    # reference systems and axes
    (
        "elevation: no reference system",
        heights(crs=None),
        ["dem.tif", "coordinate reference system", "gdal_edit.py -a_srs"],
    ),
    ("elevation: a geocentric system", heights(crs="EPSG:4978"), ["dem.tif", "geographic or projected"]),
    (
        "outlines: no reference system",
        both(shapes(lambda t: t, name="o.shp"), lost("o.prj")),
        ["o.shp", "glaciers: {crs: EPSG:4326}"],
    ),
    (
        "outlines: metres called degrees",
        shapes(lambda t: t.to_crs(32632).set_crs(4326, allow_override=True)),
        ["outlines.gpkg", "degrees", "reference system"],
    ),
    (
        "outlines: another system declared",
        shapes(lambda t: t, "glaciers.crs=EPSG:32632"),
        ["outlines.gpkg", "EPSG:32632"],
    ),
    (
        "outlines: swapped axes",
        boxes(**{n: (b[1], b[0], b[3], b[2]) for n, b in BOXES.items()}),
        ["climate files", "seem to be swapped", "Swap X and Y"],
    ),
    (
        "outlines: swapped axes beyond 90 degrees",
        boxes(a=(40.0, 170.0, 40.1, 170.1)),
        ["outlines.gpkg", "Swap X and Y"],
    ),
    (
        "outlines: another region",
        boxes(a=(18.5, 67.9, 18.6, 68.0)),
        ["the outlines lie at longitudes 18.50..18.60, latitudes 67.90..68.00", "same region"],
    ),
    (
        "climate: swapped axes",
        air(
            lambda ds: ds.rename(latitude="longitude", longitude="latitude").assign_coords(
                longitude=[146.8, 146.7, 146.6], latitude=[110.6, 110.7, 110.8, 110.9]
            )
        ),
        ["era5.nc", "latitudes in -90..90"],
    ),
    (
        "climate: latitudes upwards",
        both(air(lambda ds: ds.isel(latitude=slice(None, None, -1)))),
        ["ok", "2 glaciers", "2019..2020"],
    ),
    (
        "climate: an uneven longitude",
        both(
            air(lambda ds: ds.assign_coords(longitude=[10.6, 10.7, 10.9, 11.0])),
            said(climate={"invariant": None}, sampling={"lapse_rate": 0}),
        ),
        ["climate files: longitude", "10.7 is followed by 10.9", "regrid"],
    ),
    # units, streams, millimetres
    (
        "climate: Celsius called kelvin",
        air(put("t2m", lambda v: v - 273.15)),
        ["era5.nc: t2m", "degrees Celsius", "units: {t2m:"],
    ),
    (
        "climate: millimetres called metres",
        air(put("tp", lambda v: v * 1000)),
        ["era5.nc: tp", "these look like mm", "units: {tp:"],
    ),
    ("climate: a unit nobody has", air(attributes("tp", units="furlong")), ["era5.nc: tp", "furlong", "units: {tp"]),
    ("climate: no unit", air(attributes("t2m")), ["era5.nc: t2m", "unit", "units: {t2m"]),
    ("climate: no unit, declared", air(attributes("t2m"), "climate.units={t2m: K}"), ["ok", "climate t2m, tp"]),
    (
        "climate: the wrong stream",
        air(put("tp", 0.0009), "climate.accumulated=monthly_total"),
        ["era5.nc: tp", "m per year", "climate.accumulated"],
    ),
    (
        "climate: what the stream would give",
        air(put("tp", 0.003)),
        ["ok", "tp: 1.1 m a year over the area with `accumulated: daily_mean` (hourly_mean 26.", "monthly_total 0.036"],
    ),
    (
        "climate: negative precipitation",
        air(put("tp", -0.001, time=15)),
        ["era5.nc: tp", "2020-01", "negative_precipitation: zero"],
    ),
    (
        "climate: negative precipitation, taken as none",
        air(put("tp", -0.001, time=15), "climate.negative_precipitation=zero"),
        ["ok"],
    ),
    ("elevation: feet", heights(lambda z: z / 0.3048), ["look like feet", "elevation: {units: ft}"]),
    ("elevation: feet, declared", heights(lambda z: z / 0.3048, "elevation.units=ft"), ["ok", "2 glaciers"]),
    ("elevation: kilometres", heights(lambda z: z / 1000), ["look like kilometres"]),
    ("elevation: 3 km off", heights(lambda z: z + 3000), ["they differ by +3", "compare: false"]),
    ("observations: no unit", said(observations={"units": None}), ["fog.csv", "observations: {units: mm w.e.}"]),
    (
        "observations: metres called millimetres",
        balances(lambda rows: [rows[0], *([a, b, f"{float(c) / 1000:.3f}", d] for a, b, c, d in rows[1:])]),
        ["fog.csv: mass balance", "m w.e."],
    ),
    (
        "observations: one glacier in metres",
        balances(
            lambda rows: [
                rows[0],
                *(
                    [
                        f"{g}",
                        f"{y}",
                        f"{-500 - 13 * g - 7 * (y % 5)}" if g > 1 else f"{-0.5 - 0.013 * (y % 5):.3f}",
                        f"RGI60-11.0000{g}",
                    ]
                    for g in range(1, 7)
                    for y in range(2010, 2021)
                ),
            ]
        ),
        ["fog.csv: mass balance: glacier '1'", "convert these rows"],
    ),
    (
        "observations: thousands separators",
        balances(cell(1, 2, '"-1\'510"')),
        ["fog.csv: mass_balance", "line(s) 2", "without a separator"],
    ),
    (
        "own table: Fahrenheit is told",
        own(
            lambda t: t.assign(
                **{f"t2m_{m:02d}": 30 + 25 * np.sin((m - 4) / 12 * 2 * np.pi) + t["weather"] for m in range(1, 13)}
            )
        ),
        ["ok"],
    ),
    # fills, gaps and masks taken for data
    (
        "climate: a month without values",
        air(put("t2m", np.nan, time=15)),
        ["era5.nc: t2m", "2020-01", "download these months again"],
    ),
    ("climate: only missing values", air(put("t2m", np.nan)), ["era5.nc: t2m", "only missing values"]),
    ("climate: a fill in one row of cells", air(put("t2m", 194.0, latitude=0)), ["era5.nc: t2m", "194"]),
    ("elevation: undeclared voids", heights(dug(-32768.0, slice(None, None, 4))), ["ok", "2 glaciers"]),
    ("elevation: zeros for voids", heights(dug(0.0)), ["elevation model", "exactly 0 m", "gdal_edit.py -a_nodata 0"]),
    ("elevation: -99 for voids", heights(dug(-99.0)), ["exactly -99 m", "gdal_edit.py -a_nodata -99"]),
    ("elevation: only voids", heights(lambda z: z * 0 - 32768.0), ["elevation model"]),
    (
        "observations: -999 for nothing",
        balances(cell(3, 2, "-999")),
        ["fog.csv: mass balance", "codes -999", "observations: {missing: [-999]}"],
    ),
    (
        "observations: -9999 for nothing",
        balances(cell(3, 2, "-9999")),
        ["fog.csv: mass balance", "codes -9999", "observations: {missing: [-9999]}"],
    ),
    (
        "observations: -9999 as uncertainty",
        balances(columns(ANNUAL_BALANCE_UNC="-9999")),
        ["fog.csv: uncertainty", "-9999", "empty these cells"],
    ),
    # quality, grids, overlaps
    ("albedo: codes of snow cover", snow(np.full((30, 40), 211, "uint8")), ["codes 211", "NDSI_Snow_Cover"]),
    (
        "albedo: a fraction of one day",
        snow(np.full((30, 40), 6000, "int16")),
        ["MOD10A1_doy2019182000000.tif", "percent"],
    ),
    (
        "albedo: days on different grids",
        snow(
            None,
            "MOD10A1_doy2019182000000.tif",
            ("MOD10A1_doy2019183000000.tif", np.full((15, 20), 60, "uint8"), {"step": 0.02}),
        ),
        ["MOD10A1_doy2019183000000.tif"],
    ),
    (
        "albedo: a day given twice",
        snow(None, "MOD10A1_doy2019182000000.tif", ("b_doy2019182.tif", np.full((30, 40), 60, "uint8"), {})),
        ["several"],
    ),
    ("albedo: no date in the name", snow(name="MOD10A1_doy.tif"), ["MOD10A1_doy.tif"]),
    (
        "albedo: no day in the season",
        snow(name="MOD10A1_doy2019002000000.tif"),
        ["albedo", "days in the months", "albedo.months"],
    ),
    (
        "climate: variables on two grids",
        two_files(lambda ds: ds[["t2m"]], lambda ds: ds[["tp"]].isel(longitude=slice(0, 3))),
        ["b.nc", "longitude", "3 values", "same area"],
    ),
    (
        "climate: constant fields on another grid",
        air(lambda ds: ds.assign_coords(latitude=ds["latitude"] + 0.05), name="invariant.nc"),
        ["invariant.nc: z: latitude", "same area"],
    ),
    (
        "climate: an orography in other units",
        air(lambda ds: ds.assign(z=(ds["z"] * 3).assign_attrs(ds["z"].attrs)), name="invariant.nc"),
        ["elevation model, climate: invariant", "orography at", "geopotential in m2 s-2"],
    ),
    (
        "climate: areas that disagree where they overlap",
        two_files(
            lambda ds: ds.isel(longitude=slice(0, 3)),
            lambda ds: (
                (ds + xr.Dataset({"t2m": 3.0, "tp": 0.0}))
                .isel(longitude=slice(2, 4))
                .assign(tp=ds["tp"].isel(longitude=slice(2, 4)))
            ),
        ),
        ["b.nc"],
    ),
    (
        "elevation: tiles of two resolutions",
        tiles(
            (np.full((30, 20), 2500, "int16"), {}), (np.full((15, 10), 2500, "int16"), {"west": 10.75, "step": 0.02})
        ),
        ["tile1.tif"],
    ),
    (
        "elevation: tiles over each other that disagree",
        tiles((np.full((30, 40), 2500, "int16"), {}), (np.full((30, 40), 900, "int16"), {})),
        ["tile"],
    ),
    # months
    ("climate: a month given twice", two_files(lambda ds: None, lambda ds: ds.isel(time=[3])), ["2019-01", "b.nc"]),
    ("climate: a hole", air(lambda ds: ds.isel(time=np.delete(np.arange(27), 5))), ["2019-03", "era5.nc"]),
    ("climate: a calendar without leap days", air(calendar("noleap")), ["ok", "the calendar noleap"]),
    ("climate: months of 30 days", air(calendar("360_day")), ["ok", "the calendar 360_day"]),
    ("climate: no time at all", air(lambda ds: ds.isel(time=slice(0))), ["era5.nc"]),
    (
        "climate: eleven months",
        air(lambda ds: ds.isel(time=slice(11))),
        ["climate: time", "twelve months", "longer period"],
    ),
    (
        "climate: stamps that may be the next month's",
        air(lambda ds: None),
        ["ok", "climate: {stamp: end}", "2018-10 to 2020-12"],
    ),
    (
        "climate: stamps at the end",
        air(
            lambda ds: ds.assign_coords(
                time=(ds["time"].values.astype("M8[M]") + np.timedelta64(1, "M")).astype("M8[ns]")
            ),
            "climate.stamp=end",
        ),
        ["ok", "2018-10 to 2020-12"],
    ),
    (
        "climate: bounds decide",
        air(
            lambda ds: ds.assign_coords(
                time=ds["time"] + np.timedelta64(20, "D"),
                time_bnds=(
                    ("time", "bnds"),
                    np.stack(
                        [
                            ds["time"].values,
                            (ds["time"].values.astype("M8[M]") + np.timedelta64(1, "M")).astype("M8[ns]"),
                        ],
                        1,
                    ),
                ),
            )
        ),
        ["ok", "2018-10 to 2020-12"],
    ),
    ("climate: a single cell", air(lambda ds: ds.isel(latitude=[0], longitude=[0])), ["at least two cells"]),
    (
        "climate: a variable that the models need",
        air(lambda ds: None, "climate.variables=[t2m]"),
        ["models: temperature_index", "tp", "validation: {models: ["],
    ),
    (
        "climate: a variable that no file has",
        air(lambda ds: None, "climate.variables=[t2m, ssrd]"),
        ["ssrd", "only t2m, tp"],
    ),
    (
        "reference years beyond the climate",
        said(predictors={"reference": [2019, 2021]}),
        ["predictors: reference", "2019..2020"],
    ),
    (
        "years of the product beyond the climate",
        said(product={"years": [2015, 2020]}),
        ["product: years", "2019..2020", "2015..2020"],
    ),
    (
        "climate: a unit that is none",
        air(attributes("t2m", units="Kelvins")),
        ["era5.nc: t2m", "'Kelvins'", "climate: {units: {t2m: K}}"],
    ),
    (
        "climate: months 1 to 12",
        air(lambda ds: ds.isel(time=slice(12)).rename(time="month").assign_coords(month=np.arange(1, 13))),
        ["era5.nc", "month: 12", "months without a year are no series"],
    ),
    ("climate: months as decimal numbers", air(numbered), ["ok", "2018-10 to 2020-12"]),
    (
        "climate: years as decimal numbers",
        air(lambda ds: ds.assign_coords(time=2018 + (9.5 + np.arange(27)) / 12)),
        ["era5.nc: time", "2018.79", "CF unit"],
    ),
    (
        "climate: months as text",
        air(lambda ds: ds.assign_coords(time=ds["time"].dt.strftime("%Y-%m").values)),
        ["era5.nc: time", "2018-10", "CF unit"],
    ),
    (
        "climate: the last month first",
        air(lambda ds: ds.isel(time=slice(None, None, -1))),
        ["ok", "2018-10 to 2020-12"],
    ),
    ("climate: time as the last dimension", air(lambda ds: ds.transpose("latitude", "longitude", "time")), ["ok"]),
    ("climate: across Greenwich in 0 to 360", across_greenwich, ["ok", "2 glaciers"]),
    (
        "climate: latitudes that differ by their rounding",
        two_files(lambda ds: ds[["t2m"]], lambda ds: roughly(ds[["tp"]])),
        ["ok", "climate t2m, tp, orography"],
    ),
    (
        "climate: a height called geopotential",
        air(lambda ds: ds.assign(z=(ds["z"] / 9.80665).assign_attrs(ds["z"].attrs)), name="invariant.nc"),
        ["ok", "note: the model's orography lies more than 1500 m", "geopotential (m2 s-2)"],
    ),
    (
        "climate: a geopotential called height",
        air(attributes("z", units="m"), name="invariant.nc"),
        ["invariant.nc: z", "2.452e+04"],
    ),
    ("elevation: scale and offset of the band", packed_heights, ["ok", "2 glaciers"]),
    ("elevation: a grid that counts feet", on_feet, ["ok", "2 glaciers"]),
    (
        "outlines: several layers",
        another_layer,
        ["outlines.gpkg: layer", "outlines, huts", "glaciers: {layer: NAME}"],
    ),
    ("outlines: parts and holes", shapes(with_islands), ["ok", "2 glaciers"]),
    (
        "climate: two rates for precipitation",
        air(halves),
        ["ok", "tp is the sum of PRECC and PRECL", "climate t2m, tp, orography"],
    ),
    (
        "climate: one of two rates for precipitation",
        air(lambda ds: halves(ds).drop_vars("PRECL")),
        ["era5.nc: PRECC", "no PRECL in any of the files"],
    ),
    *(
        (
            f"climate: a sum of {value}",
            air(halves, f"climate.names={{tp: {value}}}"),
            ["climate.names.tp", "a list of the names of several summands"],
        )
        for value in ("[PRECC]", "[PRECC, PRECC]", "3", "[PRECC, 1]")
    ),
    # outlines
    (
        "outlines: identifiers given twice",
        shapes(lambda t: t.assign(RGIId="same")),
        ["outlines.gpkg", "same", "merge_pieces: true"],
    ),
    (
        "outlines: one outline under two names",
        shapes(lambda t: t.set_geometry([t.geometry[0]] * 2, crs=4326)),
        ["RGI60-11.00001", "RGI60-11.00002"],
    ),
    (
        "outlines: decimal numbers as names",
        shapes(lambda t: t.assign(RGIId=[11.00897, 11.0001])),
        ["outlines.gpkg", "text"],
    ),
    (
        "outlines: a ring that crosses itself",
        shapes(
            lambda t: t.iloc[:1].set_geometry(
                [shapely.Polygon([(10.7, 46.7), (10.72, 46.72), (10.72, 46.7), (10.7, 46.72)])], crs=4326
            )
        ),
        ["outlines.gpkg"],
    ),
    (
        "outlines: an unknown layer",
        shapes(lambda t: t, "glaciers.layer=nothing"),
        ["outlines.gpkg: layer nothing", "outlines"],
    ),
    # observations and links
    ("observations: years that are none", balances(cell(2, 1, "2019.5")), ["fog.csv: year", "line(s) 3"]),
    (
        "observations: a glacier-year given twice",
        balances(lambda rows: [*rows, [*rows[1][:2], "-100", rows[1][3]]]),
        ["fog.csv", "2019"],
    ),
    (
        "observations: five years in one",
        balances(columns(begin_date="2014-10-01", end_date="2019-09-30")),
        ["fog.csv", "periods: leave_out"],
    ),
    (
        "observations: no column of years",
        balances(lambda rows: [["id", "x", "ANNUAL_BALANCE", "RGI_ID"], *rows[1:]]),
        ["fog.csv: year", "observations: {columns: {year: COLUMN}}"],
    ),
    (
        "observations: text in UTF-16",
        lambda region: text("fog.csv", (region / "fog.csv").read_text().encode("utf-16"))(region),
        ["ok", "6 observations linked to outlines (6 by identifier)"],
    ),
    (
        "observations: a mapping that YAML takes for octal",
        both(
            balances(
                lambda rows: [
                    rows[0],
                    *([a.replace("1", "0507"), b, c, "" if a == "1" else d] for a, b, c, d in rows[1:]),
                ]
            ),
            said(observations={"links": {"mapping": {"0507": "RGI60-11.00001"}}}),
        ),
        ["ok", "3 by hand"],
    ),
    ("observations: semicolons", written(lambda t: t.replace(",", ";")), ["ok", "6 observations linked"]),
    (
        "observations: semicolons and decimal commas",
        written(lambda t: t.replace(",", ";").replace("-510", "-510,5")),
        ["ok", "6 observations linked"],
    ),
    ("observations: tabs", written(lambda t: t.replace(",", "\t")), ["ok", "6 observations linked"]),
    (
        "observations: a byte order mark",
        written(lambda t: b"\xef\xbb\xbf" + t.encode()),
        ["ok", "6 observations linked"],
    ),
    (
        "observations: the header again between the rows",
        written(lambda t: t + t.splitlines()[0] + "\n"),
        ["fog.csv: mass_balance", "line(s) 8", "remove rows that repeat the header"],
    ),
    (
        "observations: a row of units",
        balances(lambda rows: [rows[0], ["1", "yr", "mm w.e.", ""], *rows[1:]]),
        ["fog.csv: mass_balance", "'mm w.e.' in line(s) 2", "state units"],
    ),
    (
        "observations: a remark above the header",
        written(lambda t: "# by hand, from the yearbook\n" + t),
        ["ok", "6 observations linked"],
    ),
    (
        "observations: blanks behind identifiers",
        written(lambda t: t.replace("RGI60-11.00001", "RGI60-11.00001  ").replace("00002", "00002\u00a0")),
        ["ok", "6 observations linked to outlines (6 by identifier)"],
    ),
    (
        "observations: identifiers in lower case",
        written(lambda t: t.replace("RGI60", "rgi60")),
        ["ok", "6 observations linked to outlines (6 by identifier)"],
    ),
    (
        "observations: days as a spreadsheet counts them",
        balances(columns(begin_date="43374", end_date="43738")),
        ["fog.csv: begin", "a spreadsheet's day 43374 is 2018-10-01", "a spreadsheet's day 43738 is 2019-09-30"],
    ),
    (
        "observations: days first",
        balances(columns(begin_date="01.10.2018", end_date="30.09.2019")),
        ["fog.csv: begin", "'01.10.2018'", "write these dates as YYYY-MM-DD, or empty the cells\n"],
    ),
    (
        "observations: years of two digits",
        balances(lambda rows: [rows[0], *([a, b[2:], c, d] for a, b, c, d in rows[1:])]),
        ["fog.csv: year", "within 1700..2200", "'19'"],
    ),
    (
        "observations: years as seasons",
        balances(lambda rows: [rows[0], *([a, f"{int(b) - 1}/{b[2:]}", c, d] for a, b, c, d in rows[1:])]),
        ["fog.csv: year", "'2018/19'", "the year in which it ends"],
    ),
    (
        "observations: minus signs of a text processor",
        written(lambda t: t.replace(",-", ",\u2212")),
        ["ok", "6 observations linked"],
    ),
    ("observations: positions", placed(0, 1), ["ok", "6 observations linked to outlines (6 by position)"]),
    (
        "observations: latitude where longitude should be",
        placed(1, 0),
        ["observations", "outside all outlines, but among them if latitude and longitude are swapped"],
    ),
    (
        "observations: a unit that is none",
        lambda region: ("observations.units=mm we",),
        ["observations.units", "'mm w.e.'", "'mm we'"],
    ),
    (
        "observations: uncertainties in metres among millimetres",
        balances(columns(ANNUAL_BALANCE_UNC="0.2")),
        ["fog.csv: uncertainty", "none beyond 0.2 mm w.e.: as if in m w.e.", "in the unit of the balances"],
    ),
    (
        "observations: unknown glaciers",
        balances(lambda rows: [rows[0], *([a, b, c, "RGI60-99.99999"] for a, b, c, _ in rows[1:])]),
        ["observations", "no outline with this identifier", "links: {table: FILE}"],
    ),
    (
        "observations: the balance of pieces",
        boxes(
            **{
                "RGI60-11.00001_d01": (10.62, 46.68, 10.64, 46.72),
                "RGI60-11.00001_d02": (10.645, 46.68, 10.66, 46.72),
                "RGI60-11.00002": BOXES["RGI60-11.00002"],
            }
        ),
        ["observations", "merge_pieces: true", "in pieces"],
    ),
    (
        "observations: a position in a neighbour of another name",
        both(
            shapes(lambda t: t.assign(Name=["ONE", "TWO"])),
            balances(
                lambda rows: [
                    [*rows[0], "NAME", "LONGITUDE", "LATITUDE"],
                    *([*r[:3], "", "THREE", "10.64", "46.70"] for r in rows[1:4]),
                ]
            ),
        ),
        ["observations", "THREE", "ONE"],
    ),
    # own tables
    ("own table: sound", own(), ["ok", "48 rows of 6 glaciers, 2001..2008, 2 predictors"]),
    (
        "own table: a pair that adds up to the target",
        own(lambda t: t.assign(p=t["level"] * 3, q=t["b"] - t["level"] * 3)),
        ["own.csv", "p", "q", "allow"],
    ),
    (
        "own table: a copy with noise",
        own(lambda t: t.assign(copy=t["b"] * (1 + 0.01 * t["weather"]))),
        ["own.csv", "copy", "samples: {exclude:"],
    ),
    ("own table: the target in millimetres", own(lambda t: t.assign(b=t["b"] * 1003)), ["own.csv: b", "mm w.e."]),
    (
        "own table: one glacier under two names",
        own(lambda t: t.assign(id=[i.lower() if k == 3 else i for k, i in enumerate(t["id"])])),
        ["own.csv: id", "g0"],
    ),
    (
        "own table: groups that split glaciers",
        own(lambda t: t.assign(cell=[f"C{k % 3}" for k in range(len(t))]), group="cell"),
        ["own.csv: cell", "groups of whole glaciers", "one value for each glacier"],
    ),
    ("own table: no such column", own(target="balance"), ["own.csv: balance", "samples: {target: balance}"]),
    (
        "own table: a column `line` and an odd quote",
        own(lambda t: t.assign(line=1).to_csv(index=False).replace("C1,1", 'C1,"odd', 1)),
        ["own.csv: line 18", "quote"],
    ),
    (
        "own table: no months for the temperature index",
        own(judged=("mean", "temperature_index")),
        ["models: temperature_index", "twelve monthly columns", "validation: {models: [mean]}"],
    ),
    (
        "own table: random folds alone",
        both(own(), said(validation={"schemes": ["random"]})),
        ["validation.schemes", "add logo"],
    ),
    # configuration
    (
        "no `accumulated`",
        said(climate={"accumulated": None}),
        ["climate.accumulated", "daily_mean, hourly_mean, monthly_total", "climate: {accumulated: daily_mean}"],
    ),
    (
        "no `accumulated`, and all else is looked at",
        both(said(climate={"accumulated": None}), balances(lambda rows: rows[:2])),
        ["2 problems", "climate.accumulated", "1 glacier-years"],
    ),
    (
        "calendar years that the files do not hold",
        said(climate={"years": [1950, 2100]}),
        ["ok", "`climate.years` asks for 1950 to 2100, and the files do not hold 1950 to ", " and 20"],
    ),
    ("no elevation model", said(elevation=None), ["alps.yaml: elevation", "glacmb-grid fetch dem"]),
    (
        "an albedo that is not there",
        said(albedo={"files": ["mod10a1/*.tif"]}),
        ["mod10a1", "without albedo, leave `albedo` out"],
    ),
    (
        "no precipitation for the temperature index",
        said(climate={"variables": ["t2m"]}),
        ["models: temperature_index", "temperature alone in the climate files", "precipitation (tp)"],
    ),
    (
        "no climate, and a broken model",
        both(said(climate=None), text("dem.tif", "x")),
        ["add `climate: {files: 'folder/*.nc', accumulated: daily_mean}`", "dem.tif"],
    ),
    (
        "no climate, and too few balances",
        both(lost("era5.nc"), balances(lambda rows: rows[:2])),
        ["era5.nc", "observations", "1 glacier-years"],
    ),
    (
        "an unset variable, and a broken table",
        both(said(climate={"files": "${GLACMB_NOT_SET}/x.nc"}), text("fog.csv", "a,b\n1,2\n")),
        ["export GLACMB_NOT_SET=", "fog.csv: site, year"],
    ),
    (
        "a misspelt key, and a broken model",
        both(said(climate={"stmp": "end"}), text("dem.tif", "x")),
        ["did you mean 'stamp'?", "dem.tif"],
    ),
    ("models as text", said(validation={"models": "ridge"}), ["validation.models", "validation: {models: [ridge]}"]),
    ("models as a list of settings", said(models=["ridge"]), ["alps.yaml: models", "validation: {models: [ridge]}"]),
    ("schemes as text", said(validation={"schemes": "logo"}), ["validation.schemes", "validation: {schemes: [logo]}"]),
    ("a penalty of next to nothing", said(models={"ridge": {"penalties": ["1e-300"]}}), ["models.ridge.penalties.0"]),
    ("predictors that match nothing", said(models={"ridge": {"predictors": ["no_such"]}}), ["no_such"]),
    (
        "a variable in braces without quotes",
        lambda region: text("alps.yaml", (region / "alps.yaml").read_text() + "store: {root: ${MY_DATA}/x}\n")(region),
        ["alps.yaml", 'quote what holds a variable: {root: "${MY_DATA}/x"}'],
    ),
    (
        "a setting without effect is told",
        said(compute={"address": "tcp://127.0.0.1:1"}, models={"lasso": {"penalties": [0.1]}}),
        ["ok", "`compute.address` has no effect", "`models.lasso` has no effect"],
    ),
]


@pytest.mark.parametrize(("make", "says"), [pytest.param(*row[1:], id=row[0]) for row in TABLE])
def test_bad_input_is_refused_with_what_to_do_and_odd_input_is_read_rightly(region, capsys, make, says):
    """Never a traceback: the file, the variable and the remedy, or the value."""
    config = region / "alps.yaml"
    overrides = make(region) or ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of GDAL; the command line does not show them either
        status = main(["check", str(config), *(part for one in overrides for part in ("--set", one))])
    out, err = capsys.readouterr()
    if says[0] == "ok":
        assert status == 0, err
    else:
        assert status == 1, out
        assert err.startswith("error: ")
        for part in ("expected:", "found:", "remedy:"):
            assert part in err
    told = (out + err).replace(f"{region}/", "")
    for part in says:
        assert part in told, f"{part!r} in {told}"


def sampled(region, *overrides, root="out"):
    """The climate of the glaciers as a run takes it."""
    run(load_config(region / "alps.yaml", [f"store.root={region / root}", *overrides]), stage="sampled")
    return xr.load_dataset(region / root / "sampled" / "climate.zarr", engine="zarr")


def test_odd_climates_give_the_series_of_the_sound_one(region):
    expected = sampled(region)
    odd = {
        "numbers": air(numbered),
        "backwards": air(lambda ds: ds.isel(time=slice(None, None, -1))),
        "last": air(lambda ds: ds.transpose("latitude", "longitude", "time")),
        "rounded": two_files(lambda ds: ds[["t2m"]], lambda ds: roughly(ds[["tp"]])),
        "greenwich": across_greenwich,
    }
    for name, make in odd.items():
        overrides = make(region) or ()
        found = sampled(region, *overrides, f"store.root={region / name}", root=name)
        for variable in ("t2m", "tp"):
            np.testing.assert_allclose(found[variable], expected[variable], rtol=1e-6, err_msg=name)


def test_odd_elevation_models_give_the_heights_of_the_sound_one(region):
    found = []
    for name, make in {"plain": heights(), "packed": packed_heights, "feet": on_feet}.items():
        make(region)
        run(load_config(region / "alps.yaml", [f"store.root={region / name}"]), stage="terrain")
        found.append(
            xr.load_dataset(region / name / "terrain" / "terrain.zarr", engine="zarr")["elevation_mean"].values
        )
    np.testing.assert_allclose(found[1], found[0], atol=0.3)
    np.testing.assert_allclose(found[2], found[0], atol=3)


def test_a_minus_of_a_text_processor_is_one(region):
    written(lambda t: t.replace(",-", ",\u2212"))(region)
    balances = read_observations(region / "fog.csv", units="mm w.e.")["mass_balance"]
    assert balances.tolist() == [-0.51] * 3 + [-0.52] * 3


@pytest.mark.parametrize("names", ["{}", "{tp: [PRECC, PRECL]}"])
def test_a_run_takes_the_sum_of_two_rates(region, names):
    rewritten(region, halves)
    days = climate()["time"].dt.days_in_month.values
    expected = climate()["tp"].values[:, 0, 0] * days
    np.testing.assert_allclose(sampled(region, f"climate.names={names}")["tp"].values[0], expected, rtol=1e-6)


def test_the_table_is_long_and_names_each_input_once():
    names = [row[0] for row in TABLE]
    assert len(set(names)) == len(names)
    assert len(names) >= 210
