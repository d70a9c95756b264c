"""Fluctuations of Glaciers since 2025: lower case, glacier-wide rows, dates; m w.e., as `datapackage.json` says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.balances.layouts import COMMON, Layout, both_bounds_whole
from glacmb_grid.inputs.units import TO_METRES, BalanceUnits

LAYOUT = Layout(
    "Fluctuations of Glaciers since 2025",
    lambda names: {"glacier_id", "annual_balance", "year"} <= names,
    COMMON,
    both_bounds_whole,
)
_SPELLINGS = {"mwe": "m w.e.", "mmwe": "mm w.e.", "cmwe": "cm w.e.", "kgm-2": "kg m-2", "kg/m2": "kg m-2"}


def units_in(package: bytes, table: str, where: str) -> BalanceUnits | None:
    """The unit of `annual_balance` in a table (its file name) by a `datapackage.json`; None if it does not say.

    Raises
    ------
    InputError
        Broken JSON, or a unit that is not known.
    """
    try:
        content = json.loads(package.decode("utf-8-sig"))
    except ValueError as error:
        remedy = "unpack the release again, or give the table itself with `observations: {units: ...}`"
        raise InputError(where, expected="JSON", found=str(error), remedy=remedy) from error
    for resource in _dicts(content.get("resources") if isinstance(content, dict) else None):
        if not str(resource.get("path", resource.get("name", ""))).endswith((table, table.removesuffix(".csv"))):
            continue
        schema = resource.get("schema")
        for field in _dicts(schema.get("fields") if isinstance(schema, dict) else None):
            if str(field.get("name", "")).lower() == "annual_balance":
                return _known(field.get("units", field.get("unit")), where)
    return None


def unit_spelled(text: str) -> BalanceUnits | None:
    """The unit of balances that a text spells, as `mm w.e.`, `mm we`, `mm w.e. a-1` or `kg m**-2`; None for others."""
    plain = "".join(text.lower().replace("w.e.", "we").replace("**", "").replace("^", "").split())
    unit = _SPELLINGS.get(re.sub(r"(/(a|yr|year)|(a|yr|year)-1)$", "", plain))
    return next((known for known in TO_METRES if known == unit), None)


def _dicts(many: Any) -> Iterator[dict[str, Any]]:
    yield from (one for one in many if isinstance(one, dict)) if isinstance(many, list) else ()


def _known(text: object, where: str) -> BalanceUnits | None:
    if text is None:
        return None
    if (unit := unit_spelled(str(text))) is not None:
        return unit
    raise InputError(
        f"{where}: annual_balance: units",
        expected=f"one of {', '.join(TO_METRES)}",
        found=repr(text),
        remedy="look the unit up in the release's documentation and declare `observations: {units: ...}`",
    )
