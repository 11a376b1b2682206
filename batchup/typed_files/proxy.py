"""A feature of an open file, as the attribute of that name: reads, writes and describes what is stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.typed_files.feature import Group, as_stored
from batchup.typed_files.layout import ARRAYS, REFS, SCALAR, as_array, flattened, h5py

if TYPE_CHECKING:
    from batchup.data_source import ArrayDataSource
    from batchup.typed_files.typed_file import TypedFile

_TOLD = ("dtype", "shape", "ndim", "size", "nbytes", "chunks", "maxshape", "compression")


class Proxy:
    """A feature of a `TypedFile`, or a group of them; made by the file, as its attributes.

    In square brackets a feature takes what an `h5py.Dataset` takes: rows of all arrays, joined along their first
    axis, or one of its `refs`. A group takes the id of a source. Its features are its attributes, and so are the
    methods of the `Feature` that was declared.

    Attributes
    ----------
    owner : TypedFile
        The file.
    name : str
        Path in the file.
    feature : Feature or None
        What was declared.
    dtype, shape, ndim, size, nbytes, chunks, maxshape, compression
        Of the dataset, as h5py has them.
    """

    def __init__(self, owner: TypedFile, name: str) -> None:
        self.owner = owner
        self.name = name
        self.feature, self._feature_name = owner._feature_at(name)

    def __repr__(self) -> str:
        with self.owner._use() as file:
            node = self._node(file)
            if node is None:
                return f"<Proxy {self.name!r}: nothing has been added>"
            if self._is_group(node):
                return f"<Proxy {self.name!r}: group of {', '.join(self._children(node)) or 'nothing'}>"
            return f"<Proxy {self.name!r}: {node.dtype} {node.shape}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _TOLD:
            with self.owner._use() as file:
                return getattr(self._dataset(file), name)
        declared = isinstance(self.feature, Group) and name in self.feature.features
        if declared or name in self.children:
            return self.owner.get_proxy(f"{self.name}/{name}")
        if self.feature is not None and not isinstance(self.feature, Group) and hasattr(self.feature, name):
            return getattr(self.feature, name)
        raise AttributeError(
            f"{self.name} of {self.owner.filename} has no feature {name!r}, but {', '.join(self.children) or 'none'}"
        )

    @property
    def is_group(self) -> bool:
        """Whether it has features below it; false for one to which nothing has been added yet."""
        with self.owner._use() as file:
            node = self._node(file)
            return isinstance(self.feature, Group) if node is None else self._is_group(node)

    @property
    def children(self) -> list[str]:
        """Names of what a group has in the file."""
        with self.owner._use() as file:
            node = self._node(file)
            return self._children(node) if node is not None and self._is_group(node) else []

    @property
    def attrs(self) -> Attributes:
        """The attributes of the feature in the file, which can be written to; None is stored as HDF5's empty value."""
        return Attributes(self.owner, self.name)

    @property
    def refs(self) -> Refs:
        """References to the arrays of the sources, in the order of the ids; null ones (false) where there is none."""
        return Refs(self)

    @property
    def sources(self) -> NDArray[Any]:
        """The ids of the sources that have such an array, in order; of those that have any, if it is a group."""
        return self.owner.sources(self.name)

    def __len__(self) -> int:
        with self.owner._use() as file:
            return len(self._dataset(file))

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, item: Any) -> Any:
        with self.owner._use() as file:
            node = self._node(file)
            if (isinstance(self.feature, Group) and node is None) or (node is not None and self._is_group(node)):
                return self.get(self._id_of(item))
            dataset = self._dataset(file)
            if isinstance(item, h5py().RegionReference):
                rows = self.owner._rows_of(dataset, item)
                return None if rows is None else self._read(dataset, slice(*rows))
            return self._read(dataset, item)

    def __setitem__(self, item: Any, value: Any) -> None:
        with self.owner._use(writing=True) as file:
            node = self._node(file)
            if node is None or self._is_group(node):
                self.set(self._id_of(item), value)
                return
            dataset = self._dataset(file)
            if isinstance(item, h5py().RegionReference):
                rows = self.owner._rows_of(dataset, item)
                if rows is None:
                    raise InvalidValueError(f"{self.name}: the reference is null: there is nothing to write over")
                item = slice(*rows)
            self._write(dataset, item, value)

    def get(self, source: Any) -> Any:
        """Return the array of a source; None if it has none. Of a group, a dict of those that there are.

        Raises
        ------
        UnknownIdError
            If the file has no such source.
        """
        place = self.owner.index[source]
        with self.owner._use() as file:
            node = self._node(file)
            if node is None:
                return {} if isinstance(self.feature, Group) else None
            if self._is_group(node):
                return self._dict_of(node, source)
            rows = self.owner._rows(self.name, self._dataset(file), place)
            return None if rows is None else self._read_rows(self._dataset(file), rows)

    def set(self, source: Any, data: Any) -> None:
        """Write over what a source has; or give it something if it has nothing yet.

        Parameters
        ----------
        source : str
            Its id.
        data : array-like, or dict of them for a group
            Of the shape of what is there.

        Raises
        ------
        ValueError
            If the shape is another one.
        """
        wanted = self._flat(data)
        with self.owner._use(writing=True) as file:
            if self.owner._find(source) is None:
                self.add(source, data)
                return
            new = {}
            for path, array in wanted.items():
                proxy = self.owner.get_proxy(path)
                if proxy._rows_at(file, source) is None:
                    new[path] = array
                    continue
                proxy._overwrite(file, source, array)
            if new:
                self.owner._append([(source, new)])

    def add(self, source: Any, data: Any, *, safe: bool = False) -> Proxy:
        """Add what a source has of this feature; the source may be a new one.

        Parameters
        ----------
        source : str
            Its id.
        data : array-like, or dict of them for a group
            It is appended along its first axis; if the first one is a single number, all are.
        safe : bool, default False
            As for `TypedFile.add`.

        Raises
        ------
        ValueError
            If the source has such an array already, or its shape does not fit those that are there.
        TypeError
            If its dtype does not fit.
        """
        self.owner._add(source, self._flat(data), safe)
        return self

    def iset(self, source: Any, idx: Any, data: Any) -> None:
        """Write to some rows of the array of a source.

        Parameters
        ----------
        source : str
            Its id.
        idx : int, slice or array of int
            Rows within the array; negative ones count from its end.
        data : array-like
            What they are to be.

        Raises
        ------
        UnknownIdError
            If the file has no such source.
        IndexError
            If a row lies outside of the array.
        """
        with self.owner._use(writing=True) as file:
            rows = self._rows_at(file, source)
            if rows is None:
                raise InvalidValueError(f"{self.name} of {source!r} is not there: add(source, data) comes first")
            self._write(self._dataset(file), _within(idx, rows, f"{self.name} of {source!r}"), data)

    def compute(
        self,
        fdict: Mapping[str, Any],
        n_workers: int | None = None,
        parallelism: str = "mp",
        destination: TypedFile | Proxy | None = None,
    ) -> Any:
        """Apply functions to the arrays of all sources.

        Parameters
        ----------
        fdict : dict of str to callable
            The functions; each is given what `get` returns.
        n_workers : int, optional
            How many do it at a time; by default as many as this process may use cores.
        parallelism : {'mp', 'threads', 'none'}
            Whether they are processes, threads, or nobody but the caller.
        destination : TypedFile or Proxy of a group, optional
            What the results are added to.

        Returns
        -------
        dict or TypedFile or Proxy
            The dict of results of each source, or `destination`.
        """
        from batchup.typed_files.compute import computed

        return computed(self, fdict, n_workers, parallelism, destination)

    def column(self, by: str = "id") -> Any:
        """Return the feature as a column of a data source; see `TypedFile.data_source`."""
        from batchup.typed_files.columns import columns_of

        return columns_of(self.owner, [self.name], by)[0]

    def data_source(self, by: str = "id", **keywords: Any) -> ArrayDataSource:
        """Return a data source with this feature as its only column; see `TypedFile.data_source`."""
        return self.owner.data_source([self.name], by, **keywords)

    def serve(self, batch: Any, **loader_kwargs: Any) -> Any:
        """Return a loader; see `TypedFile.serve`."""
        return self.owner.serve(batch, **loader_kwargs)

    def asstr(self) -> NDArray[Any]:
        """Return all texts of a feature that holds texts."""
        return np.asarray(self[:])

    def handle(self, mode: str | None = None) -> Any:
        """Return the open `h5py.File`; see `TypedFile.handle`."""
        return self.owner.handle(mode)

    def flush(self) -> None:
        """Write what is in memory to the file."""
        self.owner.flush()

    def close(self) -> None:
        """Close the file; it is opened again when it is used again."""
        self.owner.close()

    def _flat(self, data: Any) -> dict[str, NDArray[Any]]:
        return flattened(as_stored(self.owner._schema, data, self.name), self.name)

    def __reduce__(self) -> Any:
        return Proxy, (self.owner, self.name)

    def _node(self, file: Any) -> Any:
        """Return what stands for it in the file: a dataset, or a group with something in it; None if nothing does."""
        node = self.owner._object(file, self.name)
        if node is None or isinstance(node, h5py().Dataset):
            return node
        if ARRAYS in node:
            return self.owner._object(file, f"{self.name}/{ARRAYS}")
        return node if len(node) else None

    def _dataset(self, file: Any) -> Any:
        node = self._node(file)
        if node is None:
            raise InvalidValueError(f"nothing has been added to {self.name} of {self.owner.filename} yet")
        if self._is_group(node):
            raise InvalidTypeError(
                f"{self.name} is a group, it takes ids: ask one of its features ({', '.join(self._children(node))})"
            )
        if self.owner._handle.mode == "r" and file.swmr_mode:
            node.id.refresh()
        return node

    @staticmethod
    def _is_group(node: Any) -> bool:
        return not isinstance(node, h5py().Dataset)

    @staticmethod
    def _children(node: Any) -> list[str]:
        return [name for name in node if name not in (ARRAYS, REFS)]

    def _id_of(self, item: Any) -> Any:
        import os

        if isinstance(item, (str, os.PathLike)):
            return item
        raise InvalidTypeError(f"{self.name} is a group, it takes the id of a source (str), got {type(item).__name__}")

    def _dict_of(self, node: Any, source: Any) -> Any:
        found = {name: self.owner.get_proxy(f"{self.name}/{name}").get(source) for name in self._children(node)}
        found = {name: part for name, part in found.items() if part is not None and not _is_nothing(part)}
        own = self.feature if self._feature_name == self.name else None
        if own is None or isinstance(own, Group):
            return found
        return _through(own.__grp_t__, found) if found else None

    def _read(self, dataset: Any, item: Any) -> Any:
        source = dataset.asstr(errors="surrogateescape") if h5py().check_string_dtype(dataset.dtype) else dataset
        read = source[item]
        return read if self.feature is None else _through(self.feature.__t__, read)

    def _read_rows(self, dataset: Any, rows: tuple[int, int]) -> Any:
        """Return the array of a source; a number that was added as such comes back as one."""
        scalar = rows[1] - rows[0] == 1 and SCALAR in dataset.attrs
        return self._read(dataset, rows[0] if scalar else slice(*rows))

    def _write(self, dataset: Any, item: Any, value: Any) -> None:
        dataset[item] = as_array(value, self.name) if isinstance(value, (str, list)) else value
        if dataset.file.swmr_mode:
            dataset.flush()

    def _rows_at(self, file: Any, source: Any) -> tuple[int, int] | None:
        place, node = self.owner.index[source], self._node(file)
        return None if node is None or self._is_group(node) else self.owner._rows(self.name, node, place)

    def _overwrite(self, file: Any, source: Any, array: NDArray[Any]) -> None:
        rows, dataset = self._rows_at(file, source), self._dataset(file)
        assert rows is not None
        there = (rows[1] - rows[0], *dataset.shape[1:])
        array = np.atleast_1d(array)
        if array.shape != there:
            raise InvalidValueError(
                f"{self.name} of {source!r} has the shape {there}, got {array.shape}: what is there can only be "
                "written over; add the new array under another id"
            )
        self._write(dataset, slice(*rows), array)


class Refs:
    """The references of a feature, one for each source; see `Proxy.refs`."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    @property
    def shape(self) -> tuple[int]:
        """Their number, in a tuple."""
        return (len(self._proxy.owner.index.names),)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, item: Any) -> Any:
        with self._proxy.owner._use() as file:
            node = self._proxy._node(file)
            if node is not None and self._proxy._is_group(node):
                raise InvalidTypeError(f"{self._proxy.name} is a group: only its features have refs")
            stored = None if node is None else self._proxy.owner._object(file, f"{self._proxy.name}/{REFS}")
            if stored is None and node is not None:
                raise InvalidValueError(f"{self._proxy.name} is a plain dataset: it has no sources, and no refs")
            if stored is not None and len(stored) == len(self):
                return stored[item]
            refs = np.zeros(len(self), h5py().regionref_dtype)
            refs[:] = h5py().RegionReference()
            if stored is not None:
                refs[: len(stored)] = stored[: len(self)]
            return refs[item]


class Attributes(MutableMapping[str, Any]):
    """The attributes of something in a file."""

    def __init__(self, owner: TypedFile, name: str) -> None:
        self._owner = owner
        self._name = name

    def __getitem__(self, key: str) -> Any:
        with self._owner._use() as file:
            value = self._stored(file)[key]
            return None if isinstance(value, h5py().Empty) else value

    def __setitem__(self, key: str, value: Any) -> None:
        with self._owner._use(writing=True) as file:
            write_attribute(file.require_group(self._name).attrs, key, value)

    def __delitem__(self, key: str) -> None:
        with self._owner._use(writing=True) as file:
            del self._stored(file)[key]

    def __iter__(self) -> Iterator[str]:
        with self._owner._use() as file:
            return iter(list(self._stored(file)))

    def __len__(self) -> int:
        with self._owner._use() as file:
            return len(self._stored(file))

    def __repr__(self) -> str:
        return repr(dict(self))

    def _stored(self, file: Any) -> Any:
        node = file if self._name == "/" else self._owner._object(file, self._name)
        return {} if node is None else node.attrs


def write_attribute(attrs: Any, key: str, value: Any) -> None:
    """Write an attribute; None as the empty value of HDF5, lists of text as texts.

    Raises
    ------
    InvalidTypeError
        If HDF5 cannot have it.
    """
    if value is None:
        value = h5py().Empty("S10")
    elif isinstance(value, (list, tuple)) and value and all(isinstance(text, str) for text in value):
        value = np.array(value, h5py().string_dtype())
    try:
        attrs[key] = value
    except TypeError as error:
        raise InvalidTypeError(f"HDF5 cannot hold the attribute {key}={value!r}: {error}") from error


def _through(transforms: Any, value: Any) -> Any:
    return reduce(lambda done, function: function(done), transforms, value)


def _is_nothing(part: Any) -> bool:
    return isinstance(part, dict) and not part


def _within(idx: Any, rows: tuple[int, int], what: str) -> Any:
    """Return rows of the dataset for rows of one array; an error if they are not all in it."""
    from batchup._indices import check_range, checked_indices

    start, stop = rows
    length = stop - start
    if isinstance(idx, slice):
        first, last, step = idx.indices(length)
        if step < 0:
            raise InvalidValueError(f"{what}: HDF5 takes no slice that runs backwards, got {idx}")
        return slice(start + first, start + max(first, last), step)
    if isinstance(idx, (int, np.integer)):
        check_range(int(idx), int(idx), length, f"{what}: row")
        return start + int(idx) % length
    places = checked_indices(idx, length)
    if (np.diff(places) <= 0).any():
        raise InvalidValueError(f"{what}: HDF5 writes to rows in increasing order, without repetition")
    return start + places


def damaged(file: Any, path: str, reason: str) -> FileFormatError:
    """Return the error for something in a file that is not to be followed."""
    return FileFormatError(f"{file.filename}: {path} {reason}; pass allow_external=True if you trust it")
