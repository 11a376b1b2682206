"""The formats that there are: what `Dataset.read`, `dataset.write` and the command line offer."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from batchup._extras import required
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.formats.many import Opener
from batchup.formats.opening import bare_suffix
from batchup.formats.paths import named
from batchup.formats.rows import Sink

_FORMATS: dict[str, Format | InModule] = {}
_GIVEN = ("rows", "meta")  # to a sink, by what is written


class Format(NamedTuple):
    """A format: what reads and writes it, and how it is known."""

    reader: Callable[..., Any] | None
    writer: Callable[..., Any] | None
    needs: tuple[str, str] | None  # a module, and the extra that installs it
    table: Opener | None = None
    sink: Sink | None = None
    suffixes: tuple[str, ...] = ()
    together: bool = False  # whether a table is of all files, rather than of each by itself


class InModule(NamedTuple):
    """A format whose modules are loaded when it is first used."""

    modules: tuple[str, ...]
    needs: tuple[str, str] | None
    suffixes: tuple[str, ...]
    together: bool = False

    def loaded(self, name: str) -> Format:
        """Return what the modules have, named after the format: ``read_csv``, ``CsvTable``, ``csv_sink``, ..."""
        there: dict[str, Any] = {}
        for module in self.modules:
            there |= vars(importlib.import_module(module))
        return Format(
            there[f"read_{name}"],
            there[f"write_{name}"],
            self.needs,
            there.get(f"{name.capitalize()}Table"),
            there.get(f"{name}_sink"),
            self.suffixes,
            self.together,
        )


def register_module(
    name: str,
    modules: tuple[str, ...],
    suffixes: tuple[str, ...],
    needs: tuple[str, str] | None = None,
    together: bool = False,
) -> None:
    """Add a format that modules have all of; see `InModule`."""
    _FORMATS[name] = InModule(modules, needs, suffixes, together)


def register(
    name: str,
    reader: Callable[..., Any] | None = None,
    writer: Callable[..., Any] | None = None,
    needs: tuple[str, str] | None = None,
    *,
    table: Opener | None = None,
    sink: Sink | None = None,
    suffixes: Iterable[str] = (),
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
    table : callable, optional
        Called with a path, and with options by name; returns its `Table`. With it the command line reads the format,
        and whatever takes files of any format.
    sink : callable, optional
        Called with a path and the fields; returns a context manager that yields a function which writes a block.
    suffixes : iterable of str
        By which names are known to be of this format: ``".csv"``.

    Examples
    --------
    >>> from batchup.formats import Readers, Writers, register, unregister
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
    _FORMATS[name] = Format(reader, writer, needs, table, sink, tuple(suffix.lower() for suffix in suffixes))


def unregister(name: str) -> None:
    """Remove a format."""
    if name not in _FORMATS:
        raise InvalidValueError(f"there is no format {name!r}: there are {sorted(_FORMATS)}")
    del _FORMATS[name]


def format_called(name: str) -> Format:
    """Return a format by its name, if its library is installed.

    Raises
    ------
    InvalidValueError
        If there is none of this name.
    MissingExtraError
        If its library is not installed.
    """
    if name not in _FORMATS:
        raise InvalidValueError(f"there is no format {name!r}: there are {', '.join(sorted(_FORMATS))}")
    _check_installed(name, f"{name} files")
    return _loaded(name)


def check_options(called: Callable[..., Any], options: Iterable[str], what: str) -> None:
    """Raise an error if something that reads or writes has no such options."""
    parameters = inspect.signature(called).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    there = keywords(called)
    if wrong := [name for name in options if name not in there]:
        raise InvalidTypeError(f"{what} has no option {wrong[0]!r}: it has {', '.join(there) or 'none'}")


def keywords(called: Callable[..., Any]) -> dict[str, Any]:
    """Return the options of something that reads or writes, and what they are by default."""
    parameters = inspect.signature(called).parameters
    return {
        name: one.default for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY and name not in _GIVEN
    }


def function(name: str) -> Any:
    """Return the function ``read_<format>`` or ``write_<format>``; None if there is none of this name."""
    what, _, kind = name.partition("_")
    if what not in ("read", "write") or kind not in _FORMATS:
        return None
    return _loaded(kind).reader if what == "read" else _loaded(kind).writer


def names() -> list[str]:
    """Return the names of all formats."""
    return sorted(_FORMATS)


def suffixes() -> dict[str, str]:
    """Return the names of the formats by the suffixes of their files."""
    return {suffix: name for name, format_ in _FORMATS.items() for suffix in format_.suffixes}


def format_of(path: Any, format: str | None = None) -> str:  # noqa: A002
    """Return the name of the format that a path is of, or is to be of.

    Raises
    ------
    InvalidValueError
        If its suffix is none of those that are known, and `format` is not given.
    """
    if format is not None:
        if not isinstance(format, str):
            raise InvalidTypeError(f"format must be the name of one, got {format!r}")
        format_called(format)
        return format
    name = named(path)
    known = suffixes()
    kind = known.get(bare_suffix(name)) or (_of_folder(name) if os.path.isdir(name) else None)
    if kind is None and os.path.isdir(name):
        raise InvalidValueError(
            f"{name}: nothing that can be read lies in this folder, neither images nor sounds: name its files, or pass "
            'format=, such as format="images"'
        )
    if kind is None:
        raise InvalidValueError(
            f"{name}: what it is cannot be told by its name, which ends in none of {', '.join(sorted(known))}: pass "
            'format=, such as format="csv"'
        )
    return kind


def common_format(paths: Iterable[Any], format: str | None = None) -> str:  # noqa: A002
    """Return the name of the format that all paths are of.

    Raises
    ------
    InvalidValueError
        If they are of several, or what one is cannot be told.
    """
    kinds = {format_of(path, format) for path in paths}
    if len(kinds) > 1:
        raise InvalidValueError(f"the files must be of one format, got {sorted(kinds)}: read those of each apart")
    return kinds.pop()


def needed(name: str) -> str | None:
    """Return the command that installs the library of a format; None if it is there, or there is none."""
    needs = _FORMATS[name].needs
    if needs is None or importlib.util.find_spec(needs[0]) is not None:
        return None
    return f'pip install "batchup[{needs[1]}]"'


def readable(name: str) -> Format:
    """Return a format that tables are read from; an error if it is none."""
    format_ = format_called(name)
    if format_.table is None:
        raise InvalidValueError(f"files of the format {name!r} are read item by item only: Dataset.read.{name}")
    return format_


def writable(name: str) -> Format:
    """Return a format that blocks are written to; an error if it is none."""
    format_ = format_called(name)
    if format_.sink is None:
        raise InvalidValueError(f"files of the format {name!r} are written item by item only: dataset.write.{name}")
    return format_


def _of_folder(name: str) -> str | None:
    """Return what a folder is, by what lies in it, or was to lie there."""
    from batchup.formats.folders.table import columns_told, files_below

    known = suffixes()
    for file in files_below(name):
        kind = known.get(os.path.splitext(file)[1].lower())
        if kind in ("images", "wav"):
            return kind
    told = columns_told(name)  # by our writer, of a folder without rows
    return "images" if "image" in told else "wav" if "sound" in told else None


class Readers:
    """The formats that can be read, each a method.

    Parameters
    ----------
    wrap : callable
        Called with what a reader returns: an array, a dict of arrays, or an object that can be iterated over as often
        as one likes. Its result is returned.

    Examples
    --------
    >>> from batchup.formats import Readers, write_text
    >>> write_text(["one", "two"], "words.txt")
    >>> read = Readers(list)
    >>> read.text("words.txt")
    ['one', 'two']
    """

    def __init__(self, wrap: Callable[[Any], Any]) -> None:
        self._wrap = wrap

    def __call__(self, *paths: Any, format: str | None = None, **options: Any) -> Any:  # noqa: A002  what users call it
        """Read files whose suffixes tell what they are, unless `format` does; takes the options of the reader."""
        if not paths:
            raise InvalidValueError("a reader takes the name of at least one file, got none")
        return getattr(self, common_format(paths, format))(*paths, **options)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):  # asked for while a copy is made
            raise AttributeError(name)
        reader, wrap = _loaded(name).reader if name in _FORMATS else None, self._wrap
        if reader is None:
            raise AttributeError(_unknown("reader", name, _readers()), name=name, obj=self)

        @functools.wraps(reader)
        def read(*arguments: Any, **options: Any) -> Any:
            _check_installed(name, f"reading {name} files")
            return wrap(reader(*arguments, **options))

        return read

    def __dir__(self) -> list[str]:
        return _readers()

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
    >>> from batchup.formats import Writers, read_text
    >>> Writers(["one", "two"]).text("words.txt")
    >>> list(read_text("words.txt"))
    ['one', 'two']
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = items

    def __call__(self, path: Any, format: str | None = None, **options: Any) -> None:  # noqa: A002  what users call it
        """Write a file whose suffix tells what it is to be, unless `format` does; takes the options of the writer."""
        getattr(self, format_of(path, format))(path, **options)

    def __getattr__(self, name: str) -> Callable[..., None]:
        writer, items = _loaded(name).writer if name in _FORMATS else None, self._items
        if writer is None:
            raise AttributeError(_unknown("writer", name, _writers()), name=name, obj=self)

        @functools.wraps(writer)
        def write(*arguments: Any, **options: Any) -> None:
            _check_installed(name, f"writing {name} files")
            writer(items, *arguments, **options)

        signature = inspect.signature(writer)
        _, *parameters = signature.parameters.values()
        write.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return write

    def __dir__(self) -> list[str]:
        return _writers()

    def __repr__(self) -> str:
        return _listed("writers", _writers())


def _loaded(name: str) -> Format:
    format_ = _FORMATS[name]
    if isinstance(format_, InModule):
        format_ = _FORMATS[name] = format_.loaded(name)
    return format_


def _readers() -> list[str]:
    return sorted(n for n, format_ in _FORMATS.items() if isinstance(format_, InModule) or format_.reader is not None)


def _writers() -> list[str]:
    return sorted(n for n, format_ in _FORMATS.items() if isinstance(format_, InModule) or format_.writer is not None)


def _check_installed(name: str, user: str) -> None:
    if (needs := _FORMATS[name].needs) is not None:
        required(*needs, user)


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    return f"there is no {kind} {name!r}: there are {', '.join(known)}"


def _listed(what: str, names: Iterable[str]) -> str:
    return f"<{what}: {', '.join(map(_described, names))}>"


def _described(name: str) -> str:
    """Return the name of a format, and if its library is missing, the command that installs it."""
    command = needed(name)
    return name if command is None else f"{name} ({command})"
