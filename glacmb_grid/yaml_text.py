"""YAML as configurations hold it: duplicate keys and alias bombs refused, identifiers kept as text."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from glacmb_grid.errors import InputError, listing

_MOST_NODES = 100_000


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


def read_yaml(file: Path) -> dict[str, Any]:
    """The sections of a configuration file.

    Raises
    ------
    InputError
        No such file, broken YAML, or another content.
    """
    try:
        raw = parsed(file.read_text(encoding="utf-8-sig"))
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


def parsed(text: str) -> Any:
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
