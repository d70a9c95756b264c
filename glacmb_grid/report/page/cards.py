"""Model card and data card: what a reader must know before using a run's numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.products.metadata import LICENSE
from glacmb_grid.report.page.tables import Table, number, table_of, with_interval
from glacmb_grid.report.results import Results

_SOURCES = (
    (r"era5.?land", "ERA5-Land (Muñoz-Sabater et al. 2021), Copernicus Climate Data Store", "CC-BY-4.0"),
    (r"pergla_rates", "rates of glaciers from elevation changes (Hugonnet et al. 2021)", "see doi:10.6096/13"),
    (r"Copernicus_DSM", "Copernicus DEM GLO-30, European Space Agency", "free with the notice of its licence"),
    (r"glambie", "GlaMBIE (2025), World Glacier Monitoring Service", "free with citation"),
    (r"RGI2000-v7|RGI7|rgi70", "Randolph Glacier Inventory 7 (RGI Consortium 2023)", "CC-BY-4.0"),
    (r"RGI60|rgi6", "Randolph Glacier Inventory 6 (RGI Consortium 2017)", "CC-BY-4.0"),
    (r"\bFoG\b|wgms", "Fluctuations of Glaciers, World Glacier Monitoring Service", "CC-BY-4.0"),
    (r"M[OY]D10A1", "MODIS snow albedo (Hall & Riggs 2021), NASA NSIDC", "free with citation"),
    (r"M[CV]D43", "MODIS surface albedo, NASA LP DAAC", "free with citation"),
    (r"ASTGTM", "ASTER GDEM 3, NASA and METI", "free with citation"),
    (r"srtm", "SRTM, NASA and USGS", "free with citation"),
)
_DIGEST = re.compile(r"\b[0-9a-f]{16}\b")


def model_card(results: Results) -> Table:
    """What the model is, how it was judged, what it is for, and how far it goes."""
    rows = [("model", results.model), ("judged beside", ", ".join(m for m in _models(results) if m != results.model))]
    rows += [("schemes", ", ".join(results.schemes)), ("protocol", _protocols(results))]
    rows += list(_size(results))
    rmse = results.score("rmse")
    if rmse:
        rows.append(
            (f"RMSE in {results.scheme}", f"{with_interval(rmse['value'], rmse['lower'], rmse['upper'])} m w.e.")
        )
    rows += list(_uncertainty(results))
    rows += [("test glaciers locked away", _locked(results)), ("seed", str(results.seed))]
    rows.append(("software", "; ".join(f"{n} {v}" for n, v in results.versions.items())))
    rows.append(
        (
            "meant for",
            "annual glacier-wide balances of the glaciers and years of this run, used together with their intervals; "
            "not for parts of a glacier, seasons, or projections",
        )
    )
    return table_of(("", ""), [r for r in rows if r[1]])


def _models(results: Results) -> list[str]:
    scores = results.evaluation.get("scores")
    return [] if scores is None else list(dict.fromkeys(scores["model"].astype(str)))


def _protocols(results: Results) -> str:
    scores = results.evaluation.get("scores")
    return "" if scores is None else ", ".join(dict.fromkeys(scores["protocol"].astype(str)))


def _size(results: Results) -> Iterator[tuple[str, str]]:
    choices = results.evaluation.get("choices")
    if choices is None:
        return
    mine = choices[(choices["model"] == results.model) & (choices["scheme"] == results.scheme)]
    for column, text in (
        ("parameters", "parameters of a member"),
        ("features", "predictors"),
        ("rows", "rows of a fit"),
    ):
        values = mine[column].dropna() if column in mine else pd.Series(dtype=float)
        if len(values):
            yield text, f"{values.median():,.0f} (median of {len(values)} folds)"


def _uncertainty(results: Results) -> Iterator[tuple[str, str]]:
    product = results.product
    if product is None:
        return
    if "mass_balance_uncertainty" in product:
        sigma = float(product["mass_balance_uncertainty"].mean())
        yield "uncertainty of a glacier-year", f"{number(sigma, 2)} m w.e. (mean of one standard deviation)"
    if "error_correlation" in product.attrs:
        found = json.loads(product.attrs["error_correlation"])
        parts = [
            f"{s['share']:.0%} of the variance over {s['range_km']:.0f} km, {_persistence(s['persistence'])}"
            for s in found.get("structures", [])
        ]
        yield "correlation of errors, " + str(found.get("source", "")), "; ".join(parts)
        yield "where that is from", str(found.get("reason", ""))


def _persistence(share: float) -> str:
    """How much of an error of one year is there in the next, in words."""
    if share in (0, 1):
        return "the same in all years" if share else "new every year"
    return f"{share:.0%} of it again in the next year"


def _locked(results: Results) -> str:
    if not results.locked:
        return "none"
    glaciers = results.locked.get("glaciers") or results.locked.get("groups") or []
    return f"{len(glaciers)}" if glaciers else "yes, see folds/holdout.json"


def data_card(results: Results) -> list[Table]:
    """Inputs with their providers and terms; counts and periods."""
    rows = []
    for what, text in results.inputs.items():
        said = _DIGEST.sub("", text).replace(" ,", ",").strip(" ,")
        source, terms = _source(text, results.synthetic)
        rows.append((what, said, source, terms))
    caption = "providers as recognised by the names of the files; their terms hold, and their citation is asked for"
    heads = ("input", "files", "provider", "terms")
    return [table_of(heads, rows, caption), table_of(("", ""), _counts(results), "counts and periods")]


def _source(text: str, synthetic: bool) -> tuple[str, str]:
    if synthetic:
        return "made by this package (synthetic)", "–"
    for pattern, source, terms in _SOURCES:
        if re.search(pattern, text, re.IGNORECASE):
            return source, terms
    return "your own, or not recognised", "as its provider says"


def _counts(results: Results) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    if results.outlines:
        rows.append(("glaciers in the inventory", f"{results.outlines:,}"))
    if results.failures is not None:
        rows.append(("glaciers left out", f"{results.failures['glacier'].nunique():,}"))
    if results.samples is not None:
        rows += _of_samples(results.samples)
    if results.unmatched is not None:
        rows.append(("observations without an outline or predictors", f"{len(results.unmatched):,}"))
    product = results.product
    if product is not None:
        span = f"{int(product['year'][0])} to {int(product['year'][-1])}"
        rows += [
            ("glaciers of the product", f"{product.sizes['glacier']:,}, {int(product['measured'].sum()):,} measured"),
            ("hydrological years of the product", span),
            ("area of the product at the date of the inventory", f"{float(product['area'].sum()):,.1f} km²"),
            ("licence in its files", _licence(product)),
            ("title", str(product.attrs.get("title", ""))),
        ]
    return [r for r in rows if r[1]]


def _licence(product: xr.Dataset) -> str:
    """The licence that the files state, and where another one is set."""
    said = str(product.attrs.get("license", "not stated"))
    return (
        f"{said}; the default, another one by `product: {{metadata: {{license: TEXT}}}}`" if said == LICENSE else said
    )


def _of_samples(samples: xr.Dataset) -> list[tuple[str, str]]:
    year, value = samples["year"].values.astype(int), samples["mass_balance"].values.astype(np.float64)
    each = pd.Series(samples["glacier"].values.astype(str)).value_counts()
    rows = [
        ("annual balances learnt from", f"{len(year):,} of {len(each):,} glaciers, {year.min()} to {year.max()}"),
        ("years of a glacier", f"{each.min()} to {each.max()}, median {each.median():.0f}"),
        ("their balances", f"{value.min():+.2f} to {value.max():+.2f} m w.e., mean {value.mean():+.2f}"),
        ("positive years", f"{int((value > 0).sum()):,} ({(value > 0).mean():.0%})"),
        ("predictors made", f"{samples.sizes['predictor']:,}"),
    ]
    if "uncertainty_given" in samples.coords:
        rows.append(("with an uncertainty of their own", f"{int(samples['uncertainty_given'].sum()):,}"))
    systems = (
        [s for s in np.unique(samples["time_system"].values.astype(str)) if s]
        if "time_system" in samples.coords
        else []
    )
    if systems:
        rows.append(("time systems", ", ".join(systems)))
    return rows


def limits(results: Results) -> list[str]:
    """What is known not to hold, or not to be known, of this very run."""
    return [*_limits_of_data(results), *_limits_of_product(results), *_limits_of_judging(results)]


def _limits_of_data(results: Results) -> Iterator[str]:
    if results.synthetic:
        yield "The region is made up: figures show that the package works, and say nothing about real glaciers."
    samples = results.samples
    if samples is None:
        return
    glaciers = len(np.unique(samples["glacier"].values.astype(str)))
    if glaciers < 30:
        yield (
            f"Only {glaciers} glaciers were learnt from: scores, intervals and the correlation of errors are uncertain "
            "themselves, and differences between models rarely established."
        )
    yield (
        "Measured glaciers are small, low and easy to reach, as a rule: that they stand for the others is assumed, "
        "and the applicability says where it is doubtful."
    )


def _limits_of_product(results: Results) -> Iterator[str]:
    product = results.product
    if product is None:
        return
    if "applicable" in product:
        share = float((product["applicable"] == 0).mean())
        yield (
            f"{share:.0%} of the glacier-years lie outside the area of applicability: errors there can be larger than "
            "stated."
        )
    if "interval_90" in product.attrs:
        yield f"Balances are without a 90 % interval, for some glaciers or all: {product.attrs['interval_90']}."
    if "observed_period" in product:
        outside = int((product["observed_period"] != 1).sum())
        if outside:
            yield f"{outside} of {product.sizes['year']} years lie before the first or after the last observation."
    if "error_correlation" in product.attrs and json.loads(product.attrs["error_correlation"])["source"] != "estimated":
        yield "Too few residuals to estimate how errors are correlated: published values are taken for regional sums."


def _limits_of_judging(results: Results) -> Iterator[str]:
    rmse = results.score("rmse")
    if rmse and np.isnan(rmse["lower"]):
        yield "No intervals of scores: fewer than 8 glaciers or years to resample."
    if "random" in results.schemes:
        yield (
            "The scheme random leaves rows of one glacier on both sides: no fair test, only shown beside the others."
        )
    if results.leaks is not None and len(results.leaks):
        kinds = ", ".join(f"{k} ({n} rows)" for k, n in results.leaks.groupby("kind")["count"].sum().items())
        yield f"What stands on both sides of folds: {kinds}; see folds/leaks.csv."
    if results.stale:
        yield f"Not current with the configuration: {', '.join(results.stale)}; run again to renew."
