"""Versions of this package and of the libraries that influence its results."""

from __future__ import annotations

import contextlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_LIBRARIES = [
    *("glacmb-grid", "numpy", "scipy", "pandas", "xarray", "dask", "zarr", "netCDF4", "rasterio", "rioxarray"),
    *("shapely", "geopandas", "jax", "flax", "scikit-learn", "optax"),
]


@cache
def versions() -> dict[str, str]:
    """Versions of those libraries that are installed, by name."""
    found = {}
    for name in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
