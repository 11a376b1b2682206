"""The lazy Dataset: verbs strung together, each of them a small generator over the one before."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from batchup.errors import InvalidTypeError
from batchup.formats import Readers
from batchup.pipeline import joining
from batchup.pipeline.calls import Calls
from batchup.pipeline.endings import Endings
from batchup.pipeline.mux import Mux
from batchup.pipeline.picture import chain, facts
from batchup.pipeline.rows import Rows
from batchup.pipeline.sources import source_of
from batchup.pipeline.stage import known


class Dataset(Calls, Rows, Endings):
    """Items that are made when they are asked for: read, mapped, filtered, shuffled, batched.

    A dataset can be iterated over as often as what it was made from. Each verb returns another dataset, and does
    nothing by itself. Over data with random access (sequences, arrays, files that are mapped), datasets have a length
    and items by number as long as the verbs keep them: ``map``, ``take``, ``skip``, slices, ``shuffle`` with a seed,
    ``batch`` do, ``filter`` and ``flatmap`` do not.

    Parameters
    ----------
    *data
        Something to iterate over; a function that returns it, called for each pass; a pandas DataFrame or a dict of
        columns, for items that are dicts; or several of the first, for items that are tuples.
    **named
        The same by name, for items that are dicts.

    Raises
    ------
    TypeError, ValueError
        If that cannot be iterated over, or columns have different lengths.

    Examples
    --------
    >>> from batchup import Dataset
    >>> Dataset(range(10)).filter(lambda x: x % 2 == 1).map(lambda x: x * x).list()
    [1, 9, 25, 49, 81]

    >>> dataset = Dataset(image=np.zeros((5, 28, 28)), label=[0, 1, 0, 1, 1])
    >>> for batch in dataset.shuffle(seed=7).batch(2):
    ...     print(batch["image"].shape, batch["label"])
    (2, 28, 28) [1. 1.]
    (2, 28, 28) [0. 0.]
    (1, 28, 28) [1.]
    """

    read: Readers

    def __init__(self, *data: Any, **named: Any) -> None:
        self._become(source_of(data, named), 0)

    @classmethod
    def concat(cls, datasets: Iterable[Any]) -> Dataset:
        """Return a dataset of the items of several datasets, one after the other.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset.concat([Dataset([1, 2]), Dataset([3])]).list()
        [1, 2, 3]
        """
        return cls._over(joining.Concatenated(joining.checked_datasets(datasets, "concat")))

    @classmethod
    def roundrobin(cls, datasets: Iterable[Any]) -> Dataset:
        """Return a dataset of an item of each dataset in turn; those that have ended are left out.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset.roundrobin([Dataset([1, 2, 3]), Dataset([10])]).list()
        [1, 10, 2, 3]
        """
        return cls._over(joining.RoundRobin(joining.checked_datasets(datasets, "roundrobin")))

    @classmethod
    def mux(
        cls,
        datasets: Iterable[Any],
        weights: Any = None,
        n_active: int | None = None,
        rate: float | None = None,
        stop: str = "all",
        seed: int | None = None,
    ) -> Dataset:
        """Return a dataset of items from several datasets, each from one that is drawn.

        Parameters
        ----------
        datasets : iterable of Dataset
            The datasets.
        weights : array-like of float, optional
            How likely each is to be drawn; all the same by default.
        n_active : int, optional
            How many are open at a time (pescador's idea, for more of them than can be): their items are drawn evenly,
            and the weights tell which is opened in the place of one that has ended. By default all are.
        rate : float, optional
            How many items one gives before it is replaced: 1 and a number drawn from a Poisson distribution of this
            mean. By default, all it has.
        stop : {'all', 'first', 'never'}, default 'all'
            When it ends: with the last dataset, each of which is gone through at most once; as soon as one ends;
            never, since datasets that have ended are begun anew.
        seed : int, optional
            What is drawn from; without it, another one is drawn for each pass.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset.mux([Dataset("aaaa"), Dataset("bb")], weights=[2, 1], seed=1).list()
        ['a', 'b', 'a', 'a', 'a', 'b']
        """
        stages = joining.checked_datasets(datasets, "mux")
        return cls._over(Mux(stages, weights, n_active, rate, stop, seed))

    def __add__(self, other: Any) -> Dataset:
        return self.concat([self, other]) if isinstance(other, Dataset) else NotImplemented

    def __len__(self) -> int:
        length = self._stage.length()
        if not known(length):
            what = "infinite" if length == math.inf else "not known before its items are made"
            raise InvalidTypeError(f"the length of this dataset is {what}")
        return int(length)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return f"<{chain(self._stage)}: {facts(self._stage)}>"

    def __getstate__(self) -> dict[str, Any]:
        return {"stage": self._stage, "epoch": self._epoch}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._become(state["stage"], state["epoch"])


Dataset.read = Readers(Dataset)
