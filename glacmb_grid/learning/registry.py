"""All models by name, and the two functions that fit any of them and predict with it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr
from pydantic import ValidationError

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.folds.masks import Folds
from glacmb_grid.learning.contract import Model, Task, fit_model
from glacmb_grid.learning.models.blend import Blended
from glacmb_grid.learning.models.external import ExternalRegressor
from glacmb_grid.learning.models.extra_trees import ExtraForest
from glacmb_grid.learning.models.ff_fcnn import FeedForwardEnsemble
from glacmb_grid.learning.models.gaussian_process import StructuredProcess
from glacmb_grid.learning.models.given import GivenPredictions
from glacmb_grid.learning.models.gradient_boosting import BoostedTrees
from glacmb_grid.learning.models.hybrid import HybridEnsemble
from glacmb_grid.learning.models.lasso import LassoRegression
from glacmb_grid.learning.models.level_anomaly import LevelAndAnomaly
from glacmb_grid.learning.models.mean import TrainingMean
from glacmb_grid.learning.models.neighbours import WithNeighbours
from glacmb_grid.learning.models.random_forest import Forest
from glacmb_grid.learning.models.ridge import RidgeRegression
from glacmb_grid.learning.models.temperature_index import DegreeDays
from glacmb_grid.learning.models.year_level import RidgeOfYears
from glacmb_grid.learning.models.year_mean import RegionYearMean
from glacmb_grid.learning.own import own_regressor
from glacmb_grid.schemas import PARAMETERS, ROWS, check
from glacmb_grid.settings import External, Given, Section
from glacmb_grid.settings.messages import as_input_error
from glacmb_grid.settings.names import base_of

REGISTRY: dict[str, Callable[..., Model]] = {
    "mean": TrainingMean,
    "year_mean": RegionYearMean,
    "year_level": RidgeOfYears,
    "ridge": RidgeRegression,
    "lasso": LassoRegression,
    "random_forest": Forest,
    "extra_trees": ExtraForest,
    "gradient_boosting": BoostedTrees,
    "gaussian_process": StructuredProcess,
    "level_anomaly": LevelAndAnomaly,
    "temperature_index": DegreeDays,
    "ff_fcnn": FeedForwardEnsemble,
    "hybrid": HybridEnsemble,
    "extra_trees_neighbours": partial(WithNeighbours, base="extra_trees"),
    "ff_fcnn_neighbours": partial(WithNeighbours, base="ff_fcnn"),
    "blend": Blended,
}


OWN: dict[type[Section], Callable[..., Model]] = {External: ExternalRegressor, Given: GivenPredictions}
"""Models that a configuration adds under names of its own, by the type of their settings."""


def model_of(name: str, settings: Section | Mapping[str, Any] | None = None) -> Model:
    """A model by its name.

    Parameters
    ----------
    name : str
        A key of `REGISTRY`; any model's name with `_neighbours` after it; any other name with settings of a type of
        `OWN`, or with the key `external` among them.
    settings : Section or mapping, optional
        Its section of the configuration, or the keys of it that differ from their defaults.

    Raises
    ------
    InputError
        Where there is no such model, or no such key.
    """
    if isinstance(settings, Section):
        own = OWN.get(type(settings))
    else:
        own = ExternalRegressor if "external" in (settings or {}) else None
    make = _maker(name) or own
    if make is None:
        near = difflib.get_close_matches(name, REGISTRY, 1, 0.5)
        raise InputError(
            "fit: model",
            expected=f"one of {', '.join(REGISTRY)}, or any of them with _neighbours after its name",
            found=f"unknown model {name!r}",
            remedy=(f"did you mean {near[0]!r}? " if near else "")
            + "A model of your own is a class with fit and predict, or has settings={'external': 'module:Class'}",
        )
    model = make(name, settings)
    if isinstance(settings, Section):
        return model
    try:
        return replace(model, settings=model.settings_type.model_validate(dict(settings or {})))
    except ValidationError as error:
        problems = [as_input_error(e, f"settings of {name}", model.settings_type) for e in error.errors()]
        raise (problems[0] if len(problems) == 1 else InputErrors([*problems])) from error


def _maker(name: str) -> Callable[..., Model] | None:
    """What makes a model of the package, or any model with its neighbours; None for other names."""
    base = base_of(name)
    return REGISTRY.get(name) or (partial(WithNeighbours, base=base) if base else None)


def with_bases(names: Sequence[str], settings: Callable[[str], Section], compared: Sequence[str]) -> dict[str, Model]:
    """Models and all that they are built on, each after those that it is built on.

    Parameters
    ----------
    names : sequence of str
    settings : callable
        Settings of a model by its name.
    compared : sequence of str
        Models that are judged, which decide what a blend is made of by default.
    """

    def named(name: str) -> Model:
        return model_of(name, settings(name))

    judged = [named(c) for c in compared]
    out: dict[str, Model] = {}

    def add(name: str) -> None:
        if name not in out:
            model = named(name).among(judged, named)
            for base in model.built_on:
                add(base)
            out[name] = model

    for name in names:
        add(name)
    return out


def fit(
    model: str | Model | type | object,
    samples: xr.Dataset,
    folds: Folds,
    settings: Section | Mapping[str, Any] | None = None,
    *,
    seed: int = 1,
    built_on: Mapping[str, xr.Dataset] | None = None,
    constraints: xr.Dataset | None = None,
    checkpoints: Path | None = None,
    unmeasured: xr.Dataset | None = None,
) -> xr.Dataset:
    """Fit a model in every fold.

    Parameters
    ----------
    model : str, Model, class or object
        A key of `REGISTRY`, a model, or a regressor of your own: a class with `fit(X, y)` and `predict(X)`, as
        scikit-learn has it, or an object of one.
    samples : xr.Dataset
        From `build_samples` or `read_samples_table`.
    folds : Folds
        From `make_folds`.
    settings : Section or mapping, optional
        The model's section of the configuration (a class of `glacmb_grid.settings`), or the keys of it that differ from
        their defaults. Of a regressor of your own the arguments of its class; lists are alternatives.
    seed : int
    built_on : mapping of str to xr.Dataset, optional
        Parameters of the models that this one is built on (blend, neighbours), fitted on the same samples and folds.
    constraints : xr.Dataset, optional
        From `build_constraints`: geodetic rates to learn from, by those models that can (`ff_fcnn`). A fold is held to
        none that tells of what it withholds.
    checkpoints : Path, optional
        Folder in which a resumable model keeps the state of an unfinished fit, to go on from.
    unmeasured : xr.Dataset, optional
        Rows of glacier-years that nobody measured, from `as_rows`, for networks that are pre-trained on a simulation.

    Returns
    -------
    xr.Dataset
        Parameters, (fold, ...): all that `predict` needs. Nothing in them depends on the observations that their fold
        withholds.

    Raises
    ------
    ValueError
        Folds of other samples; a model that this one is built on is not given.
    InputError
        An unknown model or setting; samples that are not what their schema says; predictors that match nothing, or
        forcing that the model needs and the samples lack.

    Examples
    --------
    >>> import numpy as np, pandas as pd, glacmb_grid as gg
    >>> from tempfile import mkdtemp
    >>> rng, path = np.random.default_rng(1), f"{mkdtemp()}/balances.csv"
    >>> table = pd.DataFrame({"id": np.repeat(list("abcde"), 8), "year": [*range(2001, 2009)] * 5})
    >>> table["warmth"] = rng.normal(0, 1, 40)
    >>> table.assign(balance=rng.normal(0, 0.2, 40) - 0.5 * table["warmth"]).to_csv(path, index=False)
    >>> samples = gg.read_samples_table(path, glacier="id", year="year", target="balance", target_units="m w.e.")
    >>> parameters = gg.fit("ridge", samples, gg.make_folds(samples, "logo"), {"penalties": [0.1, 1000.0]})
    >>> parameters["fold"].values.tolist(), gg.choices(parameters)["rows"].tolist()
    (['a', 'b', 'c', 'd', 'e'], [32, 32, 32, 32, 32])
    """
    given = dict(built_on or {})
    if not isinstance(model, Model):
        plain = settings if isinstance(settings, Mapping) else None
        made = model_of(model, settings) if isinstance(model, str) else own_regressor(model, plain)
        below = {n: _model_behind(p) for n, p in given.items()}
        model = made.among(list(below.values()), lambda n: below.get(n) or model_of(n))
    task = Task(samples, folds, seed, given, checkpoints, constraints=constraints, unmeasured=unmeasured)
    return fit_model(model, task)


def predict(
    parameters: xr.Dataset,
    rows: xr.Dataset,
    built_on: Mapping[str, xr.Dataset] | None = None,
    *,
    model: Model | None = None,
) -> xr.DataArray:
    """Balance of glacier-years by every fold and member. Nothing is trained.

    Parameters
    ----------
    parameters : xr.Dataset
        From `fit`.
    rows : xr.Dataset
        Samples or any rows from `as_rows`.
    built_on : mapping of str to xr.Dataset, optional
        Parameters of the models that this one is built on, and of those that these are built on.
    model : Model, optional
        What was fitted, where it is no model of the package or of a configuration.

    Returns
    -------
    xr.DataArray, (fold, member, row), m w.e.

    Raises
    ------
    InputError
        Parameters or rows that are not what their schema says.
    ValueError
        Where the parameters of a model that this one is built on are not given, or the model is not known.

    Examples
    --------
    >>> import numpy as np, pandas as pd, glacmb_grid as gg
    >>> from tempfile import mkdtemp
    >>> rng, path = np.random.default_rng(1), f"{mkdtemp()}/balances.csv"
    >>> table = pd.DataFrame({"id": np.repeat(list("abcde"), 8), "year": [*range(2001, 2009)] * 5})
    >>> table["warmth"] = rng.normal(0, 1, 40)
    >>> table.assign(balance=rng.normal(0, 0.2, 40) - 0.5 * table["warmth"]).to_csv(path, index=False)
    >>> samples = gg.read_samples_table(path, glacier="id", year="year", target="balance", target_units="m w.e.")
    >>> predicted = gg.predict(gg.fit("mean", samples, gg.make_folds(samples, "logo")), samples)
    >>> dict(predicted.sizes)
    {'fold': 5, 'member': 1, 'row': 40}
    """
    check(parameters, PARAMETERS)
    check(rows, ROWS)
    given, bases = dict(built_on or {}), json.loads(parameters.attrs["built_on"])
    if absent := [b for b in bases if b not in given]:
        name = parameters.attrs["model"]
        raise ValueError(f"{name} is built on {', '.join(absent)}: pass their parameters as `built_on`")
    model = model or _model_behind(parameters)
    return model.predict(parameters, rows, {b: predict(given[b], rows, given) for b in bases})


def _model_behind(parameters: xr.Dataset) -> Model:
    """The model that parameters were fitted by."""
    name, kind = str(parameters.attrs["model"]), str(parameters.attrs["settings_type"])
    own = {t.__name__: t for t in OWN}
    make = _maker(name)
    if make is None and kind not in own:
        raise ValueError(f"{name} is no model of the package: pass it as `model`")
    settings = own[kind] if make is None else make(name, None).settings_type
    return model_of(name, settings.model_validate_json(parameters.attrs["settings"]))


def fit_all(
    models: Iterable[Model],
    samples: xr.Dataset,
    folds: Folds,
    *,
    seed: int = 1,
    constraints: xr.Dataset | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, xr.Dataset]:
    """Fit models, each after those that it is built on, and give the parameters of all by name.

    `models` come from `with_bases`, without those that the samples lack data for; `constraints` are geodetic rates to
    learn from; `say` takes a line for each.
    """
    out: dict[str, xr.Dataset] = {}
    for model in models:
        skipped = tuple(n for n in model.built_on if n not in out)
        out[model.name] = fit_model(model, Task(samples, folds, seed, out, skipped=skipped, constraints=constraints))
        say(f"{model.name} fitted")
    return out
