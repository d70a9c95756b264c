"""The entry of a run: its memory is its own."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from glacmb_grid.workflow.log import peak_memory

ASK = "from glacmb_grid.workflow.log import peak_memory; {}print(peak_memory())"


def ask(before=""):
    done = subprocess.run([sys.executable, "-c", ASK.format(before)], check=True, capture_output=True, text=True)
    return float(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the system gives no record of this kind")
def test_the_memory_of_a_run_is_not_that_of_the_process_that_started_it():
    small = ask()
    held = np.ones(100_000_000)  # 0.8 GB, touched: what a notebook may hold
    assert peak_memory() > 0.8
    assert abs(ask() - small) < 0.1
    del held


def test_memory_that_was_held_and_given_back_counts_and_so_does_a_child_s():
    small = ask()
    assert 0.35 < ask("x = bytearray(400_000_000); x[::4096] = b'1' * len(x[::4096]); del x; ") - small < 0.5
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', \"x = b'1' * 900_000_000\"]); "
    assert ask(child) > 0.85
