"""Pickles of Python 2 that hold arrays and plain containers; anything else in them is refused."""

from __future__ import annotations

import pickle
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError


def load(file: IO[bytes], name: str) -> Any:
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
        return _as_text(_Unpickler(file, encoding="bytes").load())
    except FileFormatError as error:
        raise FileFormatError(f"{name}: {error}") from None
    except Exception as error:  # whatever damaged bytes may mean
        raise FileFormatError(f"{name} is damaged, or no pickle: {error!r}") from error


def _as_text(value: Any) -> Any:
    """Return containers with text for bytes, as Python 2 had it."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, dict):
        return {_as_text(key): _as_text(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_as_text, value)) if value and not isinstance(value[0], int) else value
    return value


class _NdArray:
    """Stands for the class of arrays, which is no function that makes some here."""


def _empty(kind: Any, shape: Any, code: Any) -> NDArray[Any]:
    """Begin an array: its state follows."""
    if kind is not _NdArray or tuple(shape) != (0,):
        raise FileFormatError("an array does not begin as NumPy writes it")
    return np.empty(0, np.int8)


def _dtype(code: Any, align: Any = 0, copy: Any = 1) -> np.dtype[Any]:
    """Begin a type of numbers."""
    # a copy, since its state may be set
    dtype = np.dtype(code.decode("latin-1") if isinstance(code, bytes) else str(code), copy=True)
    if dtype.kind not in "biuf":
        raise FileFormatError(f"it holds an array of {dtype}, not of numbers")
    return dtype


def _number(dtype: np.dtype[Any], data: Any) -> Any:
    """Return a number that has a type of NumPy."""
    return np.frombuffer(data.encode("latin-1") if isinstance(data, str) else data, dtype)[0]


def _encoded(text: str, encoding: str) -> bytes:
    """Return bytes that Python 3 wrote for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise FileFormatError(f"it holds bytes in the encoding {encoding!r}")
    return text.encode("latin-1")


_MADE = {
    ("numpy", "ndarray"): _NdArray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _empty,
    ("numpy._core.multiarray", "_reconstruct"): _empty,
    ("numpy.core.multiarray", "scalar"): _number,
    ("numpy._core.multiarray", "scalar"): _number,
    ("_codecs", "encode"): _encoded,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _MADE:
            raise FileFormatError(f"it wants {module}.{name}, and may hold arrays and plain containers only")
        return _MADE[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise FileFormatError("it refers to something outside of it")
