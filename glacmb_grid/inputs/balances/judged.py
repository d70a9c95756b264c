"""Whether balances are what they are said to be: codes for missing values, other units of a table, glacier or rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.stats

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.tables import Column
from glacmb_grid.inputs.units import TO_METRES, BalanceUnits

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_CODES = (9999.0, 99999.0, 999999.0, 32767.0, 32768.0, 99999.99, 9999.99, 9999.9)
_POSSIBLE_CODES = (999.0, 999.9, 999.99, 888.0, 777.0, 99.0, 99.9, 99.99, 9.99, 9.999)  # balances in some unit, too
_USUAL_CODE = 999.0
_CHANCE, _CHANCE_OF_THE_USUAL = 1e-3, 0.05
_NEAR_ZERO = 0.2  # m w.e.
_ZEROS, _CHANCE_OF_ZEROS = 3, 0.02
_HUGE = 1e9  # fills of gridded files

_METRES_AMONG_MM = 0.005  # m w.e., root mean square of a glacier: none in FoG is below 0.010
_CENTIMETRES_AMONG_MM = 0.11  # of six years and more: none in FoG is below 0.124
_SMALL, _SMALL_GLACIER = 0.15, 0.12
_LARGE = 4.0  # the largest of FoG is 3.6
_A_FEW_METRES = 0.008  # m w.e., what 8 m become where they are read as millimetres
_CLEAR = 1e-4


@dataclass(frozen=True)
class Said:
    """How the unit was declared, for messages: its key, with `%s` for a unit, and the key of missing-value codes."""

    units: BalanceUnits
    key: str
    missing: str


def refuse_codes(values: Floats, column: Column, said: Said, limits: tuple[float, float]) -> list[str]:
    """Raise an InputError if codes for missing values stand among balances.

    Parameters
    ----------
    values : float64 array, (row,)
        In the unit of the file. A number such as -999 is a code only where it occurs more often than its neighbours.
    column : Column
    said : Said
    limits : (float, float)
        Plausible balances, m w.e.

    Returns
    -------
    list of str
        Notes on numbers that may be codes.
    """
    metres = values * TO_METRES[said.units]
    outside = (metres < limits[0]) | (metres > limits[1])
    size = np.abs(values)
    code = np.isin(size, _CODES) & (outside | (size != np.round(size)) | (size >= 9999)) | (size > _HUGE)
    code |= np.isin(size, _POSSIBLE_CODES) & outside
    doubtful = np.zeros(len(values), bool)
    for one in _POSSIBLE_CODES:
        for sign in (-1.0, 1.0):
            here = (values == sign * one) & ~code
            if here.any():
                count = int(here.sum())
                usual = one == _USUAL_CODE and count == 1
                if _chance(values, sign * one, count) < (_CHANCE_OF_THE_USUAL if usual else _CHANCE):
                    code |= here
                elif one == _USUAL_CODE and sign < 0:
                    doubtful |= here
    if code.any():
        raise InputError(
            column.where,
            expected="measured values",
            found=f"missing-value codes {listing(sorted(set(values[code].tolist())))} in {column.place(code)}",
            remedy=f"empty these cells, or name the codes, `{said.missing % listing(_numbers(values[code]))}`; if they "
            f"were measured, `{said.missing % ''}`",
        )
    notes = _judge_zeros(values, column, said)
    if not doubtful.any():
        return notes
    numbers = listing(_numbers(values[doubtful]))
    return [
        *notes,
        f"{column.where}: {numbers} in {column.place(doubtful)} taken for measured; if missing values are written so, "
        f"`{said.missing % numbers}`",
    ]


def _judge_zeros(values: Floats, column: Column, said: Said) -> list[str]:
    """A note on exact zeros that may stand for missing values; an InputError where there are too many for chance.

    A measured balance is 0 as often as it is any other number near 0 that is as round as the others are.
    """
    zero, metres = values == 0, values * TO_METRES[said.units]
    count = int(zero.sum())
    if count < 2:
        return []
    others = metres[~zero]
    near = int((np.abs(others) <= _NEAR_ZERO).sum())
    expected = (near + 1) * _roundness(others) / (2 * _NEAR_ZERO)
    chance = float(scipy.stats.poisson.sf(count - 1, expected))
    told = f"{count} of {len(values)} are exactly 0, where {expected:.2g} would be expected by chance"
    if count >= _ZEROS and chance < _CHANCE:
        raise InputError(
            column.where,
            expected="measured values",
            found=f"zeros that stand for missing values: {told}, in {column.place(zero)}",
            remedy=f"empty these cells, or say so, `{said.missing % '0'}`; if measured, `{said.missing % ''}`",
        )
    if chance >= _CHANCE_OF_ZEROS:
        return []
    return [
        f"{column.where}: {told}, in {column.place(zero)}: taken for measured; if they stand for missing values, "
        f"`{said.missing % '0'}`"
    ]


def _roundness(metres: Floats) -> float:
    """To what most values are rounded, m w.e.; 1 mm or more."""
    for step in (0.1, 0.05, 0.01, 0.005):
        if len(metres) and np.isclose(metres, np.round(metres / step) * step, rtol=0, atol=1e-9).mean() > 0.3:
            return step
    return 0.001


def _numbers(values: Floats) -> list[str]:
    return [f"{v:g}" for v in sorted(set(values.tolist()))]


def _chance(values: Floats, code: float, count: int) -> float:
    """Probability that so many measurements are this number, by how many lie within a tenth of it."""
    others = values[values != code]
    large = others[np.abs(others) >= abs(code) / 2]
    step = next((10.0**-d for d in range(3) if len(large) and (large == np.round(large, d)).mean() > 0.7), 0.001)
    near = int((np.abs(others - code) <= abs(code) / 10).sum())
    return float(scipy.stats.poisson.sf(count - 1, (near + 1) * step / (abs(code) / 5)))


def judge_units(
    metres: Floats, glacier: npt.ArrayLike, column: Column, said: Said, limits: tuple[float, float]
) -> list[str]:
    """Raise an InputError if the balances of the table, of a glacier or of some rows are clearly in another unit.

    Parameters
    ----------
    metres : float64 array, (row,), m w.e.
        As read in the declared unit, without gaps.
    glacier : array, (row,)
    column : Column
    said : Said
    limits : (float, float)
        Plausible balances, m w.e.

    Returns
    -------
    list of str
        Notes on glaciers and rows that may be in another unit.

    Raises
    ------
    InputError or InputErrors
    """
    labels = np.asarray(glacier).astype(str)
    far = (metres < limits[0]) | (metres > limits[1])
    if far.any():
        raise _too_large(metres, far, labels, column, said, limits)
    if said.units == "m w.e." or len(metres) < 2:
        return []
    _judge_table(metres, labels, column, said)
    problems = Problems()
    notes: list[str] = []
    judged = np.ones(len(metres), bool)
    for name in np.unique(labels):
        mine = labels == name
        with problems.collect():
            found = _judge_glacier(metres, mine, str(name), column, said)
            notes += found
            judged &= ~mine | (not found)
    problems.raise_if_any()
    return notes + judge_mixture(metres, judged, column, said)


def _too_large(
    metres: Floats, far: Bools, labels: npt.NDArray[np.str_], column: Column, said: Said, limits: tuple[float, float]
) -> InputError:
    other = "mm w.e." if said.units == "m w.e." else "m w.e."
    few = f"{listing((f'{v:.4g}' for v in metres[far]), 4)} m w.e. in {column.place(far)}"
    names = sorted(set(labels[far].tolist()))
    whole = [n for n in names if far[labels == n].mean() > 0.5]
    if len(names) < len(set(labels)) and whole and far.sum() > 1:
        few += f"; most balances of {listing(map(repr, whole))}"
    return InputError(
        column.where,
        expected=f"annual balances within {limits[0]:g}..{limits[1]:g} m w.e. when read as {said.units}",
        found=f"{int(far.sum())} of {len(far)} outside, such as {few}",
        remedy=f"if most values are like these, declare `{said.key % other}`, else correct these rows",
    )


def _rms(metres: Floats) -> float:
    return float(np.sqrt((metres**2).mean()))


def _judge_table(metres: Floats, labels: npt.NDArray[np.str_], column: Column, said: Said) -> None:
    spread = _rms(metres)
    least = 0.015 if said.units == "cm w.e." else 0.005
    unit = "m w.e." if 0 < spread < least else None
    if unit is None and said.units != "cm w.e." and 0 < spread < _SMALL and len(metres) >= 10 and len(set(labels)) > 2:
        unit, least = "cm w.e.", _SMALL
    if unit is not None:
        raise InputError(
            column.where,
            expected=f"a root mean square above {least:g} m w.e. when read as {said.units}",
            found=f"{spread:.2g} m w.e.",
            remedy=f"declare `{said.key % unit}`",
        )


def _judge_glacier(metres: Floats, mine: Bools, name: str, column: Column, said: Said) -> list[str]:
    """A note on a glacier that is odd; an InputError where only another unit explains it."""
    spread, others, count = _rms(metres[mine]), metres[~mine], int(mine.sum())
    if not len(others) or spread == 0 or _rms(others) < 5 * spread:
        large = len(others) > 0 and count > 2 and spread > _LARGE and _rms(others) < _LARGE / 2
        told = f"glacier {name!r}: balances of {spread:.2g} m w.e. (root mean square) when read as {said.units}"
        return [f"{column.where}: {told}; are they in another unit?"] if large else []
    unit = None
    if count > 1 and spread < (_METRES_AMONG_MM if said.units != "cm w.e." else 0.015):
        unit = "m w.e."
    elif count >= 6 and spread < _CENTIMETRES_AMONG_MM and said.units != "cm w.e.":
        unit = "cm w.e."
    if unit is not None:
        raise InputError(
            f"{column.where}: glacier {name!r}",
            expected=f"balances in {said.units}, as of the other glaciers (root mean square {_rms(others):.2g} m w.e.)",
            found=f"root mean square {spread:.2g} m w.e. in {column.place(mine)}, as if in {unit}",
            remedy=f"convert these rows to {said.units}",
        )
    tens = metres[mine] / TO_METRES[said.units] / 10
    if count < 3 or spread >= _SMALL_GLACIER or np.allclose(tens, np.round(tens), atol=1e-6):  # centimetres are finer
        return []
    told = f"balances of {spread:.2g} m w.e. (root mean square), of the others {_rms(others):.2g}"
    return [f"{column.where}: glacier {name!r}: {told}, when read as {said.units}; are they in cm w.e.?"]


def judge_mixture(metres: Floats, judged: Bools, column: Column, said: Said) -> list[str]:
    """Notes on rows that are perhaps in centimetres; an InputError for too many that are a few millimetres.

    `judged`, (row,), marks the rows to look at.
    """
    if said.units == "cm w.e.":
        return []
    size, raw = np.abs(metres), metres / TO_METRES[said.units]
    small = judged & (size > 0) & (size < _A_FEW_METRES)
    wider = judged & (size >= _A_FEW_METRES) & (size < 15 * _A_FEW_METRES)
    share = min(1.5 * (int(wider.sum()) + 1) / 14 / max(int(judged.sum()), 1), 1.0)
    many = scipy.stats.binom.sf(int(small.sum()) - 1, int(judged.sum()), share) < _CLEAR
    fractions = raw != np.round(raw)
    odd = small & fractions
    others = judged & ~small
    exact = others.sum() >= 2 and fractions[others].mean() < 0.05 and odd.any()
    if (small.sum() > 2 and many) or exact:
        which = small if many else odd
        raise InputError(
            column.where,
            expected=f"every balance in {said.units}",
            found=f"{int(which.sum())} of {len(metres)} below 8 {said.units}, as if in m w.e., such as "
            f"{listing((f'{v:.4g}' for v in raw[which]), 4)} in {column.place(which)}",
            remedy=f"convert these rows to {said.units} (tables of releases with different units were joined?)",
        )
    within, beyond = judged & (size > 0) & (size < 0.1), judged & (size >= 0.1) & (size < 0.2)
    both, asked = int(within.sum() + beyond.sum()), f"when read as {said.units}; are they in cm w.e.?"
    if both and scipy.stats.binom.sf(int(within.sum()) - 1, both, 0.55) < 10 * _CLEAR:
        told = (
            f"{int(within.sum())} of {len(metres)} balances within 0.1 m w.e., but {int(beyond.sum())} within 0.1..0.2"
        )
        return [f"{column.where}: {told}, {asked} {column.place(within)}"]
    written = judged & fractions
    if 2 < written.sum() < 0.5 * judged.sum() and _rms(metres[written]) < 0.2 * _rms(metres[judged & ~written]):
        told = f"{int(written.sum())} of {len(metres)} balances have decimals and are small"
        return [f"{column.where}: {told}, {asked} {column.place(written)}"]
    return []
