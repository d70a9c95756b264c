"""Pieces of a variable from many files as one: in time, and where files hold several areas, in space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.climate.contract import Piece
from glacmb_grid.inputs.climate.stamps import STREAM, at, one_a_month, within
from glacmb_grid.inputs.horizontal import GRID, is_curvilinear, require_same_grid

_SAME = 1e-4  # degrees
_ALIKE = 1e-3  # of the spread of a field: what packing may change where areas overlap


Once = Callable[[xr.DataArray, str], xr.DataArray]


def joined(pieces: Sequence[Piece], name: str, once: Once = one_a_month) -> xr.DataArray:
    """One field with every month once, (time, ...), of pieces in canonical units.

    `once` takes all records of an area and what to call them, and gives every record once, sorted.

    Raises
    ------
    InputError
        Missing or repeated months; areas of different grids or months, or that disagree where they overlap.
    """
    areas: list[list[Piece]] = []
    for piece in pieces:
        same = next((a for a in areas if _on_same_cells(a[0].field, piece.field)), None)
        if same is None:
            areas.append([piece])
        else:
            same.append(piece)
    _require_one_lattice([area[0] for area in areas], name)
    whole = [Piece(area[0].where, _in_time(area, name, once)) for area in areas]
    if len(whole) == 1:
        return whole[0].field
    return _in_space(whole, name)


def of_years(pieces: Sequence[Piece], years: tuple[int, int], name: str) -> list[Piece]:
    """What pieces hold of these calendar years; an InputError if none of them holds any."""
    times = xr.concat([p.field["time"].drop_vars(STREAM, errors="ignore") for p in pieces], "time")
    within(times, years, f"{listing(dict.fromkeys(p.where for p in pieces), 3)}: {name}")
    kept = []
    for piece in pieces:
        of = piece.field["time"].dt.year.values
        inside = np.flatnonzero((of >= years[0]) & (of <= years[1]))
        if len(inside) == len(of):
            kept.append(piece)
        elif len(inside):
            kept.append(replace(piece, field=at(piece.field, inside)))
    return kept


def _require_one_lattice(areas: Sequence[Piece], name: str) -> None:
    first = areas[0]
    problems = Problems()
    for other in areas[1:]:
        with problems.collect():
            if is_curvilinear(first.field) or not _on_one_lattice(first.field, other.field):
                require_same_grid(first.field, other.field, first.where, f"{other.where}: {name}")
    problems.raise_if_any()


def _on_same_cells(a: xr.DataArray, b: xr.DataArray) -> bool:
    return all(a[d].shape == b[d].shape and bool((np.abs(a[d].values - b[d].values) <= _SAME).all()) for d in GRID)


def _in_time(pieces: Sequence[Piece], name: str, once: Once) -> xr.DataArray:
    fields = [p.field for p in pieces]
    same = [f.assign_coords({d: fields[0].coords[d] for d in GRID}) for f in fields]
    whole = xr.concat(same, "time", coords=[STREAM], compat="override", combine_attrs="override")
    return once(whole, f"{listing(dict.fromkeys(p.where for p in pieces), 3)}: {name}")


def _in_space(areas: Sequence[Piece], name: str) -> xr.DataArray:
    """Areas of one lattice side by side; cells of none of them are missing."""
    first = areas[0]
    problems = Problems()
    for other in areas[1:]:
        with problems.collect():
            _require_same_months(first, other, name)
            _require_agreement(first, other, name)
    problems.raise_if_any()
    axes = {d: np.unique(np.concatenate([a.field[d].values for a in areas]).round(5)) for d in GRID}
    target = {d: v[np.append(True, np.diff(v) > _SAME)] for d, v in axes.items()}
    target["latitude"] = target["latitude"][::-1]
    placed = [a.field.reindex(target, method="nearest", tolerance=_SAME) for a in areas]
    out = placed[0]
    for field in placed[1:]:
        out = out.where(out.notnull(), field)
    return out.assign_attrs(first.field.attrs).rename(first.field.name)


def _on_one_lattice(a: xr.DataArray, b: xr.DataArray) -> bool:
    """Whether cells of both are steps of one spacing apart."""
    for dim in GRID:
        one, other = a[dim].values, b[dim].values
        steps = [abs(v[1] - v[0]) for v in (one, other) if len(v) > 1]
        if not steps or max(steps) - min(steps) > _SAME:
            return False
        apart = (other[0] - one[0]) / steps[0]
        if abs(apart - round(apart)) * steps[0] > 2 * _SAME:
            return False
    return True


def _require_same_months(a: Piece, b: Piece, name: str) -> None:
    if not np.array_equal(a.field["time"].values, b.field["time"].values):
        raise InputError(
            f"{b.where}: {name}: time",
            expected=f"the months of the other area, {a.where}: {period(a.field)}",
            found=period(b.field),
            remedy="download all areas for the same period, or files of one area only",
        )


def _require_agreement(a: Piece, b: Piece, name: str) -> None:
    """Raise if two areas differ where they overlap, in the first month."""
    places = {d: [v for v in a.field[d].values if (np.abs(b.field[d].values - v) <= _SAME).any()] for d in GRID}
    if not all(places.values()):
        return
    one, other = (f.isel(time=0).sel(places, method="nearest", tolerance=_SAME).values for f in (a.field, b.field))
    spread = float(np.nanmax(one) - np.nanmin(one)) if np.isfinite(one).any() else 0.0
    apart = np.nanmax(np.abs(one - other), initial=0.0) if np.isfinite(one - other).any() else 0.0
    if apart > max(_ALIKE * spread, _ALIKE * float(np.nanmax(np.abs(one), initial=0.0))):
        raise InputError(
            f"{b.where}: {name}",
            expected=f"the values of {a.where} where both areas overlap",
            found=f"values that differ by up to {apart:.3g} in {str(a.field['time'].values[0])[:7]}",
            remedy="leave one of them out: they are of different products or versions",
        )


def on_one_grid(cube: dict[str, xr.DataArray], sources: Mapping[str, list[str]]) -> xr.Dataset:
    """All variables on the cells and months of the first; an InputError naming what differs, and where."""
    first_name = next(iter(cube))
    first = cube[first_name]
    problems = Problems()
    for name, variable in cube.items():
        with problems.collect():
            require_same_grid(first, variable, sources[first_name][0], f"{sources[name][0]}: {name}")
            if not np.array_equal(variable["time"].values, first["time"].values):
                lacking = [s for s in sources[first_name] if s not in sources[name]]
                without = f"; not in {listing(lacking, 3)}" if lacking and len(sources[name]) > 0 else ""
                raise InputError(
                    f"{listing(sources[name], 3)}: {name}: time",
                    expected=f"the months of {first_name}: {period(first)}",
                    found=f"{period(variable)}{without}",
                    remedy="download all variables for the same period, or name those to take: "
                    f"`climate: {{variables: [{first_name}, ...]}}`{_shared_years(first, variable)}",
                )
    problems.raise_if_any()
    return xr.Dataset({n: v.assign_coords(first.coords) for n, v in cube.items()})


def _shared_years(a: xr.DataArray, b: xr.DataArray) -> str:
    """The key that takes the calendar years of which both have all months, if there are any."""
    months = np.intersect1d(a["time"].values.astype("datetime64[M]"), b["time"].values.astype("datetime64[M]"))
    years, count = np.unique(months.astype("datetime64[Y]"), return_counts=True)
    whole = years[count == 12]
    return f", or the years of both: `climate: {{years: [{whole[0]}, {whole[-1]}]}}`" if len(whole) else ""


def period(variable: xr.DataArray) -> str:
    """Number of months, and the first and last."""
    months = variable["time"].values.astype("datetime64[M]")
    return f"{len(months)} months, {months[0]}..{months[-1]}"
