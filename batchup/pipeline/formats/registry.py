"""The formats that there are: what `Dataset.read` and `dataset.write` offer."""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from batchup._extras import required
from batchup.errors import InvalidTypeError, InvalidValueError

_FORMATS: dict[str, Format] = {}


class Format(NamedTuple):
    """A format: a function that reads it, one that writes it, and the library that both need."""

    reader: Callable[..., Any] | None
    writer: Callable[..., Any] | None
    needs: tuple[str, str] | None  # a module, and the extra that installs it

    def described(self, name: str) -> str:
        """Return the name, and if the library is missing, the command that installs it."""
        if self.needs is None or importlib.util.find_spec(self.needs[0]) is not None:
            return name
        return f'{name} (pip install "batchup[{self.needs[1]}]")'


def register(
    name: str,
    reader: Callable[..., Any] | None = None,
    writer: Callable[..., Any] | None = None,
    needs: tuple[str, str] | None = None,
) -> None:
    """Add a format to what datasets read and write, or replace it.

    Parameters
    ----------
    name : str
        Its name: ``Dataset.read.<name>``.
    reader : callable, optional
        Called with the arguments that the user gives. Returns an array, a dict of arrays, or an object that can be
        iterated over as often as one likes.
    writer : callable, optional
        Called with the items, an iterable, and the arguments that the user gives.
    needs : (str, str), optional
        A module that both need, and the extra of batchup that installs it.

    Examples
    --------
    >>> from batchup.pipeline.formats import Readers, Writers, register, unregister
    >>> register("numbers", reader=lambda path: [path, path])
    >>> "numbers" in dir(Readers(list)), "numbers" in dir(Writers([]))
    (True, False)
    >>> unregister("numbers")
    """
    if not isinstance(name, str):
        raise InvalidTypeError(f"the name of a format is a str, got {name!r}")
    if not name.isidentifier() or name.startswith("_"):
        raise InvalidValueError(f"a format needs a name that can be written behind a dot, got {name!r}")
    if reader is None and writer is None:
        raise InvalidValueError(f"the format {name!r} needs a reader or a writer, got neither")
    _FORMATS[name] = Format(reader, writer, needs)


def unregister(name: str) -> None:
    """Remove a format."""
    if name not in _FORMATS:
        raise InvalidValueError(f"there is no format {name!r}: there are {sorted(_FORMATS)}")
    del _FORMATS[name]


class Readers:
    """The formats that can be read, each a method.

    Parameters
    ----------
    wrap : callable
        Called with what a reader returns: an array, a dict of arrays, or an object that can be iterated over as often
        as one likes. Its result is returned.

    Examples
    --------
    >>> from batchup.pipeline.formats import Readers, write_text
    >>> write_text(["one", "two"], "words.txt")
    >>> read = Readers(list)
    >>> read.text("words.txt")
    ['one', 'two']
    """

    def __init__(self, wrap: Callable[[Any], Any]) -> None:
        self._wrap = wrap

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):  # asked for while a copy is made
            raise AttributeError(name)
        format_, reader, wrap = _FORMATS.get(name), _readers().get(name), self._wrap
        if format_ is None or reader is None:
            raise AttributeError(_unknown("reader", name, _readers()), name=name, obj=self)

        @functools.wraps(reader)
        def read(*arguments: Any, **options: Any) -> Any:
            _check_installed(format_, f"reading {name} files")
            return wrap(reader(*arguments, **options))

        return read

    def __dir__(self) -> list[str]:
        return sorted(_readers())

    def __repr__(self) -> str:
        return _listed("readers", _readers())


class Writers:
    """The formats that can be written, each a method.

    Parameters
    ----------
    items : iterable
        What is written.

    Examples
    --------
    >>> from batchup.pipeline.formats import Writers, read_text
    >>> Writers(["one", "two"]).text("words.txt")
    >>> list(read_text("words.txt"))
    ['one', 'two']
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items

    def __getattr__(self, name: str) -> Callable[..., None]:
        format_, writer, items = _FORMATS.get(name), _writers().get(name), self._items
        if format_ is None or writer is None:
            raise AttributeError(_unknown("writer", name, _writers()), name=name, obj=self)

        @functools.wraps(writer)
        def write(*arguments: Any, **options: Any) -> None:
            _check_installed(format_, f"writing {name} files")
            writer(items, *arguments, **options)

        signature = inspect.signature(writer)
        _, *parameters = signature.parameters.values()
        write.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return write

    def __dir__(self) -> list[str]:
        return sorted(_writers())

    def __repr__(self) -> str:
        return _listed("writers", _writers())


def _readers() -> dict[str, Callable[..., Any]]:
    return {name: format_.reader for name, format_ in _FORMATS.items() if format_.reader is not None}


def _writers() -> dict[str, Callable[..., Any]]:
    return {name: format_.writer for name, format_ in _FORMATS.items() if format_.writer is not None}


def _check_installed(format_: Format, user: str) -> None:
    if format_.needs is not None:
        required(*format_.needs, user)


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    return f"there is no {kind} {name!r}: there are {', '.join(sorted(known))}"


def _listed(what: str, names: Iterable[str]) -> str:
    return f"<{what}: {', '.join(_FORMATS[name].described(name) for name in sorted(names))}>"
