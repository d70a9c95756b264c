"""The command line: what it prints, what it returns, and that a user's mistake never ends in a traceback."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml

from glacmb_grid.cli import main


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
        "import sys\nfrom glacmb_grid import cli\nfor i in range(20000):\n    cli._say('line')\n"
        "open(sys.argv[1], 'w').write('went on')\n"
    )
    done = tmp_path / "done"
    command = f'{sys.executable} -c "$CODE" {done} | head -1'
    subprocess.run(["bash", "-c", command], env={**os.environ, "CODE": code}, check=True, capture_output=True)
    assert done.read_text() == "went on"
