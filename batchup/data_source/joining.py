"""Arrays joined row by row into memory that is set aside beforehand, or given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns import Ragged
from batchup.errors import InvalidTypeError, InvalidValueError, LengthError


class JoinedArrays:
    """The results of a function, each joined into one array.

    Parameters
    ----------
    batch_rows : int
        Samples in the first batch.
    expected : int, float or None
        Samples in all, as far as it is known.
    out : ndarray, or tuple or dict of ndarray, optional
        Where to write.
    """

    def __init__(self, batch_rows: int, expected: Any, out: Any = None) -> None:
        self._batch_rows = batch_rows
        self._expected = 0 if expected is None or math.isinf(expected) else int(expected)
        self._out = _named_out(out)
        self._joined: dict[Any, JoinedArray | JoinedRagged] = {}

    def append(self, parts: Mapping[Any, Any]) -> None:
        """Add the results for one batch."""
        if not self._joined:
            self._check_out(parts)
            self._joined = {key: self._begin(key, part) for key, part in parts.items()}
        if parts.keys() != self._joined.keys():
            raise InvalidTypeError(f"the function returned the results {list(self._joined)} and then {list(parts)}")
        for key, part in parts.items():
            self._joined[key].append(part)

    def result(self) -> Any:
        """Return the arrays: a dict if they have names, a tuple if they have numbers."""
        arrays = {key: joined.result() for key, joined in self._joined.items()}
        return tuple(arrays.values()) if all(isinstance(key, int) for key in arrays) else arrays

    def _check_out(self, parts: Mapping[Any, NDArray[Any]]) -> None:
        if self._out is not None and self._out.keys() != parts.keys():
            raise InvalidValueError(f"out has arrays for the results {list(self._out)}, there are {list(parts)}")

    def _begin(self, key: Any, part: Any) -> JoinedArray | JoinedRagged:
        if isinstance(part, Ragged):
            if self._out is not None:
                raise InvalidTypeError("sequences of different lengths cannot be written into out: leave it out")
            return JoinedRagged()
        if self._out is None:
            # a function that gives a row per sample fills what is set aside; others grow as they go
            one_to_one = len(part) == self._batch_rows
            return JoinedArray(np.empty((self._expected if one_to_one else 0, *part.shape[1:]), part.dtype))
        return GivenArray(self._out[key])


class JoinedArray:
    """Rows that are added one batch after the other to an array that grows where it must."""

    def __init__(self, memory: NDArray[Any]) -> None:
        self._memory = memory
        self._rows = 0

    def append(self, part: NDArray[Any]) -> None:
        """Add the rows of an array."""
        if isinstance(part, Ragged):
            raise InvalidTypeError("sequences of different lengths cannot follow a result that is an array")
        if part.shape[1:] != self._memory.shape[1:]:
            raise InvalidValueError(
                f"results of shape {part.shape[1:]} per row cannot follow those of shape {self._memory.shape[1:]}"
            )
        self._admit(part)
        self._memory[self._rows : self._rows + len(part)] = part
        self._rows += len(part)

    def _admit(self, part: NDArray[Any]) -> None:
        """Make room for an array, and its dtype."""
        dtype = np.result_type(self._memory.dtype, part.dtype)
        if dtype != self._memory.dtype:
            written, self._memory = self._memory[: self._rows], np.empty(self._memory.shape, dtype)
            self._memory[: self._rows] = written
        needed = self._rows + len(part)
        if needed > len(self._memory):
            self._resize(max(needed, 2 * len(self._memory)))

    def _resize(self, rows: int) -> None:
        # in place, where the allocator can: nobody else refers to this memory yet
        self._memory.resize((rows, *self._memory.shape[1:]), refcheck=False)

    def result(self) -> NDArray[Any]:
        """Return all rows."""
        if self._rows < len(self._memory):
            self._resize(self._rows)
        return self._memory


class JoinedRagged:
    """Sequences of different lengths that are added one batch after the other."""

    def __init__(self) -> None:
        self._parts: list[Ragged] = []

    def append(self, part: Any) -> None:
        """Add the sequences of a batch."""
        if not isinstance(part, Ragged):
            raise InvalidTypeError(f"a result of {type(part).__name__} cannot follow sequences of different lengths")
        self._parts.append(Ragged(part.values.copy(), part.offsets))  # it may be used again for the next batch

    def result(self) -> Ragged:
        """Return all sequences."""
        return Ragged.joined(self._parts)


class GivenArray(JoinedArray):
    """Rows that are added one batch after the other to an array of the user's."""

    def _admit(self, part: NDArray[Any]) -> None:
        if self._rows + len(part) > len(self._memory):
            raise LengthError(f"out has {len(self._memory)} rows, which is too few: there are more results")
        if not np.can_cast(part.dtype, self._memory.dtype, "same_kind"):
            raise InvalidTypeError(f"results of dtype {part.dtype} cannot be written into out of {self._memory.dtype}")

    def result(self) -> NDArray[Any]:
        return self._memory[: self._rows]


def _named_out(out: Any) -> dict[Any, NDArray[Any]] | None:
    if out is None or isinstance(out, dict):
        named = out
    else:
        named = dict(enumerate(out if isinstance(out, (tuple, list)) else (out,)))
    for array in (named or {}).values():
        if not isinstance(array, np.ndarray) or array.ndim == 0 or not array.flags.writeable:
            raise InvalidTypeError("out must be a writable array, or a tuple or a dict of such arrays")
    return named
