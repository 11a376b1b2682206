"""The formats that batchup knows by itself, by the suffixes of their files; each is loaded when it is first used."""

from __future__ import annotations

from batchup.formats.registry import register_module

HERE = "batchup.formats"
ARROW = ("pyarrow", "parquet")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


def register_known() -> None:
    """Add them to the table of formats."""
    register_module("arrow", (f"{HERE}.arrow.ipc",), (".arrow", ".feather", ".ipc"), ARROW)
    register_module("csv", (f"{HERE}.csv.table", f"{HERE}.csv.sink"), (".csv",), ARROW)
    register_module("hdf5", (f"{HERE}.hdf5.table", f"{HERE}.hdf5.sink"), (".h5", ".hdf5"), ("h5py", "hdf5"))
    register_module("hsq", (f"{HERE}.hsq",), (".hsq",))
    register_module("images", (f"{HERE}.folders.images",), IMAGES, ("PIL", "image"), together=True)
    register_module("jsonl", (f"{HERE}.jsonl.table", f"{HERE}.jsonl.sink"), (".jsonl", ".ndjson"))
    register_module("npy", (f"{HERE}.numpy_files.npy",), (".npy",))
    register_module("npz", (f"{HERE}.numpy_files.npz", f"{HERE}.numpy_files.npz_table"), (".npz",))
    register_module("parquet", (f"{HERE}.arrow.parquet",), (".parquet",), ARROW)
    register_module("records", (f"{HERE}.records",), (".records",))
    register_module("text", (f"{HERE}.text",), (".txt", ".text"))
    register_module(
        "tfrecord",
        (f"{HERE}.tfrecord.records", f"{HERE}.tfrecord.table"),
        (".tfrecord", ".tfrecords"),
        ("crc32c", "tfrecord"),
    )
    register_module("wav", (f"{HERE}.folders.wav",), (".wav",), together=True)
    register_module("webdataset", (f"{HERE}.webdataset.table", f"{HERE}.webdataset.sink"), (".tar",))
    register_module("zarr", (f"{HERE}.zarr.table", f"{HERE}.zarr.sink"), (".zarr",), ("zarr", "zarr"))
