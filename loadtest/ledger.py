"""The ledger: which broadcasts each receiver had to get, and what became of them. Pure.

A publisher numbers its messages from 0. Per receiver and publisher it is kept what came, as a run of numbers with
gaps; when the run is over, the publishers' logs say what had to come, and `settle` compares the two.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import msgspec

from loadtest.wire import Ledger

NEVER: Final = 1 << 62  # ns
UNSEEN: Final = -1
_SECOND_NS: Final = 10**9

Channel = tuple[int, int]  # session, publisher in it


class Receipt(Enum):
    """What a message is that does not follow the one before it."""

    NEW = auto()
    REORDERED = auto()
    DUPLICATE = auto()


class Streak(msgspec.Struct, frozen=True):
    """What one receiver got of one publisher: all of `first` to `end` without `gaps`, and `strays` from before it.

    It had to get what was sent between `joined_ns` and `left_ns`.
    """

    session: int
    publisher: int
    first: int
    end: int
    gaps: tuple[int, ...] = ()
    strays: tuple[int, ...] = ()
    joined_ns: int = 0
    left_ns: int = NEVER


class Streaks:
    """What one receiver gets of the publishers of its session.

    `ends` holds by publisher the number that comes next: whoever finds it there sets it on, and calls `irregular` for
    anything else. `received` are all messages but repeated ones.
    """

    __slots__ = ("_firsts", "_gaps", "_strays", "ends", "missing")

    def __init__(self, publishers: int) -> None:
        self.ends = [UNSEEN] * publishers
        self._firsts = [UNSEEN] * publishers
        self._gaps: dict[int, set[int]] = {}
        self._strays: dict[int, set[int]] = {}
        self.missing = 0  # of the run so far

    def irregular(self, publisher: int, number: int) -> Receipt:
        """Enter a message that is not the next one."""
        end = self.ends[publisher]
        if end == UNSEEN:
            self._firsts[publisher] = number
        elif number > end:
            self._gaps.setdefault(publisher, set()).update(range(end, number))
            self.missing += number - end
        elif number < self._firsts[publisher]:
            strays = self._strays.setdefault(publisher, set())
            if number in strays:
                return Receipt.DUPLICATE
            strays.add(number)
            return Receipt.REORDERED
        elif number != end:
            gaps = self._gaps.get(publisher, set())
            if number not in gaps:
                return Receipt.DUPLICATE
            gaps.remove(number)
            self.missing -= 1
            return Receipt.REORDERED
        self.ends[publisher] = number + 1
        return Receipt.NEW

    def all(self, session: int, *, joined_ns: int, left_ns: int = NEVER) -> list[Streak]:
        """Return what came, by publisher."""
        return [
            Streak(
                session,
                publisher,
                max(0, self._firsts[publisher]),
                max(0, end),
                tuple(sorted(self._gaps.get(publisher, ()))),
                tuple(sorted(self._strays.get(publisher, ()))),
                joined_ns,
                left_ns,
            )
            for publisher, end in enumerate(self.ends)
        ]


class PublisherLog(msgspec.Struct, frozen=True):
    """When one publisher sent each of its messages, and from which to which (not itself) they count; times in ns."""

    session: int
    publisher: int
    sent_ns: Sequence[int]
    counted_from: int
    counted_to: int


def counted(due_ns: Sequence[int], start_ns: int, end_ns: int) -> tuple[int, int]:
    """Return from which to which (not itself) message was due within the window; they are due one after the other."""
    return bisect_left(due_ns, start_ns), bisect_left(due_ns, end_ns)


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of all broadcasts: in sum, and what was lost by receiver and by the second it was sent in."""

    ledger: Ledger
    lost_of: Counter[int]
    lost_at_s: Counter[int]


def settle(
    logs: Iterable[PublisherLog], streaks: Mapping[Streak, Sequence[int]], origin_ns: int = 0, **oddities: int
) -> Settlement:
    """Return what became of all broadcasts; `streaks` says which receivers had each of them, `oddities` are counts.

    Seconds count from `origin_ns`.
    """
    by_channel: dict[Channel, PublisherLog] = {(log.session, log.publisher): log for log in logs}
    totals: Counter[str] = Counter()
    lost_of: Counter[int] = Counter()
    lost_at_s: Counter[int] = Counter()
    totals["published"] = sum(log.counted_to - log.counted_from for log in by_channel.values())
    for streak, receivers in streaks.items():
        log = by_channel.get((streak.session, streak.publisher))
        if log is None:
            continue
        expected, received = _compare(log, streak)
        totals["expected"] += expected * len(receivers)
        totals["received"] += received * len(receivers)
        if received < expected:
            for receiver in receivers:
                lost_of[receiver] += expected - received
            for second, count in _lost_by_second(log, streak, origin_ns):
                lost_at_s[second] += count * len(receivers)
    ledger = Ledger(**totals, lost=totals["expected"] - totals["received"], **oddities)
    return Settlement(ledger, lost_of, lost_at_s)


def second_of(moment_ns: int, origin_ns: int) -> int:
    """Return in which second since the origin a moment is."""
    return (moment_ns - origin_ns) // _SECOND_NS


def _owed(log: PublisherLog, streak: Streak) -> tuple[int, int]:
    low = max(log.counted_from, bisect_right(log.sent_ns, streak.joined_ns))
    return low, min(log.counted_to, bisect_left(log.sent_ns, streak.left_ns))


def _compare(log: PublisherLog, streak: Streak) -> tuple[int, int]:
    low, high = _owed(log, streak)
    if high <= low:
        return 0, 0
    run = max(0, min(high, streak.end) - max(low, streak.first))
    missing = sum(low <= number < high for number in streak.gaps)
    strays = sum(low <= number < high for number in streak.strays)
    return high - low, run - missing + strays


def _lost_by_second(log: PublisherLog, streak: Streak, origin_ns: int) -> Iterator[tuple[int, int]]:
    """Yield how many of the messages of each second were lost, some seconds more than once."""
    low, high = _owed(log, streak)
    strays = set(streak.strays)
    for start, end in ((low, min(high, max(low, streak.first))), (max(low, streak.end), high)):
        while start < end:
            second = second_of(log.sent_ns[start], origin_ns)
            after = bisect_left(log.sent_ns, origin_ns + (second + 1) * _SECOND_NS, start, end)
            yield second, after - start - sum(start <= number < after for number in strays)
            start = after
    for number in streak.gaps:
        if low <= number < high:
            yield second_of(log.sent_ns[number], origin_ns), 1
