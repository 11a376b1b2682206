"""WebDataset's tar shards: samples whose members share a name, and differ in what follows its first dot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from batchup.errors import FileFormatError, InvalidValueError, MissingExtraError
from batchup.formats import rows as row_by_row
from batchup.formats.opening import BY_SUFFIX, opened
from batchup.formats.table import BLOCK, GUESSED, MOST_ROWS, TEXT, Block, Field, Table
from batchup.formats.values import column_of, field_of_values, fitted
from batchup.formats.webdataset.fields import Part, parts_of, told_parts
from batchup.formats.webdataset.members import Member, Members
from batchup.formats.webdataset.sink import MARK, webdataset_sink

KEY = "__key__"
_NAME = re.compile(r"((?:.*/)?[^./]+)\.([^/]*)", re.DOTALL)
_HIDDEN = re.compile(r"__[^/]*__(?:$|/)")  # what WebDataset keeps for itself
_LOOK_BYTES, _LOOK_ROWS = 2**20, 16  # how much is looked at, at least, to tell what the columns are
_MOST_MEMBERS = 1000  # of a sample


def read_webdataset(
    *paths: Any,
    columns: Sequence[str] | None = None,
    on_error: str = "raise",
    decode: bool = True,
    keys: bool = False,
    mode: str | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
) -> Any:
    """Read the samples of WebDataset's tar files, from front to back.

    A sample is a run of members whose names are the same up to the first dot behind the last slash. What follows that
    dot, the extension, tells what a member is and names its column: ``.npy`` arrays, ``.txt`` texts, ``.cls`` and
    ``.index`` integers, ``.json`` numbers, texts or lists of numbers, ``.jpg``, ``.png`` and other images (uint8; they
    need Pillow), ``.wav`` sounds (with a column of their rates), all else bytes. A last ``.npy``, ``.txt``, ``.bin`` or
    ``.png`` of several parts is not in the name: ``x.npy`` is the column ``x``. Pickles are refused.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, patterns such as ``"train-*.tar"``, or addresses; ``.tar.gz``, ``.tar.zst`` and ``.tar.xz`` too.
    columns : sequence of str, optional
        Those to read; all by default.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether a sample that is damaged or lacks a member is an error, or left out. After a damaged header, reading
        goes on at the next one that is whole.
    decode : bool, default True
        Whether members are decoded. Otherwise all are bytes, and named by their whole extensions.
    keys : bool, default False
        Whether there is a column ``__key__`` with what the members of a sample have in common.
    mode : str, optional
        What images are converted to: ``'L'``, ``'RGB'`` or ``'RGBA'``.
    shapes : mapping of str to tuple, optional
        The shapes of values, by column, with None for a side that differs; by default what the first MiB shows, or
        what the file says, if batchup wrote it: ``{"jpg": (None, None, 3)}``.

    Returns
    -------
    Rows
        The samples as dicts; each time anew.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If something is damaged, or cut short, or not what the first samples are. The message names the member, and
        the byte at which it begins.

    Examples
    --------
    >>> from batchup.formats import read_webdataset, write_webdataset
    >>> write_webdataset(({"x": np.full(2, n), "name": f"n{n}"} for n in range(3)), "few.tar")
    >>> for sample in read_webdataset("few.tar", keys=True):
    ...     print(sample["__key__"], sample["x"], sample["name"])
    000000000 [0 0] n0
    000000001 [1 1] n1
    000000002 [2 2] n2
    """
    options: dict[str, Any] = {"on_error": on_error, "decode": decode, "keys": keys, "mode": mode, "shapes": shapes}
    return row_by_row.read(WebdatasetTable, paths, columns, **options)


def write_webdataset(
    items: Iterable[Any], path: Any, encode: Mapping[str, str] | None = None, meta: dict[str, Any] | None = None
) -> None:
    """Write samples to a tar file as WebDataset reads them.

    The members of sample 7 are called ``000000007.x.npy``; texts are written as ``.txt``, bytes as ``.bin``, arrays and
    numbers as ``.npy``. The dtypes and shapes of the columns are kept in a comment that other programs pass over.

    Parameters
    ----------
    items : iterable of dict or tuple
        The samples, all with the same keys.
    path : str or path-like
        Name of the file, compressed as its suffix says. It is replaced once the new one is whole.
    encode : mapping of str to str, optional
        Columns of images to be written as ``'png'``: ``{"image": "png"}``. They are read as they were.
    meta : dict, optional
        What else to keep in the comment, as JSON can hold it.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or a column cannot be so called.

    Examples
    --------
    >>> from batchup.formats import read_webdataset, write_webdataset
    >>> write_webdataset(({"image": np.full((2, 2), n, np.uint8)} for n in range(3)), "a.tar.gz", {"image": "png"})
    >>> [int(sample["image"][0, 0]) for sample in read_webdataset("a.tar.gz")]
    [0, 1, 2]
    """
    row_by_row.write(items, webdataset_sink, path, encode=encode, meta=meta)


class _Sample(NamedTuple):
    """Members with one key, by their extensions."""

    key: str
    members: dict[str, Member]


class WebdatasetTable(Table):
    """The samples of a tar file.

    Parameters
    ----------
    path : str
        Its name or address.
    on_error, decode, keys, mode, shapes
        As for `read_webdataset`.
    compression : str, optional
        How it is compressed; by default its suffix tells.
    """

    def __init__(
        self,
        path: str,
        *,
        on_error: str = "raise",
        decode: bool = True,
        keys: bool = False,
        mode: str | None = None,
        shapes: Mapping[str, Sequence[int | None]] | None = None,
        compression: str | None = BY_SUFFIX,
    ) -> None:
        super().__init__(path, {}, on_error=on_error)
        self._compression = compression
        self._keys = keys
        with opened(path, compression) as file:
            members = Members(file, path, self._unnoted)
            first = self._first(members)
        told = _told(members.comment, path) if decode and mode is None and not shapes else None
        if told is None:
            found = dict.fromkeys(extension for sample in first for extension in sample.members)
            self._parts = parts_of(found, decode, mode)
            self.fields = self._shown(first, self._parts, shapes or {})
        else:
            self._parts, self.fields, self.meta = told
        if keys:
            self._parts.pop(KEY, None)
            self.fields[KEY] = Field(TEXT)

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        wanted = self.chosen(names)
        parts = {name: self._parts[name] for name in wanted if name in self._parts}
        read = {part.extension for part in parts.values()}
        every = {part.extension for part in self._parts.values()} if len(parts) == len(self._parts) else None
        with opened(self.path, self._compression) as file:
            self.bytes_total = file.size
            members = Members(file, self.path, self.problem, lambda name: _extension(name) in read)
            values: dict[str, list[Any]] = {name: [] for name in wanted}
            size = rows = 0
            for sample in _samples(members, self.path, self.problem):
                row = self._row(sample, parts, every)
                if row is None:
                    continue
                for name, into in values.items():
                    into.append(row[name])
                    size += _size(row[name])
                rows += 1
                if size >= BLOCK or rows == MOST_ROWS:
                    self.bytes_done = file.place
                    yield self._block(values)
                    values = {name: [] for name in wanted}
                    size = rows = 0
            self.bytes_done = file.place
            if rows:
                yield self._block(values)

    def _block(self, values: Mapping[str, list[Any]]) -> Block:
        return {name: column_of(column, self.fields[name]) for name, column in values.items()}

    def _value(self, part: Part, member: Member, field: Field) -> Any:
        value = fitted(part.decode(member.data or b""), field, part.numbers)
        # an array that is kept as it is must not lie in the bytes that were read
        return value.copy() if isinstance(value, np.ndarray) and None in field.shape and not field.ragged else value

    def _row(self, sample: _Sample, parts: Mapping[str, Part], every: set[str] | None) -> dict[str, Any] | None:
        """Return the values of a sample; None if it is left out."""
        members = sample.members
        if every is not None and members.keys() != every:
            if more := sorted(members.keys() - every):
                start, what = members[more[0]].start, f"has {more}, which the first samples lack"
            else:
                start, what = _start(sample), f"lacks {sorted(every - members.keys())}"
            hint = "columns= chooses those that all have"
            self.problem(FileFormatError(f"{self.path}, sample {sample.key!r} at byte {start} {what}: {hint}"))
            return None
        row: dict[str, Any] = {KEY: sample.key} if self._keys else {}
        for name, part in parts.items():
            member = members.get(part.extension)
            if member is None:
                what = f"lacks {part.extension!r}"
                self.problem(FileFormatError(f"{self.path}, sample {sample.key!r} at byte {_start(sample)} {what}"))
                return None
            try:
                row[name] = self._value(part, member, self.fields[name])
            except Exception as error:  # noqa: BLE001  libraries raise many kinds
                self.problem(self._undecoded(member, error))
                return None
        return row

    def _first(self, members: Members) -> list[_Sample]:
        """Return samples from which to tell what the columns are; none if our writer has told."""
        samples: list[_Sample] = []
        size = 0
        for sample in _samples(members, self.path, self._unnoted):
            samples.append(sample)
            size += sum(len(member.data or b"") for member in sample.members.values())
            if members.comment.startswith(MARK) or _enough(size, len(samples)):
                break
        if members.names and not samples and not members.comment.startswith(MARK) and self.on_error == "raise":
            raise FileFormatError(
                f"{self.path} has no samples: none of its members is called as WebDataset's are, key.extension"
            )
        return samples

    def _shown(
        self, samples: list[_Sample], parts: Mapping[str, Part], shapes: Mapping[str, Sequence[int | None]]
    ) -> dict[str, Field]:
        """Return what the first samples show of the columns."""
        if unknown := [name for name in shapes if name not in parts]:
            raise InvalidValueError(f"{self.path} has no columns {unknown} to have shapes: it has {list(parts)}")
        fields: dict[str, Field] = {}
        for name, part in parts.items():
            values: list[Any] = []
            for member in (sample.members.get(part.extension) for sample in samples):
                if member is not None:
                    values += self._looked_at(part, member)
            if not values:
                raise FileFormatError(f"{self.path}: none of the first members {part.extension!r} can be read")
            try:
                field = field_of_values(values, part.numbers)
            except InvalidValueError as error:
                hint = "mode= converts images, and decode=False returns the bytes of members"
                raise FileFormatError(f"{self.path}, column {name!r} {error}: {hint}") from None
            fields[name] = _shaped(name, field, shapes[name]) if name in shapes else field
        return fields

    def _looked_at(self, part: Part, member: Member) -> list[Any]:
        try:
            return [part.decode(member.data or b"")]
        except Exception as error:  # noqa: BLE001
            self._unnoted(self._undecoded(member, error))
            return []

    def _undecoded(self, member: Member, error: Exception) -> FileFormatError:
        if isinstance(error, MissingExtraError):
            raise error
        return FileFormatError(f"{self.path}, member {member.name!r} at byte {member.start}: {error}")

    def _unnoted(self, error: FileFormatError) -> None:
        """Raise an error, unless what is damaged is left out; it will be noted by `blocks`."""
        if self.on_error == "raise":
            raise error


def _samples(members: Iterable[Member], path: str, problem: Callable[[FileFormatError], None]) -> Iterator[_Sample]:
    """Yield the samples that members make, but for those that have one twice."""
    key: str | None = None
    found: dict[str, Member] = {}
    whole = True
    for member in members:
        named = _NAME.fullmatch(member.name)
        if named is None or _HIDDEN.match(member.name):
            continue
        if named[1] != key:
            if key is not None and whole:
                yield _Sample(key, found)
            key, found, whole = named[1], {}, True
        if named[2] in found or len(found) == _MOST_MEMBERS:
            what = (
                "comes twice in a sample" if named[2] in found else f"is one of more than {_MOST_MEMBERS} in a sample"
            )
            if whole:
                problem(FileFormatError(f"{path}, member {member.name!r} at byte {member.start} {what} in a sample"))
            found, whole = {}, False
        found[named[2]] = member
    if key is not None and whole:
        yield _Sample(key, found)


def _enough(size: int, samples: int) -> bool:
    """Return whether so many bytes of so many samples show what the columns are."""
    return size > BLOCK or (size > _LOOK_BYTES and samples >= _LOOK_ROWS)


def _start(sample: _Sample) -> int:
    return next(iter(sample.members.values())).start


def _extension(name: str) -> str | None:
    named = _NAME.fullmatch(name)
    return named and named[2]


def _size(value: Any) -> int:
    return value.nbytes if isinstance(value, np.ndarray) else len(value) + GUESSED


def _shaped(name: str, field: Field, shape: Sequence[int | None]) -> Field:
    """Return a field with the shape that the user tells."""
    told = tuple(shape)
    if len(told) != len(field.shape) or any(w not in (None, f) for w, f in zip(told, field.shape, strict=True)):
        raise InvalidValueError(f"shapes: column {name!r} is {field}, got {told}")
    return Field(field.dtype, told)


def _told(comment: str, path: str) -> tuple[dict[str, Part], dict[str, Field], dict[str, Any]] | None:
    """Return the columns and the meta data that a comment tells, if our writer wrote it."""
    if not comment.startswith(MARK):
        return None
    try:
        told = json.loads(comment.removeprefix(MARK))
        return *told_parts(told["columns"]), dict(told["meta"])
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError) as error:
        raise FileFormatError(f"{path}: what its comment says of the columns is damaged: {error!r}") from error
