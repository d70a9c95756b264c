"""Products as plain tables: a row for each glacier and year, or region and year."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from glacmb_grid.products.metadata import describe

BLOCK = 2000  # glaciers a table
_UNITS = {"m": "m", "km2": "km2", "km": "km", "kg": "kg", "kg m-2": "kg_m2", "Gt": "gt", "degrees_north": "",
          "degrees_east": "", "1": ""}  # fmt: skip
_LEFT_OUT = ("time", "time_bnds", "realization", "other_year")


def table_of(product: xr.Dataset, kind: str) -> pd.DataFrame:
    """A product as a table.

    Parameters
    ----------
    product : xr.Dataset, (glacier, year) or (region, year)
    kind : {"glacier", "region"}

    Returns
    -------
    DataFrame
        A row for each glacier (or region) and year: its identifier, `year`, `start_date` and `end_date` (the first day
        after it), then every variable without realizations, named with its unit, as `mass_balance_m`; flags in words.
    """
    ds = describe(product, kind=kind)
    size = ds.sizes[kind], ds.sizes["year"]
    columns: dict[str, object] = {f"{kind}_id": np.repeat(ds[f"{kind}_id"].values.astype(str), size[1])}
    columns["year"] = np.tile(ds["year"].values, size[0])
    bounds = np.broadcast_to(ds["time_bnds"].values.astype("datetime64[D]"), (*size, 2)).reshape(-1, 2)
    columns |= {"start_date": bounds[:, 0].astype(str), "end_date": bounds[:, 1].astype(str)}
    others = [str(n) for n in ds.variables if n not in ds.dims and n not in (*_LEFT_OUT, f"{kind}_id")]
    for name in sorted(others, key=lambda n: (n not in ds.coords, list(ds.variables).index(n))):
        if not set(ds[name].dims) <= {kind, "year"} or not ds[name].dims:
            continue
        values = ds[name].broadcast_like(ds["mass_balance"]).transpose(kind, "year").values.ravel()
        if meanings := str(ds[name].attrs.get("flag_meanings", "")).split():
            words = dict(zip(np.asarray(ds[name].attrs["flag_values"]).tolist(), meanings, strict=True))
            columns[name] = [words.get(v, "") for v in values.tolist()]
        else:
            columns[named_with_unit(name, str(ds[name].attrs.get("units", "1")))] = values
    return pd.DataFrame(columns)


def named_with_unit(name: str, units: str) -> str:
    """Name of a column: that of the variable with its unit, where the name does not say it."""
    unit = _UNITS.get(units, units.replace(" ", "_").replace("-", ""))
    return name if not unit or unit in name.split("_") else f"{name}_{unit}"


def tables_of_blocks(product: xr.Dataset, kind: str, block: int = BLOCK) -> Iterator[pd.DataFrame]:
    """The table of `table_of` in parts of so many glaciers, so that it need not fit into memory."""
    for start in range(0, product.sizes[kind], block):
        yield table_of(product.isel({kind: slice(start, start + block)}), kind)
