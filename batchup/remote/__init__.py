"""Files elsewhere: on the web, in object stores; read in parts, of one version, and kept on the disk of this machine.

>>> import fsspec
>>> from batchup import remote
>>> fsspec.filesystem("memory").pipe_file("/numbers", bytes(range(100)))
>>> with remote.opened("memory://numbers") as file:
...     file.seek(97), file.read()
(97, b'abc')
"""

from __future__ import annotations

from batchup.remote.addresses import is_remote
from batchup.remote.cache import cache_folder, clear_cache, set_cache_limit
from batchup.remote.file import RemoteFile
from batchup.remote.places import listed, opened, size_of

__all__ = [
    "RemoteFile",
    "cache_folder",
    "clear_cache",
    "is_remote",
    "listed",
    "opened",
    "set_cache_limit",
    "size_of",
]
