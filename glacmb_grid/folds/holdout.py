"""Choice of the test glaciers that are locked before anything is fitted."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.folds.rows import Bools, groups_of

WHERE = "validation.holdout"


def choose_holdout(samples: xr.Dataset, holdout: Sequence[str] | float, seed: int = 1) -> Bools:
    """Rows of the test glaciers, (sample), chosen by name only, never by balance or predictor.

    Parameters
    ----------
    samples : xr.Dataset
        With `glacier` and, optionally, `group` over `sample`.
    holdout : sequence of str, or float
        Ids of glaciers or groups, or the share of groups (between 0 and 1) to draw, at least one. Choosing a glacier
        locks its whole group, and all glaciers of that group.
    seed : int
        Of the draw.

    Returns
    -------
    bool array, (sample)

    Raises
    ------
    InputError
        If an id is unknown, the share is not between 0 and 1, or nothing is left to learn from.
    """
    glacier, group = samples["glacier"].values.astype(str), groups_of(samples)
    groups = np.unique(group)
    if isinstance(holdout, int | float):
        if not 0 < holdout < 1:
            raise InputError(
                WHERE, expected="a share between 0 and 1", found=str(holdout), remedy="0.2 locks a fifth of the groups"
            )
        count = max(1, round(holdout * len(groups)))
        chosen = np.random.default_rng([seed, len(groups)]).permutation(groups)[:count]
        mask = np.isin(group, chosen)
    else:
        wanted = [str(h) for h in holdout]
        known = sorted({*groups.tolist(), *glacier.tolist()})
        unknown = [w for w in wanted if w not in known]
        if unknown or not wanted:
            near = [n for w in unknown for n in (_with_zeros(w, known) or difflib.get_close_matches(w, known, 1))]
            raise InputError(
                WHERE,
                expected="ids of glaciers (or groups) of the samples",
                found=listing(unknown) or "an empty list",
                remedy=(f"did you mean {listing(near)}?" if near else f"known are {listing(known, 5)}")
                + ("; write an identifier of digits in quotes" if any(w.isdigit() for w in unknown) else ""),
            )
        mask = np.isin(group, wanted) | np.isin(glacier, wanted)
    while (more := np.isin(group, group[mask]) | np.isin(glacier, glacier[mask])).sum() > mask.sum():
        mask = more
    if mask.all():
        raise InputError(
            WHERE,
            expected="glaciers left to learn from",
            found=f"all {len(np.unique(glacier))} locked: locking a glacier locks its whole group",
            remedy="lock fewer",
        )
    return np.asarray(mask)


def _with_zeros(wanted: str, known: Sequence[str]) -> list[str]:
    """Identifiers that differ from a number by their leading zeros, which a number loses."""
    return [n for n in known if wanted.isdigit() and n.lstrip("0") == wanted.lstrip("0")]
