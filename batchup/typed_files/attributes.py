"""What a file tells beside the arrays of a feature: attributes, and references to them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import numpy as np

from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.typed_files.contents import Contents, is_dataset
from batchup.typed_files.layout import REFS, h5py


class Refs:
    """The references of a feature, one for each source; see `Proxy.refs`."""

    def __init__(self, contents: Contents, name: str) -> None:
        self._contents = contents
        self._name = name

    @property
    def shape(self) -> tuple[int]:
        """Their number, in a tuple."""
        return (len(self._contents.index.names),)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, item: Any) -> Any:
        with self._contents.use() as file:
            node = self._contents.node(file, self._name)
            if node is not None and not is_dataset(node):
                raise InvalidTypeError(f"{self._name} is a group: only its features have refs")
            stored = self._contents.object(file, f"{self._name}/{REFS}")
            if stored is None and node is not None:
                raise InvalidValueError(f"{self._name} is a plain dataset: it has no sources, and no refs")
            return self._all(stored)[item]

    def _all(self, stored: Any) -> Any:
        """Return a reference for each source; null ones behind those that are there."""
        count = len(self)
        if stored is not None and len(stored) == count:
            return stored
        refs = np.full(count, h5py().RegionReference(), h5py().regionref_dtype)
        if stored is not None:
            refs[: len(stored)] = stored[:count]
        return refs


class Attributes(MutableMapping[str, Any]):
    """The attributes of something in a file."""

    def __init__(self, contents: Contents, name: str) -> None:
        self._contents = contents
        self._name = name

    def __getitem__(self, key: str) -> Any:
        with self._contents.use() as file:
            value = self._stored(file)[key]
            return None if isinstance(value, h5py().Empty) else value

    def __setitem__(self, key: str, value: Any) -> None:
        with self._contents.use(writing=True) as file:
            if file.swmr_mode:
                raise InvalidValueError("attributes cannot be written while others read the file (SWMR)")
            write_attribute(file.require_group(self._name).attrs, key, value)

    def __delitem__(self, key: str) -> None:
        with self._contents.use(writing=True) as file:
            del self._stored(file)[key]

    def __iter__(self) -> Iterator[str]:
        with self._contents.use() as file:
            return iter(list(self._stored(file)))

    def __len__(self) -> int:
        with self._contents.use() as file:
            return len(self._stored(file))

    def __repr__(self) -> str:
        return repr(dict(self))

    def _stored(self, file: Any) -> Any:
        node = file if self._name == "/" else self._contents.object(file, self._name)
        return {} if node is None else node.attrs


def write_attribute(attrs: Any, key: str, value: Any) -> None:
    """Write an attribute; None as the empty value of HDF5, lists of text as texts.

    Raises
    ------
    InvalidTypeError
        If HDF5 cannot have it.
    """
    if value is None:
        value = h5py().Empty("S10")
    elif isinstance(value, (list, tuple)) and value and all(isinstance(text, str) for text in value):
        value = np.array(value, h5py().string_dtype())
    try:
        attrs[key] = value
    except TypeError as error:
        raise InvalidTypeError(f"HDF5 cannot hold the attribute {key}={value!r}: {error}") from error
