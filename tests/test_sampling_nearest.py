"""Nearest cells with values for glaciers over sea: by hand, by brute force, and all around the globe."""

from __future__ import annotations

import dask.array as da
import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rioxarray  # noqa: F401 - gives arrays their .rio
import shapely
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from glacmb_grid.errors import InputError
from glacmb_grid.sampling.grid import grid_of
from glacmb_grid.sampling.nearest import far_from_land, nearest_valid, valid_cells
from glacmb_grid.sampling.zonal import overlap_weights, sample

RADIUS = 6371.007181  # km


def field(latitude, longitude, values=None, names=("latitude", "longitude")):
    values = np.zeros((len(latitude), len(longitude))) if values is None else values
    return xr.Dataset({"f": (names, values)}, coords={names[0]: latitude, names[1]: longitude})


def square(longitude, latitude, half=0.01):
    return shapely.box(longitude - half, latitude - half, longitude + half, latitude + half)


def outlines(*shapes):
    return gpd.GeoDataFrame(geometry=list(shapes), index=[f"G{i}" for i in range(len(shapes))], crs=4326)


def haversine(longitude, latitude, longitudes, latitudes):
    a, b, c, d = (np.deg2rad(v) for v in (longitude, latitude, longitudes, latitudes))
    half = np.sin((d - b) / 2) ** 2 + np.cos(b) * np.cos(d) * np.sin((c - a) / 2) ** 2
    return 2 * RADIUS * np.arcsin(np.sqrt(half))


def replaced(ds, valid, glaciers, least=0.5, farthest=30.0):
    grid = grid_of(ds)
    return nearest_valid(overlap_weights(glaciers, grid), grid, valid, glaciers, least=least, max_distance_km=farthest)


def of_row(weights, row):
    return dict(zip(weights.column[weights.row == row].tolist(), weights.weight[weights.row == row], strict=True))


EQUATOR = field(np.array([-0.1, 0.0, 0.1]), np.array([10.0, 10.1, 10.2, 10.3]))
TENTH = RADIUS * np.deg2rad(0.1)  # km of a tenth of a degree along a great circle


def test_one_sea_cell_by_hand():
    """The centre of cell 5 is sea; west, north and south of it lie 1, and east of it 2 tenths of a degree away."""
    valid = np.ones((3, 4), bool)
    valid[:, [0, 1, 2]] = False
    valid[[0, 2, 1, 1], [1, 1, 0, 3]] = True
    glaciers = outlines(square(10.1, 0.0), square(10.3, 0.0))
    weights, distance = replaced(EQUATOR, valid, glaciers)
    assert distance[0] == pytest.approx(TENTH, rel=1e-9)
    assert np.isnan(distance[1])
    own = overlap_weights(glaciers, EQUATOR)
    assert of_row(weights, 1) == of_row(own, 1)
    found = of_row(weights, 0)
    assert set(found) == {1, 9, 4, 7}
    inverse = np.array([1, 1, 1, 0.5])
    np.testing.assert_allclose([found[c] for c in (1, 9, 4, 7)], own.total[0] * inverse / inverse.sum(), rtol=1e-6)
    sampled = sample(field(EQUATOR.latitude.values, EQUATOR.longitude.values, np.where(valid, 7.0, np.nan)), weights)
    np.testing.assert_array_equal(sampled["f"], [7.0, 7.0])
    np.testing.assert_array_equal(sampled["f_coverage"], [1.0, 1.0])


def test_only_cells_within_the_distance_count():
    valid = np.zeros((3, 4), bool)
    valid[1, [0, 3]] = True  # one tenth of a degree to the west, two to the east
    glaciers = outlines(square(10.1, 0.0))
    whole = overlap_weights(glaciers, EQUATOR).total[0]
    near, _ = replaced(EQUATOR, valid, glaciers, farthest=1.5 * TENTH)
    assert of_row(near, 0) == {4: whole}
    both, _ = replaced(EQUATOR, valid, glaciers, farthest=2.5 * TENTH)
    assert of_row(both, 0) == pytest.approx({4: whole * 2 / 3, 7: whole / 3}, rel=1e-6)


@pytest.mark.parametrize("farthest", [0.0, 0.9 * TENTH])
def test_beyond_the_distance_nothing_is_taken_and_the_glacier_is_named(farthest):
    valid = np.zeros((3, 4), bool)
    valid[1, 0] = valid[1, 3] = True
    glaciers = outlines(square(10.1, 0.0), square(10.3, 0.0))
    weights, distance = replaced(EQUATOR, valid, glaciers, farthest=farthest)
    own = overlap_weights(glaciers, EQUATOR)
    np.testing.assert_array_equal(weights.column, own.column)
    np.testing.assert_array_equal(weights.weight, own.weight)
    (failure,) = far_from_land(weights.rows, distance, least=0.5, max_distance_km=farthest, field="f")
    assert failure.glacier == "G0"
    assert "11 km away" in failure.reason
    assert "50%" in failure.reason


def test_zero_switches_it_off_even_on_a_cell_centre():
    """The outline's point is the centre of a valid cell, which covers a third of it."""
    ds = field(np.array([-1.0, 0.0, 1.0]), np.array([9.0, 10.0, 11.0]))
    valid = np.zeros((3, 3), bool)
    valid[1, 1] = True
    glaciers = outlines(shapely.box(8.5, -0.1, 11.5, 0.1))
    taken, distance = replaced(ds, valid, glaciers)
    assert of_row(taken, 0) == pytest.approx({4: taken.total[0]}, rel=1e-12)
    assert distance[0] <= 0.001
    weights, distance = replaced(ds, valid, glaciers, farthest=0.0)
    assert set(of_row(weights, 0)) == {3, 4, 5}
    with pytest.raises(InputError, match="max_land_distance_km"):
        far_from_land(weights.rows, distance, least=0.5, max_distance_km=0.0, field="f")


def test_where_all_are_far_from_land_it_is_an_error():
    weights, distance = replaced(EQUATOR, np.zeros((3, 4), bool), outlines(square(10.1, 0.0)))
    assert np.isinf(distance[0])
    with pytest.raises(InputError, match="climate files") as error:
        far_from_land(weights.rows, distance, least=0.5, max_distance_km=30.0, field="f")
    assert "1 of 1 glaciers" in error.value.found
    assert "max_land_distance_km" in error.value.remedy


def test_fewer_valid_cells_than_would_be_taken():
    valid = np.zeros((3, 4), bool)
    valid[0, 0] = True
    weights, distance = replaced(EQUATOR, valid, outlines(square(10.3, 0.1)), farthest=30_000.0)
    assert list(of_row(weights, 0)) == [0]
    assert distance[0] == pytest.approx(haversine(10.3, 0.1, 10.0, -0.1), rel=1e-9)


def test_a_share_at_the_limit_keeps_its_own_cells():
    valid = np.ones((3, 4), bool)
    valid[:, 2:] = False
    glaciers = outlines(shapely.box(10.1, -0.01, 10.2, 0.01), shapely.box(10.1, -0.01, 10.21, 0.01))
    _, distance = replaced(EQUATOR, valid, glaciers)
    np.testing.assert_array_equal(np.isnan(distance), [True, False])


@given(st.integers(0, 2**32 - 1), st.integers(-85, 85), st.floats(1, 60))
def test_all_sums_are_the_areas_and_the_cells_those_of_brute_force(seed, south, farthest):
    rng = np.random.default_rng(seed)
    latitude, longitude = south + 0.1 * np.arange(8.0), -179.75 + 0.1 * np.arange(9.0)
    ds = field(latitude, longitude)
    valid = rng.random((8, 9)) < 0.3
    centre = np.column_stack([rng.uniform(longitude[1], longitude[-2], 6), rng.uniform(latitude[1], latitude[-2], 6)])
    glaciers = outlines(*(square(*c, 0.003) for c in centre))
    own = overlap_weights(glaciers, ds)
    weights, distance = replaced(ds, valid, glaciers, farthest=farthest)
    np.testing.assert_allclose(np.bincount(weights.row, weights.weight, 6), own.total, rtol=1e-12)
    for i, point in enumerate(glaciers.geometry.representative_point()):
        if np.isnan(distance[i]) or distance[i] > farthest:
            assert of_row(weights, i) == of_row(own, i)
            continue
        far = haversine(point.x, point.y, *(a.ravel() for a in np.meshgrid(longitude, latitude)))
        far[~valid.ravel()] = np.inf
        nearest = np.argsort(far)[:4]
        nearest = nearest[far[nearest] <= farthest]
        assert distance[i] == pytest.approx(far.min(), rel=1e-6)
        expected = 1 / far[nearest] / (1 / far[nearest]).sum() * own.total[i]
        assert of_row(weights, i) == pytest.approx(dict(zip(nearest.tolist(), expected, strict=True)), rel=1e-6)


@given(st.integers(0, 2**32 - 1), st.floats(1, 300), st.floats(1, 10))
def test_more_distance_never_serves_fewer_and_distances_stay(seed, farthest, factor):
    rng = np.random.default_rng(seed)
    ds = field(70 + 0.25 * np.arange(8.0), 20 + 0.25 * np.arange(8.0))
    valid = rng.random((8, 8)) < 0.1
    glaciers = outlines(*(square(*c) for c in rng.uniform([20, 70], [21.7, 71.7], (5, 2))))
    few, distance = replaced(ds, valid, glaciers, farthest=farthest)
    more, again = replaced(ds, valid, glaciers, farthest=farthest * factor)
    np.testing.assert_array_equal(distance, again)
    for i in range(5):
        if distance[i] <= farthest:
            assert set(of_row(few, i)) <= set(of_row(more, i))


@pytest.mark.parametrize("turn", [0.0, 360.0])
@pytest.mark.parametrize("side", [179.98, -179.98])
def test_across_the_antimeridian(side, turn):
    """Valid cells lie on the other side of 180 degrees only."""
    longitude = np.arange(179.55, 180.5, 0.1) - turn
    ds = field(np.array([64.9, 65.0, 65.1]), longitude)
    east = (longitude + 180) % 360 - 180 < 0
    valid = np.broadcast_to(east if side > 0 else ~east, (3, len(longitude))).copy()
    weights, distance = replaced(ds, valid, outlines(square(side, 65.0, 0.005)))
    assert distance[0] == pytest.approx(haversine(179.98, 65.0, 180.05, 65.0), rel=1e-6)
    x = longitude[weights.column % len(longitude)]
    assert (np.abs((x - side + 180) % 360 - 180) < 0.2).all()
    assert (valid.ravel()[weights.column]).all()


@pytest.mark.parametrize("pole", [-1, 1])
def test_over_the_pole(pole):
    """The nearest valid cell lies on the opposite meridian, beyond the pole."""
    latitude, longitude = pole * np.array([89.65, 89.75, 89.85, 89.95]), np.arange(-179.5, 180, 1.0)
    valid = np.zeros((4, 360), bool)
    valid[3, 270] = True  # 90.5 E
    _, distance = replaced(field(latitude, longitude), valid, outlines(square(-89.5, pole * 89.9, 0.02)))
    assert distance[0] == pytest.approx(RADIUS * np.deg2rad(0.05 + 0.1), rel=1e-5)


def test_a_projected_grid_is_measured_on_the_sphere():
    x, y = 500_000.0 + 1000 * np.arange(5), 7_000_000.0 - 1000 * np.arange(4)
    ds = field(y, x, names=("y", "x")).rio.write_crs(32633)
    valid = np.zeros((4, 5), bool)
    valid[1, [0, 4]] = True
    to_degrees = pyproj.Transformer.from_crs(32633, 4326, always_xy=True)
    place = gpd.GeoSeries([shapely.box(x[1] - 100, y[1] - 100, x[1] + 100, y[1] + 100)], crs=32633).to_crs(4326)
    glaciers = outlines(place.iloc[0])
    point = glaciers.geometry.iloc[0].representative_point()
    expected = haversine(point.x, point.y, *to_degrees.transform(x[[0, 4]], y[[1, 1]]))
    weights, distance = replaced(ds, valid, glaciers)
    assert distance[0] == pytest.approx(expected[0], rel=1e-6)
    assert expected[0] == pytest.approx(1.0, rel=0.01)
    share = of_row(weights, 0)
    assert share[5] / share[9] == pytest.approx(expected[1] / expected[0], rel=1e-6)


def test_the_direction_of_rows_and_columns_does_not_matter():
    valid = np.random.default_rng(3).random((3, 4)) < 0.5
    valid[1, 1] = False
    glaciers = outlines(square(10.1, 0.0))
    expected, distance = replaced(EQUATOR, valid, glaciers)
    table = np.zeros(12)
    table[expected.column] = expected.weight
    turned = EQUATOR.isel(latitude=slice(None, None, -1), longitude=slice(None, None, -1))
    found, again = replaced(turned, valid[::-1, ::-1], glaciers)
    other = np.zeros(12)
    other[found.column] = found.weight
    np.testing.assert_allclose(other.reshape(3, 4)[::-1, ::-1].ravel(), table, rtol=1e-9)
    np.testing.assert_allclose(again, distance, rtol=1e-9)


@pytest.mark.parametrize("farthest", [0.0, 20.0, 60.0])
def test_only_chunks_under_glaciers_and_around_those_at_sea_are_read(farthest):
    """One glacier on land in the west, one at sea in the east: nothing is read between and beyond."""
    lat, lon = np.round(60 - 0.1 * np.arange(40), 1), np.round(5 + 0.1 * np.arange(200), 1)
    read = []

    def block(block_info=None):
        (y0, y1), (x0, x1) = block_info[None]["array-location"]
        read.append(block_info[None]["chunk-location"])
        y, x = np.ogrid[y0:y1, x0:x1]
        return np.where((x < 100) | (x > 183), 1.0, np.nan) + 0 * y

    lazy = da.map_blocks(block, chunks=((4,) * 10, (4,) * 50), dtype=float, meta=np.empty((0, 0)))
    ds = field(lat, lon, lazy)
    glaciers = outlines(square(6.0, 58.5), square(23.0, 58.5))
    weights = overlap_weights(glaciers, ds)
    limits = {"least": 0.5, "max_distance_km": farthest}
    valid = valid_cells({"f": ds["f"]}, weights, grid_of(ds), glaciers, **limits)["f"]
    columns = {x for _, x in read}
    assert 2 in columns
    assert columns <= ({2, 45} if farthest == 0 else {2, *range(36, 50)})
    assert len(read) == len(set(read)) or farthest > 0
    everywhere = np.isfinite(ds["f"].values)
    assert (valid <= everywhere).all()
    for one, other in zip(
        nearest_valid(weights, grid_of(ds), valid, glaciers, **limits),
        nearest_valid(weights, grid_of(ds), everywhere, glaciers, **limits),
        strict=True,
    ):
        if farthest > 0:
            np.testing.assert_array_equal(getattr(one, "weight", one), getattr(other, "weight", other))


def test_a_glacier_drawn_with_a_jump_looks_around_its_own_place():
    lat, lon = np.round(66 - 0.1 * np.arange(20), 1), np.round(178.0 + 0.1 * np.arange(40), 1)
    valid = np.zeros((20, 40), bool)
    valid[:, 23:] = True
    drawn = [
        shapely.box(179.9, 65.0, 180.1, 65.1),
        shapely.Polygon([(179.9, 65.0), (-179.9, 65.0), (-179.9, 65.1), (179.9, 65.1)]),
    ]
    found = [replaced(field(lat, lon), valid, outlines(shape), farthest=30.0) for shape in drawn]
    assert of_row(found[0][0], 0) == pytest.approx(of_row(found[1][0], 0), rel=1e-6)
    assert found[0][1] == pytest.approx(found[1][1])


def test_a_cell_counts_for_a_variable_that_has_a_value_in_some_step():
    """A gap in the first month is no sea; a variable that is missing all the time is, and no other variable with it."""
    ds = field([10.1, 10.0], [20.0, 20.1, 20.2], names=("latitude", "longitude"))
    one = ds["f"].expand_dims(time=3).copy(deep=True)
    other = one.copy(deep=True)
    one[0, 0, 0] = np.nan
    other[:, 0, 1] = np.nan
    glaciers = outlines(square(20.0, 10.1), square(20.1, 10.1), square(20.2, 10.1))
    weights = overlap_weights(glaciers, ds)
    valid = valid_cells({"a": one, "b": other}, weights, grid_of(ds), glaciers, least=0.5, max_distance_km=0.0)
    assert valid["a"][0].tolist() == [True, True, True]
    assert valid["b"][0].tolist() == [True, False, True]
    _, distance = nearest_valid(weights, grid_of(ds), valid["b"], glaciers, least=0.5, max_distance_km=30.0)
    assert np.isnan(distance).tolist() == [True, False, True]
