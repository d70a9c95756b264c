"""From what formats give to variables of known name and month."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.climate.alike import opened_alike
from glacmb_grid.inputs.climate.contract import Opened, Piece, Reading
from glacmb_grid.inputs.climate.finer import starts_of
from glacmb_grid.inputs.climate.formats import opened
from glacmb_grid.inputs.climate.months import EXAMPLE, Times, along_time, is_ecmwf, months_of, require_monthly
from glacmb_grid.inputs.climate.names import Declared, named, names_of, summands
from glacmb_grid.inputs.climate.stamps import labelled
from glacmb_grid.inputs.horizontal import GRID, is_curvilinear, plane_of, with_plane_named, with_usual_names
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, VARIABLES

_STATIC = (OROGRAPHY, LAND_MASK)
_SOMETHING_ELSE = {"t2m": r"maximum|minimum|anomal", "tp": r"snow|convective|stratiform|large.scale|anomal"}


@dataclass
class Found:
    """What climate files hold.

    Attributes
    ----------
    pieces : mapping
        Our short name -> its pieces, in the order of the files.
    static : mapping
        `orography`, `land_mask` -> where they were found, as stored: geopotential or height.
    summands : mapping
        Our short name -> pieces that may be summands of it.
    choices : mapping
        What was decided -> where.
    examples : mapping
        What was decided -> an instant for which it was.
    files : mapping
        What several files that were opened as one are called -> these files.
    left_out : mapping
        Names of variables that are not used.
    declared : set
        Names that were declared and are those of variables in one of the files.
    """

    pieces: dict[str, list[Piece]] = field(default_factory=lambda: defaultdict(list))
    static: dict[str, Piece] = field(default_factory=dict)
    summands: dict[str, list[Piece]] = field(default_factory=lambda: defaultdict(list))
    choices: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    examples: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: dict[str, None] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)

    @property
    def notes(self) -> list[str]:
        """What was decided, and what was left out, a line each."""
        said = [
            f"{self._all_of(where)}: {text.replace(EXAMPLE, self.examples.get(text, ''))}"
            for text, where in self.choices.items()
        ]
        if not self.left_out:
            return said
        names = listing(self.left_out, 12)
        return [*said, f"variables not used: {names}; `climate: {{names: {{OURS: THEIRS}}}}` says which is which"]

    def _all_of(self, where: Sequence[str]) -> str:
        """A file; of several the first, the last and their number."""
        every = list(dict.fromkeys(file for one in where for file in self.files.get(one, (one,))))
        return every[0] if len(every) == 1 else f"{every[0]} to {every[-1].rsplit('/', 1)[-1]} ({len(every)} files)"


def found_in(paths: Sequence[Path], reading: Reading, *, of_climate: bool = True) -> Found:
    """All known variables of these files; all problems together. Each file `of_climate` has to hold one."""
    problems = Problems()
    found = Found()
    several, rest = opened_alike(paths)
    for together, files in several:
        found.files[together.where] = tuple(map(str, files))
        try:
            if not _add(together, reading, found):
                rest += files
        except InputError:
            rest += files  # opened one by one, the one to blame is named
    for path in rest:
        with problems.collect():
            known, held = False, dict[str, None]()
            for one in opened(path):
                known |= _add(one, reading, found)
                held |= dict.fromkeys(str(n) for n, v in one.ds.data_vars.items() if v.ndim >= 2 and v.shape[-1] != 2)
            if of_climate and not known:
                raise InputError(
                    f"{path}",
                    expected="at least one known climate variable",
                    found=f"variables {listing(held, 30) or 'none'}",
                    remedy="say which is temperature (t2m), precipitation (tp) or the height of the cells (orography): "
                    "`climate: {names: {t2m: NAME, tp: NAME, orography: NAME}}`, or leave the file out; others go by "
                    f"their names in ERA5-Land, {', '.join(n for n in VARIABLES if n not in ('t2m', 'tp'))}",
                )
    problems.raise_if_any()
    return found


def _add(one: Opened, reading: Reading, found: Found) -> bool:
    """Add the known variables of one Dataset; whether there are any."""
    names = named(one.ds, reading.names, one.where)
    parts = summands(one.ds, reading.names)
    taken = {*names.values(), *parts}
    found.declared |= {n for theirs in reading.names.values() for n in names_of(theirs) if n in one.ds.data_vars}
    climate = {name: given for name, given in names.items() if name in VARIABLES}
    static = {name: given for name, given in names.items() if name in _STATIC and _is_flat(one.ds, given)}
    found.left_out |= dict.fromkeys(
        str(n) for n, v in one.ds.data_vars.items() if n not in taken and v.ndim >= 2 and v.shape[-1] != 2
    )
    for name, given in static.items():
        found.static.setdefault(name, Piece(f"{one.where}: {given}", with_usual_names(one.ds)[given]))
    if not climate and not parts:
        return bool(static)
    for name, given in climate.items():
        if reading.names.get(name) != given:
            _require_as_named(one.ds[given], name, f"{one.where}: {given}")
    fields = [one.ds[given] for given in (*climate.values(), *parts)]
    ds, stamped = along_time(one.ds, one.where, reading.finer.every if reading.finer else "month")
    ds = with_usual_names(ds)
    if stamped is None:
        raise InputError(
            f"{one.where}: {listing([*climate, *parts])}",
            expected="dimensions time, latitude, longitude with their coordinates",
            found=f"dimensions {_dimensions(fields[0])}",
            remedy="months without a year are no series: give each record its date, in Python "
            "`ds.rename(month='time').assign_coords(time=DATES)`"
            if "month" in fields[0].dims
            else "give monthly fields on a latitude-longitude grid (invariant fields belong to `climate.invariant`)",
        )
    if reading.finer is None and stamped.source != "bounds":
        require_monthly(one.ds, fields, one.where)
    times: dict[str, Times] = {}
    if reading.finer is not None:
        ours = {*climate, *(name for name, _ in parts.values())}
        times = {name: starts_of(stamped, name, reading, one.where) for name in ours}
    else:
        months, note = months_of(stamped, reading.stamp, ecmwf=is_ecmwf(one.ds, fields), where=one.where)
        times = dict.fromkeys((*climate, *(name for name, _ in parts.values())), months)
        named_alike = stamped.calendar and f"the calendar {stamped.calendar}: its months are taken for those of ours"
        for text in (note, named_alike):
            if text:
                found.choices[text].append(one.where)
                found.examples.setdefault(text, str(stamped.instants[0]))
    for name, given in climate.items():
        where = f"{one.where}: {name}" if name == given else f"{one.where}: {given}"
        piece = _on_months(ds[given], times[name], reading, where)
        found.pieces[name].append(Piece(one.where, piece))
    for given, (name, summand) in parts.items():
        piece = _on_months(ds[given], times[name], reading, f"{one.where}: {given}")
        found.summands[name].append(Piece(one.where, piece, summand))
    return True


def _require_as_named(field: xr.DataArray, name: str, where: str) -> None:
    """Raise if a field that was recognised by its name says itself that it is something else."""
    said = " ".join(str(field.attrs.get(k, "")) for k in ("long_name", "standard_name", "cell_methods"))
    given = where.rsplit(": ", 1)[-1]
    if name in _SOMETHING_ELSE and (found := re.search(_SOMETHING_ELSE[name], said, re.IGNORECASE)):
        raise InputError(
            where,
            expected=f"{VARIABLES[name].long_name}",
            found=f"{said.strip()!r}: {found[0].lower()}",
            remedy=f"leave it out; if it is meant, say so: `climate: {{names: {{{name}: {given}}}}}`",
        )


def _is_flat(ds: xr.Dataset, given: str) -> bool:
    """Whether a field can be one that does not change with time."""
    field = with_usual_names(ds)[given]
    plane = field["latitude"].dims if is_curvilinear(field) else GRID
    others = [d for d in field.dims if d not in plane]
    return field.ndim >= 2 and all(field.sizes[d] == 1 for d in others)


def _dimensions(field: xr.DataArray) -> str:
    return ", ".join(f"{d}: {n}" for d, n in field.sizes.items()) or "none"


def _on_months(field: xr.DataArray, months: Times, reading: Reading, where: str) -> xr.DataArray:
    field = _with_grid_only(field, where)
    plane = {d: field.coords[d] for d in GRID} if is_curvilinear(field) else {}
    return labelled(field, months, reading.expver, where).assign_coords(plane)


def _with_grid_only(field: xr.DataArray, where: str) -> xr.DataArray:
    """A field without dimensions of length one such as `number`; an InputError if it has unknown dimensions."""
    if is_curvilinear(field):
        field = with_plane_named(field, where)
    for dim in GRID:  # a single row or column, stored as a scalar
        if dim in field.coords and field[dim].ndim == 0:
            field = field.expand_dims(dim)
    needed = ("time", *plane_of(field))
    field = field.squeeze([d for d in field.dims if d not in (*needed, "expver") and field.sizes[d] == 1], drop=True)
    if set(field.dims) - {"expver"} != set(needed) or any(d not in field.coords for d in GRID):
        more = [str(d) for d in field.dims if d not in (*needed, "expver")]
        remedy = "give monthly fields on a latitude-longitude grid (invariant fields belong to `climate.invariant`)"
        if more and set(needed) <= set(field.dims):  # members of an ensemble, levels, heights
            remedy = f"take one of them or their mean, in Python: `ds.isel({more[0]}=0)` or `ds.mean('{more[0]}')`"
        raise InputError(
            where,
            expected="dimensions time, latitude, longitude with their coordinates",
            found=f"dimensions {_dimensions(field)}",
            remedy=remedy,
        )
    if not np.issubdtype(field.dtype, np.number):
        raise InputError(where, expected="numbers", found=f"{field.dtype}", remedy="download the file again")
    return field


def require_declared(names: Declared, several: Sequence[Found]) -> None:
    """Raise an InputError if a variable that was declared is in no file, though ours may be there by another name."""
    missing = {
        ours: lacking
        for ours, theirs in names.items()
        if (lacking := [n for n in names_of(theirs) if not any(n in found.declared for found in several)])
    }
    held = dict.fromkeys(n for found in several for n in (*found.left_out, *found.pieces, *found.static))
    held |= dict.fromkeys(str(p.summand) for found in several for pieces in found.summands.values() for p in pieces)
    if missing:
        raise InputError(
            f"climate: names: {', '.join(missing)}",
            expected="names of variables of the climate files",
            found=f"no {listing(n for several in missing.values() for n in several)}; the files hold "
            f"{listing(held, 20)}",
            remedy="correct the name: OUR NAME: NAME IN THE FILES (a list of names is a sum)",
        )
