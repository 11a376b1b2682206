"""What has come of a file: written beside its name, hashed as it comes, verified before it has it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
from typing import Any, BinaryIO

from batchup._files import PARTIAL, check_named, leave, opened_alone, remove, rename
from batchup._unfinished import Whole
from batchup.datasets.problems import NoRoomError, PermanentError, ShorterError, TransientError
from batchup.datasets.transfer import Head, transfer_of
from batchup.errors import ChecksumError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
REJECTED = ".rejected"  # behind the name of a file that is not what it should be
_SHOWN = 48  # bytes of the beginning of such a file

logger = logging.getLogger("batchup")


class PartialFile:
    """What has come of a file; nobody else writes it meanwhile.

    Parameters
    ----------
    path : str
        The name that the file will have.
    sha256 : str, optional
        What it must be.

    Attributes
    ----------
    size, came, furthest : int
        How many bytes are here, how many of them came last, from one address, and how many have ever been here.
    verifies : bool
        Whether it is known what it must be.
    """

    def __init__(self, path: str, sha256: str | None) -> None:
        self.path = path
        self.verifies = sha256 is not None
        self.size = self.came = self.furthest = 0
        self._wanted = sha256
        self._name = path + PARTIAL
        self._total: int | None = None  # bytes that there will be, as far as that is known
        self._validated: tuple[str, str] | None = None  # the address that the bytes are of, and their version
        self._content_type = ""
        self._start = b""
        self._file = self._opened()
        self._hash = hashlib.sha256()
        if self.verifies:
            self._resume()
        else:
            self.restart()

    def _opened(self) -> BinaryIO:
        def waiting() -> None:
            logger.warning("waiting for another program, which fetches %s", self.path)

        return opened_alone(self._name, anew=True, waiting=waiting)

    def _resume(self) -> None:
        """Begin with what a program has left."""
        while piece := self._file.read(2**20):
            self._add(piece)
        self.furthest = self.size

    def restart(self) -> None:
        """Begin anew."""
        self._file.seek(0)
        self._file.truncate()
        self.size = 0
        self._hash = hashlib.sha256()

    def receive(self, address: str, patience: float) -> None:
        """Get what is missing from an address.

        Raises
        ------
        PermanentError, TransientError
            If it does not give all of it.
        """
        self.came = 0
        validator = self._validator_for(address)
        with contextlib.closing(transfer_of(address, self.size, validator, patience)) as transfer:
            try:
                head = transfer.head()
            except PermanentError as problem:
                if problem.status != 416 or not self.size:
                    raise
                if self.is_right():
                    return
                if self.verifies:
                    raise ShorterError("it has less than what is here") from None
                self.restart()
                raise TransientError("it has less than what was here") from None
            self._begin(address, head)
            with self._bar() as bar:
                for piece in transfer:
                    self._write(piece)
                    bar.update(len(piece))
                complete = self.size >= (head.total or head.end or 0)
                bar.leave = complete
        if not complete:
            raise TransientError("the connection ended before the file did")

    def _write(self, piece: bytes) -> None:
        try:
            Whole(self._file).write(piece)
        except OSError as error:
            if self._total is not None or error.errno not in NO_ROOM:
                raise
            self.restart()  # what has no end that is known is in the way of others
            raise NoRoomError("it does not end before the disk is full, and does not say how large it is") from None
        self._add(piece)
        self.came += len(piece)
        self.furthest = max(self.furthest, self.size)

    def _bar(self) -> Any:
        from tqdm.auto import tqdm

        return tqdm(
            desc=os.path.basename(self.path),
            initial=self.size,
            total=self._total,
            leave=False,
            delay=0.5,
            unit="B",
            unit_scale=True,
            unit_divisor=1024,
        )

    def _validator_for(self, address: str) -> str | None:
        """Return the version of the file of which the bytes are that are here, where that matters.

        Without a digest, bytes of two versions would be mixed without anybody seeing it.
        """
        if self.verifies or not self.size:
            return None
        if self._validated is None or self._validated[0] != address:
            self.restart()
            return None
        return self._validated[1]

    def _begin(self, address: str, head: Head) -> None:
        """Take note of what will come, unless it does not go with what is here."""
        if head.start not in (0, self.size):
            raise PermanentError(f"gave the bytes from {head.start} on, and not those from {self.size} on")
        if not self.verifies and not head.ends:
            raise PermanentError("does not say how large the file is, and there is no digest to tell whether all came")
        validated = None if head.validator is None else (address, head.validator)
        if head.start and not self.verifies and (validated, head.total) != (self._validated, self._total):
            self.restart()
            raise TransientError("gave a part of another version of the file")
        if head.start < self.size:
            if head.content_type == "text/html" and not self.path.endswith((".html", ".htm")):
                raise PermanentError("gave a web page, and not the rest of the file")
            if self.verifies and head.total is not None and head.total < self.size:
                raise ShorterError(f"it has {head.total:,} bytes, less than what is here")
            self.restart()
        self._total, self._validated, self._content_type = head.total, validated, head.content_type
        if self._total is not None and self._total - self.size > self._free():
            raise NoRoomError(f"it has {self._total:,} bytes, and there is room for {self._free():,}")

    def _add(self, piece: bytes) -> None:
        if not self.size:
            self._start = piece[:_SHOWN]
        self._hash.update(piece)
        self.size += len(piece)

    def is_right(self) -> bool:
        """Return whether it is what is wanted."""
        return self._wanted in (None, self._hash.hexdigest())

    def take(self) -> None:
        """Give it its name, for good."""
        os.fsync(self._file.fileno())
        check_named(self._file, self._name)
        rename(self._name, self.path)

    def reject(self) -> str:
        """Keep it aside, and begin anew; return what is wrong with it."""
        told = _unlike(str(self._wanted), self._hash.hexdigest(), self.size, self._start, self._content_type)
        rename(self._name, self.path + REJECTED)
        leave(self._file)
        self._file = self._opened()
        self.restart()
        return f"{told}; it is kept as {self.path + REJECTED}, and not used"

    def without_room(self) -> OSError:
        """Return what to tell where there is no room for it."""
        wanted = "nobody said how large it is"
        if self._total is not None:
            wanted = f"{self._total - self.size:,} bytes are still to come"
        told = f"no room for {os.path.basename(self.path)}: {wanted}, and there is room for {self._free():,}"
        return OSError(errno.ENOSPC, f"{told}; set BATCHUP_HOME to a folder of another disk, or make room", self.path)

    def _free(self) -> int:
        return shutil.disk_usage(os.path.dirname(self._name)).free

    def leave(self) -> None:
        """Let others have it; what would be of no use to them is removed."""
        if not self.verifies or not self.size or os.path.exists(self.path):
            remove(self._file, self._name)
        leave(self._file)


def _unlike(wanted: str, came: str, size: int, start: bytes, content_type: str = "") -> str:
    """Return how to tell that a file is not what is wanted."""
    page = ", which is a web page" if start.lstrip()[:1] == b"<" or content_type == "text/html" else ""
    return (
        f"what came is not what is wanted: sha256 {came} instead of {wanted}, {size:,} bytes"
        f"{' of ' + content_type if content_type else ''} that begin with {start!r}{page}"
    )


def check_digest(path: str, sha256: str | None, aside: bool = True) -> None:
    """Raise an error unless a file that somebody put there has a digest.

    Raises
    ------
    ChecksumError
        If it has another one. If it is to be put `aside`, its name is ``<path>.rejected`` then.
    """
    if sha256 is None:
        return
    digest = digest_of(path)
    if digest != sha256.lower():
        with open(path, "rb") as file:
            start = file.read(_SHOWN)
        told = f"{path}: {_unlike(sha256, digest, os.path.getsize(path), start)}"
        if not aside:
            raise ChecksumError(told)
        os.replace(path, path + REJECTED)
        raise ChecksumError(f"{told}; it is kept as {path + REJECTED}, and not used")


def digest_of(path: str) -> str:
    """Return the SHA-256 digest of a file, in hex."""
    with open(path, "rb") as file:
        hashed = hashlib.sha256()
        while piece := file.read(2**20):
            hashed.update(piece)
    return hashed.hexdigest()
