"""The command line: `batchup`, or `python -m batchup`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0, 1 after an error, 3 if files were skipped, 130 after Ctrl-C."""
    try:
        from batchup.cli.commands import run  # here, since Ctrl-C may come while modules are loaded

        return run(arguments)
    except KeyboardInterrupt:
        print("\nbatchup: interrupted", file=sys.stderr)
        return 130
