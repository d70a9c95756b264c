"""What a configuration evaluates: models, schemes and folds, and which glaciers are locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.folds.holdout import choose_holdout
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.protocols import leaky
from glacmb_grid.folds.schemes import make_folds, require_grouped
from glacmb_grid.learning.contract import Model
from glacmb_grid.learning.registry import with_bases
from glacmb_grid.learning.rivals import RIVALS
from glacmb_grid.settings import Judged, Protocol, RunConfig, Validation, model_names

PRODUCT_SCHEME = "logo"
"""The folds whose fits a product is the mean of."""


def schemes_of(config: Judged) -> list[str]:
    """Schemes to fit: those of the configuration, and the product's."""
    product: list[str] = [PRODUCT_SCHEME] if isinstance(config, RunConfig) and config.product else []
    return list(dict.fromkeys([*config.validation.schemes, *product]))


def compared(config: Judged) -> list[str]:
    """Names of the models to evaluate: those of the configuration, and the rivals of all."""
    asked = config.validation.models
    names = [*model_names(), *config.own_models] if asked == "all" else [*asked, *RIVALS]
    return list(dict.fromkeys(names))


def models_of(config: Judged) -> dict[str, Model]:
    """Models to fit: those evaluated, the product's, and what they are built on, each after its bases."""
    product: list[str] = [config.product.model] if isinstance(config, RunConfig) and config.product else []
    return with_bases([*compared(config), *product], config.settings_of, compared(config))


def studied(config: Judged) -> tuple[list[Model], list[str]]:
    """Models and schemes of the study: those of the configuration that are fitted, else the first fitted one."""
    every = [m for m in models_of(config).values() if not m.built_on]
    models = [m for m in every if m.name in config.study.models] or sorted(every, key=lambda m: not m.informative)[:1]
    schemes = [s for s in config.study.schemes if s in schemes_of(config)] or schemes_of(config)[:1]
    return models, [str(s) for s in schemes]


def require_models(config: Judged) -> None:
    """Check that every model can be made: its class and its files exist.

    Raises
    ------
    InputError or InputErrors
    """
    problems = Problems()
    for model in models_of(config).values():
        with problems.collect():
            model.require()
    problems.raise_if_any()


def require_fitted(model: str, fitted: Mapping[str, xr.Dataset]) -> None:
    """Check that the product's model could be fitted.

    Raises
    ------
    InputError
    """
    if model not in fitted:
        raise InputError(
            f"product: model {model}",
            expected="a model that could be fitted",
            found="one that lacks its data, see the messages of its stage",
            remedy="choose another `product.model`, or give the data that it needs",
        )


def bases_of(model: Model, models: Mapping[str, Model]) -> list[str]:
    """Names of all models that one is built on, directly or through others."""
    direct = [m for m in model.built_on if m in models]
    return list(dict.fromkeys([*direct, *(b for m in direct for b in bases_of(models[m], models))]))


def locked_rows(samples: xr.Dataset, validation: Validation, seed: int) -> npt.NDArray[np.bool_]:
    """Rows of the locked test glaciers, (sample,)."""
    if validation.holdout is None:
        return np.zeros(samples.sizes["sample"], bool)
    return choose_holdout(samples, validation.holdout, seed)


def targets_of(places: pd.DataFrame | None, validation: Validation) -> pd.DataFrame | None:
    """Positions and weights of the glaciers that are to be predicted, as `make_folds` takes them.

    Raises
    ------
    InputError
        Where they should count by area, and no areas are known.
    """
    if places is None or validation.target_weights == "glacier":
        return None if places is None else places[["longitude", "latitude"]]
    if "area" not in places:
        raise InputError(
            "validation: target_weights",
            expected="areas of the glaciers that are to be predicted",
            found=f"columns {listing(places.columns, 12)}",
            remedy="give a column `area`, km2, or set `validation: {target_weights: glacier}`",
        )
    return places[["longitude", "latitude"]].assign(weight=places["area"])


def folds_of(
    samples: xr.Dataset,
    schemes: Sequence[str],
    validation: Validation,
    seed: int,
    problems: Problems,
    places: pd.DataFrame | None = None,
) -> dict[str, Folds]:
    """Folds of every scheme; errors are collected in `problems`.

    `places`, by glacier, are those that are to be predicted, for the scheme `domain`.
    """
    folds = {}
    with problems.collect():
        require_grouped(validation.schemes)
    locked = problems.attempt(lambda: locked_rows(samples, validation, seed))
    for scheme in schemes:
        with problems.collect():
            folds[scheme] = make_folds(
                samples,
                scheme,
                inner=validation.inner,
                seed=seed,
                parts=validation.parts,
                blocks=validation.blocks,
                buffer_km=validation.buffer_km,
                locked=locked,
                targets=targets_of(places, validation) if scheme == "domain" else None,
            )
    return folds


def foreseen(outlines: gpd.GeoDataFrame, observed: pd.DataFrame, years: Sequence[int]) -> xr.Dataset:
    """The samples as known before any climate is sampled: enough to make their folds.

    Parameters
    ----------
    outlines : GeoDataFrame
        By glacier, with `longitude` and `latitude`.
    observed : DataFrame
        Observations linked to outlines: `glacier`, `year`.
    years : sequence of int
        Hydrological years of the climate.

    Returns
    -------
    xr.Dataset, (sample)
        Coordinates `glacier`, `year`, `longitude`, `latitude` of the observations in these years.
    """
    rows = observed[observed["year"].isin(years) & observed["glacier"].isin(outlines.index)]
    rows = rows.sort_values(["glacier", "year"])
    places = outlines.loc[rows["glacier"]]
    columns = {
        "sample": [f"{g}:{y}" for g, y in zip(rows["glacier"], rows["year"], strict=True)],
        "glacier": rows["glacier"].to_numpy().astype(object),
        "year": rows["year"].to_numpy(np.int64),
        "longitude": places["longitude"].to_numpy(),
        "latitude": places["latitude"].to_numpy(),
    }
    return xr.Dataset(coords={n: ("sample", np.asarray(v)) for n, v in columns.items()})


def judged_folds(
    samples: xr.Dataset,
    schemes: Sequence[str],
    validation: Validation,
    protocol: Protocol,
    seed: int,
    places: pd.DataFrame | None = None,
) -> tuple[dict[str, Folds], npt.NDArray[np.bool_]]:
    """Folds of every scheme under a protocol, and which rows are locked away from all of them.

    Returns
    -------
    folds : dict
        By scheme, from `make_folds`, with the leaks of the protocol.
    locked : bool array, (sample,)
        Rows that are in no mask of any fold.

    Raises
    ------
    InputError or InputErrors
        For all schemes that cannot be made, together.
    """
    problems = Problems()
    every = folds_of(samples, schemes, validation, seed, problems, places)
    problems.raise_if_any()
    locked = locked_rows(samples, validation, seed)
    return {scheme: leaky(folds, protocol, locked) for scheme, folds in every.items()}, locked
