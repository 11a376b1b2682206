"""Files that are found by their paths."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from batchup.errors import InvalidTypeError


class FileWalker:
    """The files below some folders whose paths match a pattern, in a fixed order; hidden files are left out.

    Parameters
    ----------
    regex : str or re.Pattern
        It is searched for in the path.
    sources : str, path-like, or iterable of those
        Files and folders.
    abspath : bool, default True
        Whether the paths of files that are found in folders are made absolute.

    Raises
    ------
    FileNotFoundError
        If one of the sources is not there, when it is iterated over.

    Examples
    --------
    >>> import os
    >>> from batchup.typed_files import FileWalker
    >>> os.makedirs("planes")
    >>> for name in ("planes/02.png", "planes/01.png", "planes/notes.txt"):
    ...     open(name, "w").close()
    >>> list(FileWalker(r"png$", "planes", abspath=False))
    ['planes/01.png', 'planes/02.png']
    """

    def __init__(
        self,
        regex: str | re.Pattern[str],
        sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        abspath: bool = True,
    ) -> None:
        self._regex = re.compile(regex)
        one = isinstance(sources, (str, os.PathLike))
        if not one and not isinstance(sources, Iterable):
            raise InvalidTypeError(f"sources must be a path or several, got {type(sources).__name__}")
        self.sources: list[Any] = [sources] if one else list(sources)  # type: ignore[arg-type]
        self.abspath = abspath

    def __iter__(self) -> Iterator[str]:
        for source in map(os.fspath, self.sources):
            if not os.path.exists(source):
                raise FileNotFoundError(f"{source} does not exist")
            yield from self._walk(source) if os.path.isdir(source) else filter(self._matches, [source])

    def _walk(self, root: str) -> Iterator[str]:
        for folder, folders, names in os.walk(root):
            folders.sort()
            for path in (os.path.join(folder, name) for name in sorted(names)):
                if self._matches(path):
                    yield os.path.abspath(path) if self.abspath else path

    def _matches(self, path: str) -> bool:
        return not os.path.basename(path).startswith(".") and bool(self._regex.search(path))
