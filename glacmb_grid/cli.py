"""The command line: thin."""

from __future__ import annotations

import argparse
import math
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.settings import RunConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; 0 where all went well, 1 for an error in the input, 130 when interrupted."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        return int(options.act(options))
    except (InputError, InputErrors) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last finished stage", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="glacmb-grid", description="Annual mass balance of every glacier of a region from a few measured ones."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, act, text in (
        ("run", _run, "bring a run up to date"),
        ("check", _check, "say in seconds what would fail, from headers and tables only"),
        ("status", _status, "which stages are done, current, stale"),
    ):
        command = commands.add_parser(name, help=text, description=text)
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
            command.add_argument("--overwrite", action="store_true", help="redo stages that are current")
    synth = commands.add_parser("synth", help="write a region with known truth as raw files")
    synth.add_argument("folder", type=Path)
    synth.add_argument("--seed", type=int, default=1)
    synth.add_argument("--glaciers", type=int, default=60)
    synth.add_argument("--measured", type=int, default=15)
    synth.add_argument("--years", type=int, nargs=2, default=(2000, 2024), metavar=("FIRST", "LAST"))
    synth.set_defaults(act=_synth)
    return parser


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader has gone (`| head`): the run goes on without it
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process


def _run(options: argparse.Namespace) -> int:
    from glacmb_grid.pipeline import run

    config = load_config(options.config, options.set)
    _say(f"run {config.name} in {config.root}")
    ran = run(config, stage=options.stage, overwrite=options.overwrite, say=_say)
    if not ran:
        _say("everything is current: nothing to do")
    _summary(config)
    return 0


def _check(options: argparse.Namespace) -> int:
    from glacmb_grid.checks import check
    from glacmb_grid.stores import RunStore

    config = load_config(options.config, options.set)
    if config.synthetic is not None and RunStore(config.root).mark("raw") is None:
        _say("the configuration is sound; its raw files are made by the run itself: nothing more to check yet")
        return 0
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

    lines = status(load_config(options.config, options.set))
    for name, state, why in lines:
        _say(f"{name:28s} {state:8s} {why}".rstrip())
    return 0


def _synth(options: argparse.Namespace) -> int:
    from glacmb_grid.synthetic import write_region

    paths = write_region(
        options.folder,
        seed=options.seed,
        glaciers=options.glaciers,
        years=tuple(options.years),
        measured=options.measured,
    )
    for name, path in paths.items():
        _say(f"{name:20s} {path}")
    return 0


def _summary(config: RunConfig) -> None:
    """Print the score table, what beat what, and where the product lies."""
    from glacmb_grid.pipeline import status

    states = {name: state for name, state, _ in status(config)}
    if {states["evaluation"], states["products"]} != {"current"}:
        _say("scores and product are not current with this configuration: run without --stage to renew them")
        return
    scores = pd.read_csv(config.root / "evaluation" / "scores.csv")
    _say(f"\nRMSE, m w.e. ({config.scores.level:.0%} block-bootstrap interval), out of fold")
    rmse = scores[scores["metric"] == "rmse"]
    cells = {(r["model"], r["scheme"]): _cell(r["value"], r["lower"], r["upper"]) for r in rmse.to_dict("records")}
    r2 = {(r["model"], r["scheme"]): f"{r['value']:5.2f}" for r in scores[scores["metric"] == "r2"].to_dict("records")}
    schemes = list(dict.fromkeys(rmse["scheme"]))
    _say(f"  {'model':18s}" + "".join(f"{s:>22s} {'R2':>5s}" for s in schemes))
    for model in dict.fromkeys(rmse["model"]):
        _say(f"  {model:18s}" + "".join(f"{cells[model, s]:>22s} {r2[model, s]:>5s}" for s in schemes))
    counts = rmse.groupby("scheme", sort=False)["n"].first()
    _say("  " + ", ".join(f"{s}: n = {n}" for s, n in counts.items()))
    if rmse["lower"].isna().any():
        few = rmse.loc[rmse["lower"].isna(), "scheme"].unique()
        _say(f"  no interval in {', '.join(few)}: fewer than 8 glaciers or years to resample")
    _verdicts(config)
    _truth(config, scores)
    product = config.root / "products" / "glacier_annual.nc"
    if product.exists():
        _say(f"\nproduct ({config.product.model}): {product}")
        _say(f"         {product.with_suffix('.zarr')}")


def _cell(value: float, lower: float, upper: float) -> str:
    return f"{value:.3f}" if math.isnan(lower) else f"{value:.3f} [{lower:.3f}, {upper:.3f}]"


def _verdicts(config: RunConfig) -> None:
    table = pd.read_csv(config.root / "evaluation" / "comparisons.csv")
    if table.empty:
        return
    _say("\nwhat beat what (paired; only where the interval excludes 0)")
    for scheme, group in table.groupby("scheme", sort=False):
        won = group[group["verdict"] == "better"]
        if (group["verdict"] == "not judged").all():
            text = "not judged: fewer than 8 glaciers or years to resample"
        else:
            pairs = [f"{m} beat {', '.join(b['baseline'])}" for m, b in won.groupby("model", sort=False)]
            text = "; ".join(pairs) or "nothing established"
        _say(f"  {scheme:9s} {text}")


def _truth(config: RunConfig, scores: pd.DataFrame) -> None:
    file = config.root / "products" / "truth_scores.csv"
    if config.product.truth is None or not file.exists():
        return
    truth = pd.read_csv(file)
    _say("\nagainst the truth, RMSE in m w.e. / R2 / bias, beside what leave-one-glacier-out promised")
    _say(f"  {'model':18s}{'logo score':>24s}{'measured':>24s}{'unmeasured':>24s}")
    for model in dict.fromkeys(truth["model"]):
        row = [_pair(scores[(scores["scheme"] == "logo") & (scores["model"] == model)])]
        row += [_pair(truth[(truth["model"] == model) & (truth["slice"] == s)]) for s in ("measured", "unmeasured")]
        _say(f"  {model:18s}" + "".join(f"{c:>24s}" for c in row))


def _pair(lines: pd.DataFrame) -> str:
    values = lines.set_index("metric")["value"]
    return f"{values['rmse']:.3f} / {values['r2']:.2f} / {values['bias']:+.3f}" if len(values) else "-"


if __name__ == "__main__":
    sys.exit(main())
