"""Folds as masks over samples, with all that is known of each fold."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.folds.rows import Bools, Codes, Floats, Texts
from glacmb_grid.schemas import FOLDS, check

_ROWS = ("fold", "sample")
_SPLITS = ("fold", "inner", "sample")
_MASKS = {"fit": _ROWS, "score": _ROWS, "inner_fit": _SPLITS, "inner_score": _SPLITS, "select": _ROWS, "stop": _ROWS}
_LABELS: dict[str, type] = {
    "name": str,
    "scheme": str,
    "block": np.int64,
    "buffer_km": np.float64,
    "wasserstein_km": np.float64,
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Folds:
    """Folds of one or several schemes.

    Rows that a fold neither fits on nor scores are withheld from it. The arrays cannot be written to;
    `dataclasses.replace` gives folds with others.

    Attributes
    ----------
    fit, score : bool arrays, (fold, sample)
        Rows that a fold fits on, and rows that it scores.
    inner_fit, inner_score : bool arrays, (fold, inner, sample)
        The same for the inner splits, on which a fold is tuned: disjoint, or equal where there is too little to split.
        `inner_fit` lies inside `fit`, and so does `inner_score`, unless a protocol tunes on rows of `score`. Folds of
        one block have the same inner splits.
    select : bool array, (fold, sample)
        Rows that features are learnt on, by default those of `fit`. See `selected` for the inner splits.
    stop : bool array, (fold, sample)
        Rows on which the final fit stops early, by default none. In a fold without any, the settings of a model decide
        how its fit ends.
    name : str array, (fold,)
        What a fold withholds.
    scheme : str array, (fold,)
    block : int64 array, (fold,)
        Tuning block, unique over schemes.
    buffer_km : float64 array, (fold,), km
        Buffer around a scored spatial block, 0 in other schemes.
    sample : array, (sample,)
        Ids.
    wasserstein_km : float64 array, (fold,), km
        Of the scheme `domain`: how far the distances between scored and fitted glaciers are from those between
        predicted and measured ones, over all of its folds. NaN in other schemes.

    Raises
    ------
    ValueError
        Where a shape, a type or the inner splits are not as stated above.

    Examples
    --------
    >>> import xarray as xr, glacmb_grid as gg
    >>> known = {"sample": range(4), "glacier": ("sample", list("aabb")), "year": ("sample", [2001, 2002] * 2)}
    >>> folds = gg.make_folds(xr.Dataset(coords=known), "logo")
    >>> folds
    <Folds: 2 of logo; 5 inner splits, 2 tuning blocks, 4 samples>
    >>> folds.take([1]).name.tolist(), folds.score.sum(axis=1).tolist()
    (['b'], [2, 2])
    """

    fit: Bools
    score: Bools
    inner_fit: Bools
    inner_score: Bools
    name: Texts
    scheme: Texts
    block: Codes
    buffer_km: Floats
    sample: npt.NDArray[Any]
    select: Bools = None  # type: ignore[assignment]  # filled in below, as `stop` is
    stop: Bools = None  # type: ignore[assignment]
    wasserstein_km: Floats = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        given["select"] = given["fit"] if given["select"] is None else given["select"]
        given["stop"] = np.zeros(np.shape(given["fit"]), bool) if given["stop"] is None else given["stop"]
        if given["wasserstein_km"] is None:
            given["wasserstein_km"] = np.full(np.shape(given["name"]), np.nan)
        for name, value in given.items():
            array = np.asarray(value, _LABELS.get(name)).view()
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        self._require_shapes()
        self._require_splits()

    def _require_shapes(self) -> None:
        inner = self.inner_fit.shape[1] if self.inner_fit.ndim > 1 else 0
        sizes = {"fold": self.name.size, "inner": inner, "sample": self.sample.size}
        for name, dims in {**_MASKS, **dict.fromkeys(_LABELS, ("fold",)), "sample": ("sample",)}.items():
            array, shape = getattr(self, name), tuple(sizes[d] for d in dims)
            if array.shape != shape:
                raise ValueError(f"folds: {name!r} has the shape {array.shape}, expected ({', '.join(dims)}), {shape}")
            if name in _MASKS and array.dtype != bool:
                raise ValueError(f"folds: {name!r} holds {array.dtype}, expected bool")

    def _require_splits(self) -> None:
        fit, both = self.fit[:, None], self.inner_fit & self.inner_score
        whole = (self.inner_fit == self.inner_score).all(axis=2, keepdims=True)
        first, number = self._first_and_number
        other = [(a != a[first][number]).any(axis=(1, 2)) for a in (self.inner_fit, self.inner_score)]
        wrong = {
            "an inner split fits on rows that its fold does not fit on": (self.inner_fit & ~fit).any(axis=(1, 2)),
            "an inner split scores rows that its fold neither fits on nor scores": (
                self.inner_score & ~(fit | self.score[:, None])
            ).any(axis=(1, 2)),
            "an inner split scores some of the rows that it fits on": (both & ~whole).any(axis=(1, 2)),
            "folds of one block have different inner splits": np.logical_or(*other),
        }
        for told, folds in wrong.items():
            if folds.any():
                raise ValueError(f"folds: {told}: {int(folds.sum())} of {len(self)}, first {self.name[folds][0]!s}")

    def __len__(self) -> int:
        return len(self.name)

    @property
    def inner(self) -> int:
        """Number of inner splits of every fold."""
        return int(self.inner_fit.shape[1])

    @cached_property
    def _first_and_number(self) -> tuple[Codes, Codes]:
        _, first, number = np.unique(self.block, return_index=True, return_inverse=True)
        return first.astype(np.int64), number.astype(np.int64)

    @property
    def blocks(self) -> list[Codes]:
        """Positions of the folds of every tuning block, in ascending order of `block`."""
        first, number = self._first_and_number
        return [np.flatnonzero(number == b) for b in range(len(first))]

    @property
    def first(self) -> list[int]:
        """Position of the first fold of every tuning block."""
        return [int(f) for f in self._first_and_number[0]]

    def by_fold(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What was found for every block, (block, ...), for every fold, (fold, ...)."""
        return np.asarray(values[self._first_and_number[1]])

    @property
    def tuned(self) -> Bools:
        """Rows in any inner split, (fold, sample)."""
        return np.asarray((self.inner_fit | self.inner_score).any(axis=1))

    @property
    def seen(self) -> Bools:
        """Rows that anything in a fold looks at, its search and what a protocol leaks included, (fold, sample)."""
        return self.fit | self.tuned | self.select | self.stop

    @property
    def selects_apart(self) -> Bools:
        """Whether a fold learns its features on other rows than it fits on, (fold,)."""
        return np.asarray((self.select != self.fit).any(axis=1))

    def selected(self, fold: int, seen: Bools) -> Bools:
        """Rows that features are learnt on, (sample,), where `seen` of the rows of a fold are fitted on.

        These are the seen rows themselves, in an inner split as well, unless the fold selects apart: then `select`.
        """
        return self.select[fold] if (self.select[fold] != self.fit[fold]).any() else seen

    def take(self, which: npt.ArrayLike) -> Folds:
        """Some of the folds, by position or by a mask, with the numbers of their blocks."""
        place = np.arange(len(self))[np.asarray(which)]
        names = [f.name for f in fields(self) if f.name != "sample"]
        return replace(self, **{n: getattr(self, n)[place] for n in names})

    def to_dataset(self) -> xr.Dataset:
        """The form in which folds are stored: masks as variables, the rest as coordinates, `name` as `fold`.

        `select`, `stop` and `wasserstein_km` are among the variables only where they are not the default.
        """
        default = {"select": not self.selects_apart.any(), "stop": not self.stop.any()}
        masks = {n: (dims, getattr(self, n)) for n, dims in _MASKS.items() if not default.get(n)}
        matched = ["wasserstein_km"] if np.isfinite(self.wasserstein_km).any() else []
        labels = {n: ("fold", getattr(self, n)) for n in ("block", "buffer_km", *matched)}
        texts = {"fold": self.name.astype(object), "scheme": ("fold", self.scheme.astype(object))}
        return xr.Dataset(masks, coords={**texts, **labels, "sample": self.sample})

    @classmethod
    def from_dataset(cls, ds: xr.Dataset) -> Folds:
        """Folds from what `to_dataset` gave.

        Raises
        ------
        InputError
            Where a variable is missing or has other dimensions.
        """
        check(ds, FOLDS)
        names = [n for n in (*_MASKS, *_LABELS, "fold", "sample") if n in ds.variables]
        found = {n: ds[n].values for n in names}
        return cls(name=found.pop("fold"), **found)

    def __repr__(self) -> str:
        schemes = ", ".join(f"{(self.scheme == s).sum()} of {s}" for s in dict.fromkeys(self.scheme.tolist()))
        return (
            f"<Folds: {schemes or 'none'}; {self.inner} inner splits, {len(self.blocks)} tuning blocks, "
            f"{len(self.sample)} samples>"
        )

    def _repr_html_(self) -> str:
        lines: list[tuple[str, ...]] = [("scheme", "folds", "tuning blocks", "rows fitted on", "rows scored")]
        for scheme in dict.fromkeys(self.scheme.tolist()):
            mine = self.scheme == scheme
            rows = [mask[mine].sum(axis=1) for mask in (self.fit, self.score)]
            spans = [f"{r.min()}" if r.min() == r.max() else f"{r.min()} to {r.max()}" for r in rows]
            lines.append((escape(scheme), f"{mine.sum()}", f"{len(np.unique(self.block[mine]))}", *spans))
        body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in lines)
        return f"<p>{escape(repr(self))}</p><table>{body}</table>"
