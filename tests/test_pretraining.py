"""Networks that learn a simulation, or another table, before the observations of their fold."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.folds.masks import Folds
from glacmb_grid.folds.schemes import join_folds, make_folds, of_scheme
from glacmb_grid.learning.contract import Task, fit_model, lacking
from glacmb_grid.learning.nets.configurations import configurations
from glacmb_grid.learning.nets.sources import Simulated
from glacmb_grid.learning.ragged import join, unpack
from glacmb_grid.learning.registry import fit, model_of, predict
from glacmb_grid.predictors import as_rows, unmeasured_rows
from glacmb_grid.samples import with_operator
from glacmb_grid.settings import FeedForward, Recipe, RunConfig, TemperatureIndex
from glacmb_grid.validation.audit import scrambled
from glacmb_grid.weights import identity
from glacmb_grid.workflow.table import table as table_of_stages

SCHEMES = ("logo", "loyo", "both_out")
SMALL = FeedForward(
    predictors=["degree_days_*", "snowfall_*", "elevation_mean", "slope"],
    recipes=[Recipe(), Recipe(parts=("value", "climatology", "anomaly"), correlation=0.05, keep=5)],
    widths=[(6, 3)],
    input_noise=[0.1],
    l1=[1e-3],
    members=2,
    epochs=40,
    patience=10,
    block=16,
    pretrain=["simulation"],
)


def changed(**update):
    return SMALL.model_copy(update=update)


@pytest.fixture(scope="module")
def predictors(toys):
    return toys.predictors(glaciers=7, years=(2001, 2012))


@pytest.fixture(scope="module")
def samples(toys, predictors):
    return toys.samples(predictors, keep=0.6)


@pytest.fixture(scope="module")
def unmeasured(predictors, samples):
    return unmeasured_rows(predictors, samples, 1000)


@pytest.fixture(scope="module")
def folds(samples):
    parts = [make_folds(samples, s, inner=2, parts=p, blocks=2) for s, p in zip(SCHEMES, (3, 3, 2), strict=True)]
    return join_folds(parts)


def told_of(parameters, fold):
    """Everything that was fitted in one fold, by name, but for what is told by feature: those are of all folds."""
    one = parameters.isel(fold=fold).drop_vars(["selected", "centre", "inverse_scale"])
    one = one.dropna("epoch", how="all", subset=["loss"])  # as long as the fold that takes longest
    mine = [n for n, v in parameters.data_vars.items() if "fold" in v.dims and n in one and "state" not in str(n)]
    return {str(n): one[n].values for n in mine} | unpack(parameters, fold)


def differing(a, b, fold):
    """Names of what two fits differ in, in one fold."""
    one, other = told_of(a, fold), told_of(b, fold)
    return [n for n in one if not np.array_equal(one[n], other[n], equal_nan=one[n].dtype.kind == "f")]


# ---- what it is good for ----


def one_fold(samples, inner=3):
    """One fold that fits on everything and scores nothing."""
    count = samples.sizes["sample"]
    score = np.arange(count) % inner == np.arange(inner)[:, None]
    return Folds(
        fit=np.ones((1, count), bool), score=np.zeros((1, count), bool), inner_fit=~score[None],
        inner_score=score[None], name=["all"], scheme=["all"], block=[0], buffer_km=[0.0],
        sample=samples["sample"].values,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_a_biased_simulation_saves_half_of_the_rows(toys, seed):
    """The truth is 0.6 times the index less 0.4 m w.e., and a bend and noise that no index has.

    With 24 rows a pre-trained net is as good as a plain one with 48 at rows that neither knows the balance of.
    """
    every = toys.samples(toys.predictors(glaciers=14, years=(1991, 2020), seed=seed), noise=0.0)
    rng = np.random.default_rng(5)
    index = every["mass_balance"].values
    truth = -0.4 + 0.6 * index + 0.25 * np.sin(2 * index)
    every = every.assign(mass_balance=("sample", truth + rng.normal(0, 0.1, len(index))))
    order = rng.permutation(len(index))
    test = order[-120:]

    def error(count, **pretraining):
        mine = np.sort(order[:count])
        some = every.isel(sample=mine, row=mine).drop_dims("entry")
        some = with_operator(some, identity(some["sample"].values))
        others = every.isel(row=np.sort(order[count:-120])).drop_dims(["sample", "entry"])
        settings = FeedForward(
            predictors=SMALL.predictors, recipes=[Recipe()], widths=[(16,)], input_noise=[0.05], l1=[1e-3],
            members=3, epochs=400, patience=50, bootstrap=False, **pretraining,
        )  # fmt: skip
        fitted = fit("ff_fcnn", some, one_fold(some), settings, unmeasured=others)
        return np.sqrt(np.mean((predict(fitted, every).mean(("fold", "member")).values - truth)[test] ** 2))

    plain = TemperatureIndex(forms=[[]], pooling="none")
    found = {n: (error(n), error(n, pretrain=["simulation"], simulation=plain)) for n in (24, 48)}

    assert found[24][1] < found[48][0] < found[24][0]
    assert found[48][1] < 0.9 * found[48][0]


def test_without_pre_training_nothing_is_as_if_it_did_not_exist(samples, folds):
    """Candidates without it keep their places, seeds and words, and find the same to the last bit."""
    logo = of_scheme(folds, "logo")
    plain = fit("ff_fcnn", samples, logo, changed(pretrain=["none"]))
    beside = fit("ff_fcnn", samples, logo, changed(pretrain=["none", "simulation"], frozen=[0, 1]))
    few = plain.sizes["candidate"]
    assert beside.sizes["candidate"] == 3 * few
    np.testing.assert_array_equal(beside["inner_error"].values[:, :few], plain["inner_error"].values)
    words = [json.loads(str(c)) for c in plain["candidate"].values]
    assert not {"pretrain", "frozen"} & set().union(*words)
    assert len(np.unique(beside["inner_error"].values[0])) == 3 * few


def test_layers_that_a_net_does_not_have_are_not_frozen():
    settings = changed(widths=[(6, 3), (4,), (5, 4, 3)], pretrain=["none", "simulation"], frozen=[0, 1, 2])
    found = [
        (c.hyper["widths"], c.hyper["pretrain"], c.hyper["frozen"]) for c in configurations(settings, 1, ["none"], 1)
    ]
    expected = [(w, "none", 0) for w in ([6, 3], [4], [5, 4, 3])]
    expected += [(w, "simulation", f) for f in (0, 1, 2) for w in ([6, 3], [4], [5, 4, 3]) if f <= len(w)]
    assert found == expected


# ---- what it may see ----


@pytest.mark.slow
def test_what_a_fold_withholds_changes_nothing_in_it(samples, folds, unmeasured):
    """Targets, predictors and forcing of the withheld, as for every other model; others are reached by the change."""
    before = fit("ff_fcnn", samples, folds, SMALL, seed=3, unmeasured=unmeasured)
    for number in (int(np.flatnonzero(folds.scheme == s)[1]) for s in SCHEMES):
        withheld = ~folds.fit[number]
        after = fit("ff_fcnn", scrambled(samples, withheld, np.random.default_rng(1)), folds, SMALL, seed=3,
                    unmeasured=unmeasured)  # fmt: skip
        assert differing(before, after, number) == []
        others = [f for f in range(len(folds)) if (folds.fit[f] & withheld).any()]
        assert any(differing(before, after, f) for f in others)


@pytest.mark.parametrize("fault", ["rows of the withheld", "an index fitted to all"])
def test_a_planted_leak_of_the_simulation_is_found(samples, folds, monkeypatch, fault):
    logo = of_scheme(folds, "logo")
    if fault == "rows of the withheld":
        monkeypatch.setattr(Simulated, "usable", lambda self, fit: np.ones(len(self.table.target), bool))
    else:
        honest = Simulated.balances
        monkeypatch.setattr(Simulated, "balances", lambda self, block, fit: honest(self, block, self.everything))
        made = Simulated.__init__

        def with_all(self, task, settings):
            made(self, task, settings)
            self.everything = np.ones(task.samples.sizes["sample"], bool)
            self.search.prepare([(block, self.everything) for block in range(len(task.own.first))])

        monkeypatch.setattr(Simulated, "__init__", with_all)
    changed_samples = scrambled(samples, ~logo.fit[1], np.random.default_rng(1))
    one, other = (fit("ff_fcnn", s, logo, SMALL) for s in (samples, changed_samples))
    assert "parameters" in differing(one, other, 1)


def test_unmeasured_years_of_a_withheld_glacier_are_not_simulated_in_its_fold(samples, folds, unmeasured):
    """Their forcing and predictors may be anything; so may those of withheld years."""
    logo, loyo = of_scheme(folds, "logo"), of_scheme(folds, "loyo")
    for scheme, label in ((logo, "glacier"), (loyo, "year")):
        before = fit("ff_fcnn", samples, scheme, SMALL, unmeasured=unmeasured)
        scored = np.unique(samples[label].values[scheme.score[0]])
        here = np.isin(unmeasured[f"row_{label}"].values, scored)
        assert 0 < here.sum() < len(here)
        for mask, told in ((here, []), (~here, ["parameters"])):
            warmer = unmeasured["temperature"] + 3.0 * xr.DataArray(mask, dims="row")
            other = fit("ff_fcnn", samples, scheme, SMALL, unmeasured=unmeasured.assign(temperature=warmer))
            found = differing(before, other, 0)
            assert found == [] if not told else set(told) <= set(found)


@pytest.mark.parametrize("finish", ["refit", "early_stopping"])
def test_blocks_fitted_one_by_one_are_what_they_are_in_the_whole(samples, folds, unmeasured, tmp_path, finish):
    logo = of_scheme(folds, "logo")
    settings = changed(pretrain=["none", "simulation"], frozen=[0, 1], finish=finish)
    model = model_of("ff_fcnn", settings)
    whole = fit_model(model, Task(samples, logo, 3, unmeasured=unmeasured))
    taken = [tuple(b.tolist()) for b in reversed(logo.blocks)]
    parts = [fit_model(model, Task(samples, logo, 3, part=part, unmeasured=unmeasured)) for part in taken]
    xr.testing.assert_identical(join(parts, sum(taken, ())), whole)
    for _ in ("anew", "from what is kept"):
        kept = fit_model(model, Task(samples, logo, 3, unmeasured=unmeasured, checkpoints=tmp_path))
        xr.testing.assert_identical(kept, whole)


# ---- what is simulated ----


def test_rows_are_simulated_by_the_index_of_their_own_fold(samples, folds, unmeasured):
    logo = of_scheme(folds, "logo")
    source = Simulated(Task(samples, logo, unmeasured=unmeasured), TemperatureIndex())
    index = fit("temperature_index", samples, logo)
    expected = np.concatenate([predict(index, rows).values[:, 0] for rows in (samples, unmeasured)], axis=1)
    for fold, mask in enumerate(logo.fit):
        usable, block = source.usable(mask), int(logo.by_fold(np.arange(len(logo.first)))[fold])
        found = source.balances(block, mask)
        np.testing.assert_array_equal(found[~usable], 0.0)
        np.testing.assert_allclose(found[usable], expected[fold][usable], rtol=1e-12)
        np.testing.assert_array_equal(usable[: samples.sizes["row"]], mask)
        own = set(samples["glacier"].values[~mask].tolist())
        beside = np.isin(unmeasured["row_glacier"].values.astype(str), list(own))
        assert not usable[samples.sizes["row"] :][beside].any()
        fit_rows, stop_rows = source.masks(mask, "none")
        np.testing.assert_array_equal(fit_rows | stop_rows, usable)
        assert not set(source.table.rows.glacier[fit_rows]) & set(source.table.rows.glacier[stop_rows])


def test_unmeasured_rows_are_those_that_no_sample_is_made_of(predictors, samples, unmeasured):
    def pairs(rows):
        return set(zip(rows["row_glacier"].values.tolist(), rows["row_year"].values.tolist(), strict=True))

    assert not pairs(unmeasured) & pairs(samples)
    assert len(pairs(unmeasured) | pairs(samples)) == predictors.sizes["glacier"] * predictors.sizes["year"]
    few = unmeasured_rows(predictors, samples, 5)
    assert few.sizes["row"] == 5
    assert pairs(few) <= pairs(unmeasured)
    whole = predictors.isel(glacier=[0], year=[0, 1])
    assert unmeasured_rows(whole, as_rows(whole, np.array([0, 0]), np.array([0, 1])), 5) is None


def test_a_simulation_needs_monthly_forcing(samples):
    bare = samples.drop_vars("temperature")
    assert lacking(model_of("ff_fcnn", SMALL), bare) == [
        "monthly temperature with precipitation or snowfall, without gaps"
    ]
    assert lacking(model_of("ff_fcnn", changed(pretrain=["none"])), bare) == []
    with pytest.raises(InputError, match="monthly temperature with precipitation or snowfall"):
        fit("ff_fcnn", bare, make_folds(bare, "logo", inner=2, parts=3), SMALL)


def test_predictors_of_all_glaciers_are_read_where_networks_are_pre_trained_on_a_simulation():
    given = {
        "name": "a", "glaciers": {"path": "g"}, "store": {"root": "runs/a"},
        "climate": {"files": ["c"], "accumulated": "daily_mean"}, "elevation": {"files": ["e"]},
        "observations": {"path": "o", "units": "m w.e."},
    }  # fmt: skip
    for pretrain, read in ((["none"], False), (["none", "simulation"], True)):
        config = RunConfig.model_validate({**given, "models": {"ff_fcnn": {"pretrain": pretrain}}})
        stages = {s.name: s for s in table_of_stages(config)}
        assert ("predictors" in stages["learning/ff_fcnn"].reads) == read
        assert "predictors" not in stages["learning/ridge"].reads
