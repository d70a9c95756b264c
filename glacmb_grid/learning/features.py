"""Features made from predictors inside a fold: filled gaps, climatology and anomaly, scaling, selection.

A recipe says how; `fit_features` learns it from the fitted rows alone and returns `Features`, which apply to any rows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
import scipy.sparse

from glacmb_grid.learning.ragged import Arrays
from glacmb_grid.learning.reach import reach_of
from glacmb_grid.learning.selection import select
from glacmb_grid.learning.table import Bools, Floats, Integers, Rows, Texts
from glacmb_grid.predictors import matching
from glacmb_grid.settings import Recipe

LEAST_GLACIERS = 4
"""With fewer fitted glaciers, predictors that are constant at a glacier are dropped: they would only identify it."""
_RIDGE_OF_GAPS = 1.0  # penalty per standardised predictor of the regression that fills gaps


@dataclass(frozen=True)
class Design:
    """Standardised features of rows, without gaps.

    Attributes
    ----------
    values : float64 array, (row, feature)
    names : str array, (feature,)
    weather : bool array, (feature,)
        Whether a feature varies from year to year at a glacier.
    """

    values: Floats
    names: Texts
    weather: Bools


@dataclass(frozen=True)
class Features:
    """What a recipe learnt from the fitted rows of a fold."""

    recipe: Recipe
    predictors: Texts  # (column,) names of the columns that the recipe takes
    taken: Bools  # (column,) whether its value or anomaly is a feature
    averaged: Bools  # (column,) whether its climatology is a feature
    weather: Bools  # (column,) whether it varies from year to year at a glacier
    glaciers: Texts  # (glacier,) fitted ones, sorted
    span: Integers  # (2,) first and last fitted year
    climatology: Floats  # (glacier, column)
    reach: Floats  # (2, column) lowest and highest mean of a glacier that was not fitted on, see `reach_of`
    level: Floats  # (column,) mean of the fitted rows
    gap_columns: Integers  # indices of columns with gaps in the fitted rows
    gap_weights: Floats  # (column + 1, gap column) of the regression on standardised columns that fills gaps
    gap_scale: Floats  # (2, column) centre and inverse scale of these columns; (2, 0) without a regression
    centre: Floats  # (expanded,)
    inverse_scale: Floats  # (expanded,)
    names: Texts  # (expanded,)
    varies: Bools  # (expanded,)
    kept: Integers  # indices of the selected features among the expanded

    def state(self) -> Arrays:
        """Everything `from_state` needs, as arrays."""
        out = {f.name: np.asarray(getattr(self, f.name)) for f in fields(self) if f.name != "recipe"}
        out["recipe"] = np.array(self.recipe.model_dump_json())
        return {f"features_{n}": v for n, v in out.items()}

    @classmethod
    def from_state(cls, state: Arrays) -> Features:
        """Features from the arrays of `state`."""
        recipe = Recipe.model_validate_json(str(state["features_recipe"]))
        return cls(recipe, *(state[f"features_{f.name}"] for f in fields(cls) if f.name != "recipe"))

    def design(self, rows: Rows) -> Design:
        """Features of rows.

        The climatology of a glacier that was not fitted on is the mean of its rows passed here from the first to the
        last fitted year, so that years to come do not change what is said of older ones; of all, where it has none.
        Means beyond `reach` are moved to its end, and the values of the glacier with them; anomalies stay.

        Raises
        ------
        ValueError
            If the rows lack a predictor.
        """
        kept = self.expanded(rows)[:, self.kept]
        values = scaled(kept, self.centre[self.kept], self.inverse_scale[self.kept])
        return Design(values, self.names[self.kept], self.varies[self.kept])

    def expanded(self, rows: Rows) -> Floats:
        """All features before scaling and selection, (row, expanded)."""
        values = rows.in_order(self.predictors).values
        missing = ~np.isfinite(values)
        parts = self.recipe.parts
        means = self._means(rows, values)
        if self.recipe.gaps == "climatology":
            values = np.where(missing, means, values)
        elif self.recipe.gaps == "regress" and len(self.gap_columns):
            values = self._regressed(values)
        moved = means.clip(*self.reach)
        values, means = values + (moved - means), moved
        blocks = [values[:, self.taken if "value" in parts else self.taken & ~self.weather]]
        if "climatology" in parts:
            blocks.append(means[:, self.averaged & self.weather])
        if "anomaly" in parts:
            blocks.append((values - means)[:, self.taken & self.weather])
        if self.recipe.gaps == "indicator":
            blocks.append(missing[:, self.gap_columns].astype(np.float64))
        return np.concatenate(blocks, axis=1)

    def _means(self, rows: Rows, values: Floats) -> Floats:
        """Climatology at the glacier of each row, (row, column)."""
        own, index = np.unique(rows.glacier, return_inverse=True)
        within = (rows.year >= self.span[0]) & (rows.year <= self.span[1])
        table: Floats = group_means(values[within], index[within], len(own))
        if (elsewhen := ~np.isin(own, rows.glacier[within])).any():
            table[elsewhen] = group_means(values, index, len(own))[elsewhen]
        if len(self.glaciers):
            at = np.searchsorted(self.glaciers, own).clip(max=len(self.glaciers) - 1)
            known = self.glaciers[at] == own
            table[known] = self.climatology[at[known]]
        return np.asarray(np.where(np.isfinite(table), table, self.level)[index])

    def _regressed(self, values: Floats) -> Floats:
        """Values with their gaps filled by regression on the other columns, (row, column)."""
        standard = scaled(values, self.gap_scale[0], self.gap_scale[1])
        guess = np.column_stack([standard, np.ones(len(values))]) @ self.gap_weights
        out = values.copy()
        here = out[:, self.gap_columns]
        out[:, self.gap_columns] = np.where(np.isfinite(here), here, guess)
        return out


def group_means(values: Floats, index: Integers, count: int) -> Floats:
    """Means of rows by group, gaps left out, (group, column); NaN where a group has no value."""
    member = scipy.sparse.csr_matrix((np.ones(len(index)), (index, np.arange(len(index)))), (count, len(index)))
    valid = np.isfinite(values)
    seen: Floats = member @ valid.astype(np.float64)
    total: Floats = member @ np.where(valid, values, 0.0)
    return np.asarray(np.divide(total, seen, out=np.full_like(total, np.nan), where=seen > 0))


@lru_cache(maxsize=64)
def _matched(names: tuple[str, ...], predictors: tuple[str, ...], exclude: tuple[str, ...]) -> Bools:
    """Mask of the names that match a pattern and no exclusion, (predictor,); cached, as every fit needs it."""
    out = np.zeros(len(names), bool)
    out[matching(names, predictors)] = True
    if exclude:
        out[matching(names, exclude)] = False
    return out


def choose_columns(rows: Rows, recipe: Recipe) -> tuple[Bools, Bools]:
    """Predictors whose values (or anomalies) and whose climatologies a recipe takes, (predictor,) each.

    Raises
    ------
    InputError
        If a pattern matches nothing.
    """
    allowed = _matched(tuple(rows.names.tolist()), tuple(recipe.predictors), tuple(recipe.exclude))
    kinds = {"all": allowed, "table": allowed & ~rows.derived, "seasonal": allowed & ~rows.monthly}
    return kinds[recipe.take], kinds[recipe.climatology_of or recipe.take]


def fit_features(rows: Rows, used: Bools, target: Floats, recipe: Recipe, seed: int) -> Features:
    """Learn a recipe on the fitted rows.

    Parameters
    ----------
    rows : Rows
        All rows of the table.
    used : bool array, (row,)
        The fitted rows; no others are used.
    target : float64 array, (row,)
        Observed balance of the fitted rows, m w.e.; NaN if missing.
    recipe : Recipe
    seed : int
        Of the random forest that ranks predictors.

    Returns
    -------
    Features
    """
    taken, averaged = choose_columns(rows, recipe)
    averaged = averaged & ("climatology" in recipe.parts)
    columns = np.flatnonzero(taken | averaged)
    taken, averaged = taken[columns], averaged[columns]
    fitted = rows.take(used)
    values, balance = fitted.values[:, columns], target[used]
    missing = ~np.isfinite(values)
    if recipe.gaps == "drop" and missing.any():
        complete = np.asarray(~missing.any(axis=1))
        fitted, values, balance, missing = fitted.take(complete), values[complete], balance[complete], missing[complete]
    glaciers, index = np.unique(fitted.glacier, return_inverse=True)
    span = np.array([fitted.year.min(), fitted.year.max()] if len(fitted.year) else [0, 0], np.int64)
    climatology = group_means(values, index, len(glaciers))
    level = group_means(values, np.zeros(len(values), np.int64), 1)[0]
    level = np.where(np.isfinite(level), level, 0.0)
    climatology = np.where(np.isfinite(climatology), climatology, level)
    weather = _varying(values - climatology[index])
    gap_columns = np.flatnonzero(missing.any(axis=0))
    gap_weights, gap_scale = _fit_gaps(values, gap_columns, recipe)
    names = _expanded_names(rows.names[columns], (taken, averaged, weather), gap_columns, recipe)
    reach = reach_of(climatology, recipe.within_reach)
    features = Features(
        recipe, rows.names[columns], taken, averaged, weather, glaciers, span, climatology, reach, level, gap_columns,
        gap_weights, gap_scale, np.zeros(0), np.zeros(0), names[0], names[1], np.zeros(0, np.int64),
    )  # fmt: skip
    expanded = features.expanded(fitted)
    centre, inverse = fit_scaling(expanded, np.ones(len(expanded)))
    features = replace(features, centre=centre, inverse_scale=inverse)
    kept = select(scaled(expanded, centre, inverse), balance, recipe, seed)
    kept = kept[inverse[kept] > 0]
    if len(glaciers) < LEAST_GLACIERS and features.varies[kept].any():
        kept = kept[features.varies[kept]]
    return replace(features, kept=kept)


def _varying(deviation: Floats) -> Bools:
    """Mask of the columns that vary among the rows of a glacier, from deviations from its mean, (column,)."""
    size = np.abs(np.where(np.isfinite(deviation), deviation, 0.0))
    return np.asarray(size.max(axis=0, initial=0.0) > 1e-9)


def _expanded_names(
    names: Texts, masks: tuple[Bools, Bools, Bools], gap_columns: Integers, recipe: Recipe
) -> tuple[Texts, Bools]:
    """Names of the features before selection, and which of them vary at a glacier."""
    taken, averaged, weather = masks
    named: list[tuple[str, bool]] = []
    direct = taken if "value" in recipe.parts else taken & ~weather
    named += zip(names[direct].tolist(), weather[direct].tolist(), strict=True)
    if "climatology" in recipe.parts:
        named += [(f"{n}_climatology", False) for n in names[averaged & weather].tolist()]
    if "anomaly" in recipe.parts:
        named += [(f"{n}_anomaly", True) for n in names[taken & weather].tolist()]
    if recipe.gaps == "indicator":
        named += [(f"{n}_missing", True) for n in names[gap_columns].tolist()]
    return np.array([n for n, _ in named], dtype=str), np.array([v for _, v in named], dtype=bool)


def _fit_gaps(values: Floats, gap_columns: Integers, recipe: Recipe) -> tuple[Floats, Floats]:
    """Weights of a ridge regression of columns with gaps on columns without, and the scaling that it needs."""
    width = values.shape[1]
    weights = np.zeros((width + 1, len(gap_columns)))
    if recipe.gaps != "regress" or not width:
        return weights, np.zeros((2, 0))
    scale = np.stack(fit_scaling(values, np.ones(len(values))))
    standard = np.column_stack([scaled(values, scale[0], scale[1]), np.ones(len(values))])
    for i, column in enumerate(gap_columns):
        known = np.isfinite(values[:, column])
        design = standard[known].copy()
        design[:, gap_columns] = 0.0  # gaps often coincide: regress on complete columns only
        gram = design.T @ design + _RIDGE_OF_GAPS * np.diag(np.append(np.ones(width), 1e-9))
        if known.any():
            weights[:, i] = np.linalg.solve(gram, design.T @ values[known, column])
    return weights, scale


def fit_scaling(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Centre and inverse scale of every column over weighted rows.

    Parameters
    ----------
    values : float64 array, (row, predictor)
        NaN where missing.
    weight : float64 array, (..., row)
        0 for rows that must not be used.

    Returns
    -------
    centre, inverse_scale : float64 arrays, (..., predictor)
        The inverse scale is 0 for a constant predictor or one without values, which drops it.
    """
    valid = np.isfinite(values)
    filled = np.where(valid, values, 0.0)
    seen = weight @ valid
    safe = np.where(seen > 0, seen, 1.0)
    centre = (weight @ filled) / safe
    used = weight > 0
    spread = np.empty_like(centre)
    for place in np.ndindex(weight.shape[:-1]):
        rows = used[place]
        deviation = np.where(valid[rows], filled[rows] - centre[place], 0.0)
        spread[place] = np.sqrt((weight[place][rows] @ deviation**2) / safe[place])
    tiny = 1e-6 * np.maximum(np.abs(centre), 1e-6)
    inverse = np.divide(1.0, spread, out=np.zeros_like(spread), where=(spread > tiny) & (seen > 0))
    return centre, inverse


def scaled(values: Floats, centre: Floats, inverse_scale: Floats) -> Floats:
    """Standardised values; gaps take the training mean (zero)."""
    standard = (values - centre) * inverse_scale
    return np.where(np.isfinite(standard), standard, 0.0)
