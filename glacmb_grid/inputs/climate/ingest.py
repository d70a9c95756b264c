"""Stores of monthly climate whose time series are read fast: written once, then used as the climate's only file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from glacmb_grid.disk import inside_ours, workshop
from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.climate.names import Declared
from glacmb_grid.inputs.climate.stamps import Expver
from glacmb_grid.inputs.files import open_dataset
from glacmb_grid.inputs.horizontal import GRID, is_curvilinear
from glacmb_grid.inputs.remote import objects_of, url_of
from glacmb_grid.inputs.units import Stream
from glacmb_grid.progress import track
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, VARIABLES

_MARK, _LAYOUT = "glacmb_grid_climate", 1
_MARKS = (_MARK, "accumulated", "expver")
_READ_WITH = ("names", "stamp")
_CHUNK = 2e6  # bytes of a chunk before compression


def ingest(
    cube: xr.Dataset,
    store: Path,
    *,
    accumulated: Stream | None,
    expver: Expver = "prefer_final",
    names: Declared | None = None,
    stamp: str | None = None,
    slab: float = 1e9,
) -> None:
    """Write a cube to a store from which time series of cells are read fast, for use as the only climate file.

    Zarr v3, sharded, compressed, with a CRC-32C checksum of every chunk; a chunk holds all months of a small square of
    cells. The store is written to a folder `.partial-<name>` beside it and moved into place when it is complete.

    Parameters
    ----------
    cube : xr.Dataset, (time, latitude, longitude)
        From `open_climate`.
    store : Path
        Must not exist.
    accumulated, expver, names, stamp
        As given to `open_climate`; recorded in the store, which is not opened with others.
    slab : float
        Bytes of a variable that are written at a time; peak memory is two to three times that. Chunks of the source
        that span several slabs are read once for each.

    Raises
    ------
    InputError
        A curvilinear grid; the store exists or lies inside a run; a folder `.partial-<name>` not made here.
    """
    if is_curvilinear(cube):
        raise InputError(
            "climate files",
            expected="a latitude-longitude grid",
            found="a curvilinear one",
            remedy="sample the files without ingesting them, with `regrid: {engine: xesmf, ...}`",
        )
    if store.exists() or store.is_symlink():
        raise InputError(
            f"{store}", expected="a path that does not exist yet", found="it exists", remedy="name another path"
        )
    if (around := inside_ours(store)) is not None:
        raise InputError(
            f"{store}",
            expected="a path outside the results of a run",
            found=f"a path in {around}, which a run replaces",
            remedy="name another path",
        )
    aside = store.with_name(f".partial-{store.name}")
    marks: dict[str, Any] = {_MARK: _LAYOUT, "accumulated": accumulated or "", "expver": expver}
    marks |= {"names": _of_climate(names or {}), "stamp": stamp or ""}
    plain = cube.drop_vars("time_bnds", errors="ignore").assign_attrs(marks).drop_encoding()
    with workshop(aside, _MARK):
        _write_slabs(plain, aside / store.name, slab)
        (aside / store.name).rename(store)


def square(months: int) -> int:
    """How many cells a chunk has in each direction."""
    return int(np.clip(np.sqrt(_CHUNK / (4 * months)), 4, 256))


def _write_slabs(plain: xr.Dataset, aside: Path, slab: float) -> None:
    """Write a few rows of cells at a time, each shard once."""
    months = plain.sizes["time"]
    side = square(months)
    shape = {d: plain.sizes[d] for d in ("time", *GRID)}
    chunks = {"time": months} | {d: min(side, shape[d]) for d in GRID}
    shards = {"time": months} | {d: chunks[d] * -(-min(4 * side, shape[d]) // chunks[d]) for d in GRID}
    named = [str(n) for n in plain.data_vars if n in VARIABLES]
    packed = {"compressors": (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=4), Crc32cCodec())}
    sharded = {
        n: {k: tuple(sizes[str(d)] for d in plain[n].dims) for k, sizes in (("chunks", chunks), ("shards", shards))}
        for n in named
    }
    options: dict[str, Any] = {"zarr_format": 3, "consolidated": False, "write_empty_chunks": True}
    lazy = plain.chunk(shards)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        rest = lazy.drop_vars(named)
        rest.to_zarr(aside, mode="w", encoding={str(n): dict(packed) for n in rest.variables}, **options)
        encoding = {n: {**packed, **sharded[n]} for n in named}
        lazy[named].drop_vars(plain.coords).to_zarr(aside, mode="a", compute=False, encoding=encoding, **options)
        rows = shards["latitude"] * max(1, int(slab // (4 * months * shape["longitude"] * shards["latitude"])))
        slabs = [(name, start) for name in named for start in range(0, shape["latitude"], rows)]
        for name, start in track(slabs, "slab of climate"):
            here = slice(start, min(start + rows, shape["latitude"]))
            part = plain[[name]].isel(latitude=here).drop_vars(plain.coords).transpose("time", *GRID).chunk(shards)
            region = {"time": slice(0, months), "latitude": here, "longitude": slice(0, shape["longitude"])}
            part.to_zarr(aside, region=region, **options)
        zarr.consolidate_metadata(aside)


def is_ingested(path: Path) -> bool:
    """Whether a path is a store of `ingest`."""
    try:
        return path.is_dir() and _MARK in zarr.open_group(path, mode="r").attrs
    except (FileNotFoundError, ValueError, KeyError):
        return False


def _of_climate(names: Declared) -> dict[str, str | list[str]]:
    """Declared names without those of fields that a file of their own may give."""
    return {
        ours: theirs if isinstance(theirs, str) else list(theirs)
        for ours, theirs in sorted(names.items())
        if ours not in (OROGRAPHY, LAND_MASK)
    }


def open_ingested(
    path: Path,
    accumulated: Stream | None,
    units: Mapping[str, str],
    expver: Expver,
    names: Declared | None = None,
    stamp: str | None = None,
) -> xr.Dataset:
    """A store of `ingest` as it was written; an InputError if it was made with other settings than these.

    `accumulated`, `names` and `stamp` may be left out, since the store has them applied.
    """
    ds = open_dataset(path)
    for key, given in (("names", _of_climate(names or {})), ("stamp", stamp)):
        if given and ds.attrs.get(key, given) != given:
            raise InputError(
                f"{path}",
                expected=f"`climate.{key}` as the store was ingested with: {ds.attrs[key] or 'none'}",
                found=f"{given}",
                remedy=f"leave `{key}` out, or ingest again",
            )
    made = [ds.attrs.get(k) for k in _MARKS]
    wanted = [_LAYOUT, accumulated if accumulated and made[1] else made[1], expver]
    if made != wanted or set(units) - {"z", OROGRAPHY}:
        raise InputError(
            f"{path}",
            expected=f"a store of layout {_LAYOUT} ingested with `climate.accumulated` {accumulated} and "
            f"`climate.expver` {expver}, and no `climate.units` except for z",
            found=f"layout {made[0]}, {made[1]}, {made[2]}; units of {listing(sorted(units)) or 'none'}",
            remedy="use the settings that it was ingested with but leave out `units`, or ingest again",
        )
    return ds


def ingested_variables(ds: xr.Dataset, path: Path, names: list[str]) -> xr.Dataset:
    """Variables of an ingested store, orography and land mask if it has them; an InputError if files are missing."""
    for name in names:
        _require_complete(path, name)
    invariant = {n: ds[n].load() for n in (OROGRAPHY, LAND_MASK) if n in ds.data_vars}
    attrs = {k: v for k, v in ds.attrs.items() if k not in (*_MARKS, *_READ_WITH)}
    return ds[[*names, *invariant]].assign(invariant).drop_attrs(deep=False).assign_attrs(attrs)


def _require_complete(path: Path, name: str) -> None:
    """Raise if a shard is missing: it would be read as missing values, like sea."""
    array = zarr.open_group(path, mode="r")[name]
    assert isinstance(array, zarr.Array)
    objects = objects_of(path, name)
    if objects is None:
        return
    found = sum(1 for o in objects if o.startswith("c/"))
    wanted = math.prod(-(-n // c) for n, c in zip(array.shape, array.shards or array.chunks, strict=True))
    if found != wanted:
        raise InputError(
            f"{url_of(path) or path}: {name}",
            expected=f"{wanted} files with values",
            found=f"{found}",
            remedy="copy the store again, or ingest again",
        )
