"""What a converted data set consists of: written beside it when it is whole, and compared with it later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

from batchup.datasets.partial import digest_of
from batchup.errors import ChecksumError, FileFormatError

NAME = "manifest.json"  # in a folder; behind the name of a file
VERSION = 1


def manifest_path(target: str) -> str:
    """Return where the manifest of a data set lies, which is a folder or a file."""
    return os.path.join(target, NAME) if os.path.isdir(target) else f"{target}.{NAME}"


def write_manifest(target: str, sources: Sequence[dict[str, Any]]) -> None:
    """Write down of what files a data set consists, and what it was made of; all is on the disk then."""
    path = manifest_path(target)
    made = {
        "version": VERSION,
        "files": {name: {"bytes": os.path.getsize(file), "sha256": digest_of(file)} for name, file in _files(target)},
        "sources": list(sources),
    }
    with open(path, "w", encoding="utf-8") as file:
        json.dump(made, file, indent=1)
    for one in (path, *(file for _, file in _files(target))):
        _sync(one)
    _sync(os.path.dirname(path))


def remedy(target: str) -> str:
    """Return what to do about a data set that is damaged."""
    return f"remove {target}, and it will be made again"


def read_manifest(target: str) -> dict[str, Any]:
    """Return the manifest of a data set.

    Raises
    ------
    FileNotFoundError
        If there is none.
    FileFormatError
        If it is damaged, or of a later version.
    """
    path = manifest_path(target)
    try:
        with open(path, encoding="utf-8") as file:
            made = json.load(file)
        version = int(made["version"])
        made["files"] = {str(name): (int(told["bytes"]), str(told["sha256"])) for name, told in made["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FileFormatError(f"{path} is damaged ({error!r}): {remedy(target)}") from None
    if version != VERSION:
        raise FileFormatError(f"{path} is of version {version}, and {VERSION} is wanted: {remedy(target)}")
    return dict(made)


def verify(target: str) -> int:
    """Compare a data set with its manifest; return how many bytes it has.

    Raises
    ------
    FileNotFoundError
        If it is not there, or has no manifest.
    ChecksumError, FileFormatError
        If a file of it lacks, or is not what was written.
    """
    total = 0
    for name, (size, digest) in read_manifest(target)["files"].items():
        path = os.path.join(target, name) if os.path.isdir(target) else target
        if not os.path.isfile(path):
            raise FileFormatError(f"{path} is missing: {remedy(target)}")
        there = os.path.getsize(path)
        if there != size:
            raise FileFormatError(f"{path} has {there:,} bytes, {size:,} were written: {remedy(target)}")
        if digest_of(path) != digest:
            raise ChecksumError(f"{path} is not what was written: {remedy(target)}")
        total += size
    return total


def _files(target: str) -> Iterator[tuple[str, str]]:
    """Yield the files of a data set: their names in it, and their paths."""
    if not os.path.isdir(target):
        yield os.path.basename(target), target
        return
    for folder, _, names in sorted(os.walk(target)):
        for name in sorted(names):
            path = os.path.join(folder, name)
            if path != os.path.join(target, NAME):
                yield os.path.relpath(path, target), path


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
