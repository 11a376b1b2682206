"""Figures out of raw slices: ratios within each round, then their median."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from declared import BEYOND, Target, work_from
from records import CaseRecord, Entry

RATE = "GB/s"
FIRST = "ms"


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
        if self.target.figure == BEYOND or (self.target.against is None and self.target.figure != RATE):
            return self.measured <= self.target.bound
        return self.measured >= self.target.bound


class Figures:
    """The figures of one case."""

    def __init__(self, record: CaseRecord) -> None:
        self.work = work_from(record["work"])
        self.record = record
        self._seconds = {entry["name"]: self._per_batch(entry) for entry in record["entries"]}
        self._entries = {entry["name"]: entry for entry in record["entries"] if entry["why"] is None}

    def _per_batch(self, entry: Entry) -> list[float]:
        if entry["why"] is not None:
            return []
        return [taken["elapsed"] / self.work.full_batches(taken["batches"]) for taken in entry["slices"]]

    def microseconds(self, name: str) -> float | None:
        """Median time of a full batch."""
        seconds = self._seconds.get(name)
        return median(seconds) * 1e6 if seconds else None

    def rate(self, name: str) -> float | None:
        """Median GB/s."""
        rates = self._values(name, RATE)
        return median(rates) if rates else None

    def ratio(self, name: str, against: str) -> float | None:
        """How many times the rate of `against` the rate of `name` is."""
        ratios = self._ratios(name, against)
        return median(ratios) if ratios else None

    def beyond(self, name: str, limit: str) -> float | None:
        """Microseconds that a batch of `name` takes beyond one of `limit`."""
        more = self._more(name, limit)
        return median(more) if more else None

    def _more(self, name: str, against: str) -> list[float]:
        return [1e6 * (own - other) for own, other in self._rounds(name, against)]

    def _ratios(self, name: str, *against: str | None) -> list[float]:
        compared = [[other / own for own, other in self._rounds(name, one)] for one in against if one is not None]
        return [max(ratios) for ratios in zip(*compared, strict=False)]

    def _rounds(self, name: str, against: str) -> list[tuple[float, float]]:
        return list(zip(self._seconds.get(name, []), self._seconds.get(against, []), strict=False))

    def verdicts(self) -> list[Verdict]:
        """Compare every target with what was measured."""
        return [self._verdict(Target(**target)) for target in self.record["targets"]]

    def _verdict(self, target: Target) -> Verdict:
        if target.against is None:
            return Verdict(target, tuple(self._values(target.contender, target.figure)))
        if target.figure == BEYOND:
            return Verdict(target, tuple(self._more(target.contender, target.against)))
        if self.work.one_shot:
            figures = (self._values(name, target.figure) for name in (target.against, target.contender))
            return Verdict(target, tuple(other / own for other, own in zip(*figures, strict=False)))
        return Verdict(target, tuple(self._ratios(target.contender, target.against, target.or_against)))

    def _values(self, name: str, figure: str) -> list[float]:
        """Give a figure of a contender in each round."""
        if name not in self._entries:
            return []
        if self.work.one_shot:
            return [shot[figure] for shot in self._entries[name]["shots"]]
        if figure == FIRST:
            return [1e3 * taken["first"] for taken in self._entries[name]["slices"]]
        seconds = self._seconds[name]
        if figure == RATE:
            return [self.work.unit_rows * self.work.row_bytes / per_batch / 1e9 for per_batch in seconds]
        return [1e6 * per_batch for per_batch in seconds]


def first_batch(entry: Entry) -> float:
    """Median seconds until the first batch of an epoch is there."""
    return median(taken["first"] for taken in entry["slices"])
