"""Who on a cluster does which task, and what becomes of the tasks of those who are lost."""

from __future__ import annotations

import atexit
import gc
import os
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from batchup.errors import FileFormatError, SharedMemoryError, WorkerError, WorkerTimeoutError
from batchup.work_pool.abstract import closed_error
from batchup.work_pool.cluster.joining import Cluster
from batchup.work_pool.cluster.questions import Inquiry, Questions
from batchup.work_pool.cluster.roll import AT_ONCE, Roll
from batchup.work_pool.cluster.seats import Seat
from batchup.work_pool.cluster.shipping import Files
from batchup.work_pool.cluster.tasks import Task
from batchup.work_pool.cluster.views import Ledger, Reply
from batchup.work_pool.cluster.worker import versions
from batchup.work_pool.packing import carried_over
from batchup.work_pool.tickets import Ticket, check_process

NAME = "WorkerRayPool"
LOOKED_AT = 64  # tasks, of those that wait, of which one is looked for that a free worker can do
TRIES = 5  # workers in a row that may end before they have come up
UP = 60.0  # seconds until somebody must have come up ...
STRAGGLERS = 10.0  # ... and that the others may take longer
LOST = 300.0  # seconds until another node must have come when all are lost, or those that see a file
STACK = 2.0  # seconds that a worker may take to show its stack
GLANCE = 0.25  # seconds after which is looked up while something is late ...
WATCH = 1.0  # ... and otherwise
FAREWELL = 30.0  # seconds that the end may take, if there is much to do beside


class Dispatcher:
    """The seats of a pool, and the tasks that wait for them; one thread sees to both.

    Parameters
    ----------
    cluster : Cluster
        Where the workers are; it is left when this is closed.
    count : int
        Number of workers.
    max_restarts : int
        How often a task may kill its worker and be done again.
    timeout : float or None
        Seconds that a task may take.
    budget : int
        Bytes of results that may lie in the object store.
    """

    def __init__(self, cluster: Cluster, count: int, max_restarts: int, timeout: float | None, budget: int) -> None:
        self.cluster = cluster
        self.closed = False
        self._dropped = False
        self.room = cluster.store_bytes()
        self.ledger = Ledger(budget)
        self._max_restarts = max_restarts
        self._timeout = timeout
        self.program = os.getpid()
        self._broken: BaseException | None = None
        self._usual = budget // (2 * AT_ONCE * count)  # bytes of a result, as far as is known
        self._looked = 0.0
        self._last_up = monotonic()  # when a worker was up, as far as is known
        self._ready = threading.Event()
        self._waiting: deque[Task] = deque()
        self._unsettled: set[Ticket] = set()  # wherever they are
        self._sources: dict[int, tuple[Any, Sequence[str]]] = {}
        self._sources_told = 0
        self._roll = Roll()
        self._questions = Questions(self._roll)
        self._events: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._seats = [Seat(number, 0 if cluster.local else 1, self._tell) for number in range(count)]
        self._thread = threading.Thread(target=self._oversee, name="batchup dispatcher", daemon=True)
        if not _registered:  # after Ray has, so that this comes before its own end
            _registered.append(atexit.register(_end_all))
        _ALL.add(self)
        self._thread.start()

    def submit(self, task: Task) -> Task:
        """Have a task done."""
        self._unsettled.add(task)
        self._tell("task", task)
        if self.closed or self._broken is not None:
            self._settle(task, error=self._broken or closed_error(NAME))
        return task

    def hurry(self, task: Task) -> None:
        """Have a task dealt before others, whether or not there is room for its result: somebody waits for it."""
        self._tell("hurry", task)

    def check_open(self) -> None:
        """Raise if there is nobody who would do a task."""
        check_process(self.program)
        if self._broken is not None:
            raise self._broken
        if self.closed:
            raise closed_error(NAME)
        if not self.cluster.connected():
            raise _disconnected()

    def tell(self, shipped: Any, files: Sequence[str]) -> int:
        """Make a source known, and the files that it needs; return its number."""
        self._sources_told += 1
        self._sources[self._sources_told] = shipped, files
        self._tell("source", self._sources_told)
        return self._sources_told

    def drop(self, source: int) -> None:
        """Take note that nobody needs a source any more; may be called at any moment, by a finalizer."""
        self._tell("drop", source)

    def ask(self, question: str, *arguments: Any) -> dict[str, Any]:
        """Have a method of a worker called on every node; return what they answer, by node."""
        inquiry = Inquiry(question, arguments)
        self._unsettled.add(inquiry)
        self._tell("inquiry", inquiry)
        self.check_open()
        answers: dict[str, Any] = inquiry.result()
        return answers

    def unseen(self, files: Files) -> set[str]:
        """Return the paths of files that some node does not see as they are said to be."""
        answers = self.ask("which", files).values()
        return {path for (path, _), *seen in zip(files, *answers, strict=True) if not all(seen)}

    def people(self) -> list[dict[str, Any]]:
        """Return what the workers say of themselves, once all are up that can be."""
        while not self._ready.wait(GLANCE):
            self.check_open()
        self.check_open()
        return [seat.about for seat in self._seats if seat.about is not None]

    def close(self, quietly: bool = False) -> None:
        """End the workers, at once; those who wait get an error, or, if the program ends, nothing any more."""
        if os.getpid() == self.program:
            self._end(quietly)
            self._thread.join(FAREWELL)
            self.cluster.leave()

    def dismiss(self) -> None:
        """Have it closed soon; may be called at any moment, by a finalizer, in whatever thread."""
        if os.getpid() == self.program:
            self._dropped = True
            self._end(quietly=False)

    def _end(self, quietly: bool) -> None:
        if not self.closed:
            self.closed = True
            if not quietly:
                self._fail_all(closed_error(NAME))
            self._tell("close")

    # what follows is done by the thread

    def _oversee(self) -> None:
        try:
            for seat in self._seats:
                seat.fill()
            while not self.closed:
                try:
                    kind, *content = self._events.get(timeout=self._glance())
                except Empty:
                    kind, content = "look", []
                if not self.cluster.connected():  # Ray would start another one
                    raise _disconnected()
                getattr(self, f"_on_{kind}")(*content)
                del content
                self._look_for_late()
                if self._all_up():
                    self._unsettled.difference_update(self._questions.answered())
                self._deal()
        except BaseException as error:  # noqa: BLE001  whoever waits must hear of it, whatever it is
            if not self.closed:
                self._give_up(error if isinstance(error, WorkerError) else WorkerError(f"workers are lost: {error!r}"))
        self.cluster.await_end()
        kind, content = "", []
        self._let_go()
        while not self.closed:
            self._events.get()
        while not self._events.empty():
            self._events.get()
        if self._dropped:
            self.cluster.leave()

    def _let_go(self) -> None:
        """End the workers, and forget all that is Ray's: who frees it while Ray is shut down ends the program."""
        for seat in self._seats:
            seat.clear()
        self._waiting.clear()
        self._sources.clear()
        gc.collect()  # references may be in circles

    def _tell(self, *event: Any) -> None:
        self._events.put(event)

    def _on_look(self) -> None:
        pass

    _on_close = _on_look

    def _on_task(self, task: Task) -> None:
        self._waiting.append(task)

    def _on_hurry(self, task: Task) -> None:
        if task in self._waiting:
            self._waiting.remove(task)
            self._waiting.appendleft(task)

    def _on_source(self, number: int) -> None:
        self._questions.ask_for(self._sources[number][1])

    def _on_drop(self, number: int) -> None:
        self._sources.pop(number, None)
        for seat in self._roll.up():
            seat.forget(number)

    def _on_inquiry(self, inquiry: Inquiry) -> None:
        self._questions.inquire(inquiry)

    def _on_answer(self, what: str, seat: Seat, turn: int, future: Any, *about: Any) -> None:
        """Take what a worker answers, or the news that it is lost; not of one that has been replaced."""
        import ray

        if turn != seat.turn:
            return
        if seat.about is not None and isinstance(future.exception(), ray.exceptions.RayActorError):
            self._lose(seat, future.exception())
        else:
            getattr(self, f"_note_{what}")(seat, future, *about)

    def _note_up(self, seat: Seat, future: Any) -> None:
        """Greet a worker that has come up."""
        error = future.exception()
        if error is not None:
            self._failed_to_come_up(seat, error)
            return
        about = future.result()
        if about["versions"] != versions():
            there, here = (", ".join(f"{name} {v[name]}" for name in v) for v in (about["versions"], versions()))
            raise WorkerError(
                f"the workers on {about['host']} have {there}, and this program has {here}: they must be the same"
            )
        seat.about, seat.failures = about, 0
        self._last_up = monotonic()
        self._roll.note(seat)
        self._questions.greet(seat, self._files())

    def _failed_to_come_up(self, seat: Seat, error: BaseException) -> None:
        seat.failures += 1
        if "creation task" in str(error) or seat.failures > TRIES:
            raise WorkerError(
                f"the workers cannot be started: {error}\n(every node needs batchup {versions()['batchup']})"
            ) from error
        seat.fill()

    def _note_asked(self, seat: Seat, future: Any, arguments: tuple[Any, ...], inquiry: Inquiry | None) -> None:
        """Take note of what was asked of a node: which files it sees, or what somebody wants to know."""
        self._questions.note(seat, future, arguments, inquiry)

    def _note_learned(self, seat: Seat, future: Any) -> None:
        """Take note that a worker has unpacked a source, for which modules are loaded, and only then reads."""
        if future.exception() is not None:
            self._lose(seat, future.exception())
            return
        seat.learning -= 1
        seat.since = monotonic()

    def _note_done(self, seat: Seat, future: Any, task: Task) -> None:
        """Take the result of a task."""
        import ray

        error = future.exception()
        seat.tasks.remove(task)
        seat.since = monotonic()
        self._roll.note(seat)
        if error is None:
            self._take(task, future.result())
        elif isinstance(error, (ray.exceptions.ObjectLostError, ray.exceptions.GetTimeoutError)):
            self._return([task])  # it lay on a node that is lost: it is made again
        elif isinstance(error, (ray.exceptions.ObjectStoreFullError, ray.exceptions.OutOfDiskError)):
            self._settle(task, error=SharedMemoryError(f"the object store of {self.room:,} bytes is full: {error}"))
        else:
            self._settle(task, error=error)

    def _take(self, task: Task, reply: Reply) -> None:
        task.refund()
        if reply.failure is not None:
            self._settle(task, error=carried_over(*reply.failure))
            return
        task.charge(reply.bytes)
        self._usual = max(self._usual, reply.bytes)
        if task.take(reply):
            self._unsettled.discard(task)
        else:
            self._waiting.appendleft(task)

    def _lose(self, seat: Seat, error: Any) -> None:
        """Take note of a worker's end: what it was at is to be done again, unless that was what killed it."""
        import ray

        blamed = self._is_to_blame(seat, error)
        tasks = self._cleared(seat)
        if tasks and not isinstance(error, ray.exceptions.RayActorError):
            self._settle(tasks.popleft(), error=error)  # what it needs cannot be had, here or elsewhere
        elif tasks and blamed:
            tasks[0].deaths += 1
            if tasks[0].deaths > self._max_restarts and tasks[0].is_single:
                task = tasks.popleft()
                deadly = WorkerError(f"the task killed its worker {_times(task.deaths)}: {error}")
                deadly.batch = task.batch
                self._settle(task, error=deadly)
        self._return(tasks)
        seat.fill()

    def _is_to_blame(self, seat: Seat, error: Any) -> bool:
        """Return whether a worker died by itself, and not with its node."""
        import ray

        died = isinstance(error, ray.exceptions.ActorDiedError)
        return died and "node has died" not in str(error) and self.cluster.has_node(seat.node)

    def _deal(self) -> None:
        """Give tasks to workers, in turn, as far as they have time and there is room for the results."""
        if not self._all_up():
            return
        kept: list[Task] = []
        while self._waiting and self._roll.any_free() and len(kept) < LOOKED_AT and not self.closed:
            task = self._waiting.popleft()
            if task.cancelled or (task.source is not None and task.source not in self._sources):
                self._settle(task, error=closed_error("iterator"))
            elif not self._has_room(task) or not self._dealt(task):
                kept.append(task)
        self._waiting.extendleft(reversed(kept))

    def _all_up(self) -> bool:
        if not self._ready.is_set():
            up = len(self._roll)
            if up == len(self._seats) or (up and monotonic() > self._last_up + STRAGGLERS):
                self._ready.set()
        return self._ready.is_set()

    def _has_room(self, task: Task) -> bool:
        """Return whether a result may come; one of which nothing is known is taken for as large as any so far."""
        task.expected = task.expected or self._usual
        return task.urgent or self.ledger.has_room(task.expected)

    def _dealt(self, task: Task) -> bool:
        """Give a task to a worker that can do it; return whether there is one."""
        seat = self._roll.free(lambda seat: self._questions.sees(seat.node, task.files))
        if seat is None:
            if task.files:
                self._look_for_files(task)
            return False
        task.charge(task.expected)
        task.homeless = 0.0
        seat.begin(task, self.room, None if task.source is None else self._sources[task.source][0])
        self._roll.note(seat)
        return True

    def _cleared(self, seat: Seat) -> deque[Task]:
        """End a worker; return what it had to do."""
        node, tasks = seat.node, seat.clear()
        self._roll.note(seat)
        self._questions.lost(node, self._files())
        if not len(self._roll):
            self._last_up = monotonic()
        return tasks

    def _files(self) -> list[Sequence[str]]:
        """Return the files that sources need, source by source."""
        return [files for _, files in [*self._sources.values()] if files]

    def _look_for_files(self, task: Task) -> None:
        """Fail a task if nobody sees its files: at once if nobody ever has, or when nobody has come who does."""
        up = self._roll.up()
        if any(self._questions.sees(seat.node, task.files) for seat in up):
            task.homeless = 0.0
            return
        task.homeless = task.homeless or monotonic()
        patience = LOST
        if not self._questions.ever_seen(task.files) and not self._questions.pending():
            patience = 0.0 if len(up) == len(self._seats) else STRAGGLERS
        if monotonic() >= task.homeless + patience:
            hosts = ", ".join(sorted({seat.about["host"] for seat in up if seat.about}))
            self._settle(
                task,
                error=FileFormatError(
                    f"{' and '.join(task.files)}: no node with a worker sees that (there are workers on {hosts}); a "
                    "batch is read on one node, so one must see all of its files"
                ),
            )
            task.cancel()

    def _glance(self) -> float:
        """Return after how many seconds to look up, whatever happens."""
        late = self._timeout is not None or not self._ready.is_set() or len(self._roll) < len(self._seats)
        return GLANCE if late else WATCH

    def _look_for_late(self) -> None:
        """See to those that take too long, now and then: tasks, and workers that come up."""
        if monotonic() < self._looked + GLANCE:
            return
        self._looked = monotonic()
        if self._timeout is not None:
            for seat in self._roll.up():
                patience = self._timeout + (UP if seat.learning else 0)
                if seat.tasks and monotonic() - seat.since >= patience:
                    self._end_stuck(seat, patience)
        if len(self._roll):
            self._last_up = monotonic() if self._ready.is_set() else self._last_up
        elif monotonic() > self._last_up + (LOST if self._ready.is_set() else UP):
            raise WorkerError(
                f"no worker of {len(self._seats)} has been up for {monotonic() - self._last_up:.0f} s: each takes one "
                f"processor, and there are {self.cluster.described()}"
            )

    def _end_stuck(self, seat: Seat, timeout: float) -> None:
        """Fail the task that takes too long, and end its worker, which cannot be brought back to reason."""
        stack = seat.stack(STACK)
        tasks = self._cleared(seat)
        stuck = tasks.popleft()
        self._return(tasks)
        error = WorkerTimeoutError(f"a task took longer than timeout={timeout:g} s; its worker was at\n{stack}")
        error.batch = stuck.batch
        self._settle(stuck, error=error)
        seat.fill()

    def _return(self, tasks: Sequence[Task]) -> None:
        """Put tasks back to where they came from."""
        for task in tasks:
            task.refund()
        self._waiting.extendleft(reversed(tasks))

    def _settle(self, task: Task, error: BaseException) -> None:
        self._unsettled.discard(task)
        task.fail(_bare(error))

    def _fail_all(self, error: BaseException) -> None:
        for ticket in list(self._unsettled):
            ticket.fail(error)
        self._unsettled.clear()

    def _give_up(self, error: WorkerError) -> None:
        """Fail all that waits: there will be no workers."""
        self._broken = _bare(error)
        self._fail_all(self._broken)


def _bare(error: BaseException) -> BaseException:
    """Return an error without tracebacks: their frames hold references of Ray's, which are freed here alone."""
    found: BaseException | None = error
    while found is not None:
        found.__traceback__ = None
        found = found.__cause__ or found.__context__
    return error


def _disconnected() -> WorkerError:
    return WorkerError("the connection to the Ray cluster has ended (ray.shutdown()?): make a new pool")


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count} times"


_ALL: weakref.WeakSet[Dispatcher] = weakref.WeakSet()
_registered: list[Any] = []


def _end_all() -> None:
    """End all workers with the program."""
    for dispatcher in list(_ALL):
        dispatcher.close(quietly=True)
