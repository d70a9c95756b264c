#!/usr/bin/env python3
"""Time and memory of the main job: the demonstration and, where GLACMB_DATA is set, the Ötztal run.

Each is run in a fresh folder as a process of its own, then again (nothing to do), then checked. Prints a table; with
--json also a list of {name, value, unit, goal, meets}. Medians over --repeat runs.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOALS = {"demo": 180.0, "oetztal": 120.0}


def timed(command: list[str]) -> float:
    """Seconds that a command takes."""
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def measure(name: str, repeat: int) -> list[tuple[str, float, str, float | None]]:
    """Figures of one configuration."""
    first, second, check, memory = [], [], [], []
    stages: dict[str, list[float]] = {}
    for _ in range(repeat):
        with tempfile.TemporaryDirectory() as folder:
            rest = [str(ROOT / "configs" / f"{name}.yaml"), "--set", f"store.root={folder}/run"]
            tool = [sys.executable, "-m", "glacmb_grid"]
            first.append(timed([*tool, "run", *rest]))
            second.append(timed([*tool, "run", *rest]))
            check.append(timed([*tool, "check", *rest]))
            log = json.loads((Path(folder) / "run" / "run.json").read_text(encoding="utf-8"))["runs"][0]
            memory.append(log["peak_memory_gb"])
            for stage, seconds in log["stages"].items():
                stages.setdefault(stage, []).append(seconds)
    middle = statistics.median
    lines: list[tuple[str, float, str, float | None]] = [
        (f"{name}: first run", middle(first), "s", GOALS[name]),
        (f"{name}: second run, nothing to do", middle(second), "s", 10.0),
        (f"{name}: check", middle(check), "s", 10.0),
        (f"{name}: peak memory", middle(memory), "GB", None),
    ]
    return [*lines, *((f"{name}: stage {s}", middle(v), "s", None) for s, v in stages.items())]


def main() -> None:
    """Measure, print, and write the JSON file where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one run of each")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    names = ["demo"] + (["oetztal"] if os.environ.get("GLACMB_DATA") else [])
    lines = [line for name in names for line in measure(name, 1 if options.quick else options.repeat)]
    for name, value, unit, goal in lines:
        print(f"{name:42s} {value:8.2f} {unit:3s}" + ("" if goal is None else f" (goal: at most {goal:g})"))
    if options.json:
        keys = ("name", "value", "unit", "goal", "meets")
        rows = [
            dict(zip(keys, (*line, None if line[3] is None else line[1] <= line[3]), strict=True)) for line in lines
        ]
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
