"""What a coarse land-surface model makes of the same weather: monthly fields in the style of ERA5-Land."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .climate import Day, Points, Weather, coarse_error
from .columns import DAY_S, FRESH_ALBEDO, MELTING_K, Columns, Fluxes, Ground
from .terrain import Floats, Grid

STEP_DEG = 0.1
GLACIER_SHARE = 0.085  # cells with more ice hold their snow at 10 m w.e.


@dataclass(frozen=True)
class Variable:
    """One ERA5-Land variable: attributes as the Climate Data Store writes them."""

    long_name: str
    units: str
    param: int
    standard_name: str = "unknown"
    accumulated: bool = False


VARIABLES: dict[str, Variable] = {
    "asn": Variable("Snow albedo", "(0 - 1)", 32),
    "d2m": Variable("2 metre dewpoint temperature", "K", 168),
    "es": Variable("Snow evaporation", "m of water equivalent", 44, accumulated=True),
    "fal": Variable("Forecast albedo", "(0 - 1)", 243),
    "rsn": Variable("Snow density", "kg m**-3", 33),
    "sd": Variable(
        "Snow depth water equivalent", "m of water equivalent", 228141, "lwe_thickness_of_surface_snow_amount"
    ),
    "sde": Variable("Snow depth", "m", 3066, "lwe_thickness_of_surface_snow_amount"),
    "sf": Variable("Snowfall", "m of water equivalent", 144, "lwe_thickness_of_snowfall_amount", True),
    "slhf": Variable("Surface latent heat flux", "J m**-2", 147, "surface_upward_latent_heat_flux", True),
    "smlt": Variable("Snowmelt", "m of water equivalent", 45, accumulated=True),
    "snowc": Variable("Snow cover", "%", 260038),
    "sp": Variable("Surface pressure", "Pa", 134, "surface_air_pressure"),
    "sshf": Variable("Surface sensible heat flux", "J m**-2", 146, "surface_upward_sensible_heat_flux", True),
    "ssr": Variable(
        "Surface net short-wave (solar) radiation", "J m**-2", 176, "surface_net_downward_shortwave_flux", True
    ),
    "ssrd": Variable(
        "Surface short-wave (solar) radiation downwards",
        "J m**-2",
        169,
        "surface_downwelling_shortwave_flux_in_air",
        True,
    ),
    "str": Variable(
        "Surface net long-wave (thermal) radiation", "J m**-2", 177, "surface_net_upward_longwave_flux", True
    ),
    "strd": Variable("Surface long-wave (thermal) radiation downwards", "J m**-2", 175, accumulated=True),
    "t2m": Variable("2 metre temperature", "K", 167),
    "tp": Variable("Total precipitation", "m", 228, accumulated=True),
    "tsn": Variable("Temperature of snow layer", "K", 238, "temperature_in_surface_snow"),
    "u10": Variable("10 metre U wind component", "m s**-1", 165, "eastward_wind"),
    "v10": Variable("10 metre V wind component", "m s**-1", 166, "northward_wind"),
}


@dataclass(frozen=True)
class Reanalysis:
    """Monthly fields on the coarse grid.

    Attributes
    ----------
    grid : Grid
        Cells of 0.1 degree, centred on multiples of 0.1 degree.
    months : (month,), datetime64[M]
    fields : dict of (month, row, column)
        By short name, units as in `VARIABLES`; accumulated ones per day.
    orography_m : (row, column), m
        The model's smooth surface.
    """

    grid: Grid
    months: NDArray[np.datetime64]
    fields: dict[str, NDArray[np.float32]]
    orography_m: Floats


def coarse_grid(dem: Grid) -> Grid:
    """Return the 0.1 degree grid that covers a DEM, but for a hundredth of a cell, and one cell more."""
    west = np.floor(round(dem.west / STEP_DEG, 2)) - 1
    north = np.ceil(round(dem.north / STEP_DEG, 2)) + 1
    east = np.ceil(round((dem.west + dem.step * dem.columns) / STEP_DEG, 2)) + 1
    south = np.floor(round((dem.north - dem.step * dem.rows) / STEP_DEG, 2)) - 1
    columns, rows = int(east - west) + 1, int(north - south) + 1
    return Grid((west - 0.5) * STEP_DEG, (north + 0.5) * STEP_DEG, STEP_DEG, rows, columns)


def smooth_orography(surface: Floats, fine: Grid, coarse: Grid) -> Floats:
    """Sample a blurred surface at the coarse cells, m; cells beyond the DEM take its edge."""
    cells = STEP_DEG / fine.step
    smooth = ndimage.gaussian_filter(surface, 0.75 * cells, mode="nearest")
    longitude, latitude = np.meshgrid(coarse.longitude, coarse.latitude)
    return np.asarray(smooth[fine.index(longitude, latitude)])


def ice_share(ice: NDArray[np.bool_], fine: Grid, coarse: Grid) -> Floats:
    """Share of each coarse cell that is ice."""
    longitude, latitude = np.meshgrid(fine.longitude, fine.latitude)
    row, column = coarse.index(longitude, latitude)
    number = (row * coarse.columns + column).ravel()
    size = coarse.rows * coarse.columns
    cells = STEP_DEG**2 / fine.step**2
    return (np.bincount(number, ice.ravel(), minlength=size) / cells).reshape(coarse.shape)


def simulate(
    rng: np.random.Generator, weather: Weather, fine: Grid, surface: Floats, ice: NDArray[np.bool_], first_month: str
) -> Reanalysis:
    """Run the coarse model and average it over months.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the model's lasting errors.
    weather : Weather
        Daily weather; days before `first_month` spin the snow up.
    fine : Grid
        Grid of `surface` and `ice`.
    surface : (row, column), m
        Real relief.
    ice : (row, column)
        True on glaciers.
    first_month : str
        First month kept, as ``YYYY-MM``.

    Returns
    -------
    Reanalysis
        Monthly means; accumulated variables as monthly means of daily sums.
    """
    coarse = coarse_grid(fine)
    orography = smooth_orography(surface, fine, coarse)
    longitude, latitude = np.meshgrid(coarse.longitude, coarse.latitude)
    warmer, wetter = coarse_error(rng, coarse.shape)
    points = Points(
        longitude=longitude.ravel(),
        latitude=latitude.ravel(),
        elevation=orography.ravel(),
        warmer=warmer.ravel(),
        wetter=wetter.ravel(),
        brighter=np.ones(orography.size),
        model_error=1.0,
    )
    endless = ice_share(ice, fine, coarse).ravel() > GLACIER_SHARE
    columns = Columns(points, _land(orography.size, endless))
    columns.snow[endless] = 10.0
    months, means = _monthly(weather, columns, np.datetime64(first_month, "M"))
    fields = {name: means[:, number].reshape(-1, *coarse.shape) for number, name in enumerate(VARIABLES)}
    return Reanalysis(coarse, months, fields, orography)


def _land(count: int, endless: NDArray[np.bool_]) -> Ground:
    """Snow-free ground of the coarse model."""
    return Ground(np.zeros(count, dtype=bool), np.full(count, 0.19), np.zeros(count), endless)


def _monthly(
    weather: Weather, columns: Columns, first: np.datetime64
) -> tuple[NDArray[np.datetime64], NDArray[np.float32]]:
    """Step through the days; return months and means, (month, variable, cell)."""
    patterns = weather.patterns(columns.points)
    of_day = weather.dates.astype("datetime64[M]")
    months = np.unique(of_day[of_day >= first])
    sums = np.zeros((months.size, len(VARIABLES), columns.points.elevation.size))
    days = np.zeros(months.size)
    for day, month in enumerate((of_day - first).astype(int)):
        today = weather.at(day, columns.points, patterns)
        fluxes = columns.step(today)
        if month >= 0:
            values = _daily(today, fluxes, columns)
            sums[month] += np.stack([values[name] for name in VARIABLES])
            days[month] += 1
    return months, (sums / days[:, None, None]).astype(np.float32)


def _daily(day: Day, fluxes: Fluxes, columns: Columns) -> dict[str, Floats]:
    """Values of one day by short name; sums over the day for accumulated variables."""
    bare = columns.snow < 1e-4
    depth = columns.snow * 1000 / columns.density
    return {
        "asn": np.where(bare, FRESH_ALBEDO - 0.01, columns.snow_albedo),
        "d2m": np.minimum(day.dewpoint_k, day.temperature_k),
        "es": fluxes.exchange,
        "fal": fluxes.albedo,
        "rsn": columns.density,
        "sd": columns.snow,
        "sde": depth,
        "sf": day.snow,
        "slhf": fluxes.latent * DAY_S,
        "smlt": fluxes.snow_melt,
        "snowc": 100 * np.clip(depth / 0.1, 0.0, 1.0),
        "sp": day.pressure_pa,
        "sshf": fluxes.sensible * DAY_S,
        "ssr": fluxes.shortwave * DAY_S,
        "ssrd": day.shortwave * DAY_S,
        "str": fluxes.longwave * DAY_S,
        "strd": day.longwave * DAY_S,
        "t2m": day.temperature_k,
        "tp": day.rain + day.snow,
        "tsn": np.where(bare, np.minimum(fluxes.surface_k, MELTING_K), columns.snow_k),
        "u10": day.east_wind,
        "v10": day.north_wind,
    }
