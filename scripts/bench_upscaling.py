#!/usr/bin/env python3
"""Upscaling and publishing at full size: a made-up High Mountain Asia of 95,536 glaciers x 75 years, 27 predictors.

Glaciers lie around the ranges; 93 of them are measured. Timed are the steps of the product's stages, from fitted models
to files: balances by 100 nets (20 folds of 5) or by the Gaussian process, expected errors with intervals and
applicability, the product with its metadata, files; and regional sums with correlated errors. Every size runs in a
process of its own. --quick takes small sizes; --json adds a list of {name, value, unit, must, aim, meets}.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import glacmb_grid as gg
from glacmb_grid.products.glacier import glacier_product
from glacmb_grid.products.metadata import describe, with_mass_units
from glacmb_grid.products.regional import regional_product
from glacmb_grid.products.regions import rgi_regions
from glacmb_grid.settings import Recipe
from glacmb_grid.uncertainty.variograms import fit_correlation
from glacmb_grid.vocabulary import Meaning, meaning_coordinates
from glacmb_grid.workflow.log import peak_memory
from glacmb_grid.years import calendar_months, year_bounds

FULL, YEARS, MEASURED = 95_536, (1951, 2025), 93
WEATHER, STATIC = 20, 7
FOLDS, MEMBERS = 20, 5
CENTRES = ((73.0, 38.5), (76.0, 36.0), (84.0, 28.5), (78.0, 42.0), (93.0, 30.2), (85.0, 36.0))
MUST = {"predict and publish": (240.0, 120.0), "regional sums": (60.0, 60.0), "memory": (6.0, 3.0)}
GAUSSIAN = {"predict and publish": (600.0, 600.0), "regional sums": (60.0, 60.0), "memory": (6.0, 6.0)}


def region(glaciers: int, seed: int = 0) -> tuple[xr.Dataset, xr.Dataset]:
    """Predictors (glacier, year, predictor) whose weather glaciers of a cell share, and areas and positions."""
    draws = np.random.default_rng(seed)
    years = np.arange(YEARS[0], YEARS[1] + 1)
    centre = np.array(CENTRES)[draws.integers(0, len(CENTRES), glaciers)]
    place = centre + draws.normal(0, [2.5, 0.7], (glaciers, 2))
    cell = np.unique((place * 10).round().astype(int), axis=0, return_inverse=True)[1].ravel()
    weather = draws.normal(size=(cell.max() + 1, len(years), WEATHER)).astype(np.float32)
    values = np.empty((glaciers, len(years), WEATHER + STATIC), np.float32)
    values[..., :WEATHER] = weather[cell]
    values[..., WEATHER:] = draws.normal(size=(glaciers, 1, STATIC))
    meanings = [Meaning(f"t2m_{i:02d}", "climate") for i in range(WEATHER)]
    meanings += [Meaning(f"shape_{i}", "terrain") for i in range(STATIC)]
    names = [f"t2m_{i:02d}" for i in range(WEATHER)] + [f"shape_{i}" for i in range(STATIC)]
    area = np.minimum(0.05 * (1 - draws.random(glaciers)) ** -1.1, 900.0)
    ids = np.array([f"RGI60-{13 + i % 3}.{i // 3 + 1:05d}" for i in range(glaciers)], dtype=object)
    at = {n: ("glacier", v) for n, v in (("longitude", place[:, 0]), ("latitude", place[:, 1]), ("area", area))}
    predictors = xr.Dataset(
        {"predictors": (("glacier", "year", "predictor"), values)},
        coords={
            "glacier": ids,
            "year": years,
            "predictor": np.array(names, dtype=object),
            **meaning_coordinates(meanings),
            "month": calendar_months(10),
            "time_bnds": (("year", "bnds"), year_bounds(years, 10)),
            **at,
        },
        attrs={"first_month": 10},
    )
    place_of = {n: at[n] for n in ("longitude", "latitude")}
    return predictors, xr.Dataset({"area": at["area"]}, coords={"glacier": ids, **place_of})


def observed(predictors: xr.Dataset, seed: int = 1) -> xr.Dataset:
    """Samples of the measured glaciers: a sum of some predictors and noise, in about a seventh of the years."""
    draws = np.random.default_rng(seed)
    measured = np.sort(draws.choice(predictors.sizes["glacier"], MEASURED, replace=False))
    values = predictors["predictors"].isel(glacier=measured).values
    level = draws.normal(0, 0.3, (MEASURED, 1))
    balance = -0.4 + 0.25 * values[..., :3].sum(axis=2) + 0.2 * values[..., WEATHER:].sum(axis=2) / 2 + level
    balance += draws.normal(0, 0.3, balance.shape)
    glacier, year = np.nonzero(draws.random(balance.shape) < 1 / 7)
    ids = predictors["glacier"].values[measured][glacier]
    table = pd.DataFrame(
        {
            "glacier": ids,
            "year": predictors["year"].values[year],
            "mass_balance": balance[glacier, year],
            "uncertainty": 0.2,
            "uncertainty_given": False,
            **dict.fromkeys(("site", "name"), ids),
            "link": "exact",
            "time_system": "",
        }
    )
    return gg.build_samples(predictors, table)[0]


def settings_of(model: str) -> dict[str, Any]:
    """One candidate: what is searched is no part of this benchmark."""
    recipes = [Recipe().model_dump()]
    if model == "ff_fcnn":
        one = {"widths": [(40, 20, 10, 5)], "learning_rate": [0.003], "input_noise": [0.1], "l1": [1e-4]}
        return {"recipes": recipes, "members": MEMBERS, "epochs": 60, **one}
    return {"recipes": recipes}


def measure(glaciers: int, model: str, folder: Path) -> list[tuple[str, float, str]]:
    """Seconds of every step, sizes on disk and peak memory of one size."""
    warnings.simplefilter("ignore")
    predictors, static = region(glaciers)
    samples = observed(predictors)
    tables, fits = [], {}
    for scheme in ("logo", "both_out"):
        folds = gg.make_folds(samples, scheme, parts=FOLDS if scheme == "logo" else 5, inner=2, blocks=1)
        fits[scheme] = folds, gg.fit(model, samples, folds, settings_of(model))
        tables.append(gg.out_of_fold(samples, folds, gg.predict(fits[scheme][1], samples), model=model))
    folds, parameters = fits["logo"]
    table = pd.concat(tables)
    seconds: dict[str, float] = {}

    def timed(name: str, work: Any) -> Any:
        begun = time.perf_counter()
        done = work()
        seconds[name] = time.perf_counter() - begun
        return done

    balance = timed("balances", lambda: gg.upscale(partial(gg.predict, parameters), predictors, samples, folds))
    weights = timed("weights of predictors", lambda: gg.predictor_weights(parameters, samples, folds))
    expected = timed(
        "expected errors",
        lambda: gg.glacier_year_uncertainty(samples, folds, table, predictors, weights).compute(),
    )
    made = timed(
        "product",
        lambda: describe(
            with_mass_units(glacier_product(balance, expected, predictors, static, samples)), kind="glacier"
        ),
    )
    timed("files", lambda: gg.write_product(made, folder))
    positions = static[["longitude", "latitude"]].to_dataframe()
    correlation = fit_correlation(table[table["scheme"] == "logo"], positions)
    regions = rgi_regions(static["glacier"].values)
    timed("regional sums", lambda: regional_product(made, regions, correlation=correlation))
    steps = ("balances", "weights of predictors", "expected errors", "product", "files")
    seconds["predict and publish"] = sum(seconds[n] for n in steps)
    sizes = {s: sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and (s in p.suffixes) == (s == ".nc"))
             for s in (".nc", ".zarr")}  # fmt: skip
    return [
        *((n, s, "s") for n, s in seconds.items()),
        *((f"size {s}", b / 1e6, "MB") for s, b in sizes.items()),
        ("memory", peak_memory(), "GB"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--glaciers", type=int, nargs="+", help="sizes, by default 1,000, 10,000 and all")
    parser.add_argument("--models", nargs="+", default=["ff_fcnn", "gaussian_process"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    sizes = options.glaciers or ([500, 1000] if options.quick else [1000, 10_000, FULL])
    rows = []
    for model in options.models:
        goals = MUST if model == "ff_fcnn" else GAUSSIAN
        for glaciers in sizes:
            context = multiprocessing.get_context("spawn")
            with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, mp_context=context) as apart:
                lines = apart.submit(measure, glaciers, model, Path(folder)).result()
            for name, value, unit in lines:
                must, aim = goals.get(name, (None, None)) if glaciers == FULL else (None, None)
                goal = "" if must is None else f" (must {must:g}, aim {aim:g})"
                print(f"{model:18s}{glaciers:8,d} {name:24s}{value:10.2f} {unit}{goal}", flush=True)
                meets = None if must is None else value <= must
                keys = ("name", "value", "unit", "must", "aim", "meets")
                rows.append(dict(zip(keys, (f"{model} {glaciers} {name}", value, unit, must, aim, meets), strict=True)))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
