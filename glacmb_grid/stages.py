"""What each stage of the main job does: read what earlier stages wrote, call one pure function, write the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.inputs.albedo import open_albedo, summer_albedo
from glacmb_grid.inputs.climate import check_values, open_climate
from glacmb_grid.inputs.elevation import open_elevation
from glacmb_grid.inputs.links import Linked, link, read_link_table
from glacmb_grid.inputs.observations import read_observations
from glacmb_grid.inputs.outlines import glaciers_dataset, read_outlines
from glacmb_grid.predictors import build_predictors
from glacmb_grid.samples import as_table, build_samples
from glacmb_grid.sampling.grid import grid_of
from glacmb_grid.sampling.lapse_rate import correct_temperature, tell_far_orography
from glacmb_grid.sampling.terrain import tell_voids, terrain
from glacmb_grid.sampling.zonal import overlap_weights, require_cover, require_valid, sample
from glacmb_grid.settings import RunConfig, digest
from glacmb_grid.stores import (
    RunStore,
    read_outlines_store,
    read_zarr,
    versions,
    write_netcdf,
    write_table,
    write_zarr,
)
from glacmb_grid.upscaling.products import build_product, residual_variance, upscale
from glacmb_grid.validation.folds import join_folds, make_folds, of_scheme
from glacmb_grid.validation.scores import METRICS, compare, out_of_fold, score
from glacmb_grid.vocabulary import OROGRAPHY
from glacmb_grid.weights import from_dataset
from glacmb_grid.years import start_month

PRODUCT_SCHEME = "logo"
_MONTHS_A_CHUNK = 120
_FEW_FILES = 4


@dataclass(frozen=True)
class Context:
    """What a stage needs: the configuration, the stores of earlier stages, a folder to write into, a voice."""

    config: RunConfig
    store: RunStore
    out: Path
    say: Callable[[str], None]
    inputs: dict[str, dict[str, str]]
    key: str

    def of(self, stage: str, name: str) -> Path:
        """A result of an earlier stage, which must be whole."""
        if self.store.mark(stage) is None:
            raise ValueError(f"stage {stage} is not done: {self.store.folder(stage)} must not be read")
        return self.store.folder(stage) / name


def make_synthetic(context: Context) -> None:
    """Raw files of the region with known truth."""
    from glacmb_grid.synthetic import write_region

    section = context.config.synthetic
    assert section is not None
    write_region(
        context.out, seed=section.seed, glaciers=section.glaciers, years=section.years, measured=section.measured
    )


def outlines_of(config: RunConfig) -> gpd.GeoDataFrame:
    """The outlines of a configuration."""
    section = config.glaciers
    return read_outlines(
        section.path, layer=section.layer, id_column=section.id, crs=section.crs, merge_pieces=section.merge_pieces
    )


def read_glaciers(context: Context) -> None:
    """Outlines, cleaned and measured."""
    glaciers = outlines_of(context.config)
    glaciers.to_parquet(context.out / "glaciers.parquet")
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


def ingest_climate(context: Context) -> None:
    """The climate cube in canonical names and units."""
    cube = climate_of(context.config)
    write_zarr(cube.drop_vars("time_bnds"), context.out / "climate.zarr", {"time": _MONTHS_A_CHUNK})
    written = read_zarr(context.out / "climate.zarr", {})
    section = context.config.climate
    check_values(
        written,
        source=", ".join(Path(f).name for f in section.files),
        annual_precipitation=section.annual_precipitation,
    )
    period = f"{str(cube['time'].values[0])[:7]} to {str(cube['time'].values[-1])[:7]}"
    context.say(f"{len(cube.data_vars)} fields on {cube.sizes['latitude']} x {cube.sizes['longitude']} cells, {period}")


def make_weights(context: Context) -> None:
    """Overlap of outlines and climate cells."""
    glaciers = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    weights = overlap_weights(glaciers, grid_of(read_zarr(context.of("cubes", "climate.zarr"), {})))
    require_cover(weights, context.config.sampling.min_coverage, source="climate files: area")
    write_zarr(weights.to_dataset(), context.out / "climate.zarr")
    context.say(f"{len(weights.weight)} overlaps with {len(weights.touched)} cells")


def make_terrain(context: Context) -> None:
    """Topography of every glacier."""
    glaciers = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    section = context.config.elevation
    topography = terrain(open_elevation(section.files), glaciers, min_coverage=section.min_coverage)
    tell_voids(topography)
    write_zarr(topography, context.out / "terrain.zarr")


def sample_climate(context: Context) -> None:
    """Zonal means of the climate, temperature also at the glacier's elevation."""
    cube = read_zarr(context.of("cubes", "climate.zarr"), {})
    weights = from_dataset(read_zarr(context.of("weights", "climate.zarr")))
    topography = read_zarr(context.of("terrain", "terrain.zarr"))
    sampled = sample(cube, weights)
    sampled = correct_temperature(sampled, topography["elevation_mean"], lapse_rate=context.config.sampling.lapse_rate)
    if OROGRAPHY in sampled:
        tell_far_orography(sampled[OROGRAPHY], topography["elevation_mean"])
    write_zarr(sampled, context.out / "climate.zarr")
    written = read_zarr(context.out / "climate.zarr", {})
    require_valid(written, context.config.sampling.min_coverage, source="climate files")


def sample_albedo(context: Context) -> None:
    """Summer albedo of every glacier."""
    section = context.config.albedo
    assert section is not None
    glaciers = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    cube = open_albedo(section.files)
    weights = overlap_weights(glaciers, grid_of(cube, name="albedo rasters"))
    daily = sample(cube, weights)[["albedo", "albedo_coverage", "land", "cloud"]]
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
    """Annual predictors of every glacier."""
    section = context.config.predictors
    outlines = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    albedo = read_zarr(context.of("albedo", "albedo.zarr")) if context.config.albedo else None
    predictors = build_predictors(
        read_zarr(context.of("sampled", "climate.zarr")),
        read_zarr(context.of("terrain", "terrain.zarr")),
        glaciers_dataset(outlines),
        albedo=albedo,
        first_month=section.first_month or start_month(float(outlines["latitude"].mean())),
        monthly=section.monthly,
        temperature_spread=section.temperature_spread,
        lapse_rate=context.config.sampling.lapse_rate,
        reference=section.reference,
        coordinates=section.coordinates,
    )
    write_zarr(predictors, context.out / "predictors.zarr")
    years = predictors["year"].values
    context.say(f"{predictors.sizes['predictor']} predictors, hydrological years {years[0]}..{years[-1]}")


def linked_observations(config: RunConfig, outlines: gpd.GeoDataFrame) -> Linked:
    """Observations of a configuration linked to outlines."""
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


def make_samples(context: Context) -> None:
    """Observations joined to their glacier-years."""
    outlines = read_outlines_store(context.of("glaciers", "glaciers.parquet"))
    linked = linked_observations(context.config, outlines)
    samples, outside = build_samples(read_zarr(context.of("predictors", "predictors.zarr")), linked.observations)
    write_zarr(samples, context.out / "samples.zarr")
    write_table(as_table(samples), context.out / "samples.parquet")
    unmatched = pd.concat(
        [linked.unmatched, outside.assign(reason="no climate in this hydrological year")[linked.unmatched.columns]]
    )
    write_table(unmatched, context.out / "unmatched.csv")
    glaciers = len(np.unique(samples["glacier"].values.astype(str)))
    context.say(
        f"{samples.sizes['sample']} glacier-years of {glaciers} glaciers; samples/unmatched.csv lists "
        f"{len(linked.unmatched)} rows without an outline and {len(outside)} outside the climate's years"
    )


def schemes_of(config: RunConfig) -> list[str]:
    """Schemes to fit: those asked for, and the product's."""
    return list(dict.fromkeys([*config.validation.schemes, PRODUCT_SCHEME]))


def fit_model(model: str) -> Callable[[Context], None]:
    """The stage that fits one model in the folds of every scheme."""

    def run(context: Context) -> None:
        from glacmb_grid.learning.models import fit, predict

        samples = read_zarr(context.of("samples", "samples.zarr"))
        config, schemes = context.config, schemes_of(context.config)
        folds = join_folds([make_folds(samples, s, inner=config.validation.inner, seed=config.seed) for s in schemes])
        parameters = fit(model, samples, folds, getattr(config.models, model), seed=config.seed)
        write_zarr(parameters, context.out / "parameters.zarr")
        predicted = predict(parameters, samples)
        tables = [out_of_fold(samples, of_scheme(folds, s), of_scheme(predicted, s), model=model) for s in schemes]
        write_table(pd.concat(tables), context.out / "predictions.parquet")
        context.say(", ".join(f"{s}: {int((folds['scheme'] == s).sum())} folds" for s in schemes))

    return run


def models_of(config: RunConfig) -> list[str]:
    """Models to fit: those compared, and the product's."""
    return list(dict.fromkeys([*config.models.compare, config.product.model]))


def _predictions(context: Context, models: Sequence[str]) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(context.of(f"learning/{m}", "predictions.parquet")) for m in models])


def evaluate(context: Context) -> None:
    """Scores of all models in the same folds."""
    config = context.config
    predictions = _predictions(context, config.models.compare)
    predictions = predictions[predictions["scheme"].isin(config.validation.schemes)]
    order = pd.Categorical(predictions["scheme"], config.validation.schemes, ordered=True)
    predictions = predictions.iloc[np.argsort(order.codes, kind="stable")]
    draws, level = config.scores.bootstrap, config.scores.level
    write_table(predictions, context.out / "predictions.csv")
    write_table(score(predictions, draws=draws, level=level, seed=config.seed), context.out / "scores.csv")
    write_table(compare(predictions, draws=draws, level=level, seed=config.seed), context.out / "comparisons.csv")


def make_products(context: Context) -> None:
    """The glacier x year dataset, and where the truth is known its skill."""
    from glacmb_grid.learning.models import predict

    config = context.config
    predictors = read_zarr(context.of("predictors", "predictors.zarr"))
    samples = read_zarr(context.of("samples", "samples.zarr"))
    glaciers = glaciers_dataset(read_outlines_store(context.of("glaciers", "glaciers.parquet")))
    folds = make_folds(samples, PRODUCT_SCHEME, inner=config.validation.inner, seed=config.seed)
    ids = predictors["glacier"].values
    measured = np.isin(ids.astype(str), samples["glacier"].values.astype(str))
    means = {}
    for model in models_of(config) if config.product.truth else [config.product.model]:
        parameters = of_scheme(read_zarr(context.of(f"learning/{model}", "parameters.zarr")), PRODUCT_SCHEME)
        assert np.array_equal(parameters["fold"].values, folds["fold"].values), "the fits belong to these folds"
        mean, variance = upscale(partial(predict, parameters), predictors, samples, folds)
        means[model] = mean
        if model == config.product.model:
            residual = residual_variance(_predictions(context, [model]), ids, predictors["year"].values)
            product = build_product(
                mean, variance, residual, predictors, glaciers, measured, attrs=_provenance(context)
            )
    write_zarr(product, context.out / "glacier_annual.zarr")
    write_netcdf(product, context.out / "glacier_annual.nc")
    if config.product.truth is not None:
        write_table(_against_truth(config.product.truth, means, predictors, measured), context.out / "truth_scores.csv")
    context.say(f"{product.sizes['glacier']} glaciers x {product.sizes['year']} years by {config.product.model}")


def describe_inputs(inputs: dict[str, dict[str, str]]) -> dict[str, str]:
    """Names and digests of the raw inputs by kind; many files of a kind are told by their number and one digest."""
    return {
        what: ", ".join(f"{n} {d}" for n, d in sorted(files.items()))
        if len(files) <= _FEW_FILES
        else f"{len(files)} files, {min(files)} to {max(files)}, {digest(files)}"
        for what, files in inputs.items()
    }


def _provenance(context: Context) -> dict[str, str]:
    config = context.config
    return {
        "title": config.product.title,
        "institution": config.product.institution or "not stated",
        "source": f"glacmb_grid, model {config.product.model}, folds that leave one glacier out",
        "configuration": config.name,
        "configuration_digest": context.key,
        "inputs": "; ".join(f"{what}: {text}" for what, text in describe_inputs(context.inputs).items()),
        "versions": "; ".join(f"{n} {v}" for n, v in versions().items()),
    }


def _against_truth(
    path: Path, means: dict[str, np.ndarray], predictors: xr.Dataset, measured: np.ndarray
) -> pd.DataFrame:
    """Scores of products against a known truth, measured and unmeasured glaciers apart."""
    with xr.open_dataset(path) as file:
        ids = file["glacier_id"].values.astype(str)
        truth = file["mass_balance"].transpose("glacier", "year").assign_coords(glacier=ids)
        known = truth.sel(glacier=predictors["glacier"].values.astype(str), year=predictors["year"].values).values
    lines = []
    for model, mean in means.items():
        for name, rows in (("measured", measured), ("unmeasured", ~measured)):
            glacier = np.repeat(np.arange(rows.sum()), mean.shape[1]).astype(np.float64)
            observed, error = known[rows].ravel().astype(np.float64), (mean - known)[rows].ravel()
            for metric, function in METRICS.items():
                value = float(function(np.ones((1, len(error))), error, observed, glacier)[0]) if len(error) else np.nan
                lines.append((model, name, metric, value, len(error)))
    return pd.DataFrame(lines, columns=["model", "slice", "metric", "value", "n"])
