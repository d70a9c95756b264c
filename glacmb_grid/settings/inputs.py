"""Sections of the inputs: where files lie and how they are read."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from glacmb_grid.settings.base import Identifier, Section, Seed, Sigma, Spread, Year, rising
from glacmb_grid.settings.names import OwnName
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, VARIABLES, BalanceUnits, GeodeticUnits


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


def _one_or_summands(theirs: Any) -> Any:
    several = theirs if isinstance(theirs, (list, tuple)) else [theirs]
    texts = all(isinstance(t, str) and t for t in several) and len(set(several)) == len(several)
    if not texts or (several is theirs and len(several) < 2):
        raise ValueError("Input should be a name in the files, or a list of the names of several summands, each once")
    return theirs


def _each_month_once(months: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(months))


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


Years = Annotated[tuple[Year, Year], AfterValidator(rising)]
Amount = Annotated[float, Field(ge=0, le=100)]
Balance = Annotated[float, Field(ge=-200, le=200)]
Density = Annotated[float, Field(gt=0, le=1100)]
Name = Annotated[str, AfterValidator(_known_variable)]
NameWithUnit = Annotated[str, AfterValidator(_with_unit)]
NameInFiles = Annotated[str, AfterValidator(_with_name)]
Theirs = Annotated[str | list[str], BeforeValidator(_one_or_summands)]
Month = Annotated[int, Field(ge=1, le=12)]
Months = Annotated[tuple[Month, ...], AfterValidator(_each_month_once), Field(min_length=1)]


BalanceRole = Literal[
    "site",
    "year",
    "mass_balance",
    "uncertainty",
    "name",
    "rgi_id",
    "longitude",
    "latitude",
    "time_system",
    "method",
    "begin",
    "end",
]


GeodeticRole = Literal[
    "site",
    "rgi_id",
    "name",
    "longitude",
    "latitude",
    "area",
    "source",
    "period",
    "begin",
    "end",
    "uncertainty",
    "rate",
    "change",
    "elevation_rate",
    "elevation_change",
]


class Synthetic(Section):
    """A region of known truth, written as raw files into ``${store.root}/raw`` before anything else."""

    seed: Seed = 1
    glaciers: int = Field(60, ge=2, le=100_000)
    measured: int = Field(15, ge=1, le=100_000)
    years: Years = (2000, 2024)
    plain: bool = False

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
    accumulated: Literal["daily_mean", "hourly_mean", "monthly_total"] | None = None
    invariant: Path | None = None
    variables: list[Name] | None = Field(None, min_length=1)
    units: dict[NameWithUnit, str] = {}
    names: dict[NameInFiles, Theirs] = Field(
        {}, description="our name -> the name in the files; a list of names is a sum"
    )
    stamp: Literal["start", "within", "end"] | None = Field(
        None, description="where in its month a record without time bounds is stamped; default: as the files tell"
    )
    expver: Literal["prefer_final", "final"] = "prefer_final"
    negative_precipitation: Literal["refuse", "zero"] = "refuse"
    years: Years | None = Field(None, description="first and last calendar year to take; default: all")
    annual_precipitation: Annotated[tuple[Amount, Amount], AfterValidator(rising)] | None = None


class Elevation(Section):
    """Digital elevation model.

    `units` is that of the heights, by default what the files state, else metres. `compare` looks whether they agree
    with the elevations that the inventory states for its outlines.
    """

    files: list[str] = Field(min_length=1)
    min_coverage: float = Field(0.5, ge=0, le=1)
    units: Literal["m", "ft", "us-ft", "km", "dm", "cm"] | None = None
    compare: bool = True


class Albedo(Section):
    """A series of daily albedo; `months` by default those of the summer of each glacier's hemisphere.

    `layer` names the albedo layer where there are several, `quality` what the quality layer must say of a pixel.
    """

    files: list[str] = Field(min_length=1)
    layer: str | None = None
    quality: Literal["usable", "best"] = "usable"
    months: Months | None = None
    min_days: int = Field(3, ge=1, le=366)
    min_coverage: float = Field(0.2, ge=0, le=1)


class Links(Section):
    """How observations find their outlines.

    `table` relates sites and identifiers, `positions` sites and places; `versions` relates identifiers of RGI 6 and 7,
    a table of RGI 7 or the outlines of the other version; `mapping` links sites by hand.
    """

    table: Path | None = None
    positions: Path | None = None
    versions: Path | None = None
    mapping: dict[Identifier, Identifier] = {}
    suffix: bool = True
    position: bool = True
    max_distance_km: float = Field(2.0, ge=0, le=500)


class Geodetic(Section):
    """Mean rates over several years, with which the product is compared; learnt from where `learn` says so.

    `units`: of the values, where their column does not say it. `columns`: role -> the table's own name of its column.
    `missing`: numbers that stand for missing values. `density`: of elevation changes, and its 1-sigma, kg m-3.
    `shortest`: periods below this number of years are left out. `mapping` links sites by hand, besides
    `observations.links`.
    """

    path: Path
    units: GeodeticUnits | None = None
    columns: dict[GeodeticRole, str] = {}
    missing: list[float] | None = None
    density: tuple[Density, Annotated[float, Field(ge=0, le=1000)]] = (850.0, 60.0)
    shortest: float = Field(1.45, gt=0, le=150)
    mapping: dict[Identifier, Identifier] = {}
    learn: bool = False


class Observations(Section):
    """Annual glacier-wide balances: a table, or a release of FoG (its ZIP or its folder).

    `units` may be left out where the release's `datapackage.json` says them. `columns`: role -> the table's own name
    of its column. `missing`: numbers that stand for missing balances. `periods`: balances of several years are
    refused (`annual`) or left out. `geodetic`: rates over several years to compare the product with.
    """

    path: Path
    units: BalanceUnits | None = None
    default_uncertainty: Sigma = 0.2
    columns: dict[BalanceRole, str] = {}
    missing: list[float] | None = None
    periods: Literal["annual", "leave_out"] = "annual"
    links: Links = Links()
    geodetic: Geodetic | None = None


class Sampling(Section):
    """Zonal means and the elevation correction."""

    lapse_rate: Annotated[float | tuple[float, ...] | Literal["fitted"], BeforeValidator(_lapse_rate)] = -0.0065
    lapse_rate_cells: int = Field(2, ge=1, le=20)
    max_land_distance_km: float = Field(30.0, ge=0, le=2000)
    min_coverage: float = Field(0.5, gt=0, le=1)


class Regrid(Section):
    """A finer or coarser grid between the climate and the outlines; the weights of both are composed."""

    engine: Literal["builtin", "xesmf"] = "builtin"
    method: Literal["conservative", "conservative_normed", "bilinear", "nearest_s2d", "nearest_d2s"] = "bilinear"
    resolution: float = Field(ge=0.001, le=10)

    @model_validator(mode="after")
    def _offered(self) -> Regrid:
        if self.engine == "builtin" and self.method not in ("conservative", "bilinear"):
            raise ValueError(f"Input should be conservative or bilinear with the builtin engine, not {self.method}")
        return self


class Predictors(Section):
    """What is made of the monthly values."""

    first_month: int | None = Field(None, ge=1, le=12)
    monthly: list[Name] | None = None
    temperature_spread: Spread = 4.0
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
    """A user's own table of glacier-years: columns by their role, and what may be learnt from.

    `elevation`: at which a row was measured (a stake), m; `orography`: that of its monthly temperature. `limits`:
    plausible balances, m w.e. `missing`: numbers that stand for missing balances. `allow`: predictors that may tell
    nearly all of the target. `targets`: positions of the glaciers that are to be predicted, for the scheme `domain`.
    """

    path: Path
    glacier: str
    year: str
    target: str
    target_units: BalanceUnits
    uncertainty: str | None = None
    group: str | None = None
    region: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    name: str | None = None
    area: str | None = None
    time_system: str | None = None
    elevation: str | None = None
    orography: str | None = None
    limits: Annotated[tuple[Balance, Balance], AfterValidator(rising)] = (-10.0, 10.0)
    missing: list[float] | None = None
    folds: SampleFolds = SampleFolds()
    where: dict[str, Any] = {}
    predictors: Literal["all"] | list[str] = "all"
    exclude: list[str] = []
    allow: list[str] = []
    coordinates: bool = False
    default_uncertainty: Sigma = 0.2
    monthly: dict[str, Monthly] = {}
    predictions: dict[OwnName, str] = {}
    targets: Path | None = None
