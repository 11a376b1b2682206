"""W8: pipelines item by item, TFRecord files, and functions that keep processes busy."""

from __future__ import annotations

from declared import Bench, Case, Target, Work

PER_ITEM_NOTE = (
    "10^5 Python ints in a list, `x + 1` of each, those that are no multiple of 3 kept, 256 together as float32: 384 "
    "items go into a batch. *By hand* calls the same two Python functions; *inlined* has their bodies written out, as "
    "only who writes the loop anew for each pipeline can. In tf.data the two are its own operations, or, where it says "
    "*Python*, the same functions, called in the generator that it is given."
)
RECORDS_NOTE = (
    "The file is written by *batchup* and read by all from its beginning to its end. *Cut by length* only finds the "
    "records. What is compared are records as dicts of arrays; *256 parsed at once* makes batches first and takes them "
    "apart again. The package tfrecord checks no checksums, the others do unless it says otherwise."
)
BUSY_NOTE = (
    "400 items, a loop of pure Python of a millisecond or so for each. What is *kept* outlives the passes, what is "
    "*new* is started in each and ended with it: the first item tells most of what that costs. *Serial* is 1; two "
    "workers are 2 at most."
)

FLOATS = (16,)
LARGE = (64_000,)
PER_ITEM = Case(
    "100,000 ints, B 256",
    Work("per_item", 66_667, 256, dtype="float32"),  # that are kept
    (Target("batchup", 0.67, "by hand"), Target("batchup", 10, "tf.data from_generator")),
)
READING = (
    Target("batchup", 3, "tfrecord"),
    Target("batchup", 0.33, "tf.data"),
    Target("batchup", 0.33, "tf.data, parallel map"),
)
SMALL_RECORDS = Case(
    "100,000 records of 16 floats and an int", Work("records_in_order", 10**5, 1, FLOATS, "float32"), READING
)
LARGE_RECORDS = Case(
    "500 records of 64,000 floats and an int", Work("records_in_order", 500, 1, LARGE, "float32"), READING
)
BUSY = Case(
    "400 items of a millisecond",
    Work("busy", 400, 1, dtype="int64"),
    (Target("batchup, kept processes", 1.7, "serial"),),
)

OURS = "ours_pipeline"
READERS = (OURS, "tf_data", "tfrecord")
CUT = ("cut by length",)
BENCHES = (
    Bench(
        "w8a",
        "Items mapped, filtered and batched",
        ("by hand", "by hand, inlined"),
        (PER_ITEM,),
        PER_ITEM_NOTE,
        environments=(OURS, "tf_data", "torch"),
    ),
    Bench(
        "w8b",
        "Small records of a TFRecord file, warm",
        CUT,
        (SMALL_RECORDS,),
        RECORDS_NOTE,
        unit="record",
        environments=READERS,
    ),
    Bench(
        "w8c",
        "Large records of a TFRecord file, warm",
        CUT,
        (LARGE_RECORDS,),
        RECORDS_NOTE,
        unit="record",
        shows_rate=True,
        environments=READERS,
    ),
    Bench(
        "w8d",
        "A function that keeps processors busy, two workers",
        ("serial",),
        (BUSY,),
        BUSY_NOTE,
        unit="item",
        main="batchup, kept processes",
        environments=(OURS, "by_hand_processes", "torch"),
    ),
)
