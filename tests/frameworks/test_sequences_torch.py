"""The example that trains a model of PyTorch on sequences of different lengths."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from batchup.sequences import InMemoryReader

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "sequences_with_torch.py"
WITHOUT_TORCH = "import sys, runpy; sys.modules['torch'] = None; runpy.run_path(sys.argv[1], run_name='__main__')"


def test_the_model_learns(tmp_path: Path) -> None:
    """The loss falls from epoch to epoch, and each epoch is over the same tokens."""
    command = [sys.executable, "-W", "error", str(EXAMPLE)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", done.stdout)]
    assert len(losses) == 2
    assert losses[1] < losses[0] - 0.3
    assert len(set(re.findall(r"over ([\d,]+) tokens", done.stdout))) == 1


def test_without_torch_the_command_is_named(tmp_path: Path) -> None:
    """If torch is not there, the script says how to install it."""
    command = [sys.executable, "-c", WITHOUT_TORCH, str(EXAMPLE)]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(EXAMPLE.parent)}
    )
    assert done.returncode == 1
    assert 'pip install "batchup[torch]"' in done.stderr


def test_masks_and_packed_sequences_agree() -> None:
    """What torch packs from a padded batch and its lengths is what the mask selects."""
    reader = InMemoryReader([[number] * length for number, length in enumerate([3, 1, 4, 1, 5, 9, 2, 6], start=1)])
    masked = reader.data_source(max_tokens=20, beside="mask").batch_iterator(4, shuffle=1, epoch=0)
    counted = reader.data_source(max_tokens=20).batch_iterator(4, shuffle=1, epoch=0)
    for (tokens, lengths), (same, mask) in zip(counted, masked, strict=True):
        packed = pack_padded_sequence(
            torch.from_numpy(tokens), torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
        )
        again, _ = pad_packed_sequence(packed, batch_first=True)
        assert torch.equal(again, torch.from_numpy(same))
        assert sorted(packed.data.tolist()) == sorted(tokens[mask].tolist())
