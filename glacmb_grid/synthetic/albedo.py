"""Daily snow-albedo scenes as MOD10A1 and MYD10A1 v6.1 show them: clouds, land codes on dark ice, noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .climate import Weather
from .glaciers import Glaciers
from .terrain import Floats, Grid, Ints, noise, slope_deg
from .truth import LAND_M, Truth

STEP_DEG = 0.0045
EVERY_DAYS = 8
LAND, NO_DECISION, WATER, CLOUD, CLOUD_AS_SNOW = 125, 101, 137, 150, 151
MISSING, SHADOW, BRDF_FAILED, FILL = 250, 251, 253, 255
CODES = (LAND, NO_DECISION, WATER, CLOUD, CLOUD_AS_SNOW, MISSING, SHADOW, BRDF_FAILED, FILL)
TERRA, AQUA = "MOD10A1", "MYD10A1"
DARKEST_SNOW = 0.39  # darker surfaces are mostly taken for land


@dataclass(frozen=True)
class _Static:
    """What does not change between scenes: band of each pixel, land height, steepness, water, offset."""

    band: Ints
    land: Floats
    steep: NDArray[np.bool_]
    water: NDArray[np.bool_]
    offset: Floats


def scene_days(weather: Weather, years: tuple[int, int]) -> Ints:
    """Positions in the weather's dates of every eighth day of June to August."""
    year = weather.dates.astype("datetime64[Y]").astype(int) + 1970
    of_year = (weather.dates - weather.dates.astype("datetime64[Y]").astype("datetime64[D]")).astype(int) + 1
    summer = (of_year >= 153) & (of_year <= 243) & ((of_year - 153) % EVERY_DAYS == 0)
    return np.flatnonzero(summer & (year >= years[0]) & (year <= years[1]))


def scene_grid(dem: Grid) -> Grid:
    """Grid of the scenes: that of the DEM's window, in pixels of 0.0045 degree."""
    rows, columns = (int(np.ceil(round(n * dem.step / STEP_DEG, 6))) for n in dem.shape)
    return Grid(dem.west, dem.north, STEP_DEG, rows, columns)


def scenes(
    rng: Sequence[np.random.Generator],
    weather: Weather,
    truth: Truth,
    days: Ints,
    glaciers: Glaciers,
    fine: Grid,
) -> Iterator[tuple[np.datetime64, str, NDArray[np.uint8]]]:
    """Draw the scenes one by one.

    Parameters
    ----------
    rng : sequence of numpy.random.Generator
        Sources of clouds and noise, of Terra and, if wanted, of Aqua.
    weather : Weather
        For the cloudiness of each day.
    truth : Truth
        Albedo and snow of the bands on `days`.
    days : (scene,)
        Positions in `weather.dates`.
    glaciers : Glaciers
        Labels and surface.
    fine : Grid
        Their grid.

    Yields
    ------
    numpy.datetime64, str, (row, column)
        Day; product; percent albedo 0-100 or a code. Aqua follows Terra on the days of the last year.
    """
    static = _static(rng[0], glaciers, fine, scene_grid(fine), truth)
    year = weather.dates.astype("datetime64[Y]")
    for number, day in enumerate(days):
        for product, source in zip((TERRA, AQUA), rng, strict=False):
            if product == TERRA or year[day] == year[days[-1]]:
                scene = _surface(source, static, truth, number)
                yield weather.dates[day], product, _hide(source, scene, static, float(weather.moisture[day, 0]))


def _static(rng: np.random.Generator, glaciers: Glaciers, fine: Grid, grid: Grid, truth: Truth) -> _Static:
    """Look up band, height and slope of every pixel."""
    cell = fine.index(*np.meshgrid(grid.longitude, grid.latitude))
    label, height = glaciers.label[cell], ndimage.uniform_filter(glaciers.surface, 3)[cell]
    bands = truth.bands
    key = bands.glacier * 1_000_000 + bands.lower_m.astype(np.int64)
    ice = np.flatnonzero(bands.glacier >= 0)
    wanted = label * 1_000_000 + (glaciers.surface[cell] // 100 * 100).astype(np.int64)
    place = np.searchsorted(key[ice], wanted.ravel()).clip(0, ice.size - 1).reshape(label.shape)
    slope = slope_deg(ndimage.gaussian_filter(glaciers.surface, 2), fine.cell_m)[cell]
    water = (ndimage.gaussian_filter(slope, 1.5) < 1.6) & (height < np.quantile(height, 0.4)) & (label < 0)
    return _Static(
        band=np.where(label >= 0, ice[place], -1),
        land=height,
        steep=slope > 36,
        water=ndimage.binary_opening(water),
        offset=0.03 * noise(rng, grid.shape, 1.0),
    )


def _surface(rng: np.random.Generator, static: _Static, truth: Truth, number: int) -> Floats:
    """Percent albedo of a scene without clouds, with code 125 where no snow is recognised."""
    shape = static.band.shape
    land = truth.bands.glacier < 0
    snow = np.interp(static.land + 90 * rng.standard_normal(shape), LAND_M, truth.snow[number, land])
    snowy = np.interp(static.land, LAND_M, truth.albedo[number, land])
    on_ice = static.band >= 0
    albedo = np.where(on_ice, truth.albedo[number, static.band], snowy) + static.offset
    albedo = albedo + 0.065 * rng.standard_normal() + 0.03 * rng.standard_normal(shape)
    dark = on_ice & (albedo < DARKEST_SNOW) & (rng.random(shape) < 0.55 + 0.35 * (albedo < 0.25))
    scene = np.clip(np.rint(100 * albedo), 0, 100)
    return np.where(dark | (~on_ice & (snow < 0.02)), LAND, scene)


def _hide(rng: np.random.Generator, scene: Floats, static: _Static, wet: float) -> NDArray[np.uint8]:
    """Lay water, terrain shadow, failures and clouds over a scene."""
    shape = scene.shape
    scene = np.where(static.water, WATER, scene)
    scene = np.where(static.steep & (rng.random(shape) < 0.25), SHADOW, scene)
    scene = np.where((scene <= 100) & (rng.random(shape) < 0.012), BRDF_FAILED, scene)
    scene = np.where(rng.random(shape) < 0.003, NO_DECISION, scene)
    share = 1 / (1 + np.exp(0.95 - 0.9 * wet + 0.4 * rng.standard_normal()))
    field = noise(rng, shape, 1.9) + 0.25 * (static.land - static.land.mean()) / static.land.std()
    scene = np.where(field > np.quantile(field, 1 - share), CLOUD, scene)
    scene = np.where((scene == CLOUD) & (rng.random(shape) < 0.02), CLOUD_AS_SNOW, scene)
    if rng.random() < 0.06:  # a gap between two orbits
        start = rng.uniform(-0.2, 1.1) * shape[1]
        across = np.arange(shape[1])[None, :] - start - 0.2 * np.arange(shape[0])[:, None]
        scene = np.where((across > 0) & (across < 0.1 * shape[1]), MISSING, scene)
    return scene.astype(np.uint8)
