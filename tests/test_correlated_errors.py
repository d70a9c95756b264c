"""Correlated errors: the model against an outside library, sums against dense matrices, draws against the model."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from glacmb_grid.errors import InputError
from glacmb_grid.uncertainty import variograms
from glacmb_grid.uncertainty.correlation import (
    INDEPENDENT,
    ErrorCorrelation,
    Structure,
    cartesian_km,
    published_correlation,
)
from glacmb_grid.uncertainty.draws import draw_errors, draw_years
from glacmb_grid.uncertainty.fields import dense, neighbours
from glacmb_grid.uncertainty.propagation import (
    covariance_of_sum,
    cumulative_sigma,
    independent_covariance,
    propagate,
)

MIXED = ErrorCorrelation((Structure(0.35, 60.0, 1.0), Structure(0.4, 300.0, 0.3)), 0.25)
YEARS = np.array([1999, 2000, 2003])


def places(count, seed=0, width=6.0):
    rng = np.random.default_rng(seed)
    centre = np.column_stack([75 + rng.uniform(0, width, 15), 34 + rng.uniform(0, width / 2, 15)])
    return centre[rng.integers(0, 15, count)] + rng.normal(0, 0.3, (count, 2))


def points_of(positions):
    return cartesian_km(positions[:, 0], positions[:, 1])


def dense_covariance(correlation, loads, points, years):
    """By the definition: every pair of glacier-years, one after the other."""
    out = np.zeros((len(years), len(years)))
    for a, one in enumerate(years):
        for b, other in enumerate(years):
            for i in range(len(loads)):
                distance = np.linalg.norm(points[i] - points, axis=1)
                rho = correlation.at(distance, one - other)
                rho[i] += correlation.nugget * (one == other)
                out[a, b] += loads[i, a] * (rho * loads[:, b]).sum()
    return out


# --- the model -------------------------------------------------------------------------------------------------------


def test_published_values_are_those_published():
    rho = published_correlation().at([20.0, 500.0, 0.0], 0)
    np.testing.assert_allclose(rho, [0.705, 0.471, 1.0], atol=5e-4)
    np.testing.assert_allclose(published_correlation().at(0.0, 7), 0.5)


@pytest.mark.parametrize(
    ("structures", "nugget"),
    [
        ((Structure(0.5, 10.0, 1.0),), 0.4),
        ((Structure(1.5, 10.0, 1.0),), -0.5),
        ((Structure(1.0, 0.0, 1.0),), 0.0),
        ((Structure(1.0, 10.0, 1.2),), 0.0),
        ((Structure(float("nan"), 10.0, 1.0),), 0.0),
        ((), 0.0),
    ],
)
def test_a_model_that_is_no_correlation_is_refused(structures, nugget):
    with pytest.raises(InputError, match="error correlation"):
        ErrorCorrelation(structures, nugget)


@pytest.mark.parametrize("model", [MIXED, INDEPENDENT, published_correlation("few")])
def test_attributes_hold_the_whole_model(model):
    assert ErrorCorrelation.from_attrs({"title": "x", **model.to_attrs()}) == model


@pytest.mark.parametrize("text", [None, "x", "[]", '{"a": 1}', '{"structures": [1]}'])
def test_attributes_that_hold_no_model_are_refused(text):
    with pytest.raises(InputError, match="error_correlation"):
        ErrorCorrelation.from_attrs({} if text is None else {"error_correlation": text})


# --- sums ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("correlation", [MIXED, published_correlation(), INDEPENDENT])
@pytest.mark.parametrize("method", ["exact", "cells"])
def test_sums_have_the_covariance_of_all_pairs(correlation, method):
    rng = np.random.default_rng(1)
    points, loads = points_of(places(60)), rng.uniform(0, 2, (60, 3))
    loads[5] = 0
    expected = dense_covariance(correlation, loads, points, YEARS)
    found = covariance_of_sum(correlation, loads, points, YEARS, method=method)
    np.testing.assert_allclose(found, expected, rtol=2e-5 if method == "exact" else 5e-3)


def test_blocks_of_pairs_change_nothing(monkeypatch):
    points, loads = points_of(places(300)), np.random.default_rng(1).uniform(0, 2, (300, 3))
    whole = covariance_of_sum(MIXED, loads, points, YEARS, method="exact")
    monkeypatch.setattr("glacmb_grid.uncertainty.propagation._BLOCK", 37)
    np.testing.assert_allclose(covariance_of_sum(MIXED, loads, points, YEARS, method="exact"), whole, rtol=1e-6)


@pytest.mark.parametrize("range_km", [2.0, 10.0, 20.0, 50.0, 200.0, 2000.0, np.inf])
def test_cells_are_within_a_percent_of_all_pairs(range_km):
    rng = np.random.default_rng(2)
    points, loads = points_of(places(3000, width=15.0)), rng.lognormal(0, 1.2, (3000, 2))
    one = ErrorCorrelation((Structure(1.0, range_km, 1.0),), 0.0)
    exact, cells = (covariance_of_sum(one, loads, points, YEARS[:2], method=m) for m in ("exact", "cells"))
    np.testing.assert_allclose(np.sqrt(cells), np.sqrt(exact), rtol=5e-3)


def test_a_year_that_is_appended_leaves_the_covariance_of_the_others():
    points, loads = points_of(places(3000, width=15.0)), np.random.default_rng(1).uniform(0, 2, (3000, 3))
    for method in ("exact", "cells"):
        three = covariance_of_sum(MIXED, loads, points, YEARS, method=method)
        two = covariance_of_sum(MIXED, loads[:, :2], points, YEARS[:2], method=method)
        np.testing.assert_allclose(three[:2, :2], two, rtol=1e-5)


def test_regions_take_their_glaciers_and_years_without_sigma_are_no_part():
    positions = places(40)
    rng = np.random.default_rng(3)
    sigma, area = rng.uniform(0.2, 0.5, (40, 3)), rng.uniform(1, 5, 40)
    sigma[0, 1] = np.nan
    weights = np.stack([np.where(np.arange(40) < 15, area, 0), np.zeros(40)])
    found = propagate(MIXED, sigma, weights, positions, YEARS)
    loads = np.nan_to_num(area[:15, None] * sigma[:15])
    np.testing.assert_allclose(found[0], dense_covariance(MIXED, loads, points_of(positions[:15]), YEARS), rtol=2e-5)
    assert (found[1] == 0).all()
    by_year = np.repeat(weights[:, :, None], 3, axis=2)
    np.testing.assert_allclose(propagate(MIXED, sigma, by_year, positions, YEARS), found, rtol=1e-6)
    alone = propagate(INDEPENDENT, sigma, weights, positions, YEARS)
    np.testing.assert_allclose(independent_covariance(sigma, weights, YEARS), alone, rtol=1e-12)


def test_running_sums_by_hand():
    np.testing.assert_allclose(cumulative_sigma([[4.0, 1.0], [1.0, 9.0]]), [2, np.sqrt(15)])
    np.testing.assert_allclose(cumulative_sigma(np.full((3, 3), 4.0)), [2, 4, 6])


@pytest.mark.parametrize(
    "wrong",
    [
        {"sigma": np.ones((3, 4))},
        {"sigma": -np.ones((3, 2))},
        {"sigma": np.full((3, 2), np.inf)},
        {"weights": np.ones((1, 4))},
        {"weights": np.full((1, 3), np.nan)},
        {"years": [2000, 2000]},
        {"years": [2000]},
        {"positions": np.ones((2, 2))},
        {"positions": np.full((3, 2), np.nan)},
        {"positions": np.full((3, 2), 120.0)},
        {"method": "fast"},
    ],
)
def test_sums_of_what_does_not_fit_are_refused(wrong):
    given = {"sigma": np.ones((3, 2)), "weights": np.ones((1, 3)), "positions": np.ones((3, 2)), "years": [2000, 2001]}
    propagate(MIXED, **given)
    with pytest.raises(InputError):
        propagate(MIXED, **(given | wrong))


# --- draws -----------------------------------------------------------------------------------------------------------


def test_draws_have_the_covariance_of_the_model():
    positions = places(6, width=2.0)
    draws = draw_errors(MIXED, np.full((6, 3), 0.5), positions, YEARS, 40_000, seed=1)
    flat = draws.reshape(len(draws), -1)
    distance = np.linalg.norm(points_of(positions)[:, None] - points_of(positions)[None], axis=-1)
    rho = MIXED.at(distance[:, None, :, None], (YEARS[:, None] - YEARS)[None, :, None, :]).reshape(18, 18)
    expected = 0.25 * (rho + MIXED.nugget * np.eye(18))
    assert np.abs(flat.T @ flat / len(flat) - expected).max() < 5 * 0.25 / np.sqrt(40_000) * np.sqrt(2)
    assert np.abs(flat.mean(axis=0)).max() < 5 * 0.5 / np.sqrt(40_000)


@pytest.mark.parametrize("correlation", [MIXED, published_correlation()])
def test_an_appended_year_changes_no_draw_and_more_draws_begin_with_the_same(correlation):
    positions, years = places(50), np.array([1990, 1991, 1994, 1995])
    sigma = np.random.default_rng(0).uniform(0.2, 0.5, (50, 4))
    whole = draw_errors(correlation, sigma, positions, years, 8, seed=5)
    assert (draw_errors(correlation, sigma[:, :3], positions, years[:3], 8, seed=5) == whole[:, :, :3]).all()
    np.testing.assert_allclose(draw_errors(correlation, sigma, positions, years, 5, seed=5), whole[:5], atol=1e-6)
    assert not np.allclose(draw_errors(correlation, sigma, positions, years, 8, seed=6), whole)
    one_by_one = np.stack(list(draw_years(correlation, positions, years, 8, seed=5)), axis=2) * sigma.astype(np.float32)
    assert (one_by_one == whole).all()


def test_glaciers_without_sigma_have_no_draws_and_the_others_theirs():
    sigma = np.full((5, 2), 0.3)
    whole = draw_errors(MIXED, sigma, places(5), [2000, 2001], 4)
    sigma[2, 1] = np.nan
    part = draw_errors(MIXED, sigma, places(5), [2000, 2001], 4)
    assert np.isnan(part[:, 2, 1]).all()
    kept = np.isfinite(part)
    assert (part[kept] == whole[kept]).all()
    assert kept.sum() == 4 * 9


def implied_sigma(field, loads):
    """Of a sum of the values of a field that is drawn by neighbours, without drawing."""
    back = loads[field.order].astype(np.float64)
    for start, end, weights in reversed(field.levels):
        back[:start] += weights.T @ back[start:end]
    return np.sqrt(((back * field.deviation) ** 2).sum())


@pytest.mark.parametrize("range_km", [2.0, 30.0, 150.0, 1700.0])
def test_many_glaciers_are_drawn_with_the_sums_of_the_model(range_km):
    points = points_of(places(2500, width=15.0))
    field = neighbours(points, range_km)
    one = ErrorCorrelation((Structure(1.0, range_km, 1.0),), 0.0)
    for inside in (np.ones(2500), points[:, 0] < np.median(points[:, 0]), np.arange(2500) < 40):
        loads = np.random.default_rng(0).lognormal(0, 1, 2500) * inside
        exact = covariance_of_sum(one, loads[:, None], points, YEARS[:1], method="exact")[0, 0] ** 0.5
        assert implied_sigma(field, loads) == pytest.approx(exact, rel=0.01)


def test_neighbours_are_all_before_and_give_each_point_the_variance_of_one():
    points = points_of(np.concatenate([places(400), places(400)[:3]]))  # three glaciers at the places of others
    field = neighbours(points, 100.0)
    assert sorted(field.order) == list(range(403))
    assert all(weights.shape == (end - start, start) for start, end, weights in field.levels)
    values = field.draw(np.random.default_rng(0), 20_000)
    np.testing.assert_allclose(values.var(axis=0), 1, atol=0.06)
    twins = np.abs(values[:, :3] - values[:, 400:]).max()
    assert twins < 0.05


def test_few_points_are_drawn_exactly():
    points = points_of(places(30))
    factor = dense(points, 100.0).factor.astype(np.float64)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.testing.assert_allclose(factor @ factor.T, np.exp(-distance / 100), atol=1e-6)


def test_regional_sigmas_of_draws_are_those_of_the_sums():
    positions, rng = places(300), np.random.default_rng(4)
    sigma, area = rng.uniform(0.2, 0.5, (300, 3)), rng.lognormal(0, 1, 300)
    sums = np.einsum("g,dgy->dy", area, draw_errors(MIXED, sigma, positions, YEARS, 4000, seed=2))
    covariance = propagate(MIXED, sigma, area[None], positions, YEARS)[0]
    np.testing.assert_allclose(sums.std(axis=0), np.sqrt(np.diag(covariance)), rtol=0.05)
    np.testing.assert_allclose(sums.cumsum(axis=1).std(axis=0), cumulative_sigma(covariance), rtol=0.05)


@pytest.mark.parametrize("years", [[2001, 2000], [2000, 2000], [2000.5, 2001]])
def test_draws_of_years_out_of_order_are_refused(years):
    with pytest.raises(InputError, match="ascending"):
        draw_errors(MIXED, np.ones((2, 2)), np.ones((2, 2)), years)


def test_draws_of_a_sigma_that_does_not_fit_are_refused():
    with pytest.raises(InputError, match="sigma"):
        draw_errors(MIXED, np.ones((2, 3)), np.ones((2, 2)), [2000, 2001])


# --- estimation ------------------------------------------------------------------------------------------------------

# Made by scikit-gstat 1.0.26 and xdem 0.2.3 of `one_year`: skgstat.Variogram(xy, z, bin_func=EDGES).experimental and
# bin_count; with these semivariances, their mean distances and the divisors of our fit,
# xdem.spatialstats.fit_sum_model_variogram(["exponential", "exponential"]), the first range below 0.5 km as a nugget,
# and curve_fit of skgstat.models.exponential with a nugget agree: effective range, sill, nugget.
EDGES = [10.0, 20.0, 30.0, 45.0, 60.0, 80.0, 100.0, 130.0, 160.0, 200.0, 250.0]
GSTAT_VALUES = [0.25795639, 0.44662527, 0.57657139, 0.51857836, 0.71148274]
GSTAT_VALUES += [0.74648047, 0.85491778, 0.89906604, 0.82540404, 0.92516023, 0.76163507]
GSTAT_FIT = [101.597, 0.71214, 0.14625]
GSTAT_COUNTS = [29, 104, 172, 364, 437, 787, 882, 1456, 1529, 1938, 2112]


def one_year():
    rng = np.random.default_rng(7)
    xy = rng.uniform(0, 300, (150, 2))
    distance = np.linalg.norm(xy[:, None] - xy[None], axis=-1)
    factor = np.linalg.cholesky(0.75 * np.exp(-distance / 40) + (0.25 + 1e-9) * np.eye(150))
    return np.column_stack([xy, np.zeros(150)]), factor @ rng.standard_normal(150)


def test_semivariances_are_those_of_another_library():
    points, errors = one_year()
    found = variograms.semivariances(errors[:, None], points, np.array([0.0, *EDGES]))
    np.testing.assert_allclose(found.value, GSTAT_VALUES, rtol=1e-6)
    np.testing.assert_allclose(found.pairs * 2, GSTAT_COUNTS)


def test_the_fit_is_that_of_another_library():
    points, errors = one_year()
    found = variograms.semivariances(errors[:, None], points, np.array([0.0, *EDGES]))
    (level, _, yearly, range_km, _, nugget), _ = variograms.fit_parameters(found)
    assert level < 1e-6
    np.testing.assert_allclose([3 * range_km, yearly, nugget], GSTAT_FIT, rtol=0.01)


def test_semivariances_by_hand():
    points = np.array([[0.0, 0, 0], [15.0, 0, 0]])
    errors = np.array([[1.0, 2.0, np.nan], [0.0, 4.0, 1.0]])
    found = variograms.semivariances(errors, points, np.array([0.0, 10, 20]), max_lag=1)
    by_bin = {
        (round(d, 6), lag): (v, n)
        for d, lag, v, n in zip(found.distance, found.lag, found.value, found.pairs, strict=True)
    }
    # (15 km, same year): (1 + 4) / 2 / 2 with two pairs of years; one glacier: 1/2 of one, (16 + 9) / 2 / 2 of two
    assert by_bin[15.0, 0.0] == pytest.approx((1.25, 2 / 3))
    assert by_bin[0.0, 1.0] == pytest.approx(((0.5 * 0.5 + 6.25 * 2 / 3) / (1 / 2 + 2 / 3), 1 / 2 + 2 / 3))
    # other glacier a year later: (1 - 4)2, (2 - 1)2 of two; a year earlier: (0 - 2)2 of one
    assert by_bin[15.0, 1.0] == pytest.approx(((2.5 * 2 / 3 + 2.0 / 2) / (2 / 3 + 1 / 2), 2 / 3 + 1 / 2))


def test_blocks_of_glaciers_change_no_semivariance(monkeypatch):
    points, errors = points_of(places(60)), np.random.default_rng(0).normal(size=(60, 5))
    whole = variograms.semivariances(errors, points)
    monkeypatch.setattr(variograms, "_BLOCK", 7)
    np.testing.assert_allclose(variograms.semivariances(errors, points).value, whole.value, rtol=1e-12)


def test_the_model_is_found_again_from_its_own_semivariances():
    lag, distance = (a.ravel() for a in np.meshgrid(np.arange(8.0), np.geomspace(5, 800, 12)))
    truth = np.array([0.3, 60.0, 0.5, 350.0, 0.4, 0.2])
    variogram = variograms.Variogram(distance, lag, variograms.model_semivariance(truth, distance, lag), 50 + 0 * lag)
    np.testing.assert_allclose(variograms.fit_parameters(variogram)[0], truth, rtol=0.01)


def predictions_of(correlation, glaciers=150, years=30, seed=0, noise=0.0):
    positions = places(glaciers, seed)
    numbers = np.arange(1980, 1980 + years)
    errors = draw_errors(correlation, np.full((glaciers, years), 0.4), positions, numbers, 1, seed)[0]
    errors = errors + np.random.default_rng(seed).normal(0, noise, errors.shape)
    names = np.array([f"g{k}" for k in range(glaciers)])
    row, column = np.indices(errors.shape).reshape(2, -1)
    table = pd.DataFrame({"glacier": names[row], "year": numbers[column], "observed": errors.ravel(), "predicted": 0.0})
    return table, pd.DataFrame({"longitude": positions[:, 0], "latitude": positions[:, 1]}, index=names)


def test_what_was_drawn_is_estimated():
    tables = [predictions_of(MIXED, seed=s) for s in range(4)]
    found = [variograms.fit_correlation(*t) for t in tables]
    assert all(f.source == "estimated" and f.glaciers == 150 and f.rows == 4500 for f in found)
    mean = np.mean(
        [[f.structures[0].share, f.structures[1].share, f.structures[1].persistence, f.nugget] for f in found], 0
    )
    np.testing.assert_allclose(mean, [0.35, 0.4, 0.3, 0.25], atol=0.09)


def test_the_error_of_the_observations_is_taken_off_the_nugget():
    table, positions = predictions_of(MIXED, noise=0.3)
    plain = variograms.fit_correlation(table, positions)
    clean = variograms.fit_correlation(table, positions, observed_uncertainty=np.full(len(table), 0.3))
    part = 0.09 / (table["observed"] ** 2).mean()
    assert clean.nugget == pytest.approx((plain.nugget - part) / (1 - part))
    assert clean.structures[0].share == pytest.approx(plain.structures[0].share / (1 - part))
    assert "of the observations" in clean.reason


def test_sigma_says_how_large_each_error_should_be():
    table, positions = predictions_of(MIXED, glaciers=40)
    large = table["glacier"].isin(table["glacier"].unique()[:20])
    scale = np.where(large, 5.0, 1.0)
    plain = variograms.fit_correlation(table, positions, sigma=np.full(len(table), 0.4))
    scaled = variograms.fit_correlation(table.assign(observed=table["observed"] * scale), positions, sigma=0.4 * scale)
    np.testing.assert_allclose(scaled.nugget, plain.nugget, rtol=1e-6)


@pytest.mark.parametrize("keep", [lambda t: t[t["glacier"].isin([f"g{k}" for k in range(9)])], lambda t: t.iloc[::100]])
def test_published_values_stand_in_for_few_residuals_and_that_is_said(keep):
    table, positions = predictions_of(MIXED)
    found = variograms.fit_correlation(keep(table), positions)
    assert found.source == "published"
    assert "fewer than 10 or 60" in found.reason
    assert found.structures == published_correlation().structures


def test_glaciers_without_a_position_are_left_out():
    table, positions = predictions_of(MIXED, glaciers=30)
    positions.loc["g3", "latitude"] = np.nan
    assert variograms.fit_correlation(table, positions.drop(index="g4")).glaciers == 28


@pytest.mark.parametrize(
    "change",
    [
        lambda t, p: (pd.concat([t, t.iloc[:1]]), p, {}),
        lambda t, p: (t.drop(columns="observed"), p, {}),
        lambda t, p: (t, p.drop(columns="latitude"), {}),
        lambda t, p: (t, p, {"sigma": np.zeros(len(t))}),
        lambda t, p: (t, p, {"sigma": np.ones(3)}),
        lambda t, p: (t, p, {"observed_uncertainty": np.ones(3)}),
    ],
)
def test_residuals_that_say_nothing_are_refused(change):
    table, positions, more = change(*predictions_of(MIXED, glaciers=20, years=5))
    with pytest.raises(InputError):
        variograms.fit_correlation(table, positions, **more)


# --- from residuals to regional sigmas -------------------------------------------------------------------------------


@pytest.mark.slow
def test_regional_sigmas_cover_the_truth_as_often_as_they_say():
    """200 error fields of 400 glaciers and 25 years, the correlation fitted to short series of 80 of them each time."""
    rng = np.random.default_rng(0)
    positions, years = places(400, width=8.0), np.arange(1990, 2015)
    errors = draw_errors(MIXED, np.ones((400, 25)), positions, years, 200, seed=0)
    points, weight = points_of(positions), rng.lognormal(-1, 1.2, 400)
    weight /= weight.sum()
    inside = []
    for field in errors:
        measured = rng.choice(400, 80, replace=False)
        length = np.clip(rng.geometric(0.1, 80) + 3, 4, 25)
        first = rng.integers(0, 26 - length)
        t = np.arange(25)
        seen = np.where((t >= first[:, None]) & (t < (first + length)[:, None]), field[measured], np.nan)
        size = np.sqrt(np.nanmean(seen**2))
        structures, nugget = variograms.fit_model(variograms.semivariances(seen / size, points[measured]))
        correlation = ErrorCorrelation(structures, nugget)
        covariance = covariance_of_sum(correlation, np.repeat(weight[:, None] * size, 25, axis=1), points, years)
        off = np.abs(weight @ field)
        independent = size * np.sqrt((weight**2).sum())
        inside.append([(off < np.sqrt(np.diag(covariance))).mean(), (off < independent).mean()])
    honest, claimed = np.mean(inside, axis=0)
    assert 0.63 <= honest <= 0.73
    assert claimed < 0.3
