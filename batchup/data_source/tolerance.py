"""What is done about samples that cannot be read: skip them, or put others in their place, and keep a ledger."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.data_source.passes import Pass
from batchup.errors import BatchUpError, TooManyErrorsError
from batchup.sampling.chunks import IndexChunk, each_part, first_leaf, real_samples

if TYPE_CHECKING:
    from batchup.data_source.ahead import Reading
    from batchup.data_source.walk import Walk, WalkedDataSource


class SampleError(NamedTuple):
    """One sample that could not be read: where in the run, which, at what stage, and why."""

    epoch: int
    position: int
    sample_index: Any
    stage: str
    exception: Exception


class BadSamplesError(BatchUpError):
    """Some rows of a batch could not be read; caught by the walk, which knows what to do about it."""

    def __init__(self, rows: Mapping[int, tuple[str, Exception]]) -> None:
        super().__init__(rows)
        self.rows = dict(rows)  # row: stage, exception


@dataclass
class Ledger:
    """The samples of a pass that could not be read, and how many of them are too many."""

    walk: Pass
    count_samples: Callable[[], Any]

    def __post_init__(self) -> None:
        self.errors: list[SampleError] = []
        self._failed: set[str] = set()

    def add(self, errors: list[SampleError]) -> None:
        """Take note of errors; raise if more samples failed than the policy allows."""
        for error in errors:
            # frames would keep the batches alive that were in work
            error.exception.__traceback__ = error.exception.__context__ = None
            self._failed.add(repr(error.sample_index))
        self.errors.extend(errors)
        allowed = self.walk.policy.max_errors
        if isinstance(allowed, float):
            samples = self.count_samples()
            known = samples is not None and samples != math.inf
            so_far = (errors[-1].position + 1) * self.walk.batch_size if errors else 0
            allowed = math.floor(allowed * (samples if known else so_far))
        if allowed is not None and len(self._failed) > allowed:
            last = self.errors[-1]
            raise TooManyErrorsError(
                f"{len(self._failed)} samples failed, which is more than max_errors={self.walk.policy.max_errors} "
                f"allows; the last was sample {last.sample_index} in batch {last.position}: {last.exception!r}"
            ) from last.exception


def read_tolerantly(source: WalkedDataSource, chunk: Any, walker: Walk, reading: Reading) -> tuple[Iterator[Any], Any]:
    """Return the batch of a chunk of one batch, and the chunk: without the samples that fail, or with others."""
    policy, position, behind = walker.walk.policy, walker.step, place_behind(chunk)
    replaced, most = 0, most_replacements(source)
    while True:
        try:
            return iter([reading.only()]), chunk
        except BadSamplesError as bad:
            rows = np.array(sorted(bad.rows), np.intp)
            if policy.on_error == "raise":
                _, error = bad.rows[int(rows[0])]
                raise _noted(error, walker, rows_of(chunk, rows[:1])) from error.__cause__
            walker.ledger.add(
                [
                    SampleError(walker.walk.epoch, position, sample_index(chunk, row), *bad.rows[row])
                    for row in rows.tolist()
                    if row < real_samples(chunk)
                ]
            )
            if policy.on_error == "skip":
                chunk = _without(chunk, rows)
            else:
                chunk = walker.with_others(chunk, rows, behind)
                behind, replaced = behind + len(rows), replaced + len(rows)
            if replaced > most:
                raise TooManyErrorsError(
                    f"batch {position} needs another sample for each that fails, and {replaced} failed in a row"
                ) from bad.rows[int(rows[-1])][1]
            reading = source._begin_chunk(chunk, walker.walk)
        except Exception as error:  # noqa: BLE001  it is raised again, with a note
            raise _noted(error, walker, chunk) from error.__cause__


def most_replacements(source: WalkedDataSource) -> int:
    """Return how many samples may fail in a row before there is no hope for a good one."""
    samples = source.num_samples()
    lengths = sum(source._column_lengths())
    return lengths if samples is None or samples == math.inf else max(lengths, int(samples))


def retried(read: Callable[[NDArray[np.intp]], Any], indices: NDArray[np.intp], error: Exception) -> list[Any]:
    """Read samples one by one after reading them together failed; raise if some are bad, else return all."""
    if isinstance(error, MemoryError):
        raise error
    parts: list[Any] = []
    bad: dict[int, tuple[str, Exception]] = {}
    for row in range(len(indices)):
        try:
            parts.append(read(indices[row : row + 1]))
        except MemoryError:
            raise
        except Exception as row_error:  # noqa: BLE001  whatever a user's column raises belongs to this sample
            bad[row] = ("gather", row_error)
    if bad or not parts:
        raise BadSamplesError(bad) if bad else error
    return parts


def read_all(reads: Iterable[tuple[Callable[[], Any], NDArray[np.intp] | None]]) -> list[Any]:
    """Read the parts of a batch; find all its bad rows before any is raised.

    With each part come the rows of the batch that it makes up; None is all of them.
    """
    parts = []
    bad: dict[int, tuple[str, Exception]] = {}
    for read, rows in reads:
        try:
            parts.append(read())
        except BadSamplesError as error:
            for row, found in error.rows.items():
                bad.setdefault(row if rows is None else int(rows[row]), found)
    if bad:
        raise BadSamplesError(bad)
    return parts


def place_behind(chunk: Any) -> int:
    """Return the place in the epoch behind the last sample of a chunk that is no padding."""
    places = first_leaf(chunk).places()
    return int(places[max(real_samples(chunk), 1) - 1]) + 1 if len(places) else 0


def sample_index(chunk: Any, row: int) -> Any:
    """Return the index of the sample in a row, in the shape of the source's indices."""
    if isinstance(chunk, IndexChunk):
        return int(chunk.array()[row]) if row < len(chunk) else None
    if isinstance(chunk, list):
        return [sample_index(part, row) for part in chunk]
    return chunk._replace(sample_indices=sample_index(chunk.sample_indices, row))


def samples_shown(chunk: Any) -> str:
    """Return how to call the samples of a chunk of one batch in an error."""
    rows = range(len(first_leaf(chunk)))
    return (
        "samples " + ", ".join(str(sample_index(chunk, row)) for row in rows[:8]) + (", ..." if len(rows) > 8 else "")
    )


def rows_of(chunk: Any, rows: NDArray[np.intp]) -> Any:
    """Return some rows of every part of a chunk of one batch."""
    return each_part(chunk, lambda part: part.rows(rows[rows < len(part)]))


def put(chunk: Any, rows: NDArray[np.intp], others: Sequence[Any]) -> Any:
    """Put other samples into rows of a chunk of one batch: one chunk of one sample for each."""
    if isinstance(chunk, list):
        return [put(part, rows, [other[i] for other in others]) for i, part in enumerate(chunk)]
    if not isinstance(chunk, IndexChunk):
        return chunk._replace(sample_indices=put(chunk.sample_indices, rows, [o.sample_indices for o in others]))
    indices, places = chunk.array(), np.array(chunk.places())
    for row, other in zip(rows.tolist(), others, strict=True):
        if row < len(chunk):
            indices[row], places[row] = other.array()[0], other.places()[0]
    return IndexChunk(indices, 1, places, chunk.real)


def _without(chunk: Any, rows: NDArray[np.intp]) -> Any:
    def kept(part: IndexChunk) -> IndexChunk:
        left = part.rows(np.setdiff1d(np.arange(len(part)), rows))
        return left if part.real is None else replace(left, real=part.real - int((rows < part.real).sum()))

    return each_part(chunk, kept)


def _noted(error: Exception, walker: Walk, chunk: Any) -> Exception:
    """Return an error that tells which batch, or which samples of it, it belongs to."""
    if walker.walk.policy.trace:
        note = f"in epoch {walker.walk.epoch}, batch {walker.step}, {samples_shown(chunk)}"
        error.__dict__.setdefault("__notes__", []).append(note)  # what add_note does, also before Python 3.11
    return error
