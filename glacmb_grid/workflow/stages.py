"""A stage as data: what it reads, what it writes, and the settings that its result depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from glacmb_grid.inputs.files import find_files
from glacmb_grid.settings import Judged
from glacmb_grid.stores.artefacts import Artefact, leaves

Files = tuple[tuple[Any, str], ...]  # pairs of paths or patterns, and what they are


@dataclass(frozen=True)
class Source:
    """An input from outside the run.

    Attributes
    ----------
    open : callable, optional
        Gives what the input holds; None where the function reads it by itself, as its settings say.
    files : tuple
        Pairs of path or pattern, and what it is.
    settings : mapping
        The settings that say how it is read, by key.
    lazy : bool
        Whether values are read only when they are used: errors met then name the damaged file.
    noted : bool
        Whether what is opened holds all that it warns of, so that a run need not show it twice.
    made_by : tuple of str
        Stages that make the files, of a synthetic region.
    """

    open: Callable[[], Any] | None
    files: Files
    settings: Mapping[str, Any] = field(default_factory=dict)
    lazy: bool = False
    noted: bool = False
    made_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Option:
    """A setting: its key in the configuration, its value, and what the function is given if that is not the value."""

    key: str
    value: Any
    handed: Any = None

    @property
    def given(self) -> Any:
        """What the function is given."""
        return self.value if self.handed is None else self.handed


def options(config: Judged, **keys: str) -> dict[str, Option]:
    """Settings by the argument that takes them, from their dotted keys in the configuration."""
    return {argument: Option(key, reduce(getattr, key.split("."), config)) for argument, key in keys.items()}


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes
    ----------
    name : str
        Also its folder in the run's folder.
    make : callable
        Takes a `Work`, then what `reads` and `options` name, by keyword; returns values for `writes`, those left out
        that it has kept already.
    reads, writes : mapping
        Sources and artefacts by argument, artefacts by name of a result; a mapping of them is handed over, or
        returned, as such.
    options : mapping
        Settings by argument.
    after : tuple of str
        Stages that come before it though it reads nothing of them: what they refuse in seconds would cost hours later.
    on_request : bool
        Whether the stage runs only when it is asked for by name.
    """

    name: str
    make: Callable[..., dict[str, Any]]
    reads: Mapping[str, Any] = field(default_factory=dict)
    writes: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    on_request: bool = False

    @property
    def sources(self) -> list[Source]:
        """The inputs from outside that it reads."""
        return [one for _, one in leaves(self.reads) if isinstance(one, Source)]

    @property
    def files(self) -> Files:
        """All files that it reads: pairs of path or pattern, and what they are."""
        return tuple(pair for source in self.sources for pair in source.files)

    @property
    def settings(self) -> dict[str, Any]:
        """All settings that its result depends on, by key."""
        out = {k: v for source in self.sources for k, v in source.settings.items()}
        return {**out, **{o.key: o.value for o in self.options.values()}}

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages that must be current before it."""
        made = [stage for source in self.sources for stage in source.made_by]
        read = [a.stage for _, a in leaves(self.reads) if isinstance(a, Artefact)]
        return tuple(dict.fromkeys([*made, *read, *self.after]))

    @property
    def lists_failures(self) -> bool:
        """Whether it lists glaciers that failed, and goes on without them."""
        return any(isinstance(a, Artefact) and a.kind == "failures" for a in self.writes.values())

    def found(self) -> Iterator[tuple[str, list[Path]]]:
        """The files that it reads: what they are, and their paths.

        Raises
        ------
        InputError
            If one is missing.
        """
        for paths, what in self.files:
            yield what, find_files(paths, what=what)
