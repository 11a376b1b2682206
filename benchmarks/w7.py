"""W7: joining the results of a pass over the data."""

from __future__ import annotations

from declared import Bench, Case, Target, Work

NOTE = (
    "The stand-in for a model makes each batch's 2 MB of results anew. Build is the first join with all that "
    "is prepared for it; peak is the most memory there was then, without the data."
)
WORK = Work("join", 50_000, 256, (2048,), "float32")
TARGETS = (Target("batchup, out=", 0.65, "copy"), Target("batchup", 0.40, "copy"))
BENCHES = (
    Bench(
        "w7",
        "Joining 50,000 x 2,048 float32 from batches of 256",
        ("copy",),
        (Case("410 MB", WORK, TARGETS),),
        NOTE,
        unit="join",
        shows_memory=True,
    ),
)
