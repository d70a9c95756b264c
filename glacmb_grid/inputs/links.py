"""Linking observations to glacier outlines, with the evidence for each link."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.outlines import PIECE
from glacmb_grid.inputs.tables import column, positions, read_table, site_name

_RGI_5_OR_6 = re.compile(r"^RGI[56]0-(\d{2}\.\d{5})$")  # versions that share their suffixes
_KM_PER_DEGREE = 111.2
_FAR = 10.0  # times the allowed distance; beyond it a position contradicts an identifier in any case
_SITE = ("fogid", "wgms_id", "glacier_id", "site")
_GLACIER = ("rgiid", "rgi_id", "rgi7_id")
_LONGITUDE = ("cenlon", "longitude", "lon")
_LATITUDE = ("cenlat", "latitude", "lat")


@dataclass(frozen=True)
class Linked:
    """Observations with and without an outline.

    Attributes
    ----------
    observations : DataFrame
        Rows with an outline: as read, with `glacier` (outline id) and `link` (mapping, exact, suffix or position).
    unmatched : DataFrame
        The other rows, with a `reason`.
    """

    observations: pd.DataFrame
    unmatched: pd.DataFrame

    def __repr__(self) -> str:
        linked, missed = len(self.observations), len(self.unmatched)
        kinds = ", ".join(f"{n} by {kind}" for kind, n in self.observations["link"].value_counts().items())
        where = f"{self.observations['glacier'].nunique()} glaciers"
        share = f"{linked / max(linked + missed, 1):.0%} linked"
        return f"<Linked: {linked} observations of {where} ({kinds or 'none'}), {missed} unmatched, {share}>"

    def _repr_html_(self) -> str:
        reasons = self.unmatched["reason"].value_counts().to_frame("unmatched").to_html() if len(self.unmatched) else ""
        return f"<code>{escape(repr(self))}</code>{reasons}"


def read_link_table(path: str | Path) -> pd.DataFrame:
    """A table of sites with their RGI ids, positions, or both.

    Parameters
    ----------
    path : str or Path
        CSV, possibly with comment lines before the header: the RGI-FoG links table or the FoG "A" glacier table.

    Returns
    -------
    DataFrame
        Columns `site`, `rgi_id`, `longitude`, `latitude` (blank or NaN if missing).
    """
    file = find_file(path, what="link table")
    raw = read_table(file, header=_SITE)
    table = pd.DataFrame({"site": column(raw, _SITE).map(site_name), "rgi_id": column(raw, _GLACIER)})
    return table.join(positions(raw, _LONGITUDE, _LATITUDE, file))[table["site"] != ""]


def link(
    observations: pd.DataFrame,
    glaciers: gpd.GeoDataFrame,
    *,
    table: pd.DataFrame | None = None,
    positions: pd.DataFrame | None = None,
    mapping: Mapping[str, str] | None = None,
    suffix: bool = True,
    position: bool = True,
    max_distance_km: float = 2.0,
) -> Linked:
    """Link observations to outlines.

    The first of these that succeeds: the explicit mapping; the identifier in the observations or the link table; the
    suffix that RGI 5 and RGI 6 share for a glacier, if a known position confirms it; the outline around the position.

    Parameters
    ----------
    observations : DataFrame
        From `read_observations`.
    glaciers : GeoDataFrame
        From `read_outlines`.
    table, positions : DataFrame, optional
        From `read_link_table`: RGI ids of sites, positions of sites.
    mapping : mapping, optional
        Site -> outline id.
    suffix, position : bool
        Whether these two kinds of link are allowed.
    max_distance_km : float
        Largest distance from an outline at which a position confirms a suffix.

    Raises
    ------
    InputError or InputErrors
        A mapping to an unknown outline, two sites on one outline in one year, a position inside two outlines, an
        identifier and a position that contradict each other.
    """
    problems = Problems()
    chosen = {site_name(site): glacier for site, glacier in (mapping or {}).items()}
    with problems.collect():
        _check_mapping(chosen, observations, glaciers)
    sites = _sites(observations, table, positions)
    finder = _Finder(glaciers, chosen, suffix, position, max_distance_km)
    found: dict[str, tuple[str, str, str]] = {}
    for site in sites.index.astype(str):
        with problems.collect():
            found[site] = finder.find(sites.loc[site])
    problems.raise_if_any()
    labelled = observations.assign(
        glacier=observations["site"].map(lambda s: found[s][0]),
        link=observations["site"].map(lambda s: found[s][1]),
        reason=observations["site"].map(lambda s: found[s][2]),
    )
    matched = labelled["glacier"] != ""
    linked = labelled[matched].drop(columns="reason")
    _refuse_two_sites(linked)
    unmatched = labelled.loc[~matched, ["site", "name", "year", "mass_balance", "rgi_id", "line", "reason"]]
    return Linked(linked.reset_index(drop=True), unmatched.reset_index(drop=True))


def _check_mapping(mapping: Mapping[str, str], observations: pd.DataFrame, glaciers: gpd.GeoDataFrame) -> None:
    problems = Problems()
    for key, wrong, what in (
        ("site", sorted(set(mapping) - set(observations["site"])), "a site of the observations"),
        ("outline", sorted(set(mapping.values()) - set(glaciers.index)), "an outline of this run"),
    ):
        if wrong:
            with problems.collect():
                raise InputError(
                    f"observations.links.mapping: {key}",
                    expected=what,
                    found=listing(map(repr, wrong)),
                    remedy="correct the identifier, or remove the entry",
                )
    problems.raise_if_any()


def _sites(observations: pd.DataFrame, table: pd.DataFrame | None, positions: pd.DataFrame | None) -> pd.DataFrame:
    """One row per site with all its RGI ids and a position; the observations take precedence over the tables."""
    extra = [t for t in (table, positions) if t is not None]
    everything = pd.concat([observations[["site", "rgi_id", "longitude", "latitude"]], *extra], ignore_index=True)
    everything = everything[everything["site"].isin(observations["site"])]
    rows = everything.groupby("site", sort=True)
    known = everything.dropna(subset=["longitude", "latitude"]).drop_duplicates("site").set_index("site")
    ids = {str(site): tuple(dict.fromkeys(i for i in group["rgi_id"] if i)) for site, group in rows}
    sites = pd.DataFrame({"rgi_ids": pd.Series(ids, dtype=object)})
    return sites.join(known[["longitude", "latitude"]])


@dataclass
class _Finder:
    glaciers: gpd.GeoDataFrame
    mapping: dict[str, str]
    suffix: bool
    position: bool
    max_distance_km: float

    def __post_init__(self) -> None:
        self.suffixes: dict[str, str] = {}
        for glacier in self.glaciers.index:
            match = _RGI_5_OR_6.match(glacier)
            if match:
                self.suffixes[match.group(1)] = glacier

    def find(self, site: pd.Series) -> tuple[str, str, str]:
        """Outline and kind of link, or blanks and the reason why there is none."""
        name = str(site.name)
        if name in self.mapping:
            return self.mapping[name], "mapping", ""
        point = None
        if pd.notna(site["longitude"]) and pd.notna(site["latitude"]):
            point = shapely.Point(float(site["longitude"]), float(site["latitude"]))
        exact = [i for i in site["rgi_ids"] if i in self.glaciers.index]
        if exact:
            return self._exact(name, exact, point)
        by_suffix = self._by_suffix(name, site["rgi_ids"], point) if self.suffix else None
        if by_suffix is not None:
            return by_suffix
        if self.position and point is not None:
            return self._by_position(name, point)
        return "", "", "no outline with this identifier" if site["rgi_ids"] else "neither identifier nor position"

    def _exact(self, name: str, ids: list[str], point: shapely.Point | None) -> tuple[str, str, str]:
        if len(ids) > 1:
            raise _undecided(name, "one outline", f"identifiers of several: {listing(ids)}")
        distance = self._distance_km(ids[0], point) if point is not None else 0.0
        if point is not None and distance > self.max_distance_km:
            holders = self._around(point)
            if holders or distance > _FAR * self.max_distance_km:
                found = f"a position {distance:.0f} km away" + (f", inside {listing(holders)}" if holders else "")
                expected = f"a position in or near {ids[0]}, the outline with its identifier"
                raise _undecided(name, expected, found, "correct the identifier or the position, or ")
        return ids[0], "exact", ""

    def _by_suffix(self, name: str, ids: tuple[str, ...], point: shapely.Point | None) -> tuple[str, str, str] | None:
        suffixes = [m.group(1) for i in ids if (m := _RGI_5_OR_6.match(i))]
        found = {self.suffixes[s] for s in suffixes if s in self.suffixes}  # never of RGI 7, whose identifiers are new
        if not found:
            return None
        if len(found) > 1:
            raise _undecided(name, "one outline", f"suffixes of several: {listing(found)}")
        (glacier,) = found
        if point is None:
            why = f"same suffix as {glacier}, but no position to confirm it (give links.table or links.positions)"
            return "", "", why
        distance = self._distance_km(glacier, point)
        if distance > self.max_distance_km:
            return "", "", f"same suffix as {glacier}, but its position lies {distance:.0f} km away"
        return glacier, "suffix", ""

    def _by_position(self, name: str, point: shapely.Point) -> tuple[str, str, str]:
        holders = self._around(point)
        if len(holders) > 1:
            raise _undecided(name, "a position inside one outline", f"inside {listing(holders)}")
        if holders and PIECE.search(holders[0]):
            expected, found = "a position inside the outline of a whole glacier", f"inside {holders[0]}, a piece of one"
            raise _undecided(name, expected, found, "merge the pieces, `glaciers: {merge_pieces: true}`, or ")
        return (holders[0], "position", "") if holders else ("", "", "its position is outside all outlines")

    def _around(self, point: shapely.Point) -> list[str]:
        hits = self.glaciers.sindex.query(point, predicate="intersects")
        return [str(g) for g in self.glaciers.index[hits]]

    def _distance_km(self, glacier: str, point: shapely.Point) -> float:
        """Distance from the outline on a plane around the point, km."""
        outline = self.glaciers.geometry[glacier]
        middle = (outline.bounds[0] + outline.bounds[2]) / 2
        turn = 360.0 * np.round((middle - point.x) / 360.0)
        squeeze = np.array([np.cos(np.deg2rad(point.y)), 1.0])
        near = shapely.transform(point, lambda c: (c + np.array([turn, 0.0])) * squeeze)
        return float(shapely.distance(shapely.transform(outline, lambda c: c * squeeze), near)) * _KM_PER_DEGREE


def _undecided(name: str, expected: str, found: str, before: str = "") -> InputError:
    remedy = f"{before}decide with `observations: {{links: {{mapping: {{'{name}': ID}}}}}}`"
    return InputError(f"observations: site {name}", expected=expected, found=found, remedy=remedy)


def _refuse_two_sites(linked: pd.DataFrame) -> None:
    repeated = linked.duplicated(["glacier", "year"], keep=False)
    if repeated.any():
        sites = linked[repeated].groupby("glacier")["site"].unique()
        pairs = [f"{g}: sites {', '.join(map(str, s))}" for g, s in sites.items()]
        raise InputError(
            "observations",
            expected="one site per outline and year",
            found=f"several sites on one outline in the same year: {listing(pairs)}",
            remedy="remove one (a glacier and its branches must not both be listed), or separate them with "
            "`observations.links.mapping`",
        )
