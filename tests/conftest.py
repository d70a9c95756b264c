"""Settings of all tests: the real data, JAX on the CPU, plots without a display, repeatable properties."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # before anything imports jax
os.environ["MPLBACKEND"] = "Agg"

import pytest
from hypothesis import settings

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data; a test that uses it carries the mark ``real``."""
    folder = os.environ.get("GLACMB_DATA")
    if not folder:
        pytest.skip("GLACMB_DATA is not set: it names the folder of the real data")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.skip(f"GLACMB_DATA={folder} is not a folder")
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """With GLACMB_REQUIRE_REAL=1 a skipped test on real data is a failure: CI must not pass without them."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and item.get_closest_marker("real") and os.environ.get("GLACMB_REQUIRE_REAL") == "1":
        report.outcome = "failed"
        report.longrepr = f"GLACMB_REQUIRE_REAL=1, yet skipped: {call.excinfo.value}"
    return report
