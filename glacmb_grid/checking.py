"""Arguments that take one of a few words, or numbers within limits, checked against their annotations."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from types import UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from glacmb_grid.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Limits:
    """Of a number, as an annotation: at least `least`, above `above`, below `below`."""

    least: float | None = None
    above: float | None = None
    below: float | None = None

    def hold(self, value: float) -> bool:
        """Whether a number lies within; NaN never does."""
        return (
            not math.isnan(value)
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        said = (("of at least", self.least), ("above", self.above), ("below", self.below))
        return "a number " + " and ".join(f"{word} {limit:g}" for word, limit in said if limit is not None)


NotNegative = Annotated[float, Limits(least=0)]
Positive = Annotated[float, Limits(above=0)]
Share = Annotated[float, Limits(above=0, below=1)]


def checking_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse texts that an argument's `Literal` annotation does not list, and numbers outside of its `Limits`.

    Raises
    ------
    InputError
        It names the function, the argument, and the words or the limits.
    """
    signature = inspect.signature(function)

    @functools.cache
    def words() -> dict[str, list[str]]:
        found = {n: _words_of(h) for n, h in get_type_hints(function).items()}
        return {n: w for n, w in found.items() if w}

    @functools.cache
    def limits() -> dict[str, Limits]:
        hints = get_type_hints(function, include_extras=True).items()
        return {n: one for n, h in hints for one in getattr(h, "__metadata__", ()) if isinstance(one, Limits)}

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        given = signature.bind(*args, **kwargs).arguments
        for name, allowed in words().items():
            if isinstance(given.get(name), str) and given[name] not in allowed:
                raise InputError(
                    f"{function.__name__}: {name}",
                    expected=f"one of {', '.join(map(repr, allowed))}",
                    found=repr(given[name]),
                    remedy=f"for instance {name}={allowed[0]!r}",
                )
        for name, one in limits().items():
            if isinstance(given.get(name), Real) and not one.hold(given[name]):
                raise InputError(
                    f"{function.__name__}: {name}", expected=f"{one}", found=f"{given[name]:g}", remedy="correct it"
                )
        return function(*args, **kwargs)

    return checked


def _words_of(hint: Any) -> list[str]:
    """The texts that a `Literal`, alone or beside other types, lists; none where any text may stand."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint]
    literals = [w for p in parts if get_origin(p) is Literal for w in get_args(p) if isinstance(w, str)]
    return literals if str not in parts else []
