"""Conformal intervals for glaciers that were not learnt from.

The glacier is the unit: the promise is about a random year of one more glacier like the measured ones. Of K glaciers,
each row of glacier k with n_k rows has the weight 1 / ((K + 1) n_k), and the glacier to come the weight 1 / (K + 1) at
infinity. The half width is the quantile of the absolute out-of-fold residuals under these weights.

References
----------
Lee, Barber & Willett (2023), Distribution-free inference with hierarchical data, arXiv:2306.06342.
Duchi (2024), Some observations on sensitivity and group conformal prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.checking import checking_arguments
from glacmb_grid.errors import InputError, listing
from glacmb_grid.schemas import require_columns
from glacmb_grid.vocabulary import LEVELS

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]

Method = Literal["hierarchical", "calibrated"]
"""`hierarchical` promises at least the level, whatever the distribution; of few glaciers it over-covers. `calibrated`
takes the level at which quantiles of all other glaciers cover withheld ones as often as asked: measured, no promise."""
KINDS = ("logo", "both_out")
"""Schemes whose residuals are those of years with observations, and of years without."""
LEAST_SCALE = 1e-9
"""m; smaller expected errors count as this."""
_ROUNDING = 1e-10  # of sums of weights


def least_glaciers(level: float) -> int:
    """Glaciers that an interval needs: with fewer, the weight at infinity reaches into it."""
    return math.ceil(level / (1 - level) * (1 - _ROUNDING))


def conformal_quantile(score: Floats, glacier: npt.ArrayLike, level: float) -> float:
    """Quantile of scores under hierarchical weights.

    Parameters
    ----------
    score : float array, (row,)
        Absolute residuals, or these over an expected error.
    glacier : array, (row,)
    level : float
        Probability, above 0 and below 1.

    Returns
    -------
    float
        The smallest score with at least this weight at or below it; NaN with fewer than `least_glaciers`.
    """
    sorted_scores = Scores.of(np.asarray(score, np.float64), np.asarray(glacier))
    return float(sorted_scores.quantiles(np.array([level]))[0])


@dataclass(frozen=True)
class Scores:
    """Scores in ascending order, with the share of its glacier that each is, (row,), and the glacier's number.

    `count` glaciers have scores; `names` of all numbers, sorted.
    """

    score: Floats
    share: Floats
    glacier: Integers
    count: int
    names: Texts

    @classmethod
    def of(cls, score: Floats, glacier: npt.NDArray[np.generic]) -> Scores:
        """From rows in any order; rows without a score are an error of the caller."""
        if not np.isfinite(score).all():
            raise ValueError("scores must be finite: leave out rows without a residual")
        glaciers, number, count = np.unique(glacier.astype(str), return_inverse=True, return_counts=True)
        order = np.argsort(score, kind="stable")
        return cls(score[order], 1 / count[number[order]], number[order].astype(np.int64), len(glaciers), glaciers)

    def without(self, number: int) -> Scores:
        """The scores of all other glaciers than one of those that have scores; numbers stay."""
        kept = self.glacier != number
        return Scores(self.score[kept], self.share[kept], self.glacier[kept], self.count - 1, self.names)

    def quantiles(self, levels: Floats, method: Method = "hierarchical") -> Floats:
        """Quantiles, (level,); NaN where there are too few glaciers."""
        count = self.count
        enough = np.array([count >= least_glaciers(level) for level in levels])
        if not enough.any():
            return np.full(len(levels), np.nan)
        weight = np.cumsum(self.share)
        if method == "hierarchical":
            place = np.searchsorted(weight, (levels - _ROUNDING) * (count + 1))
        else:
            place = np.searchsorted(weight, (self._levels_that_hold(levels) + _ROUNDING) * count, side="right")
        return np.where(enough, self.score[place.clip(max=len(weight) - 1)], np.nan)

    def _levels_that_hold(self, levels: Floats) -> Floats:
        """Levels above which quantiles of all other glaciers cover a withheld one as often as asked, (level,)."""
        if self.count < 2:
            return levels
        summed = np.concatenate([[0.0], np.cumsum(self.share)])
        others = summed[np.searchsorted(self.score, self.score)] - self.share * self._own_below()
        below = others / (self.count - 1)  # share of the other glaciers' scores that are smaller
        order = np.argsort(below, kind="stable")
        weight = np.cumsum(self.share[order]) / self.count
        return np.asarray(below[order][np.searchsorted(weight, levels - _ROUNDING).clip(max=len(weight) - 1)])

    def _own_below(self) -> Integers:
        """How many scores of its own glacier are smaller than each, (row,)."""
        by = np.argsort(self.glacier, kind="stable")
        glacier, score, place = self.glacier[by], self.score[by], np.arange(len(by))
        starts = np.ones(len(by), bool)
        starts[1:] = (glacier[1:] != glacier[:-1]) | (score[1:] != score[:-1])
        out = np.empty(len(by), np.int64)
        out[by] = np.maximum.accumulate(np.where(starts, place, 0)) - np.searchsorted(glacier, glacier)
        return out


@dataclass(frozen=True)
class Calibration:
    """Half widths of the intervals of every glacier and year: of all glaciers alike, and of each measured one.

    Attributes
    ----------
    levels : float array, (level,)
    observed : int array, (year,)
        Years with observations, whose residuals are those of `logo`.
    glaciers : str array, (glacier,)
        Measured ones, sorted.
    common : float array, (kind, level)
        Kinds as in `KINDS`; m, or multiples of an expected error.
    own : float array, (glacier, kind, level)
        The same without the residuals of the glacier itself.
    scaled : bool
        Whether these are multiples of an expected error.
    """

    levels: Floats
    observed: Integers
    glaciers: Texts
    common: Floats
    own: Floats
    scaled: bool = False

    def half_widths(self, glacier: npt.ArrayLike, year: npt.ArrayLike, scale: Floats | None = None) -> xr.DataArray:
        """Half widths of intervals, (glacier, year, level), m.

        Parameters
        ----------
        glacier, year : arrays, (glacier,) and (year,)
            Of the product.
        scale : float array, (glacier, year), m, optional
            Expected errors, where the scores were divided by such.
        """
        if self.scaled and scale is None:
            raise ValueError("the scores were divided by expected errors: pass those of the glacier-years as `scale`")
        kind = kind_of(year, self.observed)
        out = self.of_glaciers(glacier)[:, kind]
        if scale is not None and self.scaled:
            out = out * np.maximum(scale, LEAST_SCALE)[:, :, None]
        coords = {"glacier": np.asarray(glacier), "year": np.asarray(year), "level": self.levels}
        text = "half width of the interval around the annual mass balance that holds the true one with this probability"
        attrs = {"long_name": text, "units": "m"} | self.notes()
        return xr.DataArray(out, coords, ("glacier", "year", "level"), "half_width", attrs)

    def of_glaciers(self, glacier: npt.ArrayLike) -> Floats:
        """Quantiles of glaciers, (glacier, kind, level): their own where they are measured, else the common ones."""
        place, known = positions_in(self.glaciers, np.asarray(glacier).astype(str))
        return np.asarray(np.where(known[:, None, None], self.own[place], self.common))

    def notes(self) -> dict[str, str]:
        """Why a level is not available, by the name of an attribute."""
        return {"comment": text} if (text := "; ".join(filter(None, map(self.note, self.levels.tolist())))) else {}

    def note(self, level: float) -> str:
        """Why the interval of a level is not available for some or all glaciers; empty if it is for all."""
        count, least = len(self.glaciers), least_glaciers(level)
        if count > least:
            return ""
        what = f"a {100 * level:g} % interval needs residuals of {least} glaciers"
        if count < least:
            return f"not available: {what}, and there are {count}"
        return f"not available for measured glaciers: {what} besides its own, and there are {count - 1}"


@checking_arguments
def calibrate(
    predictions: pd.DataFrame,
    levels: Sequence[float] = LEVELS,
    *,
    scale: npt.ArrayLike | Callable[[str], Floats] | None = None,
    method: Method = "hierarchical",
) -> Calibration:
    """Half widths of conformal intervals from out-of-fold predictions.

    Parameters
    ----------
    predictions : DataFrame
        From `out_of_fold`, of one model, by the scheme `logo` and, optionally, `both_out` (else `logo` stands for it).
    levels : sequence of float
        Probabilities of the intervals.
    scale : float array, (row,), m, or callable, optional
        Expected error of every prediction, by which residuals are divided. A callable gives it without the residuals of
        a glacier, by its name; for the empty name each row without those of its own glacier.
    method : str
        A word of `Method`.

    Returns
    -------
    Calibration

    Raises
    ------
    InputError
        Without predictions by `logo`, or those of several models; levels that are no probabilities.
    """
    probabilities = checked_levels(levels)
    tables = by_kind(predictions.assign(_row=np.arange(len(predictions))))
    logo = tables["logo"]
    glaciers = np.unique(logo["glacier"].to_numpy().astype(str))
    shape = (len(KINDS), len(probabilities))
    common, own = np.full(shape, np.nan), np.full((len(glaciers), *shape), np.nan)
    for kind, name in enumerate(KINDS):
        table = tables[name]
        scores = _scores(table, scale, "")
        common[kind] = scores.quantiles(probabilities, method)
        place, known = positions_in(scores.names, glaciers)
        for row, number in enumerate(place.tolist()):
            whole = _scores(table, scale, str(glaciers[row])) if callable(scale) else scores
            rest = whole.without(number) if known[row] else whole
            own[row, kind] = rest.quantiles(probabilities, method)
    observed = np.unique(logo["year"].to_numpy(np.int64))
    return Calibration(probabilities, observed, glaciers, common, own, scale is not None)


def _scores(table: pd.DataFrame, scale: npt.ArrayLike | Callable[[str], Floats] | None, without: str) -> Scores:
    """Scores of the rows of a table; a glacier's residuals are not in the scale that is given without them."""
    score = residuals(table)
    if scale is not None:
        each = np.asarray(scale(without) if callable(scale) else scale, np.float64)
        score = score / np.maximum(each[table["_row"].to_numpy()], LEAST_SCALE)
    return Scores.of(score, table["glacier"].to_numpy())


@checking_arguments
def conformal_half_widths(
    predictions: pd.DataFrame,
    glaciers: npt.ArrayLike,
    years: npt.ArrayLike,
    levels: Sequence[float] = LEVELS,
    *,
    method: Method = "hierarchical",
) -> xr.DataArray:
    """Half widths of conformal intervals for every glacier and year of a product.

    Parameters
    ----------
    predictions : DataFrame
        From `out_of_fold`, of one model, by the scheme `logo` and, optionally, `both_out`.
    glaciers, years : arrays, (glacier,) and (year,)
        Of the product.
    levels : sequence of float
        Probabilities, above 0 and below 1.
    method : str
        `hierarchical`, which promises at least the level, or `calibrated`, which is narrower with few glaciers.

    Returns
    -------
    xr.DataArray, (glacier, year, level), m
        NaN where there are too few glaciers, and the attribute `comment` says how many it takes. A year with
        observations has the residuals of `logo`, any other those of `both_out`; a measured glacier those of the others.

    Raises
    ------
    InputError
        Without predictions by `logo`, or with those of several models; levels that are no probabilities.

    Examples
    --------
    >>> import numpy as np, pandas as pd, glacmb_grid as gg
    >>> glacier = np.repeat(np.arange(10), 3)
    >>> table = pd.DataFrame({"scheme": "logo", "model": "m", "glacier": glacier, "year": [2001, 2002, 2003] * 10})
    >>> table = table.assign(observed=0.0, predicted=0.1 * (1 + glacier % 4))
    >>> half = gg.conformal_half_widths(table, ["new"], [2001], levels=[0.5, 0.8])
    >>> half.values.round(2).tolist()
    [[[0.2, 0.4]]]
    """
    return calibrate(predictions, levels, method=method).half_widths(glaciers, years)


def checked_levels(levels: Sequence[float]) -> Floats:
    """Levels as an array, or an error that says what they are."""
    out = np.asarray(list(levels), np.float64)
    if not len(out) or not ((out > 0) & (out < 1)).all():
        found = listing(out.tolist()) or "none"
        raise InputError("levels", expected="probabilities above 0 and below 1", found=found, remedy="as levels=[0.9]")
    return out


def residuals(table: pd.DataFrame) -> Floats:
    """Absolute out-of-fold residuals, (row,), m w.e."""
    return np.asarray(np.abs((table["observed"] - table["predicted"]).to_numpy(np.float64)))


def by_kind(predictions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables of predictions of years with observations and of years without, by the names of `KINDS`."""
    needed = ("scheme", "model", "glacier", "year", "observed", "predicted")
    require_columns(predictions, needed, name="predictions", source="`out_of_fold`")
    names = list(dict.fromkeys(predictions["model"].astype(str)))
    tables = {str(s): t for s, t in predictions.groupby("scheme")}
    if len(names) != 1 or "logo" not in tables:
        raise InputError(
            "predictions",
            expected="out-of-fold predictions of one model, by the scheme logo",
            found=f"models {listing(names) or 'none'}; schemes {listing(tables) or 'none'}",
            remedy="take those of one model, and judge it by logo",
        )
    return {"logo": tables["logo"], "both_out": tables.get("both_out", tables["logo"])}


def kind_of(year: npt.ArrayLike, observed: Integers) -> Integers:
    """Position in `KINDS` of the residuals of every year, (year,)."""
    return (~np.isin(np.asarray(year, np.int64), observed)).astype(np.int64)


def positions_in(known: Texts, names: Texts) -> tuple[Integers, Bools]:
    """Position of names among sorted known ones, 0 where unknown, and whether they are known."""
    if not len(known):
        return np.zeros(len(names), np.int64), np.zeros(len(names), bool)
    place = np.searchsorted(known, names).clip(max=len(known) - 1)
    found = known[place] == names
    return np.where(found, place, 0).astype(np.int64), found
