"""A user's own table of glacier-years, read as samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import xarray as xr

from glacmb_grid.checking import Positive, checking_arguments
from glacmb_grid.inputs.files import find_file
from glacmb_grid.inputs.own_table.columns import PredictorColumns, find_columns
from glacmb_grid.inputs.own_table.forcing import days_of_months, forcing_of, northern_rows, seasonal_predictors
from glacmb_grid.inputs.own_table.leaks import refuse_leaks
from glacmb_grid.inputs.own_table.monthly import monthly_series
from glacmb_grid.inputs.own_table.notes import Notes, describe
from glacmb_grid.inputs.own_table.rows import judge_groups, labels_of, rows_where, rows_with_target, values_of
from glacmb_grid.inputs.own_table.samples import assemble, at_elevations, meanings_of_columns, with_forcing
from glacmb_grid.inputs.own_table.table import open_table
from glacmb_grid.inputs.units import BalanceUnits
from glacmb_grid.settings import SampleTable

__all__ = ["read_samples_table", "samples_of"]


@checking_arguments
def read_samples_table(
    path: str | Path,
    *,
    glacier: str,
    year: str,
    target: str,
    target_units: BalanceUnits,
    uncertainty: str | None = None,
    group: str | None = None,
    region: str | None = None,
    latitude: str | None = None,
    longitude: str | None = None,
    folds: Mapping[str, str | None] | None = None,
    predictions: Mapping[str, str] | None = None,
    predictors: Literal["all"] | Sequence[str] = "all",
    exclude: Sequence[str] = (),
    allow: Sequence[str] = (),
    where: Mapping[str, object] | None = None,
    name: str | None = None,
    area: str | None = None,
    time_system: str | None = None,
    elevation: str | None = None,
    orography: str | None = None,
    limits: tuple[float, float] = (-10.0, 10.0),
    missing: Collection[float] | None = None,
    coordinates: bool = False,
    default_uncertainty: Positive = 0.2,
    monthly: Mapping[str, Mapping[str, str | None]] | None = None,
    temperature_spread: float = 4.0,
) -> xr.Dataset:
    r"""Samples from a table with one row per observation, its predictors beside it.

    Parameters
    ----------
    path : str or Path
        CSV (commas, semicolons or tabs; UTF-8 with or without a byte-order mark; lines before the header are skipped)
        or Parquet.
    glacier, year, target : str
        Columns of the glacier's identifier, the year and the observed annual balance. The case of column names never
        matters.
    target_units : {"mm w.e.", "m w.e.", "kg m-2"}
        Unit of target and uncertainty.
    uncertainty : str, optional
        Column of the 1-sigma uncertainty.
    group : str, optional
        Column of the groups that `logo` leaves out. Default, also for blank cells: the glacier.
    region, latitude, longitude, name, area, time_system : str, optional
        Columns that become coordinates; a blank region is unknown.
    elevation : str, optional
        Column of the elevation at which a row was measured (a stake), m, where the temperature index then works; a
        predictor too.
    orography : str, optional
        Column of the elevation of the table's monthly temperature, m. Default: the median elevation of the glacier's
        rows.
    limits : (float, float)
        Plausible balances, m w.e.: on the tongue of a glacier they are lower than any of a whole glacier.
    missing : collection of float, optional
        Numbers that stand for missing balances; others then are balances. Default: known codes are refused.
    folds : mapping, optional
        `logo` and `loyo`: columns with the user's own folds.
    predictions : mapping, optional
        Name of a model -> column with its predictions, in the unit of the target; they become `given_NAME` (row).
    predictors : "all" or sequence of str
        Names and shell-style patterns of columns. `all` takes every column of numbers that has no role and is, by its
        name, neither a position nor an identifier. Predictors computed from a monthly series are added if all its
        twelve columns are taken.
    exclude : sequence of str
        Names and patterns of columns that are not predictors.
    allow : sequence of str
        Names and patterns of predictors that may tell nearly all of the target; otherwise such are refused.
    where : mapping, optional
        Column -> value or values; only rows with these values are read.
    coordinates : bool
        Whether latitude and longitude are predictors.
    default_uncertainty : float
        1-sigma, m w.e., for rows without an uncertainty.
    monthly : mapping, optional
        Name -> `columns` (pattern of twelve columns) and `units`. The names `temperature`, `snowfall` and
        `precipitation` give a series that role. Default: series and units are recognised.
    temperature_spread : float
        Scatter of temperature within a month, K, for degree days.

    Returns
    -------
    xr.Dataset
        Over `sample`: `mass_balance`, `mass_balance_uncertainty` (m w.e.), coordinates `glacier`, `year`, `group`,
        `uncertainty_given`, `fold_logo`, `fold_loyo` and those named above. Over `row` (the same rows): `predictors`
        (row, predictor) float32, NaN if missing; coordinates `row_glacier`, `row_year`, `row_longitude`,
        `row_latitude`. Over `predictor`: what each predictor is, the attributes of `vocabulary.Meaning`. `origin` is
        `series` for those computed here, `position` for longitude and latitude, else `table`; `calendar_month` is that
        of a column of a monthly series; `season` and `part` of columns are empty, as a name cannot tell them for sure.
        `stem` is the variable where a column is named like a predictor of the package (`sd_03`), the name of its
        series, or else the column's own; `source` is "table" or the series that it was computed from. If the table has
        monthly temperature (K) and snowfall or precipitation (m w.e. per month): these and `days`, (row, month), in the
        order of the hydrological year; `temperature` has the attribute `clipped` (1 if frozen months are 0 degrees
        Celsius). With `elevation`: `hypsometry` (row, band) and `orography` (row), m. The operator is the identity.
        `attrs["notes"]`: lines on what was found and assumed.

    Warns
    -----
    UserWarning
        Rows and columns left out, guessed units, climate shared between groups.

    Raises
    ------
    InputError or InputErrors
        Missing columns, blank identifiers, text among numbers, infinite values, implausible targets, predictors that
        alone or together tell the target or are named like a mass balance.

    Examples
    --------
    >>> import glacmb_grid as gg
    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp()) / "balances.csv"
    >>> rows = ["id,year,balance,warmth", "a,2001,-900,2.1", "a,2002,-200,1.0", "b,2001,-700,2.0", "b,2002,100,1.4"]
    >>> _ = path.write_text("\n".join(rows))
    >>> samples = gg.read_samples_table(path, glacier="id", year="year", target="balance", target_units="mm w.e.")
    >>> samples["mass_balance"].values.round(2).tolist(), samples["predictor"].values.tolist()
    ([-0.9, -0.2, -0.7, 0.1], ['warmth'])
    """
    notes = Notes()
    columns = {
        "glacier": glacier,
        "year": year,
        "target": target,
        "uncertainty": uncertainty,
        "group": group,
        "region": region,
        "latitude": latitude,
        "longitude": longitude,
        "fold_logo": (folds or {}).get("logo"),
        "fold_loyo": (folds or {}).get("loyo"),
        "name": name,
        "area": area,
        "time_system": time_system,
        "elevation": elevation,
        "orography": orography,
        **{f"given_{model}": column for model, column in (predictions or {}).items()},
    }
    roles = {role: column for role, column in columns.items() if column is not None}
    file = find_file(path, what="samples")
    table = open_table(file, [*roles.values(), *(where or {})], glacier)
    at, chosen = find_columns(table, roles, where or {})
    table = rows_with_target(rows_where(table, chosen, where or {}), at["target"], target_units, missing, notes)
    labels = labels_of(table, at)
    judge_groups(table, at, labels, notes)
    values = values_of(table, at, target_units, limits, missing, labels["glacier"], notes)
    choice = PredictorColumns(table, at, chosen.values(), predictors, exclude, coordinates, notes)
    series = monthly_series(choice.numeric, monthly or {}, file, notes)
    months = list(dict.fromkeys(c for s in series for c in s.columns))
    numbers = choice.numbers(months)
    north = northern_rows(values.get("latitude"), len(table), bool(series), notes)
    days = days_of_months(labels["year"], north)
    forcing = forcing_of(series, numbers, days, north, file, notes)
    derived = seasonal_predictors(series, numbers, forcing, days, north, temperature_spread)
    derived = choice.not_in_table(derived)
    taken = choice.with_derived(derived, series)
    by_name = {n: numbers[n] if n in numbers else derived[n].values for n in taken}
    refuse_leaks(file, by_name, values["target"], labels, predictors, allow, notes)
    meanings = meanings_of_columns(taken, at, series, derived)
    samples = assemble(taken, meanings, numbers, derived, labels, values, default_uncertainty)
    samples = at_elevations(with_forcing(samples, forcing, days, north), values, labels)
    if "elevation" in values and "orography" not in values and forcing.temperature is not None:
        notes.note("the temperature index takes the climate to be that of the median elevation of each glacier's rows")
    describe(samples, labels, [s.stem for s in series], [numbers[c] for s in series for c in s.columns], notes)
    samples.attrs["notes"] = "\n".join(notes.lines)
    return samples


def samples_of(settings: SampleTable) -> xr.Dataset:
    """Samples of the table that a section of a configuration names."""
    options = {k: v for k, v in dict(settings).items() if k not in ("path", "folds", "monthly", "targets")}
    monthly = {n: m.model_dump() for n, m in settings.monthly.items()}
    return read_samples_table(settings.path, **options, folds=settings.folds.model_dump(), monthly=monthly)
