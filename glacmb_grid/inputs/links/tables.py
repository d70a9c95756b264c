"""Tables of sites with the identifiers and positions of their glaciers."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.balances.releases import glaciers_of, is_release
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.tables import LINE, column, positions, read_table, site_name

_SITE = ("fogid", "wgms_id", "glacier_id", "site")
_SITE_OF_FOG = "id"  # in `glacier.csv` of the Fluctuations of Glaciers since 2025
_GLACIER = ("rgiid", "rgi_id", "rgi7_id")
_LISTS = ("rgi50_ids", "rgi60_ids", "rgi70_ids")
_NAME = ("name", "short_name", "glacier_name")
_LONGITUDE = ("cenlon", "longitude", "lon")
_LATITUDE = ("cenlat", "latitude", "lat")
_VERSIONS = "rgi6_id"  # of the table that relates RGI 6 and 7
_MEASURED = {
    "annual_balance": "a table of mass balances",
    "mass_balance": "a table of mass balances",
    "balance": "a table of balances at points",
    "elevation_change": "a table of changes between surveys",
    "thickness_chg": "a table of changes between surveys",
    "front_variation": "a table of front variations",
}
"""Columns of tables that are given by mistake, and what these hold; their positions may be those of points."""


def read_link_table(path: str | Path) -> pd.DataFrame:
    r"""A table of sites with their RGI ids, positions, or both.

    Parameters
    ----------
    path : str or Path
        CSV, possibly with comment lines before the header: the RGI-FoG links table, the FoG "A" glacier table, or
        `glacier.csv` of the releases since 2025, whose cells list the identifiers of three versions of the RGI. Or a
        release of FoG as its ZIP or folder, of which that table is taken.

    Returns
    -------
    DataFrame
        Columns `site`, `rgi_id`, `name`, `longitude`, `latitude` (blank or NaN if missing); one row
        for each identifier.

    Raises
    ------
    InputError
        A table of something else: balances, changes, points; or one without identifiers and positions.

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "links.csv"
    >>> _ = path.write_text("WGMS_ID,RGI60_IDS,NAME\n491,RGI60-11.00897,Hintereisferner\n")
    >>> gg.read_link_table(path)[["site", "rgi_id", "name"]].values.tolist()
    [['491', 'RGI60-11.00897', 'Hintereisferner']]
    """
    if is_release(path):
        table = links_of_release(path)
        if table is None:
            raise InputError(
                f"{path}",
                expected="a release of Fluctuations of Glaciers with its table of glaciers",
                found="a release without",
                remedy="name the table itself, `observations: {links: {table: FILE}}`",
            )
        return table
    file = find_file(path, what="link table")
    return _links(read_table(file, header=(*_SITE, *_LISTS, _VERSIONS)), f"{file}")


def links_of_release(path: str | Path) -> pd.DataFrame | None:
    """As `read_link_table`, of a release of FoG (ZIP or folder); None of other files, or where it has no such table."""
    if not is_release(path):
        return None
    glaciers = glaciers_of(path)
    return None if glaciers is None else _links(glaciers, f"{path}: table of glaciers")


def _links(raw: pd.DataFrame, file: str) -> pd.DataFrame:
    of_fog = [n for n in _LISTS if n in raw]
    site = column(raw, (*_SITE, _SITE_OF_FOG) if of_fog else _SITE).map(site_name)
    identifiers = [raw[n].map(_listed) for n in of_fog] or [column(raw, _GLACIER).map(_listed)]
    listed = [list(dict.fromkeys(i for some in row for i in some)) or [""] for row in zip(*identifiers, strict=True)]
    table = pd.DataFrame({"site": site, "rgi_id": pd.Series(listed, index=raw.index, dtype=object)})
    table["name"] = column(raw, _NAME)
    table = table.join(positions(raw, _LONGITUDE, _LATITUDE, file))[table["site"] != ""]
    identified = bool((table["rgi_id"].str[0] != "").any())
    measured = next((what for name, what in _MEASURED.items() if name in raw), "")
    if not identified and (measured or not table["longitude"].notna().any()):
        raise InputError(
            file,
            expected="a table of glaciers: sites with their identifiers "
            f"({', '.join((*_GLACIER, *_LISTS))}) or the positions of the glaciers",
            found=f"{measured or 'neither of them'}: columns {listing(raw.columns.drop(LINE), 12)}",
            remedy="name it as `observations: {links: {versions: FILE}}`"
            if _VERSIONS in raw
            else "name glacier.csv of the Fluctuations of Glaciers (older: its table A), or a table of links",
        )
    return table.explode("rgi_id", ignore_index=True)


def _listed(cell: str) -> list[str]:
    """Identifiers in a cell, separated by bars, commas, semicolons or blanks."""
    return [i for i in re.split(r"[|,;\s]+", cell) if i]
