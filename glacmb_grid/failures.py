"""Glaciers that a stage could not work on: listed with their reasons, while the rest goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.errors import InputError

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


def write_failures(folder: Path, stage: str, failures: Iterable[Failure]) -> None:
    """Write the failures of a stage as `failed.csv`, one line for each glacier, its first reason."""
    table = pd.DataFrame([(f.glacier, stage, f.variable, f.reason) for f in failures], columns=COLUMNS)
    table.drop_duplicates("glacier").sort_values("glacier").to_csv(folder / FILE, index=False)


def read_failures(files: Iterable[Path]) -> pd.DataFrame:
    """The failures in files that exist, in their order, one line for each glacier."""
    parts = [pd.read_csv(f, dtype=str, keep_default_na=False) for f in files if f.exists()]
    table = pd.concat([pd.DataFrame(columns=COLUMNS), *parts], ignore_index=True)
    return table.drop_duplicates("glacier", ignore_index=True)
