"""The built wheel works by itself: away from the checkout, with nothing but its dependencies around it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "glacmb_grid"

pytestmark = pytest.mark.slow

IMPORT_ALL = f"""
import importlib, pkgutil
import {PACKAGE}
print({PACKAGE}.__file__)
for module in pkgutil.walk_packages({PACKAGE}.__path__, "{PACKAGE}."):
    if not module.name.endswith("__main__"):
        print(importlib.import_module(module.name).__file__)
"""


def output_of(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Standard output of a command that must succeed, without the checkout on its path."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=kept | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Path:
    """Folder into which a freshly built wheel was installed, without its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    output_of(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=ROOT)
    (wheel,) = folder.glob("*.whl")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        folder / "site",
    ]
    output_of(*pip, wheel, cwd=folder)
    return folder / "site"


def package_files(folder: Path) -> set[Path]:
    files = (path.relative_to(folder) for path in (folder / PACKAGE).rglob("*") if path.is_file())
    return {path for path in files if "__pycache__" not in path.parts}


def test_it_carries_every_file_of_the_package(target):
    expected = package_files(ROOT)
    assert Path(PACKAGE, "py.typed") in expected
    assert package_files(target) == expected


def test_every_module_imports_from_the_wheel_and_not_from_the_checkout(target, tmp_path):
    files = output_of(sys.executable, "-c", IMPORT_ALL, cwd=tmp_path, PYTHONPATH=str(target)).split("\n")
    modules = {Path(file) for file in files if file}
    assert modules == {path for path in (target / PACKAGE).rglob("*.py") if path.name != "__main__.py"}


def test_its_command_runs(target, tmp_path):
    environment = {"PYTHONPATH": str(target)}
    by_module = output_of(sys.executable, "-m", PACKAGE, "--help", cwd=tmp_path, **environment)
    by_script = output_of(target / "bin" / "glacmb-grid", "--help", cwd=tmp_path, **environment)
    assert "run" in by_module
    assert "run" in by_script
