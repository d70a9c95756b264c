"""Names that a configuration gives to models of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field


def _free_name(name: str) -> str:
    from glacmb_grid.settings.models import model_names  # which itself imports sections that hold such names

    if name in model_names():
        raise ValueError(f"Input should be a name of its own: {name} is a model of the package")
    return name


OwnName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$"), AfterValidator(_free_name)]
