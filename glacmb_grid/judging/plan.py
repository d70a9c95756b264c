"""What a configuration evaluates: models, schemes and folds, and which glaciers are locked."""

from __future__ import annotations

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import Problems
from glacmb_grid.folds.holdout import choose_holdout
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.protocols import leaky
from glacmb_grid.folds.schemes import make_folds, require_grouped
from glacmb_grid.learning.contract import Model, lacking
from glacmb_grid.learning.registry import with_bases
from glacmb_grid.settings import Judged, RunConfig, model_names
from glacmb_grid.stages import PRODUCT_SCHEME, Context
from glacmb_grid.stores.formats import read_zarr


def schemes_of(config: Judged) -> list[str]:
    """Schemes to fit: those of the configuration, and the product's."""
    product: list[str] = [PRODUCT_SCHEME] if isinstance(config, RunConfig) else []
    return list(dict.fromkeys([*config.validation.schemes, *product]))


def compared(config: Judged) -> list[str]:
    """Names of the models to evaluate."""
    asked = config.validation.models
    return [*model_names(), *config.own_models] if asked == "all" else list(asked)


def models_of(config: Judged) -> dict[str, Model]:
    """Models to fit: those evaluated, the product's, and what they are built on, each after its bases."""
    product: list[str] = [config.product.model] if isinstance(config, RunConfig) else []
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


def skipped(config: Judged, model: Model, samples: xr.Dataset) -> list[str]:
    """What a model lacks to be fitted, if `models` is `all`; else nothing, and its fit raises an error."""
    return lacking(model, samples) if config.validation.models == "all" else []


def locked_rows(config: Judged, samples: xr.Dataset) -> npt.NDArray[np.bool_]:
    """Rows of the locked test glaciers, (sample,)."""
    if config.validation.holdout is None:
        return np.zeros(samples.sizes["sample"], bool)
    return choose_holdout(samples, config.validation.holdout, config.seed)


def folds_of(config: Judged, samples: xr.Dataset, problems: Problems) -> dict[str, Folds]:
    """Folds of every scheme; errors are collected in `problems`."""
    section, folds = config.validation, {}
    with problems.collect():
        require_grouped(section.schemes)
    locked = problems.attempt(lambda: locked_rows(config, samples))
    for scheme in schemes_of(config):
        with problems.collect():
            folds[scheme] = make_folds(
                samples,
                scheme,
                inner=section.inner,
                seed=config.seed,
                parts=section.parts,
                blocks=section.blocks,
                buffer_km=section.buffer_km,
                locked=locked,
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


def judged_folds(config: Judged, samples: xr.Dataset) -> tuple[dict[str, Folds], npt.NDArray[np.bool_]]:
    """Folds of every scheme under the protocol of a configuration, and which rows are locked away from all of them.

    Parameters
    ----------
    config : Judged
    samples : xr.Dataset

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
    every = folds_of(config, samples, problems)
    problems.raise_if_any()
    locked = locked_rows(config, samples)
    return {scheme: leaky(folds, config.protocol, locked) for scheme, folds in every.items()}, locked


def stored_folds(context: Context, scheme: str) -> Folds:
    """Folds of a scheme as the stage wrote them."""
    return Folds.from_dataset(read_zarr(context.of("folds", f"{scheme}.zarr")))
