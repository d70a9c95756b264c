"""The gridded product: by hand, its sums against those of the glaciers, and what others read of it."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import glacmb_grid as gg
from glacmb_grid.errors import InputError
from glacmb_grid.products import grid_errors
from glacmb_grid.products.attributes import meta_of
from glacmb_grid.products.cells import cell_areas, grid_around, grid_of_edges
from glacmb_grid.products.gridded import by_year, gridded_product
from glacmb_grid.stores.formats import write_netcdf

SPACE = ("latitude", "longitude")


def squares(product, half):
    """Outlines of a product: squares around its positions, degrees."""
    places = zip(product["longitude"].values, product["latitude"].values, strict=True)
    shapes = [shapely.box(x - half, y - half, x + half, y + half) for x, y in places]
    return gpd.GeoDataFrame(geometry=shapes, index=product["glacier_id"].values, crs=4326)


def at(product, places):
    """The product with its glaciers at these places, (longitude, latitude)."""
    x, y = np.array(places, float).T
    return product.assign_coords(longitude=("glacier", x), latitude=("glacier", y))


@pytest.fixture
def two(toys):
    """Two glaciers in one year: 2 km2 at -1 m, 6 km2 at +0.5 m; sigmas .3 and .4 m; the second is measured."""
    product = at(toys.product(glaciers=2, years=(2001, 2001)), [(10.25, 45.25), (10.5, 45.25)])
    product["mass_balance"].values[:] = [[-1.0], [0.5]]
    product["area_of_year"].values[:] = [[2.0], [6.0]]
    product["mass_balance_uncertainty_model"].values[:] = [[0.3], [0.4]]
    product["mass_balance_uncertainty_member"].values[:] = 0.0
    return product


def test_glaciers_in_cells_by_hand(two):
    made = gridded_product(two, squares(two, 0.125))
    assert made["latitude"].values.tolist() == [45.75, 45.25]  # GDAL needs two rows
    assert made["longitude"].values.tolist() == [10.25, 10.75]
    first, second = (made.isel(time=0, latitude=-1, longitude=i) for i in (0, 1))
    # the first cell holds the first glacier and half of the second: 2 km2 at -1 m and 3 km2 at .5 m
    assert float(first["mass_change"]) == pytest.approx(-0.5e9, rel=1e-12)
    assert float(first["mass_change_gt"]) == pytest.approx(-0.0005, rel=1e-12)
    assert float(first["glacier_area"]) == pytest.approx(5.0)
    assert float(first["mass_balance"]) == pytest.approx(-0.1)
    assert float(first["mass_change_amount"]) == pytest.approx(-100)
    assert float(first["mass_change_uncertainty"]) == pytest.approx(1e9 * np.hypot(2 * 0.3, 3 * 0.4))
    assert float(first["mass_balance_uncertainty"]) == pytest.approx(np.hypot(0.6, 1.2) / 5)
    assert (int(first["n_glaciers"]), int(first["n_measured"])) == (2, 1)
    assert float(second["mass_change"]) == pytest.approx(1.5e9, rel=1e-12)
    assert (int(second["n_glaciers"]), int(second["n_measured"])) == (1, 1)
    assert "independent" in made.attrs["uncertainty_from"]


def test_by_centroid_a_glacier_is_whole_in_one_cell(two):
    made = gridded_product(two, split="centroid").isel(time=0, latitude=-1)
    np.testing.assert_allclose(made["mass_change"].values, [-2e9, 3e9])  # on the edge: to the east
    assert made["n_glaciers"].values.tolist() == [1, 1]
    assert "holds its position" in made.attrs["glaciers_split"]


@pytest.mark.parametrize("resolution", [0.5, 0.1, 0.25, 2.0])
@pytest.mark.parametrize("split", ["outline", "centroid"])
def test_sums_over_cells_are_those_over_glaciers(toys, resolution, split):
    product = toys.product(glaciers=30, seed=4)
    product["mass_balance"].values[3, 2:] = np.nan
    made = gridded_product(product, toys.outlines(product), resolution=resolution, split=split)
    balance = product["mass_balance"].astype(np.float64)
    whole = (balance * product["area_of_year"] * 1e9).sum("glacier").values
    np.testing.assert_allclose(made["mass_change"].sum(SPACE).values, whole, rtol=1e-12)
    np.testing.assert_allclose(made["mass_change_gt"].sum(SPACE).values, whole / 1e12, rtol=1e-12)
    area = product["area_of_year"]
    np.testing.assert_allclose(made["glacier_area"].sum(SPACE), area.sum("glacier"), rtol=1e-12)
    covered = area.where(balance.notnull()).sum("glacier")
    np.testing.assert_allclose(made["glacier_area_covered"].sum(SPACE), covered, rtol=1e-12)
    assert made.attrs["glacier_years_without_balance"] == 4


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 999),
    middle=st.tuples(st.sampled_from([-179.9, -60.0, 0.0, 75.3, 180.0]), st.floats(-75, 75)),
    resolution=st.sampled_from([0.1, 0.5, 1 / 3, 5.0]),
    split=st.sampled_from(["outline", "centroid"]),
)
def test_sums_hold_anywhere_on_earth(toys, seed, middle, resolution, split):
    product = toys.product(glaciers=4, years=(2001, 2002), seed=seed)
    places = np.random.default_rng(seed).uniform(-1, 1, (4, 2)) + middle
    places[:, 0] = (places[:, 0] + 180) % 360 - 180
    product = at(product, places)
    made = gridded_product(product, toys.outlines(product, seed), resolution=resolution, split=split)
    whole = (product["mass_balance"].astype(np.float64) * product["area_of_year"] * 1e9).sum("glacier")
    scale = float(np.abs(product["mass_balance"] * product["area_of_year"] * 1e9).sum("glacier").max())
    np.testing.assert_allclose(made["mass_change"].sum(SPACE), whole, rtol=0, atol=1e-12 * scale)
    assert made.sizes["longitude"] <= 3.2 / resolution + 2


def test_a_glacier_year_without_balance_is_left_out_of_the_mean(two):
    two["mass_balance"].values[1] = np.nan
    made = gridded_product(two, squares(two, 0.125)).isel(time=0, latitude=-1)
    assert float(made["mass_balance"][0]) == pytest.approx(-1.0)
    assert made["glacier_area"].values.tolist() == pytest.approx([5.0, 3.0])
    assert made["glacier_area_covered"].values.tolist() == pytest.approx([2.0, 0.0])
    assert np.isnan(made["mass_change"].values[1])
    assert made["n_glaciers"].values.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("correlation", "expected"),
    [
        (lambda d: np.ones_like(d), 0.6 + 1.2),
        (lambda d: np.zeros_like(d), np.hypot(0.6, 1.2)),
        (lambda d: np.full_like(d, 0.5), np.sqrt(0.36 + 1.44 + 2 * 0.5 * 0.6 * 1.2)),
    ],
)
def test_correlated_errors_by_hand(two, correlation, expected):
    made = gridded_product(two, squares(two, 0.125), correlation=correlation)
    assert float(made["mass_change_uncertainty"][0, -1, 0]) == pytest.approx(1e9 * expected)
    assert "correlated" in made.attrs["uncertainty_from"]


def test_correlation_takes_the_distance_in_kilometres(two):
    seen = []
    gridded_product(two, squares(two, 0.125), correlation=lambda d: seen.append(d) or np.exp(-d))
    km = np.deg2rad(0.25) * 6371.007 * np.cos(np.deg2rad(45.25))
    assert seen[0][0, 1] == pytest.approx(km, rel=1e-4)


def test_pairs_in_blocks_give_the_same(toys, monkeypatch):
    product = toys.product(glaciers=40)
    made = [gridded_product(product, split="centroid", resolution=5.0, correlation=lambda d: np.exp(-d / 90))]
    monkeypatch.setattr(grid_errors, "_PAIRS", 7)
    made.append(gridded_product(product, split="centroid", resolution=5.0, correlation=lambda d: np.exp(-d / 90)))
    xr.testing.assert_allclose(made[0], made[1], rtol=1e-12)


def test_the_spread_of_realizations_is_the_uncertainty_where_there_are_any(toys):
    product = toys.product(glaciers=9, draws=50)
    made = gridded_product(product, split="centroid", resolution=5.0)
    east, north = (np.searchsorted([lo, lo + 5], product[n].values) for n, lo in (("longitude", 70), ("latitude", 30)))
    inside = (east == 1) & (north == 1)
    sums = (product["mass_balance_realizations"] * product["area_of_year"]).isel(glacier=inside).sum("glacier")
    cell = made.sel(latitude=32.5, longitude=72.5)
    np.testing.assert_allclose(cell["mass_change_uncertainty"], sums.std("realization", ddof=1) * 1e9, rtol=1e-10)
    assert "realizations" in made.attrs["uncertainty_from"]


def test_one_realization_after_the_other_equals_all_at_once_for_large_means(toys):
    product = toys.product(glaciers=3, draws=20)
    product["mass_balance_realizations"] += 1e6
    made = gridded_product(product, split="centroid", resolution=90.0)
    sums = (product["mass_balance_realizations"] * product["area_of_year"]).sum("glacier")
    np.testing.assert_allclose(
        made["mass_change_uncertainty"].max(SPACE).values, sums.std("realization", ddof=1) * 1e9, rtol=1e-6
    )


def test_the_flux_is_the_balance_over_the_seconds_of_the_year(two):
    made = gridded_product(two, squares(two, 0.125), flux=True).isel(time=0, latitude=-1, longitude=1)
    assert float(made["mass_flux"]) == pytest.approx(500 / (365 * 86400))
    assert made["mass_flux"].attrs["standard_name"] == "land_ice_surface_specific_mass_balance_flux"
    leap = two.assign(time_bnds=two["time_bnds"] + np.timedelta64(3 * 365 + 0, "D"))
    days = float((leap["time_bnds"][0, 1] - leap["time_bnds"][0, 0]) / np.timedelta64(1, "D"))
    made = gridded_product(leap, squares(two, 0.125), flux=True).isel(time=0, latitude=-1, longitude=1)
    assert float(made["mass_flux"]) == pytest.approx(500 / (days * 86400))


def test_years_that_begin_in_other_months_are_said(toys):
    product = at(toys.product(glaciers=3, firsts=(10, 10, 4)), [(30.2, 0.2), (30.2, 0.7), (30.2, -0.7)])
    product["area_of_year"].values[:] = 1.0
    made = gridded_product(product, split="centroid", flux=True)
    assert made["first_month"].isel(longitude=0).values.tolist() == [10, 10, 0, 4]
    assert "month 10" in made.attrs["hydrological_year"]
    assert "several" in made.attrs["hydrological_year"]
    assert str(made["time_bnds"].values[0, 0])[:10] == "2000-10-01"
    south = made.isel(latitude=3, longitude=0)
    seconds = [365 * 86400.0] * 3 + [366 * 86400.0]  # April 2003 to March 2004 has the 29 February
    np.testing.assert_allclose(south["mass_flux"][:4], south["mass_change_amount"][:4] / seconds)
    alone = gridded_product(product.isel(glacier=[2]), split="centroid")
    assert str(alone["time_bnds"].values[0, 0])[:10] == "2000-04-01"
    assert "several" not in alone.attrs["hydrological_year"]


@pytest.mark.parametrize("latitude", [-89.99, 0.001, 89.99])
def test_a_grid_of_one_glacier_opens_in_gdal(toys, tmp_path, latitude):
    product = at(toys.product(glaciers=1, years=(2001, 2002)), [(179.99, latitude)])
    made = gg.describe(gridded_product(product, split="centroid"), kind="grid")
    assert made["mass_change"].notnull().sum() == 2
    assert np.abs(made["lat_bnds"]).max() <= 90
    write_netcdf(made, tmp_path / "one.nc")
    with rasterio.open(f"netcdf:{tmp_path / 'one.nc'}:mass_change") as grid:
        assert grid.shape == (2, 2)
        assert grid.bounds.bottom >= -90
        value = grid.read(1)[grid.index(179.99, latitude)]
    assert value == pytest.approx(made["mass_change"].isel(time=0).max().item())


def test_edges_of_the_users_own(two):
    made = gridded_product(two, squares(two, 0.125), edges=(np.arange(40, 51, 1.0), np.arange(5, 16, 1.0)))
    assert dict(made.sizes) == {"time": 1, "latitude": 10, "longitude": 10, "bnds": 2}
    assert int(made["mass_change"].notnull().sum()) == 1
    assert made["lat_bnds"].values[0].tolist() == [50, 49]
    assert made["lon_bnds"].values[0].tolist() == [5, 6]


def test_areas_of_cells_are_those_of_the_ellipsoid():
    from pyproj import Geod

    made = grid_of_edges([50.0, 49.0], [10.0, 11.0])
    steps = np.linspace(10, 11, 2001)
    ring = np.concatenate(
        [np.stack([steps, np.full(2001, 49.0)]), np.stack([steps[::-1], np.full(2001, 50.0)])], axis=1
    )
    area, _ = Geod(ellps="WGS84").polygon_area_perimeter(*ring)
    assert cell_areas(made)[0] == pytest.approx(area, rel=1e-6)


@pytest.mark.parametrize(("resolution", "count"), [(0.1, 1), (0.1, 7), (0.5, 3), (0.05, 11)])
def test_edges_are_multiples_of_the_resolution(resolution, count):
    grid = grid_around(np.array([[7.5, 45.0, 7.5 + count * resolution, 45.0 + count * resolution]]), resolution)
    assert grid.shape == (max(count, 2),) * 2  # GDAL needs two rows and columns
    for edges in (grid.y_edges, grid.x_edges):
        np.testing.assert_array_equal(edges, np.round(np.round(edges / resolution) * resolution, 9))


def test_a_whole_globe_and_the_poles():
    grid = grid_around(np.array([[-180.0, -90.0, 180.0, 90.0]]), 0.5)
    assert grid.shape == (360, 720)
    assert grid.is_cyclic
    assert (grid.y_edges[0], grid.y_edges[-1], grid.x_edges[0]) == (90, -90, -180)


def test_glaciers_on_both_sides_of_the_antimeridian_take_a_small_grid(toys):
    product = at(toys.product(glaciers=2), [(179.8, 70.2), (-179.8, 70.2)])
    for made in (gridded_product(product, squares(product, 0.1)), gridded_product(product, split="centroid")):
        assert made.sizes["longitude"] == 2
        np.testing.assert_allclose(
            made["mass_change"].sum(SPACE), (product["mass_balance"] * product["area_of_year"] * 1e9).sum("glacier"),
            rtol=1e-6,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"split": "area"}, "outline or centroid"),
        ({"split": "outline"}, "outlines"),
        ({"split": "centroid", "resolution": 0}, "above 0"),
        ({"split": "centroid", "resolution": float("nan")}, "above 0"),
        ({"split": "centroid", "edges": ([40.0, 41.0], [10.0, 11.0])}, "inside the edges"),
        ({"split": "centroid", "edges": ([45.0, 46.0, 48.0], [10.0, 11.0])}, "evenly spaced"),
        ({"split": "centroid", "edges": ([45.0], [10.0, 11.0])}, "evenly spaced"),
        ({"split": "centroid", "edges": ([45.0, 46.0], [-300.0, 300.0])}, "evenly spaced"),
        ({"split": "centroid", "tilte": "t"}, "tilte"),
    ],
)
def test_what_cannot_be_gridded_is_refused(two, more, message):
    with pytest.raises(InputError, match=message):
        gridded_product(two, **more)


def test_outlines_of_other_glaciers_or_beyond_the_grid_are_refused(two):
    outlines = squares(two, 0.125)
    with pytest.raises(InputError, match=r"none of 1: RGI60-13\.00001"):
        gridded_product(two, outlines.iloc[:1])
    with pytest.raises(InputError, match=r"1 of 2 not or not wholly inside: RGI60-13\.00001"):
        gridded_product(two, outlines, edges=([45.0, 45.5], [10.0, 10.5]))


def test_outlines_may_come_in_any_order(toys):
    product = toys.product(glaciers=6)
    outlines = toys.outlines(product)
    xr.testing.assert_identical(gridded_product(product, outlines), gridded_product(product, outlines.iloc[::-1]))


@pytest.fixture
def made(toys):
    product = toys.product(glaciers=8)
    return gridded_product(product, toys.outlines(product), flux=True, correlation=lambda d: np.exp(-d / 100))


def test_the_grid_passes_the_compliance_checker(made, compliance, tmp_path):
    write_netcdf(made, tmp_path / "g.nc")
    found = compliance(tmp_path / "g.nc")
    assert found["cf:1.11"] == []
    lacking = [(g.split('"')[1], m) for w, g, m in found["acdd:1.3"] if w == 3]
    assert all(m == "standard_name" and not meta_of(n, "grid").standard_name for n, m in lacking)


def test_one_year_alone_is_a_product(made, compliance, tmp_path):
    parts = dict(by_year(made))
    assert list(parts) == [2001, 2002, 2003, 2004, 2005, 2006]
    assert parts[2003].attrs["time_coverage_start"] == "2002-10-01"
    assert parts[2003].attrs["time_coverage_duration"] == "P1Y"
    write_netcdf(parts[2003], tmp_path / "g.nc")
    assert compliance(tmp_path / "g.nc")["cf:1.11"] == []
    whole = xr.concat(parts.values(), "time", data_vars="minimal", coords="minimal", compat="override")
    xr.testing.assert_equal(whole, made)


def test_the_grid_opens_in_gdal_xarray_and_cf_xarray(made, tmp_path):
    import cf_xarray  # noqa: F401

    write_netcdf(made, tmp_path / "g.nc")
    with rasterio.open(f"netcdf:{tmp_path / 'g.nc'}:mass_change") as file:
        assert file.crs.to_epsg() == 4326
        assert file.count == 6
        west, north = made["lon_bnds"].values[0, 0], made["lat_bnds"].values[0, 0]
        assert file.transform.to_gdal() == pytest.approx((west, 0.5, 0, north, 0, -0.5))
        np.testing.assert_array_equal(file.read(2), made["mass_change"].values[1])
    with xr.open_dataset(tmp_path / "g.nc", decode_coords="all") as ds:
        assert {"lat_bnds", "lon_bnds", "time_bnds", "crs"} <= set(ds.coords)
        assert ds.cf.bounds["latitude"] == ["lat_bnds"]
        assert ds.cf["change_in_land_ice_amount"].name == "mass_change_amount"
        np.testing.assert_array_equal(ds.cf["T"].values, made["time"].values)


def test_equal_input_gives_equal_bytes(toys, tmp_path):
    product = toys.product()
    for name in "ab":
        write_netcdf(gridded_product(product, toys.outlines(product)), tmp_path / f"{name}.nc")
    assert (tmp_path / "a.nc").read_bytes() == (tmp_path / "b.nc").read_bytes()


def test_the_function_is_public():
    assert gg.gridded_product is gridded_product
