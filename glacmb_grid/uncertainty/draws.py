"""Joint draws of the errors of glaciers and years, correlated as estimated."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from glacmb_grid.errors import InputError
from glacmb_grid.progress import track
from glacmb_grid.uncertainty.correlation import ErrorCorrelation, Structure, checked_points
from glacmb_grid.uncertainty.fields import field_of

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

_NUGGET = 0  # what stands where for the seeds: the structures follow
_LEVEL = 1_000_000  # in place of a year, for errors that a glacier keeps
_YEAR_ZERO = 100_000  # added to years, as seeds are not negative


def draw_errors(
    correlation: ErrorCorrelation,
    sigma: npt.ArrayLike,
    positions: npt.ArrayLike,
    years: npt.ArrayLike,
    draws: int = 100,
    seed: int = 0,
) -> Singles:
    """Draws of the errors of all glaciers and years.

    Parameters
    ----------
    correlation : ErrorCorrelation
    sigma : array, (glacier, year), m
        One standard deviation; NaN gives NaN.
    positions : array, (glacier, 2), degrees
    years : int array, (year,)
        Ascending. Gaps are allowed.
    draws, seed : int

    Returns
    -------
    float32 array, (draw, glacier, year), m
        It takes 4 bytes for each: `draw_years` gives one year at a time.

    Raises
    ------
    InputError
        Arrays that do not fit one another.

    Notes
    -----
    The draws of a year depend on the correlation, the positions of all glaciers, their order, the seed, the number of
    the year and the earlier years alone: a year that is appended changes no earlier draw. The first draws are the same
    however many there are. Up to 2,000 glaciers they are exact (a Cholesky factor for each range); beyond, each glacier
    is drawn given 20 glaciers far apart and its 30 nearest among those drawn before, in random order (Vecchia 1988).

    References
    ----------
    Vecchia, A. V. (1988): Estimation and model identification for continuous spatial processes. Journal of the Royal
    Statistical Society B, 50, 297-312.

    Examples
    --------
    >>> import numpy as np, glacmb_grid as gg
    >>> from glacmb_grid.uncertainty.correlation import Structure
    >>> near = gg.ErrorCorrelation((Structure(1.0, range_km=50, persistence=0.0),), nugget=0.0)
    >>> places = [[10.0, 46.0], [10.1, 46.0], [20.0, 46.0]]
    >>> errors = gg.draw_errors(near, np.full((3, 1), 0.4), places, [2001], draws=4000)[:, :, 0]
    >>> [f"{spread:.1f}" for spread in errors.std(axis=0)]
    ['0.4', '0.4', '0.4']
    >>> bool(np.corrcoef(errors.T)[0, 1] > 0.8), bool(abs(np.corrcoef(errors.T)[0, 2]) < 0.1)
    (True, True)
    """
    s, numbers = np.asarray(sigma, np.float32), np.asarray(years)
    if s.ndim != 2 or numbers.shape != (s.shape[1],):
        raise InputError(
            "draw_errors: sigma",
            expected=f"(glacier, year), with {numbers.size} years",
            found=f"shape {s.shape}",
            remedy="pass sigma and years of one product",
        )
    out = np.empty((draws, *s.shape), np.float32)
    for t, normalised in enumerate(draw_years(correlation, positions, numbers, draws, seed)):
        np.multiply(normalised, s[:, t], out=out[:, :, t])
    return out


def draw_years(
    correlation: ErrorCorrelation, positions: npt.ArrayLike, years: npt.ArrayLike, draws: int = 100, seed: int = 0
) -> Iterator[Singles]:
    """Normalised errors of one year after the other, (draw, glacier), of variance 1: `draw_errors` in less memory."""
    numbers = _ascending(years)
    points = checked_points(positions, len(np.atleast_1d(np.asarray(positions, np.float64))))
    fields = {km: field_of(points, km) for km in correlation.by_range}
    structures = [(k, s) for k, s in enumerate(correlation.structures, 1) if s.share > 0]
    level = np.zeros((draws, len(points)), np.float32)
    for k, s in structures:
        if s.persistent:
            level += np.float32(s.share**0.5) * fields[s.range_km].draw(_random(seed, k, _LEVEL), draws)
    yearly = [(k, s) for k, s in structures if not s.persistent]
    state: dict[int, Singles] = {}
    before = None
    for year in track(numbers.tolist(), "year of draws"):
        total = level.copy()
        for k, s in yearly:
            innovation = fields[s.range_km].draw(_random(seed, k, year + _YEAR_ZERO), draws)
            state[k] = _next(state.get(k), innovation, s, 0 if before is None else year - before)
            total += np.float32(s.share**0.5) * state[k]
        if correlation.nugget > 0:
            noise = _random(seed, _NUGGET, year + _YEAR_ZERO).standard_normal(level.shape, np.float32)
            total += np.float32(correlation.nugget**0.5) * noise
        before = year
        yield total


def _next(last: Singles | None, innovation: Singles, structure: Structure, lag: int) -> Singles:
    """The field of a year, given that of an earlier one."""
    if last is None or structure.persistence == 0:
        return innovation
    kept = structure.persistence**lag
    return np.asarray(np.float32(kept) * last + np.float32((1 - kept**2) ** 0.5) * innovation)


def _random(seed: int, structure: int, year: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, structure, year])))


def _ascending(years: npt.ArrayLike) -> Integers:
    given = np.atleast_1d(np.asarray(years))
    whole = given.astype(np.int64)
    if (whole != given).any() or (np.diff(whole) <= 0).any() or np.abs(whole).max(initial=0) >= _YEAR_ZERO:
        raise InputError(
            "draws: years",
            expected="whole numbers of years, ascending, none twice",
            found=str(given.tolist()[:9]),
            remedy='sort the product: product.sortby("year")',
        )
    return whole
