"""The shapes that a batch may have: arrays in a tuple, in a dict, or nested in either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from batchup.columns import Ragged
from batchup.data_source.buffers import Memory
from batchup.errors import InvalidTypeError, InvalidValueError, LengthError


def call(function: Callable[..., Any], batch: Any, before: Sequence[Any] = (), **keywords: Any) -> Any:
    """Call a user's function on a batch: a tuple as positional arguments, a dict as keywords."""
    if isinstance(batch, dict):
        return function(*before, **batch, **keywords)
    if isinstance(batch, (tuple, list)):
        return function(*before, *batch, **keywords)
    return function(*before, batch, **keywords)


def arrays(batch: Any) -> Iterator[Any]:
    """Yield the arrays of a batch, in order.

    >>> list(arrays((1, {'a': 2}, (3,))))
    [1, 2, 3]
    """
    if isinstance(batch, dict):
        batch = batch.values()
    elif not isinstance(batch, (tuple, list)):
        yield batch
        return
    for part in batch:
        if isinstance(part, list):
            yield part  # a batch may be a list of arrays; a list in a batch stands for an array
        else:
            yield from arrays(part)


def samples_in(array: Any) -> int | None:
    """Return the number of samples in an array, None for what has no samples (a scalar, say)."""
    shape = getattr(array, "shape", None)
    if shape is not None:
        return int(shape[0]) if len(shape) else None
    return len(array) if hasattr(array, "__len__") and not isinstance(array, (str, bytes)) else None


def length(batch: Any) -> int:
    """Return the number of samples in a batch: those of its first array."""
    for array in arrays(batch):
        samples = samples_in(array)
        if samples is not None:
            return samples
    raise InvalidTypeError(f"expected a batch (a tuple or a dict of arrays), got {type(batch).__name__}")


def trim(batch: Any, to: int) -> Any:
    """Cut all arrays of a batch to their first `to` samples."""
    if isinstance(batch, dict):
        return {name: trim(part, to) for name, part in batch.items()}
    if isinstance(batch, (tuple, list)):
        return tuple(trim(part, to) for part in batch)
    samples = samples_in(batch)
    return batch if samples is None or samples <= to else batch[:to]


def take_sample(batch: Any, number: int) -> Any:
    """Return one sample of a batch, in the shape of the batch."""
    if isinstance(batch, dict):
        return {name: take_sample(part, number) for name, part in batch.items()}
    if isinstance(batch, (tuple, list)):
        return tuple(take_sample(part, number) for part in batch)
    return batch[number]


def stack_samples(samples: Sequence[Any], memory: Memory | None = None) -> Any:
    """Join single samples, of one shape, into a batch, whose arrays lie where `memory` says."""
    first = samples[0]
    if isinstance(first, dict):
        return {name: stack_samples([sample[name] for sample in samples], memory) for name in first}
    if isinstance(first, (tuple, list)):
        return tuple(stack_samples(parts, memory) for parts in zip(*samples, strict=True))
    arrays = [np.asarray(sample) for sample in samples]
    if memory is None or any(array.dtype != arrays[0].dtype for array in arrays):
        return np.stack(arrays)
    return np.stack(arrays, out=memory((len(arrays), *arrays[0].shape), arrays[0].dtype))


def without_padding(batch: Any) -> Any:
    """Cut off the padding of a batch that ends with a mask."""
    mask = batch["mask"] if isinstance(batch, dict) else batch[-1]
    real = int(np.count_nonzero(mask))
    return batch if real == len(mask) else trim(batch, real)


def merged(parts: Sequence[Any], rows: Any) -> Any:
    """Join batches of one make row by row: the k-th sample of them all goes into row ``rows[k]``."""
    first = parts[0]
    if isinstance(first, dict):
        if any(part.keys() != first.keys() for part in parts):
            raise InvalidValueError(f"sources to be mixed have the same keys, got {[list(part) for part in parts]}")
        return {name: merged([part[name] for part in parts], rows) for name in first}
    if isinstance(first, (tuple, list)):
        if any(len(part) != len(first) for part in parts):
            raise InvalidValueError(f"sources to be mixed have equally many arrays, got {[len(p) for p in parts]}")
        return tuple(merged(columns, rows) for columns in zip(*parts, strict=True))
    if isinstance(first, Ragged):
        return Ragged.joined(parts).gather(np.argsort(rows))
    shapes = {np.shape(part)[1:] for part in parts}
    if len(shapes) > 1:
        raise InvalidValueError(f"sources to be mixed have samples of one shape, got {sorted(shapes)}")
    joined = np.concatenate([np.asarray(part) for part in parts])
    placed = np.empty_like(joined)
    placed[rows] = joined
    return placed


def with_mask(batch: Any, mask: Any) -> Any:
    """Append the column that marks the samples that are no padding."""
    if isinstance(batch, dict):
        if "mask" in batch:
            raise InvalidValueError("with tail='pad' the key 'mask' is taken: rename that column")
        return {**batch, "mask": mask}
    return (*batch, mask) if isinstance(batch, (tuple, list)) else (batch, mask)


def flatten(parts: Sequence[Any]) -> Any:
    """Join the batches of several sources into one tuple, or, if they are dicts, into one dict."""
    named = sum(isinstance(part, dict) for part in parts)
    if named == 0:
        return tuple(array for part in parts for array in (part if isinstance(part, (tuple, list)) else (part,)))
    if named < len(parts):
        raise InvalidTypeError(
            "batches that are dicts and batches that are tuples cannot be joined into one; use flatten=False"
        )
    joined: dict[Any, Any] = {}
    for part in parts:
        twice = joined.keys() & part.keys()
        if twice:
            raise InvalidValueError(f"the sources to be joined share the keys {sorted(twice)}; use flatten=False")
        joined.update(part)
    return joined


def checked_result(batch: Any, function: Callable[..., Any], given: Any) -> Any:
    """Return what a mapped function returned, unless it is no batch, or its arrays have come to differ in length."""
    lengths = lengths_in(batch)
    if not lengths:
        raise InvalidTypeError(
            f"{name_of(function)} must return a batch (a tuple or a dict of arrays), got {type(batch).__name__}"
        )
    if len(lengths) > 1 and len(lengths_in(given)) <= 1:
        shown = " and ".join(map(str, sorted(lengths)))
        raise LengthError(f"{name_of(function)} returned arrays of different lengths: {shown} samples")
    return batch


def lengths_in(batch: Any) -> set[int]:
    """Return the lengths of the arrays of a batch."""
    return {samples for array in arrays(batch) if (samples := samples_in(array)) is not None}


def name_of(function: Callable[..., Any]) -> str:
    """Return how to call a mapped function in an error."""
    return f"the mapped function {getattr(function, '__qualname__', repr(function))}"
