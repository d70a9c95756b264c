"""The elevation model and albedo scenes as GeoTIFF: tiles as ASTER GDEM has them, or one file each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from .glaciers import Glaciers
from .sinusoidal import day_of_year
from .terrain import Floats, Grid

VOID = -9999
SCENES = 9  # stacked by ASTER where the model has a height


def write_dem(path: Path, surface: NDArray[np.int16], grid: Grid) -> None:
    """Write the elevation model, m, as one file.

    Parameters
    ----------
    path : Path
        New file.
    surface : (row, column), m
        Elevation, -9999 in voids.
    grid : Grid
        Its grid.
    """
    _write_tiff(path, surface, grid, VOID)


def write_dem_tiles(folder: Path, surface: NDArray[np.int16], grid: Grid) -> None:
    """Write the elevation model, m, as tiles of one degree, each with the count of its scenes beside it.

    Parameters
    ----------
    folder : Path
    surface : (row, column), m
        Elevation, -9999 in voids.
    grid : Grid
        Its grid; pixels are centred on whole degrees, and neighbouring tiles share those.
    """
    size = round(1 / grid.step)
    north, west = (round(n / grid.step) for n in (grid.north - grid.step / 2, grid.west + grid.step / 2))
    south, east = north - grid.rows + 1, west + grid.columns - 1
    for latitude in range(south // size, -(-north // size)):
        for longitude in range(west // size, -(-east // size)):
            top, left = (latitude + 1) * size, longitude * size
            rows, columns = (np.arange(size + 1) + n for n in (north - top, left - west))
            tile = np.full((size + 1, size + 1), VOID, np.int16)
            here = np.ix_((rows >= 0) & (rows < grid.rows), (columns >= 0) & (columns < grid.columns))
            within = np.ix_(rows[here[0].ravel()], columns[here[1].ravel()])
            tile[here] = surface[within]
            place = Grid(longitude - grid.step / 2, latitude + 1 + grid.step / 2, grid.step, size + 1, size + 1)
            name = f"ASTGTMV003_N{latitude:02d}E{longitude:03d}"
            _write_tiff(folder / f"{name}_dem.tif", tile, place, VOID)
            _write_tiff(folder / f"{name}_num.tif", np.where(tile == VOID, 0, SCENES).astype(np.int16), place)


def write_scene(folder: Path, date: np.datetime64, product: str, scene: NDArray[np.uint8], grid: Grid) -> None:
    """Write one albedo scene under the name that AppEEARS gives it."""
    name = f"{product}.061_Snow_Albedo_Daily_Tile_doy{day_of_year(date)}_aid0001.tif"
    _write_tiff(folder / name, scene, grid, 255)


def _write_tiff(
    path: Path, values: NDArray[np.int16] | NDArray[np.uint8], grid: Grid, nodata: int | None = None
) -> None:
    """Write one band, EPSG:4326, deflated."""
    profile = {"driver": "GTiff", "height": grid.rows, "width": grid.columns, "count": 1, "dtype": values.dtype.name}
    place = {"crs": "EPSG:4326", "transform": Affine(grid.step, 0, grid.west, 0, -grid.step, grid.north)}
    with rasterio.open(path, "w", **profile, **place, nodata=nodata, compress="deflate", predictor=2) as file:
        file.write(values, 1)


def fine_surface(
    rng: np.random.Generator, glaciers: Glaciers, routing: Grid, roughness: Floats
) -> tuple[NDArray[np.int16], Grid]:
    """Refine the surface to 3 arc-seconds, roughen bare ground, tear small voids.

    Parameters
    ----------
    rng : numpy.random.Generator
        Places of the voids.
    glaciers : Glaciers
        Surface and labels on `routing`.
    routing : Grid
        6 arc-second grid.
    roughness : (row, column)
        Standard-normal field on the refined grid.

    Returns
    -------
    (row, column), m
        Surface with voids of -9999.
    Grid
        The refined grid.
    """
    grid = routing.refined(2)
    height = ndimage.zoom(glaciers.surface, 2, order=3, mode="nearest", grid_mode=True)
    bare = ndimage.zoom((glaciers.label < 0).astype(float), 2, order=1, mode="nearest", grid_mode=True)
    slope = np.hypot(*np.gradient(height, *grid.cell_m))
    surface = np.rint(height + (1.5 + 22 * bare * np.minimum(slope, 0.8)) * roughness).astype(np.int16)
    distance = ndimage.distance_transform_edt(bare > 0.99)
    distance[:8], distance[-8:], distance[:, :8], distance[:, -8:] = 0, 0, 0, 0
    spots = rng.choice(np.flatnonzero(distance.ravel() > 12), 5, replace=False)
    largest = int(np.bincount(glaciers.label[glaciers.label >= 0]).argmax())
    inside = ndimage.distance_transform_edt(glaciers.label == largest)
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    for spot, radius in [*((int(s), 5) for s in spots), (int(2 * row * grid.columns + 2 * column), 3)]:
        _tear(surface, roughness, spot, radius)
    return surface, grid


def _tear(surface: NDArray[np.int16], roughness: Floats, spot: int, radius: int) -> None:
    """Make a ragged void around a flat index."""
    row, column = divmod(spot, surface.shape[1])
    last = surface.shape
    box = (
        slice(max(0, row - radius), min(last[0], row + radius + 1)),
        slice(max(0, column - radius), min(last[1], column + radius + 1)),
    )
    rows, columns = np.ogrid[box]
    far = np.hypot(rows - row, columns - column) + 0.8 * roughness[box]
    surface[box] = np.where(far <= radius - 1, VOID, surface[box])
