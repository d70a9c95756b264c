"""What makes a result current: what it was made of, and whether it is still as it was written."""

from __future__ import annotations

from typing import Any

from glacmb_grid.disk import Say
from glacmb_grid.errors import InputError, InputErrors, listing
from glacmb_grid.settings import Judged, RunConfig, digest
from glacmb_grid.stores.artefacts import RAW
from glacmb_grid.stores.identity import Identity
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.stores.versions import versions
from glacmb_grid.workflow.guards import require_apart
from glacmb_grid.workflow.sources import RASTERS
from glacmb_grid.workflow.stages import Stage
from glacmb_grid.workflow.table import table

LAYOUT = 3
"""Of the stored results: raised where what a stage stores changes, so that older results are made again."""

Upstream = dict[str, tuple[str, str]]  # key and content by stage


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
    inputs = {
        what: store.inputs.identities(paths, raster=what in RASTERS, fresh=fresh, whole=whole)
        for what, paths in stage.found()
    }
    made_of = {
        "inputs": {what: [(i.name, i.content) for i in found] for what, found in inputs.items()},
        "needs": {n: key for n, (key, _) in upstream.items()},
        "version": f"{versions().get('glacmb-grid', '')} (layout {LAYOUT})",
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
        before, after = flat(old.get("settings", {})), flat(new["settings"])
        changed = [k for k in dict.fromkeys([*before, *after]) if before.get(k) != after.get(k)]
        reasons += [f"setting {k}: {before.get(k)!r} -> {after.get(k)!r}" for k in changed]
    if names := _changed_inputs(old.get("inputs", {}), new["inputs"]):
        reasons.append(f"input {listing(names, 4)} changed")
    known = old.get("needs", {})
    changed_stages = [n for n in new["needs"] if any(old.get(k, {}).get(n) != new[k][n] for k in ("needs", "read"))]
    if stages := [n for n in changed_stages if n in known]:
        reasons.append(f"stage {listing(stages, 4)} changed")
    if stages := [n for n in new["needs"] if n not in known]:
        reasons.append(f"stage {listing(stages, 4)} is now read too")
    if stages := [n for n in known if n not in new["needs"]]:
        reasons.append(f"stage {listing(stages, 4)} is no longer read")
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


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    if not isinstance(tree, dict) or not tree:
        return {prefix: tree} if prefix else {}
    out: dict[str, Any] = {}
    for key, value in tree.items():
        out |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return out


def reasons_of(stage: str, store: RunStore, new: dict[str, Any], *, whole: bool = False) -> list[str]:
    """Why a stage is not current: something that it was made of changed, or it is damaged. Empty if it is current."""
    if store.has_damaged_mark(stage):
        return ["the record of what it was made of is damaged"]
    old = store.mark(stage)
    if why := differences(old, new):
        return why
    damage = store.damage(stage, whole=whole)
    return [f"damaged: {damage}"] if damage else []


def key_and_content(stage: str, store: RunStore, key: str) -> tuple[str, str]:
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
            will_be_made = (
                isinstance(config, RunConfig) and config.synthetic is not None and store.mark(RAW.stage) is None
            )
            first = error.problems[0] if isinstance(error, InputErrors) else error
            problem = f"{first.where}: {first.found}" if isinstance(first, InputError) else f"{first}"
            reason = "its input is made by the stage raw" if will_be_made else problem
            lines.append((stage.name, "missing" if will_be_made else "blocked", reason))
            known[stage.name] = ("?", "?")
            continue
        known[stage.name] = key_and_content(stage.name, store, new["key"])
        why = reasons_of(stage.name, store, new, whole=whole)
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
