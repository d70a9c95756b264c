"""Where the command line begins and ends: arguments in, exit status out, errors in words."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from glacmb_grid.cli.commands import app
from glacmb_grid.cli.speech import choose_manner, complain
from glacmb_grid.errors import InputError, InputErrors

NAME = "glacmb-grid"
_COMPLETING = "_GLACMB_GRID_COMPLETE"
_Usage: Any = typer.BadParameter.__base__  # newer versions of typer bring a click of their own
_Shown: Any = _Usage.__base__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit status: 0 success, 1 an error in the input, 2 the audit found a leak, 3 some glaciers failed and the
        rest went on, 130 interrupted.

    Raises
    ------
    SystemExit
        With 2 where the arguments themselves are wrong.
    """
    logging.getLogger("cfgrib").setLevel(logging.CRITICAL)  # shows tracebacks of errors that are told in words
    choose_manner()
    group = typer.main.get_command(app)
    if arguments is None and _COMPLETING in os.environ:
        group.main(prog_name=NAME)
    try:
        with group.make_context(NAME, list(sys.argv[1:] if arguments is None else arguments)) as context:
            return int(group.invoke(context) or 0)
    except typer.Exit as leaving:
        return leaving.exit_code
    except _Shown as error:
        at = getattr(error, "ctx", None)
        usage = at.get_usage() if at else f"Usage: {NAME} COMMAND --help"
        complain(f"{usage}\nerror: {error.format_message()}")
        raise SystemExit(2) from None
    except (InputError, InputErrors) as error:
        complain(f"error: {error.in_words(python=False)}", error)
        return 1
    except OSError as error:
        if error.errno is None:
            return _unexpected(error)
        problem = InputError(
            f"{error.filename or 'a file or a process'}",
            expected="a place that can be read and written, with room",
            found=f"{error.strerror}",
            remedy="correct its permissions or free some room, or name another place",
        )
        complain(f"error: {problem.in_words(python=False)}", error)
        return 1
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from what is finished")
        return 130
    except Exception as error:  # noqa: BLE001 - the last stop before a traceback
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    """Tell an error that nobody foresaw; the exit status."""
    told = " ".join(f"{error}".split()) or "no more is known"
    complain(
        f"error: {type(error).__name__}: {told}\n"
        "    This is not one of the errors that are foreseen: the same command with --debug shows where it arose.",
        error,
    )
    return 1
