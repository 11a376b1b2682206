"""Where the data lies: array-likes that gather whole batches of samples at once."""

from batchup.columns.abstract import Column, OwnColumn
from batchup.columns.advice import ChunkAdvice, chunk_advice
from batchup.columns.array_likes import as_column
from batchup.columns.files import is_mapped
from batchup.columns.lazy import ChosenRows, ScaledArray
from batchup.columns.ragged import Ragged
from batchup.columns.records import RecordColumn
from batchup.columns.rectangles import unpad
from batchup.columns.sequence_column import SequenceColumn

__all__ = [
    "ChosenRows",
    "ChunkAdvice",
    "Column",
    "OwnColumn",
    "Ragged",
    "RecordColumn",
    "ScaledArray",
    "SequenceColumn",
    "as_column",
    "chunk_advice",
    "is_mapped",
    "unpad",
]
