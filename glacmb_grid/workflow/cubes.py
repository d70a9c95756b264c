"""From raw files to samples: one function for each stage, from what it reads to what it writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import FILE, Failure, surviving
from glacmb_grid.inputs.albedo import decode_albedo, seasons_told, summer_albedo
from glacmb_grid.inputs.albedo.codes import require_bright
from glacmb_grid.inputs.climate import notes_of
from glacmb_grid.inputs.climate.amounts import annual_amounts
from glacmb_grid.inputs.climate.plausible import doubts_of, implausible, quick_look
from glacmb_grid.inputs.elevation import tile_troubles
from glacmb_grid.inputs.outlines import glaciers_dataset
from glacmb_grid.predictors import build_predictors
from glacmb_grid.progress import track
from glacmb_grid.samples import as_table, build_samples
from glacmb_grid.sampling.grid import Curvilinear, Grid, any_grid_of, grid_of
from glacmb_grid.sampling.lapse_rate import correct_temperature, fitted_lapse_rate, rates_of, tell_far_orography
from glacmb_grid.sampling.nearest import far_from_land, valid_cells
from glacmb_grid.sampling.regrid import grid_around, regrid_weights, xesmf_weights
from glacmb_grid.sampling.stand_ins import (
    StandIns,
    from_stored,
    sample_by_variable,
    set_of,
    stand_ins,
    take,
    to_dataset,
    with_gaps,
)
from glacmb_grid.sampling.steady import changing_under
from glacmb_grid.sampling.terrain import terrain
from glacmb_grid.sampling.terrain_checks import compare_with_inventory, tell_voids, without_elevation
from glacmb_grid.sampling.zonal import overlap_weights, sample, without_cover, without_valid
from glacmb_grid.settings import Albedo, Climate, Predictors, Regrid, Sampling, Synthetic
from glacmb_grid.stores.work import Work
from glacmb_grid.vocabulary import OROGRAPHY, VARIABLES
from glacmb_grid.weights import Weights, from_dataset
from glacmb_grid.years import SOUTHERN_START, complete_years, first_months

_GLACIERS_AT_ONCE = 2048
_MONTHS_LOOKED_AT = 5  # over the whole record, to know the cells of sea

Made = dict[str, Any]


def make_synthetic(work: Work, *, synthetic: Synthetic) -> Made:
    """The raw files of a synthetic region with known truth."""
    from glacmb_grid.synthetic import write_region

    s = synthetic
    how: dict[str, Any] = {
        "seed": s.seed,
        "glaciers": s.glaciers,
        "years": s.years,
        "measured": s.measured,
        "plain": s.plain,
    }
    write_region(work.folder, **how, track=track)
    return {}


def read_glaciers(work: Work, *, outlines: tuple[gpd.GeoDataFrame, list[Failure]]) -> Made:
    """The outlines, cleaned and measured."""
    glaciers, failures = outlines
    work.say(f"{len(glaciers)} glaciers, {glaciers['area'].sum():.1f} km2")
    return {"outlines": glaciers, "failures": failures}


def needs_esmf() -> InputError:
    """The error for a curvilinear climate without an engine that regrids it."""
    return InputError(
        "regrid: engine",
        expected="xesmf, for a climate on a curvilinear grid",
        found="no regridding, or the builtin engine for rectilinear grids",
        remedy="set `regrid: {engine: xesmf, method: conservative, resolution: 0.1}` (environment.yml), or remap the "
        "files first, for instance with `cdo remapcon`",
    )


def describe_climate(work: Work, *, cube: xr.Dataset, annual_precipitation: tuple[float, float] | None) -> Made:
    """What the climate files hold, from their headers and a few values; the rest is read when it is sampled."""
    year = quick_look(cube, source="climate files", annual_precipitation=annual_precipitation)
    for line in [*annual_amounts(year, where="the area"), *(f"note: {n}" for n in (*notes_of(cube), *doubts_of(year)))]:
        work.say(line)
    grid = any_grid_of(cube, name="climate files")
    period = [str(t)[:7] for t in cube["time"].values[[0, -1]]]
    facts = {"variables": [str(n) for n in cube.data_vars], "cells": grid.shape, "period": period, "grid": grid.digest}
    facts |= {"months": [str(t)[:7] for t in cube["time"].values]}
    work.say(f"{len(cube.data_vars)} fields on {grid.shape[0]} x {grid.shape[1]} cells, {' to '.join(period)}")
    return {"facts": facts}


def _overlaps(work: Work, glaciers: gpd.GeoDataFrame, grid: Grid) -> Weights:
    """Overlap of outlines and grid cells, stored and used again for the same outlines and grid."""
    key = [work.contents["glaciers"], grid.digest]
    return from_dataset(work.cached("overlaps", key, lambda: overlap_weights(glaciers, grid).to_dataset()))


def _zonal_weights(work: Work, glaciers: gpd.GeoDataFrame, grid: Grid | Curvilinear, regrid: Regrid | None) -> Weights:
    """Weights of climate cells under the outlines; through an intermediate grid if `regrid` is set."""
    if isinstance(grid, Curvilinear) and (regrid is None or regrid.engine != "xesmf"):
        raise needs_esmf()
    if regrid is None:
        assert isinstance(grid, Grid)
        return _overlaps(work, glaciers, grid)
    target = grid_around(glaciers, grid, regrid.resolution)

    def between() -> xr.Dataset:
        if regrid.engine == "xesmf":
            return xesmf_weights(grid, target, regrid.method).to_dataset()
        assert isinstance(grid, Grid)
        return regrid_weights(grid, target, "bilinear" if regrid.method == "bilinear" else "conservative").to_dataset()

    key = [grid.digest, target.digest, regrid.engine, regrid.method]
    return _overlaps(work, glaciers, target).compose(from_dataset(work.cached("regrid", key, between)))


def make_weights(
    work: Work,
    *,
    outlines: gpd.GeoDataFrame,
    cube: xr.Dataset,
    min_coverage: float,
    max_land_distance_km: float,
    regrid: Regrid | None,
) -> Made:
    """The overlap of outlines and climate cells; the nearest valid cells where those have no values."""
    grid = any_grid_of(cube, name="climate files")
    weights = _zonal_weights(work, outlines, grid, regrid)
    failures = without_cover(weights, min_coverage, source="climate files")
    on_grid = ~np.isin(weights.rows, [f.glacier for f in failures])
    weights, glaciers = weights.take(on_grid), outlines[on_grid]
    limits = {"least": min_coverage, "max_distance_km": max_land_distance_km}
    few = cube.isel(time=_looked_at(cube.sizes["time"]))
    fields = {str(n): v for n, v in few.data_vars.items() if "time" in v.dims}
    valid = valid_cells(fields, weights, grid, glaciers, **limits, judge=changing_under(cube, few, grid))
    sets = stand_ins(weights, grid, valid, glaciers, **limits)
    work.say(f"{len(weights.weight)} overlaps with {len(weights.touched)} cells")
    for one in sets:
        failures += far_from_land(weights.rows, one.distance, **limits, field=listing(one.variables))
        if one.replaced.any():
            whose = f" of {listing(one.variables)}" if len(sets) > 1 else ""
            work.say(f"{int(one.replaced.sum())} glaciers take the nearest cells with values{whose}")
    return {"weights": to_dataset(weights, sets), "failures": failures}


def _looked_at(months: int) -> npt.NDArray[np.int64]:
    """The months that are looked at to know the cells of sea, before the sampling looks at all."""
    return np.unique(np.linspace(0, months - 1, _MONTHS_LOOKED_AT).astype(np.int64))


def look_at_terrain(
    outlines: gpd.GeoDataFrame, dem: xr.DataArray, min_coverage: float, compare: bool
) -> tuple[xr.Dataset, list[Failure]]:
    """The topography of glaciers with plausible elevations, and why others have none."""
    topography = terrain(dem, outlines)
    failures = without_elevation(topography, min_coverage, tile_troubles(dem, outlines))
    reasons = {f.glacier: f.reason for f in failures}
    topography = topography.isel(glacier=surviving(topography["glacier"].values, reasons))
    tell_voids(topography)
    if compare:
        compare_with_inventory(topography, outlines)
    return topography.drop_vars(["unread", "undeclared_void"], errors="ignore"), failures


def make_terrain(
    work: Work, *, outlines: gpd.GeoDataFrame, dem: xr.DataArray, min_coverage: float, compare: bool = True
) -> Made:
    """The topography of every glacier."""
    del work
    topography, failures = look_at_terrain(outlines, dem, min_coverage, compare)
    return {"terrain": topography, "failures": failures}


def _left(glaciers: np.ndarray, failures: dict[str, pd.DataFrame]) -> np.ndarray:
    """Mask of the glaciers that failed in none of these stages, (glacier,)."""
    table = pd.concat(failures.values()).drop_duplicates("glacier")
    return surviving(glaciers, dict(zip(table["glacier"], table["reason"], strict=True)))


def sample_climate(
    work: Work,
    *,
    cube: xr.Dataset,
    weights: xr.Dataset,
    terrain: xr.Dataset,
    failed: dict[str, pd.DataFrame],
    sampling: Sampling,
    climate: Climate,
) -> Made:
    """Zonal means of the climate, temperature also at the glacier's elevation."""
    sound = _left(weights["row"].values, failed)
    own, sets = from_stored(weights)
    own, sets = own.take(sound), take(sets, sound)
    elevation = terrain["elevation_mean"].sel(glacier=own.rows)
    sampled = sample_by_variable(cube.drop_vars("time_bnds"), own, sets, together="t2m").assign(_stand_ins(sets))
    sampled["time"].attrs.pop("bounds", None)
    if sampling.lapse_rate == "fitted" and "t2m" in cube:
        where = set_of(sets, "t2m").weights
        sampled = sampled.merge(fitted_lapse_rate(cube, where, cells=sampling.lapse_rate_cells))
    sampled = correct_temperature(sampled, elevation, lapse_rate=rates_of(sampling.lapse_rate, sampled))
    if OROGRAPHY in sampled:
        tell_far_orography(sampled[OROGRAPHY], elevation)
    written = work.keep("sampled", sampled)
    months = cube["time"].values.astype("datetime64[M]")[_looked_at(cube.sizes["time"])]
    failures = with_gaps(written, sampling.min_coverage, source="climate files", looked_at=list(map(str, months)))
    failures += without_valid(written, sampling.min_coverage, source="climate files")
    source = listing(climate.files, 3)
    declared = {n: written[n].assign_attrs(cube[n].attrs) for n in written.data_vars if n in cube}
    for line in annual_amounts(written.assign(declared), where="the glaciers"):
        work.say(line)
    failures += implausible(written, source=source, annual_precipitation=climate.annual_precipitation)
    return {"failures": failures}


def _stand_ins(sets: list[StandIns]) -> dict[str, tuple[str, np.ndarray, dict[str, object]]]:
    """Variables that show where the nearest valid cells replace those under a glacier, and their distance, km."""
    distance = np.fmax.reduce([s.distance for s in sets])
    used = np.isfinite(distance)
    text = "distance from the glacier to the nearest grid cell with values, where such cells stand in for its own"
    flag = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "own_cells nearest_cells"}
    return {
        "land_distance": ("glacier", np.where(used, distance, np.nan), {"units": "km", "long_name": text}),
        "nearest_land": ("glacier", used.astype(np.int8), {"long_name": "where the climate is taken from", **flag}),
    }


def sample_albedo(
    work: Work, *, outlines: gpd.GeoDataFrame, codes: xr.Dataset, albedo: Albedo, first_month: int | None
) -> Made:
    """The albedo of the season of every glacier."""
    weights = _overlaps(work, outlines, grid_of(codes, name="albedo rasters"))
    daily = sample(codes, weights, decode=decode_albedo)[["albedo", "albedo_coverage", "land", "cloud"]]
    latitude = outlines["latitude"].to_numpy()
    for line in seasons_told(codes["time"].values, latitude, albedo.months, first_month):
        work.say(f"note: {line}")
    seasonal = summer_albedo(
        work.keep("daily", daily).load(),
        months=albedo.months,
        first_month=first_month,
        latitude=latitude,
        min_days=albedo.min_days,
        min_coverage=albedo.min_coverage,
    )
    require_bright(seasonal["albedo_mean"].values, "albedo rasters")
    gaps = int(seasonal["albedo_mean"].isnull().sum())
    work.say(
        f"{codes.sizes['time']} days; {gaps} of {seasonal['albedo_mean'].size} glacier-summers without enough days"
    )
    return {"albedo": seasonal}


def make_predictors(
    work: Work,
    *,
    outlines: gpd.GeoDataFrame,
    sampled: xr.Dataset,
    terrain: xr.Dataset,
    failed: dict[str, pd.DataFrame],
    predictors: Predictors,
    lapse_rate: float | Literal["fitted"],
    albedo: xr.Dataset | None = None,
) -> Made:
    """Annual predictors, `_GLACIERS_AT_ONCE` glaciers at a time."""
    outlines = outlines[_left(outlines.index.to_numpy(), failed)]
    firsts = first_months(outlines["latitude"].to_numpy(), predictors.first_month)
    by_glacier = len(np.unique(firsts)) > 1
    if by_glacier:
        south = int((firsts == SOUTHERN_START).sum())
        work.say(
            f"note: {len(firsts) - south} glaciers north of the equator, hydrological years from October, and {south} "
            "south of it, from April; seasons go by each glacier's own year, but one column of a calendar month holds "
            "summers and winters: let models learn from seasons, `recipes: [{take: seasonal}]`"
        )
    years = complete_years(sampled["time"].values, firsts)
    needed = {*(predictors.monthly or VARIABLES), "t2m", "t2m_corrected", "tp", OROGRAPHY, "lapse_rate"}
    whole = sampled[[n for n in sampled.data_vars if n in needed]]

    def some(start: int) -> xr.Dataset:
        mine = outlines.iloc[start : start + _GLACIERS_AT_ONCE]
        rows = {"glacier": mine.index.to_numpy()}
        here = whole.sel(rows).load()
        return build_predictors(
            here.drop_vars("lapse_rate", errors="ignore"),
            terrain.sel(rows),
            glaciers_dataset(mine),
            albedo=None if albedo is None else albedo.sel(rows),
            first_month=firsts[start : start + _GLACIERS_AT_ONCE] if by_glacier else int(firsts[0]),
            years=years,
            monthly=predictors.monthly,
            temperature_spread=predictors.temperature_spread,
            lapse_rate=rates_of(lapse_rate, here),
            reference=predictors.reference,
            coordinates=predictors.coordinates,
        )

    def parts() -> Iterator[xr.Dataset]:
        for start in range(0, len(outlines), _GLACIERS_AT_ONCE):
            part = some(start)
            yield part
        years = part["year"].values
        work.say(f"{part.sizes['predictor']} predictors made, hydrological years {years[0]}..{years[-1]}")

    return {"predictors": parts()}


def make_samples(work: Work, *, observed: pd.DataFrame, unmatched: pd.DataFrame, predictors: xr.Dataset) -> Made:
    """Observations joined to the predictors of their glacier-years, and those left out."""
    usable = observed["glacier"].isin(predictors["glacier"].values)
    if len(observed) and not usable.any():
        raise InputError(
            "observations",
            expected="balances of glaciers that did not fail",
            found=f"{len(observed)} linked to outlines, all of these among those that weights, terrain or sampled list "
            f"in their {FILE}",
            remedy="give a climate and an elevation model with values under the measured glaciers",
        )
    samples, outside = build_samples(predictors, observed[usable])
    columns = unmatched.columns
    left_out = [
        unmatched,
        observed[~usable].assign(reason="its glacier failed, see failed.csv")[columns],
        outside.assign(reason="no climate in this hydrological year")[columns],
    ]
    glaciers = len(np.unique(samples["glacier"].values.astype(str)))
    work.say(
        f"{samples.sizes['sample']} glacier-years of {glaciers} glaciers; samples/unmatched.csv lists "
        f"{len(unmatched)} rows without an outline and {len(outside)} outside the climate's years"
    )
    return {"samples": samples, "table": as_table(samples), "left_out": pd.concat(left_out)}


def take_samples(work: Work, *, samples: xr.Dataset) -> Made:
    """The samples of a user's own table, with the notes of their reader."""
    glaciers = len(np.unique(samples["glacier"].values.astype(str)))
    work.say(f"{samples.sizes['sample']} rows of {glaciers} glaciers, {samples.sizes['predictor']} predictors")
    for note in samples.attrs["notes"].splitlines():
        work.say(f"note: {note}")
    return {"samples": samples}
