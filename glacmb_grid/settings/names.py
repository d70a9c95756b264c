"""Names of models: those that a configuration gives to its own, and those of models with their neighbours."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Annotated

from pydantic import AfterValidator, Field

NEIGHBOURS = "_neighbours"

own_names: ContextVar[tuple[str, ...]] = ContextVar("own_names", default=())
"""Names of a user's own models in the configuration that is being read."""


def base_of(name: str) -> str | None:
    """The model that a name with `_neighbours` after it is built on; None for any other name."""
    return name.removesuffix(NEIGHBOURS) if name.endswith(NEIGHBOURS) else None


def with_neighbours(name: str) -> str:
    """The name of a model with its neighbours."""
    return f"{name}{NEIGHBOURS}"


def _free_name(name: str) -> str:
    from glacmb_grid.settings.models import model_names  # which itself imports sections that hold such names

    base = base_of(name)
    if name in model_names() or base in model_names():
        raise ValueError(f"Input should be a name of its own: {name} is a model of the package")
    if base in own_names.get():
        raise ValueError(f"Input should be a name of its own: {name} is {base} with its neighbours")
    return name


OwnName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$"), AfterValidator(_free_name)]
