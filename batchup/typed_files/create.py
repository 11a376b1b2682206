"""Files made from sources, which several workers load."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from batchup._unfinished import Unfinished
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.typed_files import layout
from batchup.typed_files.appending import Appender, Entry
from batchup.typed_files.feature import Feature, Group, checked_schema, ds_kwargs, leaves
from batchup.typed_files.journal import Journal
from batchup.typed_files.layout import checked_id
from batchup.typed_files.safety import claimed, forget_backup, restore
from batchup.typed_files.typed_file import check_place, write_attributes
from batchup.typed_files.workers import Results, checked_workers, loaded_by

if TYPE_CHECKING:
    from batchup.typed_files.typed_file import TypedFile

AT_ONCE = 32 * 2**20  # bytes of arrays that are written to the file together


class Creation:
    """One call of `TypedFile.create`, which see for the arguments."""

    def __init__(
        self,
        cls: type[TypedFile],
        filename: str | os.PathLike[str],
        sources: Iterable[Any],
        mode: str,
        schema: Mapping[str, Feature] | None,
        n_workers: int | None,
        parallelism: str,
        on_error: str,
        resume: bool,
        progress: bool,
        h5_kwargs: Mapping[str, Any],
    ) -> None:
        self._class = cls
        self._path = os.path.realpath(filename)
        self._sources = checked_sources(sources)
        self._mode = checked_mode(mode, self._path)
        self._schema = cls._schema if not schema else checked_schema(schema)
        if not self._schema:
            raise InvalidValueError("no features: declare some in the class, or pass schema={'name': Feature()}")
        if on_error not in ("raise", "skip"):
            raise InvalidValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        if "driver" in h5_kwargs:
            raise InvalidValueError("create() writes to the disk: in_mem(cls) makes a file in memory to add to")
        self._workers = checked_workers(n_workers, parallelism)
        self._skips = on_error == "skip"
        self._resume = resume
        self._progress = progress
        self._options = dict(h5_kwargs)
        self._skipped: dict[str, str] = {}
        self._failure: Exception | None = None
        layout.check_options(self._options)

    def run(self) -> dict[str, str]:
        """Make the file; return the errors of the sources that were skipped."""
        if os.path.isdir(self._path):
            raise IsADirectoryError(f"{self._path} is a folder")
        with contextlib.ExitStack() as stack:
            stack.enter_context(claimed(self._path, alone=self._mode == "r+"))
            if self._mode == "r+":
                restore(self._path)
            unfinished = Unfinished(self._path)
            stack.callback(unfinished.discard)
            journal = stack.enter_context(Journal(self._path, self._resume))
            with self._loader_first(), unfinished.hdf5(copied=self._mode == "r+", **self._options) as file:
                schema = self._prepared(file)
                self._write(file, schema, journal)
            self._after_create(unfinished.partial, schema)
            unfinished.take()
            forget_backup(self._path)
            journal.done = True
        return self._skipped

    @contextlib.contextmanager
    def _loader_first(self) -> Iterator[None]:
        """Raise what a loader raised as it was, and not as an error of the file."""
        try:
            yield
        except BaseException as error:
            if self._failure is not None and error is not self._failure:
                raise self._failure from None
            raise

    def _prepared(self, file: Any) -> dict[str, Feature]:
        """Return the features as they load these sources, once it is sure that the file can take them."""
        for path, feature in leaves(self._schema):
            check_place(file, path, feature)
        present = set(layout.ids(file))
        twice = [source for source in self._sources if source in present]
        if twice:
            raise InvalidValueError(f"{self._path} has {twice[0]!r} already, and {len(twice) - 1} more of the sources")
        schema = prepared(self._schema, self._sources, file)
        layout.make_schema(file, [path for path, _ in leaves(schema)])
        return schema

    def _write(self, file: Any, schema: Mapping[str, Feature], journal: Journal) -> None:
        positions = {source: place for place, source in enumerate(layout.ids(file))}
        appender = Appender(file, lambda path: ds_kwargs(schema, path))
        journal.begin(schema, self._sources)
        with contextlib.closing(self._results(schema, journal, appender)) as results:
            for entries in _together(results):
                appender.append(entries, positions.get, len(positions))
                positions.update({source: len(positions) + i for i, (source, _) in enumerate(entries)})
        write_attributes(file, schema, [path for path, _ in leaves(schema)])

    def _results(
        self, schema: Mapping[str, Feature], journal: Journal, appender: Appender
    ) -> Generator[Entry, None, None]:
        """Yield the sources in order, with what was loaded from them, now or earlier."""
        missing = [source for source in self._sources if source not in journal]
        results: Results = loaded_by(*self._workers, schema, missing, self._skips)
        with contextlib.closing(results), self._bar() as bar:
            for source in self._sources:
                loaded = journal.get(source) if source in journal else self._next(results)
                arrays = self._fitted(source, loaded, appender)
                if arrays is not None:
                    journal.put(source, loaded)
                    if arrays:
                        yield source, arrays
                if bar is not None:
                    bar.update()

    def _fitted(self, source: str, loaded: Any, appender: Appender) -> dict[str, NDArray[Any]] | None:
        """Return what was loaded as it is stored; None if it is skipped."""
        if isinstance(loaded, str):
            self._skipped[source] = loaded
            return None
        try:
            return appender.fitted(source, loaded)
        except (InvalidTypeError, InvalidValueError) as error:
            if not self._skips:
                self._failure = error
                raise
            self._skipped[source] = f"{type(error).__name__}: {error}"
            return None

    def _next(self, results: Results) -> Any:
        try:
            return next(results)
        except Exception as error:
            self._failure = error
            raise

    def _bar(self) -> Any:
        if not self._progress:
            return contextlib.nullcontext()  # a bar that is disabled still starts a thread
        from tqdm.auto import tqdm

        return tqdm(total=len(self._sources), desc=os.path.basename(self._path), unit="source")

    def _after_create(self, partial: str, schema: Mapping[str, Feature]) -> None:
        """Call the hooks of features and of the class."""
        hooks = [(path, feature) for path, feature in leaves(schema) if _has_hook(feature)]
        own = getattr(self._class, "after_create", None)
        if not hooks and own is None:
            return
        with self._class(partial, "r+", keep_open=True, **{**self._options, "locking": False}) as db:
            for path, feature in hooks:
                feature.after_create(db, path)
            if own is not None:
                own(db)
            db.flush()


def _has_hook(feature: Feature) -> bool:
    return type(feature).after_create is not Feature.after_create


def prepared(schema: Mapping[str, Feature], sources: Sequence[str], file: Any, prefix: str = "") -> dict[str, Feature]:
    """Return features as they load some sources into a file."""
    found: dict[str, Feature] = {}
    for name, feature in schema.items():
        path = prefix + name
        if isinstance(feature, Group):
            found[name] = Group(**prepared(feature.features, sources, file, f"{path}/"))
        else:
            found[name] = feature.prepared(sources, file[path].attrs if path in file else {})
        found[name].__set_name__(None, name)
    return found


def checked_sources(sources: Iterable[Any]) -> list[str]:
    """Return the ids of sources.

    Raises
    ------
    InvalidTypeError
        If it is one text, or something is no text.
    InvalidValueError
        If a source is there twice.
    """
    if isinstance(sources, (str, bytes, os.PathLike)):
        raise InvalidTypeError(f"sources must be a list, got {sources!r}; FileWalker(regex, folder) finds files")
    names = [checked_id(source) for source in sources]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise InvalidValueError(f"the source {name!r} is there twice: it is the id of what is loaded from it")
        seen.add(name)
    return names


def checked_mode(mode: str, path: str) -> str:
    """Return ``'w'`` or ``'r+'``: whether a file is made anew, or added to.

    Raises
    ------
    InvalidValueError
        If `mode` is something else.
    FileExistsError
        If there must be no file, and there is.
    """
    if mode not in ("w", "r+", "a", "w-", "x"):
        raise InvalidValueError(f"mode must be 'w', 'r+', 'a', 'w-' or 'x', got {mode!r}")
    there = os.path.exists(path)
    if there and mode in ("w-", "x"):
        raise FileExistsError(f"{path} exists: mode='w' replaces it, 'a' adds to it")
    if not there and mode == "r+":
        raise FileNotFoundError(f"{path} is not there: mode='a' makes it")
    return "r+" if there and mode in ("r+", "a") else "w"


def _together(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield entries, many at a time."""
    held: list[Entry] = []
    size = 0
    for source, arrays in entries:
        held.append((source, arrays))
        size += sum(array.nbytes for array in arrays.values()) + 100
        if size > AT_ONCE:
            yield held
            held, size = [], 0
    if held:
        yield held
