"""The contract of a record writer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from batchup._numbers import whole_number
from batchup.errors import InvalidTypeError, InvalidValueError, LengthError
from batchup.sequences.reader import checked_fields

MOST_RECORDS = 2**62  # so that indexes fit into integers of 8 bytes


class RecordWriter(ABC):
    """Writes records: each an array, or, if there are fields, a dict with one array per field.

    Use it as a context manager: the end of the block closes it; an exception discards what has been written. A writer
    of your own provides `write` and `close`.

    Parameters
    ----------
    fields : iterable of str, optional
        The names of what a record is made of; None if it is one array.
    sequence_field : str, optional
        The field whose length is that of the record.
    append : bool, default False
        Whether records are added to those that are there.
    initial_index : int, default 0
        The index of the first record.

    Attributes
    ----------
    next_index : int
        The index of the next record.
    metadata : dict
        What is stored with the records.

    Raises
    ------
    ValueError
        If one of `fields` and `sequence_field` is given without the other, or they do not fit.
    """

    def __init__(
        self,
        fields: Iterable[str] | None = None,
        sequence_field: str | None = None,
        append: bool = False,
        initial_index: int | None = 0,
    ) -> None:
        self.fields, self.sequence_field = checked_fields(fields, sequence_field)
        self.append = bool(append)
        for name in self.fields or ():
            check_text(name, "a field's name")
        self.next_index = 0 if initial_index is None else whole_number(initial_index, "initial_index")
        if self.next_index > MOST_RECORDS:
            raise InvalidValueError(f"initial_index must be at most 2**62, got {initial_index}")
        self.metadata: dict[str, str] = {}

    @abstractmethod
    def write(self, record: Any) -> int:
        """Write a record; return its index.

        Parameters
        ----------
        record : array-like with at least 1 dimension, or dict of those
            A dict has exactly the `fields`. The first record decides on the dtypes, and on the shapes of elements; an
            array without elements may be of any.

        Raises
        ------
        TypeError, ValueError
            If it is none of those, or differs from the first one, naming its index. Nothing of it is written then.
        """

    def extend(self, records: Any) -> range:
        """Write many records; return their indexes.

        Parameters
        ----------
        records : iterable of what `write` takes; or Ragged, or a dict of Ragged for each field

        Raises
        ------
        TypeError, ValueError
            As for `write`; the records before the wrong one are written then.
        """
        first = self.next_index
        if isinstance(records, Mapping):
            names, columns = list(records), list(records.values())
            if len({len(column) for column in columns}) > 1:
                raise LengthError(f"fields must have one number of records, got {[len(column) for column in columns]}")
            records = (dict(zip(names, parts, strict=True)) for parts in zip(*columns, strict=True))
        for record in records:
            self.write(record)
        return range(first, self.next_index)

    def add_metadata(self, metadata: Mapping[str, str]) -> None:
        """Store texts with the records, each under a key; one that is there already is replaced.

        Raises
        ------
        TypeError
            If a key or a value is no string: `json.dumps` makes one of most things.
        ValueError
            If one holds half of a character, which UTF-8 cannot tell.
        """
        self.metadata.update(checked_metadata(metadata))

    @abstractmethod
    def close(self) -> None:
        """Finish; if that is done, do nothing."""

    def discard(self) -> None:
        """Give up what has been written, where that can be done; here: finish."""
        self.close()

    def _checksum(self) -> int | None:
        """Return a checksum of what has been written so far; None if it is not known."""
        return None

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()


def check_text(text: str, what: str) -> None:
    """Raise if a text cannot be stored as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"{what} cannot be stored as UTF-8: {error}") from None


def checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata as a dict; an error unless they are texts that can be stored."""
    checked = dict(metadata)
    for key, value in checked.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidTypeError(f"metadata must be strings, got {key!r}: {value!r:.80}; json.dumps makes one")
        check_text(key, "a key of metadata")
        check_text(value, f"the metadata {key!r}")
    return checked
