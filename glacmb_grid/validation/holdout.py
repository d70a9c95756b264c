"""Locked test glaciers: chosen and hashed before anything is fitted, scored in a separate, logged act."""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.disk import read_json, write_json
from glacmb_grid.errors import InputError, listing
from glacmb_grid.validation.folds import groups_of
from glacmb_grid.validation.leaks import row_hashes

Bools = npt.NDArray[np.bool_]

_WHERE = "validation.holdout"


def choose_holdout(samples: xr.Dataset, holdout: Sequence[str] | float, seed: int = 1) -> Bools:
    """Rows of the test glaciers, (sample), by names only: no balance or predictor is looked at.

    Parameters
    ----------
    samples : xr.Dataset
        With `glacier` and, where there is one, `group` over `sample`.
    holdout : sequence of str, or float
        Ids of glaciers or groups; or the share of groups (between 0 and 1) to draw, at least one. A glacier takes its
        whole group with it, and a group its whole glaciers.
    seed : int
        Of the draw.

    Returns
    -------
    bool array, (sample)

    Raises
    ------
    InputError
        An unknown id, a share that is none, or nothing left to learn from.
    """
    glacier, group = samples["glacier"].values.astype(str), groups_of(samples)
    groups = np.unique(group)
    if isinstance(holdout, int | float):
        if not 0 < holdout < 1:
            raise InputError(
                _WHERE, expected="a share between 0 and 1", found=str(holdout), remedy="0.2 locks a fifth of the groups"
            )
        count = max(1, round(holdout * len(groups)))
        chosen = np.random.default_rng([seed, len(groups)]).permutation(groups)[:count]
        mask = np.isin(group, chosen)
    else:
        wanted = [str(h) for h in holdout]
        known = {*groups.tolist(), *glacier.tolist()}
        unknown = [w for w in wanted if w not in known]
        if unknown or not wanted:
            near = [n for w in unknown for n in difflib.get_close_matches(w, sorted(known), 1)]
            raise InputError(
                _WHERE,
                expected="ids of glaciers (or groups) of the samples",
                found=listing(unknown) or "an empty list",
                remedy=f"did you mean {listing(near)}?" if near else f"known are {listing(sorted(known), 5)}",
            )
        mask = np.isin(group, wanted) | np.isin(glacier, wanted)
    while (more := np.isin(group, group[mask]) | np.isin(glacier, glacier[mask])).sum() > mask.sum():
        mask = more
    if mask.all():
        raise InputError(
            _WHERE,
            expected="glaciers left to learn from",
            found=f"all {len(np.unique(glacier))} locked: a glacier takes its whole group with it",
            remedy="lock fewer",
        )
    return np.asarray(mask)


def holdout_record(samples: xr.Dataset, mask: Bools, config_digest: str) -> dict[str, Any]:
    """What is locked, to be written before anything is fitted.

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
        year, balance and predictors), `configuration`. The balances themselves are not in it.
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
    """Check that the locked rows are still those of the record.

    Raises
    ------
    InputError
        Where rows came, went or changed since they were locked.
    """
    now = holdout_record(samples, mask, "")
    if now["ids_sha256"] == record["ids_sha256"] and now["rows_sha256"] == record["rows_sha256"]:
        return
    before, after = set(record["samples"]), set(now["samples"])
    changes = {"gone": before - after, "new": after - before}
    told = [f"{len(rows)} {what} ({listing(sorted(rows), 3)})" for what, rows in changes.items() if rows]
    raise InputError(
        _WHERE,
        expected=f"the {record['rows']} rows that were locked before fitting",
        found="; ".join(told) or "the same rows with other balances or predictors",
        remedy="restore the input, or lock anew in another run folder and say that the test glaciers changed",
    )


def log_look(path: Path, record: Mapping[str, Any], config_digest: str) -> dict[str, Any]:
    """Note in a log that the test glaciers are being scored.

    Parameters
    ----------
    path : Path
        JSON list, made where there is none. Written before the scores are shown.
    record : mapping
        From `holdout_record`.
    config_digest : str
        Of the configuration that is scored.

    Returns
    -------
    dict
        The entry: `look` (1 for the first at any of these glaciers), `time` (UTC), `configuration`, `glaciers`,
        `ids_sha256`, `rows_sha256` and `message`, which says of every further look that it is one.

    Raises
    ------
    InputError
        Where the log cannot be read: it must not be lost.
    """
    log = read_looks(path)
    glaciers = set(record["glaciers"])
    earlier = [e for e in log if glaciers & set(e["glaciers"])]
    others = sum(e["configuration"] != config_digest for e in earlier)
    message = "first look at these test glaciers"
    if earlier:
        message = (
            f"look {len(earlier) + 1} at these test glaciers (first on {earlier[0]['time']}), {others} of the earlier "
            "with another configuration: they no longer are an independent test of anything changed since"
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
        Whether there was a look, so that the log must hold one.

    Raises
    ------
    InputError
        Where the log cannot be read: it must not be lost.
    """
    log: list[dict[str, Any]] | None = read_json(path, _is_log)
    if log is None and (some or path.exists() or path.is_symlink()):
        raise InputError(
            str(path),
            expected="the log of looks at the test glaciers, a JSON list",
            found="something else" if path.exists() else "nothing, though scores of test glaciers lie beside it",
            remedy="restore it: without it a second look would pass for the first",
        )
    return log or []


def _is_log(content: Any) -> bool:
    keys = ("configuration", "time")
    texts = all(isinstance(t, str) for e in content for t in [*(e[k] for k in keys), *e["glaciers"]])
    return isinstance(content, list) and len(content) > 0 and texts
