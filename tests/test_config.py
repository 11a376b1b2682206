"""Where data lies: the environment first, then the file in the home, then the default."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchup import config
from batchup.errors import FileFormatError, InvalidValueError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have an empty home, and no variables."""
    for name in ("BATCHUP_HOME", "BATCHUP_MIRROR", "BATCHUP_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


def test_default(home: Path) -> None:
    """Without anything said, data lies below the home, where nothing is made yet."""
    assert config.get_batchup_path() == str(home / ".batchup")
    assert config.get_data_dir() == str(home / ".batchup" / "data")
    assert config.get_data_path("mnist") == str(home / ".batchup" / "data" / "mnist")
    assert config.get_data_path(os.path.abspath("/elsewhere")) == os.path.abspath("/elsewhere")
    assert config.get_mirror() is None
    assert not config.is_offline()
    assert list(home.iterdir()) == []


def test_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the file says is taken, at once; what the environment says comes before it."""
    file = home / ".batchup.cfg"
    file.write_text("[paths]\ndata_dir=~/data of batchup\nmirror = http://mirror/%s\n")
    assert config.get_batchup_path() == str(home / "data of batchup")
    assert config.get_mirror() == "http://mirror/%s"
    monkeypatch.setenv("BATCHUP_HOME", str(home / "other"))
    monkeypatch.setenv("BATCHUP_MIRROR", "http://other/")
    assert config.get_data_dir() == str(home / "other" / "data")
    assert config.get_mirror() == "http://other/"
    file.write_text("[other]\nx=1\n")
    monkeypatch.setenv("BATCHUP_HOME", "")
    assert config.get_batchup_path() == str(home / ".batchup")


@pytest.mark.parametrize(
    "text", ["data_dir=/x\n", "[paths\n", "[paths]\ndata_dir=1\ndata_dir=2\n", b"[paths]\nx=\xff\n"]
)
def test_file_that_cannot_be_read(home: Path, text: str | bytes) -> None:
    """A file that is no configuration is an error that names it."""
    (home / ".batchup.cfg").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FileFormatError, match=r"\.batchup\.cfg cannot be read as a configuration"):
        config.get_data_dir()


def test_file_that_may_not_be_read(home: Path) -> None:
    """A configuration that is there and cannot be read is an error, too: data would go elsewhere."""
    (home / ".batchup.cfg").mkdir()
    with pytest.raises(FileFormatError, match="Is a directory"):
        config.get_data_dir()


def test_a_file_in_the_way(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file where the folder should be is an error that says what to set."""
    (home / "file").write_text("")
    monkeypatch.setenv("BATCHUP_HOME", str(home / "file"))
    with pytest.raises(InvalidValueError, match="is a file: set BATCHUP_HOME"):
        config.get_data_dir()


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("TRUE", True), ("on", True), ("0", False), (" no ", False)]
)
def test_offline(value: str, offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Yes and no may be said in several ways."""
    monkeypatch.setenv("BATCHUP_OFFLINE", value)
    assert config.is_offline() is offline
