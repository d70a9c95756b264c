"""Several downloads at a time: what one needs of its thread, and what happens where one of them fails."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from glacmb_grid.disk import Say
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.fetching import earthdata

if TYPE_CHECKING:
    import requests

Going = Callable[[], None]
Task = TypeVar("Task")
Result = TypeVar("Result")

_LAST_BREATH = 2.0  # s, that downloads have to notice an interrupt


class _Interrupted(Exception):  # noqa: N818 - no error: nobody waits for this download any more
    """The call has ended."""


class Sessions:
    """A session for each way and thread, opened when it is needed first."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], requests.Session] = {}
        self._refused: dict[str, Exception] = {}
        self._opening = threading.Lock()

    def of(self, way: str) -> requests.Session:
        """The session of this thread; logins are made one after the other, and none after one was refused."""
        import requests

        mine = (way, threading.get_ident())
        with self._opening:
            if way in self._refused:
                raise self._refused[way]
            if mine not in self._known:
                try:
                    self._known[mine] = earthdata.session() if way == "earthdata" else requests.Session()
                except Exception as error:
                    self._refused[way] = error
                    raise
            return self._known[mine]


def side_by_side(
    work: Callable[[Task, Say, Going], Result], tasks: Sequence[Task], *, at_once: int, say: Say
) -> list[Result]:
    """Do tasks in a few threads.

    Parameters
    ----------
    work : callable
        Takes a task, what it says things with, and what it calls now and then so that an interrupt ends it.
    tasks : sequence
    at_once : int
        Number of threads.
    say : callable
        Called in this thread only.

    Returns
    -------
    list
        The results, in the order of the tasks.

    Raises
    ------
    InputError or InputErrors
        From tasks. Those that are under way end first; no others are begun.
    """
    waiting, ended = deque(enumerate(tasks)), threading.Event()
    done: dict[int, Result] = {}
    failed: dict[int, Exception] = {}
    told: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def going() -> None:
        if ended.is_set():
            raise _Interrupted

    def run() -> None:
        while True:
            try:
                place, task = waiting.popleft()
            except IndexError:
                told.put(None)
                return
            try:
                done[place] = work(task, told.put, going)
            except Exception as error:  # noqa: BLE001 - raised again by the thread that called
                waiting.clear()
                failed[place] = error

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(at_once, len(tasks)))]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            while (line := told.get()) is not None:
                say(line)
    except BaseException:
        waiting.clear()
        ended.set()
        until = time.monotonic() + _LAST_BREATH
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(until - time.monotonic(), 0))
        raise
    if failed:
        raise _together([failed[place] for place in sorted(failed)])
    return [done[place] for place in range(len(tasks))]


def _together(errors: list[Exception]) -> Exception:
    """One error for several: those of the input each once; anything else as it is."""
    if unknown := [e for e in errors if not isinstance(e, InputError)]:
        return unknown[0]
    different = list({str(e): e for e in errors}.values())
    return different[0] if len(different) == 1 else InputErrors(different)
