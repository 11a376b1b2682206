"""Data sets of one's own: where their files come from, and a function that converts them, once.

>>> import numpy as np
>>> from batchup.datasets.dataset import CopySourceFile, fetch_and_convert_dataset
>>> np.savetxt("iris.csv", [[5.1, 3.5, 0], [6.3, 3.3, 2]], delimiter=",")
>>> @fetch_and_convert_dataset([CopySourceFile("iris.csv", arg_name="csv")], "iris.npy")
... def fetch_iris(source_paths, target_path):
...     np.save(target_path, np.loadtxt(source_paths[0], delimiter=",", dtype=np.float32))
...     return target_path
>>> import os
>>> os.environ["BATCHUP_HOME"] = os.getcwd()
>>> np.load(fetch_iris(csv="iris.csv"), mmap_mode="r").shape
(2, 3)
>>> del os.environ["BATCHUP_HOME"]
"""

from __future__ import annotations

import contextlib
import errno
import functools
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from batchup import config
from batchup._files import PARTIAL, leave, opened_alone, remove, sync_folder
from batchup.datasets.manifest import manifest_path, read_manifest, write_manifest
from batchup.datasets.partial import digest_of
from batchup.datasets.sources import (
    AbstractSourceFile,
    CopySourceFile,
    DownloadSourceFile,
    ExistingSourceFile,
    KeptSourceFile,
    path_string,
)
from batchup.errors import FetchError, FileFormatError, InvalidTypeError, InvalidValueError

__all__ = [
    "AbstractSourceFile",
    "CopySourceFile",
    "DownloadSourceFile",
    "ExistingSourceFile",
    "FetchedDataset",
    "delete_dataset_cache",
    "fetch_and_convert_dataset",
    "path_string",
]

LOCK = ".lock"  # behind the name of what is being made
REMOVED = ".removed"  # behind the name of what is being removed
_logger = logging.getLogger("batchup")


def fetch_and_convert_dataset(
    source_files: Iterable[AbstractSourceFile], target_filename: Any
) -> Callable[[Callable[[list[str], str], Any]], FetchedDataset]:
    """Make a function that converts files into one that gets them first, and does it once.

    The function that is decorated has the form ``fn(source_paths, target_path)``. It writes a file, or makes a folder,
    of the name `target_path`, and returns `target_path`. It is given another name than the data set will have, of the
    same ending: that one is there only when all is. What was fetched or copied is removed in the end.

    Parameters
    ----------
    source_files : iterable of AbstractSourceFile
        The files to get.
    target_filename : str, path-like or callable
        Name of the file or folder, among the data sets of batchup if it is not absolute; or a function that returns
        it.

    Returns
    -------
    callable
        The decorator. What it makes is a `FetchedDataset`.

    Raises
    ------
    TypeError
        If an argument is of the wrong kind.
    """
    if not callable(target_filename) and not os.path.basename(path_string(target_filename)):
        raise InvalidValueError(f"target_filename must name a file or a folder, got {target_filename!r}")
    if not isinstance(source_files, Iterable):
        raise InvalidTypeError(f"source_files must be source files, in a list, got {source_files!r}")
    sources = list(source_files)
    for source in sources:
        if not isinstance(source, AbstractSourceFile):
            raise InvalidTypeError(f"source_files must be source files such as DownloadSourceFile, got {source!r}")
    return functools.partial(FetchedDataset, sources, target_filename)


class FetchedDataset:
    """A data set that is fetched and converted when it is called for first; see `fetch_and_convert_dataset`.

    Called with the arguments that its `CopySourceFile` want, it returns the path of what was made. Several programs may
    do so at once: one makes it, the others wait. A program that is killed leaves nothing that would be taken for whole.

    Parameters
    ----------
    source_files, target_filename
        As for `fetch_and_convert_dataset`.
    convert : callable
        The function that converts.
    """

    __name__: str

    def __init__(
        self, source_files: list[AbstractSourceFile], target_filename: Any, convert: Callable[[list[str], str], Any]
    ) -> None:
        self.source_files = source_files
        self._target_filename = target_filename
        self._convert = convert
        functools.update_wrapper(self, convert)

    @property
    def target_path(self) -> str:
        """Where it lies, or will lie."""
        path = config.get_data_path(path_string(self._target_filename))
        return os.path.realpath(path) if os.path.islink(path) else path

    def is_there(self) -> bool:
        """Return whether it has been converted."""
        path = self.target_path
        return os.path.exists(manifest_path(path)) if os.path.isdir(path) else os.path.exists(path)

    def __call__(self, **arguments: Any) -> str:
        """Return its path, after getting and converting it if need be.

        Raises
        ------
        TypeError
            If none of its files wants an argument.
        FetchError
            If a file cannot be got; the message says where to put it by hand.
        ChecksumError
            If a file that was put there by hand is another one.
        FileFormatError
            If the conversion failed, or it is of a later version.
        OSError
            If there is no room.
        """
        self._check(arguments)
        target = self.target_path
        if not self.is_there():
            self._make(target, arguments)
        elif os.path.exists(target + LOCK):
            self._tidy()
        if os.path.isdir(target):
            read_manifest(target)  # which tells its version
        return target

    def _check(self, arguments: dict[str, Any]) -> None:
        """Raise an error over arguments that no file wants; what sources of the user's own want is not known."""
        if all(isinstance(source, (KeptSourceFile, ExistingSourceFile)) for source in self.source_files):
            copied = [source for source in self.source_files if isinstance(source, CopySourceFile)]
            wanted = [source.arg_name for source in copied if source.source_path is None]
            if unknown := [name for name in arguments if name not in wanted]:
                raise InvalidTypeError(f"{self.__name__} takes no {unknown[0]}: its arguments are {wanted}")

    def delete_cache(self) -> None:
        """Remove it, and what is left of the files that it is made of."""
        target = self.target_path
        if os.path.isdir(os.path.dirname(target)):
            with self._writing(), _alone(target):
                delete_dataset_cache(self._target_filename)  # with a link, if it is one
                self._clean_up()

    def _make(self, target: str, arguments: dict[str, Any]) -> None:
        """Get the files and convert them, unless somebody else has just done so."""
        with self._writing():
            os.makedirs(os.path.dirname(target), exist_ok=True)
            lock = contextlib.ExitStack()
            lock.enter_context(_alone(target))
        with lock:
            if self.is_there():
                return
            if os.path.exists(target):  # among others, the folder of files that have not been converted
                raise FileFormatError(f"{target} is in the way: it is no data set of batchup's, move it elsewhere")
            try:
                self._convert_into(target, self._acquired(arguments))
            except BaseException:
                for source in self.source_files:
                    if source.sha256 is None:
                        source.clean_up()  # what is not known to be right is not kept
                raise
            self._clean_up()

    def _tidy(self) -> None:
        """Remove what a program has left that was killed when all was there, unless it cannot be written to."""
        with contextlib.suppress(OSError), _alone(self.target_path, waits=False):
            self._clean_up()

    def _clean_up(self) -> None:
        for ending in (PARTIAL, REMOVED):
            shutil.rmtree(self.target_path + ending, ignore_errors=True)
        for source in self.source_files:
            source.clean_up()

    def _acquired(self, arguments: dict[str, Any]) -> list[str]:
        paths: list[str] = []
        for source in self.source_files:
            try:
                path = source.acquire(**arguments)
            except FetchError as error:
                raise FetchError(self._way_out(source, error)) from None
            if path is None:
                raise FetchError(f"{source!r} told no path of its file")
            if path in paths:
                raise InvalidValueError(f"{self.__name__} has the file {path} among its sources twice")
            paths.append(path)
        return paths

    def _convert_into(self, target: str, paths: list[str]) -> None:
        """Convert the files in a folder beside, and give the result its name."""
        beside = target + PARTIAL
        made = os.path.join(beside, os.path.basename(target))
        shutil.rmtree(beside, ignore_errors=True)  # of a program that was killed
        os.mkdir(beside)
        sources = [
            {"name": os.path.basename(path), "sha256": source.sha256 or digest_of(path)}
            for source, path in zip(self.source_files, paths, strict=True)
        ]
        try:
            with self._without_room_told():
                converted = self._convert(paths, made)
            if converted is None or not os.path.exists(made):
                raise FileFormatError(
                    f"{self.__name__} did not make the file or folder target_path, or did not return it"
                )
            if os.path.exists(manifest_path(made)):
                raise FileFormatError(f"{self.__name__} made {manifest_path(made)}, which is ours: call it otherwise")
            with self._without_room_told():
                write_manifest(made, sources)
            if not os.path.isdir(made):
                os.replace(manifest_path(made), manifest_path(target))
            os.rename(made, target)
            sync_folder(target)
        finally:
            shutil.rmtree(beside, ignore_errors=True)

    def _way_out(self, failed: AbstractSourceFile, error: FetchError) -> str:
        """Return what to do where a file could not be fetched."""
        fetched = [source for source in self.source_files if isinstance(source, DownloadSourceFile)]
        fetched = [source for source in fetched if source is failed or not source.is_there()]
        way = ""
        if isinstance(failed, DownloadSourceFile):
            files = "\n  ".join(source.by_hand() for source in fetched)
            names = ", ".join(source.at_mirror for source in fetched)
            way = (
                "To go on, put there by hand (from a browser, or another machine) and run this again:\n  "
                f"{files}\nor set BATCHUP_MIRROR to a folder, or an address, that has {names}"
            )
        told = "\n  ".join(str(error).split("\n"))
        return f"{os.path.basename(self.target_path)} could not be fetched:\n  {told}\n{way}".rstrip()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say what to do where nothing can be written."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            name, folder = os.path.basename(self.target_path), os.path.dirname(self.target_path)
            raise FetchError(
                f"{name} is not there, and cannot be put there: nothing can be written to {error.filename or folder} "
                f"({error.strerror}); set BATCHUP_HOME to a folder that you may write to"
            ) from error

    @contextlib.contextmanager
    def _without_room_told(self) -> Iterator[None]:
        """Say what to do where a disk is full."""
        try:
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            folder = os.path.dirname(self.target_path)
            name, free = os.path.basename(self.target_path), shutil.disk_usage(folder).free
            told = f"no room to convert {name}: {free:,} bytes are free; make room, or set BATCHUP_HOME to another disk"
            raise OSError(error.errno, told, folder) from error

    def __reduce__(self) -> Any:
        return self.__name__ if self._is_named() else super().__reduce__()

    def _is_named(self) -> bool:
        """Return whether its module has it under its name, so that it can be looked up there."""
        return getattr(sys.modules.get(self.__module__), self.__name__, None) is self

    def __repr__(self) -> str:
        return f"<{self.__name__}: {self.target_path}>"


def delete_dataset_cache(*filenames: Any) -> None:
    """Remove converted data sets, with all that belongs to them.

    Parameters
    ----------
    *filenames : str, path-like or callable
        Names of files or folders, or functions that return them, as for `fetch_and_convert_dataset`.

    Raises
    ------
    FileFormatError
        If there is a folder that is no data set.
    """
    for filename in filenames:
        link = config.get_data_path(path_string(filename))
        path = os.path.realpath(link) if os.path.islink(link) else link
        shutil.rmtree(path + PARTIAL, ignore_errors=True)
        shutil.rmtree(path + REMOVED, ignore_errors=True)
        if os.path.isdir(path):
            if not os.path.exists(manifest_path(path)):
                raise FileFormatError(f"{path} is no data set of batchup's: it is left as it is")
            os.rename(path, path + REMOVED)  # so that nobody opens half of it
            shutil.rmtree(path + REMOVED)
        else:
            for name in (path, manifest_path(path)):
                with contextlib.suppress(FileNotFoundError):
                    os.remove(name)
        if path != link:
            os.remove(link)


@contextlib.contextmanager
def _alone(target: str, waits: bool = True) -> Iterator[None]:
    """Be the only one, of all programs and threads, that makes a data set.

    The file by which that is known stays as long as there is something to clean up beside what was made.
    """

    def waiting() -> None:
        _logger.warning("waiting for another program, which makes %s", target)

    lock = opened_alone(target + LOCK, anew=True, waiting=waiting if waits else None, writes=False)
    try:
        yield
    except BaseException:
        if not os.path.exists(target):
            remove(lock, target + LOCK)
        raise
    else:
        remove(lock, target + LOCK)
    finally:
        leave(lock)
