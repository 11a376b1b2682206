"""Files fetched without batchup: by pooch, and by programs."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
from collections.abc import Iterator
from typing import Any

from declared import Work
from served import Served
from slices import Epoch

from contenders import Ways

pooch: Any = importlib.import_module("pooch")

PIECE = 2**20


def by_pooch(_: Work, to: Served) -> Epoch:
    """`pooch.retrieve(url, known_hash="sha256:...", fname=name, path=folder)`, which hashes what has come; fsync."""
    known_hash = f"sha256:{to.sha256}"

    def write(path: str) -> None:
        folder, name = os.path.split(path)
        pooch.retrieve(to.url, known_hash=known_hash, fname=name, path=folder)

    return to.written("npy", write)


def by_curl(_: Work, to: Served) -> Epoch:
    """`curl -o path url`; fsync."""
    return to.written("npy", lambda path: _curl(path, to))


def by_curl_verified(_: Work, to: Served) -> Epoch:
    """`curl -o path url`, then `sha256sum -c`; fsync."""

    def write(path: str) -> None:
        _curl(path, to)
        subprocess.run(["sha256sum", "--check", "--status"], input=f"{to.sha256}  {path}", text=True, check=True)

    return to.written("npy", write)


def _curl(path: str, to: Served) -> None:
    subprocess.run(["curl", "--silent", "--fail", "--output", path, to.url], check=True)


def hashed(_: Work, to: Served) -> Epoch:
    """`hashlib.sha256` of the file, 1 MiB read at a time; nothing is fetched or written."""

    def epoch() -> Iterator[str]:
        digest = hashlib.sha256()
        with open(to.path, "rb", buffering=0) as file:
            while piece := file.read(PIECE):
                digest.update(piece)
        if digest.hexdigest() != to.sha256:
            raise ValueError("another digest")
        yield ""

    return epoch


WAYS: Ways = {
    "fetch": {
        "pooch": by_pooch,
        "curl alone": by_curl,
        "curl, then sha256sum": by_curl_verified,
        "sha256 alone": hashed,
    }
}
