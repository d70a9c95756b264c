"""Zarr stores behind a URL, by fsspec: a folder with a copy of their metadata stands for each."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
import zarr

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.scratch import scratch_folder

_URL_FILE, _LISTING = ".glacmb_grid_url", ".glacmb_grid_objects"
_CONSOLIDATED = (("zarr.json",), (".zmetadata", ".zgroup", ".zattrs"))
_FRESH = 60.0  # seconds for which a store is not asked again
_OF_TRANSPORT = ("aiohttp", "aiobotocore", "botocore", "s3fs", "gcsfs", "google", "fsspec")
_MOST_LISTED = 50_000  # chunks: stores with more are not listed


class _Known(NamedTuple):
    folder: Path
    at: float


_KNOWN: dict[str, _Known] = {}


def url_of(path: Path) -> str | None:
    """The URL that a folder of `stand_in` stands for; None for all else."""
    place = path / _URL_FILE
    return place.read_text(encoding="utf-8") if place.is_file() else None


def objects_of(path: Path, name: str) -> list[str] | None:
    """Names of the objects of an array of a store, below the array; None where they cannot be listed."""
    if url_of(path) is None:
        folder = path / name
        return [f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()]
    listing = path / _LISTING
    if not listing.is_file():
        return None
    found: list[str] = [o[0] for o in json.loads(listing.read_text(encoding="utf-8"))]
    return [o.removeprefix(f"{name}/") for o in found if o.startswith(f"{name}/")]


def stand_in(url: str, *, what: str) -> Path:
    """A folder with the metadata of a Zarr store, and what its objects are where they can be listed.

    Its content changes only if that of the store does, as far as this tells: names, sizes and tags of the objects, or
    the metadata alone of stores that cannot be listed (by http) or have more than 50,000 chunks.

    Parameters
    ----------
    url : str
        Options such as credentials are fsspec's: its configuration files, or variables such as `FSSPEC_S3`.
    what : str
        What the store is, for messages.

    Raises
    ------
    InputError
        No Zarr store with consolidated metadata there, a package or the right to read it missing, no connection.
    """
    before = _KNOWN.get(url)
    if before is not None and time.monotonic() - before.at < _FRESH:
        return before.folder
    try:
        system, root = fsspec.url_to_fs(url)
        content = _metadata(system, root)
        if content is None:
            raise _no_store(url, what)
        folder = before.folder if before else scratch_folder(0, url) / (root.rstrip("/").rsplit("/", 1)[-1] or "store")
        folder.mkdir(exist_ok=True)
        for name, text in {_URL_FILE: url.encode(), **content}.items():
            _write(folder / name, text)
        objects = _objects(system, root, folder)
        if objects is None:
            (folder / _LISTING).unlink(missing_ok=True)
        else:
            _write(folder / _LISTING, json.dumps(objects).encode())
    except InputError:
        raise
    except Exception as error:  # each file system has errors of its own
        raise unreachable(url, error, what) from error
    _KNOWN[url] = _Known(folder, time.monotonic())
    return folder


def is_transport(error: Exception) -> bool:
    """Whether an error comes from the way to a store, not from what it holds."""
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] in _OF_TRANSPORT


def unreachable(url: str, error: Exception, what: str) -> InputError:
    """The error for a store that cannot be read."""
    found = f"{type(error).__name__}: {error}".splitlines()[0]
    remedy = "correct the URL; look whether it can be reached from here, and then run the same command again"
    if isinstance(error, ImportError):
        remedy = 'install it: `pip install "glacmb-grid[remote]"`, or the package that it names'
    elif isinstance(error, PermissionError) or re.search(r"\b40[13]\b|[Cc]redential|[Ff]orbidden|denied", found):
        remedy = (
            'give fsspec the credentials, for instance `export FSSPEC_S3=\'{"key": ..., "secret": ...}\'`, or read '
            "without: `export FSSPEC_S3='{\"anon\": true}'`"
        )
    return InputError(url, expected=f"{what}: a Zarr store that can be read", found=found, remedy=remedy)


def _metadata(system: Any, root: str) -> dict[str, bytes] | None:
    """Files of consolidated metadata by name; None if there are none."""
    for first, *others in _CONSOLIDATED:
        try:
            found = {first: bytes(system.cat_file(f"{root}/{first}"))}
        except FileNotFoundError:
            continue
        if first == "zarr.json" and "consolidated_metadata" not in json.loads(found[first]):
            continue
        for name in others:
            try:
                found[name] = bytes(system.cat_file(f"{root}/{name}"))
            except FileNotFoundError:
                continue
        return found
    return None


def _objects(system: Any, root: str, folder: Path) -> list[list[Any]] | None:
    """Name, size and tag of every object of the store; None where they cannot be listed."""
    group = zarr.open_group(folder, mode="r")
    parts = [zip(a.shape, a.shards or a.chunks, strict=True) for _, a in group.arrays()]
    chunks = sum(math.prod(-(-n // c) for n, c in one) for one in parts)
    if chunks > _MOST_LISTED or "http" in str(system.protocol):  # a listing there is a guess from the folder's page
        return None
    found = system.find(root, detail=True)
    start = len(system._strip_protocol(root).rstrip("/")) + 1  # noqa: SLF001 - how fsspec itself compares names
    tags = ("size", "ETag", "etag", "md5Hash", "LastModified", "mtime", "created")
    return [[n[start:], *(str(v[t]) for t in tags if t in v)] for n, v in sorted(found.items())]


def _write(path: Path, content: bytes) -> None:
    """Write a file unless it has this content: its time tells whether the store changed."""
    if not path.is_file() or path.read_bytes() != content:
        path.write_bytes(content)


def _no_store(url: str, what: str) -> InputError:
    return InputError(
        url,
        expected=f"{what}: a Zarr store with consolidated metadata (.zmetadata, or in its zarr.json)",
        found="none there",
        remedy="correct the URL; the owner of a store can write them, `zarr.consolidate_metadata(STORE)`; other files "
        "have to lie on the disk",
    )
