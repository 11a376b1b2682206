"""Files in object stores: the protocols of S3 and of Google Cloud Storage, spoken by servers on loopback."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pytest

from batchup import Dataset, errors, remote, work_pool
from batchup import hypersequence as hs
from batchup.remote import problems

from ..programs import Program, free_port

ROWS = np.random.default_rng(1).integers(0, 256, (4000, 200), dtype=np.uint8)
NAME = "my data/übung #1.hsq"


class Store(Program):
    """An object store with a bucket called ``bucket``.

    Attributes
    ----------
    scheme : str
        Of its addresses.
    options : dict
        What fsspec needs to get there.
    """

    def __init__(self, scheme: str, home: Path) -> None:
        port = free_port()
        url, programs = f"http://127.0.0.1:{port}", Path(sys.executable).parent
        self.scheme = scheme
        if scheme == "s3":
            command = [programs / "moto_server", "-H", "127.0.0.1", "-p", port]
            self.options = {"key": "name", "secret": "word", "endpoint_url": url}
        else:
            command = [programs / "gcp-storage-emulator", "start", "--host", "127.0.0.1", "--port", port, "--in-memory"]
            self.options = {"token": "anon", "endpoint_url": url}
        super().__init__([str(part) for part in command], port, home / "log")

    def files(self) -> Any:
        """Return the file system, as others than batchup use it."""
        return fsspec.filesystem(self.scheme, skip_instance_cache=True, **self.options)

    def open(self, name: str, **options: Any) -> remote.RemoteFile:
        """Return a file of the bucket."""
        return remote.RemoteFile(f"{self.scheme}://bucket/{name}", storage_options=self.options, **options)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BATCHUP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # it would ask by gRPC, for a minute
    monkeypatch.setattr(problems, "WAIT", 0.02)


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    server = Store(request.param, tmp_path)
    server.start()
    try:
        files = server.files()
        files.mkdir("bucket")
        with hs.HyperSequenceWriter(tmp_path / "a.hsq", batch_size=64) as writer:
            writer.extend(inputs=ROWS, outputs=np.arange(len(ROWS)))
        files.put_file(str(tmp_path / "a.hsq"), f"bucket/{NAME}")
        yield server
    finally:
        server.kill()


def check(batches: Iterable[Any]) -> None:
    """Check that batches have all rows, each once."""
    found = []
    for rows, numbers in batches:
        assert (rows == ROWS[numbers]).all()
        found += numbers.tolist()
    assert sorted(found) == list(range(len(ROWS)))


def test_read(store: Store) -> None:
    """Rows are those that were written, in any order, also through a pickle."""
    with hs.HyperSequenceFile(store.open(NAME)) as hsq:
        for by in ("batch", "sample"):
            check(hsq.data_source(by).batch_iterator(100, shuffle=1))
        with pickle.loads(pickle.dumps(hsq)) as again:
            assert (again.columns["i0"][:] == ROWS).all()


def test_workers_open_it_themselves(store: Store) -> None:
    """Batches that other processes make are the same."""
    with hs.HyperSequenceFile(store.open(NAME)) as hsq, work_pool.WorkerProcessPool(2) as pool:
        parallel = pool.parallel_data_source(hsq.data_source("batch"))
        check(parallel.batch_iterator(100, shuffle=1))


def test_what_is_not_there(store: Store) -> None:
    """A file, or a bucket, that is not there is told so, without asking again."""
    for address in (f"{store.scheme}://bucket/none", f"{store.scheme}://nobucket/none"):
        with pytest.raises(errors.FetchError, match=f"{address} is not there: look whether"):
            remote.RemoteFile(address, storage_options=store.options)


def test_a_change_is_seen(store: Store) -> None:
    """A file that is replaced by one of the same size is an error, and can be opened anew."""
    files = store.files()
    files.pipe_file("bucket/a", b"a" * 1000)
    with store.open("a", cache=False) as file:
        assert file.read(990, 10) == b"a" * 10
        files.pipe_file("bucket/a", b"b" * 1000)
        with pytest.raises(errors.FileFormatError, match="has changed since it was opened"):
            file.read(0, 10)
    with store.open("a", cache=False) as file:
        assert file.read(990, 10) == b"b" * 10


async def at_once(seconds: float) -> None:
    """Do not sleep."""


def test_a_store_that_dies(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is kept on the disk; all else is an error that says what happened."""
    monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=at_once))  # it would take half a minute
    with store.open(NAME, retries=0) as file:
        begin = file.read(0, 64_000)
        store.kill()
        assert file.read(0, 64_000) == begin
        with pytest.raises(errors.FetchError, match=r"übung #1.hsq: .*(refused|no connection can be made)"):
            file.read(64_000, 10)


def test_tables(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tables are read by address, also those that a pattern stands for; fsspec is told once how to get there."""
    monkeypatch.setitem(fsspec.config.conf, store.scheme, store.options)
    files, numbers = store.files(), np.arange(1000)
    for part in range(2):
        Dataset({"x": numbers[500 * part :][:500], "t": [f"text {n}" for n in range(500)]}).write(
            tmp_path / "part.parquet"
        )
        files.put_file(str(tmp_path / "part.parquet"), f"bucket/parts/part #{part}.parquet")
    rows = list(Dataset.read(f"{store.scheme}://bucket/parts/*.parquet"))
    assert [int(row["x"]) for row in rows] == numbers.tolist()
    assert rows[-1]["t"] == "text 499"
