"""The only room that knows the paths of our own stores.

A stage writes into a folder aside; when it is whole it takes the place of the old one, and a mark is written last. A
reader that asks for a stage whose mark is missing or old gets an error, never half a store.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr
from zarr.codecs import BloscCodec

from glacmb_grid.errors import InputError

_WHOLE_HASH = 256 * 1024 * 1024  # larger files are known by their size, beginning and end
_EDGE = 16 * 1024 * 1024
_EDGE_OF_PART = 64 * 1024  # of every file of a large folder
_LIBRARIES = (
    "glacmb-grid",
    "numpy",
    "scipy",
    "pandas",
    "xarray",
    "dask",
    "zarr",
    "netCDF4",
    "rasterio",
    "rioxarray",
    "shapely",
    "geopandas",
    "jax",
    "flax",
    "scikit-learn",
    "optax",
)


def versions() -> dict[str, str]:
    """Versions of this package and of the libraries that shape its results."""
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


class RunStore:
    """The folder of one run.

    Parameters
    ----------
    root : Path
        Made where it does not exist.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.marks = root / ".stages"

    def folder(self, stage: str) -> Path:
        """Where a stage's results lie."""
        return self.root / stage

    def mark(self, stage: str) -> dict[str, Any] | None:
        """What is recorded of a finished stage, or None."""
        path = self.marks / f"{stage.replace('/', '.')}.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return found if isinstance(found, dict) and self.folder(stage).is_dir() else None

    @contextlib.contextmanager
    def writing(self, stage: str, mark: dict[str, Any]) -> Iterator[Path]:
        """A folder to write a stage into; it takes the stage's place when the block ends well."""
        aside = self.root / f".partial-{stage.replace('/', '.')}"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        yield aside
        self._forget(stage)
        final = self.folder(stage)
        old = self.root / f".old-{stage.replace('/', '.')}"
        shutil.rmtree(old, ignore_errors=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            final.rename(old)
        aside.rename(final)
        write_json(self.marks / f"{stage.replace('/', '.')}.json", mark)
        shutil.rmtree(old, ignore_errors=True)

    def _forget(self, stage: str) -> None:
        (self.marks / f"{stage.replace('/', '.')}.json").unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self, say: Callable[[str], None]) -> Iterator[None]:
        """Hold the run's lock; the kernel frees it when its holder dies, so a stale one is taken over.

        Raises
        ------
        InputError
            Naming the holder where another run works in this folder.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "run.lock"
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                file.seek(0)
                raise InputError(
                    f"{self.root}",
                    expected="no other run in this folder",
                    found=f"a run by {_holder(file.read())}",
                    remedy="wait for it, or give this run another `store.root`",
                ) from error
            file.seek(0)
            left = file.read()
            if left:
                say(f"taking over from an interrupted run by {_holder(left)}")
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}))
            file.flush()
            self._sweep()
            try:
                yield
            finally:
                file.truncate(0)

    def _sweep(self) -> None:
        """Remove what interrupted runs left aside; put back a store whose switch was cut short."""
        for left in self.root.glob(".partial-*"):
            shutil.rmtree(left, ignore_errors=True)
        for old in self.root.glob(".old-*"):
            final = self.folder(old.name.removeprefix(".old-").replace(".", "/"))
            if final.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(final)

    def identity(self, path: Path) -> str:
        """Digest of an input's content, remembered by its size and modification time."""
        memory_file = self.marks / "inputs.json"
        memory = json.loads(memory_file.read_text(encoding="utf-8")) if memory_file.exists() else {}
        size, stamp = _size_and_stamp(path)
        known = memory.get(str(path))
        if known and known[:2] == [size, stamp]:
            return str(known[2])
        digest = content_digest(path)
        if self.root.is_dir():  # asking for the status of a run that never was leaves no trace
            write_json(memory_file, {**memory, str(path): [size, stamp, digest]})
        return digest

    def key(self, stage: str) -> str:
        """What a finished stage was made of."""
        return str((self.mark(stage) or {})["key"])

    def kept(self, what: str, key: str, make: Callable[[], xr.Dataset]) -> xr.Dataset:
        """A Dataset that depends on nothing but what its key was made of: made once, whatever the stages do."""
        path = self.root / "kept" / f"{what}-{key}.zarr"
        if not path.exists():
            aside = self.root / f".partial-{path.name}"
            write_zarr(make(), aside)
            path.parent.mkdir(parents=True, exist_ok=True)
            aside.rename(path)
        return read_zarr(path)

    def checkpoints(self, name: str) -> Path:
        """Folder for the state of an unfinished fit."""
        return self.root / ".checkpoints" / name

    def forget_checkpoints(self) -> None:
        """Remove the state of fits that are finished now."""
        shutil.rmtree(self.root / ".checkpoints", ignore_errors=True)

    def append_log(self, entry: dict[str, Any]) -> None:
        """Add what a run did to `run.json`, newest last."""
        path = self.root / "run.json"
        try:
            log = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            log = {"runs": []}
        write_json(path, {"runs": [*log["runs"], entry]})


def _holder(text: str) -> str:
    try:
        held = json.loads(text)
        return f"process {held['pid']} on {held['host']} since {held['since']}"
    except (ValueError, KeyError, TypeError):
        return "an unknown process"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _files(path: Path) -> list[Path]:
    """The files behind an input: a folder's, a shapefile's parts, or the file itself."""
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.is_file())
    if path.suffix.lower() == ".shp":
        return sorted(p for p in path.parent.glob(f"{path.stem}.*") if p.is_file())
    return [path]


def _size_and_stamp(path: Path) -> tuple[int, int]:
    stats = [p.stat() for p in _files(path)]
    return sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)


def content_digest(path: Path) -> str:
    """Digest of a file, or of a folder's files with their names; of large ones size, beginning and end."""
    mark = hashlib.sha256()
    files = _files(path)
    large = path.is_dir() and sum(f.stat().st_size for f in files) > _WHOLE_HASH
    for file in files:
        if path.is_dir():
            mark.update(str(file.relative_to(path)).encode())
        size = file.stat().st_size
        mark.update(str(size).encode())
        with file.open("rb") as stream:
            edge = _EDGE_OF_PART if large else _EDGE
            if size <= (2 * edge if large else _WHOLE_HASH):
                while piece := stream.read(1 << 22):
                    mark.update(piece)
            else:
                mark.update(stream.read(edge))
                stream.seek(-edge, os.SEEK_END)
                mark.update(stream.read(edge))
    return mark.hexdigest()[:16]


# ---- formats: the same content gives the same bytes ----


def write_json(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".part")
    aside.write_text(json.dumps(content, indent=1, sort_keys=True, default=str) + "\n", encoding="utf-8")
    aside.replace(path)


def write_zarr(ds: xr.Dataset, path: Path, chunks: dict[str, int] | None = None, *, append: str | None = None) -> None:
    """Write a Dataset as Zarr v3 with consolidated metadata, by whatever scheduler dask has.

    With `append` what has that dimension is added to the end of a store that is like it.
    """
    plain = _portable(ds)
    if chunks is not None:
        plain = plain.chunk({d: n for d, n in chunks.items() if d in plain.dims})
    for variable in plain.variables.values():
        variable.encoding = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        if append is None:
            plain.to_zarr(path, mode="w", zarr_format=3, consolidated=True, encoding=_zarr_encoding(plain))
        else:
            plain.to_zarr(path, zarr_format=3, consolidated=True, append_dim=append)


def _zarr_encoding(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Fast codecs: glaciers of one cell repeat its series, and what is written once is read several times."""
    sizes = {str(n): v.dtype.itemsize for n, v in ds.variables.items() if v.dtype.kind in "fiub"}
    encoding = _time_encoding(ds)
    for name, size in sizes.items():
        encoding.setdefault(name, {})["compressors"] = (_codec(size),)
    return encoding


def _codec(size: int) -> BloscCodec:
    return BloscCodec(cname="lz4", clevel=5, shuffle="shuffle" if size > 1 else "noshuffle", typesize=size)


def read_zarr(path: Path, chunks: dict[str, int] | None = None) -> xr.Dataset:
    """Open a store of ours; in memory unless chunks are given. Text comes back as Python strings."""
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
    for name, variable in plain.variables.items():
        if variable.dtype.kind == "f":
            fill = {"_FillValue": None if str(name) in plain.coords else np.float32("nan").astype(variable.dtype)}
            encoding[str(name)] = {**encoding.get(str(name), {}), **fill}
    plain.to_netcdf(path, engine="netcdf4", format="NETCDF4", encoding=encoding)


def _portable(ds: xr.Dataset) -> xr.Dataset:
    """A copy without numpy unicode arrays, which Zarr v3 does not specify."""
    text = {n: _as_objects(v) for n, v in ds.variables.items() if v.dtype.kind in "UT"}
    ds = ds.assign_coords({n: v for n, v in text.items() if n in ds.coords})
    out: xr.Dataset = ds.assign({n: v for n, v in text.items() if n not in ds.coords})
    return out


def _time_encoding(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    days = {"units": "days since 1900-01-01", "dtype": "int32", "calendar": "standard"}
    return {str(n): dict(days) for n, v in ds.variables.items() if v.dtype.kind == "M"}


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV or Parquet, by the ending of its name."""
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    else:
        table.to_csv(path, index=False, float_format="%.10g")


def read_outlines_store(path: Path) -> gpd.GeoDataFrame:
    """Outlines from GeoParquet, indexed by glacier."""
    outlines: gpd.GeoDataFrame = gpd.read_parquet(path)
    return outlines


def files_identity(store: RunStore, paths: Iterable[Path]) -> dict[str, str]:
    """Name -> digest of input files; equal names are told apart by their folder's name."""
    out: dict[str, str] = {}
    for path in paths:
        name = path.name if path.name not in out else f"{path.parent.name}/{path.name}"
        out[name] = store.identity(path)
    return out
