"""The formats that batchup knows by itself, by the suffixes of their files; each is loaded when it is first used."""

from __future__ import annotations

from batchup.formats.registry import register_module

HERE = "batchup.formats"
ARROW = ("pyarrow", "parquet")
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


def register_known() -> None:
    """Add them to the table of formats."""
    register_module("arrow", (f"{HERE}.arrow_file",), (".arrow", ".feather", ".ipc"), ARROW)
    register_module("csv", (f"{HERE}.csv", f"{HERE}.csv_sink"), (".csv",), ARROW)
    register_module("hdf5", (f"{HERE}.hdf5", f"{HERE}.hdf5_sink"), (".h5", ".hdf5"), ("h5py", "hdf5"))
    register_module("hsq", (f"{HERE}.hsq",), (".hsq",))
    register_module("images", (f"{HERE}.images",), IMAGES, ("PIL", "image"), together=True)
    register_module("jsonl", (f"{HERE}.jsonl", f"{HERE}.jsonl_sink"), (".jsonl", ".ndjson"))
    register_module("npy", (f"{HERE}.npy",), (".npy",))
    register_module("npz", (f"{HERE}.npz", f"{HERE}.npz_table"), (".npz",))
    register_module("parquet", (f"{HERE}.parquet",), (".parquet",), ARROW)
    register_module("records", (f"{HERE}.records",), (".records",))
    register_module("text", (f"{HERE}.text",), (".txt", ".text"))
    register_module(
        "tfrecord", (f"{HERE}.tfrecord", f"{HERE}.tfrecord_table"), (".tfrecord", ".tfrecords"), ("crc32c", "tfrecord")
    )
    register_module("wav", (f"{HERE}.wav",), (".wav",), together=True)
    register_module("webdataset", (f"{HERE}.tar", f"{HERE}.tar_sink"), (".tar",))
    register_module("zarr", (f"{HERE}.zarr", f"{HERE}.zarr_sink"), (".zarr",), ("zarr", "zarr"))
