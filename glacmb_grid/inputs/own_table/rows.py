"""Which rows are read, and their glaciers, years, positions and balances, checked and in canonical units."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.balances.identifiers import cleaned, refuse_twins
from glacmb_grid.inputs.balances.judged import Said, judge_units, refuse_codes
from glacmb_grid.inputs.balances.seasonal import balance_columns, judge_seasons, refuse_season
from glacmb_grid.inputs.own_table.notes import Notes
from glacmb_grid.inputs.own_table.table import Floats, Table
from glacmb_grid.inputs.tables import DEGREES, Column
from glacmb_grid.inputs.units import TO_METRES, BalanceUnits, square_kilometres

_SMALLEST = 0.02  # m w.e., plausible bound of the largest annual balance in a table
_LARGEST_UNCERTAINTY = 10.0  # m w.e.


def rows_where(table: Table, chosen: Mapping[str, str], where: Mapping[str, object]) -> Table:
    """Rows with one of the given values in every column of `where`; an InputError if there are none."""
    for wanted, column in chosen.items():
        value = where[wanted]
        values = list(value) if isinstance(value, (list, tuple, set)) else [value]
        cells = table.texts(column)
        kept = np.isin([_comparable(c) for c in cells], [_comparable(str(v)) for v in values])
        if not kept.any():
            raise InputError(
                f"{table.file}: {column}",
                expected=f"rows with {listing(map(str, values))}, from `samples: {{where: ...}}`",
                found=f"only {listing(map(repr, dict.fromkeys(cells.tolist())), 12)}",
                remedy="correct the value in `samples: {where: ...}`",
            )
        table = table.only(kept)
    return table


def _comparable(text: str) -> str:
    """One spelling for `1`, `1.0` and `01`, and for `True` and `TRUE`."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text.casefold()


def rows_with_target(table: Table, column: str, units: str, missing: Collection[float] | None, notes: Notes) -> Table:
    """Rows with an observed balance (none of the `missing`); an InputError if there are none, or if one is text."""
    values, broken = table.floats(column)
    if broken.any():
        raise table.column(column).not_numbers(broken)
    blank = np.isnan(values) | np.isin(values, list(missing or ()))
    if blank.all():
        raise InputError(
            f"{table.file}: {column}",
            expected=f"observed balances in {units}",
            found=f"only blank cells in {len(blank)} rows",
            remedy="name the column of the balances with `samples: {target: ...}`",
        )
    if blank.any():
        notes.warn(
            f"{table.file}: left out {int(blank.sum())} of {len(blank)} rows whose {column} is blank, "
            f"in {table.place(blank)}"
        )
    return table.only(~blank)


def labels_of(table: Table, at: Mapping[str, str]) -> dict[str, Any]:
    """Year (int), and glacier, group and other labels (str) by role, (row,); blanks and bad years are InputErrors."""
    problems = Problems()
    labels: dict[str, Any] = {}
    with problems.collect():
        labels["glacier"] = identifiers(table, at["glacier"])
        table.column(at["glacier"]).require_filled(np.asarray(labels["glacier"] == ""))
        refuse_twins(
            labels["glacier"],
            f"{table.file}: {at['glacier']}",
            "write the identifier of each glacier in one way: a glacier under two would stand on both sides of a split",
        )
    with problems.collect():
        labels["year"] = table.column(at["year"]).whole_years(table.floats(at["year"])[0])
    problems.raise_if_any()
    for role in ("group", "fold_logo", "fold_loyo"):
        if role in at:
            labels[role] = identifiers(table, at[role])
    for role in ("region", "name", "time_system"):
        if role in at:
            labels[role] = table.texts(at[role])
    if "group" not in labels:
        labels["group"] = labels["glacier"].copy()
    labels["group"] = np.where(labels["group"] == "", labels["glacier"], labels["group"])
    return labels


def judge_groups(table: Table, at: Mapping[str, str], labels: Mapping[str, Any], notes: Notes) -> None:
    """Tell glaciers that lie in several groups; an InputError if most do: then a split withholds no whole glacier."""
    if "group" not in at:
        return
    several = pd.Series(labels["group"]).groupby(labels["glacier"]).nunique()
    names = [str(g) for g in several.index[several > 1]]
    told = f"{len(names)} of {len(several)} glaciers in several groups: {listing(map(repr, names))}"
    if len(names) > 0.5 * len(several):
        raise InputError(
            f"{table.file}: {at['group']}",
            expected="groups of whole glaciers, from `samples: {group: ...}`",
            found=told,
            remedy="name a column with one value for each glacier (a region, a grid cell), or leave `group` out",
        )
    if names:
        notes.warn(
            f"{table.file}: {at['group']}: {told}; a fold that withholds one group withholds these glaciers whole"
        )


def identifiers(table: Table, column: str) -> Any:
    """Cells without the `.0` that spreadsheets append to integers and what cannot be seen; leading zeros stay."""
    stems = ((text, text.removesuffix(".0")) for text in map(cleaned, table.texts(column)))
    return np.array([stem if stem.isdigit() else text for text, stem in stems], dtype=object)


def values_of(
    table: Table,
    at: Mapping[str, str],
    units: BalanceUnits,
    limits: tuple[float, float],
    missing: Collection[float] | None,
    glacier: npt.ArrayLike,
    notes: Notes,
) -> dict[str, Floats]:
    """Numbers by role, (row,): balances in m w.e., degrees, area, elevation; InputErrors for impossible values.

    `limits` are those of plausible balances, m w.e.; `glacier` labels the rows.
    """
    problems = Problems()
    values: dict[str, Floats] = {}
    balances = ["target", "uncertainty", *(r for r in at if r.startswith("given_"))]
    for role in (*balances, "latitude", "longitude", "area", "elevation", "orography"):
        if role not in at:
            continue
        with problems.collect():
            numbers, broken = table.floats(at[role])
            broken |= np.isinf(numbers)
            if broken.any():
                raise table.column(at[role]).not_numbers(broken)
            values[role] = numbers * (TO_METRES[units] if role in balances else 1.0)
    problems.raise_if_any()
    with problems.collect():
        column = table.column(at["target"])
        said = Said(units, "samples: {target_units: %s}", "samples: {missing: [%s]}")
        _check_spread(values["target"], units, column)
        odd = refuse_codes(values["target"] / TO_METRES[units], column, said, limits) if missing is None else []
        odd += judge_units(values["target"], glacier, column, said, limits)
        odd += _judge_seasons(table, at["target"], values["target"], glacier, units)
        for note in odd:
            notes.note(note)
    if "uncertainty" in values:
        with problems.collect():
            table.column(at["uncertainty"]).require_uncertainties(values["uncertainty"], _LARGEST_UNCERTAINTY, units)
    if "area" in values:
        values["area"], in_m2 = square_kilometres(values["area"])
        if in_m2:
            notes.warn(f"{table.column(at['area']).where}: areas are in m2, it seems, and are taken as such")
    for role in ("elevation", "orography"):
        if role in values:
            with problems.collect():
                _check_elevation(values[role], table.column(at[role]))
    with problems.collect():
        for role in ("latitude", "longitude"):
            if role in values:
                table.column(at[role]).require_degrees(values[role], *DEGREES[role])
    problems.raise_if_any()
    if "longitude" in values:
        values["longitude"] = np.where(values["longitude"] > 180, values["longitude"] - 360, values["longitude"])
    return values


def _judge_seasons(table: Table, target: str, metres: Floats, glacier: npt.ArrayLike, units: BalanceUnits) -> list[str]:
    key = "samples: {target: %s}"
    column = table.column(target)
    refuse_season(target, table.columns, column.where, key)
    cells = {n: table.floats(n)[0] for n in balance_columns(table.columns, target)}
    others = {n: values * TO_METRES[units] for n, values in cells.items() if np.isfinite(values).any()}
    return judge_seasons(metres, glacier, column, others, key)


def _check_elevation(metres: Floats, column: Column) -> None:
    wrong = ~((metres > -500) & (metres < 9000))
    if wrong.any():
        raise InputError(
            column.where,
            expected="the elevation of every row within -500..9000 m",
            found=f"{listing(map(repr, column.cells(wrong)), 4)} in {column.place(wrong)}",
            remedy=("change their sign if they are depths; else " if (metres[wrong] < 0).all() else "")
            + "correct these cells, or remove the rows",
        )


def _check_spread(metres: Floats, units: BalanceUnits, column: Column) -> None:
    largest = float(np.abs(metres).max())
    if 0 < largest < _SMALLEST:
        raise InputError(
            column.where,
            expected=f"some annual balances beyond +-{_SMALLEST:g} m w.e. when read as {units}",
            found=f"none beyond {largest:.2g} m w.e.",
            remedy=f"declare `samples: {{target_units: {'mm w.e.' if units == 'm w.e.' else 'm w.e.'}}}`",
        )
