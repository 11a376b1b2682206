"""A picture of what is in a typed file: features against the ids of sources."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from batchup.typed_files.contents import Contents, is_dataset
from batchup.typed_files.feature import leaves
from batchup.typed_files.features import TensorDict, VShape
from batchup.typed_files.layout import ARRAYS, REFS, SOURCES

if TYPE_CHECKING:
    from batchup.typed_files.typed_file import TypedFile

WIDTH = 24  # of a column, at most
Row = tuple[str, "list[str] | None"]  # a label; the cells, None for a group


def picture(file: TypedFile, width: int | None = None) -> str:
    """Return the picture, as wide as the terminal; where there are many ids, of the first and the last ones.

    Examples
    --------
    >>> from batchup import typed_files as h5m
    >>> file = h5m.typedfile("Experiment", {})("experiment.h5", "w")
    >>> file = file.add("planes/01.jpeg", {"data": {"images": np.zeros((32, 32)), "labels": [1]}})
    >>> file = file.add("train", {"logs": {"loss": np.zeros(10_000)}})
    >>> file.info()
    <Experiment 'experiment.h5'>
    ----------------------------------------------> sources' ids axis (2)
    |               'planes/01.jpeg'   'train'
    |
    |  data/
    |    images/    (32, 32)           None
    |    labels/    (1,)               None
    |  logs/
    |    loss/      None               (10000,)
    V
    features axis
    """
    ids = file.index.names
    shown = _shown_places(len(ids), (width or shutil.get_terminal_size().columns) // WIDTH)
    with file._contents.use() as opened:
        empty = {path for path, feature in leaves(file._schema) if not isinstance(feature, (VShape, TensorDict))}
        rows = list(_rows(file._contents, opened, opened, "", shown, empty))
    heads = ["..." if place is None else repr(_short(ids[place])) for place in shown]
    return _drawn(repr(file), len(ids), heads, rows)


def _shown_places(count: int, columns: int) -> list[int | None]:
    """Return the places of the ids that are shown; None stands for those in between."""
    most = max(columns - 1, 2)
    if count <= most:
        return list(range(count))
    return [*range(most - 1), None, count - 1]


def _short(text: str) -> str:
    return text if len(text) <= WIDTH - 5 else "..." + text[8 - WIDTH :]


def _rows(contents: Contents, opened: Any, group: Any, prefix: str, shown: list[int | None], empty: set[str]) -> Any:
    """Yield the rows of what is in a group."""
    for name in group:
        path = prefix + name
        if name in (ARRAYS, REFS, SOURCES):
            continue
        label = "  " * (path.count("/") + 1) + name
        node = contents.object(opened, path)
        if is_dataset(node):
            yield label, [f"{node.dtype} {node.shape}"]
        elif node is not None and ARRAYS in node:
            yield label + "/", [_cell(contents, opened, path, place) for place in shown]
        elif node is not None and not len(node) and path in empty:
            yield label + "/", ["None"] * len(shown)
        else:
            yield label + "/", None
            if node is not None:
                yield from _rows(contents, opened, node, f"{path}/", shown, empty)


def _cell(contents: Contents, opened: Any, path: str, place: int | None) -> str:
    if place is None:
        return "..."
    dataset, rows = contents.dataset(opened, path), contents.rows(opened, path, place)
    return "None" if rows is None else str((rows[1] - rows[0], *dataset.shape[1:]))


def _drawn(title: str, count: int, heads: list[str], rows: list[Row]) -> str:
    left = max([len(label) for label, _ in rows], default=0) + 4
    cells = [heads, *(cells for _, cells in rows if cells is not None and len(cells) == len(heads))]
    widths = [max(len(row[column]) for row in cells) + 3 for column in range(len(heads))]
    lines = [title, "-" * (1 + left + sum(widths)) + f"> sources' ids axis ({count})"]
    lines += ["|" + " " * left + _joined(heads, widths), "|"]
    for label, found in rows:
        lines.append("|" + label.ljust(left) + _joined(found or [], widths))
    return "".join(line.rstrip() + "\n" for line in [*lines, "V", "features axis"])


def _joined(cells: list[str], widths: list[int]) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
