"""Monthly series in a user's table: twelve columns whose names differ by the month only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.own_table.columns import matches
from glacmb_grid.inputs.own_table.notes import Notes

_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_NAMED = "|".join([*sorted(_MONTHS, key=len, reverse=True), "sept", *(name[:3] for name in _MONTHS)])
_FORMS: Final = tuple(
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?P<stem>.+?)[_\-. ]?(?P<month>{_NAMED})",
        rf"(?P<month>{_NAMED})[_\-. ]?(?P<stem>.+)",
        r"(?P<stem>.+?)[_\-. ](?:month|mon|m)[_\-. ]?(?P<month>\d+)",
        r"(?P<stem>.*[^\d_\-. ])[_\-. ]?(?P<month>\d+)",
        r"(?P<stem>.*\d)[_\-. ](?P<month>\d+)",
        r"(?:month|mon|m)?(?P<month>\d+)[_\-. ](?P<stem>.+)",
        rf"(?P<stem>.+?)[_\-. ](?:month|mon|m)?(?P<month>\d+|{_NAMED})(?P<tail>[_\-. ].+)",
    )
)
_LIKE_AND_UNLIKE: Final[Mapping[str, tuple[re.Pattern[str], re.Pattern[str]]]] = {
    "temperature": (
        re.compile(r"(^|[^a-z0-9])(t2m|temp|tas|tmean|tavg|tair|tmp|2t(?![a-z])|(ta|tm|t2|t)(?![a-z0-9]))|airtemp"),
        re.compile(
            r"dew|soil|snow|ice|skin|lake|sea|sst|max|min|anom|bright|spread|std|range|gradient|lapse|degree.?day"
        ),
    ),
    "snowfall": (
        re.compile(r"snow_?fall|solid_?prec|(^|[^a-z0-9])sf(?![a-z0-9])"),
        re.compile(r"fraction|ratio|days|melt|anom|max|min|std"),
    ),
    "precipitation": (
        re.compile(r"precip|(^|[^a-z0-9])(prec|prcp|ppt|tp|pr|p)(?![a-z0-9])"),
        re.compile(r"snow|solid|liquid|conv|type|days|intens|fraction|ratio|anom|max|min|std"),
    ),
}
_PREFERRED: Final = ("t2m", "temperature", "tas", "tmean", "tair", "snowfall", "sf", "precipitation", "tp", "pr")


@dataclass(frozen=True)
class Series:
    """Twelve columns from January to December under a common name, with the declared units if any."""

    stem: str
    columns: tuple[str, ...]
    role: str | None = None  # temperature, snowfall, precipitation
    units: str | None = None


def monthly_series(
    names: Sequence[str], declared: Mapping[str, Mapping[str, str | None]], file: Path, notes: Notes
) -> list[Series]:
    """Declared series (an InputError unless of twelve columns) and recognised ones, at most one of each role."""
    left = list(names)
    first: list[Series] = []
    for name, setting in declared.items():
        one = _declared(left, name, setting, file, notes)
        first.append(one)
        left = [n for n in left if n not in one.columns]
    found = _recognised(left)
    roles = {s.role for s in first if s.role}
    for role in _LIKE_AND_UNLIKE:
        if role in roles:
            continue
        candidates = [s for s in first + found if s.role is None and _is_like(s.stem, role)]
        if candidates:
            best = min(candidates, key=lambda s: (s not in first, _rank(s.stem)))
            first = [replace(s, role=role) if s is best else s for s in first]
            found = [replace(s, role=role) if s is best else s for s in found]
            if len(candidates) > 1:
                others = listing(s.stem for s in candidates if s is not best)
                notes.note(
                    f"{best.stem} used as the monthly {role}, not {others}; to choose another, declare it in "
                    "`samples: {monthly: ...}`"
                )
    return first + found


def _is_like(stem: str, role: str) -> bool:
    like, unlike = _LIKE_AND_UNLIKE[role]
    return bool(like.search(stem.casefold())) and not unlike.search(stem.casefold())


def _rank(stem: str) -> int:
    return _PREFERRED.index(stem.casefold()) if stem.casefold() in _PREFERRED else len(_PREFERRED)


def _recognised(names: Sequence[str]) -> list[Series]:
    """Sets of twelve names that differ by the month only, in the order of their first columns."""
    found: list[Series] = []
    left = list(names)
    for form in _FORMS:
        groups: dict[str, dict[str, list[int]]] = {}
        for name in left:
            match = form.fullmatch(name)
            if match:
                groups.setdefault(_stem(match).casefold(), {}).setdefault(name, []).append(_month(match["month"]))
        for months in groups.values():
            if sorted(m for ms in months.values() for m in ms) == list(range(1, 13)):
                columns = tuple(sorted(months, key=lambda n: months[n][0]))
                first = form.fullmatch(columns[0])
                assert first is not None
                found.append(Series(_stem(first), columns))
                left = [n for n in left if n not in months]
    return sorted(found, key=lambda s: names.index(s.columns[0]))


def _stem(match: re.Match[str]) -> str:
    return match["stem"] + (match.groupdict().get("tail") or "")


def _month(text: str) -> int:
    return int(text) if text.isdigit() else [name[:3] for name in _MONTHS].index(text[:3].casefold()) + 1


def _declared(names: Sequence[str], name: str, setting: Mapping[str, str | None], file: Path, notes: Notes) -> Series:
    pattern, units = setting.get("columns"), setting.get("units")
    role = name.casefold() if name.casefold() in _LIKE_AND_UNLIKE else None
    if pattern is None:
        same = [s for s in _recognised(names) if s.stem.casefold() == name.casefold()]
        columns = same[0].columns if same else ()
    else:
        columns = tuple(n for n in names if matches(n, pattern))
    if len(columns) != 12:
        raise InputError(
            f"samples: monthly: {name}",
            expected=f"twelve columns of numbers in {file}",
            found=f"{len(columns)} that match {pattern or name!r}" + (f": {listing(columns, 14)}" if columns else ""),
            remedy="correct the pattern under `columns`, such as `t2m_??`; excluded columns do not count",
        )
    recognised = _recognised(columns)
    if len(recognised) == 1:
        return Series(name, recognised[0].columns, role, units)
    notes.note(f"the twelve columns of {name} read as January to December in the order of the table")
    return Series(name, columns, role, units)
