"""Files divided into several: into pieces of so many rows, or into shares that are drawn."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.columns import Ragged
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.formats.ahead import read_ahead
from batchup.formats.convert import check_absent
from batchup.formats.progress import progress
from batchup.formats.registry import format_of, writable
from batchup.formats.rows import Sink
from batchup.formats.table import Block, Table, length_of, part_of
from batchup.formats.together import together

DRAWN = 2**16  # rows whose parts are drawn together, whatever the blocks are
MOST_CLASSES = 10_000
MOST = 10**9  # rows that NumPy draws from without putting them back


def split_rows(
    table: Table, pattern: str, rows: int, *, target: str | None = None, overwrite: bool = False, bar: Any = None
) -> list[tuple[str, int]]:
    """Write a table into files of so many rows, the last of which may have fewer.

    All files take their names when all are whole; if it fails, those that were there before stay as they were.

    Parameters
    ----------
    table : Table
        What is read.
    pattern : str
        The names of the files, with a place for their number, counted from 0: ``"part-{:05d}.parquet"``.
    rows : int
        How many rows a file has.
    target : str, optional
        The format; by default the suffix tells.
    overwrite : bool, default False
        Whether files of these names may be there already.
    bar : callable, optional
        Makes a bar, as `tqdm.tqdm` does.

    Returns
    -------
    list of (str, int)
        The files, and how many rows each has.

    Examples
    --------
    >>> import batchup
    >>> batchup.Dataset(x=np.arange(5)).write.npz("five.npz")
    >>> batchup.formats.split_rows(batchup.open_table("five.npz"), "part-{}.npz", 2)
    [('part-0.npz', 2), ('part-1.npz', 2), ('part-2.npz', 1)]
    """
    whole_number(rows, "rows", 1)
    _check_pattern(pattern)
    kind = writable(format_of(pattern.format(0), target))
    assert kind.sink is not None
    written: dict[str, int] = {}
    with together() as files, closing(read_ahead(table.blocks())) as blocks, progress(table, bar) as tick:
        for piece in _pieces(blocks, rows):
            name = pattern.format(len(written))
            if name in written:
                raise InvalidValueError(f"the names of the files must all differ, got {name!r} twice from {pattern!r}")
            check_absent(name, overwrite)
            written[name] = 0
            with files.opened(kind.sink, name, table.fields, meta=table.meta) as write:
                for block in piece:
                    write(block)
                    written[name] += length_of(block)
                    tick(length_of(block))
    return list(written.items())


def split_shares(
    table: Table,
    outs: Sequence[str],
    shares: Sequence[float],
    *,
    seed: int,
    stratify: str | None = None,
    target: str | None = None,
    overwrite: bool = False,
    bar: Any = None,
) -> list[tuple[str, int]]:
    """Write each row of a table into one of several files, which is drawn; rows keep their order.

    What is drawn follows from the seed and the number of rows, not from the format. All files take their names
    when all are whole. If the number of rows is not known, or classes are to be counted, the table is read twice.

    Parameters
    ----------
    table : Table
        What is read.
    outs : sequence of str
        The files.
    shares : sequence of float
        The share of rows of each; together 1. The numbers of rows are rounded.
    seed : int
        What is drawn from.
    stratify : str, optional
        A column of classes, whose shares each file is to mirror.
    target : str, optional
        The format of the files; by default their suffixes tell.
    overwrite, bar
        As for `split_rows`.

    Returns
    -------
    list of (str, int)
        The files, and how many rows each has.

    Examples
    --------
    >>> import batchup
    >>> batchup.Dataset(x=np.arange(100), y=np.arange(100) % 2).write.npz("all.npz")
    >>> table = batchup.open_table("all.npz")
    >>> batchup.formats.split_shares(table, ["train.npz", "test.npz"], [0.8, 0.2], seed=1, stratify="y")
    [('train.npz', 80), ('test.npz', 20)]
    """
    whole_number(seed, "seed")
    if isinstance(outs, str) or not outs or len(outs) != len(shares) or len(set(outs)) != len(outs):
        raise InvalidValueError(f"each share needs a file of its own, got {len(shares)} shares and the files {outs!r}")
    _check_different(outs)
    sinks = [_sink_of(out, target, overwrite) for out in outs]
    counts = _counted(table, stratify, bar)
    sizes = _sizes([*counts.values()], shares)
    owners = {label: Owners(each, seed, number) for number, (label, each) in enumerate(zip(counts, sizes, strict=True))}
    done = [0] * len(outs)
    with together() as files, ExitStack() as stack:
        writes = [
            stack.enter_context(files.opened(sink, out, table.fields, meta=table.meta))
            for sink, out in zip(sinks, outs, strict=True)
        ]
        blocks = stack.enter_context(closing(read_ahead(table.blocks())))
        tick = stack.enter_context(progress(table, bar))
        for block in blocks:
            owner = _owners(block, stratify, owners)
            for number in np.unique(owner).tolist():
                part = chosen_rows(block, np.flatnonzero(owner == number))
                writes[number](part)
                done[number] += length_of(part)
            tick(length_of(block))
    return list(zip(outs, done, strict=True))


class Owners:
    """To which part each of some rows belongs, in their order: drawn, so that each part gets just its number.

    Parameters
    ----------
    sizes : sequence of int
        How many rows each part gets.
    *key : int
        What is drawn from.

    Examples
    --------
    >>> owners = Owners([3, 1], 7)
    >>> np.concatenate([owners.next(3), owners.next(1)]).tolist()
    [0, 0, 0, 1]
    """

    def __init__(self, sizes: Sequence[int], *key: int) -> None:
        self._left = np.array(sizes, np.int64)
        if self._left.sum() >= MOST:
            raise InvalidValueError(f"{self._left.sum()} rows are too many to draw from: {MOST - 1} can be")
        self._rng = np.random.default_rng(list(key))
        self._drawn: NDArray[np.intp] = np.empty(0, np.intp)

    def next(self, count: int) -> NDArray[np.intp]:
        """Return the parts of the next rows."""
        parts = [self._drawn]
        have = len(self._drawn)
        while have < count:
            parts.append(self._more())
            have += len(parts[-1])
        together = np.concatenate(parts)
        self._drawn = together[count:]
        return together[:count]

    def _more(self) -> NDArray[np.intp]:
        count = min(DRAWN, int(self._left.sum()))
        if not count:
            raise InvalidValueError("there are more rows than were counted: the file has changed meanwhile")
        drawn = self._rng.multivariate_hypergeometric(self._left, count, method="marginals")
        self._left -= drawn
        return self._rng.permutation(np.repeat(np.arange(len(drawn)), drawn))


def chosen_rows(block: Block, places: NDArray[np.intp]) -> Block:
    """Return some rows of a block."""
    return {
        name: values.gather(places) if isinstance(values, Ragged) else values[places] for name, values in block.items()
    }


def _pieces(blocks: Iterator[Block], rows: int) -> Iterator[Iterator[Block]]:
    """Yield, for each piece of so many rows, an iterator over parts of blocks, which is to be used up."""
    left: list[Block] = []

    def piece() -> Iterator[Block]:
        count = 0
        while count < rows:
            block = left.pop() if left else next(blocks, None)
            if block is None:
                return
            taken = min(rows - count, length_of(block))
            if taken < length_of(block):
                left.append(part_of(block, taken, length_of(block)))
            yield part_of(block, 0, taken)
            count += taken

    while True:
        first = left.pop() if left else next((block for block in blocks if length_of(block)), None)
        if first is None:
            return
        left.append(first)
        yield piece()


def _counted(table: Table, stratify: str | None, bar: Any) -> dict[Any, int]:
    """Return the number of rows by class, in the order in which classes come first; of all, if there are none."""
    if stratify is None and table.rows is not None:
        return {None: table.rows}
    if stratify is not None and (table.chosen([stratify]) and table.fields[stratify].shape):
        raise InvalidTypeError(f"stratify= is a column of classes, and {stratify!r} is {table.fields[stratify]}")
    counts: dict[Any, int] = {}
    with progress(table, bar) as tick:
        for block in table.blocks(None if stratify is None else [stratify]):
            if stratify is None:
                counts[None] = counts.get(None, 0) + length_of(block)
            else:
                for label in _labels(block, stratify):
                    counts[label] = counts.get(label, 0) + 1
                if len(counts) > MOST_CLASSES:
                    raise InvalidValueError(f"stratify={stratify!r}: it has more than {MOST_CLASSES} different values")
            tick(length_of(block))
    return counts


def _sizes(counts: Sequence[int], shares: Sequence[float]) -> list[list[int]]:
    """Return how many rows of each class each part gets: what is rounded off in one is made up for in the next.

    >>> _sizes([34, 33, 33], [0.8, 0.2])
    [[27, 7], [27, 6], [26, 7]]
    """
    if not all(0 <= share <= 1 for share in shares) or not math.isclose(sum(shares), 1, abs_tol=1e-9):
        raise InvalidValueError(f"shares must be at least 0, and come to 1, got {list(shares)}")
    found = []
    owed = np.zeros(len(shares))
    for count in counts:
        wanted = owed + np.array(shares) * count
        sizes = np.maximum(np.floor(wanted), 0)
        while sizes.sum() < count:
            sizes[np.argmax(wanted - sizes)] += 1
        while sizes.sum() > count:
            sizes[np.argmax(np.where(sizes > 0, sizes - wanted, -np.inf))] -= 1
        owed = wanted - sizes
        found.append([int(size) for size in sizes])
    return found


def _owners(block: Block, stratify: str | None, owners: Mapping[Any, Owners]) -> NDArray[np.intp]:
    """Return to which part each row of a block belongs."""
    if stratify is None:
        return owners[None].next(length_of(block))
    labels = _labels(block, stratify)
    places: dict[Any, list[int]] = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    found = np.empty(len(labels), np.intp)
    for label, where in places.items():
        if label not in owners:
            raise InvalidValueError(f"there was no {label!r} when classes were counted: the file has changed")
        found[where] = owners[label].next(len(where))
    return found


def _labels(block: Block, stratify: str) -> list[Any]:
    """Return the classes of rows; what is no number is one class, though nan is not nan."""
    labels = block[stratify].tolist()
    return [label if label == label else math.nan for label in labels] if block[stratify].dtype.kind == "f" else labels


def _sink_of(out: str, target: str | None, overwrite: bool) -> Sink:
    """Return what writes a file, which may be written."""
    kind = writable(format_of(out, target))
    check_absent(out, overwrite)
    assert kind.sink is not None
    return kind.sink


def _check_different(outs: Sequence[str]) -> None:
    known: dict[str, str] = {}
    for out in outs:
        other = known.setdefault(os.path.realpath(out), out)
        if other is not out:
            raise InvalidValueError(f"{other} and {out} are the same file: each share needs one of its own")


def _check_pattern(pattern: str) -> None:
    try:
        different = pattern.format(0) != pattern.format(1)
    except (IndexError, KeyError, ValueError, AttributeError, TypeError):
        different = False
    if not different:
        raise InvalidValueError(
            f"the names of the files need a place for their number, such as 'part-{{:05d}}.npz', got {pattern!r}"
        )
