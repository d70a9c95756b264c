"""Whether the topography of glaciers can be true: voids, and what the inventory says of their elevations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import pairwise

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import Failure, failing
from glacmb_grid.sampling.zonal import ROUNDING

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_NEARLY_WHOLE = 0.95
_SEA = 1.0  # m; up to here a value may be a fill, such as 1, 0, -1, -99
_FAR_ABOVE, _NEXT = 300.0, 100.0  # m; of the median above a fill, and of the heights that lead down to a true one
_MANY, _GAP, _TIMES = 4, 300.0, 4.0  # cells of one value, m to the next one, and times any other such step
_DIFFERS, _ODD = 300.0, 500.0  # m; from the inventory's elevations: of most glaciers, of a single one
_UNITS = {"feet": 3.2808, "kilometres": 0.001, "decimetres": 10.0, "centimetres": 100.0}


def tell_voids(terrain: xr.Dataset) -> None:
    """Warn if a noticeable part of a glacier has no elevation, which its means and hypsometry then ignore."""
    uncovered = terrain["elevation_coverage"].values < _NEARLY_WHOLE
    if uncovered.any():
        share = terrain["elevation_coverage"].values[uncovered]
        ids = [f"{g} ({c:.0%})" for g, c in zip(terrain["glacier"].values[uncovered], share, strict=True)]
        warnings.warn(
            f"the elevation model has voids inside {len(ids)} glacier(s), which are treated as if at the elevations of "
            f"the rest: {listing(ids)}; fill them, or raise `elevation.min_coverage` to refuse such glaciers",
            stacklevel=2,
        )


def without_elevation(terrain: xr.Dataset, least: float, troubles: Mapping[str, str] | None = None) -> list[Failure]:
    """Glaciers with too few elevations, or with implausible ones.

    Parameters
    ----------
    terrain : xr.Dataset, (glacier,)
        From `terrain`.
    least : float
        Smallest share of the area.
    troubles : mapping, optional
        What is known of the tiles under a glacier, such as a missing one.

    Raises
    ------
    InputError
        If these are all glaciers.
    """
    ids, coverage = terrain["glacier"].values, terrain["elevation_coverage"].values
    uncovered = ~((coverage >= least - ROUNDING) & (coverage > 0))
    why = {g: w for g, w in zip(ids, _unread(terrain), strict=True) if w} | dict(troubles or {})
    hints = [f": {why[g]}" if g in why else "" for g in ids[uncovered]]
    shares = [f"{g} ({c:.0%}{h})" for g, c, h in zip(ids[uncovered], coverage[uncovered], hints, strict=True)]
    error = InputError(
        "elevation model",
        expected=f"valid elevations over at least {least:.0%} of every glacier",
        found=f"{int(uncovered.sum())} of {len(coverage)} glaciers below that: {listing(shares)}",
        remedy="add the missing tiles or fill the voids; or lower `elevation.min_coverage`, or leave these "
        "glaciers out",
    )
    reasons = [
        f"{c:.0%} of its area have an elevation, at least {least:.0%} are required{h}"
        for c, h in zip(coverage[uncovered], hints, strict=True)
    ]
    found = failing(uncovered, ids, "elevation", reasons, error)
    void = terrain["undeclared_void"].values
    hidden = np.isfinite(void) & ~uncovered
    values = listing((f"{v:g}" for v in np.unique(void[hidden])), 4)
    error = InputError(
        "elevation model",
        expected="elevations, with the voids declared as such",
        found=f"cells of exactly {values} m inside {int(hidden.sum())} glacier(s) that lie far above: "
        f"{listing(ids[hidden])}",
        remedy=f"declare them as voids, for instance with `gdal_edit.py -a_nodata {values}`, and fill them if possible",
    )
    texts = [
        f"cells of exactly {v:g} m though it lies elsewhere: undeclared voids (`gdal_edit.py -a_nodata {v:g}`)"
        for v in void[hidden]
    ]
    found += failing(hidden, ids, "elevation", texts, error)
    level = ~np.isfinite(terrain["slope"].values) & ~uncovered & ~hidden
    error = InputError(
        "elevation model",
        expected="neighbours of the glaciers' cells, for the slope",
        found=f"only voids around the cells of {int(level.sum())} glacier(s): {listing(ids[level])}",
        remedy="fill the voids, or leave these glaciers out",
    )
    return found + failing(level, ids, "slope", ["only voids around its cells"] * int(level.sum()), error)


def _unread(terrain: xr.Dataset) -> npt.NDArray[np.object_]:
    none = np.full(terrain.sizes["glacier"], "", dtype=object)
    return terrain["unread"].values if "unread" in terrain else none


def undeclared_void(row: Integers, elevation: Floats, count: int) -> Floats:
    """A value of many cells that cannot be an elevation of the same glacier as the other cells, NaN if there is none.

    Parameters
    ----------
    row : int array, (cell,)
        Glacier of every cell.
    elevation : float64 array, (cell,), m
    count : int
        Number of glaciers.

    Notes
    -----
    Such a value is the lowest or highest. One of at most 1 m is a fill where the median lies more than 300 m above and
    fewer cells than have it lead down to it (a glacier that ends in the sea has them); any other where at least four
    cells have exactly that value, more than 300 m and four times any other step from the next. Cells that all have one
    value of at most 1 m are a fill too.
    """
    out = np.full(count, np.nan)
    order = np.lexsort((elevation, row))
    row, elevation = row[order], elevation[order]
    borders = np.append(np.flatnonzero(np.diff(row, prepend=-1)), len(row))
    for begin, end in pairwise(borders):
        out[row[begin]] = _void_among(elevation[begin:end])
    return out


def _void_among(heights: Floats) -> float:
    """The same for the sorted heights of one glacier."""
    low, high, size = heights[0], heights[-1], len(heights)
    if high - low < _FAR_ABOVE:
        return float(low) if high == low <= _SEA and size >= _MANY else np.nan
    lowest = int(np.searchsorted(heights, low, "right"))
    if low <= _SEA and low % 1 == 0:
        leading_down = int(np.searchsorted(heights, low + _NEXT, "right")) - lowest
        above = heights[lowest:]
        if above[len(above) // 2] - low > _FAR_ABOVE and leading_down <= lowest:
            return float(low)
    steps = np.diff(heights)
    for value, cells, step in ((low, lowest, lowest - 1), (high, size - int(np.searchsorted(heights, high)), None)):
        at = size - cells - 1 if step is None else step
        rest = max(steps[:at].max(initial=0.0), steps[at + 1 :].max(initial=0.0))
        if cells >= _MANY and size - cells >= _MANY and steps[at] > max(_GAP, _TIMES * rest):
            return float(value)
    return np.nan


def compare_with_inventory(terrain: xr.Dataset, glaciers: gpd.GeoDataFrame) -> None:
    """Compare with the elevations that the inventory states for its outlines, where it does.

    Parameters
    ----------
    terrain : xr.Dataset, (glacier,)
        From `terrain`.
    glaciers : GeoDataFrame
        With any of the columns `zmin`, `zmed`, `zmax` (m, NaN if unknown).

    Raises
    ------
    InputError
        Where most glaciers lie more than 300 m from what the inventory says; single ones (500 m) are told in a note.
    """
    pairs = [(f"elevation_{n}", c) for n, c in (("min", "zmin"), ("median", "zmed"), ("max", "zmax")) if c in glaciers]
    if not pairs:
        return
    ids = terrain["glacier"].values
    stated = glaciers.loc[ids, [c for _, c in pairs]].to_numpy(np.float64)
    found = np.column_stack([terrain[n].values for n, _ in pairs])
    known = np.isfinite(stated).any(axis=1) & np.isfinite(found).all(axis=1)
    if not known.any():
        return
    ids, stated, found = ids[known], stated[known], found[known]
    apart = np.nanmedian(found - stated, axis=1)
    example = [
        f"{g} ({f:.0f} m, inventory {s:.0f} m)"
        for g, f, s in zip(ids, np.nanmedian(found, axis=1), np.nanmedian(stated, axis=1), strict=True)
    ]
    if np.mean(np.abs(apart) > _DIFFERS) > 0.5:
        worst = np.argsort(-np.abs(apart), kind="stable")
        raise InputError(
            "elevation model",
            expected=f"elevations within {_DIFFERS:g} m of those that the inventory states for its glaciers",
            found=f"{int((np.abs(apart) > _DIFFERS).sum())} of {len(apart)} glaciers farther off: "
            f"{listing(np.array(example)[worst], 3)}; {_likely(found, stated)}",
            remedy="check that the model holds heights in metres over the same region (`elevation: {units: ft}` "
            "declares another unit); if the inventory's own numbers are wrong, set `elevation: {compare: false}`",
        )
    odd = np.abs(apart) > _ODD
    if odd.any():
        warnings.warn(
            f"the elevations of {int(odd.sum())} glacier(s) lie more than {_ODD:g} m from those that the inventory "
            f"states: {listing(np.array(example)[odd], 4)}; check these outlines and the elevation model there",
            stacklevel=2,
        )


def _likely(found: Floats, stated: Floats) -> str:
    """What may be wrong with a model, from the ratio of its elevations to those of the inventory."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = found / stated
    ratio = ratio[np.isfinite(ratio) & (stated > 100)]
    if len(ratio) and abs(float(np.median(found))) < 1e-9:
        return "the model is 0 there: voids, or the wrong file"
    for unit, times in _UNITS.items():
        if len(ratio) and abs(np.median(ratio) / times - 1) < 0.1:
            return f"these look like {unit}"
    return f"they differ by {np.nanmedian(found - stated):+.0f} m in the median"
