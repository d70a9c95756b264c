"""The JSON schema of configurations: it is whole, current, takes what the package takes and refuses what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from glacmb_grid.settings import schema as making
from glacmb_grid.settings.base import Section
from glacmb_grid.settings.descriptions import DESCRIPTIONS, description_of
from glacmb_grid.settings.schema import json_schema

CONFIGS = Path(__file__).parents[1] / "configs"
MODELINE = "# yaml-language-server: $schema=schema.json"


@pytest.fixture(scope="module")
def validator():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_committed_schema_is_the_current_one():
    kept = json.loads((CONFIGS / "schema.json").read_text(encoding="utf-8"))
    assert kept == json_schema(), "glacmb-grid schema > configs/schema.json"


def test_every_key_of_every_section_has_a_description():
    keys = 0
    for name, one in json_schema()["$defs"].items():
        for key, value in one.get("properties", {}).items():
            keys += 1
            assert value.get("description"), f"{name}.{key}"
            assert value["description"].endswith("."), f"{name}.{key}"
    assert keys > 200


def test_nothing_is_described_that_is_no_key():
    sections = {c.__name__: c for c in making._sections(Section)}  # noqa: SLF001
    for name, keys in DESCRIPTIONS.items():
        known = {k for c in sections.values() if issubclass(c, sections[name]) for k in c.model_fields}
        assert set(keys) <= known, name
    with pytest.raises(KeyError, match=r"Glaciers\.colour"):
        description_of(["Glaciers", "Section"], "colour")


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_our_configurations_pass_and_name_the_schema_for_editors(path, validator):
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[0] == MODELINE
    assert [e.message for e in validator.iter_errors(yaml.safe_load(text))] == []


@pytest.mark.parametrize(
    "change",
    [
        {"elevatoin": {}},
        {"glaciers": {}},
        {"climate": {"files": "a.nc", "accumulated": "yearly"}},
        {"validation": {"inner": 1}},
        {"models": {"ridge": {"penalties": "much"}}},
        {"models": {"mine": {"settings": {}}}},
    ],
)
def test_what_the_package_refuses_is_refused(change, validator):
    sound = yaml.safe_load((CONFIGS / "demo.yaml").read_text(encoding="utf-8"))
    assert list(validator.iter_errors(sound)) == []
    assert list(validator.iter_errors({**sound, **change}))


@pytest.mark.parametrize(
    "change",
    [
        {"product": False},
        {"product": {"regions": False, "grids": True}},
        {"models": {"ridge": {"penalties": 3}, "ff_fcnn": {"widths": [8, 4]}}},
        {"models": {"mine": {"external": "xgboost:XGBRegressor", "settings": {"max_depth": [2, 4]}}}},
        {"climate": {"files": ["a.nc", "b.nc"], "accumulated": "daily_mean"}},
    ],
)
def test_what_the_package_takes_is_taken(change, validator):
    sound = yaml.safe_load((CONFIGS / "demo.yaml").read_text(encoding="utf-8"))
    assert [e.message for e in validator.iter_errors({**sound, **change})] == []
