"""The Ray pool on several nodes, which are lost and come: same order, same bytes; and what it says when it cannot."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import loader
from batchup.data_source import ArrayDataSource, ShardDataSource
from batchup.errors import (
    FileFormatError,
    InvalidValueError,
    SharedMemoryError,
    StateError,
    WorkerError,
    WorkerTimeoutError,
)
from batchup.work_pool import WorkerRayPool
from batchup.work_pool.cluster import dispatcher, joining

from ..nodes import STORE, Nodes, checksum, heavy, nodes
from ..pools import (
    assert_same,
    assert_same_pass,
    end_of_patience,  # noqa: F401
    eventually,
    importable_tests,
    mapped_files,
)

MIB = 2**20
PATIENCE = 120  # seconds: nodes take their time to come up, on a busy machine


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Yield a cluster of two nodes, each with a folder of its own, beside the one that the tests run on."""
    folders = [{"DISK": str(tmp_path_factory.mktemp(f"node{number}"))} for number in range(2)]
    with importable_tests(), nodes(2, variables=folders) as there:
        there.folders = [Path(folder["DISK"]) for folder in folders]
        yield there


@pytest.fixture
def pool(cluster: Nodes) -> Iterator[Any]:
    """Yield a pool with a worker on each node."""
    with WorkerRayPool(address=cluster.address) as there:
        yield there


def data(rows: int = 2048, width: int = 1024) -> ArrayDataSource:
    """Return a source of some megabytes."""
    return ArrayDataSource([np.random.default_rng(1).integers(2**31, size=(rows, width)), np.arange(rows)])


# nodes that are lost, and come


@pytest.mark.parametrize("count", [1, 2])
def test_nodes_are_lost_in_mid_epoch(count: int) -> None:
    """One of two or three nodes is lost and another one comes, again and again: the epochs are the serial ones."""
    ds = data().map(heavy)
    with nodes(count) as there, WorkerRayPool(count, there.address) as pool:
        par = pool.parallel_data_source(ds, batch_buffer_size=8)
        for epoch in range(2):
            found = 0
            with closing(par.batch_iterator(32, shuffle=3, epoch=epoch)) as batches:
                for number, batch in enumerate(batches):
                    found = checksum_on(found, batch)
                    if number == 8 + epoch:
                        there.lose(graceful=epoch == 1)
                        there.add()
            assert found == checksum(ds.batch_iterator(32, shuffle=3, epoch=epoch))
        assert there.lost == 2
        assert eventually(lambda: len(pool.nodes) == count, 30)


def checksum_on(found: int, batch: Any) -> int:
    """Return the checksum of what came before and a batch."""
    for column in batch:
        found = zlib.crc32(np.ascontiguousarray(column), found)
    return found


def test_results_on_a_lost_node_are_made_again() -> None:
    """Batches that were made, and lay on a node when it was lost, come all the same."""
    ds = data(width=8192).map(heavy)
    with nodes(2) as there, WorkerRayPool(2, there.address) as pool:
        par = pool.parallel_data_source(ds, batch_buffer_size=12)
        with closing(par.batch_iterator(64, shuffle=5)) as batches:
            head = [next(batches)]
            time.sleep(1)  # all that may be is made ahead, and lies where it was made
            there.lose()
            there.add()
            assert_same([*head, *batches], list(ds.batch_iterator(64, shuffle=5)))


def test_a_result_that_is_lost_on_its_way_is_made_again(pool: Any) -> None:
    """Results that Ray cannot find any more come all the same, once, in their places."""
    import ray

    lost: list[Any] = []

    def losing(tell: Callable[..., None]) -> Callable[..., None]:
        def told(event: str, what: str, seat: Any, turn: int, future: Any, *about: Any) -> None:
            if what == "done" and len(lost) < 4:
                lost.append(about[0])
                future = Future()
                future.set_exception(ray.exceptions.ObjectLostError("0" * 56, None, ""))
            tell(event, what, seat, turn, future, *about)

        return told

    for seat in pool._dispatcher._seats:
        seat._tell = losing(seat._tell)
    ds = data(512)
    assert_same_pass(pool.parallel_data_source(ds, batch_buffer_size=4), ds, 16, "seed")
    assert len(lost) == 4
    assert eventually(lambda: pool._dispatcher.ledger._counted() == (0, 0))


def test_a_state_goes_on_elsewhere(cluster: Nodes) -> None:
    """A state that was taken on a cluster loads without one, and the other way round."""
    ds = data().map(heavy)
    expected = list(ds.batch_iterator(100, shuffle=5, epoch=2))
    with WorkerRayPool(2, cluster.address) as pool:
        par = pool.parallel_data_source(ds)
        for first, second in ((par, ds), (ds, par)):
            begun: Any = first.batch_iterator(100, shuffle=5, epoch=2)
            head = list(islice(begun, 7))
            resumed: Any = second.batch_iterator(100, shuffle=5, epoch=2)
            resumed.load_state_dict(begun.state_dict())
            assert_same([*head, *resumed], expected)
            begun.close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_workers_that_are_killed(pool: Any, number: int) -> None:
    """A worker that is killed is replaced, and what it was at is done again."""
    ds = data(512).map(heavy)
    par = pool.parallel_data_source(ds)
    before = pool.pids
    with closing(par.batch_iterator(16, shuffle=5)) as batches:
        head = list(islice(batches, 3))
        os.kill(before[0], number)
        assert_same([*head, *batches], list(ds.batch_iterator(16, shuffle=5)))
    assert eventually(lambda: len(pool.pids) == 2)
    assert set(pool.pids) != set(before)


# tasks that do harm


def deadly(x: Any, y: Any) -> Any:
    """Kill the worker that is given sample 170."""
    if 170 in y:
        os.kill(os.getpid(), signal.SIGKILL)
    return x, y


@pytest.mark.parametrize("max_restarts", [0, 2])
def test_a_deadly_batch_is_named(cluster: Nodes, max_restarts: int) -> None:
    """A batch that kills every worker is an error that names it; the pool goes on."""
    ds = data(1024, 4).map(deadly)
    with WorkerRayPool(2, cluster.address, max_restarts=max_restarts) as pool:
        with pytest.raises(WorkerError, match=r"batch 10 of epoch 0.*killed its worker") as caught:
            list(pool.parallel_data_source(ds).batch_iterator(16))
        often = {0: r"(once|twice)", 2: r"[34] times"}  # once more, if batches were read together
        assert re.search(f"killed its worker {often[max_restarts]}", str(caught.value))
        assert_same_pass(pool.parallel_data_source(data(64, 4)), data(64, 4), 5)


def stuck(x: Any, y: Any) -> Any:
    """Never return from the batch with sample 40."""
    while 40 in y:
        time.sleep(0.01)
    return x, y


def test_a_stuck_batch_is_named(cluster: Nodes) -> None:
    """A batch that takes too long is an error that names it, and shows where its worker is."""
    with WorkerRayPool(2, cluster.address, timeout=1) as pool:
        with pytest.raises(WorkerTimeoutError, match=r"batch 10 of epoch 0") as caught:
            list(pool.parallel_data_source(data(256, 4).map(stuck), batch_buffer_size=2).batch_iterator(4))
        assert "in stuck" in str(caught.value)
        assert list(pool.work_stream([(pow, (2, 5))]).retrieve_iter()) == [32]


def test_errors_tell_where_they_were_raised(pool: Any) -> None:
    """The traceback of an error names the process and the machine."""
    with pytest.raises(ZeroDivisionError) as caught:
        pool.work_stream([(divmod, (1, 0))]).retrieve()
    assert str(caught.value.__cause__).split()[:2] == ["in", "process"]
    assert socket.gethostname() in str(caught.value.__cause__)


# memory


def test_batches_are_views_of_the_store(pool: Any) -> None:
    """Large batches lie in the object store, may be written to, and are let go with their last view."""
    ds = data(512, 4096)
    held = pool._dispatcher.ledger._counted
    par = pool.parallel_data_source(ds, batch_buffer_size=4)
    kept = list(islice(par.batch_iterator(32, shuffle=1), 3))
    assert any("plasma" in name for name in mapped_files())
    assert eventually(lambda: held()[1] == 3 * MIB)
    views = [batch[0][4:8, ::2] for batch in kept]
    expected = [np.array(view) for view in views]
    for batch in kept:
        assert batch[0].flags.writeable
        batch[0][:4] = -1
    del batch, kept
    assert held()[1] == 3 * MIB
    list(par.batch_iterator(32, shuffle=2))
    assert_same(views, expected)
    del views
    assert eventually(lambda: held() == (0, 0))


def test_who_keeps_more_than_the_budget(cluster: Nodes) -> None:
    """A consumer that keeps more than the store holds gets every batch, and the store is not filled."""
    ds = data(4096, 8192)  # 256 MiB
    assert ds.num_samples() * 8192 * 8 > STORE
    path = cluster.folders[0] / "large.npy"
    np.save(path, ds.data[0])
    ds = ArrayDataSource([np.load(path, mmap_mode="r"), ds.data[1]])
    with WorkerRayPool(2, cluster.address, memory="24MiB") as pool:
        kept = list(pool.parallel_data_source(ds).batch_iterator(64, shuffle=4))
        assert pool._dispatcher.ledger._counted()[1] <= 24 * MIB
    assert_same(kept, list(ds.batch_iterator(64, shuffle=4)))


def test_what_does_not_fit_into_the_store(pool: Any) -> None:
    """Arrays, and batches, that are larger than the store are errors with the bytes that are wanted and there."""
    large = ArrayDataSource([np.zeros((200, MIB), np.uint8)])
    with pytest.raises(SharedMemoryError, match=f"{200 * MIB:,} bytes.*{STORE:,}"):
        pool.parallel_data_source(large)
    grows = data(64, 4).map(lambda x, y: (np.zeros((len(x), 8 * MIB), np.uint8),))
    with pytest.raises(SharedMemoryError, match=rf"a result of 2\d\d,\d+,\d+ bytes.*{STORE:,}"):
        list(pool.parallel_data_source(grows).batch_iterator(32))
    assert_same_pass(pool.parallel_data_source(data(64, 4)), data(64, 4), 5)


def test_arrays_in_files_are_not_copied(pool: Any, tmp_path: Path) -> None:
    """What lies in a file that all nodes see is read from there; what only this program still has is sent."""
    array = np.arange(40_000.0).reshape(400, -1)
    for name in ("there", "gone"):
        np.save(tmp_path / f"{name}.npy", array)
    there, gone = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in ("there", "gone"))
    (tmp_path / "gone.npy").unlink()
    from batchup.work_pool.cluster.shipping import Cargo

    unseen = pool._dispatcher.unseen
    assert [Cargo(ArrayDataSource([column]), unseen).bytes for column in (there, gone)] == [0, array.nbytes]
    assert Cargo(ArrayDataSource([there]), lambda files: {path for path, _ in files}).bytes == array.nbytes
    ds = ArrayDataSource([there, gone, there[::-1]])
    assert_same_pass(pool.parallel_data_source(ds), ds, 50, "seed")


# files on the nodes


def shard_files(folders: list[Path]) -> list[np.ndarray[Any, Any]]:
    """Write a file to each folder but a third one to both; return what is in them."""
    parts = [np.arange(1000 * part, 1000 * part + 200 + part).reshape(-1, 1) for part in range(3)]
    for number, folder in enumerate(folders):
        np.save(folder / f"part-{number}.npy", parts[number])
        np.save(folder / "part-2.npy", parts[2])
    return parts


def test_tasks_go_to_the_node_that_has_the_file(cluster: Nodes, pool: Any) -> None:
    """Each shard is read on a node that has it, though no node has all; the epoch is that of all files together."""
    parts = shard_files(cluster.folders)
    paths = [f"$DISK/part-{number}.npy" for number in range(3)]
    ds = ShardDataSource(paths, lengths=[len(part) for part in parts])
    nodes_of: dict[int, set[str]] = {0: set(), 1: set(), 2: set()}
    par = pool.parallel_data_source(ds.map(lambda x: (x, np.full(len(x), os.environ["DISK"]))))
    got = []
    for x, disk in par.batch_iterator(10, shuffle=3):
        nodes_of[int(x[0, 0]) // 1000].add(disk[0])
        got.append(x)
    assert nodes_of[0] == {str(cluster.folders[0])}
    assert nodes_of[1] == {str(cluster.folders[1])}
    assert np.array_equal(np.sort(np.concatenate(got), axis=0), np.concatenate(parts))
    serial = ShardDataSource([cluster.folders[number % 2] / f"part-{number}.npy" for number in range(3)])
    assert_same([(x,) for x in got], list(serial.batch_iterator(10, shuffle=3)))


def test_shards_are_found_on_all_nodes(cluster: Nodes, pool: Any) -> None:
    """A pattern is looked for on every node; what fits nowhere, or differs, is an error."""
    parts = shard_files(cluster.folders)
    ds = pool.shards("$DISK/part-[01].npy")
    assert ds.files == tuple(str(cluster.folders[n] / f"part-{n}.npy") for n in (0, 1))
    ((rows,),) = [pool.parallel_data_source(ds).batch_map_concat(lambda x: x, 16)]
    assert np.array_equal(np.sort(rows, axis=0), np.concatenate(parts[:2]))
    for wrong, error in (("$DISK/none-*.npy", InvalidValueError), (7, TypeError), ("$DISK/../*/part*.xyz", ValueError)):
        with pytest.raises(error):
            pool.shards(wrong)
    (cluster.folders[0] / "bad-0.npy").write_bytes(b"no array")
    with pytest.raises(FileFormatError, match="bad-0"):
        pool.shards("$DISK/bad-*.npy")


def test_files_of_one_name_that_differ(pool: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One name for files of other lengths is an error that says both (one machine cannot have such files)."""
    monkeypatch.setattr(pool._dispatcher, "ask", lambda *_: {"a": {"/same.npy": 3}, "b": {"/same.npy": 5}})
    with pytest.raises(InvalidValueError, match=r"/same\.npy is a file of 5 samples on one node, and of 3 on another"):
        pool.shards("/same*.npy")


def test_files_that_no_node_has(pool: Any, tmp_path: Path) -> None:
    """A shard that no node sees is an error that names it, at its turn."""
    ds = ShardDataSource([str(tmp_path / "none.npy")], lengths=[40])
    with pytest.raises(FileFormatError, match=r"none\.npy: no node with a worker sees"):
        list(pool.parallel_data_source(ds).batch_iterator(4))


def test_a_file_that_comes_later(pool: Any, tmp_path: Path) -> None:
    """A file that was not there is looked for again."""
    ds = ShardDataSource([str(tmp_path / "late.npy")], lengths=[8])
    with pytest.raises(FileFormatError):
        list(pool.parallel_data_source(ds).batch_iterator(4))
    np.save(tmp_path / "late.npy", np.arange(8))
    assert len(list(pool.parallel_data_source(ds).batch_iterator(4))) == 2


def test_the_budget_holds_for_results_of_any_size(cluster: Nodes) -> None:
    """However large results turn out to be, no more of them wait in the store than the budget allows, or nearly so."""
    with WorkerRayPool(2, cluster.address, memory="24MiB") as pool:
        stream = pool.work_stream([(np.zeros, (MIB,))] * 12, task_buffer_size=12)  # 8 MiB each
        assert eventually(lambda: pool._dispatcher.ledger._counted()[0] >= 16 * MIB)
        time.sleep(1)
        assert pool._dispatcher.ledger._counted()[0] <= 40 * MIB
        assert sum(len(result) for result in stream.retrieve_iter()) == 12 * MIB
        assert pool._dispatcher.ledger._counted()[0] == 0


def test_a_file_on_a_lost_node_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """When the only node with a file is lost, the pass goes on as soon as one comes that has it."""
    monkeypatch.setattr(dispatcher, "LOST", 20.0)
    folders = [{"DISK": str(tmp_path / name)} for name in ("a", "b")]
    for folder in folders:
        os.mkdir(folder["DISK"])
    np.save(tmp_path / "b" / "only.npy", np.arange(400))
    ds = ShardDataSource(["$DISK/only.npy"], lengths=[400])
    with nodes(2, variables=folders) as there, WorkerRayPool(address=there.address) as pool:
        batches = pool.parallel_data_source(ds, batch_buffer_size=2).batch_iterator(10)
        head = list(islice(batches, 5))
        there.lose(1)
        there.add(folders[1])
        assert np.array_equal(np.concatenate([x for (x,) in [*head, *batches]]), np.arange(400))


# several programs, several ranks


def test_ranks_with_pools_of_their_own(cluster: Nodes) -> None:
    """Ranks on several nodes, each with a pool, make up the one-rank epoch together."""
    import ray

    ds = data(500, 8).map(heavy)

    def rank_of(rank: int) -> list[Any]:
        with WorkerRayPool(1) as pool:
            return list(pool.parallel_data_source(ds).batch_iterator(16, shuffle=9, shard=(rank, 2)))

    with WorkerRayPool(1, cluster.address):  # keeps the connection
        ranks = ray.remote(num_cpus=0)(rank_of)
        got = ray.get([ranks.options(scheduling_strategy="SPREAD").remote(rank) for rank in range(2)])
    assert_same(got, [list(ds.batch_iterator(16, shuffle=9, shard=(rank, 2))) for rank in range(2)])


def test_maps_over_the_cluster(pool: Any) -> None:
    """Predictions of a large set are made by the workers, with a bar."""
    seen = []

    def bar(batches: Any, total: int, leave: bool) -> Any:
        for batch in batches:
            seen.append(total)
            yield batch

    ds = data(500, 8)
    expected = ds.batch_map_concat(lambda x, y: (x.sum(axis=1), y), 16)
    found = ds.batch_map_concat(lambda x, y: (x.sum(axis=1), y), 16, progress_iter_func=bar, pool=pool)
    assert_same(found, expected)
    assert seen == [32] * 32
    mean = ds.batch_map_mean(lambda x, y: x.sum(), 16, pool=pool)
    assert_same(mean, ds.batch_map_mean(lambda x, y: x.sum(), 16))


def test_loaders(pool: Any) -> None:
    """A loader over the cluster gives the epochs of one without."""
    with loader(data(100, 4), 8, shuffle=1, pool=pool) as batches:
        serial = loader(data(100, 4), 8, shuffle=1)
        for _ in range(2):
            assert_same(list(batches), list(serial))


# joining, and what is wrong


def test_a_connection_of_the_users_stays(cluster: Nodes) -> None:
    """Who is in a cluster already stays in it when pools have gone; another one cannot be joined beside it."""
    import ray

    ray.init(cluster.address, logging_level="ERROR")
    try:
        with WorkerRayPool(1) as pool, WorkerRayPool(1, "auto") as other:
            assert pool.work_stream([(pow, (2, 3))]).retrieve() == 8
            port = cluster.address.rpartition(":")[2]
            with WorkerRayPool(1, f"localhost:{port}") as third:
                assert third.closed is False
            assert other.work_stream([(pow, (2, 3))]).retrieve() == 8
            with pytest.raises(StateError, match="already"):
                WorkerRayPool(1, "10.0.0.1:6379")
        assert ray.is_initialized()
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("address", "error"),
    [
        (7, TypeError),
        ("ray://head:10001", ValueError),
        ("nowhere", ValueError),
        ("nowhere:x", ValueError),
        (":6379", ValueError),
    ],
)
def test_wrong_addresses(address: Any, error: type[Exception]) -> None:
    """An address that cannot be one is an error at the call."""
    with pytest.raises(error, match="address"):
        WorkerRayPool(1, address)


def test_addresses_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody, or somebody else, at an address: an error that tells what was tried, in half a minute at most."""
    assert joining.PATIENCE == 30
    monkeypatch.setattr(joining, "PATIENCE", 1.0)
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            with server.accept()[0] as line:
                line.recv(100)
                line.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(WorkerError, match=rf"{port}: tried \d times in 1 s.*(not as Ray does|timed out)"):
            WorkerRayPool(1, f"127.0.0.1:{port}")
    with pytest.raises(WorkerError, match=r"no Ray cluster answers at .*refused"):
        WorkerRayPool(1, f"127.0.0.1:{port}")
    with pytest.raises(WorkerError, match=r"no Ray cluster answers at no\.such\.host:6379"):
        WorkerRayPool(1, "no.such.host:6379")


@pytest.mark.parametrize("what", ["Python", "batchup"])
def test_other_versions(cluster: Nodes, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Workers with another version of Python, or of batchup, are refused, and both are named."""
    versions = dispatcher.versions()
    monkeypatch.setattr(dispatcher, "versions", lambda: {**versions, what: "0.1"})
    with WorkerRayPool(1, cluster.address) as pool:
        with pytest.raises(WorkerError, match=rf"{what} {versions[what]}.*{what} 0\.1"):
            pool.work_stream([(pow, (2, 3))]).retrieve()
        with pytest.raises(WorkerError, match="must be the same"):
            pool.parallel_data_source(data(8, 8))


def test_more_workers_than_there_is_room_for(cluster: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that come up do the work; if none can, that is an error that says what there is."""
    monkeypatch.setattr(dispatcher, "STRAGGLERS", 0.5)
    monkeypatch.setattr(dispatcher, "UP", 3.0)
    with WorkerRayPool(5, cluster.address) as pool:
        assert pool.work_stream([(pow, (2, 3))]).retrieve() == 8
        assert len(pool.pids) == 2
        with (
            WorkerRayPool(1, cluster.address) as other,
            pytest.raises(WorkerError, match=r"no worker of 1 .* there are 2 processors .* of which 0 are free"),
        ):
            other.work_stream([(pow, (2, 3))]).retrieve()
