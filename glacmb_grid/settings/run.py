"""Whole configurations: how models are judged, and what a run is made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ModelWrapValidatorHandler, PrivateAttr, model_validator

from glacmb_grid.settings.base import REMEDY, Count, Identifier, Section, Seed, each_once, portable
from glacmb_grid.settings.inputs import (
    Albedo,
    Climate,
    Elevation,
    Glaciers,
    Observations,
    Predictors,
    Regrid,
    SampleTable,
    Sampling,
    Synthetic,
)
from glacmb_grid.settings.learners import Recipe
from glacmb_grid.settings.models import Given, ModelName, Models, RandomForest
from glacmb_grid.settings.names import OwnName, own_names
from glacmb_grid.settings.networks import FeedForward
from glacmb_grid.settings.product import LEARNS_RATES, PREFERRED, Product

Scheme = Literal["logo", "loyo", "both_out", "blocks", "leave_region_out", "random", "domain", "logo_own_geodetic"]


def _share_or_names(value: list[str] | float) -> list[str] | float:
    if isinstance(value, float) and not 0 < value < 1:
        some = f"[{value:g}]" if value.is_integer() else "0.2"
        raise ValueError(
            "a share between 0 and 1 (0.2 locks a fifth of the groups), or a list of glaciers"
            f"{REMEDY}write `validation: {{holdout: {some}}}`"
        )
    return value


def _all_or_list(value: Any) -> Any:
    if isinstance(value, str) and value != "all":
        raise ValueError(f"'all' or a list of models{REMEDY}write `validation: {{models: [{value}]}}`")
    return value


_MODELS = ["mean", "ridge", "temperature_index", "gaussian_process", "ff_fcnn"]


class Validation(Section):
    """Folds, and which models are judged in them.

    `target_weights`: what each glacier that is to be predicted counts in the scheme `domain`, one or its area.
    """

    schemes: Annotated[list[Scheme], AfterValidator(each_once), Field(min_length=1)] = ["logo", "loyo", "both_out"]
    models: Annotated[
        Literal["all"] | Annotated[list[ModelName], AfterValidator(each_once), Field(min_length=1)],
        BeforeValidator(_all_or_list),
    ] = list(_MODELS)
    inner: int = Field(5, ge=2, le=1000)
    blocks: Count = 10
    parts: int = Field(40, ge=2, le=100_000)
    buffer_km: float | None = Field(None, ge=0, le=20_100)
    target_weights: Literal["glacier", "area"] = "glacier"
    holdout: Annotated[list[Identifier] | float, AfterValidator(_share_or_names)] | None = None


class Scores(Section):
    """Intervals of the scores."""

    bootstrap: int = Field(2000, ge=100, le=1_000_000)
    level: float = Field(0.9, gt=0, lt=1)


class Store(Section):
    """Where results go; default `runs/<name>` under the working directory."""

    root: Path | None = None


class Compute(Section):
    """How dask works."""

    scheduler: Literal["threads", "processes", "distributed", "synchronous"] = "threads"
    workers: int | None = Field(None, ge=1, le=10_000)
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

    compare: Annotated[list[ModelName], AfterValidator(each_once), Field(min_length=1)] = ["random_forest", "ff_fcnn"]
    models: Models = _PAPER_MODELS
    scheme: Literal["logo", "loyo", "both_out"] = "logo"
    permutations: int = Field(3, ge=0, le=10_000)


class Study(Section):
    """What is taken apart: which models, in which schemes."""

    models: Annotated[list[ModelName], AfterValidator(each_once), Field(min_length=1)] = ["ff_fcnn"]
    schemes: Annotated[list[Scheme], AfterValidator(each_once), Field(min_length=1)] = ["logo"]
    repeats: int = Field(3, ge=1, le=10_000)
    shares: list[Annotated[float, Field(gt=0, le=1)]] = Field([0.1, 0.25, 0.5, 1.0], min_length=1)
    counts: Literal["doubling"] | Annotated[list[Count], Field(min_length=1)] | None = None


def _file_name(name: Any) -> Any:
    if isinstance(name, str) and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        fitting = re.sub(r"[^A-Za-z0-9._-]+", "_", name).strip("._-") or "run"
        raise ValueError(
            "letters, digits, `.`, `_` and `-` only; by default it is the name of the configuration file without its "
            f"ending{REMEDY}rename the file, or add `name: {fitting}`"
        )
    return name


class Judged(Section):
    """What every configuration holds: models, how they are judged, where results go.

    `report`: whether a run ends with a page about itself.
    """

    name: Annotated[str, BeforeValidator(_file_name)]
    seed: Seed = 1
    models: Models = Models()
    validation: Validation = Validation()
    protocol: Protocol = Protocol()
    scores: Scores = Scores()
    audit: Audit = Audit()
    study: Study = Study()
    predictions: dict[OwnName, Path] = {}
    store: Store = Store()
    report: bool = True
    compute: Compute = Compute()
    _templates: dict[str, str] = PrivateAttr(default_factory=dict)
    _file: Path | None = PrivateAttr(None)

    @model_validator(mode="wrap")
    @classmethod
    def _knowing_own_models(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """While sections are read that name models, the names that the configuration itself gives are known."""
        names = _names_given(value)
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"Input should name each model once, not several: {', '.join(twice)}")
        before = own_names.set(names)
        try:
            return handler(value)
        finally:
            own_names.reset(before)

    @property
    def own_models(self) -> dict[str, Section]:
        """Settings of the models that the configuration adds, by name."""
        return {**self.models.own, **{n: Given(path=p) for n, p in self.predictions.items()}}

    def settings_of(self, model: str) -> Section:
        """Settings of a model by its name."""
        own = self.own_models
        return own[model] if model in own else self.models.of(model)

    @property
    def file(self) -> Path | None:
        """The file that it was read from, for messages."""
        return self._file

    def remember(self, file: Path, templates: dict[str, str]) -> None:
        """Take its file, and what it holds in place of values that came from the environment."""
        self._file = file
        self._templates.update(templates)

    def as_written(self, value: Any) -> Any:
        """Plain values to be written down: what came from the environment as it stands in the configuration file."""
        return portable(value, self._templates)

    @property
    def learns_rates(self) -> bool:
        """Whether networks learn from geodetic rates, for which a configuration needs outlines."""
        return False

    @model_validator(mode="after")
    def _own_rates_are_learnt(self) -> Self:
        if "logo_own_geodetic" in self.validation.schemes and not self.learns_rates:
            raise ValueError(
                "Input should learn from geodetic rates where glaciers keep their own: logo_own_geodetic needs "
                "`observations: {geodetic: {learn: true}}`"
            )
        return self

    @property
    def root(self) -> Path:
        """Folder of the run's stores."""
        assert self.store.root is not None
        return self.store.root


def _learns_rates(value: dict[str, Any]) -> bool:
    """Whether a configuration, not checked yet, asks to learn from geodetic rates."""
    observations = value.get("observations")
    rates = observations.get("geodetic") if isinstance(observations, dict) else None
    return isinstance(rates, dict) and rates.get("learn") is True


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
    product: Product | None = Product()

    @model_validator(mode="before")
    @classmethod
    def _product_among_judged(cls, value: Any) -> Any:
        """A product's model that is not judged is judged too; where none is named, it is one of the judged models.

        Where geodetic rates are to be learnt from, it is one that can.

        `product: false` is no product.
        """
        if isinstance(value, dict) and value.get("product") is False:
            return {**value, "product": None}
        product, validation = (
            (value.get(k) or {} for k in ("product", "validation")) if isinstance(value, dict) else ({}, {})
        )
        if not isinstance(value, dict) or not isinstance(product, dict) or not isinstance(validation, dict):
            return value
        models, wanted = validation.get("models", _MODELS), product.get("model")
        if not isinstance(models, list) or not models:
            return value
        if wanted is not None:
            more = [wanted] if wanted not in models else []
            return {**value, "validation": {**validation, "models": [*models, *more]}}
        given = value.get("predictions") or {}
        fitted = [m for m in models if m not in given] or models
        preferred = LEARNS_RATES if _learns_rates(value) else PREFERRED
        best = next((m for m in preferred if m in models), fitted[-1])
        return {**value, "product": {**product, "model": best}}

    @model_validator(mode="after")
    def _rates_beside_a_product(self) -> RunConfig:
        rates = self.observations.geodetic
        if self.product is None and rates is not None and not rates.learn:
            raise ValueError("Input should have a product with `observations.geodetic`, which is compared with it")
        return self

    @property
    def learns_rates(self) -> bool:
        """Whether networks learn from geodetic rates."""
        return self.observations.geodetic is not None and self.observations.geodetic.learn


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
    out += map(str, models.get("own") or ())
    for names in (raw.get("predictions"), samples.get("predictions")):
        out += map(str, names) if isinstance(names, dict) else []
    return tuple(out)
