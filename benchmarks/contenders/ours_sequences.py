"""Sequences by the batchup of this tree, and what bounds them: copies, and windows gathered by a plan."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import memory
import numpy as np
from declared import Work
from records import Shot
from sequences import Sequences, batches_by_hand
from slices import Epoch

from batchup import sequences as seq
from contenders import Trial, Ways

SEED = 7
BUCKETS = 50


def _endless(source: Any, work: Work) -> Epoch:
    def epoch() -> Iterator[Any]:
        for number in itertools.count():
            yield from source.batch_iterator(work.batch, shuffle=SEED, epoch=number)

    return epoch


def _reader(sequences: Sequences) -> seq.RecordReader:
    return seq.InMemoryReader(seq.Ragged(sequences.values, sequences.offsets))


def in_memory(work: Work, sequences: Sequences) -> Epoch:
    """`InMemoryReader(ragged).data_source(max_tokens=4096, beside=None).batch_iterator(4096, shuffle=7, epoch=e)`."""
    return _endless(_reader(sequences).data_source(max_tokens=work.batch, beside=None), work)


def with_lengths(work: Work, sequences: Sequences) -> Epoch:
    """The same with the lengths of the sequences beside them, which is the default."""
    return _endless(_reader(sequences).data_source(max_tokens=work.batch), work)


def from_file(work: Work, sequences: Sequences) -> Epoch:
    """`FileRecordReader(path).data_source(max_tokens=4096, beside=None)`, the file in the page cache."""
    path = sequences.file("ours.records", lambda path: _write(seq.FileRecordWriter, path, sequences))
    return _endless(seq.FileRecordReader(path).data_source(max_tokens=work.batch, beside=None), work)


def from_hdf5(work: Work, sequences: Sequences) -> Epoch:
    """`Hdf5RecordReader(path).data_source(max_tokens=4096, beside=None)`, the file in the page cache."""
    path = sequences.file("ours.hdf5", lambda path: _write(seq.Hdf5RecordWriter, path, sequences))
    return _endless(seq.Hdf5RecordReader(path).data_source(max_tokens=work.batch, beside=None), work)


def _write(writer_class: Any, path: str, sequences: Sequences) -> None:
    with writer_class(path) as writer:
        writer.extend(seq.Ragged(sequences.values, sequences.offsets))


def seqp_way(work: Work, sequences: Sequences) -> Epoch:
    """`DataLoader(InMemoryReader(ragged)).iterator(4096, is_size_in_tokens=True)`: the call of seqp, done here."""
    loader = seq.DataLoader(_reader(sequences))
    return lambda: loader.iterator(work.batch, is_size_in_tokens=True, shuffle=SEED)


def memcpy(work: Work, sequences: Sequences) -> Epoch:
    """`numpy.copyto` of as many bytes, in order, into one array again and again."""
    out = np.empty(work.batch, work.dtype)
    parts = [sequences.values[i : i + work.batch] for i in range(0, len(sequences.values) - work.batch, work.batch)]

    def epoch() -> Iterator[Any]:
        for part in itertools.cycle(parts):
            np.copyto(out, part)
            yield out

    return epoch


def windows(work: Work, sequences: Sequences) -> Epoch:
    """By hand, planned before: a strided window per sequence, `W[starts]`, then zeros to where a mask says."""
    values, rng = sequences.values, np.random.default_rng(0)
    room = np.concatenate([values, np.zeros(work.batch, values.dtype)])
    plan = []
    for batch in batches_by_hand(sequences.lengths, work.batch, rng):
        lengths = sequences.lengths[batch]
        width = int(lengths.max())
        shape, strides = (len(room) - width + 1, width), (room.itemsize, room.itemsize)
        strided = np.lib.stride_tricks.as_strided(room, shape, strides)
        shortest = int(lengths.min())
        plan.append((strided, sequences.offsets[batch], shortest, np.arange(shortest, width) >= lengths[:, None]))

    def epoch() -> Iterator[Any]:
        for strided, starts, shortest, empty in itertools.cycle(plan):
            rows = strided[starts]
            np.copyto(rows[:, shortest:], 0, where=empty)
            yield rows

    return epoch


def one_by_one(work: Work, sequences: Sequences) -> Epoch:
    """By hand, planned before: `numpy.zeros`, and a loop that copies each sequence into its row."""
    plan = batches_by_hand(sequences.lengths, work.batch, np.random.default_rng(0))

    def epoch() -> Iterator[Any]:
        for batch in itertools.cycle(plan):
            parts = [sequences[number] for number in batch.tolist()]
            rows = np.zeros((len(parts), max(map(len, parts))), work.dtype)
            for row, part in zip(rows, parts, strict=True):
                row[: len(part)] = part
            yield rows

    return epoch


def opened(work: Work, sequences: Sequences) -> Trial:
    """`FileRecordReader(path)`, and the record in the middle; then a source, and its first shuffled batch."""
    path = sequences.file("ours.records", lambda path: _write(seq.FileRecordWriter, path, sequences))
    return lambda: _opened(work, seq.FileRecordReader, path)


def opened_hdf5(work: Work, sequences: Sequences) -> Trial:
    """The same with `Hdf5RecordReader(path)`."""
    path = sequences.file("ours.hdf5", lambda path: _write(seq.Hdf5RecordWriter, path, sequences))
    return lambda: _opened(work, seq.Hdf5RecordReader, path)


def _opened(work: Work, reader_class: Any, path: str) -> Shot:
    before, begin = memory.held() or 0, time.perf_counter()
    reader = reader_class(path)
    record = reader.retrieve(reader.num_records() // 2)
    seconds, held = time.perf_counter() - begin, (memory.held() or 0) - before
    if int(record[0]) != np.array(work.rows // 2 + 1).astype(work.dtype):
        raise ValueError("another record was read")
    begin = time.perf_counter()
    next(reader.data_source(max_tokens=work.batch).batch_iterator(work.batch, shuffle=SEED))
    return {"open, ms": 1e3 * seconds, "held, MB": held / 1e6, "first batch, ms": 1e3 * (time.perf_counter() - begin)}


def shares(work: Work, sequences: Sequences) -> Trial:
    """`data_source(max_tokens=4096, num_buckets=50)`, one epoch; and `pack(reader, 2048)`."""
    reader = _reader(sequences)

    def trial() -> Shot:
        source = reader.data_source(max_tokens=work.batch, num_buckets=BUCKETS)
        held = used = 0
        for rows, lengths in source.batch_iterator(work.batch, shuffle=SEED):
            held, used = held + rows.size, used + int(lengths.sum())
        begin = time.perf_counter()
        packs = seq.pack(reader, 2048)
        return {
            "padding, share": 1 - used / held,
            "room in packed rows, share": 1 - packs.fill,
            "packing, ms": 1e3 * (time.perf_counter() - begin),
        }

    return trial


WAYS: Ways = {
    "ragged": {
        "batchup": in_memory,
        "batchup, lengths": with_lengths,
        "batchup, record file": from_file,
        "batchup, HDF5": from_hdf5,
        "batchup, seqp's call": seqp_way,
        "planned windows": windows,
        "one by one": one_by_one,
        "memcpy": memcpy,
    },
    "open": {"batchup, record file": opened, "batchup, HDF5": opened_hdf5},
    "shares": {"batchup": shares},
}
