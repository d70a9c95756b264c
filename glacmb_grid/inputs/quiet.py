"""Libraries' warnings kept back in many threads at once."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_LOCK = threading.Lock()
_INSIDE: list[int] = []
_FILTERS = ExitStack()


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings inside, in any number of threads.

    Filters belong to the whole process, and `warnings.catch_warnings` in two threads restores those of the other: here
    the first thread that enters sets them, and the last that leaves restores what was before.
    """
    with _LOCK:
        if not _INSIDE:
            _FILTERS.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
        _INSIDE.append(threading.get_ident())
    try:
        yield
    finally:
        with _LOCK:
            _INSIDE.pop()
            if not _INSIDE:
                _FILTERS.close()
