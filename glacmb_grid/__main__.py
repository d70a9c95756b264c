"""``python -m glacmb_grid``."""

from __future__ import annotations

import sys

from glacmb_grid.cli import main

if __name__ == "__main__":
    sys.exit(main())
