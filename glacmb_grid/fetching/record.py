"""What of a folder has been fetched or asked for, kept on disk so that an interrupted fetch goes on."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

from glacmb_grid.fetching.contract import Item

FOLDER = ".glacmb_fetch"
PARTS = "parts"
_FILE = "record.jsonl"


def digest(item: Item) -> str:
    """Digest of what is asked for: another request is another file, whatever its name."""
    asked = [item.url, item.collection, item.request]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


class Record:
    """The files of a folder by name: what was asked, the identifier of the request, and what came.

    Every fact is a line at the end of one file; a line that was cut off, or damaged, is passed over. Threads may
    note facts side by side.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FOLDER / _FILE
        self._folder = folder
        self._files: dict[str, dict[str, Any]] = {}
        self._noting = threading.Lock()
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines() if self._path.is_file() else []
        for line in lines:
            try:
                fact = json.loads(line)
                self._take(fact["name"], fact["asked"], fact["facts"])
            except (ValueError, KeyError, TypeError):
                continue

    def _take(self, name: str, asked: str, facts: dict[str, Any] | None) -> None:
        known = self._files.get(name, {})
        before = known if known.get("asked") == asked else {}
        self._files[name] = {} if facts is None else {**before, "asked": asked, **facts}

    def of(self, item: Item) -> dict[str, Any]:
        """What is known of a file; empty if something else was asked for under its name."""
        known = self._files.get(item.name, {})
        return known if known.get("asked") == digest(item) else {}

    def note(self, item: Item, **facts: Any) -> None:
        """Add facts about a file, and keep them on disk."""
        self._add(item, facts)

    def forget(self, item: Item) -> None:
        """Drop what is known of a file."""
        self._add(item, None)

    def _add(self, item: Item, facts: dict[str, Any] | None) -> None:
        line = json.dumps({"name": item.name, "asked": digest(item), "facts": facts})
        with self._noting, self._path.open("a", encoding="utf-8") as file:
            self._take(item.name, digest(item), facts)
            file.write(f"\n{line}\n")  # after a line that was cut off
            file.flush()
            os.fsync(file.fileno())

    def has(self, item: Item) -> bool:
        """Whether the file is there as it came."""
        known, path = self.of(item), self._folder / item.name
        return "bytes" in known and path.is_file() and path.stat().st_size == known["bytes"]
