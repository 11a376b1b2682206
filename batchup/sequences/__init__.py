"""Variable-length records: kept in files with their lengths, read in padded, bucketed or packed batches.

>>> from batchup.sequences import FileRecordReader, FileRecordWriter
>>> with FileRecordWriter("corpus.records") as writer:
...     indexes = writer.extend([[7, 8, 9], [5], [6, 7]])
>>> with FileRecordReader("corpus.records") as reader:
...     for tokens, lengths in reader.data_source(max_tokens=4096).batch_iterator(batch_size=2, shuffle=1, epoch=0):
...         print(tokens.tolist(), lengths.tolist())
[[5, 0], [6, 7]] [1, 2]
[[7, 8, 9]] [3]
"""

from batchup.columns import Ragged, unpad
from batchup.sequences.bucket_loader import CoordinatedDataLoader, DataLoader
from batchup.sequences.collector import VocabularyCollector
from batchup.sequences.eos import EosAppender
from batchup.sequences.hdf5 import Hdf5RecordReader, Hdf5RecordWriter
from batchup.sequences.memory import InMemoryReader
from batchup.sequences.packing import Packs, pack
from batchup.sequences.reader import RecordReader
from batchup.sequences.record_file import FileRecordReader, FileRecordWriter
from batchup.sequences.sharded import ShardedWriter
from batchup.sequences.stored import Damage
from batchup.sequences.text import TextCodec, vocab_to_codec
from batchup.sequences.vocabulary import Vocabulary
from batchup.sequences.writer import RecordWriter

__all__ = [
    "CoordinatedDataLoader",
    "Damage",
    "DataLoader",
    "EosAppender",
    "FileRecordReader",
    "FileRecordWriter",
    "Hdf5RecordReader",
    "Hdf5RecordWriter",
    "InMemoryReader",
    "Packs",
    "Ragged",
    "RecordReader",
    "RecordWriter",
    "ShardedWriter",
    "TextCodec",
    "Vocabulary",
    "VocabularyCollector",
    "pack",
    "unpad",
    "vocab_to_codec",
]
