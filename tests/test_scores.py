"""Scores by hand, intervals against a plain bootstrap, verdicts that need an interval."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from glacmb_grid.samples import with_operator
from glacmb_grid.validation.folds import make_folds
from glacmb_grid.validation.scores import (
    METRICS,
    PREDICTION_COLUMNS,
    SCORE_COLUMNS,
    block_weights,
    compare,
    out_of_fold,
    score,
)
from glacmb_grid.weights import identity


def table(observed, predicted, glacier, year, scheme="logo", model="m"):
    n = len(observed)
    return pd.DataFrame(
        {
            "scheme": scheme, "protocol": "nested", "model": model, "sample": [f"s{i:03d}" for i in range(n)],
            "glacier": glacier, "year": year, "observed": observed, "predicted": predicted,
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
    groups = [g for _, g in data.groupby("glacier")]
    drawn = {"rmse": [], "rmse_glacier_mean": [], "r2": []}
    for _ in range(3000):
        picked = [groups[i] for i in rng.integers(0, 10, 10)]
        rows = pd.concat(picked)
        error = rows["predicted"] - rows["observed"]
        drawn["rmse"].append(np.sqrt((error**2).mean()))
        drawn["rmse_glacier_mean"].append(
            np.mean([np.sqrt(((g["predicted"] - g["observed"]) ** 2).mean()) for g in picked])
        )
        drawn["r2"].append(1 - (error**2).sum() / ((rows["observed"] - rows["observed"].mean()) ** 2).sum())
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
    found = compare(pd.concat([good, bad, like]), draws=500).set_index(["model", "baseline"])
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
    data = random_table(4, 5)
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
        assert pieces[0] == pytest.approx(pieces[1], rel=1e-12), name


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
