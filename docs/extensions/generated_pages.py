"""Pages that are made of the package itself: every key of a configuration, and every public name."""

from __future__ import annotations

import inspect
import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import glacmb_grid as gg
from glacmb_grid.settings import External, Given, Judged, Recipe, RunConfig, TableConfig

_SECTION = "keys of its own"
FOLDER = Path(__file__).parents[1] / "generated"


# ---- keys of a configuration ----


def keys_page() -> str:
    """The page of all keys, section by section."""
    lines = [
        "# Every key of a configuration",
        "",
        "Made of the settings themselves, so that it cannot be out of date. A configuration is a YAML file; a key that",
        "is not written has its default, and an unknown key is an error. `--set key.path=value` overrides one on",
        "the command line. In paths `${NAME}` stands for a variable of the environment and `${store.root}` for the",
        "folder of the run.",
        "",
        "`run` takes a configuration with `glaciers:`, `climate:`, `elevation:` and `observations:`; one with",
        "`samples:` is [a table of your own](../inputs/own_table.md).",
        "[configs/hma.yaml](../../configs/hma.yaml) is a complete, commented template.",
        "",
    ]
    shared: dict[str, type[BaseModel]] = {}
    for name, field in _in_order():
        lines += _section(name, field, shared)
    lines += _own_models()
    for title, kind in shared.items():
        lines += [f"## {title}", "", *_table(kind, title)]
    return "\n".join(lines) + "\n"


def _in_order() -> list[tuple[str, FieldInfo]]:
    """Keys at the top: names first, then inputs, then what all configurations have."""
    every = {**RunConfig.model_fields, **TableConfig.model_fields}
    last = [n for n in Judged.model_fields if n not in ("name", "seed")]
    return sorted(every.items(), key=lambda one: (one[0] not in ("name", "seed"), one[0] in last))


def _section(name: str, field: FieldInfo, shared: dict[str, type[BaseModel]]) -> list[str]:
    inner = _models_in(field.annotation)
    if not inner:
        default = "default the name of the file" if name == "name" else _default_of(field)
        return [
            f"## `{name}`",
            "",
            *([_said(field), ""] if field.description else []),
            f"{_type_of(field)}; {default}.",
            "",
        ]
    kind = inner[0]
    out = [f"## `{name}`", "", *([_said(field), ""] if field.description else []), *_prose(kind), *_table(kind, name)]
    for key, sub in kind.model_fields.items():
        for below in _models_in(sub.annotation):
            if below is Recipe:
                shared["A recipe"] = Recipe
            elif below is not External:
                out += [f"### `{name}.{key}`", "", *_prose(below), *_table(below, f"{name}.{key}")]
                if Recipe in [m for f in below.model_fields.values() for m in _models_in(f.annotation)]:
                    shared["A recipe"] = Recipe
    return out


def _own_models() -> list[str]:
    lines = ["## `models.<a name of your own>`", "", *_prose(External), *_table(External, "models.<name>")]
    return [*lines, "## `predictions.<a name of your own>`", "", *_prose(Given), *_table(Given, "predictions.<name>")]


def _prose(kind: type[BaseModel]) -> list[str]:
    return [inspect.getdoc(kind) or "", ""]


def _table(kind: type[BaseModel], prefix: str) -> list[str]:
    shown = {n: f for n, f in kind.model_fields.items() if n != "own"}
    if all(_type_of(f) == _SECTION for f in shown.values()):
        return []
    heads = ["key", "what it may be", "default", "meaning"]
    rows = [[f"`{n}`", _type_of(f), _default_of(f, short=True), _said(f)] for n, f in shown.items()]
    if not any(row[-1] for row in rows):
        heads, rows = heads[:-1], [row[:-1] for row in rows]
    lines = [
        [c.replace("|", "\\|").replace("\n", " ") for c in cells] for cells in (heads, ["---"] * len(heads), *rows)
    ]
    return [*("| " + " | ".join(cells) + " |" for cells in lines), ""]


def _said(field: FieldInfo) -> str:
    return field.description or ""


def _default_of(field: FieldInfo, *, short: bool = False) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required" if short else "it must be given"
    if isinstance(value, BaseModel):
        return "its own keys' defaults"
    text = {None: "none", True: "true", False: "false", "": "empty"}.get(value) if _plain(value) else None
    text = text or (f"`{_yaml(value)}`" if value not in ({}, [], ()) else "empty")
    return text if short else f"default {text}"


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, str))


def _yaml(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "{" + ", ".join(f"{k}: {_yaml(v)}" for k, v in value.model_dump(exclude_defaults=True).items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_yaml, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_yaml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _type_of(field: FieldInfo) -> str:
    limits = [_limit(m) for m in field.metadata]
    return ", ".join([_words(field.annotation), *filter(None, limits)])


def _limit(constraint: Any) -> str:
    said = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    parts = [f"{word} {_yaml(getattr(constraint, n))}" for n, word in said.items() if hasattr(constraint, n)]
    return ", ".join(parts)


def _words(kind: Any) -> str:
    """A type in words that say what to write."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is type(None):
        return "nothing"
    if origin is Annotated:
        limits = [_limit(m) for m in inner[1:]]
        if isinstance(inner[1], FieldInfo):
            limits += [_limit(m) for m in inner[1].metadata]
        return ", ".join([_words(inner[0]), *dict.fromkeys(filter(None, limits))])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(i) for i in inner if i is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{_yaml(v)}`" for v in inner)
    if origin in (list, set, frozenset):
        return f"list of {_several(inner[0])}"
    if origin is tuple:
        return f"list of {_several(inner[0])}" if inner[-1] is ... else f"{len(inner)} values, each {_words(inner[0])}"
    if origin is dict:
        return f"mapping of {_words(inner[0])} to {_words(inner[1])}"
    names = {str: "text", int: "whole number", float: "number", bool: "`true`, `false`", Path: "path", Any: "anything"}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _SECTION if kind is not Recipe else "recipe"
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _several(kind: Any) -> str:
    """The plural of a type's words; of a few words to choose from, themselves."""
    words = _words(kind)
    first, comma, rest = words.partition(",")
    return words if "`" in words or "list of" in words else f"{first}s{comma}{rest}"


def _models_in(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [m for i in get_args(kind) if not isinstance(i, str) for m in _models_in(i)]


# ---- public names ----

_ROOMS = {
    "inputs": "Reading inputs",
    "sampling": "Sampling",
    "predictors": "Predictors",
    "samples": "Samples",
    "folds": "Folds",
    "learning": "Models",
    "validation": "Scores",
    "uncertainty": "Uncertainty",
    "upscaling": "Every glacier and year",
    "products": "Products",
    "stores": "Writing",
    "report": "Figures and reports",
    "config": "Whole runs",
    "workflow": "Whole runs",
    "synthetic": "A region with known truth",
    "errors": "Errors",
}


def names_page() -> str:
    """The page of all public names, by what they are for, described by their docstrings."""
    groups: dict[str, list[str]] = {title: [] for title in _ROOMS.values()}
    for name in gg.__all__:
        if name != "__version__" and not inspect.ismodule(getattr(gg, name)):
            room = getattr(gg, name).__module__.split(".")[1]
            groups.setdefault(_ROOMS.get(room, room), []).append(name)
    lines = [
        "# Every public name",
        "",
        "`import glacmb_grid as gg`. Functions are pure, Dataset in and Dataset out; dimensions and units stand in the",
        "types. The tests run all examples.",
        "",
    ]
    for title, names in groups.items():
        if names:
            lines += [f"## {title}", "", "```{eval-rst}", ".. currentmodule:: glacmb_grid", ""]
            lines += [line for n in names for line in _directive(n)] + ["```", ""]
    lines += ["## Figures", "", "`gg.plot`: each draws into the Axes that it is given, or makes its own.", ""]
    lines += ["```{eval-rst}", ".. currentmodule:: glacmb_grid.plot", ""]
    lines += [line for n in gg.plot.__all__ for line in (f".. autofunction:: {n}", "")] + ["```", ""]
    return "\n".join(lines)


def _directive(name: str) -> list[str]:
    if not isinstance(getattr(gg, name), type):
        return [f".. autofunction:: {name}", ""]
    return [f".. autoclass:: {name}", "   :members:", "   :exclude-members: __init__", ""]


def write(app: Any) -> None:
    """Write the pages that differ from those that are there."""
    del app
    FOLDER.mkdir(exist_ok=True)
    for name, text in (("configuration.md", keys_page()), ("names.md", names_page())):
        path = FOLDER / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before Sphinx looks for its sources."""
    app.connect("config-inited", lambda app, config: write(app))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
