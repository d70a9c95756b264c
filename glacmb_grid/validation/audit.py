"""How much each leak improves the score, and a test that nested validation leaks nothing.

A leak changes only the masks of the folds, so that it alone explains the change of the score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.folds.constraints import allowed_constraints
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.protocols import leaky
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.contract import Model
from glacmb_grid.learning.registry import fit_all, predict
from glacmb_grid.settings import Protocol
from glacmb_grid.validation.predictions import out_of_fold
from glacmb_grid.validation.scores import compare

Say = Callable[[str], None]
NESTED, PAPER = "nested", "all of them: the paper's protocol"
_EVERYTHING = Protocol(selection=True, tuning=True, early_stopping=True)
_OWN_FOLDS = ("fold_logo", "fold_loyo")


def variants(samples: xr.Dataset, scheme: str) -> dict[str, tuple[str, Protocol, bool]]:
    """Variants of the validation: scheme, protocol, and whether glaciers that share climate vectors are split.

    Parameters
    ----------
    samples : xr.Dataset
    scheme : str
        The correct, grouped scheme.

    Returns
    -------
    dict
        By name: first without leaks (nested), then each leak alone, last all of them (the paper's protocol).
    """
    out = {
        NESTED: (scheme, Protocol(), False),
        "split: random rows": ("random", Protocol(), False),
        "selection on all rows": (scheme, Protocol(selection=True), False),
        "tuning on the scored rows": (scheme, Protocol(tuning=True), False),
        "early stopping on the scored rows": (scheme, Protocol(early_stopping=True), False),
        "shared climate vectors: split by glacier": (scheme, Protocol(), True),
        PAPER: ("random", _EVERYTHING, False),
    }
    if "group" not in samples.coords or (samples["group"].values == samples["glacier"].values).all():
        del out["shared climate vectors: split by glacier"]
    return out


def judge(
    samples: xr.Dataset,
    scheme: str,
    protocol: Protocol,
    models: Mapping[str, Model],
    *,
    by_glacier: bool = False,
    seed: int = 1,
    folds_options: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Out-of-fold predictions under one protocol, PREDICTION_COLUMNS.

    They are those of the last model; the others are those that it is built on.
    """
    options = dict(folds_options or {})
    table = samples
    if by_glacier:
        table = samples.drop_vars([n for n in (*_OWN_FOLDS, "group") if n in samples.coords])
    folds = leaky(make_folds(table, scheme, seed=seed, **options), protocol, options.get("locked"))
    fits = fit_all(models.values(), table, folds, seed=seed)
    name = [*fits][-1]
    return out_of_fold(table, folds, predict(fits[name], table, fits), model=name)


def bases_of(model: str, models: Mapping[str, Model]) -> dict[str, Model]:
    """A model and all that it is built on, each after its bases."""
    out: dict[str, Model] = {}
    for base in models[model].built_on:
        out |= bases_of(base, models)
    return {**out, model: models[model]}


def gap(
    samples: xr.Dataset,
    models: Mapping[str, Model],
    names: Sequence[str],
    *,
    scheme: str = "logo",
    permutations: int = 0,
    seed: int = 1,
    draws: int = 2000,
    level: float = 0.9,
    folds_options: Mapping[str, Any] | None = None,
    say: Say = lambda text: None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores under each leak alone and under all together, compared with the nested score.

    Parameters
    ----------
    samples : xr.Dataset
    models : mapping of str to Model
        From `with_bases`.
    names : sequence of str
        Which of them to evaluate.
    scheme : str
        The correct, grouped scheme.
    permutations : int
        How often the nested and the paper's protocol are also run on permuted targets.
    seed, draws, level
        As in `score`.
    folds_options : mapping, optional
        Passed on to `make_folds`.
    say : callable

    Returns
    -------
    gaps : DataFrame
        model, leak, scheme, rmse, r2, promised (nested RMSE minus this one, m w.e.), lower, upper (paired block
        bootstrap), n.
    permuted : DataFrame
        model, leak, permutation, rmse, r2.
    """
    lines, chance = [], []
    ways = variants(samples, scheme)
    for model in names:
        mine = bases_of(model, models)
        stops_early = any(m.stops_early for m in mine.values())
        nested: pd.DataFrame | None = None
        for leak, (used, protocol, by_glacier) in ways.items():
            if protocol == Protocol(early_stopping=True) and not stops_early:
                continue
            table = judge(samples, used, protocol, mine, by_glacier=by_glacier, seed=seed, folds_options=folds_options)
            nested = table if nested is None else nested
            lines.append({"model": model, "leak": leak, "scheme": used, **_promise(nested, table, draws, level, seed)})
            say(f"{model}, {leak}: RMSE {lines[-1]['rmse']:.3f}, R2 {lines[-1]['r2']:+.2f}")
        rng = np.random.default_rng(seed)
        for number in range(permutations):
            shuffled = rng.permutation(samples["mass_balance"].values)
            null = samples.assign(mass_balance=("sample", shuffled))
            for leak in (NESTED, PAPER):
                used, protocol, _ = ways[leak]
                table = judge(null, used, protocol, mine, seed=seed, folds_options=folds_options)
                chance.append({"model": model, "leak": leak, "permutation": number, **_rmse_and_r2(table)})
            skill = f"R2 nested {chance[-2]['r2']:+.2f}, paper {chance[-1]['r2']:+.2f}"
            say(f"{model}, permuted targets {number + 1}: {skill}")
    columns = ["model", "leak", "permutation", "rmse", "r2"]
    return pd.DataFrame(lines), pd.DataFrame(chance, columns=columns)


def _rmse_and_r2(table: pd.DataFrame) -> dict[str, float]:
    """RMSE, m w.e., and R2 of predictions."""
    error = (table["predicted"] - table["observed"]).to_numpy(np.float64)
    variance = float(table["observed"].to_numpy(np.float64).var())
    return {"rmse": float(np.sqrt((error**2).mean())), "r2": 1 - float((error**2).mean()) / variance}


def _promise(nested: pd.DataFrame, table: pd.DataFrame, draws: int, level: float, seed: int) -> dict[str, Any]:
    """The score, and by how much its RMSE is below the nested one."""
    scheme = nested["scheme"].iloc[0]
    shared = np.intersect1d(nested["sample"], table["sample"])
    a, b = (t[t["sample"].isin(shared)].assign(scheme=scheme, protocol="both") for t in (nested, table))
    pair = pd.concat([a.assign(model="nested"), b.assign(model="leaky")[a.columns]])
    if nested is table:
        return {**_rmse_and_r2(table), "promised": 0.0, "lower": 0.0, "upper": 0.0, "n": len(table)}
    scores = compare(pair, draws=draws, level=level, seed=seed)
    line = scores[(scores["model"] == "nested") & (scores["baseline"] == "leaky") & (scores["metric"] == "rmse")].iloc[
        0
    ]
    return {
        **_rmse_and_r2(table),
        "promised": float(line["difference"]),
        "lower": float(line["lower"]),
        "upper": float(line["upper"]),
        "n": len(table),
    }


def probe(
    samples: xr.Dataset,
    folds: Folds,
    models: Mapping[str, Model],
    *,
    fold: int,
    seed: int = 1,
    constraints: xr.Dataset | None = None,
) -> dict[str, list[str]]:
    """Replace all rows that a fold withholds by noise and fit again: anything that changes has leaked.

    Parameters
    ----------
    samples : xr.Dataset
    folds : Folds
    models : mapping of str to Model
        Each after those that it is built on.
    fold : int
        Number of the fold.
    seed : int
    constraints : xr.Dataset, optional
        Geodetic rates that are learnt from; those that the fold withholds are replaced too.

    Returns
    -------
    dict
        For every model the names of the fitted variables that changed; empty if nothing leaked.

    Notes
    -----
    `scrambled` makes the noise. Compared are all variables of the fits, and the predictions of rows that were kept.
    """
    one = folds.take([fold])
    withheld = ~one.fit[0]
    other = scrambled(samples, withheld, np.random.default_rng(seed))
    others = constraints
    if constraints is not None:
        barred = ~allowed_constraints(one, samples, constraints).fit[0]
        others = scrambled_constraints(constraints, barred, np.random.default_rng([seed, 1]))
    pairs = (samples, constraints), (other, others)
    before, after = (fit_all(models.values(), s, one, seed=seed, constraints=c) for s, c in pairs)
    kept = ~_rows_only_of(samples, withheld)
    rows = samples.isel(row=np.flatnonzero(kept)).drop_dims(["sample", "entry"], errors="ignore")
    out = {}
    for name in models:
        a, b = before[name], after[name]
        out[name] = [str(n) for n in a.variables if n not in b.variables or not _identical(a[n].values, b[n].values)]
        if kept.any() and not _identical(predict(a, rows, before).values, predict(b, rows, after).values):
            out[name].append("predictions")
    return out


def scrambled(samples: xr.Dataset, withheld: npt.NDArray[np.bool_], rng: np.random.Generator) -> xr.Dataset:
    """Samples with noise in the balances, predictors and monthly forcing of the withheld ones."""
    rows = _rows_only_of(samples, withheld)
    target = samples["mass_balance"].values.copy()
    target[withheld] = rng.normal(5, 30, withheld.sum())
    values = samples["predictors"].values.astype(np.float64).copy()
    spread = np.nanstd(values, axis=0) + 1
    values[rows] = values[rows] + rng.normal(0, 7, (rows.sum(), values.shape[1])) * spread
    out = samples.assign(
        mass_balance=("sample", target),
        predictors=(samples["predictors"].dims, values.astype(samples["predictors"].dtype)),
    )
    for name in ("temperature", "precipitation", "snowfall"):
        if name in samples:
            forcing = samples[name].values.astype(np.float64).copy()
            forcing[rows] *= rng.uniform(0.5, 1.5, forcing[rows].shape)
            out[name] = (samples[name].dims, forcing, samples[name].attrs)
    return out


def scrambled_constraints(
    constraints: xr.Dataset, withheld: npt.NDArray[np.bool_], rng: np.random.Generator
) -> xr.Dataset:
    """Constraints with noise in the changes, their uncertainties and the predictors of the withheld ones."""
    number, row = constraints["operator_constraint"].values, constraints["operator_row"].values
    rows = np.zeros(constraints.sizes["row"], bool)
    rows[row[withheld[number]]] = True
    rows[row[~withheld[number]]] = False
    out = {}
    for name in ("change", "change_uncertainty"):
        values = constraints[name].values.copy()
        values[withheld] = values[withheld] * rng.uniform(2, 30, withheld.sum())
        out[name] = ("constraint", values, constraints[name].attrs)
    predictors = constraints["predictors"].values.copy()
    predictors[rows] += rng.normal(0, 7, (rows.sum(), predictors.shape[1])) * (np.nanstd(predictors, axis=0) + 1)
    return constraints.assign({**out, "predictors": (constraints["predictors"].dims, predictors)})


def _rows_only_of(samples: xr.Dataset, which: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Mask of the rows that only these observations use, (row,)."""
    taken = np.zeros(samples.sizes["row"], bool)
    kept = np.zeros(samples.sizes["row"], bool)
    sample, row = samples["operator_sample"].values, samples["operator_row"].values
    taken[row[which[sample]]] = True
    kept[row[~which[sample]]] = True
    return taken & ~kept


def _identical(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    if a.shape != b.shape:
        return False
    if a.dtype.kind in "fc":
        return bool(((a == b) | (np.isnan(a) & np.isnan(b))).all())
    return bool((a == b).all())
