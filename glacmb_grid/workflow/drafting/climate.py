"""How the climate has to be read: what its sums hold, which file is the invariant one, which months it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import xarray as xr

from glacmb_grid.errors import listing
from glacmb_grid.inputs.climate import notes_of, open_climate
from glacmb_grid.inputs.climate.names import named
from glacmb_grid.inputs.climate.plausible import quick_look
from glacmb_grid.inputs.files import find_files
from glacmb_grid.inputs.units import Stream
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY
from glacmb_grid.workflow.drafting.draft import (
    FILL_IN,
    Draft,
    Values,
    absolute,
    inside,
    one_or_several,
    patterns,
    sound_readings,
)
from glacmb_grid.workflow.drafting.names import NETCDF, guessed_names, header_of, without_months

_STATIC_NAME = re.compile(r"invariant|geopotential|orograph|static|lsm|land_sea", re.IGNORECASE)
_UNNAMED = {"t2m": FILL_IN, "tp": FILL_IN}
_LOOKED_AT = 400
"""Files whose headers are looked at, to find the invariant one."""


def find_climate(out: Draft, given: list[str]) -> xr.Dataset | None:
    """Find out how the climate has to be read; the cube, None where no climate is given."""
    if not given:
        out.leave_open("climate", {"files": FILL_IN}, "files of monthly temperature and precipitation")
        return None
    every = find_files(inside(given), what="climate files")
    names, strangers = guessed_names(every)
    if strangers:
        which = f"which variables are temperature (t2m) and precipitation (tp), of {listing(strangers, 12)}"
        values: Values = {"files": one_or_several(patterns(given, every, every)), "names": _UNNAMED | names}
        out.leave_open("climate", values, which)
        return None
    invariant = _invariant(every, names)
    files = patterns(given, [f for f in every if f != invariant], every)
    options: Values = {"names": names} if names else {}
    options |= {} if invariant is None else {"invariant": absolute(str(invariant))}

    def read(how: Values) -> xr.Dataset:
        cube = open_climate(files, **options, **how)
        quick_look(cube, source="climate files")
        return cube

    streams = ({}, *({"accumulated": s} for s in get_args(Stream)))
    sound = list(sound_readings(streams, read, enough=lambda how: not how))
    how, cube = sound[0]
    out.sections["climate"] = {"files": one_or_several(files), **options, **how}
    if how:
        out.say("climate.accumulated", _why([h["accumulated"] for h, _ in sound]))
    if names:
        out.say("climate.names", "by their units and descriptions, no name that is known: make sure")
    if invariant is not None:
        out.say("climate.invariant", f"the one of {len(every)} files that holds fields without months")
    if OROGRAPHY not in cube:
        out.sections["sampling"] = {"lapse_rate": 0}
        out.say("sampling.lapse_rate", "no file holds the climate's orography: temperatures keep its height")
    notes = notes_of(cube)
    if any("expver" in n for n in notes):
        out.sections["climate"]["expver"] = "prefer_final"
        out.say("climate.expver", "final months where there are any, preliminary ones (ERA5T) elsewhere")
    out.assumed += [f"climate: {n}" for n in notes]
    months = cube["time"].values.astype("datetime64[M]")
    out.assumed.append(f"climate: {listing(map(str, cube.data_vars), 30)}; {months[0]} to {months[-1]}")
    return cube


def _why(plausible: list[str]) -> str:
    """Why sums are taken for what they are taken for, the first that is plausible."""
    if len(plausible) == 1:
        return f"only as {plausible[0]} is the annual precipitation plausible"
    return f"as in monthly means of ERA5-Land; {listing(plausible[1:])} would be plausible too: make sure"


def _invariant(files: list[Path], names: Values) -> Path | None:
    """The file that holds no months but the orography or the land mask."""
    likely = sorted(files[:_LOOKED_AT], key=lambda p: _STATIC_NAME.search(p.name) is None) if len(files) > 1 else []
    for file in likely:
        if file.suffix in (".grib", ".grb", ".grib2"):
            if _STATIC_NAME.search(file.name):
                return file
        elif file.suffix in NETCDF and _is_static(header_of(file), names):
            return file
    return None


def _is_static(ds: xr.Dataset | None, names: Values) -> bool:
    """Whether a file holds no months but the orography or the land mask."""
    return ds is not None and without_months(ds) and bool({OROGRAPHY, LAND_MASK} & named(ds, names, "").keys())
