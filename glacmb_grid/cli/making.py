"""Commands that run stages."""

from __future__ import annotations

from pathlib import Path

from glacmb_grid.cli.speech import say, tell
from glacmb_grid.config import load_config
from glacmb_grid.errors import InputError, InputErrors
from glacmb_grid.failures import FILE as FAILED
from glacmb_grid.report.scores import summary
from glacmb_grid.settings import Judged
from glacmb_grid.stores.artefacts import AUDIT, STUDY, read
from glacmb_grid.stores.runs import RunStore
from glacmb_grid.workflow import runner
from glacmb_grid.workflow.currency import status

Overrides = list[str] | None


def run(path: Path, overrides: Overrides, *, stage: str | None, overwrite: bool, verify: bool) -> int:
    """Bring a run up to date; the exit status."""
    config = load_config(path, overrides)
    say(f"run {config.name} in {config.root}")
    ran = runner.run(config, stage=stage, overwrite=overwrite, verify=verify, say=say)
    if not ran:
        say("everything is current: nothing to do")
    _tell_summary(config)
    if stage is None and config.report:
        _page_at_the_end(config)
    return _tell_failures(config)


def _page_at_the_end(config: Judged) -> None:
    """Write the page about a run; that it cannot be written does not undo the run."""
    from glacmb_grid.workflow.presenting import write_report

    try:
        write_report(config, say=say)
    except (InputError, InputErrors) as error:
        say(f"note: no report: {error.in_words(python=False)}")
    except Exception as error:  # noqa: BLE001 - the run is done, whatever became of its page
        say(f"note: no report: {type(error).__name__}: {error}")


def report(path: Path, overrides: Overrides, *, overwrite: bool) -> int:
    """Write the page about a run; the exit status."""
    from glacmb_grid.workflow.presenting import write_report

    write_report(load_config(path, overrides), overwrite=overwrite, say=tell)
    return 0


def figures(path: Path, overrides: Overrides, *, overwrite: bool) -> int:
    """Write the figures of a run; the exit status."""
    from glacmb_grid.workflow.presenting import write_figures

    write_figures(load_config(path, overrides), overwrite=overwrite, say=tell)
    return 0


def append(path: Path, overrides: Overrides) -> int:
    """Add years to the products; the exit status."""
    config = load_config(path, overrides)
    say(f"append to the products of {config.name} in {config.root}")
    if not runner.run(config, append=True, say=say):
        say("everything is current: no year to append")
    _tell_summary(config)
    return _tell_failures(config)


def evaluate(path: Path, overrides: Overrides, *, overwrite: bool, verify: bool) -> int:
    """Fit and judge the models; the exit status."""
    return _tell_failures(_run_stage("evaluation", path, overrides, overwrite, verify))


def audit(path: Path, overrides: Overrides, *, overwrite: bool, verify: bool) -> int:
    """Run the audit and print it; the exit status."""
    store = RunStore(_run_stage("audit", path, overrides, overwrite, verify).root)
    tell(read(store, AUDIT["text"]))
    return 2 if read(store, AUDIT["verdict"])["leaks"] else 0


def study(path: Path, overrides: Overrides, *, overwrite: bool, verify: bool) -> int:
    """Run the study and print it; the exit status."""
    tell(read(RunStore(_run_stage("study", path, overrides, overwrite, verify).root), STUDY["text"]))
    return 0


def score_holdout(path: Path, overrides: Overrides) -> int:
    """Score the locked glaciers; the exit status."""
    from glacmb_grid.workflow import holdout

    holdout.score_holdout(load_config(path, overrides), say=say, tell=tell)
    return 0


def _run_stage(stage: str, path: Path, overrides: Overrides, overwrite: bool, verify: bool) -> Judged:
    """Run a stage and all that it needs if they are not current, and print the scores of `evaluation`."""
    config = load_config(path, overrides)
    say(f"{stage} of {config.name} in {config.root}")
    if not runner.run(config, stage=stage, overwrite=overwrite, verify=verify, say=say):
        say("everything is current: nothing to do")
    if stage == "evaluation":
        _tell_summary(config)
    return config


def _tell_summary(config: Judged) -> None:
    """Print the scores, which model beat which, and where the product is."""
    for line in summary(config, {name: state for name, state, _ in status(config)}):
        tell(line)


def _tell_failures(config: Judged) -> int:
    """Report failed glaciers; the exit status."""
    count = len(runner.failed(config))
    if count:
        tell(f"{count} glacier(s) failed and are left out, with the reasons in {config.root / FAILED}")
    return 3 if count else 0
