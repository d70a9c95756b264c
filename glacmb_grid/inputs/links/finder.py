"""Finding the outline of a measured glacier: by hand, by identifier, by another version, by suffix or by position."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.links.names import are_alike, are_spellings, can_be_same
from glacmb_grid.inputs.links.versions import SAME_SHARE, version_of
from glacmb_grid.inputs.outlines import PIECE

_RGI_5_OR_6 = re.compile(r"^RGI[56]0-(\d{2}\.\d{5})$")  # versions that share their suffixes
_KM_PER_DEGREE = 111.2
_FAR = 10.0  # times the allowed distance; beyond it a position contradicts an identifier in any case
_NEAR_KM = 5.0  # from an outline that may be meant


class Site(NamedTuple):
    """A measured glacier: its identifiers in inventories, its names, and its position (degrees, NaN if unknown)."""

    name: str
    rgi_ids: tuple[str, ...]
    names: tuple[str, ...]
    longitude: float
    latitude: float


@dataclass
class Finder:
    """Finds the outline of a site.

    Attributes
    ----------
    glaciers : GeoDataFrame
    mapping : dict
        Site -> outline, by hand.
    suffix, position : bool
        Whether these kinds of link are allowed.
    max_distance_km : float
        From an outline at which a position confirms a suffix.
    section : str
        Of the configuration in which `mapping` links a site by hand, as in `links`.
    """

    glaciers: gpd.GeoDataFrame
    mapping: dict[str, str]
    suffix: bool
    position: bool
    max_distance_km: float
    section: str = "links"

    def __post_init__(self) -> None:
        self.suffixes: dict[str, str] = {}
        self.meant: dict[str, str] = {}  # outlines that may be meant, by the sites that have none
        self.versions: dict[str, pd.DataFrame] = {}
        self.related = False  # whether versions are known, also where they hold none of the sites
        self.version = next((v for g in self.glaciers.index[:1] if (v := version_of(g))), "")
        names = self.glaciers["name"] if "name" in self.glaciers else [""] * len(self.glaciers)
        self.names = {g: n if isinstance(n, str) else "" for g, n in zip(self.glaciers.index, names, strict=True)}
        self.outlines = dict(zip(self.glaciers.index, self.glaciers.geometry, strict=True))
        folded = pd.Series([str(g).casefold() for g in self.glaciers.index], index=self.glaciers.index, dtype=object)
        self.folded = {f: str(g) for g, f in folded[~folded.duplicated(keep=False)].items()}
        self.pieces: dict[str, list[str]] = {}
        for glacier in self.glaciers.index:
            match = _RGI_5_OR_6.match(glacier)
            if match:
                self.suffixes[match.group(1)] = glacier
            elif PIECE.search(glacier):
                self.pieces.setdefault(PIECE.sub("", glacier), []).append(glacier)

    def know(self, same: pd.DataFrame) -> None:
        """Remember which outlines share ice with those of another version."""
        self.related = True
        self.versions = {str(old): rows for old, rows in same.groupby("old")}

    def find(self, site: Site) -> tuple[str, str, str]:
        """Outline and kind of link, or blanks and the reason why there is none."""
        name = site.name
        if name in self.mapping:
            return self.mapping[name], "mapping", ""
        point = None
        if np.isfinite(site.longitude) and np.isfinite(site.latitude):
            point = shapely.Point(site.longitude, site.latitude)
        ids = site.rgi_ids or (() if name.isdigit() else (name,))  # a bare number may be of another numbering
        exact = [i for i in ids if i in self.glaciers.index]
        exact = exact or [self.folded[i.casefold()] for i in ids if i.casefold() in self.folded]
        if exact:
            return self._exact(name, exact, point)
        by_version = self._by_version(name, site.rgi_ids)
        if by_version is not None:
            return by_version
        by_suffix = self._by_suffix(site, point) if self.suffix else None
        if by_suffix is not None:
            return by_suffix
        if self.position and point is not None:
            return self._by_position(site, point)
        return "", "", self._without(site, point)

    def _without(self, site: Site, point: shapely.Point | None) -> str:
        """Why a site has no outline."""
        for one in site.rgi_ids:
            if one in self.pieces:
                return (
                    f"its outline is in pieces ({listing(self.pieces[one], 2)}): set `glaciers: {{merge_pieces: true}}`"
                )
        if not site.rgi_ids and site.name in self.glaciers.index:
            return (
                "an outline has this number as its identifier: if both are of one numbering, name the column also as "
                "that of the outlines' identifiers, `observations: {columns: {rgi_id: COLUMN}}`"
            )
        why = "no outline with this identifier" if site.rgi_ids else "neither an outline's identifier nor a position"
        return why + self._of_other_version(site) + self._meant(site, point)

    def _of_other_version(self, site: Site) -> str:
        """That identifiers are of another version of the RGI than the outlines, and what relates both."""
        theirs = {v for one in site.rgi_ids if (v := version_of(one))}
        if self.related or not theirs or not self.version or self.version in theirs:
            return ""
        mine, other = self.version, sorted(theirs)[-1]
        if {mine, other} == {"RGI 5", "RGI 6"}:
            return ""  # whose suffixes are the same
        return (
            f"; its identifier is of {other}, the outlines are of {mine}: name the links of RGI 7 "
            f"(`...-rgi6_links.csv`) or the outlines of {other}, `observations: {{links: {{versions: FILE}}}}`, or "
            "positions, `observations: {links: {table: FILE}}`"
        )

    def _meant(self, site: Site, point: shapely.Point | None) -> str:
        """The outline that may be meant, by name or by distance, and how to link it."""
        names = site.names or (() if site.name.isdigit() else (site.name,))
        if point is None and not any(names):
            return ""
        near = list(self.glaciers.index)
        if point is not None:
            reach = _NEAR_KM / _KM_PER_DEGREE
            stretch = 1 / max(np.cos(np.deg2rad(point.y)), 0.05)
            box = shapely.box(point.x - reach * stretch, point.y - reach, point.x + reach * stretch, point.y + reach)
            near = [str(self.glaciers.index[k]) for k in self.glaciers.sindex.query(box)]
            near = sorted(near, key=lambda g: self._distance_km(g, point))
        same = are_spellings if point is None else are_alike
        alike = [g for g in near if any(same(self.names[g], n) for n in names)]
        if alike and (point is not None or len(alike) == 1):
            line = self._pasted(site.name, alike[0])
            return f"; {self._called(alike[0])} has a similar name: if it is the same, {line}"
        if near and point is not None:
            away = self._distance_km(near[0], point)
            text = f"{self._called(near[0])} is {away:.1f} km away"
            return f"; {text}: if it is the same, {self._pasted(site.name, near[0])}"
        return ""

    def _swapped(self, point: shapely.Point) -> str:
        """That a position far from all outlines lies among them with its coordinates swapped."""
        among = shapely.box(*self.glaciers.total_bounds).buffer(1.0)
        swapped = among.contains(shapely.Point(point.y, point.x)) and not among.contains(point)
        return ", but among them if latitude and longitude are swapped" if swapped else ""

    def _called(self, glacier: str) -> str:
        name = self.names[glacier]
        return f"{glacier} ({name})" if name else glacier

    def _by_version(self, name: str, ids: tuple[str, ...]) -> tuple[str, str, str] | None:
        known = [self.versions[i] for i in ids if i in self.versions]
        if not known:
            return None
        rows = pd.concat(known)
        same = rows[(rows["old_share"] >= SAME_SHARE) & (rows["new_share"] >= SAME_SHARE)]
        found = list(dict.fromkeys(same["new"]))
        if len(found) > 1:
            raise self._undecided(
                name, "one outline", f"the same glacier in another version for several: {listing(found)}"
            )
        if found:
            return str(found[0]), "version", ""
        best = rows.sort_values("old_share").iloc[-1]
        line = self._pasted(name, str(best["new"]))
        why = (
            f"{best['old']} is another glacier in this version: {best['new']} shares {best['old_share']:.0%} of it, "
            f"which are {best['new_share']:.0%} of {best['new']}; if it is the same, {line}"
        )
        return "", "", why

    def _exact(self, name: str, ids: list[str], point: shapely.Point | None) -> tuple[str, str, str]:
        if len(ids) > 1:
            raise self._undecided(name, "one outline", f"identifiers of several: {listing(ids)}")
        distance = self._distance_km(ids[0], point) if point is not None else 0.0
        if point is not None and distance > self.max_distance_km:
            holders = self._around(point)
            if holders or distance > _FAR * self.max_distance_km:
                found = f"a position {distance:.0f} km away" + (f", inside {listing(holders)}" if holders else "")
                expected = f"a position in or near {ids[0]}, the outline with its identifier"
                raise self._undecided(name, expected, found, "correct the identifier or the position, or ")
        return ids[0], "exact", ""

    def _by_suffix(self, site: Site, point: shapely.Point | None) -> tuple[str, str, str] | None:
        name = site.name
        suffixes = [m.group(1) for i in site.rgi_ids if (m := _RGI_5_OR_6.match(i))]
        found = {self.suffixes[s] for s in suffixes if s in self.suffixes}  # never of RGI 7, whose identifiers are new
        if not found:
            return None
        if len(found) > 1:
            raise self._undecided(name, "one outline", f"suffixes of several: {listing(found)}")
        (glacier,) = found
        if point is None:
            why = f"same suffix as {glacier}, but no position to confirm it (give links.table or links.positions)"
            return "", "", why
        distance = self._distance_km(glacier, point)
        if distance > self.max_distance_km:
            return "", "", f"same suffix as {glacier}, but its position lies {distance:.0f} km away"
        if other := self._other_name(site, glacier):
            why = f"same suffix as {self._called(glacier)}, but the site is called {other}"
            return "", "", f"{why}; if it is the same, {self._pasted(name, glacier)}"
        return glacier, "suffix", ""

    def _by_position(self, site: Site, point: shapely.Point) -> tuple[str, str, str]:
        name, holders = site.name, self._around(point)
        if len(holders) > 1:
            raise self._undecided(name, "a position inside one outline", f"inside {listing(holders)}")
        if holders and PIECE.search(holders[0]):
            expected, found = "a position inside the outline of a whole glacier", f"inside {holders[0]}, a piece of one"
            raise self._undecided(name, expected, found, "merge the pieces, `glaciers: {merge_pieces: true}`, or ")
        if not holders:
            why = "its position is outside all outlines" + self._swapped(point) + self._of_other_version(site)
            return "", "", why + self._meant(site, point)
        (glacier,) = holders
        other = self._other_name(site, glacier)
        meant = "" if self.names[glacier] and not other else self._meant(site, point)
        if other or ("similar name" in meant and glacier not in meant):
            why = f"its position lies inside {self._called(glacier)}, but the site is called {other or site.names[0]}"
            return (
                "",
                "",
                why + (meant if "similar name" in meant else f"; if it is the same, {self._pasted(name, glacier)}"),
            )
        return glacier, "position", ""

    def _other_name(self, site: Site, glacier: str) -> str:
        """The name of a site that cannot be that of an outline; empty where one of its names can."""
        names, own = site.names, self.names[glacier]
        fits = not names or any(can_be_same(own, n) for n in names)
        return "" if fits else str(names[0])

    def _around(self, point: shapely.Point) -> list[str]:
        hits = self.glaciers.sindex.query(point, predicate="intersects")
        return [str(g) for g in self.glaciers.index[hits]]

    def _distance_km(self, glacier: str, point: shapely.Point) -> float:
        """Distance from the outline on a plane around the point, km."""
        outline = self.outlines[glacier]
        middle = (outline.bounds[0] + outline.bounds[2]) / 2
        turn = 360.0 * np.round((middle - point.x) / 360.0)
        squeeze = np.array([np.cos(np.deg2rad(point.y)), 1.0])
        near = shapely.transform(point, lambda c: (c + np.array([turn, 0.0])) * squeeze)
        return float(shapely.distance(shapely.transform(outline, lambda c: c * squeeze), near)) * _KM_PER_DEGREE

    def _pasted(self, site: str, glacier: str) -> str:
        """The line that links a site by hand."""
        if glacier in self.outlines:
            self.meant[site] = glacier
        return f"`observations: {{{self.section}: {{mapping: {{'{site}': {glacier}}}}}}}`"

    def _undecided(self, name: str, expected: str, found: str, before: str = "") -> InputError:
        remedy = f"{before}decide with {self._pasted(name, 'ID')}"
        return InputError(f"observations: site {name}", expected=expected, found=found, remedy=remedy)
