"""What would fail, found in seconds from headers and tables, all problems at once."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import xarray as xr

from glacmb_grid import stages
from glacmb_grid.config import RunConfig
from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.inputs.albedo import open_albedo
from glacmb_grid.inputs.climate import check_values, open_climate
from glacmb_grid.inputs.elevation import open_elevation
from glacmb_grid.inputs.links import Linked
from glacmb_grid.inputs.outlines import read_outlines
from glacmb_grid.predictors import build_predictors, matching
from glacmb_grid.sampling.grid import grid_of
from glacmb_grid.vocabulary import OROGRAPHY
from glacmb_grid.years import complete_years, start_month


def check(config: RunConfig) -> list[str]:
    """Look for everything that would stop a run.

    Parameters
    ----------
    config : RunConfig

    Returns
    -------
    list of str
        What was found, in words.

    Raises
    ------
    InputError or InputErrors
        All problems together.
    """
    problems = Problems()
    c = config.climate
    glaciers = problems.attempt(
        lambda: read_outlines(
            config.glaciers.path,
            layer=config.glaciers.layer,
            id_column=config.glaciers.id,
            crs=config.glaciers.crs,
            merge_pieces=config.glaciers.merge_pieces,
        )
    )
    cube = problems.attempt(
        lambda: open_climate(
            c.files,
            accumulated=c.accumulated,
            invariant=c.invariant,
            variables=c.variables,
            units=c.units,
            expver=c.expver,
        )
    )
    dem = problems.attempt(lambda: open_elevation(config.elevation.files))
    albedo = problems.attempt(lambda: open_albedo(config.albedo.files)) if config.albedo else None
    found = []
    if cube is not None:
        found += _check_climate(config, cube, problems)
    if glaciers is not None:
        found.append(f"{len(glaciers)} glaciers, {glaciers['area'].sum():.1f} km2")
        for grid, what in ((cube, "climate files"), (dem, "elevation model"), (albedo, "albedo rasters")):
            if grid is not None:
                with problems.collect():
                    _check_area(glaciers, grid, what)
        linked = problems.attempt(lambda: stages.linked_observations(config, glaciers))
        if linked is not None:
            found += _check_links(config, glaciers, linked, cube, problems)
    problems.raise_if_any()
    return found


def _check_climate(config: RunConfig, cube: xr.Dataset, problems: Problems) -> list[str]:
    few = cube.isel(time=[0, cube.sizes["time"] // 2])
    with problems.collect():
        check_values(few, source="climate files")
    if config.sampling.lapse_rate != 0 and "t2m" in cube and OROGRAPHY not in cube:
        with problems.collect():
            raise InputError(
                "climate: invariant",
                expected="the invariant file, for the elevation correction",
                found="none",
                remedy="add `climate: {invariant: FILE}`, or set `sampling: {lapse_rate: 0}`",
            )
    with problems.collect():
        names = _predictor_names(config, [str(n) for n in cube.data_vars])
        for model in stages.models_of(config):
            patterns = getattr(getattr(config.models, model), "predictors", None)
            if patterns:
                matching(names, patterns)
    months = cube["time"].values.astype("datetime64[M]")
    return [f"climate {', '.join(map(str, cube.data_vars))}, {months[0]} to {months[-1]}"]


def _predictor_names(config: RunConfig, variables: list[str]) -> list[str]:
    """Names of the predictors that these variables will give, from one pretended glacier and year."""
    time = np.arange("1999-10", "2000-10", dtype="datetime64[M]").astype("datetime64[ns]")
    sampled = xr.Dataset(
        {n: (("glacier", "time"), np.full((1, 12), 270.0)) for n in [*variables, "t2m_corrected"] if n != OROGRAPHY},
        coords={"glacier": ["a"], "time": time},
    )
    if "t2m" not in variables:
        sampled = sampled.drop_vars("t2m_corrected")
    heights = ("elevation_min", "elevation_max", "elevation_mean", "elevation_median", "slope", "northness", "eastness")
    terrain = xr.Dataset(
        {n: ("glacier", [1.0]) for n in heights} | {"hypsometry": (("glacier", "band"), np.ones((1, 10)))}
    )
    glaciers = xr.Dataset({n: ("glacier", [1.0]) for n in ("area", "longitude", "latitude")})
    albedo = None
    if config.albedo:
        one = (("glacier", "year"), [[0.5]])
        albedo = xr.Dataset({"albedo_mean": one, "albedo_min": one}, coords={"year": [2000]})
    section = config.predictors
    built = build_predictors(
        sampled,
        terrain,
        glaciers,
        albedo=albedo,
        first_month=10,
        monthly=section.monthly,
        reference=(2000, 2000) if section.reference else None,
        coordinates=section.coordinates,
    )
    return [str(n) for n in built["predictor"].values]


def _check_area(glaciers: gpd.GeoDataFrame, grid: xr.Dataset | xr.DataArray, what: str) -> None:
    cells = grid_of(grid, name=what)
    bounds = glaciers.geometry.to_crs(cells.crs).bounds.to_numpy()
    x0, x1 = sorted((cells.x_edges[0], cells.x_edges[-1]))
    y0, y1 = sorted((cells.y_edges[0], cells.y_edges[-1]))
    outside = (bounds[:, 2] < x0) | (bounds[:, 0] > x1) | (bounds[:, 3] < y0) | (bounds[:, 1] > y1)
    if outside.any():
        raise InputError(
            what,
            expected="cells under every glacier",
            found=f"x {x0:.3f}..{x1:.3f}, y {y0:.3f}..{y1:.3f}, which leaves out {int(outside.sum())} of {len(glaciers)} "
            f"glaciers: {listing(glaciers.index[outside])}",
            remedy="download a larger area, or leave these glaciers out of the outlines",
        )


def _check_links(
    config: RunConfig, glaciers: gpd.GeoDataFrame, linked: Linked, cube: xr.Dataset | None, problems: Problems
) -> list[str]:
    observed = linked.observations
    kinds = ", ".join(f"{n} by {k}" for k, n in observed.groupby("link").size().items())
    found = [
        f"{len(observed)} observations linked to outlines ({kinds or 'none'}), {len(linked.unmatched)} rows unmatched"
    ]
    if cube is None:
        return found
    first = config.predictors.first_month or start_month(float(glaciers["latitude"].mean()))
    years = complete_years(cube["time"].values, first)
    usable = observed[observed["year"].isin(years)]
    with problems.collect():
        if usable["glacier"].nunique() < 2:
            raise InputError(
                "observations",
                expected="balances of at least two of these glaciers in the climate's hydrological years",
                found=f"{len(usable)} of {usable['glacier'].nunique()} glacier(s)",
                remedy="check `observations.links` and the climate's period",
            )
    if len(years):
        found.append(f"hydrological years {years[0]}..{years[-1]}, {len(usable)} glacier-years to learn from")
    return found
