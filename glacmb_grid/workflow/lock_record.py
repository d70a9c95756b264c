"""The record of which glaciers were locked away from the fits of a run's folder, in each of its states."""

from __future__ import annotations

from typing import Any

from glacmb_grid.disk import read_json, write_json
from glacmb_grid.errors import InputError
from glacmb_grid.stores.artefacts import LOCK_RECORD, LOCKED
from glacmb_grid.stores.runs import RunStore

OPEN: dict[str, Any] = {"glaciers": [], "rows_sha256": ""}


def remember_lock(store: RunStore, record: dict[str, Any]) -> list[dict[str, Any]]:
    """Add a state of the lock to this run folder's record; all its states, oldest first. OPEN: nothing was locked.

    Raises
    ------
    InputError
        If the record is missing although glaciers were locked, or is not valid.
    """
    path = store.root / LOCK_RECORD
    known: list[dict[str, Any]] | None = read_json(path, _is_record)
    folds = store.folder(LOCKED.stage)
    if known is None and (path.exists() or path.is_symlink() or (folds / LOCKED.file).exists()):
        raise InputError(
            f"{path}",
            expected="the record of what was locked in this folder, a JSON list",
            found="something else" if path.exists() else "nothing",
            remedy="restore it: without it glaciers that were open before would pass for locked from the start",
        )
    if known is None:
        fitted = (folds, store.folder("learning"), store.folder("evaluation"))
        known = [OPEN] if any(f.exists() for f in fitted) else []  # models were fitted before, with nothing locked
    if [r["rows_sha256"] for r in known[-1:]] != [record["rows_sha256"]]:
        known.append(record)
        write_json(path, known)
    return known


def _is_record(content: Any) -> bool:
    texts = all(isinstance(g, str) for r in content for g in [r["rows_sha256"], *r["glaciers"]])
    return isinstance(content, list) and len(content) > 0 and texts


def record_lock(store: RunStore, record: dict[str, Any] | None) -> None:
    """Record which rows are locked from now on; None: none are."""
    if record is not None:
        remember_lock(store, record)
    elif (store.root / LOCK_RECORD).exists():
        remember_lock(store, OPEN)
