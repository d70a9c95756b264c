"""Which variable of a file is which of ours: by our short names, GRIB's, CF's and those of other monthly products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY, VARIABLES

# Other names: GRIB, the long names of ARCO-ERA5 and Earth Engine, CMIP, W5E5, HISTALP, CRU, E-OBS, OGGM, WRF.
_OTHERS: dict[str, tuple[str, ...]] = {
    "asn": ("snow_albedo",),
    "d2m": ("2d", "2m_dewpoint_temperature", "dewpoint_temperature_2m"),
    "es": ("snow_evaporation", "snow_evaporation_sum"),
    "fal": ("forecast_albedo",),
    "rsn": ("snow_density",),
    "sd": ("snow_depth_water_equivalent", "swe"),
    "sf": ("snowfall", "snowfall_sum", "prsn", "msr", "avg_tsrwe", "mean_snowfall_rate"),
    "slhf": ("surface_latent_heat_flux", "surface_latent_heat_flux_sum"),
    "smlt": ("snowmelt", "snowmelt_sum"),
    "snowc": ("snow_cover",),
    "sp": ("surface_pressure", "ps"),
    "sshf": ("surface_sensible_heat_flux", "surface_sensible_heat_flux_sum"),
    "ssr": ("surface_net_solar_radiation", "surface_net_solar_radiation_sum"),
    "ssrd": ("surface_solar_radiation_downwards", "surface_solar_radiation_downwards_sum", "rsds"),
    "str": ("surface_net_thermal_radiation", "surface_net_thermal_radiation_sum"),
    "strd": ("surface_thermal_radiation_downwards", "surface_thermal_radiation_downwards_sum", "rlds"),
    "t2m": (
        *("2t", "2m_temperature", "temperature_2m", "tas", "temp", "tmp", "tg", "T_2M", "T2M", "air_temperature"),
        *("TREFHT", "T2"),
    ),
    "tp": (
        *("total_precipitation", "total_precipitation_sum", "pr", "prcp", "pre", "rr", "TOT_PREC", "precip"),
        *("precipitation", "mtpr", "avg_tprate", "mean_total_precipitation_rate", "PRECT"),
    ),
    "tsn": ("temperature_of_snow_layer",),
    "u10": ("10u", "10m_u_component_of_wind", "u_component_of_wind_10m", "uas"),
    "v10": ("10v", "10m_v_component_of_wind", "v_component_of_wind_10m", "vas"),
    OROGRAPHY: (
        *(
            "z",
            "hgt",
            "HGT",
            "orog",
            "oro",
            "HSURF",
            "ASurf",
            "geopotential",
            "geopotential_at_surface",
            "elevation",
            "elev",
        ),
        *("topo", "topography", "surface_altitude", "PHIS"),
    ),
    LAND_MASK: ("lsm", "land_sea_mask", "sftlf"),
}
_OURS = {other: name for name, others in _OTHERS.items() for other in others} | {n: n for n in (*VARIABLES, *_OTHERS)}
SUMS: dict[str, tuple[tuple[str, str], ...]] = {"tp": (("PRECC", "PRECL"), ("cp", "lsp"), ("avg_cpr", "avg_lsprate"))}
"""Summands of a variable by their names in files: those of CESM, and ERA5's amounts and rates."""
_SUMMANDS = {
    **{s: (ours, s) for ours, several in SUMS.items() for pair in several for s in pair},
    **{"convective_precipitation": ("tp", "cp"), "large_scale_precipitation": ("tp", "lsp")},
    **{"mcpr": ("tp", "avg_cpr"), "mlspr": ("tp", "avg_lsprate")},
}
_ATTRIBUTES = ("GRIB_shortName", "GRIB_cfVarName", "short_name")


Declared = Mapping[str, str | Sequence[str]]


def names_of(theirs: str | Sequence[str]) -> tuple[str, ...]:
    """The name, or the names of the summands, that one of our names stands for."""
    return (theirs,) if isinstance(theirs, str) else tuple(theirs)


def summands(ds: xr.Dataset, declared: Declared) -> dict[str, tuple[str, str]]:
    """Variables of a Dataset that are summands of one of ours: their name -> our name, and the summand's usual name."""
    sums = {ours: names_of(theirs) for ours, theirs in declared.items() if not isinstance(theirs, str)}
    given = {theirs: (ours, theirs) for ours, several in sums.items() for theirs in several}
    single = {theirs for theirs in declared.values() if isinstance(theirs, str)}
    found = {}
    for name in map(str, ds.data_vars):
        usual = _SUMMANDS.get(name)
        if name in given:
            found[name] = given[name]
        elif usual is not None and name not in single and usual[0] not in declared:
            found[name] = usual
    return found


def named(ds: xr.Dataset, declared: Declared, where: str) -> dict[str, str]:
    """Our names of the variables of a Dataset, and theirs.

    Parameters
    ----------
    ds : xr.Dataset
    declared : mapping
        Our name -> the name in the files, which comes before all else; what is declared as a sum is left out.

    Raises
    ------
    InputError
        Two variables that would have the same name.
    """
    found: dict[str, list[str]] = {}
    rank: dict[str, int] = {}
    for given, field in ds.data_vars.items():
        name, order = _ours(str(given), field, declared)
        if name is None or order > rank.get(name, 9) or not isinstance(declared.get(name, ""), str):
            continue
        if order < rank.get(name, 9):
            found[name] = []
        rank[name] = order
        found[name].append(str(given))
    for name, several in found.items():
        if len(several) > 1:
            raise InputError(
                f"{where}: {name}",
                expected="one variable of this name",
                found=listing(several),
                remedy=f"say which one: `climate: {{names: {{{name}: {several[0]}}}}}`",
            )
    return {name: several[0] for name, several in found.items()}


def _ours(given: str, field: xr.DataArray, declared: Declared) -> tuple[str | None, int]:
    """Our name of a variable, and how sure that is: 0 declared, 1 its own name, 2 an attribute, 3 another name."""
    for name, theirs in declared.items():
        if given == theirs:
            return name, 0
    if given in VARIABLES:
        return given, 1
    for attribute in _ATTRIBUTES:
        if str(field.attrs.get(attribute)) in _OURS:
            return _OURS[str(field.attrs[attribute])], 2
    return _OURS.get(given), 3
