"""Refusing predictors that are the target in disguise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.own_table.columns import matches
from glacmb_grid.inputs.own_table.notes import Notes
from glacmb_grid.inputs.own_table.table import Floats

_BALANCE = re.compile(
    r"balance|bilanz|(^|[^a-z0-9])(smb|ela|aar|b_?a|b_?w|b_?s|b_?n|mb|mwe|bilan|dmdt|dmdtda|dhdt)([^a-z]|$)",
    re.IGNORECASE,
)
_OTHER_BALANCE = re.compile(r"energy|radiation|heat|water.?(vapou?r|balance)|imbalance", re.IGNORECASE)
_COPY = 1 - 1e-5  # |r| above which a column is a copy of the target
_ROWS_FOR_CORRELATION, _ROWS_TO_LOOK = 8, 500


def refuse_leaks(
    file: Path,
    columns: Mapping[str, Floats],
    target: Floats,
    predictors: Literal["all"] | Sequence[str],
    notes: Notes,
) -> None:
    """Raise an InputError for predictors that copy the target (scaled or shifted) or are named like a mass balance.

    Such a name is allowed if a pattern of the user that is itself like a mass balance matches it.
    """
    copies = [n for n, v in columns.items() if _is_copy(v, target)]
    if copies:
        raise InputError(
            f"{file}: {listing(copies)}",
            expected="predictors that are known also without a measurement",
            found="the target itself, scaled or shifted",
            remedy=f"add {listing(copies)} to `samples: {{exclude: [...]}}`",
        )
    named = [] if predictors == "all" else [p for p in predictors if _names_balance(p)]
    balances = [n for n in columns if _names_balance(n)]
    unnamed = [n for n in balances if not any(matches(n, p) for p in named)]
    if unnamed:
        raise InputError(
            f"{file}: {listing(unnamed)}",
            expected="predictors that are known also without a measurement",
            found="columns named like a mass balance",
            remedy="add them to `samples: {exclude: [...]}`, or, if they are not measured in the same year, name them "
            "in `samples: {predictors: ['*', ...]}`",
        )
    if balances:
        notes.warn(f"{file}: {listing(balances)} named like a mass balance, used as predictors because you named them")


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
