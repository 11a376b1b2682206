"""`batchup files`: many small files in one HDF5 file."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from batchup.cli import arguments


def add(commands: Any) -> None:
    """Add the command."""
    files = commands.add_parser("files", help="many small files in one HDF5 file")
    actions = files.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_images(actions, "images", help="put the images of folders into one file, with labels by directory")
    _add_sounds(actions, "sounds", help="put the wav files of folders into one file, with labels by directory")


def _add_images(actions: Any, name: str, **keywords: str) -> None:
    images = _bank(actions, name, _IMAGES, **keywords)
    images.add_argument("--size", type=arguments.size, metavar="WxH", help="resize all to so many pixels: 224x224")
    images.add_argument(
        "--mode", choices=["L", "RGB"], help="make all grey (L) or coloured (RGB); default: as they are"
    )
    images.add_argument("--vshape", action="store_true", help="let each have its own size and channels")
    images.set_defaults(make="images", own=("size", "mode", "vshape"))


def _add_sounds(actions: Any, name: str, **keywords: str) -> None:
    sounds = _bank(actions, name, _SOUNDS, **keywords)
    sounds.add_argument(
        "--sample-rate", type=arguments.positive, metavar="HZ", help="refuse sounds of another sample rate"
    )
    sounds.add_argument("--mono", action="store_true", help="average the channels")
    sounds.set_defaults(make="sounds", own=("sample_rate", "mono"))


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
    bank.add_argument(
        "--workers", type=arguments.positive, metavar="N", help="load N files at a time (default: one per core)"
    )
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
