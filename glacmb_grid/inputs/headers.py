"""What the first bytes of a file tell: another kind than its name says, or a NetCDF file that is cut short."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Final

from glacmb_grid.errors import InputError

BROKEN = "download or copy the file again, then compare its size with the source"
"""Remedy for files that cannot be read."""

# First bytes of files that are often named .nc by mistake
_FOREIGN: Final = (
    (b"\x1f\x8b", "a gzip archive", "unpack it first: gunzip"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first: unzip"),
    (b"BZh", "a bzip2 archive", "unpack it first: bunzip2"),
    (b"\xfd7zXZ", "an xz archive", "unpack it first: unxz"),
    (b"<", "a web page (HTML or XML)", "the download failed: look at the page, then download the file again"),
)


def require_sound(path: Path, head: bytes, size: int) -> None:
    """Raise an InputError for what is no NetCDF file by its first bytes, or shorter than its header says."""
    _check_kind(path, head)
    _check_classic(path, head, size)


def _check_kind(path: Path, head: bytes) -> None:
    """Raise an InputError for empty files and for kinds of file that the name hides."""
    kinds = [("an empty file", BROKEN)] if not head else []
    kinds += [(kind, remedy) for magic, kind, remedy in _FOREIGN if head.lstrip()[: len(magic)] == magic]
    if head[:4] == b"GRIB":
        kinds.append(("a GRIB file", "only climate files may be GRIB: convert it to NetCDF"))
    for kind, remedy in kinds:
        raise InputError(f"{path}", expected="a readable NetCDF or Zarr file", found=kind, remedy=remedy)


def _check_classic(path: Path, head: bytes, size: int) -> None:
    """Raise an InputError for a truncated classic NetCDF file, of which the library would read zeros past the end."""
    if head[:3] != b"CDF" or len(head) < 4 or head[3] not in (1, 2, 5):
        return
    try:
        needed = _ClassicHeader(head, head[3]).data_end()
    except (struct.error, IndexError, KeyError) as error:
        raise InputError(
            f"{path}", expected="a complete NetCDF header", found="a file that ends within its header", remedy=BROKEN
        ) from error
    if size < needed:
        raise InputError(
            f"{path}",
            expected=f"at least {needed} bytes, as its header says",
            found=f"{size} bytes: truncated",
            remedy=BROKEN,
        )


class _ClassicHeader:
    """The part of the classic NetCDF format that tells where the data end.

    References
    ----------
    NetCDF Users Guide, appendix "The NetCDF Classic Format Specification".
    """

    _SIZES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 8, 7: 1, 8: 2, 9: 4, 10: 8, 11: 8}

    def __init__(self, data: bytes, version: int) -> None:
        self.data, self.at = data, 4
        self.count = ">q" if version == 5 else ">i"
        self.offset = ">i" if version == 1 else ">q"

    def take(self, form: str) -> int:
        (value,) = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return int(value)

    def skip_name(self) -> None:
        self.skip_padded(self.take(self.count))

    def skip_padded(self, length: int) -> None:
        self.at += -(-length // 4) * 4
        if length < 0 or self.at > len(self.data):
            raise IndexError

    def skip_attributes(self) -> None:
        self.take(">i")
        for _ in range(self.take(self.count)):
            self.skip_name()
            kind = self.take(">i")
            self.skip_padded(self.take(self.count) * self._SIZES[kind])

    def data_end(self) -> int:
        """Size of the file in bytes according to its header (without the padding of the last value)."""
        records = max(self.take(self.count), 0)  # -1 if the file was not closed by its writer
        self.take(">i")
        lengths = []
        for _ in range(self.take(self.count)):
            self.skip_name()
            lengths.append(self.take(self.count))
        self.skip_attributes()
        self.take(">i")
        variables = [self._variable(lengths) for _ in range(self.take(self.count))]
        per_record = [-(-size // 4) * 4 for _, size, is_record in variables if is_record]
        stride = sum(per_record) if len(per_record) > 1 else sum(s for _, s, is_record in variables if is_record)
        ends = [
            begin + (size if not is_record else max(records - 1, 0) * stride + (size if records else 0))
            for begin, size, is_record in variables
        ]
        return max(ends, default=self.at)

    def _variable(self, lengths: list[int]) -> tuple[int, int, bool]:
        self.skip_name()
        dims = [lengths[self.take(self.count)] for _ in range(self.take(self.count))]
        self.skip_attributes()
        size = self._SIZES[self.take(">i")]
        self.take(self.count)  # vsize, unreliable for large variables
        begin = self.take(self.offset)
        is_record = bool(dims) and dims[0] == 0
        for length in dims[1:] if is_record else dims:
            size *= length
        return begin, size, is_record
