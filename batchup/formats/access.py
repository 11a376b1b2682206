"""Files of any format, opened by their names in one line."""

from __future__ import annotations

from typing import Any

from batchup.formats.many import Tables
from batchup.formats.paths import found
from batchup.formats.registry import check_options, common_format, readable
from batchup.formats.table import Table


def open_table(*paths: Any, format: str | None = None, **options: Any) -> Table:  # noqa: A002  what users call it
    """Open files of any format: the rows of one, or of several, one file after the other.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, patterns such as ``"part-*.parquet"``, whose files are sorted by name, folders of images or
        sounds, or addresses such as ``"https://host/x.csv.gz"``. All of one format.
    format : str, optional
        What they are; by default their suffixes tell.
    **options
        Those of the format's reader, such as ``on_error="skip"``.

    Returns
    -------
    Table
        Whose `data_source` makes batches, if rows can be read in any order, and whose `blocks` reads them in order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If one is damaged, or something else than its suffix says, or has other columns than the first one.
    InvalidValueError
        If the suffix is not known, and `format` not given.
    MissingExtraError
        If the library for the format is not installed.

    Examples
    --------
    >>> import batchup
    >>> batchup.Dataset(x=np.arange(5.0), y=[0, 1, 1, 0, 1]).write.npz("five.npz")
    >>> table = batchup.open_table("five.npz")
    >>> table.rows, str(table.fields["x"])
    (5, 'float64')
    >>> for batch in table.data_source().batch_iterator(batch_size=2, shuffle=1):
    ...     print(batch)
    {'x': array([1., 3.]), 'y': array([1, 0])}
    {'x': array([0., 2.]), 'y': array([0, 1])}
    {'x': array([4.]), 'y': array([1])}
    """
    names = found(paths, folders=True)
    name = common_format(names, format)
    kind = readable(name)
    assert kind.table is not None
    check_options(kind.table, options, f"the reader of the format {name!r}")
    if len(names) == 1:
        return kind.table(names[0], **options)
    return kind.table(names, **options) if kind.together else Tables(kind.table, names, options)
