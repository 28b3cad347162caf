"""What the supervisor asks its workers over a pair of sockets: bounded, in time, and lost with the worker alone."""

from __future__ import annotations

import asyncio
import socket
import struct
from types import SimpleNamespace

import pytest
from msgspec import Raw

from wscore.operations import ApiErrorCode, Problem
from wsserver.operations.acts import BroadcastMessage
from wsserver.operations.asking import Question, Response, SingleProcess, decode_response
from wsserver.operations.node import MAX_HISTORY_BYTES, _newest
from wsserver.operations.problems import ApiError
from wsserver.operations.queries import HistoryGone, NotDone, PublishAll, RemoveHistory, encode
from wsserver.operations.turns import MAX_WAITING, Turns
from wsserver.workers import questions
from wsserver.workers.operations import OwnWorkers
from wsserver.workers.questions import (
    MAX_UNSENT_BYTES,
    AnswerLine,
    FrameTooLargeError,
    NotAskedError,
    QuestionLine,
    WorkerGoneError,
)

HANG_S = 20


@pytest.fixture
def pair():
    ends = socket.socketpair()
    yield ends
    for end in ends:
        end.close()


async def opened(line):
    async with asyncio.timeout(HANG_S):
        while line._writer is None:
            await asyncio.sleep(0)


async def ended(line):
    line.close()
    await asyncio.wait((line._reading,))
    await asyncio.sleep(0)  # its transport is told


async def test_answers_come_to_their_questions_whatever_their_order(pair):
    release = asyncio.Event()

    async def respond(question):
        if question == b"slow":
            await release.wait()
        return question.upper()

    asks, answers = QuestionLine(pair[0]), AnswerLine(pair[1], respond)
    await opened(asks)
    slow = asyncio.create_task(asks.ask(b"slow", HANG_S))
    assert await asks.ask(b"quick" * 100_000, HANG_S) == b"QUICK" * 100_000
    with pytest.raises(TimeoutError):
        await asks.ask(b"slow", 0.05)
    assert asks.is_late
    release.set()
    assert await slow == b"SLOW"
    assert not asks.is_late
    assert await asks.ask(b"again", HANG_S) == b"AGAIN"  # the answer that came too late is no other's
    await ended(asks)
    await ended(answers)


async def test_a_worker_that_goes_answers_nothing_more_and_nobody_waits_for_it(pair):
    asks = QuestionLine(pair[0])
    await opened(asks)
    waiting = asyncio.create_task(asks.ask(b"x", HANG_S))
    await asyncio.sleep(0)
    pair[1].close()
    with pytest.raises(WorkerGoneError):
        await waiting
    with pytest.raises(WorkerGoneError):
        await asks.ask(b"x", HANG_S)
    await ended(asks)


async def test_a_worker_that_reads_nothing_is_sent_a_bounded_number_of_bytes(pair):
    asks = QuestionLine(pair[0])
    await opened(asks)
    tries = 0
    while not asks.is_late or tries < 60:
        with pytest.raises((TimeoutError, NotAskedError)):
            await asks.ask(b"x" * (1 << 20), 0)
        tries += 1
    assert asks._writer.transport.get_write_buffer_size() <= MAX_UNSENT_BYTES + (2 << 20)
    await ended(asks)


async def test_a_frame_that_is_too_large_is_not_waited_for(pair, monkeypatch):
    asks = QuestionLine(pair[0])
    await opened(asks)
    monkeypatch.setattr(questions, "MAX_FRAME_BYTES", 1000)
    waiting = asyncio.create_task(asks.ask(b"x", HANG_S))
    await asyncio.sleep(0)
    pair[1].setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(pair[1], struct.pack("!II", 3000, 1))
    with pytest.raises(FrameTooLargeError):
        await waiting
    await loop.sock_sendall(pair[1], b"x" * 3000 + struct.pack("!II", 2, 2) + b"ok")
    assert await asks.ask(b"y", HANG_S) == b"ok"  # those behind it come
    await ended(asks)


async def test_a_question_or_an_answer_that_is_too_large_fails_alone(pair, monkeypatch):
    monkeypatch.setattr(questions, "MAX_FRAME_BYTES", 1000)

    async def respond(question):
        return question * 2

    asks, answers = QuestionLine(pair[0]), AnswerLine(pair[1], respond)
    await opened(asks)
    with pytest.raises(FrameTooLargeError):
        await asks.ask(b"x" * 1001, HANG_S)
    assert await asks.ask(b"x" * 600, HANG_S) == b""
    assert await asks.ask(b"x" * 500, HANG_S) == b"x" * 1000
    assert asks.is_open
    await ended(asks)
    await ended(answers)


class _Worker:
    def __init__(self, line):
        self.questions = line


async def test_an_act_goes_to_another_worker_where_one_cannot_be_asked_and_nothing_was_sent(pair):
    async def respond(question):
        return encode(Response({"": HistoryGone()}))

    other = socket.socketpair()
    gone, asks, answers = QuestionLine(other[0]), QuestionLine(pair[0]), AnswerLine(pair[1], respond)
    await opened(gone)
    await opened(asks)
    gone.is_late = asks.is_late = True
    workers = OwnWorkers(SimpleNamespace(serving={0: _Worker(gone), 1: _Worker(asks)}, count=2))
    gone._writer.write(b"x" * (MAX_UNSENT_BYTES + (8 << 20)))  # it reads nothing
    for _ in range(4):
        assert isinstance(await workers.act(RemoveHistory("room", "r")), HistoryGone)
    other[1].close()
    async with asyncio.timeout(HANG_S):
        while gone.is_open:
            await asyncio.sleep(0.001)
    for _ in range(4):
        assert isinstance(await workers.act(RemoveHistory("room", "r")), HistoryGone)
    pair[1].shutdown(socket.SHUT_RDWR)
    async with asyncio.timeout(HANG_S):
        while asks.is_open:
            await asyncio.sleep(0.001)
    with pytest.raises(ApiError, match="No worker"):
        await workers.act(RemoveHistory("room", "r"))
    await ended(gone)
    await ended(asks)
    await ended(answers)


def test_a_broadcast_goes_to_a_worker_once_whatever_the_number_of_its_targets():
    act = BroadcastMessage("x", Raw(b'"' + b"y" * 100_000 + b'"'), rooms=[f"r{number}" for number in range(160)])
    assert len(encode(Question(PublishAll([act])))) < 110_000


async def test_of_those_who_look_a_few_have_their_turn_and_a_bounded_number_waits():
    turns, release = Turns(2), asyncio.Event()
    at_once = most = 0

    async def look():
        nonlocal at_once, most
        async with turns:
            at_once += 1
            most = max(most, at_once)
            await release.wait()
            at_once -= 1

    looking = [asyncio.create_task(look()) for _ in range(2 + MAX_WAITING)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(ApiError, match="try it again"):
        await look()
    looking.pop().cancel()
    release.set()
    await asyncio.wait(looking)
    assert most == 2
    await look()


async def test_a_worker_whose_answer_fails_says_so_at_once():
    failures = []

    class Broken:
        async def answer(self, query):
            raise RuntimeError

        def failed(self, error):
            failures.append(error)
            return NotDone(Problem(ApiErrorCode.INTERNAL, ""))

    worker = SingleProcess(Broken(), SimpleNamespace())
    response = decode_response(await worker.respond(encode(Question(RemoveHistory("room", "r")))))
    assert response.answers[""].problem.code is ApiErrorCode.INTERNAL
    assert len(failures) == 1


def test_of_a_long_history_the_newest_part_is_answered():
    events = [bytes([number]) * (1 << 20) for number in range(12)]
    assert _newest(events, MAX_HISTORY_BYTES) == events[-8:]
    assert _newest(events[:3], MAX_HISTORY_BYTES) == events[:3]
    assert _newest([events[0] * 20], MAX_HISTORY_BYTES) == [events[0] * 20]
