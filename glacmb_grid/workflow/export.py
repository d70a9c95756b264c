"""`export`: the products of a finished run in the layouts of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import xarray as xr

from glacmb_grid.disk import Say, write_csv
from glacmb_grid.errors import InputError
from glacmb_grid.products.exports.glambie2 import DIGITS, Unit, glambie2_table, measured_share
from glacmb_grid.products.exports.tables import table_of, tables_of_blocks
from glacmb_grid.products.exports.wgms_grid import RESOLUTION, wgms_grid
from glacmb_grid.products.gridded import gridded_product
from glacmb_grid.settings import Judged
from glacmb_grid.stores.artefacts import OUTLINES, PRODUCT, REGIONAL, Artefact, gridded_of, read
from glacmb_grid.stores.exports import exporting
from glacmb_grid.stores.formats import write_netcdf
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.uncertainty.correlation import ErrorCorrelation
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.guards import report_full_disk

EXPORTS = "exports"
"""Folder of exports in the run's folder, unless another is named."""


@dataclass(frozen=True)
class Wanted:
    """What is exported, and how."""

    unit: Unit = "mwe"
    season: Sequence[float] | None = None


Files = Iterator[tuple[str, Callable[[Path], None]]]


def export(
    config: Judged,
    layout: str,
    *,
    folder: Path | None = None,
    wanted: Wanted | None = None,
    say: Say = print,
) -> list[Path]:
    """Write products of a finished run in one of the layouts of `LAYOUTS`.

    Parameters
    ----------
    config : RunConfig or TableConfig
    layout : {"glambie2", "wgms-grid", "csv"}
    folder : Path, optional
        Where to; default `exports/<layout>` in the run's folder.
    wanted : Wanted, optional
    say : callable
        Takes a line of progress.

    Raises
    ------
    InputError
        A layout that is not known, a product that the run has not made, a file there that is not ours.
    """
    if layout not in LAYOUTS:
        raise InputError("export", expected=" or ".join(LAYOUTS), found=f"{layout!r}", remedy="name one of these")
    store = RunStore(config.root, say)
    _require(store, PRODUCT, f"a finished run: `glacmb-grid run {config.name}`")
    for name, state, why in status(config):
        if name in (PRODUCT.stage, REGIONAL.stage, "gridded") and state != "current":
            say(f"note: {name} is {state}{f' ({why})' if why else ''}: what an earlier run made is exported")
    place = folder if folder is not None else config.root / EXPORTS / layout
    written = []
    with report_full_disk(store), store.locked():
        for name, write in LAYOUTS[layout](store, wanted or Wanted()):
            with exporting(place, name) as aside:
                write(aside)
            written.append(place / name)
            say(f"wrote {place / name}")
    return written


def _require(store: RunStore, artefact: Artefact, remedy: str) -> None:
    if store.mark(artefact.stage) is None:
        raise InputError(
            f"export: {store.folder(artefact.stage)}",
            expected="a product that a run has made",
            found="none",
            remedy=f"make it with {remedy}",
        )


def _glambie2(store: RunStore, wanted: Wanted) -> Files:
    _require(store, REGIONAL, "`product: {regions: ...}` and `glacmb-grid run`")
    regional: xr.Dataset = read(store, REGIONAL)
    coverage = measured_share(read(store, PRODUCT))
    table = glambie2_table(regional, unit=wanted.unit, season=wanted.season, coverage=coverage)
    yield "glambie2.csv", lambda path: write_csv(table, path, float_format=f"%.{DIGITS}f")


def _wgms_grid(store: RunStore, wanted: Wanted) -> Files:
    del wanted
    made = gridded_of(RESOLUTION)
    if store.mark(made.stage) is not None and (store.folder(made.stage) / made.file).exists():
        gridded = read(store, made)
    else:
        product: xr.Dataset = read(store, PRODUCT)
        errors = ErrorCorrelation.from_attrs(product.attrs)
        gridded = gridded_product(
            product,
            read(store, OUTLINES),
            resolution=RESOLUTION,
            correlation=lambda km: errors.at(km, 0),
            water_density=float(product.attrs["water_density"].split()[0]),
        )
    out = wgms_grid(gridded)
    first, last = int(out["year"].values[0]), int(out["year"].values[-1])
    yield f"glacier_mass_change_{first}_{last}.nc", lambda path: write_netcdf(out, path)


def _csv(store: RunStore, wanted: Wanted) -> Files:
    del wanted
    product: xr.Dataset = read(store, PRODUCT)
    yield "glacier_annual.csv", lambda path: _in_parts(tables_of_blocks(product, "glacier"), path)
    if store.mark(REGIONAL.stage) is not None:
        table = table_of(read(store, REGIONAL), "region")
        yield "region_annual.csv", lambda path: write_csv(table, path, float_format="%.10g")


def _in_parts(tables: Iterator[pd.DataFrame], path: Path) -> None:
    """Write tables one below the other, with one heading."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        for number, table in enumerate(tables):
            write_csv(table, stream, header=number == 0, float_format="%.10g")


LAYOUTS: dict[str, Callable[[RunStore, Wanted], Files]] = {"glambie2": _glambie2, "wgms-grid": _wgms_grid, "csv": _csv}
"""What each layout writes: names of files, and what writes them."""
