"""What the identifiers of the Randolph Glacier Inventory tell."""

from __future__ import annotations

import re

# RGI50-13.00001, RGI60-13.00001, RGI2000-v7.0-G-13-00001 (C: glacier complexes)
_RGI = re.compile(r"(?:RGI[56]\d-|RGI2000-v7\.\d-[GC]-)(\d{2})[.-]\d{5}")


def first_order_region(glacier: str) -> str:
    """First-order region in an identifier of RGI 5, 6 or 7, `13`; empty for any other identifier."""
    found = _RGI.fullmatch(glacier)
    return found[1] if found else ""
