"""W6: sequences of different lengths, padded."""

from __future__ import annotations

from declared import Bench, Case, Target, Work

NOTE = (
    "10^5 sequences of int32, 28 tokens on average (log-normal lengths), shuffled, in rectangles of up to 4,096 "
    "tokens, padding included. *batchup* plans each epoch anew, in 50 buckets, and that is counted; what is "
    "*planned* or cut before is not. seqp draws buckets with replacement. The target in us was set on a 2-core "
    "Zen 5 machine where *planned windows* took 7.5 us."
)
OPEN_NOTE = (
    "10^7 sequences of uint16, 28 tokens on average, in a file of some 600 MB that is in the page cache. Held is what "
    "the process holds more then, with the pages of the file that it has looked at. *First batch* is the time that it "
    "takes from there to a source and the first batch of up to 4,096 tokens of a shuffled epoch."
)
SHARES_NOTE = (
    "The lengths of W6A. *Padding* is the share of an epoch's batches of up to 4,096 tokens that is padding, "
    "*room* that of rows of 2,048 tokens in which sequences are packed."
)

RAGGED = Case(
    "n = 100,000, up to 4,096 tokens",
    Work("ragged", 100_000, 4096, dtype="int32"),
    (
        Target("batchup", 10),
        Target("batchup", 15, "torch pad_sequence"),
        Target("batchup", 60, "seqp, in memory"),
        Target("batchup, record file", 10, "seqp, HDF5"),
        Target("batchup, HDF5", 10, "seqp, HDF5"),
    ),
)
OPEN = Case(
    "n = 10,000,000",
    Work("open", 10**7, 4096, dtype="uint16"),
    (
        Target("batchup, record file", 1000, figure="open, ms"),
        Target("batchup, record file", 200, figure="held, MB"),
    ),
)
SHARES = Case(
    "n = 100,000",
    Work("shares", 100_000, 4096, dtype="int32"),
    (
        Target("batchup", 0.05, figure="padding, share"),
        Target("batchup", 0.02, figure="room in packed rows, share"),
    ),
)

OURS = "ours_sequences"
BENCHES = (
    Bench(
        "w6a",
        "Padded batches of sequences",
        ("memcpy", "planned windows"),
        (RAGGED,),
        NOTE,
        environments=(OURS, "torch", "seqp", "tf_data"),
    ),
    Bench("w6b", "Opening files of many sequences", (), (OPEN,), OPEN_NOTE, environments=(OURS,)),
    Bench("w6c", "How much is padding", (), (SHARES,), SHARES_NOTE, environments=(OURS,)),
)
