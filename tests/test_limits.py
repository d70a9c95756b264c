"""Every number in a configuration has a lowest and a highest value."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.settings import RunConfig, Section, TableConfig

WITH_REASONS = {
    "Geodetic.missing": "codes for missing values, which may be any number",
    "Observations.missing": "codes for missing values, which may be any number",
    "SampleTable.missing": "codes for missing values, which may be any number",
    "Sampling.lapse_rate": "a validator of its own, since one message tells one rate, twelve and a word",
    "Validation.holdout": "a validator of its own: a share between 0 and 1, or names",
}
"""Numbers without bounds in their type."""
_BOUNDS = (("ge", "gt"), ("le", "lt"))


def sections(model: type[BaseModel], known: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    """A section and all that are in it."""
    if model in known:
        return
    known.add(model)
    yield model
    for field in model.model_fields.values():
        for one in parts(field.annotation):
            if isinstance(one, type) and issubclass(one, BaseModel):
                yield from sections(one, known)


def parts(annotation: Any) -> Iterator[Any]:
    """All types that an annotation is made of."""
    yield annotation
    for one in get_args(annotation):
        yield from parts(one)


def numbers(annotation: Any, metadata: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The constraints of every int or float that an annotation takes."""
    if annotation in (int, float):
        yield metadata
        return
    inside = get_args(annotation)
    if hasattr(annotation, "__metadata__"):  # Annotated
        yield from numbers(inside[0], (*metadata, *annotation.__metadata__))
        return
    of_union = get_origin(annotation) not in (list, tuple, dict)
    for one in inside:
        yield from numbers(one, metadata if of_union else ())


def bounds(metadata: tuple[Any, ...]) -> tuple[bool, bool]:
    """Whether constraints have a lowest and a highest value."""
    flat = [m for one in metadata for m in (one.metadata if isinstance(one, FieldInfo) else [one])]
    lowest, highest = (any(getattr(m, k, None) is not None for m in flat for k in keys) for keys in _BOUNDS)
    return lowest, highest


def unbounded() -> Iterator[str]:
    known: set[type[BaseModel]] = set()
    for top in (RunConfig, TableConfig):
        for section in sections(top, known):
            for name, field in section.model_fields.items():
                if not all(all(bounds(m)) for m in numbers(field.annotation, tuple(field.metadata))):
                    yield f"{section.__name__}.{name}"


def test_every_number_of_every_section_has_both_bounds_or_a_reason():
    assert sorted(unbounded()) == sorted(WITH_REASONS)


def test_the_walk_reaches_all_sections_and_sees_what_is_missing():
    known: set[type[BaseModel]] = set()
    found = {s.__name__ for top in (RunConfig, TableConfig) for s in sections(top, known)}
    subclasses = {s.__name__ for s in every_subclass(Section)}
    assert subclasses - found == {
        "Learner",
        "Levelled",
        "Network",
        "Judged",
        "Given",
    }  # shared by others, or of models that are named later
    assert {"External", "Links", "Grids", "Recipe", "Monthly"} <= found
    assert [bounds(m) for m in numbers(list[int] | None)] == [(False, False)]
    assert bounds((FieldInfo(ge=1),)) == (True, False)


def every_subclass(section: type[Section]) -> Iterator[type[Section]]:
    for one in section.__subclasses__():
        if one.__module__.startswith("glacmb_grid"):
            yield one
            yield from every_subclass(one)


LEAST = {
    "glaciers": {"path": "o.gpkg"},
    "climate": {"files": "x.nc", "accumulated": "daily_mean"},
    "elevation": {"files": "dem.tif"},
    "observations": {"path": "fog.csv", "units": "mm w.e."},
}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("models.ff_fcnn.epochs", -1),
        ("models.ff_fcnn.members", 0),
        ("models.ff_fcnn.members", 10**9),
        ("models.ff_fcnn.learning_rate", 1e6),
        ("models.random_forest.share", 1.5),
        ("models.random_forest.trees", 10**7),
        ("models.temperature_index.snow_threshold", 300),
        ("models.temperature_index.prior_sd", [0.003, 0.0, 1.0]),
        ("models.temperature_index.prior_mean", [7.0, 1.5, 0.0]),
        ("models.ridge.penalties", [math.inf]),
        ("observations.default_uncertainty", 200),
        ("observations.default_uncertainty", math.nan),
        ("observations.missing", [math.nan]),
        ("observations.links.max_distance_km", -1),
        ("observations.geodetic", {"path": "x.csv", "density": [850000, 60]}),
        ("climate.years", [1980, 20205]),
        ("climate.years", [-1980, 2020]),
        ("climate.annual_precipitation", [0, 1200]),
        ("predictors.reference", [19810, 2010]),
        ("product.years", [2000, 20205]),
        ("product.draws", -5),
        ("validation.inner", 10**6),
        ("validation.buffer_km", math.inf),
        ("validation.holdout", 1.5),
        ("validation.holdout", math.nan),
        ("sampling.min_coverage", 50),
        ("sampling.lapse_rate", -6.5),
        ("sampling.lapse_rate", math.nan),
        ("regrid", {"resolution": 0.0}),
        ("scores.level", 90),
        ("study.shares", [10]),
        ("seed", -1),
    ],
)
def test_numbers_that_no_one_can_mean_are_refused_with_the_key(tmp_path, key, value):
    config = {**LEAST}
    *path, last = key.split(".")
    section = config
    for name in path:
        section[name] = section = {**section.get(name, {})}
    section[last] = value
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises((InputError, InputErrors)) as raised:
        load_config(tmp_path / "x.yaml")
    text = str(raised.value)
    assert f"x.yaml: {key}" in text
    for part in ("expected:", "found:", "remedy:"):
        assert part in text
