"""Glaciers that a stage could not work on: listed with their reasons, while the rest goes on."""

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
    """One glacier that cannot be worked on, the variable that is at fault, and why."""

    glacier: str
    variable: str
    reason: str


def failing(
    poor: npt.NDArray[np.bool_], glaciers: npt.NDArray[Any], variable: str, reasons: Sequence[str], error: InputError
) -> list[Failure]:
    """The glaciers marked as poor.

    Parameters
    ----------
    poor : bool array, (glacier,)
    glaciers : array of str, (glacier,)
    variable : str
    reasons : sequence of str
        One for each of the poor.
    error : InputError
        Raised where no glacier is left.
    """
    if len(poor) and poor.all():
        raise error
    ids = np.asarray(glaciers)[poor]
    return [Failure(str(g), variable, r) for g, r in zip(ids, reasons, strict=True)]


def surviving(glaciers: npt.NDArray[Any], failed: Mapping[str, str]) -> npt.NDArray[np.bool_]:
    """Which glaciers are not among those that failed, each with its reason.

    Raises
    ------
    InputError
        Where none is left, though each stage alone left some.
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
    """The failures in files that exist, in their order, one line for each glacier."""
    parts = [read_csv(f, dtype=str, keep_default_na=False) for f in files if f.exists()]
    table = pd.concat([pd.DataFrame(columns=COLUMNS), *parts], ignore_index=True)
    return table.drop_duplicates("glacier", ignore_index=True)
