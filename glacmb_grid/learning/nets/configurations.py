"""Configurations of networks: the alternatives of the settings, and how those are chosen that start from a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np

from glacmb_grid.learning.nets.index import WEATHER
from glacmb_grid.learning.search import Candidate
from glacmb_grid.learning.table import Floats, Integers
from glacmb_grid.settings import FeedForward, Hybrid, Network


def configurations(
    settings: Network, recipes: int, levels: Sequence[str], seed: int, *, held: bool = False
) -> list[Candidate]:
    """The configurations to try: all combinations, or as many of them as the settings allow, drawn at random.

    `held`: whether there are constraints, whose weight is then one of the alternatives.
    """
    names: tuple[str, ...] = ("widths", "learning_rate", "input_noise", "l1", "weighting")
    names += ("penalty", "bounds", "months") if isinstance(settings, Hybrid) else ("heteroscedastic",)
    names += ("geodetic_weight",) if held else ()
    others = product(beginnings(settings), range(recipes), levels, *(getattr(settings, n) for n in names))
    every: list[tuple[Any, ...]] = [c for c in others if c[0].get("frozen", 0) <= len(c[3])]
    if held:  # at year level a net gives the balance of years, which no rate of one glacier is a sum of
        every = [c for c in every if c[2] != "year" or c[-1] == 0]
    if len(every) > settings.configurations:
        drawn = np.random.default_rng(seed).choice(len(every), settings.configurations, replace=False)
        every = [every[i] for i in np.sort(drawn)]
    return [
        Candidate(recipe, {"level": level, "widths": list(widths), **dict(zip(names[1:], rest, strict=True)), **first})
        for first, recipe, level, widths, *rest in every
    ]


def beginnings(settings: Network) -> list[dict[str, Any]]:
    """What nets may start from; nothing is said of it where there is no pre-training."""
    if not isinstance(settings, FeedForward) or settings.pretrain == ["none"]:
        return [{}]
    return [{"pretrain": p, "frozen": f} for p in settings.pretrain for f in settings.frozen if p != "none" or not f]


def parameter_count(features: int, hyper: dict[str, Any], outputs: int) -> int:
    """Number of parameters of a net of a configuration."""
    count: int = sum((a + 1) * b for a, b in pairwise([features, *hyper["widths"], outputs]))
    return count + outputs * WEATHER * bool(hyper.get("months"))


def chosen_with_epochs(loss: Floats, scale: Floats, count: Floats) -> tuple[Integers, Floats, Integers]:
    """The candidate of least error on the inner splits, and the number of epochs for all of them, for every block.

    Nets that start from the index are best after few epochs or many: the best of every split would flatter them. Where
    the splits cannot tell, nets stay near the index: the epochs are the fewest within one standard error of the best.

    Parameters
    ----------
    loss : float64 array, (block, candidate, inner, epoch)
        On the scored rows of every split; NaN after the end of a training, where the last value is taken.
    scale, count : float64 arrays, (block, candidate, inner)
        Of the target, and how many observations are scored.

    Returns
    -------
    choice, error, epochs
        Errors at the best common number of epochs, (block, candidate), m w.e., and the epochs to train, (block,).
    """
    filled = loss.copy()
    for epoch in range(1, filled.shape[-1]):
        ended = np.isnan(filled[..., epoch])
        filled[..., epoch][ended] = filled[..., epoch - 1][ended]
    square = np.nansum(filled * (scale**2 * count)[..., None], axis=2) / count.sum(axis=2)[..., None]
    best = square.argmin(axis=-1)
    error = np.sqrt(square.min(axis=-1))
    choice = error.argmin(axis=1)
    at = np.arange(len(choice))
    mine = np.nan_to_num(filled[at, choice]) * (scale**2 * count)[at, choice, :, None]  # (block, inner, epoch)
    worse = mine - np.take_along_axis(mine, best[at, choice][:, None, None], -1)
    splits = np.maximum((count[at, choice] > 0).sum(axis=1), 2)[:, None]
    mean = worse.sum(axis=1) / splits
    spread = np.sqrt(np.maximum((worse**2).sum(axis=1) / splits - mean**2, 0) / (splits - 1))
    return choice, error, (mean <= spread).argmax(axis=1) + 1
