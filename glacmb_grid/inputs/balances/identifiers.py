"""Identifiers of glaciers: cleaned of what cannot be seen, and spellings that can only mean one glacier."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from glacmb_grid.errors import InputError, listing

_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")


def cleaned(text: str) -> str:
    """A text without characters that cannot be seen: control characters, marks of width or direction, odd blanks."""
    if text.isascii() and text.isprintable():
        return text.strip()
    plain = unicodedata.normalize("NFKC", text)
    return "".join(c for c in plain if unicodedata.category(c) not in ("Cc", "Cf", "Cn", "Co")).strip()


def _spelled_alike(text: str) -> str:
    """One spelling for `G001` and `g001`, `1` and `01`, `A 1` and `A_1`."""
    return re.sub(r"[\s_\-]+", "-", _ZEROS.sub("", cleaned(text).casefold()))


def refuse_twins(identifiers: Iterable[str], where: str, remedy: str) -> None:
    """Raise an InputError if identifiers differ only in case, leading zeros, blanks, dashes or what cannot be seen."""
    alike: dict[str, list[str]] = defaultdict(list)
    for one in dict.fromkeys(identifiers):
        alike[_spelled_alike(one)].append(one)
    twins = [" and ".join(map(repr, several)) for several in alike.values() if len(several) > 1]
    if twins:
        raise InputError(
            where,
            expected="one spelling for each glacier",
            found=f"identifiers that differ only in case, leading zeros, blanks or dashes: {listing(twins)}",
            remedy=remedy,
        )
