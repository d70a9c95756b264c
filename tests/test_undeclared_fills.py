"""Stores whose chunks hold whole series, with fills that nothing declares and chunks that were never written."""

from __future__ import annotations

import geopandas as gpd
import h5py
import numpy as np
import pytest
import shapely
import xarray as xr
import zarr

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.climate import open_climate
from glacmb_grid.inputs.climate.plausible import check_values, quick_look
from glacmb_grid.inputs.climate.steadiness import held
from glacmb_grid.sampling.grid import grid_of
from glacmb_grid.sampling.nearest import valid_cells
from glacmb_grid.sampling.steady import changing_under
from glacmb_grid.sampling.zonal import overlap_weights
from glacmb_grid.years import days_in_month

TIME = np.arange("1990-01", "1998-01", dtype="datetime64[M]")
CELLS, SIDE = 26, 2  # cells, and cells of a chunk, in each direction: 13 x 13 chunks, of which a look takes 6 x 6
BAD = (slice(None), slice(12, 14), slice(12, 14))  # a chunk that no look takes
DIMS = ("time", "latitude", "longitude")
LATITUDE, LONGITUDE = 47 - 0.1 * np.arange(CELLS), 10 + 0.1 * np.arange(CELLS)


def fields():
    """Temperatures and precipitation that differ between cells and months."""
    rng = np.random.default_rng(1)
    season = np.cos(2 * np.pi * np.arange(len(TIME)) / 12)[:, None, None]
    shape = (len(TIME), CELLS, CELLS)
    return {
        "t2m": (265 - 9 * season + rng.normal(size=shape)).astype("f4"),
        "tp": (0.003 + 0.001 * season + 0.0005 * rng.random(shape)).astype("f4"),
    }


def stored(tmp_path, form, values, name, lose):
    """A store by series; of variable `name` the chunk BAD is lost (`lose`)."""
    chunks = (len(TIME), SIDE, SIDE)
    ds = xr.Dataset(
        {n: (DIMS, v, {"units": {"t2m": "K", "tp": "m"}[n]}) for n, v in values.items()},
        coords={"time": TIME.astype("datetime64[ns]"), "latitude": LATITUDE, "longitude": LONGITUDE},
    )
    if form == "netcdf":
        path = tmp_path / "series.nc"
        ds.to_netcdf(path, encoding={n: {"chunksizes": chunks, "zlib": True, "_FillValue": None} for n in values})
        if lose:
            with h5py.File(path, "r+") as file:
                old = file[name]
                made = file.create_dataset("new", old.shape, old.dtype, chunks=chunks, fillvalue=0.0)
                for k, dim in enumerate(DIMS):
                    made.dims[k].attach_scale(file[dim])
                for y in range(0, CELLS, SIDE):
                    for x in range(0, CELLS, SIDE):
                        if (y, x) != (BAD[1].start, BAD[2].start):
                            here = (slice(None), slice(y, y + SIDE), slice(x, x + SIDE))
                            made[here] = values[name][here]
                made.attrs["units"] = old.attrs["units"]
                del file[name]
                file.move("new", name)
        return path
    path = tmp_path / "series.zarr"
    number = int(form[-1])
    encoding = {n: {"chunks": chunks, "_FillValue": None, "write_empty_chunks": True} for n in values}
    ds.to_zarr(path, zarr_format=number, consolidated=False, encoding=encoding)
    if lose:
        group = zarr.open_group(path, mode="r+")
        group[name][BAD] = 0
    return path


def glaciers(at):
    """One outline across the edge of cell (row, column) and its eastern neighbour, most of it in the neighbour."""
    y, x = LATITUDE[at[0]], LONGITUDE[at[1]]
    box = shapely.box(x + 0.03, y - 0.01, x + 0.12, y + 0.01)
    return gpd.GeoDataFrame(geometry=[box], index=["A"], crs=4326)


def looked_under(cube, outlines):
    """As the stage of weights looks at the cells under glaciers."""
    few = cube[["t2m", "tp"]].isel(time=np.linspace(0, len(TIME) - 1, 5).astype(int))
    own, grid = overlap_weights(outlines, cube), grid_of(cube)
    each = {n: few[n] for n in few.data_vars}
    return valid_cells(
        each, own, grid, outlines, least=0.5, max_distance_km=20.0, judge=changing_under(cube, few, grid)
    )


@pytest.mark.parametrize(
    ("form", "name", "fill"),
    [
        ("zarr2", "t2m", 194.3),
        ("zarr3", "t2m", -32767),
        ("netcdf", "t2m", 9.97e36),
        ("netcdf", "t2m", 0),
        ("zarr2", "tp", 0),
        ("zarr3", "tp", 1e20),
        ("netcdf", "tp", 0.004),
    ],
)
def test_a_fill_in_a_chunk_of_series_is_found_under_a_glacier_that_it_holds_a_part_of(tmp_path, form, name, fill):
    values = fields()
    values[name][BAD] = fill
    cube = open_climate(stored(tmp_path, form, values, name, lose=False), accumulated="daily_mean")
    quick_look(cube, source="")  # does not take the chunk
    assert all(v.any() for v in looked_under(cube, glaciers((3, 3))).values())
    with pytest.raises(InputError) as raised:
        looked_under(cube, glaciers((12, 13)))
    for text in (f"series.{'nc' if form == 'netcdf' else 'zarr'}: {name}", "1 of", "same value", "declare", "Zarr"):
        assert text in str(raised.value)


@pytest.mark.parametrize("name", ["t2m", "tp"])
def test_chunks_of_netcdf_that_were_never_written_are_found(tmp_path, name):
    cube = open_climate(stored(tmp_path, "netcdf", fields(), name, lose=True), accumulated="daily_mean")
    assert (cube[name][BAD] == 0).all()
    with pytest.raises(InputError, match="lost chunks"):
        looked_under(cube, glaciers((12, 13)))


@pytest.mark.parametrize("form", ["zarr3", "netcdf"])
def test_a_look_takes_all_cells_of_the_chunks_that_it_reads(tmp_path, form):
    values = fields()
    values["t2m"][:, 1, 1] = 194.3  # the last cell of the first chunk
    cube = open_climate(stored(tmp_path, form, values, "t2m", lose=False), accumulated="daily_mean")
    with pytest.raises(InputError, match="1 of 144 cells hold the same value"):
        quick_look(cube, source="")


def test_months_without_rain_are_no_fill_unless_it_never_rains(tmp_path):
    values = fields()
    dry = np.isin(np.arange(len(TIME)), np.linspace(0, len(TIME) - 1, 5).astype(int))
    values["tp"][np.ix_(dry, [12, 13], [12, 13])] = 0
    cube = open_climate(stored(tmp_path, "zarr3", values, "tp", lose=False), accumulated="daily_mean")
    assert all(v.any() for v in looked_under(cube, glaciers((12, 13))).values())


@pytest.mark.parametrize(("name", "fill"), [("t2m", -32767), ("t2m", 1e20), ("tp", 9.97e36), ("tp", -9999)])
def test_a_fill_among_the_values_is_called_one(tmp_path, name, fill):
    values = fields()
    values[name][5, 3, 3] = fill
    cube = open_climate(stored(tmp_path, "netcdf", values, name, lose=False), accumulated="daily_mean")
    with pytest.raises(InputError, match="a fill that is not declared"):
        check_values(cube, source="")
    if name == "tp":
        cube = open_climate(tmp_path / "series.nc", accumulated="daily_mean", negative_precipitation="zero")
        with pytest.raises(InputError, match="a fill that is not declared"):
            check_values(cube, source="")


def test_the_same_value_as_a_month_or_per_day():
    days = days_in_month(TIME)
    series = np.stack([np.full(len(TIME), 194.3), 194.3 * days, 0 * days, np.nan * days, np.arange(len(TIME))], axis=1)
    for name, found in (("t2m", [1, 0, 1, 0, 0]), ("tp", [1, 1, 1, 0, 0]), ("ssrd", [1, 1, 0, 0, 0])):
        assert held(series, name, TIME).tolist() == [bool(f) for f in found]
        assert held(series.astype("f4"), name, TIME).tolist() == [bool(f) for f in found]
