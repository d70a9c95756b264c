"""Transforms fitted inside a fold: gaps, climatology and anomaly, scale, selection of predictors.

A recipe says what is made of the predictors; `fit_features` learns it on the fitted rows alone and gives a `Features`
that can be applied to any rows.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.sparse
import xarray as xr

from glacmb_grid.learning.trees import grow
from glacmb_grid.predictors import matching
from glacmb_grid.settings import Recipe

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]

LEAST_GLACIERS = 4
"""With fewer fitted glaciers, what does not vary at a glacier is no feature: it would only be its name."""
_RANKING_TREES = 100
_RANKING_ROWS = 5000  # that a tree draws at most
_RIDGE_OF_GAPS = 1.0  # penalty per standardised predictor of the regression that fills gaps


@dataclass(frozen=True)
class Rows:
    """Glacier-years and what is known of them.

    Attributes
    ----------
    names : str array, (predictor,)
    values : float64 array, (row, predictor)
        NaN where missing.
    glacier : str array, (row,)
    year : int array, (row,)
    position : float64 array, (row, 2)
        Longitude and latitude, degrees; NaN where unknown.
    monthly, derived : bool arrays, (predictor,)
        Whether a predictor is one of twelve monthly values, and whether it was computed from those.
    from_table : bool
        Whether they come from a user's own table, which knows the climate of the measured years only.
    """

    names: Texts
    values: Floats
    glacier: Texts
    year: Integers
    position: Floats
    monthly: Bools
    derived: Bools
    from_table: bool = False

    def take(self, index: Integers | Bools) -> Rows:
        """Some of the rows."""
        return replace(
            self,
            values=self.values[index],
            glacier=self.glacier[index],
            year=self.year[index],
            position=self.position[index],
        )


def rows_of(ds: xr.Dataset) -> Rows:
    """The rows of samples, or any rows from `as_rows`."""
    names = ds["predictor"].values.astype(str)
    count = ds.sizes["row"]
    unknown = np.full(count, np.nan)
    place = [ds[n].values.astype(float) if n in ds else unknown for n in ("row_longitude", "row_latitude")]
    monthly = ds["monthly"].values.astype(bool) if "monthly" in ds else _one_of_twelve(names)
    derived = ds["derived"].values.astype(bool) if "derived" in ds else np.zeros(len(names), bool)
    return Rows(
        names,
        ds["predictors"].values.astype(np.float64),
        ds["row_glacier"].values.astype(str),
        ds["row_year"].values.astype(np.int64),
        np.stack(place, axis=1),
        monthly,
        derived,
        "derived" in ds,
    )


def _one_of_twelve(names: Texts) -> Bools:
    there = set(names.tolist())
    months = [f"_{m:02d}" for m in range(1, 13)]
    stem = [n[:-3] if n[-3:] in months else "" for n in names.tolist()]
    return np.array([bool(s) and all(s + m in there for m in months) for s in stem])


@dataclass(frozen=True)
class Design:
    """Features of rows: standardised, without gaps.

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
    """What a recipe has learnt on the fitted rows of a fold."""

    recipe: Recipe
    columns: Integers  # of the predictors
    taken: Bools  # of the columns: those whose value or anomaly is a feature
    averaged: Bools  # of the columns: those whose climatology is a feature
    weather: Bools  # of the columns: those that vary at a glacier
    glaciers: Texts  # that were fitted on, sorted
    climatology: Floats  # (glacier, column)
    level: Floats  # (column,) mean of the fitted rows
    gap_columns: Integers  # of the columns: those with gaps among the fitted rows
    gap_weights: Floats  # (column + 1, gap column) regression that fills gaps, on standardised columns
    gap_scale: Floats  # (2, column) centre and inverse scale for it
    centre: Floats  # (expanded,)
    inverse_scale: Floats  # (expanded,)
    names: Texts  # (expanded,)
    varies: Bools  # (expanded,)
    kept: Integers  # of the expanded

    def design(self, rows: Rows) -> Design:
        """Features of rows.

        The climatology of a glacier that was not fitted on is the mean of all its rows given here.
        """
        values = scaled(self.expanded(rows), self.centre, self.inverse_scale)[:, self.kept]
        return Design(values, self.names[self.kept], self.varies[self.kept])

    def expanded(self, rows: Rows) -> Floats:
        """All features before scaling and selection, (row, expanded)."""
        values = rows.values[:, self.columns]
        missing = ~np.isfinite(values)
        parts = self.recipe.parts
        wants_means = self.recipe.gaps == "climatology" or "climatology" in parts or "anomaly" in parts
        means = self._means(rows, values) if wants_means else values
        if self.recipe.gaps == "climatology":
            values = np.where(missing, means, values)
        elif self.recipe.gaps == "regress" and len(self.gap_columns):
            values = self._regressed(values)
        blocks = [values[:, self.taken if "value" in parts else self.taken & ~self.weather]]
        if "climatology" in parts:
            blocks.append(means[:, self.averaged & self.weather])
        if "anomaly" in parts:
            blocks.append((values - means)[:, self.taken & self.weather])
        if self.recipe.gaps == "indicator":
            blocks.append(missing[:, self.gap_columns].astype(np.float64))
        return np.concatenate(blocks, axis=1)

    def _means(self, rows: Rows, values: Floats) -> Floats:
        own, index = np.unique(rows.glacier, return_inverse=True)
        table: Floats = group_means(values, index, len(own))
        if len(self.glaciers):
            at = np.searchsorted(self.glaciers, own).clip(max=len(self.glaciers) - 1)
            known = self.glaciers[at] == own
            table[known] = self.climatology[at[known]]
        return np.asarray(np.where(np.isfinite(table), table, self.level)[index])

    def _regressed(self, values: Floats) -> Floats:
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
    """Names that one of the patterns takes and none excludes, (predictor,); remembered, as every fit asks."""
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
        Where a pattern matches nothing.
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
        The fitted rows: no other is looked at.
    target : float64 array, (row,)
        Observed balance of the fitted rows, m w.e.; NaN where there is none.
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
    values, aim = fitted.values[:, columns], target[used]
    missing = ~np.isfinite(values)
    if recipe.gaps == "drop" and missing.any():
        whole = np.asarray(~missing.any(axis=1))
        fitted, values, aim, missing = fitted.take(whole), values[whole], aim[whole], missing[whole]
    glaciers, index = np.unique(fitted.glacier, return_inverse=True)
    climatology = group_means(values, index, len(glaciers))
    level = group_means(values, np.zeros(len(values), np.int64), 1)[0]
    level = np.where(np.isfinite(level), level, 0.0)
    climatology = np.where(np.isfinite(climatology), climatology, level)
    weather = _weather(values - climatology[index])
    gap_columns = np.flatnonzero(missing.any(axis=0))
    gap_weights, gap_scale = _fit_gaps(values, gap_columns, recipe)
    names = _expanded_names(rows.names[columns], (taken, averaged, weather), gap_columns, recipe)
    features = Features(
        recipe, columns, taken, averaged, weather, glaciers, climatology, level, gap_columns, gap_weights, gap_scale,
        np.zeros(0), np.zeros(0), names[0], names[1], np.zeros(0, np.int64),
    )  # fmt: skip
    expanded = features.expanded(fitted)
    centre, inverse = fit_scaling(expanded, np.ones(len(expanded)))
    features = replace(features, centre=centre, inverse_scale=inverse)
    kept = select(scaled(expanded, centre, inverse), aim, recipe, seed)
    kept = kept[inverse[kept] > 0]
    if len(glaciers) < LEAST_GLACIERS and features.varies[kept].any():
        kept = kept[features.varies[kept]]
    return replace(features, kept=kept)


def _weather(deviation: Floats) -> Bools:
    """Columns that vary among the rows of a glacier."""
    size = np.abs(np.where(np.isfinite(deviation), deviation, 0.0))
    return np.asarray(size.max(axis=0, initial=0.0) > 1e-9)


def _expanded_names(
    names: Texts, masks: tuple[Bools, Bools, Bools], gap_columns: Integers, recipe: Recipe
) -> tuple[Texts, Bools]:
    """Names of the features before selection, and which of them vary at a glacier."""
    taken, averaged, weather = masks
    told: list[tuple[str, bool]] = []
    shown = taken if "value" in recipe.parts else taken & ~weather
    told += zip(names[shown].tolist(), weather[shown].tolist(), strict=True)
    if "climatology" in recipe.parts:
        told += [(f"{n}_climatology", False) for n in names[averaged & weather].tolist()]
    if "anomaly" in recipe.parts:
        told += [(f"{n}_anomaly", True) for n in names[taken & weather].tolist()]
    if recipe.gaps == "indicator":
        told += [(f"{n}_missing", True) for n in names[gap_columns].tolist()]
    return np.array([n for n, _ in told], dtype=str), np.array([v for _, v in told], dtype=bool)


def _fit_gaps(values: Floats, gap_columns: Integers, recipe: Recipe) -> tuple[Floats, Floats]:
    """Ridge regression of the columns with gaps on all others."""
    width = values.shape[1]
    scale = np.stack(fit_scaling(values, np.ones(len(values)))) if width else np.zeros((2, 0))
    weights = np.zeros((width + 1, len(gap_columns)))
    if recipe.gaps != "regress":
        return weights, scale
    standard = np.column_stack([scaled(values, scale[0], scale[1]), np.ones(len(values))])
    for i, column in enumerate(gap_columns):
        there = np.isfinite(values[:, column])
        design = standard[there].copy()
        design[:, gap_columns] = 0.0  # gaps often come together: only whole columns explain them
        gram = design.T @ design + _RIDGE_OF_GAPS * np.diag(np.append(np.ones(width), 1e-9))
        if there.any():
            weights[:, i] = np.linalg.solve(gram, design.T @ values[there, column])
    return weights, scale


def select(values: Floats, target: Floats, recipe: Recipe, seed: int) -> Integers:
    """Positions of the features that a recipe keeps, in their order.

    First those with too small a correlation with the target go, then of every too similar pair the one that says less
    of the target, then all but the `keep` that rank highest.

    Parameters
    ----------
    values : float64 array, (row, feature)
        Standardised.
    target : float64 array, (row,)
    """
    there = np.isfinite(target)
    values, target = values[there], target[there]
    kept = np.arange(values.shape[1])
    asks = recipe.correlation > 0 or recipe.collinearity < 1 or recipe.keep is not None
    if not asks or len(target) < 3 or target.std() < 1e-12:
        return kept if recipe.keep is None or not asks else kept[: recipe.keep]
    strength = np.abs(correlations(values, target))
    if recipe.correlation > 0:
        kept = kept[strength >= recipe.correlation]
        if not len(kept):
            kept = np.array([int(strength.argmax())])
    if recipe.collinearity < 1:
        kept = _unlike(values, kept, strength, recipe.collinearity)
    if recipe.keep is not None and len(kept) > recipe.keep:
        rank = _forest_rank(values[:, kept], target, seed) if recipe.ranking == "random_forest" else strength[kept]
        kept = kept[np.argsort(-rank, kind="stable")[: recipe.keep]]
    return np.sort(kept)


def correlations(values: Floats, target: Floats) -> Floats:
    """Pearson correlation of every column with the target, 0 where one of them is constant."""
    centred, aim = values - values.mean(axis=0), target - target.mean()
    size = np.sqrt((centred**2).sum(axis=0) * (aim @ aim))
    return np.asarray(np.divide(centred.T @ aim, size, out=np.zeros(values.shape[1]), where=size > 1e-12))


def _unlike(values: Floats, kept: Integers, strength: Floats, largest: float) -> Integers:
    order = kept[np.argsort(-strength[kept], kind="stable")]
    centred = values[:, order] - values[:, order].mean(axis=0)
    size = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, size, out=np.zeros_like(centred), where=size > 1e-12)
    alike = np.abs(unit.T @ unit)
    taken: list[int] = []
    for i in range(len(order)):
        if not (alike[i, taken] > largest).any():
            taken.append(i)
    return np.asarray(order[taken])


_ranks: dict[str, Floats] = {}  # several models and recipes rank the same rows
_RANKS = 4096


def _forest_rank(values: Floats, target: Floats, seed: int) -> Floats:
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes())
    digest.update(np.ascontiguousarray(target).tobytes())
    key = f"{seed}:{values.shape}:{digest.hexdigest()}"
    rank = _ranks.get(key)
    if rank is None:
        rank = _grown_rank(values, target, seed)
        if len(_ranks) >= _RANKS:  # another thread may clear it too
            _ranks.clear()
        _ranks[key] = rank
    return rank


def _grown_rank(values: Floats, target: Floats, seed: int) -> Floats:
    draws = min(len(target), _RANKING_ROWS)  # so that large tables stay cheap
    forest = grow(values, target, trees=_RANKING_TREES, leaf=2, share=0.33, seed=seed, draws=draws)
    return forest.importances()


def fit_scaling(values: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Centre and inverse scale of every column over weighted rows.

    Parameters
    ----------
    values : float64 array, (row, predictor)
        NaN where missing.
    weight : float64 array, (..., row)
        0 for rows that must not be looked at.

    Returns
    -------
    centre, inverse_scale : float64 arrays, (..., predictor)
        The inverse scale is 0 where a predictor is constant or unseen, which drops it.
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
