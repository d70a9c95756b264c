"""Degree days and snow fraction, against numerical quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from glacmb_grid.physics import positive_temperature, snow_fraction

TEMPERATURES = st.floats(-80, 40)
SPREADS = st.floats(0.5, 10)


def density(t, mean, spread):
    return np.exp(-0.5 * ((t - mean) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))


@given(st.floats(-20, 30), SPREADS)
def test_positive_temperature_is_the_integral_over_the_month(mean, spread):
    low, high = max(0.0, mean - 12 * spread), max(0.0, mean + 12 * spread)
    peak = [mean] if low < mean < high else None
    expected, _ = quad(lambda t: t * density(t, mean, spread), low, high, points=peak, epsabs=1e-13, limit=200)
    assert positive_temperature(mean, spread) == pytest.approx(expected, rel=1e-8, abs=1e-11)


def test_positive_temperature_at_the_melting_point():
    assert positive_temperature(0.0, 4.0) == pytest.approx(4.0 / np.sqrt(2 * np.pi), rel=1e-15)


@given(TEMPERATURES, SPREADS)
def test_warm_months_melt_their_mean_and_cold_ones_nothing(mean, spread):
    found = float(positive_temperature(mean, spread))
    assert found >= max(mean, 0.0) - 1e-13
    if mean > 9 * spread:
        assert found == pytest.approx(mean, rel=1e-14)
    if mean < -9 * spread:
        assert found < 1e-15


@given(TEMPERATURES, SPREADS)
def test_positive_parts_of_a_temperature_and_its_mirror_differ_by_the_mean(mean, spread):
    difference = positive_temperature(mean, spread) - positive_temperature(-mean, spread)
    assert difference == pytest.approx(mean, rel=1e-12, abs=1e-12)


def test_warmer_and_more_scattered_months_melt_more():
    means = np.linspace(-60, 30, 901)
    assert (np.diff(positive_temperature(means, 4.0)) >= 0).all()
    assert (positive_temperature(means, 5.0) >= positive_temperature(means, 4.0)).all()


def test_a_small_spread_is_the_plain_positive_part():
    means = np.array([-3.0, -0.1, 0.1, 5.0])
    np.testing.assert_allclose(positive_temperature(means, 1e-6), np.maximum(means, 0), atol=1e-12)


def test_shapes_are_kept():
    assert positive_temperature(np.zeros((2, 3)), 4.0).shape == (2, 3)
    assert snow_fraction(np.zeros((2, 3)), 1.0, 2.0).shape == (2, 3)


def test_snow_fraction_known_by_hand():
    assert snow_fraction(1.0, 1.0, 2.0) == 0.5
    assert snow_fraction(-1.0, 1.0, 2.0) == pytest.approx(0.8413447460685429, rel=1e-12)  # Phi(1)
    assert snow_fraction(-40.0, 1.0, 2.0) == 1.0
    assert snow_fraction(50.0, 1.0, 2.0) < 1e-100


@given(st.floats(-30, 30), SPREADS)
def test_snow_fraction_falls_with_temperature(threshold, spread):
    share = snow_fraction(np.linspace(-50, 50, 201), threshold, spread)
    assert (np.diff(share) <= 0).all()
    assert (share >= 0).all()
    assert (share <= 1).all()
    np.testing.assert_allclose(share + snow_fraction(2 * threshold - np.linspace(-50, 50, 201), threshold, spread), 1)
