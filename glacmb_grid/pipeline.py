"""The stages of a run, what each depends on, and `run`, which makes those that are not current."""

from __future__ import annotations

import platform
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from glacmb_grid import stages
from glacmb_grid.cluster import scheduler
from glacmb_grid.disk import INTERNAL, no_room, write_csv
from glacmb_grid.errors import InputError, InputErrors, Problems, listing
from glacmb_grid.failures import FILE, read_failures
from glacmb_grid.inputs.files import closing, find_files
from glacmb_grid.judging import fits, folds, locked, plan, product, proofs
from glacmb_grid.settings import Given, Judged, RunConfig, Section, TableConfig, digest
from glacmb_grid.stages import Context
from glacmb_grid.stores.formats import write_table
from glacmb_grid.stores.identity import Identity
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.stores.versions import versions
from glacmb_grid.validation.scores import score

Say = Callable[[str], None]
Upstream = dict[str, tuple[str, str]]  # key and content by stage
Digests = dict[str, dict[str, str]]  # of input files, by kind of input and file name
CAN_FAIL = ("glaciers", "weights", "terrain", "sampled")  # stages that list failed glaciers and go on
RASTERS = ("elevation model", "albedo rasters")  # inputs that GDAL reads
OTHERS = ("kept", "holdout", INTERNAL)  # what a run writes in its folder beside the stages


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
        The settings that its result depends on, by key.
    files : tuple
        Pairs of path or pattern of a raw input, and what it is.
    rereads : tuple of str
        Stages whose raw inputs this one reads too.
    on_request : bool
        Whether the stage runs only when asked for by name.
    """

    name: str
    run: Callable[[Context], None]
    needs: tuple[str, ...]
    settings: dict[str, Any]
    files: tuple[tuple[Any, str], ...] = ()
    rereads: tuple[str, ...] = ()
    on_request: bool = False


def table(config: Judged) -> list[Stage]:
    """The stages of a configuration, each after those that it needs."""
    if isinstance(config, RunConfig):
        return [*_cube_stages(config), *_judging_stages(config), _product_stage(config)]
    assert isinstance(config, TableConfig)
    read = Stage("samples", stages.read_table, (), {"samples": config.samples}, ((config.samples.path, "samples"),))
    return [read, *_judging_stages(config)]


def _cube_stages(c: RunConfig) -> list[Stage]:
    """The stages from raw files to samples."""
    raw = ("raw",) if c.synthetic else ()
    albedo = ("albedo",) if c.albedo else ()
    links = c.observations.links
    observation_files = [(p, w) for p, w in ((links.table, "link table"), (links.positions, "glacier positions")) if p]
    invariant = ((c.climate.invariant, "invariant file"),) if c.climate.invariant else ()
    climate_files = ((c.climate.files, "climate files"), *invariant)
    out = []
    if c.synthetic:
        out.append(Stage("raw", stages.make_synthetic, (), {"synthetic": c.synthetic}))
    out += [
        Stage("glaciers", stages.read_glaciers, raw, {"glaciers": c.glaciers}, ((c.glaciers.path, "outlines"),)),
        Stage("cubes", stages.describe_climate, raw, {"climate": c.climate}, climate_files),
        Stage(
            "observations",
            stages.link_observations,
            (*raw, "glaciers"),
            {"observations": c.observations},
            ((c.observations.path, "observations"), *observation_files),
        ),
        Stage(
            "plan",
            folds.plan_folds,
            ("glaciers", "cubes", "observations"),
            {"predictors.first_month": c.predictors.first_month, **_fold_settings(c)},
        ),
        Stage(
            "weights",
            stages.make_weights,
            (*raw, "glaciers", "cubes"),
            {f"sampling.{n}": getattr(c.sampling, n) for n in ("min_coverage", "max_land_distance_km")}
            | {"regrid": c.regrid},
            rereads=("cubes",),
        ),
        Stage(
            "terrain",
            stages.make_terrain,
            (*raw, "glaciers"),
            {"elevation": c.elevation},
            ((c.elevation.files, "elevation model"),),
        ),
        Stage(
            "sampled",
            stages.sample_climate,
            (*raw, "cubes", "weights", "terrain"),
            {"sampling": c.sampling},
            rereads=("cubes",),
        ),
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
        Stage("samples", stages.make_samples, ("observations", "predictors"), {}),
    ]


def _judging_stages(c: Judged) -> list[Stage]:
    """Folds, fits and scores; the audit and the study, which run on request."""
    models = plan.models_of(c)
    schemes = _scheme_settings(c)
    planned = ("plan",) if isinstance(c, RunConfig) else ()  # bad fold settings fail before hours of sampling
    out = [Stage("folds", folds.make_all_folds, ("samples", *planned), _fold_settings(c))]
    for name, model in models.items():
        needs = ("samples", "folds", *(f"learning/{b}" for b in model.built_on))
        settings = {f"models.{name}": model.settings, **schemes}
        out.append(Stage(f"learning/{name}", fits.fit_stage(model), needs, settings, _files_of({name: model.settings})))
    needs = ("samples", "folds", *(f"learning/{m}" for m in plan.compared(c)))
    judged = {"scores": c.scores, "seed": c.seed, "schemes": c.validation.schemes, "models": plan.compared(c)}
    out.append(Stage("evaluation", fits.evaluate, needs, judged))
    own = {m: s for m, s in c.own_models.items() if m in c.audit.compare}
    bootstrap = {"scores": c.scores, "seed": c.seed, "validation": c.validation}
    audited = {"audit": c.audit, "own models": own, **bootstrap}
    needs = ("samples", "folds", *(f"learning/{m}" for m in models))
    out.append(Stage("audit", proofs.audit, needs, audited, _files_of(own), on_request=True))
    needs = ("samples", "folds", *(f"learning/{m.name}" for m in plan.studied(c)[0]))
    out.append(Stage("study", proofs.study, needs, {"study": c.study, **bootstrap}, on_request=True))
    return out


def _files_of(settings: dict[str, Section]) -> tuple[tuple[Any, str], ...]:
    """Files of predictions made elsewhere, each with a label that names its model."""
    given = {m: s.path for m, s in settings.items() if isinstance(s, Given)}
    return tuple((path, f"predictions {m}") for m, path in given.items() if path is not None)


def _scheme_settings(c: Judged) -> dict[str, Any]:
    return {"schemes": plan.schemes_of(c), "protocol": c.protocol, "seed": c.seed}


def _fold_settings(c: Judged) -> dict[str, Any]:
    kept = {k: v for k, v in dict(c.validation).items() if k not in ("models", "schemes")}
    return {"validation": kept, "asked": c.validation.schemes, **_scheme_settings(c)}


def _product_stage(c: RunConfig) -> Stage:
    fitted = tuple(f"learning/{m}" for m in plan.models_of(c))
    return Stage(
        "products",
        product.make_products,
        ("glaciers", "sampled", "predictors", "samples", "folds", *fitted),
        {"product": c.product, "models": plan.compared(c) if c.product.truth else None},
        ((c.product.truth, "truth"),) if c.product.truth else (),
    )


def files_of(stage: Stage, every: dict[str, Stage]) -> Iterator[tuple[str, list[Path]]]:
    """Raw inputs that a stage reads: what they are, and their paths.

    Raises
    ------
    InputError
        If one is missing.
    """
    for one in (stage, *(every[n] for n in stage.rereads)):
        for paths, what in one.files:
            yield what, find_files(paths, what=what)


def require_apart(config: Judged, store: RunStore) -> None:
    """Refuse a run folder with files that a run did not write, and inputs in folders that a run replaces.

    Raises
    ------
    InputError or InputErrors
    """
    every = {s.name: s for s in table(config)}
    store.require_own([*every, "kept/any", *(["holdout"] if config.validation.holdout is not None else [])])
    made_here = isinstance(config, RunConfig) and config.synthetic is not None
    ours = [n.split("/")[0] for n in (*every, *OTHERS) if not (made_here and n == "raw")]
    folders = {store.root.resolve() / n for n in ours}
    problems = Problems()
    for stage in every.values():
        for paths, what in stage.files:
            given = [Path(p) for p in ([paths] if isinstance(paths, (str, Path)) else paths)]
            with problems.collect():
                _require_input_apart(given, what, folders, store.root)
    problems.raise_if_any()


def _require_input_apart(given: list[Path], what: str, folders: set[Path], root: Path) -> None:
    found: list[Path] = []
    with suppress(InputError, InputErrors):  # the stage that reads a missing input reports it
        found = find_files(list(map(str, given)), what=what)
    for path in dict.fromkeys([*given, *found]):
        real = path.resolve()
        inside = folders & {real, *real.parents}
        if inside or (real.is_dir() and root.resolve().is_relative_to(real)):
            place = f"{path}, where the results of a run go" if inside else f"{path}, which holds the run's folder"
            raise InputError(
                f"{what}: {path}",
                expected="an input outside the folders that a run writes and replaces",
                found=place,
                remedy=f"move it, or give the run another `store.root` than {root}",
            )


def wanted_mark(
    stage: Stage, config: Judged, store: RunStore, upstream: Upstream, *, fresh: bool = False, whole: bool = False
) -> dict[str, Any]:
    """The mark that a current result of this stage carries.

    Parameters
    ----------
    stage : Stage
    config : Judged
    store : RunStore
    upstream : Upstream
        Of every stage that it needs.
    fresh, whole : bool
        Read inputs again even if they seem unchanged; read them from end to end.

    Returns
    -------
    dict
        `key`, a digest of the settings, the inputs, the keys of the stages needed, and the version of the package;
        these beside it; and `read`, the content of the stages needed.

    Raises
    ------
    InputError
        If an input file is missing.
    """
    every = {s.name: s for s in table(config)}
    inputs = {
        what: store.inputs.identities(paths, raster=what in RASTERS, fresh=fresh, whole=whole)
        for what, paths in files_of(stage, every)
    }
    made_of = {
        "inputs": {what: [(i.name, i.content) for i in found] for what, found in inputs.items()},
        "needs": {n: key for n, (key, _) in upstream.items()},
        "version": versions().get("glacmb-grid", ""),
    }
    return {
        **made_of,
        "key": digest({"settings": stage.settings, **made_of}),
        "settings": {k: config.as_written(v) for k, v in stage.settings.items()},
        "inputs": {what: [list(i) for i in found] for what, found in inputs.items()},
        "read": {n: content for n, (_, content) in upstream.items()},
    }


def differences(old: dict[str, Any] | None, new: dict[str, Any]) -> list[str]:
    """Why a result is not current; empty if it is."""
    if old is None:
        return ["not done yet"]
    reasons = []
    if old["key"] != new["key"]:
        before, after = _flat(old.get("settings", {})), _flat(new["settings"])
        changed = [k for k in dict.fromkeys([*before, *after]) if before.get(k) != after.get(k)]
        reasons += [f"setting {k}: {before.get(k)!r} -> {after.get(k)!r}" for k in changed]
    if names := _changed_inputs(old.get("inputs", {}), new["inputs"]):
        reasons.append(f"input {listing(names, 4)} changed")
    stages_changed = [n for n in new["needs"] if any(old.get(k, {}).get(n) != new[k][n] for k in ("needs", "read"))]
    if stages_changed:
        reasons.append(f"stage {listing(stages_changed, 4)} changed")
    if old.get("version") != new["version"]:
        reasons.append(f"made by version {old.get('version')}")
    return reasons or ([] if old["key"] == new["key"] else ["an environment variable that it uses has another value"])


def _changed_inputs(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Names of inputs that were added, removed, changed or reordered."""
    changed = []
    for what in dict.fromkeys([*old, *new]):
        before = {i[0]: Identity(*i) for i in old.get(what, [])}
        after = {i[0]: Identity(*i) for i in new.get(what, [])}
        names = [n for n in dict.fromkeys([*before, *after]) if n not in before or n not in after]
        names += [n for n in after if n in before and after[n].differs(before[n])]
        if not names and list(before) != list(after):
            names = [f"order of the {what}"]
        changed += [f"{what}.{n}" for n in names]
    return changed


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree} if prefix else {}
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out |= _flat(value, f"{prefix}.{key}" if prefix else str(key))
    return out


def _reasons(stage: str, store: RunStore, new: dict[str, Any], *, whole: bool = False) -> list[str]:
    """Why a stage is not current: something that it was made of changed, or it is damaged. Empty if it is current."""
    if store.has_damaged_mark(stage):
        return ["the record of what it was made of is damaged"]
    old = store.mark(stage)
    if why := differences(old, new):
        return why
    damage = store.damage(stage, whole=whole)
    return [f"damaged: {damage}"] if damage else []


def _key_and_content(stage: str, store: RunStore, key: str) -> tuple[str, str]:
    """The key that a stage should have, and the content that it has; `?` if it was not made."""
    return key, store.content(stage) if store.mark(stage) is not None else "?"


def status(config: Judged, *, whole: bool = False, say: Say = lambda text: None) -> list[tuple[str, str, str]]:
    """Name, state (`current`, `stale`, `missing`, `blocked`) and reason of every stage.

    Parameters
    ----------
    config : RunConfig or TableConfig
    whole : bool
        Read all inputs and results from end to end.
    say : callable
        Takes a line about other damage in the run folder.
    """
    store = RunStore(config.root, say)
    require_apart(config, store)
    known: Upstream = {}
    lines = []
    for stage in table(config):
        mark = store.mark(stage.name)
        try:
            new = wanted_mark(stage, config, store, {n: known[n] for n in stage.needs}, whole=whole)
        except (InputError, InputErrors) as error:
            will_be_made = isinstance(config, RunConfig) and config.synthetic is not None and store.mark("raw") is None
            first = error.problems[0] if isinstance(error, InputErrors) else error
            problem = f"{first.where}: {first.found}" if isinstance(first, InputError) else f"{first}"
            reason = "its input is made by the stage raw" if will_be_made else problem
            lines.append((stage.name, "missing" if will_be_made else "blocked", reason))
            known[stage.name] = ("?", "?")
            continue
        known[stage.name] = _key_and_content(stage.name, store, new["key"])
        why = _reasons(stage.name, store, new, whole=whole)
        missing = mark is None and not store.has_damaged_mark(stage.name)
        state = "current" if not why else "missing" if missing else "stale"
        lines.append((stage.name, state, "; ".join(why) if state == "stale" else ""))
    store.remember_inputs()
    return lines


def select(config: Judged, only: str | None) -> set[str]:
    """Names of the stages to run: all but those on request, or one (or a folder of them) with all that it needs."""
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


def run(
    config: Judged, *, stage: str | None = None, overwrite: bool = False, verify: bool = False, say: Say = print
) -> list[str]:
    """Run the stages that are not current.

    Parameters
    ----------
    config : RunConfig or TableConfig
    stage : str, optional
        Only this stage and what it needs.
    overwrite : bool
        Run all stages (with `stage` just that one) even if they are current, and read their inputs again.
    verify : bool
        Read all inputs and all earlier results from end to end, instead of trusting sizes and times.
    say : callable
        Takes a line of progress.

    Returns
    -------
    list of str
        Names of the stages that ran.

    Raises
    ------
    InputError or InputErrors
        An invalid input or setting; files in the run folder that no run wrote; results that cannot be written.
    """
    store = RunStore(config.root, say)
    chosen = select(config, stage)
    require_apart(config, store)
    if any(n.startswith("learning/") for n in chosen):
        plan.require_models(config)  # missing models are reported before hours of sampling
    ran: dict[str, float] = {}
    with _report_full_disk(store), store.locked(), scheduler(config.compute, say) as workers:
        started = time.time()
        known: Upstream = {}
        inputs: Digests = {}
        notes: list[str] = []
        outcome = "failed"
        every = {s.name: s for s in table(config)}
        try:
            for one in (s for s in every.values() if s.name in chosen):
                forced = overwrite and (stage is None or one.name == stage or one.name.startswith(f"{stage}/"))
                upstream = {n: known[n] for n in one.needs}
                mark = wanted_mark(one, config, store, upstream, fresh=forced, whole=verify)
                inputs |= {what: {i[0]: i[1] for i in found} for what, found in mark["inputs"].items()}
                why = _reasons(one.name, store, mark, whole=verify) or (["asked for by --overwrite"] if forced else [])
                if why:
                    store.renewing = forced
                    ran[one.name] = _run_one(one, every, mark, config, store, inputs, why, say, notes)
                    store.remember_inputs()
                elif verify:
                    _record_whole_inputs(one.name, store, mark, say)
                known[one.name] = _key_and_content(one.name, store, mark["key"])
            outcome = "finished"
        finally:
            hidden = (Exception,) if outcome == "failed" else ()  # the first failure is the one to report
            with suppress(*hidden):
                store.remember_inputs()
            with suppress(*hidden):
                if isinstance(config, RunConfig):
                    _gather_failures(config, store)
            with suppress(*hidden):
                if ran or outcome == "failed":
                    store.append_log(_log_entry(config, started, ran, workers, outcome, notes, inputs))
    return list(ran)


def _record_whole_inputs(stage: str, store: RunStore, new: dict[str, Any], say: Say) -> None:
    """Record checksums of large inputs, now read as a whole but sampled when the stage was made, for later runs."""
    old = (store.mark(stage) or {}).get("inputs", {})
    if old == new["inputs"]:
        return
    read_whole = ((what, i[0]) for what, found in new["inputs"].items() for i in found if i[3])
    first_time = [name for what, name in read_whole if not Identity(*_identity_of(old, what, name)).whole]
    if first_time:
        say(f"{stage}: {listing(first_time)} read as a whole for the first time; later --verify runs compare with that")
    store.note_inputs(stage, new["inputs"])


def _identity_of(inputs: dict[str, Any], what: str, name: str) -> list[str]:
    """The recorded identity of an input; empty if there is none."""
    return next((i for i in inputs.get(what, []) if i[0] == name), [name, "", "", ""])


def _gather_failures(config: RunConfig, store: RunStore) -> None:
    """Write `failed.csv` of the run from those of its current stages."""
    states = {name: state for name, state, _ in status(config)}
    current = [store.folder(n) / FILE for n in CAN_FAIL if states[n] == "current"]
    with store.rewriting(FILE) as file:
        write_csv(read_failures(current), file)


def failed(config: Judged) -> pd.DataFrame:
    """Glaciers that failed in the last run, with stage, variable and reason; none for a user's own table."""
    if not isinstance(config, RunConfig):
        return read_failures([])
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
        If `validation.holdout` is not set, or if the locked rows have changed.
    """
    if config.validation.holdout is None:
        raise InputError(
            "validation: holdout",
            expected="a share or a list of glaciers that were locked away",
            found="nothing",
            remedy="set `validation.holdout` and run `evaluate` first",
        )
    run(config, stage="folds", say=say)
    store = RunStore(config.root, say)
    with _report_full_disk(store), store.locked():
        predictions = locked.judge_locked(config, store, say)
        scores = score(predictions, draws=config.scores.bootstrap, level=config.scores.level, seed=config.seed)
        with store.writing("holdout", {"settings": {}, "key": digest(config)}) as folder:
            write_table(predictions, folder / "predictions.csv")
            write_table(scores, folder / "scores.csv")
    if scores["lower"].isna().all():
        say("  no interval: fewer than 8 groups to resample")
    for line in scores[scores["metric"] == "rmse"].to_dict("records"):
        interval = f" [{line['lower']:.3f}, {line['upper']:.3f}]" if line["lower"] == line["lower"] else ""
        result = f"{line['value']:.3f} m w.e.{interval}, n = {line['n']}"
        say(f"  {line['model']:18s} RMSE {result}")


def _run_one(
    stage: Stage,
    every: dict[str, Stage],
    mark: dict[str, Any],
    config: Judged,
    store: RunStore,
    inputs: Digests,
    why: list[str],
    say: Say,
    notes: list[str],
) -> float:
    """Run a stage and store its result; its duration, s."""
    reason = "" if why == ["not done yet"] else f" ({listing(why, 3)})"
    say(f"{stage.name}{reason}")
    begun = time.perf_counter()
    with _relay_warnings(say, notes), closing(), _report_cause(stage, store), store.writing(stage.name, mark) as folder:
        stage.run(Context(config, store, folder, lambda text: say(f"    {text}"), dict(inputs), mark["key"]))
        _require_still(stage, every, store)
    seconds = time.perf_counter() - begun
    say(f"    done in {seconds:.1f} s")
    return seconds


def _require_still(stage: Stage, every: dict[str, Stage], store: RunStore) -> None:
    """Refuse results if inputs changed while the stage read them."""
    changed = store.inputs.changed_since(p for _, paths in files_of(stage, every) for p in paths)
    if changed:
        raise InputError(
            f"{changed[0]}",
            expected="inputs that stay as they are while a stage reads them",
            found=f"{listing(changed, 3)} changed since the stage {stage.name} began",
            remedy="wait until nothing writes there any more, and run again",
        )


@contextmanager
def _report_full_disk(store: RunStore) -> Iterator[None]:
    """Report a full disk or a place that cannot be written, whichever library fails on it.

    Raises
    ------
    InputError
    """
    try:
        yield
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if isinstance(error, (InputError, InputErrors)) or (reason := no_room(store.root, error)) is None:
            raise
        raise InputError(
            f"{getattr(error, 'filename', None) or store.root}",
            expected="a place that can be read and written, with room",
            found=reason,
            remedy="free some room, correct its permissions, or name another `store.root`; the same command goes "
            "on from the last finished stage",
        ) from error


@contextmanager
def _report_cause(stage: Stage, store: RunStore) -> Iterator[None]:
    """Report the cause of a library's error: a full disk or memory, or a damaged result of an earlier stage.

    Raises
    ------
    InputError
    """
    try:
        with _report_full_disk(store):
            yield
    except (InputError, InputErrors, BrokenExecutor):
        raise
    except MemoryError as error:
        raise InputError(
            f"stage {stage.name}",
            expected="enough memory",
            found=f"out of memory: {error}",
            remedy="set fewer `compute.workers`, close other programs, or take a machine with more memory",
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        for need in stage.needs:
            if store.mark(need) is not None and (damage := store.damage(need, whole=True)):
                raise InputError(
                    f"{store.folder(need)}",
                    expected="the results of the stage as they were written",
                    found=f"{damage}",
                    remedy="check the disk, then run again: the stage is made again",
                ) from error
        raise


@contextmanager
def _relay_warnings(say: Say, notes: list[str]) -> Iterator[None]:
    """Show warnings of this package to the user and keep them for `run.json`."""
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default", UserWarning)
            yield
    finally:  # the warnings of a stage that fails may explain it
        for one in caught:
            if issubclass(one.category, UserWarning) and "glacmb_grid" in Path(one.filename).parts:
                notes.append(str(one.message))
                say(f"    note: {one.message}")


def peak_memory() -> float:
    """Largest resident set of this process and of its largest child, GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    largest = [resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(max(largest) * unit / 1e9, 3)


def _log_entry(
    config: Judged, started: float, ran: dict[str, float], workers: str, outcome: str, notes: list[str], inputs: Digests
) -> dict[str, Any]:
    """The entry of this run in `run.json`."""
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
        "configuration": config.as_written(config),
    }
