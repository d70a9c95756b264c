"""The command line: parses arguments, calls the package and prints."""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from glacmb_grid.config import load_config
from glacmb_grid.disk import read_csv
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.settings import Judged, RunConfig

_STATUS = (
    "exit status: 0 all well; 1 an error in the input; 3 some glaciers failed, listed in failed.csv, and the rest went "
    "on (also where everything is current); 130 interrupted"
)
_STATUSES = {"run": _STATUS, "evaluate": _STATUS}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    The exit status: 0 success, 1 an error in the input, 2 the audit found a leak, 3 some glaciers failed and the rest
    went on, 130 interrupted.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        with _interruptible():
            return int(options.act(options))
    except (InputError, InputErrors) as error:
        print(f"error: {error}", file=sys.stderr)
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
        print(f"error: {problem}", file=sys.stderr)
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
        ("evaluate", _evaluate, "fit and judge the models, without a product"),
        ("audit", _audit, "what leaks would have promised, and whether anything leaks; fails if it does"),
        ("study", _study, "importance of predictors, ablations, skill against the number of training glaciers"),
        ("score-holdout", _score_holdout, "score the locked test glaciers: a separate act, logged"),
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
        if name in ("run", "evaluate", "audit", "study"):
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
    store.set_defaults(act=_ingest)
    synth = commands.add_parser("synth", help="write a region with known truth as raw files")
    synth.add_argument("folder", type=Path)
    synth.add_argument("--seed", type=int, default=1)
    synth.add_argument("--glaciers", type=int, default=60)
    synth.add_argument("--measured", type=int, default=15)
    synth.add_argument("--years", type=int, nargs=2, default=(2000, 2024), metavar=("FIRST", "LAST"))
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
    from glacmb_grid.pipeline import run

    config = load_config(options.config, options.set)
    _say(f"run {config.name} in {config.root}")
    ran = run(config, stage=options.stage, overwrite=options.overwrite, verify=options.verify, say=_say)
    if not ran:
        _say("everything is current: nothing to do")
    _summary(config)
    return _report_failures(config)


def _report_failures(config: Judged) -> int:
    """Report failed glaciers; the exit status."""
    from glacmb_grid.pipeline import failed

    count = len(failed(config))
    if count:
        _say(f"{count} glacier(s) failed and are left out, with the reasons in {config.root / 'failed.csv'}")
    return 3 if count else 0


def _evaluate(options: argparse.Namespace) -> int:
    return _report_failures(_run_stage(options, "evaluation"))


def _run_stage(options: argparse.Namespace, stage: str) -> Judged:
    """Run a stage and all that it needs if they are not current, and print the scores of `evaluation`."""
    from glacmb_grid.pipeline import run

    config = load_config(options.config, options.set)
    _say(f"{stage} of {config.name} in {config.root}")
    if not run(config, stage=stage, overwrite=options.overwrite, verify=options.verify, say=_say):
        _say("everything is current: nothing to do")
    if stage == "evaluation":
        _summary(config)
    return config


def _audit(options: argparse.Namespace) -> int:
    config = _run_stage(options, "audit")
    folder = config.root / "audit"
    _say((folder / "audit.txt").read_text(encoding="utf-8"))
    return 2 if json.loads((folder / "verdict.json").read_text(encoding="utf-8"))["leaks"] else 0


def _study(options: argparse.Namespace) -> int:
    config = _run_stage(options, "study")
    _say((config.root / "study" / "study.txt").read_text(encoding="utf-8"))
    return 0


def _ingest(options: argparse.Namespace) -> int:
    from glacmb_grid.cluster import scheduler
    from glacmb_grid.inputs.files import closing
    from glacmb_grid.inputs.ingest import ingest
    from glacmb_grid.stages import reading_climate

    config = load_config(options.config, options.set)
    if not isinstance(config, RunConfig):
        raise InputError(
            f"{options.config}",
            expected="a configuration with `climate:`",
            found="one of a table",
            remedy="name another",
        )
    with closing(), scheduler(config.compute) as workers, reading_climate(config) as cube:
        _say(f"{len(cube.data_vars)} fields, {cube.nbytes / 1e9:.3g} GB, into {options.store} by {workers}")
        section = config.climate
        slab = options.memory * 1e9 / 2
        ingest(cube, options.store, accumulated=section.accumulated, expver=section.expver, slab=slab)
    size = sum(p.stat().st_size for p in options.store.rglob("*") if p.is_file())
    _say(f"{size / 1e9:.3g} GB written; name it in the configuration: climate: {{files: {options.store}}}")
    return 0


def _gigabytes(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: a number above 0 is expected")
    return value


def _score_holdout(options: argparse.Namespace) -> int:
    from glacmb_grid.pipeline import score_holdout

    config = load_config(options.config, options.set)
    score_holdout(config, say=_say)
    return 0


def _check(options: argparse.Namespace) -> int:
    from glacmb_grid.checks import check

    config = load_config(options.config, options.set)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        found = check(config)
    for line in found:
        _say(f"ok: {line}")
    for one in caught:
        if "glacmb_grid" in Path(one.filename).parts:
            _say(f"note: {one.message}")
    return 0


def _status(options: argparse.Namespace) -> int:
    from glacmb_grid.pipeline import status

    lines = status(load_config(options.config, options.set), whole=options.verify, say=_say)
    for name, state, why in lines:
        _say(f"{name:28s} {state:8s} {why}".rstrip())
    return 0


def _synth(options: argparse.Namespace) -> int:
    from glacmb_grid.synthetic import write_region

    try:
        paths = write_region(
            options.folder,
            seed=options.seed,
            glaciers=options.glaciers,
            years=tuple(options.years),
            measured=options.measured,
        )
    except ValueError as error:
        raise InputError(
            "synth", expected="a new folder, and a region that can be made", found=f"{error}", remedy="change it"
        ) from error
    for name, path in paths.items():
        _say(f"{name:20s} {path}")
    return 0


def _summary(config: Judged) -> None:
    """Print the scores, which model beat which, and the paths of the product."""
    from glacmb_grid.pipeline import status

    states = {name: state for name, state, _ in status(config)}
    if states["evaluation"] == "missing":
        return
    if states["evaluation"] != "current":
        _say("scores are not current with this configuration: run without --stage to renew them")
        return
    scores = read_csv(config.root / "evaluation" / "scores.csv")
    _say(f"\nout of fold, m w.e.; {config.scores.level:.0%} block-bootstrap interval of the RMSE")
    for (scheme, protocol), table in scores[scores["slice"] == "all"].groupby(["scheme", "protocol"], sort=False):
        warning = " - rows of one glacier on both sides: not a fair test, only shown beside the others"
        _say(f"  {scheme}, {protocol}, n = {table['n'].iloc[0]}{warning if scheme == 'random' else ''}")
        heads = f"{'R2':>7s}{'MAE':>7s}{'bias':>8s}{'per glacier':>13s}{'REC AUC':>9s}{'sign AUC':>9s}"
        _say(f"    {'':18s}{'RMSE':>22s}{heads}")
        for model, lines in table.groupby("model", sort=False):
            one = lines.set_index("metric")
            value = one["value"]
            rmse = _with_interval(value["rmse"], one["lower"]["rmse"], one["upper"]["rmse"])
            rest = f"{value['r2']:7.2f}{value['mae']:7.3f}{value['bias']:+8.3f}{value['rmse_glacier_mean']:13.3f}"
            _say(f"    {model:18s}{rmse:>22s}{rest}{value['rec_auc']:9.2f}{value['sign_auc']:9.2f}")
    rmse_lines = scores[scores["metric"] == "rmse"]
    if rmse_lines["lower"].isna().any():
        few = rmse_lines.loc[rmse_lines["lower"].isna(), "scheme"].unique()
        _say(f"  no interval in {', '.join(few)}: fewer than 8 glaciers or years to resample")
    _verdicts(config)
    if not isinstance(config, RunConfig) or states["products"] != "current":
        return
    _truth(config, scores)
    product = config.root / "products" / "glacier_annual.nc"
    if product.exists():
        _say(f"\nproduct ({config.product.model}): {product}")
        _say(f"         {product.with_suffix('.zarr')}")


def _with_interval(value: float, lower: float, upper: float) -> str:
    return f"{value:.3f}" if math.isnan(lower) else f"{value:.3f} [{lower:.3f}, {upper:.3f}]"


def _verdicts(config: Judged) -> None:
    """Print which model beat which."""
    table = read_csv(config.root / "evaluation" / "comparisons.csv")
    if table.empty:
        return
    _say("\nwhat beat what (paired; only where the interval excludes 0)")
    for scheme, group in table[table["metric"] == "rmse"].groupby("scheme", sort=False):
        won = group[group["verdict"] == "better"]
        if (group["verdict"] == "not judged").all():
            text = "not judged: fewer than 8 glaciers or years to resample"
        else:
            pairs = [f"{m} beat {', '.join(b['baseline'])}" for m, b in won.groupby("model", sort=False)]
            text = "; ".join(pairs) or "nothing established"
        _say(f"  {scheme:16s} {text}")


def _truth(config: RunConfig, scores: pd.DataFrame) -> None:
    """Print scores against a known truth beside those of leave-one-glacier-out."""
    file = config.root / "products" / "truth_scores.csv"
    if config.product.truth is None or not file.exists():
        return
    truth = read_csv(file)
    _say("\nagainst the truth, RMSE in m w.e. / R2 / bias, beside what leave-one-glacier-out promised")
    _say(f"  {'model':18s}{'logo score':>24s}{'measured':>24s}{'unmeasured':>24s}")
    for model in dict.fromkeys(truth["model"]):
        row = [_error_r2_bias(scores[(scores["scheme"] == "logo") & (scores["model"] == model)])]
        row += [
            _error_r2_bias(truth[(truth["model"] == model) & (truth["slice"] == s)]) for s in ("measured", "unmeasured")
        ]
        _say(f"  {model:18s}" + "".join(f"{c:>24s}" for c in row))


def _error_r2_bias(lines: pd.DataFrame) -> str:
    values = lines.set_index("metric")["value"]
    return f"{values['rmse']:.3f} / {values['r2']:.2f} / {values['bias']:+.3f}" if len(values) else "-"


if __name__ == "__main__":
    sys.exit(main())
