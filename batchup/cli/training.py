"""`batchup demo`, and `batchup sequences`."""

from __future__ import annotations

import argparse
from typing import Any

from batchup.cli import arguments


def add(commands: Any) -> None:
    """Add the commands."""
    _add_demo(commands.add_parser("demo", help="train a small network on real handwritten digits, in a few seconds"))
    sequences = commands.add_parser("sequences", help="files of variable-length records")
    actions = sequences.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_build(actions.add_parser("build", help="turn a text, line by line, into record files and a vocabulary"))


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument(
        "--epochs", type=arguments.positive, default=15, metavar="N", help="how many epochs to train (default 15)"
    )
    demo.add_argument("--resume", action="store_true", help="go on from the checkpoint of a run that was killed")
    demo.set_defaults(run=_demo, afterwards="--resume goes on from the checkpoint")


def _add_build(build: argparse.ArgumentParser) -> None:
    build.add_argument("corpus", metavar="CORPUS", help="a UTF-8 text file; each line is a sequence")
    build.add_argument("out", metavar="OUT", help="the folder to make")
    vocabulary = build.add_mutually_exclusive_group()
    vocabulary.add_argument(
        "--max-symbols", type=arguments.positive, metavar="N", help="keep the N most frequent (3 special)"
    )
    vocabulary.add_argument("--vocabulary", metavar="FILE.json", help="take this vocabulary, and collect none")
    build.add_argument("--tokenizer", metavar="MODULE:FUNCTION", help="what splits a line (default: at white space)")
    build.add_argument(
        "--records-per-shard", type=arguments.positive, default=1_000_000, metavar="N", help="default 1000000"
    )
    build.add_argument("--format", choices=["records", "hdf5"], default="records", help="of the files")
    unknown = build.add_mutually_exclusive_group()
    unknown.add_argument("--use-unk", action="store_true", default=True, help="mark unknown tokens by unk (default)")
    unknown.add_argument("--drop-unknown", action="store_false", dest="use_unk", help="leave unknown tokens out")
    build.add_argument("--no-eos", action="store_false", dest="add_eos", help="put no eos behind each sequence")
    build.set_defaults(run=_build, afterwards="nothing was built")


def _demo(options: argparse.Namespace) -> None:
    from batchup import demo

    demo.main(options.epochs, options.resume)


def _build(options: argparse.Namespace) -> None:
    from batchup.sequences import corpus

    report = corpus.build(
        options.corpus,
        options.out,
        max_symbols=options.max_symbols,
        tokenizer=options.tokenizer,
        vocabulary=options.vocabulary,
        records_per_shard=options.records_per_shard,
        file_format=options.format,
        use_unk=options.use_unk,
        add_eos=options.add_eos,
    )
    print(*report.lines(), sep="\n")
