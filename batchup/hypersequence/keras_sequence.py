"""Batches of a .hsq file for `model.fit` of Keras 3."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchup.errors import InvalidTypeError, MissingExtraError
from batchup.hypersequence.sequence import HyperSequence, HyperSequenceView

try:
    from keras.utils import PyDataset
except ImportError as error:
    raise MissingExtraError('KerasSequence needs Keras 3: pip install "batchup[keras]"') from error


class KerasSequence(PyDataset):  # type: ignore[misc]
    """Batches for `model.fit`, `evaluate` and `predict` of Keras 3, on any of its backends.

    Parameters
    ----------
    hyperseq : HyperSequence
        A file, a part of one, or either in batches of another size.
    shuffle_on_epoch : bool, default False
        Whether to put the batches into another order before each epoch. The order of `hyperseq` stays as it is.
    seed : int, optional
        Makes those orders the same each time; fresh entropy by default.
    **kwargs
        For `keras.utils.PyDataset`: `workers`, `use_multiprocessing`, `max_queue_size`.
    """

    def __init__(
        self, hyperseq: HyperSequence, shuffle_on_epoch: bool = False, *, seed: int | None = None, **kwargs: Any
    ) -> None:
        if not isinstance(hyperseq, HyperSequence):
            raise InvalidTypeError(f"expected a HyperSequence, got {type(hyperseq).__name__}")
        super().__init__(**kwargs)
        self._batches = HyperSequenceView(hyperseq)
        self._shuffle_on_epoch = bool(shuffle_on_epoch)
        self._rng = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> Any:
        self._batches._tell(self._batches._numbers[index : index + 1])
        inputs, outputs = self._batches[index]
        return (_copied(inputs), _copied(outputs)) if self._batches.no_outputs() else (_copied(inputs),)

    def on_epoch_end(self) -> None:
        """Put the batches into another order, if that was asked for."""
        if self._shuffle_on_epoch:
            self._batches.shuffle(self._rng)


def _copied(arrays: Any) -> Any:
    """Return arrays that frameworks can take over: aligned, and writable."""
    return tuple(np.array(part) for part in arrays) if isinstance(arrays, tuple) else np.array(arrays)
