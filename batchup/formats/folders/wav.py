"""Folders of sounds: .wav files, read when they are asked for, in any order; and written, one for each row."""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup._repr import Represented
from batchup.errors import FileFormatError, InvalidValueError
from batchup.formats import rows as row_by_row
from batchup.formats.folders.sink import check_columns, folder_sink
from batchup.formats.folders.table import FolderTable
from batchup.formats.opening import seekable
from batchup.formats.table import Field, Write, refuse
from batchup.typed_files import Sound
from batchup.typed_files.features import read_wav as frames_of

DTYPES = ("uint8", "int16", "int32", "float32", "float64")
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_KINDS = {
    (_PCM, 8): "u1",
    (_PCM, 16): "i2",
    (_PCM, 24): "i4",
    (_PCM, 32): "i4",
    (_FLOAT, 32): "f4",
    (_FLOAT, 64): "f8",
}
_UNKNOWN = 0xFFFFFFFF  # for the size of data, in RF64, where another chunk tells it


def read_wav(
    *paths: Any,
    columns: Sequence[str] | None = None,
    on_error: str = "raise",
    labels: bool | Sequence[str] | None = None,
    names: bool = False,
) -> Any:
    """Read the .wav files of a folder, or some files, in any order; each is read when it is asked for.

    The column ``sound`` has the frames as they are in the file: uint8, int16, int32, float32 or float64, (frames,) or
    (frames, channels). Samples of 24 bits are the upper ones of int32. The column ``rate`` (int64) has the frames per
    second. If the files lie in several folders, the column ``label`` (int64) has the number of each one's folder among
    the sorted names of all. Hidden files and folders are left out, and links are followed. A file with frames in two
    places is an error.

    Parameters
    ----------
    *paths : str or path-like
        A folder, whose sub-folders are searched too, or names or patterns of files.
    columns : sequence of str, optional
        Those to read; all by default.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether a file that is no sound, or damaged, is an error, or left out.
    labels : bool or sequence of str, optional
        Whether there are labels, or the names of the folders in the order of their numbers.
    names : bool, default False
        Whether there is a column ``path`` (str), with the names of the files, from the folder on.

    Returns
    -------
    dict of array-like, or Rows
        The columns. With ``on_error='skip'`` rows as dicts, from front to back, those that are whole.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.
    FileFormatError
        If a file is no .wav file, or damaged, or of another dtype or other channels than the first one. The message
        names it.

    Examples
    --------
    >>> from batchup.formats import read_wav, write_wav
    >>> write_wav(({"sound": np.arange(n, dtype=np.int16)} for n in (3, 5)), "sounds", rate=8000)
    >>> columns = read_wav("sounds")
    >>> columns["sound"][1], columns["rate"].tolist()
    (array([0, 1, 2, 3, 4], dtype=int16), [8000, 8000])
    """
    return WavTable(paths, on_error=on_error, labels=labels, names=names).read(columns)


def write_wav(
    items: Iterable[Any],
    path: Any,
    rate: int | None = None,
    sound: str = "sound",
    label: str = "label",
    meta: dict[str, Any] | None = None,
) -> None:
    """Write sounds to a folder, as .wav files: ``<label>/<row>.wav``, or ``<row>.wav`` if there are no labels.

    A hidden file, ``.batchup.json``, keeps the order of the rows, the numbers of the labels, and the dtypes.

    Parameters
    ----------
    items : iterable of dict
        The rows: frames, (frames,) or (frames, channels), of uint8, int16, int32, float32 or float64; ``rate``, an
        integer; and, if there are labels, another one.
    path : str or path-like
        Name of the folder. If it is there it must be empty, or written by batchup; it is replaced once the new one is
        whole.
    rate : int, optional
        Frames per second of all sounds, if there is no such column.
    sound, label : str
        The names of the columns. They are read as ``sound`` and ``label``.
    meta : dict, optional
        What else to keep; ``labels``, a list of str, are the names of the labels, and of their folders.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or there are other columns.

    Examples
    --------
    >>> from batchup.formats import read_wav, write_wav
    >>> write_wav([{"x": np.zeros((9, 2), np.float32), "rate": 44100}], "stereo", sound="x")
    >>> read_wav("stereo")["sound"][0].shape
    (9, 2)
    """
    row_by_row.write(items, wav_sink, path, rate=rate, sound=sound, label=label, meta=meta)


class WavTable(FolderTable):
    """The sounds of a folder, or of some files.

    Parameters
    ----------
    path : str, or sequence of str
        Name of the folder; names or patterns of files.
    on_error, labels, names
        As for `read_wav`.
    """

    what = "sounds"
    pattern = Sound.__re__
    beside = ("rate",)

    def __init__(
        self,
        path: Any,
        *,
        on_error: str = "raise",
        labels: bool | Sequence[str] | None = None,
        names: bool = False,
    ) -> None:
        super().__init__(path, "sound", WavDecoder(), on_error, labels, names)


class WavDecoder(Represented):
    """Makes arrays of .wav files."""

    def __call__(self, path: str) -> NDArray[Any]:
        """Return the frames of a file."""
        with seekable(path) as file:
            return decoded_wav(file)[1]

    def header(self, path: str) -> tuple[Field, dict[str, Any]]:
        """Return what the frames of a file will be, and their rate."""
        with seekable(path) as file:
            field, rate = wav_header(file)
        return field, {"rate": rate}


def decoded_wav(file: BinaryIO) -> tuple[int, NDArray[Any]]:
    """Return the rate and the frames of an open file, whose sizes are checked before there is room for them."""
    wav_header(file)
    file.seek(0)
    try:
        return frames_of(file)  # type: ignore[arg-type]
    except FileFormatError as error:
        raise FileFormatError("is damaged, or no .wav file: its header does not describe what follows") from error


def wav_header(file: BinaryIO) -> tuple[Field, int]:
    """Return what an open file says of its frames, and their rate.

    Raises
    ------
    FileFormatError
        If it is no .wav file, or cut short, or compressed, or has frames in two places.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(12)
    if start[:4] not in (b"RIFF", b"RIFX", b"RF64") or start[8:] != b"WAVE":
        raise FileFormatError("is no .wav file: it does not begin with RIFF ... WAVE")
    order = ">" if start[:4] == b"RIFX" else "<"
    end = min(size, 8 + struct.unpack(f"{order}I", start[4:8])[0])  # chunks are read as far
    found: tuple[Field, int] | None = None
    whole = False
    while len(head := file.read(8)) == 8:
        kind, length = struct.unpack(f"{order}4sI", head)
        place = file.tell()
        if kind in (b"fmt ", b"data") and not whole and place - 8 >= end:
            raise FileFormatError(f"is damaged: it is to end at byte {end}, before its frames")
        if kind == b"fmt ":
            found = _described(file.read(min(length, 64)), order)
        elif kind == b"data" and found is not None:
            if whole:
                raise FileFormatError("has frames in two places, of which one would be lost: make it a file for each")
            if length > size - place and not (start[:4] == b"RF64" and length == _UNKNOWN):
                raise FileFormatError(f"is cut short: {size - place} of {length} bytes of frames are there")
            whole = True
        after = place + length + length % 2
        if whole and after >= end:
            break
        file.seek(after)
    if whole and found is not None:
        return found
    raise FileFormatError("is cut short, or damaged: it has no frames" if found else "is damaged: it tells no format")


def _described(chunk: bytes, order: str) -> tuple[Field, int]:
    """Return what a chunk says of the frames."""
    if len(chunk) < 16:
        raise FileFormatError(f"is damaged: its format is told in {len(chunk)} bytes, and needs 16")
    tag, channels, rate, _, _, bits = struct.unpack_from(f"{order}HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack_from(f"{order}H", chunk, 24)
    if (tag, bits) not in _KINDS or not channels:
        raise FileFormatError(
            f"has samples of {bits} bits in the format {tag} and {channels} channels: only PCM of 8, 16, 24 or 32 bits "
            "and floats can be read; convert it"
        )
    return Field(np.dtype(_KINDS[tag, bits]), (None,) if channels == 1 else (None, channels)), rate


def wav_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: dict[str, Any] | None = None,
    rate: int | None = None,
    sound: str = "sound",
    label: str = "label",
) -> contextlib.AbstractContextManager[Write]:
    """Open a folder for blocks of sounds; see `write_wav`.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    rate : int, optional
        Frames per second, if there is no such column.
    sound, label : str
        The names of the columns.
    """
    check_columns(fields, "sounds", sound, "rate", label)
    _check_sound(sound, fields[sound])
    _check_rate(fields, rate)
    names = {sound: "sound", label: "label", "rate": "rate"}

    def encoded(row: dict[str, Any]) -> bytes:
        return encoded_wav(row[sound], int(row["rate"]) if rate is None else rate)

    return folder_sink(path, ".wav", fields, encoded, names, rows, meta)


def _check_sound(name: str, field: Field) -> None:
    plain = field.dtype.newbyteorder("=").name in DTYPES
    if not plain or len(field.shape) not in (1, 2) or field.shape[1:] == (0,):
        what = f".wav files hold (frames,) or (frames, channels) of {', '.join(DTYPES)}"
        refuse(what, name, field, "convert it (dtypes=), or write another format, such as .npz or .h5")


def _check_rate(fields: Mapping[str, Field], rate: int | None) -> None:
    if rate is not None and "rate" in fields:
        raise InvalidValueError("rate= is for sounds without a column 'rate', and there is one")
    if rate is not None:
        whole_number(rate, "rate", 1)
    elif "rate" not in fields:
        raise InvalidValueError("sounds need a rate: pass rate=, frames per second, or have a column 'rate'")
    elif fields["rate"].shape or fields["rate"].dtype.kind not in "iu":
        refuse("rates are whole numbers of frames per second", "rate", fields["rate"], "make it an integer")


def encoded_wav(frames: NDArray[Any], rate: int) -> bytes:
    """Return the bytes of a .wav file; an InvalidValueError if there can be none."""
    from scipy.io import wavfile

    file = io.BytesIO()
    try:
        wavfile.write(file, rate, np.ascontiguousarray(frames, frames.dtype.newbyteorder("=")))
    except (ValueError, struct.error, OverflowError) as error:
        raise InvalidValueError(f"{frames.dtype} {frames.shape} at {rate} Hz is no .wav file: {error}") from error
    return file.getvalue()
