"""The models: nothing leaks, known parameters come back, known answers hold."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from glacmb_grid import physics
from glacmb_grid.errors import InputError
from glacmb_grid.folds.schemes import join_folds, make_folds, of_scheme
from glacmb_grid.learning import selection
from glacmb_grid.learning.contract import Task, fit_model
from glacmb_grid.learning.degree_days import balance
from glacmb_grid.learning.models.blend import Blended
from glacmb_grid.learning.models.mean import TrainingMean
from glacmb_grid.learning.ragged import unpack
from glacmb_grid.learning.registry import REGISTRY, fit, model_of, predict, with_bases
from glacmb_grid.samples import operator_of
from glacmb_grid.settings import (
    Blend,
    External,
    ExtraTrees,
    FeedForward,
    GaussianProcess,
    Given,
    GradientBoosting,
    Hybrid,
    Lasso,
    LevelAnomaly,
    Mean,
    Models,
    RandomForest,
    Recipe,
    Ridge,
    TemperatureIndex,
    YearLevel,
    YearMean,
    model_names,
)
from glacmb_grid.validation.audit import scrambled
from glacmb_grid.validation.predictions import out_of_fold

pytestmark = pytest.mark.ends

SCHEMES = ("logo", "loyo", "both_out")
FEW = ["degree_days_*", "snowfall_*", "elevation_mean", "slope"]


def quick(*recipes, **changes):
    """Settings of every model, small."""
    many = {"predictors": FEW, "recipes": list(recipes) or [Recipe()]}
    trees = {"trees": 8, "leaf": [2]}
    network = {"widths": [[8, 4], [6]], "input_noise": [0.1], "members": 2, "epochs": 60, "patience": 20, "block": 16}
    found = {
        "mean": Mean(),
        "year_mean": YearMean(),
        "year_level": YearLevel(**many),
        "ridge": Ridge(**many),
        "lasso": Lasso(**many, penalties=[0.01, 0.1]),
        "random_forest": RandomForest(**many, **trees),
        "extra_trees": ExtraTrees(**many, **trees),
        "gradient_boosting": GradientBoosting(**many, rounds=[15], leaves=[4]),
        "gaussian_process": GaussianProcess(**many),
        "level_anomaly": LevelAnomaly(
            **many, level_penalties=[10.0, 100.0], anomaly_penalties=[10.0], forms=["additive", "amplitude"]
        ),
        "temperature_index": TemperatureIndex(),
        "ff_fcnn": FeedForward(**many, **network),
        "hybrid": Hybrid(**many, **network, penalty=[0.1], bounds=[(2, 2, 2, 1.5)]),
    }
    return {n: s.model_copy(update=changes.get(n, {})) for n, s in found.items()}


SETTINGS = quick()
MODELS = [name for name in REGISTRY if not model_of(name).built_on and name != "blend"]


@pytest.fixture(scope="module")
def samples(toys):
    return toys.samples(toys.predictors(), keep=0.7)


@pytest.fixture(scope="module")
def folds(samples):
    parts = [make_folds(samples, s, inner=2, parts=p, blocks=2) for s, p in zip(SCHEMES, (3, 3, 2), strict=True)]
    return join_folds(parts)


def told_of(parameters, number):
    """Everything that was fitted in one fold, by name; of features only those that it took."""
    out = {}
    for name, values in parameters.data_vars.items():
        if "fold" in values.dims:
            one = values.isel(fold=number)
            if "feature" in one.dims:
                taken = np.flatnonzero(parameters["selected"].values[number])
                one = one.isel(feature=taken[np.argsort(one["feature"].values[taken].astype(str))])
                out["feature names"] = one["feature"].values.astype(str)
            for dim in {"hyper_parameter", "epoch"} & set(one.dims):  # as long as the fold that has most
                one = one.isel({dim: np.flatnonzero(one.notnull().any([d for d in one.dims if d != dim]))})
                one = one.sortby(dim) if dim in one.coords else one
            if not str(name).startswith("state_"):
                out[str(name)] = one.values
    return out | unpack(parameters, number)


def differing(a, b):
    return [n for n in a if not np.array_equal(a[n], b[n], equal_nan=a[n].dtype.kind == "f")]


def test_every_model_of_the_contract_is_tested():
    assert set(SETTINGS) == set(MODELS)
    assert set(REGISTRY) == set(model_names())
    assert all(model_of(name).name == name for name in REGISTRY)


@pytest.mark.parametrize("model", MODELS)
def test_replacing_what_a_fold_withholds_changes_nothing_in_it(model, samples, folds, monkeypatch):
    """Targets and predictors and forcing of the withheld; all folds fitted at once, blocks of them tuned together."""
    monkeypatch.setattr(selection, "_RANKING_TREES", 5)
    values = samples["predictors"].values.copy()
    names = samples["predictor"].values.tolist()
    values[::3, names.index("slope")] = np.nan
    holed = samples.assign(predictors=(("row", "predictor"), values))
    chosen = {"correlation": 0.05, "collinearity": 0.97, "keep": 5}
    recipes = Recipe(), Recipe(parts=("value", "climatology", "anomaly"), gaps="regress", **chosen)
    settings = quick(*recipes)[model]
    before = fit(model, holed, folds, settings, seed=3)
    for number in (int(np.flatnonzero(folds.scheme == s)[1]) for s in SCHEMES):
        withheld = ~folds.fit[number]
        assert withheld.any()
        changed = scrambled(holed, withheld, np.random.default_rng(1))
        assert not np.array_equal(changed["predictors"], holed["predictors"], equal_nan=True)
        after = fit(model, changed, folds, settings, seed=3)
        assert differing(told_of(before, number), told_of(after, number)) == []
        rows = samples["operator_row"].values[~withheld]
        kept = holed.isel(row=rows).drop_dims(["sample", "entry"])
        one, other = (predict(p.isel(fold=[number]), kept).values for p in (before, after))
        np.testing.assert_array_equal(one, other)
        others = [f for f in range(len(folds)) if (folds.fit[f] & withheld).any()]
        assert any(differing(told_of(before, f), told_of(after, f)) for f in others), "the change reached nobody"


@pytest.mark.parametrize("model", MODELS)
def test_prediction_has_a_value_for_every_fold_and_row(model, samples, folds):
    logo = of_scheme(folds, "logo")
    parameters = fit(model, samples, logo, SETTINGS[model])
    predicted = predict(parameters, samples)
    assert predicted.dims == ("fold", "member", "row")
    assert predicted.sizes["fold"] == len(logo)
    assert np.isfinite(predicted.values).all()
    np.testing.assert_array_equal(predicted["fold"], logo.name)
    np.testing.assert_array_equal(parameters["seen"], logo.fit)
    inner = logo.inner_score.any(axis=1)
    np.testing.assert_array_equal(np.isfinite(parameters["inner_prediction"].values), inner)


@pytest.mark.parametrize("model", MODELS)
def test_parameters_come_back_from_a_store_and_predict_the_same(model, samples, folds, tmp_path):
    from glacmb_grid.stores.formats import read_zarr, write_zarr

    logo = of_scheme(folds, "logo").take([0, 1])
    parameters = fit(model, samples, logo, SETTINGS[model])
    write_zarr(parameters, tmp_path / "logo.zarr")
    back = read_zarr(tmp_path / "logo.zarr")
    np.testing.assert_array_equal(predict(back, samples).values, predict(parameters, samples).values)
    shuffled = samples.isel(predictor=np.random.default_rng(0).permutation(samples.sizes["predictor"]))
    np.testing.assert_array_equal(predict(back, shuffled).values, predict(parameters, samples).values)


@pytest.mark.parametrize("model", ["ridge", "temperature_index", "ff_fcnn", "hybrid"])
def test_sums_of_two_years_teach_annual_balances(model, toys):
    samples = toys.samples(toys.predictors(glaciers=8, years=(2001, 2020)), noise=0.0)
    sums = toys.sums(samples)
    assert not operator_of(sums).is_identity
    settings = quick(ff_fcnn={"epochs": 400, "patience": 100, "members": 4})[model]
    annual = predict(fit(model, sums, toys.whole(sums), settings), samples).mean(("fold", "member")).values
    error = np.sqrt(np.mean((annual - samples["mass_balance"].values) ** 2))
    assert error < 0.35 * samples["mass_balance"].values.std()


@pytest.mark.parametrize("model", ["lasso", "random_forest", "extra_trees", "gradient_boosting", "gaussian_process"])
def test_models_that_learn_from_annual_balances_alone_say_so(model, samples, toys):
    sums = toys.sums(samples)
    with pytest.raises(InputError, match=f"models: {model}\n.*annual observations"):
        fit(model, sums, toys.whole(sums), SETTINGS[model])


def test_mean_of_sums_is_the_annual_mean(toys):
    sums = toys.sums(toys.samples(toys.predictors()))
    level = float(fit("mean", sums, toys.whole(sums))["level"].item())
    assert level == pytest.approx(sums["mass_balance"].values.mean() / 2, rel=1e-12)


def test_mean_by_hand(samples, folds):
    logo = of_scheme(folds, "logo")
    parameters = fit("mean", samples, logo)
    for fold, mask in enumerate(logo.fit):
        expected = samples["mass_balance"].values[mask].mean()
        assert float(parameters["level"][fold]) == pytest.approx(expected, rel=1e-12)


# ---- the temperature index ----


def test_temperature_index_gives_back_planted_parameters(toys):
    samples = toys.samples(toys.predictors(glaciers=8, years=(2001, 2030)), noise=0.0)
    wide = TemperatureIndex(prior_sd=(0.05, 20.0, 30.0), pull_sd=20.0)
    found = fit("temperature_index", samples, toys.whole(samples), wide)["value"].values[0, :3]
    np.testing.assert_allclose(found, toys.truth, rtol=2e-3, atol=2e-3)


def forced_table(toys, parameters, *, water, clipped):
    """A table with monthly temperature and water at the glacier itself, and balances of planted parameters."""
    rng = np.random.default_rng(3)
    glacier, year = (a.ravel() for a in np.indices((8, 15)))
    season = -4 - 9 * np.cos(2 * np.pi * np.arange(12) / 12)
    celsius = season + rng.normal(0, 1.5, (len(year), 12)) + rng.normal(0, 1.5, 8)[glacier, None]
    amount = 0.1 * rng.gamma(4, 0.25, (len(year), 12))
    samples = toys.table(rng.normal(size=(len(year), 1)), np.zeros(len(year)), glacier, year + 2000)
    warmth = np.maximum(celsius, 0.0) if clipped else celsius
    samples = samples.assign(
        temperature=(("row", "month"), warmth + 273.15, {"clipped": clipped}),
        days=(("row", "month"), np.full((len(year), 12), 30.4)),
        **{water: (("row", "month"), amount)},
    )
    true = {"temperature": np.where(celsius > 0, celsius, -200.0) if clipped else celsius, water: amount}
    true["temperature"] = true["temperature"] + 273.15
    true |= {"days": samples["days"].values, "orography": np.zeros(len(year)), "hypsometry": np.zeros((len(year), 1))}
    fixed = {k: v for k, v in TemperatureIndex().model_dump().items() if isinstance(v, float)}
    return samples.assign(mass_balance=("sample", balance(true, np.array(parameters), fixed)))


@pytest.mark.parametrize(("water", "clipped"), [("snowfall", False), ("snowfall", True), ("precipitation", True)])
def test_temperature_index_on_a_table_gives_back_planted_parameters(toys, water, clipped):
    """Snowfall stands for precipitation; where temperature is clipped, a month at the melting point does not melt."""
    planted = (0.006, 1.3, 0.0)
    samples = forced_table(toys, planted, water=water, clipped=clipped)
    wide = TemperatureIndex(prior_sd=(0.05, 20.0, 3.0), pull_sd=20.0)
    parameters = fit("temperature_index", samples, toys.whole(samples), wide)
    np.testing.assert_allclose(parameters["value"].values[0, :3], planted, rtol=5e-3, atol=5e-3)
    np.testing.assert_allclose(predict(parameters, samples).values[0, 0], samples["mass_balance"], atol=0.01)


@pytest.mark.parametrize("lacking", ["temperature", "snowfall", "both"])
def test_temperature_index_without_its_forcing_says_what_it_needs(toys, lacking):
    samples = forced_table(toys, (0.006, 1.3, 0.0), water="snowfall", clipped=False)
    samples = samples.drop_vars(["temperature", "snowfall"] if lacking == "both" else lacking)
    with pytest.raises(InputError, match="monthly temperature with precipitation or snowfall"):
        fit("temperature_index", samples, toys.whole(samples))


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


# ---- known truth, poor data ----


def r2_of(samples, folds, model, settings):
    table = out_of_fold(samples, folds, predict(fit(model, samples, folds, settings), samples), model=model)
    error = (table["predicted"] - table["observed"]).to_numpy()
    return 1 - np.mean(error**2) / table["observed"].to_numpy().var()


@pytest.mark.parametrize(
    ("model", "least"), [("ridge", 0.85), ("gaussian_process", 0.9), ("ff_fcnn", 0.9), ("extra_trees", 0.7)]
)
def test_a_known_function_of_predictors_is_recovered_at_glaciers_left_out(toys, model, least):
    samples = toys.known(glaciers=16)
    logo = make_folds(samples, "logo", inner=3, parts=4)
    changes = {"predictors": ["*"], "recipes": [Recipe()]}
    network = {"epochs": 400, "patience": 60, "learning_rate": [0.01], "members": 3}
    settings = SETTINGS[model].model_copy(update=changes | (network if model == "ff_fcnn" else {}))
    if model == "extra_trees":
        settings = settings.model_copy(update={"trees": 60, "share": [1.0]})
    assert r2_of(samples, logo, model, settings) > least


@pytest.mark.parametrize("trouble", ["constant target", "gaps", "constant predictor", "twice the same row"])
@pytest.mark.parametrize("model", MODELS)
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
    folds = make_folds(samples, "logo", inner=2, parts=2)
    recipes = [Recipe(), Recipe(parts=("climatology", "anomaly"), gaps="indicator")]
    settings = quick(*recipes, ff_fcnn={"widths": [(4,)], "epochs": 30, "patience": 10})[model]
    predicted = predict(fit(model, samples, folds, settings), samples)
    assert np.isfinite(predicted.values).all()
    if trouble == "constant target" and model in ("mean", "ridge", "lasso", "random_forest", "extra_trees"):
        np.testing.assert_allclose(predicted.values, -0.5, atol=1e-6)


def test_settings_can_be_given_as_a_dict(samples, folds):
    logo = of_scheme(folds, "logo")
    one = fit("ridge", samples, logo, {"penalties": [3.0], "predictors": FEW})
    other = fit("ridge", samples, logo, Ridge(penalties=[3.0], predictors=FEW))
    np.testing.assert_array_equal(predict(one, samples).values, predict(other, samples).values)
    with pytest.raises(ValueError, match="penalty"):
        fit("ridge", samples, logo, {"penalty": 3.0})


def test_an_unknown_model_is_named(samples, folds):
    with pytest.raises(ValueError, match=r"one of mean, year_mean, .*\n.*unknown model 'oracle'"):
        fit("oracle", samples, folds)


def test_samples_that_lack_something_are_refused(samples, folds):
    with pytest.raises(ValueError, match=r"samples\n.*\n.*'mass_balance' is missing"):
        fit("mean", samples.drop_vars("mass_balance"), folds)
    with pytest.raises(ValueError, match="are not of these samples"):
        fit("mean", samples, replace(folds, sample=folds.sample[::-1]))


def test_rows_that_lack_a_predictor_of_the_training_are_refused(samples, folds):
    parameters = fit("ridge", samples, of_scheme(folds, "logo"), SETTINGS["ridge"])
    with pytest.raises(ValueError, match=r"lack the predictors .*slope"):
        predict(parameters, samples.sel(predictor=[p for p in samples["predictor"].values if p != "slope"]))


# ---- one contract ----


BUILT = {
    "extra_trees_neighbours": ["extra_trees"],
    "ff_fcnn_neighbours": ["ff_fcnn"],
    "blend": ["ridge", "extra_trees"],
}


def fitted_with_bases(name, samples, folds):
    fits = {}
    for base in BUILT.get(name, []):
        fits[base] = fit(base, samples, folds, SETTINGS[base])
    fits[name] = fit(name, samples, folds, SETTINGS.get(name), built_on=fits)
    return fits


@pytest.mark.parametrize("model", REGISTRY)
def test_predicting_trains_nothing(model, samples, folds, tmp_path, monkeypatch):
    """Parameters come back from a store, and every way to fit or grow or solve or train is forbidden."""
    from sklearn.base import BaseEstimator

    from glacmb_grid.learning import features, kriging, selection, tabular, trees
    from glacmb_grid.stores.formats import read_zarr, write_zarr

    logo = of_scheme(folds, "logo").take([0, 1])
    fits = fitted_with_bases(model, samples, logo)
    expected = predict(fits[model], samples, fits).values
    for name, parameters in fits.items():
        write_zarr(parameters, tmp_path / f"{name}.zarr")
    back = {name: read_zarr(tmp_path / f"{name}.zarr") for name in fits}

    def forbidden(*_, **__):
        raise AssertionError("something was fitted")

    trees.node_type()  # a tree of one row tells how this version of scikit-learn lays nodes out
    for kind in _subclasses(BaseEstimator):
        if "fit" in vars(kind):
            monkeypatch.setattr(kind, "fit", forbidden)
    for place, name in [
        (features, "fit_features"), (tabular, "fit_features"), (selection, "grow"), (kriging, "learn"),
        (kriging, "cholesky"), (np.linalg, "solve"), (np.linalg, "eigh"), (np.linalg, "lstsq"),
    ]:  # fmt: skip
        monkeypatch.setattr(place, name, forbidden)
    np.testing.assert_array_equal(predict(back[model], samples, back).values, expected)


def _subclasses(kind):
    found = set(kind.__subclasses__())
    return found.union(*(_subclasses(k) for k in found))


@pytest.mark.parametrize("model", BUILT)
def test_a_model_built_on_others_asks_for_them(model, samples, folds):
    logo = of_scheme(folds, "logo").take([0, 1])
    fits = fitted_with_bases(model, samples, logo)
    with pytest.raises(ValueError, match=f"{model} is built on {BUILT[model][0]}.*built_on"):
        predict(fits[model], samples)
    if model != "blend":
        with pytest.raises(ValueError, match=f"{model} is built on {BUILT[model][0]}.*built_on"):
            fit(model, samples, logo)


def test_a_blend_goes_on_without_a_model_that_the_samples_lack_data_for(samples, folds):
    logo = of_scheme(folds, "logo").take([0, 1])
    ridge = fit("ridge", samples, logo, SETTINGS["ridge"])
    blend = Blended("blend", Blend(), ("ridge", "temperature_index"))
    with pytest.raises(ValueError, match="built on temperature_index"):
        fit_model(blend, Task(samples, logo, built_on={"ridge": ridge}))
    alone = fit_model(blend, Task(samples, logo, built_on={"ridge": ridge}, skipped=("temperature_index",)))
    assert alone["model"].values.tolist() == ["ridge"]


def test_a_model_that_is_in_no_registry_is_passed_to_predict(samples, folds):
    logo = of_scheme(folds, "logo")
    model = TrainingMean("level", Mean())
    parameters = fit(model, samples, logo)
    with pytest.raises(ValueError, match="pass it as `model`"):
        predict(parameters, samples)
    expected = predict(fit("mean", samples, logo), samples).values
    np.testing.assert_array_equal(predict(parameters, samples, model=model).values, expected)


def test_bases_come_first_and_a_blend_is_made_of_what_is_judged():
    judged = ["mean", "blend", "ff_fcnn_neighbours", "ridge"]
    found = with_bases(judged, Models().__getattribute__, judged)
    assert list(found) == ["mean", "ff_fcnn", "ff_fcnn_neighbours", "ridge", "blend"]
    assert found["blend"].built_on == ("ff_fcnn_neighbours", "ridge")
    asked = Models(blend=Blend(models=["extra_trees", "mean", "blend"]))
    found = with_bases(["ridge", "blend"], asked.__getattribute__, ["ridge", "blend"])
    assert found["blend"].built_on == ("extra_trees",)
    assert list(found).index("extra_trees") < list(found).index("blend")


# ---- models of the user's own ----


class Scaled:
    """A regressor as a user writes one: it predicts a share of the mean of what it was fitted on."""

    fits = 0

    def __init__(self, share=1.0, random_state=None):
        self.share, self.random_state = share, random_state

    def get_params(self, deep=True):
        return {"share": self.share, "random_state": self.random_state}

    def set_params(self, **values):
        vars(self).update(values)
        return self

    def fit(self, X, y):
        type(self).fits += 1
        self.mean_ = y.mean()
        return self

    def predict(self, X):
        return np.full(len(X), self.share * self.mean_)


class Levelled(Scaled):
    def __init__(self, level=0.0):
        self.level = level

    def get_params(self, deep=True):
        return {"level": self.level}

    def predict(self, X):
        return np.full(len(X), self.level)


def own(**changes):
    import sys

    sys.modules["own_regressors"] = sys.modules[__name__]
    return External(**{"external": "own_regressors:Scaled", "recipes": [Recipe()]} | changes)


def test_an_estimator_of_the_users_own_is_tuned_in_the_inner_folds(samples, folds, tmp_path):
    from glacmb_grid.stores.formats import read_zarr, write_zarr

    logo = of_scheme(folds, "logo")
    parameters = fit(model_of("mine", own(settings={"share": [0.0, 1.0, 2.0]})), samples, logo)
    chosen = [
        json.loads(str(c))["settings"]["share"] for c in parameters["candidate"].values[parameters["choice"].values]
    ]
    assert chosen == [1.0] * len(logo)
    write_zarr(parameters, tmp_path / "mine.zarr")
    predicted = predict(read_zarr(tmp_path / "mine.zarr"), samples).values
    for fold, mask in enumerate(logo.fit):
        np.testing.assert_allclose(predicted[fold], samples["mass_balance"].values[mask].mean(), rtol=1e-12)
    Scaled.fits = 0
    predict(parameters, samples)
    assert Scaled.fits == 0  # kept from the last time


def test_a_scikit_learn_class_works_as_the_users_own(samples, folds):
    logo = of_scheme(folds, "logo")
    oracle = fit("ridge", samples, logo, Ridge(recipes=[Recipe()], penalties=[3.0]))
    settings = External(external="sklearn.linear_model:Ridge", settings={"alpha": 3.0}, recipes=[Recipe()])
    parameters = fit(model_of("mine", settings), samples, logo)
    np.testing.assert_allclose(predict(parameters, samples).values, predict(oracle, samples).values, atol=1e-8)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"external": "no_such_package:Thing"}, "No module named"),
        ({"external": "own_regressors:Nothing"}, "Nothing"),
        ({"settings": {"shear": 1}}, "unexpected keyword argument 'shear'"),
        ({"external": "own_regressors:own"}, "class with the methods fit"),
    ],
)
def test_an_estimator_that_cannot_be_had_is_named(changes, found):
    with pytest.raises(InputError, match="models: mine") as error:
        model_of("mine", own(**changes)).require()
    assert found in str(error.value)


def test_an_estimators_own_setting_may_have_any_name(samples, folds):
    """As `level`, which is also a word of the search."""
    logo = of_scheme(folds, "logo")
    parameters = fit(model_of("mine", own(external="own_regressors:Levelled", settings={"level": 3.0})), samples, logo)
    np.testing.assert_array_equal(predict(parameters, samples).values, 3.0)


def test_an_estimator_without_features_predicts_the_mean(samples, folds):
    logo = of_scheme(folds, "logo")
    constant = samples.assign(predictors=samples["predictors"] * 0 + 1.0)
    settings = External(external="sklearn.linear_model:Ridge", recipes=[Recipe()])
    found = predict(fit(model_of("mine", settings), constant, logo), constant).values
    for fold, mask in enumerate(logo.fit):
        np.testing.assert_allclose(found[fold], samples["mass_balance"].values[mask].mean(), rtol=1e-12)


def test_an_estimator_that_predicts_nonsense_is_named(samples, folds):
    with pytest.raises(InputError, match=r"models: mine\n.*one finite number for each row"):
        fit(model_of("mine", own(settings={"share": float("nan")})), samples, of_scheme(folds, "logo"))


def given_file(samples, tmp_path, skip=0):
    table = pd.DataFrame(
        {
            "glacier": samples["row_glacier"].values,
            "year": samples["row_year"].values,
            "value": samples["mass_balance"].values + 0.5,
        }
    )
    table.iloc[skip:].to_csv(tmp_path / "oggm.csv", index=False)
    return Given(path=tmp_path / "oggm.csv")


def test_predictions_from_elsewhere_are_scored_in_the_same_folds(samples, folds, tmp_path):
    logo = of_scheme(folds, "logo")
    model = model_of("oggm", given_file(samples, tmp_path))
    parameters = fit(model, samples, logo)
    table = out_of_fold(samples, logo, predict(parameters, samples), model="oggm")
    np.testing.assert_allclose(table["predicted"] - table["observed"], 0.5, rtol=1e-9)
    assert "not fitted here" in parameters.attrs["note"]
    assert not model.informative  # no part of a blend
    column = samples.assign_coords(given_own=("row", samples["mass_balance"].values - 0.25))
    parameters = fit(model_of("own", Given()), column, logo)
    table = out_of_fold(column, logo, predict(parameters, column), model="own")
    np.testing.assert_allclose(table["predicted"] - table["observed"], -0.25, rtol=1e-9)


def test_predictions_that_lack_an_observation_are_refused(samples, folds, tmp_path):
    model = model_of("oggm", given_file(samples, tmp_path, skip=2))
    with pytest.raises(InputError, match="predictions: oggm") as error:
        fit(model, samples, of_scheme(folds, "logo"))
    assert f"none for 2 of {samples.sizes['row']}" in str(error.value)


def test_predictions_are_read_in_the_dialects_of_spreadsheets_and_blank_ones_are_none(tmp_path):
    file = tmp_path / "oggm.csv"
    file.write_bytes(
        b"\xef\xbb\xbfmade by hand\nglacier;year;value;note\n7.0;2000.0; -0.5;x\n7;2001;NA;\nb;2001;1e-1;\n"
    )
    table = model_of("oggm", Given(path=file))._read()  # noqa: SLF001 - what a fit keeps of it
    assert table.to_dict("records") == [
        {"glacier": "7", "year": 2000, "value": -0.5},
        {"glacier": "b", "year": 2001, "value": 0.1},
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("glacier,year\na,2000\n", "no value"),
        ("glacier,year,value\na,2000,1\na,2000,2\n", "several for a 2000"),
        ("glacier,year,value\na,first,1\n", "first"),
        ("glacier,year,value\na,2000.5,1\n", "2000.5"),
        ("glacier,year,value\na,2000,high\n", "high"),
        ("glacier,year,value\na,2000,-350\n", "-350"),
        ("glacier,year,value\n1.0,2000,1\n1,2000,2\n", "several for 1 2000"),
        ("glacier,year,value\n,2000,1\n", "blank in line(s) 2"),
        ("glacier,year,value\na,,1\n", "in line(s) 2"),
        ("", "an empty file"),
    ],
)
def test_a_file_of_predictions_that_is_no_such_table_is_refused(tmp_path, text, found):
    (tmp_path / "oggm.csv").write_text(text)
    with pytest.raises(InputError, match="oggm") as error:
        model_of("oggm", Given(path=tmp_path / "oggm.csv")).require()
    assert found in str(error.value)
