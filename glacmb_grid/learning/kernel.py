"""The kernel of the structured Gaussian process: the prior covariance of the balances of two glacier-years.

The balance is a constant plus a sum of independent Gaussian processes, one for each reason why two glacier-years are
alike: the same weather, the same surroundings, the same glacier, the same year, a neighbour in the same year.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glacmb_grid.vocabulary import EARTH_RADIUS

Floats = npt.NDArray[np.float64]

# Term -> the factors whose product is its correlation. All terms share the length of a factor that ends in `_near`.
TERMS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "weather_linear": ("weather_product",),
    "weather": ("weather_near",),
    "static_linear": ("static_product",),
    "static": ("static_near",),
    "static_weather": ("static_near", "weather_product"),
    "position": ("position_near",),
    "glacier": ("same_glacier",),
    "glacier_weather": ("same_glacier", "weather_product"),
    "glacier_smooth": ("same_glacier", "year_near"),
    "smooth": ("year_near",),
    "position_smooth": ("position_near", "year_near"),
    "year": ("same_year",),
    "year_static": ("same_year", "static_near"),
    "year_position": ("same_year", "position_near"),
}
LENGTHS = ("weather_near", "static_near", "position_near", "year_near")
USUAL = (
    "constant",
    "weather_linear",
    "weather",
    "static_linear",
    "static",
    "glacier",
    "glacier_weather",
    "glacier_smooth",
    "smooth",
    "year",
    "year_position",
)
# What is known of a year is said by its weather, the measured glaciers of that year, and a slow trend that all share.
_YEAR_LEVEL = ("constant", "weather_linear", "weather", "glacier", "glacier_weather", "smooth", "year")
KERNELS: dict[str, tuple[str, ...]] = {
    "usual": USUAL,
    "year_level": _YEAR_LEVEL,
    "without_slow_change": tuple(t for t in USUAL if "year_near" not in TERMS[t]),
    "without_position": tuple(t for t in USUAL if "position_near" not in TERMS[t]),
}
"""Kernels by name, as the settings of the Gaussian process list them."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of glacier-years; only positions may have gaps.

    Attributes
    ----------
    weather : float64 array, (row, a)
        Standardised values that vary from year to year at a glacier.
    static : float64 array, (row, b)
        Standardised values that do not vary: topography, climatological means.
    glacier, year : arrays, (row,)
    position : float64 array, (row, 2), optional
        Longitude and latitude in degrees; a row without one (NaN) has no neighbours.
    """

    weather: Floats
    static: Floats
    glacier: npt.NDArray[np.generic]
    year: npt.NDArray[np.generic]
    position: Floats | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.glacier)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.integer]) -> Inputs:
        """Some of the rows, by a mask or by index."""
        position = None if self.position is None else self.position[rows]
        return Inputs(self.weather[rows], self.static[rows], self.glacier[rows], self.year[rows], position)


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters.

    Attributes
    ----------
    names : tuple of str
        A term (then the value is its amplitude, m w.e.), a factor of `LENGTHS` (its length), or `noise` (m w.e.).
    values : float64 array, (hyper,)
    """

    names: tuple[str, ...]
    values: Floats

    def __getitem__(self, name: str) -> float:
        """One of the values."""
        return float(self.values[self.names.index(name)])

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms among the names."""
        return tuple(n for n in self.names if n in TERMS)


def covariance(hyper: Hyper, one: Inputs, other: Inputs, *, same_rows: bool = False) -> Floats:
    """Prior covariance without noise, (row of one, row of other), (m w.e.)2."""
    factors = {f: raw_factor(f, one, other, same_rows) for t in hyper.terms for f in TERMS[t]}
    for name in factors.keys() & set(LENGTHS):
        factors[name] = np.exp(near_factor(name, factors[name], hyper[name])[0])
    total = np.zeros((len(one), len(other)))
    for term in hyper.terms:
        part: Floats | float = hyper[term] ** 2
        for name in TERMS[term]:
            part = part * factors[name]
        total += part
    return total


def _columns(factor: str, inputs: Inputs) -> Floats:
    """The inputs of a weather or static factor, (row, column)."""
    return inputs.weather if factor.startswith("weather") else inputs.static


def raw_factor(name: str, one: Inputs, other: Inputs, same_rows: bool) -> Floats:
    """Equality, product or squared distance (positions: km) of rows, (row of one, row of other)."""
    if name in ("weather_product", "static_product"):
        x, y = _columns(name, one), _columns(name, other)
        return np.asarray(x @ y.T / max(x.shape[1], 1))
    if name in ("weather_near", "static_near"):
        x, y = _columns(name, one), _columns(name, other)
        return np.asarray(_square_distance(x, y) / max(x.shape[1], 1))
    if name == "year_near":
        return np.asarray((one.year.astype(np.float64)[:, None] - other.year.astype(np.float64)) ** 2)
    if name == "position_near":
        x, y = _kilometres(one), _kilometres(other)
        distance = np.sqrt(_square_distance(np.nan_to_num(x), np.nan_to_num(y)))
        distance[np.isnan(x[:, 0])] = np.inf
        distance[:, np.isnan(y[:, 0])] = np.inf
        if same_rows:
            np.fill_diagonal(distance, 0.0)
        return distance
    left, right = (i.glacier if name == "same_glacier" else i.year for i in (one, other))
    return np.asarray(np.equal(left[:, None], right), dtype=np.float64)


def _kilometres(inputs: Inputs) -> Floats:
    """Positions as points on the sphere, (row, 3), km."""
    position = np.full((len(inputs), 2), np.nan) if inputs.position is None else inputs.position
    longitude, latitude = np.deg2rad(position).T
    axes = [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]
    return np.asarray(np.stack(axes, axis=1) * (EARTH_RADIUS / 1000))


def _square_distance(one: Floats, other: Floats) -> Floats:
    """Squared distances of points, (row of one, row of other)."""
    squares = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1) - 2 * one @ other.T
    return np.asarray(np.maximum(squares, 0.0))


def near_factor(name: str, distance: Floats, length: float) -> tuple[Floats, Floats]:
    """Log of the correlation, and its derivative with respect to the log of the length, from raw distances.

    Exponential in the distance of positions (along the chord, which keeps it a covariance), else Gaussian.
    """
    if name == "position_near":
        ratio = distance / length
        return -ratio, np.where(np.isfinite(ratio), ratio, 0.0)
    squares = distance / length**2
    return -0.5 * squares, squares
