"""`init`: what a configuration of some files has to say, found out from the files themselves.

Each section is found by opening the files as a run does, with one reading of them after the other until one is sound.
"""

from __future__ import annotations

from collections.abc import Iterable

import geopandas as gpd
import numpy as np
import xarray as xr

from glacmb_grid.inputs.files import closing
from glacmb_grid.workflow.drafting.climate import find_climate
from glacmb_grid.workflow.drafting.draft import Draft
from glacmb_grid.workflow.drafting.measured import find_observations
from glacmb_grid.workflow.drafting.outlines import find_outlines
from glacmb_grid.workflow.drafting.rasters import find_albedo, find_elevation
from glacmb_grid.years import SOUTHERN_START, complete_years, first_months

__all__ = ["Draft", "draft"]

_MONTHS = {4: "April", 10: "October"}


def draft(
    outlines: str,
    *,
    climate: Iterable[str] = (),
    dem: Iterable[str] = (),
    albedo: Iterable[str] = (),
    observations: str | None = None,
) -> Draft:
    """Find out what a configuration of these files has to say.

    Parameters
    ----------
    outlines : str
        Path of the outlines.
    climate, dem, albedo : iterable of str
        Paths, patterns, folders or URLs.
    observations : str, optional
        Path of the balances.

    Returns
    -------
    Draft

    Raises
    ------
    InputError or InputErrors
        Files that cannot be read in any way that can be found out.
    """
    out = Draft()
    with closing():
        glaciers = find_outlines(out, outlines)
        cube = find_climate(out, list(climate))
        find_elevation(out, list(dem))
        find_albedo(out, list(albedo))
        find_observations(out, observations, glaciers)
        _hydrological_years(out, glaciers, cube)
    return out


def _hydrological_years(out: Draft, glaciers: gpd.GeoDataFrame, cube: xr.Dataset | None) -> None:
    firsts = first_months(glaciers["latitude"].to_numpy(), None)
    kinds = np.unique(firsts).tolist()
    years = [] if cube is None else [int(y) for y in complete_years(cube["time"].values, firsts)]
    period = f"; {years[0]} to {years[-1]} are complete in the climate" if years else ""
    if len(kinds) == 1:
        where = "south" if kinds[0] == SOUTHERN_START else "north"
        out.sections["predictors"] = {"first_month": kinds[0]}
        began = f"all glaciers lie {where} of the equator: hydrological years begin in {_MONTHS[kinds[0]]}"
        out.say("predictors.first_month", began + period)
    else:
        both = "glaciers lie north and south of the equator: each has a hydrological year of its own"
        out.assumed.append(f"predictors.first_month: {both}{period}")
