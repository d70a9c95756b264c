"""Whether balances are of a whole year: columns of a season by their names, and winter balances by their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.tables import Column

Floats = npt.NDArray[np.float64]

_SEASON = re.compile(
    r"winter|summer|sommer|hiver|(?<![a-z])(b_?[ws]|[ws]_?b|[ac]_?[ws]|[\u00e9e]t[\u00e9e]|accumulation|ablation)(?![a-z])"
)
_YEAR = re.compile(r"annual|net|year|jahr|(?<![a-z])(b_?[an])(?![a-z])")
_WINTER = re.compile(r"winter|hiver|(?<![a-z])(b_?w|w_?b)(?![a-z])")
_SUMMER = re.compile(r"summer|sommer|[\u00e9e]t[\u00e9e]|(?<![a-z])(b_?s|s_?b)(?![a-z])")
_BALANCE = re.compile(r"balan|bilan|(?<![a-z])(b_?[answ]|[ws]_?b|s?mb)(?![a-z])")
_NO_BALANCE = re.compile(r"unc|err|sig|std|_sd|(?<![a-z])n(?![a-z])|date|energy|radiation|heat")
_GAIN = 0.3  # m w.e.: nearly every winter balance is above, few annual ones
_NEARLY_ALL, _ROWS, _ROWS_OF_GLACIER = 0.9, 8, 5
_EQUAL, _SHARE_EQUAL = 3, 0.2
_ROUNDED = 0.02  # m w.e.


def is_of_season(name: str) -> bool:
    """Whether a column is named as the balance of a season."""
    return bool(_SEASON.search(name.lower())) and not _YEAR.search(name.lower())


def balance_columns(names: Iterable[str], chosen: str) -> list[str]:
    """Other columns that are named as balances of a year or a season."""
    return [
        n
        for n in names
        if n != chosen
        and _BALANCE.search(n.lower())
        and (is_of_season(n) or _YEAR.search(n.lower()))
        and not _NO_BALANCE.search(n.lower())
    ]


def refuse_season(name: str, names: Iterable[str], where: str, key: str) -> None:
    """Raise an InputError if the column of annual balances is named as one of a season.

    Parameters
    ----------
    name : str
    names : iterable of str
        All columns of the table.
    where : str
        File and column.
    key : str
        The setting that names the column, with `%s` for its name.
    """
    if not is_of_season(name):
        return
    annual = [n for n in balance_columns(names, name) if not is_of_season(n)]
    raise InputError(
        where,
        expected="balances of a whole year",
        found=f"a column that is named as the balance of a season, from `{key % name}`",
        remedy=(f"`{key % annual[0]}`" if annual else "name the column of annual balances")
        + f"; if {name!r} holds balances of a whole year, rename it",
    )


def judge_seasons(
    metres: Floats, glacier: npt.ArrayLike, column: Column, others: Mapping[str, Floats], key: str
) -> list[str]:
    """Notes on balances that look like winter balances; an InputError where the table's other columns say so too.

    Parameters
    ----------
    metres : float64 array, (row,), m w.e.
    glacier : array, (row,)
    column : Column
        Of the balances.
    others : mapping
        Name -> values, (row,), m w.e., NaN if missing, of other columns of balances by year or season.
    key : str
        The setting that names the column of balances, with `%s` for a name.

    Returns
    -------
    list of str
    """
    notes = _judge_equals(metres, column, others)
    gains = metres > _GAIN
    told = f"{int(gains.sum())} of {len(metres)} balances above +{_GAIN:g} m w.e."
    if len(metres) >= _ROWS and gains.mean() >= _NEARLY_ALL and not _are_sums(metres, others):
        if others:
            annual = next((n for n in others if _YEAR.search(n.lower())), "COLUMN")
            raise InputError(
                column.where,
                expected="annual balances, of which some are losses",
                found=f"{told}, as winter balances are, such as in {column.place(gains)}; the table also has "
                f"{listing(others)}",
                remedy=f"name the column of annual balances, `{key % annual}`; if all these are annual, remove the "
                "other columns",
            )
        return [*notes, f"{column.where}: {told}: are these winter balances? Annual ones are needed"]
    labels = np.asarray(glacier).astype(str)
    mine = [(name, labels == name) for name in np.unique(labels)]
    winters = [name for name, rows in mine if rows.sum() >= _ROWS_OF_GLACIER and gains[rows].all()]
    if winters:
        rows = np.isin(labels, winters)
        notes.append(
            f"{column.where}: all balances of {listing(map(repr, winters))} are above +{_GAIN:g} m w.e.: are these "
            f"winter balances? {column.place(rows)}"
        )
    return notes


def _judge_equals(metres: Floats, column: Column, others: Mapping[str, Floats]) -> list[str]:
    """Winter balances that stand in the place of annual ones: the same number in both columns."""
    for name in (n for n in others if is_of_season(n) and _WINTER.search(n.lower())):
        both = np.isfinite(others[name]) & (others[name] > 0)
        same = both & np.isclose(metres, others[name], rtol=1e-9, atol=1e-9)
        if same.sum() < _EQUAL:
            continue
        told = f"{int(same.sum())} of {int(both.sum())} balances equal to those of {name}"
        if same.sum() < _SHARE_EQUAL * both.sum():
            return [f"{column.where}: {told}: are these winter balances? {column.place(same)}"]
        raise InputError(
            column.where,
            expected="annual balances",
            found=f"{told}, in {column.place(same)}",
            remedy="correct or empty these cells: a winter balance is no annual one",
        )
    return []


def _are_sums(metres: Floats, others: Mapping[str, Floats]) -> bool:
    """Whether balances are mostly the sums of those of winter and summer."""
    winter = next((v for n, v in others.items() if is_of_season(n) and _WINTER.search(n.lower())), None)
    summer = next((v for n, v in others.items() if is_of_season(n) and _SUMMER.search(n.lower())), None)
    if winter is None or summer is None:
        return False
    off = np.abs(winter + summer - metres)
    return bool(np.isfinite(off).any() and np.nanmedian(off) < _ROUNDED)
