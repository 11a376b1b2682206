"""On the same files, the arrays of the standard data sets equal those of batchup 0.2.3, which runs beside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import archives

OLD = Path(sys.prefix) / "batchup-0.2.3"
PROGRAM = """
import json, sys, warnings
warnings.simplefilter("ignore")
import numpy as np
name, out, arguments = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
from batchup.datasets import cifar10, cifar100, fashion_mnist, mnist, stl, svhn, usps
kinds = {
    "mnist": mnist.MNIST, "fashion_mnist": fashion_mnist.FashionMNIST, "svhn": svhn.SVHN, "svhn_extra": svhn.SVHNExtra,
    "cifar10": cifar10.CIFAR10, "cifar100": cifar100.CIFAR100, "stl": stl.STL, "usps": usps.USPS,
}
ds = kinds[name](**arguments)
arrays = {}
for attribute, value in vars(ds).items():
    if attribute == "tr_folds":
        arrays.update({"tr_folds %d" % i: fold for i, fold in enumerate(value)})
    elif attribute.startswith("class_names"):
        arrays[attribute] = np.array(value)
    else:
        arrays[attribute] = value[:]
np.savez(out, **arrays)
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *[(name, {"n_val": n_val}) for name in archives.CASES if name not in ("svhn_extra", "stl") for n_val in (0, 7)],
        *[("stl", {"n_val_folds": folds}) for folds in (0, 1, 3)],
        ("svhn_extra", {}),
        ("mnist", {"n_val": 7, "val_lower": -1.0, "val_upper": 1.0}),
        ("stl", {"n_val_folds": 2, "val_lower": 0.5, "val_upper": 2.0}),
    ],
    ids=str,
)
def test_like_0_2(name: str, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All attributes that 0.2.3 has are here, with the same values, bit for bit, and of the same types."""
    case = archives.CASES[name]
    # of folds that overlap, 0.2.3 can take but one
    files, _ = archives.stl_files(overlap=arguments["n_val_folds"] == 1) if name == "stl" else case.files()
    theirs = by_0_2(name, arguments, files, tmp_path)
    archives.believed(case, files, monkeypatch)
    monkeypatch.setenv("BATCHUP_HOME", str(tmp_path / "ours"))
    monkeypatch.setenv("BATCHUP_MIRROR", str(archives.laid_out(case, files, tmp_path / "mirror")))
    ours = case.opened(**arguments)
    assert len(theirs) >= 2
    for attribute, wanted in theirs.items():
        kind, _, number = attribute.partition(" ")
        came = getattr(ours, kind)
        came = np.asarray(came[int(number)] if number else came)
        assert came.dtype == wanted.dtype, attribute
        assert came.shape == wanted.shape, attribute
        assert came.tobytes() == wanted.tobytes(), attribute


def by_0_2(name: str, arguments: dict[str, Any], files: dict[str, bytes], tmp_path: Path) -> dict[str, Any]:
    """Return what 0.2.3 makes of the files."""
    import json

    assert OLD.is_dir(), f"batchup 0.2.3 must be in {OLD}: make test-frameworks puts it there"
    folder = tmp_path / "theirs" / "data" / "temp"
    folder.mkdir(parents=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    environment = {
        **os.environ,
        "PYTHONPATH": str(OLD),
        "BATCHUP_HOME": str(tmp_path / "theirs"),
        "HOME": str(tmp_path),
    }
    out = str(tmp_path / "theirs.npz")
    command = [sys.executable, "-P", "-c", PROGRAM, name, out, json.dumps(arguments)]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(out) as arrays:
        return dict(arrays)
