"""HDF5 files as Python classes: open, read, add, describe."""

from __future__ import annotations

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
from batchup.typed_files.arrays import flattened
from batchup.typed_files.attributes import Attributes, write_attribute
from batchup.typed_files.contents import Contents, is_dataset
from batchup.typed_files.feature import Feature, as_stored, checked_schema, class_schema, feature_at, leaves
from batchup.typed_files.handle import Handle
from batchup.typed_files.known import Index
from batchup.typed_files.layout import SOURCES, checked_id
from batchup.typed_files.proxy import Proxy

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
        for name, feature in cls._schema.items():
            setattr(cls, name, feature)

    def __init__(
        self,
        filename: str | os.PathLike[str],
        mode: str = "r",
        keep_open: bool = False,
        *,
        allow_external: bool = False,
        **h5_kwargs: Any,
    ) -> None:
        self._contents = Contents(Handle(os.fspath(filename), mode, keep_open, h5_kwargs), allow_external)
        self._skipped: dict[str, str] = {}
        self._check_schema()

    @property
    def filename(self) -> str:
        """Name of the file."""
        return self._contents.handle.path

    @property
    def mode(self) -> str:
        """How it is open; ``'r+'`` once a new file has been made."""
        return self._contents.handle.mode

    @property
    def keep_open(self) -> bool:
        """Whether the file stays open until `close`."""
        return self._contents.handle.keep_open

    @property
    def index(self) -> Index:
        """The ids of the sources, each with its place: a dict; only what is new in the file is read."""
        return self._contents.index

    @property
    def skipped(self) -> dict[str, str]:
        """The sources that `create` has left out, with their errors."""
        return self._skipped

    @property
    def attrs(self) -> Attributes:
        """The attributes of the file itself."""
        return Attributes(self._contents, "/")

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
        made_of: type[Self] = cls
        if schema:
            made_of = type(cls.__name__, (cls,), {**schema, "__module__": cls.__module__})
        made = made_of(filename, "r+", keep_open, **h5_kwargs)
        made._skipped = skipped
        return made

    @classmethod
    def load(cls, source: Any, schema: Mapping[str, Feature] | None = None) -> dict[str, Any]:
        """Return what the features load from a source, by name; those that do not take it are left out."""
        from batchup.typed_files.loading import loaded

        return loaded(checked_id(source), checked_schema(schema) if schema else cls._schema)

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
        names = dict.fromkeys([*self._schema, *self._contents.names()])
        return {name: self.get_proxy(name).get(source) for name in names}

    def set(self, source: Any, val: Mapping[str, Any]) -> None:
        """Write over what a source has of some features, of all of them or of none; see `Proxy.set`."""
        if not isinstance(val, Mapping):
            raise InvalidTypeError(f"val must be a dict of features, got {type(val).__name__}")
        self._contents.write(checked_id(source), flattened(as_stored(self._schema, val), ""), self._schema)

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
            with self._contents.use() as file:
                if self._contents.object(file, path) is None:
                    there = ", ".join(dict.fromkeys([*self._schema, *self._contents.names()])) or "nothing"
                    raise AttributeError(f"{self.filename} has no {path!r}, but {there}")
        return Proxy(self, path)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and name != SOURCES:
            raise AttributeError(name)
        return self.get_proxy(name)

    def sources(self, *features: str) -> NDArray[Any]:
        """Return the ids of the sources that have something of all of some features; all ids if none is named."""
        places = self._contents.places([self.get_proxy(path).name for path in features])
        return np.array(self.index.names, object)[places]

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
            features = self._contents.paths()
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
        if mode not in (None, "r"):
            self._contents.handle.check_writable()
        return self._contents.handle.lend()

    def start_swmr(self: Self) -> Self:
        """Let other processes read the file from now on, while this one writes; they open it with ``swmr=True``.

        Only numbers that are there already can be written then, by ``iset`` and ``[...] =``. The file must have been
        made with ``libver='latest'``, and this one opened with ``keep_open=True``.

        Raises
        ------
        InvalidValueError
            If it is not open in this way.
        """
        if not self.keep_open or not self._contents.handle.writable:
            raise InvalidValueError("start_swmr() needs a file opened with mode='r+', keep_open=True, libver='latest'")
        with self._contents.use(writing=True) as file:
            self._contents.reopened()
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
        self._contents.handle.flush()

    def close(self) -> None:
        """Close the file; it is opened again when it is used again."""
        self._contents.handle.close()

    def __enter__(self: Self) -> Self:
        self._contents.handle.hold()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._contents.handle.unhold()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.filename!r}>"

    def _add(self, source: Any, arrays: Mapping[str, NDArray[Any]], safe: bool) -> None:
        self._contents.add(checked_id(source), arrays, self._schema, safe)

    def _check_schema(self) -> None:
        """Make the groups of the features, or compare them with those that are there."""
        with self._contents.use() as file:
            missing = self._missing(file)
        if missing and self._contents.handle.writable:
            with self._contents.use(writing=True) as file:
                layout.make_schema(file, missing)
                write_attributes(file, self._schema, missing)

    def _missing(self, file: Any) -> list[str]:
        """Return the paths of declared features that the file does not have; an error if one is something else."""
        paths = dict(leaves(self._schema))
        for path, feature in paths.items():
            check_place(file, path, feature)
            refs = None if layout.IDS in file else file.get(f"{path}/{layout.REFS}")
            if refs is not None and len(refs):
                raise FileFormatError(f"{file.filename} is damaged: {path} belongs to sources, whose ids are missing")
        return [path for path in paths if self._contents.object(file, path) is None]


def check_place(file: Any, path: str, feature: Feature) -> None:
    """Raise a FileFormatError if something in a file does not fit a feature that is declared."""
    parts = path.split("/")
    for above in ("/".join(parts[:end]) for end in range(1, len(parts))):
        if is_dataset(file.get(above)):
            raise FileFormatError(f"{file.filename}: {above} should be a group of features, and is a dataset")
    if feature.loads and is_dataset(file.get(path)):
        raise FileFormatError(f"{file.filename}: {path} is a plain dataset, which does not fit {feature!r}")


def write_attributes(file: Any, schema: Mapping[str, Feature], paths: Iterable[str]) -> None:
    """Write the attributes of some features."""
    features = dict(leaves(schema))
    for path, feature in ((path, features[path]) for path in paths):
        for key, value in feature.attrs.items():
            write_attribute(file[path].attrs, key, value)


def typedfile(name: str, schema: Mapping[str, Feature]) -> type[TypedFile]:
    """Return a class of files with some features; like a named tuple, it can be pickled if it is found by its name.

    Examples
    --------
    >>> from batchup import typed_files as h5m
    >>> h5m.typedfile("Sounds", {"wave": h5m.Array()}).wave
    <Array 'wave'>
    """
    module = sys._getframe(1).f_globals.get("__name__", "__main__")
    return type(name, (TypedFile,), {**checked_schema(schema), "__module__": module})


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
