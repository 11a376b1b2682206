"""The command line: `batchup`, or `python -m batchup`."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0, 1 after an error, 3 if files were skipped, 130 after Ctrl-C."""
    try:
        with _undisturbed():
            from batchup.cli.commands import run  # here, since Ctrl-C may come while modules are loaded

        return run(arguments)
    except KeyboardInterrupt:
        print("\nbatchup: interrupted", file=sys.stderr)
        return 130


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Have Ctrl-C wait for the end of a block: modules that are written in C make other errors of it."""
    came: list[int] = []
    try:
        handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    except ValueError:  # this is not the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
    if came:
        signal.raise_signal(signal.SIGINT)
