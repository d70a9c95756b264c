"""How Sphinx builds the site: `sphinx-build -W docs build/site`, without any network."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "extensions"))
sys.path.insert(0, str(HERE.parent))

project = "glacmb_grid"
author = "the glacmb_grid developers"
copyright = "the glacmb_grid developers"  # noqa: A001 - Sphinx asks for this name
release = metadata.version("glacmb-grid")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
    "equations",
    "gallery",
    "generated_pages",
]
exclude_patterns = ["extensions"]
source_suffix = {".md": "markdown"}
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
numpydoc_show_class_members = False
numpydoc_validation_checks = {"GL03", "GL05", "GL06", "PR01", "PR02"}
numpydoc_validation_exclude = {r"\.[A-Z]"}  # classes say under Attributes what they hold
autosummary_generate = False
autodoc_typehints = "none"  # numpydoc's own types say dimensions and units too
autodoc_member_order = "bysource"

html_theme = "alabaster"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_title = f"glacmb_grid {release}"
html_show_sourcelink = False
html_theme_options = {
    "description": "From a few hundred field measurements to the mass balance of every glacier",
    "fixed_sidebar": False,
    "page_width": "72rem",
    "sidebar_width": "15rem",
    "font_family": "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif",
    "head_font_family": "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif",
    "code_font_size": "0.85em",
    "show_relbars": False,
}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
html_math_renderer = "mathml"
