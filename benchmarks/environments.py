"""The environments contenders live in, each peer in one of its own, and how they are made."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / ".bench-envs"
OURS = "ours"  # the names of all environments that may find this tree's package begin so
SLICE_OURS = 0.04
SLICE_PEERS = 0.3
SLICE_COLD = 2.0
PATIENCE = 1800


@dataclass(frozen=True)
class Environment:
    """Contender modules, the distributions whose versions are told, and one `pip install` after the other."""

    label: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    installs: tuple[str, ...] = ()


JPEG = "simplejpeg"
ENVIRONMENTS = {
    OURS: Environment(
        "this tree",
        ("ours", "by_hand", "limits", "file_limits", "file_by_hand", "ours_files", "ours_hsq"),
        ("batchup", "numpy"),
    ),
    "ours_pools": Environment(
        "this tree's pools",
        ("ours_pools", "limits"),
        ("batchup", "numpy", JPEG),
        ("numpy scipy tqdm six cloudpickle", JPEG),
    ),
    "by_hand_processes": Environment(
        "processes by hand", ("by_hand_processes", "by_hand_executors"), ("numpy",), ("numpy",)
    ),
    "batchup_0_2": Environment(
        "batchup 0.2", ("batchup_0_2",), ("batchup", "numpy"), ("batchup==0.2.3", f"{JPEG} joblib")
    ),
    "ours_sequences": Environment(
        "this tree's sequences",
        ("ours_sequences",),
        ("batchup", "numpy", "h5py"),
        ("numpy scipy tqdm six h5py",),
    ),
    "ours_hdf5": Environment(
        "this tree, HDF5",
        ("ours_hdf5", "file_limits", "file_by_hand"),
        ("batchup", "numpy", "h5py"),
        ("numpy scipy tqdm six h5py",),
    ),
    "ours_typed": Environment(
        "this tree, typed files",
        ("ours_typed", "file_limits", "file_by_hand"),
        ("batchup", "numpy", "h5py", "torch"),
        ("torch==2.13.0", "numpy scipy tqdm six h5py cloudpickle"),
    ),
    "ours_pipeline": Environment(
        "this tree's pipelines",
        ("ours_pipeline", "items_by_hand"),
        ("batchup", "numpy", "crc32c"),
        ("numpy scipy tqdm six crc32c cloudpickle",),
    ),
    "ours_datasets": Environment(
        "this tree's data sets",
        ("ours_datasets", "images_by_hand", "fetched_by_hand"),
        ("batchup", "numpy", "pooch"),
        ("numpy scipy tqdm six pooch",),
    ),
    "ours_cluster": Environment(
        "this tree's Ray pool",
        ("ours_cluster", "limits"),
        ("batchup", "numpy", "ray"),
        ("numpy scipy tqdm six cloudpickle ray",),
    ),
    "ours_parquet": Environment(
        "this tree, Parquet",
        ("ours_parquet", "parquet_by_hand"),
        ("batchup", "numpy", "pyarrow"),
        ("numpy scipy tqdm six pyarrow",),
    ),
    "hugging_face": Environment(
        "Hugging Face datasets", ("hugging_face",), ("datasets", "pyarrow", "numpy"), ("datasets numpy",)
    ),
    "ray": Environment("Ray", ("ray_by_hand",), ("ray", "numpy"), ("ray[data] numpy",)),
    "by_hand_images": Environment("images by hand", ("images_alone",), ("numpy",), ("numpy",)),
    "torch": Environment(
        "torch",
        ("torch_loader", "torch_workers", "torch_files", "torch_sequences", "torch_items", "torch_images"),
        ("torch", "numpy"),
        ("torch==2.13.0", "numpy", JPEG),
    ),
    "tf_data": Environment(
        "tf.data",
        ("tf_data", "tf_sequences", "tf_items", "tf_images"),
        ("tensorflow-cpu", "numpy"),
        ("tensorflow-cpu", JPEG),
    ),
    "grain": Environment(
        "Grain", ("grain_loader", "grain_workers", "grain_files"), ("grain", "numpy"), ("grain", JPEG)
    ),
    "hypersequence": Environment(
        "hypersequence 0.10",
        ("hypersequence_files",),
        ("hypersequence", "numpy"),
        ("hypersequence==0.10.0 numpy",),
    ),
    "h5py": Environment("h5py", ("h5py_files",), ("h5py", "numpy"), ("h5py numpy",)),
    "h5mapper": Environment(
        "h5mapper 0.3",
        ("h5mapper_files",),
        ("h5mapper", "numpy", "h5py", "torch"),
        ("torch==2.13.0", "h5mapper==0.3.3 numpy==1.26.*"),
    ),
    "seqp": Environment("seqp 0.1", ("seqp_sequences",), ("seqp", "h5py", "numpy"), ("seqp==0.1 h5py numpy",)),
    "ffcv": Environment("FFCV", ("ffcv_files",), ("ffcv", "numpy"), ("ffcv numpy",)),
    "tfrecord": Environment("tfrecord 1.14", ("tfrecord_files",), ("tfrecord", "numpy"), ("tfrecord==1.14.6 numpy",)),
    "webdataset": Environment("WebDataset", ("webdataset_files",), ("webdataset", "numpy"), ("webdataset numpy",)),
    "spdl": Environment("SPDL", ("spdl_pipeline",), ("spdl", "numpy"), (f"spdl numpy {JPEG}",)),
}


def slice_seconds(name: str) -> float:
    """Seconds of one slice: short where all runs in one process, longer across processes."""
    return SLICE_OURS if name == OURS else SLICE_PEERS


def python_of(name: str) -> str:
    """Tell the interpreter of an environment; ours is the one that runs now."""
    folder = "Scripts" if os.name == "nt" else "bin"
    return sys.executable if name == OURS else str(HOME / name / folder / "python")


def variables_of(name: str) -> dict[str, str]:
    """Make the environment variables of a worker: only ours may find this tree's package."""
    variables = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if name.startswith(OURS):
        variables["PYTHONPATH"] = str(ROOT)
    return variables


def ensure(name: str) -> str | None:
    """Make the environment unless it is there; return why that failed, None when it is ready."""
    installs = list(ENVIRONMENTS[name].installs)
    done = HOME / name / "installed.json"
    if name == OURS or (done.exists() and json.loads(done.read_text()) == installs):
        return None
    print(f"making the environment of {name}", file=sys.stderr)
    why = _run("making the environment", [sys.executable, "-m", "venv", str(HOME / name)])
    for wanted in installs:
        why = why or _run(f"pip install {wanted}", [python_of(name), "-m", "pip", "install", *wanted.split()])
    if why is None:
        done.write_text(json.dumps(installs))
    return why


def _run(what: str, command: list[str]) -> str | None:
    try:
        code = subprocess.run(command, capture_output=True, timeout=PATIENCE).returncode
    except subprocess.TimeoutExpired:
        return f"{what} took more than {PATIENCE} s"
    return f"{what} failed (exit status {code})" if code else None
