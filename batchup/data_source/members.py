"""What sources made of other sources share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.ahead import Reading
from batchup.data_source.batch_iterator import Count
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource, each_once, outsider_in
from batchup.errors import InvalidTypeError, InvalidValueError


class MemberSource(WalkedDataSource):
    """A source made of several others; random access if they all are."""

    def __init__(self, datasets: Sequence[AbstractDataSource]) -> None:
        for i, member in enumerate(datasets):
            if not isinstance(member, AbstractDataSource):
                raise InvalidTypeError(
                    f"the members must be data sources, number {i} is {type(member).__name__}; "
                    "coerce_data_source makes one of it"
                )
        if not datasets:
            raise InvalidValueError(f"{type(self).__name__} needs at least one member, got none")
        self.datasets = datasets

    @property
    def is_random_access(self) -> bool:
        return all(self.datasets[i].is_random_access for i in self._kinds())

    def _kinds(self) -> Sequence[int]:
        """Return the numbers of the members; of those that differ in nothing but their samples, one will do."""
        return range(len(self.datasets))

    def _outsider(self) -> AbstractDataSource | None:
        outsiders = (outsider_in(self.datasets[i]) for i in self._kinds())
        return next((found for found in outsiders if found is not None), None)

    def _check_pass(self, walk: Pass) -> None:
        super()._check_pass(walk)
        for i in self._kinds():
            self.datasets[i]._check_pass(walk.member(i))

    def _resident(self) -> bool:
        return all(self._member(i)._resident() for i in self._kinds())

    def _maps(self) -> bool:
        return any(self._member(i)._maps() for i in self._kinds())

    def _read_chunk(self, chunk: Any, walk: Pass) -> Iterator[Any]:
        return self._begin_chunk(chunk, walk).result()

    @abstractmethod
    def _begin_chunk(self, chunk: Any, walk: Pass, urgent: bool = False) -> Reading:
        """Begin to read a chunk: the members' parts of it."""

    def _look_ahead(self, walk: Pass) -> int:
        return max(self._member(i)._look_ahead(walk.member(i)) for i in self._kinds())

    def _plan_structure(self) -> str:
        members = ", ".join(member._plan_structure() for member in self._random_access_members())
        return f"{type(self).__name__}({self._options()}: {members})"

    def _options(self) -> str:
        raise NotImplementedError

    def _column_lengths(self) -> tuple[int, ...]:
        return tuple([length for member in self._random_access_members() for length in member._column_lengths()])

    def _sample_bytes(self, walk: Pass) -> int | None:
        sizes = [self._member(i)._sample_bytes(walk) for i in self._kinds()]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def _all_files(self) -> tuple[str, ...]:
        return each_once(member._all_files() for member in self._random_access_members())

    def _random_access_members(self) -> Sequence[WalkedDataSource]:
        self._require_random_access()
        return self.datasets  # type: ignore[return-value]

    def _member(self, number: int) -> WalkedDataSource:
        """Return a member, which is known to be random access."""
        return self.datasets[number]  # type: ignore[return-value]


def least(counts: Sequence[Count]) -> Count:
    """Return the smallest of the counts that are known.

    >>> least([None, 7, 9])
    7
    """
    return min((count for count in counts if count is not None), default=None)
