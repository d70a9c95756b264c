"""Many small NetCDF files that differ in their records only, opened as one: each is opened once, one at a time."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask.array as da
import h5py
import netCDF4
import numpy as np
import numpy.typing as npt
import xarray as xr
from dask.base import tokenize
from scipy.io import netcdf_file
from xarray.backends.netCDF4_ import NETCDF4_PYTHON_LOCK

from glacmb_grid.inputs.climate.contract import Opened
from glacmb_grid.inputs.climate.months import DIMENSIONS, facts_of
from glacmb_grid.inputs.files import LIBRARY_ERRORS, held, hold
from glacmb_grid.inputs.headers import require_sound
from glacmb_grid.inputs.quiet import quiet

MANY = 12
"""Files from which on they are looked at in this way."""
_LARGEST = 8_000_000  # bytes of a file
_HELD = 256_000_000  # bytes of values that are kept for as long as the files are in use
_BLOCK = 4_000_000  # bytes that are read at a time
_MAGIC = (b"CDF", b"\x89HDF")
_SINCE = re.compile(
    r"(seconds|minutes|hours|days) since (\d{4})-(\d{1,2})-(\d{1,2})(?:[ T](\d{2}:\d{2}:\d{2})(?:\.0)?)?"
)
_CALENDARS = ("standard", "gregorian", "proleptic_gregorian")
_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}

Values = npt.NDArray[Any]


@dataclass(frozen=True)
class _Variable:
    """One variable as it is stored; values are None for fields."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attrs: dict[str, Any]
    values: Values | None


@dataclass(frozen=True)
class _File:
    """The header of a file, the values of all but its fields, and the instant from which its records are counted."""

    path: Path
    size: int
    time: int
    record: str
    length: int
    attrs: dict[str, Any]
    variables: dict[str, _Variable]
    since: dict[str, int]


def opened_alike(paths: Sequence[Path]) -> tuple[list[tuple[Opened, list[Path]]], list[Path]]:
    """Datasets of files that are alike, with their files; and the files that are to be opened one by one.

    Files are alike if names, dimensions, attributes, cells and all that has no records are equal in them. Values are
    kept up to 256 MB, so that files are not opened again when they are read; beyond that each is read when it is used,
    and closed.
    """
    if len(paths) < MANY:
        return [], list(paths)
    kinds: dict[str, list[_File]] = defaultdict(list)
    others = []
    room = [_HELD]
    for path in paths:
        file = _header(path, room)
        if file is None:
            others.append(path)
        else:
            kinds[_kind(file)].append(file)
    several = []
    for files in kinds.values():
        whole = _as_one(files) if len(files) > 1 else None
        if whole is None:
            others += [f.path for f in files]
        else:
            several.append((whole, [f.path for f in files]))
    return several, [p for p in paths if p in set(others)]


def _header(path: Path, room: list[int]) -> _File | None:
    """The header of a small NetCDF file, its values kept if there is room; None for any other."""
    if not path.is_file() or (stat := path.stat()).st_size > _LARGEST:
        return None
    content = path.read_bytes()
    if not content.startswith(_MAGIC):
        return None
    try:
        require_sound(path, content, len(content))
        with NETCDF4_PYTHON_LOCK, netCDF4.Dataset(path.name, memory=content) as ds:
            ds.set_auto_maskandscale(False)
            ds.set_auto_chartostring(False)
            if ds.groups:
                return None
            record = next((d for d in DIMENSIONS if d in ds.dimensions and d in ds.variables), None)
            if record is None:
                return None
            variables, since, fields = {}, {}, {}
            for name, one in ds.variables.items():
                attrs = {k: one.getncattr(k) for k in one.ncattrs()}
                is_field = record in one.dimensions and one.ndim > 2
                if is_field and (one.dimensions[0] != record or one.dtype is str):
                    return None
                values = None if is_field else np.asarray(one[...])
                if is_field:
                    size = int(np.prod(one.shape)) * one.dtype.itemsize
                    if size <= room[0]:
                        room[0] -= size
                        fields[name] = np.asarray(one[...])
                elif record in one.dimensions and (begin := _begin(attrs)) is not None:
                    since[name] = begin
                variables[name] = _Variable(one.dimensions, one.shape, str(one.dtype), attrs, values)
            length = len(ds.dimensions[record])
            attrs = {k: ds.getncattr(k) for k in ds.ncattrs()}
    except LIBRARY_ERRORS:  # opened by itself, it is reported
        return None
    for name, values in fields.items():
        hold(_key(path, stat.st_size, stat.st_mtime_ns, name), values)
    return _File(path, stat.st_size, stat.st_mtime_ns, record, length, attrs, variables, since)


def _key(path: Path, size: int, time: int, name: str) -> tuple[str, int, int, str]:
    return (str(path), size, time, name)


def _begin(attrs: Mapping[str, Any]) -> int | None:
    """The instant from which times are counted, seconds since 1970; None where it is not plainly said."""
    found = _SINCE.fullmatch(str(attrs.get("units", "")))
    if found is None or attrs.get("calendar", "standard") not in _CALENDARS:
        return None
    _, year, month, day, hour = found.groups()
    try:
        return int(np.datetime64(f"{year}-{int(month):02}-{int(day):02}T{hour or '00:00:00'}", "s").astype(np.int64))
    except ValueError:
        return None


def _kind(file: _File) -> str:
    """What is the same in all files that are alike."""
    parts: list[Any] = [file.record, facts_of(file.attrs, file.path.name)]
    for name, one in file.variables.items():
        attrs = dict(one.attrs)
        if name in file.since:
            attrs["units"] = attrs["units"].split()[0]
        content: object = ""
        if file.record not in one.dims and one.values is not None:
            content = one.values.tolist() if one.values.dtype.kind == "O" else one.values.tobytes()
        shape = tuple(n for d, n in zip(one.dims, one.shape, strict=True) if d != file.record)
        parts.append((name, one.dims, one.dtype, shape, content, sorted((k, repr(v)) for k, v in attrs.items())))
    return repr(parts)


def _as_one(files: Sequence[_File]) -> Opened | None:
    """A Dataset of all records of files that are alike, in the order of the files; None if it cannot be decoded."""
    first = files[0]
    raw = {}
    for name, one in first.variables.items():
        values: Any = one.values
        if values is None:
            values = _field(files, name, one)
        elif first.record in one.dims:
            values = _records(files, name, one)
        raw[name] = xr.Variable(one.dims, values, one.attrs)
    with quiet():  # their causes, such as times that cannot be decoded, are checked later
        try:
            ds = xr.decode_cf(xr.Dataset(raw, attrs=first.attrs))
        except LIBRARY_ERRORS:  # opened by itself, a file is decoded in other ways, or reported
            return None
    return Opened(f"{first.path} to {files[-1].path.name} ({len(files)} files)", ds)


def _records(files: Sequence[_File], name: str, first: _Variable) -> Values:
    """Values of all files along their records, all counted from the instant of the first file."""
    record = files[0].record
    parts = []
    for file in files:
        values = file.variables[name].values
        assert values is not None
        counted = name if name in file.since else record if _are_bounds(first) and record in file.since else None
        if counted is not None:
            unit = _SECONDS[str(file.variables[counted].attrs["units"]).split()[0]]
            shift = (file.since[counted] - files[0].since[counted]) / unit
            if shift.is_integer() and values.dtype.kind in "iu":
                values = values.astype(np.int64) + int(shift)
            elif shift:
                values = values + shift
        parts.append(values)
    return np.concatenate(parts, axis=first.dims.index(record))


def _are_bounds(one: _Variable) -> bool:
    """Whether values are times that are counted as those of the records: bounds have no unit of their own."""
    return len(one.dims) == 2 and one.shape[-1] == 2 and "units" not in one.attrs


def _field(files: Sequence[_File], name: str, one: _Variable) -> da.Array:
    """A field of all files, lazily: several files to a block."""
    plane = one.shape[1:]
    dtype = np.dtype(one.dtype)
    each = math.prod(plane) * dtype.itemsize
    blocks: list[list[_File]] = []
    size = 0
    for file in files:
        size += each * file.length
        if not blocks or size > _BLOCK:
            blocks.append([])
            size = each * file.length
        blocks[-1].append(file)
    keys = [[_key(f.path, f.size, f.time, name) for f in block] for block in blocks]
    token = f"files-{tokenize(keys)}"
    rest = (0,) * len(plane)
    graph = {(token, i, *rest): (_block, block) for i, block in enumerate(keys)}
    lengths = tuple(sum(f.length for f in block) for block in blocks)
    return da.Array(graph, token, (lengths, *((n,) for n in plane)), dtype=dtype)  # type: ignore[no-untyped-call]


def _block(keys: Sequence[tuple[str, int, int, str]]) -> Values:
    return np.concatenate([_values(key) for key in keys])


def _values(key: tuple[str, int, int, str]) -> Values:
    """A field of one file, as it is stored: kept, or read now."""
    kept: Values | None = held(key)
    if kept is not None:
        return kept
    path, *_, name = key
    return _read_safely(path, name)


def _read_safely(path: str, name: str) -> Values:
    """A variable as it is stored, without the NetCDF library where that can be avoided.

    It crashes the process where one thread opens a file while another opens or closes one, and a garbage collector may
    close files in any thread, without a lock.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - the path is text
            classic = file.read(3) == b"CDF"
        if classic:
            with netcdf_file(path, "r", mmap=False, maskandscale=False) as old:
                found = old.variables[name].data
        else:
            with h5py.File(path) as new:
                found = new[name][...]
        return np.asarray(found, found.dtype.newbyteorder("="))
    except (OSError, ValueError, KeyError, TypeError):  # 64 bit of the classic format, a filter that h5py lacks
        with NETCDF4_PYTHON_LOCK, netCDF4.Dataset(path) as ds:
            ds.set_auto_maskandscale(False)
            return np.asarray(ds[name][...])
