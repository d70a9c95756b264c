"""The temperature index in folds: its form and its calibration are chosen on the inner splits of every block."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.degree_day_climate import Climate, Weather, climate_of, weather_of
from glacmb_grid.learning.degree_day_levels import Calibration, calibrated, unchanged
from glacmb_grid.learning.degree_day_splits import Splits
from glacmb_grid.learning.degree_days import SETTINGS, balance
from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.search import Hyper, InnerMean, inner_masks, side_by_side
from glacmb_grid.learning.table import Bools, Floats, Integers, Table, Texts
from glacmb_grid.progress import track
from glacmb_grid.settings import TemperatureIndex

_LEAST_GLACIERS = 2  # of a fit with pulls
Spread = tuple[float, float]
Seen = tuple[int, Bools]  # a block, and the observations that are fitted on in it


@dataclass(frozen=True)
class Candidate:
    """A form, by its number, and what is calibrated: `none`, `all` glaciers alike, or each `glacier`."""

    form: int
    pooling: str
    spread: Spread | None

    def words(self, forms: Sequence[Sequence[str]]) -> Hyper:
        """What is said of it in the record."""
        told: Hyper = {"further": list(forms[self.form]), "pooling": self.pooling}
        return told | ({"glacier_sd": list(self.spread)} if self.spread else {})


class Fitted(NamedTuple):
    """A temperature index as fitted: its parameters, (7,), the climate of its glaciers, and what calibrates it."""

    value: Floats
    climate: Climate
    calibration: Calibration

    @classmethod
    def none(cls, table: Table) -> Fitted:
        """No index, with a state like that of others."""
        rows = table.rows
        weather = Weather(np.unique(rows.glacier)[:0], np.zeros(0, np.int64), rows.year[:0], np.zeros((0, 2)))
        return cls(np.zeros(0), climate_of(weather, np.zeros(0, bool)), unchanged())

    def state(self) -> Arrays:
        """All that `from_state` needs beside the parameters, as arrays."""
        return {**self.climate.state(), **self.calibration.state()}

    @classmethod
    def from_state(cls, value: Floats, state: Arrays) -> Fitted:
        """The index from its parameters and what `state` gave."""
        return cls(value, Climate.from_state(state), Calibration.from_state(state))

    def balance(
        self, forcing: dict[str, Floats], weather: Weather, glacier: Texts, settings: TemperatureIndex
    ) -> Floats:
        """Calibrated balance of rows, (row,), m w.e."""
        fixed = {n: float(getattr(settings, n)) for n in SETTINGS}
        return self.calibration.balance(balance(forcing, self.value, fixed, self.climate.departure(weather)), glacier)


class IndexSearch:
    """The temperature index in the folds of a table.

    Parameters
    ----------
    table : Table
    forcing : dict
        Of its rows, see `balance`.
    settings : TemperatureIndex
    folds : Folds
        Those to search in.
    whole : Folds
        All of the scheme: they decide which forms can be told apart.
    """

    def __init__(
        self, table: Table, forcing: dict[str, Floats], settings: TemperatureIndex, folds: Folds, whole: Folds
    ) -> None:
        self.forms = forms_of(settings, table, whole)
        self.candidates = [
            Candidate(form, pooling, spread)
            for form, pooling in product(range(len(self.forms)), settings.pooling)
            for spread in (settings.glacier_sd if pooling == "glacier" else [None])
        ]
        self._table, self._settings, self._folds, self._forcing = table, settings, folds, forcing
        self._weather = weather_of(forcing, table.rows.glacier, table.rows.year, settings.lapse_rate)
        self._splits = Splits(table, forcing, settings, self.forms)

    @cached_property
    def found(self) -> tuple[Integers, Floats, Floats]:
        """Choice, errors and predictions on the inner splits of every block, see `InnerMean.choose`."""
        table, folds, splits = self._table, self._folds, self._splits
        masks = [(b, *m) for b, fold in enumerate(folds.first) for m in inner_masks(folds, fold)]
        forms = range(len(self.forms))
        for form in forms:
            splits.prepare(form, [seen for _, seen, _ in masks])

        def tried(job: tuple[int, tuple[int, Bools, Bools]]) -> list[tuple[int, Floats]]:
            form, (_, seen, score) = job
            simulated = splits.simulated(form, seen, seen | score)
            out = []
            for number, one in enumerate(self.candidates):
                if one.form == form:
                    own = self._calibrated(one, simulated, seen)
                    out.append((number, table.observed(own.balance(simulated, table.rows.glacier), score)))
            return out

        mean = InnerMean(len(folds.first), len(self.candidates), len(table.target))
        jobs = list(product(forms, masks))
        with side_by_side() as pool:
            results = track(pool.map(tried, jobs), "inner fit", len(jobs))
            for (_, (block, _, score)), balances in zip(jobs, results, strict=True):
                for number, values in balances:
                    mean.add(block, number, score, values)
        return mean.choose(table.target)

    def prepare(self, wanted: Iterable[Seen]) -> None:
        """Fit what the blocks have chosen to these observations, all at once."""
        by_form: dict[int, list[Bools]] = {}
        for block, seen in wanted:
            by_form.setdefault(self._chosen(block).form, []).append(seen)
        for form, masks in by_form.items():
            self._splits.prepare(form, masks)

    def fitted(self, block: int, seen: Bools) -> Fitted:
        """What a block has chosen, fitted to the seen observations, which `prepare` was given."""
        one = self._chosen(block)
        climate, value = self._splits.fitted(one.form, seen)
        return Fitted(value, climate, self._calibrated(one, self._splits.simulated(one.form, seen, seen), seen))

    def balance(self, block: int, seen: Bools, wanted: Bools) -> Floats:
        """What `fitted` makes of the rows of the wanted observations, 0 of others, (row,), m w.e.

        No other row is looked at.
        """
        rows, forcing, weather, glacier = self.part(wanted)
        out = np.zeros(len(rows))
        out[rows] = self.fitted(block, seen).balance(forcing, weather, glacier, self._settings)
        return out

    def part(self, wanted: Bools) -> tuple[Bools, dict[str, Floats], Weather, Texts]:
        """The rows of the wanted observations, (row,), and their forcing, weather and glaciers."""
        rows = self._table.used_rows(wanted)
        forcing = {n: v[rows] for n, v in self._forcing.items()}
        return rows, forcing, self._weather.take(rows), self._table.rows.glacier[rows]

    def _chosen(self, block: int) -> Candidate:
        return self.candidates[int(self.found[0][block])]

    def _calibrated(self, one: Candidate, simulated: Floats, seen: Bools) -> Calibration:
        if one.pooling == "none":
            return unchanged()
        return calibrated(simulated, self._table, seen, self._settings.residual_sd, one.spread)


def fits_of(folds: Folds) -> list[Seen]:
    """What is fitted on in folds and in their inner splits, with the numbers of their blocks."""
    blocks = folds.by_fold(np.arange(len(folds.first))).tolist()
    inner = [(b, seen) for b, fold in enumerate(folds.first) for seen, _ in inner_masks(folds, fold)]
    return [*zip(blocks, folds.fit, strict=True), *inner]


def forms_of(settings: TemperatureIndex, table: Table, folds: Folds) -> list[tuple[str, ...]]:
    """The further parameters of every form that these folds can tell anything of.

    Pulls are learnt from how glaciers differ, for which a fit needs two.
    """
    glacier = np.unique(table.rows.glacier, return_inverse=True)[1]
    masks = [*folds.fit, *(m for f in folds.first for m in folds.inner_fit[f])]
    fewest = min((len(np.unique(glacier[table.row[m]])) for m in masks if m.any()), default=0)
    pulls = fewest >= _LEAST_GLACIERS
    kept = [tuple(n for n in form if pulls or not n.endswith("_pull")) for form in settings.forms]
    return list(dict.fromkeys(kept))
