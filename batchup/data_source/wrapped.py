"""What sources share that hand on the samples of one other source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.batch_iterator import Count
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource, outsider_in
from batchup.sampling.streams import IndexStream


class WrappedSource(WalkedDataSource):
    """A source whose samples, and whose order, are those of another one; random access if that is.

    Attributes
    ----------
    source : AbstractDataSource
        The other one.
    """

    source: AbstractDataSource

    @property
    def is_random_access(self) -> bool:
        return self.source.is_random_access

    def num_samples(self, **kwargs: Any) -> Count:
        return self.source.num_samples(**kwargs)

    def _flat_length(self) -> int:
        """Return the number of samples that there are indices for."""
        length: int = self.source._flat_length()  # type: ignore[attr-defined]
        return length

    def _outsider(self) -> AbstractDataSource | None:
        return outsider_in(self.source)

    def _num_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        return self.source._num_batches(walk, keywords)

    def _check_pass(self, walk: Pass) -> None:
        self.source._check_pass(walk)

    @property
    def _cuttable(self) -> bool:
        return self._walked()._cuttable

    def _index_batches(self, walk: Pass) -> IndexStream:
        return self._walked()._index_batches(walk)

    def _public_indices(self, chunk: Any) -> Any:
        return self._walked()._public_indices(chunk)

    def _column_lengths(self) -> tuple[int, ...]:
        return self._walked()._column_lengths()

    def _sample_bytes(self, walk: Pass) -> int | None:
        return self._walked()._sample_bytes(walk)

    def _expect(self, chunk: Any) -> bool:
        return self._walked()._expect(chunk)

    def _files(self, chunk: Any) -> tuple[str, ...]:
        return self._walked()._files(chunk)

    def _all_files(self) -> tuple[str, ...]:
        return self._walked()._all_files()

    def _resident(self) -> bool:
        return self._walked()._resident()

    def _look_ahead(self, walk: Pass) -> int:
        return self._walked()._look_ahead(walk)

    def _window(self, walk: Pass) -> int:
        return self._walked()._window(walk)

    def _together(self, walk: Pass) -> int:
        return self._walked()._together(walk)

    def _walked(self) -> WalkedDataSource:
        self._require_random_access()
        return self.source  # type: ignore[return-value]
