"""What a new user tries first: works, or says what is wanted."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from sklearn.linear_model import LinearRegression, Ridge

import glacmb_grid as gg
from glacmb_grid.errors import InputError
from glacmb_grid.settings import External


class Level:
    """A regressor of one's own, with no more than the two methods: a quantile of what it saw."""

    def __init__(self, share=0.5):
        self.share = share

    def fit(self, X, y):
        self.level = np.quantile(y, self.share)

    def predict(self, X):
        return np.full(len(X), self.level)


@pytest.fixture(scope="module")
def known(toys):
    samples = toys.known(glaciers=8, years=6)
    return samples, gg.make_folds(samples, "logo")


def scores_of(known, model, settings=None):
    samples, folds = known
    parameters = gg.fit(model, samples, folds, settings)
    return parameters, gg.out_of_fold(samples, folds, gg.predict(parameters, samples), model="own")


def test_a_class_of_ones_own_is_fitted_like_any_model(known):
    parameters, table = scores_of(known, Level)
    samples, folds = known
    fold = int(np.flatnonzero(folds.score[:, 0])[0])
    assert table["predicted"][0] == np.median(samples["mass_balance"].values[folds.fit[fold]])
    assert parameters.attrs["model"] == "Level"


def test_lists_are_alternatives_for_a_class_of_ones_own(known):
    parameters, _ = scores_of(known, Level, {"share": [0.0, 0.5]})
    chosen = gg.choices(parameters)["chosen"]
    assert chosen.str.contains('"share": 0.5').all()


def test_an_object_is_its_class_with_its_arguments(known):
    penalty = {"alpha": 3.0}
    _, of_object = scores_of(known, Ridge(**penalty))
    _, of_class = scores_of(known, Ridge, penalty)
    _, of_name = scores_of(known, "mine", {"external": "sklearn.linear_model:Ridge", "settings": penalty})
    _, of_default = scores_of(known, Ridge)
    np.testing.assert_array_equal(of_object["predicted"], of_class["predicted"])
    np.testing.assert_array_equal(of_object["predicted"], of_name["predicted"])
    assert not np.array_equal(of_object["predicted"], of_default["predicted"])


def test_a_class_that_was_defined_anew_is_fitted_anew(known, monkeypatch):
    import sys

    class Other(Level):
        def predict(self, X):
            return np.full(len(X), 7.0)

    here = sys.modules[Level.__module__]
    _, before = scores_of(known, Level)
    Other.__qualname__ = Other.__name__ = "Level"
    monkeypatch.setattr(here, "Level", Other)
    _, after = scores_of(known, Other)
    assert (before["predicted"] < 7).all()
    assert (after["predicted"] == 7).all()


class Alone(Level):
    """Counts how many of its kind are at work at once."""

    at_work = most = 0

    def _work(self):
        kind = type(self)
        kind.at_work += 1
        kind.most = max(kind.most, kind.at_work)
        time.sleep(0.002)
        kind.at_work -= 1

    def fit(self, X, y):
        super().fit(X, y)
        self._work()

    def predict(self, X):
        self._work()
        return super().predict(X)


def test_a_class_of_ones_own_need_not_bear_threads(known, monkeypatch):
    monkeypatch.setattr("glacmb_grid.learning.search.workers", lambda: 4)
    scores_of(known, Alone, {"share": [0.1, 0.4, 0.6]})
    assert Alone.most == 1


class NoPredict:
    def fit(self, X, y): ...


def test_what_is_no_regressor_is_named(known):
    with pytest.raises(InputError, match=r"class NoPredict without them"):
        gg.fit(NoPredict, *known)
    with pytest.raises(InputError, match=r"without get_params"):
        gg.fit(Level(), *known)
    with pytest.raises(InputError, match=r"numbers, texts, lists"):
        gg.fit(Ridge(alpha=object()), *known)

    class Inside(Level): ...

    with pytest.raises(InputError, match=r"define it at the top"):
        gg.fit(Inside, *known)


def test_a_wrong_name_or_setting_has_the_right_one_beside_it(known):
    with pytest.raises(InputError, match=r"did you mean 'ridge'\?"):
        gg.fit("rigde", *known)
    with pytest.raises(InputError, match=r"settings of ridge: penalty\n(.*\n)*.*did you mean 'penalties'\?"):
        gg.fit("ridge", *known, {"penalty": [1.0]})
    with pytest.raises(InputError, match="external"):
        gg.fit("mine", *known, {"external": "no colon"})
    assert gg.fit("mine", *known, External(external="sklearn.linear_model:Ridge")).attrs["model"] == "mine"


def test_arguments_in_the_wrong_order_are_named(known):
    samples, folds = known
    with pytest.raises(InputError, match="found:    a Folds"):
        gg.fit("ridge", folds, samples)


def test_choices_say_what_was_chosen_in_every_fold(known):
    samples, folds = known
    table = gg.choices(gg.fit("ridge", samples, folds, {"penalties": [1e-3, 1e6]}))
    assert table["fold"].tolist() == folds.name.tolist()
    assert (table["rows"] == folds.fit.sum(axis=1)).all()
    assert table["chosen"].str.contains('"penalty": 0.001').all()  # there is a signal
    assert (table["inner_rmse"] < 0.5).all()
    assert set(gg.choices(gg.fit("mean", samples, folds))["model"]) == {"mean"}
    with pytest.raises(InputError, match="`fit`"):
        gg.choices(samples)


def elsewhere(samples, error=0.25):
    value = samples["mass_balance"].values + error
    return pd.DataFrame({"glacier": samples["glacier"].values, "year": samples["year"].values, "value": value})


def test_predictions_from_elsewhere_are_scored_in_the_same_folds(known):
    samples, folds = known
    shuffled = elsewhere(samples).sample(frac=1, random_state=0)
    table = gg.out_of_fold(samples, folds, shuffled, model="theirs")
    rmse = gg.score(table, draws=20).set_index("metric")["value"]["rmse"]
    assert rmse == pytest.approx(0.25)
    assert (table["fold"] == scores_of(known, LinearRegression)[1]["fold"]).all()


def test_predictions_from_elsewhere_of_sums_are_summed(toys):
    sums = toys.sums(toys.known(glaciers=8, years=6))
    rows = sums["row_glacier"].values, sums["row_year"].values
    each = pd.DataFrame({"glacier": rows[0], "year": rows[1], "value": 0.5})
    table = gg.out_of_fold(sums, gg.make_folds(sums, "logo"), each, model="theirs")
    assert (table["predicted"] == 1.0).all()


def test_predictions_from_elsewhere_must_be_complete(known):
    samples, folds = known
    table = elsewhere(samples)
    with pytest.raises(InputError, match="none for 1 of 48: g00"):
        gg.out_of_fold(samples, folds, table.iloc[1:], model="theirs")
    with pytest.raises(InputError, match="several for g00 2000"):
        gg.out_of_fold(samples, folds, pd.concat([table, table.iloc[:1]]), model="theirs")
    with pytest.raises(InputError, match="no value"):
        gg.out_of_fold(samples, folds, table.rename(columns={"value": "balance"}), model="theirs")
    with pytest.raises(InputError, match="a list"):
        gg.out_of_fold(samples, folds, [1.0], model="theirs")


def test_dimensions_come_in_any_order(toys):
    predictors = toys.predictors(glaciers=5, years=(2001, 2006))
    samples = toys.samples(predictors)
    turned = predictors.transpose("predictor", "year", "glacier", ...)
    linked = pd.DataFrame(
        {n: samples[n].values for n in ("glacier", "year", "mass_balance", "site", "name", "link", "time_system")}
    ).assign(uncertainty=0.2, uncertainty_given=False)
    xr.testing.assert_identical(gg.build_samples(turned, linked)[0], gg.build_samples(predictors, linked)[0])
    folds = gg.make_folds(samples, "logo")
    parameters = gg.fit("ridge", samples, folds, {"penalties": [1.0]})
    wanted = gg.upscale(lambda rows: gg.predict(parameters, rows), predictors, samples, folds)
    xr.testing.assert_identical(gg.upscale(parameters, turned, samples, folds), wanted)


def cube_and_weights():
    import geopandas as gpd
    from shapely.geometry import box

    axes = {
        "time": pd.date_range("2001-01-01", periods=3, freq="MS"),
        "latitude": [42.1, 42.0],
        "longitude": [80.0, 80.1],
    }
    values = np.arange(12.0).reshape(3, 2, 2)
    cube = xr.Dataset({"t2m": (tuple(axes), values)}, coords=axes)
    outlines = gpd.GeoDataFrame({"glacier": ["a"]}, geometry=[box(79.96, 41.96, 80.09, 42.03)], crs=4326)
    return cube, gg.overlap_weights(outlines.set_index("glacier"), cube)


def test_a_cube_is_sampled_in_any_order_and_as_one_variable():
    cube, weights = cube_and_weights()
    wanted = gg.sample(cube, weights)["t2m"]
    assert 2 < wanted.values[0, 0] < 3  # between the two cells of the southern row
    for other in (cube.transpose("longitude", "time", "latitude"), cube["t2m"], cube["t2m"].chunk(time=1)):
        np.testing.assert_array_equal(gg.sample(other, weights)["t2m"].values, wanted.values)


def test_sampling_says_what_it_takes():
    cube, weights = cube_and_weights()
    with pytest.raises(InputError, match="a Weights, then a Dataset"):
        gg.sample(weights, cube)
    with pytest.raises(InputError, match="DataArray without a name"):
        gg.sample(cube["t2m"].rename(None), weights)
    with pytest.raises(InputError, match=r"these weights belong to grid .* 4 cells\n.*overlap_weights"):
        gg.sample(cube.isel(latitude=[1, 0]), weights)


@pytest.fixture
def parts(toys, monkeypatch):
    """What `build_predictors` takes, as the toys of the tests make it."""
    taken = {}
    build = gg.build_predictors

    def keep(*given):
        taken.update(zip(("sampled", "terrain", "glaciers"), given, strict=True))
        return build(*given)

    with monkeypatch.context() as patched:
        patched.setattr("glacmb_grid.predictors.build_predictors", keep)
        toys.predictors(glaciers=4, years=(2001, 2003))
    return taken


def test_predictors_say_what_is_missing_or_in_another_order(parts):
    given = parts
    with pytest.raises(InputError, match="correct_temperature"):
        gg.build_predictors(given["sampled"].drop_vars("t2m_corrected"), given["terrain"], given["glaciers"])
    turned = given["terrain"].isel(glacier=slice(None, None, -1))
    with pytest.raises(InputError, match="another order"):
        gg.build_predictors(given["sampled"], turned, given["glaciers"])
    ordered = turned.sel(glacier=given["sampled"]["glacier"])  # what the remedy says
    wanted = gg.build_predictors(**given)
    xr.testing.assert_identical(gg.build_predictors(given["sampled"], ordered, given["glaciers"]), wanted)
    with pytest.raises(InputError, match="1 of 4 are missing"):
        gg.build_predictors(given["sampled"], given["terrain"].isel(glacier=slice(1, None)), given["glaciers"])


def test_a_region_is_written_where_a_text_says(tmp_path):
    folder = tmp_path / "region"
    folder.mkdir()
    (folder / "mine.txt").touch()
    with pytest.raises(ValueError, match=r"mine\.txt"):
        gg.write_region(str(folder))
