#!/usr/bin/env python3
"""Sampling of High Mountain Asia at full size: a Zarr cube, outlines along its ranges, time and memory.

The cube has the size of the real thing (25-46 N, 66-105 E, 0.1 degree, 900 months, 22 variables: 6.5 GB decoded) and
values with the 16 bits that GRIB packing leaves; the outlines are those of bench_sampling.py, along the mountain
ranges. Every measurement runs in a process of its own. Beside each stands the time of reading and decoding the touched
chunks with the same threads and dropping them. --json adds a list of {name, value, unit, must, aim, meets}.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import rasterio
import xarray as xr
from bench_sampling import Line, outlines, report

from glacmb_grid.inputs.climate.ingest import ingest
from glacmb_grid.sampling.grid import grid_of
from glacmb_grid.sampling.zonal import overlap_weights, sample
from glacmb_grid.stores.formats import read_zarr, write_zarr
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.stores.seals import seal
from glacmb_grid.vocabulary import PDD, VARIABLES
from glacmb_grid.weights import Weights, from_dataset
from glacmb_grid.workflow.log import peak_memory

RANGES = {  # longitude, latitude of points along the ridges, and share of the glaciers
    "Hindu Kush": ([(69.5, 35.0), (71.5, 36.3), (73.5, 36.8)], 0.04),
    "Pamir": ([(70.5, 39.3), (72.5, 38.8), (74.0, 38.5), (75.2, 38.3)], 0.14),
    "Karakoram": ([(73.8, 36.6), (75.5, 36.1), (77.0, 35.3), (78.2, 34.7)], 0.15),
    "Himalaya": ([(75.5, 34.2), (78.5, 31.5), (81.0, 30.3), (84.0, 28.7), (88.0, 27.9), (91.5, 28.1)], 0.22),
    "Kunlun": ([(76.5, 36.8), (80.5, 35.8), (84.5, 36.3), (88.0, 36.5), (91.0, 35.9)], 0.12),
    "Tien Shan": ([(70.8, 42.2), (74.5, 42.4), (77.8, 42.0), (80.2, 42.2), (84.5, 43.4), (87.5, 43.7)], 0.18),
    "Nyainqentanglha": ([(90.2, 29.9), (93.0, 30.3), (95.5, 30.3), (97.0, 29.4)], 0.10),
    "Qilian": ([(94.5, 39.1), (97.5, 38.9), (101.5, 37.6)], 0.05),
}
SPREAD = 0.35  # degrees, across the ridge
MEMORY = (6.0, 6.0)  # GB, must and aim
MEASURED, FIRST_YEAR = 93, 1950
CHUNKINGS = {"series": (900, 24, 24), "years": (120, 71, 131), "fields": (12, 211, 391)}


@dataclass(frozen=True)
class Size:
    """How much is made and sampled."""

    months: int
    variables: int
    counts: tuple[int, ...]
    repeat: int


FULL, QUICK = Size(900, 22, (1000, 10_000, 95_536, 274_531), 3), Size(120, 3, (1000, 10_000), 1)


def places(count: int) -> np.ndarray:
    """Longitude and latitude along the ranges, (count, 2)."""
    rng = np.random.default_rng(5)
    share = np.array([s for _, s in RANGES.values()])
    kind = rng.choice(len(RANGES), count, p=share / share.sum())
    out = np.empty((count, 2))
    for k, (points, _) in enumerate(RANGES.values()):
        here, line = kind == k, np.array(points)
        at = rng.uniform(0, len(line) - 1, here.sum())
        out[here] = np.column_stack([np.interp(at, np.arange(len(line)), line[:, d]) for d in (0, 1)])
    return out + rng.normal(0, SPREAD, (count, 2))


def glaciers(count: int) -> Any:
    """Outlines along the ranges."""
    return outlines(count, places=places(count))


def believable() -> dict[str, tuple[np.float32, np.float32]]:
    """Level and width of every variable, t2m and tp first."""
    known = {"t2m": (270.0, 6.0), "tp": (0.004, 0.001), "ssrd": (1.5e7, 2e6)}
    names = [*known, *(n for n in VARIABLES if n not in {*known, PDD})]
    middle = {n: ((v.low + v.high) / 2, (v.high - v.low) / 12) for n, v in VARIABLES.items()}
    return {n: tuple(np.float32(v) for v in known.get(n, middle[n])) for n in names}


def write_weights(folder: Path, counts: tuple[int, ...]) -> None:
    """Weights of so many outlines, so that what samples need not hold the outlines."""
    cube = xr.open_zarr(folder / "cube.zarr", consolidated=False)
    for count in counts:
        write_zarr(overlap_weights(glaciers(count), grid_of(cube)).to_dataset(), folder / f"weights_{count}.zarr")


def weights_of(path: Path, count: int) -> Weights:
    """Weights from `write_weights`."""
    return from_dataset(read_zarr(path.parent / f"weights_{count}.zarr"))


def write_cube(path: Path, size: Size, chunks: tuple[int, int, int]) -> None:
    """A cube with a smooth field, a season and noise, in steps of 16 bits."""
    latitude, longitude = np.round(46 - np.arange(211) * 0.1, 1), np.round(66 + np.arange(391) * 0.1, 1)
    shape = (size.months, 211, 391)

    def block(number: int, block_info: Any = None) -> np.ndarray:
        (t0, t1), (y0, y1), (x0, x1) = block_info[None]["array-location"]
        rng = np.random.default_rng([number, t0, y0, x0])
        t, y, x = np.ogrid[t0:t1, y0:y1, x0:x1]
        smooth = np.sin(y / 17 + number) * np.cos(x / 23) + 0.8 * np.sin(2 * np.pi * t / 12)
        values = smooth + 0.2 * rng.standard_normal((t1 - t0, y1 - y0, x1 - x0), np.float32)
        return (np.round(values * 2**13) / 2**13).astype(np.float32)

    part = tuple(min(c, n) for c, n in zip(chunks, shape, strict=True))
    layout = da.core.normalize_chunks(part, shape)
    empty = np.empty((0, 0, 0), np.float32)
    fields = {
        name: (
            ("time", "latitude", "longitude"),
            level + width * da.map_blocks(block, k, chunks=layout, dtype=np.float32, meta=empty),
            {"units": "m" if name == "tp" else VARIABLES[name].units},
        )
        for k, (name, (level, width)) in enumerate(list(believable().items())[: size.variables])
    }
    coords = {
        "time": pd.date_range(f"{FIRST_YEAR}-01-01", periods=size.months, freq="MS"),
        "latitude": latitude,
        "longitude": longitude,
    }
    encoding = {n: {"chunks": part} for n in fields}
    xr.Dataset(fields, coords=coords).to_zarr(path, mode="w", zarr_format=3, encoding=encoding, consolidated=False)


def forget(path: Path) -> None:
    """Make the next reading of these files a cold one."""
    os.sync()
    for file in (p for p in path.rglob("*") if p.is_file()):
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def bytes_of(path: Path) -> int:
    """Size of the files of a store."""
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def _drop(block: np.ndarray) -> np.ndarray:
    return np.zeros((1,) * block.ndim, np.int8)


def _dropped(data: da.Array) -> da.Array:
    return data.map_blocks(_drop, chunks=tuple((1,) * n for n in data.numblocks), dtype=np.int8)


def touched_blocks(variable: xr.DataArray, touched: np.ndarray) -> list[tuple[int, int]]:
    """Chunks in y and x that hold a touched cell."""
    y, x = np.divmod(touched, variable.sizes["longitude"])
    ends = [np.cumsum(variable.chunks[d]) for d in (1, 2)]
    found = {
        (int(j), int(i))
        for j, i in zip(*(np.searchsorted(e, k, "right") for e, k in zip(ends, (y, x), strict=True)), strict=True)
    }
    return sorted(found)


def touched_bytes(path: Path, count: int) -> float:
    """Decoded size of the chunks that hold a touched cell."""
    cube = xr.open_zarr(path, consolidated=False)
    touched = weights_of(path, count).touched
    return float(
        sum(
            v.sizes["time"] * v.chunks[1][j] * v.chunks[2][i] * v.dtype.itemsize
            for v in cube.data_vars.values()
            for j, i in touched_blocks(v, touched)
        )
    )


def read_touched(path: Path, count: int) -> Callable[[], Any]:
    """Read and decode every chunk that holds a touched cell, and drop it."""
    cube = xr.open_zarr(path, consolidated=False)
    touched = weights_of(path, count).touched
    wanted = []
    for variable in cube.data_vars.values():
        gone = _dropped(variable.data)
        wanted += [gone.blocks[:, j, i] for j, i in touched_blocks(variable, touched)]
    return lambda: dask.compute(*wanted)


def sample_all(path: Path, count: int) -> Callable[[], Any]:
    """Sample every variable, and drop the results."""
    cube = xr.open_zarr(path, consolidated=False)
    sampled = sample(cube, weights_of(path, count))
    gone = [_dropped(v.data) for v in sampled.data_vars.values()]
    return lambda: dask.compute(*gone)


def sample_to_disk(path: Path, count: int) -> Callable[[], Any]:
    """Sample every variable into a Zarr store."""
    cube = xr.open_zarr(path, consolidated=False)
    weights = weights_of(path, count)
    return lambda: write_zarr(sample(cube, weights), path.parent / "sampled.zarr")


def ingest_cube(path: Path, count: int) -> Callable[[], Any]:
    """Write the cube as `glacmb-grid ingest` does."""
    cube = xr.open_zarr(path, consolidated=False)
    return lambda: ingest(cube, path.parent / "ingested.zarr", accumulated="monthly_total")


WORK = {"read": read_touched, "sample": sample_all, "write": sample_to_disk, "ingest": ingest_cube}


def _measured(what: str, path: Path, count: int, *, cold: bool) -> tuple[float, float]:
    work = WORK[what](path, count)
    if cold:
        forget(path)
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun, peak_memory()


def _apart(work: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A piece of work in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments, **options).result()


def measured(what: str, path: Path, count: int, *, cold: bool = False) -> tuple[float, float]:
    """Seconds and peak memory (GB) of a piece of work in a process of its own."""
    found: tuple[float, float] = _apart(_measured, what, path, count, cold=cold)
    return found


def measure(folder: Path, size: Size, chunkings: list[str]) -> list[Line]:
    """All lines of the table."""
    lines: list[Line] = []
    most = size.counts[-2]
    raw = 211 * 391 * size.months * size.variables * 4 / 1e6
    lines.append(("cube, decoded", raw / 1e3, "GB", None))
    for name in chunkings:
        chunks = CHUNKINGS[name]
        path = folder / "cube.zarr"
        begun = time.perf_counter()
        write_cube(path, size, chunks)
        lines.append((f"{name} {chunks}: written in", time.perf_counter() - begun, "s", None))
        lines.append((f"{name}: on disk", bytes_of(path) / 1e9, "GB", None))
        if not (folder / f"weights_{most}.zarr").exists():
            _apart(write_weights, folder, size.counts)
        for state in ("cold", "warm"):
            read, taken, peak = [], [], 0.0
            for _ in range(size.repeat):
                read.append(measured("read", path, most, cold=state == "cold")[0])
                seconds, memory = measured("sample", path, most, cold=state == "cold")
                taken.append(seconds)
                peak = max(peak, memory)
            base, ours = statistics.median(read), statistics.median(taken)
            ratio = statistics.median([b / a for a, b in zip(read, taken, strict=True)])
            lines += [
                (f"{name}, {state}: reading the touched chunks", base, "s", None),
                (f"{name}, {state}: sampling {most} outlines", ours, "s", None),
                ("  touched chunks, decoded, per second", touched_bytes(path, most) / 1e6 / ours, "MB/s", None),
                ("  times the reading", ratio, "x", (1.5, 1.2)),
                ("  peak memory", peak, "GB", MEMORY),
            ]
        seconds, memory = measured("write", path, most)
        lines += [(f"{name}: sampling and writing", seconds, "s", None), ("  peak memory", memory, "GB", MEMORY)]
        lines.append(("  written", bytes_of(folder / "sampled.zarr") / 1e9, "GB", None))
        shutil.rmtree(folder / "sampled.zarr")
        if name == "series":
            for count in size.counts:
                times = [measured("sample", path, count) for _ in range(size.repeat)]
                lines.append(
                    (f"{name}, warm: sampling {count} outlines", statistics.median([t for t, _ in times]), "s", None)
                )
                lines.append(("  peak memory", max(m for _, m in times), "GB", MEMORY))
        if name == "fields":
            seconds, memory = measured("ingest", path, most)
            lines += [("ingesting the fields", seconds, "s", None), ("  peak memory", memory, "GB", MEMORY)]
            lines.append(("  on disk", bytes_of(folder / "ingested.zarr") / 1e9, "GB", None))
            seconds, _ = measured("sample", folder / "ingested.zarr", most, cold=True)
            lines.append(("  sampling the ingested store, cold", seconds, "s", None))
            shutil.rmtree(folder / "ingested.zarr")
    return lines


def write_dem(folder: Path, bounds: np.ndarray) -> int:
    """Tiles of one degree at 30 m under outlines, as those of GLO-30 lie; how many."""
    side, step = 3600, 1 / 3600
    y, x = np.ogrid[:side, :side]
    rough = np.random.default_rng(4).normal(0, 6, (side, side))
    relief = 4500 + 700 * np.sin(y / 150) * np.cos(x / 180) + 120 * np.sin(y / 23 + x / 31) + rough
    corners = np.floor(bounds[:, [0, 1, 2, 1, 0, 3, 2, 3]]).reshape(-1, 2).astype(int)
    tiles = np.unique(corners, axis=0)

    def write(tile: np.ndarray) -> None:
        west, south = (int(t) for t in tile)
        options = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "int16", "nodata": -32768}
        options |= {"compress": "deflate", "zlevel": 1, "predictor": 2, "tiled": True, "crs": "EPSG:4326"}
        transform = rasterio.Affine(step, 0, west, 0, -step, south + 1)
        with rasterio.open(folder / f"N{south:02d}E{west:03d}.tif", "w", transform=transform, **options) as file:
            file.write((relief + 10 * (south % 7) - 7 * (west % 5)).astype(np.int16), 1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(write, tiles))
    return len(tiles)


def write_balances(path: Path, table: Any, years: tuple[int, int]) -> None:
    """Balances of 93 glaciers in some years: a level of each, a departure of each year, noise, mm w.e."""
    draws = np.random.default_rng(6)
    large = np.flatnonzero(table.to_crs("EPSG:6933").area.to_numpy() > 0.3e6)
    mine = np.sort(draws.choice(large, MEASURED, replace=False))
    span = np.arange(years[0], years[1] + 1)
    departure = draws.normal(0, 300, len(span))
    rows = []
    for glacier in mine:
        level, begin = draws.normal(-350, 300), draws.integers(0, len(span) - 8)
        for k in range(begin, min(begin + draws.integers(6, 25), len(span))):
            balance = round(level + departure[k] + draws.normal(0, 250))
            rows.append((glacier + 1, span[k], balance, table["rgi_id"].iloc[glacier]))
    frame = pd.DataFrame(rows, columns=["WGMS_ID", "YEAR", "ANNUAL_BALANCE", "RGI_ID"])
    frame.to_csv(path, index=False)


def run_region(folder: Path, count: int, size: Size, only: str | None) -> list[Line]:
    """`glacmb-grid run` of a simulated region in files, elevation model of 30 m included, with all products."""
    write_cube(folder / "cube.zarr", size, CHUNKINGS["years"])
    latitude, longitude = 46 - np.arange(211) * 0.1, 66 + np.arange(391) * 0.1
    y, x = np.ogrid[:211, :391]
    height = 4500 + 900 * np.sin(y / 5) * np.cos(x / 6)
    invariant = xr.Dataset({"z": (("latitude", "longitude"), 9.80665 * height, {"units": "m2 s-2"})})
    invariant.assign_coords(latitude=latitude, longitude=longitude).to_netcdf(folder / "invariant.nc")
    table = outlines(count, 100, places=places(count)).reset_index(names="rgi_id")
    region = np.repeat(["13", "14", "15"], np.diff([0, round(0.57 * count), round(0.863 * count), count]))
    table["rgi_id"] = [f"RGI60-{r}.{i:05d}" for r, i in zip(region, np.arange(count) + 1, strict=True)]
    table.to_file(folder / "outlines.gpkg")
    (folder / "dem").mkdir()
    tiles = write_dem(folder / "dem", table.bounds.to_numpy())
    first = FIRST_YEAR + 1
    write_balances(folder / "fog.csv", table, (first, first + size.months // 12 - 2))
    del table
    config = {
        "glaciers": {"path": "outlines.gpkg"},
        "climate": {"files": "cube.zarr", "accumulated": "daily_mean", "invariant": "invariant.nc"},
        "sampling": {"lapse_rate": "fitted"},
        "elevation": {"files": "dem/*.tif"},
        "observations": {"path": "fog.csv", "units": "mm w.e."},
        "predictors": {"monthly": ["t2m", "tp"]},
        "validation": {"schemes": ["logo", "both_out"]},
        "product": {"area_change": "rgi", "grids": {"resolutions": [0.5, 0.1]}},
        "store": {"root": "out"},
    }
    (folder / "region.yaml").write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-m", "glacmb_grid", "run", str(folder / "region.yaml")]
    command += ["--stage", only] if only else []
    done = subprocess.run(command, check=False)
    log = json.loads((folder / "out" / "run.json").read_text(encoding="utf-8"))["runs"][-1]
    lines: list[Line] = [(f"run of {count} glaciers, {tiles} tiles of 30 m: exit status", done.returncode, "", None)]
    lines += [(f"  stage {name}", taken, "s", None) for name, taken in log["stages"].items()]
    lines.append(("  peak memory", log["peak_memory_gb"], "GB", MEMORY))
    return [*lines, *cost_of_seals(folder, list(log["stages"]))]


def cost_of_seals(folder: Path, stages: list[str]) -> list[Line]:
    """What it takes to name every file of the results with its digest, and to see later that nothing is damaged."""
    store, lines = RunStore(folder / "out"), []
    total = {"sealing": 0.0, "sizes and times": 0.0, "every byte": 0.0}
    for stage in stages:
        results, taken = store.folder(stage), {}
        begun = time.perf_counter()
        files, _ = seal(results)
        taken["sealing"] = time.perf_counter() - begun
        store.damage(stage)
        for what, whole in (("sizes and times", False), ("every byte", True)):
            begun = time.perf_counter()
            assert not store.damage(stage, whole=whole)
            taken[what] = time.perf_counter() - begun
        size = sum(size for size, _ in files.values())
        if size > 1e8:
            lines.append(
                (f"  {stage}: {len(files)} files of {size / 1e9:.1f} GB: sealing", taken["sealing"], "s", None)
            )
        total = {what: seconds + taken[what] for what, seconds in total.items()}
    lines.append(("all stages: sealing (part of the seconds above)", total["sealing"], "s", None))
    lines.append(("  looking for damage by sizes and times, as each run does", total["sizes and times"], "s", None))
    lines.append(("  looking for damage in every byte, as --verify does", total["every byte"], "s", None))
    status = [sys.executable, "-m", "glacmb_grid", "status", str(folder / "region.yaml")]
    for name, command in (("status", status), ("status --verify, inputs too", [*status, "--verify"])):
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines.append((f"  {name}, a process of its own", time.perf_counter() - begun, "s", None))
    return lines


def main() -> None:
    """Measure, print, and write the JSON file where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="120 months of 3 variables, one run of each")
    parser.add_argument("--folder", type=Path, help="where the cubes are written (default: a temporary folder)")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", choices=CHUNKINGS, help="one of the chunkings")
    parser.add_argument("--repeat", type=int)
    parser.add_argument("--run", action="store_true", help="instead: a run of files, with all products")
    parser.add_argument("--stage", help="of the run: only this stage and what it needs")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    size = replace(size, repeat=options.repeat or size.repeat)
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.run:
            report(run_region(Path(folder), 2000 if options.quick else 95_536, size, options.stage), options.json)
            return
        report(measure(Path(folder), size, [options.only] if options.only else list(CHUNKINGS)), options.json)


if __name__ == "__main__":
    main()
