"""The hybrid: a temperature index whose parameters a network changes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glacmb_grid.errors import InputError
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.degree_days import SETTINGS as INDEX_SETTINGS
from glacmb_grid.learning.degree_days import balance as index_balance
from glacmb_grid.learning.nets.configurations import chosen_with_epochs
from glacmb_grid.learning.nets.index import CHANGES, IndexNet, balance, forcing_arrays, index_arrays
from glacmb_grid.learning.nets.losses import objective
from glacmb_grid.learning.nets.module import size_of
from glacmb_grid.learning.nets.predict import forward
from glacmb_grid.learning.nets.problem import Nets, Problem, initial, shape_of, slots_of
from glacmb_grid.learning.nets.train import train
from glacmb_grid.learning.registry import fit, predict
from glacmb_grid.settings import FeedForward, Hybrid, Recipe, SharedIndex, TemperatureIndex

FIXED = {n: float(getattr(TemperatureIndex(), n)) for n in INDEX_SETTINGS}
BASE = np.array([0.006, 1.3, 0.4])
FACTORS = (BASE[0], FIXED["snow_to_ice"], 0.0)
BOUNDS = (2.0, 1.5, 3.0, 1.5)
QUICK = Hybrid(
    recipes=[Recipe()],
    widths=[(8,)],
    learning_rate=[0.01],
    input_noise=[0.05],
    l1=[1e-4],
    penalty=[0.01],
    bounds=[(2, 2, 2, 1.5)],
    members=2,
    epochs=1000,
    patience=200,
)


def forcing_of(rows, bands, water="snowfall", seed=0):
    """Weather of made-up glacier-years with a summer, on bands around the height of the cell."""
    rng = np.random.default_rng(seed)
    season = -4 - 9 * np.cos(2 * np.pi * np.arange(12) / 12)
    return {
        "temperature": 273.15 + season + rng.normal(0, 1.5, (rows, 12)),
        water: 0.1 * rng.gamma(4, 0.25, (rows, 12)),
        "days": np.tile([31.0, 30, 31, 31, 28, 31, 30, 31, 30, 31, 31, 30], (rows, 1)),
        "orography": np.full(rows, 3000.0),
        "hypsometry": 3000.0 + np.linspace(-300, 300, bands) + rng.normal(0, 50, (rows, 1)),
    }


def local_of(rows):
    """The local part of the index `BASE`, which nothing calibrates."""
    bias, precipitation = BASE[2], BASE[1]
    return np.repeat([[bias], [precipitation], [1.0], [0.0]], rows, axis=1).astype(np.float32)


def problem_of(
    rows=20, bands=3, water="snowfall", nets=4, form="multipliers", penalty=0.1, target=None, epochs=60, rate=0.02
):
    """A problem of nets on made-up rows, and its shape."""
    rng = np.random.default_rng(1)
    forcing = forcing_of(rows, bands, water)
    target = rng.normal(size=rows) if target is None else target
    fit_on = np.tile(np.arange(rows) % 4 != 0, (1, 1)).astype(np.float32)
    stop = (1 - fit_on) / (1 - fit_on).sum()
    values = rng.normal(size=(1, rows, 3)).astype(np.float32)
    problem = Problem(
        values, target[None].astype(np.float32), fit_on / fit_on.sum(), stop.astype(np.float32),
        forcing=forcing_arrays(forcing), local=local_of(rows)[None],
    )  # fmt: skip
    zero, one = np.zeros(nets, int), np.ones(nets, np.float32)
    many = Nets(
        zero, zero, zero, np.ones((nets, 3), bool), np.tile([6], (nets, 1)), rate * one, 0.1 * one, 1e-4 * one,
        0 * one, zero > 0, zero + epochs, np.arange(nets),
        index=index_arrays([FACTORS] * nets, [BOUNDS] * nets, 0.5 * one, penalty * one),
    )  # fmt: skip
    fixed = tuple(FIXED.values())
    layout = IndexNet(
        3, (6,), len(CHANGES) if form == "multipliers" else 1, form=form, fixed=fixed, snowfall=water == "snowfall"
    )
    return problem, many, shape_of(problem, many, 2)._replace(layout=layout), forcing


def results_of(shape, problem, nets, parameters):
    physics = (problem.forcing, problem.local, nets.index)
    return forward(shape.layout, parameters, nets.columns, nets.widths, problem.rows, None, *physics)


@pytest.mark.parametrize("water", ["snowfall", "precipitation"])
@pytest.mark.parametrize("bands", [1, 10])
@pytest.mark.parametrize("form", ["multipliers", "residual"])
def test_with_weights_of_zero_it_is_the_index(water, bands, form):
    problem, nets, shape, forcing = problem_of(200, bands, water, form=form)
    for parameters in (np.zeros((4, size_of(shape.layout)), np.float32), initial(nets, shape.layout)):
        found = results_of(shape, problem, nets, parameters)
        np.testing.assert_array_equal(found[:, 1:], 0.0)
        expected = index_balance(forcing, BASE, FIXED)
        np.testing.assert_allclose(0.5 * found[:, 0], np.tile(expected, (4, 1)), atol=2e-6, rtol=2e-6)


def test_changes_of_parameters_are_those_of_the_index_itself():
    """A factor and a bias for each row, against the index run on that row alone."""
    forcing, rng = forcing_of(30, 4, "precipitation"), np.random.default_rng(5)
    factors, bias = rng.uniform(0.5, 2, (2, 30)), rng.normal(size=30)
    ice, precipitation = 0.006 * factors[0], 1.3 * factors[1]
    ratio = rng.uniform(0.4, 1.4, 30)
    found = balance(forcing_arrays(forcing), (ice, ice * ratio, precipitation), bias, FIXED, snowfall=False)
    for row in range(30):
        alone = {n: v[[row]] for n, v in forcing.items()}
        own = np.array([ice[row], precipitation[row], bias[row]])
        expected = index_balance(alone, own, FIXED | {"snow_to_ice": ratio[row]})
        np.testing.assert_allclose(found[row], expected[0], atol=2e-6, rtol=2e-6)


@pytest.mark.parametrize("form", ["multipliers", "residual"])
def test_gradient_against_finite_differences(form):
    problem, nets, shape, _ = problem_of(form=form)
    slot = jax.tree.map(jnp.asarray, slots_of(problem, nets, shape)(0))
    rng = np.random.default_rng(2)
    parameters = jnp.asarray(0.3 * rng.normal(size=size_of(shape.layout)), jnp.float32)

    def loss(flat):
        return objective(flat, shape.layout, slot, slot.fit.rows, jnp.zeros(0), jnp.array(True))[0]

    loss = jax.jit(loss)
    slope = np.asarray(jax.grad(loss)(parameters), np.float64)
    for _ in range(8):
        along = rng.normal(size=len(parameters))
        along /= np.linalg.norm(along)
        ahead, behind = (float(loss(parameters + np.float32(s) * along.astype(np.float32))) for s in (3e-3, -3e-3))
        assert (ahead - behind) / 6e-3 == pytest.approx(slope @ along, rel=0.02, abs=0.02)


def test_changes_stay_within_their_bounds():
    """Targets that no change within the bounds can reach, no penalty, and weights a thousand times those trained."""
    problem, nets, shape, forcing = problem_of(target=np.full(20, -60.0), penalty=0.0, epochs=200)
    trained = train(problem, nets, patience=200, shape=shape)
    for parameters in (trained.parameters, 1000 * trained.parameters):
        found = results_of(shape, problem, nets, parameters)
        assert np.abs(found[:, 1:]).max() <= 1.0
        lowest = index_balance(forcing, BASE * [2.0, 1 / 3, 1] + [0, 0, 1.5], FIXED | {"snow_to_ice": 0.6 * 1.5 / 2})
        assert (0.5 * found[:, 0] >= lowest - 1e-5).all()
    assert np.abs(found[:, 1:]).min() > 0.9


@pytest.mark.parametrize("bands", [1, 3])
def test_nets_are_the_same_to_the_last_bit_whatever_is_trained_with_them(bands):
    problem, nets, shape, _ = problem_of(bands=bands, nets=5)
    together = train(problem, nets, patience=99, shape=shape)
    for net in (0, 3):
        alone = train(problem, nets[[net]], patience=99, shape=shape)
        np.testing.assert_array_equal(alone.parameters[0], together.parameters[net])
        np.testing.assert_array_equal(alone.loss[0], together.loss[net])


def test_a_huge_penalty_leaves_the_index():
    problem, nets, shape, _ = problem_of(penalty=1e6, rate=0.002)
    found = results_of(shape, problem, nets, train(problem, nets, patience=99, shape=shape).parameters)
    assert np.abs(found[:, 1:]).max() < 0.02
    free = problem_of(penalty=0.0, rate=0.002)
    found = results_of(free[2], free[0], free[1], train(free[0], free[1], patience=99, shape=free[2]).parameters)
    assert np.abs(found[:, 1:]).max() > 0.1


def planted(toys, glaciers=32, years=8):
    """Balances of an index whose degree-day factor depends on a predictor of the glacier: samples and truth."""
    rng = np.random.default_rng(7)
    glacier, year = (a.ravel() for a in np.indices((glaciers, years)))
    season = -4 - 9 * np.cos(2 * np.pi * np.arange(12) / 12)
    celsius = season + rng.normal(0, 1.5, (len(year), 12)) + rng.normal(0, 1.0, glaciers)[glacier, None]
    amount = 0.1 * rng.gamma(4, 0.25, (len(year), 12))
    kind = rng.normal(size=glaciers)
    times = np.exp(0.35 * np.tanh(kind))
    values = np.column_stack([kind[glacier], celsius[:, 4:10].mean(axis=1), amount.sum(axis=1)])
    days = np.full(celsius.shape, 30.4)
    forcing = {
        "temperature": celsius + 273.15, "snowfall": amount, "days": days,
        "orography": np.zeros(len(year)), "hypsometry": np.zeros((len(year), 1)),
    }  # fmt: skip
    truth = np.empty(len(year))
    for row in range(len(year)):
        own = {n: v[[row]] for n, v in forcing.items()}
        truth[row] = index_balance(own, np.array([0.006 * times[glacier[row]], 1.3, 0.0]), FIXED)[0]
    samples = toys.table(values, truth + rng.normal(0, 0.05, len(year)), glacier, year + 2000)
    names = ("temperature", "snowfall", "days")
    return samples.assign({n: (("row", "month"), forcing[n]) for n in names}), truth


def test_planted_melt_factors_are_recovered_better_than_by_the_index_and_by_a_network(toys):
    samples, truth = planted(toys)
    folds = make_folds(samples, "logo", parts=4, inner=2)
    free = {"recipes": [Recipe(within_reach=False)], "index": SharedIndex(within_reach=False)}
    quick = QUICK.model_copy(update=free)  # what was planted holds everywhere
    plain = FeedForward(**{n: v for n, v in quick.model_dump().items() if n in FeedForward.model_fields})
    error = {}
    bare = quick.model_copy(update={"index": SharedIndex(forms=[[]], within_reach=False)})  # without pulls
    tried = {"hybrid": bare, "temperature_index": TemperatureIndex(), "ff_fcnn": plain, "with pulls": quick}
    for name, settings in tried.items():
        model = "hybrid" if name == "with pulls" else name
        made = predict(fit(model, samples, folds, settings), samples).mean("member").values
        error[name] = np.sqrt(np.mean((made - truth)[folds.score] ** 2))
    assert error["hybrid"] < 0.2, error  # of balances with a spread of 1.0; with 2, 3 and 5 inner splits 0.09 to 0.16
    assert error["hybrid"] < 0.5 * min(error["temperature_index"], error["ff_fcnn"]), error
    assert error["with pulls"] < 0.8 * min(error["temperature_index"], error["ff_fcnn"]), error  # 0.25


@pytest.mark.parametrize("scheme", ["logo", "loyo"])
@pytest.mark.parametrize("form", ["multipliers", "residual"])
def test_what_it_changes_is_the_chosen_index_with_its_pulls_and_its_calibration(toys, scheme, form):
    """Networks that may change nothing, or are drawn to nothing, leave the temperature index with all its parts."""
    samples, _ = planted(toys, glaciers=16, years=6)
    number = np.unique(samples["row_glacier"].values, return_inverse=True)[1]
    heights = 2500.0 + np.random.default_rng(3).uniform(-300, 300, 16)[number, None]
    samples = samples.assign(
        orography=("row", np.full(samples.sizes["row"], 2500.0)),
        hypsometry=(("row", "band"), heights + np.linspace(-200, 200, 5)),
    )
    folds = make_folds(samples, scheme, parts=3, inner=2)
    index = SharedIndex(
        forms=[["temperature_pull", "precipitation_pull", "snow_to_ice", "precipitation_gradient"]],
        pooling="all",
    )
    bound = {"form": form, "bounds": [(1, 1, 1, 0)]} if form == "multipliers" else {"form": form, "learning_rate": 1e-9}
    settings = Hybrid(**QUICK.model_dump() | {"epochs": 5, "index": index, "levels": ["none"]} | bound)
    alone, changed = fit("temperature_index", samples, folds, index), fit("hybrid", samples, folds, settings)
    np.testing.assert_array_equal(changed["index"], alone["value"])
    assert (np.abs(alone["value"].values[:, 4:]) > 1e-3).all(axis=1).any()  # pulls and gradient are at work
    expected, found = (predict(p, samples).mean("member").values for p in (alone, changed))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    for inner in (alone, changed):
        assert np.isfinite(inner["inner_prediction"].values[folds.tuned & (folds.inner_score.any(axis=1))]).all()
    np.testing.assert_allclose(changed["inner_prediction"], alone["inner_prediction"], atol=2e-5)


def test_fewer_than_four_glaciers_leave_weather_alone(toys):
    samples, *_ = planted(toys, glaciers=3, years=10)
    found = fit("hybrid", samples, make_folds(samples, "loyo", parts=2, inner=2), QUICK)
    assert found["selected"].any().item()
    assert not found["selected"].sel(feature=[n for n in found["feature"].values if n == "x0"]).any().item()


def test_an_index_with_the_level_of_each_glacier_is_refused():
    """Of fitted glaciers it would leave nothing, so that the network learnt nothing of how glaciers differ."""
    with pytest.raises(ValueError, match="should be 'none' or 'all'"):
        Hybrid(index={"pooling": "glacier"})
    assert Hybrid(index={"lapse_rate": -0.005}).index.pooling == ["none", "all"]


def test_it_says_what_it_needs(toys):
    samples, *_ = planted(toys, glaciers=4, years=4)
    folds = make_folds(samples, "logo", inner=2)
    with pytest.raises(InputError, match="models: hybrid"):
        fit("hybrid", samples.drop_vars("snowfall"), folds, QUICK)


def test_epochs_are_common_to_all_splits_and_few_where_these_cannot_tell():
    """By hand: two candidates, two splits of unequal size, four epochs; the second training ends early."""
    sure = [[4.0, 2.0, 1.0, 3.0], [4.0, 2.0, 1.0, np.nan]]  # both splits: the third epoch; then the last value counts
    unsure = [[2.0, 1.0, 0.5, 0.5], [1.0, 2.0, 2.2, 2.2]]  # one split gains what the other loses
    loss = np.array([[sure, unsure], [[[9.0] * 4] * 2, unsure]])
    count = np.tile([10.0, 10.0], (2, 2, 1))
    scale = np.ones((2, 2, 2))
    choice, error, epochs = chosen_with_epochs(loss, scale, count)
    np.testing.assert_array_equal(choice, [0, 1])
    np.testing.assert_allclose(error, [[1.0, np.sqrt(1.35)], [3.0, np.sqrt(1.35)]])
    np.testing.assert_array_equal(epochs, [3, 1])  # 10 x (1.5, -1.2) per split: worse by 1.5 +- 13.5
