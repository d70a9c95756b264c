"""From grid to grid: known answers, mass, and other people's interpolation."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
import shapely
from geopandas import GeoDataFrame
from scipy.interpolate import RegularGridInterpolator

from glacmb_grid.errors import InputError
from glacmb_grid.sampling.grid import Grid
from glacmb_grid.sampling.overlap import authalic_sine
from glacmb_grid.sampling.regrid import regrid_weights
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
    return weights.apply(values.ravel()[weights.touched]).mean


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


def test_other_reference_systems_are_refused():
    with pytest.raises(InputError, match="gdalwarp"):
        regrid_weights(grid([0, 1, 2], [0, 1, 2], UTM), grid([0, 1, 2], [0, 1, 2]))
