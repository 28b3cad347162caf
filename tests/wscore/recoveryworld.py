"""A server with groups, and clients that are cut and come back anywhere; and three ways to break it.

What a client reads is held against the oracle of design section 4: within an epoch `seq` is contiguous or it was told
`recovered: false` first, and the same group, epoch and seq are the same bytes at everyone, or `skipped`.
"""

from __future__ import annotations

import json
from collections import deque
from enum import Enum
from itertools import count

from wscore.counting import EventCounter, EventPlace
from wscore.envelope import with_seq
from wscore.histories import Histories
from wscore.recovery import Position, RecoveryLimits

GROUPS = ("lobby", "hall")
CLIENTS = ("a", "b", "c")
LIMITS = RecoveryLimits(messages=8, size=3000, age_s=60, memory=6000)


class Mutant(Enum):
    """What can be wrong."""

    NONE = "as it is meant"
    REGISTER_FIRST = "a newcomer is a member before it is greeted"
    PARTIAL_REPLAY = "what is left of the window is replayed, as if it were all"
    SET_APART = "a client sets epoch and seq at different times"


class HalfCounter(EventCounter):
    """A client that takes over a new epoch at once, but its seq only where it was told to be recovered."""

    __slots__ = ()

    def begin(self, position, recovered):
        held = self.position
        is_lost = super().begin(position, recovered)
        if held is not None and not recovered:
            self.position = Position(position.epoch, held.seq)
        return is_lost


class Client:
    """One client in one group: what is on its way to it, and what it has read."""

    def __init__(self, counter: EventCounter) -> None:
        self.counter = counter
        self.inbox: deque[tuple] | None = None  # None: not connected
        self.is_greeted = False
        self.resumed = self.lost = 0


class World:
    """Every step is one turn of a server's loop, or one of a client's."""

    def __init__(self, mutant: Mutant = Mutant.NONE) -> None:
        self.mutant = mutant
        numbers = count()
        self.now_s = 0.0
        self.histories = Histories(LIMITS, lambda: f"e{next(numbers)}")
        counter = HalfCounter if mutant is Mutant.SET_APART else EventCounter
        self.clients = {(group, name): Client(counter()) for group in GROUPS for name in CLIENTS}
        self.members: dict[str, set[str]] = {group: set() for group in GROUPS}
        self.to_greet: list[tuple[str, str]] = []
        self.truth: dict[tuple[str, str, int], tuple[bytes, str | None]] = {}
        self.published = 0

    def history(self, group: str):
        return self.histories.find("room", group, self.now_s)

    def publish(self, group: str, size: int, left_out: str | None = None) -> None:
        self.greet()
        history = self.history(group)
        self.published += 1
        seq = history.seq + 1
        payload = json.dumps({"n": self.published, "x": "x" * size}).encode()
        event = with_seq(payload, seq)
        self.histories.append(history, payload, self.now_s, left_out)
        self.truth[group, history.epoch, seq] = event, left_out
        for name in self.members[group]:
            self.clients[group, name].inbox.append(("event", seq, None if name == left_out else event))

    def connect(self, group: str, name: str) -> None:
        client = self.clients[group, name]
        if client.inbox is not None:
            return
        client.inbox = deque()
        if self.mutant is Mutant.REGISTER_FIRST:
            self.register(group, name)
            self.to_greet.append((group, name))  # in a later turn
        else:
            self.welcome(group, name)
            self.register(group, name)

    def register(self, group: str, name: str) -> None:
        self.histories.hold(self.history(group))
        self.members[group].add(name)

    def greet(self) -> None:
        """Do what the broken server has put off; half of the time it comes after what others publish."""
        if self.published % 2:
            waiting, self.to_greet = self.to_greet, []
            for group, name in waiting:
                if self.clients[group, name].inbox is not None:
                    self.welcome(group, name)

    def welcome(self, group: str, name: str) -> None:
        client, history = self.clients[group, name], self.history(group)
        asked = client.counter.position
        events = None if asked is None else self.histories.since(history, asked, self.now_s, name)
        if events is None and self.mutant is Mutant.PARTIAL_REPLAY and asked and asked.epoch == history.epoch:
            kept = self.histories.events(history, self.now_s)
            events = list(enumerate(kept, history.seq - len(kept) + 1))
        if asked is not None and events is not None:
            client.inbox.append(("position", asked, True))
            client.inbox.extend(("event", seq, event) for seq, event in events)
        else:
            client.inbox.append(("position", history.position, None if asked is None else False))

    def cut(self, group: str, name: str) -> None:
        client = self.clients[group, name]
        if client.inbox is None:
            return
        client.inbox, client.is_greeted = None, False
        self.members[group].discard(name)
        if not self.members[group]:
            self.histories.let_go(self.history(group), self.now_s)

    def renew(self, group: str) -> None:
        history = self.history(group)
        self.histories.renew(history)
        for name in self.members[group]:
            self.clients[group, name].inbox.append(("position", history.position, False))

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.histories.expire(self.now_s, 100)

    def read(self, group: str, name: str) -> None:
        client = self.clients[group, name]
        if not client.inbox:
            return
        kind, *rest = client.inbox.popleft()
        if kind == "position":
            position, recovered = rest
            is_lost = client.counter.begin(position, recovered)
            assert is_lost is (recovered is False), "it was told to go on elsewhere than it was"
            client.is_greeted = True
            client.resumed += recovered is True
            client.lost += is_lost
            return
        seq, event = rest
        assert client.is_greeted, f"{seq} came before the greeting"
        held = client.counter.position
        assert client.counter.place(seq) is EventPlace.NEXT, f"{seq} came after {held}"
        sent, left_out = self.truth[group, client.counter.position.epoch, seq]
        assert event == (None if left_out == name else sent), f"{seq} is not what was published"

    def settle(self) -> None:
        """Let everyone come back and read everything: all stand where the group stands."""
        self.published += not self.published % 2
        self.greet()
        for group, name in self.clients:
            self.connect(group, name)
        self.greet()
        for (group, name), client in self.clients.items():
            while client.inbox:
                self.read(group, name)
            held, stands = client.counter.position, self.history(group).position
            assert held == stands, f"it stands elsewhere: {held}, not {stands}"

    def check(self) -> None:
        """What holds after every step."""
        assert self.histories.size <= LIMITS.memory or not any(
            self.histories.get("room", group) and self.histories.get("room", group).size for group in GROUPS
        )
        assert self.histories.size >= sum(
            history.size for group in GROUPS if (history := self.histories.get("room", group))
        )
