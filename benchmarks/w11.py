"""W11: the pool of workers on a Ray cluster, on one machine: what it costs beyond a pool of processes."""

from __future__ import annotations

from declared import BEYOND, Bench, Case, Target, Work
from spinning import MILLISECONDS
from starts import FIRST_BATCH

BATCHES_NOTE = (
    "Two workers gather shuffled rows of an array in memory; the program, its cluster and they share two cores, so "
    "that nothing is gained, and what is told is what the way costs. The consumer lets go of each batch at once and "
    "touches nothing in it. *memcpy*, *take* and *serial by hand* are done by one thread that brings the batch "
    "nowhere. Where a row names no number of bytes, batchup makes 20 batches ahead, its default. Batches that come "
    "from *Ray by hand* and *Ray Data* cannot be written to, those of the others can; *Ray Data* shuffles only within "
    "a buffer of 20 batches."
)
MAPPED_NOTE = (
    f"A function that keeps one processor busy for {MILLISECONDS} ms, in time of the processor and not of the clock, "
    "is mapped over batches of 1 MiB. *Serial* is 1; two workers are 2 at most."
)
STARTS_NOTE = (
    "Each trial is a fresh process, all imports done. *Start* is until `WorkerRayPool(2)`, `WorkerProcessPool(2)` or "
    "`ray.init()` return, *workers up* what it takes from there until both workers answer; *second pool* is all of "
    "that for another pool of the same program; *source* is `parallel_data_source` of 100 MiB in memory, or "
    "`ray.put`, and actors that are told of it; *first batch* is of 1 MiB, the workers up and the source made; *next "
    "epoch* is the first batch of the second epoch."
)

RAY, PROCESSES = "batchup, Ray", "batchup, processes"
BYTES = "64MiB"
MOST_BEYOND = 1000  # microseconds a batch
OURS = "ours_cluster"
BATCH = 64


def _brought(label: str, row_bytes: int, batches: int, *targets: Target) -> Case:
    work = Work("transport", batches * BATCH, BATCH, (row_bytes,), "uint8")
    return Case(f"{label} a batch (B = {BATCH}), {batches:,} batches", work, targets)


WITHIN = (
    Target(RAY, MOST_BEYOND, PROCESSES, BEYOND),
    Target(f"{RAY}, {BYTES}", MOST_BEYOND, f"{PROCESSES}, {BYTES}", BEYOND),
)
MAPPED = Case(
    f"{MILLISECONDS} ms a batch",
    Work("mapped", 32 * BATCH, BATCH, (16_384,), "uint8"),
    (Target(RAY, 1.6, "serial"),),
)
STARTED = Case(
    "Two workers, 100 MiB in memory",
    Work("started", 100 * BATCH, BATCH, (16_384,), "uint8"),
    (Target(RAY, 50, figure=FIRST_BATCH),),
)
BENCHES = (
    Bench(
        "w11a",
        "Bringing batches through a Ray cluster",
        ("memcpy",),
        (
            _brought("64 KiB", 1024, 1024, *WITHIN),
            _brought("1 MiB", 16_384, 256, *WITHIN),
            _brought("16 MiB", 262_144, 32),
        ),
        BATCHES_NOTE,
        shows_rate=True,
        main=RAY,
        environments=(OURS, "ray", "torch"),
    ),
    Bench(
        "w11b",
        "A function that keeps processors busy, by a Ray cluster",
        ("serial",),
        (MAPPED,),
        MAPPED_NOTE,
        main=RAY,
        environments=(OURS, "ray"),
    ),
    Bench("w11c", "From nothing to the first batch", (), (STARTED,), STARTS_NOTE, environments=(OURS, "ray")),
)
