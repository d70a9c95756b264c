"""Figures as pure functions: a Dataset or a table in, matplotlib Axes out; public as `glacmb_grid.plot`."""

from glacmb_grid.plot.fits import chosen_predictors, learning_curves
from glacmb_grid.plot.maps import applicability_map, glacier_map
from glacmb_grid.plot.scores import predicted_observed, reliability, score_dots, skill_by_distance
from glacmb_grid.plot.series import glacier_series, regional_series
from glacmb_grid.plot.studies import ablation_dots, audit_gap, geodetic_rates, importance_bars, skill_by_glaciers

__all__ = [
    "ablation_dots",
    "applicability_map",
    "audit_gap",
    "chosen_predictors",
    "geodetic_rates",
    "glacier_map",
    "glacier_series",
    "importance_bars",
    "learning_curves",
    "predicted_observed",
    "regional_series",
    "reliability",
    "score_dots",
    "skill_by_distance",
    "skill_by_glaciers",
]
