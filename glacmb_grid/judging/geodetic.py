"""The stage that holds the product against geodetic rates, and says which of them it was learnt from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.judging.fits import Fits, fitted_in
from glacmb_grid.judging.plan import PRODUCT_SCHEME
from glacmb_grid.products.geodetic import compare_geodetic, score_geodetic
from glacmb_grid.report.scores import geodetic_line
from glacmb_grid.stores.work import Work
from glacmb_grid.upscaling.predict import withheld


def compare_with_product(
    work: Work,
    *,
    product: xr.Dataset,
    rates: pd.DataFrame,
    unmatched: pd.DataFrame,
    samples: xr.Dataset | None = None,
    folds: Folds | None = None,
    fits: Fits | None = None,
) -> dict[str, Any]:
    """The product's mean balances over the periods of geodetic rates, their scores, and the rates left out.

    `samples`, `folds` and `fits` are those of the product, where it may have learnt from rates.
    """
    learnt = None
    if samples is not None and folds is not None and fits is not None:
        learnt = rates_learnt([p.load() for p in fitted_in(fits, PRODUCT_SCHEME).values()], samples, folds)
    compared, outside = compare_geodetic(product, rates, learnt)
    left_out = pd.concat([unmatched, outside[unmatched.columns]])
    scores = score_geodetic(compared)
    work.say(geodetic_line(scores))
    if len(left_out):
        counts = left_out["reason"].str.replace(r"(?<!\S)(?<!RGI )[^ `]*\d[^ ]*", "...", regex=True).value_counts()
        work.say(f"not compared: {'; '.join(f'{n} rates: {why}' for why, n in counts.head(4).items())}")
    table = compared.reset_coords().to_dataframe().reset_index(drop=True)
    first = ["glacier", "site", "link", "begin", "end"]
    table = table[[*first, *(n for n in table.columns if n not in first)]]
    dates = {n: table[n].dt.strftime("%Y-%m-%d") for n in ("begin", "end")}
    return {"compared": compared, "rates": table.assign(**dates), "scores": scores, "left_out": left_out}


def rates_learnt(parameters: Iterable[xr.Dataset], samples: xr.Dataset, folds: Folds) -> pd.DataFrame:
    """The rates that fits which predict their glacier were held to: `glacier`, `begin`, `end`.

    Those of a measured glacier are none in a product, as no fit that predicts it saw its rates.
    """
    found = [pd.DataFrame({n: [] for n in ("glacier", "begin", "end")})]
    for one in parameters:
        if "rates_fitted" in one:
            names = [str(c).rsplit(":", 2) for c in one["constraint"].values]
            table = pd.DataFrame(names, columns=["glacier", "begin", "end"])
            glaciers, number = np.unique(table["glacier"].to_numpy(object), return_inverse=True)
            may_predict = withheld(glaciers, samples, folds)[number]
            held = np.asarray((one["rates_fitted"].values.T & may_predict).any(axis=1))
            found.append(table[held])
    return pd.concat(found).drop_duplicates()
