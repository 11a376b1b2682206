"""`batchup datasets`: standard data sets on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from batchup import config
from batchup.cli import arguments
from batchup.errors import BatchUpError


def add(commands: Any) -> None:
    """Add the command."""
    _add_datasets(commands.add_parser("datasets", help="standard data sets: fetch, verify, show or remove them"))


def _add_datasets(datasets: argparse.ArgumentParser) -> None:
    actions = datasets.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, (run, count, text) in _ACTIONS.items():
        one = actions.add_parser(action, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if count is not None:
            one.add_argument("names", metavar="NAME", nargs=count, help="mnist, cifar10, ...; list tells them all")
        one.set_defaults(run=run, afterwards=f"{action} it again to go on")
        if action == "show":
            one.add_argument("--out", metavar="FILE.png", help="the file to write (default: NAME.png)")
            one.add_argument("--part", choices=["train", "test"], default="train", help="default train")
            one.add_argument(
                "--per-class", type=arguments.positive, default=10, metavar="N", help="images of each (default 10)"
            )
            one.add_argument(
                "--seed", type=arguments.natural, default=0, metavar="N", help="by which they are drawn (default 0)"
            )


def _list_datasets(options: argparse.Namespace) -> None:
    from batchup.datasets import catalog

    print(config.get_data_dir())
    rows = catalog.listed()
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _fetch_datasets(options: argparse.Namespace) -> None:
    from batchup.datasets import catalog

    for name, one in catalog.standard(options.names).items():
        one.fetch()
        print(f"{name}: {catalog.counts_of(one.opened())}, in {one.fetch.target_path}")


def _print_path(options: argparse.Namespace) -> None:
    from batchup.datasets import catalog

    for one in catalog.standard(options.names).values():
        print(one.fetch.target_path)


def _verify_datasets(options: argparse.Namespace) -> int:
    from batchup.datasets import catalog
    from batchup.datasets.manifest import verify

    failed = 0
    for name, one in catalog.standard(options.names or catalog.there()).items():
        try:
            print(f"{name}: {verify(one.fetch.target_path) / 1e6:,.1f} MB are what was written")
        except FileNotFoundError:
            failed = 1
            print(f"batchup: {name} is not on this machine: batchup datasets fetch {name}", file=sys.stderr)
        except BatchUpError as error:
            failed = 1
            print(f"batchup: {name}: {error}", file=sys.stderr)
    return failed


def _remove_datasets(options: argparse.Namespace) -> None:
    from batchup.datasets import catalog

    for name, one in catalog.standard(options.names).items():
        one.fetch.delete_cache()
        print(f"{name} is not on this machine any more")


def _show_dataset(options: argparse.Namespace) -> None:
    from batchup.datasets import catalog, sheet

    for name, one in catalog.standard(options.names).items():
        out = options.out or f"{name}.png"
        width, height = sheet.write_sheet(one.opened(), out, options.part, options.per_class, options.seed)
        print(f"{out}: {width} x {height} pixels")


_ACTIONS: dict[str, tuple[Callable[[argparse.Namespace], int | None], str | int | None, str]] = {
    "list": (_list_datasets, None, "list the data sets, and what is on this machine of them"),
    "fetch": (_fetch_datasets, "+", "fetch data sets, unless they are there"),
    "path": (_print_path, 1, "print the folder that a data set lies in, or will lie in"),
    "verify": (_verify_datasets, "*", "compare data sets with what was written; by default all that are there"),
    "remove": (_remove_datasets, "+", "remove data sets from this machine"),
    "show": (_show_dataset, 1, "write a contact sheet: some images of each class"),
}
