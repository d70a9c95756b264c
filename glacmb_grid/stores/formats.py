"""Formats of our results: equal content gives equal bytes, and every chunk of Zarr has a checksum."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr
from zarr.codecs import BloscCodec, Crc32cCodec

from glacmb_grid.disk import write_csv
from glacmb_grid.progress import dask_tasks
from glacmb_grid.schemas import PRODUCT, check

PRODUCT_STORE, PRODUCT_FILE = "glacier_annual.zarr", "glacier_annual.nc"
PACKED = ("mass_balance_realizations",)
"""Variables that are stored as 16-bit whole millimetres."""
_BY_YEAR = {"year": 1, "time": 1, "other_year": 256}  # pairs of years beyond the last are missing, as later ones are
NO_CHUNKS: Mapping[str, int] = MappingProxyType({})


def write_zarr(ds: xr.Dataset, path: Path, *, append: str | None = None, chunks: Mapping[str, int] = NO_CHUNKS) -> None:
    """Write a Dataset as Zarr v3 with consolidated metadata, using dask's current scheduler.

    All chunks are written, even those of missing values only, so that a lost chunk is noticed. With `append`, variables
    with that dimension are added to the end of an existing store of the same layout. `chunks` are lengths of chunks by
    dimension; of other dimensions they are left to the library.
    """
    plain = _portable(ds)
    for variable in plain.variables.values():
        variable.encoding = {}
    with warnings.catch_warnings(), dask_tasks(f"task for {path.name}"):
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        if append is None:
            encoding = _zarr_encoding(plain, chunks)
            plain.to_zarr(path, mode="w", zarr_format=3, consolidated=True, encoding=encoding, write_empty_chunks=True)
        else:
            plain.to_zarr(path, zarr_format=3, consolidated=True, append_dim=append, write_empty_chunks=True)


def _zarr_encoding(ds: xr.Dataset, chunks: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    """Fast codecs: glaciers in one cell have equal series, and stores are read more often than written."""
    encoding = _time_encoding(ds) | _packing(ds)
    for name, variable in ds.variables.items():
        kind = np.dtype(encoding.get(str(name), {}).get("dtype", variable.dtype))
        size = kind.itemsize if kind.kind in "fiub" else 1
        encoding.setdefault(str(name), {})["compressors"] = (_codec(size), Crc32cCodec())
        if set(chunks) & set(variable.dims):
            along = chunks if variable.ndim > 1 else dict.fromkeys(chunks, 1)
            encoding[str(name)]["chunks"] = tuple(along.get(str(d), max(n, 1)) for d, n in variable.sizes.items())
    return encoding


def _packing(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Variables that are stored as whole millimetres, so that many draws take little room."""
    packed = {"dtype": "int16", "scale_factor": 0.001, "add_offset": 0.0, "_FillValue": np.int16(-32768)}
    return {n: dict(packed) for n in PACKED if n in ds.variables}


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
    thinned = {"zlib": True, "complevel": 4, "shuffle": True}
    encoding |= {n: {**thinned, **how} for n, how in _packing(plain).items()}
    complete = {*map(str, plain.coords), *(v.attrs.get("bounds") for v in plain.variables.values())}
    for name, variable in plain.variables.items():
        if variable.dtype.kind == "f" and str(name) not in PACKED:
            fill = {"_FillValue": None if str(name) in complete else np.float32("nan").astype(variable.dtype)}
            encoding[str(name)] = {**encoding.get(str(name), {}), **fill}
    with dask_tasks(f"task for {path.name}"):
        plain.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=encoding)


def write_product(product: xr.Dataset, folder: str | Path, *, name: str = "glacier_annual") -> None:
    """Write a product to a folder as `<name>.zarr`, with a chunk for every year, and as `<name>.nc`.

    A year that is added to a product changes no chunk of an older year.

    Parameters
    ----------
    product : xr.Dataset
        From `glacier_product`, `regional_product` or `gridded_product`, with the attributes that `describe` gives.
    folder : str or Path
    name : str
        Of both files, without an ending.
    """
    if name == Path(PRODUCT_STORE).stem:
        check(product, PRODUCT)
    write_zarr(product, Path(folder) / f"{name}.zarr", chunks=_BY_YEAR)
    write_netcdf(product, Path(folder) / f"{name}.nc")


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
