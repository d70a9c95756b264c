"""What every model is: a fit that returns all that its predict needs."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.rivals import RestsOn
from glacmb_grid.learning.table import table_of
from glacmb_grid.schemas import CONSTRAINTS, SAMPLES, check
from glacmb_grid.settings import Section

Predictions = Mapping[str, xr.DataArray]


@dataclass(frozen=True)
class Task:
    """What a model is fitted on.

    Attributes
    ----------
    samples : xr.Dataset
        From `build_samples` or `read_samples_table`.
    folds : Folds
        From `make_folds`.
    seed : int
    built_on : mapping of str to xr.Dataset
        Parameters of the models that this one is built on, fitted on the same samples and the same folds (those of
        `part`).
    checkpoints : Path, optional
        Folder in which a resumable model keeps the state of an unfinished fit.
    skipped : tuple of str
        Models that could not be fitted for lack of data: one that is built on others too goes on without them.
    part : tuple of int, optional
        Positions of the folds to fit, whole tuning blocks, by default all. What is fitted in a fold is the same to the
        last bit whatever other folds are fitted with it.
    constraints : xr.Dataset, optional
        From `build_constraints`, for models that learn from them (`learns_rates`); `allowed_constraints` says which of
        them each fold and inner split may look at.
    unmeasured : xr.Dataset, optional
        Rows of glacier-years that nobody measured, from `as_rows`: what a network may be pre-trained on.
    """

    samples: xr.Dataset
    folds: Folds
    seed: int = 1
    built_on: Mapping[str, xr.Dataset] = field(default_factory=dict)
    checkpoints: Path | None = None
    skipped: tuple[str, ...] = ()
    part: tuple[int, ...] | None = None
    constraints: xr.Dataset | None = None
    unmeasured: xr.Dataset | None = None

    @property
    def own(self) -> Folds:
        """The folds to fit."""
        return self.folds if self.part is None else self.folds.take(self.part)


@dataclass(frozen=True)
class Model(ABC):
    """One model: its settings, how it is fitted in all folds, and how it predicts from what the fit returned.

    Attributes
    ----------
    name : str
        As in the configuration.
    settings : Section
    settings_type : type
        Of `settings`.
    needs : tuple of str
        Keys of `NEEDS`: what samples must hold for this model.
    resumable : bool
        Whether the fit uses `Task.checkpoints`.
    compiles : bool
        Whether the fit compiles programs, which a run keeps for the next one.
    informative : bool
        False for a model that no other is built on: it predicts the same balance everywhere, or was fitted elsewhere.
    stops_early : bool
        Whether the model uses `stop` of the folds.
    learns_rates : bool
        Whether the model can learn from geodetic rates, `Task.constraints`.
    rests_on : RestsOn, optional
        What folds must leave it so that it can be judged in them, see `fair_in`.
    """

    name: str
    settings: Any
    settings_type: ClassVar[type[Section]]
    needs: ClassVar[tuple[str, ...]] = ()
    resumable: ClassVar[bool] = False
    compiles: ClassVar[bool] = False
    informative: ClassVar[bool] = True
    stops_early: ClassVar[bool] = False
    rests_on: ClassVar[RestsOn | None] = None
    learns_rates: ClassVar[bool] = False

    @property
    def built_on(self) -> tuple[str, ...]:
        """Names of the models whose parameters this one needs."""
        return ()

    def require(self) -> None:  # noqa: B027 - most models can always be had
        """Raise InputError where the model cannot be had at all; by default it always can."""

    def fair_in(self, samples: xr.Dataset, folds: Folds) -> bool:
        """Whether the model can be judged in a scheme, by its folds: in every one if it rests on nothing."""
        return self.rests_on is None or self.rests_on.in_folds(table_of(samples), folds)

    def may_be_fair(self, scheme: str) -> bool:
        """The same as far as the scheme tells it, before there are folds."""
        return self.rests_on is None or self.rests_on.in_scheme(scheme)

    def variants(self, samples: xr.Dataset) -> dict[str, Section]:
        """Other settings that a study compares with those of the model, by what they change."""
        return {}

    def among(self, judged: Sequence[Model], named: Callable[[str], Model]) -> Model:
        """The model as one of those that are judged, by default the same; `named` gives any model by its name."""
        del judged, named
        return self

    def stored(self, rows: int, features: int) -> int:
        """About how many bytes what is learnt in one fold takes, for so many rows and features."""
        del rows
        return 50 * features

    @abstractmethod
    def fit(self, task: Task) -> xr.Dataset:
        """Parameters, (fold, ...): all that `predict` needs, and nothing that depends on what a fold withholds.

        Variables that every model gives: `seen` (fold, sample), the observations that anything in a fold has looked
        at, and `inner_prediction` (fold, sample), m w.e., what was predicted on the inner splits, NaN elsewhere.
        """

    @abstractmethod
    def predict(self, parameters: xr.Dataset, rows: xr.Dataset, below: Predictions) -> xr.DataArray:
        """Balance of rows by every fold and member, (fold, member, row), m w.e.

        `below` holds the predictions of the same rows by the models that this one is built on.
        """


def has_forcing(samples: xr.Dataset) -> bool:
    """Whether there are monthly temperature and precipitation or snowfall, without gaps."""
    water = next((n for n in ("snowfall", "precipitation") if n in samples), None)
    if water is None or "temperature" not in samples:
        return False
    return bool(np.isfinite(samples["temperature"]).all() and np.isfinite(samples[water]).all())


NEEDS: dict[str, tuple[Callable[[xr.Dataset], bool], str]] = {
    "monthly_forcing": (has_forcing, "monthly temperature with precipitation or snowfall, without gaps"),
}
"""What a model may need of samples: a test of it, and the words for it."""


def lacking(model: Model, samples: xr.Dataset) -> list[str]:
    """What the model needs and the samples do not have, in words."""
    return [words for found, words in (NEEDS[n] for n in model.needs) if not found(samples)]


def fit_model(model: Model, task: Task) -> xr.Dataset:
    """Fit a model in every fold, and note in the attributes what it was.

    Raises
    ------
    ValueError
        Folds of other samples; a model that this one is built on is not given.
    InputError
        Samples that are not what their schema says; predictors that match nothing, or forcing that the model
        needs and the samples lack.
    """
    check(task.samples, SAMPLES)
    if task.constraints is not None:
        check(task.constraints, CONSTRAINTS)
    if not np.array_equal(task.folds.sample, task.samples["sample"].values):
        raise ValueError(f"{task.folds!r} are not of these samples: make folds of the samples that are fitted")
    known = [n for n in model.built_on if n in task.built_on]
    if absent := [n for n in model.built_on if n not in {*known, *task.skipped}]:
        raise ValueError(f"{model.name} is built on {', '.join(absent)}: fit these first and pass `built_on`")
    return model.fit(task).assign_attrs(
        model=model.name,
        settings_type=type(model.settings).__name__,
        settings=model.settings.model_dump_json(),
        built_on=json.dumps(known),
    )
