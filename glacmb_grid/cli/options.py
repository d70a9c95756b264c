"""Options that several commands share, exit statuses, and how a command is declared."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

STATUSES = {
    0: "all well",
    1: "an error in the input or of the disk, told in words; nothing is half-written",
    2: "the audit found a leak; or the command line itself was wrong",
    3: "some glaciers failed, listed in failed.csv, and the rest went on (also where everything is current)",
    130: "interrupted",
}
"""What each exit status says."""

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="configuration, a YAML file", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY.PATH=VALUE",
        help="override a value; a relative path is relative to the configuration file, as in it",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="redo stages that are current")]
Verify = Annotated[
    bool,
    typer.Option(
        "--verify",
        help="read all inputs and results from end to end, instead of trusting sizes and times of large ones",
    ),
]


class Layout(StrEnum):
    """Layouts of `export`."""

    glambie2 = "glambie2"
    wgms_grid = "wgms-grid"
    csv = "csv"


class Unit(StrEnum):
    """Units of `export`."""

    mwe = "mwe"
    gt = "Gt"


class Every(StrEnum):
    """Steps of the fields that `ingest` reads."""

    monthly = "monthly"
    daily = "daily"
    hourly = "hourly"


class Accumulation(StrEnum):
    """What daily and hourly precipitation holds."""

    of_the_day = "of_the_day"
    of_the_hour = "of_the_hour"
    since_midnight = "since_midnight"


class Sources(StrEnum):
    """What `fetch` asks for."""

    era5_land = "era5-land"
    mod10a1 = "mod10a1"
    dem = "dem"
    rgi = "rgi"
    fog = "fog"
    geodetic = "geodetic"


class Incomplete(StrEnum):
    """What `ingest` does with months that lack days or hours."""

    refuse = "refuse"
    leave_out = "leave_out"


def gigabytes(text: str) -> float:
    """A number of GB above 0.

    Raises
    ------
    typer.BadParameter
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise typer.BadParameter(f"{text}: a number above 0 is expected")
    return value


_QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="no lines of progress, only answers and errors")]
_VERBOSE = Annotated[bool, typer.Option("--verbose", "-v", help="lines of progress with the time since the beginning")]
_DEBUG = Annotated[bool, typer.Option("--debug", help="errors with their traceback")]
_MANNER = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
    for name, kind in (("quiet", _QUIET), ("verbose", _VERBOSE), ("debug", _DEBUG))
]


class Command(TyperCommand):
    """A command; an interrupt while it works is told, one before ends the process at once."""

    def invoke(self, ctx: Any) -> Any:
        """Call the command."""
        import glacmb_grid.config  # noqa: F401 - an interrupt could be lost inside the import of what is heavy
        from glacmb_grid.cli.interrupts import interruptible

        with interruptible():
            return super().invoke(ctx)


Act = Callable[..., int]


def command(
    app: typer.Typer, *, examples: list[str], statuses: tuple[int, ...] = (0, 1, 130), name: str | None = None
) -> Callable[[Act], Act]:
    """Declare a function as a command of its name, with options for how much is said, examples and exit statuses."""

    def declare(act: Act) -> Act:
        @functools.wraps(act)
        def wrapper(*, quiet: bool = False, verbose: bool = False, debug: bool = False, **given: Any) -> int:
            from glacmb_grid.cli.bar import shown
            from glacmb_grid.cli.speech import choose_manner

            choose_manner(quiet=quiet, verbose=verbose, debug=debug)
            with nullcontext() if quiet else shown():
                return act(**given)

        signature = inspect.signature(act, eval_str=True)
        own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in signature.parameters.values()]
        parameters = [*own, *_MANNER]
        wrapper.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        title = name or act.__name__.rstrip("_").replace("_", "-")
        told = inspect.cleandoc(act.__doc__ or "").splitlines()[0]  # in the list of commands whole, not cut off
        app.command(title, cls=Command, short_help=told, epilog=_epilog(examples, statuses))(wrapper)
        return act

    return declare


def _epilog(examples: list[str], statuses: tuple[int, ...]) -> str:
    """Examples and exit statuses, line by line."""
    lines = "\n".join(f"  {one}" for one in examples)
    told = "; ".join(f"{number} {STATUSES[number]}" for number in statuses)
    return f"\b\nExamples:\n{lines}\n\nExit status: {told}."
