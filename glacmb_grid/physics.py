"""Expected degree days and snow fraction of a month whose temperatures scatter around their mean."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

Floats = npt.NDArray[np.float64]
SNOW_THRESHOLD, SNOW_SPREAD = 1.0, 2.0  # degrees Celsius, K: half of the precipitation is snow at the threshold


def positive_temperature(mean: npt.ArrayLike, spread: float) -> Floats:
    """Expected positive part of a Gaussian temperature.

    Parameters
    ----------
    mean : array_like, degrees Celsius
    spread : float
        Standard deviation within the month, K; positive.

    Notes
    -----
    ``E[max(T, 0)] = mu Phi(mu / s) + s phi(mu / s)``.

    References
    ----------
    Calov & Greve (2005), A semi-analytical solution for the positive degree-day model with stochastic temperature
    variations, J. Glaciol. 51(172).
    """
    mu = np.asarray(mean, np.float64)
    scaled = mu / spread
    return np.asarray(mu * ndtr(scaled) + spread * np.exp(-0.5 * scaled**2) / np.sqrt(2 * np.pi))


def snow_fraction(mean: npt.ArrayLike, threshold: float, spread: float) -> Floats:
    """Share of precipitation that falls as snow, `mean` and `threshold` in degrees Celsius, `spread` in K."""
    return np.asarray(ndtr((threshold - np.asarray(mean, np.float64)) / spread))
