"""The entry of a run in `run.json`."""

from __future__ import annotations

import platform
import resource
import sys
import time
from typing import Any

from glacmb_grid.settings import Judged, digest
from glacmb_grid.stores.versions import versions

Digests = dict[str, dict[str, str]]  # of input files, by kind of input and file name

_FEW_FILES = 4


def peak_memory() -> float:
    """Largest resident set of this process and of its largest child, GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    largest = [resource.getrusage(w).ru_maxrss for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(max(largest) * unit / 1e9, 3)


def describe_inputs(inputs: Digests) -> dict[str, str]:
    """Names and digests of the raw inputs by kind; for many files of a kind, their number and one digest."""
    return {
        what: ", ".join(f"{n} {d}" for n, d in sorted(files.items()))
        if len(files) <= _FEW_FILES
        else f"{len(files)} files, {min(files)} to {max(files)}, {digest(files)}"
        for what, files in inputs.items()
    }


def log_entry(
    config: Judged, started: float, ran: dict[str, float], workers: str, outcome: str, notes: list[str], inputs: Digests
) -> dict[str, Any]:
    """The entry of this run in `run.json`."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "outcome": outcome,
        "seconds": round(time.time() - started, 2),
        "stages": {n: round(s, 2) for n, s in ran.items()},
        "peak_memory_gb": peak_memory(),
        "workers": workers,
        "seed": config.seed,
        "notes": notes,
        "inputs": describe_inputs(inputs),
        "versions": {"python": platform.python_version(), **versions()},
        "configuration": config.as_written(config),
    }
