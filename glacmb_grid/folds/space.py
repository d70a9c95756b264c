"""Positions of samples, distances between them, and spatial clusters of whole groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.spatial import cKDTree

from glacmb_grid import sphere
from glacmb_grid.errors import InputError, listing

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def unit_vectors(samples: xr.Dataset, *, whole: bool = True) -> Floats:
    """Positions of samples on the unit sphere, (sample, 3); unless `whole`, NaN where a position is missing.

    Raises
    ------
    InputError
        If `whole` and any sample lacks `longitude` and `latitude` (or `row_longitude` and `row_latitude`).
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
    longitude, latitude = np.asarray(longitude, np.float64), np.asarray(latitude, np.float64)
    bad = ~(np.isfinite(longitude) & (np.abs(np.deg2rad(latitude)) <= np.pi / 2))
    if whole and bad.any():
        raise InputError(
            "samples: longitude, latitude",
            expected="the position of every sample, degrees",
            found=f"none for {int(bad.sum())} of {len(bad)}: {listing(samples['sample'].values[bad], 3)}",
            remedy="name the columns of longitude and latitude, or leave out spatial blocks and distances",
        )
    return sphere.unit_vectors(np.where(bad, np.nan, longitude), latitude)


def nearest_km(of: Floats, to: Floats) -> Floats:
    """Great-circle distance from every position to the nearest of another set, km; both are unit vectors, (..., 3)."""
    if not len(to):
        return np.full(len(of), np.inf)
    sites, number = _sites(of)
    chord = cKDTree(_sites(to)[0]).query(sites)[0]
    return sphere.arc_km(chord)[number]


def _sites(xyz: Floats) -> tuple[Floats, Codes]:
    """Distinct positions, and the number of the one of each row: trees of many equal points are slow."""
    number = np.asarray(pd.DataFrame(xyz).groupby([0, 1, 2], sort=False).ngroup(), np.int64)
    first = np.unique(number, return_index=True)[1]
    return xyz[first], number


def spatial_clusters(xyz: Floats, group: Codes, parts: int) -> Codes:
    """Compact clusters of whole groups, numbered from 0, (row,): k-means of the groups' mean positions.

    The first clusters come from bisection into parts of nearly equal numbers of rows, so nothing is random.
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
    """Recursive bisection of points across their longest axis; part of every point, (point,)."""
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
