"""What every reader of albedo gives, whatever the format, and the one coding that all are brought to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

CODE = 10000
"""Codes of MOD10A1 in place of an albedo, such as 125, are kept as 10125."""
MISSING, HIGHEST = 32767, 1000
LAND, CLOUD = CODE + 125, CODE + 150
Codes = npt.NDArray[np.int16]
"""Albedo in thousandths, 0 to HIGHEST; or CODE and above; or MISSING."""


@dataclass(frozen=True)
class Layout:
    """Shape, georeference and type of a stored layer.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    transform : six floats
        Affine coefficients from column and row to x and y.
    crs : str
    dtype : str
    """

    shape: tuple[int, int]
    transform: tuple[float, ...]
    crs: str
    dtype: str

    def is_as(self, other: Layout) -> bool:
        """Whether both have the same pixels and type."""
        near = all(round(a, 9) == round(b, 9) for a, b in zip(self.transform, other.transform, strict=True))
        return near and (self.shape, self.crs, self.dtype) == (other.shape, other.crs, other.dtype)

    def __str__(self) -> str:
        height, width = self.shape
        return f"{height} x {width} pixels of {self.dtype} from ({self.transform[2]:g}, {self.transform[5]:g})"


@dataclass(frozen=True)
class Piece:
    """One layer of one day in one file.

    Attributes
    ----------
    file : str
    day : datetime64[D]
    layer : str
        Name as the product gives it, empty if the file does not tell.
    product : str
        Short name such as MOD10A1, empty if the file does not tell.
    reader : str
        Key of `registry.READERS`.
    tile : str
        Tile of the sinusoidal grid such as h18v04, empty if the file does not tell.
    where : int or str
        Band, or position in time, for the reader.
    """

    file: str
    day: np.datetime64
    layer: str
    product: str
    reader: str
    tile: str = ""
    where: Any = None


class Stored(NamedTuple):
    """Values of a window as stored, which of them the file declares to be missing, and how they are scaled.

    `missing` is None where that is told by `fill` alone, the value that the file declares for missing pixels, if any:
    where that is not 0, a 0 is data.
    """

    values: npt.NDArray[Any]
    missing: npt.NDArray[np.bool_] | None
    scale: float = 1.0
    offset: float = 0.0
    fill: float | None = None

    def lacking(self) -> npt.NDArray[np.bool_]:
        """Which values are missing, of the shape of the values."""
        if self.missing is not None:
            return self.missing
        return np.zeros(self.values.shape, bool) if self.fill is None else np.asarray(self.values == self.fill)
