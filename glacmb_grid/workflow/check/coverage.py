"""Whether glaciers lie on the cubes, and what a run leaves out because they do not."""

from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.albedo.codes import require_bright
from glacmb_grid.inputs.albedo.contract import HIGHEST
from glacmb_grid.inputs.horizontal import is_curvilinear
from glacmb_grid.report.check import SWAPPED, whereabouts
from glacmb_grid.sampling.grid import Curvilinear, any_grid_of
from glacmb_grid.sampling.lapse_rate import tell_far_orography
from glacmb_grid.sampling.zonal import overlap_weights, sample
from glacmb_grid.settings import RunConfig
from glacmb_grid.vocabulary import OROGRAPHY
from glacmb_grid.workflow import cubes

ANY = 1e-9
"""Share of an outline: any overlap will do."""
_LOOKED_AT = 12  # glaciers whose elevations are looked at
_AROUND, _DAYS, _PIXELS = 3, 4, 32  # glaciers around which albedo is read, days, and pixels to each side


def check_elevations(
    config: RunConfig, glaciers: gpd.GeoDataFrame, dem: xr.DataArray, cube: xr.Dataset | None
) -> list[str]:
    """Look at the elevations of some glaciers, and at the climate's orography there, as a run does at all."""
    some = glaciers.iloc[np.unique(np.linspace(0, len(glaciers) - 1, _LOOKED_AT).astype(int))]
    topography, failures = cubes.look_at_terrain(some, dem, config.elevation.min_coverage, config.elevation.compare)
    if cube is not None and OROGRAPHY in cube and not is_curvilinear(cube):
        sound = some.loc[topography["glacier"].values]
        beneath = sample(cube[[OROGRAPHY]], overlap_weights(sound, cube))[OROGRAPHY]
        tell_far_orography(beneath, topography["elevation_mean"])
    if not failures:
        return []
    bad = listing((f"{f.glacier} ({f.reason})" for f in failures), 4)
    return [f"elevation model: of {len(some)} glaciers looked at a run leaves out {len(failures)}: {bad}"]


def look_at_albedo(glaciers: gpd.GeoDataFrame, albedo: xr.Dataset) -> None:
    """Read a few days around a few glaciers, so that codes, scales and rasters that cannot be right raise."""
    some = glaciers.iloc[np.unique(np.linspace(0, len(glaciers) - 1, _AROUND).astype(int))]
    days = np.unique(np.linspace(0, albedo.sizes["time"] - 1, _DAYS).astype(int))
    places = gpd.GeoSeries.from_xy(some["longitude"], some["latitude"], crs=4326).to_crs(albedo.rio.crs)
    seen = []
    for place in places:
        window = {}
        for dim, at in (("x", place.x), ("y", place.y)):
            nearest = int(np.abs(albedo[dim].values - at).argmin())
            window[dim] = slice(max(0, nearest - _PIXELS), nearest + _PIXELS)
        code = albedo["code"].isel({"time": days, **window}).values
        seen.append(code[code <= HIGHEST] / HIGHEST)
    require_bright(np.concatenate(seen), "albedo rasters")


def check_left(count: int) -> None:
    """Raise if no glacier lies on both the climate and the elevation model."""
    if not count:
        raise InputError(
            "climate files, elevation model",
            expected="at least one glacier that lies on both",
            found="none",
            remedy="download larger areas, so that both cover the same glaciers",
        )


def check_area(
    glaciers: gpd.GeoDataFrame, grid: xr.Dataset | xr.DataArray, what: str, least: float
) -> tuple[list[str], list[str]]:
    """Glaciers with less than this share of their area on the grid, and a line about them; raises if all are."""
    cells = any_grid_of(grid, name=what)
    if isinstance(cells, Curvilinear):  # checked when its weights are made
        return [], []
    x0, x1 = sorted((cells.x_edges[0], cells.x_edges[-1]))
    y0, y1 = sorted((cells.y_edges[0], cells.y_edges[-1]))
    whole = overlap_weights(glaciers, replace(cells, y_edges=np.array([y0, y1]), x_edges=np.array([x0, x1])))
    share = np.bincount(whole.row, whole.weight, len(glaciers)) / whole.total
    uncovered = share < least
    if not uncovered.any():
        return [], []
    ids = [f"{g} ({s:.0%})" for g, s in zip(glaciers.index[uncovered], share[uncovered], strict=True)]
    left = f"leaves out {int(uncovered.sum())} of {len(glaciers)} glaciers: {listing(ids)}"
    if not uncovered.all():
        then = "a run lists them in failed.csv and goes on without them" if least > ANY else "they have gaps there"
        return list(glaciers.index[uncovered]), [f"{what}: the area {left}; {then}"]
    where = whereabouts(glaciers, cells)
    raise InputError(
        what,
        expected="cells under every glacier" + (f", at least {least:.0%} of its area" if least > ANY else ""),
        found=f"x {x0:.3f}..{x1:.3f}, y {y0:.3f}..{y1:.3f}, which {left}; {where}",
        remedy="swap x and y of the outlines (in QGIS: Swap X and Y coordinates)"
        if where.endswith(SWAPPED)
        else "give files and outlines of the same region: download another area, or name other outlines",
    )
