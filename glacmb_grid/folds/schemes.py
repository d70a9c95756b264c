"""Folds of every scheme as masks over samples: rows to fit on, rows to score, and inner splits for tuning.

Rows in neither mask of a fold are withheld from it: in `both_out` the other rows of the scored groups and years, in
`blocks` the buffer, in every scheme the unscored rows of a scored glacier (and glacier-year). No mask depends on an
observed value or on a predictor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.folds.constraints import OWN
from glacmb_grid.folds.domain import reach_of_folds
from glacmb_grid.folds.inner import Kind, inner_masks, tuning_blocks
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.outer import OUTER, Asked, Outer
from glacmb_grid.folds.rows import BLANK, Bools, Rows, texts

WITHHELD: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "logo": frozenset({"glacier"}),
        "loyo": frozenset({"year"}),
        "both_out": frozenset({"glacier", "year"}),
        "blocks": frozenset({"glacier"}),
        "leave_region_out": frozenset({"glacier"}),
        "random": frozenset(),
        "domain": frozenset({"glacier"}),
        OWN: frozenset({"glacier"}),
    }
)
"""By scheme, what no fold fits on of an observation that it scores: its glacier, its year."""
SCHEMES = tuple(WITHHELD)
GROUPED = tuple(s for s in SCHEMES if s != "random")
PARTS = 30
"""Default limit on the number of folds of `logo`, `loyo` and `leave_region_out`."""
_BLOCK_NUMBERS = 1_000_000  # reserved for each scheme, so that tuning blocks of two schemes never share a number


def make_folds(
    samples: xr.Dataset,
    scheme: str,
    *,
    inner: int = 5,
    seed: int = 1,
    parts: int | None = None,
    blocks: int = 10,
    buffer_km: float | None = None,
    locked: Bools | None = None,
    targets: pd.DataFrame | None = None,
) -> Folds:
    """Outer and inner folds of a scheme.

    Parameters
    ----------
    samples : xr.Dataset
        With `glacier` and `year` over `sample`; optional `group` (left out by `logo`; default the glacier), `region`,
        `longitude`, `latitude` (degrees), and the user's own folds `fold_logo`, `fold_loyo`.
    scheme : {"logo", "loyo", "both_out", "blocks", "leave_region_out", "random", "domain", "logo_own_geodetic"}
        Leave one group out; leave one year out; predict every row by a fit without its group and without its year;
        leave out a spatial block and the groups within a buffer around it; leave out a region (rows of unknown
        region are neither fitted nor scored); glacier-years at random (never reported alone: `require_grouped`);
        leave out groups so that the distances between scored and fitted glaciers have the distribution of those
        between `targets` and measured glaciers; the folds of `logo`, in which a scored glacier keeps its geodetic rate.
    inner : int
        Number of inner splits of every fold.
    seed : int
        Of the random assignment of groups, years or glacier-years to folds, blocks and inner splits.
    parts : int, optional
        Largest number of folds (default PARTS). More groups (years, regions) than that are dealt whole to `parts`
        folds of nearly equal numbers of rows. `blocks` and `random` have at most FEW_PARTS. `both_out` has one fold
        for each pair of group and year up to EXACT_PAIRS pairs; beyond, one for each pair of a group part and a year
        part, with as many parts of each as keep folds x rows near FOLD_ROWS, between LEAST_SIDE and `parts`.
    blocks : int
        Largest number of tuning blocks. Folds of one `block` share inner splits of the rows that all of them fit on.
        With no more folds than blocks, each fold is a block. `both_out` has blocks of group part x year part, at most
        half of `blocks` (and SIDE_BLOCKS) a side.
    buffer_km : float, optional
        Groups with a member this close to the scored block are withheld too (`blocks` only). Default WIDEST_BUFFER,
        halved until every fold fits on at least half of the rows that it does not score.
    locked : bool array (sample), optional
        Rows of locked test glaciers; they are in no mask.
    targets : DataFrame, by glacier, optional
        The glaciers that are to be predicted, as `domain` needs them: `longitude`, `latitude` (degrees), optional
        `weight` (default one a glacier). Outlines will do.

    Returns
    -------
    Folds
        `inner_fit` and `inner_score` lie inside `fit`, and are equal only in a fold fitted on a single glacier-year. No
        two schemes share numbers of tuning blocks.

    Raises
    ------
    InputError
        If the scheme leaves nothing to fit on, a coordinate is missing, a user's fold splits a group or year, or
        `domain` has no targets.

    Examples
    --------
    >>> import numpy as np, xarray as xr, glacmb_grid as gg
    >>> glacier, year = np.repeat(["a", "b"], 2), np.array([2001, 2002, 2001, 2002])
    >>> names = [f"{g}:{y}" for g, y in zip(glacier, year)]
    >>> samples = xr.Dataset(coords={"sample": names, "glacier": ("sample", glacier), "year": ("sample", year)})
    >>> folds = gg.make_folds(samples, "logo", inner=2)
    >>> for name, fit in zip(folds.name, folds.fit):
    ...     print(name, "is withheld from a fit on", *folds.sample[fit])
    a is withheld from a fit on b:2001 b:2002
    b is withheld from a fit on a:2001 a:2002
    """
    if missing := [n for n in ("sample", "glacier", "year") if n not in samples.variables]:
        raise InputError(
            "samples",
            expected="coordinates sample, glacier and year",
            found=f"no {listing(missing)}",
            remedy="pass what `build_samples` or `read_samples_table` gives",
        )
    if scheme not in SCHEMES:
        raise ValueError(f"unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}")
    for name, count in (("inner", inner), ("blocks", blocks), ("parts", parts)):
        if count is not None and count < 1:
            raise InputError(f"make_folds: {name}", expected="at least 1", found=f"{count}", remedy="correct it")
    size = samples.sizes["sample"]
    free = np.ones(size, bool) if locked is None else ~np.asarray(locked, bool)
    if scheme == "leave_region_out" and "region" in samples.coords:
        free &= ~np.isin(texts(samples["region"].values), BLANK)
    if not free.any():
        raise _nothing_left(scheme, f"no observation that it can use among {size}")
    rows = Rows.of(samples, free)
    rng = _drawing(seed, scheme)
    outer = OUTER[scheme](rows, rng, Asked(parts or PARTS, buffer_km, targets))
    _require_fit(outer, scheme, alone=len(rows.names["group"]) == 1 and len(rows.names["year"]) > 1)
    dealt = tuning_blocks(outer, blocks, rng)
    reach = reach_of_folds(rows, outer.fit, outer.score) if scheme == "domain" else None
    kind = Kind(scheme, outer.buffer_km, reach)
    block, inner_fit, inner_score = inner_masks(outer.fit, dealt, rows, kind, inner, rng)
    return Folds(
        fit=_spread(outer.fit, free),
        score=_spread(outer.score, free),
        inner_fit=_spread(inner_fit, free),
        inner_score=_spread(inner_score, free),
        name=np.array(outer.names),
        scheme=np.full(len(outer.names), scheme),
        block=block + SCHEMES.index(scheme) * _BLOCK_NUMBERS,
        buffer_km=np.full(len(outer.names), outer.buffer_km),
        sample=samples["sample"].values,
        wasserstein_km=np.full(len(outer.names), outer.wasserstein_km),
    )


def join_folds(folds: Sequence[Folds]) -> Folds:
    """Concatenate the folds of several schemes, so that a model fits them all at once; `scheme` (fold) identifies them.

    Tuning blocks keep their numbers; a part that shares a number with an earlier one is renumbered.

    Raises
    ------
    ValueError
        Where the parts are of other samples, or differ in the number of inner splits.
    """
    apart: list[Folds] = []
    last = -1
    for part in folds:
        if not np.array_equal(part.sample, folds[0].sample) or part.inner != folds[0].inner:
            raise ValueError(f"folds of the same samples and number of inner splits can be joined, not {list(folds)}")
        if any(np.isin(part.block, other.block).any() for other in apart):
            part = replace(part, block=part.block - part.block.min() + last + 1)
        apart.append(part)
        last = max(last, int(part.block.max()))
    joined = {f.name: np.concatenate([getattr(p, f.name) for p in apart]) for f in fields(Folds)}
    return Folds(**{**joined, "sample": folds[0].sample})


def of_scheme(folds: Folds, scheme: str) -> Folds:
    """Select the folds of one scheme."""
    return folds.take(folds.scheme == scheme)


def require_grouped(schemes: Iterable[str]) -> None:
    """Require that `random` comes with a scheme that leaves out groups, years, both or blocks.

    Raises
    ------
    InputError
    """
    schemes = list(schemes)
    if "random" in schemes and not set(schemes) & {"logo", "loyo", "both_out", "blocks", "domain"}:
        raise InputError(
            "validation.schemes",
            expected="random folds only together with folds that leave whole groups, years or blocks out",
            found=listing(schemes),
            remedy="add logo, loyo or both_out: random folds score rows of glaciers and years that were fitted on",
        )


def redo_inner(folds: Folds, samples: xr.Dataset, fit: Bools, *, seed: int = 1) -> Folds:
    """Folds of one scheme with fewer rows to fit on, and new inner splits of these rows.

    Parameters
    ----------
    folds : Folds
    samples : xr.Dataset
    fit : bool array, (fold, sample)
        A subset of the folds' `fit`.
    seed : int

    Returns
    -------
    Folds
        Features are learnt on the rows that are left, except in a fold that selects apart.
    """
    assert not (fit & ~folds.fit).any(), "a fold cannot fit on rows that it withholds"
    scheme = str(folds.scheme[0])
    free = np.asarray((folds.fit | folds.score).any(axis=0))
    rows, rng = Rows.of(samples, free), _drawing(seed, scheme)
    reach = reach_of_folds(rows, folds.fit[:, free], folds.score[:, free]) if scheme == "domain" else None
    kind = Kind(scheme, float(folds.buffer_km[0]), reach)
    block, *inner = inner_masks(fit[:, free], folds.block, rows, kind, folds.inner, rng)
    inner_fit, inner_score = (_spread(masks, free) for masks in inner)
    return replace(
        folds,
        fit=fit,
        select=np.where(folds.selects_apart[:, None], folds.select, fit),
        block=block + folds.block.min(),
        inner_fit=inner_fit,
        inner_score=inner_score,
    )


def _drawing(seed: int, scheme: str) -> np.random.Generator:
    """Draws of a scheme; `logo_own_geodetic` has the folds and inner splits of `logo`."""
    return np.random.default_rng([seed, SCHEMES.index("logo" if scheme == OWN else scheme)])


def _require_fit(outer: Outer, scheme: str, alone: bool) -> None:
    empty = np.flatnonzero(~outer.fit.any(axis=1))
    if len(empty):
        buffer = f" with all within {outer.buffer_km:g} km" if outer.buffer_km else ""
        raise _nothing_left(scheme, f"none when {outer.names[empty[0]]} is withheld{buffer}", alone=alone)


def _nothing_left(scheme: str, found: str, *, alone: bool = False) -> InputError:
    if alone and scheme not in ("loyo", "random"):
        return InputError(
            f"validation: {scheme}",
            expected="observations left to fit on in every fold: those of at least two glaciers (or groups)",
            found=found,
            remedy="one glacier alone is judged by its years, `validation: {schemes: [loyo]}` (in an audit "
            "`audit: {scheme: loyo}`); a product needs several (`product: false`)",
        )
    narrow = ", narrow `validation.buffer_km`" if scheme == "blocks" else ""
    return InputError(
        f"validation: {scheme}",
        expected="observations left to fit on in every fold",
        found=found,
        remedy=f"give observations of more glaciers and years{narrow}, or remove {scheme} from `validation.schemes`",
    )


def _spread(masks: Bools, free: Bools) -> Bools:
    """Expand masks of the free rows to masks of all rows."""
    if free.all():
        return masks
    out = np.zeros((*masks.shape[:-1], len(free)), bool)
    out[..., free] = masks
    return out
