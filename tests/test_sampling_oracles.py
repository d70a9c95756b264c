"""The operator beside other people's: exactextract on planes, xarray-regrid between grids; and any scheduler."""

from __future__ import annotations

import warnings

import geopandas as gpd
import numpy as np
import pytest
import rioxarray  # noqa: F401 - gives arrays their .rio
import shapely
import xarray as xr
from exactextract import exact_extract
from exactextract.raster import NumPyRasterSource

from glacmb_grid.sampling.grid import grid_of
from glacmb_grid.sampling.regrid import regrid, regrid_weights
from glacmb_grid.sampling.zonal import overlap_weights, sample

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of newer numpy about what it imports
    import xarray_regrid  # noqa: F401 - gives datasets their .regrid

UTM = 32632


def plane(rng, ny=40, nx=50, step=90.0):
    y, x = 5.2e6 - step * np.arange(ny), 4e5 + step * np.arange(nx)
    values = rng.normal(3000, 400, (ny, nx))
    return xr.Dataset({"f": (("y", "x"), values)}, coords={"y": y, "x": x}).rio.write_crs(UTM)


def ragged(rng, x, y, radius):
    """A ring with a hole, or two pieces, or a sliver."""

    def ring(cx, cy, r):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 40))
        reach = r * rng.uniform(0.5, 1, 40)
        return shapely.Polygon(np.column_stack([cx + reach * np.cos(angle), cy + reach * np.sin(angle)])).buffer(0)

    whole = ring(x, y, radius)
    kind = rng.integers(4)
    if kind == 0:
        return whole.difference(ring(x, y, radius / 3))
    if kind == 1:
        return whole.union(ring(x + 3 * radius, y, radius))
    if kind == 2:
        return shapely.LineString([(x, y), (x + 4 * radius, y + radius)]).buffer(0.5)
    return whole


@pytest.mark.parametrize("seed", range(5))
def test_areas_and_means_on_a_plane_are_those_of_exactextract(seed):
    rng = np.random.default_rng(seed)
    ds = plane(rng)
    shapes = [
        ragged(rng, rng.uniform(4.005e5, 4.03e5), rng.uniform(5.1975e6, 5.1995e6), r)
        for r in np.exp(rng.uniform(np.log(10), np.log(600), 40))
    ]
    glaciers = gpd.GeoDataFrame(geometry=shapes, index=[f"G{i}" for i in range(len(shapes))], crs=UTM)
    glaciers = glaciers[glaciers.area > 0]
    grid = grid_of(ds)
    source = NumPyRasterSource(
        ds["f"].values, xmin=grid.x_edges.min(), xmax=grid.x_edges.max(), ymin=grid.y_edges.min(),
        ymax=grid.y_edges.max(), srs_wkt=grid.crs.to_wkt(),
    )  # fmt: skip
    theirs = exact_extract(source, glaciers, ["coverage", "cell_id", "mean"], output="pandas")
    weights = overlap_weights(glaciers, grid)
    cell_area = 90.0**2
    for g in range(len(glaciers)):
        mine = np.zeros(weights.size)
        mine[weights.column[weights.row == g]] = weights.weight[weights.row == g]
        other = np.zeros(weights.size)
        other[theirs["cell_id"].iloc[g].astype(int)] = theirs["coverage"].iloc[g] * cell_area
        np.testing.assert_allclose(mine, other, atol=1e-6 * cell_area)  # they keep shares in single precision
    np.testing.assert_allclose(sample(ds, weights)["f"].values, theirs["mean"], rtol=1e-6)


def field(lat, lon):
    values = 280 + 10 * np.cos(np.deg2rad(lat))[:, None] * np.sin(np.deg2rad(3 * lon))
    return xr.Dataset({"f": (("latitude", "longitude"), values)}, coords={"latitude": lat, "longitude": lon})


@pytest.mark.filterwarnings("ignore::DeprecationWarning:flox")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:xarray_regrid")
@pytest.mark.parametrize(("method", "theirs"), [("conservative", "conservative"), ("bilinear", "linear")])
@pytest.mark.parametrize("to", [0.1, 0.7])
def test_regridding_is_that_of_xarray_regrid(method, theirs, to):
    ds = field(np.arange(20.0, 60.0, 0.25), np.arange(70.0, 100.0, 0.25))
    target = field(np.arange(30.0, 50.0, to), np.arange(75.0, 95.0, to)).drop_vars("f")
    found = regrid(ds, regrid_weights(grid_of(ds), grid_of(target), method), grid_of(target))["f"].values
    kwargs = {"latitude_coord": "latitude"} if method == "conservative" else {}
    expected = getattr(ds.regrid, theirs)(target, **kwargs)["f"].transpose("latitude", "longitude").values
    # cells of a sphere there, of the ellipsoid here: rows of one cell weigh differently by 1e-5
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("scheduler", ["threads", "processes", "synchronous"])
@pytest.mark.parametrize("workers", [1, 3])
def test_no_scheduler_changes_a_bit(scheduler, workers):
    rng = np.random.default_rng(1)
    lat, lon = np.arange(47.0, 45.95, -0.1), np.arange(9.0, 10.55, 0.1)
    f = rng.normal(270, 10, (30, len(lat), len(lon))).astype(np.float32)
    f[:, rng.random(f.shape[1:]) < 0.2] = np.nan
    f[rng.random(f.shape) < 0.01] = np.nan
    ds = xr.Dataset({"f": (("time", "latitude", "longitude"), f)}, coords={"latitude": lat, "longitude": lon})
    corners = rng.uniform([9.1, 46.1], [10.3, 46.8], (60, 2))
    shapes = [shapely.box(x, y, x + s, y + s) for (x, y), s in zip(corners, rng.uniform(0.01, 0.2, 60), strict=True)]
    weights = overlap_weights(gpd.GeoDataFrame(geometry=shapes, index=[f"G{i}" for i in range(60)], crs=4326), ds)
    lazy = sample(ds.chunk({"time": 7, "latitude": 4, "longitude": 5}), weights)
    found = lazy.compute(scheduler=scheduler, num_workers=workers)
    xr.testing.assert_identical(found, sample(ds, weights))
