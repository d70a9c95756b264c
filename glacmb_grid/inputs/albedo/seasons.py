"""Seasonal statistics of daily albedo, by each glacier's own hydrological year."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import xarray as xr

from glacmb_grid.errors import InputError, listing
from glacmb_grid.schemas import DAILY_ALBEDO, check
from glacmb_grid.years import (
    calendar_months,
    days_in_month,
    first_months,
    hydrological_year,
    summer_months,
    year_bounds,
)

Integers = npt.NDArray[np.int64]
HEMISPHERE = "hemisphere"
"""Attribute of a daily series: `north`, `south` or `both`, where its rasters lie."""


def summer_albedo(
    sampled: xr.Dataset,
    *,
    months: Iterable[int] | None = None,
    first_month: int | npt.ArrayLike | None = None,
    latitude: npt.ArrayLike | None = None,
    min_days: int = 3,
    min_coverage: float = 0.2,
) -> xr.Dataset:
    """Seasonal statistics of daily zonal means.

    Parameters
    ----------
    sampled : xr.Dataset, (glacier, time)
        `albedo`, `albedo_coverage`, `land`, `cloud` from sampling a cube of `open_albedo`.
    months : iterable of int, optional
        Calendar months of the season, in any order; default the summer of each glacier's hemisphere: June to August
        in the north, December to February in the south.
    first_month : int or (glacier,) ints, optional
        Of the hydrological year; default October in the north, April in the south.
    latitude : (glacier,), degrees north, optional
        Decides the hemisphere of each glacier; default where the rasters lie.
    min_days : int
        A season with fewer usable days is NaN.
    min_coverage : float
        Share of the glacier with albedo that makes a day usable.

    Returns
    -------
    xr.Dataset, (glacier, year)
        By hydrological year, named by its end: a December belongs to the year in which its January lies, unless the
        year ends with it. `albedo_mean`, `albedo_min` (1), `albedo_days` (number of usable days), `day_share` (of the
        days of the season that are usable), `pixel_share` (of the glacier's area with albedo, mean of the usable
        days), `cloud_share`, `land_share` (code 125; mean of all days; NaN where the product does not tell them).

    Raises
    ------
    InputError
        If the Dataset is not what its schema says, it has no days in these months, or the rasters lie on both sides of
        the equator and no latitude is given.

    Examples
    --------
    >>> import numpy as np, pandas as pd, xarray as xr, glacmb_grid as gg
    >>> days = pd.date_range("2001-06-01", "2001-08-31")
    >>> albedo = xr.DataArray([np.linspace(0.8, 0.3, 92)], coords={"glacier": ["one"], "time": days})
    >>> clear, none = xr.ones_like(albedo), xr.zeros_like(albedo)
    >>> daily = xr.Dataset({"albedo": albedo, "albedo_coverage": clear, "land": none, "cloud": none})
    >>> season = gg.summer_albedo(daily, latitude=[46.0])
    >>> [f"{season[name].item():.2f}" for name in ("albedo_mean", "albedo_min")], season["year"].values.tolist()
    (['0.55', '0.30'], [2001])
    """
    check(sampled, DAILY_ALBEDO)
    count = sampled.sizes["glacier"]
    north = _northern(sampled, latitude)
    places = np.where(north, 1.0, -1.0)
    if first_month is None or np.ndim(first_month) == 0:
        firsts = first_months(places, None if first_month is None else int(np.asarray(first_month)))
    else:
        firsts = np.asarray(first_month, np.int64)
    chosen = None if months is None else tuple(months)
    seasons = [chosen or summer_months(place) for place in places.tolist()]
    kinds = list(zip(firsts.tolist(), seasons, strict=True)) or [(10, chosen or summer_months(1.0))]
    rows = {k: np.flatnonzero([one == k for one in kinds]) for k in dict.fromkeys(kinds)}
    if len(rows) == 1:
        rows = {kinds[0]: np.arange(count)}
    parts = []
    for (first, wanted), mine in rows.items():
        season = sampled.isel(glacier=mine, time=np.flatnonzero(np.isin(sampled["time"].dt.month.values, wanted)))
        if season.sizes["time"]:
            parts.append(_by_year(season, first, wanted, min_days, min_coverage))
    if not parts:
        raise _no_days(sampled["time"].values, [m for _, s in rows for m in s])
    out = parts[0] if len(parts) == 1 else xr.concat(parts, "glacier", join="outer")
    out = out.reindex(glacier=sampled["glacier"].values) if len(rows) > 1 else out
    return out.assign(albedo_days=out["albedo_days"].fillna(0).astype("int32"))


def _no_days(time: npt.NDArray[np.datetime64], months: Iterable[int]) -> InputError:
    found = np.unique(time.astype("datetime64[M]").astype(int) % 12 + 1).tolist()
    return InputError(
        "albedo",
        expected=f"days in the months {listing(dict.fromkeys(months), 12)}",
        found=f"days in the months {listing(found, 12)} only" if found else "none",
        remedy="correct `albedo.months`, or give the rasters of these months",
    )


def _northern(sampled: xr.Dataset, latitude: npt.ArrayLike | None) -> npt.NDArray[np.bool_]:
    """Whether each glacier lies in the northern hemisphere, (glacier,)."""
    if latitude is not None:
        return np.asarray(latitude, np.float64) >= 0
    side = sampled.attrs.get(HEMISPHERE, "north")
    if side == "both":
        raise InputError(
            "albedo: latitude",
            expected="the latitude of each glacier, as these rasters lie on both sides of the equator",
            found="none",
            remedy='give `latitude=glaciers["latitude"]` to `summer_albedo`',
        )
    return np.full(sampled.sizes["glacier"], side == "north")


def _by_year(season: xr.Dataset, first: int, months: tuple[int, ...], min_days: int, min_coverage: float) -> xr.Dataset:
    """Statistics of the days of a season, all of glaciers with the same hydrological year."""
    usable = season["albedo"].where(season["albedo_coverage"] >= min_coverage)
    year = xr.DataArray(hydrological_year(season["time"].values, first)[0], dims="time", name="year")
    year = year.assign_coords(time=season["time"])
    days = usable.notnull().groupby(year).sum().astype("int32")
    enough = days >= min_days
    out = xr.Dataset(
        {
            "albedo_mean": usable.groupby(year).mean().where(enough),
            "albedo_min": usable.groupby(year).min().where(enough),
            "albedo_days": days,
            "cloud_share": season["cloud"].groupby(year).mean(),
            "land_share": season["land"].groupby(year).mean(),
            "pixel_share": season["albedo_coverage"].where(usable.notnull()).groupby(year).mean(),
        }
    ).transpose("glacier", "year")
    length = [_days_of_season(int(y), first, months) for y in out["year"].values]
    out["day_share"] = out["albedo_days"] / xr.DataArray(length, dims="year")
    return out.drop_vars([c for c in out.coords if c not in out.dims])


def _starts(year: int, first: int, months: Iterable[int]) -> npt.NDArray[np.datetime64]:
    """First days of the months of a season of a hydrological year."""
    own = year_bounds(np.array([year]), first)[0, 0].astype("datetime64[M]") + np.arange(12).astype("timedelta64[M]")
    return np.asarray(own[np.isin(calendar_months(first), list(months))])


def _days_of_season(year: int, first: int, months: Iterable[int]) -> int:
    return int(days_in_month(_starts(year, first, months)).sum())


def incomplete_seasons(
    time: npt.NDArray[np.datetime64], first: int, months: Iterable[int]
) -> Iterator[tuple[int, list[str]]]:
    """Hydrological years with days in some months of a season but none in others, and the missing months."""
    given = set(time.astype("datetime64[M]").tolist())
    year = hydrological_year(time, first)[0]
    for one in np.unique(year[np.isin(time.astype("datetime64[M]").astype(int) % 12 + 1, list(months))]).tolist():
        missing = [str(m) for m in _starts(one, first, months) if m.tolist() not in given]
        if missing:
            yield one, missing


def seasons_told(
    time: npt.NDArray[np.datetime64], latitude: npt.ArrayLike, months: Iterable[int] | None, first_month: int | None
) -> list[str]:
    """What a user should know about the seasons of these days, one line each.

    Parameters
    ----------
    time : datetime64 array, (time,)
        Days with a raster.
    latitude : (glacier,)
        Degrees north.
    months : iterable of int, optional
        Of the season, by default those of each glacier's summer.
    first_month : int, optional
        Of all hydrological years, by default that of each glacier's hemisphere.

    Raises
    ------
    InputError
        If no day lies in the season of any glacier.
    """
    north = np.asarray(latitude, np.float64) >= 0
    lines = []
    chosen = None if months is None else tuple(months)
    wanted = [m for n in np.unique(north).tolist() for m in chosen or summer_months(1.0 if n else -1.0)]
    if wanted and not np.isin(time.astype("datetime64[M]").astype(int) % 12 + 1, wanted).any():
        raise _no_days(time, wanted)
    for side, place in (("north", 1.0), ("south", -1.0)):
        if not (north if place > 0 else ~north).any():
            continue
        first = int(first_months([place], first_month)[0])
        own = chosen or summer_months(place)
        position = np.flatnonzero(np.isin(calendar_months(first), own))
        if chosen and not set(chosen) & set(summer_months(place)):
            lines.append(
                f"albedo.months {list(chosen)} holds no month of the summer of the glaciers in the {side}; leave it "
                "out for the summer of each glacier's hemisphere"
            )
        if len(position) and np.ptp(position) >= len(position):
            lines.append(
                f"the months {list(own)} are not one after the other in a year that starts in month {first}: those at "
                "its beginning and at its end are taken together"
            )
        gaps = list(incomplete_seasons(time, first, own))
        if gaps:
            texts = [f"{y} ({listing(m, 3)} missing)" for y, m in gaps]
            lines.append(f"albedo seasons ({side}) with months without any raster: {listing(texts, 4)}")
    return lines
