"""The stages that fit models and score them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.disk import write_json
from glacmb_grid.errors import listing
from glacmb_grid.folds.protocols import name_of
from glacmb_grid.judging.plan import compared, schemes_of, skipped, stored_folds
from glacmb_grid.learning.contract import Model, Task, fit_model
from glacmb_grid.learning.ragged import PREFIX
from glacmb_grid.learning.registry import predict
from glacmb_grid.stages import Context
from glacmb_grid.stores.formats import read_zarr, write_table, write_zarr
from glacmb_grid.validation.curves import distance_to_training, skill_by_distance
from glacmb_grid.validation.predictions import PREDICTION_COLUMNS, out_of_fold
from glacmb_grid.validation.scores import compare, score, slices


def fit_stage(model: Model) -> Callable[[Context], None]:
    """A stage that fits one model in the folds of every scheme."""

    def run(context: Context) -> None:
        from glacmb_grid.learning.nets import enable_compilation_cache

        enable_compilation_cache()
        config, samples = context.config, read_zarr(context.of("samples", "samples.zarr"))
        if absent := skipped(config, model, samples):
            context.say(f"not available: needs {listing(absent)}")
            write_table(pd.DataFrame(columns=PREDICTION_COLUMNS), context.out / "predictions.parquet")
            return
        tables = []
        for scheme in schemes_of(config):
            folds, bases = stored_folds(context, scheme), fits_of(context, model.built_on, scheme)
            checkpoints = context.store.checkpoints(f"{model.name}-{scheme}-{context.key}") if model.resumable else None
            absent_bases = tuple(n for n in model.built_on if n not in bases)
            task = Task(samples, folds, config.seed, bases, checkpoints, skipped=absent_bases)
            parameters = fit_model(model, task)
            write_zarr(parameters, context.out / f"{scheme}.zarr")
            table = out_of_fold(samples, folds, predict(parameters, samples, bases), model=model.name)
            tables.append(table.assign(protocol=name_of(config.protocol)))
        write_table(pd.concat(tables), context.out / "predictions.parquet")
        context.store.forget_checkpoints(f"{model.name}-")

    return run


def fits_of(context: Context, names: Sequence[str], scheme: str) -> dict[str, xr.Dataset]:
    """Fitted parameters of these models and of all that they are built on; models without a fit are left out."""
    out: dict[str, xr.Dataset] = {}
    for name in names:
        path = context.of(f"learning/{name}", f"{scheme}.zarr")
        if path.exists():
            out[name] = read_zarr(path)
            out |= fits_of(context, json.loads(out[name].attrs["built_on"]), scheme)
    return out


def record_of(path: Path) -> xr.Dataset:
    """A fit without its learnt arrays, which can be large: what was searched, chosen and seen."""
    stored = read_zarr(path, {})
    return stored.drop_vars([n for n in stored.variables if str(n).startswith(PREFIX)]).load()


def predictions_of(context: Context, models: Sequence[str]) -> pd.DataFrame:
    """Out-of-fold predictions of these models in one table, PREDICTION_COLUMNS."""
    tables = [pd.read_parquet(context.of(f"learning/{m}", "predictions.parquet")) for m in models]
    filled = [t for t in tables if len(t)]
    return pd.concat(filled) if filled else tables[0]


def evaluate(context: Context) -> None:
    """Write scores of all models in the same folds, with predictions, comparisons, slices and choices."""
    config = context.config
    samples = read_zarr(context.of("samples", "samples.zarr"))
    predictions = predictions_of(context, compared(config))
    predictions = predictions[predictions["scheme"].isin(config.validation.schemes)]
    order = pd.Categorical(predictions["scheme"], config.validation.schemes, ordered=True)
    predictions = predictions.iloc[np.argsort(order.codes, kind="stable")]
    bootstrap: dict[str, Any] = {
        "draws": config.scores.bootstrap,
        "level": config.scores.level,
        "seed": config.seed,
    }
    write_table(predictions, context.out / "predictions.csv")
    write_table(score(predictions, **bootstrap), context.out / "scores.csv")
    write_table(compare(predictions, **bootstrap), context.out / "comparisons.csv")
    write_table(slices(predictions, samples, **bootstrap), context.out / "slices.csv")
    write_table(_distances(context, samples, predictions), context.out / "distance.csv")
    write_table(_choices(context, compared(config)), context.out / "choices.csv")
    write_json(context.out / "search.json", _search(context, compared(config)))


def _distances(context: Context, samples: xr.Dataset, predictions: pd.DataFrame) -> pd.DataFrame:
    """RMSE by distance to the nearest training glacier."""
    tables = []
    for scheme in dict.fromkeys(predictions["scheme"]):
        if not {"longitude", "latitude"} <= set(samples.coords):
            continue
        distance = distance_to_training(samples, stored_folds(context, scheme))
        table = predictions[predictions["scheme"] == scheme]
        tables.append(skill_by_distance(table, distance))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["scheme", "model", "n"])


def _choices(context: Context, models: Sequence[str]) -> pd.DataFrame:
    """What was chosen on inner folds, a line for every model and outer fold."""
    lines: list[dict[str, Any]] = []
    for model in models:
        for scheme in context.config.validation.schemes:
            path = context.of(f"learning/{model}", f"{scheme}.zarr")
            if not path.exists():
                continue
            record = record_of(path)
            for fold in range(record.sizes["fold"]):
                line: dict[str, Any] = {"scheme": scheme, "model": model, "fold": str(record["fold"].values[fold])}
                if "choice" in record:
                    choice = int(record["choice"].values[fold])
                    line |= {"chosen": str(record["candidate"].values[choice])}
                    line |= {"inner_rmse": float(record["inner_error"].values[fold, choice])}
                    line |= {"candidates": record.sizes["candidate"]}
                if "selected" in record:
                    names = record["feature"].values[record["selected"].values[fold]]
                    line |= {"features": len(names), "feature_names": "; ".join(map(str, names))}
                if "parameter_count" in record:
                    line |= {"parameters": int(record["parameter_count"].values[fold])}
                if "note" in record.attrs:
                    line |= {"chosen": record.attrs["note"]}
                if "weight" in record:
                    weights = dict(zip(record["model"].values, record["weight"].values[fold].round(3), strict=True))
                    line |= {"chosen": json.dumps({str(k): float(v) for k, v in weights.items()})}
                if "fitted" in record:
                    line |= {"rows": int(record["fitted"].values[fold].sum())}
                lines.append(line)
    return pd.DataFrame(lines)


def _search(context: Context, models: Sequence[str]) -> dict[str, Any]:
    """The recipes and candidates that were searched, by model."""
    out: dict[str, Any] = {}
    for model in models:
        path = context.of(f"learning/{model}", f"{context.config.validation.schemes[0]}.zarr")
        record = record_of(path) if path.exists() else xr.Dataset()
        if "candidate" in record.coords:
            out[model] = {
                "recipes": json.loads(record.attrs["recipes"]),
                "candidates": [json.loads(str(c)) for c in record["candidate"].values],
            }
    return out
