"""HDF5 files as Python classes: open, read, add, describe."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.typed_files import layout
from batchup.typed_files.feature import Feature, as_stored, checked_schema, class_schema, feature_at, leaves
from batchup.typed_files.handle import Handle
from batchup.typed_files.known import Index, Regions, as_id
from batchup.typed_files.layout import ARRAYS, REFS, SOURCES, Entry, flattened, h5py
from batchup.typed_files.proxy import Attributes, Proxy, damaged, write_attribute
from batchup.typed_files.safety import backed_up

if TYPE_CHECKING:
    from batchup.data_source import ArrayDataSource

Self = TypeVar("Self", bound="TypedFile")


class TypedFile:
    """An HDF5 file whose features a class declares. Subclass it, with a `Feature` for each kind of data.

    The arrays of all sources lie in one dataset for each feature, one behind the other; they are found by the id of
    their source. Files of h5mapper are such files; of any other HDF5 file, the groups and datasets are attributes.

    A file is opened when something is read or written, once in each process and for all its threads, and closed
    afterwards, so that others can open it; with `keep_open`, or in a ``with`` block, it stays open. A `TypedFile` can
    be pickled, and used after a fork.

    Parameters
    ----------
    filename : str or path-like
        Name of the file.
    mode : {'r', 'r+', 'a', 'w', 'w-', 'x'}, default 'r'
        As for `h5py.File`: read; read and write; the same, made if it is not there; made anew; made, it must not exist.
    keep_open : bool, default False
        Whether to keep the file open until `close`.
    allow_external : bool, default False
        Whether to follow links to other files, and to read datasets that lie in other files.
    **h5_kwargs
        Further arguments of `h5py.File`.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    FileFormatError
        If it is no HDF5 file, or damaged, or its groups do not fit the features of the class.
    FileBusyError
        If somebody else is writing it.
    MissingExtraError
        If h5py is not installed.

    Examples
    --------
    >>> from batchup import typed_files as h5m
    >>> class Experiment(h5m.TypedFile):
    ...     data = h5m.Group(images=h5m.Array(), labels=h5m.Array())
    ...     logs = h5m.Group(loss=h5m.Array())
    >>> exp = Experiment("experiment.h5", "w")
    >>> exp = exp.add("first", {"data": {"images": np.zeros((32, 32), np.uint8), "labels": 1}})
    >>> exp = exp.add("second", {"data": {"images": np.ones((32, 32), np.uint8), "labels": 0}})
    >>> group = exp.logs.add("train", {"loss": np.array([0.5, 0.25])})
    >>> exp.logs.get("train"), exp.data.labels[:]
    ({'loss': array([0.5 , 0.25])}, array([1, 0]))
    >>> for images, labels in exp.data_source(["data/images", "data/labels"]).batch_iterator(2, shuffle=1):
    ...     print(images.shape, labels.tolist())
    (2, 32, 32) [0, 1]
    """

    _schema: ClassVar[Mapping[str, Feature]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        schema = class_schema(cls)
        for name in schema:
            if hasattr(TypedFile, name):
                raise InvalidTypeError(f"a feature cannot be called {name!r}: that is something of every TypedFile")
        cls._schema = checked_schema(schema)

    def __init__(
        self,
        filename: str | os.PathLike[str],
        mode: str = "r",
        keep_open: bool = False,
        *,
        allow_external: bool = False,
        **h5_kwargs: Any,
    ) -> None:
        self._handle = Handle(os.fspath(filename), mode, keep_open, h5_kwargs)
        self._allow_external = allow_external
        self.skipped: dict[str, str] = {}
        self._forget()
        with self._use() as file:
            self._check_schema(file)

    def _forget(self) -> None:
        self._seen = self._handle.generation
        self._index = Index(self.filename)
        self._regions: dict[str, Regions] = {}
        self._objects: tuple[Any, dict[str, Any]] = (None, {})

    @property
    def filename(self) -> str:
        """Name of the file."""
        return self._handle.path

    @property
    def mode(self) -> str:
        """How it is open; ``'r+'`` once a new file has been made."""
        return self._handle.mode

    @property
    def keep_open(self) -> bool:
        """Whether the file stays open until `close`."""
        return self._handle.keep_open

    @property
    def index(self) -> Index:
        """The ids of the sources, each with its place: a dict, which costs no reading."""
        with self._use():
            return self._index

    @property
    def attrs(self) -> Attributes:
        """The attributes of the file itself."""
        return Attributes(self, "/")

    @classmethod
    def create(
        cls: type[Self],
        filename: str | os.PathLike[str],
        sources: Iterable[Any],
        mode: str = "w",
        schema: Mapping[str, Feature] | None = None,
        n_workers: int | None = None,
        parallelism: str = "mp",
        keep_open: bool = False,
        *,
        on_error: str = "raise",
        resume: bool = False,
        progress: bool = True,
        **h5_kwargs: Any,
    ) -> Self:
        """Make a file from sources, which are loaded by several workers at a time.

        The file is written beside its name, as ``<name>.partial``, and takes it when it is whole: what had the name
        before stays until then, and whatever happens, no half-made file is left behind.

        Parameters
        ----------
        filename : str or path-like
            Name of the file.
        sources : iterable of str or path-like
            What the features' `load` are given, and the ids under which it is found again.
        mode : {'w', 'r+', 'a', 'w-', 'x'}, default 'w'
            ``'r+'`` and ``'a'`` add to what is there.
        schema : dict of str to Feature, optional
            The features, in place of those that the class declares.
        n_workers : int, optional
            How many sources are loaded at a time; by default as many as this process may use cores.
        parallelism : {'mp', 'threads', 'none'}, default 'mp'
            Whether processes do it, or threads, or nobody but the caller.
        keep_open : bool, default False
            As in the constructor.
        on_error : {'raise', 'skip'}, default 'raise'
            Whether a source that cannot be loaded ends it all, or is left out; `skipped` then tells the errors.
        resume : bool, default False
            Whether what has been loaded is kept beside the file until it is whole, so that a later call with
            ``resume=True`` need not load it once more, if this one is cut off. A source that has changed since is
            loaded anew, and so are all if the features have.
        progress : bool, default True
            Whether to show a bar.
        **h5_kwargs
            Further arguments of `h5py.File`.

        Returns
        -------
        TypedFile
            Open for reading and writing.

        Raises
        ------
        ValueError
            If there are no features, or a source is there twice.
        TypeError
            If a feature loads something that is no array.
        Exception
            What a `load` raises; its notes name the source.
        """
        from batchup.typed_files.create import Creation

        skipped = Creation(
            cls,
            filename,
            sources,
            mode,
            schema,
            n_workers,
            parallelism,
            on_error,
            resume,
            progress,
            h5_kwargs,
        ).run()
        made = cls(filename, "r+", keep_open, **h5_kwargs)
        made.skipped = skipped
        return made

    @classmethod
    def load(cls, source: Any, schema: Mapping[str, Feature] | None = None) -> dict[str, Any]:
        """Return what the features load from a source, by name; those that do not take it are left out."""
        from batchup.typed_files.loading import loaded

        return loaded(as_id(source), checked_schema(schema) if schema else cls._schema)

    def add(self: Self, source: Any, data: Mapping[str, Any], *, safe: bool = False) -> Self:
        """Add a source, or what a source has of further features.

        Parameters
        ----------
        source : str
            Its id.
        data : dict
            An array for each feature, or a dict of them for a group.
        safe : bool, default False
            HDF5 writes in place: a program that is killed just then can cost the file. If true, a copy of the file is
            kept until what was added is on the disk, and is brought back when the file is opened next, if need be.

        Raises
        ------
        ValueError
            If the source has such an array already, or its shape does not fit those that are there.
        TypeError
            If its dtype does not fit.
        """
        if not isinstance(data, Mapping):
            raise InvalidTypeError(f"data must be a dict of features, got {type(data).__name__}")
        self._add(source, flattened(as_stored(self._schema, data), ""), safe)
        return self

    def get(self, source: Any) -> dict[str, Any]:
        """Return what a source has of each feature: None where it has nothing, a dict for a group.

        Raises
        ------
        UnknownIdError
            If the file has no such source.
        """
        return {name: self.get_proxy(name).get(source) for name in self._names()}

    def set(self, source: Any, val: Mapping[str, Any]) -> None:
        """Write over what a source has of some features; see `Proxy.set`."""
        for name, data in val.items():
            self.get_proxy(name).set(source, data)

    def get_proxy(self, name: str) -> Proxy:
        """Return a feature by its path, as ``'data/images'``.

        Raises
        ------
        AttributeError
            If there is none, neither in the file nor in the class.
        """
        path = name.strip("/")
        feature, place = feature_at(self._schema, path)
        if place != path or feature is None:
            with self._use() as file:
                if self._object(file, path) is None:
                    raise AttributeError(
                        f"{self.filename} has no {path!r}, but {', '.join(self._names()) or 'nothing'}"
                    )
        return Proxy(self, path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name != SOURCES:
            raise AttributeError(name)
        return self.get_proxy(name)

    def sources(self, *features: str) -> NDArray[Any]:
        """Return the ids of the sources that have something of all of some features; all ids if none is named."""
        with self._use() as file:
            there = [self._there(file, path.strip("/")) for path in features]
            names = np.array(self._index.names, object)
            return names[np.logical_and.reduce([np.ones(len(names), bool), *there])]

    def data_source(
        self, features: Sequence[str] | Mapping[str, str] | None = None, by: str = "id", **keywords: Any
    ) -> ArrayDataSource:
        """Return a data source over features.

        Parameters
        ----------
        features : list or dict of str, optional
            Paths of the features; from a dict, batches are dicts, by its keys. By default, all that hold arrays.
        by : {'id', 'row'}, default 'id'
            Whether a sample is the array of a source, or a row of all arrays joined. By id, the samples are the sources
            that have all of the features, in order (``file.sources(*features)`` names them); a batch of arrays of
            equal shapes has a new first axis; arrays of different lengths come as `Ragged`.
        **keywords
            Of `ArrayDataSource`.

        Returns
        -------
        ArrayDataSource
        """
        from batchup.data_source import ArrayDataSource
        from batchup.typed_files.columns import columns_of

        if features is None:
            features = self._paths()
        if not isinstance(features, (list, tuple, Mapping)):
            raise InvalidTypeError(f"features must be a list or a dict of paths, got {type(features).__name__}")
        paths = [str(path).strip("/") for path in (features.values() if isinstance(features, Mapping) else features)]
        columns = columns_of(self, paths, by)
        if isinstance(features, Mapping):
            return ArrayDataSource(dict(zip(features, columns, strict=True)), **keywords)
        return ArrayDataSource(columns, **keywords)

    def serve(self, batch: Any, **loader_kwargs: Any) -> Any:
        """Return a loader of batches; see `batchup.typed_files.serve`."""
        from batchup.typed_files.serving import serve

        return serve(self, batch, **loader_kwargs)

    def info(self) -> None:
        """Print what is in the file: the features against the ids of the sources, with the shapes of the arrays."""
        from batchup.typed_files.picture import picture

        sys.stdout.write(picture(self))

    def handle(self, mode: str | None = None) -> Any:
        """Return the open `h5py.File`, which stays open until `close`.

        Parameters
        ----------
        mode : str, optional
            How it is meant to be used; an error if the file is open for less.
        """
        if mode not in (None, "r") and not self._handle.writable:
            raise InvalidValueError(f"{self.filename} is open for reading: open it with mode='r+' to write to it")
        return self._handle.lend()

    def start_swmr(self: Self) -> Self:
        """Let other processes read the file from now on, while this one writes; they open it with ``swmr=True``.

        Only numbers that are there already can be written then, by ``iset`` and ``[...] =``. The file must have been
        made with ``libver='latest'``, and this one opened with ``keep_open=True``.

        Raises
        ------
        InvalidValueError
            If it is not open in this way.
        """
        if not self.keep_open or not self._handle.writable:
            raise InvalidValueError("start_swmr() needs a file opened with mode='r+', keep_open=True, libver='latest'")
        with self._use(writing=True) as file:
            self._objects = (None, {})
            try:
                file.swmr_mode = True
            except (OSError, RuntimeError, ValueError) as error:
                raise InvalidValueError(
                    f"{self.filename} cannot be written while others read: make it and open it with libver='latest' "
                    f"({error})"
                ) from error
        return self

    def flush(self) -> None:
        """Write what is in memory to the file."""
        self._handle.flush()

    def close(self) -> None:
        """Close the file; it is opened again when it is used again."""
        self._handle.close()

    def __enter__(self: Self) -> Self:
        self._kept = self._handle.keep_open
        self._handle.keep_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.keep_open = self._kept
        if not self._handle.in_memory:
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.filename!r}>"

    def __getstate__(self) -> dict[str, Any]:
        own = {"_index", "_regions", "_objects", "_seen"}
        return {name: value for name, value in self.__dict__.items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    @contextlib.contextmanager
    def _use(self, writing: bool = False) -> Any:
        """Have the file open while the block lasts, and what is known of it up to date."""
        with self._handle.use(writing) as file:
            if self._handle.generation != self._seen:
                self._forget()
                self._index.refresh(file)
            yield file

    def _object(self, file: Any, path: str) -> Any:
        """Return a group or dataset; None if it is not there; an error if it lies in another file."""
        if self._objects[0] is not file:
            self._objects = (file, {})
        found = self._objects[1].get(path)
        if found is None:
            found = _trusted(file, path, self._allow_external)
            if isinstance(found, h5py().Dataset):
                self._objects[1][path] = found
        return found

    def _names(self) -> list[str]:
        with self._use() as file:
            return list(dict.fromkeys([*self._schema, *(name for name in file if name != SOURCES)]))

    def _paths(self) -> list[str]:
        """Return the paths of all features that hold arrays."""
        with self._use() as file:
            return [path for path in layout.feature_keys(file) if self._object(file, f"{path}/{ARRAYS}") is not None]

    def _feature_at(self, path: str) -> tuple[Feature | None, str]:
        return feature_at(self._schema, path)

    def _find(self, source: Any) -> int | None:
        return self._index[source] if as_id(source) in self._index else None

    def _rows(self, path: str, dataset: Any, place: int) -> tuple[int, int] | None:
        return self._regions.setdefault(path, Regions()).one(dataset, place)

    def _all_rows(self, path: str, dataset: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self._regions.setdefault(path, Regions()).all(dataset, len(self._index.names))

    @staticmethod
    def _rows_of(dataset: Any, reference: Any) -> tuple[int, int] | None:
        return layout.rows_of(dataset, reference)

    def _there(self, file: Any, path: str) -> NDArray[np.bool_]:
        """Return which sources have something of a feature, or of any feature of a group."""
        node = self.get_proxy(path)._node(file)
        count = len(self._index.names)
        if node is None:
            return np.zeros(count, bool)
        if isinstance(node, h5py().Dataset):
            return self._all_rows(path, node)[0] >= 0
        parts = [self._there(file, f"{path}/{name}") for name in node if name not in (ARRAYS, REFS)]
        some: NDArray[np.bool_] = np.logical_or.reduce([np.zeros(count, bool), *parts])
        return some

    def _add(self, source: Any, arrays: Mapping[str, NDArray[Any]], safe: bool) -> None:
        with self._use(writing=True) as file:
            place = self._find(source)
            for path in arrays if place is not None else ():
                proxy = self.get_proxy(path) if self._has(path) else None
                if proxy is not None and proxy._rows_at(file, source) is not None:
                    raise InvalidValueError(
                        f"{source!r} has {path} already: set(source, data) writes over it, another id adds to it"
                    )
            if not safe:
                self._append([(as_id(source), arrays)])
                return
        if self._handle.in_memory:
            raise InvalidValueError("a file in memory cannot be kept safe: leave safe=True out")
        self.flush()
        try:
            with backed_up(self.filename, self.flush), self._use(writing=True):
                self._append([(as_id(source), arrays)])
        except BaseException:
            self.close()  # the copy is brought back when the file is opened next
            raise

    def _has(self, path: str) -> bool:
        with self._use() as file:
            return self._object(file, path) is not None

    def _append(self, entries: Sequence[Entry]) -> None:
        """Append the arrays of sources that do not have them yet."""
        with self._use(writing=True) as file:
            done = layout.append(file, entries, self._index, self._kwargs_of)
            self._index.refresh(file)
            for path, regions in done.items():
                known = self._regions.setdefault(path, Regions())
                for place, rows in regions.items():
                    known.put(place, rows)

    def _kwargs_of(self, path: str) -> Mapping[str, Any]:
        return ds_kwargs(self._schema, path)

    def _check_schema(self, file: Any) -> None:
        """Make the groups of the features, or compare them with those that are there."""
        for path, feature in leaves(self._schema):
            node = self._object(file, path)
            if isinstance(node, h5py().Dataset) and feature.loads:
                raise FileFormatError(f"{self.filename}: {path} is a plain dataset, which does not fit {feature!r}")
        for path in {path.rpartition("/")[0] for path, _ in leaves(self._schema)} - {""}:
            if isinstance(self._object(file, path), h5py().Dataset):
                raise FileFormatError(f"{self.filename}: {path} should be a group, and is a dataset")
        if self._handle.writable:
            declared = [path for path, _ in leaves(self._schema) if self._object(file, path) is None]
            if declared or layout.IDS not in file:
                layout.make_schema(file, declared)
            write_attributes(file, self._schema)
        self._index.refresh(file)


def ds_kwargs(schema: Mapping[str, Feature], path: str) -> dict[str, Any]:
    """Return what `create_dataset` is to be given for a path, by the feature that it belongs to."""
    feature, place = feature_at(schema, path)
    if feature is None:
        return {}
    found: Any = feature.__ds_kwargs__
    for name in path[len(place) + 1 :].split("/") if path != place else ():
        inner = found.get(name) if isinstance(found, Mapping) else None
        found = inner if isinstance(inner, Mapping) else found
    return {key: value for key, value in found.items() if not isinstance(value, Mapping)}


def write_attributes(file: Any, schema: Mapping[str, Feature]) -> None:
    """Write the attributes of features that are not there yet."""
    for path, feature in leaves(schema):
        node = file.get(path)
        for key, value in feature.attrs.items():
            if node is not None and key not in node.attrs:
                write_attribute(node.attrs, key, value)


def typedfile(name: str, schema: Mapping[str, Feature]) -> type[TypedFile]:
    """Return a class of files with some features.

    Examples
    --------
    >>> from batchup import typed_files as h5m
    >>> h5m.typedfile("Sounds", {"wave": h5m.Array()}).wave
    <Array 'wave'>
    """
    return type(name, (TypedFile,), checked_schema(schema))


def in_mem(cls: type[Self]) -> Self:
    """Return a file of a class that lies in memory, and is lost when it is closed.

    Examples
    --------
    >>> from batchup import typed_files as h5m
    >>> file = h5m.in_mem(h5m.typedfile("Sounds", {"wave": h5m.Array()}))
    >>> file.add("a", {"wave": [1, 2, 3]}).wave[:]
    array([1, 2, 3])
    """
    name = f"in_memory_{next(_numbers)}.h5"
    return cls(name, "w", keep_open=True, driver="core", backing_store=False)


_numbers = iter(range(sys.maxsize))


def as_temp(filename: str) -> str:
    """Return the path of a file in a new folder for temporary files; who calls it removes them."""
    return os.path.join(tempfile.mkdtemp(), filename)


def _trusted(file: Any, path: str, allow_external: bool) -> Any:
    """Return a group or dataset of a file; None if it is not there; an error if it leads to another file."""
    if allow_external:
        return file.get(path)
    parts = path.split("/")
    for end in range(1, len(parts) + 1):
        part = "/".join(parts[:end])
        link = file.get(part, getlink=True)
        if link is None:
            return None
        if isinstance(link, h5py().ExternalLink):
            raise damaged(file, part, f"lies in another file ({link.filename})")
    found = file.get(path)
    if isinstance(found, h5py().Dataset) and (found.is_virtual or found.external):
        raise damaged(file, path, "reads from other files")
    return found
