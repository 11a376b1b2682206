"""Items one by one as one would write it without a library: what bounds the pipelines."""

from __future__ import annotations

import io
from collections.abc import Iterator
from struct import Struct

import numpy as np
from declared import Work
from files import RowFiles
from items import busy, path_of, plus_one, wanted
from slices import Epoch
from sources import Array

from contenders import Ways

LENGTH = Struct("<Q")
HEAD, FOOT = 12, 4  # bytes before a record and behind it: its length with a checksum, and its own


def generator(work: Work, numbers: list[int]) -> Epoch:
    """A generator that calls the two functions, appends to a list, and yields `np.array(list, np.float32)`."""

    def epoch() -> Iterator[Array]:
        held: list[int] = []
        for number in numbers:
            number = plus_one(number)
            if wanted(number):
                held.append(number)
                if len(held) == work.batch:
                    yield np.array(held, np.float32)
                    held = []
        if held:
            yield np.array(held, np.float32)

    return epoch


def inlined(work: Work, numbers: list[int]) -> Epoch:
    """The same with `number + 1` and `number % 3 != 0` written out instead of called."""

    def epoch() -> Iterator[Array]:
        held: list[int] = []
        for number in numbers:
            number += 1
            if number % 3 != 0:
                held.append(number)
                if len(held) == work.batch:
                    yield np.array(held, np.float32)
                    held = []
        if held:
            yield np.array(held, np.float32)

    return epoch


def cut_by_length(work: Work, files: RowFiles) -> Epoch:
    """`file.read(length)`, records one after the other: nothing is checked, and nothing parsed."""
    path = path_of(files)

    def epoch() -> Iterator[bytes]:
        with open(path, "rb", 16 * io.DEFAULT_BUFFER_SIZE) as file:
            head = file.read(HEAD)
            while head:
                yield file.read(*LENGTH.unpack_from(head))
                head = file.read(FOOT + HEAD)[FOOT:]

    return epoch


def serial(work: Work, numbers: list[int]) -> Epoch:
    """`map(busy, numbers)`."""
    return lambda: map(busy, numbers)


WAYS: Ways = {
    "per_item": {"by hand": generator, "by hand, inlined": inlined},
    "records_in_order": {"cut by length": cut_by_length},
    "busy": {"serial": serial},
}
