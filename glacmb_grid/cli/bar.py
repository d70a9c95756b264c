"""What a terminal shows of work that goes on: a line for each piece of it, below the lines that are printed."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from glacmb_grid.progress import Step, heard_by, in_words

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_SHOWN_AFTER = 1.0  # s: shorter work would only flicker


class Board:
    """The pieces of work that go on, as lines of text.

    Attributes
    ----------
    steps : dict
        The last step of each, by its number, and when it was told, s.
    """

    def __init__(self) -> None:
        self.steps: dict[int, tuple[Step, float]] = {}
        self._lock = threading.Lock()

    def hear(self, step: Step) -> None:
        """Take a step; called from any thread."""
        with self._lock:
            if step.ended:
                self.steps.pop(step.number, None)
            else:
                self.steps[step.number] = step, time.monotonic()

    def lines(self) -> list[str]:
        """A line for each piece of work that has gone on for a while."""
        now = time.monotonic()
        with self._lock:
            found = [(step, now - told) for step, told in self.steps.values()]
        return [in_words(step, since) for step, since in found if step.seconds + since >= _SHOWN_AFTER]

    def __rich__(self) -> Text:
        from rich.text import Text

        return Text("\n".join(f"  {line}" for line in self.lines()), style="cyan", overflow="ellipsis", no_wrap=True)


def is_terminal() -> bool:
    """Whether lines below the others can be shown and taken back."""
    return sys.stderr.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


@contextmanager
def shown(console: Console | None = None) -> Iterator[None]:
    """Show in a terminal what is counted inside the block; nothing where no terminal is.

    Parameters
    ----------
    console : rich.console.Console, optional
        By default standard error.
    """
    if console is None and not is_terminal():
        yield
        return
    from rich.console import Console
    from rich.live import Live

    board = Board()
    where = console or Console(stderr=True)
    above = sys.stdout.isatty()  # lines that go elsewhere must not be taken along
    live = Live(
        board, console=where, refresh_per_second=4, transient=True, redirect_stdout=above, redirect_stderr=above
    )
    with live, heard_by(board.hear):
        yield
