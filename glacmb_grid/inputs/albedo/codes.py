"""Stored values of every product in one coding: `contract.Codes`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.albedo.contract import CLOUD, CODE, HIGHEST, LAND, MISSING, Codes, Stored
from glacmb_grid.inputs.albedo.layers import SNOW, is_snow

Quality = Literal["best", "usable"]
TELLS_CLOUDS = "tells_clouds"
"""Attribute of `code`: 1 where codes tell cloud and land, 0 for a product that only has values or none."""
_SNOW_COVER = (200, 201, 211, 237, 239)  # codes of NDSI_Snow_Cover that the albedo layer does not have
_HIGHEST_FRACTION = 2.5501  # 255 times 0.01, rounded up
_CODES = np.array([MISSING, *range(10, 1001, 10), *range(CODE + 101, CODE + 256)], np.int16)  # of each byte
_TOLD_THOUGH_MISSING = np.isin(np.arange(256), (125, 137, 139, 150))  # land, water and cloud stay known as nodata
_NOTHING_SEEN = tuple(CODE + c for c in (101, 111, 250, 251, 252, 253, 254, 255))
_ROWS_AT_ONCE = 64
_DARKEST = 0.05
_WORST = {"snow": {"best": 0, "usable": 2}, "brdf": {"best": 0, "usable": 1}}


def to_codes(stored: Stored, layer: str, file: str) -> Codes:
    """Stored values in the one coding.

    Exporters write 0 where they have no data, so a 0 is missing unless the file declares another value for that.

    Raises
    ------
    InputError
        Values that betray another layer, or another scale.
    """
    return _snow(stored, file) if is_snow(layer) else _brdf(stored, layer, file)


def _snow(stored: Stored, file: str) -> Codes:
    """Percent 1 to 100 and codes; also as a fraction, as converters write it who apply a scale of 0.01."""
    if stored.offset != 0 or not np.isclose([1.0, 0.01], stored.scale, rtol=1e-6).any():
        raise _scaled(stored, file, "percent: a scale of 1 or 0.01 and no offset")
    values, missing = _bytes(stored, file)
    seen = values if missing is None else np.where(missing, np.uint8(0), values)
    near = (seen - np.uint8(_SNOW_COVER[0]) <= _SNOW_COVER[-1] - _SNOW_COVER[0]).any()  # one pass instead of five
    if near and (betrayed := [c for c in _SNOW_COVER if c != stored.fill and (seen == c).any()]):
        raise InputError(
            f"{file}: {SNOW}",
            expected="albedo in percent and its codes",
            found=f"the codes {listing(betrayed)} of NDSI_Snow_Cover: snow cover, no albedo",
            remedy=f"name the files of the layer {SNOW}",
        )
    table = _CODES.copy()
    if stored.values.dtype == np.uint8 and stored.fill is not None:
        if stored.fill != 0:
            table[0] = 0
        if missing is None and stored.fill in range(256) and not _TOLD_THOUGH_MISSING[int(stored.fill)]:
            table[int(stored.fill)] = MISSING
    codes = _looked_up(table, values)
    if missing is not None:
        np.copyto(codes, MISSING, where=missing & ~_TOLD_THOUGH_MISSING[values])
    return codes


def _looked_up(table: Codes, values: npt.NDArray[np.uint8]) -> Codes:
    """The entry of each byte; some rows at a time, which stay in the processor's cache."""
    out = np.empty(values.shape, np.int16)
    for start in range(0, len(values), _ROWS_AT_ONCE):
        here = slice(start, start + _ROWS_AT_ONCE)
        np.take(table, values[here], out=out[here], mode="clip")
    return out


def _bytes(stored: Stored, file: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_] | None]:
    """Percent and codes as bytes, 0 where they are missing or negative; and `Stored.missing` of them."""
    values = stored.values
    if values.dtype == np.uint8:
        return values, stored.missing
    missing = stored.lacking()
    known = np.isfinite(values) & (values > 0)
    usable = known & ~missing
    highest = float(values[usable].max(initial=0))
    factor = 100 if values.dtype.kind == "f" and highest <= _HIGHEST_FRACTION else 1
    if highest * factor > 255.5:
        raise InputError(
            f"{file}: {SNOW}",
            expected="albedo in percent, 1 to 100, or codes up to 255",
            found=f"values up to {highest:g}",
            remedy="give the raster as delivered; of MCD43A3 keep the layer's name, Albedo_BSA_shortwave, in the "
            "file's name",
        )
    percent = np.rint(np.where(known, values, 0).astype(np.float64) * factor)
    return np.where(percent > 255, 0, percent).astype(np.uint8), missing


def _brdf(stored: Stored, layer: str, file: str) -> Codes:
    """Thousandths, or fractions as converters write them who apply the scale."""
    known = ~stored.lacking() & (stored.values != 0)
    if stored.values.dtype.kind == "f":
        known &= np.isfinite(stored.values)
        values = np.where(known, stored.values, 0).astype(np.float64)
        scale = stored.scale if stored.scale != 1 else (1.0 if values.max(initial=0) <= 2 else 0.001)
    else:
        values = stored.values.astype(np.float64)
        known &= (values != 32767) & (values > 0)
        scale = stored.scale if stored.scale != 1 else 0.001
    if stored.offset != 0 or not 1e-5 < scale <= 1:
        raise _scaled(stored, f"{file}: {layer}", "a scale such as 0.001 and no offset")
    thousandths = np.rint(values * scale * 1000)
    if known.sum() > 10 and np.median(thousandths[known]) > 2 * HIGHEST:
        raise _scaled(stored, f"{file}: {layer}", "a scale with which albedo is below 1")
    known &= (thousandths >= 1) & (thousandths <= HIGHEST)
    return np.asarray(np.where(known, thousandths, MISSING), np.int16)


def _scaled(stored: Stored, where: str, expected: str) -> InputError:
    return InputError(
        where,
        expected=expected,
        found=f"a scale of {stored.scale:g} and an offset of {stored.offset:g}",
        remedy="give the raster as delivered, or set the right scale, for instance with `gdal_edit.py -a_scale 0.001`",
    )


def require_bright(albedo: npt.NDArray[np.floating], where: str) -> None:
    """Raise an InputError if the albedo of glaciers, 0..1 with NaN for gaps, is darker than ice and debris are."""
    known = albedo[np.isfinite(albedo)]
    if known.size and float(np.median(known)) < _DARKEST:
        raise InputError(
            f"{where}: albedo",
            expected=f"a median above {_DARKEST:g} over glaciers: bare ice and debris have 0.1 and more",
            found=f"{float(np.median(known)):.2g}, {known.size} values",
            remedy="look whether the scale was applied twice; give the rasters as delivered",
        )


def without_poor(codes: Codes, quality: Stored, layer: str, least: Quality) -> Codes:
    """Albedo only where its quality layer says that it is usable."""
    worst = _WORST["snow" if is_snow(layer) else "brdf"][least]
    poor = quality.lacking() | (quality.values > worst)
    return np.asarray(np.where(poor & (codes <= HIGHEST), MISSING, codes), np.int16)


def best_of(layers: Sequence[Codes]) -> Codes:
    """One day from several platforms, pixel by pixel: the first albedo, else what is on the ground, else a cloud."""
    out = layers[0]
    for other in layers[1:]:
        out = np.where(_told(other) > _told(out), other, out)
    return out


def _told(codes: Codes) -> Codes:
    told = np.where(codes <= HIGHEST, np.int16(3), np.int16(2))
    told[codes == CLOUD] = 1
    told[np.isin(codes, (MISSING, *_NOTHING_SEEN))] = 0
    return np.asarray(told, np.int16)


def decode_albedo(codes: xr.Dataset) -> xr.Dataset:
    """Albedo, land and cloud from codes.

    Parameters
    ----------
    codes : xr.Dataset
        `code` as `open_codes` gives it, of any dimensions.

    Returns
    -------
    xr.Dataset
        `albedo` (0..1, NaN for other codes), `land` and `cloud` (1 for their codes, else 0; NaN for products that do
        not tell them).

    Notes
    -----
    Code 125 (land) can be bare ice or debris. Without it summer albedo is too high, so its share is kept.
    """
    code = codes["code"]
    tells = bool(code.attrs.get(TELLS_CLOUDS, 1))
    unknown = np.float32(0 if tells else np.nan)
    return codes.drop_vars("code").assign(
        albedo=(code.astype("float32") / 1000.0).where(code <= HIGHEST),
        land=(code == LAND).astype("float32") + unknown,
        cloud=(code == CLOUD).astype("float32") + unknown,
    )
