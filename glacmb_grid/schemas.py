"""The Datasets that one room takes from another, each described once, and the check of a Dataset against its schema."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, VARIABLES

NUMBER, TEXT, FLAG, DATE = "number", "text", "flag", "date"
_DTYPES = {NUMBER: "f8", TEXT: "O", FLAG: "?", DATE: "M8[ns]"}
_KINDS = {NUMBER: "fiu", TEXT: "OUT", FLAG: "biu", DATE: "M"}  # kinds of numpy dtypes


@dataclass(frozen=True)
class Field:
    """One variable or coordinate of a Dataset.

    Attributes
    ----------
    dims : tuple of str
    kind : str
        NUMBER, TEXT, FLAG or DATE.
    units : str
        Empty where it has none. Only a `units` attribute that differs is wrong, not a missing one.
    required : bool
    per : str
        A dimension that may come before the others.
    """

    dims: tuple[str, ...]
    kind: str = NUMBER
    units: str = ""
    required: bool = True
    per: str = ""

    def __str__(self) -> str:
        unit = f", {self.units}" if self.units else ""
        return f"({', '.join(self.dims)}) {self.kind}{unit}"


@dataclass(frozen=True)
class Schema:
    """What a Dataset must hold; more is allowed.

    Attributes
    ----------
    name : str
        What the Dataset is called in messages, and its key in `SCHEMAS`.
    source : str
        What gives such a Dataset, for the remedy.
    variables, coordinates : mapping of str to Field
    attrs : tuple of str
        Names of the attributes it must have.
    ordered : bool
        Whether dimensions must come in the order of `Field.dims`.
    open : bool
        Whether variables may have dimensions besides `Field.dims`, as those of a grid, whose names vary.
    """

    name: str
    source: str
    variables: Mapping[str, Field]
    coordinates: Mapping[str, Field] = field(default_factory=dict)
    attrs: tuple[str, ...] = ()
    ordered: bool = True
    open: bool = False


def check(ds: xr.Dataset, schema: Schema, *, name: str | None = None) -> None:
    """Raise unless a Dataset is what its schema says. No values are read.

    Parameters
    ----------
    ds : xr.Dataset
    schema : Schema
    name : str, optional
        What the Dataset is, for the message; default the name of the schema.

    Raises
    ------
    InputError
        With every difference; or where it is no Dataset.
    """
    if not isinstance(ds, xr.Dataset):
        raise InputError(
            name or schema.name,
            expected="an xarray Dataset",
            found=f"a {type(ds).__name__}",
            remedy=f"pass what {schema.source} gives",
        )
    wrong = [*_differences(ds, schema, schema.variables), *_differences(ds, schema, schema.coordinates)]
    wrong += [(f"{n!r} is a coordinate", f"{n!r} is a variable") for n in schema.coordinates if n in ds.data_vars]
    wrong += [(f"the attribute {n!r}", f"no attribute {n!r}") for n in schema.attrs if n not in ds.attrs]
    if wrong:
        raise InputError(
            name or schema.name,
            expected="; ".join(expected for expected, _ in wrong),
            found="; ".join(found for _, found in wrong) + f" (present: {listing(ds.variables, 20)})",
            remedy=f"pass what {schema.source} gives",
        )


def arranged(ds: xr.Dataset, schema: Schema) -> xr.Dataset:
    """A Dataset with the dimensions of its variables in the order of its schema, whatever order they came in.

    Raises
    ------
    InputError
        As `check`.
    """
    if isinstance(ds, xr.Dataset):
        there = [(ds[n], one) for n, one in schema.variables.items() if n in ds]
        wanted = [(v, (one.per, *one.dims) if one.per in v.dims else one.dims) for v, one in there]
        ds = ds.assign({str(v.name): v.transpose(*dims) for v, dims in wanted if set(dims) == set(v.dims)})
    check(ds, schema)
    return ds


def empty(schema: Schema, names: Iterable[str] | None = None, **along: Any) -> xr.Dataset:
    """A Dataset of a schema without any glacier, row or fold: it shows what would be made of one that has some.

    Parameters
    ----------
    schema : Schema
    names : iterable of str, optional
        The variables to have, by default all of the schema.
    along : int or array
        Lengths of dimensions, or their coordinates; all other dimensions have no entries.
    """
    size = {d: v if isinstance(v, int) else len(v) for d, v in along.items()}
    coordinates = {n: f for n, f in schema.coordinates.items() if n not in along}

    def holding_nothing(fields: Mapping[str, Field]) -> dict[str, Any]:
        return {n: (f.dims, np.empty([size.get(d, 0) for d in f.dims], _DTYPES[f.kind])) for n, f in fields.items()}

    wanted = schema.variables if names is None else {n: schema.variables[n] for n in names}
    given = {d: v for d, v in along.items() if not isinstance(v, int)}
    return xr.Dataset(holding_nothing(wanted), coords={**holding_nothing(coordinates), **given})


def require_columns(table: Any, columns: Iterable[str], *, name: str, source: str) -> None:
    """Raise an InputError unless a table has these columns; `name` is that of the argument, `source` what gives it."""
    there = [str(c) for c in getattr(table, "columns", ())]
    there += ["geometry"] if hasattr(table, "geometry") else []  # whatever the column is called
    if missing := [c for c in columns if c not in there]:
        raise InputError(
            name,
            expected=f"a table with the columns {', '.join(columns)}",
            found=f"no {listing(missing)}; columns {listing(there) or 'none'}",
            remedy=f"pass what {source} gives",
        )


def _differences(ds: xr.Dataset, schema: Schema, described: Mapping[str, Field]) -> Iterator[tuple[str, str]]:
    """What was expected and what was found, for each variable that is not as described."""
    for name, one in described.items():
        if name not in ds.variables:
            if one.required:
                yield f"{name!r} {one}", f"{name!r} is missing"
            continue
        variable = ds.variables[name]
        dims = tuple(map(str, variable.dims))
        wanted = (one.per, *one.dims) if one.per and one.per in dims else one.dims
        same = dims == wanted if schema.ordered else set(dims) == set(wanted)
        if not (same or (schema.open and set(one.dims) <= set(dims))):
            yield f"{name!r} {one}", f"{name!r} has dimensions ({', '.join(dims)})"
        if variable.dtype.kind not in _KINDS[one.kind]:
            yield f"{name!r} {one}", f"{name!r} has dtype {variable.dtype}"
        if one.units and variable.attrs.get("units", one.units) != one.units:
            yield f"{name!r} {one}", f"{name!r} has units {variable.attrs['units']!r}"


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
EXPECTED = Schema(
    "expected errors",
    "`glacier_year_uncertainty`",
    _numbers(("glacier", "year"), expected_error="m", half_width_50="m", half_width_90="m")
    | _numbers(("glacier", "year"), dissimilarity="1", training_density="1")
    | {"applicable": Field(("glacier", "year"), FLAG)},
    _GLACIER_YEAR,
)
_QUALIFYING = ("expected_error", *(f"mass_balance_uncertainty_{n}" for n in ("observation", "model", "member")))
_QUALIFYING += tuple(f"mass_balance_{n}_{level}" for n in ("lower", "upper") for level in (50, 90))
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
