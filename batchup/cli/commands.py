"""All commands, and what becomes of their errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import batchup
from batchup.cli import banks, datasets, known, tables, training
from batchup.errors import BatchUpError


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # what the terminal has no characters for
    try:
        return int(options.run(options) or 0)
    except BrokenPipeError:  # who reads what is printed has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (BatchUpError, OSError) as error:
        print(f"batchup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\nbatchup: interrupted; {options.afterwards}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="batchup", description="Mini-batches for training loops, at memory speed.")
    parser.add_argument("--version", action="version", version=f"batchup {batchup.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for part in (training, tables, known, banks, datasets):
        part.add(commands)
    return parser
