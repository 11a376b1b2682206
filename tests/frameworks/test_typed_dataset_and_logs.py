"""The example that trains a model of PyTorch on a typed file, and keeps its logs and checkpoints in another."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from batchup import typed_files as h5m

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "typed_dataset_and_logs.py"
WITHOUT_TORCH = "import sys, runpy; sys.modules['torch'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"
EPOCHS = 4


class Run(h5m.TypedFile):
    logs = h5m.Group(loss=h5m.Array(), accuracy=h5m.Array())
    model = h5m.TensorDict()


def test_the_model_learns_and_is_kept(tmp_path: Path) -> None:
    """The loss falls, all of it is in the file, and the model read from there is as good as it was."""
    command = [sys.executable, "-W", "error", str(EXAMPLE), "work"]
    (tmp_path / "work").mkdir()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", done.stdout)]
    shares = [float(share) for share in re.findall(r"accuracy ([\d.]+)%", done.stdout)]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) == EPOCHS
    assert shares[-1] == max(shares[:-1]) > 85
    assert "put 1,437 and 360 images into files" in done.stdout
    with Run(tmp_path / "work" / "run.h5") as run:
        logged = run.logs.get("train")
        assert logged["loss"].shape == (EPOCHS * 45,)
        assert np.allclose(logged["loss"].reshape(EPOCHS, -1).mean(axis=1), losses, atol=0.0006)
        assert np.allclose(100 * logged["accuracy"], shares[:-1], atol=0.06)
        tensors = run.model.get("epoch 0")
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        "1.weight": (96, 64),
        "1.bias": (96,),
        "3.weight": (10, 96),
        "3.bias": (10,),
    }
    assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["digits", "run.h5", "test.h5", "train.h5"]


def test_without_torch_the_command_is_named(tmp_path: Path) -> None:
    """If torch is not there, the script says how to install it, and leaves nothing."""
    command = [sys.executable, "-c", WITHOUT_TORCH, str(EXAMPLE)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert 'pip install "batchup[torch,image,hdf5,demo]"' in done.stderr
    assert list(tmp_path.iterdir()) == []
