"""Stages as data: what is declared is what is read, handed over and written; and fits as jobs on a cluster."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import signal
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import cloudpickle
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import glacmb_grid
from glacmb_grid.config import load_config
from glacmb_grid.folds.schemes import make_folds
from glacmb_grid.learning.contract import Task, fit_model
from glacmb_grid.learning.registry import model_of
from glacmb_grid.settings import Compute, TableConfig
from glacmb_grid.stores import artefacts
from glacmb_grid.stores.artefacts import Artefact, leaves
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.stores.work import Work
from glacmb_grid.workflow import cluster, runner
from glacmb_grid.workflow.cubes import make_predictors, make_terrain, read_glaciers
from glacmb_grid.workflow.currency import differences, status
from glacmb_grid.workflow.engines import Engine, OnCluster
from glacmb_grid.workflow.runner import run
from glacmb_grid.workflow.stages import Option, Source, Stage, options
from glacmb_grid.workflow.table import table


def quiet(_):
    """Say nothing."""


@pytest.fixture(scope="module")
def configs(world, tmp_path_factory):
    """A run from cubes, one without albedo, and one of a table."""
    folder = tmp_path_factory.mktemp("configs")
    whole = load_config(world.at(folder, observations={"geodetic": {"path": "raw/rates.csv"}}))
    roles = {"path": folder / "table.csv", "glacier": "g", "year": "y", "target": "b", "target_units": "m w.e."}
    own = TableConfig(name="own", samples=roles, store={"root": folder / "out"}, validation={"models": "all"})
    return {"cubes": whole, "no albedo": whole.model_copy(update={"albedo": None}), "table": own}


@pytest.fixture(params=["cubes", "no albedo", "table"])
def stages(configs, request):
    return table(configs[request.param])


def read_by(stage):
    return [a for _, a in leaves(dict(stage.reads)) if isinstance(a, Artefact)]


def written_by(stage):
    return [a for _, a in leaves(dict(stage.writes))]


def test_what_a_stage_reads_was_written_by_one_before_it(stages):
    written = set()
    for stage in stages:
        assert set(read_by(stage)) <= written, stage.name
        assert {a.stage for a in written_by(stage)} == {stage.name}
        files = [a.file for a in written_by(stage)]
        assert len(set(files)) == len(files), stage.name
        written |= set(written_by(stage))


def test_a_function_takes_what_its_stage_declares_and_nothing_else(stages):
    """So no result can depend on a setting, an input or a result that its mark does not hold."""
    for stage in stages:
        handed = {n for n, one in stage.reads.items() if not (isinstance(one, Source) and one.open is None)}
        handed |= set(stage.options)
        taken = inspect.signature(stage.make).parameters
        wanted = {n for n, p in taken.items() if p.kind is p.KEYWORD_ONLY}
        needed = {n for n in wanted if taken[n].default is inspect.Parameter.empty}
        assert needed <= handed <= wanted, stage.name


def test_a_change_of_any_setting_that_a_function_is_handed_is_in_the_mark(stages):
    for stage in stages:
        assert {o.key for o in stage.options.values()} <= set(stage.settings), stage.name
        for source in stage.sources:
            assert set(source.settings) <= set(stage.settings)


def test_names_of_result_files_are_known_in_one_place(configs):
    names = {a.file for c in configs.values() for s in table(c) for a in written_by(s)} - {""}
    assert {"scores.csv", "glacier_annual.nc", "samples.zarr", "failed.csv"} <= names | {artefacts.PRODUCT_FILE.file}
    folder = Path(artefacts.__file__).parents[1]
    found = []
    for file in folder.rglob("*.py"):
        module = file.relative_to(folder).as_posix()
        if module in ("stores/artefacts.py", "stores/formats.py", "failures.py") or module.startswith("synthetic/"):
            continue
        nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        texts = [n for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]
        found += [f"{module}:{n.lineno}: {n.value}" for n in texts if n.value in names]
    assert found == []


# ---- the runner: reads, hands over, writes ----


def one_stage(make, **parts):
    return Stage("samples", make, **parts)


TABLE = Artefact("samples", "a.csv")
MAYBE = Artefact("samples", "b.csv", optional=True)
SEVERAL = {"x": Artefact("samples", "x.json", "json"), "y": Artefact("samples", "y.json", "json")}


def made_by(stage, config, monkeypatch):
    """Run this stage alone."""
    monkeypatch.setattr(runner, "table", lambda _: [stage])
    monkeypatch.setattr("glacmb_grid.workflow.currency.table", lambda _: [stage])
    monkeypatch.setattr("glacmb_grid.workflow.guards.table", lambda _: [stage])
    run(config, say=quiet)
    return config.root / "samples"


@pytest.fixture
def plain(tmp_path, monkeypatch):
    """A configuration, and a function that runs a stage of it."""
    (tmp_path / "t.csv").write_text("g,y,b\n")
    roles = {"path": tmp_path / "t.csv", "glacier": "g", "year": "y", "target": "b", "target_units": "m w.e."}
    config = TableConfig(name="own", samples=roles, store={"root": tmp_path / "out"}, validation={"models": ["mean"]})
    return config, lambda stage: made_by(stage, config, monkeypatch)


def test_results_are_written_as_they_are_declared_and_read_back(plain):
    def make(work, *, level):
        stored = work.keep("several", {"level": level}, "x")
        return {"table": pd.DataFrame({"level": [stored["level"]]}), "several": {"y": [1, 2]}, "maybe": None}

    config, go = plain
    writes = {"table": TABLE, "several": SEVERAL, "maybe": MAYBE}
    folder = go(one_stage(make, writes=writes, options=options(config, level="scores.level")))
    store = RunStore(config.root)
    assert artefacts.read(store, TABLE)["level"].tolist() == [0.9]
    assert artefacts.read(store, SEVERAL["x"]) == {"level": 0.9}
    assert artefacts.read(store, SEVERAL["y"]) == [1, 2]
    assert artefacts.read(store, MAYBE) is None
    assert not (folder / "b.csv").exists()
    assert store.mark("samples")["settings"] == {"scores.level": 0.9}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"table": pd.DataFrame({"a": [1]}), "other": 1}, "does not declare the result other"),
        ({}, r"did not make a\.csv"),
        ({"table": None}, r"did not make a\.csv"),
    ],
)
def test_a_result_that_is_not_declared_or_is_missing_is_refused_and_nothing_is_left(plain, made, message):
    config, go = plain
    with pytest.raises(ValueError, match=message):
        go(one_stage(lambda work: made, writes={"table": TABLE, "maybe": MAYBE}))
    assert not (config.root / "samples").exists()


def test_a_dataset_that_is_not_what_its_schema_says_is_not_written(plain):
    config, go = plain
    with pytest.raises(glacmb_grid.InputError, match=r"samples/samples\.zarr"):
        go(one_stage(lambda work: {"samples": xr.Dataset()}, writes={"samples": artefacts.SAMPLES}))
    assert not (config.root / "samples").exists()


def test_an_option_is_handed_as_something_else_where_it_says_so():
    assert Option("k", 1).given == 1
    assert Option("k", [1], "one").given == "one"
    assert Option("k", None).given is None


def test_a_stage_that_reads_another_one_more_or_no_longer_says_so():
    old = {"key": "a", "needs": {"samples": "1", "folds": "2"}, "read": {"samples": "s", "folds": "f"}}
    new = {"key": "b", "needs": {"samples": "1", "learning/mean": "3"}, "read": {"samples": "s", "learning/mean": "m"}}
    why = differences({**old, "version": "0"}, {**new, "version": "0", "settings": {}, "inputs": {}})
    assert why == ["stage learning/mean is now read too", "stage folds is no longer read"]


# ---- functions of stages are pure: they run without a store ----


def test_stages_can_be_called_with_datasets_alone(world, tmp_path):
    from glacmb_grid.workflow import sources

    config = load_config(world.run(tmp_path, link=True))
    store, said = RunStore(config.root), []
    glaciers = read_glaciers(Work(say=said.append), outlines=sources.outlines(config).open())["outlines"]
    assert len(said) == 1
    made = make_terrain(Work(), outlines=glaciers, dem=sources.elevation(config).open(), min_coverage=0.5)
    stored = artefacts.read(store, artefacts.TERRAIN)
    np.testing.assert_allclose(made["terrain"]["elevation_mean"], stored["elevation_mean"])
    parts = make_predictors(
        Work(),
        outlines=glaciers,
        sampled=artefacts.read(store, artefacts.SAMPLED),
        terrain=made["terrain"],
        failed={"terrain": pd.DataFrame({"glacier": [glaciers.index[0]], "reason": ["too steep"]})},
        predictors=config.predictors,
        lapse_rate=config.sampling.lapse_rate,
        albedo=artefacts.read(store, artefacts.ALBEDO),
    )["predictors"]
    (whole,) = parts
    assert whole["glacier"].values.tolist() == glaciers.index[1:].tolist()


# ---- fits as jobs ----


class Recorded:
    """A dask client that does no work, and records what is sent and submitted."""

    def __init__(self):
        self.sent, self.jobs, self.cancelled = [], [], []

    def scatter(self, value, **options):
        assert options == {"broadcast": True, "hash": False}
        self.sent.append(value)
        return "sent", len(self.sent) - 1

    def submit(self, function, model, *arguments, pure):
        assert not pure, "equal fits of two stages are two jobs"
        self.jobs.append(arguments)
        return Waiting()

    def cancel(self, jobs):
        self.cancelled += jobs

    def scheduler_info(self):
        return {"workers": {"one": {}}}


class Waiting:
    """A job that has not begun."""

    def done(self):
        return False


@pytest.fixture(scope="module")
def learnt(toys):
    samples = toys.samples(toys.predictors())
    return samples, make_folds(samples, "logo", blocks=3, inner=2)


@pytest.mark.cluster
def test_tables_are_sent_once_and_not_with_every_job_and_jobs_are_cancelled_where_nobody_waits(learnt, monkeypatch):
    samples, folds = learnt
    client = Recorded()
    monkeypatch.setattr("distributed.as_completed", lambda jobs: iter(()))
    base = fit_model(model_of("mean"), Task(samples, folds))
    tasks = {"a": Task(samples, folds, built_on={"mean": base}), "b": Task(samples, folds.take(range(len(folds))))}
    assert list(OnCluster("test", client).fit(model_of("ridge"), tasks, quiet)) == []
    assert len(client.jobs) == 2 * len(folds.blocks)
    assert len(client.sent) == 4, "samples, folds of a, what a is built on, folds of b"
    assert all(job[0] == ("sent", 0) for job in client.jobs)
    assert len(client.cancelled) == len(client.jobs)


@pytest.mark.cluster
def test_workers_that_an_active_client_does_not_heed_are_told(monkeypatch):
    monkeypatch.setattr(cluster, "_active_client", lambda: object())
    said = []
    with cluster.scheduler(Compute(workers=3), said.append) as engine:
        assert engine.description == "the active dask client"
    assert len(said) == 1
    assert "`compute.workers` has no effect" in said[0]
    with cluster.scheduler(Compute(workers=3, scheduler="threads"), said.append) as engine:
        assert engine.description == "3 threads"
    with cluster.scheduler(Compute(), said.append):
        pass
    assert len(said) == 1


@pytest.mark.cluster
@pytest.mark.slow
def test_an_active_client_does_the_work_of_a_run_with_the_same_numbers(world, tmp_path):
    """Two worker processes, without a word in the configuration: every fit, score and product is that of threads."""
    from distributed import Client

    models = ["mean", "ridge", "temperature_index", "ff_fcnn", "extra_trees_neighbours", "blend"]
    changes = {
        "validation": {"schemes": ["logo", "loyo"], "models": models},
        "models": {"extra_trees": {"trees": 5}, "blend": {"models": ["ridge", "ff_fcnn"]}},
    }
    here, there = (load_config(world.at(tmp_path / n, **changes)) for n in ("here", "there"))
    run(here, say=quiet)
    said = []
    with Client(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"):
        run(there, say=said.append)
    log = json.loads((there.root / "run.json").read_text())["runs"][0]
    assert log["workers"] == "the active dask client"
    assert any("job 1 of" in line for line in said)
    compared = 0
    for stage in table(here):
        if stage.on_request:
            continue
        for artefact in written_by(stage):
            if artefact.kind == "dataset" and (here.root / stage.name / artefact.file).exists():
                xr.testing.assert_identical(
                    artefacts.read(RunStore(here.root), artefact).load(),
                    artefacts.read(RunStore(there.root), artefact).load(),
                )
                compared += 1
        for name in ("scores.csv", "predictions.csv", "predictions.parquet", "glacier_annual.nc"):
            path = here.root / stage.name / name
            assert not path.exists() or path.read_bytes() == (there.root / stage.name / name).read_bytes(), path
    assert compared >= 20
    assert {s for n, s, _ in status(there) if n not in ("audit", "study")} == {"current"}


@dataclass(frozen=True)
class Killing(type(model_of("mean"))):
    """A model whose fit ends the process that it runs in, as the system does for want of memory."""

    def fit(self, task):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Heard(type(model_of("mean"))):
    """A model whose fit warns."""

    def fit(self, task):
        warnings.warn("a checkpoint is damaged", UserWarning, stacklevel=1)
        return super().fit(task)


@pytest.fixture
def by_value():
    """Classes of this file reach workers, which cannot import it."""
    here = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(here)
    yield
    cloudpickle.unregister_pickle_by_value(here)


@pytest.mark.cluster
def test_a_worker_that_dies_in_a_fit_is_a_clear_error_and_a_warning_of_a_worker_is_heard(learnt, by_value):
    samples, folds = learnt
    mean = model_of("mean")
    with cluster.scheduler(Compute(scheduler="distributed", workers=1)) as engine:
        with pytest.warns(UserWarning, match="a checkpoint is damaged"):
            found = dict(engine.fit(Heard("mean", mean.settings), {"logo": Task(samples, folds)}, quiet))
        xr.testing.assert_identical(found["logo"], fit_model(mean, Task(samples, folds)))
    with (
        pytest.raises(glacmb_grid.InputError, match="one was killed"),
        cluster.scheduler(Compute(scheduler="distributed", workers=1)) as engine,
    ):
        list(engine.fit(Killing("mean", mean.settings), {"logo": Task(samples, folds)}, quiet))


@pytest.mark.cluster
def test_an_asynchronous_client_is_refused_and_a_named_scheduler_comes_before_a_client():
    from distributed import Client

    async def within():
        async with Client(processes=False, asynchronous=True, dashboard_address=":0"):
            with pytest.raises(glacmb_grid.InputError, match="an asynchronous one"), cluster.scheduler(Compute()):
                pass
            with cluster.scheduler(Compute(scheduler="threads", workers=1)) as engine:
                return engine.description

    assert asyncio.run(within()) == "1 threads"


def test_another_order_of_models_is_another_evaluation(world, tmp_path):
    path = world.run(tmp_path, link=True)
    config = load_config(path, ["validation.models=[ff_fcnn, mean, ridge]"])
    assert run(config, say=quiet) == ["evaluation", "products", "regional"]
    scores = artefacts.read(RunStore(config.root), artefacts.EVALUATION["scores"])
    assert list(dict.fromkeys(scores["model"])) == ["ff_fcnn", "mean", "ridge", "year_mean"]


def test_a_run_of_a_table_says_each_note_of_its_reader_once(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(g, y, rng.normal(), y % 7, 1.0) for g in "abcd" for y in range(2000, 2008)]
    pd.DataFrame(rows, columns=["g", "y", "b", "x", "constant"]).to_csv(tmp_path / "t.csv", index=False)
    roles = {"path": tmp_path / "t.csv", "glacier": "g", "year": "y", "target": "b", "target_units": "m w.e."}
    config = TableConfig(name="own", samples=roles, store={"root": tmp_path / "out"}, validation={"models": ["mean"]})
    said = []
    run(config, stage="samples", say=said.append)
    notes = [line for line in said if "note: " in line]
    assert any("constant" in line for line in notes)
    assert len(set(notes)) == len(notes)


def test_an_engine_here_fits_task_after_task(learnt):
    samples, folds = learnt
    ((name, found),) = Engine("threads").fit(model_of("mean"), {"logo": Task(samples, folds)}, quiet)
    assert name == "logo"
    xr.testing.assert_identical(found, fit_model(model_of("mean"), Task(samples, folds)))


def test_a_task_can_ask_for_a_part_of_its_folds(learnt):
    samples, folds = learnt
    task = Task(samples, folds, part=tuple(folds.blocks[1].tolist()))
    assert task.own.name.tolist() == folds.name[folds.blocks[1]].tolist()
    assert replace(task, part=None).own is folds
