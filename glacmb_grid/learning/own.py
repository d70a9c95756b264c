"""Regressors of the user's own, given in Python as a class or an object."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from glacmb_grid.errors import InputError
from glacmb_grid.learning.models.external import ExternalRegressor
from glacmb_grid.settings import External
from glacmb_grid.settings.messages import as_input_error

_METHODS = ("fit", "predict")


def own_regressor(given: object, settings: Mapping[str, Any] | None = None) -> ExternalRegressor:
    """The model of a class with `fit(X, y)` and `predict(X)`, or of an object of such a class.

    Parameters
    ----------
    given : type or object
        Of an object, the arguments that it was made with are taken by `get_params`, as scikit-learn has it.
    settings : mapping, optional
        Arguments of the class; every list is a set of alternatives that are chosen between on inner folds.

    Raises
    ------
    InputError
        Where it is no such class, cannot be found again by its name, or has arguments that cannot be written down.
    """
    kind = given if isinstance(given, type) else type(given)
    where = f"fit: model: {kind.__name__}"
    if not all(callable(getattr(kind, m, None)) for m in _METHODS):
        raise InputError(
            where,
            expected="the name of a model, or a class with the methods fit(X, y) and predict(X)",
            found=f"a {kind.__name__} without them" if given is not kind else f"a class {kind.__name__} without them",
            remedy="for instance gg.fit('ridge', samples, folds), or gg.fit(RandomForestRegressor, samples, folds)",
        )
    if getattr(import_module(kind.__module__), kind.__name__, None) is not kind:
        raise InputError(
            where,
            expected="a class that is found again by its name, for predictions are made by a new object of it",
            found=f"{kind.__qualname__}, which the module {kind.__module__} does not have at its top",
            remedy="define it at the top of a module or a notebook, in no function",
        )
    arguments = {**({} if given is kind else _arguments(given, where)), **(settings or {})}
    try:
        section = External(external=f"{kind.__module__}:{kind.__name__}", settings=arguments)
    except ValidationError as error:
        raise as_input_error(error.errors()[0], where, External) from error
    return ExternalRegressor(kind.__name__, section)


def _arguments(given: object, where: str) -> dict[str, Any]:
    """What an object was made with, as far as it is not the default."""
    if not hasattr(given, "get_params"):
        raise InputError(
            where,
            expected="a class, or an object that tells by get_params() what it was made with",
            found=f"an object of {type(given).__name__} without get_params",
            remedy="pass the class, and its arguments as settings: "
            f"gg.fit({type(given).__name__}, samples, folds, {{...}})",
        )
    default = {n: p.default for n, p in inspect.signature(type(given)).parameters.items()}
    return {n: v for n, v in given.get_params(deep=False).items() if not (n in default and v is default[n])}
