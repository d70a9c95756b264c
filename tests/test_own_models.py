"""Models that a configuration adds: estimators of the user's own, and predictions that were made elsewhere."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest
import yaml

from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.workflow.check import check
from glacmb_grid.workflow.runner import run

pytestmark = pytest.mark.filterwarnings("ignore:.*with the target by:UserWarning")  # x nearly is the target

BASE = {
    "name": "own",
    "samples": {
        "path": "table.csv",
        "glacier": "id",
        "year": "year",
        "target": "b",
        "target_units": "mm w.e.",
        "allow": ["x"],
    },
    "validation": {"schemes": ["logo"], "models": ["mean", "ridge", "mine", "oggm", "column"], "inner": 2, "parts": 4},
    "models": {"mine": {"external": "sklearn.linear_model:Ridge", "settings": {"alpha": [1.0, 1e6]}}},
    "predictions": {"oggm": "oggm.csv"},
    "scores": {"bootstrap": 100},
}


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    glacier, year = np.repeat([f"g{i}" for i in range(10)], 6), np.tile(np.arange(2000, 2006), 10)
    x = rng.normal(size=60)
    balance = -500 + 300 * x + 20 * rng.normal(size=60)
    table = pd.DataFrame({"id": glacier, "year": year, "b": balance, "x": x, "theirs": balance + 100})
    table.to_csv(tmp_path / "table.csv", index=False)
    oggm = pd.DataFrame({"glacier": glacier, "year": year, "value": balance / 1000 - 0.2})
    oggm.to_csv(tmp_path / "oggm.csv", index=False)
    return tmp_path


def configured(folder, **changes):
    raw = {**BASE, "samples": {**BASE["samples"], "predictions": {"column": "theirs"}}, **changes}
    raw["store"] = {"root": str(folder / "out")}
    (folder / "own.yaml").write_text(yaml.safe_dump(raw))
    return load_config(folder / "own.yaml")


def test_they_are_judged_in_the_same_folds_as_all_others(folder):
    config = configured(folder)
    check(config)
    run(config, say=lambda _: None)
    scores = pd.read_csv(config.root / "evaluation" / "scores.csv")
    rmse = scores[scores["metric"] == "rmse"].set_index("model")["value"]
    assert rmse["column"] == pytest.approx(0.1)
    assert rmse["oggm"] == pytest.approx(0.2)
    assert rmse["mine"] < 0.1 < 0.2 < rmse["mean"]
    compared = pd.read_csv(config.root / "evaluation" / "comparisons.csv")
    pairs = compared[(compared["model"] == "mine") & (compared["baseline"] == "oggm")]
    assert (pairs["metric"] == "rmse").any()
    choices = pd.read_csv(config.root / "evaluation" / "choices.csv")
    chosen = choices.groupby("model")["chosen"].first()
    assert "alpha" in chosen["mine"]
    assert "not fitted here" in chosen["oggm"]
    predictors = pd.read_csv(config.root / "evaluation" / "choices.csv").query("model == 'ridge'")["feature_names"]
    assert set(predictors) == {"x"}


def test_a_changed_file_of_predictions_is_read_again(folder):
    config = configured(folder)
    run(config, say=lambda _: None)
    table = pd.read_csv(folder / "oggm.csv")
    table.assign(value=table["value"] - 1).to_csv(folder / "oggm.csv", index=False)
    assert run(config, say=lambda _: None) == ["learning/oggm", "evaluation"]
    scores = pd.read_csv(config.root / "evaluation" / "scores.csv").set_index(["model", "metric"])["value"]
    assert scores["oggm", "rmse"] == pytest.approx(1.2)


def test_all_models_include_those_that_the_configuration_adds(folder):
    config = configured(folder, validation={**BASE["validation"], "models": "all"})
    assert {"mine", "oggm", "column", "ridge", "blend"} <= set(_judged(config))


def _judged(config):
    from glacmb_grid.judging.plan import compared

    return compared(config)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"models": {"mine": {"external": "no_such_package:Thing"}}}, "no_such_package"),
        ({"models": {"mine": {"external": "sklearn.linear_model:Ridge", "settings": {"slope": 1}}}}, "slope"),
        ({"predictions": {"oggm": "missing.csv"}}, "missing.csv"),
        ({"validation": {"models": ["mean", "blend"], "inner": 2}}, "models: blend"),
    ],
)
def test_what_cannot_be_had_is_named_before_anything_runs(folder, changes, says):
    with pytest.raises((InputError, InputErrors)) as error:
        check(configured(folder, **changes))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"validation": {"models": ["mine", "theirs"]}}, "validation.models.1"),
        ({"predictions": {"ridge": "oggm.csv"}}, "predictions.ridge"),
        ({"models": {"mine": {"external": "no colon"}}}, "models.mine.external"),
        ({"models": {"mine": {"external": "a:b", "setings": {}}}}, "did you mean 'settings'?"),
        ({"models": {"ridgge": {}}}, "did you mean 'ridge'?"),
        ({"predictions": {"a b": "oggm.csv"}}, "predictions.a b"),
        ({"predictions": {"mine": "oggm.csv"}}, "mine"),
        ({"models": {"own": None, "mine": {"external": "a:b", "settings": {"x": []}}}}, "alternative for x"),
        ({"models": {"mine": {"external": "a:b", "settings": {"x": date(2000, 1, 1)}}}}, "numbers, texts"),
    ],
)
def test_a_configuration_that_names_them_wrongly_is_refused(folder, changes, says):
    with pytest.raises((InputError, InputErrors)) as error:
        configured(folder, **changes)
    assert says in str(error.value)


def test_what_cannot_be_had_stops_a_run_before_its_first_stage(folder):
    config = configured(folder, models={"mine": {"external": "no_such_package:Thing"}})
    with pytest.raises((InputError, InputErrors), match="no_such_package"):
        run(config, say=lambda _: None)
    assert not (config.root / "samples").exists()


def test_an_audit_is_stale_where_an_estimator_that_it_compares_changed(folder):
    mine = {"external": "sklearn.linear_model:Ridge", "settings": {"alpha": 1.0}}
    changes = {"audit": {"compare": ["mine"], "permutations": 0}, "predictions": {}}
    changes["validation"] = {**BASE["validation"], "models": ["mean", "ridge"]}
    before = configured(folder, models={"mine": mine}, **changes)
    run(before, stage="audit", say=lambda _: None)
    assert run(before, stage="audit", say=lambda _: None) == []
    mine["settings"] = {"alpha": 5.0}
    assert run(configured(folder, models={"mine": mine}, **changes), stage="audit", say=lambda _: None) == ["audit"]


def test_a_configuration_can_be_read_back_from_its_plain_values(folder):
    config = configured(folder)
    again = type(config).model_validate(config.model_dump())
    assert again.model_dump() == config.model_dump()
    assert again.own_models == config.own_models
