"""Members of zip files, which are written so that the same rows are the same bytes."""

from __future__ import annotations

import shutil
import zipfile
from typing import IO

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the date of all members
_PIECE = 2**20  # bytes that are copied at a time


def put_member(archive: zipfile.ZipFile, name: str, part: IO[bytes], method: int = zipfile.ZIP_STORED) -> None:
    """Copy a file, from where it stands, into an archive."""
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = method
    info.external_attr = 0o600 << 16
    with archive.open(info, "w", force_zip64=True) as member:
        shutil.copyfileobj(part, member, _PIECE)
