"""Results for the gallery: a made-up region, judged by quick models in seconds, laid out like the folder of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

import glacmb_grid as gg
from glacmb_grid.learning.registry import model_of
from glacmb_grid.stores.formats import write_netcdf, write_zarr
from glacmb_grid.uncertainty.correlation import published_correlation
from glacmb_grid.validation.audit import gap
from glacmb_grid.validation.curves import distance_to_training, skill_by_distance
from glacmb_grid.validation.study import ablate, importance, learning_curve
from glacmb_grid.years import year_bounds

Floats = npt.NDArray[np.float64]

GLACIERS, MEASURED = 90, 16
YEARS = np.arange(2001, 2021, dtype=np.int32)
USELESS = ("slope", "northness", "wind")
DRAWS = 300


def write_results(folder: Path) -> None:
    """Write what the gallery's figures are drawn from, under the names that a run gives it."""
    rng = np.random.default_rng(7)
    region = _region(rng)
    samples = _samples(region, folder, rng)
    for name, table in {**_judged(samples), **_studied(samples)}.items():
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False)
    product = _product(region, rng)
    regional = gg.regional_product(product, gg.one_region(GLACIERS, "Made-up range"), correlation=CORRELATION)
    compared, _ = gg.compare_geodetic(product, _rates(product, rng))
    for name, ds in {"products/glacier_annual": product, "regional/regional_annual": regional}.items():
        (folder / name).parent.mkdir()
        write_netcdf(ds, folder / f"{name}.nc")
    for name, ds in {"geodetic/comparison/rates": compared, "learning/ff_fcnn/logo": _losses(rng)}.items():
        write_zarr(ds, folder / f"{name}.zarr")


CORRELATION = published_correlation("a made-up region")


def _region(rng: np.random.Generator) -> pd.DataFrame:
    """Every glacier and year: where it is, what the weather was, and the balance that follows from both."""
    valley = rng.normal((77.0, 32.0), (1.6, 0.9), (9, 2))
    place = valley[rng.integers(0, 9, GLACIERS)] + rng.normal(0, 0.12, (GLACIERS, 2))
    height = rng.normal(5200, 250, GLACIERS)
    own = {"area": rng.lognormal(0.6, 1.3, GLACIERS), "elevation_median": height}
    own |= {n: rng.normal(0, 1, GLACIERS) for n in USELESS[:2]}
    year_warmth = rng.normal(0, 0.6, len(YEARS)) + 0.04 * (YEARS - YEARS.mean())
    year_snow = rng.normal(0, 1, len(YEARS))
    size = (GLACIERS, len(YEARS))
    warmth = 2 - 0.0045 * (height[:, None] - 5200) + year_warmth + rng.normal(0, 0.3, size)
    snow = 1.0 + 0.25 * year_snow + 0.1 * (place[:, :1] - 77.0) + rng.normal(0, 0.12, size)
    balance = 1.2 * snow - 0.5 * warmth - 0.4 + rng.normal(0, 0.2, (GLACIERS, 1)) + rng.normal(0, 0.25, size)
    glacier, year = (i.ravel() for i in np.indices(size))
    return pd.DataFrame(
        {
            "glacier": [f"RGI60-14.{g + 1:05d}" for g in glacier],
            "year": YEARS[year],
            "balance": balance.ravel(),
            "longitude": place[glacier, 0],
            "latitude": place[glacier, 1],
            "summer_temperature": warmth.ravel(),
            "winter_snowfall": (snow + rng.normal(0, 0.2, size)).ravel(),
            "sd_03": (snow + rng.normal(0, 0.1, size)).ravel(),
            **{n: v[glacier] for n, v in own.items()},
            **{n: rng.normal(0, 1, len(year)) for n in USELESS[2:]},
        }
    )


def _samples(region: pd.DataFrame, folder: Path, rng: np.random.Generator) -> xr.Dataset:
    """Observations of a few glaciers, in some years, with their predictors."""
    names = rng.choice(region["glacier"].unique(), MEASURED, replace=False)
    rows = region[region["glacier"].isin(names) & (rng.random(len(region)) < 0.55)].reset_index(drop=True)
    rows["balance"] += rng.normal(0, 0.1, len(rows))
    (folder / "samples").mkdir(parents=True)
    rows.to_csv(folder / "samples" / "table.csv", index=False)
    observed = rows[["glacier", "year"]].assign(mass_balance=rows["balance"], mass_balance_uncertainty=0.2)
    observed.to_parquet(folder / "samples" / "samples.parquet")
    return gg.read_samples_table(
        folder / "samples" / "table.csv",
        glacier="glacier",
        year="year",
        target="balance",
        target_units="m w.e.",
        latitude="latitude",
        longitude="longitude",
        area="area",
    )


_RECIPES = [{"keep": k, "ranking": "correlation"} for k in (2, 3, 5)]
MODELS = {
    "mean": model_of("mean"),
    "ridge": model_of("ridge", {"recipes": _RECIPES, "penalties": [1.0, 10.0]}),
    "ridge, all predictors": model_of("ridge", {"recipes": [{}], "penalties": [1.0, 10.0]}),
}


def _judged(samples: xr.Dataset) -> dict[str, pd.DataFrame]:
    """The tables of `evaluation/`."""
    folds = {s: gg.make_folds(samples, s, inner=3) for s in ("logo", "loyo")}
    fits = {(s, m): gg.fit(model, samples, masks) for s, masks in folds.items() for m, model in MODELS.items()}
    tables = [gg.out_of_fold(samples, folds[s], gg.predict(f, samples), model=m) for (s, m), f in fits.items()]
    predictions = pd.concat(tables)
    logo = predictions[predictions["scheme"] == "logo"]
    return {
        "evaluation/predictions": predictions[predictions["model"] != "ridge, all predictors"],
        "evaluation/scores": gg.score(predictions, draws=DRAWS),
        "evaluation/coverage": gg.coverage(logo, [0.5, 0.8, 0.9, 0.95], DRAWS),
        "evaluation/distance": skill_by_distance(logo, distance_to_training(samples, folds["logo"]), draws=DRAWS),
        "evaluation/choices": gg.choices(fits["logo", "ridge"]),
    }


def _studied(samples: xr.Dataset) -> dict[str, pd.DataFrame]:
    """The tables of `study/` and `audit/`."""
    folds, ridge = gg.make_folds(samples, "logo", inner=3), MODELS["ridge"]
    fitted = gg.fit(ridge, samples, folds)
    gaps, _ = gap(samples, {"ridge": ridge}, ["ridge"], draws=DRAWS, folds_options={"inner": 3, "parts": 16})
    return {
        "study/importance": importance(samples, folds, fitted).assign(model="ridge"),
        "study/ablations": ablate(samples, {"logo": folds}, [ridge], draws=DRAWS),
        "study/learning_curve": learning_curve(samples, folds, [MODELS["mean"], ridge]),
        "audit/gaps": gaps,
    }


def _product(region: pd.DataFrame, rng: np.random.Generator) -> xr.Dataset:
    """A product: balances near the truth, the more uncertain the higher a glacier lies."""
    size = (GLACIERS, len(YEARS))
    truth = region["balance"].to_numpy().reshape(size)
    own = region.drop_duplicates("glacier")
    sigma = np.clip(0.3 + 0.0004 * (own["elevation_median"].to_numpy() - 5200), 0.15, None)[:, None] * np.ones(size)
    balance = truth + 0.5 * sigma * rng.normal(0, 1, size)
    bounds = year_bounds(YEARS, 10)
    values = {"mass_balance": balance, "mass_balance_uncertainty": sigma}
    for percent, width in ((50, 0.674), (90, 1.645)):
        values[f"mass_balance_lower_{percent}"] = balance - width * sigma
        values[f"mass_balance_upper_{percent}"] = balance + width * sigma
    inside = region["summer_temperature"].to_numpy().reshape(size) < 3.2
    return xr.Dataset(
        {n: (("glacier", "year"), v) for n, v in values.items()}
        | {
            "applicable": (("glacier", "year"), inside.astype(np.int8)),
            "area": ("glacier", own["area"].to_numpy()),
            "measured": ("glacier", np.zeros(GLACIERS, np.int8)),
            "observed_period": ("year", np.ones(len(YEARS), np.int8)),
            "time_bnds": (("year", "bnds"), bounds.astype("datetime64[ns]")),
        },
        coords={
            "year": YEARS,
            "time": ("year", bounds[:, 0].astype("datetime64[ns]")),
            "glacier_id": ("glacier", own["glacier"].to_numpy(object)),
            "longitude": ("glacier", own["longitude"].to_numpy()),
            "latitude": ("glacier", own["latitude"].to_numpy()),
        },
        attrs=CORRELATION.to_attrs(),
    )


def _rates(product: xr.Dataset, rng: np.random.Generator) -> pd.DataFrame:
    """Geodetic rates of ten years each, for a third of the glaciers."""
    decade = product["mass_balance"].sel(year=slice(2001, 2010)).mean("year").values[::3]
    names = product["glacier_id"].values[::3].astype(str)
    rates = pd.DataFrame({"glacier": names, "site": names, "uncertainty": rng.uniform(0.05, 0.25, len(names))})
    rates["rate"] = decade + rates["uncertainty"] * rng.normal(0, 1, len(names))
    return rates.assign(begin=np.datetime64("2000-10-01"), end=np.datetime64("2010-10-01"))


def _losses(rng: np.random.Generator) -> xr.Dataset:
    """Losses of a network as its fit keeps them: they fall, and those of watched rows rise again."""
    epoch = np.arange(1, 301)
    size = (10, 5, 1)  # folds, members
    level = rng.lognormal(0, 0.15, size)
    loss = np.stack([level * (0.05 + epoch**-0.6), level * (0.25 + epoch**-0.6 + 3e-5 * epoch**1.5)], axis=-1)
    loss *= rng.lognormal(0, 0.04, loss.shape)
    dims = ("fold", "member", "epoch", "part")
    return xr.Dataset({"loss": (dims, loss)}, coords={"part": np.array(["fit", "stop"], object)})
