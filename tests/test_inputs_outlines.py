"""Outlines written with geopandas in the layouts of inventories; areas known by hand."""

from __future__ import annotations

import warnings

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import shapely

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.outlines import glaciers_dataset, read_outlines, sound_outlines

GEOD = pyproj.Geod(ellps="WGS84")


def ring(x=10.7, y=46.8, size=0.02):
    """A five-sided outline."""
    return shapely.Polygon([(x, y), (x + size, y), (x + size, y + size), (x + size / 2, y + 1.5 * size), (x, y + size)])


def save(tmp_path, shapes, ids=None, name="outlines.gpkg", crs=4326, column="RGIId", layer=None, **more):
    ids = [f"RGI60-11.{i:05d}" for i in range(1, len(shapes) + 1)] if ids is None else ids
    table = gpd.GeoDataFrame({column: ids, "Name": ["x"] * len(ids), **more}, geometry=list(shapes), crs=crs)
    path = tmp_path / name
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided")
        table.to_file(path, layer=layer) if layer else table.to_file(path)
    return path


def geodesic(shape):
    return abs(GEOD.geometry_area_perimeter(shape)[0]) / 1e6


def message(raised) -> str:
    text = str(raised.value)
    for part in ("expected:", "found:", "remedy:"):
        assert part in text
    return text


@pytest.mark.parametrize("name", ["outlines.shp", "outlines.gpkg", "outlines.geojson"])
def test_formats(tmp_path, name):
    found = read_outlines(save(tmp_path, [ring(), ring(10.8)], name=name))
    assert list(found.index) == ["RGI60-11.00001", "RGI60-11.00002"]
    assert found.index.name == "glacier"
    assert found["area"].to_numpy() == pytest.approx([geodesic(ring()), geodesic(ring(10.8))], rel=1e-6)
    inside = shapely.points(found["longitude"], found["latitude"])
    assert shapely.within(inside, found.geometry.to_numpy()).all()


@pytest.mark.parametrize("column", ["rgi_id", "RGIId", "RGIID", "glacier_id"])
def test_columns_of_the_inventories(tmp_path, column):
    path = save(tmp_path, [ring()], ["RGI2000-v7.0-G-11-00001"], column=column)
    assert list(read_outlines(path).index) == ["RGI2000-v7.0-G-11-00001"]


def test_a_column_can_be_named(tmp_path):
    path = save(tmp_path, [ring()], ["A"], column="MY_ID")
    assert list(read_outlines(path, id_column="MY_ID").index) == ["A"]
    for wrong in (None, "GONE"):
        with pytest.raises(InputError, match="MY_ID") as raised:
            read_outlines(path, id_column=wrong)
        assert "glaciers: {id: COLUMN}" in message(raised)


@pytest.mark.parametrize("numbers", [[1, 2], [1.0, 2.0]])
def test_numbers_as_identifiers(tmp_path, numbers):
    assert list(read_outlines(save(tmp_path, [ring(), ring(10.8)], numbers, column="glacier_id")).index) == ["1", "2"]


def test_rows_are_sorted_by_identifier(tmp_path):
    found = read_outlines(save(tmp_path, [ring(10.9), ring()], ["b", "a"]))
    assert list(found.index) == ["a", "b"]
    assert found["longitude"].is_monotonic_increasing


# --- reference systems -----------------------------------------------------------------------------------------------


def test_projected_outlines_are_the_same_glaciers(tmp_path):
    shapes = gpd.GeoSeries([ring(), ring(10.8)], crs=4326)
    dense = shapes.segmentize(0.0005)
    plain = read_outlines(save(tmp_path, dense, name="plain.gpkg"))
    utm = read_outlines(save(tmp_path, dense.to_crs(32632), name="utm.gpkg", crs=32632))
    np.testing.assert_allclose(utm["area"], plain["area"], rtol=1e-7)
    difference = shapely.symmetric_difference(utm.geometry.to_numpy(), plain.geometry.to_numpy())
    assert (shapely.area(difference) < 1e-10).all()
    assert utm.crs.to_epsg() == 4326


def test_a_missing_reference_system_must_be_declared(tmp_path):
    path = save(tmp_path, [ring()], name="outlines.shp", crs=None)
    with pytest.raises(InputError, match=r"\.prj") as raised:
        read_outlines(path)
    assert "glaciers: {crs: EPSG:4326}" in message(raised)
    assert read_outlines(path, crs="EPSG:4326")["area"].iloc[0] == pytest.approx(geodesic(ring()), rel=1e-6)


def test_a_wrongly_declared_reference_system(tmp_path):
    projected = gpd.GeoSeries([ring()], crs=4326).to_crs(32632)
    path = save(tmp_path, projected, name="outlines.shp", crs=None)
    with pytest.raises(InputError, match="declare the reference system"):
        read_outlines(path, crs="EPSG:4326")
    with pytest.raises(InputError, match="EPSG:nonsense"):
        read_outlines(path, crs="EPSG:nonsense")


def test_a_declaration_must_not_contradict_the_file(tmp_path):
    path = save(tmp_path, [ring()])
    assert len(read_outlines(path, crs="EPSG:4326")) == 1
    with pytest.raises(InputError, match="or correct the file"):
        read_outlines(path, crs="EPSG:32632")


def test_longitudes_beyond_180_are_negative_ones(tmp_path):
    found = read_outlines(save(tmp_path, [ring(290.0, -50.0), ring(179.99, -50.0)]))
    assert found["longitude"].iloc[0] == pytest.approx(-70, abs=0.1)
    assert found["area"].to_numpy() == pytest.approx([geodesic(ring(-70, -50.0))] * 2, rel=1e-6)


# --- identifiers -----------------------------------------------------------------------------------------------------


def test_identifiers_given_twice(tmp_path):
    with pytest.raises(InputError, match="more than once: a") as raised:
        read_outlines(save(tmp_path, [ring(), ring(10.8)], ["a", "a "]))
    assert "outlines.gpkg: RGIId" in message(raised)


@pytest.mark.parametrize("blank", ["", "  ", None])
def test_blank_identifiers(tmp_path, blank):
    with pytest.raises(InputError, match="1 blank, in rows 1"):
        read_outlines(save(tmp_path, [ring(), ring(10.8)], ["a", blank]))


def test_pieces_are_merged_when_asked_only(tmp_path):
    path = save(tmp_path, [ring(), ring(10.75), ring(10.9)], ["G_d01", "G_d02", "H"])
    assert list(read_outlines(path).index) == ["G_d01", "G_d02", "H"]
    merged = read_outlines(path, merge_pieces=True)
    assert list(merged.index) == ["G", "H"]
    assert merged.loc["G", "area"] == pytest.approx(geodesic(ring()) + geodesic(ring(10.75)), rel=1e-6)
    assert merged.geometry["G"].geom_type == "MultiPolygon"


def test_touching_pieces_become_one_polygon(tmp_path):
    left, right = shapely.box(10.7, 46.8, 10.71, 46.82), shapely.box(10.71, 46.8, 10.72, 46.82)
    merged = read_outlines(save(tmp_path, [left, right], ["G_d01", "G_d02"]), merge_pieces=True)
    assert merged.geometry["G"].geom_type == "Polygon"


def test_names_of_columns_in_any_case_and_those_of_the_chinese_inventory(tmp_path):
    assert list(read_outlines(save(tmp_path, [ring()], ["a"], column="RGIID", name="a.gpkg")).index) == ["a"]
    more = {"Glc_Name": ["Urumqi No.1"], "Min_Elev": [3740.0], "Max_Elev": [4484.0], "Mean_Elev": [4063.0]}
    table = gpd.GeoDataFrame({"FCGI_ID": [None], "GLIMS_ID": ["G086814E43111N"], **more}, geometry=[ring()], crs=4326)
    table.to_file(tmp_path / "cgi2.shp")
    found = read_outlines(tmp_path / "cgi2.shp")
    assert list(found.index) == ["G086814E43111N"]
    assert found["name"].tolist() == ["Urumqi No.1"]
    assert found[["zmin", "zmed", "zmax"]].to_numpy().tolist() == [[3740.0, 4063.0, 4484.0]]


def test_elevations_of_the_inventory_without_its_codes_for_nothing(tmp_path):
    path = save(tmp_path, [ring(), ring(10.8)], Zmin=["2500", "-999"], Zmed=[3000, 0], Zmax=[3400, 3300])
    found = read_outlines(path)
    np.testing.assert_array_equal(found["zmin"], [2500, np.nan])
    np.testing.assert_array_equal(found["zmed"], [3000, np.nan])
    np.testing.assert_array_equal(found["zmax"], [3400, 3300])
    path = save(
        tmp_path, [ring(), ring(10.8)], ["a_d01", "a_d02"], name="p.gpkg", zmin_m=[2500, 2400], zmax_m=[3000, 3100]
    )
    assert read_outlines(path, merge_pieces=True)[["zmin", "zmax"]].to_numpy().tolist() == [[2400, 3100]]


@pytest.mark.parametrize("numbers", [[11.00897, 11.0001], [1.2345678901234567e17, 1.0]])
def test_decimal_numbers_are_no_identifiers(tmp_path, numbers):
    path = save(tmp_path, [ring(), ring(10.8)], numbers, column="glacier_id")
    with pytest.raises(InputError, match="lose digits") as raised:
        read_outlines(path)
    assert "as text" in message(raised)


@pytest.mark.parametrize(
    ("columns", "name", "what"),
    [
        ({"rgi_id": ["RGI2000-v7.0-I-11-00486"]}, "a.gpkg", "intersects (the product I of RGI 7)"),
        ({"rgi_id": ["RGI2000-v7.0-L-11-00486"]}, "a.gpkg", "centre lines (the product L of RGI 7)"),
        ({"strahler_n": [1]}, "RGI2000-v7.0-L-11_central_europe.gpkg", "centre lines"),
        ({"RGIId_1": ["RGI60-11.00897"], "RGIId_2": ["RGI60-11.00898"]}, "a.gpkg", "intersects"),
        ({"id": ["a"]}, "a.gpkg", "1 features that are lines"),
    ],
)
def test_lines_are_no_outlines_and_are_named(tmp_path, columns, name, what):
    table = gpd.GeoDataFrame(columns, geometry=[shapely.LineString([(10, 46), (11, 47)])], crs=4326)
    table.to_file(tmp_path / name)
    with pytest.raises(InputError) as raised:
        read_outlines(tmp_path / name)
    assert what in str(raised.value)
    assert "RGI2000-v7.0-G-" in str(raised.value)


def test_points_are_no_outlines(tmp_path):
    gpd.GeoDataFrame({"id": ["a"]}, geometry=[shapely.Point(10, 46)], crs=4326).to_file(tmp_path / "a.gpkg")
    with pytest.raises(InputError, match="1 features that are points"):
        read_outlines(tmp_path / "a.gpkg")


def test_complexes_of_rgi_7_are_no_glaciers(tmp_path):
    ids = ["RGI2000-v7.0-C-11-00001", "RGI2000-v7.0-G-11-00002"]
    path = save(tmp_path, [ring(), ring(10.8)], ids, column="rgi_id")
    with pytest.raises(InputError, match=r"complexes of RGI 7: RGI2000-v7.0-C-11-00001") as raised:
        read_outlines(path)
    assert "product G" in message(raised)
    found, failures = sound_outlines(path)
    assert list(found.index) == ids[1:]
    assert [f.glacier for f in failures] == ids[:1]
    with pytest.raises(InputError, match="product G"):
        sound_outlines(save(tmp_path, [ring()], ids[:1], column="rgi_id", name="c.gpkg"))


def test_one_outline_under_two_identifiers(tmp_path):
    moved = shapely.transform(ring(), lambda c: c + 0.0005)
    path = save(tmp_path, [ring(), moved, ring(10.8)], ["G001", "g001", "H"])
    with pytest.raises(InputError, match="two identifiers: G001 and g001") as raised:
        read_outlines(path)
    message(raised)
    found, failures = sound_outlines(path)
    assert list(found.index) == ["H"]
    assert sorted(f.glacier for f in failures) == ["G001", "g001"]


def test_outlines_over_each_other_are_told(tmp_path):
    path = save(tmp_path, [ring(), ring(10.705, 46.805, 0.005), ring(10.72)], ["big", "small", "beside"])
    with pytest.warns(UserWarning, match=r"1 pair\(s\).*big and small \(100% of the smaller\)"):
        assert len(read_outlines(path)) == 3


# --- geometry --------------------------------------------------------------------------------------------------------


def test_a_hole_is_not_glacier_whichever_way_it_turns(tmp_path):
    inner = shapely.box(10.705, 46.805, 10.71, 46.81)
    expected = geodesic(ring()) - geodesic(inner)
    for turned in (list(inner.exterior.coords), list(inner.exterior.coords)[::-1]):
        for shell in (list(ring().exterior.coords), list(ring().exterior.coords)[::-1]):
            path = save(tmp_path, [shapely.Polygon(shell, [turned])])
            assert read_outlines(path)["area"].iloc[0] == pytest.approx(expected, rel=1e-6)


def test_parts_that_turn_in_opposite_ways_add_up(tmp_path):
    other = shapely.Polygon(list(ring(10.8).exterior.coords)[::-1])
    found = read_outlines(save(tmp_path, [shapely.MultiPolygon([ring(), other])]))
    assert found["area"].iloc[0] == pytest.approx(2 * geodesic(ring()), rel=1e-6)


def test_heights_of_vertices_are_dropped(tmp_path):
    found = read_outlines(save(tmp_path, [shapely.force_3d(ring(), 3000.0)]))
    assert not found.geometry.has_z.any()


SPIKE = shapely.Polygon([(10.7, 46.8), (10.72, 46.8), (10.72, 46.82), (10.75, 46.82), (10.72, 46.82), (10.7, 46.82)])
TOUCH = shapely.Polygon(
    [(10.7, 46.8), (10.72, 46.8), (10.72, 46.82), (10.71, 46.82), (10.71, 46.80), (10.705, 46.82), (10.7, 46.82)]
)
BOW_TIE = shapely.Polygon([(10.7, 46.8), (10.72, 46.82), (10.72, 46.8), (10.7, 46.82)])
UNEVEN_BOW_TIE = shapely.Polygon([(10.7, 46.8), (10.72, 46.83), (10.72, 46.8), (10.7, 46.82)])


@pytest.mark.parametrize(
    ("shape", "area"),
    [(SPIKE, geodesic(shapely.box(10.7, 46.8, 10.72, 46.82))), (TOUCH, geodesic(shapely.make_valid(TOUCH)))],
)
def test_small_faults_are_mended_and_said(tmp_path, shape, area):
    assert not shape.is_valid
    path = save(tmp_path, [shape, ring(10.8)])
    with pytest.warns(UserWarning, match="repaired invalid rings of RGI60-11.00001"):
        found = read_outlines(path)
    assert found.geometry.is_valid.all()
    assert found["area"].iloc[0] == pytest.approx(area, rel=1e-6)


@pytest.mark.parametrize("shape", [BOW_TIE, UNEVEN_BOW_TIE])
def test_rings_that_cross_themselves_are_refused(tmp_path, shape):
    with pytest.raises(InputError, match=r"RGI60-11\.00002") as raised:
        read_outlines(save(tmp_path, [ring(10.8), shape]))
    assert "self-intersecting rings" in message(raised)


@pytest.mark.parametrize(
    "shape", [None, shapely.Polygon(), shapely.Point(10.7, 46.8), shapely.LineString([(10.7, 46.8), (10.8, 46.8)])]
)
def test_what_is_no_polygon_is_refused(tmp_path, shape):
    path = save(tmp_path, [ring(), shape])
    with pytest.raises(InputError, match=r"none for RGI60-11\.00002"):
        read_outlines(path)


def test_a_polygon_without_area_is_refused(tmp_path):
    flat = shapely.Polygon([(10.7, 46.8), (10.8, 46.8), (10.7, 46.8)])
    with pytest.raises(InputError, match=r"RGI60-11\.00001"):
        read_outlines(save(tmp_path, [flat, ring()]))


def test_the_polygons_of_a_collection_are_taken(tmp_path):
    path = save(tmp_path, [shapely.GeometryCollection([ring(), shapely.Point(10.7, 46.8)])])
    assert read_outlines(path)["area"].iloc[0] == pytest.approx(geodesic(ring()), rel=1e-6)


# --- files -----------------------------------------------------------------------------------------------------------


def test_layers_must_be_named_where_there_are_several(tmp_path):
    save(tmp_path, [ring()], layer="glaciers")
    path = save(tmp_path, [ring(10.8), ring(10.9)], layer="lakes")
    assert len(read_outlines(path, layer="glaciers")) == 1
    for wrong in (None, "rivers"):
        with pytest.raises(InputError, match="glaciers, lakes") as raised:
            read_outlines(path, layer=wrong)
        assert "glaciers: {layer: NAME}" in message(raised)


def test_an_empty_file_and_a_table_without_geometry(tmp_path):
    empty = save(tmp_path, [], [], name="empty.gpkg")
    with pytest.raises(InputError, match="without rows"):
        read_outlines(empty)
    table = tmp_path / "table.csv"
    pd.DataFrame({"RGIId": ["a"]}).to_csv(table)
    with pytest.raises(InputError, match="without geometry"):
        read_outlines(table)


def test_files_that_are_no_outlines(tmp_path):
    (tmp_path / "x.shp").write_text("not a shapefile")
    (tmp_path / "y.gpkg").write_bytes(b"")
    for name in ("x.shp", "y.gpkg"):
        with pytest.raises(InputError, match=name):
            read_outlines(tmp_path / name)
    with pytest.raises(InputError, match=r"x\.shp, y\.gpkg"):
        read_outlines(tmp_path / "gone.shp")


def test_several_files_are_not_silently_the_first(tmp_path):
    save(tmp_path, [ring()], name="a.gpkg")
    save(tmp_path, [ring()], name="b.gpkg")
    with pytest.raises(InputError, match=r"a\.gpkg, b\.gpkg"):
        read_outlines(tmp_path / "*.gpkg")


@pytest.mark.parametrize(("suffix", "says"), [(".dbf", ".dbf"), (".shx", ".shx"), (".prj", "EPSG:4326")])
def test_a_shapefile_without_its_companions(tmp_path, suffix, says):
    path = save(tmp_path, [ring()], name="outlines.shp")
    path.with_suffix(suffix).unlink()
    with pytest.raises(InputError) as raised:
        read_outlines(path)
    assert says in message(raised)


def test_geoparquet(tmp_path):
    table = gpd.GeoDataFrame({"RGIId": ["a", "b"]}, geometry=[ring(), ring(10.8)], crs=4326)
    table.to_crs(32632).to_parquet(tmp_path / "o.parquet")
    assert read_outlines(tmp_path / "o.parquet")["area"].iloc[0] == pytest.approx(geodesic(ring()), rel=1e-4)
    pd.DataFrame({"RGIId": ["a"]}).to_parquet(tmp_path / "plain.parquet")
    with pytest.raises(InputError, match="GeoParquet") as raised:
        read_outlines(tmp_path / "plain.parquet")
    message(raised)


@pytest.mark.parametrize("part", [".shp", ".shx", ".dbf"])
def test_a_shapefile_that_breaks_off(tmp_path, part):
    path = save(tmp_path, [ring(10 + k / 10) for k in range(9)], name="outlines.shp")
    content = path.with_suffix(part).read_bytes()
    path.with_suffix(part).write_bytes(content[: int(0.7 * len(content))])
    with pytest.raises(InputError, match="breaks off") as raised:
        read_outlines(path)
    assert f"outlines{part}" in message(raised)


def test_latitude_in_the_place_of_longitude(tmp_path):
    path = save(tmp_path, [shapely.transform(ring(120.0), lambda c: c[:, ::-1])])
    with pytest.raises(InputError, match="latitude stands where longitude should") as raised:
        read_outlines(path)
    message(raised)


def test_the_dataset_for_products(tmp_path):
    ds = glaciers_dataset(read_outlines(save(tmp_path, [ring(), ring(10.8)])))
    assert list(ds["glacier"].values) == ["RGI60-11.00001", "RGI60-11.00002"]
    assert ds["area"].attrs["units"] == "km2"
    assert ds["longitude"].attrs["standard_name"] == "longitude"


# --- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.filterwarnings("ignore:.*repaired invalid rings")
def test_the_real_outlines_of_the_oetztal_alps(real_data):
    path = real_data / "oetztal" / "rgi_oetztal.shp"
    own = gpd.read_file(path).set_index("RGIId")
    apart = read_outlines(path)
    assert len(apart) == 20
    np.testing.assert_allclose(apart["area"], own["Area"].astype(float).reindex(apart.index), rtol=0.05)
    merged = read_outlines(path, merge_pieces=True)
    assert len(merged) == 19
    assert merged["area"].sum() == pytest.approx(apart["area"].sum(), rel=1e-6)


# --- across the antimeridian


@pytest.mark.parametrize("merge", [False, True])
def test_an_outline_across_the_antimeridian_is_one_glacier_however_it_is_drawn(tmp_path, merge):
    whole = shapely.box(179.9, 71.0, 180.2, 71.1)
    ways = {
        "beyond": whole,
        "pieces": shapely.MultiPolygon([shapely.box(179.9, 71.0, 180, 71.1), shapely.box(-180, 71.0, -179.8, 71.1)]),
        "jump": shapely.Polygon([(179.9, 71.0), (-179.8, 71.0), (-179.8, 71.1), (179.9, 71.1)]),
        "reverse": shapely.Polygon([(179.9, 71.0), (179.9, 71.1), (-179.8, 71.1), (-179.8, 71.0)]),
    }
    for way, shape in ways.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # nothing is mended
            found = read_outlines(save(tmp_path, [shape], [way], name=f"{way}.gpkg"), merge_pieces=merge)
        assert found["area"].to_numpy() == pytest.approx([geodesic(whole)], rel=1e-4)
        assert 179.7 < abs(found["longitude"].iloc[0]) <= 180
        assert way != "jump" or found.geometry["jump"].equals(whole)


# --- one by one


def test_the_sound_ones_and_what_is_wrong_with_the_others(tmp_path):
    tie = shapely.Polygon([(10.7, 46.8), (10.8, 46.9), (10.8, 46.8), (10.7, 46.9)])
    flat = shapely.Polygon([(10.7, 46.8), (10.8, 46.8), (10.7, 46.8)])
    shapes = [ring(), tie, shapely.Polygon(), None, flat, ring(10.8), ring(10.9), ring(11.0), ring(11.1)]
    ids = ["ok", "tie", "empty", "none", "flat", None, "twice", "twice", "fine"]
    path = save(tmp_path, shapes, ids)
    found, failures = sound_outlines(path)
    assert list(found.index) == ["fine", "ok"]
    assert {f.glacier: f.variable for f in failures} == {
        "row 5": "RGIId", "twice": "RGIId", "empty": "geometry", "none": "geometry", "tie": "geometry",
        "flat": "geometry",
    }  # fmt: skip
    with pytest.raises(InputError, match="blank"):
        read_outlines(path)
    with pytest.raises(InputError, match="self-intersecting rings"):
        sound_outlines(save(tmp_path, [tie], ["tie"], name="only.gpkg"))


def test_a_glacier_with_a_broken_piece_is_left_out_whole(tmp_path):
    tie = shapely.Polygon([(10.7, 46.8), (10.8, 46.9), (10.8, 46.8), (10.7, 46.9)])
    found, failures = sound_outlines(
        save(tmp_path, [ring(), tie, ring(10.9)], ["a_d01", "a_d02", "b"]), merge_pieces=True
    )
    assert list(found.index) == ["b"]
    assert [f.glacier for f in failures] == ["a_d02", "a_d01"]
