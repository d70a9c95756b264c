"""`plan`: stages, tasks, bytes and memory of a run before it begins; the sizes are estimates from headers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from glacmb_grid.judging import plan
from glacmb_grid.learning.contract import Model
from glacmb_grid.report.amounts import size_in_words
from glacmb_grid.settings import Judged, RunConfig
from glacmb_grid.stores.artefacts import Artefact, leaves
from glacmb_grid.upscaling.predict import BLOCK
from glacmb_grid.workflow.currency import status
from glacmb_grid.workflow.forecast import Facts, draws_of, facts_of, folds_of, size_of_files
from glacmb_grid.workflow.stages import Stage
from glacmb_grid.workflow.table import table

_FEATURES = 60
"""Predictors that a model takes where it names some of them by patterns."""
_ARRAY = 1200
"""Bytes that an array of a Zarr store takes beside its values."""
_LIBRARIES, _NETS = 0.45e9, 0.5e9
"""Memory of the libraries, and of compiling and training networks."""


@dataclass(frozen=True)
class Planned:
    """What one stage is expected to do.

    Attributes
    ----------
    name : str
    state : str
        Of `status`: what is `current` need not be made.
    tasks : str
        What it does, counted.
    reads, writes, memory : float
        Bytes.
    """

    name: str
    state: str
    tasks: str
    reads: float
    writes: float
    memory: float


def plan_run(config: Judged) -> tuple[list[Planned], tuple[str, ...]]:
    """What each stage of a run is expected to do, before anything runs.

    Parameters
    ----------
    config : RunConfig or TableConfig

    Returns
    -------
    stages : list of Planned
        Stages that run only when they are asked for are left out.
    assumed : tuple of str
        What could not be known, and what is assumed.

    Raises
    ------
    InputError or InputErrors
        An input that is missing or cannot be opened.
    """
    facts, states = facts_of(config), {name: state for name, state, _ in status(config)}
    stages = [s for s in table(config) if not s.on_request]
    from_outside = {s.name: size_of_files(s) for s in stages}
    writes = {s.name: _written(s, config, facts, from_outside[s.name][0]) for s in stages}
    unknown = sum(count for _, count in from_outside.values())
    assumed = facts.assumed + ((f"{unknown} inputs are not on the disk: their size is not known",) if unknown else ())
    planned = []
    for one in stages:
        read = [a.stage for _, a in leaves(one.reads) if isinstance(a, Artefact)]
        reads = from_outside[one.name][0] + sum(writes.get(n, 0.0) for n in dict.fromkeys(read))
        memory = _memory(one, config, facts)
        planned.append(Planned(one.name, states[one.name], _tasks(one, config, facts), reads, writes[one.name], memory))
    return planned, assumed


def plan_lines(planned: list[Planned], assumed: tuple[str, ...]) -> Iterator[str]:
    """The plan as lines of text."""
    yield f"{'stage':28s} {'state':8s} {'reads':>8s} {'writes':>8s} {'memory':>8s}  tasks"
    for one in planned:
        sizes = " ".join(f"{size_in_words(size):>8s}" for size in (one.reads, one.writes, one.memory))
        yield f"{one.name:28s} {one.state:8s} {sizes}  {one.tasks}".rstrip()
    todo = [one for one in planned if one.state != "current"]
    written, held = sum(one.writes for one in planned), max(one.memory for one in planned)
    yield (
        f"{len(todo)} of {len(planned)} stages to run; about {size_in_words(written)} in the run's folder when all are "
        f"done, about {size_in_words(held)} of memory at most"
    )
    yield from (f"note: {line}" for line in assumed)


def _written(stage: Stage, config: Judged, facts: Facts, source: int) -> float:
    """About how many bytes a stage writes."""
    f, name = facts, stage.name
    if name.startswith("learning/"):
        return _of_fits(plan.models_of(config)[name.removeprefix("learning/")], config, f)
    folds = folds_of(config, f)
    if isinstance(config, RunConfig):
        synthetic, product = config.synthetic, config.product
        grids = product.grids.resolutions if product and product.grids else []
        by_year, by_month = f.glaciers * f.years, f.glaciers * f.months
        cells = sum((f.extent[0] / r + 1) * (f.extent[1] / r + 1) for r in grids)
        draws = draws_of(config, f)
        known: dict[str, Callable[[], float]] = {
            "raw": lambda: 0.0 if synthetic is None else 7e6 + 2.7e5 * f.glaciers * (0.2 if synthetic.plain else 1.0),
            "glaciers": lambda: 6e3 + (0.55 * source if source else 3e3 * f.glaciers),
            "cubes": lambda: 9e2 + 11 * f.months,
            "observations": lambda: 8e3 + 60 * f.rows,
            "plan": lambda: 1e2,
            "weights": lambda: 20 * _ARRAY + 120 * f.glaciers,
            "terrain": lambda: 20 * _ARRAY + 150 * f.glaciers,
            "sampled": lambda: (2 * f.fields + 9) * _ARRAY + 2.0 * by_month * f.fields,
            "albedo": lambda: 25 * _ARRAY + 12 * f.glaciers * (f.days + 8 * f.years),
            "predictors": lambda: 24 * _ARRAY + 2.4 * by_year * f.predictors,
            "samples": lambda: 35 * _ARRAY + 11.0 * f.rows * f.predictors,
            "uncertainty": lambda: 16 * _ARRAY + 12.0 * by_year,
            "products": lambda: 70 * _ARRAY + by_year * (4.0 * draws + 170),
            "regional": lambda: 60 * _ARRAY + 900 * len(str(f.years)) * f.years + 16.0 * f.years**2,
            "gridded": lambda: len(grids) * (120 * _ARRAY + 0.9e3 * f.years) + 60.0 * cells * f.years,
        }
        if name in known:
            return known[name]()
    if name == "samples":
        return 35 * _ARRAY + 11.0 * f.rows * f.predictors
    if name == "folds":
        return sum(16 * _ARRAY + 2.5 * n * f.rows for n in folds.values())
    if name == "evaluation":
        compared = len(plan.compared(config))
        return 1.5e5 + compared * sum(800.0 * n + 160 * f.rows for n in folds.values())
    return 2e4


def _of_fits(model: Model, config: Judged, facts: Facts) -> float:
    """About how many bytes the fits of a model take, in all folds of all schemes."""
    patterns = getattr(model.settings, "predictors", ["*"])
    features = facts.predictors if list(patterns) == ["*"] else min(_FEATURES, facts.predictors)
    learns = hasattr(model.settings, "predictors")
    fold = model.stored(facts.rows, features if learns else 0) if learns or model.needs else 100
    overhead = (150 if learns else 16) * _ARRAY
    folds = _folds_of_fits(model, config, facts)
    return sum(overhead + n * (fold + 0.5 * facts.rows) for n in folds) + 40.0 * facts.rows * len(folds)


def _folds_of_fits(model: Model, config: Judged, facts: Facts) -> list[int]:
    """About how many folds a model is fitted in, by scheme; not in those that cannot be fair to it."""
    return [n for scheme, n in folds_of(config, facts).items() if model.may_be_fair(scheme)]


def _tasks(stage: Stage, config: Judged, facts: Facts) -> str:
    """What a stage does, counted."""
    folds = folds_of(config, facts)
    blocks = -(-facts.glaciers // BLOCK)
    counted: dict[str, Callable[[], str]] = {
        "glaciers": lambda: f"{facts.glaciers} outlines",
        "observations": lambda: f"{facts.rows} balances of {facts.groups} glaciers",
        "sampled": lambda: f"{facts.fields} fields x {facts.months} months, at most {facts.pieces} pieces",
        "albedo": lambda: f"{facts.days} days",
        "predictors": lambda: f"{facts.predictors} predictors x {facts.years} years",
        "folds": lambda: ", ".join(f"{n} {s}" for s, n in folds.items()),
        "products": lambda: f"{facts.glaciers * facts.years} glacier-years in {blocks} blocks",
    }
    if stage.name.startswith("learning/"):
        fitted = _folds_of_fits(plan.models_of(config)[stage.name.removeprefix("learning/")], config, facts)
        return f"{sum(fitted)} folds in {len(fitted)} schemes"
    return counted.get(stage.name, partial(str, ""))()


def _memory(stage: Stage, config: Judged, facts: Facts) -> float:
    """About how much memory a stage takes, bytes."""
    f = facts
    by_year, by_month = f.glaciers * f.years, f.glaciers * f.months
    draws = draws_of(config, f) if isinstance(config, RunConfig) else 0
    more = {
        "sampled": 40.0 * by_month + 64e6,
        "albedo": 16.0 * f.glaciers * f.days,
        "predictors": 8.0 * min(f.glaciers, 2048) * (f.months * f.fields + f.years * f.predictors),
        "samples": 24.0 * f.rows * f.predictors,
        "evaluation": 8.0 * config.scores.bootstrap * max(f.groups, 1) * 40,
        "products": by_year * (4.0 * draws + 200) + 4 * 8.0 * min(f.glaciers, BLOCK) * f.years * f.predictors,
        "uncertainty": by_year * 200.0,
        "regional": by_year * 100.0,
        "gridded": by_year * 100.0,
    }.get(stage.name, 0.0)
    if stage.name.startswith("learning/"):
        model = plan.models_of(config)[stage.name.removeprefix("learning/")]
        more = 24.0 * f.rows * f.predictors * 8 + (_NETS if model.compiles else 0.0)
    return _LIBRARIES + more
