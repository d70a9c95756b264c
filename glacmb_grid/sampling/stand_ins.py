"""For every variable its own cells of sea: which cells stand in for them, and whether they were sea indeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import dask.array as da
import geopandas as gpd
import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.failures import Failure, failing
from glacmb_grid.sampling.grid import Curvilinear, Grid
from glacmb_grid.sampling.nearest import nearest_valid
from glacmb_grid.sampling.zonal import ROUNDING, cell_series, sample
from glacmb_grid.weights import Weights, from_dataset, from_entries

Floats = npt.NDArray[np.float64]
EVER = "own_cells"


@dataclass(frozen=True, eq=False)
class StandIns:
    """Cells that stand in under some glaciers, for the variables that have no values there.

    Attributes
    ----------
    variables : tuple of str
    weights : Weights
        Of all glaciers, with the cells that stand in.
    distance : float64 array, (row,), km
        To the nearest cell with values for every glacier whose own cells have too few, NaN for the others.
    replaced : bool array, (row,)
        Where cells stand in.
    """

    variables: tuple[str, ...]
    weights: Weights
    distance: Floats
    replaced: npt.NDArray[np.bool_]


def stand_ins(
    own: Weights,
    grid: Grid | Curvilinear,
    valid: Mapping[str, npt.NDArray[np.bool_]],
    glaciers: gpd.GeoDataFrame,
    *,
    least: float,
    max_distance_km: float,
) -> list[StandIns]:
    """The weights of every variable: those with the same cells of sea share them.

    Parameters
    ----------
    own : Weights
        Of the glaciers' own cells.
    grid, glaciers, least, max_distance_km
        As for `nearest_valid`.
    valid : mapping of str to bool array, (y, x)
        Where each variable has values, from `valid_cells`.
    """
    alike: dict[bytes, list[str]] = {}
    for name, mask in valid.items():
        alike.setdefault(mask.tobytes(), []).append(name)
    out = []
    for names in alike.values():
        weights, distance = nearest_valid(
            own, grid, valid[names[0]], glaciers, least=least, max_distance_km=max_distance_km
        )
        out.append(StandIns(tuple(names), weights, distance, distance <= max_distance_km))
    return out


def to_dataset(own: Weights, sets: Sequence[StandIns]) -> xr.Dataset:
    """The glaciers' own weights, and what stands in for them, by set of variables."""
    entries = [s.replaced[s.weights.row] for s in sets]
    number = np.concatenate([np.full(int(e.sum()), k) for k, e in enumerate(entries)])
    columns = {
        "stand_in_set": number,
        "stand_in_row": np.concatenate([s.weights.row[e] for s, e in zip(sets, entries, strict=True)]),
        "stand_in_column": np.concatenate([s.weights.column[e] for s, e in zip(sets, entries, strict=True)]),
        "stand_in_weight": np.concatenate([s.weights.weight[e] for s, e in zip(sets, entries, strict=True)]),
    }
    ds = own.to_dataset().assign({n: ("stand_in", v) for n, v in columns.items()})
    ds["land_distance"] = (("set", "row"), np.array([s.distance for s in sets]), {"units": "km"})
    ds["replaced"] = (("set", "row"), np.array([s.replaced for s in sets]))
    return ds.assign_coords(variables=("set", np.array([" ".join(s.variables) for s in sets], object)))


def from_stored(ds: xr.Dataset) -> tuple[Weights, list[StandIns]]:
    """Inverse of `to_dataset`."""
    own = from_dataset(ds)
    sets = []
    for k, names in enumerate(ds["variables"].values):
        replaced = ds["replaced"].values[k].astype(bool)
        kept, mine = ~replaced[own.row], ds["stand_in_set"].values == k
        pairs = (("row", own.row), ("column", own.column), ("weight", own.weight))
        entries = (np.concatenate([v[kept], ds[f"stand_in_{n}"].values[mine]]) for n, v in pairs)
        weights = from_entries(*entries, rows=own.rows, total=own.total, size=own.size, source=own.source)
        sets.append(StandIns(tuple(str(names).split()), weights, ds["land_distance"].values[k], replaced))
    return own, sets


def take(sets: Sequence[StandIns], rows: npt.NDArray[np.bool_]) -> list[StandIns]:
    """The marked glaciers."""
    return [StandIns(s.variables, s.weights.take(rows), s.distance[rows], s.replaced[rows]) for s in sets]


def set_of(sets: Sequence[StandIns], variable: str) -> StandIns:
    """The set that a variable belongs to; the first for one without a time, such as the orography."""
    return next((s for s in sets if variable in s.variables), sets[0])


def sample_by_variable(cube: xr.Dataset, own: Weights, sets: Sequence[StandIns], *, together: str) -> xr.Dataset:
    """Zonal means as of `sample`, of every variable with its own weights.

    Parameters
    ----------
    cube : xr.Dataset, (time, y, x)
    own : Weights
        Of the glaciers' own cells.
    sets : sequence of StandIns
    together : str
        Fields that do not change are sampled on the cells of this variable, if the cube has it.

    Returns
    -------
    xr.Dataset, (glacier, time)
        Where cells stand in for others also `own_cells` (variable, glacier): the share of the outline under cells of
        its own that have a value in any month; NaN where none stand in. It is read in the same pass.
    """
    home = set_of(sets, together)
    loose = [str(n) for n in cube.data_vars if not any(n in s.variables for s in sets)]
    parts = []
    for one in sets:
        mine = [*one.variables, *(loose if one is home else ())]
        parts.append(sample(cube[[str(n) for n in cube.data_vars if n in mine]], one.weights))
    sampled = xr.merge(parts, join="exact", compat="override", combine_attrs="override")
    sampled = sampled[[n for v in cube.data_vars if v in sampled for n in (v, f"{v}_coverage")]]
    shares = {n: _ever(cube[n], own, one) for one in sets if one.replaced.any() for n in one.variables}
    if shares:
        text = "share of the outline under cells of its own that have values in any month, where others stand in"
        values = da.stack(list(shares.values()))  # type: ignore[no-untyped-call]
        sampled[EVER] = (("variable", "glacier"), values, {"units": "1", "long_name": text})
        sampled = sampled.assign_coords(variable=np.array(list(shares), object))
    return sampled


def _ever(field: xr.DataArray, own: Weights, one: StandIns) -> da.Array:
    """Share of the outline under own cells with values in any step, (glacier,); NaN where no cells stand in."""
    mine = own.take(one.replaced)
    series = da.asarray(cell_series(field.to_dataset(name="v"), mine)["v"].data)  # type: ignore[no-untyped-call]

    def share(cells: npt.NDArray[np.floating]) -> Floats:
        out = np.full(len(one.replaced), np.nan)
        seen = np.isfinite(cells).any(axis=1)
        out[one.replaced] = (mine.matrix @ seen.astype(np.float64)) / mine.total
        return out

    options = {"drop_axis": 1, "chunks": ((len(one.replaced),),), "dtype": np.float64, "meta": np.empty(0)}
    out: da.Array = da.map_blocks(share, series.rechunk(-1), **options)  # type: ignore[no-untyped-call]
    return out


def with_gaps(sampled: xr.Dataset, least: float, *, source: str, looked_at: Sequence[str]) -> list[Failure]:
    """Glaciers whose own cells were taken for sea though they have values in other months.

    Parameters
    ----------
    sampled : xr.Dataset, (glacier, time)
        From `sample_by_variable`.
    least : float
        Share of the area under cells with values that makes a glacier's own cells count.
    source : str
    looked_at : sequence of str
        The months in which they have none.

    Raises
    ------
    InputError
        If these are all glaciers.
    """
    if EVER not in sampled:
        return []
    share = sampled[EVER].transpose("glacier", "variable").values
    gap: npt.NDArray[np.bool_] = np.asarray(share >= least - ROUNDING)
    failed, glaciers = np.asarray(gap.any(axis=1)), sampled["glacier"].values
    variables = sampled["variable"].values[gap.argmax(axis=1)]
    reason = f"a gap, no sea: its own cells have values in other months, but none in {listing(looked_at)}"
    error = InputError(
        f"{source}: {listing(dict.fromkeys(variables[failed]))}",
        expected="values under the glaciers in every month",
        found=f"none in {listing(looked_at)}, but some in other months",
        remedy="download these months again",
    )
    found = failing(failed, glaciers, "", [reason] * int(failed.sum()), error)
    return [f._replace(variable=str(v)) for f, v in zip(found, variables[failed], strict=True)]
