"""When a recording gives back what was sent, and what it leaves out."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from wsclient.recording import read_record
from wsclient.replay import RecordingPlayer
from wscore.foreign import ProtocolName, ProtocolSettings


class Clock:
    """A clock that moves only by sleeping on it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    async def sleep(self, delay_s: float) -> None:
        self.now_s += delay_s


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("wsclient.replay.time", SimpleNamespace(monotonic=lambda: made.now_s))
    monkeypatch.setattr("wsclient.replay.asyncio", SimpleNamespace(sleep=made.sleep))
    return made


def sent(at_ms: int, type: str = "message") -> str:
    return f'{{"type":"{type}","timestamp":1,"data":1.0,"sentAtMs":{at_ms}}}'


def player(*lines: str, speed: float | None = 1, fresh: bool = False) -> RecordingPlayer:
    return RecordingPlayer(map(read_record, lines), speed=speed, fresh=fresh, now_ms=lambda: 7)


@pytest.mark.parametrize(
    ("speed", "given_at_s"), [(1, [0, 1, 3]), (2, [0, 0.5, 1.5]), (0.5, [0, 2, 6]), (None, [0, 0, 0])]
)
async def test_each_message_comes_at_its_time_after_the_first_one(clock, speed, given_at_s):
    played = player(sent(5000), sent(6000), sent(8000), speed=speed)
    assert [clock.now_s async for _ in played.lines()] == given_at_s
    assert (played.given, played.took_s, played.recorded_s) == (3, given_at_s[-1], 3.0)


async def test_a_delay_is_made_up_for(clock):
    times = []
    async for _ in player(sent(0), sent(1000), sent(2000), sent(5000)).lines():
        times.append(clock.now_s)
        clock.now_s += 1.5  # as long as it takes to send
    assert times == [0, 1.5, 3.0, 5.0]


async def test_a_clock_that_stepped_back_holds_nothing_up(clock):
    assert [clock.now_s async for _ in player(sent(5000), sent(1000), sent(6000)).lines()] == [0, 0, 1]


async def test_what_was_received_or_meant_for_that_connection_only_is_left_out(clock):
    received = sent(2).replace("sentAtMs", "receivedAtMs")
    played = player(sent(1, "pong"), received, sent(3), sent(4, "auth_refresh"), sent(5, "ping"))
    assert [json.loads(line)["type"] async for line in played.lines()] == ["message", "ping"]
    assert len(played) == 2


async def test_an_envelope_gets_a_fresh_timestamp_and_keeps_its_bytes(clock):
    played = player(sent(1), '{"text":"no envelope","sentAtMs":1}', fresh=True)
    fresh, bare = [line async for line in played.lines()]
    assert '"data":1.0' in fresh
    assert json.loads(fresh) == {"type": "message", "timestamp": 7, "data": 1.0}
    assert bare == "no envelope"
    kept = player(sent(1))
    assert [line async for line in kept.lines()] == ['{"type":"message","timestamp":1,"data":1.0}']


async def test_an_id_that_comes_again_becomes_another_one_and_what_ends_it_names_that():
    adapter = ProtocolSettings(name=ProtocolName.GRAPHQL_WS).adapter(lambda: 0)
    first, end = '{"id":"1","type":"subscribe","payload":{}}', '{"id":"1","type":"complete"}'
    records = [read_record(f'{{"text":{json.dumps(text)},"sentAtMs":1}}') for text in (first, end, first, end)]
    played = RecordingPlayer(records, speed=None, fresh=True, now_ms=lambda: 7, adapter=adapter)
    other = [text.replace('"1"', '"1000000"') for text in (first, end)]
    assert [line async for line in played.lines()] == [first, end, *other]
