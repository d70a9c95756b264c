"""The stages of a configuration: what each reads and writes, and which settings it depends on."""

from __future__ import annotations

from typing import Any

from glacmb_grid.judging import fits, folds, geodetic, plan, proofs
from glacmb_grid.learning.contract import Model
from glacmb_grid.settings import FeedForward, Judged, RunConfig, TableConfig
from glacmb_grid.settings.names import with_neighbours
from glacmb_grid.stores import artefacts as a
from glacmb_grid.workflow import cubes, linking, sources
from glacmb_grid.workflow.product_stages import product_stages
from glacmb_grid.workflow.stages import Option, Stage, options


def table(config: Judged) -> list[Stage]:
    """The stages of a configuration, each after those that it needs."""
    if isinstance(config, RunConfig):
        product = product_stages(config, config.product) if config.product else []
        beside = [_geodetic_stage(config)] if config.observations.geodetic and config.product else []
        held = [_CONSTRAINTS] if config.learns_rates else []
        return [*_cube_stages(config), *held, *_judging_stages(config), *product, *beside]
    assert isinstance(config, TableConfig)
    reads = {"samples": sources.own_table(config)}
    return [Stage("samples", cubes.take_samples, reads, {"samples": a.SAMPLES}), *_judging_stages(config)]


def _cube_stages(c: RunConfig) -> list[Stage]:
    """The stages from raw files to samples."""
    climate, observations, failures = sources.climate(c), sources.observations(c), a.failures
    out = []
    if c.synthetic:
        out.append(Stage("raw", cubes.make_synthetic, {}, {"files": a.RAW}, options(c, synthetic="synthetic")))
    out += [
        Stage(
            "glaciers",
            cubes.read_glaciers,
            {"outlines": sources.outlines(c)},
            {"outlines": a.OUTLINES, "failures": failures("glaciers")},
        ),
        Stage(
            "cubes",
            cubes.describe_climate,
            {"cube": climate},
            {"facts": a.CLIMATE_FACTS},
            options(c, annual_precipitation="climate.annual_precipitation"),
        ),
        Stage(
            "observations",
            linking.link_observations,
            {"tables": observations, "outlines": a.OUTLINES},
            {"linked": a.LINKED, "unmatched": a.UNMATCHED},
            options(c, links="observations.links"),
        ),
        *([_rates_stage(c)] if c.observations.geodetic else []),
        Stage(
            "plan",
            folds.plan_folds,
            {"outlines": a.OUTLINES, "climate": a.CLIMATE_FACTS, "observed": a.LINKED},
            {"folds": a.PLANNED_FOLDS},
            {**options(c, first_month="predictors.first_month", seed="seed"), **_fold_options(c)},
        ),
        Stage(
            "weights",
            cubes.make_weights,
            {"outlines": a.OUTLINES, "cube": climate},
            {"weights": a.WEIGHTS, "failures": failures("weights")},
            options(
                c,
                min_coverage="sampling.min_coverage",
                max_land_distance_km="sampling.max_land_distance_km",
                regrid="regrid",
            ),
            after=("cubes",),
        ),
        Stage(
            "terrain",
            cubes.make_terrain,
            {"outlines": a.OUTLINES, "dem": sources.elevation(c)},
            {"terrain": a.TERRAIN, "failures": failures("terrain")},
            options(c, min_coverage="elevation.min_coverage", compare="elevation.compare"),
        ),
        Stage(
            "sampled",
            cubes.sample_climate,
            {
                "cube": climate,
                "weights": a.WEIGHTS,
                "terrain": a.TERRAIN,
                "failed": {n: failures(n) for n in ("weights", "terrain")},
            },
            {"sampled": a.SAMPLED, "failures": failures("sampled")},
            options(c, sampling="sampling", climate="climate"),
        ),
    ]
    if c.albedo:
        out.append(
            Stage(
                "albedo",
                cubes.sample_albedo,
                {"outlines": a.OUTLINES, "codes": sources.albedo(c)},
                {"daily": a.DAILY_ALBEDO, "albedo": a.ALBEDO},
                options(c, albedo="albedo", first_month="predictors.first_month"),
            )
        )
    reads: dict[str, Any] = {"outlines": a.OUTLINES, "sampled": a.SAMPLED, "terrain": a.TERRAIN}
    reads["failed"] = {n: failures(n) for n in ("weights", "terrain", "sampled")}
    return [
        *out,
        Stage(
            "predictors",
            cubes.make_predictors,
            reads | ({"albedo": a.ALBEDO} if c.albedo else {}),
            {"predictors": a.PREDICTORS},
            options(c, predictors="predictors", lapse_rate="sampling.lapse_rate"),
        ),
        Stage(
            "samples",
            cubes.make_samples,
            {"observed": a.LINKED, "unmatched": a.UNMATCHED, "predictors": a.PREDICTORS},
            {"samples": a.SAMPLES, "table": a.SAMPLES_TABLE, "left_out": a.LEFT_OUT},
        ),
    ]


def _rates_stage(c: RunConfig) -> Stage:
    return Stage(
        "geodetic/links",
        linking.link_rates,
        {"rates": sources.geodetic(c), "outlines": a.OUTLINES},
        {"linked": a.LINKED_RATES, "unmatched": a.UNMATCHED_RATES},
        options(c, links="observations.links", mapping="observations.geodetic.mapping"),
    )


_CONSTRAINTS = Stage(
    "geodetic/constraints",
    linking.make_constraints,
    {"rates": a.LINKED_RATES, "unmatched": a.UNMATCHED_RATES, "predictors": a.PREDICTORS},
    {"constraints": a.CONSTRAINTS, "left_out": a.NOT_LEARNT},
)


def _held(c: Judged) -> dict[str, Any]:
    """The constraints, where networks learn from geodetic rates."""
    return {"constraints": a.CONSTRAINTS} if c.learns_rates else {}


def _geodetic_stage(c: RunConfig) -> Stage:
    reads: dict[str, Any] = {"product": a.PRODUCT, "rates": a.LINKED_RATES, "unmatched": a.UNMATCHED_RATES}
    if c.learns_rates and c.product:
        models, scheme = plan.models_of(c), plan.PRODUCT_SCHEME
        own = [*plan.bases_of(models[c.product.model], models), c.product.model]
        fitted = {m: {scheme: a.fit_of(m, scheme)} for m in own if models[m].learns_rates}
        reads |= {"samples": a.SAMPLES, "folds": a.folds_of(scheme), "fits": fitted}
    return Stage("geodetic/comparison", geodetic.compare_with_product, reads, a.GEODETIC)


def _fold_options(c: Judged) -> dict[str, Option]:
    kept = {k: v for k, v in dict(c.validation).items() if k not in ("models", "schemes")}
    return {
        "validation": Option("validation", kept | {"schemes": c.validation.schemes}, c.validation),
        "schemes": Option("schemes fitted", plan.schemes_of(c)),
    }


def _judging_stages(c: Judged) -> list[Stage]:
    """Folds, fits and scores; the audit and the study, which run on request."""
    models, schemes, compared = plan.models_of(c), plan.schemes_of(c), plan.compared(c)
    own = {m: s for m, s in c.own_models.items() if {m, with_neighbours(m)} & set(c.audit.compare)}
    studied, studied_schemes = plan.studied(c)
    bootstrap = options(c, scores="scores", seed="seed")
    judged: dict[str, Any] = {"samples": a.SAMPLES, "folds": {s: a.folds_of(s) for s in schemes}}
    return [
        Stage(
            "folds",
            folds.make_all_folds,
            {"samples": a.SAMPLES, **_targets(c)},
            {"folds": {s: a.folds_of(s) for s in schemes}, "locked": a.LOCKED, "findings": a.FOLD_FINDINGS},
            {**_fold_options(c), **options(c, protocol="protocol", seed="seed")},
            after=("plan",) if isinstance(c, RunConfig) else (),
        ),
        *(_fit_stage(c, model, models, schemes) for model in models.values()),
        Stage(
            "evaluation",
            fits.evaluate,
            {
                **judged,
                "predictions": {m: a.predictions_of(m) for m in compared},
                "fits": {m: {s: a.fit_of(m, s) for s in schemes} for m in compared},
            },
            a.EVALUATION,
            {**bootstrap, **options(c, schemes="validation.schemes"), "models": Option("models", compared)},
        ),
        Stage(
            "audit",
            proofs.audit,
            {
                **judged,
                "findings": a.FOLD_FINDINGS,
                "fits": {m: {s: a.fit_of(m, s) for s in schemes} for m in models},
                **_given(c, own),
                **_held(c),
            },
            a.AUDIT,
            {
                **bootstrap,
                **options(c, audit="audit", validation="validation", protocol="protocol"),
                "own": Option("own models", own),
                "models": Option("models", list(models), models),
            },
            on_request=True,
        ),
        Stage(
            "study",
            proofs.study,
            {
                "samples": a.SAMPLES,
                "folds": {s: a.folds_of(s) for s in studied_schemes},
                "fits": {m.name: {s: a.fit_of(m.name, s) for s in studied_schemes} for m in studied},
            },
            a.STUDY,
            {**bootstrap, **options(c, study="study"), "models": Option("models", [m.name for m in studied], studied)},
            on_request=True,
        ),
    ]


def _targets(c: Judged) -> dict[str, Any]:
    """The glaciers that are to be predicted, where the scheme `domain` matches folds to them."""
    if "domain" not in c.validation.schemes:
        return {}
    if isinstance(c, RunConfig):
        return {"targets": a.OUTLINES}
    assert isinstance(c, TableConfig)
    source = sources.targets(c)
    return {"targets": source} if source is not None else {}


def _given(c: Judged, settings: dict[str, Any]) -> dict[str, Any]:
    """Files of predictions made elsewhere."""
    source = sources.given(c, settings.items())
    return {"given": source} if source is not None else {}


def _predictors(c: Judged, model: Model) -> dict[str, Any]:
    """Predictors of all glaciers, where a network is pre-trained on a simulation of them."""
    simulated = isinstance(model.settings, FeedForward) and model.settings.simulates
    return {"predictors": a.PREDICTORS} if simulated and isinstance(c, RunConfig) else {}


def _fit_stage(c: Judged, model: Model, models: dict[str, Model], schemes: list[str]) -> Stage:
    name, bases = model.name, plan.bases_of(model, models)
    optional = bool(model.needs) and c.validation.models == "all"
    return Stage(
        f"learning/{name}",
        fits.fit_model_in_schemes,
        {
            "samples": a.SAMPLES,
            "folds": {s: a.folds_of(s) for s in schemes},
            "bases": {m: {s: a.fit_of(m, s) for s in schemes} for m in bases},
            **_given(c, {name: model.settings}),
            **(_held(c) if model.learns_rates else {}),
            **_predictors(c, model),
        },
        {"fits": {s: a.fit_of(name, s) for s in schemes}, "predictions": a.predictions_of(name)},
        {
            "model": Option(f"models.{name}", model.settings, model),
            "parts": Option(f"{name} built on", list(model.built_on)),
            "optional": Option("may be left out", optional),
            **options(c, protocol="protocol", seed="seed"),
        },
    )
