"""Series of many glaciers as short text: whole centimetres, deflated, in base64; the browser decodes them.

A value is the mean of its year, plus the mean of its glacier, plus the deviation of the glacier before it in the list,
plus a remainder. Neighbours follow each other in the list, so that remainders are near 0 and short.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
NO_WIDTH = 255
_STEPS = ((1, 1), (1, 2), (1, 5), (1, 10), (2, 10), (5, 10), (10, 20))  # cm of balances, of half widths


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
    for steps in _STEPS:
        texts, facts = _pack(balance, half_width, *steps)
        if sum(map(len, texts.values())) <= budget:
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
    years = _means(whole)
    glaciers = _means((whole - years).T)
    deviation = whole - years - glaciers[:, None]
    given = np.isfinite(deviation)
    rest = np.where(given, deviation - _before(deviation, given), 0).astype(np.int64)
    coded = np.where(rest >= 0, 2 * rest, -2 * rest - 1)
    numbers = np.where(given, np.minimum(coded, 65534), 65535).astype("<u2").view(np.uint8).reshape(-1, 2)
    data = numbers[:, 0].tobytes() + numbers[:, 1].tobytes()
    return data, {"years": years.astype(int).tolist(), "glaciers": glaciers.astype(int).tolist()}


def _means(values: Floats) -> Floats:
    """Rounded means over the first axis; 0 where there is no value."""
    given = np.isfinite(values)
    sums = np.where(given, values, 0.0).sum(axis=0)
    return np.asarray(np.round(sums / np.maximum(given.sum(axis=0), 1)), np.float64)


def _before(deviation: Floats, given: npt.NDArray[np.bool_]) -> Floats:
    """The deviation of the last glacier before that has one in the same year; 0 before the first."""
    place = np.where(given, np.arange(len(deviation))[:, None], -1)
    last = np.vstack([np.full((1, place.shape[1]), -1), np.maximum.accumulate(place, axis=0)[:-1]])
    found = np.take_along_axis(deviation, np.maximum(last, 0), axis=0) if len(deviation) else deviation
    return np.where(last >= 0, found, 0.0)


def _fitting_step(half_width: Floats, least: int) -> int:
    """Step in cm, at least this, with which the largest half width is below `NO_WIDTH`."""
    top = float(np.nanmax(half_width)) * 100 if np.isfinite(half_width).any() else 0.0
    return max(least, int(np.ceil(top / (NO_WIDTH - 1))))


def _widths(half_width: Floats, step: int) -> bytes:
    """Half widths in steps, rounded up so that none is told too narrow; less that of the glacier before, modulo 256."""
    steps = np.ceil(np.round(half_width * 100, 3) / step)
    whole = np.where(np.isfinite(steps), steps, NO_WIDTH).astype(np.uint8)
    return np.diff(whole, axis=0, prepend=np.zeros((1, whole.shape[1]), np.uint8)).tobytes()


def unpack_series(texts: dict[str, str], facts: dict[str, Any]) -> tuple[Floats, Floats | None]:
    """Balances and half widths, (glacier, year), m w.e., as the browser sees them."""
    shape = (len(facts["glaciers"]), len(facts["years"]))
    planes = np.frombuffer(from_text(texts["balance"]), np.uint8).astype(np.int64)
    half = len(planes) // 2
    coded = (planes[:half] + 256 * planes[half:]).reshape(shape)
    given = coded != 65535
    rest = np.where(coded % 2 == 0, coded // 2, -(coded + 1) // 2)
    deviation = np.where(given, np.cumsum(np.where(given, rest, 0), axis=0), np.nan)
    whole = deviation + np.array(facts["years"]) + np.array(facts["glaciers"])[:, None]
    widths = None
    if "half" in texts:
        changes = np.frombuffer(from_text(texts["half"]), np.uint8).reshape(shape)
        steps = np.cumsum(changes, axis=0, dtype=np.uint8).astype(np.float64)
        widths = np.where(steps == NO_WIDTH, np.nan, steps * facts["half_step"] / 100)
    return whole * facts["step"] / 100, widths


def along_a_path(longitude: Floats, latitude: Floats) -> npt.NDArray[np.int64]:
    """An order in which neighbours follow each other: cells of 0.1 degrees one after the other, each whole.

    Neighbours have like weather: differences between them are short to tell.
    """
    codes = np.zeros(len(longitude), np.int64)
    for shift, (values, offset) in enumerate(((longitude, 360.05), (latitude, 90.05))):
        fine = np.floor((np.nan_to_num(values) + offset) * 10 * 16).astype(np.int64)
        for bit in range(17):
            codes |= ((fine >> bit) & 1) << (2 * bit + shift)
    return np.argsort(codes, kind="stable")


def pack_column(values: npt.ArrayLike) -> str:
    """A column of numbers as 32-bit floats, which keep 7 digits."""
    return as_text(np.asarray(values, "<f4").tobytes())


def pack_words(words: Sequence[str]) -> str:
    """Words, one a line; line breaks within a word become blanks."""
    return as_text("\n".join(" ".join(w.splitlines()) or w for w in words).encode("utf-8"))
