"""The temperature index inside a network: it changes the index's parameters, within bounds, row by row.

The balance is that of `degree_days.balance`, written for JAX, so that training differentiates through it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from glacmb_grid.learning.degree_days import SETTINGS, balance_of
from glacmb_grid.learning.nets.module import FeedForward
from glacmb_grid.vocabulary import MELTING_POINT

CHANGES = ("ice_factor", "snow_factor", "precipitation_factor", "temperature_bias")
"""What the network changes: factors of the first three parameters, an addition to the last."""
WEATHER = 2
"""How many inputs changes by month have."""
_WARMTH, _WATER = 10.0, 0.1  # K and m w.e.: scales of a month's weather, which nothing is fitted for
_DRIEST = 1e-6  # factor of precipitation; that of padding is 0
_FARTHEST = 2.0  # such scales from the melting point, beyond which temperatures count as equal


class Forcing(NamedTuple):
    """The weather and hypsometry of rows.

    `share` is the weight of a row in the penalty: one over the number of rows, and 0 for padding.
    """

    temperature: Any  # (month, row), degrees Celsius at the height of the orography
    water: Any  # (month, row), snowfall or precipitation, m w.e.
    days: Any  # (month, row)
    height: Any  # (band, row), m above the orography
    share: Any  # (row,)


class Index(NamedTuple):
    """The index that a net changes. Nets that train side by side have a leading axis.

    What differs from row to row beside it, `local` (4, row): the bias of the temperature, K, the factor of the
    precipitation, and the factor and the shift, m w.e., that calibrate the balance.
    """

    base: Any  # (3,) as fitted: degree-day factor of ice, ratio of that of snow, gradient of precipitation, km-1
    bounds: Any  # (change,) on logarithms of factors, and on the bias in K
    scale: Any  # m w.e. per unit of the target
    penalty: Any
    months: Any = None  # 1: its changes depend on the month too, 0: they do not; None: those of no net do


def forcing_arrays(forcing: dict[str, npt.NDArray[np.float64]]) -> Forcing:
    """The arrays of `degree_days.forcing_of`, row last, in single precision."""
    water = forcing["snowfall"] if "snowfall" in forcing else forcing["precipitation"]
    height = forcing["hypsometry"] - forcing["orography"][:, None]
    arrays = (forcing["temperature"] - MELTING_POINT, water, forcing["days"], height)
    share = np.full(len(height), 1 / max(len(height), 1), np.float32)
    temperature, amount, days, above = (np.ascontiguousarray(a.T, np.float32) for a in arrays)
    return Forcing(temperature, amount, days, above, share)


def index_arrays(base: Any, bounds: Any, scale: Any, penalty: Any, months: Any = None) -> Index:
    """The indices of nets, from bases (net, 3), factors and a bias (net, 4), scales, penalties and months (net,)."""
    limits = np.array(bounds, np.float64)
    limits[:, :3] = np.log(limits[:, :3])
    given = (base, limits, scale, penalty) if months is None else (base, limits, scale, penalty, months)
    return Index(*(np.asarray(a, np.float32) for a in given))


@jax.custom_jvp
def positive(mean: jax.Array, spread: float) -> jax.Array:
    """Expected positive part of a Gaussian temperature, see `physics.positive_temperature`."""
    scaled = mean / spread
    return jnp.asarray(mean * below(scaled) + spread * jnp.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi))


@positive.defjvp
def _positive_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[jax.Array, jax.Array]:
    """Its derivative is the probability of a positive temperature; `spread` is a constant."""
    return positive(*primals), jnp.asarray(below(primals[0] / primals[1]) * tangents[0])


def below(value: jax.Array) -> jax.Array:
    """Standard normal distribution function."""
    return jnp.asarray(0.5 + 0.5 * jax.lax.erf(value * np.float32(np.sqrt(0.5))))


def weather_of_months(forcing: Forcing, lapse_rate: float) -> jax.Array:
    """What changes by month depend on, (input, month, row): temperature and water of each month, on fixed scales.

    The temperature is that at the mean height of the bands; the root of the water is taken.
    """
    warmth = (forcing.temperature + lapse_rate * forcing.height.mean(axis=0)) / _WARMTH
    water = jnp.sqrt(jnp.maximum(forcing.water, 0.0) / _WATER) - 1.0
    return jnp.stack([jnp.clip(warmth, -_FARTHEST, _FARTHEST), jnp.minimum(water, _FARTHEST)])


class Monthly(nn.Module):
    """A linear map from the weather of a month to changes of the parameters, for all months and rows; 0 at first."""

    @nn.compact
    def __call__(self, weather: jax.Array) -> jax.Array:
        """Changes (change, month, row), before bounds, by weather (input, month, row)."""
        kernel = self.param("kernel", nn.initializers.zeros, (len(CHANGES), len(weather)))
        return jnp.asarray((kernel[:, :, None, None] * weather).sum(axis=1))


def month_on_bands(
    month: Any, water: Any, bias: Any, height: Any, fixed: dict[str, float], snowfall: bool
) -> tuple[jax.Array, jax.Array]:
    """Snowfall, m w.e., and degree days, K d, of a month on bands, (band, row).

    `month` are its temperature, water and days; `height` is in K.
    """
    warmth = month[0] + bias + height
    degree_days = positive(warmth, fixed["temperature_spread"]) * month[2]
    solid = water * month[1]
    if not snowfall:
        solid = solid * below((fixed["snow_threshold"] - warmth) / fixed["snow_spread"])
    return jnp.asarray(solid), jnp.asarray(degree_days)


def balance(
    forcing: Forcing, factors: Any, bias: Any, fixed: dict[str, float], snowfall: bool, gradient: Any = 0.0
) -> jax.Array:
    """Annual balance of rows, (row,), m w.e., of the parameters of each row.

    Parameters
    ----------
    forcing : Forcing
    factors : sequence of three arrays, (row,)
        Degree-day factors of ice and of snow (m w.e. K-1 d-1), precipitation factor.
    bias : (row,)
        Added to the temperature, K.
    fixed : dict
        The settings of `degree_days.balance`.
    snowfall : bool
        Whether the water of the forcing is snowfall.
    gradient : float
        Of the logarithm of the precipitation with height, km-1.

    Notes
    -----
    It can be differentiated with respect to factors and bias, in reverse mode.
    """
    known = tuple(fixed[n] for n in SETTINGS), snowfall
    factors = tuple(jnp.broadcast_to(f, jnp.shape(bias)) for f in factors)
    return jnp.asarray(_balance(known, forcing, gradient, factors, bias))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _balance(known: tuple[Any, ...], forcing: Forcing, gradient: Any, factors: Any, bias: Any) -> jax.Array:
    """See `balance`."""
    fixed, snowfall = dict(zip(SETTINGS, known[0], strict=True)), known[1]
    ice, snow, precipitation = factors
    water = precipitation * jnp.exp(gradient * forcing.height / 1000)
    height = fixed["lapse_rate"] * forcing.height
    nothing = jnp.zeros(height.shape)

    def before(year: Any, month: Any) -> tuple[Any, None]:
        """The sums with one more month, the one before; snow is left since the month that leaves most."""
        since, left, fallen, warm = year
        solid, degree_days = month_on_bands(month, water, bias, height, fixed, snowfall)
        since = since + solid - snow * degree_days
        return (since, jnp.maximum(left, since), fallen + solid, warm + degree_days), None

    months = (forcing.temperature, forcing.water, forcing.days)
    (_, left, fallen, warm), _ = jax.lax.scan(before, (nothing,) * 4, months, reverse=True)
    return jnp.asarray(balance_of((fallen, warm), left, ice, 1.0, snow / ice).mean(axis=0))


def _balance_with_slopes(
    known: tuple[Any, ...], forcing: Forcing, gradient: Any, factors: Any, bias: Any
) -> tuple[jax.Array, Any]:
    """Balance of rows and its derivatives, (row,), by the four parameters: in one pass, with nothing kept of months.

    Those of the snow that is left are the sums since the month that leaves most.
    """
    fixed, snowfall = dict(zip(SETTINGS, known[0], strict=True)), known[1]
    ice, snow, precipitation = factors
    water = precipitation * jnp.exp(gradient * forcing.height / 1000)
    height = fixed["lapse_rate"] * forcing.height
    nothing = (jnp.zeros(height.shape),) * 3

    def before(year: Any, month: Any) -> tuple[Any, None]:
        since, left, sums, at = year
        (solid, degree_days), (less, more) = jax.jvp(
            lambda bias: month_on_bands(month, water, bias, height, fixed, snowfall), (bias,), (jnp.ones_like(bias),)
        )
        since = since + solid - snow * degree_days
        added = (solid, degree_days, less - snow * more)
        sums = tuple(a + b for a, b in zip(sums, added, strict=True))
        at = tuple(jnp.where(since > left, a, b) for a, b in zip(sums, at, strict=True))
        return (since, jnp.maximum(left, since), sums, at), None

    months = (forcing.temperature, forcing.water, forcing.days)
    (_, left, sums, at), _ = jax.lax.scan(before, (nothing[0], nothing[0], nothing, nothing), months, reverse=True)
    ratio = snow / ice
    out = balance_of(sums, left, ice, 1.0, ratio).mean(axis=0)
    left, *means = (a.mean(axis=0) for a in (left, *sums, *at))
    fallen, warm, warmer, fallen_at, warm_at, warmer_at = means
    share = 1 - 1 / ratio  # of snow that is left, in the balance
    by_ice = (fallen - left) / snow - warm
    by_snow = -share * warm_at - (fallen - left) / (ratio * snow)
    by_precipitation = (share * fallen_at + fallen / ratio) / jnp.maximum(precipitation, _DRIEST)
    return out, ((by_ice, by_snow, by_precipitation), share * warmer_at + warmer / ratio)


def _slopes(known: tuple[Any, ...], slopes: Any, along: jax.Array) -> tuple[Any, ...]:
    """Of the loss by the parameters; forcing and gradient are not learnt."""
    del known
    return None, None, *jax.tree.map(lambda slope: along * slope, slopes)


_balance.defvjp(_balance_with_slopes, _slopes)


def balance_by_month(
    forcing: Forcing, factors: Any, bias: Any, fixed: dict[str, float], snowfall: bool, gradient: Any = 0.0
) -> jax.Array:
    """Annual balance of rows, (row,), m w.e., of parameters that differ from month to month, (month, row).

    As `balance`, but for a snowpack that is followed from month to month: degree days that it does not use up melt ice,
    each at the factor of its month.
    """
    ice, snow, precipitation = factors
    wetter = jnp.exp(gradient * forcing.height / 1000)
    height = fixed["lapse_rate"] * forcing.height
    nothing = jnp.zeros(height.shape)

    def after(year: Any, month: Any) -> tuple[Any, None]:
        """The snowpack and the melt of ice with one more month."""
        left, melted = year
        *weather, melt, ratio, bias = month
        solid, degree_days = month_on_bands(weather, wetter, bias, height, fixed, snowfall)
        over = left + solid - melt * degree_days
        left = jnp.maximum(over, 0.0)
        return (left, melted + ratio * (left - over)), None

    months = (forcing.temperature, forcing.water * precipitation, forcing.days, snow, ice / snow, bias)
    (left, melted), _ = jax.lax.scan(after, (nothing, nothing), months)
    return jnp.asarray((left - melted).mean(axis=0))


class IndexNet(FeedForward):
    """Network whose outputs change the parameters of a temperature index, or add to its balance.

    Attributes
    ----------
    form : str
        `multipliers`, or `residual`: the balance of the index plus the output.
    fixed : tuple of float
        `degree_days.SETTINGS` of the index.
    snowfall : bool
        Whether the water of the forcing is snowfall.
    months : bool
        Whether the weather of each month changes the parameters in that month too, see `Monthly`.
    """

    form: str = "multipliers"
    fixed: tuple[float, ...] = ()
    snowfall: bool = False
    months: bool = False

    def setup(self) -> None:
        """The part that all months share."""
        if self.months:
            self.monthly = Monthly(name="months")

    def begun(self, values: jax.Array) -> jax.Array:
        """As `sums`, with the parameters of all parts."""
        if self.months:
            self.monthly(jnp.zeros((WEATHER, 1, 1)))
        return self.sums(values)

    def described(self) -> dict[str, Any]:
        """All arguments but the activation, from which it can be made again."""
        own = {"form": self.form, "fixed": self.fixed, "snowfall": self.snowfall, "months": self.months}
        return {**super().described(), **own}

    @property
    def judged(self) -> int:
        """How many of the results are compared with the target: the balance."""
        return 1

    @property
    def starts_from_nothing(self) -> bool:
        """The index is where training starts."""
        return True

    def __call__(
        self, values: jax.Array, depth: Any = None, forcing: Any = None, local: Any = None, index: Any = None
    ) -> jax.Array:
        """Balance over `index.scale`, and every change.

        Changes of parameters are given as shares of their bounds, between -1 and 1; where these differ from month to
        month, all months of the first change come before those of the second.

        Parameters
        ----------
        values, depth
            See `FeedForward`.
        forcing : Forcing
        local : (4, row)
            See `Index`.
        index : Index

        Returns
        -------
        (result, row)
        """
        out = self.sums(values, depth)
        fixed = dict(zip(SETTINGS, self.fixed, strict=True))
        ice, ratio, gradient = index.base
        bias, precipitation, stretch, shift = local
        factors, physics = (ice, ice * ratio, precipitation), balance
        if self.months:
            monthly = index.months * self.monthly(weather_of_months(forcing, fixed["lapse_rate"]))
            out, physics = out[:, None] + monthly, balance_by_month
        if self.form == "multipliers":
            out = jnp.tanh(out)
            change = index.bounds.reshape(-1, *[1] * (out.ndim - 1)) * out
            times = jnp.exp(change[:3])
            factors, bias = tuple(f * t for f, t in zip(factors, times, strict=True)), bias + change[3]
        simulated = shift + stretch * physics(forcing, factors, bias, fixed, self.snowfall, gradient)
        added = out[0] if self.form == "residual" else 0.0
        return jnp.concatenate([(simulated / index.scale + added)[None], out.reshape(-1, out.shape[-1])])
