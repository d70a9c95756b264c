"""Scenes laid on the sinusoidal grid of MODIS and written as tiles in HDF4-EOS, through pyhdf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import chdir
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .terrain import Grid, Ints

SPHERE_M = 6371007.181
WEST_M, NORTH_M = -20015109.354, 10007554.677
TILE_M = 1111950.5196666666
PIXELS = 2400  # rows and columns of a tile of 500 m
PIXEL_M = TILE_M / PIXELS
MADE = "2025032120000"  # the time of processing in the names
SNOW_GRID = "MOD_Grid_Snow_500m"
ALBEDO = "Snow_Albedo_Daily_Tile"
FILL = 255

Corners = tuple[float, float, float, float]
Bytes = NDArray[np.uint8]

_NONE: Mapping[str, Any] = {"units": "none", "_FillValue": FILL}
ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "NDSI_Snow_Cover": {
        "long_name": "NDSI snow cover from best observation of the day",
        "valid_range": (0, 100),
        "missing_value": 200,
        "Key": "0-100=NDSI snow, 200=missing data, 201=no decision, 211=night, 237=inland water, 239=ocean, 250=cloud, "
        "254=detector saturated, 255=fill",
        **_NONE,
    },
    "NDSI_Snow_Cover_Basic_QA": {
        "long_name": "NDSI snow cover general quality value",
        "valid_range": (0, 4),
        "Key": "0=best, 1=good, 2=ok, 3=poor-not used, 4=other-not used, 211=night, 239=ocean, 255=unusable L1B data "
        "or no data",
        **_NONE,
    },
    "NDSI_Snow_Cover_Algorithm_Flags_QA": {
        "long_name": "NDSI snow cover algorithm bit flags",
        "format": "bit flag",
        "valid_range": (0, 254),
        **_NONE,
    },
    ALBEDO: {"valid_range": (0, 100), **_NONE},
}
_KINDS = {"uint8": ("UINT8", 21), "int8": ("INT8", 20), "int16": ("INT16", 22)}


def hdf4_is_there() -> bool:
    """Whether pyhdf, which writes HDF4, can be imported."""
    try:
        import pyhdf.SD  # noqa: F401
    except ImportError:
        return False
    return True


@dataclass(frozen=True)
class Window:
    """The part of a tile that a region touches, and the pixel of the scene under each of its pixels.

    Attributes
    ----------
    h, v : int
        Number of the tile.
    first : (int, int)
        Row and column in the tile of the window's first pixel.
    row, column : (y, x)
        Position in the scene, -1 outside.
    """

    h: int
    v: int
    first: tuple[int, int]
    row: Ints
    column: Ints

    @property
    def corners(self) -> Corners:
        """Left, top, right and bottom, m."""
        top = NORTH_M - self.v * TILE_M - self.first[0] * PIXEL_M
        left = WEST_M + self.h * TILE_M + self.first[1] * PIXEL_M
        rows, columns = self.row.shape
        return left, top, left + columns * PIXEL_M, top - rows * PIXEL_M

    def cut(self, scene: Bytes) -> Bytes:
        """Take the nearest pixels of a scene."""
        return np.where(self.row >= 0, scene[self.row, self.column], np.uint8(FILL))


def windows(grid: Grid) -> list[Window]:
    """Cut a region out of the tiles that it touches.

    Parameters
    ----------
    grid : Grid
        Pixels of the scenes.

    Returns
    -------
    list of Window
        From west to east and north to south.
    """
    north, south = grid.north, grid.north - grid.step * grid.rows
    edges = [np.deg2rad(lon) * np.cos(np.deg2rad([north, south])) for lon in (grid.west, grid.west + _width(grid))]
    columns = [int(np.floor((SPHERE_M * x - WEST_M) / PIXEL_M)) for x in (edges[0].min(), edges[1].max())]
    rows = [int(np.floor((NORTH_M - SPHERE_M * np.deg2rad(lat)) / PIXEL_M)) for lat in (north, south)]
    y, x = np.arange(rows[0], rows[1] + 1), np.arange(columns[0], columns[1] + 1)
    latitude = np.rad2deg((NORTH_M - (y[:, None] + 0.5) * PIXEL_M) / SPHERE_M)
    longitude = np.rad2deg((WEST_M + (x + 0.5) * PIXEL_M) / SPHERE_M / np.cos(np.deg2rad(latitude)))
    inside = (latitude > south) & (latitude < north) & (longitude > grid.west) & (longitude < grid.west + _width(grid))
    row, column = (np.where(inside, n, -1) for n in grid.index(longitude, np.broadcast_to(latitude, inside.shape)))
    found = []
    for v, h in product(np.unique(y // PIXELS), np.unique(x // PIXELS)):
        here = inside & (y // PIXELS == v)[:, None] & (x // PIXELS == h)
        if here.any():
            box = tuple(slice(n.min(), n.max() + 1) for n in np.nonzero(here))
            first = int(y[box[0].start] % PIXELS), int(x[box[1].start] % PIXELS)
            found.append(Window(int(h), int(v), first, row[box], column[box]))
    return found


def _width(grid: Grid) -> float:
    return grid.step * grid.columns


def _codes(changed: Mapping[int, int], albedo: int | None) -> Bytes:
    """What a layer holds for each value of the albedo layer; `albedo` for 0 to 100, None for the value itself."""
    table = np.arange(256, dtype=np.uint8)
    if albedo is not None:
        table[:101] = albedo
    for value, code in changed.items():
        table[value] = code
    return table


_COVER = _codes({101: 201, 125: 0, 137: 237, 150: 250, 151: 70, 250: 200, 251: 70, 253: 70}, 80)
_QUALITY = _codes({101: 2, 125: 0, 137: 0, 150: 0, 151: 1, 250: 255, 251: 1, 253: 1}, 0)
_FLAGS = _codes({101: 2, 125: 0, 137: 1, 150: 0, 151: 0, 250: 255, 251: 0, 253: 0}, 0)


def snow_layers(albedo: Bytes) -> dict[str, NDArray[Any]]:
    """All layers of MOD10A1 for an albedo layer, in the product's order."""
    cover = _COVER[albedo]
    return {
        "NDSI_Snow_Cover": cover,
        "NDSI_Snow_Cover_Basic_QA": _QUALITY[albedo],
        "NDSI_Snow_Cover_Algorithm_Flags_QA": _FLAGS[albedo],
        "NDSI": np.where(cover <= 100, 100 * cover.astype(np.int16), np.int16(-32768)),
        ALBEDO: albedo,
        "orbit_pnt": np.where(albedo == FILL, -1, 0).astype(np.int8),
        "granule_pnt": np.where(albedo == FILL, FILL, 0).astype(np.uint8),
    }


def write_tiles(folder: Path, date: np.datetime64, name: str, scene: Bytes, parts: list[Window]) -> None:
    """Write one day of one platform as the agency does, cut to the region as its subsetting service does.

    Parameters
    ----------
    folder : Path
    date : numpy.datetime64
    name : str
        ``MOD10A1`` or ``MYD10A1``.
    scene : (row, column)
        Percent albedo or codes.
    parts : list of Window
        From `windows`.
    """
    for part in parts:
        granule = f"{name}.A{day_of_year(date)}.h{part.h:02d}v{part.v:02d}.061.{MADE}.hdf"
        write_eos(folder / granule, snow_layers(part.cut(scene)), part.corners, name, SNOW_GRID, ATTRIBUTES)


def day_of_year(date: np.datetime64) -> str:
    """A day as YYYYDDD."""
    day = date.astype("datetime64[D]")
    number = (day - day.astype("datetime64[Y]").astype("datetime64[D]")) / np.timedelta64(1, "D")
    return f"{str(day)[:4]}{int(number) + 1:03d}"


def write_eos(
    path: Path,
    layers: Mapping[str, NDArray[Any]],
    corners: Corners,
    name: str,
    grid: str,
    attributes: Mapping[str, Mapping[str, Any]],
    granule: str | None = None,
) -> None:
    """Write layers on a sinusoidal grid as HDF4-EOS.

    Parameters
    ----------
    path : Path
        New file.
    layers : mapping of (y, x)
        By name; uint8, int8 or int16.
    corners : (float, float, float, float), m
        Left, top, right and bottom.
    name : str
        Product.
    grid : str
        Name of its grid.
    attributes : mapping of mapping
        By layer.
    granule : str, optional
        The product's own name of the file; default that of `path`.
    """
    from pyhdf.SD import SD, SDC

    with chdir(path.parent):  # the library writes the name by which it opens a file into it, with the folder
        file = SD(path.name, SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    for layer, values in layers.items():
        kind = getattr(SDC, _KINDS[values.dtype.name][0])
        data = file.create(layer, kind, values.shape)
        for axis, dimension in enumerate(("YDim", "XDim")):
            data.dim(axis).setname(f"{dimension}:{grid}")
        data.setcompress(SDC.COMP_DEFLATE, 1)
        for key, value in attributes.get(layer, {}).items():
            _set(data.attr(key), value, kind, SDC)
        data[:] = values
        data.endaccess()
    granule = granule or path.name
    texts = {
        "HDFEOSVersion": "HDFEOS_V2.19",
        "StructMetadata.0": "".join(f"{line}\n" for line in _structure(layers, corners, grid)),
        "CoreMetadata.0": "".join(f"{line}\n" for line in _inventory(granule, name)),
    }
    for key, text in texts.items():
        file.attr(key).set(SDC.CHAR, text)
    file.end()


def _set(attribute: Any, value: Any, kind: int, constants: Any) -> None:
    """Write an attribute: text, a number with a point, or whole numbers of the layer's own type."""
    if isinstance(value, str):
        attribute.set(constants.CHAR, value)
    elif isinstance(value, float):
        attribute.set(constants.FLOAT64, value)
    else:
        attribute.set(kind, list(value) if isinstance(value, tuple) else value)


def _structure(layers: Mapping[str, NDArray[Any]], corners: Corners, grid: str) -> Iterator[str]:
    """StructMetadata.0: where the grid lies, and its layers."""
    rows, columns = next(iter(layers.values())).shape
    left, top, right, bottom = corners
    yield from ("GROUP=SwathStructure", "END_GROUP=SwathStructure", "GROUP=GridStructure", "\tGROUP=GRID_1")
    yield from (f'\t\tGridName="{grid}"', f"\t\tXDim={columns}", f"\t\tYDim={rows}")
    yield f"\t\tUpperLeftPointMtrs=({left:.6f},{top:.6f})"
    yield f"\t\tLowerRightMtrs=({right:.6f},{bottom:.6f})"
    yield "\t\tProjection=GCTP_SNSOID"
    yield f"\t\tProjParams=({SPHERE_M:.6f},0,0,0,0,0,0,0,0,0,0,0,0)"
    yield from ("\t\tSphereCode=-1", "\t\tGridOrigin=HDFE_GD_UL", "\t\tGROUP=Dimension", "\t\tEND_GROUP=Dimension")
    yield "\t\tGROUP=DataField"
    for number, (layer, values) in enumerate(layers.items(), 1):
        yield from (f"\t\t\tOBJECT=DataField_{number}", f'\t\t\t\tDataFieldName="{layer}"')
        yield from (f"\t\t\t\tDataType=DFNT_{_KINDS[values.dtype.name][0]}", '\t\t\t\tDimList=("YDim","XDim")')
        yield "\t\t\t\tCompressionType=HDFE_COMP_DEFLATE"
        yield from ("\t\t\t\tDeflateLevel=1", f"\t\t\tEND_OBJECT=DataField_{number}")
    yield from ("\t\tEND_GROUP=DataField", "\t\tGROUP=MergedFields", "\t\tEND_GROUP=MergedFields", "\tEND_GROUP=GRID_1")
    yield from ("END_GROUP=GridStructure", "GROUP=PointStructure", "END_GROUP=PointStructure", "END")


def _inventory(granule: str, name: str) -> Iterator[str]:
    """CoreMetadata.0: the granule's name and its product."""
    yield from ("", "GROUP                  = INVENTORYMETADATA", "  GROUPTYPE            = MASTERGROUP", "")
    for group, key, value in (
        ("ECSDATAGRANULE", "LOCALGRANULEID", granule),
        ("COLLECTIONDESCRIPTIONCLASS", "SHORTNAME", name),
    ):
        yield from (f"  GROUP                  = {group}", "", f"    OBJECT                 = {key}")
        yield from ("      NUM_VAL              = 1", f'      VALUE                = "{value}"')
        yield from (f"    END_OBJECT             = {key}", "", f"  END_GROUP              = {group}", "")
    yield from ("END_GROUP              = INVENTORYMETADATA", "", "END")
