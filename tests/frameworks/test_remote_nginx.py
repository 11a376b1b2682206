"""Files elsewhere, from a real nginx on loopback that is slow, killed in the middle, or gets another file."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from batchup import errors, remote
from batchup import hypersequence as hs
from batchup.hypersequence import units
from batchup.remote import problems, web

from ..programs import Program, free_port
from ..remote import Server, cut, mute

HOUSE = Path(__file__).parent.parent.parent
DATA = np.random.default_rng(0).integers(0, 256, 8_000_000, dtype=np.uint8).tobytes()
ROWS = np.random.default_rng(1).integers(0, 256, (4000, 1000), dtype=np.uint8)
CONF = """
daemon off;
master_process off;
pid {home}/pid;
error_log {home}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    limit_conn_zone $server_name zone=one:1m;
    limit_req_zone $server_name zone=seldom:1m rate=20r/s;
    server {{
        listen 127.0.0.1:{port};
        root {home}/www;
        location /slow/ {{ alias {home}/www/; limit_rate_after 100k; limit_rate 2m; }}
        location /stalled/ {{ alias {home}/www/; limit_rate_after 100k; limit_rate 1; }}
        location /dead/ {{ alias {home}/www/; limit_rate 1; }}
        location /one/ {{ alias {home}/www/; limit_conn one 1; }}
        location /seldom/ {{ alias {home}/www/; limit_req zone=seldom; limit_req_status 429; }}
        location /whole/ {{ alias {home}/www/; max_ranges 0; }}
        location /plain/ {{ alias {home}/www/; etag off; }}
        location /bare/ {{ alias {home}/www/; etag off; add_header Last-Modified ""; }}
        location /moved/ {{ return 302 /a; }}
        location /behind/ {{ proxy_pass http://127.0.0.1:{behind}/; proxy_read_timeout 1s; }}
    }}
}}
"""


def program() -> str:
    """Return where nginx is."""
    for path in (os.environ.get("BATCHUP_NGINX"), HOUSE / ".venv-all" / "nginx" / "usr" / "sbin" / "nginx"):
        if path and os.access(path, os.X_OK):
            return str(path)
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.fail("these tests need nginx: `make test-frameworks` gets Debian's, or set BATCHUP_NGINX to where it is")
    return found


class Nginx(Program):
    """A web server with a folder of files.

    Attributes
    ----------
    files : Path
        The folder.
    url : str
        What stands before the names.
    """

    def __init__(self, home: Path) -> None:
        self.files = home / "www"
        self.files.mkdir()
        port, self.behind = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}/"
        conf, log = home / "nginx.conf", home / "error.log"
        conf.write_text(CONF.format(home=home, port=port, behind=self.behind))
        super().__init__([program(), "-p", str(home), "-e", str(log), "-c", str(conf)], port, log)

    def replace(self, name: str, data: bytes) -> None:
        """Put another file in the place of one, as a whole."""
        (self.files / "beside").write_bytes(data)
        os.utime(self.files / "beside", (1e9, 1e9 + random.Random(data[:8]).randrange(10**6)))
        (self.files / "beside").rename(self.files / name)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BATCHUP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(problems, "WAIT", 0.02)


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Nginx]:
    server = Nginx(tmp_path)
    server.replace("a", DATA)
    with hs.HyperSequenceWriter(server.files / "a.hsq", batch_size=64) as writer:
        writer.extend(inputs=ROWS, outputs=np.arange(len(ROWS)))
    server.start()
    try:
        yield server
    finally:
        server.kill()


@pytest.mark.parametrize("folder", ["", "slow/", "one/", "seldom/", "plain/", "bare/"])
def test_read(nginx: Nginx, folder: str) -> None:
    """Parts of a file, and all of it, are what lies there, however the server is set up."""
    with remote.RemoteFile(f"{nginx.url}{folder}a", cache=False, retries=30) as file:
        assert file.size == len(DATA)
        for start, size in [(0, 100), (7_999_990, 10), (1_000_000, 1_500_000)]:
            assert file.read(start, size) == DATA[start : start + size]


def test_an_empty_file(nginx: Nginx) -> None:
    """A file without bytes can be opened."""
    (nginx.files / "none").touch()
    with remote.opened(nginx.url + "none") as file:
        assert file.read() == b""


@pytest.mark.parametrize("by", ["sample", "batch"])
@pytest.mark.parametrize("folder", ["", "one/"])
def test_batches(nginx: Nginx, by: str, folder: str) -> None:
    """Batches are those that were written, in several connections at once, or where more than one is refused."""
    with hs.HyperSequenceFile(remote.RemoteFile(f"{nginx.url}{folder}a.hsq", retries=30)) as hsq:
        for epoch in range(2):
            seen = []
            for x, y in hsq.data_source(by).batch_iterator(50, shuffle=1, epoch=epoch):
                assert (x == ROWS[y]).all()
                seen += y.tolist()
            assert sorted(seen) == list(range(len(ROWS)))
        assert hsq.verify() == []


def test_stalls(nginx: Nginx) -> None:
    """A server that gives some bytes and then next to none is left, and asked for the rest."""
    with remote.RemoteFile(nginx.url + "stalled/a", cache=False, timeout=0.2) as file:
        assert file.read(0, 1_500_000) == DATA[:1_500_000]


def test_a_stall(nginx: Nginx) -> None:
    """A server that gives next to nothing is given up."""
    with pytest.raises(errors.FetchError, match=r"stalled: nothing came within 0\.2 s, 3 times"):
        remote.RemoteFile(nginx.url + "dead/a", cache=False, timeout=0.2, retries=2)


def test_killed_in_the_middle(nginx: Nginx) -> None:
    """A server that dies in the middle, and comes again, is asked for the rest."""
    dead = threading.Event()

    def kill() -> None:
        for _ in range(3):
            time.sleep(0.3)
            nginx.kill()
            dead.set()
            time.sleep(0.1)
            nginx.start()

    killer = threading.Thread(target=kill)
    with remote.RemoteFile(nginx.url + "slow/a", cache=False, retries=50) as file:
        killer.start()
        try:
            assert file.read(0, 4_000_000) == DATA[:4_000_000]
            assert dead.is_set()
        finally:
            killer.join()
        assert file.read(0, 100) == DATA[:100]


def test_batches_of_a_server_that_is_killed(nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is it for batches, in the middle of a pass."""
    monkeypatch.setattr(units, "UNIT", 1)
    file = remote.RemoteFile(nginx.url + "a.hsq", cache=False, retries=50)
    starting: threading.Timer | None = None
    with hs.HyperSequenceFile(file) as hsq:
        seen = []
        for number, (x, y) in enumerate(hsq.data_source("batch").batch_iterator(64, shuffle=1)):
            if number % 20 == 10:
                if starting is not None:
                    starting.join()
                nginx.kill()
                starting = threading.Timer(0.1, nginx.start)
                starting.start()
            assert (x == ROWS[y]).all()
            seen += y.tolist()
    assert starting is not None
    starting.join()
    assert sorted(seen) == list(range(len(ROWS)))


def test_gone_for_good(nginx: Nginx) -> None:
    """A server that does not come again is an error."""
    with remote.RemoteFile(nginx.url + "a", cache=False, retries=3) as file:
        nginx.kill()
        with pytest.raises(errors.FetchError, match="the connection was"):
            file.read(0, 100)


@pytest.mark.parametrize("folder", ["", "slow/", "plain/"])
def test_replaced(nginx: Nginx, folder: str) -> None:
    """Another file in its place is an error, by its ETag or its date; the new one can be opened."""
    other = DATA[1:] + b"!"
    with remote.RemoteFile(f"{nginx.url}{folder}a", cache=False) as file:
        assert file.read(0, 100) == DATA[:100]
        nginx.replace("a", other)
        with pytest.raises(errors.FileFormatError, match="has changed since it was opened"):
            file.read(0, 100)
    with remote.RemoteFile(f"{nginx.url}{folder}a") as file:
        assert file.read(0, 100) == other[:100]


def test_replaced_and_killed_in_the_middle(nginx: Nginx) -> None:
    """When the rest would be of another file, there is an error, and not half of each."""
    with remote.RemoteFile(nginx.url + "slow/a", cache=False, retries=50) as file:

        def replace() -> None:
            time.sleep(0.3)
            nginx.replace("a", DATA[1:] + b"!")
            nginx.kill()
            nginx.start()

        replacer = threading.Thread(target=replace)
        replacer.start()
        try:
            with pytest.raises(errors.FileFormatError, match="has changed since it was opened"):
                file.read(0, 6_000_000)
        finally:
            replacer.join()


def test_cut_short_there(nginx: Nginx) -> None:
    """A file that has become shorter is another one."""
    with remote.RemoteFile(nginx.url + "a", cache=False) as file:
        with open(nginx.files / "a", "r+b") as there:
            there.truncate(4_000_000)
        for start in (0, 6_000_000):
            with pytest.raises(errors.FileFormatError, match="has changed since it was opened"):
                file.read(start, 100)


def test_without_parts(nginx: Nginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server that gives no parts, small files are fetched whole, and large ones are an error."""
    with remote.RemoteFile(nginx.url + "whole/a", cache=False) as file:
        assert file.read(5_000_000, 100) == DATA[5_000_000:5_000_100]
    monkeypatch.setattr(web, "WHOLE", 1_000_000)
    with pytest.raises(errors.FetchError, match="ignores Range"):
        remote.RemoteFile(nginx.url + "whole/a")


def test_moved_and_missing(nginx: Nginx) -> None:
    """Redirects are followed; what is not there is an error at once."""
    assert remote.size_of(nginx.url + "moved/x") == len(DATA)
    with pytest.raises(errors.FetchError, match="404"):
        remote.RemoteFile(nginx.url + "nothing")


@pytest.mark.parametrize("after", [0, 300])
def test_one_behind_it_cuts_or_is_away(nginx: Nginx, after: int) -> None:
    """What nginx answers while the server behind it is away, or cuts its answers, is tried again."""
    behind = Server(nginx.behind, a=DATA)
    with behind.running(), remote.RemoteFile(nginx.url + "behind/a", cache=False, timeout=5) as file:
        behind.faults = [cut(after), mute, cut(after)]
        assert file.read(1000, 500_000) == DATA[1000:501_000]
        assert behind.faults == []
