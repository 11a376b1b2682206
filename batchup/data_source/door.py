"""The door of batchup's own sources: the keywords of `batch_iterator`, and the iterator they lead to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.batch_iterator import BatchIterator
from batchup.data_source.passes import as_pass
from batchup.errors import InvalidTypeError
from batchup.sampling.order import Shuffle

OMITTED: Any = object()


class OwnDataSource(AbstractDataSource):
    """A source of batchup's own, which takes the keywords that all of them take."""

    def batch_iterator(
        self, batch_size: int, shuffle: Shuffle = OMITTED, *, epoch: int = 0, copy: bool = True, **kwargs: Any
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
        outsider = self.outsider()
        check_keywords(type(self).__name__, outsider, epoch, kwargs)
        keywords = kwargs if shuffle is OMITTED else {"shuffle": shuffle, **kwargs}
        shuffle = None if shuffle is OMITTED or outsider is self else shuffle
        walk = as_pass(batch_size, shuffle, epoch, copy)
        return BatchIterator(
            self.batches(walk, keywords),
            walk.clock,
            lambda: self.num_batches(walk.batch_size, keywords),
            lambda: self.num_samples(**keywords),
        )


def check_keywords(source: str, outsider: Any, epoch: Any, keywords: Mapping[str, Any]) -> None:
    """Raise for keywords that nobody in the tree takes, and for those of batchup that an outsider cannot heed."""
    if outsider is None and keywords:
        raise InvalidTypeError(f"{source} takes no keyword argument {next(iter(keywords))!r}")
    if outsider is not None and epoch != 0:
        raise InvalidTypeError(f"epoch= has no meaning for {type(outsider).__name__}, whose order is its own")
