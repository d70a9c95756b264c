"""Columns of a user's table: those with a role, by their names, and those that are predictors."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

import numpy as np

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.own_table.notes import Notes
from glacmb_grid.inputs.own_table.table import Floats, Table

if TYPE_CHECKING:
    from glacmb_grid.inputs.own_table.forcing import Derived
    from glacmb_grid.inputs.own_table.monthly import Series

_POSITIONS = ("lat", "latitude", "lon", "long", "lng", "longitude")
_IDENTIFIERS = re.compile(
    r"(.*_)?(id|ids|fold|folds)(_.*)?|(rgi|wgms|glacier|object|f)id|index|row|number|no|cell|group|cluster|block|site|"
    r"station|stake|wgms|rgi|unnamed\b.*",
    re.IGNORECASE,
)


def matches(name: str, pattern: str) -> bool:
    """Whether a column name equals a shell-style pattern or matches it, ignoring case."""
    name, pattern = name.casefold(), pattern.casefold()
    return name == pattern or fnmatchcase(name, pattern)


def closest(wanted: str, names: Iterable[str]) -> str | None:
    """The known name that is closest to a misspelled one, None if none is similar."""
    known = {n.casefold(): n for n in reversed(list(names))}
    near = difflib.get_close_matches(wanted.casefold(), list(known), 1, 0.6)
    return known[near[0]] if near else None


def _find(table: Table, wanted: str, setting: str) -> str:
    if wanted in table.columns:
        return wanted
    same = [n for n in table.columns if n.casefold() == wanted.strip().casefold()]
    if len(same) == 1:
        return same[0]
    if same:
        raise InputError(
            f"{table.file}: {wanted}",
            expected="one column of this name",
            found=f"{listing(map(repr, same))}, which differ only in case",
            remedy=f"write `samples: {{{setting}}}` in the case of the table",
        )
    near = closest(wanted, table.columns)
    raise InputError(
        f"{table.file}: {wanted}",
        expected=f"a column of this name (in any case), from `samples: {{{setting}}}`",
        found=f"columns {listing(table.columns, 20)}",
        remedy=f"did you mean {near!r}?" if near else f"correct `samples: {{{setting}}}` or the header",
    )


def find_columns(
    table: Table, roles: Mapping[str, str], where: Mapping[str, object]
) -> tuple[dict[str, str], dict[str, str]]:
    """Columns by role, and by key of `where`, as the table spells them; an InputError lists those not found."""
    problems = Problems()
    at, chosen = {}, {}
    for role, wanted in roles.items():
        with problems.collect():
            fold = role.removeprefix("fold_")
            setting = f"{role}: {wanted}" if fold == role else f"folds: {{{fold}: {wanted}}}"
            at[role] = _find(table, wanted, setting)
    for wanted in where:
        with problems.collect():
            chosen[wanted] = _find(table, wanted, f"where: {{{wanted}: ...}}")
    problems.raise_if_any()
    return at, chosen


class PredictorColumns:
    """The predictors among the columns of a table (`names`), and all its columns of numbers without a role (`numeric`).

    `at` maps roles to columns, `where_columns` are those by which rows were chosen; for the other parameters see
    `read_samples_table`.
    """

    def __init__(
        self,
        table: Table,
        at: Mapping[str, str],
        where_columns: Iterable[str],
        predictors: Literal["all"] | Sequence[str],
        exclude: Sequence[str],
        coordinates: bool,
        notes: Notes,
    ) -> None:
        self.table, self.notes, self.exclude = table, notes, list(exclude)
        self.patterns = ["*"] if predictors == "all" else list(predictors)
        known_everywhere = ("area", "elevation", "orography")
        self.roles = {c: r for r, c in at.items() if r not in known_everywhere} | dict.fromkeys(where_columns, "where")
        self.roles |= {at[r]: r for r in ("glacier", "year", "target")}
        free = [n for n in table.columns if n not in self.roles and not self._is_excluded(n)]
        self.floats = {n: table.floats(n) for n in free if not table.is_number(n)}
        texts = [n for n, (v, broken) in self.floats.items() if broken.sum() > np.isfinite(v).sum()]
        self.numeric = [n for n in free if n not in texts]
        self.names = self._selected(texts)
        if coordinates:
            self.names += [at[r] for r in ("longitude", "latitude") if r in at and at[r] not in self.names]

    def _is_excluded(self, name: str) -> bool:
        return any(matches(name, p) for p in self.exclude)

    def _selected(self, texts: list[str]) -> list[str]:
        every = "*" in self.patterns
        left_out = self._left_out_of_all() if every else []
        if every and texts:
            self.notes.warn(f"{self.table.file}: columns with text are not used as predictors: {listing(texts, 20)}")
        taken = [n for n in self.numeric if n not in left_out and any(matches(n, p) for p in self.patterns)]
        for pattern in self.patterns:
            exact = next((n for n in self.table.columns if n.casefold() == pattern.casefold()), None)
            if exact in texts:
                raise self.table.column(exact).not_numbers(self.floats[exact][1])
            role = self.roles.get(exact) if exact is not None else None
            if exact is None or role is None or self._is_excluded(exact):
                continue
            if role not in ("latitude", "longitude", "year"):
                raise InputError(
                    f"{self.table.file}: {exact}",
                    expected="predictors that are known also without a measurement",
                    found=f"the column of `samples: {{{role}: ...}}` among `samples: {{predictors: ...}}`",
                    remedy="remove it from `samples: {predictors: ...}`",
                )
            taken.append(exact)
        return taken

    def _left_out_of_all(self) -> list[str]:
        """Numeric columns that `all` leaves out because of their names: positions and identifiers."""
        named = [p.casefold() for p in self.patterns if p != "*"]
        unnamed = [n for n in self.numeric if n.casefold() not in named]
        positions = [n for n in unnamed if n.casefold() in _POSITIONS]
        identifiers = [n for n in unnamed if _IDENTIFIERS.fullmatch(n)]
        for what, names in (("positions", positions), ("identifiers", identifiers)):
            if names:
                self.notes.warn(
                    f"{self.table.file}: {listing(names)} not used as predictors, {what} by their names; to use them "
                    "add their names to `samples: {predictors: ['*', ...]}`, to silence this warning to `exclude`"
                )
        return positions + identifiers

    def numbers(self, more: Iterable[str]) -> dict[str, Floats]:
        """Values of predictors and `more` columns, (row,), NaN if missing; an InputError for text or infinities."""
        problems = Problems()
        numbers: dict[str, Floats] = {}
        coded: dict[str, int] = {}
        for name in dict.fromkeys([*self.names, *more]):
            values, broken = self.floats[name] if name in self.floats else self.table.floats(name)
            with problems.collect():
                if broken.any():
                    raise self.table.column(name).not_numbers(broken)
                infinite = np.isinf(values)
                if infinite.any():
                    raise InputError(
                        f"{self.table.file}: {name}",
                        expected="finite numbers",
                        found=f"infinite values in {self.table.place(infinite)}",
                        remedy="empty these cells: missing predictors are filled within each fold",
                    )
            numbers[name] = _without_codes(values)
            count = int(np.isnan(numbers[name]).sum() - np.isnan(values).sum())
            if count:
                coded[name] = count
            self.table.columns[name] = None  # frees the memory; only the numbers are needed from now on
        problems.raise_if_any()
        self.floats.clear()
        if coded:
            cells = [f"{n} ({c})" for n, c in coded.items()]
            self.notes.note(f"missing-value codes such as -9999 read as missing in {listing(cells, 12)}")
        return numbers

    def not_in_table(self, derived: Mapping[str, Derived]) -> dict[str, Derived]:
        """The computed predictors except those for which the table has a column of the same name."""
        names = {n.casefold() for n in self.table.columns}
        own = [n for n in derived if n.casefold() in names]
        if own:
            self.notes.note(f"{listing(own)} taken from the table, not computed")
        return {n: d for n, d in derived.items() if n not in own}

    def with_derived(self, derived: Mapping[str, Derived], series: Sequence[Series]) -> list[str]:
        """The table's predictors, then computed ones: of series with all months among them, or asked for by name."""
        complete = {s.stem for s in series if set(s.columns) <= set(self.names)}
        explicit = [p for p in self.patterns if p != "*"]
        taken = [
            n
            for n, d in derived.items()
            if not self._is_excluded(n) and (set(d.series) <= complete or any(matches(n, p) for p in explicit))
        ]
        known = [*self.table.columns, *derived]
        for key, patterns in (("predictors", self.patterns), ("exclude", self.exclude)):
            for pattern in patterns:
                if not any(matches(n, pattern) for n in known):
                    near = closest(pattern, known)
                    raise InputError(
                        f"samples: {key}: {pattern!r}",
                        expected=f"a name or pattern of columns of {self.table.file}",
                        found="no match",
                        remedy=f"did you mean {near!r}?" if near else f"choose among {listing(known, 40)}",
                    )
        if not self.names and not taken:
            raise InputError(
                f"{self.table.file}: predictors",
                expected="at least one column of numbers",
                found=f"no match for `samples: {{predictors: ...}}` among {listing(self.table.columns, 20)}",
                remedy="correct `samples: {predictors: ..., exclude: ...}`",
            )
        return [*self.names, *taken]


def _without_codes(values: Floats) -> Floats:
    """Replace missing-value codes by NaN: a column's extreme that is a known code and far from all other values."""
    values = np.where(np.abs(values) >= 1e19, np.nan, values)
    for extreme, codes in ((np.fmin, (-99999.0, -32768.0, -9999.0, -999.0)), (np.fmax, (99999.0, 32767.0, 9999.0))):
        for code in codes:
            if extreme.reduce(values) == code:
                others = np.where(values == code, np.nan, values)
                if not abs(extreme.reduce(others)) * np.sign(code) * np.sign(extreme.reduce(others)) > abs(code) / 2:
                    values = others
    return values
