#!/usr/bin/env python3
"""Speed of the sampling operator: overlap weights and their application, beside exactextract where it is installed.

Outlines are the real rings of the Ötztal glaciers (GLACMB_DATA; 144 to 1,182 vertices), moved over High Mountain Asia
and scaled to a log-normal distribution of areas (median 0.25 km2, mean about 1 km2); without GLACMB_DATA ragged rings
of as many vertices. By as many threads as there are cores, also what stands beside where that is faster. Prints a
table, medians over --repeat runs; --json adds a list of {name, value, unit, must, aim, meets}.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import rasterio
import shapely
import xarray as xr

from glacmb_grid.inputs.albedo import decode_albedo, open_codes
from glacmb_grid.inputs.elevation import open_elevation
from glacmb_grid.sampling.grid import Grid, grid_of
from glacmb_grid.sampling.terrain import terrain
from glacmb_grid.sampling.zonal import overlap_weights, sample

KILOMETRES = 111.2  # of a degree of latitude
Goal = tuple[float, float] | None  # what must be reached and what is aimed at; negative: at least
Line = tuple[str, float, str, Goal]


def unit_rings() -> list[np.ndarray]:
    """Rings of 1 km2 around the origin, (vertex, 2), km."""
    folder = os.environ.get("GLACMB_DATA")
    if not folder:
        rng = np.random.default_rng(0)
        rings = []
        for corners in rng.integers(144, 1182, 20):
            angle = np.linspace(0, 2 * np.pi, corners)
            radius = 1 + 0.3 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.1 * np.sin(17 * angle)
            rings.append(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]))
    else:
        outlines = gpd.read_file(Path(folder) / "oetztal" / "rgi_oetztal.shp").to_crs(32632)
        rings = [shapely.get_coordinates(p.exterior) for p in shapely.get_parts(outlines.geometry.values)]
    return [(r - r.mean(axis=0)) / np.sqrt(shapely.Polygon(r).area) for r in rings]


def outlines(count: int, vertices: int | None = None, places: np.ndarray | None = None) -> gpd.GeoDataFrame:
    """Outlines over High Mountain Asia or at places (longitude, latitude), of real shape or of so many vertices."""
    rng = np.random.default_rng(1)
    rings = unit_rings()
    if vertices:
        rings = [r[np.linspace(0, len(r) - 1, vertices + 1).astype(int)] for r in rings]
    size = np.sqrt(np.exp(rng.normal(np.log(0.25), 1.65, count))) / KILOMETRES
    if places is None:
        places = rng.uniform((68, 27), (103, 44), (count, 2))
    longitude, latitude = places.T
    kind = rng.integers(0, len(rings), count)
    stretch = 1 / np.cos(np.deg2rad(latitude))
    lengths = np.array([len(r) for r in rings])[kind]
    xy = np.concatenate([rings[k] for k in kind])
    xy = xy * np.repeat(size, lengths)[:, None]
    xy[:, 0] *= np.repeat(stretch, lengths)
    xy += np.column_stack([np.repeat(longitude, lengths), np.repeat(latitude, lengths)])
    shapes = shapely.polygons(shapely.linearrings(xy, indices=np.repeat(np.arange(count), lengths)))
    return gpd.GeoDataFrame(geometry=shapes, index=[f"G{i:06d}" for i in range(count)], crs=4326)


def cube(months: int) -> xr.Dataset:
    """A monthly field over High Mountain Asia, 0.1 degree."""
    latitude, longitude = np.round(46 - np.arange(211) * 0.1, 1), np.round(66 + np.arange(391) * 0.1, 1)
    values = np.random.default_rng(2).normal(size=(months, 211, 391)).astype(np.float32)
    time_axis = pd.date_range("1980-01-01", periods=months, freq="MS")
    return xr.Dataset(
        {"t2m": (("time", "latitude", "longitude"), values)},
        coords={"time": time_axis, "latitude": latitude, "longitude": longitude},
    )


def seconds(work: Callable[[], Any], repeat: int) -> float:
    """Median time of a piece of work, after one run to warm up."""
    work()
    times = []
    for _ in range(repeat):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def raster_source(values: np.ndarray, grid: Grid, name: str = "raster") -> Any:
    """An array as exactextract takes it."""
    from exactextract.raster import NumPyRasterSource

    y, x = np.sort(grid.y_edges), np.sort(grid.x_edges)
    return NumPyRasterSource(values, name=name, xmin=x[0], xmax=x[-1], ymin=y[0], ymax=y[-1], srs_wkt=grid.crs.to_wkt())


def exactextract_weights(glaciers: gpd.GeoDataFrame, grid: Grid) -> Callable[[], Any]:
    """Coverage of every cell by exactextract with a numpy source; in one thread, which is its fastest way."""
    from exactextract import exact_extract

    source = raster_source(np.zeros(grid.shape), grid)
    return lambda: exact_extract(source, glaciers, ["coverage", "cell_id"], output="pandas")


def measure_weights(repeat: int, *, quick: bool) -> list[Line]:
    """Overlap weights on a 0.1 degree grid."""
    grid = grid_of(cube(1))
    few, many = (1000, 20_000) if quick else (5000, 274_531)
    some = outlines(few)
    ours = seconds(lambda: overlap_weights(some, grid), repeat)
    lines: list[Line] = [(f"weights, {few} outlines", ours, "s", None)]
    if importlib.util.find_spec("exactextract"):
        other = seconds(exactextract_weights(some, grid), min(repeat, 3))
        lines += [
            (f"weights, {few} outlines, exactextract", other, "s", None),
            ("  times faster than exactextract", other / ours, "x", (-3.0, -6.0)),
        ]
    for vertices in (24, None):
        all_of_them = outlines(many, vertices)
        what = f"{vertices}-vertex" if vertices else "real"
        took = seconds(lambda shapes=all_of_them: overlap_weights(shapes, grid), 1)
        lines.append(
            (f"weights, {many} outlines of {what} rings", took, "s", (20.0, 5.0) if vertices else (20.0, 20.0))
        )
    return lines


def measure_fine_weights(repeat: int, *, quick: bool) -> list[Line]:
    """Overlap weights on a projected grid of 30 m."""
    count, side = (200, 1000) if quick else (2000, 4000)
    x, y = 4e5 + 30.0 * np.arange(side), 5.2e6 - 30.0 * np.arange(side)
    field = xr.Dataset({"f": (("y", "x"), np.zeros((side, side), np.float32))}, coords={"y": y, "x": x})
    grid = grid_of(field.rio.write_crs(32632))
    at = np.random.default_rng(8).uniform((x[300], y[-300]), (x[-300], y[300]), (count, 2))
    places = np.column_stack(pyproj.Transformer.from_crs(32632, 4326, always_xy=True).transform(*at.T))
    some = outlines(count, places=places).to_crs(32632)
    what = f"weights, {count} outlines on a projected grid of 30 m"
    ours = seconds(lambda: overlap_weights(some, grid), repeat)
    lines: list[Line] = [(what, ours, "s", None)]
    if importlib.util.find_spec("exactextract"):
        other = seconds(exactextract_weights(some, grid), min(repeat, 3))
        lines += [(f"{what}, exactextract", other, "s", None), ("  times faster", other / ours, "x", None)]
    return lines


def measure_apply(repeat: int, *, quick: bool) -> list[Line]:
    """Weights applied to a cube in memory."""
    glaciers, field = outlines(1000 if quick else 5000), cube(120 if quick else 480)
    weights = overlap_weights(glaciers, field)
    took = seconds(lambda: sample(field, weights).load(), repeat)
    what = f"apply, {len(glaciers)} outlines x {field.sizes['time']} months"
    lines: list[Line] = [(what, took, "s", None)]
    if importlib.util.find_spec("xvec") and importlib.util.find_spec("exactextract"):
        import xvec  # noqa: F401 - makes `.xvec`

        theirs = field.rio.write_crs(4326).xvec
        other = seconds(
            lambda: theirs.zonal_stats(
                glaciers.geometry, x_coords="longitude", y_coords="latitude", method="exactextract", stats="mean"
            ),
            min(repeat, 3),
        )
        lines += [
            (f"{what}, xvec", other, "s", None),
            ("  times faster than xvec", other / took, "x", (-300.0, -1000.0)),
        ]
    return lines


def measure_daily(repeat: int, *, quick: bool) -> list[Line]:
    """Daily rasters of codes on a sinusoidal grid, as MOD10A1 has them, beside reading them."""
    side, days, count = (600, 10, 300) if quick else (2400, 92, 3000)
    rng = np.random.default_rng(6)
    crs = "+proj=sinu +R=6371007.181 +units=m"
    step, west, north = 463.3127165, 6671703.118 + 463.3127165, 3335851.559
    y, x = north - step * (np.arange(side) + 0.5), west + step * (np.arange(side) + 0.5)
    with tempfile.TemporaryDirectory() as folder:
        patches = rng.integers(0, 101, (side // 20, side // 20)).astype(np.uint8).repeat(20, 0).repeat(20, 1)
        for day in range(days):
            codes = np.where(rng.random((side, side)) < 0.3, rng.choice([125, 150, 111]), np.roll(patches, day * 7, 1))
            path = Path(folder) / f"MOD10A1.061_Snow_Albedo_Daily_Tile_doy2015{150 + day:03d}000000_aid0001.tif"
            options = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8"}
            transform = rasterio.Affine(step, 0, west, 0, -step, north)
            with rasterio.open(path, "w", crs=crs, transform=transform, compress="deflate", **options) as file:
                file.write(codes.astype(np.uint8), 1)
        paths = sorted(Path(folder).glob("*.tif"))
        place = np.column_stack([rng.uniform(x[40], x[-40], count), rng.uniform(y[-40], y[40], count)])
        to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
        glaciers = outlines(count, places=np.column_stack(to_degrees.transform(*place.T)))
        cube = open_codes(paths)
        weights = overlap_weights(glaciers, cube)

        def read() -> None:
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                list(pool.map(lambda p: rasterio.open(p).read(1).max(), paths))

        alone = seconds(read, repeat)
        ours = seconds(lambda: sample(open_codes(paths), weights, decode=decode_albedo).load(), repeat)
    what = f"daily rasters, {side} x {side}, {days} days, {count} glaciers"
    return [
        (f"{what}: reading", alone, "s", None),
        (f"{what}: sampling", ours, "s", None),
        ("  times the reading", ours / alone, "x", (2.0, 1.3)),
    ]


def write_dem(folder: Path, tiles: int) -> list[Path]:
    """Tiles of 0.25 degree of a 30 m elevation model, int16, as compressed GeoTIFF."""
    side, step = 900, 1 / 3600
    rng = np.random.default_rng(4)
    paths = []
    for number in range(tiles * tiles):
        j, i = divmod(number, tiles)
        y, x = np.ogrid[j * side : (j + 1) * side, i * side : (i + 1) * side]
        relief = 900 * np.sin(y / 170) * np.cos(x / 210) + 150 * np.sin(y / 23 + x / 31)
        values = (4500 + relief + 8 * rng.standard_normal((side, side))).astype(np.int16)
        paths.append(folder / f"tile_{j:02d}_{i:02d}.tif")
        transform = rasterio.Affine(step, 0, 78 + i * side * step, 0, -step, 36 - j * side * step)
        options = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "int16", "nodata": -32768}
        with rasterio.open(paths[-1], "w", crs="EPSG:4326", transform=transform, compress="deflate", **options) as file:
            file.write(values, 1)
    return paths


def exactextract_terrain(paths: list[Path], glaciers: gpd.GeoDataFrame) -> None:
    """The same statistics by exactextract: elevation and its quantiles, slope and the components of the aspect.

    Window by window and thread by thread, as ours does.
    """
    from exactextract import exact_extract

    dem = open_elevation(paths)
    bounds = glaciers.bounds.to_numpy()
    tile = np.floor((bounds[:, :2] + bounds[:, 2:]) / 2 / (1024 / 3600))
    _, number = np.unique(tile, axis=0, return_inverse=True)
    wanted = ["min", "max", "mean", "median", *(f"quantile(q={q / 10:g})" for q in range(1, 10))]

    def work(k: int) -> None:
        some = glaciers[number.ravel() == k]
        x0, y0, x1, y1 = some.total_bounds + np.array([-1, -1, 1, 1]) * 2 / 3600
        window = dem.sel(x=slice(x0, x1), y=slice(y1, y0)).load()
        grid, metres = grid_of(window), 111_320.0 / 3600
        north, east = np.gradient(window.values.astype(np.float64), -metres, metres)
        east /= np.cos(np.deg2rad(window["y"].values))[:, None]
        steepness = np.hypot(north, east)
        with np.errstate(invalid="ignore"):
            fields = [np.degrees(np.arctan(steepness)), -north / steepness, -east / steepness]
        exact_extract(raster_source(window.values, grid), some, wanted, output="pandas")
        named = [raster_source(f, grid, f"field{k}") for k, f in enumerate(fields)]
        exact_extract(named, some, ["mean"], output="pandas")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(work, range(number.max() + 1)))


def measure_terrain(repeat: int, *, quick: bool) -> list[Line]:
    """Topography from tiles on disk."""
    count, tiles = (500, 4) if quick else (10_000, 16)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_dem(Path(folder), tiles)
        side = tiles / 4
        corner = np.array([78.1, 36 - side + 0.1])
        places = np.random.default_rng(3).uniform(corner, corner + side - 0.2, (count, 2))
        glaciers = outlines(count, places=places)
        ours = seconds(lambda: terrain(open_elevation(paths), glaciers), repeat)
        what = f"terrain, {count} glaciers, {len(paths)} tiles of 30 m"
        lines: list[Line] = [(what, ours, "s", None)]
        if importlib.util.find_spec("exactextract"):
            other = seconds(lambda: exactextract_terrain(paths, glaciers), 1)
            lines += [
                (f"{what}, exactextract", other, "s", None),
                ("  times faster than exactextract", other / ours, "x", (-1.0, -2.0)),
            ]
    return lines


def meets(value: float, goal: float) -> bool:
    """Whether a figure is at most its goal; at least, where that is negative."""
    return value >= -goal if goal < 0 else value <= goal


def report(lines: list[Line], file: Path | None) -> None:
    """Print the lines as a table, and write them as JSON where asked."""
    rows = []
    for name, value, unit, goal in lines:
        must, aim = goal or (None, None)
        told = "" if must is None or aim is None else f" (must {abs(must):g}, aim {abs(aim):g})"
        missed = "" if must is None or meets(value, must) else " MISSED"
        print(f"{name:60s} {value:9.3f} {unit:4s}{told}{missed}")
        row = {"name": name.strip(), "value": value, "unit": unit, "must": must and abs(must), "aim": aim and abs(aim)}
        rows.append({**row, "meets": must and meets(value, must)})
    if file:
        file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, print, and write the JSON file where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one run of each")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    repeat = 1 if options.quick else options.repeat
    lines = [
        *measure_weights(repeat, quick=options.quick),
        *measure_fine_weights(min(repeat, 3), quick=options.quick),
        *measure_apply(repeat, quick=options.quick),
        *measure_daily(min(repeat, 3), quick=options.quick),
        *measure_terrain(min(repeat, 3), quick=options.quick),
    ]
    report(lines, options.json)


if __name__ == "__main__":
    main()
