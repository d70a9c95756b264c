"""The page: everything in one file of HTML."""

from __future__ import annotations

from importlib.resources import files

from bokeh.document import Document
from bokeh.embed import components
from bokeh.resources import Resources
from jinja2 import Environment
from markupsafe import Markup

from glacmb_grid.report.page.glaciers import glaciers_of, packed
from glacmb_grid.report.page.numbering import numbered
from glacmb_grid.report.page.sections import sections
from glacmb_grid.report.page.sentences import sentences
from glacmb_grid.report.results import Results

BUDGET = 9_000_000
"""Characters that columns and series of glaciers may take; larger ones are told in coarser steps."""


def page(results: Results) -> str:
    """One page about a run, with all that it needs in it.

    Parameters
    ----------
    results : Results

    Returns
    -------
    str
        HTML.
    """
    document = Document()
    glaciers = glaciers_of(results)
    texts, rounding = ({}, "") if glaciers is None else packed(glaciers, budget=BUDGET)
    every = list(sections(results, glaciers, document))
    charts = {key: chart for section in every for key, chart in section.charts.items()}
    with document.models.freeze():  # its models are counted once, not after every chart
        for chart in charts.values():
            document.add_root(chart)
    drawn, places = components(charts) if charts else ("", {})
    assert isinstance(places, dict)
    drawn, places = numbered(drawn, places)
    inline = Resources(mode="inline", components=["bokeh", "bokeh-gl", "bokeh-widgets"]) if charts else None
    product = results.product
    title = str(product.attrs.get("title", "")) if product is not None else ""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    here = files("glacmb_grid.report.page")
    return environment.from_string((here / "template.html").read_text(encoding="utf-8")).render(
        name=results.name,
        title=title or f"Annual mass balance: {results.name}",
        sentences=sentences(results),
        sections=every,
        places={k: Markup(v) for k, v in places.items()},
        script=Markup(drawn),
        resources=Markup("" if inline is None else inline.render()),
        style=Markup((here / "style.css").read_text(encoding="utf-8")),
        packed=texts,
        rounding=rounding,
        stale=results.stale,
        version=results.versions.get("glacmb-grid", ""),
    )
