"""The model of level and anomaly: planted ones come back, closed forms hold, tables that tell little are no trouble."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.models.level_anomaly import amplitude
from glacmb_grid.learning.ragged import unpack
from glacmb_grid.learning.registry import fit, model_of, predict
from glacmb_grid.learning.tabular import Training
from glacmb_grid.settings import LevelAnomaly
from glacmb_grid.validation.predictions import out_of_fold


def world(toys, glaciers=24, years=12, strength=0.0, noise=0.05, seed=0, static=("height",)):
    """Balances = level of the height + amplitude x weather; climates of glaciers differ, and tell nothing."""
    rng = np.random.default_rng(seed)
    glacier, year = (a.ravel() for a in np.indices((glaciers, years)))
    height, climate = rng.normal(size=(2, glaciers))
    weather = rng.normal(size=(glaciers, years))
    weather = (weather - weather.mean(axis=1, keepdims=True)).ravel()
    factor = np.exp(strength * height)[glacier]
    target = -0.4 + 0.5 * height[glacier] + 0.6 * factor * weather + rng.normal(0, noise, len(year))
    columns = {"height": height[glacier], "warmth": 3 * climate[glacier] + weather, "rain": rng.normal(size=len(year))}
    kept = {n: v for n, v in columns.items() if n in (*static, "warmth", "rain")}
    names = [f"g{g:02d}" for g in glacier]
    samples = toys.table(np.column_stack([*kept.values()]), target, names, year + 2000, list(kept))
    return SimpleNamespace(samples=samples, height=height, glacier=glacier, weather=weather, target=target)


def error(samples, scheme, settings=None, model="level_anomaly", **options):
    folds = make_folds(samples, scheme, inner=3, parts=6, **options)
    table = out_of_fold(samples, folds, predict(fit(model, samples, folds, settings), samples), model=model)
    return float(np.sqrt(np.mean((table["predicted"] - table["observed"]) ** 2)))


def plain(design, years, target, varies):
    return Training(design, years, target, 1, np.asarray(varies))


@pytest.mark.parametrize("features", [4, 60])
def test_two_penalties_are_the_closed_form(features):
    """Minimum of the squares, with a constant that nothing penalises, of sums over one and two years."""
    rng = np.random.default_rng(0)
    years = rng.integers(1, 3, 30).astype(float)
    design, target, varies = rng.normal(size=(30, features)), rng.normal(size=30), np.arange(features) % 2 == 0
    model = model_of("level_anomaly")
    hyper = {"form": "additive", "level_penalty": 7.0, "anomaly_penalty": 0.3}
    found = model.learn(model.prepare(plain(design, years, target, varies)), hyper)
    whole = np.column_stack([design, years])
    penalty = np.diag([*np.where(varies, 0.3, 7.0), 0.0])
    expected = np.linalg.solve(whole.T @ whole + penalty, whole.T @ target)
    np.testing.assert_allclose(found["anomaly"], expected[:-1][varies], atol=1e-9)
    np.testing.assert_allclose(found["level"], expected[:-1][~varies], atol=1e-9)
    assert float(found["constant"]) == pytest.approx(expected[-1], abs=1e-9)
    new = rng.normal(size=(5, features))
    np.testing.assert_allclose(model.evaluate(found, new), new @ expected[:-1] + expected[-1], atol=1e-9)


def test_planted_level_and_anomaly_are_found_at_glaciers_years_and_both_left_out(toys):
    made = world(toys)
    for scheme, most in (("logo", 0.18), ("loyo", 0.13), ("both_out", 0.18)):  # of balances with a spread of 0.8
        assert error(made.samples, scheme) < most, scheme  # glaciers not fitted on keep within reach of the others
        assert error(made.samples, scheme, model="mean") > 0.7


def test_an_unmeasured_glacier_gets_the_level_of_its_topography(toys):
    """New glaciers: the mean over their years, whose weather adds up to nothing, is the level of the height."""
    made = world(toys, years=20)
    parameters = fit("level_anomaly", made.samples, make_folds(made.samples, "logo", inner=3, parts=6))
    new = world(toys, years=20, seed=7, glaciers=10)
    rows = new.samples.drop_dims(["sample", "entry"])
    rows = rows.assign_coords(row_glacier=("row", np.array([f"n{g}" for g in rows["row_glacier"].values], object)))
    balance = predict(parameters, rows).mean(("fold", "member")).values
    for g in range(10):
        mine = new.glacier == g
        assert balance[mine].mean() == pytest.approx(-0.4 + 0.5 * new.height[g], abs=0.1)
    residual = balance - (-0.4 + 0.5 * new.height[new.glacier] + 0.6 * new.weather)
    assert np.sqrt(np.mean(residual**2)) < 0.15


def test_a_planted_amplitude_is_found_and_chosen(toys):
    made = world(toys, strength=0.5)
    both = LevelAnomaly(forms=["additive", "amplitude"])
    assert error(made.samples, "logo", both) < 0.6 * error(made.samples, "logo")
    parameters = fit("level_anomaly", made.samples, make_folds(made.samples, "logo", inner=3, parts=6), both)
    forms = [json.loads(str(parameters["candidate"].values[c]))["form"] for c in parameters["choice"].values]
    assert forms == ["amplitude"] * len(forms)
    even = world(toys)
    assert error(even.samples, "logo", both) < 1.1 * error(even.samples, "logo")


def test_amplitude_is_one_at_the_mean_and_bounded():
    slope = np.array([2.0, 0.0])
    static = np.array([[0.0, 5.0], [50.0, 0.0], [-50.0, 0.0], [0.01, 0.0]])
    np.testing.assert_allclose(amplitude(static, slope), [1.0, 3.0, 1 / 3, np.exp(0.02)], rtol=1e-4)


def test_the_level_of_a_measured_glacier_is_known_where_glaciers_are_not_withheld(toys):
    """Without the height nothing tells levels apart but the balances themselves."""
    samples = world(toys, static=()).samples
    assert error(samples, "loyo") < 0.3 * error(samples, "logo")
    kinds = {}
    for scheme in ("logo", "loyo", "both_out"):
        parameters = fit("level_anomaly", samples, make_folds(samples, scheme, inner=3, parts=6))
        kinds[scheme] = {json.loads(str(c))["level"] for c in parameters["candidate"].values}
        if scheme == "loyo":
            picked = parameters["candidate"].values[parameters["choice"].values]
            assert {json.loads(str(c))["level"] for c in picked} == {"glacier"}
    assert kinds == {"logo": {"none"}, "loyo": {"none", "glacier", "year"}, "both_out": {"none"}}


def test_level_and_anomaly_have_penalties_of_their_own(toys):
    """Few glaciers with a level that topography does not tell, many years: the level is held back, the anomaly not."""
    samples = world(toys, glaciers=10, years=40).samples
    folds = toys.whole(samples)
    settings = LevelAnomaly(level_penalties=[1e6], anomaly_penalties=[0.1])
    state = unpack(fit("level_anomaly", samples, folds, settings), 0)
    assert np.abs(state["level"]).max() < 0.01
    assert np.abs(state["anomaly"]).max() > 0.5


SMALL = {
    "one glacier": lambda made, glacier, year: glacier == 0,
    "one year": lambda made, glacier, year: year == 3,
    "two glaciers": lambda made, glacier, year: glacier < 2,
    "no static predictors": lambda made, glacier, year: glacier < 9,
}


@pytest.mark.parametrize("forms", [["additive"], ["amplitude"]])
@pytest.mark.parametrize("case", SMALL)
def test_tables_that_tell_little(toys, case, forms):
    made = world(toys, static=() if case == "no static predictors" else ("height",))
    glacier, year = (a.ravel() for a in np.indices((24, 12)))
    rng = np.random.default_rng(2)
    mask = SMALL[case](made, glacier, year)
    values = made.samples["predictors"].values[mask]
    names = made.samples["predictor"].values
    samples = toys.table(values, made.target[mask], glacier[mask], year[mask] + 2000, names)
    folds = make_folds(samples, "logo" if case in ("one year", "no static predictors") else "loyo", inner=2, parts=4)
    parameters = fit("level_anomaly", samples, folds, LevelAnomaly(forms=forms))
    new = toys.table(
        rng.normal(size=(6, len(names))), np.zeros(6), list("abcabc"), [2030, 2030, 2030, 2031, 2031, 2031], names
    )
    assert np.isfinite(predict(parameters, samples)).all()
    assert np.isfinite(predict(parameters, new)).all()
    if case == "one glacier":
        assert error(samples, "loyo", LevelAnomaly(forms=forms)) < 0.3
