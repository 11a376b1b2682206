"""A feature of an open file, as the attribute of that name: reads, writes and describes what is stored."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import check_range, checked_indices
from batchup.columns import ChunkAdvice, chunk_advice
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.typed_files.arrays import as_array, flattened
from batchup.typed_files.attributes import Attributes, Refs
from batchup.typed_files.contents import children, is_dataset
from batchup.typed_files.feature import Group, as_stored, feature_at
from batchup.typed_files.layout import SCALAR, Rows, checked_id, h5py, rows_of

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
        self.feature, declared = feature_at(owner._schema, name)
        self._own = self.feature if declared == name else None  # else it belongs to one above
        self._contents = owner._contents

    def __repr__(self) -> str:
        with self._contents.use() as file:
            node = self._contents.node(file, self.name)
            if node is None:
                return f"<Proxy {self.name!r}: nothing has been added>"
            if is_dataset(node):
                return f"<Proxy {self.name!r}: {node.dtype} {node.shape}>"
            return f"<Proxy {self.name!r}: group of {', '.join(children(node)) or 'nothing'}>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _TOLD:
            with self._contents.use() as file:
                return getattr(self._contents.dataset(file, self.name), name)
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
        """Whether there are features below it; false for what may become one, and has nothing yet."""
        with self._contents.use() as file:
            return self._takes_ids(file)

    @property
    def children(self) -> list[str]:
        """Names of the features of a group in the file."""
        with self._contents.use() as file:
            node = self._contents.node(file, self.name)
            return [] if node is None or is_dataset(node) else children(node)

    @property
    def attrs(self) -> Attributes:
        """The attributes of the feature in the file, which can be written to; None is stored as HDF5's empty value."""
        return Attributes(self._contents, self.name)

    @property
    def refs(self) -> Refs:
        """References to the arrays of the sources, in the order of the ids; null ones (false) where there is none."""
        return Refs(self._contents, self.name)

    @property
    def sources(self) -> NDArray[Any]:
        """The ids of the sources that have such an array, in order; of those that have any, if it is a group."""
        return self.owner.sources(self.name)

    def __len__(self) -> int:
        with self._contents.use() as file:
            return len(self._contents.dataset(file, self.name))

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return (self[row] for row in range(len(self)))

    def __getitem__(self, item: Any) -> Any:
        with self._contents.use() as file:
            if self._takes_ids(file):
                return self.get(self._id(item))
            dataset = self._contents.dataset(file, self.name)
            if isinstance(item, str) and dataset.dtype.names is None:
                raise InvalidTypeError(
                    f"{self.name} takes rows in square brackets: get({item!r}) takes the id of a source"
                )
            if not isinstance(item, h5py().RegionReference):
                return self._read(dataset, item)
            rows = next(rows_of(dataset, [item]))
            return None if rows is None else self._read(dataset, slice(*rows))

    def __setitem__(self, item: Any, value: Any) -> None:
        with self._contents.use(writing=True) as file:
            if self._takes_ids(file):
                self.set(self._id(item), value)
                return
            dataset = self._contents.dataset(file, self.name)
            if isinstance(item, h5py().RegionReference):
                rows = next(rows_of(dataset, [item]))
                if rows is None:
                    raise InvalidValueError(f"{self.name}: the reference is null: there is nothing to write over")
                item = slice(*rows)
            self._contents.put(file, self.name, item, as_array(value, self.name))

    def get(self, source: Any) -> Any:
        """Return the array of a source; None if it has none. Of a group, a dict of those that there are.

        Raises
        ------
        UnknownIdError
            If the file has no such source.
        """
        with self._contents.use() as file:
            place = self._contents.place_of(source)
            node = self._contents.node(file, self.name)
            if node is None:
                return {} if isinstance(self._own, Group) else None
            if not is_dataset(node):
                return self._dict_of(children(node), source)
            rows = self._contents.rows(file, self.name, place)
            return None if rows is None else self._read_rows(self._contents.dataset(file, self.name), rows)

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
        self._contents.write(checked_id(source), self._flat(data), self.owner._schema)

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
        with self._contents.use(writing=True) as file:
            rows = self._contents.rows(file, self.name, self.owner.index[source])
            if rows is None:
                raise InvalidValueError(f"{self.name} of {source!r} is not there: add(source, data) comes first")
            within = _within(idx, rows, f"{self.name} of {source!r}")
            self._contents.put(file, self.name, within, as_array(data, self.name))

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

    def chunk_advice(self, batch_size: int = 64) -> ChunkAdvice | None:
        """Return what is wrong with the chunks of the feature for random access; see `batchup.columns.chunk_advice`."""
        with self._contents.use() as file:
            return chunk_advice(self._contents.dataset(file, self.name), batch_size)

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

    def __reduce__(self) -> Any:
        return Proxy, (self.owner, self.name)

    def _flat(self, data: Any) -> dict[str, NDArray[Any]]:
        return flattened(as_stored(self.owner._schema, data, self.name), self.name)

    def _takes_ids(self, file: Any) -> bool:
        node = self._contents.node(file, self.name)
        return isinstance(self._own, Group) if node is None else not is_dataset(node)

    def _id(self, item: Any) -> Any:
        if isinstance(item, (str, os.PathLike)):
            return item
        raise InvalidTypeError(f"{self.name} is a group, it takes the id of a source (str), got {type(item).__name__}")

    def _dict_of(self, names: Sequence[str], source: Any) -> Any:
        parts = {name: self.owner.get_proxy(f"{self.name}/{name}").get(source) for name in names}
        found = {name: part for name, part in parts.items() if not _is_nothing(part)}
        if self._own is None or isinstance(self._own, Group):
            return found
        return _through(self._own.__grp_t__, found) if found else None

    def _read(self, dataset: Any, item: Any) -> Any:
        text = h5py().check_string_dtype(dataset.dtype) is not None
        read = (dataset.asstr(errors="surrogateescape") if text else dataset)[item]
        return read if self.feature is None else _through(self.feature.__t__, read)

    def _read_rows(self, dataset: Any, rows: Rows) -> Any:
        """Return the array of a source; a number that was added as such comes back as one."""
        scalar = rows[1] - rows[0] == 1 and SCALAR in dataset.attrs
        return self._read(dataset, rows[0] if scalar else slice(*rows))


def _through(transforms: Any, value: Any) -> Any:
    return reduce(lambda done, function: function(done), transforms, value)


def _is_nothing(part: Any) -> bool:
    return part is None or (isinstance(part, dict) and not part)


def _within(idx: Any, rows: tuple[int, int], what: str) -> Any:
    """Return rows of the dataset for rows of one array; an error if they are not all in it."""
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
