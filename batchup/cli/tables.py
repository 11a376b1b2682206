"""`batchup info`, `head`, `verify`, `convert`, `split` and `stats`: files of any format, by their rows and columns."""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from batchup import formats
from batchup.cli import arguments
from batchup.cli.shown import cell, print_json, rounded, size_of, table_of
from batchup.errors import BatchUpError, InvalidValueError
from batchup.formats import Table

SKIPPED = 3  # the exit status if something was left out
MOST_TOLD = 10  # problems, of which each has a line

WIDTH = 110

_OF_READER = "of the reader; `batchup formats NAME` tells which there are"
_OF_WRITER = "of the writer; `batchup formats NAME` tells which there are"
_FORMATS = """\
What a file is is told by its suffix, also before .gz, .zst or .xz; of folders of images or of wav files, by what lies
in them: {suffixes}. FILE may be a pattern in quotes, whose files are read one after the other, or an address such as
https://host/train.csv.gz. Exit status: 0; 1 after an error, 2 if the arguments are wrong, 3 if --skip-errors left
something out, 130 after Ctrl-C.
"""


def add(commands: Any) -> None:
    """Add the commands."""
    _add_info(commands)
    _add_head(commands)
    _add_verify(commands)
    _add_stats(commands)
    _add_convert(commands)
    _add_split(commands)


def _command(commands: Any, name: str, text: str, example: str, run: Callable[[argparse.Namespace], int | None]) -> Any:
    """Add a command, with what all of them have."""
    told = _FORMATS.format(suffixes=", ".join(sorted(formats.suffixes())))
    one = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"{example}\n{textwrap.fill(told, WIDTH)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.add_argument("--format", metavar="NAME", help="what the files are, if their suffixes do not tell")
    one.add_argument(
        "--option", metavar="NAME=VALUE", type=arguments.option, action="append", default=[], help=_OF_READER
    )
    one.set_defaults(run=run, afterwards="nothing was changed")
    return one


def _add_info(commands: Any) -> None:
    info = _command(
        commands,
        "info",
        "tell what files are: their rows, columns, dtypes and shapes",
        "$ batchup info train.parquet\ntrain.parquet: parquet, 60,000 rows, 11.2 MB\n  image  uint8 (28, 28)\n"
        "  label  int64\n",
        _info,
    )
    info.add_argument("files", metavar="FILE", nargs="+")
    _add_json(info, "a list of objects")


def _add_head(commands: Any) -> None:
    head = _command(commands, "head", "show the first rows", "$ batchup head -n 3 train.csv.gz\n", _head)
    head.add_argument("files", metavar="FILE", nargs="+")
    head.add_argument("-n", "--rows", type=arguments.natural, default=10, metavar="N", help="how many (default 10)")
    _add_columns(head)
    _add_json(head, "an object on each line, whole")


def _add_verify(commands: Any) -> None:
    verify = _command(
        commands,
        "verify",
        "read files to their ends, and compare them with their checksums",
        "$ batchup verify shards/*.tar\nshards/0.tar: 1,000 rows, 52.1 MB, all is well\n",
        _verify,
    )
    verify.add_argument("files", metavar="FILE", nargs="+")
    _add_json(verify, "a list of objects")


def _add_stats(commands: Any) -> None:
    stats = _command(
        commands,
        "stats",
        "tell what the values of columns are like: extremes, means, how often each label occurs",
        "$ batchup stats train.parquet\n",
        _stats,
    )
    stats.add_argument("files", metavar="FILE", nargs="+")
    _add_columns(stats)
    _add_skip(stats)
    _add_json(stats, "an object")


def _add_convert(commands: Any) -> None:
    convert = _command(
        commands,
        "convert",
        "write the rows of files into a file of another format",
        "$ batchup convert train.csv.gz train.parquet\n$ batchup convert 'part-*.parquet' train.hsq "
        "--columns image,label\n$ batchup convert names.jsonl names.npz --dtype name=U32\n",
        _convert,
    )
    convert.add_argument("files", metavar="FILE", nargs="+")
    convert.add_argument("out", metavar="OUT", help="the file to write; it has this name when it is whole")
    convert.add_argument("--to", metavar="NAME", help="the format of OUT, if its suffix does not tell")
    _add_columns(convert)
    convert.add_argument(
        "--dtype", metavar="COLUMN=DTYPE", type=arguments.named, action="append", default=[], help="cast a column"
    )
    convert.add_argument(
        "--write", metavar="NAME=VALUE", type=arguments.option, action="append", default=[], help=_OF_WRITER
    )
    _add_skip(convert)
    _add_overwrite(convert)
    _add_json(convert, "an object")


def _add_split(commands: Any) -> None:
    split = _command(
        commands,
        "split",
        "divide files: into pieces of so many rows, or into shares that are drawn",
        "$ batchup split all.parquet --rows 10000 'part-{:05d}.parquet'\n"
        "$ batchup split all.parquet --shares 0.8,0.1,0.1 --seed 7 --stratify label train.npz valid.npz test.npz\n",
        _split,
    )
    split.add_argument("file", metavar="FILE")
    split.add_argument(
        "outs", metavar="OUT", nargs="+", help="a pattern with {} for a number; or a file for each share"
    )
    how = split.add_mutually_exclusive_group(required=True)
    how.add_argument("--rows", type=arguments.positive, metavar="N", help="rows in a file")
    how.add_argument("--shares", type=arguments.shares, metavar="SHARE,...", help="of the rows; they come to 1")
    split.add_argument("--seed", type=arguments.natural, default=0, metavar="N", help="shares are drawn by (default 0)")
    split.add_argument("--stratify", metavar="COLUMN", help="a column of classes, which each share is to mirror")
    split.add_argument("--to", metavar="NAME", help="the format of OUT, if its suffix does not tell")
    _add_skip(split)
    _add_overwrite(split)
    _add_json(split, "a list of objects")


def _add_columns(command: argparse.ArgumentParser) -> None:
    command.add_argument("--columns", type=arguments.names, metavar="NAME,...", help="only these, in this order")


def _add_skip(command: argparse.ArgumentParser) -> None:
    command.add_argument("--skip-errors", action="store_true", help="leave out what is damaged, and exit with status 3")


def _add_overwrite(command: argparse.ArgumentParser) -> None:
    command.add_argument("--overwrite", action="store_true", help="replace what is there, when the new file is whole")


def _add_json(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--json", action="store_true", help=f"print JSON: {what}")


def _info(options: argparse.Namespace) -> int:
    told: list[Any] = []
    failed = 0
    for path in _paths(options):
        try:
            with formats.open_table(path, format=options.format, **dict(options.option)) as table:
                told.append(_facts(path, formats.format_of(path, options.format), table))
        except (BatchUpError, OSError) as error:
            print(f"batchup: {error}", file=sys.stderr)
            failed = 1
    if options.json:
        print_json(told)
        return failed
    for facts in told:
        rows = "rows are counted by reading" if facts["rows"] is None else f"{facts['rows']:,} rows"
        size = "" if facts["bytes"] is None else f", {rounded(facts['bytes'])}"
        print(f"{facts['path']}: {facts['format']}, {rows}{size}")
        print(table_of([[column["name"], column["type"]] for column in facts["columns"]], indent="  "))
    return failed


def _facts(path: str, kind: str, table: Table) -> dict[str, Any]:
    """Return what `info` tells of a file."""
    columns = [
        {"name": name, "type": str(field), "dtype": field.dtype.str, "shape": list(field.shape)}
        for name, field in table.fields.items()
    ]
    return {
        "path": path,
        "format": kind,
        "rows": table.rows,
        "bytes": size_of(path),
        "columns": columns,
        "meta": table.meta,
    }


def _head(options: argparse.Namespace) -> None:
    with _opened(options) as table:
        rows = itertools.islice(iter(formats.Rows(table, options.columns)), options.rows)
        if options.json:
            for row in rows:
                print_json(row, indent=None)
            return
        names = table.chosen(options.columns)
        print(table_of([names, *([cell(row[name]) for name in names] for row in rows)]))


def _verify(options: argparse.Namespace) -> int:
    told = [_verified(path, options) for path in _paths(options)]
    if options.json:
        print_json(told)
    for found in told:
        for problem in found["problems"]:
            print(f"batchup: {problem}", file=sys.stderr)
        if not found["problems"] and not options.json:
            size = "" if found["bytes"] is None else f", {rounded(found['bytes'])}"
            how = "all is well" if found["checksums"] else "read to the end; there are no checksums to compare"
            print(f"{found['path']}: {found['rows']:,} rows{size}, {how}")
    return int(any(found["problems"] for found in told))


def _verified(path: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return what `verify` tells of a file."""
    rows, checksums = 0, False
    problems: Sequence[Exception] = []
    try:
        with formats.open_table(path, format=options.format, **dict(options.option)) as table:
            rows, problems = formats.verify(table, _bar(os.path.basename(path)))
            checksums = table.checksums or formats.compression_of(path) is not None
    except (BatchUpError, OSError) as error:
        problems = [error]
    told = [str(problem) for problem in problems]
    return {"path": path, "rows": rows, "bytes": size_of(path), "checksums": checksums, "problems": told}


def _stats(options: argparse.Namespace) -> int:
    with _opened(options) as table:
        found = formats.stats(table, options.columns, _bar("stats"))
        if options.json:
            print_json(found)
        else:
            for name, told in found.items():
                print(name)
                rows = [[what, cell(value)] for what, value in told.items() if what != "values"]
                print(table_of(rows, indent="  "))
                if "values" in told:
                    print("  " + ", ".join(f"{value}: {count:,}" for value, count in told["values"].items()))
        return _skipped(table.problems)


def _convert(options: argparse.Namespace) -> int:
    options.afterwards = f"{options.out} was not written"
    done = formats.convert(
        options.files,
        options.out,
        source=options.format,
        target=options.to,
        columns=options.columns,
        dtypes=dict(options.dtype),
        on_error="skip" if options.skip_errors else "raise",
        overwrite=options.overwrite,
        bar=_bar(os.path.basename(options.out)),
        reading=dict(options.option),
        writing=dict(options.write),
    )
    if options.json:
        print_json({"path": options.out, "rows": done.rows, "seconds": done.seconds, "skipped": len(done.problems)})
    else:
        print(f"{options.out}: {done.rows:,} rows, {rounded(size_of(options.out) or 0)}, in {done.seconds:.1f} s")
    return _skipped(done.problems)


def _split(options: argparse.Namespace) -> int:
    options.afterwards = "nothing was written"
    options.files = [options.file]
    common = {"target": options.to, "overwrite": options.overwrite, "bar": _bar("split")}
    with _opened(options) as table:
        if options.rows is not None:
            if options.stratify is not None:
                raise InvalidValueError("--stratify is for --shares; --rows keeps the order")
            if len(options.outs) > 1:
                raise InvalidValueError(f"--rows takes one pattern for the files, got {options.outs}")
            written = formats.split_rows(table, options.outs[0], options.rows, **common)
        else:
            written = formats.split_shares(
                table, options.outs, options.shares, seed=options.seed, stratify=options.stratify, **common
            )
        if options.json:
            print_json([{"path": path, "rows": rows} for path, rows in written])
        else:
            for path, rows in written:
                print(f"{path}: {rows:,} rows")
        return _skipped(table.problems)


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[Table]:
    """Open the files of a command as one table."""
    on_error = "skip" if getattr(options, "skip_errors", False) else "raise"
    settings = {"on_error": on_error, **dict(options.option)}
    with formats.open_table(*options.files, format=options.format, **settings) as table:
        yield table


def _paths(options: argparse.Namespace) -> Iterator[str]:
    """Yield the files of a command that takes each by itself; those that are not there as they are written."""
    for name in options.files:
        try:
            yield from formats.found((name,), folders=True)
        except FileNotFoundError:
            yield name


def _bar(name: str) -> Any:
    """Return what makes a bar, which is shown if there is somebody to see it."""
    from tqdm import tqdm

    return functools.partial(tqdm, desc=name, disable=None, leave=False)


def _skipped(problems: Sequence[Exception]) -> int:
    """Say what has been left out; return the exit status."""
    for problem in problems[:MOST_TOLD]:
        print(f"batchup: left out: {problem}", file=sys.stderr)
    if len(problems) > MOST_TOLD:
        print(f"batchup: and {len(problems) - MOST_TOLD} more", file=sys.stderr)
    return SKIPPED if problems else 0
