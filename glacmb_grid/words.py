"""Arguments that take one of a few words, checked against the annotations that list them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

from glacmb_grid.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


def checking_words(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse texts that are none of those that an argument's `Literal` annotation lists.

    Raises
    ------
    InputError
        It names the function, the argument and the words.
    """
    signature = inspect.signature(function)

    @functools.cache
    def words() -> dict[str, list[str]]:
        found = {n: _words_of(h) for n, h in get_type_hints(function).items()}
        return {n: w for n, w in found.items() if w}

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
        return function(*args, **kwargs)

    return checked


def _words_of(hint: Any) -> list[str]:
    """The texts that a `Literal`, alone or beside other types, lists; none where any text may stand."""
    parts = get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint]
    literals = [w for p in parts if get_origin(p) is Literal for w in get_args(p) if isinstance(w, str)]
    return literals if str not in parts else []
