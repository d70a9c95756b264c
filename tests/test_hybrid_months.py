"""The hybrid with changes by month: the parameters of a month change with its own weather."""

from __future__ import annotations

import json
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.degree_days import SETTINGS as INDEX_SETTINGS
from glacmb_grid.learning.degree_days import balance as index_balance
from glacmb_grid.learning.nets.index import (
    CHANGES,
    IndexNet,
    balance,
    balance_by_month,
    forcing_arrays,
    index_arrays,
    weather_of_months,
)
from glacmb_grid.learning.nets.losses import objective
from glacmb_grid.learning.nets.module import layers_of, size_of, variables_of
from glacmb_grid.learning.nets.predict import forward
from glacmb_grid.learning.nets.problem import Nets, Problem, initial, shape_of, slots_of
from glacmb_grid.learning.nets.train import train
from glacmb_grid.learning.registry import fit, model_of, predict
from glacmb_grid.settings import Hybrid, Recipe, SharedIndex, TemperatureIndex

FIXED = {n: float(getattr(TemperatureIndex(), n)) for n in INDEX_SETTINGS}
BASE = np.array([0.006, 1.3, 0.4])
BARE = Hybrid(
    recipes=[Recipe()], widths=[(8,)], learning_rate=[0.01], input_noise=[0.05], l1=[1e-4], penalty=[0.01],
    bounds=[(2, 2, 2, 1.5)], members=2, epochs=600, patience=150,
    index=SharedIndex(forms=[[]]),
)  # fmt: skip


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


def by_month(on=(1, 1, 1, 1), rows=20, bands=3, water="snowfall", penalty=0.1, target=None, epochs=60, rate=0.02):
    """A problem of nets on made-up rows, those that `on` says with changes by month, its shape and the forcing."""
    rng, one, nets = np.random.default_rng(1), np.ones(len(on), np.float32), len(on)
    forcing, zero = forcing_of(rows, bands, water), np.zeros(nets, int)
    target = rng.normal(size=rows) if target is None else target
    fit_on = (np.arange(rows) % 4 != 0).astype(np.float32)[None]
    local = np.repeat([[BASE[2]], [BASE[1]], [1.0], [0.0]], rows, axis=1)
    problem = Problem(
        rng.normal(size=(1, rows, 3)).astype(np.float32), target[None].astype(np.float32), fit_on / fit_on.sum(),
        (1 - fit_on) / (1 - fit_on).sum(), forcing=forcing_arrays(forcing), local=local[None].astype(np.float32),
    )  # fmt: skip
    factors = (BASE[0], FIXED["snow_to_ice"], 0.0)
    months = None if on == (None,) * nets else on
    many = Nets(
        zero, zero, zero, np.ones((nets, 3), bool), np.tile([6], (nets, 1)), rate * one, 0.1 * one, 1e-4 * one,
        0 * one, zero > 0, zero + epochs, np.arange(nets),
        index=index_arrays([factors] * nets, [(2.0, 1.5, 3.0, 1.5)] * nets, 0.5 * one, penalty * one, months),
    )  # fmt: skip
    how = {"fixed": tuple(FIXED.values()), "snowfall": water == "snowfall", "months": months is not None}
    return problem, many, shape_of(problem, many, 2)._replace(layout=IndexNet(3, (6,), len(CHANGES), **how)), forcing


def results_of(shape, problem, nets, parameters):
    physics = (problem.forcing, problem.local, nets.index)
    return forward(shape.layout, parameters, nets.columns, nets.widths, problem.rows, None, *physics)


def oracle(forcing, row, ice, snow, precipitation, bias):
    """Balance of a row by plain loops over its bands and months, with a store of snow."""
    bands = []
    for height in forcing["hypsometry"][row]:
        store = melted = 0.0
        for month in range(12):
            above = FIXED["lapse_rate"] * (height - forcing["orography"][row])
            warmth = forcing["temperature"][row, month] - 273.15 + bias[month] + above
            scaled, spread = warmth / FIXED["temperature_spread"], FIXED["temperature_spread"]
            normal = 0.5 * (1 + math.erf(scaled / math.sqrt(2)))
            degrees = warmth * normal + spread * math.exp(-0.5 * scaled**2) / math.sqrt(2 * math.pi)
            degree_days = degrees * forcing["days"][row, month]
            if "snowfall" in forcing:
                store += precipitation[month] * forcing["snowfall"][row, month]
            else:
                cold = (FIXED["snow_threshold"] - warmth) / FIXED["snow_spread"]
                solid = 0.5 * (1 + math.erf(cold / math.sqrt(2)))
                store += precipitation[month] * solid * forcing["precipitation"][row, month]
            spent = min(store / snow[month], degree_days)
            store -= snow[month] * spent
            melted += ice[month] * (degree_days - spent)
        bands.append(store - melted)
    return np.mean(bands)


@pytest.mark.parametrize("water", ["snowfall", "precipitation"])
@pytest.mark.parametrize("bands", [1, 5])
def test_accounts_are_those_of_a_store_of_snow(water, bands):
    forcing, rng = forcing_of(20, bands, water), np.random.default_rng(4)
    ice, snow = 0.006 * rng.uniform(0.5, 2, (12, 20)), 0.004 * rng.uniform(0.5, 2, (12, 20))
    precipitation, bias = rng.uniform(0.5, 2, (12, 20)), rng.normal(size=(12, 20))
    arrays = forcing_arrays(forcing)
    found = balance_by_month(arrays, (ice, snow, precipitation), bias, FIXED, snowfall=water == "snowfall")
    for row in range(20):
        expected = oracle(forcing, row, *(a[:, row] for a in (ice, snow, precipitation, bias)))
        np.testing.assert_allclose(found[row], expected, atol=3e-6, rtol=3e-6)


@pytest.mark.parametrize("water", ["snowfall", "precipitation"])
def test_parameters_that_are_alike_in_all_months_give_the_balance_of_the_year(water):
    rng = np.random.default_rng(6)
    forcing = forcing_arrays(forcing_of(50, 10, water))
    year = [(a * rng.uniform(0.5, 2, 50)).astype(np.float32) for a in (0.006, 0.004, 1.3)]
    bias = rng.normal(size=50).astype(np.float32)
    months = [np.tile(a, (12, 1)) for a in (*year, bias)]
    whole = balance(forcing, year, bias, FIXED, water == "snowfall", 0.3)
    found = balance_by_month(forcing, months[:3], months[3], FIXED, water == "snowfall", 0.3)
    np.testing.assert_allclose(found, whole, atol=3e-6, rtol=3e-6)


@pytest.mark.parametrize("water", ["snowfall", "precipitation"])
def test_slopes_of_the_year_are_the_sums_of_those_of_its_months(water):
    """The former are computed in one pass beside the balance, the latter derived by JAX."""
    rng, snowfall = np.random.default_rng(8), water == "snowfall"
    forcing = forcing_arrays(forcing_of(40, 6, water))
    year = [jnp.asarray(a * rng.uniform(0.5, 2, 40), jnp.float32) for a in (0.006, 0.004, 1.3)]
    bias = jnp.asarray(rng.normal(size=40), jnp.float32)

    def loss(simulate, *given):
        return jnp.sin(3 * simulate(forcing, given[:3], given[3], FIXED, snowfall, 0.2)).sum()

    months = [jnp.tile(a, (12, 1)) for a in (*year, bias)]
    expected = jax.grad(partial(loss, balance_by_month), argnums=(0, 1, 2, 3))(*months)
    found = jax.grad(partial(loss, balance), argnums=(0, 1, 2, 3))(*year, bias)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.sum(axis=0), rtol=2e-4, atol=2e-5 * float(jnp.abs(one).max()))


@pytest.mark.parametrize("water", ["snowfall", "precipitation"])
@pytest.mark.parametrize("bands", [1, 10])
def test_with_weights_of_zero_it_is_the_index(water, bands):
    problem, nets, shape, forcing = by_month(rows=200, bands=bands, water=water)
    assert size_of(shape.layout) == size_of(shape.layout.clone(months=False)) + 8
    for parameters in (np.zeros((4, size_of(shape.layout)), np.float32), initial(nets, shape.layout)):
        found = results_of(shape, problem, nets, parameters)
        np.testing.assert_array_equal(found[:, 1:], 0.0)
        expected = index_balance(forcing, BASE, FIXED)
        np.testing.assert_allclose(0.5 * found[:, 0], np.tile(expected, (4, 1)), atol=3e-6, rtol=3e-6)


def test_a_net_without_changes_by_month_is_the_same_beside_one_that_has_them():
    problem, nets, shape, _ = by_month(on=(0, 1))
    plain = by_month(on=(None, None))
    mixed, alone = train(problem, nets, patience=99, shape=shape), train(*plain[:2], patience=99, shape=plain[2])
    kernel = np.array([variables_of(shape.layout, p)["params"]["months"]["kernel"] for p in mixed.parameters])
    assert not kernel[0].any()
    assert (kernel[1] != 0).all()
    expected = results_of(plain[2], *plain[:2], alone.parameters)
    found = results_of(shape, problem, nets, mixed.parameters)
    np.testing.assert_allclose(found[0, 0], expected[0, 0], atol=2e-3)
    assert np.abs(found[1, 0] - expected[1, 0]).max() > 1e-2
    changes = found[:, 1:].reshape(2, 4, 12, -1)
    assert np.ptp(changes[0], axis=1).max() == 0
    assert np.ptp(changes[1], axis=1).max() > 1e-2


def test_gradient_against_finite_differences():
    problem, nets, shape, _ = by_month()
    slot = jax.tree.map(jnp.asarray, slots_of(problem, nets, shape)(0))
    rng = np.random.default_rng(2)
    parameters = jnp.asarray(0.3 * rng.normal(size=size_of(shape.layout)), jnp.float32)

    def loss(flat):
        return objective(flat, shape.layout, slot, slot.fit.rows, jnp.zeros(0), jnp.array(True))[0]

    loss = jax.jit(loss)
    slope = np.asarray(jax.grad(loss)(parameters), np.float64)
    own = layers_of(shape.layout) == 2  # of no layer: the part that months share
    assert own.sum() == 8
    for where in (own, ~own, own | True):
        along = rng.normal(size=len(parameters)) * where
        along /= np.linalg.norm(along)
        ahead, behind = (float(loss(parameters + np.float32(s) * along.astype(np.float32))) for s in (3e-3, -3e-3))
        assert (ahead - behind) / 6e-3 == pytest.approx(slope @ along, rel=0.02, abs=0.02)


def test_changes_of_every_month_stay_within_their_bounds_and_are_penalised():
    problem, nets, shape, _ = by_month(target=np.full(20, -60.0), penalty=0.0, epochs=200)
    trained = train(problem, nets, patience=200, shape=shape)
    for times in (1, 1000):
        assert np.abs(results_of(shape, problem, nets, times * trained.parameters)[:, 1:]).max() <= 1.0
    held = by_month(penalty=1e6, rate=0.002)
    found = results_of(held[2], *held[:2], train(*held[:2], patience=99, shape=held[2]).parameters)
    assert np.abs(found[:, 1:]).max() < 0.02


def test_the_penalty_is_the_mean_square_over_months():
    problem, nets, shape, _ = by_month(penalty=1.0)
    free = nets.index._replace(penalty=np.zeros(4, np.float32))
    parameters = 0.3 * np.random.default_rng(3).normal(size=size_of(shape.layout)).astype(np.float32)
    slot = jax.tree.map(jnp.asarray, slots_of(problem, nets, shape)(0))
    given = (shape.layout, slot, slot.fit.rows, jnp.zeros(0), jnp.array(True))
    without = slot._replace(index=jax.tree.map(lambda a: jnp.asarray(a[0]), free))
    cost = objective(parameters, *given)[0] - objective(parameters, given[0], without, *given[2:])[0]
    changes = results_of(shape, problem, nets[[0]], parameters[None])[0, 1:].reshape(4, 12, -1)
    fitted = problem.fit[0] > 0
    assert float(cost) == pytest.approx((changes[..., fitted] ** 2).sum(axis=0).mean(), rel=1e-4)


def test_scales_of_the_weather_are_fixed_and_their_ends_finite():
    forcing = forcing_arrays(forcing_of(3, 2, "precipitation"))
    temperature, water = forcing.temperature.copy(), forcing.water.copy()
    temperature[:3, 0], water[:3, 0] = (-200.0, 5.0, 99.0), (0.0, 0.1, 99.0)
    found = np.asarray(
        weather_of_months(forcing._replace(temperature=temperature, water=water, height=0 * forcing.height), 0)
    )
    np.testing.assert_allclose(found[:, :3, 0], [[-2, 0.5, 2], [-1, 0, 2]])


def planted(toys, glaciers=24, years=8):
    """Balances of an index whose melt is less in months of much snow: samples and truth."""
    rng = np.random.default_rng(11)
    glacier, year = (a.ravel() for a in np.indices((glaciers, years)))
    forcing = forcing_of(len(year), 1, seed=11)
    forcing |= {"orography": np.zeros(len(year)), "hypsometry": np.zeros((len(year), 1))}
    forcing["snowfall"] = 0.1 * rng.gamma(1, 1, forcing["snowfall"].shape)
    celsius, one = forcing["temperature"] - 273.15, np.ones(12)
    times = np.exp(-np.log(2) * np.tanh(1.2 * (np.sqrt(forcing["snowfall"] / 0.1) - 1)))
    rows = range(len(year))
    truth = np.array([oracle(forcing, r, 0.006 * times[r], 0.0036 * times[r], 1.3 * one, 0 * one) for r in rows])
    kind = rng.normal(size=glaciers)[glacier]
    values = np.column_stack([kind, celsius[:, 4:10].mean(axis=1), forcing["snowfall"].sum(axis=1)])
    samples = toys.table(values, truth + rng.normal(0, 0.05, len(year)), glacier, year + 2000)
    return samples.assign({n: (("row", "month"), forcing[n]) for n in ("temperature", "snowfall", "days")}), truth


def error_of(samples, truth, folds, settings):
    parameters = fit("hybrid", samples, folds, settings)
    made = predict(parameters, samples).mean("member").values
    return np.sqrt(np.mean((made - truth)[folds.score] ** 2)), parameters


def test_planted_changes_by_month_are_recovered_better_than_by_changes_of_the_year(toys, tmp_path):
    samples, truth = planted(toys)
    folds = make_folds(samples, "logo", parts=3, inner=2)
    error = {}
    for months in ((False,), (True,), (False, True)):
        settings = BARE.model_copy(update={"months": list(months)})
        error[months], parameters = error_of(samples, truth, folds, settings)
    assert error[(True,)] < 0.15, error  # of balances with a spread of 1.1; found are 0.10, and 0.45 without months
    assert error[(True,)] < 0.4 * error[(False,)], error
    assert error[(False, True)] == pytest.approx(error[(True,)], rel=0.3), error
    hypers = [json.loads(str(parameters["candidate"].values[c])) for c in parameters["choice"].values]
    assert all(h["months"] for h in hypers)
    assert parameters["parameter_count"].values.max() <= parameters.sizes["parameter"]
    parameters.to_netcdf(tmp_path / "fit.nc")
    with xr.open_dataset(tmp_path / "fit.nc") as stored:
        np.testing.assert_array_equal(predict(stored.load(), samples), predict(parameters, samples))


def test_rows_that_a_fold_may_not_see_change_nothing_in_it(toys):
    samples, _ = planted(toys, glaciers=9, years=5)
    folds = make_folds(samples, "logo", parts=3, inner=2)
    settings = Hybrid(**BARE.model_dump() | {"months": [True], "epochs": 20, "penalty": 0.1})
    spoilt = samples.copy(deep=True)
    for name in ("temperature", "snowfall", "mass_balance"):
        spoilt[name].values[~folds.fit[0]] += 3.0
    first, second = (fit("hybrid", s, folds, settings) for s in (samples, spoilt))
    for name in ("parameters", "target_scale", "index", "choice"):
        np.testing.assert_array_equal(first[name][0], second[name][0])
        assert name == "choice" or not np.array_equal(first[name][1], second[name][1])
    made = [predict(p, samples.isel(row=folds.fit[0])).isel(fold=0) for p in (first, second)]
    np.testing.assert_array_equal(*made)


def test_it_is_an_alternative_and_an_ablation(toys):
    samples = toys.samples(toys.predictors(glaciers=4, years=(2001, 2004)))
    assert Hybrid(months=True).months == [True]
    assert Hybrid().months == [False]
    with pytest.raises(ValueError, match="months: false"):
        Hybrid(months=[False, True], form="residual")
    without, has = (model_of("hybrid", Hybrid(months=m)).variants(samples) for m in (False, [False, True]))
    assert without["with changes by month"].months == [True]
    assert has["without changes by month"].months == [False]
    for changed in (*without.values(), *has.values()):
        Hybrid(**changed.model_dump())
