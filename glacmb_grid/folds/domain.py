"""Folds whose scored glaciers are as far from the fitted ones as predicted glaciers are from the measured ones.

k-fold nearest-neighbour distance matching (Linnenbrink et al. 2024, doi:10.5194/gmd-17-5897-2024): measured glaciers
are clustered into every sensible number of clusters, the clusters merged into folds, and the folds kept whose distances
between scored and fitted glaciers are nearest in distribution to those between predicted and measured glaciers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.cluster.hierarchy import linkage
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance

from glacmb_grid import sphere
from glacmb_grid.errors import InputError, listing
from glacmb_grid.folds.rows import Bools, Codes, Floats, Rows, texts
from glacmb_grid.folds.space import nearest_km

FOLD_COUNTS = (2, 3, 4, 5, 7, 10, 20)
"""Numbers of folds that are tried, and the largest allowed one."""
LARGEST_SHARE = 0.5
"""Of the rows, in one fold; more only where a single group holds more."""
_CUTS = 40  # numbers of clusters that are tried for every number of folds
_NEAR = 200  # neighbours that are known of every glacier; beyond them they are looked for
_QUANTILES = 2000  # of the distances that are wanted, while candidates are compared


class Reach(NamedTuple):
    """A distribution of distances to the nearest fitted (or measured) glacier."""

    km: Floats
    weight: Floats

    def thinned(self) -> Reach:
        """The same distribution, of no more than so many distances."""
        if len(self.km) <= _QUANTILES:
            return self
        order = np.argsort(self.km, kind="stable")
        share = np.cumsum(self.weight[order]) / self.weight.sum()
        middle = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        km = self.km[order][np.minimum(np.searchsorted(share, middle), len(order) - 1)]
        return Reach(km, np.ones(_QUANTILES))

    def from_other(self, other: Reach) -> float:
        """Wasserstein distance to another distribution, km: the mean shift that makes one of the other."""
        return float(wasserstein_distance(self.km, other.km, self.weight, other.weight))


class Matching(NamedTuple):
    """Parts of rows, (row,), numbered from 0, and the Wasserstein distance that is left over, km."""

    part: Codes
    wasserstein_km: float


@dataclass(frozen=True)
class Sites:
    """The measured glaciers of some rows: a position each, and which of them must stay together."""

    xyz: Floats  # (site, 3), unit vectors
    unit: Codes  # (site,): connected by groups, never split
    rows: Codes  # (site,): number of rows
    of_row: Codes  # (row,)

    @classmethod
    def of(cls, rows: Rows, inside: Bools) -> Sites:
        """Of the rows that are inside; `of_row` is -1 elsewhere."""
        xyz = rows.positions()
        _, site, count = np.unique(rows.glacier[inside], return_inverse=True, return_counts=True)
        mean = np.stack([np.bincount(site, axis) for axis in xyz[inside].T], axis=1) / count[:, None]
        group = np.unique(rows.group[inside], return_inverse=True)[1]
        size = int(group.max(initial=-1)) + 1
        links = sp.coo_array((np.ones(len(site)), (site, len(count) + group)), shape=(len(count) + size,) * 2)
        unit = np.unique(connected_components(links, directed=False)[1][: len(count)], return_inverse=True)[1]
        of_row = np.full(len(rows), -1)
        of_row[inside] = site
        norm = np.linalg.norm(mean, axis=1, keepdims=True)
        return cls(mean / np.where(norm > 0, norm, 1), unit.astype(np.int64), count.astype(np.int64), of_row)

    @cached_property
    def _near(self) -> tuple[Codes, Floats]:
        """The nearest sites of every site and their distances, (site, near), km, ascending."""
        chord, near = cKDTree(self.xyz).query(self.xyz, k=np.arange(1, min(len(self.xyz), _NEAR) + 1))
        return near.astype(np.int64), sphere.arc_km(chord)

    def reach(self, part: Codes) -> Reach:
        """Distances of all sites to the nearest site of another part (site,), weighted by their rows."""
        near, distance = self._near
        other = part[near] != part[:, None]
        first = other.argmax(axis=1)
        km, found = (np.take_along_axis(a, first[:, None], axis=1)[:, 0] for a in (distance, other))
        for p in np.unique(part[~found]):
            mine = ~found & (part == p)
            km[mine] = _nearest(self.xyz[mine], self.xyz[part != p])
        return Reach(km, self.rows.astype(np.float64))


def _nearest(of: Floats, to: Floats) -> Floats:
    return sphere.arc_km(cKDTree(to).query(of)[0]) if len(to) else np.full(len(of), np.inf)


def reach_of_targets(rows: Rows, targets: pd.DataFrame | None) -> Reach:
    """Distances of the predicted glaciers to the nearest measured one that a product may learn from.

    Parameters
    ----------
    rows : Rows
    targets : DataFrame, by glacier
        `longitude`, `latitude` (degrees), optional `weight` (default one a glacier). A measured glacier is predicted by
        fits without its group, so that its nearest one is of another group.

    Raises
    ------
    InputError
        Without targets, or without their positions.
    """
    places = require_targets(targets)
    sites = Sites.of(rows, np.ones(len(rows), bool))
    xyz = sphere.unit_vectors(places["longitude"].to_numpy(np.float64), places["latitude"].to_numpy(np.float64))
    km = nearest_km(xyz, sites.xyz)
    ids = texts(rows.samples["glacier"].values[rows.free])
    own = pd.Series(sites.unit[sites.of_row], index=ids).groupby(level=0).first()
    unit = own.reindex(texts(places.index.to_numpy())).fillna(-1).to_numpy(np.int64)
    for u in np.unique(unit[unit >= 0]):
        mine = unit == u
        km[mine] = _nearest(xyz[mine], sites.xyz[sites.unit != u])
    weight = places["weight"].to_numpy(np.float64) if "weight" in places else np.ones(len(places))
    finite = np.isfinite(km)
    return Reach(km[finite], weight[finite])


def require_targets(targets: pd.DataFrame | None) -> pd.DataFrame:
    """Require the positions of the predicted glaciers.

    Raises
    ------
    InputError
    """
    where = "validation: domain"
    remedy = (
        "name a table with their positions, `samples: {targets: FILE}`, or leave `domain` out of `validation.schemes`"
    )
    if targets is None or not len(targets):
        found = "none" if targets is None else "an empty table"
        raise InputError(where, expected="the glaciers that are to be predicted", found=found, remedy=remedy)
    if lacking := [n for n in ("longitude", "latitude") if n not in targets]:
        found = f"no column {listing(lacking)}"
        raise InputError(where, expected="positions of the glaciers to be predicted", found=found, remedy=remedy)
    weight = targets["weight"] if "weight" in targets else pd.Series(1.0, targets.index)
    sound = np.isfinite(targets["longitude"]) & (targets["latitude"].abs() <= 90) & (weight >= 0) & np.isfinite(weight)
    if not sound.all() or not (weight > 0).any():
        bad = listing(targets.index[~sound], 3) if not sound.all() else "no weight above zero"
        raise InputError(
            where,
            expected="a position of every glacier to be predicted, degrees, and weights that are not negative",
            found=f"{int((~sound).sum())} of {len(targets)} without: {bad}",
            remedy="correct them, or leave them out",
        )
    return targets


def reach_of_folds(rows: Rows, fit: Bools, score: Bools) -> Reach:
    """Distances of all scored rows to the nearest row that their fold fits on."""
    xyz = rows.positions()
    km = [nearest_km(xyz[s], xyz[f]) for f, s in zip(fit, score, strict=True) if f.any() and s.any()]
    found = np.concatenate(km) if km else np.zeros(1)
    return Reach(found, np.ones(len(found)))


def matched_parts(rows: Rows, inside: Bools, wanted: Reach, counts: Iterable[int]) -> Matching:
    """Parts of the rows inside whose distances match those wanted best; -1 outside. Nothing is random.

    Parameters
    ----------
    rows : Rows
    inside : bool array, (row,)
    wanted : Reach
    counts : iterable of int
        Numbers of parts that are tried.

    Returns
    -------
    Matching
    """
    sites = Sites.of(rows, inside)
    units = int(sites.unit.max(initial=-1)) + 1
    if units < 2:
        return Matching(np.where(inside, 0, -1), np.inf)
    weight = np.bincount(sites.unit, sites.rows).astype(np.float64)
    centre = np.stack([np.bincount(sites.unit, sites.rows * axis) for axis in sites.xyz.T], axis=1) / weight[:, None]
    largest = max(LARGEST_SHARE, weight.max() / weight.sum())
    few = wanted.thinned()
    best: tuple[tuple[float, float, int], Codes] | None = None
    for part in _candidates(centre, weight, sorted({min(c, units) for c in counts})):
        share = float(np.bincount(part, weight).max() / weight.sum())
        of_site, excess = part[sites.unit], max(0.0, round(share - largest, 9))
        rank = (excess, round(sites.reach(of_site).from_other(few), 6), -int(part.max()))
        if best is None or rank < best[0]:
            best = rank, of_site
    assert best is not None, "every number of clusters and parts from two on gives a candidate"
    order = np.unique(best[1], return_index=True)[1].argsort().argsort()  # numbered by their first glacier
    return Matching(np.where(inside, order[best[1]][sites.of_row], -1), sites.reach(best[1]).from_other(wanted))


def _candidates(centre: Floats, weight: Floats, counts: Sequence[int]) -> Iterable[Codes]:
    """Parts of units, (unit,), for every number of clusters and of parts."""
    units = len(centre)
    tree = linkage(centre, method="ward")
    axis = np.linalg.svd(centre - centre.mean(axis=0), full_matrices=False)[2][0]
    along = (centre @ (axis * np.sign(axis[np.abs(axis).argmax()]))).round(12)
    cuts = np.unique(np.round(np.exp(np.linspace(np.log(2), np.log(units), _CUTS))).astype(int))
    for cut in cuts:
        cluster = _clusters(tree, units, int(cut))
        yield from (_merged(cluster, weight, along, count) for count in counts if count <= cut)


def _clusters(tree: Floats, units: int, count: int) -> Codes:
    """Cluster of every unit, (unit,), where so many are left of the agglomeration."""
    made = units - count
    joined = np.tile(units + np.arange(made), 2)
    ends = tree[:made, :2].T.astype(np.int64).ravel()
    graph = sp.coo_array((np.ones(2 * made), (ends, joined)), shape=(units + made,) * 2)
    number = connected_components(graph, directed=False)[1][:units]
    return np.unique(number, return_inverse=True)[1].astype(np.int64)


def _merged(cluster: Codes, weight: Floats, along: Floats, count: int) -> Codes:
    """Clusters merged into `count` parts: large ones stay alone, the others are dealt in their order along an axis."""
    size = np.bincount(cluster, weight)
    place = np.bincount(cluster, along * weight) / size
    order = np.argsort(place, kind="stable")
    large = [c for c in order if size[c] >= size.sum() / count]
    small = [c for c in order if size[c] < size.sum() / count]
    part = np.empty(len(size), np.int64)
    part[large] = np.arange(len(large))
    left = np.arange(len(large), count)
    if small:
        part[small] = np.resize(left if len(left) else np.arange(count), len(small))
    return np.unique(part[cluster], return_inverse=True)[1].astype(np.int64)
