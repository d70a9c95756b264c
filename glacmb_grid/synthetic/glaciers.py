"""Glaciers of the synthetic region: ice that gathers above the snow line and flows down its valley."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize, shapes
from scipy import ndimage

from .terrain import Floats, Flow, Grid, Ints, noise, route, slope_deg

FINER = 4  # label cells per routing cell, when outlines are roughened
SMALLEST_KM2 = 0.2
LARGEST_KM2 = 25.0


@dataclass(frozen=True)
class Glaciers:
    """Outlines and surface.

    Attributes
    ----------
    outline : (glacier,)
        Shapely polygons, EPSG:4326.
    label : (row, column)
        Number of the glacier in a cell of the surface's grid, -1 outside.
    surface : (row, column), m
        Elevation with the ice on it.
    """

    outline: NDArray[np.object_]
    label: Ints
    surface: Floats


def _ice_cover(
    bed: Floats, flow: Flow, cell_m: tuple[float, float], snow_line: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """Route ice down the valleys; return the surface with the ice, m, and where the ice is."""
    slope = slope_deg(bed, cell_m)
    above = bed - snow_line
    balance = np.clip(above * np.where(above > 0, 0.0025, 0.009), -8.0, 1.2)  # m of ice per year
    balance = np.where((above > 0) & (slope > 42), 0.0, balance)
    flux = (balance * cell_m[0] * cell_m[1] / 1e6).ravel()  # km2 m per year
    for level in reversed(flow.levels[1:]):
        np.add.at(flux, flow.receiver[level], np.maximum(flux[level], 0.0))
    depth = np.where(flux > 0.02, 70.0 * np.maximum(flux, 0.0) ** 0.35, 0.0)
    top = bed.ravel() + np.where(slope.ravel() < 47, depth, 0.0)
    for level in flow.levels[1:]:  # ice in a valley stands level across it
        top[level] = np.maximum(top[level], top[flow.receiver[level]])
    top = top.reshape(bed.shape)
    cover = ndimage.median_filter((top > bed + 1.0).astype(np.uint8), size=3).astype(bool)
    weight = ndimage.gaussian_filter(cover.astype(float), 1.2)
    smooth = ndimage.gaussian_filter(np.where(cover, top, 0.0), 1.2) / np.maximum(weight, 1e-9)
    return np.where(cover, smooth, bed), cover


def _basins(cover: NDArray[np.bool_], flow: Flow) -> Ints:
    """Label ice by the terminus that it flows to; keep the largest connected part of each."""
    inside = cover.ravel()
    root = np.where(inside[flow.receiver] & inside, flow.receiver, np.arange(inside.size))
    while not np.array_equal(following := root[root], root):
        root = following
    _, label = np.unique(np.where(inside, root, -1), return_inverse=True)
    return np.asarray(label.reshape(cover.shape) - 1, dtype=np.int64)


def _tidy(label: Ints, smallest: int) -> Ints:
    """Keep connected parts of at least so many cells, close gaps of a cell or two; renumber."""
    tidy = np.full(label.shape, -1, dtype=np.int64)
    count = 0
    for number, window in enumerate(ndimage.find_objects(label + 1)):
        if window is None:
            continue
        mask = label[window] == number
        if mask.sum() < smallest:
            continue
        parts, _ = ndimage.label(mask)
        size = np.bincount(parts.ravel())
        size[0] = 0
        if size.max() >= smallest:
            tidy[window][parts == size.argmax()] = count
            count += 1
    return tidy


def _choose(rng: np.random.Generator, area_km2: Floats, count: int) -> Ints:
    """Pick basins whose areas follow a log-normal with median 1 km2."""
    target = np.sort(np.clip(np.exp(rng.normal(0.0, 1.05, count)), SMALLEST_KM2 * 1.8, LARGEST_KM2))[::-1]
    left = np.log(area_km2) + rng.normal(0, 0.02, area_km2.size)
    chosen = []
    for goal in np.log(target):
        best = int(np.argmin(np.abs(left - goal)))
        chosen.append(best)
        left[best] = np.inf
    return np.sort(np.array(chosen))


def _roughen(rng: np.random.Generator, label: Ints) -> Ints:
    """Refine labels, moving borders by up to about a cell in a fractal way, common borders together."""
    shape = label.shape[0] * FINER, label.shape[1] * FINER
    rows, columns = np.meshgrid(*(np.arange(n) / FINER - 0.375 for n in shape), indexing="ij")
    shift = [0.75 * noise(rng, shape, 1.2, largest=40) for _ in range(2)]
    rows, columns = rows + shift[0], columns + shift[1]
    near_row = np.clip(np.rint(rows), 0, label.shape[0] - 1).astype(np.int64)
    near_column = np.clip(np.rint(columns), 0, label.shape[1] - 1).astype(np.int64)
    return label[near_row, near_column]


def _smooth_labels(label: Ints) -> Ints:
    """Round off the steps of the coarse cells: give each cell to the most frequent label around it."""
    smooth = np.full(label.shape, -1, dtype=np.int64)
    best = np.full(label.shape, 0.0)
    for number, window in enumerate(ndimage.find_objects(label + 1)):
        if window is None:
            continue
        wide = tuple(slice(max(0, w.start - 8), w.stop + 8) for w in window)
        share = ndimage.gaussian_filter((label[wide] == number).astype(float), 1.5)
        wins = (share > best[wide]) & (share > 0.5 - 1e-9)
        smooth[wide][wins] = number
        best[wide][wins] = share[wins]
    return smooth


def _transform(grid: Grid) -> Affine:
    """Affine transform of a grid."""
    return Affine(grid.step, 0, grid.west, 0, -grid.step, grid.north)


def _polygons(rng: np.random.Generator, label: Ints, grid: Grid) -> list[shapely.Polygon]:
    """Vectorise labels into a clean coverage, one polygon per glacier, with holes above 0.015 km2."""
    largest: dict[int, shapely.Polygon] = {}
    for geometry, value in shapes(label.astype(np.int32), mask=label >= 0, transform=_transform(grid)):
        polygon = shapely.geometry.shape(geometry)
        if polygon.area > largest.get(int(value), shapely.Polygon()).area:
            largest[int(value)] = polygon
    raw = np.array([largest[number] for number in sorted(largest)])
    neat = shapely.coverage_simplify(raw, tolerance=grid.step * 1.1)
    hole_deg2 = 0.015 / grid.cell_km2 * grid.step**2
    return [_without_small_holes(polygon, hole_deg2) for polygon in _warp(rng, neat, grid)]


def _warp(rng: np.random.Generator, polygons: NDArray[np.object_], grid: Grid) -> NDArray[np.object_]:
    """Shift densified vertices by one field of displacements, so that common borders stay common."""
    dense = shapely.segmentize(polygons, 1.4 * grid.step)
    shift = [0.45 * noise(rng, grid.shape, 0.9, largest=12) for _ in range(2)]

    def moved(point: Floats) -> Floats:
        where = [(grid.north - point[:, 1]) / grid.step - 0.5, (point[:, 0] - grid.west) / grid.step - 0.5]
        by = [ndimage.map_coordinates(field, where, order=1, mode="nearest") for field in shift]
        return point + grid.step * np.column_stack(by)

    warped = shapely.transform(dense, moved)
    return _apart(np.where(shapely.is_valid(warped), warped, dense))


def _apart(polygons: NDArray[np.object_]) -> NDArray[np.object_]:
    """Cut slivers that two neighbours share out of the second one."""
    first, second = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    for one, two in zip(first, second, strict=True):
        if one < two:
            rest = shapely.get_parts(shapely.difference(polygons[two], shapely.buffer(polygons[one], 1e-6)))
            polygons[two] = max(rest, key=shapely.area)
    return polygons


def _without_small_holes(polygon: shapely.Polygon, smallest: float) -> shapely.Polygon:
    """Drop holes below an area in square degrees."""
    holes = [ring for ring in polygon.interiors if shapely.Polygon(ring).area > smallest]
    return shapely.set_precision(shapely.Polygon(polygon.exterior, holes), 1e-7)


def _candidates(bed: Floats, grid: Grid, snow_line: Floats, count: int) -> tuple[Floats, Ints, Floats]:
    """Lower the snow line until there are enough basins; return surface, labels, areas in km2."""
    flow = route(bed, grid.cell_m)
    for lower in range(0, 1500, 60):
        surface, cover = _ice_cover(bed, flow, grid.cell_m, snow_line - lower)
        label = _tidy(_basins(cover, flow), smallest=int(np.ceil(1.8 * SMALLEST_KM2 / grid.cell_km2)))
        label[:3], label[-3:], label[:, :3], label[:, -3:] = -1, -1, -1, -1
        area = np.bincount(label.ravel() + 1)[1:] * grid.cell_km2
        fits = (area > 1.8 * SMALLEST_KM2) & (area < LARGEST_KM2)
        if fits.sum() >= 1.3 * count and np.sum(area[fits] > 4) >= 0.09 * count:
            break
    label = np.where(fits[label] & (label >= 0), label, -1)
    return surface, label, np.where(fits, area, np.inf)


def grow_glaciers(rng: np.random.Generator, bed: Floats, grid: Grid, count: int) -> Glaciers:
    """Grow glaciers on a bare relief.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    bed : (row, column), m
        Bare relief.
    grid : Grid
        Its grid.
    count : int
        Number of glaciers.

    Returns
    -------
    Glaciers
        Outlines from west to east, and the surface on `grid`.
    """
    south, _ = np.gradient(ndimage.gaussian_filter(bed, 4), *grid.cell_m)
    snow_line = 4250.0 + 900.0 * np.clip(-south, -0.25, 0.25) + 60.0 * noise(rng, grid.shape, 2.0)
    surface, label, area_km2 = _candidates(bed, grid, snow_line, count)
    chosen = _choose(rng, area_km2, count)
    number = np.full(area_km2.size + 1, -1)
    middle = [centre[1] for centre in ndimage.center_of_mass(label >= 0, label, chosen)]
    number[chosen[np.argsort(middle, kind="stable")]] = np.arange(count)
    label = number[label]
    fine = _smooth_labels(_roughen(rng, label))
    outline = np.array(_polygons(rng, fine, grid.refined(FINER)))
    numbered = [(polygon, place) for place, polygon in enumerate(outline)]
    drawn = rasterize(numbered, grid.shape, fill=-1, transform=_transform(grid), dtype="int32")
    return Glaciers(outline, drawn.astype(np.int64), surface)
