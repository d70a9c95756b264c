"""Commands that write files outside a run's stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from glacmb_grid.cli.speech import notes_after, say, tell
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError
from glacmb_grid.progress import track
from glacmb_grid.settings import RunConfig

Overrides = list[str] | None


def ingest(
    path: Path,
    store: Path,
    overrides: Overrides,
    *,
    memory: float,
    every: str,
    accumulation: str | None,
    incomplete: str,
) -> int:
    """Write the climate as one store; the exit status."""
    from glacmb_grid.workflow.ingest import ingest_climate

    config = load_config(path, overrides)
    if not isinstance(config, RunConfig):
        raise InputError(
            f"{path}",
            expected="a configuration with `climate:`",
            found="one of a table",
            remedy="name another",
        )
    ingest_climate(config, store, memory=memory * 1e9, say=say, finer=_finer(every, accumulation, incomplete))
    return 0


def _finer(every: str, accumulation: Any, incomplete: Any) -> Any:
    """The daily or hourly fields that `--from` names; an InputError for options that are of these only."""
    from glacmb_grid.inputs.climate.contract import Finer

    if every != "monthly":
        return Finer("day" if every == "daily" else "hour", accumulation, incomplete)
    if accumulation is not None or incomplete != "refuse":
        raise InputError(
            "ingest: --accumulation, --incomplete",
            expected="`--from daily` or `--from hourly` beside them",
            found="monthly fields",
            remedy="leave them out; `climate.accumulated` says what monthly fields hold",
        )
    return None


def export(
    path: Path, layout: str, overrides: Overrides, *, folder: Path | None, unit: Any, season: list[float] | None
) -> int:
    """Write products in the layout of others; the exit status."""
    from glacmb_grid.workflow import export as exporting

    wanted = exporting.Wanted(unit, season)
    exporting.export(load_config(path, overrides), layout, folder=folder, wanted=wanted, say=tell)
    return 0


def synth(folder: Path, *, seed: int, glaciers: int, measured: int, years: tuple[int, int], plain: bool) -> int:
    """Write a region with known truth; the exit status."""
    from glacmb_grid.synthetic import write_region

    region: dict[str, Any] = {"seed": seed, "glaciers": glaciers, "years": years, "measured": measured, "plain": plain}
    with notes_after():
        try:
            paths = write_region(folder, **region, track=track)
        except ValueError as error:
            raise InputError(
                "synth", expected="a new folder, and a region that can be made", found=f"{error}", remedy="change it"
            ) from error
        for name, path in paths.items():
            tell(f"{name:20s} {path}")
    return 0


def init(
    outlines: str, output: Path | None, *, kinds: dict[str, list[str]], observations: str | None, force: bool
) -> int:
    """Write a configuration for some files; the exit status."""
    from glacmb_grid.disk import replacing
    from glacmb_grid.report.draft import draft_text
    from glacmb_grid.workflow.drafting import draft

    file = output or Path(f"{Path(outlines).stem}.yaml")
    if file.exists() and not force:
        raise InputError(
            f"{file}",
            expected="a new file",
            found="one that exists",
            remedy="name another by --output, or replace it by --force",
        )
    found = draft(outlines, **kinds, observations=observations)
    with replacing(file) as aside:
        text = draft_text(found.sections, found.comments, file.absolute().parent)
        aside.write_text(text, encoding="utf-8")
    for line in found.assumed:
        tell(line)
    for section in found.open:
        tell(f"{section}: still to be filled in")
    tell(f"{file} is written; next: glacmb-grid check {file}")
    return 0


def fetch(source: str, region: str, folder: Path, *, years: str, variables: str, at_once: int, dry_run: bool) -> int:
    """Fetch files of a source; the exit status."""
    from glacmb_grid import fetching

    plan = fetching.plan(source, _area(region), _years(years), variables=[v.strip() for v in variables.split(",")])
    for line in plan.lines() if dry_run else plan.lines()[: 3 + len(plan.notes)]:
        tell(line)
    if not dry_run:
        fetching.fetch(plan, folder, at_once=at_once, say=say)
        tell(f"in a configuration that lies in {folder}: {plan.configuration}")
    return 0


def _area(region: str) -> Any:
    """The area of four numbers, or of the outlines of a file."""
    from glacmb_grid.fetching import Area

    parts = region.split(",")
    try:
        west, south, east, north = (float(p) for p in parts)
    except ValueError:
        from glacmb_grid.inputs.outlines import sound_outlines
        from glacmb_grid.polygons import bounds_around

        if len(parts) == 4 or not Path(region).exists():
            raise InputError(
                "fetch: --region",
                expected="west,south,east,north in degrees, or a file of outlines",
                found=f"{region!r}",
                remedy="write for instance --region 66,25,105,46",
            ) from None
        shapes = sound_outlines(region)[0].geometry.array
        bounds = bounds_around(np.asarray(shapes, dtype=object))
        west, south = (float(v) for v in bounds[:, :2].min(axis=0))
        east, north = (float(v) for v in bounds[:, 2:].max(axis=0))
        west, east = ((v + 180) % 360 - 180 for v in (west, east))
    return Area(west, south, east, north)


def _years(text: str) -> tuple[int, int]:
    """The first and the last of `2000-2024`."""
    first, between, last = text.partition("-")
    if not (first.isdigit() and (last if between else first).isdigit()):
        raise InputError(
            "fetch: --years", expected="FIRST-LAST", found=f"{text!r}", remedy="write for instance --years 2000-2024"
        )
    return int(first), int(last or first)
