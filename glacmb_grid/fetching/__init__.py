"""Data in their hands: what a region needs, asked of the agencies in the user's own name, whole or not at all.

Every source plans files first (`plan`), which costs nothing; `fetch` gets them, and goes on where it was interrupted.
"""

from __future__ import annotations

from glacmb_grid.fetching.contract import Area as Area
from glacmb_grid.fetching.contract import Item as Item
from glacmb_grid.fetching.contract import Plan as Plan
from glacmb_grid.fetching.get import fetch as fetch
from glacmb_grid.fetching.sources import SOURCES as SOURCES
from glacmb_grid.fetching.sources import plan as plan
