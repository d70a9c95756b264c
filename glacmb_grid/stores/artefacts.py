"""What stages write: every file of a run's folder by name, and how each format is read and written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from glacmb_grid import schemas
from glacmb_grid.disk import read_csv, write_json
from glacmb_grid.failures import FILE as FAILED
from glacmb_grid.failures import read_failures, write_failures
from glacmb_grid.folds.masks import Folds
from glacmb_grid.schemas import Schema
from glacmb_grid.stores import formats
from glacmb_grid.stores.formats import (
    read_outlines_store,
    read_zarr,
    write_product,
    write_table,
    write_zarr,
)
from glacmb_grid.stores.runs import RunStore

LOCK_RECORD = "holdout-locked.json"
"""What was locked away from every fit, by every state of the run's folder."""
LOOKS = "holdout-looks.json"
"""Log of every scoring of the locked glaciers."""
HOLDOUT = "holdout"
"""Where the scores of locked glaciers go; no stage of a run."""
REPORT, PAGE = "report", "index.html"
"""Where the page about a run goes, and its name; no stage of a run, written of what stages have made."""
FIGURES = "figures"
"""Where figures of a run go; no stage of a run."""


@dataclass(frozen=True)
class Artefact:
    """A result of one stage.

    Attributes
    ----------
    stage : str
        The stage that writes it: its folder in the run's folder.
    file : str
        Name in that folder.
    kind : str
        Key of `FORMATS`: what it is in memory and on disk.
    lazy : bool
        Whether its arrays are read only when they are used.
    optional : bool
        Whether a stage may leave it out; it is then read as None.
    along : str
        Dimension along which a series of Datasets is written one after the other.
    schema : Schema, optional
        What a Dataset must hold; checked before it is written.
    """

    stage: str
    file: str
    kind: str = "table"
    lazy: bool = False
    optional: bool = False
    along: str = ""
    schema: Schema | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Format:
    """How a kind of artefact is read (from a path, lazily or not) and written (a value, the artefact, a path)."""

    read: Callable[[Path, bool], Any]
    write: Callable[[Any, Artefact, Path], None]


def _read_table(path: Path, lazy: bool) -> pd.DataFrame:
    del lazy
    return pd.read_parquet(path) if path.suffix == ".parquet" else read_csv(path)


def _write_dataset(value: xr.Dataset | Iterable[xr.Dataset], artefact: Artefact, path: Path) -> None:
    """Write a Dataset, or a series of Datasets that are too large together."""
    for number, part in enumerate([value] if isinstance(value, xr.Dataset) else value):
        if artefact.schema is not None:
            schemas.check(part, artefact.schema, name=f"{artefact.stage}/{artefact.file}")
        write_zarr(part, path, append=artefact.along if number else None)


def _read_text(path: Path, lazy: bool) -> str:
    del lazy
    return path.read_text(encoding="utf-8")


def _write_text(value: str, artefact: Artefact, path: Path) -> None:
    del artefact
    path.write_text(value, encoding="utf-8")


FORMATS: dict[str, Format] = {
    "dataset": Format(lambda p, lazy: read_zarr(p, {} if lazy else None), _write_dataset),
    "folds": Format(lambda p, lazy: Folds.from_dataset(read_zarr(p)), lambda v, a, p: write_zarr(v.to_dataset(), p)),
    "outlines": Format(lambda p, lazy: read_outlines_store(p), lambda v, a, p: v.to_parquet(p)),
    "table": Format(_read_table, lambda v, a, p: write_table(v, p)),
    "json": Format(lambda p, lazy: json.loads(p.read_text(encoding="utf-8")), lambda v, a, p: write_json(p, v)),
    "text": Format(_read_text, _write_text),
    "failures": Format(lambda p, lazy: read_failures([p]), lambda v, a, p: write_failures(p.parent, a.stage, v)),
    "product": Format(
        lambda p, lazy: read_zarr(p, {} if lazy else None), lambda v, a, p: write_product(v, p.parent, name=p.stem)
    ),
    "files": Format(lambda p, lazy: p, lambda v, a, p: None),  # written by what makes them
}


def place(store: RunStore, artefact: Artefact) -> Path:
    """Path of an artefact of a stage that is done.

    Raises
    ------
    ValueError
        If the stage is not done: what lies there must not be read.
    """
    if store.mark(artefact.stage) is None:
        raise ValueError(f"stage {artefact.stage} is not done: {store.folder(artefact.stage)} must not be read")
    return store.folder(artefact.stage) / artefact.file


def read(store: RunStore, artefact: Artefact) -> Any:
    """An artefact of a stage that is done; None if it was left out."""
    path = place(store, artefact)
    if artefact.optional and not path.exists():
        return None
    return FORMATS[artefact.kind].read(path, artefact.lazy)


def write(value: Any, artefact: Artefact, folder: Path) -> None:
    """Write an artefact into the folder of its stage."""
    FORMATS[artefact.kind].write(value, artefact, folder / artefact.file)


def failures(stage: str) -> Artefact:
    """Glaciers that a stage left out, with the reasons."""
    return Artefact(stage, FAILED, "failures")


RAW = Artefact("raw", "", "files")
OUTLINES = Artefact("glaciers", "glaciers.parquet", "outlines")
CLIMATE_FACTS = Artefact("cubes", "climate.json", "json")
LINKED = Artefact("observations", "linked.parquet")
UNMATCHED = Artefact("observations", "unmatched.parquet")
LINKED_RATES = Artefact("geodetic/links", "linked.parquet")
UNMATCHED_RATES = Artefact("geodetic/links", "unmatched.parquet")
PLANNED_FOLDS = Artefact("plan", "folds.csv")
WEIGHTS = Artefact("weights", "climate.zarr", "dataset")
TERRAIN = Artefact("terrain", "terrain.zarr", "dataset", schema=schemas.TERRAIN)
SAMPLED = Artefact("sampled", "climate.zarr", "dataset", lazy=True, schema=schemas.SAMPLED)
DAILY_ALBEDO = Artefact("albedo", "albedo_daily.zarr", "dataset", lazy=True, schema=schemas.DAILY_ALBEDO)
ALBEDO = Artefact("albedo", "albedo.zarr", "dataset", schema=schemas.ALBEDO)
PREDICTORS = Artefact("predictors", "predictors.zarr", "dataset", lazy=True, along="glacier", schema=schemas.PREDICTORS)
SAMPLES = Artefact("samples", "samples.zarr", "dataset", schema=schemas.SAMPLES)
SAMPLES_TABLE = Artefact("samples", "samples.parquet")
LEFT_OUT = Artefact("samples", "unmatched.csv")
FOLD_FINDINGS = Artefact("folds", "leaks.csv")
LOCKED = Artefact("folds", "holdout.json", "json", optional=True)
EXPECTED = Artefact("uncertainty", "expected.zarr", "dataset", lazy=True, schema=schemas.EXPECTED)
CORRELATION = Artefact("uncertainty", "correlation.json", "json")
IMPORTANCE = Artefact("uncertainty", "importance.csv")
PRODUCT = Artefact("products", formats.PRODUCT_STORE, "product", lazy=True)
PRODUCT_FILE = Artefact("products", formats.PRODUCT_FILE, "files")
REGIONAL = Artefact("regional", "regional_annual.zarr", "product", lazy=True)
TRUTH_SCORES = Artefact("products", "truth_scores.csv", optional=True)

EVALUATION = {
    n: Artefact("evaluation", f"{n}.csv")
    for n in ("predictions", "scores", "comparisons", "slices", "distance", "choices", "coverage")
} | {"search": Artefact("evaluation", "search.json", "json")}
CONSTRAINTS = Artefact("geodetic/constraints", "constraints.zarr", "dataset", schema=schemas.CONSTRAINTS)
NOT_LEARNT = Artefact("geodetic/constraints", "left_out.csv")
GEODETIC = {n: Artefact("geodetic/comparison", f"{n}.csv") for n in ("rates", "scores", "left_out")} | {
    "compared": Artefact("geodetic/comparison", "rates.zarr", "dataset")
}
COMPARED_SUMS = {n: Artefact("series", f"{n}.csv") for n in ("rows", "scores")}
AUDIT = {n: Artefact("audit", f"{n}.csv") for n in ("rows", "gaps", "permuted", "findings", "probes")} | {
    "verdict": Artefact("audit", "verdict.json", "json"),
    "text": Artefact("audit", "audit.txt", "text"),
}
STUDY = {n: Artefact("study", f"{n}.csv") for n in ("importance", "ablations", "learning_curve")} | {
    "text": Artefact("study", "study.txt", "text")
}
HOLDOUT_TABLES = {n: Artefact(HOLDOUT, f"{n}.csv") for n in ("predictions", "scores")}


def folds_of(scheme: str) -> Artefact:
    """The folds of a scheme."""
    return Artefact("folds", f"{scheme}.zarr", "folds")


def gridded_of(resolution: float) -> Artefact:
    """The product on a grid of a resolution in degrees."""
    return Artefact("gridded", f"gridded_annual_{resolution:g}.zarr", "product", lazy=True)


def fit_of(model: str, scheme: str) -> Artefact:
    """Parameters of a model, fitted in the folds of a scheme; left out where the samples lack what it needs."""
    return Artefact(
        f"learning/{model}", f"{scheme}.zarr", "dataset", lazy=True, optional=True, schema=schemas.PARAMETERS
    )


def predictions_of(model: str) -> Artefact:
    """Out-of-fold predictions of a model."""
    return Artefact(f"learning/{model}", "predictions.parquet")


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The leaves of nested mappings, each with the keys that lead to it."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, tree
