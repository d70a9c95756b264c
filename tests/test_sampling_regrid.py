"""From grid to grid: known answers, mass, and other people's interpolation."""

from __future__ import annotations

import sys

import dask.array as da
import numpy as np
import pyproj
import pytest
import shapely
import xarray as xr
from geopandas import GeoDataFrame
from scipy.interpolate import RegularGridInterpolator

from glacmb_grid.errors import InputError
from glacmb_grid.sampling.grid import Curvilinear, Grid, curvilinear_of
from glacmb_grid.sampling.lattice import authalic_sine
from glacmb_grid.sampling.regrid import grid_around, regrid, regrid_weights, xesmf_weights
from glacmb_grid.sampling.zonal import overlap_weights
from glacmb_grid.weights import from_dataset

WGS84, UTM = pyproj.CRS.from_epsg(4326), pyproj.CRS.from_epsg(32632)


def grid(y, x, crs=WGS84):
    names = ("latitude", "longitude") if crs == WGS84 else ("y", "x")
    return Grid(np.asarray(y, float), np.asarray(x, float), crs, *names)


def dense(weights):
    out = np.zeros((len(weights.rows), weights.size))
    np.add.at(out, (weights.row, weights.column), weights.weight)
    return out


def means(weights, values):
    flat = values.ravel().astype(float)
    with np.errstate(invalid="ignore"):
        return weights.sums(flat) / weights.sums(np.where(np.isfinite(flat), 1.0, np.nan))


GLOBAL = grid(np.linspace(90, -90, 37), np.linspace(-180, 180, 73))


def test_conservative_by_hand_on_a_plane():
    found = dense(regrid_weights(grid([0, 2, 4], [0, 2, 4], UTM), grid([0, 3], [1, 3, 5], UTM)))
    np.testing.assert_allclose(found, [[2, 2, 1, 1], [0, 2, 0, 1]])


def test_rows_that_fall_and_rows_that_rise_agree():
    source, target = np.linspace(20, 50, 31), np.linspace(25, 40, 8)
    x = np.linspace(70, 90, 21)
    up = dense(regrid_weights(grid(source, x), grid(target, x)))
    down = dense(regrid_weights(grid(source[::-1], x), grid(target, x)))
    np.testing.assert_allclose(down.reshape(7, 20, 30, 20)[:, :, ::-1], up.reshape(7, 20, 30, 20), rtol=1e-12)


@pytest.mark.parametrize("method", ["conservative", "bilinear"])
@pytest.mark.parametrize("west", [-180.0, 0.0, 3.7])
def test_constants_stay_constant(method, west):
    target = grid(np.linspace(-80, 80, 41), west + np.linspace(0, 360, 101))
    weights = regrid_weights(GLOBAL, target, method)
    found = means(weights, np.full(GLOBAL.shape, 273.15))
    np.testing.assert_array_max_ulp(found, np.full(found.shape, 273.15), 4)


@pytest.mark.parametrize("west", [-180.0, 0.0, 3.7])
def test_mass_is_kept(west):
    target = grid(np.linspace(-90, 90, 64), west + np.linspace(0, 360, 101))
    field = np.random.default_rng(0).normal(5, 1, GLOBAL.shape)
    weights = regrid_weights(GLOBAL, target)
    heights = np.abs(np.diff(authalic_sine(GLOBAL.y_edges))) * 6371007.181**2 * np.deg2rad(5)
    mass = (field * heights[:, None]).sum()
    assert (means(weights, field) * weights.total).sum() == pytest.approx(mass, rel=1e-12)
    np.testing.assert_allclose(np.bincount(weights.row, weights.weight), weights.total, rtol=1e-12)


def test_areas_are_those_of_outlines_of_the_target_cells():
    target = grid([30.2, 31.1, 32.0], [86.3, 87.4, 88.5])
    source = grid(np.linspace(40, 25, 31), np.linspace(80, 95, 31))
    boxes = [shapely.box(x0, y0, x0 + 1.1, y0 + 0.9) for y0 in target.y_edges[:2] for x0 in target.x_edges[:2]]
    zonal = overlap_weights(GeoDataFrame(geometry=boxes, crs=4326), source)
    np.testing.assert_allclose(dense(regrid_weights(source, target)), dense(zonal), rtol=1e-9, atol=1e-3)


@pytest.mark.parametrize("turn", [0.0, 360.0])
def test_bilinear_is_that_of_scipy(turn):
    source = grid(np.linspace(40, 25, 31), np.linspace(80, 95, 31))
    target = grid(np.linspace(27, 38, 24), turn + np.linspace(82, 93.5, 27))
    field = np.random.default_rng(1).normal(size=source.shape)
    y, x = ((e[:-1] + e[1:]) / 2 for e in (source.y_edges, source.x_edges))
    oracle = RegularGridInterpolator((y[::-1], x), field[::-1])
    ty, tx = ((e[:-1] + e[1:]) / 2 for e in (target.y_edges, target.x_edges - turn))
    expected = oracle(np.stack(np.meshgrid(ty, tx, indexing="ij"), axis=-1)).ravel()
    np.testing.assert_allclose(
        means(regrid_weights(source, target, "bilinear"), field), expected, rtol=1e-9, atol=1e-12
    )


def test_outside_the_source_there_is_nothing():
    source, target = grid([30, 31, 32], [80, 81, 82]), grid([29, 31, 33], [79, 81, 83])
    weights = regrid_weights(source, target)
    share = np.bincount(weights.row, weights.weight, 4) / weights.total
    assert share == pytest.approx([0.25] * 4, rel=0.02)
    far = regrid_weights(source, grid([60, 61, 62], [10, 11, 12]), "bilinear")
    assert not len(far.weight)
    assert np.isnan(means(far, np.ones(source.shape))).all()


def test_composed_with_outlines_it_samples_the_regridded_field():
    source, target = (
        grid(np.linspace(40, 25, 31), np.linspace(80, 95, 31)),
        grid(np.linspace(28, 36, 33), np.linspace(83, 91, 33)),
    )
    glaciers = GeoDataFrame(
        geometry=[shapely.Point(86.3, 31.2).buffer(0.7), shapely.box(88, 33, 88.1, 33.05)], crs=4326
    )
    field = np.random.default_rng(2).normal(size=source.shape)
    regridding = regrid_weights(source, target)
    zonal = overlap_weights(glaciers, target)
    both = from_dataset(zonal.compose(regridding).to_dataset())
    assert both.source == source.digest
    np.testing.assert_allclose(means(both, field), means(zonal, means(regridding, field)), rtol=1e-12)


def test_what_lies_off_the_source_lowers_the_coverage_of_composed_weights_too():
    source = grid(np.linspace(46, 45, 11), np.linspace(10, 11, 11))
    glaciers = GeoDataFrame(geometry=[shapely.box(10.9, 45.2, 11.1, 45.4)], index=["half"], crs=4326)
    target = grid_around(glaciers, source, 0.25)
    direct = overlap_weights(glaciers, source)
    composed = overlap_weights(glaciers, target).compose(regrid_weights(source, target))
    for weights in (direct, composed):
        assert weights.weight.sum() / weights.total[0] == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize(
    "shapes",
    [
        [shapely.MultiPolygon([shapely.box(179.4, 65.2, 180, 65.6), shapely.box(-180, 65.2, -179.7, 65.6)])],
        [shapely.box(179.4, 65.2, 179.6, 65.6), shapely.box(-179.9, 65.2, -179.7, 65.6)],
        [shapely.Polygon([(179.4, 65.2), (-179.7, 65.2), (-179.7, 65.6), (179.4, 65.6)])],
        [shapely.box(179.4, 65.2, 180.3, 65.6)],
    ],
    ids=["pieces", "both sides", "a jump", "beyond 180"],
)
@pytest.mark.parametrize("west_east", [(0, 360), (-180, 180), (175, 186)], ids=str)
def test_a_grid_around_outlines_on_the_antimeridian_is_small_and_holds_them(shapes, west_east):
    source = grid(np.arange(70.0, 59.9, -0.5), np.arange(west_east[0], west_east[1] + 0.1, 0.5))
    glaciers = GeoDataFrame(geometry=shapes, index=[f"G{i}" for i in range(len(shapes))], crs=4326)
    target = grid_around(glaciers, source, 0.1)
    assert target.shape[1] <= 12
    weights = overlap_weights(glaciers, target).compose(regrid_weights(source, target))
    np.testing.assert_allclose(np.bincount(weights.row, weights.weight), weights.total, rtol=1e-9)


def test_other_reference_systems_are_refused():
    with pytest.raises(InputError, match="gdalwarp"):
        regrid_weights(grid([0, 1, 2], [0, 1, 2], UTM), grid([0, 1, 2], [0, 1, 2]))


def cube(source, values):
    y, x = ((e[:-1] + e[1:]) / 2 for e in (source.y_edges, source.x_edges))
    return xr.Dataset({"t2m": (("time", "latitude", "longitude"), values)}, coords={"latitude": y, "longitude": x})


def test_a_regridded_cube_is_lazy_and_skips_missing_cells():
    source, target = grid([0, 1, 2], [0, 1, 2, 3, 4]), grid([0, 2], [0, 2, 4, 6])
    values = np.stack([np.arange(8.0).reshape(2, 4), np.full((2, 4), 3.0)])
    values[0, :, 0] = np.nan
    values[1, :, :2] = np.nan
    found = regrid(cube(source, da.from_array(values, chunks=(1, 1, 2))), regrid_weights(source, target), target)
    assert isinstance(found["t2m"].data, da.Array)
    assert found["t2m"].dims == ("time", "latitude", "longitude")
    np.testing.assert_allclose(found["t2m"], [[[3, 4.5, np.nan]], [[np.nan, 3, np.nan]]], atol=1e-3)
    np.testing.assert_array_equal(found["longitude"], [1, 3, 5])


def test_a_cube_of_another_grid_is_refused():
    source, target = grid([0, 1, 2], [0, 1, 2]), grid([0, 2], [0, 2])
    moved = cube(grid([1, 2, 3], [0, 1, 2]), np.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match="belong to grid"):
        regrid(moved, regrid_weights(source, target), target)
    with pytest.raises(ValueError, match="1 rows"):
        regrid(cube(source, np.zeros((1, 2, 2))), regrid_weights(source, target), source)


def test_a_curvilinear_grid_is_read_from_its_coordinates():
    lat, lon = np.meshgrid([10.0, 11.0], [20.0, 21.0, 22.0], indexing="ij")
    ds = xr.Dataset(coords={"latitude": (("sn", "we"), lat), "longitude": (("sn", "we"), lon)})
    found = curvilinear_of(ds)
    assert (found.y, found.x, found.shape, found.corners) == ("sn", "we", (2, 3), None)
    assert found.digest == curvilinear_of(ds).digest
    assert found.digest != Curvilinear(lat + 0.01, lon, None, "sn", "we").digest
    with pytest.raises(InputError, match="shape"):
        curvilinear_of(ds.assign_coords(latitude_b=(("a", "b"), lat), longitude_b=(("a", "b"), lon)))
    with pytest.raises(InputError, match="finite"):
        curvilinear_of(ds.assign_coords(latitude=ds["latitude"].where(ds["latitude"] > 10)))
    with pytest.raises(InputError, match="two dimensions"):
        curvilinear_of(xr.Dataset())


def test_without_xesmf_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "xesmf", None)
    with pytest.raises(InputError, match=r"environment\.yml"):
        xesmf_weights(GLOBAL, GLOBAL)


def test_patch_and_projected_grids_are_refused():
    plane = grid([0, 1, 2], [0, 1, 2], UTM)
    with pytest.raises(InputError, match="negative"):
        xesmf_weights(GLOBAL, GLOBAL, "patch")
    with pytest.raises(InputError, match="projected"):
        xesmf_weights(plane, GLOBAL)


def turned(step):
    """Cell centres of a grid whose own equator lies along the meridian of 80 degrees east around 35 degrees north."""
    a, b = np.deg2rad(np.meshgrid(np.arange(-6, 6, step), np.arange(-6, 6, step), indexing="ij"))
    x, y, z = np.cos(a) * np.cos(b), np.cos(a) * np.sin(b), np.sin(a)
    tilt, spin = np.deg2rad(35), np.deg2rad(25)
    y, z = y * np.cos(spin) - z * np.sin(spin), y * np.sin(spin) + z * np.cos(spin)
    x, z = x * np.cos(tilt) - z * np.sin(tilt), x * np.sin(tilt) + z * np.cos(tilt)
    return Curvilinear(np.rad2deg(np.arcsin(z)), 80 + np.rad2deg(np.arctan2(y, x)), None, "y", "x")


@pytest.mark.esmf
@pytest.mark.parametrize("method", ["bilinear", "conservative", "conservative_normed", "nearest_s2d", "nearest_d2s"])
def test_esmf_from_a_turned_grid_keeps_a_linear_field(method):
    pytest.importorskip("xesmf", reason="xesmf comes from conda-forge only")
    source, target = turned(0.25), grid(np.arange(33, 37.01, 0.2), np.arange(78, 82.01, 0.2))
    weights = xesmf_weights(source, target, method)
    found = means(weights, 2 * source.latitude + source.longitude)
    y, x = ((e[:-1] + e[1:]) / 2 for e in (target.y_edges, target.x_edges))
    # Cells on the rim are left out: nearest_d2s gives them every source cell beyond.
    found, expected = (v.reshape(20, 20)[1:-1, 1:-1].ravel() for v in (found, 2 * y[:, None] + np.tile(x, (20, 1))))
    seen = np.isfinite(found)
    assert seen.all() or method == "nearest_d2s"
    steepest = np.hypot(2, 1 / np.cos(np.deg2rad(37)))  # per degree of arc
    within = 2e-3 if method == "bilinear" else steepest * 0.25 * np.sqrt(0.5)  # half the diagonal of a cell
    assert np.abs(found - expected)[seen].max() < within


@pytest.mark.esmf
@pytest.mark.parametrize("latitude", [0, 35, 75])
def test_esmf_and_ours_agree_on_a_smooth_field(latitude):
    pytest.importorskip("xesmf", reason="xesmf comes from conda-forge only")
    source = grid(latitude + np.arange(-2, 2.01, 0.25), np.arange(-2, 2.01, 0.25))
    target = grid(latitude + np.arange(-1, 1.01, 0.1), np.arange(-1, 1.01, 0.1))
    y, x = ((e[:-1] + e[1:]) / 2 for e in (source.y_edges, source.x_edges))
    field = 280 - y[:, None] + x
    ours, theirs = (means(f(source, target), field) for f in (regrid_weights, xesmf_weights))
    np.testing.assert_allclose(theirs, ours, rtol=1e-5)


@pytest.mark.esmf
def test_esmf_composed_with_outlines_samples_a_turned_grid():
    pytest.importorskip("xesmf", reason="xesmf comes from conda-forge only")
    source, target = turned(0.25), grid(np.arange(33, 37.01, 0.1), np.arange(78, 82.01, 0.1))
    glaciers = GeoDataFrame(geometry=[shapely.Point(80.3, 35.2).buffer(0.7)], crs=4326)
    zonal, inner = overlap_weights(glaciers, target), xesmf_weights(source, target)
    both = zonal.compose(inner)
    assert both.source == source.digest
    field = 2 * source.latitude + source.longitude
    np.testing.assert_allclose(means(both, field), means(zonal, means(inner, field)), rtol=1e-12)
    assert means(both, field)[0] == pytest.approx(150.7, abs=0.05)
