"""Fields that do not change: the height of the model's surface, and its share of land."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.climate.contract import Piece
from glacmb_grid.inputs.horizontal import GRID, cells_of, in_order, is_curvilinear, with_plane_named
from glacmb_grid.inputs.units import height_factor
from glacmb_grid.vocabulary import LAND_MASK, OROGRAPHY


def static_fields(found: Mapping[str, Piece], template: xr.DataArray, unit: str | None) -> dict[str, xr.DataArray]:
    """Orography (m) and land mask (1) on the cells of the cube.

    Parameters
    ----------
    found : mapping
        `orography` as geopotential or height, `land_mask` as a share or in percent; on cells of the cube and more.
    template : xr.DataArray
        A variable of the cube.
    unit : str, optional
        Unit of the orography, in place of its attribute.

    Raises
    ------
    InputError
        Another grid, or values that are none.
    """
    out = {}
    if OROGRAPHY in found:
        field, where = found[OROGRAPHY].field, found[OROGRAPHY].where
        factor = height_factor(unit if unit is not None else field.attrs.get("units"), where)
        heights = _flat(field, template, where) * factor
        _require_within(heights, (-500, 9000), where, "heights in m (geopotential divided by 9.80665)")
        attrs = {"units": "m", "standard_name": "surface_altitude", "long_name": "height of the model's surface"}
        out[OROGRAPHY] = heights.astype("float32").drop_attrs().assign_attrs(attrs)
    if LAND_MASK in found:
        field, where = found[LAND_MASK].field, found[LAND_MASK].where
        mask = _flat(field, template, where) * (0.01 if field.attrs.get("units") in ("%", "percent") else 1.0)
        _require_within(mask, (-0.01, 1.01), where, "shares of land")
        out[LAND_MASK] = mask.astype("float32").drop_attrs().assign_attrs(units="1", standard_name="land_binary_mask")
    return {n: f.rename(n) for n, f in out.items()}


def _flat(field: xr.DataArray, template: xr.DataArray, where: str) -> xr.DataArray:
    """A field on the cells of the template, (latitude, longitude): the first step of its other dimensions."""
    if is_curvilinear(template) and is_curvilinear(field):
        plane = with_plane_named(field, where)
        flat = plane.isel({d: 0 for d in plane.dims if d not in ("y", "x")}, drop=True).transpose("y", "x")
        return cells_of(flat, template, where).compute()
    if not set(GRID) <= set(field.dims) or any(d not in field.coords for d in GRID):
        raise InputError(
            where,
            expected="dimensions latitude and longitude with their coordinates",
            found=f"dimensions {listing(field.dims) or 'none'}",
            remedy="download the invariant fields on the grid of the climate files",
        )
    flat = field.isel({d: 0 for d in field.dims if d not in GRID}, drop=True).transpose(*GRID)
    flat = flat.drop_vars([c for c in flat.coords if c not in flat.dims])
    return cells_of(in_order(flat, where), template, where).compute()


def _require_within(field: xr.DataArray, bounds: tuple[float, float], where: str, what: str) -> None:
    values = field.values[np.isfinite(field.values)]
    if not len(values) or values.min() < bounds[0] or values.max() > bounds[1]:
        raise InputError(
            where,
            expected=f"{what}, {bounds[0]:g}..{bounds[1]:g}",
            found=f"{values.min():.4g}..{values.max():.4g}" if len(values) else "only missing values",
            remedy="check the variable and its unit; download the invariant file again",
        )
