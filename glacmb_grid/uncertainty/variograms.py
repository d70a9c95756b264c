"""The correlation of errors from out-of-fold residuals: variograms in space and time, and a model fitted to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import least_squares

from glacmb_grid.errors import InputError, listing
from glacmb_grid.schemas import require_columns
from glacmb_grid.uncertainty.correlation import ErrorCorrelation, Structure, cartesian_km, published_correlation

Floats = npt.NDArray[np.float64]

FEWEST_GLACIERS = 10
FEWEST_ROWS = 60
MAX_LAG = 10  # years
_FIRST_EDGE, _RATIO = 10.0, 1.6  # km, and of one edge of the distances to the next
_BLOCK = 512  # glaciers whose pairs with all others are taken at a time
_ROUNDS = 4  # of fitting with the weights of the model before
_LEAST_PAIRS = 10.0  # weight of a bin below which it is left out


@dataclass(frozen=True)
class Variogram:
    """Semivariances by distance and lag.

    Attributes
    ----------
    distance : float64 array, (bin,), km
        Mean of the pairs; 0 for one glacier in two years.
    lag : float64 array, (bin,), years
    value : float64 array, (bin,)
        Half the mean squared difference.
    pairs : float64 array, (bin,)
        Weight: the number of pairs of glaciers, each as n / (n + 1) for n pairs of years.
    """

    distance: Floats
    lag: Floats
    value: Floats
    pairs: Floats

    def take(self, rows: npt.NDArray[np.bool_]) -> Variogram:
        """Some of the bins."""
        return Variogram(self.distance[rows], self.lag[rows], self.value[rows], self.pairs[rows])


def fit_correlation(
    predictions: pd.DataFrame,
    positions: pd.DataFrame,
    *,
    sigma: npt.ArrayLike | None = None,
    observed_uncertainty: npt.ArrayLike | None = None,
) -> ErrorCorrelation:
    """Correlation of the errors of predictions, from out-of-fold residuals.

    Parameters
    ----------
    predictions : DataFrame
        Out-of-fold predictions of one model by one scheme: `glacier`, `year`, `observed`, `predicted`.
    positions : DataFrame, by glacier
        `longitude`, `latitude`, degrees. Glaciers without a position are left out.
    sigma : array, (row,), optional, m
        Expected standard deviation of each residual; default their root mean square.
    observed_uncertainty : array, (row,), optional, m
        Of the observations. Their part of the nugget is no error of the predictions and is taken off.

    Returns
    -------
    ErrorCorrelation
        A persistent and a yearly structure and a nugget; published values below 10 glaciers or 60 rows.

    Raises
    ------
    InputError
        Columns missing, a glacier-year twice, sigmas that are not positive.

    Notes
    -----
    Semivariances of the residuals divided by sigma, in bins of distance and of lag up to 10 years, where a pair of
    glaciers with n pairs of years has the weight n / (n + 1): long series do not outvote short ones. The model is
    fitted by least squares of the differences relative to the model, weighted by the root of the pairs of a bin, with
    bounds: ranges from 5 km to the greatest distance, an autocorrelation of 0 to 0.9, all shares at least 0.

    Differences do not see an error that all glaciers of all distances share: neither do residuals, whose mean the fit
    of the model brings near 0.
    """
    require_columns(positions, ("longitude", "latitude"), name="positions", source="a table of the glaciers")
    table, observation = _normalised(predictions, sigma, observed_uncertainty)
    known = table["glacier"].isin(positions.index[positions[["longitude", "latitude"]].notna().all(axis=1)])
    table = table[known]
    glaciers, rows = int(table["glacier"].nunique()), len(table)
    if glaciers < FEWEST_GLACIERS or rows < FEWEST_ROWS:
        few = f"{glaciers} glaciers with {rows} residuals, fewer than {FEWEST_GLACIERS} or {FEWEST_ROWS}"
        return published_correlation(f"{few}, so that published values stand in")
    errors = table.pivot(index="glacier", columns="year", values="error")
    years = np.arange(int(table["year"].min()), int(table["year"].max()) + 1)
    place = positions.loc[errors.index]
    points = cartesian_km(place["longitude"].to_numpy(), place["latitude"].to_numpy())
    variogram = semivariances(errors.reindex(columns=years).to_numpy(np.float64), points)
    structures, nugget = fit_model(variogram)
    return _without_observation(structures, nugget, float(observation[known].mean()), glaciers, rows)


def _without_observation(
    structures: tuple[Structure, ...], nugget: float, observation: float, glaciers: int, rows: int
) -> ErrorCorrelation:
    taken = min(observation, nugget)
    left = 1 - taken
    shares = tuple(Structure(s.share / left, s.range_km, s.persistence) for s in structures)
    reason = f"estimated from {rows} out-of-fold residuals of {glaciers} glaciers"
    reason += f"; {taken:.2f} of their variance is that of the observations" if taken else ""
    return ErrorCorrelation(shares, (nugget - taken) / left, "estimated", reason, glaciers, rows)


def _normalised(
    predictions: pd.DataFrame, sigma: npt.ArrayLike | None, observed_uncertainty: npt.ArrayLike | None
) -> tuple[pd.DataFrame, Floats]:
    """Errors divided by their expected standard deviation, and the share of the observations in each variance."""
    columns = ("glacier", "year", "observed", "predicted")
    require_columns(predictions, columns, name="predictions", source="`out_of_fold`")
    twice = predictions.duplicated(["glacier", "year"])
    if twice.any():
        raise InputError(
            "fit_correlation: predictions",
            expected="one row for each glacier and year, of one model and scheme",
            found=f"several of {listing(predictions.loc[twice, 'glacier'].unique(), 4)}",
            remedy='choose them: table[(table["scheme"] == "logo") & (table["model"] == MODEL)]',
        )
    error = (predictions["observed"] - predictions["predicted"]).to_numpy(np.float64)
    finite = np.isfinite(error)
    size = np.full(len(error), (error[finite] ** 2).mean() ** 0.5 if finite.any() else 1.0)
    size = size if sigma is None else np.asarray(sigma, np.float64)
    if size.shape != error.shape or not (size[finite] > 0).all():
        raise InputError(
            "fit_correlation: sigma",
            expected=f"a positive number for each of {len(error)} residuals",
            found=f"shape {size.shape}, {int((~(size > 0)).sum())} not positive",
            remedy="leave it out to take the root mean square of the residuals",
        )
    given = np.zeros(len(error)) if observed_uncertainty is None else np.asarray(observed_uncertainty, np.float64)
    if given.shape != error.shape:
        raise InputError(
            "fit_correlation: observed_uncertainty",
            expected=f"a number for each of {len(error)} residuals",
            found=f"shape {given.shape}",
            remedy="give it for the rows of the table, in their order",
        )
    share = np.clip(np.nan_to_num(given) ** 2 / size**2, 0, 1)
    table = predictions[["glacier", "year"]].assign(error=error / size)
    return table[finite], share[finite]


def semivariances(errors: Floats, points: Floats, edges: Floats | None = None, max_lag: int = MAX_LAG) -> Variogram:
    """Semivariances of errors of glaciers and consecutive years.

    Parameters
    ----------
    errors : float64 array, (glacier, year)
        NaN where there is none.
    points : float64 array, (glacier, 3), km
        From `cartesian_km`.
    edges : float64 array, optional, km
        Of the distances, ascending; a pair belongs to the bin whose upper edge it does not exceed. By default 0, 10 km
        and on, each 1.6 times the one before.
    max_lag : int
    """
    reach = 2 * np.linalg.norm(points - points.mean(axis=0), axis=1).max() + 1
    if edges is None:
        steps = np.arange(max(1, np.ceil(np.log(reach / _FIRST_EDGE) / np.log(_RATIO))) + 1)
        edges = np.append(0.0, _FIRST_EDGE * _RATIO**steps)
    lags = min(max_lag, errors.shape[1] - 1)
    sums = np.zeros((3, lags + 1, len(edges)))  # weight, weight x distance, weight x semivariance; bin 0 is one glacier
    for start in range(0, len(errors), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(errors)))
        distance = np.linalg.norm(points[rows][:, None] - points[None], axis=-1)
        same = rows[:, None] == np.arange(len(errors))[None]
        distance[same] = 0
        place = np.where(same, 0, np.clip(np.searchsorted(edges, distance, "left"), 1, len(edges)))
        place[place == len(edges)] = -1
        for lag in range(lags + 1):
            count, value = _of_pairs(errors[rows, : errors.shape[1] - lag], errors[:, lag:])
            used = (count > 0) & (place >= 0) & ((lag > 0) | (rows[:, None] < np.arange(len(errors))[None]))
            weight = count[used] / (count[used] + 1)
            for k, values in enumerate((np.ones(len(weight)), distance[used], value[used])):
                sums[k, lag] += np.bincount(place[used], weight * values, len(edges))
    lags_of, bins = np.nonzero(sums[0] > 0)
    pairs, distance, value = sums[:, lags_of, bins]
    return Variogram(distance / pairs, lags_of.astype(np.float64), value / pairs, pairs)


def _of_pairs(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Number of common columns of two rows and half of their mean squared difference, (row of one, row of other)."""
    known, theirs = np.isfinite(one).astype(np.float64), np.isfinite(other).astype(np.float64)
    a, b = np.nan_to_num(one), np.nan_to_num(other)
    count = known @ theirs.T
    square = a**2 @ theirs.T + known @ (b**2).T - 2 * (a @ b.T)
    return count, np.maximum(square, 0) / (2 * np.maximum(count, 1))


def model_semivariance(parameters: Floats, distance: Floats, lag: Floats) -> Floats:
    """Semivariance of the persistent and the yearly structure and the nugget.

    `parameters`: variance and range (km) of the persistent structure, variance, range and autocorrelation of the yearly
    one, variance of the nugget.
    """
    level, level_km, yearly, yearly_km, persistence, nugget = parameters
    kept = level * np.exp(-distance / level_km) + yearly * np.exp(-distance / yearly_km) * persistence**lag
    return np.asarray(level + yearly + nugget - kept)


def fit_model(variogram: Variogram) -> tuple[tuple[Structure, ...], float]:
    """Structures and nugget, shares of 1, by weighted least squares."""
    used = variogram.take(variogram.pairs >= _LEAST_PAIRS)
    level, level_km, yearly, yearly_km, persistence, nugget = (float(v) for v in fit_parameters(used)[0])
    total = level + yearly + nugget
    parts = (Structure(level / total, level_km, 1.0), Structure(yearly / total, yearly_km, persistence))
    return parts, nugget / total


def fit_parameters(variogram: Variogram) -> tuple[Floats, Floats]:
    """Parameters of `model_semivariance`, and what each difference was divided by, (bin,).

    The divisors are the semivariances of the model of the round before, over the fourth root of the pairs. Without lags
    the persistent structure cannot be told from the yearly one and has no variance.
    """
    reach = max(variogram.distance.max(initial=0), 2 * _FIRST_EDGE)
    lagged = bool((variogram.lag > 0).any())
    low = np.array([0, 5, 0, 5, 0, 0.0])
    high = np.array([4 if lagged else 1e-9, reach, 4, reach, 0.9 if lagged else 1e-9, 4])
    divisor = np.maximum(variogram.value, 0.05) / variogram.pairs**0.25
    starts = [np.array([0.3, a * reach, 0.3, b * reach, 0.2, 0.3]) for a in (0.05, 0.3) for b in (0.05, 0.3)]
    best = np.zeros(6)
    for _ in range(_ROUNDS):
        fits = [_least_squares(variogram, divisor, start, low, high) for start in starts]
        best = min(fits, key=lambda fit: fit[1])[0]
        model = model_semivariance(best, variogram.distance, variogram.lag)
        divisor, starts = np.maximum(model, 0.05) / variogram.pairs**0.25, [best]
    return best, divisor


def _least_squares(
    variogram: Variogram, divisor: Floats, start: Floats, low: Floats, high: Floats
) -> tuple[Floats, float]:
    def misfit(parameters: Floats) -> Floats:
        model = model_semivariance(parameters, variogram.distance, variogram.lag)
        return np.asarray((variogram.value - model) / divisor)

    inside = np.clip(start, low + 1e-3 * (high - low), high - 1e-3 * (high - low))
    fit = least_squares(misfit, inside, bounds=(low, high), x_scale=np.maximum(inside, 1e-3))
    return np.asarray(fit.x, np.float64), float(fit.cost)
