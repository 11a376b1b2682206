"""The Ray cluster that this program is in: joined, or started on this machine, and left as it was found."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from batchup._extras import required
from batchup.errors import InvalidTypeError, InvalidValueError, StateError, WorkerError
from batchup.work_pool.abstract import cores

PATIENCE = 30.0  # seconds that a cluster may take to answer
RETRY = 0.5
MOMENT = 0.005
PREFIX = "batchup-ray-"
LONGEST = 40  # characters of the path of a folder in which Ray makes sockets: 107 is the most that those may have
# when this program has been killed, or Ray has not come up: gives Ray's processes time to see it, kills those that
# have not, and removes the folder; they are known by what they have open there
SWEEP = """
cat
for second in 1 2 3; do
    sleep 1
    rm -rf "$0"
done
for process in /proc/[0-9]*; do
    ls -l "$process/fd" 2>/dev/null | grep -qF "$0/" && kill -9 "${process#/proc/}"
done
sleep 0.2
rm -rf "$0"
"""
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
ANSWER = 4  # the kind of frame with which a server of HTTP/2, such as Ray's, answers (RFC 9113, section 3.4)
# what Ray is told by way of the environment when it is started here: to ask nobody, and to be quiet about GPUs
OURS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class Cluster:
    """A share in the connection of this program to a cluster; pools have one each.

    Attributes
    ----------
    address : str
        Where the cluster is.
    local : bool
        Whether it was started here, for the pools of this program alone.
    """

    def __init__(self, address: str, local: bool, session: Session | None) -> None:
        self.address = address
        self.local = local
        self._session = session
        self._left = False

    def cpus(self) -> int:
        """Return how many processors the nodes have that Ray may use."""
        import ray

        return int(ray.cluster_resources().get("CPU", 0)) or 1

    def described(self) -> str:
        """Return what there is, and what of it is free, for errors."""
        import ray

        there, free = ray.cluster_resources(), ray.available_resources()
        return f"{there.get('CPU', 0):g} processors at {self.address}, of which {free.get('CPU', 0):g} are free"

    def store_bytes(self) -> int:
        """Return how many bytes the object store of a node holds, the smallest that there is."""
        import ray

        sizes = [node["Resources"].get("object_store_memory", 0) for node in ray.nodes() if node["Alive"]]
        return int(min(filter(None, sizes), default=0))

    def has_node(self, node: str) -> bool:
        """Return whether a node is there."""
        import ray

        return any(each["NodeID"] == node and each["Alive"] for each in ray.nodes())

    def connected(self) -> bool:
        """Return whether the program is still in the cluster."""
        return _connected_to() == self.address

    def await_end(self) -> None:
        """Wait while somebody ends the connection: whoever frees what is Ray's meanwhile ends the program."""
        from ray._private.worker import global_worker

        end = monotonic() + PATIENCE
        while not global_worker.connected and hasattr(global_worker, "core_worker") and monotonic() < end:
            sleep(MOMENT)

    def leave(self) -> None:
        """Give up the share; with the last one the connection ends, if it was made here."""
        if not self._left:
            self._left = True
            if self._session is not None:
                self._session.leave()


class Session:
    """A connection that was made here, for one pool or more; it ends with the last share.

    Attributes
    ----------
    process : int
        The process that made it: a copy of that which is forked off does not have it.
    address : str
        Where it leads.
    shares : int
        How many have a share in it.
    folder : Path or None
        Where Ray keeps its sockets and logs, if the cluster was started here.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self.address = ""
        self.shares = 0
        self.folder: Path | None = None
        self._sweeper: subprocess.Popen[bytes] | None = None
        self._told: list[str] = []

    def start(self, ray: Any, processes: int) -> None:
        """Start a cluster of this machine alone, which nobody else can join."""
        parent = tempfile.gettempdir() if len(tempfile.gettempdir()) < LONGEST - len(PREFIX) - 8 else "/tmp"
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._sweeper = subprocess.Popen(
            ["/bin/sh", "-c", SWEEP, str(self.folder)], stdin=subprocess.PIPE, start_new_session=True
        )
        global _had_secret
        _had_secret = _had_secret or "RAY_AUTH_MODE" not in os.environ
        self._told = [name for name in OURS if name not in os.environ]
        os.environ.update({name: OURS[name] for name in self._told})
        _have_secret()
        try:
            with _loopback():
                ray.init(
                    address="local",
                    num_cpus=max(processes, cores()),
                    include_dashboard=False,
                    logging_level=logging.ERROR,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=str(self.folder),
                )
        except Exception as error:
            raise WorkerError(f"Ray cannot be started on this machine: {error}") from error

    def end(self) -> None:
        """End the connection, unless it is another one by now, and all that was started."""
        if not self.address or _connected_to() == self.address:
            sys.modules["ray"].shutdown()
        for name in self._told:
            os.environ.pop(name, None)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            if self.folder.exists():  # somebody wrote last words meanwhile
                sleep(RETRY)
                shutil.rmtree(self.folder, ignore_errors=True)
        if self._sweeper is not None:
            if self.address:
                self._sweeper.kill()
            self._sweeper.communicate()  # if Ray was interrupted at its start, it may not know what it has started

    def leave(self) -> None:
        """Give up a share."""
        global _session
        if self.process != os.getpid():
            return
        with _lock:
            self.shares -= 1
            if self.shares == 0:
                if _session is self:
                    _session = None
                self.end()


_lock = threading.Lock()
_session: Session | None = None
_registered: list[Any] = []
_had_secret = False  # as a cluster that was started here has; Ray goes on asking for it until the program ends


def join(address: Any, processes: int) -> Cluster:
    """Return a share in the connection to a cluster, which is made if there is none.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    WorkerError
        If nobody answers, or not as Ray does.
    StateError
        If the program is connected to another cluster.
    """
    global _session
    ray = required("ray", "ray", "WorkerRayPool")
    if address is not None and not isinstance(address, str):
        raise InvalidTypeError(f"address must be 'auto', 'host:port' or None, got {type(address).__name__}")
    with _lock:
        if not _registered:  # after Ray has, so that this comes before its own end
            _registered.append(atexit.register(_end_with_program))
        if _session is not None and _session.process != os.getpid():
            raise StateError(
                "this program was forked off one that is in a Ray cluster, and cannot be in one itself: start it anew "
                "(multiprocessing has the start method 'spawn'), or make the pool before"
            )
        there = _connected_to()
        if there is not None and (_session is None or _session.address != there):
            _check_same(address, there)
            return Cluster(there, False, None)
        if there is None:
            if _session is not None:  # somebody else has ended the connection
                _session.end()
            _session = _made(ray, address or os.environ.get("RAY_ADDRESS") or None, processes)
        assert _session is not None
        _check_same(address, _session.address)
        _session.shares += 1
        return Cluster(_session.address, _session.folder is not None, _session)


def _made(ray: Any, address: str | None, processes: int) -> Session:
    """Return a connection that is made anew."""
    session = Session()
    try:
        if address is None or address == "local":
            session.start(ray, processes)
        else:
            _connect(ray, address)
        session.address = _connected_to() or ""
    except BaseException:
        session.end()
        raise
    return session


def _connected_to() -> str | None:
    """Return the address of the cluster that this program is in, if it is in one."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return None
    with suppress(Exception):  # it is being ended
        address: str = ray.get_runtime_context().gcs_address
        return address
    return None


def _check_same(address: str | None, there: str) -> None:
    if address not in (None, "auto", "local", there) and _looked_for(str(address)) != there:
        raise StateError(
            f"this program is in the Ray cluster at {there} already, and can be in one only: leave that one before "
            f"(ray.shutdown()) to join {address}"
        )


@contextmanager
def _loopback() -> Iterator[None]:
    """Let Ray stay on the loopback: it would take the address that others know this machine by."""
    from ray._private import services

    before = getattr(services, "resolve_ip_for_localhost", None)
    if before is not None:
        services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        if before is not None:
            services.resolve_ip_for_localhost = before


def _have_secret() -> None:
    """See to a secret for whoever talks to the cluster: Ray would write one into the home. It reads it once."""
    with suppress(ImportError):  # an older Ray knows of none
        from ray._raylet import AuthenticationTokenLoader

        loader = AuthenticationTokenLoader.instance()
        if not loader.has_token(ignore_auth_mode=True):
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
            loader.reset_cache()


def _connect(ray: Any, address: str) -> None:
    """Join a cluster that is there."""
    if "://" in address:
        raise InvalidValueError(
            f"address={address!r}: a pool belongs to a program on a node of the cluster, since batches come through "
            "the memory of that node; run it there (ray job submit -- python train.py), with address='auto'"
        )
    if address != "auto":
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal():
            raise InvalidValueError(f"address must be 'auto' or 'host:port', such as '10.0.0.1:6379', got {address!r}")
    if _had_secret:
        raise StateError(
            f"this program has started a Ray cluster of its own, and cannot join that at {address} any more, since "
            "Ray would go on asking for the other one's secret: start the program anew, or join before"
        )
    if found := _looked_for(address):
        _check_answer(found)
    try:
        ray.init(address=address, logging_level=logging.ERROR)
    except Exception as error:
        raise WorkerError(
            f"the Ray cluster at address={address!r} cannot be joined: {error}\n(start one with: ray start --head; "
            "or leave address away to use this machine alone)"
        ) from error


def _looked_for(address: str) -> str | None:
    """Return where Ray will look for a cluster: 'auto' is what was noted here, and this machine has another name."""
    from ray._private import services

    with suppress(Exception):  # none is known
        found: str | None = services.canonicalize_bootstrap_address(address)
        return found
    return None


def _check_answer(address: str) -> None:
    """Raise unless somebody answers within `PATIENCE` as Ray's server does: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    end = monotonic() + PATIENCE
    tried = 0
    while True:
        tried += 1
        trouble = _trouble(host.strip("[]"), int(port))
        if trouble is None:
            return
        if monotonic() + RETRY > end:
            break
        sleep(RETRY)
    raise WorkerError(
        f"no Ray cluster answers at {address}: tried {tried} times in {PATIENCE:g} s, the last time: {trouble}; "
        "see what `ray status` says on its head node, and whether a firewall is in between"
    )


def _trouble(host: str, port: int) -> str | None:
    """Return what is wrong with a server, None if it speaks as Ray's does."""
    try:
        with socket.create_connection((host, port), timeout=5) as line:
            if os.environ.get("RAY_USE_TLS") == "1":
                return None  # whoever it is, Ray will see
            line.sendall(GREETING)
            answer = b""
            while len(answer) < 9 and (more := line.recv(9 - len(answer))):
                answer += more
    except OSError as error:
        return f"{error.strerror or error}"
    return None if len(answer) == 9 and answer[3] == ANSWER else "somebody answers, but not as Ray does"


def _end_with_program() -> None:
    """Leave nothing behind when the program ends."""
    global _session
    session, _session = _session, None
    if session is not None and session.process == os.getpid():
        session.end()
