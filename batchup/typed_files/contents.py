"""What is in a typed file: its groups and datasets, the ids of its sources, the rows of each array; looked up once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.typed_files import layout
from batchup.typed_files.appending import Appender, Arrays, Entry
from batchup.typed_files.arrays import converted
from batchup.typed_files.feature import Feature, ds_kwargs
from batchup.typed_files.handle import Handle
from batchup.typed_files.known import Index, Regions
from batchup.typed_files.layout import ARRAYS, REFS, SOURCES, Rows, checked_id, h5py
from batchup.typed_files.safety import backed_up, claimed, reserved

Bounds = tuple["NDArray[np.int64]", "NDArray[np.int64]"]


class Contents:
    """What is in a file.

    Parameters
    ----------
    handle : Handle
        The file.
    allow_external : bool
        Whether what leads to other files is followed.
    """

    def __init__(self, handle: Handle, allow_external: bool) -> None:
        self.handle = handle
        self.allow_external = allow_external
        self._forget()

    def _forget(self) -> None:
        self._generation = self.handle.generation
        self._known = Index(self.handle.path)
        self._regions: dict[str, Regions] = {}
        self._objects: tuple[Any, dict[str, Any]] = (None, {})

    def __reduce__(self) -> Any:
        return Contents, (self.handle, self.allow_external)

    @contextlib.contextmanager
    def use(self, writing: bool = False) -> Iterator[Any]:
        """Have the file open while the block lasts, and what is known of it up to date."""
        with self.handle.use(writing) as file:
            with self.handle.noting:
                count = self._count(file)
                if self.handle.generation != self._generation or count < len(self._known.names):
                    self._forget()
                self._read_ids(file, count)
            yield file

    @property
    def index(self) -> Index:
        """The ids of the sources, each with its place."""
        with self.use():
            return self._known

    def place_of(self, source: Any) -> int:
        """Return the place of a source, while the file is in use.

        Raises
        ------
        UnknownIdError
            If the file does not have it.
        """
        return self._known[source]

    def _count(self, file: Any) -> int:
        """Return how many ids the file has now."""
        stored = self.object(file, layout.IDS)
        if stored is None:
            if SOURCES in file and is_dataset(self.object(file, SOURCES)):
                raise FileFormatError(f"{file.filename} is damaged: {SOURCES} should be a group, and is a dataset")
            return 0
        if file.swmr_mode and file.mode == "r":
            stored.id.refresh()
        return layout.length_of_texts(stored, file)

    def _read_ids(self, file: Any, count: int) -> None:
        """Read the ids that are new in a file, which has so many now."""
        if count > len(self._known.names):
            self._known.extend(layout.texts(self.object(file, layout.IDS), file, len(self._known.names)))

    def place(self, source: Any) -> int | None:
        """Return the place of a source; None if the file does not have it."""
        return self.index.find(checked_id(source))

    def object(self, file: Any, path: str) -> Any:
        """Return a group or dataset; None if it is not there.

        Raises
        ------
        FileFormatError
            If it leads to another file.
        """
        opened, objects = self._objects
        if opened is not file:
            objects = {}
            self._objects = (file, objects)
        found = objects.get(path)
        if found is None:
            found = file.get(path) if self.allow_external else _trusted(file, path)
            if found is not None:
                objects[path] = found
        return found

    def node(self, file: Any, path: str) -> Any:
        """Return what stands for a feature: its dataset, or a group with something in it; None if nothing does."""
        if self._objects[0] is file and f"{path}/{ARRAYS}" in self._objects[1]:
            return self._objects[1][f"{path}/{ARRAYS}"]
        found = self.object(file, path)
        if found is None or is_dataset(found):
            return found
        if ARRAYS in found:
            return self.object(file, f"{path}/{ARRAYS}")
        return found if len(found) else None

    def dataset(self, file: Any, path: str) -> Any:
        """Return the dataset of a feature.

        Raises
        ------
        InvalidValueError
            If nothing has been added to it.
        InvalidTypeError
            If it is a group.
        """
        node = self.node(file, path)
        if node is None:
            raise InvalidValueError(f"nothing has been added to {path} of {self.handle.path} yet")
        if not is_dataset(node):
            names = ", ".join(children(node))
            raise InvalidTypeError(f"{path} is a group, it takes ids: ask one of its features ({names})")
        if file.swmr_mode and file.mode == "r":
            node.id.refresh()
        return node

    def names(self) -> list[str]:
        """Return the names at the top of the file, but for that of the ids."""
        with self.use() as file:
            return [name for name in file if name != SOURCES]

    def paths(self) -> list[str]:
        """Return the paths of all features that hold arrays."""
        with self.use() as file:
            keys = dict.fromkeys(layout.texts(self.object(file, layout.KEYS), file))
            return [path for path in keys if self.object(file, f"{path}/{ARRAYS}") is not None]

    def rows(self, file: Any, path: str, place: int) -> Rows | None:
        """Return the rows of a feature that belong to a source; None if there are none."""
        node = self.node(file, path)
        if not is_dataset(node):
            return None
        refs = self.object(file, f"{path}/{REFS}")
        return self._regions.setdefault(path, Regions()).one(node, refs, place)

    def all_rows(self, file: Any, path: str) -> Bounds:
        """Return the first row of each source, and the one behind its last, in two arrays; -1 where there are none."""
        dataset, refs = self.dataset(file, path), self.object(file, f"{path}/{REFS}")
        return self._regions.setdefault(path, Regions()).all(dataset, refs, len(self._known.names))

    def there(self, file: Any, path: str) -> NDArray[np.bool_]:
        """Return which sources have something of a feature, or of any feature of a group."""
        node = self.node(file, path)
        if is_dataset(node):
            return self.all_rows(file, path)[0] >= 0
        parts = [] if node is None else [self.there(file, f"{path}/{name}") for name in children(node)]
        some: NDArray[np.bool_] = np.logical_or.reduce([np.zeros(len(self._known.names), bool), *parts])
        return some

    def places(self, paths: Iterable[str]) -> NDArray[np.intp]:
        """Return the places of the sources that have something of all of some features."""
        with self.use() as file:
            there = [self.there(file, path) for path in paths]
            return np.flatnonzero(np.logical_and.reduce([np.ones(len(self._known.names), bool), *there]))

    def add(self, source: str, arrays: Arrays, schema: Mapping[str, Feature], safe: bool) -> None:
        """Append the arrays of a source, which must not have them yet; `safe` keeps a copy of the file meanwhile."""
        if safe and self.handle.in_memory:
            raise InvalidValueError("a file in memory cannot be kept safe: leave safe=True out")
        self.handle.check_writable()
        with self.use(writing=not safe) as file:
            self._check_new(file, source, arrays)
            appender = self._appender(file, schema)
            fitted = appender.fitted(source, arrays)
            if not safe:
                self._append(file, appender, [(source, fitted)])
                return
        with self.handle.alone(), claimed(self.handle.path, alone=True), backed_up(self.handle.path):
            try:
                self._add_again(source, arrays, schema)
            finally:
                self.handle.interrupt()

    def _add_again(self, source: str, arrays: Arrays, schema: Mapping[str, Feature]) -> None:
        """Append to the file that was closed in between, and is kept for oneself now."""
        file = self.handle.resume(locking=False)
        if self.handle.generation != self._generation:
            self._forget()
        self._read_ids(file, self._count(file))
        self._check_new(file, source, arrays)
        appender = self._appender(file, schema)
        self._append(file, appender, [(source, appender.fitted(source, arrays))])
        file.flush()

    def _check_new(self, file: Any, source: str, arrays: Mapping[str, Any]) -> None:
        """Raise if a source has one of some arrays already."""
        place = self._known.find(source)
        for path in arrays:
            if place is not None and self.rows(file, path, place) is not None:
                raise InvalidValueError(
                    f"{source!r} has {path} already: set(source, data) writes over it, another id adds to it"
                )

    def write(self, source: str, arrays: Arrays, schema: Mapping[str, Feature]) -> None:
        """Write over the arrays of a source, and append those that it does not have yet; all of them, or none."""
        with self.use(writing=True) as file:
            place = self.place(source)
            there = {path: None if place is None else self.rows(file, path, place) for path in arrays}
            missing = {path: array for path, array in arrays.items() if there[path] is None}
            appender = self._appender(file, schema) if missing else None
            new = appender.fitted(source, missing) if appender is not None else {}
            places = [(path, rows) for path, rows in there.items() if rows is not None]
            old = [(path, rows, self._over(file, path, rows, source, arrays[path])) for path, rows in places]
            for path, rows, array in old:
                self.put(file, path, slice(*rows), array)
            if appender is not None:
                self._append(file, appender, [(source, new)])

    def put(self, file: Any, path: str, item: Any, array: NDArray[Any]) -> None:
        """Write to some rows of a feature."""
        dataset = self.dataset(file, path)
        dataset[item] = converted(array, dataset.dtype, path)
        if file.swmr_mode:
            dataset.flush()

    def _over(self, file: Any, path: str, rows: Rows, source: str, array: NDArray[Any]) -> NDArray[Any]:
        """Return an array that is written over another one; an error if it does not fit."""
        dataset, array = self.dataset(file, path), np.atleast_1d(array)
        there = (rows[1] - rows[0], *dataset.shape[1:])
        if array.shape != there:
            raise InvalidValueError(
                f"{path} of {source!r} has the shape {there}, got {array.shape}: what is there can only be written "
                "over; add the new array under another id"
            )
        return converted(array, dataset.dtype, f"{path} of {source!r}")

    def _appender(self, file: Any, schema: Mapping[str, Feature]) -> Appender:
        if file.swmr_mode:
            raise InvalidValueError(
                f"nothing can be added to {self.handle.path} while others read it (SWMR): write to what is there by "
                "iset(...) and [...] ="
            )
        for path in (layout.SOURCES, layout.IDS, layout.KEYS):
            self.object(file, path)  # raises if it lies elsewhere
        return Appender(file, lambda path: ds_kwargs(schema, path))

    def _append(self, file: Any, appender: Appender, entries: Sequence[Entry]) -> None:
        for path in {path for _, arrays in entries for path in arrays}:
            self.node(file, path)
            self.object(file, f"{path}/{REFS}")
        with reserved(file, sum(array.nbytes for _, arrays in entries for array in arrays.values())):
            added = appender.append(entries, self._known.find, len(self._known.names))
        self._read_ids(file, self._count(file))
        for path, regions in added.items():
            known = self._regions.setdefault(path, Regions())
            for place, rows in regions.items():
                known.put(place, rows)

    def reopened(self) -> None:
        """Forget the datasets, which are about to become others."""
        self._objects = (None, {})


def is_dataset(node: Any) -> bool:
    """Return whether something in a file is a dataset."""
    return isinstance(node, h5py().Dataset)


def children(node: Any) -> list[str]:
    """Return the names of the features in a group."""
    return [name for name in node if name not in (ARRAYS, REFS)]


def _trusted(file: Any, path: str) -> Any:
    """Return a group or dataset of a file; None if it is not there; an error if it leads to another file."""
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        part = "/".join(parts[:end])
        link = file.get(part, getlink=True)
        if link is None:
            return None
        if isinstance(link, h5py().ExternalLink):
            raise _not_followed(file, part, f"lies in another file ({link.filename})")
    found = file.get(path)
    if found is not None and found.file != file:
        raise _not_followed(file, path, "lies in another file")
    if is_dataset(found) and (found.is_virtual or found.external):
        raise _not_followed(file, path, "reads from other files")
    return found


def _not_followed(file: Any, path: str, reason: str) -> FileFormatError:
    return FileFormatError(f"{file.filename}: {path} {reason}; pass allow_external=True if you trust it")
