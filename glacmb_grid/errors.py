"""Errors that say what is wrong with an input and how to correct it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from glacmb_grid.arguments import calls

T = TypeVar("T")


class InputError(ValueError):
    """An input is not what it should be.

    Parameters
    ----------
    where : str
        The file (or configuration key) and, after a colon, the variable or column.
    expected, found : str
        What was expected, and what was found instead.
    remedy : str
        What the user can do.

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> gg.one_region(-1, "Alps")
    Traceback (most recent call last):
        ...
    glacmb_grid.errors.InputError: one_region: number
        expected: at least 0 glaciers
        found:    -1
        remedy:   correct it
    """

    def __init__(self, where: str, *, expected: str, found: str, remedy: str) -> None:
        self.where, self.expected, self.found, self.remedy = where, expected, found, remedy
        super().__init__(self.in_words())

    def in_words(self, *, python: bool = True) -> str:
        """The message; with `python`, also the arguments of functions that say the same as the keys it names."""
        text = f"{self.where}\n    expected: {self.expected}\n    found:    {self.found}\n    remedy:   {self.remedy}"
        same = calls(self.where, self.expected, self.found, self.remedy) if python else []
        return text + (f"\n    Python:   {', '.join(same)}" if same else "")

    def __reduce__(self) -> tuple[object, ...]:  # keyword-only arguments need help to cross processes
        return _rebuild, (self.where, self.expected, self.found, self.remedy)


def _rebuild(where: str, expected: str, found: str, remedy: str) -> InputError:
    return InputError(where, expected=expected, found=found, remedy=remedy)


class InputErrors(ValueError):  # noqa: N818 - several of them
    """Several problems, reported together."""

    def __init__(self, problems: list[Exception]) -> None:
        self.problems = problems
        super().__init__(self.in_words())

    def in_words(self, *, python: bool = True) -> str:
        """The messages, numbered; see `InputError.in_words`."""
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        texts = [p.in_words(python=python) if isinstance(p, InputError) else str(p) for p in self.problems]
        return f"{count}:\n" + "\n".join(f"{i}. {text}" for i, text in enumerate(texts, 1))

    def __reduce__(self) -> tuple[object, ...]:
        return InputErrors, (self.problems,)


class Problems:
    """Collects input errors so that a check can report all of them at once."""

    def __init__(self) -> None:
        self.found: list[Exception] = []

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Run a block; keep its input errors instead of raising them."""
        try:
            yield
        except InputErrors as several:
            self.found += several.problems
        except InputError as one:
            self.found.append(one)

    def attempt(self, call: Callable[[], T]) -> T | None:
        """Return the call's result, or None where it raised an input error (which is kept)."""
        result: list[T] = []
        with self.collect():
            result.append(call())
        return result[0] if result else None

    def raise_if_any(self) -> None:
        """Raise the only problem, or all of them together, each once."""
        once = list({str(p): p for p in self.found}.values())
        if len(once) == 1:
            raise once[0]
        if once:
            raise InputErrors(once)


def listing(items: Iterable[object], limit: int = 8) -> str:
    """The first items, and the number of further ones."""
    texts = [str(i) for i in items]
    more = f" and {len(texts) - limit} more" if len(texts) > limit else ""
    return ", ".join(texts[:limit]) + more
