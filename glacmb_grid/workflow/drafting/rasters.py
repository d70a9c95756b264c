"""How an elevation model and a series of albedo have to be named."""

from __future__ import annotations

from glacmb_grid.inputs.albedo import open_codes
from glacmb_grid.inputs.elevation import open_elevation
from glacmb_grid.inputs.files import find_files
from glacmb_grid.workflow.drafting.draft import FILL_IN, Draft, absolute, hushed, inside, one_or_several, patterns


def find_elevation(out: Draft, given: list[str]) -> None:
    """See that an elevation model can be opened."""
    if not given:
        out.leave_open("elevation", {"files": FILL_IN}, "elevation model, GeoTIFF tiles or their folder")
        return
    files = [absolute(g) for g in given]
    with hushed():
        dem = open_elevation(files)
    out.sections["elevation"] = {"files": one_or_several(files)}
    cells = " x ".join(map(str, dem.shape))
    out.assumed.append(f"elevation: {cells} cells; heights in the unit that the files state, else metres")


def find_albedo(out: Draft, given: list[str]) -> None:
    """See that a series of albedo can be opened, and which days it has; without one no albedo is used."""
    if not given:
        return
    every = find_files(inside(given), what="albedo rasters")
    files = patterns(given, every, every)
    with hushed():
        days = open_codes(files)["time"].values.astype("datetime64[D]")
    out.sections["albedo"] = {"files": one_or_several(files)}
    period = f"{days.min()} to {days.max()}"
    out.assumed.append(f"albedo: {len(days)} days, {period}; of these the summer of each glacier's hemisphere")
