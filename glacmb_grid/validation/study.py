"""Where a model's skill comes from: importance of predictors, ablations, skill against the number of glaciers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Model
from glacmb_grid.learning.registry import fit, predict
from glacmb_grid.predictors import matching
from glacmb_grid.progress import track
from glacmb_grid.settings import Learner
from glacmb_grid.validation.curves import thin_folds, training_counts
from glacmb_grid.validation.predictions import out_of_fold
from glacmb_grid.validation.scores import compare
from glacmb_grid.vocabulary import VARIABLES, Meaning, meaning_coordinates, meanings_of

Say = Callable[[str], None]
AS_IT_IS, PLACED, BARE = "as it is", "with coordinates as predictors", "without land-surface-model predictors"
Floats = npt.NDArray[np.float64]
PLACE = ("longitude", "latitude")


def importance(
    samples: xr.Dataset, folds: Folds, parameters: xr.Dataset, *, repeats: int = 3, seed: int = 1
) -> pd.DataFrame:
    """How much worse the out-of-fold error becomes when a group of predictors is shuffled between glacier-years.

    Parameters
    ----------
    samples : xr.Dataset
    folds : Folds
    parameters : xr.Dataset
        Of a model fitted in these folds.
    repeats : int
        Shuffles of every group.
    seed : int

    Returns
    -------
    DataFrame
        scheme, group (predictors of one stem are shuffled together), fold, increase (of the fold's mean square error,
        m2, mean over the shuffles), spread (over the shuffles), n.
    """
    rng = np.random.default_rng(seed)
    stems = samples["stem"].values.astype(str)
    base = _squares(samples, folds, parameters)
    lines = []
    for stem in dict.fromkeys(stems.tolist()):
        changes = []
        for _ in range(repeats):
            values = samples["predictors"].values.copy()
            order = rng.permutation(samples.sizes["row"])
            values[:, stems == stem] = values[order][:, stems == stem]
            shuffled = samples.assign(predictors=(samples["predictors"].dims, values))
            changes.append(_squares(shuffled, folds, parameters) - base)
        change = np.array(changes)
        for fold, mask in enumerate(folds.score):
            if mask.any():
                each = change[:, mask].mean(axis=1)
                labels = (str(folds.scheme[fold]), stem, str(folds.name[fold]))
                lines.append((*labels, float(each.mean()), float(each.std()), int(mask.sum())))
    return pd.DataFrame(lines, columns=["scheme", "group", "fold", "increase", "spread", "n"])


def _squares(samples: xr.Dataset, folds: Folds, parameters: xr.Dataset) -> Floats:
    """Squared out-of-fold errors, (sample,), NaN where a sample is not scored."""
    table = out_of_fold(samples, folds, predict(parameters, samples), model="any").set_index("sample")
    squares = (table["predicted"] - table["observed"]) ** 2
    return np.asarray(squares.reindex(samples["sample"].values.astype(str)).to_numpy(np.float64))


def with_coordinates(samples: xr.Dataset) -> xr.Dataset | None:
    """Samples with longitude and latitude among the predictors; None if they are unknown or already among them."""
    place = [samples[f"row_{n}"].values.astype(np.float64) for n in PLACE if f"row_{n}" in samples]
    if len(place) < len(PLACE) or (samples["origin"] == "position").any() or not np.isfinite(place).all():
        return None
    values = np.concatenate([samples["predictors"].values, np.stack(place, axis=1)], axis=1)
    names = np.array([*samples["predictor"].values, *PLACE], dtype=object)
    meanings = [*meanings_of(samples), *(Meaning(n, "position", part="value") for n in PLACE)]
    out = samples.drop_dims("predictor").assign(predictors=(("row", "predictor"), values))
    return out.assign_coords({"predictor": names, **meaning_coordinates(meanings)})


def without_surface_model(samples: xr.Dataset) -> xr.Dataset | None:
    """Samples without predictors that a land-surface model computed; None if there are none, or no others."""
    modelled = np.isin(samples["stem"].values, [n for n, v in VARIABLES.items() if v.origin == "land surface model"])
    if not modelled.any() or modelled.all():
        return None
    return samples.isel(predictor=np.flatnonzero(~modelled))


def ablations(samples: xr.Dataset, model: Model) -> dict[str, tuple[xr.Dataset, Model]]:
    """Samples and model by the name of what was added or removed; first, the model as it is.

    What changes none of the predictors that the model may take is left out, see `changing_nothing`.
    """
    out = {AS_IT_IS: (samples, model)}
    for name, table in _tables(samples).items():
        changed = _taking(model, table, added=set(table["predictor"].values) - set(samples["predictor"].values))
        if changed is not None and _offered(changed, table) != _offered(model, samples):
            out[name] = (table, changed)
    return out | {name: (samples, replace(model, settings=other)) for name, other in model.variants(samples).items()}


def changing_nothing(samples: xr.Dataset, model: Model) -> list[str]:
    """Names of the ablations that these samples allow but that would change no predictor of the model."""
    made = ablations(samples, model)
    return [name for name in _tables(samples) if name not in made]


def _tables(samples: xr.Dataset) -> dict[str, xr.Dataset]:
    """Samples with more or fewer predictors, as far as they allow it."""
    found = {PLACED: with_coordinates(samples), BARE: without_surface_model(samples)}
    return {name: table for name, table in found.items() if table is not None}


def _taking(model: Model, samples: xr.Dataset, *, added: set[str]) -> Model | None:
    """The model with settings for these samples: it may take what was added, and names no predictor that is not there.

    None where it takes no predictors, or none of these.
    """
    if not isinstance(model.settings, Learner):
        return None
    names = samples["predictor"].values.astype(str).tolist()
    new = [n for n in names if n in added]
    known = _there(model.settings.predictors, names)
    changed: dict[str, object] = {"predictors": [*known, *new]}
    if model.settings.recipes:
        recipes = [(r, _there(r.predictors, names)) for r in model.settings.recipes]
        changed["recipes"] = [
            r.model_copy(update={"predictors": [*k, *new], "exclude": _there(r.exclude, names)}) for r, k in recipes
        ]
        known = known if all(k for _, k in recipes) else []
    return replace(model, settings=model.settings.model_copy(update=changed)) if known else None


def _there(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The patterns that match any of the names."""
    return [p for p in patterns if any(fnmatchcase(n, p) for n in names)]


def _offered(model: Model, samples: xr.Dataset) -> set[str]:
    """Names of the predictors that the model may take."""
    names = samples["predictor"].values.astype(str)
    return set(names[matching(names, model.settings.predictors)])


def ablate(
    samples: xr.Dataset,
    folds: Mapping[str, Folds],
    models: Sequence[Model],
    *,
    seed: int = 1,
    draws: int = 2000,
    level: float = 0.9,
    say: Say = lambda text: None,
) -> pd.DataFrame:
    """Refit every ablation in the same folds and compare it with the model as it is.

    Returns
    -------
    DataFrame
        scheme, model, ablation, rmse, difference (ablated minus as it is, m w.e.), lower, upper, verdict, n. What
        would change no predictor of the model has neither an RMSE nor a difference: nothing was fitted.
    """
    lines = []
    for model in models:
        variants = ablations(samples, model)
        for scheme, masks in folds.items():
            tables = []
            for name, (table, changed) in track(variants.items(), "ablation"):
                fitted = fit(changed, table, masks, seed=seed)
                tables.append(out_of_fold(table, masks, predict(fitted, table), model=name).assign(protocol="nested"))
                error = tables[-1]["predicted"] - tables[-1]["observed"]
                line = {
                    "scheme": scheme,
                    "model": model.name,
                    "ablation": name,
                    "rmse": float(np.sqrt((error**2).mean())),
                }
                if len(tables) > 1:
                    line |= _difference(pd.concat([tables[-1], tables[0]]), name, draws, level, seed)
                lines.append({**line, "n": len(error)})
                say(f"{scheme}, {model.name} {name}: RMSE {line['rmse']:.3f}")
            for name in changing_nothing(samples, model):
                say(f"{scheme}, {model.name} {name}: changes no predictor of the model, left out")
                lines.append({"scheme": scheme, "model": model.name, "ablation": name, "rmse": np.nan, "n": 0})
    return pd.DataFrame(lines)


def _difference(pair: pd.DataFrame, name: str, draws: int, level: float, seed: int) -> dict[str, float | str]:
    """RMSE of the named model minus that of the other, m w.e., with interval and verdict."""
    table = compare(pair, draws=draws, level=level, seed=seed)
    one = table[(table["model"] == name) & (table["metric"] == "rmse")].iloc[0]
    return {n: one[n] for n in ("difference", "lower", "upper", "verdict")}


def learning_curve(
    samples: xr.Dataset,
    folds: Folds,
    models: Sequence[Model],
    *,
    shares: Sequence[float] = (0.1, 0.25, 0.5, 1.0),
    counts: Sequence[int] | Literal["doubling"] | None = None,
    seed: int = 1,
    say: Say = lambda text: None,
) -> pd.DataFrame:
    """Skill against the number of training groups: every fold is fitted on some of its groups.

    Parameters
    ----------
    samples : xr.Dataset
    folds : Folds
        Of one scheme.
    models : sequence of Model
    shares : sequence of float
        Shares of the groups of each fold.
    counts : sequence of int or "doubling", optional
        Numbers of groups in place of shares; `doubling`: 2, 4, 8, ... and all.
    seed : int
        Of the order in which groups are taken.
    say : callable

    Returns
    -------
    DataFrame
        scheme, model, share, groups (median over folds), rows (median), rmse, n.
    """
    group = (samples["group"] if "group" in samples.coords else samples["glacier"]).values.astype(str)
    lines = []
    numbers = training_counts(samples, folds) if counts == "doubling" else counts
    most = max(len(np.unique(group[m])) for m in folds.fit)
    every: list[tuple[float, Folds]]
    if numbers is None:
        every = [(s, folds if s >= 1 else thin_folds(folds, samples, share=s, seed=seed)) for s in shares]
    else:
        every = [(min(n / most, 1.0), thin_folds(folds, samples, count=n, seed=seed)) for n in numbers]
    for share, thin in track(every, "share of the glaciers"):
        known = [len(np.unique(group[m])) for m in thin.fit]
        for model in models:
            fitted = fit(model, samples, thin, seed=seed)
            table = out_of_fold(samples, thin, predict(fitted, samples), model=model.name)
            error = table["predicted"] - table["observed"]
            rmse = float(np.sqrt((error**2).mean()))
            rows = float(np.median(thin.fit.sum(axis=1)))
            scheme = str(folds.scheme[0])
            lines.append((scheme, model.name, share, float(np.median(known)), rows, rmse, len(table)))
            say(f"{model.name} learning from {np.median(known):.0f} groups: RMSE {rmse:.3f}")
    return pd.DataFrame(lines, columns=["scheme", "model", "share", "groups", "rows", "rmse", "n"])
