"""What a schema is, and the check of a Dataset against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from glacmb_grid.errors import InputError, listing

NUMBER, TEXT, FLAG, DATE = "number", "text", "flag", "date"
_DTYPES = {NUMBER: "f8", TEXT: "O", FLAG: "?", DATE: "M8[ns]"}
_KINDS = {NUMBER: "fiu", TEXT: "OUT", FLAG: "biu", DATE: "M"}  # kinds of numpy dtypes


@dataclass(frozen=True)
class Field:
    """One variable or coordinate of a Dataset.

    Attributes
    ----------
    dims : tuple of str
    kind : str
        NUMBER, TEXT, FLAG or DATE.
    units : str
        Empty where it has none. Only a `units` attribute that differs is wrong, not a missing one.
    required : bool
    per : str
        A dimension that may come before the others.
    """

    dims: tuple[str, ...]
    kind: str = NUMBER
    units: str = ""
    required: bool = True
    per: str = ""

    def __str__(self) -> str:
        unit = f", {self.units}" if self.units else ""
        return f"({', '.join(self.dims)}) {self.kind}{unit}"


@dataclass(frozen=True)
class Schema:
    """What a Dataset must hold; more is allowed.

    Attributes
    ----------
    name : str
        What the Dataset is called in messages, and its key in `SCHEMAS`.
    source : str
        What gives such a Dataset, for the remedy.
    variables, coordinates : mapping of str to Field
    attrs : tuple of str
        Names of the attributes it must have.
    ordered : bool
        Whether dimensions must come in the order of `Field.dims`.
    open : bool
        Whether variables may have dimensions besides `Field.dims`, as those of a grid, whose names vary.
    """

    name: str
    source: str
    variables: Mapping[str, Field]
    coordinates: Mapping[str, Field] = field(default_factory=dict)
    attrs: tuple[str, ...] = ()
    ordered: bool = True
    open: bool = False


def check(ds: xr.Dataset, schema: Schema, *, name: str | None = None) -> None:
    """Raise unless a Dataset is what its schema says. No values are read.

    Parameters
    ----------
    ds : xr.Dataset
    schema : Schema
    name : str, optional
        What the Dataset is, for the message; default the name of the schema.

    Raises
    ------
    InputError
        With every difference; or where it is no Dataset.
    """
    if not isinstance(ds, xr.Dataset):
        raise InputError(
            name or schema.name,
            expected="an xarray Dataset",
            found=f"a {type(ds).__name__}",
            remedy=f"pass what {schema.source} gives",
        )
    wrong = [*_differences(ds, schema, schema.variables), *_differences(ds, schema, schema.coordinates)]
    wrong += [(f"{n!r} is a coordinate", f"{n!r} is a variable") for n in schema.coordinates if n in ds.data_vars]
    wrong += [(f"the attribute {n!r}", f"no attribute {n!r}") for n in schema.attrs if n not in ds.attrs]
    if wrong:
        raise InputError(
            name or schema.name,
            expected="; ".join(expected for expected, _ in wrong),
            found="; ".join(found for _, found in wrong) + f" (present: {listing(ds.variables, 20)})",
            remedy=f"pass what {schema.source} gives",
        )


def arranged(ds: xr.Dataset, schema: Schema) -> xr.Dataset:
    """A Dataset with the dimensions of its variables in the order of its schema, whatever order they came in.

    Raises
    ------
    InputError
        As `check`.
    """
    if isinstance(ds, xr.Dataset):
        there = [(ds[n], one) for n, one in schema.variables.items() if n in ds]
        wanted = [(v, (one.per, *one.dims) if one.per in v.dims else one.dims) for v, one in there]
        ds = ds.assign({str(v.name): v.transpose(*dims) for v, dims in wanted if set(dims) == set(v.dims)})
    check(ds, schema)
    return ds


def empty(schema: Schema, names: Iterable[str] | None = None, **along: Any) -> xr.Dataset:
    """A Dataset of a schema without any glacier, row or fold: it shows what would be made of one that has some.

    Parameters
    ----------
    schema : Schema
    names : iterable of str, optional
        The variables to have, by default all of the schema.
    along : int or array
        Lengths of dimensions, or their coordinates; all other dimensions have no entries.
    """
    size = {d: v if isinstance(v, int) else len(v) for d, v in along.items()}
    coordinates = {n: f for n, f in schema.coordinates.items() if n not in along}

    def holding_nothing(fields: Mapping[str, Field]) -> dict[str, Any]:
        return {n: (f.dims, np.empty([size.get(d, 0) for d in f.dims], _DTYPES[f.kind])) for n, f in fields.items()}

    wanted = schema.variables if names is None else {n: schema.variables[n] for n in names}
    given = {d: v for d, v in along.items() if not isinstance(v, int)}
    return xr.Dataset(holding_nothing(wanted), coords={**holding_nothing(coordinates), **given})


def require_columns(table: Any, columns: Iterable[str], *, name: str, source: str) -> None:
    """Raise an InputError unless a table has these columns; `name` is that of the argument, `source` what gives it."""
    there = [str(c) for c in getattr(table, "columns", ())]
    there += ["geometry"] if hasattr(table, "geometry") else []  # whatever the column is called
    if missing := [c for c in columns if c not in there]:
        raise InputError(
            name,
            expected=f"a table with the columns {', '.join(columns)}",
            found=f"no {listing(missing)}; columns {listing(there) or 'none'}",
            remedy=f"pass what {source} gives",
        )


def _differences(ds: xr.Dataset, schema: Schema, described: Mapping[str, Field]) -> Iterator[tuple[str, str]]:
    """What was expected and what was found, for each variable that is not as described."""
    for name, one in described.items():
        if name not in ds.variables:
            if one.required:
                yield f"{name!r} {one}", f"{name!r} is missing"
            continue
        variable = ds.variables[name]
        dims = tuple(map(str, variable.dims))
        wanted = (one.per, *one.dims) if one.per and one.per in dims else one.dims
        same = dims == wanted if schema.ordered else set(dims) == set(wanted)
        if not (same or (schema.open and set(one.dims) <= set(dims))):
            yield f"{name!r} {one}", f"{name!r} has dimensions ({', '.join(dims)})"
        if variable.dtype.kind not in _KINDS[one.kind]:
            yield f"{name!r} {one}", f"{name!r} has dtype {variable.dtype}"
        if one.units and variable.attrs.get("units", one.units) != one.units:
            yield f"{name!r} {one}", f"{name!r} has units {variable.attrs['units']!r}"
