"""Problems that would stop a run, found in seconds from headers and tables and reported together."""

from __future__ import annotations

import importlib.util
import time
from dataclasses import replace
from typing import Any

import geopandas as gpd
import numpy as np
import xarray as xr

from glacmb_grid.disk import Say
from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.folds.schemes import require_grouped
from glacmb_grid.inputs.amounts import annual_amounts
from glacmb_grid.inputs.climate import notes_of
from glacmb_grid.inputs.files import closing, find_files, naming_damage
from glacmb_grid.inputs.horizontal import is_curvilinear
from glacmb_grid.inputs.links import Linked
from glacmb_grid.inputs.plausible import quick_look
from glacmb_grid.judging import plan
from glacmb_grid.learning.contract import lacking
from glacmb_grid.predictors import build_predictors, matching
from glacmb_grid.report.check import coarse_cells, describe_albedo, describe_years, unmatched_lines, whereabouts
from glacmb_grid.sampling.grid import Curvilinear, any_grid_of
from glacmb_grid.sampling.regrid import no_xesmf
from glacmb_grid.sampling.zonal import overlap_weights
from glacmb_grid.schemas import ALBEDO, GLACIERS, SAMPLED, TERRAIN, empty
from glacmb_grid.settings import Judged, RunConfig, TableConfig
from glacmb_grid.stores.artefacts import RAW, leaves
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.vocabulary import OROGRAPHY, VARIABLES
from glacmb_grid.workflow import cubes
from glacmb_grid.workflow.guards import require_apart
from glacmb_grid.workflow.openings import opening
from glacmb_grid.workflow.stages import Source
from glacmb_grid.workflow.table import table
from glacmb_grid.years import complete_years, first_months

_ANY = 1e-9  # share of an outline: any overlap will do
_LOOKED_AT = 12  # glaciers whose elevations are looked at


def check(config: Judged) -> list[str]:
    """Look for problems that would stop a run.

    Parameters
    ----------
    config : RunConfig or TableConfig

    Returns
    -------
    list of str
        Lines that describe the inputs.

    Raises
    ------
    InputError or InputErrors
        All problems together.
    """
    require_apart(config, RunStore(config.root))
    if isinstance(config, TableConfig):
        return _check_table(config)
    assert isinstance(config, RunConfig)
    if config.synthetic is not None and RunStore(config.root).mark(RAW.stage) is None:
        require_grouped(config.validation.schemes)
        return ["the configuration is sound; its raw files are made by the run itself: nothing more to check yet"]
    with closing():
        return _check_cubes(config)


def _check_table(config: TableConfig) -> list[str]:
    """Read a user's own table and make its folds: both are cheap."""
    samples = _opened(config)["samples"]
    glaciers, years = (np.unique(samples[n].values.astype(str)) for n in ("glacier", "year"))
    found = [
        f"{samples.sizes['sample']} rows of {len(glaciers)} glaciers, {years[0]}..{years[-1]}, "
        f"{samples.sizes['predictor']} predictors"
    ]
    problems = Problems()
    _check_models(config, samples["predictor"].values, problems)
    _check_needs(config, samples, problems)
    schemes, validation = plan.schemes_of(config), config.validation
    for scheme, folds in plan.folds_of(samples, schemes, validation, config.seed, problems).items():
        found.append(f"{scheme}: {len(folds)} folds")
    problems.raise_if_any()
    return found


def _check_cubes(config: RunConfig) -> list[str]:
    """Check outlines, climate, elevation, albedo and observations, and how they fit together."""
    problems = Problems()
    told: list[str] = []
    opened = _opened(config, problems, told.append)
    outlines, cube, dem, albedo, tables = (opened.get(n) for n in ("outlines", "cube", "dem", "codes", "tables"))
    found = told
    if cube is not None:
        found += _check_climate(config, cube, problems)
    found.append(f"models {listing(plan.compared(config), 20)}; the product by {config.product.model}")
    if outlines is not None:
        glaciers, broken = outlines
        found.append(f"{len(glaciers)} glaciers, {glaciers['area'].sum():.1f} km2")
        if broken:
            bad = listing(f"{f.glacier} ({f.reason})" for f in broken)
            found.append(f"outlines: a run lists {len(broken)} more in failed.csv and goes on without them: {bad}")
        left = glaciers
        for grid, what, least in (
            (cube, "climate files", config.sampling.min_coverage),
            (dem, "elevation model", config.elevation.min_coverage),
            (albedo, "albedo rasters", _ANY),
        ):
            if grid is not None:
                with problems.collect():
                    uncovered, lines = _check_area(glaciers, grid, what, least)
                    found += lines
                    left = left[~left.index.isin(uncovered)] if least > _ANY else left
        if dem is not None and len(left):
            with problems.collect():
                found += _check_elevations(config, left, dem)
        with problems.collect():
            _check_left(len(left))
        if albedo is not None:
            with problems.collect():
                found += describe_albedo(config, glaciers, albedo)
        years: list[int] = []
        if cube is not None:
            years = _check_years(config, glaciers, cube, problems)
            found += describe_years(config, glaciers, cube, years)
        if tables is not None:
            with problems.collect():
                linked = cubes.linked(tables, glaciers, config.observations.links)
                found += _check_links(config, linked, left, years, problems)
    problems.raise_if_any()
    return found


def _opened(config: Judged, problems: Problems | None = None, say: Say = lambda text: None) -> dict[str, Any]:
    """What the stages read from outside, by argument; what cannot be opened is left out, and a problem."""
    collected = Problems() if problems is None else problems
    out: dict[str, Any] = {}
    for stage in table(config):
        for (*_, argument), source in leaves(dict(stage.reads)):
            if isinstance(source, Source) and source.open is not None and argument not in out:
                begun = time.perf_counter()
                out[argument] = collected.attempt(source.open)
                if source.lazy and out[argument] is not None:
                    say(opening(source, time.perf_counter() - begun))
    if problems is None:
        collected.raise_if_any()
    return {n: one for n, one in out.items() if one is not None}


def _check_climate(config: RunConfig, cube: xr.Dataset, problems: Problems) -> list[str]:
    """Check values, grid, elevation correction and predictors of the climate files."""
    told = [f"note: {n}" for n in notes_of(cube)]
    with problems.collect(), naming_damage(find_files(config.climate.files, what="climate files")):
        year = quick_look(cube, source="climate files", annual_precipitation=config.climate.annual_precipitation)
        told += annual_amounts(year, where="the area")
    if config.regrid is not None and config.regrid.engine == "xesmf" and importlib.util.find_spec("xesmf") is None:
        with problems.collect():
            raise no_xesmf("No module named 'xesmf'")
    if is_curvilinear(cube) and (config.regrid is None or config.regrid.engine != "xesmf"):
        with problems.collect():
            raise cubes.needs_esmf()
    if config.sampling.lapse_rate != 0 and "t2m" in cube and OROGRAPHY not in cube:
        with problems.collect():
            raise InputError(
                "climate: invariant",
                expected="the invariant file, for the elevation correction",
                found="none",
                remedy="add `climate: {invariant: FILE}`, or set `sampling: {lapse_rate: 0}`",
            )
    _check_predictors(config, [str(n) for n in cube.data_vars], problems)
    months = cube["time"].values.astype("datetime64[M]")
    return [
        f"climate {', '.join(map(str, cube.data_vars))}, {months[0]} to {months[-1]}",
        *told,
        *coarse_cells(config, cube),
    ]


def _check_predictors(config: RunConfig, variables: list[str], problems: Problems) -> None:
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
    _check_models(config, np.array(names), problems)
    forcing = {"temperature": "t2m", "precipitation": "tp"}
    known = {n: ("row", np.zeros(1)) for n, variable in forcing.items() if variable in variables}
    _check_needs(config, xr.Dataset(known), problems)


def _check_needs(config: Judged, samples: xr.Dataset, problems: Problems) -> None:
    """Check that every model that is asked for by name finds what it needs of the samples."""
    for model in plan.models_of(config).values():
        wanted = lacking(model, samples) if config.validation.models != "all" else []
        if wanted:
            with problems.collect():
                raise InputError(
                    f"models: {model.name}",
                    expected=listing(wanted),
                    found="none in these inputs, or with gaps",
                    remedy="give twelve monthly columns of each (or t2m and tp among the climate's variables), or take "
                    f"{model.name} out of `validation.models`",
                )


def _check_models(config: Judged, names: np.ndarray, problems: Problems) -> None:
    """Check that every model can be made and finds its predictors among these names."""
    for model in plan.models_of(config).values():
        with problems.collect():
            model.require()
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


def _check_elevations(config: RunConfig, glaciers: gpd.GeoDataFrame, dem: xr.DataArray) -> list[str]:
    """Look at the elevations of some glaciers, as the stage `terrain` does at all."""
    some = glaciers.iloc[np.unique(np.linspace(0, len(glaciers) - 1, _LOOKED_AT).astype(int))]
    _, failures = cubes.look_at_terrain(some, dem, config.elevation.min_coverage, config.elevation.compare)
    if not failures:
        return []
    bad = listing((f"{f.glacier} ({f.reason})" for f in failures), 4)
    return [f"elevation model: of {len(some)} glaciers looked at a run leaves out {len(failures)}: {bad}"]


def _check_left(count: int) -> None:
    """Raise if no glacier lies on both the climate and the elevation model."""
    if not count:
        raise InputError(
            "climate files, elevation model",
            expected="at least one glacier that lies on both",
            found="none",
            remedy="download larger areas, so that both cover the same glaciers",
        )


def _check_area(
    glaciers: gpd.GeoDataFrame, grid: xr.Dataset | xr.DataArray, what: str, least: float
) -> tuple[list[str], list[str]]:
    """Glaciers with less than this share of their area on the grid, and a line about them; raises if all are."""
    cells = any_grid_of(grid, name=what)
    if isinstance(cells, Curvilinear):  # checked when its weights are made
        return [], []
    x0, x1 = sorted((cells.x_edges[0], cells.x_edges[-1]))
    y0, y1 = sorted((cells.y_edges[0], cells.y_edges[-1]))
    whole = overlap_weights(glaciers, replace(cells, y_edges=np.array([y0, y1]), x_edges=np.array([x0, x1])))
    share = np.bincount(whole.row, whole.weight, len(glaciers)) / whole.total
    uncovered = share < least
    if not uncovered.any():
        return [], []
    ids = [f"{g} ({s:.0%})" for g, s in zip(glaciers.index[uncovered], share[uncovered], strict=True)]
    left = f"leaves out {int(uncovered.sum())} of {len(glaciers)} glaciers: {listing(ids)}"
    if not uncovered.all():
        then = "a run lists them in failed.csv and goes on without them" if least > _ANY else "they have gaps there"
        return list(glaciers.index[uncovered]), [f"{what}: the area {left}; {then}"]
    raise InputError(
        what,
        expected="cells under every glacier" + (f", at least {least:.0%} of its area" if least > _ANY else ""),
        found=f"x {x0:.3f}..{x1:.3f}, y {y0:.3f}..{y1:.3f}, which {left}; {whereabouts(glaciers, cells)}",
        remedy="give files and outlines of the same region: download another area, or name other outlines",
    )


def _check_years(config: RunConfig, glaciers: gpd.GeoDataFrame, cube: xr.Dataset, problems: Problems) -> list[int]:
    """Complete hydrological years of the climate, checked against the settings."""
    firsts = first_months(glaciers["latitude"].to_numpy(), config.predictors.first_month)
    time = cube["time"].values
    years = [int(y) for y in complete_years(time, firsts)]
    period = config.predictors.reference
    with problems.collect():
        if not years:
            raise InputError(
                "climate: time",
                expected=f"at least one hydrological year of twelve months from month {listing(np.unique(firsts))}",
                found=f"{len(time)} months, {str(time[0])[:7]} to {str(time[-1])[:7]}",
                remedy="download a longer period",
            )
        if period is not None and not set(range(period[0], period[1] + 1)) <= set(years):
            raise InputError(
                "predictors: reference",
                expected=f"a period within the climate's complete hydrological years {years[0]}..{years[-1]}",
                found=f"{period[0]}..{period[1]}",
                remedy="choose a period that the climate covers",
            )
    return years


def _check_links(
    config: RunConfig, linked: Linked, left: gpd.GeoDataFrame, years: list[int], problems: Problems
) -> list[str]:
    observed = linked.observations
    kinds = ", ".join(f"{n} by {k}" for k, n in observed.groupby("link").size().items())
    found = [
        f"{len(observed)} observations linked to outlines ({kinds or 'none'}), {len(linked.unmatched)} rows unmatched"
    ]
    found += unmatched_lines(linked)
    if not years:
        return found
    usable = observed[observed["year"].isin(years) & observed["glacier"].isin(left.index)]
    before = len(problems.found)
    with problems.collect():
        if usable["glacier"].nunique() < 2 or usable["year"].nunique() < 2:
            raise InputError(
                "observations",
                expected="balances of at least two of these glaciers and two of the climate's hydrological years",
                found=f"{len(usable)} of {usable['glacier'].nunique()} glacier(s), {usable['year'].nunique()} year(s); "
                f"{len(linked.unmatched)} row(s) without an outline: {listing(unmatched_lines(linked), 3) or 'none'}",
                remedy="check the climate's period, and name a table with the glaciers' identifiers or positions, "
                "`observations: {links: {table: FILE}}`",
            )
    if len(problems.found) > before:
        return found
    samples, schemes = plan.foreseen(left, observed, years), plan.schemes_of(config)
    folds = plan.folds_of(samples, schemes, config.validation, config.seed, problems)
    counts = [f"{scheme}: {len(masks)} folds" for scheme, masks in folds.items()]
    return [*found, f"{len(usable)} glacier-years to learn from", *counts]
