"""GRIB 1 and 2 through cfgrib: every message comes out in one Dataset or is an error."""

from __future__ import annotations

import importlib.util
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.climate.contract import Format, Opened
from glacmb_grid.inputs.files import first_bytes, track
from glacmb_grid.inputs.scratch import scratch_folder

# Messages that differ in one of these never share a Dataset: cfgrib would skip the variable, or mix the streams.
_APART = ("paramId", "shortName", "expver", "stream", "stepType", "typeOfLevel", "md5GridSection", "step")
_AT_ONCE = 32e6  # bytes that are read at a time


def _is_grib(path: Path) -> bool:
    return path.is_file() and first_bytes(path, 4, "a readable file") == b"GRIB"


def _open(path: Path) -> list[Opened]:
    if importlib.util.find_spec("cfgrib") is None:
        raise InputError(
            f"{path}",
            expected="a readable NetCDF, GRIB or Zarr file",
            found="a GRIB file, which needs cfgrib",
            remedy="pip install 'glacmb_grid[grib]'",
        )
    stamp = path.stat()
    index_path = _index_path(path, stamp.st_size, stamp.st_mtime_ns)
    try:
        return [_group(path, dict(keys), count, index_path) for keys, count in _groups(path, index_path).items()]
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}",
            expected="GRIB messages that can all be read",
            found=f"{type(error).__name__}: {error}".splitlines()[0],
            remedy="download or copy the file again, then compare its size with the source",
        ) from error


@lru_cache(maxsize=4096)
def _index_path(path: Path, size: int, time: int) -> str:
    """Where cfgrib keeps its index of a file as it is now: not beside the user's data."""
    del size, time
    return str(scratch_folder(0, str(path)) / "index.{short_hash}")


def _groups(path: Path, index_path: str) -> dict[tuple[tuple[str, Any], ...], int]:
    """The keys of messages that belong together, and how many of them there are."""
    import cfgrib.dataset
    import cfgrib.messages

    keys = sorted({*cfgrib.dataset.INDEX_KEYS, "time", *_APART})
    stream = cfgrib.messages.FileStream(str(path), errors="raise")
    index = cfgrib.dataset.open_fileindex(stream, index_path, keys)
    counts: Counter[tuple[tuple[str, Any], ...]] = Counter()
    for values, messages in index.field_ids_index:
        header = dict(zip(index.index_keys, values, strict=True))
        counts[tuple((k, header[k]) for k in _APART)] += len(messages)
    return dict(counts)


def _group(path: Path, keys: dict[str, Any], count: int, index_path: str) -> Opened:
    where = f"{path}: {keys['shortName']} (paramId {keys['paramId']}, expver {keys['expver']})"
    options = {"indexpath": index_path, "errors": "raise", "filter_by_keys": keys, "read_keys": ["stream"]}
    ds = xr.open_dataset(path, engine="cfgrib", backend_kwargs=options)
    if len(ds.data_vars) != 1:
        raise InputError(
            where,
            expected="one variable",
            found=f"{len(ds.data_vars)}: messages that cfgrib cannot bring together",
            remedy="convert the file to NetCDF: grib_to_netcdf -o FILE.nc FILE",
        )
    (field,) = ds.data_vars.values()
    records = int(
        np.prod([n for d, n in field.sizes.items() if d not in ("latitude", "longitude", "values", "y", "x")])
    )
    if records != count:
        raise InputError(
            where,
            expected=f"every record once: {records} of its dates, levels and members",
            found=f"{count} messages",
            remedy="remove repeated messages, or download the missing ones",
        )
    steps = max(1, int(_AT_ONCE * field.sizes.get("time", 1) / max(field.nbytes, 1)))
    lazy = ds.chunk({"time": steps} if "time" in field.dims else {})
    track(ds)
    if keys["stream"] in (None, "undef"):  # without the Centre's own section a message does not say what it averages
        for variable in lazy.data_vars.values():
            variable.attrs.pop("GRIB_stepType", None)
    if keys["expver"] is not None and str(keys["expver"]) != "undef":
        lazy = lazy.assign_coords(expver=str(keys["expver"]))
    return Opened(f"{path}", lazy)


GRIB = Format("GRIB", _is_grib, _open)
