"""What was run, the answer, and how good it is: three sentences."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from glacmb_grid.errors import listing
from glacmb_grid.report.page.tables import counted, region_names
from glacmb_grid.report.results import Results
from glacmb_grid.report.scores import RIVALS_IN_WORDS
from glacmb_grid.validation.scores import unbeaten_rivals
from glacmb_grid.vocabulary import BAND_LEVEL


def sentences(results: Results) -> list[str]:
    """Up to three sentences; what the run has not made is left out."""
    return [s for s in (_what(results), _answer(results), _how_good(results)) if s]


def _what(results: Results) -> str:
    samples = results.samples
    if samples is None:
        return ""
    years = samples["year"].values.astype(int)
    glaciers = len(np.unique(samples["glacier"].values.astype(str)))
    made_up = " of a synthetic region" if results.synthetic else ""
    span = f"from {years.min()} to {years.max()}"
    learnt = f"{samples.sizes['sample']:,} annual balances of {glaciers:,} glaciers{made_up} {span}"
    if results.product is not None:
        product = results.product
        span = f"{int(product['year'][0])} to {int(product['year'][-1])}"
        return (
            f"The model {results.model} learnt from {learnt} and gives the annual mass balance of "
            f"{product.sizes['glacier']:,} glaciers in the hydrological years {span}."
        )
    scores = results.evaluation.get("scores")
    if scores is None:
        return f"There are {learnt}; no model has been judged yet."
    models = list(dict.fromkeys(scores["model"].astype(str)))
    return f"{counted(len(models), 'model')} ({listing(models, 12)}) learnt from {learnt} and were judged on them."


def _answer(results: Results) -> str:
    regional = results.regional
    if regional is None or not regional.sizes["region"] or not regional.sizes["year"]:
        return ""
    if regional.sizes["region"] == 1:
        where = region_names(regional)[0]
        return _of_region(regional.isel(region=0), where, correlated_as(results), synthetic=results.synthetic)
    total = float(regional["mass_change_gt"].sum())
    which = f"The {'synthetic ' if results.synthetic else ''}glaciers of this run"
    said = f"{which} in {counted(regional.sizes['region'], 'region')} {_lost(total)} {abs(total):,.1f} Gt in all"
    return f"{said}; every region with its uncertainty is below."


def correlated_as(results: Results) -> str:
    """Where it is known from how errors are correlated."""
    product = results.product
    said = "" if product is None else str(product.attrs.get("error_correlation", ""))
    published = bool(said) and json.loads(said)["source"] != "estimated"
    return "as published for other glaciers" if published else "as estimated"


def why_no_interval(product: xr.Dataset) -> str:
    """Why no glacier has a 90 % interval."""
    said = str(product.attrs.get("interval_90", ""))
    return said.removeprefix("not available: ") or "there is no 90 % interval"


def _of_region(one: xr.Dataset, where: str, correlated: str, *, synthetic: bool) -> str:
    years, half = one.sizes["year"], float(ndtri(0.5 + BAND_LEVEL / 2))
    last = one.isel(year=-1)
    values = {}
    for name, divisor in (("cumulative_mass_balance", years), ("cumulative_mass_change_gt", 1)):
        value, sigma = float(last[name]) / divisor, float(last[f"{name}_uncertainty"]) / divisor
        values[name] = value, half * sigma
    (rate, its), (gigatonnes, more) = values.values()
    made_up = "synthetic " if synthetic else ""
    whole = where.endswith("all glaciers")
    glaciers = (
        f"All {made_up}glaciers together"
        if whole
        else f"The {int(last['glaciers_covered']):,} {made_up}glaciers of this run in {where}"
    )
    if not math.isfinite(rate) or not math.isfinite(gigatonnes):
        return f"Balances of {where} are not complete: see the series."
    return (
        f"{glaciers} {_lost(rate)} {abs(rate):.2f} ± {its:.2f} m w.e. a year, {abs(gigatonnes):,.3g} ± "
        f"{more:,.2g} Gt in {years} years ({BAND_LEVEL:.0%} bands, errors correlated {correlated})."
    )


def _lost(value: float) -> str:
    return "lost" if value < 0 else "gained"


def _how_good(results: Results) -> str:
    rmse, r2 = results.score("rmse"), results.score("r2")
    if not rmse:
        return ""
    interval = "" if math.isnan(rmse["lower"]) else f" [{rmse['lower']:.2f}, {rmse['upper']:.2f}]"
    where = "On glaciers that no fit had seen" if results.scheme == "logo" else f"In the scheme {results.scheme}"
    first = f"{where}, {results.model} errs by {rmse['value']:.2f}{interval} m w.e. (RMSE; R² {r2['value']:.2f})"
    return f"{first}{_verdicts(results)}."


def _verdicts(results: Results) -> str:
    table = results.evaluation.get("comparisons", pd.DataFrame())
    if table.empty:
        return ""
    mine = table[(table["scheme"] == results.scheme) & (table["metric"] == "rmse") & (table["model"] == results.model)]
    names = {v: mine.loc[mine["verdict"] == v, "baseline"].astype(str).tolist() for v in ("better", "worse")}
    unbeaten = unbeaten_rivals(mine).get((results.scheme, results.model), [])
    open_ = mine.loc[mine["verdict"] == "undecided", "baseline"].astype(str)
    open_ = [n for n in open_ if n not in unbeaten]
    if unbeaten:
        lower = f"its RMSE is lower than that of {listing(names['better'])}, but " if names["better"] else ""
        rivals = listing([f"{RIVALS_IN_WORDS[n]} ({n})" for n in unbeaten])
        said = [f"{lower}it is not shown to beat {rivals}, so it is not called better than any other model"]
    else:
        said = [f"it beats {listing(names['better'])}"] if names["better"] else []
    said += [f"it is beaten by {listing(names['worse'])}"] if names["worse"] else []
    said += [f"against {listing(open_)} nothing is established"] if open_ else []
    return f"; {'; '.join(said)}" if said else ""
