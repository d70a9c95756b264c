"""What a stage's function may use beside the results and settings that it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from glacmb_grid.disk import Say

if TYPE_CHECKING:
    from glacmb_grid.learning.contract import Model, Task


def _as_it_is(name: str, value: Any, *keys: str) -> Any:
    del name, keys
    return value


def _made_anew(what: str, key: list[str], make: Callable[[], xr.Dataset]) -> xr.Dataset:
    del what, key
    return make()


def _fitted_here(model: Model, tasks: Mapping[str, Task]) -> Iterator[tuple[str, xr.Dataset]]:
    from glacmb_grid.learning.contract import fit_model

    return ((name, fit_model(model, task)) for name, task in tasks.items())


@dataclass(frozen=True)
class Work:
    """What the runner lends to a stage's function; by default nothing is stored and nothing leaves the process.

    Attributes
    ----------
    say : callable
        Takes a line of progress.
    keep : callable
        Stores a result of the stage at once (its name, the value, keys where it is one of several) and gives it back as
        it is stored: for what is too large to be held, or is used again.
    cached : callable
        A Dataset that depends on a key only (what it is, the key, a function that makes it): made once.
    fit : callable
        Fits a model on several tasks, wherever the run does its work: pairs of the task's name and the parameters.
    checkpoints : callable
        Folder for the state of an unfinished fit, by its name; None where nothing is kept.
    lock : callable
        Records which rows are locked away (None: none), before anything is fitted.
    folder : Path
        Where a stage that makes files of its own writes them.
    contents : mapping
        Digest of what each stage that is read has written.
    key : str
        Digest of all that the stage's result depends on.
    provenance : mapping
        Texts that say what a product was made of.
    """

    say: Say = field(default=lambda text: None)
    keep: Callable[..., Any] = _as_it_is
    cached: Callable[[str, list[str], Callable[[], xr.Dataset]], xr.Dataset] = _made_anew
    fit: Callable[[Model, Mapping[str, Task]], Iterator[tuple[str, xr.Dataset]]] = _fitted_here
    checkpoints: Callable[[str], Path | None] = field(default=lambda name: None)
    lock: Callable[[dict[str, Any] | None], None] = field(default=lambda record: None)
    folder: Path = Path()
    contents: Mapping[str, str] = field(default_factory=dict)
    key: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
