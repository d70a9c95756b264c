"""FF-FCNN: what it learns, how it is chosen and stopped, and that the way it is computed does not matter."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.folds.protocols import leaky
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning import nets
from glacmb_grid.learning.nets import ensembles as network
from glacmb_grid.learning.nets.configurations import configurations
from glacmb_grid.learning.nets.training_sets import drawn_groups as _draw
from glacmb_grid.learning.nets.training_sets import weighting as _weighting
from glacmb_grid.learning.registry import fit, predict
from glacmb_grid.learning.search import inner_masks
from glacmb_grid.learning.table import table_of
from glacmb_grid.settings import FeedForward, Protocol, Recipe

SMALL = FeedForward(
    recipes=[Recipe()],
    widths=[(8, 4), (3,)],
    input_noise=[0.1],
    learning_rate=[0.01],
    l1=[1e-3],
    members=2,
    epochs=60,
    patience=15,
)


@pytest.fixture(scope="module")
def samples(toys):
    return toys.known(glaciers=12, years=6, useless=2)


@pytest.fixture(scope="module")
def folds(samples):
    return make_folds(samples, "logo", inner=3, parts=4, blocks=2)


@pytest.fixture(scope="module")
def fitted(samples, folds):
    return fit("ff_fcnn", samples, folds, SMALL)


def changed(**update):
    return SMALL.model_copy(update=update)


def chosen(parameters, name):
    return [json.loads(str(c))[name] for c in parameters["candidate"].values[parameters["choice"].values]]


def epochs_of(loss, part):
    """Epochs that a net ran, from its losses (..., epoch, part)."""
    return np.isfinite(loss.sel(part=part).values).sum(axis=-1)


def test_a_nonlinear_balance_of_unseen_years_is_learnt(toys):
    samples = toys.samples(toys.predictors(glaciers=8, years=(2001, 2025)), noise=0.02)
    loyo = make_folds(samples, "loyo", inner=3, parts=6, blocks=3)
    names = ["degree_days_*", "snowfall_*", "elevation_mean", "slope"]
    settings = changed(predictors=names, widths=[(8, 4)], epochs=500, patience=80, members=3)
    predicted = predict(fit("ff_fcnn", samples, loyo, settings), samples).mean("member").values
    fold = loyo.score.argmax(axis=0)
    error = predicted[fold, np.arange(len(fold))] - samples["mass_balance"].values
    assert np.sqrt(np.mean(error**2)) < 0.4 * samples["mass_balance"].values.std()


# ---- the way it is computed ----


def test_it_is_repeatable_and_its_seed_matters(samples, folds, fitted):
    again, other = (fit("ff_fcnn", samples, folds, SMALL, seed=s) for s in (1, 2))
    xr.testing.assert_identical(fitted, again)
    assert not np.array_equal(fitted["parameters"], other["parameters"])
    members = fitted["parameters"].values
    assert not np.array_equal(members[:, 0], members[:, 1])


def almost_the_same(a, b):
    np.testing.assert_array_equal(a["choice"], b["choice"])
    np.testing.assert_array_equal(a["best_epoch"], b["best_epoch"])
    np.testing.assert_allclose(a["inner_error"], b["inner_error"], rtol=2e-3)
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=2e-3)
    np.testing.assert_allclose(a["parameters"], b["parameters"], rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("block", [1, 3])
def test_the_number_of_slots_does_not_matter(block, samples, folds, fitted):
    almost_the_same(fitted, fit("ff_fcnn", samples, folds, changed(block=block)))


@pytest.mark.parametrize("size", [1.0, 12000.0])
def test_the_number_of_matrices_held_at_a_time_does_not_matter(size, samples, folds, fitted, monkeypatch):
    monkeypatch.setattr(network, "_MATRIX_BYTES", size)
    almost_the_same(fitted, fit("ff_fcnn", samples, folds, SMALL))


def test_keeping_the_state_of_the_training_does_not_matter(samples, folds, fitted, tmp_path):
    for _ in ("anew", "from what is kept"):
        kept = fit("ff_fcnn", samples, folds, SMALL, checkpoints=tmp_path / "state")
        xr.testing.assert_identical(kept, fitted)


@pytest.mark.parametrize("heteroscedastic", [False, True])
def test_a_net_can_be_taken_out_without_its_padding(samples, folds, heteroscedastic):
    """Its standardised balance, scaled back, is what the ensemble predicts; the wide net and the narrow one."""
    settings = changed(heteroscedastic=[heteroscedastic], recipes=[Recipe(keep=3, within_reach=False)], epochs=20)
    for widths in ([(8, 4), (3,)], [(3,), (8, 4)], [(8, 4)]):
        fitted = fit("ff_fcnn", samples, folds, settings.model_copy(update={"widths": widths}))
        expected = predict(fitted, samples)
        for number, member in ((0, 1), (3, 0)):
            one = fitted.isel(fold=number)
            module, variables = nets.network(fitted, fold=fitted["fold"].values[number], member=member)
            assert module == nets.FeedForward(3, tuple(chosen(fitted, "widths")[number]), 1 + heteroscedastic)
            kept = one["feature"].values[one["selected"].values].tolist()
            raw = samples["predictors"].sel(predictor=kept).transpose("predictor", "row").values
            centre, inverse = (one[n].values[one["selected"].values, None] for n in ("centre", "inverse_scale"))
            standard = module.apply(variables, np.float32((raw - centre) * inverse))
            assert standard.shape == (1 + heteroscedastic, samples.sizes["row"])
            found = float(one["target_centre"]) + float(one["target_scale"]) * np.asarray(standard[0])
            np.testing.assert_allclose(found, expected.values[number, member], atol=2e-5)
    with pytest.raises(ValueError, match="nowhere"):
        nets.network(fitted, fold="nowhere", member=0)


# ---- what is chosen ----


def test_what_was_chosen_is_told(folds, fitted):
    assert len(fitted["candidate"]) == 2
    np.testing.assert_array_equal(fitted["choice"], fitted["inner_error"].values.argmin(axis=1))
    assert all(len(set(fitted["choice"].values[b])) == 1 for b in folds.blocks)
    assert {"parameters", "loss", "inner_loss", "best_epoch", "parameter_count", "selected"} <= set(fitted)
    for fold, widths in enumerate(chosen(fitted, "widths")):
        sizes = [int(fitted["selected"].values[fold].sum()), *widths, 1]
        expected = sum(a * b + b for a, b in pairwise(sizes))
        assert int(fitted["parameter_count"][fold]) == expected


def test_the_grid_holds_networks_that_really_differ(samples, folds, fitted):
    """The narrow one has the parameters of a narrow one, whatever it is padded to."""
    narrow = fit("ff_fcnn", samples, folds, changed(widths=[(3,)]))
    assert narrow["parameters"].sizes["parameter"] < fitted["parameters"].sizes["parameter"]
    errors = fitted["inner_error"].values
    assert (np.abs(errors[:, 0] - errors[:, 1]) > 1e-6).all()
    assert narrow["parameters"].sizes["parameter"] == 4 * 3 + 3 + 3 + 1
    padded = fit("ff_fcnn", samples, folds, changed(widths=[(3,), (8, 4)], configurations=2))
    for told in (fitted, padded):
        passed_on = np.array([2 - len(w) for w in chosen(told, "widths")])  # by layers that a net does not have
        kept = np.count_nonzero(told["parameters"].values, axis=2) - passed_on[:, None]
        assert (kept <= told["parameter_count"].values[:, None]).all()


def test_all_combinations_are_tried_or_as_many_as_told():
    settings = changed(learning_rate=[0.01, 0.02], l1=[0.0, 1e-3], input_noise=[0.1, 0.2, 0.3], configurations=200)
    every = configurations(settings, 2, ["none", "glacier"], 1)
    assert len(every) == 2 * 2 * 2 * 2 * 2 * 3
    assert len({json.dumps([c.recipe, c.hyper]) for c in every}) == len(every)
    few = configurations(settings.model_copy(update={"configurations": 7}), 2, ["none", "glacier"], 1)
    assert len(few) == 7
    assert all(c in every for c in few)
    assert configurations(settings.model_copy(update={"configurations": 7}), 2, ["none", "glacier"], 1) == few


def test_the_ensemble_trains_for_as_long_as_the_choice_did_on_the_inner_splits(folds, fitted):
    """The loss of the best epochs is on the inner rows that a net did not fit on; the median of them is taken."""
    best = np.nanargmin(fitted["inner_loss"].sel(part="stop").values, axis=2) + 1
    ran = epochs_of(fitted["loss"], "fit")
    for fold in range(len(folds)):
        assert set(ran[fold]) == {max(1, int(np.median(best[fold])))}
    assert np.isnan(fitted["loss"].sel(part="stop").values).all()  # nothing is held back any more
    np.testing.assert_array_equal(fitted["best_epoch"].values + 1, ran)


def test_the_best_epoch_is_kept_where_members_stop_early(samples, folds):
    settings = changed(finish="early_stopping", bootstrap=False, widths=[(8, 4)])
    fitted = fit("ff_fcnn", samples, folds, settings)
    stopping = fitted["loss"].sel(part="stop").values
    np.testing.assert_array_equal(np.nanargmin(stopping, axis=2), fitted["best_epoch"].values)
    np.testing.assert_array_equal(
        np.isfinite(stopping).sum(axis=2),
        np.minimum(fitted["best_epoch"].values + settings.patience + 1, settings.epochs),
    )
    predicted = predict(fitted, samples).values
    for fold, member in ((0, 1), (2, 0)):  # the parameters kept are those of that epoch: they give its loss again
        rows = list(inner_masks(folds, fold))[member][1]
        assert not (rows & folds.score[fold]).any()
        error = (predicted[fold, member] - samples["mass_balance"].values)[rows]
        loss = np.mean(error**2) / float(fitted["target_scale"][fold]) ** 2
        assert loss == pytest.approx(np.nanmin(stopping[fold, member]), rel=1e-4)


def test_leaked_stopping_is_on_the_scored_rows(samples, folds, fitted):
    leaked = fit("ff_fcnn", samples, leaky(folds, Protocol(early_stopping=True)), SMALL)
    np.testing.assert_array_equal(leaked["inner_error"], fitted["inner_error"])
    stopping, predicted = leaked["loss"].sel(part="stop").values, predict(leaked, samples).values
    for fold in range(len(folds)):
        rows = folds.score[fold]
        error = (predicted[fold, 0] - samples["mass_balance"].values)[rows]
        loss = np.mean(error**2) / float(leaked["target_scale"][fold]) ** 2
        assert loss == pytest.approx(np.nanmin(stopping[fold, 0]), rel=1e-4)
    assert not (fitted["seen"].values & folds.score).any()


# ---- weights of samples and members ----


def test_members_draw_whole_groups(samples):
    table, seen = table_of(samples), np.arange(samples.sizes["sample"]) % 6 != 0
    drawn = _draw(table, seen, SMALL, 3)
    assert drawn is not None
    assert (drawn[~seen] == 0).all()
    by_glacier = drawn.reshape(12, 6)[:, 1:]
    assert (by_glacier == by_glacier[:, :1]).all()
    assert by_glacier[:, 0].sum() == 12
    assert not np.array_equal(drawn, _draw(table, seen, SMALL, 4))
    assert _draw(table, seen, changed(bootstrap=False), 3) is None
    few = seen & (np.arange(len(seen)) < 7 * 6)  # of seven glaciers: a draw could miss most of them
    assert _draw(table, few, SMALL, 3) is None


def test_the_first_member_sees_every_group_and_the_others_draw(samples, folds, fitted):
    plain = fit("ff_fcnn", samples, folds, changed(bootstrap=False))
    np.testing.assert_array_equal(plain["parameters"][:, 0], fitted["parameters"][:, 0])
    assert not np.array_equal(plain["parameters"][:, 1], fitted["parameters"][:, 1])


def test_weights_of_samples_by_hand():
    target = np.array([0.0, 0.01, 0.02, -0.01, -0.02, 2.5])
    every = np.ones(6, bool)
    assert _weighting(target, np.full(6, 0.2), every, "none").tolist() == [1.0] * 6
    certain = _weighting(target, np.array([0.1, 0.1, 0.1, 0.1, 0.1, 1.0]), every, "uncertainty")
    np.testing.assert_allclose(certain, 1 / (np.array([0.1, 0.1, 0.1, 0.1, 0.1, 1.0]) ** 2 + 0.25))
    rare = _weighting(target, np.full(6, 0.2), every, "density")
    assert (rare[5] > 2 * rare[:5]).all()
    assert (rare >= 0.25).all()
    assert (rare <= 4.0).all()
    seen = np.array([True, True, True, True, True, False])
    other = target.copy()
    other[5] = -40.0
    np.testing.assert_array_equal(
        _weighting(target, every * 0.2, seen, "density")[:5], _weighting(other, every * 0.2, seen, "density")[:5]
    )


def test_every_weighting_and_both_heads_can_be_chosen_between(samples, folds):
    """One run over all of them: each gives another error, all of them learn, the least error wins."""
    sigma = np.where(np.arange(samples.sizes["sample"]) % 2 == 0, 0.05, 1.0)
    uneven = samples.assign(mass_balance_uncertainty=("sample", sigma))
    settings = changed(
        widths=[(6,)], weighting=["none", "dynamic", "density", "uncertainty"], heteroscedastic=[False, True]
    )
    fitted = fit("ff_fcnn", uneven, folds, settings)
    assert len(fitted["candidate"]) == 8
    errors = fitted["inner_error"].values
    assert len(np.unique(errors[0])) == 8
    assert (errors.mean(axis=0) < samples["mass_balance"].values.std()).all()
    np.testing.assert_array_equal(fitted["choice"], errors.argmin(axis=1))
    assert json.loads(fitted.attrs["layout"])["outputs"] == 2
    assert np.isfinite(predict(fitted, uneven).values).all()


def test_the_level_of_glaciers_is_added_where_it_helps(toys):
    samples = toys.known(glaciers=8, years=10)
    bare = samples.isel(predictor=np.flatnonzero(samples["predictor"].values != "level"))
    loyo = make_folds(bare, "loyo", inner=2, parts=3)
    fitted = fit("ff_fcnn", bare, loyo, changed(widths=[(4,)], epochs=150, patience=30))
    told = np.array([json.loads(str(c))["level"] == "glacier" for c in fitted["candidate"].values])
    error = fitted["inner_error"].values.mean(axis=0)
    assert error[told].min() < error[~told].min()
    assert "glacier" in chosen(fitted, "level")
    predicted = predict(fitted, bare).mean("member").values
    fold = loyo.score.argmax(axis=0)
    error = predicted[fold, np.arange(len(fold))] - bare["mass_balance"].values
    assert np.sqrt(np.mean(error**2)) < 0.6 * bare["mass_balance"].values.std()
