"""What `check` says of the inputs that it finds sound."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.constraints import covered, period_operator
from glacmb_grid.errors import listing
from glacmb_grid.inputs.albedo import seasons_told
from glacmb_grid.inputs.horizontal import is_curvilinear
from glacmb_grid.inputs.links import Linked
from glacmb_grid.sampling.grid import Grid
from glacmb_grid.settings import RunConfig
from glacmb_grid.years import first_months, hydrological_year, year_bounds

_OTHER_AREA = 4 / 3  # as a ratio, of a glacier in two inventories
_COARSE = 0.2  # degrees
SWAPPED = ": latitude and longitude seem to be swapped"
_MOST = 8  # sites without an outline that are named one by one
_MOST_IN_A_LINE = 40


def whereabouts(glaciers: gpd.GeoDataFrame, grid: Grid) -> str:
    """Where the outlines lie, and whether they would lie on the grid with their axes swapped."""
    x0, y0, x1, y1 = glaciers.total_bounds
    text = f"the outlines lie at longitudes {x0:.2f}..{x1:.2f}, latitudes {y0:.2f}..{y1:.2f}"
    middle = glaciers["latitude"].mean(), glaciers["longitude"].mean()
    if grid.is_geographic and all(
        min(edges[0], edges[-1]) <= at <= max(edges[0], edges[-1])
        for edges, at in zip((grid.x_edges, grid.y_edges), middle, strict=True)
    ):
        text += SWAPPED
    return text


def unmatched_lines(linked: Linked) -> list[str]:
    """A line for sites that may have an outline, and one that counts the reasons of the others."""
    sites = linked.unmatched.drop_duplicates("site")
    reasons = sites["reason"].astype(str)
    meant = reasons.str.contains("mapping|merge_pieces", regex=True)
    called = [s if n in ("", s) else f"{s} {n}" for s, n in zip(sites["site"], sites["name"].fillna(""), strict=True)]
    lines = [f"site {c}: {r}" for c, r, told in zip(called, reasons, meant, strict=True) if told]
    more = [f"{len(lines) - _MOST} more sites with such a hint: see unmatched.csv"] if len(lines) > _MOST else []
    counts = reasons[~meant].str.replace(r"(?<!\S)(?<!RGI )[^ `]*\d[^ ]*", "...", regex=True).value_counts()
    others = [f"unmatched: {n} site(s): {why}" for why, n in counts.items()]
    return lines[:_MOST] + more + others[:_MOST] + mapping_line(linked)


def mapping_line(linked: Linked) -> list[str]:
    """The line that links by hand the sites of which one outline may be meant, where there are several."""
    return [f"all of these in one line: {mapping_to_paste(linked)}"] if len(linked.meant) > 1 else []


def mapping_to_paste(linked: Linked) -> str:
    """What links by hand the first sites of which one outline may be meant."""
    written = ", ".join(f"'{site}': {glacier}" for site, glacier in list(linked.meant.items())[:_MOST_IN_A_LINE])
    section = "geodetic" if "rate" in linked.unmatched else "links"
    return f"`observations: {{{section}: {{mapping: {{{written}}}}}}}`"


def describe_years(config: RunConfig, glaciers: gpd.GeoDataFrame, cube: xr.Dataset, years: list[int]) -> list[str]:
    """The complete hydrological years, and those left out."""
    firsts = np.unique(first_months(glaciers["latitude"].to_numpy(), config.predictors.first_month)).tolist()
    found = [f"hydrological years {years[0]}..{years[-1]}"] if years else []
    if len(firsts) > 1:
        found.append("outlines on both sides of the equator: years from October in the north, from April in the south")
    begun = [hydrological_year(cube["time"].values, first)[0] for first in firsts]
    incomplete = sorted({int(y) for y in np.concatenate(begun)} - set(years)) if begun else []
    return found + ([f"incomplete hydrological years left out: {listing(incomplete)}"] if incomplete else [])


def years_absent(years: tuple[int, int], months: npt.NDArray[np.datetime64]) -> str:
    """Calendar years before and after the first and last of these months, in words; empty where there are none."""
    first, last = (int(m.astype("datetime64[Y]").astype(int)) + 1970 for m in (months[0], months[-1]))
    before = f"{years[0]} to {first - 1}" if years[0] < first else ""
    after = f"{last + 1} to {years[1]}" if years[1] > last else ""
    return " and ".join(filter(None, (before, after)))


def describe_albedo(config: RunConfig, glaciers: gpd.GeoDataFrame, albedo: xr.Dataset) -> list[str]:
    """The days of albedo, and seasons that are not whole."""
    assert config.albedo is not None
    days = albedo["time"].values.astype("datetime64[D]")
    latitude = glaciers["latitude"].to_numpy()
    told = seasons_told(albedo["time"].values, latitude, config.albedo.months, config.predictors.first_month)
    return [f"albedo of {len(days)} days, {days[0]} to {days[-1]}", *told]


def coarse_cells(config: RunConfig, cube: xr.Dataset) -> list[str]:
    """A hint where cells are much larger than the relief that glaciers lie in."""
    if config.regrid is not None or is_curvilinear(cube) or cube.sizes["latitude"] < 2:
        return []
    spacing = float(np.abs(np.median(np.diff(cube["latitude"].values))))
    if spacing < _COARSE:
        return []
    line = f"`regrid: {{method: bilinear, resolution: {spacing / 5:.2g}}}`"
    return [f"note: cells of {spacing:g} degrees are coarse against mountains; {line} interpolates between them"]


def describe_rates(linked: Linked, outlines: gpd.GeoDataFrame) -> list[str]:
    """Lines about geodetic rates and their outlines."""
    rates = linked.observations
    count, glaciers = len(rates), rates["glacier"].nunique()
    lines = [f"{count} geodetic rates of {glaciers} glaciers, {len(linked.unmatched)} rows without an outline"]
    ratio = rates["area"].to_numpy(np.float64) / outlines.loc[rates["glacier"], "area"].to_numpy(np.float64)
    if other := int((np.abs(np.log(ratio)) > np.log(_OTHER_AREA)).sum()):
        lines.append(
            f"note: {other} of them are of areas that differ from their outlines' by more than a third, so of another "
            "extent or date"
        )
    return lines


def uncovered_rates(
    config: RunConfig, linked: Linked, glaciers: gpd.GeoDataFrame, years: list[int] | None
) -> list[str]:
    """A line about geodetic rates of periods that the climate's hydrological years do not cover."""
    rates = linked.observations
    if rates.empty or not years:
        return []
    place = glaciers.index.get_indexer(rates["glacier"])
    firsts = first_months(glaciers["latitude"].to_numpy(), config.predictors.first_month)
    bounds = {int(m): year_bounds(np.array(years), int(m)) for m in np.unique(firsts)}
    begin, end = (np.array(rates[n].tolist(), dtype="datetime64[D]") for n in ("begin", "end"))
    every = np.stack([bounds[int(m)] for m in firsts])
    outside = int((~covered(period_operator(begin, end, place, every))).sum())
    which = (
        f"{outside} of {len(rates)} geodetic rates are of periods that the hydrological years {years[0]}..{years[-1]}"
    )
    return [f"{which} do not cover whole: a run does not compare them"] if outside else []
