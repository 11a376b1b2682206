"""W3: batches made ahead by two workers, threads and processes."""

from __future__ import annotations

from dataclasses import replace

import w1
from declared import Bench, Case, Target, Work
from processes import PROPORTIONAL

LETS_GO = "The consumer lets go of each batch at once and touches nothing in it. "
DECODE_NOTE = LETS_GO + (
    "The JPEGs lie in memory and are decoded by simplejpeg everywhere but in tf.data, which has a decoder of its "
    "own. *serial* is batchup without a pool."
)
TRANSPORT_NOTE = LETS_GO + (
    "All that workers do is to gather shuffled rows of 150,528 B, from an array of about 600 MB. *memcpy* and "
    "*take* are done by one thread that brings the batch nowhere; two workers may be faster."
)
FIRST_NOTE = (
    "How long it takes from asking for batches to the first one. With a warm pool, see also *first batch* in W3A. "
    "In the first table every epoch but the first of a pool counts, over data that is cheap to read. In the second "
    "everything is made from nothing in a fresh process, imports done, over a `.npy` file that is mapped into "
    "memory: 64 rows of 150,528 B."
)
MEMORY_NOTE = (
    "How much two workers hold, after the number of batches named, with 10^7 labels, indices and weights (80 MB "
    "each) in memory and 160 MB of samples in a mapped file, less what they hold with 256 samples. PSS counts a "
    "page in equal parts for all who share it, so a forked worker has a part of all that its parent holds; private "
    "is what nobody else holds; all together is what the process, its workers and their helpers hold more than "
    "without workers."
)
AHEAD_NOTE = (
    "The rows of W1, read ahead by two threads: they must never cost more than a twentieth. *stream*: the order "
    "comes from a RandomState that is handed in. *plan*: it is made from a seed."
)

THREADS, PROCESSES, TORCH = "batchup, threads", "batchup, processes", "torch DataLoader"
OURS = "ours_pools"
IMAGE = (224, 224, 3)


def _decode(rows: int, batch: int) -> Case:
    targets = (
        Target(THREADS, 1.85, "serial"),
        Target(THREADS, 1.4, TORCH),
        Target(PROCESSES, 1.75, "serial"),
        Target(THREADS, 20, figure="ms"),
        Target(PROCESSES, 20, figure="ms"),
    )
    return Case(f"n = {rows:,}, B = {batch}", Work("decode", rows, batch, IMAGE, "uint8"), targets)


def _transport(batches: int, batch: int) -> Case:
    work = Work("transport", batches * batch, batch, IMAGE, "uint8")
    targets = (Target(PROCESSES, 8, figure="GB/s"), Target(PROCESSES, 6, TORCH))
    return Case(f"{batch * work.row_bytes / 1e6:.1f} MB a batch (B = {batch})", work, targets)


def _held(taken: int) -> Case:
    targets = (Target(PROCESSES, 5, figure=PROPORTIONAL),)
    return Case(f"After {taken:,} batches of 256", Work("metadata", 10**7, 256, taken=taken), targets)


AGAIN = Case(
    "Warm pool: second epochs, 784 B rows, n = 60,000, B = 256",
    Work("again", 60_000, 256, (784,), "uint8"),
    (Target(THREADS, 2, figure="ms"), Target(PROCESSES, 2, figure="ms")),
)
COLD = Case(
    "Cold pool: from making it to the first batch",
    Work("cold", 1024, 64, IMAGE, "uint8"),
    (Target(PROCESSES, 400, figure="first batch, ms"),),
)


def _ahead(case: Case) -> Case:
    in_order = case.work.kind == "in_order"
    pairs = ("copies", "views") if in_order else ("stream", "plan")
    targets = tuple(Target(f"{name}, threads", 0.95, name) for name in pairs)
    kind = "ahead_in_order" if in_order else "ahead"
    return Case(f"{case.label}, in order" if in_order else case.label, replace(case.work, kind=kind), targets)


BENCHES = (
    Bench(
        "w3a",
        "Decoding JPEGs of 256 x 256, cropped to 224 x 224",
        ("serial",),
        (_decode(24 * 64, 64),),
        DECODE_NOTE,
        main=THREADS,
        environments=(OURS, "torch", "grain", "tf_data", "batchup_0_2", "spdl"),
    ),
    Bench(
        "w3b",
        "Bringing large batches from processes",
        ("memcpy", "take"),
        (_transport(64, 64), _transport(22, 186)),
        TRANSPORT_NOTE,
        shows_rate=True,
        main=PROCESSES,
        environments=(OURS, "torch", "by_hand_processes"),
    ),
    Bench("w3c", "The first batch", (), (AGAIN, COLD), FIRST_NOTE, main=PROCESSES, environments=(OURS, "torch")),
    Bench(
        "w3d",
        "Memory of workers",
        (),
        (_held(16), _held(1000)),
        MEMORY_NOTE,
        unit="worker",
        environments=(OURS, "torch"),
    ),
    Bench(
        "w3e",
        "Threads that need not be there",
        (),
        tuple(_ahead(case) for bench in w1.BENCHES for case in bench.cases),
        AHEAD_NOTE,
        main="",
        environments=(OURS,),
    ),
)
