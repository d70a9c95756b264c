"""`append`: a product that has been given away gains years, and no older year of it changes."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from glacmb_grid.disk import Say
from glacmb_grid.errors import InputError, listing
from glacmb_grid.products.changes import difference
from glacmb_grid.settings import Judged
from glacmb_grid.stores.artefacts import REGIONAL, Artefact, gridded_of, leaves
from glacmb_grid.stores.formats import PACKED, read_zarr, write_netcdf
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.workflow.currency import flat
from glacmb_grid.workflow.stages import Stage
from glacmb_grid.workflow.table import table

MAY_GROW = ("climate.files", "climate.years", "albedo.files", "product.years", "synthetic.years")
"""Settings that may differ from those of the product that is appended to: they say which years there are."""
_METADATA = "zarr.json"
_TOLD = 5
_OF_TIME = ("year", "time", "other_year")
_A_STEP = 1.01e-3  # m, of values that are stored as whole millimetres
_AT_THRESHOLDS = 1e-3  # share of whole numbers that rounding may carry over a threshold


def require_same_settings(config: Judged, store: RunStore) -> None:
    """Refuse to append to a product that was made with other settings.

    Raises
    ------
    InputError
        With the settings that differ, and if there is no product yet.
    """
    stages = {s.name: s for s in table(config)}
    if not any(_products_of(s) and store.mark(s.name) for s in stages.values()):
        raise InputError(
            f"append: {store.root}",
            expected="a product to append to",
            found="none",
            remedy="make it first, with `glacmb-grid run`",
        )
    gone = [a.stage for a in (REGIONAL, gridded_of(1.0)) if store.mark(a.stage) and a.stage not in stages]
    changed = [f"the product {name}: made -> switched off" for name in gone]
    for stage in stages.values():
        if (mark := store.mark(stage.name)) is None:
            continue
        before = flat(mark.get("settings", {}))
        after = flat({k: config.as_written(v) for k, v in stage.settings.items()})
        keys = [k for k in dict.fromkeys([*before, *after]) if not k.startswith(MAY_GROW)]
        changed += [f"{k}: {before.get(k)!r} -> {after.get(k)!r}" for k in keys if before.get(k) != after.get(k)]
    if changed:
        raise InputError(
            f"append: {store.root}",
            expected="the settings that the product was made with, more years apart",
            found=listing(list(dict.fromkeys(changed)), _TOLD),
            remedy="take these settings back; or make a product anew, with `run` and, to keep the old one, another "
            "`store.root`",
        )


def keep_past(stage: Stage, store: RunStore, folder: Path, say: Say) -> None:
    """Keep every chunk of older years in products that a stage has just written to a folder.

    Values that agree but for rounding, as sums over more years have it, are taken from the older product, and its
    NetCDF file is written from them.

    Raises
    ------
    InputError
        Products that would change an older year, with the values that differ. Nothing has been replaced then.
    """
    for product in _products_of(stage):
        old, new = store.folder(stage.name) / product.file, folder / product.file
        if store.mark(stage.name) is None or not old.exists():
            continue
        other = [p.relative_to(old) for p in _chunks(old) if not _same(p, new / p.relative_to(old))]
        if not other:
            continue
        before, after = read_zarr(old), read_zarr(new)
        changed = [str(n) for n in before.variables if not _agrees(n, before.variables[n], after.variables.get(n))]
        if changed or any(not (new / p).exists() for p in other):
            raise InputError(
                f"append: {old}",
                expected="more years beside unchanged older ones",
                found=_differences(before, after, changed) or f"no chunk {listing(other, _TOLD)}",
                remedy="the product is left as it was; find out what changed in the inputs of these years, or make a "
                "product anew, with `run` and, to keep the old one, another `store.root`",
            )
        for path in other:
            shutil.copyfile(old / path, new / path)
        write_netcdf(read_zarr(new), new.with_suffix(".nc"))
        say(f"{product.file}: {len(other)} chunks of older years agree but for rounding and are kept")


def _agrees(name: object, old: xr.Variable, new: xr.Variable | None) -> bool:
    """Whether the older years of a variable are the same, numbers but for rounding."""
    if new is None or set(old.dims) != set(new.dims):
        return False
    shared = {d: slice(n) for d, n in old.sizes.items() if d in _OF_TIME}
    values = new.transpose(*old.dims).isel({d: s for d, s in shared.items() if d in new.dims}).values
    if values.shape != old.shape:
        return False
    if old.dtype.kind == "f":
        least = _A_STEP if name in PACKED else 1e-6 * np.nanmax(np.abs(old.values), initial=0.0)
        return bool(np.isclose(old.values, values, rtol=1e-5, atol=least, equal_nan=True).all())
    if old.dtype.kind in "iub" and old.ndim > 1:  # counts and flags of what lies within a threshold
        return bool(np.mean(old.values != values) <= _AT_THRESHOLDS)
    return bool((old.values == values).all())


def _products_of(stage: Stage) -> list[Artefact]:
    return [a for _, a in leaves(dict(stage.writes)) if isinstance(a, Artefact) and a.kind == "product"]


def _chunks(store: Path) -> Iterator[Path]:
    return (p for p in sorted(store.rglob("*")) if p.is_file() and p.name != _METADATA)


def _same(old: Path, new: Path) -> bool:
    return new.is_file() and filecmp.cmp(old, new, shallow=False)


def _differences(old: xr.Dataset, new: xr.Dataset, changed: list[str]) -> str:
    """Some of what differs in the years of the old product, balances before all else, in words."""
    names = ["mass_balance"] if "mass_balance" in changed else [n for n in changed if n in old.data_vars]
    found = difference(old[names] if names else old, new, limit=_TOLD)
    lines = [
        f"{one['variable']} {one['glacier']} in {one['year']}: {one['old']} -> {one['new']}"
        for one in found.to_dict("records")
    ]
    return "; ".join(lines)
