"""Coverage of intervals: by hand, against numbers that are known, and on regions whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

import glacmb_grid as gg
from glacmb_grid.errors import InputError
from glacmb_grid.uncertainty.conformal import Scores, conformal_half_widths
from glacmb_grid.uncertainty.coverage import COVERAGE_COLUMNS, coverage, gaussian_crps, symmetric_crps


def table(residual, glacier, year, scheme="logo", **columns):
    glacier = np.array(list(glacier)).astype(str)
    given = {
        "scheme": scheme,
        "protocol": "nested",
        "model": "ridge",
        "sample": [f"{g}:{y}:{i}" for i, (g, y) in enumerate(zip(glacier, year, strict=True))],
        "glacier": glacier,
        "group": glacier,
        "region": "",
        "year": year,
        "observed": np.asarray(residual, float) - 0.4,
        "predicted": -0.4,
    }
    return pd.DataFrame(given | columns)


def one_of(found, **where):
    for name, value in where.items():
        found = found[found[name] == value]
    assert len(found) == 1
    return found.iloc[0]


def test_by_hand():
    # four glaciers of one row each, 50 %: of three others the second smallest
    found = coverage(table([1, -2, 3, 4], "ABCD", [2000] * 4), [0.5, 0.9])
    assert list(found.columns) == COVERAGE_COLUMNS
    half = one_of(found, kind="all", method="hierarchical", level=0.5)
    # half widths 3, 3, 2, 2: A and B inside
    assert (half["coverage"], half["width"], half["glaciers"], half["n"]) == (0.5, 5.0, 4, 4)
    assert np.isnan(half["lower"])  # four blocks
    ninety = one_of(found, kind="all", method="hierarchical", level=0.9)
    assert np.isnan(ninety["coverage"])
    assert ninety["note"] == "not available: it takes 9 other glaciers, and there are 3"


def test_a_glacier_counts_once():
    residual = [0.1] * 9 + [5.0] + [0.2] * 9
    glacier = ["long"] * 9 + ["far"] + list("abcdefghi")
    found = one_of(coverage(table(residual, glacier, 2000 + np.arange(19)), [0.9]), kind="all", method="hierarchical")
    # `far` is outside of all others; every other glacier is inside of what `far` makes: 10 of 11, 18 of 19 rows
    assert found["coverage"] == pytest.approx(10 / 11)
    assert found["pooled"] == pytest.approx(18 / 19)
    assert found["lower"] < 10 / 11 <= found["upper"]


def test_the_scored_glacier_is_outside_its_own_calibration():
    rng = np.random.default_rng(2)
    glacier = np.repeat(np.arange(12), 4)
    residual = rng.normal(size=48)
    one = coverage(table(residual, glacier, np.tile(np.arange(2000, 2004), 12)), [0.5], samples=None)
    inside = []
    for g in range(12):
        mine = glacier == g
        predictions = table(residual[~mine], glacier[~mine], np.tile(np.arange(2000, 2004), 11))
        half = conformal_half_widths(predictions, ["other"], [2000], levels=[0.5]).item()
        inside.append((np.abs(residual[mine]) <= half).mean())
    assert one_of(one, kind="all", method="hierarchical")["coverage"] == pytest.approx(np.mean(inside))


def test_slices_are_known_before_the_observation():
    area = np.repeat([0.3, 3.0], 10)
    residual = np.concatenate([np.full(10, 2.0), np.full(10, 0.1)]) * (1 + np.arange(20) / 100)
    predictions = table(residual, np.arange(20), np.where(np.arange(20) % 2, 1995, 2005), predicted=0.3)
    samples = xr.Dataset(coords={"sample": predictions["sample"].to_numpy(object), "area": ("sample", area)})
    found = coverage(predictions, [0.5], samples=samples)
    names = set(zip(found["kind"], found["slice"], strict=True))
    assert names == {
        ("all", "all"), ("decade", "1990s"), ("decade", "2000s"), ("sign", "predicted positive"),
        ("size", "0 to 0.5 km2"), ("size", "2 to 5 km2"),
    }  # fmt: skip
    small, large = (one_of(found, slice=s, method="hierarchical") for s in ("0 to 0.5 km2", "2 to 5 km2"))
    assert small["coverage"] < 0.2
    assert large["coverage"] == 1


def test_the_gaussian_interval_is_that_of_the_stated_sigma():
    predictions = table([0.5, -1.5, 2.5], "ABC", [2000] * 3, predicted_uncertainty=1.0)
    found = coverage(predictions, [0.9])
    normal = one_of(found, kind="all", method="gaussian")
    assert normal["width"] == pytest.approx(2 * 1.6448536)
    assert normal["coverage"] == pytest.approx(2 / 3)
    assert "gaussian" not in set(coverage(table([0.5, 1, 2], "ABC", [2000] * 3), [0.9])["method"])


@settings(max_examples=20)
@given(st.floats(0, 4), st.floats(0.2, 3))
def test_gaussian_score_is_the_integral(error, sigma):
    def squared(x):
        return (norm.cdf(x / sigma) - (x >= error)) ** 2

    integral = quad(squared, -40, error, points=[0])[0] + quad(squared, error, 40)[0]
    assert gaussian_crps(np.array([error]), np.array([sigma]))[0] == pytest.approx(integral, abs=1e-5)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(0, 9999))
def test_score_of_the_conformal_distribution_is_its_definition(lengths, seed):
    rng = np.random.default_rng(seed)
    glacier = np.repeat(np.arange(len(lengths)), lengths)
    score, error = rng.random(len(glacier)), rng.random(5) * 1.5
    weight = 1 / (len(lengths) * np.array(lengths)[glacier])
    value, share = np.concatenate([score, -score]), np.concatenate([weight, weight]) / 2
    wanted = [
        (share * np.abs(value - e)).sum() - 0.5 * (share * share[:, None] * np.abs(value - value[:, None])).sum()
        for e in error
    ]
    np.testing.assert_allclose(symmetric_crps(error, Scores.of(score, glacier)), wanted, atol=1e-12)


def test_scores_over_an_expected_error_are_narrower_where_it_is_known():
    rng = np.random.default_rng(4)
    scale = np.exp(rng.normal(0, 1, 80))
    predictions = table(scale * rng.normal(size=80), np.arange(80), np.full(80, 2000))
    plain, scaled = (
        one_of(coverage(predictions, [0.9], scale=s), kind="all", method="hierarchical") for s in (None, scale)
    )
    assert scaled["crps"] < plain["crps"]
    assert scaled["width"] < plain["width"]
    assert abs(scaled["coverage"] - 0.9) < 0.06


def test_group_mates_are_drawn_together():
    residual = np.concatenate([np.full(20, 3.0), np.linspace(0.1, 1, 40)])
    predictions = table(residual, np.arange(60), np.full(60, 2000))
    apart = one_of(coverage(predictions, [0.5]), kind="all", method="hierarchical")
    together = one_of(
        coverage(predictions.assign(group=(np.arange(60) // 6).astype(str)), [0.5]), kind="all", method="hierarchical"
    )
    assert together["coverage"] == apart["coverage"]
    assert together["upper"] - together["lower"] > 1.5 * (apart["upper"] - apart["lower"])


@pytest.mark.parametrize("wrong", [{"levels": [90]}, {"draws": 0}, {"interval": 1.0}])
def test_wrong_arguments_are_told(wrong):
    with pytest.raises(InputError):
        coverage(table([1, 2, 3], "ABC", [2000] * 3), **wrong)


# ---- regions whose truth is known ----

YEARS = np.arange(1980, 2020)
SIZES = np.array([0.5, 2.0, 5.0, 10.0])  # km2


def region(seed, measured, unmeasured=1000):
    """Glaciers with a hidden level, weather, years good or bad for all, and noise by glacier and by size.

    Predictors (glacier, year, 2), balances (glacier, year), areas (glacier,), and which glacier-years are observed:
    unequal series, the last years first, none before 1992.
    """
    rng = np.random.default_rng(seed)
    shape = (measured + unmeasured, len(YEARS))
    area = np.exp(rng.normal(0.3, 1.4, shape[0]))
    height = np.broadcast_to(rng.normal(size=(shape[0], 1)), shape)
    weather = rng.normal(size=shape[1]) + 0.5 * rng.normal(size=shape)
    noise = 0.25 * np.exp(rng.normal(0, 0.3, shape[0]) - 0.15 * (np.log(area) - 0.3) / 1.4)
    hidden = rng.normal(0, 0.25, (shape[0], 1)) + rng.normal(0, 0.1, shape[1])
    known = -0.4 + 0.25 * height + 0.35 * weather - 0.1 * height * np.maximum(weather, 0)
    balance = known + hidden + noise[:, None] * rng.normal(size=shape)
    last = rng.integers(37, 41, measured)
    first = last - rng.geometric(0.12, measured).clip(max=25)
    observed = (np.arange(40) >= first[:, None]) & (np.arange(40) < last[:, None])
    return np.stack([height, weather], axis=2), balance, area, observed


def linear(values, balance):
    """A ridge regression as a function of predictors."""
    centre = values.mean(axis=0)
    apart = values - centre
    slope = np.linalg.solve(apart.T @ apart + np.eye(2), apart.T @ (balance - balance.mean()))
    return lambda new: balance.mean() + (new - centre) @ slope


def judged(values, balance, observed):
    """Out-of-fold predictions by `logo` and `both_out`."""
    glacier, year = np.nonzero(observed)
    x, y = values[glacier, year], balance[glacier, year]
    whole = np.empty(len(y))
    for g in np.unique(glacier):
        whole[glacier == g] = linear(x[glacier != g], y[glacier != g])(x[glacier == g])
    both = np.empty(len(y))
    for i in range(len(y)):
        apart = (glacier != glacier[i]) & (year != year[i])
        both[i] = linear(x[apart], y[apart])(x[i])
    names = np.array([f"measured {g}" for g in glacier])
    return pd.concat(
        [
            table(y + 0.4, names, YEARS[year], "logo", predicted=whole),
            table(y + 0.4, names, YEARS[year], "both_out", predicted=both),
        ]
    )


def covered(seed, measured, method):
    """Whether the 90 % interval holds, (unmeasured glacier, year), and the areas."""
    values, balance, area, observed = region(seed, measured)
    predictions = judged(values, balance, observed)
    fitted = linear(values[:measured][observed], balance[:measured][observed])
    new = [f"new {i}" for i in range(len(area) - measured)]
    half = conformal_half_widths(predictions, new, YEARS, levels=[0.9], method=method)[:, :, 0]
    error = balance[measured:] - fitted(values[measured:].reshape(-1, 2)).reshape(len(new), -1)
    return np.abs(error) <= half.values, area[measured:]


def shares(regions, least, most, method):
    """Coverage of each region, (region,), of every size class and of every decade over all regions."""
    found = [covered(s, k, method) for s, k in enumerate(np.linspace(least, most, regions).round().astype(int))]
    each = np.array([inside.mean() for inside, _ in found])
    sizes = np.array([[c[np.digitize(a, SIZES) == n].mean() for n in range(5)] for c, a in found]).mean(axis=0)
    decades = np.array([c.reshape(len(c), 4, 10).mean(axis=(0, 2)) for c, _ in found]).mean(axis=0)
    return each, sizes, decades


def test_two_synthetic_regions_are_covered():
    each, sizes, decades = shares(2, 30, 50, "hierarchical")
    assert each.mean() > 0.87
    assert min(sizes.min(), decades.min()) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("method", "low", "high"), [("hierarchical", 0.90, 0.94), ("calibrated", 0.89, 0.91)])
def test_synthetic_regions_are_covered_as_promised(method, low, high):
    each, sizes, decades = shares(60, 10, 60, method)
    assert low <= each.mean() <= high
    assert sizes.min() >= 0.85
    assert decades.min() >= 0.85


@pytest.mark.slow
def test_few_glaciers_over_cover_and_many_do_not():
    few, many = shares(30, 10, 13, "hierarchical")[0], shares(20, 60, 60, "hierarchical")[0]
    assert few.mean() > 0.93
    assert abs(many.mean() - 0.9) < 0.03


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*not used as predictors")
def test_high_mountain_asia_is_covered(real_data):
    path = real_data / "hma_table" / "hma_annual_balance_monthly_climate.csv"
    samples = gg.read_samples_table(
        path, glacier="wgms_id", year="year", target="annual_balance_mm", target_units="mm w.e.", group="cell",
        latitude="latitude", longitude="longitude", exclude=["china_continental"], folds={"logo": "logo_fold"},
        monthly={
            "snowfall": {"columns": "snowfall_??", "units": "m day-1"},
            "temperature_clipped": {"columns": "temperature_clipped_??", "units": "degC"},
        },
    )  # fmt: skip
    folds = gg.make_folds(samples, "logo")
    predicted = gg.predict(gg.fit("ridge", samples, folds), samples)
    found = coverage(gg.out_of_fold(samples, folds, predicted, model="ridge"), [0.5, 0.9])
    for level in (0.5, 0.9):
        line = one_of(found, kind="all", method="hierarchical", level=level)
        assert line["lower"] <= level <= line["upper"]
        assert line["glaciers"] == 93
        assert line["crps"] <= one_of(found, kind="all", method="gaussian", level=level)["crps"]
