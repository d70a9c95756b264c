"""Progress: what is counted and told, from loops, threads and dask; and that listening changes nothing."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
from rich.console import Console

from glacmb_grid import progress
from glacmb_grid.cli.bar import Board, shown
from glacmb_grid.progress import Step, counting, dask_tasks, heard_by, in_words, listener, track


@pytest.fixture
def steps(monkeypatch):
    """All steps that are told inside a test, however fast they follow each other."""
    monkeypatch.setattr(progress, "_SELDOM", 0.0)
    heard = []
    with heard_by(heard.append):
        yield heard


def test_a_loop_is_counted_from_its_first_item_to_its_end(steps):
    assert list(track("abc", "fold")) == ["a", "b", "c"]
    assert [(s.what, s.done, s.total, s.ended) for s in steps] == [
        ("fold", 0, 3, False),
        ("fold", 1, 3, False),
        ("fold", 2, 3, False),
        ("fold", 3, 3, False),
        ("fold", 3, 3, True),
    ]
    assert len({s.number for s in steps}) == 1


def test_a_loop_without_a_length_has_no_total_unless_it_is_given(steps):
    list(track(iter("ab"), "block"))
    list(track(iter("ab"), "block", 2))
    assert {s.total for s in steps} == {None, 2}


def test_a_loop_that_is_left_early_or_fails_has_ended(steps):
    for item in track(range(9), "fold"):
        if item == 2:
            break
    assert steps[-1].ended
    assert steps[-1].done == 2
    with pytest.raises(ZeroDivisionError), counting("net", 4) as count:
        count.reach(3 + 1 // (count.done - count.done))
    assert (steps[-1].done, steps[-1].ended) == (0, True)
    with pytest.raises(StopIteration), counting("net", 4) as count:
        next(filter(lambda _: count.reach(3), [1]))
    assert (steps[-1].done, steps[-1].ended) == (3, True)


def test_threads_count_together(steps):
    before = threading.active_count()
    with counting("glacier", 8000) as count, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: count.advance(10), range(800)))
    assert steps[-1].done == 8000
    assert threading.active_count() <= before


@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_tasks_of_dask_are_counted_to_their_end(steps, scheduler):
    cube = da.ones((8, 4), chunks=(2, 4)) + 1
    with dask_tasks("task"):
        assert cube.sum().compute(scheduler=scheduler) == 64
    assert steps[-1].ended
    assert steps[-1].done == steps[-1].total > 4


def test_nobody_hears_what_others_do_nor_what_comes_afterwards(steps):
    with heard_by(None):
        list(track(range(3), "fold"))
    assert steps == []
    inner = []
    with heard_by(inner.append):
        list(track(range(3), "fold"))
    assert steps == []
    assert inner
    assert listener() == steps.append


def test_steps_that_follow_fast_are_told_seldom():
    heard = []
    with heard_by(heard.append):
        list(track(range(100_000), "row"))
    assert heard[-1].done == 100_000
    assert len(heard) < 100


def test_results_are_the_same_to_the_bit_whoever_listens():
    cube = da.random.RandomState(1).normal(size=(64, 64), chunks=16).cumsum(axis=0)
    with dask_tasks("task"):
        alone = cube.compute()
    with heard_by(lambda step: None), dask_tasks("task"):
        heard = cube.compute()
    assert np.array_equal(alone, heard)


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Step(0, "fold", 12, 40, 48, False), "fold 12/40, 0:48, about 1:52 left"),
        (Step(0, "fold", 0, 40, 3, False), "fold 0/40, 0:03"),
        (Step(0, "fold", 40, 40, 48, True), "fold 40/40, 0:48"),
        (Step(0, "glacier", 3000, 9000, 10, False), "glacier 3000/9000, 0:10, 300 per s, about 0:20 left"),
        (Step(0, "stage 3 of 9: weights", 0, None, 70, False), "stage 3 of 9: weights, 1:10"),
        (Step(0, "row", 7, None, 70, False), "row 7, 1:10"),
    ],
)
def test_a_step_in_words(step, told):
    assert in_words(step) == told


def test_the_time_left_shrinks_while_a_step_lasts():
    step = Step(0, "scheme", 1, 3, 10, False)
    assert [in_words(step, since) for since in (0, 8, 30)] == [
        "scheme 1/3, 0:10, about 0:20 left",
        "scheme 1/3, 0:18, about 0:12 left",
        "scheme 1/3, 0:40, about 0:01 left",
    ]
    assert in_words(Step(0, "fold", 1, 4, 1e-5, False), 2) == "fold 1/4, 0:02, about 0:04 left"


def test_a_board_shows_what_goes_on_and_takes_it_away():
    board = Board()
    board.hear(Step(1, "fold", 12, 40, 48, False))
    board.hear(Step(2, "short", 1, 2, 0.01, False))
    assert board.lines() == ["fold 12/40, 0:48, about 1:52 left"]
    board.hear(Step(1, "fold", 40, 40, 50, True))
    assert board.lines() == []


def test_a_terminal_is_left_clean_and_without_colours_where_none_are_wanted(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    with shown(Console(file=out, force_terminal=True, width=100)), counting("fold", 4) as count:
        count.advance()
        time.sleep(1.6)
    text = out.getvalue()
    assert re.search(r"fold 1/4, 0:0\d, about 0:\d\d left", text)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", text), "a colour"
    assert text.rstrip("\n").endswith("\x1b[2K"), "the last line is taken back"


PROGRAM = textwrap.dedent(
    """
    import sys, time
    from glacmb_grid.cli import looking, main
    from glacmb_grid.cli.speech import say
    from glacmb_grid.progress import track
    def act(*_, **__):
        for fold in track(range(8), "fold"):
            time.sleep(0.25)
            say(f"line {fold}")
        return 0
    looking.status = act
    sys.exit(main(["status", "any.yaml", *sys.argv[1:]]))
    """
)


def on_terminal(*arguments, **environment):
    """What a program prints to its standard output, a pipe, and to its standard error, a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", **environment},
    ) as process:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            parts.append(part)
        out = process.stdout.read().decode()
    os.close(ours)
    return out, b"".join(parts).decode()


def test_a_terminal_shows_progress_and_a_pipe_plain_lines():
    lines = "".join(f"line {i}\n" for i in range(8))
    out, shown_there = on_terminal()
    assert out == lines
    assert re.search(r"fold [1-7]/8, 0:\d\d.*, about 0:\d\d left", shown_there)
    for quiet in (("--quiet",), ()):
        out, shown_there = on_terminal(*quiet, TERM="xterm" if quiet else "dumb")
        assert out == ("" if quiet else lines)
        assert shown_there == ""
