"""Sections of the temperature index: as a model, and as what another model starts from."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from glacmb_grid.settings.base import Section, Sigma, Spread
from glacmb_grid.settings.learners import several

FurtherParameter = Literal["snow_to_ice", "precipitation_gradient", "temperature_pull", "precipitation_pull"]
_PULLS: tuple[FurtherParameter, ...] = ("temperature_pull", "precipitation_pull")
Between = Annotated[float, Field(gt=0, le=100)]


class TemperatureIndex(Section):
    """Degree-day melt and solid precipitation over the hypsometry, with weak priors on three parameters.

    `forms` are alternatives, chosen between on inner folds: the further parameters that are fitted. Pulls move
    temperature and precipitation of a glacier to the mean climate of the fitted ones: 0 not at all, 1 wholly; they are
    fitted where every fit has at least two glaciers, and drawn to `pull_mean`. `within_reach`: where the climate of
    another glacier is further out than that of the fitted ones makes plausible, what is beyond is taken off wholly.
    `pooling` and `glacier_sd` are alternatives too: whether offset and amplitude of the simulated balance stay
    (`none`), are calibrated for `all` glaciers alike, or for each `glacier`, drawn to those of all.
    """

    lapse_rate: float = Field(-0.0065, gt=-0.02, lt=0)
    temperature_spread: Spread = 4.0
    snow_threshold: float = Field(1.0, ge=-10, le=10)
    snow_spread: Spread = 2.0
    snow_to_ice: float = Field(0.6, gt=0, le=1)
    prior_mean: tuple[
        Annotated[float, Field(gt=0, le=0.1)],
        Annotated[float, Field(gt=0, le=20)],
        Annotated[float, Field(ge=-20, le=20)],
    ] = (0.007, 1.5, 0.0)
    prior_sd: tuple[
        Annotated[float, Field(gt=0, le=1)],
        Annotated[float, Field(gt=0, le=100)],
        Annotated[float, Field(gt=0, le=100)],
    ] = (0.003, 0.5, 1.0)
    residual_sd: Sigma = 0.3
    forms: list[list[FurtherParameter]] = Field(
        [[*_PULLS], [*_PULLS, "snow_to_ice", "precipitation_gradient"]], min_length=1
    )
    pooling: Annotated[list[Literal["none", "all", "glacier"]], BeforeValidator(several)] = Field(
        ["none", "all", "glacier"], min_length=1
    )
    glacier_sd: list[tuple[Between, Between]] = Field([(0.2, 0.2), (0.5, 0.4)], min_length=1)
    snow_to_ice_sd: Between = 0.15
    precipitation_gradient_sd: Between = 0.3
    within_reach: bool = True
    pull_mean: float = Field(1.0, ge=-1, le=2)
    pull_sd: Between = 0.5


class SharedIndex(TemperatureIndex):
    """A temperature index that another model starts from, calibrated for `none` or `all` glaciers.

    With the level of each fitted glacier in it, nothing of how glaciers differ would be left to learn.
    """

    pooling: Annotated[list[Literal["none", "all"]], BeforeValidator(several)] = Field(  # type: ignore[assignment]
        ["none", "all"], min_length=1
    )
