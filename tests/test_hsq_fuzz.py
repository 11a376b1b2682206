"""Mutated .hsq files: they open and everything that is read lies in them, or they are refused; nothing else happens."""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest

from batchup import hypersequence as hs
from batchup.errors import BatchUpError

from .hsq import (
    DTYPES,
    ENDED,
    MISSING,
    UNATTENDED,
    Arrays,
    child,
    ended,
    meta_of,
    numbered,
    records_of,
    taken_apart,
    values,
    with_old_trailer,
    write,
)
from .test_hsq_hostile import HUGE, LIES, field_lies, used

SECONDS = float(os.environ.get("BATCHUP_FUZZ_SECONDS", "30" if UNATTENDED else "3"))
SIGNS = "<>=|?bBhilqefdgFDGSUVMmOcanp0123456789[](),.:-sDhmYW/ "


def bases(folder: Path) -> list[bytes]:
    """Return small files of all kinds."""
    several = Arrays((values("<f4", (9, 2)), values("|S3", (9,))), (values(">i2", (9, 1)), values("?", (9,))))
    plain = numbered(8)
    return [
        write(folder / "a.hsq", numbered(11), 4, {"a": [1, {"b": None}]}, names=["x", "y"]).read_bytes(),
        write(folder / "a.hsq", several, 4, names=list("abcd")).read_bytes(),
        write(folder / "a.hsq", numbered(3), 16).read_bytes(),
        write(folder / "a.hsq", Arrays((values("u1", (0, 2)),)), 4).read_bytes(),
        ended(records_of(plain, 4), json.dumps(meta_of(plain, 4, usermeta={"a": 1})).encode()),
        with_old_trailer(plain, 4, usermeta={"a": 1}),
    ]


def value(rng: random.Random) -> Any:
    """Return something that may stand in a meta block."""
    kind = rng.randrange(9)
    if kind < 2:
        found = rng.choice(rng.choice(list(LIES.values())))
        return None if found is MISSING else found
    if kind == 2:
        return rng.choice(HUGE)
    if kind == 3:
        return "".join(rng.choices(SIGNS, k=rng.randrange(8)))
    if kind == 4:
        return rng.choice(DTYPES)
    if kind == 5:
        return [value(rng) for _ in range(rng.randrange(4))]
    if kind == 6:
        return rng.choice(field_lies())
    return rng.choice([0, 1, 2, 3, 4, 8, 11, 16, -1, 2.0, True, None, "", "i0", "o0", [], {}, [4], [4, 2]])


def changed(meta: Any, rng: random.Random) -> Any:
    """Return a meta block, or a part of it, in which something is another."""
    if isinstance(meta, dict) and meta and rng.random() < 0.9:
        key = rng.choice(list(meta))
        found = dict(meta)
        if rng.random() < 0.15:
            del found[key]
        else:
            found[key] = changed(meta[key], rng)
        return found
    if isinstance(meta, list) and meta and rng.random() < 0.9:
        place, found = rng.randrange(len(meta)), list(meta)
        if rng.random() < 0.1:
            del found[place]
        elif rng.random() < 0.1:
            found.insert(place, found[place])
        else:
            found[place] = changed(meta[place], rng)
        return found
    if type(meta) is int and rng.random() < 0.5:
        return meta + rng.choice([-1, 1, 2, 4, 8, -meta])
    if isinstance(meta, str) and meta and rng.random() < 0.6:
        place = rng.randrange(len(meta))
        return meta[:place] + rng.choice(SIGNS) + meta[place + rng.randrange(2) :]
    return value(rng)


def scrambled(file: bytes, rng: random.Random) -> bytes:
    """Return a file in which bytes were flipped, put in, taken out, moved or cut off."""
    data = bytearray(file)
    for _ in range(rng.choice([1, 1, 1, 2, 5])):
        place = rng.randrange(len(data) + 1) if data else 0
        if rng.random() < 0.4 and len(data) > 40:
            place = len(data) - rng.randrange(1, 40)
        length = rng.choice([1, 1, 2, 4, 8, 30])
        how = rng.randrange(6)
        if how == 0:
            data[place : place + 1] = bytes(byte ^ 1 << rng.randrange(8) for byte in data[place : place + 1])
        elif how == 1:
            data[place : place + length] = rng.randbytes(len(data[place : place + length]))
        elif how == 2:
            data[place:place] = rng.randbytes(length)
        elif how == 3:
            del data[place : place + length]
        elif how == 4:
            del data[place:]
        else:
            other = rng.randrange(len(data) + 1) if data else 0
            data[place:place] = data[other : other + length]
    return bytes(data)


def mutated(file: bytes, rng: random.Random) -> bytes:
    """Return another file; half of them have an end that fits, and a meta block that says something else."""
    if rng.random() < 0.35 or file[-4:] != b"HSQ2":
        return scrambled(file, rng)
    data, meta = taken_apart(file)
    for _ in range(rng.choice([1, 1, 2, 3])):
        meta = changed(meta, rng)
    block = json.dumps(meta).encode()
    if rng.random() < 0.15:
        block = scrambled(block, rng)
    if rng.random() < 0.15:
        data = scrambled(data, rng)
    if rng.random() < 0.1:
        return data + b"@@FSEQ@@" + block
    if rng.random() < 0.1:
        packed = scrambled(gzip.compress(block), rng)
        return data + packed + ENDED.pack(len(packed), b"HSQ2")
    return ended(data, block)


def tried(path: Path) -> bool:
    """Use a file in all ways, and add to it; return whether it opens."""
    opened = False
    for options in ({}, {"use_mmap": False}):
        try:
            with hs.HyperSequenceFile(path, **options) as hsq:
                opened = True
                used(hsq, path)
        except BatchUpError:
            pass
    try:
        with hs.HyperSequenceWriter(path, mode="a") as writer:
            rows = writer.rows
        with hs.HyperSequenceFile(path, verify=True) as hsq:
            assert sum(len(hsq.columns[name]) for name in hsq.columns) == rows * len(hsq.columns)
    except BatchUpError:
        pass
    return opened


def run(folder: str, seconds: str, seed: str) -> None:
    """Mutate files for some seconds, and print how many there were and how many of them opened."""
    import resource

    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    path, rng, count, opened = Path(folder) / "m.hsq", random.Random(int(seed)), 0, 0
    files = bases(Path(folder))
    note = Path(folder) / "latest"
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        file = mutated(rng.choice(files), rng)
        path.write_bytes(file)
        note.write_bytes(file)
        begin = time.monotonic()
        try:
            opened += tried(path)
        except BaseException:
            sys.stderr.write(f"file number {count} of seed {seed}\n")
            traceback.print_exc()
            raise
        assert time.monotonic() - begin < 10, file
        count += 1
        if count % 100 == 0:
            assert {other.name for other in path.parent.iterdir()} == {"a.hsq", "m.hsq", "latest"}
    sys.stdout.write(f"{count} {opened}")


@pytest.mark.parametrize("seed", [1, None], ids=["frozen seed", "fresh seed"])
def test_mutated_files(seed: int | None, tmp_path: Path) -> None:
    """Files with random damage never do more than to be refused, in a process with little memory."""
    seed = random.randrange(2**30) if seed is None else seed
    code = "import sys; from tests.test_hsq_fuzz import run; run(*sys.argv[1:])"
    try:
        count, opened = child(code, tmp_path, SECONDS / 2, seed, timeout=SECONDS + 60).split()
    except AssertionError as error:
        latest = tmp_path / "latest"
        raise AssertionError(f"seed {seed}: {error}; the file was {latest.read_bytes()!r}") from None
    assert int(count) > 20 * SECONDS
    assert 0.02 < int(opened) / int(count) < 0.9
