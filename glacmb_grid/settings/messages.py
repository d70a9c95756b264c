"""What is wrong with a configuration, in words and with the line to write."""

from __future__ import annotations

import datetime
import difflib
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from glacmb_grid.errors import InputError
from glacmb_grid.settings.base import REMEDY

_INTERNAL = re.compile(r"(function-|list\[|dict\[|constrained-|literal\[|tuple\[)")  # pydantic's own parts of locations
_MISSING = {
    "glaciers": "glaciers: {path: outlines.shp}",
    "climate": "climate: {files: 'folder/*.nc', accumulated: daily_mean}",
    "elevation": "elevation: {files: 'folder/*.tif'}",
    "observations": "observations: {path: balances.csv, units: mm w.e.}",
}
"""The least that a section needs."""
_HINTS = {
    "elevation": ", of any model that covers the outlines: each glacier's height, slope and aspect come from it; "
    "`glacmb-grid fetch dem` gets one",
}


def as_input_error(error: Any, file: Path | str, kind: type[BaseModel]) -> InputError:
    """What pydantic found, with the key, what is expected there and what to write."""
    keys = [str(k) for k in error["loc"] if k not in ("[key]", "own") and not _INTERNAL.match(str(k))]
    where = f"{file}: {'.'.join(keys)}"
    if error["type"] == "extra_forbidden":
        valid = _valid_keys(keys[:-1], kind)
        near = difflib.get_close_matches(keys[-1], valid, 1, 0.5)
        return InputError(
            where,
            expected=f"one of {', '.join(valid)}",
            found=f"unknown key {keys[-1]!r}",
            remedy=f"did you mean {near[0]!r}?" if near else "remove it or choose one of the valid keys",
        )
    if error["type"] == "missing":
        one_of = _values_of(keys, kind)
        expected = f"this key, one of {', '.join(one_of)}" if one_of else "this key"
        written = _line(keys, one_of[0]) if one_of else _MISSING.get(keys[-1], f"{keys[-1]}:")
        remedy = f"add `{written}`{_HINTS.get('.'.join(keys), '')}"
        return InputError(where, expected=expected, found="nothing", remedy=remedy)
    expected = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    expected, _, remedy = expected.partition(REMEDY)
    if error["type"] == "model_type":
        valid = _valid_keys(keys, kind)
        expected, remedy = f"keys of its own: {', '.join(valid)}", f"give it as `{keys[-1]}: {{{valid[0]}: ...}}`"
        if keys == ["models"]:
            remedy = f"choose models by `{_line(['validation', 'models'], '[ridge]')}`; here are their settings"
    if error["type"] == "list_type" and isinstance(value := error["input"], (str, int, float)):
        expected, remedy = "a list", f"write `{_line(keys, f'[{value}]')}`"
    if error["type"] == "string_type" and isinstance(value := error["input"], (bool, int, float, datetime.date)):
        read = f"{value}".lower() if isinstance(value, bool) else f"{value}"
        remedy = f"write it in quotes, else YAML does not read it as text: '{read}'"
        remedy += " (or as it stands there: yes, no, on, off)" if isinstance(value, bool) else ""
    return InputError(where, expected=expected, found=repr(error["input"]), remedy=remedy or "correct the value")


def _line(keys: list[str], value: str) -> str:
    """A value as it stands in a configuration: `climate: {accumulated: daily_mean}`."""
    return f"{': {'.join(keys)}: {value}{'}' * (len(keys) - 1)}"


def _values_of(keys: list[str], kind: type[BaseModel]) -> list[str]:
    """The values of a key that takes one of a few words; none for other keys."""
    section: Any = kind
    for key in keys:
        found = getattr(section, "model_fields", {}).get(key)
        section = None if found is None else found.annotation
    return [str(v) for v in get_args(section)] if get_origin(section) is Literal else []


def _valid_keys(path: list[str], kind: type[BaseModel]) -> list[str]:
    """Valid keys of the section at this path."""
    model: type[BaseModel] = kind
    for key in path:
        known = model.model_fields.get(key) or model.model_fields.get("own")  # own models
        if known is None:  # a name chosen by the user
            continue
        annotation = known.annotation
        choices = [annotation, *get_args(annotation)] if get_origin(annotation) is not None else [annotation]
        choices += list(get_args(annotation))
        models = [c for c in choices if isinstance(c, type) and issubclass(c, BaseModel)]
        if not models:
            return []
        model = models[0]
    return [n for n in model.model_fields if n != "own"]
