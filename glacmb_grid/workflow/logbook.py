"""The log of one run: every line that was said, with the time, and what took long."""

from __future__ import annotations

import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path

from glacmb_grid.disk import Say
from glacmb_grid.progress import Step, in_words, listener

_LONG = 2.0  # s: shorter work is not noted


class Logbook:
    """A log in a folder, in a file named by the time of its beginning; there is no file before `open`.

    Parameters
    ----------
    folder : Path
    say : callable
        Takes each line too, without the time.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self.path = folder / f"{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime())}.txt"
        self._say, self._outer = say, listener()
        self._waiting: list[str] | None = []
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Pass a line on, and note it."""
        self.note(text)
        self._say(text)

    def hear(self, step: Step) -> None:
        """Pass a step on, and note the end of what took long."""
        if step.ended and step.seconds >= _LONG:
            self.note(f"    {in_words(step)}")
        if self._outer is not None:
            self._outer(step)

    def note(self, text: str) -> None:
        """Note lines with the time; a log that cannot be written stops no run."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        lines = [f"{now}  {line}\n" for line in text.splitlines()]
        with self._lock:
            if self._waiting is not None:
                self._waiting += lines
                return
            self._write(lines)

    def open(self) -> None:
        """Begin the file, with what was noted before."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
            if waiting is not None:
                self._write(waiting)

    def note_error(self, error: BaseException) -> None:
        """Note an error with its traceback."""
        self.open()
        self.note("".join(traceback.format_exception(error)))

    def _write(self, lines: list[str]) -> None:
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.writelines(lines)
