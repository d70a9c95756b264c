"""Glaciers that a stage cannot process: listed with reasons, while the run continues with the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.disk import read_csv, write_csv
from glacmb_grid.errors import InputError, listing

FILE = "failed.csv"
COLUMNS = ["glacier", "stage", "variable", "reason"]


class Failure(NamedTuple):
    """One glacier that cannot be processed, the variable at fault, and the reason."""

    glacier: str
    variable: str
    reason: str


def failing(
    failed: npt.NDArray[np.bool_], glaciers: npt.NDArray[Any], variable: str, reasons: Sequence[str], error: InputError
) -> list[Failure]:
    """Failures of the marked glaciers.

    Parameters
    ----------
    failed : bool array, (glacier,)
    glaciers : array of str, (glacier,)
    variable : str
    reasons : sequence of str
        One for each failed glacier.
    error : InputError
        Raised if no glacier is left.
    """
    if len(failed) and failed.all():
        raise error
    ids = np.asarray(glaciers)[failed]
    return [Failure(str(g), variable, r) for g, r in zip(ids, reasons, strict=True)]


def surviving(glaciers: npt.NDArray[Any], failed: Mapping[str, str]) -> npt.NDArray[np.bool_]:
    """Which glaciers have not failed; `failed` gives the reason for each that has.

    Raises
    ------
    InputError
        If none is left, although each stage alone left some.
    """
    left = np.array([g not in failed for g in glaciers], dtype=bool)
    if not left.any():
        raise InputError(
            "glaciers",
            expected="at least one glacier with a valid climate and valid elevations",
            found=f"all {len(failed)} failed: {listing((f'{g} ({r})' for g, r in failed.items()), 4)}",
            remedy="give a climate and an elevation model with values under the same glaciers",
        )
    return left


def write_failures(folder: Path, stage: str, failures: Iterable[Failure]) -> None:
    """Write the failures of a stage as `failed.csv`, one line for each glacier, its first reason."""
    table = pd.DataFrame([(f.glacier, stage, f.variable, f.reason) for f in failures], columns=COLUMNS)
    write_csv(table.drop_duplicates("glacier").sort_values("glacier"), folder / FILE)


def read_failures(files: Iterable[Path]) -> pd.DataFrame:
    """Failures from the files that exist, in order, one line for each glacier."""
    parts = [read_csv(f, dtype=str, keep_default_na=False) for f in files if f.exists()]
    table = pd.concat([pd.DataFrame(columns=COLUMNS), *parts], ignore_index=True)
    return table.drop_duplicates("glacier", ignore_index=True)
