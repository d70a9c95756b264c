"""Locked test glaciers: a record made before any fit, a check that they are unchanged, a log of every scoring."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from glacmb_grid.disk import read_json, write_json
from glacmb_grid.errors import InputError, listing
from glacmb_grid.folds.holdout import WHERE
from glacmb_grid.folds.rows import Bools, groups_of
from glacmb_grid.validation.leaks import row_hashes


def holdout_record(samples: xr.Dataset, mask: Bools, config_digest: str) -> dict[str, Any]:
    """Record of the locked rows, to be written before any fit.

    Parameters
    ----------
    samples : xr.Dataset
    mask : bool array, (sample)
        From `choose_holdout`.
    config_digest : str

    Returns
    -------
    dict
        `glaciers`, `groups`, `samples` (row ids), `rows` (their number), `ids_sha256`, `rows_sha256` (of ids with
        year, balance and predictors), `configuration`. It contains no balances.
    """
    ids, hashes = samples["sample"].values[mask].astype(str), row_hashes(samples)[mask]
    order = np.argsort(ids, kind="stable")
    return {
        "glaciers": np.unique(samples["glacier"].values[mask].astype(str)).tolist(),
        "groups": np.unique(groups_of(samples)[mask]).tolist(),
        "samples": ids[order].tolist(),
        "rows": int(mask.sum()),
        "ids_sha256": _digest(ids[order].tolist()),
        "rows_sha256": _digest([f"{i} {h}" for i, h in sorted(zip(ids.tolist(), hashes.tolist(), strict=True))]),
        "configuration": config_digest,
    }


def _digest(texts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def verify_holdout(record: Mapping[str, Any], samples: xr.Dataset, mask: Bools) -> None:
    """Check that the locked rows are those of the record.

    Raises
    ------
    InputError
        If rows were added, removed or changed since they were locked.
    """
    now = holdout_record(samples, mask, "")
    if now["ids_sha256"] == record["ids_sha256"] and now["rows_sha256"] == record["rows_sha256"]:
        return
    before, after = set(record["samples"]), set(now["samples"])
    changes = {"gone": before - after, "new": after - before}
    counts = [f"{len(rows)} {what} ({listing(sorted(rows), 3)})" for what, rows in changes.items() if rows]
    raise InputError(
        WHERE,
        expected=f"the {record['rows']} rows that were locked before fitting",
        found="; ".join(counts) or "the same rows with other balances or predictors",
        remedy="restore the input, or lock again in a new run folder and report that the test glaciers changed",
    )


def log_look(path: Path, record: Mapping[str, Any], config_digest: str) -> dict[str, Any]:
    """Log that the test glaciers are being scored.

    Parameters
    ----------
    path : Path
        JSON list, created if missing; to be written before any score is shown.
    record : mapping
        From `holdout_record`.
    config_digest : str
        Of the configuration whose models are scored.

    Returns
    -------
    dict
        The entry: `look` (its number, counting entries with any of these glaciers), `time` (UTC), `configuration`,
        `glaciers`, `ids_sha256`, `rows_sha256` and `message`, which states that number.

    Raises
    ------
    InputError
        If the log cannot be read.
    """
    log = read_looks(path)
    glaciers = set(record["glaciers"])
    earlier = [e for e in log if glaciers & set(e["glaciers"])]
    others = sum(e["configuration"] != config_digest for e in earlier)
    message = "first look at these test glaciers"
    if earlier:
        message = (
            f"look {len(earlier) + 1} at these test glaciers (first on {earlier[0]['time']}), {others} of the earlier "
            "with another configuration: they are no longer an independent test of anything changed since"
        )
    entry = {
        "look": len(earlier) + 1,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "configuration": config_digest,
        "glaciers": sorted(glaciers),
        "ids_sha256": record["ids_sha256"],
        "rows_sha256": record["rows_sha256"],
        "message": message,
    }
    write_json(path, [*log, entry])
    return entry


def read_looks(path: Path, *, some: bool = False) -> list[dict[str, Any]]:
    """The log of looks at the test glaciers, oldest first.

    Parameters
    ----------
    path : Path
    some : bool
        Whether scores exist, so that the log must have an entry.

    Raises
    ------
    InputError
        If the log cannot be read.
    """
    log: list[dict[str, Any]] | None = read_json(path, _is_log)
    if log is None and (some or path.exists() or path.is_symlink()):
        raise InputError(
            str(path),
            expected="the log of looks at the test glaciers, a JSON list",
            found="something else" if path.exists() else "nothing, although scores of test glaciers exist",
            remedy="restore it: without it a second look would pass for the first",
        )
    return log or []


def _is_log(content: Any) -> bool:
    keys = ("configuration", "time")
    texts = all(isinstance(t, str) for e in content for t in [*(e[k] for k in keys), *e["glaciers"]])
    return isinstance(content, list) and len(content) > 0 and texts
