"""W13: shuffled batches of what lies in a Parquet file."""

from __future__ import annotations

from declared import Bench, Case, Target, Work

NOTE = (
    "The consumer lets go of each batch at once and touches nothing in it; batches are dicts of arrays, with an int64 "
    "label for each row. All read one file, written by pyarrow: row groups of 16 MB, zstd. Reading and decoding it "
    "whole, where that is done, is in *build*, and not in the rates; so is what Hugging Face's `datasets` makes of it, "
    "an Arrow file that is mapped into memory. *arrays* are in memory from the beginning: the limit."
)
OURS, THEIRS, FLAT, TAKE, LIMIT = (
    "batchup",
    "Hugging Face",
    "Hugging Face, flattened",
    "pyarrow take",
    "arrays",
)
TARGETS = (Target(OURS, 3, THEIRS), Target(OURS, 1, FLAT), Target(OURS, 1, TAKE), Target(OURS, 0.8, LIMIT))


def _case(kind: str, label: str, rows: int, batch: int, side: int, dtype: str) -> Case:
    return Case(f"{label}, n = {rows:,}, B = {batch}", Work(kind, rows, batch, (side,), dtype), TARGETS)


def _bench(name: str, title: str, *cases: Case) -> Bench:
    return Bench(
        name, title, (LIMIT,), cases, NOTE, main=OURS, environments=("ours_parquet", "hugging_face"), shows_rate=True
    )


BENCHES = (
    _bench(
        "w13a",
        "Rows of pixels in a Parquet file, shuffled",
        *(_case("parquet", "784 uint8", 61_440, batch, 784, "uint8") for batch in (64, 256)),
    ),
    _bench(
        "w13b",
        "A table of numbers in a Parquet file, shuffled",
        *(_case("parquet_table", "16 columns of float32", 307_200, batch, 16, "float32") for batch in (64, 256)),
    ),
)
