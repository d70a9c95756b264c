"""A regressor of the user's own, with the interface of scikit-learn."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import import_module
from threading import RLock
from typing import Any, ClassVar

import numpy as np

from glacmb_grid.errors import InputError
from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.search import Hyper
from glacmb_grid.learning.table import Floats
from glacmb_grid.learning.tabular import DesignModel, Training, grid
from glacmb_grid.settings import External

_fitted: dict[tuple[type, str], Any] = {}  # a product asks for many glaciers, some at a time
_KEPT = 256
_ONE_AT_A_TIME = RLock()
"""scikit-learn swaps the warning filters of the whole process while it works, and a class need not bear threads."""


@dataclass(frozen=True)
class ExternalRegressor(DesignModel):
    """Any class with `fit(X, y)` and `predict(X)`, tuned by its listed alternatives on the inner folds.

    How its fitted state looks is not known here, so the rows that it was fitted on are kept instead, and it is fitted
    again on them when a later process predicts.
    """

    settings_type: ClassVar = External

    def require(self) -> None:
        """Raise InputError where the class cannot be imported or made."""
        for hyper in self.hypers():
            self._made(hyper["settings"], 0)

    def hypers(self) -> list[Hyper]:
        """All combinations of the settings that are lists."""
        chosen = grid(**{n: v if isinstance(v, list) else [v] for n, v in self.settings.settings.items()})
        return [{"settings": c} for c in chosen]

    def learn(self, prepared: Training, hyper: Hyper) -> Arrays:
        """The rows to fit on, and the settings; it is fitted here too, so that its errors are those of the fit."""
        learnt = {
            "external_design": prepared.design,
            "external_target": prepared.target,
            "external_settings": np.array(json.dumps(hyper["settings"], sort_keys=True)),
            "external_seed": np.array(prepared.seed),
        }
        if prepared.design.shape[1]:
            self._fitted_on(learnt)
        return learnt

    def evaluate(self, learnt: Arrays, design: Floats) -> Floats:
        """What the regressor predicts, (row,), m w.e.

        Raises
        ------
        InputError
            Where it fails, or predicts something else than one finite number a row.
        """
        if not learnt["external_design"].shape[1]:  # nothing to learn from
            return np.full(len(design), learnt["external_target"].mean())
        model = self._fitted_on(learnt)
        try:
            with _ONE_AT_A_TIME:
                values = np.atleast_1d(np.asarray(model.predict(design), np.float64))
        except Exception as error:
            raise self._refused("a prediction without an error", f"{type(error).__name__}: {error}") from error
        if values.reshape(len(values), -1).shape != (len(design), 1) or not np.isfinite(values).all():
            raise self._refused("one finite number for each row", f"values of shape {values.shape}")
        return values.reshape(-1)

    def _fitted_on(self, learnt: Arrays) -> Any:
        """The regressor, fitted on these rows unless that was done already."""
        key = self._kind(), self._key(learnt)  # a class that was defined anew is another one
        model = _fitted.get(key)
        if model is None:
            model = self._made(json.loads(str(learnt["external_settings"])), int(learnt["external_seed"]))
            try:
                with _ONE_AT_A_TIME:
                    model.fit(learnt["external_design"], learnt["external_target"])
            except Exception as error:
                raise self._refused("a fit without an error", f"{type(error).__name__}: {error}") from error
            _fitted[key] = model
            for oldest in list(_fitted)[:-_KEPT]:
                _fitted.pop(oldest, None)  # another thread may have done so
        return model

    def _key(self, learnt: Arrays) -> str:
        total = hashlib.sha256(self.settings.external.encode())
        for name in sorted(n for n in learnt if n.startswith("external_")):
            array = np.ascontiguousarray(learnt[name])
            total.update(f"{name}{array.shape}{array.dtype.str}".encode() + array.tobytes())
        return total.hexdigest()

    def _kind(self) -> Any:
        module, _, name = self.settings.external.partition(":")
        try:
            return getattr(import_module(module), name)
        except Exception as error:
            raise self._refused(f"a class {name} in a module {module} that can be imported", f"{error}") from error

    def _made(self, hyper: Hyper, seed: int) -> Any:
        kind = self._kind()
        try:
            model = kind(**hyper)
        except Exception as error:
            name = self.settings.external.partition(":")[2]
            raise self._refused(f"settings that {name} takes", f"{error}") from error
        if not callable(getattr(model, "fit", None)) or not callable(getattr(model, "predict", None)):
            raise self._refused("a class with the methods fit(X, y) and predict(X)", f"{kind!r}")
        known = model.get_params() if hasattr(model, "get_params") else {}
        if "random_state" in known and "random_state" not in hyper:
            model.set_params(random_state=seed)
        return model

    def _refused(self, expected: str, found: str) -> InputError:
        remedy = "correct `external` or `settings`, or install the package into this environment"
        return InputError(f"models: {self.name}", expected=expected, found=found, remedy=remedy)
