"""What the members of WebDataset samples stand for, by their extensions."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchup._npy_header import check_size, read_header
from batchup.errors import InvalidValueError
from batchup.formats.folders.images import ImageDecoder
from batchup.formats.folders.wav import decoded_wav
from batchup.formats.known import IMAGES
from batchup.formats.table import Field
from batchup.formats.values import adapted, field_told

_WRITTEN = ("npy", "txt", "bin", "png")  # by our writer, behind the name of a column
_TEXTS = ("txt", "text", "transcript")
_INTEGERS = ("cls", "cls2", "class", "count", "index", "inx", "id")
_JSON = ("json", "jsn")
_PICKLES = ("pyd", "pickle", "pkl", "pth", "pt")
_KNOWN = 1024  # headers of arrays that are kept

Decode: TypeAlias = Callable[[bytes], Any]


class Part(NamedTuple):
    """A column: of which members it is made, and how; whether they are numbers as JSON has them."""

    extension: str
    decode: Decode
    numbers: bool = False


def parts_of(extensions: Iterable[str], decode: bool = True, mode: str | None = None) -> dict[str, Part]:
    """Return the columns that members of some extensions make.

    >>> list(parts_of(["jpg", "x.npy", "wav"]))
    ['jpg', 'x', 'wav', 'wav.rate']
    """
    known = list(extensions)
    if not decode:
        return {extension: Part(extension, bytes) for extension in known}
    short = [_short(extension) for extension in known]
    parts: dict[str, Part] = {}
    for extension, name in zip(known, short, strict=True):
        column = name if short.count(name) == 1 and name not in known else extension
        parts[column] = Part(extension, decoder(extension, mode), _kind(extension) in _JSON)
        if _kind(extension) == "wav":
            parts[f"{column}.rate"] = Part(extension, _rate)
    return parts


def _short(extension: str) -> str:
    """Return an extension without what says how an array, a text or bytes are written, if more is left."""
    name, _, last = extension.rpartition(".")
    return name if name and last in _WRITTEN else extension


def _kind(extension: str) -> str:
    return extension.rpartition(".")[2].lower()


def decoder(extension: str, mode: str | None = None) -> Decode:
    """Return what makes a value of the bytes of a member: an array, a text, or the bytes."""
    kind = _kind(extension)
    if kind == "npy":
        return NpyDecoder()
    if kind in _TEXTS:
        return _text
    if kind in _INTEGERS:
        return _integer
    if kind in _JSON:
        return _json
    if f".{kind}" in IMAGES:
        images = ImageDecoder(mode)
        return lambda data: images.decoded(io.BytesIO(data))
    if kind == "wav":
        return _frames
    return _pickle if kind in _PICKLES else bytes


class NpyDecoder:
    """Makes arrays of .npy files, which are checked; mostly the header is the one of before."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[np.dtype[Any], tuple[int, ...], Any]] = {}

    def __call__(self, data: bytes) -> NDArray[Any]:
        start = 10 + int.from_bytes(data[8:10], "little")
        found = self._known.get(data[:start])
        if found is not None:
            dtype, shape, order = found
            array: NDArray[Any] = np.ndarray(shape, dtype, data, start, order=order)
            if start + array.nbytes == len(data):
                return array
        check_size(read_header(io.BytesIO(data), "it").size, len(data), "it")
        array = np.load(io.BytesIO(data), allow_pickle=False)
        if data[6:7] == b"\x01" and array.dtype.itemsize:
            if len(self._known) == _KNOWN:
                self._known.clear()
            self._known[data[:start]] = array.dtype, array.shape, "C" if array.flags.c_contiguous else "F"
        return array


def _text(data: bytes) -> str:
    return data.decode("utf-8")


def _integer(data: bytes) -> NDArray[np.int64]:
    return np.array(int(data), np.int64)


def _frames(data: bytes) -> NDArray[Any]:
    return decoded_wav(io.BytesIO(data))[1]


def _rate(data: bytes) -> NDArray[np.int64]:
    return np.array(decoded_wav(io.BytesIO(data))[0], np.int64)


def _pickle(data: bytes) -> Any:
    raise InvalidValueError("would have to be unpickled, which may run programs: decode=False returns its bytes")


def _json(data: bytes) -> Any:
    value = json.loads(data)
    if isinstance(value, str):
        return value
    hint = "decode=False returns its bytes, and .map(...) makes columns of them"
    if value is None or isinstance(value, dict):
        what = "null" if value is None else "an object"
        raise InvalidValueError(f"is {what}, and columns are of numbers, texts, or lists of numbers: {hint}")
    try:
        array = np.array(value, np.float64) if value == [] else np.array(value)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "biuf" or array.dtype == np.uint64:
        raise InvalidValueError(f"is {value!r:.60}, and columns are of numbers, texts, or lists of numbers: {hint}")
    return array


def told_parts(columns: Any) -> tuple[dict[str, Part], dict[str, Field]]:
    """Return the columns that our writer tells of: how each is written, and what it is.

    Raises
    ------
    ValueError, TypeError, AttributeError, SyntaxError
        If our writer does not tell such things.
    """
    parts: dict[str, Part] = {}
    fields: dict[str, Field] = {}
    for name, (kind, *told) in columns.items():
        if kind not in _WRITTEN:
            raise ValueError(f"{name} is written as {kind!r}")
        fields[name] = field_told(told)
        parts[name] = _told_part(f"{name}.{kind}", fields[name])
    return parts, fields


def _told_part(extension: str, field: Field) -> Part:
    decode = decoder(extension)
    if _kind(extension) != "png":
        return Part(extension, decode)
    return Part(extension, lambda data: adapted(decode(data), field))
