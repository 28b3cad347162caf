"""The memory for what waits for an app's handlers, as a scripted matter: its limits, and who is let go when."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from wscore.errors import ConfigError
from wsserver import ServerSettings
from wsserver.connections.inbound import MESSAGE_OVERHEAD, InboundLimits, InboundMemory
from wsserver.telemetry.logs import EventLog


def test_limits_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="--max-inbound-per-connection: must be more than nothing"):
        InboundLimits(per_connection=2 << 20, in_all=1 << 20)
    with pytest.raises(
        ConfigError, match=r"--max-inbound-memory: 1MiB are too little for messages of 1MiB; allow three"
    ):
        ServerSettings(inbound=InboundLimits(1 << 18, 1 << 20))


def test_the_limits_that_nobody_chose_leave_room_for_the_largest_messages():
    assert ServerSettings().inbound_limits == InboundLimits(4 << 20, 64 << 20)
    large = ServerSettings(max_message_bytes=64 << 20).inbound_limits
    assert large == InboundLimits(4 << 20, 4 * ((64 << 20) + MESSAGE_OVERHEAD))
    assert InboundLimits.chosen(1 << 10, in_all=1 << 20) == InboundLimits(1 << 18, 1 << 20)
    assert InboundLimits.chosen(1 << 10, per_connection=1 << 30) == InboundLimits(1 << 30, 1 << 30)


class Scripted:
    """A connection as the memory sees it."""

    def __init__(self, log: list[str], name: str) -> None:
        self._log = log
        self.name = name

    def hold_back(self) -> None:
        self._log.append(f"hold {self.name}")

    def let_go(self) -> None:
        self._log.append(f"go {self.name}")


def test_those_held_back_are_let_go_in_turn_a_few_at_a_time():
    log: list[str] = []
    timers: list[tuple[float, Callable[[], None]]] = []
    message = 1000 - MESSAGE_OVERHEAD
    limited = InboundMemory(
        InboundLimits(10_000, 13_333),
        message,
        call_later=lambda delay, action: timers.append((delay, action)) or object(),  # type: ignore
        now_s=lambda: 0.0,
        log=EventLog(logging.getLogger("nowhere")),
    )
    readers = [Scripted(log, name) for name in "abcdefgh"]
    for reader in readers:
        limited.take(reader, 900)
    assert log == []
    limited.take(readers[0], 500)  # 7,700 of a threshold of 7,500
    assert log == [f"hold {name}" for name in "abcdefgh"]
    log.clear()
    limited.give(readers[0], 100, has_more=True)
    assert log == []
    limited.give(readers[0], 1300, has_more=False)  # 6,300: room for two messages of the largest size, at most
    assert log == [f"go {name}" for name in "ab"]
    assert len(timers) == 1
    limited.give(readers[1], 900, has_more=False)  # the timer decides, so that the first ones can show what they send
    assert len(log) == 2
    timers.pop()[1]()
    assert log == [f"go {name}" for name in "abcde"]
    limited.forget(readers[5])
    timers.pop()[1]()
    assert log == [f"go {name}" for name in "abcdegh"]
    assert not timers
