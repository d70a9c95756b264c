"""What can be fetched, and which files it takes for a region and years; nothing is asked of anybody but catalogues."""

from __future__ import annotations

import hashlib
import math
from calendar import monthrange
from collections.abc import Callable, Iterable
from dataclasses import replace

from glacmb_grid.errors import InputError, listing
from glacmb_grid.fetching import earthdata
from glacmb_grid.fetching.contract import Area, Item, Plan
from glacmb_grid.vocabulary import PDD, VARIABLES

Years = tuple[int, int]

ERA5_LAND = "reanalysis-era5-land-monthly-means"
_CELL, _MARGIN = 0.1, 0.3  # degrees
_FIRST_YEAR = 1950
_BYTES_A_VALUE = 2.6  # of NetCDF as the data store packs it: measured on files of 2024
_CDS_NAMES = {
    "asn": "snow_albedo",
    "d2m": "2m_dewpoint_temperature",
    "es": "snow_evaporation",
    "fal": "forecast_albedo",
    "rsn": "snow_density",
    "sd": "snow_depth_water_equivalent",
    "sde": "snow_depth",
    "sf": "snowfall",
    "slhf": "surface_latent_heat_flux",
    "smlt": "snowmelt",
    "snowc": "snow_cover",
    "sp": "surface_pressure",
    "sshf": "surface_sensible_heat_flux",
    "ssr": "surface_net_solar_radiation",
    "ssrd": "surface_solar_radiation_downwards",
    "str": "surface_net_thermal_radiation",
    "strd": "surface_thermal_radiation_downwards",
    "t2m": "2m_temperature",
    "tp": "total_precipitation",
    "tsn": "temperature_of_snow_layer",
    "u10": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind",
}
_DEM = "https://copernicus-dem-30m.s3.amazonaws.com"
_TILE_BYTES = 30_000_000
_RGI = "https://daacdata.apps.nsidc.org/pub/DATASETS/nsidc0770_rgi_v7/regional_files/RGI2000-v7.0-G"
# Regions of RGI 7 with the boxes (west, south, east, north) that hold them
_RGI_REGIONS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "01_alaska": ((-180, 50, -125, 74), (170, 50, 180, 60)),
    "02_western_canada_usa": ((-135, 36, -104, 65),),
    "03_arctic_canada_north": ((-126, 74, -59, 84),),
    "04_arctic_canada_south": ((-96, 57, -59, 74.2),),
    "05_greenland_periphery": ((-75, 58, -30, 66), (-75, 66, -10, 84)),
    "06_iceland": ((-26, 62, -12, 68),),
    "07_svalbard_jan_mayen": ((-11, 70, 36, 82),),
    "08_scandinavia": ((3, 58, 36, 72),),
    "09_russian_arctic": ((36, 70, 108, 83),),
    "10_north_asia": ((57, 45, 180, 78), (-180, 60, -169, 78), (127, 35, 154, 60)),
    "11_central_europe": ((-6, 40, 26, 50),),
    "12_caucasus_middle_east": ((31, 30, 55, 46),),
    "13_central_asia": ((66, 30, 105, 46),),
    "14_south_asia_west": ((66, 26, 84, 38),),
    "15_south_asia_east": ((75, 24, 105, 32.5),),
    "16_low_latitudes": ((-101, -26, -60, 20), (29, -5, 39, 2), (136, -6, 139, -3)),
    "17_southern_andes": ((-77, -56, -62, -25),),
    "18_new_zealand": ((165, -48, 176, -38),),
    "19_subantarctic_antarctic_islands": ((-180, -79, 180, -45),),
}
FOG_VERSION = "2026-02-10"
_FOG = "https://wgms.ch/downloads/DOI-WGMS-FoG-{version}.zip"


def plan(source: str, area: Area, years: Years, *, variables: Iterable[str] = ("t2m", "tp")) -> Plan:
    """Files of a source for an area and years.

    Parameters
    ----------
    source : str
        One of `SOURCES`.
    area : Area
    years : (int, int)
        First and last; hydrological years need the last months of the year before.
    variables : iterable of str
        Of ERA5-Land, by our names.

    Raises
    ------
    InputError
        An unknown source or variable, years in the wrong order, nothing there.
    """
    if source not in SOURCES:
        raise InputError(
            "fetch: source", expected=f"one of {', '.join(SOURCES)}", found=f"{source!r}", remedy="name one of these"
        )
    if not 1940 <= years[0] <= years[1] <= 2100:
        raise InputError(
            "fetch: years",
            expected="the first and the last year, from 1940 on",
            found=f"{years[0]}-{years[1]}",
            remedy="write for instance --years 2000-2024",
        )
    return SOURCES[source](area, years, tuple(variables))


def _era5_land(area: Area, years: Years, variables: tuple[str, ...]) -> Plan:
    if unknown := [v for v in variables if v not in _CDS_NAMES]:
        raise InputError(
            "fetch: variables",
            expected=f"variables of ERA5-Land among {', '.join(n for n in VARIABLES if n != PDD)}",
            found=listing(unknown),
            remedy="correct the names",
        )
    if years[0] < _FIRST_YEAR:
        raise InputError(
            "fetch: years",
            expected=f"years from {_FIRST_YEAR} on, where ERA5-Land begins",
            found=f"{years[0]}",
            remedy=f"write for instance --years {_FIRST_YEAR}-2024",
        )
    wide = area.wider(_MARGIN)
    pieces = [Area(w, wide.south, e, wide.north) for w, e in wide.spans]
    items = []
    for number, piece in enumerate(pieces):
        key = hashlib.sha256(f"{piece} {sorted(variables)}".encode()).hexdigest()[:6]
        part = f"_{'we'[number]}" if len(pieces) > 1 else ""
        for decade in range(years[0] // 10 * 10, years[1] + 1, 10):  # the same files whatever the first year
            first, last = max(decade, years[0]), min(decade + 9, years[1])
            items.append(era5_land_item(f"era5_land{part}_{key}", piece, (first, last), variables))
    return Plan(
        "era5-land",
        tuple(items),
        "CC-BY-4.0, with the terms of the Copernicus Climate Data Store",
        "Muñoz Sabater, J. (2019): ERA5-Land monthly averaged data from 1950 to present, doi:10.24381/cds.68d2bb30",
        "climate: {files: era5_land/*.nc, accumulated: daily_mean, invariant: geopotential.nc}",
        (
            "the geopotential (orography) is not in this data set: take it from the documentation of ERA5-Land, once, "
            "and name it as `climate.invariant`",
            "each set of variables, region and years has files of its own: let `climate.files` name one set only",
            *_crossing(area),
        ),
    )


def _crossing(area: Area) -> tuple[str, ...]:
    """What is to be said of an area that crosses the antimeridian, which may be a slip."""
    if area.west < area.east:
        return ()
    return (f"the region crosses the antimeridian and is {area.width:g} degrees wide; are west and east right?",)


def era5_land_item(stem: str, area: Area, years: Years, variables: tuple[str, ...]) -> Item:
    """One request to the Climate Data Store."""
    count = (years[1] - years[0] + 1) * 12 * len(variables)
    cells = math.ceil((area.east - area.west) / _CELL + 1) * math.ceil((area.north - area.south) / _CELL + 1)
    return Item(
        f"era5_land/{stem}_{years[0]}-{years[1]}.nc",
        "data store",
        size=round(count * cells * _BYTES_A_VALUE),
        collection=ERA5_LAND,
        request={
            "product_type": ["monthly_averaged_reanalysis"],
            "variable": [_CDS_NAMES[v] for v in variables],
            "year": [str(y) for y in range(years[0], years[1] + 1)],
            "month": [f"{m:02d}" for m in range(1, 13)],
            "time": ["00:00"],
            "area": [round(v, 1) for v in (area.north, area.west, area.south, area.east)],
            "data_format": "netcdf",
            "download_format": "unarchived",
        },
    )


def halves(item: Item) -> list[Item]:
    """A request of the data store as two of half the years each."""
    years = [int(y) for y in item.request["year"]]
    middle = len(years) // 2
    stem = item.name.rpartition("_")[0]
    out = []
    for part in (years[:middle], years[middle:]):
        size = round(item.size * len(part) / len(years))
        request = {**item.request, "year": [str(y) for y in part]}
        out.append(replace(item, name=f"{stem}_{part[0]}-{part[-1]}.nc", size=size, request=request))
    return out


def _mod10a1(area: Area, years: Years, variables: tuple[str, ...]) -> Plan:
    """Daily albedo of snow of Terra and Aqua, in the months of summer."""
    del variables
    south = area.north <= 0
    found = []
    for product in ("MOD10A1", "MYD10A1"):
        for year in range(max(years[0], 2000), years[1] + 1):
            begin, end = (
                (f"{year - 1}-12-01", f"{year}-02-{monthrange(year, 2)[1]}")
                if south
                else (f"{year}-06-01", f"{year}-08-31")
            )
            found += earthdata.granules(product, "61", area, begin, end)
    items = earthdata.items_of(found, "albedo")
    if not items:
        raise earthdata.nothing("MOD10A1", area, years)
    return Plan(
        "mod10a1",
        tuple(items),
        "no restrictions; Earthdata asks for a login, and NSIDC for its application to be approved in your profile",
        "Hall, D. K. and Riggs, G. A. (2021): MODIS/Terra and Aqua Snow Cover Daily L3 Global 500m SIN Grid, "
        "Version 61, doi:10.5067/MODIS/MOD10A1.061, doi:10.5067/MODIS/MYD10A1.061",
        "albedo: {files: albedo/*.hdf}",
    )


def _dem(area: Area, years: Years, variables: tuple[str, ...]) -> Plan:
    """Tiles of one degree of the Copernicus elevation model of 30 m."""
    del years, variables
    names = [
        f"Copernicus_DSM_COG_10_{'NS'[y < 0]}{abs(y):02d}_00_{'EW'[x < 0]}{abs(x):03d}_00_DEM"
        for west, east in area.spans
        for y in range(math.floor(area.south), math.ceil(area.north))
        for x in range(math.floor(west), math.ceil(east))
    ]
    sea = "no tile there: open sea, or a country whose tiles are not released"
    items = [
        Item(f"dem/{n}.tif", "http", f"{_DEM}/{n}/{n}.tif", size=_TILE_BYTES, may_lack=sea) for n in sorted(set(names))
    ]
    return Plan(
        "dem",
        tuple(items),
        "free for the general public under the terms of the Copernicus programme, with its attribution",
        "European Space Agency (2022): Copernicus DEM GLO-30, doi:10.5270/ESA-c5d3d65",
        "elevation: {files: dem/*.tif}",
        (
            "what is made of it says: produced using Copernicus WorldDEM-30 © DLR e.V. 2010-2014 and © Airbus Defence "
            "and Space GmbH 2014-2018 provided under COPERNICUS by the European Union and ESA; all rights reserved",
            *_crossing(area),
        ),
    )


def _rgi(area: Area, years: Years, variables: tuple[str, ...]) -> Plan:
    """Outlines of RGI 7 of the first-order regions that the area touches."""
    del years, variables
    names = [n for n, boxes in _RGI_REGIONS.items() if any(_meet(area, box) for box in boxes)]
    if not names:
        raise InputError(
            "fetch: region",
            expected="a region with glaciers",
            found=f"{area}, which no region of RGI 7 touches",
            remedy="check the order: west, south, east, north",
        )
    stem = "RGI2000-v7.0-G-"
    items = [Item(f"rgi/{stem}{n}.zip", "earthdata", f"{_RGI}/{stem}{n}.zip") for n in names]
    which = f"rgi/{stem}{names[0]}.zip"
    notes = (f"{len(names)} regions touch the area: a configuration reads one of them",) if len(names) > 1 else ()
    return Plan(
        "rgi",
        tuple(items),
        "CC-BY-4.0; Earthdata asks for a login",
        "RGI 7.0 Consortium (2023): Randolph Glacier Inventory, Version 7.0, doi:10.5067/F6JMOVY5NAVZ",
        f"glaciers: {{path: {which}}}",
        notes,
    )


def _meet(area: Area, box: tuple[float, float, float, float]) -> bool:
    west, south, east, north = box
    return area.south < north and area.north > south and any(w < east and e > west for w, e in area.spans)


def _fog(area: Area, years: Years, variables: tuple[str, ...]) -> Plan:
    """A release of Fluctuations of Glaciers."""
    del area, years, variables
    name = f"DOI-WGMS-FoG-{FOG_VERSION}.zip"
    return Plan(
        "fog",
        (Item(f"fog/{name}", "http", _FOG.format(version=FOG_VERSION), size=40_000_000),),
        "CC-BY-4.0",
        f"WGMS (2026): Fluctuations of Glaciers Database, doi:10.5904/wgms-fog-{FOG_VERSION}",
        f"observations: {{path: fog/{name}}}",
    )


def _geodetic(area: Area, years: Years, variables: tuple[str, ...]) -> Plan:
    """Geodetic rates: those of the Fluctuations of Glaciers; others have no address that stays."""
    fog = _fog(area, years, variables)
    path = fog.items[0].name
    note = (
        "rates of Hugonnet et al. (2021) are given out by hand, doi:10.6096/13: download time_series_<region>.tar and "
        "name its dh_<region>_rgi60_pergla_rates.csv as `observations.geodetic.path`"
    )
    configuration = f"observations: {{path: {path}, geodetic: {{path: {path}}}}}"
    return replace(fog, source="geodetic", configuration=configuration, notes=(note,))


SOURCES: dict[str, Callable[[Area, Years, tuple[str, ...]], Plan]] = {
    "era5-land": _era5_land,
    "mod10a1": _mod10a1,
    "dem": _dem,
    "rgi": _rgi,
    "fog": _fog,
    "geodetic": _geodetic,
}
"""Name -> what plans its files, from an area, years and, of a climate, variables."""
