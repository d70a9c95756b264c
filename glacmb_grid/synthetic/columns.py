"""Energy, snow and ice of many columns at once, one day a step: no temperature index anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .climate import Day, Points, vapour_pressure
from .terrain import Floats

STEFAN = 5.670374e-8  # W m-2 K-4
FUSION = 3.34e5  # J kg-1
SUBLIMATION = 2.834e6  # J kg-1
DAY_S = 86_400.0
MELTING_K = 273.15
FRESH_ALBEDO, OLD_ALBEDO, WET_ALBEDO = 0.86, 0.70, 0.50


@dataclass(frozen=True)
class Ground:
    """What lies under the snow.

    Attributes
    ----------
    ice : (point,)
        True for glacier ice, False for land.
    albedo : (point,)
        Albedo of bare ground, ice or debris.
    insulation : (point,)
        Share of the ice melt that debris prevents.
    endless : (point,)
        Snow held at 10 m w.e., as ERA5-Land does on glaciers.
    """

    ice: NDArray[np.bool_]
    albedo: Floats
    insulation: Floats
    endless: NDArray[np.bool_]


@dataclass(frozen=True)
class Fluxes:
    """What a day did; radiation and heat in W m-2, positive towards the surface, water in m w.e. per day.

    Attributes
    ----------
    shortwave, longwave, sensible, latent : (point,), W m-2
        Net radiation and turbulent heat.
    melt, snow_melt : (point,), m w.e. per day
        All melt; melt of snow only.
    exchange : (point,), m w.e. per day
        Sublimation (negative) or deposition (positive) on snow and ice.
    surface_k : (point,), K
        Temperature of the surface.
    albedo : (point,)
        Of snow and ground together.
    """

    shortwave: Floats
    longwave: Floats
    sensible: Floats
    latent: Floats
    melt: Floats
    snow_melt: Floats
    exchange: Floats
    surface_k: Floats
    albedo: Floats


@dataclass
class Columns:
    """State of the columns.

    Attributes
    ----------
    points : Points
        Their locations.
    ground : Ground
        What lies under the snow.
    snow : (point,), m w.e.
        Seasonal snow.
    cold : (point,), J m-2
        Heat that warms snow and ice to the melting point; melt water that meets it refreezes.
    snow_albedo, bare_albedo : (point,)
        Of the snow; of what lies under it (firn, ice, debris, land).
    density : (point,), kg m-3
        Of the snow.
    snow_k : (point,), K
        Temperature of the snow layer.
    """

    points: Points
    ground: Ground
    snow: Floats = field(init=False)
    cold: Floats = field(init=False)
    snow_albedo: Floats = field(init=False)
    bare_albedo: Floats = field(init=False)
    density: Floats = field(init=False)
    snow_k: Floats = field(init=False)

    def __post_init__(self) -> None:
        """Start bare and at the melting point."""
        count = self.points.elevation.size
        self.snow, self.cold = np.zeros(count), np.zeros(count)
        self.snow_albedo = np.full(count, FRESH_ALBEDO)
        self.bare_albedo = self.ground.albedo.copy()
        self.density, self.snow_k = np.full(count, 100.0), np.full(count, MELTING_K)

    def close_year(self) -> None:
        """On 1 October: what snow is left on ice becomes firn (bright ground), or old firn wears off."""
        left = np.clip(self.snow / 0.4, 0.0, 1.0) * self.ground.ice
        aged = self.bare_albedo + 0.4 * (self.ground.albedo - self.bare_albedo)
        self.bare_albedo = aged + left * (np.maximum(aged, 0.52) - aged)
        self.snow = np.where(self.ground.ice, 0.0, self.snow)

    def step(self, day: Day) -> Fluxes:
        """Advance by one day.

        Parameters
        ----------
        day : Day
            Weather at the points.

        Returns
        -------
        Fluxes
            Fluxes of the day.
        """
        self._settle(day)
        cover = np.clip(self.snow / 0.015, 0.0, 1.0)
        albedo = cover * self.snow_albedo + (1 - cover) * self.bare_albedo
        frozen = np.where(self.ground.ice, 1.0, cover)
        shortwave = day.shortwave * (1 - albedo)
        cold_surface = _frozen_surface(day, shortwave)
        land_k, land_latent = _land_surface(day, shortwave)
        surface_k = frozen * cold_surface.surface_k + (1 - frozen) * land_k
        melt, snow_melt = self._melt(cold_surface.surplus, frozen, cover)
        latent = frozen * cold_surface.latent + (1 - frozen) * land_latent
        exchange = np.maximum(frozen * cold_surface.latent * DAY_S / SUBLIMATION / 1000, -self.snow - self.ground.ice)
        self.snow = np.maximum(self.snow + np.where(cover > 0, exchange, 0.0), 0.0)
        self._age(surface_k, snow_melt)
        return Fluxes(
            shortwave=shortwave,
            longwave=day.longwave - STEFAN * surface_k**4,
            sensible=_conductance(day) * (day.temperature_k - surface_k),
            latent=latent,
            melt=melt,
            snow_melt=snow_melt,
            exchange=exchange,
            surface_k=surface_k,
            albedo=albedo,
        )

    def _settle(self, day: Day) -> None:
        """Add new snow: brighten and loosen the pack."""
        renewed = np.clip(day.snow / 0.006, 0.0, 1.0)
        self.snow_albedo += renewed * (FRESH_ALBEDO - self.snow_albedo)
        fresh_density = np.clip(120.0 + 4.0 * (day.temperature_k - 263.0), 80.0, 170.0)
        total = np.maximum(self.snow + day.snow, 1e-9)
        self.density = (self.density * self.snow + fresh_density * day.snow + 100.0 * 1e-9) / (total + 1e-9)
        self.density = np.where(self.snow + day.snow < 1e-5, 100.0, self.density)
        self.snow = self.snow + day.snow

    def _melt(self, surplus: Floats, frozen: Floats, cover: Floats) -> tuple[Floats, Floats]:
        """Spend the day's surplus at the melting point (W m-2) on cold content, snow, then ice."""
        energy = surplus * DAY_S * frozen
        most = 2.0e6 * np.minimum(self.snow / 0.3 + 0.8 * self.ground.ice, 3.0)
        self.cold = np.minimum(self.cold + 0.3 * np.maximum(-energy, 0.0), most)
        warming = np.minimum(np.maximum(energy, 0.0), self.cold)
        self.cold = self.cold - warming
        possible = (np.maximum(energy, 0.0) - warming) / FUSION / 1000
        snow_melt = np.minimum(possible, self.snow)
        ice_melt = np.where(self.ground.ice, (possible - snow_melt) * (1 - self.ground.insulation), 0.0)
        self.snow = np.where(self.ground.endless, 10.0, self.snow - snow_melt)
        return snow_melt + ice_melt, snow_melt

    def _age(self, surface_k: Floats, snow_melt: Floats) -> None:
        """Darken and compact the snow, let its temperature follow the surface."""
        wet = snow_melt > 1e-4
        to = np.where(wet, WET_ALBEDO, np.minimum(self.snow_albedo, OLD_ALBEDO))
        self.snow_albedo += np.where(wet, 0.095, 0.035) * np.minimum(to - self.snow_albedo, 0.0)
        self.density += np.where(wet, 0.04, 0.009) * np.maximum(np.where(wet, 420.0, 300.0) - self.density, 0.0)
        self.density = np.where(self.ground.endless, 300.0, self.density)
        self.snow_k += 0.2 * (np.minimum(surface_k, MELTING_K) - self.snow_k)


@dataclass(frozen=True)
class _Frozen:
    """Surface of snow or ice: temperature, K, latent heat and surplus at the melting point, W m-2."""

    surface_k: Floats
    latent: Floats
    surplus: Floats


def _conductance(day: Day) -> Floats:
    """Bulk transfer of sensible heat, W m-2 K-1."""
    air = day.pressure_pa / (287.05 * day.temperature_k)
    return air * 1005.0 * 0.0017 * day.wind


def _latent(day: Day, surface_celsius: Floats) -> Floats:
    """Latent heat towards a frozen surface, W m-2."""
    lack = vapour_pressure(day.dewpoint_k - 273.15) - vapour_pressure(surface_celsius)
    return _conductance(day) / 1005.0 * SUBLIMATION * 0.622 * lack / day.pressure_pa


def _frozen_surface(day: Day, shortwave: Floats) -> _Frozen:
    """Balance a surface that cannot be warmer than the melting point (one linear step below it)."""
    exchange = _conductance(day)
    zero = np.zeros_like(shortwave)
    rain_heat = day.rain * 1000 * 4186 / DAY_S * np.maximum(day.temperature_k - MELTING_K, 0.0)
    radiation = shortwave + day.longwave - STEFAN * MELTING_K**4
    surplus = radiation + exchange * (day.temperature_k - MELTING_K) + _latent(day, zero) + rain_heat
    stiffness = 4 * STEFAN * 265.0**3 + 1.5 * exchange
    surface_celsius = np.clip(surplus / stiffness, -45.0, 0.0)
    return _Frozen(surface_celsius + MELTING_K, _latent(day, surface_celsius), surplus)


def _land_surface(day: Day, shortwave: Floats) -> tuple[Floats, Floats]:
    """Temperature, K, and latent heat, W m-2, of snow-free land."""
    radiation = shortwave + day.longwave - STEFAN * day.temperature_k**4
    latent = -0.4 * np.maximum(radiation, 0.0)
    stiffness = 4 * STEFAN * day.temperature_k**3 + _conductance(day) + 6.0
    return day.temperature_k + (radiation + latent) / stiffness, latent
