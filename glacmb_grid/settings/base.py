"""What all sections share: frozen, unknown keys refused, and digests of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from glacmb_grid.years import FIRST_YEAR, LAST_YEAR

T = TypeVar("T")
REMEDY = " | remedy: "
"""Stands in messages of validators between what was expected and what a user can do."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Year = Annotated[int, Field(ge=FIRST_YEAR, le=LAST_YEAR)]
Sigma = Annotated[float, Field(gt=0, le=10)]
"""A standard deviation of balances, m w.e."""
Spread = Annotated[float, Field(gt=0, le=30)]
"""Of temperatures within a month, K."""


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Identifier = Annotated[str, BeforeValidator(_as_text), WithJsonSchema({"type": ["string", "integer"]})]
"""Of a glacier, a site, a group or a region, as text: YAML reads a bare 807 as a number."""


class Section(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def rising(span: tuple[T, T]) -> tuple[T, T]:
    """Refuse a pair whose first value is not the smaller one."""
    first, last = span
    if not first < last:  # type: ignore[operator]
        raise ValueError("Input should be a pair with the smaller value first")
    return span


def each_once(values: list[T]) -> list[T]:
    """Refuse a list that names an entry twice."""
    if len(set(values)) < len(values):
        raise ValueError("Input should name each entry once")
    return values


def digest(*sections: object) -> str:
    """Digest of configuration sections, the same wherever the files lie.

    Of paths only the last part counts here: what a file holds is told by its own identity.
    """
    plain = [portable(s) for s in sections]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def portable(value: Any, templates: Mapping[str, str] | None = None) -> Any:
    """Plain values with only the last part of paths, the same on every machine; some texts by their templates."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="python")
    if isinstance(value, dict):
        return {str(k): portable(v, templates) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(v, templates) for v in value]
    text = (templates or {}).get(str(value), value) if isinstance(value, (str, Path)) else value
    if isinstance(value, Path) or (isinstance(value, str) and os.path.isabs(value)):  # noqa: PTH117 - any string
        return Path(text).name
    return text
