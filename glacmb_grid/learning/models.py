"""The models by name, behind one fit and one predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import xarray as xr

from glacmb_grid.learning.baselines import fit_mean, predict_mean
from glacmb_grid.learning.nets import enable_compilation_cache as enable_compilation_cache
from glacmb_grid.learning.network import fit_network, predict_network
from glacmb_grid.learning.structured import fit_gaussian_process, predict_gaussian_process
from glacmb_grid.learning.tabular import TABULAR, fitter, predictor
from glacmb_grid.learning.temperature_index import fit_temperature_index, predict_temperature_index
from glacmb_grid.settings import FeedForward, GaussianProcess, Mean, Section, TemperatureIndex
from glacmb_grid.vocabulary import check_dataset

Fit = Callable[..., xr.Dataset]
Predict = Callable[[xr.Dataset, xr.Dataset], xr.DataArray]

MODELS: dict[str, tuple[Fit, Predict, type[Section]]] = {
    "mean": (fit_mean, predict_mean, Mean),
    **{name: (fitter(name), predictor(name), entry[2]) for name, entry in TABULAR.items()},
    "gaussian_process": (fit_gaussian_process, predict_gaussian_process, GaussianProcess),
    "temperature_index": (fit_temperature_index, predict_temperature_index, TemperatureIndex),
    "ff_fcnn": (fit_network, predict_network, FeedForward),
}

_SAMPLES = {
    "predictors": ("row", "predictor"),
    "mass_balance": ("sample",),
    "operator_sample": ("entry",),
    "operator_row": ("entry",),
    "operator_weight": ("entry",),
}
_FOLDS = {
    "fit": ("fold", "sample"),
    "score": ("fold", "sample"),
    "inner_fit": ("fold", "inner", "sample"),
    "inner_score": ("fold", "inner", "sample"),
    "scheme": ("fold",),
}


def fit(
    model: str,
    samples: xr.Dataset,
    folds: xr.Dataset,
    settings: Section | None = None,
    *,
    seed: int = 1,
    checkpoints: Path | None = None,
) -> xr.Dataset:
    """Fit a model in every fold.

    Parameters
    ----------
    model : str
        One of `MODELS`.
    samples : xr.Dataset
        From `build_samples` or `read_samples_table`.
    folds : xr.Dataset
        From `make_folds`.
    settings : Section, optional
        The model's section of the configuration; default its defaults.
    seed : int
    checkpoints : Path, optional
        Folder in which networks keep the state of an unfinished fit, to go on from.

    Returns
    -------
    xr.Dataset
        Parameters, (fold, ...). Nothing in them depends on the observations that their fold withholds.

    Raises
    ------
    ValueError
        An unknown model; samples or folds that lack a variable.
    InputError
        Predictors that match nothing, or forcing that the model needs and the samples lack.
    """
    fit_model, _, kind = _model(model)
    check_dataset(samples, name="samples", variables=_SAMPLES)
    check_dataset(folds, name="folds", variables=_FOLDS)
    more = {"checkpoints": checkpoints} if model == "ff_fcnn" else {}
    parameters = fit_model(samples, folds, settings if settings is not None else kind(), seed, **more)
    return parameters.assign_attrs(model=model)


def predict(parameters: xr.Dataset, rows: xr.Dataset) -> xr.DataArray:
    """Balance of glacier-years by every fold and member.

    Parameters
    ----------
    parameters : xr.Dataset
        From `fit`.
    rows : xr.Dataset
        Samples or any rows from `as_rows`.

    Returns
    -------
    xr.DataArray, (fold, member, row), m w.e.
    """
    return _model(str(parameters.attrs["model"]))[1](parameters, rows)


def _model(name: str) -> tuple[Fit, Predict, type[Section]]:
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    return MODELS[name]
