"""Decimal commas and thousands separators: columns of text with them, written as numbers with a decimal point."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

_COMMA = re.compile(r"[+-]?(?!(?:[1-9]\d{0,2})(?:,\d{3})+$)\d*,\d+(?:[eE][+-]?\d+)?|[+-]?\d{1,3}(?:\.\d{3})+,\d+")
_POINT = re.compile(r"[+-]?(?!(?:[1-9]\d{0,2})(?:\.\d{3})+$)\d*\.\d+(?:[eE][+-]?\d+)?|[+-]?\d{1,3}(?:,\d{3})+\.\d+")
_EITHER_COMMA = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")
_OF_COMMAS = re.compile(r"[+-]?(?:\d*|\d{1,3}(?:\.\d{3})+),\d+(?:[eE][+-]?\d+)?")
_IDENTIFIER = re.compile(r"(?:^|[^a-z])(?:id|ids|site|rgi|wgms|glims|name)(?![a-z])|(?:rgi|fog|wgms|glims|glacier)_?id")


def has_decimal_commas(cells: Iterable[str]) -> bool:
    """Whether cells are numbers with a comma that cannot stand for thousands: 0,5 or -0,52 or 1.234,5 but not 1,234."""
    return any(_COMMA.fullmatch(c) for c in cells)


def with_points(table: pd.DataFrame) -> tuple[dict[str, list[str]], list[str]]:
    """The columns of a table in which commas are decimal, with points instead.

    A column is taken for one with decimal commas if one of its numbers can be nothing else and none of them has a
    decimal point; or if its numbers could be either (1,234) and other columns are such and none has decimal points. In
    a table with decimal commas only, 1.234 beside smaller whole numbers is 1234.

    Parameters
    ----------
    table : DataFrame
        Cells as stripped text.

    Returns
    -------
    columns : dict of list of str
        Only those that change.
    thousands : list of str
        Names of columns without a comma of which points were taken for thousands separators.
    """
    unique = {str(n): [c for c in table[n].unique() if c] for n in table.columns}
    commas = {n for n, cells in unique.items() if has_decimal_commas(cells)}
    if not commas:
        return {}, []
    points = {n for n, cells in unique.items() if any(_POINT.fullmatch(c) for c in cells)}
    taken = commas - points
    thousands = []
    if not points:
        taken |= {n for n, cells in unique.items() if any(_EITHER_COMMA.fullmatch(c) for c in cells)}
        thousands = [n for n, cells in unique.items() if n not in taken and _are_thousands(n, cells)]
    changed = {n: {c: _pointed(c) for c in unique[n]} | {"": ""} for n in [*taken, *thousands]}
    return {n: [pointed[c] for c in table[n]] for n, pointed in changed.items()}, thousands


def _are_thousands(name: str, cells: list[str]) -> bool:
    grouped = any(_THOUSANDS.fullmatch(c) for c in cells)
    whole = all(_THOUSANDS.fullmatch(c) or re.fullmatch(r"[+-]?\d{1,3}", c) for c in cells)
    return grouped and whole and not _IDENTIFIER.search(name.lower())


def _pointed(cell: str) -> str:
    if _OF_COMMAS.fullmatch(cell):
        return cell.replace(".", "").replace(",", ".")
    return cell.replace(".", "") if _THOUSANDS.fullmatch(cell) else cell
