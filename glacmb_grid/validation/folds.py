"""Folds as masks over samples: what is fitted on, what is scored, and the inner splits that repeat the outer kind.

What is in neither mask of a fold is withheld from it: in `both_out` the other rows of the scored groups and years, in
`blocks` the buffer, in every scheme the rows of a scored glacier (and glacier-year) that are not scored themselves.
No mask depends on an observed value or on a predictor.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isqrt
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.optimize import linear_sum_assignment

from glacmb_grid.errors import InputError, listing
from glacmb_grid.validation.space import nearest_km, spatial_clusters, unit_vectors

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.str_]
Ds = TypeVar("Ds", xr.Dataset, xr.DataArray)
Split = tuple[Bools, Bools]

SCHEMES = ("logo", "loyo", "both_out", "blocks", "leave_region_out", "random")
GROUPED = SCHEMES[:-1]
PARTS = 30
"""Most folds of `logo`, `loyo` and `leave_region_out`, unless told otherwise."""
FEW_PARTS = 10
"""Most folds of `blocks` and `random`."""
EXACT_PAIRS = 200
"""Up to so many pairs of group and year, `both_out` has one fold for each."""
FOLD_ROWS = 4_000_000
"""Where there are more pairs, folds x rows of `both_out` stay near this number..."""
LEAST_SIDE = 8
"""...but groups and years are each dealt to at least so many parts."""
SIDE_BLOCKS = 5
"""`both_out` is tuned in at most 5 x 5 blocks."""
WIDEST_BUFFER = 100.0
"""km; errors of annual balances are correlated over about this distance."""
_BLANK = ("", "nan", "NaN", "None", "<NA>", "NaT")
_BLOCK_NUMBERS = 1_000_000  # of each scheme, so that blocks of several schemes never share a number


def make_folds(
    samples: xr.Dataset,
    scheme: str,
    *,
    inner: int = 5,
    seed: int = 1,
    parts: int | None = None,
    blocks: int = 10,
    buffer_km: float | None = None,
    locked: Bools | None = None,
) -> xr.Dataset:
    """Outer and inner folds of a scheme.

    Parameters
    ----------
    samples : xr.Dataset
        With `glacier` and `year` over `sample`; optional `group` (what `logo` leaves out; the glacier where absent or
        blank), `region`, `longitude`, `latitude` (degrees), and the user's own folds `fold_logo`, `fold_loyo`.
    scheme : {"logo", "loyo", "both_out", "blocks", "leave_region_out", "random"}
        Leave one group out; leave one year out; predict every row by a fit that saw neither its group nor its year;
        leave out a spatial block and the groups within a buffer around it; leave out a region (rows of unknown
        region are then neither fitted nor scored); glacier-years at random (never shown alone: `require_grouped`).
    inner : int
        Number of inner splits of every fold.
    seed : int
        Decides how whole groups, years or glacier-years are dealt to folds, blocks and inner splits.
    parts : int, optional
        Most folds (default PARTS). With more groups (years, regions) than that, whole ones are dealt to `parts` folds
        of nearly equal numbers of rows. `blocks` and `random` have at most FEW_PARTS. `both_out` has one fold for each
        pair of group and year up to EXACT_PAIRS pairs; beyond, one for each pair of a group part and a year part,
        as many parts of each as keep folds x rows near FOLD_ROWS, between LEAST_SIDE and `parts`.
    blocks : int
        Most tuning blocks: folds of one `block` share their inner splits, which lie in the rows that all of them fit
        on. With no more folds than blocks each fold is its own. `both_out` has blocks of group part x year part,
        at most half of `blocks` (and SIDE_BLOCKS) a side.
    buffer_km : float, optional
        Groups with a member this near to the scored block are withheld too (`blocks` only). By default WIDEST_BUFFER,
        halved until every fold keeps half of the rows that it does not score.
    locked : bool array (sample), optional
        Rows of locked test glaciers: in no mask of any fold.

    Returns
    -------
    xr.Dataset
        bool `fit` and `score` (fold, sample); bool `inner_fit` and `inner_score` (fold, inner, sample), both inside
        `fit` and disjoint (but for a fold fitted on a single glacier-year, which can only stop on itself). Coordinates
        over `fold`: `fold` (what is withheld), `scheme`, `block` (tuning block, unique over schemes) and `buffer_km`.

    Raises
    ------
    InputError
        Where the scheme leaves nothing to fit on, lacks a coordinate, or a user's fold splits a group or year.
    """
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}")
    size = samples.sizes["sample"]
    free = np.ones(size, bool) if locked is None else ~np.asarray(locked, bool)
    if scheme == "leave_region_out" and "region" in samples.coords:
        free &= ~np.isin(_texts(samples["region"].values), _BLANK)
    if not free.any():
        raise _nothing_left(scheme, f"no observation that it can use among {size}")
    rows = _Rows.of(samples, free)
    rng = np.random.default_rng([seed, SCHEMES.index(scheme)])
    outer = _OUTER[scheme](rows, rng, parts or PARTS, buffer_km)
    _require_fit(outer, scheme)
    dealt = _dealt_blocks(outer, blocks, rng)
    block, inner_fit, inner_score = _tune(outer.fit, dealt, rows, scheme, inner, outer.buffer_km, rng)
    return xr.Dataset(
        {
            "fit": (("fold", "sample"), _spread(outer.fit, free)),
            "score": (("fold", "sample"), _spread(outer.score, free)),
            "inner_fit": (("fold", "inner", "sample"), _spread(inner_fit, free)),
            "inner_score": (("fold", "inner", "sample"), _spread(inner_score, free)),
        },
        coords={
            "fold": np.array(outer.names, dtype=object),
            "scheme": ("fold", np.full(len(outer.names), scheme, dtype=object)),
            "block": ("fold", block + SCHEMES.index(scheme) * _BLOCK_NUMBERS),
            "buffer_km": ("fold", np.full(len(outer.names), outer.buffer_km)),
            "sample": samples["sample"].values,
        },
    )


def join_folds(folds: Sequence[xr.Dataset]) -> xr.Dataset:
    """Folds of several schemes as one, so that a model fits them all at once; `scheme` (fold) tells them apart.

    Tuning blocks keep their numbers, but where two of the parts share a number the later part is renumbered.
    """
    apart: list[xr.Dataset] = []
    last = -1
    for part in folds:
        block = part["block"].values
        if any(np.isin(block, other["block"].values).any() for other in apart):
            part = part.assign_coords(block=("fold", block - block.min() + last + 1))
        apart.append(part)
        last = max(last, int(part["block"].values.max()))
    return xr.concat(apart, "fold", join="exact", coords="minimal", compat="override")


def of_scheme(ds: Ds, scheme: str) -> Ds:
    """The folds (or their parameters, or their predictions) of one scheme."""
    return ds.isel(fold=np.flatnonzero(ds["scheme"].values == scheme))


def require_grouped(schemes: Iterable[str]) -> None:
    """Refuse `random` without a scheme that leaves out groups, years, both or blocks.

    Raises
    ------
    InputError
    """
    schemes = list(schemes)
    if "random" in schemes and not set(schemes) & {"logo", "loyo", "both_out", "blocks"}:
        raise InputError(
            "validation.schemes",
            expected="random folds only beside folds that leave whole groups, years or blocks out",
            found=listing(schemes),
            remedy="add logo, loyo or both_out: random folds score rows whose own glacier and year were fitted on",
        )


def groups_of(samples: xr.Dataset) -> Texts:
    """What `logo` leaves out, (sample): the coordinate `group`, the glacier where there is none or it is blank."""
    glacier = _texts(samples["glacier"].values)
    if "group" not in samples.coords:
        return glacier
    group = _texts(samples["group"].values)
    return np.asarray(np.where(np.isin(group, _BLANK), glacier, group))


# ---- what is known of the rows ----


@dataclass(frozen=True)
class _Rows:
    """Labels of the free rows as numbers, (row,), and their names."""

    samples: xr.Dataset
    free: Bools
    glacier: Codes
    group: Codes
    year: Codes
    unit: Codes  # glacier-years: their rows always stay on one side
    names: dict[str, list[str]]  # of groups and years

    @classmethod
    def of(cls, samples: xr.Dataset, free: Bools) -> _Rows:
        glacier = pd.factorize(_texts(samples["glacier"].values[free]), sort=True)[0].astype(np.int64)
        group, groups = pd.factorize(groups_of(samples)[free], sort=True)
        year, years = pd.factorize(samples["year"].values[free].astype(np.int64), sort=True)
        unit = pd.factorize(glacier * len(years) + year, sort=True)[0].astype(np.int64)
        names = {"group": [str(g) for g in groups], "year": [str(y) for y in years]}
        return cls(samples, free, glacier, group.astype(np.int64), year.astype(np.int64), unit, names)

    def __len__(self) -> int:
        return len(self.glacier)

    def positions(self) -> Floats:
        return unit_vectors(self.samples)[self.free]

    def labels(self, name: str) -> tuple[Codes, list[str]]:
        """Numbers and names of an optional coordinate without blanks."""
        if name not in self.samples.coords:
            raise InputError(
                f"samples: {name}",
                expected=f"the coordinate {name}",
                found="none",
                remedy=f"name its column (`samples.{name}`) where the samples are a table of your own, else take out "
                "the scheme that needs it",
            )
        values = _texts(self.samples[name].values[self.free])
        blank = np.isin(values, _BLANK)
        if blank.any():
            raise InputError(
                f"samples: {name}",
                expected="a value in every row",
                found=f"{int(blank.sum())} blank of {len(blank)} rows",
                remedy=f"fill in {name}, or take out the scheme that needs it",
            )
        numbers, names = pd.factorize(values, sort=True)
        return numbers.astype(np.int64), [str(n) for n in names]


def _texts(values: npt.NDArray[Any]) -> Texts:
    """Labels as text; whole numbers that were read as floats lose their point."""
    if values.dtype.kind == "f" and (np.isnan(values) | (values % 1 == 0)).all():
        return np.array(["nan" if np.isnan(v) else str(int(v)) for v in values], dtype=str)
    return values.astype(str)


def _users(rows: _Rows, what: str, name: str) -> tuple[Codes, list[str]] | None:
    """The user's own folds of groups (or years), which must be whole."""
    if name not in rows.samples.coords:
        return None
    part, names = rows.labels(name)
    numeric = sorted(range(len(names)), key=lambda i: (int(names[i]), "") if names[i].isdigit() else (0, names[i]))
    part, names = np.argsort(numeric)[part], [names[i] for i in numeric]
    label = getattr(rows, what)
    pairs = np.unique(np.stack([label, part]), axis=1)
    split = np.flatnonzero(np.bincount(pairs[0]) > 1)
    if len(split):
        first = int(split[0])
        inside = [names[p] for p in pairs[1][pairs[0] == first]]
        raise InputError(
            f"samples: {name}",
            expected=f"every {what} whole in one fold",
            found=f"{what} {rows.names[what][first]} in the folds {listing(inside)}"
            + (f", and {len(split) - 1} more such {what}s" if len(split) > 1 else ""),
            remedy=f"give all rows of a {what} the same fold, or leave {name} out",
        )
    return part, names


def _axis(rows: _Rows, what: str, limit: int, rng: np.random.Generator) -> tuple[Codes, list[str]]:
    """Parts of groups or years: the user's, or each its own up to `limit`, else whole ones dealt at random."""
    users = _users(rows, what, "fold_logo" if what == "group" else "fold_loyo")
    return users or _parts(getattr(rows, what), rows.names[what], limit, rng)


def _parts(label: Codes, names: list[str], limit: int, rng: np.random.Generator) -> tuple[Codes, list[str]]:
    if len(names) <= limit:
        return label, names
    part = _deal(label, limit, rng)
    of_label = np.zeros(len(names), np.int64)
    of_label[label] = part
    first = [int(np.flatnonzero(of_label == p)[0]) for p in range(limit)]
    order = np.argsort(first)
    count = np.bincount(of_label, minlength=limit)
    told = [names[first[p]] + (f" and {count[p] - 1} more" if count[p] > 1 else "") for p in order]
    return np.argsort(order)[part], told


def _deal(label: Codes, parts: int, rng: np.random.Generator) -> Codes:
    """Whole labels dealt to parts, the fullest label to the emptiest part; at random among equals, (row,)."""
    _, number, count = np.unique(label, return_inverse=True, return_counts=True)
    order = rng.permutation(len(count))
    heap = [(0, p) for p in range(min(parts, len(count)))]
    part = np.empty(len(count), np.int64)
    for i in order[np.argsort(-count[order], kind="stable")].tolist():
        load, p = heap[0]
        part[i] = p
        heapq.heapreplace(heap, (load + int(count[i]), p))
    return np.asarray(part[number])


def _without(held: Bools, labels: Sequence[Codes], inside: Bools) -> Bools:
    """Rows that share no label with the held ones."""
    rest = inside & ~held
    for label in labels:
        touched = np.zeros(int(label.max(initial=0)) + 1, bool)
        touched[label[held]] = True
        rest &= ~touched[label]
    return rest


# ---- outer folds ----


@dataclass(frozen=True)
class _Outer:
    names: list[str]
    score: Bools  # (fold, row)
    fit: Bools
    sides: list[Codes] = field(default_factory=list)  # both_out: the group part and the year part of the rows
    buffer_km: float = 0.0


def _by_part(rows: _Rows, part: Codes, names: list[str], labels: list[Codes]) -> _Outer:
    score = part == np.arange(len(names))[:, None]
    every = np.ones(len(rows), bool)
    return _Outer(names, score, np.array([_without(s, labels, every) for s in score]))


def _logo(rows: _Rows, rng: np.random.Generator, parts: int, buffer_km: float | None) -> _Outer:
    return _by_part(rows, *_axis(rows, "group", parts, rng), [rows.glacier])


def _loyo(rows: _Rows, rng: np.random.Generator, parts: int, buffer_km: float | None) -> _Outer:
    return _by_part(rows, *_axis(rows, "year", parts, rng), [])


def _both_out(rows: _Rows, rng: np.random.Generator, parts: int, buffer_km: float | None) -> _Outer:
    group, groups = _axis(rows, "group", len(rows), rng)
    year, years = _axis(rows, "year", len(rows), rng)
    if len(np.unique(group * len(years) + year)) > min(EXACT_PAIRS, parts**2):
        side = min(max(isqrt(FOLD_ROWS // len(rows)), LEAST_SIDE), parts)
        group, groups = _axis(rows, "group", side, rng)
        year, years = _axis(rows, "year", side, rng)
    pair, number = np.unique(group * len(years) + year, return_inverse=True)
    names = [f"{groups[p // len(years)]}:{years[p % len(years)]}" for p in pair.tolist()]
    score = number == np.arange(len(pair))[:, None]
    every = np.ones(len(rows), bool)
    fit = np.array([_without(s, [group, year, rows.glacier], every) for s in score])
    return _Outer(names, score, fit, [group, year])


def _blocks(rows: _Rows, rng: np.random.Generator, parts: int, buffer_km: float | None) -> _Outer:
    xyz = rows.positions()
    part = spatial_clusters(xyz, rows.group, min(parts, FEW_PARTS))
    score = part == np.arange(part.max() + 1)[:, None]
    distance = np.array([nearest_km(xyz, xyz[s]) for s in score])
    labels, every = [rows.group, rows.glacier], np.ones(len(rows), bool)

    def fits(limit: float) -> Bools:
        return np.array([_without(s | (d <= limit), labels, every) for s, d in zip(score, distance, strict=True)])

    limit = WIDEST_BUFFER if buffer_km is None else buffer_km
    fit = fits(limit)
    while buffer_km is None and limit > 0 and (2 * fit.sum(axis=1) < (~score).sum(axis=1)).any():
        limit = limit / 2 if limit > 0.1 else 0.0
        fit = fits(limit)
    centre = np.array([xyz[s].mean(axis=0) for s in score])
    north = np.degrees(np.arctan2(centre[:, 2], np.hypot(centre[:, 0], centre[:, 1])))
    east = np.degrees(np.arctan2(centre[:, 1], centre[:, 0]))
    names = [f"block {i} at {n:.1f} N {e:.1f} E" for i, (n, e) in enumerate(zip(north, east, strict=True), 1)]
    return _Outer(names, score, fit, buffer_km=limit)


def _regions(rows: _Rows, rng: np.random.Generator, parts: int, buffer_km: float | None) -> _Outer:
    return _by_part(rows, *_parts(*rows.labels("region"), parts, rng), [rows.group, rows.glacier])


def _random(rows: _Rows, rng: np.random.Generator, parts: int, buffer_km: float | None) -> _Outer:
    part = _deal(rows.unit, min(parts, FEW_PARTS), rng)
    return _by_part(rows, part, [f"random {i}" for i in range(1, part.max(initial=0) + 2)], [])


_OUTER: dict[str, Callable[[_Rows, np.random.Generator, int, float | None], _Outer]] = {
    "logo": _logo,
    "loyo": _loyo,
    "both_out": _both_out,
    "blocks": _blocks,
    "leave_region_out": _regions,
    "random": _random,
}


def _require_fit(outer: _Outer, scheme: str) -> None:
    empty = np.flatnonzero(~outer.fit.any(axis=1))
    if len(empty):
        buffer = f" with all within {outer.buffer_km:g} km" if outer.buffer_km else ""
        raise _nothing_left(scheme, f"none when {outer.names[empty[0]]} is withheld{buffer}")


def _nothing_left(scheme: str, found: str) -> InputError:
    narrow = ", narrow `validation.buffer_km`" if scheme == "blocks" else ""
    return InputError(
        f"validation: {scheme}",
        expected="observations left to fit on in every fold",
        found=found,
        remedy=f"give observations of more glaciers and years{narrow}, or take {scheme} out of `validation.schemes`",
    )


# ---- tuning blocks and inner splits ----


def _tune(
    fit: Bools, block: Codes, rows: _Rows, scheme: str, inner: int, buffer_km: float, rng: np.random.Generator
) -> tuple[Codes, Bools, Bools]:
    """Block number of every fold, and its inner masks (fold, inner, row), within the rows that all its folds fit on.

    Folds whose common rows cannot repeat the outer kind are tuned each by itself.
    """
    number, count = np.empty(len(fit), np.int64), 0
    inner_fit, inner_score = np.zeros((2, len(fit), inner, len(rows)), bool)
    for b in np.unique(block):
        folds = np.flatnonzero(block == b)
        found, repeats = _inner(np.asarray(fit[folds].all(axis=0)), rows, scheme, inner, buffer_km, rng)
        for own in [folds] if repeats else [folds[[i]] for i in range(len(folds))]:
            if not repeats and len(folds) > 1:
                found, _ = _inner(fit[own[0]], rows, scheme, inner, buffer_km, rng)
            number[own], count = count, count + 1
            inner_fit[own], inner_score[own] = [f for f, _ in found], [s for _, s in found]
    return number, inner_fit, inner_score


def redo_inner(folds: xr.Dataset, samples: xr.Dataset, fit: Bools, *, seed: int = 1) -> xr.Dataset:
    """Folds of one scheme with other rows to fit on, and inner splits made anew within them.

    Parameters
    ----------
    folds, samples : xr.Dataset
    fit : bool array, (fold, sample)
        Inside the folds' own `fit`.
    seed : int

    Returns
    -------
    xr.Dataset
    """
    assert not (fit & ~folds["fit"].values).any(), "a fold cannot fit on what it withholds"
    scheme = str(folds["scheme"].values[0])
    free = (folds["fit"].values | folds["score"].values).any(axis=0)
    rows, rng = _Rows.of(samples, free), np.random.default_rng([seed, SCHEMES.index(scheme)])
    block, buffer = folds["block"].values, float(folds["buffer_km"].values[0])
    number, *inner = _tune(fit[:, free], block, rows, scheme, folds.sizes["inner"], buffer, rng)
    found = folds.assign(fit=(("fold", "sample"), fit)).assign_coords(block=("fold", number + block.min()))
    for name, masks in zip(("inner_fit", "inner_score"), inner, strict=True):
        found[name] = (("fold", "inner", "sample"), _spread(masks, free))
    return found


def _dealt_blocks(outer: _Outer, blocks: int, rng: np.random.Generator) -> Codes:
    """Folds dealt whole to blocks by their numbers of scored rows, (fold,)."""
    count, first = len(outer.names), outer.score.argmax(axis=1)
    side = max(min(SIDE_BLOCKS, blocks // 2), 1)
    if count <= (side**2 if outer.sides else blocks):
        return np.arange(count)
    if outer.sides:
        group, year = (_deal(part, side, rng)[first] for part in outer.sides)
        return np.unique(group * side + year, return_inverse=True)[1].astype(np.int64)
    return np.asarray(_deal(outer.score.argmax(axis=0), blocks, rng)[first])


def _inner(
    inside: Bools, rows: _Rows, scheme: str, inner: int, buffer_km: float, rng: np.random.Generator
) -> tuple[list[Split], bool]:
    """Splits of rows that repeat the outer kind, and whether they do.

    Where the rows hold a single group (or year) there is none to withhold: whole years (or groups) are withheld
    instead, and single glacier-years where neither is possible.
    """

    def by(label: Codes, *others: Codes) -> list[Split]:
        return _part_splits(inside, _dealt(label, inside, inner, rng), others)

    ways: dict[str, list[Callable[[], list[Split]]]] = {
        "logo": [],
        "loyo": [partial(by, rows.year)],
        "both_out": [partial(_both_splits, inside, rows, inner, rng)],
        "blocks": [partial(_block_splits, inside, rows, inner, buffer_km)],
        "leave_region_out": [lambda: by(rows.labels("region")[0], rows.group, rows.glacier)],
        "random": [partial(by, rows.unit)],
    }
    others: list[Callable[[], list[Split]]] = [
        partial(by, rows.group, rows.glacier),
        partial(by, rows.year),
        partial(by, rows.unit),
    ]
    for number, way in enumerate([*ways[scheme], *others]):
        if splits := way():
            return [splits[i % len(splits)] for i in range(inner)], number == 0
    return [(inside, inside)] * inner, False  # a single glacier-year: it can only stop on itself


def _dealt(label: Codes, inside: Bools, parts: int, rng: np.random.Generator) -> Codes:
    part = np.full(len(label), -1)
    part[inside] = _deal(label[inside], parts, rng)
    return part


def _part_splits(inside: Bools, part: Codes, labels: Sequence[Codes]) -> list[Split]:
    held = [inside & (part == p) for p in range(part.max(initial=-1) + 1)]
    splits = [(_without(h, labels, inside), h) for h in held]
    return [(fit, h) for fit, h in splits if fit.any()]


def _both_splits(inside: Bools, rows: _Rows, inner: int, rng: np.random.Generator) -> list[Split]:
    """Pairs of a group part and a year part, each part once as long as that leaves full pairs, then again."""
    group, year = _dealt(rows.group, inside, inner, rng), _dealt(rows.year, inside, inner, rng)
    held = np.zeros((inner, inner), np.int64)
    np.add.at(held, (group[inside], year[inside]), 1)
    rest = held.sum() - held.sum(axis=0) - held.sum(axis=1, keepdims=True) + held
    gain = np.where(held > 0, np.minimum(rest, inner * held), 0)
    splits: list[Split] = []
    while len(splits) < inner and (gain > 0).any():
        for g, y in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
            if gain[g, y] > 0:
                score = inside & (group == g) & (year == y)
                fit = _without(score, [group, year, rows.glacier], inside)
                splits += [(fit, score)] if fit.any() else []
                gain[g, y] = 0
    return splits


def _block_splits(inside: Bools, rows: _Rows, inner: int, buffer_km: float) -> list[Split]:
    """Spatial clusters, with the outer buffer where it leaves half of the rows that are not withheld anyway."""
    if not inside.any():
        return []
    xyz, labels = rows.positions(), [rows.group, rows.glacier]
    part = np.full(len(rows), -1)
    part[inside] = spatial_clusters(xyz[inside], rows.group[inside], inner)
    splits = []
    for fit, held in _part_splits(inside, part, labels):
        near = inside & (nearest_km(xyz, xyz[held]) <= buffer_km)
        buffered = _without(held | near, labels, inside)
        splits.append((buffered if 2 * buffered.sum() >= fit.sum() else fit, held))
    return splits


def _spread(masks: Bools, free: Bools) -> Bools:
    """Masks of the free rows as masks of all rows."""
    if free.all():
        return masks
    out = np.zeros((*masks.shape[:-1], len(free)), bool)
    out[..., free] = masks
    return out
