"""Tables in Markdown out of the raw results alone."""

from __future__ import annotations

from statistics import median

from declared import BEYOND, Target
from figures import FIRST, RATE, Figures, Verdict, first_batch
from records import BenchRecord, Build, CaseRecord, Entry

MAIN = "batchup"
HEAD = """\
# {page} benchmarks

Every environment has a process of its own. Contenders take turns in shuffled rounds, after one round that
is thrown away, for 0.04 s in our environment's process and 0.3 s in the others. Each turn begins a fresh
epoch, so its first batch counts; an epoch that begins dearly (a permutation, a buffer to fill) is run to
its end where that lasts less than 16 turns, so that the beginning is charged once per epoch, as in
training. Ratios are taken within each round, then their median: compare ratios, not times. *of x* is the
rate as a share of that limit, *batchup is* how many times the rate of the row that of batchup is.
"""
HEAD_BY_WORKERS = """\
# {page} benchmarks

Every environment has a process of its own, and the contenders in it their pools, started once. Contenders
take turns in shuffled rounds, after one round that is thrown away. Each turn waits until all is quiet, then
runs whole epochs for at least 0.3 s, each from the call that begins it: its first batch counts, and nothing
that was made ahead is left over, or owed. Ratios are taken within each round, then their median: compare
ratios, not times. *of x* is the rate as a share of that row's, *... is* how many times the rate of the row
that of the contender named is. Where a cell holds a span, it is the median with the least and the most.
"""
HEAD_FILES = """\
# {page} benchmarks

Every environment has a process of its own. All read the same files, made anew for each table and removed
after it. Contenders take turns in shuffled rounds, after one round that is thrown away; each waits until
all is quiet. Warm turns run whole epochs for at least 0.3 s (parts of epochs, where one would last 16 times
as long); the files are read through before, as far as they do not lie in the page cache. Before a cold turn
all maps and files are closed, and the files are put out of the page cache; it lasts 2 s, from the opening
of the file on, and never beyond an epoch. Ratios are taken within each round, then their median: compare
ratios, not times. *of x* is the rate as a share of that row's, *... is* how many times the rate of the row
that of the contender named is. Where a cell holds a span, it is the median with the least and the most.
"""
HEAD_ITEMS = """\
# {page} benchmarks

Every environment has a process of its own. Contenders take turns in shuffled rounds, after one round that
is thrown away, of at least 0.3 s; where files are read, or workers help, each waits until all is quiet, and
runs whole epochs (parts of epochs of a file, where one would last 16 times as long). Each turn begins a
fresh epoch, so its first batch counts. Files are those that the first environment has made, in the page
cache. Ratios are taken within each round, then their median: compare ratios, not times. *of x* is the rate
as a share of that row's, *... is* how many times the rate of the row that of the contender named is.
"""
HEAD_DATASETS = """\
# {page} benchmarks

Every environment has a process of its own. Files are made anew for each table; those that are read lie in
the page cache. Contenders take turns in shuffled rounds, after one round that is thrown away; each waits
until all is quiet. A turn is one trial in a fresh process (W10B), or runs whole epochs for at least 0.3 s
(parts of epochs, where one would last 16 times as long), each from the call that begins it, so its first
batch counts. Ratios are taken within each round, then their median: compare ratios, not times. *of x* is
the rate as a share of that row's, *... is* how many times the rate of the row that of the contender named
is. Where a cell holds a span, it is the median with the least and the most.
"""
HEAD_CLUSTER = """\
# {page} benchmarks

One machine is the whole cluster: what several would gain is not told here, only what it costs to have one.
Every environment has a process of its own, and the contenders in it their pools, started once. Contenders
take turns in shuffled rounds, after one round that is thrown away. Each turn waits until all is quiet, then
is one trial in a fresh process (W11C), or runs whole epochs for at least 0.3 s, each from the call that
begins it: its first batch counts, and nothing that was made ahead is left over, or owed. Ratios and
differences are taken within each round, then their median: compare these, not times. *of x* is the rate as
a share of that row's, *... is* how many times the rate of the row that of the contender named is. Where a
cell holds a span, it is the median with the least and the most.
"""
HEADS = {
    "w2": HEAD_FILES,
    "w3": HEAD_BY_WORKERS,
    "w8": HEAD_ITEMS,
    "w10": HEAD_DATASETS,
    "w11": HEAD_CLUSTER,
}


def page(name: str, records: list[tuple[BenchRecord, str]]) -> str:
    """Render one page from its records, each with the link to its raw file."""
    sections = [HEADS.get(name, HEAD).format(page=name.upper())]
    sections += [section(record, link) for record, link in records]
    return "\n".join(sections)


def section(record: BenchRecord, link: str) -> str:
    """Render one bench."""
    title = f"## {record['name'].upper()}: {record['title']}\n"
    parts = [title, provenance(record, link), record["note"] + "\n"]
    for case in record["cases"]:
        parts += [f"### {case['label']}\n", *case_parts(record, case)]
    return "\n".join([*parts, ways(record)])


def provenance(record: BenchRecord, link: str) -> str:
    """Tell when, where and with what it was measured."""
    machine = record["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, {machine['system']}"
    versions = "; ".join(_versions(name, found) for name, found in record["environments"].items())
    shrunk = f" **A try over 1/{record['shrunk']} of the rows.**" if record["shrunk"] > 1 else ""
    return (
        f"Measured {record['date']}, {record['rounds']} rounds, on {where}.{shrunk}\n"
        f"Versions: {versions}. Raw results: [{link.rpartition('/')[2]}]({link}).\n"
    )


def _versions(name: str, found: dict[str, str]) -> str:
    return f"{name} (" + ", ".join(f"{key} {value}" for key, value in found.items()) + ")"


def case_parts(record: BenchRecord, case: CaseRecord) -> list[str]:
    """Render one case: its table, what batchup costs beyond the bare gather, its targets."""
    figures = Figures(case)
    if figures.work.one_shot:
        return [shots_table(case), *remarks(case), targets(record, figures)]
    parts = [table(record, case, figures)]
    beyond = figures.beyond(MAIN, "take")
    if beyond is not None:
        parts.append(f"batchup takes {beyond:.2f} us a batch beyond the bare take.\n")
    return [*parts, *remarks(case), targets(record, figures)]


def remarks(case: CaseRecord) -> list[str]:
    """Say who has nothing to enter, and whether the machine was busy with something else."""
    said = [f"Without a way to do this work: {', '.join(case['absent'])}.\n"] if case["absent"] else []
    shares = [taken.get("cached") for entry in case["entries"] for taken in entry["slices"]]
    known = [share for share in shares if share is not None]
    if known:
        said.append(f"Before the turns {span([100 * share for share in known], '%')} of the files was cached.\n")
    if case.get("amid_noise"):
        said.append(f"**{case['amid_noise']} turns began while other programs kept the machine busy.**\n")
    return said


def table(record: BenchRecord, case: CaseRecord, figures: Figures) -> str:
    """Render the contenders, the fastest first, those that could not run last."""
    limits = record["limits"]
    heads = ["contender", f"us a {record['unit']}"] + ["GB/s"] * record.get("shows_rate", False)
    heads += [f"of {limit}" for limit in limits] + [f"{name} is" for name in main(record)]
    heads += [f"first {record['unit']}, ms"]
    if record["shows_memory"]:
        heads += ["build, ms", "held, MB", "peak, MB"]
    entries = sorted(case["entries"], key=lambda entry: figures.microseconds(entry["name"]) or float("inf"))
    return _grid(heads, [row(record, entry, figures, len(heads)) for entry in entries])


def main(record: BenchRecord) -> list[str]:
    """Tell the contender that the others are set against, if there is one."""
    name = record.get("main", MAIN)
    return [name] if name else []


def shots_table(case: CaseRecord) -> str:
    """Render what trials told, the least of the first figure first, those that could not run last."""
    figures = list(dict.fromkeys(name for entry in case["entries"] for shot in entry["shots"] for name in shot))
    rows = {entry["name"]: shots_row(entry, figures) for entry in case["entries"]}
    order = sorted(case["entries"], key=lambda entry: _first_figure(entry, figures))
    return _grid(["contender", *figures], [rows[entry["name"]] for entry in order])


def _first_figure(entry: Entry, figures: list[str]) -> float:
    if entry["why"] is not None or not entry["shots"]:
        return float("inf")
    return median(shot[figures[0]] for shot in entry["shots"])


def shots_row(entry: Entry, figures: list[str]) -> list[str]:
    """Render the trials of one contender."""
    if entry["why"] is not None or not entry["shots"]:
        return [entry["name"], entry["why"] or "not measured", *[""] * (len(figures) - 1)]
    return [entry["name"], *(span([shot[figure] for shot in entry["shots"]]) for figure in figures)]


def row(record: BenchRecord, entry: Entry, figures: Figures, width: int) -> list[str]:
    """Render one contender."""
    name = entry["name"]
    if entry["why"] is not None or not entry["slices"]:
        return [name, entry["why"] or "not measured", *[""] * (width - 2)]
    cells = [name, number(figures.microseconds(name))]
    cells += [number(figures.rate(name))] if record.get("shows_rate") else []
    cells += [number(figures.ratio(name, limit)) for limit in record["limits"]]
    cells += [times(figures.ratio(against, name)) for against in main(record)]
    cells += [number(first_batch(entry) * 1e3)]
    if record["shows_memory"] and entry["build"] is not None:
        cells += memory_cells(entry["build"])
    return cells


def memory_cells(build: Build) -> list[str]:
    """Render what building took."""
    held, peak = (None if size is None else size / 1e6 for size in (build["held"], build["peak"]))
    return [number(build["seconds"] * 1e3), whole(held), whole(peak)]


def targets(record: BenchRecord, figures: Figures) -> str:
    """Render the targets next to what was measured; a missed one says so."""
    rows = [verdict_row(record, verdict) for verdict in figures.verdicts()]
    return _grid(["target", "measured", "verdict"], rows) if rows else ""


def verdict_row(record: BenchRecord, verdict: Verdict) -> list[str]:
    """Render one target."""
    wanted, unit = wanting(verdict.target, record["unit"])
    if not verdict.rounds:
        return [wanted, "not measured", "**not met**"]
    return [wanted, span(list(verdict.rounds), unit), "met" if verdict.met else "**not met**"]


def wanting(target: Target, what: str) -> tuple[str, str]:
    """Say what a target asks for, and the unit that its figures have."""
    if target.figure == BEYOND:
        return f"{target.contender}: at most {target.bound:g} us a {what} beyond {target.against}", " us"
    if target.against is not None:
        figure = "" if target.figure == "us" else f", {target.figure}"
        slower = f" or {target.or_against}, the slower" if target.or_against is not None else ""
        return f"{target.contender}: at least {target.bound:g} x {target.against}{slower}{figure}", "x"
    if target.figure == RATE:
        return f"{target.contender}: at least {target.bound:g} GB/s", " GB/s"
    if target.figure == FIRST:
        return f"{target.contender}: first {what} within {target.bound:g} ms", " ms"
    if target.figure == "us":
        return f"{target.contender}: at most {target.bound:g} us a {what}", " us"
    return f"{target.contender}: {target.figure}, at most {target.bound:g}", ""


def span(values: list[float], unit: str = "") -> str:
    """Write a median with the least and the most."""
    return f"{number(median(values))}{unit} ({number(min(values))} to {number(max(values))})"


def ways(record: BenchRecord) -> str:
    """Say how each contender does the work."""
    entries = [entry for case in record["cases"] for entry in case["entries"]]
    said = {entry["name"]: entry["how"] for entry in entries if entry["how"]}
    return "\n".join(f"- *{name}*: {how}" for name, how in sorted(said.items(), key=_by_name)) + "\n"


def _by_name(pair: tuple[str, str]) -> str:
    return pair[0].lower()


def number(value: float | None) -> str:
    """Write three significant digits, without an exponent."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def times(value: float | None) -> str:
    """Write a ratio."""
    return "-" if value is None else f"{number(value)}x"


def whole(value: float | None) -> str:
    """Write a whole number."""
    return "-" if value is None else f"{value:,.0f}"


def _grid(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |\n" for line in lines)
