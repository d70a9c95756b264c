"""How the climate has to be read: what its sums hold, which file is the invariant one, which months it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import xarray as xr

from glacmb_grid.errors import listing
from glacmb_grid.inputs.climate import notes_of, open_climate
from glacmb_grid.inputs.climate.plausible import quick_look
from glacmb_grid.inputs.files import find_files
from glacmb_grid.inputs.units import Stream
from glacmb_grid.vocabulary import OROGRAPHY, VARIABLES
from glacmb_grid.workflow.drafting.draft import (
    FILL_IN,
    Draft,
    Values,
    absolute,
    hushed,
    inside,
    one_or_several,
    patterns,
    sound_readings,
)

_STATIC_NAME = re.compile(r"invariant|geopotential|orograph|static|lsm|land_sea", re.IGNORECASE)
_STATIC = {"z", "lsm", "orography", "orog", "land_mask", "geopotential"}
_LOOKED_AT = 400
"""Files whose headers are looked at, to find the invariant one."""


def find_climate(out: Draft, given: list[str]) -> xr.Dataset | None:
    """Find out how the climate has to be read; the cube, None where no climate is given."""
    if not given:
        out.leave_open("climate", {"files": FILL_IN, "accumulated": "daily_mean"}, "files of monthly climate")
        return None
    every = find_files(inside(given), what="climate files")
    invariant = _invariant(every)
    files = patterns(given, [f for f in every if f != invariant], every)
    options: Values = {} if invariant is None else {"invariant": absolute(str(invariant))}

    def read(how: Values) -> xr.Dataset:
        cube = open_climate(files, **options, **how)
        quick_look(cube, source="climate files")
        return cube

    sound = list(sound_readings([{"accumulated": s} for s in get_args(Stream)], read))
    how, cube = sound[0]
    out.sections["climate"] = {"files": one_or_several(files), **options, **how}
    out.say("climate.accumulated", _why([h["accumulated"] for h, _ in sound], cube))
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


def _why(plausible: list[str], cube: xr.Dataset) -> str:
    """Why sums are taken for what they are taken for, the first that is plausible."""
    if not any(VARIABLES[str(n)].kind == "accumulated" for n in cube.data_vars if str(n) in VARIABLES):
        return "without effect: no variable holds sums"
    if len(plausible) == 1:
        return f"only as {plausible[0]} is the annual precipitation plausible"
    return f"as in monthly means of ERA5-Land; {listing(plausible[1:])} would be plausible too: make sure"


def _invariant(files: list[Path]) -> Path | None:
    """The file that holds no months but the orography or the land mask."""
    likely = sorted(files[:_LOOKED_AT], key=lambda p: _STATIC_NAME.search(p.name) is None) if len(files) > 1 else []
    for file in likely:
        if file.suffix in (".grib", ".grb", ".grib2"):
            if _STATIC_NAME.search(file.name):
                return file
        elif file.suffix in (".nc", ".nc4") and _is_static(file):
            return file
    return None


def _is_static(file: Path) -> bool:
    try:
        with hushed(), xr.open_dataset(file, decode_times=False) as ds:
            steps = max((n for d, n in ds.sizes.items() if "time" in str(d)), default=1)
            return steps == 1 and bool(_STATIC & {str(n).lower() for n in ds.data_vars})
    except (OSError, ValueError):
        return False
