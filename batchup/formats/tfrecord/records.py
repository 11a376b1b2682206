"""TFRecord files without TensorFlow: records with checksums, one behind the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from struct import Struct
from typing import Any

from numpy.typing import NDArray

from batchup._compression import BLOCK, Output, Plain, check_compression, opened, seems
from batchup._extras import required
from batchup._repr import Represented
from batchup.errors import ChecksumError, FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.opening import Opened
from batchup.formats.paths import found
from batchup.formats.tfrecord.example import ExampleParser, MalformedError, MissingFeaturesError, encoded_example
from batchup.formats.whole import compressed_file

_HEAD = Struct("<QI")  # the number of bytes, and its checksum
_FOOT = Struct("<I")  # the checksum of the bytes
_LENGTH = 8  # bytes of the number of bytes


def read_tfrecord(
    *paths: Any,
    keys: Sequence[str] | None = None,
    compression: str | None = None,
    verify: bool = True,
    raw: bool = False,
) -> TFRecordSource:
    """Read the records of TFRecord files, as dicts of arrays.

    The files are read one after the other, some MiB at a time. A list of floats becomes a float32 array, one of
    integers an int64 array, one of byte strings an object array of `bytes`; all have one axis, as Examples have no
    shapes. A feature without any list is none, as in TensorFlow.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, or patterns such as ``"train-*.tfrecord"``, whose files are sorted by name.
    keys : sequence of str, optional
        The features to return, in this order. By default all, in the order of each record.
    compression : {None, 'gzip', 'zlib'}
        How the files are compressed.
    verify : bool, default True
        Whether to compare each record with its checksum. The checksum of its length always is.
    raw : bool, default False
        Whether to return the bytes of each record as they are.

    Returns
    -------
    iterable
        The records; each time anew.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        When a damaged record is read (`ChecksumError`, if that tells), or one that is no Example, or lacks a feature.
        The message names the file, the record, counted from 0, and the byte at which it begins.

    Examples
    --------
    >>> from batchup.formats import read_tfrecord, write_tfrecord
    >>> write_tfrecord([{"x": [0.5, 1.0], "y": 3}, {"x": [2.0], "y": 4}], "few.tfrecord")
    >>> for record in read_tfrecord("few.tfrecord", keys=["y", "x"]):
    ...     print(record["y"], record["x"])
    [3] [0.5 1. ]
    [4] [2.]
    """
    checksum_maker()
    check_compression(compression)
    if raw and keys is not None:
        raise InvalidValueError("raw=True returns the bytes of records as they are: leave keys= out")
    return TFRecordSource(found(paths), _as_keys(keys), compression, verify, raw)


class TFRecordSource(Represented):
    """The records of TFRecord files, each time anew; see `read_tfrecord`.

    Parameters
    ----------
    paths : tuple of str
        Names of the files.
    keys, compression, verify, raw
        As for `read_tfrecord`.
    """

    def __init__(
        self,
        paths: tuple[str, ...],
        keys: tuple[str, ...] | None = None,
        compression: str | None = None,
        verify: bool = True,
        raw: bool = False,
    ) -> None:
        self.paths = paths
        self.keys = keys
        self.compression = compression
        self.verify = verify
        self.raw = raw

    def __iter__(self) -> Iterator[Any]:
        for path in self.paths:
            with opened(path, self.compression) as file:
                frames = Frames(file, self.verify)
                if self.raw:
                    yield from (bytes(data[start:stop]) for data, start, stop in frames)
                else:
                    yield from _examples(frames, ExampleParser(self.keys))


def _examples(frames: Frames, parser: ExampleParser) -> Iterator[dict[str, NDArray[Any]]]:
    for data, start, stop in frames:
        try:
            record = parser.parse(data, start, stop)
        except MalformedError as error:
            raise frames.error(f"is no tf.train.Example ({error}): read it with raw=True") from None
        except MissingFeaturesError as error:
            raise frames.error(str(error)) from None
        yield record


class Frames:
    """The records of one file, as places in blocks of bytes.

    After a `ChecksumError`, `skip` goes behind the record, and it may be iterated over again for those that follow.

    Parameters
    ----------
    file
        Where they are read.
    verify : bool
        Whether to compare each record with its checksum.

    Attributes
    ----------
    number : int
        That of the record at hand.
    """

    def __init__(self, file: Plain | Opened, verify: bool) -> None:
        self._file = file
        self._verify = verify
        self._data = bytearray(BLOCK)  # filled anew again and again: what stays must be copied
        self._view = memoryview(self._data)
        self._end = 0  # of what has been read, in the data
        self._base = 0  # the byte of the file with which the data begin
        self._begin = 0  # the place in the data where the record begins
        self._whole = 0  # bytes of the record at hand, if its length is sound
        self.number = -1

    def __iter__(self) -> Iterator[tuple[bytearray, int, int]]:
        checksum, verify = checksum_maker(), self._verify
        known, length, whole = b"", 0, 0
        while self._end - self._begin >= _HEAD.size or self._begins():
            self.number += 1
            self._whole = 0
            if not whole or not self._data.startswith(known, self._begin):  # mostly it is the head of the last record
                known = bytes(self._data[self._begin : self._begin + _HEAD.size])
                length = self._length(known, checksum)
                whole = _HEAD.size + length + _FOOT.size
            if self._end - self._begin < whole:
                self._need(whole)
            data, start = self._data, self._begin + _HEAD.size
            stop = start + length
            self._whole = whole
            if verify and checksum(self._view[start:stop]) != _FOOT.unpack_from(data, stop)[0]:
                raise self.error(f"of {length} bytes is not what was written: its checksum differs", ChecksumError)
            yield data, start, stop
            self._begin = stop + _FOOT.size

    @property
    def place(self) -> str:
        """Where the record at hand begins."""
        return f"{self._file.unit} {self._base + self._begin}"

    def skip(self) -> bool:
        """Go behind the record at hand; return whether it is known where it ends."""
        self._begin, skipped, self._whole = self._begin + self._whole, self._whole > 0, 0
        return skipped

    def error(self, reason: str, kind: type[FileFormatError] = FileFormatError) -> FileFormatError:
        """Return an error that tells of the record at hand."""
        return kind(f"{self._file.name}: record {self.number}, which begins at {self.place}, {reason}")

    def _begins(self) -> bool:
        """Return whether there is another record, and have its head."""
        self._fill(_HEAD.size)
        if 0 < self._end < _HEAD.size:
            self.number += 1
            raise self._foreign() or self.error(f"is cut short: {self._end} of {_HEAD.size} bytes of its head")
        return self._end > 0

    def _need(self, size: int) -> None:
        """Have so many bytes of the record."""
        there, left = self._end - self._begin, self._file.left()
        if left is None or there + left >= size:  # before anything is allocated
            self._fill(size)
            there, left = self._end, 0
        if there < size:
            raise self.error(f"is cut short: {there + left} of {size} bytes are there")

    def _fill(self, size: int) -> None:
        """Have the record at the beginning of the data, and so many bytes of it, unless the file ends before."""
        there = self._end - self._begin
        self._view[:there] = self._view[self._begin : self._end]
        self._base += self._begin
        self._begin, self._end = 0, there
        while self._end < size:
            if self._end == len(self._data):
                # twice as much as is there, not what a length says that may be made up
                self._data = self._data + bytes(min(self._end, size - self._end))
                self._view = memoryview(self._data)
            if not (count := self._file.readinto(self._view[self._end :])):
                return
            self._end += count

    def _length(self, head: bytes, checksum: Callable[[Any], int]) -> int:
        length, stored = _HEAD.unpack(head)
        if checksum(head[:_LENGTH]) != stored:
            raise self._foreign() or self.error(
                "has a length that is not what was written: its checksum differs", ChecksumError
            )
        return int(length)

    def _foreign(self) -> FileFormatError | None:
        """Return an error if the file seems to be compressed, and nobody has said so."""
        compression = seems(self._data[: self._end]) if self.number == 0 else None
        if compression is None:
            return None
        return self.error(
            f'is none: the file seems to be compressed with {compression}; pass compression="{compression}"'
        )


def write_tfrecord(items: Iterable[Any], path: Any, compression: str | None = None, raw: bool = False) -> None:
    """Write a TFRecord file of tf.train.Examples, which TensorFlow reads too.

    Floats of any precision are written as float32, integers and bools as int64, strings as UTF-8. An Example has no
    shapes: arrays are written flat, and read with one axis. Features keep the order of the dict.

    Parameters
    ----------
    items : iterable of dict
        The records: for each feature a number, a string (`str` or `bytes`), or an array or a list of those.
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.
    compression : {None, 'gzip', 'zlib'}
        How to compress it.
    raw : bool, default False
        Whether the items are the bytes of the records.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item cannot be a record; the message names the record, counted from 0, and the key.

    Examples
    --------
    >>> from batchup.formats import read_tfrecord, write_tfrecord
    >>> write_tfrecord([{"image": np.eye(2), "name": "unit"}], "one.tfrecord", compression="gzip")
    >>> next(iter(read_tfrecord("one.tfrecord", compression="gzip")))
    {'image': array([1., 0., 0., 1.], dtype=float32), 'name': array([b'unit'], dtype=object)}
    """
    checksum = checksum_maker()
    encode = _raw if raw else encoded
    with compressed_file(path, compression) as file:
        for number, item in enumerate(items):
            write_framed(encode(number, item), file, checksum)


def write_framed(data: bytes, file: Output, checksum: Callable[[Any], int]) -> None:
    """Write a record with its length and checksums."""
    length = len(data).to_bytes(_LENGTH, "little")
    file.write(length + _FOOT.pack(checksum(length)))
    file.write(data)
    file.write(_FOOT.pack(checksum(data)))


def _raw(number: int, item: Any) -> bytes:
    if isinstance(item, (bytes, bytearray)):
        return bytes(item)
    raise InvalidTypeError(f"record {number}: with raw=True a record is bytes, got {type(item).__name__}")


def encoded(number: int, item: Any) -> bytes:
    """Return an item as the bytes of an Example; errors name the record."""
    if not isinstance(item, Mapping):
        hint = "; pass raw=True to write bytes as they are" if isinstance(item, bytes) else ""
        raise InvalidTypeError(f"record {number}: a TFRecord file takes dicts, got {type(item).__name__}{hint}")
    try:
        return encoded_example(item)
    except (InvalidTypeError, InvalidValueError) as error:
        raise type(error)(f"record {number}: {error}") from None


def _as_keys(keys: Any) -> tuple[str, ...] | None:
    if keys is None:
        return None
    if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
        raise InvalidTypeError(f"keys must be a sequence of str, got {keys!r}")
    return tuple(keys)


def checksum_maker() -> Callable[[Any], int]:
    """Return the function that makes masked CRC-32C checksums."""
    crc32c: Callable[[Any], int] = required("crc32c", "tfrecord", "reading and writing TFRecord files").crc32c

    def masked(data: Any) -> int:
        # masked, as TensorFlow says, because a CRC of data that contain CRCs is a poor one
        crc = crc32c(data)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF

    return masked
