"""The Gaussian process against derivatives by differences, scikit-learn, closed forms and planted truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import approx_fprime

from glacmb_grid.learning import elsewhere, kriging
from glacmb_grid.learning.kernel import LENGTHS, TERMS, USUAL, Hyper, Inputs, covariance
from glacmb_grid.learning.kriging import Evidence, Posterior, Settings, learn, posterior, terms_of


def region(glaciers=12, years=6, a=3, b=2, seed=0, keep=1.0):
    """Inputs of a region where every glacier has the same years, less some rows."""
    rng = np.random.default_rng(seed)
    glacier, year = np.repeat(np.arange(glaciers), years), np.tile(np.arange(2000, 2000 + years), glaciers)
    position = np.column_stack([rng.uniform(70, 80, glaciers), rng.uniform(30, 40, glaciers)])[glacier]
    static, weather = rng.normal(size=(glaciers, b))[glacier], rng.normal(size=(glaciers * years, a))
    inputs = Inputs(weather, static, np.array([f"G{i:03d}" for i in glacier]), year, position)
    return inputs.take(rng.uniform(size=len(inputs)) < keep)


def mean_of(inputs, target, hyper, new, settings=None):
    return posterior(inputs, target, hyper, settings).mean(new)


def draw(inputs, hyper, seed=0):
    """Balances drawn from the process itself."""
    rng = np.random.default_rng(seed)
    K = covariance(hyper, inputs, inputs, same_rows=True) + 1e-9 * np.eye(len(inputs))
    return np.linalg.cholesky(K) @ rng.normal(size=len(inputs)) + hyper["noise"] * rng.normal(size=len(inputs))


def usual(**values):
    """Hyper-parameters of the usual terms."""
    known = {
        **dict.fromkeys(USUAL, 0.2),
        **dict(zip(LENGTHS, (2.0, 1.0, 200.0, 8.0), strict=True)),
        "noise": 0.2,
        **values,
    }
    return Hyper(tuple(known), np.array(list(known.values())))


@pytest.mark.parametrize("terms", [tuple(TERMS), USUAL, ("year", "glacier_smooth")])
def test_gradient_equals_differences(terms):
    inputs = region(keep=0.8)
    place = inputs.position.copy()
    place[::7] = np.nan
    inputs = replace(inputs, position=place)
    rng = np.random.default_rng(1)
    evidence = Evidence(inputs, rng.normal(size=len(inputs)), rng.uniform(0, 0.3, len(inputs)), Settings(terms=terms))
    for _ in range(3):
        at = rng.normal(size=len(evidence.names))
        by_differences = approx_fprime(at, lambda x: evidence(x)[0], 1e-6)
        np.testing.assert_allclose(evidence(at)[1], by_differences, rtol=1e-3, atol=2e-4)


def test_equals_scikit_learn():
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct

    inputs, new = region(keep=0.7), region(seed=5)
    rng = np.random.default_rng(2)
    target = rng.normal(size=len(inputs))
    known = Hyper(("weather_linear", "weather", "weather_near", "noise"), np.array([0.4, 0.7, 1.3, 0.3]))
    kernel = ConstantKernel(0.7**2) * RBF(1.3 * np.sqrt(3)) + ConstantKernel(0.4**2 / 3) * DotProduct(1e-9)
    oracle = GaussianProcessRegressor(kernel, alpha=0.3**2, optimizer=None)
    oracle.fit(inputs.weather, target - target.mean())
    theirs = oracle.predict(new.weather) + target.mean()
    np.testing.assert_allclose(mean_of(inputs, target, known, new), theirs, atol=1e-8)

    none = np.zeros(len(inputs))
    evidence = Evidence(inputs, target - target.mean(), none, Settings(terms=("weather_linear", "weather")))
    standard = (np.log(known.values) - evidence.centre) / evidence.spread
    value = evidence(standard)[0] - 0.5 * standard @ standard + 0.5 * len(inputs) * np.log(2 * np.pi)
    assert value == pytest.approx(-oracle.log_marginal_likelihood(oracle.kernel_.theta), abs=1e-8)


def test_planted_hyper_parameters_are_recovered():
    inputs = region(glaciers=40, years=15, keep=0.9)
    planted = Hyper(
        ("weather_linear", "glacier", "year", "year_position", "position_near", "noise"),
        np.array([0.45, 0.4, 0.3, 0.35, 250.0, 0.2]),
    )
    found = np.array(
        [learn(inputs, draw(inputs, planted, seed), None, Settings(terms=planted.terms)).values for seed in range(4)]
    )
    assert learn(inputs, draw(inputs, planted), None, Settings(terms=planted.terms)).names == planted.names
    np.testing.assert_allclose(np.exp(np.log(found).mean(axis=0)), planted.values, rtol=0.35)


def test_learning_beats_the_start_and_is_deterministic():
    inputs = region(glaciers=20, years=8)
    target = draw(inputs, usual(weather_linear=0.8, noise=0.1))
    settings = Settings()
    found = learn(inputs, target, None, settings)
    evidence = Evidence(inputs, (target - target.mean()) / target.std(), np.zeros(len(inputs)), settings)
    units = np.array([1 if n in LENGTHS else target.std() for n in found.names])
    best = (np.log(found.values / units) - evidence.centre) / evidence.spread
    assert evidence(best)[0] < evidence(np.zeros(best.size))[0] - 10
    assert np.abs(evidence(best)[1]).max() < 1.0
    np.testing.assert_array_equal(found.values, learn(inputs, target, None, settings).values)


@pytest.mark.parametrize(("term", "held"), [("year", "glacier"), ("glacier", "year")])
def test_an_effect_is_the_shrunk_mean_of_its_residuals(term, held):
    inputs = region(keep=0.6)
    target = np.random.default_rng(0).normal(-0.5, 0.6, len(inputs))
    out = getattr(inputs, held) == getattr(inputs, held)[0]
    fitted, seen = inputs.take(~out), target[~out]
    mean = mean_of(fitted, seen, Hyper((term, "noise"), np.array([0.5, 0.3])), inputs.take(out))
    for value, level in zip(mean, getattr(inputs, term)[out], strict=True):
        residual = (seen - seen.mean())[getattr(fitted, term) == level]
        k = residual.size
        shrunk = 0.25 / (0.25 + 0.09 / k) * residual.mean() if k else 0.0
        assert value == pytest.approx(seen.mean() + shrunk, abs=1e-12)


def test_an_unmeasured_year_and_glacier_get_the_mean():
    inputs = region()
    target = np.random.default_rng(0).normal(size=len(inputs))
    terms = ("glacier", "glacier_weather", "glacier_smooth", "year", "year_position")
    hyper = usual()
    part = {n: hyper[n] for n in (*terms, "position_near", "year_near", "noise")}
    new = region(seed=3)
    new = replace(new, glacier=np.array([f"new {g}" for g in new.glacier]), year=new.year + 100)
    mean = mean_of(inputs, target, Hyper(tuple(part), np.array(list(part.values()))), new)
    np.testing.assert_allclose(mean, target.mean(), atol=1e-12)


def test_a_near_neighbour_of_the_same_year_counts_more():
    place = np.array([[75.0, 40.0], [75.0, 45.0]])
    inputs = Inputs(np.zeros((2, 0)), np.zeros((2, 0)), np.array(["A", "B"]), np.array([2000, 2000]), place)
    new = replace(inputs.take(np.array([0, 0, 0])), glacier=np.array(["C", "D", "E"]))
    new = replace(new, position=np.array([[75.0, 40.5], [75.0, 44.5], [np.nan, np.nan]]))
    hyper = Hyper(("year_position", "position_near", "noise"), np.array([0.5, 150.0, 0.1]))
    near_first, near_second, nowhere = mean_of(inputs, np.array([1.0, -1.0]), hyper, new)
    assert near_first == pytest.approx(-near_second)
    assert near_first > 0.5
    assert nowhere == pytest.approx(0.0, abs=1e-12)
    one = covariance(hyper, inputs.take(np.array([0])), new)[0]
    chord = 2 * 6371.007 * np.sin(np.deg2rad(0.5) / 2)
    np.testing.assert_allclose(one, [0.25 * np.exp(-chord / 150), 0.25 * np.exp(-9 * chord / 150), 0], rtol=2e-3)


def test_the_order_of_rows_changes_nothing():
    inputs, new = region(keep=0.7), region(seed=4)
    target = np.random.default_rng(0).normal(size=len(inputs))
    order = np.random.default_rng(1).permutation(len(inputs))
    settings = Settings(tolerance=1e-12, iterations=200)
    one, other = (learn(i, t, None, settings) for i, t in ((inputs, target), (inputs.take(order), target[order])))
    np.testing.assert_allclose(one.values, other.values, rtol=0.02)
    first = mean_of(inputs, target, one, new)
    second = mean_of(inputs.take(order), target[order], one, new)
    np.testing.assert_allclose(first, second, atol=1e-10)


def test_a_prediction_does_not_depend_on_what_else_is_asked():
    inputs, new = region(keep=0.7), region(seed=4)
    target = np.random.default_rng(0).normal(size=len(inputs))
    for settings in (Settings(), Settings(max_rows=20)):
        process = posterior(inputs, target, usual(), settings)
        together = process.mean(new)
        for row in (0, 31, len(new) - 1):
            alone = process.mean(new.take(np.array([row])))
            np.testing.assert_allclose(alone[0], together[row], atol=1e-12)


def test_the_covariance_has_no_negative_eigenvalue():
    hyper = usual(**dict.fromkeys(TERMS, 0.3))
    inputs = region(keep=0.5)
    place = inputs.position.copy()
    place[3] = np.nan
    inputs = replace(inputs, position=place)
    full = covariance(hyper, inputs, inputs, same_rows=True)
    assert np.linalg.eigvalsh(full).min() > -1e-10


DEGENERATE = {
    "three rows": lambda x: (x.take(np.arange(3)), np.array([-1.0, 0.0, 0.3])),
    "one row": lambda x: (x.take(np.arange(1)), np.array([-1.0])),
    "constant target": lambda x: (x, np.full(len(x), 0.1)),
    "one glacier": lambda x: (x.take(x.glacier == "G000"), np.linspace(-1, 1, 6)),
    "one year": lambda x: (x.take(x.year == 2000), np.linspace(-1, 1, 12)),
    "duplicated rows": lambda x: (x.take(np.repeat(np.arange(9), 5)), np.tile(np.linspace(-1, 1, 9), 5)),
    "no position": lambda x: (replace(x, position=None), np.linspace(-1, 1, len(x))),
    "unknown positions": lambda x: (replace(x, position=np.full((len(x), 2), np.nan)), np.linspace(-1, 1, len(x))),
    "no static": lambda x: (replace(x, static=np.zeros((len(x), 0))), np.linspace(-1, 1, len(x))),
    "no weather": lambda x: (replace(x, weather=np.zeros((len(x), 0))), np.linspace(-1, 1, len(x))),
    "wild predictors": lambda x: (replace(x, weather=x.weather * 1e4), np.linspace(-1, 1, len(x))),
    "all but glacier and year": lambda x: (
        Inputs(np.zeros((len(x), 0)), np.zeros((len(x), 0)), x.glacier, x.year),
        np.linspace(-1, 1, len(x)),
    ),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_tables(case):
    full = region()
    inputs, target = DEGENERATE[case](full)
    new = DEGENERATE[case](region(seed=9))[0]
    hyper = learn(inputs, target)
    assert hyper.terms == terms_of(inputs, Settings())
    mean = mean_of(inputs, target, hyper, new)
    assert np.isfinite(hyper.values).all()
    assert (hyper.values > 0).all()
    assert np.isfinite(mean).all()
    if case == "constant target":
        np.testing.assert_allclose(mean, 0.1, atol=1e-12)


def test_a_large_table_costs_no_more_than_allowed(monkeypatch):
    """No matrix is factorised that is larger than the settings say, and no covariance is made that holds all rows."""
    inputs = region(glaciers=2000, years=10)
    target = draw(region(), usual())[np.arange(len(inputs)) % 72]
    settings = Settings(learn_rows=100, max_rows=200)
    factorised, made = [], []
    cholesky, covariance = kriging.cholesky, kriging.covariance
    monkeypatch.setattr(kriging, "cholesky", lambda m, **k: (factorised.append(len(m)), cholesky(m, **k))[1])
    monkeypatch.setattr(kriging, "covariance", lambda *a, **k: (made.append(c := covariance(*a, **k)), c)[1])
    hyper = learn(inputs, target, None, settings)
    assert 80 < max(factorised) <= 100
    factorised.clear()
    some = inputs.take(np.arange(500))
    mean = mean_of(inputs, target, hyper, some, settings)
    assert 150 < max(factorised) <= 200
    assert max(c.size for c in made) <= 200 * 1000
    assert np.isfinite(mean).all()
    np.testing.assert_array_equal(hyper.values, learn(inputs, target, None, settings).values)


def test_a_large_table_conditions_on_the_glaciers_own_rows():
    inputs = region(glaciers=30, years=10, keep=0.8)
    target = np.random.default_rng(0).normal(size=len(inputs))
    names = ("glacier", "glacier_weather", "glacier_smooth", "year_near", "noise")
    own = Hyper(names, np.array([0.4, 0.3, 0.2, 5.0, 0.2]))
    small = mean_of(inputs, target, own, inputs, Settings(max_rows=40))
    np.testing.assert_allclose(small, mean_of(inputs, target, own, inputs), atol=1e-12)
    # with terms that all rows share, the common rows say most of what all say
    target = draw(inputs, usual())
    out = inputs.year == 2004
    part = (inputs.take(~out), target[~out], usual(), inputs.take(out))
    error = {n: np.sqrt(np.mean((target[out] - mean_of(*part, Settings(max_rows=n))) ** 2)) for n in (100, 1000)}
    assert error[100] < 1.3 * error[1000]


def test_one_glacier_with_more_rows_than_allowed():
    inputs = region(glaciers=1, years=400)
    target = np.sin(inputs.year / 20.0)
    settings = Settings(terms=("smooth",), learn_rows=60, max_rows=60)
    mean = mean_of(inputs, target, learn(inputs, target, None, settings), inputs, settings)
    assert np.sqrt(np.mean((mean - target) ** 2)) < 0.1


@pytest.mark.parametrize("most", [1000, 40])
def test_a_conditioned_process_is_the_closed_form_and_comes_back_from_its_arrays(most):
    """Of a table with more rows than allowed: the common rows, and those of the glacier in question."""
    inputs, new = region(glaciers=10, years=8, keep=0.8), region(glaciers=14, years=8, seed=3)
    target, hyper, settings = np.random.default_rng(0).normal(size=len(inputs)), usual(), Settings(max_rows=most)
    process = Posterior.from_state(posterior(inputs, target, hyper, settings).state())
    found = process.mean(new)
    common = np.isin(inputs.glacier, process.inputs.glacier)
    assert common.all() == (most == 1000)
    for row in range(len(new)):
        used = inputs.take(common | (inputs.glacier == new.glacier[row]))
        seen = target[common | (inputs.glacier == new.glacier[row])]
        K = covariance(hyper, used, used, same_rows=True) + hyper["noise"] ** 2 * np.eye(len(used))
        cross = covariance(hyper, used, new.take(np.array([row])))[:, 0]
        expected = target.mean() + cross @ np.linalg.solve(K, seen - target.mean())
        assert found[row] == pytest.approx(expected, abs=1e-9)


def _elsewhere(inputs, share=0.6):
    """Most glaciers under names that no other table has."""
    other = np.array([f"new {g}" if int(g[1:]) % 5 < 5 * share else g for g in inputs.glacier])
    return replace(inputs, glacier=other)


def _with_gaps(inputs):
    """A glacier without position, and one whose static inputs change from year to year."""
    position, static = inputs.position.copy(), inputs.static.copy()
    position[inputs.glacier == inputs.glacier[0]] = np.nan
    static[inputs.glacier == inputs.glacier[-1]] += np.arange((inputs.glacier == inputs.glacier[-1]).sum())[:, None]
    return replace(inputs, position=position, static=static)


def _bare(inputs):
    return replace(inputs, static=inputs.static[:, :0], position=None)


@pytest.mark.parametrize("terms", [("constant",), *((t,) for t in TERMS), USUAL, tuple(TERMS)], ids=",".join)
@pytest.mark.parametrize("change", [lambda i: i, _with_gaps, _bare], ids=["whole", "gaps", "bare"])
def test_far_from_what_it_was_conditioned_on_the_mean_is_the_sum_over_all_pairs(terms, change):
    """Terms of places and years are summed apart there; by all pairs of rows it is the same to 1e-10."""
    inputs, new = change(region(keep=0.7)), _elsewhere(change(region(glaciers=40, seed=4, keep=0.8)))
    terms = [t for t in terms if t in terms_of(inputs, Settings(terms=tuple(TERMS)))]
    known = {**dict.fromkeys(terms, 0.3), **dict(zip(LENGTHS, (2.0, 1.0, 200.0, 8.0), strict=True)), "noise": 0.2}
    hyper = Hyper(tuple(known), np.array(list(known.values())))
    target = np.random.default_rng(2).normal(size=len(inputs))
    process = posterior(inputs, target, hyper)
    pairs = process.level + covariance(hyper, new, inputs) @ process.weight
    np.testing.assert_allclose(process.mean(new), pairs, atol=1e-10, rtol=0)
    order = np.random.default_rng(3).permutation(len(new))
    np.testing.assert_allclose(process.mean(new.take(order)), pairs[order], atol=1e-10, rtol=0)


def test_far_from_a_large_table_the_mean_is_the_sum_over_its_common_rows():
    inputs, new = region(glaciers=30, seed=1), _elsewhere(region(glaciers=40, seed=4))
    process = posterior(inputs, np.random.default_rng(2).normal(size=len(inputs)), usual(), Settings(max_rows=60))
    assert len(process.own)
    measured = np.isin(new.glacier, inputs.glacier)
    assert 0 < measured.sum() < len(new)
    pairs = process.level + covariance(process.hyper, new, process.inputs) @ process.weight
    mean = process.mean(new)
    np.testing.assert_allclose(mean[~measured], pairs[~measured], atol=1e-10, rtol=0)
    in_own = np.isin(new.glacier, process.own.glacier)
    assert np.abs(mean - pairs)[in_own].max() > 1e-3, "the rows of the glacier itself count there"


def test_ten_thousand_glaciers_are_predicted_without_all_pairs(monkeypatch):
    """No term but that of like weather looks at pairs of rows."""
    inputs = region(keep=0.7)
    process = posterior(inputs, np.random.default_rng(2).normal(size=len(inputs)), usual())
    new = _elsewhere(region(glaciers=10_000, years=2), 1.0)
    expected = process.mean(new.take(np.arange(50)))

    def refuse(*args, **options):
        raise AssertionError("all pairs")

    monkeypatch.setattr(kriging, "covariance", refuse)
    monkeypatch.setattr(elsewhere, "covariance", refuse)
    np.testing.assert_allclose(process.mean(new)[:50], expected, atol=1e-12)
