"""A file got from the first of several addresses that gives it: resumed, tried again, and verified."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Sequence
from typing import Any, BinaryIO

from batchup._files import PARTIAL, leave, opened_alone, remove, rename
from batchup._unfinished import Whole
from batchup.config import is_offline
from batchup.datasets.problems import Passing, Refused
from batchup.datasets.transfer import SLOW_BYTES, Head, is_remote, transfer_of
from batchup.errors import ChecksumError, FetchError

PATIENCE = 25.0  # seconds without a byte from anywhere, after which it is given up
TRIES = 3  # at an address, without a byte from there
WAIT = 0.5  # seconds before the second try, and twice as many before the third
REJECTED = ".rejected"  # behind the name of a file that is not what it should be
BYTES: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024, "delay": 0.5}  # as bars show them
_SHOWN = 48  # bytes of the beginning of such a file

logger = logging.getLogger("batchup")


def fetch(path: str, addresses: Sequence[str], sha256: str | None = None) -> str:
    """Get a file from the first of several addresses that gives it.

    Bytes that came before are kept as ``<path>.partial``, also from one program to the next if there is a digest, and
    only the rest is asked for. The file has its name when all of it is there, and verified.

    Parameters
    ----------
    path : str
        The name that it will have.
    addresses : sequence of str
        Where it may lie: addresses (http, https) or paths, in the order in which they are tried.
    sha256 : str, optional
        What it must be, as a hex digest.

    Returns
    -------
    str
        Its digest.

    Raises
    ------
    FetchError
        If none gives it; the message says what each did. Nothing is waited for longer than half a minute.
    OSError
        If there is no room for it.
    """
    partial = _Partial(path, sha256)
    try:
        return _fetched(partial, [_Address(address) for address in addresses], sha256)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _without_room(error, partial) from None
        raise
    finally:
        partial.leave()


def check_digest(path: str, sha256: str | None, aside: bool = True) -> str:
    """Return the digest of a file that somebody put there, unless another one is wanted.

    Raises
    ------
    ChecksumError
        If it is another one. If it is to be put `aside`, its name is ``<path>.rejected`` then.
    """
    digest = digest_of(path)
    if sha256 is not None and digest != sha256.lower():
        with open(path, "rb") as file:
            start = file.read(_SHOWN)
        told = _unlike(sha256, digest, os.path.getsize(path), start)
        if not aside:
            raise ChecksumError(f"{path}: {told}")
        os.replace(path, path + REJECTED)
        raise ChecksumError(f"{path}: {told}; it is kept as {path + REJECTED}, and not used")
    return digest


def digest_of(path: str) -> str:
    """Return the SHA-256 digest of a file, in hex."""
    with open(path, "rb") as file:
        hashed = hashlib.sha256()
        while piece := file.read(2**20):
            hashed.update(piece)
    return hashed.hexdigest()


class _Address:
    """One of the places where a file may lie, and how it went there.

    Parameters
    ----------
    address : str
        The place.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.tries = 0  # without a byte
        self.ready = 0.0  # when to ask again
        self.told: list[str] = []

    def failed(self, problem: Passing, progressed: bool) -> None:
        """Note that it gave not all, and when to ask again."""
        self.tries = 1 if progressed else self.tries + 1
        self.told.append(str(problem))
        wait = WAIT * 2 ** (self.tries - 1) if problem.wait is None else problem.wait
        self.ready = time.monotonic() + (0 if progressed else wait)

    def __str__(self) -> str:
        kinds = list(dict.fromkeys(self.told)) or ["not asked any more"]
        times = f" ({len(self.told)} times)" if len(self.told) > 1 else ""
        return f"{self.address}: {'; '.join(kinds)}{times}"


def _fetched(partial: _Partial, addresses: list[_Address], sha256: str | None) -> str:
    """Get a file, or raise a FetchError that says how it went everywhere."""
    offline = is_offline()
    if offline:
        for one in addresses:
            if is_remote(one.address):
                one.told.append("not asked, since BATCHUP_OFFLINE=1")
    left = [one for one in addresses if not (offline and is_remote(one.address))]
    deadline = time.monotonic() + PATIENCE
    while left:
        pause = max(0.0, min(one.ready for one in left) - time.monotonic())
        if time.monotonic() + pause > deadline:
            break
        time.sleep(pause)
        one = next((one for one in left if one.ready <= time.monotonic()), left[0])
        partial.came = 0
        try:
            _receive(one.address, partial, deadline - time.monotonic())
            if partial.is_right():
                return partial.take()
            if partial.came < partial.size:
                partial.restart()  # what was there before may be of something else
            else:
                raise Refused(partial.reject())
        except Refused as problem:
            one.told.append(str(problem))
            left.remove(one)
        except Passing as problem:
            if sha256 is not None and partial.is_right():
                return partial.take()  # whatever the server says its length is
            one.failed(problem, partial.came >= SLOW_BYTES)
            if one.tries >= TRIES:
                left.remove(one)
        if partial.came >= SLOW_BYTES:
            deadline = time.monotonic() + PATIENCE
        logger.info("%s", one)
    raise FetchError("\n".join(str(one) for one in addresses) or "there is no address to fetch it from")


def _receive(address: str, partial: _Partial, patience: float) -> None:
    """Get what is left of a file from an address."""
    validator = partial.validator_for(address)
    transfer = transfer_of(address, partial.size, validator, patience)
    with contextlib.closing(transfer):
        try:
            head = transfer.head()
        except Refused as problem:
            if problem.status != 416 or not partial.size:
                raise
            if not partial.is_right():  # more is here than there
                partial.restart()
                raise Passing("it has less than what was here") from None
            return
        partial.begin(address, head)
        with _bar(partial) as bar:
            for piece in transfer:
                partial.write(piece)
                bar.update(len(piece))
            bar.leave = partial.total in (None, partial.size)
        if not bar.leave:
            raise Passing("the connection ended before the file did")


def _bar(partial: _Partial) -> Any:
    from tqdm.auto import tqdm

    bar: Any = tqdm(desc=os.path.basename(partial.path), total=partial.total, leave=False, **BYTES)
    bar.update(partial.size)
    return bar


class _Partial:
    """What has come of a file; nobody else writes it meanwhile.

    Parameters
    ----------
    path : str
        The name that the file will have.
    sha256 : str, optional
        What it must be.

    Attributes
    ----------
    size, came : int
        How many bytes are here, and how many of them came last, from one address.
    total : int or None
        How many there will be, as far as that is known.
    """

    def __init__(self, path: str, sha256: str | None) -> None:
        self.path = path
        self.came = 0
        self.total: int | None = None
        self._wanted = None if sha256 is None else sha256.lower()
        self._name = path + PARTIAL
        self._file = self._opened()
        self._validated: tuple[str, str] | None = None  # the address that the bytes are of, and their version
        self._kind = ""
        self._start = b""
        self.restart(keep=self._wanted is not None)

    def _opened(self) -> BinaryIO:
        def waiting() -> None:
            logger.warning("waiting for another program, which fetches %s", self.path)

        return opened_alone(self._name, anew=True, waiting=waiting)

    def restart(self, keep: bool = False) -> None:
        """Begin anew, or from what is there."""
        self.size = 0
        self._hash = hashlib.sha256()
        self._file.seek(0)
        if not keep:
            self._file.truncate()
        while piece := self._file.read(2**20):
            self._hash.update(piece)
            self.size += len(piece)

    def validator_for(self, address: str) -> str | None:
        """Return the version of the file of which the bytes are that are here, where that matters.

        Without a digest, bytes of two versions would be mixed without anybody seeing it.
        """
        if self._wanted is not None or not self.size:
            return None
        if self._validated is None or self._validated[0] != address:
            self.restart()
            return None
        return self._validated[1]

    def begin(self, address: str, head: Head) -> None:
        """Take note of what will come."""
        if head.start not in (0, self.size):
            raise Refused(f"gave the bytes from {head.start} on, and not those from {self.size} on")
        if head.start < self.size:
            self.restart()
        self.total = head.total
        self._kind = head.kind
        self._validated = None if head.validator is None else (address, head.validator)
        if self.total is not None and self.total - self.size > self.free():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.path)

    def write(self, piece: bytes) -> None:
        """Take what comes next."""
        if not self.size:
            self._start = piece[:_SHOWN]
        Whole(self._file).write(piece)
        self._hash.update(piece)
        self.size += len(piece)
        self.came += len(piece)

    def free(self) -> int:
        """Return how many bytes there is room for."""
        return shutil.disk_usage(os.path.dirname(self._name)).free

    def is_right(self) -> bool:
        """Return whether it is what is wanted."""
        return self._wanted is None or self._hash.hexdigest() == self._wanted

    def take(self) -> str:
        """Give it its name, for good; return its digest."""
        os.fsync(self._file.fileno())
        rename(self._name, self.path)
        return self._hash.hexdigest()

    def reject(self) -> str:
        """Keep it aside, and begin anew; return what is wrong with it."""
        told = _unlike(str(self._wanted), self._hash.hexdigest(), self.size, self._start, self._kind)
        rename(self._name, self.path + REJECTED)
        leave(self._file)
        self._file = self._opened()
        self.restart()
        return f"{told}; it is kept as {self.path + REJECTED}, and not used"

    def leave(self) -> None:
        """Let others have it; what would be of no use to them is removed."""
        if self._wanted is None or not self.size:
            remove(self._file, self._name)
        leave(self._file)


def _unlike(wanted: str, came: str, size: int, start: bytes, kind: str = "") -> str:
    """Return how to tell that a file is not what is wanted."""
    page = ", which is a web page" if start.lstrip()[:1] == b"<" or kind == "text/html" else ""
    return (
        f"what came is not what is wanted: sha256 {came} instead of {wanted}, {size:,} bytes"
        f"{' of ' + kind if kind else ''} that begin with {start!r}{page}"
    )


def _without_room(error: OSError, partial: _Partial) -> OSError:
    """Return what to tell where there is no room for a file."""
    if partial.total is None:
        wanted = "nobody said how large it is"
        partial.restart()  # what was written of it, and may have no end, is in the way of others
    else:
        wanted = f"{partial.total - partial.size:,} bytes are still to come"
    told = f"no room for {os.path.basename(partial.path)}: {wanted}, and there is room for {partial.free():,}"
    return OSError(errno.ENOSPC, f"{told}; set BATCHUP_HOME to a folder of another disk, or make room", partial.path)
