"""Several files of one format as one table: the rows of one behind those of the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeAlias

from batchup.columns.joined import joined
from batchup.errors import FileFormatError
from batchup.formats.table import Block, Field, Table, shown

Opener: TypeAlias = Callable[..., Table]  # called with a path, and with options by name


class Tables(Table):
    """The rows of files, one file after the other. It keeps none of them open, and can be pickled.

    Parameters
    ----------
    opener : callable
        Returns the `Table` of a path: a class, or a function of a module, so that it can be pickled.
    paths : sequence of str
        Names of the files.
    options : mapping, optional
        For `opener`.

    Raises
    ------
    FileFormatError
        If a file is damaged, or has other columns than the first one.
    """

    def __init__(self, opener: Opener, paths: Sequence[str], options: Mapping[str, Any] | None = None) -> None:
        self.opener = opener
        self.paths = tuple(paths)
        self.options = dict(options or {})
        self._expected: dict[str, Field] | None = None
        rows: list[int | None] = []
        meta: dict[str, Any] = {}
        for path in self.paths:
            with closing(self._opened(path)) as table:
                self._expected = self._expected or table.fields
                rows.append(table.rows)
                meta = meta or table.meta
        counts = [count for count in rows if count is not None]
        super().__init__(
            self.paths[0] + (f" and {len(rows) - 1} more" if len(rows) > 1 else ""),
            self._expected or {},
            sum(counts) if len(counts) == len(rows) else None,
            meta,
            self.options.get("on_error", "raise"),
        )

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        wanted = self.chosen(names)
        for path in self.paths:
            with closing(self._opened(path)) as table:
                yield from table.blocks(wanted)
                self._note(table)

    def columns(self) -> dict[str, Any] | None:
        parts = []
        for path in self.paths:
            with closing(self._opened(path)) as table:
                columns = table.columns()
                if columns is None:
                    return None
                parts.append(columns)
                self._note(table)
        return {name: joined([part[name] for part in parts]) for name in self.fields}

    def check(self) -> Iterator[FileFormatError]:
        for path in self.paths:
            with closing(self._opened(path)) as table:
                yield from table.check()

    def _note(self, table: Table) -> None:
        for problem in table.problems:
            self.problem(problem)

    def _opened(self, path: str) -> Table:
        table = self.opener(path, **self.options)
        if self._expected is not None and table.fields != self._expected:
            table.close()
            raise FileFormatError(f"{path} has {shown(table.fields)}, but {self.paths[0]} has {shown(self._expected)}")
        return table
