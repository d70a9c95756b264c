"""Areas shared by polygons and cells, against shapely's clipping, and around the seams of the globe."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from glacmb_grid.sampling.grid import Grid, grid_of
from glacmb_grid.sampling.lattice import Lattice, authalic_sine
from glacmb_grid.sampling.overlap import overlaps
from glacmb_grid.sampling.zonal import overlap_weights

WGS84 = pyproj.CRS.from_epsg(4326)


def ring(rng, x, y, radius, corners):
    angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
    r = radius * rng.uniform(0.2, 1, corners)
    return np.column_stack([x + r * np.cos(angle), y + r * np.sin(angle)])


def ragged(rng):
    """A polygon, perhaps with holes, in pieces, or a sliver, of any size and either orientation."""
    x, y = rng.uniform(-12, 12, 2)
    radius = 10 ** rng.uniform(-3, 0.9)
    shape = shapely.make_valid(shapely.Polygon(ring(rng, x, y, radius, rng.integers(3, 60))))
    if rng.random() < 0.5:
        shape = shape.difference(shapely.Point(x, y).buffer(radius * rng.uniform(0.05, 0.4)))
    if rng.random() < 0.3:
        shape = shape.union(shapely.box(x + 2 * radius, y, x + 2.5 * radius, y + radius * 1e-3))
    if rng.random() < 0.5:
        shape = shapely.reverse(shape)
    parts = [p for p in shapely.get_parts(shape) if p.geom_type == "Polygon" and p.area > 0]
    return shapely.MultiPolygon(parts) if len(parts) != 1 else parts[0]


def clipped(shapes, y, x):
    out = np.zeros((len(shapes), len(y) - 1, len(x) - 1))
    for g, shape in enumerate(shapes):
        for i in range(len(y) - 1):
            for j in range(len(x) - 1):
                out[g, i, j] = shapely.intersection(shape, shapely.box(x[j], y[i], x[j + 1], y[i + 1])).area
    return out


def dense(entries, count, y, x):
    out = np.zeros((count, len(y) - 1, len(x) - 1))
    np.add.at(out, entries[:3], entries[3])
    return out


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_planar_areas_are_those_of_clipping(seed):
    rng = np.random.default_rng(seed)
    shapes = np.array([ragged(rng) for _ in range(4)], dtype=object)
    y, x = np.linspace(-6, 6, rng.integers(2, 9)), np.linspace(-6, 6, rng.integers(2, 9))
    found = overlaps(shapes, Lattice.of(y, x, geographic=False))
    area = shapely.area(shapes)
    error = np.abs(dense(found, len(shapes), y, x) - clipped(shapes, y, x)) / area[:, None, None]
    assert error.max() < 1e-9
    np.testing.assert_allclose(found[4], area, rtol=1e-9)


@pytest.mark.parametrize("size", [1e-4, 1e-2, 1.0])
def test_mass_is_kept_whatever_the_size(size):
    rng = np.random.default_rng(3)
    shapes = [shapely.Polygon(ring(rng, *rng.uniform((70, 30), (90, 40)), size, 300)) for _ in range(300)]
    edges = 20.05 + np.arange(400) * 0.1, 60.05 + np.arange(400) * 0.1
    found = overlaps(np.array(shapes, dtype=object), Lattice.of(*edges, geographic=True))
    sums = np.bincount(found[0], found[3], len(shapes))
    np.testing.assert_allclose(sums, found[4], rtol=1e-12)


def test_corners_and_edges_on_grid_lines():
    shapes = np.array([shapely.box(1, 1, 3, 2), shapely.Polygon([(0, 0), (2, 2), (0, 2)]), shapely.box(1, 1, 2, 2)])
    edges = np.arange(5.0)
    found = overlaps(shapes, Lattice.of(edges, edges, geographic=False))
    np.testing.assert_allclose(dense(found, 3, edges, edges), clipped(shapes, edges, edges), atol=1e-15)
    assert len(found[0]) == 2 + 3 + 1, "only cells that are shared"


def test_polygons_that_reach_out_of_the_lattice():
    shapes = np.array([shapely.box(-2, -2, 6, 6), shapely.box(-3, 1.5, 0.5, 9), shapely.box(7, 7, 8, 8)])
    edges = np.arange(5.0)
    found = overlaps(shapes, Lattice.of(edges, edges, geographic=False))
    np.testing.assert_allclose(dense(found, 3, edges, edges), clipped(shapes, edges, edges), atol=1e-12)
    np.testing.assert_allclose(found[4], shapely.area(shapes))


def weights_of(shape, x_edges, y_edges=None):
    y_edges = np.linspace(90, -90, 181) if y_edges is None else y_edges
    glaciers = gpd.GeoDataFrame(geometry=[shape], index=["G"], crs=4326)
    grid = Grid(y_edges, x_edges, WGS84, "latitude", "longitude")
    weights = overlap_weights(glaciers, grid)
    return dict(zip(weights.column.tolist(), weights.weight.tolist(), strict=True)), weights.total[0]


def cells(x_edges, shares, row):
    return {row * (len(x_edges) - 1) + j: a for j, a in shares.items()}


TWO_PIECES = shapely.MultiPolygon([shapely.box(179.4, 65.2, 180, 65.6), shapely.box(-180, 65.2, -179.7, 65.6)])
ACROSS = {
    "beyond 180": shapely.box(179.4, 65.2, 180.3, 65.6),
    "below -180": shapely.box(-180.6, 65.2, -179.7, 65.6),
    "two pieces": TWO_PIECES,
    "a jump": shapely.Polygon([(179.4, 65.2), (-179.7, 65.2), (-179.7, 65.6), (179.4, 65.6)]),
}


@pytest.mark.parametrize("x_edges", [np.arange(-180.0, 181), np.arange(0.0, 361), np.arange(175.0, 186)], ids=str)
@pytest.mark.parametrize("way", ACROSS)
def test_an_outline_across_the_antimeridian_however_it_is_drawn(way, x_edges):
    found, total = weights_of(ACROSS[way], x_edges)
    strip = 6371007.181**2 * np.deg2rad(1) * np.diff(authalic_sine([65.2, 65.6]))[0]
    start = x_edges[0]
    columns = {int((179 - start) % 360): 0.6 * strip, int((180 - start) % 360): 0.3 * strip}
    expected = cells(x_edges, columns, 24)
    assert found.keys() == expected.keys()
    for cell, area in expected.items():
        assert found[cell] == pytest.approx(area, rel=1e-7)
    assert total == pytest.approx(0.9 * strip, rel=1e-7)


@pytest.mark.parametrize("sign", [1, -1], ids=["north", "south"])
def test_a_ring_around_a_pole_holds_it(sign):
    ring = [(lon, sign * 88.5) for lon in range(-180, 180, 5)]
    found, total = weights_of(shapely.Polygon(ring), np.arange(-180.0, 181))
    cap = 2 * np.pi * 6371007.181**2 * (1 - authalic_sine(88.5))
    assert total == pytest.approx(cap, rel=1e-7)
    assert sum(found.values()) == pytest.approx(cap, rel=1e-7)
    rows = np.unique(np.array(list(found)) // 360)
    assert rows.tolist() == ([0, 1] if sign > 0 else [178, 179])
    assert len(found) == 2 * 360


def test_longitudes_of_outlines_and_grids_may_differ_by_a_turn():
    shape = shapely.Polygon([(86.2, 27.8), (86.9, 27.7), (86.5, 28.4)])
    here, total = weights_of(shape, np.arange(80.0, 91))
    turned, same = weights_of(shapely.transform(shape, lambda c: c - [360, 0]), np.arange(80.0, 91))
    assert here.keys() == turned.keys()
    np.testing.assert_allclose(list(here.values()), list(turned.values()), rtol=1e-9)
    assert total == pytest.approx(same, rel=1e-9)


def test_batches_do_not_change_anything(monkeypatch):
    rng = np.random.default_rng(0)
    shapes = np.array([shapely.Polygon(ring(rng, *rng.uniform(-5, 5, 2), 1.5, 40)) for _ in range(60)], dtype=object)
    lattice = Lattice.of(np.linspace(-6, 6, 25), np.linspace(-6, 6, 25), geographic=False)
    whole = overlaps(shapes, lattice)
    monkeypatch.setattr("glacmb_grid.sampling.overlap._VERTICES", 70)
    monkeypatch.setattr("glacmb_grid.sampling.overlap._CELLS", 10)
    for one, other in zip(whole, overlaps(shapes, lattice), strict=True):
        np.testing.assert_array_equal(one, other)


def test_empty_outlines_have_no_area():
    shapes = np.array([shapely.Polygon(), shapely.box(0.2, 0.2, 0.6, 0.6), shapely.MultiPolygon()], dtype=object)
    found = overlaps(shapes, Lattice.of(np.arange(3.0), np.arange(3.0), geographic=False))
    np.testing.assert_allclose(found[4], [0, 0.16, 0])
    assert found[0].tolist() == [1]


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("falling", [False, True])
def test_outlines_outside_that_touch_the_border_share_nothing(projected, falling):
    """On any side, at any corner, alone or as one part of several."""
    outside = [(x, y) for x in (-1, 1.2, 4) for y in (-1, 1.2, 4) if (x, y) != (1.2, 1.2)]
    shapes = [shapely.box(x, y, x + (1 if x != 1.2 else 0.6), y + (1 if y != 1.2 else 0.6)) for x, y in outside]
    inner = shapely.box(0, 0, 0.5, 0.5)
    shapes += [shapely.MultiPolygon([inner, s]) for s in shapes if not s.intersects(inner)]
    edges = np.arange(5.0)[:: -1 if falling else 1]
    crs = pyproj.CRS.from_epsg(32632) if projected else WGS84
    glaciers = gpd.GeoDataFrame(geometry=shapes, index=[f"G{i}" for i in range(len(shapes))], crs=crs)
    weights = overlap_weights(glaciers, Grid(edges, edges, crs, "y", "x"))
    share = np.bincount(weights.row, weights.weight, len(shapes)) / weights.total
    np.testing.assert_array_equal(share[: len(outside)], 0)
    assert (share[len(outside) :] > 0.1).all()
    assert (share[len(outside) :] < 0.5).all()
    corner = (0 if not falling else 3) * 4 + (0 if not falling else 3)
    assert set(weights.column) == {corner}


@pytest.mark.parametrize("start", [-180, 0, 35])
@pytest.mark.parametrize("hole_start", [-180, 0, 100])
def test_a_hole_in_a_ring_around_a_pole_wherever_their_rings_begin(start, hole_start):
    shell = [((lon + 180) % 360 - 180, 84.5) for lon in range(start, start + 360, 5)]
    hole = [((lon + 180) % 360 - 180, 87.5) for lon in range(hole_start, hole_start + 360, 5)]
    corner = [((start + dx + 180) % 360 - 180, y) for dx, y in ((-3, 85.2), (3, 85.2), (3, 85.8), (-3, 85.8))]
    found, total = weights_of(shapely.Polygon(shell, [hole, corner]), np.arange(-180.0, 181))
    band = 2 * np.pi * 6371007.181**2 * np.diff(authalic_sine([84.5, 87.5]))[0]
    window = 6371007.181**2 * np.deg2rad(6) * np.diff(authalic_sine([85.2, 85.8]))[0]
    assert total == pytest.approx(band - window, rel=1e-7)
    assert sum(found.values()) == pytest.approx(total, rel=1e-9)
    assert min(found.values()) > 0


@pytest.mark.parametrize("columns", [8640, 4320, 1080, 540, 512, 360, 7])
@pytest.mark.parametrize("kind", ["single precision", "five decimals", "exact"])
def test_global_grids_of_any_step_have_no_seam(columns, kind):
    lon = -180 + (np.arange(columns) + 0.5) * 360 / columns
    lon = lon.astype(np.float32) if kind == "single precision" else lon.round(5) if kind == "five decimals" else lon
    ds = xr.Dataset(coords={"latitude": np.arange(70.0, 60.0, -0.5), "longitude": lon})
    grid = grid_of(ds.assign(f=(("latitude", "longitude"), np.zeros((20, columns)))))
    assert grid.is_cyclic
    shapes = [shapely.box(179.7, 65.1, 180.3, 65.4), shapely.box(-180.3, 65.1, -179.7, 65.4)]
    weights = overlap_weights(gpd.GeoDataFrame(geometry=shapes, index=["a", "b"], crs=4326), grid)
    np.testing.assert_allclose(np.bincount(weights.row, weights.weight), weights.total, rtol=1e-9)
    east, west = (weights.column[weights.row == 0] % columns == k for k in (0, columns - 1))
    assert east.any()
    assert west.any()


def test_coordinates_that_are_not_finite_are_refused():
    shape = shapely.transform(shapely.box(1, 1, 2, 2), lambda c: np.where(c > 1.5, np.inf, c))
    with pytest.raises(ValueError, match="finite"):
        overlaps(np.array([shape]), Lattice.of(np.arange(4.0), np.arange(4.0), geographic=False))
