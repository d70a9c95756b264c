"""Daily weather of the synthetic region: one generator for glaciers, land and the coarse model grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .terrain import NORTH, POSTING, WEST, Floats, noise

CENTRE = WEST + 0.75 - POSTING / 2, NORTH - 0.4 + POSTING / 2  # degree, of the patterns
MODES = 7  # spatial patterns, the first one uniform


@dataclass(frozen=True)
class Points:
    """Places where weather is wanted.

    Attributes
    ----------
    longitude, latitude : (point,), degree
    elevation : (point,), m
    warmer : (point,), K
        Lasting departure of air temperature.
    wetter : (point,)
        Lasting factor of precipitation.
    brighter : (point,)
        Lasting factor of incoming shortwave radiation.
    model_error : float
        Share of the reanalysis' own error that is felt (1 on the coarse grid, 0 in nature).
    """

    longitude: Floats
    latitude: Floats
    elevation: Floats
    warmer: Floats
    wetter: Floats
    brighter: Floats
    model_error: float


@dataclass(frozen=True)
class Day:
    """Daily means at all points; radiation and wind in W m-2 and m s-1, precipitation in m w.e. per day."""

    temperature_k: Floats
    dewpoint_k: Floats
    pressure_pa: Floats
    rain: Floats
    snow: Floats
    shortwave: Floats
    longwave: Floats
    wind: Floats
    east_wind: Floats
    north_wind: Floats


@dataclass(frozen=True)
class Weather:
    """Drawn series; `at` evaluates them.

    Attributes
    ----------
    dates : (day,), datetime64[D]
    warmth : (day, mode), K
        Anomaly of temperature, by spatial pattern.
    moisture : (day, mode)
        Standard-normal-like wetness, by spatial pattern.
    wind : (day, 2), m s-1
        Eastward and northward wind at 3000 m.
    error : (day, mode), K
        Error of the reanalysis' temperature; a tenth of it is its error of log precipitation.
    wave : (mode, 3)
        Wavenumbers (per degree east and north) and phase of the patterns.
    """

    dates: np.ndarray[tuple[int], np.dtype[np.datetime64]]
    warmth: Floats
    moisture: Floats
    wind: Floats
    error: Floats
    wave: Floats

    def patterns(self, points: Points) -> Floats:
        """Spatial patterns at points, (mode, point)."""
        east, north = points.longitude - CENTRE[0], points.latitude - CENTRE[1]
        waves = np.cos(self.wave[:, :1] * east + self.wave[:, 1:2] * north + self.wave[:, 2:])
        waves[0] = 1.0
        return waves

    def phase(self, day: int) -> float:
        """Season as an angle: 0 on 20 January, pi on 21 July."""
        date = self.dates[day]
        of_year = (date - date.astype("datetime64[Y]").astype("datetime64[D]")).astype(int)
        return float(2 * np.pi * (of_year - 20) / 365.25)

    def at(self, day: int, points: Points, patterns: Floats) -> Day:
        """Weather of one day at points.

        Parameters
        ----------
        day : int
            Position in `dates`.
        points : Points
            Places.
        patterns : (mode, point)
            From `patterns`.

        Returns
        -------
        Day
            Daily means.
        """
        phase = self.phase(day)
        error = points.model_error * (self.error[day] @ patterns)
        above = points.elevation - 3000.0
        lapse = 0.0062 - 0.0012 * np.cos(phase)  # weaker in winter, K per m
        celsius = 1.5 - 12.0 * np.cos(phase) + self.warmth[day] @ patterns + error + points.warmer - lapse * above
        wet = self.moisture[day] @ patterns
        precipitation = _precipitation(wet, phase) * points.wetter * np.exp(0.1 * error + _lift(above))
        cloud = 1 / (1 + np.exp(-1.6 * (wet - 0.35)))
        solid = np.clip((2.6 - celsius) / 3.4, 0.0, 1.0)
        dewpoint = celsius - 2.0 - 8.0 * (1 - cloud) - 0.0008 * np.maximum(above, 0)
        kelvin = celsius + 273.15
        clear = 0.23 + 0.443 * (vapour_pressure(dewpoint) / kelvin) ** 0.125  # emissivity, Konzelmann et al. 1994
        emissivity = clear * (1 - cloud**2) + 0.96 * cloud**2
        through = (0.70 + 3.2e-5 * points.elevation) * (1 - 0.62 * cloud**1.3)
        east, north = self.wind[day] * 1.0
        faster = 1 + 1.2e-4 * above
        return Day(
            temperature_k=kelvin,
            dewpoint_k=dewpoint + 273.15,
            pressure_pa=101325 * (1 - 2.25577e-5 * points.elevation) ** 5.2559 + 150 * self.wind[day, 0],
            rain=precipitation * (1 - solid),
            snow=precipitation * solid,
            shortwave=top_of_atmosphere(points.latitude, phase) * through * points.brighter,
            longwave=emissivity * 5.670374e-8 * kelvin**4,
            wind=np.maximum(np.hypot(east, north) * faster, 0.4),
            east_wind=east * faster,
            north_wind=north * faster,
        )


def vapour_pressure(celsius: Floats) -> Floats:
    """Saturation vapour pressure over water, Pa, of a temperature in degree Celsius (Magnus)."""
    return np.asarray(611.2 * np.exp(17.62 * celsius / (243.12 + celsius)))


def _precipitation(wet: Floats, phase: float) -> Floats:
    """Precipitation at 3000 m, m w.e. per day: storms where wetness is high, most in early summer."""
    season = 1.0 - 0.62 * np.cos(phase + 0.45)
    return np.asarray(0.0041 * season * np.maximum(wet - 0.15, 0.0) ** 1.35)


def _lift(above: Floats) -> Floats:
    """Natural logarithm of the increase of precipitation with height above 3000 m."""
    return 0.00033 * np.clip(above, -1200.0, 2200.0)


def top_of_atmosphere(latitude: Floats, phase: float) -> Floats:
    """Daily mean solar radiation outside the atmosphere, W m-2.

    Parameters
    ----------
    latitude : (point,), degree
        Place.
    phase : float, radian
        Season, 0 on 20 January.

    Returns
    -------
    (point,)
        Radiation.
    """
    season = phase + 2 * np.pi * 20 / 365.25
    declination = np.deg2rad(-23.44 * np.cos(season + 2 * np.pi * 10 / 365.25))
    radian = np.deg2rad(latitude)
    hour = np.arccos(np.clip(-np.tan(radian) * np.tan(declination), -1, 1))
    light = hour * np.sin(radian) * np.sin(declination) + np.cos(radian) * np.cos(declination) * np.sin(hour)
    return np.asarray(1361.0 / np.pi * (1 + 0.033 * np.cos(season)) * light)


def _memory(rng: np.random.Generator, steps: int, columns: int, days: float) -> Floats:
    """Draw autoregressive series with unit variance and an e-folding time."""
    keep = np.exp(-1 / days)
    draw = rng.standard_normal((steps, columns)) * np.sqrt(1 - keep**2)
    draw[0] = rng.standard_normal(columns)
    for step in range(1, steps):
        draw[step] += keep * draw[step - 1]
    return np.asarray(draw)


def _slow(rng: np.random.Generator, days: int, columns: int) -> Floats:
    """Seasonal, yearly and multi-year anomalies together, unit variance each about 1/3."""
    parts = [_memory(rng, days, columns, scale) for scale in (45.0, 200.0, 1100.0)]
    return np.asarray(0.72 * parts[0] + 0.55 * parts[1] + 0.42 * parts[2])


def draw_weather(rng: np.random.Generator, first: str, last: str) -> Weather:
    """Draw a weather that is covariant in space and time.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    first, last : str
        Dates, both included, as ``YYYY-MM-DD``.

    Returns
    -------
    Weather
        Daily series.
    """
    dates = np.arange(np.datetime64(first, "D"), np.datetime64(last, "D") + np.timedelta64(1, "D"))
    days = dates.size
    share = np.r_[1.0, np.full(MODES - 1, 0.16)]
    warm_slow, wet_slow = _slow(rng, days, MODES), _slow(rng, days, MODES)
    storm = _memory(rng, days, MODES, 1.7)
    warm_fast = _memory(rng, days, MODES, 4.0)
    trend = 0.028 * (dates - dates[0]).astype(float)[:, None] / 365.25
    warmth = share * (0.85 * warm_slow + 2.4 * warm_fast - 0.9 * np.maximum(storm, -1.0))
    warmth[:, :1] += trend - trend.mean()
    moisture = share * (storm + 0.30 * wet_slow - 0.06 * warm_slow)
    wind = np.column_stack(
        [3.2 + 2.2 * warm_fast[:, 0] * 0.3 + 1.9 * storm[:, 1], 1.7 * _memory(rng, days, 1, 2.5)[:, 0]]
    )
    error = share * np.r_[1.0, np.full(MODES - 1, 3.0)] * 0.28 * _memory(rng, days, MODES, 25.0)
    wave = np.column_stack([rng.normal(0, 3.5, MODES), rng.normal(0, 4.5, MODES), rng.uniform(0, 2 * np.pi, MODES)])
    return Weather(dates, warmth, moisture, wind, error, wave)


def coarse_error(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Draw the lasting errors of the reanalysis.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    shape : (int, int)
        Rows and columns of the coarse grid.

    Returns
    -------
    warmer : (row, column), K
        Bias of temperature.
    wetter : (row, column)
        Factor of precipitation (wet on average, as ERA5-Land is in High Mountain Asia).
    """
    return 0.35 * noise(rng, shape, 1.5), 1.15 * np.exp(0.07 * noise(rng, shape, 1.5))
