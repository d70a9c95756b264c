"""The trainer of many nets against plain NumPy, against itself in other company, and against being stopped."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from glacmb_grid.errors import InputError
from glacmb_grid.learning.compilation import enable_compilation_cache
from glacmb_grid.learning.nets import (
    FeedForward,
    Nets,
    Problem,
    forward,
    losses,
    shape_of,
    train,
)
from glacmb_grid.learning.nets.module import places_of, size_of
from glacmb_grid.learning.nets.problem import initial
from glacmb_grid.learning.nets.step import segment

pytestmark = pytest.mark.ends

PREDICTORS, ROWS = 5, 40


def problem_of(rows=ROWS, predictors=PREDICTORS, splits=2, seed=0, stopping=True):
    draws = np.random.default_rng(seed)
    x = draws.normal(size=(2, rows, predictors)).astype(np.float32)
    y = (x[:, :, 0] - 0.5 * x[:, :, 1] + 0.1 * draws.normal(size=(2, rows))).astype(np.float32)
    stop = np.zeros((splits, rows), np.float32)
    for part in stop:
        part[draws.permutation(rows)[: rows // 4]] = 1
    fit = (1 - stop) * draws.integers(1, 4, size=stop.shape)
    fit, stop = (w / w.sum(axis=1, keepdims=True) for w in (fit, stop))
    return Problem(x, y, fit.astype(np.float32), (stop * stopping).astype(np.float32))


def nets_of(count=6, widths=(4, 3), predictors=PREDICTORS, **changed):
    number = np.arange(count)
    fields = {
        "matrix": number % 2,
        "target": number % 2,
        "split": number // 2 % 2,
        "columns": np.ones((count, predictors), bool),
        "widths": np.tile(widths, (count, 1)) if np.ndim(widths) == 1 else np.asarray(widths),
        "learning_rate": np.linspace(0.003, 0.02, count, dtype=np.float32),
        "noise": np.linspace(0, 0.2, count, dtype=np.float32),
        "l1": np.linspace(0, 0.01, count, dtype=np.float32),
        "gamma": np.zeros(count, np.float32),
        "heteroscedastic": np.zeros(count, bool),
        "epochs": np.full(count, 30),
        "seed": 100 + number,
        "frozen": np.zeros(count, np.int64),
    }
    return Nets(**(fields | {k: np.broadcast_to(v, np.shape(fields[k])).copy() for k, v in changed.items()}))


def same(a, b, which=slice(None)):
    for name in ("parameters", "loss", "best_epoch", "epochs"):
        np.testing.assert_array_equal(getattr(a, name)[which], getattr(b, name)[which], err_msg=name)


# ---- the mathematics, written down a second time in plain NumPy -------------------------------------------------


def split(flat, module):
    """Kernels (..., unit, input) and biases (..., unit)."""
    places = places_of(module)
    return [flat[..., p["kernel"]] for p in places], [flat[..., p["bias"]] for p in places]


def plain_forward(kernels, biases, x):
    for kernel, bias in zip(kernels[:-1], biases[:-1], strict=True):
        z = x @ kernel.T + bias
        x = z / (1 + np.exp(-z))
    return x @ kernels[-1].T + biases[-1]


def plain_loss(flat, module, x, y, weight, operator, kind, frozen, l1):
    kernels, biases = split(flat, module)
    out = plain_forward(kernels, biases, x)
    error = operator @ out[:, 0] - y
    lasso = l1 * sum(np.abs(k).sum() for k in kernels)
    if not kind:
        return np.sum(weight * error**2) + lasso
    variance = operator**2 @ np.exp(6 * np.tanh(out[:, 1] / 6))
    return np.sum(weight * frozen * (np.log(variance) + error**2 / variance)) + lasso


def slot_of(x, y, weight, entries, kind, l1=0.0, gamma=0.0, depth=2):
    look = losses.Look(*(jnp.asarray(v, jnp.float32) for v in (x.T, y, weight)), entries)
    return losses.Slot(look, None, True, depth, 0.0, 0.01, l1, gamma, kind, 1, 0)


@pytest.mark.parametrize("kind", [False, True])
@pytest.mark.parametrize("with_operator", [False, True])
def test_the_objective_and_its_gradient_agree_with_numpy_and_finite_differences(kind, with_operator):
    draws = np.random.default_rng(1)
    module, samples, rows = FeedForward(3, (4, 3), 2), 6, 9 if with_operator else 6
    x, y, weight = draws.normal(size=(rows, 3)), draws.normal(size=samples), draws.random(samples)
    operator = np.eye(samples)
    entries = None
    if with_operator:
        operator = np.where(draws.random((samples, rows)) < 0.5, draws.random((samples, rows)), 0)
        operator[np.arange(samples), np.arange(samples)] = 1
        sample, row = np.nonzero(operator)
        entries = (sample, row, jnp.asarray(operator[sample, row], jnp.float32))
    flat = 0.5 * draws.normal(size=size_of(module))
    out = plain_forward(*split(flat, module), x)
    frozen = np.sqrt(operator**2 @ np.exp(6 * np.tanh(out[:, 1] / 6)))  # not differentiated

    def loss(flat):
        return plain_loss(flat, module, x, y, weight, operator, kind, frozen, 0.05)

    step = 1e-6
    expected = [(loss(flat + step * e) - loss(flat - step * e)) / (2 * step) for e in np.eye(len(flat))]
    slot = slot_of(x, y, weight, entries, kind, l1=0.05)
    args = (module, slot, slot.fit.rows, jnp.zeros(0), True)
    found, slope = jax.value_and_grad(losses.objective, has_aux=True)(jnp.asarray(flat, jnp.float32), *args)
    np.testing.assert_allclose(found[0], loss(flat), rtol=1e-5)
    np.testing.assert_allclose(slope, expected, rtol=2e-4, atol=2e-4)
    recorded = plain_loss(flat, module, x, y, weight, operator, kind, 1.0, 0.0)
    np.testing.assert_allclose(found[1][0], recorded, rtol=1e-5)


def test_terms_of_the_loss_by_hand():
    look = losses.Look(None, None, jnp.asarray([0.25, 0.75]), None)
    slot = losses.Slot(look, None, True, 0, 0.0, 0.01, 0.5, 0.0, True, 1, 0)
    variables = {"params": {"layer_0": {"kernel": jnp.asarray([[1.0, -3.0]]), "bias": jnp.asarray([9.0])}}}
    error, variance = jnp.asarray([2.0, -1.0]), jnp.asarray([4.0, 1.0])
    view = losses.View(variables, None, error, variance, look.weight, slot)
    assert float(losses.lasso(view)) == 2.0
    assert float(losses.misfit(view)) == pytest.approx(0.25 * 2 * (np.log(4) + 1) + 0.75)
    assert float(losses.misfit(view._replace(slot=slot._replace(heteroscedastic=False)))) == 1.75
    assert float(losses.misfit(view._replace(variance=None))) == 1.75


def test_a_term_that_is_added_is_trained_on(monkeypatch):
    """One that asks for a balance of 3 everywhere outweighs the observations."""
    pull = lambda view: 1e4 * jnp.mean((view.out[0] - 3) ** 2)  # noqa: E731
    monkeypatch.setattr(losses, "TERMS", (*losses.TERMS, pull))
    problem, nets = problem_of(rows=44, stopping=False), nets_of(2, (3,), noise=0, learning_rate=0.05, epochs=200)
    out = train(problem, nets, patience=1)
    balance = forward(out.layout, out.parameters, nets.columns, nets.widths, problem.rows, nets.matrix)[:, 0]
    fitted = problem.fit[nets.split] > 0
    np.testing.assert_allclose(balance[fitted], 3, atol=0.1)


def plain_training(problem, nets, net, start, module, epochs):
    """One net by autodiff and textbook Adam; start is in its own layout."""
    columns, s = nets.columns[net], nets.split[net]
    x = problem.rows[nets.matrix[net]][:, columns]
    y, weight, places = problem.target[nets.target[net]], problem.fit[s], places_of(module)

    def loss(flat):
        kernels, biases = ([flat[p[name]] for p in places] for name in ("kernel", "bias"))
        h = x
        for layer in range(len(kernels) - 1):
            h = jax.nn.silu(h @ kernels[layer].T + biases[layer])
        out = (h @ kernels[-1].T + biases[-1])[:, 0]
        return jnp.sum(weight * (out - y) ** 2) + nets.l1[net] * sum(jnp.sum(jnp.abs(k)) for k in kernels)

    slope = jax.jit(jax.grad(loss))
    flat = jnp.asarray(start)
    mean = square = jnp.zeros_like(flat)
    for epoch in range(epochs):
        g = slope(flat)
        mean, square = 0.9 * mean + 0.1 * g, 0.999 * square + 0.001 * g * g
        root = jnp.sqrt(square / (1 - 0.999 ** (epoch + 1)))
        flat = flat - nets.learning_rate[net] * mean / (1 - 0.9 ** (epoch + 1)) / (root + 1e-8)
    return flat


def test_padded_nets_learn_what_unpadded_ones_learn():
    """Nets of 0 to 3 layers and 2 to 5 predictors beside each other."""
    problem = problem_of(stopping=False)
    widths = np.array([[6, 4, 2], [3, 0, 0], [5, 4, 0], [0, 0, 0], [2, 6, 0], [1, 1, 1]])
    columns = np.arange(PREDICTORS)[::-1] < np.array([5, 3, 4, 5, 2, 3])[:, None]
    nets = nets_of(6, widths, columns=columns, noise=0, epochs=8)
    lonely = {}
    for two in (False, True):  # with and without a net of two outputs beside them
        kind = np.array([two, *[False] * 5])
        mixed = replace(nets, heteroscedastic=kind)
        trained = train(problem, mixed, patience=100)
        outputs = forward(trained.layout, trained.parameters, columns, widths, problem.rows, nets.matrix)
        assert outputs.shape == (6, 1 + two, ROWS)
        for net in range(int(two), 6):
            own = FeedForward(int(columns[net].sum()), tuple(int(w) for w in widths[net] if w))
            if net not in lonely:
                lonely[net] = plain_training(problem, nets, net, initial(nets[[net]], own)[0], own, 8)
            x = problem.rows[nets.matrix[net]][:, columns[net]]
            expected = plain_forward(*split(np.asarray(lonely[net]), own), x)[:, 0]
            np.testing.assert_allclose(outputs[net, 0], expected, atol=2e-5)


def test_initial_values_do_not_depend_on_padding():
    nets = nets_of(3, [[4, 3], [2, 0], [4, 0]])
    small, large = FeedForward(PREDICTORS, (4, 3)), FeedForward(PREDICTORS + 2, (7, 5, 3), 2)
    tight, wide = (split(initial(nets, module), module)[0] for module in (small, large))
    np.testing.assert_array_equal(tight[0], wide[0][:, :4, :PREDICTORS])
    assert all(k[0].any() for k in tight)
    assert sum(map(np.count_nonzero, wide)) == sum(map(np.count_nonzero, tight))
    first = np.random.Generator(np.random.Philox(key=100)).standard_normal((4, PREDICTORS), np.float32)
    np.testing.assert_allclose(tight[0][0], first / np.sqrt(PREDICTORS), rtol=1e-6)


def test_what_pads_a_net_stays_zero():
    nets = nets_of(4, [[4, 3, 2], [2, 0, 0], [3, 2, 0], [0, 0, 0]], gamma=1, heteroscedastic=[True, False] * 2)
    columns = np.arange(PREDICTORS) < np.array([5, 3, 4, 2])[:, None]
    out = train(problem_of(), replace(nets, columns=columns), patience=99)
    for net, depth in enumerate((3, 1, 2, 0)):
        kernels, biases = split(out.parameters[net], out.layout)
        sizes = [int(columns[net].sum()), *nets.widths[net][:depth], 1 + int(nets.heteroscedastic[net])]
        for layer, (kernel, bias) in enumerate(zip(kernels, biases, strict=True)):
            own = (sizes[layer + 1], sizes[layer]) if layer <= depth else (0, 0)
            assert kernel[: own[0], : own[1]].all()
            assert np.count_nonzero(kernel) == own[0] * own[1]
            assert np.count_nonzero(bias) == own[0]


# ---- what a net must not see -------------------------------------------------------------------------------------


def test_masked_columns_and_rows_of_zero_weight_have_no_influence():
    problem = problem_of(stopping=True)
    columns = np.tile(np.arange(PREDICTORS) < 3, (6, 1))
    unseen = (problem.fit + problem.stop).sum(axis=0) == 0
    assert not unseen.any()
    fit, stop = problem.fit.copy(), problem.stop.copy()
    fit[:, :7], stop[:, :7] = 0, 0
    problem = replace(problem, fit=fit, stop=stop)
    nets = nets_of(columns=columns, gamma=1)
    rows, target = problem.rows.copy(), problem.target.copy()
    rows[..., 3:] = np.nan
    rows[:, :7], target[:, :7] = 1e30, np.nan
    same(train(problem, nets, patience=9), train(replace(problem, rows=rows, target=target), nets, patience=9))


def test_missing_values_that_would_be_looked_at_are_refused():
    problem = problem_of()
    problem.rows[1, 3, 2] = np.nan
    with pytest.raises(InputError, match="fill gaps"):
        train(problem, nets_of(), patience=9)


def test_company_place_and_block_do_not_change_a_net():
    problem = problem_of()
    nets = nets_of(23, widths=[[4, 3], [6, 0]] * 11 + [[5, 5]], epochs=25)
    shape = shape_of(problem, nets, block=4)
    whole = train(problem, nets, patience=3, shape=shape)
    assert len(set(whole.epochs)) > 3  # they stop at different times
    some = np.array([22, 3, 17, 8])
    same(
        replace(whole, **{n: getattr(whole, n)[some] for n in ("parameters", "loss", "best_epoch", "epochs")}),
        train(problem, nets[some], patience=3, shape=shape),
    )
    other = train(problem, nets, patience=3, shape=shape_of(problem, nets, block=16))
    np.testing.assert_allclose(other.loss[:, :4], whole.loss[:, :4], rtol=1e-3)
    alone = train(problem, nets[[3]], patience=3)  # its own shape: less padding everywhere
    np.testing.assert_allclose(alone.loss[0, :4], whole.loss[3, :4], rtol=1e-3)


def test_the_best_epoch_is_kept_and_patience_ends():
    problem = problem_of()
    nets = nets_of(8, learning_rate=0.05, epochs=60)
    out = train(problem, nets, patience=5)
    stopping = out.loss[..., 1]
    np.testing.assert_array_equal(out.best_epoch, np.nanargmin(stopping, axis=1))
    np.testing.assert_array_equal(out.epochs, np.isfinite(stopping).sum(axis=1))
    np.testing.assert_array_equal(out.epochs, np.minimum(out.best_epoch + 6, 60))
    balance = forward(out.layout, out.parameters, nets.columns, nets.widths, problem.rows, nets.matrix)[:, 0]
    again = np.sum(problem.stop[nets.split] * (balance - problem.target[nets.target]) ** 2, axis=1)
    np.testing.assert_allclose(again, np.nanmin(stopping, axis=1), rtol=1e-4)


def test_without_stopping_rows_the_last_epoch_is_kept():
    problem = problem_of()
    problem.stop[1] = 0
    out = train(problem, nets_of(4, epochs=15), patience=2)
    np.testing.assert_array_equal(out.best_epoch[2:], 14)
    assert np.isnan(out.loss[2:, :, 1]).all()
    assert np.isfinite(out.loss[2:, :, 0]).all()


# ---- what it learns ----------------------------------------------------------------------------------------------


def test_a_linear_target_is_learnt():
    problem = problem_of(rows=60, stopping=False)
    target = problem.rows @ np.array([1, -0.5, 0.25, 0, 0], np.float32)
    nets = nets_of(3, [[0, 0], [8, 0], [8, 4]], learning_rate=0.02, noise=0, l1=0, epochs=700)
    out = train(replace(problem, target=target), nets, patience=1000)
    assert (out.loss[:, -1, 0] < [1e-5, 1e-3, 3e-3]).all()
    kernels, biases = split(out.parameters[0], out.layout)
    np.testing.assert_allclose(kernels[0][0], [1, -0.5, 0.25, 0, 0], atol=5e-3)
    np.testing.assert_allclose(biases[0][0], 0, atol=5e-3)


def test_l1_empties_kernels_and_noise_shrinks_a_linear_slope():
    problem = problem_of(rows=400, predictors=2, stopping=False)
    target = problem.rows[..., 0]
    nets = nets_of(3, [[0]] * 3, predictors=2, learning_rate=0.01, noise=[0, 0, 1], l1=[0, 0.4, 0], epochs=1500)
    out = train(replace(problem, target=target), nets, patience=1)
    balance = forward(out.layout, out.parameters, nets.columns, nets.widths, np.eye(2, dtype=np.float32)[None])[:, 0]
    level = forward(out.layout, out.parameters, nets.columns, nets.widths, np.zeros((1, 1, 2), np.float32))[:, 0]
    slope = balance - level
    power = np.sum(problem.fit[nets.split] * problem.rows[nets.matrix, :, 0] ** 2, axis=1)
    np.testing.assert_allclose(slope[0], [1, 0], atol=1e-3)
    np.testing.assert_allclose(slope[1], [1 - 0.2 / power[1], 0], atol=0.05)  # soft threshold
    np.testing.assert_allclose(slope[2], [power[2] / (1 + power[2]), 0], atol=0.1)  # errors in variables


def test_two_levels_of_noise_are_recovered():
    draws = np.random.default_rng(5)
    side = np.where(np.arange(600) % 2, 1.0, -1.0)
    rows = np.stack([side, draws.normal(size=600)], axis=1)[None].astype(np.float32)
    scatter = np.where(side > 0, 0.6, 0.15)
    target = (0.5 * rows[0, :, 1] + scatter * draws.normal(size=600))[None].astype(np.float32)
    fit = np.full((2, 600), 1 / 600, np.float32)
    problem = Problem(rows, target, fit, np.zeros_like(fit))
    nets = nets_of(1, (6,), predictors=2, learning_rate=0.02, noise=0, heteroscedastic=True, epochs=500)
    out = train(problem, nets, patience=1)
    variance = np.exp(forward(out.layout, out.parameters, nets.columns, nets.widths, rows)[:, 1])
    for sign, sd in ((1, 0.6), (-1, 0.15)):
        assert np.sqrt(variance[0, side == sign].mean()) == pytest.approx(sd, rel=0.15)


def test_dynamic_weights_by_hand():
    weight = jnp.asarray([0.25, 0.25, 0.5, 0.0])
    residual = jnp.asarray([1.0, 3.0, 2.0, 9.0])  # weighted mean 2
    found = losses.dynamic_weight(weight, residual, 2.0)
    changed = np.array([0.25, 0.25, 0.5]) * [0.25, 2.25, 1.0]
    np.testing.assert_allclose(found, [*changed / changed.sum(), 0], rtol=1e-6)
    extreme = losses.dynamic_weight(jnp.full(2, 0.5), jnp.asarray([1e-9, 1.0]), 4.0)
    np.testing.assert_allclose(extreme, [1 / 17, 16 / 17], rtol=1e-6)  # clipped to 1/4 and 4
    np.testing.assert_array_equal(losses.dynamic_weight(weight, residual, 0.0), weight)


def test_dynamic_weights_are_not_differentiated_and_follow_a_moving_average():
    x, y, weight = np.ones((2, 1)), np.array([1.0, 3.0]), np.full(2, 0.5)
    slot = slot_of(x, y, weight, None, False, gamma=1.0, depth=0)
    slope = jax.grad(losses.objective, has_aux=True)
    args = (jnp.zeros(2), FeedForward(1, ()), slot, slot.fit.rows)
    found, (recorded, average) = slope(*args, jnp.zeros(2), True)
    np.testing.assert_array_equal(average, [1, 3])
    np.testing.assert_allclose(recorded, 5)  # of the fixed weights
    np.testing.assert_allclose(found, -2 * (0.25 * 1 + 0.75 * 3), rtol=1e-6)  # e / mean e = 1/2 and 3/2
    _, (_, average) = slope(*args, jnp.asarray([2.0, 2.0]), False)
    np.testing.assert_allclose(average, [1.9, 2.1], rtol=1e-6)


def test_dynamic_weighting_of_some_nets_leaves_the_others_alone():
    problem = problem_of(stopping=False)
    nets = nets_of(4, epochs=30, noise=0)
    plain = train(problem, nets, patience=1)
    mixed = train(problem, replace(nets, gamma=np.array([0, 1, 0, 1], np.float32)), patience=1)
    np.testing.assert_allclose(mixed.loss[::2, :20], plain.loss[::2, :20], rtol=1e-3)
    assert (mixed.loss[1::2, -1, 0] != plain.loss[1::2, -1, 0]).all()


def test_an_operator_of_sums_is_learnt():
    """Two-year sums only; the identity written as an operator equals no operator."""
    base = problem_of(rows=40, stopping=True)
    identity = replace(base, operator=(np.arange(40), np.arange(40), np.ones(40, np.float32)))
    nets = nets_of(4, epochs=12)
    a, b = train(base, nets, patience=99), train(identity, nets, patience=99)
    np.testing.assert_allclose(a.loss, b.loss, rtol=2e-3, atol=1e-5)
    annual = base.rows @ np.array([1, -0.5, 0, 0, 0], np.float32)
    sums = annual.reshape(2, 20, 2).sum(axis=2)
    fit = np.full((2, 20), 0.05, np.float32)
    operator = (np.repeat(np.arange(20), 2), np.arange(40), np.ones(40, np.float32))
    problem = Problem(base.rows, sums, fit, np.zeros_like(fit), operator)
    nets = nets_of(2, [[0, 0]] * 2, learning_rate=0.02, noise=0, l1=0, epochs=700)
    out = train(problem, nets, patience=1)
    balance = forward(out.layout, out.parameters, nets.columns, nets.widths, base.rows, nets.matrix)[:, 0]
    np.testing.assert_allclose(balance, annual, atol=0.02)


# ---- stopping and going on ---------------------------------------------------------------------------------------


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("after", [1, 5, 9])
def test_resume_equals_no_stop(tmp_path, after):
    problem = problem_of()
    nets = nets_of(14, epochs=45, gamma=1)
    shape = shape_of(problem, nets, block=2)
    whole = train(problem, nets, patience=6, shape=shape)
    file, calls = tmp_path / "kept" / "state.npz", []

    def progress(done, epochs):
        calls.append((done, epochs))
        if len(calls) == after:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(problem, nets, patience=6, shape=shape, checkpoint=file, every=0, progress=progress)
    assert file.exists()
    begun = []
    resumed = train(
        problem, nets, patience=6, shape=shape, checkpoint=file, every=0, progress=lambda done, ran: begun.append(ran)
    )
    same(whole, resumed)
    assert begun[-1] < whole.epochs.sum()  # it did not begin anew
    begun.clear()
    same(whole, train(problem, nets, patience=6, shape=shape, checkpoint=file, progress=lambda *_: begun.append(1)))
    assert not begun  # nothing left to do
    assert [f.name for f in file.parent.iterdir()] == ["state.npz"]


def test_a_checkpoint_that_cannot_be_used_is_put_aside_and_training_begins_anew(tmp_path):
    problem, nets, file = problem_of(), nets_of(2, epochs=5), tmp_path / "state.npz"
    whole = train(problem, nets, patience=6, checkpoint=file)
    sound, number = file.read_bytes(), 0
    other = replace(nets, seed=nets.seed + 1)
    np.savez(tmp_path / "unrelated.npz", unrelated=1)
    middle = len(sound) // 2
    flipped = sound[:middle] + bytes([sound[middle] ^ 1]) + sound[middle + 1 :]
    contents = {
        "another training": [sound, (tmp_path / "unrelated.npz").read_bytes()],
        "damaged": [b"", sound[:300], flipped, b"not an archive at all"],
    }
    for told, damaged in contents.items():
        for content in damaged:
            file.write_bytes(content)
            number += 1
            now = other if content == sound else nets
            with pytest.warns(UserWarning, match=f"{told}.*state.npz.unusable-{number},"):
                trained = train(problem, now, patience=6, checkpoint=file)
            same(trained, train(problem, other, patience=6) if now is other else whole)
            assert (tmp_path / f"state.npz.unusable-{number}").read_bytes() == content


def test_one_shape_serves_different_nets_without_a_second_compilation():
    problem = problem_of()
    first, second = nets_of(4, (6, 3), epochs=11, gamma=1), nets_of(5, (4, 0), epochs=12)
    shape = shape_of(problem, first)
    train(problem, first, patience=3, shape=shape)
    before = segment._cache_size()  # noqa: SLF001
    out = train(problem, second, patience=3, shape=shape)
    assert segment._cache_size() == before  # noqa: SLF001
    np.testing.assert_allclose(out.loss[:, 0], train(problem, second, patience=3).loss[:, 0], rtol=1e-4)


# ---- other machines ----------------------------------------------------------------------------------------------

ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
import jax
import test_nets as t
from glacmb_grid.learning.nets.train import _lanes
problem, nets = t.problem_of(), t.nets_of(13, epochs=25)
shape = t.shape_of(problem, nets, block=4)
out = t.train(problem, nets, patience=3, shape=shape)
np.savez(sys.argv[2], devices=jax.device_count(), lanes=_lanes(), parameters=out.parameters, loss=out.loss,
         best_epoch=out.best_epoch, epochs=out.epochs)
"""


def elsewhere(folder, prefix=(), **variables):
    file = folder / "out.npz"
    subprocess.run(
        [*prefix, sys.executable, "-c", ELSEWHERE, os.path.dirname(__file__), str(file)],  # noqa: PTH120
        env=os.environ | variables,
        check=True,
    )
    return SimpleNamespace(**np.load(file))


def test_two_devices_equal_one(tmp_path):
    problem, nets = problem_of(), nets_of(13, epochs=25)
    here = train(problem, nets, patience=3, shape=shape_of(problem, nets, block=4))
    there = elsewhere(tmp_path, XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert there.devices == 2
    np.testing.assert_allclose(there.loss[:, :4], here.loss[:, :4], rtol=1e-3)
    np.testing.assert_array_equal(there.best_epoch, here.best_epoch)
    np.testing.assert_allclose(there.parameters, here.parameters, atol=1e-3)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cannot choose cores here")
def test_the_number_of_cores_changes_nothing(tmp_path):
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core only")
    problem, nets = problem_of(), nets_of(13, epochs=25)
    here = train(problem, nets, patience=3, shape=shape_of(problem, nets, block=4))
    try:
        os.sched_setaffinity(0, {min(cores)})
        there = elsewhere(tmp_path)
    finally:
        os.sched_setaffinity(0, cores)
    assert there.lanes == 1
    same(here, there)


def test_the_compilation_cache_lies_where_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = jax.config.jax_compilation_cache_dir
    try:
        assert enable_compilation_cache() == tmp_path / "glacmb_grid" / "compiled"
        assert enable_compilation_cache(tmp_path / "mine").is_dir()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "mine")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_checkpoint_written_while_another_lane_keeps_a_net_does_not_call_it_finished(tmp_path, monkeypatch):
    """Arrays are written one after the other: what is finished is copied before the results are."""
    module = import_module("glacmb_grid.learning.nets.train")
    problem, nets = problem_of(), nets_of()
    run = module._Run(problem, nets, shape_of(problem, nets), 5)  # noqa: SLF001
    run.file = tmp_path / "state"

    def slow(file, digest, arrays):
        run.finished[:] = True
        assert not arrays["finished"].any()

    monkeypatch.setattr(module, "save", slow)
    run.save()
    assert run.finished.all()


# ---- nets that begin with given parameters ----------------------------------------------------------------------


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_frozen_layers_keep_what_they_begin_with_and_the_others_learn(frozen):
    problem, nets = problem_of(stopping=False), nets_of(frozen=frozen)
    layout = shape_of(problem, nets).layout
    start = initial(nets, layout) + np.float32(0.01)
    trained = train(problem, nets, patience=30, start=start)
    for number, place in enumerate(places_of(layout)):
        kernel, bias = (place[n].ravel() for n in ("kernel", "bias"))
        for where in (kernel, bias):
            same_as_before = (trained.parameters[:, where] == start[:, where]).all(axis=1)
            assert same_as_before.all() == (number < frozen)
            assert same_as_before.any() == (number < frozen)


def test_nets_that_begin_with_what_they_would_draw_are_the_same_and_frozen_neighbours_do_not_matter():
    problem, nets = problem_of(), nets_of()
    plain = train(problem, nets, patience=30)
    same(plain, train(problem, nets, patience=30, start=initial(nets, plain.layout)))
    some = nets_of(frozen=np.array([0, 1, 0, 2, 0, 0]))
    shape = shape_of(problem, some)
    mixed = train(problem, some, patience=30, shape=shape)
    free = np.flatnonzero(some.frozen == 0)
    same(mixed, train(problem, nets, patience=30, shape=shape), free)
