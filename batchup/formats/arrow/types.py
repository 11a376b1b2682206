"""Arrow's types and the fields of tables, each told by the other: what Parquet and Arrow files share."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from batchup._extras import required
from batchup.errors import BatchUpError, FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.table import BYTES, TEXT, Field, refuse

HINT = b"batchup"  # what a column is, where its Arrow type does not tell; and what else a file says, of its schema
UNITS = ("s", "ms", "us", "ns")
LONGEST = 2**24  # bytes of a text of fixed length
MOST_LETTERS = 32  # in the name of a dtype
_FOREIGN = (b"ARROW:schema", b"pandas")  # what is written along, and says nothing more


def pyarrow() -> Any:
    """Return pyarrow."""
    return part_of_pyarrow("pyarrow")


def part_of_pyarrow(module: str) -> Any:
    """Return pyarrow, or a module of it."""
    return required(module, "parquet", "reading and writing Parquet and Arrow files")


def schema_of(fields: Mapping[str, Field], meta: Mapping[str, Any] | None, what: str) -> Any:
    """Return the schema of a file, or refuse columns that it cannot hold.

    Parameters
    ----------
    fields : mapping of str to Field
        The columns.
    meta : mapping, optional
        What else the file is to say.
    what : str
        What the format is called.
    """
    pa = pyarrow()
    for name, field in fields.items():
        _check_holds(what, name, field)
    metadata = {HINT: json.dumps(meta, sort_keys=True)} if meta else None
    return pa.schema([_arrow_field(name, field) for name, field in fields.items()], metadata)


def fields_from(schema: Any, path: str, names: Sequence[str] | None) -> dict[str, Field]:
    """Return what the columns of a file are.

    Parameters
    ----------
    schema : pyarrow.Schema
        Of the file.
    path : str
        Its name, for messages.
    names : sequence of str, optional
        Those that are looked at; all by default.

    Raises
    ------
    FileFormatError
        If a column is no array, or two have one name.
    """
    try:
        known = schema.names
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path} is damaged: the name of a column is no UTF-8: {error}") from None
    if twice := sorted({name for name in known if known.count(name) > 1}):
        raise FileFormatError(f"{path} has several columns of the name {twice[0]!r}: give each a name of its own")
    if isinstance(names, str):
        raise InvalidTypeError(f"columns must be a sequence of str, got {names!r}")
    if names is not None and (missing := [name for name in names if name not in known]):
        raise InvalidValueError(f"{path} has no columns {missing}: it has {known}")
    return {name: _field_of(schema.field(name), path) for name in (known if names is None else names)}


def meta_from(schema: Any) -> dict[str, Any]:
    """Return what else a file says: what batchup has written, and the texts of others."""
    texts = {key: value for key, value in (schema.metadata or {}).items() if key not in (HINT, *_FOREIGN)}
    meta = {key.decode(errors="replace"): value.decode(errors="replace") for key, value in texts.items()}
    told = _json((schema.metadata or {}).get(HINT))
    return {**meta, **told} if isinstance(told, dict) else meta


def element_of(dtype: np.dtype[Any]) -> tuple[Any, int] | None:
    """Return the Arrow type of an element, and how many of them make one; None if there is none."""
    pa = pyarrow()
    if dtype.kind in "US":
        return (pa.string() if dtype.kind == "U" else pa.binary()), 1
    if dtype.kind in "biuf" and dtype.itemsize <= 8:
        return pa.from_numpy_dtype(dtype.newbyteorder("=")), 1
    if dtype.kind == "c" and dtype.itemsize <= 16:
        return pa.from_numpy_dtype(np.dtype(f"f{dtype.itemsize // 2}")), 2
    if dtype.kind in "Mm":
        unit, count = np.datetime_data(dtype)
        if count == 1 and unit in UNITS:
            return (pa.timestamp if dtype.kind == "M" else pa.duration)(unit), 1
        return (pa.date32() if dtype == np.dtype("M8[D]") else pa.int64()), 1
    return None


def may_lack(dtype: np.dtype[Any]) -> bool:
    """Return whether a value that is not there can be told: as nan, or as NaT."""
    return dtype.kind in "fcmM"


def list_of(value: Any, count: int = -1, nullable: bool = False) -> Any:
    """Return the type of lists, of any length or of one."""
    pa = pyarrow()
    return pa.list_(pa.field("element", value, nullable=nullable), count)


def storage_of(field: Field) -> Any:
    """Return the Arrow type in which the values of a column are kept."""
    pa = pyarrow()
    element = element_of(field.dtype)
    assert element is not None
    value, width = element
    nullable = field.dtype.kind in "mM"
    if field.dtype in (TEXT, BYTES):
        return value
    if field.fixed:
        count = math.prod(_known(field.shape)) * width
        if not count:
            return pa.null()
        if not field.shape and width == 1:
            return value
        if len(field.shape) > 1 and field.dtype.kind in "iuf":
            return pa.fixed_shape_tensor(value, field.shape)
        return list_of(value, count, nullable)
    if field.ragged:
        per = math.prod(_known(field.shape[1:])) * width
        inner = list_of(value, per, nullable) if field.shape[1:] or width > 1 else value
        return list_of(inner, nullable=nullable and inner is value)
    sides = pa.field("shape", list_of(pa.int64(), len(field.shape)), nullable=False)
    return pa.struct([sides, pa.field("values", list_of(value, nullable=nullable), nullable=False)])


def plain_type(kind: Any) -> Any:
    """Return the type that values have which an extension or a dictionary stands for."""
    pa = pyarrow()
    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif pa.types.is_dictionary(kind):
            kind = kind.value_type
        else:
            return kind


def is_list(kind: Any) -> bool:
    """Return whether values are lists of any length."""
    types = pyarrow().types
    return bool(types.is_list(kind) or types.is_large_list(kind))


def _known(sides: Sequence[int | None]) -> list[int]:
    return [side for side in sides if side is not None]


def _check_holds(what: str, name: str, field: Field) -> None:
    if not _is_utf8(name):
        raise InvalidValueError(f"the names of columns must be Unicode, got {name!r}")
    holds = f"{what} hold numbers, times, texts and bytes, and arrays of them"
    element = element_of(field.dtype)
    if element is None:
        refuse(holds, name, field, "make columns of its parts, or cast it to float64")
    elif field.dtype in (TEXT, BYTES) and field.shape:
        refuse(holds, name, field, "in arrays, texts are of a fixed length: cast it to U<n> or S<n>")
    elif field.dtype.itemsize > LONGEST:
        refuse(holds, name, field, "make texts of any length of it")
    elif math.prod(_known(field.shape)) * element[1] >= 2**31:
        refuse(f"{what} hold less than {2**31:,} elements in a value", name, field, "cut it into several rows")
    elif not field.fixed and 0 in field.shape:
        refuse(holds, name, field, "leave it out, since it has no elements")


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _arrow_field(name: str, field: Field) -> Any:
    pa = pyarrow()
    kind = storage_of(field)
    scalar_time = field.dtype.kind in "mM" and not field.shape
    arrow = pa.field(name, kind, nullable=scalar_time or pa.types.is_null(kind))
    try:
        if _inferred(kind) == field and field.dtype.str != "<M8[s]":  # which Parquet turns into milliseconds
            return arrow
    except BatchUpError:
        pass
    return arrow.with_metadata({HINT: json.dumps({"dtype": field.dtype.str, "shape": field.shape})})


def _field_of(arrow: Any, path: str) -> Field:
    told = _told(arrow)
    if told is not None and _signature(storage_of(told)) == _signature(arrow.type):
        return told
    try:
        return _inferred(arrow.type)
    except InvalidTypeError as error:
        raise FileFormatError(
            f"{path}: column {arrow.name!r} is {arrow.type}, {error}; or choose others with columns=[...]"
        ) from None


def _told(arrow: Any) -> Field | None:
    """Return what the hint of a column says, which somebody else may have written."""
    hint = _json((arrow.metadata or {}).get(HINT))
    if not isinstance(hint, dict) or not isinstance(hint.get("dtype"), str) or not isinstance(hint.get("shape"), list):
        return None
    sides = hint["shape"]
    if len(hint["dtype"]) > MOST_LETTERS or not all(
        side is None or (type(side) is int and 0 <= side < 2**31) for side in sides
    ):
        return None
    try:
        field = Field(np.dtype(hint["dtype"]), tuple(sides))
        _check_holds("files", arrow.name, field)
    except (BatchUpError, TypeError, ValueError, SyntaxError):
        return None
    return field


def _json(text: bytes | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return None


def _inferred(kind: Any) -> Field:
    """Return what values of a type are; an InvalidTypeError if they are no arrays."""
    sides, element = _peeled(kind)
    dtype = _dtype_of(element)
    if dtype in (TEXT, BYTES) and sides:
        raise InvalidTypeError("and lists of texts are no arrays: make one text of each")
    if None in sides[1:] and set(sides) != {None}:
        raise InvalidTypeError("lists of any length in lists of one length: cast all of them to list")
    if None in sides and 0 in sides:
        raise InvalidTypeError("lists of nothing: drop it")
    return Field(dtype, tuple(sides))


def _peeled(kind: Any) -> tuple[list[int | None], Any]:
    """Return the sides of the lists that a type is, and the type of their elements."""
    pa = pyarrow()
    sides: list[int | None] = []
    while True:
        if isinstance(kind, pa.FixedShapeTensorType):
            if kind.permutation is not None and list(kind.permutation) != sorted(kind.permutation):
                raise InvalidTypeError("whose sides are in another order: cast it to its storage type")
            sides += kind.shape
            kind = kind.value_type
            continue
        kind = plain_type(kind)
        if pa.types.is_fixed_size_list(kind):
            sides.append(kind.list_size)
        elif is_list(kind):
            sides.append(None)
        else:
            return sides, kind
        kind = kind.value_type


def _dtype_of(kind: Any) -> np.dtype[Any]:
    types = pyarrow().types
    if types.is_boolean(kind):
        return np.dtype(bool)
    if types.is_integer(kind) or types.is_floating(kind):
        letter = "f" if types.is_floating(kind) else "i" if types.is_signed_integer(kind) else "u"
        return np.dtype(f"{letter}{kind.bit_width // 8}")
    if types.is_time(kind) or types.is_duration(kind):
        return np.dtype(f"m8[{kind.unit}]")
    if types.is_timestamp(kind):
        return np.dtype(f"M8[{kind.unit}]")
    if types.is_date(kind):
        return np.dtype("M8[D]" if types.is_date32(kind) else "M8[ms]")
    if any(_is(kind, f"{size}string") for size in ("", "large_")) or _is(kind, "string_view"):
        return TEXT
    if any(_is(kind, f"{size}binary") for size in ("", "large_", "fixed_size_")) or _is(kind, "binary_view"):
        return BYTES
    if types.is_null(kind):
        raise InvalidTypeError("which has nothing in it: drop it")
    if types.is_decimal(kind):
        raise InvalidTypeError("which NumPy has not: cast it to float64")
    if types.is_struct(kind) or types.is_map(kind):
        raise InvalidTypeError("which is no array: make a column of each of its parts")
    raise InvalidTypeError("which is no array: cast it to numbers or texts")


def _is(kind: Any, name: str) -> bool:
    """Return whether a type is one that older versions of pyarrow may not have."""
    check = getattr(pyarrow().types, f"is_{name}", None)
    return check is not None and bool(check(kind))


def _signature(kind: Any) -> str:
    """Return what matters of a type when values are read: not by whom it was written.

    >>> import pyarrow as pa
    >>> _signature(pa.list_(pa.list_(pa.int8(), 3), 2)), _signature(pa.large_list(pa.timestamp("s")))
    ('int8[6]', 'list<timestamp[ms]>')
    """
    return "".join(_pieces(kind))


def _pieces(kind: Any) -> Iterator[str]:
    types = pyarrow().types
    kind, count = plain_type(kind), 1
    if types.is_fixed_size_list(kind):
        while types.is_fixed_size_list(kind):
            kind, count = plain_type(kind.value_type), count * kind.list_size
        yield from _pieces(kind)
        yield f"[{count}]"
    elif is_list(kind):
        yield from ("list<", *_pieces(kind.value_type), ">")
    elif types.is_struct(kind):
        for part in kind:
            yield from (f"{part.name}: ", *_pieces(part.type), "; ")
    elif types.is_timestamp(kind):
        yield f"timestamp[{'ms' if kind.unit == 's' else kind.unit}]"  # Parquet has no seconds
    elif not types.is_null(kind) and _known_dtype(kind) in (TEXT, BYTES):
        yield _known_dtype(kind).str
    else:
        yield str(kind)


def _known_dtype(kind: Any) -> Any:
    try:
        return _dtype_of(kind)
    except InvalidTypeError:
        return None
