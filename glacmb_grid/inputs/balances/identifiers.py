"""Identifiers of glaciers: cleaned of what cannot be seen, and spellings that can only mean one glacier."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.tables import site_name

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


def names_of_sites(cells: pd.Series[str]) -> tuple[npt.NDArray[np.int64], pd.Index]:
    """Which of the sites each cell names, (row,), and the sites as `site_name` writes them, each once."""
    codes, texts = pd.factorize(cells)
    names = pa.array(texts, pa.large_string())
    if not _are_plain(names) or pc.any(pc.match_substring_regex(names, r"^\s*\d+(\.0)?\s*$")).as_py():
        spelled = [site_name(cleaned(text)) for text in texts]
        once, sites = pd.factorize(np.array(spelled, dtype=object))
        return once[codes], pd.Index(sites)
    return codes, pd.Index(texts)


def _are_plain(names: pa.Array) -> bool:
    """Whether texts are of ASCII characters that can be seen, without blanks around them."""
    plain = pc.match_substring_regex(names, r"^[!-~]([ -~]*[!-~])?$")
    return bool(pc.all(plain).as_py())


def _differ_plainly(names: pa.Array) -> bool:
    """Whether plain texts differ in more than case, leading zeros, blanks or dashes."""
    alike = pc.replace_substring_regex(pc.utf8_lower(names), r"(^|[^0-9.])0+([0-9])", r"\1\2")
    alike = pc.replace_substring_regex(alike, r"[\s_\-]+", "-")
    return _are_plain(names) and len(pc.unique(alike)) == len(names)


def refuse_twins(identifiers: npt.ArrayLike, where: str, remedy: str) -> None:
    """Raise an InputError if identifiers differ only in case, leading zeros, blanks, dashes or what cannot be seen."""
    identifiers = list(dict.fromkeys(np.asarray(identifiers, dtype=object).tolist()))
    if _differ_plainly(pa.array(identifiers, pa.large_string())):
        return
    alike: dict[str, list[str]] = defaultdict(list)
    for one in identifiers:
        alike[_spelled_alike(one)].append(one)
    twins = [" and ".join(map(repr, several)) for several in alike.values() if len(several) > 1]
    if twins:
        raise InputError(
            where,
            expected="one spelling for each glacier",
            found=f"identifiers that differ only in case, leading zeros, blanks or dashes: {listing(twins)}",
            remedy=remedy,
        )
