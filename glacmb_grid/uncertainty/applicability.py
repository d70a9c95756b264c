"""Where predictors are like those that a model learnt from: dissimilarity, its threshold, and density of training rows.

References
----------
Meyer & Pebesma (2021), Predicting into unknown space? Estimating the area of applicability of spatial prediction
models, Methods in Ecology and Evolution 12.
Schumacher et al. (2025), Lost in (predictor) space: local point density, Geoscientific Model Development.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.spatial.distance import cdist

from glacmb_grid.errors import InputError, listing
from glacmb_grid.folds.masks import Folds
from glacmb_grid.samples import operator_of
from glacmb_grid.schemas import SAMPLES, check
from glacmb_grid.uncertainty.near import Near, nearest_points, pairwise_mean

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class PredictorSpace:
    """The space in which dissimilarity is measured, with the rows that a model learnt from.

    Attributes
    ----------
    predictors : str array, (predictor,)
    centre, scale : float arrays, (predictor,)
        A coordinate is (value - centre) x scale: the scale is the weight over the standard deviation, 0 where a
        predictor does not vary among the training rows.
    may_lack : bool array, (predictor,)
        Whether a gap counts as the training mean, as in a fit; with a gap elsewhere a row has no distance.
    points : float64 array, (training row, coordinate)
        Coordinates of predictors with a scale.
    glacier, year : arrays, (training row,)
    fit : bool array, (fold, training row)
        What each fold learnt from.
    own_fold : int array, (training row,)
        The fold that scores a row; -1 where none does.
    mean_distance : float
        Mean distance of two training rows.
    """

    predictors: Texts
    centre: Floats
    scale: Floats
    may_lack: Bools
    points: Floats
    glacier: Texts
    year: Integers
    fit: Bools
    own_fold: Integers
    mean_distance: float

    def coordinates(self, values: npt.ArrayLike) -> Floats:
        """Coordinates of rows of predictors, (row, predictor) to (row, coordinate); NaN where the row has a gap."""
        used = self.scale > 0
        out = (np.asarray(values)[:, used].astype(np.float64) - self.centre[used]) * self.scale[used]
        gap = ~np.isfinite(out)
        if gap.any():
            out[gap & self.may_lack[used]] = 0.0
            out[(gap & ~self.may_lack[used]).any(axis=1)] = np.nan
        return np.asarray(out)

    def training_of(self, glacier: str) -> Bools:
        """Rows that the folds learnt from which may predict a glacier, (training row,).

        Those of the folds that withhold all its rows, where it is measured; any row for other glaciers.
        """
        mine = self.glacier == glacier
        if not mine.any():
            return np.ones(len(mine), bool)
        free = ~self.fit[:, mine].any(axis=1)
        if not free.any():
            raise ValueError(f"no fold withholds {glacier}: dissimilarity needs folds that leave glaciers out")
        return np.asarray(self.fit[free].any(axis=0))

    def of_training(self, *, years_out: bool = False) -> Floats:
        """Dissimilarity of every training row from the rows that its own fold learnt from, (training row,).

        With `years_out`, also without rows of its own year, as where glacier and year are both left out. NaN for rows
        that no fold scores, or where nothing is left.
        """
        out = np.full(len(self.points), np.nan)
        for fold in np.unique(self.own_fold[self.own_fold >= 0]):
            rows = np.flatnonzero(self.own_fold == fold)
            allowed = np.broadcast_to(self.fit[fold], (len(rows), len(self.points)))
            if years_out:
                allowed = allowed & (self.year != self.year[rows][:, None])
            out[rows] = np.where(allowed, cdist(self.points[rows], self.points), np.inf).min(axis=1)
        return np.where(np.isfinite(out), out, np.nan) / self.mean_distance

    @cached_property
    def threshold(self) -> float:
        """Largest dissimilarity of the area of applicability: the upper whisker of those of the training rows.

        The whisker is the largest value within 1.5 interquartile ranges above the upper quartile.
        """
        own = self.of_training()
        own = own[np.isfinite(own)]
        if not len(own):
            return float("nan")
        low, high = np.quantile(own, [0.25, 0.75])
        return float(own[own <= high + 1.5 * (high - low)].max())


def predictor_space(
    samples: xr.Dataset, folds: Folds, weights: npt.ArrayLike | None = None, *, may_lack: Sequence[str] = ()
) -> PredictorSpace:
    """The importance-weighted, standardised space of the predictors that a model learnt from.

    Parameters
    ----------
    samples : xr.Dataset
        Annual samples.
    folds : Folds
        That the model was fitted in, of a scheme that leaves glaciers out.
    weights : float array, (predictor,), optional
        Importance of the predictors, not negative, as from `predictor_weights`; all alike by default.
    may_lack : sequence of str
        Predictors of which gaps count as the training mean, besides those that have gaps in the training rows.

    Returns
    -------
    PredictorSpace

    Raises
    ------
    InputError
        Weights of another number, negative, or all zero; fewer than two different training rows.
    """
    check(samples, SAMPLES)
    operator = operator_of(samples)
    if not operator.is_identity:
        raise ValueError(f"dissimilarity is of annual samples; {listing(operator.rows, 3)} are not all annual")
    names = samples["predictor"].values.astype(str)
    weight = _checked_weights(weights, names)
    learnt = folds.fit.any(axis=0)
    values = samples["predictors"].values.astype(np.float64)[learnt]
    valid = np.isfinite(values)
    count = np.maximum(valid.sum(axis=0), 1)
    centre = np.where(valid, values, 0).sum(axis=0) / count
    spread = np.sqrt((np.where(valid, values - centre, 0) ** 2).sum(axis=0) / count)
    varies = (spread > 1e-6 * np.maximum(np.abs(centre), 1e-6)) & (weight > 0)
    scale = np.divide(weight, spread, out=np.zeros_like(spread), where=varies)
    lacking = ~valid.all(axis=0) | np.isin(names, list(may_lack))
    points = np.where(valid, values - centre, 0.0)[:, varies] * scale[varies]
    distance = pairwise_mean(points)
    if not distance > 0:
        raise InputError(
            "predictors",
            expected="at least two training rows that differ in predictors of some weight",
            found=f"{len(points)} rows, {int(varies.sum())} predictors that vary",
            remedy="give more samples, or other weights",
        )
    scored = folds.score.any(axis=0)
    own = np.where(scored, folds.score.argmax(axis=0), -1)[learnt]
    glacier, year = (samples[n].values[learnt] for n in ("glacier", "year"))
    return PredictorSpace(
        names, centre, scale, lacking, points, glacier.astype(str), year.astype(np.int64), folds.fit[:, learnt], own,
        distance,
    )  # fmt: skip


def dissimilarity(
    space: PredictorSpace, values: npt.ArrayLike, *, training: Bools | None = None
) -> tuple[Floats, Integers]:
    """Dissimilarity of rows from the nearest training row, and the number of training rows within the threshold.

    Parameters
    ----------
    space : PredictorSpace
    values : float array, (row, predictor)
        In the order of `space.predictors`.
    training : bool array, (training row,), optional
        Training rows to look at, by default all; for a measured glacier `space.training_of` it.

    Returns
    -------
    dissimilarity : float64 array, (row,)
        Distance to the nearest training row over the mean distance of two training rows; NaN where a predictor is
        missing.
    density : int array, (row,)
        Training rows at most `space.threshold` away; 0 where a predictor is missing.

    Raises
    ------
    InputError
        Rows of another number of predictors.
    """
    if np.ndim(values) != 2 or np.shape(values)[1] != len(space.predictors):
        raise InputError(
            "dissimilarity: values",
            expected=f"(row, predictor), with the {len(space.predictors)} predictors of the space",
            found=f"shape {np.shape(values)}",
            remedy="take the predictors that `space.predictors` names, in its order",
        )
    points = space.points if training is None else space.points[training]
    near: Near = nearest_points(space.coordinates(values), points, space.threshold * space.mean_distance)
    return near.distance / space.mean_distance, near.within


def _checked_weights(weights: npt.ArrayLike | None, names: Texts) -> Floats:
    """Weights as an array, or an error that says what they are."""
    weight = np.ones(len(names)) if weights is None else np.asarray(weights, np.float64)
    if weight.shape != names.shape or not (np.isfinite(weight) & (weight >= 0)).all() or not (weight > 0).any():
        raise InputError(
            "weights",
            expected=f"a number of at least 0 for each of the {len(names)} predictors, not all 0",
            found=f"shape {weight.shape}, from {weight.min(initial=np.inf):g} to {weight.max(initial=-np.inf):g}",
            remedy="pass what `predictor_weights` gives",
        )
    return weight
