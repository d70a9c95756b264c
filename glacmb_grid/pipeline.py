"""A table of stages, what each depends on, and the run that brings them up to date."""

from __future__ import annotations

import platform
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from glacmb_grid import judging, stages
from glacmb_grid.cluster import scheduler
from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import FILE, read_failures
from glacmb_grid.inputs.files import closing, find_files
from glacmb_grid.settings import Judged, RunConfig, TableConfig, digest, portable
from glacmb_grid.stages import Context
from glacmb_grid.stores import RunStore, files_identity, versions, write_table
from glacmb_grid.validation.scores import score

Say = Callable[[str], None]
CAN_FAIL = ("glaciers", "weights", "terrain", "sampled")  # stages that list glaciers and go on without them


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes
    ----------
    name : str
        Also its folder in the run's store.
    run : callable
        Writes its results into ``context.out``.
    needs : tuple of str
        Stages that it reads.
    settings : dict
        Configuration that shapes its result, by key.
    files : tuple
        Paths and patterns of raw inputs, each with what it is.
    on_request : bool
        Whether the stage runs only where it is asked for by name.
    """

    name: str
    run: Callable[[Context], None]
    needs: tuple[str, ...]
    settings: dict[str, Any]
    files: tuple[tuple[Any, str], ...] = ()
    on_request: bool = False


def table(config: Judged) -> list[Stage]:
    """The stages of a configuration, in an order that respects their needs."""
    if isinstance(config, RunConfig):
        return [*_cube_stages(config), *_judging_stages(config), _product_stage(config)]
    assert isinstance(config, TableConfig)
    read = Stage("samples", stages.read_table, (), {"samples": config.samples}, ((config.samples.path, "samples"),))
    return [read, *_judging_stages(config)]


def _cube_stages(c: RunConfig) -> list[Stage]:
    """From raw files to samples."""
    raw = ("raw",) if c.synthetic else ()
    albedo = ("albedo",) if c.albedo else ()
    links = c.observations.links
    observation_files = [(p, "link table") for p in (links.table, links.positions) if p]
    climate_files = [
        (c.climate.files, "climate files"),
        *([(c.climate.invariant, "invariant file")] if c.climate.invariant else []),
    ]
    out = []
    if c.synthetic:
        out.append(Stage("raw", stages.make_synthetic, (), {"synthetic": c.synthetic}))
    out += [
        Stage("glaciers", stages.read_glaciers, raw, {"glaciers": c.glaciers}, ((c.glaciers.path, "outlines"),)),
        Stage("cubes", stages.describe_climate, raw, {"climate": c.climate}, tuple(climate_files)),
        Stage(
            "weights",
            stages.make_weights,
            (*raw, "glaciers", "cubes"),
            {f"sampling.{n}": getattr(c.sampling, n) for n in ("min_coverage", "max_land_distance_km")}
            | {"regrid": c.regrid},
        ),
        Stage(
            "terrain",
            stages.make_terrain,
            (*raw, "glaciers"),
            {"elevation": c.elevation},
            ((c.elevation.files, "elevation model"),),
        ),
        Stage("sampled", stages.sample_climate, (*raw, "cubes", "weights", "terrain"), {"sampling": c.sampling}),
    ]
    if c.albedo:
        rasters = ((c.albedo.files, "albedo rasters"),)
        out.append(Stage("albedo", stages.sample_albedo, (*raw, "glaciers"), {"albedo": c.albedo}, rasters))
    return [
        *out,
        Stage(
            "predictors",
            stages.make_predictors,
            ("glaciers", "weights", "sampled", "terrain", *albedo),
            {"predictors": c.predictors, "sampling.lapse_rate": c.sampling.lapse_rate},
        ),
        Stage(
            "samples",
            stages.make_samples,
            (*raw, "glaciers", "predictors"),
            {"observations": c.observations},
            ((c.observations.path, "observations"), *observation_files),
        ),
    ]


def _judging_stages(c: Judged) -> list[Stage]:
    """Folds, fits and scores; the audit, the study and the locked glaciers only where they are asked for."""
    models = judging.models_of(c)
    folds = {k: v for k, v in dict(c.validation).items() if k not in ("models", "schemes")}
    schemes = {"schemes": judging.schemes_of(c), "protocol": c.protocol, "seed": c.seed}
    out = [Stage("folds", judging.make_all_folds, ("samples",), {"validation": folds, **schemes})]
    for m in models:
        settings = {f"models.{m}": getattr(c.models, m), **schemes}
        if m == judging.BLEND:
            parts = judging.parts_of_blend(c)
            needs = ("samples", "folds", *(f"learning/{p}" for p in parts))
            out.append(Stage("learning/blend", judging.blend_models, needs, {**settings, "parts": parts}))
        elif base := judging.base_of(m):
            needs = ("samples", "folds", f"learning/{base}")
            out.append(Stage(f"learning/{m}", judging.add_neighbours(m), needs, settings))
        else:
            out.append(Stage(f"learning/{m}", judging.fit_model(m), ("samples", "folds"), settings))
    fits = tuple(f"learning/{m}" for m in judging.compared(c))
    judged = {"scores": c.scores, "seed": c.seed, "schemes": c.validation.schemes, "models": judging.compared(c)}
    out.append(Stage("evaluation", judging.evaluate, ("samples", "folds", *fits), judged))
    every = tuple(f"learning/{m}" for m in models)
    bootstrap = {"scores": c.scores, "seed": c.seed, "validation": c.validation}
    out.append(
        Stage("audit", judging.audit, ("samples", "folds", *every), {"audit": c.audit, **bootstrap}, on_request=True)
    )
    studied = tuple(f"learning/{m}" for m in judging.studied(c)[0])
    out.append(
        Stage("study", judging.study, ("samples", "folds", *studied), {"study": c.study, **bootstrap}, on_request=True)
    )
    return out


def _product_stage(c: RunConfig) -> Stage:
    fits = tuple(f"learning/{m}" for m in judging.models_of(c))
    return Stage(
        "products",
        judging.make_products,
        ("glaciers", "sampled", "predictors", "samples", "folds", *fits),
        {"product": c.product, "models": judging.compared(c) if c.product.truth else None},
        ((c.product.truth, "truth"),) if c.product.truth else (),
    )


def wanted_mark(stage: Stage, store: RunStore, upstream: dict[str, str]) -> dict[str, Any]:
    """What a current store of this stage would carry.

    Raises
    ------
    InputError
        Where an input file is missing.
    """
    settings = {
        k: portable(v.model_dump(mode="python") if isinstance(v, BaseModel) else v) for k, v in stage.settings.items()
    }
    inputs = {what: files_identity(store, find_files(paths, what=what)) for paths, what in stage.files}
    mark = {"settings": settings, "inputs": inputs, "needs": upstream, "version": versions().get("glacmb-grid", "")}
    return {**mark, "key": digest(mark)}


def differences(old: dict[str, Any] | None, new: dict[str, Any]) -> list[str]:
    """Why a store is not current, in words; empty where it is."""
    if old is None:
        return ["not done yet"]
    if old.get("key") == new["key"]:
        return []
    told = []
    for kind, words in (("settings", "setting"), ("inputs", "input"), ("needs", "stage")):
        before, after = _flat(old.get(kind, {})), _flat(new[kind])
        changed = [k for k in dict.fromkeys([*before, *after]) if before.get(k) != after.get(k)]
        if kind == "settings":
            told += [f"{words} {k}: {before.get(k)!r} -> {after.get(k)!r}" for k in changed]
        elif changed:
            told.append(f"{words} {listing(changed, 4)} changed")
    if old.get("version") != new["version"]:
        told.append(f"made by version {old.get('version')}")
    return told or ["changed"]


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree} if prefix else {}
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return out


def status(config: Judged) -> list[tuple[str, str, str]]:
    """Name, state (`current`, `stale`, `missing`, `blocked`) and reason of every stage."""
    store = RunStore(config.root)
    keys: dict[str, str] = {}
    lines = []
    for stage in table(config):
        mark = store.mark(stage.name)
        try:
            new = wanted_mark(stage, store, {n: keys[n] for n in stage.needs})
        except InputError as error:
            will_be_made = isinstance(config, RunConfig) and config.synthetic is not None and store.mark("raw") is None
            reason = "its input is made by the stage raw" if will_be_made else f"{error.where}: {error.found}"
            lines.append((stage.name, "missing" if will_be_made else "blocked", reason))
            keys[stage.name] = "?"
            continue
        keys[stage.name] = new["key"]
        why = differences(mark, new)
        state = "current" if not why else "missing" if mark is None else "stale"
        lines.append((stage.name, state, "; ".join(why) if state == "stale" else ""))
    return lines


def select(config: Judged, only: str | None) -> set[str]:
    """Names of the stages to bring up to date: all, or one (or one folder of them) with all that it needs."""
    stages_by_name = {s.name: s for s in table(config)}
    if only is None:
        return {n for n, s in stages_by_name.items() if not s.on_request}
    asked = [n for n in stages_by_name if n == only or n.startswith(f"{only}/")]
    if not asked:
        raise InputError(
            f"--stage {only}",
            expected=f"one of {', '.join(stages_by_name)}",
            found=repr(only),
            remedy="choose one of these",
        )
    todo, chosen = list(asked), set()
    while todo:
        name = todo.pop()
        chosen.add(name)
        todo += [n for n in stages_by_name[name].needs if n not in chosen]
    return chosen


def run(config: Judged, *, stage: str | None = None, overwrite: bool = False, say: Say = print) -> list[str]:
    """Bring a run up to date.

    Parameters
    ----------
    config : RunConfig
    stage : str, optional
        Only this stage and what it needs.
    overwrite : bool
        Redo the stages (with `stage` just that one) even where they are current.
    say : callable
        Takes a line of progress.

    Returns
    -------
    list of str
        Names of the stages that ran.

    Raises
    ------
    InputError or InputErrors
    """
    store = RunStore(config.root)
    chosen = select(config, stage)
    ran: dict[str, float] = {}
    with store.locked(say), scheduler(config.compute) as workers:
        started = time.time()
        keys: dict[str, str] = {}
        inputs: dict[str, dict[str, str]] = {}
        notes: list[str] = []
        outcome = "failed"
        try:
            for one in (s for s in table(config) if s.name in chosen):
                mark = wanted_mark(one, store, {n: keys[n] for n in one.needs})
                keys[one.name] = mark["key"]
                inputs |= mark["inputs"]
                forced = overwrite and (stage is None or one.name == stage or one.name.startswith(f"{stage}/"))
                why = differences(store.mark(one.name), mark) or (["asked for by --overwrite"] if forced else [])
                if why:
                    ran[one.name] = _run_one(one, mark, config, store, inputs, why, say, notes)
            outcome = "finished"
        finally:
            if isinstance(config, RunConfig):
                _gather_failures(config, store)
            if ran or outcome == "failed":
                store.append_log(_log(config, started, ran, workers, outcome, notes, inputs))
    return list(ran)


def _gather_failures(config: RunConfig, store: RunStore) -> None:
    """`failed.csv` of the run from those of its stages that are current."""
    states = {name: state for name, state, _ in status(config)}
    current = [store.folder(n) / FILE for n in CAN_FAIL if states[n] == "current"]
    aside = store.root / f".partial-{FILE}"
    read_failures(current).to_csv(aside, index=False)
    aside.replace(store.root / FILE)


def failed(config: Judged) -> pd.DataFrame:
    """Glaciers that the last run could not work on, with stage, variable and reason."""
    return read_failures([RunStore(config.root).root / FILE])


def score_holdout(config: Judged, *, say: Say = print) -> None:
    """Score the locked test glaciers: fit on all others, score once, log that it was done.

    Parameters
    ----------
    config : RunConfig or TableConfig
    say : callable
        Takes a line of progress.

    Raises
    ------
    InputError
        Where `validation.holdout` is not set, or where the locked rows are not those of before.
    """
    if config.validation.holdout is None:
        raise InputError(
            "validation: holdout",
            expected="a share or a list of glaciers that were locked away",
            found="nothing",
            remedy="set `validation.holdout` and run `evaluate` first",
        )
    run(config, stage="folds", say=say)
    store = RunStore(config.root)
    with store.locked(say):
        predictions = judging.judge_locked(config, store, say)
        scores = score(predictions, draws=config.scores.bootstrap, level=config.scores.level, seed=config.seed)
        with store.writing("holdout", {"settings": {}, "key": digest(config)}) as folder:
            write_table(predictions, folder / "predictions.csv")
            write_table(scores, folder / "scores.csv")
    if scores["lower"].isna().all():
        say("  no interval: fewer than 8 groups to resample")
    for line in scores[scores["metric"] == "rmse"].to_dict("records"):
        interval = f" [{line['lower']:.3f}, {line['upper']:.3f}]" if line["lower"] == line["lower"] else ""
        told = f"{line['value']:.3f} m w.e.{interval}, n = {line['n']}"
        say(f"  {line['model']:18s} RMSE {told}")


def _run_one(
    stage: Stage,
    mark: dict[str, Any],
    config: Judged,
    store: RunStore,
    inputs: dict[str, dict[str, str]],
    why: list[str],
    say: Say,
    notes: list[str],
) -> float:
    reason = "" if why == ["not done yet"] else f" ({listing(why, 3)})"
    say(f"{stage.name}{reason}")
    begun = time.perf_counter()
    with _heard(say, notes), closing(), store.writing(stage.name, mark) as folder:
        stage.run(Context(config, store, folder, lambda text: say(f"    {text}"), dict(inputs), mark["key"]))
    seconds = time.perf_counter() - begun
    say(f"    done in {seconds:.1f} s")
    return seconds


@contextmanager
def _heard(say: Say, notes: list[str]) -> Iterator[None]:
    """Tell our own warnings to the user and keep them for `run.json`."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default", UserWarning)
            yield
    finally:  # a stage that fails may have said why
        for one in caught:
            if issubclass(one.category, UserWarning) and "glacmb_grid" in Path(one.filename).parts:
                notes.append(str(one.message))
                say(f"    note: {one.message}")


def peak_memory() -> float:
    """Largest resident set of this process and of its largest child, GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    largest = [resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(max(largest) * unit / 1e9, 3)


def _log(
    config: Judged,
    started: float,
    ran: dict[str, float],
    workers: str,
    outcome: str,
    notes: list[str],
    inputs: dict[str, dict[str, str]],
) -> dict[str, Any]:
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "outcome": outcome,
        "seconds": round(time.time() - started, 2),
        "stages": {n: round(s, 2) for n, s in ran.items()},
        "peak_memory_gb": peak_memory(),
        "workers": workers,
        "seed": config.seed,
        "notes": notes,
        "inputs": stages.describe_inputs(inputs),
        "versions": {"python": platform.python_version(), **versions()},
        "configuration": portable(config.model_dump(mode="python")),
    }
