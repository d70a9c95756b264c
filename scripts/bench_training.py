#!/usr/bin/env python3
"""Speed of training: many small nets at once against loops over single ones, in the same run.

Work: a net 27-40-20-10-5-1, 109 rows (87 fitted, 22 for early stopping), noise on the predictors, L1, Adam, the best
epoch kept. A net-epoch is one step on the fitted rows and one look at the stopping rows. Prints a table; with --json
also a list of {name, value, unit, goal, meets}. PyTorch is no dependency: without it that rival is left out.

Floating point operations are counted for products only (forward and both backward products of the fitted rows, none
into the predictors; forward of the stopping rows), two for each multiply-add, without padding, activations or Adam.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from glacmb_grid.learning.compilation import enable_compilation_cache
from glacmb_grid.learning.degree_days import SETTINGS
from glacmb_grid.learning.nets import Nets, Problem, shape_of, train
from glacmb_grid.learning.nets.held import Constraints
from glacmb_grid.learning.nets.index import CHANGES, Forcing, IndexNet, index_arrays
from glacmb_grid.settings import TemperatureIndex
from glacmb_grid.workflow.log import peak_memory

WIDTHS, PREDICTORS, ROWS, STOPPING = (40, 20, 10, 5), 27, 109, 22
RATE, NOISE, L1 = 0.003, 0.1, 1e-3
FOLDS, INNER, CONFIGURATIONS, MEMBERS, CANDIDATES, EPOCHS, PATIENCE = 10, 5, 64, 50, 271, 1000, 60
Line = tuple[str, float | None, str, float | None, bool]  # name, value, unit, goal, whether more is better


def table(matrices: int = 1, splits: int = 5, predictors: int = PREDICTORS) -> Problem:
    """A made-up table: noise and a few predictors that matter."""
    draws = np.random.default_rng(0)
    rows = draws.normal(size=(1, ROWS, predictors)).astype(np.float32)
    signal = rows[0, :, :6] @ np.array([1, -0.7, 0.5, 0.3, 0.2, 0.1]) + 0.3 * np.abs(rows[0, :, 0])
    target = signal + 0.7 * draws.normal(size=ROWS)
    target = ((target - target.mean()) / target.std()).astype(np.float32)
    stop = np.zeros((splits, ROWS), np.float32)
    for part in stop:
        part[draws.permutation(ROWS)[:STOPPING]] = 1 / STOPPING
    fit = np.where(stop > 0, 0, np.float32(1 / (ROWS - STOPPING)))
    return Problem(np.repeat(rows, matrices, axis=0), target[None], fit, stop)


def same_nets(count: int, epochs: int) -> Nets:
    """Nets that differ in seed and split only."""
    zero, one = np.zeros(count, int), np.ones(count, np.float32)
    return Nets(
        zero,
        zero,
        np.arange(count) % 5,
        np.ones((count, PREDICTORS), bool),
        np.tile(WIDTHS, (count, 1)),
        one * RATE,
        one * NOISE,
        one * L1,
        0 * one,
        zero > 0,
        zero + epochs,
        np.arange(count),
    )


def mixed_nets(count: int, splits: int, configurations: int) -> Nets:
    """A search: every split meets the same configurations of all hyper-parameters."""
    draws = np.random.default_rng(1)
    architectures = np.array([[40, 20, 10, 5], [40, 20, 0, 0], [20, 10, 5, 0], [16, 0, 0, 0]])
    which = np.arange(count) % configurations
    share = draws.permuted(np.tile(np.arange(CANDIDATES), (count, 1)), axis=1)  # any k of the candidates
    return Nets(
        np.zeros(count, int),
        np.zeros(count, int),
        np.arange(count) // configurations % splits,
        share < np.array([10, 20, 27, 40])[which // 4 % 4][:, None],
        architectures[which % 4],
        np.array([0.001, 0.003, 0.01], np.float32)[which % 3],
        np.array([0.0, 0.1, 0.3], np.float32)[which % 3],
        np.array([1e-4, 1e-3, 1e-2, 3e-2], np.float32)[which // 16 % 4],
        np.where(which % 8 == 7, 1, 0).astype(np.float32),
        np.zeros(count, bool),
        np.full(count, EPOCHS),
        np.arange(count),
    )


def operations() -> float:
    """Floating point operations of a net-epoch, as said above."""
    sizes = (PREDICTORS, *WIDTHS, 1)
    products = sum(a * b for a, b in zip(sizes[1:], sizes[:-1], strict=True))
    fitted = ROWS - STOPPING
    return 2 * (fitted * (3 * products - sizes[0] * sizes[1]) + STOPPING * products)


def fastest(work: Callable[[], Any], repeat: int) -> float:
    """Seconds of the best of several runs: what others do on the machine only adds."""
    seconds = []
    for _ in range(repeat):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def product_rate(repeat: int) -> float:
    """Float32 operations per second of a large product on all cores."""
    matrix, dot = jnp.ones((2048, 2048)), jax.jit(jnp.matmul)
    host = np.ones((2048, 2048), np.float32)
    dot(matrix, matrix).block_until_ready()
    works = [lambda: dot(matrix, matrix).block_until_ready()]
    if jax.default_backend() == "cpu":
        works.append(lambda: host @ host)
    return 2 * 2048**3 / min(fastest(work, 3 * repeat) for work in works)


def with_torch(epochs: int) -> float | None:
    """Seconds of a net-epoch in a PyTorch loop; one thread, which is its fastest on nets as small as these."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    problem, generator = table(), torch.Generator().manual_seed(0)
    fitted = torch.from_numpy(problem.fit[0] > 0)
    x, y = torch.from_numpy(problem.rows[0]), torch.from_numpy(problem.target[0])
    x_fit, y_fit, x_stop, y_stop = x[fitted], y[fitted], x[~fitted], y[~fitted]
    layers: list[Any] = []
    for inputs, units in zip((PREDICTORS, *WIDTHS), WIDTHS, strict=False):
        layers += [torch.nn.Linear(inputs, units), torch.nn.SiLU()]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(WIDTHS[-1], 1))
    kernels = [p for p in net.parameters() if p.ndim == 2]
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE)
    best, kept = float("inf"), {}

    def run(epochs: int) -> None:
        nonlocal best, kept
        for _ in range(epochs):
            optimiser.zero_grad()
            noisy = x_fit + NOISE * torch.randn(x_fit.shape, generator=generator)
            loss = ((net(noisy)[:, 0] - y_fit) ** 2).mean() + L1 * sum(k.abs().sum() for k in kernels)
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                stopping = ((net(x_stop)[:, 0] - y_stop) ** 2).mean().item()
            if stopping < best:
                best, kept = stopping, {k: v.clone() for k, v in net.state_dict().items()}

    run(20)
    return fastest(lambda: run(epochs), 3) / epochs


def with_sklearn(epochs: int) -> float | None:
    """Seconds of a net-epoch of scikit-learn's MLPRegressor; it has no noise, L2 for L1, and looks at no other rows."""
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPRegressor
    except ImportError:
        return None
    problem = table()
    fitted = problem.fit[0] > 0
    options = {"batch_size": int(fitted.sum()), "max_iter": epochs, "n_iter_no_change": epochs, "tol": 0.0, "alpha": L1}
    net = MLPRegressor(hidden_layer_sizes=WIDTHS, learning_rate_init=RATE, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return fastest(lambda: net.fit(problem.rows[0][fitted], problem.target[0][fitted]), 3) / epochs


def with_nets(count: int, epochs: int, block: int | None, repeat: int) -> float:
    """Seconds of a net-epoch of this package, everything in it, compilation excepted."""
    problem, nets = table(), same_nets(count, epochs)
    shape = shape_of(problem, nets, block)
    train(problem, nets[: shape.block], patience=epochs, shape=shape)
    return fastest(lambda: train(problem, nets, patience=epochs, shape=shape), repeat) / (count * epochs)


def with_index(count: int, epochs: int, bands: int, repeat: int, months: bool = False) -> float:
    """How many times as long a net-epoch takes with a temperature index of so many bands behind the network.

    `months`: with changes by month.
    """
    problem, nets = table(), same_nets(count, epochs)
    draws, one = np.random.default_rng(3), np.ones(count, np.float32)
    season = -5 - 10 * np.cos(2 * np.pi * np.arange(12) / 12)[:, None]
    weather = Forcing(
        (season + draws.normal(size=(12, ROWS))).astype(np.float32),
        draws.gamma(4, 0.02, (12, ROWS)).astype(np.float32),
        np.full((12, ROWS), 30.4, np.float32),
        draws.normal(0, 200, (bands, ROWS)).astype(np.float32),
        np.full(ROWS, 1 / ROWS, np.float32),
    )
    base = index_arrays([(0.006, 0.6, 0.0)] * count, [(2, 2, 2, 1.5)] * count, one, 0.1 * one, one if months else None)
    local = np.repeat([[[0.0], [1.3], [1.0], [0.0]]], ROWS, axis=2).astype(np.float32)
    hybrid, many = replace(problem, forcing=weather, local=local), replace(nets, index=base)
    fixed = tuple(float(getattr(TemperatureIndex(), n)) for n in SETTINGS)
    layout = IndexNet(PREDICTORS, WIDTHS, len(CHANGES), form="multipliers", fixed=fixed, months=months)
    plain, changed = shape_of(problem, nets), shape_of(hybrid, many)._replace(layout=layout)
    seconds = []
    for data, members, shape in ((problem, nets, plain), (hybrid, many, changed)):
        train(data, members[: shape.block], patience=epochs, shape=shape)
        seconds.append(fastest(partial(train, data, members, patience=epochs, shape=shape), repeat))
    return seconds[1] / seconds[0]


def one_at_a_time(count: int, epochs: int) -> float:
    """Seconds of a net-epoch where the same compiled function is given one net after the other."""
    problem, nets = table(), same_nets(count, epochs)
    shape = shape_of(problem, nets, 1)

    def work() -> None:
        for net in range(count):
            train(problem, nets[[net]], patience=epochs, shape=shape)

    work()
    return fastest(work, 2) / (count * epochs)


def compile_seconds() -> float:
    """Seconds that the first segment of the search takes more than the second one."""
    problem = table(splits=5, predictors=CANDIDATES)
    nets = replace(mixed_nets(64, 5, 64), epochs=np.full(64, 10))
    begun = time.perf_counter()
    train(problem, nets, patience=99)
    middle = time.perf_counter()
    train(problem, nets, patience=99)
    return (middle - begun) - (time.perf_counter() - middle)


def search(share: float) -> dict[str, float]:
    """The nets of a full nested run, or a share of its folds, without the selection of predictors."""
    folds = max(1, round(FOLDS * share))
    problem = table(splits=folds * INNER, predictors=CANDIDATES)
    tuned = mixed_nets(folds * INNER * CONFIGURATIONS, folds * INNER, CONFIGURATIONS)
    final = mixed_nets(folds * MEMBERS, folds * INNER, 1)
    final = replace(final, widths=np.tile(WIDTHS, (len(final), 1)), split=np.arange(len(final)) % (folds * INNER))
    shape = shape_of(problem, tuned)  # the final nets are no larger
    begun = time.perf_counter()
    epochs = sum(int(train(problem, nets, patience=PATIENCE, shape=shape).epochs.sum()) for nets in (tuned, final))
    seconds = time.perf_counter() - begun
    return {"nets": len(tuned) + len(final), "epochs": epochs, "seconds": seconds, "gigabytes": peak_memory()}


def held(epochs: float) -> dict[str, float]:
    """A hundred nets of a table of 1,000 rows that are held to rates of 20,000 glaciers over 20 years each."""
    problem, draws, glaciers, years = table(splits=5), np.random.default_rng(3), 20_000, 20
    rows = draws.normal(size=(1, glaciers * years, PREDICTORS)).astype(np.float32)
    place = np.arange(glaciers * years).reshape(glaciers, years)
    weight = np.ones(place.shape, np.float32)
    target, precision = draws.normal(size=(1, glaciers)), np.full((1, glaciers), 0.2)
    rates = Constraints(
        rows, place, weight, target.astype(np.float32), precision.astype(np.float32), np.ones((5, glaciers), bool)
    )
    many = np.tile(np.arange(ROWS), 10)
    repeated = replace(problem, rows=problem.rows[:, many], target=problem.target[:, many], rates=rates)
    repeated = replace(repeated, fit=problem.fit[:, many] / 10, stop=problem.stop[:, many] / 10)
    nets = replace(same_nets(100, int(epochs)), geodetic=np.full(100, 0.01, np.float32))
    shape = shape_of(repeated, nets)
    begun = time.perf_counter()
    train(repeated, nets, patience=int(epochs), shape=shape)
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "gigabytes": peak_memory(), "drawn": shape.rates.drawn, "block": shape.block}


def samples_of(values: Any, target: Any, glacier: Any, year: Any) -> Any:
    """A table of predictors that nothing is known of, (row, predictor): every row observed once."""
    import xarray as xr

    from glacmb_grid.samples import with_operator
    from glacmb_grid.vocabulary import Meaning, meaning_coordinates
    from glacmb_grid.weights import identity

    names = [f"S{i}" for i in range(len(values))]
    predictors = [f"x{i}" for i in range(values.shape[1])]
    samples = xr.Dataset(
        {"predictors": (("row", "predictor"), values), "mass_balance": ("sample", target)},
        coords={
            "predictor": np.array(predictors, dtype=object),
            "sample": np.array(names, dtype=object),
            "glacier": ("sample", glacier),
            "year": ("sample", year),
            "row_glacier": ("row", glacier),
            "row_year": ("row", year),
            **meaning_coordinates([Meaning(n) for n in predictors]),
        },
    )
    return with_operator(samples, identity(names))


def full_nested_run(share: float) -> dict[str, float]:
    """The model `ff_fcnn` on 109 x 271 of noise and signal: selection, search and ensembles in a share of the folds."""
    import numpy as np

    from glacmb_grid.folds.schemes import make_folds
    from glacmb_grid.learning.registry import fit
    from glacmb_grid.settings import FeedForward, Recipe

    rng = np.random.default_rng(1)
    rows = 109
    values = rng.normal(size=(rows, CANDIDATES))
    group = np.array([f"G{i % FOLDS}" for i in range(rows)], dtype=object)
    target = 0.4 * values[:, :8].sum(axis=1) / np.sqrt(8) + 0.2 * rng.normal(size=rows)
    samples = samples_of(values, target, group, 2000 + np.arange(rows) // FOLDS)
    folds = make_folds(samples, "logo", inner=INNER).take(range(max(1, round(FOLDS * share))))
    selected = [Recipe(correlation=0.1, collinearity=0.95, keep=k) for k in (27, 9)]
    settings = FeedForward(
        recipes=selected,
        widths=[WIDTHS, (20, 10), (16,), (8,)],
        learning_rate=[0.003, 0.01],
        input_noise=[0.1, 0.3],
        l1=[1e-4, 1e-3],
        members=MEMBERS,
        epochs=1000,
        patience=PATIENCE,
        configurations=CONFIGURATIONS,
    )
    begun = time.perf_counter()
    found = fit("ff_fcnn", samples, folds, settings, seed=1)
    seconds = time.perf_counter() - begun
    searched = found["inner_loss"].notnull().any("part").sum().item()
    final = found["loss"].notnull().any("part").sum().item()
    return {
        "chosen_epochs": searched / (found.sizes["fold"] * found.sizes["inner"]),
        "final_epochs": final / (found.sizes["fold"] * MEMBERS),
        "configurations": found.sizes["candidate"],
        "seconds": seconds,
        "gigabytes": peak_memory(),
    }


TABLES = (  # model, rows, predictors, groups, seconds that it may take
    ("ridge", 1184, 363, 44, 60.0),
    ("ridge", 480, 2000, 30, 60.0),
    ("extra_trees", 1047, 40, 72, 180.0),
    ("random_forest", 1047, 40, 72, 180.0),
)


def wide_table(number: float) -> dict[str, float]:
    """One of `TABLES`, leaving one group out, with the recipes and alternatives that are the defaults."""
    import numpy as np

    from glacmb_grid.folds.schemes import make_folds
    from glacmb_grid.learning.registry import fit

    model, rows, columns, groups, _ = TABLES[int(number)]
    rng = np.random.default_rng(0)
    factors = rng.normal(size=(rows, 20))
    values = 0.7 * factors @ rng.normal(size=(20, columns)) + rng.normal(size=(rows, columns))
    target = values[:, :5] @ [0.3, -0.2, 0.2, 0.1, 0.1] + 0.5 * rng.normal(size=rows)
    glacier = np.array([f"G{i:03d}" for i in np.sort(np.arange(rows) % groups)], dtype=object)
    year = 1950 + np.arange(rows) % 60
    samples = samples_of(values, target, glacier, year)
    folds = make_folds(samples, "logo", parts=groups)
    begun = time.perf_counter()
    fit(model, samples, folds)
    return {"seconds": time.perf_counter() - begun, "gigabytes": peak_memory(), "folds": len(folds)}


def tables() -> list[Line]:
    """Models on wide and long tables."""
    lines: list[Line] = []
    for number, (model, rows, columns, _, goal) in enumerate(TABLES):
        found = apart("table", number)
        name = f"{model} on {rows} x {columns}, {found['folds']:.0f} folds"
        lines.append((name, found["seconds"], "s", goal, False))
        lines.append((f"{name}: peak memory", found["gigabytes"], "GB", None, False))
    return lines


def apart(task: str, argument: float = 0.0, **variables: str) -> Any:
    """Result of `search` or `compile_seconds` in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--task", task, str(argument)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ | variables)
    return json.loads(out.stdout.splitlines()[-1])


def measure(quick: bool) -> list[Line]:
    """All figures."""
    lines: list[Line] = []
    repeat = 2 if quick else 4
    rate = product_rate(repeat)
    lines.append(("large float32 product", rate / 1e9, "GFLOP/s", None, True))
    torch = with_torch(300 if quick else 1500)
    many = with_nets(*((320, 40) if quick else (1000, 60)), None, 2 * repeat)
    rate = max(rate, product_rate(repeat))
    lines.append(("net-epoch, this package", 1e3 * many, "ms", None, False))
    if torch is None:
        lines.append(("net-epoch, PyTorch loop (not installed: pip install torch==2.13.0)", None, "ms", None, False))
    else:
        lines.append(("net-epoch, PyTorch loop", 1e3 * torch, "ms", None, False))
        lines.append(("PyTorch loop / this package (must)", torch / many, "x", 20.0, True))
        lines.append(("PyTorch loop / this package (aim)", torch / many, "x", 30.0, True))
    sklearn = with_sklearn(100 if quick else 500)
    lines.append(("net-epoch, scikit-learn loop", None if sklearn is None else 1e3 * sklearn, "ms", None, False))
    lines.append(("net-epoch, JAX one net at a time", 1e3 * one_at_a_time(4, 100 if quick else 300), "ms", None, False))
    for bands, months in ((1, False), (10, False), (10, True)):
        ratio = with_index(*((128, 40) if quick else (512, 60)), bands, repeat, months)
        name = f"net-epoch with a temperature index of {bands} band{'s' * (bands > 1)}{', by month' * months} / without"
        lines.append((name, ratio, "x", 2.0 if bands == 1 else None, False))
    lines.append(("operations of a net-epoch", operations() / 1e6, "MFLOP", None, True))
    lines.append(("share of the large product's rate (aim)", 100 * operations() / many / rate, "%", 40.0, True))
    with tempfile.TemporaryDirectory() as folder:
        cold, warm = (apart("compile", JAX_COMPILATION_CACHE_DIR=folder) for _ in range(2))
    lines.append(("compilation, cold", cold, "s", 10.0, False))
    lines.append(("compilation, from the persistent cache", warm, "s", 10.0, False))
    device = jax.devices()[0].device_kind
    if jax.default_backend() == "cpu":
        if not quick:
            several = with_nets(10_000, 20, None, 1)
            lines.append((f"10,000 nets on {os.cpu_count()} cores", 1 / several, "net-epochs/s", None, True))
        lines.append(("10,000 nets on a GPU: no GPU at hand", None, "net-epochs/s", None, True))
    else:
        several = with_nets(10_000, 500, None, 2)
        lines.append((f"10,000 nets on {device}, 500 epochs", 1 / several, "net-epochs/s", None, True))
        if torch is not None:
            lines.append(("PyTorch loop on a CPU / this device (aim)", torch / several, "x", 1000.0, True))
    found = apart("search", 0.1 if quick else 1.0)
    name = f"search and final nets of {'a tenth of ' if quick else ''}the nested run ({found['nets']:.0f} nets)"
    lines.append((f"{name}: net-epochs really run", found["epochs"], "", None, True))
    lines.append((f"{name}: time", found["seconds"], "s", 36.0 if quick else 360.0, False))
    lines.append((f"{name}: per net-epoch", 1e3 * found["seconds"] / found["epochs"], "ms", None, False))
    lines.append((f"{name}: peak memory", found["gigabytes"], "GB", 4.0, False))
    epochs = 60 if quick else 600
    found = apart("held", epochs)
    name = f"100 nets, {epochs} epochs, held to rates of 20,000 glaciers x 20 years"
    lines.append((f"{name}: time", found["seconds"], "s", epochs, False))
    lines.append((f"{name}: peak memory", found["gigabytes"], "GB", 4.0, False))
    found = apart("nested", 0.1 if quick else 1.0)
    name = f"{'a tenth of ' if quick else ''}the nested run through the model, selection included"
    lines.append((f"{name}: configurations", found["configurations"], "", None, True))
    lines.append((f"{name}: epochs of a chosen net in the search", found["chosen_epochs"], "", None, True))
    lines.append((f"{name}: epochs of a final net", found["final_epochs"], "", None, True))
    lines.append((f"{name}: time (must)", found["seconds"], "s", 12.0 if quick else 120.0, False))
    lines.append((f"{name}: time (aim)", found["seconds"], "s", 6.0 if quick else 60.0, False))
    lines.append((f"{name}: peak memory", found["gigabytes"], "GB", 4.0, False))
    return lines


def main() -> None:
    """Measure, print, and write the JSON file where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less of everything, about a minute")
    parser.add_argument("--tables", action="store_true", help="ridge and trees on wide and long tables instead")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--task", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        task, argument = arguments.task
        if task == "compile":
            enable_compilation_cache(Path(os.environ["JAX_COMPILATION_CACHE_DIR"]))
        work = {"compile": lambda share: compile_seconds(), "search": search, "nested": full_nested_run}
        work |= {"table": wide_table, "held": held}
        print(json.dumps(work[task](float(argument))))
        return
    rows = []
    for name, value, unit, goal, more in tables() if arguments.tables else measure(arguments.quick):
        meets = None if goal is None or value is None else bool(value >= goal if more else value <= goal)
        rows.append({"name": name, "value": value, "unit": unit, "goal": goal, "meets": meets})
    width = max(len(row["name"]) for row in rows)
    print(f"{'':{width}} {'value':>12} {'unit':12} {'goal':>8} meets")
    for row in rows:
        value = (
            "-" if row["value"] is None else f"{row['value']:,.4g}" if row["value"] < 1e5 else f"{row['value']:,.0f}"
        )
        goal = "" if row["goal"] is None else f"{row['goal']:g}"
        meets = {None: "", True: "yes", False: "no"}[row["meets"]]
        print(f"{row['name']:{width}} {value:>12} {row['unit']:12} {goal:>8} {meets}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
