"""Records in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from batchup.columns import Ragged, SequenceColumn
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sequences.reader import checked_fields
from batchup.sequences.stored import Shard, StoredReader


class InMemoryReader(StoredReader):
    """Read records that are in memory.

    Parameters
    ----------
    data : sequence of array-like, or of dicts of those; or Ragged, or a dict of Ragged for each field
        The records. Arrays are copied, so that they lie one behind the other; `Ragged` are read where they are.
    metadata : dict of str, optional
        What `metadata` tells.
    fields : iterable of str, optional
        The fields, if records are dicts.
    sequence_field : str, optional
        The field whose length is that of the record.

    Raises
    ------
    TypeError, ValueError
        If a record is no array, or has other fields; if the elements of records differ.

    Examples
    --------
    >>> from batchup.sequences import InMemoryReader
    >>> records = [{"tokens": [5, 6], "tags": [0, 1]}, {"tokens": [7], "tags": [2]}]
    >>> reader = InMemoryReader(records, fields=["tokens", "tags"], sequence_field="tokens")
    >>> reader.length(0), reader.gather([1])["tags"].tolist()
    (2, [[2]])
    """

    def __init__(
        self,
        data: Any,
        metadata: Mapping[str, str] | None = None,
        fields: Iterable[str] | None = None,
        sequence_field: str | None = None,
    ) -> None:
        names, main = checked_fields(fields, sequence_field)
        self.data = data
        columns = _columns(data, names)
        lengths = {len(column) for column in columns.values()}
        if len(lengths) > 1:
            raise InvalidValueError(f"fields must have one number of records, got {sorted(lengths)}")
        shard = Shard("memory", 0, names, main, columns, columns[main].lengths, dict(metadata or {}))
        super().__init__([shard])

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.num_records()} records>"


def _columns(data: Any, names: list[str] | None) -> dict[str | None, SequenceColumn]:
    if isinstance(data, Ragged) and names is None:
        return {None: data}
    if isinstance(data, Mapping):
        if names is None or data.keys() != set(names):
            raise InvalidValueError(f"expected the fields {names}, got {list(data)}")
        return {name: column if isinstance(column, Ragged) else Ragged.of(column) for name, column in data.items()}
    if not isinstance(data, Sequence) and not isinstance(data, np.ndarray):
        raise InvalidTypeError(f"data must be a list of records, got {type(data).__name__}")
    for number, record in enumerate(data):
        if isinstance(record, Mapping) != (names is not None):
            wanted = "an array" if names is None else f"a dict with the fields {names}"
            raise InvalidTypeError(f"record {number} must be {wanted}, got {type(record).__name__}")
        if names is not None and record.keys() != set(names):
            raise InvalidValueError(f"record {number} must have the fields {names}, got {list(record)}")
    if names is None:
        return {None: Ragged.of(data)}
    return {name: Ragged.of([record[name] for record in data]) for name in names}
