"""What a command has opened: each source once, as long as its files stay as they are."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from glacmb_grid.disk import Say
from glacmb_grid.inputs.files import Opened, close, find_files, tracked_in
from glacmb_grid.workflow.stages import Source


class _Open(NamedTuple):
    files: Any
    value: Any
    opened: Opened


class Openings:
    """Lazy sources that several stages read, opened when the first of them asks."""

    def __init__(self) -> None:
        self._known: dict[int, _Open] = {}

    def value(self, source: Source, files: Any, say: Say) -> Any:
        """What a source holds.

        Parameters
        ----------
        source : Source
            With `open`.
        files : any
            Identities of its files: if they differ from those of the last time, it is opened again.
        say : callable
            Takes a line that says how many files were opened, and how long it took.
        """
        assert source.open is not None
        before = self._known.get(id(source))
        if before is not None and before.files == files:
            return before.value
        self.release(source)
        opened: Opened = []
        self._known[id(source)] = _Open(files, None, opened)
        begun = time.perf_counter()
        with tracked_in(opened):
            value = source.open()
        say(opening(source, time.perf_counter() - begun))
        self._known[id(source)] = _Open(files, value, opened)
        return value

    def release(self, source: Source) -> None:
        """Close the files of a source."""
        if (before := self._known.pop(id(source), None)) is not None:
            close(before.opened)

    def keep_only(self, sources: Iterable[Source]) -> None:
        """Close the files of all sources but these."""
        kept = {id(s) for s in sources}
        for number in [n for n in self._known if n not in kept]:
            close(self._known.pop(number).opened)


@contextmanager
def openings() -> Iterator[Openings]:
    """Openings that are closed at the end."""
    known = Openings()
    try:
        yield known
    finally:
        known.keep_only(())


def opening(source: Source, seconds: float) -> str:
    """A line about the files of a source that were opened."""
    counts = {what: len(find_files(paths, what=what)) for paths, what in source.files}
    told = ", ".join(f"{n} {what}" for what, n in counts.items())
    return f"{told} opened in {seconds:.1f} s"
