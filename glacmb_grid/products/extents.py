"""Extents of a product in space and time, as ACDD-1.3 names them."""

from __future__ import annotations

import numpy as np
import xarray as xr


def extents(ds: xr.Dataset, *, grid: bool) -> dict[str, object]:
    """Global attributes `geospatial_*` and `time_coverage_*`.

    Parameters
    ----------
    ds : xr.Dataset
        With `latitude` and `longitude`, degrees, where it has positions; `time_bnds` (..., bnds).
    grid : bool
        Whether positions are centres of cells with `lat_bnds` and `lon_bnds`.
    """
    return {**_space(ds, grid=grid), **_time(ds)}


def _space(ds: xr.Dataset, *, grid: bool) -> dict[str, object]:
    if not {"latitude", "longitude"} <= set(ds.variables):
        return {}
    north, east = ("lat_bnds", "lon_bnds") if grid else ("latitude", "longitude")
    low = float(ds[north].min()), float(ds[east].min())
    high = float(ds[north].max()), float(ds[east].max())
    ring = ((low[0], low[1]), (low[0], high[1]), (high[0], high[1]), (high[0], low[1]), (low[0], low[1]))
    found: dict[str, object] = {
        "geospatial_lat_min": low[0],
        "geospatial_lat_max": high[0],
        "geospatial_lat_units": "degrees_north",
        "geospatial_lon_min": low[1],
        "geospatial_lon_max": high[1],
        "geospatial_lon_units": "degrees_east",
        "geospatial_bounds_crs": "EPSG:4326",
    }
    corners = ", ".join(f"{y:.6g} {x:.6g}" for y, x in ring)  # latitude first, as EPSG:4326 has it
    if low[0] < high[0] and low[1] < high[1]:
        found["geospatial_bounds"] = f"POLYGON (({corners}))"
    else:
        found["geospatial_bounds"] = f"POINT ({low[0]:.6g} {low[1]:.6g})"
    if grid:
        for axis, name in (("lat", "lat_bnds"), ("lon", "lon_bnds")):
            steps = np.abs(np.diff(ds[name].values, axis=1))
            if np.ptp(steps) < 1e-6:
                found[f"geospatial_{axis}_resolution"] = f"{steps[0, 0]:.6g} degree"
    return found


def _time(ds: xr.Dataset) -> dict[str, object]:
    if "time_bnds" not in ds or not ds["time_bnds"].size:
        return {}
    bounds = ds["time_bnds"].values.astype("datetime64[D]").reshape(-1, 2)
    start, end = bounds[:, 0].min(), bounds[:, 1].max()
    years, months = divmod(int((end.astype("datetime64[M]") - start.astype("datetime64[M]")).astype(int)), 12)
    return {
        "time_coverage_start": f"{start}",
        "time_coverage_end": f"{end}",
        "time_coverage_duration": "P" + (f"{years}Y" if years else "") + (f"{months}M" if months or not years else ""),
        "time_coverage_resolution": "P1Y",
    }
