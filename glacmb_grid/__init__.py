"""Regional upscaling of glaciological mass-balance observations to every glacier of a region.

The names below are the public interface: pure functions, Dataset in and Dataset out. They are imported when first used,
so that a command line that only reads a configuration starts at once.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from glacmb_grid import plot as plot
    from glacmb_grid.config import load_config as load_config
    from glacmb_grid.constraints import build_constraints as build_constraints
    from glacmb_grid.errors import InputError as InputError
    from glacmb_grid.errors import InputErrors as InputErrors
    from glacmb_grid.folds.masks import Folds as Folds
    from glacmb_grid.folds.schemes import make_folds as make_folds
    from glacmb_grid.inputs.albedo import open_albedo as open_albedo
    from glacmb_grid.inputs.albedo import summer_albedo as summer_albedo
    from glacmb_grid.inputs.balances import read_observations as read_observations
    from glacmb_grid.inputs.balances.geodetic import read_geodetic as read_geodetic
    from glacmb_grid.inputs.climate import open_climate as open_climate
    from glacmb_grid.inputs.elevation import open_elevation as open_elevation
    from glacmb_grid.inputs.links import link as link
    from glacmb_grid.inputs.links.tables import read_link_table as read_link_table
    from glacmb_grid.inputs.links.versions import read_versions as read_versions
    from glacmb_grid.inputs.outlines import glaciers_dataset as glaciers_dataset
    from glacmb_grid.inputs.outlines import read_outlines as read_outlines
    from glacmb_grid.inputs.own_table import read_samples_table as read_samples_table
    from glacmb_grid.inputs.series import read_series as read_series
    from glacmb_grid.learning.choices import choices as choices
    from glacmb_grid.learning.nets.extract import network as network
    from glacmb_grid.learning.registry import fit as fit
    from glacmb_grid.learning.registry import predict as predict
    from glacmb_grid.predictors import build_predictors as build_predictors
    from glacmb_grid.products.area_change import AreaChange as AreaChange
    from glacmb_grid.products.area_change import area_of_years as area_of_years
    from glacmb_grid.products.geodetic import compare_geodetic as compare_geodetic
    from glacmb_grid.products.geodetic import score_geodetic as score_geodetic
    from glacmb_grid.products.glacier import glacier_product as glacier_product
    from glacmb_grid.products.glacier import with_realizations as with_realizations
    from glacmb_grid.products.gridded import gridded_product as gridded_product
    from glacmb_grid.products.metadata import describe as describe
    from glacmb_grid.products.metadata import with_mass_units as with_mass_units
    from glacmb_grid.products.regional import regional_product as regional_product
    from glacmb_grid.products.regions import one_region as one_region
    from glacmb_grid.products.regions import regions_of_polygons as regions_of_polygons
    from glacmb_grid.products.regions import rgi_regions as rgi_regions
    from glacmb_grid.products.series import compare_series as compare_series
    from glacmb_grid.samples import build_samples as build_samples
    from glacmb_grid.sampling.lapse_rate import correct_temperature as correct_temperature
    from glacmb_grid.sampling.lapse_rate import fitted_lapse_rate as fitted_lapse_rate
    from glacmb_grid.sampling.terrain import terrain as terrain
    from glacmb_grid.sampling.zonal import overlap_weights as overlap_weights
    from glacmb_grid.sampling.zonal import sample as sample
    from glacmb_grid.stores.formats import write_product as write_product
    from glacmb_grid.synthetic import write_region as write_region
    from glacmb_grid.uncertainty.applicability import dissimilarity as dissimilarity
    from glacmb_grid.uncertainty.applicability import predictor_space as predictor_space
    from glacmb_grid.uncertainty.conformal import conformal_half_widths as conformal_half_widths
    from glacmb_grid.uncertainty.correlation import ErrorCorrelation as ErrorCorrelation
    from glacmb_grid.uncertainty.coverage import coverage as coverage
    from glacmb_grid.uncertainty.draws import draw_errors as draw_errors
    from glacmb_grid.uncertainty.error_curve import ErrorCurve as ErrorCurve
    from glacmb_grid.uncertainty.error_curve import fit_error_curve as fit_error_curve
    from glacmb_grid.uncertainty.every_year import glacier_year_uncertainty as glacier_year_uncertainty
    from glacmb_grid.uncertainty.importance import predictor_weights as predictor_weights
    from glacmb_grid.uncertainty.propagation import propagate as propagate
    from glacmb_grid.uncertainty.variograms import fit_correlation as fit_correlation
    from glacmb_grid.upscaling.predict import upscale as upscale
    from glacmb_grid.validation.predictions import out_of_fold as out_of_fold
    from glacmb_grid.validation.scores import compare as compare
    from glacmb_grid.validation.scores import score as score
    from glacmb_grid.workflow.runner import run as run

try:
    __version__ = version("glacmb-grid")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

_HOMES = {
    "ErrorCurve": "uncertainty.error_curve",
    "Folds": "folds.masks",
    "InputError": "errors",
    "InputErrors": "errors",
    "AreaChange": "products.area_change",
    "ErrorCorrelation": "uncertainty.correlation",
    "area_of_years": "products.area_change",
    "compare_series": "products.series",
    "draw_errors": "uncertainty.draws",
    "fit_correlation": "uncertainty.variograms",
    "one_region": "products.regions",
    "propagate": "uncertainty.propagation",
    "regional_product": "products.regional",
    "regions_of_polygons": "products.regions",
    "rgi_regions": "products.regions",
    "choices": "learning.choices",
    "build_constraints": "constraints",
    "build_predictors": "predictors",
    "build_samples": "samples",
    "compare": "validation.scores",
    "compare_geodetic": "products.geodetic",
    "conformal_half_widths": "uncertainty.conformal",
    "correct_temperature": "sampling.lapse_rate",
    "coverage": "uncertainty.coverage",
    "describe": "products.metadata",
    "dissimilarity": "uncertainty.applicability",
    "fit": "learning.registry",
    "fit_error_curve": "uncertainty.error_curve",
    "fitted_lapse_rate": "sampling.lapse_rate",
    "glacier_year_uncertainty": "uncertainty.every_year",
    "glacier_product": "products.glacier",
    "glaciers_dataset": "inputs.outlines",
    "gridded_product": "products.gridded",
    "link": "inputs.links",
    "load_config": "config",
    "network": "learning.nets.extract",
    "make_folds": "folds.schemes",
    "open_albedo": "inputs.albedo",
    "open_climate": "inputs.climate",
    "open_elevation": "inputs.elevation",
    "out_of_fold": "validation.predictions",
    "overlap_weights": "sampling.zonal",
    "predict": "learning.registry",
    "predictor_space": "uncertainty.applicability",
    "predictor_weights": "uncertainty.importance",
    "read_geodetic": "inputs.balances.geodetic",
    "read_link_table": "inputs.links.tables",
    "read_observations": "inputs.balances",
    "read_outlines": "inputs.outlines",
    "read_samples_table": "inputs.own_table",
    "read_series": "inputs.series",
    "read_versions": "inputs.links.versions",
    "run": "workflow.runner",
    "sample": "sampling.zonal",
    "score": "validation.scores",
    "score_geodetic": "products.geodetic",
    "summer_albedo": "inputs.albedo",
    "terrain": "sampling.terrain",
    "upscale": "upscaling.predict",
    "with_realizations": "products.glacier",
    "with_mass_units": "products.metadata",
    "write_product": "stores.formats",
    "write_region": "synthetic",
}

_ROOMS = ("plot",)

__all__ = ["__version__", *_ROOMS, *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"glacmb_grid.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'glacmb_grid' has no attribute {name!r}")
    value = getattr(import_module(f"glacmb_grid.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
