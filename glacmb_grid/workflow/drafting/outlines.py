"""How outlines have to be read: their layer, identifiers, reference system, and whether they come in pieces."""

from __future__ import annotations

import re
from pathlib import Path

import geopandas as gpd
import pyogrio

from glacmb_grid.errors import listing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.outlines import sound_outlines
from glacmb_grid.workflow.drafting.draft import Draft, Values, absolute, first_sound

_PIECE = re.compile(r".*_d\d\d$")
_ARGUMENT = {"id": "id_column"}


def find_outlines(out: Draft, path: str) -> gpd.GeoDataFrame:
    """Find out how outlines have to be read; the outlines."""
    file = find_file(path, what="glacier outlines")

    def read(how: Values) -> gpd.GeoDataFrame:
        return sound_outlines(file, **{_ARGUMENT.get(k, k): v for k, v in how.items()})[0]

    layers = _layers(file)
    of_layers: list[Values] = [{"layer": n} for n in layers] if len(layers) > 1 else [{}]
    placed = [*of_layers, *({**one, "crs": "EPSG:4326"} for one in of_layers)]
    named = [{**one, "id": column} for column in _possible_ids(file) for one in placed]
    how, glaciers = first_sound([*placed, *named], read)
    if any(_PIECE.match(str(i)) for i in glaciers.index):
        how, glaciers = first_sound([{**how, "merge_pieces": True}], read)
    out.sections["glaciers"] = {"path": absolute(path), **how}
    reasons = {
        "layer": f"the first of {listing(layers)} that holds outlines",
        "crs": "the file states none: its coordinates are taken for longitude and latitude",
        "id": "a column with another value in every row",
        "merge_pieces": "identifiers end in _d01, _d02: pieces of one glacier",
    }
    for key in how:
        out.say(f"glaciers.{key}", reasons[key])
    out.assumed.append(f"glaciers: {len(glaciers)} outlines, {glaciers['area'].sum():.1f} km2")
    return glaciers


def _layers(file: Path) -> list[str]:
    try:
        return [str(name) for name, kind in pyogrio.list_layers(file) if kind is not None]
    except pyogrio.errors.DataSourceError:
        return []


def _possible_ids(file: Path) -> list[str]:
    """Columns that could hold identifiers."""
    try:
        table = pyogrio.read_dataframe(file, read_geometry=False)
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError):
        return []
    kinds = {c: table[c].dtype.kind for c in table.columns}
    return [str(c) for c, kind in kinds.items() if kind != "f" and table[c].notna().all() and table[c].is_unique]
