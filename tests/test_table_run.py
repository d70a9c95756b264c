"""The command line on a user's own table, from a whole one to tables that can hardly be learnt from."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from glacmb_grid.cli import main

RECIPES = {"recipes": [{}]}
CONFIG = {
    "samples": {
        "path": "table.csv", "glacier": "glacier", "year": "year", "target": "b", "target_units": "mm w.e.",
        "latitude": "lat", "longitude": "lon", "region": "country",
    },
    "models": {
        "ridge": {**RECIPES, "penalties": [1, 10]},
        "extra_trees": {**RECIPES, "trees": 10, "leaf": 2},
        "ff_fcnn": {
            **RECIPES, "widths": [4], "members": 1, "epochs": 30, "patience": 10, "input_noise": 0.1, "l1": 0.001,
            "learning_rate": 0.01,
        },
    },
    "validation": {
        "schemes": ["logo", "loyo", "random"], "models": ["mean", "ridge", "extra_trees", "blend"], "inner": 3,
        "parts": 5, "blocks": 5,
    },
    "scores": {"bootstrap": 200},
    "audit": {"compare": ["ridge"], "models": {"ridge": {**RECIPES, "penalties": [1, 10]}}, "permutations": 1},
    "study": {"models": ["ridge"], "shares": [0.3, 1.0], "repeats": 1},
    "store": {"root": "out"},
}  # fmt: skip


def table(glaciers=10, years=8, seed=0, noise=100.0):
    rng = np.random.default_rng(seed)
    glacier, year = (a.ravel() for a in np.indices((glaciers, years)))
    level, weather = rng.normal(0, 1, glaciers)[glacier], rng.normal(0, 1, len(year))
    return pd.DataFrame(
        {
            "glacier": [f"g{g:02d}" for g in glacier],
            "year": year + 2001,
            "b": (400 * level + 500 * weather + rng.normal(0, noise, len(year))).round(1),
            "lat": 30 + glacier * 0.7,
            "lon": 80 + glacier * 0.9,
            "country": np.where(glacier % 2, "south", "north"),
            "level": level,
            "weather": weather,
            "other": rng.normal(0, 1, len(year)),
        }
    )


def written(folder, data, **changes):
    data.to_csv(folder / "table.csv", index=False)
    content = {**CONFIG, **{k: {**CONFIG.get(k, {}), **v} for k, v in changes.items()}}
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    return str(folder / "own.yaml")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """An evaluated table: the configuration and the folder of the run."""
    folder = tmp_path_factory.mktemp("table")
    config = written(folder, table())
    assert main(["evaluate", config]) == 0
    return config, folder / "out"


def test_check_tells_the_table_and_its_folds(tmp_path, capsys):
    assert main(["check", written(tmp_path, table())]) == 0
    told = capsys.readouterr().out
    assert "ok: 80 rows of 10 glaciers, 2001..2008, 3 predictors" in told
    assert "ok: logo: 5 folds" in told
    assert not (tmp_path / "out").exists()


def test_status_before_and_after(done, tmp_path, capsys):
    assert main(["status", written(tmp_path, table())]) == 0
    assert "current" not in capsys.readouterr().out
    assert main(["status", done[0]]) == 0
    told = dict(line.split()[:2] for line in capsys.readouterr().out.splitlines())
    assert {told[n] for n in ("samples", "folds", "learning/blend", "evaluation")} == {"current"}
    assert {told[n] for n in ("audit", "study")} <= {"missing", "current"}


def test_evaluate_again_does_nothing(done, capsys):
    assert main(["evaluate", done[0]]) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_scores_of_every_model_in_every_scheme(done):
    folder = done[1] / "evaluation"
    scores = pd.read_csv(folder / "scores.csv")
    rmse = scores[scores["metric"] == "rmse"].set_index(["scheme", "model"])["value"]
    assert set(rmse.index) == {
        *((s, m) for s in ("logo", "loyo", "random") for m in ("mean", "ridge", "extra_trees", "blend")),
        ("logo", "year_mean"),
        ("random", "year_mean"),
        ("loyo", "year_level"),
    }
    assert (rmse["logo"][["ridge", "blend"]] < 0.25).all()
    assert rmse["logo"]["mean"] > 0.5
    predictions = pd.read_csv(folder / "predictions.csv")
    assert set(predictions["region"]) == {"north", "south"}
    assert len(predictions) == 80 * (3 * 4 + 3)
    observed = table().set_index(["glacier", "year"])["b"] / 1000
    at = observed.loc[list(zip(predictions["glacier"], predictions["year"], strict=True))]
    np.testing.assert_allclose(predictions["observed"], at.to_numpy(), atol=1e-9)
    for name in ("comparisons.csv", "slices.csv", "distance.csv", "choices.csv", "search.json"):
        assert (folder / name).stat().st_size > 100
    choices = pd.read_csv(folder / "choices.csv")
    assert set(choices["model"]) == {"mean", "ridge", "extra_trees", "blend", "year_mean", "year_level"}
    weights = choices[choices["model"] == "blend"]["chosen"].map(json.loads)
    assert all(sum(w.values()) == pytest.approx(1, abs=0.01) and set(w) == {"ridge", "extra_trees"} for w in weights)


def test_the_summary_warns_of_random_folds(done, capsys):
    main(["evaluate", done[0]])
    told = capsys.readouterr().out
    assert "logo, nested, n = 80" in told
    warned = [line.strip() for line in told.splitlines() if "not a fair test" in line]
    assert len(warned) == 1
    assert warned[0].startswith("random, nested")


def test_random_folds_are_never_shown_alone(tmp_path, capsys):
    config = written(tmp_path, table(), validation={"schemes": ["random"]})
    for command in ("check", "evaluate"):
        assert main([command, config]) == 1
        assert "random folds only together" in capsys.readouterr().err


# ---- audit and study ----


def test_an_audit_of_a_sound_table_passes_and_tells_the_gap(done, capsys):
    assert main(["audit", done[0]]) == 0
    told = capsys.readouterr().out
    assert "NOTHING LEAKED" in told
    assert "split: random rows" in told
    folder = done[1] / "audit"
    assert json.loads((folder / "verdict.json").read_text()) == {"leaks": []}
    assert len(pd.read_csv(folder / "rows.csv")) == 80
    probes = pd.read_csv(folder / "probes.csv", keep_default_na=False)
    assert set(probes["changed"]) == {""}
    assert set(probes["model"]) == {"mean", "ridge", "extra_trees", "blend", "year_mean", "year_level"}
    assert set(pd.read_csv(folder / "permuted.csv")["model"]) == {"ridge"}


@pytest.mark.parametrize("leak", ["selection", "tuning"])
def test_an_audit_of_a_leaky_protocol_fails(tmp_path, capsys, leak):
    config = written(
        tmp_path, table(), protocol={leak: True}, validation={"models": ["ridge"], "schemes": ["logo"]},
        audit={"permutations": 0},
    )  # fmt: skip
    assert main(["audit", config]) == 2
    told = capsys.readouterr().out
    assert f"LEAKED: the protocol of this configuration, on purpose: leaked {leak}" in told
    assert "ridge in fold" in told
    predictions = pd.read_parquet(tmp_path / "out" / "learning" / "ridge" / "predictions.parquet")
    assert set(predictions["protocol"]) == {f"leaked {leak}"}


def test_an_audit_finds_climate_shared_across_folds(tmp_path, capsys):
    """Two glaciers with the same weather in the same years: on both sides if split by glacier, not if by group."""
    data = table()
    for number in range(3):
        data[f"wind_{number}"] = np.random.default_rng(number).normal(0, 1, len(data))
    for name in ("level", "weather", "other", "wind_0", "wind_1", "wind_2"):
        data.loc[data["glacier"] == "g01", name] = data.loc[data["glacier"] == "g00", name].to_numpy()
    data["cell"] = data["glacier"].replace("g01", "g00")
    few = {"validation": {"models": ["ridge"], "schemes": ["logo"], "parts": 10}, "audit": {"permutations": 0}}
    assert main(["audit", written(tmp_path, data, samples={"exclude": ["cell"]}, **few)]) == 2
    assert "the same climate of the same year on both sides" in capsys.readouterr().out
    assert main(["audit", written(tmp_path, data, samples={"group": "cell"}, **few)]) == 0
    assert "shared climate vectors: split by glacier" in capsys.readouterr().out


def test_a_study_tells_what_skill_comes_from(done, capsys):
    assert main(["study", done[0]]) == 0
    told = capsys.readouterr().out
    assert "weather" in told
    assert "with coordinates as predictors" in told
    folder = done[1] / "study"
    weights = pd.read_csv(folder / "importance.csv").groupby("group")["increase"].mean()
    assert weights.idxmin() == "other"
    assert {"as it is", "with coordinates as predictors"} <= set(pd.read_csv(folder / "ablations.csv")["ablation"])
    curve = pd.read_csv(folder / "learning_curve.csv").sort_values("groups")
    assert curve["rmse"].iloc[0] > curve["rmse"].iloc[-1]


# ---- locked glaciers ----


def test_locked_glaciers_are_in_no_mask_until_they_are_scored(tmp_path, capsys):
    import xarray as xr

    config = written(tmp_path, table(), validation={"holdout": ["g03", "g07"], "schemes": ["logo", "both_out"]})
    assert main(["evaluate", config]) == 0
    assert "16 rows of 2 test glaciers are locked away" in capsys.readouterr().out
    out = tmp_path / "out"
    record = json.loads((out / "folds" / "holdout.json").read_text())
    assert record["glaciers"] == ["g03", "g07"]
    for scheme in ("logo", "both_out"):
        with xr.open_zarr(out / "folds" / f"{scheme}.zarr") as folds:
            locked = np.array([str(s)[:3] in ("g03", "g07") for s in folds["sample"].values])
            assert locked.sum() == 16
            for mask in ("fit", "score", "inner_fit", "inner_score"):
                assert not folds[mask].values[..., locked].any()
        for model in ("ridge", "extra_trees", "blend"):
            with xr.open_zarr(out / "learning" / model / f"{scheme}.zarr") as parameters:
                assert not parameters["seen"].values[:, locked].any()
    predictions = pd.read_csv(out / "evaluation" / "predictions.csv")
    assert not set(predictions["glacier"]) & {"g03", "g07"}
    assert not (out / "holdout-looks.json").exists()
    assert main(["score-holdout", config]) == 0
    told = capsys.readouterr().out
    assert "first look at these test glaciers" in told
    looks = json.loads((out / "holdout-looks.json").read_text())
    assert [one["look"] for one in looks] == [1]
    scored = pd.read_csv(out / "holdout" / "predictions.csv")
    assert set(scored["glacier"]) == {"g03", "g07"}, "fitted on all others, scored on these"
    free = table().loc[lambda t: ~t["glacier"].isin(["g03", "g07"]), "b"] / 1000
    mean = scored.loc[scored["model"] == "mean", "predicted"]
    assert len(mean) == 16
    np.testing.assert_allclose(mean, free.mean(), rtol=1e-6)
    assert main(["score-holdout", config, "--set", "models.ridge.penalties=[5]", "--quiet"]) == 0
    quiet = capsys.readouterr().out
    first, *scores = quiet.splitlines()
    assert "look 2 at these test glaciers" in first, "how often they were looked at is part of the answer"
    assert scores
    assert all(re.search(r"^  (\S+ +RMSE |no interval)", line) for line in scores), "no progress"
    looks = json.loads((out / "holdout-looks.json").read_text())
    assert len({one["configuration"] for one in looks}) == 2


def test_an_edited_record_of_what_was_locked_is_made_again(tmp_path, capsys):
    config = written(tmp_path, table(), validation={"holdout": 0.2, "schemes": ["logo"], "models": ["ridge"]})
    assert main(["evaluate", config]) == 0
    file = tmp_path / "out" / "folds" / "holdout.json"
    record = json.loads(file.read_text())
    assert len(record["glaciers"]) == 2
    file.write_text(json.dumps({**record, "rows_sha256": "of other balances"}))
    assert main(["score-holdout", config]) == 0
    assert "folds (damaged: holdout.json changed)" in capsys.readouterr().out
    assert json.loads(file.read_text()) == record, "made again from the samples"
    assert json.loads((file.parent / "holdout.json.changed-1").read_text())["rows_sha256"] == "of other balances"


def test_scoring_locked_glaciers_where_none_are_locked_is_refused(done, capsys):
    assert main(["score-holdout", done[0]]) == 1
    assert "holdout" in capsys.readouterr().err


# ---- tables that can hardly be learnt from ----

ALL = [
    "mean",
    "ridge",
    "lasso",
    "random_forest",
    "extra_trees",
    "gradient_boosting",
    "gaussian_process",
    "level_anomaly",
    "ff_fcnn",
    "blend",
]
LITTLE = {
    "models": {
        **CONFIG["models"],
        "lasso": RECIPES,
        "random_forest": {**RECIPES, "trees": 5},
        "gradient_boosting": {**RECIPES, "rounds": 5, "leaves": 4},
        "gaussian_process": RECIPES,
        "level_anomaly": RECIPES,
    }
}


def constant_target(data):
    return data.assign(b=-300.0)


def gaps(data):
    values = data["weather"].where(np.arange(len(data)) % 3 > 0)
    return data.assign(weather=values, nothing=np.where(np.arange(len(data)) == 2, 1.0, np.nan))


def zero_variance(data):
    return data.assign(level=5.0)


def duplicated_rows(data):
    return pd.concat([data, data.iloc[::2]])


def three_rows(data):
    return data.groupby("glacier", as_index=False).head(1).head(3)


@pytest.mark.parametrize("trouble", [constant_target, gaps, zero_variance, duplicated_rows, three_rows])
def test_poor_tables_are_judged(trouble, tmp_path, capsys):
    data = trouble(table(glaciers=5, years=4))
    schemes = ["logo", "loyo"] if trouble is duplicated_rows else ["logo"]
    config = written(tmp_path, data, validation={"schemes": schemes, "models": ALL, "parts": 3, "inner": 2}, **LITTLE)
    assert main(["evaluate", config]) == 0
    if trouble is three_rows:
        assert "not judged: fewer than 8 glaciers or years to resample" in capsys.readouterr().out
    predictions = pd.read_csv(tmp_path / "out" / "evaluation" / "predictions.csv")
    assert np.isfinite(predictions["predicted"]).all()
    assert set(predictions["model"]) - {"year_mean", "year_level"} == set(ALL)
    if trouble is constant_target:
        exact = predictions["model"].isin(["mean", "ridge", "lasso", "level_anomaly", "random_forest", "extra_trees"])
        np.testing.assert_allclose(predictions.loc[exact, "predicted"], -0.3, atol=1e-6)
    if trouble is duplicated_rows:
        fold = predictions.groupby(["scheme", "model", "glacier", "year"])["fold"].nunique()
        assert (fold == 1).all()


@pytest.mark.slow
def test_all_models_but_those_that_cannot_be_had(tmp_path, capsys):
    """A table without months has no temperature index; blend and neighbours are judged on locked glaciers too."""
    few = {"schemes": ["logo", "random"], "models": "all", "parts": 3, "inner": 2, "holdout": ["g03"]}
    config = written(tmp_path, table(glaciers=5, years=4), validation=few, **LITTLE)
    assert main(["audit", config, "--set", "audit.permutations=0", "--set", "audit.compare=[ridge]"]) == 0
    assert "not available: needs monthly temperature" in capsys.readouterr().out
    judged = {*ALL, "extra_trees_neighbours", "ff_fcnn_neighbours"}
    judged.add("year_mean")  # where rows share too few years, year_level is fair nowhere
    assert set(pd.read_csv(tmp_path / "out" / "audit" / "probes.csv")["model"]) == judged
    assert main(["evaluate", config]) == 0
    assert set(pd.read_csv(tmp_path / "out" / "evaluation" / "predictions.csv")["model"]) == judged
    assert main(["score-holdout", config]) == 0
    locked = pd.read_csv(tmp_path / "out" / "holdout" / "predictions.csv")
    assert set(locked["model"]) == judged
    assert set(locked["glacier"]) == {"g03"}
    assert np.isfinite(locked["predicted"]).all()


def test_glaciers_that_were_open_before_are_no_independent_test(tmp_path, capsys):
    few = {"schemes": ["logo"], "models": ["mean", "ridge"], "holdout": ["g03"]}
    assert main(["evaluate", written(tmp_path, table(), validation=few)]) == 0
    config = written(tmp_path, table(), validation={**few, "holdout": ["g03", "g05"]})
    assert main(["score-holdout", config]) == 0
    told = capsys.readouterr().out
    assert "not locked from the start: g05 may have been fitted on" in told
    assert "changed 1 time since they were first locked" in told


def test_glaciers_that_were_open_first_and_again_later_are_told_too(tmp_path, capsys):
    """Nothing locked at first; then locked, open, and locked again."""
    few = {"schemes": ["logo"], "models": ["mean", "ridge"]}
    assert main(["evaluate", written(tmp_path, table(), validation=few)]) == 0
    locked = written(tmp_path, table(), validation={**few, "holdout": ["g03"]})
    assert main(["score-holdout", locked]) == 0
    assert "not locked from the start: g03 may have been fitted on" in capsys.readouterr().out
    (tmp_path / "b").mkdir()
    assert main(["evaluate", written(tmp_path / "b", table(), validation={**few, "holdout": ["g03"]})]) == 0
    assert main(["evaluate", written(tmp_path / "b", table(), validation=few)]) == 0
    assert main(["score-holdout", written(tmp_path / "b", table(), validation={**few, "holdout": ["g03"]})]) == 0
    told = capsys.readouterr().out
    assert "not locked from the start: g03 may have been fitted on" in told
    assert "first look" in told


def test_a_look_is_logged_when_there_is_a_score_to_see_and_never_forgotten(tmp_path, capsys):
    few = {"schemes": ["logo"], "models": ["mean", "ridge"], "holdout": ["g03"]}
    config = written(tmp_path, table(), validation=few)
    looks, mine = tmp_path / "out" / "holdout-looks.json", tmp_path / "out" / "holdout" / "mine"
    mine.parent.mkdir(parents=True)
    mine.touch()
    (tmp_path / "out" / ".glacmb_grid").mkdir()
    for command in ("check", "evaluate", "score-holdout"):
        assert main([command, config]) == 1
        assert "a folder that we did not write, with mine" in capsys.readouterr().err
    assert not looks.exists()
    mine.unlink()
    assert main(["score-holdout", config]) == 0
    assert "first look" in capsys.readouterr().out
    log = looks.read_bytes()
    for damage in ([], None, {}, [{**json.loads(log)[0], "glaciers": 5}], [{"look": 1}]):
        looks.unlink()
        if damage is not None:
            looks.write_text(json.dumps(damage))
        assert main(["score-holdout", config]) == 1
        told = capsys.readouterr().err
        assert "holdout-looks.json" in told
        assert "a second look would pass for the first" in told
        assert (json.loads(looks.read_text()) if looks.exists() else None) == damage
        looks.write_bytes(log)
    locked = tmp_path / "out" / "holdout-locked.json"
    kept = locked.read_bytes()
    locked.unlink()
    assert main(["score-holdout", config]) == 1
    assert "found:    nothing" in capsys.readouterr().err
    assert looks.read_bytes() == log, "what cannot be scored is no look"
    locked.write_bytes(kept)
    assert main(["score-holdout", config]) == 0
    assert "look 2 at these" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["", "{", "{}", "[]", "[1]", '[{"glaciers": []}]', "3", '[{"glaciers": 5, "rows_sha256": ""}]']
)
def test_a_damaged_record_of_what_was_locked_is_never_made_again_by_itself(tmp_path, capsys, content):
    config = written(tmp_path, table(), validation={"schemes": ["logo"], "models": ["mean"], "holdout": ["g03"]})
    assert main(["evaluate", config]) == 0
    record = tmp_path / "out" / "holdout-locked.json"
    sound = record.read_bytes()
    record.write_text(content)
    assert main(["score-holdout", config]) == 1
    told = capsys.readouterr().err
    assert f"{record}" in told
    assert "restore it" in told
    assert record.read_text() == content
    record.write_bytes(sound)
    assert main(["score-holdout", config]) == 0


def test_one_glacier_alone_can_be_judged_by_year_only(tmp_path, capsys):
    data = table(glaciers=1, years=10).assign(level=1.0)
    few = {"models": ["mean", "ridge", "extra_trees"], "parts": 4, "inner": 2}
    assert main(["evaluate", written(tmp_path, data, validation={**few, "schemes": ["loyo"]})]) == 0
    capsys.readouterr()
    assert main(["evaluate", written(tmp_path, data, validation={**few, "schemes": ["logo"]})]) == 1
    told = capsys.readouterr().err
    assert "validation: logo" in told
    assert "remedy:" in told


def test_one_group_of_several_glaciers_cannot_be_left_out(tmp_path, capsys):
    data = table(glaciers=3, years=5).assign(cell="the only one")
    config = written(tmp_path, data, samples={"group": "cell"}, validation={"schemes": ["logo"], "models": ["mean"]})
    for command in ("check", "evaluate"):
        assert main([command, config]) == 1
        told = capsys.readouterr().err
        assert "validation: logo" in told
        assert "none when the only one is withheld" in told


def test_several_stakes_of_a_glacier_year_stay_on_one_side(tmp_path):
    data = table()
    data = pd.concat([data, data.assign(b=data["b"] + 30, other=data["other"] + 1)]).sort_values(["glacier", "year"])
    config = written(tmp_path, data, validation={"schemes": ["logo", "random"], "models": ["mean", "ridge"]})
    assert main(["evaluate", config]) == 0
    predictions = pd.read_csv(tmp_path / "out" / "evaluation" / "predictions.csv")
    by_year = predictions.groupby(["scheme", "model", "glacier", "year"])["fold"]
    assert (by_year.size() == 2).all()
    assert (by_year.nunique() == 1).all()


def test_a_temperature_index_without_its_forcing_is_left_out_of_all_and_refused_by_name(tmp_path, capsys):
    quick = {"schemes": ["logo"], "parts": 2, "inner": 2}
    data = table(glaciers=8, years=4)
    config = written(tmp_path, data, validation={**quick, "models": ["mean", "temperature_index"]})
    assert main(["evaluate", config]) == 1
    assert "monthly temperature with precipitation or snowfall" in capsys.readouterr().err


def test_check_finds_a_temperature_index_without_months(tmp_path, capsys):
    config = written(tmp_path, table(), validation={"models": ["mean", "temperature_index"]})
    assert main(["check", config]) == 1
    assert "models: temperature_index" in capsys.readouterr().err
    assert main(["check", config, "--set", "validation.models=all"]) == 0


def test_check_names_a_group_that_splits_glaciers(tmp_path, capsys):
    data = table().assign(half=lambda d: d["year"] > 2004)
    config = written(tmp_path, data, samples={"group": "half"})
    assert main(["check", config]) == 1
    assert "10 of 10 glaciers in several groups" in capsys.readouterr().err


def test_one_glacier_alone_has_folds_of_years(tmp_path, capsys):
    config = written(tmp_path, table(glaciers=1), validation={"schemes": ["loyo"]})
    assert main(["check", config]) == 0
    assert "loyo: " in capsys.readouterr().out
