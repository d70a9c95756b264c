"""How figures look: one column of a paper, colours that all can tell apart; matplotlib loads when one is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMN = 84.0
"""Width of a figure: one column of a paper, mm."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D", "#8C6D1F")
"""Of Okabe and Ito (2008), told apart with any kind of colour vision; the last two are added."""
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
BALANCE = "RdBu"
"""Colour map of balances, centred on 0: red is loss."""
SHARE = "cividis"
STYLE: Any = {
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.0,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "pdf.fonttype": 42,  # letters stay letters
    "savefig.dpi": 300,
}

Floats = npt.NDArray[np.float64]


@contextmanager
def paper(ax: Axes | None, height: float = 60.0) -> Iterator[Axes]:
    """The Axes that were given, or new ones of a figure one column wide and `height` mm high."""
    if ax is not None:
        yield ax
        return
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        yield pyplot.subplots(figsize=(COLUMN / 25.4, height / 25.4), layout="constrained")[1]


@contextmanager
def sheet(height: float = 60.0) -> Iterator[Axes]:
    """Axes of a figure that no window shows and no list keeps, one column wide and `height` mm high."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        yield Figure(figsize=(COLUMN / 25.4, height / 25.4), layout="constrained").add_subplot()


def height_of_list(lines: int) -> float:
    """Height of a figure with a line of text for each of so many things, mm."""
    return float(18 + 4.2 * max(lines, 3))


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """A colour for every name, in their order; used again from the ninth on."""
    return {n: COLOURS[i % len(COLOURS)] for i, n in enumerate(dict.fromkeys(names))}


def limit_of(values: npt.ArrayLike) -> float:
    """Where a scale centred on 0 ends: the 98th percentile of the absolute values, rounded up to a tenth."""
    sizes = np.abs(np.asarray(values, np.float64))
    sizes = sizes[np.isfinite(sizes)]
    return max(float(np.ceil(np.percentile(sizes, 98) * 10) / 10), 0.1) if len(sizes) else 1.0


def key(ax: Axes, columns: int = 2) -> None:
    """A legend: below the Axes where they are alone in a figure of ours, else within them."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    handles, labels = ax.get_legend_handles_labels()
    figure = ax.figure
    alone = isinstance(figure, Figure) and len(figure.axes) == 1
    if handles and alone and isinstance(figure.get_layout_engine(), ConstrainedLayoutEngine):
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    elif handles:
        ax.legend(loc="best")


def say_empty(ax: Axes, text: str = "nothing to show") -> None:
    """Say in an empty figure that it is empty on purpose."""
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color="0.4")


def say_missing(ax: Axes, missing: int, of: int, what: str) -> None:
    """Say how many things have no value and are not drawn."""
    if missing:
        text = f"{missing} of {of} {what} without a value"
        ax.text(1.0, 1.01, text, transform=ax.transAxes, ha="right", va="bottom", color="0.4", fontsize="x-small")


def require_variables(ds: Any, names: Iterable[str], *, name: str, source: str) -> None:
    """Raise an InputError unless a Dataset has these variables; `source` is what gives it."""
    there = [str(v) for v in ds.variables] if isinstance(ds, xr.Dataset) else []
    if missing := [n for n in names if n not in there]:
        raise InputError(
            name,
            expected=f"a Dataset with {', '.join(names)}",
            found=f"no {listing(missing)}",
            remedy=f"pass what {source} gives",
        )


def identifiers(ds: xr.Dataset, dimension: str) -> list[str]:
    """Identifiers along a dimension: `glacier_id` of a described product, else its own coordinate `glacier`."""
    name = f"{dimension}_id" if f"{dimension}_id" in ds.variables else dimension
    return [str(i) for i in ds[name].values]


def require_one(value: str, known: Iterable[str], *, name: str) -> int:
    """Place of a value among those known.

    Raises
    ------
    InputError
        If it is not among them.
    """
    names = [str(k) for k in known]
    if value not in names:
        raise InputError(
            name, expected=f"one of {listing(names) or 'none'}", found=repr(value), remedy="name one that is there"
        )
    return names.index(value)
