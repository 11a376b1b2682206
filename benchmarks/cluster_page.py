"""The page docs/explanation/cluster_scale.md, out of the raw results alone: prose, and figures put into it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from statistics import median
from typing import Any

from cluster_model import GOAL
from render import number

WIDTH = 120
LIMITS = {"workers": "workers", "driver": "driver", "link": "link"}
EXAMPLE = """\
```text
# in each of the W training processes, rank being its number
pool = WorkerRayPool(workers // W, address="auto")
ds = pool.parallel_data_source(source, batch_buffer_size=2 * (workers // W))
for epoch in range(epochs):
    for batch in ds.batch_iterator(256, shuffle=1234, epoch=epoch, shard=(rank, W), tail="drop"):
        ...
```
"""


def page(record: dict[str, Any], measured: dict[str, Any]) -> str:
    """Return the page."""
    figures = {name: median(values) for name, values in measured["figures"].items()}
    sections = (
        _rule(record, figures),
        _measured(measured, figures),
        _books(measured, figures),
        _assumed(record, figures),
        _checked(record),
        _grown(record),
        _epochs(record),
        _ahead(record),
        _lost(record),
        _orders(figures),
    )
    return "\n".join(part for section in sections for part in section)


def _rule(record: dict[str, Any], figures: dict[str, float]) -> list[str]:
    spans = ", ".join(
        f"about {number(_two_digits(each['workers']))} with batches of {_time(each['work'])}"
        for each in record["spans"]
    )
    tasks = number(_two_digits(1 / figures["task_cpu_s"]))
    rate = number(_two_digits(figures["store_16MB_Bps"] / 1e9))
    link = min(record["assumed"]["links_Gbit"])
    return [
        "# How far one driver goes",
        "",
        _text(
            "The program that takes the batches of a Ray pool is its *driver*: it deals the tasks, notes the results "
            "and hands out the batches. However many nodes work for it, all that passes through it passes through one "
            "thread and one network link. This page says from where on that is the limit, and what to do then. No "
            "cluster of this size was at hand: costs were measured with two workers, and put into a simulation."
        ),
        "**The rule:**",
        "",
        _item(
            f"Up to about **{tasks} tasks a second**, or **{rate} GB/s** of batches (the speed of its link, if that is "
            f"less: {number(link / 8)} GB/s for {link} Gbit/s), one driver will do. A task is one batch, or as many as "
            f"take {GOAL * 1e3:g} ms together."
        ),
        _item(f"That is enough to keep workers busy, as long as the link is no limit: {spans}."),
        _item(
            "Beyond that, take **ranks**: each of *W* training processes makes a `WorkerRayPool` of its own, for its "
            "share of the workers, and passes `shard=(rank, W)`. They need not talk to each other, so *W* ranks do *W* "
            "times as much."
        ),
        _item("Larger batches move the first limit, not the second: they mean fewer tasks, and no fewer bytes."),
        "",
        EXAMPLE,
        _text(
            "Which rank gets which batches is told in [many ranks](../howto/many_ranks.md). In a data-parallel "
            "training the ranks are there anyway, one for each accelerator or node."
        ),
        "![Batches a second over the number of nodes, for three loads: one driver stops growing where its thread or "
        "its",
        "link is the limit, ranks with pools of their own go on](../_static/cluster_scale.png)",
        "",
        _text(
            f"Simulated, with a link of {max(record['assumed']['links_Gbit'])} Gbit/s; both axes are logarithmic. The "
            "dashed line is where the workers cease to be the limit of one driver."
        ),
    ]


def _measured(measured: dict[str, Any], figures: dict[str, float]) -> list[str]:
    machine = measured["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, {machine['system']}"
    rows = [
        ["processor time of the driver for a task, all its threads", _time(figures["task_cpu_s"])],
        ["... the share of that in batchup's and your own thread", f"{100 * figures['python_share']:.0f}%"],
        ["processor time of the driver for a batch", _time(figures["batch_cpu_s"])],
        ["processor time of the driver for 1 MB more of a result", _time(figures["cpu_per_MB_s"])],
        ["tasks a second, two workers with next to nothing to do", number(figures["tasks_per_s"])],
        ["the way of one task, there and back", _time(figures["latency_s"])],
        ["between two tasks of a worker that has both", _time(figures["between_tasks_s"])],
        *(
            [f"{what} a result of {size} MB", f"{number(figures[f'{key}_{size}MB_Bps'] / 1e9)} GB/s"]
            for what, key in (("the store takes", "store"), ("the driver reads", "read"))
            for size in (1, 4, 16)
        ),
    ]
    return [
        "## What was measured",
        "",
        _text(
            f"On {measured['date']}, with a `WorkerRayPool({measured['workers']})` on one machine: {where}; Python "
            f"{machine['python']}, NumPy {machine['numpy']}, Ray {measured['versions']['ray']}. Medians of several "
            "rounds. On other machines they will be others: run `benchmarks/cluster_costs.py` there, then "
            "`benchmarks/cluster_scale.py`, which writes this page."
        ),
        _grid(["what", "figure"], rows),
        _text(
            "Results are read where they lie in the store, without a copy, so their bytes cost the driver little. "
            "What it does for a task is partly done by threads of Ray that do not hold Python's lock. Here all of it "
            "is counted as if one thread did it, which is cautious where the driver has cores to spare. The time of "
            f"the processor alone would allow {number(_two_digits(1 / figures['task_cpu_s']))} tasks a second; the "
            "driver that was measured shared two cores with its workers."
        ),
    ]


def _books(measured: dict[str, Any], figures: dict[str, float]) -> list[str]:
    rows = [
        [number(seats), *(_time(figures[f"books_{seats}_{waiting}_s"]) for waiting in (0, 64))]
        for seats in measured["seats"]
    ]
    most = measured["seats"][-1]
    return [
        _text(
            "One part might grow with the pool: the books that the driver keeps on the workers. What they take "
            "was measured with stand-ins for the workers, which do nothing; the rest of a task's time does not depend "
            f"on how many there are. Beyond {number(most)} workers it is taken to go on in proportion."
        ),
        _grid(["workers", "books for a task, none waits", "books for a task, 64 wait"], rows),
        _text(
            "Tasks wait if more are begun than two for each worker. If the last column were much larger than the one "
            "before, `batch_buffer_size` should be no more than twice the number of workers (times the batches of a "
            "task)."
        ),
    ]


def _assumed(record: dict[str, Any], figures: dict[str, float]) -> list[str]:
    assumed = record["assumed"]
    links = " and ".join(f"{link}" for link in assumed["links_Gbit"])
    store = number(figures["store_16MB_Bps"] / 1e9)
    rows = [
        f"Nodes have {assumed['per_node']} workers each. All nodes are alike, and the driver runs on one of them.",
        f"The link of the driver's node has {links} Gbit/s, full, without loss, and for batches alone. What comes "
        f"through it must also be put into the store there, which takes {store} GB/s as measured; the lesser of the "
        "two counts. So a fast link is as good as the memory of the node behind it.",
        "Other links are no limit: what one node sends is little beside what the driver's receives. Nor is reading the "
        "data, which depends on your storage.",
        "A batch takes a worker 1, 20 or 200 ms, by up to a fifth more or less from task to task, and has 0.1, 1 or "
        "10 MB.",
        "The consumer asks for the next batch at once. Two tasks are made ahead for each worker, and the pool has "
        f"`memory=` of {assumed['memory'] // 2**30} GiB.",
        f"Tasks are as large as the pool aims at: as many batches as take {GOAL * 1e3:g} ms.",
        "Ranks run on different nodes, and take their steps without waiting for each other.",
    ]
    return ["## What is assumed", "", *map(_item, rows), ""]


def _checked(record: dict[str, Any]) -> list[str]:
    rows = [
        [
            _time(each["seconds"]),
            number(each["together"]),
            number(each["measured"]),
            number(each["simulated"]),
            number(each["ratio"]),
            number(each["closed"]),
        ]
        for each in record["checks"]
    ]
    worst = max((each["ratio"] for each in record["checks"]), key=lambda ratio: abs(ratio - 1))
    runs = record["runs"]
    below = [run for run in runs if run["batches"] < 0.9 * min(run["closed"].values())]
    heads = [
        "work of a batch",
        "batches a task",
        "measured, batches/s",
        "simulated",
        "simulated / measured",
        "closed form",
    ]
    return [
        "## Is it true?",
        "",
        _text(
            "There is one point where the simulation can be set against the real thing: two workers on one machine, "
            "whose batches of 100 kB take them a while without the processor. The simulation was told how long they "
            "took."
        ),
        _grid(heads, rows),
        _text(
            f"The worst of the ratios is {number(worst)}. Here the driver, the workers and Ray share two cores, which "
            "the simulation does not know of; so it may well be above 1. Nothing is said of links here. In the second "
            f"row the pool aims at {record['checks'][-1]['aim']} batches a task. Where tasks hold fewer than that, one "
            "driver does as many times fewer batches than is foretold below."
        ),
        _text(
            "The closed form is the least of three rates: what the workers, the driver's thread and its link could do, "
            f"each if the others were no limit. Of {len(runs)} points below, {len(runs) - len(below)} are within a "
            f"tenth of it. {_differences(below)}"
        ),
    ]


def _differences(below: Sequence[dict[str, Any]]) -> str:
    if not below:
        return "The simulation adds little to it without losses of nodes; with them it does."
    worst = min(below, key=lambda run: run["batches"] / min(run["closed"].values()))
    share = 100 * worst["batches"] / min(worst["closed"].values())
    who = f"a rank for every {worst['ranks_of']} nodes" if worst["ranks_of"] > 1 else "a rank for every node"
    who = who if worst["ranks_of"] else "one driver"
    return (
        "The others are below. Results wait for their turn, and what waits is not being made: that counts where two "
        "limits are close to each other, or the way there and back is long beside the work. And the closed form lets "
        "those on the driver's own node, whose batches need no link, work all the time; that is not so where `memory=` "
        "has no room for what all could have in work, and each gets its share. The farthest is "
        f"{share:.0f}% ({_time(worst['work'])}, {number(worst['nodes'])} nodes, {who}, {worst['link_gbit']} Gbit/s)."
    )


def _grown(record: dict[str, Any]) -> list[str]:
    parts = [
        "## From 1 node to 1,000",
        "",
        _text(
            "*Busy* is for how much of the time the driver's thread, its link and the workers are. *Limit* is the "
            "least of the three rates. The last columns are ranks with pools of their own, for every 8 nodes and for "
            "every node: batches a second of all of them together."
        ),
    ]
    for work in sorted({run["work"] for run in record["runs"]}):
        for link in record["assumed"]["links_Gbit"]:
            runs = [run for run in record["runs"] if (run["work"], run["link_gbit"]) == (work, link)]
            size = runs[0]["size"] / 1e6
            parts += [f"### {_time(work)} and {size:g} MB a batch, {link} Gbit/s", "", _load(runs)]
    return parts


def _load(runs: Sequence[dict[str, Any]]) -> str:
    rows = []
    for run in runs:
        if run["ranks_of"]:
            continue
        ranks = {each["ranks_of"]: number(each["batches"]) for each in runs if each["nodes"] == run["nodes"]}
        busy = [f"{100 * run[name]:.0f}%" for name in ("driver", "link", "workers")]
        rows.append(
            [
                number(run["nodes"]),
                number(run["batches"]),
                *busy,
                LIMITS[run["limit"]],
                ranks.get(8, ""),
                ranks.get(1, ""),
            ]
        )
    heads = [
        "nodes",
        "one driver, batches/s",
        "thread busy",
        "link busy",
        "workers busy",
        "limit",
        "ranks of 8",
        "ranks of 1",
    ]
    return _grid(heads, rows)


def _epochs(record: dict[str, Any]) -> list[str]:
    batches = sorted({each["batch"] for each in record["epochs"]})
    nodes = sorted({each["nodes"] for each in record["epochs"]})
    by_place = {(each["nodes"], each["batch"]): each for each in record["epochs"]}
    heads = ["nodes", *(f"B = {b:,}: {who}" for b in batches for who in ("one driver", "a rank for every node"))]
    rows = [
        [number(n), *(_hours(by_place[n, b][who]) for b in batches for who in ("one_driver_h", "ranks_h"))]
        for n in nodes
    ]
    return [
        "## An epoch of 10^10 samples",
        "",
        _text(
            f"Samples of 4 kB, of which 256 take a worker 20 ms, and 1,024 take 80 ms; "
            f"{max(record['assumed']['links_Gbit'])} Gbit/s."
        ),
        _grid(heads, rows),
        _text(
            "With larger batches one driver goes further in samples, until the link is full. Ranks share out both "
            "limits."
        ),
    ]


def _ahead(record: dict[str, Any]) -> list[str]:
    rows = [
        [
            f"{_time(each['work'])}, {each['size'] / 1e6:g} MB",
            number(each["ahead_per_worker"]),
            f"{each['memory'] // 2**30} GiB",
            number(each["batches"]),
            f"{100 * each['driver']:.0f}%",
            f"{100 * each['workers']:.0f}%",
        ]
        for each in record["aheads"]
    ]
    heads = ["batch", "ahead, per worker", "memory=", "batches/s", "thread busy", "workers busy"]
    default, slow = record["assumed"]["default_memory"], record["aheads"][-1]["work"]
    return [
        "## How far ahead",
        "",
        _text(
            f"{record['aheads'][0]['nodes']} nodes, one driver. Results are taken in order, so some are done and wait "
            "for their turn. With one task for each worker, it waits for that, and for the next task to come. With two "
            "he hardly does. With more, little is won."
        ),
        _grid(heads, rows),
        _text(
            "What is dealt and not taken yet must find room in `memory=`. So one driver gets no more bytes a second "
            f"than that, divided by the time of a batch: with {default // 2**30} GiB, the default, and {_time(slow)} a "
            f"batch, that is {number(default / slow / 1e9)} GB/s. For work that takes long, set `memory=` to twice the "
            "bytes of a batch times the number of workers, and start the driver's node with an `object_store_memory` "
            "of twice that. A `batch_buffer_size` that is given in bytes is never more than 256 batches, so give a "
            "number of batches."
        ),
    ]


def _lost(record: dict[str, Any]) -> list[str]:
    rows = []
    for each in record["losses"]:
        loss = each["loss"]
        when = ["none", ""] if loss is None else [f"every {loss['every']:g} s", f"{loss['noticed']:g} s"]
        rows.append([*when, number(each["batches"]), f"{100 * each['workers']:.0f}%"])
    losses = [each["loss"] for each in record["losses"] if each["loss"]]
    return [
        "## When nodes are lost",
        "",
        _text(
            f"{record['losses'][0]['nodes']} nodes, 200 ms and 0.1 MB a batch, one driver; a node is lost now and "
            f"then, and replaced after {losses[0]['replaced']:g} s. Its tasks, and the results that had not left it, "
            "are done again, as soon as its loss is noticed. A process that ends is noticed within a second. A "
            "machine that falls silent is noticed by Ray's heartbeats, which takes many seconds (15 are assumed)."
        ),
        _grid(["a node is lost", "noticed after", "batches/s", "workers busy"], rows),
        _text(
            "The work that is done again is next to nothing. The wait is what counts: batches come in order, so when "
            "the look-ahead is used up, everybody waits for those that lay on the lost node until that is noticed. "
            "After that, nothing is missing but the workers of that node."
        ),
    ]


def _orders(figures: dict[str, float]) -> list[str]:
    drawn, turns = figures["drawn_bytes_per_sample"], figures["turns_bytes_per_batch"]
    per_file = figures["computed_bytes_per_file"]
    rows = [
        ["one source, seeded", *[_bytes(figures["order_bytes"])] * 2],
        ["1,000 files: whose turn it is (B = 256)", *(_bytes(turns * n / 256) for n in (1e9, 1e10))],
        ["1,000 files of more than 2^20 samples: their orders, at most", *[_bytes(1000 * per_file)] * 2],
        ["files of up to 2^20 samples: their orders", *(_bytes(drawn * n) for n in (1e9, 1e10))],
    ]
    index = [
        [name, *(_time(figures[f"index_{key}_{world}_s"]) for world in (1, 8, 125))]
        for name, key in (("one source", "plain"), ("20 files in turn", "shards"))
    ]
    return [
        "## What the order takes",
        "",
        _text(
            "Every driver draws the order itself, so each rank has this memory. That of a seeded order does not "
            "depend on the number of samples. A `ShardDataSource`, or a `ChoiceDataSource(stratified=True)`, also "
            "holds whose turn it is, for all batches of the epoch, and an order for each file that it has begun:"
        ),
        _grid(["held by the driver", "10^9 samples", "10^10 samples"], rows),
        _text(
            "The order of up to 2^20 samples is drawn and kept, 8 bytes a sample; of more, it is computed where it is "
            "looked at. So for very many samples take files of more than 2^20 = 1,048,576 samples, or larger batches "
            "out of fewer files."
        ),
        _text(
            f"To enter an epoch of 10^9 samples at its middle takes {_time(figures['enter_plain_s'])}. To begin one of "
            f"1,000 files takes {_time(figures['enter_shards_s'])}, mostly to shuffle the turns, and ten times that "
            "for ten times the samples. The indices of one batch take, for one rank of several:"
        ),
        _grid(["indices of a batch of 256", "1 rank", "8 ranks", "125 ranks"], index),
        _text(
            "A rank skips the batches of the others, and does not draw them, so it does not matter how many ranks "
            "there are. But it goes on by leaps, and enters the order anew for each batch. With batches of "
            "1 ms, that counts."
        ),
    ]


def _text(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False) + "\n"


def _item(text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def _grid(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{number(seconds / size)} {unit}"
    return f"{number(seconds * 1e6)} us"


def _bytes(size: float) -> str:
    for unit, large in (("GB", 1e9), ("MB", 1e6)):
        if size >= large:
            return f"{number(size / large)} {unit}"
    return f"{number(size / 1e3)} kB"


def _hours(hours: float) -> str:
    if hours >= 48:
        return f"{number(hours / 24)} days"
    return f"{number(hours)} h" if hours >= 1 else f"{number(hours * 60)} min"


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")
