"""The command line: parses arguments, calls the package and prints."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from glacmb_grid.config import load_config, load_partly
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.settings import Judged, RunConfig

if TYPE_CHECKING:
    from glacmb_grid.inputs.climate.contract import Finer

_STATUS = (
    "exit status: 0 all well; 1 an error in the input; 3 some glaciers failed, listed in failed.csv, and the rest went "
    "on (also where everything is current); 130 interrupted"
)
_STATUSES = {"run": _STATUS, "append": _STATUS, "evaluate": _STATUS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    The exit status: 0 success, 1 an error in the input, 2 the audit found a leak, 3 some glaciers failed and the rest
    went on, 130 interrupted.
    """
    logging.getLogger("cfgrib").setLevel(logging.CRITICAL)  # shows tracebacks of errors that are told in words
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with _interruptible():
            return int(options.act(options))
    except (InputError, InputErrors) as error:
        print(f"error: {error.in_words(python=False)}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno is None:
            raise
        problem = InputError(
            f"{error.filename or 'a file or a process'}",
            expected="a place that can be read and written, with room",
            found=f"{error.strerror}",
            remedy="correct its permissions or free some room, or name another place",
        )
        print(f"error: {problem.in_words(python=False)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last finished stage", file=sys.stderr)
        return 130


_INTERRUPTED = threading.Event()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let `_say` raise an interrupt again that a library swallowed; a second interrupt always ends the process."""

    def interrupt(*_: object) -> None:
        if _INTERRUPTED.is_set():
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)
        _INTERRUPTED.set()
        raise KeyboardInterrupt

    _INTERRUPTED.clear()
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as in background jobs of a script
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="glacmb-grid", description="Annual mass balance of every glacier of a region from a few measured ones."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, act, text in (
        ("run", _run, "bring a run up to date"),
        ("append", _append, "add years to the products of a run; refuses to change an older year"),
        ("evaluate", _evaluate, "fit and judge the models, without a product"),
        ("audit", _audit, "what leaks would have promised, and whether anything leaks; fails if it does"),
        ("study", _study, "importance of predictors, ablations, skill against the number of training glaciers"),
        ("score-holdout", _score_holdout, "score the locked test glaciers: a separate act, logged"),
        ("report", _report, "write one page about a run: report/index.html"),
        ("figures", _figures, "write the figures of a run as PNG and PDF"),
        ("check", _check, "say in seconds what would fail, from headers and tables only"),
        ("status", _status, "which stages are done, current, stale"),
    ):
        command = commands.add_parser(name, help=text, description=text, epilog=_STATUSES.get(name))
        command.add_argument("config", metavar="CONFIG", type=Path)
        command.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="KEY.PATH=VALUE",
            help="override a value; a relative path is relative to the configuration file, as in it",
        )
        command.set_defaults(act=act)
        if name == "run":
            command.add_argument("--stage", metavar="NAME", help="only this stage and what it needs")
        if name in ("run", "evaluate", "audit", "study", "report", "figures"):
            command.add_argument("--overwrite", action="store_true", help="redo stages that are current")
        if name in ("run", "evaluate", "audit", "study", "status"):
            text = "read all inputs and results from end to end, instead of trusting sizes and times of large ones"
            command.add_argument("--verify", action="store_true", help=text)
    text = "write the climate of a configuration as one Zarr store that is sampled fast, to be named as climate.files"
    store = commands.add_parser("ingest", help=text, description=text)
    store.add_argument("config", metavar="CONFIG", type=Path)
    store.add_argument("store", metavar="STORE", type=Path)
    store.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a value")
    store.add_argument(
        "--memory",
        type=_gigabytes,
        default=2.0,
        metavar="GB",
        help="about what it may take (2); more reads large cubes faster",
    )
    store.add_argument(
        "--from",
        dest="every",
        choices=("monthly", "daily", "hourly"),
        default="monthly",
        help="step of the fields in climate.files (monthly); of daily and hourly ones months are made, and positive "
        "degree days, pdd, of daily temperatures",
    )
    store.add_argument(
        "--accumulation",
        choices=("of_the_day", "of_the_hour", "since_midnight"),
        help="what precipitation and radiation hold: hourly, of_the_hour (ERA5: the hour before the stamp) or "
        "since_midnight (ERA5-Land: all since 00 UTC, 00:00 the whole day before), no default; daily, of_the_day "
        "(default) or since_midnight (the 00:00 fields of ERA5-Land)",
    )
    store.add_argument(
        "--incomplete",
        choices=("refuse", "leave_out"),
        default="refuse",
        help="months at the beginning and the end that lack days or hours",
    )
    store.set_defaults(act=_ingest)
    exports = commands.add_parser("export", help="write products in the layout of GlaMBIE-2 or WGMS, or as tables")
    exports.add_argument("config", metavar="CONFIG", type=Path)
    exports.add_argument("layout", choices=("glambie2", "wgms-grid", "csv"))
    exports.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE", help="override a value")
    exports.add_argument("--folder", type=Path, help="where to write, by default exports/LAYOUT in the run's folder")
    exports.add_argument("--unit", choices=("mwe", "Gt"), default="mwe", help="of glambie2")
    exports.add_argument("--season", type=float, nargs=12, help="of glambie2: January to December")
    exports.set_defaults(act=_export)
    synth = commands.add_parser("synth", help="write a region with known truth as raw files")
    synth.add_argument("folder", type=Path)
    synth.add_argument("--seed", type=int, default=1)
    synth.add_argument("--glaciers", type=int, default=60)
    synth.add_argument("--measured", type=int, default=15)
    synth.add_argument("--years", type=int, nargs=2, default=(2000, 2024), metavar=("FIRST", "LAST"))
    synth.add_argument("--plain", action="store_true", help="GeoTIFF and tables instead of the agencies' own formats")
    synth.set_defaults(act=_synth)
    return parser


def _say(text: str) -> None:
    """Print a line of progress; raise a swallowed interrupt."""
    if _INTERRUPTED.is_set() and sys.exc_info()[0] is None:
        raise KeyboardInterrupt
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader is gone (`| head`): go on without output
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open as long as the process


def _run(options: argparse.Namespace) -> int:
    from glacmb_grid.workflow.runner import run

    config = load_config(options.config, options.set)
    _say(f"run {config.name} in {config.root}")
    ran = run(config, stage=options.stage, overwrite=options.overwrite, verify=options.verify, say=_say)
    if not ran:
        _say("everything is current: nothing to do")
    _print_summary(config)
    _page_at_the_end(config, options.stage)
    return _report_failures(config)


def _page_at_the_end(config: Judged, stage: str | None) -> None:
    """Write the page about a whole run, unless `report: false`; that it cannot be written does not undo the run."""
    from glacmb_grid.workflow.presenting import write_report

    if stage is None and config.report:
        try:
            write_report(config, say=_say)
        except InputError as error:
            _say(f"note: no report: {error.in_words(python=False)}")


def _report(options: argparse.Namespace) -> int:
    from glacmb_grid.workflow.presenting import write_report

    write_report(load_config(options.config, options.set), overwrite=options.overwrite, say=_say)
    return 0


def _figures(options: argparse.Namespace) -> int:
    from glacmb_grid.workflow.presenting import write_figures

    write_figures(load_config(options.config, options.set), overwrite=options.overwrite, say=_say)
    return 0


def _append(options: argparse.Namespace) -> int:
    from glacmb_grid.workflow.runner import run

    config = load_config(options.config, options.set)
    _say(f"append to the products of {config.name} in {config.root}")
    if not run(config, append=True, say=_say):
        _say("everything is current: no year to append")
    _print_summary(config)
    return _report_failures(config)


def _print_summary(config: Judged) -> None:
    """Print the scores, which model beat which, and where the product is."""
    from glacmb_grid.report.scores import summary
    from glacmb_grid.workflow.currency import status

    for line in summary(config, {name: state for name, state, _ in status(config)}):
        _say(line)


def _report_failures(config: Judged) -> int:
    """Report failed glaciers; the exit status."""
    from glacmb_grid.failures import FILE as FAILED
    from glacmb_grid.workflow.runner import failed

    count = len(failed(config))
    if count:
        _say(f"{count} glacier(s) failed and are left out, with the reasons in {config.root / FAILED}")
    return 3 if count else 0


def _evaluate(options: argparse.Namespace) -> int:
    return _report_failures(_run_stage(options, "evaluation"))


def _run_stage(options: argparse.Namespace, stage: str) -> Judged:
    """Run a stage and all that it needs if they are not current, and print the scores of `evaluation`."""
    from glacmb_grid.workflow.runner import run

    config = load_config(options.config, options.set)
    _say(f"{stage} of {config.name} in {config.root}")
    if not run(config, stage=stage, overwrite=options.overwrite, verify=options.verify, say=_say):
        _say("everything is current: nothing to do")
    if stage == "evaluation":
        _print_summary(config)
    return config


def _audit(options: argparse.Namespace) -> int:
    from glacmb_grid.stores.artefacts import AUDIT, read
    from glacmb_grid.stores.runs import RunStore

    store = RunStore(_run_stage(options, "audit").root)
    _say(read(store, AUDIT["text"]))
    return 2 if read(store, AUDIT["verdict"])["leaks"] else 0


def _study(options: argparse.Namespace) -> int:
    from glacmb_grid.stores.artefacts import STUDY, read
    from glacmb_grid.stores.runs import RunStore

    _say(read(RunStore(_run_stage(options, "study").root), STUDY["text"]))
    return 0


def _ingest(options: argparse.Namespace) -> int:
    from glacmb_grid.workflow.ingest import ingest_climate

    config = load_config(options.config, options.set)
    if not isinstance(config, RunConfig):
        raise InputError(
            f"{options.config}",
            expected="a configuration with `climate:`",
            found="one of a table",
            remedy="name another",
        )
    ingest_climate(config, options.store, memory=options.memory * 1e9, say=_say, finer=_finer(options))
    return 0


def _export(options: argparse.Namespace) -> int:
    from glacmb_grid.workflow.export import Wanted, export

    config, wanted = load_config(options.config, options.set), Wanted(options.unit, options.season)
    export(config, options.layout, folder=options.folder, wanted=wanted, say=_say)
    return 0


def _finer(options: argparse.Namespace) -> Finer | None:
    """The daily or hourly fields that `--from` names; an InputError for options that are of these only."""
    from glacmb_grid.inputs.climate.contract import Finer

    if options.every != "monthly":
        return Finer("day" if options.every == "daily" else "hour", options.accumulation, options.incomplete)
    if options.accumulation is not None or options.incomplete != "refuse":
        raise InputError(
            "ingest: --accumulation, --incomplete",
            expected="`--from daily` or `--from hourly` beside them",
            found="monthly fields",
            remedy="leave them out; `climate.accumulated` says what monthly fields hold",
        )
    return None


def _gigabytes(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: a number above 0 is expected")
    return value


def _score_holdout(options: argparse.Namespace) -> int:
    from glacmb_grid.workflow.holdout import score_holdout

    config = load_config(options.config, options.set)
    score_holdout(config, say=_say)
    return 0


def _check(options: argparse.Namespace) -> int:
    from glacmb_grid.workflow.check import check

    config, unknown, problems = load_partly(options.config, options.set)
    with _notes_after():
        for line in check(config, unknown=unknown, problems=problems):
            _say(line if line.startswith("note: ") else f"ok: {line}")
    return 0


@contextmanager
def _notes_after() -> Iterator[None]:
    """Say this package's warnings at the end, unless there was an error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for one in caught:
        if "glacmb_grid" in Path(one.filename).parts:
            _say(f"note: {one.message}")


def _status(options: argparse.Namespace) -> int:
    from glacmb_grid.workflow.currency import status
    from glacmb_grid.workflow.presenting import presented

    config = load_config(options.config, options.set)
    lines = status(config, whole=options.verify, say=_say)
    for name, state, why in [*lines, *presented(config, {n: s for n, s, _ in lines})]:
        _say(f"{name:28s} {state:8s} {why}".rstrip())
    return 0


def _synth(options: argparse.Namespace) -> int:
    from glacmb_grid.synthetic import write_region

    with _notes_after():
        try:
            paths = write_region(
                options.folder,
                seed=options.seed,
                glaciers=options.glaciers,
                years=tuple(options.years),
                measured=options.measured,
                plain=options.plain,
            )
        except ValueError as error:
            raise InputError(
                "synth", expected="a new folder, and a region that can be made", found=f"{error}", remedy="change it"
            ) from error
        for name, path in paths.items():
            _say(f"{name:20s} {path}")
    return 0
