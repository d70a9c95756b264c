"""Zarr stores, of which no chunk may be missing: it would be read as the fill value, like measured zeros or sea."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from glacmb_grid.errors import InputError, Problems
from glacmb_grid.inputs.climate.contract import Format, Opened
from glacmb_grid.inputs.files import open_dataset
from glacmb_grid.inputs.remote import objects_of, url_of

_NUMBER = re.compile(r"\d+")
# Where a whole chunk can be zero, which writers leave out of a store.
_OFTEN_ZERO = ("sd", "sde", "sf", "smlt", "snowc", "es", "rsn", "asn", "snowfall", "snowmelt", "snow_cover")


def _is_store(path: Path) -> bool:
    return path.is_dir() and any((path / n).exists() for n in (".zgroup", ".zmetadata", ".zattrs", "zarr.json"))


def _open(path: Path) -> list[Opened]:
    opened = Opened(url_of(path) or str(path), open_dataset(path))
    problems = Problems()
    present = {str(n): _present(path, str(n)) for n, v in opened.ds.data_vars.items() if v.ndim > 1}
    for name, found in present.items():
        others = [p for n, p in present.items() if n != name and p is not None and found is not None]
        with problems.collect():
            if found is not None:
                _require_complete(path, name, found, [o for o in others if o.shape == found.shape])
    problems.raise_if_any()
    return [opened]


def _present(path: Path, name: str) -> npt.NDArray[np.bool_] | None:
    """Which chunks (or shards) of an array have a file; None if the store does not hold it in files."""
    group = zarr.open_group(path, mode="r")
    if name not in group:
        return None
    array = group[name]
    objects = objects_of(path, name)
    if not isinstance(array, zarr.Array) or objects is None:
        return None
    sizes = getattr(array, "shards", None) or array.chunks
    found = np.zeros([-(-n // c) for n, c in zip(array.shape, sizes, strict=True)], bool)
    for relative in objects:
        place = tuple(map(int, _NUMBER.findall(relative)))
        is_chunk = re.fullmatch(r"(c[/.])?\d+([/.]\d+)*", relative) and len(place) == found.ndim
        if is_chunk and all(p < n for p, n in zip(place, found.shape, strict=True)):
            found[place] = True
    return found


def _require_complete(path: Path, name: str, found: npt.NDArray[np.bool_], others: list[npt.NDArray[np.bool_]]) -> None:
    """Raise if chunks are missing that cannot be left out for holding the fill value only, such as sea."""
    if found.all():
        return
    array = zarr.open_group(path, mode="r")[name]
    assert isinstance(array, zarr.Array)
    fill = array.fill_value
    is_missing = _is_declared(array)
    if is_missing:
        ever = found.any(axis=0)
        for other in others:
            ever |= other.any(axis=0)
        if (found | ~ever).all():
            return
    elif name in _OFTEN_ZERO and fill == 0:
        return
    first = [int(i) for i in np.argwhere(~found)[0]]
    kind = "missing values" if is_missing else f"the fill value {fill}"
    raise InputError(
        f"{url_of(path) or path}: {name}",
        expected=f"all {found.size} chunks",
        found=f"{int(found.sum())} of {found.size} chunks are there, the first missing one is {first}: {kind} there",
        remedy="copy the store again; if its writer left such chunks out, write them: "
        "`to_zarr(..., encoding={NAME: {'write_empty_chunks': True}})`",
    )


def _is_declared(array: zarr.Array[Any]) -> bool:
    """Whether the fill value of an array is read as a missing value."""
    fill = array.fill_value
    if fill is None:
        return False
    if np.issubdtype(array.dtype, np.floating) and np.isnan(fill):
        return True
    declared = [array.attrs[k] for k in ("_FillValue", "missing_value") if k in array.attrs]
    return array.metadata.zarr_format == 2 or fill in declared


ZARR = Format("Zarr", _is_store, _open)
