"""TFRecord files of Examples as tables: their features, whose shapes are guessed from the first records."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns import Ragged
from batchup.errors import ChecksumError, FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.checked import Checked, sides
from batchup.formats.opening import BY_SUFFIX, opened, writing
from batchup.formats.packed import utf8
from batchup.formats.table import BLOCK, BYTES, MOST_ROWS, TEXT, Block, Field, Table, Write, objects, refuse
from batchup.formats.tfrecord.example import ExampleParser, MalformedError, MissingFeaturesError
from batchup.formats.tfrecord.records import Frames, checksum_maker, encoded, write_framed

FIRST = 1000  # records by which it is told what features are
FIRST_BYTES = BLOCK
KEPT = 128  # bytes that an array takes besides its values
FLOAT, INT = np.dtype(np.float32), np.dtype(np.int64)

Record = dict[str, NDArray[Any]]


class TfrecordTable(Table):
    """The Examples of a TFRecord file.

    Floats are float32, integers int64, byte strings `bytes`. An Example has no shapes: a feature with one value in
    each of the first records is read as numbers, one with equally many as arrays of one shape, others as sequences.

    Parameters
    ----------
    path : str
        Name or address of the file.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether damaged records are an error, or left out; behind a damaged length, nothing can be found.
    keys : sequence of str, optional
        The features to read; by default all of the first records.
    shapes : mapping of str to tuple, optional
        The shape of a value, by feature.
    ragged : sequence of str, optional
        Features whose lengths differ, even if those of the first records do not.
    texts : sequence of str, optional
        Features that are texts, as UTF-8.
    compression : {'suffix', None, 'gzip', 'zlib', ...}
        How the file is compressed; by default, as its suffix says.
    verify : bool, default True
        Whether to compare each record with its checksum.

    Raises
    ------
    FileFormatError
        If a record is damaged (`ChecksumError`, if that tells), or none, or not like the first ones.
    """

    checksums = True

    def __init__(
        self,
        path: str,
        *,
        on_error: str = "raise",
        keys: Sequence[str] | None = None,
        shapes: Mapping[str, Sequence[int]] | None = None,
        ragged: Sequence[str] = (),
        texts: Sequence[str] = (),
        compression: str | None = BY_SUFFIX,
        verify: bool = True,
    ) -> None:
        if isinstance(keys, str) or isinstance(ragged, str) or isinstance(texts, str):
            raise InvalidTypeError(
                f"keys, ragged and texts must be sequences of str, got {keys!r}, {ragged!r}, {texts!r}"
            )
        super().__init__(path, {}, on_error=on_error)
        self._compression, self._verify = compression, verify
        self._keys = None if keys is None else tuple(keys)
        first = self._first()
        names = list(dict.fromkeys(name for record in first for name in record)) if keys is None else list(keys)
        given = {name: tuple(map(int, shape)) for name, shape in (shapes or {}).items()}
        if first:
            if unknown := [name for name in (*given, *ragged, *texts) if name not in names]:
                raise InvalidValueError(f"{path} has no features {unknown}: it has {names}")
            self.fields = {
                name: _field(name, [record[name] for record in first if name in record], given, ragged, texts, path)
                for name in names
            }

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        chosen = self.chosen(names)
        if not chosen:
            return
        waiting: list[Record] = []
        size = 0
        for number, place, record in self._records(tuple(chosen)):
            try:
                for name, values in record.items():
                    _check(values, self.fields[name], name)
            except ValueError as error:
                self.problem(FileFormatError(f"{self.path}: record {number}, which begins at {place}, {error}"))
                continue
            waiting.append(record)
            size += sum(values.nbytes + KEPT for values in record.values())
            if size > BLOCK or len(waiting) == MOST_ROWS:
                yield self._block(waiting, chosen)
                waiting, size = [], 0
        if waiting:
            yield self._block(waiting, chosen)

    def _block(self, records: list[Record], names: list[str]) -> Block:
        return {name: self._column([record[name] for record in records], name) for name in names}

    def _column(self, values: list[NDArray[Any]], name: str) -> Any:
        field = self.fields[name]
        if field.dtype == BYTES:
            return objects([value[0] for value in values])
        if field.dtype == TEXT:
            return objects([value[0].decode() for value in values])
        if field.ragged:
            return Ragged.of(values)
        rows: NDArray[Any] = np.concatenate(values).reshape(len(values), *sides(field))
        return rows

    def _first(self) -> list[Record]:
        first: list[Record] = []
        size = 0
        for _, _, record in self._records(self._keys):
            first.append(record)
            size += sum(values.nbytes + KEPT for values in record.values())
            if len(first) == FIRST or size > FIRST_BYTES:
                break
        return first

    def _records(self, keys: tuple[str, ...] | None) -> Iterator[tuple[int, str, Record]]:
        """Yield the sound records, with their numbers and places."""
        parser = ExampleParser(keys)
        with opened(self.path, self._compression) as file:
            frames, going = Frames(file, self._verify), True
            self.bytes_total = file.size
            while going:
                try:
                    for data, start, stop in frames:
                        self.bytes_done = file.place
                        try:
                            record = parser.parse(data, start, stop)
                        except MalformedError as error:
                            self.problem(frames.error(f"is no tf.train.Example ({error})"))
                            continue
                        except MissingFeaturesError as error:
                            self.problem(frames.error(f"{error}: name with keys= those that all have"))
                            continue
                        yield frames.number, frames.place, record
                    going = False
                except ChecksumError as error:
                    self.problem(error)
                    going = frames.skip()
                except FileFormatError as error:
                    self.problem(error)
                    going = False


def _field(
    name: str,
    values: list[NDArray[Any]],
    shapes: Mapping[str, tuple[int, ...]],
    ragged: Sequence[str],
    texts: Sequence[str],
    path: str,
) -> Field:
    """Return what a feature is, as far as its first values tell."""
    dtype = values[0].dtype
    lengths = {len(value) for value in values}
    if dtype.hasobject:
        if lengths != {1}:
            raise FileFormatError(
                f"{path}: feature {name!r} has lists of {sorted(lengths)[:4]} byte strings: columns have one each; "
                "name the other features with keys=, or read the records with read_tfrecord"
            )
        return Field(TEXT if name in texts else BYTES)
    if name in texts:
        raise InvalidValueError(f"{path}: feature {name!r} is of numbers ({dtype}), and no text")
    if name in shapes:
        return Field(dtype, shapes[name])
    if len(lengths) > 1 or name in ragged:
        return Field(dtype, (None,))
    return Field(dtype, () if lengths == {1} else (lengths.pop(),))


def _check(values: NDArray[Any], field: Field, name: str) -> None:
    """Raise a ValueError unless values of a record are what those of the first ones were."""
    text = field.dtype in (TEXT, BYTES)
    if (values.dtype == object) != text or (not text and values.dtype != field.dtype):
        kind = "byte strings" if values.dtype == object else str(values.dtype)
        raise ValueError(f"has {kind} as feature {name!r}, where {field} was expected")
    wanted = 1 if text else None if field.ragged else math.prod(sides(field))
    if wanted is not None and len(values) != wanted:
        raise ValueError(
            f"has {len(values)} values of feature {name!r}, where {wanted} were expected: if its lengths differ, name "
            "it with ragged="
        )
    if field.dtype == TEXT:
        try:
            values[0].decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"has a feature {name!r} that is no UTF-8: {error}") from None


@contextlib.contextmanager
def tfrecord_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: dict[str, Any] | None = None,
    cast: bool = False,
    compression: str | None = BY_SUFFIX,
) -> Iterator[Write]:
    """Open a TFRecord file for rows, each of them an Example; `meta` is not kept.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    cast : bool, default False
        Whether to write what does not come back as it is: integers as int64, floats as float32, texts as bytes, arrays
        of several sides flat.
    compression : {'suffix', None, 'gzip', 'zlib', ...}
        How to compress it; by default, as its suffix says.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If a column is something else than an Example holds.
    """
    checksum = checksum_maker()
    for name, field in fields.items():
        _check_field(name, field, cast)
    checked = Checked(fields, rows)
    with writing(path, compression) as file:

        def put(block: Block) -> None:
            first = checked.take(block)
            columns = [_plain(values, fields[name], name, first) for name, values in block.items()]
            for number, row in enumerate(zip(*columns, strict=True), first):
                write_framed(encoded(number, dict(zip(block, row, strict=True))), file, checksum)

        yield put
        checked.finish()


def _check_field(name: str, field: Field, cast: bool) -> None:
    what = "an Example holds flat lists of float32, int64 or bytes"
    if field.dtype in (TEXT, BYTES) and not field.shape:
        kept = field.dtype == BYTES
    elif field.dtype.kind in "US" and not field.shape:
        kept = False
    elif field.dtype.kind in "biuf" and (field.fixed or field.ragged):
        kept = field.dtype in (FLOAT, INT) and len(field.shape) < 2 and field.shape != (1,)
    else:
        refuse(what, name, field, "leave it out, or write Parquet or HDF5")
    if not kept and not cast:
        refuse(
            what,
            name,
            field,
            "cast=True writes the nearest (texts as bytes, arrays flat), which does not come back as it is",
        )


def _plain(values: Any, field: Field, name: str, first: int) -> list[Any]:
    """Return the values of a column, each a flat array or bytes."""
    if field.dtype == BYTES:
        return values.tolist()  # type: ignore[no-any-return]
    if field.dtype == TEXT or field.dtype.kind == "U":
        return utf8(values.tolist(), name, first)
    if field.dtype.kind == "S":
        return values.tolist()  # type: ignore[no-any-return]
    if isinstance(values, Ragged):
        return [part.reshape(-1) for part in values]
    return list(values.reshape(len(values), -1))
