"""Batches served from the features of a file, in the form of an object that holds inputs and targets."""

from __future__ import annotations

import copy
import importlib.util
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.typed_files.getters import AsSlice, Getter, Setter, together

if TYPE_CHECKING:
    from batchup.typed_files.typed_file import TypedFile


class Input:
    """What one part of a batch is made of: a feature, how a sample is taken from it, what is done with it.

    Parameters
    ----------
    data : str, Proxy or ndarray
        The path of a feature, a feature, or an array.
    getter : Getter, optional
        Takes a sample; a row by default.
    setter : Setter, optional
        What `set` writes with.
    transform : callable, optional
        Is given each sample, and returns what is to take its place.
    to_tensor : bool, default False
        Whether `transform` is given tensors of PyTorch.
    key : str, optional
        Another name for `data`.
    """

    def __init__(
        self,
        data: Any = None,
        getter: Getter | None = None,
        setter: Setter | None = None,
        transform: Callable[[Any], Any] | None = None,
        to_tensor: bool = False,
        *,
        key: str | None = None,
    ) -> None:
        if (data is None) == (key is None):
            raise InvalidValueError(f"{type(self).__name__} needs one of key='data/images' and data=...")
        self.data = key if data is None else data
        self.getter = Getter() if getter is None else getter
        if not isinstance(self.getter, Getter):
            raise InvalidTypeError(f"getter must be a Getter, got {type(self.getter).__name__}")
        self.setter = setter
        self.transform = transform
        self.to_tensor = to_tensor

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.data!r}, {self.getter!r})"

    def __len__(self) -> int:
        return len(self.getter)

    def __call__(self, item: int) -> Any:
        """Return a sample."""
        return self._transformed([self.getter(self.data, item)])[0]

    def set(self, key: int, value: Any) -> int:
        """Write a value; return how many places were written to."""
        return (self.setter or Setter())(self.data, key, value)

    def gathered(self, items: NDArray[np.intp]) -> Any:
        """Return many samples: an array, or a list."""
        samples = self.getter.gathered(self.data, items)
        if self.transform is None and not self.to_tensor:
            return samples
        return together(self._transformed(list(samples)))

    def bound(self, file: TypedFile, later: int = 0) -> Input:
        """Return a copy for a file."""
        made = copy.copy(self)
        made.getter = copy.copy(self.getter)
        made.data = file.get_proxy(self.data) if isinstance(self.data, str) else self.data
        if isinstance(made.getter, AsSlice):
            made.getter.later = max(later, made.getter.later)
        made.getter.n = made.getter.count(made.data)
        made.getter.column(made.data)
        return made

    def _transformed(self, samples: list[Any]) -> list[Any]:
        if self.to_tensor:
            samples = [required("torch", "torch", "to_tensor=True").from_numpy(np.asarray(part)) for part in samples]
        return samples if self.transform is None else [self.transform(sample) for sample in samples]


class Target(Input):
    """The same as an `Input`, for what a network is to learn, or writes with `set`."""


def serve(file: TypedFile, batch: Any, *, framework: str | None = None, **loader_kwargs: Any) -> Any:
    """Return a loader of batches of a form.

    Parameters
    ----------
    file : TypedFile
        Where features that are named by their paths are.
    batch : dict, tuple, list or named tuple
        The form: `Input` and `Target` in it, at any depth, are replaced by their samples. The items are counted from 0,
        up to those of the input with the fewest.
    framework : {'torch', 'numpy'}, optional
        Whose loader: a `torch.utils.data.DataLoader` of tensors, or one of this library, of arrays. By default that of
        PyTorch, if it is installed.
    **loader_kwargs
        Of the DataLoader. The other one takes `batch_size`, `shuffle`, `num_workers` (threads) and `drop_last` of them,
        and all that `batchup.loader` takes. Without an accelerator, `pin_memory` is left out.

    Raises
    ------
    InvalidTypeError
        If there is no input in the form, or an unknown argument.
    """
    if framework not in (None, "torch", "numpy"):
        raise InvalidValueError(f"framework must be 'torch' or 'numpy', got {framework!r}")
    inputs = list(_inputs_in(batch))
    if not inputs:
        raise InvalidTypeError(f"the batch object must hold Input(...) or Target(...), got {batch!r}")
    later = max(part.getter.later if isinstance(part.getter, AsSlice) else 0 for part in inputs)
    form = _replaced(batch, lambda part: part.bound(file, later))
    if framework == "numpy" or (framework is None and importlib.util.find_spec("torch") is None):
        return Batches(form, **loader_kwargs)
    return _torch_loader(form, loader_kwargs)


def _torch_loader(form: Any, options: dict[str, Any]) -> Any:
    torch = required("torch", "torch", "framework='torch'")
    if options.get("pin_memory") and not torch.accelerator.is_available():
        options["pin_memory"] = False
    whole = "collate_fn" not in options and options.get("batch_size", 1) is not None
    if whole:
        options["collate_fn"] = _as_it_is
    return required("torch.utils.data", "torch", "framework='torch'").DataLoader(Served(form, whole), **options)


class Served:
    """The items of a form, as a dataset of PyTorch.

    Parameters
    ----------
    form
        A batch object, whose inputs are bound to a file.
    whole : bool
        Whether `__getitems__` returns a batch, in place of a list of items.
    """

    def __init__(self, form: Any, whole: bool) -> None:
        self._form = form
        self._whole = whole
        self._length = min(len(part) for part in _inputs_in(form))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> Any:
        if not -len(self) <= item < len(self):
            raise IndexError(f"item {item} is out of range for {len(self)}")
        return _replaced(self._form, lambda part: _as_tensor(part(int(item) % len(self))))

    def __getitems__(self, items: Sequence[int]) -> Any:
        if not self._whole:
            return [self[item] for item in items]
        places = np.asarray(items, np.intp)
        return _replaced(self._form, lambda part: _as_tensors(part.gathered(places)))


class Batches:
    """The batches of a form, epoch after epoch; an iteration is one.

    Parameters
    ----------
    form
        A batch object, whose inputs are bound to a file.
    batch_size : int, default 1
        Items in a batch.
    shuffle : bool, int, RandomState or Generator, default False
        As in `batch_iterator`; with an int, each epoch has an order of its own.
    num_workers : int, default 0
        Threads that make batches ahead of need.
    drop_last : bool, default False
        Whether a last batch that is not full is left out.
    **keywords
        Of `batchup.loader`.
    """

    def __init__(
        self,
        form: Any,
        batch_size: int = 1,
        shuffle: Any = False,
        num_workers: int = 0,
        drop_last: bool = False,
        pin_memory: bool = False,
        **keywords: Any,
    ) -> None:
        from batchup.data_source import ArrayDataSource
        from batchup.loaders import Loader
        from batchup.typed_files.getters import Items

        unknown = set(keywords) - set(inspect.signature(Loader).parameters) - _OF_ITERATORS
        if unknown:
            raise InvalidTypeError(f"serve(..., framework='numpy') takes no {', '.join(sorted(unknown))}")
        inputs = list(_inputs_in(form))
        length = min(len(part) for part in inputs)
        self._form = form
        if drop_last:
            keywords["tail"] = "drop"
        source = ArrayDataSource([Items(part.gathered, length) for part in inputs])
        self.loader = Loader(source, batch_size, shuffle, workers=num_workers, **keywords)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            parts = iter(batch)
            yield _replaced(self._form, partial(_next, parts))

    def state_dict(self) -> dict[str, Any]:
        """Return where the epoch under way stands."""
        return self.loader.state_dict()

    def load_state_dict(self, state: Any) -> None:
        """Make the next iteration go on where a state was taken."""
        self.loader.load_state_dict(state)


_OF_ITERATORS = {"tail", "shard", "on_error", "max_errors", "trace", "copy", "epoch"}


def _next(parts: Iterator[Any], part: Input) -> Any:
    return next(parts)


def _inputs_in(form: Any) -> Iterator[Input]:
    if isinstance(form, Input):
        yield form
    elif isinstance(form, (Mapping, list, tuple)):
        for part in form.values() if isinstance(form, Mapping) else form:
            yield from _inputs_in(part)


def _replaced(form: Any, function: Callable[[Input], Any]) -> Any:
    """Return a form with something else in the place of each input."""
    if isinstance(form, Input):
        return function(form)
    if isinstance(form, Mapping):
        return {key: _replaced(part, function) for key, part in form.items()}
    if isinstance(form, tuple) and hasattr(form, "_fields"):
        return type(form)(*(_replaced(part, function) for part in form))
    if isinstance(form, (list, tuple)):
        return type(form)(_replaced(part, function) for part in form)
    return form


def _as_it_is(batch: Any) -> Any:
    return batch


def _as_tensors(samples: Any) -> Any:
    """Return a batch as a tensor; a list, if its samples are of different shapes, or texts."""
    if isinstance(samples, np.ndarray):
        return _as_tensor(samples)
    tensors = [_as_tensor(sample) for sample in samples]
    torch = required("torch", "torch", "framework='torch'")
    alike = all(isinstance(one, torch.Tensor) and one.shape == tensors[0].shape for one in tensors)
    return torch.stack(tensors) if alike and tensors else tensors


def _as_tensor(data: Any) -> Any:
    if not isinstance(data, (np.ndarray, np.generic)):
        return data
    array = np.asarray(data)
    if array.dtype.kind in "OUSV":
        return array.tolist()
    return required("torch", "torch", "framework='torch'").from_numpy(array if array.flags.writeable else array.copy())
