"""Lines of JSON that are just what is expected, parsed by pyarrow, where that is installed, at many times the speed.

pyarrow is the laxer parser, and tells less: whatever it refuses, or might have passed over, is for the other one, which
reads the same of what both can read. Only keys that are not wanted pyarrow does not look into.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from batchup.columns import Ragged
from batchup.formats.casting import cast
from batchup.formats.table import TEXT, Block, Field, objects

LEAST = 2**18  # bytes of lines for which to load pyarrow
_PART = 2**19  # bytes that a thread parses at a time


class PlainLines:
    """Makes blocks of lines.

    Parameters
    ----------
    fields : mapping of str to Field
        The columns that are wanted.
    strict : bool
        Whether there must be no other keys.
    """

    def __init__(self, fields: Mapping[str, Field], strict: bool) -> None:
        self._fields = fields
        self._others = "error" if strict else "ignore"
        self._arrow: Any = None
        self._json: Any = None
        self._schema: Any = None

    def block(self, data: bytes) -> Block | None:
        """Return the block that whole lines stand for; None if pyarrow is not to be trusted with them."""
        if len(data) < LEAST or not self._is_able():
            return None
        rows = _rows(data)
        if not rows:
            return None
        try:
            table = self._parsed(data)
            if table.num_rows != rows:
                return None
            return {name: _column(table.column(name), field, name) for name, field in self._fields.items()}
        except (self._arrow.ArrowException, ValueError):
            return None

    def _is_able(self) -> bool:
        """Return whether pyarrow is there, and knows all columns."""
        if self._json is None:
            try:
                self._arrow, self._json = import_module("pyarrow"), import_module("pyarrow.json")
            except ImportError:
                return False
            kinds = {name: _kind(self._arrow, field) for name, field in self._fields.items()}
            if kinds and None not in kinds.values():
                self._schema = self._arrow.schema(list(kinds.items()))
        return self._schema is not None

    def _parsed(self, data: bytes) -> Any:
        return self._json.read_json(
            self._arrow.BufferReader(data),
            self._json.ReadOptions(block_size=_PART),
            self._json.ParseOptions(explicit_schema=self._schema, unexpected_field_behavior=self._others),
        )


def _rows(data: bytes) -> int:
    """Return how many lines there are, if each is an object from its first to its last character; else 0."""
    rows = data.count(b"\n") + (not data.endswith(b"\n"))
    if not data.startswith(b"{") or not data.endswith((b"}", b"}\n")) or data.count(b"}\n{") != rows - 1:
        return 0
    try:
        data.isascii() or data.decode()
    except UnicodeDecodeError:
        return 0
    return rows


def _kind(arrow: Any, field: Field) -> Any:
    """Return the type of a column; None if there is none that holds just the same."""
    if field.dtype == TEXT and not field.shape:
        return arrow.string()
    wide = "u8" if field.dtype == np.dtype("u8") else {"b": "?", "i": "i8", "u": "i8", "f": "f8"}.get(field.dtype.kind)
    if wide is None or not (field.fixed or field.ragged):
        return None
    kind = arrow.from_numpy_dtype(np.dtype(wide))
    for _ in field.shape:
        kind = arrow.list_(kind)
    return kind


def _column(chunks: Any, field: Field, name: str) -> Any:
    """Return a column of pyarrow as one of a block.

    Raises
    ------
    ValueError
        If it is not what the field says, or may not be.
    """
    values = chunks.combine_chunks()
    offsets = None
    for side in field.shape:
        _check_whole(values)
        ends = values.offsets.to_numpy().astype(np.int64)
        if side is None:
            offsets = ends - ends[0]
        elif (np.diff(ends) != side).any():
            raise ValueError(f"expected {side} values")
        values = values.flatten()
    _check_whole(values)
    if field.dtype == TEXT:
        return objects(values.to_pylist())
    elements = values.to_numpy(zero_copy_only=False)
    if elements.dtype.kind == "f" and (np.isinf(elements) | ((elements == 0) & np.signbit(elements))).any():
        raise ValueError("integers may be behind inf and -0.0, of which the other parser makes an error, and 0")
    elements = elements.copy() if elements.dtype == field.dtype else cast(elements, field.dtype, name)
    if offsets is not None:
        return Ragged(elements.reshape(-1, *field.shape[1:]), offsets)
    return elements.reshape(len(chunks), *field.shape)


def _check_whole(values: Any) -> None:
    if values.null_count:
        raise ValueError("expected no null, which a key that is missing gives, too")
