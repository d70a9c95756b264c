"""Series of many glaciers as short text: whole centimetres, deflated, in base64; the browser decodes them.

A value is the mean of its year plus the mean of its glacier plus a remainder; remainders are near 0 and short.
"""

from __future__ import annotations

import base64
import warnings
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MISSING = -32768
"""Stands for no value among 16-bit whole numbers."""
NO_WIDTH = 255
_SAMPLE = 2000  # glaciers whose length tells that of all
_STEPS = ((1, 1), (1, 2), (1, 5), (2, 5), (5, 10), (10, 20))  # cm of balances, of half widths


def as_text(data: bytes) -> str:
    """Bytes, deflated and in base64."""
    return base64.b64encode(zlib.compress(data, 6)).decode("ascii")


def from_text(text: str) -> bytes:
    """The bytes of `as_text`."""
    return zlib.decompress(base64.b64decode(text))


def pack_series(balance: Floats, half_width: Floats | None, *, budget: int) -> tuple[dict[str, str], dict[str, Any]]:
    """Balances and half widths of their intervals as texts, in the finest steps that fit.

    Parameters
    ----------
    balance : array, (glacier, year), m w.e.
        NaN where there is none.
    half_width : array, (glacier, year), m w.e., optional
    budget : int
        Characters that may be used; the coarsest step is taken if none fits.

    Returns
    -------
    texts : dict
        `balance` and, if given, `half`.
    facts : dict
        What decodes them: `years` and `glaciers` (means, in steps), `step` and `half_step` (cm).
    """
    every = max(1, len(balance) // _SAMPLE)
    some, its = balance[::every], None if half_width is None else half_width[::every]
    for steps in _STEPS:
        about = every * sum(map(len, _pack(some, its, *steps)[0].values()))
        if about > budget and steps != _STEPS[-1]:
            continue
        texts, facts = _pack(balance, half_width, *steps)
        if sum(map(len, texts.values())) <= budget or steps == _STEPS[-1]:
            break
    return texts, facts


def _pack(
    balance: Floats, half_width: Floats | None, step: int, half_step: int
) -> tuple[dict[str, str], dict[str, Any]]:
    data, means = _planes(balance, step)
    texts, facts = {"balance": as_text(data)}, {**means, "step": step}
    if half_width is not None:
        fitting = _fitting_step(half_width, half_step)
        texts["half"], facts["half_step"] = as_text(_widths(half_width, fitting)), fitting
    return texts, facts


def _planes(balance: Floats, step: int) -> tuple[bytes, dict[str, Any]]:
    """Remainders as unsigned 16-bit numbers (0, -1, 1, -2, ...), all low bytes before all high bytes."""
    whole = np.round(balance * 100 / step)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice", category=RuntimeWarning)
        years = np.nan_to_num(np.round(np.nanmean(whole, axis=0))) if len(whole) else np.zeros(whole.shape[1])
        glaciers = np.nan_to_num(np.round(np.nanmean(whole - years, axis=1))) if whole.size else np.zeros(len(whole))
    rest = whole - years - glaciers[:, None]
    given = np.isfinite(rest)
    signed = np.where(given, rest, 0).astype(np.int64)
    coded = np.where(signed >= 0, 2 * signed, -2 * signed - 1)
    coded = np.where(given, np.minimum(coded, 65534), 65535)
    numbers = coded.astype("<u2").view(np.uint8).reshape(-1, 2)
    data = numbers[:, 0].tobytes() + numbers[:, 1].tobytes()
    return data, {"years": years.astype(int).tolist(), "glaciers": glaciers.astype(int).tolist()}


def _fitting_step(half_width: Floats, least: int) -> int:
    """Step in cm, at least this, with which the largest half width is below `NO_WIDTH`."""
    top = float(np.nanmax(half_width)) * 100 if np.isfinite(half_width).any() else 0.0
    return max(least, int(np.ceil(top / (NO_WIDTH - 1))))


def _widths(half_width: Floats, step: int) -> bytes:
    """Half widths in steps, rounded up so that an interval is never narrower than it is."""
    steps = np.ceil(np.round(half_width * 100, 3) / step)
    return np.where(np.isfinite(steps), steps, NO_WIDTH).astype(np.uint8).tobytes()


def unpack_series(texts: dict[str, str], facts: dict[str, Any]) -> tuple[Floats, Floats | None]:
    """Balances and half widths, (glacier, year), m w.e., as the browser sees them."""
    shape = (len(facts["glaciers"]), len(facts["years"]))
    planes = np.frombuffer(from_text(texts["balance"]), np.uint8).astype(np.int64)
    half = len(planes) // 2
    coded = planes[:half] + 256 * planes[half:]
    rest = np.where(coded % 2 == 0, coded // 2, -(coded + 1) // 2).astype(np.float64)
    rest[coded == 65535] = np.nan
    whole = rest.reshape(shape) + np.array(facts["years"]) + np.array(facts["glaciers"])[:, None]
    widths = None
    if "half" in texts:
        steps = np.frombuffer(from_text(texts["half"]), np.uint8).reshape(shape).astype(np.float64)
        widths = np.where(steps == NO_WIDTH, np.nan, steps * facts["half_step"] / 100)
    return whole * facts["step"] / 100, widths


def pack_column(values: npt.ArrayLike) -> str:
    """A column of numbers as 32-bit floats."""
    return as_text(np.asarray(values, "<f4").tobytes())


def pack_words(words: Sequence[str]) -> str:
    """Words, one a line; line breaks within a word become blanks."""
    return as_text("\n".join(" ".join(w.splitlines()) or w for w in words).encode("utf-8"))
