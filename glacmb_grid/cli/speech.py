"""All that the command line prints: lines of progress, answers and errors."""

from __future__ import annotations

import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from glacmb_grid.cli.interrupts import raise_swallowed
from glacmb_grid.progress import clock


@dataclass
class Manner:
    """How much is said.

    Attributes
    ----------
    quiet : bool
        Only answers and errors, no progress.
    verbose : bool
        Progress with the time since the command began.
    debug : bool
        Errors with their traceback.
    began : float
        When the command began, s.
    """

    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    began: float = field(default_factory=time.monotonic)


manner = Manner()


def choose_manner(*, quiet: bool = False, verbose: bool = False, debug: bool = False) -> None:
    """Set how much is said from now on."""
    manner.quiet, manner.verbose, manner.debug = quiet, verbose, debug
    manner.began = time.monotonic()


def say(text: str) -> None:
    """Print a line of progress; raise a swallowed interrupt."""
    raise_swallowed()
    if manner.quiet:
        return
    _print(f"{clock(time.monotonic() - manner.began):>7s}  {text}" if manner.verbose else text)


def tell(text: str) -> None:
    """Print a line of the answer that a command was asked for; raise a swallowed interrupt."""
    raise_swallowed()
    _print(text)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader is gone (`| head`): go on without output
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open as long as the process


def complain(text: str, error: BaseException | None = None) -> None:
    """Print an error, as it is and unwrapped; where tracebacks are wanted, with that of the exception."""
    if error is not None and manner.debug:
        traceback.print_exception(error, file=sys.stderr)
    print(text, file=sys.stderr)


@contextmanager
def notes_after() -> Iterator[None]:
    """Say this package's warnings at the end, unless there was an error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for one in caught:
        if "glacmb_grid" in Path(one.filename).parts:
            tell(f"note: {one.message}")
