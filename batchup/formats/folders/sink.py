"""Writing folders in which each file is a row, in folders of their labels."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from batchup._files import full_disk_named, write_all
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.formats.checked import Checked
from batchup.formats.folders.table import MANIFEST
from batchup.formats.rows import rows_of
from batchup.formats.table import Block, Field, Write, refuse
from batchup.formats.values import told
from batchup.formats.whole_folder import whole_folder


@contextlib.contextmanager
def folder_sink(
    path: Any,
    suffix: str,
    fields: Mapping[str, Field],
    encoded: Callable[[dict[str, Any]], bytes],
    names: Mapping[str, str],
    rows: int | None,
    meta: dict[str, Any] | None,
) -> Iterator[Write]:
    """Open a folder for blocks of rows.

    Parameters
    ----------
    path : str or path-like
        Its name.
    suffix : str
        Of the files.
    fields : mapping of str to Field
        The columns.
    encoded : callable
        Returns the bytes of the file of a row.
    names : mapping of str to str
        What the columns are called when they are read, by what they are called here; one of them is ``label``.
    rows : int, optional
        How many rows there will be.
    meta : dict, optional
        What to keep; ``labels`` are the names of the labels.
    """
    label = next((name for name, known in names.items() if known == "label" and name in fields), None)
    if label is not None and (fields[label].shape or fields[label].dtype.kind not in "iu"):
        refuse("folders of labels are numbered", label, fields[label], "make it an integer; meta has the names")
    folders = _Folders((meta or {}).get("labels"))
    checked = Checked(fields, rows)
    member = rf"(?:[^/]+/)?[0-9]{{9,}}{suffix.replace('.', '[.]')}"
    with whole_folder(path, MANIFEST, member) as (folder, manifest):

        def write(block: Block) -> None:
            first = checked.take(block)
            for number, row in enumerate(rows_of(block), first):
                inside = folder if label is None else folders.of(folder, int(row[label]), number)
                try:
                    data = encoded(row)
                except InvalidValueError as error:
                    raise InvalidValueError(f"row {number}: {error}") from error
                whole = os.path.join(inside, f"{number:09d}{suffix}")
                with full_disk_named(whole), open(whole, "wb") as file:
                    file.write(data)

        yield write
        checked.finish()
        said = {
            "rows": checked.rows,
            "fields": {names[name]: told(field) for name, field in fields.items()},
            "labels": None if label is None else folders.numbers,
            "meta": {key: value for key, value in (meta or {}).items() if key != "labels"},
        }
        write_all(manifest.fileno(), memoryview(json.dumps(said, indent=1).encode()), 0, folder)


def check_columns(fields: Mapping[str, Field], what: str, *names: str) -> None:
    """Refuse columns that a folder of images or of sounds has no place for, or if there are none of those.

    Parameters
    ----------
    fields : mapping of str to Field
        The columns.
    what : str
        What the first column holds, in the plural.
    *names : str
        Those that there may be; the first there must be.
    """
    main = names[0]
    if main not in fields:
        raise InvalidTypeError(
            f"a folder of {what} needs a column of them, {main!r}, got {list(fields)}: {what[:-1]}= tells its name"
        )
    *others, last = map(repr, names)
    for name, field in fields.items():
        if name not in names:
            held = f"a folder of {what} holds {', '.join(others)} and {last} only"
            refuse(held, name, field, "leave it out (columns=), or write another format")


class _Folders:
    """The folders of labels, made when they are first needed.

    Parameters
    ----------
    names : list of str, optional
        What the labels are called; by default they are called by their numbers.
    """

    def __init__(self, names: Any) -> None:
        self.numbers: dict[str, int] = {}
        self._names = names
        self._known: dict[int, str] = {}
        if names is None:
            return
        if not isinstance(names, list) or len(set(map(str, names))) < len(names):
            raise InvalidValueError(f"meta: labels are a list of different names, got {names!r:.80}")
        for name in names:
            if not isinstance(name, str) or not name or name.startswith(".") or "/" in name or "\0" in name:
                raise InvalidValueError(f"meta: the label {name!r} cannot be the name of a folder")
        self.numbers = {name: number for number, name in enumerate(names)}

    def of(self, folder: str, label: int, row: int) -> str:
        """Return the folder of a label."""
        if label not in self._known:
            self._known[label] = self._made(folder, label, row)
        return self._known[label]

    def _made(self, folder: str, label: int, row: int) -> str:
        if self._names is not None and not 0 <= label < len(self._names):
            raise InvalidValueError(f"row {row}: the label {label} has no name: meta has {len(self._names)} of them")
        name = str(label) if self._names is None else self._names[label]
        self.numbers.setdefault(name, label)
        inside = os.path.join(folder, name)
        os.mkdir(inside)
        return inside
