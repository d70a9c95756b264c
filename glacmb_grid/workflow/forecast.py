"""What a run will read, do, write and hold, foreseen from headers: estimates, within about a factor of two in all."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from math import isqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pyogrio
import xarray as xr

from glacmb_grid.disk import is_url
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.folds.outer import FEW_PARTS, FOLD_ROWS, LEAST_SIDE
from glacmb_grid.inputs.files import closing, find_file, find_files
from glacmb_grid.judging import plan
from glacmb_grid.judging.product import DRAWS, MOST_WITH_DRAWS
from glacmb_grid.settings import Judged, RunConfig, Synthetic, TableConfig
from glacmb_grid.workflow import sources
from glacmb_grid.workflow.linking import linked
from glacmb_grid.workflow.stages import Stage

_MONTHS = 12
_LINKED = 5000
"""Most outlines that observations are linked to; with more, that would take longer than headers do."""
_NEAR = 0.1
"""Degrees around the outlines in which a site counts as near them."""


@dataclass(frozen=True)
class Facts:
    """What headers tell of a run.

    Attributes
    ----------
    glaciers, months, fields, cells : int
        Outlines; months, variables with time and cells of the climate.
    days : int
        Of albedo.
    rows, groups, years_observed : int
        Observations near the outlines, their glaciers and years.
    predictors : int
    extent : tuple of float
        Of the outlines, degrees of longitude and latitude.
    pieces : int
        Pieces that the climate is read in.
    assumed : tuple of str
        What could not be read, and what is assumed in its place.
    """

    glaciers: int = 0
    months: int = 0
    fields: int = 0
    cells: int = 0
    days: int = 0
    rows: int = 0
    groups: int = 0
    years_observed: int = 0
    predictors: int = 0
    extent: tuple[float, float] = (0.0, 0.0)
    pieces: int = 1
    assumed: tuple[str, ...] = ()

    @property
    def years(self) -> int:
        """Hydrological years of the climate."""
        return max(self.months // _MONTHS, 1)


def facts_of(config: Judged) -> Facts:
    """What headers and tables tell of a run; of a synthetic region before it is made, what its settings tell.

    Parameters
    ----------
    config : RunConfig or TableConfig

    Raises
    ------
    InputError or InputErrors
        An input that is missing or cannot be opened.
    """
    if isinstance(config, TableConfig):
        return _facts_of_table(config)
    assert isinstance(config, RunConfig)
    try:
        return _facts_of_files(config)
    except (InputError, InputErrors):
        if config.synthetic is None:
            raise
        return _facts_of_settings(config, config.synthetic)


def _facts_of_table(config: TableConfig) -> Facts:
    source = sources.own_table(config)
    assert source.open is not None
    samples = source.open()
    group = samples["group"] if "group" in samples.coords else samples["glacier"]
    return Facts(
        rows=samples.sizes["sample"],
        groups=len(np.unique(group.values.astype(str))),
        years_observed=len(np.unique(samples["year"].values)) if "year" in samples.coords else 1,
        predictors=samples.sizes["predictor"],
    )


def _facts_of_files(config: RunConfig) -> Facts:
    path = find_file(config.glaciers.path, what="outlines")
    try:
        info = pyogrio.read_info(path, layer=config.glaciers.layer, force_total_bounds=True, force_feature_count=True)
    except (pyogrio.errors.DataSourceError, ValueError) as error:
        raise InputError(
            f"{path}", expected="outlines", found=f"{error}", remedy="look with `check` at what is wrong"
        ) from error
    x0, y0, x1, y1 = info["total_bounds"]
    days, pieces = 0, 1
    with closing():
        source = sources.climate(config)
        assert source.open is not None
        cube: xr.Dataset = source.open()
        fields = [v for v in cube.data_vars.values() if "time" in v.dims]
        pieces = sum(math.prod(len(c) for c in (v.chunks or ((1,),))) for v in fields)
        cells = math.prod(int(n) for d, n in cube.sizes.items() if d not in ("time", "bnds"))
        if config.albedo:
            opened = sources.albedo(config).open
            assert opened is not None
            days = int(opened().sizes["time"])
    degrees = abs(x0) <= 360 and abs(x1) <= 360 and abs(y0) <= 90 and abs(y1) <= 90
    box = (x0, y0, x1, y1) if degrees else None
    rows, groups, years = _observed(config, int(info["features"]), box)
    return Facts(
        glaciers=int(info["features"]),
        months=int(cube.sizes["time"]),
        fields=len(fields),
        cells=cells,
        days=days,
        rows=rows,
        groups=groups,
        years_observed=years,
        predictors=_predictors(config, len(fields)),
        extent=(x1 - x0, y1 - y0) if degrees else (1.0, 1.0),
        pieces=pieces,
    )


def _observed(config: RunConfig, glaciers: int, box: tuple[float, float, float, float] | None) -> tuple[int, int, int]:
    """Observations, their glaciers and years; for many outlines, all but those of sites that lie elsewhere."""
    source = sources.observations(config).open
    assert source is not None
    tables = source()
    if glaciers <= _LINKED:
        outlines = sources.outlines(config).open
        assert outlines is not None
        with warnings.catch_warnings():  # `check` and the run tell what they say
            warnings.simplefilter("ignore")
            observed = linked(tables, outlines()[0], config.observations.links).observations
        return len(observed), int(observed["glacier"].nunique()), int(observed["year"].nunique())
    observed = tables.observed
    if box is not None:
        held = [t for t in (observed, tables.positions, tables.table) if t is not None]
        places = pd.concat([t[["site", "longitude", "latitude"]] for t in held]).dropna()
        near = places["longitude"].between(box[0] - _NEAR, box[2] + _NEAR) & places["latitude"].between(
            box[1] - _NEAR, box[3] + _NEAR
        )
        away = set(places["site"]) - set(places.loc[near, "site"])
        observed = observed[~observed["site"].isin(away)]
    return len(observed), int(observed["site"].nunique()), int(observed["year"].nunique())


def _facts_of_settings(config: RunConfig, synthetic: Synthetic) -> Facts:
    first, last = synthetic.years
    years = last - first + 1
    fields = 22 if not config.climate.variables else len(config.climate.variables)
    return Facts(
        glaciers=synthetic.glaciers,
        months=years * _MONTHS + 3,
        fields=fields,
        cells=200,
        days=years * _MONTHS if config.albedo else 0,
        rows=round(synthetic.measured * years * 0.4),
        groups=synthetic.measured,
        years_observed=years,
        predictors=_predictors(config, fields),
        extent=(1.5, 1.0),
        assumed=("the synthetic region is not made yet: its settings tell how large it becomes",),
    )


def _predictors(config: RunConfig, fields: int) -> int:
    """About how many predictors are made: months, seasons and, with a reference, means and deviations."""
    monthly = min(fields, len(config.predictors.monthly)) if config.predictors.monthly else fields
    return monthly * (_MONTHS + 4 + (8 if config.predictors.reference else 0)) + 34


def folds_of(config: Judged, facts: Facts) -> dict[str, int]:
    """About how many folds each scheme has."""
    parts, rows = config.validation.parts, max(facts.rows, 1)
    groups, years = min(facts.groups, parts), min(facts.years_observed, parts)
    side = min(max(isqrt(FOLD_ROWS // rows), LEAST_SIDE), parts)
    few = min(FEW_PARTS, parts)
    known = {
        "logo": groups,
        "loyo": years,
        "both_out": min(min(groups, side) * min(years, side), rows),
        "blocks": min(few, groups),
        "random": few,
        "leave_region_out": few,
        "domain": few,
        "logo_own_geodetic": groups,
    }
    return {s: max(known[s], 1) for s in plan.schemes_of(config)}


def size_of_files(stage: Stage) -> tuple[int, int]:
    """Bytes of the files that a stage reads from outside, and how many files are not on the disk (yet)."""
    size, unknown = 0, 0
    for paths, what in stage.files:
        try:
            found = find_files(paths, what=what)
        except (InputError, InputErrors):
            unknown += 1
            continue
        for path in found:
            if is_url(path):
                unknown += 1
            else:
                size += _size(path)
    return size, unknown


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size if path.exists() else 0


def draws_of(config: RunConfig, facts: Facts) -> int:
    """Joint draws of the product."""
    asked = config.product.draws if config.product else 0
    return asked if asked is not None else DRAWS if facts.glaciers <= MOST_WITH_DRAWS else 0
