"""Pickles of Python 2 that hold arrays and plain containers; anything else in them is refused."""

from __future__ import annotations

import pickle
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError


class Readable(Protocol):
    """What a pickle is read from."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...


def load(file: Readable, name: str) -> Any:
    """Return what a pickle holds: dicts, lists, tuples, numbers, text (as str), and arrays of numbers.

    Parameters
    ----------
    file : file
        Where it is read.
    name : str
        What it is called in errors.

    Raises
    ------
    FileFormatError
        If it is damaged, or wants something else to be made, which might run programs.
    """
    try:
        return _plain(_Unpickler(file, encoding="bytes").load())
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {error}") from None
    except Exception as error:  # whatever damaged bytes may mean
        raise FileFormatError(f"{name} is damaged, or no pickle: {error!r}") from error


class _DType:
    """A type of numbers, as a pickle tells it: NumPy would believe whatever is said of its inside."""

    def __init__(self, code: Any, align: Any = 0, copy: Any = 1) -> None:
        self.dtype = np.dtype(_text(code))
        if self.dtype.kind not in "biuf":
            raise FileFormatError(f"it holds an array of {self.dtype}, not of numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, *inside = state
        if any(part not in (None, -1, 0) for part in inside):
            raise FileFormatError(f"it holds an array of {self.dtype} with something inside")
        self.dtype = self.dtype.newbyteorder(">" if _text(order) == ">" else "<")


class _Array:
    """An array, as a pickle tells it."""

    def __init__(self, kind: Any = None, shape: Any = (), code: Any = None) -> None:
        self.values: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, by_column, data = state
        self.set(data, dtype, shape, "F" if by_column else "C")

    def set(self, data: Any, dtype: Any, shape: Any, order: str) -> None:
        """Set the values, from their bytes."""
        if not isinstance(dtype, _DType):
            raise FileFormatError(f"it holds an array of {dtype!r}, which is no type")
        data = data.encode("latin-1") if isinstance(data, str) else data
        self.values = np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _from_buffer(data: Any, dtype: Any, shape: Any, order: Any) -> _Array:
    """Return an array of protocol 5."""
    array = _Array()
    array.set(data, dtype, shape, order)
    return array


def _number(dtype: Any, data: Any) -> Any:
    """Return a number that has a type of NumPy."""
    return _plain(_from_buffer(data, dtype, (1,), "C"))[0]


def _encoded(text: str, encoding: str) -> bytes:
    """Return bytes that Python 3 wrote for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise FileFormatError(f"it holds bytes in the encoding {encoding!r}")
    return text.encode("latin-1")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _plain(value: Any) -> Any:
    """Return containers with arrays for what stands for them, and text for bytes, as Python 2 had it."""
    if isinstance(value, bytes):
        return _text(value)
    if isinstance(value, _Array):
        if value.values is None:
            raise FileFormatError("it holds an array without values")
        return value.values
    if isinstance(value, dict):
        return {_plain(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value


_MADE = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encoded,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _number for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _MADE:
            raise FileFormatError(f"it wants {module}.{name}, and may hold arrays and plain containers only")
        return _MADE[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise FileFormatError("it refers to something outside of it")
