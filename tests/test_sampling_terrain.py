"""Topography of tilted planes and of a few cells, known by hand."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import rioxarray  # noqa: F401
import shapely
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import glacmb_grid.sampling.terrain
from glacmb_grid.errors import InputError
from glacmb_grid.sampling.grid import grid_of
from glacmb_grid.sampling.terrain import elevation_statistics, terrain
from glacmb_grid.sampling.terrain_checks import without_elevation
from glacmb_grid.sampling.true_north import jacobian
from glacmb_grid.sampling.zonal import overlap_weights
from glacmb_grid.vocabulary import EARTH_RADIUS

GEOD = pyproj.Geod(ellps="WGS84")
# a transverse Mercator true to scale and north at its middle, where the made-up glaciers lie
UTM = "+proj=tmerc +lat_0=46.85 +lon_0=11 +k=1 +x_0=651500 +y_0=5191500 +datum=WGS84"
X0, Y0 = 650000.0, 5190000.0


def outlines(*shapes, crs=UTM, ids=None):
    ids = ids or [f"G{i}" for i in range(len(shapes))]
    return gpd.GeoDataFrame(geometry=list(shapes), index=ids, crs=crs)


def utm_dem(elevation, step=50.0, n=60, ascending=False):
    """Cells centred on (X0, Y0) + multiples of step, rows from north to south unless ascending."""
    x, y = X0 + step * np.arange(n), Y0 + step * np.arange(n)[:: 1 if ascending else -1]
    values = elevation(*np.meshgrid(x, y)) if callable(elevation) else elevation
    return xr.DataArray(values, dims=("y", "x"), coords={"y": y, "x": x}).rio.write_crs(UTM)


def circle(east, north, radius):
    return shapely.Point(X0 + east, Y0 + north).buffer(radius)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize(
    ("rise_east", "rise_north", "northness", "eastness"),
    [
        (0, -0.2, 1, 0),
        (0, 0.2, -1, 0),
        (-0.1, 0, 0, 1),
        (0.3, 0, 0, -1),
        (-0.3, -0.4, 0.8, 0.6),
        (0.3, -0.4, 0.8, -0.6),
    ],
)
def test_a_tilted_plane_in_metres(rise_east, rise_north, northness, eastness, ascending):
    dem = utm_dem(lambda x, y: 3000 + rise_east * (x - X0) + rise_north * (y - Y0), ascending=ascending)
    ds = terrain(dem, outlines(circle(1500, 1400, 600), circle(800, 900, 300)))
    centre = 3000 + rise_east * np.array([1500, 800]) + rise_north * np.array([1400, 900])
    np.testing.assert_allclose(ds["elevation_mean"], centre, atol=0.5)
    np.testing.assert_allclose(ds["elevation_median"], centre, atol=25)
    np.testing.assert_allclose(ds["slope"], np.degrees(np.arctan(np.hypot(rise_east, rise_north))), rtol=1e-6)
    np.testing.assert_allclose(ds["northness"], northness, atol=3e-4)
    np.testing.assert_allclose(ds["eastness"], eastness, atol=3e-4)
    np.testing.assert_allclose(ds["elevation_coverage"], 1, rtol=1e-12)
    half_range = np.hypot(rise_east, rise_north) * np.array([600, 300])
    np.testing.assert_allclose(ds["elevation_max"] - ds["elevation_min"], 2 * half_range, atol=35)


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("latitude", [-46.0, 5.0, 46.8, 72.0])
def test_a_tilted_plane_in_degrees(latitude, ascending):
    step = 1 / 1200
    lat = latitude + step * (np.arange(60) - 30)[:: 1 if ascending else -1]
    lon = 86.0 + step * np.arange(60)
    values = 4000 + 30 * (lat[:, None] - latitude) / step + 20 * (lon - 86.0) / step
    dem = xr.DataArray(values, dims=("y", "x"), coords={"y": lat, "x": lon}).rio.write_crs(4326)
    ds = terrain(dem, outlines(shapely.Point(86.0 + 30 * step, latitude).buffer(0.012), crs=4326))
    north = 30 / GEOD.inv(86, latitude - step / 2, 86, latitude + step / 2)[2]
    east = 20 / GEOD.inv(86, latitude, 86 + step, latitude)[2]
    assert float(ds["slope"][0]) == pytest.approx(np.degrees(np.arctan(np.hypot(east, north))), rel=0.01)
    assert float(ds["northness"][0]) == pytest.approx(-north / np.hypot(east, north), abs=0.005)
    assert float(ds["eastness"][0]) == pytest.approx(-east / np.hypot(east, north), abs=0.005)
    assert float(ds["elevation_mean"][0]) == pytest.approx(4000 + 30 * 20, abs=1)


def test_longitudes_off_by_360_are_the_same_place():
    lat, lon = -45.0 - np.arange(80) * 0.001, 287.0 + np.arange(80) * 0.001
    values = 1000 + 10 * np.arange(80)[:, None] + 3 * np.arange(80)
    there = xr.DataArray(values, dims=("y", "x"), coords={"y": lat, "x": lon}).rio.write_crs(4326)
    glacier = outlines(shapely.Point(-72.96, -45.04).buffer(0.01), crs=4326)
    xr.testing.assert_allclose(terrain(there, glacier), terrain(there.assign_coords(x=lon - 360), glacier), rtol=1e-6)


def test_aspect_is_a_circular_mean():
    """Half of the glacier faces east, half north-west: their mean direction is north-north-east."""
    roof = utm_dem(lambda x, y: np.where(x < X0 + 1475, (x - y) * np.sqrt(0.5), -x) * 0.1 + 10000)
    west, east = (
        shapely.box(X0 + 400, Y0 + 500, X0 + 1400, Y0 + 900),
        shapely.box(X0 + 1550, Y0 + 500, X0 + 2550, Y0 + 900),
    )
    ds = terrain(roof, outlines(shapely.union_all([west, east]), west, east))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(ds["northness"][1:], [half, 0], atol=3e-4)
    np.testing.assert_allclose(ds["eastness"][1:], [-half, 1], atol=3e-4)
    both = np.array([half, 1 - half]) / np.hypot(half, 1 - half)
    np.testing.assert_allclose([ds["northness"][0], ds["eastness"][0]], both, atol=3e-4)


def test_a_flat_glacier_faces_nowhere():
    ds = terrain(utm_dem(np.full((60, 60), 2500.0)), outlines(circle(1500, 1500, 400)))
    values = [float(ds[n][0]) for n in ("slope", "northness", "eastness", "elevation_mean")]
    assert values == [0.0, 0.0, 0.0, 2500.0]
    np.testing.assert_allclose(ds["hypsometry"], np.full((1, 10), 2500.0), rtol=1e-14)


def test_statistics_of_four_cells_with_unequal_areas():
    """The outline covers 1, 0.5, 0.5 and 0.25 of cells at 10, 20, 30 and 40 m."""
    values = np.full((60, 60), 25.0)
    values[29:31, 29:31] = [[30.0, 40.0], [10.0, 20.0]]  # rows from the north: 10 and 20 m in the south
    dem = utm_dem(values, step=100.0)
    west, south = X0 + 2850, Y0 + 2850
    ds = terrain(dem, outlines(shapely.box(west, south, west + 150, south + 150)))
    assert float(ds["elevation_min"][0]) == 10.0
    assert float(ds["elevation_max"][0]) == 40.0
    assert float(ds["elevation_mean"][0]) == pytest.approx((10 + 0.5 * 20 + 0.5 * 30 + 0.25 * 40) / 2.25)
    assert float(ds["elevation_median"][0]) == 20.0
    area = 2.25
    shares = [(10, 1.0), (20, 0.5), (30, 0.5), (40, 0.25)]
    fine = np.repeat([e for e, _ in shares], [int(a * 9000) for _, a in shares])
    np.testing.assert_allclose(ds["hypsometry"][0], fine.reshape(10, -1).mean(axis=1), rtol=1e-7)
    assert ds["hypsometry"].values.mean() == pytest.approx(float(ds["elevation_mean"][0]))
    assert area * 9000 == len(fine)


# --- one glacier after the other: the definitions written out


def bands_of(elevation, area, bands=10):
    order = np.argsort(elevation, kind="stable")
    reached = np.concatenate([[0.0], np.cumsum(area[order])])
    volume = np.concatenate([[0.0], np.cumsum(area[order] * elevation[order])])
    marks = np.interp(np.linspace(0, reached[-1], bands + 1), reached, volume)
    return np.diff(marks) / (reached[-1] / bands)


def median_of(elevation, area):
    order = np.argsort(elevation, kind="stable")
    share = np.cumsum(area[order])
    return elevation[order][np.searchsorted(share, share[-1] * (0.5 - 1e-9))]


def gradients(elevation, grid):
    """Differences between the two neighbours; a void or missing one is replaced by the cell itself."""
    dy, dx = grid.y_edges[1] - grid.y_edges[0], grid.x_edges[1] - grid.x_edges[0]
    scale = 1.0
    if grid.is_geographic:
        scale = EARTH_RADIUS * np.cos(np.deg2rad((grid.y_edges[:-1] + grid.y_edges[1:]) / 2))[:, None]
        dy, dx = EARTH_RADIUS * np.deg2rad(dy), np.deg2rad(dx)

    def along(z, step):
        out = np.full(z.shape, np.nan)
        for j, i in np.ndindex(*z.shape):
            ends = [k if 0 <= k < len(z) and np.isfinite(z[k, i]) else j for k in (j - 1, j + 1)]
            if ends[1] > ends[0]:
                out[j, i] = (z[ends[1], i] - z[ends[0], i]) / ((ends[1] - ends[0]) * step)
        return out

    return along(elevation, dy), along(elevation.T, dx).T / scale


def one_by_one(dem, glaciers):
    grid = grid_of(dem)
    weights = overlap_weights(glaciers, grid)
    z = dem.values.astype(np.float64)
    north, east = gradients(z, grid)
    steep = np.hypot(north, east)
    rows = []
    for g in range(len(glaciers)):
        cell, area = weights.column[weights.row == g], weights.weight[weights.row == g]
        height, slope = z.ravel()[cell], np.degrees(np.arctan(steep)).ravel()[cell]
        seen = np.isfinite(height)
        height, area, slope, cell = height[seen], area[seen], slope[seen], cell[seen]
        with np.errstate(invalid="ignore"):
            unit = [-(f / steep).ravel()[cell] for f in (north, east)]
        towards = [np.nansum(u * area) / area[np.isfinite(u)].sum() if np.isfinite(u).any() else 0.0 for u in unit]
        length = np.hypot(*towards) or 1.0
        sound = np.isfinite(slope)
        rows.append(
            {
                "elevation_min": height.min(),
                "elevation_max": height.max(),
                "elevation_mean": np.average(height, weights=area),
                "elevation_median": median_of(height, area),
                "slope": np.average(slope[sound], weights=area[sound]) if sound.any() else np.nan,
                "northness": towards[0] / length,
                "eastness": towards[1] / length,
                "hypsometry": bands_of(height, area),
                "elevation_coverage": area.sum() / weights.total[g],
            }
        )
    return {n: np.array([r[n] for r in rows]) for n in rows[0]}


def rough_dem(seed, *, geographic, n=90, voids=0.0, steps=None):
    rng = np.random.default_rng(seed)
    values = 4000 + 300 * np.sin(np.arange(n)[:, None] / 9) + 20 * rng.standard_normal((n, n))
    values = np.round(values / steps) * steps if steps else values
    values[rng.random((n, n)) < voids] = np.nan
    y, x = (46.0 - np.arange(n) / 3600, 86.0 + np.arange(n) / 3600)
    if not geographic:
        y, x = Y0 + 30.0 * np.arange(n)[::-1], X0 + 30.0 * np.arange(n)
    dem = xr.DataArray(values.astype(np.float32), dims=("y", "x"), coords={"y": y, "x": x})
    return dem.rio.write_crs(4326 if geographic else UTM)


def many_outlines(dem, seed, count=25):
    """Ragged rings, slivers, outlines inside one cell and squares along cells."""
    rng = np.random.default_rng(seed)
    x, y = dem["x"].values, dem["y"].values
    step = x[1] - x[0]
    shapes = []
    for k in range(count):
        centre = np.array([rng.uniform(x[20], x[-20]), rng.uniform(min(y[20], y[-20]), max(y[20], y[-20]))])
        size = step * [0.2, 3.0, 15.0][k % 3]
        angle = np.sort(rng.uniform(0, 2 * np.pi, 12))
        ring = centre + size * rng.uniform(0.4, 1, 12)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
        shapes.append(shapely.make_valid(shapely.Polygon(ring)).buffer(0))
    shapes.append(shapely.box(x[30] - step / 2, y[33] - step / 2, x[32] + step / 2, y[30] + step / 2))
    shapes.append(shapely.box(x[5], y[40], x[80], y[40] + step / 100))
    shapes = [s for s in shapes if s.area > 0]
    return outlines(*shapes, crs=dem.rio.crs)


def test_the_gradient_of_the_oracle_is_numpys_where_nothing_is_void():
    dem = rough_dem(1, geographic=False, n=20)
    north, east = gradients(dem.values.astype(float), grid_of(dem))
    np.testing.assert_allclose(north, np.gradient(dem.values.astype(float), -30.0, axis=0), rtol=1e-12)
    np.testing.assert_allclose(east, np.gradient(dem.values.astype(float), 30.0, axis=1), rtol=1e-12)


@pytest.mark.parametrize("geographic", [True, False])
@pytest.mark.parametrize(("voids", "steps"), [(0.0, None), (0.0, 50.0), (0.1, None)])
@pytest.mark.parametrize("window", [16, 1024])
def test_all_glaciers_at_once_agree_with_one_after_the_other(geographic, voids, steps, window, monkeypatch):
    monkeypatch.setattr(glacmb_grid.sampling.terrain, "_CELLS_A_SIDE", window)
    dem = rough_dem(3, geographic=geographic, voids=voids, steps=steps)
    glaciers = many_outlines(dem, 4)
    seen = np.bincount((w := overlap_weights(glaciers, dem)).row, w.weight * np.isfinite(dem.values.ravel()[w.column]))
    glaciers = glaciers[seen > 0]
    found, expected = terrain(dem, glaciers), one_by_one(dem, glaciers)
    assert len(glaciers) > 15
    for name, values in expected.items():
        near = 1e-9 if geographic else 3e-4  # of the axes of the projection from true east and north
        np.testing.assert_allclose(found[name].values, values, rtol=1e-7, atol=near, err_msg=name)


@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(1, 6))
def test_tenths_of_the_area_share_out_the_whole_glacier(seed, cells, rows):
    rng = np.random.default_rng(seed)
    row = np.sort(rng.integers(0, rows, cells))
    elevation, area = np.round(rng.uniform(1000, 5000, cells), 1), rng.uniform(0.01, 9, cells)
    found = elevation_statistics(row, area, elevation, rows)
    for r in range(rows):
        z, a = elevation[row == r], area[row == r]
        if not len(z):
            assert np.isnan(found["hypsometry"][r]).all()
            continue
        tenths = found["hypsometry"][r]
        np.testing.assert_allclose(tenths, bands_of(z, a), rtol=1e-9)
        assert found["elevation_median"][r] == median_of(z, a)
        assert tenths.mean() == pytest.approx(np.average(z, weights=a), rel=1e-12)
        assert (np.diff(tenths) >= -1e-6).all()
        assert found["elevation_min"][r] == z.min() <= tenths.min() + 1e-6


def test_tenths_by_hand():
    row, area = np.zeros(4, int), np.array([1.0, 4.0, 3.0, 2.0])
    found = elevation_statistics(row, area, np.array([40.0, 10.0, 20.0, 30.0]), 1)
    np.testing.assert_allclose(found["hypsometry"], [[10, 10, 10, 10, 20, 20, 20, 30, 30, 40]])
    assert found["elevation_median"][0] == 20.0


def test_voids_are_left_out_and_counted():
    dem = utm_dem(lambda x, y: 3000 + 0.2 * (y - Y0))
    holed = dem.copy()
    holed.loc[{"x": slice(X0 + 1475, X0 + 1625)}] = np.nan
    glacier = outlines(shapely.box(X0 + 975, Y0 + 975, X0 + 1975, Y0 + 1975))
    ds, whole = terrain(holed, glacier), terrain(dem, glacier)
    columns = (X0 + 50 * np.arange(60) >= X0 + 1475) & (X0 + 50 * np.arange(60) <= X0 + 1625)
    assert float(ds["elevation_coverage"][0]) == pytest.approx(1 - columns.sum() * 50 / 1000)
    for name in ("elevation_mean", "slope", "northness", "eastness"):
        assert float(ds[name][0]) == pytest.approx(float(whole[name][0]), rel=1e-7, abs=3e-4)


def test_too_little_coverage_names_the_glaciers():
    dem = utm_dem(lambda x, y: 3000 + 0.2 * (y - Y0))
    dem = dem.where(dem["x"] > X0 + 1475)
    shapes = [shapely.box(X0 + a, Y0 + 975, X0 + a + 400, Y0 + 1975) for a in (2000, 1375, 1000)]
    glaciers = outlines(*shapes, ids=["seen", "mostly", "void"])
    failures = without_elevation(terrain(dem, glaciers), 0.7)
    assert failures == [("void", "elevation", "0% of its area have an elevation, at least 70% are required")]
    ds = terrain(dem, glaciers)
    assert np.isnan(ds["hypsometry"].sel(glacier="void")).all()
    with pytest.raises(InputError, match="void") as error:
        without_elevation(ds.sel(glacier=["void"]), 0.7)
    assert "1 of 1 glaciers" in error.value.found
    assert "void (0%)" in error.value.found
    ds = ds.sel(glacier=["seen", "mostly"])
    assert without_elevation(ds, 0.7) == []
    np.testing.assert_allclose(ds["elevation_coverage"], [1, 0.75], rtol=1e-12)


def test_a_glacier_without_any_elevation_is_an_error_whatever_is_asked():
    with pytest.raises(InputError, match=r"G0 \(0%\)"):
        without_elevation(terrain(utm_dem(np.full((60, 60), np.nan)), outlines(circle(1500, 1500, 300))), 0.0)


def test_a_glacier_off_the_elevation_model_is_named():
    glaciers = outlines(circle(1500, 1500, 300), circle(90000, 1500, 300), ids=["here", "away"])
    ds = terrain(utm_dem(np.full((60, 60), 3000.0)), glaciers)
    assert [(f.glacier, f.reason[:2]) for f in without_elevation(ds, 0.0)] == [("away", "0%")]


def test_full_coverage_may_be_demanded():
    dem = utm_dem(lambda x, y: 3000 + 0.2 * (y - Y0))
    ds = terrain(dem, outlines(*(circle(1500, 1500, 300 + i) for i in range(20))))
    np.testing.assert_allclose(ds["elevation_coverage"], 1, rtol=1e-12)
    assert without_elevation(ds, 1.0) == []


def test_no_slope_where_every_neighbour_is_void():
    values = np.full((60, 60), np.nan)
    values[30, 30] = 3000.0
    inside = shapely.box(X0 + 1490, Y0 + 1440, X0 + 1510, Y0 + 1460)
    ds = terrain(utm_dem(values), outlines(inside))
    assert float(ds["elevation_mean"][0]) == 3000.0
    assert np.isnan(ds["slope"][0])


def rough(n=60):
    rng = np.random.default_rng(5)
    return np.cumsum(np.cumsum(rng.normal(size=(n, n)), axis=0), axis=1) + 3000


def test_the_window_does_not_change_the_results():
    dem = utm_dem(rough())
    shapes = [circle(700, 700, 260), circle(2200, 2100, 340), circle(120, 2800, 90)]
    together = terrain(dem, outlines(*shapes))
    for i, shape in enumerate(shapes):
        alone = terrain(dem, outlines(shape, ids=[f"G{i}"]))
        xr.testing.assert_identical(alone, together.isel(glacier=[i]))


@given(st.integers(0, 2**32 - 1), st.floats(30, 75))
def test_no_glacier_feels_the_others_on_a_geographic_model(seed, latitude):
    rng = np.random.default_rng(seed)
    y, x = latitude - np.arange(80) / 1200, 80.0 + np.arange(80) / 1200
    values = 3000 + np.cumsum(rng.normal(size=(80, 80)), axis=0)
    values[rng.random((80, 80)) < 0.05] = np.nan
    dem = xr.DataArray(values, dims=("y", "x"), coords={"y": y, "x": x}).rio.write_crs(4326)
    places = rng.uniform(8, 72, (5, 2)) / 1200
    glaciers = outlines(*(shapely.Point(80 + a, latitude - b).buffer(0.005) for a, b in places), crs=4326)
    together = terrain(dem, glaciers)
    some = np.sort(rng.permutation(5)[: rng.integers(1, 5)])
    xr.testing.assert_identical(terrain(dem, glaciers.iloc[some]), together.isel(glacier=some))


@pytest.mark.parametrize("cells", [1, 7, 25])
def test_working_in_squares_does_not_change_the_results(monkeypatch, cells):
    dem = utm_dem(rough())
    centres = np.random.default_rng(0).uniform(300, 2600, (25, 2))
    glaciers = outlines(*(circle(*c, 30 + 10 * i) for i, c in enumerate(centres)))
    expected = terrain(dem, glaciers)
    monkeypatch.setattr(glacmb_grid.sampling.terrain, "_CELLS_A_SIDE", cells)
    found = terrain(dem, glaciers)
    assert found["glacier"].values.tolist() == glaciers.index.tolist()
    xr.testing.assert_identical(found, expected)


def test_the_direction_of_rows_and_columns_does_not_change_the_results():
    dem, glaciers = utm_dem(rough()), outlines(circle(700, 700, 260), circle(2200, 2100, 340))
    expected = terrain(dem, glaciers)
    for other in (dem.isel(y=slice(None, None, -1)), dem.isel(x=slice(None, None, -1)), dem.transpose("x", "y")):
        xr.testing.assert_allclose(terrain(other, glaciers), expected, rtol=1e-9)


def test_a_lazy_elevation_model_gives_the_same():
    dem, glaciers = utm_dem(rough()), outlines(circle(700, 700, 260))
    xr.testing.assert_identical(terrain(dem.chunk(7), glaciers), terrain(dem, glaciers))


def test_every_variable_has_units_and_the_order_of_the_outlines():
    ds = terrain(utm_dem(rough()), outlines(circle(700, 700, 260), circle(2200, 2100, 340), ids=["z", "a"]))
    assert ds["glacier"].values.tolist() == ["z", "a"]
    assert ds["hypsometry"].dims == ("glacier", "band")
    assert all({"units", "long_name"} <= set(v.attrs) for v in ds.data_vars.values())
    assert {v.attrs["units"] for n, v in ds.data_vars.items() if n.startswith("elevation_m")} == {"m"}
    assert (ds["elevation_min"] <= ds["hypsometry"].isel(band=0)).all()
    assert (ds["hypsometry"].isel(band=9) <= ds["elevation_max"]).all()


# --- true north, whatever the projection


def tilted(crs, lon, lat, step, n=120, towards=0.0):
    """A plane that descends by a tenth towards an azimuth (degrees from true north), on a grid of a projection."""
    back = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    x0, y0 = back.transform(lon, lat, direction="INVERSE")
    x, y = x0 + step * (np.arange(n) - n / 2), y0 - step * (np.arange(n) - n / 2)
    there = back.transform(*np.meshgrid(x, y))
    azimuth, _, distance = GEOD.inv(np.full((n, n), lon), np.full((n, n), lat), *there)
    values = 2000 - 0.1 * distance * np.cos(np.deg2rad(azimuth - towards))
    dem = xr.DataArray(values, dims=("y", "x"), coords={"y": y, "x": x}).rio.write_crs(crs)
    return dem, outlines(shapely.Point(lon, lat).buffer(0.003), crs=4326)


@pytest.mark.parametrize("towards", [0.0, 70.0, 200.0])
@pytest.mark.parametrize(
    ("crs", "lon", "lat", "step"),
    [
        ("EPSG:32632", 10.9, 46.8, 30.0),
        ("EPSG:32632", 5.0, 61.0, 30.0),  # beyond the zone: the convergence is 3.5 degrees
        ("EPSG:3413", 15.0, 78.0, 30.0),  # polar stereographic
        ("EPSG:3413", 135.0, 78.0, 30.0),
        ("EPSG:3031", -60.0, -66.0, 30.0),
        ("EPSG:3035", -18.0, 64.5, 30.0),  # equal area, not conformal
        ("EPSG:6933", 10.0, 61.0, 30.0),
        ("EPSG:3857", 10.0, 61.0, 60.0),  # twice as long as true
        ("+proj=utm +zone=33 +datum=WGS84 +units=km", 15.0, 78.0, 0.03),
        ("EPSG:2926", -121.0, 48.5, 100.0),  # US survey feet
        ("+proj=sinu +R=6371007.181", 90.0, 35.0, 90.0),
    ],
)
def test_slope_and_aspect_are_true_in_any_projection(crs, lon, lat, step, towards):
    found = terrain(*tilted(crs, lon, lat, step, towards=towards)).isel(glacier=0)
    assert float(found["slope"]) == pytest.approx(np.degrees(np.arctan(0.1)), abs=0.02)
    assert float(found["northness"]) == pytest.approx(np.cos(np.deg2rad(towards)), abs=1e-3)
    assert float(found["eastness"]) == pytest.approx(np.sin(np.deg2rad(towards)), abs=1e-3)
    assert float(found["elevation_mean"]) == pytest.approx(2000, abs=0.2)


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:3413", "EPSG:3031", "EPSG:3035", "EPSG:2154"])
def test_the_axes_are_those_of_proj(crs):
    """Meridian convergence and areal scale as PROJ's own analytical factors."""
    dem, _ = tilted(crs, 7.0, -72.0 if crs == "EPSG:3031" else 45.5, 30.0)
    cells = np.array([3, 40, 77, 118]), np.array([100, 9, 64, 33])
    found = jacobian(grid_of(dem), *cells)
    lon, lat = pyproj.Transformer.from_crs(crs, 4326, always_xy=True).transform(
        dem["x"].values[cells[1]], dem["y"].values[cells[0]]
    )
    factors = pyproj.Proj(crs).get_factors(lon, lat)
    true_north = np.linalg.inv(found)[:, :, 1]  # on the map
    angle = np.rad2deg(np.arctan2(-true_north[:, 0], true_north[:, 1]))
    turn = (angle - factors.meridian_convergence + 180) % 360 - 180
    np.testing.assert_allclose(np.abs(turn), 0, atol=1e-4)
    np.testing.assert_allclose(1 / np.abs(np.linalg.det(found)), factors.areal_scale, rtol=1e-6)


def test_means_on_a_projection_that_stretches_are_those_of_true_areas():
    """Web Mercator between 60 and 62 degrees: a box of the map takes 7 % more room in the north than is there."""
    dem, _ = tilted("EPSG:3857", 10.0, 61.0, 4000.0)
    box = outlines(shapely.box(9.5, 60.0, 10.5, 62.0), crs=4326)
    lat = np.linspace(60, 62, 2001)
    share = np.cos(np.deg2rad(lat))  # of the area, nearly
    expected = np.average(2000 - 0.1 * 111.4e3 * (lat - 61), weights=share)
    assert float(terrain(dem, box)["elevation_mean"][0]) == pytest.approx(expected, abs=5)
