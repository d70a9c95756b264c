"""What an input is: every file behind it, by content; what changed is noticed however it changed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rasterio
import shapely
import zarr

from glacmb_grid.inputs.parts import Neighbours, parts_of
from glacmb_grid.stores import identity, seals
from glacmb_grid.stores.identity import Identity, Inputs, names_of

SIMPLE = (
    '<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>1</SourceBand>'
    '<SrcRect xOff="0" yOff="0" xSize="4" ySize="4"/><DstRect xOff="{at}" yOff="0" xSize="4" ySize="4"/></SimpleSource>'
)


def tile(path, value=1, west=0):
    options = {"driver": "GTiff", "height": 4, "width": 4, "count": 1, "dtype": "int16", "crs": "EPSG:4326"}
    with rasterio.open(path, "w", transform=rasterio.Affine(0.1, 0, west, 0, -0.1, 1), **options) as file:
        file.write(np.full((4, 4), value, np.int16), 1)


def virtual(path, *names):
    sources = "".join(SIMPLE.format(name=n, at=4 * i) for i, n in enumerate(names))
    path.write_text(
        f'<VRTDataset rasterXSize="{4 * len(names)}" rasterYSize="4"><SRS>EPSG:4326</SRS>'
        "<GeoTransform>0,.1,0,1,0,-.1</GeoTransform>"
        f'<VRTRasterBand dataType="Int16" band="1">{sources}</VRTRasterBand></VRTDataset>'
    )


def grid(path, value=1):
    """An ASCII grid and the file beside it that says where it lies."""
    rows = "\n".join(" ".join([str(value)] * 4) for _ in range(4))
    path.write_text(f"ncols 4\nnrows 4\nxllcorner 0\nyllcorner 0\ncellsize 100\nNODATA_value -9\n{rows}\n")
    path.with_suffix(".prj").write_text(pyproj.CRS(32632).to_wkt("WKT1_ESRI"))


def shapefile(path, x=0.0):
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[shapely.box(x, 0, x + 1, 1)], crs=4326).to_file(path)


class Asked:
    """Asks for one input again and again, each time as another process would."""

    def __init__(self, folder, path, *, raster=False):
        self.folder, self.path, self.raster = folder, path, raster

    def __call__(self, **options) -> Identity:
        memory = self.folder / "memory.json"
        inputs = Inputs(json.loads(memory.read_text()) if memory.exists() else None)
        (found,) = inputs.identities([self.path], raster=self.raster, **options)
        memory.write_text(json.dumps(inputs.memory()))
        return found


def age(*paths, seconds=10_000):
    """Make files older than the tick within which a change could stay unseen."""
    for path in paths:
        for one in [path, *path.rglob("*")] if path.is_dir() else [path]:
            os.utime(one, ns=(0, one.stat().st_mtime_ns - seconds * 10**9))


# ---- which files ----


def test_the_parts_of_a_shapefile_are_those_that_hold_data(tmp_path):
    shapefile(tmp_path / "a.shp")
    for name in ("a.qix", "a.txt", "ab.dbf", "A.shp"):
        (tmp_path / name).touch()
    assert [p.name for p in parts_of(tmp_path / "a.shp")] == ["a.shp", "a.cpg", "a.dbf", "a.prj", "a.shx"]


def test_odd_names_have_parts_too(tmp_path):
    shapefile(tmp_path / "a.shp")
    for path in list(tmp_path.iterdir()):
        path.rename(path.with_name(f"my [1]*{path.suffix}"))
    assert len(parts_of(tmp_path / "my [1]*.shp")) == 5


def test_a_virtual_raster_is_all_that_lies_behind_it(tmp_path):
    (tmp_path / "tiles").mkdir()
    for name, west in (("one", 0), ("two", 0.4)):
        tile(tmp_path / "tiles" / f"{name}.tif", west=west)
    (tmp_path / "tiles" / "one.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    virtual(tmp_path / "inner.vrt", "tiles/one.tif", "tiles/two.tif", "tiles/missing.tif")
    virtual(tmp_path / "outer.vrt", "inner.vrt")
    found = [str(p.relative_to(tmp_path)) for p in parts_of(tmp_path / "outer.vrt", raster=True)]
    assert found[:2] == ["outer.vrt", "inner.vrt"]
    assert sorted(found[2:]) == [f"tiles/{n}" for n in ("missing.tif", "one.tif", "one.tif.aux.xml", "two.tif")]


def test_an_ascii_grid_has_its_projection_and_an_archive_is_itself(tmp_path):
    grid(tmp_path / "g.asc")
    assert [p.name for p in parts_of(tmp_path / "g.asc", raster=True)] == ["g.asc", "g.prj"]
    tile(tmp_path / "t.tif")
    archive = Path(shutil.make_archive(str(tmp_path / "z"), "zip", tmp_path, "t.tif"))
    assert parts_of(archive, raster=True) == [archive]


def test_a_virtual_vector_file_is_all_that_lies_behind_it(tmp_path):
    for name in ("a.shp", "a.dbf", "b.gpkg", "c & d.geojson"):
        (tmp_path / name).write_text("x")
    source = '<OGRVRTLayer name="x"><SrcDataSource{}>{}</SrcDataSource></OGRVRTLayer>'
    (tmp_path / "inner.vrt").write_text(source.format(' relativeToVRT="1"', "c &amp; d.geojson"))
    layers = [
        source.format(' relativeToVRT="1"', "a.shp"),
        source.format(' shared="1"', tmp_path / "b.gpkg"),
        source.format(" relativetoVRT='1'", "inner.vrt"),
        source.format(' relativeToVRT="1"', "outer.vrt"),
        source.format("", "none.gpkg"),
    ]
    (tmp_path / "outer.vrt").write_text(f"<OGRVRTDataSource>{''.join(layers)}</OGRVRTDataSource>")
    names = {p.name for p in parts_of(tmp_path / "outer.vrt")}
    assert names == {"outer.vrt", "a.shp", "a.dbf", "b.gpkg", "inner.vrt", "c & d.geojson"}


def test_links_to_folders_inside_an_input_are_followed_once(tmp_path):
    for name in ("store.zarr/x/c/0", "elsewhere/y/c/0"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("1")
    (tmp_path / "store.zarr" / "y").symlink_to(tmp_path / "elsewhere" / "y")
    (tmp_path / "elsewhere" / "y" / "back").symlink_to(tmp_path / "elsewhere")
    found = [str(p.relative_to(tmp_path)) for p in parts_of(tmp_path / "store.zarr")]
    assert found == ["store.zarr/x/c/0", "store.zarr/y/c/0"]


def test_what_gdal_cannot_read_is_itself(tmp_path):
    (tmp_path / "broken.tif").write_bytes(b"no raster")
    assert parts_of(tmp_path / "broken.tif", raster=True) == [tmp_path / "broken.tif"]


def test_a_database_has_the_changes_that_are_not_yet_in_it(tmp_path):
    for name in ("a.gpkg", "a.gpkg-wal", "a.gpkg-shm"):
        (tmp_path / name).touch()
    assert [p.name for p in parts_of(tmp_path / "a.gpkg")] == ["a.gpkg", "a.gpkg-wal"]


def test_neighbours_begin_with_the_stem(tmp_path):
    for name in ("a.tif", "a.tfw", "a_b.tif", "b.tif", "A.prj"):
        (tmp_path / name).touch()
    assert Neighbours().of(tmp_path / "a.tif") == ["a.tfw", "a.tif", "a_b.tif"]
    assert Neighbours().of(tmp_path / "none" / "a.tif") == []


def test_names_tell_any_number_of_files_apart():
    paths = [Path(p) for p in ("/x/a/t.nc", "/x/b/t.nc", "/y/a/t.nc", "/y/a/u.nc", "/z/t.nc")]
    assert names_of(paths) == ["x/a/t.nc", "b/t.nc", "y/a/t.nc", "u.nc", "z/t.nc"]
    assert names_of(paths[::-1]) == names_of(paths)[::-1]
    assert names_of([]) == []


# ---- what changed ----


def change_content(path):
    path.write_bytes(path.read_bytes()[::-1])


KINDS = {
    "a file": (lambda d: (d / "x.csv").write_text("abc\n"), "x.csv", "x.csv", False),
    "a source of a virtual raster": (
        lambda d: (tile(d / "t.tif"), virtual(d / "in.vrt", "t.tif"), virtual(d / "out.vrt", "in.vrt")),
        "out.vrt", "t.tif", True,
    ),
    "the projection of a grid": (lambda d: grid(d / "g.asc"), "g.asc", "g.prj", True),
    "a part of a shapefile": (lambda d: shapefile(d / "a.shp"), "a.shp", "a.dbf", False),
    "a chunk of zarr": (
        lambda d: zarr.create_array(str(d / "z.zarr"), data=np.arange(40), chunks=(4,)), "z.zarr", "z.zarr/c/7", False,
    ),
    "a tile in a folder": (
        lambda d: ((d / "tiles").mkdir(), tile(d / "tiles" / "a.tif"), tile(d / "tiles" / "b.tif")),
        "tiles", "tiles/b.tif", True,
    ),
    "an archive": (
        lambda d: ((d / "x").mkdir(), (d / "x" / "t").write_text("a"), shutil.make_archive(d / "m", "zip", d, "x")),
        "m.zip", "m.zip", False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["plain", "older", "same times"])
def test_a_change_of_any_part_is_noticed(tmp_path, kind, how):
    """Also where the changed part is older than before, or where its times were set back."""
    make, name, part, raster = KINDS[kind]
    make(tmp_path)
    age(tmp_path)
    ask = Asked(tmp_path, tmp_path / name, raster=raster)
    before = ask()
    assert not ask().differs(before)
    assert ask(whole=True) == before == ask(fresh=True)
    path = tmp_path / part
    kept = path.stat()
    change_content(path)
    if how == "older":
        age(path, seconds=100_000)
    if how == "same times":
        os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    assert ask().differs(before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_touched_or_moved_input_is_the_same(tmp_path, kind):
    make, name, part, raster = KINDS[kind]
    (tmp_path / "one").mkdir()
    make(tmp_path / "one")
    before = Asked(tmp_path, tmp_path / "one" / name, raster=raster)()
    os.utime(tmp_path / "one" / part)
    assert not Asked(tmp_path, tmp_path / "one" / name, raster=raster)().differs(before)
    shutil.copytree(tmp_path / "one", tmp_path / "two" / "deep")
    assert Asked(tmp_path, tmp_path / "two" / "deep" / name, raster=raster)() == before


def test_what_came_or_went_beside_an_input_is_noticed(tmp_path):
    tile(tmp_path / "t.tif")
    age(tmp_path)
    ask = Asked(tmp_path, tmp_path / "t.tif", raster=True)
    before = ask()
    (tmp_path / "t.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    assert ask().differs(before)
    (tmp_path / "t.tif.aux.xml").unlink()
    assert not ask().differs(before)


def test_a_lost_source_of_a_virtual_raster_is_noticed(tmp_path):
    tile(tmp_path / "t.tif")
    virtual(tmp_path / "v.vrt", "t.tif")
    age(tmp_path)
    ask = Asked(tmp_path, tmp_path / "v.vrt", raster=True)
    before = ask()
    (tmp_path / "t.tif").unlink()
    assert ask().differs(before)


def test_a_link_is_what_it_points_to(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("one")
    age(tmp_path / "one", tmp_path / "two")
    ask = Asked(tmp_path, tmp_path / "link")
    before = ask()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("two")
    assert ask().differs(before)


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A file that is large for this test: of 4 MB, of which ends of 1 kB and 64 pieces of 100 bytes are looked at."""
    for name, value in (("WHOLE", 2_000_000), ("_EDGE", 1000), ("_PIECE", 100), ("_EDGE_OF_PART", 10)):
        monkeypatch.setattr(identity, name, value)
    monkeypatch.setattr(seals, "_INSTANT", 0)
    path = tmp_path / "cube.nc"
    path.write_bytes(np.random.default_rng(0).bytes(4_000_000))
    age(path)
    return path


def overwrite(path, start, count, *, keep_times=False):
    kept = path.stat()
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(count))
    if keep_times:
        os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))


def test_a_large_file_corrected_in_place_is_noticed_by_samples_of_its_middle(tmp_path, large):
    ask = Asked(tmp_path, large)
    before = ask()
    assert before.time
    assert not before.whole
    overwrite(large, 2_000_000, 200_000, keep_times=True)
    assert ask().content != before.content


def test_a_small_correction_of_a_large_file_is_noticed_by_its_time(tmp_path, large):
    ask = Asked(tmp_path, large)
    before = ask()
    overwrite(large, 2_000_000, 1)
    after = ask()
    assert after.content == before.content
    assert after.differs(before)


def test_a_small_correction_whose_time_was_set_back_is_noticed_by_reading_all(tmp_path, large):
    ask = Asked(tmp_path, large)
    before = ask(whole=True)
    assert before.whole
    assert ask() == before, "what was read as a whole is remembered"
    overwrite(large, 2_000_000, 1, keep_times=True)
    assert not ask().differs(before), "the price of not reading everything, told in the docs"
    assert ask(whole=True).differs(before)


def test_a_touched_large_file_is_the_same_once_all_of_it_was_read(tmp_path, large):
    ask = Asked(tmp_path, large)
    sampled, whole = ask(), ask(whole=True)
    os.utime(large)
    assert ask().differs(sampled)
    assert not ask(whole=True).differs(whole)


def test_a_chunk_in_a_large_store_is_noticed_whichever_of_its_bytes_changed(tmp_path, large):
    large.unlink()
    data = np.random.default_rng(0).integers(0, 2**60, 400_000)
    zarr.create_array(str(tmp_path / "z.zarr"), data=data, chunks=(10_000,), compressors=None)
    age(tmp_path / "z.zarr")
    ask = Asked(tmp_path, tmp_path / "z.zarr")
    before = ask()
    assert before.time
    overwrite(tmp_path / "z.zarr" / "c" / "7", 40_000, 8)
    assert ask().differs(before)


def test_the_content_of_a_file_of_a_whole_piece_or_two_is_all_looked_at(tmp_path, large):
    for size in (0, 1, 1999, 2000):
        path = tmp_path / f"{size}"
        path.write_bytes(bytes(size))
        mark, one = identity.hashlib.sha256(), identity.hashlib.sha256(bytes(size))
        identity._sample(path, size, mark, 1)  # noqa: SLF001
        assert mark.digest() == one.digest()


# ---- the memory ----


def test_what_is_remembered_is_not_read_again(tmp_path, monkeypatch):
    file = tmp_path / "x.csv"
    file.write_text("abc")
    age(file)
    os.utime(file)
    ask = Asked(tmp_path, file)
    first = ask()
    assert ask() == first
    memory = json.loads((tmp_path / "memory.json").read_text())
    memory["at"] += 10**10  # some seconds later
    (tmp_path / "memory.json").write_text(json.dumps(memory))
    monkeypatch.setattr(identity, "sha256", lambda p: pytest.fail(f"read {p} again"))
    assert ask() == first


def test_a_file_written_an_instant_ago_is_read_again(tmp_path, monkeypatch):
    file = tmp_path / "x.csv"
    file.write_text("abc")
    ask = Asked(tmp_path, file)
    ask()
    read = []
    real = identity.sha256
    monkeypatch.setattr(identity, "sha256", lambda p: (read.append(p), real(p))[1])
    ask()
    assert read == [file]


def test_inputs_that_change_while_they_are_read_are_told(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("abc")
    inputs = Inputs()
    paths = [tmp_path / "a", tmp_path / "b"]
    inputs.identities(paths)
    assert inputs.changed_since([*paths, tmp_path / "never"]) == []
    (tmp_path / "b").write_text("abcd")
    assert inputs.changed_since(paths) == [tmp_path / "b"]
    (tmp_path / "b").unlink()
    assert inputs.changed_since(paths) == [tmp_path / "b"]
    (tmp_path / "a").touch()
    (tmp_path / "a").chmod(0o600)
    assert inputs.changed_since(paths[:1]) == [], "the same content, so that hours of work count"


def test_a_file_that_came_into_a_folder_is_noticed(tmp_path):
    """A copy of a Zarr cube that was not complete: the missing chunk reads as NaN, then it arrives."""
    cube = tmp_path / "cube.zarr" / "x" / "c"
    cube.mkdir(parents=True)
    (cube / "0").write_text("1")
    ask = Asked(tmp_path, tmp_path / "cube.zarr")
    age(cube / "0")
    before = ask()
    (cube / "1").write_text("2")
    assert ask().differs(before)


def test_a_file_that_came_beside_a_source_of_a_virtual_raster_is_noticed(tmp_path):
    (tmp_path / "below").mkdir()
    tile(tmp_path / "below" / "tile.tif")
    virtual(tmp_path / "all.vrt", "below/tile.tif")
    ask = Asked(tmp_path, tmp_path / "all.vrt", raster=True)
    before = ask()
    (tmp_path / "below" / "tile.tif.aux.xml").write_text("<PAMDataset></PAMDataset>")
    assert ask().differs(before)
