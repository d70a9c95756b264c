"""Folds as masks over samples: what is fitted on, what is scored, and the inner splits that repeat the outer kind.

What is in neither mask of a fold is withheld from it: in `both_out` the other rows of the scored glacier and year.
No mask depends on an observed value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError

Bools = npt.NDArray[np.bool_]
Labels = npt.NDArray[Any]
Ds = TypeVar("Ds", xr.Dataset, xr.DataArray)
Masks = list[tuple[str, Bools, Bools]]


def make_folds(samples: xr.Dataset, scheme: str, *, inner: int = 5, seed: int = 1) -> xr.Dataset:
    """Outer and inner folds of a scheme.

    Parameters
    ----------
    samples : xr.Dataset
        With `glacier` and `year` over `sample`.
    scheme : {"logo", "loyo", "both_out"}
        Leave one glacier out; leave one year out; predict every row by a fit that saw neither its glacier nor its year.
    inner : int
        Number of inner splits of every fold.
    seed : int
        Decides how groups are dealt to inner splits.

    Returns
    -------
    xr.Dataset
        bool `fit` and `score` (fold, sample); bool `inner_fit` and `inner_score` (fold, inner, sample), both inside
        `fit`; coordinate `fold` says what is withheld.

    Raises
    ------
    InputError
        Where the scheme leaves nothing to fit on.
    """
    if scheme not in _OUTER:
        raise ValueError(f"unknown scheme {scheme!r}; known: {', '.join(_OUTER)}")
    glacier, year = samples["glacier"].values.astype(str), samples["year"].values.astype(int)
    outer = _OUTER[scheme](glacier, year)
    _require_fit(outer, scheme)
    rng = np.random.default_rng([seed, list(_OUTER).index(scheme)])
    splits = [inner_splits(fit, glacier, year, scheme, inner, rng) for _, fit, _ in outer]
    return xr.Dataset(
        {
            "fit": (("fold", "sample"), np.array([f for _, f, _ in outer])),
            "score": (("fold", "sample"), np.array([s for _, _, s in outer])),
            "inner_fit": (("fold", "inner", "sample"), np.array([[f for f, _ in s] for s in splits])),
            "inner_score": (("fold", "inner", "sample"), np.array([[v for _, v in s] for s in splits])),
        },
        coords={
            "fold": np.array([n for n, _, _ in outer], dtype=object),
            "scheme": ("fold", np.full(len(outer), scheme, dtype=object)),
            "sample": samples["sample"],
        },
    )


def join_folds(folds: Sequence[xr.Dataset]) -> xr.Dataset:
    """Folds of several schemes as one, so that a model fits them all at once; `scheme` (fold) tells them apart."""
    return xr.concat(list(folds), "fold", join="exact", coords="minimal", compat="override")


def of_scheme(ds: Ds, scheme: str) -> Ds:
    """The folds (or their parameters, or their predictions) of one scheme."""
    return ds.isel(fold=np.flatnonzero(ds["scheme"].values == scheme))


def _leave_out(labels: Labels) -> Masks:
    return [(str(v), labels != v, labels == v) for v in np.unique(labels)]


def _both_out(glacier: Labels, year: Labels) -> Masks:
    pairs = sorted(set(zip(glacier.tolist(), year.tolist(), strict=True)))
    return [(f"{g}:{y}", (glacier != g) & (year != y), (glacier == g) & (year == y)) for g, y in pairs]


_OUTER: dict[str, Callable[[Labels, Labels], Masks]] = {
    "logo": lambda glacier, year: _leave_out(glacier),
    "loyo": lambda glacier, year: _leave_out(year),
    "both_out": _both_out,
}


def _require_fit(outer: Masks, scheme: str) -> None:
    empty = [name for name, fit, _ in outer if not fit.any()]
    if empty:
        raise InputError(
            f"validation: {scheme}",
            expected="observations left to fit on in every fold",
            found=f"none when {empty[0]} is withheld",
            remedy=f"give observations of more glaciers and years, or take {scheme} out of `validation.schemes`",
        )


def inner_splits(
    fit: Bools, glacier: Labels, year: Labels, scheme: str, inner: int, rng: np.random.Generator
) -> list[tuple[Bools, Bools]]:
    """Splits of the fitted rows that repeat the outer kind: whole glaciers, whole years, or both.

    Where the fitted rows hold a single glacier (or year) there is none to withhold: whole years (or glaciers) are
    withheld instead, and single rows where neither is possible.
    """
    parts_glacier = _dealt(glacier, fit, inner, rng)
    parts_year = _dealt(year, fit, inner, rng)
    glaciers, years = len(np.unique(parts_glacier[fit])), len(np.unique(parts_year[fit]))
    if scheme == "both_out" and glaciers > 1 and years > 1:
        splits = _both_splits(fit, parts_glacier, parts_year)
    elif (scheme == "loyo" and years > 1) or (scheme != "loyo" and glaciers == 1 and years > 1):
        splits = _part_splits(fit, parts_year)
    elif glaciers > 1:
        splits = _part_splits(fit, parts_glacier)
    else:
        splits = _part_splits(fit, _dealt(np.arange(len(fit)), fit, inner, rng))
    return [splits[i % len(splits)] for i in range(inner)]


def _dealt(labels: Labels, fit: Bools, parts: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Groups dealt at random into parts of nearly equal number; -1 outside the fitted rows."""
    groups = np.unique(labels[fit])
    part = dict(zip(rng.permutation(groups).tolist(), np.arange(len(groups)) % parts, strict=True))
    return np.array([part.get(v, -1) for v in labels.tolist()])


def _part_splits(fit: Bools, parts: npt.NDArray[np.int64]) -> list[tuple[Bools, Bools]]:
    held = [fit & (parts == p) for p in np.unique(parts[fit])]
    splits = [(fit & ~h, h) for h in held if (fit & ~h).any()]
    return splits or [(fit, fit)]  # a single row: it can only stop on itself


def _both_splits(fit: Bools, glacier: npt.NDArray[np.int64], year: npt.NDArray[np.int64]) -> list[tuple[Bools, Bools]]:
    """One year part for each glacier part in turn, the fullest pairs that leave something to fit."""
    pairs = []
    for g in np.unique(glacier[fit]):
        for y in np.unique(year[fit]):
            held = fit & (glacier == g) & (year == y)
            rest = fit & (glacier != g) & (year != y)
            if held.any() and rest.any():
                pairs.append((rest, held))
    pairs.sort(key=lambda pair: -int(min(pair[0].sum(), 5 * pair[1].sum())))
    return pairs or _part_splits(fit, glacier)
