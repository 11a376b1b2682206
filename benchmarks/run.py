"""Measure, and write the tables: `python benchmarks/run.py --only w1d --peers ours,torch`."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import signal
import sys

import w1
import w2
import w3
import w4
import w5
import w6
import w7
import w8
import w10
import w11
import w13
from environments import ENVIRONMENTS, ROOT
from harness import measure
from records import BenchRecord
from render import page

BENCHES = {bench.name: bench for module in (w1, w2, w3, w4, w5, w6, w7, w8, w10, w11, w13) for bench in module.BENCHES}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], help="benches, by name or its beginning: w1d, w4")
    parser.add_argument("--peers", default=",".join(ENVIRONMENTS), help=f"of {', '.join(ENVIRONMENTS)}")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--render-only", action="store_true", help="only write the pages again")
    parser.add_argument("--shrink", type=int, default=1, help="divide the rows, to try the harness")
    parser.add_argument("--out", type=pathlib.Path, help="write below this folder, to try something")
    parser.add_argument("--data", help="make the files that are measured below this folder, instead of the temporary")
    options = parser.parse_args()
    unknown = sorted(set(options.peers.split(",")) - set(ENVIRONMENTS))
    if unknown:
        parser.error(f"--peers: {', '.join(unknown)} not among {', '.join(ENVIRONMENTS)}")
    if not chosen(options.only):
        parser.error(f"--only: nothing begins with {' or '.join(options.only)}; there are {', '.join(BENCHES)}")
    if options.shrink > 1 and options.out is None:
        parser.error("--shrink is for trying: give --out too, so that results are not overwritten")
    return options


def main() -> None:
    """Measure what is asked for, keep the raw results, write the pages they belong to."""
    options = arguments()
    signal.signal(signal.SIGTERM, _terminated)
    top = options.out or ROOT
    results, pages = top / "benchmarks" / "results", top / "docs" / "benchmarks"
    peers = options.peers.split(",")
    for name in chosen(options.only) if not options.render_only else ():
        record = measure(BENCHES[name], peers, options.rounds, options.shrink, data=options.data)
        write(results / f"{record['date']}-{name}.json", json.dumps(record, indent=1) + "\n")
    for title in sorted({page_of(name) for name in chosen(options.only)}):
        render(title, results, pages)


def _terminated(*_: object) -> None:
    """End the workers before we end, and let no second signal interrupt that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit("terminated")


def chosen(beginnings: list[str]) -> list[str]:
    """Tell the benches whose names begin with one of `beginnings`."""
    return [name for name in BENCHES if any(begins(name, beginning) for beginning in beginnings)]


def begins(name: str, beginning: str) -> bool:
    """Tell whether a name begins so, and not in the middle of a number: w10a does not begin with w1."""
    rest = name.removeprefix(beginning)
    return name.startswith(beginning) and not (beginning[-1:].isdigit() and rest[:1].isdigit())


def page_of(name: str) -> str:
    """Tell the page of a bench: w1 for w1d."""
    return re.sub(r"\D+$", "", name)


def newest(results: pathlib.Path, name: str) -> pathlib.Path | None:
    """Find the newest raw results of a bench."""
    return max(results.glob(f"????-??-??-{name}.json"), default=None)


def render(title: str, results: pathlib.Path, pages: pathlib.Path) -> None:
    """Write one page from the newest raw results of each of its benches."""
    records: list[tuple[BenchRecord, str]] = []
    for name in BENCHES:
        path = newest(results, name) if page_of(name) == title else None
        if path is not None:
            link = pathlib.PurePath(os.path.relpath(path, pages)).as_posix()
            records.append((json.loads(path.read_text()), link))
    if records:
        write(pages / f"{title}.md", page(title, records))


def write(path: pathlib.Path, text: str) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_text(text)
    beside.replace(path)
    print(path.name)


if __name__ == "__main__":
    main()
