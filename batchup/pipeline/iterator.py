"""One pass over a pipeline: it counts the items, can be left and entered, and lets go of all when it ends."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator
from types import GeneratorType, TracebackType
from typing import Any

import numpy as np

from batchup._numbers import whole_number
from batchup.errors import InvalidValueError, StateError
from batchup.pipeline.keeping import Cached
from batchup.pipeline.stage import Run, Stage, numbered, structure

VERSION = 1


class DatasetIterator(Generator[Any, None, None]):
    """The items of a `Dataset` in one pass; made by ``iter(dataset)``.

    Nothing is read before the first item is asked for. Workers and threads of the pass end with it: when it is
    exhausted, closed, or dropped.
    """

    def __init__(self, stage: Stage, epoch: int = 0) -> None:
        self._stage = stage
        self._position = 0
        self._items: Iterator[Any] | None = None
        self._error: str | None = None
        self._run = new_run(stage, epoch)
        self._over = False

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return GeneratorType  # for Keras, which takes generators only

    def draw_from(self, entropy: Any) -> None:
        """Have stages without a seed draw the same in several processes."""
        self._check_order()
        self._run.entropy = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])

    def __iter__(self) -> DatasetIterator:
        return self

    def __next__(self) -> Any:
        try:
            if self._items is None:
                self._items = self._begun()
            item = next(self._items)
        except StopIteration:
            self.close()
            raise
        except BaseException as error:
            self._fail(error)
            raise
        self._position += 1
        return item

    def send(self, value: None) -> Any:
        """Return the next item: nothing here takes what is sent."""
        return next(self)

    def throw(self, kind: Any, value: Any = None, trace: Any = None) -> Any:
        """End the pass by an error."""
        self.close()
        return super().throw(kind, value, trace)

    @property
    def position(self) -> int:
        """How many items have been handed out since the beginning of the pass."""
        return self._position

    def state_dict(self) -> dict[str, Any]:
        """Return where this pass stands, to go on from there later, elsewhere.

        Returns
        -------
        dict
            JSON, of some hundred bytes: what `load_state_dict` takes.

        Raises
        ------
        ValueError
            If the items come as they are done (``ordered=False``), so that their order cannot be had again.

        Examples
        --------
        >>> from batchup import Dataset
        >>> dataset = Dataset(range(100)).shuffle(seed=7).batch(10)
        >>> items = iter(dataset)
        >>> first, state = next(items), items.state_dict()
        >>> again = iter(dataset)
        >>> again.load_state_dict(state)
        >>> (next(again) == next(items)).all()
        np.True_
        """
        self._check_order()
        return {
            "version": VERSION,
            "position": self._position,
            "epoch": self._run.epoch,
            "entropy": self._run.entropy,
            "caches": {str(number): cache.entropy for cache, number in self._caches()},
            "structure": structure(self._stage),
        }

    def load_state_dict(self, state: Any) -> None:
        """Go to where a state was taken: the next item is the one that would have come next there.

        Stages that can enter anywhere do: all over random access but `filter` and what follows it. What cannot is run
        again up to that place, without its items being handed out.

        Parameters
        ----------
        state : dict
            From `state_dict` of a pass over a dataset that was made in the same way.

        Raises
        ------
        ValueError
            If it belongs to another dataset, or is no state.
        """
        self._check_order()
        if not isinstance(state, dict) or state.get("version") != VERSION:
            raise StateError(f"a state of version {VERSION} is needed, as state_dict() returns it")
        try:
            position, epoch, entropy = (whole_number(state[name], name) for name in ("position", "epoch", "entropy"))
            caches = {int(number): whole_number(value, "entropy") for number, value in state["caches"].items()}
            made = str(state["structure"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise StateError(f"the state is damaged: {error!r}") from error
        if made != structure(self._stage):
            raise StateError(f"the state belongs to another dataset: {made}, and this is {structure(self._stage)}")
        for cache, number in self._caches():
            if caches.get(number, cache.entropy) != cache.entropy:
                if cache.filled:
                    raise StateError("a cache() of this dataset holds items of another run: load the state before them")
                cache.entropy = caches[number]
        self.close()
        self._run = new_run(self._stage, epoch)
        self._run.entropy = entropy
        self._position, self._error, self._over = position, None, False

    def close(self) -> None:
        """End the pass: let go of the data, and of workers and threads."""
        items, self._items = self._items, None
        self._over = True
        try:
            if items is not None and hasattr(items, "close"):
                items.close()
        finally:
            del items
            self._run.close()

    def _begun(self) -> Iterator[Any]:
        if self._error is not None:
            raise StateError(
                f"this pass has ended by an error ({self._error}): begin anew, or load a state that was taken before"
            )
        if self._over:
            raise StopIteration
        self._stage.checked_pass(self._run)
        try:
            return self._stage.items(self._run, self._position)
        except StopIteration as error:  # which would end the pass, as if there were no more items
            raise RuntimeError("a function of the pipeline raised StopIteration") from error

    def _fail(self, error: BaseException) -> None:
        if self._error is None:
            self._error = f"{type(error).__name__} after {self._position} items"
        self.close()

    def _caches(self) -> Iterator[tuple[Cached, int]]:
        return ((stage, number) for stage, number in self._run.numbers.items() if isinstance(stage, Cached))

    def _check_order(self) -> None:
        for stage in self._run.numbers:
            if stage.where is not None and not stage.where.ordered:
                raise InvalidValueError(
                    f"the items of {stage.label} come as they are done (ordered=False): there is no place to return to"
                )

    def __enter__(self) -> DatasetIterator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_over"):
            self.close()


def new_run(stage: Stage, epoch: int) -> Run:
    """Return a pass over a pipeline."""
    return Run(epoch, secrets.randbits(64), numbered(stage))
