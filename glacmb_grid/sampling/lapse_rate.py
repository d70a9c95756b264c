"""Temperature corrected from the model orography to the elevation of the glacier."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Literal

import dask.array as da
import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.sampling.grid import Grid, any_grid_of
from glacmb_grid.sampling.zonal import cell_series
from glacmb_grid.schemas import CLIMATE, SAMPLED, check
from glacmb_grid.vocabulary import OROGRAPHY
from glacmb_grid.weights import Weights, from_entries

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
LapseRate = float | tuple[float, ...] | Literal["fitted"]

CORRECTED = ("t2m",)
STANDARD = -0.0065  # K m-1, of the standard atmosphere
STEEPEST, WEAKEST = -0.0098, 0.0  # K m-1: dry adiabatic; valley inversions do not reach the glaciers
LEAST_CELLS, LEAST_RANGE = 6, 300.0  # cells, m; with fewer or flatter cells no slope is fitted
_FAR = 1500.0  # m; a 9 km orography differs by hundreds of metres, not by thousands
_BELOW, _ABOVE = 1000.0, 2500.0  # m; glaciers lie on the mountains of a cell, seldom below its mean


def tell_far_orography(orography: xr.DataArray, elevation: xr.DataArray) -> None:
    """Warn if the model's orography differs implausibly from the glaciers' elevations, (glacier,), m.

    Raises
    ------
    InputError
        Where most glaciers lie more than 1000 m below it or 2500 m above.
    """
    above = elevation.values - orography.values
    known = np.isfinite(above)
    if known.any() and np.mean((above[known] < -_BELOW) | (above[known] > _ABOVE)) > 0.5:
        middle = np.median(elevation.values[known]), np.median(orography.values[known])
        raise InputError(
            "elevation model, climate: invariant",
            expected=f"glaciers at most {_BELOW:g} m below and {_ABOVE:g} m above the orography of the climate",
            found=f"most of {int(known.sum())} glaciers farther off: in the median they lie at {middle[0]:.0f} m, the "
            f"orography at {middle[1]:.0f} m",
            remedy="check that the elevation model holds heights in metres (`elevation: {units: ft}` declares another "
            "unit) over the same region, and the invariant file geopotential in m2 s-2",
        )
    far = np.abs(orography.values - elevation.values) > _FAR
    if far.any():
        pairs = zip(orography["glacier"].values[far], orography.values[far], strict=True)
        ids = [f"{glacier} ({height:.0f} m)" for glacier, height in pairs]
        warnings.warn(
            f"the model's orography lies more than {_FAR:g} m from the mean elevation of {len(ids)} glacier(s): "
            f"{listing(ids)}; check that the invariant file holds geopotential (m2 s-2) and the elevation model metres",
            stacklevel=2,
        )


def fitted_lapse_rate(cube: xr.Dataset, weights: Weights, *, cells: int = 2) -> xr.Dataset:
    """Lapse rate of every glacier and calendar month, from the model cells around it.

    Slope, by ordinary least squares, of the multi-year monthly mean temperature against the orography. Uses the valid
    cells of the smallest rectangle around the cells under the glacier, enlarged by `cells` on every side.

    Parameters
    ----------
    cube : xr.Dataset, (time, y, x)
        `t2m` (K) and `orography` (m). Only chunks that hold a cell of a rectangle are read.
    weights : Weights
        Of the glaciers and the cube's cells.
    cells : int
        Number of cells by which the rectangle is enlarged.

    Returns
    -------
    xr.Dataset, (glacier, month)
        `lapse_rate` (K m-1) and `lapse_rate_fallback`. The latter is 1 where the standard -0.0065 K m-1 is used: with
        fewer than 6 cells, an elevation range below 300 m, or a slope beyond dry adiabatic or inverted.

    Raises
    ------
    InputError
        If the cube is not what its schema says, or there is no orography.

    Notes
    -----
    Depends on the climate only, not on observed mass balances, so it may be the same in every fold.
    """
    check(cube, CLIMATE)
    if OROGRAPHY not in cube:
        raise _no_orography()
    window, row_of = _windows(weights, cube, cells)
    series = cell_series(cube[["t2m", OROGRAPHY]], window)
    monthly = series["t2m"].groupby("time.month").mean().reindex(month=np.arange(1, 13)).compute()
    rate, fitted = _slopes(
        window, monthly.transpose("cell", "month").values.astype(np.float64), np.asarray(series[OROGRAPHY].values)
    )
    dims = ("glacier", "month")
    coords = {"glacier": ("glacier", weights.rows.astype(object)), "month": np.arange(1, 13)}
    attrs = {"units": "K m-1", "long_name": "temperature lapse rate fitted on the model's cells around the glacier"}
    ds = xr.Dataset({"lapse_rate": (dims, np.where(fitted, rate, STANDARD)[row_of], attrs)}, coords=coords)
    flag = {"flag_values": np.array([0, 1], np.int8), "flag_meanings": "fitted standard"}
    ds["lapse_rate_fallback"] = (dims, (~fitted[row_of]).astype(np.int8), flag)
    _warn_fallback(ds)
    return ds


def _windows(weights: Weights, cube: xr.Dataset, grown: int) -> tuple[Weights, Integers]:
    """Distinct windows of cells around the rows, and the window of each row; those of a global grid cross its seam."""
    grid = any_grid_of(cube)
    height, width = grid.shape
    cyclic = isinstance(grid, Grid) and grid.is_cyclic
    y, x = np.divmod(weights.column, width)
    count = len(weights.rows)
    bounds = _bounds(weights.row, y, x, count)
    if cyclic:
        over = (bounds[:, 3] - bounds[:, 2])[weights.row] > width / 2
        bounds = _bounds(weights.row, y, np.where(over & (x < width / 2), x + width, x), count)
    empty = bounds[:, 0] > bounds[:, 1]
    box = bounds + np.array([-grown, grown, -grown, grown])
    box[:, :2] = np.clip(box[:, :2], 0, height - 1)
    if not cyclic:
        box[:, 2:] = np.clip(box[:, 2:], 0, width - 1)
    box[empty] = [0, -1, 0, -1]
    distinct, row_of = np.unique(box, axis=0, return_inverse=True)
    rows, columns = [], []
    for number, (y0, y1, x0, x1) in enumerate(distinct):
        j, i = np.meshgrid(np.arange(y0, y1 + 1), np.unique(np.arange(x0, x1 + 1) % width), indexing="ij")
        rows.append(np.full(j.size, number))
        columns.append((j * width + i).ravel())
    flat = np.concatenate(columns) if columns else np.zeros(0, np.int64)
    return (
        from_entries(
            np.concatenate(rows) if rows else flat,
            flat,
            np.ones(len(flat)),
            rows=np.arange(len(distinct)),
            size=height * width,
            source=grid.digest,
        ),
        np.asarray(row_of).ravel(),
    )


def _bounds(row: Integers, y: Integers, x: Integers, count: int) -> Integers:
    """First and last y and x of every row, (row, 4); first above last if the row is empty."""
    out = np.tile(np.array([2**62, -1, 2**62, -1]), (count, 1))
    for k, values in enumerate((y, y, x, x)):
        (np.minimum if k % 2 == 0 else np.maximum).at(out[:, k], row, values)
    return out


def _slopes(window: Weights, temperature: Floats, height: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Least-squares slopes, (window, month), and whether they are plausible; never in months without values."""
    known = np.isfinite(temperature).any(axis=0)
    valid = np.isfinite(height) & np.isfinite(temperature[:, known]).all(axis=1)
    z = np.where(valid, height - (height[valid].mean() if valid.any() else 0.0), 0.0)
    t = np.where(valid[:, None], temperature - 273.15, 0.0)  # NaN in months without any value
    matrix = window.matrix
    n = (matrix @ valid.astype(np.float64))[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_z, mean_t = (matrix @ z)[:, None] / n, (matrix @ t) / n
        spread = (matrix @ (z * z))[:, None] / n - mean_z**2
        slope = ((matrix @ (z[:, None] * t)) / n - mean_z * mean_t) / spread
    here = valid[matrix.indices]
    owner = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[here]
    low, high = np.full(matrix.shape[0], np.inf), np.full(matrix.shape[0], -np.inf)
    np.minimum.at(low, owner, z[matrix.indices[here]])
    np.maximum.at(high, owner, z[matrix.indices[here]])
    enough = (n[:, 0] >= LEAST_CELLS) & (high - low >= LEAST_RANGE)
    return slope, enough[:, None] & (slope >= STEEPEST) & (slope <= WEAKEST)


def _warn_fallback(ds: xr.Dataset) -> None:
    fallen = ds["lapse_rate_fallback"].values.astype(bool)
    if fallen.any():
        never = fallen.all(axis=1)
        warnings.warn(
            f"the lapse rate could not be fitted in {fallen.mean():.0%} of the glaciers' months (too few cells, too "
            f"flat, steeper than dry adiabatic, or an inversion), for {int(never.sum())} of {len(fallen)} glaciers in "
            f"no month: {STANDARD:g} K m-1 is used instead, flagged in `lapse_rate_fallback`",
            stacklevel=3,
        )


def correct_temperature(
    sampled: xr.Dataset, elevation: xr.DataArray, *, lapse_rate: float | Sequence[float] | xr.DataArray = STANDARD
) -> xr.Dataset:
    """Add `<name>_corrected` for every sampled air temperature.

    Parameters
    ----------
    sampled : xr.Dataset, (glacier, time)
        With `t2m` (K) and the sampled `orography` (m).
    elevation : xr.DataArray, (glacier,), m
        Mean elevation of each glacier.
    lapse_rate : float, sequence of 12 floats, or xr.DataArray, (glacier, month)
        K m-1, negative if it cools upwards: one value, twelve from January to December, or from `fitted_lapse_rate`.
        0 needs no orography.

    Returns
    -------
    xr.Dataset
        The raw temperature is kept.

    Raises
    ------
    InputError
        If the climate is not what its schema says, or there is no orography.
    ValueError
        If the elevations belong to other glaciers, or are in another order.

    Examples
    --------
    >>> import pandas as pd, xarray as xr, glacmb_grid as gg
    >>> known = {"glacier": ["low", "high"], "time": pd.to_datetime(["2001-07-01"])}
    >>> values = {"t2m": (("glacier", "time"), [[275.0], [275.0]]), "orography": ("glacier", [3000.0, 3000.0])}
    >>> elevation = xr.DataArray([2800.0, 3400.0], coords={"glacier": ["low", "high"]})
    >>> corrected = gg.correct_temperature(xr.Dataset(values, known), elevation, lapse_rate=-0.005)
    >>> corrected["t2m_corrected"].values.tolist()
    [[276.0], [273.0]]
    """
    check(sampled, SAMPLED)
    out = sampled
    for name in CORRECTED:
        if name not in sampled:
            continue
        if isinstance(lapse_rate, (int, float)) and lapse_rate == 0:
            out = out.assign({f"{name}_corrected": sampled[name]})
            continue
        if OROGRAPHY not in sampled:
            raise _no_orography()
        height, orography = xr.align(elevation, sampled[OROGRAPHY], join="exact")
        if isinstance(lapse_rate, (int, float)):
            shift = lapse_rate * (height - orography)
            moved = (sampled[name] + shift).astype("float32").transpose(*sampled[name].dims)
            text = f"{lapse_rate:g} K m-1"
        else:
            moved, text = _by_month(sampled[name], height - orography, _monthly(lapse_rate))
        attrs = {
            **sampled[name].attrs,
            "long_name": "2 metre temperature at the glacier's mean elevation",
            "lapse_rate": text,
        }
        out = out.assign({f"{name}_corrected": moved.assign_attrs(attrs)})
    return out


def rates_of(setting: LapseRate, sampled: xr.Dataset) -> float | xr.DataArray:
    """Lapse rates of a setting: one, one per month, or those fitted and stored with the sampled climate."""
    if setting == "fitted":
        fitted: float | xr.DataArray = sampled.get("lapse_rate", 0.0)
        return fitted
    return setting if isinstance(setting, float) else _monthly(setting)


def _monthly(lapse_rate: Sequence[float] | xr.DataArray) -> xr.DataArray:
    if isinstance(lapse_rate, xr.DataArray):
        return lapse_rate
    return xr.DataArray(np.array(lapse_rate, np.float64), dims="month", coords={"month": np.arange(1, 13)})


def _by_month(temperature: xr.DataArray, above: xr.DataArray, rate: xr.DataArray) -> tuple[xr.DataArray, str]:
    if "glacier" in rate.dims:
        above, rate = xr.align(above, rate, join="exact")
    table = np.broadcast_to(rate.transpose(..., "month").values, (above.sizes["glacier"], 12))
    month = temperature["time"].dt.month.values - 1
    ordered = temperature.transpose("glacier", "time")
    if isinstance(ordered.data, da.Array):
        rows, steps = ordered.data.chunks
        values = da.blockwise(  # type: ignore[no-untyped-call]
            _shifted,
            "gt",
            ordered.data,
            "gt",
            da.asarray(above.values).rechunk((rows,)),  # type: ignore[no-untyped-call]
            "g",
            da.from_array(np.ascontiguousarray(table), chunks=(rows, 12)),  # type: ignore[no-untyped-call]
            "gm",
            da.from_array(month, chunks=(steps,)),  # type: ignore[no-untyped-call]
            "t",
            dtype=np.float32,
            concatenate=True,
        )
    else:
        values = _shifted(ordered.data, above.values, table, month)
    moved = ordered.copy(data=values).transpose(*temperature.dims)
    mean = table.mean(axis=0) if len(table) else np.zeros(12)
    kind = "fitted, on average" if "glacier" in rate.dims else "January to December:"
    return moved, f"{kind} {', '.join(f'{r:.4g}' for r in mean)} K m-1"


def _shifted(values: npt.NDArray[np.floating], above: Floats, rate: Floats, month: Integers) -> npt.NDArray[np.float32]:
    return np.asarray(values + rate[:, month] * above[:, None]).astype(np.float32)


def _no_orography() -> InputError:
    return InputError(
        "climate: invariant",
        expected="the invariant file, whose geopotential gives the model's orography",
        found="none",
        remedy="add `climate: {invariant: FILE}`, or `sampling: {lapse_rate: 0}` for no elevation correction",
    )
