"""Several geodetic rates of one glacier: of other sources, of periods that overlap, or the same row twice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from glacmb_grid.errors import InputError, listing
from glacmb_grid.inputs.tables import LINE

_KEYS = ["site", "begin", "end"]


def kept_apart(rates: pd.DataFrame, file: str) -> tuple[pd.DataFrame, list[str]]:
    """Rates without rows that repeat another one, and notes on glaciers with several.

    Parameters
    ----------
    rates : DataFrame
        Columns of `read_geodetic`.
    file : str

    Raises
    ------
    InputError
        Rates of one glacier and period of which no source says whose they are.
    """
    again = _again(rates)
    notes = []
    if again.any():
        lines = listing(rates[LINE][again], 4)
        notes.append(f"{file}: {int(again.sum())} rows repeat another one and are left out, line(s) {lines}")
        rates = rates[~again].reset_index(drop=True)
    repeated = _codes(rates, _KEYS).duplicated(keep=False).to_numpy(bool)
    if repeated.any():
        notes.append(_of_sources(rates[repeated], file))
    return rates, notes + _of_overlaps(rates, file)


def _codes(rates: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    return pd.DataFrame({n: pd.factorize(rates[n])[0] for n in names}, index=rates.index)


def _again(rates: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Rows of the same source, period and value as an earlier one."""
    told = (rates["source"] != "").to_numpy(bool)
    same = _codes(rates, [*_KEYS, "source", "rate", "uncertainty"]).duplicated()
    return np.asarray(same.to_numpy(bool) & told)


def _of_sources(rows: pd.DataFrame, file: str) -> str:
    """A note on rates of one glacier and period; raises where one of them has no source."""
    rows = rows.sort_values([*_KEYS, LINE])
    labels = rows["site"] + " from " + rows["begin"] + " to " + rows["end"]
    unknown = labels.isin(labels[rows["source"] == ""])
    if unknown.any():
        nameless = labels[unknown].unique()
        several = [f"{label} (lines {listing(rows[LINE][labels == label])})" for label in nameless[:8]]
        raise InputError(
            f"{file}",
            expected="one rate per glacier and period, or rates of several sources",
            found=f"several for {listing(several)}" + (f" and {len(nameless) - 8} more" if len(nameless) > 8 else ""),
            remedy="keep one of them; or name the column that says whose each is, `observations: {geodetic: {columns: "
            "{source: COLUMN}}}`",
        )
    first = labels.iloc[0]
    return (
        f"{file}: {labels.nunique()} periods have rates of several sources, such as {first} "
        f"({listing(rows['source'][labels == first], 4)}): each is compared, and together they weigh as one"
    )


def _of_overlaps(rates: pd.DataFrame, file: str) -> list[str]:
    """A note on glaciers with periods that overlap: their rates are not independent."""
    site, begin, end = pd.factorize(rates["site"])[0], *(_as_days(rates[n]) for n in ("begin", "end"))
    order = np.lexsort((end, begin, site))
    after, before = order[1:], order[:-1]
    other = (begin[after] != begin[before]) | (end[after] != end[before])
    overlapping = rates.iloc[after[(site[after] == site[before]) & (begin[after] < end[before]) & other]]
    if overlapping.empty:
        return []
    count, first = overlapping["site"].nunique(), overlapping.iloc[0]
    mine = rates[rates["site"] == first["site"]]
    spans = listing((f"{b} to {e}" for b, e in zip(mine["begin"], mine["end"], strict=True)), 4)
    return [
        f"{file}: periods of {count} glaciers overlap, such as those of {first['site']} ({spans}): each is compared, "
        "and a day that several cover counts once in all"
    ]


def _as_days(text: pd.Series[str]) -> npt.NDArray[np.int64]:
    codes, unique = pd.factorize(text)
    return np.asarray(np.array(list(unique), dtype="datetime64[D]").astype(np.int64)[codes])
