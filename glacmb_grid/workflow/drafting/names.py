"""Which variables of climate files may be temperature, precipitation and orography where their names are not known.

`init` alone asks: what it finds is written into the configuration as `climate.names`, for the user to look at. A run
takes known names only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import xarray as xr

from glacmb_grid.inputs.climate.names import named, summands
from glacmb_grid.inputs.units import is_height, is_water, temperature_unit
from glacmb_grid.vocabulary import OROGRAPHY
from glacmb_grid.workflow.drafting.draft import hushed

NETCDF = (".nc", ".nc4")
_LOOKED_AT = 400
"""Files whose headers are looked at."""
_OTHER_WATER = re.compile(r"evap|runoff|snow|melt|swe|soil|depth|storage|discharge|convective|error|std", re.IGNORECASE)
_OTHER_HEAT = re.compile(
    r"min|max|dew|soil|skin|ground|lst|sea|sst|snow|ice|(?<!near.)surface temp|error|std", re.IGNORECASE
)


def guessed_names(files: Iterable[Path]) -> tuple[dict[str, str], list[str]]:
    """Names in NetCDF files of temperature, precipitation and orography, where they are not known and can be told.

    Returns
    -------
    dict
        Our name -> theirs. Of other formats nothing is guessed.
    list of str
        Variables, with their units, of files of which nothing is known or can be told.
    """
    headers = [header_of(file) if file.suffix in NETCDF else None for file in list(files)[:_LOOKED_AT]]
    known: set[str] = set()
    strangers: list[dict[str, xr.DataArray]] = []
    found: dict[str, dict[str, xr.DataArray]] = {"t2m": {}, "tp": {}, OROGRAPHY: {}}
    for ds in headers:
        if ds is None:
            return {}, []
        usual = named(ds, {}, "")
        summed = summands(ds, {})
        known |= {*usual, *(ours for ours, _ in summed.values())}
        ours_already = {*usual.values(), *summed}
        fields = {str(n): f for n, f in ds.data_vars.items() if f.ndim >= 2 and n not in ours_already}
        strangers += [] if ours_already else [fields]
        for name, field in fields.items():
            if (ours := _likely(name, field, static=without_months(ds))) is not None:
                found[ours][name] = field
    guessed = {ours: next(iter(one)) for ours, one in found.items() if len(one) == 1 and ours not in known}
    lost = [fields for fields in strangers if not set(guessed.values()) & fields.keys()]
    told = {n: f"{n} ({f.attrs.get('units', 'no unit')})" for fields in lost for n, f in fields.items()}
    return guessed, list(told.values())


def header_of(file: Path) -> xr.Dataset | None:
    """A NetCDF file without its values; None where it cannot be read, which opening it will tell."""
    try:
        with hushed(), xr.open_dataset(file, decode_times=False) as ds:
            return ds
    except (OSError, ValueError):
        return None


def without_months(ds: xr.Dataset) -> bool:
    """Whether a file holds one step of time at most."""
    return max((n for d, n in ds.sizes.items() if "time" in str(d).lower()), default=1) == 1


def _likely(name: str, field: xr.DataArray, *, static: bool) -> str | None:
    """Which of ours a variable may be, by its unit, unless it is called something else."""
    unit = field.attrs.get("units")
    said = " ".join((name, *(str(field.attrs.get(a, "")) for a in ("long_name", "standard_name", "description"))))
    if static:
        return OROGRAPHY if is_height(unit) else None
    if temperature_unit(str(unit)) is not None:
        return None if _OTHER_HEAT.search(said) else "t2m"
    return "tp" if is_water(unit) and not _OTHER_WATER.search(said) else None
