"""One section of the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bokeh.models import UIElement

from glacmb_grid.report.page.tables import Table


@dataclass(frozen=True)
class Section:
    """One section.

    Attributes
    ----------
    key, title : str
        Its place in the page, and its heading.
    lead : str
        What is shown, in a sentence or two.
    charts : mapping
        By their place in the page.
    tables : list of Table
    points : list of str
        Sentences in a list.
    wide : bool
        Whether charts take the whole width instead of standing side by side.
    missing : str
        Why there is nothing to show; empty otherwise.
    """

    key: str
    title: str
    lead: str = ""
    charts: Mapping[str, UIElement] = field(default_factory=dict)
    tables: list[Table] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    wide: bool = False
    missing: str = ""
