"""Rows written as a group of zarr's arrays: a folder, or a zip file of it."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from batchup._extras import required
from batchup._files import full_disk_named, write_all
from batchup.errors import InvalidValueError
from batchup.formats.checked import Checked, as_json, sides
from batchup.formats.growing import Growing
from batchup.formats.packed import utf8
from batchup.formats.paths import named
from batchup.formats.table import TEXT, Block, Field, Write, refuse
from batchup.formats.whole import whole_file
from batchup.formats.whole_folder import remove, whole_folder
from batchup.formats.zip_members import put_member

ORDER = "batchup_columns"  # the attribute of a group that lists its arrays in their order
CHUNK = 4 * 2**20  # bytes of a chunk, at most
ALL_CHUNKS = 64 * 2**20  # bytes of the rows that wait until they make chunks, of all columns
LEAST_CHUNK = 64 * 1024
_GROUP, _EMPTY = ".zgroup", b'{\n    "zarr_format": 2\n}'  # the file that makes a folder a group
_MEMBER = r"(.+/)?(\.z(group|array|attrs|metadata)|[0-9]+(\.[0-9]+)*)"  # the files of a group
_LONGEST = 255  # bytes of the name of a folder


@contextlib.contextmanager
def zarr_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: dict[str, Any] | None = None,
    compressed: bool = True,
) -> Iterator[Write]:
    """Open a group of zarr's arrays for rows.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    compressed
        As for `write_zarr`.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If zarr cannot hold a column, or have it by its name.
    """
    required("zarr", "zarr", "writing zarr")
    for name, field in fields.items():
        _check(name, field)
    _check_names(list(fields))
    attributes = _checked_meta(meta or {}, list(fields))
    checked, whole = Checked(fields, rows), os.path.realpath(named(path))
    size = max(LEAST_CHUNK, min(CHUNK, ALL_CHUNKS // max(1, len(fields))))
    with _folder(whole) as folder:
        with full_disk_named(whole):
            group = _group(folder)
            group.attrs.put(attributes)
        columns = {
            name: Growing(
                functools.partial(_array, group, name, field, compressed), max(1, size // max(1, field.row_bytes))
            )
            for name, field in fields.items()
        }

        def put(block: Block) -> None:
            first = checked.take(block)
            with full_disk_named(whole):
                for name, values in block.items():
                    columns[name].put(_texts(values, name, first) if fields[name].dtype == TEXT else values)

        yield put
        checked.finish()
        with full_disk_named(whole):
            for column in columns.values():
                column.finish()


@contextlib.contextmanager
def _folder(path: str) -> Iterator[str]:
    """Have a folder with an empty group in it, which takes a name, or of which a zip file is made."""
    if path.lower().endswith(".zip"):
        with _zipped(path) as folder, open(os.path.join(folder, _GROUP), "wb") as file:
            write_all(file.fileno(), memoryview(_EMPTY), 0, path)
            yield folder
        return
    with whole_folder(path, _GROUP, _MEMBER) as (folder, manifest):
        write_all(manifest.fileno(), memoryview(_EMPTY), 0, path)
        yield folder


@contextlib.contextmanager
def _zipped(path: str) -> Iterator[str]:
    """Have an empty folder of which a zip file is made when the block ends well."""
    with whole_file(path) as file:
        folder = tempfile.mkdtemp(dir=os.path.dirname(path))
        try:
            yield folder
            with zipfile.ZipFile(file, "w") as archive:
                _put_files(archive, folder)
        finally:
            remove(folder)


def _put_files(archive: zipfile.ZipFile, folder: str) -> None:
    for inner, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            whole = os.path.join(inner, name)
            with open(whole, "rb") as file:
                put_member(archive, os.path.relpath(whole, folder), file)


def _group(folder: str) -> Any:
    zarr = required("zarr", "zarr", "writing zarr")
    newer = int(zarr.__version__.split(".")[0]) >= 3
    return zarr.open_group(folder, mode="r+", **({"zarr_format": 2} if newer else {}))


def _texts(values: Any, name: str, first: int) -> Any:
    """Return texts as zarr takes them."""
    utf8(values.tolist(), name, first)  # raises what zarr would do without the row
    return values if np.lib.NumpyVersion(np.__version__) < "2.0.0" else values.astype(np.dtypes.StringDType())


def _array(group: Any, name: str, field: Field, compressed: bool, rows: int) -> Any:
    """Return an array without rows; chunks with nothing but zeros are written too, as there are two zeros."""
    inner = sides(field)
    options: dict[str, Any] = {"shape": (0, *inner), "chunks": (rows, *(max(1, side) for side in inner))}
    text = field.dtype == TEXT
    if hasattr(group, "create_array"):
        options.update({} if compressed else {"compressors": None})
        return group.create_array(
            name, dtype=str if text else field.dtype, config={"write_empty_chunks": True}, **options
        )
    options.update({} if compressed else {"compressor": None})
    if text:
        codec = required("numcodecs", "zarr", "writing zarr").VLenUTF8()
        return group.create_dataset(name, dtype=object, object_codec=codec, **options)
    return group.create_dataset(name, dtype=field.dtype, fill_value=None, write_empty_chunks=True, **options)


def _check(name: str, field: Field) -> None:
    """Refuse what zarr 2 or 3 cannot hold."""
    what = "zarr holds numbers, strings and dates of one shape, and texts"
    dtype = field.dtype
    if dtype == TEXT and not field.shape:
        return
    if not field.fixed:
        refuse(what, name, field, "pad it to one shape, or write a record file, Parquet or HDF5")
    plain = dtype.kind in "biuSU" or (dtype.kind == "f" and dtype.itemsize <= 8)
    plain |= dtype.kind == "c" and dtype.itemsize <= 16
    if not plain and not (dtype.kind in "mM" and "[" in dtype.str):
        refuse(what, name, field, "cast it with dtypes={name: dtype}, or write .npz")


def _check_names(names: list[str]) -> None:
    """Raise if zarr cannot have arrays by their names, or one lies in another."""
    groups = {"/".join(name.split("/")[:end]) for name in names for end in range(1, name.count("/") + 1)}
    for name in names:
        parts = name.split("/")
        odd = "\0" in name or "\\" in name or name.encode(errors="ignore").decode() != name
        if odd or any(not part.strip(".") or part.startswith(("__", ".z")) or part == "zarr.json" for part in parts):
            raise InvalidValueError(f"zarr cannot have an array called {name!r}: rename the column")
        if max(len(part.encode()) for part in parts) > _LONGEST:
            raise InvalidValueError(f"zarr makes a folder of each array, which cannot be called {name!r:.80}")
    if both := groups & set(names):
        raise InvalidValueError(f"zarr cannot have {sorted(both)} as columns and as groups: rename them")


def _checked_meta(meta: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """Return the attributes of the group."""
    if ORDER in meta:
        raise InvalidValueError(f"{ORDER!r} lists the columns of a group: rename it in meta")
    as_json(meta)
    return {**meta, ORDER: names}
