"""What each file of a run's folder is: the text of its `README.txt`, and the table of the package's README."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

from glacmb_grid.disk import INTERNAL
from glacmb_grid.failures import FILE as FAILED

README = "README.txt"

CONTENTS: tuple[tuple[str, str], ...] = (
    ("products/glacier_annual.nc, .zarr", "the product, glacier x year, see below"),
    ("products/truth_scores.csv", "with product: {truth: ...}: models beside the truth of a synthetic region"),
    (
        "regional/regional_annual.nc, .zarr",
        "region x year: m w.e., kg m-2, kg and Gt, cumulative, with correlated errors",
    ),
    (
        "series/",
        "with product: {regions: {compare: ...}}: the sums beside series of others, such as GlaMBIE's",
    ),
    (
        "gridded/gridded_annual_<degrees>.nc, .zarr",
        "with product: {grids: ...}: the same in cells of a grid",
    ),
    ("report/index.html", "one page about the run, which needs no network; made again by report"),
    ("figures/", "the figures of the run as PNG and PDF, made by figures"),
    (
        "uncertainty/",
        "expected errors, dissimilarity and intervals of every glacier-year; how errors are correlated",
    ),
    ("evaluation/scores.csv", "scheme,protocol,model,slice,metric,value,lower,upper,n"),
    ("evaluation/predictions.csv", "every observation beside the prediction by a fit that had not seen it"),
    (
        "evaluation/comparisons.csv",
        "paired differences between models; better only where the interval excludes 0",
    ),
    (
        "evaluation/slices.csv",
        "scores of positive and extreme years, decades, years, glaciers, size classes, regions, time systems, with n",
    ),
    (
        "evaluation/coverage.csv",
        "how often intervals hold the observations of glaciers that they were not calibrated on",
    ),
    ("evaluation/distance.csv", "error against the distance to the nearest glacier that was learnt from"),
    (
        "evaluation/choices.csv, search.json",
        "what the inner folds chose for every outer fold; the space that was searched",
    ),
    (
        "folds/leaks.csv, holdout.json",
        "what stands on both sides of a fold; hashes of the locked test glaciers",
    ),
    ("folds/<scheme>.zarr", "the folds of each scheme, as masks over the samples"),
    ("learning/<model>/<scheme>.zarr", "what was fitted; for the network with its learning curves"),
    ("learning/<model>/predictions.parquet", "what each model predicts out of fold, gathered in evaluation/"),
    ("audit/, study/", "tables and text of audit and study"),
    ("holdout/", "predictions and scores of locked test glaciers, after score-holdout"),
    (
        "holdout-locked.json, holdout-looks.json",
        "what was locked, and when it was looked at: evidence, never rewritten automatically",
    ),
    ("samples/samples.parquet", "observations with their predictors and how each was linked to its outline"),
    ("samples/samples.zarr", "the same as an array, which models learn from"),
    ("samples/unmatched.csv", "observations that found no outline or no climate, and why"),
    ("observations/", "observations linked to outlines, before hours of sampling"),
    (
        "geodetic/comparison/",
        "with observations: {geodetic: ...}: the product beside geodetic rates of several years, and which of them it "
        "learnt from",
    ),
    (
        "geodetic/constraints/",
        "with observations: {geodetic: {learn: true}}: rates that networks learn from, those left out and why",
    ),
    ("geodetic/links/", "geodetic rates linked to outlines"),
    ("plan/folds.csv", "the folds as far as they can be foreseen then"),
    (
        "sampled/climate.zarr, terrain/terrain.zarr",
        "climate by glacier and month, topography by glacier",
    ),
    ("predictors/predictors.zarr", "predictors by glacier and hydrological year"),
    ("albedo/", "albedo by glacier, daily and of the season"),
    ("glaciers/", "outlines as they were read, cleaned and measured"),
    ("cubes/", "what the climate files hold"),
    ("weights/", "shares of climate cells under each outline"),
    ("raw/", "with synthetic: the raw files of the synthetic region, and its truth"),
    ("kept/", "overlap areas of outlines and grids, made once"),
    (
        f"{INTERNAL}/",
        "our marks and memories; in each stage's folder .glacmb_grid.json names every file with its SHA-256",
    ),
    (f"{INTERNAL}/log/", "a log for each run that did something: what was said, with times"),
    (FAILED, "glaciers left out: stage, variable, reason"),
    ("run.json", "what ran, how long, peak memory, versions, seeds, inputs"),
    (README, "what each file is"),
)
"""Names, and what they hold; a name that begins with a dot, or follows a comma, lies beside the one before it."""


def patterns(names: str) -> Iterator[str]:
    """Patterns of the paths that names of `CONTENTS` stand for, relative to the run's folder."""
    first, *others = names.split(", ")
    folder = first.rpartition("/")[0] if not first.endswith("/") else ""
    yield _pattern(first)
    for other in others:
        if other.startswith(".") and "/" not in other:
            yield _pattern(first.removesuffix(Path(first).suffix) + other)
        else:
            yield _pattern(f"{folder}/{other}" if folder and "/" not in other else other)


def _pattern(name: str) -> str:
    before, sign, after = name.partition("<")
    return _pattern(f"{before}*{after.partition('>')[2]}") if sign else name.rstrip("/")


def readme(root: Path) -> str:
    """The text of a run's `README.txt`: what is there, by name.

    Parameters
    ----------
    root : Path
        The run's folder.
    """
    there = [(n, w) for n, w in CONTENTS if n == README or any(any(root.glob(p)) for p in patterns(n))]
    lines = ["What lies in this folder, which glacmb_grid wrote:", ""]
    for names, what in there:
        lines += [
            names,
            *textwrap.wrap(what.removesuffix(", see below"), 96, initial_indent="    ", subsequent_indent="    "),
        ]
    lines += [
        "",
        "The products say in their attributes how they are to be read (ncdump -h; the global `comment` first, then",
        "those of the variables). Changes are positive for gains. Uncertainties of sums come from the realizations.",
        "",
        "Files of your own that you put here are kept. A result that you change is kept under another name when it is",
        "made again. `glacmb-grid status CONFIG` says what is current, `glacmb-grid clean CONFIG` what is left over.",
    ]
    return "\n".join(lines) + "\n"
