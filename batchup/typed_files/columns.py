"""Features as columns of data sources: a sample is the array of a source, or a row of all arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns import RecordColumn
from batchup.columns.files import file_status
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.typed_files.feature import Feature
from batchup.typed_files.features import VShape
from batchup.typed_files.layout import ARRAYS, SCALAR, h5py
from batchup.typed_files.regions import Arrays, Changed, Live, Regions, RegionSequences, Stored, Texts, UntilWritten

if TYPE_CHECKING:
    from batchup.typed_files.proxy import Proxy
    from batchup.typed_files.typed_file import TypedFile


def columns_of(file: TypedFile, paths: Sequence[str], by: str) -> list[Any]:
    """Return the columns of some features; see `TypedFile.data_source`.

    Raises
    ------
    InvalidValueError
        If `by` is something else, or there are no features.
    InvalidTypeError
        If one is a group.
    """
    if by not in ("id", "row"):
        raise InvalidValueError(f"by must be 'id' or 'row', got {by!r}")
    if not paths:
        raise InvalidValueError(f"{file.filename} has no features that hold arrays: add some first")
    proxies = [file.get_proxy(path) for path in paths]
    if by == "row":
        return [_until_written(proxy, lambda rows: rows) for proxy in proxies]
    places = file._contents.places([proxy.name for proxy in proxies])
    return [by_id(proxy, places) for proxy in proxies]


def by_id(proxy: Proxy, places: NDArray[np.intp]) -> Any:
    """Return a column whose samples are the arrays of some sources, which have one.

    Parameters
    ----------
    proxy : Proxy
        The feature.
    places : ndarray of int
        The places of the sources in the file.
    """
    contents = proxy.owner._contents
    with contents.use() as file:
        if proxy.is_group:
            return _of_group(proxy, places)
        dataset = contents.dataset(file, proxy.name)
        if contents.object(file, f"{proxy.name}/{ARRAYS}") is None:
            raise InvalidValueError(
                f"{proxy.name} is a plain dataset, without sources: its samples are rows (by='row')"
            )
        starts, stops = (bounds[places] for bounds in contents.all_rows(file, proxy.name))
        scalar, kind = SCALAR in dataset.attrs, dataset.dtype
    lengths = stops - starts
    if len(lengths) and (lengths != lengths[0]).any():
        regions = Texts if kind.hasobject else RegionSequences
        return regions(_until_written(proxy, lambda rows: rows), starts, stops)
    length = int(lengths[0]) if len(lengths) else 0
    length_or_none = None if scalar and length == 1 else length
    return _until_written(
        proxy, lambda rows: _in_place(rows, starts, length_or_none) or Regions(rows, starts, length_or_none)
    )


def _until_written(proxy: Proxy, samples: Callable[[Any], Any]) -> Any:
    """Return the samples made of the rows of a feature: those in the file, as long as nobody writes to it."""
    handle = proxy.owner._contents.handle
    if handle.mode == "r":
        return samples(_rows(proxy, "driver" not in handle.options))
    live = samples(_rows(proxy, False))
    with handle.use() as file:
        if file.mode != "r" or file.driver != "sec2":
            return live
    status = file_status(handle.path)
    rows = _rows(proxy, True)
    return UntilWritten(samples(rows), live, proxy, status) if isinstance(rows, RecordColumn) else live


def _of_group(proxy: Proxy, places: NDArray[np.intp]) -> Any:
    if not isinstance(proxy._own, VShape) or set(proxy.children) != {"arr", "shape_"}:
        names = ", ".join(f"{proxy.name}/{name}" for name in proxy.children)
        raise InvalidTypeError(f"{proxy.name} is a group: name its features ({names})")
    return Arrays(by_id(proxy.arr, places), by_id(proxy.shape_, places))


def _rows(proxy: Proxy, fixed: bool) -> Any:
    """Return a column over all rows of a feature, `fixed` if nobody writes to the file."""
    with proxy.owner._contents.use() as file:
        dataset = proxy.owner._contents.dataset(file, proxy.name)
        if not fixed or file.swmr_mode:
            return Live(proxy, dataset.dtype, dataset.shape)
        stored = Stored(file.filename, dataset.name, file_status(file.filename))
        text = h5py().check_string_dtype(dataset.dtype) is not None
    rows = stored.rows if isinstance(stored.rows, RecordColumn) else stored
    transforms = [*([_decoded] if text else []), *(proxy.feature.__t__ if isinstance(proxy.feature, Feature) else [])]
    return Changed(rows, transforms) if transforms else rows


def _decoded(texts: Any) -> Any:
    found = np.empty(len(texts), object)
    found[:] = [text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else text for text in texts]
    return found


def _in_place(rows: Any, starts: NDArray[np.int64], length: int | None) -> RecordColumn | None:
    """Return samples of equally many rows as one piece each; None if they are not in the file like that."""
    if not isinstance(rows, RecordColumn) or length == 0 or not len(starts):
        return None
    return rows.grouped(starts, length)
