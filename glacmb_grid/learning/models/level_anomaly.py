"""The level of a glacier from what stays, the anomaly of a year from its weather, fitted together.

Level and anomaly are linear in standardised features with penalties of their own: how glaciers differ is known from a
few glaciers, how years differ from many glacier-years. In the form `amplitude` glaciers also differ in how strongly
they answer to the same weather, by a factor that depends on what stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.recipes import within
from glacmb_grid.learning.search import Hyper
from glacmb_grid.learning.table import Bools, Floats, Table
from glacmb_grid.learning.tabular import DesignModel, Training, grid
from glacmb_grid.settings import LevelAnomaly, Recipe

_ROUNDS = 4  # of fits in turn: level and anomaly, then amplitude
_MOST = float(np.log(3.0))  # of the log of an amplitude
_PENALTY = 30.0  # of the amplitude, per m w.e. squared of the residuals


class Blocks(NamedTuple):
    """What all penalties share, of every observation."""

    static: Floats  # (sample, static feature), sums over its years
    weather: Floats  # (sample, weather feature), sums over its years
    years: Floats  # (sample,)
    target: Floats  # (sample,), m w.e.
    varies: Bools  # (feature,), whether it is weather


@dataclass(frozen=True)
class LevelAndAnomaly(DesignModel):
    """``b = k + static . a + amplitude (weather . w)``, penalties on a and w apart."""

    settings_type: ClassVar = LevelAnomaly
    annual_only: ClassVar[bool] = False
    has_level: ClassVar[bool] = True

    def recipes(self, table: Table) -> list[Recipe]:
        """Those of the settings, or two: a level of its own, and one of the mean weather that anomalies correct.

        In the second the weather is not less its mean: the level follows from the mean weather by the same
        sensitivities, and static features correct it.
        """
        take = "seasonal" if table.rows.monthly.any() else "table"
        apart = Recipe(take=take, parts=("climatology", "anomaly"), climatology_of="table")
        shared = Recipe(take=take, parts=("value", "climatology"), climatology_of="table")
        return within(table, self.settings, self.settings.recipes or [apart, shared])

    def hypers(self) -> list[Hyper]:
        """All combinations of the forms and of the two penalties."""
        chosen = self.settings
        return grid(form=chosen.forms, level_penalty=chosen.level_penalties, anomaly_penalty=chosen.anomaly_penalties)

    def prepare(self, training: Training) -> Blocks:
        """Static features and weather apart."""
        design, varies = training.design, training.varies
        return Blocks(design[:, ~varies], design[:, varies], training.years, training.target, varies)

    def learn(self, prepared: Blocks, hyper: Hyper) -> Arrays:
        """`constant`, `level` and `anomaly`, m w.e., `slope` of the log of the amplitude, and `varies` (feature,)."""
        static, weather, years, target, varies = prepared
        both = [hyper["level_penalty"], hyper["anomaly_penalty"]]
        penalty = np.repeat(both, [static.shape[1], weather.shape[1]])
        slope = np.zeros(static.shape[1])
        rounds = _ROUNDS if hyper["form"] == "amplitude" and static.shape[1] and weather.shape[1] else 0
        annual = static / years[:, None]
        for number in range(rounds + 1):
            factor = amplitude(annual, slope)
            constant, found = _ridge(np.hstack([static, factor[:, None] * weather]), years, target, penalty)
            level, anomaly = np.split(found, [static.shape[1]])
            if number < rounds:
                answer = weather @ anomaly
                residual = target - constant * years - static @ level - factor * answer
                slope = _moved(slope, annual, factor * answer, residual)
        return {"constant": np.asarray(constant), "level": level, "anomaly": anomaly, "slope": slope, "varies": varies}

    def evaluate(self, learnt: Arrays, design: Floats) -> Floats:
        """Level plus amplitude times anomaly, (row,), m w.e."""
        static, weather = design[:, ~learnt["varies"]], design[:, learnt["varies"]]
        answer = amplitude(static, learnt["slope"]) * (weather @ learnt["anomaly"])
        return np.asarray(learnt["constant"] + static @ learnt["level"] + answer)


def amplitude(static: Floats, slope: Floats) -> Floats:
    """How strongly glaciers answer to weather: one where static features are at their means, at most 3, (row,)."""
    return np.asarray(np.exp(_MOST * np.tanh(static @ slope / _MOST)))


def _ridge(design: Floats, years: Floats, target: Floats, penalty: Floats) -> tuple[float, Floats]:
    """Constant per year and coefficients, a penalty for each of the latter."""
    share = years / (years @ years)
    along, mean = share @ design, float(share @ target)
    free, aim = design - years[:, None] * along, target - years * mean
    if free.shape[1] <= free.shape[0]:
        found = np.linalg.solve(free.T @ free + np.diag(penalty), free.T @ aim)
    else:
        scaled = free / penalty
        found = scaled.T @ np.linalg.solve(scaled @ free.T + np.eye(len(free)), aim)
    return mean - float(along @ found), np.asarray(found)


def _moved(slope: Floats, static: Floats, answer: Floats, residual: Floats) -> Floats:
    """One Gauss-Newton step of the amplitude."""
    bend = 1 - np.tanh(static @ slope / _MOST) ** 2
    design = (answer * bend)[:, None] * static
    noise = float(residual @ residual) / len(residual)
    prior = _PENALTY * max(noise, 1e-12) * np.eye(len(slope))
    return slope + np.linalg.solve(design.T @ design + prior, design.T @ residual - prior @ slope)
