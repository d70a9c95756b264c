"""Sections of the models, and their names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from glacmb_grid.settings.base import Count, Section, Sigma, Spread, each_once
from glacmb_grid.settings.inputs import SampleTable
from glacmb_grid.settings.names import NEIGHBOURS, OwnName, base_of, own_names


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
Step = Annotated[float, Field(gt=0, le=10)]
Strength = Annotated[float, Field(ge=0, le=1000)]
Level = Literal["none", "glacier", "year"]
_ROWS_ONLY: list[Level] = ["none"]


class Recipe(Section):
    """What is made of the predictors inside a fold; several are alternatives, chosen between on inner folds.

    `take`: `table` leaves out what was computed from monthly values, `seasonal` leaves out the monthly values
    themselves. `parts`: the value, the mean of the glacier over its fitted rows, the deviation from it; the means may
    be taken of other predictors, `climatology_of`. `gaps`: how missing values are filled. Then, in this order: the
    least correlation with the target, the largest correlation between two predictors, and how many to keep by their
    rank. `ranking: random_forest` draws its splits at random where rows times predictors exceed 100,000.
    """

    predictors: list[str] = ["*"]
    exclude: list[str] = []
    take: Literal["all", "table", "seasonal"] = "all"
    parts: tuple[Literal["value", "climatology", "anomaly"], ...] = ("value",)
    climatology_of: Literal["all", "table", "seasonal"] | None = None
    gaps: Literal["mean", "climatology", "regress", "indicator", "drop"] = "mean"
    correlation: float = Field(0.0, ge=0, lt=1)
    collinearity: float = Field(1.0, gt=0, le=1)
    ranking: Literal["correlation", "random_forest"] = "random_forest"
    keep: Count | None = None


def _several(value: Any) -> Any:
    """One value where alternatives may be given."""
    return value if isinstance(value, (list, tuple)) else [value]


def _several_widths(value: Any) -> Any:
    """One network where several may be given."""
    one = isinstance(value, (list, tuple)) and all(isinstance(v, int) for v in value)
    return [value] if one else value


class Learner(Section):
    """What the models that learn from predictors share.

    `predictors` are the names and patterns that the model may take at all; `recipes` what is made of them, by default a
    few that suit the table.
    """

    predictors: list[str] = ["*"]
    recipes: list[Recipe] | None = Field(None, min_length=1)


class Levelled(Learner):
    """What the learners share that glaciers may add something to.

    `levels`: `none`, `glacier` (the level of a glacier is taken out first), `year` (one row a year, with level and
    amplitude of the glacier on top); by default those that suit the table and the scheme.
    """

    levels: list[Level] | None = Field(None, min_length=1)


class Mean(Section):
    """The training mean."""


class Ridge(Levelled):
    """Linear model with an L2 penalty."""

    penalties: Annotated[list[Penalty], BeforeValidator(_several)] = Field(
        [0.1, 1.0, 10.0, 100.0, 1000.0], min_length=1
    )


class YearMean(Section):
    """The mean balance of the glaciers of the region that were measured in the same year; nothing to set."""


class YearLevel(Learner):
    """Linear model of the mean balance of each year, with the level and the amplitude of every glacier on top."""

    penalties: Annotated[list[Penalty], BeforeValidator(_several)] = Field(
        [0.1, 1.0, 10.0, 100.0, 1000.0], min_length=1
    )


class Lasso(Levelled):
    """Linear model with an L1 penalty, given as a share of the least one that leaves no predictor."""

    penalties: Annotated[list[Penalty], BeforeValidator(_several)] = Field([0.003, 0.01, 0.03, 0.1, 0.3], min_length=1)


class RandomForest(Levelled):
    """Bagged regression trees."""

    trees: Count = 100
    leaf: Annotated[list[Count], BeforeValidator(_several)] = Field([2, 5], min_length=1)
    share: Annotated[list[Annotated[float, Field(gt=0, le=1)]], BeforeValidator(_several)] = Field([0.33], min_length=1)


class ExtraTrees(RandomForest):
    """Regression trees with random splits."""


class GradientBoosting(Levelled):
    """Boosted regression trees on histograms."""

    rounds: Annotated[list[Count], BeforeValidator(_several)] = Field([50, 150], min_length=1)
    leaves: Annotated[list[Leaves], BeforeValidator(_several)] = Field([4, 12], min_length=1)
    learning_rate: float = Field(0.06, gt=0, le=1)


class LevelAnomaly(Levelled):
    """Level of a glacier from what stays and anomaly of a year from its weather, linear, fitted together.

    `forms`: glaciers answer alike to the same weather (`additive`), or by a factor that depends on what stays
    (`amplitude`). Penalties of level and anomaly are chosen apart.
    """

    level_penalties: Annotated[list[Penalty], BeforeValidator(_several)] = Field(
        [10.0, 100.0, 1000.0, 10000.0], min_length=1
    )
    anomaly_penalties: Annotated[list[Penalty], BeforeValidator(_several)] = Field(
        [1.0, 10.0, 100.0, 1000.0], min_length=1
    )
    forms: Annotated[list[Literal["additive", "amplitude"]], BeforeValidator(_several), AfterValidator(each_once)] = (
        Field(["additive"], min_length=1)
    )


FurtherParameter = Literal["snow_to_ice", "precipitation_gradient", "temperature_pull", "precipitation_pull"]
_PULLS: tuple[FurtherParameter, ...] = ("temperature_pull", "precipitation_pull")
Between = Annotated[float, Field(gt=0, le=100)]


class TemperatureIndex(Section):
    """Degree-day melt and solid precipitation over the hypsometry, with weak priors on three parameters.

    `forms` are alternatives, chosen between on inner folds: the further parameters that are fitted. Pulls move
    temperature and precipitation of a glacier to the mean climate of the fitted ones: 0 not at all, 1 wholly; they are
    fitted where every fit has at least four glaciers, and drawn to 0: the form without any is part of theirs.
    `pooling` and `glacier_sd` are alternatives too: whether offset and amplitude of the simulated balance stay
    (`none`), are calibrated for `all` glaciers alike, or for each `glacier`, drawn to those of all.
    """

    lapse_rate: float = Field(-0.0065, gt=-0.02, lt=0)
    temperature_spread: Spread = 4.0
    snow_threshold: float = Field(1.0, ge=-10, le=10)
    snow_spread: Spread = 2.0
    snow_to_ice: float = Field(0.6, gt=0, le=1)
    prior_mean: tuple[
        Annotated[float, Field(gt=0, le=0.1)],
        Annotated[float, Field(gt=0, le=20)],
        Annotated[float, Field(ge=-20, le=20)],
    ] = (0.007, 1.5, 0.0)
    prior_sd: tuple[
        Annotated[float, Field(gt=0, le=1)],
        Annotated[float, Field(gt=0, le=100)],
        Annotated[float, Field(gt=0, le=100)],
    ] = (0.003, 0.5, 1.0)
    residual_sd: Sigma = 0.3
    forms: list[list[FurtherParameter]] = Field(
        [[*_PULLS], [*_PULLS, "snow_to_ice", "precipitation_gradient"]], min_length=1
    )
    pooling: Annotated[list[Literal["none", "all", "glacier"]], BeforeValidator(_several)] = Field(
        ["none", "all", "glacier"], min_length=1
    )
    glacier_sd: list[tuple[Between, Between]] = Field([(0.2, 0.2), (0.5, 0.4)], min_length=1)
    snow_to_ice_sd: Between = 0.15
    precipitation_gradient_sd: Between = 0.3
    pull_sd: Between = 0.5


class SharedIndex(TemperatureIndex):
    """A temperature index that another model starts from, calibrated for `none` or `all` glaciers.

    With the level of each fitted glacier in it, nothing of how glaciers differ would be left to learn.
    """

    pooling: Annotated[list[Literal["none", "all"]], BeforeValidator(_several)] = Field(  # type: ignore[assignment]
        ["none", "all"], min_length=1
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

    kernels: Annotated[list[Kernel], BeforeValidator(_several), AfterValidator(each_once)] = Field(
        ["usual", "year_level", "without_slow_change", "without_position"], min_length=1
    )
    means: Annotated[list[Literal["constant", "index"]], BeforeValidator(_several), AfterValidator(each_once)] = Field(
        ["constant", "index"], min_length=1
    )
    index: SharedIndex = SharedIndex()
    position: bool = True
    max_rows: int = Field(3000, ge=10, le=100_000)


class Network(Levelled):
    """What the models share that train small fully connected networks, an ensemble of members in every fold.

    The lists are alternatives, chosen between on inner folds; where all combinations are more than `configurations`,
    that many are drawn.
    """

    widths: Annotated[list[Annotated[tuple[Count, ...], Field(min_length=1)]], BeforeValidator(_several_widths)] = (
        Field([(40, 20, 10, 5), (16,)], min_length=1)
    )
    learning_rate: Annotated[list[Step], BeforeValidator(_several)] = Field([0.005], min_length=1)
    input_noise: Annotated[list[Strength], BeforeValidator(_several)] = Field([0.1, 0.3], min_length=1)
    l1: Annotated[list[Strength], BeforeValidator(_several)] = Field([1e-3, 1e-2], min_length=1)
    weighting: Annotated[list[Literal["none", "dynamic", "density", "uncertainty"]], BeforeValidator(_several)] = Field(
        ["none"], min_length=1
    )
    configurations: Count = 64
    members: int = Field(5, ge=1, le=1000)
    bootstrap: bool = True
    finish: Literal["refit", "early_stopping"] = "refit"
    epochs: Count = 600
    patience: Count = 60
    block: Count | None = None


class FeedForward(Network):
    """FF-FCNN: small fully connected networks, an ensemble of members in every fold.

    The lists are alternatives, chosen between on inner folds; where all combinations are more than `configurations`,
    that many are drawn. `geodetic_weight`: of geodetic rates in the loss, where there are rates to learn from.

    `pretrain`: what a network learns before the observations: nothing; balances that a temperature index, fitted in the
    same fold with the settings `simulation`, gives to the fold's own glacier-years and to those that nobody measured;
    or the observed balances of the table `transfer`. `frozen`: how many of its first layers then stay as they are.
    """

    heteroscedastic: Annotated[list[bool], BeforeValidator(_several)] = Field([False], min_length=1)
    geodetic_weight: Annotated[list[Strength], BeforeValidator(_several)] = Field([0.0, 0.01, 0.1], min_length=1)
    pretrain: Annotated[list[Literal["none", "simulation", "transfer"]], BeforeValidator(_several)] = Field(
        ["none"], min_length=1
    )
    frozen: Annotated[list[Annotated[int, Field(ge=0, le=100)]], BeforeValidator(_several)] = Field([0], min_length=1)
    simulation: TemperatureIndex = TemperatureIndex()
    transfer: SampleTable | None = None

    @model_validator(mode="after")
    def _transferred_from_a_table(self) -> FeedForward:
        if ("transfer" in self.pretrain) != (self.transfer is not None):
            raise ValueError("Input should have `transfer`, a table, if and only if `pretrain` names it")
        if any(self.frozen) and self.pretrain == ["none"]:
            raise ValueError("Input should have something to pre-train on, `pretrain`, where layers are frozen")
        return self

    @property
    def simulates(self) -> bool:
        """Whether a temperature index is among what networks may be pre-trained on."""
        return "simulation" in self.pretrain


def _several_bounds(value: Any) -> Any:
    """One set of bounds where several may be given."""
    one = isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value)
    return [value] if one else value


Factor = Annotated[float, Field(ge=1, le=100)]


class Hybrid(Network):
    """A temperature index whose parameters small networks change within bounds, an ensemble of members in every fold.

    `bounds` are the largest factors of the degree-day factors of ice and of snow and of the precipitation, and the
    largest addition to the temperature, K; `penalty` draws the changes towards none. With `months` the changes differ
    from month to month, by the month's own weather. The lists are alternatives, as those of `ff_fcnn`. `form: residual`
    adds the network to the balance instead. `index` are the settings of the index, which is calibrated for `none` or
    `all` glaciers.
    """

    widths: Annotated[list[Annotated[tuple[Count, ...], Field(min_length=1)]], BeforeValidator(_several_widths)] = (
        Field([(16,)], min_length=1)
    )
    learning_rate: Annotated[list[Step], BeforeValidator(_several)] = Field([0.003], min_length=1)
    input_noise: Annotated[list[Strength], BeforeValidator(_several)] = Field([0.2, 0.6], min_length=1)
    l1: Annotated[list[Strength], BeforeValidator(_several)] = Field([1e-3], min_length=1)
    levels: list[Literal["none", "glacier"]] | None = Field(None, min_length=1)  # type: ignore[assignment]
    patience: Count = 100
    penalty: Annotated[list[Strength], BeforeValidator(_several)] = Field([0.1, 1.0], min_length=1)
    bounds: Annotated[
        list[tuple[Factor, Factor, Factor, Annotated[float, Field(ge=0, le=10)]]], BeforeValidator(_several_bounds)
    ] = Field([(2.0, 2.0, 2.0, 1.5), (4.0, 4.0, 4.0, 4.0)], min_length=1)
    months: Annotated[list[bool], BeforeValidator(_several)] = Field([False], min_length=1)
    form: Literal["multipliers", "residual"] = "multipliers"
    index: SharedIndex = SharedIndex()

    @model_validator(mode="after")
    def _months_of_an_index(self) -> Hybrid:
        if self.form == "residual" and any(self.months):
            raise ValueError("Input should have `months: false` with `form: residual`, which changes no parameter")
        return self


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
