"""Files with the state of a training, from which it can be resumed."""

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


def digest_of(settings: object, arrays: Iterable[npt.NDArray[Any]]) -> str:
    """Checksum of settings (by their `repr`) and arrays, which together determine the result of a training."""
    total = hashlib.sha256(repr(settings).encode())
    for array in arrays:
        total.update(repr((array.shape, array.dtype.str)).encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def load(file: Path, digest: str) -> dict[str, npt.NDArray[Any]] | None:
    """The arrays of a checkpoint, read into memory; None without a usable file.

    A damaged file, or one with another digest, is renamed with a warning.
    """
    if not file.exists():
        return None
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            kept = {name: stored[name] for name in stored.files}
        if str(kept.get("digest", "")) == digest:
            return kept
        problem = "a checkpoint of another training: other data, nets, block or number of devices"
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        problem = f"damaged ({type(error).__name__})"
    aside = put_aside(file, "unusable").name
    warnings.warn(f"{file} is {problem}: put aside as {aside}, training begins anew", stacklevel=2)
    return None


def save(file: Path, digest: str, arrays: Mapping[str, Any]) -> None:
    """Write a checkpoint under another name, then rename it, so that the file is always complete."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    with temporary.open("wb") as stream:
        np.savez(stream, digest=digest, **arrays)
    temporary.replace(file)
