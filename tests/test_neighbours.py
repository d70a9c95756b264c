"""Neighbours for every model: by its name with `_neighbours` after it, also of the user's own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from glacmb_grid.cli import main
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.judging.plan import compared, models_of
from glacmb_grid.learning.registry import fit, model_of, predict, with_bases
from glacmb_grid.learning.rivals import RIVALS
from glacmb_grid.settings import Models, Neighbours, Recipe, Ridge
from glacmb_grid.settings.models import base_of
from glacmb_grid.validation.audit import scrambled


class Slope:
    """A regressor as a user writes one."""

    def fit(self, features, target):
        self.mean = target.mean()
        self.weight = features.T @ (target - self.mean) / len(target)
        return self

    def predict(self, features):
        return features @ self.weight + self.mean


@pytest.fixture(scope="module")
def samples(toys):
    """Years that lie above or below what predictors tell, alike at all glaciers."""
    samples = toys.known(glaciers=8, years=10)
    place = np.random.default_rng(0).uniform(0, 3, (8, 2))[np.repeat(np.arange(8), 10)] + [75, 35]
    year = np.random.default_rng(1).normal(0, 0.8, 10)[np.tile(np.arange(10), 8)]
    samples = samples.assign_coords(row_longitude=("row", place[:, 0]), row_latitude=("row", place[:, 1]))
    return samples.assign(mass_balance=("sample", samples["mass_balance"].values + year))


@pytest.fixture(scope="module")
def folds(samples):
    return make_folds(samples, "logo", inner=3, parts=4, blocks=2)


FREE = Recipe(within_reach=False)
RIDGE = Ridge(recipes=[FREE], penalties=[1.0])


def scored(parameters, samples, folds, below=None):
    found = predict(parameters, samples, below).values[:, 0]
    return np.sqrt(np.mean((found - samples["mass_balance"].values)[folds.score] ** 2))


def test_names():
    assert base_of("ridge_neighbours") == "ridge"
    assert base_of("ridge") is None
    model = model_of("lasso_neighbours")
    assert model.name == "lasso_neighbours"
    assert model.built_on == ("lasso",)
    assert isinstance(model.settings, Neighbours)


@pytest.mark.parametrize("base", ["ridge", "gaussian_process", "level_anomaly"])
def test_neighbours_help_any_model_where_years_are_not_withheld(samples, folds, base):
    settings = RIDGE if base == "ridge" else {"recipes": [{}]}
    below = {base: fit(base, samples, folds, settings)}
    added = fit(f"{base}_neighbours", samples, folds, built_on=below)
    alone, both = scored(below[base], samples, folds), scored(added, samples, folds, below)
    if base == "gaussian_process":  # which knows neighbours itself
        assert both < 1.1 * alone
    else:
        assert both < 0.6 * alone


def test_neighbours_of_a_class_of_the_users_own(samples, folds):
    below = {"Slope": fit(Slope, samples, folds)}
    added = fit("Slope_neighbours", samples, folds, built_on=below)
    assert scored(added, samples, folds, below) < 0.6 * scored(below["Slope"], samples, folds)
    with pytest.raises(InputError, match="unknown model 'Slope'"):
        fit("Slope_neighbours", samples, folds)


def test_neighbours_of_a_blend_and_a_blend_of_neighbours(samples, folds):
    below = {"ridge": fit("ridge", samples, folds, RIDGE), "lasso": fit("lasso", samples, folds, {"recipes": [FREE]})}
    below["blend"] = fit("blend", samples, folds, built_on=below)
    added = fit("blend_neighbours", samples, folds, built_on=below)
    assert scored(added, samples, folds, below) < 0.5 * scored(below["blend"], samples, folds, below)
    judged = ["ridge", "blend_neighbours", "ridge_neighbours", "blend"]
    found = with_bases(judged, Models().of, judged)
    assert found["blend"].built_on == ("ridge", "ridge_neighbours")
    assert list(found) == ["ridge", "ridge_neighbours", "blend", "blend_neighbours"]


def test_what_a_fold_withholds_changes_nothing_with_neighbours_of_any_model(samples, folds):
    number = 1
    withheld = ~folds.fit[number]
    found = []
    for one in (samples, scrambled(samples, withheld, np.random.default_rng(1))):
        below = {"level_anomaly": fit("level_anomaly", one, folds, {"recipes": [{}]})}
        added = fit("level_anomaly_neighbours", one, folds, built_on=below)
        kept = samples.isel(row=np.flatnonzero(~withheld)).drop_dims(["sample", "entry"])
        told = predict(added, kept, below).values[number]
        found.append([added[n].values[number] for n in ("residual", "used", "inner_prediction")] + [told])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("base", ["mean"])
def test_a_model_that_others_are_not_built_on(samples, folds, base):
    below = {base: fit(base, samples, folds)}
    with pytest.raises(InputError, match=f"models: {base}_neighbours\n.*tells glacier-years apart"):
        fit(f"{base}_neighbours", samples, folds, built_on=below)


# ---- in a configuration ----


PLAIN = {"recipes": [{}]}
MINE = {"external": "sklearn.linear_model:BayesianRidge", **PLAIN}


def configured(folder, judged, models=None, **changes):
    """A configuration of a small table; the path of it."""
    rng = np.random.default_rng(0)
    glacier, year = (a.ravel() for a in np.indices((6, 5)))
    columns = {"glacier": [f"g{g:02d}" for g in glacier], "year": year + 2001, "b": rng.normal(-300, 400, 30).round()}
    columns |= {"weather": rng.normal(size=30), "lat": 30 + 0.7 * glacier, "lon": 80 + 0.9 * glacier}
    pd.DataFrame(columns).to_csv(folder / "table.csv", index=False)
    content = {
        "samples": {
            "path": "table.csv", "glacier": "glacier", "year": "year", "target": "b", "target_units": "mm w.e.",
            "latitude": "lat", "longitude": "lon",
        },
        "models": {"ridge": PLAIN, **(models or {})},
        "validation": {"schemes": ["logo"], "models": judged, "inner": 2, "parts": 2, "blocks": 1},
        "scores": {"bootstrap": 100},
        "store": {"root": "out"},
        **changes,
    }  # fmt: skip
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    return str(folder / "own.yaml")


def test_any_model_and_one_of_your_own_can_be_asked_for_in_a_configuration(tmp_path):
    asked = ["ridge_neighbours", "mine_neighbours", "blend", "blend_neighbours"]
    path = configured(tmp_path, asked, models={"mine": MINE})
    config = load_config(path)
    assert set(models_of(config)) == {*asked, "ridge", "mine", *RIVALS}
    assert main(["evaluate", path]) == 0
    predictions = pd.read_csv(tmp_path / "out" / "evaluation" / "predictions.csv")
    assert set(predictions["model"]) - set(RIVALS) == set(asked)
    assert np.isfinite(predictions["predicted"]).all()


def test_all_holds_the_models_of_the_package_as_before(tmp_path):
    config = load_config(configured(tmp_path, "all"))
    assert [m for m in compared(config) if base_of(m)] == ["extra_trees_neighbours", "ff_fcnn_neighbours"]


def test_an_audit_compares_neighbours_of_your_own_too(tmp_path, capsys):
    audit = {"compare": ["mine_neighbours"], "models": {}, "permutations": 0}
    path = configured(tmp_path, ["ridge"], models={"mine": MINE}, audit=audit)
    assert main(["audit", path]) in (0, 2)
    assert "models.mine` has no effect" not in capsys.readouterr().err
    gaps = next((tmp_path / "out" / "audit").glob("*.csv"))
    assert gaps.exists()


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (["mean_neighbours"], ["mean_neighbours", "tells glacier-years apart", "ridge_neighbours"]),
        (["oggm_neighbours"], ["oggm_neighbours", "fitted here", "oggm, which is not"]),
        (["rigde_neighbours"], ["validation.models.0", "with _neighbours after its name"]),
        (["ridge_neighbours_neighbours"], ["validation.models.0"]),
        (["ff_fcnn_neighbours_neighbours"], ["validation.models.0"]),
    ],
)
def test_names_that_are_not_one_of_a_model_are_told(tmp_path, capsys, models, told):
    path = configured(tmp_path, models, predictions={"oggm": "oggm.csv"})
    (tmp_path / "oggm.csv").write_text("glacier,year,value\ng00,2001,0.1\n")
    assert main(["check", path]) == 1
    out = capsys.readouterr()
    for words in told:
        assert words in out.err + out.out, words
    assert "Traceback" not in out.err + out.out


@pytest.mark.parametrize("name", ["ridge_neighbours", "mine_neighbours"])
def test_a_model_of_your_own_cannot_have_the_name_of_one_with_neighbours(tmp_path, capsys, name):
    path = configured(tmp_path, ["ridge"], models={"mine": MINE, name: MINE})
    assert main(["check", path]) == 1
    assert "a name of its own" in capsys.readouterr().err
