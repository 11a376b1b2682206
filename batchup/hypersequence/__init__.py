"""Batch files on disk (.hsq): written once, then read at the speed of memory or of the disk.

>>> import numpy as np
>>> from batchup import hypersequence as hs
>>> with hs.HyperSequenceWriter("readings.hsq", batch_size=64) as writer:
...     writer.extend(inputs=np.random.random((1000, 20)), outputs=np.arange(1000))
>>> with hs.HyperSequenceFile("readings.hsq") as hsq:
...     for x, y in hsq.data_source().batch_iterator(batch_size=128, shuffle=1234, epoch=0):
...         pass
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchup.hypersequence.checksums import Finding
from batchup.hypersequence.file import HyperSequenceFile
from batchup.hypersequence.sequence import HyperSequence, HyperSequenceView
from batchup.hypersequence.writer import HyperSequenceWriter

if TYPE_CHECKING:
    from batchup.hypersequence.keras_sequence import KerasSequence

__all__ = [
    "Finding",
    "HyperSequence",
    "HyperSequenceFile",
    "HyperSequenceView",
    "HyperSequenceWriter",
    "KerasSequence",
    "rebatch",
]


def rebatch(hyperseq: HyperSequence, new_batch_size: int) -> HyperSequence:
    """Return the same rows in batches of another size; see `HyperSequence.rebatch`.

    Parameters
    ----------
    hyperseq : HyperSequence
        Where the rows come from, as it is ordered now.
    new_batch_size : int
        Rows in a batch; the last one may be short.
    """
    return hyperseq.rebatch(new_batch_size)


def __getattr__(name: str) -> Any:
    """Load Keras when it is first needed."""
    if name == "KerasSequence":
        from batchup.hypersequence.keras_sequence import KerasSequence

        return KerasSequence
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
