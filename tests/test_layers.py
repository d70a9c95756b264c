"""The rooms of the package: imports go downward only, and a few libraries live in one room each.

Read from the source with ast, so that an import inside a function or under TYPE_CHECKING counts as well.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "glacmb_grid"
FOLDER = Path(__file__).parents[1] / PACKAGE

# From the bottom up. A room is a module or a folder; "" is the package's own __init__, the public surface.
LAYERS = (
    "vocabulary",
    "arguments",
    "errors",
    "progress",
    "checking",
    "yaml_text",
    "schemas",
    "disk",
    "failures",
    "identifiers",
    "sphere",
    "years",
    "polygons",
    "settings",
    "config",
    "weights",
    "physics",
    "inputs",
    "sampling",
    "predictors",
    "samples",
    "constraints",
    "folds",
    "learning",
    "validation",
    "uncertainty",
    "upscaling",
    "products",
    "plot",
    "stores",
    "fetching",
    "report",
    "judging",
    "workflow",
    "cli",
    "__main__",
    "",
)
APART = "synthetic"  # imports no other room, and only these import it
USERS_OF_APART = {"workflow", "cli", ""}

# library -> the module or folder that may import it
HOMES = {
    "jax": "learning",
    "flax": "learning",
    "optax": "learning",
    "distributed": "workflow",
    "dask.distributed": "workflow",
    "xesmf": "sampling.regrid",
    "matplotlib": "plot",
    "bokeh": "report.page",
    "jinja2": "report.page",
}
ONLY_INSIDE_FUNCTIONS = {"xesmf"}
MOST_LINES = 350
TOO_LONG = {"learning.nets.ensembles"}


@dataclass(frozen=True)
class Import:
    """One imported name, fully qualified; for ``from a import b`` it is ``a.b``."""

    name: str
    line: int
    in_function: bool


def is_inside(name: str, parent: str) -> bool:
    return name == parent or name.startswith(parent + ".")


def room_of(module: str) -> str:
    return module.split(".")[0]


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """All imports of a module, itself named relative to the package, as in ``inputs.climate``."""
    here = [PACKAGE, *filter(None, module.split("."))]
    parent = here if is_package else here[:-1]

    def walk(node: ast.AST, in_function: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, in_function)
        elif isinstance(node, ast.ImportFrom):
            base = parent[: len(parent) + 1 - node.level] if node.level else []
            for alias in node.names:
                parts = [*base, *filter(None, [node.module]), alias.name]
                yield Import(".".join(parts), node.lineno, in_function)
        inner = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inner)

    return walk(ast.parse(source), False)


def room_problem(room: str, imported: str) -> str | None:
    """Say why `room` must not import the name `imported` (fully qualified), if so."""
    if not is_inside(imported, PACKAGE):
        return None
    target = room_of(imported.removeprefix(PACKAGE).removeprefix("."))
    if target not in (*LAYERS, APART):
        target = ""  # a name that __init__ defines
    if target == room:
        return None
    if room == APART:
        return f"{APART} stands apart and must import no other room"
    if target == APART:
        return None if room in USERS_OF_APART else f"only {sorted(USERS_OF_APART)} may import {APART}"
    if LAYERS.index(target) > LAYERS.index(room):
        return f"{target or '__init__'} lies above {room}"
    return None


def library_problem(module: str, found: Import) -> str | None:
    for library, home in HOMES.items():
        if not is_inside(found.name, library):
            continue
        if not is_inside(module, home):
            return f"{library} belongs to {home} only"
        if library in ONLY_INSIDE_FUNCTIONS and not found.in_function:
            return f"{library} is optional: import it inside the function that needs it"
    return None


def path_problems(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.path":
            yield node.lineno, "sys.path: the package must work from where it is installed"


def problems(source: str, module: str, is_package: bool = False) -> list[str]:
    """Everything that the source of one module does against the rules of the rooms."""
    room = room_of(module)
    if room not in (*LAYERS, APART):
        return [f"{module}: not in LAYERS of {Path(__file__).name}; give the new room its place there"]
    found = list(path_problems(source))
    for imported in imports_of(source, module, is_package):
        reasons = room_problem(room, imported.name), library_problem(module, imported)
        found += [(imported.line, f"{imported.name}: {reason}") for reason in reasons if reason]
        if imported.name == "sys.path":
            found.append((imported.line, "sys.path: the package must work from where it is installed"))
    return [f"{module or '__init__'}:{line}: {text}" for line, text in found]


def modules() -> list[tuple[Path, str]]:
    """All modules of the package: file, and name relative to the package."""
    files = sorted(FOLDER.rglob("*.py"))
    parts = [file.relative_to(FOLDER).with_suffix("").parts for file in files]
    return [(file, ".".join(p[:-1] if p[-1] == "__init__" else p)) for file, p in zip(files, parts, strict=True)]


def test_files_are_short():
    long = {m: n for f, m in modules() if (n := len(f.read_text(encoding="utf-8").splitlines())) > MOST_LINES}
    assert set(long) <= TOO_LONG, long


def test_the_package_is_there_and_its_rooms_are_known_once():
    assert len(modules()) > 1, f"no modules under {FOLDER}"
    assert len(set(LAYERS)) == len(LAYERS)
    assert APART not in LAYERS


def test_every_room_keeps_the_rules():
    found = [
        problem
        for file, module in modules()
        for problem in problems(file.read_text(encoding="utf-8"), module, file.name == "__init__.py")
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "message"),
    [
        ("inputs.climate", "from glacmb_grid.sampling import zonal", "sampling lies above inputs"),
        ("inputs.climate", "from glacmb_grid import stores", "stores lies above inputs"),
        ("folds.schemes", "from glacmb_grid.validation import leaks", "validation lies above folds"),
        ("inputs.climate", "import glacmb_grid.cli as c", "cli lies above inputs"),
        ("inputs.climate", "from ..sampling.zonal import x", "sampling lies above inputs"),
        ("inputs.climate", "def f():\n    from .. import report", "report lies above inputs"),
        ("weights", "if TYPE_CHECKING:\n    from .inputs import x", "inputs lies above weights"),
        ("years", "from glacmb_grid import run", "lies above years"),
        ("samples", "from glacmb_grid.synthetic import region", "may import synthetic"),
        ("synthetic.terrain", "from glacmb_grid.years import bounds", "stands apart"),
        ("validation.nested", "import jax.numpy as jnp", "jax belongs to learning only"),
        ("validation.nested", "from flax import nnx", "flax belongs to learning only"),
        ("upscaling.predict", "import optax", "optax belongs to learning only"),
        ("judging.fits", "from dask.distributed import Client", "belongs to workflow only"),
        ("judging.fits", "from dask import distributed", "belongs to workflow only"),
        ("judging.fits", "import distributed", "belongs to workflow only"),
        ("sampling.regrid", "import xesmf", "inside the function"),
        ("sampling.zonal", "def f():\n    import xesmf", "belongs to sampling.regrid only"),
        ("utils", "import numpy", "not in LAYERS"),
        ("years", "import sys\nsys.path.append('x')", "sys.path"),
        ("years", "from sys import path", "sys.path"),
    ],
)
def test_a_planted_violation_is_found(module, source, message):
    found = problems(source, module)
    assert len(found) == 1
    assert message in found[0]


def test_a_folder_resolves_its_relative_imports_from_itself():
    assert problems("from .zonal import x", "sampling", is_package=True) == []
    assert "stores lies above sampling" in problems("from ..stores import x", "sampling", is_package=True)[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "sampling.zonal",
            "from glacmb_grid.inputs.files import x\nfrom . import grid\nfrom ..weights import W",
        ),
        ("learning.network", "import jax\nfrom flax import nnx\nimport optax\nimport jaxtyping"),
        ("sampling.regrid", "def f():\n    import xesmf"),
        ("workflow.cluster", "from dask.distributed import Client"),
        ("validation.leaks", "from glacmb_grid.folds.rows import groups_of"),
        ("workflow.cubes", "from glacmb_grid.synthetic import region"),
        ("", "from glacmb_grid.years import bounds"),
        ("synthetic.terrain", "from glacmb_grid.synthetic import climate\nimport numpy"),
    ],
)
def test_what_is_allowed_passes(module, source):
    assert problems(source, module) == []


def test_models_are_named_in_their_own_files_the_registry_and_the_settings_only():
    """Nothing else decides by the name of a model, so that a new one needs no other file."""
    from glacmb_grid.settings import model_names

    allowed = {"settings.models", "learning.registry", "learning.selection"}  # where a ranking is called random_forest
    found = []
    for file, module in modules():
        if module in allowed or module.startswith("learning.models."):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.Compare) and any(
                isinstance(c, ast.Constant) and c.value in model_names() for c in [node.left, *node.comparators]
            )
            if named:
                found.append(f"{module}:{node.lineno}: {ast.unparse(node)}")
    assert not found, "\n".join(found)


def test_nothing_but_the_report_looks_into_the_page_and_levels_are_said_once():
    users, said = set(), []
    for file, module in modules():
        source = file.read_text(encoding="utf-8")
        imported = imports_of(source, module, file.name == "__init__.py")
        if any(is_inside(i.name, f"{PACKAGE}.report.page") for i in imported):
            users.add(module if room_of(module) != "report" else "report")
        names = [ast.unparse(n.targets[0]) for n in ast.parse(source).body if isinstance(n, ast.Assign)]
        said += [n for n in names if n in ("LEVEL", "LEVELS", "BAND_LEVEL", "PERCENTS")]
    assert users == {"report", "workflow.presenting"}
    assert sorted(said) == ["BAND_LEVEL", "LEVELS", "PERCENTS"]


def test_the_registry_can_be_read_without_jax():
    code = "import sys, glacmb_grid.workflow.runner, glacmb_grid.learning.registry; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_figures_load_matplotlib_when_one_is_drawn_only():
    code = "import sys, glacmb_grid; glacmb_grid.plot.glacier_map; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
