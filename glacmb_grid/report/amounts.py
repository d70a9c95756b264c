"""Sizes and ages in words."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_AGES = ((60, 1, "s"), (3600, 60, "min"), (2 * 86400, 3600, "h"), (float("inf"), 86400, "days"))


def size_in_words(size: float) -> str:
    """A number of bytes with three digits: 0 B, 999 B, 1.23 MB, 45.6 GB."""
    number, unit = float(size), 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    digits = 0 if unit == 0 or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f} {_UNITS[unit]}"


def age_in_words(seconds: float) -> str:
    """How long ago: 12 s ago, 5 min ago, 30 h ago, 3 days ago."""
    past = max(seconds, 0.0)
    divisor, unit = next((d, u) for below, d, u in _AGES if past < below)
    return f"{int(past // divisor)} {unit} ago"
