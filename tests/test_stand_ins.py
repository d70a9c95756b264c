"""Cells of sea by variable and by the whole record: by hand."""

from __future__ import annotations

import dask.array as da
import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.sampling.grid import grid_of
from glacmb_grid.sampling.nearest import valid_cells
from glacmb_grid.sampling.stand_ins import (
    from_stored,
    sample_by_variable,
    set_of,
    stand_ins,
    take,
    to_dataset,
    with_gaps,
)
from glacmb_grid.sampling.zonal import overlap_weights, without_valid

LATITUDE, LONGITUDE = np.array([10.1, 10.0]), np.array([20.0, 20.1, 20.2])
LIMITS = {"least": 0.5, "max_distance_km": 30.0}
MONTHS, LOOKED_AT = 12, [0, 5, 11]


def region():
    """t2m is the number of its cell; one glacier in each cell of the northern row."""
    number = np.broadcast_to(np.arange(6.0).reshape(2, 3), (MONTHS, 2, 3)).copy()
    dims = ("time", "latitude", "longitude")
    ds = xr.Dataset(
        {"t2m": (dims, number), "sd": (dims, number + 100), "orography": (dims[1:], number[0] * 1000)},
        coords={
            "time": np.arange("2001-01", "2002-01", dtype="datetime64[M]").astype("datetime64[ns]"),
            "latitude": LATITUDE,
            "longitude": LONGITUDE,
        },
    )
    squares = [shapely.box(x - 0.01, 10.09, x + 0.01, 10.11) for x in LONGITUDE]
    return ds, gpd.GeoDataFrame(geometry=squares, index=["A", "B", "C"], crs=4326)


def sampled(ds, glaciers):
    own = overlap_weights(glaciers, ds)
    few = {n: ds[n].isel(time=LOOKED_AT) for n in ("t2m", "sd")}
    sets = stand_ins(own, grid_of(ds), valid_cells(few, own, grid_of(ds), glaciers, **LIMITS), glaciers, **LIMITS)
    own, sets = from_stored(to_dataset(own, sets))
    return sample_by_variable(ds.chunk(time=4), own, sets, together="t2m"), sets


def test_a_variable_takes_other_cells_where_it_has_none_and_the_others_stay():
    ds, glaciers = region()
    ds["sd"][:, 0, 1] = np.nan
    found, sets = sampled(ds, glaciers)
    assert [s.variables for s in sets] == [("t2m",), ("sd",)]
    assert found["t2m"].isel(time=0).values.tolist() == [0, 1, 2]
    assert found["orography"].values.tolist() == [0, 1000, 2000]
    weights = set_of(sets, "sd").weights
    assert set(weights.column[weights.row == 1]) > {0, 2, 4}
    here = weights.weight[weights.row == 1]
    expected = float((here * (100 + weights.column[weights.row == 1])).sum() / here.sum())
    assert found["sd"].sel(glacier="B").values == pytest.approx(np.full(MONTHS, expected), rel=1e-6)
    assert found["sd"].sel(glacier="A").values.tolist() == [100] * MONTHS
    assert (found["sd_coverage"] == 1).all()
    assert found["own_cells"].sel(variable="sd").values[1] == 0  # sea in the whole record
    assert with_gaps(found.compute(), 0.5, source="climate files", looked_at=["2001-01"]) == []


def test_cells_with_values_in_other_months_are_no_sea_and_the_glacier_is_named():
    ds, glaciers = region()
    ds["t2m"][LOOKED_AT, 0, 1] = np.nan
    ds["sd"][:, 0, 2] = np.nan
    found, _ = sampled(ds, glaciers)
    (failure,) = with_gaps(found.compute(), 0.5, source="climate files", looked_at=["2001-01", "2001-06", "2001-12"])
    assert failure.glacier == "B"
    assert failure.variable == "t2m"
    assert "none in 2001-01, 2001-06, 2001-12" in failure.reason


def test_a_gap_in_a_looked_at_month_moves_no_glacier_and_is_named():
    ds, glaciers = region()
    ds["t2m"][0, 0, 1] = np.nan
    found, (one,) = sampled(ds, glaciers)
    assert not one.replaced.any()
    assert found["t2m"].sel(glacier="B").values[1:].tolist() == [1] * (MONTHS - 1)
    (failure,) = without_valid(found.compute(), 0.5, source="climate files")
    assert (failure.glacier, failure.variable) == ("B", "t2m")
    assert "2001-01" in failure.reason


def test_where_all_glaciers_have_such_gaps_it_is_an_error():
    ds, glaciers = region()
    ds["t2m"][LOOKED_AT, 0] = np.nan
    found, _ = sampled(ds, glaciers)
    with pytest.raises(InputError, match=r"none in 2001-01"):
        with_gaps(found.compute(), 0.5, source="climate files", looked_at=["2001-01"])


def test_the_record_is_read_once_for_the_means_and_for_what_was_sea():
    ds, glaciers = region()
    ds["t2m"][:, 0, 1] = np.nan
    own = overlap_weights(glaciers, ds)
    valid = {n: np.isfinite(ds[n].values).any(axis=0) for n in ("t2m", "sd")}
    sets = stand_ins(own, grid_of(ds), valid, glaciers, **LIMITS)
    read = []

    def block(block_info=None):
        (t0, t1), *_ = block_info[None]["array-location"]
        read.append(t0)
        return ds["t2m"].values[t0:t1]

    lazy = da.map_blocks(block, chunks=((4, 4, 4), (2,), (3,)), dtype=float, meta=np.empty((0, 0, 0)))
    cube = ds.assign(t2m=(ds["t2m"].dims, lazy))
    sample_by_variable(cube, own, sets, together="t2m").compute()
    assert sorted(read) == [0, 4, 8]


def test_rows_are_taken_of_all_parts():
    ds, glaciers = region()
    ds["sd"][:, 0, 1] = np.nan
    _, sets = sampled(ds, glaciers)
    some = take(sets, np.array([False, True, True]))
    assert [s.weights.rows.tolist() for s in some] == [["B", "C"]] * 2
    assert set_of(some, "sd").replaced.tolist() == [True, False]
    assert set_of(some, "orography") is some[0]
