"""Folds fitted in parts: the same to the last bit as fitted at once, and put together again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.contract import Task, fit_model
from glacmb_grid.learning.ragged import join, pack, unpack
from glacmb_grid.learning.registry import REGISTRY, model_of, predict
from glacmb_grid.settings import (
    ExtraTrees,
    FeedForward,
    GaussianProcess,
    GradientBoosting,
    Hybrid,
    Lasso,
    LevelAnomaly,
    RandomForest,
    Recipe,
    Ridge,
)

RECIPES = [Recipe(), Recipe(parts=("value", "anomaly"), correlation=0.05, ranking="correlation", keep=4)]
SHARED = {"predictors": ["degree_days_*", "snowfall_*", "elevation_mean", "slope"], "recipes": RECIPES}
SETTINGS = {
    "ridge": Ridge(**SHARED),
    "lasso": Lasso(**SHARED, penalties=[0.01, 0.1]),
    "random_forest": RandomForest(**SHARED, trees=6, leaf=[2]),
    "extra_trees": ExtraTrees(**SHARED, trees=6, leaf=[2]),
    "gradient_boosting": GradientBoosting(**SHARED, rounds=[10], leaves=[4]),
    "gaussian_process": GaussianProcess(**SHARED),
    "level_anomaly": LevelAnomaly(**SHARED, anomaly_penalties=[10.0], forms=["additive", "amplitude"]),
    "ff_fcnn": FeedForward(
        **SHARED,
        widths=[(6, 3), (4,)],
        input_noise=[0.1],
        members=3,
        epochs=30,
        patience=6,
        weighting=["none", "dynamic"],
    ),
    "hybrid": Hybrid(
        **SHARED, widths=[(6, 3), (4,)], input_noise=[0.1], members=3, epochs=30, patience=6, months=[False, True]
    ),
}
BLEND = ("mean", "ridge")
SLOW = ("ff_fcnn", "ff_fcnn_neighbours", "temperature_index", "hybrid")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in REGISTRY]


def model_in(name):
    model = model_of(name, SETTINGS.get(name))
    return replace(model, parts=BLEND) if name == "blend" else model


def parts_of(folds):
    """The folds of every block, the last block first."""
    return [tuple(block.tolist()) for block in reversed(folds.blocks)]


@pytest.fixture(scope="module")
def samples(toys):
    return toys.samples(toys.predictors(glaciers=7, years=(2001, 2009)), keep=0.8)


@pytest.fixture(scope="module")
def folds(samples):
    """Three blocks, which take turns, of unequal size; glaciers differ in how many observations they have."""
    made = make_folds(samples, "logo", inner=2, blocks=3)
    assert len(parts_of(made)) == 3
    return made


@pytest.fixture(scope="module")
def fitted(samples, folds):
    """What a model gives in all folds, and in parts of them: ``fitted(name) -> whole, parts``."""
    known = {}

    def give(name):
        if name not in known:
            model = model_in(name)
            below = {n: give(n) for n in model.built_on}
            whole = fit_model(model, Task(samples, folds, 3, {n: w for n, (w, _) in below.items()}))
            parts = [
                fit_model(model, Task(samples, folds, 3, {n: p[i] for n, (_, p) in below.items()}, part=part))
                for i, part in enumerate(parts_of(folds))
            ]
            known[name] = whole, parts
        return known[name]

    return give


def same(found, expected):
    assert set(found.variables) == set(expected.variables)
    for name in expected.variables:
        np.testing.assert_array_equal(found[name].values, expected[name].values, err_msg=str(name))
        assert found[name].dims == expected[name].dims
        assert found[name].dtype == expected[name].dtype, name
    assert found.attrs == expected.attrs


@pytest.mark.parametrize("name", NAMES)
def test_blocks_fitted_one_by_one_are_what_they_are_in_the_whole(name, samples, folds, fitted):
    whole, parts = fitted(name)
    joined = join(parts, sum(parts_of(folds), ()))
    same(joined, whole)
    below = model_in(name).built_on
    one, other = (
        predict(parameters, samples, {n: fitted(n)[0] for n in below}).values for parameters in (joined, whole)
    )
    np.testing.assert_array_equal(one, other)
    alone = predict(parts[1], samples, {n: fitted(n)[1][1] for n in below}).values
    np.testing.assert_array_equal(alone, other[list(parts_of(folds)[1])])


@pytest.mark.slow
@pytest.mark.parametrize("finish", ["refit", "early_stopping"])
def test_the_network_is_the_same_in_parts_of_any_size_and_however_many_matrices_are_held(
    finish, samples, folds, monkeypatch
):
    from glacmb_grid.learning.nets import ensembles

    settings = SETTINGS["ff_fcnn"].model_copy(update={"finish": finish, "widths": [(5,)], "members": 1})
    model = model_of("ff_fcnn", settings)
    whole = fit_model(model, Task(samples, folds, 3))
    monkeypatch.setattr(ensembles, "_MATRIX_BYTES", 1.0)
    first, *others = parts_of(folds)
    taken = [sum(others, ()), first]
    parts = [fit_model(model, Task(samples, folds, 3, part=part)) for part in taken]
    same(join(parts, sum(taken, ())), whole)


# ---- join ----


def learnt(folds, features, **state):
    """Parameters of made-up folds: `features` of each by name, with their centres."""
    names = list(dict.fromkeys(n for f in features for n in f))
    return xr.Dataset(
        {
            "selected": (("fold", "feature"), [[n in f for n in names] for f in features]),
            "centre": (("fold", "feature"), [[f.get(n, np.nan) for n in names] for f in features]),
            "loss": (("fold", "epoch"), np.ones((len(folds), max(map(len, features))), np.float32)),
        },
        coords={"fold": folds, "feature": np.array(names, dtype=object), "scheme": ("fold", ["logo"] * len(folds))},
        attrs={"model": "ridge"},
    ).merge(pack([{n: v[i] for n, v in state.items()} for i in range(len(folds))]))


def test_join_by_hand():
    last = learnt(["c", "a"], [{"z": 1.0, "x": 2.0}, {"x": 3.0}], w=[np.ones(2), np.zeros((0,))])
    first = learnt(["b"], [{"y": 4.0, "z": 5.0, "v": 6.0}], w=[np.array([7.0, 8.0, 9.0])])
    found = join([last, first])
    assert found["fold"].values.tolist() == ["c", "a", "b"]
    assert found["feature"].values.tolist() == ["z", "x", "y", "v"]
    assert found["selected"].dtype == bool
    np.testing.assert_array_equal(found["selected"], [[1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 1]])
    nan = np.nan
    np.testing.assert_array_equal(found["centre"], [[1, 2, nan, nan], [nan, 3, nan, nan], [5, nan, 4, 6]])
    np.testing.assert_array_equal(found["loss"], [[1, 1, nan], [1, 1, nan], [1, 1, 1]])
    assert found["loss"].dtype == np.float32
    assert [unpack(found, i)["w"].tolist() for i in range(3)] == [[1, 1], [], [7, 8, 9]]
    ordered = join([last, first], [7, 2, 4])
    assert ordered["feature"].values.tolist() == ["x", "y", "z", "v"]
    np.testing.assert_array_equal(ordered["centre"], [[3, nan, nan, nan], [nan, 4, 5, 6], [2, nan, 1, nan]])
    assert [unpack(ordered, i)["w"].tolist() for i in range(3)] == [[], [7, 8, 9], [1, 1]]
    assert ordered.attrs == {"model": "ridge"}


def test_parts_that_do_not_belong_together_are_refused():
    one, other = learnt(["a"], [{"x": 1.0}]), learnt(["b"], [{"x": 1.0}])
    for parts, order in (([one, one], None), ([one, other], [0]), ([one, other], [1, 1])):
        with pytest.raises(ValueError, match="every fold"):
            join(parts, order)
    with pytest.raises(ValueError, match="attr"):
        join([one, other.assign_attrs(model="lasso")])
    masks = [p.assign(seen=(("fold", "sample"), np.ones((1, n), bool))) for n, p in ((3, one), (4, other))]
    with pytest.raises(ValueError, match="length of sample"):
        join(masks)
    with pytest.raises(ValueError, match="level"):
        join([one.assign(level=1.0), other.assign(level=2.0)])
