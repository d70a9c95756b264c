"""Interrupts: the first ends a command in an orderly way, the second the process."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_INTERRUPTED = threading.Event()
_SHOW_CURSOR = b"\x1b[?25h"


@contextmanager
def interruptible() -> Iterator[None]:
    """Let `raise_swallowed` raise an interrupt again that a library swallowed; a second one always ends the process."""

    def interrupt(*_: object) -> None:
        if _INTERRUPTED.is_set():
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), _SHOW_CURSOR)  # which a display of progress hides
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        _INTERRUPTED.set()
        raise KeyboardInterrupt

    _INTERRUPTED.clear()
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as in background jobs of a script
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    before, shown = signal.signal(signal.SIGINT, interrupt), sys.unraisablehook

    def without_interrupts(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is not KeyboardInterrupt:  # one that Python itself had to swallow is raised again later
            shown(lost)

    sys.unraisablehook = without_interrupts
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = shown


def raise_swallowed() -> None:
    """Raise an interrupt that a library swallowed, unless an exception is under way.

    Raises
    ------
    KeyboardInterrupt
    """
    if _INTERRUPTED.is_set() and sys.exc_info()[0] is None:
        raise KeyboardInterrupt
