"""The structured Gaussian process of glacier-year balances: its hyper-parameters and its posterior.

Amplitudes and lengths of the terms of `kernel` are learnt by marginal likelihood under weak priors. Glaciers and years
without observations need no special treatment: the posterior of their own terms is the prior.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_solve, cholesky, lapack
from scipy.optimize import minimize

from glacmb_grid.learning.elsewhere import Elsewhere, among
from glacmb_grid.learning.kernel import LENGTHS, TERMS, USUAL, Hyper, Inputs, covariance, near_factor, raw_factor
from glacmb_grid.learning.ragged import Arrays

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

_OWN_ROWS = 300  # of one glacier beside the common rows of a large table
_CHUNK = 1000  # rows at a time


@dataclass(frozen=True)
class Settings:
    """Terms of the Gaussian process, their priors, and how it is learnt.

    Attributes
    ----------
    terms : tuple of str
        Names of `TERMS`; terms whose inputs are missing are left out.
    amplitude, noise : (float, float)
        Median of the log-normal prior of every amplitude and of the noise, as a share of the target's standard
        deviation, and its spread in log.
    lengths : dict
        The same for the length of each factor of `LENGTHS`: weather and static inputs in standard deviations of a
        column, positions in km, years in years.
    iterations, tolerance : int, float
        Of the optimiser (L-BFGS).
    learn_rows : int
        In a larger table, hyper-parameters are learnt on whole glaciers drawn in a fixed order, up to this many rows.
    max_rows : int
        In a larger table, predictions are conditioned on up to this many rows, drawn in the same way, and on up to 300
        more of the glacier to predict.
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
    return learn_and_weigh(inputs, target, sigma, settings)[0]


def learn_and_weigh(
    inputs: Inputs, target: Floats, sigma: Floats | None = None, settings: Settings | None = None
) -> tuple[Hyper, float]:
    """What `learn` gives, and minus the log of its posterior density, of the standardised target, by row.

    Of kernels that are learnt on the same rows, the one whose second value is lowest explains them best.
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
    return Hyper(evidence.names, evidence.natural(found.x) * units), float(found.fun) / len(rows)


@dataclass(frozen=True)
class Posterior:
    """A process conditioned on observations, reduced to weights, so that predicting is only multiplication.

    Attributes
    ----------
    hyper : Hyper
    level : float
        Mean of the observations, m w.e.
    inputs : Inputs
        Rows that all predictions are conditioned on.
    weight : float64 array, (row,)
    own : Inputs
        More rows of single glaciers, if the table is larger than `Settings.max_rows`.
    own_weight : float64 array, (own row,)
    change : float64 array, (glacier, row)
        Added to `weight` when predicting the glaciers of `own`, sorted by name.
    """

    hyper: Hyper
    level: float
    inputs: Inputs
    weight: Floats
    own: Inputs
    own_weight: Floats
    change: Floats

    def mean(self, new: Inputs) -> Floats:
        """Posterior mean of the balance at new rows, (row,), m w.e."""
        out = np.empty(len(new))
        known = among(new.glacier, np.concatenate([self.inputs.glacier, self.own.glacier]))
        mine = np.flatnonzero(known)
        for start in range(0, len(mine), _CHUNK):
            some = mine[start : start + _CHUNK]
            out[some] = self._mean(new.take(some))
        out[~known] = self.level + Elsewhere(self.hyper, self.inputs, self.weight).sums(new.take(~known))
        return out

    def _mean(self, new: Inputs) -> Floats:
        likeness = covariance(self.hyper, new, self.inputs)
        out = self.level + likeness @ self.weight
        if len(self.own):
            glaciers, index = np.unique(self.own.glacier, return_inverse=True)
            for number in np.flatnonzero(np.isin(glaciers, new.glacier)):
                predicted = np.flatnonzero(new.glacier == glaciers[number])
                mine = np.flatnonzero(index == number)
                out[predicted] += likeness[predicted] @ self.change[number]
                own_likeness = covariance(self.hyper, new.take(predicted), self.own.take(mine))
                out[predicted] += own_likeness @ self.own_weight[mine]
        return np.asarray(out)

    def state(self) -> Arrays:
        """All that `from_state` needs, as arrays."""
        out = {"hyper_names": np.array(self.hyper.names), "hyper_values": self.hyper.values}
        out |= {"level": np.array(self.level), "weight": self.weight}
        out |= {"own_weight": self.own_weight, "change": self.change}
        for kind, inputs in (("inputs", self.inputs), ("own", self.own)):
            parts = {n: getattr(inputs, n) for n in ("weather", "static", "glacier", "year")}
            parts["position"] = np.zeros((0, 2)) if inputs.position is None else inputs.position
            out |= {f"{kind}_{n}": np.asarray(v) for n, v in parts.items()}
        return {f"process_{n}": v for n, v in out.items()}

    @classmethod
    def from_state(cls, state: Arrays) -> Posterior:
        """A posterior from the arrays of `state`."""
        state = {n.removeprefix("process_"): v for n, v in state.items() if n.startswith("process_")}

        def inputs(kind: str) -> Inputs:
            parts = [state[f"{kind}_{n}"] for n in ("weather", "static", "glacier", "year")]
            position = state[f"{kind}_position"]
            return Inputs(parts[0], parts[1], parts[2], parts[3], position if len(position) else None)

        hyper = Hyper(tuple(state["hyper_names"].tolist()), state["hyper_values"])
        weights = state["weight"], inputs("own"), state["own_weight"], state["change"]
        return cls(hyper, float(state["level"]), inputs("inputs"), *weights)


def posterior(inputs: Inputs, target: Floats, hyper: Hyper, settings: Settings | None = None) -> Posterior:
    """Condition the process on observations.

    All predictions are conditioned on common rows; those of a glacier with other rows on up to 300 of these, too.

    Parameters
    ----------
    inputs, target
        Training rows, as in `learn`.
    hyper : Hyper
    settings : Settings, optional
        Only its `max_rows` is used.
    """
    common = _whole_glaciers(inputs.glacier, (settings or Settings()).max_rows)
    others = np.delete(np.arange(len(inputs)), common)
    noise = hyper["noise"] ** 2
    base, level = inputs.take(common), float(target.mean())
    factor = _cholesky(covariance(hyper, base, base, same_rows=True), np.full(len(base), noise))
    weight = cho_solve((factor, True), target[common] - level, check_finite=False)
    kept, own_weight, change = [np.arange(0)], [np.zeros(0)], [np.zeros((0, len(base)))]
    for mine in _rows_of(np.unique(inputs.glacier[others]), inputs.glacier[others]):
        own = others[_spread(mine, _OWN_ROWS)]
        rows = inputs.take(own)
        cross = covariance(hyper, base, rows)
        reach = cho_solve((factor, True), cross, check_finite=False)
        within = _cholesky(covariance(hyper, rows, rows, same_rows=True) - cross.T @ reach, np.full(len(rows), noise))
        surprise = target[own] - level - cross.T @ weight
        kept.append(own)
        own_weight.append(cho_solve((within, True), surprise, check_finite=False))
        change.append(-(reach @ own_weight[-1])[None])
    more = inputs.take(np.concatenate(kept))
    return Posterior(hyper, level, base, weight, more, np.concatenate(own_weight), np.concatenate(change))


def _cholesky(matrix: Floats, noise: Floats) -> Floats:
    """Lower Cholesky factor of a matrix plus noise on its diagonal; overwrites the matrix."""
    matrix[np.diag_indices_from(matrix)] += noise
    return np.asarray(cholesky(matrix, lower=True, overwrite_a=True, check_finite=False))


def _whole_glaciers(glacier: npt.NDArray[np.generic], rows: int) -> Index:
    """Indices of at most this many rows, of whole glaciers drawn in a fixed order; of one if even that has more."""
    if len(glacier) <= rows:
        return np.arange(len(glacier))
    _, which, counts = np.unique(glacier, return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(counts))
    taken = order[np.cumsum(counts[order]) <= rows]
    if taken.size:
        return np.flatnonzero(np.isin(which, taken))
    return _spread(np.flatnonzero(which == order[0]), rows)


def _spread(rows: Index, most: int) -> Index:
    """At most this many of the rows, evenly spaced."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]


def _rows_of(glaciers: npt.NDArray[np.generic], glacier: npt.NDArray[np.generic]) -> list[Index]:
    """Indices of the rows of each of these glaciers."""
    order = np.argsort(glacier, kind="stable")
    ends = [np.searchsorted(glacier[order], glaciers, side=side) for side in ("left", "right")]
    return [order[i:j] for i, j in zip(*ends, strict=True)]


def terms_of(inputs: Inputs, settings: Settings) -> tuple[str, ...]:
    """The terms of the settings whose inputs exist."""
    available = {"weather": inputs.weather.shape[1] > 0, "static": inputs.static.shape[1] > 0}
    available["position"] = inputs.position is not None and bool(np.isfinite(inputs.position).all(axis=1).any())
    return tuple(t for t in settings.terms if all(available.get(f.split("_")[0], True) for f in TERMS[t]))


class Evidence:
    """Minus the log posterior density of the hyper-parameters, and its gradient.

    Its argument holds log hyper-parameters, less their prior median and in units of their prior spread. Matrices are
    stored as vectors over the pairs of rows i <= j; terms within a glacier or a year only for the pairs concerned.
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
        self.factors = {f: raw_factor(f, inputs, inputs, True).ravel()[self.pairs] for f in sorted(used)}
        self.where = {t: self._support(t) for t in self.terms}
        self.dense = {f for t in self.terms if self.where[t] is None for f in TERMS[t] if f in LENGTHS}

    def _support(self, term: str) -> Index | None:
        """Indices of the pairs that a term within a glacier or a year concerns; None for all pairs."""
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
        # twice the derivative of the log likelihood by the covariance of a pair, which occurs twice in the matrix
        pull = (np.outer(weight, weight) - inverse.T).ravel()[self.pairs]
        pull[self.diagonal] /= 2
        slope = dict.fromkeys(self.names, 0.0)
        slope["noise"] = 2 * value["noise"] ** 2 * pull[self.diagonal].sum()
        for term, part in parts.items():
            where = self.where[term]
            pulled = (pull if where is None else pull[where]) * part
            slope[term] = 2 * pulled.sum()
            for name, derivative in slopes[term].items():
                slope[name] += pulled @ derivative
        gradient = standard - self.spread * np.array([slope[n] for n in self.names])
        return float(energy + 0.5 * standard @ standard), gradient

    def _parts(self, value: dict[str, float]) -> tuple[dict[str, Floats], dict[str, dict[str, Floats]]]:
        """Covariance of every term on its pairs, and the derivatives of its log with respect to the log lengths."""
        shared = {f: near_factor(f, self.factors[f], value[f]) for f in self.dense}
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
                    log, slopes[term][name] = near_factor(name, self.factors[name][where], value[name])
                    part *= np.exp(log)
                elif name.endswith("_product"):
                    part *= self.factors[name] if where is None else self.factors[name][where]
            parts[term] = part
        return parts, slopes
