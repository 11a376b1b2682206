"""Measure how fast formats are read, written and converted: `python benchmarks/formats_speed.py`, in some minutes.

It writes the raw results, and `docs/benchmarks/formats.md` from them. For the disk not to be what is measured, files
are warm; each round reads, writes and converts in shuffled order.
"""

from __future__ import annotations

import json
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from environments import ROOT
from machine import describe

from batchup import __version__
from batchup.formats import Field, convert, open_table
from batchup.formats.registry import format_called
from batchup.formats.table import Block, block_rows, fields_of, length_of, objects, part_of

RESULTS = ROOT / "benchmarks" / "results" / "formats_speed.json"
PAGE = ROOT / "docs" / "benchmarks" / "formats.md"
ROUNDS = 5
BOUND = 0.7  # of the slower of reading and writing
SUFFIXES = {
    "npy": ".npy",
    "npz": ".npz",
    "hsq": ".hsq",
    "hdf5": ".h5",
    "zarr": ".zarr",
    "parquet": ".parquet",
    "arrow": ".arrow",
    "records": ".records",
    "webdataset": ".tar",
    "tfrecord": ".tfrecord",
    "csv": ".csv",
    "csv, gzip": ".csv.gz",
    "csv, zst": ".csv.zst",
    "jsonl": ".jsonl",
    "images": "",
}
CONVERSIONS = (
    ("numbers", "csv", "parquet"),
    ("numbers", "csv", "hsq"),
    ("numbers", "parquet", "hsq"),
    ("numbers", "parquet", "csv"),
    ("numbers", "jsonl", "parquet"),
    ("numbers", "csv, gzip", "npz"),
    ("images", "parquet", "hsq"),
    ("images", "npz", "parquet"),
    ("images", "hsq", "hdf5"),
    ("images", "hdf5", "npz"),
    ("images", "zarr", "hsq"),
    ("images", "webdataset", "hsq"),
    ("images", "hsq", "webdataset"),
    ("images", "tfrecord", "parquet"),
)
# pairs of which a tenth of the rows is taken, so that a round takes no minutes
SLOW = {("numbers", "webdataset"), ("numbers", "tfrecord"), ("images", "jsonl"), ("images", "images")}
SHARE = 10
Notes = dict[str, list[float]]


def data() -> dict[str, Block]:
    """Return what is written: digits with labels, and a table of numbers and a short text."""
    rng = np.random.default_rng(0)
    count, rows = 60_000, 400_000
    numbers: Block = {f"x{number}": rng.normal(size=rows) for number in range(6)}
    numbers["label"] = rng.integers(10, size=rows)
    images: Block = {
        "image": rng.integers(256, size=(count, 28, 28), dtype=np.uint8),
        "label": np.sort(rng.integers(10, size=count)),
    }
    return {"images": images, "numbers": numbers, "texts": {"text": objects(["to be or not to be " * 20] * 100_000)}}


def main() -> None:
    """Measure, and write the raw results and the page."""
    if "--render-only" not in sys.argv:
        RESULTS.write_text(json.dumps(measured(), indent=1) + "\n")
    PAGE.write_text(page(json.loads(RESULTS.read_text())))


def measured() -> dict[str, Any]:
    """Return the raw results."""
    notes: Notes = defaultdict(list)
    blocks = data()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        turns: list[Callable[[], None]] = []
        for kind, block in blocks.items():
            for format_ in SUFFIXES:
                source = folder / f"{kind}{format_.replace(', ', '-')}{SUFFIXES[format_]}"
                part = part_of(block, 0, length_of(block) // SHARE) if (kind, format_) in SLOW else block
                if _holds(format_, part, source):
                    turns += [_reading(notes, kind, format_, source), _writing(notes, kind, format_, part, folder)]
        for kind, one, other in CONVERSIONS:
            source = folder / f"{kind}{one.replace(', ', '-')}{SUFFIXES[one]}"
            if source.exists():
                turns.append(_converting(notes, kind, (one, other), source, folder))
        for number in range(ROUNDS + 1):
            random.Random(number).shuffle(turns)
            for turn in turns:
                turn()
            if number == 0:
                notes.clear()
    return {
        "name": "formats_speed",
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe(),
        "versions": {"batchup": __version__, "numpy": np.__version__},
        "bytes": {kind: _bytes(block) for kind, block in blocks.items()},
        "figures": dict(notes),
    }


def _bytes(block: Block) -> int:
    """Return how many bytes the values of a block are."""
    return sum(v.nbytes if v.dtype != object else sum(len(text.encode()) for text in v) for v in block.values())


def _holds(format_: str, block: Block, path: pathlib.Path) -> bool:
    """Write a file to read later; return whether the format holds such rows."""
    try:
        _write(format_, block, path)
    except (TypeError, ValueError):
        return False
    return True


def _write(format_: str, block: Block, path: pathlib.Path) -> None:
    fields: dict[str, Field] = fields_of(block)
    size, rows = block_rows(fields), length_of(block)
    sink = format_called(format_.split(",")[0]).sink
    assert sink is not None
    with sink(str(path), fields, rows=rows, **({"cast": True} if format_ == "tfrecord" else {})) as put:
        for start in range(0, rows, size):
            put(part_of(block, start, min(start + size, rows)))


def _removed(path: pathlib.Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _timed(notes: Notes, name: str, turn: Callable[[], None]) -> Callable[[], None]:
    def timed() -> None:
        begin = time.perf_counter()
        turn()
        notes[name].append(time.perf_counter() - begin)

    return timed


def _reading(notes: Notes, kind: str, format_: str, path: pathlib.Path) -> Callable[[], None]:
    def read() -> None:
        with open_table(path) as table:
            for block in table.blocks():
                touched(block)

    return _timed(notes, f"{kind}: read {format_}", read)


def touched(block: Block) -> None:
    """Look at all numbers of a block: a mapped file is read only then."""
    for values in block.values():
        if values.dtype != object:
            np.asarray(values).view(np.uint8).max() if values.size else None


def _writing(notes: Notes, kind: str, format_: str, block: Block, folder: pathlib.Path) -> Callable[[], None]:
    path = folder / f"written{SUFFIXES[format_]}"
    timed = _timed(notes, f"{kind}: write {format_}", lambda: _write(format_, block, path))

    def turn() -> None:
        timed()
        _removed(path)

    return turn


def _converting(
    notes: Notes, kind: str, formats: tuple[str, str], source: pathlib.Path, folder: pathlib.Path
) -> Callable[[], None]:
    path = folder / f"converted{SUFFIXES[formats[1]]}"
    timed = _timed(notes, f"{kind}: convert {formats[0]} into {formats[1]}", lambda: _convert(source, path))

    def turn() -> None:
        timed()
        _removed(path)

    return turn


def _convert(source: pathlib.Path, path: pathlib.Path) -> None:
    convert(source, path, writing={"cast": True} if path.suffix == ".tfrecord" else None)


def page(record: dict[str, Any]) -> str:
    """Return the page."""
    figures: Notes = record["figures"]
    lines = [
        "# Reading, writing and converting files",
        "",
        f"Measured on {record['date']}, {record['machine']['processor']}, {record['machine']['cores']} cores. "
        f"MB are of the values in memory: {_sizes(record['bytes'])}. Files are warm. Medians of {ROUNDS} rounds.",
        "",
        "| format | images: read, MB/s | write | numbers: read, MB/s | write | texts: read, MB/s | write |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    for format_ in SUFFIXES:
        cells = [
            _rate(
                figures.get(f"{kind}: {what} {format_}"),
                record["bytes"][kind] // (SHARE if (kind, format_) in SLOW else 1),
            )
            for kind in record["bytes"]
            for what in ("read", "write")
        ]
        if any(cells):
            lines.append(f"| {format_} | {' | '.join(cells)} |")
    lines += [
        "",
        "A conversion reads with one thread and writes with another, so that it is bound by the slower of the two, as "
        f"far as they leave each other processors: {BOUND} of it is the target.",
        "",
        "| conversion | s | reading alone | writing alone | of the slower | of both in turn |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for kind, one, other in CONVERSIONS:
        if (took := figures.get(f"{kind}: convert {one} into {other}")) is not None:
            read, write = median(figures[f"{kind}: read {one}"]), median(figures[f"{kind}: write {other}"])
            bound, total = max(read, write) / median(took), (read + write) / median(took)
            met = "" if bound >= BOUND else " (missed)"
            lines.append(
                f"| {kind}: {one} into {other} | {median(took):.2f} | {read:.2f} | {write:.2f} | {bound:.2f}{met} | "
                f"{total:.2f} |"
            )
    return "\n".join(lines) + "\n"


def _sizes(sizes: dict[str, int]) -> str:
    return ", ".join(f"{size / 1e6:.0f} MB of {kind}" for kind, size in sizes.items())


def _rate(seconds: list[float] | None, size: int) -> str:
    return "" if not seconds else f"{size / 1e6 / median(seconds):,.0f}"


if __name__ == "__main__":
    main()
