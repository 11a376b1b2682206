"""The arrays of .npz files as columns: mapped where they are not compressed, else read block by block."""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from batchup._npy_header import Header, told
from batchup._unfinished import part_beside
from batchup.errors import FileFormatError, InvalidValueError
from batchup.formats.checked import Checked
from batchup.formats.columnar import ColumnarTable
from batchup.formats.numpy_files.npy import begun, check_npy_fields
from batchup.formats.numpy_files.npy_stream import NpyStream, checked_rows
from batchup.formats.numpy_files.npz import member_header, member_name, members_of, zipped
from batchup.formats.opening import seekable
from batchup.formats.paths import named
from batchup.formats.table import Block, Field, Table, Write, block_rows
from batchup.formats.whole import whole_file
from batchup.remote import is_remote

SMALL = 64 * 2**20  # bytes of compressed arrays that are read into memory, so that rows can be read in any order
_HEAD = 30  # bytes of what stands before a member of a zip file, without its name and what is behind that
_NAMES = struct.Struct("<HH")  # the lengths of these two


class NpzTable(Table):
    """The rows of an .npz file whose arrays are equally long.

    `blocks` compares them with their checksums. If the file is on this machine, rows can be read in any order, too:
    arrays that are not compressed are mapped, without a look at their checksums, and compressed ones are read into
    memory, if they take up to 64 MiB there.

    Parameters
    ----------
    path : str
        Name or address of the file.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether damaged arrays are an error, or the rows before the damage are read.

    Raises
    ------
    FileFormatError
        If the file is damaged, or something else, or has Python objects in it, or arrays of different lengths.
    """

    checksums = True

    def __init__(self, path: str, *, on_error: str = "raise") -> None:
        with seekable(path) as raw, told(path), zipfile.ZipFile(raw) as file:
            members = members_of(file)
            if len(members) < len(file.infolist()):
                raise FileFormatError(f"{path} has two arrays of one name")
            size = raw.seek(0, os.SEEK_END)
            self._members = members
            self._headers = {
                name: checked_rows(member_header(file, info, path, size), member_name(path, info))
                for name, info in members.items()
            }
        lengths = {name: header.shape[0] for name, header in self._headers.items()}
        if len(set(lengths.values())) > 1:
            raise FileFormatError(f"{path}: its arrays must be equally long to be read as rows, they are {lengths}")
        fields = {name: Field(header.dtype, header.shape[1:]) for name, header in self._headers.items()}
        super().__init__(path, fields, next(iter(lengths.values()), 0), on_error=on_error)

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        chosen = self.chosen(names)
        columns = self.columns() if any(by_column(self._headers[name]) for name in chosen) else None
        if columns is not None:
            yield from ColumnarTable(self.path, columns, self.fields).blocks(chosen)
            return
        step, left = block_rows({name: self.fields[name] for name in chosen}), self.rows or 0
        with seekable(self.path) as raw, told(self.path), zipfile.ZipFile(raw) as file, contextlib.ExitStack() as stack:
            streams = [
                NpyStream(stack.enter_context(file.open(self._members[name])), self._array(name)) for name in chosen
            ]
            while left and chosen:
                parts = [stream.read(min(step, left)) for stream in streams]
                least = min(len(rows) for rows, _ in parts)
                yield {name: rows[:least] for name, (rows, _) in zip(chosen, parts, strict=True)}
                if errors := [error for _, error in parts if error is not None]:
                    self.problem(errors[0])
                    return
                left -= least

    def columns(self) -> dict[str, Any] | None:
        packed = [name for name, info in self._members.items() if info.compress_type != zipfile.ZIP_STORED]
        if is_remote(self.path) or sum(self._members[name].file_size for name in packed) > SMALL:
            return None
        with open(self.path, "rb") as raw, told(self.path), zipfile.ZipFile(raw) as file:
            size = os.fstat(raw.fileno()).st_size
            try:
                loaded = {name: self._loaded(file, name) for name in packed}
            except FileFormatError:
                if self.on_error == "raise":
                    raise
                return None  # `blocks` has the rows before the damage
            return {name: loaded[name] if name in loaded else self._map(raw, name, size) for name in self.fields}

    def _loaded(self, file: zipfile.ZipFile, name: str) -> NDArray[Any]:
        with told(self._array(name)), file.open(self._members[name]) as member:
            array: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
        return array

    def _map(self, file: IO[bytes], name: str, size: int) -> NDArray[Any]:
        """Return an array where it lies in the file."""
        header, info = self._headers[name], self._members[name]
        file.seek(info.header_offset + _HEAD - _NAMES.size)
        begin = info.header_offset + _HEAD + sum(_NAMES.unpack(file.read(_NAMES.size)))
        if begin + header.size > size:
            raise FileFormatError(f"{self._array(name)} is cut short: it would end at byte {begin + header.size}")
        if not header.size - header.start:
            return np.empty(header.shape, header.dtype)
        order = "F" if header.fortran_order else "C"
        return np.memmap(self.path, header.dtype, "r", begin + header.start, header.shape, order)  # type: ignore[call-overload,no-any-return]

    def _array(self, name: str) -> str:
        return member_name(self.path, self._members[name])


def by_column(header: Header) -> bool:
    """Return whether an array lies in a file column by column, as Fortran has it."""
    return header.fortran_order and len(header.shape) > 1


@contextlib.contextmanager
def npz_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: dict[str, Any] | None = None,
    compressed: bool = False,
) -> Iterator[Write]:
    """Open an .npz file for rows, with an array for each column; `meta` is not kept.

    The arrays are written to unnamed files beside it as blocks come, and put together in the end.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    compressed : bool, default False
        Whether to compress the arrays.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If a column is none of numbers or strings of one size, or cannot be called so in an archive.
    """
    check_npy_fields(fields)
    for name in fields:
        if "\0" in name or name.encode(errors="ignore").decode() != name:
            raise InvalidValueError(f"an .npz file cannot have an array called {name!r}: rename the column")
    checked = Checked(fields, rows)
    with whole_file(path) as file, contextlib.ExitStack() as stack:
        parts = {name: stack.enter_context(part_beside(named(path))) for name in fields}
        columns = {name: begun(parts[name], field) for name, field in fields.items()}

        def put(block: Block) -> None:
            checked.take(block)
            for name, values in block.items():
                columns[name].extend(values)

        yield put
        checked.finish()
        zipped(columns, file, compressed)
