"""Expected error against dissimilarity: a monotone curve fitted to out-of-fold residuals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.schemas import Field, Schema, check

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

LEAST_GLACIERS = 5
"""Glaciers behind every step of the curve."""

ERROR_CURVE = Schema(
    "error curve",
    "`ErrorCurve.to_dataset`",
    {"mean_square_error": Field(("step",), units="m2"), "weight": Field(("step",), units="1")},
    {"dissimilarity": Field(("step",), units="1")},
)


@dataclass(frozen=True)
class ErrorCurve:
    """Mean square error as a function of dissimilarity that never falls.

    Attributes
    ----------
    dissimilarity : float array, (step,)
        Ascending, where the steps lie: the mean of their rows.
    mean_square : float array, (step,), m2
        Never falling.
    weight : float array, (step,)
        Glaciers behind each step, a glacier split between several steps counting in parts.

    Examples
    --------
    >>> import numpy as np, glacmb_grid as gg
    >>> curve = gg.ErrorCurve(np.array([0.5, 1.5]), np.array([0.04, 0.16]), np.array([20.0, 20.0]))
    >>> curve.at([0.0, 1.0, 9.0]).round(2).tolist()
    [0.2, 0.32, 0.4]
    """

    dissimilarity: Floats
    mean_square: Floats
    weight: Floats

    def square_at(self, dissimilarity: npt.ArrayLike) -> Floats:
        """Expected squared error, m2, linear between the steps, constant before the first and beyond the last.

        A dissimilarity that is NaN gives NaN.
        """
        asked = np.asarray(dissimilarity, np.float64)
        found = np.interp(asked, self.dissimilarity, self.mean_square)  # of one step, it takes NaN for a number
        return np.asarray(np.where(np.isnan(asked), np.nan, found))

    def at(self, dissimilarity: npt.ArrayLike) -> Floats:
        """Expected error (root mean square), m; as `square_at`."""
        return np.sqrt(self.square_at(dissimilarity))

    def to_dataset(self) -> xr.Dataset:
        """The curve over `step`."""
        ds = xr.Dataset(
            {
                "mean_square_error": ("step", self.mean_square, {"units": "m2"}),
                "weight": ("step", self.weight, {"long_name": "glaciers behind a step", "units": "1"}),
            },
            coords={"dissimilarity": ("step", self.dissimilarity, {"units": "1"})},
        )
        text = "squared out-of-fold error against dissimilarity; linear between steps, constant beyond the last"
        return ds.assign_attrs(long_name=text)

    @classmethod
    def from_dataset(cls, ds: xr.Dataset) -> ErrorCurve:
        """A curve from what `to_dataset` gave.

        Raises
        ------
        InputError
            Where a variable is missing or has other dimensions.
        """
        check(ds, ERROR_CURVE)
        return cls(*(ds[n].values.astype(np.float64) for n in ("dissimilarity", "mean_square_error", "weight")))


def fit_error_curve(
    residual: npt.ArrayLike,
    dissimilarity: npt.ArrayLike,
    glacier: npt.ArrayLike,
    *,
    least_glaciers: int = LEAST_GLACIERS,
) -> ErrorCurve:
    """Fit the monotone curve of squared errors against dissimilarity.

    Parameters
    ----------
    residual : float array, (row,), m w.e.
        Out-of-fold residuals; rows without a residual or dissimilarity are left out.
    dissimilarity : float array, (row,)
        Of the same rows from what their fold was fitted on.
    glacier : array, (row,)
        A glacier with n rows gives each the weight 1 / n.
    least_glaciers : int
        Glaciers, counted by these weights and by name, behind every step; with fewer in all there is one step.

    Returns
    -------
    ErrorCurve

    Raises
    ------
    ValueError
        Without any row.

    Examples
    --------
    >>> import numpy as np, glacmb_grid as gg
    >>> far = np.repeat([0.1, 0.5, 2.0], 20)
    >>> curve = gg.fit_error_curve(np.repeat([0.2, 0.3, 0.8], 20), far, glacier=np.arange(60))
    >>> curve.at([0.0, 0.5, 5.0]).round(2).tolist()
    [0.2, 0.3, 0.8]
    """
    error, far = np.asarray(residual, np.float64), np.asarray(dissimilarity, np.float64)
    if not error.shape == far.shape == np.shape(glacier):
        raise InputError(
            "fit_error_curve: residual, dissimilarity, glacier",
            expected="one of each for every row",
            found=f"shapes {error.shape}, {far.shape}, {np.shape(glacier)}",
            remedy="pass columns of one table",
        )
    known = np.isfinite(error) & np.isfinite(far)
    if not known.any():
        raise ValueError("an error curve needs residuals with a dissimilarity")
    _, number, count = np.unique(np.asarray(glacier).astype(str)[known], return_inverse=True, return_counts=True)
    order = np.argsort(far[known], kind="stable")
    number = number[order].astype(np.int64)
    weight, far = 1 / count[number], far[known][order]
    start = _starts(far, number, weight, least_glaciers)
    total = np.add.reduceat(weight, start)
    place = np.add.reduceat(weight * far, start) / total
    square = np.add.reduceat(weight * error[known][order] ** 2, start) / total
    return _monotone(place, square, total)


def _starts(far: Floats, number: Integers, weight: Floats, least: int) -> Integers:
    """First rows of runs in ascending dissimilarity with enough glaciers, ties together; the rest joins the last."""
    starts, seen, total = [0], set[int](), 0.0
    ends = np.append(far[1:] > far[:-1], True)
    for row, (glacier, share, end) in enumerate(zip(number.tolist(), weight.tolist(), ends.tolist(), strict=True)):
        seen.add(glacier)
        total += share
        if end and len(seen) >= least and total >= least - 1e-9:
            starts.append(row + 1)
            seen, total = set(), 0.0
    if len(starts) > 1:
        starts.pop()  # the last run goes to the end
    return np.array(starts, np.int64)


def _monotone(place: Floats, square: Floats, weight: Floats) -> ErrorCurve:
    """Weighted isotonic regression by pooling adjacent violators; pooled steps are one step at their mean place."""
    pooled: list[tuple[float, float, float]] = []
    for one in zip(weight.tolist(), (weight * place).tolist(), (weight * square).tolist(), strict=True):
        pooled.append(one)
        while len(pooled) > 1 and pooled[-2][2] * pooled[-1][0] >= pooled[-1][2] * pooled[-2][0]:
            last, before = pooled.pop(), pooled.pop()
            pooled.append((before[0] + last[0], before[1] + last[1], before[2] + last[2]))
    total, far, squares = np.array(pooled).T
    return ErrorCurve(far / total, squares / total, total)
