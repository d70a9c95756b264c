"""The gridded product under the names of the gridded annual mass change of WGMS and the Climate Data Store."""

from __future__ import annotations

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.products.metadata import describe

NAMES = {
    "glacier_mass_change_gt": "mass_change_gt",
    "glacier_mass_change_mwe": "mass_balance",
    "glacier_area_km2": "glacier_area",
    "uncertainty_gt": "mass_change_gt_uncertainty",
    "uncertainty_mwe": "mass_balance_uncertainty",
}
"""Their names of our variables."""
_DIMENSIONS = {"latitude": "lat", "longitude": "lon"}
RESOLUTION = 0.5


def wgms_grid(gridded: xr.Dataset, *, whole: bool = True) -> xr.Dataset:
    """A gridded product with the variables and dimensions of the WGMS product.

    Parameters
    ----------
    gridded : xr.Dataset, (time, latitude, longitude)
        From `gridded_product`, for their layout with a resolution of 0.5 degrees.
    whole : bool
        Whether the grid is that of the whole globe, 360 x 720 cells, with gaps where there is nothing.

    Returns
    -------
    xr.Dataset, (time, lat, lon)
        float32. `units` are those of CF: "Gt" for what their files call "gt", "m" for "m w.e."; uncertainties are
        one standard deviation.

    Raises
    ------
    InputError
        A grid for the whole globe whose cells are not those of 0.5 degrees.
    """
    ds = gridded[[*NAMES.values(), "lat_bnds", "lon_bnds", "time_bnds", "crs"]]
    ds = _on_the_globe(ds) if whole else ds
    ds = describe(ds.assign_attrs(gridded.attrs), kind="grid")
    out = ds.rename({ours: theirs for theirs, ours in NAMES.items()} | _DIMENSIONS)
    for name in NAMES:
        out[name] = out[name].astype(np.float32)
        words = out[name].attrs.get("ancillary_variables", "").split()
        theirs = [n for n, ours in NAMES.items() if ours in words]
        if theirs:
            out[name].attrs["ancillary_variables"] = " ".join(theirs)
    out.attrs["names"] = "those of the gridded annual glacier mass change of WGMS; units as CF has them"
    return out


def _on_the_globe(ds: xr.Dataset) -> xr.Dataset:
    latitude, longitude = (np.arange(e - RESOLUTION / 2, -e, -RESOLUTION) for e in (90, 180))
    longitude = longitude[::-1]
    west = (ds["longitude"].values + 180) % 360 - 180
    y, x = (90 - ds["latitude"].values) / RESOLUTION - 0.5, (west + 180) / RESOLUTION - 0.5
    if (
        max(np.abs(np.round(a) - a).max(initial=0) for a in (y, x)) > 1e-6
        or np.diff(ds["lat_bnds"][0])[0] != -RESOLUTION
    ):
        raise InputError(
            "wgms-grid",
            expected=f"cells of {RESOLUTION} degrees whose edges are multiples of it",
            found=f"centres {ds['latitude'].values[0]:g}, {ds['longitude'].values[0]:g}",
            remedy=f"make the gridded product with resolution={RESOLUTION}, or export it with whole=False",
        )
    rows, columns = np.rint(y).astype(np.int64), np.rint(x).astype(np.int64)
    found = ds.drop_dims(("latitude", "longitude")).assign_coords(latitude=latitude, longitude=longitude)
    for name in NAMES.values():
        values = np.full((ds.sizes["time"], len(latitude), len(longitude)), np.nan, np.float32)
        values[:, rows[:, None], columns[None, :]] = ds[name].transpose("time", "latitude", "longitude").values
        found[name] = (("time", "latitude", "longitude"), values, ds[name].attrs)
    half = RESOLUTION / 2
    found["lat_bnds"] = (("latitude", "bnds"), np.stack([latitude + half, latitude - half], axis=1))
    found["lon_bnds"] = (("longitude", "bnds"), np.stack([longitude - half, longitude + half], axis=1))
    return found
