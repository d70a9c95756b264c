"""What of a folder has been fetched or asked for, kept on disk so that an interrupted fetch goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from glacmb_grid.disk import Say, intact, read_json, write_checked
from glacmb_grid.fetching.contract import Item

FOLDER = ".glacmb_fetch"
_FILE = "record.json"


def digest(item: Item) -> str:
    """Digest of what is asked for: another request is another file, whatever its name."""
    asked = [item.url, item.collection, item.request]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


class Record:
    """The files of a folder by name: what was asked, the identifier of the request, and what came."""

    def __init__(self, folder: Path, say: Say) -> None:
        self._path = folder / FOLDER / _FILE
        self._folder = folder
        found = read_json(self._path, intact, say)
        self._files: dict[str, dict[str, Any]] = (found or {}).get("files", {})

    def of(self, item: Item) -> dict[str, Any]:
        """What is known of a file; empty if something else was asked for under its name."""
        known = self._files.get(item.name, {})
        return known if known.get("asked") == digest(item) else {}

    def note(self, item: Item, **facts: Any) -> None:
        """Add facts about a file, and keep them on disk."""
        self._files[item.name] = {**self.of(item), "asked": digest(item), **facts}
        write_checked(self._path, {"files": self._files})

    def forget(self, item: Item) -> None:
        """Drop what is known of a file."""
        self._files.pop(item.name, None)
        write_checked(self._path, {"files": self._files})

    def has(self, item: Item) -> bool:
        """Whether the file is there as it came, or is known to exist nowhere."""
        known = self.of(item)
        if known.get("absent"):
            return True
        path = self._folder / item.name
        return "bytes" in known and path.is_file() and path.stat().st_size == known["bytes"]
