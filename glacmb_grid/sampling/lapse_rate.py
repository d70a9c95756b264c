"""Temperature moved from the sampled model orography to the glacier's own elevation."""

from __future__ import annotations

import warnings

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.vocabulary import OROGRAPHY

CORRECTED = ("t2m",)
_FAR = 1500.0  # m; a 9 km orography is off by hundreds of metres, not by thousands


def tell_far_orography(orography: xr.DataArray, elevation: xr.DataArray) -> None:
    """Warn where the model's orography lies unbelievably far from the glaciers, (glacier,), m."""
    far = np.abs(orography.values - elevation.values) > _FAR
    if far.any():
        pairs = zip(orography["glacier"].values[far], orography.values[far], strict=True)
        ids = [f"{glacier} ({height:.0f} m)" for glacier, height in pairs]
        warnings.warn(
            f"the model's orography lies more than {_FAR:g} m from the mean elevation of {len(ids)} glacier(s): "
            f"{listing(ids)}; check that the invariant file holds geopotential (m2 s-2) and the elevation model metres",
            stacklevel=2,
        )


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
