"""`run`: makes the stages that are not current, each from what it declares to read."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd

from glacmb_grid.disk import INTERNAL, Say, write_csv
from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import FILE, read_failures
from glacmb_grid.inputs.files import closing, find_files, naming_damage
from glacmb_grid.judging import plan
from glacmb_grid.progress import counting, heard_by
from glacmb_grid.settings import Judged, RunConfig, digest
from glacmb_grid.stores.artefacts import FORMATS, Artefact, failures, leaves, place, read, write
from glacmb_grid.stores.contents import README, readme
from glacmb_grid.stores.identity import Identity
from glacmb_grid.stores.ownership import LOG
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.stores.versions import versions
from glacmb_grid.stores.work import Work
from glacmb_grid.workflow.appending import keep_past, require_same_settings
from glacmb_grid.workflow.cluster import scheduler
from glacmb_grid.workflow.currency import Upstream, key_and_content, reasons_of, select, status, wanted_mark
from glacmb_grid.workflow.engines import Engine
from glacmb_grid.workflow.guards import relay_warnings, report_cause, report_full_disk, require_apart, require_still
from glacmb_grid.workflow.idle import idle
from glacmb_grid.workflow.lock_record import record_lock
from glacmb_grid.workflow.log import Digests, describe_inputs, log_entry
from glacmb_grid.workflow.logbook import Logbook
from glacmb_grid.workflow.openings import Openings, openings
from glacmb_grid.workflow.stages import Source, Stage
from glacmb_grid.workflow.table import table


def run(
    config: Judged,
    *,
    stage: str | None = None,
    overwrite: bool = False,
    verify: bool = False,
    append: bool = False,
    say: Say = print,
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
    append : bool
        Add years to the products: refuse other settings than theirs, and results that would change an older year.
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
    if not hasattr(config, "root"):
        kind = type(config).__name__
        raise InputError("run: config", expected="a configuration", found=kind, remedy="pass what `load_config` gives")
    book = Logbook(config.root / INTERNAL / LOG, say)
    say = book.say
    store = RunStore(config.root, say)
    chosen = select(config, stage)
    require_apart(config, store)
    if any(n.startswith("learning/") for n in chosen):
        plan.require_models(config)  # missing models are reported before hours of sampling
    if append:
        require_same_settings(config, store)
    for line in idle(config):
        say(f"note: {line}")
    ran: dict[str, float] = {}
    with report_full_disk(store), store.locked(), scheduler(config.compute, say) as engine, openings() as shared:
        started = time.time()
        known: Upstream = {}
        inputs: Digests = {}
        notes: list[str] = []
        outcome = "failed"
        try:
            todo = [s for s in table(config) if s.name in chosen]
            for number, one in enumerate(todo):
                forced = overwrite and (stage is None or one.name == stage or one.name.startswith(f"{stage}/"))
                upstream = {n: known[n] for n in one.needs}
                mark = wanted_mark(one, config, store, upstream, fresh=forced, whole=verify)
                inputs |= {what: {i[0]: i[1] for i in found} for what, found in mark["inputs"].items()}
                why = reasons_of(one.name, store, mark, whole=verify) or (
                    ["asked for by --overwrite"] if forced else []
                )
                if why:
                    store.renewing = forced
                    book.open()
                    with heard_by(book.hear), counting(f"stage {number + 1} of {len(todo)}: {one.name}"):
                        took = _run_one(one, mark, config, store, engine, inputs, why, say, notes, shared, append)
                    ran[one.name] = took
                    store.remember_inputs()
                elif verify:
                    _record_whole_inputs(one.name, store, mark, say)
                known[one.name] = key_and_content(one.name, store, mark["key"])
                shared.keep_only(source for later in todo[number + 1 :] for source in later.sources)
            outcome = "finished"
        except BaseException as error:
            book.note_error(error)
            raise
        finally:
            hidden = (Exception,) if outcome == "failed" else ()  # the first failure is the one to report
            with suppress(*hidden):
                store.remember_inputs()
            with suppress(*hidden):
                if isinstance(config, RunConfig):
                    _gather_failures(config, store)
            with suppress(*hidden):
                if ran or outcome == "failed":
                    entry = log_entry(config, started, ran, engine.description, outcome, notes, inputs)
                    store.append_log({**entry, "log": book.path.relative_to(config.root).as_posix()})
                    _describe_folder(store)
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
    listing_failures = [s.name for s in table(config) if s.lists_failures and states[s.name] == "current"]
    with store.rewriting(FILE) as file:
        write_csv(read_failures(place(store, failures(n)) for n in listing_failures), file)


def _describe_folder(store: RunStore) -> None:
    """Write what each file of the run's folder is."""
    text = readme(store.root)
    path = store.root / README
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        with store.rewriting(README) as file:
            file.write_text(text, encoding="utf-8")


def failed(config: Judged) -> pd.DataFrame:
    """Glaciers that failed in the last run, with stage, variable and reason; none for a user's own table."""
    if not isinstance(config, RunConfig):
        return read_failures([])
    return read_failures([RunStore(config.root).root / FILE])


def _run_one(
    stage: Stage,
    mark: dict[str, Any],
    config: Judged,
    store: RunStore,
    engine: Engine,
    inputs: Digests,
    why: list[str],
    say: Say,
    notes: list[str],
    shared: Openings,
    append: bool,
) -> float:
    """Run a stage and store its results; its duration, s."""
    reason = "" if why == ["not done yet"] else f" ({listing(why, 3)})"
    say(f"{stage.name}{reason}")
    begun = time.perf_counter()
    with relay_warnings(say, notes), closing(), report_cause(stage, store), store.writing(stage.name, mark) as folder:
        tell: Say = lambda text: say(f"    {text}")  # noqa: E731
        mark["kept"] = []
        work = _work(stage, config, store, engine, folder, inputs, mark["key"], mark["kept"], tell)
        read_late = (pair for source in stage.sources if source.lazy for pair in source.files)
        with naming_damage(p for files, what in read_late for p in find_files(files, what=what)):
            given = _handed(stage.reads, store, lambda one: _opened(one, mark, shared, tell)) | {
                n: o.given for n, o in stage.options.items()
            }
            _store_results(stage, stage.make(work, **given), folder)
        require_still(stage, store)
        if append:
            keep_past(stage, store, folder, tell)
    store.forget_checkpoints(_checkpoints_of(stage))
    seconds = time.perf_counter() - begun
    say(f"    done in {seconds:.1f} s")
    return seconds


def _handed(reads: Mapping[str, Any], store: RunStore, opened: Callable[[Source], Any]) -> dict[str, Any]:
    """What a stage reads: sources opened, artefacts read, mappings of them likewise."""
    out: dict[str, Any] = {}
    for name, one in reads.items():
        if isinstance(one, Source):
            if one.open is not None:
                out[name] = opened(one)
        else:
            out[name] = read(store, one) if isinstance(one, Artefact) else _handed(one, store, opened)
    return out


def _opened(source: Source, mark: dict[str, Any], shared: Openings, say: Say) -> Any:
    """What a source holds; a lazy one is opened once for all stages."""
    assert source.open is not None
    if source.lazy:
        return shared.value(source, [mark["inputs"][what] for _, what in source.files], say)
    with warnings.catch_warnings():
        if source.noted:
            warnings.simplefilter("ignore", UserWarning)
        return source.open()


def _store_results(stage: Stage, made: Mapping[str, Any], folder: Path) -> None:
    """Write what a stage returned; what it has kept already is there.

    Raises
    ------
    ValueError
        A result that the stage does not declare, or one that is declared and missing.
    """
    if unknown := [n for n in made if n not in stage.writes]:
        raise ValueError(f"stage {stage.name} does not declare the result {', '.join(unknown)}")
    declared = dict(leaves(dict(stage.writes)))
    for path, artefact in declared.items():
        value = _at(made, path)
        if value is not None:
            write(value, artefact, folder)
    missing = [a.file for a in declared.values() if not a.optional and not (folder / a.file).exists()]
    if missing:
        raise ValueError(f"stage {stage.name} did not make {', '.join(missing)}")


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    """The value that keys lead to; None where there is none."""
    for key in path:
        tree = None if tree is None else tree.get(key)
    return tree


def _work(
    stage: Stage,
    config: Judged,
    store: RunStore,
    engine: Engine,
    folder: Path,
    inputs: Digests,
    key: str,
    used: list[str],
    say: Say,
) -> Work:
    """What a stage's function may use; what it takes of `kept/` is added to `used`."""
    declared = dict(leaves(dict(stage.writes)))

    def keep(name: str, value: Any, *keys: str) -> Any:
        artefact = declared[name, *keys]
        write(value, artefact, folder)
        return FORMATS[artefact.kind].read(folder / artefact.file, True)

    def cached(what: str, parts: list[str], make: Callable[[], Any]) -> Any:
        used.append(store.name_of_kept(what, digest(parts)))
        return store.kept(what, digest(parts), make)

    provenance = {
        "configuration_digest": key,
        "inputs": "; ".join(f"{what}: {text}" for what, text in describe_inputs(inputs).items()),
        "versions": "; ".join(f"{n} {v}" for n, v in versions().items()),
    }
    return Work(
        say=say,
        keep=keep,
        cached=cached,
        fit=lambda model, tasks: engine.fit(model, tasks, say),
        checkpoints=lambda name: store.checkpoints(f"{_checkpoints_of(stage)}{name}-{key}"),
        lock=lambda record: record_lock(store, record),
        folder=folder,
        contents={n: store.content(n) for n in stage.needs},
        key=key,
        provenance=provenance,
    )


def _checkpoints_of(stage: Stage) -> str:
    """What the names of the stage's checkpoints begin with."""
    return f"{stage.name.split('/')[-1]}-"
