"""The inputs from outside a run: which files they are, and how each is opened."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import geopandas as gpd
import pandas as pd
import xarray as xr

from glacmb_grid.errors import InputError, Problems, listing
from glacmb_grid.failures import Failure
from glacmb_grid.inputs.albedo import open_codes
from glacmb_grid.inputs.balances import read_observations
from glacmb_grid.inputs.balances.geodetic import read_geodetic
from glacmb_grid.inputs.balances.releases import is_release, package_beside
from glacmb_grid.inputs.climate import open_climate
from glacmb_grid.inputs.climate.contract import Finer
from glacmb_grid.inputs.elevation import open_elevation
from glacmb_grid.inputs.files import find_file, open_dataset
from glacmb_grid.inputs.links.tables import links_of_release, read_link_table
from glacmb_grid.inputs.links.versions import read_versions
from glacmb_grid.inputs.outlines import sound_outlines
from glacmb_grid.inputs.outlines.vectors import read_vectors, vector_in
from glacmb_grid.inputs.series import read_series
from glacmb_grid.settings import FeedForward, Given, Judged, Links, RunConfig, Section, TableConfig
from glacmb_grid.workflow.stages import Files, Source

RASTERS = ("elevation model", "albedo rasters")  # inputs that GDAL reads


def _made_by(c: Judged) -> tuple[str, ...]:
    return ("raw",) if isinstance(c, RunConfig) and c.synthetic else ()


def outlines(c: RunConfig) -> Source:
    """Valid outlines, and why the others are not."""
    s = c.glaciers
    path = vector_in(s.path)

    def read() -> tuple[gpd.GeoDataFrame, list[Failure]]:
        return sound_outlines(path, layer=s.layer, id_column=s.id, crs=s.crs, merge_pieces=s.merge_pieces)

    return Source(read, ((path, "outlines"),), {"glaciers": s}, made_by=_made_by(c))


def climate(c: RunConfig, finer: Finer | None = None) -> Source:
    """The climate cube, (time, y, x); made of daily or hourly fields where `finer` says so."""
    s = c.climate

    def read() -> xr.Dataset:
        return open_climate(
            s.files,
            accumulated=s.accumulated,
            invariant=s.invariant,
            variables=s.variables,
            units=s.units,
            names=s.names,
            stamp=s.stamp,
            expver=s.expver,
            negative_precipitation=s.negative_precipitation,
            years=s.years,
            finer=finer,
        )

    invariant: Files = ((s.invariant, "invariant file"),) if s.invariant else ()
    return Source(read, ((s.files, "climate files"), *invariant), {"climate": s}, lazy=True, made_by=_made_by(c))


def elevation(c: RunConfig) -> Source:
    """The elevation model."""
    s = c.elevation
    read = partial(open_elevation, s.files, units=s.units)
    return Source(read, ((s.files, "elevation model"),), {"elevation": s}, made_by=_made_by(c))


def albedo(c: RunConfig) -> Source:
    """Daily albedo as codes, (time, y, x)."""
    s = c.albedo
    assert s is not None
    read = partial(open_codes, s.files, layer=s.layer, quality=s.quality)
    return Source(read, ((s.files, "albedo rasters"),), {"albedo": s}, made_by=_made_by(c))


class ObservedTables(NamedTuple):
    """Observations as they were read, and tables that relate their sites to outlines."""

    observed: pd.DataFrame
    table: pd.DataFrame | None
    positions: pd.DataFrame | None
    versions: pd.DataFrame | None = None


def observations(c: RunConfig) -> Source:
    """Observations, and tables of links."""
    s, links = c.observations, c.observations.links

    def read() -> ObservedTables:
        problems = Problems()
        observed = problems.attempt(
            lambda: read_observations(
                s.path,
                units=s.units,
                default_uncertainty=s.default_uncertainty,
                columns={str(role): name for role, name in s.columns.items()},
                missing=s.missing,
                periods=s.periods,
            )
        )
        tables = _link_tables(links, problems)
        if links.table is None:
            tables[0] = problems.attempt(lambda: links_of_release(s.path))
        problems.raise_if_any()
        assert observed is not None
        return ObservedTables(observed, *tables)

    package = package_beside(s.path)
    units: Files = ((package, "units"),) if package else ()
    files = ((s.path, "observations"), *_named_tables(links), *units)
    annual = s.model_copy(update={"geodetic": None})  # on which nothing annual depends
    return Source(read, files, {"observations": annual}, made_by=_made_by(c))


def _named_tables(links: Links) -> Files:
    """The files that relate sites to outlines."""
    named = [(links.table, "link table"), (links.positions, "glacier positions"), (links.versions, "other version")]
    return tuple((path, what) for path, what in named if path)


def _link_tables(links: Links, problems: Problems) -> list[pd.DataFrame | None]:
    """The tables that relate sites to outlines: links, positions and versions; errors are collected."""
    tables = [problems.attempt(partial(read_link_table, p)) if p else None for p in (links.table, links.positions)]
    return [*tables, problems.attempt(partial(read_versions, links.versions)) if links.versions else None]


def geodetic(c: RunConfig) -> Source:
    """Geodetic rates, and tables of links."""
    s, links = c.observations.geodetic, c.observations.links
    assert s is not None

    def read() -> ObservedTables:
        problems = Problems()
        rates = problems.attempt(
            lambda: read_geodetic(
                s.path,
                units=s.units,
                columns={str(role): name for role, name in s.columns.items()},
                missing=s.missing,
                density=s.density,
                shortest=s.shortest,
            )
        )
        tables = _link_tables(links, problems)
        if links.table is None:
            own = problems.attempt(lambda: links_of_release(s.path))
            tables[0] = own if own is not None else problems.attempt(lambda: links_of_release(c.observations.path))
        problems.raise_if_any()
        assert rates is not None
        return ObservedTables(rates, *tables)

    of_sites: Files = ((c.observations.path, "observations"),) if is_release(c.observations.path) else ()
    files = ((s.path, "geodetic rates"), *of_sites, *_named_tables(links))
    read_as = s.model_copy(update={"learn": False})  # on which it does not depend whether anything is learnt
    return Source(read, files, {"observations.geodetic": read_as}, made_by=_made_by(c))


def truth(c: RunConfig) -> Source:
    """The known truth of a synthetic region, (glacier, year)."""
    assert c.product is not None
    path = c.product.truth
    assert path is not None

    def read() -> xr.Dataset:
        ds = open_dataset(find_file(path, what="known truth"))
        if absent := [n for n in ("glacier_id", "mass_balance") if n not in ds]:
            raise InputError(
                f"{path}: {', '.join(absent)}",
                expected="the known truth of a synthetic region: glacier_id, mass_balance",
                found=listing(ds.variables),
                remedy="name the file `truth.nc` that was written with the region, or leave `product.truth` out",
            )
        return ds[["glacier_id", "mass_balance"]].load()

    return Source(read, ((path, "truth"),), made_by=_made_by(c))


def regions(c: RunConfig) -> Source:
    """A layer of regions, polygons on longitude and latitude."""
    assert c.product is not None
    s = c.product.regions
    assert s is not None
    path = s.path
    assert path is not None

    def read() -> gpd.GeoDataFrame:
        return read_vectors(find_file(path, what="regions"), s.layer, None)

    return Source(read, ((path, "regions"),), made_by=_made_by(c))


def series(c: RunConfig) -> Source:
    """Regional series of others."""
    assert c.product is not None
    s = c.product.regions
    assert s is not None
    return Source(lambda: read_series(s.compare), ((s.compare, "regional series"),), made_by=_made_by(c))


def own_table(c: TableConfig) -> Source:
    """Samples of a user's own table."""
    s = c.samples

    def read() -> xr.Dataset:
        from glacmb_grid.inputs.own_table import samples_of

        return samples_of(s)

    rows = s.model_copy(update={"targets": None})  # on which no row depends
    return Source(read, ((s.path, "samples"),), {"samples": rows}, noted=True)


def targets(c: TableConfig) -> Source | None:
    """Positions of the glaciers that are to be predicted by what is learnt from a user's own table."""
    path = c.samples.targets
    if path is None:
        return None

    def read() -> pd.DataFrame:
        from glacmb_grid.inputs.own_table.targets import read_targets

        return read_targets(path)

    return Source(read, ((path, "glaciers to be predicted"),))


def given(c: Judged, settings: Iterable[tuple[str, Section]]) -> Source | None:
    """Files that models read: predictions made elsewhere, tables to pre-train on; each label names the model."""
    named = list(settings)
    paths = [(s.path, f"predictions {m}") for m, s in named if isinstance(s, Given) and s.path is not None]
    paths += [(s.transfer.path, f"transfer {m}") for m, s in named if isinstance(s, FeedForward) and s.transfer]
    return Source(None, tuple(paths), made_by=_made_by(c)) if paths else None
