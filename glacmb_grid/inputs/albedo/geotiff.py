"""GeoTIFF (or other rasters of GDAL): AppEEARS, one layer and day a file; Earth Engine, bands with descriptions."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import rasterio
import rasterio.errors
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from glacmb_grid.errors import InputError
from glacmb_grid.inputs.albedo.contract import Layout, Piece, Stored
from glacmb_grid.inputs.albedo.days import day_in, require_day
from glacmb_grid.inputs.albedo.layers import layer_of, product_of
from glacmb_grid.inputs.rasters import require_crs, unreadable

NAME = "geotiff"
_ERRORS = (rasterio.errors.RasterioError, OSError)
_TAGS = ("long_name", "layer", "LAYER", "TIFFTAG_IMAGEDESCRIPTION", "title")


def recognises(path: Path, head: bytes) -> bool:
    """Whether the file is for this reader: TIFF, or any other that no reader knows better."""
    del path, head
    return True


def pieces(path: Path) -> list[Piece]:
    """The layers of a file; read from its name where that tells day and layer, else from its bands."""
    layer, product = layer_of(path.name), product_of(path.name)
    if layer and day_in_name(path) is not None:
        return [Piece(str(path), require_day(path), layer, product, NAME, where=1)]
    try:
        with rasterio.open(path) as raster:
            texts = [t or "" for t in raster.descriptions]
            tags = " ".join(str(v) for k, v in {**raster.tags(), **raster.tags(1)}.items() if k in _TAGS)
    except _ERRORS as error:
        raise unreadable(path, error) from error
    layers = [layer_of(t) or layer or layer_of(tags) or layer_of(path.parent.name) for t in texts]
    if len(texts) > 1 and not any(layer_of(t) or _dated(t) for t in texts):
        raise _one_band(path, len(texts))
    return [
        Piece(str(path), require_day(path, text), name, product or product_of(text + tags), NAME, where=band)
        for band, (text, name) in enumerate(zip(texts, layers, strict=True), 1)
    ]


def day_in_name(path: Path) -> np.datetime64 | None:
    """The day in the file's name, None if it names none; an InputError for an impossible one."""
    try:
        return day_in(path.name)
    except ValueError:
        return require_day(path)


def _dated(text: str) -> bool:
    try:
        return day_in(text) is not None
    except ValueError:
        return False


def _one_band(path: Path | str, count: int) -> InputError:
    return InputError(
        f"{path}",
        expected="one band, or bands whose descriptions name their day or layer",
        found=f"{count} bands",
        remedy="extract the right band first, for instance with `gdal_translate -b 1`",
    )


def layout(piece: Piece) -> Layout:
    """Georeference of a layer, from the file's header."""
    try:
        with rasterio.open(piece.file) as raster:
            require_crs(Path(piece.file), raster.crs)
            return _layout(raster, piece)
    except _ERRORS as error:
        raise unreadable(piece.file, error) from error


def _layout(raster: rasterio.DatasetReader, piece: Piece) -> Layout:
    described = sum(bool(t) for t in raster.descriptions)
    if raster.count > 1 and described < raster.count:
        raise _one_band(piece.file, raster.count)
    crs = _crs_name(raster.crs.to_wkt()) if raster.crs else "none"
    return Layout(raster.shape, tuple(raster.transform[:6]), crs, raster.dtypes[piece.where - 1])


@functools.cache
def _crs_name(wkt: str) -> str:
    """The short name of a reference system, which takes longer to find than a raster to open."""
    return str(rasterio.CRS.from_wkt(wkt))


def read(piece: Piece, expected: Layout, rows: slice, columns: slice) -> Stored:
    """A window of a layer as stored; an InputError if the file is unreadable or not as expected."""
    window = Window(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    try:
        with rasterio.open(piece.file) as raster:
            found = _layout(raster, piece)
            require_same(piece, found, expected)
            values = raster.read(piece.where, window=window)
            flags, nodata = raster.mask_flag_enums[piece.where - 1], raster.nodatavals[piece.where - 1]
            told = (flags == [MaskFlags.nodata] and np.isfinite(nodata)) or flags == [MaskFlags.all_valid]
            missing = None if told else raster.read_masks(piece.where, window=window) == 0
            described = layer_of(raster.descriptions[piece.where - 1] or "")
            tags = {**raster.tags(), **raster.tags(piece.where)}
            scale, offset = raster.scales[piece.where - 1], raster.offsets[piece.where - 1]
    except _ERRORS as error:
        raise unreadable(piece.file, error) from error
    if described and piece.layer and described != piece.layer:
        raise InputError(
            f"{piece.file}: band {piece.where}",
            expected=f"{piece.layer}, as the file's name says",
            found=f"{described}, as the band's description says",
            remedy="give the file its right name, or name the files of the right layer",
        )
    if (scale, offset) == (1.0, 0.0):
        scale, offset = _number(tags.get("scale_factor"), 1.0), _number(tags.get("add_offset"), 0.0)
    return Stored(values, missing, scale, offset, nodata)


def require_same(piece: Piece, found: Layout, expected: Layout) -> None:
    """Raise an InputError unless a layer has the pixels of the others."""
    if not found.is_as(expected):
        raise InputError(
            piece.file,
            expected=f"{expected}, as in the first raster",
            found=f"{found}" + ("" if found.crs == expected.crs else f" in {found.crs}"),
            remedy="download one area and one product for all days",
        )


def _number(text: str | None, default: float) -> float:
    try:
        return default if text is None else float(text)
    except ValueError:
        return default
