"""What folds have learnt, in one Dataset: arrays whose shapes differ lie one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

Arrays = dict[str, npt.NDArray[Any]]
PREFIX = "state_"


def pack(states: Sequence[Mapping[str, npt.NDArray[Any]]]) -> xr.Dataset:
    """Put the arrays of every fold into one Dataset.

    Parameters
    ----------
    states : sequence of mappings
        One for each fold, all with the same names; an array may have another shape in every fold.

    Returns
    -------
    xr.Dataset
        For every name `state_NAME` (state_NAME_entry,), the values of all folds one after the other;
        `state_NAME_shape` (fold, state_NAME_axis); `state_NAME_start` (fold,), the place of a fold's first value.
    """
    out: dict[str, Any] = {}
    for name in states[0] if states else ():
        arrays = [np.asarray(s[name]) for s in states]
        flat = np.concatenate([a.ravel() for a in arrays])
        sizes = [a.size for a in arrays]
        key = f"{PREFIX}{name}"
        out[key] = (f"{key}_entry", flat.astype(object) if flat.dtype.kind == "U" else flat)
        out[f"{key}_shape"] = (("fold", f"{key}_axis"), np.array([a.shape for a in arrays], np.int64))
        out[f"{key}_start"] = ("fold", np.cumsum([0, *sizes[:-1]], dtype=np.int64))
    return xr.Dataset(out)


def unpack(parameters: xr.Dataset, fold: int) -> Arrays:
    """The arrays of one fold, by name."""
    suffix = "_start"
    names = [str(n)[len(PREFIX) : -len(suffix)] for n in parameters.data_vars if _is_start(str(n))]
    out: Arrays = {}
    for name in names:
        key = f"{PREFIX}{name}"
        shape = tuple(int(n) for n in parameters[f"{key}_shape"].values[fold])
        start = int(parameters[f"{key}_start"].values[fold])
        values = parameters[key].values[start : start + int(np.prod(shape))]
        out[name] = (values.astype(str) if values.dtype.kind in "OT" else values).reshape(shape)
    return out


def join(parts: Sequence[xr.Dataset], order: Sequence[int] | None = None) -> xr.Dataset:
    """Put what one model has learnt in parts of the folds together, as if all had been fitted at once.

    Parameters
    ----------
    parts : sequence of xr.Dataset
        Parameters of one model, each of other folds.
    order : sequence of int, optional
        Position in the scheme of every fold, as they come in the parts: the result has them in ascending order. By
        default folds stay as they come.

    Returns
    -------
    xr.Dataset
        Features are those of any part, in the order in which folds first select them; labels of any other dimension
        are sorted where the parts differ in them. What a fold has no value for is NaN, or False.

    Raises
    ------
    ValueError
        Where a fold occurs twice, `order` is not that of the folds, or parts differ in attributes or in what they hold
        beside folds.
    """
    labels = [label for p in parts for label in p["fold"].values.tolist()]
    places = range(len(labels)) if order is None else order
    if not len(set(labels)) == len(labels) == len(places) == len(set(places)):
        raise ValueError("every fold must be in one part only, and must have a place of its own")
    by_place = np.argsort(places)
    states = [unpack(p, fold) for p in parts for fold in range(p.sizes["fold"])]
    alike = _alike([p.drop_vars([n for n in p.variables if str(n).startswith(PREFIX)]) for p in parts])
    out = xr.concat(
        alike, "fold", data_vars="minimal", coords="minimal", compat="equals", join="exact", combine_attrs="identical"
    ).isel(fold=by_place)
    if "feature" in out.dims:
        kept = [p["feature"].values[mask] for p in parts for mask in p["selected"].values]
        out = out.sel(feature=list(dict.fromkeys(name for i in by_place for name in kept[i].tolist())))
    return out.merge(pack([states[i] for i in by_place])).assign_attrs(out.attrs)


def _alike(parts: Sequence[xr.Dataset]) -> list[xr.Dataset]:
    """The parts with the same labels and lengths of all dimensions but `fold`."""
    labels, length = {}, {}
    for dim in {str(d) for p in parts for d in p.dims} - {"fold"}:
        if all(dim in p.indexes for p in parts):
            own = [p[dim].values.tolist() for p in parts]
            if any(names != own[0] for names in own):
                labels[dim] = np.array(sorted({n for names in own for n in names}), dtype=parts[0][dim].dtype)
        elif len({p.sizes[dim] for p in parts}) > 1:
            if any(v.dtype.kind != "f" for p in parts for v in p.variables.values() if dim in v.dims):
                raise ValueError(f"the parts differ in the length of {dim}")
            length[dim] = max(p.sizes[dim] for p in parts)
    masks = {n: False for n, v in parts[0].items() if v.dtype == bool}
    known = [p.reindex(labels, fill_value={**dict.fromkeys(p, np.nan), **masks}) if labels else p for p in parts]
    return [p.pad({d: (0, n - p.sizes[d]) for d, n in length.items()}) if length else p for p in known]


def _is_start(name: str) -> bool:
    return name.startswith(PREFIX) and name.endswith("_start")
