"""What a run refuses before it begins, and how it reports what goes wrong while it works."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from glacmb_grid.disk import INTERNAL, Say, no_room
from glacmb_grid.errors import InputError, InputErrors, Problems, listing
from glacmb_grid.inputs.files import find_files
from glacmb_grid.settings import Judged, RunConfig
from glacmb_grid.stores.artefacts import FIGURES, HOLDOUT, RAW, REPORT
from glacmb_grid.stores.runs import CACHE, RunStore
from glacmb_grid.workflow.stages import Stage
from glacmb_grid.workflow.table import table

OTHERS = (CACHE, HOLDOUT, REPORT, FIGURES, INTERNAL)  # what a run writes in its folder beside the stages


def require_apart(config: Judged, store: RunStore) -> None:
    """Refuse a run folder with files that a run did not write, and inputs in folders that a run replaces.

    Raises
    ------
    InputError or InputErrors
    """
    every = {s.name: s for s in table(config)}
    store.require_own([*every, f"{CACHE}/any", *([HOLDOUT] if config.validation.holdout is not None else [])])
    made_here = isinstance(config, RunConfig) and config.synthetic is not None
    ours = [n.split("/")[0] for n in (*every, *OTHERS) if not (made_here and n == RAW.stage)]
    folders = {store.root.resolve() / n for n in ours}
    problems = Problems()
    inputs = {(what, str(paths)): paths for stage in every.values() for paths, what in stage.files}
    for (what, _), paths in inputs.items():
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


def require_still(stage: Stage, store: RunStore) -> None:
    """Refuse results if inputs changed while the stage read them."""
    changed = store.inputs.changed_since(p for _, paths in stage.found() for p in paths)
    if changed:
        raise InputError(
            f"{changed[0]}",
            expected="inputs that stay as they are while a stage reads them",
            found=f"{listing(changed, 3)} changed since the stage {stage.name} began",
            remedy="wait until nothing writes there any more, and run again",
        )


@contextmanager
def report_full_disk(store: RunStore) -> Iterator[None]:
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
def report_cause(stage: Stage, store: RunStore) -> Iterator[None]:
    """Report the cause of a library's error: a full disk or memory, or a damaged result of an earlier stage.

    Raises
    ------
    InputError
    """
    try:
        with report_full_disk(store):
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
def relay_warnings(say: Say, notes: list[str]) -> Iterator[None]:
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
