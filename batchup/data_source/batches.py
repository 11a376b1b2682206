"""The shapes that a batch may have: arrays in a tuple, in a dict, or nested in either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from batchup.errors import InvalidTypeError, InvalidValueError, LengthError


def call(function: Callable[..., Any], batch: Any, before: Sequence[Any] = ()) -> Any:
    """Call a user's function on a batch: a tuple as positional arguments, a dict as keywords."""
    if isinstance(batch, dict):
        return function(*before, **batch)
    if isinstance(batch, (tuple, list)):
        return function(*before, *batch)
    return function(*before, batch)


def arrays(batch: Any) -> Iterator[Any]:
    """Yield the arrays of a batch, in order.

    >>> list(arrays(([1], {'a': 2}, (3,))))
    [1, 2, 3]
    """
    if isinstance(batch, dict):
        batch = batch.values()
    elif not isinstance(batch, (tuple, list)):
        yield batch
        return
    for part in batch:
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


def checked_result(batch: Any, function: Callable[..., Any]) -> Any:
    """Return what a mapped function returned, unless it is no batch or its arrays differ in length."""
    first = None
    for array in batch.values() if type(batch) is dict else batch if type(batch) is tuple else arrays(batch):
        samples = samples_in(array) if not isinstance(array, (tuple, list, dict)) else length(array)
        if samples is not None and samples != first:
            if first is not None:
                raise LengthError(
                    f"{_name(function)} returned arrays of different lengths: {first} and {samples} samples"
                )
            first = samples
    if first is None:
        raise InvalidTypeError(
            f"{_name(function)} must return a batch (a tuple or a dict of arrays), got {type(batch).__name__}"
        )
    return batch


def _name(function: Callable[..., Any]) -> str:
    return f"the mapped function {getattr(function, '__qualname__', repr(function))}"
