"""Which workers of a pool are up, and which of them can be given a task, in turn."""

from __future__ import annotations

from collections.abc import Callable

from batchup.work_pool.cluster.seats import Seat

AT_ONCE = 2  # tasks that a worker has: one in work, and one so that it need not wait for the next


class Roll:
    """The seats whose workers are up; whatever is asked of it costs the same for two as for thousands."""

    def __init__(self) -> None:
        self._up: dict[Seat, None] = {}
        self._free: list[dict[Seat, None]] = [{} for _ in range(AT_ONCE)]  # by how many tasks they have

    def note(self, seat: Seat) -> None:
        """Take note that a worker is up or lost, or of what it has to do: behind others that have as much."""
        for seats in (self._up, *self._free):
            seats.pop(seat, None)
        if seat.about is None:
            return
        self._up[seat] = None
        if len(seat.tasks) < AT_ONCE:
            self._free[len(seat.tasks)][seat] = None

    def __len__(self) -> int:
        return len(self._up)

    def up(self) -> list[Seat]:
        """Return all of them."""
        return [*self._up]

    def one_per_node(self) -> list[Seat]:
        """Return one of each node."""
        return list({seat.node: seat for seat in self._up}.values())

    def any_free(self) -> bool:
        """Return whether one can be given a task."""
        return any(self._free)

    def free(self, fit: Callable[[Seat], bool]) -> Seat | None:
        """Return the next one in turn that fits and is idle; else one that can be given one more."""
        return next((seat for seats in self._free for seat in seats if fit(seat)), None)
