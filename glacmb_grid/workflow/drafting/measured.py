"""How observations have to be read: their unit, and the table that relates their sites to outlines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd

from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.inputs.balances import read_observations
from glacmb_grid.inputs.links.tables import links_of_release, read_link_table
from glacmb_grid.settings import Links
from glacmb_grid.workflow.drafting.draft import FILL_IN, Draft, Values, absolute, first_sound, hushed
from glacmb_grid.workflow.linking import linked
from glacmb_grid.workflow.sources import ObservedTables

_UNITS = ("mm w.e.", "cm w.e.", "m w.e.")


def find_observations(out: Draft, given: str | None, glaciers: gpd.GeoDataFrame) -> None:
    """Find out how observations have to be read and linked."""
    if given is None:
        out.leave_open(
            "observations", {"path": FILL_IN}, "annual glacier-wide balances; with `units:` where no file states them"
        )
        return
    path = Path(given)

    def read(how: Values) -> pd.DataFrame:
        table = read_observations(path, **how)
        if "units" in how and table["mass_balance"].abs().median() < 0.02:
            raise InputError(
                f"{path}", expected="balances", found=f"tiny ones in {how['units']}", remedy="another unit"
            )
        return table

    units: list[Values] = [{}, *({"units": u} for u in _UNITS)]
    how, observed = first_sound([*units, *({**u, "periods": "leave_out"} for u in units)], read)
    section: Values = {"path": absolute(given), **how}
    if "units" in how:
        out.say("observations.units", "the unit in which all balances are plausible; no file states it")
    if "periods" in how:
        out.say("observations.periods", "balances over several years or a part of one are left out")
    with hushed():
        own = links_of_release(path)
    best, links = _matched(observed, own, None, glaciers), {}
    for kind, beside in () if best == len(observed) else _tables_beside(path):
        with hushed():
            other = read_link_table(beside)
        table, positions = (other, None) if kind == "table" else (own, other)
        if (more := _matched(observed, table, positions, glaciers)) > best:
            best, links = more, {kind: absolute(str(beside))}
    if links:
        section["links"] = links
        out.say("observations.links", "the table beside the balances by which most of them find an outline")
    elif best < len(observed) and (by_name := _of_same_name(observed, glaciers)):
        section["links"] = {"mapping": by_name}
        out.say("observations.links", "sites and outlines of the same name: make sure that each is the same glacier")
        with hushed():
            tables = ObservedTables(observed, own, None)
            best = len(linked(tables, glaciers, Links(mapping=by_name)).observations)
    out.sections["observations"] = section
    sites = observed["site"].nunique()
    out.assumed.append(f"observations: {len(observed)} balances of {sites} sites, {best} find an outline")
    if best < len(observed):
        without = "none" if not best else "not all"
        out.assumed.append(
            f"observations: {without} of them can be learnt from yet: say which outline a site is, in the file "
            "`observations: {columns: {rgi_id: COLUMN}}`, in another `{links: {table: FILE}}`, or by hand "
            f"`{{links: {{mapping: {{'{observed['site'].iloc[0]}': OUTLINE}}}}}}`"
        )


def _of_same_name(observed: pd.DataFrame, glaciers: gpd.GeoDataFrame) -> dict[str, str]:
    """Sites without an outline that have the name of one outline, by their name or by their identifier."""
    if "name" not in glaciers:
        return {}
    with hushed():
        missed = linked(ObservedTables(observed, None, None), glaciers, Links()).unmatched.drop_duplicates("site")
    called = glaciers["name"].fillna("").astype(str).str.strip().str.casefold()
    once = called[(called != "") & ~called.duplicated(keep=False)]
    outlines = dict(zip(once, once.index, strict=True))
    names = missed["name"].where(missed["name"] != "", missed["site"]).str.strip().str.casefold()
    found = {s: str(outlines[n]) for s, n in zip(missed["site"], names, strict=True) if n in outlines}
    return found if len(set(found.values())) == len(found) else {}


def _matched(observed: pd.DataFrame, table: Any, positions: Any, glaciers: gpd.GeoDataFrame) -> int:
    """How many observations find an outline by these tables."""
    with hushed():
        return len(linked(ObservedTables(observed, table, positions), glaciers, Links()).observations)


def _tables_beside(path: Path) -> Iterator[tuple[str, Path]]:
    """Tables in the folder of the balances that relate sites to outlines, each as both kinds."""
    folder = path if path.is_dir() else path.parent
    for beside in sorted(p for p in folder.glob("*.csv") if p != path):
        try:
            with hushed():
                read_link_table(beside)
        except (InputError, InputErrors):
            continue
        yield "table", beside
        yield "positions", beside
