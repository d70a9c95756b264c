"""The state of a training in a file, so that it can go on after it was stopped."""

from __future__ import annotations

import hashlib
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glacmb_grid.disk import put_aside


def digest_of(told: object, arrays: Iterable[npt.NDArray[Any]]) -> str:
    """Checksum of what decides the result of a training: anything with a `repr`, and arrays."""
    total = hashlib.sha256(repr(told).encode())
    for array in arrays:
        total.update(repr((array.shape, array.dtype.str)).encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def load(file: Path, digest: str) -> dict[str, npt.NDArray[Any]] | None:
    """The arrays of a checkpoint, all of them read; None where there is no file.

    A damaged file, or one with another digest, is put aside with a warning.
    """
    if not file.exists():
        return None
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            kept = {name: stored[name] for name in stored.files}
        if str(kept.get("digest", "")) == digest:
            return kept
        why = "a checkpoint of another training: other data, nets, block or number of devices"
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        why = f"damaged ({type(error).__name__})"
    aside = put_aside(file, "unusable").name
    warnings.warn(f"{file} is {why}: put aside as {aside}, training begins anew", stacklevel=2)
    return None


def save(file: Path, digest: str, arrays: Mapping[str, Any]) -> None:
    """Write a checkpoint beside the file, then rename it: the file is whole at all times."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    with aside.open("wb") as stream:
        np.savez(stream, digest=digest, **arrays)
    aside.replace(file)
