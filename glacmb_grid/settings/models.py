"""Sections of the models, and their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from glacmb_grid.settings.base import Count, Section, each_once
from glacmb_grid.settings.learners import Learner, Level, Levelled, several
from glacmb_grid.settings.names import NEIGHBOURS, OwnName, base_of, own_names
from glacmb_grid.settings.networks import FeedForward, Hybrid
from glacmb_grid.settings.temperature_index import SharedIndex, TemperatureIndex


def _known_model(name: str) -> str:
    known = (*model_names(), *own_names.get())
    bases = [n for n in known if base_of(n) is None]
    if name not in known and base_of(name) not in bases:
        raise ValueError(
            f"Input should be one of the models {', '.join(known)}, or any of them with {NEIGHBOURS} after its name"
        )
    return name


def model_names() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(n for n in Models.model_fields if n != "own")


ModelName = Annotated[str, AfterValidator(_known_model)]
Penalty = Annotated[float, Field(ge=1e-9, le=1e12)]
Leaves = Annotated[int, Field(ge=2, le=100_000)]
_ROWS_ONLY: list[Level] = ["none"]


class Mean(Section):
    """The training mean."""


class Ridge(Levelled):
    """Linear model with an L2 penalty."""

    penalties: Annotated[list[Penalty], BeforeValidator(several)] = Field([0.1, 1.0, 10.0, 100.0, 1000.0], min_length=1)


class YearMean(Section):
    """The mean balance of the glaciers of the region that were measured in the same year; nothing to set."""


class YearLevel(Learner):
    """Linear model of the mean balance of each year, with the level and the amplitude of every glacier on top."""

    penalties: Annotated[list[Penalty], BeforeValidator(several)] = Field([0.1, 1.0, 10.0, 100.0, 1000.0], min_length=1)


class Lasso(Levelled):
    """Linear model with an L1 penalty, given as a share of the least one that leaves no predictor."""

    penalties: Annotated[list[Penalty], BeforeValidator(several)] = Field([0.003, 0.01, 0.03, 0.1, 0.3], min_length=1)


class RandomForest(Levelled):
    """Bagged regression trees."""

    trees: Count = 100
    leaf: Annotated[list[Count], BeforeValidator(several)] = Field([2, 5], min_length=1)
    share: Annotated[list[Annotated[float, Field(gt=0, le=1)]], BeforeValidator(several)] = Field([0.33], min_length=1)


class ExtraTrees(RandomForest):
    """Regression trees with random splits."""


class GradientBoosting(Levelled):
    """Boosted regression trees on histograms."""

    rounds: Annotated[list[Count], BeforeValidator(several)] = Field([50, 150], min_length=1)
    leaves: Annotated[list[Leaves], BeforeValidator(several)] = Field([4, 12], min_length=1)
    learning_rate: float = Field(0.06, gt=0, le=1)


class LevelAnomaly(Levelled):
    """Level of a glacier from what stays and anomaly of a year from its weather, linear, fitted together.

    `forms`: glaciers answer alike to the same weather (`additive`), or by a factor that depends on what stays
    (`amplitude`). Penalties of level and anomaly are chosen apart.
    """

    level_penalties: Annotated[list[Penalty], BeforeValidator(several)] = Field(
        [10.0, 100.0, 1000.0, 10000.0], min_length=1
    )
    anomaly_penalties: Annotated[list[Penalty], BeforeValidator(several)] = Field(
        [1.0, 10.0, 100.0, 1000.0], min_length=1
    )
    forms: Annotated[list[Literal["additive", "amplitude"]], BeforeValidator(several), AfterValidator(each_once)] = (
        Field(["additive"], min_length=1)
    )


Kernel = Literal["usual", "year_level", "without_slow_change", "without_position"]


class GaussianProcess(Learner):
    """Structured kernel: weather, static predictors, glacier, year, position.

    `kernels` are alternatives, chosen between on inner folds: `usual` has all of these and slow changes; `year_level`
    knows a glacier by its level and its response to weather alone, and a year by its weather, a slow trend that all
    glaciers share and its measured glaciers; the others leave out what their names say. Those that are the same for
    want of their inputs, such as positions, are tried once. `means` are alternatives too: the process is the departure
    from a constant, or from a temperature index with the settings `index`, where there is monthly forcing for one.
    """

    kernels: Annotated[list[Kernel], BeforeValidator(several), AfterValidator(each_once)] = Field(
        ["usual", "year_level", "without_slow_change", "without_position"], min_length=1
    )
    means: Annotated[list[Literal["constant", "index"]], BeforeValidator(several), AfterValidator(each_once)] = Field(
        ["constant", "index"], min_length=1
    )
    index: SharedIndex = SharedIndex()
    position: bool = True
    max_rows: int = Field(3000, ge=10, le=100_000)


class Neighbours(Section):
    """What glaciers of the same year and other years of the glacier add to another model; nothing to set."""


def _plain(settings: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(settings)
    except TypeError as error:
        raise ValueError(f"Input should hold numbers, texts, lists and mappings only: {error}") from None
    if empty := [n for n, v in settings.items() if v == []]:
        raise ValueError(f"Input should have at least one alternative for {', '.join(empty)}")
    return settings


class External(Levelled):
    """A regressor of the user's own, with the interface of scikit-learn; fitted again in another process.

    `external` names its class, `package.module:Class`; `settings` are passed to it, a list being alternatives that are
    chosen between on inner folds.
    """

    levels: list[Level] | None = Field(_ROWS_ONLY, min_length=1)
    external: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    settings: Annotated[dict[str, Any], AfterValidator(_plain)] = {}


class Given(Section):
    """Predictions that were made elsewhere: a CSV file of glacier, year and value, or a column of the user's table."""

    path: Path | None = None


class Blend(Section):
    """Weighted mean of the other models, weights fitted on their inner predictions."""

    models: list[ModelName] | None = Field(None, min_length=1)


class Models(Section):
    """Settings of the models. In `own` are those that a configuration adds, each with the key `external`."""

    mean: Mean = Mean()
    year_mean: YearMean = YearMean()
    year_level: YearLevel = YearLevel()
    ridge: Ridge = Ridge()
    lasso: Lasso = Lasso()
    random_forest: RandomForest = RandomForest()
    extra_trees: ExtraTrees = ExtraTrees()
    gradient_boosting: GradientBoosting = GradientBoosting()
    gaussian_process: GaussianProcess = GaussianProcess()
    level_anomaly: LevelAnomaly = LevelAnomaly()
    temperature_index: TemperatureIndex = TemperatureIndex()
    ff_fcnn: FeedForward = FeedForward()
    hybrid: Hybrid = Hybrid()
    extra_trees_neighbours: Neighbours = Neighbours()
    ff_fcnn_neighbours: Neighbours = Neighbours()
    blend: Blend = Blend()
    own: dict[OwnName, External] = {}

    def of(self, name: str) -> Section:
        """Settings of a model of the package, or of any model with its neighbours, by its name."""
        found: Section = getattr(self, name, Neighbours())
        return found

    @model_validator(mode="before")
    @classmethod
    def _own_apart(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        own = {n: v for n, v in value.items() if isinstance(v, dict) and "external" in v and n not in cls.model_fields}
        return {n: v for n, v in value.items() if n not in own} | {"own": {**(value.get("own") or {}), **own}}
