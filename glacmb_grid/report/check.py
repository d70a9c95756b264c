"""What `check` says of outlines and of sites without one."""

from __future__ import annotations

import geopandas as gpd

from glacmb_grid.inputs.links import Linked
from glacmb_grid.sampling.grid import Grid

_MOST = 8  # sites without an outline that are named one by one


def whereabouts(glaciers: gpd.GeoDataFrame, grid: Grid) -> str:
    """Where the outlines lie, and whether they would lie on the grid with their axes swapped."""
    x0, y0, x1, y1 = glaciers.total_bounds
    text = f"the outlines lie at longitudes {x0:.2f}..{x1:.2f}, latitudes {y0:.2f}..{y1:.2f}"
    middle = glaciers["latitude"].mean(), glaciers["longitude"].mean()
    if grid.is_geographic and all(
        min(edges[0], edges[-1]) <= at <= max(edges[0], edges[-1])
        for edges, at in zip((grid.x_edges, grid.y_edges), middle, strict=True)
    ):
        text += ": latitude and longitude seem to be swapped"
    return text


def unmatched_lines(linked: Linked) -> list[str]:
    """A line for sites that may have an outline, and one that counts the reasons of the others."""
    sites = linked.unmatched.drop_duplicates("site")
    reasons = sites["reason"].astype(str)
    meant = reasons.str.contains("mapping|merge_pieces", regex=True)
    called = [f"{s} {n}".strip() for s, n in zip(sites["site"], sites["name"].fillna(""), strict=True)]
    lines = [f"site {c}: {r}" for c, r, told in zip(called, reasons, meant, strict=True) if told]
    more = [f"{len(lines) - _MOST} more sites with such a hint: see unmatched.csv"] if len(lines) > _MOST else []
    counts = reasons[~meant].str.replace(r"[^ ]*\d[^ ]*", "...", regex=True).value_counts()
    others = [f"unmatched: {n} site(s): {why}" for why, n in counts.items()]
    return lines[:_MOST] + more + others[:_MOST]
