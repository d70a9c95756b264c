"""Monthly temperature, snowfall and precipitation in canonical units, and seasonal predictors computed from series."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.own_table.monthly import Series
from glacmb_grid.inputs.own_table.notes import Notes
from glacmb_grid.inputs.own_table.table import Bools, Floats, Integers
from glacmb_grid.inputs.units import temperature_unit, water_per_month
from glacmb_grid.physics import SNOW_SPREAD, SNOW_THRESHOLD, positive_temperature, snow_fraction
from glacmb_grid.vocabulary import MELTING_POINT, Meaning
from glacmb_grid.years import NORTHERN_START, SEASONS, SOUTHERN_START, calendar_months, days_in_month

_ANNUAL_WATER = (0.05, 10.0)  # m w.e., plausible annual amounts
_GUESSED_UNITS = ("m day-1", "m month-1", "mm day-1", "mm month-1")
_CLIPPED_SHARE = 0.05
_WARMEST_MONTH, _WARMEST_YEAR = 32.0, 18.0  # degrees Celsius, at a glacier or in its grid cell, in the mean of a table
_MILD_YEAR = 10.0  # degrees Celsius, a cold year in Fahrenheit
_FAHRENHEIT = ("degf", "f", "fahrenheit", "°f", "deg f", "degrees fahrenheit", "degree fahrenheit")
_KELVIN: dict[str, Callable[[Floats], Floats]] = {
    "K": lambda v: v,
    "degC": lambda v: v + MELTING_POINT,
    "degF": lambda v: (v - 32.0) / 1.8 + MELTING_POINT,
}
"""To K, in the order in which units are tried."""
_NOISE = 1e-3  # negative amounts up to this share of the largest come from the packing of files


@dataclass(frozen=True)
class Forcing:
    """Monthly climate by role, (row, month), in the order of the hydrological year.

    Temperature in K (`clipped`: frozen months are 0 degrees Celsius), snowfall and precipitation in m w.e. per month;
    `stems` and `units` hold the name of each series and its unit in the table.
    """

    temperature: Floats | None = None
    clipped: bool = False
    water: dict[str, Floats] = field(default_factory=dict)
    stems: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)


def northern_rows(latitude: Floats | None, size: int, needed: bool, notes: Notes) -> Bools:
    """Whether each row follows the northern hydrological year, (row,); all do if no latitude is known."""
    if latitude is None or not np.isfinite(latitude).any():
        if needed:
            notes.note("no latitude given: seasons are those of the northern hemisphere")
        return np.ones(size, bool)
    return np.asarray(np.where(np.isfinite(latitude), latitude, np.nanmean(latitude)) >= 0)


def in_hydrological_order(calendar: Floats, north: Bools) -> Floats:
    """Months from January to December in the order of the hydrological year, (row, month)."""
    orders = [np.array(calendar_months(first)) - 1 for first in (SOUTHERN_START, NORTHERN_START)]
    return np.take_along_axis(calendar, np.array(orders)[north.astype(int)], axis=1)


def days_of_months(year: Integers, north: Bools) -> Floats:
    """Days of the months of each row's year in the order of the hydrological year, (row, month)."""
    january = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]")
    calendar = days_in_month(january[:, None] + np.arange(12).astype("timedelta64[M]"))
    return in_hydrological_order(calendar.astype(np.float64), north)


def monthly_values(series: Series, numbers: Mapping[str, Floats], north: Bools) -> Floats:
    """Values of a series in the order of the hydrological year, (row, month)."""
    return in_hydrological_order(np.stack([numbers[c] for c in series.columns], axis=1), north)


def forcing_of(
    series: Sequence[Series], numbers: Mapping[str, Floats], days: Floats, north: Bools, file: Path, notes: Notes
) -> Forcing:
    """The series that have a role, in canonical units; implausible ones are left out, or an InputError if declared."""
    roles = {s.role: s for s in series if s.role}
    forcing = Forcing(stems={r: s.stem for r, s in roles.items()})
    if "temperature" in roles:
        values = monthly_values(roles["temperature"], numbers, north)
        kelvin, unit = _in_kelvin(values, roles["temperature"], file, notes)
        if kelvin is not None:
            clipped = _is_clipped(kelvin)
            if clipped:
                notes.note(
                    f"{roles['temperature'].stem} is clipped at the melting point: how cold a frozen month was is "
                    "unknown, and degree days are max(T, 0) x days"
                )
            forcing = replace(forcing, temperature=kelvin, clipped=clipped)
            forcing.units["temperature"] = unit
    for role in ("snowfall", "precipitation"):
        if role in roles:
            amount, unit = _in_metres(monthly_values(roles[role], numbers, north), roles[role], days, file, notes)
            if amount is not None:
                forcing.water[role], forcing.units[role] = amount, unit
    return forcing


def _in_kelvin(values: Floats, series: Series, file: Path, notes: Notes) -> tuple[Floats | None, str]:
    """Temperatures in K, (row, month), and their unit in the table; None if they cannot be temperatures."""
    if np.isnan(values).all():
        return None, ""
    if series.units:
        unit = _temperature_unit(series.units, series.stem)
        kelvin = _KELVIN[unit](values)
        if problem := _no_temperature(kelvin, unit):
            raise InputError(
                f"{file}: {series.stem}",
                expected="monthly temperatures within -90..60 degrees Celsius that differ between the months",
                found=problem,
                remedy=f"correct `samples: {{monthly: {{{series.stem}: {{units: ...}}}}}}`",
            )
        return kelvin, series.units
    problems = {unit: _no_temperature(read(values), unit) for unit, read in _KELVIN.items()}
    possible = [unit for unit, problem in problems.items() if not problem]
    declare = f"`samples: {{monthly: {{{series.stem}: {{columns: ..., units: %s}}}}}}`"
    if not possible:
        likely = "K" if float(np.nanmedian(values)) > 150 else "degC"
        notes.warn(
            f"{file}: {series.stem} not used as a temperature ({problems[likely]}): no degree days, no temperature "
            "index"
        )
        return None, ""
    unit = possible[0]
    told = f"{series.stem} read as {unit}; declare it with {declare % unit}"
    mild = unit == "degC" and "degF" in possible and float(np.nanmean(values)) > _MILD_YEAR
    if unit == "degF" or mild:
        notes.warn(f"{file}: {told}" + ("; also possible: degF" if mild else ""))
    else:
        notes.note(told)
    return _KELVIN[unit](values), unit


def _temperature_unit(text: str, stem: str) -> str:
    if " ".join(text.casefold().replace("_", " ").split()) in _FAHRENHEIT:
        return "degF"
    known = temperature_unit(text)
    if known is None:
        where = f"samples: monthly: {stem}: units"
        raise InputError(where, expected="K or degC (or degF)", found=repr(text), remedy="correct the unit")
    return known


def _no_temperature(kelvin: Floats, unit: str) -> str:
    """Why values cannot be monthly temperatures in a unit; empty if they can."""
    celsius = kelvin - MELTING_POINT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a month without any value
        usual = np.nanmean(celsius, axis=0)
    low, high = float(np.nanmin(celsius)), float(np.nanmax(celsius))
    if low < -90 or high > 60:
        return f"{low:.4g}..{high:.4g} degrees Celsius when read as {unit}"
    warmest, mean = float(np.nanmax(usual)), float(np.nanmean(usual))
    if warmest > _WARMEST_MONTH or (mean > _WARMEST_YEAR and not _is_clipped(kelvin)):
        return f"{mean:.3g} degrees Celsius in the mean, {warmest:.3g} in the warmest month, when read as {unit}"
    if unit != "degF" and not _is_clipped(kelvin) and np.nanmax(np.abs(usual)) < 0.5:
        return "monthly means all near 0, like anomalies or standardised values"
    if unit == "degF" and (mean < -35 or np.ptp(usual) < 2):
        return f"{mean:.3g} degrees Celsius in the mean when read as {unit}"
    return ""


def _is_clipped(kelvin: Floats) -> bool:
    frozen = np.abs(kelvin - MELTING_POINT) < 1e-3
    return bool(frozen.mean() >= _CLIPPED_SHARE and np.nanmin(kelvin) > MELTING_POINT - 1e-3)


def _in_metres(values: Floats, series: Series, days: Floats, file: Path, notes: Notes) -> tuple[Floats | None, str]:
    """Amounts in m w.e. per month, (row, month), and their unit in the table; None if no unit makes them plausible."""
    low, high = _ANNUAL_WATER
    units = [series.units] if series.units else list(_GUESSED_UNITS)
    factors = {u: water_per_month(u, days, f"samples: monthly: {series.stem}: units") for u in units}
    year = {u: _median_year(values * f) for u, f in factors.items()}
    plausible = [u for u in units if low <= year[u] <= high]
    negative = bool(np.nanmin(values, initial=0) < -_NOISE * np.nanmax(np.abs(values), initial=0))
    values = np.maximum(values, 0)
    if series.units and (negative or not low / 10 <= year[series.units] <= 2 * high):
        raise InputError(
            f"{file}: {series.stem}",
            expected=f"amounts of {low:g}..{high:g} m w.e. per year, none negative",
            found="negative amounts" if negative else f"{year[series.units]:.3g} m w.e. when read as {series.units}",
            remedy=f"correct `samples: {{monthly: {{{series.stem}: {{units: ...}}}}}}`",
        )
    if series.units:
        return values * factors[series.units], series.units
    if negative or not plausible:
        why = "negative values" if negative else "annual amounts implausible in all usual units"
        notes.warn(f"{file}: {series.stem} not used as {series.role} ({why}): the temperature index ignores it")
        return None, ""
    unit = min(plausible, key=lambda u: abs(np.log(year[u])))
    others = [f"{u} ({year[u]:.2g})" for u in plausible if u != unit]
    notes.warn(
        f"{file}: {series.stem} read as {unit}, {year[unit]:.2g} m w.e. in the median year"
        + (f"; also possible: {listing(others)}" if others else "")
        + f"; declare it with `samples: {{monthly: {{{series.stem}: {{columns: ..., units: {unit}}}}}}}`"
    )
    return values * factors[unit], unit


def _median_year(amounts: Floats) -> float:
    totals = amounts.sum(axis=1)
    return float(np.nanmedian(totals)) if np.isfinite(totals).any() else float("nan")


@dataclass(frozen=True)
class Derived:
    """A computed predictor, (row,), what it is, and the names of the series that it was computed from."""

    values: Floats
    meaning: Meaning
    series: tuple[str, ...]


def seasonal_predictors(
    series: Sequence[Series],
    numbers: Mapping[str, Floats],
    forcing: Forcing,
    days: Floats,
    north: Bools,
    spread: float,
) -> dict[str, Derived]:
    """Seasonal means of every series, degree days (K d) and, if the table has no snowfall, snowfall (m w.e.), by name.

    All is computed row by row and nothing is fitted, so no information passes from one row to another.
    """
    derived: dict[str, Derived] = {}
    for one in series:
        values = monthly_values(one, numbers, north)
        for season, months in SEASONS.items():
            meaning = Meaning(one.stem, "series", season, part="value")
            derived[meaning.name] = Derived(values[:, list(months)].mean(axis=1), meaning, (one.stem,))
    if forcing.temperature is None:
        return derived
    celsius = forcing.temperature - MELTING_POINT
    warmth = np.maximum(celsius, 0) if forcing.clipped else positive_temperature(celsius, spread)
    sums: dict[str, tuple[Floats, tuple[str, ...]]] = {"degree_days": (warmth * days, (forcing.stems["temperature"],))}
    if "precipitation" in forcing.water and "snowfall" not in forcing.stems:
        share = snow_fraction(celsius, SNOW_THRESHOLD, SNOW_SPREAD)
        if forcing.clipped:
            share = np.where(celsius <= 0, 1.0, share)
        both = (forcing.stems["precipitation"], forcing.stems["temperature"])
        sums["snowfall"] = (forcing.water["precipitation"] * share, both)
    for stem, (amount, names) in sums.items():
        for season, months in SEASONS.items():
            meaning = Meaning(stem, "series", season, part="value")
            derived.setdefault(meaning.name, Derived(amount[:, list(months)].sum(axis=1), meaning, names))
    return derived
