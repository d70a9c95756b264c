"""Observations as releases of Fluctuations of Glaciers hold them: a ZIP since 2025, tables EE and A before."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pandas as pd

from .observations import WHOLE, Fog

BALANCES = [
    *("country", "glacier_name", "glacier_id", "outline_id", "year", "time_system", "begin_date", "begin_date_unc"),
    *("midseason_date", "midseason_date_unc", "end_date", "end_date_unc", "winter_balance", "winter_balance_unc"),
    *("summer_balance", "summer_balance_unc", "annual_balance", "annual_balance_unc", "ela_position", "ela"),
    *("ela_unc", "aar", "area", "investigators", "agencies", "references", "remarks"),
]
BANDS = [
    *("country", "glacier_name", "glacier_id", "year", "lower_elevation", "upper_elevation", "area", "winter_balance"),
    *("winter_balance_unc", "summer_balance", "summer_balance_unc", "annual_balance", "annual_balance_unc", "remarks"),
]
GLACIERS = [
    *("country", "short_name", "names", "id", "latitude", "longitude", "gtng_region", "glims_id", "rgi50_ids"),
    *("rgi60_ids", "rgi70_ids", "wgi_id", "parent_glacier_id", "references", "remarks"),
]
PARTS = ("winter_balance", "summer_balance", "annual_balance")
UNITS = {"m w.e.": [n for part in PARTS for n in (part, f"{part}_unc")], "m2": ["area"], "d": ["begin_date_unc"]}
UNLINKED = 4  # every fourth glacier has no RGI identifier yet
STAMP = (2025, 2, 1, 0, 0, 0)


def write_fog(folder: Path, fog: Fog) -> tuple[Path, Path]:
    """Write tables EE and A, as in releases to 2022; return their paths."""
    paths = folder / "FOG_EE_MASS_BALANCE.csv", folder / "FOG_A_GLACIER.csv"
    for path, table in zip(paths, (fog.balance, fog.glaciers), strict=True):
        table.to_csv(path, index=False, lineterminator="\n")
    return paths


def write_release(path: Path, fog: Fog, ids: list[str]) -> None:
    """Write the ZIP of a release since 2025: balances in m w.e., of bands and of whole glaciers, and the glaciers.

    Parameters
    ----------
    path : Path
        New file.
    fog : Fog
        What was observed.
    ids : list of str
        RGI identifiers of all glaciers.
    """
    whole = fog.balance["LOWER_BOUND"] == str(WHOLE)
    tables = {
        "glacier": _glaciers(fog, ids),
        "mass_balance": _balances(fog.balance[whole]).reindex(columns=BALANCES, fill_value=""),
        "mass_balance_band": _balances(fog.balance[~whole]).reindex(columns=BANDS, fill_value=""),
    }
    files = {f"data/{name}.csv": table.to_csv(index=False, lineterminator="\n") for name, table in tables.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {"datapackage.json": _package(tables), **files}.items():
            archive.writestr(zipfile.ZipInfo(name, STAMP), text, zipfile.ZIP_DEFLATED)


def _package(tables: dict[str, pd.DataFrame]) -> str:
    """Frictionless description of the tables, with the units of their columns."""
    unit = {column: name for name, columns in UNITS.items() for column in columns}

    def field(column: str) -> dict[str, str]:
        return {"name": column} | ({"units": unit[column]} if column in unit else {})

    resources = [
        {"name": name, "path": f"data/{name}.csv", "schema": {"fields": [field(c) for c in table.columns]}}
        for name, table in tables.items()
    ]
    return json.dumps({"name": "synthetic-fog", "resources": resources}, indent=1)


def _balances(old: pd.DataFrame) -> pd.DataFrame:
    """The columns of new releases from rows of table EE."""
    new = pd.DataFrame(
        {
            "country": old["POLITICAL_UNIT"],
            "glacier_name": old["NAME"],
            "glacier_id": old["WGMS_ID"].str.lstrip("0"),
            "year": old["YEAR"],
            "time_system": "FXD",
            "begin_date": [f"{int(year) - 1}-10-01" for year in old["YEAR"]],
            "begin_date_unc": "0",
            "end_date": old["YEAR"] + "-09-30",
            "end_date_unc": "0",
            "lower_elevation": old["LOWER_BOUND"],
            "upper_elevation": old["UPPER_BOUND"],
            "area": [str(round(1e6 * float(area))) for area in old["AREA"]],
            "remarks": old["REMARKS"],
        }
    )
    metres = {n: [f"{float(mm) / 1000:g}" if mm else "" for mm in old[n.upper()]] for n in UNITS["m w.e."]}
    return new.assign(**metres)


def _glaciers(fog: Fog, ids: list[str]) -> pd.DataFrame:
    """The table of glaciers, most of them with their identifier in RGI 7."""
    old = fog.glaciers
    known = [ids[number] if place % UNLINKED else "" for place, number in enumerate(fog.glacier)]
    new = pd.DataFrame(
        {
            "country": old["POLITICAL_UNIT"],
            "short_name": old["NAME"],
            "names": old["NAME"].str.title(),
            "id": old["WGMS_ID"].str.lstrip("0"),
            "latitude": old["LATITUDE"],
            "longitude": old["LONGITUDE"],
            "gtng_region": "13_central_asia",
            "rgi70_ids": known,
        }
    )
    return new.reindex(columns=GLACIERS, fill_value="")
