"""W10: standard data sets: batches of scaled images, opening what is there, and fetching what is not."""

from __future__ import annotations

from declared import Bench, Case, Target, Work

SCALED_NOTE = (
    "Images of uint8 in a `.npy` file that is mapped into memory and lies in the page cache; batches of float32 from "
    "0 to 1. The consumer lets go of each batch at once and touches nothing in it. *memcpy* is of the batches as "
    "float32. *Take + scale* makes them in one buffer, in an order drawn before. How dear *by hand* is depends on "
    "what else its process has allocated before: *alone*, it has done nothing else."
)
OPENING_NOTE = (
    "A data set of the size of MNIST (60,000 images to train on and 10,000 to test, one half of each noise, the other "
    "zeros), fetched and converted before, its files in the page cache. Each trial is a fresh process; *open* begins "
    "when all imports are over, and *first batch*, of 256 shuffled images as float32, when it is open. *RSS* and *PSS* "
    "are what the process holds more when it is open; of pages that several processes hold, PSS counts an equal part. "
    "*With a batch* is RSS when the first batch is there, too. *np.load, mapped* is the least that can be done."
)
FETCHING_NOTE = (
    "A file of 200 MB, from a server on the same machine that sends it by `sendfile` out of the page cache, each time "
    "as a new file, which is on the disk when its time ends (what others leave in the page cache is brought there by "
    "`fsync`); the one before is removed outside of it. The coreutils have a sha256sum of their own, which does not "
    "use the instructions that processors have for it; *sha256 alone* is `hashlib`, over the file that is served."
)

BY_HAND, CURL, SHA256 = "by hand", "curl alone", "sha256 alone"
MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


def _scaled(name: str, rows: int, batch: int, shape: tuple[int, ...], *targets: Target) -> Case:
    return Case(f"{name}, n = {rows:,}, B = {batch}", Work("scaled", rows, batch, shape, "uint8"), targets)


THREE_TIMES = Target("batchup", 3, BY_HAND)
OPEN = Case(
    "60,000 and 10,000 images of 28 x 28",
    Work("open_images", 60_000, 256, MNIST, "uint8"),
    (Target("batchup", 50, figure="open, ms"), Target("batchup", 5, figure="RSS, MB")),
)
FETCH = Case(
    "200 MB",
    Work("fetch", 200, 1, (10**6,), "uint8"),
    (Target("batchup", 0.7, CURL, or_against=SHA256),),
)
OURS = "ours_datasets"
BENCHES = (
    Bench(
        "w10a",
        "Images scaled to float32, shuffled",
        ("memcpy", "take + scale"),
        (
            _scaled("MNIST", 60_000, 64, MNIST, THREE_TIMES),
            _scaled("MNIST", 60_000, 256, MNIST, THREE_TIMES),
            _scaled("CIFAR", 50_000, 256, CIFAR),
        ),
        SCALED_NOTE,
        environments=(OURS, "by_hand_images", "torch", "tf_data"),
    ),
    Bench("w10b", "Opening a data set that is there", (), (OPEN,), OPENING_NOTE, environments=(OURS, "torch")),
    Bench(
        "w10c",
        "Fetching and verifying a file",
        (CURL, SHA256),
        (FETCH,),
        FETCHING_NOTE,
        unit="file",
        shows_rate=True,
        environments=(OURS,),
    ),
)
