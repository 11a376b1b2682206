"""`batchup formats`: what formats there are, and what their readers and writers can be told."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable
from typing import Any

from batchup.cli.shown import print_json, table_of
from batchup.formats.described import Description, Option, described, summaries

WIDTH = 110
_EXAMPLE = """\
$ batchup formats csv
csv: .csv

--option of its reader
  delimiter=","  What is between cells.
  ...
$ batchup convert --option delimiter=';' --option 'dtypes={"label": "int8"}' table.csv table.parquet

A value is JSON, or else a text.
"""


def add(commands: Any) -> None:
    """Add the command."""
    text = "tell what formats there are, and what their readers and writers can be told"
    one = commands.add_parser(
        "formats",
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("names", metavar="NAME", nargs="*", help="of a format, to be told its options")
    one.add_argument("--json", action="store_true", help="print JSON: a list of objects")
    one.set_defaults(run=_formats, afterwards="nothing was changed")


def _formats(options: argparse.Namespace) -> None:
    if options.names:
        told = [described(name) for name in options.names]
        if options.json:
            print_json([_as_dict(one) for one in told])
            return
        for one in told:
            print(f"{one.name}: {', '.join(one.suffixes) or 'no suffixes'}")
            _print_options("--option of its reader", one.reading)
            _print_options("--write of its writer", one.writing)
        return
    found = summaries()
    if options.json:
        print_json([{"name": name, "suffixes": ends, "missing": missing} for name, ends, missing in found])
        return
    print(table_of([[name, _few(ends), missing or ""] for name, ends, missing in found]))


def _as_dict(told: Description) -> dict[str, Any]:
    """Return what is told of a format with names, for JSON."""
    parts = {"reading": told.reading, "writing": told.writing}
    return {**told._asdict(), **{name: [option._asdict() for option in part] for name, part in parts.items()}}


def _few(suffixes: Iterable[str], most: int = 4) -> str:
    names = list(suffixes)
    return " ".join(names[:most]) + (" ..." if len(names) > most else "")


def _print_options(title: str, options: list[Option]) -> None:
    """Print the options of a reader or a writer, as they are written behind ``--option`` or ``--write``."""
    if not options:
        return
    print(f"\n{title}")
    names = [f"  {option.name}={_as_written(option.default)}  " for option in options]
    indent = max(map(len, names))
    for name, option in zip(names, options, strict=True):
        lines = textwrap.wrap(option.meaning.replace("``", "").replace("`", ""), WIDTH - indent) or [""]
        print(f"\n{' ' * indent}".join([name.ljust(indent) + lines[0], *lines[1:]]).rstrip())


def _as_written(default: Any) -> str:
    """Return a value as it is given.

    >>> _as_written(None), _as_written(True), _as_written(()), _as_written(",")
    ('null', 'true', '[]', '","')
    """
    return json.dumps(list(default) if isinstance(default, tuple) else default, default=str)
