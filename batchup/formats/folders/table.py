"""Folders in which each file is a row: found, labelled by their folders, and decoded when they are asked for."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns.abstract import OwnColumn, samples_at
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.columnar import ColumnarTable
from batchup.formats.paths import found
from batchup.formats.rows import Rows
from batchup.formats.table import ON_ERROR, TEXT, Field, objects
from batchup.formats.values import adapted, column_of, field_told, fitted, merged
from batchup.typed_files import DirLabels

MANIFEST = ".batchup.json"  # what our writer says of a folder


class Decoder(Protocol):
    """What makes values of files; it can be pickled."""

    def __call__(self, path: str, /) -> NDArray[Any]: ...

    def header(self, path: str, /) -> tuple[Field, dict[str, Any]]: ...


class FolderTable(ColumnarTable):
    """The files of a folder, or some files, each of them a row; a subclass says which.

    Parameters
    ----------
    path : str, or sequence of str
        Name of the folder; names or patterns of files.
    name : str
        The column of what the files hold.
    decoder : Decoder
        What makes values of them.
    on_error : {'raise', 'skip'}
        Whether a file that cannot be read is an error, or left out.
    labels : bool or sequence of str, optional
        Whether there are labels; the names of the folders in the order of their numbers.
    names : bool
        Whether there is a column of the names of the files.
    """

    what: str  # the files are called, in messages
    pattern: str  # of their names
    remedy = "read them apart"  # where files are of several kinds
    beside: tuple[str, ...] = ()  # columns of integers that the headers tell

    def __init__(
        self, path: Any, name: str, decoder: Decoder, on_error: str, labels: bool | Sequence[str] | None, names: bool
    ) -> None:
        if on_error not in ON_ERROR:
            raise InvalidValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        problems: list[FileFormatError] = []

        def problem(error: FileFormatError) -> None:
            if on_error == "raise":
                raise error
            problems.append(error)

        files = _Files.of(path, self.pattern, self.what, problem)
        field = None if self._changed() else files.manifest.fields.get(name)
        beside: dict[str, NDArray[Any]] = {}
        if self.beside or field is None:
            headers: dict[str, list[int]] = {key: [] for key in self.beside}
            whole, found = _headers(files, decoder, headers, self.remedy, problem)
            field = field or found
            if field is None:
                raise self._nothing(files, problems)
            files = whole
            beside = {key: _integers(headers[key], files.dtype_of(key), files.shown, key) for key in headers}
        numbers, known = _labels(files, labels)
        meta = files.manifest.meta
        if numbers is not None:
            beside["label"], meta = numbers, {**meta, "labels": known}
        columns: dict[str, Any] = {name: DecodedColumn(files.paths, decoder, field), **beside}
        fields = {name: field, **{key: Field(values.dtype) for key, values in beside.items()}}
        if names:
            columns["path"], fields["path"] = files.names(), Field(TEXT)
        super().__init__(files.shown, columns, fields, len(files.paths), dict(meta), on_error)
        self.problems += problems

    def _nothing(self, files: _Files, problems: Sequence[FileFormatError]) -> FileFormatError:
        """Return what to raise if there are no files, or none that can be read."""
        count = len(files.paths)
        if not count:
            return FileFormatError(f"{files.shown} has no {self.what}: none of its files is called so")
        return FileFormatError(
            f"{files.shown}: all {count} of its {self.what} are damaged, the first: {problems[-count]}"
        )

    def _changed(self) -> bool:
        """Return whether files are read as something else than they hold."""
        return False

    def read(self, names: Sequence[str] | None) -> Any:
        """Return the columns that are wanted; what is whole of them, row by row, if that is asked for."""
        chosen = self.chosen(names)
        return Rows(self, chosen) if self.on_error == "skip" else {name: self._columns[name] for name in chosen}


class DecodedColumn(OwnColumn):
    """Files as samples, decoded when they are read.

    Parameters
    ----------
    paths : tuple of str
        Names of the files.
    decode : callable
        Returns the array of a file; it can be pickled.
    field : Field
        What they all are.
    """

    views = cheap = resident = False
    window = 0

    def __init__(self, paths: tuple[str, ...], decode: Callable[[str], NDArray[Any]], field: Field) -> None:
        self._paths = paths
        self._decode = decode
        self._field = field
        self.dtype = field.dtype
        self.sample_shape = field.shape if field.fixed else None
        self.takes_out = field.fixed

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def shape(self) -> tuple[Any, ...] | None:
        """Number of samples, and shape of one; None if that differs."""
        return None if self.sample_shape is None else (len(self), *self.sample_shape)

    def __getitem__(self, index: Any) -> Any:
        return samples_at(self, index)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        paths = self._paths[indices] if isinstance(indices, slice) else [self._paths[place] for place in indices]
        if out is None:
            return column_of([self._value(path) for path in paths], self._field)
        for place, path in enumerate(paths):
            out[place] = self._value(path)
        return out

    def view(self, indices: slice) -> Any:
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        return False

    def __repr__(self) -> str:
        return f"<{len(self)} files of {self._field}>"

    def _value(self, path: str) -> Any:
        return _named(path, lambda path: fitted(adapted(self._decode(path), self._field), self._field))


class _Manifest(NamedTuple):
    """What our writer says of a folder."""

    rows: int | None
    fields: dict[str, Field]
    labels: dict[str, int] | None
    meta: dict[str, Any]

    @classmethod
    def of(cls, folder: str) -> _Manifest:
        name = os.path.join(folder, MANIFEST)
        if not os.path.exists(name):
            return cls(None, {}, None, {})
        try:
            with open(name, encoding="utf-8") as file:
                told = json.load(file)
            fields = {str(key): field_told(field) for key, field in told["fields"].items()}
            labels = None if told["labels"] is None else {str(key): int(told["labels"][key]) for key in told["labels"]}
            return cls(int(told["rows"]), fields, labels, dict(told["meta"]))
        except (AttributeError, KeyError, SyntaxError, TypeError, ValueError) as error:
            raise FileFormatError(f"{name}, which says what lies in the folder, is damaged: {error!r}") from error


class _Files(NamedTuple):
    """Files that are rows, in their order."""

    shown: str
    root: str | None  # the folder, if they are those of one
    paths: tuple[str, ...]
    manifest: _Manifest

    @classmethod
    def of(cls, path: Any, pattern: str, what: str, problem: Callable[[FileFormatError], None]) -> _Files:
        named = found(tuple(path) if isinstance(path, (list, tuple)) else (path,), folders=True)
        root = named[0] if len(named) == 1 and os.path.isdir(named[0]) else None
        manifest = _Manifest.of(root or os.devnull)
        paths: list[str] = []
        for name in named:
            paths += files_below(name, pattern) if os.path.isdir(name) else [name]
        if manifest.rows is not None:
            paths.sort(key=os.path.basename)  # which are the numbers of the rows
            if len(paths) != manifest.rows:
                problem(FileFormatError(f"{root} has {len(paths)} {what}, and {manifest.rows} were written"))
        shown = named[0] + (f" and {len(named) - 1} more" if len(named) > 1 else "")
        return cls(shown, root, tuple(paths), manifest)

    def dtype_of(self, name: str) -> np.dtype[Any]:
        """Return what integers beside the files are told to be; by default int64."""
        return self.manifest.fields.get(name, Field(np.dtype(np.int64))).dtype

    def names(self) -> Any:
        """Return the names of the files, seen from the folder if there is one."""
        return objects([os.path.relpath(path, self.root) if self.root else path for path in self.paths])


def files_below(root: str, pattern: str = "") -> Iterator[str]:
    """Yield the names of the files below a folder that match a pattern, in a fixed order.

    Links to folders are followed, but not to those that they lie in; what is hidden is left out.
    """
    above: dict[str, tuple[str, ...]] = {
        root: (os.path.realpath(root),)
    }  # of each folder: where it lies, and those that were passed on the way
    for folder, inside, names in os.walk(root, followlinks=True):
        passed = above.pop(folder)
        wanted = sorted(name for name in inside if not name.startswith("."))
        inside.clear()
        for name in wanted:
            path = os.path.join(folder, name)
            real = os.path.realpath(path)
            if not any(os.path.join(one, "").startswith(os.path.join(real, "")) for one in passed):
                above[path] = (*passed, real)
                inside.append(name)
        for name in sorted(names):
            if not name.startswith(".") and re.search(pattern, name):
                yield os.path.join(folder, name)


def columns_told(folder: str) -> tuple[str, ...]:
    """Return the names of the columns that our writer says a folder has; none if it was not written so."""
    return tuple(_Manifest.of(folder).fields)


def _headers(
    files: _Files,
    decoder: Decoder,
    beside: dict[str, list[Any]],
    remedy: str,
    problem: Callable[[FileFormatError], None],
) -> tuple[_Files, Field | None]:
    """Return the files whose headers can be read, and what all of them hold; collect what else the headers say."""
    fields: dict[Field, str] = {}  # with a file for each
    paths: list[str] = []
    for path in files.paths:
        try:
            field, more = _named(path, decoder.header)
            if fields:
                _check_alike(path, field, fields, remedy)
        except FileFormatError as error:
            problem(error)
            continue
        fields.setdefault(field, path)
        paths.append(path)
        for key, values in beside.items():
            values.append(more[key])
    return files._replace(paths=tuple(paths)), merged(fields) if fields else None


def _check_alike(path: str, field: Field, others: dict[Field, str], remedy: str) -> None:
    first = next(iter(others))
    if (field.dtype, len(field.shape)) != (first.dtype, len(first.shape)):
        raise FileFormatError(f"{path} is {field}, and {others[first]} is {first}: {remedy}")


def _named(path: str, function: Callable[[str], Any]) -> Any:
    """Return what a function makes of a file; an error of it names the file."""
    try:
        return function(path)
    except (FileFormatError, InvalidValueError) as error:
        raise FileFormatError(f"{path} {error}") from error
    except OSError as error:
        if os.path.islink(path) and not os.path.exists(path):
            raise FileFormatError(f"{path} is a link to a file that is not there") from error
        raise


def _labels(files: _Files, asked: bool | Sequence[str] | None) -> tuple[NDArray[Any] | None, list[str]]:
    """Return the numbers of the folders in which files lie, and the names of all; None if there are no labels."""
    if isinstance(asked, str) or not (asked is None or isinstance(asked, (bool, Sequence))):
        raise InvalidTypeError(f"labels must be True, False, or the names of folders, got {asked!r}")
    told = files.manifest.labels
    folders = {os.path.dirname(path) for path in files.paths}
    if asked is False or (asked is None and files.manifest.rows is not None and told is None):
        return None, []
    if asked is None and told is None and not (folders - {files.root} if files.root else len(folders) > 1):
        return None, []
    dtype = np.dtype(np.int64)
    if asked is None and told is not None:
        numbers, dtype = told, files.dtype_of("label")
    else:
        names = [] if isinstance(asked, bool) or asked is None else list(asked)
        numbers = {name: number for number, name in enumerate(DirLabels(names).prepared(files.paths, {}).names)}
        if names and len(numbers) > len(names):
            raise FileFormatError(f"{files.shown}: labels= lacks the folders {list(numbers)[len(names) :]}")
    labels = [_number(path, files.root, numbers) for path in files.paths]
    return _integers(labels, dtype, files.shown, "label"), list(numbers)


def _integers(values: list[int], dtype: np.dtype[Any], shown: str, name: str) -> NDArray[Any]:
    """Return integers as an array, if a dtype that is told holds them."""
    bounds = np.iinfo(dtype) if dtype.kind in "iu" else None
    if bounds is None or not all(bounds.min <= value <= bounds.max for value in values):
        raise FileFormatError(f"{shown}: the column {name!r} is told to be {dtype}, which does not hold its values")
    return np.array(values, dtype)


def _number(path: str, root: str | None, numbers: dict[str, int]) -> int:
    folder = DirLabels.directory(path)
    if os.path.dirname(path) == root or folder not in numbers:
        raise FileFormatError(f"{path} does not lie in a folder that is a label: move it there, or pass labels=False")
    return numbers[folder]
