"""Units that files declare, turned into the canonical ones; accumulated variables into amounts per month."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.vocabulary import VARIABLES, Variable
from glacmb_grid.years import days_in_month

Stream = Literal["daily_mean", "hourly_mean", "monthly_total"]

_PER_DAY: dict[str, float] = {"second": 86400.0, "hour": 24.0, "day": 1.0}
_SPAN_OF_STREAM: dict[Stream, str] = {"daily_mean": "day", "hourly_mean": "hour", "monthly_total": "month"}


@dataclass(frozen=True)
class Unit:
    """canonical = value x factor + offset; `per` is the span that a rate refers to."""

    factor: float = 1.0
    offset: float = 0.0
    per: str | None = None


def _rates(units: dict[str, float]) -> dict[str, Unit]:
    spans = {"s-1": "second", "day-1": "day", "d-1": "day", "month-1": "month"}
    return {f"{unit} {suffix}": Unit(f, per=span) for unit, f in units.items() for suffix, span in spans.items()}


_CELSIUS = ("degC", "C", "°C", "celsius", "Celsius", "deg_C", "degrees_celsius", "degree_Celsius", "degrees C")
_LENGTH = {"m": Unit(), "metres": Unit(), "mm": Unit(1e-3), "cm": Unit(1e-2)}
_WATER = {"m of water equivalent": Unit(), "m w.e.": Unit(), "mm w.e.": Unit(1e-3), "kg m-2": Unit(1e-3)}
_WATER_RATES = _rates({"m": 1.0, "mm": 1e-3, "kg m-2": 1e-3})
_ENERGY = {"J m-2": Unit(), "MJ m-2": Unit(1e6)}
_ENERGY_RATES = {"W m-2": Unit(per="second")} | _rates({"J m-2": 1.0, "MJ m-2": 1e6})
_SHARE = dict.fromkeys(("1", "(0 - 1)", "0-1", "0 - 1", "", "dimensionless"), Unit())
_KNOWN: dict[str, dict[str, Unit]] = {
    "K": {"K": Unit(), "kelvin": Unit()} | dict.fromkeys(_CELSIUS, Unit(offset=273.15)),
    "m": _LENGTH | _WATER | _WATER_RATES,
    "J m-2": _ENERGY | _ENERGY_RATES,
    "1": _SHARE | {"%": Unit(1e-2), "percent": Unit(1e-2)},
    "%": {"%": Unit(), "percent": Unit(), "1": Unit(100.0), "(0 - 1)": Unit(100.0)},
    "Pa": {"Pa": Unit(), "hPa": Unit(100.0)},
    "kg m-3": {"kg m-3": Unit()},
    "m s-1": {"m s-1": Unit()},
}


def _units_of(variable: Variable) -> dict[str, Unit]:
    """What a variable may be given in: rates only where it accumulates, masses only where it is water."""
    if variable.name == "sde":
        return _LENGTH
    known = _KNOWN[variable.units]
    return {n: u for n, u in known.items() if u.per is None or variable.kind == "accumulated"}


def _spelled_alike(text: str) -> str:
    """`kg m**-2 s**-1`, `kg m^-2 s^-1` and `kg/m2/s` are one unit."""
    text = re.sub(r"/\s*([A-Za-z]+)(\d*)", lambda m: f" {m[1]}-{m[2] or 1}", text.replace("**", "").replace("^", ""))
    return " ".join(text.split())


def in_canonical_units(
    field: xr.DataArray, name: str, *, stream: Stream, declared: str | None = None, where: str
) -> xr.DataArray:
    """A variable in its canonical unit, accumulated ones as amounts per month.

    Parameters
    ----------
    field : xr.DataArray, (time, ...)
        With time at any instant of the month.
    name : str
        ERA5-Land short name.
    stream : {"daily_mean", "hourly_mean", "monthly_total"}
        What an accumulated variable holds whose unit does not say so itself; a rate such as `mm day-1` does.
    declared : str, optional
        Unit, instead of the attribute.
    where : str
        For errors.

    Raises
    ------
    InputError
        No unit, or one that this variable cannot have.
    """
    variable = VARIABLES[name]
    known = _units_of(variable)
    said = declared if declared is not None else field.attrs.get("units")
    unit = None if said is None else known.get(_spelled_alike(str(said)))
    if unit is None:
        raise InputError(
            where,
            expected=f"a unit among {', '.join(repr(k) for k in known if k)}",
            found="no `units` attribute" if said is None else f"unit {said!r}",
            remedy=f"declare it in the configuration: `climate: {{units: {{{name}: {variable.units}}}}}`",
        )
    values = field if (unit.factor, unit.offset) == (1, 0) else field * unit.factor + unit.offset
    span = unit.per or _SPAN_OF_STREAM[stream]
    if variable.kind == "accumulated" and span != "month":
        days = xr.DataArray(days_in_month(field["time"].values), dims="time")
        values = values * (days * _PER_DAY[span])
    return values.astype("float32").rename(name).assign_attrs(_attributes(variable))


def _attributes(variable: Variable) -> dict[str, str]:
    attrs = {"units": variable.units, "long_name": variable.long_name, "origin": variable.origin}
    if variable.standard_name:
        attrs["standard_name"] = variable.standard_name
    if variable.sign:
        attrs["comment"] = variable.sign
    if variable.kind == "accumulated":
        return attrs | {"cell_methods": "time: sum", "long_name": f"{variable.long_name}, amount per month"}
    return attrs | {"cell_methods": "time: mean"}
