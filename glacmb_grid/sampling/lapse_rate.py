"""Temperature moved from the sampled model orography to the glacier's own elevation."""

from __future__ import annotations

import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.vocabulary import OROGRAPHY

CORRECTED = ("t2m",)


def correct_temperature(sampled: xr.Dataset, elevation: xr.DataArray, *, lapse_rate: float = -0.0065) -> xr.Dataset:
    """Add `<name>_corrected` for every sampled air temperature.

    Parameters
    ----------
    sampled : xr.Dataset, (glacier, time)
        With `t2m` (K) and the sampled `orography` (m).
    elevation : xr.DataArray, (glacier,), m
        Mean elevation of each glacier.
    lapse_rate : float
        K m-1, negative where it cools upwards; 0 needs no orography.

    Returns
    -------
    xr.Dataset
        The raw temperature stays beside the corrected one.

    Raises
    ------
    InputError
        Where there is no orography to correct from.
    ValueError
        Where the elevations belong to other glaciers, or to the same in another order.
    """
    out = sampled
    for name in CORRECTED:
        if name not in sampled:
            continue
        if lapse_rate == 0:
            out = out.assign({f"{name}_corrected": sampled[name]})
            continue
        if OROGRAPHY not in sampled:
            raise InputError(
                "climate: invariant",
                expected="the invariant file, whose geopotential gives the model's orography",
                found="none",
                remedy="add `climate: {invariant: FILE}`, or `sampling: {lapse_rate: 0}` to do without "
                "an elevation correction",
            )
        height, orography = xr.align(elevation, sampled[OROGRAPHY], join="exact")
        shift = lapse_rate * (height - orography)
        moved = (sampled[name] + shift).astype("float32").transpose(*sampled[name].dims)
        attrs = {
            **sampled[name].attrs,
            "long_name": "2 metre temperature at the glacier's mean elevation",
            "lapse_rate": f"{lapse_rate:g} K m-1",
        }
        out = out.assign({f"{name}_corrected": moved.assign_attrs(attrs)})
    return out
