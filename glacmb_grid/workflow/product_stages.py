"""The stages that make products: from fits to what is given away."""

from __future__ import annotations

from glacmb_grid.judging import plan, sums
from glacmb_grid.judging import product as products
from glacmb_grid.judging import uncertainty as uncertainties
from glacmb_grid.settings import Product, RunConfig
from glacmb_grid.stores import artefacts as a
from glacmb_grid.workflow import sources
from glacmb_grid.workflow.stages import Option, Stage, options


def product_stages(c: RunConfig, product: Product) -> list[Stage]:
    """From fits to what is given away."""
    models = plan.models_of(c)
    bases = [*plan.bases_of(models[product.model], models), product.model]
    wanted = list(models) if product.truth else bases
    scheme = plan.PRODUCT_SCHEME
    judged = {"predictors": a.PREDICTORS, "samples": a.SAMPLES, "folds": a.folds_of(scheme)}
    uncertainty = Stage(
        "uncertainty",
        uncertainties.estimate_uncertainty,
        {
            **judged,
            "fits": {m: {scheme: a.fit_of(m, scheme)} for m in bases},
            "predictions": a.predictions_of(product.model),
        },
        {"expected": a.EXPECTED, "correlation": a.CORRELATION, "importance": a.IMPORTANCE},
        options(c, model="product.model", intervals="product.intervals", seed="seed"),
    )
    made = Stage(
        "products",
        products.make_products,
        {
            **judged,
            "outlines": a.OUTLINES,
            "sampled": a.SAMPLED,
            "expected": a.EXPECTED,
            "correlation": a.CORRELATION,
            "fits": {m: {scheme: a.fit_of(m, scheme)} for m in wanted},
            **({"truth": sources.truth(c)} if product.truth else {}),
        },
        {"product": a.PRODUCT, "truth_scores": a.TRUTH_SCORES},
        {
            **options(c, model="product.model", seed="seed"),
            **_about(c, product),
            "product": _part_of(product, "years", "draws", "area_change", "area_reference_year", "water_density"),
            "compared": Option("models", wanted if product.truth else [product.model]),
        },
    )
    return [uncertainty, made, *_sums_of_product(c, product)]


def _sums_of_product(c: RunConfig, product: Product) -> list[Stage]:
    """The product by region and on grids."""
    read = {"product_of_glaciers": a.PRODUCT, "outlines": a.OUTLINES, "correlation": a.CORRELATION}
    out = []
    if product.regions is not None:
        layer = {"layer": sources.regions(c)} if product.regions.path is not None else {}
        out.append(
            Stage(
                "regional",
                sums.sum_by_region,
                {**read, **layer},
                {"regional": a.REGIONAL},
                {**_about(c, product), "product": _part_of(_without_comparison(product), "regions", "water_density")},
            )
        )
        if product.regions.compare:
            read_too = {"regional": a.REGIONAL, "series": sources.series(c)}
            out.append(Stage("series", sums.compare_sums, read_too, a.COMPARED_SUMS))
    if product.grids is not None:
        out.append(
            Stage(
                "gridded",
                sums.sum_on_grids,
                read,
                {"gridded": {f"{r:g}": a.gridded_of(r) for r in product.grids.resolutions}},
                {**_about(c, product), "product": _part_of(product, "grids", "water_density")},
            )
        )
    return out


def _without_comparison(product: Product) -> Product:
    """The settings on which sums by region depend."""
    assert product.regions is not None
    return product.model_copy(update={"regions": product.regions.model_copy(update={"compare": []})})


def _about(c: RunConfig, product: Product) -> dict[str, Option]:
    """What the products say of themselves."""
    given = {n: getattr(product, n) for n in ("title", "institution")}
    text = {n: Option(f"product.{n}", v, str(c.as_written(v))) for n, v in given.items()}
    metadata = {n: v for n, v in dict(product.metadata).items() if v is not None}
    text["metadata"] = Option("product.metadata", metadata, {n: str(c.as_written(v)) for n, v in metadata.items()})
    return {**text, "name": Option("name", str(c.as_written(c.name)))}


def _part_of(product: Product, *names: str) -> Option:
    """The product's settings, of which a stage's result depends on these."""
    return Option("product", {n: getattr(product, n) for n in names}, product)
