"""How far work has come, told to whoever listens; silent by default.

`track` goes round a loop, `counting` counts what threads do, `dask_tasks` what dask computes. Whoever wants to know
listens with `heard_by`, a context variable: what is counted does not depend on it, nor do results.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
_SELDOM = 0.1  # s between two steps that are told


class Step(NamedTuple):
    """How far one piece of work has come.

    Attributes
    ----------
    number : int
        Of the piece of work, unique in the process.
    what : str
        What is counted, in the singular: `fold`.
    done : int
    total : int, optional
        None where it is not known.
    seconds : float
        Since the work began.
    ended : bool
        Whether this is the last step that is told of it.
    """

    number: int
    what: str
    done: int
    total: int | None
    seconds: float
    ended: bool


Listener = Callable[[Step], None]

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)
_NUMBERS = itertools.count()


def listener() -> Listener | None:
    """Who listens; None if nobody does."""
    return _LISTENER.get()


@contextmanager
def heard_by(listener: Listener | None) -> Iterator[None]:
    """Tell a listener of all that is counted inside the block; it may be called from any thread.

    Parameters
    ----------
    listener : callable, optional
        Takes a `Step`; None: nobody listens.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


class Count:
    """Counts one piece of work, from any thread.

    Parameters
    ----------
    what : str
    total : int, optional
    listener : callable, optional
        None: nothing is told.
    """

    def __init__(self, what: str, total: int | None, listener: Listener | None) -> None:
        self.what, self.total, self.done = what, total, 0
        self._listener, self._number, self._lock = listener, next(_NUMBERS), threading.Lock()
        self._began, self._told = time.monotonic(), -_SELDOM  # the first step is told at once
        self._tell(ended=False)

    def advance(self, by: int = 1) -> None:
        """Count more as done."""
        if self._listener is not None:
            with self._lock:
                self.done += by
                self._tell_sometimes()

    def reach(self, done: int) -> None:
        """Count so much in all as done."""
        if self._listener is not None:
            with self._lock:
                self.done = done
                self._tell_sometimes()

    def end(self) -> None:
        """Tell that the work has ended, finished or not."""
        with self._lock:
            self._tell(ended=True)

    def _tell_sometimes(self) -> None:
        now = time.monotonic()
        if now - self._told >= _SELDOM:
            self._told = now
            self._tell(ended=False)

    def _tell(self, *, ended: bool) -> None:
        if self._listener is not None:
            seconds = time.monotonic() - self._began
            self._listener(Step(self._number, self.what, self.done, self.total, seconds, ended))


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Count]:
    """Count a piece of work whose steps are done in threads, or not in a loop.

    Parameters
    ----------
    what : str
        What is counted, in the singular.
    total : int, optional
    """
    count = Count(what, total, _LISTENER.get())
    try:
        yield count
    finally:
        count.end()


def track(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """The items of a loop, counted as they are asked for.

    Parameters
    ----------
    items : iterable
    what : str
        What is counted, in the singular.
    total : int, optional
        By default the length of the items, where they have one.
    """
    with counting(what, len(items) if total is None and isinstance(items, Sized) else total) as count:
        for item in items:
            yield item
            count.advance()


@contextmanager
def dask_tasks(what: str) -> Iterator[None]:
    """Count what dask computes inside the block on threads, on processes or one after the other.

    A cluster shows its work on its own dashboard.
    """
    heard = _LISTENER.get()
    if heard is None:
        yield
        return
    from dask.callbacks import Callback

    class Counted(Callback):
        count: Count | None = None

        def _start_state(self, dsk: Any, state: Any) -> None:
            self.count = Count(what, sum(len(state[k]) for k in ("ready", "waiting")), heard)

        def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
            assert self.count is not None
            self.count.advance()

        def _finish(self, dsk: Any, state: Any, errored: bool) -> None:
            if self.count is not None:
                self.count.end()

    with Counted():  # type: ignore[no-untyped-call]
        yield


def clock(seconds: float) -> str:
    """A duration as minutes and seconds, or hours, minutes and seconds: 0:48, 2:10, 1:02:10."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def in_words(step: Step, since: float = 0.0) -> str:
    """A step as people read it: `fold 12/40, 0:48, about 2:10 left`, with the rate if it is above one a second.

    Parameters
    ----------
    step : Step
    since : float
        Time since the step was told, s.
    """
    share = f" {step.done}/{step.total}" if step.total is not None else f" {step.done}" if step.done else ""
    parts = [f"{step.what}{share}", clock(step.seconds + since)]
    over = step.seconds if step.seconds >= 1 else step.seconds + since  # a first step at once tells no rate
    rate = step.done / over if over > 0 else 0.0
    if rate >= 1:
        parts.append(f"{rate:,.0f} per s")
    if step.total is not None and rate > 0 and step.done < step.total and not step.ended:
        parts.append(f"about {clock(max((step.total - step.done) / rate - since, 1.0))} left")
    return ", ".join(parts)
