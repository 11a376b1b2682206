"""seqp 0.1: its loader over records in memory, and over its HDF5 files."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import Any

from declared import Work
from seqp.hdf5 import Hdf5RecordReader, Hdf5RecordWriter
from seqp.iteration import DataLoader
from seqp.memory import InMemoryReader
from sequences import Sequences
from slices import Epoch

from contenders import Closing, Ways


def in_memory(work: Work, sequences: Sequences) -> Epoch:
    """`DataLoader(InMemoryReader(list)).iterator(4096, is_size_in_tokens=True)`."""
    reader = InMemoryReader([sequences[number] for number in range(len(sequences))])
    return _batches(DataLoader(reader), work)


def from_hdf5(work: Work, sequences: Sequences) -> Closing:
    """`DataLoader(Hdf5RecordReader(path)).iterator(4096, is_size_in_tokens=True)`, the file in the page cache."""
    reader = Hdf5RecordReader(sequences.file("seqp.hdf5", lambda path: _write(path, sequences)))
    return Closing(_batches(DataLoader(reader), work), reader.close)


def _write(path: str, sequences: Sequences) -> None:
    with Hdf5RecordWriter(path) as writer:
        for number in range(len(sequences)):
            writer.write(sequences[number])


def _batches(loader: Any, work: Work) -> Epoch:
    def epoch() -> Iterator[Any]:
        random.seed(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield from loader.iterator(work.batch, is_size_in_tokens=True)

    return epoch


WAYS: Ways = {"ragged": {"seqp, in memory": in_memory, "seqp, HDF5": from_hdf5}}
