"""Posterior means at many glaciers that a process was not conditioned on.

There the terms of the same glacier are zero, and most others are products of a factor of places and one of years: they
cost sums over measured glaciers and years, not over all pairs of rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.learning.kernel import LENGTHS, TERMS, Floats, Hyper, Inputs, covariance, near_factor, raw_factor

Codes = npt.NDArray[np.int64]

_PLACE = ("static_product", "static_near", "position_near")
_YEAR = ("same_year", "year_near")
_APART = frozenset((*_PLACE, *_YEAR))
_CHUNK = 2000  # rows at a time
_CACHED = 250  # of these, while all pairs are looked at: what stays in the cache of a processor


@dataclass(frozen=True)
class Elsewhere:
    """Weights on the rows that a process is conditioned on.

    Attributes
    ----------
    hyper : Hyper
    inputs : Inputs
    weight : float64 array, (row,)
    """

    hyper: Hyper
    inputs: Inputs
    weight: Floats

    def sums(self, new: Inputs) -> Floats:
        """Sum of covariances times weights at rows of glaciers that are not among the inputs, (row,), m w.e."""
        out = np.empty(len(new))
        for start in range(0, len(new), _CHUNK):
            some = np.arange(start, min(start + _CHUNK, len(new)))
            out[some] = self._sums(new.take(some))
        return out

    def _sums(self, new: Inputs) -> Floats:
        places, years = _Levels.of_places(new), _Levels.of_years(new)
        out, dense = np.zeros(len(new)), []
        for term in self.hyper.terms:
            names = TERMS[term]
            if "same_glacier" in names:
                continue
            if names == ("weather_near",):
                out += self.hyper[term] ** 2 * self._near_weather(new)
            elif set(names) <= _APART:
                out += self.hyper[term] ** 2 * self._product(term, places, years, self.weight)[places.code, years.code]
            elif set(names) - {"weather_product"} <= set(_PLACE):
                out += self.hyper[term] ** 2 * self._linear_weather(term, new, places)
            else:
                dense.append(term)
        if dense:
            out += covariance(self._only(dense), new, self.inputs) @ self.weight
        return out

    @cached_property
    def _places(self) -> _Levels:
        return _Levels.of_places(self.inputs)

    @cached_property
    def _years(self) -> _Levels:
        return _Levels.of_years(self.inputs)

    def _product(self, term: str, places: _Levels, years: _Levels, weight: Floats) -> Floats:
        """Sums of a term of places and years, (place, year) of the new rows."""
        mine = self._places, self._years
        size = len(mine[0].first), len(mine[1].first)
        total = np.bincount(mine[0].code * size[1] + mine[1].code, weight, size[0] * size[1]).reshape(size)
        place = self._factor(term, _PLACE, places, mine[0])
        year = self._factor(term, _YEAR, years, mine[1])
        return np.asarray(place @ (total @ year.T))

    def _factor(self, term: str, kinds: tuple[str, ...], new: _Levels, mine: _Levels) -> Floats:
        """Product of the factors of these kinds, (level of new, level of inputs)."""
        out = np.ones((len(new.first), len(mine.first)))
        for name in TERMS[term]:
            if name in kinds:
                raw = raw_factor(name, new.first, mine.first, False)
                out *= np.exp(near_factor(name, raw, self.hyper[name])[0]) if name in LENGTHS else raw
        return out

    def _linear_weather(self, term: str, new: Inputs, places: _Levels) -> Floats:
        """Sums of a term of weather, linear, and of places."""
        mine, columns = self._places, self.inputs.weather.T
        sums = [np.bincount(mine.code, self.weight * x, len(mine.first)).astype(np.float64) for x in columns]
        slopes = self._factor(term, _PLACE, places, mine) @ np.stack(sums, axis=1) / max(len(columns), 1)
        return np.asarray(np.einsum("rk,rk->r", new.weather, slopes[places.code]))

    @cached_property
    def _scaled_weather(self) -> Floats:
        """Weather of the inputs in lengths, then minus half its square, and one, (row, column)."""
        x = self.inputs.weather / (self._length * max(self.inputs.weather.shape[1], 1) ** 0.5)
        return np.concatenate([x, -0.5 * np.sum(x**2, axis=1, keepdims=True), np.ones((len(x), 1))], axis=1)

    @property
    def _length(self) -> float:
        return self.hyper["weather_near"]

    def _near_weather(self, new: Inputs) -> Floats:
        """Sums of the term of like weather: the one that needs all pairs."""
        x = new.weather / (self._length * max(new.weather.shape[1], 1) ** 0.5)
        x = np.concatenate([x, np.ones((len(x), 1)), -0.5 * np.sum(x**2, axis=1, keepdims=True)], axis=1)
        out = np.empty(len(x))
        for start in range(0, len(x), _CACHED):
            log = x[start : start + _CACHED] @ self._scaled_weather.T
            np.minimum(log, 0, out=log)
            out[start : start + _CACHED] = np.exp(log, out=log) @ self.weight
        return out

    def _only(self, terms: list[str]) -> Hyper:
        kept = [i for i, n in enumerate(self.hyper.names) if n in terms or n not in TERMS]
        return Hyper(tuple(self.hyper.names[i] for i in kept), self.hyper.values[kept])


@dataclass(frozen=True)
class _Levels:
    """Distinct places (or years) of rows: one row of each, and the number of the one of each row."""

    first: Inputs
    code: Codes

    @classmethod
    def of_places(cls, inputs: Inputs) -> _Levels:
        """By glacier; every row by itself where static inputs or positions vary within glaciers."""
        code, first = _coded(inputs.glacier)
        known = [inputs.static] if inputs.position is None else [inputs.static, inputs.position]
        if all(np.array_equal(a, a[first[code]], equal_nan=True) for a in known):
            return cls(inputs.take(first), code)
        return cls(inputs, np.arange(len(inputs)))

    @classmethod
    def of_years(cls, inputs: Inputs) -> _Levels:
        """By year."""
        code, first = _coded(inputs.year)
        return cls(inputs.take(first), code)


def _coded(label: npt.NDArray[np.generic]) -> tuple[Codes, npt.NDArray[np.intp]]:
    """Number of each row's label, and the first row of every label."""
    code = pd.factorize(label)[0].astype(np.int64)
    return code, np.unique(code, return_index=True)[1]


def among(label: npt.NDArray[np.generic], known: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Whether each row's label is among the known ones, (row,)."""
    code, distinct = pd.factorize(label)
    return np.asarray(pd.Index(distinct).isin(pd.unique(known)), bool)[code]
