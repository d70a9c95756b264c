"""Small doors: the environment, spreadsheets, the network, dying processes, full disks, impatient people."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import psutil
import pytest
import xarray as xr
import yaml

from glacmb_grid.cli import looking, main
from glacmb_grid.cli.speech import say
from glacmb_grid.config import load_config
from glacmb_grid.disk import INTERNAL, MARK
from glacmb_grid.errors import InputError
from glacmb_grid.settings import Compute
from glacmb_grid.stores import artefacts
from glacmb_grid.stores.formats import read_zarr
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.synthetic import write_region
from glacmb_grid.workflow import cluster, cubes, runner
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.runner import run

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "glacmb_grid"]


def quiet(_):
    """Say nothing."""


# ---- the environment ----


def test_what_comes_from_the_environment_is_not_written(world, tmp_path, monkeypatch):
    secret = "hunter2-of-the-environment"
    monkeypatch.setenv("TOKEN", secret)
    monkeypatch.setenv("FOLDER", str(tmp_path / "raw" / "fog"))
    path = world.run(
        tmp_path,
        product={"title": "by ${TOKEN}", "institution": "${TOKEN}"},
        observations={"path": "${FOLDER}/FOG_EE_MASS_BALANCE.csv"},
        compute={"address": "tcp://${TOKEN}:8786"},
    )
    config = load_config(path)
    assert config.product.title == f"by {secret}", "in use it is what it stands for"
    run(config, say=quiet)
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert len(written) > 100
    for file in written:
        assert secret.encode() not in file.read_bytes(), file
    configuration = json.loads((tmp_path / "out" / "run.json").read_text())["runs"][-1]["configuration"]
    assert configuration["product"]["title"] == "by ${TOKEN}"
    assert configuration["compute"]["address"] == "tcp://${TOKEN}:8786"
    assert configuration["observations"]["path"] == "FOG_EE_MASS_BALANCE.csv"
    with xr.open_dataset(tmp_path / "out" / "products" / "glacier_annual.nc") as product:
        assert product.attrs["title"] == "by ${TOKEN}"
        assert product.attrs["institution"] == "${TOKEN}"
    mark = json.loads((tmp_path / "out" / "products" / MARK).read_text())
    assert mark["settings"]["product.title"] == "by ${TOKEN}"


def test_another_value_of_the_environment_is_noticed_though_none_is_written(world, tmp_path, monkeypatch):
    monkeypatch.setenv("SEED", "1")
    config = load_config(world.run(tmp_path, link=True, seed="${SEED}"))
    assert {s for n, s, _ in status(config) if n not in ("audit", "study")} == {"current"}
    monkeypatch.setenv("SEED", "2")
    states = {n: (s, why) for n, s, why in status(load_config(tmp_path / "own.yaml"))}
    assert states["folds"] == ("stale", "setting seed: 1 -> 2; stage plan changed")
    monkeypatch.setenv("TITLE", "one")
    run(load_config(world.run(tmp_path / "b", link=True, product={"title": "${TITLE}"})), say=quiet)
    monkeypatch.setenv("TITLE", "two")
    states = {n: (s, why) for n, s, why in status(load_config(tmp_path / "b" / "own.yaml"))}
    assert states["products"] == ("stale", "an environment variable that it uses has another value")


# ---- spreadsheets ----


def test_no_name_of_a_table_becomes_a_formula(tmp_path):
    rng = np.random.default_rng(0)
    names = ["=cmd|'/c calc'!A1", "+41 Glacier", "-Gletscher", "@SUM(A1)", "plain", "'=quoted"]
    data = pd.DataFrame({"g": np.repeat(names, 4), "y": np.tile(np.arange(2001, 2005), 6), "country": "=1+1"})
    data = data.assign(b=rng.normal(0, 0.5, 24), x=rng.normal(0, 1, 24), z=rng.normal(0, 1, 24))
    data.to_csv(tmp_path / "table.csv", index=False)
    roles = {"path": "table.csv", "glacier": "g", "year": "y", "target": "b", "target_units": "m w.e."}
    content = {
        "samples": {**roles, "region": "country"},
        "validation": {"schemes": ["logo"], "models": ["mean", "ridge"], "inner": 2, "holdout": ["@SUM(A1)"]},
        "models": {"ridge": {"recipes": [{}], "penalties": [1.0]}},
        "scores": {"bootstrap": 100},
        "store": {"root": "out"},
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    assert main(["evaluate", str(tmp_path / "own.yaml")]) == 0
    assert main(["score-holdout", str(tmp_path / "own.yaml")]) == 0
    tables = list((tmp_path / "out").rglob("*.csv"))
    assert {"predictions.csv", "scores.csv", "slices.csv", "leaks.csv"} <= {t.name for t in tables}
    for table in tables:
        for cell in pd.read_csv(table, dtype=str, keep_default_na=False).to_numpy().ravel():
            if cell[:1] in "=+-@" and cell[:1]:
                assert re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", cell), f"{table}: {cell}"
    predictions = pd.read_csv(tmp_path / "out" / "evaluation" / "predictions.csv")
    assert "'=cmd|'/c calc'!A1" in set(predictions["glacier"])
    samples = read_zarr(tmp_path / "out" / "samples" / "samples.zarr")
    assert set(samples["glacier"].values) == set(names), "in Zarr and Parquet names are as they are"


def test_glaciers_that_fail_are_known_by_their_own_name_again(world, tmp_path):
    """Through a table in which it is escaped: one that failed must stay out of all later stages."""
    import geopandas as gpd
    import shapely

    path = world.at(tmp_path, validation={"models": ["mean"]}, product={"model": "mean"})
    outlines = tmp_path / "raw" / "rgi" / "RGI2000-v7.0-G-13_synthetic.gpkg"
    table = gpd.read_file(outlines)
    table.loc[5, "rgi_id"] = "-0005"
    table.loc[5, "geometry"] = shapely.transform(table.geometry[5], lambda c: c + np.array([7.0, 0.0]))
    outlines.unlink()
    table.to_file(outlines)
    assert main(["run", str(path), "--set", "product.truth=null"]) == 3
    tables = list((tmp_path / "out").rglob("failed.csv"))
    assert len(tables) >= 2, "of the stage and of the run"
    listed = {name for t in tables for name in pd.read_csv(t)["glacier"]}
    assert listed == {"'-0005"}
    product = read_zarr(tmp_path / "out" / "products" / "glacier_annual.zarr")
    assert len(product["glacier_id"]) == 5
    assert "-0005" not in product["glacier_id"].values


# ---- the network ----


def listening():
    """Addresses on which this process and its children listen."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return {c.laddr for p in processes for c in p.net_connections("inet") if c.status == psutil.CONN_LISTEN}


def web_page(address):
    with socket.create_connection(tuple(address), timeout=5) as connection:
        connection.sendall(b"GET /status HTTP/1.0\r\n\r\n")
        return connection.recv(100)


@pytest.mark.cluster
@pytest.mark.parametrize("dashboard", [False, True])
def test_schedulers_of_ours_listen_to_this_machine_only_and_show_a_dashboard_only_when_asked(dashboard):
    before, said = listening(), []
    with cluster.scheduler(Compute(scheduler="distributed", workers=1, dashboard=dashboard), said.append) as told:
        assert told.description == "1 local worker processes"
        assert dask.delayed(sum)([1, 2]).compute() == 3
        opened = listening() - before
        assert opened
        assert {a.ip for a in opened} <= {"127.0.0.1", "::1"}
        shown = [line.split("//")[1].split("/")[0].split(":") for line in said]
        assert len(shown) == dashboard
        for host, port in shown:
            assert b" 200 " in web_page((host, int(port)))
        if not dashboard:
            assert 8787 not in {a.port for a in opened}
            http = {a for a in opened if not _speaks_dask(a)}
            assert all(b" 404 " in web_page(a) for a in http)


def _speaks_dask(address):
    """A scheduler or worker greets first; a web server waits to be asked."""
    with socket.create_connection(tuple(address), timeout=5) as connection:
        connection.settimeout(1)
        try:
            return bool(connection.recv(10))
        except TimeoutError:
            return False


# ---- processes that die ----


@pytest.mark.parametrize("scheduler", ["processes", pytest.param("distributed", marks=pytest.mark.cluster)])
def test_a_killed_worker_process_is_a_clear_error_and_no_hang(scheduler):
    import distributed  # noqa: F401 - reads its configuration, of which one value is changed here

    kill = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    began = time.monotonic()
    with (
        pytest.raises(InputError, match="one was killed") as raised,
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        cluster.scheduler(Compute(scheduler=scheduler, workers=1)),
    ):
        dask.delayed(exec)(kill, {}).compute()
    assert "compute.workers" in raised.value.remedy
    assert time.monotonic() - began < 60


def test_a_run_whose_worker_was_killed_is_completed_by_the_next(world, tmp_path, monkeypatch, capsys):
    path = world.run(tmp_path, link=True)
    before = (tmp_path / "out" / "sampled" / MARK).read_bytes()
    pools = []

    class Pool(cluster.ProcessPoolExecutor):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            pools.append(self)

    def kill_a_worker(*arguments, **options):
        pools[0].submit(int).result()
        next(iter(pools[0]._processes.values())).kill()  # noqa: SLF001
        return real(*arguments, **options)

    real = artefacts.write_zarr
    monkeypatch.setattr(cluster, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(artefacts, "write_zarr", kill_a_worker)
    command = ["run", str(path), "--stage", "sampled", "--overwrite"]
    command += ["--set", "compute.scheduler=processes", "--set", "compute.workers=2"]
    assert main(command) == 1
    assert "worker processes that live until the work is done" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(command) == 0
    assert (tmp_path / "out" / "sampled" / MARK).read_bytes() == before


# ---- no room, no home ----

LIMITED = (
    "import resource, sys\nfrom glacmb_grid.cli import main\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))\n"
    "sys.exit(main(sys.argv[2:]))\n"
)


FEW = {"validation": {"models": ["mean", "ridge"]}, "product": {"model": "ridge"}}


@pytest.mark.parametrize("most", [9000, *(pytest.param(n, marks=pytest.mark.slow) for n in (500, 30_000))])
def test_where_nothing_more_can_be_written_the_error_is_clear_and_a_rerun_completes(world, shared, tmp_path, most):
    """Files may grow only so long, as on a disk that is full or under a quota: in any stage, by any library."""
    path = world.at(tmp_path, **FEW)
    command = [sys.executable, "-c", LIMITED, str(most), "run", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr
    assert "File too large" in done.stderr
    assert f"{tmp_path / 'out'}" in done.stderr
    assert "goes on from the last finished stage" in done.stderr
    config = load_config(path)
    run(config, say=quiet)
    assert {s for n, s, _ in status(config, whole=True) if n not in ("audit", "study")} == {"current"}
    fresh = shared("few-run", lambda folder: run(load_config(world.at(folder, **FEW)), say=quiet))
    for name in ("glacier_annual.nc", "truth_scores.csv", MARK):
        assert (config.root / "products" / name).read_bytes() == (fresh / "out" / "products" / name).read_bytes()


def test_what_goes_wrong_afterwards_does_not_hide_what_failed_first(world, tmp_path, monkeypatch, capsys):
    """Where a disk with the data went away, looking at the other stages fails too."""
    path = world.run(tmp_path)

    def gone(*_):
        raise InputError("data", expected="a folder", found="none", remedy="mount it")

    def broken(*_, **__):
        raise InputError("the first", expected="a", found="b", remedy="c")

    monkeypatch.setattr(runner, "_gather_failures", gone)
    monkeypatch.setattr(cubes, "read_glaciers", broken)
    assert main(["run", str(path), "--overwrite"]) == 1
    assert "error: the first" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "run.json").read_text())["runs"][-1]["outcome"] == "failed"


@pytest.mark.parametrize("method", ["append_log", "rewriting", "remember_inputs"])
def test_a_disk_that_is_full_when_the_run_is_logged_is_told_and_does_not_hide_what_failed_first(
    world, tmp_path, monkeypatch, capsys, method
):
    path = world.run(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RunStore, method, full)
    assert main(["run", str(path), "--stage", "plan", "--overwrite"]) == 1
    told = capsys.readouterr().err
    assert f"{tmp_path / 'out'}" in told
    assert "No space left on device" in told
    assert "goes on from the last finished stage" in told
    for file in (tmp_path / "raw" / "dem").iterdir():
        file.write_bytes(b"no elevation model")
    assert main(["run", str(path)]) == 1
    told = capsys.readouterr().err
    assert "raw/dem" in told
    assert "No space" not in told


def test_a_home_that_cannot_be_written_only_costs_time(world, tmp_path):
    path = world.run(tmp_path, link=True)
    environment = {k: v for k, v in os.environ.items() if k != "XDG_CACHE_HOME"} | {"HOME": "/proc/1/no-home"}
    command = [*COMMAND, "run", str(path), "--stage", "learning/ff_fcnn", "--overwrite"]
    before = (tmp_path / "out" / "learning" / "ff_fcnn" / MARK).read_bytes()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "learning" / "ff_fcnn" / MARK).read_bytes() == before


# ---- settings that nobody means ----


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("seed=-1", "seed"),
        ("seed=4294967296", "seed"),
        ("synthetic={seed: -3}", "synthetic.seed"),
        ("synthetic={glaciers: 4, measured: 5}", "synthetic"),
        ("compute.workers=0", "compute.workers"),
        ("name=../elsewhere", "name"),
        ("product.title=[1, 2", "YAML value"),
        ("product.title=2001-13-45", "YAML value"),
        ("scores.bootstrap=.nan", "scores.bootstrap"),
    ],
)
def test_a_setting_that_nobody_means_is_an_error(world, tmp_path, capsys, option, told):
    path = world.at(tmp_path)
    assert main(["check", str(path), "--set", option]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def bomb(levels=12):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        bomb(),
        "a: &a [*a]",
        "a: &a {b: *a}",
        "[" * 4000,
        "a: " + "[" * 900 + "]" * 900,
        "a: 2001-02-30",
        "a: !!python/object/apply:os.system [ls]",
        "a: \x00",
        "? [a, b]\n: c",
    ],
)
def test_a_configuration_that_would_fill_the_memory_or_the_stack_is_an_error(tmp_path, capsys, text):
    (tmp_path / "own.yaml").write_text(text)
    began = time.monotonic()
    assert main(["check", str(tmp_path / "own.yaml")]) == 1
    assert time.monotonic() - began < 60
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "own.yaml" in told


def test_aliases_that_a_person_writes_stay_allowed(tmp_path):
    config = load_config(ROOT / "configs" / "demo.yaml", [f"store.root={tmp_path}"])
    assert config.models.ridge.predictors == config.models.ff_fcnn.predictors
    assert len(config.models.ridge.predictors) > 5


# ---- impatient people ----


@pytest.fixture(autouse=True)
def _interrupts_arrive():
    """Also where the tests themselves are the background job of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_an_interrupt_at_any_moment_of_the_start_ends_it(world, tmp_path):
    """Also inside an import, where an exception can be lost; 130 or the signal itself, never a finished run."""
    path = world.at(tmp_path)
    for delay in np.linspace(0.05, 4, 12):
        with subprocess.Popen(
            [*COMMAND, "run", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        if "Could not import runpy module" in err:  # Python itself had not started yet
            continue
        assert process.returncode in (130, -signal.SIGINT), (delay, err)
        if process.returncode == 130:
            assert "interrupted; the same command goes on" in err
            assert "Traceback" not in err, err
    assert not (tmp_path / "out" / "products").exists()


def test_where_interrupts_are_ignored_from_the_start_they_stay_ignored(world, tmp_path):
    """A script's background job is not ended by the Ctrl-C that is meant for another command."""
    path = world.at(tmp_path)
    ignoring = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    with subprocess.Popen([*ignoring, *COMMAND, "check", str(path)], stdout=subprocess.PIPE) as process:
        time.sleep(0.5)  # until the shell has done it
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
    assert process.returncode == 0


def test_an_interrupt_that_a_library_swallows_is_raised_again(monkeypatch, capsys):
    said = []

    def act(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            said.append("swallowed")
        say("a line")
        said.append("went on")

    monkeypatch.setattr(looking, "status", act)
    before = signal.getsignal(signal.SIGINT)
    assert main(["status", "any.yaml"]) == 130
    assert said == ["swallowed"]
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
    assert main(["status", "any.yaml"]) == 130, "and again in the next call"


def test_lines_said_while_an_interrupt_is_under_way_do_not_stop_what_tidies_up(monkeypatch):
    tidied = []

    def act(*_, **__):
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            say("a line")
            tidied.append(1)

    monkeypatch.setattr(looking, "status", act)
    assert main(["status", "any.yaml"]) == 130
    assert tidied == [1]


def test_a_second_interrupt_ends_the_process_at_once():
    code = textwrap.dedent(
        """
        import signal, sys, time
        from glacmb_grid.cli import looking, main
        def act(*_, **__):
            for _ in range(2):
                try:
                    signal.raise_signal(signal.SIGINT)
                except KeyboardInterrupt:
                    pass
            time.sleep(30)
        looking.status = act
        sys.exit(main(["status", "any.yaml"]))
        """
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=25, capture_output=True)
    assert done.returncode == -signal.SIGINT


def test_in_another_thread_the_command_line_leaves_signals_alone(tmp_path):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(main(["status", str(tmp_path / "none.yaml")])))
    thread.start()
    thread.join()
    assert codes == [1]


# ---- places that our own commands and scripts write to ----


def test_a_synthetic_region_is_written_into_an_empty_folder_only(tmp_path, capsys):
    """Its tables have the names of the agencies' own: a user's would be overwritten."""
    (tmp_path / "data" / "fog").mkdir(parents=True)
    (tmp_path / "data" / "fog" / "FOG_EE_MASS_BALANCE.csv").write_text("mine")
    assert main(["synth", str(tmp_path / "data"), "--glaciers", "4", "--measured", "2"]) == 1
    assert "a new or empty folder, found fog" in capsys.readouterr().err
    assert (tmp_path / "data" / "fog" / "FOG_EE_MASS_BALANCE.csv").read_text() == "mine"
    for options in (["--seed", "-1"], ["--measured", "99"], ["--years", "2010", "2000"]):
        assert main(["synth", str(tmp_path / "new"), *options]) == 1
        assert "error: synth" in capsys.readouterr().err
    with pytest.raises(ValueError, match="seed"):
        write_region(tmp_path / "new", seed=-1)


def test_ingesting_into_the_results_of_a_run_is_refused(world, tmp_path, capsys):
    path = world.run(tmp_path)
    for place in ("samples/climate.zarr", f"{INTERNAL}/climate.zarr"):
        assert main(["ingest", str(path), str(tmp_path / "out" / place)]) == 1
        assert "a path outside the results of a run" in capsys.readouterr().err
        assert not (tmp_path / "out" / place).exists()


@pytest.mark.parametrize("memory", ["nan", "-1", "0", "inf", "much"])
def test_memory_that_nobody_has_is_refused(capsys, memory):
    with pytest.raises(SystemExit):
        main(["ingest", "own.yaml", "climate.zarr", "--memory", memory])
    assert "--memory" in capsys.readouterr().err


def test_ingesting_leaves_a_users_folder_alone(world, tmp_path, capsys):
    path = world.at(tmp_path)
    (tmp_path / ".partial-cube.zarr").mkdir()
    (tmp_path / ".partial-cube.zarr" / "notes").write_text("mine")
    assert main(["ingest", str(path), str(tmp_path / "cube.zarr")]) == 1
    assert ".partial-cube.zarr" in capsys.readouterr().err
    assert (tmp_path / ".partial-cube.zarr" / "notes").read_text() == "mine"
    assert not (tmp_path / "cube.zarr").exists()


def shell(code, **environment):
    command = ["bash", "-c", f"set -euo pipefail; source {ROOT / 'scripts' / '_setup.sh'}; {code}"]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("there", ["notes.txt", "bin/python", "pyvenv.cfg", ".stamp"])
def test_the_scripts_refuse_a_folder_that_is_no_environment_of_theirs(tmp_path, there):
    (tmp_path / "mine" / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "mine" / there).write_text("mine")
    (tmp_path / "mine.lock").write_text("the lock of something else")
    done = shell("set_up run", GLACMB_VENV=str(tmp_path / "mine"))
    assert done.returncode == 1
    assert "nothing was touched" in done.stderr
    assert "GLACMB_VENV" in done.stderr
    assert (tmp_path / "mine" / there).read_text() == "mine"
    assert (tmp_path / "mine.lock").read_text() == "the lock of something else"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "mine.lock"]


def test_the_scripts_refuse_a_file_or_a_link_in_place_of_the_environment(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        done = shell("set_up run", GLACMB_VENV=str(tmp_path / name))
        assert done.returncode == 1
        assert "is no folder" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize("mark", [".glacmb_grid-environment", ".stamp"])
def test_the_scripts_empty_an_environment_of_theirs_but_for_its_mark(tmp_path, mark):
    """`.stamp` is the mark of earlier versions."""
    own = tmp_path / "own"
    (own / "lib").mkdir(parents=True)
    (own / mark).write_text("3.11.7 123 456 /somewhere\nrun\n")
    made = (
        "uv() { [ $1 = --version ] || echo uv $*; }; find_python; require_own; mkdir -p $venv; make_venv; ls -A $venv"
    )
    done = shell(made, GLACMB_VENV=str(own))
    assert done.returncode == 0, done.stderr
    assert "uv venv --quiet --allow-existing" in done.stdout
    assert not (own / "lib").exists()
    left = done.stdout.splitlines()[1:]
    assert left == ([mark] if mark == ".glacmb_grid-environment" else [])
