"""What models and predictors need, against what the inputs have."""

from __future__ import annotations

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.judging import plan
from glacmb_grid.learning.contract import lacking
from glacmb_grid.learning.rivals import RIVALS
from glacmb_grid.predictors import build_predictors, matching
from glacmb_grid.schemas import ALBEDO, GLACIERS, SAMPLED, TERRAIN, empty
from glacmb_grid.settings import Judged, RunConfig
from glacmb_grid.vocabulary import OROGRAPHY, VARIABLES


def check_predictors(config: RunConfig, variables: list[str], problems: Problems) -> None:
    """Check that predictors and models find what they need among these variables of the climate."""
    wanted = config.predictors.monthly
    available = None if wanted is None else [n for n in wanted if n in variables]
    if wanted != available:
        with problems.collect():
            raise InputError(
                "predictors: monthly",
                expected=f"variables of the climate files: {listing(sorted(set(VARIABLES) & set(variables)), 30)}",
                found=listing(n for n in wanted or () if n not in variables),
                remedy="add the files that hold them, or take them out of `predictors.monthly`",
            )
    names = _predictor_names(config, variables, available)
    check_models(config, np.array(names), problems)
    forcing = {"temperature": "t2m", "precipitation": "tp"}
    known = {n: ("row", np.zeros(1)) for n, variable in forcing.items() if variable in variables}
    check_needs(config, xr.Dataset(known), problems)


def check_needs(config: Judged, samples: xr.Dataset, problems: Problems) -> None:
    """Check that every model that is asked for by name finds what it needs of the samples."""
    for model in plan.models_of(config).values():
        wanted = lacking(model, samples) if config.validation.models != "all" else []
        if wanted:
            others = ", ".join(n for n in plan.compared(config) if n not in {model.name, *RIVALS}) or "mean"
            data, found = "give twelve monthly columns of each", "none in these inputs, or with gaps"
            if isinstance(config, RunConfig):
                data = "have temperature (t2m) and precipitation (tp) among the climate's variables"
                found = f"{listing(samples.data_vars) or 'neither'} alone in the climate files"
            with problems.collect():
                raise InputError(
                    f"models: {model.name}",
                    expected=listing(wanted),
                    found=found,
                    remedy=f"{data}, or judge others: `validation: {{models: [{others}]}}`",
                )


def check_models(config: Judged, names: np.ndarray | None, problems: Problems) -> None:
    """Check that every model can be made and, where they are known, finds its predictors among these names."""
    for model in plan.models_of(config).values():
        with problems.collect():
            model.require()
        if names is not None:
            with problems.collect():
                matching(names, getattr(model.settings, "predictors", ["*"]))


def _predictor_names(config: RunConfig, variables: list[str], monthly: list[str] | None) -> list[str]:
    """Names of the predictors made from these variables: those that no glacier at all would get."""
    time = np.arange("1999-10", "2000-10", dtype="datetime64[M]").astype("datetime64[ns]")
    series = [n for n in (*variables, "t2m_corrected") if n in VARIABLES or (n != OROGRAPHY and "t2m" in variables)]
    section = config.predictors
    built = build_predictors(
        empty(SAMPLED, [n for n in series if n in SAMPLED.variables], time=time),
        empty(TERRAIN, band=10),
        empty(GLACIERS),
        albedo=empty(ALBEDO, year=[2000]) if config.albedo else None,
        first_month=10,
        monthly=monthly,
        reference=(2000, 2000) if section.reference else None,
        coordinates=section.coordinates,
    )
    return [str(n) for n in built["predictor"].values]
