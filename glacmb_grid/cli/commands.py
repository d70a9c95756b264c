"""The commands: their options, what `--help` says of them, and where they are carried out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from glacmb_grid.cli.options import (
    Accumulation,
    Config,
    Every,
    Incomplete,
    Layout,
    Overrides,
    Overwrite,
    Sources,
    Unit,
    Verify,
    command,
    gigabytes,
)

_RAN = (0, 1, 3, 130)
app = typer.Typer(
    help="Annual mass balance of every glacier of a region from a few measured ones.",
    epilog="`glacmb-grid COMMAND --help` shows examples and exit statuses.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from glacmb_grid.stores.versions import versions

        typer.echo(f"glacmb-grid {versions().get('glacmb-grid', '0+unknown')}")
        raise typer.Exit


@app.callback()
def _all(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version


@command(
    app,
    examples=[
        "glacmb-grid run configs/demo.yaml",
        "glacmb-grid run own.yaml --stage sampled",
        "glacmb-grid run own.yaml --set models.ff_fcnn.members=10 --set store.root=elsewhere",
    ],
    statuses=_RAN,
)
def run(
    config: Config,
    overrides: Overrides = None,
    stage: Annotated[
        str | None, typer.Option(metavar="NAME", help="only this stage and what it needs", show_default=False)
    ] = None,
    overwrite: Overwrite = False,
    verify: Verify = False,
) -> int:
    """Bring a run up to date."""
    from glacmb_grid.cli import making

    return making.run(config, overrides, stage=stage, overwrite=overwrite, verify=verify)


@command(app, examples=["glacmb-grid append own.yaml --set 'product.years=[2000, 2025]'"], statuses=_RAN)
def append(config: Config, overrides: Overrides = None) -> int:
    """Add years to the products of a run; refuses to change an older year."""
    from glacmb_grid.cli import making

    return making.append(config, overrides)


@command(app, examples=["glacmb-grid evaluate configs/hma_table.yaml"], statuses=_RAN)
def evaluate(config: Config, overrides: Overrides = None, overwrite: Overwrite = False, verify: Verify = False) -> int:
    """Fit and judge the models, without a product."""
    from glacmb_grid.cli import making

    return making.evaluate(config, overrides, overwrite=overwrite, verify=verify)


@command(app, examples=["glacmb-grid audit configs/hma_table.yaml"], statuses=(0, 1, 2, 130))
def audit(config: Config, overrides: Overrides = None, overwrite: Overwrite = False, verify: Verify = False) -> int:
    """Say what leaks would have promised, and whether anything leaks; fails if it does."""
    from glacmb_grid.cli import making

    return making.audit(config, overrides, overwrite=overwrite, verify=verify)


@command(app, examples=["glacmb-grid study own.yaml --set 'study.models=[ridge]'"])
def study(config: Config, overrides: Overrides = None, overwrite: Overwrite = False, verify: Verify = False) -> int:
    """Measure the importance of predictors, ablations, and skill against the number of training glaciers."""
    from glacmb_grid.cli import making

    return making.study(config, overrides, overwrite=overwrite, verify=verify)


@command(app, examples=["glacmb-grid score-holdout own.yaml"])
def score_holdout(config: Config, overrides: Overrides = None) -> int:
    """Score the locked test glaciers: a separate act, logged."""
    from glacmb_grid.cli import making

    return making.score_holdout(config, overrides)


@command(app, examples=["glacmb-grid report own.yaml", "glacmb-grid report configs/hma_table.yaml"])
def report(config: Config, overrides: Overrides = None, overwrite: Overwrite = False) -> int:
    """Write one page about a run, report/index.html, which needs no network."""
    from glacmb_grid.cli import making

    return making.report(config, overrides, overwrite=overwrite)


@command(app, examples=["glacmb-grid figures own.yaml"])
def figures(config: Config, overrides: Overrides = None, overwrite: Overwrite = False) -> int:
    """Write the figures of a run as PNG and PDF."""
    from glacmb_grid.cli import making

    return making.figures(config, overrides, overwrite=overwrite)


@command(app, examples=["glacmb-grid check own.yaml", "glacmb-grid check own.yaml --set climate.years='[1990, 2020]'"])
def check(config: Config, overrides: Overrides = None) -> int:
    """Say in seconds what would fail, from headers and tables only."""
    from glacmb_grid.cli import looking

    return looking.check(config, overrides)


@command(app, examples=["glacmb-grid status own.yaml", "glacmb-grid status own.yaml --verify"])
def status(config: Config, overrides: Overrides = None, verify: Verify = False) -> int:
    """Say which stages are done, current, stale, how large and how old."""
    from glacmb_grid.cli import looking

    return looking.status(config, overrides, verify=verify)


@command(app, examples=["glacmb-grid plan own.yaml", "glacmb-grid plan own.yaml --set validation.models=all"])
def plan(config: Config, overrides: Overrides = None) -> int:
    """Say what a run will do before it does: stages, tasks, bytes read and written, memory; from headers."""
    from glacmb_grid.cli import looking

    return looking.plan(config, overrides)


@command(app, examples=["glacmb-grid schema > schema.json"], statuses=(0, 130))
def schema() -> int:
    """Print a JSON schema of the configuration, by which editors complete and check keys."""
    from glacmb_grid.cli import looking

    return looking.schema()


@command(app, examples=["glacmb-grid clean own.yaml", "glacmb-grid clean own.yaml --yes"])
def clean(
    config: Config,
    overrides: Overrides = None,
    yes: Annotated[bool, typer.Option("--yes", help="remove what is listed; without it, nothing is changed")] = False,
) -> int:
    """List what is stale or left over in a run's folder, and remove it; never a file of yours."""
    from glacmb_grid.cli import looking

    return looking.clean(config, overrides, remove=yes)


@command(
    app,
    examples=[
        "glacmb-grid ingest own.yaml climate.zarr",
        "glacmb-grid ingest own.yaml climate.zarr --from hourly --accumulation since_midnight --memory 8",
    ],
)
def ingest(
    config: Config,
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Zarr store to write", show_default=False)],
    overrides: Overrides = None,
    memory: Annotated[
        float,
        typer.Option(metavar="GB", parser=gigabytes, help="about what it may take; more reads large cubes faster"),
    ] = 2.0,
    every: Annotated[
        Every,
        typer.Option(
            "--from",
            help="step of the fields in climate.files; of daily and hourly ones months are made, and positive degree "
            "days, pdd, of daily temperatures",
        ),
    ] = Every.monthly,
    accumulation: Annotated[
        Accumulation | None,
        typer.Option(
            help="what precipitation and radiation hold: hourly, of_the_hour (ERA5: the hour before the stamp) or "
            "since_midnight (ERA5-Land: all since 00 UTC, 00:00 the whole day before), no default; daily, of_the_day "
            "(default) or since_midnight (the 00:00 fields of ERA5-Land)",
            show_default=False,
        ),
    ] = None,
    incomplete: Annotated[
        Incomplete, typer.Option(help="months at the beginning and the end that lack days or hours")
    ] = Incomplete.refuse,
) -> int:
    """Write the climate of a configuration as one Zarr store that is sampled fast, to be named as climate.files."""
    from glacmb_grid.cli import files

    held = accumulation.value if accumulation else None
    return files.ingest(
        config, store, overrides, memory=memory, every=every.value, accumulation=held, incomplete=incomplete.value
    )


_Season = tuple[float, float, float, float, float, float, float, float, float, float, float, float]


@command(
    app,
    examples=["glacmb-grid export own.yaml glambie2 --unit Gt", "glacmb-grid export own.yaml csv --folder tables"],
)
def export(
    config: Config,
    layout: Annotated[Layout, typer.Argument(show_default=False)],
    overrides: Overrides = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="where to write, by default exports/LAYOUT in the run's folder", show_default=False),
    ] = None,
    unit: Annotated[Unit, typer.Option(help="of glambie2")] = Unit.mwe,
    season: Annotated[_Season | None, typer.Option(help="of glambie2: January to December", show_default=False)] = None,
) -> int:
    """Write products in the layout of GlaMBIE-2 or WGMS, or as tables."""
    from glacmb_grid.cli import files

    shares = list(season) if season else None
    return files.export(config, layout.value, overrides, folder=folder, unit=unit.value, season=shares)


@command(
    app,
    examples=[
        "glacmb-grid init rgi.shp --climate era5_land --dem srtm.tif --observations FoG.zip",
        "glacmb-grid init rgi.shp --climate 't2m_*.nc' --climate 'tp_*.nc' --albedo mod10a1 --output own.yaml",
    ],
)
def init(
    outlines: Annotated[str, typer.Argument(metavar="OUTLINES", help="file of the outlines", show_default=False)],
    climate: Annotated[
        list[str] | None,
        typer.Option(metavar="FILES", help="path, pattern, folder or URL; also several times", show_default=False),
    ] = None,
    dem: Annotated[
        list[str] | None, typer.Option(metavar="FILES", help="elevation model, likewise", show_default=False)
    ] = None,
    albedo: Annotated[
        list[str] | None, typer.Option(metavar="FILES", help="daily albedo, likewise", show_default=False)
    ] = None,
    observations: Annotated[
        str | None, typer.Option(metavar="FILE", help="a release of FoG or a table of balances", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="by default the outlines' name, as .yaml here", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the file if it exists")] = False,
) -> int:
    """Write a commented configuration for your files, and say what it assumes; nothing is asked."""
    from glacmb_grid.cli import files

    kinds = {"climate": climate or [], "dem": dem or [], "albedo": albedo or []}
    return files.init(outlines, output, kinds=kinds, observations=observations, force=force)


@command(
    app,
    examples=[
        "glacmb-grid fetch dem --region 10.6,46.6,11.1,47 --to data --dry-run",
        "glacmb-grid fetch era5-land --region rgi.shp --years 1980-2024 --to data",
    ],
)
def fetch(
    source: Annotated[Sources, typer.Argument(show_default=False)],
    region: Annotated[str, typer.Option(metavar="W,S,E,N", help="degrees, or a file of outlines", show_default=False)],
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="where the files go", show_default=False)],
    years: Annotated[str, typer.Option(metavar="FIRST-LAST", help="of climate and albedo")] = "2000-2024",
    variables: Annotated[str, typer.Option(metavar="NAMES", help="of era5-land")] = "t2m,tp",
    at_once: Annotated[int, typer.Option(min=1, help="files fetched side by side")] = 4,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be asked, and ask nobody but catalogues")
    ] = False,
) -> int:
    """Ask the agencies for what a region needs, in your name; goes on where it was interrupted."""
    from glacmb_grid.cli import files

    asked = {"years": years, "variables": variables}
    return files.fetch(source.value, region, to, **asked, at_once=at_once, dry_run=dry_run)


@command(app, examples=["glacmb-grid synth raw", "glacmb-grid synth raw --glaciers 8 --measured 4 --plain"])
def synth(
    folder: Annotated[Path, typer.Argument(help="new or empty", show_default=False)],
    seed: Annotated[int, typer.Option()] = 1,
    glaciers: Annotated[int, typer.Option()] = 60,
    measured: Annotated[int, typer.Option()] = 15,
    years: Annotated[tuple[int, int], typer.Option(metavar="FIRST LAST")] = (2000, 2024),
    plain: Annotated[
        bool, typer.Option("--plain", help="GeoTIFF and tables instead of the agencies' own formats")
    ] = False,
) -> int:
    """Write a region with known truth as raw files."""
    from glacmb_grid.cli import files

    return files.synth(folder, seed=seed, glaciers=glaciers, measured=measured, years=years, plain=plain)
