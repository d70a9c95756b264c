"""Compiled functions of JAX, kept on disk for later processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax


def enable_compilation_cache(folder: Path | None = None) -> Path | None:
    """Cache compiled functions on disk for later processes.

    Parameters
    ----------
    folder : Path, optional
        By default a folder in the user's cache directory.

    Returns
    -------
    Path or None
        The folder; None if it cannot be written: then every process compiles again.
    """
    try:
        if folder is None:
            folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glacmb_grid" / "compiled"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, RuntimeError):  # read-only, full, or no home
        return None
    update: Callable[[str, Any], None] = jax.config.update
    update("jax_compilation_cache_dir", str(folder))
    update("jax_persistent_cache_min_compile_time_secs", 0.2)
    return folder
