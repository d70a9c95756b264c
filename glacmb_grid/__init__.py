"""Regional upscaling of glaciological mass-balance observations to every glacier of a region."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("glacmb-grid")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
