"""Read a YAML configuration.

Unknown keys are errors that name the nearest valid one; ``${VAR}`` comes from the environment, ``${store.root}`` from
the configuration itself; relative paths are relative to the configuration file.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pydantic
import yaml

from glacmb_grid.disk import is_url
from glacmb_grid.errors import InputError, Problems
from glacmb_grid.settings import RunConfig, TableConfig
from glacmb_grid.settings.messages import as_input_error
from glacmb_grid.yaml_text import parsed, read_yaml

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
    ("product", "regions", "path"),
    ("product", "regions", "compare"),
    ("samples", "path"),
    ("samples", "targets"),
    ("models", "ff_fcnn", "transfer", "path"),
    ("store", "root"),
}
FILL_IN = "FILL_IN"
"""What `init` writes where it found nothing out."""
_STREAM = ("climate", "accumulated")
_VARIABLE = re.compile(r"\$\{([^}]*)\}")


def load_config(path: str | Path, overrides: list[str] | None = None) -> RunConfig | TableConfig:
    r"""Read a YAML configuration.

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

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "own.yaml"
    >>> table = "{path: balances.csv, glacier: id, year: year, target: balance, target_units: mm w.e.}"
    >>> _ = path.write_text(f"samples: {table}\nvalidation: {{schemes: [logo]}}\n")
    >>> config = gg.load_config(path, ["models.ridge.penalties=[1, 10]"])
    >>> config.name, config.validation.schemes, config.models.ridge.penalties
    ('own', ['logo'], [1.0, 10.0])
    """
    filled = _filled(path, overrides)
    config, broken = _validated(filled.values, filled.file)
    filled.problems.found += broken.values()
    filled.problems.raise_if_any()
    assert config is not None
    config.remember(filled.file, filled.templates)
    return config


class Partial(NamedTuple):
    """A configuration as far as it is sound.

    Attributes
    ----------
    config : RunConfig or TableConfig
    unknown : frozenset of str
        Sections that are missing or wrong, in whose place something else stands; `climate.accumulated` where nothing
        else is wrong with the climate.
    problems : Problems
        What is wrong with them.
    """

    config: RunConfig | TableConfig
    unknown: frozenset[str]
    problems: Problems


_STAND_INS: dict[str, dict[str, Any]] = {
    "glaciers": {"path": "-"},
    "climate": {"files": ["-"], "accumulated": "daily_mean"},
    "elevation": {"files": ["-"]},
    "observations": {"path": "-"},
}


def load_partly(path: str | Path, overrides: list[str] | None = None) -> Partial:
    """Read a YAML configuration so that its sound sections can be checked whatever is wrong with the others.

    Parameters
    ----------
    path, overrides
        As for `load_config`.

    Raises
    ------
    InputError or InputErrors
        As for `load_config`, where nothing is left to be checked.
    """
    filled = _filled(path, overrides)
    values, problems = filled.values, filled.problems
    _, broken = _validated(values, filled.file)
    problems.found += broken.values()
    unknown = {key.split(".")[0] for keys in filled.unset.values() for key in keys}
    if [keys for keys in broken if keys[:1] == _STREAM[:1]] == [_STREAM] and "climate" not in unknown:
        values = {**values, "climate": {**values["climate"], "accumulated": "daily_mean"}}
        unknown.add(".".join(_STREAM))
        broken.pop(_STREAM)
    sections = {keys[0] for keys in broken if keys}
    config = None
    while config is None:
        unknown |= sections
        config, broken = _validated(_with_stand_ins(values, unknown, filled.file), filled.file)
        sections = {keys[0] for keys in broken if keys} - unknown  # those that name what another one had to give
        if config is None and (not sections or "samples" in unknown):
            problems.raise_if_any()
    config.remember(filled.file, filled.templates)
    return Partial(config, frozenset(unknown), problems)


def _with_stand_ins(values: dict[str, Any], unknown: set[str], file: Path) -> dict[str, Any]:
    """Sections of a configuration, with others in the place of those that are unknown and must be there."""
    others = _STAND_INS | {"name": "run", "store": {"root": Path.cwd() / "runs" / file.stem}}
    needed = {n: v for n, v in others.items() if n in unknown and ("samples" not in values or n not in _STAND_INS)}
    return {n: v for n, v in values.items() if n not in unknown} | needed


class _Filled(NamedTuple):
    """Sections of a configuration file with everything substituted, and the problems met."""

    file: Path
    values: dict[str, Any]
    templates: dict[str, str]
    unset: dict[str, list[str]]
    problems: Problems


def _filled(path: str | Path, overrides: list[str] | None) -> _Filled:
    file = Path(path).resolve()
    raw = read_yaml(file)
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
    return _Filled(file, _with_file_lists(values), filling.templates, filling.unset, problems)


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
        here[last] = parsed(value)
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
        Missing environment variable -> the keys that use it; also `FILL_IN`, which stands for what `init` left open.
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
        if value == FILL_IN:
            self.unset.setdefault(FILL_IN, []).append(".".join(key))
        found = _VARIABLE.sub(lambda m: self._variable(m.group(1), key), value)
        is_path = key in _PATHS or (key[:1] == ("predictions",) and len(key) == 2)
        if is_path and not is_url(found):
            found = _plain(self.file.parent / Path(found).expanduser())
        if any(name != "store.root" for name in _VARIABLE.findall(value)):
            self.templates[found] = value
        return found

    def _variable(self, name: str, key: tuple[str, ...]) -> str:
        if name == "store.root":
            return self.root
        if not os.environ.get(name):
            self.unset.setdefault(name, []).append(".".join(key))
        return os.environ.get(name, "")


def _plain(path: Path) -> str:
    """A path without `..`, unless one follows a link: there it leads elsewhere than the text says."""
    plain = os.path.normpath(path)
    return plain if os.path.realpath(plain) == os.path.realpath(path) else str(path)


def _unset_variable(file: Path, name: str, keys: list[str]) -> InputError:
    if name == FILL_IN:
        return InputError(
            f"{file}: {', '.join(dict.fromkeys(keys))}",
            expected="what `glacmb-grid init` could not find out",
            found=FILL_IN,
            remedy="write it there; what is wanted stands in the comment of the section",
        )
    return InputError(
        f"{file}: {', '.join(dict.fromkeys(keys))}",
        expected=f"the environment variable {name}",
        found="not set",
        remedy=f"set it first: export {name}=/path/to/data",
    )


def _validated(
    values: dict[str, Any], file: Path
) -> tuple[RunConfig | TableConfig | None, dict[tuple[str, ...], InputError]]:
    """The configuration if it is valid, else what is wrong by its keys."""
    kind: type[RunConfig | TableConfig] = TableConfig if "samples" in values else RunConfig
    try:
        return kind.model_validate(values), {}
    except pydantic.ValidationError as error:
        found = [(tuple(map(str, e["loc"])), as_input_error(e, file, kind)) for e in reversed(error.errors())]
        once = {one.where: (keys, one) for keys, one in found}
        return None, dict(reversed(once.values()))


def _with_file_lists(values: dict[str, Any]) -> dict[str, Any]:
    """Turn a single path into a list where a list of files is expected."""
    for section in ("climate", "elevation", "albedo"):
        here = values.get(section)
        if isinstance(here, dict) and isinstance(here.get("files"), str):
            here["files"] = [here["files"]]
    return values
