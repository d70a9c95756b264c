"""The command line: parses arguments, calls the package and prints.

`commands` declares the commands and imports nothing heavy, so that `--help` answers at once; what they do is in
`making`, `looking`, `files` and `results`, imported when a command begins. `speech` is all that is printed.
"""

from __future__ import annotations

from glacmb_grid.cli.entry import main as main
