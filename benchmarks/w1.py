"""W1: rows in memory, shuffled and in order."""

from __future__ import annotations

from declared import Bench, Case, Target, Work

LIMITS = ("memcpy", "take")
NOTE = "The consumer lets go of each batch at once and touches nothing in it."
LOADER = "torch DataLoader"


def _case(work: Work, *targets: Target) -> Case:
    size = f"{work.row_bytes:,} B rows, n = {work.rows:,}, B = {work.batch}"
    return Case(size, work, targets)


def _ahead(by_hand: float, loader: float) -> tuple[Target, Target]:
    return Target("batchup", by_hand, "by hand"), Target("batchup", loader, LOADER)


def _images(rows: int, batch: int) -> Work:
    return Work("shuffled", rows, batch, (3, 96, 96), "float32")


def _cifar(batch: int) -> Work:
    return Work("shuffled", 50_000, batch, (3072,), "uint8")


def _mnist(kind: str, batch: int) -> Work:
    return Work(kind, 60_000, batch, (784,), "uint8")


def _tabular(batch: int) -> Work:
    return Work("shuffled", 1_000_000, batch, (16,), "float32")


GRAIN = Target("batchup", 100, "Grain")
BENCHES = (
    Bench(
        "w1a",
        "110 KB rows, shuffled",
        LIMITS,
        (_case(_images(6_144, 256), Target("batchup", 0.90, "memcpy"), Target("batchup", 2.2, LOADER)),),
        NOTE,
    ),
    Bench(
        "w1b",
        "110 KB rows, shuffled, batches of 57 MB",
        LIMITS,
        (_case(_images(13_824, 512), Target("batchup", 1.8, "by hand")),),
        NOTE,
    ),
    Bench(
        "w1c",
        "3 KB rows (CIFAR), shuffled",
        LIMITS,
        (_case(_cifar(64), *_ahead(1.15, 11)), _case(_cifar(256), *_ahead(1.15, 11))),
        NOTE,
    ),
    Bench(
        "w1d",
        "784 B rows (MNIST), shuffled",
        LIMITS,
        (
            _case(_mnist("shuffled", 64), *_ahead(1.2, 30), GRAIN),
            _case(_mnist("shuffled", 256), *_ahead(1.3, 30), GRAIN),
        ),
        NOTE,
    ),
    Bench(
        "w1e",
        "64 B rows (tabular), shuffled",
        LIMITS,
        (_case(_tabular(64), *_ahead(2.5, 50)), _case(_tabular(256), *_ahead(2.5, 50))),
        NOTE,
    ),
    Bench(
        "w1f",
        "784 B rows, in order",
        ("memcpy",),
        (_case(_mnist("in_order", 256), Target("batchup", 0.90, "memcpy"), Target("batchup, views", 2.0)),),
        NOTE,
    ),
)
