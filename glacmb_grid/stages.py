"""The stages of a run: each reads what earlier ones wrote, calls a pure function and writes the result."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.disk import write_json
from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import FILE, Failure, read_failures, surviving, write_failures
from glacmb_grid.inputs.albedo import decode_albedo, open_codes, summer_albedo
from glacmb_grid.inputs.climate import open_climate
from glacmb_grid.inputs.elevation import open_elevation
from glacmb_grid.inputs.files import find_files, naming_damage
from glacmb_grid.inputs.links import Linked, link, read_link_table
from glacmb_grid.inputs.observations import read_observations
from glacmb_grid.inputs.outlines import glaciers_dataset, sound_outlines
from glacmb_grid.inputs.plausible import implausible, quick_look
from glacmb_grid.predictors import build_predictors
from glacmb_grid.samples import as_table, build_samples
from glacmb_grid.sampling.grid import Curvilinear, Grid, any_grid_of, grid_of
from glacmb_grid.sampling.lapse_rate import (
    correct_temperature,
    fitted_lapse_rate,
    rates_of,
    tell_far_orography,
)
from glacmb_grid.sampling.nearest import far_from_land, nearest_valid, valid_cells
from glacmb_grid.sampling.regrid import grid_around, regrid_weights, xesmf_weights
from glacmb_grid.sampling.terrain import tell_voids, terrain, without_elevation
from glacmb_grid.sampling.zonal import overlap_weights, sample, without_cover, without_valid
from glacmb_grid.settings import Judged, RunConfig, TableConfig, digest
from glacmb_grid.stores.formats import read_outlines_store, read_zarr, write_table, write_zarr
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.vocabulary import OROGRAPHY, VARIABLES
from glacmb_grid.weights import Weights, from_dataset
from glacmb_grid.years import start_month

PRODUCT_SCHEME = "logo"
_FEW_FILES = 4
_GLACIERS_AT_ONCE = 2048


@dataclass(frozen=True)
class Context:
    """What a stage gets: configuration, results of earlier stages, a folder to write into, `say` for progress."""

    config: Judged
    store: RunStore
    out: Path
    say: Callable[[str], None]
    inputs: dict[str, dict[str, str]]
    key: str

    @property
    def cube(self) -> RunConfig:
        """The configuration of a run that starts from cubes."""
        assert isinstance(self.config, RunConfig)
        return self.config

    def surviving(self, glaciers: np.ndarray, *stages: str) -> np.ndarray:
        """Mask of the glaciers that failed in none of these earlier stages, (glacier,)."""
        table = read_failures(self.of(s, FILE) for s in stages)
        return surviving(glaciers, dict(zip(table["glacier"], table["reason"], strict=True)))

    def of(self, stage: str, name: str) -> Path:
        """Path of a result of an earlier stage, which must be done."""
        if self.store.mark(stage) is None:
            raise ValueError(f"stage {stage} is not done: {self.store.folder(stage)} must not be read")
        return self.store.folder(stage) / name


def make_synthetic(context: Context) -> None:
    """Write the raw files of a synthetic region with known truth."""
    from glacmb_grid.synthetic import write_region

    section = context.cube.synthetic
    assert section is not None
    write_region(
        context.out, seed=section.seed, glaciers=section.glaciers, years=section.years, measured=section.measured
    )


def outlines_of(config: RunConfig) -> tuple[gpd.GeoDataFrame, list[Failure]]:
    """Valid outlines of a configuration, and why the others are not."""
    section = config.glaciers
    return sound_outlines(
        section.path, layer=section.layer, id_column=section.id, crs=section.crs, merge_pieces=section.merge_pieces
    )


def read_glaciers(context: Context) -> None:
    """Write the outlines, cleaned and measured."""
    glaciers, failures = outlines_of(context.cube)
    glaciers.to_parquet(context.out / "glaciers.parquet")
    write_failures(context.out, "glaciers", failures)
    context.say(f"{len(glaciers)} glaciers, {glaciers['area'].sum():.1f} km2")


def climate_of(config: RunConfig) -> xr.Dataset:
    """The lazy climate cube of a configuration."""
    section = config.climate
    return open_climate(
        section.files,
        accumulated=section.accumulated,
        invariant=section.invariant,
        variables=section.variables,
        units=section.units,
        expver=section.expver,
    )


@contextmanager
def reading_climate(config: RunConfig) -> Iterator[xr.Dataset]:
    """The lazy climate cube; errors from reading its values inside the block name the file."""
    section = config.climate
    files: list[str | Path] = [*section.files, *([section.invariant] if section.invariant else [])]
    cube = climate_of(config)
    with naming_damage(find_files(files, what="climate files")):
        yield cube


def needs_esmf() -> InputError:
    """The error for a curvilinear climate without an engine that regrids it."""
    return InputError(
        "regrid: engine",
        expected="xesmf, for a climate on a curvilinear grid",
        found="no regridding, or the builtin engine for rectilinear grids",
        remedy="set `regrid: {engine: xesmf, method: conservative, resolution: 0.1}` (environment.yml), or remap the "
        "files first, for instance with `cdo remapcon`",
    )


def describe_climate(context: Context) -> None:
    """Describe the climate files, from their headers and a few values; the rest is read when it is sampled."""
    with reading_climate(context.cube) as cube:
        quick_look(cube, source="climate files", annual_precipitation=context.cube.climate.annual_precipitation)
    grid = any_grid_of(cube, name="climate files")
    period = [str(t)[:7] for t in cube["time"].values[[0, -1]]]
    facts = {"variables": [str(n) for n in cube.data_vars], "cells": grid.shape, "period": period, "grid": grid.digest}
    facts |= {"months": [str(t)[:7] for t in cube["time"].values]}
    write_json(context.out / "climate.json", facts)
    context.say(f"{len(cube.data_vars)} fields on {grid.shape[0]} x {grid.shape[1]} cells, {' to '.join(period)}")


def kept_overlaps(context: Context, glaciers: gpd.GeoDataFrame, grid: Grid) -> Weights:
    """Overlap of outlines and grid cells, stored and used again for the same outlines and grid."""
    key = digest([context.store.content("glaciers"), grid.digest])
    return from_dataset(context.store.kept("overlaps", key, lambda: overlap_weights(glaciers, grid).to_dataset()))


def zonal_weights(context: Context, glaciers: gpd.GeoDataFrame, grid: Grid | Curvilinear) -> Weights:
    """Weights of climate cells under the outlines; through an intermediate grid if `regrid` is set."""
    regrid = context.cube.regrid
    if isinstance(grid, Curvilinear) and (regrid is None or regrid.engine != "xesmf"):
        raise needs_esmf()
    if regrid is None:
        assert isinstance(grid, Grid)
        return kept_overlaps(context, glaciers, grid)
    target = grid_around(glaciers, grid, regrid.resolution)

    def between() -> xr.Dataset:
        if regrid.engine == "xesmf":
            return xesmf_weights(grid, target, regrid.method).to_dataset()
        assert isinstance(grid, Grid)
        return regrid_weights(grid, target, "bilinear" if regrid.method == "bilinear" else "conservative").to_dataset()

    key = digest([grid.digest, target.digest, regrid.engine, regrid.method])
    return kept_overlaps(context, glaciers, target).compose(from_dataset(context.store.kept("regrid", key, between)))


def make_weights(context: Context) -> None:
    """Write the overlap of outlines and climate cells; the nearest valid cells where those have no values."""
    glaciers = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    section = context.cube.sampling
    grid = any_grid_of(climate_of(context.cube), name="climate files")
    weights = zonal_weights(context, glaciers, grid)
    failures = without_cover(weights, section.min_coverage, source="climate files")
    on_grid = ~np.isin(weights.rows, [f.glacier for f in failures])
    weights, glaciers = weights.take(on_grid), glaciers[on_grid]
    limits = {"least": section.min_coverage, "max_distance_km": section.max_land_distance_km}
    with reading_climate(context.cube) as cube:
        first = next(v for v in cube.data_vars.values() if "time" in v.dims).isel(time=0)
        valid = valid_cells(first, weights, grid, glaciers, **limits)
    weights, distance = nearest_valid(weights, grid, valid, glaciers, **limits)
    failures += far_from_land(weights.rows, distance, **limits, field=f"{first.name}, {str(first['time'].values)[:7]}")
    write_zarr(weights.to_dataset().assign(land_distance=("row", distance)), context.out / "climate.zarr")
    write_failures(context.out, "weights", failures)
    stand_in = int((distance <= section.max_land_distance_km).sum())
    context.say(
        f"{len(weights.weight)} overlaps with {len(weights.touched)} cells"
        + (f"; {stand_in} glaciers take the nearest cells with values" if stand_in else "")
    )


def make_terrain(context: Context) -> None:
    """Write the topography of every glacier."""
    glaciers = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    section = context.cube.elevation
    topography = terrain(open_elevation(section.files), glaciers)
    failures = without_elevation(topography, section.min_coverage)
    reasons = {f.glacier: f.reason for f in failures}
    topography = topography.isel(glacier=surviving(topography["glacier"].values, reasons))
    tell_voids(topography)
    write_zarr(topography, context.out / "terrain.zarr")
    write_failures(context.out, "terrain", failures)


def sample_climate(context: Context) -> None:
    """Write zonal means of the climate, temperature also at the glacier's elevation."""
    stored = read_zarr(context.of("weights", "climate.zarr"))
    sound = context.surviving(stored["row"].values, "weights", "terrain")
    weights = from_dataset(stored).take(sound)
    elevation = read_zarr(context.of("terrain", "terrain.zarr"))["elevation_mean"].sel(glacier=weights.rows)
    section, climate = context.cube.sampling, context.cube.climate
    with reading_climate(context.cube) as cube:
        sampled = sample(cube.drop_vars("time_bnds"), weights).assign(_stand_ins(stored["land_distance"].values[sound]))
        sampled["time"].attrs.pop("bounds", None)
        if section.lapse_rate == "fitted" and "t2m" in cube:
            sampled = sampled.merge(fitted_lapse_rate(cube, weights, cells=section.lapse_rate_cells))
        sampled = correct_temperature(sampled, elevation, lapse_rate=rates_of(section.lapse_rate, sampled))
        if OROGRAPHY in sampled:
            tell_far_orography(sampled[OROGRAPHY], elevation)
        write_zarr(sampled, context.out / "climate.zarr")
    written = read_zarr(context.out / "climate.zarr", {})
    failures = without_valid(written, section.min_coverage, source="climate files")
    source = listing(climate.files, 3)
    failures += implausible(written, source=source, annual_precipitation=climate.annual_precipitation)
    write_failures(context.out, "sampled", failures)


def _stand_ins(distance: np.ndarray) -> dict[str, tuple[str, np.ndarray, dict[str, object]]]:
    """Variables that show where the nearest valid cells replace those under a glacier, and their distance, km."""
    used = np.isfinite(distance)
    text = "distance from the glacier to the nearest grid cell with values, where such cells stand in for its own"
    flag = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "own_cells nearest_cells"}
    return {
        "land_distance": ("glacier", np.where(used, distance, np.nan), {"units": "km", "long_name": text}),
        "nearest_land": ("glacier", used.astype(np.int8), {"long_name": "where the climate is taken from", **flag}),
    }


def sample_albedo(context: Context) -> None:
    """Write the summer albedo of every glacier."""
    section = context.cube.albedo
    assert section is not None
    glaciers = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    cube = open_codes(section.files)
    weights = kept_overlaps(context, glaciers, grid_of(cube, name="albedo rasters"))
    daily = sample(cube, weights, decode=decode_albedo)[["albedo", "albedo_coverage", "land", "cloud"]]
    write_zarr(daily, context.out / "albedo_daily.zarr")
    seasonal = summer_albedo(
        read_zarr(context.out / "albedo_daily.zarr"),
        months=section.months,
        min_days=section.min_days,
        min_coverage=section.min_coverage,
    )
    write_zarr(seasonal, context.out / "albedo.zarr")
    gaps = int(seasonal["albedo_mean"].isnull().sum())
    context.say(
        f"{cube.sizes['time']} days; {gaps} of {seasonal['albedo_mean'].size} glacier-summers without enough days"
    )


def make_predictors(context: Context) -> None:
    """Write annual predictors, `_GLACIERS_AT_ONCE` glaciers at a time."""
    section = context.cube.predictors
    outlines = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    outlines = outlines[context.surviving(outlines.index.to_numpy(), "weights", "terrain", "sampled")]
    latitude = float(outlines["latitude"].mean())
    whole = read_zarr(context.of("sampled", "climate.zarr"), {})
    needed = {*(section.monthly or VARIABLES), "t2m", "t2m_corrected", "tp", OROGRAPHY, "lapse_rate"}
    whole = whole[[n for n in whole.data_vars if n in needed]]
    topography = read_zarr(context.of("terrain", "terrain.zarr"))
    albedo = read_zarr(context.of("albedo", "albedo.zarr")) if context.cube.albedo else None
    for start in range(0, len(outlines), _GLACIERS_AT_ONCE):
        some = outlines.iloc[start : start + _GLACIERS_AT_ONCE]
        rows = {"glacier": some.index.to_numpy()}
        sampled = whole.sel(rows).load()
        predictors = build_predictors(
            sampled.drop_vars("lapse_rate", errors="ignore"),
            topography.sel(rows),
            glaciers_dataset(some),
            albedo=None if albedo is None else albedo.sel(rows),
            first_month=section.first_month or start_month(latitude),
            monthly=section.monthly,
            temperature_spread=section.temperature_spread,
            lapse_rate=rates_of(context.cube.sampling.lapse_rate, sampled),
            reference=section.reference,
            coordinates=section.coordinates,
            mean_latitude=latitude,
        )
        write_zarr(predictors, context.out / "predictors.zarr", append="glacier" if start else None)
    years = predictors["year"].values
    context.say(f"{predictors.sizes['predictor']} predictors, hydrological years {years[0]}..{years[-1]}")


def linked_observations(config: RunConfig, outlines: gpd.GeoDataFrame) -> Linked:
    """Observations of a configuration, linked to outlines."""
    section = config.observations
    observed = read_observations(section.path, units=section.units, default_uncertainty=section.default_uncertainty)
    links = section.links
    return link(
        observed,
        outlines,
        table=read_link_table(links.table) if links.table else None,
        positions=read_link_table(links.positions) if links.positions else None,
        mapping=links.mapping,
        suffix=links.suffix,
        position=links.position,
        max_distance_km=links.max_distance_km,
    )


def link_observations(context: Context) -> None:
    """Write observations linked to outlines, and those without one."""
    linked = linked_observations(context.cube, read_outlines_store(context.of("glaciers", "glaciers.parquet")))
    write_table(linked.observations, context.out / "linked.parquet")
    write_table(linked.unmatched, context.out / "unmatched.parquet")
    found, lost = linked.observations, len(linked.unmatched)
    context.say(f"{len(found)} observations of {found['glacier'].nunique()} glaciers, {lost} rows without an outline")


def make_samples(context: Context) -> None:
    """Write observations joined to the predictors of their glacier-years, and those left out."""
    observed = pd.read_parquet(context.of("observations", "linked.parquet"))
    unmatched = pd.read_parquet(context.of("observations", "unmatched.parquet"))
    predictors = read_zarr(context.of("predictors", "predictors.zarr"))
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
    write_zarr(samples, context.out / "samples.zarr")
    write_table(as_table(samples), context.out / "samples.parquet")
    every = pd.concat(
        [
            unmatched,
            observed[~usable].assign(reason="its glacier failed, see failed.csv")[unmatched.columns],
            outside.assign(reason="no climate in this hydrological year")[unmatched.columns],
        ]
    )
    write_table(every, context.out / "unmatched.csv")
    glaciers = len(np.unique(samples["glacier"].values.astype(str)))
    context.say(
        f"{samples.sizes['sample']} glacier-years of {glaciers} glaciers; samples/unmatched.csv lists "
        f"{len(unmatched)} rows without an outline and {len(outside)} outside the climate's years"
    )


def table_of_user(config: TableConfig) -> xr.Dataset:
    """Samples of a user's own table."""
    from glacmb_grid.inputs.own_table import read_samples_table

    section = config.samples
    options = {k: v for k, v in dict(section).items() if k not in ("path", "folds", "monthly")}
    return read_samples_table(
        section.path,
        **options,
        folds=section.folds.model_dump(),
        monthly={n: m.model_dump() for n, m in section.monthly.items()},
    )


def read_table(context: Context) -> None:
    """Write the samples of a user's own table."""
    assert isinstance(context.config, TableConfig)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the same texts are in the notes
        samples = table_of_user(context.config)
    write_zarr(samples, context.out / "samples.zarr")
    glaciers = len(np.unique(samples["glacier"].values.astype(str)))
    context.say(f"{samples.sizes['sample']} rows of {glaciers} glaciers, {samples.sizes['predictor']} predictors")
    for note in samples.attrs["notes"].splitlines():
        context.say(f"note: {note}")


def describe_inputs(inputs: dict[str, dict[str, str]]) -> dict[str, str]:
    """Names and digests of the raw inputs by kind; for many files of a kind, their number and one digest."""
    return {
        what: ", ".join(f"{n} {d}" for n, d in sorted(files.items()))
        if len(files) <= _FEW_FILES
        else f"{len(files)} files, {min(files)} to {max(files)}, {digest(files)}"
        for what, files in inputs.items()
    }
