"""Zarr stores behind a URL: read as those on the disk, watched, and complete or an error."""

from __future__ import annotations

import functools
import http.server
import threading

import aiohttp
import fsspec
import numpy as np
import pytest
import xarray as xr

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs import remote
from glacmb_grid.inputs.climate import open_climate
from glacmb_grid.inputs.files import find_files, naming_damage
from glacmb_grid.stores.identity import Inputs

DIMS = ("time", "latitude", "longitude")
TIME = np.arange("2019-01", "2021-01", dtype="datetime64[M]").astype("datetime64[ns]")
LATITUDE, LONGITUDE = np.array([46.8, 46.7, 46.6]), np.array([10.6, 10.7, 10.8, 10.9])


def cube(warmer=0.0):
    shape = (24, 3, 4)
    t2m = np.broadcast_to(270.0 + warmer + np.arange(24)[:, None, None], shape).astype("f4")
    tp = np.broadcast_to(0.001 + 1e-4 * np.arange(24)[:, None, None], shape).astype("f4")
    return xr.Dataset(
        {"2m_temperature": (DIMS, t2m, {"units": "K"}), "total_precipitation": (DIMS, tp, {"units": "m"})},
        coords={"time": TIME, "latitude": LATITUDE, "longitude": LONGITUDE},
    ).chunk(time=12)


def written(where, ds=None, version=3, **options):
    (cube() if ds is None else ds).to_zarr(where, mode="w", zarr_format=version, consolidated=True, **options)
    return where


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch):
    monkeypatch.setattr(remote, "_FRESH", 0.0)
    monkeypatch.setattr(remote, "_KNOWN", {})


@pytest.fixture
def served(tmp_path):
    """A folder and the address under which a server gives it."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def as_read(found):
    return [found[n].values for n in ("t2m", "tp")]


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
@pytest.mark.parametrize("version", [2, 3])
def test_a_store_of_any_url_is_read_as_one_on_the_disk(tmp_path, served, version):
    folder, address = served
    expected = as_read(open_climate(written(tmp_path / "x.zarr", version=version), accumulated="daily_mean"))
    written(folder / "x.zarr", version=version)
    written(f"memory://remote{version}/x.zarr", version=version)
    for url in (f"{address}/x.zarr", f"memory://remote{version}/x.zarr", (tmp_path / "x.zarr").as_uri()):
        found = open_climate(url, accumulated="daily_mean")
        for one, other in zip(as_read(found), expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_missing_chunk_is_missed_there_too():
    url = written("memory://holes/x.zarr")
    fsspec.filesystem("memory").rm("/holes/x.zarr/total_precipitation/c/1/0/0")
    with pytest.raises((InputError, InputErrors), match="1 of 2 chunks are there") as raised:
        open_climate(url, accumulated="daily_mean")
    assert "memory://holes/x.zarr: total_precipitation" in str(raised.value)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_changed_store_is_another_input():
    url = written("memory://changed/x.zarr")
    inputs = Inputs()
    before = inputs.identities(find_files(url, what="climate files"))
    assert [one.name for one in before] == ["x.zarr"]
    same = inputs.identities(find_files(url, what="climate files"))
    assert not same[0].differs(before[0])
    written(url, cube(warmer=1.0))
    paths = find_files(url, what="climate files")
    assert inputs.changed_since(paths) == paths
    assert inputs.identities(paths)[0].differs(before[0])


@pytest.mark.parametrize(
    ("url", "texts"),
    [
        ("memory://nothing/x.zarr", ["memory://nothing/x.zarr", "consolidated metadata", "none there"]),
        ("http://127.0.0.1:9/x.zarr", ["http://127.0.0.1:9/x.zarr", "can be reached", "same command again"]),
        ("nosuch://bucket/x.zarr", ["nosuch://bucket/x.zarr", "nosuch", "correct the URL"]),
    ],
)
def test_what_cannot_be_read_is_told_with_the_url(url, texts):
    with pytest.raises((InputError, InputErrors)) as raised:
        open_climate(url, accumulated="daily_mean")
    for text in texts:
        assert text in str(raised.value)


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_a_line_that_breaks_while_values_are_read_is_told_and_other_errors_are_not_blamed_on_it():
    paths = find_files(written("memory://breaks/x.zarr"), what="climate files")
    with pytest.raises(InputError, match=r"memory://breaks/x.zarr") as raised, naming_damage(paths):
        raise aiohttp.ClientPayloadError("not all data came")
    assert "same command again" in str(raised.value)
    for error in (TypeError("ours"), ValueError("ours")):
        with pytest.raises(type(error), match="ours"), naming_damage(paths):
            raise error


@pytest.mark.filterwarnings("ignore:Consolidated metadata")
def test_times_that_cannot_be_read_are_not_blamed_on_the_line():
    odd = cube().drop_vars("time").assign_coords(time=("time", np.arange(24), {"units": "days since the start"}))
    with pytest.raises((InputError, InputErrors), match=r"memory://odd/x.zarr: time"):
        open_climate(written("memory://odd/x.zarr", odd), accumulated="daily_mean")


def test_a_store_that_is_not_there_and_one_that_is_forbidden(served, monkeypatch):
    _, address = served
    with pytest.raises((InputError, InputErrors), match="none there"):
        open_climate(f"{address}/gone.zarr", accumulated="daily_mean")

    def forbidden(*_):
        raise PermissionError("403 Forbidden")

    monkeypatch.setattr(remote, "_metadata", forbidden)
    with pytest.raises((InputError, InputErrors), match="FSSPEC_S3"):
        open_climate(f"{address}/x.zarr", accumulated="daily_mean")


@pytest.mark.filterwarnings("ignore")
def test_a_run_from_a_url_is_that_of_the_files_and_is_made_again_when_the_store_changes(
    world, served, tmp_path, capsys
):
    folder, address = served
    own = world.at(tmp_path)
    files = load_config(own).climate
    plain = open_climate(files.files, accumulated=files.accumulated, variables=["t2m", "tp"])
    as_delivered = plain.drop_vars("time_bnds").drop_attrs(deep=False)
    as_delivered["tp"].attrs["units"] = "m"
    written(folder / "cube.zarr", as_delivered.chunk(time=12))
    there = ["--set", f"climate.files={address}/cube.zarr", "--set", "store.root=other"]
    same = ["--set", "climate.variables=[t2m, tp]", "--set", "climate.accumulated=monthly_total"]
    written(tmp_path / "cube.zarr", as_delivered.chunk(time=12))
    here = ["--set", "climate.files=cube.zarr"]
    for options in (here, there):
        assert main(["run", str(own), "--stage", "sampled", *options, *same]) == 0, capsys.readouterr().err
    one, two = (xr.open_zarr(tmp_path / root / "sampled" / "climate.zarr").load() for root in ("out", "other"))
    xr.testing.assert_identical(one, two)
    capsys.readouterr()
    assert main(["status", str(own), *there, *same]) == 0
    assert not [line for line in capsys.readouterr().out.splitlines() if line.startswith("sampled") and "stale" in line]
    warmer = as_delivered.assign(t2m=as_delivered["t2m"] + 1)
    written(folder / "cube.zarr", warmer.assign_attrs(version="2").chunk(time=12))
    assert main(["status", str(own), *there, *same]) == 0
    told = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("cubes"))
    assert "climate files.cube.zarr changed" in told


def test_a_url_in_a_configuration_is_no_path(tmp_path, monkeypatch):
    monkeypatch.setenv("BUCKET", "s3://mine")
    (tmp_path / "a.yaml").write_text(
        "glaciers: {path: o.shp}\n"
        'climate: {files: ["${BUCKET}/a.zarr", "https://h/b.zarr"], accumulated: daily_mean}\n'
        "elevation: {files: d.tif}\nobservations: {path: f.csv}\n"
    )
    assert load_config(tmp_path / "a.yaml").climate.files == ["s3://mine/a.zarr", "https://h/b.zarr"]
