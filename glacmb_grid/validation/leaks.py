"""Checks that no fold used what it scores.

Every check counts scored rows with a counterpart among the rows that their fold used: fitted on, tuned on, or (under
a leaky protocol) selected or stopped on.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import xarray as xr
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from glacmb_grid.errors import InputError, listing
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.rows import groups_of
from glacmb_grid.folds.schemes import WITHHELD
from glacmb_grid.folds.space import nearest_km, unit_vectors
from glacmb_grid.sphere import EARTH_RADIUS_KM

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FINDING_COLUMNS = ["scheme", "fold", "kind", "severity", "count", "detail"]
NEIGHBOURS_KM = 1.0
"""Glaciers observed in the same year and no farther apart than this are noted: they may be one glacier."""
BRANCH_KM = 5.0
"""Glaciers with the same name stem no farther apart than this count as parent and branch."""
LEAST_CLIMATE = 3
"""Equality of fewer predictors than this is a note, not a leak: it may be chance."""

_DIGITS = 6  # significant digits of a predictor or a balance
_SIDE = r"(?:north|south|east|west|upper|lower|left|right|main|[nsew]|ne|nw|se|sw)"
_PART = rf"(?:\b{_SIDE}[ -]+)?\b(?:branch|tongue|arm|total|whole|part)\b(?:[ -]+{_SIDE}\b)?"
_BRANCH_WORDS = re.compile(rf"\(\s*(?:{_PART}|{_SIDE})\s*\)|{_PART}", re.IGNORECASE)
_RGI = re.compile(r"^RGI[56]0-(\d\d\.\d{5})(?:_D\d+)?$")


def row_hashes(samples: xr.Dataset) -> npt.NDArray[np.str_]:
    """First 32 digits of the SHA-256 of the year, balance and predictors of each sample, (sample).

    Numbers are rounded to float32 and then to 6 significant digits, so that copies in float32 and float64 agree. The
    glacier is left out, so that a row copied under another name has the same hash.
    """
    numbers = _rounded(samples["predictors"].values) if "predictors" in samples else np.zeros((0, 0))
    own = [hashlib.sha256(row.tobytes()).digest() for row in numbers]
    pieces = [
        np.int64(y).tobytes() + t.tobytes()
        for y, t in zip(samples["year"].values, _rounded(samples["mass_balance"].values), strict=True)
    ]
    if own and "operator_sample" in samples:
        weights = _rounded(samples["operator_weight"].values)
        entries = zip(samples["operator_sample"].values, samples["operator_row"].values, weights, strict=True)
        for sample, row, weight in entries:
            pieces[sample] += own[row] + weight.tobytes()
    elif own:
        pieces = [p + o + np.float64(1).tobytes() for p, o in zip(pieces, own, strict=True)]
    return np.array([hashlib.sha256(p).hexdigest()[:32] for p in pieces], dtype=str)


def _rounded(values: npt.NDArray[np.floating]) -> Floats:
    """Values rounded to 6 significant digits of their float32; all zeros, and all NaN, are the same."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        wide = np.asarray(values, np.float32).astype(np.float64)
        scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(np.abs(wide))))
        rounded = np.round(wide * scale) / scale
    usable = np.isfinite(rounded) & (wide != 0)
    return np.where(usable, rounded, np.where(np.isnan(wide), np.nan, wide)) + 0.0


def climate_codes(samples: xr.Dataset) -> tuple[Codes, int]:
    """Codes of the climate vectors of each year, (sample), and the number of climate predictors.

    Samples of one year with equal climate have the same code. Climate predictors are those that vary between the years
    of a glacier. -1 if all are 0 (clipped temperatures, for example), or if a sample is not one glacier-year.
    """
    nothing = np.full(samples.sizes["sample"], -1, np.int64)
    if "predictors" not in samples or samples.sizes["predictor"] == 0:
        return nothing, 0
    row = _only_row(samples)
    values = _rounded(samples["predictors"].values)[np.maximum(row, 0)]
    glacier = pd.factorize(samples["glacier"].values.astype(str))[0]
    filled = pd.DataFrame(values).groupby(glacier)
    varying = (filled.max() > filled.min()).to_numpy().any(axis=0)
    values = values[:, varying]
    known = (row >= 0) & (np.isfinite(values) & (values != 0)).any(axis=1)
    if not known.any():
        return nothing, 0
    year = samples["year"].values.astype(np.int64)
    hashes = [y.tobytes() + v.tobytes() for y, v in zip(year[known], np.ascontiguousarray(values[known]), strict=True)]
    nothing[known] = pd.factorize(np.array(hashes, dtype=object))[0]
    return nothing, int(varying.sum())


def _only_row(samples: xr.Dataset) -> Codes:
    """The row of every sample of one row, -1 for samples of several, (sample)."""
    count = samples.sizes["sample"]
    if "operator_sample" not in samples:
        return np.arange(count)
    sample = samples["operator_sample"].values
    row = np.full(count, -1, np.int64)
    row[sample] = samples["operator_row"].values
    row[np.bincount(sample, minlength=count) > 1] = -1
    return row


def find_aliases(samples: xr.Dataset) -> list[tuple[str, str]]:
    """Pairs of glacier ids that are one glacier, or a glacier and its branch.

    Pairs of RGI 5 and RGI 6 ids (or parts `_d01`) with one number; and glaciers observed in a common year whose names
    are equal without words like `E-branch` or `total` (at least one has such a word), no more than BRANCH_KM apart if
    positions are known.
    """
    ids = samples["glacier"].values.astype(str)
    glaciers, first = np.unique(ids, return_index=True)
    numbers = [_RGI.sub(r"\1", g.upper()) for g in glaciers.tolist()]
    found = _equal_pairs([n if n != g.upper() else "" for n, g in zip(numbers, glaciers.tolist(), strict=True)])
    if "name" in samples.coords:
        names = samples["name"].values.astype(str)[first].tolist()
        stems = [_stem(n) for n in names]
        branch = [s != _normalised(n) for n, s in zip(names, stems, strict=True)]
        years: dict[str, set[int]] = {g: set() for g in glaciers.tolist()}
        for g, y in zip(ids.tolist(), samples["year"].values.tolist(), strict=True):
            years[g].add(y)
        xyz = _positions(samples)
        for a, b in _equal_pairs(stems):
            near = xyz is None or nearest_km(xyz[first[[a]]], xyz[first[[b]]])[0] <= BRANCH_KM
            if near and (branch[a] or branch[b]) and years[str(glaciers[a])] & years[str(glaciers[b])]:
                found.append((a, b))
    return [(str(glaciers[a]), str(glaciers[b])) for a, b in found]


def _positions(samples: xr.Dataset) -> Floats | None:
    try:
        return unit_vectors(samples)
    except InputError:
        return None


def _normalised(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", " ", name.upper()).strip()


def _stem(name: str) -> str:
    """A name without words for branches and parts; empty if too little is left to identify a glacier."""
    stem = _normalised(_BRANCH_WORDS.sub(" ", name.replace(".", " ")))
    return stem if len(stem) > 2 and stem not in ("GLACIER", "NAN", "NONE") else ""


def _equal_pairs(labels: Sequence[str]) -> list[tuple[int, int]]:
    """All pairs of indices with equal, non-empty labels."""
    places: dict[str, list[int]] = {}
    for i, label in enumerate(labels):
        places.setdefault(label, []).append(i)
    return [pair for label, found in places.items() if label for pair in combinations(found, 2)]


def _components(names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> Codes:
    """Component of each name in the graph whose edges are the pairs, (name)."""
    number = {n: i for i, n in enumerate(names)}
    ends = [(number[a], number[b]) for a, b in pairs if a in number and b in number]
    a, b = np.array(ends, np.int64).reshape(-1, 2).T
    graph = sp.coo_array((np.ones(len(a)), (a, b)), shape=(len(names), len(names)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


@dataclass(frozen=True)
class _Check:
    """A fold must not use and score rows of equal code, except -1."""

    kind: str
    code: Codes
    severity: str = "leak"


def check_folds(samples: xr.Dataset, folds: Folds, aliases: Iterable[tuple[str, str]] | None = None) -> pd.DataFrame:
    """Rows that a fold scores and that equal rows which it used.

    Parameters
    ----------
    samples : xr.Dataset
    folds : Folds
        Of one or several schemes.
    aliases : pairs of str, optional
        More pairs of ids of one glacier, or of parent and branch, than `find_aliases` finds.

    Returns
    -------
    DataFrame
        FINDING_COLUMNS, a line for every fold and kind of finding; `count` is the number of rows, `detail` names some,
        `severity` is `leak`, or `note` if it may be harmless. `random` folds are checked for shared groups too, and
        are expected to leak.
    """
    checks = _Checks(samples, list(aliases or ()))
    lines: list[tuple[object, ...]] = []
    tuned, apart = folds.tuned, folds.selects_apart
    for fold, (name, scheme) in enumerate(zip(folds.name.tolist(), folds.scheme.tolist(), strict=True)):
        used = {"fitted on": folds.fit[fold], "tuned on": tuned[fold]}
        used |= {"selected on": folds.select[fold]} if apart[fold] else {}
        used["stopped on"] = folds.stop[fold]
        lines += [(scheme, name, *found) for found in checks.findings(scheme, folds.score[fold], used)]
        both = folds.inner_fit[fold] & folds.inner_score[fold]
        if count := int(both.any(axis=0).sum()):
            kind = "an inner split scores what it fits on"
            lines.append((scheme, name, kind, "note", count, "too few rows to split"))
    for scheme in dict.fromkeys(folds.scheme.tolist()):
        times = folds.score[folds.scheme == scheme].sum(axis=0)
        never, often = ("scored by no fold", "note", times == 0), ("scored by several folds", "leak", times > 1)
        for kind, severity, which in (never, often):
            if which.any():
                lines.append((scheme, "", kind, severity, int(which.sum()), listing(checks.names[which], 3)))
    return pd.DataFrame(lines, columns=FINDING_COLUMNS)


class _Checks:
    """The checks that apply to each scheme."""

    def __init__(self, samples: xr.Dataset, aliases: list[tuple[str, str]]) -> None:
        self.names = samples["sample"].values.astype(str)
        glacier, glaciers = pd.factorize(samples["glacier"].values.astype(str), sort=True)
        year = samples["year"].values.astype(np.int64)
        group = pd.factorize(groups_of(samples))[0]
        climate, size = climate_codes(samples)
        same_climate = "leak" if size >= LEAST_CLIMATE else "note"
        together = _components(glaciers.tolist(), [*aliases, *find_aliases(samples)])[glacier]
        unit = pd.factorize(glacier * (np.ptp(year) + 1) + year - year.min())[0]
        same_content = "leak" if samples.sizes.get("predictor", 0) >= LEAST_CLIMATE else "note"
        content = _repeated(pd.factorize(row_hashes(samples))[0])
        self.always = [
            _Check("the same content on both sides", content, same_content),
            _Check("the same glacier-year on both sides", unit.astype(np.int64)),
        ]
        self.by_glacier = [
            _Check("the same glacier on both sides", glacier.astype(np.int64)),
            _Check("parent and branch, or two ids of a glacier, on both sides", _repeated(together, glacier)),
            _Check("the same climate of the same year on both sides", _repeated(climate, glacier), same_climate),
            _Check("neighbours within 1 km in the same year on both sides", _neighbour_years(samples, glacier), "note"),
        ]
        self.group = _Check("the same group on both sides", group.astype(np.int64))
        self.year = _Check("the same year on both sides", year - year.min())
        self.region = None
        if "region" in samples.coords:
            region = samples["region"].values.astype(str)
            codes = np.where(np.isin(region, ["", "nan", "None"]), -1, pd.factorize(region)[0])
            self.region = _Check("the same region on both sides", codes.astype(np.int64))

    def checks(self, scheme: str) -> list[_Check]:
        """The checks of a scheme."""
        withheld = ("glacier", "year") if scheme == "random" else WITHHELD.get(scheme, frozenset())
        chosen = [*self.by_glacier, self.group] if "glacier" in withheld else []
        chosen += [self.year] if "year" in withheld else []
        return [*self.always, *chosen, *([self.region] if scheme == "leave_region_out" and self.region else [])]

    def findings(self, scheme: str, score: Bools, used: dict[str, Bools]) -> Iterator[tuple[str, str, int, str]]:
        """Kind, severity, number and names of rows, of everything found in one fold."""
        for use, mask in used.items():
            if (seen := score & mask).any():
                yield f"a scored row was {use}", "leak", int(seen.sum()), listing(self.names[seen], 3)
            if use != "fitted on" and (seen := mask & ~used["fitted on"] & ~score).any():
                yield f"a withheld row was {use}", "leak", int(seen.sum()), listing(self.names[seen], 3)
        every = np.logical_or.reduce(list(used.values())) & ~score
        for check in self.checks(scheme):
            taken = np.zeros(int(check.code.max(initial=0)) + 2, bool)
            taken[check.code[every]] = True
            taken[-1] = False  # the place of code -1
            if (seen := score & taken[check.code]).any():
                yield check.kind, check.severity, int(seen.sum()), listing(self.names[seen], 3)


def _repeated(code: npt.NDArray[np.integer], glacier: npt.NDArray[np.integer] | None = None) -> Codes:
    """Codes that more than one row (or glacier) has, -1 elsewhere, (row)."""
    code = np.asarray(code, np.int64)
    which = np.arange(len(code)) if glacier is None else np.asarray(glacier, np.int64)
    pairs = np.unique(np.stack([code, which]), axis=1)[0]
    repeated = np.bincount(pairs[pairs >= 0], minlength=int(code.max(initial=0)) + 1) > 1
    return np.where((code >= 0) & repeated[np.maximum(code, 0)], code, -1)


def _neighbour_years(samples: xr.Dataset, glacier: npt.NDArray[np.integer]) -> Codes:
    """A code for each year of glaciers linked by distances within NEIGHBOURS_KM; -1 without such a neighbour."""
    xyz, year = _positions(samples), samples["year"].values.astype(np.int64)
    if xyz is None:
        return np.full(len(glacier), -1, np.int64)
    mean = pd.DataFrame(xyz).groupby(glacier).mean().to_numpy()
    pairs = cKDTree(mean).query_pairs(NEIGHBOURS_KM / EARTH_RADIUS_KM)
    place = _components([str(i) for i in range(len(mean))], [(str(a), str(b)) for a, b in pairs])[glacier]
    return _repeated(pd.factorize(place * (np.ptp(year) + 1) + year - year.min())[0], glacier)


def check_seen(folds: Folds, seen: xr.DataArray | Bools, hashes: npt.NDArray[np.str_] | None = None) -> pd.DataFrame:
    """Compare the rows that each fit received with those that its fold allows.

    Parameters
    ----------
    folds : Folds
    seen : bool array, (fold, sample)
        Rows passed to each fold's fit, as recorded by the fit.
    hashes : str array, (sample), optional
        From `row_hashes`, to find copies of scored rows too.

    Returns
    -------
    DataFrame
        FINDING_COLUMNS.
    """
    masks = np.asarray(seen)
    assert masks.shape == folds.fit.shape, "one mask for each fold"
    names, content = folds.sample.astype(str), None if hashes is None else pd.factorize(hashes)[0]
    lines: list[tuple[object, ...]] = []
    for fold, mask in enumerate(masks):
        score, fit = folds.score[fold], folds.fit[fold]
        found = {
            "the fit was given a scored row": mask & score,
            "the fit was given a withheld row": mask & ~fit & ~score,
        }
        if content is not None:
            found["the fit was given a copy of a scored row"] = score & ~mask & np.isin(content, content[mask])
        labels = str(folds.scheme[fold]), str(folds.name[fold])
        lines += [(*labels, k, "leak", int(m.sum()), listing(names[m], 3)) for k, m in found.items() if m.any()]
        if not mask.any():
            lines.append((*labels, "the fit was given nothing", "note", 0, ""))
    return pd.DataFrame(lines, columns=FINDING_COLUMNS)
