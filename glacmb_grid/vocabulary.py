"""Names used everywhere: variables, units and CF attributes, and what a predictor is; `inputs` translates into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import xarray as xr

STANDARD_GRAVITY = 9.80665  # m s-2, turns geopotential into height
MELTING_POINT = 273.15  # K
EARTH_RADIUS = 6371007.181  # m, the authalic sphere of WGS 84

LEVELS = (0.5, 0.9)
"""Probabilities of the intervals of balances."""
PERCENTS = tuple(round(100 * level) for level in LEVELS)
"""The same as names of variables have them, %."""
BAND_LEVEL = 0.9
"""Share of errors that the bands of sums hold."""

BalanceUnits = Literal["mm w.e.", "m w.e.", "kg m-2", "cm w.e."]
GeodeticUnits = Literal["m w.e.", "mm w.e.", "cm w.e.", "kg m-2", "m", "cm", "mm"]
Kind = Literal["instantaneous", "accumulated"]
Origin = Literal["analysis", "forecast", "land surface model"]


@dataclass(frozen=True)
class Variable:
    """One climate variable as ERA5-Land names it.

    `low` and `high` bound plausible monthly values (of accumulated variables: per day) in `units`.
    """

    name: str
    long_name: str
    units: str
    kind: Kind
    origin: Origin
    low: float
    high: float
    standard_name: str | None = None
    sign: str = ""


_DOWNWARD = "positive downward"
_STATE: Kind = "instantaneous"
_SUM: Kind = "accumulated"
_MODEL: Origin = "land surface model"

VARIABLES: dict[str, Variable] = {
    v.name: v
    for v in (
        Variable("asn", "snow albedo", "1", _STATE, _MODEL, -0.01, 1.01),
        Variable("d2m", "2 metre dewpoint temperature", "K", _STATE, "forecast", 170, 320, "dew_point_temperature"),
        Variable("es", "snow evaporation", "m", _SUM, _MODEL, -0.03, 0.03, sign="negative where snow evaporates"),
        Variable("fal", "forecast albedo", "1", _STATE, _MODEL, -0.01, 1.01, "surface_albedo"),
        Variable("pdd", "positive degree days", "K d", _SUM, "forecast", -0.01, 60),
        Variable("rsn", "snow density", "kg m-3", _STATE, _MODEL, 0, 1000, "snow_density"),
        Variable(
            "sd", "snow depth water equivalent", "m", _STATE, _MODEL, -0.001, 12, "lwe_thickness_of_surface_snow_amount"
        ),
        Variable("sde", "snow depth", "m", _STATE, _MODEL, -0.001, 100, "surface_snow_thickness"),
        Variable("sf", "snowfall", "m", _SUM, "forecast", -1e-4, 0.2, "lwe_thickness_of_snowfall_amount"),
        Variable("slhf", "surface latent heat flux", "J m-2", _SUM, _MODEL, -4e7, 4e7, sign=_DOWNWARD),
        Variable("smlt", "snowmelt", "m", _SUM, _MODEL, -1e-4, 0.3),
        Variable("snowc", "snow cover", "%", _STATE, _MODEL, -0.1, 100.1),
        Variable("sp", "surface pressure", "Pa", _STATE, "forecast", 2e4, 1.1e5, "surface_air_pressure"),
        Variable("sshf", "surface sensible heat flux", "J m-2", _SUM, _MODEL, -4e7, 4e7, sign=_DOWNWARD),
        Variable("ssr", "surface net solar radiation", "J m-2", _SUM, _MODEL, -1e5, 5e7, sign=_DOWNWARD),
        Variable("ssrd", "surface solar radiation downwards", "J m-2", _SUM, "forecast", -1e5, 5e7, sign=_DOWNWARD),
        Variable("str", "surface net thermal radiation", "J m-2", _SUM, _MODEL, -4e7, 2e7, sign=_DOWNWARD),
        Variable("strd", "surface thermal radiation downwards", "J m-2", _SUM, "forecast", 0, 5e7, sign=_DOWNWARD),
        Variable("t2m", "2 metre temperature", "K", _STATE, "forecast", 180, 330, "air_temperature"),
        Variable(
            "tp", "total precipitation", "m", _SUM, "forecast", -1e-4, 0.2, "lwe_thickness_of_precipitation_amount"
        ),
        Variable("tsn", "temperature of snow layer", "K", _STATE, _MODEL, 170, 320, "temperature_in_surface_snow"),
        Variable("u10", "10 metre eastward wind", "m s-1", _STATE, "forecast", -60, 60, "eastward_wind"),
        Variable("v10", "10 metre northward wind", "m s-1", _STATE, "forecast", -60, 60, "northward_wind"),
    )
}
"""The 22 ERA5-Land variables of a full run, in m water equivalent where of water; and `pdd`, of daily temperatures."""

PDD = "pdd"

OROGRAPHY = "orography"
LAND_MASK = "land_mask"

MASS_BALANCE_ATTRS = {
    "units": "m",
    "long_name": "glacier-wide annual mass balance, water equivalent",
    "comment": "specific balance of the hydrological year; 1 m w.e. = 1000 kg m-2",
}
GLACIER_ID_ATTRS = {"long_name": "Randolph Glacier Inventory identifier", "cf_role": "timeseries_id"}


PredictorOrigin = Literal["climate", "albedo", "terrain", "outline", "position", "table", "series", ""]
Part = Literal["value", "climatology", "anomaly", ""]


@dataclass(frozen=True)
class Meaning:
    """What a predictor is; its attributes are the coordinates over `predictor`, and empty where nothing is known.

    Attributes
    ----------
    stem : str
        The quantity, such as `t2m`, `degree_days` or `slope`: what all months, seasons and parts of it share. A column
        of a user's table that is nothing known is a quantity of its own.
    origin : str
        What it was made from: the `climate`, the `albedo`, the elevation model (`terrain`), the `outline`, the
        `position`; a column of a user's own `table`, or the monthly `series` of one.
    season : str
        Season that it is the mean or the sum of, a key of `years.SEASONS`.
    calendar_month : int
        1 to 12 for one of the twelve values of a monthly series, 0 for anything else.
    part : str
        The `value` itself, its `climatology` at the glacier over the reference period, or the `anomaly` from that.
    """

    stem: str
    origin: PredictorOrigin = ""
    season: str = ""
    calendar_month: int = 0
    part: Part = ""

    @property
    def name(self) -> str:
        """Name of a predictor that the package makes."""
        month = f"{self.calendar_month:02d}" if self.calendar_month else ""
        part = "" if self.part == "value" else self.part
        return "_".join(filter(None, (self.stem, month, self.season, part)))


def meaning_coordinates(meanings: Sequence[Meaning]) -> dict[str, tuple[str, Any]]:
    """Coordinates over `predictor`, one for each attribute of `Meaning`."""
    columns = {f.name: [getattr(m, f.name) for m in meanings] for f in fields(Meaning)}
    return {n: ("predictor", np.array(c, np.int64 if n == "calendar_month" else object)) for n, c in columns.items()}


def meanings_of(ds: xr.Dataset) -> tuple[Meaning, ...]:
    """What every predictor of a Dataset is, from its coordinates."""
    columns = (ds[f.name].values.tolist() for f in fields(Meaning))
    return tuple(Meaning(*values) for values in zip(*columns, strict=True))
