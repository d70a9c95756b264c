"""Problems that would stop a run, found in seconds from headers and tables and reported together."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import geopandas as gpd
import numpy as np
import xarray as xr

from glacmb_grid.disk import Say
from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.folds.schemes import require_grouped
from glacmb_grid.inputs.climate import notes_of
from glacmb_grid.inputs.climate.amounts import annual_amounts
from glacmb_grid.inputs.climate.plausible import doubts_of, quick_look
from glacmb_grid.inputs.files import closing, find_files, naming_damage
from glacmb_grid.inputs.horizontal import is_curvilinear
from glacmb_grid.inputs.units import UndeclaredStreamError
from glacmb_grid.judging import plan
from glacmb_grid.judging.folds import matched
from glacmb_grid.judging.product import years_beyond
from glacmb_grid.report.check import coarse_cells, describe_albedo, describe_years, years_absent
from glacmb_grid.sampling.regrid import no_xesmf
from glacmb_grid.settings import Judged, RunConfig, TableConfig
from glacmb_grid.stores.artefacts import RAW, leaves
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.vocabulary import OROGRAPHY
from glacmb_grid.workflow import cubes, linking, sources
from glacmb_grid.workflow.check.coverage import ANY, check_area, check_elevations, check_left, look_at_albedo
from glacmb_grid.workflow.check.ingesting import describe_reading, with_command
from glacmb_grid.workflow.check.links import check_links, check_rates
from glacmb_grid.workflow.check.needs import check_models, check_needs, check_predictors
from glacmb_grid.workflow.guards import require_apart
from glacmb_grid.workflow.idle import idle
from glacmb_grid.workflow.openings import opening
from glacmb_grid.workflow.stages import Source
from glacmb_grid.workflow.table import table
from glacmb_grid.years import complete_years, first_months

_DECLARED = {"accumulated": "daily_mean"}
_ABOUT_MODELS = frozenset({"models", "validation", "product", "predictions", "predictors"})


@dataclass
class Lines:
    """What was found, told line by line as soon as it is."""

    say: Say
    lines: list[str] = field(default_factory=list)

    def append(self, line: str) -> None:
        """Add a line, and tell it."""
        self.lines.append(line)
        self.say(line)

    def extend(self, lines: Iterable[str]) -> None:
        """Add several."""
        for line in lines:
            self.append(line)


def check(
    config: Judged,
    *,
    unknown: Collection[str] = (),
    problems: Problems | None = None,
    say: Say = lambda text: None,
) -> list[str]:
    """Look for problems that would stop a run.

    Parameters
    ----------
    config : RunConfig or TableConfig
    unknown : collection of str
        Sections of the configuration that are not known, from `load_partly`: what depends on them is not looked at.
    problems : Problems, optional
        Found before, and reported with the others.
    say : callable
        Takes each line as soon as it is found.

    Returns
    -------
    list of str
        Lines that describe the inputs.

    Raises
    ------
    InputError or InputErrors
        All problems together.
    """
    problems = Problems() if problems is None else problems
    found = Lines(say)
    if "store" not in unknown:
        with problems.collect():
            require_apart(config, RunStore(config.root))
    if isinstance(config, TableConfig):
        _check_table(config, unknown, problems, found)
    elif isinstance(config, RunConfig):
        made_later = config.synthetic is not None and RunStore(config.root).mark(RAW.stage) is None
        with closing():
            if made_later:
                found.extend(_check_synthetic(config, problems))
            else:
                _check_cubes(config, unknown, problems, found)
        with_command(problems, config)
    problems.raise_if_any()
    found.extend([f"note: {line}" for line in idle(config)])
    return found.lines


def _check_synthetic(config: RunConfig, problems: Problems) -> list[str]:
    with problems.collect():
        require_grouped(config.validation.schemes)
    return ["the configuration is sound; its raw files are made by the run itself: nothing more to check yet"]


def _check_table(config: TableConfig, unknown: Collection[str], problems: Problems, found: Lines) -> None:
    """Read a user's own table and make its folds: both are cheap."""
    opened = _opened(config, unknown, problems)
    samples, targets = opened.get("samples"), opened.get("targets")
    judged = not _ABOUT_MODELS & set(unknown)
    if judged:
        check_models(config, None if samples is None else samples["predictor"].values, problems)
    if samples is None:
        return
    if judged:
        check_needs(config, samples, problems)
    glaciers, years = (np.unique(samples[n].values.astype(str)) for n in ("glacier", "year"))
    found.append(
        f"{samples.sizes['sample']} rows of {len(glaciers)} glaciers, {years[0]}..{years[-1]}, "
        f"{samples.sizes['predictor']} predictors"
    )
    schemes, validation = plan.schemes_of(config), config.validation
    if "validation" not in unknown:
        if targets is None and config.samples.targets is not None:
            schemes = [s for s in schemes if s != "domain"]  # its problem is told
        for scheme, folds in plan.folds_of(samples, schemes, validation, config.seed, problems, targets).items():
            found.append(f"{scheme}: {len(folds)} folds{matched(folds)}")


def _check_cubes(config: RunConfig, unknown: Collection[str], problems: Problems, found: Lines) -> None:
    """Check outlines, climate, elevation, albedo and observations, and how they fit together."""
    before = len(problems.found)
    opened = _opened(config, unknown, problems, found.append)
    if _undeclared(problems.found[before:]):
        unknown = {*unknown, "climate.accumulated"}
    outlines, cube, dem, albedo, tables = (opened.get(n) for n in ("outlines", "cube", "dem", "codes", "tables"))
    if config.regrid is not None and config.regrid.engine == "xesmf" and importlib.util.find_spec("xesmf") is None:
        with problems.collect():
            raise no_xesmf("No module named 'xesmf'")
    if cube is not None:
        found.extend(_check_climate(config, cube, unknown, problems))
    if not _ABOUT_MODELS & set(unknown):
        product = f"the product by {config.product.model}" if config.product else "no product"
        found.append(f"models {listing(plan.compared(config), 20)}; {product}")
        if cube is None:
            check_models(config, None, problems)
        else:
            check_predictors(config, [str(n) for n in cube.data_vars], problems)
    if outlines is None:
        return
    glaciers, broken = outlines
    found.append(f"{len(glaciers)} glaciers, {glaciers['area'].sum():.1f} km2")
    if broken:
        bad = listing(f"{f.glacier} ({f.reason})" for f in broken)
        found.append(f"outlines: a run lists {len(broken)} more in failed.csv and goes on without them: {bad}")
    left, nowhere = glaciers, False
    for grid, what, least in (
        (cube, "climate files", config.sampling.min_coverage),
        (dem, "elevation model", config.elevation.min_coverage),
        (albedo, "albedo rasters", ANY),
    ):
        if grid is not None:
            covered = problems.attempt(partial(check_area, glaciers, grid, what, least))
            uncovered, lines = covered or (list(glaciers.index), [])
            found.extend(lines)
            left = left[~left.index.isin(uncovered)] if least > ANY else left
            nowhere = nowhere or (covered is None and least > ANY)
    if dem is not None and len(left):
        with problems.collect():
            found.extend(check_elevations(config, left, dem, cube))
    if not nowhere:  # else it is told of the one that covers none
        with problems.collect():
            check_left(len(left))
    if albedo is not None:
        with problems.collect():
            found.extend(describe_albedo(config, glaciers, albedo))
        with problems.collect():
            look_at_albedo(glaciers, albedo)
    years = None
    if cube is not None:
        years = _check_years(config, glaciers, cube, problems)
        found.extend([*describe_years(config, glaciers, cube, years), *describe_reading(config, cube, glaciers)])
    if tables is not None:
        with problems.collect():
            linked = linking.linked(tables, glaciers, config.observations.links)
            found.extend(check_links(config, linked, glaciers if nowhere else left, years, unknown, problems))
    if (rates := opened.get("rates")) is not None:
        with problems.collect():
            found.extend(check_rates(config, rates, glaciers, years))


def _opened(
    config: Judged, unknown: Collection[str], problems: Problems, say: Say = lambda text: None
) -> dict[str, Any]:
    """What the stages read from outside, by argument; what cannot be opened is left out, and a problem."""
    out: dict[str, Any] = {}
    for stage in table(config):
        for (*_, argument), source in leaves(dict(stage.reads)):
            wanted = isinstance(source, Source) and source.open is not None and argument not in out
            if wanted and not set(unknown) & source.settings.keys():
                begun = time.perf_counter()
                before = len(problems.found)
                out[argument] = problems.attempt(source.open)
                if isinstance(config, RunConfig) and _undeclared(problems.found[before:]):
                    out[argument] = problems.attempt(partial(_as_if_declared, config))
                if source.lazy and out[argument] is not None:
                    say(opening(source, time.perf_counter() - begun))
    return {n: one for n, one in out.items() if one is not None}


def _undeclared(found: list[Exception]) -> bool:
    """Whether `climate.accumulated` has to be said, and is not."""
    return any(isinstance(p, UndeclaredStreamError) for p in found)


def _as_if_declared(config: RunConfig) -> xr.Dataset:
    """The climate as if `accumulated` were said, so that all else can be looked at."""
    said = config.climate.model_copy(update=_DECLARED)
    source = sources.climate(config.model_copy(update={"climate": said}))
    assert source.open is not None
    cube: xr.Dataset = source.open()
    return cube


def _check_climate(config: RunConfig, cube: xr.Dataset, unknown: Collection[str], problems: Problems) -> list[str]:
    """Check values, grid and elevation correction of the climate files."""
    told = [f"note: {n}" for n in notes_of(cube)]
    if "climate.accumulated" not in unknown:
        with problems.collect(), naming_damage(find_files(config.climate.files, what="climate files")):
            year = quick_look(cube, source="climate files", annual_precipitation=config.climate.annual_precipitation)
            told += [*annual_amounts(year, where="the area"), *(f"note: {n}" for n in doubts_of(year))]
    if is_curvilinear(cube) and (config.regrid is None or config.regrid.engine != "xesmf"):
        with problems.collect():
            raise cubes.needs_esmf()
    if config.sampling.lapse_rate != 0 and "t2m" in cube and OROGRAPHY not in cube:
        with problems.collect():
            raise InputError(
                "climate: invariant",
                expected="the height of the climate's cells (orography or geopotential), by which temperatures are "
                "taken to the height of each glacier",
                found="none in the climate files, and no `invariant` file",
                remedy="add `climate: {invariant: FILE}`, and where its variable is not recognised `climate: {names: "
                "{orography: NAME}}`; without such a file set `sampling: {lapse_rate: 0}`, and temperatures keep the "
                "height of the cells",
            )
    months = cube["time"].values.astype("datetime64[M]")
    if (years := config.climate.years) and (absent := years_absent(years, months)):
        told.append(f"note: `climate.years` asks for {years[0]} to {years[1]}, and the files do not hold {absent}")
    return [
        f"climate {', '.join(map(str, cube.data_vars))}, {months[0]} to {months[-1]}",
        *told,
        *coarse_cells(config, cube),
    ]


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
    wanted = config.product.years if config.product else None
    if years and wanted is not None and not set(range(wanted[0], wanted[1] + 1)) <= set(years):
        with problems.collect():
            raise years_beyond(wanted, years)
    return years
