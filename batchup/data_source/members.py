"""What sources made of other sources share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.ahead import Reading
from batchup.data_source.batch_iterator import Count
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource, outsider_in
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
        return all(member.is_random_access for member in self.datasets)

    def _outsider(self) -> AbstractDataSource | None:
        return next((found for member in self.datasets if (found := outsider_in(member)) is not None), None)

    def _check_pass(self, walk: Pass) -> None:
        super()._check_pass(walk)
        for i, member in enumerate(self.datasets):
            member._check_pass(walk.member(i))

    def _resident(self) -> bool:
        return all(member._resident() for member in self._random_access_members())

    def _maps(self) -> bool:
        return any(member._maps() for member in self._random_access_members())

    def _read_chunk(self, chunk: Any, walk: Pass) -> Iterator[Any]:
        return self._begin_chunk(chunk, walk).result()

    @abstractmethod
    def _begin_chunk(self, chunk: Any, walk: Pass, urgent: bool = False) -> Reading:
        """Begin to read a chunk: the members' parts of it."""

    def _look_ahead(self, walk: Pass) -> int:
        return max(m._look_ahead(walk.member(i)) for i, m in enumerate(self._random_access_members()))

    def _plan_structure(self) -> str:
        members = ", ".join(member._plan_structure() for member in self._random_access_members())
        return f"{type(self).__name__}({self._options()}: {members})"

    def _options(self) -> str:
        raise NotImplementedError

    def _column_lengths(self) -> tuple[int, ...]:
        return tuple([length for member in self._random_access_members() for length in member._column_lengths()])

    def _sample_bytes(self, walk: Pass) -> int | None:
        sizes = [member._sample_bytes(walk) for member in self._random_access_members()]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def _random_access_members(self) -> Sequence[WalkedDataSource]:
        self._require_random_access()
        return self.datasets  # type: ignore[return-value]


def least(counts: Sequence[Count]) -> Count:
    """Return the smallest of the counts that are known.

    >>> least([None, 7, 9])
    7
    """
    return min((count for count in counts if count is not None), default=None)
