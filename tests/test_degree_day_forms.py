"""Forms and calibrations of the temperature index: planted truth, other solvers, and nothing that a fold withholds."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse
from scipy.optimize import least_squares

from glacmb_grid.folds.schemes import join_folds, make_folds
from glacmb_grid.judging.fits import record_of, searched
from glacmb_grid.learning.choices import lines_of
from glacmb_grid.learning.contract import Task, fit_model
from glacmb_grid.learning.degree_day_climate import climate_of, weather_of
from glacmb_grid.learning.degree_day_fit import fit_splits
from glacmb_grid.learning.degree_day_forms import Form, balance_and_slopes
from glacmb_grid.learning.degree_day_levels import calibrated
from glacmb_grid.learning.degree_day_search import forms_of
from glacmb_grid.learning.degree_days import FURTHER, PARAMETERS, SETTINGS, balance, filled, forcing_of
from glacmb_grid.learning.ragged import join, unpack
from glacmb_grid.learning.registry import fit, model_of, predict
from glacmb_grid.learning.table import Rows, Table, table_of
from glacmb_grid.settings import TemperatureIndex
from glacmb_grid.validation.audit import scrambled
from glacmb_grid.validation.predictions import out_of_fold

PULLS = ("temperature_pull", "precipitation_pull")
FIXED = {n: float(getattr(TemperatureIndex(), n)) for n in SETTINGS}
PLANTED = np.array([0.006, 1.3, 0.7, 0.75, 0.4, 0.6, 0.8])
WIDE = TemperatureIndex(
    prior_sd=(0.05, 20.0, 30.0), snow_to_ice_sd=5.0, precipitation_gradient_sd=5.0, pull_sd=20.0, residual_sd=0.01
)  # fmt: skip
OLD = {"forms": [[]], "pooling": "none", "within_reach": False}


def made_up(glaciers=10, years=12, bands=3, water="precipitation", seed=7):
    """Forcing of glaciers in cells that are too warm or too cold, too wet or too dry; glacier and year of each row."""
    rng = np.random.default_rng(seed)
    glacier, year = (a.ravel() for a in np.indices((glaciers, years)))
    rows = len(year)
    season = 272.0 - 9 * np.cos(2 * np.pi * (np.arange(12) - 3) / 12)
    forcing = {
        "temperature": season + rng.normal(0, 1.5, (rows, 12)) + rng.normal(0, 2.5, glaciers)[glacier, None],
        water: 0.1 * rng.gamma(4, 0.25, (rows, 12)) * np.exp(rng.normal(0, 0.5, glaciers))[glacier, None],
        "days": np.full((rows, 12), 30.4),
        "orography": np.full(rows, 4000.0),
        "hypsometry": 4100 + np.linspace(-300, 300, bands) * np.ones((rows, 1)),
    }
    return forcing, np.array([f"g{g:02d}" for g in glacier]), year + 2000


def table_on(target, glacier, year, operator=None):
    rows = Rows(np.zeros(0, "<U1"), np.zeros((len(year), 0)), glacier, year, np.full((len(year), 2), np.nan), ())
    operator = scipy.sparse.identity(len(year), format="csr") if operator is None else operator
    first = np.array([operator.indices[i] for i in operator.indptr[:-1]], np.int64)
    count = operator.shape[0]
    annual = np.diff(operator.indptr) == 1
    return Table(rows, operator, annual, first, target, np.full(count, 0.2), np.arange(count).astype(str))


def departure_of(forcing, glacier, year):
    weather = weather_of(forcing, glacier, year, FIXED["lapse_rate"])
    return climate_of(weather, np.ones(len(year), bool)).departure(weather)


def planted(further, **changes):
    """Forcing, departures and a table whose balances follow the planted values of the parameters that a form fits."""
    forcing, glacier, year = made_up(**changes)
    truth = PLANTED.copy()
    neutral = filled(truth[:3], FIXED)
    free = np.array([True] * 3 + [n in further for n in FURTHER])
    truth = np.where(free, truth, neutral)
    away = departure_of(forcing, glacier, year)
    return forcing, away, table_on(balance(forcing, truth, FIXED, away), glacier, year), truth


@pytest.mark.parametrize("water", ["precipitation", "snowfall"])
def test_slopes_are_those_of_the_balance(water):
    forcing, glacier, year = made_up(water=water)
    away = departure_of(forcing, glacier, year)
    value, slopes = balance_and_slopes(forcing, PLANTED, FIXED, away)
    np.testing.assert_allclose(value, balance(forcing, PLANTED, FIXED, away), rtol=1e-12, atol=1e-12)
    for i in range(len(PLANTED)):
        step = np.zeros(7)
        step[i] = 1e-6 * max(abs(PLANTED[i]), 0.1) if i else 1e-9
        up, down = (balance(forcing, PLANTED + s, FIXED, away) for s in (step, -step))
        numeric = (up - down) / (2 * step[i])
        close = np.isclose(slopes[:, i], numeric, rtol=1e-4, atol=1e-4 * np.abs(numeric).max())
        assert close.mean() > 0.97, i  # the others have a kink within the step


def test_further_parameters_that_change_nothing_change_no_bit():
    forcing, glacier, year = made_up()
    away = departure_of(forcing, glacier, year)
    three = balance(forcing, PLANTED[:3], FIXED)
    np.testing.assert_array_equal(balance(forcing, filled(PLANTED[:3], FIXED), FIXED, away), three)


def test_a_pull_of_one_moves_every_glacier_to_the_mean_climate():
    """By hand: two glaciers, one in a cell 2 K too warm with half of the snow; pulled wholly, they are the same."""
    forcing, glacier, year = made_up(glaciers=2, years=4, bands=1, water="snowfall")
    cold = glacier == "g00"
    forcing["temperature"][~cold] = forcing["temperature"][cold] + 2.0
    forcing["snowfall"][~cold] = forcing["snowfall"][cold] / 2
    away = departure_of(forcing, glacier, year)
    np.testing.assert_allclose((away[~cold] - away[cold])[:, :2], np.tile([2.0, -np.log(2)], (4, 1)), atol=1e-9)
    pulled = balance(forcing, np.array([0.006, 1.3, 0.0, 0.6, 0.0, 1.0, 1.0]), FIXED, away)
    np.testing.assert_allclose(pulled[cold], pulled[~cold], rtol=1e-9)


def test_a_gradient_of_precipitation_by_hand():
    """Frozen all year: the balance is the snow of the bands, e-fold more a kilometre."""
    forcing, _, _ = made_up(glaciers=1, years=2, bands=2)
    forcing["temperature"][:] = 230.0
    fallen = forcing["precipitation"].sum(axis=1) * 1.3
    expected = fallen * np.mean(np.exp(0.4 * np.array([-0.2, 0.4])))
    found = balance(forcing, np.array([0.006, 1.3, 0.0, 0.6, 0.4, 0.0, 0.0]), FIXED, np.zeros((2, 4)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("further", [("snow_to_ice",), ("precipitation_gradient",), PULLS, FURTHER], ids=str)
def test_planted_parameters_of_every_form_are_found_again(further):
    forcing, away, table, truth = planted(further)
    found = Form(further, WIDE).fit(table, forcing, np.ones(len(table.target), bool), away)
    np.testing.assert_allclose(found, truth, rtol=0.01, atol=0.01)


def test_a_form_reaches_the_minimum_that_scipy_finds():
    forcing, away, table, _ = planted(PULLS)
    target = table.target + np.random.default_rng(1).normal(0, 0.3, len(table.target))
    table = table_on(target, table.rows.glacier, table.rows.year)
    form, seen = Form(PULLS, TemperatureIndex()), np.random.default_rng(2).random(len(target)) < 0.7
    free = form.free

    def residuals(standard):
        parameters = form.centre.copy()
        parameters[free] += form.spread[free] * standard
        error = (balance(forcing, parameters, FIXED, away) - target)[seen] / form.residual_sd
        return np.concatenate([error, standard])

    found = form.fit(table, forcing, seen, away)
    standard = ((found - form.centre) / form.spread)[free]
    starts = np.random.default_rng(3).normal(0, 0.3, (3, free.sum()))
    best = min(least_squares(residuals, s, max_nfev=60).cost for s in [standard, *starts])
    assert 0.5 * np.sum(residuals(standard) ** 2) <= best * 1.001


# ---- the climate of a glacier ----


def test_the_climate_of_a_glacier_is_that_of_its_fitted_rows_or_else_its_own():
    forcing, glacier, year = made_up(glaciers=3, years=6)
    weather = weather_of(forcing, glacier, year, FIXED["lapse_rate"])
    used = (glacier != "g02") & (year < 2004)
    climate = climate_of(weather, used)
    mean = {g: weather.values[(glacier == g) & (year < 2004)].mean(axis=0) for g in ("g00", "g01", "g02")}
    centre = (mean["g00"] + mean["g01"]) / 2
    for name, expected in mean.items():  # of g02 the rows of the fitted years
        found = climate.departure(weather)[glacier == name]
        np.testing.assert_allclose(found[:, :2] + found[:, 2:], np.tile(expected - centre, (6, 1)), atol=1e-12)


def test_what_lies_beyond_the_reach_of_the_fitted_glaciers_is_taken_off_whatever_the_pulls():
    """By hand: cells 2 K apart let another be 2 K colder or warmer; one 9 K too warm is as warm as the end."""
    forcing, glacier, year = made_up(glaciers=4, years=4, bands=1, water="snowfall")
    for name, warmer in (("g01", 2.0), ("g02", 4.0), ("g03", 11.0)):
        forcing["temperature"][glacier == name] = forcing["temperature"][glacier == "g00"] + warmer
        forcing["snowfall"][glacier == name] = forcing["snowfall"][glacier == "g00"]
    weather = weather_of(forcing, glacier, year, FIXED["lapse_rate"])
    fitted = (glacier == "g00") | (glacier == "g01")
    away = climate_of(weather, fitted).departure(weather)
    np.testing.assert_allclose(away[year == 2001], [[-1, 0, 0, 0], [1, 0, 0, 0], [3, 0, 0, 0], [3, 0, 7, 0]], atol=1e-9)
    for pull in (0.0, 0.4, 1.0):
        found = balance(forcing, np.array([0.006, 1.3, 0.0, 0.6, 0.0, pull, pull]), FIXED, away)
        np.testing.assert_allclose(found[glacier == "g03"], found[glacier == "g02"], rtol=1e-9)
    free = climate_of(weather, fitted, within_reach=False).departure(weather)
    np.testing.assert_allclose(free[year == 2001][3], [10, 0, 0, 0], atol=1e-9)


def test_years_to_come_change_no_departure():
    forcing, glacier, year = made_up(glaciers=3, years=6)
    weather = weather_of(forcing, glacier, year, FIXED["lapse_rate"])
    climate = climate_of(weather, (glacier == "g00") & (year < 2003))
    early = year < 2005
    np.testing.assert_array_equal(climate.departure(weather)[early], climate.departure(weather.take(early)))


# ---- calibration ----


def dense(simulated, table, seen, sd, spread):
    """The same posterior mean from one penalised system of all unknowns: prediction of every row."""
    glaciers, number = np.unique(table.rows.glacier, return_inverse=True)
    total = np.asarray(table.operator.sum(axis=1)).ravel()
    centre = (table.operator @ simulated)[seen].sum() / total[seen].sum()
    member = np.eye(len(glaciers))[number]
    one = np.ones((len(simulated), 1))
    basis = np.concatenate([one, member], axis=1)
    basis = np.concatenate([basis, basis * (simulated - centre)[:, None]], axis=1)
    count = len(glaciers)
    prior = np.concatenate([[1.0], np.full(count, spread[0]), [0.5], np.full(count, spread[1])])
    design = table.operator[seen] @ basis
    error = table.target[seen] - (table.operator @ simulated)[seen]
    stacked = np.concatenate([design / sd, np.diag(1 / prior)])
    aim = np.concatenate([error / sd, np.zeros(len(prior))])
    return simulated + basis @ np.linalg.lstsq(stacked, aim, rcond=None)[0]


@pytest.mark.parametrize("years", [1, 2])
def test_a_calibration_is_the_solution_of_one_penalised_system(years):
    _, glacier, year = made_up(glaciers=5, years=8)
    rng = np.random.default_rng(4)
    rows, count = len(year), len(year) // years
    operator = scipy.sparse.csr_matrix((np.ones(rows), (np.arange(rows) // years, np.arange(rows))), (count, rows))
    simulated = rng.normal(-0.5, 0.7, rows)
    table = table_on(rng.normal(-0.3, 0.8, count) * years, glacier, year, operator)
    seen = (rng.random(count) < 0.7) & (glacier[table.row] != "g04")
    found = calibrated(simulated, table, seen, 0.3, (0.4, 0.3)).balance(simulated, glacier)
    np.testing.assert_allclose(found, dense(simulated, table, seen, 0.3, (0.4, 0.3)), atol=1e-9)
    alike = calibrated(simulated, table, seen, 0.3, None).balance(simulated, glacier)
    np.testing.assert_allclose(alike, dense(simulated, table, seen, 0.3, (1e-7, 1e-7)), atol=1e-6)


def test_planted_glacier_differences_are_recovered_and_a_new_glacier_gets_those_of_all():
    glacier, year = (a.ravel() for a in np.indices((40, 30)))
    rng = np.random.default_rng(5)
    simulated = rng.normal(-0.5, 0.7, len(year))
    level, amplitude = rng.normal(0, 0.4, 40), rng.normal(0, 0.2, 40)
    centre = simulated.mean()
    target = simulated + 0.3 + level[glacier] + (0.2 + amplitude[glacier]) * (simulated - centre)
    target += rng.normal(0, 0.1, len(year))
    names = np.array([f"g{g:02d}" for g in glacier])
    found = calibrated(simulated, table_on(target, names, year), np.ones(len(year), bool), 0.1, (0.4, 0.2))
    new = found.balance(np.array([centre, centre + 1]), np.array(["new", "new"]))
    np.testing.assert_allclose(new - [centre, centre + 1], found.everywhere @ [[1, 1], [0, 1]], atol=1e-6)
    np.testing.assert_allclose(found.everywhere, [0.3, 0.2], atol=0.15)  # 40 glaciers: 0.4 / sqrt(40), twice
    known = found.everywhere + found.own
    np.testing.assert_allclose(known[:, 0], 0.3 + level, atol=0.1)
    np.testing.assert_allclose(known[:, 1], 0.2 + amplitude, atol=0.15)
    assert np.abs(found.own).max() > 0.5


# ---- the model ----


def samples_of(toys, further=PULLS, glaciers=12, years=8, noise=0.1, level=0.0):
    """Samples of a table with forcing, and balances of planted parameters plus levels of the glaciers."""
    forcing, _, table, _ = planted(further, glaciers=glaciers, years=years)
    rng = np.random.default_rng(6)
    number = np.unique(table.rows.glacier, return_inverse=True)[1]
    target = table.target + rng.normal(0, noise, len(number)) + rng.normal(0, level, glaciers)[number] * (level > 0)
    samples = toys.table(np.zeros((len(number), 1)), target, table.rows.glacier, table.rows.year)
    dims = {2: ("row", "month"), 1: ("row",)}
    monthly = {n: (dims[v.ndim], v) for n, v in forcing.items() if n != "hypsometry"}
    return samples.assign(**monthly, hypsometry=(("row", "band"), forcing["hypsometry"]))


def rmse_of(samples, folds, settings):
    parameters = fit("temperature_index", samples, folds, settings)
    table = out_of_fold(samples, folds, predict(parameters, samples), model="temperature_index")
    return float(np.sqrt(np.mean((table["predicted"] - table["observed"]) ** 2))), parameters


@pytest.fixture(scope="module")
def samples(toys):
    return samples_of(toys, level=0.3)


@pytest.fixture(scope="module")
def folds(samples):
    schemes = {"logo": 4, "loyo": 4, "both_out": 2}
    return join_folds([make_folds(samples, s, inner=3, parts=p, blocks=2) for s, p in schemes.items()])


def test_cells_that_are_not_where_their_glaciers_are_choose_the_pulls(toys):
    samples = samples_of(toys)
    logo = make_folds(samples, "logo", inner=3, parts=4)
    error, parameters = rmse_of(samples, logo, {"within_reach": False})
    plain, _ = rmse_of(samples, logo, OLD)
    chosen = [json.loads(parameters["candidate"].values[c]) for c in parameters["choice"].values]
    assert all(set(PULLS) <= set(c["further"]) for c in chosen)
    assert error < 0.16 < 0.3 < plain


def test_a_limit_to_the_climate_of_others_costs_less_than_it_gains(toys):
    """Nothing in the planted balances speaks for it but that glaciers have levels that their climate does not tell.

    Where even these are missing, the relation that was planted holds on for ever, and a limit costs.
    """
    for level, least, most in ((0.3, 0.03, 0.3), (0.0, -0.25, -0.05)):
        samples = samples_of(toys, level=level)
        logo = make_folds(samples, "logo", inner=3, parts=4)
        gain = rmse_of(samples, logo, {"within_reach": False})[0] - rmse_of(samples, logo, None)[0]
        assert least < gain < most


def test_the_level_of_a_known_glacier_is_found_in_other_years(samples):
    loyo = make_folds(samples, "loyo", inner=3, parts=4)
    error, parameters = rmse_of(samples, loyo, None)
    alike, _ = rmse_of(samples, loyo, {"pooling": ["none", "all"]})
    chosen = [json.loads(parameters["candidate"].values[c]) for c in parameters["choice"].values]
    assert all(c["pooling"] == "glacier" for c in chosen)
    assert error < 0.2 < 0.25 < alike


def test_nothing_that_a_fold_withholds_is_in_it(samples, folds):
    before = fit("temperature_index", samples, folds)
    assert any("pull" in json.loads(c)["further"][0] for c in before["candidate"].values if json.loads(c)["further"])
    for number in (1, 5, 9):
        withheld = ~folds.fit[number]
        after = fit("temperature_index", scrambled(samples, withheld, np.random.default_rng(1)), folds)
        for name in ("value", "choice", "inner_error", "inner_prediction"):
            np.testing.assert_array_equal(before[name].values[number], after[name].values[number], err_msg=name)
        one, other = (unpack(p, number) for p in (before, after))
        assert all(np.array_equal(one[n], other[n]) for n in one)
        assert not np.array_equal(before["value"].values, after["value"].values), "the change reached nobody"


def test_what_was_searched_and_chosen_is_told(samples, folds):
    parameters = fit("temperature_index", samples, folds)
    record = record_of(parameters)
    told = searched(record)
    assert told["recipes"] == []
    assert len(told["candidates"]) == 2 * 4  # forms, and none, all and two spreads of glaciers
    lines = lines_of(record)
    assert [json.loads(line["chosen"]) for line in lines] == [
        told["candidates"][c] for c in parameters["choice"].values.tolist()
    ]


@pytest.mark.slow
def test_blocks_fitted_one_by_one_are_what_they_are_in_the_whole(samples, folds):
    model = model_of("temperature_index")
    whole = fit_model(model, Task(samples, folds))
    order = [tuple(b.tolist()) for b in reversed(folds.blocks)]
    parts = [fit_model(model, Task(samples, folds, part=p)) for p in order]
    joined = join(parts, sum(order, ()))
    for name in whole.variables:
        np.testing.assert_array_equal(joined[name].values, whole[name].values, err_msg=str(name))


def test_the_old_form_alone_is_what_it_was(samples, folds):
    parameters = fit("temperature_index", samples, folds, OLD)
    table, forcing = table_of(samples), forcing_of(samples)
    masks = np.array(list({m.tobytes(): m for m in folds.fit}.values()))
    expected = fit_splits(table, forcing, masks, TemperatureIndex())
    known = {m.tobytes(): v for m, v in zip(masks, expected, strict=True)}
    predicted = predict(parameters, samples).values[:, 0]
    for fold, mask in enumerate(folds.fit):
        value = known[mask.tobytes()]
        np.testing.assert_array_equal(parameters["value"].values[fold, :3], value)
        np.testing.assert_array_equal(predicted[fold], balance(forcing, value, FIXED))
    assert parameters["coefficient"].values[:3].tolist() == list(PARAMETERS)


def test_fits_of_a_single_glacier_tell_nothing_of_how_glaciers_differ(toys):
    settings = TemperatureIndex()
    for glaciers, expected in (
        (3, [(), ("snow_to_ice", "precipitation_gradient")]),
        (12, [PULLS, PULLS + FURTHER[:2]]),
    ):
        samples = samples_of(toys, glaciers=glaciers)
        logo = make_folds(samples, "logo", inner=2, parts=3)
        assert forms_of(settings, table_of(samples), logo) == expected
