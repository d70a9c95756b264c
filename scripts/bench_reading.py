#!/usr/bin/env python3
"""What reading costs: MB of decoded values a second through each of our readers, beside the bare library.

Values count as the file holds them once it is unpacked: float32, the 16 bits of packed files, bytes of albedo; of a
table its text. Both sides read the same files, by as many threads as there are cores where the library allows more than
one, and end with numbers in memory; ours also in canonical units, checked. Files lie in a temporary folder and so in
the system's cache: it is decoding that is measured, not a disk. Prints a table, medians over --repeat runs; --json adds
a list of {name, value, unit, must, aim, meets}.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pandas as pd
import rasterio
import xarray as xr
import zarr
from bench_sampling import Line, report

from glacmb_grid.inputs.albedo import open_codes
from glacmb_grid.inputs.balances import read_observations
from glacmb_grid.inputs.balances.geodetic import read_geodetic
from glacmb_grid.inputs.climate import open_climate
from glacmb_grid.inputs.climate.ingest import ingest
from glacmb_grid.inputs.elevation import open_elevation
from glacmb_grid.inputs.files import closing
from glacmb_grid.synthetic.files import write_variable
from glacmb_grid.synthetic.observations import BALANCE_COLUMNS
from glacmb_grid.synthetic.rasters import write_dem_tiles, write_scene
from glacmb_grid.synthetic.reanalysis import Reanalysis
from glacmb_grid.synthetic.sinusoidal import ALBEDO, hdf4_is_there, windows, write_tiles
from glacmb_grid.synthetic.terrain import Grid

NAMES = {"t2m": "K", "tp": "m"}
SNOW_LAYERS = (ALBEDO, "NDSI_Snow_Cover_Basic_QA")
BSA, QUALITY = "Albedo_BSA_shortwave", "BRDF_Albedo_Band_Mandatory_Quality_shortwave"
OPENED: Counter[str] = Counter()


@dataclass(frozen=True)
class Case:
    """One format: the MB that it holds, our reader, and the bare library."""

    name: str
    megabytes: float
    ours: Callable[[], Any]
    library: str
    bare: Callable[[], Any]


def _count(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and isinstance(arguments[0], (str, os.PathLike)):
        OPENED[os.fspath(arguments[0])] += 1


def in_threads(read: Callable[[Path], Any], paths: list[Path]) -> list[Any]:
    """Read files by as many threads as there are cores."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(read, paths))


# ---- climate ----


def fields(cells: Grid, months: int) -> Reanalysis:
    """Temperature and precipitation with a season and noise."""
    time = np.arange("1980-01", "2100-01", dtype="datetime64[M]")[:months]
    rng = np.random.default_rng(1)
    season = 270 - 10 * np.cos(2 * np.pi * np.arange(months) / 12)
    t2m = season[:, None, None] + rng.normal(size=(months, *cells.shape))
    tp = rng.uniform(0.001, 0.006, t2m.shape)
    made = {"t2m": t2m.astype(np.float32), "tp": tp.astype(np.float32)}
    return Reanalysis(cells, time, made, np.full(cells.shape, 2500.0))


def dataset(cube: Reanalysis) -> xr.Dataset:
    """The fields as xarray holds them."""
    dims = ("time", "latitude", "longitude")
    coords = {
        "time": cube.months.astype("datetime64[ns]"),
        "latitude": ("latitude", np.round(cube.grid.latitude, 4), {"units": "degrees_north"}),
        "longitude": ("longitude", np.round(cube.grid.longitude, 4), {"units": "degrees_east"}),
    }
    return xr.Dataset({n: (dims, v, {"units": NAMES[n]}) for n, v in cube.fields.items()}, coords)


def write_grib(path: Path, cube: Reanalysis) -> None:
    """Monthly means in GRIB 1, as ECMWF's stream `moda` has them."""
    import eccodes

    with path.open("wb") as file:
        for name, values in cube.fields.items():
            handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib1")
            about = {
                "centre": 98, "setLocalDefinition": 1, "localDefinitionNumber": 1, "class": "ea", "type": "an",
                "stream": "moda", "expver": "0001", "Ni": cube.grid.columns, "Nj": cube.grid.rows,
                "latitudeOfFirstGridPointInDegrees": round(cube.grid.latitude[0], 4),
                "latitudeOfLastGridPointInDegrees": round(cube.grid.latitude[-1], 4),
                "longitudeOfFirstGridPointInDegrees": round(cube.grid.longitude[0], 4),
                "longitudeOfLastGridPointInDegrees": round(cube.grid.longitude[-1], 4),
                "iDirectionIncrementInDegrees": 0.1, "jDirectionIncrementInDegrees": 0.1, "jScansPositively": 0,
                "dataTime": 0, "shortName": {"t2m": "2t"}.get(name, name), "bitsPerValue": 16,
            }  # fmt: skip
            for key, value in about.items():
                eccodes.codes_set(handle, key, value)
            for month, field in zip(cube.months.astype("datetime64[D]"), values, strict=True):
                eccodes.codes_set(handle, "dataDate", int(str(month).replace("-", "")))
                eccodes.codes_set_values(handle, field.astype(float).ravel())
                eccodes.codes_write(handle, file)
            eccodes.codes_release(handle)


def netcdf_values(path: Path) -> list[Any]:
    """Fields of a NetCDF file through netCDF4, scaled where they are packed."""
    with netCDF4.Dataset(path) as ds:
        ds.set_always_mask(False)
        return [ds[n][...] for n in NAMES]


def zarr_values(path: Path) -> list[Any]:
    """Fields of a Zarr store through zarr."""
    group = zarr.open_group(path, mode="r")
    return [np.asarray(group[n][...]) for n in NAMES]


def grib_values(path: Path) -> list[Any]:
    """Fields of a GRIB file through cfgrib."""
    found = []
    for name in ("2t", "tp"):
        keys = {"filter_by_keys": {"shortName": name}}
        with xr.open_dataset(path, engine="cfgrib", backend_kwargs=keys) as ds:
            found += [ds[n].values for n in ds.data_vars]
    return found


def zipped_values(path: Path) -> list[Any]:
    """Fields of NetCDF files in a ZIP, unpacked in memory."""
    with zipfile.ZipFile(path) as archive:
        contents = [archive.read(n) for n in archive.namelist()]
    found = []
    for content in contents:
        with netCDF4.Dataset("memory", memory=content) as ds:
            found += [ds[n][...] for n in NAMES if n in ds.variables]
    return found


def climate(*paths: Path) -> xr.Dataset:
    """Our reader, to values in memory."""
    with closing():
        return open_climate(paths, accumulated="daily_mean").load()


def climate_cases(folder: Path, *, quick: bool) -> Iterator[Case]:
    """Every format of a monthly cube."""
    months, cells = (24, Grid(5.95, 48.05, 0.1, 60, 80)) if quick else (240, Grid(5.95, 48.05, 0.1, 100, 160))
    cube = fields(cells, months)
    ds = dataset(cube)
    size = ds["t2m"].nbytes * 2 / 1e6

    chunked = folder / "chunked.nc"
    ds.to_netcdf(chunked, encoding={n: {"chunksizes": (1, *cells.shape), "zlib": True} for n in NAMES})
    yield Case("climate, NetCDF4, a month a chunk, zlib", size, lambda: climate(chunked), "netCDF4",
               lambda: netcdf_values(chunked))  # fmt: skip
    classic = folder / "classic.nc"
    ds.to_netcdf(classic, format="NETCDF3_64BIT")
    yield Case("climate, NetCDF3", size, lambda: climate(classic), "netCDF4", lambda: netcdf_values(classic))
    packed = folder / "packed.nc"
    packing = {
        n: {"dtype": "int16", "scale_factor": float(np.ptp(v)) / 65530, "_FillValue": np.int16(-32767)}
        | {"add_offset": float(v.min() + v.max()) / 2}
        for n, v in cube.fields.items()
    }
    ds.to_netcdf(packed, format="NETCDF3_64BIT", encoding=packing)
    yield Case("climate, NetCDF3, packed in 16 bits", size / 2, lambda: climate(packed), "netCDF4",
               lambda: netcdf_values(packed))  # fmt: skip
    if importlib.util.find_spec("cfgrib"):
        grib = folder / "era5.grib"
        write_grib(grib, cube)
        yield Case("climate, GRIB 1", size, lambda: climate(grib), "cfgrib", lambda: grib_values(grib))
    for version in (2, 3):
        store = folder / f"v{version}.zarr"
        ds.chunk(time=12).to_zarr(store, zarr_format=version, consolidated=version == 2)
        yield Case(f"climate, Zarr {version}", size, lambda s=store: climate(s), "zarr",  # type: ignore[misc]
                   lambda s=store: zarr_values(s))  # fmt: skip
    ingested = folder / "ingested.zarr"
    ingest(open_climate(chunked, accumulated="daily_mean"), ingested, accumulated="daily_mean")
    yield Case("climate, store of `ingest`", size, lambda: climate(ingested), "zarr", lambda: zarr_values(ingested))
    archive = folder / "download.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in NAMES:
            write_variable(folder / f"{name}.nc", name, cube)
            file.write(folder / f"{name}.nc", f"data_stream-moda_{name}.nc")
    yield Case("climate, ZIP of NetCDF4", size, lambda: climate(archive), "netCDF4", lambda: zipped_values(archive))


def many_files(folder: Path, repeat: int, *, quick: bool) -> list[Line]:
    """A file for each month: opening, and all values."""
    count, shape = (48, (30, 40)) if quick else (240, (60, 80))
    cube = fields(Grid(5.95, 48.05, 0.1, *shape), count)
    ds = dataset(cube)
    (folder / "months").mkdir()
    paths = [folder / "months" / f"{month}.nc" for month in cube.months]
    for number, path in enumerate(paths):
        ds.isel(time=[number]).to_netcdf(path, encoding={n: {"zlib": True} for n in NAMES})

    def opening() -> None:
        with closing():
            open_climate(paths, accumulated="daily_mean")

    OPENED.clear()
    climate(*paths)
    times = max(OPENED[str(p)] for p in paths)
    size = ds["t2m"].nbytes * 2 / 1e6
    name = f"climate, {count} files of a month"
    bare = lambda: [netcdf_values(p) for p in paths]  # noqa: E731 - the library reads one at a time
    return [
        (f"{name}, opening", costs(opening, repeat)[0], "s", None),
        ("  opened at most", float(times), "x", (1.0, 1.0)),
        *lines_of(Case(name, size, lambda: climate(*paths), "netCDF4", bare), repeat),
    ]


# ---- albedo ----


def codes(paths: list[Path]) -> xr.Dataset:
    """Our reader of albedo, to codes in memory."""
    return open_codes(paths).load()


def hdf4_values(path: Path) -> list[Any]:
    """Albedo and its quality through pyhdf."""
    from pyhdf.SD import SD

    file = SD(str(path))
    found = [file.select(n)[:] for n in SNOW_LAYERS]
    file.end()
    return found


def raster_values(path: Path | str) -> Any:
    """The band of a raster through rasterio."""
    with rasterio.open(path) as file:
        return file.read(1)


def write_viirs(path: Path, values: np.ndarray) -> None:
    """VNP43MA3 in HDF-EOS5: thousandths and their quality, as the agency compresses them."""
    rows, columns = values.shape
    text = (
        f"XDim={columns}\nYDim={rows}\nUpperLeftPointMtrs=(0.0,5559752.598333)\n"
        f"LowerRightMtrs=({columns * 463.3127165:.6f},{5559752.598333 - rows * 463.3127165:.6f})\n"
        "Projection=HE5_GCTP_SNSOID\nProjParams=(6371007.181000,0,0,0,0,0,0,0,0,0,0,0,0)\n"
    )
    layers = {QUALITY: np.zeros(values.shape, np.uint8), BSA: values.astype(np.int16) * 10}
    with h5py.File(path, "w") as file:
        file.attrs["ShortName"] = np.bytes_("VNP43MA3")
        file["HDFEOS INFORMATION/StructMetadata.0"] = np.bytes_(text)
        for name, layer in layers.items():
            place = f"HDFEOS/GRIDS/VIIRS_Grid_BRDF/Data Fields/{name}"
            data = file.create_dataset(place, data=layer, chunks=(min(400, rows), columns), compression="gzip")
            data.attrs["_FillValue"] = np.array([255 if layer.dtype == np.uint8 else 32767], layer.dtype)
            if name == BSA:
                data.attrs["scale_factor"], data.attrs["add_offset"] = np.array([0.001]), np.array([0.0])


def hdf5_values(path: Path) -> list[Any]:
    """Albedo and its quality through h5py."""
    with h5py.File(path) as file:
        return [file[f"HDFEOS/GRIDS/VIIRS_Grid_BRDF/Data Fields/{n}"][...] for n in (BSA, QUALITY)]


def write_appeears(path: Path, days: np.ndarray, scenes: np.ndarray, pixels: Grid) -> None:
    """One NetCDF file of all days, as AppEEARS delivers it."""
    number = (days - np.datetime64("2000-01-01")) / np.timedelta64(1, "D")
    time = ("time", number, {"units": "days since 2000-01-01 00:00:00", "calendar": "julian"})
    layer = (("time", "lat", "lon"), scenes, {"grid_mapping": "crs"})
    crs = ((), np.int8(0), {"grid_mapping_name": "latitude_longitude"})
    ds = xr.Dataset({ALBEDO: layer, "crs": crs}, {"time": time, "lat": pixels.latitude, "lon": pixels.longitude})
    stored = {"_FillValue": np.uint8(255), "zlib": True, "complevel": 4, "chunksizes": (1, *pixels.shape)}
    ds.to_netcdf(path, encoding={ALBEDO: stored})


def appeears_values(path: Path) -> Any:
    """The layer of AppEEARS' NetCDF through netCDF4."""
    with netCDF4.Dataset(path) as ds:
        ds.set_auto_maskandscale(False)
        return ds[ALBEDO][...]


def albedo_cases(folder: Path, *, quick: bool) -> Iterator[Case]:
    """Days of snow albedo in every format."""
    count, side = (4, 300) if quick else (16, 1200)
    days = np.datetime64("2019-06-01") + np.arange(count) * np.timedelta64(1, "D")
    pixels = Grid(10.0, 47.0, 0.005, side, side)
    rng = np.random.default_rng(2)
    scenes = np.repeat(rng.integers(10, 90, (count, side, side // 4)), 4, axis=2).astype(np.uint8)
    size = scenes.nbytes / 1e6

    (folder / "tiff").mkdir()
    for day, scene in zip(days, scenes, strict=True):
        write_scene(folder / "tiff", day, "MOD10A1", scene, pixels)
    tiffs = sorted((folder / "tiff").glob("*.tif"))
    yield Case("albedo, GeoTIFF of AppEEARS", size, lambda: codes(tiffs), "rasterio",
               lambda: in_threads(raster_values, tiffs))  # fmt: skip
    netcdf = folder / "MOD10A1.061_500m_aid0001.nc"
    write_appeears(netcdf, days, scenes, pixels)
    yield Case("albedo, NetCDF of AppEEARS", size, lambda: codes([netcdf]), "netCDF4", lambda: appeears_values(netcdf))
    (folder / "viirs").mkdir()
    for day, scene in zip(days, scenes, strict=True):
        number = int((day - np.datetime64("2018-12-31")) / np.timedelta64(1, "D"))
        write_viirs(folder / "viirs" / f"VNP43MA3.A2019{number:03d}.h18v04.002.2025032120000.h5", scene)
    viirs = sorted((folder / "viirs").glob("*.h5"))
    yield Case("albedo, HDF-EOS5 tiles of VIIRS", 3 * size, lambda: codes(viirs), "h5py",
               lambda: [hdf5_values(p) for p in viirs])  # fmt: skip
    if hdf4_is_there():
        (folder / "tiles").mkdir()
        parts = windows(pixels)
        for day, scene in zip(days, scenes, strict=True):
            write_tiles(folder / "tiles", day, "MOD10A1", scene, parts)
        tiles = sorted((folder / "tiles").glob("*.hdf"))
        held = 2 * len(days) * sum(p.row.size for p in parts) / 1e6
        yield Case("albedo, HDF4 tiles of MODIS", held, lambda: codes(tiles), "pyhdf",
                   lambda: [hdf4_values(p) for p in tiles])  # fmt: skip


# ---- elevation ----


def elevation(paths: list[Path]) -> xr.DataArray:
    """Our reader, window by window as the sampling reads it."""
    return open_elevation(paths).chunk(y=1200, x=1200).compute()


def elevation_cases(folder: Path, *, quick: bool) -> Iterator[Case]:
    """Tiles of a square degree as GeoTIFF, and as .hgt in archives."""
    size, degrees = (600, 1) if quick else (1200, 2)
    step = 1 / size
    grid = Grid(10 - step / 2, 45 + degrees + step / 2, step, degrees * size + 1, degrees * 2 * size + 1)
    row, column = np.indices(grid.shape)
    rough = np.random.default_rng(3).normal(scale=4, size=grid.shape)
    surface = np.rint(2200 + 600 * np.sin(row / 90) * np.cos(column / 70) + rough).astype(np.int16)
    (folder / "dem").mkdir()
    write_dem_tiles(folder / "dem", surface, grid)
    tiles = sorted((folder / "dem").glob("*_dem.tif"))
    held = len(tiles) * (size + 1) ** 2 * 2 / 1e6
    yield Case("elevation, GeoTIFF tiles", held, lambda: elevation(tiles), "rasterio",
               lambda: in_threads(raster_values, tiles))  # fmt: skip
    archives = []
    for latitude in (45, 46):
        tile = surface[:1201, :1201] if size == 1200 else np.kron(surface[:601, :601], np.ones((2, 2)))[:1201, :1201]
        archives.append(folder / f"N{latitude}E010.hgt.zip")
        with zipfile.ZipFile(archives[-1], "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(archives[-1].stem, tile.astype(">i2").tobytes())
    names = [f"/vsizip/{p}/{p.stem}" for p in archives]
    yield Case("elevation, .hgt in ZIP", 2 * 1201**2 * 2 / 1e6, lambda: elevation(archives), "rasterio",
               lambda: in_threads(raster_values, names))  # type: ignore[arg-type]  # fmt: skip


# ---- tables ----


def table_cases(folder: Path, *, quick: bool) -> Iterator[Case]:
    """Observations of the size of Fluctuations of Glaciers, and rates of a region's glaciers."""
    rng = np.random.default_rng(4)
    years = np.arange(1950, 1963) if quick else np.arange(1950, 1976)
    glacier, year = (a.ravel() for a in np.meshgrid(np.arange(100 if quick else 250), years))
    balance = rng.normal(-700, 400, len(year)).round().astype(int)
    fog = pd.DataFrame(dict.fromkeys(BALANCE_COLUMNS, ""), index=range(len(year)))
    fog = fog.assign(WGMS_ID=[f"{g + 1:05d}" for g in glacier], NAME="GLACIER", POLITICAL_UNIT="AT", YEAR=year)
    fog = fog.assign(LOWER_BOUND=9999, UPPER_BOUND=9999, ANNUAL_BALANCE=balance, ANNUAL_BALANCE_UNC=200)
    balances = folder / "fog.csv"
    fog.to_csv(balances, index=False)
    ours = partial(read_observations, balances, units="mm w.e.")
    yield Case(f"tables, {len(year):,} balances as of FoG", balances.stat().st_size / 1e6, ours, "pandas",
               lambda: pd.read_csv(balances))  # fmt: skip
    rates = folder / "rates.csv"
    write_rates(rates, 10_000 if quick else 100_000)
    yield Case(f"tables, {10_000 if quick else 100_000:,} geodetic rates", rates.stat().st_size / 1e6,
               lambda: read_geodetic(rates), "pandas", lambda: pd.read_csv(rates))  # fmt: skip


def write_rates(path: Path, count: int, periods: int = 5) -> None:
    """Rates of glaciers over periods of 5 years and less, with the columns of Hugonnet et al. (2021)."""
    rng = np.random.default_rng(5)
    number = np.arange(count)
    spans = [f"{2000 + 5 * k}-01-01_{2005 + 5 * k}-01-01" for k in range(min(periods, 4))] + ["2000-01-01_2020-01-01"]
    rate = rng.normal(-0.5, 0.4, count).round(4)
    table = pd.DataFrame({"rgiid": [f"RGI60-13.{k // len(spans) + 1:06d}" for k in number]})
    table["period"] = np.array(spans)[number % len(spans)]
    table["area"] = (rng.uniform(0.05, 20, count) * 1e6).round()
    table = table.assign(dhdt=(rate / 0.85).round(4), err_dhdt=0.2, dmdtda=rate, err_dmdtda=0.18)
    table.to_csv(path, index=False)


def costs(work: Callable[[], Any], repeat: int) -> tuple[float, float]:
    """Medians of the time that passes, and of that of the processors, s, after one run to warm up."""
    work()
    times = []
    for _ in range(repeat):
        begun, used = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - begun, time.process_time() - used))
    passed, spent = zip(*times, strict=True)
    return statistics.median(passed), statistics.median(spent)


def lines_of(case: Case, repeat: int) -> list[Line]:
    """Both speeds of one format, and the ratio of what they cost the processors, which other work changes least."""
    ours, bare = costs(case.ours, repeat), costs(case.bare, repeat)
    return [
        (case.name, case.megabytes / ours[0], "MB/s", None),
        (f"  {case.library}", case.megabytes / bare[0], "MB/s", None),
        (f"  times the processor time of {case.library}", ours[1] / bare[1], "x", None),
    ]


@contextmanager
def quiet() -> Iterator[None]:
    """Without what readers say of the made-up files."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main() -> None:
    """Measure, print, and write the JSON file where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, one run of each")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", choices=("climate", "albedo", "elevation", "tables"), help="one kind of input")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sys.addaudithook(_count)
    repeat = 1 if options.quick else options.repeat
    kinds = {"climate": climate_cases, "albedo": albedo_cases, "elevation": elevation_cases, "tables": table_cases}
    lines: list[Line] = []
    with tempfile.TemporaryDirectory() as folder, quiet():
        for kind, cases in kinds.items():
            if options.only in (None, kind):
                (place := Path(folder, kind)).mkdir()
                lines += [line for case in cases(place, quick=options.quick) for line in lines_of(case, repeat)]
                if kind == "climate":
                    lines += many_files(place, repeat, quick=options.quick)
    report(lines, options.json)


if __name__ == "__main__":
    main()
