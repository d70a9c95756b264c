"""Outer folds of every scheme: which rows each fold scores, and which it may be fitted on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import isqrt

import numpy as np
import pandas as pd

from glacmb_grid.folds.constraints import OWN
from glacmb_grid.folds.domain import FOLD_COUNTS, matched_parts, reach_of_targets
from glacmb_grid.folds.rows import Bools, Codes, Rows, deal, parts_of, without
from glacmb_grid.folds.space import nearest_km, spatial_clusters

FEW_PARTS = 10
"""Most folds of `blocks` and `random`."""
EXACT_PAIRS = 200
"""Up to this many pairs of group and year, `both_out` has one fold for each."""
FOLD_ROWS = 4_000_000
"""With more pairs, `both_out` keeps folds x rows near this number..."""
LEAST_SIDE = 8
"""...but deals groups and years to at least this many parts each."""
WIDEST_BUFFER = 100.0
"""km; errors of annual balances are correlated over about this distance."""


@dataclass(frozen=True)
class Asked:
    """What is asked of outer folds: see `make_folds`."""

    parts: int
    buffer_km: float | None = None
    targets: pd.DataFrame | None = None


@dataclass(frozen=True)
class Outer:
    """Outer folds of one scheme."""

    names: list[str]
    score: Bools  # (fold, row)
    fit: Bools
    sides: list[Codes] = field(default_factory=list)  # both_out: the group part and the year part of the rows
    buffer_km: float = 0.0
    wasserstein_km: float = float("nan")  # domain


def _by_part(rows: Rows, part: Codes, names: list[str], labels: list[Codes]) -> Outer:
    score = part == np.arange(len(names))[:, None]
    every = np.ones(len(rows), bool)
    return Outer(names, score, np.array([without(s, labels, every) for s in score]))


def _logo(rows: Rows, rng: np.random.Generator, asked: Asked) -> Outer:
    return _by_part(rows, *rows.axis("group", asked.parts, rng), [rows.glacier])


def _loyo(rows: Rows, rng: np.random.Generator, asked: Asked) -> Outer:
    return _by_part(rows, *rows.axis("year", asked.parts, rng), [])


def _both_out(rows: Rows, rng: np.random.Generator, asked: Asked) -> Outer:
    group, groups = rows.axis("group", len(rows), rng)
    year, years = rows.axis("year", len(rows), rng)
    if len(np.unique(group * len(years) + year)) > min(EXACT_PAIRS, asked.parts**2):
        side = min(max(isqrt(FOLD_ROWS // len(rows)), LEAST_SIDE), asked.parts)
        group, groups = rows.axis("group", side, rng)
        year, years = rows.axis("year", side, rng)
    pair, number = np.unique(group * len(years) + year, return_inverse=True)
    names = [f"{groups[p // len(years)]}:{years[p % len(years)]}" for p in pair.tolist()]
    score = number == np.arange(len(pair))[:, None]
    every = np.ones(len(rows), bool)
    fit = np.array([without(s, [group, year, rows.glacier], every) for s in score])
    return Outer(names, score, fit, [group, year])


def _blocks(rows: Rows, rng: np.random.Generator, asked: Asked) -> Outer:
    xyz = rows.positions()
    part = spatial_clusters(xyz, rows.group, min(asked.parts, FEW_PARTS))
    score = part == np.arange(part.max() + 1)[:, None]
    distance = np.array([nearest_km(xyz, xyz[s]) for s in score])
    labels, every = [rows.group, rows.glacier], np.ones(len(rows), bool)

    def fits(limit: float) -> Bools:
        return np.array([without(s | (d <= limit), labels, every) for s, d in zip(score, distance, strict=True)])

    limit = WIDEST_BUFFER if asked.buffer_km is None else asked.buffer_km
    fit = fits(limit)
    while asked.buffer_km is None and limit > 0 and (2 * fit.sum(axis=1) < (~score).sum(axis=1)).any():
        limit = limit / 2 if limit > 0.1 else 0.0
        fit = fits(limit)
    centre = np.array([xyz[s].mean(axis=0) for s in score])
    north = np.degrees(np.arctan2(centre[:, 2], np.hypot(centre[:, 0], centre[:, 1])))
    east = np.degrees(np.arctan2(centre[:, 1], centre[:, 0]))
    names = [f"block {i} at {n:.1f} N {e:.1f} E" for i, (n, e) in enumerate(zip(north, east, strict=True), 1)]
    return Outer(names, score, fit, buffer_km=limit)


def _regions(rows: Rows, rng: np.random.Generator, asked: Asked) -> Outer:
    return _by_part(rows, *parts_of(*rows.labels("region"), asked.parts, rng), [rows.group, rows.glacier])


def _domain(rows: Rows, rng: np.random.Generator, asked: Asked) -> Outer:
    wanted, every = reach_of_targets(rows, asked.targets), np.ones(len(rows), bool)
    counts = [c for c in FOLD_COUNTS if c < asked.parts]
    part, left = matched_parts(rows, every, wanted, [*counts, asked.parts])
    groups = [np.unique(rows.group[part == p]) for p in range(part.max() + 1)]
    names = [
        f"part {i}: {rows.names['group'][g[0]]}" + (f" and {len(g) - 1} more" if len(g) > 1 else "")
        for i, g in enumerate(groups, 1)
    ]
    return replace(_by_part(rows, part, names, [rows.group, rows.glacier]), wasserstein_km=left)


def _random(rows: Rows, rng: np.random.Generator, asked: Asked) -> Outer:
    part = deal(rows.unit, min(asked.parts, FEW_PARTS), rng)
    return _by_part(rows, part, [f"random {i}" for i in range(1, part.max(initial=0) + 2)], [])


OUTER: dict[str, Callable[[Rows, np.random.Generator, Asked], Outer]] = {
    "logo": _logo,
    "loyo": _loyo,
    "both_out": _both_out,
    "blocks": _blocks,
    "leave_region_out": _regions,
    "random": _random,
    "domain": _domain,
    OWN: _logo,
}
