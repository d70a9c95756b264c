"""The command line: what it prints, what it returns, and that a user's mistake never ends in a traceback."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

import glacmb_grid as package
from glacmb_grid.cli import looking, main
from glacmb_grid.cli.commands import app
from glacmb_grid.cli.options import STATUSES
from glacmb_grid.cli.speech import choose_manner, say, tell
from glacmb_grid.progress import clock

CHECK_THAT_STOPS = """
import sys
import glacmb_grid.workflow.check as checking
from glacmb_grid.cli import main
right = checking.check_links
def stopping(*arguments):
    print("stopped", flush=True)
    sys.stdin.readline()
    return right(*arguments)
checking.check_links = stopping
sys.exit(main(["check", sys.argv[1]]))
"""
"""A check that waits for a line before it links sites and outlines."""


@pytest.fixture
def broken(tmp_path):
    """A configuration whose files are all missing."""
    content = {
        "glaciers": {"path": "nothing.shp"},
        "climate": {"files": "era5_*.nc", "accumulated": "daily_mean"},
        "elevation": {"files": "dem.tif"},
        "observations": {"path": "balance.csv", "units": "mm w.e."},
    }
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_check_lists_all_problems_at_once(broken, capsys):
    assert main(["check", str(broken)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    for name in ("nothing.shp", "era5_*.nc", "dem.tif"):
        assert name in told
    assert "Traceback" not in told
    assert told.count("remedy:") >= 3


def test_check_tells_what_it_found_while_it_looks_further(world, tmp_path):
    """Each line goes out by itself, where nobody reads on a terminal either."""
    done = subprocess.Popen(
        [sys.executable, "-c", CHECK_THAT_STOPS, str(world.at(tmp_path))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said = list(iter(done.stdout.readline, "stopped\n"))
        assert "ok: 6 glaciers" in "".join(said)
        assert done.poll() is None, "it is still looking"
        rest, _ = done.communicate("\n", timeout=100)
    finally:
        done.kill()
    assert done.returncode == 0
    assert rest.startswith("ok: ")
    assert not set(said) & set(rest.splitlines(keepends=True))


def test_run_names_the_missing_file(broken, tmp_path, capsys):
    assert main(["run", str(broken), "--set", f"store.root={tmp_path / 'out'}"]) == 1
    assert "nothing.shp" in capsys.readouterr().err


def test_a_misspelt_key_names_the_nearest(broken, capsys):
    broken.write_text(broken.read_text().replace("elevation:", "elevatoin:"))
    assert main(["status", str(broken)]) == 1
    told = capsys.readouterr().err
    assert "elevatoin" in told
    assert "did you mean 'elevation'?" in told


def test_status_before_anything_ran(broken, tmp_path, capsys):
    assert main(["status", str(broken), "--set", f"store.root={tmp_path / 'out'}"]) == 0
    told = capsys.readouterr().out
    assert "glaciers" in told
    assert "blocked" in told


def test_synth_check_run_and_run_again(tmp_path, capsys):
    raw = tmp_path / "raw"
    assert main(["synth", str(raw), "--glaciers", "8", "--measured", "4", "--years", "2001", "2005", "--plain"]) == 0
    assert "truth" in capsys.readouterr().out
    content = {
        "glaciers": {"path": "raw/rgi/RGI2000-v7.0-G-13_synthetic.gpkg"},
        "climate": {
            "files": "raw/era5_land/era5_land_monthly_*.nc",
            "invariant": "raw/era5_land/era5_land_invariant.nc",
            "accumulated": "daily_mean",
            "variables": ["t2m", "tp"],
        },
        "elevation": {"files": "raw/dem/astgtm_synthetic_dem.tif"},
        "observations": {
            "path": "raw/fog/FOG_EE_MASS_BALANCE.csv",
            "units": "mm w.e.",
            "links": {"positions": "raw/fog/FOG_A_GLACIER.csv"},
        },
        "validation": {"models": ["mean", "temperature_index"], "schemes": ["logo"]},
        "product": {"model": "temperature_index"},
        "store": {"root": "here"},
    }
    config = tmp_path / "own.yaml"
    config.write_text(yaml.safe_dump(content))
    assert main(["check", str(config)]) == 0
    assert "8 glaciers" in capsys.readouterr().out
    assert main(["run", str(config)]) == 0
    told = capsys.readouterr().out
    assert "out of fold, m w.e." in told
    assert "RMSE" in told
    assert "logo, nested, n = " in told
    assert "temperature_index" in told
    assert str(tmp_path / "here" / "products" / "glacier_annual.nc") in told
    assert "what beat what" in told
    assert main(["run", str(config)]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["status", str(config)]) == 0
    assert "stale" not in capsys.readouterr().out
    assert main(["run", str(config), "--stage", "predictors", "--set", "sampling.lapse_rate=-0.005"]) == 0
    told = capsys.readouterr().out
    assert "not current with this configuration" in told
    assert "RMSE" not in told
    assert main(["check", str(config), "--set", "climate.accumulated=hourly_mean"]) in (0, 1)
    capsys.readouterr()
    assert main(["run", str(config), "--set", "climate.accumulated=hourly_mean"]) == 1
    assert "climate.accumulated" in capsys.readouterr().err


def test_a_reader_that_goes_away_does_not_stop_a_run(tmp_path):
    code = (
        "import sys\nfrom glacmb_grid.cli.speech import say\nfor i in range(20000):\n    say('line')\n"
        "open(sys.argv[1], 'w').write('went on')\n"
    )
    done = tmp_path / "done"
    command = f'{sys.executable} -c "$CODE" {done} | head -1'
    subprocess.run(["bash", "-c", command], env={**os.environ, "CODE": code}, check=True, capture_output=True)
    assert done.read_text() == "went on"


# ---- what is said, and how ----


def glacmb_grid(*arguments, **environment):
    command = [sys.executable, "-m", "glacmb_grid", *map(str, arguments)]
    return subprocess.run(
        command, env={**os.environ, **environment}, check=False, capture_output=True, text=True, timeout=120
    )


def commands():
    return [c.name for c in app.registered_commands]


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"glacmb-grid {package.__version__}\n"


def test_help_lists_every_command_whole(capsys):
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert len(commands()) >= 11
    for name in commands():
        assert f"  {name} " in told
    assert "..." not in told.replace("[ARGS]...", "")


@pytest.mark.parametrize("name", commands())
def test_help_of_a_command_has_examples_that_parse_and_its_exit_statuses(name, capsys):
    assert main([name, "--help"]) == 0
    told = capsys.readouterr().out
    lines = told[told.index("Examples:") :].splitlines()[1:]
    examples = [line.strip() for line in lines if line.strip().startswith("glacmb-grid ")]
    assert examples
    group = typer.main.get_command(app)
    for example in examples:
        words = shlex.split(example.partition(" > ")[0])[1:]
        assert words[0] == name
        command = group.commands[name]
        with command.make_context(name, words[1:], parent=None) as context:
            assert context.params
    assert "Exit status: 0 all well" in told
    assert "130 interrupted" in " ".join(told.split())


def test_help_does_not_wait_for_heavy_libraries():
    heavy = ("jax", "xarray", "pandas", "geopandas", "numpy", "rasterio", "dask", "scipy", "matplotlib", "bokeh")
    code = (
        "import sys\nfrom glacmb_grid.cli import main\n"
        f"main(['--help']); main(['run', '--help'])\nsys.exit(', '.join(n for n in {heavy} if n in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stderr.strip() == "", "modules that --help imports"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Missing command"),
        (["nonsense"], "No such command 'nonsense'"),
        (["run"], "Missing argument"),
        (["run", "own.yaml", "--bad"], "No such option: --bad"),
        (["export", "own.yaml", "netcdf"], "glambie2"),
        (["synth", "raw", "--years", "2000"], "--years"),
    ],
)
def test_a_wrong_command_line_is_told_with_its_usage_and_ends_with_2(arguments, told, capsys):
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    assert leaving.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    usage, sign, _ = said.err.rpartition("error: ")
    assert sign
    assert usage.startswith("Usage: glacmb-grid")
    assert told in said.err


def test_errors_have_a_traceback_only_where_it_is_asked_for(broken, capsys):
    assert main(["check", str(broken)]) == 1
    plain = capsys.readouterr().err
    assert "Traceback" not in plain
    assert main(["check", str(broken), "--debug"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("Traceback")
    assert told.endswith(plain)


def test_an_error_that_nobody_foresaw_is_told_without_a_traceback(monkeypatch, capsys):
    def act(*_, **__):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(looking, "status", act)
    assert main(["status", "any.yaml"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ZeroDivisionError: a fault of ours\n")
    assert "--debug" in told
    assert "Traceback" not in told
    assert main(["status", "any.yaml", "--debug"]) == 1
    assert "in act" in capsys.readouterr().err


def test_long_errors_are_not_wrapped_and_nothing_is_coloured_where_no_terminal_is(tmp_path):
    name = tmp_path / ("long_" * 30 + "name.yaml")
    for environment in ({}, {"COLUMNS": "40", "FORCE_COLOR": "1", "NO_COLOR": "1"}):
        done = glacmb_grid("status", name, **environment)
        assert done.returncode == 1
        assert any(str(name) in line for line in done.stderr.splitlines())
        assert "\x1b" not in done.stdout + done.stderr


def test_quiet_leaves_answers_and_verbose_adds_times(capsys):
    choose_manner(quiet=True)
    say("progress")
    tell("answer")
    assert capsys.readouterr().out == "answer\n"
    choose_manner(verbose=True)
    say("progress")
    assert capsys.readouterr().out == "   0:00  progress\n"
    choose_manner()
    say("progress")
    assert capsys.readouterr().out == "progress\n"


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0:00"), (48.4, "0:48"), (59.6, "1:00"), (130, "2:10"), (3730, "1:02:10")]
)
def test_durations_are_read_as_on_a_clock(seconds, told):
    assert clock(seconds) == told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell):
    wanted = {
        "bash": {"_GLACMB_GRID_COMPLETE": "complete_bash", "COMP_WORDS": "glacmb-grid sta", "COMP_CWORD": "1"},
        "zsh": {"_GLACMB_GRID_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "glacmb-grid sta"},
        "fish": {
            "_GLACMB_GRID_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_ARGS": "glacmb-grid sta",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    }[shell]
    done = glacmb_grid(**wanted)
    assert "status" in done.stdout, done.stderr
    assert "append" not in done.stdout


DOCS = (Path(__file__).parents[1] / "docs" / "command_line.md").read_text(encoding="utf-8")


def test_the_docs_have_each_command_with_an_example_that_parses():
    listed = re.findall(r"^\| `([a-z-]+)` \|", DOCS.split("## From files")[0], re.MULTILINE)
    assert sorted(listed) == sorted(commands())
    examples = [shlex.split(line)[1:] for line in re.findall(r"^glacmb-grid .*", DOCS, re.MULTILINE)]
    group = typer.main.get_command(app)
    seen = set()
    for words in examples:
        if words[0] in group.commands:
            kept = words[1 : words.index(">")] if ">" in words else words[1:]
            with group.commands[words[0]].make_context(words[0], kept):
                seen.add(words[0])
    assert seen == set(commands())


def test_the_docs_say_what_exit_statuses_say():
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", DOCS, re.MULTILINE)
    assert {int(number): text for number, text in rows} == STATUSES
