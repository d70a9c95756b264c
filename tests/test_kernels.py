"""The kernel of the Gaussian process is found on inner folds: planted structures, what is tried, what is withheld."""

from __future__ import annotations

import json
from collections import Counter
from typing import get_args

import numpy as np
import pytest
import xarray as xr

from glacmb_grid.errors import InputError
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.contract import lacking
from glacmb_grid.learning.features import Features, fit_features
from glacmb_grid.learning.kernel import KERNELS, TERMS, Hyper, Inputs, covariance
from glacmb_grid.learning.kriging import Posterior, Settings, learn, learn_and_weigh, posterior
from glacmb_grid.learning.models import gaussian_process
from glacmb_grid.learning.ragged import unpack
from glacmb_grid.learning.registry import fit, model_of, predict
from glacmb_grid.learning.table import table_of
from glacmb_grid.settings import GaussianProcess, Recipe
from glacmb_grid.settings.models import Kernel
from glacmb_grid.validation.audit import scrambled

VALUES = [Recipe()]


def region(glaciers=12, years=12, seed=0, keep=1.0):
    """Inputs of a region, less some rows."""
    rng = np.random.default_rng(seed)
    glacier, year = (a.ravel() for a in np.indices((glaciers, years)))
    position = np.column_stack([rng.uniform(70, 80, glaciers), rng.uniform(30, 40, glaciers)])[glacier]
    static, weather = rng.normal(size=(glaciers, 2))[glacier], rng.normal(size=(len(year), 3))
    inputs = Inputs(weather, static, np.array([f"G{i:03d}" for i in glacier]), year + 2000, position)
    return inputs.take(rng.uniform(size=len(inputs)) < keep)


def draw(inputs, hyper, seed=0):
    """Balances drawn from a process."""
    rng = np.random.default_rng(seed)
    K = covariance(hyper, inputs, inputs, same_rows=True) + 1e-9 * np.eye(len(inputs))
    return np.linalg.cholesky(K) @ rng.normal(size=len(inputs)) + hyper["noise"] * rng.normal(size=len(inputs))


def planted(toys, seed, **terms):
    """Samples of twelve glaciers whose balances are drawn from a process of these terms."""
    inputs = region(seed=seed, keep=0.8)
    target = draw(inputs, Hyper(tuple(terms), np.array(list(terms.values()))), seed)
    longitude, latitude = inputs.position.T
    values = np.concatenate([inputs.static, inputs.weather], axis=1)
    return toys.table(values, target, inputs.glacier, inputs.year, longitude=longitude, latitude=latitude)


def chosen(parameters):
    """How many folds have chosen each kernel."""
    return Counter(json.loads(str(parameters["candidate"].values[i]))["kernel"] for i in parameters["choice"].values)


def test_kernels_are_of_known_terms_and_the_settings_name_them_all():
    assert set(get_args(Kernel)) == set(KERNELS) == set(GaussianProcess().kernels)
    assert all(set(terms) <= set(TERMS) for terms in KERNELS.values())
    assert "glacier_smooth" not in KERNELS["without_slow_change"]
    assert {"glacier", "year_position", "static"} - set(KERNELS["without_position"]) == {"year_position"}


@pytest.mark.parametrize(
    ("scheme", "terms", "found", "share"),
    [
        ("logo", {"glacier": 0.5, "year": 0.5, "noise": 0.15}, {"year_level"}, 0.6),
        ("logo", {"glacier": 0.3, "weather_linear": 0.6, "noise": 0.15}, {"year_level"}, 0.6),
        (
            "logo",
            {"glacier": 0.3, "year_position": 0.7, "position_near": 150.0, "noise": 0.1},
            {"usual", "without_slow_change"},
            0.75,
        ),
        ("loyo", {"glacier_smooth": 0.7, "year_near": 4.0, "noise": 0.1}, {"usual", "without_position"}, 0.9),
        ("logo", {"static": 0.7, "static_near": 1.0, "noise": 0.1}, set(KERNELS) - {"year_level"}, 0.8),
    ],
    ids=["level and year", "shared weather", "neighbours", "slow change", "topography"],
)
def test_a_planted_structure_is_found(toys, scheme, terms, found, share):
    counts = Counter()
    for seed in range(4):
        samples = planted(toys, seed, **terms)
        folds = make_folds(samples, scheme, inner=3, parts=4)
        counts += chosen(fit("gaussian_process", samples, folds, GaussianProcess(recipes=VALUES)))
    assert sum(counts[k] for k in found) >= share * counts.total(), counts


@pytest.fixture(scope="module")
def samples(toys):
    return planted(toys, 0, glacier=0.4, year=0.4, weather_linear=0.4, noise=0.2)


@pytest.fixture(scope="module")
def folds(samples):
    return make_folds(samples, "logo", inner=2, parts=4, blocks=2)


def test_one_kernel_is_learnt_and_conditioned_as_if_there_were_no_search(samples, folds, monkeypatch):
    """By hand, and for several of which it is chosen; in a large table too."""
    one = fit("gaussian_process", samples, folds, GaussianProcess(recipes=VALUES, kernels="without_position"))
    assert chosen(one) == {"without_position": len(folds)}
    table, number = table_of(samples), 1
    shared = folds.fit[folds.block == folds.block[number]].all(axis=0)

    def inputs(mask, state):
        rows = table.rows.take(mask)
        design = state.design(rows)
        return Inputs(
            design.values[:, design.weather], design.values[:, ~design.weather], rows.glacier, rows.year, rows.position
        )

    terms = Settings(terms=KERNELS["without_position"])
    learnt = learn(
        inputs(shared, fit_features(table.rows, shared, table.target, Recipe(), 1)), table.target[shared], None, terms
    )
    names = one["hyper_parameter"].values.tolist()
    np.testing.assert_array_equal(one["hyper"].values[number], [learnt[n] for n in names])
    state = unpack(one, number)
    known = inputs(folds.fit[number], Features.from_state(state))
    by_hand = posterior(known, table.target[folds.fit[number]], learnt).weight
    np.testing.assert_allclose(Posterior.from_state(state).weight, by_hand, rtol=1e-9)

    monkeypatch.setattr(gaussian_process, "_LARGE", 20)
    monkeypatch.setattr(gaussian_process, "_TRIED", 3)
    settings = GaussianProcess(recipes=VALUES, kernels=["year_level", "without_position", "usual"])
    several = fit("gaussian_process", samples, folds, settings)
    names = several["candidate"].values[several["choice"].values]
    for fold, name in enumerate(names):
        alone = GaussianProcess(recipes=VALUES, kernels=json.loads(name)["kernel"])
        alone = fit("gaussian_process", samples, folds.take([fold]), alone)
        if (folds.block == folds.block[fold]).sum() == 1:
            np.testing.assert_array_equal(several["inner_prediction"][fold], alone["inner_prediction"][0])


def test_kernels_that_lack_their_inputs_are_tried_once(toys, samples, folds):
    bare = samples.drop_vars(["row_longitude", "row_latitude"])
    parameters = fit("gaussian_process", bare, folds, GaussianProcess(recipes=VALUES))
    tried = dict(zip(KERNELS, np.isfinite(parameters["inner_error"].values).all(axis=0), strict=True))
    assert tried == {"usual": True, "year_level": True, "without_slow_change": True, "without_position": False}
    np.testing.assert_array_equal(
        parameters["inner_error"],
        fit("gaussian_process", samples, folds, GaussianProcess(recipes=VALUES, position=False))["inner_error"],
    )


def test_a_large_table_tries_the_kernels_that_explain_a_part_of_it_best(samples, folds, monkeypatch):
    every = fit("gaussian_process", samples, folds, GaussianProcess(recipes=VALUES))
    monkeypatch.setattr(gaussian_process, "_LARGE", 60)
    parameters = fit("gaussian_process", samples, folds, GaussianProcess(recipes=VALUES))
    error = parameters["inner_error"].values
    np.testing.assert_array_equal(np.isfinite(error).sum(axis=1), 2)
    known = np.isfinite(error)
    np.testing.assert_array_equal(error[known], every["inner_error"].values[known])
    np.testing.assert_array_equal(parameters["choice"], np.nanargmin(error, axis=1))
    assert np.isfinite(predict(parameters, samples)).all()


def test_the_weight_of_a_kernel_tells_planted_ones_apart():
    inputs = region(glaciers=25, years=10)
    near = Hyper(("year_position", "position_near", "noise"), np.array([0.6, 200.0, 0.1]))
    slow = Hyper(("glacier_smooth", "year_near", "noise"), np.array([0.6, 4.0, 0.1]))
    for planted_kernel, without in ((near, "without_position"), (slow, "without_slow_change")):
        target = draw(inputs, planted_kernel)
        weight = {k: learn_and_weigh(inputs, target, None, Settings(terms=t))[1] for k, t in KERNELS.items()}
        assert weight["usual"] < weight[without] - 0.05
    hyper, _ = learn_and_weigh(inputs, target)
    np.testing.assert_array_equal(hyper.values, learn(inputs, target).values)


@pytest.mark.parametrize("large", [20, 400])
def test_what_a_fold_withholds_changes_neither_the_kernels_tried_nor_the_one_chosen(samples, folds, large, monkeypatch):
    monkeypatch.setattr(gaussian_process, "_LARGE", large)
    number = 2
    withheld = ~folds.fit[number]
    other = scrambled(samples, withheld, np.random.default_rng(1))
    found = [fit("gaussian_process", s, folds, GaussianProcess()) for s in (samples, other)]
    for name in ("choice", "inner_error", "inner_prediction"):
        one, changed = (p[name].values[number] for p in found)
        np.testing.assert_array_equal(one, changed)
    one, changed = (unpack(p, number) for p in found)
    assert one.keys() == changed.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], changed[name])
    others = [f for f in range(len(folds)) if (folds.fit[f] & withheld).any()]
    assert not all(np.array_equal(*(unpack(p, f)["process_weight"] for p in found)) for f in others)


@pytest.mark.parametrize("scheme", ["logo", "loyo"])
def test_where_balances_are_those_of_an_index_the_process_departs_from_it(toys, scheme):
    """Without weather among its predictors, it knows of it by the index alone."""
    samples = toys.samples(toys.predictors(glaciers=8, years=(2001, 2012)), noise=0.0)
    rng = np.random.default_rng(4)
    own = rng.normal(0, 0.3, 8)[np.unique(samples["row_glacier"].values, return_inverse=True)[1]]
    index = fit("temperature_index", samples, toys.whole(samples), {"forms": [[]], "pooling": "none"})
    truth = predict(index, samples).values[0, 0] + own  # of an index, and a level of each glacier
    samples = samples.assign(mass_balance=("sample", truth + rng.normal(0, 0.05, len(truth))))
    folds = make_folds(samples, scheme, parts=4, inner=3)
    error, words = {}, {}
    for means in (["constant"], ["constant", "index"]):
        settings = {"means": means, "index": {"forms": [[]]}, "predictors": ["elevation_*"]}
        parameters = fit("gaussian_process", samples, folds, settings)
        made = predict(parameters, samples).mean("member").values
        error[len(means)] = np.sqrt(np.mean((made - truth)[folds.score] ** 2))
        words[len(means)] = parameters["candidate"].values[parameters["choice"].values].tolist()
    assert all('"mean": "index"' in w for w in words[2])
    assert not any("mean" in w for w in words[1])
    assert error[2] < 0.8 * error[1]


def test_a_process_without_forcing_departs_from_a_constant_and_one_on_an_index_alone_says_what_it_lacks(toys):
    samples = toys.samples(toys.predictors(glaciers=6, years=(2001, 2008)), noise=0.1).drop_vars("temperature")
    folds = make_folds(samples, "logo", parts=3, inner=2)
    plain = fit("gaussian_process", samples, folds, {"means": "constant"})
    xr.testing.assert_equal(fit("gaussian_process", samples, folds), plain)
    model = model_of("gaussian_process", {"means": "index"})
    assert lacking(model, samples) == ["monthly temperature with precipitation or snowfall, without gaps"]
    with pytest.raises(InputError, match="models: gaussian_process"):
        fit(model, samples, folds)
