"""The Datasets that one room takes from another, each described once."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from glacmb_grid.schemas.checks import DATE, FLAG, NUMBER, TEXT, Field, Schema
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, PERCENTS, VARIABLES


def _numbers(dims: tuple[str, ...], *, required: bool = True, **units: str) -> dict[str, Field]:
    return {n: Field(dims, NUMBER, u, required) for n, u in units.items()}


_UNITS = {n: v.units for n, v in VARIABLES.items()}
_GLACIER = {"glacier": Field(("glacier",), TEXT)}
_GLACIER_YEAR = _GLACIER | {"year": Field(("year",))}
_MEANING = {n: Field(("predictor",), TEXT) for n in ("predictor", "stem", "origin", "season", "part")}
_MEANING |= {"calendar_month": Field(("predictor",))}
_PLACE = _numbers(("glacier",), longitude="degrees_east", latitude="degrees_north")
_FORCING = {"temperature": "K", "precipitation": "m", "snowfall": "m", "days": ""}
_ROWS = {n: Field(("row",), kind) for n, kind in (("row_glacier", TEXT), ("row_year", NUMBER))}
_PREDICTORS_OF_ROWS = {
    "predictors": Field(("row", "predictor")),
    **_numbers(("row", "month"), required=False, **_FORCING),
    **_numbers(("row", "band"), required=False, hypsometry="m"),
    **_numbers(("row",), required=False, orography="m"),
}

CLIMATE = Schema(
    "climate cube",
    "`open_climate`",
    _numbers(("time",), required=False, **_UNITS) | _numbers((), required=False, **{OROGRAPHY: "m", LAND_MASK: "1"}),
    {"time": Field(("time",), DATE)},
    open=True,
)
SAMPLED = Schema(
    "sampled climate",
    "`sample`, and `correct_temperature` where there is a temperature,",
    _numbers(("glacier", "time"), required=False, **_UNITS, t2m_corrected="K")
    | _numbers(("glacier",), required=False, **{OROGRAPHY: "m"}),
    _GLACIER | {"time": Field(("time",), DATE)},
    ordered=False,
)
DAILY_ALBEDO = Schema(
    "daily albedo",
    "`sample` of the rasters of `open_albedo`",
    _numbers(("glacier", "time"), albedo="1", albedo_coverage="1", land="1", cloud="1"),
    {"time": Field(("time",), DATE)},
    ordered=False,
)
TERRAIN = Schema(
    "terrain",
    "`terrain`",
    _numbers(("glacier",), elevation_mean="m")
    | _numbers(("glacier", "band"), hypsometry="m")
    | _numbers(("glacier",), required=False, elevation_min="m", elevation_max="m", elevation_median="m")
    | _numbers(("glacier",), required=False, slope="degree", northness="1", eastness="1", elevation_coverage="1"),
    _GLACIER,
)
GLACIERS = Schema(
    "glaciers",
    "`glaciers_dataset`",
    _numbers(("glacier",), area="km2") | _PLACE,
    _GLACIER,
)
ALBEDO = Schema(
    "summer albedo",
    "`summer_albedo`",
    _numbers(("glacier", "year"), albedo_mean="1", albedo_min="1"),
    _GLACIER_YEAR,
    ordered=False,
)
PREDICTORS = Schema(
    "predictors",
    "`build_predictors`",
    {"predictors": Field(("glacier", "year", "predictor"))}
    | _numbers(("glacier", "year", "month"), required=False, temperature="K", precipitation="m")
    | {"days": Field(("year", "month"), required=False, per="glacier")}
    | _numbers(("glacier", "band"), required=False, hypsometry="m")
    | _numbers(("glacier",), required=False, orography="m"),
    _GLACIER_YEAR | _MEANING,
    attrs=("first_month",),
)
ROWS = Schema("rows", "`as_rows`, `build_samples` or `read_samples_table`", _PREDICTORS_OF_ROWS, _MEANING | _ROWS)
SAMPLES = Schema(
    "samples",
    "`build_samples` or `read_samples_table`",
    _PREDICTORS_OF_ROWS
    | _numbers(("sample",), mass_balance="m")
    | _numbers(("sample",), required=False, mass_balance_uncertainty="m")
    | _numbers(("entry",), operator_sample="", operator_row="", operator_weight=""),
    {"sample": Field(("sample",), TEXT), "glacier": Field(("sample",), TEXT), "year": Field(("sample",))}
    | _MEANING
    | _ROWS,
)
CONSTRAINTS = Schema(
    "constraints",
    "`build_constraints`",
    {"predictors": Field(("row", "predictor"))}
    | _numbers(("constraint",), change="m", change_uncertainty="m")
    | _numbers(("entry",), operator_constraint="", operator_row="", operator_weight=""),
    {"constraint": Field(("constraint",), TEXT), "glacier": Field(("constraint",), TEXT)}
    | {n: Field(("constraint",), DATE) for n in ("begin", "end")}
    | _MEANING
    | _ROWS,
)
FOLDS = Schema(
    "folds",
    "`make_folds`",
    {n: Field(("fold", "sample"), FLAG) for n in ("fit", "score")}
    | {n: Field(("fold", "sample"), FLAG, required=False) for n in ("select", "stop")}
    | {n: Field(("fold", "inner", "sample"), FLAG) for n in ("inner_fit", "inner_score")},
    {"fold": Field(("fold",), TEXT), "scheme": Field(("fold",), TEXT), "sample": Field(("sample",), TEXT)}
    | _numbers(("fold",), block="", buffer_km="")
    | _numbers(("fold",), required=False, wasserstein_km=""),
)
PARAMETERS = Schema(
    "parameters",
    "`fit`",
    {"seen": Field(("fold", "sample"), FLAG)} | _numbers(("fold", "sample"), inner_prediction=""),
    {"fold": Field(("fold",), TEXT)},
    attrs=("model", "settings_type", "settings", "built_on"),
)
PREDICTIONS = Schema("predictions", "`predict`", {"predicted": Field(("fold", "member", "row"))}, ordered=False)
UPSCALED = Schema(
    "upscaled balances",
    "`upscale`",
    _numbers(("glacier", "year"), mean="m", variance="m2") | _numbers(("glacier",), nets=""),
    _GLACIER_YEAR,
)
_HALF_WIDTHS = tuple(f"half_width_{level}" for level in PERCENTS)
EXPECTED = Schema(
    "expected errors",
    "`glacier_year_uncertainty`",
    _numbers(("glacier", "year"), required=True, **dict.fromkeys(("expected_error", *_HALF_WIDTHS), "m"))
    | _numbers(("glacier", "year"), dissimilarity="1", training_density="1")
    | {"applicable": Field(("glacier", "year"), FLAG)},
    _GLACIER_YEAR,
)
_QUALIFYING = ("expected_error", *(f"mass_balance_uncertainty_{n}" for n in ("observation", "model", "member")))
_QUALIFYING += tuple(f"mass_balance_{n}_{level}" for n in ("lower", "upper") for level in PERCENTS)
PRODUCT = Schema(
    "product",
    "`glacier_product`",
    _numbers(("glacier", "year"), mass_balance="m", mass_balance_uncertainty="m")
    | _numbers(("glacier",), area="km2")
    | {"measured": Field(("glacier",), FLAG), "observed_period": Field(("year",), FLAG)}
    | {"time_bnds": Field(("year", "bnds"), DATE, per="glacier")}
    | _numbers(("glacier", "year"), required=False, **dict.fromkeys(_QUALIFYING, "m"), area_of_year="km2")
    | _numbers(("glacier", "year"), required=False, dissimilarity="1", training_density="1")
    | {n: Field(("glacier", "year"), FLAG, required=False) for n in ("applicable", "albedo_kind")}
    | _numbers(("glacier",), required=False, nets="1", nearest_measured_km="km")
    | _numbers(("realization", "glacier", "year"), required=False, mass_balance_realizations="m"),
    {"glacier_id": Field(("glacier",), TEXT), "year": Field(("year",)), "time": Field(("year",), DATE, per="glacier")}
    | _PLACE,
)

COMPARED = Schema(
    "compared",
    "`compare_geodetic`",
    _numbers(("survey",), product_rate="", geodetic_rate="", difference="", area="")
    | _numbers(("survey",), product_uncertainty="", geodetic_uncertainty="")
    | {"measured": Field(("survey",), FLAG)},
    {"glacier": Field(("survey",), TEXT)} | {n: Field(("survey",), DATE) for n in ("begin", "end")},
    ordered=False,
)
REGIONAL = Schema(
    "regional",
    "`regional_product`",
    _numbers(("region", "year"), mass_balance="", mass_change_gt="", area="")
    | {"time_bnds": Field(("year", "bnds"), DATE, per="region")},
    {},
    ordered=False,
)

SCHEMAS: Mapping[str, Schema] = MappingProxyType(
    {
        s.name: s
        for s in (
            *(CLIMATE, SAMPLED, DAILY_ALBEDO, TERRAIN, GLACIERS, ALBEDO, PREDICTORS, ROWS, SAMPLES, CONSTRAINTS, FOLDS),
            *(PARAMETERS, PREDICTIONS, UPSCALED, EXPECTED, PRODUCT),
        )
    }
)
"""All schemas by name."""
