"""How well few columns of a table tell its target by formulas that measurements of one balance have in common.

A column is compared as it stands, by its rank, within glaciers (deviations from each glacier's mean, a line for each
glacier) and as the change since the glacier's year before; pairs and further columns by a linear fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import comb

import numpy as np
import numpy.typing as npt
import scipy.stats

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_LINE, _RANK = "a line", "its rank"
_LEAST_ROWS = 8
_CHANCE = 1e-4  # probability that the best of so many fits of noise would be as close
_MOST_PATTERNS = 24  # patterns of gaps in which pairs are looked for
_MOST_COLUMNS = 6  # of a fit that grows column by column
_ALIKE = 1e-12  # share of a column's variance that the other of a pair must leave


@dataclass(frozen=True)
class Disguise:
    """Columns that tell the target, by which formula, and the share of its variance that they tell.

    `within` marks formulas that take each glacier by itself.
    """

    columns: tuple[str, ...]
    how: str
    r2: float
    within: bool = False


def disguises(
    columns: Mapping[str, Floats], target: Floats, glacier: npt.ArrayLike, year: npt.ArrayLike, least: float
) -> list[Disguise]:
    """Single columns that tell at least this share of the target's variance; of the others, pairs and small sets.

    Parameters
    ----------
    columns : mapping
        Name -> values, (row,), NaN if missing.
    target : float64 array, (row,)
    glacier, year : arrays, (row,)
        Labels of the rows.
    least : float
        Smallest R2. Closeness that noise would reach by chance, given how many fits are tried, does not count.
    """
    rows = _Rows(target, np.unique(np.asarray(glacier).astype(str), return_inverse=True)[1], np.asarray(year, np.int64))
    names = [n for n, v in columns.items() if np.isfinite(v).sum() >= _LEAST_ROWS and np.nanstd(v) > 0]
    single = [d for n in names if (d := _single(n, columns[n], rows, len(names), least)) is not None]
    told = {d.columns[0] for d in single}
    left = [n for n in names if n not in told]
    pairs = _pairs({n: columns[n] for n in left}, target, least)
    paired = {n for d in pairs for n in d.columns}
    several = _several({n: columns[n] for n in left if n not in paired}, target, least)
    return [*single, *pairs, *several]


@dataclass(frozen=True)
class _Rows:
    target: Floats
    glacier: Integers
    year: Integers


def _by_chance(r2: float, rows: int, fitted: int, tries: float) -> bool:
    """Whether noise would come as close in the best of so many fits, by the distribution of R2 under independence."""
    free = rows - 1 - fitted
    if free < 2:
        return True
    return float(scipy.stats.beta.sf(r2, fitted / 2, free / 2)) * tries > _CHANCE


def _adjusted(r2: float, rows: int, fitted: int) -> float:
    """R2 less what so many fitted coefficients tell of noise."""
    return 1 - (1 - r2) * (rows - 1) / max(rows - 1 - fitted, 1)


def _single(name: str, values: Floats, rows: _Rows, tries: int, least: float) -> Disguise | None:
    known = np.isfinite(values)
    best: Disguise | None = None
    for how, r2, count, fitted in _formulas(values[known], rows.target[known], rows.glacier[known], rows.year[known]):
        if r2 < least or (best is not None and r2 <= best.r2 + 1e-6):
            continue
        if not _by_chance(r2, count, fitted, 5.0 * tries):
            best = Disguise((name,), how, r2, how not in (_LINE, _RANK))
    return best


def _formulas(
    values: Floats, target: Floats, glacier: Integers, year: Integers
) -> Iterator[tuple[str, float, int, int]]:
    """What is compared, R2, number of rows, number of fitted coefficients."""
    yield _LINE, _r2(values, target), len(target), 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)
        yield _RANK, _r2(scipy.stats.rankdata(values), scipy.stats.rankdata(target)), len(target), 1
    count = np.bincount(glacier)
    groups = int((count > 0).sum())
    if groups > 1:
        x, y = (v - (np.bincount(glacier, v) / np.maximum(count, 1))[glacier] for v in (values, target))
        yield "its deviation from the glacier's mean", _r2(x, y, centred=True), len(y) - groups + 1, 1
        often = count[glacier] >= 4
        if often.any() and len(set(glacier[often])) > 1:
            lines = len(set(glacier[often]))
            r2 = _r2_of_lines(x[often], y[often], glacier[often])
            yield "a line for each glacier", r2, int(often.sum()) - lines + 1, lines
    order = np.lexsort((year, glacier))
    following = (np.diff(glacier[order]) == 0) & (np.diff(year[order]) == 1)
    if following.sum() >= _LEAST_ROWS:
        change = np.diff(values[order])[following]
        yield "its change since the year before", _r2(change, target[order][1:][following]), int(following.sum()), 1


def _r2(x: Floats, y: Floats, *, centred: bool = False) -> float:
    if len(x) < _LEAST_ROWS:
        return 0.0
    if not centred:
        x, y = x - x.mean(), y - y.mean()
    size = float(x @ x) * float(y @ y)
    return float(x @ y) ** 2 / size if size > 0 else 0.0


def _r2_of_lines(x: Floats, y: Floats, glacier: Integers) -> float:
    """R2 of one slope for each glacier; `x` and `y` are deviations from the glacier's means."""
    xy, xx = np.bincount(glacier, x * y), np.bincount(glacier, x * x)
    total = float(y @ y)
    told = np.divide(xy**2, xx, out=np.zeros_like(xx), where=xx > 0).sum()
    return float(told) / total if total > 0 else 0.0


def _pairs(columns: Mapping[str, Floats], target: Floats, least: float) -> list[Disguise]:
    """The closest pair of each column, closest first, each column once; on the rows where both have values."""
    found: dict[tuple[str, str], float] = {}
    for rows, names in _without_gaps(columns):
        if len(names) < 2:
            continue
        x, y = _standardised(np.column_stack([columns[n][rows] for n in names])), target[rows] - target[rows].mean()
        total = float(y @ y)
        if not total > 0:
            continue
        r = x.T @ y / np.sqrt(total)
        between = x.T @ x
        free = 1 - between**2
        with np.errstate(divide="ignore", invalid="ignore"):
            r2 = (r[:, None] ** 2 + r[None, :] ** 2 - 2 * np.outer(r, r) * between) / free
        r2 = np.where(free > _ALIKE, r2, 0.0)
        for i, j in np.argwhere(np.triu(r2 >= least, 1)):
            pair = (names[i], names[j])
            exact = _fit(x[:, [i, j]], y)  # the formula above loses digits where a pair is much alike
            alone = max(float(r[i]), float(r[j]), -float(r[i]), -float(r[j])) ** 2
            more = (exact - alone) / max(1 - alone, 1e-12)  # what the second tells of what the first leaves
            count = int(rows.sum())
            if (
                _adjusted(exact, count, 2) >= least
                and not _by_chance(exact, count, 2, comb(len(names), 2))
                and not _by_chance(more, count - 1, 1, len(names))
            ):
                found[pair] = max(found.get(pair, 0.0), exact)
    out: list[Disguise] = []
    for pair, r2 in sorted(found.items(), key=lambda item: -item[1]):
        if not any(set(pair) & set(d.columns) for d in out):
            out.append(Disguise(pair, "a sum of multiples", r2))
    return out


def _without_gaps(columns: Mapping[str, Floats]) -> Iterator[tuple[Bools, list[str]]]:
    """Sets of rows, and the columns that have values in all of them: one set for each pattern of gaps."""
    known = {n: np.isfinite(v) for n, v in columns.items()}
    patterns = {m.tobytes(): m for m in known.values()}
    if len(patterns) <= 6:
        patterns |= {
            m.tobytes(): m for a in list(patterns.values()) for b in list(patterns.values()) if (m := a & b).any()
        }
    often = sorted(patterns.values(), key=lambda m: -int(m.sum()))[:_MOST_PATTERNS]
    for rows in often:
        if rows.sum() >= _LEAST_ROWS:
            yield rows, [n for n, m in known.items() if m[rows].all() and np.ptp(columns[n][rows]) > 0]


def _standardised(matrix: Floats) -> Floats:
    """Columns with mean 0 and length 1."""
    centred = matrix - matrix.mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    return np.asarray(centred / np.where(size > 0, size, 1.0))


def _fit(x: Floats, y: Floats) -> float:
    """R2 of a linear fit; `x` and `y` have mean 0."""
    solved = np.linalg.lstsq(x, y, rcond=1e-9)[0]
    left = y - x @ solved
    return 1 - float(left @ left) / float(y @ y)


def _several(columns: Mapping[str, Floats], target: Floats, least: float) -> list[Disguise]:
    """The first set of more than two columns that tells the target, on the rows without gaps of most columns."""
    for rows, names in _without_gaps(columns):
        if len(names) < 3 or rows.sum() < 4 * _LEAST_ROWS:
            continue
        x, y = _standardised(np.column_stack([columns[n][rows] for n in names])), target[rows] - target[rows].mean()
        if not float(y @ y) > 0:
            continue
        for chosen, r2 in (_grown(x, y, least), _whole(x, y, least)):
            if (
                chosen
                and _adjusted(r2, int(rows.sum()), len(chosen)) >= least
                and not _by_chance(r2, int(rows.sum()), len(chosen), comb(len(names), len(chosen)))
            ):
                return [Disguise(tuple(names[i] for i in sorted(chosen)), "a sum of multiples", r2)]
    return []


def _grown(x: Floats, y: Floats, least: float) -> tuple[list[int], float]:
    """Columns taken one by one, each time the one that helps most."""
    chosen: list[int] = []
    left = y
    for _ in range(min(_MOST_COLUMNS, x.shape[1])):
        basis = np.linalg.qr(x[:, chosen])[0] if chosen else np.zeros((len(y), 0))
        new = x - basis @ (basis.T @ x)
        size = np.sqrt((new**2).sum(axis=0))
        gain = np.where(size > 1e-6, np.abs(new.T @ left) / np.where(size > 1e-6, size, 1.0), -1.0)
        gain[chosen] = -1.0
        chosen.append(int(gain.argmax()))
        r2 = _fit(x[:, chosen], y)
        if r2 >= least:
            return chosen, r2
        basis = np.linalg.qr(x[:, chosen])[0]
        left = y - basis @ (basis.T @ y)
    return [], 0.0


def _whole(x: Floats, y: Floats, least: float) -> tuple[list[int], float]:
    """All columns at once, if they tell rows left out of the fit; of them those that the fit cannot do without."""
    count, size = x.shape
    if count < 3 * size or _left_out(x, y) < least:
        return [], 0.0
    chosen = list(range(size))
    for i in sorted(chosen, key=lambda i: abs(float(x[:, i] @ y))):
        rest = [j for j in chosen if j != i]
        if len(rest) > 2 and _left_out(x[:, rest], y) >= least:
            chosen = rest
    return chosen, _left_out(x[:, chosen], y)


def _left_out(x: Floats, y: Floats) -> float:
    """R2 of predictions of every row by a linear fit on all others."""
    u, s, _ = np.linalg.svd(x, full_matrices=False)
    u = u[:, s > s[0] * 1e-9]
    error = (y - u @ (u.T @ y)) / np.maximum(1 - (u**2).sum(axis=1) - 1 / len(y), 1e-9)
    return 1 - float(error @ error) / float(y @ y)
