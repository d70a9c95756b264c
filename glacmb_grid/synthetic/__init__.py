"""A small mountain region with a known truth, written as raw files in the agencies' own formats."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .albedo import scene_days, scene_grid, scenes
from .climate import draw_weather
from .files import outline_area_km2, write_invariant, write_outlines, write_truth, write_variable
from .glaciers import grow_glaciers
from .observations import observe
from .rasters import fine_surface, write_dem, write_dem_tiles, write_scene
from .reanalysis import VARIABLES, simulate
from .release import write_fog, write_release
from .sinusoidal import hdf4_is_there, windows, write_tiles
from .terrain import NORTH, POSTING, WEST, Grid, make_relief, noise
from .truth import calibrate, make_bands, run

__all__ = ["write_region"]

Track = Callable[[Iterable[Any], str], Iterable[Any]]
FOLDERS = ("era5_land", "dem", "rgi", "albedo", "fog")


def write_region(
    root: Path | str,
    *,
    seed: int = 1,
    glaciers: int = 60,
    years: tuple[int, int] = (2000, 2024),
    measured: int = 15,
    plain: bool = False,
    track: Track = lambda items, what: items,
) -> dict[str, Path]:
    """Write a mountain region with a known truth as raw files.

    Parameters
    ----------
    root : Path or str
        Folder, new or empty.
    seed : int
        Same arguments, same bytes.
    glaciers : int
        Number of glaciers; the region grows with it (60 glaciers: 1.5 by 0.8 degree).
    years : (int, int)
        First and last hydrological year (1 October of the year before to 30 September). Climate runs to the
        December of the last one, so that three months belong to an incomplete year.
    measured : int
        Number of glaciers with observations.
    plain : bool
        Write the albedo of Terra as GeoTIFF, the elevation model as one file, and the tables of observations of older
        releases, instead of what the agencies deliver today: HDF4 tiles of Terra and Aqua, elevation tiles with the
        counts beside them, and a ZIP of Fluctuations of Glaciers.
    track : callable
        Goes round loops that take long: takes their items and what each is, and gives the items.

    Returns
    -------
    dict of Path
        ``era5_land`` (folder), ``invariant``, ``dem`` (folder or file), ``outlines``, ``albedo`` (folder),
        ``observations`` (ZIP or table EE) and ``truth``; if plain also ``glaciers`` (table A).

    Warns
    -----
    UserWarning
        HDF4 cannot be written without pyhdf: the scenes of both platforms are GeoTIFF instead.

    Raises
    ------
    ValueError
        If there are more measured glaciers than glaciers, the seed is negative, the years run backwards, or the folder
        holds anything: nothing in it is overwritten.
    """
    root = Path(root)
    if not 1 <= measured <= glaciers:
        msg = f"measured: expected 1 to {glaciers} (the number of glaciers), found {measured}"
        raise ValueError(msg)
    if years[1] < years[0]:
        msg = f"years: expected (first, last), found {years}"
        raise ValueError(msg)
    if seed < 0:
        msg = f"seed: expected 0 or more, found {seed}"
        raise ValueError(msg)
    present = sorted(p.name for p in root.iterdir() if not p.name.startswith(".")) if root.is_dir() else []
    if present:
        msg = f"{root}: expected a new or empty folder, found {', '.join(present[:5])}; name another one"
        raise ValueError(msg)
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    return _write(root, seed, glaciers, years, measured, plain, track)


def _window(glaciers: int) -> Grid:
    """Grid whose area follows the number of glaciers; a cell is two by two postings of the elevation model."""
    scale = float(np.clip(np.sqrt(glaciers / 60), 0.5, 2.5))
    rows, columns = (round(n * scale / 30) * 30 for n in (480, 900))
    return Grid(WEST - POSTING / 2, NORTH + POSTING / 2, 2 * POSTING, rows, columns)


def _write(
    root: Path, seed: int, count: int, years: tuple[int, int], measured: int, plain: bool, track: Track
) -> dict[str, Path]:
    """Simulate, then write; each part draws from its own stream."""
    draw = [np.random.default_rng([seed, part]) for part in range(9)]
    paths = _paths(root, plain)
    ids = [f"RGI2000-v7.0-G-13-{number + 1:05d}" for number in range(count)]
    grid = _window(count)
    ice = grow_glaciers(draw[1], make_relief(draw[0], grid), grid, count)
    area_km2 = outline_area_km2(ice.outline)
    weather = draw_weather(draw[2], f"{years[0] - 2}-10-01", f"{years[1]}-12-31")
    bands = calibrate(draw[4], weather, make_bands(draw[3], ice, grid, area_km2), years)
    days = scene_days(weather, years)
    truth = run(weather, bands, years, days)
    reanalysis = simulate(draw[5], weather, grid, ice.surface, ice.label >= 0, f"{years[0] - 1}-10")
    fog = observe(draw[6], ice, truth, area_km2, measured)
    for name in track(VARIABLES, "variable of the climate"):
        write_variable(paths["era5_land"] / f"era5_land_monthly_{name}.nc", name, reanalysis)
    write_invariant(paths["invariant"], reanalysis)
    surface = fine_surface(draw[7], ice, grid, noise(draw[7], grid.refined(2).shape, 0.8, 40))
    (write_dem if plain else write_dem_tiles)(paths["dem"], *surface)
    write_outlines(paths["outlines"], ice, grid, ids)
    tiles = [] if plain or not _has_hdf4() else windows(scene_grid(grid))
    drawn = scenes(draw[7:8] if plain else draw[7:], weather, truth, days, ice, grid)
    for date, product, scene in track(drawn, "scene of the albedo"):
        if tiles:
            write_tiles(paths["albedo"], date, product, scene, tiles)
        else:
            write_scene(paths["albedo"], date, product, scene, scene_grid(grid))
    if plain:
        write_fog(root / "fog", fog)
    else:
        write_release(paths["observations"], fog, ids)
    write_truth(paths["truth"], truth, fog, ids)
    return paths


def _has_hdf4() -> bool:
    """Whether HDF4 can be written; a warning if not."""
    if hdf4_is_there():
        return True
    warnings.warn(
        "synthetic region: albedo is written as GeoTIFF, since pyhdf is not installed, which writes the HDF4 tiles of "
        'MODIS (`pip install "glacmb-grid[modis]"`)',
        stacklevel=2,
    )
    return False


def _paths(root: Path, plain: bool) -> dict[str, Path]:
    """Paths of all files."""
    fog = root / "fog"
    observed = (
        {"observations": fog / "FOG_EE_MASS_BALANCE.csv", "glaciers": fog / "FOG_A_GLACIER.csv"}
        if plain
        else {"observations": fog / "DOI-WGMS-FoG-2025-02b_synthetic.zip"}
    )
    return {
        "era5_land": root / "era5_land",
        "invariant": root / "era5_land" / "era5_land_invariant.nc",
        "dem": root / "dem" / "astgtm_synthetic_dem.tif" if plain else root / "dem",
        "outlines": root / "rgi" / "RGI2000-v7.0-G-13_synthetic.gpkg",
        "albedo": root / "albedo",
        **observed,
        "truth": root / "truth.nc",
    }
