"""Sections of the models that train networks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from glacmb_grid.settings.base import Count
from glacmb_grid.settings.inputs import SampleTable
from glacmb_grid.settings.learners import Levelled, several
from glacmb_grid.settings.temperature_index import SharedIndex, TemperatureIndex

Step = Annotated[float, Field(gt=0, le=10)]
Strength = Annotated[float, Field(ge=0, le=1000)]


def _several_widths(value: Any) -> Any:
    """One network where several may be given."""
    one = isinstance(value, (list, tuple)) and all(isinstance(v, int) for v in value)
    return [value] if one else value


class Network(Levelled):
    """What the models share that train small fully connected networks, an ensemble of members in every fold.

    The lists are alternatives, chosen between on inner folds; where all combinations are more than `configurations`,
    that many are drawn.
    """

    widths: Annotated[list[Annotated[tuple[Count, ...], Field(min_length=1)]], BeforeValidator(_several_widths)] = (
        Field([(40, 20, 10, 5), (16,)], min_length=1)
    )
    learning_rate: Annotated[list[Step], BeforeValidator(several)] = Field([0.005], min_length=1)
    input_noise: Annotated[list[Strength], BeforeValidator(several)] = Field([0.1, 0.3], min_length=1)
    l1: Annotated[list[Strength], BeforeValidator(several)] = Field([1e-3, 1e-2], min_length=1)
    weighting: Annotated[list[Literal["none", "dynamic", "density", "uncertainty"]], BeforeValidator(several)] = Field(
        ["none"], min_length=1
    )
    configurations: Count = 64
    members: int = Field(5, ge=1, le=1000)
    bootstrap: bool = True
    finish: Literal["refit", "early_stopping"] = "refit"
    epochs: Count = 600
    patience: Count = 60
    block: Count | None = None


class FeedForward(Network):
    """FF-FCNN: small fully connected networks, an ensemble of members in every fold.

    The lists are alternatives, chosen between on inner folds; where all combinations are more than `configurations`,
    that many are drawn. `geodetic_weight`: of geodetic rates in the loss, where there are rates to learn from.

    `pretrain`: what a network learns before the observations: nothing; balances that a temperature index, fitted in the
    same fold with the settings `simulation`, gives to the fold's own glacier-years and to those that nobody measured;
    or the observed balances of the table `transfer`. `frozen`: how many of its first layers then stay as they are.
    """

    heteroscedastic: Annotated[list[bool], BeforeValidator(several)] = Field([False], min_length=1)
    geodetic_weight: Annotated[list[Strength], BeforeValidator(several)] = Field([0.0, 0.01, 0.1], min_length=1)
    pretrain: Annotated[list[Literal["none", "simulation", "transfer"]], BeforeValidator(several)] = Field(
        ["none"], min_length=1
    )
    frozen: Annotated[list[Annotated[int, Field(ge=0, le=100)]], BeforeValidator(several)] = Field([0], min_length=1)
    simulation: TemperatureIndex = TemperatureIndex()
    transfer: SampleTable | None = None

    @model_validator(mode="after")
    def _transferred_from_a_table(self) -> FeedForward:
        if ("transfer" in self.pretrain) != (self.transfer is not None):
            raise ValueError("Input should have `transfer`, a table, if and only if `pretrain` names it")
        if any(self.frozen) and self.pretrain == ["none"]:
            raise ValueError("Input should have something to pre-train on, `pretrain`, where layers are frozen")
        return self

    @property
    def simulates(self) -> bool:
        """Whether a temperature index is among what networks may be pre-trained on."""
        return "simulation" in self.pretrain


def _several_bounds(value: Any) -> Any:
    """One set of bounds where several may be given."""
    one = isinstance(value, (list, tuple)) and all(isinstance(v, (int, float)) for v in value)
    return [value] if one else value


Factor = Annotated[float, Field(ge=1, le=100)]


class Hybrid(Network):
    """A temperature index whose parameters small networks change within bounds, an ensemble of members in every fold.

    `bounds` are the largest factors of the degree-day factors of ice and of snow and of the precipitation, and the
    largest addition to the temperature, K; `penalty` draws the changes towards none. With `months` the changes differ
    from month to month, by the month's own weather. The lists are alternatives, as those of `ff_fcnn`. `form: residual`
    adds the network to the balance instead. `index` are the settings of the index, which is calibrated for `none` or
    `all` glaciers.
    """

    widths: Annotated[list[Annotated[tuple[Count, ...], Field(min_length=1)]], BeforeValidator(_several_widths)] = (
        Field([(16,)], min_length=1)
    )
    learning_rate: Annotated[list[Step], BeforeValidator(several)] = Field([0.003], min_length=1)
    input_noise: Annotated[list[Strength], BeforeValidator(several)] = Field([0.2, 0.6], min_length=1)
    l1: Annotated[list[Strength], BeforeValidator(several)] = Field([1e-3], min_length=1)
    levels: list[Literal["none", "glacier"]] | None = Field(None, min_length=1)  # type: ignore[assignment]
    patience: Count = 100
    penalty: Annotated[list[Strength], BeforeValidator(several)] = Field([0.1, 1.0], min_length=1)
    bounds: Annotated[
        list[tuple[Factor, Factor, Factor, Annotated[float, Field(ge=0, le=10)]]], BeforeValidator(_several_bounds)
    ] = Field([(2.0, 2.0, 2.0, 1.5), (4.0, 4.0, 4.0, 4.0)], min_length=1)
    months: Annotated[list[bool], BeforeValidator(several)] = Field([False], min_length=1)
    form: Literal["multipliers", "residual"] = "multipliers"
    index: SharedIndex = SharedIndex()

    @model_validator(mode="after")
    def _months_of_an_index(self) -> Hybrid:
        if self.form == "residual" and any(self.months):
            raise ValueError("Input should have `months: false` with `form: residual`, which changes no parameter")
        return self
