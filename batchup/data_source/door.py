"""The door of batchup's own sources: the keywords of `batch_iterator`, and the iterator they lead to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.batch_iterator import BatchIterator
from batchup.data_source.passes import Pass, as_pass
from batchup.errors import InvalidTypeError
from batchup.sampling.order import Shuffle

OMITTED: Any = object()


class OwnDataSource(AbstractDataSource):
    """A source of batchup's own, which takes the keywords that all of them take."""

    def batch_iterator(
        self,
        batch_size: int,
        shuffle: Shuffle = OMITTED,
        *,
        epoch: int = 0,
        tail: str = "short",
        shard: tuple[int, int] | None = None,
        on_error: str = "raise",
        max_errors: int | float | None = None,
        trace: bool = False,
        copy: bool = True,
        **kwargs: Any,
    ) -> BatchIterator:
        """Return an iterator over the batches of one epoch.

        Parameters
        ----------
        batch_size : int
            Samples in a batch; the last one may be short.
        shuffle : None, bool, int, RandomState or Generator, optional
            None or False is the order of the data. An int is a seed, from which, with `epoch`, the whole order
            follows. Otherwise the order is drawn from the generator, when it is needed; True is NumPy's global
            one.
        epoch : int, default 0
            Number of the epoch, for a seeded order: different epochs differ.
        tail : {'short', 'drop', 'wrap', 'pad'}, default 'short'
            What becomes of the last batch: it stays short; it is left out; it is filled up from the beginning of the
            epoch; or it is filled up with its last sample, and every batch gets one more column `mask`, after all
            maps, that marks the samples that are no such padding.
        shard : tuple (rank, world_size), optional
            Hand out the share of one of several ranks: in step k, of the batches that one rank alone would get,
            number ``k * world_size + rank``. What is left for the last step is dealt out evenly, so that all ranks
            get equally many batches.
        on_error : {'raise', 'skip', 'replace'}, default 'raise'
            What to do about samples that cannot be read: raise the error; hand out the batch without them; or put
            the samples behind the batch into their place. All else stays as it is. See `BatchIterator.errors`.
        max_errors : int or float, optional
            How many samples may fail, or which share of the epoch, before that is an error itself.
        trace : bool, default False
            Whether errors note the batch, and where possible the sample, that they come from.
        copy : bool, default True
            Whether the batches belong to whoever receives them. With False, batches in the order of the data are
            read-only views of it where it lies in arrays.
        **kwargs
            Handed on to callable sources in the tree; without one, any is an error.

        Returns
        -------
        BatchIterator

        Raises
        ------
        TypeError, ValueError
            If an argument is not one of the above.
        """
        ours = {"epoch": epoch, "tail": tail, "shard": shard, "on_error": on_error, "max_errors": max_errors}
        walk, keywords = self._checked_pass(batch_size, shuffle, {**ours, "trace": trace, "copy": copy}, kwargs)
        outsider = self._outsider()
        return BatchIterator(
            self._enter_pass(walk, keywords),
            walk,
            lambda: self._num_steps(walk, keywords),
            lambda: self.num_samples() if outsider is None else self.num_samples(**keywords),
        )

    def _checked_pass(
        self, batch_size: Any, shuffle: Any, ours: Mapping[str, Any], others: Mapping[str, Any]
    ) -> tuple[Pass, dict[str, Any]]:
        """Return the pass that arguments ask for, and the keywords for callable sources; an error if they are wrong."""
        outsider = self._outsider()
        check_keywords(type(self).__name__, outsider, ours, others)
        keywords = dict(others) if shuffle is OMITTED else {"shuffle": shuffle, **others}
        walk = as_pass(batch_size, None if shuffle is OMITTED or outsider is self else shuffle, **ours)
        self._check_pass(walk)
        return walk, keywords


def check_keywords(source: str, outsider: Any, ours: Mapping[str, Any], keywords: Mapping[str, Any]) -> None:
    """Raise for keywords that nobody in the tree takes, and for those of batchup that an outsider cannot heed."""
    if outsider is None:
        if keywords:
            raise InvalidTypeError(f"{source} takes no keyword argument {next(iter(keywords))!r}")
        return
    for name, value in ours.items():
        if name in _DEFAULTS and value != _DEFAULTS[name]:
            raise InvalidTypeError(f"{name}= has no meaning for {type(outsider).__name__}, whose batches are its own")


OURS = ("epoch", "tail", "shard", "on_error", "max_errors", "trace", "copy")
_DEFAULTS = {"epoch": 0, "tail": "short", "shard": None, "on_error": "raise", "max_errors": None}
