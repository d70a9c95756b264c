"""What leaks promise, each by itself, and that a leak is found where one is planted."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import pytest

from glacmb_grid.folds.protocols import leaky, name_of
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning import registry
from glacmb_grid.learning.models.mean import TrainingMean
from glacmb_grid.learning.registry import fit, model_of, predict
from glacmb_grid.learning.search import prediction
from glacmb_grid.report.audit import audit_text
from glacmb_grid.settings import ExtraTrees, FeedForward, GaussianProcess, LevelAnomaly, Mean, Protocol, Recipe, Ridge
from glacmb_grid.validation.audit import NESTED, PAPER, gap, judge, probe, scrambled, variants
from glacmb_grid.validation.leaks import check_folds, check_seen

PLAIN = {"recipes": [Recipe()]}
NET = FeedForward(
    **PLAIN, widths=[(4,)], input_noise=[0.1], l1=[1e-3], learning_rate=[0.01], members=1, epochs=40, patience=10
)


@pytest.fixture(scope="module")
def samples(toys):
    return toys.known(glaciers=10, years=6, noise=0.3)


@pytest.fixture(scope="module")
def folds(samples):
    return make_folds(samples, "logo", inner=2, parts=5, blocks=2)


def same(one, other):
    return np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")


# ---- protocols ----


def test_nothing_leaked_changes_nothing(folds):
    assert leaky(folds, Protocol()) is folds
    assert name_of(Protocol()) == "nested"
    assert name_of(Protocol(selection=True, early_stopping=True)) == "leaked selection, early stopping"


@pytest.mark.parametrize(
    ("leak", "masks"),
    [("selection", {"select"}), ("tuning", {"inner_fit", "inner_score", "block"}), ("early_stopping", {"stop"})],
)
def test_each_leak_alone_changes_only_its_masks(leak, masks, folds):
    found = leaky(folds, Protocol(**{leak: True}))
    changed = {f.name for f in fields(folds) if not same(getattr(found, f.name), getattr(folds, f.name))}
    assert changed == masks


def test_what_each_leak_lets_see(folds):
    every = leaky(folds, Protocol(selection=True, tuning=True, early_stopping=True))
    assert every.select.all()
    np.testing.assert_array_equal(every.stop, folds.score)
    assert every.inner == folds.inner == 2
    for i in range(every.inner):
        np.testing.assert_array_equal(every.inner_fit[:, i], folds.fit)
        np.testing.assert_array_equal(every.inner_score[:, i], folds.score)
    assert len(every.blocks) == len(folds)


def test_locked_rows_are_not_leaked_either(samples):
    locked = samples["glacier"].values == "g03"
    folds = leaky(make_folds(samples, "logo", locked=locked), Protocol(selection=True), locked)
    assert not folds.select[:, locked].any()
    assert folds.select[:, ~locked].all()


@pytest.mark.parametrize("leak", ["selection", "tuning", "early_stopping"])
def test_leaked_masks_and_fits_are_told_by_the_machine_check(leak, samples, folds):
    leaked = leaky(folds, Protocol(**{leak: True}))
    assert not (check_folds(samples, folds)["severity"] == "leak").any()
    assert (check_folds(samples, leaked)["severity"] == "leak").any()
    seen = fit("ridge", samples, leaked, Ridge(**PLAIN))["seen"].values
    assert (check_seen(leaked, seen)["kind"] == "the fit was given a scored row").any()
    assert check_seen(folds, fit("ridge", samples, folds, Ridge(**PLAIN))["seen"].values).empty


# ---- what leaks promise ----


def test_the_ways_to_judge(samples):
    ways = variants(samples, "logo")
    assert next(iter(ways)) == NESTED
    assert list(ways)[-1] == PAPER
    assert ways[PAPER] == ("random", Protocol(selection=True, tuning=True, early_stopping=True), False)
    assert not any(split for _, _, split in ways.values())
    grouped = samples.assign_coords(group=("sample", [g[:2] for g in samples["glacier"].values]))
    assert variants(grouped, "logo")["shared climate vectors: split by glacier"] == ("logo", Protocol(), True)


def test_the_gap_is_taken_apart(samples):
    options = {"inner": 2, "parts": 4, "blocks": 4}
    group = [f"c{int(g[1:]) // 2}" for g in samples["glacier"].values]
    grouped = samples.assign_coords(group=("sample", np.array(group, dtype=object)))
    settings = {"ridge": Ridge(**PLAIN), "ff_fcnn": NET}
    gaps, permuted = gap(
        grouped, models_with(settings), list(settings), permutations=1, draws=100, folds_options=options
    )
    ridge = gaps[gaps["model"] == "ridge"].set_index("leak")
    network = gaps[gaps["model"] == "ff_fcnn"].set_index("leak")
    assert set(ridge.index) == set(variants(grouped, "logo")) - {"early stopping on the scored rows"}
    assert set(network.index) == set(variants(grouped, "logo"))
    assert ridge.loc[NESTED, "promised"] == 0
    for leak, line in ridge.iterrows():
        assert line["promised"] == pytest.approx(ridge.loc[NESTED, "rmse"] - line["rmse"], abs=1e-9), leak
        assert line["lower"] <= line["promised"] <= line["upper"] or np.isnan(line["lower"])
    assert (gaps["n"] == samples.sizes["sample"]).all()
    assert sorted(permuted["leak"].unique()) == sorted([NESTED, PAPER])
    assert len(permuted) == 4
    text = audit_text(gaps, permuted, check_folds(samples, make_folds(samples, "logo")), _probes(), [])
    assert "NOTHING LEAKED" in text
    assert "split: random rows" in text
    assert "LEAKED: one thing" in audit_text(
        gaps, permuted, check_folds(samples, make_folds(samples, "logo")), _probes(), ["one thing"]
    )


def models_with(settings):
    return {name: model_of(name, one) for name, one in settings.items()}


def _probes():
    import pandas as pd

    return pd.DataFrame([("logo", "ridge", "1", "")], columns=["scheme", "model", "fold", "changed"])


def test_random_rows_promise_what_groups_do_not_keep(toys):
    """Glaciers differ in what no predictor tells, yet their name is hidden in a constant of each."""
    samples = toys.known(glaciers=12, years=8, noise=0.1)
    level = np.random.default_rng(8).normal(0, 2, 12)[np.repeat(np.arange(12), 8)]
    samples = samples.assign(mass_balance=samples["mass_balance"] + level)
    settings = {"extra_trees": ExtraTrees(**PLAIN, trees=20)}
    gaps, _ = gap(
        samples, models_with(settings), list(settings), draws=100, folds_options={"inner": 2, "parts": 6, "blocks": 6}
    )
    table = gaps.set_index("leak")
    assert table.loc["split: random rows", "promised"] > 0.5
    assert abs(table.loc["selection on all rows", "promised"]) < 0.1


def r2_on_noise(toys, seed, protocol):
    """109 rows of 10 glaciers with 271 predictors, none of which has to do with the balance."""
    rng = np.random.default_rng(seed)
    glacier = np.sort(rng.integers(0, 10, 109))
    glacier[:10] = np.arange(10)
    year = 1980 + np.arange(109) % 40
    samples = toys.table(rng.normal(size=(109, 271)), rng.normal(-0.5, 0.6, 109), glacier, year)
    recipe = Recipe(correlation=0.1, keep=27, ranking="correlation")
    settings = Ridge(recipes=[recipe], penalties=[1.0, 100.0, 10000.0])
    options = {"inner": 4, "blocks": 10}
    table = judge(samples, "logo", protocol, models_with({"ridge": settings}), seed=seed, folds_options=options)
    error = (table["predicted"] - table["observed"]).to_numpy()
    return 1 - np.mean(error**2) / table["observed"].to_numpy().var()


def test_on_noise_a_leaky_protocol_promises_skill_and_the_nested_one_none(toys):
    nested = [r2_on_noise(toys, seed, Protocol()) for seed in range(20)]
    leaked = [r2_on_noise(toys, seed, Protocol(selection=True, tuning=True)) for seed in range(20)]
    assert np.mean(nested) <= 0
    assert np.mean(leaked) > 0.1
    assert sum(a < b for a, b in zip(nested, leaked, strict=True)) >= 19


# ---- the probe ----


SETTINGS = {
    "mean": Mean(),
    "ridge": Ridge(recipes=[Recipe(parts=("climatology", "anomaly"), gaps="regress", keep=3)]),
    "extra_trees": ExtraTrees(**PLAIN, trees=5),
    "gaussian_process": GaussianProcess(**PLAIN),
    "level_anomaly": LevelAnomaly(**PLAIN, forms=["additive", "amplitude"]),
    "ff_fcnn": NET,
}


@pytest.mark.parametrize("scheme", ["logo", "loyo", "both_out"])
@pytest.mark.parametrize("model", SETTINGS)
def test_the_probe_finds_nothing_in_the_nested_way(model, scheme, samples):
    folds = make_folds(samples, scheme, inner=2, parts=3, blocks=2)
    found = probe(samples, folds, models_with({model: SETTINGS[model]}), fold=len(folds) - 1)
    assert found == {model: []}


@pytest.mark.parametrize(
    ("leak", "model", "changed"),
    [
        ("selection", "ridge", {"centre", "inverse_scale", "predictions"}),
        ("selection", "ff_fcnn", {"centre", "parameters", "predictions"}),
        ("selection", "gaussian_process", {"centre", "hyper"}),
        ("tuning", "ridge", {"inner_error", "inner_prediction"}),
        ("early_stopping", "ff_fcnn", {"loss", "parameters", "predictions"}),
    ],
)
def test_the_probe_finds_what_a_protocol_leaks(leak, model, changed, samples, folds):
    leaked = leaky(folds, Protocol(**{leak: True}))
    assert changed <= set(probe(samples, leaked, models_with({model: SETTINGS[model]}), fold=1)[model])


@dataclass(frozen=True)
class MeanOfEverything(TrainingMean):
    """A model that looks at all targets."""

    def fit(self, task):
        level = np.full(len(task.folds), task.samples["mass_balance"].values.mean())
        return super().fit(task).assign(level=("fold", level))


@dataclass(frozen=True)
class ScaledByEverything(TrainingMean):
    """A model that hides what it took from all predictors where no fold is named."""

    def fit(self, task):
        values = task.samples["predictors"].values
        return super().fit(task).assign(scale=("predictor", values.std(axis=0)))

    def predict(self, parameters, rows, below):
        total = rows["predictors"].values @ (1 / parameters["scale"].values)
        value = parameters["level"].values[:, None, None] + np.broadcast_to(total, (1, 1, rows.sizes["row"]))
        return prediction(value, parameters)


@pytest.mark.parametrize(
    ("leaking", "changed"),
    [(MeanOfEverything, ["level", "predictions"]), (ScaledByEverything, ["scale", "predictions"])],
)
def test_the_probe_finds_a_model_that_looks_at_what_is_withheld(leaking, changed, samples, folds, monkeypatch):
    monkeypatch.setitem(registry.REGISTRY, "mean", leaking)
    assert probe(samples, folds, {"mean": leaking("mean", Mean())}, fold=0) == {"mean": changed}


def test_the_probe_changes_all_that_is_withheld_and_no_more(samples, folds):
    withheld = ~folds.fit[2]
    other = scrambled(samples, withheld, np.random.default_rng(0))
    same = np.isclose(samples["predictors"].values, other["predictors"].values).any(axis=1)
    np.testing.assert_array_equal(same, ~withheld)
    np.testing.assert_array_equal(samples["mass_balance"].values == other["mass_balance"].values, ~withheld)
    forced = samples.assign(temperature=(("row", "month"), np.full((samples.sizes["row"], 12), 270.0)))
    warmth = scrambled(forced, withheld, np.random.default_rng(0))["temperature"].values
    np.testing.assert_array_equal((warmth != 270.0).all(axis=1), withheld)


def test_predictions_at_other_rows_do_not_depend_on_what_is_withheld(samples, folds):
    """What the probe compares, by hand."""
    one = folds.take([0])
    withheld = ~one.fit[0]
    other = scrambled(samples, withheld, np.random.default_rng(0))
    kept = samples.isel(row=np.flatnonzero(~withheld)).drop_dims(["sample", "entry"])
    a, b = (predict(fit("ridge", s, one, Ridge(**PLAIN)), kept).values for s in (samples, other))
    np.testing.assert_array_equal(a, b)
