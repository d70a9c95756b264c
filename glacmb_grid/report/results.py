"""What a finished run holds, as far as it exists: the material of figures and of the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from glacmb_grid.disk import read_json
from glacmb_grid.failures import FILE, read_failures
from glacmb_grid.settings import Judged, RunConfig
from glacmb_grid.stores import artefacts as a
from glacmb_grid.stores.artefacts import Artefact
from glacmb_grid.stores.runs import RunStore

FIRST_SCHEME = "logo"
"""The scheme that is shown first where it was judged: glaciers that no fit had seen."""


@dataclass(frozen=True)
class Results:
    """Results of a run; what it did not make is None, or missing in the mapping.

    Attributes
    ----------
    name : str
    model : str
        The product's; without a product that with the lowest RMSE in the first scheme.
    level : float
        Of the intervals of scores.
    seed : int
    product, regional, geodetic : xr.Dataset, optional
        See `docs/product.md`, `docs/regional.md`; `geodetic` is from `compare_geodetic`.
    samples : xr.Dataset, optional
    evaluation, audit, study, geodetic_scores : mapping
        Tables by name, as files of a run are called.
    networks : mapping
        Parameters of fitted networks by model, in the first scheme.
    failures, unmatched, leaks, truth, holdout : DataFrame, optional
    locked : mapping, optional
        Of `folds/holdout.json`.
    intervals : str
        Method of the product's prediction intervals; empty without a product.
    inputs, versions : mapping
        Of the log of the run.
    stale : tuple of str
        Stages whose results were made with other settings or inputs.
    synthetic : bool
    outlines : int
        Number of glaciers in the inventory.
    names : mapping
        Names of glaciers that have one, by identifier.
    """

    name: str
    model: str = ""
    level: float = 0.9
    seed: int = 1
    product: xr.Dataset | None = None
    regional: xr.Dataset | None = None
    geodetic: xr.Dataset | None = None
    samples: xr.Dataset | None = None
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Any] = field(default_factory=dict)
    study: Mapping[str, Any] = field(default_factory=dict)
    geodetic_scores: pd.DataFrame | None = None
    series_scores: pd.DataFrame | None = None
    networks: Mapping[str, xr.Dataset] = field(default_factory=dict)
    failures: pd.DataFrame | None = None
    unmatched: pd.DataFrame | None = None
    leaks: pd.DataFrame | None = None
    truth: pd.DataFrame | None = None
    holdout: pd.DataFrame | None = None
    locked: Mapping[str, Any] | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    synthetic: bool = False
    outlines: int = 0
    names: Mapping[str, str] = field(default_factory=dict)
    intervals: str = ""

    @cached_property
    def schemes(self) -> list[str]:
        """Schemes that were judged, the first one first."""
        scores = self.evaluation.get("scores")
        found = [] if scores is None else list(dict.fromkeys(scores["scheme"].astype(str)))
        return sorted(found, key=lambda s: s != FIRST_SCHEME)

    @cached_property
    def choices(self) -> pd.DataFrame | None:
        """What the inner folds chose, of the models and schemes that were judged."""
        choices, scores = (self.evaluation.get(n) for n in ("choices", "scores"))
        if choices is None or scores is None:
            return None
        judged = pd.MultiIndex.from_frame(scores[["model", "scheme"]].astype(str))
        mine = pd.MultiIndex.from_frame(choices[["model", "scheme"]].astype(str))
        return pd.DataFrame(choices[mine.isin(judged)])

    @property
    def scheme(self) -> str:
        """The scheme that is shown first; empty without scores."""
        return self.schemes[0] if self.schemes else ""

    def score(self, metric: str, model: str = "") -> dict[str, float]:
        """`value`, `lower`, `upper` and `n` of a model (by default the product's) in the first scheme."""
        table = self.evaluation.get("scores", pd.DataFrame(columns=["scheme", "model", "slice", "metric"]))
        wanted = {"scheme": self.scheme, "model": model or self.model, "slice": "all", "metric": metric}
        for column, value in wanted.items():
            table = table[table[column] == value]
        return {} if table.empty else {n: float(table[n].iloc[0]) for n in ("value", "lower", "upper", "n")}


def gather(config: Judged, states: Mapping[str, str]) -> Results:
    """Read what a run has made.

    Parameters
    ----------
    config : RunConfig or TableConfig
    states : mapping
        State of every stage by name: `current`, `stale`, `missing`, `blocked`.

    Returns
    -------
    Results
    """
    store = RunStore(config.root)
    made = {n for n in states if store.mark(n) is not None}

    def one(artefact: Artefact) -> Any:
        return a.read(store, artefact) if artefact.stage in made else None

    def several(group: Mapping[str, Artefact]) -> dict[str, Any]:
        return {n: one(x) for n, x in group.items() if x.stage in made}

    evaluation = several(a.EVALUATION)
    product = config.product if isinstance(config, RunConfig) else None
    outlines = one(a.OUTLINES)
    rates = config.observations.geodetic if isinstance(config, RunConfig) else None
    log = _log(config.root)
    geodetic = several(a.GEODETIC) if rates else {}
    return Results(
        name=config.name,
        model=product.model if product else _best(evaluation.get("scores")),
        level=config.scores.level,
        seed=config.seed,
        product=one(a.PRODUCT),
        regional=one(a.REGIONAL),
        geodetic=geodetic.get("compared"),
        geodetic_scores=geodetic.get("scores"),
        series_scores=one(a.COMPARED_SUMS["scores"]) if product and product.regions else None,
        samples=one(a.SAMPLES),
        evaluation=evaluation,
        audit=several(a.AUDIT),
        study=several(a.STUDY),
        networks=_networks(config, store, made),
        failures=_failures(config),
        unmatched=one(a.LEFT_OUT) if isinstance(config, RunConfig) else None,
        leaks=one(a.FOLD_FINDINGS),
        truth=one(a.TRUTH_SCORES) if product and product.truth else None,
        holdout=_holdout(config.root),
        locked=one(a.LOCKED),
        inputs={what: text for entry in log for what, text in entry.get("inputs", {}).items()},
        versions=log[-1].get("versions", {}) if log else {},
        stale=tuple(n for n in states if states[n] == "stale" and n in made),
        synthetic=isinstance(config, RunConfig) and config.synthetic is not None,
        outlines=0 if outlines is None else len(outlines),
        names=_names(outlines, one(a.SAMPLES)),
        intervals=product.intervals.method if product else "",
    )


def _best(scores: pd.DataFrame | None) -> str:
    """The model with the lowest RMSE in the first scheme."""
    if scores is None or scores.empty:
        return ""
    table = scores[(scores["metric"] == "rmse") & (scores["slice"] == "all")]
    schemes = table["scheme"]
    table = table[schemes == (FIRST_SCHEME if FIRST_SCHEME in set(schemes) else schemes.iloc[0])]
    table = table[table["value"].notna()].sort_values("value", kind="stable")
    return "" if table.empty else str(table["model"].iloc[0])


def _networks(config: Judged, store: RunStore, made: set[str]) -> dict[str, xr.Dataset]:
    """Parameters of models that kept their losses."""
    schemes = list(config.validation.schemes)
    scheme = FIRST_SCHEME if FIRST_SCHEME in schemes else schemes[0]
    out = {}
    for stage in sorted(n for n in made if n.startswith("learning/")):
        artefact = a.fit_of(stage.removeprefix("learning/"), scheme)
        found = a.read(store, artefact) if (store.folder(stage) / artefact.file).exists() else None
        if found is not None and "loss" in found:
            out[stage.removeprefix("learning/")] = found
    return out


def _failures(config: Judged) -> pd.DataFrame | None:
    path = config.root / FILE
    return read_failures([path]) if isinstance(config, RunConfig) and path.is_file() else None


def _holdout(root: Path) -> pd.DataFrame | None:
    path = root / a.HOLDOUT / a.HOLDOUT_TABLES["scores"].file
    return pd.read_csv(path) if path.is_file() else None


def _log(root: Path) -> list[dict[str, Any]]:
    found = read_json(root / "run.json", lambda c: isinstance(c["runs"], list)) or {"runs": []}
    return list(found["runs"])


def _names(outlines: Any, samples: xr.Dataset | None) -> dict[str, str]:
    """Names of glaciers, of the inventory before those of the observations; empty ones are left out."""
    out: dict[str, str] = {}
    if samples is not None and "name" in samples.coords:
        out |= dict(zip(samples["glacier"].values.astype(str), samples["name"].values.astype(str), strict=True))
    if outlines is not None and "name" in outlines:
        given = outlines["name"].dropna().astype(str)
        out |= dict(zip(given.index.astype(str), given, strict=True))
    return {g: n for g, n in out.items() if n.strip() and n not in ("nan", "None") and n != g}
