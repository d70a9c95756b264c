"""Which outlines of one version of an inventory are which of another: a table of links, or the other outlines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.outlines import sound_outlines
from glacmb_grid.inputs.tables import LINE, numbers, read_table

SAME_SHARE = 0.7  # of both areas: the same glacier in two versions
_VERSION = re.compile(r"^RGI(?:([56])0-\d{2}\.\d{5}|2000-v(7)\.\d-[GC]-\d{2}-\d{5})")
_TABLES = (".csv", ".txt", ".tsv")
_PAIRS = (("rgi7_id", "rgi6_id"), ("rgi7_area_fraction", "rgi6_area_fraction"))


def version_of(identifier: str) -> str:
    """The version of the RGI that an identifier is of, such as `RGI 6`; empty for others."""
    found = _VERSION.match(str(identifier))
    return f"RGI {found[1] or found[2]}" if found else ""


def read_versions(path: str | Path) -> pd.DataFrame:
    """The table of links that RGI 7 is delivered with (`...-rgi6_links.csv`), or outlines of another version.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DataFrame or GeoDataFrame
        Columns `old`, `new`, `old_share`, `new_share` (shares of the area in common), or outlines as `read_outlines`
        gives them.

    Raises
    ------
    InputError
        A table without the columns of RGI 7's; outlines that cannot be read.
    """
    file = find_file(path, what="links between versions")
    if file.suffix.lower() not in _TABLES:
        outlines: pd.DataFrame = sound_outlines(file)[0]
        return outlines
    raw = read_table(file, header=_PAIRS[0])
    if missing := [n for pair in _PAIRS for n in pair if n not in raw]:
        raise InputError(
            f"{file}",
            expected=f"the columns {', '.join(n for pair in _PAIRS for n in pair)}, as RGI 7 delivers them",
            found=f"no {', '.join(missing)}; columns {listing(c for c in raw if c != LINE)}",
            remedy="name the file `RGI2000-v7.0-G-...-rgi6_links.csv`, or the outlines of the other version",
        )
    shares = {n: numbers(raw[n], raw[LINE], f"{file}: {n}") for n in _PAIRS[1]}
    seven, six = (raw[n].to_numpy(dtype=object) for n in _PAIRS[0])
    of_seven, of_six = (shares[n] for n in _PAIRS[1])
    there = pd.DataFrame({"old": six, "new": seven, "old_share": of_six, "new_share": of_seven})
    back = pd.DataFrame({"old": seven, "new": six, "old_share": of_seven, "new_share": of_six})
    return pd.concat([there, back], ignore_index=True)


def in_other_version(
    identifiers: Mapping[str, None], versions: pd.DataFrame, glaciers: gpd.GeoDataFrame
) -> pd.DataFrame:
    """Outlines of a run that share ice with outlines of another version.

    Parameters
    ----------
    identifiers : mapping
        Those of the other version, as keys.
    versions : DataFrame or GeoDataFrame
        From `read_versions`.
    glaciers : GeoDataFrame

    Returns
    -------
    DataFrame
        Columns `old`, `new`, `old_share`, `new_share`; only of these identifiers and outlines of the run.
    """
    if not isinstance(versions, gpd.GeoDataFrame):
        return versions[versions["old"].isin(list(identifiers)) & versions["new"].isin(glaciers.index)]
    known = [i for i in identifiers if i in versions.index]
    shapes, others = np.asarray(versions.geometry.loc[known].array), np.asarray(glaciers.geometry.array)
    old, new = glaciers.sindex.query(shapes, predicate="intersects")
    common = shapely.area(shapely.intersection(shapes[old], others[new]))
    return pd.DataFrame(
        {
            "old": np.array(known, dtype=object)[old],
            "new": glaciers.index.to_numpy()[new],
            "old_share": common / shapely.area(shapes[old]),
            "new_share": common / shapely.area(others[new]),
        }
    )
