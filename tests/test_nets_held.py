"""Nets that are held to sums of years: the term of the loss against plain NumPy, draws, padding and company."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glacmb_grid.learning.nets import FeedForward, Nets, Problem, forward, losses, shape_of, train
from glacmb_grid.learning.nets.held import Constraints, held_for, pool_of
from glacmb_grid.learning.nets.module import places_of, size_of

pytestmark = pytest.mark.ends

PREDICTORS, ROWS = 5, 40


def problem_of(seed=0, stopping=True):
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(2, ROWS, PREDICTORS)).astype(np.float32)
    y = (x[:, :, 0] - 0.5 * x[:, :, 1] + 0.1 * draws.normal(size=(2, ROWS))).astype(np.float32)
    stop = (np.arange(ROWS) % 4 == np.arange(2)[:, None]).astype(np.float32)
    fit = (1 - stop) / (1 - stop).sum(axis=1, keepdims=True)
    return Problem(x, y, fit, stopping * stop / stop.sum(axis=1, keepdims=True))


def nets_of(count, widths=(4, 3), geodetic=0.0, **changed):
    number = np.arange(count)
    fields = {
        **dict.fromkeys(("matrix", "target"), number % 2),
        "split": number // 2 % 2,
        "columns": np.ones((count, PREDICTORS), bool),
        "widths": np.tile(np.array(widths, int), (count, 1)),
        "learning_rate": np.linspace(0.003, 0.02, count, dtype=np.float32),
        "noise": np.linspace(0, 0.2, count, dtype=np.float32),
        "l1": np.linspace(0, 0.01, count, dtype=np.float32),
        "gamma": np.zeros(count, np.float32),
        "heteroscedastic": np.zeros(count, bool),
        "epochs": np.full(count, 30),
        "seed": 100 + number,
        "geodetic": np.zeros(count, np.float32),
    }
    return Nets(**(fields | {k: np.full_like(fields[k], v) for k, v in {**changed, "geodetic": geodetic}.items()}))


def same(a, b, which=slice(None)):
    for name in ("parameters", "loss", "best_epoch", "epochs"):
        np.testing.assert_array_equal(getattr(a, name)[which], getattr(b, name)[which], err_msg=name)


def split(flat, module):
    """Kernels and biases of a flat vector."""
    return [[flat[p[n]] for p in places_of(module)] for n in ("kernel", "bias")]


def plain_forward(kernels, biases, x):
    for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
        z = x @ kernel.T + bias
        x = z / (1 + np.exp(-z))
    return x @ kernels[-1].T + biases[-1]


def constraints_of(problem, count=50, entries=4, rows=70, used=None, seed=5):
    """Sums of up to so many rows each; of matrices, targets and splits of a problem."""
    draws = np.random.default_rng(seed)
    weight = draws.uniform(0.3, 1, (count, entries)).astype(np.float32)
    weight[draws.random(weight.shape) < 0.2] = 0
    sizes = len(problem.target), len(problem.fit)
    return Constraints(
        draws.normal(size=(len(problem.rows), rows, PREDICTORS)).astype(np.float32),
        draws.integers(0, rows, (count, entries)),
        weight,
        draws.normal(size=(sizes[0], count)).astype(np.float32),
        draws.uniform(0.5, 2, (sizes[0], count)).astype(np.float32),
        np.ones((sizes[1], count), bool) if used is None else used,
    )


def held_problem(seed=0, **options):
    problem = problem_of(seed=seed)
    return replace(problem, rates=constraints_of(problem, **options))


def test_the_term_and_its_gradient_agree_with_numpy_and_finite_differences():
    draws = np.random.default_rng(3)
    module, count, entries = FeedForward(3, (4, 3), 1), 5, 3
    flat = 0.5 * draws.normal(size=size_of(module))
    x, y, fitted = draws.normal(size=(6, 3)), draws.normal(size=6), np.full(6, 1 / 6)
    rows, weight = draws.normal(size=(count * entries, 3)), draws.random((count, entries))
    target, sigma, share = draws.normal(size=count), draws.uniform(0.5, 2, count), np.array([0.25] * 4 + [0])

    def loss(flat):
        kernels, biases = split(flat, module)
        error = plain_forward(kernels, biases, x)[:, 0] - y
        years = plain_forward(kernels, biases, rows)[:, 0].reshape(count, entries)
        off = (np.sum(years * weight, axis=1) - target) / sigma
        return np.sum(fitted * error**2) + 0.7 * np.sum(share * off**2)

    expected = [(loss(flat + 1e-6 * e) - loss(flat - 1e-6 * e)) / 2e-6 for e in np.eye(len(flat))]
    look = losses.Look(*(jnp.asarray(v, jnp.float32) for v in (x.T, y, fitted)), None)
    slot = losses.Slot(look, None, True, 2, 0.0, 0.01, 0.0, 0.0, False, 1, 0)
    drawn = losses.Drawn(*(jnp.asarray(v, jnp.float32) for v in (rows.T, weight, target, 1 / sigma, share, 0.7)))
    args = (module, slot, slot.fit.rows, jnp.zeros(0), True, drawn)
    found, slope = jax.value_and_grad(losses.objective, has_aux=True)(jnp.asarray(flat, jnp.float32), *args)
    np.testing.assert_allclose(found[0], loss(flat), rtol=1e-5)
    np.testing.assert_allclose(slope, expected, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(found[1][0], np.sum(fitted * (plain_forward(*split(flat, module), x)[:, 0] - y) ** 2),
                               rtol=1e-5)  # fmt: skip


@pytest.mark.parametrize(("count", "most"), [(7, 3), (3, 3), (2, 5), (0, 4)])
def test_every_epoch_looks_at_the_next_constraints_of_the_order(count, most):
    """Of matrix 1 the columns 2 and 0; all constraints have been looked at equally often after as many rounds."""
    draws, size = np.random.default_rng(0), 9
    pool = losses.Pool(*(jnp.asarray(v) for v in (draws.normal(size=(2, 20, 3)), draws.integers(0, 20, (size, 2)),
                                                  draws.random((size, 2)))))  # fmt: skip
    order = np.zeros(size, int)
    order[:count] = draws.permutation(size)[:count]
    rates = losses.Rates(1, jnp.array([2, 0, -1]), jnp.asarray(order), count, jnp.arange(size) * 1.0, jnp.ones(size), 1)
    seen = np.zeros(size)
    for epoch in range(max(count, 1)):
        drawn = losses.draw(pool, rates, jnp.int32(epoch), most)
        number = np.asarray(drawn.target).astype(int)
        real = np.asarray(drawn.share) > 0
        assert real.sum() == min(count, most)
        if count:
            assert np.asarray(drawn.share).sum() == pytest.approx(1)
            wanted = order[(epoch * most + np.arange(most)) % count] if count > most else order[:count]
            np.testing.assert_array_equal(number[real], wanted)
        inputs = np.asarray(drawn.inputs).reshape(3, most, 2)
        rows = np.asarray(pool.rows)[1][np.asarray(pool.row)[number]]
        np.testing.assert_array_equal(inputs[:2], np.moveaxis(rows, 2, 0)[[2, 0]])
        assert not inputs[2].any()
        np.add.at(seen, number[real], 1)
    assert len(set(seen[order[:count]])) <= 1
    assert not np.delete(seen, order[:count]).any()


def test_nets_without_a_weight_learn_to_the_bit_what_they_learn_without_constraints():
    problem, nets = held_problem(), nets_of(6)
    plain = train(replace(problem, rates=None), nets, patience=100, shape=shape_of(problem, nets))
    same(plain, train(problem, nets, patience=100))
    assert not shape_of(problem, nets).rates.drawn
    mixed = replace(nets, geodetic=np.array([0, 0.5, 0, 0.5, 0, 0.5], np.float32))
    shape = shape_of(problem, mixed)
    assert shape.rates == held_for((50, 4), 2)
    beside = train(problem, mixed, patience=100, shape=shape)
    same(plain, beside, [0, 2, 4])
    assert (plain.parameters != beside.parameters)[[1, 3, 5]].any(axis=1).all()


def test_company_and_padding_do_not_change_a_net_that_is_held():
    problem = held_problem()
    nets = nets_of(6, geodetic=0.5)
    shape = shape_of(problem, nets)
    whole = train(problem, nets, patience=100, shape=shape)
    for which in ([0], [3, 1], [5, 4, 3]):
        some = train(problem, nets[which], patience=100, shape=shape)
        same(some, train(problem, nets[which], patience=100, shape=shape))
        np.testing.assert_array_equal(some.parameters, whole.parameters[which])
    wider = shape._replace(rates=shape.rates._replace(matrices=5))
    np.testing.assert_allclose(train(problem, nets, patience=100, shape=wider).parameters, whole.parameters, atol=1e-6)
    assert pool_of(problem.rates, wider.rates).rows.shape == (5, 70, PREDICTORS)


def test_constraints_that_a_split_may_not_learn_from_have_no_influence():
    problem = held_problem()
    used = np.ones((2, 50), bool)
    used[0, 10:20] = False
    problem = replace(problem, rates=replace(problem.rates, used=used))
    nets = nets_of(8, geodetic=0.5)
    target = problem.rates.target.copy()
    target[:, 10:20] = 99.0
    precision = problem.rates.precision.copy()
    precision[:, 10:20] = np.nan
    changed = replace(problem, rates=replace(problem.rates, target=target))
    before, after = (train(p, nets, patience=100) for p in (problem, changed))
    untouched = nets.split == 0
    same(before, after, untouched)
    assert (before.parameters != after.parameters)[~untouched].any(axis=1).all()
    unknown = replace(problem, rates=replace(problem.rates, precision=precision))
    same(before, train(unknown, nets, patience=100), untouched)


def test_a_linear_net_follows_sums_where_there_are_few_observations():
    """One observation of each of two years; fifty sums of other years tell the slope."""
    draws = np.random.default_rng(2)
    slope = draws.normal(size=PREDICTORS)
    problem = problem_of(stopping=False)
    fit = np.zeros_like(problem.fit)
    fit[:, :2] = 0.5
    rates = constraints_of(problem)
    values = np.einsum("mrp,p->mr", rates.rows, slope) - 0.4
    target = np.sum(values[:, rates.row] * rates.weight, axis=2).astype(np.float32)
    own = (np.einsum("mrp,p->mr", problem.rows, slope) - 0.4).astype(np.float32)
    problem = replace(problem, fit=fit, target=own, rates=replace(rates, target=target))
    found = []
    for weight in (0.0, 1.0):
        held = nets_of(2, (), noise=0, l1=0, learning_rate=0.05, epochs=600, geodetic=weight)
        out = train(problem, held, patience=1)
        balance = forward(out.layout, out.parameters, held.columns, held.widths, problem.rows, held.matrix)[:, 0]
        found.append(np.sqrt(np.mean((balance - own[held.target]) ** 2)))
    assert found[1] < 0.01 < 0.3 < found[0]


def test_training_goes_on_where_it_stopped_with_constraints(tmp_path):
    problem = held_problem()
    nets = nets_of(4, epochs=40, geodetic=0.5)
    whole = train(problem, nets, patience=100)

    class StoppedError(Exception):
        pass

    def stop(finished, epochs):
        if epochs > 60:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(problem, nets, patience=100, checkpoint=tmp_path / "x.npz", every=0, progress=stop)
    same(whole, train(problem, nets, patience=100, checkpoint=tmp_path / "x.npz"))
