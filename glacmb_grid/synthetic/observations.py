"""Glaciological observations of a few glaciers, chosen and recorded as people do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import shapely

from .glaciers import Glaciers
from .terrain import Floats, Ints
from .truth import Truth

WHOLE = 9999
BALANCE_COLUMNS = [
    *("POLITICAL_UNIT", "NAME", "WGMS_ID", "YEAR", "LOWER_BOUND", "UPPER_BOUND", "AREA", "WINTER_BALANCE"),
    *("WINTER_BALANCE_UNC", "SUMMER_BALANCE", "SUMMER_BALANCE_UNC", "ANNUAL_BALANCE", "ANNUAL_BALANCE_UNC"),
    "REMARKS",
]
GLACIER_COLUMNS = [
    *("POLITICAL_UNIT", "NAME", "WGMS_ID", "GEN_LOCATION", "SPEC_LOCATION", "LATITUDE", "LONGITUDE"),
    *("PRIM_CLASSIFIC", "FORM", "FRONTAL_CHARS", "EXPOS_ACC_AREA", "EXPOS_ABL_AREA", "PARENT_GLACIER", "REMARKS"),
    *("GLACIER_REGION_CODE", "GLACIER_SUBREGION_CODE"),
]
SYLLABLES = ("AK", "KARA", "BEL", "SARY", "TUR", "KUM", "ASH", "TOR", "BOR", "KEN", "JIL", "OI", "TASH", "CHON")
ENDINGS = ("SU", "BULAK", "TOR", "SHIRAK", "DALA", "GEN", "TASH", "BEL", "KOL", "BASHI", "SAI")


@dataclass(frozen=True)
class Fog:
    """Tables of the Fluctuations of Glaciers database.

    Attributes
    ----------
    glacier : (measured,)
        Numbers of the measured glaciers.
    sigma : (measured,), m w.e.
        Standard deviation of each one's observation error.
    balance, glaciers : pandas.DataFrame of str
        Tables EE and A as text.
    """

    glacier: Ints
    sigma: Floats
    balance: pd.DataFrame
    glaciers: pd.DataFrame


def choose_measured(rng: np.random.Generator, area_km2: Floats, mean_m: Floats, count: int) -> Ints:
    """Draw the glaciers that people would measure: small, low, near the road in the west.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    area_km2, mean_m : (glacier,), km2 and m
        Area and mean elevation.
    count : int
        How many.

    Returns
    -------
    (measured,)
        Numbers, ascending.
    """
    score = -1.5 * (mean_m - mean_m.mean()) / max(float(mean_m.std()), 1.0)
    score -= 1.2 * np.abs(np.log(area_km2 / 0.8))
    score -= 0.5 * np.arange(area_km2.size) / area_km2.size
    gumbel = rng.gumbel(size=area_km2.size)
    return np.sort(np.argsort(-(score + gumbel), kind="stable")[:count])


def _record_years(rng: np.random.Generator, years: Ints, measured: int) -> list[Ints]:
    """Two long records (the first without a gap), the others short, some broken."""
    total = years.size
    records = [years, np.sort(rng.choice(years, max(1, round(0.88 * total)), replace=False))][:measured]
    while len(records) < measured:
        length = min(total, int(rng.integers(7, 14)))
        start = int(rng.integers(0, total - length + 1))
        span = years[start : start + length]
        gap = rng.random() < 0.4 and length > 4
        records.append(np.delete(span, rng.choice(np.arange(1, length - 1), 2, replace=False)) if gap else span)
    return [records[place] for place in rng.permutation(measured)]


def _names(rng: np.random.Generator, count: int) -> list[str]:
    """Draw distinct names that sound like the place."""
    names: list[str] = []
    while len(names) < count:
        name = str(rng.choice(SYLLABLES)) + str(rng.choice(ENDINGS))
        if name in names or rng.random() < 0.15:
            name = f"GLACIER NO. {int(rng.integers(100, 600))}"
        if name not in names:
            names.append(name)
    return names


def _mm(value: float) -> str:
    """Round m w.e. to whole mm."""
    return str(round(1000 * value))


def _row(key: dict[str, str], winter: float, annual: float, unc: str, seasonal: bool) -> dict[str, str]:
    """One row of table EE from balances in m w.e."""
    season = {
        "WINTER_BALANCE": _mm(winter),
        "WINTER_BALANCE_UNC": unc,
        "SUMMER_BALANCE": str(int(_mm(annual)) - int(_mm(winter))),
        "SUMMER_BALANCE_UNC": unc,
    }
    return key | (season if seasonal else {}) | {"ANNUAL_BALANCE": _mm(annual), "ANNUAL_BALANCE_UNC": unc}


def _rows(
    rng: np.random.Generator, key: dict[str, str], truth: Truth, number: int, years: Ints, sigma: float, banded: bool
) -> list[dict[str, str]]:
    """Rows of one glacier, bands before the whole in every year."""
    bands = truth.bands
    own = np.flatnonzero(bands.glacier == number)
    area = bands.area_km2[own]
    seasonal = bool(rng.random() < 0.6)
    rows = []
    for year in years:
        at = int(year - truth.years[0])
        winter, annual = truth.winter[at, own], truth.annual[at, own]
        error = sigma * rng.standard_normal()
        unc = f"{100 * np.rint(10 * sigma + 0.2 * rng.standard_normal()).clip(1, 4):.4f}" if rng.random() < 0.85 else ""
        spot = key | {"YEAR": str(year)}
        for place, band in enumerate(own if banded else own[:0]):
            low = int(bands.lower_m[band])
            bounds = {"LOWER_BOUND": str(low), "UPPER_BOUND": str(low + 100), "AREA": f"{area[place]:.7f}"}
            rows.append(_row(spot | bounds, winter[place], annual[place] + error, unc, seasonal))
        whole = {"LOWER_BOUND": str(WHOLE), "UPPER_BOUND": str(WHOLE), "AREA": f"{area.sum():.7f}"}
        mean = [float(np.average(x, weights=area)) for x in (winter, annual)]
        remark = {"REMARKS": "preliminary value"} if year == truth.years[-1] else {}
        rows.append(_row(spot | whole, mean[0], mean[1] + error, unc, seasonal) | remark)
    return rows


def observe(rng: np.random.Generator, glaciers: Glaciers, truth: Truth, area_km2: Floats, measured: int) -> Fog:
    """Choose glaciers and write down what was measured.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    glaciers : Glaciers
        Outlines.
    truth : Truth
        Balances; noise is added to them here only.
    area_km2 : (glacier,), km2
        Area of the outlines.
    measured : int
        Number of measured glaciers.

    Returns
    -------
    Fog
        Both tables.
    """
    mean_m = truth.bands.mean(truth.bands.points.elevation, area_km2.size)
    chosen = choose_measured(rng, area_km2, mean_m, measured)
    sigma = rng.uniform(0.1, 0.3, measured)
    names, ids = _names(rng, measured), np.sort(rng.choice(np.arange(700, 9000), measured, replace=False))
    banded = rng.permutation(measured) < max(1, measured // 4)
    balance: list[dict[str, str]] = []
    sites: list[dict[str, str]] = []
    for place, years in enumerate(_record_years(rng, truth.years, measured)):
        outline = glaciers.outline[chosen[place]]
        unit = "KG" if outline.centroid.x < 81.0 else "CN"
        key = {"POLITICAL_UNIT": unit, "NAME": names[place], "WGMS_ID": f"{ids[place]:05d}"}
        rows = _rows(rng, key, truth, int(chosen[place]), years, float(sigma[place]), bool(banded[place]))
        balance.extend(rows)
        sites.append(key | _site(rng, outline))
    return Fog(chosen, sigma, _table(balance, BALANCE_COLUMNS), _table(sites, GLACIER_COLUMNS))


def _site(rng: np.random.Generator, outline: shapely.Polygon) -> dict[str, str]:
    """Position and classes of one glacier in table A."""
    inner = shapely.buffer(outline, -0.0004)
    point = shapely.point_on_surface(outline if inner.is_empty else inner)
    form, front, exposure = rng.integers(2, 5), rng.choice([6, 8]), rng.choice(["N", "NW", "NE", "W"])
    return {
        "GEN_LOCATION": "TIEN SHAN",
        "SPEC_LOCATION": "SYNTHETIC RANGE",
        "LATITUDE": f"{point.y:.5f}",
        "LONGITUDE": f"{point.x:.5f}",
        "PRIM_CLASSIFIC": str(rng.choice([5, 6])),
        "FORM": str(form),
        "FRONTAL_CHARS": str(front),
        "EXPOS_ACC_AREA": str(exposure),
        "EXPOS_ABL_AREA": str(exposure),
        "GLACIER_REGION_CODE": "ASC",
        "GLACIER_SUBREGION_CODE": "ASC-03",
    }


def _table(rows: list[dict[str, str]], columns: list[str]) -> pd.DataFrame:
    """Put rows of text in the table's column order, blanks where nothing is known."""
    return pd.DataFrame([{name: row.get(name, "") for name in columns} for row in rows], columns=columns)
