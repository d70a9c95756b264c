"""Writers: every file in its agency's own layout, the same bytes each time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import geopandas as gpd
import netCDF4
import numpy as np
import pyogrio
from numpy.typing import ArrayLike, NDArray
from pyproj import Geod

from .glaciers import Glaciers
from .observations import Fog
from .reanalysis import VARIABLES, Reanalysis
from .terrain import Floats, Grid
from .truth import MODEL, Truth

ISSUED = "2025-02-01T00:00:00Z"
SECTORS = 8
GRIB_NAMES = {"t2m": "2t", "d2m": "2d", "u10": "10u", "v10": "10v"}


@contextmanager
def _frozen_clock() -> Iterator[None]:
    """Stop GDAL from writing the time of day into GeoPackages."""
    before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": ISSUED})
    try:
        yield
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})


def outline_area_km2(outline: NDArray[np.object_]) -> Floats:
    """Area of lon-lat polygons on the ellipsoid, km2."""
    geod = Geod(ellps="WGS84")
    return np.array([abs(geod.geometry_area_perimeter(polygon)[0]) / 1e6 for polygon in outline])


def write_outlines(path: Path, glaciers: Glaciers, fine: Grid, ids: list[str]) -> None:
    """Write the inventory in the layout of RGI 7.

    Parameters
    ----------
    path : Path
        New GeoPackage.
    glaciers : Glaciers
        Outlines, labels and surface.
    fine : Grid
        Grid of the surface.
    ids : list of str
        ``RGI2000-v7.0-G-13-NNNNN``.
    """
    rows = [_attributes(glaciers, fine, number, name) for number, name in enumerate(ids)]
    table = gpd.GeoDataFrame(rows, geometry=list(glaciers.outline), crs="EPSG:4326")
    with _frozen_clock():
        table.to_file(path, driver="GPKG", layer=path.stem, engine="pyogrio")


def _attributes(glaciers: Glaciers, fine: Grid, number: int, rgi_id: str) -> dict[str, str | int | float]:
    """RGI 7 attributes of one glacier."""
    row, column = np.nonzero(glaciers.label == number)
    height = glaciers.surface[row, column]
    lowest = int(np.argmin(height))
    centre = glaciers.outline[number].centroid
    return {
        "rgi_id": rgi_id,
        "o1region": "13",
        "o2region": "13-05",
        "glims_id": f"G{round(centre.x * 1000):06d}E{round(centre.y * 1000):05d}N",
        "anlys_id": 900_000 + number,
        "subm_id": 752,
        "src_date": "2000-08-15T00:00:00",
        "cenlon": round(centre.x, 6),
        "cenlat": round(centre.y, 6),
        "utm_zone": int(centre.x // 6) + 31,
        "area_km2": round(float(outline_area_km2(glaciers.outline[number : number + 1])[0]), 6),
        "primeclass": 0,
        "conn_lvl": 0,
        "surge_type": 0,
        "term_type": 0,
        "glac_name": "",
        "is_rgi6": 1,
        "termlon": round(float(fine.longitude[column[lowest]]), 6),
        "termlat": round(float(fine.latitude[row[lowest]]), 6),
        "zmin_m": round(float(height.min()), 2),
        "zmax_m": round(float(height.max()), 2),
        "zmed_m": round(float(np.median(height)), 2),
        "zmean_m": round(float(height.mean()), 2),
        **_facing(glaciers.surface, fine, row, column),
        "dem_source": "ASTER",
        "lmax_m": round(float(np.hypot(np.ptp(row) * fine.cell_m[0], np.ptp(column) * fine.cell_m[1])) * 1.1),
    }


def _facing(
    surface: Floats, fine: Grid, row: NDArray[np.int64], column: NDArray[np.int64]
) -> dict[str, str | int | float]:
    """Mean slope and aspect of a glacier's cells."""
    box = tuple(slice(max(0, x.min() - 1), x.max() + 2) for x in (row, column))
    south, east = (np.gradient(surface[box], length, axis=axis) for axis, length in enumerate(fine.cell_m))
    at = row - box[0].start, column - box[1].start
    length = np.maximum(np.hypot(south[at], east[at]), 1e-9)
    aspect = np.rad2deg(np.arctan2((-east[at] / length).mean(), (south[at] / length).mean())) % 360
    return {
        "slope_deg": round(float(np.rad2deg(np.arctan(length)).mean()), 2),
        "aspect_deg": round(float(aspect), 2),
        "aspect_sec": int((aspect + 22.5) // 45 % SECTORS) + 1,
    }


def write_truth(path: Path, truth: Truth, fog: Fog, ids: list[str]) -> None:
    """Write the balance of all glaciers, m w.e."""
    measured = np.isin(np.arange(len(ids)), fog.glacier)
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts({"title": "Known mass balance of a synthetic region", "model": MODEL})
        file.createDimension("glacier", len(ids))
        file.createDimension("year", truth.years.size)
        _put(file, "glacier_id", str, ("glacier",), np.array(ids, dtype=object), cf_role="timeseries_id")
        _put(file, "year", "i4", ("year",), truth.years, long_name="hydrological year, named by its end")
        _put(file, "measured", "i1", ("glacier",), measured, long_name="1 where observations exist")
        text = {"units": "m", "long_name": "annual mass balance, water equivalent", "comment": "1 m w.e. = 1000 kg m-2"}
        _put(file, "mass_balance", "f8", ("glacier", "year"), truth.mass_balance().T, **text)


def _put(
    file: netCDF4.Dataset,
    name: str,
    kind: type[str] | Literal["i1", "i4", "i8", "f4", "f8"],
    dims: tuple[str, ...],
    values: ArrayLike,
    **attributes: object,
) -> None:
    """Create, describe and fill a variable."""
    variable = file.createVariable(name, kind, dims, zlib=kind == "f4", complevel=4)
    variable.setncatts(attributes)
    variable[...] = values


def _put_grid(file: netCDF4.Dataset, grid: Grid) -> None:
    """Coordinates of the coarse grid."""
    file.createDimension("latitude", grid.rows)
    file.createDimension("longitude", grid.columns)
    north = {"units": "degrees_north", "standard_name": "latitude", "long_name": "latitude"}
    east = {"units": "degrees_east", "standard_name": "longitude", "long_name": "longitude"}
    _put(file, "latitude", "f8", ("latitude",), np.round(grid.latitude, 4), **north, stored_direction="decreasing")
    _put(file, "longitude", "f8", ("longitude",), np.round(grid.longitude, 4), **east)


def write_variable(path: Path, name: str, reanalysis: Reanalysis) -> None:
    """Write one variable as the Climate Data Store does.

    Parameters
    ----------
    path : Path
        New NetCDF file.
    name : str
        Short name, a key of `VARIABLES`.
    reanalysis : Reanalysis
        Monthly fields.
    """
    about = VARIABLES[name]
    seconds = reanalysis.months.astype("datetime64[s]").astype(np.int64)
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts({"GRIB_centre": "ecmf", "GRIB_subCentre": 0, "Conventions": "CF-1.7"})
        file.setncattr("institution", "European Centre for Medium-Range Weather Forecasts")
        file.createDimension("valid_time", seconds.size)
        time = {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian", "standard_name": "time"}
        _put(file, "valid_time", "i8", ("valid_time",), seconds, **time, long_name="time")
        _put_grid(file, reanalysis.grid)
        member = {"units": "1", "standard_name": "realization", "long_name": "ensemble member numerical id"}
        _put(file, "number", "i8", (), 0, **member)
        _put(file, "expver", str, ("valid_time",), np.array(["0001"] * seconds.size, dtype=object))
        attributes = {
            "GRIB_paramId": about.param,
            "GRIB_shortName": GRIB_NAMES.get(name, name),
            "GRIB_dataType": "fc",
            "GRIB_gridType": "regular_ll",
            "GRIB_stepType": "avgad" if about.accumulated else "avgua",
            "long_name": about.long_name,
            "units": about.units,
            "standard_name": about.standard_name,
            "coordinates": "number valid_time latitude longitude expver",
        }
        dims = ("valid_time", "latitude", "longitude")
        _put(file, name, "f4", dims, reanalysis.fields[name], **attributes)


def write_invariant(path: Path, reanalysis: Reanalysis) -> None:
    """Write geopotential of the model orography, m2 s-2, and the land-sea mask."""
    with netCDF4.Dataset(path, "w") as file:
        file.setncatts({"GRIB_centre": "ecmf", "Conventions": "CF-1.7"})
        _put_grid(file, reanalysis.grid)
        dims = ("latitude", "longitude")
        z = {"units": "m**2 s**-2", "long_name": "Geopotential", "standard_name": "geopotential", "GRIB_paramId": 129}
        _put(file, "z", "f4", dims, reanalysis.orography_m * 9.80665, **z)
        mask = {"units": "(0 - 1)", "long_name": "Land-sea mask", "standard_name": "land_binary_mask"}
        _put(file, "lsm", "f4", dims, np.ones(reanalysis.grid.shape), **mask, GRIB_paramId=172)
