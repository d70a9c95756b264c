"""Overlap areas, the grid and the zonal mean, against areas worked out by other means."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import dask
import dask.array as da
import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rioxarray  # noqa: F401
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from glacmb_grid.errors import InputError
from glacmb_grid.sampling.grid import Grid, grid_of
from glacmb_grid.sampling.lapse_rate import correct_temperature
from glacmb_grid.sampling.lattice import authalic_sine
from glacmb_grid.sampling.zonal import overlap_weights, sample, without_cover

GEOD = pyproj.Geod(ellps="WGS84")
AXIS, SQUARED = 6378137.0, 0.0066943799901413165  # semi-major axis and squared eccentricity of WGS 84
SAME = {"rtol": 1e-12, "atol": 1e-6}


def outlines(*shapes, crs=4326, ids=None):
    ids = ids or [f"G{i}" for i in range(len(shapes))]
    return gpd.GeoDataFrame(geometry=list(shapes), index=ids, crs=crs)


def cube(latitude, longitude, values=None, names=("latitude", "longitude"), time=None):
    shape = (len(latitude), len(longitude))
    values = np.zeros(shape) if values is None else values
    dims = (*(("time",) if values.ndim == 3 else ()), *names)
    coords = {names[0]: latitude, names[1]: longitude} | ({"time": time} if time is not None else {})
    return xr.Dataset({"f": (dims, values)}, coords=coords)


def projected(y, x, values=None, epsg=32632):
    return cube(y, x, values, ("y", "x")).rio.write_crs(epsg)


def as_dense(weights):
    matrix = np.zeros((len(weights.rows), weights.size))
    np.add.at(matrix, (weights.row, weights.column), weights.weight)
    return matrix


def star(x, y, radius, corners, seed):
    """A ragged ring that does not cross itself."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    while np.diff(angle, append=angle[0] + 2 * np.pi).max() > 2.9:
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    r = radius * rng.uniform(0.3, 1, corners)
    return shapely.Polygon(np.column_stack([x + r * np.cos(angle), y + r * np.sin(angle)]))


def strip_area(south, north, west, east):
    """Area between two parallels and two meridians, by integration of the ellipsoid's radii, m2."""

    def element(latitude):
        return np.cos(latitude) / (1 - SQUARED * np.sin(latitude) ** 2) ** 2

    integral, _ = quad(element, np.deg2rad(south), np.deg2rad(north), epsabs=0, epsrel=1e-13)
    return AXIS**2 * (1 - SQUARED) * integral * np.deg2rad(east - west)


def line_integral(ring, pieces=20000):
    """Area of a ring whose edges are straight in longitude and latitude: integral of F(latitude) d longitude."""
    corners = np.asarray(ring.coords)
    points, weights = np.polynomial.legendre.leggauss(4)
    node, share = (points + 1) / 2, weights / 2
    total = 0.0
    each = max(pieces // len(corners), 20)
    for (x0, y0), (x1, y1) in pairwise(corners):
        t = ((np.arange(each)[:, None] + node) / each).ravel()
        sine = np.sin(np.deg2rad(y0 + t * (y1 - y0)))
        e = np.sqrt(SQUARED)
        height = 0.5 * (sine / (1 - SQUARED * sine**2) + np.log((1 + e * sine) / (1 - e * sine)) / (2 * e))
        total += (height * np.tile(share, each)).sum() / each * np.deg2rad(x1 - x0)
    return abs(AXIS**2 * (1 - SQUARED) * total)


# --- latitude and longitude


def test_authalic_sine_gives_strip_areas():
    for south, north in ((-90, 90), (0, 1), (46, 46.1), (-75, -74.9)):
        planar = 6371007.181**2 * np.deg2rad(0.1) * np.diff(authalic_sine([south, north]))[0]
        assert planar == pytest.approx(strip_area(south, north, 0, 0.1), rel=1e-9)


@pytest.mark.parametrize("descending", [True, False], ids=["north first", "south first"])
@pytest.mark.parametrize("falling", [False, True], ids=["west first", "east first"])
def test_a_rectangle_over_four_cells(descending, falling):
    lat, lon = np.array([46.0, 46.1, 46.2]), np.array([10.0, 10.1, 10.2, 10.3])
    ds = cube(lat[::-1] if descending else lat, lon[::-1] if falling else lon)
    weights = overlap_weights(outlines(shapely.box(10.07, 46.04, 10.22, 46.12)), ds)
    expected = np.zeros((3, 4))
    for i, (south, north) in enumerate([(46.04, 46.05), (46.05, 46.12)]):
        for j, (west, east) in enumerate([(10.07, 10.15), (10.15, 10.22)]):
            expected[i, j + 1] = strip_area(south, north, west, east)
    expected = expected[:: -1 if descending else 1, :: -1 if falling else 1]
    np.testing.assert_allclose(as_dense(weights).reshape(3, 4), expected, rtol=1e-8)
    assert weights.total[0] == pytest.approx(strip_area(46.04, 46.12, 10.07, 10.22), rel=1e-8)


@pytest.mark.parametrize("latitude", [-78.0, -45.3, 0.02, 30.7, 46.8, 70.4, 79.9])
def test_areas_of_triangles_cut_by_the_grid(latitude):
    """Every cell's piece is clipped in longitude and latitude by other code and integrated along its edges."""
    x, y = 10.0 + np.arange(9) * 0.1, latitude + (np.arange(9) - 4) * 0.1
    shape = shapely.Polygon([(10.12, latitude - 0.31), (10.71, latitude - 0.12), (10.33, latitude + 0.36)])
    weights = overlap_weights(outlines(shape.segmentize(0.0005)), cube(y, x))
    found = as_dense(weights).reshape(9, 9)
    for i in range(9):
        for j in range(9):
            box = shapely.box(x[j] - 0.05, y[i] - 0.05, x[j] + 0.05, y[i] + 0.05)
            piece = shapely.intersection(shape, box)
            expected = line_integral(piece.exterior, 400) if piece.area > 0 else 0.0
            assert found[i, j] == pytest.approx(expected, rel=1e-7, abs=1.0)
    assert weights.total[0] == pytest.approx(line_integral(shape.exterior), rel=1e-7)
    assert found.sum() == pytest.approx(weights.total[0], rel=1e-12)


def rough(seed, latitude):
    """Few corners far apart, in one piece or two, perhaps with a hole, or a sliver; edges of 20 m to 30 km."""
    rng = np.random.default_rng(seed)
    radius = 10 ** rng.uniform(-3, -0.7)
    squeeze = 1 / np.cos(np.deg2rad(latitude))
    shape = star(0, 0, radius, rng.integers(3, 24), seed)
    kind = rng.integers(4)
    if kind == 0:
        hole = star(0, 0, radius / 6, 5, seed + 1)
        shape = shape.difference(hole) if shape.contains(hole) else shape
    elif kind == 1:
        shape = shapely.MultiPolygon([shape, star(2.5 * radius, 0, radius, rng.integers(3, 24), seed + 2)])
    elif kind == 2:
        shape = shapely.Polygon([(0, 0), (radius, radius / 3), (radius, radius / 3 + 1e-5)])
    place = rng.uniform(-0.1, 0.1, 2)
    moved = shapely.transform(shape, lambda c: (c + place) * [squeeze, 1] + [86.4, latitude])
    return moved if isinstance(moved, shapely.MultiPolygon) else shapely.MultiPolygon([moved])


def ring_areas(shape):
    """Area of all rings of a polygon or several, holes taken off, by dense quadrature."""
    parts = [p for p in shapely.get_parts(shape) if p.geom_type == "Polygon" and not p.is_empty]
    return sum(line_integral(p.exterior, 2000) - sum(line_integral(h, 2000) for h in p.interiors) for p in parts)


@given(st.floats(-80, 80), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_cells_of_rough_outlines_are_those_of_dense_quadrature(latitude, seed):
    """Clipped in longitude and latitude by other code, every piece integrated along its edges on the ellipsoid."""
    shape = rough(seed, latitude)
    y, x = np.round(latitude, 1) + (np.arange(9) - 4) * 0.1, 86.4 + (np.arange(61) - 30) * 0.1
    weights = overlap_weights(outlines(shape), cube(y, x))
    whole = ring_areas(shape)
    noise = 0.05  # m2: what the quadrature loses of large numbers
    assert weights.total[0] == pytest.approx(whole, rel=1e-6, abs=noise)
    assert weights.weight.sum() == pytest.approx(weights.total[0], rel=1e-12)
    found = as_dense(weights).reshape(9, 61)
    for i, j in np.ndindex(9, 61):
        piece = shapely.intersection(shape, shapely.box(x[j] - 0.05, y[i] - 0.05, x[j] + 0.05, y[i] + 0.05))
        assert found[i, j] == pytest.approx(ring_areas(piece), abs=1e-6 * whole + noise)


@given(st.floats(-80, 80), st.integers(0, 10**6))
@settings(max_examples=40)
def test_outlines_with_short_edges_have_their_geodesic_area(latitude, seed):
    """With edges of 110 m: what is left, 3e-7 at 80 degrees, shrinks with the square of their length."""
    squeeze = 1 / np.cos(np.deg2rad(latitude))
    ring = np.asarray(star(0, 0, 0.03, 60, seed).segmentize(0.001).exterior.coords) * [squeeze, 1] + [86.4, latitude]
    shape = shapely.Polygon(ring)
    ds = cube(np.round(latitude, 1) + (np.arange(7) - 3) * 0.1, 86.4 + (np.arange(21) - 10) * 0.1)
    weights = overlap_weights(outlines(shape), ds)
    geodesic = abs(GEOD.geometry_area_perimeter(shape)[0])
    assert weights.total[0] == pytest.approx(geodesic, rel=1e-6)
    assert weights.weight.sum() == pytest.approx(weights.total[0], rel=1e-12)


def test_long_edges_are_straight_in_longitude_and_latitude():
    """The sloping edge of this triangle is 160 km long: cut only at its ends it would miss 0.1 % of the area."""
    shape = shapely.Polygon([(10.0, 60.0), (12.0, 61.0), (10.0, 61.0)])
    total = overlap_weights(outlines(shape), cube(np.arange(59, 62.5, 0.5), np.arange(9, 13.5, 0.5))).total[0]
    assert total == pytest.approx(line_integral(shape.exterior), rel=1e-7)
    west, east = np.deg2rad([10.0, 12.0])
    low, high = authalic_sine([60.0, 61.0])
    undensified = 6371007.181**2 * (east - west) * (high - low) / 2
    assert abs(undensified / total - 1) > 1e-3
    assert total == pytest.approx(abs(GEOD.geometry_area_perimeter(shape.segmentize(0.005))[0]), rel=1e-6)


def test_longitudes_off_by_360_are_the_same_place():
    shapes = [star(-72.93 + 0.11 * i, -45.02, 0.08, 12, i) for i in range(3)]
    lat = np.arange(-44.5, -45.6, -0.1)
    west = overlap_weights(outlines(*shapes), cube(lat, np.arange(-73.5, -72.0, 0.1)))
    east = overlap_weights(outlines(*shapes), cube(lat, np.arange(286.5, 288.0, 0.1)))
    moved = [shapely.transform(s, lambda c: c + np.array([360.0, 0.0])) for s in shapes]
    back = overlap_weights(outlines(*moved), cube(lat, np.arange(-73.5, -72.0, 0.1)))
    assert west.weight.sum() == pytest.approx(west.total.sum(), rel=1e-12)
    for other in (east, back):
        np.testing.assert_allclose(as_dense(other), as_dense(west), rtol=1e-7, atol=1)
        np.testing.assert_allclose(other.total, west.total, rtol=1e-10)


def test_bringing_outlines_to_the_grid_leaves_the_input_as_it_was():
    glaciers = outlines(shapely.box(-72.9, -45.1, -72.8, -45.0), shapely.box(287.3, -45.1, 287.4, -45.0))
    before = glaciers.geometry.bounds.to_numpy().copy()
    overlap_weights(glaciers, cube(np.arange(-44.5, -45.6, -0.1), np.arange(286.5, 288.0, 0.1)))
    np.testing.assert_array_equal(glaciers.geometry.bounds.to_numpy(), before)


def test_an_outline_across_the_antimeridian_on_a_regional_window():
    shape = shapely.box(179.93, 67.02, 180.07, 67.08)
    weights = overlap_weights(outlines(shape), cube(np.arange(66.8, 67.4, 0.1), np.arange(179.5, 180.6, 0.1)))
    assert weights.weight.sum() == pytest.approx(strip_area(67.02, 67.08, 0, 0.14), rel=1e-8)


# --- projected grids


def planar_loop(shapes, y, x, step):
    table = np.zeros((len(shapes), len(y) * len(x)))
    for k, shape in enumerate(shapes):
        for i, yc in enumerate(y):
            for j, xc in enumerate(x):
                corner = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * step / 2 + [xc, yc]
                table[k, i * len(x) + j] = shape.intersection(shapely.Polygon(corner)).area
    return table


HOLED = shapely.Polygon(
    [(-900, -900), (950, -800), (870, 940), (-760, 880)],
    [[(-300, -310), (410, -280), (120, 390)], [(500, 500), (640, 520), (560, 700)]],
)
MULTI = shapely.MultiPolygon([shapely.box(-930, -940, -480, -510), star(300, 300, 500, 11, 3)])
SLIVER = shapely.Polygon([(-950, -0.01), (950, 0.013), (950, 0.017), (-950, -0.004)])
DUST = shapely.Polygon([(101, 101), (101.001, 101), (101, 101.001)])
ALIGNED = shapely.box(-500, -300, 300, 500)  # its edges are cell edges


@pytest.mark.parametrize("flip_y", [1, -1])
@pytest.mark.parametrize("flip_x", [1, -1])
def test_overlaps_on_a_projected_grid_are_planar(flip_y, flip_x):
    x, y = 650000.0 + np.arange(-900, 1000, 200.0)[::flip_x], 5190000.0 + np.arange(-900, 1000, 200.0)[::flip_y]
    shapes = [HOLED, MULTI, SLIVER, DUST, ALIGNED, *(star(10 * i, -7 * i, 850, 9 + i, i) for i in range(4))]
    shapes = [shapely.transform(s, lambda c: c + np.array([650000.0, 5190000.0])) for s in shapes]
    weights = overlap_weights(outlines(*shapes, crs=32632), projected(y, x))
    found, expected = as_dense(weights), planar_loop(shapes, y, x, 200.0)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-4)
    np.testing.assert_array_equal(found > 1e-3, expected > 1e-3)
    np.testing.assert_allclose(found.sum(axis=1), [s.area for s in shapes], rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(weights.total, [s.area for s in shapes], rtol=1e-12)


@given(st.integers(0, 10**6), st.floats(20, 900), st.integers(4, 40))
@settings(max_examples=40)
def test_no_area_is_lost_or_made(seed, radius, corners):
    rng = np.random.default_rng(seed)
    shapes = [star(*rng.uniform(-300, 300, 2), radius, corners, seed + i) for i in range(3)]
    centres = np.arange(-1350, 1400, 100.0)
    weights = overlap_weights(outlines(*shapes, crs=32632), projected(centres[::-1], centres))
    found = as_dense(weights)
    np.testing.assert_allclose(found.sum(axis=1), [s.area for s in shapes], rtol=1e-12)
    assert found.max() <= 1e4 * (1 + 1e-12)
    assert (weights.weight > 0).all()


def test_outlines_are_brought_to_the_projection_of_the_grid():
    x, y = np.arange(640000.0, 660001, 1000), np.arange(5200000.0, 5179999, -1000)
    shape = star(650100, 5190200, 6000, 15, 1)
    geographic = outlines(shape, crs=32632).to_crs(4326)
    found = as_dense(overlap_weights(geographic, projected(y, x)))
    np.testing.assert_allclose(found, planar_loop([shape], y, x, 1000.0), rtol=1e-6, atol=1e-2)


# --- where outlines lie


def test_a_glacier_inside_one_cell_has_one_weight_which_is_its_area():
    ds = cube(np.array([46.0, 46.1, 46.2]), np.array([10.0, 10.1, 10.2]))
    shape = star(10.1, 46.1, 0.03, 9, 0)
    weights = overlap_weights(outlines(shape), ds)
    assert weights.column.tolist() == [4]
    assert weights.weight[0] == weights.total[0]
    assert weights.total[0] == pytest.approx(line_integral(shape.exterior), rel=1e-5)


def test_a_glacier_that_fills_its_cells_exactly():
    ds = cube(np.array([46.0, 46.1, 46.2]), np.array([10.0, 10.1, 10.2]))
    weights = overlap_weights(outlines(shapely.box(10.05, 45.95, 10.15, 46.05)), ds)
    found = as_dense(weights)[0]
    assert found[1] == pytest.approx(strip_area(45.95, 46.05, 10.05, 10.15), rel=1e-9)
    assert found.sum() - found[1] < 1.0  # m2, where a corner misses an edge by rounding


def test_what_lies_off_the_grid_stays_in_the_total():
    ds = cube(np.array([46.0, 46.1]), np.array([10.0, 10.1]))
    inside, half, corner, out = (
        shapely.box(10.0, 46.0, 10.02, 46.02),
        shapely.box(10.13, 46.0, 10.17, 46.02),
        shapely.box(9.94, 45.94, 9.96, 45.96),
        shapely.box(11.0, 46.0, 11.1, 46.1),
    )
    weights = overlap_weights(outlines(inside, half, corner, out), ds)
    share = as_dense(weights).sum(axis=1) / weights.total
    np.testing.assert_allclose(share, [1, 0.5, 0.25, 0], atol=1e-4)
    assert without_cover(weights, 0.0, source="climate") == []
    failures = without_cover(weights, 0.4, source="climate files")
    assert [(f.glacier, f.variable) for f in failures] == [("G2", "grid"), ("G3", "grid")]
    assert failures[0].reason == "the climate files cover 25% of its area, at least 40% are required"
    with pytest.raises(InputError, match="climate") as error:
        without_cover(weights.take(np.array([False, False, True, True])), 0.4, source="climate")
    assert "2 of 2 glaciers" in error.value.found
    assert "G2 (25%), G3 (0%)" in error.value.found


def test_full_cover_may_be_demanded():
    x = np.arange(-900, 1000, 200.0)
    shapes = [star(0, 0, 890, 5 + i, i) for i in range(30)]
    weights = overlap_weights(outlines(*shapes, crs=32632), projected(x, x))
    assert (as_dense(weights).sum(axis=1) < weights.total).any()  # by rounding only
    assert without_cover(weights, 1.0, source="climate") == []


@pytest.mark.parametrize("side", [(9.5, 46.0), (10.6, 46.0), (10.0, 45.5), (10.0, 46.6)])
def test_glaciers_on_all_sides_of_the_grid_touch_nothing(side):
    ds = cube(np.array([46.0, 46.1]), np.array([10.0, 10.1]))
    weights = overlap_weights(outlines(shapely.box(*side, side[0] + 0.1, side[1] + 0.1)), ds)
    assert weights.weight.size == 0
    assert weights.total[0] > 0
    sampled = sample(ds, weights)
    assert np.isnan(sampled["f"].values).all()
    assert sampled["f_coverage"].values.tolist() == [0.0]


def test_rows_keep_the_order_of_the_outlines():
    boxes = [shapely.box(10.1, 46.1, 10.12, 46.12), shapely.box(10.0, 46.0, 10.02, 46.02)]
    weights = overlap_weights(outlines(*boxes, ids=["z", "a"]), cube(np.array([46.0, 46.1]), np.array([10.0, 10.1])))
    assert weights.rows.tolist() == ["z", "a"]
    assert weights.column.tolist() == [3, 0]
    assert weights.size == 4


# --- sampling


def halves():
    """One glacier lies in two cells, by 20 and 60 of its 80 m; one in the second of them only, one in another row."""
    x, y = np.array([50.0, 150.0, 250.0]), np.array([50.0, 150.0])
    shapes = [shapely.box(80, 10, 160, 20), shapely.box(110, 10, 120, 20), shapely.box(210, 110, 220, 120)]
    return x, y, outlines(*shapes, crs=32632)


def test_means_and_coverage_known_by_hand():
    x, y, glaciers = halves()
    f = np.array([[[1.0, 5.0, 9.0], [9.0, 9.0, 7.0]], [[1.0, np.nan, 9.0], [9.0, 9.0, np.nan]]])
    ds = projected(y, x, f)
    ds["f"].attrs = {"units": "K"}
    ds["other"] = ("time", [1.0, 2.0])
    sampled = sample(ds, overlap_weights(glaciers, ds))
    assert sampled["f"].dims == ("glacier", "time")
    assert set(sampled.data_vars) == {"f", "f_coverage"}
    np.testing.assert_array_equal(sampled["f"].values, [[4.0, 1.0], [5, np.nan], [7, np.nan]])
    np.testing.assert_array_equal(sampled["f_coverage"].values, [[1, 0.25], [1, 0], [1, 0]])
    assert sampled["f"].dtype == sampled["f_coverage"].dtype == np.float32
    assert sampled["f"].attrs == {"units": "K"}
    assert sampled["glacier"].values.tolist() == ["G0", "G1", "G2"]


def test_a_glacier_over_missing_cells_never_borrows_from_its_neighbours():
    x, y, glaciers = halves()
    f = np.full((2, 3), 4.0)
    f[0, 1] = np.nan
    sampled = sample(projected(y, x, f), overlap_weights(glaciers, projected(y, x)))
    np.testing.assert_array_equal(sampled["f"].values, [4.0, np.nan, 4.0])
    np.testing.assert_array_equal(sampled["f_coverage"].values, [0.25, 0.0, 1.0])


def region(months=24, seed=0):
    rng = np.random.default_rng(seed)
    lat, lon = np.arange(47.0, 45.95, -0.1), np.arange(9.0, 10.55, 0.1)
    f = rng.normal(270, 10, (months, len(lat), len(lon))).astype(np.float32)
    f[:, rng.random(f.shape[1:]) < 0.2] = np.nan
    f[0, 4] = np.nan
    time = (np.datetime64("2000-01", "M") + np.arange(months).astype("timedelta64[M]")).astype("datetime64[ns]")
    shapes = [star(*rng.uniform([9.2, 46.2], [10.3, 46.8]), rng.uniform(0.005, 0.2), 14, i) for i in range(40)]
    return cube(lat, lon, f, time=time), outlines(*shapes)


CHUNKS = [
    {"time": -1, "latitude": -1, "longitude": -1},
    {"time": 1, "latitude": -1, "longitude": -1},
    {"time": 7, "latitude": -1, "longitude": -1},
    {"time": -1, "latitude": 3, "longitude": 4},
    {"time": 5, "latitude": 1, "longitude": 16},
]


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
def test_chunks_do_not_change_a_bit(chunks):
    ds, glaciers = region()
    weights = overlap_weights(glaciers, ds)
    whole, blocks = sample(ds, weights), sample(ds.chunk(chunks), weights).compute(scheduler="synchronous")
    for name in ("f", "f_coverage"):
        assert whole[name].values.tobytes() == blocks[name].values.tobytes()
        assert blocks[name].dims == ("glacier", "time")
    assert len(weights.touched) < weights.size
    np.testing.assert_array_equal(whole["time"], ds["time"])


@pytest.mark.parametrize("order", [("latitude", "time", "longitude"), ("longitude", "latitude", "time")])
def test_the_order_of_dimensions_does_not_matter(order):
    ds, glaciers = region()
    weights = overlap_weights(glaciers, ds)
    xr.testing.assert_identical(sample(ds.transpose(*order), weights), sample(ds, weights))


def test_sampling_agrees_with_a_loop_over_glaciers_and_months():
    ds, glaciers = region(months=5)
    weights = overlap_weights(glaciers, ds)
    found, matrix = sample(ds, weights), as_dense(weights)
    for g in range(len(glaciers)):
        for t in range(5):
            f = ds["f"].values[t].ravel().astype(np.float64)
            ok = np.isfinite(f)
            share = matrix[g, ok].sum() / weights.total[g]
            assert found["f_coverage"].values[g, t] == pytest.approx(share, abs=1e-6)
            mean = np.average(f[ok], weights=matrix[g, ok]) if share > 0 else np.nan
            assert found["f"].values[g, t] == pytest.approx(mean, rel=1e-6, nan_ok=True)


@st.composite
def anything(draw):
    """A grid anywhere, outlines of all kinds on and around it, a field with gaps, and a way to cut it into chunks."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    step, ny, nx, nt = rng.choice([0.05, 0.1, 0.25]), rng.integers(2, 12), rng.integers(2, 12), rng.integers(1, 9)
    south = rng.uniform(-75, 75)
    west = draw(st.sampled_from([179.5, -180.2, 359.7, -0.3, 77.0, 300.0]))
    lat, lon = south + step * np.arange(ny), west + step * np.arange(nx)
    shapes = []
    for k in range(rng.integers(1, 12)):
        shape = shapely.transform(rough(int(rng.integers(10**6)), 0.0), lambda c: c - [86.4, 0])
        place = rng.uniform([west - step, south - step], [west + nx * step, south + ny * step])
        shape = shapely.transform(shape, lambda c, p=place: c * rng.uniform(0.3, 3) * step / 0.1 + p)
        if k % 3 == 0:  # as inventories cut it at 180 degrees
            cut = [shapely.intersection(shape, shapely.box(w, -90, w + 360, 90)) for w in (-540, -180, 180)]
            turned = [
                shapely.transform(c, lambda x, by=360 * (1 - n): x + np.array([by, 0])) for n, c in enumerate(cut)
            ]
            parts = [p for c in turned for p in shapely.get_parts(c) if p.geom_type == "Polygon" and not p.is_empty]
            shape = shapely.MultiPolygon(parts)
        shapes.append(shape)
    f = rng.normal(270, 10, (nt, ny, nx)).astype(draw(st.sampled_from([np.float32, np.float64])))
    gaps = draw(st.sampled_from(["none", "sea", "months", "anything", "all"]))
    if gaps in ("sea", "anything"):
        f[:, rng.random((ny, nx)) < 0.3] = np.nan
    if gaps in ("months", "anything"):
        f[rng.random(f.shape) < 0.2] = rng.choice([np.nan, np.inf, -np.inf])
    f[:] = np.nan if gaps == "all" else f
    time = (np.datetime64("2000-01", "M") + np.arange(nt).astype("timedelta64[M]")).astype("datetime64[ns]")
    ds = cube(lat[:: draw(st.sampled_from([1, -1]))], lon, f, time=time)
    order = draw(st.permutations(["time", "latitude", "longitude"]))
    chunks = {}
    for dim, n in ds.sizes.items():
        cuts = np.sort(rng.choice(np.arange(1, n), rng.integers(0, n), replace=False)) if n > 1 else []
        chunks[dim] = tuple(int(c) for c in np.diff([0, *cuts, n]))
    return ds.transpose(*order), outlines(*shapes), chunks


@given(anything())
@settings(max_examples=60, deadline=None)
def test_whatever_it_is_given_it_agrees_with_a_dense_reference_whatever_the_chunks(case):
    ds, glaciers, chunks = case
    weights = overlap_weights(glaciers, ds)
    found = sample(ds, weights)
    lazy = sample(ds.chunk(chunks), weights).compute(scheduler="synchronous")
    xr.testing.assert_identical(lazy, found)
    matrix = as_dense(weights)
    field = ds["f"].transpose("time", "latitude", "longitude").values.reshape(ds.sizes["time"], -1).astype(np.float64)
    valid = np.isfinite(field)
    seen = matrix @ valid.T
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(seen > 0, matrix @ np.where(valid, field, 0).T / seen, np.nan)
        share = seen / weights.total[:, None]
    np.testing.assert_allclose(found["f"].values, means, rtol=2e-7)
    np.testing.assert_allclose(found["f_coverage"].values, share, atol=1e-6)
    assert (share <= 1 + 1e-9).all()


def test_a_constant_field_comes_out_as_it_went_in():
    ds, glaciers = region()
    value = np.float32(271.3217)
    sampled = sample(ds.where(ds["f"].isnull(), value), overlap_weights(glaciers, ds))
    seen = sampled["f_coverage"].values > 0
    assert (sampled["f"].values[seen] == value).all()
    assert np.isnan(sampled["f"].values[~seen]).all()


def test_nothing_is_computed_until_asked():
    def refuse(*_, **__):
        raise AssertionError("computed too early")

    ds, glaciers = region()
    weights = overlap_weights(glaciers, ds)
    with dask.config.set(scheduler=refuse):
        sampled = sample(ds.chunk({"time": 6, "latitude": 4}), weights)
        assert dask.is_dask_collection(sampled["f"])
        assert dask.is_dask_collection(sampled["f_coverage"])
        with pytest.raises(AssertionError, match="too early"):
            sampled.compute()


def test_only_chunks_with_glaciers_are_read():
    read = []

    def block(block_info=None):
        place = block_info[None]["chunk-location"]
        read.append(place)
        return np.ones(block_info[None]["chunk-shape"], np.float32)

    lazy = da.map_blocks(block, chunks=((12, 12), (5,) * 4, (5,) * 4), dtype=np.float32, meta=np.empty((0, 0, 0)))
    lat, lon = 46.0 + 0.1 * np.arange(20), 10.0 + 0.1 * np.arange(20)
    ds = xr.Dataset({"f": (("time", "latitude", "longitude"), lazy)}, coords={"latitude": lat, "longitude": lon})
    glaciers = outlines(shapely.box(10.1, 46.1, 10.2, 46.2), shapely.box(11.6, 46.6, 11.7, 46.7))
    sampled = sample(ds, overlap_weights(glaciers, ds))
    read.clear()
    values = sampled["f"].compute(scheduler="synchronous")
    assert (values == 1).all()
    assert sorted(read) == [(0, 0, 0), (0, 1, 3), (1, 0, 0), (1, 1, 3)]


def test_weights_of_another_grid_are_refused():
    ds, glaciers = region(months=1)
    weights = overlap_weights(glaciers, ds)
    for other in (
        ds.isel(latitude=slice(1, None)),
        ds.assign_coords(longitude=ds["longitude"] + 0.1),
        ds.isel(latitude=slice(None, None, -1)),
    ):
        with pytest.raises(ValueError, match="belong to grid"):
            sample(other, weights)


def test_zonal_sums_over_two_halves_of_the_grid_add_up():
    ds, glaciers = region(months=2)
    weights = overlap_weights(glaciers, ds)
    flat = ds["f"].values.reshape(2, -1)
    west = (np.arange(weights.size) % ds.sizes["longitude"]) < 7
    total = sum(weights.sums(np.where(side, flat, np.nan)) for side in (west, ~west))
    np.testing.assert_allclose(total, weights.sums(flat), rtol=1e-12)


# --- the grid


@pytest.mark.parametrize("names", [("latitude", "longitude"), ("lat", "lon")])
def test_single_precision_coordinates_give_the_exact_edges(names):
    lon32 = np.array([10.6, 10.7, 10.8, 10.9], np.float32)
    assert float(lon32[0]) != 10.6
    grid = grid_of(cube(np.arange(47.3, 46.85, -0.1).astype(np.float32), lon32, names=names))
    np.testing.assert_allclose(grid.x_edges, [10.55, 10.65, 10.75, 10.85, 10.95], rtol=0, atol=1e-13)
    np.testing.assert_allclose(grid.y_edges, [47.35, 47.25, 47.15, 47.05, 46.95, 46.85], rtol=0, atol=1e-13)
    assert (grid.y, grid.x) == names
    assert grid.is_geographic
    assert grid.shape == (5, 4)


def test_fine_single_precision_coordinates_are_still_regular():
    lat, lon = 43 + np.arange(300) / 3600, 86 + np.arange(200) / 3600
    grid = grid_of(cube(lat.astype(np.float32), lon.astype(np.float32)))
    np.testing.assert_allclose(grid.x_edges[[0, -1]], [86 - 0.5 / 3600, 86 + 199.5 / 3600], rtol=0, atol=2e-5)


def test_coordinates_of_a_projected_grid():
    ds = projected(np.array([30.0, 20.0, 10.0]), np.array([0.0, 10.0]), epsg=32645)
    grid = grid_of(ds)
    assert grid.y_edges.tolist() == [35.0, 25.0, 15.0, 5.0]
    assert grid.x_edges.tolist() == [-5.0, 5.0, 15.0]
    assert grid.crs.to_epsg() == 32645
    assert not grid.is_geographic
    assert grid_of(ds["f"]).digest == grid.digest


def test_degrees_named_y_and_x_are_geographic():
    assert grid_of(projected(np.array([46.0, 46.1]), np.array([10.0, 10.1]), epsg=4326)).is_geographic


@pytest.mark.parametrize(
    ("longitude", "message"),
    [
        ([10.0, 10.1, 10.3, 10.4], "regular spacing"),
        ([10.0, 10.1, 10.2, 10.4], "regular spacing"),
        ([10.0, 10.2, 10.3, 10.4], "regular spacing"),
        ([10.0, 10.1, 10.102, 10.2], "regular spacing"),
        ([10.0, 10.1, 10.05, 10.2], "in mixed order"),
        ([10.0, 10.1, 10.1, 10.2], "in mixed order"),
        ([10.0, 10.1, 10.2, 10.0], "in mixed order"),
        ([10.0, np.nan, 10.2, 10.3], "in mixed order"),
        ([10.0], "at least two"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_coordinates_that_make_no_regular_grid_are_refused(longitude, message, dtype):
    ds = cube(np.array([46.0, 46.1]), np.array(longitude, dtype))
    with pytest.raises(InputError, match=message) as error:
        grid_of(ds, name="era5.nc")
    assert error.value.where == "era5.nc: longitude"


def test_stretched_coordinates_are_refused_though_each_step_is_nearly_the_last():
    step = 0.1 * (1 + 0.008 * np.sin(np.linspace(0, 2 * np.pi, 200)))
    with pytest.raises(InputError, match="regular spacing"):
        grid_of(cube(46 + np.cumsum(step), np.array([10.0, 10.1])))


def test_no_reference_system_is_an_error():
    with pytest.raises(InputError, match="a coordinate reference system"):
        grid_of(cube(np.array([1.0, 2.0]), np.array([1.0, 2.0]), names=("y", "x")))


def test_no_horizontal_dimensions_or_coordinates_is_an_error():
    with pytest.raises(InputError, match="cell"):
        grid_of(xr.Dataset({"f": (("time", "cell"), np.zeros((2, 3)))}))
    with pytest.raises(InputError, match="with coordinates"):
        grid_of(xr.Dataset({"f": (("latitude", "longitude"), np.zeros((2, 3)))}))


def test_the_grid_reads_reference_systems_by_itself():
    code = (
        "import numpy as np, xarray as xr\n"
        "from glacmb_grid.sampling.grid import grid_of\n"
        "ds = xr.Dataset({'f': (('y', 'x'), np.zeros((2, 2)))}, coords={'y': [1.0, 2.0], 'x': [1.0, 2.0]})\n"
        "print(grid_of(ds.rio.write_crs(32632)).crs.to_epsg())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["32632"]


def test_equal_grids_have_one_digest():
    lat, lon = np.arange(47.0, 45.95, -0.1), np.arange(-0.5, 0.55, 0.1)
    same = [
        cube(lat, lon),
        cube(lat.astype(np.float32), lon.astype(np.float32)),
        cube(np.round(lat, 3), np.round(lon, 3)),
        cube(lat, lon, names=("lat", "lon")),
        cube(lat, lon + 1e-12),
        cube(lat, lon - 1e-12),
    ]
    assert len({grid_of(ds).digest for ds in same}) == 1


def test_negative_zero_is_zero():
    edges, crs = np.array([0.0, 0.1, 0.2]), pyproj.CRS.from_epsg(4326)
    digests = {Grid(edges, x, crs, "y", "x").digest for x in (edges, edges * [-1.0, 1, 1], edges - [1e-17, 0, 0])}
    assert len(digests) == 1


def test_different_grids_have_different_digests():
    lat, lon = np.arange(47.0, 45.95, -0.1), np.arange(9.0, 10.05, 0.1)
    grids = [
        cube(lat, lon),
        cube(lat[::-1], lon),
        cube(lat, lon[::-1]),
        cube(lat + 0.001, lon),
        cube(lat[:-1], lon),
        cube(lat, lon + 360),
        projected(lat, lon, epsg=32632),
        projected(lat, lon, epsg=32633),
    ]
    assert len({grid_of(ds).digest for ds in grids}) == len(grids)


# --- the elevation correction


def monthly(orography=True):
    ds = xr.Dataset(
        {"t2m": (("glacier", "time"), np.array([[270.0, 280.0], [271.0, 281.0]], np.float32), {"units": "K"})},
        coords={"glacier": ["a", "b"], "time": np.array(["2001-01", "2001-07"], "datetime64[ns]")},
    )
    return ds.assign(orography=("glacier", np.array([2000.0, 3500.0]))) if orography else ds


HEIGHT = xr.DataArray([3000.0, 3000.0], dims="glacier", coords={"glacier": ["a", "b"]})


def test_temperature_at_the_glacier_known_by_hand():
    out = correct_temperature(monthly(), HEIGHT, lapse_rate=-0.006)
    np.testing.assert_allclose(out["t2m_corrected"].values, [[264.0, 274.0], [274.0, 284.0]], rtol=1e-7)
    xr.testing.assert_identical(out["t2m"], monthly()["t2m"])
    assert out["t2m_corrected"].dims == ("glacier", "time")
    assert out["t2m_corrected"].dtype == np.float32
    assert out["t2m_corrected"].attrs["units"] == "K"
    assert out["t2m_corrected"].attrs["lapse_rate"] == "-0.006 K m-1"


def test_no_lapse_rate_needs_no_orography():
    out = correct_temperature(monthly(orography=False), HEIGHT, lapse_rate=0)
    np.testing.assert_array_equal(out["t2m_corrected"], out["t2m"])


def test_a_correction_needs_the_orography():
    with pytest.raises(InputError, match="orography") as error:
        correct_temperature(monthly(orography=False), HEIGHT)
    assert "lapse_rate: 0" in error.value.remedy


def test_without_temperature_there_is_nothing_to_correct():
    ds = monthly(orography=False).rename(t2m="tp").drop_attrs()
    xr.testing.assert_identical(correct_temperature(ds, HEIGHT), ds)


def test_the_correction_stays_lazy():
    out = correct_temperature(monthly().chunk({"time": 1}), HEIGHT)
    assert dask.is_dask_collection(out["t2m_corrected"])


@pytest.mark.parametrize("ids", [["b", "a"], ["a", "c"]])
def test_elevations_of_other_glaciers_are_refused(ids):
    with pytest.raises(ValueError, match="glacier"):
        correct_temperature(monthly(), HEIGHT.assign_coords(glacier=ids))
