"""What skill comes from: planted predictors are found, useless ones are not, more glaciers help."""

from __future__ import annotations

import numpy as np
import pytest

from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.recipes import EXTRAPOLATED
from glacmb_grid.learning.registry import fit, model_of
from glacmb_grid.settings import ExtraTrees, FeedForward, GaussianProcess, Recipe, Ridge
from glacmb_grid.validation.study import (
    ablate,
    ablations,
    changing_nothing,
    importance,
    learning_curve,
    with_coordinates,
    without_surface_model,
)
from glacmb_grid.vocabulary import Meaning, meanings_of

RIDGE = Ridge(recipes=[Recipe()], penalties=[1.0])


@pytest.fixture(scope="module")
def samples(toys):
    return toys.known(glaciers=10, years=8, noise=0.1)


@pytest.fixture(scope="module")
def folds(samples):
    return make_folds(samples, "logo", inner=2, parts=5)


def named(toys, stems, place=None, origin=""):
    """Predictors of these quantities, under names that tell nothing."""
    rng = np.random.default_rng(0)
    glacier, year = (a.ravel() for a in np.indices((6, 5)))
    values = rng.normal(size=(30, len(stems)))
    coords = {} if place is None else {"longitude": place[glacier], "latitude": place[glacier] / 2}
    target, meanings = values[:, 0] + 0.1 * rng.normal(size=30), [Meaning(s, origin) for s in stems]
    return toys.table(values, target, glacier, year + 2000, list("abcdef")[: len(stems)], meanings, **coords)


def test_importance_finds_the_planted_predictors_and_no_other(samples, folds):
    table = importance(samples, folds, fit("ridge", samples, folds, RIDGE), repeats=4)
    assert set(table) == {"scheme", "group", "fold", "increase", "spread", "n"}
    assert len(table) == 6 * 5
    mean = table.groupby("group")["increase"].mean()
    variance = samples["mass_balance"].values.var()
    assert mean["level"] > 0.3 * variance
    assert mean["weather"] > 0.3 * variance
    assert (mean.filter(like="useless").abs() < 0.02 * variance).all()
    assert (table["spread"] >= 0).all()
    np.testing.assert_array_equal(table.groupby("fold")["n"].first().sum(), samples.sizes["sample"])


def test_predictors_of_one_stem_are_shuffled_together(toys):
    """A copy under another month does not make up for it."""
    samples = named(toys, ["t2m", "slope"])
    values = np.column_stack([samples["predictors"].values, samples["predictors"].values[:, 0]])
    told = [samples[n].values for n in ("mass_balance", "glacier", "year")]
    other = toys.table(values, *told, list("abc"), [Meaning("t2m"), Meaning("slope"), Meaning("t2m")])
    folds = make_folds(other, "logo", inner=2, parts=3)
    table = importance(other, folds, fit("ridge", other, folds, RIDGE), repeats=3)
    mean = table.groupby("group")["increase"].mean()
    assert set(mean.index) == {"t2m", "slope"}
    assert mean["t2m"] > 1.0 * other["mass_balance"].values.var()


def test_coordinates_are_added_where_they_are_known_and_not_there_yet(toys):
    place = np.linspace(70, 80, 6)
    samples = named(toys, ["x", "y"], place)
    placed = with_coordinates(samples)
    assert placed["predictor"].values.tolist() == ["a", "b", "longitude", "latitude"]
    assert meanings_of(placed)[2:] == tuple(Meaning(n, "position", part="value") for n in ("longitude", "latitude"))
    np.testing.assert_array_equal(placed["predictors"].values[:, 2], samples["row_longitude"])
    assert with_coordinates(named(toys, ["x", "y"])) is None
    assert with_coordinates(placed) is None
    assert with_coordinates(named(toys, ["longitude"], place, "position")) is None


def test_predictors_of_a_land_surface_model_are_taken_out(toys):
    samples = named(toys, ["t2m", "sd", "smlt", "sf", "slope"])
    assert without_surface_model(samples)["stem"].values.tolist() == ["t2m", "sf", "slope"]
    assert without_surface_model(named(toys, ["t2m", "slope"])) is None
    assert without_surface_model(named(toys, ["sd", "rsn"])) is None


def test_ablations_by_model(toys):
    samples = named(toys, ["t2m", "sd"], np.linspace(70, 80, 6))
    shared = ["as it is", "with coordinates as predictors", "without land-surface-model predictors"]
    assert list(ablations(samples, model_of("ridge", RIDGE))) == [*shared, EXTRAPOLATED]
    network = ablations(samples, model_of("ff_fcnn"))
    assert list(network) == [*shared, "with dynamic loss weighting", "with density loss weighting", EXTRAPOLATED]
    assert all(not r.within_reach for r in network[EXTRAPOLATED][1].settings.recipes)
    assert network["with dynamic loss weighting"][1].settings.weighting == ["dynamic"]
    assert "with dynamic loss weighting" not in ablations(
        samples, model_of("ff_fcnn", FeedForward(weighting=["dynamic"]))
    )
    process = ablations(samples, model_of("gaussian_process"))
    assert list(process)[-2:] == ["without neighbours in space", EXTRAPOLATED]
    assert not process[EXTRAPOLATED][1].settings.index.within_reach
    changed = ablations(toys.samples(toys.predictors(glaciers=4, years=(2001, 2004))), model_of("hybrid"))
    assert not changed[EXTRAPOLATED][1].settings.index.within_reach
    free = model_of("ridge", Ridge(recipes=[Recipe(within_reach=False)]))
    assert EXTRAPOLATED not in ablations(samples, free)
    assert "without neighbours in space" not in ablations(
        samples, model_of("gaussian_process", GaussianProcess(position=False))
    )
    forced = toys.samples(toys.predictors(glaciers=4, years=(2001, 2004)))
    added = {
        m: [n for n in ablations(forced, model_of(m)) if n not in ablations(samples, model_of(m))]
        for m in ("ff_fcnn", "gaussian_process", "ridge")
    }
    assert added == {
        "ff_fcnn": ["pre-trained on a temperature index"],
        "gaussian_process": ["about a constant"],
        "ridge": [],
    }
    assert "without pulls and calibration" in ablations(forced, model_of("temperature_index"))


def test_an_ablation_changes_what_the_model_may_take(toys):
    """Patterns of the settings would take the coordinates away again, or keep what is removed out anyway."""
    samples = named(toys, ["t2m", "sd"], np.linspace(70, 80, 6))
    weather = model_of("ridge", Ridge(predictors=["a"], recipes=[Recipe(predictors=["a"])], penalties=[1.0]))
    found = ablations(samples, weather)
    assert list(found) == ["as it is", "with coordinates as predictors", EXTRAPOLATED]
    assert changing_nothing(samples, weather) == ["without land-surface-model predictors"]
    table, placed = found["with coordinates as predictors"]
    assert placed.settings.predictors == ["a", "longitude", "latitude"]
    folds = make_folds(table, "logo", inner=2)
    assert "longitude" in str(fit(placed, table, folds)["feature"].values.tolist())
    snow = model_of("ridge", Ridge(predictors=["b"]))
    assert "without land-surface-model predictors" in changing_nothing(samples, snow), "nothing would be left"
    both = model_of("ridge", Ridge(predictors=["a", "b"]))
    bare = ablations(samples, both)["without land-surface-model predictors"][1]
    assert bare.settings.predictors == ["a"], "a pattern that matches nothing would be an error"
    assert list(ablations(samples, model_of("mean"))) == ["as it is"]


def test_an_ablation_of_nothing_is_not_fitted(toys):
    samples = named(toys, ["t2m", "sd"], np.linspace(70, 80, 6))
    model = model_of("ridge", Ridge(predictors=["a"], recipes=[Recipe()], penalties=[1.0]))
    said = []
    table = ablate(samples, {"logo": make_folds(samples, "logo", inner=2)}, [model], draws=200, say=said.append)
    one = table.set_index("ablation").loc["without land-surface-model predictors"]
    assert np.isnan(one["rmse"])
    assert one["n"] == 0
    assert any("changes no predictor" in line for line in said)
    assert table.set_index("ablation").loc["with coordinates as predictors", "difference"] != 0


def test_an_ablation_is_judged_in_the_same_folds(toys):
    """Here the balance is a function of the snow depth, which the land-surface model computed."""
    samples = named(toys, ["sd", "t2m", "slope"])
    folds = make_folds(samples, "logo", inner=2)
    said = []
    table = ablate(samples, {"logo": folds}, [model_of("ridge", RIDGE)], draws=200, say=said.append).set_index(
        "ablation"
    )
    bare = table.loc["without land-surface-model predictors"]
    assert bare["rmse"] > 3 * table.loc["as it is", "rmse"]
    assert bare["difference"] == pytest.approx(bare["rmse"] - table.loc["as it is", "rmse"])
    assert (table["n"] == 30).all()
    assert len(said) == 3


def test_skill_grows_with_the_number_of_training_glaciers(toys):
    samples = toys.known(glaciers=20, years=5, useless=8, noise=0.1)
    folds = make_folds(samples, "logo", inner=2, parts=5)
    settings = {"ridge": RIDGE, "extra_trees": ExtraTrees(recipes=[Recipe()], trees=20)}
    table = learning_curve(samples, folds, [model_of(*m) for m in settings.items()], shares=(0.15, 0.4, 1.0))
    assert len(table) == 6
    for model, curve in table.groupby("model"):
        curve = curve.sort_values("share")
        assert curve["groups"].is_monotonic_increasing, model
        assert curve["groups"].iloc[-1] == 16
        assert curve["rmse"].iloc[-1] < 0.9 * curve["rmse"].iloc[0], model
        assert (curve["n"] == 100).all()


def test_skill_against_counts_of_glaciers(toys):
    samples = toys.known(glaciers=20, years=5, useless=2, noise=0.1)
    folds = make_folds(samples, "logo", inner=2, parts=5)
    table = learning_curve(samples, folds, [model_of("ridge", RIDGE)], counts="doubling")
    assert table["groups"].tolist() == [2, 4, 8, 16]
    assert table["share"].tolist() == [2 / 16, 4 / 16, 8 / 16, 1]
    few = learning_curve(samples, folds, [model_of("ridge", RIDGE)], counts=[4])
    assert few["rmse"].tolist() == table["rmse"].tolist()[1:2]
