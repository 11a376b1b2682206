"""The parent's end of the workers: one process per environment, asked over a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import threading
from types import TracebackType
from typing import Any

from environments import ENVIRONMENTS, ensure, python_of, variables_of

WORKER = pathlib.Path(__file__).with_name("worker.py")
PATIENCE = 600.0
PARTING = 20.0


class WorkerError(Exception):
    """A worker could not do what it was asked; the message says why, without paths."""


class Worker:
    """One child process; it ends with the `with` block."""

    def __init__(self, name: str) -> None:
        self.name = name
        environment = ENVIRONMENTS[name]
        lists = [",".join(environment.modules), ",".join(environment.distributions)]
        self._process = subprocess.Popen(
            [python_of(name), str(WORKER), *lists],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=variables_of(name),
            text=True,
            start_new_session=True,  # a process group of its own: nothing that a peer starts outlives it
        )

    def ask(self, what: str, **arguments: Any) -> Any:
        """Ask for one thing and wait for the answer; no answer in time ends the worker."""
        inbox, outbox = self._process.stdin, self._process.stdout
        if inbox is None or outbox is None:
            raise WorkerError("the worker has no pipes")
        watchdog = threading.Timer(PATIENCE, self._kill)
        watchdog.start()
        try:
            print(json.dumps({"what": what, **arguments}), file=inbox, flush=True)
            line = outbox.readline()
        except OSError:
            line = ""
        finally:
            watchdog.cancel()
        return self._answer(line)

    def _answer(self, line: str) -> Any:
        if not line:
            raise WorkerError(f"the process ended (exit status {self._process.wait()})")
        reply = json.loads(line)
        if "error" in reply:
            raise WorkerError(reply["error"])
        return reply["answer"]

    def close(self) -> None:
        """Let the process close what it holds and end; then end whatever is left of its group."""
        inbox, outbox = self._process.stdin, self._process.stdout
        try:
            if inbox is not None:
                inbox.close()
            self._process.wait(PARTING)
        except (OSError, subprocess.TimeoutExpired):
            pass  # it is ended below
        finally:
            self._kill()
            self._process.wait()
            if outbox is not None:
                outbox.close()

    def _kill(self) -> None:
        if not hasattr(os, "killpg"):
            self._process.kill()
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


class Crew:
    """The workers of one bench: `versions` by environment, `failed` (environment or module) with why."""

    def __init__(self, names: list[str]) -> None:
        self.workers: dict[str, Worker] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.failed: dict[str, str] = {}
        self._closing = contextlib.ExitStack()
        for name in names:
            self._start(name)

    def _start(self, name: str) -> None:
        why = ensure(name)
        if why:
            self.failed[name] = why
            return
        worker = Worker(name)
        self._closing.callback(worker.close)
        try:
            hello = worker.ask("hello")
        except WorkerError as error:
            self.failed[name] = str(error)
            return
        self.workers[name] = worker
        self.versions[name] = hello["versions"]
        self.failed.update(hello["failed"])

    def __enter__(self) -> Crew:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.__exit__(kind, error, trace)
