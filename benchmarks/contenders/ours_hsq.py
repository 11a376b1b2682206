"""The HyperSequence files of this tree, read and written."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from declared import Work
from files import HSQ, RowFiles, ToWrite
from slices import Epoch

from batchup import hypersequence
from contenders import Closing, Way, Ways

SEED = 7
PIECE = 1000


def by_sample(work: Work, files: RowFiles) -> Closing:
    """`HyperSequenceFile(path).data_source().batch_iterator(B, shuffle=7, epoch=e)`."""
    numbers = itertools.count()
    return _epochs(
        work, files, lambda hsq: hsq.data_source().batch_iterator(work.batch, shuffle=SEED, epoch=next(numbers))
    )


def by_batch(work: Work, files: RowFiles) -> Closing:
    """`HyperSequenceFile(path).data_source(by="batch").batch_iterator(B, shuffle=7, epoch=e)`."""
    numbers = itertools.count()
    return _epochs(
        work,
        files,
        lambda hsq: hsq.data_source(by="batch").batch_iterator(work.batch, shuffle=SEED, epoch=next(numbers)),
    )


def native(work: Work, files: RowFiles) -> Closing:
    """`inputs, outputs = hsq[i]` in shuffled order, both copied."""
    rng = np.random.RandomState(1)

    def batches(hsq: Any) -> Iterator[Any]:
        for number in rng.permutation(len(hsq)).tolist():
            inputs, outputs = hsq[number]
            yield np.array(inputs), np.array(outputs)

    return _epochs(work, files, batches)


def native_views(work: Work, files: RowFiles) -> Closing:
    """`hsq[i]` in shuffled order: views, nothing is read."""
    rng = np.random.RandomState(1)
    return _epochs(work, files, lambda hsq: (hsq[number] for number in rng.permutation(len(hsq)).tolist()))


def _epochs(work: Work, files: RowFiles, begin: Callable[[Any], Any]) -> Closing:
    path = files.made(HSQ, lambda path: _write(path, work.batch, files.pieces()))
    kept = None if work.cold else hypersequence.HyperSequenceFile(path)

    def epoch() -> Iterator[Any]:
        if kept is not None:
            yield from begin(kept)
            return
        # cold, nothing may be mapped between the turns
        with hypersequence.HyperSequenceFile(path) as hsq:
            yield from begin(hsq)

    return Closing(epoch, lambda: None if kept is None else kept.close())


def _write(path: str, batch: int, pieces: Any) -> None:
    with hypersequence.HyperSequenceWriter(path, batch_size=batch) as writer:
        for rows, labels in pieces:
            writer.extend(inputs=rows, outputs=labels)


def extended(work: Work, to: ToWrite) -> Epoch:
    """`writer.extend(inputs=X[i:i+1000], outputs=y[i:i+1000])`, fsync."""
    return to.written("hsq", lambda path: _write(path, work.batch, to.pieces(PIECE)))


def appended(work: Work, to: ToWrite) -> Epoch:
    """`writer.append(inputs=x, outputs=y)` for every row, fsync."""

    def write(path: str) -> None:
        with hypersequence.HyperSequenceWriter(path, batch_size=work.batch) as writer:
            for row, label in zip(to.rows, to.labels, strict=True):
                writer.append(inputs=row, outputs=label)

    return to.written("hsq", write)


READING: dict[str, Way] = {
    "batchup, .hsq by sample": by_sample,
    "batchup, .hsq by batch": by_batch,
    "batchup, native batches": native,
}
WAYS: Ways = {
    "file": {**READING, "batchup, native views": native_views},
    "file_cold": READING,
    "write": {"batchup, extend": extended, "batchup, append": appended},
}
