"""Relief of the synthetic region: mountain ranges carved by rivers (stream-power erosion)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

METRES_PER_DEGREE = 111_320.0
WEST, NORTH = 80.0, 42.4  # degree; first posting of the elevation model, near which tiles of MODIS and of degrees meet
POSTING = 3 / 3600  # degree, of the elevation model
NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass(frozen=True)
class Grid:
    """Regular latitude-longitude grid, rows from north to south.

    Attributes
    ----------
    west, north : float, degree
        Outer corner of the first cell.
    step : float, degree
        Cell size.
    rows, columns : int
        Number of cells.
    """

    west: float
    north: float
    step: float
    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def longitude(self) -> Floats:
        """Cell centres, degree, ascending."""
        return np.asarray(self.west + self.step * (np.arange(self.columns) + 0.5), dtype=np.float64)

    @property
    def latitude(self) -> Floats:
        """Cell centres, degree, descending."""
        return np.asarray(self.north - self.step * (np.arange(self.rows) + 0.5), dtype=np.float64)

    @property
    def middle_latitude(self) -> float:
        """Latitude of the grid's centre, degree, to a thousandth."""
        return round(self.north - self.step * self.rows / 2, 3)

    @property
    def cell_m(self) -> tuple[float, float]:
        """North-south and east-west size of the middle cell, m."""
        south_north = self.step * METRES_PER_DEGREE
        return south_north, south_north * float(np.cos(np.deg2rad(self.middle_latitude)))

    @property
    def cell_km2(self) -> float:
        """Area of the middle cell, km2."""
        height, width = self.cell_m
        return height * width / 1e6

    def refined(self, factor: int) -> Grid:
        """Return the same window in cells smaller by an integer factor."""
        return Grid(self.west, self.north, self.step / factor, self.rows * factor, self.columns * factor)

    def index(self, longitude: Floats, latitude: Floats) -> tuple[Ints, Ints]:
        """Row and column of the cells that hold the points, clipped to the grid."""
        row = np.floor((self.north - latitude) / self.step).astype(np.int64)
        column = np.floor((longitude - self.west) / self.step).astype(np.int64)
        return np.clip(row, 0, self.rows - 1), np.clip(column, 0, self.columns - 1)


@dataclass(frozen=True)
class Flow:
    """Drainage tree: every cell drains into one lower neighbour, pits and the border into themselves.

    Attributes
    ----------
    receiver : (cell,)
        Flat index of the cell that is drained into.
    distance : (cell,), m
        Distance to it (1 for roots).
    levels : list of (cell of the level,)
        Cells by number of steps to their root, roots first.
    """

    receiver: Ints
    distance: Floats
    levels: list[Ints]


def noise(rng: np.random.Generator, shape: tuple[int, int], exponent: float, largest: float = 1e9) -> Floats:
    """Draw a fractal field with a power-law spectrum.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    shape : (int, int)
        Rows and columns.
    exponent : float
        The amplitude falls as wavenumber ** -exponent.
    largest : float, cells
        Longer waves are left out.

    Returns
    -------
    (row, column)
        Mean 0, standard deviation 1.
    """
    wave = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :])
    amplitude = np.where(wave > 1 / largest, np.maximum(wave, 1e-6) ** -exponent, 0.0)
    amplitude[0, 0] = 0.0
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal(shape)) * amplitude, s=shape)
    return np.asarray(field / field.std())


def route(elevation: Floats, cell_m: tuple[float, float]) -> Flow:
    """Find the steepest-descent drainage tree.

    Parameters
    ----------
    elevation : (row, column), m
        Surface.
    cell_m : (float, float), m
        North-south and east-west cell size.

    Returns
    -------
    Flow
        Receivers of all cells.
    """
    rows, columns = elevation.shape
    padded = np.pad(elevation, 1, constant_values=np.inf)
    best = np.zeros(elevation.shape)
    step = np.zeros(elevation.shape, dtype=np.int64)
    distance = np.ones(elevation.shape)
    for down, right in NEIGHBOURS:
        length = float(np.hypot(down * cell_m[0], right * cell_m[1]))
        neighbour = padded[1 + down : rows + 1 + down, 1 + right : columns + 1 + right]
        slope = (elevation - neighbour) / length
        steeper = slope > best
        best[steeper] = slope[steeper]
        step[steeper] = down * columns + right
        distance[steeper] = length
    for edge in (np.s_[0, :], np.s_[-1, :], np.s_[:, 0], np.s_[:, -1]):
        step[edge] = 0
    receiver = np.arange(elevation.size) + step.ravel()
    return Flow(receiver, distance.ravel(), _levels(receiver))


def _levels(receiver: Ints) -> list[Ints]:
    """Group cells by the number of steps to their root (pointer doubling)."""
    depth = (receiver != np.arange(receiver.size)).astype(np.int64)
    target = receiver
    while np.any(depth[target] > 0):
        depth = depth + depth[target]
        target = target[target]
    order = np.argsort(depth, kind="stable")
    return list(np.split(order, np.cumsum(np.bincount(depth))[:-1]))


def accumulate(flow: Flow, amount: Floats) -> Floats:
    """Sum an amount over everything upstream of each cell, the cell included."""
    total = amount.ravel().copy()
    for level in reversed(flow.levels[1:]):
        np.add.at(total, flow.receiver[level], total[level])
    return total


def _erode(height: Floats, uplift: Floats, cell_m: tuple[float, float], erodibility: float) -> Floats:
    """One implicit step of h' = U - K A^0.45 dh/ds."""
    flow = route(height, cell_m)
    area = accumulate(flow, np.full(height.size, cell_m[0] * cell_m[1] / 1e6))
    factor = erodibility * area**0.45 / flow.distance
    eroded = (height + uplift).ravel()
    border = _border(height.shape)
    eroded[border] = height.ravel()[border]
    for level in flow.levels[1:]:
        below = eroded[flow.receiver[level]]
        eroded[level] = (eroded[level] + factor[level] * below) / (1 + factor[level])
    return _raise_pits(eroded.reshape(height.shape), passes=3)


def _border(shape: tuple[int, int]) -> Ints:
    """Flat indices of the outermost cells."""
    inner = np.zeros(shape, dtype=bool)
    inner[1:-1, 1:-1] = True
    return np.flatnonzero(~inner)


def _raise_pits(height: Floats, passes: int) -> Floats:
    """Lift cells that lie below all their neighbours, so that the water finds a way out."""
    ring = np.ones((3, 3), dtype=bool)
    ring[1, 1] = False
    for _ in range(passes):
        lowest = ndimage.minimum_filter(height, footprint=ring, mode="nearest")
        pit = height <= lowest
        pit.ravel()[_border(height.shape)] = False
        height = np.where(pit, lowest + 1e-4, height)
    return height


def _fill(height: Floats) -> Floats:
    """Fill every closed hollow up to its sill (Planchon and Darboux, from above)."""
    filled = np.full(height.shape, height.max() + 1.0)
    border = _border(height.shape)
    filled.ravel()[border] = height.ravel()[border]
    while True:
        lower = np.maximum(height, np.minimum(ndimage.minimum_filter(filled, 3, mode="nearest") + 1e-5, filled))
        if np.array_equal(lower, filled):
            return filled
        filled = lower


def _uplift(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Two roughly east-west ranges that meander, swell and fade; largest value about 1."""
    y = np.linspace(-1, 1, shape[0])[:, None]
    x = np.linspace(-1, 1, shape[1])[None, :]
    bend = ndimage.gaussian_filter1d(rng.standard_normal((2, shape[1])), shape[1] / 7, axis=1, mode="wrap")
    bend *= 0.14 / bend.std()
    ranges = np.zeros(shape)
    for centre, width, crest, wander in ((-0.25, 0.3, 0.85, bend[0]), (0.33, 0.33, 1.0, bend[1])):
        across = (y - centre - 0.12 * x - wander[None, :]) / width
        ranges = np.maximum(ranges, crest * np.exp(-(across**2)))
    return ranges * (1 + 0.25 * noise(rng, shape, 2.0)) + 0.06


def make_relief(rng: np.random.Generator, grid: Grid) -> Floats:
    """Carve the bare relief.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    grid : Grid
        Target grid; the range is carved in a wider window, coarse to fine, and cut out.

    Returns
    -------
    (row, column), m
        Elevation between about 2100 and 5600 m.
    """
    margin = max(8, grid.rows // 10 // 4 * 4)
    shape = (grid.rows + 2 * margin) // 4, (grid.columns + 2 * margin) // 4
    uplift = np.maximum(_uplift(rng, shape), 0.02)
    height = 0.3 * ndimage.gaussian_filter(uplift, 2) + 0.05 * noise(rng, shape, 1.6)
    height = _fill(height)
    for level, steps in ((4, 45), (2, 18), (1, 9)):
        cell_m = (grid.cell_m[0] * level, grid.cell_m[1] * level)
        for _ in range(steps):
            height = _erode(height, 0.1 * uplift, cell_m, erodibility=300.0)
        if level > 1:
            height = np.asarray(ndimage.zoom(height, 2, order=1, mode="nearest", grid_mode=True))
            uplift = np.asarray(ndimage.zoom(uplift, 2, order=1, mode="nearest", grid_mode=True))
            height += 0.004 * noise(rng, height.shape, 1.2)
    height = height[margin : margin + grid.rows, margin : margin + grid.columns]
    low, high = np.quantile(height, (0.002, 0.9997))
    relative = np.maximum((height - low) / (high - low), 0.0) ** 0.75
    return np.asarray(2150.0 + 3300.0 * (0.7 * ndimage.gaussian_filter(relative, 1.3) + 0.3 * relative))


def slope_deg(elevation: Floats, cell_m: tuple[float, float]) -> Floats:
    """Slope of a surface, degree."""
    south, east = np.gradient(elevation, *cell_m)
    return np.asarray(np.rad2deg(np.arctan(np.hypot(south, east))))
