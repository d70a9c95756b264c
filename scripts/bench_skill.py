#!/usr/bin/env python3
"""What each model is worth: RMSE of models and schemes on the real tables and the demonstration, in nested folds.

Every case is judged in a folder of its own by `glacmb-grid`, then printed as a table (Markdown), with the paired
differences from one model and their intervals. `truth` is the error of the demonstration's product at glaciers that
nobody measured. Cases that read real data need GLACMB_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
CASES = {"hma": "hma_table", "china": "china_table", "oetztal": "oetztal", "demo": "demo"}
SCHEMES = ("logo", "loyo", "both_out")
MODELS = (
    "mean",
    "ridge",
    "extra_trees",
    "gaussian_process",
    "temperature_index",
    "ff_fcnn",
)


def judge(case: str, models: list[str], schemes: list[str], folder: Path, more: list[str]) -> Path:
    """Run a case; the folder of its results."""
    root = folder / case
    config = ROOT / "configs" / f"{CASES[case]}.yaml"
    changes = {"store.root": root, "validation.models": f"[{', '.join(models)}]", "report": "false"}
    changes["validation.schemes"] = f"[{', '.join(schemes)}]"
    sets = [text for name, value in changes.items() for text in ("--set", f"{name}={value}")]
    command = "run" if case == "demo" else "evaluate"
    tool = [sys.executable, "-m", "glacmb_grid", command, str(config), *sets]
    subprocess.run([*tool, *(t for m in more for t in ("--set", m))], check=True, stdout=subprocess.DEVNULL)
    return root


def table(root: Path, against: str) -> list[str]:
    """Lines of Markdown: RMSE with its interval, R2, and the paired difference from the model `against`."""
    scores = pd.read_csv(root / "evaluation" / "scores.csv")
    pairs = pd.read_csv(root / "evaluation" / "comparisons.csv")
    scores, pairs = (
        scores[scores["slice"] == "all"],
        pairs[(pairs["metric"] == "rmse") & (pairs["baseline"] == against)],
    )
    schemes, models = (list(dict.fromkeys(scores[n])) for n in ("scheme", "model"))
    lines = [f"| | {' | '.join(schemes)} |", "|---" * (len(schemes) + 1) + "|"]
    for model in models:
        cells = []
        for scheme in schemes:
            one = scores[(scores["scheme"] == scheme) & (scores["model"] == model)].set_index("metric")
            if one.empty:
                cells.append("")
                continue
            text = f"{_interval(one.loc['rmse'], 'value', '.3f')} / {one['value']['r2']:.2f}"
            pair = pairs[(pairs["scheme"] == scheme) & (pairs["model"] == model)]
            cells.append(text if pair.empty else f"{text}; {_interval(pair.iloc[0], 'difference', '+.3f')}")
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return lines


def _interval(line: Any, value: str, form: str) -> str:
    text = format(line[value], form)
    if pd.isna(line["lower"]):
        return text
    return f"{text} [{format(line['lower'], form)}, {format(line['upper'], form)}]"


def truth(root: Path) -> list[str]:
    """Lines of Markdown: RMSE, R2 and bias at measured and unmeasured glaciers, where the truth is known."""
    found = next(iter(sorted(root.rglob("truth_scores.csv"))), None)
    if found is None:
        return []
    scores = pd.read_csv(found)
    lines = ["", "| against the truth | measured | unmeasured |", "|---|---|---|"]
    for model in dict.fromkeys(scores["model"]):
        cells = []
        for part in ("measured", "unmeasured"):
            one = scores[(scores["model"] == model) & (scores["slice"] == part)].set_index("metric")["value"]
            cells.append(f"{one['rmse']:.3f} / {one['r2']:.2f} / {one['bias']:+.3f}")
        lines.append(f"| `{model}` | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Judge, print, and write the JSON file where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=list(CASES))
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--schemes", nargs="+", default=list(SCHEMES))
    parser.add_argument("--against", default="ff_fcnn", help="model that differences are taken from")
    parser.add_argument("--set", action="append", default=[], help="further settings of every case")
    parser.add_argument("--folder", type=Path, help="keep the results here")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="the demonstration, three quick models")
    options = parser.parse_args()
    real = os.environ.get("GLACMB_DATA")
    cases = ["demo"] if options.quick else options.cases or [c for c in CASES if real or c == "demo"]
    models = ["mean", "ridge", "ff_fcnn"] if options.quick else options.models
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        for case in cases:
            begun = time.perf_counter()
            root = judge(case, models, options.schemes, options.folder or Path(scratch), options.set)
            against = options.against if options.against in models else models[-1]
            print(f"\n{case}: RMSE, m w.e. [interval] / R2; difference from {against} [interval]\n", flush=True)
            print("\n".join([*table(root, against), *truth(root)]), flush=True)
            print(f"\n{time.perf_counter() - begun:.0f} s", flush=True)
            scores = pd.read_csv(root / "evaluation" / "scores.csv")
            scores = scores[(scores["slice"] == "all") & (scores["metric"] == "rmse")]
            rows += [
                {"name": f"{case} {s['scheme']} {s['model']}", "value": s["value"], "unit": "m w.e."}
                for s in scores.to_dict("records")
            ]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
