"""The stages that fit models and score them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import listing
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.protocols import name_of
from glacmb_grid.learning.choices import lines_of
from glacmb_grid.learning.contract import Model, Task, lacking
from glacmb_grid.learning.ragged import PREFIX
from glacmb_grid.learning.registry import predict
from glacmb_grid.predictors import unmeasured_rows
from glacmb_grid.progress import track
from glacmb_grid.settings import Protocol, Scores
from glacmb_grid.stores.work import Work
from glacmb_grid.uncertainty.coverage import coverage
from glacmb_grid.validation.curves import distance_to_training, skill_by_distance
from glacmb_grid.validation.predictions import PREDICTION_COLUMNS, out_of_fold
from glacmb_grid.validation.scores import compare, score, slices

MOST_UNMEASURED = 2000
"""Most glacier-years that nobody measured that networks are pre-trained on, drawn at random."""
Fits = Mapping[str, Mapping[str, xr.Dataset | None]]  # by model and scheme; None where a model could not be fitted


def fit_model_in_schemes(
    work: Work,
    *,
    model: Model,
    samples: xr.Dataset,
    folds: Mapping[str, Folds],
    bases: Fits,
    parts: Sequence[str],
    optional: bool,
    protocol: Protocol,
    seed: int,
    constraints: xr.Dataset | None = None,
    predictors: xr.Dataset | None = None,
) -> dict[str, Any]:
    """Fit one model in the folds of every scheme that is fair to it, and predict what they withhold.

    `constraints` are geodetic rates to learn from. `optional`: a model that the samples lack data for is left out;
    otherwise its fit raises an error. `predictors` are those of all glaciers and years, for networks that are
    pre-trained on what nobody measured.
    """
    if optional and (absent := lacking(model, samples)):
        work.say(f"not available: needs {listing(absent)}")
        return {"predictions": pd.DataFrame(columns=PREDICTION_COLUMNS)}
    given = {scheme: fitted_in(bases, scheme) for scheme in folds}
    unmeasured = None if predictors is None else unmeasured_rows(predictors, samples, MOST_UNMEASURED)
    tasks = {
        scheme: Task(
            samples,
            masks,
            seed,
            {n: p for n, p in given[scheme].items() if n in parts},
            work.checkpoints(scheme) if model.resumable else None,
            skipped=tuple(n for n in parts if n not in given[scheme]),
            constraints=constraints,
            unmeasured=unmeasured,
        )
        for scheme, masks in folds.items()
        if model.fair_in(samples, masks)
    }
    for scheme in folds:
        if scheme not in tasks:
            work.say(f"{scheme}: not judged, the scheme withholds what the model rests on")
    tables = {}
    for scheme, parameters in track(work.fit(model, tasks), "scheme", len(tasks)):
        work.keep("fits", parameters, scheme)
        if "rates_fitted" in parameters:
            work.say(f"{scheme}: {rates_told(parameters['rates_fitted'].values)}")
        predicted = predict(parameters, samples, {n: p.compute() for n, p in given[scheme].items()})
        table = out_of_fold(samples, folds[scheme], predicted, model=model.name)
        tables[scheme] = table.assign(protocol=name_of(protocol))
    judged = [tables[scheme] for scheme in folds if scheme in tables]
    return {"predictions": pd.concat(judged) if judged else pd.DataFrame(columns=PREDICTION_COLUMNS)}


def rates_told(fitted: npt.NDArray[np.bool_]) -> str:
    """How many geodetic rates were learnt from, of (fold, constraint), in words."""
    held = np.asarray(fitted.any(axis=1))
    counts = fitted.sum(axis=1)[held]
    if not held.any():
        return "no fold learnt from geodetic rates: without them it predicted the inner folds better, or may see none"
    return f"{held.sum()} of {len(held)} folds learnt from geodetic rates, {counts.min()} to {counts.max()} each"


def fitted_in(fits: Fits, scheme: str) -> dict[str, xr.Dataset]:
    """Fits in one scheme, by model; models that could not be fitted are left out."""
    return {model: found for model, by in fits.items() if (found := by[scheme]) is not None}


def record_of(fit: xr.Dataset) -> xr.Dataset:
    """A fit without its learnt arrays, which can be large: what was searched, chosen and seen."""
    return fit.drop_vars([n for n in fit.variables if str(n).startswith(PREFIX)]).load()


def evaluate(
    work: Work,
    *,
    samples: xr.Dataset,
    folds: Mapping[str, Folds],
    predictions: Mapping[str, pd.DataFrame],
    fits: Fits,
    models: Sequence[str],
    schemes: Sequence[str],
    scores: Scores,
    seed: int,
) -> dict[str, Any]:
    """Scores of all models in the same folds, with predictions, comparisons, slices and choices."""
    del work
    filled = [predictions[m] for m in models if len(predictions[m])] or [predictions[models[0]]]
    table = pd.concat(filled)
    table = table[table["scheme"].isin(schemes)]
    order = table["scheme"].map(list(schemes).index)
    table = table.iloc[np.argsort(order, kind="stable")]
    bootstrap: dict[str, Any] = {"draws": scores.bootstrap, "level": scores.level, "seed": seed}
    records = {(s, m): record_of(f) for m in models for s in schemes if (f := fits[m][s]) is not None}
    return {
        "predictions": table,
        "scores": score(table, **bootstrap),
        "comparisons": compare(table, **bootstrap),
        "slices": slices(table, samples, **bootstrap),
        "coverage": coverage(table, draws=scores.bootstrap, seed=seed, samples=samples, interval=scores.level),
        "distance": _distances(samples, folds, table),
        "choices": _choices(records),
        "search": {m: searched(r) for (s, m), r in records.items() if s == schemes[0] and "candidate" in r.coords},
    }


def _distances(samples: xr.Dataset, folds: Mapping[str, Folds], predictions: pd.DataFrame) -> pd.DataFrame:
    """RMSE by distance to the nearest training glacier."""
    tables = [
        skill_by_distance(predictions[predictions["scheme"] == s], distance_to_training(samples, folds[s]))
        for s in dict.fromkeys(predictions["scheme"])
        if {"longitude", "latitude"} <= set(samples.coords)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["scheme", "model", "n"])


def _choices(records: Mapping[tuple[str, str], xr.Dataset]) -> pd.DataFrame:
    """What was chosen on inner folds, a line for every model and outer fold."""
    lines: list[dict[str, Any]] = []
    for (scheme, model), record in records.items():
        lines += [{"scheme": scheme, "model": model} | line for line in lines_of(record)]
    return pd.DataFrame(lines)


def searched(record: xr.Dataset) -> dict[str, Any]:
    """The recipes and candidates that were searched."""
    return {
        "recipes": json.loads(record.attrs.get("recipes", "[]")),  # of a model that takes no predictors: none
        "candidates": [json.loads(str(c)) for c in record["candidate"].values],
    }
