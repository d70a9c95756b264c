"""The models: nothing leaks, known parameters come back, known answers hold."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from glacmb_grid import physics
from glacmb_grid.learning.models import MODELS, fit, predict
from glacmb_grid.learning.prepare import fit_scaling, scaled
from glacmb_grid.learning.temperature_index import balance
from glacmb_grid.samples import operator_of, with_operator
from glacmb_grid.settings import FeedForward, Mean, Ridge, TemperatureIndex
from glacmb_grid.validation.folds import join_folds, make_folds, of_scheme
from glacmb_grid.weights import from_entries

SCHEMES = ("logo", "loyo", "both_out")
FEW = ["degree_days_*", "snowfall_*", "elevation_mean", "slope"]
SETTINGS = {
    "mean": Mean(),
    "ridge": Ridge(predictors=FEW),
    "temperature_index": TemperatureIndex(),
    "ff_fcnn": FeedForward(predictors=FEW, widths=(8, 4), members=2, epochs=60, patience=20, block=16),
}


@pytest.fixture(scope="module")
def samples(toys):
    return toys.samples(toys.predictors(), keep=0.7)


@pytest.fixture(scope="module")
def folds(samples):
    return join_folds([make_folds(samples, s, inner=3) for s in SCHEMES])


def one_fold(parameters, number):
    return parameters.isel(fold=number).drop_attrs()


@pytest.mark.parametrize("model", MODELS)
def test_replacing_what_a_fold_withholds_changes_nothing_in_it(model, samples, folds):
    before = fit(model, samples, folds, SETTINGS[model], seed=3)
    rng = np.random.default_rng(1)
    number = {s: int(np.flatnonzero(folds["scheme"].values == s)[1]) for s in SCHEMES}
    for scheme, fold in number.items():
        withheld = ~folds["fit"].values[fold]
        assert withheld.any()
        observed = np.where(withheld, rng.normal(50, 30, len(withheld)), samples["mass_balance"].values)
        changed = samples.assign(mass_balance=("sample", observed))
        after = fit(model, changed, folds, SETTINGS[model], seed=3)
        for name in before.data_vars:
            np.testing.assert_array_equal(
                one_fold(before, fold)[name].values, one_fold(after, fold)[name].values, err_msg=f"{scheme}: {name}"
            )
        others = [f for f in range(folds.sizes["fold"]) if (folds["fit"].values[f] & withheld).any()]
        assert any(not one_fold(before, f).identical(one_fold(after, f)) for f in others), "the change reached nobody"


@pytest.mark.parametrize("model", MODELS)
def test_prediction_has_a_value_for_every_fold_and_row(model, samples, folds):
    logo = of_scheme(folds, "logo")
    predicted = predict(fit(model, samples, logo, SETTINGS[model]), samples)
    assert predicted.dims == ("fold", "member", "row")
    assert predicted.sizes["fold"] == logo.sizes["fold"]
    assert np.isfinite(predicted.values).all()
    np.testing.assert_array_equal(predicted["fold"], logo["fold"])


def two_year_sums(samples):
    """The same rows, observed as sums of two rows each."""
    pairs = samples.sizes["row"] // 2
    sums = samples.isel(sample=np.arange(pairs) * 2)
    total = samples["mass_balance"].values[: pairs * 2].reshape(pairs, 2).sum(axis=1)
    operator = from_entries(
        np.repeat(np.arange(pairs), 2), np.arange(2 * pairs), np.ones(2 * pairs),
        rows=sums["sample"].values, size=samples.sizes["row"],
    )  # fmt: skip
    return with_operator(sums.assign(mass_balance=("sample", total)), operator)


def all_rows(samples):
    """One fold that fits on everything; half of the rows stop the network."""
    n = samples.sizes["sample"]
    half = np.arange(n) % 2 == 0
    return xr.Dataset(
        {
            "fit": (("fold", "sample"), np.ones((1, n), bool)),
            "score": (("fold", "sample"), np.zeros((1, n), bool)),
            "inner_fit": (("fold", "inner", "sample"), np.array([[half, ~half]])),
            "inner_score": (("fold", "inner", "sample"), np.array([[~half, half]])),
        },
        coords={"fold": ["all"], "scheme": ("fold", ["all"]), "sample": samples["sample"]},
    )


@pytest.mark.parametrize("model", ["ridge", "temperature_index", "ff_fcnn"])
def test_sums_of_two_years_teach_annual_balances(model, toys):
    samples = toys.samples(toys.predictors(glaciers=8, years=(2001, 2020)), noise=0.0)
    sums = two_year_sums(samples)
    assert not operator_of(sums).is_identity
    settings = SETTINGS[model]
    if model == "ff_fcnn":
        settings = settings.model_copy(update={"epochs": 400, "patience": 100, "members": 4})
    annual = predict(fit(model, sums, all_rows(sums), settings), samples).mean(("fold", "member")).values
    error = np.sqrt(np.mean((annual - samples["mass_balance"].values) ** 2))
    assert error < 0.35 * samples["mass_balance"].values.std()


def test_mean_of_sums_is_the_annual_mean(toys):
    sums = two_year_sums(toys.samples(toys.predictors()))
    level = float(fit("mean", sums, all_rows(sums))["level"].item())
    assert level == pytest.approx(sums["mass_balance"].values.mean() / 2, rel=1e-12)


def test_mean_by_hand(samples, folds):
    logo = of_scheme(folds, "logo")
    parameters = fit("mean", samples, logo)
    for fold, mask in enumerate(logo["fit"].values):
        expected = samples["mass_balance"].values[mask].mean()
        assert float(parameters["level"][fold]) == pytest.approx(expected, rel=1e-12)


def test_ridge_equals_scikit_learn(samples, folds):
    from sklearn.linear_model import Ridge as Oracle

    logo = of_scheme(folds, "logo")
    parameters = fit("ridge", samples, logo, Ridge(predictors=FEW, penalties=[3.0]))
    names = parameters["predictor"].values
    x = samples["predictors"].sel(predictor=names).values.astype(np.float64)
    y = samples["mass_balance"].values
    mask = logo["fit"].values[0]
    centre, scale = x[mask].mean(axis=0), x[mask].std(axis=0)
    oracle = Oracle(alpha=3.0).fit((x[mask] - centre) / scale, y[mask])
    ours = predict(parameters, samples).values[0, 0]
    np.testing.assert_allclose(ours, oracle.predict((x - centre) / scale), rtol=1e-6)


def test_ridge_chooses_a_large_penalty_on_noise_and_a_small_one_on_signal(toys):
    samples = toys.samples(toys.predictors(glaciers=8, years=(2001, 2020)), noise=0.01)
    noise = samples.assign(mass_balance=("sample", np.random.default_rng(0).normal(size=samples.sizes["sample"])))
    chosen = [
        float(fit("ridge", s, make_folds(s, "loyo"), Ridge(predictors=["*_??", *FEW]))["penalty"].median())
        for s in (samples, noise)
    ]
    assert chosen[0] < chosen[1]


def test_temperature_index_gives_back_planted_parameters(toys):
    samples = toys.samples(toys.predictors(glaciers=8, years=(2001, 2030)), noise=0.0)
    wide = TemperatureIndex(prior_sd=(0.05, 20.0, 30.0))
    found = fit("temperature_index", samples, all_rows(samples), wide)["value"].values[0]
    np.testing.assert_allclose(found, toys.truth, rtol=2e-3, atol=2e-3)


def test_temperature_index_by_hand():
    """Two cold months of snow, then one warm month that melts all of it and some ice; one band."""
    celsius = np.array([[-30.0, -30.0, 10.0]])
    forcing = {
        "temperature": celsius + 273.15, "precipitation": np.array([[0.1, 0.2, 0.0]]),
        "days": np.array([[31.0, 28.0, 30.0]]), "orography": np.array([3000.0]),
        "hypsometry": np.array([[3000.0]]),
    }  # fmt: skip
    settings = {
        "lapse_rate": -0.006, "temperature_spread": 0.01, "snow_threshold": 1.0, "snow_spread": 0.01,
        "snow_to_ice": 0.5,
    }  # fmt: skip
    # potential melt of snow: 0.008 x 0.5 x 300 K d = 1.2 m; 0.6 m of snow (factor 2) melts, the rest x 2 melts ice
    value = balance(forcing, np.array([0.008, 2.0, 0.0]), settings)
    np.testing.assert_allclose(value, [0.6 - 0.6 - (1.2 - 0.6) / 0.5], rtol=1e-9)


def test_temperature_index_bands_use_the_lapse_rate():
    forcing = {
        "temperature": np.full((1, 1), 273.15), "precipitation": np.zeros((1, 1)), "days": np.full((1, 1), 30.0),
        "orography": np.array([3000.0]), "hypsometry": np.array([[2000.0, 4000.0]]),
    }  # fmt: skip
    settings = {
        "lapse_rate": -0.005, "temperature_spread": 2.0, "snow_threshold": 1.0, "snow_spread": 2.0, "snow_to_ice": 1.0,
    }  # fmt: skip
    melt = physics.positive_temperature(np.array([5.0, -5.0]), 2.0) * 30 * 0.01
    np.testing.assert_allclose(balance(forcing, np.array([0.01, 1.0, 0.0]), settings), [-melt.mean()], rtol=1e-12)


def test_network_learns_a_nonlinear_balance_of_unseen_years(toys):
    samples = toys.samples(toys.predictors(glaciers=8, years=(2001, 2025)), noise=0.02)
    loyo = make_folds(samples, "loyo")
    settings = SETTINGS["ff_fcnn"].model_copy(update={"epochs": 500, "patience": 80, "members": 3})
    predicted = predict(fit("ff_fcnn", samples, loyo, settings), samples).mean("member").values
    fold = loyo["score"].values.argmax(axis=0)
    error = predicted[fold, np.arange(len(fold))] - samples["mass_balance"].values
    assert np.sqrt(np.mean(error**2)) < 0.4 * samples["mass_balance"].values.std()


def test_network_is_repeatable_and_its_seed_matters(samples, folds):
    logo = of_scheme(folds, "logo")
    first, again, other = (fit("ff_fcnn", samples, logo, SETTINGS["ff_fcnn"], seed=s) for s in (1, 1, 2))
    xr.testing.assert_identical(first, again)
    assert not np.array_equal(first["parameters"], other["parameters"])
    members = first["parameters"].values
    assert not np.array_equal(members[:, 0], members[:, 1])


@pytest.mark.parametrize("block", [1, 3])
def test_what_a_net_learns_does_not_depend_on_the_number_of_slots(block, samples, folds):
    logo = of_scheme(folds, "logo")
    many = fit("ff_fcnn", samples, logo, SETTINGS["ff_fcnn"])
    few = fit("ff_fcnn", samples, logo, SETTINGS["ff_fcnn"].model_copy(update={"block": block}))
    np.testing.assert_array_equal(many["best_epoch"], few["best_epoch"])
    np.testing.assert_allclose(many["loss"], few["loss"], rtol=2e-3)
    np.testing.assert_allclose(many["parameters"], few["parameters"], rtol=0.02, atol=2e-3)


def test_the_best_epoch_is_kept(samples, folds):
    logo = of_scheme(folds, "logo")
    settings = SETTINGS["ff_fcnn"]
    fitted = fit("ff_fcnn", samples, logo, settings)
    stopping = fitted["loss"].sel(part="stop").values
    np.testing.assert_array_equal(np.nanargmin(stopping, axis=2), fitted["best_epoch"].values)
    epochs = np.isfinite(stopping).sum(axis=2)
    np.testing.assert_array_equal(epochs, np.minimum(fitted["best_epoch"].values + settings.patience + 1, 60))
    # the parameters kept are those of that epoch: they give its loss again
    predicted = predict(fitted, samples).values
    fold, member = 0, 1
    rows = logo["inner_score"].values[fold, member]
    error = (predicted[fold, member] - samples["mass_balance"].values)[rows]
    loss = np.mean(error**2) / float(fitted["target_scale"][fold]) ** 2
    assert loss == pytest.approx(np.nanmin(stopping[fold, member]), rel=1e-4)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("trouble", ["constant target", "gaps", "constant predictor", "twice the same row"])
def test_poor_data_give_finite_predictions(model, trouble, toys):
    samples = toys.samples(toys.predictors(), keep=0.5, seed=4)
    values = samples["predictors"].values.copy()
    where = list(samples["predictor"].values).index("slope")
    if trouble == "constant target":
        samples = samples.assign(mass_balance=("sample", np.full(samples.sizes["sample"], -0.5)))
    elif trouble == "gaps":
        values[::2, where] = np.nan
    elif trouble == "constant predictor":
        values[:, where] = 12.3
    else:
        values[1] = values[0]
    samples = samples.assign(predictors=(("row", "predictor"), values))
    folds = make_folds(samples, "logo")
    predicted = predict(fit(model, samples, folds, SETTINGS[model]), samples)
    assert np.isfinite(predicted.values).all()
    if trouble == "constant target" and model in ("mean", "ridge"):
        np.testing.assert_allclose(predicted.values, -0.5, atol=1e-6)


def test_scaling_looks_only_at_weighted_rows():
    values = np.array([[1.0, 5.0], [3.0, np.nan], [100.0, 7.0]])
    centre, inverse = fit_scaling(values, np.array([[1.0, 1.0, 0.0]]))
    np.testing.assert_allclose(centre, [[2.0, 5.0]])
    np.testing.assert_allclose(inverse, [[1.0, 0.0]])  # the second is seen once: no spread, so it is dropped
    np.testing.assert_allclose(scaled(values, centre[0], inverse[0]), [[-1, 0], [1, 0], [98, 0]])


def test_an_unknown_model_is_named(samples, folds):
    with pytest.raises(ValueError, match="unknown model 'oracle'; known: mean, ridge"):
        fit("oracle", samples, folds)


def test_samples_that_lack_something_are_refused(samples, folds):
    with pytest.raises(ValueError, match="samples: 'mass_balance' is missing"):
        fit("mean", samples.drop_vars("mass_balance"), folds)
    with pytest.raises(ValueError, match="folds: 'inner_fit' is missing"):
        fit("mean", samples, folds.drop_vars("inner_fit"))
