"""Inner splits, which repeat the kind of the outer folds, and the tuning blocks whose folds share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.optimize import linear_sum_assignment

from glacmb_grid.folds.constraints import OWN
from glacmb_grid.folds.domain import Reach, matched_parts
from glacmb_grid.folds.outer import Outer
from glacmb_grid.folds.rows import Bools, Codes, Rows, deal, without
from glacmb_grid.folds.space import nearest_km, spatial_clusters

Split = tuple[Bools, Bools]

SIDE_BLOCKS = 5
"""`both_out` is tuned in at most 5 x 5 blocks."""


@dataclass(frozen=True)
class Kind:
    """What inner splits repeat: the scheme, its buffer around `blocks`, the distances in `domain`."""

    scheme: str
    buffer_km: float = 0.0
    reach: Reach | None = None


def inner_masks(
    fit: Bools, block: Codes, rows: Rows, kind: Kind, inner: int, rng: np.random.Generator
) -> tuple[Codes, Bools, Bools]:
    """Block number of every fold, and its inner masks (fold, inner, row), inside the rows that all its folds fit on.

    Where the common rows of a block cannot repeat the outer scheme, each of its folds is tuned separately.
    """
    number, count = np.empty(len(fit), np.int64), 0
    inner_fit, inner_score = np.zeros((2, len(fit), inner, len(rows)), bool)
    for b in np.unique(block):
        folds = np.flatnonzero(block == b)
        found, repeats = _splits(np.asarray(fit[folds].all(axis=0)), rows, kind, inner, rng)
        for own in [folds] if repeats else [folds[[i]] for i in range(len(folds))]:
            if not repeats and len(folds) > 1:
                found, _ = _splits(fit[own[0]], rows, kind, inner, rng)
            number[own], count = count, count + 1
            inner_fit[own], inner_score[own] = [f for f, _ in found], [s for _, s in found]
    return number, inner_fit, inner_score


def tuning_blocks(outer: Outer, blocks: int, rng: np.random.Generator) -> Codes:
    """Tuning block of every fold, (fold,); whole folds are dealt so that blocks score similar numbers of rows."""
    count, first = len(outer.names), outer.score.argmax(axis=1)
    side = max(min(SIDE_BLOCKS, blocks // 2), 1)
    if count <= (side**2 if outer.sides else blocks):
        return np.arange(count)
    if outer.sides:
        group, year = (deal(part, side, rng)[first] for part in outer.sides)
        return np.unique(group * side + year, return_inverse=True)[1].astype(np.int64)
    return np.asarray(deal(outer.score.argmax(axis=0), blocks, rng)[first])


def _splits(inside: Bools, rows: Rows, kind: Kind, inner: int, rng: np.random.Generator) -> tuple[list[Split], bool]:
    """Splits of the rows inside, and whether they repeat the outer scheme.

    With a single group (or year) inside, none can be withheld: then whole years (or groups) are withheld, or single
    glacier-years where that is impossible too.
    """

    def by(label: Codes, *others: Codes) -> list[Split]:
        return _part_splits(inside, _dealt(label, inside, inner, rng), others)

    ways: dict[str, list[Callable[[], list[Split]]]] = {
        "logo": [],
        OWN: [],
        "loyo": [partial(by, rows.year)],
        "both_out": [partial(_both_splits, inside, rows, inner, rng)],
        "blocks": [partial(_block_splits, inside, rows, inner, kind.buffer_km)],
        "leave_region_out": [lambda: by(rows.labels("region")[0], rows.group, rows.glacier)],
        "random": [partial(by, rows.unit)],
        "domain": [partial(_domain_splits, inside, rows, inner, kind.reach)],
    }
    others: list[Callable[[], list[Split]]] = [
        partial(by, rows.group, rows.glacier),
        partial(by, rows.year),
        partial(by, rows.unit),
    ]
    for number, way in enumerate([*ways[kind.scheme], *others]):
        if splits := way():
            return [splits[i % len(splits)] for i in range(inner)], number == 0
    return [(inside, inside)] * inner, False  # a single glacier-year: it can only stop on itself


def _dealt(label: Codes, inside: Bools, parts: int, rng: np.random.Generator) -> Codes:
    part = np.full(len(label), -1)
    part[inside] = deal(label[inside], parts, rng)
    return part


def _part_splits(inside: Bools, part: Codes, labels: Sequence[Codes]) -> list[Split]:
    held = [inside & (part == p) for p in range(part.max(initial=-1) + 1)]
    splits = [(without(h, labels, inside), h) for h in held]
    return [(fit, h) for fit, h in splits if fit.any()]


def _both_splits(inside: Bools, rows: Rows, inner: int, rng: np.random.Generator) -> list[Split]:
    """Pairs of a group part and a year part; each part is used once before any is used again."""
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
                fit = without(score, [group, year, rows.glacier], inside)
                splits += [(fit, score)] if fit.any() else []
                gain[g, y] = 0
    return splits


def _block_splits(inside: Bools, rows: Rows, inner: int, buffer_km: float) -> list[Split]:
    """Spatial clusters; the outer buffer is applied where it leaves at least half of the other rows."""
    if not inside.any():
        return []
    xyz, labels = rows.positions(), [rows.group, rows.glacier]
    part = np.full(len(rows), -1)
    part[inside] = spatial_clusters(xyz[inside], rows.group[inside], inner)
    splits = []
    for fit, held in _part_splits(inside, part, labels):
        near = inside & (nearest_km(xyz, xyz[held]) <= buffer_km)
        buffered = without(held | near, labels, inside)
        splits.append((buffered if 2 * buffered.sum() >= fit.sum() else fit, held))
    return splits


def _domain_splits(inside: Bools, rows: Rows, inner: int, reach: Reach | None) -> list[Split]:
    """Parts whose distances between scored and fitted glaciers match those of the outer folds."""
    if not inside.any() or reach is None:
        return []
    part = matched_parts(rows, inside, reach, range(2, inner + 1)).part
    return _part_splits(inside, part, [rows.group, rows.glacier])
