"""Verbs of a Dataset that call a function for each item."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.pipeline import functions, steps
from batchup.pipeline.base import Base
from batchup.pipeline.stage import checked_function
from batchup.pipeline.steps import Selecting, Spread, checked_step
from batchup.pipeline.workers import checked_where

if TYPE_CHECKING:
    from batchup.pipeline.dataset import Dataset


class Calls(Base):
    """Verbs that call functions."""

    def map(
        self,
        fn: Callable[..., Any],
        *,
        seed: int | None = None,
        num_threads: int | None = None,
        num_processes: int | None = None,
        executor: Any = None,
        ordered: bool = True,
        buffer_size: int | None = None,
        background: bool = False,
    ) -> Dataset:
        """Return a dataset whose items are what a function returns for each item.

        Parameters
        ----------
        fn : callable
            Called with an item. If it has a parameter `rng`, it is given a `numpy.random.Generator` that depends on
            the seed, the epoch and the place of the item, whoever calls it.
        seed : int, optional
            What `rng` depends on; without it, another one is drawn for each pass.
        num_threads, num_processes : int, optional
            How many workers call the function, ahead of need. The functions of verbs that follow are called by the
            same workers, unless they say otherwise; 0 returns to the consumer.
        executor : AbstractWorkerPool or concurrent.futures.Executor, optional
            Workers that are there already, and stay when the pass ends.
        ordered : bool, default True
            Whether items come in order; if not, as soon as they are done.
        buffer_size : int, optional
            How many items may be begun ahead of need, at most; by default some milliseconds of work for each worker.
        background : bool, default False
            Whether a thread makes the items ahead of need, as with `prefetch`; what follows is called by the consumer.

        Raises
        ------
        TypeError, ValueError
            If an argument is of another kind; when items are asked for, what `fn` raises, with a note that tells the
            place of the item.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(range(4)).map(lambda x: x * x, num_threads=2).list()
        [0, 1, 4, 9]
        >>> Dataset(range(3)).map(lambda x, rng: x + int(rng.integers(10)), seed=5).list()
        [4, 4, 10]
        """
        where = checked_where(
            num_threads=num_threads,
            num_processes=num_processes,
            executor=executor,
            ordered=ordered,
            buffer_size=buffer_size,
        )
        step = checked_step(steps.mapped, fn, "map", seed)
        return self._applied(step, where, background)

    def starmap(self, fn: Callable[..., Any], *, seed: int | None = None, **where: Any) -> Dataset:
        """Return a dataset of what a function returns for the parts of each item.

        Parameters
        ----------
        fn : callable
            Called with the values of a dict as keywords, with the parts of a tuple as arguments.
        seed, **where
            As for `map`.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(x=[1, 2], y=[10, 20]).starmap(lambda x, y: x + y).list()
        [11, 22]
        """
        return self._worked(steps.mapped, Spread(checked_function(fn, "starmap")), "starmap", seed, where)

    def flatmap(self, fn: Callable[..., Any], *, seed: int | None = None, **where: Any) -> Dataset:
        """Return a dataset of all items of the iterables that a function returns for each item.

        Workers make all that comes of an item at once; without workers, each is made when it is asked for.

        Parameters
        ----------
        fn, seed, **where
            As for `map`.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(["to be", "or not"]).flatmap(str.split).list()
        ['to', 'be', 'or', 'not']
        """
        return self._worked(steps.flattened, fn, "flatmap", seed, where)

    def filter(self, fn: Callable[..., Any], *, seed: int | None = None, **where: Any) -> Dataset:
        """Return a dataset of the items for which a function is true.

        Parameters
        ----------
        fn, seed, **where
            As for `map`.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(range(10)).filter(lambda x: x % 2 == 1).list()
        [1, 3, 5, 7, 9]
        """
        return self._worked(steps.filtered, fn, "filter", seed, where)

    def select(self, *keys: Any) -> Dataset:
        """Return a dataset of dicts with these keys only; of tuples with these parts, if items are tuples.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(x=[1], y=[2], z=[3]).select("z", "x").first()
        {'z': 3, 'x': 1}
        """
        return self._worked(steps.mapped, Selecting(_checked_keys(keys), False), "select", None, {})

    def select_tuple(self, *keys: Any) -> Dataset:
        """Return a dataset of tuples of what dicts have under these keys.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(x=[1], y=[2], z=[3]).select_tuple("z", "x").first()
        (3, 1)
        """
        return self._worked(steps.mapped, Selecting(_checked_keys(keys), True), "select_tuple", None, {})

    def transform(self, fn: Callable[[Iterator[Any]], Iterable[Any]]) -> Dataset:
        """Return a dataset of what a function makes of the iterator over the items; it is called for each pass.

        Examples
        --------
        >>> from itertools import accumulate
        >>> from batchup import Dataset
        >>> Dataset(range(5)).transform(accumulate).list()
        [0, 1, 3, 6, 10]
        """
        return self._then(functions.Transformed(self._stage, checked_function(fn, "transform")))

    def _applied(self, step: steps.Step, where: Any, background: bool) -> Dataset:
        dataset = self._then(functions.applied(self._stage, step, where))
        return dataset.prefetch(functions.BACKGROUND) if background else dataset

    def _worked(self, over: Any, fn: Any, verb: str, seed: int | None, where: dict[str, Any]) -> Dataset:
        unknown = where.keys() - functions.PLACES
        if unknown:
            raise InvalidTypeError(f"{verb}() takes {', '.join(functions.PLACES)}, got {', '.join(sorted(unknown))}")
        background = bool(where.pop("background", False))
        return self._applied(checked_step(over, fn, verb, seed), checked_where(**where), background)


def _checked_keys(keys: tuple[Any, ...]) -> tuple[Any, ...]:
    if not keys:
        raise InvalidValueError("select() needs the keys to keep")
    return keys
