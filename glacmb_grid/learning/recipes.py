"""Recipes that suit a table: the alternatives for turning its predictors into features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from glacmb_grid.learning.features import choose_columns
from glacmb_grid.learning.table import Rows, Table
from glacmb_grid.predictors import matching
from glacmb_grid.settings import Learner, Recipe, Section

_MANY = 60  # predictors, beyond which selections of them are tried
EXTRAPOLATED = "with glaciers far from the fitted ones as they are"
_KEEP = (27, 9)
_ENOUGH_GLACIERS = 8


def recipes_of(table: Table, settings: Learner) -> list[Recipe]:
    """The recipes of the settings, or alternatives that suit the table, within the predictors that a model may take.

    The alternatives are the table's own predictors; where there are monthly values, their seasonal aggregates; in a
    user's table with enough glaciers to learn how they differ, the mean of each glacier and the deviations from it
    (predictors from cubes may include these already, for a fixed reference period); where there are many predictors, a
    selection of them; and where there are gaps, the ways to fill them.
    """
    return within(table, settings, settings.recipes or _alternatives(table, settings))


def _alternatives(table: Table, settings: Learner) -> list[Recipe]:
    rows = table.rows
    taken = "seasonal" if rows.monthly.any() else "table"
    plain = Recipe(take="table")
    parts = Recipe(take=taken)
    if rows.from_table and len(np.unique(rows.glacier)) >= _ENOUGH_GLACIERS:
        parts = Recipe(take=taken, parts=("value", "climatology", "anomaly"), climatology_of="table")
    out = [plain] if parts == plain else [plain, parts]
    allowed = np.isin(np.arange(len(rows.names)), matching(rows.names, settings.predictors))
    if (allowed & ~rows.derived).sum() > _MANY:
        out += [r.model_copy(update={"collinearity": 0.9, "keep": k}) for r in list(out) for k in _KEEP]
    if not np.isfinite(rows.values[:, allowed]).all():
        out += [parts.model_copy(update={"gaps": g}) for g in ("climatology", "regress", "indicator", "drop")]
    return out


def extrapolating(settings: Learner, recipes: Sequence[Recipe]) -> dict[str, Section]:
    """For the ablations of a study: settings with nothing of another glacier kept within reach of the fitted ones."""
    free: dict[str, object] = {"recipes": without_limits(recipes)}
    index = getattr(settings, "index", None)
    if index is not None:
        free["index"] = index.model_copy(update={"within_reach": False})
    changed = settings.model_copy(update=free)
    return {} if changed == settings else {EXTRAPOLATED: changed}


def without_limits(recipes: Sequence[Recipe]) -> list[Recipe]:
    """The recipes with other glaciers as they are."""
    return [r.model_copy(update={"within_reach": False}) for r in recipes]


def within(table: Table, settings: Learner, recipes: Sequence[Recipe]) -> list[Recipe]:
    """The recipes without the predictors that the model's settings rule out."""
    if settings.predictors == ["*"]:
        return list(recipes)
    allowed = set(matching(table.rows.names, settings.predictors))
    barred = [str(n) for i, n in enumerate(table.rows.names) if i not in allowed]
    return [r.model_copy(update={"exclude": [*r.exclude, *barred]}) for r in recipes]


def most_features(rows: Rows, recipes: Sequence[Recipe]) -> int:
    """The largest number of features that any of the recipes can give, rounded up to a multiple of four."""
    most = 1
    for recipe in recipes:
        taken, averaged = choose_columns(rows, recipe)
        count = int(taken.sum()) + int(averaged.sum()) * ("climatology" in recipe.parts)
        count += int(taken.sum()) * ("anomaly" in recipe.parts and "value" in recipe.parts)
        count += int((taken | averaged).sum()) * (recipe.gaps == "indicator")
        most = max(most, count if recipe.keep is None else min(count, recipe.keep))
    return -(-most // 4) * 4
