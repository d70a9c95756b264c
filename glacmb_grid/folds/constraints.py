"""Which constraints a fold may learn from: none that tells of what the fold withholds.

A geodetic rate is withheld with the glacier (group, block, region) that is scored, and with every year that is scored
and that its period contains, if only by a day. So it is in the inner splits of a fold too, each of which withholds what
all folds of its tuning block withhold, and what it scores itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
import xarray as xr

from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.rows import BLANK, Bools, Codes, Floats, groups_of, texts
from glacmb_grid.folds.space import nearest_km, unit_vectors

OWN = "logo_own_geodetic"
"""The scheme in which a scored glacier keeps its own rate, as in most published products."""
_BY_YEAR = ("loyo",)
_BY_GLACIER = ("logo", "domain", "blocks", "leave_region_out")
_BY_GLACIER_YEAR = ("random",)  # any other scheme withholds by glacier and by year


@dataclass(frozen=True)
class Allowed:
    """The constraints that a fit may learn from.

    Attributes
    ----------
    fit : bool array, (fold, constraint)
    inner : bool array, (fold, inner, constraint)
    """

    fit: Bools
    inner: Bools


def allowed_constraints(folds: Folds, samples: xr.Dataset, constraints: xr.Dataset) -> Allowed:
    """The constraints that each fold and each inner split may learn from.

    Parameters
    ----------
    folds : Folds
    samples : xr.Dataset
        Of which the folds are.
    constraints : xr.Dataset
        From `build_constraints`; optional coordinates `group` and `region` over `constraint`.

    Returns
    -------
    Allowed

    Notes
    -----
    Schemes that leave glaciers out withhold the rates of scored glaciers and groups, and of measured glaciers of which
    nothing is fitted (those in a buffer, and locked ones). `blocks` withholds those within the buffer around the scored
    glaciers too, and `leave_region_out` those of the region; a glacier without observations, or of unknown region, goes
    with the nearest measured one. `loyo` withholds every rate whose period contains a scored year; `both_out` both.
    `random` withholds rates of a scored glacier whose period contains the scored year. `logo_own_geodetic` withholds
    those of locked glaciers alone. No value of an observation or of a rate decides.
    """
    known = _Known(samples, constraints)
    every = zip(folds.scheme.tolist(), folds.fit, folds.score, folds.buffer_km.tolist(), strict=True)
    fit = np.array([known.allowed(*one) for one in every])
    inner = np.empty((len(folds), folds.inner, len(known.glacier)), bool)
    for block in folds.blocks:
        first = int(block[0])
        scheme, buffer_km = str(folds.scheme[first]), float(folds.buffer_km[first])
        shared = fit[block].all(axis=0)
        splits = zip(folds.inner_fit[first], folds.inner_score[first], strict=True)
        rules = [known.allowed(scheme, *masks, buffer_km) for masks in splits]
        inner[block] = np.array(rules) & shared
    return Allowed(fit, inner)


class _Known:
    """What is known of samples and constraints: glaciers and groups as numbers, years, places."""

    def __init__(self, samples: xr.Dataset, constraints: xr.Dataset) -> None:
        own, theirs = (texts(ds["glacier"].values) for ds in (samples, constraints))
        codes = pd.factorize(np.concatenate([own, theirs]))[0].astype(np.int64)
        self.sample_glacier, self.glacier = codes[: len(own)], codes[len(own) :]
        groups = groups_of(samples)
        stated = _optional(constraints, "group")
        codes = pd.factorize(np.concatenate([groups, np.where(stated == "", theirs, stated)]))[0].astype(np.int64)
        self.sample_group, self.group = codes[: len(own)], codes[len(own) :]
        regions = np.concatenate([_optional(ds, "region") for ds in (samples, constraints)])
        codes = np.where(regions == "", -1, pd.factorize(regions)[0]).astype(np.int64)
        self.sample_region, self.region = codes[: len(own)], codes[len(own) :]
        self.measured = np.isin(self.glacier, self.sample_glacier)
        self.sample_year = samples["year"].values.astype(np.int64)
        self.years, number = np.unique(constraints["row_year"].values.astype(np.int64), return_inverse=True)
        row, taken = constraints["operator_row"].values, constraints["operator_weight"].values > 0
        entries = constraints["operator_constraint"].values[taken], number.reshape(-1)[row[taken]]
        shape = (len(theirs), len(self.years))
        self.contains = sp.csr_array((np.ones(taken.sum()), entries), shape)  # (constraint, year)
        self.sample_xyz = unit_vectors(samples, whole=False)
        unknown = np.full((len(theirs), 3), np.nan)
        self.xyz = unit_vectors(constraints, whole=False) if "longitude" in constraints.coords else unknown

    def allowed(self, scheme: str, fit: Bools, score: Bools, buffer_km: float) -> Bools:
        """The constraints that a fit on some samples, scored on others, may learn from, (constraint,)."""
        if scheme == OWN:
            return ~self._unfitted(fit | score)
        if scheme in _BY_GLACIER_YEAR:
            return ~(self._unfitted(fit | score) | self._of_scored_glacier_years(score))
        if scheme in _BY_YEAR:
            withheld = self._unfitted(fit | score)
        else:
            withheld = self._unfitted(fit) | self._of_scored_glaciers(score)
        if scheme not in _BY_GLACIER:
            withheld |= self._over_years(self.sample_year[score])
        if scheme == "blocks":
            withheld |= self._near(fit, score, buffer_km)
        if scheme == "leave_region_out":
            withheld |= self._in_regions(fit, score)
        return ~withheld

    def _unfitted(self, fit: Bools) -> Bools:
        """Of measured glaciers of which a fit has no observation; all rows of a locked glacier are in no mask."""
        return self.measured & ~np.isin(self.glacier, self.sample_glacier[fit])

    def _of_scored_glaciers(self, score: Bools) -> Bools:
        group = self.sample_group[score]
        of_group = self.sample_glacier[np.isin(self.sample_group, group)]
        return np.isin(self.group, group) | np.isin(self.glacier, np.append(of_group, self.sample_glacier[score]))

    def _over_years(self, years: Codes) -> Bools:
        return np.asarray(self.contains @ np.isin(self.years, years).astype(np.float64) > 0)

    def _of_scored_glacier_years(self, score: Bools) -> Bools:
        out = np.zeros(len(self.glacier), bool)
        for year in np.unique(self.sample_year[score]):
            scored = self.sample_glacier[score & (self.sample_year == year)]
            out |= np.isin(self.glacier, scored) & self._over_years(np.array([year]))
        return out

    def _near(self, fit: Bools, score: Bools, buffer_km: float) -> Bools:
        """Within the buffer around scored glaciers, or nearest to a glacier that is not fitted on."""
        to_scored = self._distance(score)
        return (to_scored <= buffer_km) | self._with_nearest(~fit, fit)

    def _in_regions(self, fit: Bools, score: Bools) -> Bools:
        return np.where(
            self.region >= 0, np.isin(self.region, self.sample_region[score]), self._with_nearest(~fit, fit)
        )

    def _with_nearest(self, withheld: Bools, fit: Bools) -> Bools:
        """Of unmeasured glaciers whose nearest measured one is withheld; those of unknown place are withheld too."""
        if not withheld.any():
            return np.zeros(len(self.glacier), bool)
        nearer = ~(self._distance(fit) < self._distance(withheld))
        return ~self.measured & nearer

    def _distance(self, which: Bools) -> Floats:
        """From every constraint to the nearest of some samples, km; NaN where a place is unknown."""
        out = np.full(len(self.glacier), np.nan)
        mine, theirs = np.isfinite(self.xyz[:, 0]), which & np.isfinite(self.sample_xyz[:, 0])
        if mine.any() and theirs.any():
            out[mine] = nearest_km(self.xyz[mine], self.sample_xyz[theirs])
        return out


def _optional(ds: xr.Dataset, name: str) -> np.ndarray:
    """An optional coordinate as text, empty where it is absent or blank."""
    size = ds["glacier"].size
    if name not in ds.coords:
        return np.full(size, "", dtype="<U1")
    values = texts(ds[name].values)
    return np.where(np.isin(values, BLANK), "", values)
