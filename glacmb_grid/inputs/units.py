"""Spellings of units, conversion to canonical units, and of accumulated variables to amounts per month."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.vocabulary import STANDARD_GRAVITY, VARIABLES, Variable
from glacmb_grid.vocabulary import BalanceUnits as BalanceUnits
from glacmb_grid.years import days_in_month

Floats = npt.NDArray[np.float64]
TO_METRES: dict[BalanceUnits, float] = {"mm w.e.": 1e-3, "m w.e.": 1.0, "kg m-2": 1e-3, "cm w.e.": 1e-2}
"""Factors from the units of observed balances to m w.e."""
Stream = Literal["daily_mean", "hourly_mean", "monthly_total"]

_AREA_IN_M2 = 5e3  # no glacier has so many km2, and hardly one so few m2
_PER_DAY: dict[str, float] = {"second": 86400.0, "hour": 24.0, "day": 1.0}
_SPAN_OF_STREAM: dict[Stream, str] = {"daily_mean": "day", "hourly_mean": "hour", "monthly_total": "month"}


class UndeclaredStreamError(InputError):
    """Amounts of which neither the unit nor the caller says what they are sums over."""


@dataclass(frozen=True)
class Unit:
    """canonical = value x factor + offset; `per` is the time span of a rate, None for an amount."""

    factor: float = 1.0
    offset: float = 0.0
    per: str | None = None


def _rates(units: dict[str, float]) -> dict[str, Unit]:
    spans = {"s-1": "second", "hour-1": "hour", "day-1": "day", "month-1": "month"}
    return {f"{unit} {suffix}": Unit(f, per=span) for unit, f in units.items() for suffix, span in spans.items()}


_CELSIUS = (
    *("degC", "C", "°C", "celsius", "Celsius", "deg_C", "degrees_celsius", "degree_Celsius", "degrees C"),
    *("degrees Celsius", "degrees Celcius", "degrees", "degree", "deg C", "Degrees C", "CELSIUS"),
)
_LENGTH = {"m": Unit(), "metres": Unit(), "mm": Unit(1e-3), "cm": Unit(1e-2)}
_LENGTH |= dict.fromkeys(("millimeters", "millimeter", "millimetres", "l m-2"), Unit(1e-3))
_WATER = {"m of water equivalent": Unit(), "m w.e.": Unit(), "mm w.e.": Unit(1e-3), "kg m-2": Unit(1e-3)}
_WATER_RATES = _rates({"m": 1.0, "mm": 1e-3, "cm": 1e-2, "kg m-2": 1e-3})
_ENERGY = {"J m-2": Unit(), "MJ m-2": Unit(1e6)}
_ENERGY_RATES = {"W m-2": Unit(per="second")} | _rates({"J m-2": 1.0, "MJ m-2": 1e6})
_SHARE = dict.fromkeys(("1", "(0 - 1)", "0-1", "0 - 1", "", "dimensionless"), Unit())
_KNOWN: dict[str, dict[str, Unit]] = {
    "K": {"K": Unit(), "kelvin": Unit()} | dict.fromkeys(_CELSIUS, Unit(offset=273.15)),
    "m": _LENGTH | _WATER | _WATER_RATES,
    "J m-2": _ENERGY | _ENERGY_RATES,
    "K d": {"K d": Unit(per="month")},
    "1": _SHARE | {"%": Unit(1e-2), "percent": Unit(1e-2)},
    "%": {"%": Unit(), "percent": Unit(), "1": Unit(100.0), "(0 - 1)": Unit(100.0)},
    "Pa": {"Pa": Unit(), "hPa": Unit(100.0)},
    "kg m-3": {"kg m-3": Unit()},
    "m s-1": {"m s-1": Unit()},
}
_SURFACE_HEIGHT = dict.fromkeys(("m2 s-2", "J kg-1"), Unit(1 / STANDARD_GRAVITY)) | dict.fromkeys(
    ("m", "metres", "gpm"), Unit()
)
_ALIASES = {"h-1": "hour-1", "d-1": "day-1", "mon-1": "month-1"}


def _units_of(variable: Variable) -> dict[str, Unit]:
    """Units that a variable may have: rates only for accumulated variables, snow depth only in lengths."""
    if variable.name == "sde":
        return _LENGTH
    known = _KNOWN[variable.units]
    return {n: u for n, u in known.items() if u.per is None or variable.kind == "accumulated"}


def _spelled_alike(text: str) -> str:
    """One spelling for `kg m**-2 s**-1`, `kg m^-2 s^-1` and `kg/m2/s`, or for `mm d-1` and `mm/day`."""
    text = re.sub(r"/\s*([A-Za-z]+)(\d*)", lambda m: f" {m[1]}-{m[2] or 1}", text.replace("**", "").replace("^", ""))
    return " ".join(_ALIASES.get(word, word) for word in text.split())


def temperature_unit(text: str) -> Literal["K", "degC"] | None:
    """The temperature unit that a text in any case spells, None if it spells none."""
    known = {name.casefold(): unit for name, unit in _KNOWN["K"].items()}
    unit = known.get(_spelled_alike(text.casefold()))
    return None if unit is None else "degC" if unit.offset else "K"


def water_per_month(text: str, days: Floats, where: str) -> Floats:
    """Factor from a unit such as `mm w.e. / month` to m w.e. per month, (row, month); an InputError for other units."""
    rate = _WATER_RATES.get(_spelled_alike(re.sub(r"w\.e\.|of water equivalent", "", text.casefold())))
    if rate is None or rate.per is None:
        raise InputError(
            where,
            expected="a rate of water such as m day-1, mm month-1 or kg m-2 s-1",
            found=repr(text),
            remedy="give a length per time, such as `mm month-1`",
        )
    return rate.factor * (np.ones_like(days) if rate.per == "month" else days * _PER_DAY[rate.per])


def square_kilometres(area: Floats) -> tuple[Floats, bool]:
    """Areas of glaciers in km2, and whether they were in m2, for which no area in km2 can be taken."""
    known = area[np.isfinite(area)]
    in_m2 = bool(len(known)) and float(np.median(known)) >= _AREA_IN_M2
    return (area / 1e6 if in_m2 else area), in_m2


def is_water(unit: object) -> bool:
    """Whether a unit is one of amounts or rates of water."""
    return _spelled_alike(str(unit)) in _KNOWN["m"]


def is_height(unit: object) -> bool:
    """Whether a unit is one of a geopotential or a height of a surface."""
    return _spelled_alike(str(unit)) in _SURFACE_HEIGHT


def height_factor(unit: object, where: str) -> float:
    """Factor from geopotential (m2 s-2) or height to height in m; an InputError for another unit or none."""
    known = _SURFACE_HEIGHT.get(_spelled_alike(str(unit)))
    if known is None:
        raise InputError(
            where,
            expected="unit m2 s-2 (geopotential) or m (height)",
            found="no `units` attribute" if unit is None else f"unit {unit!r}",
            remedy="declare it in the configuration: `climate: {units: {z: m2 s-2}}`",
        )
    return known.factor


def in_canonical_units(
    field: xr.DataArray, name: str, *, stream: Stream | None, declared: str | None = None, where: str
) -> xr.DataArray:
    """A variable in its canonical unit; an accumulated variable as amounts per month.

    Parameters
    ----------
    field : xr.DataArray, (time, ...)
        `time` may be any instant of the month.
    name : str
        ERA5-Land short name.
    stream : {"daily_mean", "hourly_mean", "monthly_total"}, optional
        What an accumulated variable holds if its unit is an amount; ignored if the unit is a rate (`mm day-1`).
    declared : str, optional
        Unit to use in place of the `units` attribute.
    where : str
        File and variable, for errors.

    Raises
    ------
    InputError
        No unit, or a unit that this variable cannot have; an amount of which nothing says what it is a sum over.
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
    if variable.kind != "accumulated":
        return values.astype("float32").rename(name).assign_attrs(_attributes(variable))
    if unit.per is None and stream is None:
        raise undeclared_stream(f"{where}: {said}")
    span = unit.per or _SPAN_OF_STREAM[stream or "daily_mean"]
    if span != "month":
        days = xr.DataArray(days_in_month(field["time"].values), dims="time")
        values = values * (days * _PER_DAY[span])
    declared_stream = {"stream": stream} if unit.per is None else {}
    return values.astype("float32").rename(name).assign_attrs(_attributes(variable) | declared_stream)


def undeclared_stream(found: str) -> UndeclaredStreamError:
    """The error for an amount whose unit does not say what it is a sum over."""
    return UndeclaredStreamError(
        "climate.accumulated",
        expected=f"this key, one of {', '.join(_SPAN_OF_STREAM)}: the unit does not say what the amounts are sums over",
        found=found,
        remedy="add `climate: {accumulated: daily_mean}` for monthly means of ERA5 and ERA5-Land; hourly_mean or "
        "monthly_total where precipitation is the mean of hourly sums or the sum of the month",
    )


def _attributes(variable: Variable) -> dict[str, str]:
    attrs = {"units": variable.units, "long_name": variable.long_name, "origin": variable.origin}
    if variable.standard_name:
        attrs["standard_name"] = variable.standard_name
    if variable.sign:
        attrs["comment"] = variable.sign
    if variable.kind == "accumulated":
        return attrs | {"cell_methods": "time: sum", "long_name": f"{variable.long_name}, amount per month"}
    return attrs | {"cell_methods": "time: mean"}
