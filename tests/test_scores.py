"""Scores by hand, intervals against a plain bootstrap, verdicts that need an interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.samples import with_operator
from glacmb_grid.validation import bootstrap
from glacmb_grid.validation.bootstrap import block_weights
from glacmb_grid.validation.metrics import METRICS
from glacmb_grid.validation.predictions import PREDICTION_COLUMNS, out_of_fold, tabulate
from glacmb_grid.validation.scores import SCORE_COLUMNS, SLICE_COLUMNS, compare, score, slices
from glacmb_grid.weights import identity

SCHEMES = ("logo", "loyo", "both_out", "blocks", "leave_region_out", "random", "domain", "logo_own_geodetic")


def table(observed, predicted, glacier, year, scheme="logo", model="m"):
    n = len(observed)
    return pd.DataFrame(
        {
            "scheme": scheme, "protocol": "nested", "model": model, "sample": [f"s{i:03d}" for i in range(n)],
            "glacier": glacier, "group": "", "region": "", "year": year, "observed": observed, "predicted": predicted,
            "predicted_uncertainty": 0.1, "fold": glacier,
        }
    )[PREDICTION_COLUMNS]  # fmt: skip


def values(predictions, **options):
    scores = score(predictions, **options)
    assert list(scores.columns) == SCORE_COLUMNS
    return scores.set_index("metric")


def random_table(glaciers, years, seed=0, **options):
    rng = np.random.default_rng(seed)
    glacier, year = (a.ravel() for a in np.meshgrid(np.arange(glaciers), np.arange(years), indexing="ij"))
    observed = rng.normal(-0.5, 0.6, len(glacier)) + 0.3 * rng.normal(size=glaciers)[glacier]
    predicted = observed + rng.normal(0.1, 0.3, len(glacier)) + 0.2 * rng.normal(size=glaciers)[glacier]
    return table(observed, predicted, [f"g{g:02d}" for g in glacier], year + 2000, **options)


def test_scores_by_hand():
    # glacier a: errors 1, -1; glacier b: error 3
    found = values(table([0.0, 2.0, 1.0], [1.0, 1.0, 4.0], ["a", "a", "b"], [2001, 2002, 2001]))["value"]
    assert found["rmse"] == pytest.approx(np.sqrt(11 / 3))
    assert found["rmse_glacier_mean"] == pytest.approx((1 + 3) / 2)
    assert found["mae"] == pytest.approx(5 / 3)
    assert found["bias"] == pytest.approx(1.0)
    assert found["r2"] == pytest.approx(1 - 11 / 2)


def test_predicting_the_mean_has_no_skill_and_the_truth_all():
    observed = np.array([-1.0, 0.0, 2.0])
    years = [1, 2, 3]
    assert values(table(observed, observed.mean().repeat(3), list("abc"), years))["value"]["r2"] == pytest.approx(0)
    assert values(table(observed, observed, list("abc"), years))["value"]["r2"] == 1


def test_r2_of_constant_observations_is_not_available():
    assert np.isnan(values(table([1.0, 1.0], [1.0, 2.0], ["a", "b"], [1, 2]))["value"]["r2"])


@pytest.mark.parametrize(
    ("scheme", "glaciers", "years", "available"),
    [("logo", 7, 20, False), ("logo", 8, 3, True), ("loyo", 3, 8, True), ("loyo", 20, 7, False),
     ("both_out", 8, 7, False), ("both_out", 8, 8, True)],
)  # fmt: skip
def test_no_interval_below_eight_blocks(scheme, glaciers, years, available):
    scores = score(random_table(glaciers, years, scheme=scheme), draws=200)
    assert scores["lower"].notna().all() == available
    assert scores["upper"].notna().all() == available
    assert (scores["n"] == glaciers * years).all()
    if available:
        assert (scores["lower"] <= scores["upper"]).all()


def test_intervals_agree_with_resampling_whole_glaciers_by_hand():
    """An independent bootstrap that copies rows instead of weighting them."""
    data = random_table(10, 12)
    rng = np.random.default_rng(5)
    groups = [g[["predicted", "observed"]].to_numpy() for _, g in data.groupby("glacier")]
    drawn = {"rmse": [], "rmse_glacier_mean": [], "r2": []}
    for _ in range(3000):
        picked = [groups[i] for i in rng.integers(0, 10, 10)]
        predicted, observed = np.concatenate(picked).T
        error = predicted - observed
        drawn["rmse"].append(np.sqrt((error**2).mean()))
        drawn["rmse_glacier_mean"].append(np.mean([np.sqrt(((g[:, 0] - g[:, 1]) ** 2).mean()) for g in picked]))
        drawn["r2"].append(1 - (error**2).sum() / ((observed - observed.mean()) ** 2).sum())
    found = values(data, draws=3000, level=0.9)
    for metric, sample in drawn.items():
        low, high = np.quantile(sample, [0.05, 0.95])
        width = high - low
        assert found.loc[metric, "lower"] == pytest.approx(low, abs=0.08 * width)
        assert found.loc[metric, "upper"] == pytest.approx(high, abs=0.08 * width)


def test_loyo_resamples_years_and_both_out_both():
    data = random_table(9, 11)
    for scheme, columns in (("loyo", ["year"]), ("both_out", ["glacier", "year"])):
        weight = block_weights(data, scheme, 50, 1)
        for column in columns:
            other = [c for c in ("glacier", "year") if c not in columns]
            for name in other:  # equal weights along what is not resampled
                for _, rows in data.groupby("year" if name == "glacier" else "glacier"):
                    assert (np.ptp(weight[:, rows.index], axis=1) == 0).all()
            assert (weight % 1 == 0).all()
            assert data[column].nunique() >= 9
    assert (block_weights(data, "loyo", 50, 1).reshape(50, 9, 11)[:, 0].sum(axis=1) == 11).all()


def test_better_only_where_the_interval_excludes_zero():
    truth = random_table(12, 12, seed=1)
    good = truth.assign(model="good", predicted=truth["observed"] + 0.1 * np.random.default_rng(0).normal(size=144))
    bad = truth.assign(model="bad", predicted=truth["observed"] + 0.9 * np.random.default_rng(1).normal(size=144))
    like = good.assign(
        model="like", predicted=good["predicted"].sample(frac=1, random_state=0).index * 0 + good["predicted"]
    )
    found = compare(pd.concat([good, bad, like]), draws=500).set_index(["metric", "model", "baseline"]).loc["rmse"]
    assert found.loc[("good", "bad"), "verdict"] == "better"
    assert found.loc[("bad", "good"), "verdict"] == "worse"
    assert found.loc[("good", "like"), "verdict"] == "undecided"
    assert found.loc[("good", "bad"), "upper"] < 0
    assert found.loc[("good", "bad"), "difference"] == pytest.approx(-found.loc[("bad", "good"), "difference"])


def test_few_blocks_are_not_judged():
    data = random_table(3, 40)
    found = compare(pd.concat([data, data.assign(model="b", predicted=data["observed"])]))
    assert set(found["verdict"]) == {"not judged"}
    assert found["lower"].isna().all()


def test_models_on_other_rows_cannot_be_compared():
    data = random_table(8, 3)
    with pytest.raises(ValueError, match="same samples"):
        compare(pd.concat([data, data.iloc[1:].assign(model="b")]))


def test_every_metric_of_a_drawn_weighting_equals_that_of_copied_rows():
    data = random_table(4, 5, seed=3)
    counts = np.random.default_rng(2).integers(0, 3, 4)
    weight = counts.repeat(5)[None].astype(float)
    copied = data.loc[np.repeat(data.index, weight[0].astype(int))]
    copied = copied.assign(glacier=copied["glacier"] + "." + copied.groupby(copied.index).cumcount().astype(str))
    for name, metric in METRICS.items():
        pieces = []
        for rows, w in ((data, weight), (copied, np.ones((1, len(copied))))):
            observed = rows["observed"].to_numpy()
            error = rows["predicted"].to_numpy() - observed
            pieces.append(metric(w, error, observed, pd.factorize(rows["glacier"])[0].astype(float))[0])
        assert pieces[0] == pytest.approx(pieces[1], rel=1e-12, nan_ok=False), name


def tiny_samples():
    pairs = [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    names = [f"{g}:{y}" for g, y in pairs]
    samples = xr.Dataset(
        {"mass_balance": ("sample", [1.0, 2.0, 3.0, 4.0]), "x": ("row", np.zeros(4))},
        coords={
            "sample": names, "glacier": ("sample", list("aabb")), "year": ("sample", [1, 2, 1, 2]),
        },
    )  # fmt: skip
    return with_operator(samples, identity(names))


def test_out_of_fold_takes_the_fold_that_withheld_the_row():
    samples = tiny_samples()
    folds = make_folds(samples, "logo")
    # fold 0 (withholds a) has members 10 and 12, fold 1 (withholds b) 20 and 20
    predicted = xr.DataArray(
        np.array([[[10.0] * 4, [12.0] * 4], [[20.0] * 4, [20.0] * 4]]), dims=("fold", "member", "row")
    )
    found = out_of_fold(samples, folds, predicted, model="m")
    assert list(found["predicted"]) == [11, 11, 20, 20]
    assert list(found["fold"]) == ["a", "a", "b", "b"]
    # uncertainty: own member variance, and the residuals of the other glacier only
    other = np.array([(17**2 + 16**2) / 2] * 2 + [(10**2 + 9**2) / 2] * 2)
    np.testing.assert_allclose(found["predicted_uncertainty"], np.sqrt(np.array([1, 1, 0, 0]) + other))


def test_samples_that_no_fold_scores_are_left_out_and_one_scored_twice_is_an_error():
    samples = tiny_samples().assign_coords(
        group=("sample", ["x", "", "y", "y"]), region=("sample", ["p", "p", "", "q"])
    )
    locked = make_folds(samples, "loyo", locked=np.arange(4) == 1)
    mean, variance = np.array([[1.0] * 4, [2.0] * 4]), np.zeros((2, 4))
    found = tabulate(samples, locked, mean, variance, model="m")
    assert list(found["sample"]) == ["a:1", "b:1", "b:2"]
    assert list(found["predicted"]) == [1, 1, 2]
    assert list(found["group"]) == ["x", "y", "y"]
    assert list(found["region"]) == ["p", "", "q"]
    # fold 1 fits on b:2 alone, which misses by 2; fold 2 on a:1 and b:1, which miss by 0 and 2
    np.testing.assert_allclose(found["predicted_uncertainty"], [2, 2, np.sqrt(2)])
    twice = replace(locked, score=locked.score | (np.arange(4) == 0))
    with pytest.raises(ValueError, match="exactly one fold"):
        tabulate(samples, twice, mean, variance, model="m")


# ---- what the metrics mean ----


def metric(name, observed, predicted, weight=None, glacier=None):
    observed, predicted = np.array(observed, float), np.array(predicted, float)
    weight = np.ones((1, len(observed))) if weight is None else np.atleast_2d(np.asarray(weight, float))
    glacier = np.zeros(len(observed)) if glacier is None else np.asarray(glacier, float)
    return METRICS[name](weight, predicted - observed, observed, glacier)


def test_rec_auc_in_closed_form():
    assert metric("rec_auc", [0, 0, 0], [0, 0.5, -2])[0] == pytest.approx((1 + 0.5 + 0) / 3)
    assert metric("rec_auc", [1, 2], [1, 2])[0] == 1
    assert metric("rec_auc", [0, 0], [1, -5])[0] == 0
    error = np.random.default_rng(0).uniform(-1, 1, 4000)  # uniform up to the tolerance: the curve is a straight line
    assert metric("rec_auc", np.zeros(4000), error)[0] == pytest.approx(0.5, abs=0.02)
    t = np.linspace(0, 1, 20_001)
    curve = (np.abs(error[:300]) <= t[:, None]).mean(axis=1)
    assert metric("rec_auc", np.zeros(300), error[:300])[0] == pytest.approx(np.trapezoid(curve, t), abs=1e-4)


def test_the_tolerance_of_rec_auc_is_an_option():
    data = table([0.0, 0.0], [0.5, 3.0], list("ab"), [1, 2])
    assert values(data)["value"]["rec_auc"] == pytest.approx(0.25)
    assert values(data, tolerance=4.0)["value"]["rec_auc"] == pytest.approx((3.5 / 4 + 1 / 4) / 2)


few = st.sampled_from([-1.0, -0.3, 0.1, 0.1 + 0.2, 0.3, 2.0])


@settings(deadline=None)
@given(st.lists(st.tuples(few, few, st.integers(0, 3)), min_size=2, max_size=30))
def test_sign_auc_is_the_roc_auc_of_scikit_learn_with_weights_and_ties(rows):
    observed, predicted, weight = (np.array(c, float) for c in zip(*rows, strict=True))
    positive = observed > 0
    found = metric("sign_auc", observed, predicted, weight)[0]
    if weight[positive].sum() == 0 or weight[~positive].sum() == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(roc_auc_score(positive, np.round(predicted, 9), sample_weight=weight))


def test_a_constant_prediction_says_nothing_of_the_sign_whatever_the_rounding():
    observed = np.random.default_rng(0).normal(size=200)
    assert metric("sign_auc", observed, np.full(200, 0.1 + 0.2))[0] == 0.5
    assert np.isnan(metric("sign_auc", [-1, -2], [0, 1])[0])
    assert metric("sign_auc", [-1, 0, 1], [0, 1, 2])[0] == 1  # a balance of zero is not positive


def test_intervals_of_every_metric_are_those_of_the_plain_row_weights():
    """The fast way, by sums over cells, against each metric of the whole weight matrix."""
    data = random_table(12, 9)
    for scheme in SCHEMES:
        rows = data.assign(scheme=scheme, group=data["glacier"].str[:2] + data["glacier"].str[2:].radd("c"))
        found = values(rows, draws=300)
        weight = block_weights(rows, scheme, 300, 1)
        observed = rows["observed"].to_numpy()
        error, glacier = rows["predicted"].to_numpy() - observed, pd.factorize(rows["glacier"])[0].astype(float)
        for name in METRICS:
            low, high = np.quantile(METRICS[name](weight, error, observed, glacier), [0.05, 0.95])
            assert found.loc[name, "lower"] == pytest.approx(low, rel=1e-9), (scheme, name)
            assert found.loc[name, "upper"] == pytest.approx(high, rel=1e-9), (scheme, name)


@pytest.mark.parametrize("scheme", ["logo", "both_out"])
def test_draws_in_pieces_are_the_same_draws(scheme, monkeypatch):
    data = random_table(10, 9, scheme=scheme)
    whole, differences = score(data, draws=157), compare(pd.concat([data, data.assign(model="b")]), draws=157)
    monkeypatch.setattr(bootstrap, "_PIECE", 1000)
    pd.testing.assert_frame_equal(score(data, draws=157), whole, rtol=1e-12)
    again = compare(pd.concat([data, data.assign(model="b")]), draws=157)
    pd.testing.assert_frame_equal(again, differences, rtol=1e-12, atol=1e-15)


def test_each_scheme_draws_its_own_blocks():
    data = random_table(18, 10)
    data["group"] = data["glacier"].str[1:].astype(int) // 2
    data["region"] = data["glacier"].str[1:].astype(int) % 9
    drawn = {s: block_weights(data, s, 40, 1) for s in SCHEMES}
    alike = {"logo": ["group"], "blocks": ["group"], "random": ["group"], "domain": ["group"], "loyo": ["year"],
             "both_out": ["group", "year"], "leave_region_out": ["region"], "logo_own_geodetic": ["group"]}  # fmt: skip
    for scheme, columns in alike.items():
        for _, rows in data.groupby(columns):
            assert (np.ptp(drawn[scheme][:, rows.index], axis=1) == 0).all()
        assert (drawn[scheme] % 1 == 0).all()
    assert block_weights(data.assign(region=data["region"] % 7), "leave_region_out", 40, 1).shape == (40, 180)
    assert block_weights(data.assign(group=data["group"] % 7), "logo", 40, 1) is None
    np.testing.assert_array_equal(
        block_weights(data.assign(region=data["region"] % 7), "leave_region_out", 40, 1), drawn["logo"]
    )


def test_a_glacier_stands_for_its_group_where_that_is_blank():
    data = random_table(8, 3)
    blank = score(data, draws=100)
    pd.testing.assert_frame_equal(score(data.assign(group=data["glacier"]), draws=100), blank)
    pd.testing.assert_frame_equal(score(data.drop(columns=["group", "region"]), draws=100), blank)
    assert score(data.assign(group="one"), draws=100)["lower"].isna().all()


# ---- slices and differences ----


def sliced(predictions, samples=None, **options):
    found = slices(predictions, samples, **options)
    assert list(found.columns) == SLICE_COLUMNS
    return found.set_index(["kind", "slice", "metric"])


def test_slices_by_hand():
    observed = np.array([-2.0, -1.0, -0.5, 0.0, 1.0])
    data = table(observed, observed + np.arange(1.0, 6.0), list("aabbb"), [1999, 2000, 2000, 2009, 2010])
    data["region"] = ["p", "p", "", "", "q"]
    samples = xr.Dataset(
        coords={
            "sample": data["sample"].to_numpy()[::-1],  # another order than the table's
            "area": ("sample", [60.0, np.nan, 2.0, 1.9, 0.1]),
            "time_system": ("sample", ["FXD", "", "FLO", "FLO", "FXD"]),
        }
    )
    found = sliced(data, samples)
    bias = found.xs("bias", level="metric")
    told = {(k, s): (v, n) for (k, s), v, n in zip(bias.index, bias["value"], bias["n"], strict=True)}
    assert told == {
        ("sign", "positive years"): (5, 1),
        ("extreme", "below p10"): (1, 1),
        ("extreme", "above p90"): (5, 1),
        ("decade", "1990s"): (1, 1),
        ("decade", "2000s"): (3, 3),
        ("decade", "2010s"): (5, 1),
        ("year", "1999"): (1, 1),
        ("year", "2000"): (2.5, 2),
        ("year", "2009"): (4, 1),
        ("year", "2010"): (5, 1),
        ("glacier", "a"): (1.5, 2),
        ("glacier", "b"): (4, 3),
        ("size", "0 to 0.5 km2"): (1, 1),
        ("size", "0.5 to 2 km2"): (2, 1),
        ("size", "2 to 5 km2"): (3, 1),
        ("size", "over 50 km2"): (5, 1),
        ("region", "p"): (1.5, 2),
        ("region", "q"): (5, 1),
        ("time_system", "FXD"): (3, 2),
        ("time_system", "FLO"): (2.5, 2),
    }
    assert found.loc[("year", "2000", "rmse"), "value"] == pytest.approx(np.sqrt((4 + 9) / 2))
    assert found.loc[("year", "2000", "mae"), "value"] == pytest.approx(2.5)
    assert "r2" not in found.index.get_level_values("metric")  # too few rows
    assert found["lower"].isna().all()


def test_slices_have_intervals_and_r2_where_they_hold_enough():
    data = pd.concat([random_table(10, 25), random_table(10, 25, scheme="loyo")])
    found = slices(data, draws=100).set_index(["scheme", "kind", "slice", "metric"])
    assert found.loc[("logo", "year", "2003", "rmse"), "lower"] > 0  # ten glaciers in a year
    assert np.isnan(found.loc[("loyo", "year", "2003", "rmse"), "lower"])  # one year
    assert np.isnan(found.loc[("logo", "glacier", "g03", "rmse"), "lower"])
    assert found.loc[("loyo", "glacier", "g03", "rmse"), "lower"] > 0
    assert found.loc[("loyo", "glacier", "g03", "r2"), "n"] == 25
    assert ("loyo", "year", "2003", "r2") not in found.index
    part = data[(data["scheme"] == "logo") & (data["year"] // 10 == 200)]
    expected = score(part, draws=100).set_index("metric")
    for metric in ("rmse", "mae", "bias", "r2"):  # a slice is scored as a table of its own
        for column in ("value", "lower", "upper"):
            assert found.loc[("logo", "decade", "2000s", metric), column] == pytest.approx(
                expected.loc[metric, column], rel=1e-9
            )


def test_differences_are_paired_in_rmse_and_in_the_mean_over_glaciers():
    # glacier a has one row, b three; model m misses by 2 in a only, model k by 1 in b only
    data = table([0.0] * 4, [2.0, 0, 0, 0], list("abbb"), [1, 1, 2, 3])
    other = data.assign(model="k", predicted=[0.0, 1, 1, 1]).iloc[::-1]  # the order of rows does not matter
    found = compare(pd.concat([data, other])).set_index(["metric", "model"])["difference"]
    assert found["rmse", "m"] == pytest.approx(1 - np.sqrt(3) / 2)
    assert found["rmse_glacier_mean", "m"] == pytest.approx(1 - 0.5)
    assert found["rmse_glacier_mean", "k"] == pytest.approx(-0.5)


def test_the_interval_of_a_difference_is_paired():
    """Two models that share a large error of each glacier differ by far less than their own intervals are wide."""
    data = random_table(12, 10)
    shift = np.random.default_rng(3).normal(0, 2, 12).repeat(10)
    noise = np.random.default_rng(4).normal(0, 0.05, 120)
    a = data.assign(predicted=data["observed"] + shift)
    b = a.assign(model="b", predicted=a["predicted"] + 0.2 * np.sign(shift) + noise)
    both = pd.concat([a, b])
    found = compare(both, draws=500).set_index(["metric", "model"]).loc[("rmse", "b")]
    own = score(both, draws=500).set_index(["model", "metric"])
    assert found["verdict"] == "worse"
    assert found["upper"] - found["lower"] < 0.1 * (own.loc[("b", "rmse"), "upper"] - own.loc[("b", "rmse"), "lower"])


def test_twenty_thousand_rows_are_scored_without_their_weight_matrix(monkeypatch):
    data = random_table(1000, 20, scheme="both_out")
    held = []
    plain = bootstrap.Blocks.pieces

    def watched(self, width):
        for piece in plain(self, width):
            held.append(len(piece) * width)
            yield piece

    monkeypatch.setattr(bootstrap.Blocks, "pieces", watched)
    scores = score(data, draws=300)
    assert max(held) <= 4_000_000
    assert len(held) > 1
    assert scores["lower"].notna().all()


def test_groups_and_years_are_drawn_independently():
    """As many groups as years: the two must not be drawn by the same numbers."""
    weight = block_weights(random_table(10, 10), "both_out", 4000, 1).reshape(-1, 10, 10)
    assert weight[:, np.arange(10), np.arange(10)].mean() == pytest.approx(1, abs=0.06)  # E[count squared] would be 1.9
    assert weight.mean() == pytest.approx(1, abs=0.02)
