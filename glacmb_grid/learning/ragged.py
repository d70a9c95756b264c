"""Arrays whose shapes differ between folds, kept in one Dataset: one after the other, with shapes and places."""

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


def _is_start(name: str) -> bool:
    return name.startswith(PREFIX) and name.endswith("_start")


def join(parts: Sequence[xr.Dataset], order: Sequence[int]) -> xr.Dataset:
    """TEMPORARY."""
    raise NotImplementedError
