"""Sections of the inputs: where files lie and how they are read."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from glacmb_grid.settings.base import Section, Seed, rising
from glacmb_grid.settings.models import OwnName
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, VARIABLES


def _known_variable(name: str) -> str:
    if name not in VARIABLES:
        near = difflib.get_close_matches(name, VARIABLES, 1, 0.5)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"Input should be one of the ERA5-Land short names {', '.join(VARIABLES)}{hint}")
    return name


def _with_unit(name: str) -> str:
    return name if name in ("z", OROGRAPHY) else _known_variable(name)  # z: the geopotential of the invariant file


def _with_name(name: str) -> str:
    return name if name in (OROGRAPHY, LAND_MASK) else _known_variable(name)


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


Years = Annotated[tuple[int, int], AfterValidator(rising)]
Amounts = Annotated[tuple[float, float], AfterValidator(rising)]
Name = Annotated[str, AfterValidator(_known_variable)]
NameWithUnit = Annotated[str, AfterValidator(_with_unit)]
NameInFiles = Annotated[str, AfterValidator(_with_name)]
Months = Annotated[tuple[Annotated[int, Field(ge=1, le=12)], ...], AfterValidator(_one_season), Field(min_length=1)]


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
    names: dict[NameInFiles, str] = Field({}, description="our name -> the name in the files")
    stamp: Literal["start", "within", "end"] | None = Field(
        None, description="where in its month a record without time bounds is stamped; default: as the files tell"
    )
    expver: Literal["prefer_final", "final"] = "prefer_final"
    negative_precipitation: Literal["refuse", "zero"] = "refuse"
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
