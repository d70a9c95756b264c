"""Thinned folds are nested and leak nothing; distances and their classes by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from glacmb_grid.errors import InputError
from glacmb_grid.folds.schemes import GROUPED, SCHEMES, join_folds, make_folds, of_scheme
from glacmb_grid.samples import with_operator
from glacmb_grid.validation.curves import (
    DISTANCE_COLUMNS,
    distance_to_training,
    skill_by_distance,
    thin_folds,
    training_counts,
)
from glacmb_grid.validation.leaks import check_folds
from glacmb_grid.validation.predictions import PREDICTION_COLUMNS
from glacmb_grid.validation.scores import score
from glacmb_grid.weights import identity

TARGETS = pd.DataFrame({"longitude": [80.5, 84.0, 89.0], "latitude": [40.0, 41.0, 43.0]}, index=list("uvw"))


def samples_of(glacier, year, **coords):
    rng = np.random.default_rng(0)
    names = [f"{g}:{y}:{i}" for i, (g, y) in enumerate(zip(glacier, year, strict=True))]
    samples = xr.Dataset(
        {
            "mass_balance": ("sample", rng.normal(size=len(names))),
            "predictors": (("row", "predictor"), rng.normal(size=(len(names), 3))),
        },
        coords={
            "sample": names,
            "glacier": ("sample", np.array(glacier, dtype=object)),
            "year": ("sample", np.array(year)),
            **{n: ("sample", np.array(v)) for n, v in coords.items()},
        },
    )
    return with_operator(samples, identity(names))


def grid(glaciers, years, **coords):
    pairs = [(g, y) for g in glaciers for y in years]
    return samples_of([g for g, _ in pairs], [y for _, y in pairs], **coords)


def many():
    number = np.repeat(np.arange(24), 10)
    labels = {"group": [f"c{i // 2:02d}" for i in number], "region": [f"r{i // 6}" for i in number]}
    places = {"longitude": 80.0 + 2 * number, "latitude": 30.0 + number % 4}
    return grid([f"g{i:02d}" for i in range(24)], range(2000, 2010), **labels, **places)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_thinned_folds_fit_on_nested_sets_of_whole_groups(scheme):
    samples = many()
    folds = make_folds(samples, scheme, targets=TARGETS)
    group = samples["group"].values
    before = None
    for count in (1, 2, 3, 5, 8, 99):
        thin = thin_folds(folds, samples, count=count, seed=4)
        np.testing.assert_array_equal(thin.score, folds.score)
        for own, full in zip(thin.fit, folds.fit, strict=True):
            taken = np.unique(group[own])
            assert len(taken) == min(count, len(np.unique(group[full])))
            np.testing.assert_array_equal(own, full & np.isin(group, taken))
        if before is not None:
            assert not (before.fit & ~thin.fit).any()
        before = thin
        found = check_folds(samples, thin)
        assert found[found["severity"] == "leak"].empty or scheme == "random"
        assert thin.inner_fit.any(axis=2).all()
        assert thin.inner_score.any(axis=2).all()
        assert not ((thin.inner_fit | thin.inner_score) & ~thin.fit[:, None]).any()
    np.testing.assert_array_equal(thin.fit, folds.fit)


def test_folds_of_a_tuning_block_are_thinned_to_the_same_groups():
    samples = grid([f"g{i:02d}" for i in range(30)], range(2000, 2006))
    folds = make_folds(samples, "logo", blocks=5)
    thin = thin_folds(folds, samples, count=6)
    assert len(thin.blocks) == 5
    for block in thin.blocks:
        assert (thin.fit[block] == thin.fit[block[0]]).all()
    other = thin_folds(folds, samples, count=6, seed=2)
    assert (other.fit != thin.fit).any()


def test_a_share_is_of_each_folds_own_groups():
    samples = many()
    folds = make_folds(samples, "logo")
    thin = thin_folds(folds, samples, share=0.5)
    assert [len(np.unique(samples["group"].values[f])) for f in thin.fit] == [round(11 / 2)] * 12
    np.testing.assert_array_equal(thin_folds(folds, samples, share=1.0).fit, folds.fit)
    with pytest.raises(ValueError, match="either count or share"):
        thin_folds(folds, samples)


def test_several_schemes_and_locked_rows_are_thinned_together():
    samples = many()
    locked = samples["group"].values == "c03"
    apart = [make_folds(samples, s, locked=locked) for s in ("logo", "both_out", "leave_region_out")]
    joined = thin_folds(join_folds(apart), samples, count=4)
    for folds in apart:
        scheme = str(folds.scheme[0])
        own = thin_folds(folds, samples, count=4)
        xr.testing.assert_identical(of_scheme(joined, scheme).to_dataset(), own.to_dataset())
    assert not (joined.score | joined.seen)[:, locked].any()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(2000, 2006), st.integers(0, 12)), min_size=4, max_size=40),
    st.sampled_from(GROUPED),
    st.integers(1, 6),
)
def test_thinning_never_leaks(rows, scheme, count):
    glacier, year, group = (np.array(c) for c in zip(*rows, strict=True))
    samples = samples_of(
        glacier.astype(str), year, group=[f"c{g}" for g in group], region=[("x", "y", "")[g % 3] for g in glacier],
        longitude=80.0 + glacier, latitude=40.0 + glacier % 3,
    )  # fmt: skip
    try:
        folds = make_folds(samples, scheme, blocks=4, buffer_km=1, targets=TARGETS)
    except InputError:
        return
    thin = thin_folds(folds, samples, count=count)
    found = check_folds(samples, thin)
    assert found[found["severity"] == "leak"].empty, found
    assert thin.fit.any(axis=1).all()


def test_training_counts_double_up_to_what_every_fold_has():
    samples = many()
    assert training_counts(samples, make_folds(samples, "logo")) == [2, 4, 8, 11]
    assert training_counts(samples, make_folds(samples, "loyo")) == [2, 4, 8, 12]


# ---- distance ----


def line():
    """Five glaciers along the equator."""
    east = {"a": 0.0, "b": 0.5, "c": 2.0, "d": 5.0, "e": np.nan}
    return grid("abcde", [2000, 2001], longitude=np.repeat(list(east.values()), 2), latitude=np.zeros(10))


def test_distance_to_the_nearest_training_glacier_by_hand():
    samples, degree = line(), np.pi / 180 * 6371.007181
    found = distance_to_training(samples, make_folds(samples, "logo"))
    expected = np.repeat([0.5, 0.5, 1.5, 3.0, np.nan], 2) * degree
    np.testing.assert_allclose(found.to_numpy(), expected, rtol=1e-9)
    assert found.index.tolist() == samples["sample"].values.tolist()
    loyo = distance_to_training(samples, make_folds(samples, "loyo"))
    np.testing.assert_array_equal(loyo.to_numpy(), np.repeat([0, 0, 0, 0, np.nan], 2))
    locked = distance_to_training(samples, make_folds(samples, "logo", locked=samples["glacier"].values == "b"))
    np.testing.assert_allclose(locked.to_numpy(), np.repeat([2.0, 2.0, 3.0, np.nan], 2) * degree, rtol=1e-9)
    nowhere = samples.drop_vars(["longitude", "latitude"])
    assert distance_to_training(nowhere, make_folds(nowhere, "logo")).isna().all()


def predictions(samples, error, model="m"):
    glacier = samples["glacier"].values.astype(str)
    return pd.DataFrame({
        "scheme": "logo", "protocol": "nested", "model": model, "sample": samples["sample"].values.astype(str),
        "glacier": glacier, "group": glacier, "region": "", "year": samples["year"].values, "observed": 0.0,
        "predicted": error, "predicted_uncertainty": 0.1, "fold": glacier})[PREDICTION_COLUMNS]  # fmt: skip


def test_skill_by_distance_by_hand():
    samples = line()
    distance = distance_to_training(samples, make_folds(samples, "logo"))
    table = pd.concat([predictions(samples, np.arange(10.0)), predictions(samples, 0.0, "perfect")])
    found = skill_by_distance(table, distance, (0, 100, 200, 300, 1000), draws=50)
    assert list(found.columns) == DISTANCE_COLUMNS
    own = found[found["model"] == "m"]
    assert own[["from_km", "to_km", "n", "glaciers"]].to_numpy().tolist() == [
        [0, 100, 4, 2],
        [100, 200, 2, 1],
        [300, 1000, 2, 1],
    ]
    np.testing.assert_allclose(own["rmse"], np.sqrt([(0 + 1 + 4 + 9) / 4, (16 + 25) / 2, (36 + 49) / 2]))
    assert (found.loc[found["model"] == "perfect", "rmse"] == 0).all()
    assert found["lower"].isna().all()
    empty = skill_by_distance(table, distance * np.nan)
    assert list(empty.columns) == DISTANCE_COLUMNS
    assert empty.empty


def test_a_class_of_enough_glaciers_has_the_interval_of_its_own_scores():
    samples = many()
    error = np.random.default_rng(0).normal(size=240)
    table = predictions(samples, error)
    near = pd.Series(np.where(np.arange(240) < 120, 5.0, 50.0), index=samples["sample"].values)
    found = skill_by_distance(table, near, draws=200)
    assert found["n"].tolist() == [120, 120]
    expected = score(table.iloc[:120], draws=200).set_index("metric").loc["rmse"]
    assert found.loc[0, ["rmse", "lower", "upper"]].tolist() == expected[["value", "lower", "upper"]].tolist()
