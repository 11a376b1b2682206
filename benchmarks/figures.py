"""Figures out of raw slices: ratios within each round, then their median."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from declared import Target, Work
from records import CaseRecord, Entry


@dataclass(frozen=True)
class Verdict:
    """A target with the median of what was measured in each round; None where nothing was."""

    target: Target
    rounds: tuple[float, ...]

    @property
    def measured(self) -> float | None:
        """The median over the rounds."""
        return median(self.rounds) if self.rounds else None

    @property
    def met(self) -> bool:
        """Whether the target was reached."""
        if self.measured is None:
            return False
        if self.target.against is None:
            return self.measured <= self.target.bound
        return self.measured >= self.target.bound


class Figures:
    """The figures of one case."""

    def __init__(self, record: CaseRecord) -> None:
        work = record["work"]
        self.work = Work(**{**work, "shape": tuple(work["shape"])})
        self.record = record
        self._seconds = {entry["name"]: self._per_batch(entry) for entry in record["entries"]}

    def _per_batch(self, entry: Entry) -> list[float]:
        if entry["why"] is not None:
            return []
        return [taken["elapsed"] / self.work.full_batches(taken["batches"]) for taken in entry["slices"]]

    def microseconds(self, name: str) -> float | None:
        """Median time of a full batch."""
        seconds = self._seconds.get(name)
        return median(seconds) * 1e6 if seconds else None

    def ratio(self, name: str, against: str) -> float | None:
        """How many times the rate of `against` the rate of `name` is."""
        ratios = self._ratios(name, against)
        return median(ratios) if ratios else None

    def beyond(self, name: str, limit: str) -> float | None:
        """Microseconds that a batch of `name` takes beyond one of `limit`."""
        pairs = self._rounds(name, limit)
        return median(own - other for own, other in pairs) * 1e6 if pairs else None

    def _ratios(self, name: str, against: str) -> list[float]:
        return [other / own for own, other in self._rounds(name, against)]

    def _rounds(self, name: str, against: str) -> list[tuple[float, float]]:
        return list(zip(self._seconds.get(name, []), self._seconds.get(against, []), strict=False))

    def verdicts(self) -> list[Verdict]:
        """Compare every target with what was measured."""
        return [self._verdict(Target(**target)) for target in self.record["targets"]]

    def _verdict(self, target: Target) -> Verdict:
        name = target.contender
        if target.against is None:
            return Verdict(target, tuple(1e6 * seconds for seconds in self._seconds.get(name, [])))
        return Verdict(target, tuple(self._ratios(name, target.against)))


def first_batch(entry: Entry) -> float:
    """Median seconds until the first batch of an epoch is there."""
    return median(taken["first"] for taken in entry["slices"])
