"""What is to be fetched: an area, files, and all that is to be known of them before anything is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from glacmb_grid.errors import InputError

Way = Literal["http", "earthdata", "data store"]


@dataclass(frozen=True)
class Area:
    """Longitudes and latitudes in degrees; `west` is greater than `east` where the area crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        sound = -180 <= self.west <= 180 and -180 <= self.east <= 180 and -90 <= self.south < self.north <= 90
        if not sound or self.west == self.east:
            raise InputError(
                "fetch: region",
                expected="west, south, east, north in degrees, longitudes within -180..180 and south below north",
                found=f"{self}",
                remedy="write for instance --region 66,25,105,46",
            )

    def __str__(self) -> str:
        return f"{self.west:g},{self.south:g},{self.east:g},{self.north:g}"

    @property
    def width(self) -> float:
        """Degrees from west to east."""
        return self.east - self.west if self.west < self.east else self.east - self.west + 360

    @property
    def spans(self) -> list[tuple[float, float]]:
        """Longitudes from west to east, in two pieces where the area crosses the antimeridian."""
        return [(self.west, self.east)] if self.west < self.east else [(self.west, 180.0), (-180.0, self.east)]

    def wider(self, degrees: float) -> Area:
        """The area with a margin around it."""
        south, north = max(self.south - degrees, -90), min(self.north + degrees, 90)
        if self.width + 2 * degrees >= 360:
            return Area(-180, south, 180, north)
        longitudes = [((v + 180) % 360) - 180 for v in (self.west - degrees, self.east + degrees)]
        return Area(longitudes[0], south, longitudes[1], north)


@dataclass(frozen=True)
class Item:
    """One file.

    Attributes
    ----------
    name : str
        Path below the folder, with `/`.
    way : str
        How it is had: by plain `http`, through `earthdata`, or made by a `data store`.
    url : str
        Where it lies; empty for what is made on request.
    size : int
        Bytes; 0 if unknown.
    exact : bool
        Whether the size is known and not estimated.
    checksum : str
        `md5:...`, `sha256:...`; empty if unknown.
    collection, request : str, mapping
        What is asked of a data store.
    may_lack : str
        Why the file may not exist, which is no error then; empty if it must.
    """

    name: str
    way: Way
    url: str = ""
    size: int = 0
    exact: bool = False
    checksum: str = ""
    collection: str = ""
    request: Mapping[str, Any] = field(default_factory=dict)
    may_lack: str = ""


@dataclass(frozen=True)
class Plan:
    """Files of one source, with its licence, its citation, and the lines of a configuration that read them."""

    source: str
    items: tuple[Item, ...]
    licence: str
    citation: str
    configuration: str
    notes: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes of all files, as far as they are known or estimated."""
        return sum(i.size for i in self.items)

    def lines(self) -> list[str]:
        """What would be asked, in words, for `--dry-run`."""
        about = "about " if any(not i.exact for i in self.items) else ""
        size = f"{about}{_amount(self.bytes)}" if self.bytes else "size unknown"
        out = [f"{self.source}: {len(self.items)} file{'s' * (len(self.items) > 1)}, {size}"]
        out += [f"  licence: {self.licence}", f"  cite: {self.citation}", *(f"  note: {n}" for n in self.notes)]
        for item in self.items:
            size = f"{'' if item.exact else 'about '}{_amount(item.size)}" if item.size else "size unknown"
            asked = item.url or f"{item.collection} {dict(item.request)}"
            out.append(f"  {item.name} ({size}): {asked}")
        return out


def _amount(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
