"""How often intervals hold: coverage, width and continuous ranked probability score, glacier by glacier left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from scipy.stats import norm

from glacmb_grid.checking import Limits, Share, checking_arguments
from glacmb_grid.uncertainty.conformal import (
    Method,
    Scores,
    checked_levels,
    least_glaciers,
    positions_in,
    residuals,
)
from glacmb_grid.validation.bootstrap import Blocks, blocks_of, interval_of, with_groups
from glacmb_grid.validation.scores import labels_of, slices_of
from glacmb_grid.vocabulary import LEVELS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_KEYS = ["scheme", "protocol", "model"]
COVERAGE_COLUMNS = [
    *(*_KEYS, "method", "kind", "slice", "level", "coverage", "lower", "upper", "pooled", "width", "crps"),
    *("glaciers", "n", "note"),
]
_KINDS = ("decade", "size")


@checking_arguments
def coverage(
    predictions: pd.DataFrame,
    levels: Sequence[float] = LEVELS,
    draws: Annotated[int, Limits(least=1)] = 2000,
    seed: int = 1,
    *,
    samples: xr.Dataset | None = None,
    scale: npt.ArrayLike | None = None,
    interval: Share = 0.9,
) -> pd.DataFrame:
    """How often the intervals of withheld glaciers hold their observations, and how wide they are.

    The interval of a glacier is calibrated on the residuals of all others, by the same scheme. A glacier counts once,
    whatever the number of its rows, as in the promise that a conformal interval makes.

    Parameters
    ----------
    predictions : DataFrame
        From `out_of_fold`; any schemes and models.
    levels : sequence of float
        Probabilities of the intervals.
    draws : int
        Bootstrap draws, at least 1.
    seed : int
    samples : xr.Dataset, optional
        With `area` (km2) over `sample`, for slices by size class.
    scale : float array, (row,), m, optional
        Expected error of every prediction, by which residuals are divided.
    interval : float
        Probability of the interval of a coverage, above 0 and below 1.

    Returns
    -------
    DataFrame
        COVERAGE_COLUMNS. `method` is `hierarchical` or `calibrated`, as in `conformal_half_widths`, or `gaussian`: the
        interval of the normal distribution with `predicted_uncertainty`. `kind` is `all`, `decade`, `size`, or `sign`,
        with slices by the sign of the prediction. `coverage` is the mean over glaciers and `pooled` the share of rows;
        `lower` and `upper` bound the former, by drawing whole groups (by `both_out` groups and years), NaN with fewer
        than LEAST_BLOCKS; `width` is the mean of both sides of an interval, m, and `crps` the score of the whole
        distribution, m, means over glaciers as well; `note` says why an interval is not available.

    Examples
    --------
    >>> import numpy as np, pandas as pd, glacmb_grid as gg
    >>> glacier = np.repeat(np.arange(10), 3)
    >>> known = {"scheme": "logo", "protocol": "nested", "glacier": glacier, "year": [2001, 2002, 2003] * 10}
    >>> table = pd.DataFrame({**known, "sample": range(30), "observed": 0.1 * glacier - 1})
    >>> error = np.where(glacier < 9, 0.1, 0.5) * np.tile([1, -1, 1], 10)
    >>> table = table.assign(model="m", predicted=table["observed"] + error, predicted_uncertainty=0.2)
    >>> held = gg.coverage(table, [0.9], draws=100)
    >>> held[held["kind"] == "all"].set_index("method")["coverage"].round(2).to_dict()
    {'hierarchical': 0.9, 'calibrated': 0.9, 'gaussian': 0.9}
    """
    probabilities = checked_levels(levels)
    table = with_groups(predictions)
    table = table.assign(_scale=1.0 if scale is None else np.asarray(scale, np.float64))
    lines: list[tuple[object, ...]] = []
    for keys, part in table.groupby(_KEYS, sort=False):
        rows = part.reset_index(drop=True)
        for method, held in _methods(rows, probabilities).items():
            for kind, name, inside in _parts(rows, samples):
                blocks = blocks_of(rows.iloc[inside], str(keys[0]), draws, seed)
                found = held.take(inside).summaries(probabilities, blocks, interval)
                lines += [(*keys, method, kind, name, *one) for one in found]
    return pd.DataFrame(lines, columns=COVERAGE_COLUMNS)


@dataclass(frozen=True)
class Held:
    """Rows with the half widths of their intervals.

    Attributes
    ----------
    error : float array, (row,), m
        Absolute residuals.
    half : float array, (level, row), m
        NaN where not available.
    crps : float array, (row,), m
    glacier : str array, (row,)
    note : tuple of str, (level,)
    """

    error: Floats
    half: Floats
    crps: Floats
    glacier: npt.NDArray[np.str_]
    note: tuple[str, ...]

    def take(self, rows: Integers) -> Held:
        """Some of the rows."""
        return Held(self.error[rows], self.half[:, rows], self.crps[rows], self.glacier[rows], self.note)

    def summaries(self, levels: Floats, blocks: Blocks | None, interval: float) -> Iterator[tuple[object, ...]]:
        """For each level what COVERAGE_COLUMNS name after the slice."""
        _, number, count = np.unique(self.glacier, return_inverse=True, return_counts=True)
        share = 1 / count[number]
        crps = float((share * self.crps).sum() / share.sum())
        for level, half, note in zip(levels.tolist(), self.half, self.note, strict=True):
            if not np.isfinite(half).all():
                yield (level, *([np.nan] * 5), crps, len(count), len(half), note)
                continue
            inside = self.error <= half
            bounds = (np.nan, np.nan) if blocks is None else interval_of(_drawn(blocks, share, inside), interval)
            width = 2 * float((share * half).sum() / share.sum())
            mean = float((share * inside).sum() / share.sum())
            yield (level, mean, *bounds, float(inside.mean()), width, crps, len(count), len(half), note)


def _drawn(blocks: Blocks, share: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
    """Coverage of every bootstrap draw, (draw,)."""
    cells = len(blocks.of_cell[0])
    held, whole = (np.bincount(blocks.cell, share * w, cells) for w in (inside, np.ones(len(share))))
    return np.concatenate([(w @ held) / (w @ whole) for w in blocks.pieces(len(share))])


def _methods(rows: pd.DataFrame, levels: Floats) -> dict[str, Held]:
    """Intervals by every method."""
    glacier = rows["glacier"].to_numpy().astype(str)
    error = residuals(rows)
    scale = rows["_scale"].to_numpy(np.float64)
    out = {str(m): _conformal(error, scale, glacier, levels, m) for m in get_args(Method)}
    given = rows["predicted_uncertainty"] if "predicted_uncertainty" in rows else pd.Series(np.nan, rows.index)
    sigma = np.asarray(given, np.float64)
    if (sigma > 0).all():
        half = norm.ppf((1 + levels) / 2)[:, None] * sigma
        out["gaussian"] = Held(error, half, gaussian_crps(error, sigma), glacier, ("",) * len(levels))
    return out


def _conformal(error: Floats, scale: Floats, glacier: npt.NDArray[np.str_], levels: Floats, method: Method) -> Held:
    """Intervals of every glacier from the residuals of all others."""
    scores = Scores.of(error / scale, glacier)
    place = positions_in(scores.names, glacier)[0]
    half, crps = np.empty((len(levels), len(error))), np.empty(len(error))
    for number in range(len(scores.names)):
        mine, rest = np.flatnonzero(place == number), scores.without(number)
        half[:, mine] = rest.quantiles(levels, method)[:, None] * scale[mine]
        crps[mine] = scale[mine] * symmetric_crps(error[mine] / scale[mine], rest)
    others = len(scores.names) - 1
    notes = (
        ""
        if others >= (least := least_glaciers(level))
        else f"not available: it takes {least} other glaciers, and there are {others}"
        for level in levels.tolist()
    )
    return Held(error, half, crps, glacier, tuple(notes))


def symmetric_crps(error: Floats, scores: Scores) -> Floats:
    """Continuous ranked probability score of a distribution of absolute errors of either sign, (row,).

    Parameters
    ----------
    error : float array, (row,)
        Absolute difference between the observation and the middle of the distribution.
    scores : Scores
        The absolute errors that make the distribution, with their weights.

    Returns
    -------
    float array, (row,)
        ``E max(S, |e|) - E max(S, S') / 2``, S and S' drawn from the scores; NaN without any.
    """
    if not len(scores.score):
        return np.full(len(error), np.nan)
    weight = scores.share / scores.share.sum()
    below = np.concatenate([[0.0], np.cumsum(weight)])
    product = weight * scores.score
    above = product.sum() - np.concatenate([[0.0], np.cumsum(product)])
    spread = float((product * (below[1:] + below[:-1])).sum())
    place = np.searchsorted(scores.score, error, side="right")
    return np.asarray(error * below[place] + above[place] - spread / 2)


def gaussian_crps(error: Floats, sigma: Floats) -> Floats:
    """Continuous ranked probability score of normal distributions, (row,)."""
    z = error / sigma
    return np.asarray(sigma * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)))


def _parts(rows: pd.DataFrame, samples: xr.Dataset | None) -> Iterator[tuple[str, str, Integers]]:
    """Kind, name and row numbers of all rows and of the slices that are known before the observation is."""
    yield "all", "all", np.arange(len(rows))
    positive = rows["predicted"].to_numpy() > 0
    for name, inside in (("predicted positive", positive), ("predicted negative", ~positive)):
        if inside.any():
            yield "sign", name, np.flatnonzero(inside)
    for kind, name, numbers in slices_of(rows, labels_of(rows, samples)):
        if kind in _KINDS:
            yield kind, name, numbers
