"""Validation protocols as masks: the nested one, and deliberately leaky ones.

A leak changes masks only. The same code fits and scores, so the difference in the scores is due to the leak.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from glacmb_grid.settings import Protocol


def leaky(folds: xr.Dataset, protocol: Protocol, locked: np.ndarray | None = None) -> xr.Dataset:
    """Add the leaks of a protocol to folds.

    Parameters
    ----------
    folds : xr.Dataset
        From `make_folds`.
    protocol : Protocol
        `selection` adds `select` (fold, sample): all rows. `tuning` makes the scored rows the only inner split.
        `early_stopping` adds `stop` (fold, sample): the scored rows.
    locked : bool array, (sample,), optional
        Rows of locked test glaciers, which no protocol may use.

    Returns
    -------
    xr.Dataset
        Unchanged if the protocol leaks nothing.
    """
    if protocol.selection:
        every = np.ones(folds["fit"].shape, bool) if locked is None else np.broadcast_to(~locked, folds["fit"].shape)
        folds = folds.assign(select=(("fold", "sample"), every.copy()))
    if protocol.tuning:
        count = folds.sizes["inner"]
        dims = ("fold", "inner", "sample")
        folds = folds.assign(
            inner_fit=(dims, np.repeat(folds["fit"].values[:, None], count, axis=1)),
            inner_score=(dims, np.repeat(folds["score"].values[:, None], count, axis=1)),
        ).assign_coords(block=("fold", np.arange(folds.sizes["fold"])))
    if protocol.early_stopping:
        folds = folds.assign(stop=(("fold", "sample"), folds["score"].values))
    return folds


def name_of(protocol: Protocol) -> str:
    """`nested`, or the list of leaks."""
    leaks = [n for n in ("selection", "tuning", "early_stopping") if getattr(protocol, n)]
    return "leaked " + ", ".join(leaks).replace("_", " ") if leaks else "nested"
