"""Covariance over years of weighted sums of glaciers whose errors are correlated."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from glacmb_grid.checking import checking_arguments
from glacmb_grid.errors import InputError
from glacmb_grid.uncertainty.correlation import ErrorCorrelation, checked_points

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Task = TypeVar("Task")
Method = Literal["auto", "exact", "cells"]

EXACT_UP_TO = 30_000  # glaciers
_BLOCK = 2048  # glaciers of a block of pairs
_ROWS = 256  # cells of a block
_NEAR = 75.0  # km between the centres of cells whose glaciers are taken pair by pair
_CELL = (10.0, 25.0)  # km, least and greatest edge of a cell


@checking_arguments
def propagate(
    correlation: ErrorCorrelation,
    sigma: npt.ArrayLike,
    weights: npt.ArrayLike,
    positions: npt.ArrayLike,
    years: npt.ArrayLike,
    *,
    method: Method = "auto",
) -> Floats:
    """Covariance over years of the weighted sums of the errors of glaciers.

    Parameters
    ----------
    correlation : ErrorCorrelation
    sigma : array, (glacier, year), m
        One standard deviation of each error. NaN: the glacier-year is no part of any sum.
    weights : array, (region, glacier) or (region, glacier, year)
        For instance the area of the glacier, 0 outside of the region; not normalised.
    positions : array, (glacier, 2), degrees
        Longitude and latitude.
    years : array, (year,)
        Numbers of the years, in any order, none twice.
    method : "auto", "exact" or "cells"
        `exact` sums over all pairs of glaciers; `cells` over pairs of near ones, and over pairs of cells of up to 25 km
        beyond; `auto` is exact up to 30,000 glaciers in a region.

    Returns
    -------
    float64 array, (region, year, year)
        In the unit of the weights times m, squared. The variance of a sum over years is the sum of its block.

    Raises
    ------
    InputError
        Arrays that do not fit one another, negative sigmas, weights that are not finite.

    Notes
    -----
    ``cov(t, t') = sum_k share_k r_k(|t - t'|) sum_ij u_it exp(-d_ij / range_k) u_jt' + [t = t'] nugget sum_i u_it^2``
    with u = weight x sigma. A region whose weights are 0 has covariance 0.

    Examples
    --------
    The mean of four glaciers with errors of 0.4 m each: independent errors average out, those of a shared structure
    with a range far beyond their distances do not.

    >>> import numpy as np, glacmb_grid as gg
    >>> sigma, weights = np.full((4, 1), 0.4), np.full((1, 4), 0.25)
    >>> positions = [[80.0, 42.0], [80.1, 42.0], [80.0, 42.1], [80.1, 42.1]]
    >>> independent = gg.ErrorCorrelation((), nugget=1.0)
    >>> variance = gg.propagate(independent, sigma, weights, positions, [2001])[0, 0, 0]
    >>> print(round(float(np.sqrt(variance)), 3))
    0.2
    >>> from glacmb_grid.uncertainty.correlation import Structure
    >>> shared = gg.ErrorCorrelation((Structure(1.0, range_km=1e6, persistence=0.0),), nugget=0.0)
    >>> variance = gg.propagate(shared, sigma, weights, positions, [2001])[0, 0, 0]
    >>> print(round(float(np.sqrt(variance)), 3))
    0.4
    """
    s, w, numbers = _checked(sigma, weights, years)
    points = checked_points(positions, len(s))
    out = np.empty((len(w), len(numbers), len(numbers)))
    for region, one in enumerate(w):
        loads = np.nan_to_num(one.reshape(len(s), -1) * s)
        inside = np.flatnonzero((loads != 0).any(axis=1))
        out[region] = covariance_of_sum(correlation, loads[inside], points[inside], numbers, method=method)
    return out


def independent_covariance(sigma: npt.ArrayLike, weights: npt.ArrayLike, years: npt.ArrayLike) -> Floats:
    """What `propagate` would give if all errors were independent: a root of a sum of squares."""
    s, w, numbers = _checked(sigma, weights, years)
    variance = np.array([(np.nan_to_num(one.reshape(len(s), -1) * s) ** 2).sum(axis=0) for one in w])
    return np.asarray(variance[:, :, None] * np.eye(len(numbers)))


def covariance_of_sum(
    correlation: ErrorCorrelation, loads: Floats, points: Floats, years: Integers, *, method: Method = "auto"
) -> Floats:
    """Covariance over years of one sum, (year, year).

    Parameters
    ----------
    correlation : ErrorCorrelation
    loads : float64 array, (glacier, year)
        Weight times sigma; 0 for what is no part.
    points : float64 array, (glacier, 3), km
        From `cartesian_km`.
    years : int array, (year,)
    """
    ranges = tuple(correlation.by_range)
    exact = method == "exact" or (method == "auto" and len(loads) <= EXACT_UP_TO)
    products = (_pairs if exact else _cells)(loads, points, ranges) if ranges and len(loads) else []
    lag = np.abs(years[:, None] - years[None, :])
    total = np.diag(correlation.nugget * (loads**2).sum(axis=0))
    for product, km in zip(products, ranges if products else (), strict=True):
        for one in correlation.by_range[km]:
            total += one.share * (product if one.persistent else product * float(one.persistence) ** lag)
    return np.asarray((total + total.T) / 2)


def cumulative_sigma(covariance: npt.ArrayLike) -> Floats:
    """One standard deviation of the running sum over years, (..., year), from a covariance, (..., year, year)."""
    sums = np.cumsum(np.cumsum(np.asarray(covariance, np.float64), axis=-1), axis=-2)
    return np.sqrt(np.maximum(np.diagonal(sums, axis1=-2, axis2=-1), 0))


def _checked(sigma: npt.ArrayLike, weights: npt.ArrayLike, years: npt.ArrayLike) -> tuple[Floats, Floats, Integers]:
    s, w, numbers = np.asarray(sigma, np.float64), np.asarray(weights, np.float64), np.asarray(years)
    problem = ""
    if s.ndim != 2 or w.ndim not in (2, 3) or w.shape[1 : w.ndim] != s.shape[: w.ndim - 1]:
        problem = f"sigma of shape {s.shape}, weights of shape {w.shape}"
    elif numbers.shape != (s.shape[1],) or len(np.unique(numbers)) != len(numbers):
        problem = f"{s.shape[1]} years of sigma, years {numbers.tolist()[:9]}"
    elif (s < 0).any() or np.isinf(s).any() or not np.isfinite(w).all():
        problem = f"{int((s < 0).sum())} negative sigmas, {int((~np.isfinite(w)).sum())} weights that are not finite"
    if problem:
        raise InputError(
            "propagate",
            expected="sigma (glacier, year), none below 0; finite weights (region, glacier[, year]); each year once",
            found=problem,
            remedy="bring them to the glaciers and years of one product, with weight 0 where a glacier is no part",
        )
    return s, w, numbers.astype(np.int64)


def _pairs(loads: Floats, points: Floats, ranges: tuple[float, ...]) -> list[Floats]:
    """U^T K U of every range over all pairs of glaciers, each (year, year)."""
    single = loads.astype(np.float32)
    parts = [slice(k, min(k + _BLOCK, len(loads))) for k in range(0, len(loads), _BLOCK)]

    def of_blocks(task: tuple[slice, slice]) -> list[Floats]:
        a, b = task
        distance = _distances(points[a], points[b])
        if a == b:
            np.fill_diagonal(distance, 0)
        products = [loads[a].T @ (_kernel(distance, km) @ single[b]) for km in ranges]
        return products if a == b else [p + p.T for p in products]

    return _summed(of_blocks, [(a, b) for i, a in enumerate(parts) for b in parts[i:]])


def _cells(loads: Floats, points: Floats, ranges: tuple[float, ...]) -> list[Floats]:
    """U^T K U as `_pairs`, with the glaciers of a cell taken together in the sums with cells far from it."""
    _, cell = np.unique(np.floor(points / _edge(ranges)).astype(np.int64), axis=0, return_inverse=True)
    order = np.argsort(cell.ravel(), kind="stable")
    loads, points = loads[order], points[order]
    start = np.flatnonzero(np.diff(cell.ravel()[order], prepend=-1))
    end = np.append(start[1:], len(order))
    together = np.add.reduceat(loads, start)
    single, coarse = loads.astype(np.float32), together.astype(np.float32)
    # Centres by the loads of the first year: later years leave them where they are
    heavy = np.abs(loads[:, :1]) + 1e-9 * np.abs(loads[:, 0]).max() + np.finfo(np.float64).tiny
    centre = np.add.reduceat(points * heavy, start) / np.add.reduceat(heavy, start)

    def of_rows(rows: slice) -> list[Floats]:
        distance = _distances(centre[rows], centre)
        near = distance <= _NEAR
        distance[near] = np.inf
        products = [np.asarray(together[rows].T @ (_kernel(distance, km) @ coarse), np.float64) for km in ranges]
        for a, beside in zip(range(rows.start, rows.stop), near, strict=True):
            cells = np.flatnonzero(beside)
            glaciers = np.concatenate([np.arange(start[b], end[b]) for b in cells])
            own = slice(start[a], end[a])
            distance = _distances(points[own], points[glaciers])
            for product, km in zip(products, ranges, strict=True):
                product += loads[own].T @ (_kernel(distance, km) @ single[glaciers])
        return products

    return _summed(of_rows, [slice(k, min(k + _ROWS, len(start))) for k in range(0, len(start), _ROWS)])


def _edge(ranges: tuple[float, ...]) -> float:
    """Edge of the cells, km: the bend of the correlation within far cells changes a variance by at most about 1 %."""
    finite = np.array([r for r in ranges if np.isfinite(r)] or [np.inf])
    beyond = (1 + _NEAR / finite) * np.exp(-_NEAR / finite)  # share of a variance in the plane from beyond `_NEAR`
    return float(np.clip(np.min(finite * np.sqrt(6 * 0.01 / np.maximum(beyond, 1e-12))), *_CELL))


def _distances(a: Floats, b: Floats) -> Singles:
    """Straight distances, km, of squares in double precision, so that near points keep theirs."""
    square = a @ (-2 * b.T)
    square += (a**2).sum(axis=1)[:, None]
    square += (b**2).sum(axis=1)[None, :]
    return np.asarray(np.sqrt(np.maximum(square, 0, out=square).astype(np.float32)))


def _kernel(distance: Singles, range_km: float) -> Singles:
    if np.isinf(range_km):
        return np.where(np.isinf(distance), np.float32(0), np.float32(1))
    out = distance * np.float32(-1 / range_km)
    return np.asarray(np.exp(out, out=out))


def _summed(products_of: Callable[[Task], list[Floats]], tasks: list[Task]) -> list[Floats]:
    """Sums over the tasks, in their order, so that threads change no bit."""
    total: list[Floats] = []
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        for products in threads.map(products_of, tasks):
            total = [t + p for t, p in zip(total, products, strict=True)] if total else products
    return total
