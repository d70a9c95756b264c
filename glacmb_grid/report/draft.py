"""The text of a configuration that was found out from files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ORDER = (
    "glaciers",
    "climate",
    "elevation",
    "albedo",
    "observations",
    "sampling",
    "predictors",
    "product",
)
"""Sections in the order in which they are written."""
_PATHS = ("path", "files", "invariant", "table", "positions")
_COLUMN, _LONGEST = 34, 118


def draft_text(sections: Mapping[str, Mapping[str, Any]], comments: Mapping[str, str], folder: Path) -> str:
    """A commented configuration as YAML.

    Parameters
    ----------
    sections : mapping
        Values by section and key; paths are absolute.
    comments : mapping
        What is said of a section, or of a key, `section.key`.
    folder : Path
        Of the configuration: paths near it are written relative to it.
    """
    lines = [
        "# Written by `glacmb-grid init`; every other key has a default, see `glacmb-grid schema`.",
        "# `glacmb-grid check FILE` says in seconds what would fail, `glacmb-grid run FILE` makes the product.",
    ]
    for name in (n for n in ORDER if n in sections):
        lines.append("")
        values = sections[name]
        lines.append(_with_comment(f"{name}:", comments.get(name)))
        for key, value in values.items():
            written = _near(value, folder) if key in _PATHS or isinstance(value, Mapping) else value
            comment = comments.get(f"{name}.{key}")
            if isinstance(written, list) and len(written) > 1:
                lines.append(_with_comment(f"  {key}:", comment))
                lines += [f"    - {_plain(one)}" for one in written]
            else:
                lines.append(_with_comment(f"  {key}: {_plain(written)}", comment))
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=1 << 30, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _with_comment(line: str, comment: str | None) -> str:
    """A line with a comment after it, or above it where both are too long for one line."""
    if comment is None:
        return line
    whole = f"{line:{_COLUMN}s}# {comment}" if len(line) < _COLUMN else f"{line}  # {comment}"
    indent = line[: len(line) - len(line.lstrip())]
    return whole if len(whole) <= _LONGEST else f"{indent}# {comment}\n{line}"


def _near(value: Any, folder: Path) -> Any:
    """Paths relative to a folder, where they lie near it."""
    if isinstance(value, Mapping):
        return {k: _near(v, folder) for k, v in value.items()}
    if isinstance(value, list):
        return [_near(v, folder) for v in value]
    if not isinstance(value, str) or "://" in value or not Path(value).is_absolute():
        return value
    relative = os.path.relpath(value, folder)
    return relative if not relative.startswith(f"..{os.sep}..") else value
