"""Where a product differs from an earlier one in the years that both have: what an append must not do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

COLUMNS = ("variable", "glacier", "year", "old", "new")
_BLOCK = 1 << 24  # values compared at a time
_PLACES = ("glacier", "region", "latitude", "longitude", "realization", "other_year", "bnds")


def difference(old: xr.Dataset, new: xr.Dataset, *, limit: int | None = None) -> pd.DataFrame:
    """Every value of an earlier product that a later one has not, or has otherwise.

    Parameters
    ----------
    old, new : xr.Dataset
        Two products of one kind, lazy or not; `new` may have further years and variables, and places in another order.
    limit : int, optional
        The most rows to give.

    Returns
    -------
    DataFrame
        `variable`, `glacier` (or the region or cell: empty for what has no place), `year` (missing for what has no
        year), `old` and `new`, both as text; `new` is "missing" where a year, a glacier or a variable is gone. No rows:
        no older year changed. NaN equals NaN; all else must be equal to the last bit, so that no chunk is rewritten.
    """
    found: list[pd.DataFrame] = []
    left = limit
    for part in _differences(old, new):
        found.append(part.iloc[:left])
        if left is not None and (left := left - len(found[-1])) <= 0:
            break
    empty = pd.DataFrame({c: pd.Series(dtype="Int64" if c == "year" else object) for c in COLUMNS})
    return pd.concat(found, ignore_index=True) if found else empty


def _differences(old: xr.Dataset, new: xr.Dataset) -> Iterator[pd.DataFrame]:
    a, b = _named(old), _named(new)
    for dim, labels in _labels(a).items():
        gone = sorted(set(labels) - set(_labels(b).get(dim, ()))) if dim in b.sizes else labels
        for label in gone:
            year = label if dim == "year" else None
            yield _rows([dim], ["" if dim == "year" else str(label)], [year], ["there"], ["missing"])
    for name in map(str, a.variables):
        if name in a.indexes:
            continue
        if name not in b.variables:
            yield _rows([name], [""], [None], ["there"], ["missing"])
        elif set(a[name].dims) != set(b[name].dims):
            yield _rows([name], [""], [None], [f"{a[name].dims}"], [f"{b[name].dims}"])
        else:
            yield from _of_variable(a[name], b[name].transpose(*a[name].dims))


def _named(ds: xr.Dataset) -> xr.Dataset:
    """With identifiers as the labels of dimensions, and years where the dimension is time."""
    if "time" in ds.dims and "year" in ds.coords:
        ds = ds.swap_dims(time="year")
    for dim in ("glacier", "region"):
        if dim in ds.dims and f"{dim}_id" in ds.variables:
            ds = ds.assign_coords({dim: (dim, ds[f"{dim}_id"].values.astype(str))}).drop_vars(f"{dim}_id")
    return ds


def _labels(ds: xr.Dataset) -> dict[str, list[Any]]:
    return {str(d): ds.indexes[d].tolist() for d in ds.dims if d in ds.indexes}


def _of_variable(old: xr.DataArray, new: xr.DataArray) -> Iterator[pd.DataFrame]:
    """Differences of one variable at the labels that both have, year by year or in blocks of years."""
    shared = {d: [x for x in old.indexes[d] if x in new.indexes[d]] for d in old.dims if d in old.indexes}
    a, b = old.sel(shared), new.sel(shared)
    if a.shape != b.shape:
        yield _rows([str(old.name)], [""], [None], [f"shape {a.shape}"], [f"shape {b.shape}"])
        return
    if "year" not in a.dims or not a.size:
        yield from _of_block(a, b)
        return
    step = max(_BLOCK // max(a.size // a.sizes["year"], 1), 1)
    for start in range(0, a.sizes["year"], step):
        years = slice(start, start + step)
        yield from _of_block(a.isel(year=years), b.isel(year=years))


def _of_block(old: xr.DataArray, new: xr.DataArray) -> Iterator[pd.DataFrame]:
    a, b = np.asarray(old.values), np.asarray(new.values)
    where = np.nonzero(np.atleast_1d(_unequal(a, b)))
    if not len(where[0]):
        return
    a, b = np.atleast_1d(a)[where], np.atleast_1d(b)[where]
    labels = {}
    for dim, at in zip(old.dims, where, strict=False):
        labels[dim] = (old.indexes[dim].to_numpy() if dim in old.indexes else np.arange(old.sizes[dim]))[at]
    told = [(d, "" if d in ("glacier", "region") else f"{d} ") for d in _PLACES if d in labels]
    place = [" ".join(f"{said}{labels[d][i]}" for d, said in told) for i in range(len(a))]
    years = labels["year"].tolist() if "year" in labels else [None] * len(a)
    yield _rows([str(old.name)] * len(a), place, years, _texts(a), _texts(b))


def _unequal(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if a.dtype.kind == b.dtype.kind == "f":
        return np.asarray((a != b) & ~(np.isnan(a) & np.isnan(b)))
    if a.dtype.kind == b.dtype.kind == "M":
        return np.asarray((a != b) & ~(np.isnat(a) & np.isnat(b)))
    if a.dtype.kind in "OUT" or b.dtype.kind in "OUT":
        return np.asarray(a.astype(str) != b.astype(str))
    return np.asarray(a != b)


def _texts(values: npt.NDArray[Any]) -> list[str]:
    """As short as tells two values apart."""
    return [str(v)[:10] if values.dtype.kind == "M" else str(v) for v in values]


def _rows(variable: list[str], place: list[str], year: list[Any], old: list[str], new: list[str]) -> pd.DataFrame:
    years = pd.array(year, dtype="Int64")
    return pd.DataFrame(dict(zip(COLUMNS, (variable, place, years, old, new), strict=True)))
