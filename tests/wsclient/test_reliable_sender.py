"""Lines on their way: what a server may answer to them, and what becomes of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from wsclient import pacing
from wsclient.errors import NotConnectedError
from wsclient.flight import KEPT_LINES, WINDOW_LINES, Flight, OutgoingLine
from wsclient.losses import Losses
from wsclient.pacing import Pacer
from wsclient.reliablesender import ReliableSender
from wscore.codes import ErrorCode
from wscore.envelope import MessageProtocol
from wscore.payloads import Heartbeat, Limits, SessionCreated

HANG_S = 20
PROTOCOL = MessageProtocol(lambda: 1)
SESSION = SessionCreated("s", "u", True, "c", Heartbeat(1000, 3000), Limits(1000))

Answer = Callable[[dict], ErrorCode | None]


class FakeServer:
    """Takes frames in order, refuses those that `answer` has a code for, and answers fences when it is told to."""

    def __init__(self, answer: Answer = lambda frame: None) -> None:
        self.answer = answer
        self.taken: list[object] = []
        self.fences: list[str] = []
        self.answers_fences = True
        self.is_gone = False
        self.most_under_way = 0
        self._under_way = 0
        self.losses: list[tuple[str, str]] = []
        losses = Losses(lambda line, why: self.losses.append((line.place, why)))
        self.counted = losses
        self.sender = ReliableSender(
            PROTOCOL,
            Pacer(None, 0.0),
            send=self._send,
            ready=self._ready,
            losses=losses,
            judges_invalid=True,
            now_s=asyncio.get_running_loop().time,
        )

    async def _ready(self) -> None:
        pass

    async def _send(self, text: str) -> None:
        if self.is_gone:
            raise NotConnectedError
        frame = json.loads(text)
        code = self.answer(frame)
        if code is not None:
            self.say(code, frame.get("id"))
        elif frame["type"] == "ping":
            assert self.sender.is_own(text)
            self.fences.append(frame["id"])
            self._under_way = 0
            if self.answers_fences:
                self.pong(frame["id"])
        else:
            self._under_way += 1
            self.most_under_way = max(self.most_under_way, self._under_way)
            self.taken.append(frame["data"])

    def say(self, code: ErrorCode, line_id: str | None) -> None:
        error = PROTOCOL.create_error_envelope(code, "no", id=line_id, details={"retryAfterMs": 1})
        self.sender.take(PROTOCOL.deserialize(PROTOCOL.serialize(error)), is_wanted=False)

    def pong(self, fence_id: str) -> None:
        pong = PROTOCOL.create_envelope("pong", id=fence_id)
        assert self.sender.take(PROTOCOL.deserialize(PROTOCOL.serialize(pong)), is_wanted=False)


@pytest.fixture(autouse=True)
def short_peace(monkeypatch):
    monkeypatch.setattr(pacing, "PEACE_S", 0.01)


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., FakeServer]]:
    tasks = []

    def new(*arguments: Answer) -> FakeServer:
        server = FakeServer(*arguments)
        server.sender.opened(SESSION)
        tasks.append(asyncio.create_task(server.sender.run()))
        return server

    yield new
    for task in tasks:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def line(number: int, *, id: str | None = "") -> OutgoingLine:
    envelope = PROTOCOL.create_envelope("message", number, id=f"id-{number}" if id == "" else id)
    return OutgoingLine(number, f"line {number}", PROTOCOL.serialize(envelope).decode(), envelope.id)


async def put_all(server: FakeServer, count: int, **fields: str | None) -> None:
    for number in range(1, count + 1):
        await server.sender.put(line(number, **fields))


async def settle(server: FakeServer) -> None:
    async with asyncio.timeout(HANG_S):
        await server.sender.settled()


async def test_lines_go_out_in_order_and_never_more_than_a_window_without_proof(start):
    server = start()
    await put_all(server, 500)
    await settle(server)
    assert server.taken == list(range(1, 501))
    assert server.most_under_way <= WINDOW_LINES
    assert server.counted.error is None


async def test_without_proof_nothing_more_is_sent_than_the_window(start):
    server = start()
    server.answers_fences = False
    putting = asyncio.create_task(put_all(server, 500))
    async with asyncio.timeout(HANG_S):
        while len(server.taken) < WINDOW_LINES:
            await asyncio.sleep(0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(server.taken) == WINDOW_LINES
    server.answers_fences = True
    for fence in list(server.fences):
        server.pong(fence)
    await putting
    await settle(server)
    assert server.taken == list(range(1, 501))


async def test_what_is_over_the_rate_is_sent_again_in_its_order_fences_included(start):
    refused = set()

    def once(frame: dict) -> ErrorCode | None:
        if len(refused) < 3 and frame["id"] not in refused:
            refused.add(frame["id"])
            return ErrorCode.RATE_LIMITED
        return None

    server = start(once)
    await put_all(server, 10)
    await settle(server)
    assert server.taken == list(range(1, 11))
    assert len(refused) == 3
    assert server.counted.error is None


@pytest.mark.parametrize(("code", "tries"), [(ErrorCode.RATE_LIMITED, 10), (ErrorCode.FORBIDDEN, 1)])
async def test_a_line_that_is_always_refused_is_lost_in_the_end_and_named(start, code, tries):
    asked = []

    def answer(frame: dict) -> ErrorCode | None:
        if frame.get("data") != 2:
            return None
        asked.append(frame["id"])
        return code

    server = start(answer)
    await put_all(server, 3)
    await settle(server)
    assert server.taken == [1, 3]
    assert len(asked) == tries
    assert server.losses == [("line 2", f"{code}: no")]
    assert str(server.counted.error) == f"line 2 did not go through: {code}: no"


async def test_an_error_that_comes_after_the_proof_still_finds_its_line(start):
    server = start()
    await put_all(server, 2)
    await settle(server)
    server.say(ErrorCode.FORBIDDEN, "id-2")
    server.say(ErrorCode.RATE_LIMITED, "id-1")
    server.say(ErrorCode.FORBIDDEN, "of somebody else")
    await settle(server)
    assert server.taken == [1, 2, 1]
    assert [place for place, _ in server.losses] == ["line 2"]


async def test_an_error_without_an_id_is_laid_to_lines_that_have_none(start):
    server = start()
    server.answers_fences = False
    await put_all(server, 3, id=None)
    async with asyncio.timeout(HANG_S):
        while len(server.taken) < 3:
            await asyncio.sleep(0)
    server.say(ErrorCode.AUTH_EXPIRED, None)  # not about a line
    server.say(ErrorCode.INVALID_MESSAGE, None)
    assert [place for place, _ in server.losses] == ["line 1, or one after it up to line 3,"]


async def test_an_error_without_an_id_says_nothing_of_lines_that_have_one(start):
    server = start()
    server.answers_fences = False
    await put_all(server, 3)
    async with asyncio.timeout(HANG_S):
        while len(server.taken) < 3:
            await asyncio.sleep(0)
    server.say(ErrorCode.RATE_LIMITED, None)
    assert server.losses == []


async def test_what_was_under_way_when_the_connection_went_is_lost_and_what_was_not_waits_for_the_next(start):
    server = start()
    server.answers_fences = False
    await put_all(server, 2)
    async with asyncio.timeout(HANG_S):
        while len(server.taken) < 2:
            await asyncio.sleep(0)
    server.is_gone = True
    await server.sender.put(line(3))
    server.sender.closed(1006)
    assert [place for place, _ in server.losses] == ["line 1", "line 2"]
    server.is_gone, server.answers_fences = False, True
    server.sender.opened(SESSION)
    await settle(server)
    assert server.taken == [1, 2, 3]
    assert len(server.losses) == 2


async def test_a_normal_end_in_answer_to_the_only_line_under_way_loses_nothing(start):
    server = start()
    server.answers_fences = False
    await put_all(server, 1)
    async with asyncio.timeout(HANG_S):
        while not server.taken:
            await asyncio.sleep(0)
    server.sender.closed(1000)
    assert server.losses == []


async def test_a_line_larger_than_the_server_takes_is_not_sent(start):
    server = start()
    big = OutgoingLine(1, "line 1", "x" * 2000, None)
    await server.sender.put(big)
    await settle(server)
    assert server.losses == [("line 1", "it has 2,000 bytes, and the server takes 1,000 at most")]


async def test_what_is_given_up_is_lost_whether_it_was_sent_or_not(start):
    server = start()
    server.answers_fences = False
    await put_all(server, WINDOW_LINES + 3)
    server.sender.give_up()
    assert len(server.losses) == WINDOW_LINES + 3
    assert {why for place, why in server.losses if place == f"line {WINDOW_LINES + 3}"} == {"it was not sent"}
    assert str(server.counted.error).startswith(f"{WINDOW_LINES + 3} of {WINDOW_LINES + 3} lines did not go through")


async def test_a_server_of_another_make_gets_no_fences(start):
    server = start()
    server.sender.opened(None)
    await put_all(server, 200)
    await settle(server)
    assert (len(server.taken), server.fences) == (200, [])


def test_what_was_taken_is_remembered_for_a_while_and_no_longer():
    flight = Flight()
    for number in range(KEPT_LINES + 10):
        flight.start(line(number))
        assert flight.passed(flight.fence(0.0))
    assert flight.answered("id-9") is None
    assert flight.answered("id-10").number == 10
    assert flight.answered("id-10") is None
    large = OutgoingLine(1, "line 1", "x" * (1 << 19), "large")
    flight.start(large)
    flight.passed(flight.fence(0.0))
    assert flight.answered("large") is large
