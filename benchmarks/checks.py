"""That a contender does the work at all: looked at once, before anything is timed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from declared import PARQUET, Work
from files import RowFiles, ToCreate, ToWrite, read_back
from images import pixels_of
from items import LABEL, ROW, busy, kept_in_order, wrong_kept
from jpegs import Jpegs, numbers_of
from parquets import pair_of
from sequences import Sequences, wrong_batches
from slices import Epoch
from sources import Array, row_numbers
from typed import read_typed

IN_SOURCE_ORDER = ("memcpy", "preadv")
WITHOUT_ROWS = ("random reads",)
WITHOUT_PARSING = ("cut by length",)
WITHOUT_FETCHING = ("sha256 alone",)
WITHOUT_IDS = ("np.load alone", "one array by h5py")
WIDENING = "Hugging Face"  # which makes int64 of all integers
LOOKED_AT = 4  # of whole batches, two may well be neighbours
DECODERS_DIFFER = 1.0


def check(name: str, work: Work, source: Any, epoch: Epoch) -> None:
    """Raise `ValueError` when the first batches of an epoch are not what the work asks for."""
    if work.kind == "create":
        if name not in WITHOUT_IDS:
            _check_created(source)
        return
    if work.kind == "fetch" and name in WITHOUT_FETCHING:
        return
    if work.kind in ("write", "fetch"):
        begun = epoch()
        _check_written(source, next(begun))
        return
    if work.kind == "scaled":
        batches = [pixels_of(_only(batch)) for batch in itertools.islice(epoch(), LOOKED_AT)]
        _check_rows(name, work, source.rows(), batches)
        return
    if work.from_files:
        if name not in WITHOUT_ROWS:
            _check_from_files(name, work, source, epoch)
        return
    if work.kind == "busy":
        made = list(itertools.islice(epoch(), LOOKED_AT))
        _require(made == [busy(number) for number in source[:LOOKED_AT]], "not what the function returns")
        return
    if work.kind == "ragged":
        _check_ragged(name, work, source, epoch)
        return
    # batches are copied, because the limits hand out one buffer again and again
    batches = [np.array(_only(batch)) for batch in itertools.islice(epoch(), 2)]
    if work.kind in ("weighted", "order", "enter"):
        _check_indices(work, batches)
    elif work.kind == "per_item":
        _check_kept(name, work, batches)
    elif work.kind == "join":
        _check_joined(source, batches)
    elif work.kind == "decode":
        _check_decoded(work, source, batches)
    else:
        _check_rows(name, work, source, batches)


def _check_ragged(name: str, work: Work, source: Sequences, epoch: Epoch) -> None:
    if name not in IN_SOURCE_ORDER:
        batches = itertools.islice(epoch(), LOOKED_AT)
        padded = [np.array(batch[0] if isinstance(batch, tuple) else batch) for batch in batches]
        for wrong in wrong_batches(source, work, padded):
            _require(False, wrong)


def _only(batch: Any) -> Any:
    single = isinstance(batch, (tuple, list)) and len(batch) == 1
    return batch[0] if single else batch


def _check_indices(work: Work, batches: list[Array]) -> None:
    for indices in batches:
        _require(indices.shape == (work.batch,) and indices.dtype.kind == "i", "not a batch of indices")
        _require(indices.min() >= 0 and indices.max() < work.rows, "indices out of range")


def _check_joined(source: Array, batches: list[Array]) -> None:
    for joined in batches:
        _require(joined.shape == source.shape, f"joined to {joined.shape} instead of {source.shape}")
        _require(np.array_equal(joined[::997], source[::997]), "joined in another order")


def _check_decoded(work: Work, source: Jpegs, batches: list[Array]) -> None:
    for crops in batches:
        _require(crops.shape == (work.batch, *work.shape) and crops.dtype == np.uint8, "not a full batch")
    numbers = np.concatenate([numbers_of(crops) for crops in batches])
    _require(len(np.unique(numbers)) == len(numbers), "an image came twice")
    off = np.abs(np.concatenate(batches).astype(np.int16) - source.gather(numbers))
    _require(off.mean() < DECODERS_DIFFER, "images are not those of the source")
    _require(not np.all(np.diff(numbers) == 1), "in order")


def _check_from_files(name: str, work: Work, source: RowFiles, epoch: Epoch) -> None:
    batches = list(itertools.islice(epoch(), LOOKED_AT))
    if name in WITHOUT_PARSING:
        _check_cut(source, batches)
        return
    found = [pair_of(work, batch) if work.kind in PARQUET else _columns(batch) for batch in batches]
    pairs = [tuple(np.array(column) for column in columns) for columns in found]
    if name.startswith(WIDENING):
        pairs = [(rows.astype(work.dtype), labels) for rows, labels in pairs]
    _check_rows(name, work, source.rows(), [rows for rows, _ in pairs])
    for rows, labels in pairs:
        _require(np.array_equal(labels.ravel(), source.labels[row_numbers(rows)]), "labels are not those of the rows")


def _columns(batch: Any) -> Any:
    """Give rows and labels; a record has one of each."""
    return (batch[ROW][None], batch[LABEL]) if isinstance(batch, dict) else batch


def _check_cut(source: RowFiles, records: list[bytes]) -> None:
    for row, record in zip(source.rows()[: len(records)], records, strict=True):
        _require(row.tobytes() in record, "the row is not in its record")


def _check_kept(name: str, work: Work, batches: list[Array]) -> None:
    for wrong in wrong_kept(work, batches):
        _require(False, wrong)
    _require(kept_in_order(work, batches) != name.endswith("shuffled"), "in another order")


def _check_written(source: ToWrite, path: str) -> None:
    rows, labels = read_back(source.work, path)
    _require(rows.dtype == source.rows.dtype and np.array_equal(rows, source.rows), "other rows were written")
    _require(labels is None or np.array_equal(labels, source.labels), "other labels were written")


def _check_created(source: ToCreate) -> None:
    ids, rows = read_typed(source.newest)
    _require(ids == source.sources, "other ids were written")
    _require(np.array_equal(rows.reshape(source.rows.shape), source.rows), "other rows were written")


def _check_rows(name: str, work: Work, source: Array, batches: list[Array]) -> None:
    for rows in batches:
        _require(rows.shape == (work.batch, *work.shape) and rows.dtype == source.dtype, "not a full batch")
    numbers = np.concatenate([row_numbers(rows) for rows in batches])
    _require(len(np.unique(numbers)) == len(numbers), "a row came twice")
    _require(np.array_equal(np.concatenate(batches), source[numbers]), "rows are not those of the source")
    in_order = bool(np.all(np.diff(numbers) == 1))
    if name not in IN_SOURCE_ORDER:
        _require(in_order == work.kind.endswith("in_order"), "in order" if in_order else "not in order")


def _require(holds: Any, otherwise: str) -> None:
    if not holds:
        raise ValueError(f"wrong batches: {otherwise}")
