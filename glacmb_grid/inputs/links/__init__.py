"""Linking observations to glacier outlines, with the evidence for each link."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

import geopandas as gpd
import pandas as pd

from glacmb_grid.checking import NotNegative, checking_arguments
from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.links.finder import Finder, Site
from glacmb_grid.inputs.links.versions import in_other_version
from glacmb_grid.inputs.tables import site_name
from glacmb_grid.schemas import require_columns

_ANNUAL = ["site", "name", "year", "mass_balance", "rgi_id", "line"]
_OF_LINKS = ["site", "rgi_id", "longitude", "latitude"]
_GEODETIC = ["site", "name", "begin", "end", "rate", "uncertainty", "rgi_id", "line"]


@dataclass(frozen=True)
class Linked:
    """Observations with and without an outline.

    Attributes
    ----------
    observations : DataFrame
        Rows with an outline: as read, with `glacier` (outline id) and `link` (mapping, exact, version, suffix or
        position).
    unmatched : DataFrame
        The other rows, with a `reason`.
    meant : dict
        Site without an outline -> the outline that may be meant, by its name or its place.
    """

    observations: pd.DataFrame
    unmatched: pd.DataFrame
    meant: dict[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        linked, missed = len(self.observations), len(self.unmatched)
        kinds = ", ".join(f"{n} by {kind}" for kind, n in self.observations["link"].value_counts().items())
        where = f"{self.observations['glacier'].nunique()} glaciers"
        share = f"{linked / max(linked + missed, 1):.0%} linked"
        return f"<Linked: {linked} observations of {where} ({kinds or 'none'}), {missed} unmatched, {share}>"

    def _repr_html_(self) -> str:
        reasons = self.unmatched["reason"].value_counts().to_frame("unmatched").to_html() if len(self.unmatched) else ""
        return f"<code>{escape(repr(self))}</code>{reasons}"


@checking_arguments
def link(
    observations: pd.DataFrame,
    glaciers: gpd.GeoDataFrame,
    *,
    table: pd.DataFrame | None = None,
    positions: pd.DataFrame | None = None,
    mapping: Mapping[str, str] | None = None,
    suffix: bool = True,
    position: bool = True,
    max_distance_km: NotNegative = 2.0,
    versions: pd.DataFrame | None = None,
) -> Linked:
    """Link observations to outlines.

    The first of these that succeeds: the explicit mapping; the identifier in the observations (`rgi_id`, or `site`
    itself, unless it is a bare number) or the link table; the
    outline of another version of the inventory that is the same glacier, by `versions`; the suffix that RGI 5 and RGI 6
    share for a glacier, if a known position confirms it; the outline around the position, unless its name is another.

    Parameters
    ----------
    observations : DataFrame
        From `read_observations` or `read_geodetic`.
    glaciers : GeoDataFrame
        From `read_outlines`.
    table, positions : DataFrame, optional
        From `read_link_table`: RGI ids of sites, positions of sites.
    mapping : mapping, optional
        Site -> outline id.
    suffix, position : bool
        Whether these two kinds of link are allowed.
    max_distance_km : float, at least 0
        Largest distance from an outline at which a position confirms a suffix.
    versions : DataFrame or GeoDataFrame, optional
        From `read_versions`.

    Raises
    ------
    InputError or InputErrors
        A table without its columns, a mapping to an unknown outline, two sites on one outline in one year, a position
        inside two outlines, an identifier and a position that contradict each other. Geodetic rates of two sites on one
        outline in one period are left unmatched instead: none of them is of the whole outline.
    """
    problems = Problems()
    geodetic = "rate" in observations
    section = "geodetic" if geodetic else "links"
    _require_tables(observations, glaciers, table, positions)
    chosen = {site_name(site): glacier for site, glacier in (mapping or {}).items()}
    with problems.collect():
        _check_mapping(chosen, observations, glaciers, section)
    sites = _sites(observations, table, positions)
    finder = Finder(glaciers, chosen, suffix, position, max_distance_km, section)
    if versions is not None:
        finder.know(in_other_version(dict.fromkeys(i for site in sites for i in site.rgi_ids), versions, glaciers))
    found: dict[str, tuple[str, str, str]] = {}
    for site in sites:
        with problems.collect():
            found[site.name] = finder.find(site)
    problems.raise_if_any()
    labelled = observations.assign(
        glacier=observations["site"].map(lambda s: found[s][0]),
        link=observations["site"].map(lambda s: found[s][1]),
        reason=observations["site"].map(lambda s: found[s][2]),
    )
    if geodetic:
        labelled = _without_shared_outlines(labelled)
    matched = labelled["glacier"] != ""
    linked = labelled[matched].drop(columns="reason")
    if not geodetic:
        _refuse_two_sites(linked)
    unmatched = labelled.loc[~matched, [*(_GEODETIC if geodetic else _ANNUAL), "reason"]]
    meant = {site: glacier for site, glacier in finder.meant.items() if not found[site][0]}
    return Linked(linked.reset_index(drop=True), unmatched.reset_index(drop=True), meant)


def _require_tables(observations: pd.DataFrame, glaciers: gpd.GeoDataFrame, *tables: pd.DataFrame | None) -> None:
    """Raise an InputError unless every table has its columns."""
    wanted = [*(_GEODETIC if "rate" in observations else _ANNUAL), "longitude", "latitude"]
    require_columns(observations, wanted, name="observations", source="`read_observations` or `read_geodetic`")
    require_columns(glaciers, ["geometry"], name="glaciers", source="`read_outlines`")
    for name, table in zip(("table", "positions"), tables, strict=True):
        if table is not None:
            require_columns(table, _OF_LINKS, name=name, source="`read_link_table`")


def _check_mapping(
    mapping: Mapping[str, str], observations: pd.DataFrame, glaciers: gpd.GeoDataFrame, section: str
) -> None:
    problems = Problems()
    for key, wrong, what in (
        ("site", sorted(set(mapping) - set(observations["site"])), "a site of the observations"),
        ("outline", sorted(set(mapping.values()) - set(glaciers.index)), "an outline of this run"),
    ):
        if wrong:
            with problems.collect():
                raise InputError(
                    f"observations.{section}.mapping: {key}",
                    expected=what,
                    found=listing(map(repr, wrong)),
                    remedy="correct the identifier, or remove the entry",
                )
    problems.raise_if_any()


def _sites(observations: pd.DataFrame, table: pd.DataFrame | None, positions: pd.DataFrame | None) -> list[Site]:
    """Every site with all its RGI ids and a position; the observations take precedence over the tables."""
    extra = [t for t in (table, positions) if t is not None]
    columns = ["site", "rgi_id", "name", "longitude", "latitude"]
    everything = pd.concat([observations[columns], *(t.reindex(columns=columns) for t in extra)], ignore_index=True)
    everything = everything[everything["site"].isin(observations["site"])]
    known = everything.dropna(subset=["longitude", "latitude"]).drop_duplicates("site").set_index("site")
    ids: dict[str, dict[str, None]] = {site: {} for site in sorted(everything["site"].unique())}
    names: dict[str, dict[str, None]] = {site: {} for site in ids}
    for site, identifier, name in zip(everything["site"], everything["rgi_id"], everything["name"], strict=True):
        ids[site] |= {identifier: None} if identifier else {}
        names[site] |= {name: None} if isinstance(name, str) and name else {}
    places = {
        site: (float(x), float(y))
        for site, x, y in zip(known.index, known["longitude"], known["latitude"], strict=True)
    }
    nowhere = (float("nan"), float("nan"))
    return [Site(site, tuple(ids[site]), tuple(names[site]), *places.get(site, nowhere)) for site in ids]


def _without_shared_outlines(labelled: pd.DataFrame) -> pd.DataFrame:
    """Without links of several sites to one outline in one period."""
    keys = ["glacier", "begin", "end"]
    shared = labelled["glacier"] != ""
    shared &= labelled.groupby(keys)["site"].transform("nunique") > 1
    if not shared.any():
        return labelled
    together = labelled[shared].groupby(keys)["site"].agg(lambda sites: listing(sites.unique(), 4))
    why = [
        f"one of several sites on {g} in this period: {together[g, b, e]}"
        for g, b, e in labelled.loc[shared, keys].itertuples(index=False)
    ]
    return labelled.assign(
        glacier=labelled["glacier"].where(~shared, ""),
        reason=labelled["reason"].where(~shared, pd.Series(why, index=labelled.index[shared])),
    )


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
