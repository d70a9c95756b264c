"""Formats of our results: equal content gives equal bytes, and every chunk of Zarr has a checksum."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr
from zarr.codecs import BloscCodec, Crc32cCodec

from glacmb_grid.disk import write_csv
from glacmb_grid.schemas import PRODUCT, check

PRODUCT_STORE, PRODUCT_FILE = "glacier_annual.zarr", "glacier_annual.nc"


def write_zarr(ds: xr.Dataset, path: Path, *, append: str | None = None) -> None:
    """Write a Dataset as Zarr v3 with consolidated metadata, using dask's current scheduler.

    All chunks are written, even those of missing values only, so that a lost chunk is noticed. With `append`, variables
    with that dimension are added to the end of an existing store of the same layout.
    """
    plain = _portable(ds)
    for variable in plain.variables.values():
        variable.encoding = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        if append is None:
            encoding = _zarr_encoding(plain)
            plain.to_zarr(path, mode="w", zarr_format=3, consolidated=True, encoding=encoding, write_empty_chunks=True)
        else:
            plain.to_zarr(path, zarr_format=3, consolidated=True, append_dim=append, write_empty_chunks=True)


def _zarr_encoding(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Fast codecs: glaciers in one cell have equal series, and stores are read more often than written."""
    encoding = _time_encoding(ds)
    for name, variable in ds.variables.items():
        size = {"M": 4}.get(variable.dtype.kind, variable.dtype.itemsize if variable.dtype.kind in "fiub" else 1)
        encoding.setdefault(str(name), {})["compressors"] = (_codec(size), Crc32cCodec())
    return encoding


def _codec(size: int) -> BloscCodec:
    return BloscCodec(cname="lz4", clevel=5, shuffle="shuffle" if size > 1 else "noshuffle", typesize=size)


def read_zarr(path: Path, chunks: dict[str, int] | None = None) -> xr.Dataset:
    """Open one of our stores, in memory unless chunks are given. Text is read as Python strings."""
    ds: xr.Dataset = xr.open_zarr(path, chunks=chunks)
    text = {n: _as_objects(v) for n, v in ds.variables.items() if v.dtype.kind in "TU"}
    ds = ds.assign_coords({n: v for n, v in text.items() if n in ds.coords})
    ds = ds.assign({n: v for n, v in text.items() if n not in ds.coords})
    return ds if chunks is not None else ds.load()


def _as_objects(variable: xr.Variable) -> xr.Variable:
    return xr.Variable(variable.dims, variable.values.astype(object), variable.attrs)


def write_netcdf(ds: xr.Dataset, path: Path) -> None:
    """Write a Dataset as compressed NetCDF4."""
    plain = _portable(ds)
    for variable in plain.variables.values():
        variable.encoding = {}
    packed = {
        str(n): {"zlib": True, "complevel": 4, "shuffle": True}
        for n, v in plain.data_vars.items()
        if v.dtype.kind == "f"
    }
    encoding: dict[str, dict[str, Any]] = {**packed, **_time_encoding(plain)}
    complete = {*map(str, plain.coords), *(v.attrs.get("bounds") for v in plain.variables.values())}
    for name, variable in plain.variables.items():
        if variable.dtype.kind == "f":
            fill = {"_FillValue": None if str(name) in complete else np.float32("nan").astype(variable.dtype)}
            encoding[str(name)] = {**encoding.get(str(name), {}), **fill}
    plain.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=encoding)


def write_product(product: xr.Dataset, folder: Path) -> None:
    """Write the glacier x year product to a folder, as `glacier_annual.zarr` and `glacier_annual.nc`."""
    check(product, PRODUCT)
    write_zarr(product, folder / PRODUCT_STORE)
    write_netcdf(product, folder / PRODUCT_FILE)


def _portable(ds: xr.Dataset) -> xr.Dataset:
    """A copy without numpy unicode arrays, which Zarr v3 does not define."""
    text = {n: _as_objects(v) for n, v in ds.variables.items() if v.dtype.kind in "UT"}
    ds = ds.assign_coords({n: v for n, v in text.items() if n in ds.coords})
    out: xr.Dataset = ds.assign({n: v for n, v in text.items() if n not in ds.coords})
    return out


def _time_encoding(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    days = {"units": "days since 1900-01-01", "dtype": "int32", "calendar": "standard"}
    return {str(n): dict(days) for n, v in ds.variables.items() if v.dtype.kind == "M"}


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV or Parquet, depending on the file extension."""
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        write_csv(table, path, float_format="%.10g")


def read_outlines_store(path: Path) -> gpd.GeoDataFrame:
    """Outlines from GeoParquet, indexed by glacier."""
    outlines: gpd.GeoDataFrame = gpd.read_parquet(path)
    return outlines
