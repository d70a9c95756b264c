"""Finding and opening input files, with errors that name the broken file."""

from __future__ import annotations

import errno
import glob
import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import xarray as xr

from glacmb_grid.disk import is_url
from glacmb_grid.errors import InputError, InputErrors, Problems, listing
from glacmb_grid.inputs.calendars import with_months_decoded
from glacmb_grid.inputs.headers import BROKEN, require_sound
from glacmb_grid.inputs.remote import is_transport, stand_in, unreachable, url_of

LIBRARY_ERRORS = (OSError, ValueError, TypeError, RuntimeError, KeyError, EOFError, AttributeError)
Opened = list[xr.Dataset | Callable[[], object]]
_OPENED: ContextVar[Opened | None] = ContextVar("opened", default=None)
_HELD: dict[Hashable, Any] = {}
_OPTIONAL = {"albedo rasters": "; without albedo, leave `albedo` out of the configuration"}
_LARGEST_READ = 32e6  # bytes of an unchunked variable that are read at a time
_BLOCK = 4_000_000  # bytes of small chunks that are read at a time
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
_HEADER = 1 << 24  # bytes, more than a header of the classic format has


@contextmanager
def closing() -> Iterator[None]:
    """On exit, close all files opened inside, in this thread, and drop the values that were held of them.

    The garbage collector may close a file in any thread, and the NetCDF library crashes if another thread opens a file
    at that moment.
    """
    opened: Opened = []
    with tracked_in(opened):
        try:
            yield
        finally:
            close(opened)


@contextmanager
def tracked_in(opened: Opened) -> Iterator[None]:
    """Have files opened inside kept in this list, to be closed by `close`."""
    token = _OPENED.set(opened)
    try:
        yield
    finally:
        _OPENED.reset(token)


def close(opened: Opened) -> None:
    """Close files, in this thread."""
    while opened:
        one = opened.pop()
        if isinstance(one, xr.Dataset):
            one.close()
        else:
            one()


def hold(key: Hashable, values: Any) -> None:
    """Keep values of a file until the surrounding `closing` ends; outside of one they are not kept."""
    if (opened := _OPENED.get()) is not None:
        _HELD[key] = values
        opened.append(lambda: _HELD.pop(key, None))


def held(key: Hashable) -> Any:
    """Values that `hold` keeps; None if it does not, or does in another process."""
    return _HELD.get(key)


def find_files(paths: str | Path | Iterable[str | Path], *, what: str) -> list[Path]:
    """Existing files from paths and glob patterns, in order, each once; an InputError for one without a file.

    For the URL of a Zarr store, the folder that stands for it.
    """
    wanted = [paths] if isinstance(paths, (str, Path)) else list(paths)
    found: dict[Path, None] = {}
    problems = Problems()
    for one in wanted:
        if is_url(one):
            with problems.collect():
                found[stand_in(str(one), what=what)] = None
            continue
        path = Path(one)
        hits = [path] if path.exists() else _matching(path)
        with problems.collect():
            if not hits:
                raise InputError(
                    f"{one}",
                    expected=f"{what}: an existing file, or a pattern that matches some",
                    found="no such file",
                    remedy=f"correct the path; {_nearby(path)}{_OPTIONAL.get(what, '')}"
                    + ("; in a pattern [ ] are wildcards, write [[] for a bracket" if "[" in path.name else ""),
                )
        found.update(dict.fromkeys(hits))
    problems.raise_if_any()
    if not found:
        raise InputError(what, expected="at least one path or pattern", found="none", remedy="name the files")
    return list(found)


def _matching(pattern: Path) -> list[Path]:
    """Files of a pattern, sorted; the part of it that exists is taken as it is, also with brackets in its name."""
    there = next((p for p in pattern.parents if p.exists()), Path())
    rest = pattern.relative_to(there) if there != Path() else pattern
    literal = glob.glob(str(Path(glob.escape(str(there))) / rest), recursive=True)  # noqa: PTH207 - may be absolute
    return sorted(map(Path, literal or glob.glob(str(pattern), recursive=True)))  # noqa: PTH207


def find_file(path: str | Path, *, what: str) -> Path:
    """The single file of a path or pattern; an InputError if there is none, or several."""
    found = find_files(path, what=what)
    if len(found) > 1:
        raise InputError(
            f"{path}",
            expected=f"{what}: one file",
            found=f"{len(found)}: {listing(p.name for p in found)}",
            remedy="narrow the pattern, or join the files first",
        )
    return found[0]


def _nearby(path: Path) -> str:
    parent = path.parent
    while not parent.exists():
        parent = parent.parent
    names = sorted(p.name for p in parent.iterdir()) if parent.is_dir() else []
    return f"{parent} holds {listing(names) or 'nothing'}"


def first_bytes(path: Path, count: int, expected: str) -> bytes:
    """The first bytes of a file, all of them for -1; an InputError if it cannot be opened."""
    try:
        with path.open("rb") as file:
            return file.read(count)
    except OSError as error:
        remedy = "correct the path or its permissions"
        raise InputError(f"{path}", expected=expected, found=str(error), remedy=remedy) from error


def open_dataset(path: Path) -> xr.Dataset:
    """Open a NetCDF or Zarr file lazily; an InputError if it is unreadable or shorter than its header says."""
    if (url := url_of(path)) is not None:
        try:
            return _open(path)
        except LIBRARY_ERRORS as error:
            raise (unreachable(url, error, "files") if is_transport(error) else _unreadable(path, error)) from error
        except Exception as error:  # each file system has errors of its own
            raise unreachable(url, error, "files") from error
    if path.is_file():
        require_sound(path, first_bytes(path, _HEADER, "a readable file"), path.stat().st_size)
    try:
        return _open(path)
    except LIBRARY_ERRORS as error:
        raise _unreadable(path, error) from error


def _open(path: Path, *, decode_times: bool = True) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their causes, such as times that cannot be decoded, are checked later
        engine = "zarr" if path.is_dir() else None
        ds = _decoded(path, {"engine": engine, "chunks": {}, "decode_times": decode_times})
        if engine is None and (parts := _parts(ds) or _several(ds)):
            ds.close()
            ds = _decoded(path, {"chunks": parts, "decode_times": decode_times})
    track(ds)
    return ds


def _decoded(path: Path, options: dict[str, Any]) -> xr.Dataset:
    """A file as xarray decodes it, and calendar months since a date, which it does not."""
    try:
        return xr.open_dataset(url_of(path) or path, **options)
    except ValueError:
        raw = xr.open_dataset(url_of(path) or path, **{**options, "decode_times": False})
        if (dated := with_months_decoded(raw)) is None:
            raw.close()
            raise
        decoded = xr.decode_cf(dated, mask_and_scale=False)
        decoded.set_close(raw.close)
        return decoded


def track(ds: xr.Dataset) -> None:
    """Have the surrounding `closing` close a Dataset."""
    if (opened := _OPENED.get()) is not None:
        opened.append(ds)


def _parts(ds: xr.Dataset) -> dict[str, int]:
    """Chunk sizes along the first dimension for large variables that are stored without chunks."""
    parts: dict[str, int] = {}
    for variable in ds.variables.values():
        if variable.nbytes > _LARGEST_READ and variable.ndim > 1 and not variable.encoding.get("preferred_chunks"):
            first = str(variable.dims[0])
            steps = max(1, int(_LARGEST_READ * variable.shape[0] / variable.nbytes))
            parts[first] = min(steps, parts.get(first, steps))
    return parts


def _several(ds: xr.Dataset) -> dict[str, int]:
    """Chunk sizes of several stored chunks along the records where these are small: each block has its cost."""
    fields = [v for v in ds.variables.values() if v.ndim > 2 and v.encoding.get("preferred_chunks")]
    lengths = {(str(v.dims[0]), int(v.encoding["preferred_chunks"][v.dims[0]])) for v in fields}
    if len(lengths) != 1:  # blocks of a common length would split chunks
        return {}
    ((first, length),) = lengths
    if first not in ds.variables or "since" not in str(ds[first].encoding.get("units", "")):
        return {}
    largest = max(v.dtype.itemsize * math.prod(v.encoding["preferred_chunks"].values()) for v in fields)
    count = min(int(_BLOCK // max(1, largest)), -(-ds.sizes[first] // length))
    return {first: count * length} if count > 1 else {}


@contextmanager
def naming_damage(paths: Iterable[Path]) -> Iterator[None]:
    """If reading fails inside, raise an InputError that names the damaged file and variable, if one is found."""
    try:
        yield
    except (InputError, InputErrors, BrokenExecutor):
        raise
    except Exception as error:
        broken = isinstance(error, (OSError, RuntimeError, ValueError))
        if getattr(error, "errno", None) in _WRITE_ERRORS or not (broken or is_transport(error)):
            raise
        for path in paths:
            if (url := url_of(path)) is not None:
                if is_transport(error):
                    raise unreachable(url, error, "files") from error
                continue
            for name, reason in _damaged(path):
                raise InputError(
                    f"{path}: {name}", expected="values that can be read", found=reason, remedy=BROKEN
                ) from error
        raise


def _damaged(path: Path) -> Iterator[tuple[str, str]]:
    """Damaged variables of a file and the reasons, found by reading it chunk by chunk; NetCDF and Zarr only."""
    if path.is_file() and first_bytes(path, 4, "a readable file") in (b"GRIB", b"PK\x03\x04"):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ds = _open(path)
        except LIBRARY_ERRORS as error:
            yield "header", f"{type(error).__name__}: {error}".splitlines()[0]
            return
    for name, variable in ds.variables.items():
        try:
            for block in variable.data.to_delayed().ravel() if variable.chunks else ():
                block.compute(scheduler="synchronous")
        except LIBRARY_ERRORS as error:
            yield str(name), f"{type(error).__name__}: {error}".splitlines()[0]


def _unreadable(path: Path, error: Exception) -> InputError:
    where = url_of(path) or f"{path}"
    reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if "did not find a match" in reason:  # xarray adds advice for programmers
        reason = "its first bytes are of no such file"
    try:
        _open(path, decode_times=False).close()
    except LIBRARY_ERRORS:
        return InputError(where, expected="a readable NetCDF, GRIB or Zarr file", found=reason, remedy=BROKEN)
    return InputError(
        f"{where}: time",
        expected="dates of the standard calendar",
        found=reason,
        remedy="give time a CF unit such as `hours since 1900-01-01`",
    )
