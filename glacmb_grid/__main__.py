"""The command `glacmb-grid`, also as ``python -m glacmb_grid``."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Run the command line.

    Until it is loaded, an interrupt ends the process at once: as an exception it could be lost inside an import.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as the background jobs of a script have it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from glacmb_grid.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
