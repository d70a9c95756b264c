"""Variables that files hold as several summands, such as convective and large-scale precipitation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.climate.contract import Piece
from glacmb_grid.inputs.climate.joined import period
from glacmb_grid.inputs.climate.names import SUMS, Declared, names_of
from glacmb_grid.inputs.climate.pieces import Found
from glacmb_grid.inputs.horizontal import require_same_grid
from glacmb_grid.vocabulary import VARIABLES

_AMOUNTS = ("tp", "sf", "ssrd", "strd")


def require_amounts_only(names: Declared) -> None:
    """Raise an InputError where names are declared as a sum of what cannot be added up."""
    for ours, theirs in names.items():
        if isinstance(theirs, str):
            continue
        known = VARIABLES.get(ours)
        if known is None or known.kind != "accumulated":
            raise InputError(
                f"climate: names: {ours}",
                expected=f"one name; a sum is made of amounts only, such as {listing(_AMOUNTS, 4)}",
                found=listing(theirs),
                remedy=f"name one variable: `climate: {{names: {{{ours}: NAME}}}}`",
            )


def take_sums(found: Found, declared: Declared, wanted: Collection[str] | None) -> None:
    """Have summands stand for variables that are declared as sums, or of which the files hold no total.

    Parameters
    ----------
    found : Found
        Is changed: its `pieces` then hold the summands that count, and its `left_out` names the others.
    declared : mapping
        Our name -> the name in the files, or the names of its summands.
    wanted : collection of str, optional
        Variables of the configuration; None takes all known ones.

    Raises
    ------
    InputError
        One summand of a variable that is wanted is there, and another is not.
    """
    for name, pieces in found.summands.items():
        there = list(dict.fromkeys(p.summand for p in pieces))
        sums = [names_of(declared[name])] if name in declared else list(SUMS[name])
        whole = next((s for s in sums if set(s) <= set(there)), None)
        if name in found.pieces or (wanted is not None and name not in wanted):
            found.left_out |= dict.fromkeys(there)
        elif whole is not None:
            found.pieces[name] = [p for p in pieces if p.summand in whole]
            found.left_out |= dict.fromkeys(n for n in there if n not in whole)
            found.choices[f"{name} is the sum of {' and '.join(whole)}"] = list(
                dict.fromkeys(p.where for p in found.pieces[name])
            )
        elif name not in declared:  # else it is an error that its names are missing
            raise _half(name, there, sums, pieces[0].where)


def _half(name: str, there: Sequence[str], sums: Sequence[tuple[str, ...]], where: str) -> InputError:
    lacking = [n for s in sums if set(s) & set(there) for n in s if n not in there]
    return InputError(
        f"{where}: {listing(there)}",
        expected=f"all summands of {name}, or {name} itself",
        found=f"no {listing(lacking)} in any of the files",
        remedy=f"add the files with {listing(lacking)}; or name the variables to take without {name}, "
        "`climate: {variables: [t2m, ...]}`",
    )


def added(pieces: Sequence[Piece], name: str, of: Callable[[list[Piece]], xr.DataArray]) -> xr.DataArray:
    """The sum of the summands of a variable, missing where one of them is.

    Parameters
    ----------
    pieces : sequence of Piece
        Of all summands.
    name : str
    of : callable
        One summand in canonical units of its pieces, every record once.

    Raises
    ------
    InputError
        Summands on other cells or of other months.
    """
    several: dict[str, list[Piece]] = {}
    for piece in pieces:
        several.setdefault(piece.summand, []).append(piece)
    fields = {summand: of(parts) for summand, parts in several.items()}
    (first_name, total), *others = fields.items()
    first = total
    for summand, field in others:
        where = f"{several[summand][0].where}: {summand}"
        require_same_grid(first, field, several[first_name][0].where, where)
        if not np.array_equal(first["time"].values, field["time"].values):
            raise InputError(
                f"{where}: time",
                expected=f"the months of {first_name}, with which it makes {name}: {period(first)}",
                found=period(field),
                remedy="download all summands for the same period",
            )
        total = total + field.assign_coords(first.coords)
    streams = {field.attrs.get("stream") for field in fields.values()}
    attrs = {k: v for k, v in first.attrs.items() if k != "stream" or len(streams) == 1}
    return total.rename(name).assign_attrs(attrs)
