"""The command line: `batchup`, or `python -m batchup`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import batchup
from batchup.errors import BatchUpError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 after an error, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="batchup", description="Mini-batches for training loops, at memory speed.")
    parser.add_argument("--version", action="version", version=f"batchup {batchup.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="train a small network on real handwritten digits, in a few seconds")
    demo.add_argument("--epochs", type=_positive, default=15, metavar="N", help="how many epochs to train (default 15)")
    demo.add_argument("--resume", action="store_true", help="go on from the checkpoint of a run that was killed")
    options = parser.parse_args(arguments)
    try:
        return _demo(options.epochs, options.resume)
    except (BatchUpError, OSError) as error:
        print(f"batchup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nbatchup: interrupted; --resume goes on from the checkpoint", file=sys.stderr)
        return 130


def _demo(epochs: int, resume: bool) -> int:
    from batchup import demo

    demo.main(epochs, resume)
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)
