"""A configuration in the making, and how readings of files are tried."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from glacmb_grid.config import FILL_IN as FILL_IN
from glacmb_grid.disk import is_url
from glacmb_grid.errors import InputError, InputErrors

T = TypeVar("T")
Values = dict[str, Any]


@dataclass
class Draft:
    """A configuration in the making.

    Attributes
    ----------
    sections : dict
        Values by section and key; paths are absolute.
    comments : dict
        What is said of a section, or of a key, `section.key`.
    assumed : list of str
        What was assumed or found out, a line each.
    open : list of str
        Sections that still have to be filled in.
    """

    sections: dict[str, Values] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)
    assumed: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)

    def say(self, key: str, text: str) -> None:
        """Say something of a key, in the file and to the user."""
        self.comments[key] = text
        self.assumed.append(f"{key}: {text}")

    def leave_open(self, section: str, values: Values, text: str) -> None:
        """Leave a section to be filled in."""
        self.sections[section], self.comments[section] = values, f"to be filled in: {text}"
        self.open.append(section)


@contextmanager
def hushed() -> Iterator[None]:
    """Without warnings: what they say is found out by `init`, or told by `check`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def sound_readings(
    readings: Iterable[Values], read: Callable[[Values], T], enough: Callable[[Values], bool] = lambda _: False
) -> Iterator[tuple[Values, T]]:
    """The readings that are sound, and what each gives; none after one that is `enough`.

    Raises
    ------
    InputError or InputErrors
        That of the first reading, if none is sound.
    """
    first: InputError | InputErrors | None = None
    found = False
    for one in readings:
        try:
            with hushed():
                value = read(one)
        except (InputError, InputErrors) as error:
            first = first or error
            continue
        found = True
        yield one, value
        if enough(one):
            return
    if not found and first is not None:
        raise first


def first_sound(readings: Iterable[Values], read: Callable[[Values], T]) -> tuple[Values, T]:
    """The first reading that is sound, and what it gives; no later one is tried."""
    return next(sound_readings(readings, read))


def inside(given: list[str]) -> list[str]:
    """The files of folders that are no stores; anything else as it is."""
    out: list[str] = []
    for one in given:
        path = Path(one)
        if path.is_dir() and not any((path / n).exists() for n in ("zarr.json", ".zgroup", ".zmetadata")):
            out += [str(p) for p in sorted(path.iterdir()) if p.is_file() and not p.name.startswith(".")]
        else:
            out.append(one)
    return out


def patterns(given: list[str], taken: list[Path], every: list[Path]) -> list[str]:
    """The given paths where they name just what is taken, else patterns, or the files themselves.

    Parameters
    ----------
    given : list of str
        As the user named them.
    taken, every : list of Path
        Files to name, and files that the given paths stand for.
    """
    if taken == every and not any(Path(g).is_dir() and inside([g]) != [g] for g in given):
        return [absolute(g) for g in given]
    out: list[str] = []
    for folder in dict.fromkeys(p.parent for p in taken):
        mine = {p for p in taken if p.parent == folder}
        named = [f"{_beginning(p.name for p in mine)}*{s}" for s in {p.suffix for p in mine}]
        one = folder / named[0]
        exact = len(mine) > 1 and len(named) == 1 and set(folder.glob(one.name)) == mine
        out += [absolute(str(p)) for p in ([one] if exact else sorted(mine))]
    return out


def _beginning(names: Iterable[str]) -> str:
    """What all names begin with."""
    every = sorted(names)
    first, last = every[0], every[-1]
    return first[: next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def absolute(path: str) -> str:
    """An absolute path; a URL as it is."""
    return path if is_url(path) else str(Path(path).absolute())


def one_or_several(paths: list[str]) -> str | list[str]:
    """A list, or the path alone where it has only one."""
    return paths[0] if len(paths) == 1 else paths
