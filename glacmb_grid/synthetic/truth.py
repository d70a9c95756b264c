"""The known truth: the balance of every elevation band of every glacier, day by day."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .climate import Points, Weather
from .columns import Columns, Ground
from .glaciers import Glaciers
from .terrain import Floats, Grid, Ints

BAND_M = 100.0
MEAN_BALANCE = -0.45  # m w.e. per year, aimed at
LAND_M = np.arange(1900.0, 5900.0, 125.0)  # snow-free land whose snow cover the albedo scenes show
MODEL = (
    "Daily energy and albedo balance of 100 m elevation bands under a drawn weather: net shortwave with an "
    "albedo that ages with the snow and falls to firn, ice or debris, longwave by emissivity, turbulent "
    "exchange, cold content, sublimation; accumulation, coolness and shading of each glacier carry a bias "
    "that no climate variable shows."
)


@dataclass(frozen=True)
class Bands:
    """Elevation bands of all glaciers, followed by snow-free land.

    Attributes
    ----------
    glacier : (band,)
        Number of the glacier, -1 for land.
    lower_m : (band,), m
        Lower bound.
    area_km2 : (band,), km2
    points : Points
    ground : Ground
    """

    glacier: Ints
    lower_m: Floats
    area_km2: Floats
    points: Points
    ground: Ground

    def mean(self, values: Floats, count: int) -> Floats:
        """Area-weighted mean over each glacier of (..., band), giving (..., glacier)."""
        ice = self.glacier >= 0
        share = np.zeros((ice.size, count))
        share[np.flatnonzero(ice), self.glacier[ice]] = self.area_km2[ice]
        return np.asarray(values @ (share / share.sum(axis=0)))


@dataclass(frozen=True)
class Truth:
    """Balance of all glaciers.

    Attributes
    ----------
    years : (year,)
        Hydrological years, 1 October of the year before to 30 September.
    annual, winter : (year, band), m w.e.
        Balance of the year; of October to April.
    albedo : (scene, band)
        Albedo on the days of the scenes.
    snow : (scene, band), m w.e.
        Seasonal snow on those days.
    bands : Bands
    """

    years: Ints
    annual: Floats
    winter: Floats
    albedo: Floats
    snow: Floats
    bands: Bands

    def mass_balance(self) -> Floats:
        """Glacier-wide annual balance, (year, glacier), m w.e."""
        return self.bands.mean(self.annual, int(self.bands.glacier.max()) + 1)


def make_bands(rng: np.random.Generator, glaciers: Glaciers, grid: Grid, area_km2: Floats) -> Bands:
    """Cut glaciers into bands and give each its hidden character.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    glaciers : Glaciers
        Labels and surface.
    grid : Grid
        Their grid.
    area_km2 : (glacier,), km2
        Area of the outlines.

    Returns
    -------
    Bands
        Glacier bands from low to high, glacier by glacier, then land.
    """
    count = area_km2.size
    row, column = np.nonzero(glaciers.label >= 0)
    number, height = glaciers.label[row, column], glaciers.surface[row, column]
    key, which = np.unique(number * 1000 + (height // BAND_M).astype(np.int64), return_inverse=True)
    cells = np.bincount(which)
    glacier = np.r_[key // 1000, np.full(LAND_M.size, -1)]
    mean = [np.bincount(which, x) / cells for x in (grid.longitude[column], grid.latitude[row], height)]
    elevation = np.r_[mean[2], LAND_M]
    share = cells / np.bincount(number, minlength=count)[key // 1000]
    shade = np.r_[_shading(rng, glaciers, grid, count)[key // 1000], np.full(LAND_M.size, 0.92)]
    points = Points(
        longitude=np.r_[mean[0], np.full(LAND_M.size, grid.longitude.mean())],
        latitude=np.r_[mean[1], np.full(LAND_M.size, grid.middle_latitude)],
        elevation=elevation,
        warmer=np.where(glacier >= 0, -0.5, 0.0),  # katabatic cooling
        wetter=np.exp(0.10 * rng.standard_normal(glacier.size)),
        brighter=shade,
        model_error=0.0,
    )
    area = np.r_[share * area_km2[key // 1000], np.zeros(LAND_M.size)]
    return Bands(glacier, elevation // BAND_M * BAND_M, area, points, _ground(rng, glacier, elevation, count))


def _shading(rng: np.random.Generator, glaciers: Glaciers, grid: Grid, count: int) -> Floats:
    """Factor of incoming shortwave per glacier: half from its aspect, half hidden."""
    south: Floats = np.asarray(np.gradient(glaciers.surface, grid.cell_m[0], axis=0))
    ice = glaciers.label >= 0
    own = glaciers.label[ice]
    north_facing = np.bincount(own, south[ice], minlength=count) / np.bincount(own, minlength=count)
    return np.asarray(0.94 - 0.18 * np.clip(north_facing, -0.4, 0.4) + 0.03 * rng.standard_normal(count))


def _ground(rng: np.random.Generator, glacier: Ints, elevation: Floats, count: int) -> Ground:
    """Bare-ice albedo per glacier, debris on the lowest bands of a third of the glaciers."""
    ice = glacier >= 0
    ice_albedo = rng.uniform(0.27, 0.38, count)
    reach = np.where(rng.random(count) < 0.35, rng.uniform(0.1, 0.4, count), 0.0)
    top = np.full(count, -1e9)
    bottom = np.full(count, 1e9)
    np.maximum.at(top, glacier[ice], elevation[ice])
    np.minimum.at(bottom, glacier[ice], elevation[ice])
    place = (elevation - bottom[glacier]) / np.maximum(top - bottom, 1.0)[glacier]
    debris = ice * np.clip(1.2 - place / np.maximum(reach[glacier], 1e-6), 0.0, 0.85) * (reach[glacier] > 0)
    albedo = np.where(ice, ice_albedo[glacier] * (1 - debris) + 0.17 * debris, 0.19)
    return Ground(ice, albedo, 0.7 * debris, np.zeros(ice.size, dtype=bool))


def run(weather: Weather, bands: Bands, years: tuple[int, int], scenes: Ints) -> Truth:
    """Run the balance of all bands.

    Parameters
    ----------
    weather : Weather
        Daily weather that starts before 1 October of the year before the first year.
    bands : Bands
        Glacier and land bands.
    years : (int, int)
        First and last hydrological year.
    scenes : (scene,)
        Positions in `weather.dates` of the days whose albedo is wanted.

    Returns
    -------
    Truth
        Balances and scenes.
    """
    columns = Columns(bands.points, bands.ground)
    patterns = weather.patterns(bands.points)
    span = np.arange(years[0], years[1] + 1)
    annual = np.zeros((span.size, bands.glacier.size))
    winter = np.zeros_like(annual)
    wanted = {int(day): number for number, day in enumerate(scenes)}
    albedo, snow = np.zeros((2, len(wanted), bands.glacier.size))
    month = weather.dates.astype("datetime64[M]").astype(int)
    hydrological = 1970 + (month + 3) // 12
    last = int(np.searchsorted(hydrological, years[1], side="right"))
    for day in range(last):
        if day and hydrological[day] != hydrological[day - 1]:
            columns.close_year()
        today = weather.at(day, bands.points, patterns)
        fluxes = columns.step(today)
        if hydrological[day] >= years[0]:
            change = today.snow + fluxes.exchange - fluxes.melt
            annual[hydrological[day] - years[0]] += change
            if (month[day] + 3) % 12 < 7:
                winter[hydrological[day] - years[0]] += change
        if day in wanted:
            albedo[wanted[day]], snow[wanted[day]] = fluxes.albedo, columns.snow
    return Truth(span, annual, winter, albedo, snow, bands)


def calibrate(rng: np.random.Generator, weather: Weather, bands: Bands, years: tuple[int, int]) -> Bands:
    """Give each glacier the niche in which it could have lived there: mostly, but not quite, in balance.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    weather : Weather
        Daily weather.
    bands : Bands
        Bands as made.
    years : (int, int)
        Years of the run.

    Returns
    -------
    Bands
        With the hidden factor of accumulation in ``points.wetter`` and hidden coolness in ``points.warmer``.

    Notes
    -----
    Two runs of the first seven years and one of all years; after each, half of what a glacier's mean balance
    lacks is made up by accumulation and half by temperature. What is left of the natural differences (high
    glaciers gain) and a drawn share make up the spread of the glaciers' means.
    """
    count = int(bands.glacier.max()) + 1
    pilot = (years[0], min(years[1], years[0] + 6))
    hidden = 0.24 * rng.standard_normal(count)
    target = np.zeros(count)
    for attempt, span in enumerate((pilot, pilot, years)):
        result = run(weather, bands, span, np.zeros(0, dtype=np.int64))
        mean = result.mass_balance().mean(axis=0)
        if attempt == 0:
            natural = (mean - mean.mean()) / max(float(mean.std()), 1e-6)
            target = MEAN_BALANCE + 0.18 * np.clip(natural, -2, 2) + hidden - hidden.mean()
        gain = np.maximum(bands.mean(result.winter, count).mean(axis=0), 0.2)
        bands = _moved(bands, (target - mean) / 2, gain)
    return bands


def _moved(bands: Bands, lack: Floats, gain: Floats) -> Bands:
    """Change accumulation and temperature so that each glacier gains so much more, m w.e. per year."""
    ice = bands.glacier >= 0
    wetter = np.exp(np.clip(0.6 * lack / gain, -0.3, 0.3))
    warmer = -np.clip(lack / 0.45, -1.5, 1.5)
    points = replace(
        bands.points,
        wetter=np.clip(bands.points.wetter * np.where(ice, wetter[bands.glacier], 1.0), 0.45, 2.2),
        warmer=np.clip(bands.points.warmer + np.where(ice, warmer[bands.glacier], 0.0), -3.5, 2.5),
    )
    return replace(bands, points=points)
