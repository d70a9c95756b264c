"""The arguments of the public functions that take what the keys of a configuration say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

FUNCTIONS = (
    ("glaciers", "read_outlines", "path layer id=id_column crs merge_pieces"),
    (
        "climate",
        "open_climate",
        "files accumulated invariant variables units names stamp expver negative_precipitation years",
    ),
    ("elevation", "open_elevation", "files=paths units"),
    ("albedo", "open_albedo", "files layer quality"),
    ("albedo", "summer_albedo", "months min_days min_coverage"),
    ("observations", "read_observations", "path units default_uncertainty columns missing periods"),
    ("observations.geodetic", "read_geodetic", "path units columns missing density shortest"),
    ("observations.links", "link", "table positions versions mapping suffix position max_distance_km"),
    ("sampling", "correct_temperature", "lapse_rate"),
    ("sampling", "fitted_lapse_rate", "lapse_rate_cells=cells"),
    ("predictors", "build_predictors", "first_month monthly temperature_spread reference coordinates"),
    (
        "samples",
        "read_samples_table",
        "path glacier year target target_units uncertainty group region latitude longitude name area time_system "
        "elevation orography limits missing folds where predictors exclude allow coordinates default_uncertainty "
        "monthly predictions",
    ),
    ("validation", "make_folds", "schemes=scheme inner blocks parts buffer_km holdout=locked"),
    ("samples", "make_folds", "targets"),
    ("scores", "score", "bootstrap=draws level"),
    ("synthetic", "write_region", "seed glaciers measured years plain"),
)
"""Section, function, and keys; `key=argument` where the argument has another name."""

_READ_BEFORE = {"table": "read_link_table", "positions": "read_link_table", "versions": "read_versions"}  # for `link`
_ARGUMENTS = {
    (section, key): (function, argument or key)
    for section, function, keys in FUNCTIONS
    for key, _, argument in (one.partition("=") for one in keys.split())
}
_SECTIONS = "|".join(dict.fromkeys(section.split(".")[0] for section, _, _ in FUNCTIONS))
_IN_BRACES = re.compile(rf"`({_SECTIONS}): (\{{[^`]*\}})`")
_DOTTED = re.compile(rf"`({_SECTIONS})\.(\w+(?:\.\w+)*)(?:: [^`]*)?`")
_WHOLE = re.compile(rf"({_SECTIONS})(?:: |\.)(\w+(?:\.\w+)*)(?:: .*)?")


def calls(where: str, *texts: str) -> list[str]:
    """The calls in Python that say the same as the keys named in a message: `open_climate(accumulated=...)`.

    Parameters
    ----------
    where : str
        A key alone, `climate: variables`, or anything else.
    *texts : str
        Sentences with keys in backticks, as `climate: {stamp: end}` or `climate.stamp`.
    """
    found: dict[str, dict[str, str]] = {}
    for section, key, value in _keys(where, texts):
        function, argument = _ARGUMENTS.get((section, key), ("", ""))
        if function and found.setdefault(function, {}).get(argument, "...") == "...":
            found[function][argument] = _written(value, _READ_BEFORE.get(key, "") if function == "link" else "")
    return [f"{f}({', '.join(f'{a}={v}' for a, v in given.items())})" for f, given in found.items()]


def _keys(where: str, texts: tuple[str, ...]) -> Iterator[tuple[str, str, Any]]:
    """Section, key and value of every key that is named."""
    alone = _WHOLE.fullmatch(where)
    if alone:
        yield from _of_keys(alone[1], alone[2])
    for text in texts:
        for section, braces in _IN_BRACES.findall(text):
            try:
                tree = yaml.safe_load(braces)
            except yaml.YAMLError:  # a sketch of it, such as {units: ...}, is no YAML where it holds more dots
                continue
            yield from _of_section(section, tree)
        for section, keys in _DOTTED.findall(text):
            yield from _of_keys(section, keys)


def _of_keys(section: str, keys: str) -> Iterator[tuple[str, str, Any]]:
    first, _, more = keys.partition(".")
    yield from _of_section(section, {first: {more: ...} if more else ...})


def _of_section(section: str, tree: Any) -> Iterator[tuple[str, str, Any]]:
    for key, value in tree.items() if isinstance(tree, dict) else ():
        inner = f"{section}.{key}"
        if isinstance(value, dict) and any(inner == s for s, _ in _ARGUMENTS):
            yield from ((inner, str(k), v) for k, v in value.items())
        else:
            yield section, str(key), value


def _written(value: Any, reader: str) -> str:
    """A value as Python writes it; three dots and what was left out stay open."""
    text = "..." if value in (None, "...", ...) else repr(value).replace("'...'", "...").replace("None", "...")
    return f"{reader}({text})" if reader else text
