"""W2: rows in files, read in shuffled batches, warm and cold, and written."""

from __future__ import annotations

from declared import Bench, Case, Target, Work

TELLS = (
    "The consumer lets go of each batch at once and touches nothing in it. A row has an int64 label: of flat files it "
    "lies in memory, of the others in the file. *preadv* reads the same rows in sequence. "
)
WARM_NOTE = TELLS + "The rows lie in the page cache. Views are not read at all."
COLD_NOTE = TELLS + (
    "Nothing lies in the page cache; the rows take 4 GB, so that no turn comes upon much of what it has read. *random "
    "reads* are as many bytes as a row, at least 4 KiB, at random pages. Drawing an order and starting workers, which "
    "cannot stay since what they have mapped could not be put out, is charged to the 2 s."
)

FLAT, HSQ, BY_BATCH = "batchup, flat map", "batchup, .hsq by sample", "batchup, .hsq by batch"
STREAM, NATIVE, THEIRS = "batchup, flat map, RandomState", "batchup, native batches", "hypersequence 0.10"
TORCH, LIMIT, RANDOM = "torch DataLoader", "preadv", "random reads"
HDF5_NOTE = TELLS + (
    "The rows lie in the page cache; chunks have 128 KiB. *np.memmap* and *preadv* read a flat file. One half of a row "
    "is noise, the other zeros. Where batches are read in windows, which begin small, epochs are run to their end."
)
SERVING_NOTE = (
    "The consumer lets go of each batch at once and touches nothing in it. All read one typed file, made by batchup, "
    "of images and labels by id, each image a chunk, which lies in the page cache; turns run whole epochs. "
    "*np.memmap*, *memory map + take* and *preadv*, which reads in sequence, read a flat file of the same images, "
    "never compressed. One half of an image that is compressed by gzip is noise, the other zeros; "
    "batchup keeps those that it has decompressed, all of which fit, unless it opens the file anew. *Build* is all "
    "from opening the file to the first batch; that of the first of batchup has the making of the file in it."
)
CREATING_NOTE = (
    "Each small file holds an array of 16 x 16 numbers, and lies in the page cache. A turn makes whole files anew, "
    "each on the disk when its time ends; making the first, which is not counted, is all the warm-up there is."
)
OPENING_NOTE = (
    "A file of 10^5 ids with 16 B and a label each, in the page cache, opened anew each time. *Get* is "
    "`file.x.get(id)` of ids drawn at random, the file kept open."
)
COLD = ("ours", "torch", "hypersequence")
WARM = (*COLD, "h5py")
WARM_LARGE = (*WARM, "ffcv", "grain", "webdataset")
WRITERS = ("ours", "hypersequence", "h5py")


def _large(kind: str, rows: int) -> Work:
    return Work(kind, rows, 64, (96, 96, 3), "uint8")


def _small(kind: str, rows: int) -> Work:
    return Work(kind, rows, 256, (200,), "float32")


def _case(work: Work, *targets: Target) -> Case:
    size = f"{work.row_bytes:,} B rows, n = {work.rows:,}"
    return Case(size if work.kind == "write" else f"{size}, B = {work.batch}", work, targets)


def _reading(name: str, title: str, case: Case, environments: tuple[str, ...]) -> Bench:
    limits, note = ((LIMIT, RANDOM), COLD_NOTE) if case.work.cold else ((LIMIT,), WARM_NOTE)
    return Bench(name, title, limits, (case,), note, shows_rate=True, main=FLAT, environments=environments)


def _writing(work: Work) -> Case:
    appending = Target("batchup, append", 1, "hypersequence 0.10, append")
    return _case(work, Target("batchup, extend", 0.8, "tofile"), appending)


W2A = _case(
    _large("file", 54_400),
    Target(FLAT, 0.60, LIMIT),
    Target(HSQ, 0.45, LIMIT),
    Target(FLAT, 3, TORCH),
    Target(HSQ, 2, TORCH),
    Target(NATIVE, 1, THEIRS),
    Target(FLAT, 1.3, "FFCV"),
)
W2B = _case(
    _large("file_cold", 153_600),
    Target(FLAT, 0.70, LIMIT),
    Target(STREAM, 0.70, LIMIT),
    Target(FLAT, 100, "np.memmap"),
)
W2C = _case(
    _small("file", 1_024_000),
    Target(FLAT, 0.30, LIMIT),
    Target(HSQ, 0.18, LIMIT),
    Target(BY_BATCH, 0.85, LIMIT),
    Target(NATIVE, 1, THEIRS),
)
W2D = _case(
    _small("file_cold", 5_120_000),
    Target(FLAT, 0.9, RANDOM),
    Target(HSQ, 0.9, RANDOM),
    Target(BY_BATCH, 0.7, LIMIT),
)
HDF5_TARGETS = (
    Target("batchup, contiguous", 4, "h5py, contiguous"),
    Target("batchup, contiguous", 0.9, "np.memmap"),
    Target("batchup, chunks", 4, "h5py, chunks"),
    Target("batchup, gzip", 5, "h5py, gzip"),
    Target("batchup, lzf", 5, "h5py, lzf"),
)
W2E = (_case(_large("file_hdf5", 8_000), *HDF5_TARGETS), _case(_small("file_hdf5", 256_000), *HDF5_TARGETS))
BY_TORCH, BY_TORCH_WORKERS = "torch loader", "torch loader, 2 workers"
SERVING_TARGETS = (
    *(Target(f"batchup, {how}", 5, f"h5mapper, {how}") for how in (BY_TORCH, BY_TORCH_WORKERS)),
    Target(f"batchup, {BY_TORCH}, opened anew", 5, f"h5mapper, {BY_TORCH}"),
)
W2F = tuple(
    Case(f"{label}3,072 B images, n = 10,048, B = 64", Work(kind, 10_048, 64, (32, 32, 3), "uint8"), SERVING_TARGETS)
    for label, kind in (("", "ids"), ("gzip, ", "ids_gzip"))
)
W2G = Case(
    "10,000 files of 256 B each",
    Work("create", 10_000, 1, (16, 16), "uint8"),
    tuple(Target(f"batchup, {kind}", 2, f"h5mapper, {kind}") for kind in ("none", "threads", "mp")),
)
W2H = Case(
    "n = 100,000",
    Work("open_ids", 100_000, 64, (16,), "uint8"),
    tuple(Target("batchup", 2, "h5mapper", figure) for figure in ("open and first get, ms", "get, us")),
)
BENCHES = (
    _reading("w2a", "27 KB rows in a file, warm, shuffled", W2A, WARM_LARGE),
    _reading("w2b", "27 KB rows in a file, cold, shuffled", W2B, COLD),
    _reading("w2c", "800 B rows in a file, warm, shuffled", W2C, WARM),
    _reading("w2d", "800 B rows in a file, cold, shuffled", W2D, COLD),
    Bench(
        "w2e",
        "Datasets of HDF5, warm, shuffled",
        (LIMIT,),
        W2E,
        HDF5_NOTE,
        shows_rate=True,
        main="batchup, contiguous",
        environments=("ours_hdf5", "h5py"),
    ),
    Bench(
        "w2f",
        "Serving by id from a typed file, warm, shuffled",
        (LIMIT, "memory map + take"),
        W2F,
        SERVING_NOTE,
        shows_memory=True,
        shows_rate=True,
        main="batchup, torch loader",
        environments=("ours_typed", "h5mapper", "h5py"),
    ),
    Bench(
        "w2g",
        "Creating a typed file from small files",
        ("np.load alone", "one array by h5py"),
        (W2G,),
        CREATING_NOTE,
        unit="file",
        main="batchup, none",
        environments=("ours_typed", "h5mapper"),
    ),
    Bench(
        "w2h",
        "Opening a typed file of many ids",
        (),
        (W2H,),
        OPENING_NOTE,
        environments=("ours_typed", "h5mapper"),
    ),
    Bench(
        "w2w",
        "Writing rows",
        ("tofile",),
        (_writing(_large("write", 19_200)), _writing(_small("write", 256_000))),
        "Files are written anew, and each is on the disk when its time ends; the one before is removed outside of it.",
        unit="file",
        shows_rate=True,
        main="batchup, extend",
        environments=WRITERS,
    ),
)
