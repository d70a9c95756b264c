"""What the documentation says of itself holds: links, generated pages, examples, the citation."""

from __future__ import annotations

import doctest
import importlib.util
import re
import sys
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
import yaml

import glacmb_grid as gg
from glacmb_grid.config import load_config
from glacmb_grid.settings import RunConfig, TableConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(p for p in ROOT.glob("docs/**/*.md") if "generated" not in p.parts)])


def without_code(text):
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def anchors_of(path):
    """Anchors of headings as code hosts make them."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL), re.M
    )
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere_on_a_code_host(page):
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8")))
    for link in links:
        target, _, anchor = link.partition("#")
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in anchors_of(path), link


def test_every_page_of_the_site_is_in_its_contents():
    listed = re.findall(r"^[\w/]+$", (ROOT / "docs" / "index.md").read_text(encoding="utf-8"), re.M)
    there = {str(p.relative_to(ROOT / "docs").with_suffix("")) for p in PAGES if p.is_relative_to(ROOT / "docs")}
    assert set(listed) == there - {"index"} | {f"generated/{n}" for n in ("configuration", "names", "gallery")}


def extension(name):
    """An extension of the site as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "extensions" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generated():
    return extension("generated_pages")


@pytest.fixture(scope="module")
def gallery():
    extension("gallery_results")
    return extension("gallery")


def test_every_key_of_a_configuration_is_in_its_reference(generated):
    page = generated.keys_page()
    top = {*RunConfig.model_fields, *TableConfig.model_fields}
    assert [k for k in top if f"\n## `{k}`\n" not in page] == []
    within = {
        "climate.lapse_rate": False,
        "climate.accumulated": True,
        "validation.holdout": True,
        "models.ff_fcnn.learning_rate": True,
        "product.grids.resolutions": True,
        "observations.links.max_distance_km": True,
        "sampling.lapse_rate": True,
    }
    for key, there in within.items():
        section, _, name = key.rpartition(".")
        assert (f"| `{name}` |" in part_of(page, section)) == there, key
    assert "| `accumulated` | `daily_mean`, `hourly_mean`, `monthly_total` | none |" in page
    assert "A recipe" in page


def part_of(page, section):
    """The text below the heading of a section, up to the next heading."""
    begin = re.search(rf"^#+ `{re.escape(section)}`$", page, re.M).end()
    end = re.search(r"^#+ ", page[begin:], re.M)
    return page[begin : begin + end.start() if end else None]


def test_every_public_name_is_in_its_reference(generated):
    page = generated.names_page()
    described = re.findall(r"^\.\. auto(?:function|class):: (\w+)$", page, re.M)
    own = [n for n in gg.__all__ if n not in ("__version__", "plot")]
    assert sorted(described) == sorted([*own, *gg.plot.__all__])


def test_every_figure_is_in_the_gallery_beside_the_lines_that_drew_it(gallery):
    page = gallery.page()
    assert re.findall(r"^### `(\w+)`$", page, re.M) == [p.name for p in gallery.pictures()]
    assert sorted(p.name for p in gallery.pictures()) == gg.plot.__all__
    for one in gallery.pictures():
        assert f"{one.caption}\n\n```python\n{one.code}\n```\n\n```{{image}} {one.name}.svg" in page


def test_pictures_of_the_gallery_are_drawn_by_their_own_lines(gallery, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "write_results", lambda folder: folder.mkdir(parents=True))
    line = "from matplotlib import pyplot; pyplot.plot([1, 2]); ax = pyplot.gca()"
    saved = [type("One", (), {"name": n, "code": f"{line}\nax.figure.savefig('{n}.svg')"}) for n in ("a", "b")]
    monkeypatch.setattr(gallery, "pictures", lambda: saved)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        gallery.draw(tmp_path / folder)
    first, second = ([(tmp_path / f / f"{n}.svg").read_bytes() for n in "ab"] for f in ("one", "two"))
    assert first == second
    assert all(b"<svg" in picture for picture in first)


WITH_EXAMPLES = [n for n in gg.__all__ if ">>>" in (getattr(gg, n).__doc__ or "")]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_docstrings_run_by_themselves(name):
    """Sphinx runs them all in one namespace, where what one forgets another may bring."""
    (found,) = doctest.DocTestFinder(recurse=False).find(getattr(gg, name), name, module=False, globs={})
    lines = [e for e in found.examples if not e.source.startswith(("import ", "from "))]
    assert 1 <= len(lines) <= 8
    told = []
    result = doctest.DocTestRunner(verbose=False).run(found, out=told.append)
    assert result.failed == 0, "".join(told)


def test_many_functions_have_examples():
    assert len(WITH_EXAMPLES) >= 30


def configurations(page):
    """Examples of whole configurations on a page."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    return [b for b in blocks if "glaciers:" in b or "samples:" in b]


@pytest.mark.parametrize("text", [*configurations("tasks.md"), *configurations("tutorial.md")])
def test_configurations_of_the_guides_are_valid(text, tmp_path):
    (tmp_path / "mine.yaml").write_text(text)
    assert load_config(tmp_path / "mine.yaml").name == "mine"


def test_keys_that_the_guides_name_in_a_line_are_valid(tmp_path):
    base = yaml.safe_load(configurations("tasks.md")[0])
    for text in ("validation: {schemes: [loyo]}", "compute: {scheduler: distributed}", "product: false"):
        assert text in (ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")
        (tmp_path / "one.yaml").write_text(yaml.safe_dump({**base, **yaml.safe_load(text)}))
        load_config(tmp_path / "one.yaml")


def python_of(page, containing):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [b for b in blocks if containing in b]
    return compile(found, page, "exec")


def test_examples_of_the_guides_run(toys, tmp_path, monkeypatch, capsys):
    samples = toys.known(glaciers=6, years=5)
    names = {"gg": gg, "pd": pd, "samples": samples, "folds": gg.make_folds(samples, "logo")}
    value = samples["mass_balance"].values + 0.5
    theirs = pd.DataFrame({"glacier": samples["glacier"].values, "year": samples["year"].values, "value": value})
    theirs.to_csv(tmp_path / "oggm.csv", index=False)
    product = toys.product(draws=4)
    product["area_of_year"] = xr.full_like(product["mass_balance"], 1000.0)  # km2: a metre is a gigatonne
    product.to_netcdf(tmp_path / "glacier_annual.nc")
    monkeypatch.chdir(tmp_path)
    exec(python_of("tasks.md", "KNeighborsRegressor"), names)
    assert set(names["table"]["model"]) == {"neighbours"}
    exec(python_of("tasks.md", "oggm.csv"), names)
    assert gg.score(names["table"]).set_index("metric")["value"]["bias"] == pytest.approx(0.5)
    exec(python_of("judging.md", "gg.choices"), names)
    assert "n_neighbors" in capsys.readouterr().out
    exec(python_of("tasks.md", "mass_balance_realizations"), names)
    expected = product["mass_balance_realizations"].sum(["glacier", "year"])
    printed = [float(v) for v in capsys.readouterr().out.split()]
    assert printed == pytest.approx([float(expected.mean()), float(expected.std())])


def test_the_citation_has_what_version_1_2_0_requires():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["cff-version"] == "1.2.0"
    assert cited["type"] == "software"
    assert all(set(a) & {"name", "family-names"} for a in cited["authors"])
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{cited["version"]}"' in project
    assert f'license = "{cited["license"]}"' in project
