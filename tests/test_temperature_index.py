"""The temperature index: its fit against scipy on the same cost, planted truth, and independence of splits."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import least_squares

from glacmb_grid.learning import degree_day_fit
from glacmb_grid.learning import least_squares as batched
from glacmb_grid.learning.degree_days import HIGHEST, LOWEST, SETTINGS, balance
from glacmb_grid.learning.table import Table
from glacmb_grid.settings import TemperatureIndex

TRUTH = np.array([0.006, 1.3, 0.7])
WIDE = TemperatureIndex(prior_sd=(0.05, 20.0, 30.0))


def fixed_of(settings):
    return {n: float(getattr(settings, n)) for n in SETTINGS}


def made_up(truth=TRUTH, rows=24, bands=3, noise=0.0, water="precipitation", years=1):
    """Forcing, and a table of observations that are sums over `years` rows each."""
    rng = np.random.default_rng(7)
    season = 272.0 - 9 * np.cos(2 * np.pi * (np.arange(12) - 3) / 12)
    forcing = {
        "temperature": season + rng.normal(0, 1.5, (rows, 12)) + rng.normal(0, 2, (rows, 1)),
        water: 0.1 * rng.gamma(4, 0.25, (rows, 12)), "days": np.full((rows, 12), 30.4),
        "orography": np.full(rows, 4000.0), "hypsometry": 4000 + np.linspace(-300, 300, bands) * np.ones((rows, 1)),
    }  # fmt: skip
    count = rows // years
    operator = scipy.sparse.csr_matrix((np.ones(rows), (np.arange(rows) // years, np.arange(rows))), (count, rows))
    target = operator @ balance(forcing, truth, fixed_of(WIDE)) + rng.normal(0, noise, count) * (noise > 0)
    none = np.zeros(count)
    return forcing, Table(None, operator, none == 1, none.astype(int), target, none, none.astype(str))


def cost_of(forcing, table, seen, settings, parameters):
    return 0.5 * np.sum(residuals_of(forcing, table, seen, settings, parameters) ** 2)


def residuals_of(forcing, table, seen, settings, parameters):
    simulated = table.operator @ balance(forcing, parameters, fixed_of(settings))
    standard = (parameters - np.array(settings.prior_mean)) / np.array(settings.prior_sd)
    return np.concatenate([(simulated - table.target)[seen] / settings.residual_sd, standard])


def best_of_scipy(forcing, table, seen, settings, starts=4):
    rng = np.random.default_rng(1)
    centre, spread = np.array(settings.prior_mean), np.array(settings.prior_sd)
    bounds = (LOWEST - centre) / spread, (HIGHEST - centre) / spread
    tries = [
        least_squares(
            lambda z: residuals_of(forcing, table, seen, settings, centre + spread * z),
            np.clip(rng.normal(0, 0.3, 3) * (i > 0), bounds[0] + 1e-6, bounds[1] - 1e-6), bounds=bounds,
            xtol=1e-12, ftol=1e-12, gtol=1e-12, max_nfev=60,
        )
        for i in range(starts)
    ]  # fmt: skip
    return centre + spread * min(tries, key=lambda t: t.cost).x


def random_splits(count, samples, share=0.7):
    return np.random.default_rng(2).random((count, samples)) < share


@pytest.mark.parametrize(
    ("water", "years", "bands"), [("precipitation", 1, 3), ("snowfall", 1, 1), ("precipitation", 2, 3)]
)
def test_planted_parameters_are_found_again(water, years, bands):
    forcing, table = made_up(water=water, years=years, bands=bands)
    found = degree_day_fit.fit_splits(table, forcing, random_splits(3, len(table.target)), WIDE)
    np.testing.assert_allclose(found, np.tile(TRUTH, (3, 1)), atol=2e-3)


@pytest.mark.parametrize("years", [1, 2])
def test_every_split_reaches_the_minimum_of_the_cost(years):
    forcing, table = made_up(noise=0.3, years=years)
    settings, seen = TemperatureIndex(), random_splits(4, len(table.target))
    for mask, found in zip(seen, degree_day_fit.fit_splits(table, forcing, seen, settings), strict=True):
        expected = best_of_scipy(forcing, table, mask, settings)
        least = cost_of(forcing, table, mask, settings, expected)
        reached = cost_of(forcing, table, mask, settings, found)
        assert reached <= least + 1e-8
        if least - reached < 1e-9:  # otherwise scipy has stopped at a kink
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_minimum_on_a_bound():
    forcing, table = made_up(truth=np.array([0.02, 14.0, 0.0]))
    seen = np.ones((1, len(table.target)), bool)
    found = degree_day_fit.fit_splits(table, forcing, seen, WIDE)[0]
    expected = best_of_scipy(forcing, table, seen[0], WIDE)
    assert found[1] == pytest.approx(HIGHEST[1], abs=1e-9)
    assert cost_of(forcing, table, seen[0], WIDE, found) <= cost_of(forcing, table, seen[0], WIDE, expected) + 1e-8
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_split_depends_neither_on_other_splits_nor_on_what_it_does_not_see():
    forcing, table = made_up(noise=0.3)
    seen = random_splits(5, len(table.target))
    together = degree_day_fit.fit_splits(table, forcing, seen, TemperatureIndex())
    alone = degree_day_fit.fit_splits(table, forcing, seen[:1], TemperatureIndex())
    table.target[~seen[0]] += 5.0
    altered = degree_day_fit.fit_splits(table, forcing, seen, TemperatureIndex())
    np.testing.assert_allclose(alone[0], together[0], atol=1e-6)
    np.testing.assert_allclose(altered[0], together[0], atol=1e-6)
    assert np.abs(altered[1:] - together[1:]).max() > 1e-3


def test_one_glacier_of_five_years_and_a_split_that_sees_nothing():
    forcing, table = made_up(rows=5, bands=1)
    seen = np.array([[True] * 5, [False] * 5])
    found = degree_day_fit.fit_splits(table, forcing, seen, TemperatureIndex())
    np.testing.assert_allclose(found[1], TemperatureIndex().prior_mean, atol=1e-6)
    assert np.isfinite(found).all()


def test_the_fit_sees_the_model_of_the_predictions():
    """Exactly where the polynomials are laid through, and to their precision in between."""
    forcing, table = made_up()
    settings = TemperatureIndex()
    fit = degree_day_fit.Fit(table, forcing, np.ones((1, len(table.target)), bool), settings)
    node = np.cos(np.pi * 0.5 / degree_day_fit.NODES)
    for bias, error in ((1.0 * node, 1e-10), (0.3, 1e-6)):
        parameters = np.array([0.006, 1.3, bias])
        standard = (parameters - fit.centre) / fit.spread
        with batched.double_precision():
            shared = fit.shared(0.0, 1.0)
            got = np.asarray(degree_day_fit.residuals(standard, shared, np.ones(len(table.target))))
        expected = balance(forcing, parameters, fixed_of(settings)) - table.target
        np.testing.assert_allclose(got[:-3], expected, atol=error)


def test_double_precision_does_not_outlast_its_context():
    import jax.numpy as jnp

    with batched.double_precision():
        assert jnp.ones(1, jnp.float64).dtype == np.float64
    assert jnp.zeros(1).dtype == np.float32
