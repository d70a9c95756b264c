"""How the errors of glaciers and years go together: a model of their correlation, and its published values.

The error of a glacier-year, divided by its standard deviation, has the correlation with that of another, d km and l
years apart,

    rho(d, l) = sum_k share_k exp(-d / range_k) persistence_k^l + nugget [the same glacier and year]

The shares and the nugget sum to 1. A structure whose persistence is 1 is an error that a glacier keeps; one below 1 is
an error of years, autoregressive of order one. d is the distance straight through the sphere (at 1,000 km 0.1 % shorter
than along it), so that the model is a valid covariance for any positions, and no map projection is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from glacmb_grid.errors import InputError
from glacmb_grid.sphere import EARTH_RADIUS_KM, unit_vectors

Floats = npt.NDArray[np.float64]
Source = Literal["estimated", "published", "given"]

_ATTRIBUTE = "error_correlation"


@dataclass(frozen=True)
class Structure:
    """One part of the correlation.

    Attributes
    ----------
    share : float
        Of the variance, 0 to 1.
    range_km : float
        Distance, km, at which the correlation has fallen to 1/e (a variogram's "effective range" is three times it);
        infinite for an error that all glaciers share.
    persistence : float
        Correlation of one year with the next: 1 for an error that a glacier keeps for all years.
    """

    share: float
    range_km: float
    persistence: float

    @property
    def persistent(self) -> bool:
        """Whether the error stays the same in all years."""
        return self.persistence == 1.0


@dataclass(frozen=True)
class ErrorCorrelation:
    """Correlation of the normalised errors of glacier-years.

    Attributes
    ----------
    structures : tuple of Structure
    nugget : float
        Share of the variance that a glacier-year has for itself.
    source : "estimated", "published" or "given"
    reason : str
        A sentence: from what it was estimated, or why published values stand in.
    glaciers, rows : int
        How many it was estimated from.

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> from glacmb_grid.uncertainty.correlation import Structure
    >>> kept, yearly = Structure(0.5, range_km=200, persistence=1.0), Structure(0.3, range_km=100, persistence=0.0)
    >>> correlation = gg.ErrorCorrelation((kept, yearly), nugget=0.2)
    >>> correlation.at([0, 100, 500], lag=0).round(2).tolist()
    [0.8, 0.41, 0.04]
    >>> correlation.at(0, lag=[0, 1, 10]).round(2).tolist()
    [0.8, 0.5, 0.5]
    """

    structures: tuple[Structure, ...]
    nugget: float
    source: Source = "given"
    reason: str = ""
    glaciers: int = 0
    rows: int = 0

    def __post_init__(self) -> None:
        parts = [self.nugget, *(s.share for s in self.structures)]
        valid = all(s.range_km > 0 and 0 <= s.persistence <= 1 for s in self.structures)
        if not (valid and all(p >= 0 for p in parts) and abs(sum(parts) - 1) < 1e-6):
            raise InputError(
                "error correlation",
                expected="shares and a nugget, none below 0, that sum to 1; ranges above 0 km; persistence from 0 to 1",
                found=f"nugget {self.nugget:g}; {', '.join(map(str, self.structures)) or 'no structures'}",
                remedy="divide the shares by their sum",
            )

    def at(self, distance_km: npt.ArrayLike, lag: npt.ArrayLike) -> Floats:
        """Correlation of two glaciers so far apart and so many years apart, without the nugget."""
        d, years = np.asarray(distance_km, np.float64), np.abs(np.asarray(lag, np.float64))
        total = np.zeros(np.broadcast_shapes(d.shape, years.shape))
        for s in self.structures:
            total += s.share * np.exp(-d / s.range_km) * (1.0 if s.persistent else s.persistence**years)
        return total

    @property
    def by_range(self) -> dict[float, tuple[Structure, ...]]:
        """The structures with a share, by their range."""
        ranges = sorted({s.range_km for s in self.structures if s.share > 0})
        return {r: tuple(s for s in self.structures if s.range_km == r and s.share > 0) for r in ranges}

    def to_attrs(self) -> dict[str, str]:
        """As an attribute of a Dataset: JSON."""
        return {_ATTRIBUTE: json.dumps(asdict(self))}

    @classmethod
    def from_attrs(cls, attrs: Mapping[str, Any]) -> ErrorCorrelation:
        """From the attributes of a Dataset.

        Raises
        ------
        InputError
            Without the attribute, or one that is not ours.
        """
        try:
            given = json.loads(attrs[_ATTRIBUTE])
            structures = tuple(Structure(**s) for s in given.pop("structures"))
            return cls(structures=structures, **given)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise InputError(
                f"attributes: {_ATTRIBUTE}",
                expected="the text that ErrorCorrelation.to_attrs writes",
                found=repr(attrs.get(_ATTRIBUTE)),
                remedy="take the attributes of a product, or estimate the correlation: fit_correlation",
            ) from error


INDEPENDENT = ErrorCorrelation((), 1.0, reason="all errors are taken as independent")
"""What a root of a sum of squares assumes."""

# Shares and e-folding ranges (a third of the effective ones) of the errors of annual anomalies
_ANOMALIES = ((0.224308, 5.051675 / 3), (0.140278, 99.85127 / 3), (0.635414, 5000 / 3))
_PERSISTENT = 0.5


def published_correlation(reason: str = "") -> ErrorCorrelation:
    """Correlation of errors from the literature, for where too few residuals are at hand.

    Parameters
    ----------
    reason : str
        Why it is taken, for `reason`.

    Notes
    -----
    In space the correlation of errors of annual anomalies of Dussaillant et al. (2025): 0.70 at 20 km, 0.47 at 500 km.
    They say nothing about years. Half of the variance is taken as an error that a glacier keeps, half as one of single
    years: an assumption, cautious for sums over years.

    References
    ----------
    Dussaillant, I., et al. (2025): Annual mass change of the world's glaciers from 1976 to 2024 by temporal downscaling
    of satellite data with in situ observations. Earth System Science Data, 17, 1977-2006.
    """
    parts = ((share, km, p) for share, km in _ANOMALIES for p in (1.0, 0.0))
    structures = tuple(Structure(s * (_PERSISTENT if p else 1 - _PERSISTENT), km, p) for s, km, p in parts)
    said = (
        "errors of annual anomalies of Dussaillant et al. (2025); half of the variance taken as a glacier's own level"
    )
    return ErrorCorrelation(structures, 0.0, "published", f"{reason}: {said}" if reason else said)


def cartesian_km(longitude: npt.ArrayLike, latitude: npt.ArrayLike) -> Floats:
    """Positions in degrees as points of the sphere, (point, 3), km: their distances are those of the model."""
    return EARTH_RADIUS_KM * unit_vectors(np.asarray(longitude, np.float64), np.asarray(latitude, np.float64))


def checked_points(positions: npt.ArrayLike, number: int) -> Floats:
    """Longitudes and latitudes, (glacier, 2), as points of the sphere, (glacier, 3), km.

    Raises
    ------
    InputError
        Another number of glaciers, or positions that are not finite degrees.
    """
    given = np.asarray(positions, np.float64)
    if given.shape != (number, 2) or not np.isfinite(given).all() or (number and np.abs(given[:, 1]).max() > 90):
        raise InputError(
            "positions",
            expected=f"longitude and latitude in degrees of {number} glaciers, ({number}, 2)",
            found=f"shape {given.shape}, {int((~np.isfinite(given)).sum())} not finite",
            remedy='pass np.column_stack([product["longitude"], product["latitude"]])',
        )
    return cartesian_km(given[:, 0], given[:, 1])
