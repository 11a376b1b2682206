"""What formats there are, and what their readers and writers can be told: as their signatures and docstrings say."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from batchup.formats.registry import Format, format_called, keywords, names, needed, suffixes

_PARAMETERS = re.compile(r"Parameters\n-+\n(.*?)(?:\n\n\w[^\n]*\n-+\n|\Z)", re.DOTALL)
_ELSEWHERE = "As for `"
_SENTENCE = re.compile(r".+?[.](?=\s|$)", re.DOTALL)


class Option(NamedTuple):
    """An option of a reader or a writer: its name, what it is if it is not given, and what it means, in a sentence."""

    name: str
    default: Any
    meaning: str


class Description(NamedTuple):
    """What a format can be told.

    Attributes
    ----------
    name : str
        What it is called.
    suffixes : list of str
        By which its files are known.
    reading, writing : list of Option
        What its tables take, and what is said where one is written.
    """

    name: str
    suffixes: list[str]
    reading: list[Option]
    writing: list[Option]


def summaries() -> list[tuple[str, list[str], str | None]]:
    """Return name, suffixes, and the command that installs what is missing, None if nothing is, of each format.

    >>> [suffixes for name, suffixes, missing in summaries() if name == "arrow"]
    [['.arrow', '.feather', '.ipc']]
    """
    return [(name, _suffixes(name), needed(name)) for name in names()]


def described(name: str) -> Description:
    """Return what a format can be told.

    >>> option, = described("npz").writing
    >>> option
    Option(name='compressed', default=False, meaning='Whether to compress the arrays.')

    Raises
    ------
    InvalidValueError
        If there is no format of this name.
    MissingExtraError
        If its library is not installed.
    """
    format_ = format_called(name)
    return Description(name, _suffixes(name), _options(format_, "table", "reader"), _options(format_, "sink", "writer"))


def _suffixes(name: str) -> list[str]:
    return [suffix for suffix, format_ in suffixes().items() if format_ == name]


def _options(format_: Format, main: str, other: str) -> list[Option]:
    """Return the options of what opens files for tables; where it refers to what items are read by, as that has it."""
    called: Callable[..., Any] | None = getattr(format_, main)
    if called is None:
        return []
    meanings = _meanings(getattr(format_, other)) | _meanings(called)
    return [Option(name, default, meanings.get(name, "")) for name, default in keywords(called).items()]


def _meanings(called: Callable[..., Any] | None) -> dict[str, str]:
    """Return the first sentence about each parameter in a docstring, but for those that stand elsewhere.

    >>> def add(a, b):
    ...     '''Add.
    ...
    ...     Parameters
    ...     ----------
    ...     a, b : int
    ...         What is added. Nothing else.
    ...     '''
    >>> _meanings(add)
    {'a': 'What is added.', 'b': 'What is added.'}
    """
    found = _PARAMETERS.search(inspect.getdoc(called) or "") if called is not None else None
    meanings: dict[str, str] = {}
    for part in re.split(r"\n(?=\S)", found[1] if found else ""):
        head, _, text = part.partition("\n")
        sentence = _SENTENCE.match(" ".join(text.split()))
        if sentence and not sentence[0].startswith(_ELSEWHERE):
            meanings |= dict.fromkeys([name.strip() for name in head.partition(" : ")[0].split(",")], sentence[0])
    return meanings
