"""The rivals of every model: the mean of the same year's glaciers, and one row a year; what they change in words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from glacmb_grid.folds.schemes import SCHEMES, make_folds
from glacmb_grid.identifiers import first_order_region
from glacmb_grid.judging.fits import fit_model_in_schemes
from glacmb_grid.judging.plan import compared
from glacmb_grid.learning import tabular
from glacmb_grid.learning.level import levels_of, shares_years
from glacmb_grid.learning.nets import ensembles
from glacmb_grid.learning.nets.training_sets import training_set
from glacmb_grid.learning.ragged import unpack
from glacmb_grid.learning.registry import fit, model_of, predict
from glacmb_grid.learning.table import table_of
from glacmb_grid.report.scores import what_beat_what
from glacmb_grid.settings import Protocol, Recipe, TableConfig, YearLevel
from glacmb_grid.stores.work import Work
from glacmb_grid.validation.scores import called_better, unbeaten_rivals


@pytest.fixture
def crossed(toys):
    """A table whose glaciers share the weather of their year: level + amplitude (weather + effect of the year)."""

    def make(glaciers=9, years=20, seed=0, effect=0.0, level=0.5, useless=9):
        rng = np.random.default_rng(seed)
        g, t = (a.ravel() for a in np.indices((glaciers, years)))
        weather = rng.normal(0, 1, (years, 3))
        levels, amplitudes = rng.normal(0, level, glaciers), np.exp(rng.normal(0, 0.3, glaciers))
        signal = weather @ [0.5, -0.3, 0.2] + rng.normal(0, effect, years)
        target = -0.4 + levels[g] + amplitudes[g] * signal[t] + rng.normal(0, 0.05, len(g))
        values = np.column_stack([weather[t] + rng.normal(0, 0.05, (len(g), 3)), rng.normal(0, 1, (len(g), useless))])
        ids = [f"RGI60-{'13' if i < glaciers // 2 else '14'}.{i:05d}" for i in g]
        return toys.table(values, target, ids, 1980 + t), levels, amplitudes

    return make


def out_of_fold(model, samples, folds, settings=None):
    values = predict(fit(model, samples, folds, settings), samples).mean("member").values
    out = np.full(samples.sizes["sample"], np.nan)
    for score, one in zip(folds.score, values, strict=True):
        out[score] = one[score]
    return out


def rmse(a, b):
    return float(np.sqrt(np.nanmean((a - b) ** 2)))


def test_the_mean_of_a_year_by_hand(toys):
    ids = ["a", "b", "c", "a", "b", "c", "a"]
    samples = toys.table(np.zeros((7, 1)), [1.0, 2.0, 6.0, -1.0, 0.0, 4.0, 9.0], ids, [1, 1, 1, 2, 2, 2, 3])
    folds = make_folds(samples, "logo", inner=2)
    assert folds.name.tolist() == ["a", "b", "c"]
    found = out_of_fold("year_mean", samples, folds)
    constant = np.mean([2.0, 6.0, 0.0, 4.0])  # of year 3 nothing is fitted where `a` is withheld
    np.testing.assert_allclose(found, [4.0, 3.5, 1.5, 2.0, 1.5, -0.5, constant])


def test_a_region_s_mean_is_drawn_to_that_of_all_where_it_has_few(toys):
    ids = ["RGI60-13.00001", "RGI60-13.00002", "RGI60-14.00001", "RGI2000-v7.0-G-14-00002"]
    samples = toys.table(np.zeros((4, 1)), [1.0, 3.0, 7.0, 5.0], ids, [1] * 4)
    found = predict(fit("year_mean", samples, toys.whole(samples)), samples).values.ravel()
    np.testing.assert_allclose(found, [(4 + 3 * 4) / 5] * 2 + [(12 + 3 * 4) / 5] * 2)
    given = toys.table(
        np.zeros((4, 1)), [1.0, 3.0, 7.0, 5.0], ids, [1] * 4, region=np.array(["x", "x", "x", ""], object)
    )
    found = predict(fit("year_mean", given, toys.whole(given)), given).values.ravel()
    np.testing.assert_allclose(found, [(11 + 3 * 4) / 6] * 3 + [(5 + 3 * 4) / 4])  # the last by its identifier


@pytest.mark.parametrize(
    ("glacier", "region"),
    [("RGI60-13.00001", "13"), ("RGI50-02.12345", "02"), ("RGI2000-v7.0-C-08-00001", "08"), ("G13", ""), ("", "")],
)
def test_the_region_in_an_identifier(glacier, region):
    assert first_order_region(glacier) == region


def test_rivals_are_judged_only_where_the_scheme_leaves_them_what_they_rest_on(crossed):
    samples, *_ = crossed()
    fair = {
        (m, s): model_of(m).fair_in(samples, make_folds(samples, s, inner=2))
        for m in ("year_mean", "year_level", "ridge")
        for s in ("logo", "loyo", "both_out", "random")
    }
    assert {k for k, v in fair.items() if v and k[0] != "ridge"} == {
        ("year_mean", "logo"),
        ("year_mean", "random"),
        ("year_level", "loyo"),
    }
    assert all(v for k, v in fair.items() if k[0] == "ridge")
    few, *_ = crossed(glaciers=9, years=7)
    assert not model_of("year_level").fair_in(few, make_folds(few, "loyo", inner=2))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_where_a_rival_is_fair_is_foreseen_as_the_folds_have_it(crossed, scheme):
    samples, *_ = crossed()
    number = np.arange(samples.sizes["sample"]) // 20
    samples = samples.assign_coords(
        longitude=("sample", 80.0 + number), latitude=("sample", 40.0 + number % 3), region=("sample", number % 3)
    )
    targets = pd.DataFrame({"longitude": np.arange(80.0, 90.0), "latitude": 41.0})
    folds = make_folds(samples, scheme, inner=2, targets=targets)
    for name in ("year_mean", "year_level", "ridge"):
        assert model_of(name).may_be_fair(scheme) == model_of(name).fair_in(samples, folds), name


def test_a_rival_is_neither_fitted_nor_judged_where_it_is_not_fair_and_says_so(crossed):
    """A fit would be thrown away, and takes long where there are many predictors."""
    samples, *_ = crossed()
    folds = {s: make_folds(samples, s, inner=2) for s in ("logo", "loyo")}
    said, kept = [], []
    made = fit_model_in_schemes(
        Work(say=said.append, keep=lambda *given: kept.append(given)),
        model=model_of("year_mean"), samples=samples, folds=folds, bases={}, parts=[],
        optional=False, protocol=Protocol(), seed=1,
    )["predictions"]  # fmt: skip
    assert set(made["scheme"]) == {"logo"}
    assert len(made) == samples.sizes["sample"]
    assert any("loyo" in line for line in said)
    assert [(name, scheme) for name, _, scheme in kept] == [("fits", "logo")]


def test_the_rivals_are_judged_whatever_a_configuration_asks_for(tmp_path):
    table = {"path": tmp_path / "t.csv", "glacier": "g", "year": "y", "target": "b", "target_units": "m w.e."}
    for asked in (["ridge"], ["year_mean", "ridge"], "all"):
        config = TableConfig.model_validate({"name": "x", "samples": table, "validation": {"models": asked}})
        names = compared(config)
        assert {"year_mean", "year_level", "ridge"} <= set(names)
        assert len(names) == len(set(names))


def test_level_amplitude_and_years_are_those_that_were_planted(crossed):
    samples, levels, amplitudes = crossed(glaciers=12, years=30)
    table = table_of(samples)
    found = levels_of("year", table, np.ones(len(table.target), bool))
    assert np.corrcoef(found.values, levels)[0, 1] > 0.99
    assert np.abs(found.values - (levels - levels.mean())).max() < 0.08
    ratio = found.amplitudes / amplitudes
    np.testing.assert_allclose(ratio / ratio.mean(), 1, atol=0.2)
    balance = found.of_years.values[table.rows.year - 1980]
    assert rmse(found.balance(balance, table.rows.glacier), table.target) < 0.08
    # which glaciers are measured in a year does not move its balance
    few = np.random.default_rng(1).random(len(table.target)) < 0.5
    again = levels_of("year", table, few)
    every = found.of_years.values[np.isin(found.of_years.years, again.of_years.years)]
    assert rmse(again.of_years.values - again.of_years.values.mean(), every - every.mean()) < 0.12
    plain = pd.Series(table.target[few]).groupby(table.rows.year[few]).mean().to_numpy()
    assert rmse(plain - plain.mean(), every - every.mean()) > 0.15, "plain means of years do move"


def test_a_glacier_that_was_not_fitted_on_has_no_level_and_the_amplitude_of_all(crossed):
    samples, *_ = crossed()
    table = table_of(samples)
    found = levels_of("year", table, table.rows.glacier != table.rows.glacier[0])
    one = table.rows.glacier[:1]
    np.testing.assert_allclose(found.balance(np.array([0.3]), one), [0.3])
    np.testing.assert_allclose(found.at(one), [0.0])


def test_the_trend_is_constant_beyond_the_fitted_years(crossed):
    samples, *_ = crossed(years=21)
    table = table_of(samples)
    found = levels_of("year", table, np.ones(len(table.target), bool))
    trend = found.with_trend(np.zeros((5, 1)), np.array([1900, 1980, 1990, 2000, 2100]))[:, 1]
    np.testing.assert_allclose(trend, [-trend[3], -trend[3], 0, trend[3], trend[3]])
    assert levels_of("glacier", table, np.ones(len(table.target), bool)).with_trend(np.zeros((5, 1)), None).shape == (
        5,
        1,
    )


def test_one_row_a_year_is_the_least_squares_of_the_years(toys):
    """With neither levels nor amplitudes: ridge of the mean balance on the mean features, solved here once more."""
    rng = np.random.default_rng(3)
    g, t = (a.ravel() for a in np.indices((40, 12)))
    x, y = rng.normal(0, 1, (12, 2)), rng.normal(0, 1, 12)
    samples = toys.table(x[t], y[t], [f"g{i:02d}" for i in g], 2000 + t)
    plain = YearLevel(penalties=[1.0], recipes=[{"take": "all"}])
    found = predict(fit("year_level", samples, toys.whole(samples), plain.model_dump()), samples).values[0, 0]
    centre = np.arange(12) - 5.5
    features = np.column_stack([(x - x.mean(0)) / x.std(0), centre / (11 / np.sqrt(12))])
    gram = features - features.mean(0)
    coefficient = np.linalg.solve(gram.T @ gram + np.eye(3), gram.T @ (y - y.mean()))
    np.testing.assert_allclose(found[:12], y.mean() + gram @ coefficient, atol=2e-6)


def test_where_rows_share_few_years_one_row_a_year_is_found_on_the_inner_splits_and_pays(crossed, monkeypatch):
    samples, *_ = crossed(glaciers=16, years=24, effect=0.5, level=0.6, seed=2)
    folds = make_folds(samples, "loyo", inner=4, parts=8)
    target = samples["mass_balance"].values
    chosen = fit("ridge", samples, folds)
    levels = [str(c) for c in chosen["candidate"].values[chosen["choice"].values]]
    assert np.mean(['"level": "year"' in c for c in levels]) > 0.5
    error = rmse(out_of_fold("ridge", samples, folds), target)
    monkeypatch.setattr(tabular, "shares_years", lambda table: False)
    assert error < 0.85 * rmse(out_of_fold("ridge", samples, folds), target)


NETS = {"widths": [(8,)], "members": 2, "epochs": 150, "input_noise": [0.1], "l1": [1e-3]}


@pytest.mark.parametrize(
    ("model", "settings"), [("ridge", {}), ("extra_trees", {"trees": 30, "leaf": [2]}), ("ff_fcnn", NETS)]
)
def test_one_row_a_year_is_an_alternative_where_it_can_be_told_what_a_glacier_adds(crossed, model, settings):
    samples, *_ = crossed()
    words = {
        s: " ".join(
            map(str, fit(model, samples, make_folds(samples, s, inner=2, parts=3), settings)["candidate"].values)
        )
        for s in ("logo", "loyo")
    }
    assert '"year"' in words["loyo"]
    assert ('"year"' in words["logo"]) == (model == "ridge")


def test_nets_at_year_level_give_each_year_one_vote_and_follow_the_planted_years(crossed, monkeypatch):
    samples, *_ = crossed(glaciers=12, years=30, useless=0)
    table = table_of(samples)
    monkeypatch.setattr(ensembles, "kinds_of_level", lambda *_, **__: ["year"])
    folds = make_folds(samples, "loyo", inner=3, parts=5)
    settings = NETS | {"members": 3, "epochs": 300, "input_noise": [0.05]}
    assert rmse(out_of_fold("ff_fcnn", samples, folds, settings), table.target) < 0.25  # of a spread of 0.9
    seen = np.random.default_rng(0).random(len(table.target)) < 0.6
    features = tabular.features_of(table, seen, Recipe(), 1)
    hyper = {"level": "year", "weighting": "none"}
    on = training_set(table, features, hyper, seen, ~seen, rates=np.zeros(0, bool))
    votes = np.bincount(table.rows.year - 1980, on.fit)
    np.testing.assert_allclose(votes[votes > 0], 1 / (votes > 0).sum())
    values = on.features_of(table.rows)
    np.testing.assert_array_equal(values[:, :-1], features.design(table.rows).values)
    spread = on.target[seen] * on.scale + on.centre
    for year in (1985, 2001):
        np.testing.assert_allclose(spread[table.rows.year[seen] == year], on.levels.of_years.values[year - 1980])


def test_a_table_with_few_rows_a_year_or_few_years_is_fitted_as_before(crossed, toys):
    for glaciers, years in ((2, 30), (12, 7)):
        samples, *_ = crossed(glaciers=glaciers, years=years)
        assert not shares_years(table_of(samples))
    samples, *_ = crossed()
    assert shares_years(table_of(samples))


@pytest.mark.parametrize("model", ["year_mean", "year_level", "ridge"])
def test_nothing_withheld_moves_a_fit_at_year_level(crossed, model):
    samples, *_ = crossed(effect=0.4)
    folds = make_folds(samples, "both_out", inner=2)
    changed = samples.copy(deep=True)
    changed["mass_balance"].values[folds.score[0]] += 3.0
    one, other = (fit(model, s, folds) for s in (samples, changed))
    for name, value in unpack(one, 0).items():
        np.testing.assert_array_equal(value, unpack(other, 0)[name], err_msg=name)
    touched = np.flatnonzero((folds.fit & folds.score[0]).any(axis=1))
    same = all(np.array_equal(v, unpack(other, int(touched[0]))[n]) for n, v in unpack(one, int(touched[0])).items())
    assert not same, "what is fitted on does move it"


def verdicts(*lines):
    columns = ["scheme", "model", "baseline", "verdict"]
    return pd.DataFrame(lines, columns=columns).assign(metric="rmse", protocol="nested")


def test_nothing_is_called_better_that_does_not_beat_the_rival():
    table = verdicts(
        ("logo", "ridge", "mean", "better"),
        ("logo", "ridge", "year_mean", "undecided"),
        ("logo", "net", "mean", "better"),
        ("logo", "net", "ridge", "better"),
        ("logo", "net", "year_mean", "better"),
        ("logo", "year_mean", "mean", "better"),
        ("logo", "mean", "ridge", "worse"),
        ("logo", "mean", "year_mean", "worse"),
    )
    assert unbeaten_rivals(table) == {("logo", "ridge"): ["year_mean"], ("logo", "mean"): ["year_mean"]}
    better = called_better(table)
    assert set(zip(better["model"], better["baseline"], strict=True)) == {
        ("net", "mean"),
        ("net", "ridge"),
        ("net", "year_mean"),
        ("year_mean", "mean"),
    }
    assert what_beat_what(table) == (
        "net beat mean, ridge, year_mean; year_mean beat mean; not shown to beat year_mean: ridge"
    )
    alone = verdicts(("loyo", "ridge", "mean", "better"), ("loyo", "mean", "ridge", "worse"))
    assert what_beat_what(alone) == "ridge beat mean"
    unjudged = verdicts(("logo", "ridge", "year_mean", "not judged"))
    assert what_beat_what(unjudged).startswith("not judged")
    assert unbeaten_rivals(unjudged) == {}
