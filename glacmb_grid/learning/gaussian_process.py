"""A structured Gaussian process of glacier-year balances.

The balance is a constant plus a sum of independent Gaussian processes, one for each reason why two glacier-years are
alike: the same weather, the same surroundings, the same glacier, the same year, a neighbour in the same year. How much
each reason counts is learnt by marginal likelihood under weak priors. A glacier or a year that was never measured is no
special case: its own terms are then simply unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, lapack, solve_triangular
from scipy.optimize import minimize

from glacmb_grid.vocabulary import EARTH_RADIUS

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

# Term -> the factors whose product is its correlation. All terms share the length of a factor that ends in `_near`.
TERMS: dict[str, tuple[str, ...]] = {
    "constant": (),
    "weather_linear": ("weather_product",),
    "weather": ("weather_near",),
    "static_linear": ("static_product",),
    "static": ("static_near",),
    "static_weather": ("static_near", "weather_product"),
    "position": ("position_near",),
    "glacier": ("same_glacier",),
    "glacier_weather": ("same_glacier", "weather_product"),
    "glacier_smooth": ("same_glacier", "year_near"),
    "smooth": ("year_near",),
    "position_smooth": ("position_near", "year_near"),
    "year": ("same_year",),
    "year_static": ("same_year", "static_near"),
    "year_position": ("same_year", "position_near"),
}
LENGTHS = ("weather_near", "static_near", "position_near", "year_near")
USUAL = (
    "constant",
    "weather_linear",
    "weather",
    "static_linear",
    "static",
    "glacier",
    "glacier_weather",
    "glacier_smooth",
    "smooth",
    "year",
    "year_position",
)
_OWN_ROWS = 300  # of one glacier beyond the common rows of a large table
_CHUNK = 1000  # rows at a time


@dataclass(frozen=True)
class Settings:
    """What the Gaussian process is made of and how it is learnt.

    Attributes
    ----------
    terms : tuple of str
        Names of `TERMS`; one that needs an input that is not there is left out.
    amplitude, noise : (float, float)
        Median of the log-normal prior of every amplitude and of the noise, as a share of the target's standard
        deviation, and its spread in log.
    lengths : dict
        The same of the length of each factor of `LENGTHS`: weather and statics in standard deviations of a column,
        positions in km, years in years.
    iterations, tolerance : int, float
        Of the optimiser (L-BFGS).
    learn_rows : int
        Of a larger table, hyper-parameters are learnt on whole glaciers drawn in a fixed order, up to this many rows.
    max_rows : int
        Of a larger table, predictions are conditioned on up to this many rows, drawn so, and on up to 300 more of the
        glacier in question.
    """

    terms: tuple[str, ...] = USUAL
    amplitude: tuple[float, float] = (0.3, 1.0)
    noise: tuple[float, float] = (0.5, 1.0)
    lengths: dict[str, tuple[float, float]] = field(
        default_factory=lambda: {
            "weather_near": (2.0, 0.7),
            "static_near": (1.0, 0.7),
            "position_near": (200.0, 0.7),
            "year_near": (10.0, 0.7),
        }
    )
    iterations: int = 40
    tolerance: float = 1e-5
    learn_rows: int = 1500
    max_rows: int = 2000


@dataclass(frozen=True)
class Inputs:
    """What is known of glacier-years; no gaps but in the position.

    Attributes
    ----------
    weather : float64 array, (row, a)
        Standardised values that vary from year to year at a glacier.
    static : float64 array, (row, b)
        Standardised values that do not: topography, climatological means.
    glacier, year : arrays, (row,)
    position : float64 array, (row, 2), optional
        Longitude and latitude in degrees; a row without one (NaN) has no neighbours.
    """

    weather: Floats
    static: Floats
    glacier: npt.NDArray[np.generic]
    year: npt.NDArray[np.generic]
    position: Floats | None = None

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.glacier)

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.integer]) -> Inputs:
        """Some of the rows, by a mask or by index."""
        position = None if self.position is None else self.position[rows]
        return Inputs(self.weather[rows], self.static[rows], self.glacier[rows], self.year[rows], position)


@dataclass(frozen=True)
class Hyper:
    """Hyper-parameters.

    Attributes
    ----------
    names : tuple of str
        A term (then the value is its amplitude, m w.e.), a factor of `LENGTHS` (its length), or `noise` (m w.e.).
    values : float64 array, (hyper,)
    """

    names: tuple[str, ...]
    values: Floats

    def __getitem__(self, name: str) -> float:
        """One of the values."""
        return float(self.values[self.names.index(name)])

    @property
    def terms(self) -> tuple[str, ...]:
        """The terms among the names."""
        return tuple(n for n in self.names if n in TERMS)


def learn(inputs: Inputs, target: Floats, sigma: Floats | None = None, settings: Settings | None = None) -> Hyper:
    """Hyper-parameters of highest posterior density, from fixed starting values.

    Parameters
    ----------
    inputs : Inputs
    target : float64 array, (row,)
        Balance, m w.e.
    sigma : float64 array, (row,), optional
        Reported standard error, m w.e., which adds to the noise of its row.
    settings : Settings, optional
    """
    settings = settings or Settings()
    rows = _whole_glaciers(inputs.glacier, settings.learn_rows)
    inputs, target = inputs.take(rows), target[rows]
    spread = float(target.std())
    scale = spread if spread > 1e-9 * (1 + abs(float(target.mean()))) else 1.0
    errors = np.zeros(len(rows)) if sigma is None else sigma[rows] / scale
    evidence = Evidence(inputs, (target - target.mean()) / scale, errors, settings)
    found = minimize(
        evidence,
        np.zeros(len(evidence.names)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-4.0, 4.0)] * len(evidence.names),
        options={"maxiter": settings.iterations, "ftol": settings.tolerance, "gtol": 1e-3},
    )
    units = np.array([1.0 if n in LENGTHS else scale for n in evidence.names])
    return Hyper(evidence.names, evidence.natural(found.x) * units)


def condition(
    inputs: Inputs,
    target: Floats,
    sigma: Floats | None,
    hyper: Hyper,
    new_inputs: Inputs,
    settings: Settings | None = None,
) -> tuple[Floats, Floats]:
    """Posterior mean and variance of the balance at new rows.

    Parameters
    ----------
    inputs, target, sigma
        Training rows, as in `learn`.
    hyper : Hyper
    new_inputs : Inputs
    settings : Settings, optional
        Its `max_rows` alone counts here.

    Returns
    -------
    mean, variance : float64 arrays, (row,)
        m w.e. and (m w.e.)2, the variance of a new measurement: noise included, its own reported error not.
    """
    common = _whole_glaciers(inputs.glacier, (settings or Settings()).max_rows)
    others = np.delete(np.arange(len(inputs)), common)
    noise = np.full(len(inputs), hyper["noise"] ** 2) + (0.0 if sigma is None else sigma**2)
    base, rest = inputs.take(common), inputs.take(others)
    level = float(target.mean())
    factor = _cholesky(covariance(hyper, base, base, same_rows=True), noise[common])
    weight = solve_triangular(factor, target[common] - level, lower=True, check_finite=False)
    mean, variance = np.empty((2, len(new_inputs)))
    for chunk in _chunks(new_inputs.glacier, rest.glacier):
        new, own = (np.concatenate(rows) for rows in zip(*chunk, strict=True))
        asked, mine = new_inputs.take(new), rest.take(own)
        reach = solve_triangular(factor, covariance(hyper, base, asked), lower=True, check_finite=False)
        mean[new] = level + weight @ reach
        variance[new] = prior_variance(hyper, asked) + hyper["noise"] ** 2 - np.sum(reach**2, axis=0)
        if not own.size:
            continue
        back = solve_triangular(factor, covariance(hyper, base, mine), lower=True, check_finite=False)
        surprise = target[others[own]] - level - weight @ back
        for i, j in _slices(chunk):
            few, its = asked.take(np.arange(i.start, i.stop)), mine.take(np.arange(j.start, j.stop))
            inner = covariance(hyper, its, its, same_rows=True) - back[:, j].T @ back[:, j]
            within = _cholesky(inner, noise[others[own[j]]])
            cross = covariance(hyper, its, few) - back[:, j].T @ reach[:, i]
            more = solve_triangular(within, cross, lower=True, check_finite=False)
            mean[new[i]] += solve_triangular(within, surprise[j], lower=True, check_finite=False) @ more
            variance[new[i]] -= np.sum(more**2, axis=0)
    return mean, variance


def _cholesky(matrix: Floats, noise: Floats) -> Floats:
    matrix[np.diag_indices_from(matrix)] += noise
    return np.asarray(cholesky(matrix, lower=True, overwrite_a=True, check_finite=False))


def _whole_glaciers(glacier: npt.NDArray[np.generic], rows: int) -> Index:
    """At most so many rows, of whole glaciers drawn in a fixed order; of one glacier if even that has more."""
    if len(glacier) <= rows:
        return np.arange(len(glacier))
    _, which, counts = np.unique(glacier, return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(counts))
    taken = order[np.cumsum(counts[order]) <= rows]
    if taken.size:
        return np.flatnonzero(np.isin(which, taken))
    return _spread(np.flatnonzero(which == order[0]), rows)


def _spread(rows: Index, most: int) -> Index:
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]


def _chunks(new: npt.NDArray[np.generic], rest: npt.NDArray[np.generic]) -> Iterator[list[tuple[Index, Index]]]:
    """Some new rows at a time, by glacier where `rest` has rows of it, with these."""
    none = np.arange(0)
    known = np.isin(new, rest)
    alone = np.flatnonzero(~known)
    yield from ([(alone[i : i + _CHUNK], none)] for i in range(0, len(alone), _CHUNK))
    glaciers = np.unique(new[known])
    chunk: list[tuple[Index, Index]] = []
    for asked, mine in zip(_rows_of(glaciers, new), _rows_of(glaciers, rest), strict=True):
        own = _spread(mine, _OWN_ROWS)
        for i in range(0, len(asked), _CHUNK):
            chunk.append((asked[i : i + _CHUNK], own))
            if sum(len(a) + len(o) for a, o in chunk) >= _CHUNK:
                yield chunk
                chunk = []
    if chunk:
        yield chunk


def _rows_of(glaciers: npt.NDArray[np.generic], glacier: npt.NDArray[np.generic]) -> list[Index]:
    """Rows of each of some glaciers."""
    order = np.argsort(glacier, kind="stable")
    ends = [np.searchsorted(glacier[order], glaciers, side=side) for side in ("left", "right")]
    return [order[i:j] for i, j in zip(*ends, strict=True)]


def _slices(chunk: list[tuple[Index, Index]]) -> Iterator[tuple[slice, slice]]:
    """Where the rows of every glacier of a chunk lie in it."""
    i = j = 0
    for new, own in chunk:
        yield slice(i, i + len(new)), slice(j, j + len(own))
        i, j = i + len(new), j + len(own)


def terms_of(inputs: Inputs, settings: Settings) -> tuple[str, ...]:
    """The terms of the settings for which the inputs exist."""
    there = {"weather": inputs.weather.shape[1] > 0, "static": inputs.static.shape[1] > 0}
    there["position"] = inputs.position is not None and bool(np.isfinite(inputs.position).all(axis=1).any())
    return tuple(t for t in settings.terms if all(there.get(f.split("_")[0], True) for f in TERMS[t]))


def covariance(hyper: Hyper, one: Inputs, other: Inputs, *, same_rows: bool = False) -> Floats:
    """Prior covariance without noise, (row of one, row of other), (m w.e.)2."""
    factors = {f: _raw_factor(f, one, other, same_rows) for t in hyper.terms for f in TERMS[t]}
    for name in factors.keys() & set(LENGTHS):
        factors[name] = np.exp(_near(name, factors[name], hyper[name])[0])
    total = np.zeros((len(one), len(other)))
    for term in hyper.terms:
        part: Floats | float = hyper[term] ** 2
        for name in TERMS[term]:
            part = part * factors[name]
        total += part
    return total


def prior_variance(hyper: Hyper, inputs: Inputs) -> Floats:
    """The diagonal of `covariance`, (row,)."""
    total = np.zeros(len(inputs))
    for term in hyper.terms:
        part: Floats | float = hyper[term] ** 2
        for name in TERMS[term]:
            if name.endswith("_product"):
                columns = _columns(name, inputs)
                part = part * (columns**2).sum(axis=1) / max(columns.shape[1], 1)
        total += part
    return total


def _columns(factor: str, inputs: Inputs) -> Floats:
    return inputs.weather if factor.startswith("weather") else inputs.static


def _raw_factor(name: str, one: Inputs, other: Inputs, same_rows: bool) -> Floats:
    """Equality, product, or what `_near` makes a correlation of: a squared distance (positions: a distance in km)."""
    if name in ("weather_product", "static_product"):
        x, y = _columns(name, one), _columns(name, other)
        return np.asarray(x @ y.T / max(x.shape[1], 1))
    if name in ("weather_near", "static_near"):
        x, y = _columns(name, one), _columns(name, other)
        return np.asarray(_square_distance(x, y) / max(x.shape[1], 1))
    if name == "year_near":
        return np.asarray((one.year.astype(np.float64)[:, None] - other.year.astype(np.float64)) ** 2)
    if name == "position_near":
        x, y = _kilometres(one), _kilometres(other)
        distance = np.sqrt(_square_distance(np.nan_to_num(x), np.nan_to_num(y)))
        distance[np.isnan(x[:, 0])] = np.inf
        distance[:, np.isnan(y[:, 0])] = np.inf
        if same_rows:
            np.fill_diagonal(distance, 0.0)
        return distance
    former, latter = (i.glacier if name == "same_glacier" else i.year for i in (one, other))
    return np.asarray(np.equal(former[:, None], latter), dtype=np.float64)


def _kilometres(inputs: Inputs) -> Floats:
    """Points of the sphere, (row, 3), km."""
    position = np.full((len(inputs), 2), np.nan) if inputs.position is None else inputs.position
    longitude, latitude = np.deg2rad(position).T
    axes = [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)]
    return np.asarray(np.stack(axes, axis=1) * (EARTH_RADIUS / 1000))


def _square_distance(one: Floats, other: Floats) -> Floats:
    squares = np.sum(one**2, axis=1)[:, None] + np.sum(other**2, axis=1) - 2 * one @ other.T
    return np.asarray(np.maximum(squares, 0.0))


def _near(name: str, distance: Floats, length: float) -> tuple[Floats, Floats]:
    """Log of the correlation, and its derivative with respect to the log of the length.

    Exponential in the distance of positions (through the earth, which keeps it a covariance), Gaussian elsewhere.
    """
    if name == "position_near":
        ratio = distance / length
        return -ratio, np.where(np.isfinite(ratio), ratio, 0.0)
    squares = distance / length**2
    return -0.5 * squares, squares


class Evidence:
    """Minus the log posterior density of the hyper-parameters, and its gradient.

    Its argument holds log hyper-parameters, less their prior median and in units of their prior spread. Matrices are
    held as vectors over the pairs of rows i <= j, and terms of one glacier or one year as the few pairs they touch.
    """

    def __init__(self, inputs: Inputs, target: Floats, sigma: Floats, settings: Settings) -> None:
        n = len(inputs)
        self.terms = terms_of(inputs, settings)
        used = {f for t in self.terms for f in TERMS[t]}
        lengths = tuple(f for f in LENGTHS if f in used)
        self.names = (*self.terms, *lengths, "noise")
        priors = [settings.amplitude for _ in self.terms] + [settings.lengths[f] for f in lengths] + [settings.noise]
        self.centre = np.log([median for median, _ in priors])
        self.spread = np.array([spread for _, spread in priors])
        self.target, self.variance = target, sigma**2
        self.pairs = np.flatnonzero(np.tri(n, dtype=bool).T)
        self.diagonal = np.searchsorted(self.pairs, np.arange(n) * (n + 1))
        self.factors = {f: _raw_factor(f, inputs, inputs, True).ravel()[self.pairs] for f in sorted(used)}
        self.where = {t: self._support(t) for t in self.terms}
        self.dense = {f for t in self.terms if self.where[t] is None for f in TERMS[t] if f in LENGTHS}

    def _support(self, term: str) -> Index | None:
        equal = [f for f in TERMS[term] if f.startswith("same_")]
        return np.flatnonzero(self.factors[equal[0]]) if equal else None

    def natural(self, standard: Floats) -> Floats:
        """Hyper-parameters in units of the target's standard deviation and of the lengths."""
        return np.asarray(np.exp(self.centre + self.spread * standard))

    def __call__(self, standard: Floats) -> tuple[float, Floats]:
        """Value and gradient."""
        value = dict(zip(self.names, self.natural(standard), strict=True))
        parts, slopes = self._parts(value)
        n = len(self.target)
        total = np.zeros(len(self.pairs))
        for term, part in parts.items():
            where = self.where[term]
            if where is None:
                total += part
            else:
                total[where] += part
        total[self.diagonal] += value["noise"] ** 2 + self.variance
        matrix = np.zeros(n * n)
        matrix[self.pairs] = total
        factor = cholesky(matrix.reshape(n, n).T, lower=True, overwrite_a=True, check_finite=False)
        weight = cho_solve((factor, True), self.target, check_finite=False)
        energy = 0.5 * self.target @ weight + np.log(np.diag(factor)).sum()
        inverse, _ = lapack.dpotri(factor, lower=1, overwrite_c=1)
        # twice the derivative of the log likelihood with respect to the covariance of a pair, which stands for two
        pull = (np.outer(weight, weight) - inverse.T).ravel()[self.pairs]
        pull[self.diagonal] /= 2
        slope = dict.fromkeys(self.names, 0.0)
        slope["noise"] = 2 * value["noise"] ** 2 * pull[self.diagonal].sum()
        for term, part in parts.items():
            where = self.where[term]
            moved = (pull if where is None else pull[where]) * part
            slope[term] = 2 * moved.sum()
            for name, by in slopes[term].items():
                slope[name] += moved @ by
        gradient = standard - self.spread * np.array([slope[n] for n in self.names])
        return float(energy + 0.5 * standard @ standard), gradient

    def _parts(self, value: dict[str, float]) -> tuple[dict[str, Floats], dict[str, dict[str, Floats]]]:
        """Covariance of every term on its pairs, and the derivatives of its log with respect to the log lengths."""
        shared = {f: _near(f, self.factors[f], value[f]) for f in self.dense}
        near = {f: (np.exp(log), slope) for f, (log, slope) in shared.items()}
        parts: dict[str, Floats] = {}
        slopes: dict[str, dict[str, Floats]] = {}
        for term in self.terms:
            where = self.where[term]
            part = np.full(len(self.pairs if where is None else where), value[term] ** 2)
            slopes[term] = {}
            for name in TERMS[term]:
                if name in self.dense:
                    correlation, slope = near[name] if where is None else (near[name][0][where], near[name][1][where])
                    part *= correlation
                    slopes[term][name] = slope
                elif name in LENGTHS:
                    log, slopes[term][name] = _near(name, self.factors[name][where], value[name])
                    part *= np.exp(log)
                elif name.endswith("_product"):
                    part *= self.factors[name] if where is None else self.factors[name][where]
            parts[term] = part
        return parts, slopes
