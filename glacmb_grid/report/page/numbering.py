"""Names within the charts' script that do not depend on what a process drew before: the same run, the same bytes."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = r"p\d+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # bokeh's: a number that only grows, or a random one
_MODEL = re.compile(rf'"id":"({_NAME})"')  # in a user's text the quotes are escaped
_QUOTED = re.compile(rf'"({_NAME})"')
_DOCUMENT = re.compile(r'"docid":"([^"]+)"')
_PLACE = re.compile(rf'<div id="([^"]+)" data-root-id="({_NAME})"')
_PLACES = re.compile(r"^.*const render_items = .*$", re.M)


def numbered(script: str, places: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Script and places of charts with all names counted from 1, in the order in which they appear.

    Parameters
    ----------
    script : str
        From bokeh's `components`.
    places : mapping of str to str
        The elements that the charts are drawn into, from the same call.

    Returns
    -------
    script, places
        As they came, if they do not look as they should.
    """
    document, listed = _DOCUMENT.search(script), _PLACES.search(script)
    found = {key: _PLACE.match(text) for key, text in places.items()}
    if document is None or listed is None or not all(found.values()):
        return script, dict(places)
    models: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        name = models.setdefault(match[1], f"p{len(models) + 1}")
        return match[0].replace(f'"{match[1]}"', f'"{name}"')

    elements = {m[1]: f"chart-{key}" for key, m in found.items() if m is not None}
    drawn = _MODEL.sub(renamed, script[: listed.start()])
    lines = _QUOTED.sub(lambda m: f'"{models.get(m[1], m[1])}"', listed[0])
    out = drawn + lines + script[listed.end() :]
    for old, new in {document[1]: "page", **elements}.items():
        out = out.replace(f'"{old}"', f'"{new}"')
    named = {
        key: f'<div id="{elements[m[1]]}" data-root-id="{models.get(m[2], m[2])}"{places[key][m.end() :]}'
        for key, m in found.items()
        if m is not None
    }
    return out, named
