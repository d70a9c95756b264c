"""The stage that holds the product against geodetic rates, from which nothing is learnt."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr

from glacmb_grid.products.geodetic import compare_geodetic, score_geodetic
from glacmb_grid.report.scores import geodetic_line
from glacmb_grid.stores.work import Work


def compare_with_product(
    work: Work, *, product: xr.Dataset, rates: pd.DataFrame, unmatched: pd.DataFrame
) -> dict[str, Any]:
    """The product's mean balances over the periods of geodetic rates, their scores, and the rates left out."""
    compared, outside = compare_geodetic(product, rates)
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
