"""The one-line door: a loader is iterated again and again, and each time it is the next epoch."""

from __future__ import annotations

from typing import Any

from batchup._numbers import whole_number
from batchup._repr import Represented
from batchup.data_source import AbstractDataSource, BatchIterator, IteratorDataSource, coerce_data_source
from batchup.data_source.door import OURS, OwnDataSource
from batchup.data_source.passes import Pass, as_pass
from batchup.data_source.states import parsed
from batchup.errors import InvalidTypeError, InvalidValueError, StateError
from batchup.sampling.order import Shuffle
from batchup.work_pool import AbstractWorkerPool, WorkerThreadPool
from batchup.work_pool.pace import Buffer

__all__ = ["Loader", "loader", "replay"]

BATCHES_AHEAD = 20


def loader(
    data: Any,
    batch_size: int,
    shuffle: Shuffle = None,
    *,
    workers: int = 0,
    pool: AbstractWorkerPool | None = None,
    prefetch: int | str | None = None,
    **keywords: Any,
) -> Loader:
    """Return a loader over `data`.

    Parameters
    ----------
    data : AbstractDataSource, list, tuple or dict of array-like, iterator, or callable
        What `coerce_data_source` takes.
    batch_size : int
        Samples in a batch.
    shuffle : None, bool, int, RandomState or Generator, optional
        As in `batch_iterator`. With an int, every epoch has an order of its own.
    workers : int, default 0
        Number of threads that make batches ahead of need; they are the loader's own, and end with it.
    pool : AbstractWorkerPool, optional
        The workers that do so, if they are to be others: processes, say, or shared by several loaders.
    prefetch : int or str, optional
        How many batches are made ahead, or, as text, how many bytes of them (``'512MiB'``); 20 batches, if there are
        workers.
    **keywords
        Of `batch_iterator`: `tail`, `shard`, `on_error`, `max_errors`, `trace`, `copy`; `epoch` is the number of the
        first epoch.

    Returns
    -------
    Loader

    Examples
    --------
    >>> import numpy as np
    >>> batches = loader([np.arange(5)], batch_size=2, shuffle=7)
    >>> for epoch in range(2):
    ...     print([batch.tolist() for (batch,) in batches])
    [[1, 2], [3, 4], [0]]
    [[2, 1], [4, 0], [3]]
    """
    return Loader(data, batch_size, shuffle, workers=workers, pool=pool, prefetch=prefetch, **keywords)


class Loader(Represented):
    """Batches of one epoch after the other; see `loader`.

    Each ``iter()`` begins the next epoch, except the first one after `load_state_dict`, which goes on where the
    state was taken. ``len()`` is the number of batches in an epoch.
    """

    def __init__(
        self,
        data: Any,
        batch_size: int,
        shuffle: Shuffle = None,
        *,
        workers: int = 0,
        pool: AbstractWorkerPool | None = None,
        prefetch: int | str | None = None,
        **keywords: Any,
    ) -> None:
        self.data = coerce_data_source(data)
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.workers = whole_number(workers, "workers")
        self.pool = pool
        self.prefetch = prefetch
        self._own = isinstance(self.data, OwnDataSource) and self.data._outsider() is None
        self._epoch = whole_number(keywords.get("epoch", 0), "epoch")
        self._keywords = keywords
        self._current: BatchIterator | None = None
        self._resumed: BatchIterator | None = None
        walk, _ = self._checked_pass()  # wrong arguments are errors here, not at the first batch
        if self._own:
            self.data._steps_of_pass(walk)  # type: ignore[attr-defined]  # draws nothing
        self._own_pool: AbstractWorkerPool | None = None
        self._source = self._made_ahead()

    def _made_ahead(self) -> AbstractDataSource:
        """Return the source, with its batches made by workers if there are any."""
        if self.pool is not None and not isinstance(self.pool, AbstractWorkerPool):
            raise InvalidTypeError(f"pool must be a worker pool, got {type(self.pool).__name__}")
        if self.pool is not None and self.workers:
            raise InvalidValueError("workers= makes threads of the loader's own, pool= brings others: give one of them")
        if self.pool is None and not self.workers:
            if self.prefetch is not None:
                raise InvalidValueError("prefetch= needs somebody to make batches ahead: pass workers= or pool=")
            return self.data
        ahead = BATCHES_AHEAD if self.prefetch is None else self.prefetch
        Buffer(ahead, "prefetch")  # an error that names the argument as it is called here
        if self.pool is None:
            self._own_pool = WorkerThreadPool(self.workers)
        pool = self._own_pool or self.pool
        assert pool is not None
        return pool.parallel_data_source(self.data, ahead)

    @property
    def epoch(self) -> int:
        """Number of the epoch that is under way, or comes first."""
        return self._epoch

    def __iter__(self) -> BatchIterator:
        if self._resumed is not None:
            self._current, self._resumed = self._resumed, None
            return self._current
        if self._current is not None:
            if isinstance(self.data, IteratorDataSource):
                raise InvalidTypeError(
                    "an iterator can be gone through once: give the loader a callable that makes one"
                )
            batches = self._iterator(self._epoch + 1)
            self._epoch, self._current = self._epoch + 1, batches
            return batches
        self._current = self._iterator(self._epoch)
        return self._current

    def __len__(self) -> int:
        walk, keywords = self._checked_pass()
        batches = self.data._num_steps(walk, keywords)
        if isinstance(batches, int):
            return batches
        raise InvalidTypeError(f"the number of batches is {'not known' if batches is None else 'infinite'}")

    def state_dict(self) -> dict[str, Any]:
        """Return where the epoch under way stands; see `BatchIterator.state_dict`."""
        current = self._resumed if self._resumed is not None else self._current
        if current is None:
            current = self._resumed = self._iterator(self._epoch)
        return {"epoch": self._epoch, "iterator": current.state_dict()}

    def load_state_dict(self, state: Any) -> None:
        """Make the next ``iter()`` go on where a state was taken; see `BatchIterator.load_state_dict`."""
        state = parsed(state)
        if not isinstance(state, dict) or not state.keys() >= {"epoch", "iterator"}:
            raise StateError("expected a dict from the state_dict() of a loader")
        epoch = whole_number(state["epoch"], "the epoch of a state")
        resumed = self._iterator(epoch)
        resumed.load_state_dict(state["iterator"])
        self._epoch, self._resumed = epoch, resumed

    def close(self) -> None:
        """End the epoch under way, and the loader's own workers."""
        for batches in (self._current, self._resumed):
            if batches is not None:
                batches.close()
        if self._own_pool is not None:
            self._own_pool.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _iterator(self, epoch: int) -> BatchIterator:
        keywords = {**self._keywords, **({"epoch": epoch} if self._own else {})}
        batches = self._source.batch_iterator(self.batch_size, shuffle=self.shuffle, **keywords)
        if not isinstance(batches, BatchIterator):
            raise InvalidTypeError(f"{type(self.data).__name__} has no batch_iterator of batchup's own")
        return batches

    def _checked_pass(self) -> tuple[Pass, dict[str, Any]]:
        """Return the pass of the epoch that is under way, or comes first; an error if arguments are wrong."""
        if not self._own:
            return as_pass(self.batch_size), {"shuffle": self.shuffle, **self._keywords}
        ours = {name: value for name, value in self._keywords.items() if name in OURS}
        others = {name: value for name, value in self._keywords.items() if name not in OURS}
        source: Any = self.data
        walk, keywords = source._checked_pass(self.batch_size, self.shuffle, {**ours, "epoch": self._epoch}, others)
        return walk, keywords


def replay(ds: Any, state: dict[str, Any], **keywords: Any) -> Any:
    """Return exactly the batch that a state points at: the one that would have come next.

    Parameters
    ----------
    ds : AbstractDataSource
        The source.
    state : dict
        From `state_dict` of an iterator or a loader over it; its order must follow from a seed or from the data.
    **keywords
        Of `batch_iterator`, where they differ from the defaults and the state does not tell them: `shard`.

    Raises
    ------
    ValueError
        If the state belongs to another source, its order came from a generator, or nothing came next.

    Examples
    --------
    >>> import numpy as np
    >>> from batchup.data_source import ArrayDataSource
    >>> ds = ArrayDataSource([np.arange(5)])
    >>> batches = ds.batch_iterator(2, shuffle=7)
    >>> state = batches.state_dict()
    >>> next(batches), replay(ds, state)
    ((array([1, 2]),), (array([1, 2]),))
    """
    state = parsed(state)
    state = state.get("iterator", state) if isinstance(state, dict) else state
    plan = state.get("plan") if isinstance(state, dict) else None
    if not isinstance(plan, dict) or not plan.keys() >= {"batch_size", "order", "epoch", "tail"}:
        raise StateError("expected a dict from state_dict()")
    shuffle = _shuffle_of(str(plan["order"]))
    batches = ds.batch_iterator(plan["batch_size"], shuffle=shuffle, epoch=plan["epoch"], tail=plan["tail"], **keywords)
    batches.load_state_dict(state)
    for batch in batches:
        return batch
    raise StateError("the state points behind the last batch")


def _shuffle_of(order: str) -> int | None:
    """Return what was passed as shuffle, from how a state names it."""
    if order == "in order":
        return None
    seed = order.removeprefix("seed ")
    if seed == order or not seed.isdecimal():
        raise StateError(f"a batch whose order came from {order!r} cannot be replayed: pass an int seed as shuffle")
    return int(seed)
