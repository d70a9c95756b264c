"""Read a YAML configuration.

Unknown keys are errors that name the nearest valid one; ``${VAR}`` comes from the environment, ``${store.root}`` from
the configuration itself; relative paths are relative to the configuration file.
"""

from __future__ import annotations

import difflib
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pydantic
import yaml
from pydantic import BaseModel

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.settings import Judged, RunConfig, TableConfig

_PATHS = {
    ("glaciers", "path"),
    ("climate", "files"),
    ("climate", "invariant"),
    ("elevation", "files"),
    ("albedo", "files"),
    ("observations", "path"),
    ("observations", "geodetic", "path"),
    ("observations", "links", "table"),
    ("observations", "links", "positions"),
    ("observations", "links", "versions"),
    ("product", "truth"),
    ("samples", "path"),
    ("store", "root"),
}
_INTERNAL = re.compile(r"(function-|list\[|constrained-|literal\[|tuple\[)")  # pydantic's own parts of locations
_MOST_NODES = 100_000
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def load_config(path: str | Path, overrides: list[str] | None = None) -> RunConfig | TableConfig:
    """Read a YAML configuration.

    Parameters
    ----------
    path : str or Path
    overrides : list of str, optional
        ``key.path=value`` with a YAML value, as in ``models.ff_fcnn.members=10``.

    Returns
    -------
    RunConfig or TableConfig
        The latter where `samples:` names a user's own table.

    Raises
    ------
    InputError or InputErrors
        Broken YAML, unknown or missing keys, invalid values, unset environment variables: all in one error.
    """
    file = Path(path).resolve()
    raw = _read_yaml(file)
    problems = Problems()
    for override in overrides or []:
        with problems.collect():
            _apply_override(raw, override)
    raw.setdefault("name", file.stem)
    filling = _Filling(file)
    with problems.collect():
        _set_store_root(raw, filling)
    filling.root = _root_of(raw)
    values = filling.filled(raw, ())
    problems.found += [_unset_variable(file, name, keys) for name, keys in filling.unset.items()]
    config = _validated(values, file, problems)
    problems.raise_if_any()
    assert config is not None
    config.remember_templates(filling.templates)
    return config


class _Loader(yaml.SafeLoader):
    """Refuses duplicate keys, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Read one mapping."""
        seen: set[str] = set()
        for key, _ in node.value:
            text = str(key.value)
            if text in seen and text != "<<":
                raise yaml.constructor.ConstructorError(None, None, f"key {text!r} is given twice", key.start_mark)
            seen.add(text)
        return super().construct_mapping(node, deep)


# Numbers with a leading zero (0507, an identifier) are octal in YAML, and 12:30 is 750: both are text here.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:int"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$"), list("-+0123456789")
)


def _read_yaml(file: Path) -> dict[str, Any]:
    try:
        raw = _parsed(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        beside = [p.name for p in sorted(file.parent.glob("*.y*ml"))] if file.parent.is_dir() else []
        raise InputError(
            f"{file}",
            expected="a configuration file",
            found="no such file",
            remedy=f"correct the path; {file.parent} holds {listing(beside) or 'no YAML file'}",
        ) from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(
            f"{file}",
            expected="a YAML file",
            found=" ".join(str(error).split()),
            remedy=_remedy(str(error)),
        ) from error
    if not isinstance(raw, dict):
        raise InputError(
            f"{file}",
            expected="sections such as `glaciers:` and `climate:`",
            found="nothing" if raw is None else type(raw).__name__,
            remedy="start from configs/oetztal.yaml",
        )
    return raw


def _remedy(error: str) -> str:
    """What to do about broken YAML: a variable inside braces needs quotes."""
    inside = re.search(r"\{[^{}\n]*?([\w.]+): *(\$\{[^}\n]*\}[^,}\n]*)", error)
    if "flow" in error and inside is not None:
        return f'inside braces, quote what holds a variable: {{{inside[1]}: "{inside[2].strip()}"}}'
    return "correct the YAML syntax there"


def _parsed(text: str) -> Any:
    """The content of a YAML text.

    Raises
    ------
    YAMLError or ValueError
        Broken YAML; aliases that contain themselves or expand to more than _MOST_NODES values.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _size(node, {}) > _MOST_NODES:
            raise yaml.YAMLError(f"more than {_MOST_NODES} values once its aliases (*name) are written out")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _size(node: yaml.Node, known: dict[int, float]) -> float:
    """Number of values in a node with its aliases expanded; infinite if it contains itself."""
    if id(node) not in known:
        known[id(node)] = math.inf  # until counted: met again if the node contains itself
        pairs = node.value if isinstance(node, yaml.CollectionNode) else []
        children = [c for pair in pairs for c in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_size(c, known) for c in children)
    return known[id(node)]


def _apply_override(raw: dict[str, Any], override: str) -> None:
    """Set one `key.path=value`."""
    keys, sign, value = override.partition("=")
    if not sign or not keys:
        raise InputError(
            f"--set {override}",
            expected="key.path=value",
            found=override,
            remedy="e.g. --set models.ff_fcnn.members=10",
        )
    *parents, last = keys.split(".")
    here = raw
    for parent in parents:
        if not isinstance(here.get(parent), dict):
            here[parent] = {}
        here = here[parent]
    try:
        here[last] = _parsed(value)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(
            f"--set {override}",
            expected="a YAML value",
            found=" ".join(str(error).split()),
            remedy="quote it, e.g. --set \"product.title='a: b'\"",
        ) from error


def _set_store_root(raw: dict[str, Any], filling: _Filling) -> None:
    """Fill in `store.root`: its default or its variables. Invalid types are left to validation."""
    store = raw.get("store") if raw.get("store") is not None else {}
    if not isinstance(store, dict):
        return
    given = store.get("root")
    if given is None:
        raw["store"] = {**store, "root": str(Path.cwd() / "runs" / str(raw["name"]))}
        return
    if not isinstance(given, str):
        return
    where = f"{filling.file}: store.root"
    if "${store.root}" in given:
        raise InputError(where, expected="a folder", found=f"{given!r}, which names itself", remedy="write it out")
    if not given.strip():
        remedy = "name a folder of its own for the run, or leave `store.root` out for `runs/<name>`"
        raise InputError(where, expected="a folder", found=f"{given!r}", remedy=remedy)
    raw["store"] = {**store, "root": filling.filled(given, ("store", "root"))}


def _root_of(raw: dict[str, Any]) -> str:
    store = raw.get("store")
    return str(store.get("root", "")) if isinstance(store, dict) else ""


@dataclass
class _Filling:
    """Substitutes variables and makes paths absolute.

    Attributes
    ----------
    file : Path
        The configuration.
    root : str
        What `${store.root}` stands for.
    unset : dict
        Missing environment variable -> the keys that use it.
    templates : dict
        Value -> its text in the file, for values with environment variables.
    """

    file: Path
    root: str = ""
    unset: dict[str, list[str]] = field(default_factory=dict)
    templates: dict[str, str] = field(default_factory=dict)

    def filled(self, value: Any, key: tuple[str, ...]) -> Any:
        """A value of the file with everything in it substituted."""
        if isinstance(value, dict):
            return {k: self.filled(v, (*key, str(k))) for k, v in value.items()}
        if isinstance(value, list):
            return [self.filled(v, key) for v in value]
        if not isinstance(value, str):
            return value
        found = _VARIABLE.sub(lambda m: self._variable(m.group(1), key), value)
        if key in _PATHS or (key[:1] == ("predictions",) and len(key) == 2):
            found = os.path.normpath(self.file.parent / Path(found).expanduser())
        if any(name != "store.root" for name in _VARIABLE.findall(value)):
            self.templates[found] = value
        return found

    def _variable(self, name: str, key: tuple[str, ...]) -> str:
        if name == "store.root":
            return self.root
        if not os.environ.get(name):
            self.unset.setdefault(name, []).append(".".join(key))
        return os.environ.get(name, "")


def _unset_variable(file: Path, name: str, keys: list[str]) -> InputError:
    return InputError(
        f"{file}: {', '.join(dict.fromkeys(keys))}",
        expected=f"the environment variable {name}",
        found="not set",
        remedy=f"set it first: export {name}=/path/to/data",
    )


def _validated(values: dict[str, Any], file: Path, problems: Problems) -> RunConfig | TableConfig | None:
    kind: type[RunConfig | TableConfig] = TableConfig if "samples" in values else RunConfig
    try:
        return kind.model_validate(_with_file_lists(values))
    except pydantic.ValidationError as error:
        errors = {one.where: one for one in (_as_input_error(e, file, kind) for e in reversed(error.errors()))}
        problems.found += reversed(errors.values())
        return None


def _with_file_lists(values: dict[str, Any]) -> dict[str, Any]:
    """Turn a single path into a list where a list of files is expected."""
    for section in ("climate", "elevation", "albedo"):
        here = values.get(section)
        if isinstance(here, dict) and isinstance(here.get("files"), str):
            here["files"] = [here["files"]]
    return values


def _as_input_error(error: Any, file: Path, kind: type[Judged]) -> InputError:
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
        remedy = f"add `{': {'.join(keys)}: {one_of[0]}{'}' * (len(keys) - 1)}`" if one_of else f"add `{keys[-1]}:`"
        return InputError(where, expected=expected, found="nothing", remedy=remedy)
    expected = str(error["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    return InputError(where, expected=expected, found=repr(error["input"]), remedy="correct the value")


def _values_of(keys: list[str], kind: type[Judged]) -> list[str]:
    """The values of a key that takes one of a few words; none for other keys."""
    section: Any = kind
    for key in keys:
        found = getattr(section, "model_fields", {}).get(key)
        section = None if found is None else found.annotation
    return [str(v) for v in get_args(section)] if get_origin(section) is Literal else []


def _valid_keys(path: list[str], kind: type[Judged]) -> list[str]:
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
