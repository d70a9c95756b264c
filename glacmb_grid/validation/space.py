"""Positions of samples, distances between them, and spatial clusters of whole groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.spatial import cKDTree

from glacmb_grid.errors import InputError, listing

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

EARTH_RADIUS = 6371.0088
"""km"""


def unit_vectors(samples: xr.Dataset, *, whole: bool = True) -> Floats:
    """Positions of samples on the unit sphere, (sample, 3); where not `whole`, NaN for samples without one.

    Raises
    ------
    InputError
        If `whole`: without `longitude` and `latitude` (or `row_longitude` and `row_latitude`) of every sample.
    """
    known = {*samples.coords, *samples.data_vars}
    if {"longitude", "latitude"} <= known:
        longitude, latitude = samples["longitude"].values, samples["latitude"].values
    elif {"row_longitude", "row_latitude", "operator_row"} <= known:
        row = np.zeros(samples.sizes["sample"], np.int64)
        row[samples["operator_sample"].values[::-1]] = samples["operator_row"].values[::-1]
        longitude, latitude = samples["row_longitude"].values[row], samples["row_latitude"].values[row]
    else:
        longitude = latitude = np.full(samples.sizes["sample"], np.nan)
    east, north = np.radians(np.asarray(longitude, np.float64)), np.radians(np.asarray(latitude, np.float64))
    bad = ~(np.isfinite(east) & (np.abs(north) <= np.pi / 2))
    if whole and bad.any():
        raise InputError(
            "samples: longitude, latitude",
            expected="the position of every sample, degrees",
            found=f"none for {int(bad.sum())} of {len(bad)}: {listing(samples['sample'].values[bad], 3)}",
            remedy="name the columns of longitude and latitude, or do without spatial blocks and distances",
        )
    east = np.where(bad, np.nan, east)
    return np.stack([np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north) + 0 * east], axis=1)


def nearest_km(of: Floats, to: Floats) -> Floats:
    """Great-circle distance from every position to the nearest of another set, km; unit vectors (..., 3)."""
    if not len(to):
        return np.full(len(of), np.inf)
    sites, number = _sites(of)
    chord = cKDTree(_sites(to)[0]).query(sites)[0]
    return np.asarray(2 * EARTH_RADIUS * np.arcsin(np.minimum(chord / 2, 1)))[number]


def _sites(xyz: Floats) -> tuple[Floats, Codes]:
    """Distinct positions, and which of them each row has: a tree of many equal points is slow."""
    number = np.asarray(pd.DataFrame(xyz).groupby([0, 1, 2], sort=False).ngroup(), np.int64)
    first = np.unique(number, return_index=True)[1]
    return xyz[first], number


def spatial_clusters(xyz: Floats, group: Codes, parts: int) -> Codes:
    """Rows of whole groups in compact clusters, numbered from 0, (row,): k-means of the groups' mean positions.

    It starts from bisections into parts of nearly equal numbers of rows, so that nothing is drawn at random.
    """
    _, number, rows = np.unique(group, return_inverse=True, return_counts=True)
    centre = np.stack([np.bincount(number, axis) for axis in xyz.T], axis=1) / rows[:, None]
    part = _bisected(centre, rows, min(parts, len(rows)))
    for _ in range(50):
        means = np.stack(
            [np.average(centre[part == p], axis=0, weights=rows[part == p]) for p in range(part.max() + 1)]
        )
        nearest = np.unique(cKDTree(means).query(centre)[1], return_inverse=True)[1]
        if np.array_equal(nearest, part):
            break
        part = nearest
    return np.asarray(part[number], np.int64)


def _bisected(points: Floats, rows: Codes, parts: int) -> Codes:
    """Points cut in two across their longest axis, again and again; numbers of parts, (point,)."""
    if parts == 1:
        return np.zeros(len(points), np.int64)
    axis = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2][0]
    axis = axis * np.sign(axis[np.abs(axis).argmax()])
    order = np.argsort(points @ axis, kind="stable")
    left = parts // 2
    total = np.cumsum(rows[order])
    cut = int(np.clip(np.searchsorted(total, total[-1] * left / parts) + 1, left, len(points) - (parts - left)))
    part = np.empty(len(points), np.int64)
    part[order[:cut]] = _bisected(points[order[:cut]], rows[order[:cut]], left)
    part[order[cut:]] = left + _bisected(points[order[cut:]], rows[order[cut:]], parts - left)
    return part
