"""The grid of HDF-EOS files, from their StructMetadata."""

from __future__ import annotations

import re
from math import floor

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.albedo.contract import Layout

_TILE = 1111950.5196666666  # m; side of a tile of the sinusoidal grid
_WEST, _NORTH = -20015109.354, 10007554.677
_NEAR = 1e-6  # of a tile, less than a pixel


def grid_of_metadata(path: str, metadata: str, dtype: str) -> Layout:
    """The sinusoidal grid that StructMetadata describes."""

    def pair(key: str) -> tuple[float, float]:
        found = re.search(rf"{key}=\(([^,]+),([^)]+)\)", metadata)
        if not found:
            raise _no_grid(path, f"no {key}")
        return float(found[1]), float(found[2])

    sizes = [re.search(rf"\b{n}=(\d+)", metadata) for n in ("YDim", "XDim")]
    projection = re.search(r"Projection=(\w+)", metadata)
    if not all(sizes) or projection is None:
        raise _no_grid(path, "no grid")
    if not projection[1].endswith("SNSOID"):
        raise _no_grid(path, f"the projection {projection[1]}")
    rows, columns = (int(s[1]) for s in sizes if s)
    (west, north), (east, south) = pair("UpperLeftPointMtrs"), pair("LowerRightMtrs")
    radius = re.search(r"ProjParams=\(([\d.]+)", metadata)
    sphere = float(radius[1]) if radius and float(radius[1]) > 0 else 6371007.181
    transform = ((east - west) / columns, 0.0, west, 0.0, (south - north) / rows, north)
    crs = f"+proj=sinu +lon_0=0 +x_0=0 +y_0=0 +R={sphere:.10g} +units=m +no_defs"
    return Layout((rows, columns), transform, crs, dtype)


def tile_of(grid: Layout) -> str:
    """Number of the tile that holds the upper left corner of the grid, a whole tile or a part, such as h18v04."""
    h, v = (floor(m / _TILE + _NEAR) for m in (grid.transform[2] - _WEST, _NORTH - grid.transform[5]))
    return f"h{h:02d}v{v:02d}"


def _no_grid(path: str, found: str) -> InputError:
    return InputError(
        f"{path}: StructMetadata",
        expected="a grid in the sinusoidal projection of MODIS",
        found=found,
        remedy="give the tiles as the agency delivers them",
    )
