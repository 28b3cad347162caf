"""Which of several Redis a group belongs to, and whether all processes say the same (design section 8).

A group's place follows from its name and the list that a process was given. So processes with different lists look for
some groups in different places, and do not hear each other there: each tells every Redis its list, and asks for others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from wscore.errors import ConfigError
from wsserver.brokers.base import GroupKind
from wsserver.telemetry.logs import EventLog

ALIVE_S: Final = 20  # who has not said for so long which list it has is dead
ONE: Final = "1"  # stands for any list of one
OTHER_LISTS: Final = "other processes were given other brokers"


def place_of(kind: GroupKind, name: str, places: Sequence[str]) -> int:
    """Return which of some places a group belongs to: with one place more only those move that move there.

    Their order says nothing (rendezvous hashing: the highest of a digest of group and place).
    """
    group = f"{kind}\0{name}\0".encode()
    digests = [hashlib.blake2b(group + place.encode(), digest_size=16).digest() for place in places]
    return digests.index(max(digests))


@dataclass(frozen=True, slots=True)
class BrokerList:
    """The places that a process was given."""

    places: tuple[str, ...]

    @property
    def key(self) -> str:
        """What says the same in every process with this list: the name of a single one has no say in anything."""
        return " ".join(sorted(self.places)) if len(self.places) > 1 else ONE

    def home(self, kind: GroupKind, name: str) -> str:
        """Return the place of a group."""
        return self.places[place_of(kind, name, self.places)]


class BrokerLists:
    """The list of this process, and those of the others as each Redis tells them.

    `before` is the list of processes that are being exchanged, which may be another one. `on_gone` is told of each list
    that no process has any more: what was said meanwhile in groups that it has elsewhere may not have come here.
    """

    def __init__(self, places: Sequence[str], before: Sequence[str], log: EventLog) -> None:
        self.own = BrokerList(tuple(places))
        self.before = BrokerList(tuple(before))
        self.on_gone: list[Callable[[BrokerList], None]] = []
        self._log = log
        self._seen: dict[str, dict[BrokerList, bool]] = {}  # by the place that told of it: whether that is as planned

    @property
    def others(self) -> int:
        """How many other lists there are."""
        return len(self._all())

    @property
    def differ(self) -> bool:
        """Whether there is one that nobody has announced."""
        return not all(self._all().values())

    def told(self, place: str, seen: dict[BrokerList, bool]) -> None:
        """Take which other lists a Redis knows of, and whether each is as planned."""
        earlier = self._all()
        self._seen[place] = seen
        now = self._all()
        for each, is_planned in now.items():
            if earlier.get(each) is not is_planned:
                fields = {"told_by": place, "planned": is_planned, **self._difference(each)}
                if is_planned:
                    self._log.info("broker.lists_differ", **fields)
                else:
                    self._log.error("broker.lists_differ", **fields)
        for each in earlier.keys() - now.keys():
            self._log.info("broker.list_gone", brokers=" ".join(each.places))
            for gone in self.on_gone:
                gone(each)

    def refuse(self, place: str, other: BrokerList) -> ConfigError:
        """Return the error of a start beside processes with another list."""
        difference = self._difference(other)
        return ConfigError(
            "--broker",
            f"processes that share {place} were given other brokers and would not hear this one in some groups: "
            f"only here {difference['only_here'] or 'none'}, only there {difference['only_there'] or 'none'}",
            "give all of them the same, written alike; to exchange them one by one, name theirs with --broker-before; "
            f"those that were killed count for {ALIVE_S} s",
        )

    def _all(self) -> dict[BrokerList, bool]:
        found: dict[BrokerList, bool] = {}
        for seen in self._seen.values():
            for each, is_planned in seen.items():
                found[each] = is_planned and found.get(each, True)
        return found

    def _difference(self, other: BrokerList) -> dict[str, str]:
        own, theirs = self.own.places, other.places
        return {
            "only_here": " ".join(place for place in own if place not in theirs),
            "only_there": " ".join(place for place in theirs if place not in own),
        }
