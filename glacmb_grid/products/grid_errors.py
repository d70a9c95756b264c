"""Uncertainty of sums over the glaciers of a cell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import xarray as xr

from glacmb_grid.products.glacier import error_of_balance
from glacmb_grid.sphere import EARTH_RADIUS_KM, unit_vectors

Floats = npt.NDArray[np.float64]
Correlation = Callable[[Floats], Floats]

_PAIRS = 1 << 22  # of glaciers taken at a time


def error_of_cells(matrix: sp.csr_array, product: xr.Dataset, area: Floats, correlation: Correlation | None) -> Floats:
    """One standard deviation of the sum of area times balance over the glaciers of each cell.

    Parameters
    ----------
    matrix : csr_array, (cell, glacier)
        Shares of the glaciers.
    product : xr.Dataset, (glacier, year)
    area : float64 array, (glacier, year), km2
        0 where there is no balance.
    correlation : callable, optional
        Of the distance, km. Without it from `mass_balance_realizations`, or else as if errors were independent.

    Returns
    -------
    float64 array, (cell, year), km2 m
    """
    if correlation is None and "mass_balance_realizations" in product:
        return _of_draws(matrix, product["mass_balance_realizations"], area)
    loads = np.where(area > 0, area * error_of_balance(product), 0.0)
    if correlation is None:
        return np.asarray(np.sqrt(matrix.multiply(matrix).tocsr() @ loads**2))
    points = EARTH_RADIUS_KM * unit_vectors(product["longitude"].values, product["latitude"].values)
    out = np.empty((matrix.shape[0], area.shape[1]))
    for cell, (start, stop) in enumerate(zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)):
        inside = matrix.indices[start:stop]
        out[cell] = _of_pairs(matrix.data[start:stop, None] * loads[inside], points[inside], correlation)
    return out


def _of_pairs(loads: Floats, points: Floats, correlation: Correlation) -> Floats:
    """One standard deviation of the sum of the glaciers of one cell, (year,)."""
    total = np.zeros(loads.shape[1])
    rows = max(_PAIRS // len(loads), 1)
    for start in range(0, len(loads), rows):
        own = slice(start, start + rows)
        between = points[own, None, :] - points[None, :, :]
        rho = np.asarray(correlation(np.sqrt((between**2).sum(axis=2))), np.float64)
        rho[np.arange(len(rho)), start + np.arange(len(rho))] = 1.0  # with itself, nugget and all
        total += ((rho @ loads) * loads[own]).sum(axis=0)
    return np.asarray(np.sqrt(np.maximum(total, 0)))


def _of_draws(matrix: sp.csr_array, draws: xr.DataArray, area: Floats) -> Floats:
    """Spread over the realizations, one after the other: only sums of cells are kept."""
    count, mean, square = 0, np.zeros((matrix.shape[0], area.shape[1])), np.zeros((matrix.shape[0], area.shape[1]))
    for number in range(draws.sizes["realization"]):
        one = draws.isel(realization=number).transpose("glacier", "year").values.astype(np.float64)
        total = matrix @ np.where(area > 0, one * area, 0.0)
        count += 1
        step = total - mean
        mean += step / count
        square += step * (total - mean)
    return np.asarray(np.sqrt(square / max(count - 1, 1)))
