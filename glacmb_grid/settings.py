"""One frozen model per stage of a run, and digests of them."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from glacmb_grid.vocabulary import VARIABLES

Scheme = Literal["logo", "loyo", "both_out"]
ModelName = Literal["mean", "ridge", "temperature_index", "ff_fcnn"]


T = TypeVar("T")


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


Years = Annotated[tuple[int, int], AfterValidator(_rising)]
Amounts = Annotated[tuple[float, float], AfterValidator(_rising)]
Name = Annotated[str, AfterValidator(_known_variable)]
NameWithUnit = Annotated[str, AfterValidator(_with_unit)]
Months = Annotated[tuple[Annotated[int, Field(ge=1, le=12)], ...], AfterValidator(_one_season), Field(min_length=1)]


class Section(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Synthetic(Section):
    """A region of known truth, written as raw files into ``${store.root}/raw`` before anything else."""

    seed: int = 1
    glaciers: int = Field(60, ge=2)
    measured: int = Field(15, ge=1)
    years: Years = (2000, 2024)


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

    lapse_rate: float = Field(-0.0065, gt=-0.02, lt=0.02)
    min_coverage: float = Field(0.5, gt=0, le=1)


class Predictors(Section):
    """What is made of the monthly values."""

    first_month: int | None = Field(None, ge=1, le=12)
    monthly: list[Name] | None = None
    temperature_spread: float = Field(4.0, gt=0)
    reference: Years | None = None
    coordinates: bool = False


class Mean(Section):
    """The training mean."""


class Ridge(Section):
    """Linear model with an L2 penalty chosen on inner folds."""

    predictors: list[str] = ["*"]
    penalties: list[Annotated[float, Field(gt=0)]] = Field([0.1, 1.0, 10.0, 100.0, 1000.0], min_length=1)


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


class FeedForward(Section):
    """FF-FCNN: a small fully connected network, an ensemble of members in every fold."""

    predictors: list[str] = ["*"]
    widths: tuple[Annotated[int, Field(ge=1)], ...] = (40, 20, 10, 5)
    members: int = Field(5, ge=1)
    epochs: int = Field(600, ge=1)
    patience: int = Field(60, ge=1)
    learning_rate: float = Field(0.005, gt=0)
    input_noise: float = Field(0.1, ge=0)
    l1: float = Field(1e-3, ge=0)
    block: int = Field(64, ge=1)


class Models(Section):
    """Which models are judged, and their settings."""

    compare: Annotated[list[ModelName], AfterValidator(_each_once), Field(min_length=1)] = [
        "mean",
        "ridge",
        "temperature_index",
        "ff_fcnn",
    ]
    mean: Mean = Mean()
    ridge: Ridge = Ridge()
    temperature_index: TemperatureIndex = TemperatureIndex()
    ff_fcnn: FeedForward = FeedForward()


class Validation(Section):
    """Folds."""

    schemes: Annotated[list[Scheme], AfterValidator(_each_once), Field(min_length=1)] = ["logo", "loyo", "both_out"]
    inner: int = Field(5, ge=2)


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


class RunConfig(Section):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = 1
    synthetic: Synthetic | None = None
    glaciers: Glaciers
    climate: Climate
    elevation: Elevation
    albedo: Albedo | None = None
    observations: Observations
    sampling: Sampling = Sampling()
    predictors: Predictors = Predictors()
    models: Models = Models()
    validation: Validation = Validation()
    scores: Scores = Scores()
    product: Product = Product()
    store: Store = Store()
    compute: Compute = Compute()

    @property
    def root(self) -> Path:
        """Folder of the run's stores."""
        assert self.store.root is not None
        return self.store.root


def digest(*sections: object) -> str:
    """Digest of configuration sections, the same wherever the files lie.

    Of paths only the last part counts here: what a file holds is told by its own identity.
    """
    plain = [portable(s.model_dump(mode="python") if isinstance(s, BaseModel) else s) for s in sections]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def portable(value: Any) -> Any:
    """Plain values with only the last part of paths, the same on every machine."""
    if isinstance(value, dict):
        return {str(k): portable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(v) for v in value]
    if isinstance(value, Path) or (isinstance(value, str) and os.path.isabs(value)):  # noqa: PTH117 - any string
        return Path(value).name
    return value
