"""The demo: it learns, and a killed run goes on to exactly the weights of an undisturbed one."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "batchup", "demo", "--epochs", "6"]


def run(folder: Path, *options: str) -> str:
    """Run the demo to its end and return what it printed."""
    done = subprocess.run([*COMMAND, *options], cwd=folder, capture_output=True, text=True, check=True, timeout=300)
    return done.stdout


def digest(printed: str) -> str:
    """Return the digest of the weights that the demo printed."""
    found = re.search(r"digest of the weights (\w+)", printed)
    assert found is not None
    return found[1]


def kill_behind_a_checkpoint(folder: Path, *options: str) -> bool:
    """Run the demo, and kill it when it has written a checkpoint anew; return whether it was still running."""
    checkpoint = folder / "batchup-demo.npz"
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
    demo = subprocess.Popen([*COMMAND, *options], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        while demo.poll() is None:
            if checkpoint.exists() and checkpoint.stat().st_mtime_ns > before:
                demo.kill()
                break
            time.sleep(0.001)
    finally:
        demo.kill()
        demo.communicate()
    return demo.returncode != 0


def test_a_killed_demo_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """After kill -9 in the middle of an epoch, twice, `--resume` ends with the weights of an undisturbed run."""
    (tmp_path / "undisturbed").mkdir()
    undisturbed = run(tmp_path / "undisturbed")
    accuracy = re.search(r"test accuracy ([\d.]+)%", undisturbed)
    assert accuracy is not None
    assert float(accuracy[1]) > 90  # after 6 epochs; 15 are the default
    assert list((tmp_path / "undisturbed").iterdir()) == []
    assert kill_behind_a_checkpoint(tmp_path)
    assert kill_behind_a_checkpoint(tmp_path, "--resume")
    assert digest(run(tmp_path, "--resume")) == digest(undisturbed)
    assert [path.name for path in tmp_path.iterdir()] == ["undisturbed"]


def test_the_command_line_refuses_what_it_cannot_do() -> None:
    """A number of epochs below 1 and a missing command end with status 2 and the usage."""
    for arguments in (["demo", "--epochs", "0"], []):
        done = subprocess.run(
            [sys.executable, "-m", "batchup", *arguments], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 2
        assert "usage: batchup" in done.stderr


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_line_tells_what_it_is(option: str) -> None:
    """`--help` and `--version` print something and end well."""
    done = subprocess.run(
        [sys.executable, "-m", "batchup", option], capture_output=True, text=True, check=True, timeout=60
    )
    assert "batchup" in done.stdout
