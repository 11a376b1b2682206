"""Whatever goes wrong on the way, and however often: bytes that are read are the file's, or it is an error."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from batchup import errors, remote
from batchup import hypersequence as hs
from batchup.remote import problems

from . import remote as faulty
from .hsq import Arrays, same, values, write
from .remote import Fault, Server, numbers

DATA = [numbers(400_000, seed) for seed in range(3)]
FAULTS: list[Callable[[random.Random], Fault]] = [
    lambda rng: faulty.cut(rng.randrange(90_000)),
    lambda rng: faulty.reset(rng.randrange(90_000)),
    lambda rng: faulty.hang_up,
    lambda rng: faulty.say(rng.choice([429, 500, 502, 503])),
    lambda rng: faulty.say(503, Retry_After="0"),
    lambda rng: faulty.say(rng.choice([403, 404, 410])),
    lambda rng: faulty.say(302, Location="/a"),
    lambda rng: faulty.without_parts,
    lambda rng: faulty.another_part(first := rng.randrange(300_000), first + rng.randrange(1, 100_000)),
    lambda rng: faulty.stall(rng.randrange(50_000)),
    lambda rng: faulty.changed("a", rng.choice(DATA), rng.choice([None, rng.randrange(50_000)])),
]


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BATCHUP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(problems, "WAIT", 0.001)


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("seed", range(12))
def test_any_faults(seed: int, cache: bool) -> None:
    """Bytes are those of the version that was opened, or there is an error of ours, and nobody waits for ever."""
    rng = random.Random(seed)
    with Server(a=DATA[0]).running() as server:
        read = failed = 0
        for _ in range(6):
            server.faults = [rng.choice(FAULTS)(rng) if rng.random() < 0.4 else None for _ in range(20)]
            try:
                with remote.RemoteFile(server.url + "a", cache=cache, retries=3, timeout=0.1) as file:
                    versions = [data for data in DATA if file.etag in (None, server.etag_of(data))]
                    for _ in range(5):
                        start, size = rng.randrange(400_000), rng.randrange(120_000)
                        assert file.read(start, size) in [data[start : start + size] for data in versions]
                        read += 1
            except (errors.FetchError, errors.FileFormatError):
                failed += 1
    assert read
    assert read + failed > 6


@pytest.mark.parametrize("seed", range(4))
def test_any_faults_of_batches(tmp_path: Path, seed: int) -> None:
    """Batches of a file elsewhere are those that were written, or there is an error; damage on the way is seen."""
    rng = random.Random(seed)
    arrays = Arrays((values("<f4", (700, 31)),), (values("<i8", (700,)),))
    data = write(tmp_path / "a.hsq", arrays, 16).read_bytes()
    with Server(a=data).running() as server:
        for _ in range(4):
            chosen = [*FAULTS[:-1], lambda _: faulty.damaged]
            server.faults = [None] * 4 + [rng.choice(chosen)(rng) if rng.random() < 0.5 else None for _ in range(30)]
            try:
                file = remote.RemoteFile(server.url + "a", retries=3, timeout=0.1)
                with hs.HyperSequenceFile(file) as hsq:
                    order = rng.sample(range(44), 44)
                    for number in order:
                        at = slice(number * 16, number * 16 + 16)
                        same(hsq[number], (arrays.inputs[0][at], arrays.outputs[0][at]))
                    rows_read = np.sort(
                        np.concatenate([y for _, y in hsq.data_source().batch_iterator(50, shuffle=seed)])
                    )
                    assert (rows_read == np.sort(arrays.outputs[0])).all()
            except (errors.FetchError, errors.FileFormatError):
                pass


def test_long_waits_are_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever has to wait for a second or more is told for what, and short waits are not worth a word."""
    monkeypatch.setattr(problems, "LONG", 0.05)
    with Server(a=DATA[0]).running() as server, remote.RemoteFile(f"{server.url}a?key=secret", cache=False) as file:
        server.faults = [faulty.say(503), faulty.say(503, Retry_After="1"), None]
        assert file.read(0, 10) == DATA[0][:10]
    assert [record.getMessage() for record in caplog.records] == [
        f"{server.url}a?...: answered 503 Service Unavailable, come again after 1 s; to be asked again in 1 s (2 of 8)"
    ]
