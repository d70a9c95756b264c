"""What the stages of learning and judging do: folds, fits, blend, scores; the same for cubes and for a user's table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.disk import read_csv, read_json, write_json
from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.folds.holdout import choose_holdout
from glacmb_grid.folds.protocols import leaky, name_of
from glacmb_grid.folds.schemes import make_folds, require_grouped
from glacmb_grid.inputs.outlines import glaciers_dataset
from glacmb_grid.settings import Judged, ModelName, RunConfig, Section, digest
from glacmb_grid.stages import PRODUCT_SCHEME, Context, describe_inputs
from glacmb_grid.stores.formats import read_outlines_store, read_zarr, write_product, write_table, write_zarr
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.stores.versions import versions
from glacmb_grid.upscaling.products import build_product, residual_variance, upscale
from glacmb_grid.validation.curves import distance_to_training, skill_by_distance
from glacmb_grid.validation.holdout import holdout_record, log_look, read_looks, verify_holdout
from glacmb_grid.validation.leaks import check_folds, check_seen, row_hashes
from glacmb_grid.validation.metrics import METRICS
from glacmb_grid.validation.predictions import PREDICTION_COLUMNS, out_of_fold, tabulate
from glacmb_grid.validation.scores import compare, score, slices
from glacmb_grid.years import complete_years, start_month

BLEND = "blend"
_FORCED = "temperature_index"
_NETWORK = "ff_fcnn"
_NEIGHBOURS = "_neighbours"


def schemes_of(config: Judged) -> list[str]:
    """Schemes to fit: those asked for, and the product's."""
    product: list[str] = [PRODUCT_SCHEME] if isinstance(config, RunConfig) else []
    return list(dict.fromkeys([*config.validation.schemes, *product]))


def compared(config: Judged) -> list[str]:
    """Models that are judged."""
    asked = config.validation.models
    return list(get_args(ModelName)) if asked == "all" else list(asked)


def base_of(model: str) -> str | None:
    """The model that another one is built on."""
    return model.removesuffix(_NEIGHBOURS) if model.endswith(_NEIGHBOURS) else None


def parts_of_blend(config: Judged) -> list[str]:
    """Models that the blend is made of."""
    asked = [*config.models.blend.models] if config.models.blend.models else compared(config)
    return [str(m) for m in asked if m not in (BLEND, "mean")]


def models_of(config: Judged) -> list[str]:
    """Models to fit: those judged, the product's, and what the blend is made of."""
    product: list[str] = [config.product.model] if isinstance(config, RunConfig) else []
    wanted = list(dict.fromkeys([*compared(config), *product]))
    if BLEND in wanted:
        wanted = [*dict.fromkeys([*(m for m in wanted if m != BLEND), *parts_of_blend(config)]), BLEND]
    return list(dict.fromkeys(n for m in wanted for n in (base_of(m), m) if n))


def studied(config: Judged) -> tuple[list[str], list[str]]:
    """Models and schemes of the study: those asked for that are fitted at all, else the first that are."""
    fitted = [m for m in models_of(config) if m != BLEND and base_of(m) is None]
    models = [m for m in config.study.models if m in fitted] or [*(m for m in fitted if m != "mean"), "mean"][:1]
    schemes = [s for s in config.study.schemes if s in schemes_of(config)] or schemes_of(config)[:1]
    return [m for m in models if m in fitted] or fitted[:1], [str(s) for s in schemes]


def locked_rows(config: Judged, samples: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Rows of the locked test glaciers, (sample,)."""
    if config.validation.holdout is None:
        return np.zeros(samples.sizes["sample"], bool)
    return choose_holdout(samples, config.validation.holdout, config.seed)


def folds_of(config: Judged, samples: xr.Dataset, problems: Problems) -> dict[str, xr.Dataset]:
    """Folds of every scheme; problems are collected."""
    section, out = config.validation, {}
    with problems.collect():
        require_grouped(section.schemes)
    locked = problems.attempt(lambda: locked_rows(config, samples))
    for scheme in schemes_of(config):
        with problems.collect():
            out[scheme] = make_folds(
                samples,
                scheme,
                inner=section.inner,
                seed=config.seed,
                parts=section.parts,
                blocks=section.blocks,
                buffer_km=section.buffer_km,
                locked=locked,
            )
    return out


def foreseen(outlines: gpd.GeoDataFrame, observed: pd.DataFrame, years: Sequence[int]) -> xr.Dataset:
    """What is known of the samples before any climate is sampled: enough to make their folds.

    Parameters
    ----------
    outlines : GeoDataFrame
        By glacier, with `longitude` and `latitude`.
    observed : DataFrame
        Observations linked to outlines: `glacier`, `year`.
    years : sequence of int
        Hydrological years of the climate.

    Returns
    -------
    xr.Dataset, (sample)
        Coordinates `glacier`, `year`, `longitude`, `latitude` of the observations in these years.
    """
    rows = observed[observed["year"].isin(years) & observed["glacier"].isin(outlines.index)]
    rows = rows.sort_values(["glacier", "year"])
    places = outlines.loc[rows["glacier"]]
    columns = {
        "sample": [f"{g}:{y}" for g, y in zip(rows["glacier"], rows["year"], strict=True)],
        "glacier": rows["glacier"].to_numpy().astype(object),
        "year": rows["year"].to_numpy(np.int64),
        "longitude": places["longitude"].to_numpy(),
        "latitude": places["latitude"].to_numpy(),
    }
    return xr.Dataset(coords={n: ("sample", np.asarray(v)) for n, v in columns.items()})


def plan_folds(context: Context) -> None:
    """The folds as far as they can be foreseen, so that a setting that cannot work fails before hours of sampling."""
    config = context.cube
    outlines = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    months = json.loads(context.of("cubes", "climate.json").read_text(encoding="utf-8"))["months"]
    first = config.predictors.first_month or start_month(float(outlines["latitude"].mean()))
    years = complete_years(np.array(months, "datetime64[M]").astype("datetime64[ns]"), first)
    observed = pd.read_parquet(context.of("observations", "linked.parquet"))
    samples = foreseen(outlines, observed, [int(y) for y in years])
    problems = Problems()
    every = folds_of(config, samples, problems)
    problems.raise_if_any()
    lines = [(n, f.sizes["fold"], int(f["score"].values.any(axis=0).sum())) for n, f in every.items()]
    write_table(pd.DataFrame(lines, columns=["scheme", "folds", "rows"]), context.out / "folds.csv")
    context.say(f"{samples.sizes['sample']} observations; folds: " + ", ".join(f"{n} {count}" for n, count, _ in lines))


def judged_folds(config: Judged, samples: xr.Dataset) -> tuple[dict[str, xr.Dataset], npt.NDArray[np.bool_]]:
    """Folds of every scheme under the protocol of a configuration, and which rows are locked away from all of them.

    Parameters
    ----------
    config : Judged
    samples : xr.Dataset

    Returns
    -------
    folds : dict
        Scheme -> from `make_folds`, with what the protocol leaks.
    locked : bool array, (sample,)
        In no mask of any fold.

    Raises
    ------
    InputError or InputErrors
        Every scheme that cannot be had, at once.
    """
    problems = Problems()
    every = folds_of(config, samples, problems)
    problems.raise_if_any()
    locked = locked_rows(config, samples)
    return {scheme: leaky(folds, config.protocol, locked) for scheme, folds in every.items()}, locked


def make_all_folds(context: Context) -> None:
    """Folds of every scheme; locked test glaciers are put aside before anything is fitted."""
    config, samples = context.config, read_zarr(context.of("samples", "samples.zarr"))
    every, locked = judged_folds(config, samples)
    found: list[pd.DataFrame] = []
    if locked.any():
        record = holdout_record(samples, locked, context.key)
        write_json(context.out / "holdout.json", record)
        _remember_lock(context.store, record)
        beside = check_folds(samples, _holdout_fold(samples, locked, config))
        found.append(beside[beside["kind"] != "scored by no fold"].assign(scheme="holdout"))
        glaciers = len(np.unique(samples["glacier"].values[locked].astype(str)))
        context.say(f"{locked.sum()} rows of {glaciers} test glaciers are locked away until `score-holdout`")
    elif (context.store.root / "holdout-locked.json").exists():
        _remember_lock(context.store, _OPEN)
    for scheme, folds in every.items():
        write_zarr(folds, context.out / f"{scheme}.zarr")
        found.append(check_folds(samples, folds))
        context.say(f"{scheme}: {folds.sizes['fold']} folds, tuned in {len(np.unique(folds['block']))} blocks")
    findings = pd.concat(found, ignore_index=True)
    write_table(findings, context.out / "leaks.csv")
    leaks = findings[(findings["severity"] == "leak") & (findings["scheme"] != "random")]
    if len(leaks):
        told = "; ".join(summary_of(leaks))
        context.say(f"leaks: {told}; see folds/leaks.csv")


_OPEN: dict[str, Any] = {"glaciers": [], "rows_sha256": ""}


def _remember_lock(store: RunStore, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Every state in which test glaciers were locked in this run's folder, oldest first; open ones have no glacier."""
    path = store.root / "holdout-locked.json"
    known: list[dict[str, Any]] | None = read_json(path, _is_record)
    before = store.folder("folds")
    if known is None and (path.exists() or path.is_symlink() or (before / "holdout.json").exists()):
        raise InputError(
            f"{path}",
            expected="the record of what was locked in this folder, a JSON list",
            found="something else" if path.exists() else "nothing",
            remedy="restore it: without it glaciers that were open before would pass for locked from the start",
        )
    if known is None:
        fitted = (before, store.folder("learning"), store.folder("evaluation"))
        known = [_OPEN] if any(f.exists() for f in fitted) else []  # here was work before, with nothing locked
    if [r["rows_sha256"] for r in known[-1:]] != [record["rows_sha256"]]:
        known.append(record)
        write_json(path, known)
    return known


def _is_record(content: Any) -> bool:
    texts = all(isinstance(g, str) for r in content for g in [r["rows_sha256"], *r["glaciers"]])
    return isinstance(content, list) and len(content) > 0 and texts


def summary_of(findings: pd.DataFrame) -> list[str]:
    """Findings by scheme and kind, in words."""
    counts = findings.groupby(["scheme", "kind"], sort=False)["count"].sum().reset_index()
    return [f"{one['scheme']}: {one['kind']} ({one['count']} rows)" for one in counts.to_dict("records")]


def has_forcing(samples: xr.Dataset) -> bool:
    """Whether the temperature index has its monthly temperature and precipitation or snowfall, without gaps."""
    water = next((n for n in ("snowfall", "precipitation") if n in samples), None)
    if water is None or "temperature" not in samples:
        return False
    return bool(np.isfinite(samples["temperature"]).all() and np.isfinite(samples[water]).all())


def fit_model(model: str) -> Callable[[Context], None]:
    """The stage that fits one model in the folds of every scheme."""

    def run(context: Context) -> None:
        from glacmb_grid.learning.models import enable_compilation_cache, fit, predict

        enable_compilation_cache()
        config, samples = context.config, read_zarr(context.of("samples", "samples.zarr"))
        if model == _FORCED and config.validation.models == "all" and not has_forcing(samples):
            context.say("not available: needs monthly temperature with precipitation or snowfall, without gaps")
            write_table(pd.DataFrame(columns=PREDICTION_COLUMNS), context.out / "predictions.parquet")
            return
        tables = []
        for scheme in schemes_of(config):
            folds = read_zarr(context.of("folds", f"{scheme}.zarr"))
            aside = context.store.checkpoints(f"{model}-{scheme}-{context.key}") if model == _NETWORK else None
            parameters = fit(model, samples, folds, getattr(config.models, model), seed=config.seed, checkpoints=aside)
            write_zarr(parameters, context.out / f"{scheme}.zarr")
            table = out_of_fold(samples, folds, predict(parameters, samples), model=model)
            tables.append(table.assign(protocol=name_of(config.protocol)))
        write_table(pd.concat(tables), context.out / "predictions.parquet")
        context.store.forget_checkpoints(f"{model}-")

    return run


def add_neighbours(model: str) -> Callable[[Context], None]:
    """The stage that adds to a fitted model what neighbours in time and space tell."""

    def run(context: Context) -> None:
        from glacmb_grid.learning.neighbours import fit_neighbours

        config, samples = context.config, read_zarr(context.of("samples", "samples.zarr"))
        base, tables = str(base_of(model)), []
        for scheme in schemes_of(config):
            folds = read_zarr(context.of("folds", f"{scheme}.zarr"))
            added = fit_neighbours(read_zarr(context.of(f"learning/{base}", f"{scheme}.zarr")), samples, folds)
            write_zarr(added, context.out / f"{scheme}.zarr")
            predicted = _with_neighbours(added, predictor_of(context, base, scheme), samples)
            table = out_of_fold(samples, folds, predicted, model=model)
            tables.append(table.assign(protocol=name_of(config.protocol)))
        write_table(pd.concat(tables), context.out / "predictions.parquet")

    return run


def _with_neighbours(
    parameters: xr.Dataset, predict: Callable[[xr.Dataset], xr.DataArray], rows: xr.Dataset
) -> xr.DataArray:
    from glacmb_grid.learning.neighbours import predict_neighbours

    return predict_neighbours(parameters, predict, rows)


def blend_models(context: Context) -> None:
    """Weights of the other models by fold, and what they make of the out-of-fold predictions."""
    from glacmb_grid.learning.blend import blended, fit_blend

    config, samples = context.config, read_zarr(context.of("samples", "samples.zarr"))
    names = [m for m in parts_of_blend(config) if len(_predictions(context, [m]))]
    tables = []
    for scheme in schemes_of(config):
        folds = read_zarr(context.of("folds", f"{scheme}.zarr"))
        parts = {m: read_zarr(context.of(f"learning/{m}", f"{scheme}.zarr")) for m in names}
        weights = fit_blend(parts, samples, folds)
        write_zarr(weights, context.out / f"{scheme}.zarr")
        table = _predictions(context, names)
        table = table[table["scheme"] == scheme].assign(sample=lambda t: t["sample"].astype(str))
        predictions = {str(m): t.set_index("sample")["predicted"] for m, t in table.groupby("model")}
        mean = blended(weights, predictions, samples)
        told = tabulate(samples, folds, mean, np.zeros_like(mean), model=BLEND)
        tables.append(told.assign(protocol=name_of(config.protocol)))
    write_table(pd.concat(tables), context.out / "predictions.parquet")


def predictor_of(context: Context, model: str, scheme: str) -> Callable[[xr.Dataset], xr.DataArray]:
    """What a fitted model makes of rows, (fold, member, row), m w.e."""
    from glacmb_grid.learning.blend import predict_blend
    from glacmb_grid.learning.models import predict

    parameters = read_zarr(context.of(f"learning/{model}", f"{scheme}.zarr"))
    base = base_of(model)
    if base is not None:
        return partial(_with_neighbours, parameters, predictor_of(context, base, scheme))
    if model != BLEND:
        return partial(predict, parameters)
    names = [str(m) for m in parameters["model"].values]
    return partial(predict_blend, parameters, {m: predictor_of(context, m, scheme) for m in names})


def _predictions(context: Context, models: Sequence[str]) -> pd.DataFrame:
    tables = [pd.read_parquet(context.of(f"learning/{m}", "predictions.parquet")) for m in models]
    filled = [t for t in tables if len(t)]
    return pd.concat(filled) if filled else tables[0]


def evaluate(context: Context) -> None:
    """Scores of all models in the same folds, and all that tells how they came about."""
    config = context.config
    samples = read_zarr(context.of("samples", "samples.zarr"))
    predictions = _predictions(context, compared(config))
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
    """Error against the distance to the nearest glacier that was learnt from."""
    out = []
    for scheme in dict.fromkeys(predictions["scheme"]):
        if not {"longitude", "latitude"} <= set(samples.coords):
            continue
        folds = read_zarr(context.of("folds", f"{scheme}.zarr"))
        distance = distance_to_training(samples, folds)
        table = predictions[predictions["scheme"] == scheme]
        out.append(skill_by_distance(table, distance))
    return pd.concat(out, ignore_index=True) if out else pd.DataFrame(columns=["scheme", "model", "n"])


def _choices(context: Context, models: Sequence[str]) -> pd.DataFrame:
    """What the inner folds chose, one line for every model and outer fold."""
    lines: list[dict[str, Any]] = []
    for model in models:
        for scheme in context.config.validation.schemes:
            path = context.of(f"learning/{model}", f"{scheme}.zarr")
            if not path.exists():
                continue
            found = read_zarr(path)
            for fold in range(found.sizes["fold"]):
                line: dict[str, Any] = {"scheme": scheme, "model": model, "fold": str(found["fold"].values[fold])}
                if "choice" in found:
                    choice = int(found["choice"].values[fold])
                    line |= {"chosen": str(found["candidate"].values[choice])}
                    line |= {"inner_rmse": float(found["inner_error"].values[fold, choice])}
                    line |= {"candidates": found.sizes["candidate"]}
                if "selected" in found:
                    names = found["feature"].values[found["selected"].values[fold]]
                    line |= {"features": len(names), "feature_names": "; ".join(map(str, names))}
                if "parameter_count" in found:
                    line |= {"parameters": int(found["parameter_count"].values[fold])}
                if model == BLEND:
                    weights = dict(zip(found["model"].values, found["weight"].values[fold].round(3), strict=True))
                    line |= {"chosen": json.dumps({str(k): float(v) for k, v in weights.items()})}
                if "fitted" in found:
                    line |= {"rows": int(found["fitted"].values[fold].sum())}
                lines.append(line)
    return pd.DataFrame(lines)


def _search(context: Context, models: Sequence[str]) -> dict[str, Any]:
    """The space that was searched, by model."""
    out: dict[str, Any] = {}
    for model in models:
        path = context.of(f"learning/{model}", f"{context.config.validation.schemes[0]}.zarr")
        found = read_zarr(path) if path.exists() else xr.Dataset()
        if "candidate" in found.coords:
            out[model] = {
                "recipes": json.loads(found.attrs["recipes"]),
                "candidates": [json.loads(str(c)) for c in found["candidate"].values],
            }
    return out


def audit(context: Context) -> None:
    """What leaks would have promised, and whether the folds and fits of this configuration leak."""
    from glacmb_grid.validation.audit import gap, probe, report

    config, section = context.config, context.config.audit
    samples = read_zarr(context.of("samples", "samples.zarr"))
    locked = locked_rows(config, samples)
    options = {"inner": config.validation.inner, "blocks": config.validation.blocks, "parts": config.validation.parts}
    settings: dict[str, Section] = {m: getattr(section.models, m) for m in section.compare}
    gaps, permuted = gap(
        samples,
        settings,
        scheme=section.scheme,
        permutations=section.permutations,
        seed=config.seed,
        draws=config.scores.bootstrap,
        level=config.scores.level,
        folds_options={**options, "locked": locked},
        say=context.say,
    )
    findings, probes, leaks = read_csv(context.of("folds", "leaks.csv")), [], []
    if config.protocol.leaks:
        leaks.append(f"the protocol of this configuration, on purpose: {name_of(config.protocol)}")
    seen, hashes = [], row_hashes(samples)
    for scheme in schemes_of(config):
        folds = read_zarr(context.of("folds", f"{scheme}.zarr"))
        number = folds.sizes["fold"] // 2
        for model in models_of(config):
            path = context.of(f"learning/{model}", f"{scheme}.zarr")
            if not path.exists():
                continue
            seen.append(check_seen(folds, read_zarr(path)["seen"].values, hashes).assign(model=model))
            if model == BLEND or base_of(model) or scheme == "random":
                continue
            changed = probe(samples, folds, model, getattr(config.models, model), fold=number, seed=config.seed)
            fold = str(folds["fold"].values[number])
            probes.append({"scheme": scheme, "model": model, "fold": fold, "changed": ", ".join(changed)})
        context.say(f"{scheme}: fits checked")
    found = pd.concat([findings, *seen], ignore_index=True)
    told = found[(found["severity"] == "leak") & (found["scheme"] != "random")]
    leaks += summary_of(told)
    table = pd.DataFrame(probes, columns=["scheme", "model", "fold", "changed"])
    leaks += [
        f"{p['scheme']}: {p['model']} in fold {p['fold']} changed with what the fold withholds: {p['changed']}"
        for p in table[table["changed"] != ""].to_dict("records")
    ]
    rows = pd.DataFrame({"sample": samples["sample"].values.astype(str), "hash": hashes})
    write_table(rows, context.out / "rows.csv")
    write_table(gaps, context.out / "gaps.csv")
    write_table(permuted, context.out / "permuted.csv")
    write_table(found, context.out / "findings.csv")
    write_table(table, context.out / "probes.csv")
    write_json(context.out / "verdict.json", {"leaks": leaks})
    (context.out / "audit.txt").write_text(report(gaps, permuted, found, table, leaks), encoding="utf-8")


def study(context: Context) -> None:
    """Importance of predictors, ablations, skill against the number of training glaciers."""
    from glacmb_grid.validation.study import ablate, importance, learning_curve

    config, section = context.config, context.config.study
    models, schemes = studied(config)
    samples = read_zarr(context.of("samples", "samples.zarr"))
    settings: dict[str, Section] = {m: getattr(config.models, m) for m in models}
    folds: dict[str, xr.Dataset] = {s: read_zarr(context.of("folds", f"{s}.zarr")) for s in schemes}
    drawn = [
        importance(
            samples,
            masks,
            read_zarr(context.of(f"learning/{m}", f"{s}.zarr")),
            repeats=section.repeats,
            seed=config.seed,
        ).assign(model=m)
        for m in models
        for s, masks in folds.items()
    ]
    bootstrap: dict[str, Any] = {"draws": config.scores.bootstrap, "level": config.scores.level}
    removed = ablate(samples, folds, settings, seed=config.seed, **bootstrap, say=context.say)
    options: dict[str, Any] = {"shares": section.shares, "seed": config.seed, "say": context.say}
    curves = [learning_curve(samples, masks, settings, **options) for masks in folds.values()]
    weights = pd.concat(drawn, ignore_index=True)
    write_table(weights, context.out / "importance.csv")
    write_table(removed, context.out / "ablations.csv")
    write_table(pd.concat(curves, ignore_index=True), context.out / "learning_curve.csv")
    (context.out / "study.txt").write_text(_told(weights, removed, pd.concat(curves)), encoding="utf-8")


def _told(weights: pd.DataFrame, removed: pd.DataFrame, curves: pd.DataFrame) -> str:
    lines = ["increase of the squared error when a group of predictors is shuffled, m2: mean over folds (spread)"]
    for (scheme, model), table in weights.groupby(["scheme", "model"], sort=False):
        means = table.groupby("group")["increase"].agg(["mean", "std"]).sort_values("mean", ascending=False)
        lines += [f"  {scheme} {model:18s} {g:28s} {m:+.4f} ({s:.4f})" for g, m, s in means.itertuples()]
    lines.append("\nablations, RMSE in m w.e.; difference to the model as it is")
    for one in removed.to_dict("records"):
        told = ""
        if isinstance(one.get("verdict"), str):
            told = f"  {one['difference']:+.3f} [{one['lower']:+.3f}, {one['upper']:+.3f}] {one['verdict']}"
        lines.append(f"  {one['scheme']} {one['model']:18s} {one['ablation']:40s} {one['rmse']:.3f}{told}")
    lines.append("\nskill against the number of training groups")
    for one in curves.to_dict("records"):
        lines.append(f"  {one['scheme']} {one['model']:18s} {one['groups']:5.0f} groups  RMSE {one['rmse']:.3f}")
    return "\n".join(lines)


def judge_locked(config: Judged, store: RunStore, say: Callable[[str], None]) -> pd.DataFrame:
    """Fit on everything that is not locked, score the locked glaciers, and log that it was done.

    Raises
    ------
    InputError
        Where no glaciers are locked, or where the rows are not those that were locked before any fit.
    """
    from glacmb_grid.learning.blend import fit_blend, predict_blend
    from glacmb_grid.learning.models import fit, predict
    from glacmb_grid.learning.neighbours import fit_neighbours, predict_neighbours

    samples = read_zarr(store.folder("samples") / "samples.zarr")
    locked = locked_rows(config, samples)
    record = json.loads((store.folder("folds") / "holdout.json").read_text(encoding="utf-8"))
    verify_holdout(record, samples, locked)
    looks = config.root / "holdout-looks.json"
    read_looks(looks, some=store.mark("holdout") is not None or store.has_damaged_mark("holdout"))
    states = _remember_lock(store, record)
    always = set.intersection(*(set(state["glaciers"]) for state in states))
    open_before = sorted(set(record["glaciers"]) - always)
    if open_before:
        say(
            f"not locked from the start: {listing(open_before)} may have been fitted on and judged in this folder "
            "before, so this is no independent test"
        )
    if len(states) > 1:
        changes = f"{len(states) - 1} time{'s' if len(states) > 2 else ''}"
        say(
            f"the locked rows, or their predictors, changed {changes} since they were first locked: holdout-locked.json"
        )
    folds = _holdout_fold(samples, locked, config)
    tables: list[pd.DataFrame] = []
    parts: dict[str, xr.Dataset] = {}
    fits: dict[str, xr.Dataset] = {}
    predictors: dict[str, Callable[[xr.Dataset], xr.DataArray]] = {}
    for model in models_of(config):
        if model == BLEND:
            named = parts_of_blend(config)
            weights = fit_blend({m: p for m, p in parts.items() if m in named}, samples, folds)
            predicted = predict_blend(weights, predictors, samples)
        elif model == _FORCED and not has_forcing(samples):
            continue
        elif base_of(model) is not None:
            base = str(base_of(model))
            added = fit_neighbours(fits[base], samples, folds)
            predictors[model], parts[model] = partial(predict_neighbours, added, partial(predict, fits[base])), added
            predicted = predictors[model](samples)
        else:
            fitted = fit(model, samples, folds, getattr(config.models, model), seed=config.seed)
            fits[model] = fitted
            if model in parts_of_blend(config):
                parts[model], predictors[model] = fitted, partial(predict, fitted)
            predicted = predict(fitted, samples)
        tables.append(out_of_fold(samples, folds, predicted, model=model).assign(protocol="locked"))
        say(f"{model} fitted on {int(folds['fit'].values.sum())} rows")
    key = digest(config.models, config.validation, config.protocol, config.seed)
    say(str(log_look(looks, record, key)["message"]))  # nobody has seen a score yet
    return pd.concat(tables)


def _holdout_fold(samples: xr.Dataset, locked: npt.NDArray[np.bool_], config: Judged) -> xr.Dataset:
    """One fold: all that is free is fitted on, all that is locked is scored."""
    side = np.where(locked, "locked", "free").astype(object)
    sides = samples.assign_coords(fold_logo=("sample", side))
    folds = make_folds(sides, "logo", inner=config.validation.inner, seed=config.seed)
    return folds.isel(fold=np.flatnonzero(folds["score"].values[:, locked].any(axis=1)))


def make_products(context: Context) -> None:
    """The glacier x year dataset, and where the truth is known its skill."""
    config = context.cube
    predictors = read_zarr(context.of("predictors", "predictors.zarr"))
    samples = read_zarr(context.of("samples", "samples.zarr"))
    outlines = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    glaciers = glaciers_dataset(outlines.loc[predictors["glacier"].values])
    folds = read_zarr(context.of("folds", f"{PRODUCT_SCHEME}.zarr"))
    ids = predictors["glacier"].values
    measured = np.isin(ids.astype(str), samples["glacier"].values.astype(str))
    means = {}
    for model in models_of(config) if config.product.truth else [config.product.model]:
        if model == "blend" and config.product.model != "blend":
            continue
        upscaled = upscale(predictor_of(context, model, PRODUCT_SCHEME), predictors, samples, folds)
        means[model] = upscaled["mean"].values
        if model == config.product.model:
            table = pd.read_parquet(context.of(f"learning/{model}", "predictions.parquet"))
            residual = residual_variance(table, ids, predictors["year"].values)
            product = build_product(upscaled, residual, predictors, glaciers, measured, attrs=_provenance(context))
    stand_in = read_zarr(context.of("sampled", "climate.zarr"), {})[["nearest_land", "land_distance"]]
    stand_in = stand_in.sel(glacier=predictors["glacier"].values).load()
    product = product.assign({n: ("glacier", v.values, v.attrs) for n, v in stand_in.data_vars.items()})
    product.attrs["glaciers_failed"] = len(outlines) - product.sizes["glacier"]
    write_product(product, context.out)
    if config.product.truth is not None:
        write_table(_against_truth(config.product.truth, means, predictors, measured), context.out / "truth_scores.csv")
    context.say(f"{product.sizes['glacier']} glaciers x {product.sizes['year']} years by {config.product.model}")


def _provenance(context: Context) -> dict[str, str]:
    config = context.cube
    return {
        "title": str(config.as_written(config.product.title)),
        "institution": str(config.as_written(config.product.institution)) or "not stated",
        "source": f"glacmb_grid, model {config.product.model}, folds that leave one glacier out",
        "configuration": str(config.as_written(config.name)),
        "configuration_digest": context.key,
        "inputs": "; ".join(f"{what}: {text}" for what, text in describe_inputs(context.inputs).items()),
        "versions": "; ".join(f"{n} {v}" for n, v in versions().items()),
    }


def _against_truth(
    path: Path, means: dict[str, np.ndarray], predictors: xr.Dataset, measured: np.ndarray
) -> pd.DataFrame:
    """Scores of products against a known truth, measured and unmeasured glaciers apart."""
    with xr.open_dataset(path) as file:
        ids = file["glacier_id"].values.astype(str)
        truth = file["mass_balance"].transpose("glacier", "year").assign_coords(glacier=ids)
        known = truth.sel(glacier=predictors["glacier"].values.astype(str), year=predictors["year"].values).values
    lines = []
    for model, mean in means.items():
        for name, rows in (("measured", measured), ("unmeasured", ~measured)):
            glacier = np.repeat(np.arange(rows.sum()), mean.shape[1]).astype(np.float64)
            observed, error = known[rows].ravel().astype(np.float64), (mean - known)[rows].ravel()
            for metric, function in METRICS.items():
                value = float(function(np.ones((1, len(error))), error, observed, glacier)[0]) if len(error) else np.nan
                lines.append((model, name, metric, value, len(error)))
    return pd.DataFrame(lines, columns=["model", "slice", "metric", "value", "n"])
