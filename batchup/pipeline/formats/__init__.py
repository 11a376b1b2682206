"""File formats: functions that read and write them item by item, and the table in which `Dataset` finds them.

>>> from batchup.pipeline.formats import Readers, Writers
>>> Writers([{"x": 1.5, "y": 0}, {"x": 2.5, "y": 1}]).npz("two.npz")
>>> Readers(dict).npz("two.npz")
{'x': array([1.5, 2.5]), 'y': array([0, 1])}
"""

from batchup.pipeline.formats.npz import read_npy, read_npz, write_npy, write_npz
from batchup.pipeline.formats.registry import Readers, Writers, register, unregister
from batchup.pipeline.formats.text import read_text, write_text
from batchup.pipeline.formats.tfrecord import read_tfrecord, write_tfrecord

__all__ = [
    "Readers",
    "Writers",
    "read_npy",
    "read_npz",
    "read_text",
    "read_tfrecord",
    "register",
    "unregister",
    "write_npy",
    "write_npz",
    "write_text",
    "write_tfrecord",
]

register("npy", read_npy, write_npy)
register("npz", read_npz, write_npz)
register("text", read_text, write_text)
register("tfrecord", read_tfrecord, write_tfrecord, needs=("crc32c", "tfrecord"))
