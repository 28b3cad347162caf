"""When freed memory goes back to the system: what is much at once, the rest once nobody has needed it for a while."""

from __future__ import annotations

import pytest

from wsserver.lifetime import givingback as module
from wsserver.lifetime.givingback import MUCH_BYTES, REST_S, GivingBack
from wsserver.outbound.memory import Held
from wsserver.sdk.growth import Growth

MIB = 1 << 20


class Some(Held):
    """Holds what it is told to."""

    def __init__(self) -> None:
        self.used = self.peak = 0

    def hold(self, size: int) -> None:
        self.used = size
        self.peak = max(self.peak, size)


class World:
    """Two that hold memory, one that is only seen now and then, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 0.0
        self.given_s: list[float] = []
        self.one = Some()
        self.other = Some()
        self.seen = 0
        monkeypatch.setattr(module, "give_back", lambda: self.given_s.append(self.now_s))
        self.giving = GivingBack((self.one, self.other), (lambda: self.seen,), lambda: self.now_s)

    def pass_s(self, seconds: int) -> None:
        for _ in range(4 * seconds):  # the server's tick is shorter than a second
            self.giving.check()
            self.now_s += 0.25


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def test_what_is_much_is_given_back_within_a_second(world):
    world.one.hold(10 * MIB)
    world.other.hold(10 * MIB)
    world.pass_s(60)
    assert world.given_s == []
    world.one.hold(0)
    world.other.hold(20 * MIB - MUCH_BYTES)
    world.pass_s(1)
    assert len(world.given_s) == 1


def test_the_rest_is_given_back_too_once_nobody_has_needed_it_for_a_while(world):
    world.one.hold(50 * MIB)
    world.pass_s(1)
    world.one.hold(15 * MIB)  # as when handlers end over several seconds
    world.pass_s(1)
    assert len(world.given_s) == 1
    world.one.hold(0)
    world.pass_s(int(REST_S) + 2)
    assert len(world.given_s) == 2
    world.pass_s(60)
    assert len(world.given_s) == 2


def test_what_is_used_again_is_kept(world):
    for _ in range(20):
        world.one.hold(10 * MIB)
        world.pass_s(2)
        world.one.hold(0)
        world.pass_s(2)
    assert world.given_s == []


def test_trifles_are_kept(world):
    world.one.hold(3 * MIB)
    world.one.hold(0)
    world.pass_s(60)
    assert world.given_s == []


def test_what_is_only_looked_at_counts_as_it_was_seen(world):
    world.seen = 90 * MIB
    world.pass_s(1)
    world.seen = 0
    world.pass_s(1)
    assert len(world.given_s) == 1


async def test_decoded_messages_have_a_peak():
    growth = Growth(10 * MIB)
    await growth.enter(8 * MIB)
    growth.leave(8 * MIB)
    assert (growth.used, growth.fallen) == (0, 8 * MIB)
