"""One frozen model per stage of a run, and digests of them."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    model_validator,
)

from glacmb_grid.vocabulary import VARIABLES

Scheme = Literal["logo", "loyo", "both_out", "blocks", "leave_region_out", "random"]
T = TypeVar("T")
_own_names: ContextVar[tuple[str, ...]] = ContextVar("_own_names", default=())
"""Names of a user's own models in the configuration that is being read."""


def _known_model(name: str) -> str:
    known = (*model_names(), *_own_names.get())
    if name not in known:
        raise ValueError(f"Input should be one of the models {', '.join(known)}")
    return name


def model_names() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(n for n in Models.model_fields if n != "own")


def _free_name(name: str) -> str:
    if name in model_names():
        raise ValueError(f"Input should be a name of its own: {name} is a model of the package")
    return name


ModelName = Annotated[str, AfterValidator(_known_model)]
OwnName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$"), AfterValidator(_free_name)]


def _rising(span: tuple[T, T]) -> tuple[T, T]:
    first, last = span
    if not first < last:  # type: ignore[operator]
        raise ValueError("Input should be a pair with the smaller value first")
    return span


def _each_once(values: list[T]) -> list[T]:
    if len(set(values)) < len(values):
        raise ValueError("Input should name each entry once")
    return values


def _known_variable(name: str) -> str:
    if name not in VARIABLES:
        near = difflib.get_close_matches(name, VARIABLES, 1, 0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"Input should be one of the ERA5-Land short names {', '.join(VARIABLES)}{hint}")
    return name


def _with_unit(name: str) -> str:
    return name if name == "z" else _known_variable(name)  # z: the geopotential of the invariant file


def _one_season(months: tuple[int, ...]) -> tuple[int, ...]:
    if {1, 12} <= set(months) and len(set(months)) < 12:
        raise ValueError("Input should be a season within one calendar year (January and December are two seasons)")
    return tuple(dict.fromkeys(months))


def _text_keys(mapping: Any) -> Any:
    """YAML reads a bare 491 as a number."""
    return {str(k): v for k, v in mapping.items()} if isinstance(mapping, dict) else mapping


def _lapse_rate(value: Any) -> Any:
    """One rate, twelve, or a word; checked as a whole so that one message tells all three."""
    several = value if isinstance(value, (list, tuple)) else [value]
    highest = 0.02 if several is value else 0  # in the mean of a year it never warms upwards
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) and -0.02 < v <= highest for v in several)
    if value != "fitted" and not (numbers and (len(several) == 12 or several is not value)):
        raise ValueError(
            "Input should be one lapse rate between -0.02 and 0 K m-1 (negative where it cools upwards), a list of "
            "twelve (January to December, at most 0.02), or 'fitted'"
        )
    return value


Years = Annotated[tuple[int, int], AfterValidator(_rising)]
Amounts = Annotated[tuple[float, float], AfterValidator(_rising)]
Name = Annotated[str, AfterValidator(_known_variable)]
NameWithUnit = Annotated[str, AfterValidator(_with_unit)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Months = Annotated[tuple[Annotated[int, Field(ge=1, le=12)], ...], AfterValidator(_one_season), Field(min_length=1)]


class Section(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Synthetic(Section):
    """A region of known truth, written as raw files into ``${store.root}/raw`` before anything else."""

    seed: Seed = 1
    glaciers: int = Field(60, ge=2)
    measured: int = Field(15, ge=1)
    years: Years = (2000, 2024)

    @model_validator(mode="after")
    def _no_more_than_there_are(self) -> Synthetic:
        if self.measured > self.glaciers:
            raise ValueError(f"Input should have at most as many `measured` glaciers as `glaciers`, {self.glaciers}")
        return self


class Glaciers(Section):
    """Outlines."""

    path: Path
    layer: str | None = None
    id: str | None = None
    crs: str | None = None
    merge_pieces: bool = False


class Climate(Section):
    """Monthly climate cube."""

    files: list[str] = Field(min_length=1)
    accumulated: Literal["daily_mean", "hourly_mean", "monthly_total"]
    invariant: Path | None = None
    variables: list[Name] | None = Field(None, min_length=1)
    units: dict[NameWithUnit, str] = {}
    expver: Literal["prefer_final", "final"] = "prefer_final"
    annual_precipitation: Amounts | None = None


class Elevation(Section):
    """Digital elevation model."""

    files: list[str] = Field(min_length=1)
    min_coverage: float = Field(0.5, ge=0, le=1)


class Albedo(Section):
    """A series of MOD10A1 rasters."""

    files: list[str] = Field(min_length=1)
    months: Months = (6, 7, 8)
    min_days: int = Field(3, ge=1)
    min_coverage: float = Field(0.2, ge=0, le=1)


class Links(Section):
    """How observations find their outlines."""

    table: Path | None = None
    positions: Path | None = None
    mapping: Annotated[dict[str, str], BeforeValidator(_text_keys)] = {}
    suffix: bool = True
    position: bool = True
    max_distance_km: float = Field(2.0, ge=0)


class Observations(Section):
    """Annual glacier-wide balances."""

    path: Path
    units: Literal["mm w.e.", "m w.e.", "kg m-2"]
    default_uncertainty: float = Field(0.2, gt=0)
    links: Links = Links()


class Sampling(Section):
    """Zonal means and the elevation correction."""

    lapse_rate: Annotated[float | tuple[float, ...] | Literal["fitted"], BeforeValidator(_lapse_rate)] = -0.0065
    lapse_rate_cells: int = Field(2, ge=1, le=20)
    max_land_distance_km: float = Field(30.0, ge=0)
    min_coverage: float = Field(0.5, gt=0, le=1)


class Regrid(Section):
    """A finer or coarser grid between the climate and the outlines; the weights of both are composed."""

    engine: Literal["builtin", "xesmf"] = "builtin"
    method: Literal["conservative", "conservative_normed", "bilinear", "nearest_s2d", "nearest_d2s"] = "bilinear"
    resolution: float = Field(gt=0, le=10)

    @model_validator(mode="after")
    def _offered(self) -> Regrid:
        if self.engine == "builtin" and self.method not in ("conservative", "bilinear"):
            raise ValueError(f"Input should be conservative or bilinear with the builtin engine, not {self.method}")
        return self


class Predictors(Section):
    """What is made of the monthly values."""

    first_month: int | None = Field(None, ge=1, le=12)
    monthly: list[Name] | None = None
    temperature_spread: float = Field(4.0, gt=0)
    reference: Years | None = None
    coordinates: bool = False


class Recipe(Section):
    """What is made of the predictors inside a fold; several are alternatives, chosen between on inner folds.

    `take`: `table` leaves out what was computed from monthly values, `seasonal` leaves out the monthly values
    themselves. `parts`: the value, the mean of the glacier over its fitted rows, the deviation from it; the means may
    be taken of other predictors, `climatology_of`. `gaps`: how missing values are filled. Then, in this order: the
    least correlation with the target, the largest correlation between two predictors, and how many to keep by their
    rank.
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
    keep: int | None = Field(None, ge=1)


def _several(value: Any) -> Any:
    """One value where alternatives may be given."""
    return value if isinstance(value, (list, tuple)) else [value]


def _several_widths(value: Any) -> Any:
    """One network where several may be given."""
    one = isinstance(value, (list, tuple)) and all(isinstance(v, int) for v in value)
    return [value] if one else value


Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Learner(Section):
    """What the models that learn from predictors share.

    `predictors` are the names and patterns that the model may take at all; `recipes` what is made of them, by default a
    few that suit the table.
    """

    predictors: list[str] = ["*"]
    recipes: list[Recipe] | None = Field(None, min_length=1)


class Mean(Section):
    """The training mean."""


class Ridge(Learner):
    """Linear model with an L2 penalty."""

    penalties: Annotated[list[Positive], BeforeValidator(_several)] = Field(
        [0.1, 1.0, 10.0, 100.0, 1000.0], min_length=1
    )


class Lasso(Learner):
    """Linear model with an L1 penalty, given as a share of the least one that leaves no predictor."""

    penalties: Annotated[list[Positive], BeforeValidator(_several)] = Field([0.003, 0.01, 0.03, 0.1, 0.3], min_length=1)


class RandomForest(Learner):
    """Bagged regression trees."""

    trees: int = Field(100, ge=1)
    leaf: Annotated[list[Count], BeforeValidator(_several)] = Field([2, 5], min_length=1)
    share: Annotated[list[Annotated[float, Field(gt=0, le=1)]], BeforeValidator(_several)] = Field([0.33], min_length=1)


class ExtraTrees(RandomForest):
    """Regression trees with random splits."""


class GradientBoosting(Learner):
    """Boosted regression trees on histograms."""

    rounds: Annotated[list[Count], BeforeValidator(_several)] = Field([50, 150], min_length=1)
    leaves: Annotated[list[Annotated[int, Field(ge=2)]], BeforeValidator(_several)] = Field([4, 12], min_length=1)
    learning_rate: float = Field(0.06, gt=0, le=1)


class GaussianProcess(Learner):
    """Structured kernel: weather, static predictors, glacier, year, position."""

    position: bool = True
    max_rows: int = Field(3000, ge=10)


class TemperatureIndex(Section):
    """Degree-day melt and solid precipitation over the hypsometry, with weak priors on three parameters."""

    lapse_rate: float = Field(-0.0065, gt=-0.02, lt=0)
    temperature_spread: float = Field(4.0, gt=0)
    snow_threshold: float = 1.0
    snow_spread: float = Field(2.0, gt=0)
    snow_to_ice: float = Field(0.6, gt=0, le=1)
    prior_mean: tuple[float, float, float] = (0.007, 1.5, 0.0)
    prior_sd: tuple[float, float, float] = (0.003, 0.5, 1.0)
    residual_sd: float = Field(0.3, gt=0)


class FeedForward(Learner):
    """FF-FCNN: small fully connected networks, an ensemble of members in every fold.

    The lists are alternatives, chosen between on inner folds; where all combinations are more than `configurations`,
    that many are drawn.
    """

    widths: Annotated[list[Annotated[tuple[Count, ...], Field(min_length=1)]], BeforeValidator(_several_widths)] = (
        Field([(40, 20, 10, 5), (16,)], min_length=1)
    )
    learning_rate: Annotated[list[Positive], BeforeValidator(_several)] = Field([0.005], min_length=1)
    input_noise: Annotated[list[NotNegative], BeforeValidator(_several)] = Field([0.1, 0.3], min_length=1)
    l1: Annotated[list[NotNegative], BeforeValidator(_several)] = Field([1e-3, 1e-2], min_length=1)
    weighting: Annotated[list[Literal["none", "dynamic", "density", "uncertainty"]], BeforeValidator(_several)] = Field(
        ["none"], min_length=1
    )
    heteroscedastic: Annotated[list[bool], BeforeValidator(_several)] = Field([False], min_length=1)
    configurations: int = Field(64, ge=1)
    members: int = Field(5, ge=1)
    bootstrap: bool = True
    finish: Literal["refit", "early_stopping"] = "refit"
    epochs: int = Field(600, ge=1)
    patience: int = Field(60, ge=1)
    block: int | None = Field(None, ge=1)


class Neighbours(Section):
    """What glaciers of the same year and other years of the glacier add to another model; nothing to set."""


class External(Learner):
    """A regressor of the user's own, with the interface of scikit-learn; refitted whenever it predicts.

    `external` names its class, `package.module:Class`; `settings` are passed to it, a list being alternatives that are
    chosen between on inner folds.
    """

    external: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    settings: dict[str, Any] = {}


class Given(Section):
    """Predictions that were made elsewhere: a CSV file of glacier, year and value, or a column of the user's table."""

    path: Path | None = None


class Blend(Section):
    """Weighted mean of the other models, weights fitted on their inner predictions."""

    models: list[ModelName] | None = Field(None, min_length=1)


class Models(Section):
    """Settings of the models. In `own` are those that a configuration adds, each with the key `external`."""

    mean: Mean = Mean()
    ridge: Ridge = Ridge()
    lasso: Lasso = Lasso()
    random_forest: RandomForest = RandomForest()
    extra_trees: ExtraTrees = ExtraTrees()
    gradient_boosting: GradientBoosting = GradientBoosting()
    gaussian_process: GaussianProcess = GaussianProcess()
    temperature_index: TemperatureIndex = TemperatureIndex()
    ff_fcnn: FeedForward = FeedForward()
    extra_trees_neighbours: Neighbours = Neighbours()
    ff_fcnn_neighbours: Neighbours = Neighbours()
    blend: Blend = Blend()
    own: dict[OwnName, External] = {}

    @model_validator(mode="before")
    @classmethod
    def _own_apart(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        own = {n: v for n, v in value.items() if isinstance(v, dict) and "external" in v and n not in cls.model_fields}
        return {n: v for n, v in value.items() if n not in own} | {"own": {**value.get("own", {}), **own}}


def _share_or_names(value: list[str] | float) -> list[str] | float:
    if isinstance(value, float) and not 0 < value < 1:
        raise ValueError("a share between 0 and 1 (0.2 locks a fifth of the groups), or a list of glaciers")
    return value


class Validation(Section):
    """Folds, and which models are judged in them."""

    schemes: Annotated[list[Scheme], AfterValidator(_each_once), Field(min_length=1)] = ["logo", "loyo", "both_out"]
    models: Literal["all"] | Annotated[list[ModelName], AfterValidator(_each_once), Field(min_length=1)] = [
        "mean",
        "ridge",
        "temperature_index",
        "ff_fcnn",
    ]
    inner: int = Field(5, ge=2)
    blocks: int = Field(10, ge=1)
    parts: int = Field(40, ge=2)
    buffer_km: float | None = Field(None, ge=0)
    holdout: Annotated[list[str] | float, AfterValidator(_share_or_names)] | None = None


class Scores(Section):
    """Intervals of the scores."""

    bootstrap: int = Field(2000, ge=100)
    level: float = Field(0.9, gt=0, lt=1)


class Product(Section):
    """The glacier x year dataset."""

    model: ModelName = "ff_fcnn"
    title: str = "Annual glacier-wide mass balance of every glacier of the region"
    institution: str = ""
    truth: Path | None = None


class Store(Section):
    """Where results go; default `runs/<name>` under the working directory."""

    root: Path | None = None


class Compute(Section):
    """How dask works."""

    scheduler: Literal["threads", "processes", "distributed", "synchronous"] = "threads"
    workers: int | None = Field(None, ge=1)
    address: str | None = None
    dashboard: bool = False


class Protocol(Section):
    """What a way of judging leaks; all off is the nested way, all on is the founding paper's.

    `selection`: predictors are scaled and selected on all rows. `tuning`: hyper-parameters are chosen on the rows that
    are scored. `early_stopping`: networks stop on the rows that are scored.
    """

    selection: bool = False
    tuning: bool = False
    early_stopping: bool = False

    @property
    def leaks(self) -> bool:
        """Whether anything is leaked on purpose."""
        return self.selection or self.tuning or self.early_stopping


_PAPER = Recipe(take="table", correlation=0.1, collinearity=0.95, keep=20)
_PAPER_MODELS = Models(
    random_forest=RandomForest(recipes=[_PAPER], trees=100),
    ff_fcnn=FeedForward(
        recipes=[_PAPER],
        widths=[(40, 20, 10, 5)],
        learning_rate=[0.003, 0.01],
        input_noise=[0.05, 0.2],
        l1=[1e-4, 1e-3],
        finish="early_stopping",
        epochs=300,
        patience=30,
        members=1,
    ),
)


class Audit(Section):
    """What the audit compares: the protocol of the founding paper with the nested one, by these models."""

    compare: Annotated[list[ModelName], AfterValidator(_each_once), Field(min_length=1)] = ["random_forest", "ff_fcnn"]
    models: Models = _PAPER_MODELS
    scheme: Literal["logo", "loyo", "both_out"] = "logo"
    permutations: int = Field(3, ge=0)


class Study(Section):
    """What is taken apart: which models, in which schemes."""

    models: Annotated[list[ModelName], AfterValidator(_each_once), Field(min_length=1)] = ["ff_fcnn"]
    schemes: Annotated[list[Scheme], AfterValidator(_each_once), Field(min_length=1)] = ["logo"]
    repeats: int = Field(3, ge=1)
    shares: list[Annotated[float, Field(gt=0, le=1)]] = Field([0.1, 0.25, 0.5, 1.0], min_length=1)


class SampleFolds(Section):
    """Columns with the user's own folds."""

    logo: str | None = None
    loyo: str | None = None


class Monthly(Section):
    """Twelve columns of a monthly series."""

    columns: str
    units: str


class SampleTable(Section):
    """A user's own table of glacier-years: columns by their role, and what may be learnt from."""

    path: Path
    glacier: str
    year: str
    target: str
    target_units: Literal["mm w.e.", "m w.e.", "kg m-2"]
    uncertainty: str | None = None
    group: str | None = None
    region: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    name: str | None = None
    area: str | None = None
    time_system: str | None = None
    folds: SampleFolds = SampleFolds()
    where: dict[str, Any] = {}
    predictors: Literal["all"] | list[str] = "all"
    exclude: list[str] = []
    coordinates: bool = False
    default_uncertainty: float = Field(0.2, gt=0)
    monthly: dict[str, Monthly] = {}
    predictions: dict[OwnName, str] = {}


class Judged(Section):
    """What every configuration holds: models, how they are judged, where results go."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: Seed = 1
    models: Models = Models()
    validation: Validation = Validation()
    protocol: Protocol = Protocol()
    scores: Scores = Scores()
    audit: Audit = Audit()
    study: Study = Study()
    predictions: dict[OwnName, Path] = {}
    store: Store = Store()
    compute: Compute = Compute()
    _templates: dict[str, str] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _knowing_own_models(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """While sections are read that name models, the names that the configuration itself gives are known."""
        before = _own_names.set(_names_given(value))
        try:
            return handler(value)
        finally:
            _own_names.reset(before)

    @property
    def own_models(self) -> dict[str, Section]:
        """Settings of the models that the configuration adds, by name."""
        return {**self.models.own, **{n: Given(path=p) for n, p in self.predictions.items()}}

    def settings_of(self, model: str) -> Section:
        """Settings of a model by its name."""
        found: Section = self.own_models[model] if model in self.own_models else getattr(self.models, model)
        return found

    def remember_templates(self, templates: dict[str, str]) -> None:
        """Take what the configuration file holds in place of values that came from the environment."""
        self._templates.update(templates)

    def as_written(self, value: Any) -> Any:
        """Plain values to be written down: what came from the environment as it stands in the configuration file."""
        return portable(value, self._templates)

    @property
    def root(self) -> Path:
        """Folder of the run's stores."""
        assert self.store.root is not None
        return self.store.root


class RunConfig(Judged):
    """A whole run, from cubes to the product."""

    synthetic: Synthetic | None = None
    glaciers: Glaciers
    climate: Climate
    elevation: Elevation
    albedo: Albedo | None = None
    observations: Observations
    sampling: Sampling = Sampling()
    regrid: Regrid | None = None
    predictors: Predictors = Predictors()
    product: Product = Product()


class TableConfig(Judged):
    """Models judged on a user's own table."""

    samples: SampleTable

    @property
    def own_models(self) -> dict[str, Section]:
        """Settings of the models that the configuration adds, by name."""
        return {**super().own_models, **{n: Given() for n in self.samples.predictions}}


def _names_given(raw: Any) -> tuple[str, ...]:
    """Names that a configuration gives to models of its own."""
    if not isinstance(raw, dict):
        return ()
    models, samples = (raw[k] if isinstance(raw.get(k), dict) else {} for k in ("models", "samples"))
    out = [str(n) for n, v in models.items() if isinstance(v, dict) and "external" in v]
    for names in (raw.get("predictions"), samples.get("predictions")):
        out += map(str, names) if isinstance(names, dict) else []
    return tuple(out)


def digest(*sections: object) -> str:
    """Digest of configuration sections, the same wherever the files lie.

    Of paths only the last part counts here: what a file holds is told by its own identity.
    """
    plain = [portable(s) for s in sections]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def portable(value: Any, templates: Mapping[str, str] | None = None) -> Any:
    """Plain values with only the last part of paths, the same on every machine; some texts by their templates."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="python")
    if isinstance(value, dict):
        return {str(k): portable(v, templates) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(v, templates) for v in value]
    text = (templates or {}).get(str(value), value) if isinstance(value, (str, Path)) else value
    if isinstance(value, Path) or (isinstance(value, str) and os.path.isabs(value)):  # noqa: PTH117 - any string
        return Path(text).name
    return text
