"""The JSON schema of configurations, for editors and other programs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, BeforeValidator
from pydantic.json_schema import models_json_schema

import glacmb_grid.settings.base as base
from glacmb_grid.settings.descriptions import description_of
from glacmb_grid.settings.inputs import Albedo, Climate, Elevation
from glacmb_grid.settings.models import Models
from glacmb_grid.settings.product import Product
from glacmb_grid.settings.run import RunConfig, TableConfig

Schema = dict[str, Any]

_ONE_OR_SEVERAL = ("several", "_several_widths")
"""Names of validators that take one value where a list of alternatives is expected."""


def json_schema() -> Schema:
    """The JSON schema (2020-12) of a configuration, with a description of every key.

    Returns
    -------
    dict
        A configuration with `samples` is one of a user's own table, any other one of a whole run.
    """
    kinds: list[tuple[type[BaseModel], Any]] = [(RunConfig, "validation"), (TableConfig, "validation")]
    _, made = models_json_schema(kinds)
    definitions: dict[str, Schema] = made["$defs"]
    classes = {c.__name__: c for c in _sections(base.Section)}
    for name, one in definitions.items():
        if name in classes:
            _describe(one, classes[name])
    for section in (Climate, Elevation, Albedo):
        definitions[section.__name__]["properties"]["files"] = _or(
            definitions[section.__name__]["properties"]["files"], {"type": "string"}
        )
    for kind in (RunConfig, TableConfig):  # the file's name stands in for a name that is left out
        one = definitions[kind.__name__]
        one["required"] = [n for n in one["required"] if n != "name"]
    _switched(definitions[RunConfig.__name__], "product")
    for key in ("regions", "grids"):
        _switched(definitions[Product.__name__], key)
    own = definitions[Models.__name__]
    own["properties"].pop("own")
    own["additionalProperties"] = {"$ref": "#/$defs/External"}
    plain: Schema = _without_titles(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of glacmb_grid",
        "if": {"required": ["samples"]},
        "then": {"$ref": f"#/$defs/{TableConfig.__name__}"},
        "else": {"$ref": f"#/$defs/{RunConfig.__name__}"},
        "$defs": dict(sorted(plain.items())),
    }


def _sections(kind: type[BaseModel]) -> list[type[BaseModel]]:
    return [kind, *(c for child in kind.__subclasses__() for c in _sections(child))]


def _describe(schema: Schema, section: type[BaseModel]) -> None:
    """Give every key of a section its description, and take one value where alternatives are listed."""
    made_of = [c.__name__ for c in section.__mro__ if issubclass(c, BaseModel)]
    for key, field in section.model_fields.items():
        one = schema["properties"][key]
        several = [m for m in field.metadata if isinstance(m, BeforeValidator)]
        if any(getattr(m.func, "__name__", "") in _ONE_OR_SEVERAL for m in several) and "items" in one:
            one = _or(one, one["items"])
        one["description"] = description_of(made_of, key)
        schema["properties"][key] = one


def _or(schema: Schema, other: Schema) -> Schema:
    """Either of two schemas; default and description stay outside."""
    outside: Schema = {k: schema[k] for k in ("default", "description") if k in schema}
    inside = {k: v for k, v in schema.items() if k not in outside}
    return {"anyOf": [inside, other], **outside}


def _switched(schema: Schema, key: str) -> None:
    """A section that `false` switches off, and `true` on."""
    schema["properties"][key]["anyOf"].append({"type": "boolean"})


def _without_titles(value: Any, *, names: bool = False) -> Any:
    """Without the titles that pydantic makes of the names of keys; `names`: the keys here are those of sections."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if names or k != "title" or not isinstance(v, str)}
        return {k: _without_titles(v, names=k in ("properties", "$defs") and not names) for k, v in kept.items()}
    return [_without_titles(v) for v in value] if isinstance(value, list) else value
