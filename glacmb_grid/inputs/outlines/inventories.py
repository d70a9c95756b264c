"""What the attributes of glacier inventories are called: identifiers, names and elevations."""

from __future__ import annotations

import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.errors import InputError, listing

# Columns of RGI 7, RGI 5 and 6, and the second Chinese inventory, compared without regard to case
_ID_COLUMNS = ("rgi_id", "rgiid", "glacier_id", "glims_id", "fcgi_id", "glac_id")
_NAME_COLUMNS = ("glac_name", "name", "glc_name")
HEIGHTS = {
    "zmin": ("zmin_m", "zmin", "min_elev"),
    "zmed": ("zmed_m", "zmed", "zmean_m", "mean_elev"),
    "zmax": ("zmax_m", "zmax", "max_elev"),
}
_AREAS = ("area_km2", "area", "glc_area")
_AREA_UNITS = {"m2": 1e6, "hectares": 100.0}
_CODES = (-99.0, -999.0, -9999.0, -99999.0, -32768.0)  # of missing elevations
_LINES_OF_RGI_7 = re.compile(r"v7\.0-([IL])-")
_PRODUCTS = {
    "I": "intersects (the product I of RGI 7): the lines along which glaciers touch",
    "L": "centre lines (the product L of RGI 7)",
}
_LARGEST_WHOLE = 2.0**53  # beyond it, decimal numbers lose digits


def require_polygons(raw: gpd.GeoDataFrame, file: Path) -> None:
    """Raise an InputError for lines or points, naming the product of an inventory that they are."""
    kinds = set(raw.geometry.dropna().geom_type.str.removeprefix("Multi"))
    if not kinds or kinds - {"LineString", "LinearRing", "Point"}:
        return
    lower = {str(n).casefold(): str(n) for n in reversed(raw.columns)}
    first = str(raw[lower["rgi_id"]].iloc[0]) if "rgi_id" in lower else file.name
    product = _LINES_OF_RGI_7.search(first)
    what = _PRODUCTS[product[1]] if product else "points" if kinds == {"Point"} else "lines"
    if not product and any(n.startswith("rgi") and n.endswith("_1") for n in lower):
        what = _PRODUCTS["I"]
    raise InputError(
        f"{file}: geometry",
        expected="polygons, the outlines of glaciers",
        found=f"{len(raw)} features that are {what}",
        remedy="name the outlines: of RGI 7 the product G, RGI2000-v7.0-G-..., of RGI 6 the file of the region itself",
    )


def id_column(raw: gpd.GeoDataFrame, file: Path, wanted: str | None) -> str:
    """The column of identifiers: the wanted one, else the first known one that is filled; an InputError without."""
    if wanted and wanted in raw.columns:
        return wanted
    lower = {str(n).casefold(): str(n) for n in reversed(raw.columns)}
    known = [lower[n] for n in _ID_COLUMNS if n in lower] if wanted is None else []
    filled = [n for n in known if not raw[n].isna().all() and not (raw[n].astype("string").str.strip() == "").all()]
    if known:
        return (filled or known)[0]
    raise InputError(
        f"{file}: {wanted or ' / '.join(_ID_COLUMNS)}",
        expected="a column with the glaciers' identifiers",
        found=f"columns {listing(raw.columns, 30)}",
        remedy="name it: `glaciers: {id: COLUMN}`" + ("" if len(raw.columns) > 1 else "; is the .dbf file missing?"),
    )


def ids(values: pd.Series, where: str) -> npt.NDArray[np.object_]:
    """Identifiers as text, empty if missing.

    Raises
    ------
    InputError
        Decimal numbers, of which digits are lost: 11.00010 is kept as 11.0001, and 17 digits are not kept at all.
    """
    if pd.api.types.is_float_dtype(values):
        known = values.dropna()
        if lost := [v for v in known if v % 1 or abs(v) >= _LARGEST_WHOLE]:
            raise InputError(
                where,
                expected="identifiers as text",
                found=f"decimal numbers, which lose digits: {listing(map(repr, lost), 4)}",
                remedy="export the table with this column as text, or name another column, `glaciers: {id: COLUMN}`",
            )
        values = values.astype("Int64")
    text = values.astype("string").str.replace("\\x00", "", regex=False).str.strip()
    return np.asarray(text.fillna("").astype(object))


def heights(raw: gpd.GeoDataFrame) -> dict[str, npt.NDArray[np.float64]]:
    """Lowest, median and highest elevation that the inventory states, m; NaN for its codes of missing values."""
    lower = {str(n).casefold(): n for n in reversed(raw.columns)}
    out = {}
    for name, columns in HEIGHTS.items():
        if (found := next((lower[c] for c in columns if c in lower), None)) is not None:
            values = pd.to_numeric(raw[found], errors="coerce").to_numpy(np.float64, na_value=np.nan)
            out[name] = np.where((values > 0) & (values < 9000), values, np.nan)
    return out


def subregions(raw: gpd.GeoDataFrame) -> dict[str, list[str]]:
    """Second-order region of the RGI as the inventory states it: 2 or 13-02; empty if unknown."""
    lower = {str(n).casefold(): n for n in reversed(raw.columns)}
    if "o2region" not in lower:
        return {}
    text = ["" if v is None or v != v else str(v).removesuffix(".0").strip() for v in raw[lower["o2region"]]]
    return {"subregion": text}


def hints(raw: gpd.GeoDataFrame, area: pd.Series, file: Path) -> list[str]:
    """What is odd about the areas and elevations that an inventory states.

    Parameters
    ----------
    raw : GeoDataFrame
        The features as they were read.
    area : Series
        Areas of the outlines, km2.
    file : Path
    """
    lower = {str(n).casefold(): str(n) for n in reversed(raw.columns)}
    out = []
    for name in (lower[n] for n in _AREAS if n in lower):
        stated = pd.to_numeric(raw[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        known = stated[np.isfinite(stated) & (stated > 0)]
        if len(known) and len(area):
            times = float(np.median(known)) / float(np.median(area))
            unit = next((u for u, size in _AREA_UNITS.items() if size / 5 < times < size * 5), None)
            if unit:
                out.append(
                    f"{file}: {name}: areas are stated in {unit}, it seems ({times:.2g} times those of the outlines in "
                    "km2); those of the outlines are used"
                )
    for name in (lower[c] for columns in HEIGHTS.values() for c in columns if c in lower):
        stated = pd.to_numeric(raw[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        below = stated[(stated < 0) & ~np.isin(stated, _CODES)]
        if len(below):
            out.append(
                f"{file}: {name}: {len(below)} of {len(stated)} elevations are negative, {below.min():g} to "
                f"{below.max():g} m, as depths are: they are taken for unknown, and the elevation model is not "
                "compared with them; change their sign if they are heights"
            )
    return out


def names(raw: gpd.GeoDataFrame) -> list[str]:
    """Names of the glaciers, empty where there is none."""
    lower = {str(n).casefold(): n for n in reversed(raw.columns)}
    for column in _NAME_COLUMNS:
        if column in lower:
            return [v.strip() if isinstance(v, str) else "" for v in raw[lower[column]]]
    return [""] * len(raw)
