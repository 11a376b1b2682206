"""Where data lies: `~/.batchup.cfg`, and variables of the environment, which come first.

::

    [paths]
    data_dir=/data/batchup
    mirror=http://mirror/datasets

``BATCHUP_HOME`` is in place of `data_dir`, which is `~/.batchup` if nothing is said, and ``BATCHUP_MIRROR`` in place of
`mirror`. With ``BATCHUP_OFFLINE=1`` nothing is fetched over a network. All are looked up anew whenever they are needed.
"""

from __future__ import annotations

import configparser
import os

from batchup.errors import FileFormatError, InvalidValueError

__all__ = ["get_batchup_path", "get_data_dir", "get_data_path", "get_mirror", "is_offline"]

CONFIG_FILE = os.path.join("~", ".batchup.cfg")
_DEFAULT_HOME = os.path.join("~", ".batchup")
_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def get_batchup_path() -> str:
    """Return the folder in which batchup keeps what is its own.

    Returns
    -------
    str
        An absolute path. The folder is made when something is written there.

    Raises
    ------
    FileFormatError
        If `~/.batchup.cfg` cannot be parsed.
    InvalidValueError
        If something that is no folder lies there.
    """
    home = os.environ.get("BATCHUP_HOME") or _configured("data_dir") or _DEFAULT_HOME
    path = os.path.abspath(os.path.expanduser(home))
    if os.path.exists(path) and not os.path.isdir(path):
        raise InvalidValueError(
            f"{path} should be the folder of batchup's data, and is a file: set BATCHUP_HOME, or data_dir in "
            f"{CONFIG_FILE}, to a folder"
        )
    return path


def get_data_dir() -> str:
    """Return the folder of the data sets: ``data`` in `get_batchup_path`.

    Examples
    --------
    >>> import os
    >>> from batchup import config
    >>> os.environ["BATCHUP_HOME"] = "/some/path/batchup_data"
    >>> config.get_data_dir()
    '/some/path/batchup_data/data'
    >>> config.get_data_path("mnist")
    '/some/path/batchup_data/data/mnist'
    >>> del os.environ["BATCHUP_HOME"]
    """
    return os.path.join(get_batchup_path(), "data")


def get_data_path(name: str) -> str:
    """Return the path of a file or folder in the folder of the data sets; an absolute path as it is."""
    return name if os.path.isabs(name) else os.path.join(get_data_dir(), name)


def get_mirror() -> str | None:
    """Return the address, or the folder, where files are looked for first; None if there is none.

    A file of a data set is ``{mirror}/{name of the data set's module}/{name of the file}``.
    """
    return os.environ.get("BATCHUP_MIRROR") or _configured("mirror")


def is_offline() -> bool:
    """Return whether nothing may be fetched over a network.

    Raises
    ------
    InvalidValueError
        If ``BATCHUP_OFFLINE`` is set to something that means neither yes nor no.
    """
    value = os.environ.get("BATCHUP_OFFLINE", "").strip().lower()
    if value not in (*_YES, *_NO):
        raise InvalidValueError(f"BATCHUP_OFFLINE must be 1 or 0, got {value!r}")
    return value in _YES


def _configured(name: str) -> str | None:
    """Return what stands in the file, None if it is not there or says nothing about it."""
    path = os.path.expanduser(CONFIG_FILE)
    parser = configparser.RawConfigParser()
    try:
        with open(path, encoding="utf-8") as file:
            parser.read_file(file)
    except FileNotFoundError:
        return None
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        raise FileFormatError(f"{path} cannot be read as a configuration: {error}") from None
    value = parser.get("paths", name, fallback="").strip()
    return value or None
