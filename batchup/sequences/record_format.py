"""The layout of record files: a head, blocks of values and lengths, and at the end an index that tells of both.

The explanation "The record file, byte by byte" in the documentation is its description.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.errors import BatchUpError, ChecksumError, FileFormatError, LengthError
from batchup.sequences.collecting import Kind
from batchup.sequences.reader import checked_fields

MAGIC = b"\x8fBURECS\n"
VERSION = 1
START = struct.Struct("<8sII")  # magic, version, bytes of the head
SLOTS = (512, 1024)  # where it is told which index counts; written in turn
SLOT = struct.Struct("<QQQI")  # generation, start and bytes of the index, its CRC-32; then the CRC-32 of these
HEAD = 4096
ALIGNED = 64
MOST_INDEX = 2**31  # bytes
MOST_INDEXES = 2**63 - 1
LENGTH = np.dtype("<u4")
DTYPE = re.compile(r"[<|][biufcSUVMm][1-9]\d{0,8}(\[([1-9]\d{0,8})?[A-Za-z]{1,2}\])?")  # NumPy ends at "M8[s/0]"
PLACE = [("start", "<u8"), ("bytes", "<u8"), ("crc", "<u4"), ("lengths_crc", "<u4"), ("lengths_start", "<u8")]


class Block(NamedTuple):
    """The values of one field of some records that were written together, and their lengths.

    Attributes
    ----------
    start, bytes, crc : int
        Where the values are, and their CRC-32.
    lengths_crc, lengths_start : int
        Of the lengths, one unsigned integer of 4 bytes for each record.
    """

    start: int
    bytes: int
    crc: int
    lengths_crc: int
    lengths_start: int


@dataclass
class Index:
    """What a record file tells of itself.

    Attributes
    ----------
    fields, sequence_field, initial_index, metadata
        As of a reader.
    kinds : dict of Kind
        By field.
    counts : list of int
        Records in each segment.
    blocks : dict of list of Block
        By field: one for each segment.
    """

    fields: list[str] | None = None
    sequence_field: str | None = None
    initial_index: int = 0
    metadata: dict[str, str] = field(default_factory=dict)
    kinds: dict[str | None, Kind] = field(default_factory=dict)
    counts: list[int] = field(default_factory=list)
    blocks: dict[str | None, list[Block]] = field(default_factory=dict)

    @property
    def names(self) -> list[str | None]:
        """The fields; None if there are none."""
        return [None] if self.fields is None else list(self.fields)

    @property
    def records(self) -> int:
        """Number of records."""
        return sum(self.counts)

    def encoded(self) -> bytes:
        """Return the index as it stands in a file."""
        kinds = [self.kinds.get(name, Kind()) for name in self.names]
        meta = {
            "fields": self.fields,
            "sequence_field": self.sequence_field,
            "initial_index": self.initial_index,
            "records": self.records,
            "dtypes": [kind.dtype.newbyteorder("<").str for kind in kinds],
            "shapes": [list(kind.inner_shape) for kind in kinds],
            "known": [kind.known for kind in kinds],
            "metadata": self.metadata,
            "segments": len(self.counts),
        }
        text = json.dumps(meta, ensure_ascii=False).encode()
        table = np.empty(len(self.counts), table_type(len(kinds)))
        table["records"] = self.counts
        for number, name in enumerate(self.names):
            if self.counts:
                table["fields"][:, number] = np.array([tuple(block) for block in self.blocks[name]], PLACE)
        whole = struct.pack("<Q", len(text)) + text + table.tobytes()
        if len(whole) > MOST_INDEX:
            raise LengthError(f"metadata and {len(self.counts)} segments take {len(whole)} bytes, more than 2**31")
        return whole

    def cut(self, records: int) -> None:
        """Leave out what was added behind the first records."""
        segments = 0
        while sum(self.counts[:segments]) < records:
            segments += 1
        self.counts = self.counts[:segments]
        self.blocks = {name: blocks[:segments] for name, blocks in self.blocks.items()}

    def digest(self, records: int) -> int | None:
        """Return a checksum of the first records, which others that are added do not change; None if it is not known.

        It is made from the checksums of what is written together.
        """
        checksum = counted = 0
        for number, count in enumerate(self.counts):
            if counted == records:
                break
            counted += count
            of_segment = [count, *(tuple(self.blocks[name][number]) for name in self.names)]
            checksum = zlib.crc32(repr(of_segment).encode(), checksum)
        return checksum if counted == records else None


def table_type(fields: int) -> np.dtype[Any]:
    """Return the type of a row of the table of segments."""
    return np.dtype([("records", "<u8"), ("fields", PLACE, (fields,))])


def aligned(place: int) -> int:
    """Return the first place from here on at which a block may begin."""
    return -(-place // ALIGNED) * ALIGNED


def head() -> bytes:
    """Return the head of a file that has no index yet."""
    return START.pack(MAGIC, VERSION, HEAD).ljust(HEAD, b"\0")


def slot(generation: int, start: int, index: bytes) -> bytes:
    """Return what makes an index count."""
    text = SLOT.pack(generation, start, len(index), zlib.crc32(index))
    return text + struct.pack("<I", zlib.crc32(text))


FAULTS = (BatchUpError, ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError, struct.error)


class Committed(NamedTuple):
    """The index that counts in a file.

    Attributes
    ----------
    content : Index
        The index.
    generation : int
        How often there was a new one.
    end : int
        The first byte behind it.
    torn : int or None
        Where it is told which index counts, if that cannot be read: a newer one than this may be lost.
    """

    content: Index
    generation: int
    end: int
    torn: int | None = None


def read_index(file: BinaryIO, name: str) -> Committed:
    """Return the index that counts in a file.

    Raises
    ------
    FileFormatError
        If the file is no record file, or damaged.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(0)
    start = file.read(HEAD)
    if len(start) < START.size or START.unpack_from(start)[0] != MAGIC:
        raise FileFormatError(f"{name} is no record file: it begins with {start[:8]!r}, not with {MAGIC!r}")
    version = START.unpack_from(start)[1]
    if version != VERSION:
        raise FileFormatError(f"{name} has version {version} of the format; this release reads version {VERSION}")
    slots = {place: _slot_at(start, place) for place in SLOTS if len(start) == HEAD}
    found = max((entry for entry in slots.values() if entry is not None), default=None)
    torn = [place for place, entry in slots.items() if entry is None and any(start[place : place + SLOT.size + 4])]
    if found is None:
        raise FileFormatError(f"{name} is damaged: nothing tells where its index is")
    generation, place, length, checksum = found
    if place < HEAD or place + length > size:
        raise FileFormatError(f"{name} is cut short: it has {size} bytes, and its index ends at byte {place + length}")
    if length > MOST_INDEX:
        raise FileFormatError(f"{name} is damaged: its index would have {length} bytes")
    file.seek(place)
    text = file.read(length)
    if zlib.crc32(text) != checksum:
        raise ChecksumError(f"{name} is damaged: its index (bytes {place} to {place + length}) is not what was written")
    try:
        index = _decoded(text)
        _check_blocks(index, place)
    except FAULTS as error:
        raise FileFormatError(f"{name} is damaged: its index cannot be understood: {error}") from error
    return Committed(index, generation, place + length, *torn)


def _slot_at(start: bytes, place: int) -> tuple[int, int, int, int] | None:
    text = start[place : place + SLOT.size]
    (checksum,) = struct.unpack_from("<I", start, place + SLOT.size)
    generation, begin, length, of_index = SLOT.unpack(text)
    return (generation, begin, length, of_index) if checksum == zlib.crc32(text) and generation else None


def _decoded(text: bytes) -> Index:
    (length,) = struct.unpack_from("<Q", text)
    meta = json.loads(text[8 : 8 + length])
    fields, sequence_field = checked_fields(meta["fields"], meta["sequence_field"])
    metadata = {str(key): str(value) for key, value in meta["metadata"].items()}
    index = Index(fields, sequence_field, int(meta["initial_index"]), metadata)
    for name, dtype, shape, known in zip(index.names, meta["dtypes"], meta["shapes"], meta["known"], strict=True):
        kind = Kind(_plain(dtype), tuple(int(extent) for extent in shape), bool(known))
        if min(kind.inner_shape, default=1) < 1:
            raise ValueError(f"elements of shape {kind.inner_shape}")
        index.kinds[name] = kind
    table = np.frombuffer(text[8 + length :], table_type(len(index.names)))
    if len(table) != meta["segments"]:
        raise ValueError(f"{meta['segments']} segments, {len(table)} in the table")
    index.counts = table["records"].tolist()
    for number, name in enumerate(index.names):
        index.blocks[name] = [Block(*row) for row in table["fields"][:, number].tolist()]
    if index.records != meta["records"] or not 0 <= index.initial_index <= MOST_INDEXES - index.records:
        raise ValueError(f"{meta['records']} records from {index.initial_index} on, {index.records} in the table")
    return index


def _check_blocks(index: Index, end: int) -> None:
    """Raise if blocks do not lie before a place in the file, or could not hold what they should."""
    most = end
    for name, blocks in index.blocks.items():
        kind = index.kinds[name]
        for count, block in zip(index.counts, blocks, strict=True):
            if block.start + block.bytes > end or block.lengths_start + count * LENGTH.itemsize > end:
                raise ValueError(f"a block from byte {block.start} on would end in the index, or behind it")
            if block.bytes % kind.row:
                raise ValueError(f"a block of {block.bytes} bytes for elements of {kind.row}")
            most -= block.bytes + count * LENGTH.itemsize
    if most < 0:
        raise ValueError(f"blocks of {end - most} bytes in {end}: some lie on others")


def _plain(text: Any) -> np.dtype[Any]:
    """Return a dtype that is written as a short string: nothing structured, no Python objects."""
    if not isinstance(text, str) or not DTYPE.fullmatch(text):
        raise TypeError(f"dtype {text!r:.80}")
    dtype = np.dtype(text)
    native: np.dtype[Any] = dtype.newbyteorder("=")
    return native


def lengths_of(memory: NDArray[np.uint8], block: Block, count: int, name: str) -> NDArray[Any]:
    """Return the lengths of the records of a segment.

    Raises
    ------
    ChecksumError
        If they are not what was written.
    """
    data = memory[block.lengths_start : block.lengths_start + count * LENGTH.itemsize]
    if zlib.crc32(data.data) != block.lengths_crc:
        raise ChecksumError(
            f"{name} is damaged: the lengths of {count} records from byte {block.lengths_start} on are not what was "
            "written"
        )
    lengths: NDArray[Any] = np.frombuffer(data, LENGTH)
    return lengths
