"""Words of the configuration, where tables of the page show them: names, contents of recipes, explanations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from glacmb_grid.settings import Recipe
from glacmb_grid.settings.descriptions import DESCRIPTIONS

NAMES = {"further": "forms"}
"""What a choice is called in the configuration, where results call it otherwise."""
_PLURALS = {"level": "levels", "penalty": "penalties", "recipe": "recipes", "kernel": "kernels", "form": "forms"}
_CLASSES = {"temperature_index": "TemperatureIndex", "hybrid": "Hybrid"}
_HIDDEN = ("predictors", "exclude")  # what a model may take at all, not what a recipe makes of it


def recipe_in_words(recipe: Mapping[str, Any]) -> str:
    """What a recipe makes of the predictors: its keys that are not the default."""
    usual = json.loads(Recipe().model_dump_json())
    shown = ((k, v) for k, v in recipe.items() if k not in _HIDDEN and v != usual.get(k))
    return ", ".join(f"{k} {_plain(v)}" for k, v in shown) or "all predictors"


def in_words(chosen: Mapping[str, Any], recipes: Sequence[Mapping[str, Any]] = ()) -> str:
    """Chosen settings in a line, a recipe with its content."""
    said = []
    for key, value in chosen.items():
        known = key == "recipe" and isinstance(value, int) and value < len(recipes)
        content = f" ({recipe_in_words(recipes[value])})" if known else ""
        said.append(f"{NAMES.get(key, key)} {_plain(value)}{content}")
    return ", ".join(said)


def _plain(value: Any) -> str:
    """A value without brackets and quotes."""
    return (" ".join(map(_plain, value)) or "none") if isinstance(value, list) else str(value)


def explained(search: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Every word of the search spaces, its key in the section of its model, and what that means."""
    for model, space in search.items():
        found = space if isinstance(space, dict) else {}
        section = _CLASSES.get(model, "Learner")
        for word in dict.fromkeys(k for one in found.get("candidates", []) for k in one):
            key, meaning = _meaning((section, "Learner"), NAMES.get(word, word))
            yield NAMES.get(word, word), key, meaning
        for word in dict.fromkeys(k for one in found.get("recipes", []) for k in one if k not in _HIDDEN):
            key, meaning = _meaning(("Recipe",), word)
            yield word, f"recipes: {key}", meaning


def _meaning(classes: Sequence[str], name: str) -> tuple[str, str]:
    """The key of a word, which may be its plural, and what the descriptions of the configuration say of it."""
    keys = (name, _PLURALS.get(name, name))
    found = ((k, DESCRIPTIONS[c][k]) for c in classes for k in keys if k in DESCRIPTIONS[c])
    return next(found, (name, ""))
