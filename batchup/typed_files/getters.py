"""How a sample is taken from a feature, or an array, and put back: by id, as a slice, as overlapping frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup._numbers import whole_number
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.typed_files.columns import by_id, columns_of
from batchup.typed_files.proxy import Proxy


@dataclass
class Getter:
    """Takes the item itself: row `item` of the feature. Subclass it and define `__call__` for samples of your own.

    Attributes
    ----------
    n : int or None
        How many items there are; the length of the feature unless it is set.
    """

    n: int | None = field(default=None, init=False)

    def __call__(self, proxy: Any, item: int) -> Any:
        """Return a sample of a feature, or an array."""
        return np.array(proxy[item])

    def __len__(self) -> int:
        if self.n is None:
            raise InvalidValueError(f"{type(self).__name__} has no length before serve() has told it one")
        return self.n

    def count(self, data: Any) -> int:
        """Return how many items there are in a feature, or an array."""
        return len(data) if self.n is None else self.n

    def gathered(self, data: Any, items: NDArray[np.intp]) -> Any:
        """Return many samples, stacked if they are equally large."""
        if type(self).__call__ is not Getter.__call__:
            return together([self(data, int(item)) for item in items])
        return self.column(data).gather(items)

    def column(self, data: Any) -> Any:
        """Return the column that samples are read from; it is made once in a process, and handed on when that forks."""
        if getattr(self, "_column", None) is None:
            self._column = self._made(data)
        return self._column

    def _made(self, data: Any) -> Any:
        """Return the rows of a feature, or of an array."""
        return columns_of(data.owner, [data.name], "row")[0] if isinstance(data, Proxy) else _Plain(data)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_column", "_known")}


@dataclass
class GetId(Getter):
    """Takes the array of a source; the items are the sources that have one."""

    def __call__(self, proxy: Any, item: int) -> Any:
        return proxy.get(proxy.owner.index.names[self._places(proxy)[item]])

    def _places(self, proxy: Any) -> NDArray[np.intp]:
        """Return the places of the sources that have an array; looked up once."""
        known: tuple[Any, NDArray[np.intp]] | None = getattr(self, "_known", None)
        if known is None or known[0] is not proxy:
            known = self._known = (proxy, proxy.owner._contents.places([proxy.name]))
        return known[1]

    def count(self, data: Any) -> int:
        if not isinstance(data, Proxy):
            raise InvalidTypeError(f"GetId takes a feature of a file, got {type(data).__name__}")
        return len(data.sources)

    def gathered(self, data: Any, items: NDArray[np.intp]) -> Any:
        if type(self).__call__ is not GetId.__call__:
            return super().gathered(data, items)
        samples = self.column(data).gather(items)
        return samples if isinstance(samples, np.ndarray) else together(list(samples))

    def _made(self, data: Any) -> Any:
        return by_id(data, self._places(data))


@dataclass
class AsSlice(Getter):
    """Takes a slice from place `item` on: of rows, or along another axis.

    Several of them in a batch agree on the places: item `i` begins at `i * downsampling + shift` in each; if a shift
    is negative, all begin as much later as it takes for every slice to lie in the data.

    Parameters
    ----------
    dim : int, default 0
        The axis.
    shift : int, default 0
        How far behind the place the slice begins.
    length : int, default 1
        How long it is.
    downsampling : int, default 1
        How many places lie between items.
    """

    dim: int = 0
    shift: int = 0
    length: int = 1
    downsampling: int = 1

    def __post_init__(self) -> None:
        whole_number(self.dim, "dim")
        whole_number(self.length, "length", 1)
        whole_number(self.downsampling, "downsampling", 1)
        self.later = max(0, -self.shift)

    def __call__(self, proxy: Any, item: int) -> Any:
        start = item * self.downsampling + self.shift + self.later
        return np.array(proxy[(slice(None),) * self.dim + (slice(start, start + self.length),)])

    def count(self, data: Any) -> int:
        size = data.shape[self.dim] if self.n is None else self.n
        places = size - self.later - max(self.shift + self.length - 1, 0)
        return max(0, -(-places // self.downsampling))

    def gathered(self, data: Any, items: NDArray[np.intp]) -> Any:
        if self.dim or type(self).__call__ not in (AsSlice.__call__, AsFramedSlice.__call__):
            return together([self(data, int(item)) for item in items])
        starts = items * self.downsampling + self.shift + self.later
        rows = np.ascontiguousarray((starts[:, None] + np.arange(self.length)).reshape(-1), np.intp)
        found = self.column(data).gather(rows)
        return found.reshape(len(items), self.length, *found.shape[1:])

    def shift_and_length_to_samples(self, frame_length: int, hop_length: int, center: bool = False) -> tuple[int, int]:
        """Return shift and length in samples, taken for counts of frames."""
        extra = -hop_length if center else (frame_length // hop_length - 1) * hop_length
        return self.shift * hop_length, self.length * hop_length + extra


@dataclass
class AsFramedSlice(AsSlice):
    """Takes a slice as overlapping frames, of shape (frames, frame_size).

    Parameters
    ----------
    dim : int, default 0
        Must be 0.
    shift : int, default 0
        In rows.
    length : int, default 1
        In frames, if `hop_length` is not `frame_size`; else in rows.
    frame_size : int, default 1
        Length of a frame.
    hop_length : int, default 1
        How many rows lie between the beginnings of frames.
    center : bool, default False
        Whether half a frame is padded at both ends.
    pad_mode : str, default 'reflect'
        Of `numpy.pad`.
    downsampling : int, default 1
        As in `AsSlice`.
    """

    frame_size: int = 1
    hop_length: int = 1
    center: bool = False
    pad_mode: Any = "reflect"

    def __post_init__(self) -> None:
        whole_number(self.frame_size, "frame_size", 1)
        whole_number(self.hop_length, "hop_length", 1)
        if self.hop_length != self.frame_size:
            padded = self.frame_size // 2 * 2 if self.center else 0
            self.length = (self.length - 1) * self.hop_length + self.frame_size - padded
        super().__post_init__()
        if self.dim:
            raise InvalidValueError(f"AsFramedSlice takes frames of rows (dim=0), got dim={self.dim}")

    def __call__(self, proxy: Any, item: int) -> Any:
        return self._framed(super().__call__(proxy, item)[None])[0]

    def gathered(self, data: Any, items: NDArray[np.intp]) -> Any:
        return self._framed(super().gathered(data, items))

    def _framed(self, slices: NDArray[Any]) -> NDArray[Any]:
        """Return many slices as frames."""
        if self.center:
            half = self.frame_size // 2
            slices = np.pad(slices, [(0, 0), (half, half), *[(0, 0)] * (slices.ndim - 2)], self.pad_mode)
        frames = np.lib.stride_tricks.sliding_window_view(slices, self.frame_size, axis=1)
        return np.ascontiguousarray(frames[:, :: self.hop_length])


@dataclass
class Setter:
    """Writes a value to the places behind (or before) an item.

    Parameters
    ----------
    dim : int, default 0
        The axis.
    after_item : bool, default True
        Whether the value begins at the item, or ends before it.
    """

    dim: int = 0
    after_item: bool = True

    def __call__(self, data: Any, item: int, value: Any) -> int:
        """Write; return how many places were written to."""
        size = int(value.shape[self.dim])
        start = item if self.after_item else item - size
        if start < 0:
            raise InvalidValueError(f"a value of {size} does not fit before item {item}")
        data[(slice(None),) * self.dim + (slice(start, start + size),)] = value
        return size


class Items:
    """Samples that are made many at a time, as an array-like.

    Parameters
    ----------
    gathered : callable
        ``gathered(items)`` returns them.
    length : int
        How many there are.
    """

    def __init__(self, gathered: Any, length: int) -> None:
        self._gathered = gathered
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        return self.gather(np.atleast_1d(np.asarray(index, np.intp)))

    def gather(self, indices: NDArray[np.intp], out: NDArray[Any] | None = None) -> Any:
        """Return samples."""
        return self._gathered(indices)


class _Plain:
    """An array in the place of a feature."""

    def __init__(self, data: Any) -> None:
        self._data = np.asarray(data)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        return self._data[indices]


def together(samples: list[Any]) -> Any:
    """Return samples stacked; a list of them, if they are of different shapes or no arrays."""
    arrays = [np.asarray(sample) for sample in samples]
    alike = len({(array.shape, array.dtype) for array in arrays}) == 1
    return np.stack(arrays) if alike and not hasattr(samples[0], "detach") else samples
