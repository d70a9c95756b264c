"""`report` and `figures`: what people see of a run, made of its finished files, and made again once these change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from glacmb_grid.disk import Say
from glacmb_grid.errors import InputError
from glacmb_grid.failures import FILE
from glacmb_grid.report.results import Results, gather
from glacmb_grid.settings import Judged, digest
from glacmb_grid.stores.artefacts import FIGURES, HOLDOUT, PAGE, REPORT
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.stores.seals import sha256
from glacmb_grid.stores.versions import versions
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.guards import report_full_disk

LAYOUT = 1
"""Of the page and the figures: raised where they change, so that older ones are written again."""


def write_report(config: Judged, *, overwrite: bool = False, say: Say = print) -> Path:
    """Write one page about a run, `report/index.html` in its folder; nothing is done where it is current.

    Parameters
    ----------
    config : RunConfig or TableConfig
    overwrite : bool
        Write it even if it is current.
    say : callable
        Takes a line of progress.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If the run has made nothing yet, or something else lies at its place.
    """

    def write(results: Results, folder: Path) -> None:
        from glacmb_grid.report.page.page import page

        (folder / PAGE).write_text(page(results), encoding="utf-8")

    path = config.root / REPORT / PAGE
    made = _write(config, REPORT, write, overwrite, say)
    say(f"{'report' if made else 'report is current'}: {path}")
    return path


def write_figures(config: Judged, *, overwrite: bool = False, say: Say = print) -> list[Path]:
    """Write all figures that a run's files allow as PNG and PDF, into `figures` in its folder.

    Parameters
    ----------
    config : RunConfig or TableConfig
    overwrite : bool
        Write them even if they are current.
    say : callable
        Takes a line of progress.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If the run has made nothing yet, or something else lies at their place.
    """

    def write(results: Results, folder: Path) -> None:
        from glacmb_grid.plot.style import sheet
        from glacmb_grid.report.figures import figures_of

        for one in figures_of(results):
            with sheet(one.height) as ax:
                one.draw(ax)
                assert ax.figure is not None
                for ending, metadata in _ENDINGS.items():
                    ax.figure.savefig(folder / f"{one.name}.{ending}", metadata=metadata)  # type: ignore[union-attr]

    made = _write(config, FIGURES, write, overwrite, say)
    folder = config.root / FIGURES
    mark = RunStore(config.root).mark(FIGURES) or {"files": {}}
    paths = sorted(folder / n for n in mark["files"])
    say(f"{'' if made else 'current: '}{len(paths)} files of figures in {folder}")
    return paths


_ENDINGS: dict[str, dict[str, Any]] = {"png": {}, "pdf": {"CreationDate": None}}


def presented(config: Judged, states: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Name, state (`current`, `stale`) and reason of the report and of the figures, those that were ever made."""
    store = RunStore(config.root)
    key = _key(config, store, states)
    lines = []
    for name in (REPORT, FIGURES):
        mark = store.mark(name)
        if mark is not None:
            why = _reason(store, name, key)
            lines.append((name, "stale" if why else "current", why))
    return lines


def _write(config: Judged, name: str, write: Callable[[Results, Path], None], overwrite: bool, say: Say) -> bool:
    """Write a folder of the run anew unless it is current; whether it was written."""
    store = RunStore(config.root, say)
    states = {n: state for n, state, _ in status(config)}
    if not any(store.mark(n) is not None for n in states):
        raise InputError(
            f"{name}: {config.root}",
            expected="results of a run",
            found="none",
            remedy=f"make them first: `glacmb-grid run` with the configuration of {config.name}",
        )
    key = _key(config, store, states)
    if not overwrite and store.mark(name) is not None and not _reason(store, name, key):
        return False
    with report_full_disk(store), store.locked(), store.writing(name, {"settings": {}, "key": key}) as folder:
        write(gather(config, states), folder)
    return True


def _reason(store: RunStore, name: str, key: str) -> str:
    """Why what was written is not current; empty if it is."""
    mark = store.mark(name)
    if mark is None or mark["key"] != key:
        return "results of the run changed"
    damage = store.damage(name)
    return f"damaged: {damage}" if damage else ""


def _key(config: Judged, store: RunStore, states: Mapping[str, str]) -> str:
    """Digest of all that a page shows."""
    failed = config.root / FILE
    return digest(
        {
            "layout": LAYOUT,
            "versions": versions(),
            "name": config.name,
            "level": config.scores.level,
            "seed": config.seed,
            "settings": config.as_written({n: getattr(config, n, None) for n in ("product", "validation")}),
            "contents": {n: store.content(n) for n in (*states, HOLDOUT)},
            "stale": [n for n, state in states.items() if state == "stale"],
            "failed": sha256(failed) if failed.is_file() else "",
        }
    )
