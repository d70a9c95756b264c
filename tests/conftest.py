"""Settings of all tests: the real data, JAX on the CPU, plots without a display, repeatable properties."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before anything imports jax
os.environ["MPLBACKEND"] = "Agg"
if "PYTEST_XDIST_WORKER" in os.environ:  # there is one process a processor: threads of each would wait for the others
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from hypothesis import settings

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data; a test that uses it carries the mark ``real``."""
    folder = os.environ.get("GLACMB_DATA")
    if not folder:
        pytest.skip("GLACMB_DATA is not set: it names the folder of the real data")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.skip(f"GLACMB_DATA={folder} is not a folder")
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With GLACMB_REQUIRE_REAL=1 a skipped test on real data is a failure: CI must not pass without them."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and item.get_closest_marker("real") and os.environ.get("GLACMB_REQUIRE_REAL") == "1":
        report.outcome = "failed"
        report.longrepr = f"GLACMB_REQUIRE_REAL=1, yet skipped: {call.excinfo.value}"
    return report


def toy_predictors(glaciers=6, years=(2001, 2012), seed=0):
    """Predictors of a few made-up glaciers, through the package's own `build_predictors`."""
    from glacmb_grid.predictors import build_predictors

    rng = np.random.default_rng(seed)
    time = np.arange(f"{years[0] - 1}-10", f"{years[1]}-10", dtype="datetime64[M]").astype("datetime64[ns]")
    month = (time.astype("datetime64[M]").astype(int) % 12) + 1
    ids = np.array([f"G{i:02d}" for i in range(glaciers)], dtype=object)
    height = rng.uniform(2800, 3400, glaciers)
    season = 272.0 - 9.0 * np.cos(2 * np.pi * (month - 1) / 12)
    yearly = np.repeat(rng.normal(0, 0.8, years[1] - years[0] + 1), 12)
    warmth = season + yearly + rng.normal(0, 1.0, len(time)) - 0.0065 * (height[:, None] - 3000)
    rain = 0.12 * rng.gamma(4, 0.25, (glaciers, len(time)))
    dims, coords = ("glacier", "time"), {"glacier": ids, "time": time}
    sampled = xr.Dataset(
        {"t2m": (dims, warmth), "t2m_corrected": (dims, warmth), "tp": (dims, rain), "orography": ("glacier", height)},
        coords=coords,
    )
    bands = height[:, None] + np.linspace(-250, 250, 10)
    terrain = xr.Dataset(
        {
            "hypsometry": (("glacier", "band"), bands),
            "elevation_min": ("glacier", bands[:, 0]),
            "elevation_max": ("glacier", bands[:, -1]),
            "elevation_mean": ("glacier", height),
            "elevation_median": ("glacier", height),
            "slope": ("glacier", rng.uniform(8, 25, glaciers)),
            "northness": ("glacier", np.full(glaciers, 0.8)),
            "eastness": ("glacier", rng.uniform(-1, 1, glaciers)),
        },
        coords={"glacier": ids},
    )
    static = xr.Dataset(
        {n: ("glacier", rng.uniform(1, 9, glaciers)) for n in ("area", "longitude", "latitude")},
        coords={"glacier": ids},
    )
    return build_predictors(sampled, terrain, static)


def toy_samples(predictors, keep=1.0, seed=0, noise=0.05):
    """Observations of made-up glaciers: a temperature-index balance with known parameters, and noise."""
    from glacmb_grid.learning.degree_days import balance, forcing_of
    from glacmb_grid.predictors import as_rows
    from glacmb_grid.samples import build_samples
    from glacmb_grid.settings import TemperatureIndex

    rng = np.random.default_rng(seed)
    size = predictors.sizes["glacier"], predictors.sizes["year"]
    glacier, year = (a.ravel() for a in np.indices(size))
    rows = as_rows(predictors, glacier, year)
    settings = {k: v for k, v in TemperatureIndex().model_dump().items() if isinstance(v, float)}
    truth = balance(forcing_of(rows), np.array(TOY_TRUTH), settings)
    taken = rng.random(len(truth)) < keep
    ids = predictors["glacier"].values[glacier[taken]]
    table = pd.DataFrame(
        {
            "glacier": ids,
            "year": predictors["year"].values[year[taken]],
            "mass_balance": truth[taken] + rng.normal(0, noise, taken.sum()),
            "uncertainty": 0.2,
            "uncertainty_given": False,
            "site": ids,
            "name": ids,
            "link": "exact",
            "time_system": "",
        }
    )
    return build_samples(predictors, table)[0]


def toy_table(values, target, glacier, year, names=None, meanings=None, **coords):
    """Samples of predictors that nothing is known of but their `meanings`: every row observed once.

    `coords` over `sample`, positions of rows too.
    """
    from glacmb_grid.samples import with_operator
    from glacmb_grid.vocabulary import Meaning, meaning_coordinates
    from glacmb_grid.weights import identity

    values, count = np.asarray(values, float), len(target)
    glacier, year = np.asarray(glacier).astype(str).astype(object), np.asarray(year, np.int64)
    names = [f"x{i}" for i in range(values.shape[1])] if names is None else list(names)
    sample = np.array([f"{g}:{y}:{i}" for i, (g, y) in enumerate(zip(glacier, year, strict=True))], dtype=object)
    ds = xr.Dataset(
        {
            "predictors": (("row", "predictor"), values),
            "mass_balance": ("sample", np.asarray(target, float)),
            "mass_balance_uncertainty": ("sample", np.full(count, 0.2)),
        },
        coords={
            "sample": sample,
            "predictor": np.array(names, dtype=object),
            **meaning_coordinates([Meaning(n) for n in names] if meanings is None else meanings),
            "glacier": ("sample", glacier),
            "year": ("sample", year),
            "row_glacier": ("row", glacier),
            "row_year": ("row", year),
            **{n: ("sample", np.asarray(v)) for n, v in coords.items()},
            **{f"row_{n}": ("row", np.asarray(coords[n])) for n in ("longitude", "latitude") if n in coords},
        },
    )
    return with_operator(ds, identity(sample))


def toy_truth(glaciers=10, years=12, noise=0.05, useless=4, seed=0):
    """Samples of a known function of predictors: level of the glacier, weather of its year, useless ones."""
    rng = np.random.default_rng(seed)
    glacier, year = (a.ravel() for a in np.indices((glaciers, years)))
    level, weather = rng.normal(0, 1, glaciers)[glacier], rng.normal(0, 1, len(year))
    target = 0.5 * level + 0.6 * weather - 0.3 * np.maximum(weather, 0) + rng.normal(0, noise, len(year))
    values = np.column_stack([level, weather, rng.normal(0, 1, (len(year), useless))])
    names = ["level", "weather", *(f"useless_{chr(97 + i)}" for i in range(useless))]
    return toy_table(values, target, [f"g{g:02d}" for g in glacier], year + 2000, names)


def two_year_sums(samples):
    """The same rows, observed as sums of two rows each."""
    from glacmb_grid.samples import with_operator
    from glacmb_grid.weights import from_entries

    pairs = samples.sizes["row"] // 2
    sums = samples.isel(sample=np.arange(pairs) * 2)
    total = samples["mass_balance"].values[: pairs * 2].reshape(pairs, 2).sum(axis=1)
    operator = from_entries(
        np.repeat(np.arange(pairs), 2), np.arange(2 * pairs), np.ones(2 * pairs),
        rows=sums["sample"].values, size=samples.sizes["row"],
    )  # fmt: skip
    return with_operator(sums.assign(mass_balance=("sample", total)), operator)


def all_rows(samples):
    """One fold that fits on everything; half of the rows stop the network."""
    from glacmb_grid.folds.masks import Folds

    n = samples.sizes["sample"]
    half = np.arange(n) % 2 == 0
    return Folds(
        fit=np.ones((1, n), bool),
        score=np.zeros((1, n), bool),
        inner_fit=np.array([[half, ~half]]),
        inner_score=np.array([[~half, half]]),
        name=np.array(["all"]),
        scheme=np.array(["all"]),
        block=np.array([0]),
        buffer_km=np.array([0.0]),
        sample=samples["sample"].values,
    )


def toy_product(glaciers=5, years=(2001, 2006), firsts=(10,), seed=0, draws=0):
    """A made-up glacier product with every variable; several `firsts` give glaciers years of their own in turn."""
    from glacmb_grid.years import year_bounds

    rng = np.random.default_rng(seed)
    years = np.arange(years[0], years[1] + 1, dtype=np.int32)
    dims, size = ("glacier", "year"), (glaciers, len(years))
    bounds = [year_bounds(years, f) for f in firsts]
    bounds = bounds[0] if len(firsts) == 1 else np.stack([bounds[g % len(firsts)] for g in range(glaciers)])
    middle = (bounds[..., 0] + (bounds[..., 1] - bounds[..., 0]) // 2).astype("datetime64[ns]")
    when = dims[2 - middle.ndim :]

    def some(mean, spread):
        return np.abs(rng.normal(mean, spread, size)).astype(np.float32)

    mean, sigma = rng.normal(-0.5, 0.6, size).astype(np.float32), some(0.4, 0.1)
    area = rng.uniform(1, 9, glaciers)
    numbers = {
        "mass_balance": mean,
        "mass_balance_uncertainty": sigma,
        **{f"mass_balance_uncertainty_{n}": some(0.2, 0.05) for n in ("observation", "model", "member")},
        **{f"mass_balance_{s}_{p}": mean + np.float32(k) * sigma
           for s, p, k in (("lower", 50, -0.67), ("upper", 50, 0.67), ("lower", 90, -1.64), ("upper", 90, 1.64))},
        "area_of_year": area[:, None] * (1 - 0.005 * np.arange(len(years))),
        **{n: some(0.3, 0.1) for n in ("dissimilarity", "training_density", "expected_error")},
        "applicable": rng.integers(0, 2, size).astype(np.int8),
        "albedo_kind": rng.integers(0, 3, size).astype(np.int8),
    }  # fmt: skip
    by_glacier = {
        "area": area,
        "nets": np.full(glaciers, 100, np.int32),
        "measured": (np.arange(glaciers) % 2).astype(np.int8),
        "nearest_measured_km": rng.uniform(0, 90, glaciers),
        "nearest_land": np.zeros(glaciers, np.int8),
        "land_distance": np.zeros(glaciers),
    }
    ds = xr.Dataset(
        {n: (dims, v) for n, v in numbers.items()}
        | {n: ("glacier", v) for n, v in by_glacier.items()}
        | {"observed_period": ("year", np.ones(len(years), np.int8))}
        | {"time_bnds": ((*when, "bnds"), bounds.astype("datetime64[ns]"))},
        coords={
            "year": years,
            "time": (when, middle),
            "glacier_id": ("glacier", np.array([f"RGI60-13.{g:05d}" for g in range(glaciers)], object)),
            "longitude": ("glacier", rng.uniform(70, 75, glaciers)),
            "latitude": ("glacier", rng.uniform(30, 35, glaciers)),
        },
    )
    if draws:
        values = mean + sigma * rng.normal(0, 1, (draws, *size))
        ds["mass_balance_realizations"] = (("realization", *dims), values)
        ds = ds.assign_coords(realization=np.arange(draws, dtype=np.int32))
    return ds


def toy_regional(years=(2001, 2006), firsts=(10, 10), ids=("13", "14"), seed=0):
    """A made-up regional product; several `firsts` give the regions years of their own."""
    from glacmb_grid.years import year_bounds

    rng = np.random.default_rng(seed)
    years = np.arange(years[0], years[1] + 1, dtype=np.int32)
    size, dims = (len(ids), len(years)), ("region", "year")
    balance, sigma = rng.normal(-0.4, 0.5, size), np.abs(rng.normal(0.2, 0.05, size))
    area = rng.uniform(500, 9000, (len(ids), 1)) * (1 - 0.003 * np.arange(len(years)))
    units = {"mass_balance": 1.0, "mass_change_amount": 1e3, "mass_change": 1e9 * area, "mass_change_gt": area / 1e3}
    values = {}
    for name, factor in units.items():
        values[name] = balance * factor
        values[f"{name}_uncertainty"] = sigma * factor
        values[f"{name}_uncertainty_independent"] = sigma * factor / 9
    for name in ("mass_balance", "mass_change_gt"):
        values[f"cumulative_{name}"] = np.cumsum(values[name], axis=1)
        values[f"cumulative_{name}_uncertainty"] = np.cumsum(values[f"{name}_uncertainty"], axis=1)
    values |= {"area": area, "area_missing": np.zeros(size)}
    values |= {n: np.full(size, 7, np.int32) for n in ("glaciers_covered", "glaciers_missing", "glaciers_filled")}
    bounds = np.stack([year_bounds(years, f) for f in firsts])
    when = dims if len(set(firsts)) > 1 else ("year",)
    bounds = bounds if len(when) > 1 else bounds[0]
    middle = (bounds[..., 0] + (bounds[..., 1] - bounds[..., 0]) // 2).astype("datetime64[ns]")
    return xr.Dataset(
        {n: (dims, v) for n, v in values.items()}
        | {"mass_change_gt_covariance": (("region", "year", "other_year"), rng.normal(0, 1, (*size, size[1])))},
        coords={
            "region": ("region", np.array(ids, object)),
            "region_name": ("region", np.array([f"Region {i}" for i in ids], object)),
            "year": years,
            "other_year": years,
            "time": (when, middle),
            "time_bnds": ((*when, "bnds"), bounds.astype("datetime64[ns]")),
        },
    )


def toy_outlines(product, seed=0):
    """Outlines around the positions of a product: convex, none larger than 0.9 degrees."""
    import geopandas as gpd
    import shapely

    rng = np.random.default_rng(seed)
    shapes = []
    for x, y in zip(product["longitude"].values, product["latitude"].values, strict=True):
        points = rng.uniform(-0.45, 0.45, (8, 2)) + np.array([x, y])
        shapes.append(shapely.MultiPoint(points).convex_hull)
    return gpd.GeoDataFrame(geometry=shapes, index=product["glacier_id"].values, crs=4326)


@pytest.fixture(scope="session")
def compliance():
    """What the IOOS compliance checker says of a NetCDF file, offline: ``compliance(path)``.

    Messages of ``cf:1.11`` and ``acdd:1.3``, {checker: [(weight, group, message)]}, weight 3 for what is required or
    highly recommended, and of checks that broke.
    """
    import logging

    logging.getLogger("compliance_checker").setLevel(logging.ERROR)
    import contextlib
    import io

    from compliance_checker.runner import CheckSuite

    CheckSuite.load_all_available_checkers()

    def messages(results):
        for one in results:
            if one.value is True or (isinstance(one.value, tuple) and one.value[0] == one.value[1]):
                continue
            for message in one.msgs or [str(one.value)]:
                yield one.weight, one.name, message

    def check(path):
        suite, found = CheckSuite(), {}
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            ds = suite.load_dataset(str(path))
            for name, (groups, broken) in suite.run_all(ds, ["cf:1.11", "acdd:1.3"]).items():
                found[name] = [*messages(groups), *((3, n, repr(e[0])) for n, e in broken.items())]
            ds.close()
        return found

    return check


TOY_TRUTH = (0.006, 1.3, 0.4)


@pytest.fixture(scope="session")
def toys():
    """The makers above and the truth they plant."""
    from types import SimpleNamespace

    return SimpleNamespace(
        predictors=toy_predictors,
        samples=toy_samples,
        truth=TOY_TRUTH,
        table=toy_table,
        known=toy_truth,
        sums=two_year_sums,
        whole=all_rows,
        product=toy_product,
        regional=toy_regional,
        outlines=toy_outlines,
    )


# ---- a small world of raw files ----


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """Folders that are dear, made once for all processes of a test run: ``shared(name, make)``. To be read only."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def give(name, make):
        folder, done = base / f"shared-{name}", base / f"shared-{name}.done"
        with (base / f"shared-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return give


WORLD = {
    "glaciers": {"path": "raw/rgi/RGI2000-v7.0-G-13_synthetic.gpkg"},
    "climate": {
        "files": "raw/era5_land/era5_land_monthly_*.nc",
        "invariant": "raw/era5_land/era5_land_invariant.nc",
        "accumulated": "daily_mean",
        "variables": ["t2m", "tp"],
    },
    "elevation": {"files": "raw/dem/astgtm_synthetic_dem.tif"},
    "albedo": {"files": "raw/albedo/*.tif"},
    "observations": {
        "path": "raw/fog/FOG_EE_MASS_BALANCE.csv",
        "units": "mm w.e.",
        "links": {"positions": "raw/fog/FOG_A_GLACIER.csv"},
    },
    "models": {
        "ff_fcnn": {
            "predictors": ["degree_days_*", "snowfall_*"],
            "recipes": [{}],
            "widths": [4],
            "input_noise": 0.1,
            "l1": 0.001,
            "members": 2,
            "epochs": 10,
            "patience": 5,
        },
        "ridge": {"predictors": ["degree_days_*", "snowfall_*"], "recipes": [{}], "penalties": [1.0]},
    },
    "validation": {"inner": 2, "blocks": 2, "schemes": ["logo"], "models": ["mean", "ridge", "ff_fcnn"]},
    "scores": {"bootstrap": 100},
    "product": {"model": "ff_fcnn", "truth": "raw/truth.nc", "draws": 3},
    "store": {"root": "out"},
}


def _merged(old, new):
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    return {**old, **{k: _merged(old.get(k), v) for k, v in new.items()}}


@pytest.fixture(scope="session")
def world(shared):
    """Raw files of six glaciers, four of them measured, and finished runs over them.

    ``world.at(folder)`` copies the files and writes a configuration, ``world.run(folder)`` also a finished run (with
    `link` over a link to the files, which then are not to be changed); keywords change the configuration.
    """
    from types import SimpleNamespace

    def raw():
        from glacmb_grid.synthetic import write_region

        small = {"seed": 2, "glaciers": 6, "measured": 4, "years": (2001, 2004), "plain": True}
        return shared("world", lambda f: write_region(f / "raw", **small))

    def at(folder, **changes):
        shutil.copytree(raw(), folder, dirs_exist_ok=True)
        (folder / "own.yaml").write_text(yaml.safe_dump(_merged(WORLD, changes)))
        return folder / "own.yaml"

    def make_run(folder):
        from glacmb_grid.config import load_config
        from glacmb_grid.workflow.runner import run

        run(load_config(at(folder)), say=lambda _: None)

    def run_in(folder, *, link=False, **changes):
        done = shared("world-run", make_run)
        shutil.copytree(done / "out", folder / "out")
        if link:
            (folder / "raw").symlink_to(done / "raw")
        else:
            shutil.copytree(done / "raw", folder / "raw")
        (folder / "own.yaml").write_text(yaml.safe_dump(_merged(WORLD, changes)))
        return folder / "own.yaml"

    return SimpleNamespace(raw=raw, at=at, run=run_in)
