"""What the sections of models that learn share."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from glacmb_grid.settings.base import Count, Section

Level = Literal["none", "glacier", "year"]


class Recipe(Section):
    """What is made of the predictors inside a fold; several are alternatives, chosen between on inner folds.

    `take`: `table` leaves out what was computed from monthly values, `seasonal` leaves out the monthly values
    themselves. `parts`: the value, the mean of the glacier over its fitted rows, the deviation from it; the means may
    be taken of other predictors, `climatology_of`. `gaps`: how missing values are filled. `within_reach`: where the
    mean of a glacier that was not fitted on is further out than those of the fitted ones make plausible, it is moved to
    the end of what is, and the glacier's values with it. Then, in this order: the least correlation with the target,
    the largest correlation between two predictors, and how many to keep by their rank. `ranking: random_forest` draws
    its splits at random where rows times predictors exceed 100,000.
    """

    predictors: list[str] = ["*"]
    exclude: list[str] = []
    take: Literal["all", "table", "seasonal"] = "all"
    parts: tuple[Literal["value", "climatology", "anomaly"], ...] = ("value",)
    climatology_of: Literal["all", "table", "seasonal"] | None = None
    gaps: Literal["mean", "climatology", "regress", "indicator", "drop"] = "mean"
    within_reach: bool = True
    correlation: float = Field(0.0, ge=0, lt=1)
    collinearity: float = Field(1.0, gt=0, le=1)
    ranking: Literal["correlation", "random_forest"] = "random_forest"
    keep: Count | None = None


def several(value: Any) -> Any:
    """One value where alternatives may be given."""
    return value if isinstance(value, (list, tuple)) else [value]


class Learner(Section):
    """What the models that learn from predictors share.

    `predictors` are the names and patterns that the model may take at all; `recipes` what is made of them, by default a
    few that suit the table.
    """

    predictors: list[str] = ["*"]
    recipes: list[Recipe] | None = Field(None, min_length=1)


class Levelled(Learner):
    """What the learners share that glaciers may add something to.

    `levels`: `none`, `glacier` (the level of a glacier is taken out first), `year` (one row a year, with level and
    amplitude of the glacier on top); by default those that suit the table and the scheme.
    """

    levels: list[Level] | None = Field(None, min_length=1)
