"""Whether two names can be those of one glacier, however tables spell them."""

from __future__ import annotations

import re
import unicodedata
from difflib import SequenceMatcher

# Words for a glacier and its parts, and small words, in the languages of inventories
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "glacier glaciers glaciar glaciares ghiacciaio ghiacciai vedretta gletscher ferner kees glacieret gl f k g v "
        "bre breen brae braeen brean isbrae fonna jokull jokul lednik lednika ledniki bingchuan bing chuan icecap ice "
        "cap dome no nr num number de del della di do da la le les el los las des du of the and",
    )
)
_ENDINGS = re.compile(
    r"(gletscher|glacier|glaciae?ren|ferner|kees|breen|brean|braeen|isbrae|bre|brae|jokull|fonna|bingchuan)$"
)
_ALIKE, _SPELLINGS = 0.6, 0.85  # of difflib's ratio
_LETTERS_IN_COMMON = 4


def can_be_same(one: str, other: str) -> bool:
    """Whether two names may belong to one glacier; True where either says nothing."""
    a, b = _said(one), _said(other)
    if not a or not b:
        return True
    numbers = [{int(n) for n in re.findall(r"\d+", text)} for text in (one, other)]
    if all(numbers) and not numbers[0] & numbers[1]:
        return False
    joined = "".join(a), "".join(b)
    if min(map(len, joined)) >= 3 and (joined[0] in joined[1] or joined[1] in joined[0]):
        return True
    if any(x[:_LETTERS_IN_COMMON] == y[:_LETTERS_IN_COMMON] for x in a for y in b if min(len(x), len(y)) >= 4):
        return True
    return SequenceMatcher(None, *joined).ratio() >= _ALIKE


def are_alike(one: str, other: str) -> bool:
    """Whether two names both say something, and may belong to one glacier."""
    return bool(_said(one)) and bool(_said(other)) and can_be_same(one, other)


def are_spellings(one: str, other: str) -> bool:
    """Whether two names are spellings of one: enough to suspect the same glacier where no position is known."""
    if one.strip() and one.strip().casefold() == other.strip().casefold():
        return True
    a, b = "".join(_said(one)), "".join(_said(other))
    if not are_alike(one, other) or min(len(a), len(b)) < _LETTERS_IN_COMMON:
        return False
    return a == b or SequenceMatcher(None, a, b).ratio() >= _SPELLINGS


def _said(name: str) -> list[str]:
    """The words of a name that tell glaciers apart; none of a code such as AT4J143OE125."""
    text = unicodedata.normalize("NFKD", name.replace("ø", "o").replace("Ø", "O").replace("ß", "ss"))
    plain = text.encode("ascii", "ignore").decode().casefold().replace("'", "")
    words = [w for w in re.findall(r"[a-z]+|\d+", plain) if w not in _COMMON]
    if sum(c.isdigit() for c in plain) > 2 and not any(len(w) >= _LETTERS_IN_COMMON for w in words):
        return []
    return [s for w in words if (s := _ENDINGS.sub("", w) or w)]
