"""W12: batch files from a web server on loopback, against curl: `python benchmarks/w12_remote.py --nginx <program>`.

Not among the benches of `run.py`, since it needs nginx and curl. Each round measures all ways in a shuffled order. It
writes the raw results, and `docs/benchmarks/w12.md` from them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from environments import ROOT
from isal.isal_zlib import crc32
from machine import describe

from batchup import hypersequence as hs
from batchup import remote, sampling

RESULTS = ROOT / "benchmarks" / "results" / "w12_remote.json"
PAGE = ROOT / "docs" / "benchmarks" / "w12.md"
ROWS = (110_592, 3072)  # bytes
BATCH = 64
BLOCK = 2**23  # bytes of neighbouring rows
PIECE = 2**20  # bytes that are asked of a socket
TARGET = 0.7  # of curl's rate
CONF = """
daemon off;
master_process off;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    server {{ listen 127.0.0.1:{port}; root {home}/www; }}
}}
"""


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nginx", default=os.environ.get("BATCHUP_NGINX") or shutil.which("nginx"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of each file")
    options = parser.parse_args()
    if options.nginx is None or shutil.which("curl") is None:
        parser.error("nginx and curl are needed: --nginx says where nginx is")
    return options


def curl(url: str) -> float:
    """Return the rate of curl, in GB/s."""
    command = ["curl", "-s", "-o", os.devnull, "-w", "%{speed_download}", url]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1e9


def bare(url: str) -> float:
    """Return the rate at which one thread gets, checks and copies all bytes, in GB/s: what any loader has to do."""
    parts, begin = urlsplit(url), time.perf_counter()
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(f"GET {parts.path} HTTP/1.0\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(1)
        assert b" 200 " in head.splitlines()[0]
        rooms, out, done = [np.empty(BLOCK, np.uint8) for _ in range(4)], np.empty(BLOCK, np.uint8), 0
        for room in itertools.cycle(rooms):
            filled = 0
            while filled < BLOCK and (count := connection.recv_into(room.data[filled : filled + PIECE])):
                filled += count
            crc32(room.data[:filled])
            out[:filled] = room[:filled]
            done += filled
            if filled < BLOCK:
                return done / (time.perf_counter() - begin) / 1e9
    raise AssertionError("it has no end")


def epoch(url: str, shuffle: int | None, cache: bool) -> float:
    """Return the rate of one epoch, native batch by native batch, in GB/s of rows; opening the file is part of it."""
    rows, begin = 0, time.perf_counter()
    with hs.HyperSequenceFile(remote.RemoteFile(url, cache=cache)) as hsq:
        for _, numbers in hsq.data_source(by="batch").batch_iterator(BATCH, shuffle=shuffle):
            rows += len(numbers)
        row_bytes = sum(dtype.itemsize for side in hsq.dtypes() for dtype in side)
    return rows * row_bytes / (time.perf_counter() - begin) / 1e9


def by_blocks(url: str) -> float:
    """Return the rate of an epoch of shuffled blocks of neighbours, a few of them mixed, in GB/s of rows."""
    rows, begin = 0, time.perf_counter()
    with hs.HyperSequenceFile(remote.RemoteFile(url, cache=False)) as hsq:
        row_bytes = sum(dtype.itemsize for side in hsq.dtypes() for dtype in side)
        order = sampling.BlockShuffleSampler(
            len(hsq.columns["i0"]), max(1, BLOCK // (BATCH * row_bytes)) * BATCH, window=2
        )
        for _, numbers in hsq.data_source(sampler=order).batch_iterator(BATCH, shuffle=1):
            rows += len(numbers)
    return rows * row_bytes / (time.perf_counter() - begin) / 1e9


def cold(url: str, shuffle: int | None) -> float:
    """Return the rate of an epoch that is kept on the disk."""
    remote.clear_cache()
    return epoch(url, shuffle, cache=True)


def warm(url: str, shuffle: int | None) -> float:
    """Return the rate of an epoch that is on the disk."""
    epoch(url, shuffle, cache=True)
    return epoch(url, shuffle, cache=True)


WAYS: dict[str, Callable[[str], float]] = {
    "curl": curl,
    "a bare socket: one thread receives, checks and copies": bare,
    "blocks of 8 MiB, shuffled, two mixed": by_blocks,
    "native batches, shuffled": lambda url: epoch(url, 1, cache=False),
    "native batches, in order": lambda url: epoch(url, None, cache=False),
    "native batches, shuffled, and kept on the disk": lambda url: cold(url, 1),
    "the same once more, from the disk": lambda url: warm(url, 1),
}
BOUND = [*WAYS][2:4]  # for which there is a target


def written(path: Path, row_bytes: int, megabytes: int) -> None:
    """Write a file of random rows."""
    rows = megabytes * 10**6 // row_bytes
    rng = np.random.default_rng(0)
    with hs.HyperSequenceWriter(path, batch_size=BATCH) as writer:
        for start in range(0, rows, max(1, rows // 20)):
            numbers = np.arange(start, min(rows, start + max(1, rows // 20)))
            writer.extend(inputs=rng.integers(0, 256, (len(numbers), row_bytes), dtype=np.uint8), outputs=numbers)


def measured(url: str, rounds: int) -> dict[str, list[float]]:
    """Return the rates of all ways, in GB/s."""
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in random.Random(number).sample(list(WAYS), len(WAYS)):
            rates[way].append(WAYS[way](url))
    return rates


def page(record: dict[str, Any]) -> str:
    """Return the page."""
    machine = record["machine"]
    lines = [
        "# W12: batch files from a web server",
        "",
        f"Measured on {record['date']}, {machine['processor']}, {machine['cores']} cores, which nginx shares. Files of "
        f"{record['megabytes']} MB in native batches of {BATCH} rows; opening them is part of the time. Medians of the "
        "rounds, and of the ratio to curl in each round, which writes to `/dev/null`.",
    ]
    for row_bytes, rates in record["figures"].items():
        lines += ["", f"| rows of {int(row_bytes):,} bytes | GB/s | of curl |", "| --- | --: | --: |"]
        for way, found in rates.items():
            ratio = median(one / other for one, other in zip(found, rates["curl"], strict=True))
            target = "" if way not in BOUND else f" ({TARGET}: {'met' if ratio >= TARGET else 'missed'})"
            lines.append(f"| {way} | {median(found):.2f} | {ratio:.2f}{target} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Serve two files, and measure."""
    options = arguments()
    figures: dict[str, dict[str, list[float]]] = {}
    os.environ["no_proxy"] = "127.0.0.1"
    with tempfile.TemporaryDirectory(prefix="batchup-w12-") as folder, socket.socket() as free:
        home = Path(folder)
        os.environ["BATCHUP_HOME"] = str(home / "home")
        (home / "www").mkdir()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        (home / "nginx.conf").write_text(CONF.format(home=home, port=port))
        server = subprocess.Popen([options.nginx, "-p", folder, "-c", str(home / "nginx.conf")])
        try:
            for row_bytes in ROWS:
                written(home / "www" / "rows.hsq", row_bytes, options.megabytes)
                figures[str(row_bytes)] = measured(f"http://127.0.0.1:{port}/rows.hsq", options.rounds)
        finally:
            server.kill()
            server.wait()
    record = {
        "name": "w12_remote",
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe(),
        "megabytes": options.megabytes,
        "figures": figures,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    PAGE.write_text(page(record))


if __name__ == "__main__":
    main()
