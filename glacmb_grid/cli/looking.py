"""Commands that look at a configuration and its run, and change nothing."""

from __future__ import annotations

from pathlib import Path

from glacmb_grid.cli.speech import notes_after, tell
from glacmb_grid.config import load_config, load_partly

Overrides = list[str] | None


def check(path: Path, overrides: Overrides) -> int:
    """Say what would fail; the exit status."""
    from glacmb_grid.workflow import check as checking

    config, unknown, problems = load_partly(path, overrides)
    with notes_after():
        for line in checking.check(config, unknown=unknown, problems=problems):
            tell(line if line.startswith("note: ") else f"ok: {line}")
    return 0


def status(path: Path, overrides: Overrides, *, verify: bool) -> int:
    """Say which stages are current; the exit status."""
    from glacmb_grid.workflow import currency

    lines = currency.status(load_config(path, overrides), whole=verify, say=tell)
    for name, state, why in lines:
        tell(f"{name:28s} {state:8s} {why}".rstrip())
    return 0
