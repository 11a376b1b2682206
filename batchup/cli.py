"""The command line: `batchup`, or `python -m batchup`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import batchup
from batchup import config
from batchup.errors import BatchUpError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status: 0, 1 after an error, 3 if files were skipped, 130 after Ctrl-C."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
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
    _add_demo(commands.add_parser("demo", help="train a small network on real handwritten digits, in a few seconds"))
    sequences = commands.add_parser("sequences", help="files of variable-length records")
    actions = sequences.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_build(actions.add_parser("build", help="turn a text, line by line, into record files and a vocabulary"))
    files = commands.add_parser("files", help="many small files in one HDF5 file")
    actions = files.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_images(actions, "images", help="put the images of folders into one file, with labels by directory")
    _add_sounds(actions, "sounds", help="put the wav files of folders into one file, with labels by directory")
    _add_datasets(commands.add_parser("datasets", help="standard data sets: fetch, verify, show or remove them"))
    return parser


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--epochs", type=_positive, default=15, metavar="N", help="how many epochs to train (default 15)")
    demo.add_argument("--resume", action="store_true", help="go on from the checkpoint of a run that was killed")
    demo.set_defaults(run=_demo, afterwards="--resume goes on from the checkpoint")


def _add_build(build: argparse.ArgumentParser) -> None:
    build.add_argument("corpus", metavar="CORPUS", help="a UTF-8 text file; each line is a sequence")
    build.add_argument("out", metavar="OUT", help="the folder to make")
    vocabulary = build.add_mutually_exclusive_group()
    vocabulary.add_argument("--max-symbols", type=_positive, metavar="N", help="keep the N most frequent (3 special)")
    vocabulary.add_argument("--vocabulary", metavar="FILE.json", help="take this vocabulary, and collect none")
    build.add_argument("--tokenizer", metavar="MODULE:FUNCTION", help="what splits a line (default: at white space)")
    build.add_argument("--records-per-shard", type=_positive, default=1_000_000, metavar="N", help="default 1000000")
    build.add_argument("--format", choices=["records", "hdf5"], default="records", help="of the files")
    unknown = build.add_mutually_exclusive_group()
    unknown.add_argument("--use-unk", action="store_true", default=True, help="mark unknown tokens by unk (default)")
    unknown.add_argument("--drop-unknown", action="store_false", dest="use_unk", help="leave unknown tokens out")
    build.add_argument("--no-eos", action="store_false", dest="add_eos", help="put no eos behind each sequence")
    build.set_defaults(run=_build, afterwards="nothing was built")


def _add_images(actions: Any, name: str, **keywords: str) -> None:
    images = _bank(actions, name, _IMAGES, **keywords)
    images.add_argument("--size", type=_size, metavar="WxH", help="resize all to so many pixels: 224x224")
    images.add_argument(
        "--mode", choices=["L", "RGB"], help="make all grey (L) or coloured (RGB); default: as they are"
    )
    images.add_argument("--vshape", action="store_true", help="let each have its own size and channels")
    images.set_defaults(make="images", own=("size", "mode", "vshape"))


def _add_sounds(actions: Any, name: str, **keywords: str) -> None:
    sounds = _bank(actions, name, _SOUNDS, **keywords)
    sounds.add_argument("--sample-rate", type=_positive, metavar="HZ", help="refuse sounds of another sample rate")
    sounds.add_argument("--mono", action="store_true", help="average the channels")
    sounds.set_defaults(make="sounds", own=("sample_rate", "mono"))


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
            one.add_argument("--per-class", type=_positive, default=10, metavar="N", help="images of each (default 10)")
            one.add_argument(
                "--seed", type=_natural, default=0, metavar="N", help="by which they are drawn (default 0)"
            )


def _bank(actions: Any, name: str, text: tuple[str, str], **keywords: str) -> argparse.ArgumentParser:
    bank: argparse.ArgumentParser = actions.add_parser(
        name,
        description=text[0],
        epilog=text[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **keywords,
    )
    bank.add_argument("out", metavar="OUT.h5", help="the file to make")
    bank.add_argument("folders", metavar="FOLDER", nargs="+", help="what to look for files in, with all folders below")
    bank.add_argument("--append", action="store_true", help="add to OUT.h5 what it does not have yet")
    bank.add_argument(
        "--skip-errors", action="store_true", help="leave out what cannot be read, and exit with status 3"
    )
    bank.add_argument("--resume", action="store_true", help="keep what is loaded until all is, and go on from there")
    bank.add_argument("--workers", type=_positive, metavar="N", help="load N files at a time (default: one per core)")
    bank.add_argument("--parallelism", choices=["mp", "threads", "none"], default="mp", help="of loading (default mp)")
    bank.set_defaults(run=_make_bank)
    return bank


_IMAGES = (
    """\
Put images into one HDF5 file. The id of an image is its path, as FOLDER was written; its label is the number of
the directory it lies in, among the sorted names of all of them. All must be equally wide and have equally many
channels: see --size and --mode, or --vshape.
""",
    """\
$ batchup files images digits.h5 digits/ --mode L

and in Python:

    from batchup import typed_files as h5m

    class Digits(h5m.TypedFile):
        images = h5m.Image()          # h5m.VShape(h5m.Image()) after --vshape
        labels = h5m.DirLabels()

    for images, labels in Digits("digits.h5").data_source().batch_iterator(64, shuffle=1234):
        ...

The names of the labels are in Digits("digits.h5").labels.attrs["names"].
""",
)
_SOUNDS = (
    """\
Put wav files into one HDF5 file, as float32 between -1 and 1. The id of a sound is its path, as FOLDER was
written; its label is the number of the directory it lies in, among the sorted names of all of them. Sounds may
differ in length, but not in the number of channels: see --mono. Nothing is resampled.
""",
    """\
$ batchup files sounds notes.h5 notes/ --sample-rate 16000 --mono

and in Python:

    from batchup import typed_files as h5m

    class Notes(h5m.TypedFile):
        sounds = h5m.Sound()
        labels = h5m.DirLabels()

    notes = Notes("notes.h5")
    one = notes.sounds.get("notes/a/440.wav")
    windows = notes.serve({"x": h5m.Input("sounds", h5m.AsSlice(length=1024))}, batch_size=32, shuffle=True)
""",
)


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


def _make_bank(options: argparse.Namespace) -> int:
    from batchup.typed_files import banks

    kept = "run it again to go on" if options.resume else "with --resume, what was loaded is kept"
    options.afterwards = f"{options.out} was not {'added to' if options.append else 'made'}; {kept}"
    report = getattr(banks, options.make)(
        options.out,
        options.folders,
        append=options.append,
        on_error="skip" if options.skip_errors else "raise",
        resume=options.resume,
        n_workers=options.workers,
        parallelism=options.parallelism,
        **{name: getattr(options, name) for name in options.own},
    )
    print(*report.lines(), sep="\n")
    for warning in report.warnings():
        print(f"batchup: {warning}", file=sys.stderr)
    return 3 if report.skipped else 0


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


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT in pixels, like 224x224, got {text!r}")
    return int(width), int(height)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)
