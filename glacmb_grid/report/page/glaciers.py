"""The glaciers of a run as columns: where they are, their series, and what was observed of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from glacmb_grid.plot.maps import mean_balance, share_applicable
from glacmb_grid.plot.style import identifiers
from glacmb_grid.report.page.packing import Floats, along_a_path, as_text, pack_column, pack_series, pack_words
from glacmb_grid.report.results import Results

ONE_SIGMA = "one standard deviation"
LARGEST, SMALLEST = 22.0, 2.5  # diameter of a symbol, pixels


@dataclass(frozen=True)
class Glaciers:
    """Columns (glacier,) and series (glacier, year).

    Attributes
    ----------
    identifier, name : list of str
    longitude, latitude : array, degrees
        NaN where unknown.
    area : array, km2
        NaN where unknown.
    mean : array, m w.e.
        Mean annual balance.
    applicable : array
        Share of years within the area of applicability; NaN where unknown.
    year : list of int
    balance, half_width : array, (glacier, year), m w.e.
        `half_width` of the band; None without one.
    band : str
        What the band is: the 90 % prediction interval, or where no glacier has one, one standard deviation.
    observed : mapping
        By place of the glacier: year, balance and one standard deviation (m w.e., None if unknown) of its observations.
    of_product : bool
        Whether balances are the product's; else they are predictions by fits that had not seen the glacier.
    """

    identifier: list[str]
    name: list[str]
    longitude: Floats
    latitude: Floats
    area: Floats
    mean: Floats
    applicable: Floats
    year: list[int]
    balance: Floats
    half_width: Floats | None = None
    band: str = "90 % interval"
    observed: dict[int, list[tuple[int, float, float | None]]] = field(default_factory=dict)
    of_product: bool = True

    @property
    def placed(self) -> bool:
        """Whether any position is known."""
        return bool((np.isfinite(self.longitude) & np.isfinite(self.latitude)).any())

    @property
    def size(self) -> Floats:
        """Diameter of the symbols, pixels: their area is in proportion to that of the glacier."""
        known = np.isfinite(self.area)
        if not known.any():
            return np.full(len(self.area), 9.0)
        diameter = LARGEST * np.sqrt(np.where(known, self.area, 0) / self.area[known].max())
        return np.asarray(np.maximum(diameter, SMALLEST if len(self.area) > 5000 else 5.0))

    @property
    def ringed(self) -> bool:
        """Whether the map tells measured glaciers from others."""
        return self.of_product and bool(self.observed)

    @property
    def sized(self) -> bool:
        """Whether sizes of symbols say something."""
        return bool(np.isfinite(self.area).any())

    @property
    def first(self) -> int:
        """The glacier that is shown first: the one with most observations."""
        return max(self.observed, key=lambda i: len(self.observed[i]), default=0)


def glaciers_of(results: Results) -> Glaciers | None:
    """The glaciers of the product; without one, those that predictions were judged on; None without any."""
    if results.product is not None:
        return ordered(_of_product(results.product, results))
    predictions = results.evaluation.get("predictions")
    if predictions is None or results.samples is None:
        return None
    mine = predictions[(predictions["scheme"] == results.scheme) & (predictions["model"] == results.model)]
    return None if mine.empty else ordered(_of_predictions(mine, results.samples, results))


def ordered(glaciers: Glaciers) -> Glaciers:
    """The same glaciers, those that lie near each other one after the other."""
    order = along_a_path(glaciers.longitude, glaciers.latitude)
    place = np.argsort(order)
    names = ("longitude", "latitude", "area", "mean", "applicable", "balance")
    columns: dict[str, Any] = {n: getattr(glaciers, n)[order] for n in names}
    words: dict[str, Any] = {n: [getattr(glaciers, n)[i] for i in order] for n in ("identifier", "name")}
    width = None if glaciers.half_width is None else glaciers.half_width[order]
    observed = {int(place[i]): rows for i, rows in glaciers.observed.items()}
    return replace(glaciers, **columns, **words, half_width=width, observed=dict(sorted(observed.items())))


def _of_product(product: xr.Dataset, results: Results) -> Glaciers:
    balance = product["mass_balance"].transpose("glacier", "year").values.astype(np.float64)
    known = product.variables
    widths, band = _band(product, balance)
    ids = identifiers(product, "glacier")
    columns: dict[str, Any] = {n: product[n].values.astype(np.float64) for n in ("longitude", "latitude", "area")}
    shares = share_applicable(product) if "applicable" in known else np.full(len(ids), np.nan)
    return Glaciers(
        identifier=ids,
        name=[results.names.get(i, "") for i in ids],
        **columns,
        mean=mean_balance(product),
        applicable=shares,
        year=product["year"].values.astype(int).tolist(),
        balance=balance,
        half_width=widths,
        band=band,
        observed=_observed(results.samples, ids),
    )


def _band(product: xr.Dataset, balance: Floats) -> tuple[Floats | None, str]:
    """Half width of the band around balances, and what it is."""

    def values(name: str) -> Floats:
        return np.asarray(product[name].transpose("glacier", "year").values, np.float64)

    if "mass_balance_upper_90" in product.variables:
        half = values("mass_balance_upper_90") - balance
        if np.isfinite(half).any() or "mass_balance_uncertainty" not in product.variables:
            return half, "90 % interval"
    if "mass_balance_uncertainty" in product.variables:
        return values("mass_balance_uncertainty"), ONE_SIGMA
    return None, ""


def _of_predictions(table: pd.DataFrame, samples: xr.Dataset, results: Results) -> Glaciers:
    wide = table.assign(glacier=table["glacier"].astype(str)).pivot_table(
        index="glacier", columns="year", values="predicted", aggfunc="mean", sort=True
    )
    years = np.arange(int(wide.columns.min()), int(wide.columns.max()) + 1)
    wide = wide.reindex(columns=years)
    ids = [str(g) for g in wide.index]
    known = [n for n in ("longitude", "latitude", "area") if n in samples.coords]
    at = pd.Index(samples["glacier"].values.astype(str))
    rows = pd.DataFrame({n: samples[n].values.astype(np.float64) for n in known}, index=at)
    place = rows.groupby(level=0).first().reindex(ids)
    unknown = np.full(len(ids), np.nan)
    names = ("longitude", "latitude", "area")
    columns: dict[str, Any] = {n: place[n].to_numpy(np.float64) if n in place else unknown for n in names}
    observed = table.assign(glacier=table["glacier"].astype(str)).groupby("glacier")["observed"].mean().reindex(ids)
    return Glaciers(
        identifier=ids,
        name=[results.names.get(i, "") for i in ids],
        **columns,
        mean=observed.to_numpy(np.float64),
        applicable=unknown,
        year=years.tolist(),
        balance=wide.to_numpy(np.float64),
        observed=_observed(samples, ids),
        of_product=False,
    )


def _observed(samples: xr.Dataset | None, ids: list[str]) -> dict[int, list[tuple[int, float, float | None]]]:
    """Observations by place of the glacier, in order of years; those of other glaciers are no part of the page."""
    out: dict[int, list[tuple[int, float, float | None]]] = {}
    if samples is None:
        return out
    place = pd.Index(ids).get_indexer(pd.Index(samples["glacier"].values.astype(str)))
    value = samples["mass_balance"].values.astype(np.float64)
    sigma = samples["mass_balance_uncertainty"].values.astype(np.float64)
    for at, year, one, its in zip(place, samples["year"].values.astype(int), value, sigma, strict=True):
        if at >= 0 and np.isfinite(one):
            known = round(float(its), 3) if np.isfinite(its) else None
            out.setdefault(int(at), []).append((int(year), round(float(one), 3), known))
    return {at: sorted(rows, key=lambda r: r[0]) for at, rows in out.items()}


def packed(glaciers: Glaciers, *, budget: int) -> tuple[dict[str, str], str]:
    """All that the page's charts of glaciers read, as texts by name; and how balances are rounded, in words.

    Parameters
    ----------
    glaciers : Glaciers
    budget : int
        Characters that may be used altogether.
    """
    columns: dict[str, npt.ArrayLike] = {
        n: getattr(glaciers, n) for n in ("longitude", "latitude", "area", "mean", "applicable", "size")
    }
    texts = {n: pack_column(v) for n, v in columns.items()}
    texts |= {"identifier": pack_words(glaciers.identifier), "name": pack_words(glaciers.name)}
    facts: dict[str, Any] = {
        "year": glaciers.year,
        "observed": glaciers.observed,
        "first": glaciers.first,
        "of_product": glaciers.of_product,
    }
    left = budget - sum(map(len, texts.values())) - len(json.dumps(facts))
    series, decoding = pack_series(glaciers.balance, glaciers.half_width, budget=left)
    texts |= series
    texts["facts"] = as_text(json.dumps({**facts, "series": decoding}).encode("utf-8"))
    widths = f", widths of intervals up to {decoding['half_step']} cm" if "half_step" in decoding else ""
    return texts, f"Series of glaciers are rounded to {decoding['step']} cm{widths}."
