"""The entry of a run in `run.json`."""

from __future__ import annotations

import platform
import re
import resource
import sys
import time
from pathlib import Path
from typing import Any

from glacmb_grid.settings import Judged, digest
from glacmb_grid.stores.versions import versions

Digests = dict[str, dict[str, str]]  # of input files, by kind of input and file name

_FEW_FILES = 4
_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of one count of ru_maxrss


_STATUS = Path("/proc/self/status")


def _own_peak() -> int:
    """Largest resident set of this process in bytes.

    Linux counts the process that started this one into `ru_maxrss`: a run begun by a large notebook would seem as
    large as the notebook. What the kernel keeps of this process alone is taken where there is such a record.
    """
    if _STATUS.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return 1024 * int(found[1])
    return _UNIT * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def peak_memory() -> float:
    """Largest resident set of this process and of its largest child, GB."""
    return round(max(_own_peak(), _UNIT * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1e9, 3)


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
