"""Which outline an observation belongs to, and how we know."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.files import find_files

_RGI_OLD = re.compile(r"^RGI(\d)\d-(\d{2}\.\d{5})$")
_RGI_NEW = re.compile(r"^RGI2000-v7")
_KM_PER_DEGREE = 111.2
_SITE = ("fogid", "wgms_id", "glacier_id", "site")
_GLACIER = ("rgiid", "rgi_id", "rgi7_id")
_LONGITUDE = ("cenlon", "longitude", "lon")
_LATITUDE = ("cenlat", "latitude", "lat")


@dataclass(frozen=True)
class Linked:
    """Observations with their outlines, and those that found none.

    Attributes
    ----------
    observations : DataFrame
        As read, with `glacier` (outline id) and `link`: `mapping`, `exact`, `suffix` or `position`.
    unmatched : DataFrame
        The other rows, with the `reason`.
    """

    observations: pd.DataFrame
    unmatched: pd.DataFrame


def read_link_table(path: str | Path) -> pd.DataFrame:
    """A table of sites with their RGI ids, positions, or both.

    Parameters
    ----------
    path : str or Path
        CSV, comment lines before its header allowed: the RGI-FoG links table or the FoG "A" glacier table.

    Returns
    -------
    DataFrame
        Columns `site`, `rgi_id`, `longitude`, `latitude` (blank or NaN where the table has none).
    """
    file = find_files(path, what="link table")[0]
    lines = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    start = next((i for i, line in enumerate(lines[:50]) if _is_header(line)), None)
    if start is None:
        raise InputError(
            f"{file}",
            expected=f"a header with one of {', '.join(_SITE)} (in any case)",
            found=f"first line {lines[0][:80]!r}" if lines else "an empty file",
            remedy="give the RGI-FoG links table or the FoG glacier table",
        )
    raw = pd.read_csv(io.StringIO("\n".join(lines[start:])), dtype=str, keep_default_na=False)
    lower = {str(c).strip().lower(): c for c in raw.columns}

    def column(names: tuple[str, ...]) -> pd.Series:
        found = next((lower[n] for n in names if n in lower), None)
        return raw[found].str.strip() if found is not None else pd.Series("", index=raw.index, dtype=object)

    site = column(_SITE).map(lambda s: s.lstrip("0") or "0" if s.isdigit() else s)
    position = {
        "longitude": pd.to_numeric(column(_LONGITUDE), errors="coerce"),
        "latitude": pd.to_numeric(column(_LATITUDE), errors="coerce"),
    }
    return pd.DataFrame({"site": site, "rgi_id": column(_GLACIER), **position})[site != ""]


def _is_header(line: str) -> bool:
    return any(cell.strip().lower() in _SITE for cell in line.split(","))


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

    Tried in this order: the explicit mapping; the identifier of the observation or of the link table as it stands; the
    suffix that RGI 5 and RGI 6 share for the same glacier, where a known position confirms it; the outline that the
    position lies in.

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
        Whether these two kinds are allowed.
    max_distance_km : float
        How far outside its outline a position may lie to confirm a suffix.

    Raises
    ------
    InputError or InputErrors
        A mapping to an unknown outline, two sites on one outline in one year, a
        position inside two outlines, an identifier and a position that contradict each other.
    """
    sites = _sites(observations, table, positions)
    finder = _Finder(glaciers, dict(mapping or {}), suffix, position, max_distance_km)
    problems = Problems()
    known = {str(s): problems.attempt(lambda row=row: finder.find(row)) for s, row in sites.iterrows()}
    problems.raise_if_any()
    found = {s: k if k is not None else ("", "", "") for s, k in known.items()}
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


def _sites(observations: pd.DataFrame, table: pd.DataFrame | None, positions: pd.DataFrame | None) -> pd.DataFrame:
    """One row per site: every RGI id named for it and a position, from the observations first."""
    extra = [t for t in (table, positions) if t is not None]
    everything = pd.concat([observations[["site", "rgi_id", "longitude", "latitude"]], *extra], ignore_index=True)
    everything = everything[everything["site"].isin(observations["site"])]
    groups = everything.groupby("site", sort=True)
    return pd.DataFrame(
        {
            "rgi_ids": groups["rgi_id"].agg(lambda ids: tuple(dict.fromkeys(i for i in ids if i))),
            "longitude": groups["longitude"].first(),
            "latitude": groups["latitude"].first(),
        }
    )


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
            match = _RGI_OLD.match(glacier)
            if match:
                self.suffixes[match.group(2)] = glacier

    def find(self, site: pd.Series) -> tuple[str, str, str]:
        """Outline, kind of link, and else the reason why there is none."""
        name = str(site.name)
        if name in self.mapping:
            return self._mapped(name)
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

    def _mapped(self, name: str) -> tuple[str, str, str]:
        target = self.mapping[name]
        if target not in self.glaciers.index:
            raise InputError(
                f"observations.links.mapping: {name}",
                expected="an outline of this run",
                found=repr(target),
                remedy="correct the identifier, or remove the entry",
            )
        return target, "mapping", ""

    def _exact(self, name: str, ids: list[str], point: shapely.Point | None) -> tuple[str, str, str]:
        if len(ids) > 1:
            raise InputError(
                f"observations: site {name}",
                expected="one outline",
                found=f"identifiers of several: {listing(ids)}",
                remedy=f"decide with `observations: {{links: {{mapping: {{'{name}': ID}}}}}}`",
            )
        if point is not None:
            holders = [g for g in self._holding(point) if g != ids[0]]
            if holders and self._distance_km(ids[0], point) > self.max_distance_km:
                raise InputError(
                    f"observations: site {name}",
                    expected=f"a position in or near {ids[0]}, its identifier",
                    found=f"a position inside {listing(holders)}",
                    remedy=f"decide with `observations: {{links: {{mapping: {{'{name}': ID}}}}}}`",
                )
        return ids[0], "exact", ""

    def _by_suffix(self, name: str, ids: tuple[str, ...], point: shapely.Point | None) -> tuple[str, str, str] | None:
        matches = {i: m.group(2) for i in ids if (m := _RGI_OLD.match(i))}
        if matches and not self.suffixes and any(_RGI_NEW.match(g) for g in self.glaciers.index[:1]):
            return None  # RGI 7 ids are new: only geometry can relate them
        found = {self.suffixes[s] for s in matches.values() if s in self.suffixes}
        if not found:
            return None
        if len(found) > 1:
            raise InputError(
                f"observations: site {name}",
                expected="one outline",
                found=f"suffixes of several: {listing(found)}",
                remedy=f"decide with `observations: {{links: {{mapping: {{'{name}': ID}}}}}}`",
            )
        (glacier,) = found
        if point is None:
            return (
                "",
                "",
                f"same suffix as {glacier}, but no position to confirm it (give links.table or links.positions)",
            )
        distance = self._distance_km(glacier, point)
        if distance > self.max_distance_km:
            return "", "", f"same suffix as {glacier}, but its position lies {distance:.0f} km away"
        return glacier, "suffix", ""

    def _by_position(self, name: str, point: shapely.Point) -> tuple[str, str, str]:
        holders = self._holding(point)
        if len(holders) > 1:
            raise InputError(
                f"observations: site {name}",
                expected="a position inside one outline",
                found=f"inside {listing(holders)}",
                remedy=f"decide with `observations: {{links: {{mapping: {{'{name}': ID}}}}}}`",
            )
        return (holders[0], "position", "") if holders else ("", "", "its position lies in no outline")

    def _holding(self, point: shapely.Point) -> list[str]:
        hits = self.glaciers.sindex.query(point, predicate="intersects")
        return [str(g) for g in self.glaciers.index[hits]]

    def _distance_km(self, glacier: str, point: shapely.Point) -> float:
        """Distance from the outline, on a plane around the point."""
        squeeze = np.array([np.cos(np.deg2rad(point.y)), 1.0])
        shape, spot = shapely.transform(np.array([self.glaciers.geometry[glacier], point]), lambda c: c * squeeze)
        return float(shapely.distance(shape, spot)) * _KM_PER_DEGREE


def _refuse_two_sites(linked: pd.DataFrame) -> None:
    twice = linked.duplicated(["glacier", "year"], keep=False)
    if twice.any():
        clash = linked[twice].groupby("glacier")["site"].unique()
        pairs = [f"{g}: sites {', '.join(map(str, s))}" for g, s in clash.items()]
        raise InputError(
            "observations",
            expected="one site per outline and year",
            found=f"several sites on one outline in the same year: {listing(pairs)}",
            remedy="remove one (a total and its branches must not stand beside each other), or separate them with "
            "`observations.links.mapping`",
        )
