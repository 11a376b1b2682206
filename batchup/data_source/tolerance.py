"""What is done about samples that cannot be read: skip them, or put others in their place, and keep a ledger."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.data_source.passes import Pass
from batchup.errors import BatchUpError, TooManyErrorsError
from batchup.sampling.chunks import IndexChunk, each_part, first_leaf, real_samples

if TYPE_CHECKING:
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

    def __init__(self, stage: str, rows: Mapping[int, Exception]) -> None:
        super().__init__(stage, rows)
        self.stage = stage
        self.rows = dict(rows)


@dataclass
class Ledger:
    """The samples of a pass that could not be read, and how many of them are too many."""

    walk: Pass
    samples: Any

    def __post_init__(self) -> None:
        self.errors: list[SampleError] = []

    def add(self, errors: list[SampleError]) -> None:
        """Take note of errors; raise if there are more than the policy allows."""
        self.errors.extend(errors)
        allowed = self.walk.policy.max_errors
        if allowed is None and self.walk.policy.on_error == "replace":
            allowed = 1.0  # when every sample failed once there is none to put in their place
        if isinstance(allowed, float):
            known = self.samples is not None and self.samples != math.inf
            allowed = math.floor(allowed * (self.samples if known else max(self.walk.clock.samples, 1)))
        if allowed is not None and len(self.errors) > allowed:
            last = self.errors[-1]
            raise TooManyErrorsError(
                f"{len(self.errors)} samples failed, which is more than max_errors={self.walk.policy.max_errors} "
                f"allows; the last was sample {last.sample_index} in batch {last.position}: {last.exception!r}"
            ) from last.exception


def read_tolerantly(source: WalkedDataSource, chunk: Any, walker: Walk) -> tuple[Iterator[Any], Any]:
    """Return the batch of a chunk of one batch, and the chunk: without the samples that fail, or with others."""
    policy, position, behind = walker.walk.policy, walker.step, place_behind(chunk)
    while True:
        try:
            return iter([next(source._read(chunk, walker.walk))]), chunk
        except BadSamplesError as bad:
            rows = np.array(sorted(bad.rows), np.intp)
            if policy.on_error == "raise":
                error = bad.rows[int(rows[0])]
                raise _noted(error, walker, rows_of(chunk, rows[:1])) from error.__cause__
            indices = [sample_index(chunk, row) for row in rows.tolist()]
            found = zip(indices, rows.tolist(), strict=True)
            walker.ledger.add(
                [SampleError(walker.walk.epoch, position, index, bad.stage, bad.rows[row]) for index, row in found]
            )
            if policy.on_error == "skip":
                chunk = _without(chunk, rows)
            else:
                chunk = walker.with_others(chunk, rows, behind)
                behind += len(rows)
        except Exception as error:  # noqa: BLE001  it is raised again, with a note
            raise _noted(error, walker, chunk) from error.__cause__


def retried(read: Callable[[NDArray[np.intp]], list[Any]], indices: NDArray[np.intp], error: Exception) -> list[Any]:
    """Read samples one by one after reading them together failed, to find out which are bad."""
    if isinstance(error, MemoryError):
        raise error
    parts, bad = [], {}
    for row in range(len(indices)):
        try:
            parts.append(read(indices[row : row + 1]))
        except Exception as row_error:  # noqa: BLE001  whatever a user's column raises belongs to this sample
            bad[row] = row_error
    if bad or not parts:
        raise BadSamplesError("gather", bad) if bad else error
    return [np.concatenate(columns) for columns in zip(*parts, strict=True)]


def place_behind(chunk: Any) -> int:
    """Return the place in the epoch behind the last sample of a chunk that is no padding."""
    places = first_leaf(chunk).places()
    return int(places[max(real_samples(chunk), 1) - 1]) + 1 if len(places) else 0


def sample_index(chunk: Any, row: int) -> Any:
    """Return the index of the sample in a row, in the shape of the source's indices."""
    if isinstance(chunk, IndexChunk):
        return int(chunk.array()[row])
    if isinstance(chunk, list):
        return [sample_index(part, row) for part in chunk]
    return chunk._replace(sample_indices=sample_index(chunk.sample_indices, row))


def rows_of(chunk: Any, rows: NDArray[np.intp]) -> Any:
    """Return some rows of every part of a chunk of one batch."""
    return each_part(chunk, lambda part: part.rows(rows))


def put(chunk: Any, rows: NDArray[np.intp], others: Sequence[Any]) -> Any:
    """Put other samples into rows of a chunk of one batch: one chunk of one sample for each."""
    if isinstance(chunk, list):
        return [put(part, rows, [other[i] for other in others]) for i, part in enumerate(chunk)]
    if not isinstance(chunk, IndexChunk):
        return chunk._replace(sample_indices=put(chunk.sample_indices, rows, [o.sample_indices for o in others]))
    indices, places = chunk.array(), np.array(chunk.places())
    indices[rows] = [other.array()[0] for other in others]
    places[rows] = [other.places()[0] for other in others]
    return IndexChunk(indices, 1, places, chunk.real)


def _without(chunk: Any, rows: NDArray[np.intp]) -> Any:
    def kept(part: IndexChunk) -> IndexChunk:
        left = part.rows(np.setdiff1d(np.arange(len(part)), rows))
        return left if part.real is None else replace(left, real=part.real - int((rows < part.real).sum()))

    return each_part(chunk, kept)


def _noted(error: Exception, walker: Walk, chunk: Any) -> Exception:
    """Return an error that tells which batch, or which samples of it, it belongs to."""
    if walker.walk.policy.trace:
        rows = range(len(first_leaf(chunk)))
        shown = ", ".join(str(sample_index(chunk, row)) for row in rows[:8]) + (", ..." if len(rows) > 8 else "")
        note = f"in epoch {walker.walk.epoch}, batch {walker.step}, samples {shown}"
        error.__notes__ = [*getattr(error, "__notes__", []), note]  # what add_note does, also before Python 3.11
    return error
