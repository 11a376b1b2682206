"""What the nodes of a cluster are asked: which files they see, and what somebody wants to know of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from batchup.work_pool.cluster.roll import Roll
from batchup.work_pool.cluster.seats import Seat
from batchup.work_pool.tickets import Ticket


class Inquiry(Ticket):
    """A question to all nodes; the result is what they answer, by node.

    Parameters
    ----------
    question : str
        Which method of a worker answers it.
    arguments : tuple
        What that is given.
    """

    __slots__ = ("answers", "arguments", "question")

    def __init__(self, question: str, arguments: tuple[Any, ...]) -> None:
        super().__init__()
        self.question = question
        self.arguments = arguments
        self.answers: dict[str, Any] = {}


class Questions:
    """The questions that are open, and what is known of files; one worker answers for its node.

    Parameters
    ----------
    roll : Roll
        The workers that are up.
    """

    def __init__(self, roll: Roll) -> None:
        self._roll = roll
        self._seen: dict[str, dict[str, bool]] = {}  # by node, and by path
        self._ever: set[str] = set()
        self._open: list[Inquiry] = []

    def sees(self, node: str, files: Iterable[str]) -> bool:
        """Return whether a node is known to see files."""
        return all(self._seen[node].get(path, False) for path in files)

    def ever_seen(self, files: Iterable[str]) -> bool:
        """Return whether each of some files has been seen on some node."""
        return self._ever.issuperset(files)

    def pending(self) -> bool:
        """Return whether somebody has still to answer."""
        return any(seat.asked for seat in self._roll.up())

    def ask_for(self, files: Sequence[str]) -> None:
        """Ask all nodes which files they see."""
        for seat in self._roll.one_per_node() if files else []:
            self._ask_for_files(seat, files)

    def inquire(self, inquiry: Inquiry) -> None:
        """Ask all nodes what somebody wants to know."""
        self._open.append(inquiry)
        for seat in self._roll.one_per_node():
            seat.ask(inquiry.question, inquiry.arguments, inquiry)

    def greet(self, seat: Seat, files: Iterable[Sequence[str]]) -> None:
        """Ask a worker that is new what its node has not answered yet."""
        self._seen.setdefault(seat.node, {})
        for wanted in files:
            self._ask_for_files(seat, wanted)
        for inquiry in self._open:
            if seat.node not in inquiry.answers:
                seat.ask(inquiry.question, inquiry.arguments, inquiry)

    def lost(self, node: str, files: Iterable[Sequence[str]]) -> None:
        """Ask another worker of a node what one that is lost has not answered; if there is none, forget the node."""
        others = [seat for seat in self._roll.one_per_node() if seat.node == node]
        for seat in others:
            self.greet(seat, files)
        if not others:
            self._seen.pop(node, None)

    def note(self, seat: Seat, future: Any, arguments: tuple[Any, ...], inquiry: Inquiry | None) -> None:
        """Take note of an answer."""
        seat.asked -= 1
        error = future.exception()
        if inquiry is None:
            answer = dict(zip(*arguments, future.result(), strict=True))
            self._seen[seat.node].update(answer)
            self._ever.update(path for path in answer if answer[path])
        elif error is None:
            inquiry.answers[seat.node] = future.result()
        else:
            inquiry.fail(getattr(error, "cause", None) or error)

    def answered(self) -> list[Inquiry]:
        """Hand over the answers that are complete; return to which questions."""
        complete = [each for each in self._open if each.wait(0) or self._all_answered(each)]
        for inquiry in complete:
            self._open.remove(inquiry)
            inquiry.succeed(inquiry.answers)
        return complete

    def _all_answered(self, inquiry: Inquiry) -> bool:
        return len(self._roll) > 0 and all(seat.node in inquiry.answers for seat in self._roll.up())

    def _ask_for_files(self, seat: Seat, files: Sequence[str]) -> None:
        known = self._seen[seat.node]
        unknown = [path for path in files if not known.get(path)]  # it may have come meanwhile
        if unknown:
            seat.ask("sees", (unknown,))
