"""Settings that a configuration gives and that have no effect beside its other settings."""

from __future__ import annotations

from collections.abc import Iterator

from glacmb_grid.errors import listing
from glacmb_grid.judging import plan
from glacmb_grid.settings import Compute, Judged, RunConfig, Section, TableConfig
from glacmb_grid.settings.names import with_neighbours


def idle(config: Judged) -> list[str]:
    """One line for each setting that is given and has no effect, with the reason.

    Parameters
    ----------
    config : RunConfig or TableConfig
    """
    found = [*_of_compute(config.compute), *_of_models(config), *_of_validation(config)]
    if isinstance(config, RunConfig):
        found += [*_of_cubes(config), *_of_product(config)]
    if isinstance(config, TableConfig) and config.samples.orography and not config.samples.elevation:
        found.append(("samples.orography", "only rows with an `elevation` of their own use it"))
    return [f"`{key}` has no effect: {why}" for key, why in found]


def _given(section: Section, *keys: str) -> list[str]:
    """Those of the keys that the configuration itself gives, with a value."""
    return [k for k in keys if k in section.model_fields_set and getattr(section, k) not in (None, False)]


def _of_compute(compute: Compute) -> Iterator[tuple[str, str]]:
    elsewhere = "set `scheduler: distributed` for a cluster"
    if compute.scheduler != "distributed":
        yield from ((f"compute.{k}", elsewhere) for k in _given(compute, "address", "dashboard"))
    elif compute.address:
        theirs = "the cluster at `compute.address` has its own"
        yield from ((f"compute.{k}", theirs) for k in _given(compute, "workers", "dashboard"))
    if compute.scheduler == "synchronous":
        yield from ((f"compute.{k}", "one thread does all") for k in _given(compute, "workers"))


def _of_models(config: Judged) -> Iterator[tuple[str, str]]:
    fitted = set(plan.models_of(config))
    used = fitted | {m for m in config.own_models if {m, with_neighbours(m)} & set(config.audit.compare)}
    given = [n for n in _given(config.models, *type(config.models).model_fields) if n != "own"]
    for name in [*given, *config.models.own]:
        if name not in used:
            yield f"models.{name}", "`validation.models` does not name it"
    for name in sorted(config.own_models.keys() - config.models.own.keys() - used):
        yield f"predictions.{name}", "`validation.models` does not name it"
    if missing := [n for n in config.study.models if n not in fitted and _given(config.study, "models")]:
        yield f"study.models {listing(missing)}", "only models that are fitted are studied"


def _of_validation(config: Judged) -> Iterator[tuple[str, str]]:
    validation = config.validation
    if "blocks" not in validation.schemes:
        yield from (
            (f"validation.{k}", "only the scheme `blocks` has a buffer") for k in _given(validation, "buffer_km")
        )
    if "domain" not in validation.schemes:
        why = "only the scheme `domain` looks at the glaciers that are to be predicted"
        yield from ((f"validation.{k}", why) for k in _given(validation, "target_weights"))
        if isinstance(config, TableConfig):
            yield from ((f"samples.{k}", why) for k in _given(config.samples, "targets"))


def _of_product(config: RunConfig) -> Iterator[tuple[str, str]]:
    product = config.product
    if product is None:
        return
    if product.area_change == "fixed":
        yield from ((f"product.{k}", "`product.area_change` is fixed") for k in _given(product, "area_reference_year"))
    if product.regions is not None and product.regions.path is None:
        why = "only a layer named by `path` has it"
        yield from ((f"product.regions.{k}", why) for k in _given(product.regions, "layer", "id"))


def _of_cubes(config: RunConfig) -> Iterator[tuple[str, str]]:
    climate, sampling, links = config.climate, config.sampling, config.observations.links
    if climate.variables is not None:
        taken = {*climate.variables, "orography", "z", "land_mask"}
        for key in ("units", "names"):
            unused = [n for n in getattr(climate, key) if n not in taken]
            yield from ((f"climate.{key}.{n}", "`climate.variables` does not name it") for n in unused)
        if not {"tp", "sf"} & taken:
            why = "`climate.variables` names no precipitation"
            yield from (
                (f"climate.{k}", why) for k in _given(climate, "annual_precipitation", "negative_precipitation")
            )
    if sampling.lapse_rate != "fitted":
        why = "only `lapse_rate: fitted` looks at cells around"
        yield from ((f"sampling.{k}", why) for k in _given(sampling, "lapse_rate_cells"))
    if not links.position and links.positions is not None and not links.suffix:
        yield "observations.links.positions", "`position` and `suffix` are both false"
