"""Rows by number: glacier, group and year of every sample, and whole labels dealt to parts."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.folds.space import unit_vectors

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]

BLANK = ("", "nan", "NaN", "None", "<NA>", "NaT")


def groups_of(samples: xr.Dataset) -> Texts:
    """What `logo` leaves out, (sample): the coordinate `group`, or the glacier where `group` is absent or blank."""
    glacier = texts(samples["glacier"].values)
    if "group" not in samples.coords:
        return glacier
    group = texts(samples["group"].values)
    return np.asarray(np.where(np.isin(group, BLANK), glacier, group))


def texts(values: npt.NDArray[Any]) -> Texts:
    """Labels as text; whole numbers that were read as floats are written without a decimal point."""
    if values.dtype.kind == "f" and (np.isnan(values) | (values % 1 == 0)).all():
        return np.array(["nan" if np.isnan(v) else str(int(v)) for v in values], dtype=str)
    return values.astype(str)


@dataclass(frozen=True)
class Rows:
    """Labels of the rows that folds may use (the free ones) as numbers, (row,), and their names."""

    samples: xr.Dataset
    free: Bools
    glacier: Codes
    group: Codes
    year: Codes
    unit: Codes  # glacier-years, never split between fit and score
    names: dict[str, list[str]]  # of groups and years

    @classmethod
    def of(cls, samples: xr.Dataset, free: Bools) -> Rows:
        """From the samples that are marked free."""
        glacier = pd.factorize(texts(samples["glacier"].values[free]), sort=True)[0].astype(np.int64)
        group, groups = pd.factorize(groups_of(samples)[free], sort=True)
        year, years = pd.factorize(samples["year"].values[free].astype(np.int64), sort=True)
        unit = pd.factorize(glacier * len(years) + year, sort=True)[0].astype(np.int64)
        names = {"group": [str(g) for g in groups], "year": [str(y) for y in years]}
        return cls(samples, free, glacier, group.astype(np.int64), year.astype(np.int64), unit, names)

    def __len__(self) -> int:
        return len(self.glacier)

    def positions(self) -> Floats:
        """Positions on the unit sphere, (row, 3)."""
        return unit_vectors(self.samples)[self.free]

    def labels(self, name: str) -> tuple[Codes, list[str]]:
        """Numbers and names of an optional coordinate, which must not have blanks."""
        if name not in self.samples.coords:
            raise InputError(
                f"samples: {name}",
                expected=f"the coordinate {name}",
                found="none",
                remedy=f"if the samples are your own table, name its column (`samples.{name}`); otherwise remove the "
                "scheme that needs it",
            )
        values = texts(self.samples[name].values[self.free])
        blank = np.isin(values, BLANK)
        if blank.any():
            raise InputError(
                f"samples: {name}",
                expected="a value in every row",
                found=f"{int(blank.sum())} blank of {len(blank)} rows",
                remedy=f"fill in {name}, or remove the scheme that needs it",
            )
        numbers, names = pd.factorize(values, sort=True)
        return numbers.astype(np.int64), [str(n) for n in names]

    def axis(self, what: str, limit: int, rng: np.random.Generator) -> tuple[Codes, list[str]]:
        """Parts of groups or years: the user's own; else one each up to `limit`, or dealt at random beyond it."""
        users = self._users(what, "fold_logo" if what == "group" else "fold_loyo")
        return users or parts_of(getattr(self, what), self.names[what], limit, rng)

    def _users(self, what: str, name: str) -> tuple[Codes, list[str]] | None:
        """The user's own folds of groups or years; none may be split between two folds."""
        if name not in self.samples.coords:
            return None
        part, names = self.labels(name)
        numeric = sorted(range(len(names)), key=lambda i: (int(names[i]), "") if names[i].isdigit() else (0, names[i]))
        part, names = np.argsort(numeric)[part], [names[i] for i in numeric]
        label = getattr(self, what)
        pairs = np.unique(np.stack([label, part]), axis=1)
        split = np.flatnonzero(np.bincount(pairs[0]) > 1)
        if len(split):
            first = int(split[0])
            inside = [names[p] for p in pairs[1][pairs[0] == first]]
            raise InputError(
                f"samples: {name}",
                expected=f"every {what} whole in one fold",
                found=f"{what} {self.names[what][first]} in the folds {listing(inside)}"
                + (f", and {len(split) - 1} more such {what}s" if len(split) > 1 else ""),
                remedy=f"give all rows of a {what} the same fold, or leave {name} out",
            )
        return part, names


def parts_of(label: Codes, names: list[str], limit: int, rng: np.random.Generator) -> tuple[Codes, list[str]]:
    """At most `limit` parts of whole labels: part of every row, (row,), and names of the parts."""
    if len(names) <= limit:
        return label, names
    part = deal(label, limit, rng)
    of_label = np.zeros(len(names), np.int64)
    of_label[label] = part
    first = [int(np.flatnonzero(of_label == p)[0]) for p in range(limit)]
    order = np.argsort(first)
    count = np.bincount(of_label, minlength=limit)
    titles = [names[first[p]] + (f" and {count[p] - 1} more" if count[p] > 1 else "") for p in order]
    return np.argsort(order)[part], titles


def deal(label: Codes, parts: int, rng: np.random.Generator) -> Codes:
    """Deal whole labels to parts, largest label first, each to the emptiest part; ties at random, (row,)."""
    _, number, count = np.unique(label, return_inverse=True, return_counts=True)
    order = rng.permutation(len(count))
    heap = [(0, p) for p in range(min(parts, len(count)))]
    part = np.empty(len(count), np.int64)
    for i in order[np.argsort(-count[order], kind="stable")].tolist():
        load, p = heap[0]
        part[i] = p
        heapq.heapreplace(heap, (load + int(count[i]), p))
    return np.asarray(part[number])


def without(held: Bools, labels: Sequence[Codes], inside: Bools) -> Bools:
    """Rows inside that share no label with the held ones."""
    rest = inside & ~held
    for label in labels:
        touched = np.zeros(int(label.max(initial=0)) + 1, bool)
        touched[label[held]] = True
        rest &= ~touched[label]
    return rest
