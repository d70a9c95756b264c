"""Refusing predictors that are the target in disguise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.own_table.columns import matches
from glacmb_grid.inputs.own_table.disguises import Disguise, disguises
from glacmb_grid.inputs.own_table.notes import Notes
from glacmb_grid.inputs.own_table.table import Floats

_BALANCE = re.compile(
    r"balance|bilanz|(^|[^a-z0-9])(smb|ela|aar|b_?a|b_?w|b_?s|b_?n|mb|mwe|bilan|dmdt|dmdtda|dhdt)([^a-z]|$)",
    re.IGNORECASE,
)
_OTHER_BALANCE = re.compile(r"energy|radiation|heat|water.?(vapou?r|balance)|imbalance", re.IGNORECASE)
_COPY = 1 - 1e-5  # |r| above which a column is a copy of the target
_ROWS_FOR_CORRELATION, _ROWS_TO_LOOK = 8, 500
_TOLD, _REFUSED = 0.95, 0.98  # R2 with the target
_TOLD_WITHIN, _REFUSED_WITHIN = 0.98, 0.995  # within glaciers, where one driver may tell much of a few years
_EXPECTED = "predictors that are known also without a measurement"


def refuse_leaks(
    file: Path,
    columns: Mapping[str, Floats],
    target: Floats,
    labels: Mapping[str, Any],
    predictors: Literal["all"] | Sequence[str],
    allowed: Sequence[str],
    notes: Notes,
) -> None:
    """Raise an InputError for predictors that copy or nearly tell the target, or are named like a mass balance.

    A linear fit or a rank that tells 0.95 of the target's variance is a warning, from 0.98 on an error unless the
    columns are `allowed`; what tells it within glaciers only from 0.98 and 0.995 on. A name like a mass balance is
    allowed if a pattern of the user that is itself like a mass balance matches it.

    Raises
    ------
    InputError or InputErrors
    """
    problems = Problems()
    left = {n: v for n, v in columns.items() if not any(matches(n, p) for p in allowed)}
    copies = [n for n, v in left.items() if _is_copy(v, target)]
    if copies:
        with problems.collect():
            raise InputError(
                f"{file}: {listing(copies)}",
                expected=_EXPECTED,
                found="the target itself, scaled or shifted",
                remedy=f"add {listing(copies)} to `samples: {{exclude: [...]}}`",
            )
    named = [] if predictors == "all" else [p for p in predictors if _names_balance(p)]
    named += [p for p in allowed if p != "*"]
    balances = [n for n in columns if n not in copies and _names_balance(n)]
    unnamed = [n for n in balances if not any(matches(n, p) for p in named)]
    if unnamed:
        with problems.collect():
            raise InputError(
                f"{file}: {listing(unnamed)}",
                expected=_EXPECTED,
                found="columns named like a mass balance",
                remedy="add them to `samples: {exclude: [...]}`, or, if they are not measured in the same year, name "
                "them in `samples: {predictors: ['*', ...]}`",
            )
    rest = {n: v for n, v in columns.items() if n not in copies and n not in unnamed}
    for one in disguises(rest, target, labels["glacier"], labels["year"], _TOLD):
        with problems.collect():
            _judge(file, one, set(left), notes)
    problems.raise_if_any()
    if balances:
        notes.warn(f"{file}: {listing(balances)} named like a mass balance, used as predictors because you named them")


def _judge(file: Path, one: Disguise, judged: set[str], notes: Notes) -> None:
    """Warn of columns that tell the target, or raise an InputError if they tell nearly all of it."""
    names = listing(one.columns, 12)
    if one.within and one.r2 < _TOLD_WITHIN:
        return
    told = f"R2 {one.r2:.3f} with the target by {one.how}"
    refused = [n for n in one.columns if n in judged]
    if one.r2 > (_REFUSED_WITHIN if one.within else _REFUSED) and refused:
        raise InputError(
            f"{file}: {names}",
            expected=_EXPECTED,
            found=f"{told}: closer than weather and topography come",
            remedy=f"if they were measured with the balance, `samples: {{exclude: [{', '.join(one.columns)}]}}`; if "
            f"they were not, `samples: {{allow: [{', '.join(refused)}]}}`",
        )
    notes.warn(f"{file}: {names}: {told}; leave them out, `samples: {{exclude: [...]}}`, if they were measured with it")


def _names_balance(name: str) -> bool:
    return bool(_BALANCE.search(name)) and not _OTHER_BALANCE.search(name)


def _is_copy(values: Floats, target: Floats) -> bool:
    known = np.isfinite(values)
    count = int(known.sum())
    x, y = values[known], target[known]
    if count < 2 or not np.ptp(y):
        return False
    if count < _ROWS_FOR_CORRELATION:
        return any(np.allclose(x * factor, y, rtol=1e-6, atol=1e-12) for factor in (1, 1e-3, 1e3))
    return _is_affine(x[:_ROWS_TO_LOOK], y[:_ROWS_TO_LOOK]) and _is_affine(x, y)


def _is_affine(x: Floats, y: Floats) -> bool:
    """Whether each is a scaled and shifted copy of the other, except for rounding."""
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return size > 0 and abs(float(x @ y)) > _COPY * size
