"""Commands that look at a configuration and its run, and change no result."""

from __future__ import annotations

from pathlib import Path

from glacmb_grid.cli.speech import notes_after, tell
from glacmb_grid.config import load_config, load_partly

Overrides = list[str] | None


def check(path: Path, overrides: Overrides) -> int:
    """Say what would fail; the exit status."""
    from glacmb_grid.workflow import check as checking

    config, unknown, problems = load_partly(path, overrides)

    def say(line: str) -> None:
        tell(line if line.startswith("note: ") else f"ok: {line}")

    with notes_after():
        checking.check(config, unknown=unknown, problems=problems, say=say)
    return 0


def status(path: Path, overrides: Overrides, *, verify: bool) -> int:
    """Say which stages are current; the exit status."""
    from glacmb_grid.report.amounts import age_in_words, size_in_words
    from glacmb_grid.stores.runs import RunStore
    from glacmb_grid.workflow import currency
    from glacmb_grid.workflow.cleaning import size_and_age
    from glacmb_grid.workflow.presenting import presented

    config = load_config(path, overrides)
    store = RunStore(config.root)
    lines = currency.status(config, whole=verify, say=tell)
    for name, state, why in [*lines, *presented(config, {n: s for n, s, _ in lines})]:
        held = size_and_age(store, name)
        size, age = (size_in_words(held[0]), age_in_words(held[1])) if held else ("", "")
        tell(f"{name:28s} {state:8s} {size:>8s} {age:>12s}  {why}".rstrip())
    return 0


def plan(path: Path, overrides: Overrides) -> int:
    """Say what a run will do; the exit status."""
    from glacmb_grid.workflow.planning import plan_lines, plan_run

    for line in plan_lines(*plan_run(load_config(path, overrides))):
        tell(line)
    return 0


def clean(path: Path, overrides: Overrides, *, remove: bool) -> int:
    """Say what is left over, and remove it if asked to; the exit status."""
    from glacmb_grid.workflow import cleaning

    cleaning.clean(load_config(path, overrides), remove=remove, say=tell)
    return 0


def schema() -> int:
    """Print the JSON schema of configurations; the exit status."""
    import json

    from glacmb_grid.settings.schema import json_schema

    tell(json.dumps(json_schema(), indent=1, ensure_ascii=False))
    return 0
