"""The one sphere for distances between places: positions as unit vectors, great-circle arcs and their chords."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glacmb_grid.vocabulary import EARTH_RADIUS

Floats = npt.NDArray[np.float64]

EARTH_RADIUS_KM = EARTH_RADIUS / 1000


def unit_vectors(longitude: Floats, latitude: Floats) -> Floats:
    """Positions in degrees as points on the unit sphere, (point, 3): neither poles nor turns of longitude matter."""
    east, north = np.deg2rad(longitude), np.deg2rad(latitude)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north) + 0 * east], axis=1)


def arc_km(chord: Floats) -> Floats:
    """Great-circle distance, km, between points of the unit sphere that lie this chord apart."""
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.clip(chord / 2, 0, 1)))
